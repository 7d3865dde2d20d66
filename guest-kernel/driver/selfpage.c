// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that do not come from an access: ahead of it, or from the program that
 * pages a segment itself.  And what has become of a segment, in numbers.
 */
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "hv.h"
#include "refused.h"

/* @some does pages from @at on: how many bytes, or -errno. */
static int pvvas_range_each(struct pvvas_ioc_range *arg,
			    long (*some)(struct pvvas_seg *seg, u64 at,
					 struct pvvas_ioc_range *arg))
{
	struct pvvas_seg *seg;
	long done = 0;
	u64 at;
	int ret;

	if (arg->arg || arg->done)
		return -EINVAL;
	seg = pvvas_seg_hold(arg->seg, PVVAS_READ | PVVAS_WRITE);
	if (IS_ERR(seg))
		return PTR_ERR(seg);
	ret = pvvas_range_check(seg, arg);
	for (at = 0; at < arg->length && !ret; at += done) {
		done = fatal_signal_pending(current) ? -EINTR :
		       some(seg, at, arg);
		ret = min(done, 0L);
		cond_resched();
	}
	pvvas_seg_drop(seg);
	return ret;
}

/* One page, or as many as come with it within the range. */
static long pvvas_populate_some(struct pvvas_seg *seg, u64 at,
				struct pvvas_ioc_range *arg)
{
	pgoff_t from = pvvas_range_first(seg, arg);
	pgoff_t index = from + (at >> PAGE_SHIFT);
	long ret;

	do {
		pvvas_clone_wait(seg->memory);
		ret = pvvas_page_populate(seg, index, from + (arg->length >>
					  PAGE_SHIFT) - 1);
	} while (ret == -EINPROGRESS && !fatal_signal_pending(current));
	return ret < 0 ? ret : ret << PAGE_SHIFT;
}

int pvvas_seg_populate(struct pvvas_ioc_range *arg)
{
	if (arg->addr)
		return -EINVAL;
	return pvvas_range_each(arg, pvvas_populate_some);
}

static int pvvas_fill_page(struct pvvas_seg *mem, pgoff_t index,
			   const char __user *data, gfp_t gfp)
{
	struct page *page = pvvas_page_alloc(mem, index, gfp, 0);
	int ret = 0;

	if (!page)
		return -ENOMEM;
	if (copy_from_user(page_address(page), data, PAGE_SIZE))
		ret = -EFAULT;
	if (!ret)
		ret = pvvas_page_store(mem, index, page, gfp);
	if (ret)
		pvvas_page_put(page);
	return ret;
}

/* An extent where nothing is, or one page, which stays if it is there. */
static long pvvas_fill_some(struct pvvas_seg *seg, u64 at,
			    struct pvvas_ioc_range *arg)
{
	pgoff_t from = pvvas_range_first(seg, arg);
	pgoff_t index = from + (at >> PAGE_SHIFT);
	pgoff_t last = from + (arg->length >> PAGE_SHIFT) - 1;
	const char __user *data = u64_to_user_ptr(arg->addr + at);
	gfp_t gfp = GFP_KERNEL | __GFP_RETRY_MAYFAIL;
	struct mem_cgroup *old;
	long n;

	if (pvvas_clone_wait(seg->memory))
		return -EINTR;
	old = set_active_memcg(seg->memory->memcg);
	n = pvvas_extent_place(seg, index, last, data, gfp);
	set_active_memcg(old);
	if (n < 0) {
		n = pvvas_fill_page(seg->memory, index, data, gfp);
		if (n && n != -EEXIST) {
			pvvas_memory_refused(seg->memory, n);
			return n;
		}
		n = !n;
		arg->done += n;
		return PAGE_SIZE;
	}
	arg->done += n;
	return n << PAGE_SHIFT;
}

int pvvas_seg_fill(struct pvvas_ioc_range *arg)
{
	return pvvas_range_each(arg, pvvas_fill_some);
}

int pvvas_seg_pager(struct pvvas_ioc_seg_pager *arg)
{
	struct pvvas_seg *seg;
	struct pvvas_seg *mem;
	bool zeroes;

	if (arg->on > 1 || arg->reserved)
		return -EINVAL;
	seg = pvvas_seg_hold(arg->seg, PVVAS_READ | PVVAS_WRITE);
	if (IS_ERR(seg))
		return PTR_ERR(seg);
	if (pvvas_seg_is_part(seg)) {
		pvvas_seg_drop(seg);
		return -EINVAL;
	}
	mem = seg->memory;
	xa_lock_irq(&mem->pages);
	mem->pager = arg->on;
	zeroes = mem->zeroes;
	xa_unlock_irq(&mem->pages);
	/* Readers saw zeroes where the pager is to be asked from now on. */
	if (arg->on && zeroes)
		pvvas_faces_refuse(mem, pvvas_first(mem), mem->length >> PAGE_SHIFT,
				   0);
	pvvas_seg_drop(seg);
	return 0;
}

/* Of the pages of a segment that has some of them alone. */
static u64 pvvas_colors_seen(struct pvvas_seg *mem)
{
	unsigned long index;
	struct page *page;
	u64 seen = 0;

	if (!mem->colors)
		return 0;
	/* Pages that go meanwhile tell of their number all the same. */
	xa_for_each(&mem->pages, index, page) {
		seen |= BIT_ULL(page_to_pfn(page) % BITS_PER_TYPE(u64));
		cond_resched();
	}
	return seen;
}

int pvvas_seg_stat(struct pvvas_ioc_seg_stat *arg)
{
	struct pvvas_seg *seg = pvvas_seg_hold(arg->seg, PVVAS_READ);
	unsigned long index, seen = 0;
	struct page *page;

	if (IS_ERR(seg))
		return PTR_ERR(seg);
	arg->resident = atomic64_read(&seg->memory->resident);
	arg->shared = 0;
	xa_lock_irq(&seg->memory->pages);
	xa_for_each_marked(&seg->memory->pages, index, page, PVVAS_COW) {
		if (page_ref_count(page) > 1)
			arg->shared += PAGE_SIZE;
		if (!(++seen % 1024)) {
			xa_unlock_irq(&seg->memory->pages);
			cond_resched();
			xa_lock_irq(&seg->memory->pages);
		}
	}
	xa_unlock_irq(&seg->memory->pages);
	arg->faults = atomic64_read(&seg->faults);
	arg->copied = atomic64_read(&seg->memory->copied);
	arg->refused = atomic64_read(&seg->refused);
	arg->colors = pvvas_colors_seen(seg->memory);
	pvvas_seg_drop(seg);
	return 0;
}
