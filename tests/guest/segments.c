// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a VAS shows: its own segments, the same in every process, for as long
 * as they are wanted.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define GIB	(1UL << 30)

static void enter(int vh)
{
	check_eq(vas_switch(vh), 0);
	check_eq(vas_current(), vh);
}

static void the_same_address_shows_different_data_in_two_vases(void)
{
	int a, b, i;

	a = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	b = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	check(a != b);
	enter(a);
	strcpy(BASE, "this is a");
	enter(b);
	check_eq(BASE[0], 0);
	strcpy(BASE, "this is b");
	for (i = 0; i < 1000; i++) {
		enter(a);
		check(!strcmp(BASE, "this is a"));
		enter(b);
		check(!strcmp(BASE, "this is b"));
	}
	enter(VAS_HOME);
}

static void write_and_wait(void *arg)
{
	int vh = check_id(vas_attach(check_id(vas_find(arg))));

	enter(vh);
	strcpy(BASE + 4096, "from another process");
	enter(VAS_HOME);
}

static void two_processes_see_the_same_data_in_one_vas(void)
{
	const char *name = tcase_name("v");
	int vid = tcase_vas(name, 0600);
	int vh;

	check_eq(seg_attach(vid, tcase_seg(NULL, BASE, MIB, 0600)), 0);
	vh = check_id(vas_attach(vid));
	enter(vh);
	strcpy(BASE, "from the first");
	tcase_join(tcase_spawn(write_and_wait, (void *)name));
	check(!strcmp(BASE, "from the first"));
	check(!strcmp(BASE + 4096, "from another process"));
	enter(VAS_HOME);
}

static void create_and_die(void *arg)
{
	int vid, sid, vh;

	vid = check_id(vas_create(arg, 0600));
	tcase_track_vas(vid);
	sid = check_id(seg_alloc(arg, BASE, MIB, 0600));
	tcase_track_seg(sid);
	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	enter(vh);
	strcpy(BASE, "left behind");
	/* dies inside the VAS */
	_exit(0);
}

static void data_outlive_their_creator(void)
{
	const char *name = tcase_name("heir");

	tcase_join(tcase_spawn(create_and_die, (void *)name));
	enter(check_id(vas_attach(check_id(vas_find(name)))));
	check(!strcmp(BASE, "left behind"));
	enter(VAS_HOME);
}

static void the_example_of_the_paper_works(void)
{
	char *va = BASE + 64 * GIB;
	size_t sz = 1UL << 35;
	int vid, sid, vh;

	vid = check_id(vas_create("v0", 0660));
	tcase_track_vas(vid);
	sid = check_id(seg_alloc("s0", va, sz, 0660));
	tcase_track_seg(sid);
	check_eq(seg_attach(vid, sid), 0);

	vid = check_id(vas_find("v0"));
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	*va = 42;
	check_eq(*va, 42);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_sparse_segment_costs_what_was_touched(void)
{
	struct seg_attr attr = { .size = sizeof(attr) };
	size_t size = 32 * GIB, at;
	int vid, sid;

	vid = tcase_vas_with_seg(BASE, size, &sid);
	enter(check_id(vas_attach(vid)));
	for (at = 0; at < size; at += 2 * GIB)
		BASE[at] = (char)(at / GIB);
	BASE[size - 1] = 99;
	for (at = 0; at < size; at += 2 * GIB) {
		check_eq(BASE[at], (char)(at / GIB));
		check_eq(BASE[at + 1], 0);
	}
	check_eq(BASE[size - 1], 99);
	enter(VAS_HOME);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &attr), 0);
	check(attr.base == BASE);
	check_eq(attr.length, size);
	check(attr.resident >= 17 * 4096);
	check(attr.resident <= 64 * MIB);
}

static void new_memory_is_zero_even_if_it_was_used_before(void)
{
	int round, vh, sid;
	size_t at;

	for (round = 0; round < 4; round++) {
		int vid = tcase_vas_with_seg(BASE, 4 * MIB, &sid);

		vh = check_id(vas_attach(vid));
		enter(vh);
		for (at = 0; at < 4 * MIB; at += 512)
			check_eq(*(long *)(BASE + at), 0);
		memset(BASE, 0x5a, 4 * MIB);
		enter(VAS_HOME);
		check_eq(vas_detach(vh), 0);
		check_eq(vas_delete(vid), 0);
		check_eq(seg_delete(sid), 0);
	}
}

static void overlapping_segments_are_refused_at_attach(void)
{
	int vid = tcase_vas(tcase_name("v"), 0600);
	int low = tcase_seg(NULL, BASE, 2 * MIB, 0600);
	int high = tcase_seg(NULL, BASE + MIB, 2 * MIB, 0600);
	int last = tcase_seg(NULL, BASE + 2 * MIB - 4096, 4096, 0600);
	int beside = tcase_seg(NULL, BASE + 2 * MIB, MIB, 0600);
	int vh;

	check_eq(seg_attach(vid, low), 0);
	check_eq(seg_attach(vid, high), -EEXIST);
	check_eq(seg_attach(vid, last), -EEXIST);
	check_eq(seg_attach(vid, low), -EEXIST);
	check_eq(seg_attach(vid, beside), 0);
	vh = check_id(vas_attach(vid));
	check_eq(seg_attach(vh, high), -EEXIST);
	enter(vh);
	BASE[0] = 1;
	BASE[2 * MIB] = 2;
	enter(VAS_HOME);
	check_eq(seg_detach(vid, low), 0);
	check_eq(seg_attach(vid, last), 0);
	check_eq(seg_attach(vid, high), -EEXIST);
}

static void segments_may_overlap_if_no_vas_has_both(void)
{
	int a = tcase_vas(NULL, 0600), b = tcase_vas(NULL, 0600);

	check_eq(seg_attach(a, tcase_seg(NULL, BASE, 2 * MIB, 0600)), 0);
	check_eq(seg_attach(b, tcase_seg(NULL, BASE + MIB, MIB, 0600)), 0);
}

static void one_segment_in_two_vases_is_one_memory(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0600);
	int a = tcase_vas(NULL, 0600), b = tcase_vas(NULL, 0600);
	int ha, hb;

	check_eq(seg_attach(a, sid), 0);
	check_eq(seg_attach(b, sid), 0);
	ha = check_id(vas_attach(a));
	hb = check_id(vas_attach(b));
	enter(ha);
	strcpy(BASE, "shared");
	enter(hb);
	check(!strcmp(BASE, "shared"));
	enter(VAS_HOME);
}

static void a_segment_attached_later_shows_in_views_that_exist(void)
{
	int vid = tcase_vas(NULL, 0600);
	int vh = check_id(vas_attach(vid));

	enter(vh);
	check_eq(tcase_try_read(BASE).sig, 11);
	check_eq(seg_attach(vid, tcase_seg(NULL, BASE, MIB, 0600)), 0);
	BASE[0] = 7;
	check_eq(BASE[0], 7);
	enter(VAS_HOME);
}

struct guest {
	int vid;
	atomic_int step;
};

/* Inside all the time, without a call of the library in between. */
static void stay_inside(void *arg)
{
	struct guest *g = arg;

	enter(check_id(vas_attach(g->vid)));
	check_eq(tcase_try_read(BASE).sig, 11);
	atomic_fetch_add(&g->step, 1);
	while (atomic_load(&g->step) < 10)
		sched_yield();
	check_eq(BASE[0], 7);
	BASE[1] = 8;
	atomic_fetch_add(&g->step, 1);
	while (atomic_load(&g->step) < 20)
		sched_yield();
	check_eq(tcase_try_read(BASE).sig, 11);
	enter(VAS_HOME);
}

static void a_public_segment_comes_and_goes_in_processes_that_are_inside(void)
{
	struct guest *g = tcase_shared(sizeof(*g));
	int sid, other, vh;
	pid_t pids[2];

	/* others' changes show there at the next switch: pvvas(7) */
	tcase_need(PVVAS_FEATURE_SWITCH);
	sid = tcase_seg(NULL, BASE, MIB, 0600);
	g->vid = tcase_vas(NULL, 0600);
	other = tcase_vas(NULL, 0600);
	check_eq(seg_attach(other, sid), 0);
	vh = check_id(vas_attach(other));
	enter(vh);
	BASE[0] = 7;
	pids[0] = tcase_spawn(stay_inside, g);
	pids[1] = tcase_spawn(stay_inside, g);
	while (atomic_load(&g->step) < 2)
		sched_yield();
	check_eq(seg_attach(g->vid, sid), 0);
	atomic_store(&g->step, 10);
	while (atomic_load(&g->step) < 12)
		sched_yield();
	check_eq(BASE[1], 8);
	check_eq(seg_detach(g->vid, sid), 0);
	atomic_store(&g->step, 20);
	tcase_join(pids[0]);
	tcase_join(pids[1]);
	enter(VAS_HOME);
}

static void a_detached_segment_is_gone_from_views_that_exist(void)
{
	int sid, vid = tcase_vas_with_seg(BASE, MIB, &sid);

	enter(check_id(vas_attach(vid)));
	BASE[0] = 7;
	check_eq(seg_detach(vid, sid), 0);
	check_eq(tcase_try_read(BASE).sig, 11);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(BASE[0], 7);
	enter(VAS_HOME);
}

static void see_nothing(void *arg)
{
	enter(check_id(vas_attach(*(int *)arg)));
	check_eq(tcase_try_read(BASE).sig, 11);
	enter(VAS_HOME);
}

static void a_segment_attached_to_a_handle_is_private(void)
{
	int vid = tcase_vas(tcase_name("v"), 0600);
	int sid = tcase_seg(NULL, BASE, MIB, 0600);
	int vh = check_id(vas_attach(vid));

	check_eq(seg_attach(vh, sid), 0);
	enter(vh);
	BASE[0] = 7;
	enter(VAS_HOME);
	tcase_join(tcase_spawn(see_nothing, &vid));
	check_eq(seg_detach(vh, sid), 0);
	enter(vh);
	check_eq(tcase_try_read(BASE).sig, 11);
	enter(VAS_HOME);
}

struct turns {
	_Atomic int turn;
	int vid;
	int sid;
};

static void await(struct turns *t, int turn)
{
	while (atomic_load(&t->turn) < turn)
		usleep(1000);
}

static bool lists(int vh, int sid)
{
	int id = 0;

	while ((id = vas_next_seg(vh, id, NULL)) > 0)
		if (id == sid)
			return true;
	return false;
}

/* All that there is of the window, for itself. */
static void take_all_places(void *arg)
{
	struct turns *t = arg;
	int vh = check_id(vas_attach(t->vid)), other = check_id(vas_attach(t->vid));
	int one, all;
	size_t size;
	void *base;

	check_eq(pvvas_window(&base, &size), 0);
	one = tcase_seg(NULL, BASE, MIB, 0600);
	all = tcase_seg(NULL, BASE + 2 * MIB, VAS_WINDOW_BASE + size -
			VAS_WINDOW_FIRST - 2 * MIB, 0600);
	check_eq(seg_attach(vh, one), 0);
	check_eq(seg_attach(vh, all), 0);
	enter(vh);
	strcpy(BASE, "private");
	strcpy(BASE + 2 * MIB, "private");
	atomic_store(&t->turn, 1);
	await(t, 2);
	check(!strcmp(BASE, "private"));
	check(!strcmp(BASE + 2 * MIB, "private"));
	check(!lists(vh, t->sid));
	check(lists(vh, all));
	check(lists(other, t->sid));
	enter(other);
	check(!strcmp(BASE, "public"));
	enter(vh);
	/* it lies in both of the places */
	check_eq(seg_detach(vh, all), 0);
	check_eq(tcase_try_read(BASE + 2 * MIB).sig, SIGSEGV);
	check(!strcmp(BASE, "private"));
	check_eq(seg_detach(vh, one), 0);
	check(!strcmp(BASE, "public"));
	check(!strcmp(BASE + 2 * MIB, "public too"));
	check(lists(vh, t->sid));
	check_eq(seg_attach(vh, one), -EEXIST);
	enter(VAS_HOME);
	/* and if it goes while it is hidden */
	check_eq(vas_detach(vh), 0);
	vh = check_id(vas_attach(t->vid));
	atomic_store(&t->turn, 3);
	await(t, 4);
	check_eq(seg_attach(vh, one), 0);
	atomic_store(&t->turn, 5);
	await(t, 6);
	check_eq(seg_detach(vh, one), 0);
	enter(vh);
	check_eq(tcase_try_read(BASE).sig, SIGSEGV);
	enter(VAS_HOME);
}

static void one_segment_can_be_public_and_private(void)
{
	int vid = tcase_vas(NULL, 0600), sid = tcase_seg(NULL, BASE, MIB, 0600);
	int vh = check_id(vas_attach(vid)), other = check_id(vas_attach(vid));

	check_eq(seg_attach_prot(vh, sid, PROT_READ), 0);
	check_eq(seg_attach(vid, sid), 0);
	enter(other);
	BASE[0] = 7;
	enter(vh);
	check_eq(BASE[0], 7);
	check_eq(tcase_try_write(BASE).sig, SIGSEGV);
	/* each goes without the other */
	check_eq(seg_detach(vid, sid), 0);
	check_eq(BASE[0], 7);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(seg_detach(vh, sid), 0);
	BASE[0] = 8;
	check_eq(seg_detach(vid, sid), 0);
	check_eq(tcase_try_read(BASE).sig, SIGSEGV);
	enter(VAS_HOME);
}

static void a_private_segment_keeps_nobody_from_attaching_a_public_one(void)
{
	struct turns *t = tcase_shared(sizeof(*t));
	pid_t pid;
	int vh;

	t->vid = tcase_vas(tcase_name("v"), 0600);
	t->sid = tcase_seg(NULL, BASE, 4 * MIB, 0600);
	vh = check_id(vas_attach(t->vid));
	pid = tcase_spawn(take_all_places, t);
	await(t, 1);
	check_eq(seg_attach(t->vid, t->sid), 0);
	enter(vh);
	strcpy(BASE, "public");
	strcpy(BASE + 2 * MIB, "public too");
	enter(VAS_HOME);
	atomic_store(&t->turn, 2);
	await(t, 3);
	check_eq(seg_detach(t->vid, t->sid), 0);
	atomic_store(&t->turn, 4);
	await(t, 5);
	check_eq(seg_attach(t->vid, t->sid), 0);
	check_eq(seg_detach(t->vid, t->sid), 0);
	atomic_store(&t->turn, 6);
	tcase_join(pid);
}

static void a_base_of_null_lets_the_driver_choose(void)
{
	int a = tcase_seg(NULL, NULL, MIB, 0600);
	int b = tcase_seg(NULL, NULL, MIB, 0600);
	int vid = tcase_vas(NULL, 0600);
	void *pa, *pb, *window;
	size_t sa, sb, size;

	check_eq(pvvas_window(&window, &size), 0);
	check(window == (void *)VAS_WINDOW_BASE);
	check_eq(seg_range(a, &pa, &sa), 0);
	check_eq(seg_range(b, &pb, &sb), 0);
	check_eq(sa, MIB);
	check((uintptr_t)pa >= VAS_WINDOW_FIRST);
	check((uintptr_t)pa + sa <= VAS_WINDOW_BASE + size);
	check(pa != pb);
	check_eq(seg_attach(vid, a), 0);
	check_eq(seg_attach(vid, b), 0);
	enter(check_id(vas_attach(vid)));
	*(int *)pa = 1;
	*(int *)pb = 2;
	check_eq(*(int *)pa, 1);
	enter(VAS_HOME);
}

static const struct tcase cases[] = {
	CASE(the_same_address_shows_different_data_in_two_vases),
	CASE(two_processes_see_the_same_data_in_one_vas),
	CASE(data_outlive_their_creator),
	CASE(the_example_of_the_paper_works),
	CASE(a_sparse_segment_costs_what_was_touched),
	CASE(new_memory_is_zero_even_if_it_was_used_before),
	CASE(overlapping_segments_are_refused_at_attach),
	CASE(segments_may_overlap_if_no_vas_has_both),
	CASE(one_segment_in_two_vases_is_one_memory),
	CASE(a_segment_attached_later_shows_in_views_that_exist),
	CASE(a_public_segment_comes_and_goes_in_processes_that_are_inside),
	CASE(a_detached_segment_is_gone_from_views_that_exist),
	CASE(a_segment_attached_to_a_handle_is_private),
	CASE(one_segment_can_be_public_and_private),
	CASE(a_private_segment_keeps_nobody_from_attaching_a_public_one),
	CASE(a_base_of_null_lets_the_driver_choose),
};

TCASE_MAIN(cases, 0)
