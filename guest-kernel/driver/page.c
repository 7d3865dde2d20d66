// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page behind an offset of a segment, and with what rights it is mapped.
 *
 * Rights are given late and taken at once: what a fault finds missing is
 * decided here, page by page; whatever lowers rights (protect.c, cow.c) does so
 * in the tables, and never has to raise any.  A page is shown writable only if it is
 * not shared (no PVVAS_COW), known to be written (no PVVAS_CLEAN) and not
 * protected.
 *
 * Clones share pages by the page's own count (cow.c).  A count of one under the
 * lock of the segment's pages means that the page is its alone: only a clone of
 * this segment, under the same lock, can raise it.
 *
 * All pages of a memory are charged to the memory cgroup and to the quota of its
 * maker, so only a caller with write access makes any.  A reader is shown the
 * kernel's page of zeroes where there is no page.
 *
 * A page is given back only after KVM has forgotten it.
 */
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include "compat.h"
#include "ept.h"
#include "refused.h"

/* An access that finds its page maps those around it that are there, too. */
#define PVVAS_PAGES_AROUND	16

/* How far the kernel's writes for a program may go beyond a cgroup's limit. */
#define PVVAS_MEMCG_SLACK	((4UL << 20) >> PAGE_SHIFT)

static bool pvvas_memcg_below(struct mem_cgroup *memcg, unsigned long pages,
			      unsigned long slack)
{
#ifdef CONFIG_MEMCG
	for (; memcg; memcg = parent_mem_cgroup(memcg))
		if (page_counter_read(&memcg->memory) + pages >
		    READ_ONCE(memcg->memory.max) + slack)
			return false;
#endif
	return true;
}

/* Is there room for @pages more? */
bool pvvas_memcg_room(struct mem_cgroup *memcg, unsigned long pages)
{
	return pvvas_memcg_below(memcg, pages, 0);
}

/* The pages from @index on, by the segment's policy. */
static struct page *pvvas_page_placed(const struct pvvas_seg *mem, pgoff_t index,
				      gfp_t gfp, unsigned int order)
{
	nodemask_t nodes = NODE_MASK_NONE;
	int nth;

	if (mem->policy == PVVAS_NUMA_DEFAULT)
		return alloc_pages(gfp, order);
	bitmap_from_u64(nodes.bits, mem->nodes);
	if (mem->policy == PVVAS_NUMA_BIND)
		return pvvas_alloc_bound(gfp, order, &nodes);
	nth = (index >> order) % nodes_weight(nodes);
	return alloc_pages_node(find_nth_bit(nodes.bits, MAX_NUMNODES, nth), gfp,
				order);
}

/* Colours of pages: the lowest bits of frame numbers, as caches have them. */
#define PVVAS_COLOR_ORDER	6

static bool pvvas_page_fits(const struct pvvas_seg *mem, const struct page *page)
{
	return mem->colors & BIT_ULL(page_to_pfn(page) % (1 << PVVAS_COLOR_ORDER));
}

/* One of some pages that are at hand, if it has such a colour. */
static struct page *pvvas_page_chosen(const struct pvvas_seg *mem, pgoff_t index,
				      gfp_t gfp)
{
	struct page *page = NULL, *other, *next;
	LIST_HEAD(others);
	int tries = 8;

	while (tries--) {
		page = pvvas_page_placed(mem, index, gfp, 0);
		if (!page || pvvas_page_fits(mem, page))
			break;
		list_add(&page->lru, &others);
		page = NULL;
	}
	list_for_each_entry_safe(other, next, &others, lru) {
		list_del(&other->lru);
		__free_page(other);
	}
	return page;
}

/* A page of one of the segment's colours: each is there once in 64 in a row. */
static struct page *pvvas_page_colored(const struct pvvas_seg *mem, pgoff_t index,
				       gfp_t gfp)
{
	struct page *page = pvvas_page_chosen(mem, index, gfp & ~__GFP_ZERO);
	struct page *row;
	int i;

	if (!page) {
		row = pvvas_page_placed(mem, index, gfp & ~__GFP_ZERO,
					PVVAS_COLOR_ORDER);
		if (!row)
			return NULL;
		split_page(row, PVVAS_COLOR_ORDER);
		for (i = 0; i < 1 << PVVAS_COLOR_ORDER; i++) {
			if (!page && pvvas_page_fits(mem, row + i))
				page = row + i;
			else
				__free_page(row + i);
		}
	}
	if (gfp & __GFP_ZERO)
		clear_page(page_address(page));
	return page;
}

/* With what was there before, but for __GFP_ZERO. */
struct page *pvvas_page_alloc(struct pvvas_seg *mem, pgoff_t index, gfp_t gfp,
			      unsigned int order)
{
	struct mem_cgroup *old;
	struct page *page;

	/* Pages in a row have all colours. */
	if (mem->colors && order)
		return NULL;
	old = set_active_memcg(mem->memcg);

	/*
	 * GFP_ATOMIC is charged whatever the limit says, in the hope that such
	 * pages are few.  A single system call could write to all of a segment.
	 */
	if (gfp & __GFP_HIGH && !pvvas_memcg_below(mem->memcg, 1UL << order,
						   PVVAS_MEMCG_SLACK))
		gfp &= ~__GFP_HIGH;
	gfp |= __GFP_NOWARN | __GFP_ACCOUNT;
	page = mem->colors ? pvvas_page_colored(mem, index, gfp) :
			     pvvas_page_placed(mem, index, gfp, order);
	set_active_memcg(old);
	/* Pages come together, and go one by one. */
	if (page && order)
		split_page(page, order);
	if (page)
		atomic64_add(1 << order, &pvvas_counts.pages);
	return page;
}

void pvvas_page_put(struct page *page)
{
	if (!page_ref_dec_and_test(page))
		return;
	atomic64_dec(&pvvas_counts.pages);
	set_page_count(page, 1);
	__free_page(page);
}

/* No face shows anything at @index and the @nr pages from there any more. */
static void pvvas_pages_hide(struct pvvas_seg *mem, pgoff_t index, u32 nr)
{
	pvvas_pages_refuse(mem, index, nr, 0);
}

/* Pages are about to come where readers may see zeroes. */
void pvvas_zeroes_hide(struct pvvas_seg *mem, pgoff_t index, u32 nr)
{
	if (mem->zeroes)
		pvvas_pages_hide(mem, index, nr);
}

/*
 * The caller holds the pages' lock; there is no page at @index.  What a segment
 * has counts in full for its maker's quota, shared or not: so that a copy, when
 * it is written to, cannot fail for that.
 */
int pvvas_page_put_at(struct pvvas_seg *mem, pgoff_t index, struct page *page,
		      gfp_t gfp)
{
	int ret = pvvas_quota_memory(mem->obj.charged, mem->obj.free,
				     PAGE_SIZE);

	if (ret)
		return ret;
	ret = xa_err(__xa_store(&mem->pages, index, page,
				(gfp & ~__GFP_DIRECT_RECLAIM) | __GFP_NOWARN));
	if (ret)
		pvvas_quota_memory_back(mem->obj.charged, PAGE_SIZE);
	if (ret)
		return ret;
	atomic64_add(PAGE_SIZE, &mem->resident);
	if (mem->reclaim)
		pvvas_reclaim_grown(mem);
	return 0;
}

/* Put @page at @index; -EEXIST if there is one. */
int pvvas_page_store(struct pvvas_seg *mem, pgoff_t index, struct page *page,
		     gfp_t gfp)
{
	struct mem_cgroup *old = set_active_memcg(mem->memcg);
	int ret = xa_reserve_irq(&mem->pages, index, gfp | __GFP_NOWARN);

	if (!ret) {
		xa_lock_irq(&mem->pages);
		ret = xa_load(&mem->pages, index) ? -EEXIST : 0;
		if (!ret) {
			pvvas_zeroes_hide(mem, index, 1);
			ret = pvvas_page_put_at(mem, index, page, gfp);
		}
		xa_unlock_irq(&mem->pages);
	}
	set_active_memcg(old);
	return ret;
}

/* KVM's segment has whole blocks; ours may end, or begin, within one. */
static bool pvvas_seg_covers(const struct pvvas_seg *seg, u64 offset)
{
	u64 va = seg->start + offset;

	return va >= seg->base && va - seg->base < READ_ONCE(seg->length);
}

/* What a protection leaves of the rights to a page. */
u32 pvvas_seg_allows(struct pvvas_seg *seg, pgoff_t index)
{
	void *entry = mtree_load(&seg->prot, pvvas_own(seg, index));

	return entry ? xa_to_value(entry) : PVVAS_RW;
}

/*
 * The page is about to be written, and a clone may have it, too.  -EAGAIN: it
 * does, and a page to copy to is wanted.
 */
static int pvvas_page_own(struct pvvas_seg *mem, pgoff_t index,
			  struct page **page, struct page **spare)
{
	struct page *old = *page;
	int ret;

	pvvas_clone_keep(mem, index, old);
	if (page_ref_count(old) > 1) {
		if (!*spare)
			return -EAGAIN;
		pvvas_pages_hide(mem, index, 1);
		copy_page(page_address(*spare), page_address(old));
		/* In place of another one, with its marks. */
		ret = xa_err(__xa_store(&mem->pages, index, *spare, GFP_NOWAIT));
		if (ret)
			return ret;
		*page = *spare;
		*spare = NULL;
		atomic64_inc(&mem->copied);
		pvvas_page_put(old);
	}
	__xa_clear_mark(&mem->pages, index, PVVAS_COW);
	return 0;
}

/* Map the page with the rights that it can have now; the pages' lock is held. */
int pvvas_page_show(struct pvvas_seg *face, pgoff_t index, struct page *page)
{
	struct xarray *pages = &face->memory->pages;
	u32 prot = pvvas_seg_allows(face, index);

	if (face->memory->ageing && xa_get_mark(pages, index, PVVAS_IDLE))
		return 0;
	if (xa_get_mark(pages, index, PVVAS_COW) ||
	    xa_get_mark(pages, index, PVVAS_CLEAN))
		prot &= ~PVVAS_PROT_WRITE;
	return prot ? pvvas_tree_set(face->tree, pvvas_own(face, index), page,
				     prot) : 0;
}

/* For what is not shown the next access asks. */
static void pvvas_pages_show_around(struct pvvas_seg *face, pgoff_t index)
{
	pgoff_t at = round_down(index, PVVAS_PAGES_AROUND);
	pgoff_t end = at + PVVAS_PAGES_AROUND;
	struct page *page;

	for (; at < end; at++) {
		if (at == index ||
		    !pvvas_seg_covers(face, (u64)pvvas_own(face, at) << PAGE_SHIFT))
			continue;
		page = xa_load(&face->memory->pages, at);
		if (page)
			pvvas_page_show(face, at, page);
	}
}

/* Does the access, where there is no page, make one? */
static bool pvvas_page_wanted(const struct pvvas_seg *seg, u32 access)
{
	return !access || access & PVVAS_PROT_WRITE ||
	       pvvas_object_mode(&seg->obj) & PVVAS_WRITE;
}

/* The page of zeroes, for a reader.  It goes when there is one: pvvas_zeroes_hide(). */
static int pvvas_page_zero(struct pvvas_seg *face, pgoff_t index)
{
	face->memory->zeroes = true;
	return pvvas_tree_set(face->tree, pvvas_own(face, index), ZERO_PAGE(0),
			      PVVAS_PROT_READ);
}

/* With the pages' lock.  -EAGAIN: a spare page is wanted. */
static int pvvas_page_try(struct pvvas_seg *seg, pgoff_t index, u32 access,
			  gfp_t gfp, struct page **spare)
{
	struct pvvas_seg *mem = seg->memory;
	struct page *page = xa_load(&mem->pages, index);
	bool found = page;
	int ret;

	if (access & ~pvvas_seg_allows(seg, index))
		return -EACCES;
	if (!page) {
		if (mem->pager)
			return -ENXIO;
		if (!pvvas_page_wanted(seg, access))
			return pvvas_page_zero(seg, index);
		if (!*spare)
			return -EAGAIN;
		page = *spare;
		pvvas_zeroes_hide(mem, index, 1);
		ret = pvvas_page_put_at(mem, index, page, gfp);
		if (ret)
			return ret;
		*spare = NULL;
		if (mem->tracking)
			__xa_set_mark(&mem->pages, index, PVVAS_CLEAN);
		if (mem->ageing)
			__xa_set_mark(&mem->pages, index, PVVAS_IDLE);
	}
	if (access && mem->ageing) {
		__xa_clear_mark(&mem->pages, index, PVVAS_IDLE);
		pvvas_evict_not(mem, page);
	}
	/* One that is new has no marks but those. */
	if (access & PVVAS_PROT_WRITE && (found || mem->tracking)) {
		if (xa_get_mark(&mem->pages, index, PVVAS_COW)) {
			ret = pvvas_page_own(mem, index, &page, spare);
			if (ret)
				return ret;
		}
		__xa_clear_mark(&mem->pages, index, PVVAS_CLEAN);
	}
	ret = pvvas_page_show(seg, index, page);
	if (found && !ret)
		pvvas_pages_show_around(seg, index);
	return ret;
}

/* What keeps others from the processor takes a page at a time. */
static int pvvas_page_extend(struct pvvas_seg *seg, pgoff_t index, u32 access,
			     gfp_t gfp)
{
	if (!access || xa_load(&seg->memory->pages, index) ||
	    !pvvas_page_wanted(seg, access) || pagefault_disabled())
		return -EBUSY;
	return pvvas_extent_touch(seg, index, gfp);
}

/* What cannot sleep is tried once more where it can, but for the kernel's accesses. */
static bool pvvas_page_last_try(gfp_t gfp, bool user)
{
	return !user || gfpflags_allow_blocking(gfp);
}

/* A page, and nodes of the tree for it where that may sleep; or NULL. */
static struct page *pvvas_page_spare(struct pvvas_seg *mem, pgoff_t index,
				     gfp_t gfp)
{
	struct page *page = pvvas_page_alloc(mem, index, gfp | __GFP_ZERO, 0);

	if (!gfpflags_allow_blocking(gfp))
		return page;
	if (!page) {
		pvvas_reclaim_short(mem);
	} else if (xa_reserve_irq(&mem->pages, index, gfp | __GFP_NOWARN)) {
		pvvas_page_put(page);
		page = NULL;
	}
	return page;
}

static int pvvas_page_answer(struct pvvas_seg *seg, u64 offset, u32 access,
			     gfp_t gfp, bool user)
{
	struct pvvas_seg *mem = seg->memory;
	pgoff_t index = pvvas_index_at(seg, offset), own = pvvas_own(seg, index);
	struct page *spare = NULL;
	unsigned long flags;
	int ret;

	atomic64_inc(&seg->faults);
	ret = pvvas_page_extend(seg, index, access, gfp);
	if (ret >= 0)
		return 0;
	if (ret == -EAGAIN)
		return -ENOMEM;
	ret = pvvas_tree_prepare(seg->tree, own, gfp);
	/* The access has failed once, where only GFP_NOWAIT was allowed. */
	if (!ret && user && gfpflags_allow_blocking(gfp))
		ret = pvvas_tree_split(seg->tree, own, gfp);
	/* -ENOSPC: that the tables are too many has been said */
	if (ret == -ENOMEM && pvvas_page_last_try(gfp, user))
		pvvas_memory_refused(mem, ret);
	if (ret)
		return ret;
	/* What will be wanted is made without asking first. */
	if (!mem->pager && !xa_load(&mem->pages, index) &&
	    pvvas_page_wanted(seg, access))
		spare = pvvas_page_spare(mem, index, gfp);
	for (;;) {
		xa_lock_irqsave(&mem->pages, flags);
		ret = user && mem->changing ? -EINPROGRESS :
		      pvvas_page_try(seg, index, access, gfp, &spare);
		xa_unlock_irqrestore(&mem->pages, flags);
		if (ret != -EAGAIN)
			break;
		spare = pvvas_page_spare(mem, index, gfp);
		if (!spare) {
			ret = -ENOMEM;
			break;
		}
	}
	if (spare)
		pvvas_page_put(spare);
	if (ret == -EACCES || ret == -ENXIO)
		atomic64_inc(&seg->refused);
	if (ret != -ENOMEM || pvvas_page_last_try(gfp, user))
		pvvas_memory_refused(mem, ret);
	return ret;
}

/*
 * The cgroup that pays for a page pays for the tree that the page is found by, and
 * for the tables that show it.  A reader that finds no page, and makes none, pays for
 * the tables itself: NULL.
 */
static struct mem_cgroup *pvvas_page_payer(struct pvvas_seg *seg, u64 offset,
					   u32 access)
{
	struct pvvas_seg *mem = seg->memory;

	return pvvas_page_wanted(seg, access) ||
	       xa_load(&mem->pages, pvvas_index_at(seg, offset)) ? mem->memcg :
								   NULL;
}

/*
 * Answer an access (PVVAS_PROT_*; 0: only see to it that there is a page).
 * Another CPU may be doing the same: one page wins.
 *
 * -ERANGE: not a page of the segment.  -EACCES: protected.  -ENXIO: there is
 * no page, and the segment's pager makes them.  -EINPROGRESS, if @user: the
 * segment is being cloned.
 */
int pvvas_page_fault(struct pvvas_seg *seg, u64 offset, u32 access, gfp_t gfp,
		     bool user)
{
	struct mem_cgroup *old;
	int ret;

	if (!pvvas_seg_covers(seg, offset))
		return -ERANGE;
	old = set_active_memcg(pvvas_page_payer(seg, offset, access));
	ret = pvvas_page_answer(seg, offset, access, gfp, user);
	set_active_memcg(old);
	return ret;
}

/*
 * See to it that there is a page at @index, and take what comes with it up to page
 * @last: how many there are from @index on now, or -errno as above.  The caller knows
 * that they are the segment's, or will be.
 */
long pvvas_page_populate(struct pvvas_seg *seg, pgoff_t index, pgoff_t last)
{
	gfp_t gfp = GFP_KERNEL | __GFP_RETRY_MAYFAIL;
	struct mem_cgroup *old = set_active_memcg(seg->memory->memcg);
	long ret = -EEXIST;

	if (!xa_load(&seg->memory->pages, index))
		ret = pvvas_extent_fill(seg, index, index, last, gfp);
	if (ret >= 0)
		ret = min(last + 1, round_up(index + 1, 1UL << ret)) - index;
	else
		ret = pvvas_page_answer(seg, (u64)pvvas_own(seg, index) <<
					PAGE_SHIFT, 0, gfp, true) ?: 1;
	set_active_memcg(old);
	return ret;
}

/* The page at @index, with a reference, or NULL. */
struct page *pvvas_seg_page_get(struct pvvas_seg *seg, pgoff_t index)
{
	struct pvvas_seg *mem = seg->memory;
	struct page *page;

	xa_lock_irq(&mem->pages);
	page = xa_load(&mem->pages, index);
	if (page)
		get_page(page);
	xa_unlock_irq(&mem->pages);
	return page;
}

/* Pages after which the rest is counted again. */
#define PVVAS_FREE_BATCH	512

static void pvvas_pages_freed(struct pvvas_seg *mem, s64 nr)
{
	mem->freeing -= nr;
	atomic64_sub(nr, &pvvas_counts.freeing);
}

/* Those of a segment that cannot be found any more. */
void pvvas_pages_free(struct pvvas_seg *mem)
{
	struct page *page;
	unsigned long index;
	u32 nr = 0;

	xa_for_each(&mem->pages, index, page) {
		if (mem->pinned)
			unpin_user_pages_dirty_lock(&page, 1, true);
		else
			pvvas_page_put(page);
		if (++nr == PVVAS_FREE_BATCH) {
			pvvas_pages_freed(mem, nr);
			nr = 0;
		}
		cond_resched();
	}
	pvvas_pages_freed(mem, nr);
	WARN_ON_ONCE(mem->freeing);
}
