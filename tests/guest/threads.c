// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each thread is in a VAS of its own, and stays there whatever the scheduler
 * does with it.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define THREADS	8

static int handles[THREADS];
static atomic_int arrived;

static void make_vases(void)
{
	int i;

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	for (i = 0; i < THREADS; i++) {
		int vid = tcase_vas(NULL, 0600);

		check_eq(seg_attach(vid, tcase_seg(NULL, BASE, MIB, 0600)), 0);
		handles[i] = check_id(vas_attach(vid));
		check_eq(vas_switch(handles[i]), 0);
		BASE[0] = (char)(i + 1);
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

static void meet(int nr)
{
	atomic_fetch_add(&arrived, 1);
	while (atomic_load(&arrived) < nr)
		sched_yield();
}

static void run_threads(void *(*fn)(void *arg), int nr)
{
	pthread_t threads[THREADS];
	int i;

	for (i = 0; i < nr; i++)
		check_eq(pthread_create(&threads[i], NULL, fn,
					(void *)(long)i), 0);
	for (i = 0; i < nr; i++)
		check_eq(pthread_join(threads[i], NULL), 0);
}

static void *stay(void *arg)
{
	int me = (int)(long)arg, i;

	check_eq(vas_current(), VAS_HOME);
	check_eq(vas_switch(handles[me]), 0);
	meet(THREADS);
	for (i = 0; i < 2000; i++) {
		check_eq(vas_current(), handles[me]);
		check_eq(BASE[0], me + 1);
		sched_yield();
	}
	check_eq(vas_switch(VAS_HOME), 0);
	return NULL;
}

static void threads_are_each_in_their_own_vas(void)
{
	make_vases();
	run_threads(stay, THREADS);
	check_eq(vas_current(), VAS_HOME);
}

static void threads_on_one_cpu_are_each_in_their_own_vas(void)
{
	tcase_pin(0);
	make_vases();
	run_threads(stay, THREADS);
}

static void *wander(void *arg)
{
	int me = (int)(long)arg, nr = tcase_nr_cpus(), i;

	check_eq(vas_switch(handles[me]), 0);
	for (i = 0; i < 500; i++) {
		tcase_pin((i + me) % nr);
		check_eq(vas_current(), handles[me]);
		check_eq(BASE[0], me + 1);
	}
	check_eq(vas_switch(VAS_HOME), 0);
	return NULL;
}

static void a_thread_keeps_its_vas_when_it_migrates(void)
{
	tcase_need_cpus(2);
	make_vases();
	run_threads(wander, 4);
}

static void *switch_about(void *arg)
{
	int me = (int)(long)arg, i;

	for (i = 0; i < 20000; i++) {
		int which = (me + i) % THREADS;

		check_eq(vas_switch(handles[which]), 0);
		check_eq(BASE[0], which + 1);
		if (i % 64 == 0)
			sched_yield();
	}
	check_eq(vas_switch(VAS_HOME), 0);
	return NULL;
}

static void threads_switch_at_the_same_time(void)
{
	make_vases();
	run_threads(switch_about, THREADS);
}

static void *new_thread(void *arg)
{
	/* its very first instruction of this kind, on whatever CPU it is */
	check_eq(vas_current(), VAS_HOME);
	check_eq(tcase_try_read(BASE).sig, SIGSEGV);
	check_eq(vas_switch(handles[0]), 0);
	check_eq(BASE[0], 1);
	/* exits inside */
	return arg;
}

static void a_new_thread_starts_at_home(void)
{
	pthread_t thread;
	int i;

	make_vases();
	check_eq(vas_switch(handles[1]), 0);
	for (i = 0; i < 100; i++) {
		check_eq(pthread_create(&thread, NULL, new_thread, NULL), 0);
		check_eq(pthread_join(thread, NULL), 0);
		check_eq(vas_current(), handles[1]);
		check_eq(BASE[0], 2);
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

static atomic_bool inside, leave;

static void *sit_inside(void *arg)
{
	check_eq(vas_switch(handles[0]), 0);
	atomic_store(&inside, true);
	while (!atomic_load(&leave))
		sched_yield();
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
	return arg;
}

static void detach_is_refused_while_another_thread_is_inside(void)
{
	pthread_t thread;

	make_vases();
	check_eq(pthread_create(&thread, NULL, sit_inside, NULL), 0);
	while (!atomic_load(&inside))
		sched_yield();
	check_eq(vas_detach(handles[0]), -EBUSY);
	atomic_store(&leave, true);
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(vas_detach(handles[0]), 0);
	check_eq(vas_switch(handles[0]), -EINVAL);
}

static void *attach_and_detach(void *arg)
{
	int vid = (int)(long)arg, i;

	for (i = 0; i < 200; i++) {
		int vh = check_id(vas_attach(vid));

		check_eq(vas_switch(vh), 0);
		check_eq(BASE[0], 9);
		check_eq(vas_switch(VAS_HOME), 0);
		check_eq(vas_detach(vh), 0);
		check_eq(vas_switch(vh), -EINVAL);
	}
	return NULL;
}

static void threads_attach_and_detach_at_the_same_time(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL), i;
	pthread_t threads[4];

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	BASE[0] = 9;
	for (i = 0; i < 4; i++)
		check_eq(pthread_create(&threads[i], NULL, attach_and_detach,
					(void *)(long)vid), 0);
	for (i = 0; i < 4; i++)
		check_eq(pthread_join(threads[i], NULL), 0);
	check_eq(BASE[0], 9);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void *touch_all(void *arg)
{
	size_t at;

	check_eq(vas_switch(handles[0]), 0);
	meet(4);
	for (at = 0; at < MIB; at += 4096)
		__atomic_fetch_add(&BASE[at + 1], 1, __ATOMIC_RELAXED);
	check_eq(vas_switch(VAS_HOME), 0);
	return arg;
}

static void threads_touch_new_pages_at_the_same_time(void)
{
	size_t at;

	make_vases();
	run_threads(touch_all, 4);
	check_eq(vas_switch(handles[0]), 0);
	for (at = 0; at < MIB; at += 4096)
		check_eq(BASE[at + 1], 4);
	check_eq(vas_switch(VAS_HOME), 0);
}

static pthread_key_t key;
static int cleanups;

/* Of a thread that ends: it is where it was, and may write there. */
static void cleanup(void *arg)
{
	if (vas_current() == handles[0])
		BASE[2] += *(char *)arg;
	cleanups++;
}

static void *until_cancelled(void *arg)
{
	static char one = 1, two = 2;

	check_eq(vas_switch(handles[0]), 0);
	BASE[2] = 0;
	check_eq(pthread_setspecific(key, &two), 0);
	pthread_cleanup_push(cleanup, &one);
	atomic_store(&inside, true);
	for (;;)
		usleep(1000);
	pthread_cleanup_pop(0);
	return arg;
}

static void a_thread_may_be_cancelled_inside(void)
{
	pthread_t thread;
	void *result;

	make_vases();
	check_eq(pthread_key_create(&key, cleanup), 0);
	check_eq(pthread_create(&thread, NULL, until_cancelled, NULL), 0);
	while (!atomic_load(&inside))
		sched_yield();
	check_eq(pthread_cancel(thread), 0);
	check_eq(pthread_join(thread, &result), 0);
	check(result == PTHREAD_CANCELED);
	check_eq(cleanups, 2);
	check_eq(vas_switch(handles[0]), 0);
	check_eq(BASE[2], 3);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(handles[0]), 0);
}

static const struct tcase cases[] = {
	CASE(threads_are_each_in_their_own_vas),
	CASE(threads_on_one_cpu_are_each_in_their_own_vas),
	CASE(a_thread_keeps_its_vas_when_it_migrates),
	CASE(threads_switch_at_the_same_time),
	CASE(a_new_thread_starts_at_home),
	CASE(detach_is_refused_while_another_thread_is_inside),
	CASE(threads_attach_and_detach_at_the_same_time),
	CASE(threads_touch_new_pages_at_the_same_time),
	CASE(a_thread_may_be_cancelled_inside),
};

TCASE_MAIN(cases, 0)
