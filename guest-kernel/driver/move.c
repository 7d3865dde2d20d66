// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that go from one place of segments to another without being copied.
 *
 * A page leaves its place, then what shows it, and comes to the new place last, in
 * place of what is there.  No clone of either side is in the making meanwhile, nor is
 * another move: what a cgroup may have to wait for is allocated before.  An access to
 * the old place finds what it finds after a discard; one to the new place what was
 * there, nothing, or the page.
 *
 * Where nothing is on either side nothing is done, and no table is made.
 *
 * A page that a clone has too is the clone's at the new place as well.  Where another
 * memory cgroup pays for the new place, pages are copied: a charge cannot be moved.
 * So they are where the new place wants pages of other colours.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "ept.h"
#include "refused.h"

/**
 * struct pvvas_move - pages that move at once: to one table of the new place
 * @from: their segment; @to: the one where they go
 * @first: number of the first one in @from; @dest: in @to; @nr: how many
 * @pages: by place; NULL where there is none
 * @ready: there was a page to move, and there are tables for the new places
 * @spares: pages to copy to, the first @nr_spares of them, if they are copied
 */
struct pvvas_move {
	struct pvvas_seg *from;
	struct pvvas_seg *to;
	pgoff_t first;
	pgoff_t dest;
	u32 nr;
	bool ready;
	u32 nr_spares;
	struct page *pages[PVVAS_BLOCK_PAGES];
	struct page *spares[PVVAS_BLOCK_PAGES];
};

static bool pvvas_move_copies(const struct pvvas_move *move)
{
	const struct pvvas_seg *from = move->from->memory;
	const struct pvvas_seg *to = move->to->memory;

	return from->memcg != to->memcg ||
	       (to->colors && to->colors != from->colors);
}

#define PVVAS_MOVE_GFP	(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/* Nodes for the new places: the last one of each, as a first one alone has none. */
static int pvvas_move_nodes(const struct pvvas_move *move, gfp_t gfp)
{
	pgoff_t at = move->dest, end = move->dest + move->nr, next;
	int ret = 0;

	for (; move->ready && !ret && at < end; at = next) {
		next = min(end, ALIGN(at + 1, XA_CHUNK_SIZE));
		ret = xa_reserve_irq(&move->to->memory->pages, next - 1, gfp);
	}
	return ret;
}

/* Tables for the new places, and pages to copy to. */
static int pvvas_move_prepare(struct pvvas_move *move)
{
	struct xarray *pages = &move->from->memory->pages;
	unsigned long index = move->first;
	gfp_t gfp = PVVAS_MOVE_GFP;
	struct page *spare;
	int ret;

	move->ready = xa_find(pages, &index, move->first + move->nr - 1,
			      XA_PRESENT);
	if (!move->ready)
		return 0;
	ret = pvvas_tree_prepare(move->to->tree, pvvas_own(move->to, move->dest),
				 gfp);
	if (ret || !pvvas_move_copies(move))
		return ret;
	while (xa_find(pages, &index, move->first + move->nr - 1, XA_PRESENT)) {
		spare = pvvas_page_alloc(move->to->memory, move->dest, gfp, 0);
		if (!spare)
			return -ENOMEM;
		move->spares[move->nr_spares++] = spare;
		index++;
	}
	return 0;
}

/* Take the pages out, all or none; how many, or -errno. */
static int pvvas_move_take(struct pvvas_move *move)
{
	struct pvvas_seg *mem = move->from->memory, *to = move->to->memory;
	XA_STATE(xas, &mem->pages, move->first);
	bool same = mem->obj.charged == to->obj.charged;
	struct page *page;
	int n = 0, ret = 0;

	xa_lock_irq(&mem->pages);
	xas_for_each(&xas, page, move->first + move->nr - 1) {
		if (xas_retry(&xas, page))
			continue;
		move->pages[xas.xa_index - move->first] = page;
		n++;
	}
	if (n && (!move->ready ||
		  (pvvas_move_copies(move) && n > move->nr_spares)))
		ret = -EAGAIN;
	else if (!same)
		ret = pvvas_quota_memory(to->obj.charged, to->obj.free,
					 (s64)n << PAGE_SHIFT);
	xas_set(&xas, move->first);
	if (!ret)
		xas_for_each(&xas, page, move->first + move->nr - 1)
			if (!xas_retry(&xas, page))
				xas_store(&xas, NULL);
	if (!ret)
		atomic64_sub((s64)n << PAGE_SHIFT, &mem->resident);
	xa_unlock_irq(&mem->pages);
	if (!ret && !same)
		pvvas_quota_memory_back(mem->obj.charged, (s64)n << PAGE_SHIFT);
	return ret ?: n;
}

/* Nothing shows them any more, and nothing changes them. */
static void pvvas_move_copy(struct pvvas_move *move)
{
	struct page *copy;
	u32 i;

	for (i = 0; i < move->nr; i++) {
		if (!move->pages[i])
			continue;
		copy = move->spares[--move->nr_spares];
		copy_page(page_address(copy), page_address(move->pages[i]));
		pvvas_page_put(move->pages[i]);
		move->pages[i] = copy;
	}
}

/* @n pages to the new places; what was there is in their place then. */
static void pvvas_move_put(struct pvvas_move *move, u32 n)
{
	struct pvvas_seg *mem = move->to->memory;
	XA_STATE(xas, &mem->pages, move->dest);
	struct page *page, *old;
	s64 more = n;
	u32 i;

	xa_lock_irq(&mem->pages);
	pvvas_pages_refuse(mem, move->dest, move->nr, 0);
	for (i = 0; i < move->nr; i++) {
		page = move->pages[i];
		xas_set(&xas, move->dest + i);
		old = xas_store(&xas, page);
		if (xa_is_zero(old))
			old = NULL;
		/* Others took the node by filling and discarding: so is the page. */
		if (xas_error(&xas)) {
			more -= !!page;
			continue;
		}
		if (page) {
			xas_init_marks(&xas);
			pvvas_evict_not(mem, page);
			if (page_ref_count(page) > 1)
				xas_set_mark(&xas, PVVAS_COW);
			pvvas_page_show(move->to, move->dest + i, page);
		}
		more -= !!old;
		move->pages[i] = old;
	}
	atomic64_add(more << PAGE_SHIFT, &mem->resident);
	if (mem->reclaim)
		pvvas_reclaim_grown(mem);
	xa_unlock_irq(&mem->pages);
	pvvas_quota_memory_back(mem->obj.charged, (n - more) << PAGE_SHIFT);
	for (i = 0; i < move->nr; i++)
		if (move->pages[i])
			pvvas_page_put(move->pages[i]);
}

static int pvvas_move_held(struct pvvas_move *move)
{
	int n = pvvas_move_take(move);

	if (n < 0)
		return n;
	if (n)
		pvvas_faces_refuse(move->from->memory, move->first, move->nr, 0);
	if (pvvas_move_copies(move))
		pvvas_move_copy(move);
	pvvas_move_put(move, n);
	return 0;
}

/* The places that were kept for pages that did not come. */
static void pvvas_move_unreserve(struct pvvas_move *move)
{
	pgoff_t at = move->dest, end = move->dest + move->nr, next;

	for (; at < end; at = next) {
		next = min(end, ALIGN(at + 1, XA_CHUNK_SIZE));
		xa_cmpxchg_irq(&move->to->memory->pages, next - 1,
			       XA_ZERO_ENTRY, NULL, 0);
	}
}

/*
 * Others wait for us from now on, with nodes for the new places.  These are allocated
 * without that; another move there may have taken them back.
 */
static int pvvas_move_hold(struct pvvas_move *move)
{
	struct pvvas_seg *from = move->from->memory, *to = move->to->memory;
	int ret;

	do {
		ret = pvvas_clone_hold(from, to);
		if (ret || !pvvas_move_nodes(move, GFP_NOWAIT | __GFP_NOWARN))
			return ret;
		pvvas_clone_release(from, to);
		ret = pvvas_move_nodes(move, PVVAS_MOVE_GFP);
	} while (!ret);
	return ret;
}

static int pvvas_move_some(struct pvvas_move *move)
{
	struct pvvas_seg *from = move->from->memory, *to = move->to->memory;
	struct mem_cgroup *old = set_active_memcg(to->memcg);
	int ret;

	memset(move->pages, 0, sizeof(move->pages));
	ret = pvvas_move_prepare(move) ?: pvvas_move_hold(move);
	if (!ret) {
		ret = pvvas_move_held(move);
		pvvas_move_unreserve(move);
		pvvas_clone_release(from, to);
	}
	while (move->nr_spares)
		pvvas_page_put(move->spares[--move->nr_spares]);
	set_active_memcg(old);
	return ret;
}

/* On to where there is a page on either side. */
static void pvvas_move_skip(struct pvvas_move *move, pgoff_t end)
{
	pgoff_t left = end - move->first;
	unsigned long from = move->first, to = move->dest;

	if (xa_find(&move->from->memory->pages, &from, end - 1, XA_PRESENT))
		left = from - move->first;
	if (left && xa_find(&move->to->memory->pages, &to,
			    move->dest + left - 1, XA_PRESENT))
		left = to - move->dest;
	move->first += left;
	move->dest += left;
}

static int pvvas_move_all(struct pvvas_move *move, pgoff_t end)
{
	int ret = 0;

	for (; !ret; move->first += move->nr, move->dest += move->nr) {
		pvvas_move_skip(move, end);
		if (move->first == end)
			break;
		move->nr = min(end - move->first, PVVAS_BLOCK_PAGES -
			       move->dest % PVVAS_BLOCK_PAGES);
		do {
			ret = fatal_signal_pending(current) ? -EINTR :
			      pvvas_move_some(move);
			cond_resched();
		} while (ret == -EAGAIN);
	}
	return ret;
}

static int pvvas_move_check(const struct pvvas_move *move,
			    const struct pvvas_ioc_move *arg)
{
	const struct pvvas_seg *from = move->from->memory;
	const struct pvvas_seg *to = move->to->memory;
	struct pvvas_ioc_range range = { .length = arg->length };
	int ret;

	range.offset = arg->from_offset;
	ret = pvvas_range_check(move->from, &range);
	range.offset = arg->to_offset;
	ret = ret ?: pvvas_range_check(move->to, &range);
	if (ret)
		return ret;
	if (from->pinned || to->pinned)
		return -EOPNOTSUPP;
	if (from->locked || to->locked)
		return -EINVAL;
	/* The one would overwrite the other. */
	if (from == to && move->first < move->dest + (arg->length >> PAGE_SHIFT) &&
	    move->dest < move->first + (arg->length >> PAGE_SHIFT))
		return -EINVAL;
	return 0;
}

static int pvvas_move_segs(struct pvvas_move *move,
			   const struct pvvas_ioc_move *arg)
{
	int ret;

	move->first = pvvas_first(move->from) + (arg->from_offset >> PAGE_SHIFT);
	move->dest = pvvas_first(move->to) + (arg->to_offset >> PAGE_SHIFT);
	ret = pvvas_move_check(move, arg);
	return ret ?: pvvas_move_all(move, move->first +
				     (arg->length >> PAGE_SHIFT));
}

int pvvas_seg_move(struct pvvas_ioc_move *arg)
{
	struct pvvas_move *move;
	int ret;

	if (arg->reserved)
		return -EINVAL;
	move = kvzalloc(sizeof(*move), GFP_KERNEL_ACCOUNT);
	if (!move)
		return -ENOMEM;
	move->from = pvvas_seg_hold(arg->from, PVVAS_READ | PVVAS_WRITE);
	move->to = pvvas_seg_hold(arg->to, PVVAS_READ | PVVAS_WRITE);
	ret = IS_ERR(move->from) ? PTR_ERR(move->from) :
	      IS_ERR(move->to) ? PTR_ERR(move->to) : pvvas_move_segs(move, arg);
	if (!IS_ERR(move->to))
		pvvas_memory_refused(move->to->memory, ret);
	if (!IS_ERR(move->from))
		pvvas_seg_drop(move->from);
	if (!IS_ERR(move->to))
		pvvas_seg_drop(move->to);
	kvfree(move);
	return ret;
}
