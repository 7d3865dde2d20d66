// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lockable segments: which threads may be in a VAS together.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((volatile long *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

/* What the processes of a case share. */
struct stage {
	int vid;
	int other;
	int sid;
	atomic_int inside;
	atomic_int most;
	atomic_bool go;
	atomic_bool leave;
};

static int lockable(void *base)
{
	int sid = tcase_seg(NULL, base, MIB, 0600);
	int err = seg_ctl(sid, SEG_CTL_LOCK_ON);

	if (err == -EOPNOTSUPP)
		tcase_skip("the driver has no lockable segments");
	check_eq(err, 0);
	return sid;
}

/* A VAS with a lockable segment to write to, and one where it can be read. */
static struct stage *new_stage(void)
{
	struct stage *s = tcase_shared(sizeof(*s));

	s->sid = lockable((void *)BASE);
	s->vid = tcase_vas(NULL, 0600);
	s->other = tcase_vas(NULL, 0600);
	check_eq(seg_attach(s->vid, s->sid), 0);
	check_eq(seg_attach_prot(s->other, s->sid, PROT_READ), 0);
	return s;
}

static void wait_for(atomic_int *what, int value)
{
	while (atomic_load(what) < value)
		usleep(1000);
}

static void count(void *arg)
{
	struct stage *s = arg;
	int vh = check_id(vas_attach(s->vid)), i;
	long seen;

	for (i = 0; i < 500; i++) {
		check_eq(vas_switch(vh), 0);
		seen = BASE[0];
		if (i % 10 == 0)
			sched_yield();
		BASE[0] = seen + 1;
		check_eq(vas_switch(VAS_HOME), 0);
	}
}

static void writers_exclude_each_other(void)
{
	struct stage *s = new_stage();
	pid_t pids[4];
	int i;

	for (i = 0; i < 4; i++)
		pids[i] = tcase_spawn(count, s);
	for (i = 0; i < 4; i++)
		tcase_join(pids[i]);
	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	check_eq(BASE[0], 2000);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void read_until_told(void *arg)
{
	struct stage *s = arg;

	check_eq(vas_switch(check_id(vas_attach(s->other))), 0);
	atomic_fetch_add(&s->inside, 1);
	while (!atomic_load(&s->leave))
		usleep(1000);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void write_until_told(void *arg)
{
	struct stage *s = arg;

	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	BASE[0] = 42;
	atomic_fetch_add(&s->inside, 1);
	while (!atomic_load(&s->leave))
		usleep(1000);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void readers_are_in_together(void)
{
	struct stage *s = new_stage();
	pid_t pids[5];
	int i;

	for (i = 0; i < 5; i++)
		pids[i] = tcase_spawn(read_until_told, s);
	wait_for(&s->inside, 5);
	atomic_store(&s->leave, true);
	for (i = 0; i < 5; i++)
		tcase_join(pids[i]);
}

static void a_try_does_not_wait(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid)), r = check_id(vas_attach(s->other));
	pid_t pid;

	pid = tcase_spawn(write_until_told, s);
	wait_for(&s->inside, 1);
	check_eq(vas_switch_try(w), -EBUSY);
	check_eq(vas_switch_try(r), -EBUSY);
	check_eq(vas_current(), VAS_HOME);
	atomic_store(&s->leave, true);
	tcase_join(pid);
	check_eq(vas_switch_try(w), 0);
	check_eq(BASE[0], 42);
	check_eq(vas_switch(VAS_HOME), 0);

	atomic_store(&s->leave, false);
	atomic_store(&s->inside, 0);
	pid = tcase_spawn(read_until_told, s);
	wait_for(&s->inside, 1);
	check_eq(vas_switch_try(w), -EBUSY);
	check_eq(vas_switch_try(r), 0);
	/* what it has it keeps, where it is it stays */
	check_eq(vas_switch_try(w), -EBUSY);
	check_eq(vas_current(), r);
	check_eq(BASE[0], 42);
	check_eq(vas_switch(VAS_HOME), 0);
	atomic_store(&s->leave, true);
	tcase_join(pid);
}

static void a_timed_switch_waits_so_long(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid));
	struct timespec a, b;
	pid_t pid;

	pid = tcase_spawn(write_until_told, s);
	wait_for(&s->inside, 1);
	clock_gettime(CLOCK_MONOTONIC, &a);
	check_eq(vas_switch_timed(w, 200), -ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &b);
	check((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 >=
	      199);
	check_eq(vas_current(), VAS_HOME);
	atomic_store(&s->leave, true);
	check_eq(vas_switch_timed(w, 20000), 0);
	check_eq(BASE[0], 42);
	check_eq(vas_switch(VAS_HOME), 0);
	tcase_join(pid);
}

static void a_switch_to_where_one_is_takes_nothing_again(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid));

	check_eq(vas_switch(w), 0);
	BASE[0] = 1;
	check_eq(vas_switch(w), 0);
	check_eq(vas_switch_try(w), 0);
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	/* it was given back once, and for good */
	atomic_store(&s->leave, true);
	tcase_join(tcase_spawn(write_until_told, s));
}

static void from_reading_to_writing_and_back(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid)), r = check_id(vas_attach(s->other));
	int i;

	for (i = 0; i < 100; i++) {
		check_eq(vas_switch(w), 0);
		BASE[0] = i;
		check_eq(vas_switch(r), 0);
		check_eq(BASE[0], i);
		check_eq(tcase_try_write(BASE).sig, SIGSEGV);
	}
	check_eq(vas_switch(VAS_HOME), 0);
	atomic_store(&s->leave, true);
	tcase_join(tcase_spawn(write_until_told, s));
}

static void read_over_and_over(void *arg)
{
	struct stage *s = arg;
	int r = check_id(vas_attach(s->other));

	while (!atomic_load(&s->leave)) {
		check_eq(vas_switch(r), 0);
		atomic_fetch_add(&s->inside, 1);
		usleep(2000);
		check_eq(vas_switch(VAS_HOME), 0);
	}
}

/* They overlap, so that there is never a moment without one. */
static void readers_who_come_and_go_do_not_keep_writers_out(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid)), i;
	pid_t pids[4];

	for (i = 0; i < 4; i++)
		pids[i] = tcase_spawn(read_over_and_over, s);
	wait_for(&s->inside, 20);
	for (i = 0; i < 20; i++) {
		check_eq(vas_switch_timed(w, 20000), 0);
		BASE[0]++;
		check_eq(vas_switch(VAS_HOME), 0);
	}
	atomic_store(&s->leave, true);
	for (i = 0; i < 4; i++)
		tcase_join(pids[i]);
}

static void nothing(int sig)
{
	(void)sig;
}

static void wait_through_signals(void *arg)
{
	const struct sigaction sa = { .sa_handler = nothing };
	struct stage *s = arg;

	check_eq(sigaction(SIGUSR1, &sa, NULL), 0);
	atomic_fetch_add(&s->inside, 1);
	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	check_eq(BASE[0], 42);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_signal_does_not_end_the_wait(void)
{
	struct stage *s = new_stage();
	pid_t owner = tcase_spawn(write_until_told, s), waiter;
	int i;

	wait_for(&s->inside, 1);
	waiter = tcase_spawn(wait_through_signals, s);
	wait_for(&s->inside, 2);
	usleep(50000);
	for (i = 0; i < 10; i++) {
		check_eq(kill(waiter, SIGUSR1), 0);
		usleep(2000);
	}
	atomic_store(&s->leave, true);
	tcase_join(owner);
	tcase_join(waiter);
}

struct counter {
	int w, r;
	long last;
};

static void *count_in_thread(void *arg)
{
	const struct counter *c = arg;
	long seen;
	int i;

	for (i = 0; i < 300; i++) {
		check_eq(vas_switch(c->w), 0);
		seen = BASE[0];
		if (i % 20 == 0)
			sched_yield();
		BASE[0] = seen + 1;
		if (i % 3 == 0) {
			check_eq(vas_switch(c->r), 0);
			check_eq(BASE[0], seen + 1);
		}
		check_eq(vas_switch(VAS_HOME), 0);
		check_eq(vas_switch(c->r), 0);
		seen = BASE[0];
		if (i % 20 == 1)
			sched_yield();
		check_eq(BASE[0], seen);
		check_eq(vas_switch(VAS_HOME), 0);
	}
	return NULL;
}

static void threads_of_one_process_exclude_each_other(void)
{
	struct stage *s = new_stage();
	struct counter c;
	pthread_t threads[4];
	int i;

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	c.w = check_id(vas_attach(s->vid));
	c.r = check_id(vas_attach(s->other));
	for (i = 0; i < 4; i++)
		check_eq(pthread_create(&threads[i], NULL, count_in_thread,
					&c), 0);
	for (i = 0; i < 4; i++)
		check_eq(pthread_join(threads[i], NULL), 0);
	check_eq(vas_switch(c.r), 0);
	check_eq(BASE[0], 1200);
	check_eq(vas_switch(VAS_HOME), 0);
}

/* First one that can only read, then, of the same process, one that can write. */
static void an_attachment_to_write_comes_after_one_to_read(void)
{
	struct stage *s = new_stage();
	int r = check_id(vas_attach(s->other)), w, i;

	check_eq(vas_switch(r), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	w = check_id(vas_attach(s->vid));
	for (i = 0; i < 3; i++) {
		check_eq(vas_switch(w), 0);
		BASE[0] = i;
		check_eq(vas_switch(VAS_HOME), 0);
		check_eq(vas_switch(r), 0);
		check_eq(BASE[0], i);
		check_eq(vas_switch(VAS_HOME), 0);
	}
	check_eq(vas_detach(w), 0);
	check_eq(vas_switch(r), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(r), 0);
	w = check_id(vas_attach(s->vid));
	check_eq(vas_switch(w), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

#define MANY	1100

/* More than a page of a thread's array has room for. */
static void a_vas_may_have_more_than_a_thousand_lockable_segments(void)
{
	int w = tcase_vas(NULL, 0600), r = tcase_vas(NULL, 0600), i, sid, wh, rh;
	int last;

	/* the software backend shows 1024 */
	tcase_need(PVVAS_FEATURE_PER_THREAD);
	for (i = 0; i < MANY; i++) {
		sid = tcase_seg(NULL, (char *)BASE + i * 2 * MIB, 4096, 0600);
		check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
		check_eq(seg_attach(w, sid), 0);
		check_eq(seg_attach_prot(r, sid, PROT_READ), 0);
	}
	last = tcase_vas(NULL, 0600);
	check_eq(seg_attach(last, sid), 0);
	wh = check_id(vas_attach(w));
	rh = check_id(vas_attach(r));
	check_eq(vas_switch(wh), 0);
	*(volatile int *)((char *)BASE + (MANY - 1) * 2 * MIB) = 7;
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_switch(rh), 0);
	check_eq(*(volatile int *)((char *)BASE + (MANY - 1) * 2 * MIB), 7);
	if (!fork())
		_exit(vas_switch_try(check_id(vas_attach(last))) != -EBUSY);
	wait(&i);
	check_eq(i, 0);
	check_eq(vas_switch(VAS_HOME), 0);
	if (!fork())
		_exit(vas_switch_try(check_id(vas_attach(last))));
	wait(&i);
	check_eq(i, 0);
	check_eq(vas_detach(wh), 0);
	check_eq(vas_detach(rh), 0);
}

static void to_and_fro(void *arg)
{
	struct stage *s = arg;
	int a = check_id(vas_attach(s->vid)), b = check_id(vas_attach(s->other));
	int i;

	while (!atomic_load(&s->go))
		sched_yield();
	for (i = 0; i < 300; i++) {
		check_eq(vas_switch(i % 2 ? a : b), 0);
		BASE[1]++;
		if (i % 7 == 0)
			check_eq(vas_switch(VAS_HOME), 0);
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

/* Each VAS has both segments, attached in another order. */
static void switches_do_not_wait_in_a_circle(void)
{
	struct stage *s = tcase_shared(sizeof(*s));
	int one = lockable((void *)BASE);
	int two = lockable((char *)BASE + 2 * MIB);
	int three = lockable((char *)BASE + 4 * MIB);
	pid_t pids[4];
	int i;

	s->vid = tcase_vas(NULL, 0600);
	s->other = tcase_vas(NULL, 0600);
	check_eq(seg_attach(s->vid, one), 0);
	check_eq(seg_attach(s->vid, two), 0);
	check_eq(seg_attach(s->other, three), 0);
	check_eq(seg_attach(s->other, two), 0);
	check_eq(seg_attach(s->other, one), 0);
	for (i = 0; i < 4; i++)
		pids[i] = tcase_spawn(to_and_fro, s);
	atomic_store(&s->go, true);
	for (i = 0; i < 4; i++)
		tcase_join(pids[i]);
	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	check_eq(BASE[1], 1200);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void child_of_a_holder(void *arg)
{
	struct stage *s = arg;

	check_eq(vas_current(), VAS_HOME);
	check_eq(vas_switch_try(check_id(vas_attach(s->vid))), -EBUSY);
}

static void a_forked_child_holds_nothing(void)
{
	struct stage *s = new_stage();

	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	tcase_join(tcase_spawn(child_of_a_holder, s));
	BASE[0] = 1;
	check_eq(vas_switch(VAS_HOME), 0);
	atomic_store(&s->leave, true);
	tcase_join(tcase_spawn(write_until_told, s));
}

static void a_private_lockable_segment_is_locked(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(tcase_vas(NULL, 0600)));
	pid_t pid;

	check_eq(vas_switch(vh), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_attach(vh, s->sid), 0);
	pid = tcase_spawn(write_until_told, s);
	wait_for(&s->inside, 1);
	check_eq(vas_switch_try(vh), -EBUSY);
	check_eq(seg_detach(vh, s->sid), 0);
	check_eq(vas_switch(vh), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	atomic_store(&s->leave, true);
	tcase_join(pid);
}

static void wait_inside(void *arg)
{
	struct stage *s = arg;
	int vh = check_id(vas_attach(s->vid));

	atomic_fetch_add(&s->inside, 1);
	check_eq(vas_switch_timed(vh, 20000), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

/* The library's descriptor of the device is one of them. */
static void closing_all_files_keeps_no_lock(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid)), i;
	pid_t pid;

	/* the software backend needs its own */
	tcase_need(PVVAS_FEATURE_PER_THREAD);
	check_eq(vas_switch(vh), 0);
	pid = tcase_spawn(wait_inside, s);
	wait_for(&s->inside, 1);
	usleep(100000);
	closefrom(3);
	for (i = 0; i < 8; i++)
		check(open("/dev/null", O_RDWR) >= 0);
	check_eq(vas_switch(VAS_HOME), 0);
	tcase_join(pid);
	check_eq(vas_switch(vh), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_find("there-is-none"), -ENOENT);
}

static void an_attachment_with_locks_needs_a_descriptor_for_a_moment(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->other)), free_fd;
	struct rlimit old, none;

	/* the software backend needs more of them */
	tcase_need(PVVAS_FEATURE_PER_THREAD);
	free_fd = dup(0);
	check(free_fd > 0);
	close(free_fd);
	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = (rlim_t)free_fd;
	check_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	check_eq(vas_attach(s->vid), -EMFILE);
	check_eq(vas_switch(vh), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	check_eq(vas_detach(check_id(vas_attach(s->vid))), 0);
}

static void lock_off_is_for_attachments_to_come(void)
{
	struct stage *s = new_stage();
	int old = check_id(vas_attach(s->vid));
	pid_t pid;

	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_OFF), 0);
	pid = tcase_spawn(write_until_told, s);
	wait_for(&s->inside, 1);
	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	check_eq(BASE[0], 42);
	check_eq(vas_switch(old), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	atomic_store(&s->leave, true);
	tcase_join(pid);
}

static const struct tcase cases[] = {
	CASE(writers_exclude_each_other),
	CASE(readers_are_in_together),
	CASE(a_try_does_not_wait),
	CASE(a_timed_switch_waits_so_long),
	CASE(a_switch_to_where_one_is_takes_nothing_again),
	CASE(from_reading_to_writing_and_back),
	CASE(readers_who_come_and_go_do_not_keep_writers_out),
	CASE(a_signal_does_not_end_the_wait),
	CASE(threads_of_one_process_exclude_each_other),
	CASE(an_attachment_to_write_comes_after_one_to_read),
	CASE(switches_do_not_wait_in_a_circle),
	CASE(a_forked_child_holds_nothing),
	CASE(a_private_lockable_segment_is_locked),
	CASE(closing_all_files_keeps_no_lock),
	CASE(an_attachment_with_locks_needs_a_descriptor_for_a_moment),
	CASE(lock_off_is_for_attachments_to_come),
	CASE_SECONDS(a_vas_may_have_more_than_a_thousand_lockable_segments, 300),
};

TCASE_MAIN(cases, 0)
