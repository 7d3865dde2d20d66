// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages of a memory were written, and which were accessed at all, since a
 * caller was told.
 *
 * KVM sets no accessed and dirty bits in the tables of a guest.  So what a caller is
 * told of loses rights: a clean page is read-only, and an idle one is not shown at
 * all, in any face.  The fault of the next access takes the mark away (page.c).
 *
 * An idle page is shown nowhere as long as it has the mark; reclaim.c relies on that.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "ept.h"

#define PVVAS_TRACK_BATCH	64

/**
 * struct pvvas_track - what a caller wants to be told of
 * @mark: pages of which it was have it
 * @prot: their rights, at most
 */
struct pvvas_track {
	xa_mark_t mark;
	u32 prot;
};

static const struct pvvas_track pvvas_written = {
	.mark = PVVAS_CLEAN,
	.prot = PVVAS_PROT_READ,
};

static const struct pvvas_track pvvas_accessed = {
	.mark = PVVAS_IDLE,
	.prot = 0,
};

struct pvvas_track_batch {
	u64 offsets[PVVAS_TRACK_BATCH];
};

/* All faces give no more than @prot; the pages' lock is held. */
void pvvas_pages_refuse(struct pvvas_seg *mem, pgoff_t first, u64 count, u32 prot)
{
	struct pvvas_seg *face;

	list_for_each_entry(face, &mem->faces, face)
		pvvas_face_refuse(face, first, count, prot);
}

/*
 * The next pages without the mark from *index on get it and lose rights, all under
 * the lock: an access either shows in this round or faults.  How many; *index is
 * where to go on, and beyond @last at the end.
 */
static int pvvas_track_some(struct pvvas_seg *mem, const struct pvvas_track *track,
			    struct pvvas_track_batch *batch, unsigned long *index,
			    unsigned long last, u32 room)
{
	unsigned long first = 0, end = 0;
	u32 n = 0, seen;

	room = min_t(u32, room, PVVAS_TRACK_BATCH);
	xa_lock_irq(&mem->pages);
	if (track->prot)
		mem->tracking = true;
	else
		mem->ageing = true;
	for (seen = 0; n < room && seen < PVVAS_LOOK && *index <= last;
	     seen++, (*index)++) {
		if (!xa_find(&mem->pages, index, last, XA_PRESENT)) {
			*index = last + 1;
			break;
		}
		/* What lies between is gone through with interrupts off. */
		if (n && *index - first >= PVVAS_LOOK)
			break;
		if (xa_get_mark(&mem->pages, *index, track->mark))
			continue;
		if (!n)
			first = *index;
		end = *index + 1;
		batch->offsets[n++] = (u64)*index << PAGE_SHIFT;
		__xa_set_mark(&mem->pages, *index, track->mark);
	}
	if (n)
		pvvas_pages_refuse(mem, first, end - first, track->prot);
	xa_unlock_irq(&mem->pages);
	return n;
}

/* No page from @index up to @end has the mark any more. */
static void pvvas_track_undo(struct pvvas_seg *mem, xa_mark_t mark,
			     unsigned long index, unsigned long end)
{
	struct page *page;
	u32 seen;

	do {
		xa_lock_irq(&mem->pages);
		for (seen = 0; seen < PVVAS_LOOK && index < end; seen++, index++) {
			page = xa_find(&mem->pages, &index, end - 1, mark);
			if (!page)
				break;
			__xa_clear_mark(&mem->pages, index, mark);
			pvvas_evict_not(mem, page);
		}
		xa_unlock_irq(&mem->pages);
		cond_resched();
	} while (seen == PVVAS_LOOK);
}

static int pvvas_track_held(struct pvvas_seg *seg, const struct pvvas_track *track,
			    struct pvvas_ioc_range *arg)
{
	unsigned long first = pvvas_range_first(seg, arg), index = first;
	unsigned long last = index + (arg->length >> PAGE_SHIFT) - 1;
	u64 __user *out = u64_to_user_ptr(arg->addr);
	u64 delta = (u64)pvvas_first(seg) << PAGE_SHIFT;
	struct pvvas_track_batch *batch;
	int n = 0, i;

	batch = kmalloc(sizeof(*batch), GFP_KERNEL_ACCOUNT);
	if (!batch)
		return -ENOMEM;
	while (n >= 0 && arg->done < arg->arg && index <= last) {
		n = pvvas_track_some(seg->memory, track, batch, &index, last,
				     min_t(u64, arg->arg - arg->done, U32_MAX));
		for (i = 0; i < n; i++)
			batch->offsets[i] -= delta;
		if (n > 0 && copy_to_user(out + arg->done, batch->offsets,
					  n * sizeof(u64)))
			n = -EFAULT;
		if (n > 0)
			arg->done += n;
		cond_resched();
	}
	kfree(batch);
	/* The caller was not told: as before the first call. */
	if (n < 0)
		pvvas_track_undo(seg->memory, track->mark, first, index);
	return min(n, 0);
}

static int pvvas_track(struct pvvas_ioc_range *arg, const struct pvvas_track *track)
{
	struct pvvas_seg *seg;
	int ret;

	if (arg->done)
		return -EINVAL;
	seg = pvvas_seg_hold(arg->seg, PVVAS_READ | PVVAS_WRITE);
	if (IS_ERR(seg))
		return PTR_ERR(seg);
	ret = pvvas_range_check(seg, arg);
	if (!ret)
		ret = pvvas_track_held(seg, track, arg);
	pvvas_seg_drop(seg);
	return ret;
}

int pvvas_seg_dirty(struct pvvas_ioc_range *arg)
{
	return pvvas_track(arg, &pvvas_written);
}

int pvvas_seg_accessed(struct pvvas_ioc_range *arg)
{
	return pvvas_track(arg, &pvvas_accessed);
}

/* Rights come back with the next fault of each page. */
int pvvas_seg_untrack(struct pvvas_ioc_id *arg)
{
	struct pvvas_seg *seg = pvvas_seg_hold(arg->id, PVVAS_READ | PVVAS_WRITE);
	struct pvvas_seg *mem;

	if (IS_ERR(seg))
		return PTR_ERR(seg);
	mem = seg->memory;
	if (!pvvas_seg_is_part(seg))
		WRITE_ONCE(mem->tracking, false);
	pvvas_track_undo(mem, PVVAS_CLEAN, pvvas_first(seg), pvvas_end(seg));
	pvvas_track_undo(mem, PVVAS_IDLE, pvvas_first(seg), pvvas_end(seg));
	xa_lock_irq(&mem->pages);
	/* Another caller may have begun again. */
	mem->ageing = xa_marked(&mem->pages, PVVAS_IDLE);
	xa_unlock_irq(&mem->pages);
	pvvas_seg_drop(seg);
	return 0;
}
