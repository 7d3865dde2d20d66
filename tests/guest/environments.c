// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes with limits and filters: what works there, and what they are told.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "files.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define GIB	(1UL << 30)
#define EXIT_SKIPPED	77

/* A VAS with a heap is made, attached and used. */
static void use_a_vas(void *arg)
{
	int sid, vid = tcase_vas_with_seg(BASE, 8 * MIB, &sid);

	(void)arg;
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check(vas_malloc(1000));
	check_eq(seg_wake((uint32_t *)vas_malloc(16), 1), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void in_a_small_window(void *arg)
{
	int near = tcase_vas_with_seg(BASE, 64 * MIB, NULL), sid, vh;
	int far = tcase_vas_with_seg(BASE + 60 * MIB, 6 * MIB, &sid);
	struct rlimit little = { .rlim_cur = 3 * GIB, .rlim_max = 3 * GIB };
	size_t size;
	void *base;

	(void)arg;
	check_eq(setrlimit(RLIMIT_AS, &little), 0);
	check_eq(vas_attach(near), -ENOMEM);
	check_eq(setenv("PVVAS_WINDOW", "64M", 1), 0);
	vh = check_id(vas_attach(near));
	check_eq(pvvas_window(&base, &size), 0);
	check_eq(size, GIB + 64 * MIB);
	check_eq(vas_attach(far), -ERANGE);
	check_eq(vas_switch(vh), 0);
	BASE[64 * MIB - 1] = 1;
	check_eq(tcase_try_read(BASE + 64 * MIB).sig, 11);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
	vh = check_id(vas_attach(tcase_vas(NULL, 0600)));
	check_eq(seg_attach(vh, sid), -ERANGE);
	use_a_vas(NULL);
}

static void a_window_may_be_small(void)
{
	tcase_join(tcase_spawn(in_a_small_window, NULL));
}

static void what_another_process_attaches_beyond_it_faults(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL), vh;
	int sid = tcase_seg(NULL, BASE + 64 * MIB, MIB, 0600);

	check_eq(setenv("PVVAS_WINDOW", "0x4000000", 1), 0);
	vh = check_id(vas_attach(vid));
	check_eq(seg_attach(vh, sid), -ERANGE);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_attach(vid), -ERANGE);
	check_eq(vas_switch(vh), 0);
	*BASE = 1;
	check_eq(tcase_try_write(BASE + 64 * MIB).sig, 11);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_detach(vid, sid), 0);
}

static void a_window_of_no_size_is_einval(void)
{
	static const char *const bad[] = { "", "0", "-1", "1Q", "1MM", "M",
					   "99999999999999999999", "16777216T" };
	int vid = tcase_vas_with_seg(BASE, MIB, NULL);
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		check_eq(setenv("PVVAS_WINDOW", bad[i], 1), 0);
		check_eq(vas_attach(vid), -EINVAL);
	}
	/* all of it, if it is no longer */
	check_eq(setenv("PVVAS_WINDOW", "1000T", 1), 0);
	check_id(vas_attach(vid));
}

/*
 * What SystemCallFilter=@system-service lets a service call, by the systemd of the
 * machine that the tests were built on, and nothing else: the rest kills.
 */
static void filter_system_calls(void)
{
	static const unsigned int allowed[] = {
#include "system_service.h"
	};
	enum { NR = sizeof(allowed) / sizeof(allowed[0]) };
	static struct sock_filter code[2 * NR + 2];
	struct sock_fprog program = { .filter = code };
	size_t i, n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
				offsetof(struct seccomp_data, nr));
	for (i = 0; i < NR; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ |
						BPF_K, allowed[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						 SECCOMP_RET_KILL_PROCESS);
	program.len = (unsigned short)n;
	check_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	check_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
	tcase_note("%d system calls are allowed", NR);
}

static void as_a_filtered_service(void *arg)
{
	filter_system_calls();
	use_a_vas(arg);
}

static void mount_as_a_service(void *arg)
{
	(void)arg;
	filter_system_calls();
	mount("none", "/", "tmpfs", 0, NULL);
}

static void a_filter_for_services_keeps_nothing_from_it(void)
{
	pid_t pid;
	int status;

	tcase_join(tcase_spawn(as_a_filtered_service, NULL));
	/* is there a filter at all */
	pid = tcase_spawn(mount_as_a_service, NULL);
	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFSIGNALED(status));
	check_eq(WTERMSIG(status), SIGSYS);
}

/* Root without capabilities is held to the limits of others. */
static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct none[2] = { 0 };

	check_eq(syscall(SYS_capset, &header, none), 0);
}

static void with_locked_memory(void *arg)
{
	struct rlimit little = { .rlim_cur = 8 * MIB, .rlim_max = 8 * MIB };
	int vid = tcase_vas_with_seg(BASE, MIB, NULL);

	check_eq(setrlimit(RLIMIT_MEMLOCK, &little), 0);
	drop_capabilities();
	check_eq(mlockall(MCL_FUTURE), 0);
	check_eq(vas_attach(vid), -EAGAIN);
	check_eq(munlockall(), 0);
	use_a_vas(arg);
	/* what has been attached before stays, and what it shows is not locked */
	check_eq(mlockall(MCL_FUTURE), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	*BASE = 1;
	check_eq(vas_switch(VAS_HOME), 0);
}

static void who_locks_all_memory_attaches_before(void)
{
	tcase_join(tcase_spawn(with_locked_memory, NULL));
}

static void in_a_user_namespace(void *arg)
{
	char map[64];

	snprintf(map, sizeof(map), "0 %u 1", geteuid());
	if (unshare(CLONE_NEWUSER) < 0)
		_exit(EXIT_SKIPPED);
	file_put("/proc/self/uid_map", map);
	use_a_vas(arg);
}

static void a_user_namespace_keeps_nothing_from_it(void)
{
	pid_t pid = tcase_spawn(in_a_user_namespace, NULL);
	int status;

	check_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED)
		tcase_skip("this machine lets nobody make user namespaces");
	check_eq(status, 0);
}

static void without_a_device(void *arg)
{
	(void)arg;
	check_eq(chroot("/proc/self/fdinfo"), 0);
	check_eq(vas_create(NULL, 0600), -ENODEV);
}

static void a_root_without_the_device_has_no_driver(void)
{
	if (geteuid())
		tcase_skip("needs root");
	tcase_need(PVVAS_FEATURE_DRIVER);
	tcase_join(tcase_spawn(without_a_device, NULL));
}

/*
 * A file system on /dev with a few devices, as PrivateDevices=yes and managers of
 * containers make it; with the driver's, or without, or with one that may not be opened.
 */
enum given { NOTHING, DEVICE, CLOSED };

static void private_dev(enum given given)
{
	char from[64];
	int kept;

	check_eq(unshare(CLONE_NEWNS), 0);
	check_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	/* of this namespace: only from there it can be mounted again */
	kept = open("/dev/pvvas", O_PATH | O_CLOEXEC);
	check(kept >= 0);
	snprintf(from, sizeof(from), "/proc/self/fd/%d", kept);
	check_eq(mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC,
		       "mode=755"), 0);
	check_eq(mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3)), 0);
	if (given == NOTHING)
		return;
	check_eq(mknod("/dev/pvvas", S_IFREG | 0666, 0), 0);
	check_eq(mount(from, "/dev/pvvas", NULL, MS_BIND, NULL), 0);
	if (given == CLOSED)
		check_eq(mount(NULL, "/dev/pvvas", NULL, MS_REMOUNT | MS_BIND |
			       MS_NODEV, NULL), 0);
}

/* What "pvvas doctor" says here, a process of this one's kind. */
static void doctor_says(const char *what)
{
	char said[4096];
	size_t n;
	FILE *f = popen("pvvas doctor 2>&1", "r");

	check(f);
	n = fread(said, 1, sizeof(said) - 1, f);
	said[n] = '\0';
	check(pclose(f) >= 0);
	if (!strstr(said, what))
		tcase_fail(__FILE__, __LINE__, "pvvas doctor says %s", said);
}

static void hidden(void *arg)
{
	(void)arg;
	private_dev(NOTHING);
	check_eq(vas_create(NULL, 0600), -ENODEV);
	doctor_says("in a container, pass /dev/pvvas to it (PrivateDevices=yes");
}

static void private_devices_hide_the_driver(void)
{
	if (geteuid())
		tcase_skip("needs root");
	tcase_need(PVVAS_FEATURE_DRIVER);
	tcase_join(tcase_spawn(hidden, NULL));
}

static void closed(void *arg)
{
	(void)arg;
	private_dev(CLOSED);
	check_eq(vas_create(NULL, 0600), -EACCES);
	doctor_says("this user may not open /dev/pvvas");
}

static void a_device_that_may_not_be_opened_is_eacces(void)
{
	if (geteuid())
		tcase_skip("needs root");
	tcase_need(PVVAS_FEATURE_DRIVER);
	tcase_join(tcase_spawn(closed, NULL));
}

/* As the first process of a container, with a service's filter. */
static void first_process(void *arg)
{
	check_eq(getpid(), 1);
	use_a_vas(arg);
	drop_capabilities();
	doctor_says("yes      a process like this one can attach a VAS");
	as_a_filtered_service(arg);
}

static void contained(void *arg)
{
	private_dev(DEVICE);
	check_eq(unshare(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
			 CLONE_NEWPID), 0);
	tcase_join(tcase_spawn(first_process, arg));
}

static void a_container_that_is_given_the_device_has_all(void)
{
	if (geteuid())
		tcase_skip("needs root");
	tcase_need(PVVAS_FEATURE_DRIVER);
	tcase_join(tcase_spawn(contained, NULL));
}

static void without_ioctl(void *arg)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	(void)arg;
	check_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	check_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
	check_eq(vas_create(NULL, 0600), -EPERM);
	doctor_says("a filter of system calls (seccomp)");
}

static void a_filter_that_forbids_ioctl_is_eperm(void)
{
	tcase_need(PVVAS_FEATURE_DRIVER);
	tcase_join(tcase_spawn(without_ioctl, NULL));
}

/* The whole machine's: not where others use it. */
static void without_overcommit_a_window_costs_nothing(void)
{
	if (geteuid())
		tcase_skip("needs root");
	tcase_need(PVVAS_FEATURE_DRIVER);
	file_put("/proc/sys/vm/overcommit_memory", "2");
	tcase_join(tcase_spawn(use_a_vas, NULL));
	file_put("/proc/sys/vm/overcommit_memory", "0");
}

static const struct tcase cases[] = {
	CASE(a_window_may_be_small),
	CASE(what_another_process_attaches_beyond_it_faults),
	CASE(a_window_of_no_size_is_einval),
	CASE(a_filter_for_services_keeps_nothing_from_it),
	CASE(who_locks_all_memory_attaches_before),
	CASE(a_user_namespace_keeps_nothing_from_it),
	CASE(a_root_without_the_device_has_no_driver),
	CASE(private_devices_hide_the_driver),
	CASE(a_device_that_may_not_be_opened_is_eacces),
	CASE(a_container_that_is_given_the_device_has_all),
	CASE(a_filter_that_forbids_ioctl_is_eperm),
	CASE(without_overcommit_a_window_costs_nothing),
};

TCASE_MAIN(cases, 0)
