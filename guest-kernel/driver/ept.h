/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tables in EPT format: those of segments (ept.c), of spaces (space.c) and of
 * views (view.c).
 *
 * Locks, both taken with interrupts off, in this order:
 *
 *   space->lock (spin)	the tables of one space, and which views have it
 *     tree->lock (spin)	the tables of one segment; may be taken inside the
 *			lock of the segment's pages
 *
 * What is attached to a space changes under pvvas_lock and is read under RCU;
 * so does which space a view has.
 */
#ifndef PVVAS_EPT_H
#define PVVAS_EPT_H

#include <linux/gfp_types.h>
#include <linux/io.h>
#include <linux/list.h>
#include <linux/maple_tree.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include "pvvas_drv.h"

/* Guest-physical addresses that four levels reach. */
#define PVVAS_VIEW_BITS	48

/* What one entry of a level 4 table leads to. */
#define PVVAS_TOP_SHIFT	39
#define PVVAS_TOP_SIZE	(1ULL << PVVAS_TOP_SHIFT)
#define PVVAS_PTRS	512U

/* Where the identity page is if one table leads there: at 0, 1, 2 of three levels. */
#define PVVAS_LADDER	(PMD_SIZE + 2 * PAGE_SIZE)
#define PVVAS_BLOCK_PAGES	(PVVAS_BLOCK >> PAGE_SHIFT)

/* What a row of all entries of a table says: the page is a table no more. */
#define PVVAS_ALL_ENTRIES	PVVAS_PTRS

/* Of one INVALIDATE_LIST, in a page. */
#define PVVAS_ROWS	((u32)(PAGE_SIZE / sizeof(struct pvvas_hc_range)))

/* Tables of levels 1 to 3 are kept for the next ones (table.c). */
#define PVVAS_STOCK_LEVELS	3

/**
 * struct pvvas_tree - the tables of one segment, below its GiB
 * @lock: see the top of this file
 * @start: first guest-physical address, a multiple of PVVAS_BLOCK
 * @end: first address behind it, likewise, and how far spaces have to show it
 *	(pvvas_space_reach()); changes under pvvas_lock
 * @farthest: that @end has been
 * @seg: whose they are; there until @faulting is 0
 * @faulting: demand faults that look at @seg now, and 1 as long as that lives
 * @rcu: to be freed: demand faults look at it under RCU
 * @shown: a view has led here: KVM may know the tables
 * @copied: a space has a copy of a level 2 entry: the tables stay until the tree goes
 * @gibs: how many there is room for in @made and @mids, which are in @first until the
 *	segment grows; they are replaced under pvvas_lock and @lock
 * @first_gibs: the same of @first
 * @made: for each GiB a bit: it has a level 2 table; set with @lock
 * @mids: for each GiB its level 2 table, or NULL; they stay until the tree goes
 */
struct pvvas_tree {
	spinlock_t lock;
	u64 start;
	u64 end;
	u64 farthest;
	struct pvvas_seg *seg;
	atomic_t faulting;
	struct rcu_head rcu;
	bool shown;
	bool copied;
	u64 gibs;
	u64 first_gibs;
	unsigned long *made;
	u64 **mids;
	u64 *first[];
};

/**
 * struct pvvas_span - a segment in a space
 * @tree: its tables
 * @prot: the rights that the space gives
 * @last: number of its last block; under pvvas_lock
 * @rcu: to be freed
 */
struct pvvas_span {
	struct pvvas_tree *tree;
	u32 prot;
	unsigned long last;
	struct rcu_head rcu;
};

/* Tops, or entries, by their numbers: from the first one up to @end; none if that is 0. */
struct pvvas_range {
	u32 first;
	u32 end;
};

static inline void pvvas_range_add(struct pvvas_range *range, u32 nr)
{
	range->first = range->end ? min(range->first, nr) : nr;
	range->end = max(range->end, nr + 1);
}

/**
 * struct pvvas_space - what views show in the window
 * @lock: guards what is in the tables and @views; see the top of this file
 * @dead: its tables are about to go; under @lock
 * @shown: a view has it, or had: KVM may know the tables
 * @views: those that have it
 * @spans: number of a block of memory -> struct pvvas_span; read under RCU
 * @crowded: number of a GiB -> level 2 table of the space's own
 * @rcu: to be freed; @left: likewise
 * @used: of @tops, all that there are; under @lock
 * @tops: for each 512 GiB where segments are its level 3 table, or NULL
 */
struct pvvas_space {
	spinlock_t lock;
	bool dead;
	bool shown;
	struct list_head views;
	struct maple_tree spans;
	struct xarray crowded;
	struct rcu_head rcu;
	struct pvvas_leftover left;
	struct pvvas_range used;
	u64 *tops[];
};

/**
 * struct pvvas_view - one root
 * @id: KVM's; 0 for the plain view
 * @ctx: KVM's context
 * @slot: where it is placed, or 0
 * @prot: the rights of the attachment
 * @space: what it shows; read under RCU
 * @in_space: in its views
 * @proc: whose spare view it is, or NULL; @spare: among them (spare.c)
 * @identity: its page
 * @root: its level 4 table
 * @own: tables above the identity page, or one for all three levels; the first one
 *	also leads to RAM, and to the segments where they have no whole 512 GiB (struct
 *	pvvas_window)
 * @led: the tops that @root may lead to
 * @rcu: to be freed
 */
struct pvvas_view {
	u64 id;
	u64 ctx;
	u32 slot;
	u32 prot;
	struct pvvas_space *space;
	struct list_head in_space;
	struct pvvas_proc *proc;
	struct list_head spare;
	struct pvvas_identity *identity;
	u64 *root;
	u64 *own[3];
	struct pvvas_range led;
	struct rcu_head rcu;
};

/**
 * struct pvvas_demand - a demand fault
 * @view: the view in force
 * @seg: the segment, or NULL; pvvas_seg_fault_end()
 * @offset: of the page, from the start of the segment's first block
 * @address: the virtual address
 * @access: PVVAS_PROT_*
 * @refused: the attachment does not give that
 */
struct pvvas_demand {
	u64 view;
	struct pvvas_seg *seg;
	u64 offset;
	u64 address;
	u32 access;
	bool refused;
};

static inline bool pvvas_entry_present(u64 entry)
{
	return entry & PVVAS_PROT_ALL;
}

static inline u64 pvvas_entry_addr(u64 entry)
{
	return entry & PVVAS_EPT_ADDR;
}

static inline u64 *pvvas_entry_table(u64 entry)
{
	return phys_to_virt(pvvas_entry_addr(entry));
}

static inline u64 pvvas_entry_to(u64 *table, u32 prot)
{
	return virt_to_phys(table) | prot;
}

/* Is @entry one that leads to a table, not to memory of 2 MiB? */
static inline bool pvvas_entry_is_table(u64 entry)
{
	return pvvas_entry_present(entry) && !(entry & PVVAS_EPT_LARGE);
}

/* table.c */
int pvvas_tables_init(void);
void pvvas_tables_exit(void);
u64 *pvvas_table_new(u32 level, gfp_t gfp);
u64 *pvvas_table_charged(u32 level, gfp_t gfp);
void pvvas_table_use(u64 *table, u32 first, u32 count);
void pvvas_entry_store(u64 *entry, u64 new);
void pvvas_table_free(u64 *table);
void pvvas_table_discard(struct list_head *list, u64 *table);
void pvvas_tables_free(struct list_head *list, bool known);
struct pvvas_hc_range *pvvas_rows_get(void);
void pvvas_invalidate_rows(struct pvvas_hc_range *rows, u32 n);
void pvvas_invalidate(u64 *table, u32 first, u32 count);
void pvvas_invalidate_more(u64 *table, u32 first, u32 count);

/* ept.c */
struct pvvas_tree *pvvas_tree_new(struct pvvas_seg *seg, u64 start, u64 end);
void pvvas_tree_free(struct pvvas_tree *tree);
int pvvas_tree_room(struct pvvas_tree *tree, u64 end);
int pvvas_tree_prepare(struct pvvas_tree *tree, pgoff_t index, gfp_t gfp);
int pvvas_tree_prepare_block(struct pvvas_tree *tree, pgoff_t first, gfp_t gfp);
int pvvas_tree_split(struct pvvas_tree *tree, pgoff_t index, gfp_t gfp);
int pvvas_tree_set(struct pvvas_tree *tree, pgoff_t index, struct page *page,
		   u32 prot);
int pvvas_tree_set_pages(struct pvvas_tree *tree, pgoff_t first,
			 struct page *run, struct page * const *pages, u32 nr);
int pvvas_tree_set_block(struct pvvas_tree *tree, pgoff_t first,
			 struct page *page);
void pvvas_tree_refuse(struct pvvas_tree *tree, pgoff_t first, u64 count,
		       u32 prot);
u64 *pvvas_tree_mid(struct pvvas_tree *tree, u64 gpa);
u64 pvvas_tree_made(const struct pvvas_tree *tree, u64 gpa);
int pvvas_tree_small(struct pvvas_tree *tree, u64 gpa);

/* space.c; pvvas_lock held but for the last two */
u32 pvvas_tree_tops(const struct pvvas_tree *tree);
struct pvvas_space *pvvas_space_new(gfp_t gfp);
void pvvas_space_free(struct pvvas_space *space);
void pvvas_space_bury(struct pvvas_space *space);
int pvvas_space_attach(struct pvvas_space *space, struct pvvas_tree *tree,
		       u32 prot);
bool pvvas_space_detach(struct pvvas_space *space, struct pvvas_tree *tree);
int pvvas_space_reach(struct pvvas_space *space, struct pvvas_tree *tree);
void pvvas_space_clear(struct pvvas_space *space);
bool pvvas_space_find(struct pvvas_space *space, struct pvvas_demand *demand);
int pvvas_space_follow(struct pvvas_space *space, u64 gpa);

/* view.c */
int pvvas_views_init(void);
void pvvas_views_exit(void);
u64 pvvas_plain_root(void);
u32 pvvas_tops(void);
u32 pvvas_top_number(u64 gpa);
int pvvas_view_new(struct pvvas_proc *proc, u32 handle, struct pvvas_space *space,
		   u32 prot, struct pvvas_view **made);
long pvvas_view_free(struct pvvas_view *view);
void pvvas_view_end(struct pvvas_view *view);
void pvvas_view_name(struct pvvas_view *view, u32 handle);
void pvvas_view_empty(struct pvvas_view *view);
void pvvas_views_leave(struct pvvas_space *space);
long pvvas_view_place(struct pvvas_view *view, u32 slot);
void pvvas_view_change(struct pvvas_view *view, struct pvvas_space *space,
		       u32 prot);
bool pvvas_tops_shared(void);
bool pvvas_view_lead(struct pvvas_view *view, u64 gpa, u64 *table);
void pvvas_views_set(struct pvvas_space *space, u64 gpa, u64 entry);
void pvvas_views_invalidate(struct pvvas_space *space, u64 gpa, u32 count);
bool pvvas_demand_read(struct pvvas_demand *demand);
int pvvas_demand_link(const struct pvvas_demand *demand);

/* spare.c; pvvas_lock held */
struct pvvas_view *pvvas_spare_take(struct pvvas_proc *proc);
long pvvas_spare_put(struct pvvas_proc *proc, struct pvvas_view *view);
bool pvvas_spare_keep(struct pvvas_proc *proc, struct pvvas_view *view);
void pvvas_spare_gone(struct pvvas_view *view);
bool pvvas_spares_drop(void);

#endif /* PVVAS_EPT_H */
