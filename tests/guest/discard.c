// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that a segment gives back: what is then read, by whom, and who keeps it.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL

static int sid, vh;

static void enter(int to)
{
	check_eq(vas_switch(to), 0);
	check_eq(vas_current(), to);
}

/* A VAS that shows a segment of 4 MiB, of a kind. */
static int vas_with(uint32_t flags)
{
	int vid = tcase_vas(NULL, 0600);

	sid = tcase_seg_with(NULL, BASE, 4 * MIB, 0600, flags);
	check_eq(seg_attach(vid, sid), 0);
	return vid;
}

static void scene(uint32_t flags)
{
	vh = check_id(vas_attach(vas_with(flags)));
	enter(vh);
}

static uint64_t resident(void)
{
	struct seg_stat stat = { .size = sizeof(stat) };

	check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), 0);
	return stat.resident;
}

static void what_is_discarded_is_zero_again(void)
{
	size_t at;

	scene(0);
	memset(BASE, 7, 4 * MIB);
	check_eq(resident(), 4 * MIB);
	/* a part of 2 MiB, and all of the others */
	check_eq(seg_discard(sid, BASE + MIB, 3 * MIB), 0);
	check_eq(resident(), MIB);
	for (at = 0; at < MIB; at += PAGE)
		check_eq(BASE[at], 7);
	for (; at < 4 * MIB; at += PAGE)
		check_eq(*(volatile char *)(BASE + at), 0);
	memset(BASE + MIB, 8, 3 * MIB);
	for (at = 0; at < 4 * MIB; at += PAGE)
		check_eq(BASE[at], at < MIB ? 7 : 8);
	check_eq(seg_ctl(sid, SEG_CTL_DISCARD, BASE, 4 * MIB), 0);
	check_eq(resident(), 0);
	check_eq(seg_discard(sid, BASE, 4 * MIB), 0);
	check_eq(*(volatile char *)(BASE + 2 * MIB), 0);
	enter(VAS_HOME);
}

static void discard_again_and_again(void *arg)
{
	enter(check_id(vas_attach(*(int *)arg)));
	check_eq(BASE[PAGE], 5);
	check_eq(seg_discard(sid, BASE, 4 * MIB), 0);
	check_eq(*(volatile char *)(BASE + PAGE), 0);
	BASE[2 * PAGE] = 6;
	enter(VAS_HOME);
}

static void a_discard_holds_in_every_process_and_face(void)
{
	int vid = vas_with(0), face;
	char *other = BASE + 64 * MIB;

	face = check_id(seg_map2(sid, other));
	tcase_track_seg(face);
	check_eq(seg_attach(vid, face), 0);
	vh = check_id(vas_attach(vid));
	enter(vh);
	BASE[PAGE] = 5;
	check_eq(other[PAGE], 5);
	enter(VAS_HOME);
	tcase_join(tcase_spawn(discard_again_and_again, &vid));
	enter(vh);
	check_eq(*(volatile char *)(BASE + PAGE), 0);
	check_eq(*(volatile char *)(other + PAGE), 0);
	check_eq(other[2 * PAGE], 6);
	enter(VAS_HOME);
}

static void a_clone_keeps_what_is_discarded(void)
{
	int vid, copy;

	scene(0);
	memset(BASE, 9, 3 * MIB);
	copy = check_id(seg_clone(sid));
	tcase_track_seg(copy);
	check_eq(seg_discard(sid, BASE, 4 * MIB), 0);
	check_eq(*(volatile char *)(BASE + MIB), 0);
	BASE[MIB] = 1;
	vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach(vid, copy), 0);
	enter(check_id(vas_attach(vid)));
	check_eq(BASE[0], 9);
	check_eq(BASE[MIB], 9);
	check_eq(BASE[3 * MIB - 1], 9);
	check_eq(seg_discard(copy, BASE, MIB), 0);
	check_eq(*(volatile char *)BASE, 0);
	check_eq(BASE[MIB], 9);
	enter(VAS_HOME);
}

static int nr_asked;

static int fill_with_number(const struct seg_fault *fault, void *arg)
{
	static char data[PAGE] __attribute__((aligned(16)));
	uintptr_t page = (uintptr_t)fault->addr & ~(PAGE - 1);

	(void)arg;
	nr_asked++;
	memset(data, (int)((page - (uintptr_t)BASE) / PAGE) + 1, PAGE);
	check_eq(seg_fill(fault->sid, (void *)page, data, PAGE), 1);
	return SEG_TRAP_RESUME;
}

static void a_pager_is_asked_again_after_a_discard(void)
{
	scene(SEG_SMALL);
	check_eq(seg_pager(sid, 1), 0);
	nr_asked = 0;
	check_eq(seg_trap(sid, fill_with_number, NULL), 0);
	check_eq(*(volatile char *)(BASE + 3 * PAGE + 1), 4);
	check_eq(*(volatile char *)(BASE + 3 * PAGE + 2), 4);
	check_eq(nr_asked, 1);
	check_eq(seg_discard(sid, BASE + 3 * PAGE, PAGE), 0);
	check_eq(*(volatile char *)(BASE + 3 * PAGE + 1), 4);
	check_eq(nr_asked, 2);
	check_eq(seg_trap(sid, NULL, NULL), 0);
	enter(VAS_HOME);
}

/* The first telling is of all; what is gone and not written again is told of no more. */
static void what_is_discarded_is_not_dirty(void)
{
	void *pages[8];

	scene(SEG_SMALL);
	memset(BASE, 1, 4 * PAGE);
	check_eq(seg_discard(sid, BASE, 2 * PAGE), 0);
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 8), 2);
	check(pages[0] == BASE + 2 * PAGE && pages[1] == BASE + 3 * PAGE);
	BASE[2 * PAGE] = 2;
	check_eq(seg_discard(sid, BASE + 2 * PAGE, PAGE), 0);
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 8), 0);
	BASE[2 * PAGE] = 3;
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 8), 1);
	enter(VAS_HOME);
}

static void protections_outlive_a_discard(void)
{
	scene(0);
	memset(BASE, 1, MIB);
	check_eq(seg_protect(sid, BASE, 2 * PAGE, PROT_READ), 0);
	check_eq(seg_discard(sid, BASE, MIB), 0);
	check_eq(*(volatile char *)BASE, 0);
	check_eq(tcase_try_write(BASE + PAGE).sig, SIGSEGV);
	check_eq(tcase_try_write(BASE + 2 * PAGE).sig, 0);
	enter(VAS_HOME);
}

static void bad_ranges_are_refused(void)
{
	scene(0);
	check_eq(seg_discard(sid, BASE + 1, PAGE), -EINVAL);
	check_eq(seg_discard(sid, BASE, 0), -EINVAL);
	check_eq(seg_discard(0, BASE, PAGE), -EINVAL);
	check_eq(seg_discard(99999, BASE, PAGE), -ENOENT);
	check_eq(seg_discard(sid, BASE + 3 * MIB, 2 * MIB), -ERANGE);
	check_eq(seg_discard(sid, BASE - PAGE, PAGE), -ERANGE);
	enter(VAS_HOME);
}

static void a_locked_segment_is_not_discarded(void)
{
	struct seg_options options = { .size = sizeof(options),
				       .flags = SEG_LOCK };
	int locked = seg_alloc_with(NULL, BASE, MIB, 0600, &options);

	if (locked == -EOPNOTSUPP)
		tcase_skip("this backend has no locked segments");
	tcase_track_seg(check_id(locked));
	check_eq(seg_discard(locked, BASE, MIB), -EINVAL);
}

static const struct tcase cases[] = {
	CASE(what_is_discarded_is_zero_again),
	CASE(a_discard_holds_in_every_process_and_face),
	CASE(a_clone_keeps_what_is_discarded),
	CASE(a_pager_is_asked_again_after_a_discard),
	CASE(what_is_discarded_is_not_dirty),
	CASE(protections_outlive_a_discard),
	CASE(bad_ranges_are_refused),
	CASE(a_locked_segment_is_not_discarded),
};

TCASE_MAIN(cases, 0)
