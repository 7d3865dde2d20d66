// SPDX-License-Identifier: GPL-2.0-only
/*
 * What making, attaching and unmaking may cost: hypercalls and exits, and
 * instructions (of the emulator, whose time stamp counter counts these) where
 * they must not grow with what is in a VAS.  And that what is kept for the next
 * one, a view in its slot and tables, shows nothing of what was before.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "tcase.h"
#include "ticks.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define BLOCK	(2 * MIB)
#define PAGE	4096UL
#define TURNS	50
/* Hypercalls that are the kernel's own, and exits for its timer. */
#define SLACK	20
#define MANY	2000

static struct pvvas_stats counters(void)
{
	struct pvvas_stats stats = { .size = sizeof(stats) };

	check_eq(pvvas_stats(&stats), 0);
	return stats;
}

/* To the view in this slot, whatever that is. */
static void enter_slot(unsigned int slot)
{
	__asm__ __volatile__(".byte 0x0f, 0x01, 0xd4"
			     : : "a" (0), "c" (slot) : "memory", "cc");
}

static unsigned int slot_here(void)
{
	return ((const volatile struct pvvas_identity *)VAS_WINDOW_BASE)->slot;
}

static void whole_life(void *unused)
{
	int vid = check_id(vas_create(NULL, 0600)), vh;
	int sid = check_id(seg_alloc(NULL, BASE, BLOCK, 0600));

	(void)unused;
	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	check_eq(BASE[0], 0);
	BASE[0] = 1;
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
	check_eq(seg_delete(sid), 0);
	check_eq(vas_delete(vid), 0);
}

static void a_vas_made_used_and_deleted_costs_1_hypercall_and_3_exits(void)
{
	const uint64_t most = 3 * TURNS + 2 * SLACK;
	uint64_t exits = UINT64_MAX;
	int i, round, cpus = tcase_nr_cpus();
	struct pvvas_stats before, after;

	tcase_need(PVVAS_FEATURE_SWITCH);
	tcase_pin(0);
	for (i = 0; i < 10; i++)
		whole_life(NULL);
	/* A kernel that has just started exits for memory that it never had. */
	for (round = 0; round < 40 && exits > most; round++) {
		before = counters();
		for (i = 0; i < TURNS; i++)
			whole_life(NULL);
		after = counters();
		if (after.hv_exits - before.hv_exits < exits)
			exits = after.hv_exits - before.hv_exits;
	}
	tcase_note("%d turns: %lu hypercalls, %lu faults in views, %lu exits",
		   TURNS, after.hv_hypercalls - before.hv_hypercalls,
		   after.hv_view_faults - before.hv_view_faults, exits);
	check(after.hv_hypercalls - before.hv_hypercalls <= TURNS + SLACK);
	check(after.hv_view_faults - before.hv_view_faults <= 2 * TURNS + SLACK);
	/* Those of all CPUs: with more than one they wake each other, too. */
	if (cpus == 1)
		check(exits <= most);
}

static void whole_life_of_a_file(void *unused)
{
	int fd = memfd_create("costs", MFD_CLOEXEC);
	volatile char *p;

	(void)unused;
	check(fd >= 0 && !ftruncate(fd, BLOCK));
	p = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(p != MAP_FAILED);
	check_eq(p[0], 0);
	p[0] = 1;
	check_eq(munmap((void *)p, BLOCK), 0);
	check_eq(close(fd), 0);
}

static void a_vas_made_used_and_deleted_costs_little_more_than_a_file(void)
{
	int cpus = tcase_nr_cpus();
	uint64_t vas, file, most;

	tcase_need(PVVAS_FEATURE_SWITCH);
	tcase_pin(0);
	file = ticks_least(whole_life_of_a_file, NULL, TICKS_ANY);
	/* Emulated CPUs take turns, which each other's counter sees. */
	most = file + file / (cpus == 1 ? 4 : 1);
	vas = ticks_least(whole_life, NULL, most);
	tcase_note("a memfd %lu, a VAS %lu", file, vas);
	check(vas <= most);
}

static void attach_and_detach(void *vid)
{
	check_eq(vas_detach(check_id(vas_attach(*(int *)vid))), 0);
}

static uint64_t hypercalls_of_attaching(int vid)
{
	uint64_t before;
	int i;

	for (i = 0; i < 10; i++)
		attach_and_detach(&vid);
	before = counters().hv_hypercalls;
	for (i = 0; i < TURNS; i++)
		attach_and_detach(&vid);
	return counters().hv_hypercalls - before;
}

static void *wait_for_end(void *arg)
{
	atomic_int *end = arg;

	while (!atomic_load(end))
		usleep(10000);
	return NULL;
}

static void attaching_and_detaching_costs_at_most_2_hypercalls(void)
{
	uint64_t alone, together;
	atomic_int end = 0;
	pthread_t thread;
	int vid;

	tcase_need(PVVAS_FEATURE_SWITCH);
	tcase_pin(0);
	vid = tcase_vas_with_seg(BASE, BLOCK, NULL);
	alone = hypercalls_of_attaching(vid);
	check_eq(pthread_create(&thread, NULL, wait_for_end, &end), 0);
	together = hypercalls_of_attaching(vid);
	atomic_store(&end, 1);
	check_eq(pthread_join(thread, NULL), 0);
	tcase_note("%d turns: %lu hypercalls, with another thread %lu", TURNS,
		   alone, together);
	check(alone <= TURNS + SLACK);
	check(together <= 2 * TURNS + 2 * SLACK);
}

static int vas_of_many(int nr, size_t step)
{
	int vid = tcase_vas(NULL, 0600), i;

	for (i = 0; i < nr; i++)
		check_eq(seg_attach(vid, tcase_seg(NULL, BASE + i * step,
						   BLOCK, 0600)), 0);
	return vid;
}

static void attaching_costs_the_same_for_1_and_2000_segments(void)
{
	int cpus = tcase_nr_cpus(), vid;
	uint64_t one, many, most;

	tcase_need(PVVAS_FEATURE_SWITCH);
	tcase_pin(0);
	vid = vas_of_many(1, BLOCK);
	one = ticks_least(attach_and_detach, &vid, TICKS_ANY);
	/* Emulated CPUs take turns, which each other's counter sees. */
	most = one + one / (cpus == 1 ? 10 : 4);
	vid = vas_of_many(MANY, BLOCK);
	many = ticks_least(attach_and_detach, &vid, most);
	tcase_note("1 segment %lu, %d segments %lu", one, MANY, many);
	check(many <= most);
}

static void make_and_delete(void *base)
{
	check_eq(seg_delete(check_id(seg_alloc(NULL, base, BLOCK, 0600))), 0);
}

static void making_a_segment_costs_the_same_beside_2000_others(void)
{
	uint64_t first, most, there, anywhere;
	int i;

	tcase_pin(0);
	first = ticks_least(make_and_delete, NULL, TICKS_ANY);
	most = first + first / 3;
	for (i = 0; i < MANY; i++)
		tcase_seg(NULL, NULL, BLOCK, 0600);
	anywhere = ticks_least(make_and_delete, NULL, most);
	there = ticks_least(make_and_delete, BASE + MANY * 1024 * MIB, most);
	tcase_note("the first %lu, beside %d anywhere %lu, at an address %lu",
		   first, MANY, anywhere, there);
	check(anywhere <= most);
	check(there <= most);
}

/* What has been used once, and is attached nowhere any more. */
static void deleting_a_small_segment_costs_no_more_than_making_it(void)
{
	uint64_t least = UINT64_MAX, made = UINT64_MAX, t;
	int vid = tcase_vas(NULL, 0600), sid, i;

	tcase_pin(0);
	for (i = 0; i < TURNS; i++) {
		t = ticks();
		sid = check_id(seg_alloc(NULL, BASE, PAGE, 0600));
		check_eq(seg_populate(sid, BASE, PAGE), 0);
		check_eq(seg_attach(vid, sid), 0);
		t = ticks() - t;
		if (t < made)
			made = t;
		check_eq(seg_detach(vid, sid), 0);
		t = ticks();
		check_eq(seg_delete(sid), 0);
		t = ticks() - t;
		if (t < least)
			least = t;
	}
	tcase_note("made, filled and attached %lu, deleted %lu", made, least);
	check(least <= made);
}

/*
 * Slots.
 */

/* All but that of the plain view. */
#define SLOTS	511

struct crowd {
	int pipe[2];
	atomic_int inside;
};

struct member {
	struct crowd *crowd;
	int vh;
};

static void *sleep_inside(void *arg)
{
	struct member *m = arg;
	char c;

	check_eq(vas_switch(m->vh), 0);
	atomic_fetch_add(&m->crowd->inside, 1);
	check_eq(read(m->crowd->pipe[0], &c, 1), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	return NULL;
}

/* Interrupts by which CPUs ask each other. */
static uint64_t calls(void)
{
	char line[512], *p, *end;
	uint64_t sum = 0;
	FILE *f = fopen("/proc/interrupts", "r");

	check(f);
	while (fgets(line, sizeof(line), f)) {
		p = strstr(line, "CAL:");
		if (!p)
			continue;
		for (p += 4;; p = end) {
			uint64_t n = strtoull(p, &end, 10);

			if (end == p)
				break;
			sum += n;
		}
	}
	fclose(f);
	return sum;
}

static void when_threads_are_in_all_slots_cpus_are_asked_once(void)
{
	static struct member members[SLOTS];
	static pthread_t threads[SLOTS];
	static struct crowd crowd;
	uint64_t before, after;
	int vid, i;

	tcase_need(PVVAS_FEATURE_SWITCH);
	vid = tcase_vas_with_seg(BASE, BLOCK, NULL);
	check_eq(pipe(crowd.pipe), 0);
	for (i = 0; i < SLOTS; i++) {
		members[i].crowd = &crowd;
		members[i].vh = check_id(vas_attach(vid));
		tcase_threads(&threads[i], 1, sleep_inside, &members[i]);
	}
	while (atomic_load(&crowd.inside) < SLOTS)
		usleep(10000);
	before = calls();
	for (i = 0; i < 10; i++)
		attach_and_detach(&vid);
	after = calls();
	close(crowd.pipe[1]);
	for (i = 0; i < SLOTS; i++)
		check_eq(pthread_join(threads[i], NULL), 0);
	for (i = 0; i < SLOTS; i++)
		check_eq(vas_detach(members[i].vh), 0);
	close(crowd.pipe[0]);
	tcase_note("10 attachments: %lu interrupts", after - before);
	check(after - before < 100);
}

/* What a thread finds that goes into the slot of a view that was detached. */
static void a_detached_view_shows_nothing_to_who_enters_its_slot(void)
{
	struct tcase_fault fault;
	unsigned int slot;
	int sid, vid, vh;

	tcase_need(PVVAS_FEATURE_SWITCH);
	vid = tcase_vas_with_seg(BASE, BLOCK, &sid);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	slot = slot_here();
	memset(BASE, 0x5a, PAGE);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
	enter_slot(slot);
	check(vas_current() != vh);
	fault = tcase_try_read(BASE);
	enter_slot(0);
	check_eq(fault.sig, SIGSEGV);
	/* The VAS and its pages are whole. */
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	check_eq(BASE[0], 0x5a);
	check_eq(BASE[PAGE - 1], 0x5a);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
}

/* A stale handle leads nowhere, also when its slot is another attachment's. */
static void a_slot_that_is_used_again_is_the_new_attachments(void)
{
	int one = tcase_vas_with_seg(BASE, BLOCK, NULL), two, old, new, i;

	tcase_need(PVVAS_FEATURE_SWITCH);
	two = tcase_vas_with_seg(BASE, BLOCK, NULL);
	old = check_id(vas_attach(one));
	check_eq(vas_switch(old), 0);
	BASE[0] = 1;
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(old), 0);
	new = check_id(vas_attach(two));
	check(new != old);
	check_eq(vas_switch(old), -EINVAL);
	check_eq(vas_current(), VAS_HOME);
	for (i = 0; i < 3; i++) {
		check_eq(vas_switch(new), 0);
		check_eq(vas_current(), new);
		check_eq(BASE[0], 2 * !!i);
		BASE[0] = 2;
		check_eq(vas_switch(VAS_HOME), 0);
	}
	check_eq(vas_detach(new), 0);
}

/* Segments of many sizes and places, made from tables that others left. */
static void tables_that_are_used_again_show_nothing_of_before(void)
{
	static const size_t at[] = { 0, BLOCK, 512 * MIB, 1024 * MIB,
				     1024 * MIB + BLOCK, 4096 * MIB };
	unsigned int nr = sizeof(at) / sizeof(at[0]), i, turn, n;
	int vid, sid[8], vh;
	size_t page;

	for (turn = 0; turn < 40; turn++) {
		n = turn % nr + 1;
		vid = tcase_vas(NULL, 0600);
		for (i = 0; i < n; i++) {
			sid[i] = check_id(seg_alloc(NULL, BASE + at[i], BLOCK,
						    0600));
			check_eq(seg_attach(vid, sid[i]), 0);
		}
		vh = check_id(vas_attach(vid));
		check_eq(vas_switch(vh), 0);
		for (i = 0; i < nr; i++) {
			page = (turn * 7 + i * 31) % 512 * PAGE;
			if (i >= n) {
				check_eq(tcase_try_read(BASE + at[i] + page).sig,
					 SIGSEGV);
				continue;
			}
			check_eq(BASE[at[i] + page], 0);
			BASE[at[i] + page] = (char)(turn + 1);
			check_eq(BASE[at[i] + (page + PAGE) % BLOCK], 0);
		}
		check_eq(vas_switch(VAS_HOME), 0);
		check_eq(vas_detach(vh), 0);
		for (i = 0; i < n; i++)
			check_eq(seg_delete(sid[i]), 0);
		check_eq(vas_delete(vid), 0);
	}
}

struct growth {
	int sid;
	size_t size, step;
};

static void grow(void *arg)
{
	struct growth *growth = arg;

	growth->size += growth->step;
	check_eq(seg_resize(growth->sid, growth->size), 0);
}

static void growing_costs_no_hypercall_and_the_same_for_all_sizes(void)
{
	struct growth growth = { .size = BLOCK, .step = BLOCK };
	uint64_t before, calls, small, large;
	int vid;

	tcase_need(PVVAS_FEATURE_SWITCH);
	tcase_pin(0);
	vid = tcase_vas_with_seg(BASE, growth.size, &growth.sid);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	BASE[0] = 1;
	before = counters().hv_hypercalls;
	small = ticks_least(grow, &growth, TICKS_ANY);
	/* more pointers: an allocation, and a copy of 8 bytes for each GiB */
	growth.step = 10UL << 30;
	large = ticks_least(grow, &growth, 3 * small);
	calls = counters().hv_hypercalls - before;
	tcase_note("%lu hypercalls; by 2 MiB %lu, by 10 GiB %lu", calls, small, large);
	check_eq(vas_switch(VAS_HOME), 0);
	check(calls <= SLACK);
	check(large <= 3 * small);
}

static const struct tcase cases[] = {
	CASE(a_vas_made_used_and_deleted_costs_1_hypercall_and_3_exits),
	CASE(a_vas_made_used_and_deleted_costs_little_more_than_a_file),
	CASE(attaching_and_detaching_costs_at_most_2_hypercalls),
	CASE_SECONDS(attaching_costs_the_same_for_1_and_2000_segments, 120),
	CASE_SECONDS(making_a_segment_costs_the_same_beside_2000_others, 120),
	CASE(deleting_a_small_segment_costs_no_more_than_making_it),
	CASE_SECONDS(when_threads_are_in_all_slots_cpus_are_asked_once, 120),
	CASE(a_detached_view_shows_nothing_to_who_enters_its_slot),
	CASE(a_slot_that_is_used_again_is_the_new_attachments),
	CASE(tables_that_are_used_again_show_nothing_of_before),
	CASE(growing_costs_no_hypercall_and_the_same_for_all_sizes),
};

TCASE_MAIN(cases, 0)
