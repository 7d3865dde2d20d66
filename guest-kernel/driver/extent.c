// SPDX-License-Identifier: GPL-2.0-only
/*
 * More than the page that is asked for: 2 MiB, where they fit and are to be had
 * without effort, else 64 KiB or more.
 *
 * A touch brings more where pages are touched one after the other, and no more than lie
 * behind it: anonymous memory has 2 MiB from the beginning, and pays for 512 pages where
 * one is used.  What is
 * asked for as a range, or with PVVAS_CREATE_HUGE, comes as large as it fits.
 *
 * The pages of an extent are stored under the lock of the segment's pages at once,
 * and so are their entries in the tables: one demand fault serves them all.  From
 * then on they are single pages.  An extent ends where the segment does, and there
 * is none where each page counts: in a segment of small pages, with a pager, while
 * it is known which pages are written or accessed, and beside protected or existing pages.
 *
 * Whatever an extent fails for (memory, the limit of a cgroup, a quota), a smaller
 * one or the page alone may succeed: that is tried next, and its error counts.
 *
 * Pages that come with their content (PVVAS_IOC_SEG_FILL) are read from the caller
 * before they are stored, and are written from the beginning: then a pager and the
 * telling of written pages are no reason to take them one by one.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>
#include "compat.h"
#include "ept.h"

/* Without reclaim: one page is all that has to be there. */
#define PVVAS_GFP_LIGHT		(__GFP_NOMEMALLOC | __GFP_NOWARN)

#define PVVAS_AROUND_ORDER	4
#define PVVAS_AROUND		(1U << PVVAS_AROUND_ORDER)

/**
 * struct pvvas_extent - pages of a segment that come at once
 * @first: number of the first one; @nr: how many
 * @data: what they are filled with; NULL: zeroes
 * @run: the pages, where they lie in one piece; else NULL
 * @pages: else each of them
 */
struct pvvas_extent {
	struct pvvas_seg *seg;
	pgoff_t first;
	u32 nr;
	const char __user *data;
	struct page *run;
	struct page *pages[PVVAS_AROUND];
};

static struct page *pvvas_extent_page(const struct pvvas_extent *ext, u32 i)
{
	return ext->run ? ext->run + i : ext->pages[i];
}

/* Does a touch bring more than its page? */
static bool pvvas_extent_wanted(const struct pvvas_seg *mem)
{
	return !mem->small && !mem->pager && !mem->tracking && !mem->ageing;
}

/* Nothing is there yet, and nothing is decided page by page. */
static bool pvvas_extent_free(const struct pvvas_extent *ext)
{
	struct pvvas_seg *mem = ext->seg->memory;
	unsigned long last = ext->first + ext->nr - 1;
	unsigned long rule = pvvas_own(ext->seg, ext->first), page = ext->first;

	return (ext->data || pvvas_extent_wanted(mem)) &&
	       !mt_find(&ext->seg->prot, &rule, pvvas_own(ext->seg, last)) &&
	       !xa_find(&mem->pages, &page, last, XA_PRESENT);
}

static void pvvas_extent_put(const struct pvvas_extent *ext, u32 nr)
{
	while (nr--)
		pvvas_page_put(pvvas_extent_page(ext, nr));
}

/* In one piece if that can be had; -ENOMEM. */
static int pvvas_extent_alloc(struct pvvas_extent *ext, unsigned int order,
			      gfp_t gfp)
{
	struct pvvas_seg *mem = ext->seg->memory;
	u32 i;

	if (!ext->data)
		gfp |= __GFP_ZERO;
	if (ext->nr == 1U << order)
		ext->run = pvvas_page_alloc(mem, ext->first, gfp, order);
	if (ext->run)
		return 0;
	if (ext->nr > PVVAS_AROUND)
		return -ENOMEM;
	for (i = 0; i < ext->nr; i++) {
		ext->pages[i] = pvvas_page_alloc(mem, ext->first + i, gfp, 0);
		if (!ext->pages[i]) {
			pvvas_extent_put(ext, i);
			return -ENOMEM;
		}
	}
	return 0;
}

/*
 * -EFAULT: not all of it could be read.  For what that makes the caller's memory
 * need, page tables for one, the caller pays.
 */
static int pvvas_extent_read(const struct pvvas_extent *ext)
{
	struct mem_cgroup *old = set_active_memcg(NULL);
	u32 step = ext->run ? ext->nr : 1, i;
	int ret = 0;

	for (i = 0; !ret && i < ext->nr; i += step)
		if (copy_from_user(page_address(pvvas_extent_page(ext, i)),
				   ext->data + ((size_t)i << PAGE_SHIFT),
				   (size_t)step << PAGE_SHIFT))
			ret = -EFAULT;
	set_active_memcg(old);
	return ret;
}

/* All, or none; with the pages' lock. */
static int pvvas_extent_store(const struct pvvas_extent *ext)
{
	struct pvvas_seg *mem = ext->seg->memory;
	s64 bytes = (s64)ext->nr << PAGE_SHIFT;
	XA_STATE(xas, &mem->pages, ext->first);
	int ret;
	u32 i;

	ret = pvvas_quota_memory(mem->obj.charged, mem->obj.free, bytes);
	if (ret)
		return ret;
	for (i = 0; i < ext->nr; i++) {
		xas_store(&xas, pvvas_extent_page(ext, i));
		ret = xas_error(&xas);
		if (ret)
			break;
		xas_next(&xas);
	}
	if (!ret) {
		atomic64_add(bytes, &mem->resident);
		if (mem->reclaim)
			pvvas_reclaim_grown(mem);
		return 0;
	}
	while (i--)
		__xa_erase(&mem->pages, ext->first + i);
	pvvas_quota_memory_back(mem->obj.charged, bytes);
	return ret;
}

/* With the pages' lock.  For what cannot be shown here the next access asks. */
static void pvvas_extent_show(const struct pvvas_extent *ext)
{
	pgoff_t first = pvvas_own(ext->seg, ext->first);
	struct pvvas_tree *tree = ext->seg->tree;
	u32 i;

	if (ext->nr != PVVAS_BLOCK_PAGES) {
		pvvas_tree_set_pages(tree, first, ext->run, ext->pages,
				     ext->nr);
		return;
	}
	/* A table for single pages may have to stay. */
	if (pvvas_tree_set_block(tree, first, ext->run))
		for (i = 0; i < ext->nr; i++)
			pvvas_tree_set(tree, first + i, ext->run + i, PVVAS_RW);
}

/* The pages from @first to @last, as 2^@order ones if they are as many. */
static int pvvas_extent_try(struct pvvas_seg *seg, pgoff_t first, pgoff_t last,
			    const char __user *data, unsigned int order,
			    gfp_t gfp)
{
	struct pvvas_extent ext = { .seg = seg, .first = first,
				    .nr = last - first + 1, .data = data };
	struct pvvas_seg *mem = seg->memory;
	unsigned long flags;
	int ret;

	if (ext.nr == 1 || !pvvas_extent_free(&ext))
		return -EBUSY;
	ret = order == PMD_ORDER ?
	      pvvas_tree_prepare_block(seg->tree, pvvas_own(seg, first), gfp) :
	      pvvas_tree_prepare(seg->tree, pvvas_own(seg, first), gfp);
	if (!ret)
		ret = pvvas_extent_alloc(&ext, order, gfp);
	if (ret)
		return ret;
	if (data)
		ret = pvvas_extent_read(&ext);
	xa_lock_irqsave(&mem->pages, flags);
	if (!ret)
		ret = mem->changing || !pvvas_extent_free(&ext) ? -EBUSY : 0;
	if (!ret) {
		pvvas_zeroes_hide(mem, first, ext.nr);
		ret = pvvas_extent_store(&ext);
	}
	if (!ret)
		pvvas_extent_show(&ext);
	xa_unlock_irqrestore(&mem->pages, flags);
	if (ret)
		pvvas_extent_put(&ext, ext.nr);
	return ret;
}

/* 2^@order pages around @index, of those from @from to @to: @order, or -errno. */
static int pvvas_extent_around(struct pvvas_seg *seg, pgoff_t index,
			       pgoff_t from, pgoff_t to, unsigned int order)
{
	pgoff_t first = round_down(index, 1UL << order);
	int ret = pvvas_extent_try(seg, max(from, first),
				   min(to, first + (1UL << order) - 1), NULL,
				   order, PVVAS_GFP_LIGHT);

	return ret ?: order;
}

/*
 * Pages around @index, of those from @from to @to, which are within the segment.
 * The order of the extent, all pages of which are there now and shown with all
 * rights; or -errno: the page alone, then.  -EAGAIN: 2 MiB are worth an effort, with
 * @gfp that may block.
 */
int pvvas_extent_fill(struct pvvas_seg *seg, pgoff_t index, pgoff_t from,
		      pgoff_t to, gfp_t gfp)
{
	bool effort = seg->memory->huge && gfpflags_allow_blocking(gfp);
	pgoff_t first = round_down(index, PVVAS_BLOCK_PAGES);
	pgoff_t last = first + PVVAS_BLOCK_PAGES - 1;
	int ret = -EBUSY;

	if (first >= from && last <= to)
		ret = pvvas_extent_try(seg, first, last, NULL, PMD_ORDER, effort ?
				       gfp | __GFP_NORETRY : PVVAS_GFP_LIGHT);
	if (!ret)
		return PMD_ORDER;
	/* The kernel's accesses cannot wait. */
	if (ret == -ENOMEM && seg->memory->huge && !effort &&
	    !(gfp & __GFP_HIGH))
		return -EAGAIN;
	return pvvas_extent_around(seg, index, from, to, PVVAS_AROUND_ORDER);
}

/* Of an extent from @index on: twice as large as the one before it, if that is there. */
static unsigned int pvvas_extent_order(struct xarray *pages, pgoff_t index,
				       pgoff_t from)
{
	unsigned int order = PVVAS_AROUND_ORDER;
	unsigned long nr = 2UL << order;

	while (order + 1 < PMD_ORDER && IS_ALIGNED(index, nr) &&
	       index >= from + nr && xa_load(pages, index - nr)) {
		order++;
		nr *= 2;
	}
	return order;
}

/*
 * Put @data, for the pages from @index up to @to, where no page is: as many pages as
 * come at once, or -errno; -EBUSY: the page alone, then.
 */
long pvvas_extent_place(struct pvvas_seg *seg, pgoff_t index, pgoff_t to,
			const char __user *data, gfp_t gfp)
{
	pgoff_t last = index + PVVAS_BLOCK_PAGES - 1;
	int ret = -EBUSY;

	if (IS_ALIGNED(index, PVVAS_BLOCK_PAGES) && last <= to &&
	    !seg->memory->small)
		ret = pvvas_extent_try(seg, index, last, data, PMD_ORDER,
				       PVVAS_GFP_LIGHT);
	if (ret && ret != -EFAULT) {
		last = min(to, round_down(index, PVVAS_AROUND) +
			   PVVAS_AROUND - 1);
		ret = pvvas_extent_try(seg, index, last, data,
				       PVVAS_AROUND_ORDER, gfp);
	}
	return ret ?: last - index + 1;
}

/*
 * A touch of page @index, where no page is: what comes with it, or -errno, as above.
 * Two pages before it, or behind it, are there where pages are touched in order.
 */
int pvvas_extent_touch(struct pvvas_seg *seg, pgoff_t index, gfp_t gfp)
{
	pgoff_t from = pvvas_first(seg), to = pvvas_end(seg) - 1;
	struct xarray *pages = &seg->memory->pages;
	int ret = -EBUSY;

	if (!pvvas_extent_wanted(seg->memory))
		return ret;
	if (seg->memory->huge)
		return pvvas_extent_fill(seg, index, from, to, gfp);
	if (index >= from + 2 && xa_load(pages, index - 1) &&
	    xa_load(pages, index - 2)) {
		if (!IS_ALIGNED(index, PVVAS_BLOCK_PAGES))
			ret = pvvas_extent_around(seg, index, index, to,
				pvvas_extent_order(pages, index, from));
		return ret >= 0 ? ret :
		       pvvas_extent_fill(seg, index, index, to, gfp);
	}
	if (index + 2 <= to && xa_load(pages, index + 1) &&
	    xa_load(pages, index + 2))
		return pvvas_extent_fill(seg, index, from, index, gfp);
	return -EBUSY;
}
