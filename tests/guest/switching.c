// SPDX-License-Identifier: GPL-2.0-only
/*
 * vas_switch() and vas_current(): where a thread is, what becomes of stale
 * handles, and what a switch costs.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

static int attached(char value)
{
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));

	check_eq(vas_switch(vh), 0);
	BASE[0] = value;
	check_eq(vas_switch(VAS_HOME), 0);
	return vh;
}

static void home_is_where_a_process_starts(void)
{
	check_eq(vas_current(), VAS_HOME);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_current(), VAS_HOME);
}

static void current_follows_every_switch(void)
{
	int a = attached(1), b = attached(2);

	check_eq(vas_current(), VAS_HOME);
	check_eq(vas_switch(a), 0);
	check_eq(vas_current(), a);
	check_eq(vas_switch(a), 0);
	check_eq(vas_current(), a);
	check_eq(vas_switch(b), 0);
	check_eq(vas_current(), b);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_current(), VAS_HOME);
}

static void attaching_twice_gives_two_handles_of_one_memory(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL);
	int a = check_id(vas_attach(vid)), b = check_id(vas_attach(vid));

	check(a != b);
	check_eq(vas_switch(a), 0);
	BASE[0] = 3;
	check_eq(vas_switch(b), 0);
	check_eq(vas_current(), b);
	check_eq(BASE[0], 3);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(a), 0);
	check_eq(vas_switch(b), 0);
	check_eq(BASE[0], 3);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_stale_handle_is_einval_and_changes_nothing(void)
{
	int a = attached(1), b = attached(2);

	check_eq(vas_detach(b), 0);
	check_eq(vas_switch(b), -EINVAL);
	check_eq(vas_current(), VAS_HOME);
	check_eq(vas_detach(b), -EINVAL);
	check_eq(vas_switch(a), 0);
	check_eq(vas_switch(b), -EINVAL);
	check_eq(vas_current(), a);
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_stale_handle_does_not_reach_who_came_after(void)
{
	int old[64], new[64], i;

	for (i = 0; i < 64; i++)
		old[i] = attached(1);
	for (i = 0; i < 64; i++)
		check_eq(vas_detach(old[i]), 0);
	for (i = 0; i < 64; i++)
		new[i] = attached(2);
	check_eq(vas_switch(new[0]), 0);
	for (i = 0; i < 64; i++) {
		check_eq(vas_switch(old[i]), -EINVAL);
		check_eq(vas_current(), new[0]);
		check_eq(BASE[0], 2);
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

static void what_is_no_handle_is_einval(void)
{
	int a = attached(1);
	int wrong[] = { -1, -EINVAL, 1, 2, 65535, 65536, 1 << 30, 0x7fffffff,
			a ^ 1 << 16, a ^ 1 << 30, a + 1, a + 65536,
			a | (int)(1U << 31) };
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		check_eq(vas_switch(wrong[i]), -EINVAL);
		check_eq(vas_current(), VAS_HOME);
	}
	check_eq(vas_switch(a), 0);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		check_eq(vas_switch(wrong[i]), -EINVAL);
		check_eq(vas_current(), a);
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

static void detach_is_refused_while_inside(void)
{
	int a = attached(1);

	check_eq(vas_switch(a), 0);
	check_eq(vas_detach(a), -EBUSY);
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(a), 0);
}

static void more_attachments_than_slots_all_work(void)
{
	enum { NR = 700 };
	int vid = tcase_vas_with_seg(BASE, MIB, NULL);
	static int vh[NR];
	int i, round;

	for (i = 0; i < NR; i++) {
		vh[i] = vas_attach(vid);
		if (vh[i] < 0)
			tcase_fail(__FILE__, __LINE__, "attachment %d: %d", i,
				   vh[i]);
	}
	for (round = 0; round < 2; round++) {
		for (i = 0; i < NR; i++) {
			check_eq(vas_switch(vh[i]), 0);
			check_eq(vas_current(), vh[i]);
			BASE[i] = (char)(BASE[i] + 1);
		}
	}
	for (i = 0; i < NR; i++)
		check_eq(BASE[i], 2);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_million_switches_exit_nowhere(void)
{
	struct pvvas_stats before = { .size = sizeof(before) };
	struct pvvas_stats after = { .size = sizeof(after) };
	unsigned long wrong = 0, i;
	int a, b;

	tcase_need(PVVAS_FEATURE_SWITCH);
	a = attached(1);
	b = attached(2);
	check_eq(vas_switch(a), 0);
	check_eq(vas_switch(b), 0);
	check_eq(pvvas_stats(&before), 0);
	for (i = 0; i < 500000; i++) {
		wrong += vas_switch(a) || BASE[0] != 1;
		wrong += vas_switch(b) || BASE[0] != 2;
	}
	check_eq(pvvas_stats(&after), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(wrong, 0);
	check_eq(after.hv_vmfunc_exits, before.hv_vmfunc_exits);
	check_eq(after.hv_view_faults, before.hv_view_faults);
	/* timer interrupts and the kernel's own work, not one per switch */
	check(after.hv_exits - before.hv_exits < 50000);
	check(after.hv_hypercalls - before.hv_hypercalls < 1000);
}

static int handler_saw;

static void on_signal(int sig)
{
	(void)sig;
	handler_saw = vas_current();
	if (BASE[0] != 1)
		handler_saw = -1;
}

static void a_signal_handler_runs_in_the_interrupted_vas(void)
{
	int a = attached(1);

	signal(SIGUSR1, on_signal);
	check_eq(vas_switch(a), 0);
	raise(SIGUSR1);
	check_eq(handler_saw, a);
	check_eq(vas_current(), a);
	check_eq(vas_switch(VAS_HOME), 0);
}

static int other;

static void on_signal_switching(int sig)
{
	int here = vas_current();

	(void)sig;
	if (vas_switch(other) || BASE[0] != 2 || vas_switch(here))
		_exit(1);
}

static void a_handler_may_switch_if_it_comes_back(void)
{
	int a = attached(1), i;

	other = attached(2);
	signal(SIGUSR1, on_signal_switching);
	check_eq(vas_switch(a), 0);
	for (i = 0; i < 100; i++) {
		raise(SIGUSR1);
		check_eq(BASE[0], 1);
	}
	check_eq(vas_switch(VAS_HOME), 0);
	raise(SIGUSR1);
	check_eq(vas_current(), VAS_HOME);
}

static void a_timer_may_interrupt_switches(void)
{
	int a, i;

	tcase_need(PVVAS_FEATURE_SWITCH);
	a = attached(1);
	other = attached(2);
	signal(SIGALRM, on_signal_switching);
	ualarm(1000, 1000);
	for (i = 0; i < 100000; i++) {
		check_eq(vas_switch(a), 0);
		check_eq(BASE[0], 1);
		check_eq(vas_switch(VAS_HOME), 0);
	}
	ualarm(0, 0);
}

static void longjmp_does_not_switch(void)
{
	int a = attached(1);
	jmp_buf env;

	if (!setjmp(env)) {
		check_eq(vas_switch(a), 0);
		longjmp(env, 1);
	}
	check_eq(vas_current(), a);
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static int at_exit_handle;

static void in_exit(void)
{
	/* still there, and usable until the last instruction */
	if (vas_current() != at_exit_handle || BASE[0] != 1 ||
	    vas_switch(VAS_HOME) || vas_switch(at_exit_handle))
		_exit(1);
}

static void leave_by_exit(void *arg)
{
	(void)arg;
	at_exit_handle = attached(1);
	atexit(in_exit);
	check_eq(vas_switch(at_exit_handle), 0);
	exit(0);
}

static void exit_handlers_run_in_the_vas_that_called_exit(void)
{
	tcase_join(tcase_spawn(leave_by_exit, NULL));
}

static const struct tcase cases[] = {
	CASE(home_is_where_a_process_starts),
	CASE(current_follows_every_switch),
	CASE(attaching_twice_gives_two_handles_of_one_memory),
	CASE(a_stale_handle_is_einval_and_changes_nothing),
	CASE(a_stale_handle_does_not_reach_who_came_after),
	CASE(what_is_no_handle_is_einval),
	CASE(detach_is_refused_while_inside),
	CASE(more_attachments_than_slots_all_work),
	CASE(a_million_switches_exit_nowhere),
	CASE(a_signal_handler_runs_in_the_interrupted_vas),
	CASE(a_handler_may_switch_if_it_comes_back),
	CASE(a_timer_may_interrupt_switches),
	CASE(longjmp_does_not_switch),
	CASE(exit_handlers_run_in_the_vas_that_called_exit),
};

TCASE_MAIN(cases, 0)
