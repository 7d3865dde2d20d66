// SPDX-License-Identifier: GPL-2.0-only
/*
 * A segment grows at its end.  It never gets smaller: what has been checked against its
 * length stays right, and seg_discard() gives memory back.
 *
 * The tables get room first, and their end says how far the segment is to reach.  Then
 * each space that shows it lets it reach as far, in pieces, while others have pvvas_lock:
 * nothing else can be attached there from then on.  Where something is already, all goes
 * back.  At last the length changes, for all at once: only then does an access come to
 * anything there.
 */
#include <linux/sched/signal.h>
#include "ept.h"

/*
 * A second face shows no more of the memory than its owner could make a face of: what
 * that was made of may be a part, and the memory's owner may have taken rights back.
 */
static int pvvas_resize_face_check(const struct pvvas_seg *face, u64 length)
{
	const struct pvvas_seg *mem = face->memory;
	u32 needed = PVVAS_READ | PVVAS_WRITE;

	if (pvvas_first(face) + (length >> PAGE_SHIFT) > pvvas_end(mem))
		return -ERANGE;
	return needed & ~pvvas_object_rights(&mem->obj) ? -EACCES : 0;
}

/* pvvas_lock is held.  0, or -errno, or 1: there is nothing to do. */
static int pvvas_resize_check(const struct pvvas_seg *seg, u64 length)
{
	const struct pvvas_seg *mem = seg->memory;

	if (!pvvas_object_is_owner(&seg->obj))
		return -EPERM;
	if (length < seg->length)
		return -EINVAL;
	if (length == seg->length)
		return 1;
	if (length > pvvas_window_end() - seg->base)
		return -ERANGE;
	if (mem->pinned)
		return -EOPNOTSUPP;
	return mem == seg ? 0 : pvvas_resize_face_check(seg, length);
}

static u64 pvvas_end_for(const struct pvvas_seg *seg, u64 length)
{
	return ALIGN(seg->base + length, PVVAS_BLOCK);
}

/* What is to be locked into memory counts from now on. */
static int pvvas_resize_begin(struct pvvas_seg *seg, u64 length)
{
	int ret;

	mutex_lock(&pvvas_lock);
	ret = pvvas_resize_check(seg, length);
	if (!ret && seg->locked)
		ret = pvvas_quota_lock(seg->obj.charged, length - seg->length);
	if (!ret) {
		seg->locked += seg->locked ? length - seg->length : 0;
		seg->claimed = pvvas_end_for(seg, length);
	}
	pvvas_unlock();
	return ret;
}

/* The spaces are to show it up to there, and those that come do. */
static void pvvas_tree_reach(struct pvvas_seg *seg, u64 end)
{
	mutex_lock(&pvvas_lock);
	spin_lock_irq(&seg->tree->lock);
	seg->tree->end = pvvas_va_to_gpa(end);
	seg->tree->farthest = max(seg->tree->farthest, seg->tree->end);
	spin_unlock_irq(&seg->tree->lock);
	pvvas_unlock();
}

static int pvvas_resize_reach(struct pvvas_seg *seg)
{
	int ret = pvvas_tree_room(seg->tree, pvvas_va_to_gpa(seg->claimed));

	if (ret || seg->claimed == seg->end)
		return ret;
	pvvas_tree_reach(seg, seg->claimed);
	return pvvas_links_each(seg, pvvas_link_reach, true);
}

/* What is locked has its pages before it has the length: all, or none. */
static int pvvas_resize_fill(struct pvvas_seg *seg, u64 length)
{
	pgoff_t end = pvvas_first(seg) + (length >> PAGE_SHIFT);
	int ret;

	if (!seg->locked)
		return 0;
	ret = pvvas_pages_populate(seg, pvvas_end(seg), end);
	if (ret)
		pvvas_pages_forget(seg, pvvas_end(seg), end);
	return ret;
}

/* As it was. */
static void pvvas_resize_undo(struct pvvas_seg *seg, u64 length)
{
	if (seg->claimed != seg->end) {
		pvvas_tree_reach(seg, seg->end);
		pvvas_links_each(seg, pvvas_link_reach, false);
	}
	mutex_lock(&pvvas_lock);
	if (seg->locked) {
		pvvas_quota_unlock(seg->obj.charged, length - seg->length);
		seg->locked -= length - seg->length;
	}
	seg->claimed = 0;
	pvvas_unlock();
}

static void pvvas_resize_finish(struct pvvas_seg *seg, u64 length)
{
	mutex_lock(&pvvas_lock);
	pvvas_seg_place_end(seg, seg->claimed);
	seg->claimed = 0;
	/* Demand faults look at it without the lock, and then at the tables. */
	smp_store_release(&seg->length, length);
	seg->obj.mtime = ktime_get_real_seconds();
	pvvas_unlock();
}

/* No other call resizes the segment meanwhile. */
static int pvvas_resize_walked(struct pvvas_seg *seg, u64 length)
{
	int ret = pvvas_resize_begin(seg, length);

	if (ret)
		return min(ret, 0);
	ret = pvvas_resize_reach(seg) ?: pvvas_resize_fill(seg, length);
	if (ret)
		pvvas_resize_undo(seg, length);
	else
		pvvas_resize_finish(seg, length);
	return ret;
}

int pvvas_seg_resize(struct pvvas_ioc_seg_resize *arg)
{
	struct pvvas_seg *seg;
	int ret;

	if (!arg->length || !PAGE_ALIGNED(arg->length))
		return -EINVAL;
	seg = pvvas_seg_hold(arg->seg, 0);
	if (IS_ERR(seg))
		return PTR_ERR(seg);
	/* A caller without the right does not wait. */
	mutex_lock(&pvvas_lock);
	ret = pvvas_resize_check(seg, arg->length);
	pvvas_unlock();
	while (!ret && !pvvas_links_walk(seg)) {
		schedule_timeout_killable(1);
		if (fatal_signal_pending(current))
			ret = -EINTR;
	}
	if (!ret) {
		ret = pvvas_resize_walked(seg, arg->length);
		pvvas_links_walk_end(seg);
	}
	pvvas_seg_drop(seg);
	return min(ret, 0);
}
