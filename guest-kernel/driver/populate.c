// SPDX-License-Identifier: GPL-2.0-only
/*
 * All pages of a segment at once, when it is made: new ones, or those of a file
 * of hugetlbfs.  The segment is not published yet: nobody else adds any.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include "compat.h"
#include "ept.h"

/* 2 MiB if they fit and there are any, else a page; its pages, or -errno. */
static long pvvas_pages_grow(struct pvvas_seg *seg, u64 offset, u64 end)
{
	gfp_t gfp = GFP_KERNEL | __GFP_RETRY_MAYFAIL;
	pgoff_t index = offset >> PAGE_SHIFT;
	unsigned int order = 0, i;
	struct page *page = NULL;
	int ret = 0;

	if (IS_ALIGNED(offset, PMD_SIZE) && end - offset >= PMD_SIZE &&
	    !pvvas_tree_prepare_block(seg->tree, index, gfp)) {
		order = PMD_ORDER;
		page = pvvas_page_alloc(seg, GFP_KERNEL | __GFP_NORETRY, order);
	}
	if (!page) {
		order = 0;
		ret = pvvas_tree_prepare(seg->tree, index, gfp);
		if (ret)
			return ret;
		page = pvvas_page_alloc(seg, gfp, order);
	}
	if (!page)
		return -ENOMEM;
	for (i = 0; i < 1U << order; i++) {
		ret = ret ?: pvvas_page_store(seg, index + i, page + i, gfp);
		if (ret)
			pvvas_page_put(page + i);
	}
	if (!ret)
		ret = order ? pvvas_tree_set_block(seg->tree, index, page) :
			      pvvas_tree_set(seg->tree, index, page, PVVAS_RW);
	return ret ?: 1L << order;
}

/* All pages now. */
int pvvas_pages_populate(struct pvvas_seg *seg)
{
	u64 offset = seg->base - seg->start, end = offset + seg->length;
	struct mem_cgroup *old;
	long done = 0;

	if (seg->length >> PAGE_SHIFT > totalram_pages())
		return -ENOMEM;
	old = set_active_memcg(seg->memcg);
	while (offset < end) {
		done = fatal_signal_pending(current) ? -EINTR :
		       pvvas_pages_grow(seg, offset, end);
		if (done < 0)
			break;
		offset += (u64)done << PAGE_SHIFT;
		cond_resched();
	}
	set_active_memcg(old);
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
 * The kernel exports no way to take pages of hugetlbfs; but who has them mapped
 * can share them.  The pool gets them back when they are unpinned.  The segment
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
