// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes with limits and filters: what works there, and what they are told.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

/* Some of what SystemCallFilter=@system-service keeps from a service. */
static void filter_system_calls(void)
{
	static const unsigned int refused[] = {
		SYS_ptrace, SYS_perf_event_open, SYS_process_vm_readv,
		SYS_process_vm_writev, SYS_mount, SYS_umount2, SYS_pivot_root,
		SYS_init_module, SYS_finit_module, SYS_delete_module,
		SYS_kexec_load, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_iopl,
		SYS_ioperm, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex,
		SYS_bpf, SYS_userfaultfd, SYS_unshare, SYS_setns, SYS_kcmp,
		SYS_move_pages, SYS_mbind, SYS_acct, SYS_quotactl, SYS_syslog,
		SYS_vhangup, SYS_open_by_handle_at, SYS_personality,
	};
	struct sock_filter code[2 * 40];
	struct sock_fprog program = { .filter = code };
	size_t i, n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
				offsetof(struct seccomp_data, nr));
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ |
						BPF_K, refused[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						SECCOMP_RET_KILL_PROCESS);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						 SECCOMP_RET_ALLOW);
	program.len = (unsigned short)n;
	check_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	check_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void as_a_filtered_service(void *arg)
{
	filter_system_calls();
	use_a_vas(arg);
}

static void a_filter_for_services_keeps_nothing_from_it(void)
{
	tcase_join(tcase_spawn(as_a_filtered_service, NULL));
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
	CASE(without_overcommit_a_window_costs_nothing),
};

TCASE_MAIN(cases, 0)
