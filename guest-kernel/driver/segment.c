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
#include "compat.h"
#include "hv.h"

#define PVVAS_BATCH	(PAGE_SIZE / sizeof(struct pvvas_extent))
#define PVVAS_BLOCK_PAGES	(PVVAS_BLOCK >> PAGE_SHIFT)

/* All segments by base, those being created included; under pvvas_lock. */
static LIST_HEAD(pvvas_segs);

/* KVM's id -> segment; its lock is taken with interrupts off. */
static DEFINE_XARRAY_FLAGS(pvvas_segs_by_hv, XA_FLAGS_LOCK_IRQ);

static u64 pvvas_window_end(void)
{
	return PVVAS_WINDOW_VA + pvvas_hv.window_size;
}

#define PVVAS_CREATE_ALL	(PVVAS_CREATE_POPULATE | PVVAS_CREATE_HUGE | \
				 PVVAS_CREATE_NODE | PVVAS_CREATE_LOCK | \
				 PVVAS_CREATE_DUMP)

/* As mlock(2).  Pages of segments are never moved or swapped anyway. */
static bool pvvas_may_lock(u64 length)
{
	return length <= rlimit(RLIMIT_MEMLOCK) || capable(CAP_IPC_LOCK);
}

static int pvvas_seg_check(const struct pvvas_ioc_create *arg)
{
	if (arg->flags & ~PVVAS_CREATE_ALL || arg->mode & ~0777 ||
	    arg->reserved)
		return -EINVAL;
	if (arg->flags & PVVAS_CREATE_NODE ?
	    arg->node < 0 || arg->node >= nr_node_ids ||
	    !node_state(arg->node, N_MEMORY) : arg->node)
		return -EINVAL;
	if (arg->flags & PVVAS_CREATE_LOCK && !pvvas_may_lock(arg->length))
		return -EPERM;
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
	s64 bytes = PAGE_SIZE << order;
	struct mem_cgroup *old;
	struct page *page;
	int ret;

	ret = pvvas_quota_memory(seg->obj.charged, seg->obj.free, bytes);
	if (ret)
		return ERR_PTR(ret);
	old = set_active_memcg(seg->memcg);
	page = alloc_pages_node(seg->node, gfp | __GFP_ZERO | __GFP_NOWARN |
				__GFP_ACCOUNT | (order ? __GFP_COMP : 0),
				order);
	set_active_memcg(old);
	if (page)
		return page;
	pvvas_quota_memory_back(seg->obj.charged, bytes);
	return ERR_PTR(-ENOMEM);
}

static void pvvas_seg_free_page(struct pvvas_seg *seg, struct page *page)
{
	unsigned int order = compound_order(page);

	pvvas_quota_memory_back(seg->obj.charged, PAGE_SIZE << order);
	__free_pages(page, order);
}

/* What is behind @index: it may be the middle of a large page.  Lock or RCU. */
struct page *pvvas_seg_page(struct pvvas_seg *seg, pgoff_t index)
{
	struct page *page = xa_load(&seg->pages, index);

	if (page)
		return page;
	page = xa_load(&seg->pages, round_down(index, PVVAS_BLOCK_PAGES));
	return page && compound_order(page) ? page : NULL;
}

/* Is there any page where one of this order would be? */
static struct page *pvvas_seg_taken(struct pvvas_seg *seg, pgoff_t index,
				    unsigned int order)
{
	unsigned long at = index;

	if (!order)
		return pvvas_seg_page(seg, index);
	return xa_find(&seg->pages, &at, index + (1UL << order) - 1,
		       XA_PRESENT);
}

/*
 * Put @page at @index unless something is there; that, or an ERR_PTR().  The
 * lock is kept throughout: the array's own memory is never waited for.
 */
static struct page *pvvas_seg_store(struct pvvas_seg *seg, pgoff_t index,
				    struct page *page)
{
	unsigned int order = compound_order(page);
	struct page *old;
	unsigned long flags;
	int ret = 0;

	xa_lock_irqsave(&seg->pages, flags);
	old = pvvas_seg_taken(seg, index, order);
	if (!old)
		ret = xa_err(__xa_store(&seg->pages, index, page,
					GFP_ATOMIC | __GFP_NOWARN));
	xa_unlock_irqrestore(&seg->pages, flags);
	if (!old && !ret) {
		atomic64_add(PAGE_SIZE << order, &seg->resident);
		atomic64_add(1 << order, &pvvas_counts.pages);
		return page;
	}
	pvvas_seg_free_page(seg, page);
	return ret ? ERR_PTR(ret) : old;
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

/* A page, and the offset at which it belongs. */
static struct page *pvvas_seg_new_page(struct pvvas_seg *seg, u64 *offset,
				       unsigned int order, gfp_t gfp)
{
	struct page *page = pvvas_seg_alloc(seg, gfp, order);

	if (IS_ERR(page))
		return page;
	if (order)
		*offset = ALIGN_DOWN(*offset, PAGE_SIZE << order);
	return pvvas_seg_store(seg, *offset >> PAGE_SHIFT, page);
}

/* A whole block of the segment, and nothing in it yet. */
static bool pvvas_seg_block_free(struct pvvas_seg *seg, u64 offset)
{
	u64 block = ALIGN_DOWN(offset, PVVAS_BLOCK);

	return pvvas_seg_covers(seg, block) &&
	       pvvas_seg_covers(seg, block + PVVAS_BLOCK - PAGE_SIZE) &&
	       !pvvas_seg_taken(seg, block >> PAGE_SHIFT, PMD_ORDER);
}

/* The page behind @offset, with its own offset, new if there was none. */
static struct page *pvvas_seg_get(struct pvvas_seg *seg, u64 *offset, gfp_t gfp)
{
	struct page *page = NULL;

	rcu_read_lock();
	page = pvvas_seg_page(seg, *offset >> PAGE_SHIFT);
	rcu_read_unlock();
	if (!page && seg->huge && pvvas_seg_block_free(seg, *offset)) {
		page = pvvas_seg_new_page(seg, offset, PMD_ORDER,
					  gfp | __GFP_NORETRY);
		if (!IS_ERR(page) && compound_order(page))
			return page;
		page = NULL;
	}
	if (!page)
		page = pvvas_seg_new_page(seg, offset, 0, gfp);
	if (!IS_ERR(page) && compound_order(page))
		*offset = ALIGN_DOWN(*offset, page_size(page));
	return page;
}

/*
 * Put a zeroed page behind @offset and tell KVM.  Another CPU may be doing the
 * same: one page wins, and both tell KVM about that one.  A page that KVM
 * refuses stays in the segment, for the next try.  -ERANGE: not a page of it.
 */
int pvvas_seg_fill(struct pvvas_seg *seg, u64 offset, gfp_t gfp,
		   struct pvvas_extent *ext)
{
	struct page *page;
	long ret;

	if (!pvvas_seg_covers(seg, offset))
		return -ERANGE;
	page = pvvas_seg_get(seg, &offset, gfp);
	if (IS_ERR(page))
		return PTR_ERR(page);
	*ext = pvvas_seg_extent(offset, page);
	ret = pvvas_hc_seg_map(seg->hv, ext, 1);
	return ret == -EEXIST || ret > 0 ? 0 : ret;
}

/* For the kernel: bytes done, in one page, or an error. */
static int pvvas_seg_copy_page(struct pvvas_seg *seg, u64 offset, void *buf,
			       int len, bool write, struct pvvas_extent *ext)
{
	u32 in_page = offset_in_page(offset);
	struct page *page;
	void *at;
	int ret;

	len = min_t(int, len, PAGE_SIZE - in_page);
	page = pvvas_seg_page(seg, offset >> PAGE_SHIFT);
	if (!page && !write) {
		memset(buf, 0, len);
		return len;
	}
	if (!page) {
		ret = pvvas_seg_fill(seg, offset - in_page, GFP_KERNEL, ext);
		if (ret)
			return ret;
		page = pvvas_seg_page(seg, offset >> PAGE_SHIFT);
	}
	at = page_address(page) + (offset & (page_size(page) - 1));
	if (write)
		memcpy(at, buf, len);
	else
		memcpy(buf, at, len);
	return len;
}

/* @offset from the base; bytes done, or an error.  pvvas_lock is held. */
int pvvas_seg_copy(struct pvvas_seg *seg, u64 offset, void *buf, int len,
		   bool write)
{
	struct pvvas_extent *ext = kmalloc(sizeof(*ext), GFP_KERNEL);
	int done = 0, ret = 0;

	if (!ext)
		return -ENOMEM;
	len = min_t(u64, len, seg->length - offset);
	offset += seg->base - seg->start;
	while (done < len && ret >= 0) {
		ret = pvvas_seg_copy_page(seg, offset + done, buf + done,
					  len - done, write, ext);
		done += max(ret, 0);
	}
	kfree(ext);
	return done ?: ret;
}

/* 2 MiB if they fit and there are any, else a page; the extent of it. */
static int pvvas_seg_grow(struct pvvas_seg *seg, u64 offset, u64 end,
			  struct pvvas_extent *ext)
{
	gfp_t gfp = GFP_KERNEL | __GFP_RETRY_MAYFAIL;
	struct page *page = ERR_PTR(-ENOMEM);

	if (IS_ALIGNED(offset, PMD_SIZE) && end - offset >= PMD_SIZE)
		page = pvvas_seg_alloc(seg, GFP_KERNEL | __GFP_NORETRY,
				       PMD_ORDER);
	if (IS_ERR(page))
		page = pvvas_seg_alloc(seg, gfp, 0);
	if (IS_ERR(page))
		return PTR_ERR(page);
	page = pvvas_seg_store(seg, offset >> PAGE_SHIFT, page);
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
	if (!ret && flags & (PVVAS_CREATE_POPULATE | PVVAS_CREATE_LOCK))
		ret = pvvas_seg_populate(seg);
	return ret;
}

static struct pvvas_seg *pvvas_seg_new(const struct pvvas_ioc_create *arg)
{
	struct pvvas_seg *seg = kzalloc(sizeof(*seg), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!seg)
		return ERR_PTR(-ENOMEM);
	ret = pvvas_object_init(&seg->obj, PVVAS_KIND_SEG, arg->mode);
	if (ret) {
		kfree(seg);
		return ERR_PTR(ret);
	}
	seg->base = arg->base;
	seg->length = arg->length;
	seg->huge = arg->flags & PVVAS_CREATE_HUGE;
	seg->dump = arg->flags & PVVAS_CREATE_DUMP;
	seg->node = arg->flags & PVVAS_CREATE_NODE ? arg->node : NUMA_NO_NODE;
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
	if (IS_ERR(seg)) {
		kfree(name);
		return PTR_ERR(seg);
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
		pvvas_seg_free_page(seg, page);
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
