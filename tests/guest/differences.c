// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the software backend does otherwise than the driver: each row of the table
 * in docs/software.md, on both.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "files.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define PAGE	4096UL
#define MIB	(1UL << 20)
#define TIB	(1UL << 40)
#define NOBODY	1000

static bool soft(void)
{
	return pvvas_probe(PVVAS_FEATURE_PER_THREAD) != PVVAS_YES;
}

static struct pvvas_stats stats(void)
{
	struct pvvas_stats st = { .size = sizeof(st) };

	check_eq(pvvas_stats(&st), 0);
	return st;
}

static struct seg_stat stat_of(int sid)
{
	struct seg_stat st = { .size = sizeof(st) };

	check_eq(seg_ctl(sid, SEG_CTL_STAT, &st), 0);
	return st;
}

static void enter(int vid)
{
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
}

static void a_switch_is_no_system_call(void)
{
	check_eq(pvvas_probe(PVVAS_FEATURE_SWITCH),
		 soft() ? PVVAS_NO : PVVAS_YES);
	check_eq(pvvas_probe(PVVAS_FEATURE_PER_THREAD),
		 soft() ? PVVAS_NO : PVVAS_YES);
}

struct looked {
	int vh;			/* to go to */
	int place;
	int signal;
};

static void *look(void *arg)
{
	struct looked *l = arg;

	l->place = vas_current();
	l->signal = tcase_try_read(BASE).sig;
	check_eq(vas_switch(l->vh), 0);
	return NULL;
}

static void each_thread_has_a_view_of_its_own(void)
{
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	int other = check_id(vas_attach(tcase_vas(NULL, 0600)));
	struct looked l = { .vh = other };
	pthread_t t;

	check_eq(vas_switch(vh), 0);
	check_eq(pthread_create(&t, NULL, look, &l), 0);
	check_eq(pthread_join(t, NULL), 0);
	/* where each of them went itself is known in either case */
	check_eq(l.place, VAS_HOME);
	check_eq(l.signal, soft() ? 0 : SIGSEGV);
	check_eq(vas_current(), vh);
	check_eq(tcase_try_read(BASE).sig, soft() ? SIGSEGV : 0);
	check_eq(vas_detach(other), soft() ? -EBUSY : 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static int many_come_here;

static void *come_and_go_back(void *arg)
{
	int i, was;

	for (i = 0; i < 200; i++) {
		was = vas_current();
		check_eq(vas_switch(many_come_here), 0);
		++*(volatile int *)(BASE + PAGE);
		check_eq(vas_switch(was), 0);
	}
	return arg;
}

/* So that, with a lock, threads may share a VAS on both. */
static void a_thread_goes_back_to_where_it_was_itself(void)
{
	int sid, vid = tcase_vas_with_seg(BASE, MIB, &sid), i;
	pthread_t threads[4];

	check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
	many_come_here = check_id(vas_attach(vid));
	for (i = 0; i < 4; i++)
		check_eq(pthread_create(&threads[i], NULL, come_and_go_back,
					NULL), 0);
	for (i = 0; i < 4; i++)
		check_eq(pthread_join(threads[i], NULL), 0);
	check_eq(vas_switch(many_come_here), 0);
	check_eq(*(volatile int *)(BASE + PAGE), 800);
	check_eq(vas_switch(VAS_HOME), 0);
}

struct scene {
	int vid;
	int sid;
};

static void attach_it(void *arg)
{
	struct scene *s = arg;

	check_eq(seg_attach(s->vid, s->sid), 0);
}

static void what_others_attach_shows_at_once(void)
{
	struct scene s = { .vid = tcase_vas_with_seg(BASE, MIB, NULL) };

	s.sid = tcase_seg(NULL, BASE + 4 * MIB, MIB, 0600);
	enter(s.vid);
	tcase_join(tcase_spawn(attach_it, &s));
	check_eq(tcase_try_read(BASE + 4 * MIB).sig, soft() ? SIGSEGV : 0);
	check_eq(vas_switch(vas_current()), 0);
	check_eq(tcase_try_read(BASE + 4 * MIB).sig, 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void protect_it(void *arg)
{
	struct scene *s = arg;

	check_eq(seg_protect(s->sid, BASE, PAGE, PROT_NONE), 0);
}

static void a_protection_is_in_force_when_the_call_returns(void)
{
	struct scene s;

	s.vid = tcase_vas_with_seg(BASE, MIB, &s.sid);
	enter(s.vid);
	*BASE = 1;
	tcase_join(tcase_spawn(protect_it, &s));
	check_eq(tcase_try_read(BASE).sig, soft() ? 0 : SIGSEGV);
	check_eq(vas_switch(vas_current()), 0);
	check_eq(tcase_try_read(BASE).sig, SIGSEGV);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_page_that_a_pager_has_to_bring_is_maperr(void)
{
	int sid, vid = tcase_vas_with_seg(BASE, MIB, &sid);
	struct tcase_fault f;

	check_eq(seg_pager(sid, 1), 0);
	enter(vid);
	f = tcase_try_read(BASE);
	check_eq(f.sig, SIGSEGV);
	check_eq(f.code, soft() ? SEGV_ACCERR : SEGV_MAPERR);
	check(f.addr == BASE);
	/* where there is no segment both say the same */
	f = tcase_try_read(BASE + 8 * MIB);
	check_eq(f.sig, SIGSEGV);
	check_eq(f.code, SEGV_ACCERR);
	check(f.addr == BASE + 8 * MIB);
	check_eq(vas_switch(VAS_HOME), 0);
}

/* What the kernel does at an address of the window on behalf of others. */
static void the_kernel_keeps_no_address_in_the_window(void)
{
	struct iovec here = { .iov_base = &(char){ 0 }, .iov_len = 1 };
	struct iovec there = { .iov_base = BASE, .iov_len = 1 };
	int pipes[2];
	long ret;

	enter(tcase_vas_with_seg(BASE, MIB, NULL));
	*BASE = 7;
	ret = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
	check_eq(ret < 0 ? -errno : ret, soft() ? 1 : -EFAULT);
	check_eq(pipe(pipes), 0);
	ret = vmsplice(pipes[1], &there, 1, 0);
	check_eq(ret < 0 ? -errno : ret, soft() ? 1 : -EFAULT);
	ret = syscall(SYS_futex, BASE, FUTEX_WAKE, 1, NULL, NULL, 0);
	check_eq(ret < 0 ? -errno : ret, soft() ? 0 : -EFAULT);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_clone_shares_memory_until_it_is_written_to(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0600), clone;
	uint64_t before;

	check_eq(seg_populate(sid, BASE, MIB), 0);
	before = stats().pages;
	clone = check_id(seg_clone(sid));
	check_eq(stats().pages - before, soft() ? MIB / PAGE : 0);
	check_eq(stat_of(sid).shared, soft() ? 0 : MIB);
	check_eq(seg_delete(clone), 0);
}

#define FAR	(16 * MIB)

/* The first word is ahead of the last one by 1, at most, at any moment. */
static bool is_of_one_moment(int sid)
{
	int clone = check_id(seg_clone(sid)), vid = tcase_vas(NULL, 0600), vh;
	uint64_t first, last;

	check_eq(seg_attach(vid, clone), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	first = *(uint64_t *)BASE;
	last = *(uint64_t *)(BASE + FAR - PAGE);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
	check_eq(seg_delete(clone), 0);
	return first == last || first == last + 1;
}

/* Another process writes: here a switch moves all threads. */
static void write_beside(void *arg)
{
	volatile uint64_t *first = (void *)BASE;
	volatile uint64_t *last = (void *)(BASE + FAR - PAGE);
	uint64_t n;

	enter(*(int *)arg);
	for (n = 1;; n++) {
		*first = n;
		*last = n;
	}
}

static void a_clone_is_of_one_moment(void)
{
	int sid, i, vid = tcase_vas_with_seg(BASE, FAR, &sid);
	bool all = true;
	pid_t pid;

	/* a copy takes its time */
	check_eq(seg_populate(sid, BASE, FAR), 0);
	pid = tcase_spawn(write_beside, &vid);
	for (i = 0; i < (soft() ? 100 : 10) && all; i++) {
		usleep(20000);
		all = is_of_one_moment(sid);
	}
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
	check_eq(all, !soft());
}

static void a_write_of_what_was_there_is_a_write(void)
{
	void *found[4];
	int sid, vid = tcase_vas_with_seg(BASE, MIB, &sid);

	enter(vid);
	check_eq(pvvas_probe(PVVAS_FEATURE_WRITES),
		 soft() ? PVVAS_NO : PVVAS_YES);
	*BASE = 1;
	check_eq(seg_dirty(sid, BASE, PAGE, found, 4), 1);
	*(volatile char *)BASE = 1;
	check_eq(seg_dirty(sid, BASE, PAGE, found, 4), soft() ? 0 : 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void faults_processes_and_the_hypervisor_are_counted(void)
{
	int sid, vid = tcase_vas_with_seg(BASE, MIB, &sid);

	enter(vid);
	*BASE = 1;
	check_eq(stats().processes > 0, !soft());
	check_eq(stats().threads > 0, !soft());
	check_eq(stats().hv_exits > 0, !soft());
	check_eq(stats().links > 0, !soft());
	check_eq(stat_of(sid).faults > 0, !soft());
	check_eq(vas_switch(VAS_HOME), 0);
}

static void segments_may_be_locked_dumped_and_placed(void)
{
	struct seg_options opts = { .size = sizeof(opts) };
	int sid;

	opts.flags = SEG_DUMP;
	sid = seg_alloc_with(NULL, BASE, MIB, 0600, &opts);
	check_eq(sid < 0 ? sid : 0, soft() ? -EOPNOTSUPP : 0);
	opts.flags = SEG_LOCK;
	sid = seg_alloc_with(NULL, BASE, PAGE, 0600, &opts);
	check_eq(sid < 0 ? sid : 0, soft() ? -EOPNOTSUPP : 0);
	opts.flags = 0;
	opts.policy = SEG_NUMA_PREFERRED;
	opts.nodes = 1;
	sid = seg_alloc_with(NULL, BASE, PAGE, 0600, &opts);
	check_eq(sid < 0 ? sid : 0, soft() ? -EOPNOTSUPP : 0);
	opts.policy = SEG_NUMA_DEFAULT;
	opts.nodes = 0;
	opts.colors = 1;
	sid = seg_alloc_with(NULL, BASE, PAGE, 0600, &opts);
	check_eq(sid < 0 ? sid : 0, soft() ? -EOPNOTSUPP : 0);
}

static void accesses_are_known_and_pages_can_be_written_out(void)
{
	int sid, vid = tcase_vas_with_seg(BASE, MIB, &sid);
	void *pages[4];
	int n;

	enter(vid);
	*BASE = 1;
	n = seg_accessed(sid, BASE, PAGE, pages, 4);
	check_eq(n, soft() ? -EOPNOTSUPP : 1);
	check_eq(seg_limit(sid, SEG_NO_LIMIT), soft() ? -EOPNOTSUPP : 0);
	check_eq(seg_limit(sid, 0), soft() ? -EOPNOTSUPP : 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_segment_without_a_place_gets_a_gib_of_its_own(void)
{
	void *base;
	size_t size;
	int sid = tcase_seg(NULL, NULL, PAGE, 0600);

	sid = tcase_seg(NULL, NULL, PAGE, 0600);
	check_eq(seg_range(sid, &base, &size), 0);
	check_eq((uintptr_t)base % (1UL << 30) == 0, !soft());
	check_eq((uintptr_t)base % (2 * MIB), 0);
}

static void the_window_is_as_the_host_has_it(void)
{
	size_t size;
	void *base;

	check_eq(pvvas_window(&base, &size), 0);
	if (soft())
		check_eq(size, 8 * TIB);
	else
		check(size >= 4 * TIB);
}

static void look_for_it(void *arg)
{
	check_eq(setgid(NOBODY), 0);
	check_eq(setuid(NOBODY), 0);
	if (soft())
		check_eq(vas_find(arg), -EACCES);
	else
		check_id(vas_find(arg));
}

static void other_users_find_what_they_may_use(void)
{
	if (geteuid())
		tcase_skip("needs root");
	tcase_vas(tcase_name("for-all"), 0666);
	tcase_join(tcase_spawn(look_for_it, (void *)tcase_name("for-all")));
}

/* Past the driver's quota, or past one that is as small as that. */
static void make_many(void *arg)
{
	int i, n = *(int *)arg;

	check_eq(setgid(NOBODY), 0);
	check_eq(setuid(NOBODY), 0);
	for (i = 0; i < n; i++)
		check_id(vas_create(NULL, 0600));
	i = vas_create(NULL, 0600);
	check_eq(i < 0 ? i : 0, soft() ? 0 : -EDQUOT);
}

static void remove_folder(const char *dir)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	check_eq(system(command), 0);
}

static void a_user_has_a_quota(void)
{
	const char *quota = "/sys/module/pvvas/parameters/user_objects";
	char dir[64];
	int n = soft() ? 8192 : 10;
	pid_t pid;

	if (geteuid())
		tcase_skip("needs root");
	if (soft()) {
		tcase_folder(dir, sizeof(dir), "quota");
		check_eq(chown(dir, NOBODY, NOBODY), 0);
		setenv("PVVAS_SOFT_DIR", dir, 1);
	} else {
		file_put(quota, "10");
	}
	pid = tcase_spawn(make_many, &n);
	tcase_join(pid);
	if (soft())
		remove_folder(dir);
	else
		file_put(quota, "8192");
}

static void nothing(int sig)
{
	(void)sig;
}

static void wait_through_a_signal(void *arg)
{
	const struct sigaction sa = { .sa_handler = nothing,
				      .sa_flags = SA_RESTART };
	struct timespec end;

	check_eq(sigaction(SIGALRM, &sa, NULL), 0);
	enter(*(int *)arg);
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += 2;
	alarm(1);
	check_eq(seg_wait((uint32_t *)BASE, 0, &end),
		 soft() ? -EINTR : -ETIMEDOUT);
}

static void a_timed_wait_goes_on_after_a_signal_that_restarts(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL);

	tcase_join(tcase_spawn(wait_through_a_signal, &vid));
}

static void the_program_cannot_change_the_window(void)
{
	enter(tcase_vas_with_seg(BASE, MIB, NULL));
	*BASE = 1;
	check_eq(mprotect(BASE, PAGE, PROT_NONE) < 0, !soft());
	check_eq(tcase_try_read(BASE).sig, soft() ? SIGSEGV : 0);
	/* the next switch shows all of it again */
	check_eq(vas_switch(VAS_HOME), 0);
}

static const struct tcase cases[] = {
	CASE(a_switch_is_no_system_call),
	CASE(each_thread_has_a_view_of_its_own),
	CASE(a_thread_goes_back_to_where_it_was_itself),
	CASE(what_others_attach_shows_at_once),
	CASE(a_protection_is_in_force_when_the_call_returns),
	CASE(a_page_that_a_pager_has_to_bring_is_maperr),
	CASE(the_kernel_keeps_no_address_in_the_window),
	CASE(a_clone_shares_memory_until_it_is_written_to),
	CASE(a_clone_is_of_one_moment),
	CASE(a_write_of_what_was_there_is_a_write),
	CASE(faults_processes_and_the_hypervisor_are_counted),
	CASE(segments_may_be_locked_dumped_and_placed),
	CASE(accesses_are_known_and_pages_can_be_written_out),
	CASE(a_segment_without_a_place_gets_a_gib_of_its_own),
	CASE(the_window_is_as_the_host_has_it),
	CASE(other_users_find_what_they_may_use),
	CASE(a_user_has_a_quota),
	CASE(a_timed_wait_goes_on_after_a_signal_that_restarts),
	CASE(the_program_cannot_change_the_window),
};

TCASE_MAIN(cases, 0)
