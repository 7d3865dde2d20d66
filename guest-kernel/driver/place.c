// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where in the window segments lie.  Those of different VASes may overlap; a segment
 * without a wished address gets a place where nothing is, as long as there is any.
 * pvvas_lock is held.
 */
#include <linux/interval_tree_generic.h>
#include "pvvas_drv.h"

#define PVVAS_SEG_START(seg)	((seg)->start)
#define PVVAS_SEG_LAST(seg)	((seg)->end - 1)

/* Some of what this defines is not needed. */
INTERVAL_TREE_DEFINE(struct pvvas_seg, placed, u64, placed_last,
		     PVVAS_SEG_START, PVVAS_SEG_LAST, static __maybe_unused,
		     pvvas_placed)

/* The same, of those that one user is charged for. */
INTERVAL_TREE_DEFINE(struct pvvas_seg, users, u64, users_last,
		     PVVAS_SEG_START, PVVAS_SEG_LAST, static __maybe_unused,
		     pvvas_users)

/* All segments, those being created included. */
static struct rb_root_cached pvvas_segs = RB_ROOT_CACHED;

/*
 * A space shows a GiB that holds one segment only by one entry: so a segment gets
 * such places for itself as long as there are any.
 */
static const u64 pvvas_aligns[] = { PUD_SIZE, PVVAS_BLOCK };

/* There is no hole for even one block, of these alignments, below these addresses. */
static u64 pvvas_full_below[ARRAY_SIZE(pvvas_aligns)];

u64 pvvas_window_end(void)
{
	return PVVAS_WINDOW_VA + pvvas_window.size;
}

/*
 * The first segment, of @user or of all, that has some of these addresses.  Another
 * user may have any number that lie there.
 */
static struct pvvas_seg *pvvas_seg_among(u64 start, u64 last,
					 struct pvvas_user *user)
{
	if (user)
		return pvvas_users_iter_first(pvvas_user_segs(user), start, last);
	return pvvas_placed_iter_first(&pvvas_segs, start, last);
}

/* The first hole from @from on, of all segments or of one user's; 0: none. */
static u64 pvvas_seg_hole(u64 from, u64 length, u64 align,
			  struct pvvas_user *user)
{
	u64 base = ALIGN(max(from, PVVAS_WINDOW_FIRST), align);
	struct pvvas_seg *seg;

	while (base <= pvvas_window_end() - length) {
		seg = pvvas_seg_among(base, ALIGN(base + length, PVVAS_BLOCK) - 1,
				      user);
		if (!seg)
			return base;
		base = ALIGN(seg->end, align);
	}
	return 0;
}

static u64 pvvas_seg_pick(u64 length)
{
	u64 base, *full;
	int i;

	for (i = 0; i < ARRAY_SIZE(pvvas_aligns); i++) {
		full = &pvvas_full_below[i];
		base = pvvas_seg_hole(*full, PVVAS_BLOCK, pvvas_aligns[i], NULL);
		*full = base ?: pvvas_window_end();
		if (base)
			base = pvvas_seg_hole(base, length, pvvas_aligns[i],
					      NULL);
		if (base)
			return base;
	}
	return 0;
}

static u64 pvvas_seg_pick_for(u64 length, struct pvvas_user *user)
{
	return pvvas_seg_hole(0, length, PUD_SIZE, user) ?:
	       pvvas_seg_hole(0, length, PVVAS_BLOCK, user);
}

int pvvas_seg_place(struct pvvas_seg *seg)
{
	if (!seg->base)
		seg->base = pvvas_seg_pick(seg->length);
	/* A sparse segment costs nothing: none may take all places from others. */
	if (!seg->base)
		seg->base = pvvas_seg_pick_for(seg->length, seg->obj.charged);
	if (!seg->base)
		return -ENOSPC;
	seg->start = ALIGN_DOWN(seg->base, PVVAS_BLOCK);
	seg->end = ALIGN(seg->base + seg->length, PVVAS_BLOCK);
	pvvas_placed_insert(seg, &pvvas_segs);
	pvvas_users_insert(seg, pvvas_user_segs(seg->obj.charged));
	return 0;
}

/* It ends there from now on. */
void pvvas_seg_place_end(struct pvvas_seg *seg, u64 end)
{
	pvvas_placed_remove(seg, &pvvas_segs);
	pvvas_users_remove(seg, pvvas_user_segs(seg->obj.charged));
	seg->end = end;
	pvvas_placed_insert(seg, &pvvas_segs);
	pvvas_users_insert(seg, pvvas_user_segs(seg->obj.charged));
}

void pvvas_seg_unplace(struct pvvas_seg *seg)
{
	int i;

	if (!seg->end)
		return;
	pvvas_placed_remove(seg, &pvvas_segs);
	pvvas_users_remove(seg, pvvas_user_segs(seg->obj.charged));
	for (i = 0; i < ARRAY_SIZE(pvvas_aligns); i++)
		pvvas_full_below[i] = min(pvvas_full_below[i], seg->start);
}
