// SPDX-License-Identifier: GPL-2.0-only
/*
 * Errors of the manual pages that no other program asks for: see tests/errors.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define NOTHING	((1 << 30) - 1)

static char page[4096];

static void segments_that_are_not_there_are_enoent(void)
{
	void *found;

	check_eq(seg_protect(NOTHING, BASE, 4096, PROT_READ), -ENOENT);
	check_eq(seg_dirty(NOTHING, BASE, 4096, &found, 1), -ENOENT);
	check_eq(seg_populate(NOTHING, BASE, 4096), -ENOENT);
	check_eq(seg_fill(NOTHING, BASE, page, 4096), -ENOENT);
	check_eq(seg_discard(NOTHING, BASE, 4096), -ENOENT);
	check_eq(seg_accessed(NOTHING, BASE, 4096, &found, 1), -ENOENT);
	check_eq(seg_untrack(NOTHING), -ENOENT);
	check_eq(seg_limit(NOTHING, 1), -ENOENT);
	check_eq(seg_evict(NOTHING, &found, page, 1), -ENOENT);
	check_eq(seg_move(NOTHING, BASE, NOTHING, BASE, 4096), -ENOENT);
	check_eq(seg_pager(NOTHING, 1), -ENOENT);
	check_eq(seg_map2(NOTHING, NULL), -ENOENT);
	check_eq(seg_clone(NOTHING), -ENOENT);
	check_eq(seg_attach(tcase_vas(NULL, 0600), NOTHING), -ENOENT);
	check_eq(seg_ctl(NOTHING, SEG_CTL_LOCK_ON), -ENOENT);
}

static void pages_of_segments_that_may_only_be_read_are_eacces(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0400);
	uint64_t bytes;
	void *found;

	if (!geteuid()) {
		struct seg_attr a = { .size = sizeof(a), .mode = 0444,
				      .valid = VAS_ATTR_MODE };

		/* as another user */
		check_eq(seg_ctl(sid, SEG_CTL_SETATTR, &a), 0);
		if (pvvas_probe(PVVAS_FEATURE_DRIVER) != PVVAS_YES)
			return;
		check_eq(setgid(65534), 0);
		check_eq(setuid(65534), 0);
	}
	check_eq(seg_protect(sid, BASE, 4096, PROT_READ), -EACCES);
	check_eq(seg_dirty(sid, BASE, 4096, &found, 1), -EACCES);
	check_eq(seg_populate(sid, BASE, 4096), -EACCES);
	check_eq(seg_fill(sid, BASE, page, 4096), -EACCES);
	check_eq(seg_discard(sid, BASE, 4096), -EACCES);
	check_eq(seg_accessed(sid, BASE, 4096, &found, 1), -EACCES);
	check_eq(seg_untrack(sid), -EACCES);
	check_eq(seg_limit(sid, 1), -EACCES);
	check_eq(seg_reclaim_wait(sid, &bytes, NULL), -EACCES);
	check_eq(seg_evict(sid, &found, page, 1), -EACCES);
	check_eq(seg_move(sid, BASE, sid, BASE + 8192, 4096), -EACCES);
	check_eq(seg_pager(sid, 1), -EACCES);
	check_eq(seg_map2(sid, NULL), -EACCES);
	check_eq(seg_attach_prot(tcase_vas(NULL, 0600), sid,
				 PROT_READ | PROT_WRITE), -EACCES);
}

static void data_at_no_address_are_efault(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0600);
	struct seg_attr a = { .size = sizeof(a) };

	check_eq(seg_fill(sid, BASE, (void *)4096, 4096), -EFAULT);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &a), 0);
	check_eq(a.resident, 0);
	check_eq(seg_fill(sid, BASE, page, 4096), 1);
}

static void a_window_without_room_is_enospc(void)
{
	size_t size;
	void *base;
	int sid;

	check_eq(pvvas_window(&base, &size), 0);
	sid = tcase_seg(NULL, BASE, size - VAS_WINDOW_FIRST +
		       VAS_WINDOW_BASE, 0600);
	check_eq(seg_alloc(NULL, NULL, 4096, 0600), -ENOSPC);
	check_eq(seg_map2(sid, NULL), -ENOSPC);
	check_eq(seg_alloc("errors.none", NULL, 4096, 0600), -ENOSPC);
	check_eq(seg_find("errors.none"), -ENOENT);
}

static void a_memory_of_64_faces_has_no_65th(void)
{
	int sid = tcase_seg(NULL, BASE, 4096, 0600), i;

	for (i = 1; i < 64; i++)
		tcase_track_seg(check_id(seg_map2(sid, NULL)));
	check_eq(seg_map2(sid, NULL), -ENOSPC);
	check_eq(seg_map2(seg_next(sid), NULL), -ENOSPC);
}

static void a_heap_that_was_overwritten_is_euclean(void)
{
	struct seg_heap_stat st = { .size = sizeof(st) };
	int sid;

	check_eq(vas_switch(check_id(vas_attach(
		 tcase_vas_with_seg(BASE, MIB, &sid)))), 0);
	check(seg_malloc(sid, 5000));
	check_eq(seg_heap_check(sid), 0);
	memset(BASE + 8192, 0x42, 16);
	check_eq(seg_heap_check(sid), -EUCLEAN);
	check_eq(seg_heap_stat(sid, &st), -EUCLEAN);
	/* the whole table: no run can be found in it */
	memset(BASE + 8192, 0x42, 16384);
	errno = 0;
	check(!seg_malloc(sid, 5000));
	check_eq(errno, EUCLEAN);
}

static void a_heap_in_memory_of_another_size_is_estale(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL);
	int sid = vas_next_seg(vid, 0, NULL), larger;

	larger = tcase_seg(NULL, BASE + 8 * MIB, 2 * MIB, 0600);
	check_eq(seg_attach(vid, larger), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check_eq(seg_heap_init(larger), 0);
	memcpy(BASE, BASE + 8 * MIB, MIB);
	check_eq(seg_heap_init(sid), -ESTALE);
	errno = 0;
	check(!seg_malloc(sid, 10));
	check_eq(errno, ESTALE);
}

/* The child has attached nothing yet: its window is not there. */
static void take_the_window(void *arg)
{
	void *base;
	size_t size;

	check_eq(pvvas_window(&base, &size), 0);
	check(mmap((char *)base + size / 2, 4096, PROT_READ, MAP_PRIVATE |
		   MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
	check_eq(vas_attach(*(int *)arg), -EEXIST);
	check_eq(munmap((char *)base + size / 2, 4096), 0);
	check_id(vas_attach(*(int *)arg));
}

static void a_window_that_is_taken_is_eexist(void)
{
	int vid = tcase_vas(NULL, 0600);

	tcase_join(tcase_spawn(take_the_window, &vid));
}

static const struct tcase cases[] = {
	CASE(segments_that_are_not_there_are_enoent),
	CASE(pages_of_segments_that_may_only_be_read_are_eacces),
	CASE(data_at_no_address_are_efault),
	CASE(a_window_without_room_is_enospc),
	CASE(a_memory_of_64_faces_has_no_65th),
	CASE(a_heap_that_was_overwritten_is_euclean),
	CASE(a_heap_in_memory_of_another_size_is_estale),
	CASE(a_window_that_is_taken_is_eexist),
};

TCASE_MAIN(cases, 0)
