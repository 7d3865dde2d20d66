// SPDX-License-Identifier: GPL-2.0-only
/*
 * A segment: a fixed range of the window and the pages behind it.
 *
 * A page is given back only after KVM has forgotten it: pages leave with the
 * whole segment, after PVVAS_HC_SEG_DESTROY.
 */
#define pr_fmt(fmt) "pvvas: " fmt

#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "hv.h"

#define PVVAS_BATCH	(PAGE_SIZE / sizeof(struct pvvas_extent))

/* All segments by base, those being created included; under pvvas_lock. */
static LIST_HEAD(pvvas_segs);

/* KVM's id -> segment; its lock is taken with interrupts off. */
static DEFINE_XARRAY_FLAGS(pvvas_segs_by_hv, XA_FLAGS_LOCK_IRQ);

static u64 pvvas_window_end(void)
{
	return PVVAS_WINDOW_VA + pvvas_hv.window_size;
}

static int pvvas_seg_check(const struct pvvas_ioc_create *arg)
{
	if (arg->flags & ~PVVAS_CREATE_POPULATE || arg->mode & ~0777)
		return -EINVAL;
	if (!arg->length || !PAGE_ALIGNED(arg->length | arg->base))
		return -EINVAL;
	if (arg->length > pvvas_window_end() - PVVAS_WINDOW_FIRST)
		return -E2BIG;
	if (arg->base && (arg->base < PVVAS_WINDOW_FIRST ||
			  arg->base > pvvas_window_end() - arg->length))
		return -ERANGE;
	return 0;
}

/* The first hole of all segments that live now; 0 if there is none. */
static u64 pvvas_seg_pick(u64 length)
{
	u64 align = length >= PUD_SIZE ? PUD_SIZE : PVVAS_BLOCK;
	u64 base = PVVAS_WINDOW_FIRST;
	struct pvvas_seg *seg;

	list_for_each_entry(seg, &pvvas_segs, order) {
		if (seg->start >= ALIGN(base + length, PVVAS_BLOCK))
			break;
		if (seg->end > base)
			base = ALIGN(seg->end, align);
	}
	return base <= pvvas_window_end() - length ? base : 0;
}

static int pvvas_seg_place(struct pvvas_seg *seg)
{
	struct pvvas_seg *next;

	if (!seg->base)
		seg->base = pvvas_seg_pick(seg->length);
	if (!seg->base)
		return -ENOSPC;
	seg->start = ALIGN_DOWN(seg->base, PVVAS_BLOCK);
	seg->end = ALIGN(seg->base + seg->length, PVVAS_BLOCK);
	list_for_each_entry(next, &pvvas_segs, order)
		if (next->start > seg->start)
			break;
	list_add_tail(&seg->order, &next->order);
	return 0;
}

static struct page *pvvas_seg_alloc(struct pvvas_seg *seg, gfp_t gfp,
				    unsigned int order)
{
	struct mem_cgroup *old = set_active_memcg(seg->memcg);
	struct page *page;

	page = alloc_pages(gfp | __GFP_ZERO | __GFP_NOWARN | __GFP_ACCOUNT |
			   (order ? __GFP_COMP : 0), order);
	set_active_memcg(old);
	return page;
}

/* Put @page at @index unless there is one; that one, or an ERR_PTR(). */
static struct page *pvvas_seg_store(struct pvvas_seg *seg, pgoff_t index,
				    struct page *page, gfp_t gfp)
{
	unsigned int order = compound_order(page);
	struct page *old;
	unsigned long flags;

	/* Sleeps, if @gfp allows, only where interrupts may be on anyway. */
	if (gfpflags_allow_blocking(gfp)) {
		old = xa_cmpxchg_irq(&seg->pages, index, NULL, page, gfp);
	} else {
		xa_lock_irqsave(&seg->pages, flags);
		old = __xa_cmpxchg(&seg->pages, index, NULL, page, gfp);
		xa_unlock_irqrestore(&seg->pages, flags);
	}
	if (!old) {
		atomic64_add(PAGE_SIZE << order, &seg->resident);
		atomic64_add(1 << order, &pvvas_counts.pages);
		return page;
	}
	__free_pages(page, order);
	return xa_is_err(old) ? ERR_PTR(xa_err(old)) : old;
}

/* KVM's segment has whole blocks; ours may end, or begin, within one. */
static bool pvvas_seg_covers(const struct pvvas_seg *seg, u64 offset)
{
	u64 va = seg->start + offset;

	return va >= seg->base && va - seg->base < seg->length;
}

static struct pvvas_extent pvvas_seg_extent(u64 offset, struct page *page)
{
	return (struct pvvas_extent) {
		.offset = offset,
		.gpa = page_to_phys(page),
		.size = page_size(page),
		.prot = PVVAS_PROT_READ | PVVAS_PROT_WRITE,
	};
}

/*
 * Put a zeroed page behind @offset and tell KVM.  Another CPU may be doing the
 * same: one page wins, and both tell KVM about that one.  A page that KVM
 * refuses stays in the segment, for the next try.  -ERANGE: not a page of it.
 */
int pvvas_seg_fill(struct pvvas_seg *seg, u64 offset, gfp_t gfp,
		   struct pvvas_extent *ext)
{
	pgoff_t index = offset >> PAGE_SHIFT;
	struct page *page = xa_load(&seg->pages, index);
	long ret;

	if (!pvvas_seg_covers(seg, offset))
		return -ERANGE;
	if (!page) {
		page = pvvas_seg_alloc(seg, gfp, 0);
		if (!page)
			return -ENOMEM;
		page = pvvas_seg_store(seg, index, page, gfp);
		if (IS_ERR(page))
			return PTR_ERR(page);
	}
	*ext = pvvas_seg_extent((u64)index << PAGE_SHIFT, page);
	ret = pvvas_hc_seg_map(seg->hv, ext, 1);
	return ret == -EEXIST || ret > 0 ? 0 : ret;
}

/* 2 MiB if they fit and there are any, else a page; the extent of it. */
static int pvvas_seg_grow(struct pvvas_seg *seg, u64 offset, u64 end,
			  struct pvvas_extent *ext)
{
	gfp_t gfp = GFP_KERNEL | __GFP_RETRY_MAYFAIL;
	struct page *page = NULL;

	if (IS_ALIGNED(offset, PMD_SIZE) && end - offset >= PMD_SIZE)
		page = pvvas_seg_alloc(seg, GFP_KERNEL | __GFP_NORETRY,
				       PMD_ORDER);
	if (!page)
		page = pvvas_seg_alloc(seg, gfp, 0);
	if (!page)
		return -ENOMEM;
	page = pvvas_seg_store(seg, offset >> PAGE_SHIFT, page, gfp);
	if (IS_ERR(page))
		return PTR_ERR(page);
	*ext = pvvas_seg_extent(offset, page);
	return 0;
}

/* The hypervisor may stop early, when something is pending for the vCPU. */
static long pvvas_seg_map_all(struct pvvas_seg *seg, struct pvvas_extent *list,
			      u32 n)
{
	long done;

	for (; n; n -= done, list += done) {
		done = pvvas_hc_seg_map(seg->hv, list, n);
		if (done <= 0)
			return done ?: -EIO;
		if (done > n)
			return -EIO;
	}
	return 0;
}

/* All pages now.  The segment is not published yet: nobody else adds any. */
static int pvvas_seg_populate(struct pvvas_seg *seg)
{
	u64 offset = seg->base - seg->start, end = offset + seg->length;
	struct pvvas_extent *list;
	long ret = 0;
	u32 n = 0;

	if (seg->length >> PAGE_SHIFT > totalram_pages())
		return -ENOMEM;
	list = (struct pvvas_extent *)__get_free_page(GFP_KERNEL);
	if (!list)
		return -ENOMEM;
	while (!ret && offset < end) {
		ret = pvvas_seg_grow(seg, offset, end, &list[n]);
		if (ret)
			break;
		offset += list[n++].size;
		if (n == PVVAS_BATCH || offset == end) {
			ret = pvvas_seg_map_all(seg, list, n);
			n = 0;
		}
		if (fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	free_page((unsigned long)list);
	return ret;
}

static int pvvas_seg_make(struct pvvas_seg *seg, u32 flags)
{
	long hv;
	int ret;

	hv = pvvas_hc_seg_create(pvvas_va_to_gpa(seg->start),
				 seg->end - seg->start);
	if (hv <= 0)
		return hv ?: -EIO;
	seg->hv = hv;
	ret = xa_err(xa_store_irq(&pvvas_segs_by_hv, hv, seg, GFP_KERNEL));
	if (!ret && flags & PVVAS_CREATE_POPULATE)
		ret = pvvas_seg_populate(seg);
	return ret;
}

static struct pvvas_seg *pvvas_seg_new(const struct pvvas_ioc_create *arg)
{
	struct pvvas_seg *seg = kzalloc(sizeof(*seg), GFP_KERNEL_ACCOUNT);

	if (!seg)
		return NULL;
	pvvas_object_init(&seg->obj, PVVAS_KIND_SEG, arg->mode);
	seg->base = arg->base;
	seg->length = arg->length;
	INIT_LIST_HEAD(&seg->order);
	xa_init_flags(&seg->pages, XA_FLAGS_LOCK_IRQ);
	seg->memcg = get_mem_cgroup_from_mm(current->mm);
	atomic_inc(&pvvas_counts.segs);
	return seg;
}

int pvvas_seg_create(struct pvvas_ioc_create *arg)
{
	struct pvvas_proc *owner = NULL;
	struct pvvas_seg *seg;
	char *name = NULL;
	int ret;

	ret = pvvas_seg_check(arg);
	if (ret)
		return ret;
	if (arg->name)
		name = pvvas_name_from_user(arg->name);
	else
		owner = pvvas_proc_current();
	if (IS_ERR(name) || IS_ERR(owner))
		return IS_ERR(name) ? PTR_ERR(name) : PTR_ERR(owner);
	seg = pvvas_seg_new(arg);
	if (!seg) {
		kfree(name);
		return -ENOMEM;
	}
	mutex_lock(&pvvas_lock);
	ret = pvvas_seg_place(seg);
	mutex_unlock(&pvvas_lock);

	/* Its range is taken; nobody else can find it. */
	if (!ret)
		ret = pvvas_seg_make(seg, arg->flags);

	mutex_lock(&pvvas_lock);
	if (!ret)
		ret = pvvas_object_publish(&seg->obj, name, owner);
	if (ret) {
		pvvas_object_put(&seg->obj);
	} else {
		arg->id = seg->obj.id;
		arg->base = seg->base;
	}
	mutex_unlock(&pvvas_lock);
	if (ret)
		kfree(name);
	return ret;
}

static void pvvas_seg_free_pages(struct pvvas_seg *seg)
{
	struct page *page;
	unsigned long index;

	xa_for_each(&seg->pages, index, page) {
		unsigned int order = compound_order(page);

		atomic64_sub(1 << order, &pvvas_counts.pages);
		__free_pages(page, order);
		cond_resched();
	}
}

/* The last reference is gone: no view shows it. */
void pvvas_seg_free(struct pvvas_seg *seg)
{
	long ret = 0;

	list_del(&seg->order);
	if (seg->hv) {
		xa_erase_irq(&pvvas_segs_by_hv, seg->hv);
		/* Demand faults run with interrupts off, to their end. */
		while (atomic_read(&seg->faulting))
			cpu_relax();
		ret = pvvas_hc_seg_destroy(seg->hv);
	}
	if (ret < 0)
		pr_err_once("segment %llu stays in the hypervisor (%ld): its pages are not freed\n",
			    seg->hv, ret);
	else
		pvvas_seg_free_pages(seg);
	pvvas_seg_lock_free(seg);
	xa_destroy(&seg->pages);
	mem_cgroup_put(seg->memcg);
	atomic_dec(&pvvas_counts.segs);
	kfree(seg);
}

/*
 * The segment that KVM knows as @hv, for a demand fault: interrupts are off
 * until pvvas_seg_fault_end().  The segment stays as long, even when its last
 * reference goes.
 */
struct pvvas_seg *pvvas_seg_fault_begin(u64 hv)
{
	struct pvvas_seg *seg;
	unsigned long flags;

	xa_lock_irqsave(&pvvas_segs_by_hv, flags);
	seg = xa_load(&pvvas_segs_by_hv, hv);
	if (seg)
		atomic_inc(&seg->faulting);
	xa_unlock_irqrestore(&pvvas_segs_by_hv, flags);
	return seg;
}

void pvvas_seg_fault_end(struct pvvas_seg *seg)
{
	atomic_dec(&seg->faulting);
}

static int pvvas_seg_data_from(struct pvvas_seg *seg, u64 *offset, u64 *length)
{
	u64 delta = seg->base - seg->start, end, from = *offset + delta;
	unsigned long index = from >> PAGE_SHIFT, block;
	struct page *page;

	/* in the middle of a large page, whose entry is its first index */
	block = round_down(index, PMD_SIZE >> PAGE_SHIFT);
	page = xa_load(&seg->pages, block);
	if (page && block + (1UL << compound_order(page)) > index)
		index = block;
	else
		page = xa_find(&seg->pages, &index, ULONG_MAX, XA_PRESENT);
	if (!page)
		return -ENOENT;
	end = (index + (1UL << compound_order(page))) << PAGE_SHIFT;
	from = max_t(u64, from, index << PAGE_SHIFT);
	end = min(end, delta + seg->length);
	if (from >= end)
		return -ENOENT;
	*offset = from - delta;
	*length = end - from;
	return 0;
}

int pvvas_seg_next_data(struct pvvas_ioc_seg_data *arg)
{
	struct pvvas_object *obj;
	struct pvvas_seg *seg;
	int ret;

	mutex_lock(&pvvas_lock);
	obj = pvvas_object_by_id(PVVAS_KIND_SEG, arg->seg);
	seg = obj ? container_of(obj, struct pvvas_seg, obj) : NULL;
	if (!seg || arg->offset >= seg->length)
		ret = -ENOENT;
	else if (!(pvvas_object_rights(obj) & PVVAS_READ))
		ret = -EACCES;
	else
		ret = pvvas_seg_data_from(seg, &arg->offset, &arg->length);
	mutex_unlock(&pvvas_lock);
	return ret;
}
