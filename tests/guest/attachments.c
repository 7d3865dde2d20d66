// SPDX-License-Identifier: GPL-2.0-only
/*
 * More attachments than an EPTP list has slots; and what a change of thread or
 * process costs, counted in hypercalls.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define MANY	2000
#define SITTERS	8

static int handles[MANY];
static atomic_int inside, leave;

static struct pvvas_stats counters(void)
{
	struct pvvas_stats st = { .size = sizeof(st) };

	check_eq(pvvas_stats(&st), 0);
	return st;
}

static void attach_many(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL), i, own;

	for (i = 0; i < MANY; i++) {
		/* every tenth has a segment of its own, which tells it apart */
		if (i % 10 == 0) {
			own = tcase_vas_with_seg(BASE, MIB, NULL);
			handles[i] = check_id(vas_attach(own));
		} else {
			handles[i] = check_id(vas_attach(vid));
		}
	}
}

static int what_is_there(int i)
{
	return i % 10 ? 7 : i / 10 + 100;
}

static void two_thousand_attachments_all_work(void)
{
	int i, round;

	attach_many();
	check_eq(counters().attachments, MANY);
	for (i = 0; i < MANY; i++) {
		check_eq(vas_switch(handles[i]), 0);
		check_eq(vas_current(), handles[i]);
		*(int *)BASE = what_is_there(i);
	}
	for (round = 0; round < 2; round++) {
		for (i = 0; i < MANY; i++) {
			int at = (i * 997 + round) % MANY;

			check_eq(vas_switch(handles[at]), 0);
			check_eq(vas_current(), handles[at]);
			check_eq(*(int *)BASE, what_is_there(at));
		}
	}
	check_eq(vas_switch(VAS_HOME), 0);
	for (i = 0; i < MANY; i++)
		check_eq(vas_detach(handles[i]), 0);
}

static void *sit(void *arg)
{
	int at = (int)(long)arg * 10, vh = handles[at];

	check_eq(vas_switch(vh), 0);
	atomic_fetch_add(&inside, 1);
	while (!atomic_load(&leave)) {
		check_eq(vas_current(), vh);
		check_eq(*(int *)BASE, what_is_there(at));
		sched_yield();
	}
	check_eq(vas_switch(VAS_HOME), 0);
	return NULL;
}

static void nobody_loses_a_view_that_he_is_in(void)
{
	pthread_t threads[SITTERS];
	int i;

	attach_many();
	for (i = 0; i < SITTERS; i++) {
		check_eq(vas_switch(handles[i * 10]), 0);
		*(int *)BASE = what_is_there(i * 10);
	}
	check_eq(vas_switch(VAS_HOME), 0);
	for (i = 0; i < SITTERS; i++)
		check_eq(pthread_create(&threads[i], NULL, sit,
					(void *)(long)i), 0);
	while (atomic_load(&inside) < SITTERS)
		sched_yield();
	/* more than there are slots, so that all others go round */
	for (i = 0; i < 700; i++)
		check_eq(vas_switch(handles[MANY - 1 - i]), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	atomic_store(&leave, 1);
	for (i = 0; i < SITTERS; i++)
		check_eq(pthread_join(threads[i], NULL), 0);
}

#define TURNS	400

static void *yield_inside(void *arg)
{
	int i;

	check_eq(vas_switch(handles[(long)arg]), 0);
	atomic_fetch_add(&inside, 1);
	while (atomic_load(&inside) < 2)
		sched_yield();
	for (i = 0; i < TURNS; i++) {
		check_eq(BASE[0], (int)(long)arg + 1);
		sched_yield();
	}
	check_eq(vas_switch(VAS_HOME), 0);
	return NULL;
}

static void two_views(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		handles[i] = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB,
								   NULL)));
		check_eq(vas_switch(handles[i]), 0);
		BASE[0] = (char)(i + 1);
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

static void between_threads_of_a_process_there_is_no_hypercall(void)
{
	struct pvvas_stats before, after;
	pthread_t threads[2];
	long i;

	tcase_pin(0);
	two_views();
	before = counters();
	for (i = 0; i < 2; i++)
		check_eq(pthread_create(&threads[i], NULL, yield_inside,
					(void *)i), 0);
	for (i = 0; i < 2; i++)
		check_eq(pthread_join(threads[i], NULL), 0);
	after = counters();
	tcase_note("%d turns: %lu context loads, %lu hypercalls", 2 * TURNS,
		   after.hv_ctx_loads - before.hv_ctx_loads,
		   after.hv_hypercalls - before.hv_hypercalls);
	check_eq(after.hv_ctx_loads - before.hv_ctx_loads, 0);
	/* the kernel's own for other ends, far fewer than turns */
	check(after.hv_hypercalls - before.hv_hypercalls < TURNS / 4);
}

struct pair {
	atomic_int ready, turns, go;
};

static void other_process(void *arg)
{
	struct pair *p = arg;
	int i;

	two_views();
	check_eq(vas_switch(handles[0]), 0);
	atomic_fetch_add(&p->ready, 1);
	while (!atomic_load(&p->go))
		sched_yield();
	for (i = 0; i < TURNS; i++) {
		check_eq(BASE[0], 1);
		sched_yield();
		atomic_fetch_add(&p->turns, 1);
	}
	/* stay until the other one is done, off the CPU */
	while (atomic_load(&p->turns) < 2 * TURNS)
		usleep(10000);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void between_processes_there_is_at_most_one_hypercall(void)
{
	struct pair *p = tcase_shared(sizeof(*p));
	struct pvvas_stats before, after;
	pid_t pids[2];
	uint64_t loads;
	int i;

	tcase_pin(0);
	for (i = 0; i < 2; i++)
		pids[i] = tcase_spawn(other_process, p);
	while (atomic_load(&p->ready) < 2)
		usleep(1000);
	before = counters();
	atomic_store(&p->go, 1);
	while (atomic_load(&p->turns) < 2 * TURNS)
		usleep(10000);
	after = counters();
	loads = after.hv_ctx_loads - before.hv_ctx_loads;
	tcase_note("%d turns: %lu context loads, %lu hypercalls", 2 * TURNS,
		   loads, after.hv_hypercalls - before.hv_hypercalls);
	/* they did take turns, and each turn loaded once */
	check(loads >= TURNS / 2);
	check(loads <= 2 * TURNS + 100);
	check(after.hv_hypercalls - before.hv_hypercalls <= loads + TURNS / 4);
	for (i = 0; i < 2; i++)
		tcase_join(pids[i]);
}

static const struct tcase cases[] = {
	CASE(two_thousand_attachments_all_work),
	CASE(nobody_loses_a_view_that_he_is_in),
	CASE(between_threads_of_a_process_there_is_no_hypercall),
	CASE(between_processes_there_is_at_most_one_hypercall),
};

TCASE_MAIN(cases, 0)
