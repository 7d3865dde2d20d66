// SPDX-License-Identifier: GPL-2.0-only
/* Which pages of a segment were accessed, and the end of such questions. */
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

static void scene(void)
{
	vh = check_id(vas_attach(vas_with_segment()));
	enter(vh);
}

/* Which pages of 4 MiB were accessed. */
static int accessed(void **pages, size_t max)
{
	int n = seg_accessed(sid, BASE, 4 * MIB, pages, max);

	if (n == -EOPNOTSUPP)
		tcase_skip("this backend knows no accesses");
	return n;
}

static void accessed_pages_are_told_of_once(void)
{
	void *pages[16];

	scene();
	check_eq(accessed(pages, 16), 0);
	BASE[0] = 1;
	BASE[7 * PAGE] = 1;
	check_eq(accessed(pages, 16), 2);
	check(pages[0] == BASE && pages[1] == BASE + 7 * PAGE);
	check_eq(accessed(pages, 16), 0);
	/* a read counts, and brings no neighbour with it */
	check_eq(*(volatile char *)(BASE + 7 * PAGE), 1);
	check_eq(seg_ctl(sid, SEG_CTL_ACCESSED, BASE, 4 * MIB, pages, (size_t)16),
		 1);
	check(pages[0] == BASE + 7 * PAGE);
	BASE[0] = 2;
	check_eq(BASE[0], 2);
	check_eq(accessed(pages, 16), 1);
	/* to ask for a page is no access to it */
	check_eq(seg_populate(sid, BASE + MIB, 4 * PAGE), 0);
	check_eq(accessed(pages, 16), 0);
	check_eq(*(volatile char *)(BASE + MIB + PAGE), 0);
	check_eq(accessed(pages, 16), 1);
	check(pages[0] == BASE + MIB + PAGE);
	enter(VAS_HOME);
}

/* Writes and accesses are told of apart from each other. */
static void accessed_and_dirty_do_not_disturb_each_other(void)
{
	void *pages[16];

	scene();
	BASE[0] = 1;
	BASE[PAGE] = 1;
	check_eq(accessed(pages, 16), 2);
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 16), 2);
	check_eq(*(volatile char *)BASE, 1);
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 16), 0);
	check_eq(accessed(pages, 16), 1);
	BASE[PAGE] = 2;
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 16), 1);
	check(pages[0] == BASE + PAGE);
	check_eq(accessed(pages, 16), 1);
	check(pages[0] == BASE + PAGE);
	enter(VAS_HOME);
}

static void access_in_child(void *arg)
{
	enter(check_id(vas_attach(*(int *)arg)));
	check_eq(*(volatile char *)(BASE + 64 * MIB + 5 * PAGE), 9);
	enter(VAS_HOME);
}

static void an_access_by_another_process_and_face_counts(void)
{
	int vid, face, fd;
	/* one memory at two addresses */
	volatile char *other = BASE + 64 * MIB;
	void *pages[16];

	tcase_need(PVVAS_FEATURE_SWITCH);
	vid = vas_with_segment();
	face = check_id(seg_map2(sid, (void *)other));
	tcase_track_seg(face);
	check_eq(seg_attach(vid, face), 0);
	vh = check_id(vas_attach(vid));
	enter(vh);
	*(volatile char *)(BASE + 5 * PAGE) = 9;
	*(volatile char *)(BASE + 6 * PAGE) = 9;
	check_eq(other[5 * PAGE], 9);
	check_eq(accessed(pages, 16), 2);
	tcase_join(tcase_spawn(access_in_child, &vid));
	check_eq(accessed(pages, 16), 1);
	check(pages[0] == BASE + 5 * PAGE);
	/* a system call's access, too */
	fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	check_eq(read(fd, (void *)(other + 6 * PAGE), 1), 1);
	close(fd);
	check_eq(accessed(pages, 16), 1);
	check(pages[0] == BASE + 6 * PAGE);
	enter(VAS_HOME);
}

static void tracking_ends_when_it_is_not_wanted(void)
{
	struct seg_stat stat = { .size = sizeof(stat) };
	void *pages[16];
	uint64_t faults;

	scene();
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 16), 0);
	BASE[0] = 1;
	BASE[PAGE] = 1;
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 16), 2);
	check_eq(seg_ctl(sid, SEG_CTL_UNTRACK), 0);
	/* it begins anew */
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 16), 2);
	check_eq(seg_untrack(sid), 0);
	if (pvvas_probe(PVVAS_FEATURE_SWITCH) == PVVAS_YES) {
		check_eq(accessed(pages, 16), 2);
		check_eq(seg_untrack(sid), 0);
		/* a touch brings as much as if it had never been asked */
		BASE[2 * PAGE] = 1;
		check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), 0);
		check_eq(stat.resident, 16 * PAGE);
		BASE[0] = 2;
		BASE[PAGE] = 2;
		check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), 0);
		faults = stat.faults;
		memset(BASE, 3, 16 * PAGE);
		check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), 0);
		check_eq(stat.faults, faults);
	}
	check_eq(seg_untrack(99999), -ENOENT);
	check_eq(seg_untrack(0), -EINVAL);
	enter(VAS_HOME);
}

static const struct tcase cases[] = {
	CASE(accessed_pages_are_told_of_once),
	CASE(accessed_and_dirty_do_not_disturb_each_other),
	CASE(an_access_by_another_process_and_face_counts),
	CASE(tracking_ends_when_it_is_not_wanted),
};

TCASE_MAIN(cases, 0)
