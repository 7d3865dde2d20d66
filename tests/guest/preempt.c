// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes, each in a VAS of its own, that preempt each other on one CPU:
 * none ever sees another's data.
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((volatile uint64_t *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

struct pair {
	atomic_int ready;
	atomic_bool stop;
	atomic_ulong switches;	/* context switches, of all */
	int nr;
	int rounds;		/* of yielding, or 0: until stopped */
	bool yield;
	bool migrate;
	bool use_vas[4];
	atomic_int next;
};

static unsigned long context_switches(void)
{
	struct rusage ru;

	check_eq(getrusage(RUSAGE_SELF, &ru), 0);
	return (unsigned long)(ru.ru_nvcsw + ru.ru_nivcsw);
}

static void player(void *arg)
{
	struct pair *p = arg;
	int me = atomic_fetch_add(&p->next, 1), i, vh = VAS_HOME;
	uint64_t mine = 0x1111111111111111ULL * (uint64_t)(me + 1);
	unsigned long before;

	if (p->use_vas[me]) {
		vh = check_id(vas_attach(tcase_vas_with_seg((void *)BASE, MIB,
							    NULL)));
		check_eq(vas_switch(vh), 0);
		BASE[0] = mine;
	}
	tcase_pin(0);
	atomic_fetch_add(&p->ready, 1);
	while (atomic_load(&p->ready) < p->nr)
		sched_yield();
	before = context_switches();
	for (i = 0; p->rounds ? i < p->rounds : !atomic_load(&p->stop); i++) {
		if (vh != VAS_HOME) {
			check_eq(vas_current(), vh);
			if (BASE[0] != mine)
				tcase_fail(__FILE__, __LINE__,
					   "saw %llx in round %d",
					   (unsigned long long)BASE[0], i);
			/* often home, seldom */
			if (i % 1000 == 999) {
				check_eq(vas_switch(VAS_HOME), 0);
				check_eq(vas_switch(vh), 0);
			}
		}
		if (p->yield)
			sched_yield();
		if (p->migrate && i % 64 == 0)
			tcase_pin(i / 64 % 2);
	}
	atomic_fetch_add(&p->switches, context_switches() - before);
	check_eq(vas_switch(VAS_HOME), 0);
}

static struct pair *new_pair(int nr)
{
	struct pair *p = tcase_shared(sizeof(*p));
	int i;

	p->nr = nr;
	for (i = 0; i < nr; i++)
		p->use_vas[i] = true;
	return p;
}

static void play(struct pair *p, unsigned int seconds)
{
	pid_t pids[4];
	int i;

	for (i = 0; i < p->nr; i++)
		pids[i] = tcase_spawn(player, p);
	if (seconds) {
		sleep(seconds);
		atomic_store(&p->stop, true);
	}
	for (i = 0; i < p->nr; i++)
		tcase_join(pids[i]);
	tcase_note("%lu context switches", atomic_load(&p->switches));
}

static void two_processes_yield_to_each_other_100000_times(void)
{
	struct pair *p = new_pair(2);

	/* not each yield is a switch: 2 of 100 were none, once */
	p->rounds = 60000;
	p->yield = true;
	play(p, 0);
	check(atomic_load(&p->switches) >= 100000);
}

static void a_process_without_vases_in_between_changes_nothing(void)
{
	struct pair *p = new_pair(3);

	p->use_vas[1] = false;
	p->rounds = 10000;
	p->yield = true;
	play(p, 0);
}

static void processes_preempted_by_the_timer_see_their_own(void)
{
	struct pair *p = new_pair(3);

	play(p, 1);
	check(atomic_load(&p->switches) >= 50);
}

static void processes_that_migrate_see_their_own(void)
{
	struct pair *p;

	tcase_need_cpus(2);
	p = new_pair(4);
	p->rounds = 10000;
	p->yield = true;
	p->migrate = true;
	play(p, 0);
}

static void sleeper(void *arg)
{
	struct timespec ts = { .tv_nsec = 100000 };
	struct pair *p = arg;
	int me = atomic_fetch_add(&p->next, 1), i, vh;

	vh = check_id(vas_attach(tcase_vas_with_seg((void *)BASE, MIB, NULL)));
	check_eq(vas_switch(vh), 0);
	tcase_pin(0);
	for (i = 0; i < 500; i++) {
		BASE[i] = (uint64_t)me;
		nanosleep(&ts, NULL);
		check_eq(BASE[i], me);
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

static void processes_that_sleep_wake_up_in_their_own(void)
{
	struct pair *p = new_pair(4);
	pid_t pids[4];
	int i;

	for (i = 0; i < 4; i++)
		pids[i] = tcase_spawn(sleeper, p);
	for (i = 0; i < 4; i++)
		tcase_join(pids[i]);
}

static const struct tcase cases[] = {
	CASE_SECONDS(two_processes_yield_to_each_other_100000_times, 120),
	CASE(a_process_without_vases_in_between_changes_nothing),
	CASE(processes_preempted_by_the_timer_see_their_own),
	CASE(processes_that_migrate_see_their_own),
	CASE(processes_that_sleep_wake_up_in_their_own),
};

TCASE_MAIN(cases, 0)
