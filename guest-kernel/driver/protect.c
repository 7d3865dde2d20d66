// SPDX-License-Identifier: GPL-2.0-only
/*
 * Protections of ranges of a segment, and which of its pages were written.
 *
 * Both hold in every VAS and every process.  A protection belongs to the
 * segment as such, so that a second face (PVVAS_IOC_SEG_MAP2) has its own;
 * whether a page was written belongs to the memory.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "ept.h"

#define PVVAS_DIRTY_BATCH	64
#define PVVAS_DIRTY_LOOK	4096	/* pages looked at with interrupts off */

int pvvas_range_check(const struct pvvas_seg *seg,
		      const struct pvvas_ioc_range *arg)
{
	if (!arg->length || !PAGE_ALIGNED(arg->offset | arg->length))
		return -EINVAL;
	if (arg->offset >= seg->length ||
	    arg->length > seg->length - arg->offset)
		return -ERANGE;
	return 0;
}

/* The first number of a page of the range. */
static pgoff_t pvvas_range_first(const struct pvvas_seg *seg,
				 const struct pvvas_ioc_range *arg)
{
	return (seg->base - seg->start + arg->offset) >> PAGE_SHIFT;
}

static int pvvas_seg_protect_held(struct pvvas_seg *seg,
				  const struct pvvas_ioc_range *arg)
{
	pgoff_t first = pvvas_range_first(seg, arg);
	pgoff_t last = first + (arg->length >> PAGE_SHIFT) - 1;
	u32 prot = arg->arg;
	void *entry = NULL;
	bool all;
	int ret;

	if (prot != (PVVAS_READ | PVVAS_WRITE))
		entry = xa_mk_value(prot);
	/* Whoever has too many can always take all of them back. */
	all = !entry && arg->length == seg->length;
	ret = all ? 0 : pvvas_quota_ranges(seg, 2);
	if (ret)
		return ret;
	ret = mtree_store_range(&seg->prot, first, last, entry, GFP_KERNEL);
	if (!ret && all)
		pvvas_quota_no_ranges(seg);
	/* Rights that are given come with the next fault. */
	if (ret || !entry)
		return ret;
	/* Faults that have seen the old rights are through after this. */
	xa_lock_irq(&seg->memory->pages);
	xa_unlock_irq(&seg->memory->pages);
	pvvas_tree_refuse(seg->tree, first, arg->length >> PAGE_SHIFT, prot);
	return 0;
}

int pvvas_seg_protect(struct pvvas_ioc_range *arg)
{
	struct pvvas_seg *seg;
	int ret;

	if (arg->addr || arg->done || arg->arg == PVVAS_WRITE ||
	    arg->arg & ~(u64)(PVVAS_READ | PVVAS_WRITE))
		return -EINVAL;
	seg = pvvas_seg_hold(arg->seg, PVVAS_READ | PVVAS_WRITE);
	if (IS_ERR(seg))
		return PTR_ERR(seg);
	ret = pvvas_range_check(seg, arg);
	if (!ret)
		ret = pvvas_seg_protect_held(seg, arg);
	pvvas_seg_drop(seg);
	return ret;
}

struct pvvas_dirty {
	u64 offsets[PVVAS_DIRTY_BATCH];
};

/*
 * The next written pages from *index on become clean and read-only, all under
 * the lock: a write either shows in this round or faults.  How many, or -errno;
 * *index is where to go on, and beyond @last at the end.
 */
static int pvvas_dirty_batch(struct pvvas_seg *mem, struct pvvas_dirty *batch,
			     unsigned long *index, unsigned long last, u32 room)
{
	unsigned long first = 0, end = 0;
	struct pvvas_seg *face;
	u32 n = 0, seen;

	room = min_t(u32, room, PVVAS_DIRTY_BATCH);
	xa_lock_irq(&mem->pages);
	mem->tracking = true;
	for (seen = 0; n < room && seen < PVVAS_DIRTY_LOOK && *index <= last;
	     seen++, (*index)++) {
		if (!xa_find(&mem->pages, index, last, XA_PRESENT)) {
			*index = last + 1;
			break;
		}
		/* What lies between is gone through with interrupts off. */
		if (n && *index - first >= PVVAS_DIRTY_LOOK)
			break;
		if (xa_get_mark(&mem->pages, *index, PVVAS_CLEAN))
			continue;
		if (!n)
			first = *index;
		end = *index + 1;
		batch->offsets[n++] = (u64)*index << PAGE_SHIFT;
		__xa_set_mark(&mem->pages, *index, PVVAS_CLEAN);
	}
	if (n)
		list_for_each_entry(face, &mem->faces, face)
			pvvas_tree_refuse(face->tree, first, end - first,
					  PVVAS_PROT_READ);
	xa_unlock_irq(&mem->pages);
	return n;
}

/*
 * The caller was not told: all that is there counts as written, from @index up to
 * @end, as before the first call.
 */
static void pvvas_dirty_undo(struct pvvas_seg *mem, unsigned long index,
			     unsigned long end)
{
	u32 seen;

	do {
		xa_lock_irq(&mem->pages);
		for (seen = 0; seen < PVVAS_DIRTY_LOOK && index < end &&
		     xa_find(&mem->pages, &index, end - 1, PVVAS_CLEAN);
		     seen++, index++)
			__xa_clear_mark(&mem->pages, index, PVVAS_CLEAN);
		xa_unlock_irq(&mem->pages);
		cond_resched();
	} while (seen == PVVAS_DIRTY_LOOK);
}

static int pvvas_seg_dirty_held(struct pvvas_seg *seg,
				struct pvvas_ioc_range *arg)
{
	unsigned long first = pvvas_range_first(seg, arg), index = first;
	unsigned long last = index + (arg->length >> PAGE_SHIFT) - 1;
	u64 __user *out = u64_to_user_ptr(arg->addr);
	u64 delta = seg->base - seg->start;
	struct pvvas_dirty *batch;
	int n = 0, i;

	batch = kmalloc(sizeof(*batch), GFP_KERNEL_ACCOUNT);
	if (!batch)
		return -ENOMEM;
	while (n >= 0 && arg->done < arg->arg && index <= last) {
		n = pvvas_dirty_batch(seg->memory, batch, &index, last,
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
	if (n < 0)
		pvvas_dirty_undo(seg->memory, first, index);
	return min(n, 0);
}

int pvvas_seg_dirty(struct pvvas_ioc_range *arg)
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
		ret = pvvas_seg_dirty_held(seg, arg);
	pvvas_seg_drop(seg);
	return ret;
}
