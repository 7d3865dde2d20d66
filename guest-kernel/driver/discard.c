// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that is given back while the segment stays, as of MADV_DONTNEED.
 *
 * A page leaves the segment first, then what shows it, and is freed last.  An access
 * meanwhile may still find the old page, or makes a new one; the tables are told to
 * refuse both, and the next access asks.
 */
#include <linux/list.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "ept.h"

/*
 * Take out the pages from @index up to @end, of one block; -EAGAIN while the segment
 * is being cloned.  Clones in the making get what they have not got yet.
 */
static int pvvas_discard_take(struct pvvas_seg *mem, pgoff_t index, pgoff_t end,
			      struct page **pages)
{
	XA_STATE(xas, &mem->pages, index);
	struct page *page;
	int n = 0;

	xa_lock_irq(&mem->pages);
	if (mem->changing) {
		xa_unlock_irq(&mem->pages);
		return -EAGAIN;
	}
	xas_for_each(&xas, page, end - 1) {
		if (xas_retry(&xas, page))
			continue;
		/* Others have come after the moment of the clones. */
		if (xas_get_mark(&xas, PVVAS_COW))
			pvvas_clone_keep(mem, xas.xa_index, page);
		xas_store(&xas, NULL);
		pages[n++] = page;
	}
	atomic64_sub((s64)n << PAGE_SHIFT, &mem->resident);
	xa_unlock_irq(&mem->pages);
	pvvas_quota_memory_back(mem->obj.charged, (s64)n << PAGE_SHIFT);
	return n;
}

/* Nothing shows the pages any more when they are freed. */
static int pvvas_discard_block(struct pvvas_seg *mem, pgoff_t index, pgoff_t end,
			       struct page **pages)
{
	int n;

	do {
		if (pvvas_clone_wait(mem))
			return -EINTR;
		n = pvvas_discard_take(mem, index, end, pages);
	} while (n == -EAGAIN);
	if (!n)
		return 0;
	pvvas_faces_refuse(mem, index, end - index, 0);
	while (n--)
		pvvas_page_put(pages[n]);
	return 0;
}

static int pvvas_discard_range(struct pvvas_seg *mem, unsigned long index,
			       pgoff_t end)
{
	struct page **pages;
	pgoff_t next;
	int ret = 0;

	pages = kmalloc_array(PVVAS_BLOCK_PAGES, sizeof(*pages),
			      GFP_KERNEL_ACCOUNT);
	if (!pages)
		return -ENOMEM;
	while (!ret && xa_find(&mem->pages, &index, end - 1, XA_PRESENT)) {
		next = min_t(pgoff_t, end, ALIGN(index + 1, PVVAS_BLOCK_PAGES));
		ret = fatal_signal_pending(current) ? -EINTR :
		      pvvas_discard_block(mem, index, next, pages);
		index = next;
		cond_resched();
	}
	kfree(pages);
	return ret;
}

/*
 * The same of pages behind the segment's end, which no access asks for: its own tables
 * alone may show them, and nothing is to be kept.
 */
void pvvas_pages_forget(struct pvvas_seg *seg, pgoff_t index, pgoff_t end)
{
	struct pvvas_seg *mem = seg->memory;
	unsigned long at = index;
	struct page *page;

	/* Not pvvas_faces_refuse(), for which each face ends where its segment does. */
	pvvas_tree_refuse(seg->tree, pvvas_own(seg, index), end - index, 0);
	while (xa_find(&mem->pages, &at, end - 1, XA_PRESENT)) {
		xa_lock_irq(&mem->pages);
		page = __xa_erase(&mem->pages, at);
		if (page)
			atomic64_sub(PAGE_SIZE, &mem->resident);
		xa_unlock_irq(&mem->pages);
		if (page) {
			pvvas_quota_memory_back(mem->obj.charged, PAGE_SIZE);
			pvvas_page_put(page);
		}
		cond_resched();
	}
}

int pvvas_seg_discard(struct pvvas_ioc_range *arg)
{
	struct pvvas_seg *seg, *mem;
	pgoff_t first;
	int ret;

	if (arg->addr || arg->arg || arg->done)
		return -EINVAL;
	seg = pvvas_seg_hold(arg->seg, PVVAS_READ | PVVAS_WRITE);
	if (IS_ERR(seg))
		return PTR_ERR(seg);
	mem = seg->memory;
	ret = pvvas_range_check(seg, arg);
	if (!ret && mem->pinned)
		ret = -EOPNOTSUPP;
	if (!ret && mem->locked)
		ret = -EINVAL;
	first = pvvas_range_first(seg, arg);
	if (!ret)
		ret = pvvas_discard_range(mem, first,
					  first + (arg->length >> PAGE_SHIFT));
	pvvas_seg_drop(seg);
	return ret;
}
