/*
 * What services of the test do, since a root with nothing in it has no shell. It is the interpreter of scripts
 * whose first line says which part is played: #!/bin/actor PART. Without a part it waits.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void publish(FILE *file, const char *from, const char *to)
{
	if (!file || fclose(file) || rename(from, to))
		exit(100);
}

/* What it was given: its name, its arguments, the limits, the signals, the descriptors, the environment. */
static void report(int argc, char **argv)
{
	FILE *file = fopen("/run/.report", "w");

	if (!file)
		exit(100);
	for (int i = 0; i < argc; i++)
		fprintf(file, "argument %s\n", argv[i]);
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit limit;

		getrlimit(i, &limit);
		fprintf(file, "limit %d %ld %ld\n", i, (long)limit.rlim_cur, (long)limit.rlim_max);
	}
	for (int i = 1; i < 32; i++) {
		struct sigaction action;

		if (!sigaction(i, NULL, &action) && action.sa_handler != SIG_DFL)
			fprintf(file, "ignored %d\n", i);
	}
	fprintf(file, "leader %d\n", getsid(0) == getpid() && getpgrp() == getpid());
	for (char **each = environ; *each; each++)
		fprintf(file, "variable %s\n", *each);
	publish(file, "/run/.report", "/run/report");
}

/* The end of one that was depended on is waited for, as a shell does. */
static void depend(const char *service)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		execl("/bin/sysmgr-depends", "sysmgr-depends", service, (char *)NULL);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
		exit(101);
	publish(fopen("/run/.depended", "w"), "/run/.depended", "/run/depended");
}

/* A process 1 that does nothing but what it has to. */
static void keep(void)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			continue;
		sigwaitinfo(&child, NULL);
	}
}

int main(int argc, char **argv)
{
	const char *part = argc > 1 ? argv[1] : "wait";

	if (!strcmp(part, "report"))
		report(argc, argv);
	else if (!strncmp(part, "after:", 6))
		depend(part + 6);
	else if (!strcmp(part, "keep"))
		keep();
	else if (!strcmp(part, "deaf")) {
		signal(SIGTERM, SIG_IGN);
		publish(fopen("/run/.deaf", "w"), "/run/.deaf", "/run/deaf");
	} else if (!strncmp(part, "exit:", 5))
		return atoi(part + 5);
	for (;;)
		pause();
}
