// SPDX-License-Identifier: GPL-2.0-only
/* Ranges of a segment that are seen at other addresses. */
#include <errno.h>
#include <fcntl.h>
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

/* A VAS that shows a segment of 4 MiB. */
static int vas_with_segment(void)
{
	return tcase_vas_with_seg(BASE, 4 * MIB, &sid);
}

static void refused(struct tcase_fault f, void *addr)
{
	check_eq(f.sig, SIGSEGV);
	check_eq(f.code, SEGV_ACCERR);
	check(f.addr == addr);
}

/*
 * A memory of 4 MiB in another order: its second 2 MiB, pages 3 to 9 of it, and these
 * once more, as a program's own tables would have it.
 */
static char *volatile views[] = { BASE + 64 * MIB, BASE + 128 * MIB + 3 * PAGE,
				  BASE + 256 * MIB + 3 * PAGE };
static int view_of[3];

static int ranges(void)
{
	int vid = vas_with_segment(), i;

	view_of[0] = check_id(seg_map2_range(sid, BASE + 2 * MIB, 2 * MIB,
					     views[0]));
	for (i = 1; i < 3; i++)
		view_of[i] = check_id(seg_map2_range(sid, BASE + 3 * PAGE,
						     7 * PAGE, views[i]));
	for (i = 0; i < 3; i++) {
		tcase_track_seg(view_of[i]);
		check_eq(seg_attach(vid, view_of[i]), 0);
	}
	vh = check_id(vas_attach(vid));
	enter(vh);
	return vid;
}

static void ranges_of_a_segment_are_the_same_memory(void)
{
	size_t at;
	void *base;
	size_t size;

	ranges();
	check_eq(seg_range(view_of[1], &base, &size), 0);
	check(base == views[1] && size == 7 * PAGE);
	for (at = 0; at < 4 * MIB; at += PAGE)
		*(size_t *)(BASE + at) = at + 1;
	for (at = 0; at < 2 * MIB; at += PAGE)
		check_eq(*(size_t *)(views[0] + at), 2 * MIB + at + 1);
	for (at = 0; at < 7 * PAGE; at += PAGE) {
		check_eq(*(size_t *)(views[1] + at), 3 * PAGE + at + 1);
		*(size_t *)(views[2] + at) = at + 7;
		check_eq(*(size_t *)(views[1] + at), at + 7);
		check_eq(*(size_t *)(BASE + 3 * PAGE + at), at + 7);
	}
	/* and no more than the range */
	refused(tcase_try_write(views[1] + 7 * PAGE), views[1] + 7 * PAGE);
	refused(tcase_try_write(views[1] - PAGE), views[1] - PAGE);
	enter(VAS_HOME);
}

/* What is done to pages through one of them is done to those of the range. */
static void what_is_done_to_a_range_holds_in_all_faces(void)
{
	static char data[PAGE];
	void *pages[16];
	size_t at, length;
	int copy, vid;

	ranges();
	/* first touched through the faces */
	memset(views[0] + MIB, 1, 64 * PAGE);
	memset(views[2], 2, 7 * PAGE);
	check_eq(BASE[3 * MIB + 63 * PAGE], 1);
	check_eq(seg_discard(view_of[0], views[0] + MIB, PAGE), 0);
	check_eq(*(volatile char *)(BASE + 3 * MIB), 0);
	check_eq(BASE[3 * MIB + PAGE], 1);
	check_eq(seg_discard(sid, BASE + 4 * PAGE, PAGE), 0);
	check_eq(*(volatile char *)(views[1] + PAGE), 0);
	check_eq(*(volatile char *)(views[2] + PAGE), 0);
	check_eq(views[2][2 * PAGE], 2);
	/* protections are each one's own */
	check_eq(seg_protect(view_of[1], views[1], PAGE, PROT_READ), 0);
	refused(tcase_try_write(views[1]), views[1]);
	views[2][0] = 3;
	check_eq(views[1][0], 3);
	check_eq(seg_unprot(view_of[1], views[1]), 0);
	views[1][0] = 4;
	/* written pages, with addresses of the one that asks */
	while (seg_dirty(sid, BASE, 4 * MIB, pages, 16) > 0)
		;
	views[2][5 * PAGE] = 5;
	BASE[0] = 5;
	check_eq(seg_dirty(view_of[1], views[1], 7 * PAGE, pages, 16), 1);
	check(pages[0] == views[1] + 5 * PAGE);
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 16), 1);
	check(pages[0] == BASE);
	/* data, and where they are */
	check_eq(seg_discard(sid, BASE + 9 * PAGE, PAGE), 0);
	memset(data, 6, PAGE);
	check_eq(seg_fill(view_of[2], views[2] + 6 * PAGE, data, PAGE), 1);
	check_eq(BASE[9 * PAGE], 6);
	at = 6 * PAGE;
	check_eq(seg_next_data(view_of[2], &at, &length), 0);
	check_eq(at, 6 * PAGE);
	check_eq(length, PAGE);
	/* pages that move from one to another */
	check_eq(seg_move(view_of[2], views[2] + 6 * PAGE, view_of[0], views[0],
			  PAGE), 0);
	check_eq(BASE[2 * MIB], 6);
	check_eq(*(volatile char *)(BASE + 9 * PAGE), 0);
	check_eq(seg_move(view_of[2], views[2], view_of[1], views[1], PAGE),
		 -EINVAL);
	/* a clone of a range has that alone */
	copy = check_id(seg_clone(view_of[1]));
	tcase_track_seg(copy);
	BASE[8 * PAGE] = 9;
	enter(VAS_HOME);
	vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach(vid, copy), 0);
	enter(check_id(vas_attach(vid)));
	check_eq(views[1][0], 4);
	check_eq(views[1][5 * PAGE], 5);
	refused(tcase_try_write(views[1] + 7 * PAGE), views[1] + 7 * PAGE);
	enter(VAS_HOME);
}

/* The right to write to a part alone says nothing of the rest. */
static void a_range_does_not_decide_for_the_whole(void)
{
	ranges();
	enter(VAS_HOME);
	check_eq(seg_pager(view_of[0], 1), -EINVAL);
	check_eq(seg_pager(view_of[1], 1), -EINVAL);
	check_eq(seg_pager(sid, 1), 0);
	check_eq(seg_pager(view_of[0], 0), -EINVAL);
	enter(vh);
	/* evicted, and asked for in all faces */
	check_eq(tcase_try_read(BASE + MIB).sig, SIGSEGV);
	check_eq(tcase_try_read(views[0] + MIB).sig, SIGSEGV);
	enter(VAS_HOME);
	check_eq(seg_pager(sid, 0), 0);
}

static void bad_ranges_of_second_faces_are_refused(void)
{
	vas_with_segment();
	check_eq(seg_map2_range(sid, BASE + PAGE, PAGE, BASE + 64 * MIB),
		 -EINVAL);
	check_eq(seg_map2_range(sid, BASE + PAGE, PAGE, NULL), -EINVAL);
	check_eq(seg_map2_range(sid, BASE, 0, NULL), -EINVAL);
	check_eq(seg_map2_range(sid, BASE, 100, NULL), -EINVAL);
	check_eq(seg_map2_range(sid, BASE, 5 * MIB, NULL), -ERANGE);
	check_eq(seg_map2_range(sid, BASE + 4 * MIB, MIB, NULL), -ERANGE);
	check_eq(seg_map2_range(sid, BASE - MIB, MIB, NULL), -ERANGE);
	tcase_track_seg(check_id(seg_map2_range(sid, NULL, 0, NULL)));
	tcase_track_seg(check_id(seg_map2_range(sid, BASE + 2 * MIB, PAGE,
						NULL)));
}

static const struct tcase cases[] = {
	CASE(ranges_of_a_segment_are_the_same_memory),
	CASE(what_is_done_to_a_range_holds_in_all_faces),
	CASE(a_range_does_not_decide_for_the_whole),
	CASE(bad_ranges_of_second_faces_are_refused),
};

TCASE_MAIN(cases, 0)
