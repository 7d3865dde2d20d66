// SPDX-License-Identifier: GPL-2.0-only
/*
 * seg_wait() and seg_wake(): a word is known by its memory, no wake-up is lost,
 * and none with fewer rights wakes, or takes a wake-up from, those with more.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define WORD	((atomic_uint *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define SETTLE	100000	/* us: after that a thread that was to sleep does */

/* What the processes of a case share. */
struct stage {
	int vid;
	atomic_uint *word;	/* where this side sees it */
	int err;		/* what its wait is to return */
	atomic_int waiting;
	atomic_int done;
};

static struct timespec in_ms(long ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_nsec += ms % 1000 * 1000000;
	ts.tv_sec += ms / 1000 + ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	return ts;
}

static int wait_ms(const atomic_uint *word, uint32_t expected, long ms)
{
	struct timespec abs = in_ms(ms);

	return seg_wait((const uint32_t *)word, expected, &abs);
}

static int wake(const atomic_uint *word, int n)
{
	return seg_wake((const uint32_t *)word, n);
}

static struct stage *new_stage(void)
{
	struct stage *s = tcase_shared(sizeof(*s));

	s->vid = tcase_vas_with_seg(BASE, MIB, NULL);
	s->word = WORD;
	return s;
}

static void reach(atomic_int *what, int value)
{
	int i;

	for (i = 0; i < 20000 && atomic_load(what) < value; i++)
		usleep(1000);
	check(atomic_load(what) >= value);
}

static void wait_for_wake(void *arg)
{
	struct stage *s = arg;

	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	atomic_fetch_add(&s->waiting, 1);
	check_eq(wait_ms(s->word, 0, 20000), s->err);
	atomic_fetch_add(&s->done, 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_wait_ends_with_a_wake(void)
{
	struct stage *s = new_stage();
	pid_t pid = tcase_spawn(wait_for_wake, s);

	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	reach(&s->waiting, 1);
	usleep(SETTLE);
	check_eq(atomic_load(&s->done), 0);
	check_eq(wake(WORD + 1, 1), 0);
	check_eq(wake(WORD, 1), 1);
	reach(&s->done, 1);
	tcase_join(pid);
	check_eq(wake(WORD, 1), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void as_many_wake_as_were_asked_for(void)
{
	struct stage *s = new_stage();
	pid_t pids[5];
	int i;

	for (i = 0; i < 5; i++)
		pids[i] = tcase_spawn(wait_for_wake, s);
	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	reach(&s->waiting, 5);
	usleep(SETTLE);
	check_eq(wake(WORD, 0), 0);
	check_eq(wake(WORD, 2), 2);
	reach(&s->done, 2);
	usleep(SETTLE);
	check_eq(atomic_load(&s->done), 2);
	check_eq(wake(WORD, 1000), 3);
	for (i = 0; i < 5; i++)
		tcase_join(pids[i]);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void another_value_is_eagain(void)
{
	struct stage *s = new_stage();

	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	/* the page is not there yet, and reads as zero */
	check_eq(wait_ms(WORD + 1024, 1, 20000), -EAGAIN);
	check_eq(wait_ms(WORD + 1024, 0, 10), -ETIMEDOUT);
	atomic_store(WORD, 7);
	check_eq(wait_ms(WORD, 6, 20000), -EAGAIN);
	check_eq(wait_ms(WORD, 7, 10), -ETIMEDOUT);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_time_limit_is_absolute(void)
{
	struct stage *s = new_stage();
	struct timespec past = { 0 }, a, b, bad = { .tv_nsec = 1000000000 };

	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	check_eq(seg_wait((uint32_t *)WORD, 0, &past), -ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &a);
	check_eq(wait_ms(WORD, 0, 200), -ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &b);
	check((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000
	      >= 199);
	check_eq(seg_wait((uint32_t *)WORD, 0, &bad), -EINVAL);
	bad.tv_nsec = -1;
	check_eq(seg_wait((uint32_t *)WORD, 0, &bad), -EINVAL);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void what_is_no_word_of_a_segment_is_refused(void)
{
	struct stage *s = new_stage();
	static uint32_t elsewhere;
	int i;

	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	for (i = 1; i < 4; i++) {
		check_eq(seg_wait((uint32_t *)(BASE + i), 0, NULL), -EINVAL);
		check_eq(seg_wake((uint32_t *)(BASE + i), 1), -EINVAL);
	}
	check_eq(seg_wake((uint32_t *)BASE, -1), -EINVAL);
	check_eq(seg_wait((uint32_t *)(BASE + MIB), 0, NULL), -EFAULT);
	check_eq(seg_wake((uint32_t *)(BASE + MIB), 1), -EFAULT);
	check_eq(seg_wait(&elsewhere, 0, NULL), -EFAULT);
	check_eq(seg_wake(&elsewhere, 1), -EFAULT);
	check_eq(seg_wait(NULL, 0, NULL), -EFAULT);
	check_eq(seg_wait((uint32_t *)VAS_WINDOW_BASE, 0, NULL), -EFAULT);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_wait((uint32_t *)WORD, 0, NULL), -EFAULT);
	check_eq(seg_wake((uint32_t *)WORD, 1), -EFAULT);
}

static void one_address_in_two_vases_is_two_words(void)
{
	struct stage *a = new_stage(), *b = new_stage();
	pid_t first, second;

	first = tcase_spawn(wait_for_wake, a);
	reach(&a->waiting, 1);
	second = tcase_spawn(wait_for_wake, b);
	reach(&b->waiting, 1);
	usleep(SETTLE);
	check_eq(vas_switch(check_id(vas_attach(b->vid))), 0);
	check_eq(wake(WORD, 1), 1);
	tcase_join(second);
	check_eq(atomic_load(&a->done), 0);
	check_eq(vas_switch(check_id(vas_attach(a->vid))), 0);
	check_eq(wake(WORD, 1), 1);
	tcase_join(first);
	check_eq(vas_switch(VAS_HOME), 0);
}

struct waiter {
	int vh;
	atomic_int waiting;
};

static void *wait_in_thread(void *arg)
{
	struct waiter *w = arg;

	check_eq(vas_switch(w->vh), 0);
	atomic_store(&w->waiting, 1);
	check_eq(wait_ms(WORD, 0, 20000), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	return NULL;
}

static void threads_in_two_vases_do_not_take_each_others_wake_ups(void)
{
	struct waiter a = { 0 }, b = { 0 };
	pthread_t ta, tb;

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	a.vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	b.vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	check_eq(pthread_create(&ta, NULL, wait_in_thread, &a), 0);
	reach(&a.waiting, 1);
	usleep(SETTLE);
	check_eq(pthread_create(&tb, NULL, wait_in_thread, &b), 0);
	reach(&b.waiting, 1);
	usleep(SETTLE);
	check_eq(vas_switch(b.vh), 0);
	check_eq(wake(WORD, 1), 1);
	check_eq(pthread_join(tb, NULL), 0);
	check_eq(vas_switch(a.vh), 0);
	check_eq(wake(WORD, 1), 1);
	check_eq(pthread_join(ta, NULL), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_wake_up_goes_through_a_second_face(void)
{
	struct stage *s = tcase_shared(sizeof(*s));
	int sid, face, vid = tcase_vas(NULL, 0600);
	char *base = BASE + 16 * MIB;
	pid_t pid;

	s->vid = tcase_vas_with_seg(BASE, MIB, &sid);
	s->word = WORD + 5;
	face = check_id(seg_map2(sid, base));
	tcase_track_seg(face);
	check_eq(seg_attach(vid, face), 0);
	pid = tcase_spawn(wait_for_wake, s);
	reach(&s->waiting, 1);
	usleep(SETTLE);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check_eq(wake((atomic_uint *)base + 5, 1), 1);
	tcase_join(pid);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_clone_is_another_memory(void)
{
	struct stage *s = tcase_shared(sizeof(*s));
	int sid, clone, vid = tcase_vas(NULL, 0600), vh;
	pid_t pid;

	s->vid = tcase_vas_with_seg(BASE, MIB, &sid);
	s->word = WORD;
	check_eq(vas_switch(vh = check_id(vas_attach(s->vid))), 0);
	atomic_store(WORD + 1, 1);
	check_eq(vas_switch(VAS_HOME), 0);
	clone = check_id(seg_clone(sid));
	tcase_track_seg(clone);
	check_eq(seg_attach(vid, clone), 0);
	pid = tcase_spawn(wait_for_wake, s);
	reach(&s->waiting, 1);
	usleep(SETTLE);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check_eq(wake(WORD, 1), 0);
	check_eq(vas_switch(vh), 0);
	check_eq(wake(WORD, 1), 1);
	tcase_join(pid);
	check_eq(vas_switch(VAS_HOME), 0);
}

/* A VAS with the segment to read, and one with it to write. */
static int reading_vas(int sid)
{
	int vid = tcase_vas(NULL, 0600);

	check_eq(seg_attach_prot(vid, sid, PROT_READ), 0);
	return vid;
}

static void a_reader_may_wait_but_not_wake(void)
{
	struct stage *s = tcase_shared(sizeof(*s));
	int sid, w, r;
	pid_t pid;

	w = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, &sid)));
	s->vid = reading_vas(sid);
	s->word = WORD;
	r = check_id(vas_attach(s->vid));
	pid = tcase_spawn(wait_for_wake, s);
	reach(&s->waiting, 1);
	usleep(SETTLE);
	check_eq(vas_switch(r), 0);
	check_eq(wake(WORD, 1), -EACCES);
	check_eq(wake(WORD, 0), -EACCES);
	usleep(SETTLE);
	check_eq(atomic_load(&s->done), 0);
	check_eq(vas_switch(w), 0);
	check_eq(wake(WORD, 1), 1);
	tcase_join(pid);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_waiting_reader_takes_no_wake_up_from_a_writer(void)
{
	struct stage *r = tcase_shared(sizeof(*r));
	struct stage *w = tcase_shared(sizeof(*w));
	pid_t readers[3], writer;
	int sid, i;

	w->vid = tcase_vas_with_seg(BASE, MIB, &sid);
	r->vid = reading_vas(sid);
	w->word = WORD;
	r->word = WORD;
	for (i = 0; i < 3; i++)
		readers[i] = tcase_spawn(wait_for_wake, r);
	reach(&r->waiting, 3);
	usleep(SETTLE);
	writer = tcase_spawn(wait_for_wake, w);
	reach(&w->waiting, 1);
	usleep(SETTLE);
	check_eq(vas_switch(check_id(vas_attach(w->vid))), 0);
	check_eq(wake(WORD, 1), 4);
	tcase_join(writer);
	for (i = 0; i < 3; i++)
		tcase_join(readers[i]);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void nothing(int sig)
{
	(void)sig;
}

static void wait_for_a_signal(void *arg)
{
	const struct sigaction sa = { .sa_handler = nothing };

	check_eq(sigaction(SIGUSR1, &sa, NULL), 0);
	wait_for_wake(arg);
}

static void wait_through_a_signal(void *arg)
{
	const struct sigaction sa = { .sa_handler = nothing,
				      .sa_flags = SA_RESTART };

	check_eq(sigaction(SIGUSR1, &sa, NULL), 0);
	wait_for_wake(arg);
}

static void a_signal_ends_a_wait_unless_it_restarts(void)
{
	struct stage *s = new_stage();
	pid_t pid;

	s->err = -EINTR;
	pid = tcase_spawn(wait_for_a_signal, s);
	reach(&s->waiting, 1);
	usleep(SETTLE);
	check_eq(kill(pid, SIGUSR1), 0);
	tcase_join(pid);

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	s = new_stage();
	pid = tcase_spawn(wait_through_a_signal, s);
	reach(&s->waiting, 1);
	usleep(SETTLE);
	check_eq(kill(pid, SIGUSR1), 0);
	check_eq(kill(pid, SIGSTOP), 0);
	usleep(SETTLE);
	check_eq(kill(pid, SIGCONT), 0);
	usleep(SETTLE);
	check_eq(atomic_load(&s->done), 0);
	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	check_eq(wake(WORD, 1), 1);
	tcase_join(pid);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_waiter_that_is_killed_is_gone(void)
{
	struct stage *s = new_stage();
	pid_t pid = tcase_spawn(wait_for_wake, s);

	reach(&s->waiting, 1);
	usleep(SETTLE);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	check_eq(wake(WORD, 1), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

#define ROUNDS	2000

/* WORD[0] is whose turn it is. */
static void take_turns(void *arg)
{
	struct stage *s = arg;
	uint32_t me = (uint32_t)atomic_fetch_add(&s->waiting, 1);
	int i, err;

	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	for (i = 0; i < ROUNDS; i++) {
		while (atomic_load(WORD) != me) {
			err = wait_ms(WORD, !me, 20000);
			check(!err || err == -EAGAIN);
		}
		atomic_store(WORD, !me);
		check(wake(WORD, 1) >= 0);
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

static void no_wake_up_is_lost(void)
{
	struct stage *s = new_stage();
	pid_t a = tcase_spawn(take_turns, s), b = tcase_spawn(take_turns, s);

	tcase_join(a);
	tcase_join(b);
}

/* The wake-up is in flight when the other side sleeps, gets a signal, or both. */
static void wake_ups_and_time_limits_cross(void)
{
	struct stage *s = new_stage();
	pid_t pid = tcase_spawn(take_turns, s);
	int i, err, late = 0;

	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	reach(&s->waiting, 1);
	for (i = 0; i < ROUNDS; i++) {
		while (atomic_load(WORD) != 1) {
			err = wait_ms(WORD, 0, 0);
			check(!err || err == -EAGAIN || err == -ETIMEDOUT);
			late += err == -ETIMEDOUT;
		}
		atomic_store(WORD, 0);
		check(wake(WORD, 1) >= 0);
	}
	tcase_note("%d of %d waits were over before the wake-up", late, ROUNDS);
	tcase_join(pid);
	check_eq(vas_switch(VAS_HOME), 0);
}

/* Wait as a process whose clock is @offset seconds before the kernel's. */
static void wait_in_time_namespace(struct stage *s, int offset,
				   uint64_t (*deadline)(void))
{
	int dev = open("/dev/pvvas", O_RDWR), f;
	struct pvvas_ioc_wait wait = { .size = sizeof(wait) };
	pid_t pid;

	check_eq(unshare(CLONE_NEWTIME), 0);
	f = open("/proc/self/timens_offsets", O_WRONLY);
	check(dprintf(f, "monotonic %d 0", offset) > 0);
	pid = fork();
	if (!pid) {
		check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
		wait.addr = (uintptr_t)WORD;
		wait.deadline = deadline();
		atomic_store(&s->waiting, 1);
		s->err = ioctl(dev, PVVAS_IOC_SEG_WAIT, &wait) ? -errno : 0;
		atomic_store(&s->done, 1);
		_exit(0);
	}
	check(pid > 0);
	check_eq(waitpid(pid, NULL, 0), pid);
}

static uint64_t after_all_time(void)
{
	return INT64_MAX - 500000000;
}

static void wait_for_ever(void *arg)
{
	wait_in_time_namespace(arg, -1, after_all_time);
}

static void a_time_limit_after_all_time_is_none_in_a_time_namespace_too(void)
{
	struct stage *s = new_stage();
	pid_t pid;

	tcase_need(PVVAS_FEATURE_SWITCH);
	pid = tcase_spawn(wait_for_ever, s);
	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	reach(&s->waiting, 1);
	usleep(SETTLE);
	check_eq(atomic_load(&s->done), 0);
	check_eq(wake(WORD, 1), 1);
	reach(&s->done, 1);
	check_eq(s->err, 0);
	tcase_join(pid);
	check_eq(vas_switch(VAS_HOME), 0);
}

static uint64_t a_moment_from_now(void)
{
	struct timespec ts = in_ms(SETTLE / 1000);

	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void wait_a_moment(void *arg)
{
	wait_in_time_namespace(arg, 100000, a_moment_from_now);
}

/* It would not be over for a day by the clock of the kernel. */
static void a_time_limit_is_by_the_clock_of_the_time_namespace(void)
{
	struct stage *s = new_stage();
	pid_t pid;

	tcase_need(PVVAS_FEATURE_SWITCH);
	pid = tcase_spawn(wait_a_moment, s);
	reach(&s->done, 1);
	check_eq(s->err, -ETIMEDOUT);
	tcase_join(pid);
}

static const struct tcase cases[] = {
	CASE(a_wait_ends_with_a_wake),
	CASE(as_many_wake_as_were_asked_for),
	CASE(another_value_is_eagain),
	CASE(a_time_limit_is_absolute),
	CASE(what_is_no_word_of_a_segment_is_refused),
	CASE(one_address_in_two_vases_is_two_words),
	CASE(threads_in_two_vases_do_not_take_each_others_wake_ups),
	CASE(a_wake_up_goes_through_a_second_face),
	CASE(a_clone_is_another_memory),
	CASE(a_reader_may_wait_but_not_wake),
	CASE(a_waiting_reader_takes_no_wake_up_from_a_writer),
	CASE(a_signal_ends_a_wait_unless_it_restarts),
	CASE(a_waiter_that_is_killed_is_gone),
	CASE(no_wake_up_is_lost),
	CASE(wake_ups_and_time_limits_cross),
	CASE(a_time_limit_after_all_time_is_none_in_a_time_namespace_too),
	CASE(a_time_limit_is_by_the_clock_of_the_time_namespace),
};

TCASE_MAIN(cases, 0)
