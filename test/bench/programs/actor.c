/*
 * The service of the benchmark, the interpreter of scripts whose first line is #!/…/actor. It notes when it
 * was started in the file "marks" next to it, and sleeps for ever. What is called crash-… ends at once.
 * With the argument "ready" it reports on descriptor 3 that it is ready.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int main(int argc, char **argv)
{
	struct timespec now;
	char path[4096], directory[4096], line[256];
	const char *name;
	ssize_t length;
	int size, file, ready = 0;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (argc < 2)
		return 2;
	/* A script's path follows the interpreter's argument; what else it was given comes last.
	   Where a service is a directory, it is started in there. */
	if (argc > 2 && !strcmp(argv[1], "ready")) {
		ready = 1;
		argv++;
	}
	name = base(argv[1]);
	if (!strcmp(name, "run") && getcwd(directory, sizeof directory))
		name = base(directory);
	length = readlink("/proc/self/exe", path, sizeof path - sizeof "marks");
	if (length < 0)
		return 3;
	path[length] = 0;
	strcpy(strrchr(path, '/') + 1, "marks");
	size = snprintf(line, sizeof line, "%lld %d %.128s\n", now.tv_sec * 1000000000LL + now.tv_nsec,
			(int)getpid(), name);
	file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
	if (file < 0 || write(file, line, size) != size)
		return 4;
	close(file);
	if (!strncmp(name, "crash-", 6))
		return 1;
	if (ready && write(3, "\n", 1) != 1)
		return 5;
	for (;;)
		pause();
}
