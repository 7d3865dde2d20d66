// SPDX-License-Identifier: GPL-2.0-only
/*
 * All pages of a segment at once, when it is made or grows: new ones, or those of a
 * file of hugetlbfs.  No other thread adds any there: the segment is not published yet,
 * or the range does not belong to it yet.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include "compat.h"
#include "ept.h"

/* All pages now from @index up to @end, which may be beyond what accesses reach. */
int pvvas_pages_populate(struct pvvas_seg *seg, pgoff_t index, pgoff_t end)
{
	long done = 0;

	if (end - index > totalram_pages())
		return -ENOMEM;
	while (index < end) {
		pvvas_clone_wait(seg->memory);
		done = fatal_signal_pending(current) ? -EINTR :
		       pvvas_page_populate(seg, index, end - 1);
		/* What is there already may be cloned. */
		if (done == -EINPROGRESS)
			done = 0;
		if (done < 0)
			break;
		index += done;
		cond_resched();
	}
	return min(done, 0L);
}

/* A block of hugetlbfs, which lies in one piece. */
static int pvvas_block_pin(struct pvvas_seg *seg, u64 at, u64 addr,
			   struct page **pages)
{
	pgoff_t first = at >> PAGE_SHIFT;
	int i, n, ret = 0;

	n = pin_user_pages_fast(addr, PTRS_PER_PMD, FOLL_WRITE | FOLL_LONGTERM,
				pages);
	if (n < 0)
		return n;
	if (n != PTRS_PER_PMD || !PageHuge(pages[0]) ||
	    !IS_ALIGNED(page_to_pfn(pages[0]), PTRS_PER_PMD) ||
	    page_to_pfn(pages[n - 1]) != page_to_pfn(pages[0]) + n - 1)
		ret = -EINVAL;
	for (i = 0; i < n; i++) {
		ret = ret ?: pvvas_page_store(seg, first + i, pages[i],
					      GFP_KERNEL);
		if (ret)
			unpin_user_page(pages[i]);
	}
	return ret ?: pvvas_tree_prepare_block(seg->tree, first, GFP_KERNEL) ?:
	       pvvas_tree_set_block(seg->tree, first, pages[0]);
}

/*
 * The kernel exports no way to take pages of hugetlbfs, but a process that has mapped
 * them can share them.  The pool gets them back when they are unpinned.  The segment
 * is not published yet.
 */
int pvvas_pages_pin(struct pvvas_seg *seg, u64 addr)
{
	struct page **pages;
	int ret = 0;
	u64 at;

	pages = kvmalloc_array(PTRS_PER_PMD, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	seg->pinned = true;
	for (at = 0; at < seg->length && !ret; at += PVVAS_BLOCK) {
		ret = pvvas_block_pin(seg, at, addr + at, pages);
		if (fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	kvfree(pages);
	return ret;
}
