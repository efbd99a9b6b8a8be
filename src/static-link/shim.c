/*
 * shim.c - the few functions that must differ between a dynamic and a static Bun executable, and
 * what has to be put in order before Bun's own code runs.
 *
 * There are two kinds of definitions here:
 *   shim_NAME  the link step points Bun's import NAME here; libc's own NAME stays callable;
 *   NAME       replaces the archive member of libc.a, for Bun and for libc itself.
 *
 * With -DSHIM_TRACE, dlsym() reports every name that it does not know on standard error.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

/* Older startup code ignores .init_array and keeps the thread functions in a library of their own. */
#if !defined(__GLIBC__) || __GLIBC__ != 2 || __GLIBC_MINOR__ < 34
#error "the static library of glibc 2.34 or later is needed"
#endif

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static void die(const char *message)
{
	ssize_t written = write(STDERR_FILENO, message, strlen(message));
	(void)written;
	_exit(1);
}

/* ------------------------------------------------------------ memory that holds nothing */

static int is_zero(const char *page, size_t size)
{
	return page[0] == 0 && memcmp(page, page + 1, size - 1) == 0;
}

/* Looks at what is in memory of one mapping; at most so many pages at a time. */
static int drop_zero_pages(char *start, const char *end, size_t page)
{
	unsigned char present[1024];
	int dropped = 0;
	for (size_t length; start < end; start += length) {
		length = (size_t)(end - start);
		if (length > LENGTH(present) * page) length = LENGTH(present) * page;
		if (mincore(start, length, present) != 0) return dropped;
		for (size_t i = 0; i * page < length; i++)
			if ((present[i] & 1) && is_zero(start + i * page, page) &&
			    madvise(start + i * page, page, MADV_DONTNEED) == 0)
				dropped = 1;
	}
	return dropped;
}

/*
 * Gives memory back, as malloc_trim(3) does, and the pages of Bun's heap that hold nothing but zeros: its
 * engine has a quarter of a megabyte of empty tables for a compiler that is off.  Such a page reads as zeros
 * afterwards, too, but nobody may write to it meanwhile: so there must be one thread, and no signal comes.
 */
int shim_malloc_trim(size_t keep)
{
	int dropped = malloc_trim(keep);
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char maps[16384];
	size_t used = 0;
	struct stat threads;
	sigset_t all, before;
	/* A directory's links: two, and one for each directory in it. */
	if (stat("/proc/self/task", &threads) != 0 || threads.st_nlink != 3) return dropped;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	if (fd < 0) return dropped;
	for (ssize_t got; used < sizeof maps - 1 && (got = read(fd, maps + used, sizeof maps - 1 - used)) > 0;)
		used += (size_t)got;
	close(fd);
	maps[used] = '\0';
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	for (char *line = maps, *next; (next = strchr(line, '\n')) != NULL; line = next + 1) {
		unsigned long start, end;
		int length = 0;
		*next = '\0';
		/* Anonymous memory: no file, and no name as the stack has one. */
		if (sscanf(line, "%lx-%lx rw-p 00000000 00:00 0 %n", &start, &end, &length) == 2 && length > 0 && line[length] == '\0')
			dropped |= drop_zero_pages((char *)start, (const char *)end, page);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return dropped;
}

/* ------------------------------------------------------------ shared objects: only libc, and it is inside */

extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
extern size_t __pthread_get_minstack(const pthread_attr_t *);

#define FUNCTION(name) { #name, (void *)name }
#define SHIM(name) { #name, (void *)shim_##name }
static const struct { const char *name; void *address; } functions[] = {
	/* Bun looks these up itself.  It calls quick_exit at its end without testing the answer. */
	FUNCTION(quick_exit), FUNCTION(exit), FUNCTION(_exit), FUNCTION(__cxa_thread_atexit_impl),
	FUNCTION(__pthread_get_minstack), FUNCTION(getrandom), FUNCTION(fcntl), FUNCTION(fcntl64),
	/* The program calls these through bun:ffi (system/library.ts). */
	FUNCTION(__errno_location), FUNCTION(access), FUNCTION(chmod), FUNCTION(close),
	FUNCTION(fchmod), FUNCTION(flock), FUNCTION(getdents64), FUNCTION(getsid),
	FUNCTION(inotify_add_watch), FUNCTION(inotify_init1), FUNCTION(inotify_rm_watch), FUNCTION(isatty),
	FUNCTION(kill), SHIM(malloc_trim), FUNCTION(mkdir), FUNCTION(mmap), FUNCTION(open), FUNCTION(pipe2), FUNCTION(poll),
	FUNCTION(read), FUNCTION(readlink),
	FUNCTION(realpath), FUNCTION(rename), FUNCTION(rmdir), FUNCTION(sigprocmask), FUNCTION(statx),
	FUNCTION(symlink), FUNCTION(syscall), FUNCTION(unlink), FUNCTION(utimensat), FUNCTION(waitid),
	FUNCTION(waitpid), FUNCTION(write),
};

static __thread const char *dl_error;

void *dlopen(const char *file, int flags)
{
	(void)flags;
	if (file && strcmp(file, "libc.so.6") == 0) return (void *)(uintptr_t)functions;
	dl_error = "statically linked executable: shared objects cannot be loaded";
	return NULL;
}

void *dlsym(void *handle, const char *name)
{
	(void)handle;
	for (size_t i = 0; i < LENGTH(functions); i++)
		if (strcmp(functions[i].name, name) == 0) return functions[i].address;
#ifdef SHIM_TRACE
	dprintf(STDERR_FILENO, "shim: dlsym %s\n", name);
#endif
	dl_error = "statically linked executable: function not included";
	return NULL;
}

int dlclose(void *handle)
{
	(void)handle;
	return 0;
}

char *dlerror(void)
{
	const char *error = dl_error;
	dl_error = NULL;
	return (char *)(uintptr_t)error;
}

/* libc's own loader, used for name service and character set modules, finds nothing. */
void *__libc_dlopen_mode(const char *file, int mode) { (void)file; (void)mode; return NULL; }
void *__libc_dlsym(void *map, const char *name) { (void)map; (void)name; return NULL; }
void *__libc_dlvsym(void *map, const char *name, const char *v) { (void)map; (void)name; (void)v; return NULL; }
int __libc_dlclose(void *map) { (void)map; return 0; }

/* ------------------------------------------------------------ stack bounds without /proc */

extern void *__libc_stack_end;

int shim_pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes)
{
	/* For the initial thread libc reads /proc/self/maps, and Bun aborts when that fails. */
	int error = pthread_getattr_np(thread, attributes);
	if (error == 0) return 0;
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), most = 64 << 20;
	size_t size = 8 << 20;
	struct rlimit limit;
	if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		size = limit.rlim_cur < most ? (size_t)limit.rlim_cur & ~(page - 1) : most;
	uintptr_t top = ((uintptr_t)__libc_stack_end + page - 1) & ~(uintptr_t)(page - 1);
	if ((error = pthread_attr_init(attributes)) != 0) return error;
	return pthread_attr_setstack(attributes, (void *)(top - size), size);
}

/* ------------------------------------------------------------ a root without /dev/null */

/*
 * What reads as empty and discards what is written, without a file system and without privileges: a
 * datagram socket that is connected to itself, filters out everything it gets, and expects nothing
 * more.  The name that it binds to is one that the kernel makes up, in no directory.  A single write
 * of more than some hundred kilobytes fails.
 */
static int make_sink(int flags)
{
	static struct sock_filter drop = { BPF_RET | BPF_K, 0, 0, 0 };
	const struct sock_fprog filter = { 1, &drop };
	const int space = 1 << 20;
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t size = sizeof name;
	int fd = socket(AF_UNIX, SOCK_DGRAM | (flags & O_CLOEXEC ? SOCK_CLOEXEC : 0), 0);
	if (fd < 0) return -1;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &space, sizeof space);
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0 &&
	    bind(fd, (struct sockaddr *)&name, sizeof name.sun_family) == 0 &&
	    getsockname(fd, (struct sockaddr *)&name, &size) == 0 &&
	    connect(fd, (struct sockaddr *)&name, size) == 0 && shutdown(fd, SHUT_RD) == 0)
		return fd;
	close(fd);
	return -1;
}

/*
 * A null device without a file system: a node on a tmpfs that is never attached to a path, which
 * needs CAP_SYS_ADMIN and CAP_MKNOD.  Otherwise something that behaves like one: for reading only, a
 * sealed memory file, which is empty; for writing, the socket above.
 */
static int make_null(int flags)
{
	int saved = errno, fd = -1;
	int fs = (int)syscall(SYS_fsopen, "tmpfs", 1 /* FSOPEN_CLOEXEC */);
	if (fs >= 0 && syscall(SYS_fsconfig, fs, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0) == 0) {
		int mount = (int)syscall(SYS_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, 0);
		if (mount >= 0) {
			if (mknodat(mount, "null", S_IFCHR | 0666, makedev(1, 3)) == 0) fd = openat(mount, "null", flags);
			close(mount);
		}
	}
	if (fs >= 0) close(fs);
	if (fd < 0 && (flags & O_ACCMODE) != O_RDONLY) fd = make_sink(flags);
	if (fd < 0 && (flags & O_ACCMODE) != O_WRONLY) {
		fd = memfd_create("null", MFD_ALLOW_SEALING | (flags & O_CLOEXEC ? MFD_CLOEXEC : 0));
		if (fd >= 0) fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	}
	errno = saved;
	return fd;
}

/*
 * Bun opens /dev/null with O_CREAT: without the device it would leave a regular file of that name.
 * Such a file, left by somebody's redirection, must not be read in its place, and opening a FIFO could
 * block for ever.  So nothing but the device itself is opened.  If that cannot be done, for whatever
 * reason that concerns the path, there still is a null device.
 */
static int open_at(int directory, const char *path, int flags, mode_t mode)
{
	if (strcmp(path, "/dev/null") != 0) return openat(directory, path, flags, mode);
	flags &= ~O_CREAT;
	struct stat status;
	if (fstatat(directory, path, &status, 0) == 0) {
		if (S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3)) {
			int fd = openat(directory, path, flags);
			if (fd >= 0 || errno == EMFILE || errno == ENFILE || errno == ENOMEM) return fd;
		} else {
			errno = ENODEV;
		}
	}
	return make_null(flags);
}

#define MODE_ARGUMENT(mode, flags) \
	mode_t mode = 0; \
	if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) { \
		va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); \
	}

int shim_open(const char *path, int flags, ...)
{
	MODE_ARGUMENT(mode, flags)
	return open_at(AT_FDCWD, path, flags, mode);
}

int shim_openat(int directory, const char *path, int flags, ...)
{
	MODE_ARGUMENT(mode, flags)
	return open_at(directory, path, flags, mode);
}

/* ------------------------------------------------------------ environment */

/*
 * Bun, JavaScriptCore and mimalloc take orders from the environment, partly with getenv() and partly
 * by walking `environ`.  A root daemon must not obey orders that happen to be in it.  Its children, on
 * the other hand, must get it unchanged, and an object of JavaScript strings cannot hold any
 * environment: what is not UTF-8, has no name or no `=`, or comes twice is changed or lost on the way.
 *
 * So before any code of Bun runs, a placeholder takes the place of each inherited entry: MARK, the
 * entry's index and `=`.  It gives orders to nobody, keeps its place in process.env, and execve() puts
 * the inherited entry itself where it finds one.
 */
#define MARK '\001'

/*
 * The exceptions are what the program looks at.  These have no placeholder: a service gets them as the
 * program sets them and no others, as it is recognized by what the kernel says they are.
 */
static const char *const own[] = { "SYSDIR=", "RUNDIR=", "SYSMGR_" };

/* These are there beside their placeholders, which is why children must not get them as well. */
static const char *const copied[] = { "NO_COLOR=" };

static char **inherited;
static size_t inherited_count;

/*
 * What Bun is to see instead.  Inherited variables of these names are placeholders by then, so execve()
 * can tell them apart, and the children do not get these.  Bun refuses to start if it does not know a
 * BUN_JSC_ option, so a version without one of them does not go unnoticed.
 *
 * The point is that a program with nothing to do sleeps: no thread wakes up, and none is there that
 * only waits for its own end.  The timers that collect garbage and return memory in idle time are off;
 * in their place a small heap is collected whenever a quarter of a megabyte has been allocated.  Each comment
 * says what there would be without the line.
 */
static const char *const settings[] = {
	"DO_NOT_TRACK=1",                        /* perhaps an upload program, run by a crash */
	"BUN_GC_TIMER_DISABLE=1",                /* 13 wake-ups a second after start, for 40 seconds */
	"BUN_JSC_collectionTimerMaxPercentCPU=0.000000001",  /* a collection half a minute after start */
	"BUN_JSC_forceMiniVMMode=1",             /* a heap that may grow by half before it is collected */
	"BUN_JSC_miniVMHeapGrowthFactor=1.1",    /* the same, by a fifth */
	"BUN_JSC_largeHeapSize=262144",          /* 8 MB of garbage, as no timer has it collected */
	"BUN_JSC_useGenerationalGC=0",           /* garbage that lives until the next complete collection */
	"BUN_JSC_numberOfGCMarkers=1",           /* a thread that lives on for 10 seconds after helping */
	"BUN_JSC_useConcurrentGC=0",             /* memory for a thread that collects while the program goes on */
	"BUN_JSC_useEagerCodeBlockJettisonTiming=1",  /* code of the start that stays for ever (supervisor/tidying.ts) */
	"BUN_JSC_structureHeapSizeInKB=65536",   /* the map of 4 GB that are never used */
	"BUN_JSC_useBaselineJIT=0",              /* two more, 0.8 MB, and svctl would run a third longer */
	"BUN_JSC_useWarmUpMarkedBlocks=0",       /* another one, and 0.8 MB made ready in advance */
	"MIMALLOC_SCAVENGER=0",                  /* a thread that wakes up every 30 seconds for ever */
};

static int begins_with_one_of(const char *const *starts, size_t count, const char *entry)
{
	for (size_t i = 0; i < count; i++)
		if (strncmp(entry, starts[i], strlen(starts[i])) == 0) return 1;
	return 0;
}
#define BEGINS_WITH_ONE_OF(starts, entry) begins_with_one_of(starts, LENGTH(starts), entry)

static int is_setting(const char *entry)
{
	for (size_t i = 0; i < LENGTH(settings); i++)
		if (strcmp(entry, settings[i]) == 0) return 1;
	return 0;
}

static void prepare_environment(char **envp)
{
	inherited = envp;
	while (inherited[inherited_count]) inherited_count++;
	const size_t placeholder = sizeof "\001" "18446744073709551615=";
	const size_t most = LENGTH(settings) + 2 * inherited_count + 1;
	char **entry = malloc(most * sizeof *entry + inherited_count * placeholder);
	if (!entry) die("sysmgr: cannot allocate memory for the environment\n");
	char *text = (char *)(entry + most);
	environ = entry;
	for (size_t i = 0; i < LENGTH(settings); i++) *entry++ = (char *)(uintptr_t)settings[i];
	for (size_t i = 0; i < inherited_count; i++) {
		const int is_own = BEGINS_WITH_ONE_OF(own, inherited[i]) && strchr(inherited[i], '=');
		if (is_own || BEGINS_WITH_ONE_OF(copied, inherited[i])) *entry++ = inherited[i];
		if (is_own) continue;
		*entry++ = text;
		text += sprintf(text, "%c%zu=", MARK, i) + 1;
	}
	*entry = NULL;
}

/* The inherited entry that an entry stands for, or the entry itself if it is no placeholder. */
static char *original(char *entry)
{
	if (entry[0] != MARK) return entry;
	const char *digit = entry + 1;
	size_t index = 0;
	for (; *digit >= '0' && *digit <= '9' && index < inherited_count; digit++) index = 10 * index + (size_t)(*digit - '0');
	return digit > entry + 1 && *digit == '=' && index < inherited_count ? inherited[index] : entry;
}

/* ------------------------------------------------------------ what a child inherits */

static struct rlimit files;     /* RLIMIT_NOFILE as this process was started with it */
static rlim_t files_raised;     /* the soft limit that Bun has set since; 0: none */

/* Bun raises its soft limit of open files to the hard one.  Its children are to get the original. */
int shim_setrlimit(int resource, const struct rlimit *limit)
{
	int result = setrlimit(resource, limit);
	if (result == 0 && resource == RLIMIT_NOFILE) files_raised = limit->rlim_cur;
	return result;
}

/*
 * Bun's settings and the copies stay behind, and the inherited entries return.  This runs in a vfork
 * child, too, so it writes to nothing but its stack and this process's limits.
 */
int shim_execve(const char *path, char *const argv[], char *const envp[])
{
	size_t count = 0;
	while (envp && envp[count]) count++;
	if (count > 32768) {
		errno = E2BIG;
		return -1;
	}
	char *plain[count + 1], **end = plain;
	for (size_t i = 0; i < count; i++)
		if (!is_setting(envp[i]) && !BEGINS_WITH_ONE_OF(copied, envp[i])) *end++ = original(envp[i]);
	*end = NULL;

	struct rlimit limit;
	int lower = files_raised && files.rlim_cur && getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	            limit.rlim_cur == files_raised && files.rlim_cur < limit.rlim_cur;
	if (lower) {
		limit.rlim_cur = files.rlim_cur;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	execve(path, argv, plain);
	if (lower) {
		int error = errno;
		limit.rlim_cur = files_raised;
		setrlimit(RLIMIT_NOFILE, &limit);
		errno = error;
	}
	return -1;
}

/* ------------------------------------------------------------ start */

/* Bun's code contains instructions of the x86-64-v2 level everywhere and would die of SIGILL. */
static void check_processor(void)
{
#ifdef __x86_64__
	const unsigned needed = bit_SSE3 | bit_SSSE3 | bit_CMPXCHG16B | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT;
	unsigned a, b, c = 0, d;
	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & needed) != needed)
		die("sysmgr: this processor is too old: it lacks SSE4.2 or POPCNT (x86-64-v2)\n");
#endif
}

/* An init without a console may start us with descriptors 0, 1 or 2 closed; Bun aborts if it cannot fill them. */
static void fill_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0) continue;
		int null = open_at(AT_FDCWD, "/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_RDWR, 0);
		if (null < 0 || null == fd) continue;
		dup2(null, fd);
		close(null);
	}
}

/*
 * A mask that the parent left would be handed on to every child, and with SIGCHLD ignored the kernel
 * throws the exit status of children away.
 */
static void reset_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGCHLD, SIG_DFL);
}

/* Runs from .preinit_array: libc is ready, and no constructor of Bun has run yet. */
static void before_bun(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	check_processor();
	fill_standard_descriptors();
	reset_signals();
	if (getrlimit(RLIMIT_NOFILE, &files) != 0) files.rlim_cur = 0;
	prepare_environment(envp);
}
__attribute__((section(".preinit_array"), used)) static void (*const start)(int, char **, char **) = before_bun;
