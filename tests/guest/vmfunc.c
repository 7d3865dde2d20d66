// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMFUNC needs no privilege, so any process may try it.  One without a VAS gets a
 * signal, or nothing; in either case sees nothing.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((volatile char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

struct vmfunc {
	unsigned long leaf;
	unsigned long slot;
};

static void do_vmfunc(void *arg)
{
	struct vmfunc *v = arg;

	__asm__ __volatile__(".byte 0x0f, 0x01, 0xd4"
			     : : "a" (v->leaf), "c" (v->slot) : "memory");
}

static int try_vmfunc(unsigned long leaf, unsigned long slot)
{
	struct vmfunc v = { leaf, slot };
	int sig = tcase_try(do_vmfunc, &v).sig;

	if (sig && sig != SIGILL && sig != SIGSEGV)
		tcase_fail(__FILE__, __LINE__, "signal %d for %lx, %lx", sig,
			   leaf, slot);
	return sig;
}

static const unsigned long large[] = {
	512, 513, 1023, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
	0x100000000, 0x100000001, 0x8000000000000000, ~0UL,
};

#define NR_LARGE	(sizeof(large) / sizeof(large[0]))

static volatile long canary = 0x0123456789abcdef;

static void see_nothing(void)
{
	check_eq(canary, 0x0123456789abcdef);
	check_eq(tcase_try_read(BASE).sig, SIGSEGV);
	check_eq(tcase_try_read((char *)VAS_WINDOW_BASE).sig, SIGSEGV);
}

/* All leaves, and each @step-th slot of those that are not there. */
static void try_leaves(unsigned long step)
{
	unsigned long leaf, slot;
	size_t i, k;

	for (leaf = 0; leaf < 64; leaf++) {
		for (slot = 0; slot < 512; slot += leaf ? step : 1)
			try_vmfunc(leaf, slot);
		see_nothing();
	}
	for (i = 0; i < NR_LARGE; i++) {
		for (leaf = 0; leaf < 64; leaf++)
			try_vmfunc(leaf, large[i]);
		for (slot = 0; slot < 512; slot += 73)
			try_vmfunc(large[i], slot);
		for (k = 0; k < NR_LARGE; k++)
			try_vmfunc(large[i], large[k]);
		see_nothing();
	}
}

static void a_process_without_vases_sees_nothing(void)
{
	try_leaves(1);
}

static void live_inside(void *arg)
{
	atomic_int *state = arg;
	int vh = check_id(vas_attach(tcase_vas_with_seg((void *)BASE, MIB,
							NULL)));

	tcase_pin(0);
	check_eq(vas_switch(vh), 0);
	BASE[0] = 'S';
	atomic_store(state, 1);
	while (atomic_load(state) == 1) {
		check_eq(BASE[0], 'S');
		sched_yield();
	}
	check_eq(vas_current(), vh);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void it_sees_nothing_of_a_neighbour_on_its_cpu(void)
{
	atomic_int *state = tcase_shared(sizeof(*state));
	pid_t pid = tcase_spawn(live_inside, state);
	unsigned long round, slot;

	while (!atomic_load(state))
		usleep(1000);
	tcase_pin(0);
	for (round = 0; round < 20; round++) {
		/* the neighbour has run: its list may be loaded still */
		sched_yield();
		for (slot = 0; slot < 512; slot++) {
			try_vmfunc(0, slot);
			if (slot % 16 == 0)
				sched_yield();
		}
		see_nothing();
	}
	try_leaves(73);
	atomic_store(state, 2);
	tcase_join(pid);
}

/* A thread of ours that never went through the library. */
static void *fresh_thread(void *arg)
{
	const volatile uint64_t *cookie = (uint64_t *)(VAS_WINDOW_BASE + 8);
	unsigned long slot;

	(void)arg;
	for (slot = 0; slot < 512; slot++) {
		int sig = try_vmfunc(0, slot);

		if (sig)
			continue;
		/* where it got to is home, or a VAS of its own process */
		if (*cookie == VAS_HOME)
			check_eq(tcase_try_read(BASE).sig, SIGSEGV);
		else
			check_eq(BASE[0], 'O');
	}
	try_vmfunc(0, 0);
	return NULL;
}

static void a_fresh_thread_sees_nothing_of_a_neighbour(void)
{
	atomic_int *state = tcase_shared(sizeof(*state));
	pid_t pid = tcase_spawn(live_inside, state);
	pthread_t thread;
	int vh, round;

	while (!atomic_load(state))
		usleep(1000);
	tcase_pin(0);
	vh = check_id(vas_attach(tcase_vas_with_seg((void *)BASE, MIB, NULL)));
	check_eq(vas_switch(vh), 0);
	BASE[0] = 'O';
	check_eq(vas_switch(VAS_HOME), 0);
	for (round = 0; round < 50; round++) {
		check_eq(pthread_create(&thread, NULL, fresh_thread, NULL), 0);
		sched_yield();
		check_eq(pthread_join(thread, NULL), 0);
	}
	atomic_store(state, 2);
	tcase_join(pid);
}

static void a_process_with_vases_reaches_its_own_only(void)
{
	const volatile uint64_t *cookie = (uint64_t *)(VAS_WINDOW_BASE + 8);
	atomic_int *state = tcase_shared(sizeof(*state));
	pid_t pid = tcase_spawn(live_inside, state);
	int vh, round;
	unsigned long slot;

	while (!atomic_load(state))
		usleep(1000);
	tcase_pin(0);
	vh = check_id(vas_attach(tcase_vas_with_seg((void *)BASE, MIB, NULL)));
	check_eq(vas_switch(vh), 0);
	BASE[0] = 'O';
	for (round = 0; round < 5; round++) {
		for (slot = 0; slot < 512; slot++) {
			check_eq(try_vmfunc(0, slot), 0);
			check(*cookie == VAS_HOME || (int)*cookie == vh);
			if (slot % 8 == 0)
				sched_yield();
			check(*cookie == VAS_HOME || (int)*cookie == vh);
			if (*cookie != VAS_HOME)
				check_eq(BASE[0], 'O');
		}
	}
	check_eq(vas_switch(VAS_HOME), 0);
	for (slot = 512; slot < 1024; slot += 51)
		check(try_vmfunc(0, slot) != 0);
	check(try_vmfunc(1, 0) != 0);
	check(try_vmfunc(63, 0) != 0);
	check(try_vmfunc(64, 0) != 0);
	check_eq(vas_current(), VAS_HOME);
	atomic_store(state, 2);
	tcase_join(pid);
}

static void a_bad_vmfunc_inside_a_vas_is_a_signal_and_no_more(void)
{
	int vh = check_id(vas_attach(tcase_vas_with_seg((void *)BASE, MIB,
							NULL)));
	size_t i;

	check_eq(vas_switch(vh), 0);
	BASE[0] = 'O';
	for (i = 0; i < NR_LARGE; i++) {
		/* the CPU looks at ECX and EAX only */
		if ((uint32_t)large[i] >= 512)
			check(try_vmfunc(0, large[i]) != 0);
		if ((uint32_t)large[i])
			check(try_vmfunc(large[i], 0) != 0);
		check_eq(vas_switch(vh), 0);
		check_eq(BASE[0], 'O');
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

static const struct tcase cases[] = {
	CASE_SECONDS(a_process_without_vases_sees_nothing, 120),
	CASE_SECONDS(it_sees_nothing_of_a_neighbour_on_its_cpu, 120),
	CASE(a_fresh_thread_sees_nothing_of_a_neighbour),
	CASE(a_process_with_vases_reaches_its_own_only),
	CASE(a_bad_vmfunc_inside_a_vas_is_a_signal_and_no_more),
};

TCASE_MAIN(cases, 0)
