/*
 * Process 1 of the namespace that a supervisor is measured in: starts it, reaps orphans, and does what its
 * stdin says, taking the time of everything close to where it happens. Times are nanoseconds of
 * CLOCK_MONOTONIC. When stdin ends it ends, and the kernel kills all that is left in the namespace.
 *
 *   stage LOG COMMAND [ARGUMENT…]
 *
 * One line each, with tabs between the words:
 *   said on stdout                             when
 *   started TIME PID                           just before COMMAND
 *   ended TIME                                 COMMAND has ended
 *   empty TIME                                 nothing is left in the namespace
 *   ran FROM TO CODE MAXRSS-KB FAULTS          after "run COMMAND ARGUMENT…"; CODE 128+N: signal N
 *   killed TIME                                before "kill PID SIGNAL" is done; TIME 0: it failed
 *   renamed TIME                               before "rename FROM TO" is done; TIME 0: it failed
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A thousand services named by path on one command line, and more. */
#define LONGEST 1048576
#define MOST_WORDS 8192

static char input[LONGEST];
static size_t filled;
static sigset_t inherited;
static pid_t supervisor;

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static pid_t start(char **words, int output)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	dup2(open("/dev/null", O_RDONLY), 0);
	dup2(output, 1);
	sigprocmask(SIG_SETMASK, &inherited, NULL);
	execvp(words[0], words);
	perror(words[0]);
	_exit(127);
}

static void run(char **words)
{
	struct rusage usage;
	int status = 0;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	long long from = now(), to;
	pid_t pid = start(words, null);

	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
		exit(3);
	to = now();
	close(null);
	printf("ran\t%lld\t%lld\t%d\t%ld\t%ld\n", from, to,
	       WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), usage.ru_maxrss,
	       usage.ru_minflt);
}

static void obey(char *line)
{
	static char *words[MOST_WORDS + 1];
	int count = 0;
	long long time;

	for (char *word = strtok(line, "\t"); word && count < MOST_WORDS; word = strtok(NULL, "\t"))
		words[count++] = word;
	words[count] = NULL;
	if (count > 1 && !strcmp(words[0], "run")) {
		run(words + 1);
	} else if (count == 3 && !strcmp(words[0], "kill")) {
		time = now();
		if (kill(atoi(words[1]), atoi(words[2])))
			time = 0;
		printf("killed\t%lld\n", time);
	} else if (count == 3 && !strcmp(words[0], "rename")) {
		time = now();
		if (rename(words[1], words[2]))
			time = 0;
		printf("renamed\t%lld\n", time);
	} else {
		exit(2);
	}
}

static void listen_to_stdin(void)
{
	ssize_t got = read(0, input + filled, sizeof input - filled);
	char *line = input, *end;

	if (got <= 0)
		exit(0);
	filled += got;
	while ((end = memchr(line, '\n', filled - (line - input)))) {
		*end = 0;
		obey(line);
		line = end + 1;
	}
	filled -= line - input;
	memmove(input, line, filled);
}

static void reap(void)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		if (pid == supervisor)
			printf("ended\t%lld\n", now());
	if (pid < 0)
		printf("empty\t%lld\n", now());
}

int main(int argc, char **argv)
{
	struct signalfd_siginfo information;
	struct pollfd files[2] = { { 0, POLLIN, 0 }, { -1, POLLIN, 0 } };
	sigset_t child;
	long long time;
	int log;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3)
		return 2;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &inherited);
	files[1].fd = signalfd(-1, &child, SFD_CLOEXEC);
	log = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (log < 0 || files[1].fd < 0)
		return 3;
	dup2(log, 2);
	time = now();
	supervisor = start(argv + 2, log);
	printf("started\t%lld\t%d\n", time, (int)supervisor);
	for (;;) {
		if (poll(files, 2, -1) < 0)
			continue;
		if (files[1].revents && read(files[1].fd, &information, sizeof information) > 0)
			reap();
		if (files[0].revents)
			listen_to_stdin();
	}
}
