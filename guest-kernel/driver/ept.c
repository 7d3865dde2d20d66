// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tables of a segment, in EPT format, which KVM shadows.
 *
 * To map a page is to store an entry.  What was present and gives less, or leads
 * elsewhere, is told to KVM after the store and before the old page can be used
 * for anything else.  Entries that map nothing ask for demand faults, and so do
 * those that map a page with fewer rights than read and write.
 *
 * A level 2 entry maps 2 MiB, or leads to a table.  Once a space has a copy of one
 * (space.c) the segment's tables stay until it goes.
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include "ept.h"
#include "hv.h"

/* Tables whose entries change in one go, with interrupts off. */
#define PVVAS_TABLES_AT_ONCE	8

static u64 pvvas_leaf(struct page *page, u32 prot)
{
	if (!page || !prot)
		return PVVAS_EPT_DEMAND;
	return page_to_phys(page) | prot | PVVAS_EPT_WB |
	       (prot == PVVAS_RW ? 0 : PVVAS_EPT_DEMAND);
}

/* The same with fewer rights; nothing if none is left. */
static u64 pvvas_leaf_less(u64 entry, u32 prot)
{
	u64 rights = entry & PVVAS_RW & prot;

	if (!rights)
		return PVVAS_EPT_DEMAND;
	return (entry & ~(u64)PVVAS_RW) | rights |
	       (rights == PVVAS_RW ? 0 : PVVAS_EPT_DEMAND);
}

/* Would a copy of @old give what @new does not? */
static bool pvvas_entry_lost(u64 old, u64 new)
{
	return pvvas_entry_present(old) &&
	       (pvvas_entry_addr(old) != pvvas_entry_addr(new) ||
		(old ^ new) & PVVAS_EPT_LARGE || old & ~new & PVVAS_RW);
}

static u64 pvvas_tree_gpa(const struct pvvas_tree *tree, pgoff_t index)
{
	return tree->start + ((u64)index << PAGE_SHIFT);
}

static u64 **pvvas_tree_mid_at(struct pvvas_tree *tree, u64 gpa)
{
	return &tree->mids[(gpa >> PUD_SHIFT) - (tree->start >> PUD_SHIFT)];
}

static u32 pvvas_pmd_index(u64 gpa)
{
	return (gpa >> PMD_SHIFT) % PVVAS_PTRS;
}

static u32 pvvas_pte_index(u64 gpa)
{
	return (gpa >> PAGE_SHIFT) % PVVAS_PTRS;
}

/* The level 2 table of the GiB around @gpa, or NULL; tree->lock is held. */
u64 *pvvas_tree_mid(struct pvvas_tree *tree, u64 gpa)
{
	return *pvvas_tree_mid_at(tree, gpa);
}

static u64 pvvas_tree_gibs(u64 start, u64 end)
{
	return ((end - 1) >> PUD_SHIFT) - (start >> PUD_SHIFT) + 1;
}

/*
 * The first address from @gpa on of a GiB with a level 2 table, or the segment's end.
 * There are few where the segment has few pages, however large it is.
 */
u64 pvvas_tree_made(const struct pvvas_tree *tree, u64 gpa)
{
	u64 base = ALIGN_DOWN(tree->start, PUD_SIZE);
	u64 gib = find_next_bit(tree->made,
				pvvas_tree_gibs(tree->start, tree->end),
				(gpa - base) >> PUD_SHIFT);

	return min(max(gpa, base + (gib << PUD_SHIFT)), tree->end);
}

/*
 * A new level 1 table below the entry @pmd: demand, or what the entry maps.
 * True: KVM has to forget the entry.
 */
static bool pvvas_table_enter(u64 *pmd, u64 *table)
{
	u64 old = *pmd;
	unsigned int i;

	if (pvvas_entry_present(old))
		pvvas_table_use(table, 0, PVVAS_PTRS);
	for (i = 0; pvvas_entry_present(old) && i < PVVAS_PTRS; i++)
		table[i] = (old & ~PVVAS_EPT_LARGE) + i * PAGE_SIZE;
	/* The table before what leads to it; another vCPU may be looking. */
	smp_wmb();
	pvvas_entry_store(pmd, virt_to_phys(table) | PVVAS_RW);
	return pvvas_entry_present(old);
}

/*
 * Make what is missing of the tables above @gpa, from the spare ones: the level 2
 * table, and, if @small, one of level 1 where nothing is mapped.  tree->lock is
 * held.  True: all is there.
 */
static bool pvvas_tree_enter(struct pvvas_tree *tree, u64 gpa, bool small,
			     u64 *spare[2])
{
	u64 **mid = pvvas_tree_mid_at(tree, gpa), *pmd;

	if (!*mid && spare[0]) {
		*mid = spare[0];
		__set_bit(mid - tree->mids, tree->made);
		spare[0] = NULL;
	}
	if (!*mid || !small)
		return *mid;
	pmd = *mid + pvvas_pmd_index(gpa);
	if (!pvvas_entry_present(*pmd) && spare[1]) {
		pvvas_table_enter(pmd, spare[1]);
		spare[1] = NULL;
	}
	return pvvas_entry_present(*pmd);
}

static int pvvas_tree_make(struct pvvas_tree *tree, pgoff_t index, bool small,
			   gfp_t gfp)
{
	u64 gpa = pvvas_tree_gpa(tree, index);
	u64 *spare[2] = {};
	unsigned long flags;
	int ret = 0, i;
	bool done;

	for (;;) {
		spin_lock_irqsave(&tree->lock, flags);
		done = pvvas_tree_enter(tree, gpa, small, spare);
		spin_unlock_irqrestore(&tree->lock, flags);
		if (done || ret || spare[0])
			break;
		spare[0] = pvvas_table_charged(2, gfp);
		spare[1] = small ? pvvas_table_charged(1, gfp) : NULL;
		/* Another CPU may have entered what is missing. */
		for (i = 0; i < 2; i++)
			if (IS_ERR(spare[i])) {
				ret = PTR_ERR(spare[i]);
				spare[i] = NULL;
			}
	}
	pvvas_table_free(spare[0]);
	pvvas_table_free(spare[1]);
	return done ? 0 : ret ?: -ENOMEM;
}

/*
 * Tables down to the page, allocated where @gfp says, so that pvvas_tree_set()
 * needs none.  Where 2 MiB are mapped there is no level 1 table, and none is made.
 */
int pvvas_tree_prepare(struct pvvas_tree *tree, pgoff_t index, gfp_t gfp)
{
	return pvvas_tree_make(tree, index, true, gfp);
}

/* The same for pvvas_tree_set_block(). */
int pvvas_tree_prepare_block(struct pvvas_tree *tree, pgoff_t first, gfp_t gfp)
{
	return pvvas_tree_make(tree, first, false, gfp);
}

/* The level 2 entry of @gpa, or NULL; tree->lock is held. */
static u64 *pvvas_tree_pmd(struct pvvas_tree *tree, u64 gpa)
{
	u64 *mid = pvvas_tree_mid(tree, gpa);

	return mid ? mid + pvvas_pmd_index(gpa) : NULL;
}

/* Let @table map what the entry @pmd did; tree->lock is held. */
static void pvvas_pmd_enter(u64 *pmd, u64 *table)
{
	if (pvvas_table_enter(pmd, table))
		pvvas_invalidate((u64 *)((unsigned long)pmd & PAGE_MASK),
				 offset_in_page(pmd) / sizeof(*pmd), 1);
}

/* Split what maps 2 MiB; tree->lock is held. */
static int pvvas_pmd_split(u64 *pmd)
{
	u64 *table = pvvas_table_new(1, GFP_ATOMIC);

	if (!table)
		return -ENOMEM;
	pvvas_pmd_enter(pmd, table);
	return 0;
}

/* Let single pages be mapped around @gpa, which views may copy; tree->lock is held. */
int pvvas_tree_small(struct pvvas_tree *tree, u64 gpa)
{
	u64 *pmd = pvvas_tree_pmd(tree, gpa);

	if (!pmd || !(*pmd & PVVAS_EPT_LARGE))
		return 0;
	return pvvas_pmd_split(pmd);
}

/*
 * Split the 2 MiB that are mapped around page @index, if they are, with memory from
 * where @gfp says: the table may be what an access in the view lacked.
 */
int pvvas_tree_split(struct pvvas_tree *tree, pgoff_t index, gfp_t gfp)
{
	u64 *pmd, *table = NULL;
	unsigned long flags;
	bool large;

	do {
		spin_lock_irqsave(&tree->lock, flags);
		pmd = pvvas_tree_pmd(tree, pvvas_tree_gpa(tree, index));
		large = pmd && *pmd & PVVAS_EPT_LARGE;
		if (large && table) {
			pvvas_pmd_enter(pmd, table);
			large = false;
			table = NULL;
		}
		spin_unlock_irqrestore(&tree->lock, flags);
		if (large)
			table = pvvas_table_new(1, gfp);
	} while (large && table);
	pvvas_table_free(table);
	return large ? -ENOMEM : 0;
}

/*
 * Map @page at page @index with the rights @prot, in place of what is there;
 * NULL or no rights: nothing.  -ENOMEM if a table is missing that
 * pvvas_tree_prepare() makes, or to split 2 MiB.
 */
int pvvas_tree_set(struct pvvas_tree *tree, pgoff_t index, struct page *page,
		   u32 prot)
{
	u64 gpa = pvvas_tree_gpa(tree, index), new = pvvas_leaf(page, prot);
	u64 *pmd, *table, old, want;
	unsigned long flags;
	int ret = 0;
	u32 i;

	spin_lock_irqsave(&tree->lock, flags);
	pmd = pvvas_tree_pmd(tree, gpa);
	i = pvvas_pte_index(gpa);
	if (pmd && *pmd & PVVAS_EPT_LARGE) {
		/* Nothing to do if the 2 MiB say the same. */
		want = (*pmd & ~PVVAS_EPT_LARGE) + i * PAGE_SIZE;
		if (want == new)
			goto out;
		ret = pvvas_pmd_split(pmd);
		if (ret)
			goto out;
	}
	if (!pmd || !pvvas_entry_is_table(*pmd)) {
		if (pvvas_entry_present(new))
			ret = -ENOMEM;
		goto out;
	}
	table = pvvas_entry_table(*pmd);
	old = table[i];
	pvvas_entry_store(table + i, new);
	if (pvvas_entry_lost(old, new))
		pvvas_invalidate(table, i, 1);
out:
	spin_unlock_irqrestore(&tree->lock, flags);
	return ret;
}

/*
 * Map the @nr pages from page @first on, of one table, with all rights, in place of
 * what is there: @run and those behind it, or, if it is NULL, @pages.  -ENOMEM if the
 * table is missing.
 */
int pvvas_tree_set_pages(struct pvvas_tree *tree, pgoff_t first,
			 struct page *run, struct page * const *pages, u32 nr)
{
	u64 gpa = pvvas_tree_gpa(tree, first), *pmd, *table, old;
	u32 i, at = pvvas_pte_index(gpa), lost = 0;
	unsigned long flags;
	int ret = 0;

	spin_lock_irqsave(&tree->lock, flags);
	pmd = pvvas_tree_pmd(tree, gpa);
	if (!pmd || !pvvas_entry_is_table(*pmd)) {
		ret = -ENOMEM;
		goto out;
	}
	table = pvvas_entry_table(*pmd) + at;
	pvvas_table_use(pvvas_entry_table(*pmd), at, nr);
	for (i = 0; i < nr; i++) {
		old = table[i];
		WRITE_ONCE(table[i], pvvas_leaf(run ? run + i : pages[i],
						PVVAS_RW));
		lost += pvvas_entry_lost(old, table[i]);
	}
	if (lost)
		pvvas_invalidate(pvvas_entry_table(*pmd), at, nr);
out:
	spin_unlock_irqrestore(&tree->lock, flags);
	return ret;
}

/* @pmd leads to @table no more: free that.  tree->lock is held. */
static void pvvas_pmd_forget(u64 *pmd, u64 *table)
{
	struct pvvas_hc_range *rows = pvvas_rows_get();

	rows[0] = (struct pvvas_hc_range) {
		.table = virt_to_phys(pmd) & PAGE_MASK,
		.first = offset_in_page(pmd) / sizeof(*pmd),
		.count = 1,
	};
	rows[1] = (struct pvvas_hc_range) {
		.table = virt_to_phys(table),
		.count = PVVAS_ALL_ENTRIES,
	};
	pvvas_invalidate_rows(rows, 2);
	pvvas_table_free(table);
}

/*
 * 2 MiB at once, with all rights, where nothing is mapped.  -EBUSY if there is a
 * table for single pages that has to stay.
 */
int pvvas_tree_set_block(struct pvvas_tree *tree, pgoff_t first,
			 struct page *page)
{
	u64 *pmd, old, gpa = pvvas_tree_gpa(tree, first);
	unsigned long flags;
	int ret = 0;

	spin_lock_irqsave(&tree->lock, flags);
	pmd = pvvas_tree_pmd(tree, gpa);
	old = pmd ? *pmd : 0;
	if (!pmd || old & PVVAS_EPT_LARGE ||
	    (pvvas_entry_present(old) && tree->copied)) {
		ret = -EBUSY;
	} else {
		pvvas_entry_store(pmd, page_to_phys(page) | PVVAS_RW |
				  PVVAS_EPT_WB | PVVAS_EPT_LARGE);
		if (pvvas_entry_present(old))
			pvvas_pmd_forget(pmd, pvvas_entry_table(old));
	}
	spin_unlock_irqrestore(&tree->lock, flags);
	return ret;
}

/* Entries first to first + count - 1 of a table get less; the row that says so. */
static bool pvvas_table_refuse(u64 *table, u32 first, u32 count, u32 prot,
			       struct pvvas_hc_range *row)
{
	u32 i, low = PVVAS_PTRS, high = 0;
	u64 new;

	for (i = first; i < first + count; i++) {
		if (!pvvas_entry_present(table[i]))
			continue;
		new = pvvas_leaf_less(table[i], prot);
		if (!pvvas_entry_lost(table[i], new))
			continue;
		WRITE_ONCE(table[i], new);
		low = min(low, i);
		high = i;
	}
	if (low == PVVAS_PTRS)
		return false;
	*row = (struct pvvas_hc_range) {
		.table = virt_to_phys(table),
		.first = low,
		.count = high - low + 1,
	};
	return true;
}

/* One block, or a part of it.  tree->lock is held; rows that were used. */
static u32 pvvas_block_refuse(struct pvvas_tree *tree, u64 from, u64 to,
			      u32 prot, struct pvvas_hc_range *row)
{
	u64 *pmd = pvvas_tree_pmd(tree, from);
	u32 n = (to - from) >> PAGE_SHIFT;

	if (!pmd || !pvvas_entry_present(*pmd))
		return 0;
	if (*pmd & PVVAS_EPT_LARGE &&
	    (n == PVVAS_PTRS || pvvas_pmd_split(pmd)))
		/* Without memory to split, too much is refused: faults mend it. */
		return pvvas_table_refuse((u64 *)((unsigned long)pmd & PAGE_MASK),
					  pvvas_pmd_index(from), 1, prot, row);
	return pvvas_table_refuse(pvvas_entry_table(*pmd), pvvas_pte_index(from),
				  n, prot, row);
}

/*
 * Lower the rights of pages to @prot: PVVAS_PROT_READ, or 0 for none.  In pieces,
 * so that neither interrupts nor other faults wait for long.
 */
void pvvas_tree_refuse(struct pvvas_tree *tree, pgoff_t first, u64 count,
		       u32 prot)
{
	u64 from = pvvas_tree_gpa(tree, first), next;
	u64 end = pvvas_tree_gpa(tree, first + count);
	struct pvvas_hc_range *rows;
	unsigned long flags;
	u32 n, blocks;

	while (from < end) {
		spin_lock_irqsave(&tree->lock, flags);
		rows = pvvas_rows_get();
		for (n = blocks = 0; from < end && blocks < PVVAS_TABLES_AT_ONCE;
		     from = next) {
			if (!pvvas_tree_mid(tree, from)) {
				next = min(end, ALIGN(from + 1, PUD_SIZE));
				continue;
			}
			next = min(end, ALIGN(from + 1, PVVAS_BLOCK));
			n += pvvas_block_refuse(tree, from, next, prot, rows + n);
			blocks++;
		}
		if (n)
			pvvas_invalidate_rows(rows, n);
		spin_unlock_irqrestore(&tree->lock, flags);
		/* Under the lock of the memory's pages they are off. */
		if (!irqs_disabled())
			cond_resched();
	}
}

/* A pointer and a bit for each GiB. */
static size_t pvvas_mids_size(u64 gibs)
{
	return gibs * sizeof(u64 *) + BITS_TO_LONGS(gibs) * sizeof(long);
}

/* Zeroed memory for a tree or its pointers; whole pages count.  Or -ENOSPC, -ENOMEM. */
static void *pvvas_tree_alloc(size_t size)
{
	void *p;

	if (!pvvas_quota_tables(PAGE_ALIGN_DOWN(size)))
		return ERR_PTR(-ENOSPC);
	p = kvzalloc(size, GFP_KERNEL_ACCOUNT);
	if (p)
		return p;
	pvvas_quota_tables_back(PAGE_ALIGN_DOWN(size));
	return ERR_PTR(-ENOMEM);
}

static size_t pvvas_tree_size(u64 gibs)
{
	return sizeof(struct pvvas_tree) + pvvas_mids_size(gibs);
}

struct pvvas_tree *pvvas_tree_new(struct pvvas_seg *seg, u64 start, u64 end)
{
	u64 gibs = pvvas_tree_gibs(start, end);
	struct pvvas_tree *tree = pvvas_tree_alloc(pvvas_tree_size(gibs));

	if (IS_ERR(tree))
		return tree;
	spin_lock_init(&tree->lock);
	tree->start = start;
	tree->end = end;
	tree->farthest = end;
	tree->seg = seg;
	tree->gibs = gibs;
	tree->first_gibs = gibs;
	tree->mids = tree->first;
	tree->made = (unsigned long *)&tree->first[gibs];
	atomic_set(&tree->faulting, 1);
	atomic64_inc(&pvvas_counts.trees);
	return tree;
}

/* Of @gibs GiB, if they are not in the tree itself. */
static void pvvas_mids_free(struct pvvas_tree *tree, u64 **mids, u64 gibs)
{
	if (mids == tree->first)
		return;
	pvvas_quota_tables_back(PAGE_ALIGN_DOWN(pvvas_mids_size(gibs)));
	kvfree(mids);
}

/*
 * Let the tree have room up to address @end.  pvvas_lock is not held, and nothing else
 * does that to the tree meanwhile.
 */
int pvvas_tree_room(struct pvvas_tree *tree, u64 end)
{
	u64 gibs = pvvas_tree_gibs(tree->start, end), old = tree->gibs;
	u64 **mids, **before;

	if (gibs <= old)
		return 0;
	mids = pvvas_tree_alloc(pvvas_mids_size(gibs));
	if (IS_ERR(mids))
		return PTR_ERR(mids);
	mutex_lock(&pvvas_lock);
	spin_lock_irq(&tree->lock);
	before = tree->mids;
	memcpy(mids, before, old * sizeof(*mids));
	memcpy(mids + gibs, tree->made, BITS_TO_LONGS(old) * sizeof(long));
	tree->mids = mids;
	tree->made = (unsigned long *)&mids[gibs];
	tree->gibs = gibs;
	spin_unlock_irq(&tree->lock);
	pvvas_unlock();
	pvvas_mids_free(tree, before, old);
	return 0;
}

/* No view leads here any more. */
void pvvas_tree_free(struct pvvas_tree *tree)
{
	u64 gpa, next, *mid, *pmd;
	LIST_HEAD(list);

	if (!tree)
		return;
	/* Growth that has failed may have left some behind it. */
	tree->end = tree->farthest;
	for (gpa = pvvas_tree_made(tree, tree->start); gpa < tree->end;
	     gpa = pvvas_tree_made(tree, next)) {
		next = min(tree->end, ALIGN(gpa + 1, PUD_SIZE));
		mid = pvvas_tree_mid(tree, gpa);
		for (; gpa < next; gpa += PVVAS_BLOCK) {
			pmd = mid + pvvas_pmd_index(gpa);
			if (pvvas_entry_is_table(*pmd))
				pvvas_table_discard(&list,
						    pvvas_entry_table(*pmd));
		}
		pvvas_table_discard(&list, mid);
		pvvas_tables_free(&list, tree->shown);
	}
	atomic64_dec(&pvvas_counts.trees);
	pvvas_mids_free(tree, tree->mids, tree->gibs);
	pvvas_quota_tables_back(PAGE_ALIGN_DOWN(pvvas_tree_size(tree->first_gibs)));
	kvfree_rcu(tree, rcu);
}
