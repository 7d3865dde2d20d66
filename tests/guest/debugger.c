// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a debugger does: reads and writes the window of another process, in the
 * view of the thread that stopped.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "files.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

struct debuggee {
	_Atomic int ready;
	_Atomic int go;
	_Atomic long tid[2];
};

static struct debuggee *d;
static int handle[2];

static int view_with(const char *what)
{
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, 4 * MIB, NULL)));

	check_eq(vas_switch(vh), 0);
	strcpy(BASE, what);
	check_eq(vas_switch(VAS_HOME), 0);
	return vh;
}

static void stop_inside(void *arg)
{
	(void)arg;
	view_with("other");
	handle[0] = view_with("first");
	check_eq(vas_switch(handle[0]), 0);
	check_eq(ptrace(PTRACE_TRACEME, 0, 0, 0), 0);
	raise(SIGTRAP);
	check_eq(strcmp(BASE, "FIRST"), 0);
	check_eq(strcmp(BASE + 3 * MIB, "new"), 0);
	check_eq(strcmp(BASE + 4094, "pokepoke"), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static int memory_of(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	check(fd >= 0);
	return fd;
}

static void wait_for_stop(pid_t pid, int sig)
{
	int status;

	check_eq(waitpid(pid, &status, __WALL), pid);
	check(WIFSTOPPED(status));
	check_eq(WSTOPSIG(status), sig);
}

static void a_debugger_reads_and_writes_the_view_of_the_stopped_thread(void)
{
	union { long l; char c[8]; } word;
	char text[16] = "";
	pid_t pid;
	int fd;

	pid = tcase_spawn(stop_inside, NULL);
	wait_for_stop(pid, SIGTRAP);
	fd = memory_of(pid);
	check_eq(pread(fd, text, 6, (off_t)BASE), 6);
	check_eq(strcmp(text, "first"), 0);
	errno = 0;
	word.l = ptrace(PTRACE_PEEKDATA, pid, BASE, 0);
	check_eq(errno, 0);
	check_eq(memcmp(word.c, "first", 6), 0);
	check_eq(pwrite(fd, "FIRST", 6, (off_t)BASE), 6);
	/* over a page's border, and where nothing was yet */
	check_eq(pwrite(fd, "pokepoke", 9, (off_t)BASE + 4094), 9);
	check_eq(pread(fd, text, 4, (off_t)BASE + 2 * MIB), 4);
	check_eq(memcmp(text, "\0\0\0\0", 4), 0);
	memcpy(word.c, "new\0\0\0\0\0", 8);
	check_eq(ptrace(PTRACE_POKEDATA, pid, BASE + 3 * MIB, word.l), 0);
	/* no segment there */
	check_eq(pread(fd, text, 4, (off_t)BASE + 8 * MIB), -1);
	check_eq(errno, EIO);
	check_eq(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	tcase_join(pid);
	close(fd);
}

static void read_only_stop(void *arg)
{
	int vid = tcase_vas(NULL, 0600), sid = tcase_seg(NULL, BASE, MIB, 0600);
	int vh;

	(void)arg;
	check_eq(seg_attach_prot(vid, sid, 1), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	check_eq(ptrace(PTRACE_TRACEME, 0, 0, 0), 0);
	raise(SIGTRAP);
	check_eq(BASE[0], 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_debugger_has_no_more_rights_than_the_view(void)
{
	pid_t pid = tcase_spawn(read_only_stop, NULL);
	char c = 1;
	int fd;

	wait_for_stop(pid, SIGTRAP);
	fd = memory_of(pid);
	check_eq(pread(fd, &c, 1, (off_t)BASE), 1);
	check_eq(c, 0);
	c = 5;
	check_eq(pwrite(fd, &c, 1, (off_t)BASE), -1);
	check_eq(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	tcase_join(pid);
	close(fd);
}

static void *second_thread(void *arg)
{
	check_eq(vas_switch(handle[1]), 0);
	atomic_store(&d->tid[1], gettid());
	atomic_fetch_add(&d->ready, 1);
	while (!atomic_load(&d->go))
		;
	/* the event: it stops first */
	raise(SIGTRAP);
	check_eq(vas_switch(VAS_HOME), 0);
	return arg;
}

static void two_threads(void *arg)
{
	pthread_t thread;

	(void)arg;
	handle[0] = view_with("first");
	handle[1] = view_with("second");
	check_eq(pthread_create(&thread, NULL, second_thread, NULL), 0);
	check_eq(vas_switch(handle[0]), 0);
	atomic_store(&d->tid[0], gettid());
	atomic_fetch_add(&d->ready, 1);
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void of_two_stopped_threads_it_is_the_one_that_stopped_first(void)
{
	char text[16] = "";
	pid_t pid, one, two;
	int fd;

	d = tcase_shared(sizeof(*d));
	pid = tcase_spawn(two_threads, NULL);
	while (atomic_load(&d->ready) < 2)
		usleep(1000);
	one = (pid_t)atomic_load(&d->tid[0]);
	two = (pid_t)atomic_load(&d->tid[1]);
	check_eq(ptrace(PTRACE_SEIZE, one, 0, 0), 0);
	check_eq(ptrace(PTRACE_SEIZE, two, 0, 0), 0);
	atomic_store(&d->go, 1);
	wait_for_stop(two, SIGTRAP);
	/* now the debugger stops the others, as gdb does */
	check_eq(ptrace(PTRACE_INTERRUPT, one, 0, 0), 0);
	wait_for_stop(one, SIGTRAP);
	fd = memory_of(pid);
	check_eq(pread(fd, text, 7, (off_t)BASE), 7);
	check_eq(strcmp(text, "second"), 0);
	check_eq(ptrace(PTRACE_DETACH, two, 0, 0), 0);
	check_eq(ptrace(PTRACE_DETACH, one, 0, 0), 0);
	tcase_join(pid);
	close(fd);
}

static void ones_own_memory_file_is_in_ones_own_view(void)
{
	int fd = memory_of(getpid()), a = view_with("first");
	char text[16] = "";

	view_with("other");
	check_eq(vas_switch(a), 0);
	check_eq(pread(fd, text, 6, (off_t)BASE), 6);
	check_eq(strcmp(text, "first"), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(pread(fd, text, 6, (off_t)BASE), -1);
	close(fd);
}

static int marked_segment_of(char *base, size_t length, int flags)
{
	struct pvvas_ioc_create arg = {
		.size = sizeof(arg), .mode = 0600, .base = (uintptr_t)base,
		.length = length, .flags = flags,
	};
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);

	check(fd >= 0);
	check_eq(ioctl(fd, PVVAS_IOC_SEG_CREATE, &arg), 0);
	close(fd);
	return (int)arg.id;
}

static int marked_segment(char *base, int flags)
{
	return marked_segment_of(base, 4 * MIB, flags);
}

/* Where the kernel's second mapping of a marked segment is, or NULL. */
static char *dump_mapping(pid_t pid)
{
	char path[64], line[512];
	char *at = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	check(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "[pvvas segment "))
			at = (char *)strtoul(line, NULL, 16);
	fclose(f);
	return at;
}

struct borrower {
	int vid;
	_Atomic int step;
};

static void borrow(void *arg)
{
	struct borrower *b = arg;
	char *at, *moved, c;
	int vh;

	check_eq(setgid(1000), 0);
	check_eq(setuid(1000), 0);
	check_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
	vh = check_id(vas_attach(b->vid));
	check_eq(vas_switch(vh), 0);
	check_eq(BASE[MIB], 'x');
	at = dump_mapping(getpid());
	check(at);
	/* it is the kernel's, for a core */
	check_eq(tcase_try_read(at + MIB).sig, SIGBUS);
	moved = mremap(at, 4 * MIB, 4 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED,
		       (void *)0x10000000000);
	check(moved != MAP_FAILED);
	check_eq(tcase_try_read(moved + MIB).sig, SIGBUS);
	atomic_store(&b->step, 1);
	while (atomic_load(&b->step) < 2)
		usleep(1000);
	/* taken out of the VAS: out of reach, by whatever way */
	check_eq(tcase_try_read(BASE + MIB).sig, SIGSEGV);
	check_eq(tcase_try_read(moved + MIB).sig, SIGBUS);
	check_eq(pread(memory_of(getpid()), &c, 1, (off_t)(moved + MIB)), -1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void what_is_taken_away_is_not_read_by_way_of_the_dump(void)
{
	struct pvvas_stats st = { .size = sizeof(st) };
	struct borrower *b = tcase_shared(sizeof(*b));
	int sid = marked_segment(BASE, PVVAS_CREATE_DUMP), vh;
	char c = 0, *at;
	pid_t pid;
	int fd;

	tcase_track_seg(sid);
	b->vid = tcase_vas(NULL, 0644);
	check_eq(seg_attach(b->vid, sid), 0);
	vh = check_id(vas_attach(b->vid));
	check_eq(vas_switch(vh), 0);
	BASE[MIB] = 'x';
	check_eq(vas_switch(VAS_HOME), 0);
	pid = tcase_spawn(borrow, b);
	while (!atomic_load(&b->step))
		usleep(1000);
	check_eq(pvvas_stats(&st), 0);
	check_eq(st.segs, 1);
	/* a debugger that writes a core reads it there, while it is shown */
	at = dump_mapping(pid);
	check(at);
	fd = memory_of(pid);
	check_eq(pread(fd, &c, 1, (off_t)(at + MIB)), 1);
	check_eq(c, 'x');
	check_eq(pwrite(fd, &c, 1, (off_t)(at + MIB)), -1);
	check_eq(seg_detach(b->vid, sid), 0);
	check_eq(pread(fd, &c, 1, (off_t)(at + MIB)), -1);
	close(fd);
	/* nor does it keep the memory from the one that pays for it */
	check_eq(seg_delete(sid), 0);
	check_eq(pvvas_stats(&st), 0);
	check_eq(st.segs, 0);
	check_eq(st.pages, 0);
	atomic_store(&b->step, 2);
	tcase_join(pid);
}

#define EVENTS	"/sys/kernel/tracing/events/pvvas/"

static void idle(void *arg)
{
	(void)arg;
	check_eq(vas_switch(view_with("third")), 0);
	usleep(1000);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void attach_more_than_there_are_slots(void *arg)
{
	int vid = check_id(vas_create(NULL, 0600)), first, i;

	(void)arg;
	first = check_id(vas_attach(vid));
	for (i = 0; i < 515; i++)
		check_id(vas_attach(vid));
	check_eq(vas_switch(first), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

/* What the tracepoint, or all of them for "", told while a process ran @fn. */
static const char *trace_of(const char *event, void (*fn)(void *arg))
{
	static char text[1 << 16];
	char enable[128];
	ssize_t n;
	int fd;

	file_mount("tracefs", "/sys/kernel/tracing");
	snprintf(enable, sizeof(enable), EVENTS "%s/enable", event);
	file_clear("/sys/kernel/tracing/trace");
	file_put(enable, "1");
	tcase_join(tcase_spawn(fn, NULL));
	file_put(enable, "0");
	fd = open("/sys/kernel/tracing/trace", O_RDONLY);
	check(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	check(n > 0);
	close(fd);
	return text;
}

static void a_tracepoint_tells_who_loses_a_slot(void)
{
	const char *text = trace_of("pvvas_evict",
				    attach_more_than_there_are_slots);
	const char *line = strstr(text, "pvvas_evict: handle ");
	unsigned int handle, slot;
	int n;

	check(line);
	n = sscanf(line, "pvvas_evict: handle 0x%x slot %u", &handle, &slot);
	check_eq(n, 2);
	check(handle & PVVAS_HANDLE);
	check(slot >= 1 && slot < 512);
}

static void tracepoints_tell_of_attach_fault_and_context_load(void)
{
	const char *text = trace_of("", idle);

	check(strstr(text, "pvvas_attach: vas "));
	check(strstr(text, "pvvas_fault: address 0x200040000000 "));
	check(strstr(text, "pvvas_ctx_load: context "));
}

/* Not to be found anywhere but where it is written. */
#define MARK	64

static char mark_byte(int which, int i)
{
	return (char)(i * (which ? 29 : 13) ^ (which ? 0x5a : 0xa5));
}

static void die_with_core(void *arg)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	volatile char *at;
	int vid, vh, i;

	(void)arg;
	check_eq(setrlimit(RLIMIT_CORE, &limit), 0);
	vid = check_id(vas_create(NULL, 0600));
	check_eq(seg_attach(vid, marked_segment(BASE, PVVAS_CREATE_DUMP)), 0);
	check_eq(seg_attach(vid, marked_segment(BASE + 8 * MIB, 0)), 0);
	vh = check_id(vas_attach(vid));
	/* one that is detached again leaves nothing */
	check_eq(vas_detach(check_id(vas_attach(vid))), 0);
	check_eq(vas_switch(vh), 0);
	at = BASE + MIB;
	for (i = 0; i < MARK; i++) {
		at[i] = mark_byte(0, i);
		at[i + 8 * MIB] = mark_byte(1, i);
	}
	/* inside the view */
	syscall(SYS_kill, getpid(), SIGABRT);
	for (;;)
		pause();
}

static bool holds(const char *text, size_t size, int which)
{
	char mark[MARK];
	int i;

	for (i = 0; i < MARK; i++)
		mark[i] = mark_byte(which, i);
	return memmem(text, size, mark, MARK);
}

static void a_core_dump_holds_the_segments_that_are_marked(void)
{
	struct stat st;
	char path[64];
	pid_t pid;
	char *text;
	int fd;

	file_put("/proc/sys/kernel/core_pattern", "/tmp/core.%p");
	pid = tcase_spawn(die_with_core, NULL);
	tcase_join_killed(pid, SIGABRT);
	snprintf(path, sizeof(path), "/tmp/core.%d", pid);
	fd = open(path, O_RDONLY);
	check(fd >= 0);
	check_eq(fstat(fd, &st), 0);
	/* the window itself, 8 TiB, is not in it */
	check(st.st_size < 64 * (off_t)MIB);
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	check(text != MAP_FAILED);
	check(holds(text, (size_t)st.st_size, 0));
	check(!holds(text, (size_t)st.st_size, 1));
	/* NT_FILE tells where in the window it was */
	check(memmem(text, (size_t)st.st_size, " at 0x200040000000]", 19));
	close(fd);
	unlink(path);
}

#define SPARSE	(64UL << 30)

static void die_with_sparse_core(void *arg)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	int vid, i;

	(void)arg;
	check_eq(setrlimit(RLIMIT_CORE, &limit), 0);
	vid = check_id(vas_create(NULL, 0600));
	check_eq(seg_attach(vid, marked_segment_of(BASE, SPARSE,
						   PVVAS_CREATE_DUMP)), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	for (i = 0; i < MARK; i++) {
		BASE[MIB + i] = mark_byte(0, i);
		BASE[SPARSE - MIB + i] = mark_byte(1, i);
	}
	syscall(SYS_kill, getpid(), SIGABRT);
	for (;;)
		pause();
}

/* Among what is no hole. */
static bool file_holds(int fd, int which)
{
	static char text[MIB];
	off_t at = 0;
	ssize_t n;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		n = pread(fd, text, sizeof(text), at);
		check(n > 0);
		if (holds(text, (size_t)n, which))
			return true;
		/* marks lie at the beginning of a page */
		at += n < 4096 ? n : n / 4096 * 4096;
	}
	return false;
}

static void a_core_of_a_sparse_segment_is_there_soon(void)
{
	char path[64];
	pid_t pid;
	int fd;

	file_put("/proc/sys/kernel/core_pattern", "/tmp/core.%p");
	pid = tcase_spawn(die_with_sparse_core, NULL);
	tcase_join_killed(pid, SIGABRT);
	snprintf(path, sizeof(path), "/tmp/core.%d", pid);
	fd = open(path, O_RDONLY);
	check(fd >= 0);
	check(file_holds(fd, 0));
	check(file_holds(fd, 1));
	close(fd);
	unlink(path);
}

/* Shares the memory, is no thread, and leaves a core. */
static int crash_beside(void *arg)
{
	(void)arg;
	syscall(SYS_kill, (int)syscall(SYS_getpid), SIGABRT);
	return 0;
}

static void survive_a_core(void *arg)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	int vid = check_id(vas_create(NULL, 0600)), status;
	static char stack[64 << 10] __attribute__((aligned(16)));
	char path[64], *at;
	pid_t pid;

	(void)arg;
	check_eq(setrlimit(RLIMIT_CORE, &limit), 0);
	check_eq(seg_attach(vid, marked_segment(BASE, PVVAS_CREATE_DUMP)), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	BASE[MIB] = 'x';
	at = dump_mapping(getpid());
	check(at);
	pid = clone(crash_beside, stack + sizeof(stack), CLONE_VM | SIGCHLD,
		    NULL);
	check(pid > 0);
	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFSIGNALED(status) && WCOREDUMP(status));
	snprintf(path, sizeof(path), "/tmp/core.%d", pid);
	unlink(path);
	check_eq(tcase_try_read(at + MIB).sig, SIGBUS);
	check_eq(BASE[MIB], 'x');
	check_eq(vas_switch(VAS_HOME), 0);
}

/* Or it could go on reading what is taken out of the VAS later. */
static void a_core_leaves_nothing_with_who_shares_the_memory(void)
{
	file_put("/proc/sys/kernel/core_pattern", "/tmp/core.%p");
	tcase_join(tcase_spawn(survive_a_core, NULL));
}

static const struct tcase cases[] = {
	CASE(a_debugger_reads_and_writes_the_view_of_the_stopped_thread),
	CASE(a_debugger_has_no_more_rights_than_the_view),
	CASE(of_two_stopped_threads_it_is_the_one_that_stopped_first),
	CASE(ones_own_memory_file_is_in_ones_own_view),
	CASE(a_core_dump_holds_the_segments_that_are_marked),
	CASE(a_core_of_a_sparse_segment_is_there_soon),
	CASE(what_is_taken_away_is_not_read_by_way_of_the_dump),
	CASE(a_core_leaves_nothing_with_who_shares_the_memory),
	CASE(tracepoints_tell_of_attach_fault_and_context_load),
	CASE(a_tracepoint_tells_who_loses_a_slot),
};

TCASE_MAIN(cases, 0)
