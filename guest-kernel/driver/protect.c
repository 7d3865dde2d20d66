// SPDX-License-Identifier: GPL-2.0-only
/*
 * Protections of ranges of a segment.
 *
 * They hold in every VAS and every process, and belong to the segment as such, so
 * that a second face (PVVAS_IOC_SEG_MAP2) has its own.
 */
#include "ept.h"

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

/* The memory's number of the first page of the range. */
pgoff_t pvvas_range_first(const struct pvvas_seg *seg,
			  const struct pvvas_ioc_range *arg)
{
	return pvvas_first(seg) + (arg->offset >> PAGE_SHIFT);
}

/*
 * Is there a page that the caller may not read?  A clone has no protections: a caller
 * that cannot remove them in the source cannot get rid of them by a clone.
 */
bool pvvas_clone_hides(const struct pvvas_clone *clone)
{
	struct pvvas_seg *seg = clone->from;
	unsigned long index = 0;
	void *entry;

	if (clone->writer || !READ_ONCE(seg->hides))
		return false;
	mt_for_each(&seg->prot, entry, index, ULONG_MAX) {
		if (!(xa_to_value(entry) & PVVAS_PROT_READ))
			return true;
		cond_resched();
	}
	return false;
}

/* At the moment: can the clone be one of its source as that is?  -EAGAIN: make it anew. */
int pvvas_clone_check(const struct pvvas_clone *clone)
{
	if (pvvas_clone_hides(clone))
		return -EACCES;
	return clone->to->length == clone->from->length ? 0 : -EAGAIN;
}

static int pvvas_seg_protect_held(struct pvvas_seg *seg,
				  const struct pvvas_ioc_range *arg)
{
	pgoff_t first = pvvas_own(seg, pvvas_range_first(seg, arg));
	pgoff_t last = first + (arg->length >> PAGE_SHIFT) - 1;
	u32 prot = arg->arg;
	void *entry = NULL;
	bool all;
	int ret;

	if (prot != (PVVAS_READ | PVVAS_WRITE))
		entry = xa_mk_value(prot);
	/* All of them can always be taken back, however many there are. */
	all = !entry && arg->length == seg->length;
	ret = all ? 0 : pvvas_quota_ranges(seg, 2);
	if (ret)
		return ret;
	if (!(prot & PVVAS_READ))
		WRITE_ONCE(seg->hides, true);
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
