// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory beyond the limit of a user, of a memory cgroup, or of the machine is refused
 * to the process that asks for it, and to no other one.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>
#include <sys/ioctl.h>

#include "cgroup.h"
#include "driver.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define NOBODY	1000

static int seg_attached_with(size_t size, uint32_t flags)
{
	struct seg_options options = { .size = sizeof(options), .flags = flags };
	int vid = check_id(vas_create(NULL, 0600)), sid, vh;

	sid = check_id(seg_alloc_with(NULL, BASE, size, 0600, &options));

	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	return sid;
}

static int seg_attached(size_t size)
{
	return seg_attached_with(size, 0);
}

static void touch(size_t from, size_t to)
{
	for (; from < to; from += 4096)
		BASE[from] = 1;
}

static void populate_bytes(size_t bytes, int expect)
{
	struct pvvas_ioc_create arg = {
		.size = sizeof(arg), .mode = 0600, .length = bytes,
		.flags = PVVAS_CREATE_POPULATE,
	};
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);

	check(fd >= 0);
	check_eq(ioctl(fd, PVVAS_IOC_SEG_CREATE, &arg) ? -errno : 0, expect);
	close(fd);
}

static void populate(int expect)
{
	populate_bytes(8 * MIB, expect);
}

static void use_memory(void *arg)
{
	int sid;

	(void)arg;
	tcase_become(NOBODY);
	populate(-EDQUOT);
	sid = seg_attached(8 * MIB);
	touch(0, 4 * MIB);
	check_eq(tcase_try_write(BASE + 4 * MIB).sig, SIGBUS);
	check_eq(tcase_try_read(BASE + 5 * MIB).sig, SIGBUS);
	/* a system call gets an error */
	{
		int fds[2];

		check_eq(pipe(fds), 0);
		check_eq(write(fds[1], "x", 1), 1);
		check_eq(read(fds[0], BASE + 6 * MIB, 1), -1);
		check_eq(errno, EFAULT);
	}
	check_eq(BASE[4096], 1);
	(void)sid;
}

static void a_user_has_so_much_memory(void)
{
	driver_with("user_memory_mib", 4, 0, use_memory);
}

/* The copy of the moment counts as any clone. */
static void save_too_much(void *arg)
{
	int vid, sid;

	(void)arg;
	tcase_become(NOBODY);
	vid = tcase_vas(tcase_name("much"), 0600);
	sid = tcase_seg(NULL, BASE, 8 * MIB, 0600);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	touch(0, 3 * MIB);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_save(&vid, 1, "/tmp/never.made", NULL), -EDQUOT);
	check_eq(access("/tmp/never.made", F_OK), -1);
}

static void a_save_above_the_quota_is_edquot(void)
{
	driver_with("user_memory_mib", 4, 0, save_too_much);
}

static void use_machine(void *arg)
{
	(void)arg;
	populate(-ENOSPC);
	seg_attached(8 * MIB);
	touch(0, 4 * MIB);
	check_eq(tcase_try_write(BASE + 4 * MIB).sig, SIGBUS);
}

static void the_machine_has_so_much_memory(void)
{
	driver_with("max_memory_mib", 4, 0, use_machine);
}

struct result {
	_Atomic size_t touched;	/* bytes, when it is over */
	_Atomic int leave;
};

/* When the limit is reached, nothing but memory that was touched before. */
static void in_cgroup(void *arg)
{
	struct result *r = arg;
	size_t at;

	atomic_store(&r->touched, 0);
	cgroup_enter("small");
	seg_attached(64 * MIB);
	for (at = 0; at < 64 * MIB; at += 4096)
		if (tcase_try_write(BASE + at).sig == SIGBUS)
			break;
	atomic_store(&r->touched, at);
	while (!atomic_load(&r->leave))
		;
	_exit(BASE[at - 4096] == 1 ? 0 : 1);
}

static void populate_in_cgroup(void *arg)
{
	(void)arg;
	cgroup_enter("small");
	populate_bytes(64 * MIB, -ENOMEM);
	/* and what was had until then is back */
	check(cgroup_bytes("small") < 6 * (long)MIB);
	populate_bytes(4 * MIB, 0);
}

static void more_at_once_than_the_cgroup_has_is_enomem(void)
{
	cgroup_make("small", "16777216");
	tcase_join(tcase_spawn(populate_in_cgroup, NULL));
	cgroup_remove("small");
}

/* Not only pages: also what remembers where they are. */
static void sparse_in_cgroup(void *arg)
{
	size_t size = 4UL << 40, at;
	long before, after;

	(void)arg;
	cgroup_enter("small");
	seg_attached_with(size, SEG_SMALL);
	BASE[0] = 1;
	before = cgroup_bytes("small");
	for (at = 0; at < size; at += 8UL << 30)
		BASE[at] = 1;
	after = cgroup_bytes("small");
	tcase_note("512 pages far from each other: %ld bytes", after - before);
	check(after - before >= 512 * (4096 + 1500));
}

static void what_finds_pages_is_charged_too(void)
{
	cgroup_make("small", "67108864");
	tcase_join(tcase_spawn(sparse_in_cgroup, NULL));
	cgroup_remove("small");
}

static void fill_memory(void *arg)
{
	long kib = tcase_number("/proc/meminfo", "MemTotal:");

	(void)arg;
	/* nearly all that there is, which is more than is free */
	check(kib > 0);
	populate_bytes(((size_t)kib << 10) / 100 * 97 & ~(2 * MIB - 1),
		       -ENOMEM);
	populate_bytes(32 * MIB, 0);
}

static void no_memory_left_is_enomem_and_nobody_dies(void)
{
	long kills = tcase_number("/proc/vmstat", "oom_kill ");

	driver_with("max_memory_mib", 1 << 20, 0, fill_memory);
	check_eq(tcase_number("/proc/vmstat", "oom_kill "), kills);
}

/* Page after page, until there is none: the end of this process alone. */
static void touch_all_there_is(void *arg)
{
	size_t size = *(size_t *)arg, at;
	struct pvvas_ioc_create create = {
		.size = sizeof(create), .mode = 0600, .base = (uintptr_t)BASE,
		.length = size, .flags = PVVAS_CREATE_HUGE,
	};
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);
	int vid = check_id(vas_create(NULL, 0600));

	check(fd >= 0);
	/* a core would want memory, which the kernel warns of */
	check_eq(prctl(PR_SET_DUMPABLE, 0), 0);
	check_eq(ioctl(fd, PVVAS_IOC_SEG_CREATE, &create), 0);
	check_eq(seg_attach(vid, (int)create.id), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	for (at = 0; at < size; at += 4096)
		BASE[at] = 1;
	tcase_fail(__FILE__, __LINE__, "there is more memory than there is");
}

static void touch_memory(void *arg)
{
	size_t size = (size_t)tcase_number("/proc/meminfo", "MemTotal:") << 10;

	(void)arg;
	size &= ~(2 * MIB - 1);
	tcase_join_killed(tcase_spawn(touch_all_there_is, &size), SIGBUS);
	/* and it is back */
	populate_bytes(32 * MIB, 0);
}

static void who_touches_more_than_there_is_gets_sigbus_and_nobody_else(void)
{
	long kills = tcase_number("/proc/vmstat", "oom_kill ");

	driver_with("max_memory_mib", 1 << 20, 0, touch_memory);
	check_eq(tcase_number("/proc/vmstat", "oom_kill "), kills);
}

static void memory_is_charged_to_the_cgroup_of_the_creator(void)
{
	struct result *r = tcase_shared(sizeof(*r));
	size_t at;
	pid_t pid;

	cgroup_make("small", "16777216");
	pid = tcase_spawn(in_cgroup, r);
	while (!atomic_load(&r->touched))
		usleep(10000);
	at = atomic_load(&r->touched);
	check(at >= 4 * MIB);
	check(at <= 16 * MIB);
	check(cgroup_bytes("small") >= (long)at);
	/* outside nothing is short */
	seg_attached(32 * MIB);
	touch(0, 32 * MIB);
	check_eq(vas_switch(VAS_HOME), 0);
	atomic_store(&r->leave, 1);
	tcase_join(pid);
	/* its memory is back, or the folder could not go */
	check(cgroup_bytes("small") < (long)at);
	cgroup_remove("small");
}

/* A writer for the process is told, and none is killed to make room. */
static void a_debugger_gets_no_more_than_the_cgroup_has(void)
{
	struct result *r = tcase_shared(sizeof(*r));
	char path[64];
	int fd, i, status;
	size_t at;
	pid_t pid;

	cgroup_make("small", "16777216");
	pid = tcase_spawn(in_cgroup, r);
	while (!atomic_load(&r->touched))
		usleep(10000);
	at = atomic_load(&r->touched);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	check(fd >= 0);
	/* a thread that runs could be anywhere */
	check_eq(kill(pid, SIGSTOP), 0);
	check_eq(waitpid(pid, &status, WUNTRACED), pid);
	check(WIFSTOPPED(status));
	/* what is there can be written to */
	check_eq(pwrite(fd, "w", 1, (off_t)(uintptr_t)(BASE + 1)), 1);
	for (i = 0; i < 64; i++)
		if (pwrite(fd, "w", 1, (off_t)(uintptr_t)
			   (BASE + at + (i + 1) * 4096)) < 0)
			break;
	check(i < 64);
	check_eq(errno, EIO);
	close(fd);
	check_eq(kill(pid, SIGCONT), 0);
	atomic_store(&r->leave, 1);
	tcase_join(pid);
	cgroup_remove("small");
}

/* The kernel's own writes cannot wait for room, but they are few. */
#define CGROUP_SLACK	(4 * MIB)

/* Nothing but memory that was touched before once the limit is reached. */
static void read_in_cgroup(void *arg)
{
	struct result *r = arg;
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	size_t size = 64 * MIB, at;
	ssize_t n;

	check(fd >= 0);
	cgroup_enter("small");
	seg_attached(size);
	/* on kernel 6.1, page tables of the window */
	for (at = 0; at < size; at += 2 * MIB)
		BASE[at] = 1;
	at = 0;
	while (at < size && (n = read(fd, BASE + at, size - at)) > 0)
		at += (size_t)n;
	if (at < size && errno != EFAULT)
		at = 0;
	atomic_store(&r->touched, at + 1);
	while (!atomic_load(&r->leave))
		;
	_exit(BASE[at - 1] ? 1 : 0);
}

static void a_system_call_gets_no_more_than_the_cgroup_has(void)
{
	struct result *r = tcase_shared(sizeof(*r));
	long current;
	size_t at;
	pid_t pid;

	cgroup_make("small", "16777216");
	pid = tcase_spawn(read_in_cgroup, r);
	while (!atomic_load(&r->touched))
		usleep(10000);
	at = atomic_load(&r->touched) - 1;
	current = cgroup_bytes("small");
	tcase_note("%zu KiB read in a cgroup of 16 MiB", at >> 10);
	atomic_store(&r->leave, 1);
	tcase_join(pid);
	cgroup_remove("small");
	check(at >= 4 * MIB);
	check(at <= 16 * MIB + CGROUP_SLACK);
	check(current >= (long)at);
	check(current <= (long)(16 * MIB + CGROUP_SLACK) + 64 * 4096);
}

static const struct tcase cases[] = {
	CASE(a_user_has_so_much_memory),
	CASE(a_save_above_the_quota_is_edquot),
	CASE(the_machine_has_so_much_memory),
	CASE(memory_is_charged_to_the_cgroup_of_the_creator),
	CASE(a_debugger_gets_no_more_than_the_cgroup_has),
	CASE(a_system_call_gets_no_more_than_the_cgroup_has),
	CASE(more_at_once_than_the_cgroup_has_is_enomem),
	CASE(what_finds_pages_is_charged_too),
	CASE(no_memory_left_is_enomem_and_nobody_dies),
	CASE(who_touches_more_than_there_is_gets_sigbus_and_nobody_else),
};

TCASE_MAIN(cases, 0)
