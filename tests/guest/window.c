// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the rest of the kernel may do with the VMA of the window: none of it
 * changes what is seen there, and nothing spins.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "files.h"
#include "tcase.h"

/* newer than Debian 12's headers */
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED	(1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC		(1 << 15)
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE			25
#endif

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define GIB	(1UL << 30)

static int inside(size_t size)
{
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, size, NULL)));

	check_eq(vas_switch(vh), 0);
	return vh;
}

/* A process that may not map so much gets an error, and nothing of it. */
static void attach_within(void *arg)
{
	struct rlimit little = { .rlim_cur = GIB, .rlim_max = GIB };
	int vid = tcase_vas(NULL, 0644);

	(void)arg;
	check_eq(setrlimit(RLIMIT_AS, &little), 0);
	check_eq(vas_attach(vid), -ENOMEM);
}

static void attach_with_locked_memory(void *arg)
{
	struct rlimit little = { .rlim_cur = 64 * MIB, .rlim_max = 64 * MIB };

	check_eq(setrlimit(RLIMIT_MEMLOCK, &little), 0);
	check_eq(setgid(1000), 0);
	check_eq(setuid(1000), 0);
	check_eq(mlockall(MCL_FUTURE), 0);
	check_eq(vas_attach(*(int *)arg), -EAGAIN);
	check_eq(munlockall(), 0);
	check_id(vas_attach(*(int *)arg));
}

static void a_process_that_can_have_no_window_is_told(void)
{
	int vid = tcase_vas(tcase_name("v"), 0644);

	tcase_join(tcase_spawn(attach_within, NULL));
	tcase_join(tcase_spawn(attach_with_locked_memory, &vid));
}

/* The kernel writes there, and the program. */
static void written_to(char *at)
{
	int fds[2];

	check_eq(pipe(fds), 0);
	check_eq(write(fds[1], "k", 1), 1);
	check_eq(read(fds[0], at, 1), 1);
	check_eq(*at, 'k');
	*at = 'p';
	check_eq(*at, 'p');
	close(fds[0]);
	close(fds[1]);
}

/* It takes the right to write from all mappings, and then looks for writes. */
static void soft_dirty(void *arg)
{
	(void)arg;
	inside(8 * GIB);
	written_to(BASE);
	file_put("/proc/self/clear_refs", "4");
	written_to(BASE + 1);
	/* entries that are made after it, by the program first or the kernel */
	written_to(BASE + 2 * GIB);
	check_eq(tcase_try_write(BASE + 4 * GIB).sig, 0);
	check_eq(tcase_try_read(BASE + 6 * GIB).sig, 0);
	check_eq(tcase_try_write(BASE + 6 * GIB).sig, 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void small_pages(void *arg)
{
	size_t size;
	void *base;

	inside(MIB);
	check_eq(pvvas_window(&base, &size), 0);
	check_eq(madvise(base, size, MADV_NOHUGEPAGE), 0);
	soft_dirty(arg);
}

static void tracking_of_writes_does_not_stop_them(void)
{
	tcase_join(tcase_spawn(soft_dirty, NULL));
	tcase_join(tcase_spawn(small_pages, NULL));
}

static void register_window(void *arg)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_WP_ASYNC |
					      UFFD_FEATURE_WP_UNPOPULATED };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect wp = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	int fd, fds[2];
	size_t size;
	void *base;

	(void)arg;
	inside(8 * GIB);
	written_to(BASE);
	check_eq(pvvas_window(&base, &size), 0);
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	check(fd >= 0);
	if (ioctl(fd, UFFDIO_API, &api)) {
		tcase_note("this kernel has no such thing");
		_exit(0);
	}
	reg.range.start = (uintptr_t)base;
	reg.range.len = size;
	if (ioctl(fd, UFFDIO_REGISTER, &reg)) {
		tcase_note("memory of this kind is not taken: %s",
			   strerror(errno));
		_exit(0);
	}
	/* where pages are, and where none are yet */
	wp.range.start = (uintptr_t)BASE;
	wp.range.len = 2 * MIB;
	check_eq(ioctl(fd, UFFDIO_WRITEPROTECT, &wp), 0);
	wp.range.start = (uintptr_t)BASE + 4 * GIB;
	check_eq(ioctl(fd, UFFDIO_WRITEPROTECT, &wp), 0);
	/* a signal or an error, but an end */
	tcase_try_write(BASE);
	tcase_try_read(BASE + 4096);
	tcase_try_write(BASE + 4 * GIB);
	check_eq(pipe(fds), 0);
	check_eq(write(fds[1], "abcd", 4), 4);
	if (read(fds[0], BASE + 4 * GIB + 4096, 1) < 0)
		check_eq(errno, EFAULT);
	if (read(fds[0], BASE + 4096, 1) < 0)
		check_eq(errno, EFAULT);
	/* beside it all is as ever */
	written_to(BASE + 2 * GIB);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void userfaultfd_on_the_window_ends_in_an_error_at_worst(void)
{
	tcase_join(tcase_spawn(register_window, NULL));
}

static void read_all(const char *path)
{
	char buf[4096];
	int fd = open(path, O_RDONLY);
	long sum = 0, n;

	check(fd >= 0);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		sum += n;
	check(sum > 0);
	close(fd);
}

static void lists_of_memory_leave_the_window_alone(void)
{
	uint64_t entry[8];
	int fd;

	inside(8 * GIB);
	written_to(BASE);
	BASE[5 * GIB] = 5;
	read_all("/proc/self/maps");
	read_all("/proc/self/smaps");
	read_all("/proc/self/smaps_rollup");
	fd = open("/proc/self/pagemap", O_RDONLY);
	check(fd >= 0);
	check_eq(pread(fd, entry, sizeof(entry), (off_t)((uintptr_t)BASE / 512)),
		 (int)sizeof(entry));
	close(fd);
	file_put("/proc/self/clear_refs", "1");
	check_eq(*BASE, 'p');
	check_eq(BASE[5 * GIB], 5);
	written_to(BASE + 4096);
	written_to(BASE + 3 * GIB);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void advice_changes_nothing(void)
{
	static const int advice[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED,
		MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_DONTFORK,
		MADV_DOFORK, MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_HUGEPAGE,
		MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK,
		MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ,
		MADV_POPULATE_WRITE, MADV_COLLAPSE,
	};
	size_t i, size;
	void *base;
	int vh = inside(2 * GIB);

	written_to(BASE);
	check_eq(pvvas_window(&base, &size), 0);
	for (i = 0; i < sizeof(advice) / sizeof(advice[0]); i++) {
		madvise(base, size, advice[i]);
		madvise(BASE, 4 * MIB, advice[i]);
		check_eq(*BASE, 'p');
		written_to(BASE + 4096 * (i + 1));
		*BASE = 'p';
	}
	mlock(BASE, 4 * MIB);
	munlock(BASE, 4 * MIB);
	mlockall(MCL_CURRENT);
	munlockall();
	msync(BASE, 4096, MS_SYNC);
	mprotect(BASE, 4096, PROT_NONE);
	mremap(BASE, 4096, 8192, MREMAP_MAYMOVE);
	/* a copy of a shared mapping, and one that leaves the old in place */
	check(mremap(base, 0, size, MREMAP_MAYMOVE) == MAP_FAILED);
	check(mremap(base, size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP) ==
	      MAP_FAILED);
	check(mremap(base, size, size / 2, 0) == MAP_FAILED);
	check(mmap(BASE, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
		   MAP_FIXED, -1, 0) == MAP_FAILED);
	check_eq(*BASE, 'p');
	check_eq(vas_current(), vh);
	tcase_join(tcase_spawn(soft_dirty, NULL));
	check_eq(vas_switch(VAS_HOME), 0);
}

/* A process that unmaps it in a view has lost the window, and nothing else. */
static void a_process_may_unmap_its_window(void)
{
	size_t size;
	void *base;

	inside(MIB);
	check_eq(pvvas_window(&base, &size), 0);
	check_eq(munmap(base, size), 0);
	check_eq(tcase_try_read(BASE).sig, SIGSEGV);
	/* something else there is ordinary memory */
	check(mmap(BASE, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		   MAP_ANONYMOUS | MAP_FIXED, -1, 0) == BASE);
	BASE[0] = 1;
	sched_yield();
	check_eq(BASE[0], 1);
}

/* What wants struct pages gets an error, and no page of another process. */
static void the_window_cannot_be_pinned(void)
{
	struct iovec local, remote = { BASE, 4096 };
	static char buf[4096] __attribute__((aligned(4096)));
	int fd, fds[2];

	local = (struct iovec){ buf, 4096 };
	inside(MIB);
	strcpy(BASE, "secret");
	check_eq(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), -1);
	check_eq(errno, EFAULT);
	check_eq(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), -1);
	check_eq(errno, EFAULT);
	check_eq(pipe(fds), 0);
	check_eq(vmsplice(fds[1], &remote, 1, 0), -1);
	check_eq(errno, EFAULT);
	fd = open("/dev/shm/direct", O_RDWR | O_CREAT | O_DIRECT, 0600);
	if (fd >= 0) {
		/* tmpfs copies: that works; others pin: that is refused */
		if (write(fd, BASE, 4096) < 0)
			check_eq(errno, EFAULT);
		close(fd);
		unlink("/dev/shm/direct");
	}
	check_eq(strcmp(BASE, "secret"), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static bool cpu_has(const char *flag)
{
	char *line = NULL;
	size_t n = 0;
	FILE *f = fopen("/proc/cpuinfo", "r");
	bool found = false;

	check(f);
	while (!found && getline(&line, &n, f) > 0)
		found = !strncmp(line, "flags", 5) && strstr(line, flag);
	fclose(f);
	return found;
}

static long faults(void)
{
	struct rusage ru;

	check_eq(getrusage(RUSAGE_SELF, &ru), 0);
	return ru.ru_minflt + ru.ru_majflt;
}

/* One fault of page tables for a GiB, or for 2 MiB on a CPU that cannot. */
static void the_window_has_the_largest_pages_of_the_cpu(void)
{
	bool large = cpu_has(" pdpe1gb");
	long before, n;
	size_t at;

	inside(8 * GIB);
	written_to(BASE);
	before = faults();
	for (at = 2 * GIB; at < 4 * GIB; at += 32 * MIB)
		((volatile char *)BASE)[at] = 1;
	for (at = 2 * GIB; at < 4 * GIB; at += 32 * MIB)
		((volatile char *)BASE)[at + MIB] = 1;
	n = faults() - before;
	tcase_note("%ld faults in 2 GiB, pages of %s", n,
		   large ? "1 GiB" : "2 MiB");
	check(n >= (large ? 2 : 64));
	check(n <= (large ? 4 : 68));
	check_eq(vas_switch(VAS_HOME), 0);
}

/* No view of it may show less because the kernel looks for room. */
static void memory_stays_where_it_is_when_the_kernel_moves_and_frees(void)
{
	size_t at, size = 16 * MIB;
	int i;

	inside(size);
	for (at = 0; at < size; at += 4096)
		*(size_t *)(BASE + at) = at ^ 0x5a5a;
	for (i = 0; i < 4; i++) {
		char *p = malloc(32 * MIB);

		file_put("/proc/sys/vm/compact_memory", "1");
		file_put("/proc/sys/vm/drop_caches", "3");
		check(p);
		memset(p, i, 32 * MIB);
		for (at = 0; at < size; at += 4096)
			check_eq(*(size_t *)(BASE + at), at ^ 0x5a5a);
		free(p);
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

static int attach_by(int dev, int vid, unsigned int *handle)
{
	struct pvvas_ioc_attach arg = { .size = sizeof(arg) };

	arg.id = (unsigned int)vid;
	if (ioctl(dev, PVVAS_IOC_VAS_ATTACH, &arg))
		return -errno;
	*handle = arg.handle;
	return 0;
}

static int detach_by(int dev, unsigned int handle)
{
	struct pvvas_ioc_attach arg = { .size = sizeof(arg), .handle = handle };

	return ioctl(dev, PVVAS_IOC_VAS_DETACH, &arg) ? -errno : 0;
}

/* Nothing hangs on the open file: its holder acts for itself. */
static void child_with_file(int dev, int vid, unsigned int handle)
{
	unsigned int own = 0;

	check_eq(detach_by(dev, handle), -ENOENT);
	check_eq(attach_by(dev, vid, &own), 0);
	check_eq(detach_by(dev, own), 0);
}

static void an_open_device_carries_no_attachment_to_others(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL), dev, pair[2];
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { "x", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	char number[4][16];
	char *argv[] = { "/proc/self/exe", "with-file", number[0], number[1],
			 number[2], NULL };
	unsigned int handle = 0;
	pid_t pid;

	check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	dev = open("/dev/pvvas", O_RDWR);
	check(dev >= 0);
	check_eq(attach_by(dev, vid, &handle), 0);
	/* to a process that has it by a socket */
	pid = fork();
	check(pid >= 0);
	if (!pid) {
		char byte;
		int got;

		iov.iov_base = &byte;
		close(dev);
		check_eq(recvmsg(pair[1], &msg, 0), 1);
		memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(got));
		child_with_file(got, vid, handle);
		_exit(0);
	}
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &dev, sizeof(dev));
	check_eq(sendmsg(pair[0], &msg, 0), 1);
	tcase_join(pid);
	/* and to a program that inherits it */
	snprintf(number[0], sizeof(number[0]), "%d", dev);
	snprintf(number[1], sizeof(number[1]), "%d", vid);
	snprintf(number[2], sizeof(number[2]), "%u", handle);
	pid = fork();
	check(pid >= 0);
	if (!pid) {
		unsigned int own = 0;

		/* one of its own, in the life before */
		check_eq(attach_by(dev, vid, &own), 0);
		snprintf(number[2], sizeof(number[2]), "%u", own);
		execv(argv[0], argv);
		_exit(1);
	}
	tcase_join(pid);
	check_eq(detach_by(dev, handle), 0);
	close(dev);
}

static unsigned long memmap_number(int entry, const char *what)
{
	unsigned long value = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/firmware/memmap/%d/%s", entry, what);
	f = fopen(path, "r");
	check(f && fscanf(f, "%lx", &value) == 1);
	fclose(f);
	return value;
}

static bool memmap_is_reserved(int entry)
{
	char path[64], type[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/sys/firmware/memmap/%d/type", entry);
	f = fopen(path, "r");
	check(f && fgets(type, sizeof(type), f));
	fclose(f);
	return !strcasecmp(type, "reserved\n");
}

/* So that neither firmware nor kernel puts a device's memory there. */
static void the_memory_map_has_the_window_as_reserved(void)
{
	struct pvvas_ioc_info info = { .size = sizeof(info) };
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC), i;
	bool found = false;
	char path[64];

	check(fd >= 0);
	check_eq(ioctl(fd, PVVAS_IOC_INFO, &info), 0);
	for (i = 0; !found; i++) {
		snprintf(path, sizeof(path), "/sys/firmware/memmap/%d", i);
		if (access(path, R_OK))
			break;
		found = memmap_is_reserved(i) &&
			memmap_number(i, "end") - memmap_number(i, "start") >=
			info.window_size - 1;
	}
	check(found);
	close(fd);
}

static const struct tcase cases[] = {
	CASE_SECONDS(tracking_of_writes_does_not_stop_them, 20),
	CASE_SECONDS(userfaultfd_on_the_window_ends_in_an_error_at_worst, 20),
	CASE_SECONDS(lists_of_memory_leave_the_window_alone, 20),
	CASE_SECONDS(advice_changes_nothing, 20),
	CASE(a_process_that_can_have_no_window_is_told),
	CASE(a_process_may_unmap_its_window),
	CASE(the_window_cannot_be_pinned),
	CASE(the_window_has_the_largest_pages_of_the_cpu),
	CASE(memory_stays_where_it_is_when_the_kernel_moves_and_frees),
	CASE(an_open_device_carries_no_attachment_to_others),
	CASE(the_memory_map_has_the_window_as_reserved),
};

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "with-file")) {
		child_with_file(atoi(argv[2]), atoi(argv[3]),
				(unsigned int)strtoul(argv[4], NULL, 10));
		return 0;
	}
	return tcase_main(cases, sizeof(cases) / sizeof(cases[0]), 0);
}
