// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hypervisor of before PVVAS_FEATURE_DEMAND_PROT: what needs it answers
 * -EOPNOTSUPP, and everything else works.
 */
#include <errno.h>
#include <sys/mman.h>

#include <pvvas.h>
#include <pvvas_page.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL

/* A segment with a word in it, in a VAS that the thread is in. */
static int inside(int *vid)
{
	int sid = tcase_seg(NULL, BASE, 4 * MIB, 0600);

	*vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach(*vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(*vid))), 0);
	BASE[0] = 1;
	return sid;
}

static void clones_are_refused(void)
{
	int vid, sid = inside(&vid);

	check_eq(seg_clone(sid), -EOPNOTSUPP);
	check_eq(vas_clone(vid), -EOPNOTSUPP);
	check_eq(BASE[0], 1);
}

static void protections_are_refused(void)
{
	int vid, sid = inside(&vid);

	check_eq(seg_protect(sid, BASE, PAGE, PROT_READ), -EOPNOTSUPP);
	BASE[0] = 2;
	check_eq(BASE[0], 2);
}

static void dirty_pages_are_refused(void)
{
	void *pages[1];
	int vid, sid = inside(&vid);

	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 1), -EOPNOTSUPP);
	BASE[PAGE] = 3;
	check_eq(BASE[PAGE], 3);
}

static const struct tcase cases[] = {
	CASE(clones_are_refused),
	CASE(protections_are_refused),
	CASE(dirty_pages_are_refused),
};

TCASE_MAIN(cases, 0)
