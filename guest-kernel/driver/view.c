// SPDX-License-Identifier: GPL-2.0-only
/*
 * Views: what one attachment of a process sees.
 *
 *   root (level 4)
 *     RAM: level 3 tables that all views share, 1 GiB an entry
 *     window: level 3 tables of the view's own, the "tops"; for each GiB
 *	 - the level 2 table of the one segment there, or demand until there is
 *	   one, or
 *	 - a level 2 table of the view's own, where several segments share the
 *	   GiB ("crowded"), with copies of those of the segments' entries that
 *	   lead to tables
 *   the identity page, first in the window, below tables of its own
 *
 * Entries of the window carry the rights of the attachment.  A view follows a
 * segment's tables when a demand fault finds it behind (pvvas_demand_link()).
 *
 * The plain view is one for all processes: RAM and an identity page.
 */
#include <linux/io.h>
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include "ept.h"
#include "hv.h"

/**
 * struct pvvas_span - a segment in a view
 * @tree: its tables
 * @prot: the rights of the attachment
 * @rcu: to be freed
 */
struct pvvas_span {
	struct pvvas_tree *tree;
	u32 prot;
	struct rcu_head rcu;
};

/**
 * struct pvvas_view - the tables of one view
 * @id: KVM's; 0 for the plain view
 * @ctx: KVM's context
 * @lock: guards what is in the tables; ept.h
 * @spans: number of a block of the window -> struct pvvas_span
 * @crowded: number of a GiB -> level 2 table of the view's own
 * @identity: its page
 * @own: tables above the identity page
 * @root: its level 4 table
 * @slot: where it is placed
 * @dead: its tables are about to go; under @lock
 * @rcu: to be freed
 * @tops: for each 512 GiB that the window touches, or NULL
 */
struct pvvas_view {
	u64 id;
	u64 ctx;
	spinlock_t lock;
	struct maple_tree spans;
	struct xarray crowded;
	struct pvvas_identity *identity;
	u64 *own[2];
	u64 *root;
	u32 slot;
	bool dead;
	struct rcu_head rcu;
	u64 *tops[];
};

/* By KVM's id, for demand faults: RCU. */
static DEFINE_XARRAY(pvvas_views);

static struct pvvas_view *pvvas_plain;

/* Level 3 tables of RAM; NULL where the window is, too. */
static u64 *pvvas_ram[PVVAS_PTRS];

/* Physical addresses that four levels reach. */
static u64 pvvas_phys_end(void)
{
	return 1ULL << min_t(u32, boot_cpu_data.x86_phys_bits, 48);
}

static u64 pvvas_window_end_gpa(void)
{
	return pvvas_hv.window_gpa + pvvas_hv.window_size;
}

static bool pvvas_gpa_in_window(u64 gpa)
{
	return gpa - pvvas_hv.window_gpa < pvvas_hv.window_size;
}

/* The window touches the 512 GiB around @gpa. */
static bool pvvas_has_window(u64 gpa)
{
	u64 start = ALIGN_DOWN(gpa, PVVAS_TOP_SIZE);

	return start < pvvas_window_end_gpa() &&
	       start + PVVAS_TOP_SIZE > pvvas_hv.window_gpa;
}

static u32 pvvas_root_index(u64 gpa)
{
	return (gpa >> PVVAS_TOP_SHIFT) % PVVAS_PTRS;
}

static u32 pvvas_top_index(u64 gpa)
{
	return (gpa >> PUD_SHIFT) % PVVAS_PTRS;
}

static u64 **pvvas_top_at(struct pvvas_view *view, u64 gpa)
{
	return &view->tops[(gpa >> PVVAS_TOP_SHIFT) -
			   (pvvas_hv.window_gpa >> PVVAS_TOP_SHIFT)];
}

static u32 pvvas_tops(void)
{
	return ((pvvas_window_end_gpa() - 1) >> PVVAS_TOP_SHIFT) -
	       (pvvas_hv.window_gpa >> PVVAS_TOP_SHIFT) + 1;
}

static u64 pvvas_entry_to(u64 *table, u32 prot)
{
	return virt_to_phys(table) | prot;
}

/* All that is not window, as it is: RAM, devices, holes. */
static void pvvas_fill_ram(u64 *table, u64 gpa)
{
	u64 at = ALIGN_DOWN(gpa, PVVAS_TOP_SIZE);
	u32 i;

	for (i = 0; i < PVVAS_PTRS; i++, at += PUD_SIZE)
		if (!pvvas_gpa_in_window(at) && at < pvvas_phys_end())
			table[i] = at | PVVAS_PROT_ALL | PVVAS_EPT_WB |
				   PVVAS_EPT_LARGE;
}

/* The level 3 table of the view's own around @gpa; made if there is none. */
static u64 *pvvas_view_top(struct pvvas_view *view, u64 gpa)
{
	u64 **top = pvvas_top_at(view, gpa), *table;

	if (*top)
		return *top;
	table = pvvas_table_new(GFP_KERNEL);
	if (!table)
		return NULL;
	pvvas_fill_ram(table, gpa);
	WRITE_ONCE(*top, table);
	smp_wmb();
	WRITE_ONCE(view->root[pvvas_root_index(gpa)],
		   pvvas_entry_to(table, PVVAS_PROT_ALL));
	return table;
}

/* RAM, the tables to the identity page, and that. */
static int pvvas_view_build(struct pvvas_view *view)
{
	u64 gpa, *top;
	u32 i;

	view->root = pvvas_table_new(GFP_KERNEL);
	view->identity = (void *)pvvas_table_new(GFP_KERNEL);
	for (i = 0; i < ARRAY_SIZE(view->own); i++)
		view->own[i] = pvvas_table_new(GFP_KERNEL);
	if (!view->root || !view->identity || !view->own[0] || !view->own[1])
		return -ENOMEM;
	for (gpa = 0; gpa < pvvas_phys_end(); gpa += PVVAS_TOP_SIZE) {
		if (pvvas_ram[pvvas_root_index(gpa)])
			view->root[pvvas_root_index(gpa)] =
				pvvas_entry_to(pvvas_ram[pvvas_root_index(gpa)],
					       PVVAS_PROT_ALL);
		/* Beside RAM or devices: these have to be there from the start. */
		else if (pvvas_has_window(gpa) &&
			 (gpa < pvvas_hv.window_gpa ||
			  gpa + PVVAS_TOP_SIZE > pvvas_window_end_gpa()) &&
			 !pvvas_view_top(view, gpa))
			return -ENOMEM;
	}
	top = pvvas_view_top(view, pvvas_hv.window_gpa);
	if (!top)
		return -ENOMEM;
	top[pvvas_top_index(pvvas_hv.window_gpa)] =
		pvvas_entry_to(view->own[0], PVVAS_PROT_READ);
	view->own[0][0] = pvvas_entry_to(view->own[1], PVVAS_PROT_READ);
	view->own[1][0] = virt_to_phys(view->identity) | PVVAS_PROT_READ |
			  PVVAS_EPT_WB;
	return 0;
}

static void pvvas_view_destroy_tables(struct pvvas_view *view, bool known)
{
	LIST_HEAD(list);
	unsigned long i;
	u64 *table;

	pvvas_table_discard(&list, view->root);
	for (i = 0; i < pvvas_tops(); i++)
		pvvas_table_discard(&list, view->tops[i]);
	xa_for_each(&view->crowded, i, table)
		pvvas_table_discard(&list, table);
	for (i = 0; i < ARRAY_SIZE(view->own); i++)
		pvvas_table_discard(&list, view->own[i]);
	pvvas_tables_free(&list, known);
	/* No table, but what one of them led to. */
	pvvas_table_free((u64 *)view->identity);
	xa_destroy(&view->crowded);
}

static struct pvvas_view *pvvas_view_alloc(u64 ctx, u64 cookie)
{
	struct pvvas_view *view;

	view = kzalloc(struct_size(view, tops, pvvas_tops()), GFP_KERNEL_ACCOUNT);
	if (!view)
		return NULL;
	view->ctx = ctx;
	spin_lock_init(&view->lock);
	mt_init_flags(&view->spans, MT_FLAGS_ALLOC_RANGE | MT_FLAGS_USE_RCU);
	xa_init(&view->crowded);
	if (pvvas_view_build(view)) {
		pvvas_view_destroy_tables(view, false);
		kfree(view);
		return NULL;
	}
	view->identity->magic = PVVAS_IDENTITY_MAGIC;
	view->identity->cookie = cookie;
	view->identity->ctx = ctx;
	return view;
}

/* A view of the context, in no slot, with nothing attached. */
struct pvvas_view *pvvas_view_new(u64 ctx, u64 cookie)
{
	struct pvvas_view *view = pvvas_view_alloc(ctx, cookie);
	long ret;

	if (!view)
		return ERR_PTR(-ENOMEM);
	ret = pvvas_hc_view_create(ctx, 0, virt_to_phys(view->root), cookie);
	if (ret <= 0) {
		pvvas_view_destroy_tables(view, false);
		kfree(view);
		return ERR_PTR(ret ?: -EIO);
	}
	view->id = ret;
	view->identity->view = ret;
	ret = xa_err(xa_store(&pvvas_views, view->id, view, GFP_KERNEL_ACCOUNT));
	if (ret) {
		pvvas_view_free(view);
		return ERR_PTR(ret);
	}
	return view;
}

/* No thread is in it.  Refused: nothing has changed. */
long pvvas_view_free(struct pvvas_view *view)
{
	struct pvvas_span *span;
	unsigned long block = 0, flags;
	long ret;

	ret = pvvas_hc_view_destroy(view->id);
	if (!pvvas_hc_gone(ret))
		return ret;
	xa_erase(&pvvas_views, view->id);
	/* A demand fault that has found the view leaves its tables alone. */
	spin_lock_irqsave(&view->lock, flags);
	view->dead = true;
	spin_unlock_irqrestore(&view->lock, flags);
	mt_for_each(&view->spans, span, block, ULONG_MAX) {
		kfree_rcu(span, rcu);
		atomic_dec(&pvvas_counts.spans);
	}
	mtree_destroy(&view->spans);
	pvvas_view_destroy_tables(view, true);
	kfree_rcu(view, rcu);
	return 0;
}

/* Slot 0: out of its slot. */
long pvvas_view_place(struct pvvas_view *view, u32 slot)
{
	u32 old = view->identity->slot;
	long ret;

	if (!slot)
		return pvvas_hc_view_place(view->ctx, view->slot, 0);
	/* Right before a thread can come in. */
	WRITE_ONCE(view->identity->slot, slot);
	ret = pvvas_hc_view_place(view->ctx, slot, view->id);
	if (ret < 0) {
		WRITE_ONCE(view->identity->slot, old);
		return ret;
	}
	view->slot = slot;
	WRITE_ONCE(view->identity->generation, view->identity->generation + 1);
	return 0;
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

/* Demand for the part of a segment in a crowded GiB. */
static void pvvas_crowd_add(u64 *table, const struct pvvas_tree *tree, u64 gpa)
{
	u64 at;

	for (at = pvvas_part_start(tree, gpa); at < pvvas_part_end(tree, gpa);
	     at += PVVAS_BLOCK)
		WRITE_ONCE(table[(at >> PMD_SHIFT) % PVVAS_PTRS],
			   PVVAS_EPT_DEMAND);
}

/*
 * The GiB around @gpa will have one more segment: give it a table of the view's
 * own, if it has a segment now.
 */
static int pvvas_view_crowd(struct pvvas_view *view, u64 gpa)
{
	struct pvvas_span *span;
	unsigned long flags;
	u64 *table, *entry, *top = pvvas_view_top(view, gpa);
	unsigned long block = ALIGN_DOWN(gpa, PUD_SIZE) >> PMD_SHIFT;
	int ret;

	if (!top)
		return -ENOMEM;
	if (xa_load(&view->crowded, pvvas_gib(gpa)))
		return 0;
	span = mt_find(&view->spans, &block, block + PVVAS_PTRS - 1);
	if (!span)
		return 0;
	table = pvvas_table_new(GFP_KERNEL);
	if (!table)
		return -ENOMEM;
	pvvas_crowd_add(table, span->tree, gpa);
	ret = xa_err(xa_store(&view->crowded, pvvas_gib(gpa), table,
			      GFP_KERNEL_ACCOUNT));
	if (ret) {
		pvvas_table_free(table);
		return ret;
	}
	entry = top + pvvas_top_index(gpa);
	spin_lock_irqsave(&view->lock, flags);
	smp_wmb();
	WRITE_ONCE(*entry, pvvas_entry_to(table, PVVAS_RW));
	pvvas_invalidate(top, pvvas_top_index(gpa), 1);
	spin_unlock_irqrestore(&view->lock, flags);
	return 0;
}

/*
 * Bring the view's entries around @gpa up to what the segment's tables have;
 * view->lock is held.  -ENOMEM: a table is missing.
 */
static int pvvas_view_follow(struct pvvas_view *view,
			     const struct pvvas_span *span, u64 gpa)
{
	u64 *crowd = xa_load(&view->crowded, pvvas_gib(gpa));
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
		WRITE_ONCE((*pvvas_top_at(view, gpa))[pvvas_top_index(gpa)],
			   pvvas_entry_to(mid, span->prot));
		goto out;
	}
	ret = pvvas_tree_small(tree, gpa);
	if (!ret && pvvas_entry_is_table(mid[i]))
		WRITE_ONCE(crowd[i], pvvas_entry_addr(mid[i]) | span->prot);
out:
	spin_unlock(&tree->lock);
	return ret;
}

/* Show a GiB of the segment; view->lock is held. */
static void pvvas_view_show(struct pvvas_view *view,
			    const struct pvvas_span *span, u64 gpa)
{
	u64 *crowd = xa_load(&view->crowded, pvvas_gib(gpa)), at;

	if (crowd) {
		pvvas_crowd_add(crowd, span->tree, gpa);
		for (at = pvvas_part_start(span->tree, gpa);
		     at < pvvas_part_end(span->tree, gpa); at += PVVAS_BLOCK)
			pvvas_view_follow(view, span, at);
		return;
	}
	WRITE_ONCE((*pvvas_top_at(view, gpa))[pvvas_top_index(gpa)],
		   PVVAS_EPT_DEMAND);
	pvvas_view_follow(view, span, gpa);
}

static void pvvas_view_show_all(struct pvvas_view *view,
				const struct pvvas_span *span)
{
	struct pvvas_tree *tree = span->tree;
	unsigned long flags;
	u64 gpa;

	for (gpa = tree->start; gpa < tree->end; gpa = ALIGN(gpa + 1, PUD_SIZE)) {
		spin_lock_irqsave(&view->lock, flags);
		pvvas_view_show(view, span, gpa);
		spin_unlock_irqrestore(&view->lock, flags);
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
int pvvas_view_attach(struct pvvas_view *view, struct pvvas_tree *tree,
		      u32 prot)
{
	struct pvvas_span *span;
	u64 gpa;
	int ret;

	for (gpa = tree->start; gpa < tree->end;
	     gpa = ALIGN(gpa + 1, PVVAS_TOP_SIZE))
		if (!pvvas_view_top(view, gpa))
			return -ENOMEM;
	ret = pvvas_view_crowd(view, tree->start) ?:
	      pvvas_view_crowd(view, tree->end - 1);
	if (ret)
		return ret;
	span = kzalloc(sizeof(*span), GFP_KERNEL_ACCOUNT);
	if (!span)
		return -ENOMEM;
	span->tree = tree;
	span->prot = prot & PVVAS_RW;
	ret = mtree_insert_range(&view->spans, pvvas_first_block(tree),
				 pvvas_last_block(tree), span, GFP_KERNEL);
	if (ret) {
		kfree(span);
		return ret;
	}
	atomic_inc(&pvvas_counts.spans);
	pvvas_view_show_all(view, span);
	return 0;
}

/* Take the entries of one GiB away; view->lock is held.  What KVM has to know. */
static void pvvas_view_hide(struct pvvas_view *view,
			    const struct pvvas_tree *tree, u64 gpa)
{
	u64 *crowd = xa_load(&view->crowded, pvvas_gib(gpa)), at;
	u64 *top = *pvvas_top_at(view, gpa);
	u32 first, count = 0;

	if (!crowd) {
		WRITE_ONCE(top[pvvas_top_index(gpa)], 0);
		pvvas_invalidate(top, pvvas_top_index(gpa), 1);
		return;
	}
	at = pvvas_part_start(tree, gpa);
	first = (at >> PMD_SHIFT) % PVVAS_PTRS;
	for (; at < pvvas_part_end(tree, gpa); at += PVVAS_BLOCK)
		WRITE_ONCE(crowd[first + count++], 0);
	pvvas_invalidate(crowd, first, count);
}

/* The last segment of a crowded GiB has gone. */
static void pvvas_view_uncrowd(struct pvvas_view *view, u64 gpa)
{
	unsigned long block = ALIGN_DOWN(gpa, PUD_SIZE) >> PMD_SHIFT;
	u64 *top = *pvvas_top_at(view, gpa), *table;
	unsigned long flags;
	LIST_HEAD(list);

	if (!xa_load(&view->crowded, pvvas_gib(gpa)) ||
	    mt_find(&view->spans, &block, block + PVVAS_PTRS - 1))
		return;
	spin_lock_irqsave(&view->lock, flags);
	table = xa_load(&view->crowded, pvvas_gib(gpa));
	WRITE_ONCE(top[pvvas_top_index(gpa)], 0);
	pvvas_invalidate(top, pvvas_top_index(gpa), 1);
	spin_unlock_irqrestore(&view->lock, flags);
	xa_erase(&view->crowded, pvvas_gib(gpa));
	pvvas_table_discard(&list, table);
	pvvas_tables_free(&list, true);
}

/* Entries of whole GiB in one table: one row. */
static u64 pvvas_view_hide_many(struct pvvas_view *view,
				const struct pvvas_tree *tree, u64 gpa)
{
	u64 end = min(ALIGN(gpa + 1, PVVAS_TOP_SIZE),
		      ALIGN_DOWN(tree->end, PUD_SIZE));
	u64 *top = *pvvas_top_at(view, gpa);
	u32 first = pvvas_top_index(gpa), i;

	for (i = 0; i < (end - gpa) >> PUD_SHIFT; i++)
		WRITE_ONCE(top[first + i], 0);
	pvvas_invalidate(top, first, i);
	return end;
}

/* Hide it.  False if it was not attached.  pvvas_lock is held. */
bool pvvas_view_detach(struct pvvas_view *view, struct pvvas_tree *tree)
{
	unsigned long block = pvvas_first_block(tree);
	struct pvvas_span *span = mtree_load(&view->spans, block);
	unsigned long flags;
	u64 gpa;

	if (!span || span->tree != tree)
		return false;
	mtree_erase(&view->spans, block);
	for (gpa = tree->start; gpa < tree->end;) {
		spin_lock_irqsave(&view->lock, flags);
		if (IS_ALIGNED(gpa, PUD_SIZE) && tree->end - gpa >= PUD_SIZE) {
			gpa = pvvas_view_hide_many(view, tree, gpa);
		} else {
			pvvas_view_hide(view, tree, gpa);
			gpa = ALIGN(gpa + 1, PUD_SIZE);
		}
		spin_unlock_irqrestore(&view->lock, flags);
	}
	pvvas_view_uncrowd(view, tree->start);
	pvvas_view_uncrowd(view, tree->end - 1);
	atomic_dec(&pvvas_counts.spans);
	/* A demand fault may have found it; it sees that it is gone. */
	kfree_rcu(span, rcu);
	return true;
}

/* Hide all segments; pvvas_lock is held. */
void pvvas_view_clear(struct pvvas_view *view)
{
	struct pvvas_span *span;
	unsigned long block = 0;

	mt_for_each(&view->spans, span, block, ULONG_MAX)
		pvvas_view_detach(view, span->tree);
}

/*
 * What the demand fault of this CPU is about; interrupts are off since then.
 * False: not one of ours.
 */
bool pvvas_demand_read(struct pvvas_demand *demand)
{
	unsigned long cr2 = native_read_cr2();
	u64 va = cr2 & ~(u64)(PVVAS_CR2_WRITE | PVVAS_CR2_EXEC), gpa;
	struct pvvas_span *span = NULL;
	struct pvvas_view *view;

	/* Without a context there is no view, and no identity page. */
	if (!this_cpu_read(pvvas_cpu.ctx) || cr2 >> 63 ||
	    va - PVVAS_WINDOW_VA >= pvvas_hv.window_size)
		return false;
	gpa = pvvas_va_to_gpa(va);
	rcu_read_lock();
	demand->view = READ_ONCE(pvvas_identity->view);
	view = xa_load(&pvvas_views, demand->view);
	if (view)
		span = mtree_load(&view->spans, gpa >> PMD_SHIFT);
	if (span) {
		demand->seg = span->tree->seg;
		demand->offset = PAGE_ALIGN_DOWN(gpa) - span->tree->start;
		demand->address = va;
		demand->access = cr2 & PVVAS_CR2_WRITE ? PVVAS_PROT_WRITE :
				 cr2 & PVVAS_CR2_EXEC ? PVVAS_PROT_EXEC :
				 PVVAS_PROT_READ;
		/* An entry that is not present does not refuse a write. */
		demand->refused = demand->access & ~span->prot;
	}
	rcu_read_unlock();
	return span;
}

/* The segment has the page: let the view lead there.  0 or -ENOMEM. */
int pvvas_demand_link(const struct pvvas_demand *demand)
{
	u64 gpa = pvvas_va_to_gpa(demand->address);
	struct pvvas_span *span;
	struct pvvas_view *view;
	unsigned long flags;
	int ret = 0;

	rcu_read_lock();
	view = xa_load(&pvvas_views, demand->view);
	if (view) {
		spin_lock_irqsave(&view->lock, flags);
		span = view->dead ? NULL :
		       mtree_load(&view->spans, gpa >> PMD_SHIFT);
		if (span)
			ret = pvvas_view_follow(view, span, gpa);
		spin_unlock_irqrestore(&view->lock, flags);
	}
	rcu_read_unlock();
	return ret;
}

u64 pvvas_plain_root(void)
{
	return virt_to_phys(pvvas_plain->root);
}

static int pvvas_ram_init(void)
{
	u64 gpa;

	for (gpa = 0; gpa < pvvas_phys_end(); gpa += PVVAS_TOP_SIZE) {
		u64 **table = &pvvas_ram[pvvas_root_index(gpa)];

		if (pvvas_has_window(gpa))
			continue;
		*table = pvvas_table_new(GFP_KERNEL);
		if (!*table)
			return -ENOMEM;
		pvvas_fill_ram(*table, gpa);
	}
	return 0;
}

int pvvas_views_init(void)
{
	int ret = pvvas_ram_init();

	if (!ret)
		pvvas_plain = pvvas_view_alloc(0, 0);
	if (!ret && !pvvas_plain)
		ret = -ENOMEM;
	if (ret)
		pvvas_views_exit();
	return ret;
}

/* KVM has been reset: it knows no table. */
void pvvas_views_exit(void)
{
	u32 i;

	if (pvvas_plain) {
		pvvas_view_destroy_tables(pvvas_plain, false);
		kfree(pvvas_plain);
		pvvas_plain = NULL;
	}
	for (i = 0; i < PVVAS_PTRS; i++) {
		pvvas_table_free(pvvas_ram[i]);
		pvvas_ram[i] = NULL;
	}
}
