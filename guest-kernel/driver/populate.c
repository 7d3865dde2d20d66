// SPDX-License-Identifier: GPL-2.0-only
/*
 * All pages of a segment at once, when it is made: new ones, or those of a file
 * of hugetlbfs.  The segment is not published yet: nobody else adds any.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include "compat.h"
#include "hv.h"

/* 2 MiB if they fit and there are any, else a page; the extent of it. */
static int pvvas_pages_grow(struct pvvas_seg *seg, u64 offset, u64 end,
			    struct pvvas_extent *ext)
{
	gfp_t gfp = GFP_KERNEL | __GFP_RETRY_MAYFAIL;
	pgoff_t index = offset >> PAGE_SHIFT;
	unsigned int order = 0, i;
	struct page *page = NULL;
	int ret = 0;

	if (IS_ALIGNED(offset, PMD_SIZE) && end - offset >= PMD_SIZE) {
		order = PMD_ORDER;
		page = pvvas_page_alloc(seg, GFP_KERNEL | __GFP_NORETRY, order);
	}
	if (!page) {
		order = 0;
		page = pvvas_page_alloc(seg, gfp, order);
	}
	if (!page)
		return -ENOMEM;
	for (i = 0; i < 1U << order; i++) {
		ret = ret ?: pvvas_page_store(seg, index + i, page + i, gfp);
		if (ret)
			pvvas_page_put(page + i);
	}
	*ext = (struct pvvas_extent) {
		.offset = offset,
		.gpa = page_to_phys(page),
		.size = PAGE_SIZE << order,
		.prot = PVVAS_RW,
	};
	return ret;
}

/* All pages now.  The segment is not published yet: nobody else adds any. */
int pvvas_pages_populate(struct pvvas_seg *seg)
{
	u64 offset = seg->base - seg->start, end = offset + seg->length;
	struct pvvas_extent *list;
	int ret = 0;
	u32 n = 0;

	if (seg->length >> PAGE_SHIFT > totalram_pages())
		return -ENOMEM;
	list = (struct pvvas_extent *)__get_free_page(GFP_KERNEL);
	if (!list)
		return -ENOMEM;
	while (!ret && offset < end) {
		ret = pvvas_pages_grow(seg, offset, end, &list[n]);
		if (ret)
			break;
		offset += list[n++].size;
		if (n == PVVAS_BATCH || offset == end) {
			ret = pvvas_rows(seg, pvvas_hc_seg_map, list, n);
			n = 0;
		}
		if (fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	free_page((unsigned long)list);
	return ret;
}

/* A block of hugetlbfs, which lies in one piece. */
static int pvvas_block_pin(struct pvvas_seg *seg, u64 at, u64 addr,
			   struct page **pages)
{
	struct pvvas_extent *row = &seg->row;
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
	if (ret)
		return ret;
	*row = (struct pvvas_extent) {
		.offset = at,
		.gpa = page_to_phys(pages[0]),
		.size = PVVAS_BLOCK,
		.prot = PVVAS_RW,
	};
	return pvvas_rows(seg, pvvas_hc_seg_map, row, 1);
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
