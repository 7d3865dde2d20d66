// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a touch brings: the page alone, 64 KiB or 2 MiB; that it is all zero, one fault,
 * and the same for the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define KIB	(1UL << 10)
#define MIB	(1UL << 20)
#define PAGE	4096UL

static int sid;

static void scene(void *base, size_t size, uint32_t flags)
{
	int vid = tcase_vas(NULL, 0600);

	tcase_need(PVVAS_FEATURE_SWITCH);
	sid = tcase_seg_with(NULL, base, size, 0600, flags);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
}

static uint64_t resident(void)
{
	struct seg_stat stat = { .size = sizeof(stat) };

	check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), 0);
	return stat.resident;
}

static uint64_t demand_faults(void)
{
	struct pvvas_stats st = { .size = sizeof(st) };

	check_eq(pvvas_stats(&st), 0);
	return st.demand_faults;
}

static void all_zero(const char *from, size_t size, const char *but)
{
	size_t at;

	for (at = 0; at < size; at += 64)
		if (from + at != but)
			check_eq(from[at], 0);
}

static void home(void)
{
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_touch_here_and_there_brings_a_page(void)
{
	uint64_t faults;
	size_t i;

	scene(BASE, 64 * MIB, 0);
	faults = demand_faults();
	for (i = 0; i < 16; i++)
		BASE[i * 4 * MIB + i * 5 * PAGE] = 1;
	check_eq(resident(), 16 * PAGE);
	check_eq(demand_faults() - faults, 16);
	home();
}

static void touches_in_order_bring_64_kib_to_two_mib(void)
{
	uint64_t faults;
	size_t at;

	scene(BASE, 5 * MIB, 0);
	faults = demand_faults();
	BASE[0] = 1;
	BASE[PAGE] = 1;
	check_eq(resident(), 2 * PAGE);
	BASE[2 * PAGE] = 1;
	check_eq(resident(), 64 * KIB);
	all_zero(BASE + 2 * PAGE, 14 * PAGE, BASE + 2 * PAGE);
	for (at = 3 * PAGE; at < 2 * MIB; at += PAGE) {
		BASE[at] = 1;
		/* no more than lies behind */
		check(at < 16 * PAGE || resident() <= 2 * at);
	}
	check_eq(resident(), 2 * MIB);
	check_eq(demand_faults() - faults, 3 + 5);
	BASE[2 * MIB] = 1;
	check_eq(resident(), 4 * MIB);
	all_zero(BASE + 2 * MIB, 2 * MIB, BASE + 2 * MIB);
	/* and then the segment ends within 2 MiB */
	for (at = 2 * MIB; at < 5 * MIB; at += PAGE)
		BASE[at] = 1;
	check_eq(resident(), 5 * MIB);
	check_eq(demand_faults() - faults, 3 + 5 + 1 + 5);
	home();
}

static void touches_from_the_end_bring_64_kib(void)
{
	uint64_t faults;
	size_t at;

	scene(BASE, MIB, 0);
	faults = demand_faults();
	for (at = MIB; at; at -= PAGE)
		BASE[at - 1] = 1;
	check_eq(resident(), MIB);
	check_eq(demand_faults() - faults, 3 + 15);
	home();
}

static void a_huge_segment_has_two_mib_at_any_touch(void)
{
	uint64_t faults;

	scene(BASE + MIB, 4 * MIB, SEG_HUGE);
	faults = demand_faults();
	BASE[3 * MIB + 64] = 1;
	check_eq(resident(), 2 * MIB);
	all_zero(BASE + 2 * MIB, 2 * MIB, BASE + 3 * MIB + 64);
	check_eq(demand_faults() - faults, 1);
	/* the segment begins and ends within the 2 MiB around these */
	BASE[MIB] = 1;
	check_eq(resident(), 2 * MIB + 64 * KIB);
	BASE[5 * MIB - 1] = 1;
	check_eq(resident(), 2 * MIB + 128 * KIB);
	check_eq(demand_faults() - faults, 3);
	home();
}

static void an_extent_ends_where_the_segment_does(void)
{
	/* 3 pages into 64 KiB, and 5 pages long */
	scene(BASE + 3 * PAGE, 5 * PAGE, SEG_HUGE);
	BASE[4 * PAGE] = 1;
	check_eq(resident(), 5 * PAGE);
	check_eq(tcase_try_write(BASE + 8 * PAGE).sig, SIGSEGV);
	check_eq(tcase_try_write(BASE + 2 * PAGE).sig, SIGSEGV);
	home();
	scene(BASE + 64 * MIB, PAGE, SEG_HUGE);
	BASE[64 * MIB] = 1;
	check_eq(resident(), PAGE);
	home();
}

static void small_pages_come_one_by_one(void)
{
	uint64_t faults;
	size_t at;

	scene(BASE, 4 * MIB, SEG_SMALL);
	faults = demand_faults();
	for (at = 0; at < 32 * PAGE; at += PAGE)
		BASE[at] = 1;
	check_eq(resident(), 32 * PAGE);
	check_eq(demand_faults() - faults, 32);
	home();
}

static void beside_protected_pages_pages_come_alone(void)
{
	scene(BASE, 4 * MIB, SEG_HUGE);
	check_eq(seg_protect(sid, BASE + MIB, PAGE, PROT_READ), 0);
	BASE[0] = 1;
	check_eq(resident(), 64 * KIB);
	BASE[MIB + PAGE] = 1;
	check_eq(resident(), 64 * KIB + PAGE);
	check_eq(tcase_try_write(BASE + MIB).sig, SIGSEGV);
	BASE[3 * MIB] = 1;
	check_eq(resident(), 2 * MIB + 64 * KIB + PAGE);
	home();
}

/* What is there stays, and what is not comes page by page. */
static void an_extent_replaces_nothing(void)
{
	static char data[PAGE];
	size_t at;

	scene(BASE, 4 * MIB, SEG_HUGE);
	memset(data, 5, PAGE);
	check_eq(seg_fill(sid, BASE + 17 * PAGE, data, PAGE), 1);
	BASE[16 * PAGE] = 1;
	check_eq(resident(), 2 * PAGE);
	check_eq(BASE[17 * PAGE], 5);
	BASE[0] = 1;
	check_eq(resident(), 18 * PAGE);
	for (at = 0; at < 4 * MIB; at += PAGE)
		check_eq(*(volatile char *)(BASE + at), at == 17 * PAGE ? 5 :
			 at == 0 || at == 16 * PAGE);
	home();
}

static void a_system_call_fills_in_extents(void)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	uint64_t faults;

	check(fd >= 0);
	scene(BASE, 5 * MIB, 0);
	faults = demand_faults();
	check_eq(read(fd, BASE, 4 * MIB), 4 * MIB);
	check_eq(resident(), 4 * MIB);
	check_eq(demand_faults() - faults, 3 + 5 + 1);
	check_eq(read(fd, BASE + 4 * MIB, MIB), MIB);
	check_eq(resident(), 5 * MIB);
	check_eq(demand_faults() - faults, 3 + 5 + 1 + 5);
	close(fd);
	home();
}

static void populate_takes_what_was_asked_for_and_no_more(void)
{
	uint64_t faults;

	scene(BASE, 8 * MIB, 0);
	check_eq(seg_populate(sid, BASE + MIB, 4 * MIB), 0);
	check_eq(resident(), 4 * MIB);
	faults = demand_faults();
	memset(BASE + MIB, 1, 4 * MIB);
	/* the view is led to the segment's tables, which are new */
	check(demand_faults() - faults <= 1);
	check_eq(resident(), 4 * MIB);
	home();
	scene(BASE + 64 * MIB, MIB, SEG_POPULATE);
	check_eq(resident(), MIB);
	faults = demand_faults();
	memset(BASE + 64 * MIB, 1, MIB);
	check_eq(demand_faults(), faults);
	home();
}

/* Pages that are there stay, and the others come with their data, some at a time. */
static void what_is_filled_needs_no_fault(void)
{
	static char data[4 * MIB] __attribute__((aligned(4096)));
	uint64_t faults;
	size_t at;

	for (at = 0; at < 4 * MIB; at += PAGE)
		*(size_t *)(data + at + 8) = at + 1;
	scene(BASE, 8 * MIB, 0);
	BASE[5 * PAGE] = 77;
	check_eq(seg_fill(sid, BASE, data, 4 * MIB), 4 * MIB / PAGE - 1);
	check_eq(resident(), 4 * MIB);
	faults = demand_faults();
	for (at = 0; at < 4 * MIB; at += PAGE)
		check_eq(*(size_t *)(BASE + at + 8), at == 5 * PAGE ? 0 : at + 1);
	check_eq(BASE[5 * PAGE], 77);
	/* its neighbours came page by page, and are led to once */
	check(demand_faults() - faults <= 2);
	check_eq(seg_fill(sid, BASE, data, 4 * MIB), 0);
	home();
	/* what cannot be read leaves no page behind */
	scene(BASE + 64 * MIB, 4 * MIB, 0);
	check_eq(mprotect(data + 2 * MIB + PAGE, PAGE, PROT_NONE), 0);
	check_eq(seg_fill(sid, BASE + 64 * MIB, data, 4 * MIB), -EFAULT);
	check_eq(resident(), 2 * MIB + PAGE);
	check_eq(mprotect(data + 2 * MIB + PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
	check_eq(BASE[64 * MIB + 2 * MIB + PAGE + 8], 0);
	home();
}

#define AREA	(64 * MIB)
#define FILLED	(8 * MIB)

static pthread_barrier_t barrier;
static int shared_vh;

/* Each its own quarter of each 64 KiB, so that extents are fought for. */
static void *touch_quarters(void *arg)
{
	uintptr_t n = (uintptr_t)arg;
	size_t at;

	check_eq(vas_switch(shared_vh), 0);
	pthread_barrier_wait(&barrier);
	for (at = n * 16 * KIB; at < AREA; at += 64 * KIB)
		*(uint64_t *)(BASE + at) += n + 1;
	check_eq(vas_switch(VAS_HOME), 0);
	return NULL;
}

static void threads_that_touch_the_same_extents_lose_nothing(void)
{
	int vid = tcase_vas(NULL, 0600);
	pthread_t thread[4];
	uintptr_t n;
	size_t at;

	tcase_need(PVVAS_FEATURE_SWITCH);
	sid = tcase_seg_with(NULL, BASE, AREA, 0600, SEG_HUGE);
	check_eq(seg_attach(vid, sid), 0);
	shared_vh = check_id(vas_attach(vid));
	check_eq(pthread_barrier_init(&barrier, NULL, 4), 0);
	for (n = 0; n < 4; n++)
		check_eq(pthread_create(&thread[n], NULL, touch_quarters,
					(void *)n), 0);
	for (n = 0; n < 4; n++)
		check_eq(pthread_join(thread[n], NULL), 0);
	check_eq(vas_switch(shared_vh), 0);
	for (at = 0; at < AREA; at += 16 * KIB)
		check_eq(*(uint64_t *)(BASE + at), at / (16 * KIB) % 4 + 1);
	check_eq(resident(), AREA);
	home();
}

static int placed[2];

static void *fill_all(void *arg)
{
	uintptr_t n = (uintptr_t)arg;
	char *data = malloc(FILLED);

	check(data);
	memset(data, (int)n + 1, FILLED);
	pthread_barrier_wait(&barrier);
	placed[n] = seg_fill(sid, BASE, data, FILLED);
	free(data);
	return NULL;
}

static void *clone_again_and_again(void *arg)
{
	int i, copy;

	(void)arg;
	pthread_barrier_wait(&barrier);
	for (i = 0; i < 4; i++) {
		copy = check_id(seg_clone(sid));
		check_eq(seg_delete(copy), 0);
	}
	return NULL;
}

/* Each page has one content, of one of them, and each was placed once. */
static void who_fill_the_same_pages_share_them_out(void)
{
	int vid = tcase_vas(NULL, 0600), copy;
	pthread_t thread[3];
	uintptr_t n;
	size_t at;

	sid = tcase_seg_with(NULL, BASE, FILLED, 0600, 0);
	check_eq(seg_attach(vid, sid), 0);
	shared_vh = check_id(vas_attach(vid));
	check_eq(pthread_barrier_init(&barrier, NULL, 3), 0);
	for (n = 0; n < 3; n++)
		check_eq(pthread_create(&thread[n], NULL, n < 2 ? fill_all :
					clone_again_and_again, (void *)n), 0);
	for (n = 0; n < 3; n++)
		check_eq(pthread_join(thread[n], NULL), 0);
	check_eq(placed[0] + placed[1], FILLED / PAGE);
	copy = check_id(seg_clone(sid));
	tcase_track_seg(copy);
	check_eq(vas_switch(shared_vh), 0);
	for (at = 0; at < FILLED; at += PAGE) {
		check(BASE[at] == 1 || BASE[at] == 2);
		check(!memcmp(BASE + at, BASE + at + 1, PAGE - 1));
	}
	memset(BASE, 3, FILLED);
	home();
	vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach(vid, copy), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	for (at = 0; at < FILLED; at += PAGE)
		check(BASE[at] == 1 || BASE[at] == 2);
	home();
}

static void options_that_do_not_go_together_are_refused(void)
{
	struct {
		struct seg_options options;
		char more[8];
	} o = { .options = { .size = sizeof(o.options) } };

	tcase_track_seg(check_id(seg_alloc_with(NULL, BASE, MIB, 0600, NULL)));
	o.options.flags = SEG_HUGE | SEG_SMALL;
	check_eq(seg_alloc_with(NULL, BASE, MIB, 0600, &o.options), -EINVAL);
	o.options.flags = 1U << 20;
	check_eq(seg_alloc_with(NULL, BASE, MIB, 0600, &o.options), -EINVAL);
	o.options.flags = 0;
	o.options.policy = 77;
	check_eq(seg_alloc_with(NULL, BASE, MIB, 0600, &o.options), -EINVAL);
	o.options.policy = 0;
	o.options.nodes = 1;
	check_eq(seg_alloc_with(NULL, BASE, MIB, 0600, &o.options), -EINVAL);
	o.options.nodes = 0;
	o.options.memory = BASE;
	check_eq(seg_alloc_with(NULL, BASE, MIB, 0600, &o.options), -EINVAL);
	o.options.memory = NULL;
	/* of a later library: all zero, or not */
	o.options.size = sizeof(o);
	tcase_track_seg(check_id(seg_alloc_with(NULL, BASE, MIB, 0600,
						&o.options)));
	o.more[7] = 1;
	check_eq(seg_alloc_with(NULL, BASE, MIB, 0600, &o.options), -E2BIG);
	/* of an earlier one */
	o.options.size = offsetof(struct seg_options, nodes);
	tcase_track_seg(check_id(seg_alloc_with(NULL, BASE, MIB, 0600,
						&o.options)));
	o.options.size = 0;
	check_eq(seg_alloc_with(NULL, BASE, MIB, 0600, &o.options), -EINVAL);
}

static void what_the_software_backend_has_not_is_eopnotsupp(void)
{
	static const uint32_t flags[] = { SEG_LOCK, SEG_DUMP };
	struct seg_options options = { .size = sizeof(options) };
	unsigned int i;
	int ret;

	for (i = 0; i < 3; i++) {
		options.flags = i < 2 ? flags[i] : 0;
		options.policy = i < 2 ? 0 : SEG_NUMA_PREFERRED;
		options.nodes = i < 2 ? 0 : 1;
		ret = seg_alloc_with(NULL, BASE, MIB, 0600, &options);
		if (pvvas_probe(PVVAS_FEATURE_SWITCH) != PVVAS_YES)
			check_eq(ret, -EOPNOTSUPP);
		else
			tcase_track_seg(check_id(ret));
	}
}

static const struct tcase cases[] = {
	CASE(a_touch_here_and_there_brings_a_page),
	CASE(touches_in_order_bring_64_kib_to_two_mib),
	CASE(touches_from_the_end_bring_64_kib),
	CASE(a_huge_segment_has_two_mib_at_any_touch),
	CASE(an_extent_ends_where_the_segment_does),
	CASE(small_pages_come_one_by_one),
	CASE(beside_protected_pages_pages_come_alone),
	CASE(an_extent_replaces_nothing),
	CASE(a_system_call_fills_in_extents),
	CASE(populate_takes_what_was_asked_for_and_no_more),
	CASE(what_is_filled_needs_no_fault),
	CASE(who_fill_the_same_pages_share_them_out),
	CASE(threads_that_touch_the_same_extents_lose_nothing),
	CASE(options_that_do_not_go_together_are_refused),
	CASE(what_the_software_backend_has_not_is_eopnotsupp),
};

TCASE_MAIN(cases, 0)
