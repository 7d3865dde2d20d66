// SPDX-License-Identifier: GPL-2.0-only
/*
 * Spaces: what views show in the window.
 *
 * A VAS has one space, which all its views share; an attachment with private
 * segments has one of its own (attach.c).
 *
 *   level 3 tables, the "tops", to which the roots of views lead (or of which the
 *   views have copies: view.c); for each GiB
 *     - the level 2 table of the one segment there, once it has one, or
 *     - a level 2 table of the space, where several segments share the GiB
 *	 ("crowded"), with copies of those of the segments' entries that lead to
 *	 tables
 *
 * All other entries ask for demand faults, which know what is attached: so that
 * to attach and to detach costs the same for all sizes, but for GiB that have pages.
 * Entries carry the rights with which the segment is linked.  A space follows a
 * segment's tables when a demand fault finds it behind (pvvas_space_follow()).
 */
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include "ept.h"

static u32 pvvas_top_index(u64 gpa)
{
	return (gpa >> PUD_SHIFT) % PVVAS_PTRS;
}

static u64 **pvvas_top_at(struct pvvas_space *space, u64 gpa)
{
	return &space->tops[pvvas_top_number(gpa)];
}

/*
 * The level 3 table around @gpa; made if there is none, and shown to the views.
 * Or -ENOSPC, -ENOMEM.
 */
static u64 *pvvas_space_top(struct pvvas_space *space, u64 gpa)
{
	u64 **top = pvvas_top_at(space, gpa), *table;
	struct pvvas_view *view;
	unsigned long flags;

	if (*top)
		return *top;
	table = pvvas_table_charged(3, PVVAS_GFP_LOCKED);
	if (IS_ERR(table))
		return table;
	spin_lock_irqsave(&space->lock, flags);
	*top = table;
	pvvas_range_add(&space->used, pvvas_top_number(gpa));
	if (pvvas_tops_shared())
		list_for_each_entry(view, &space->views, in_space)
			pvvas_view_lead(view, gpa, table);
	spin_unlock_irqrestore(&space->lock, flags);
	return table;
}

static int pvvas_space_tops(struct pvvas_space *space, u64 gpa, u64 end)
{
	u64 *top;

	for (; gpa < end; gpa = ALIGN(gpa + 1, PVVAS_TOP_SIZE)) {
		top = pvvas_space_top(space, gpa);
		if (IS_ERR(top))
			return PTR_ERR(top);
	}
	return 0;
}

/* An entry of a top; space->lock is held.  True: KVM may know the old one. */
static bool pvvas_top_set(struct pvvas_space *space, u64 gpa, u64 entry)
{
	u64 *at = *pvvas_top_at(space, gpa) + pvvas_top_index(gpa);
	bool known = pvvas_entry_present(*at);

	pvvas_entry_store(at, entry);
	pvvas_views_set(space, gpa, entry);
	return known;
}

/* Of how many top tables a space that shows the segment may lack some. */
u32 pvvas_tree_tops(const struct pvvas_tree *tree)
{
	return pvvas_top_number(tree->end - 1) - pvvas_top_number(tree->start) + 1;
}

struct pvvas_space *pvvas_space_new(gfp_t gfp)
{
	struct pvvas_space *space;

	space = kzalloc(struct_size(space, tops, pvvas_tops()),
			gfp | __GFP_ACCOUNT);
	if (!space)
		return NULL;
	spin_lock_init(&space->lock);
	INIT_LIST_HEAD(&space->views);
	mt_init_flags(&space->spans, MT_FLAGS_ALLOC_RANGE | MT_FLAGS_USE_RCU);
	xa_init(&space->crowded);
	return space;
}

/* A demand fault that has found the space leaves its tables alone from now on. */
static void pvvas_space_die(struct pvvas_space *space)
{
	unsigned long flags;

	spin_lock_irqsave(&space->lock, flags);
	space->dead = true;
	spin_unlock_irqrestore(&space->lock, flags);
}

/* No view has it: pvvas_views_leave(). */
void pvvas_space_free(struct pvvas_space *space)
{
	struct pvvas_span *span;
	unsigned long i = 0;
	LIST_HEAD(list);
	u64 *table;

	if (!space)
		return;
	pvvas_space_die(space);
	mt_for_each(&space->spans, span, i, ULONG_MAX) {
		kfree_rcu(span, rcu);
		atomic_dec(&pvvas_counts.spans);
	}
	mtree_destroy(&space->spans);
	for (i = space->used.first; i < space->used.end; i++)
		pvvas_table_discard(&list, space->tops[i]);
	xa_for_each(&space->crowded, i, table)
		pvvas_table_discard(&list, table);
	pvvas_tables_free(&list, space->shown);
	xa_destroy(&space->crowded);
	/* Demand faults find a space by the views that have it, or had. */
	if (space->shown)
		kfree_rcu(space, rcu);
	else
		kfree(space);
}

static bool pvvas_space_end(struct pvvas_leftover *left)
{
	pvvas_space_free(container_of(left, struct pvvas_space, left));
	return true;
}

/* The same without pvvas_lock, which is held now: it may have very many segments. */
void pvvas_space_bury(struct pvvas_space *space)
{
	if (!space)
		return;
	pvvas_space_die(space);
	pvvas_bury(&space->left, pvvas_space_end);
}

static u64 pvvas_gib(u64 gpa)
{
	return gpa >> PUD_SHIFT;
}

/* The part of the tree in the GiB around @gpa. */
static u64 pvvas_part_start(const struct pvvas_tree *tree, u64 gpa)
{
	return max(tree->start, ALIGN_DOWN(gpa, PUD_SIZE));
}

static u64 pvvas_part_end(const struct pvvas_tree *tree, u64 gpa)
{
	return min(tree->end, ALIGN_DOWN(gpa, PUD_SIZE) + PUD_SIZE);
}

/*
 * The GiB around @gpa will have one more segment: give it a table of the space,
 * if it has a segment now.
 */
static int pvvas_space_crowd(struct pvvas_space *space, u64 gpa)
{
	unsigned long flags, block = ALIGN_DOWN(gpa, PUD_SIZE) >> PMD_SHIFT;
	u64 *table;
	int ret;

	if (xa_load(&space->crowded, pvvas_gib(gpa)) ||
	    !mt_find(&space->spans, &block, block + PVVAS_PTRS - 1))
		return 0;
	table = pvvas_table_charged(2, PVVAS_GFP_LOCKED);
	if (IS_ERR(table))
		return PTR_ERR(table);
	ret = xa_err(xa_store(&space->crowded, pvvas_gib(gpa), table,
			      PVVAS_GFP_LOCKED | __GFP_ACCOUNT));
	if (ret) {
		pvvas_table_free(table);
		return ret;
	}
	spin_lock_irqsave(&space->lock, flags);
	/* The table before what leads to it. */
	smp_wmb();
	if (pvvas_top_set(space, gpa, pvvas_entry_to(table, PVVAS_RW)))
		pvvas_views_invalidate(space, gpa, 1);
	spin_unlock_irqrestore(&space->lock, flags);
	return 0;
}

/*
 * Bring the space's entries around @gpa up to what the segment's tables have;
 * space->lock is held.  Where the GiB is crowded and the segment maps 2 MiB:
 * split them if @split, else leave them to demand.  -ENOMEM: a table is missing.
 */
static int pvvas_space_update(struct pvvas_space *space,
			      const struct pvvas_span *span, u64 gpa, bool split)
{
	u64 *crowd = xa_load(&space->crowded, pvvas_gib(gpa));
	u32 i = (gpa >> PMD_SHIFT) % PVVAS_PTRS;
	struct pvvas_tree *tree = span->tree;
	u64 *mid;
	int ret = 0;

	spin_lock(&tree->lock);
	mid = pvvas_tree_mid(tree, gpa);
	if (!mid)
		goto out;
	tree->shown = true;
	if (!crowd) {
		pvvas_top_set(space, gpa, pvvas_entry_to(mid, span->prot));
		goto out;
	}
	if (split)
		ret = pvvas_tree_small(tree, gpa);
	if (!ret && pvvas_entry_is_table(mid[i])) {
		tree->copied = true;
		pvvas_entry_store(crowd + i,
				  pvvas_entry_addr(mid[i]) | span->prot);
	}
out:
	spin_unlock(&tree->lock);
	return ret;
}

/*
 * How far the segment's tables are shown: what a segment that grows has behind its end may
 * go again.
 */
static u64 pvvas_shown_end(const struct pvvas_tree *tree)
{
	return min(tree->end, pvvas_va_to_gpa(tree->seg->end));
}

/* Show a GiB of the segment, which has a table there; space->lock is held. */
static void pvvas_space_show(struct pvvas_space *space,
			    const struct pvvas_span *span, u64 gpa)
{
	u64 at;

	if (!xa_load(&space->crowded, pvvas_gib(gpa))) {
		pvvas_space_update(space, span, gpa, false);
		return;
	}
	for (at = pvvas_part_start(span->tree, gpa);
	     at < min(pvvas_part_end(span->tree, gpa), pvvas_shown_end(span->tree));
	     at += PVVAS_BLOCK)
		pvvas_space_update(space, span, at, false);
}

static void pvvas_space_show_all(struct pvvas_space *space,
				const struct pvvas_span *span)
{
	struct pvvas_tree *tree = span->tree;
	u64 gpa, end = pvvas_shown_end(tree);
	unsigned long flags;

	for (gpa = pvvas_tree_made(tree, tree->start); gpa < end;
	     gpa = pvvas_tree_made(tree, ALIGN(gpa + 1, PUD_SIZE))) {
		spin_lock_irqsave(&space->lock, flags);
		pvvas_space_show(space, span, gpa);
		spin_unlock_irqrestore(&space->lock, flags);
		cond_resched();
	}
}

static unsigned long pvvas_first_block(const struct pvvas_tree *tree)
{
	return tree->start >> PMD_SHIFT;
}

static unsigned long pvvas_last_block(const struct pvvas_tree *tree)
{
	return (tree->end >> PMD_SHIFT) - 1;
}

/* Show the segment with these rights; pvvas_lock is held. */
int pvvas_space_attach(struct pvvas_space *space, struct pvvas_tree *tree,
		      u32 prot)
{
	struct pvvas_span *span;
	int ret;

	ret = pvvas_space_tops(space, tree->start, tree->end) ?:
	      pvvas_space_crowd(space, tree->start) ?:
	      pvvas_space_crowd(space, tree->end - 1);
	if (ret)
		return ret;
	span = kzalloc(sizeof(*span), PVVAS_GFP_LOCKED | __GFP_ACCOUNT);
	if (!span)
		return -ENOMEM;
	span->tree = tree;
	span->prot = prot & PVVAS_RW;
	span->last = pvvas_last_block(tree);
	ret = mtree_insert_range(&space->spans, pvvas_first_block(tree),
				 pvvas_last_block(tree), span, GFP_KERNEL);
	if (ret) {
		kfree(span);
		return ret;
	}
	atomic_inc(&pvvas_counts.spans);
	pvvas_space_show_all(space, span);
	return 0;
}

/* Take the entries of a segment in a crowded GiB away; space->lock is held. */
static void pvvas_crowd_hide(u64 *crowd, const struct pvvas_tree *tree, u64 gpa)
{
	u64 at = pvvas_part_start(tree, gpa), end = pvvas_part_end(tree, gpa);
	struct pvvas_range lost = {};
	u32 i;

	for (; at < end; at += PVVAS_BLOCK) {
		i = (at >> PMD_SHIFT) % PVVAS_PTRS;
		if (!pvvas_entry_present(crowd[i]))
			continue;
		WRITE_ONCE(crowd[i], PVVAS_EPT_DEMAND);
		pvvas_range_add(&lost, i);
	}
	if (lost.end)
		pvvas_invalidate_more(crowd, lost.first, lost.end - lost.first);
}

/*
 * Take a segment's entries from @gpa on away, in the 512 GiB of the first one; where it
 * has no table there are none.  space->lock is held.  Where to go on.
 */
static u64 pvvas_space_hide(struct pvvas_space *space,
			   const struct pvvas_tree *tree, u64 gpa)
{
	u64 at = pvvas_tree_made(tree, gpa), *crowd;
	u64 start = ALIGN_DOWN(at, PVVAS_TOP_SIZE);
	u64 end = min(tree->end, start + PVVAS_TOP_SIZE);
	struct pvvas_range lost = {};

	for (; at < end; at = pvvas_tree_made(tree, ALIGN(at + 1, PUD_SIZE))) {
		crowd = xa_load(&space->crowded, pvvas_gib(at));
		if (crowd)
			pvvas_crowd_hide(crowd, tree, at);
		else if (pvvas_top_set(space, at, PVVAS_EPT_DEMAND))
			pvvas_range_add(&lost, pvvas_top_index(at));
	}
	if (lost.end)
		pvvas_views_invalidate(space,
				       start + ((u64)lost.first << PUD_SHIFT),
				       lost.end - lost.first);
	return at;
}

/* The last segment of a crowded GiB has gone. */
static void pvvas_space_uncrowd(struct pvvas_space *space, u64 gpa)
{
	unsigned long block = ALIGN_DOWN(gpa, PUD_SIZE) >> PMD_SHIFT;
	unsigned long flags;
	LIST_HEAD(list);
	u64 *table;

	if (!xa_load(&space->crowded, pvvas_gib(gpa)) ||
	    mt_find(&space->spans, &block, block + PVVAS_PTRS - 1))
		return;
	spin_lock_irqsave(&space->lock, flags);
	table = xa_load(&space->crowded, pvvas_gib(gpa));
	if (pvvas_top_set(space, gpa, PVVAS_EPT_DEMAND))
		pvvas_views_invalidate(space, gpa, 1);
	spin_unlock_irqrestore(&space->lock, flags);
	xa_erase(&space->crowded, pvvas_gib(gpa));
	pvvas_table_discard(&list, table);
	pvvas_tables_free(&list, true);
}

/* From block @first to block @last something has gone. */
static void pvvas_space_uncrowd_all(struct pvvas_space *space,
				    unsigned long first, unsigned long last)
{
	unsigned long gib;
	u64 *table;

	/* GiB of a segment that has grown may be crowded in its middle. */
	xa_for_each_range(&space->crowded, gib, table, first / PVVAS_PTRS,
			  last / PVVAS_PTRS)
		pvvas_space_uncrowd(space, (u64)gib << PUD_SHIFT);
}

/* Hide it.  False if it was not attached.  pvvas_lock is held. */
bool pvvas_space_detach(struct pvvas_space *space, struct pvvas_tree *tree)
{
	unsigned long block = pvvas_first_block(tree);
	struct pvvas_span *span = mtree_load(&space->spans, block);
	unsigned long flags, last;
	u64 gpa;

	if (!span || span->tree != tree)
		return false;
	mtree_erase(&space->spans, block);
	/* A demand fault that has found it has had the lock; others find it gone. */
	for (gpa = tree->start; gpa < tree->end;) {
		spin_lock_irqsave(&space->lock, flags);
		gpa = pvvas_space_hide(space, tree, gpa);
		spin_unlock_irqrestore(&space->lock, flags);
		cond_resched();
	}
	last = max(span->last, pvvas_last_block(tree));
	pvvas_space_uncrowd_all(space, block, last);
	atomic_dec(&pvvas_counts.spans);
	/* A demand fault may have found it; it sees that it is gone. */
	kfree_rcu(span, rcu);
	return true;
}

/*
 * The blocks behind the span's last one, up to @last, are its own from now on.  What is
 * there asks for demand faults.
 */
static int pvvas_span_grow(struct pvvas_space *space, struct pvvas_span *span,
			   unsigned long last)
{
	unsigned long next = span->last + 1, first = pvvas_first_block(span->tree);
	u64 end = (u64)(last + 1) << PMD_SHIFT;
	int ret;

	if (mt_find(&space->spans, &next, last))
		return -EEXIST;
	ret = pvvas_space_tops(space, (u64)(span->last + 1) << PMD_SHIFT, end);
	if (!ret && span->last / PVVAS_PTRS != last / PVVAS_PTRS)
		ret = pvvas_space_crowd(space, end - 1);
	if (!ret)
		ret = mtree_store_range(&space->spans, first, last, span,
					GFP_KERNEL);
	if (!ret)
		span->last = last;
	return ret;
}

/* They are not; no access has come to anything there. */
static void pvvas_span_shrink(struct pvvas_space *space, struct pvvas_span *span,
			      unsigned long last)
{
	/* -ENOMEM, which has to end. */
	while (mtree_store_range(&space->spans, last + 1, span->last, NULL,
				 GFP_KERNEL))
		cond_resched();
	swap(span->last, last);
	pvvas_space_uncrowd_all(space, span->last + 1, last);
}

/*
 * Let the space show the segment, if it does, as far as its tables go now: farther than
 * before, or less far again.  -EEXIST: something is in the way.  pvvas_lock is held.
 */
int pvvas_space_reach(struct pvvas_space *space, struct pvvas_tree *tree)
{
	struct pvvas_span *span = mtree_load(&space->spans,
					     pvvas_first_block(tree));
	unsigned long last = pvvas_last_block(tree);

	if (!span || span->tree != tree)
		return 0;
	if (span->last > last)
		pvvas_span_shrink(space, span, last);
	return span->last < last ? pvvas_span_grow(space, span, last) : 0;
}

/* Hide all segments; pvvas_lock is held. */
void pvvas_space_clear(struct pvvas_space *space)
{
	struct pvvas_span *span;
	unsigned long block = 0;

	mt_for_each(&space->spans, span, block, ULONG_MAX)
		pvvas_space_detach(space, span->tree);
}

/* The segment at the address of @demand; false if there is none.  RCU. */
bool pvvas_space_find(struct pvvas_space *space, struct pvvas_demand *demand)
{
	u64 gpa = pvvas_va_to_gpa(demand->address);
	struct pvvas_span *span = mtree_load(&space->spans, gpa >> PMD_SHIFT);

	if (!span)
		return false;
	demand->seg = pvvas_seg_fault_begin(span->tree);
	demand->offset = PAGE_ALIGN_DOWN(gpa) - span->tree->start;
	/* An entry that is not present does not refuse a write. */
	demand->refused = demand->access & ~span->prot;
	return true;
}

/* The segment around @gpa has a page there: lead to it.  0 or -ENOMEM.  RCU. */
int pvvas_space_follow(struct pvvas_space *space, u64 gpa)
{
	struct pvvas_span *span;
	unsigned long flags;
	int ret = 0;

	spin_lock_irqsave(&space->lock, flags);
	span = space->dead ? NULL : mtree_load(&space->spans, gpa >> PMD_SHIFT);
	if (span)
		ret = pvvas_space_update(space, span, gpa, true);
	spin_unlock_irqrestore(&space->lock, flags);
	return ret;
}
