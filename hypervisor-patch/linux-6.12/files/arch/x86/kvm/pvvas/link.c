// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: tables, and how a segment's subtree hangs in the views that
 * attach it.
 *
 * A segment's tree lies as the window does.  So a view links, for each stretch
 * of a segment, the highest entry that shows nothing but that segment: level 4
 * for whole 512 GiB, level 3 for whole GiB.  At the ends, where a segment has
 * only part of a GiB, it is level 3 too as long as the view has nothing else
 * there; a neighbour makes it level 2.  Tables above the link belong to the
 * view, everything below to the segment; a level 2 leaf is its own link.  The
 * attachment's permission stands in the link, and EPT ANDs it with those below.
 *
 * The view's tables are made at attach, so that whoever adds a table to the
 * segment later (a fault) can link it in every view without allocating, and a
 * page touched through one view is there in all.
 */
#include <linux/kvm_host.h>

#include "internal.h"
#include "trace.h"

/* The highest level at which an entry for @gfn covers nothing but @seg. */
static int pvvas_whole_level(const struct pvvas_seg *seg, gfn_t gfn)
{
	int level;

	for (level = PVVAS_ROOT_LEVEL; level > PG_LEVEL_2M; level--) {
		u64 size = pvvas_level_pages(level);
		gfn_t start = gfn & ~(size - 1);

		if (start >= seg->base && start + size <= seg->base + seg->npages)
			return level;
	}
	return PG_LEVEL_2M;
}

/* Is the GiB of @gfn, of which the segment has a part, shared with others? */
static bool *pvvas_crowded(struct pvvas_att *att, gfn_t gfn)
{
	return &att->crowded[gfn >> 18 != att->seg->base >> 18];
}

/* The level whose entries @att's view shares for @gfn. */
static int pvvas_link_level(struct pvvas_att *att, gfn_t gfn)
{
	int level = pvvas_whole_level(att->seg, gfn);

	if (level == PG_LEVEL_2M && !*pvvas_crowded(att, gfn))
		level = PG_LEVEL_1G;
	return level;
}

/* May a view link @seg's entry for @gfn at @level? */
static bool pvvas_may_link(const struct pvvas_seg *seg, gfn_t gfn, int level)
{
	int whole = pvvas_whole_level(seg, gfn);

	return level == whole ||
	       (level == PG_LEVEL_1G && whole == PG_LEVEL_2M);
}

/*
 * The entry that maps @gfn at @level in the tree of @root.  Missing tables are
 * made from @mc, or, without it, NULL is returned.
 */
u64 *pvvas_walk(struct kvm *kvm, u64 *root, gfn_t gfn, int level,
		struct kvm_mmu_memory_cache *mc)
{
	u64 *entry = root + pvvas_index(gfn, PVVAS_ROOT_LEVEL);
	int l;

	for (l = PVVAS_ROOT_LEVEL; l > level; l--) {
		if (!pvvas_present(*entry)) {
			if (!mc)
				return NULL;
			WRITE_ONCE(*entry, __pa(pvvas_take_page(kvm, mc)) |
				   PVVAS_RWX | PVVAS_OWN);
		} else if (!(*entry & PVVAS_OWN)) {
			return NULL;
		}
		entry = pvvas_table(*entry) + pvvas_index(gfn, l - 1);
	}
	return entry;
}

static bool pvvas_leads_to(const u64 *table, int level, const void *page)
{
	int i;

	for (i = 0; level > PG_LEVEL_4K && i < 512; i++) {
		u64 entry = READ_ONCE(table[i]);

		if (!pvvas_present(entry) ||
		    (level == PG_LEVEL_2M && (entry & PVVAS_LARGE)))
			continue;
		if (pvvas_table(entry) == page ||
		    pvvas_leads_to(pvvas_table(entry), level - 1, page))
			return true;
	}
	return false;
}

/* mmu_lock held.  Below entries outside the window are the TDP MMU's tables. */
static bool pvvas_reachable(struct kvm_pvvas *pv, const void *page)
{
	struct pvvas_view *view;
	bool found = false;
	unsigned long i;
	int e;

	xa_for_each(&pv->roots, i, view) {
		found |= view->root == page;
		for (e = 0; e < 512; e++) {
			u64 entry = READ_ONCE(view->root[e]);

			if (!pvvas_present(entry))
				continue;
			found |= pvvas_table(entry) == page;
			if (pvvas_is_window_index(pv, e))
				found |= pvvas_leads_to(pvvas_table(entry),
							PVVAS_ROOT_LEVEL - 1,
							page);
		}
	}
	return found;
}

/*
 * @page is about to be freed: no view's root may lead to it.  Takes mmu_lock
 * unless the caller has it; if another has it for writing, the check is left
 * out.
 */
void pvvas_assert_unreachable(struct kvm *kvm, const void *page)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	bool found;

	if (!pv)
		return;
	if (READ_ONCE(pv->emptying) == current) {
		found = pvvas_reachable(pv, page);
	} else {
		if (!read_trylock(&kvm->mmu_lock))
			return;
		found = pvvas_reachable(pv, page);
		read_unlock(&kvm->mmu_lock);
	}
	WARN_ONCE(found, "pvvas: a view leads to a table that is freed\n");
}

static void pvvas_free_level(struct kvm *kvm, u64 *table, int level)
{
	int i;

	for (i = 0; level > PG_LEVEL_4K && i < 512; i++)
		if (table[i] & PVVAS_OWN)
			pvvas_free_level(kvm, pvvas_table(table[i]), level - 1);
	pvvas_put_page(kvm, table);
}

/* Free what hangs from @root, which no CPU can walk any more. */
void pvvas_empty_tables(struct kvm *kvm, u64 *root)
{
	unsigned int first = pvvas_index(kvm->arch.pvvas->window,
					 PVVAS_ROOT_LEVEL);
	unsigned int n = kvm->arch.pvvas->window_pages /
			 pvvas_level_pages(PVVAS_ROOT_LEVEL);
	unsigned int i;

	/* Entries outside the window are not ours, whatever their bits. */
	for (i = first; i < first + n; i++) {
		if (root[i] & PVVAS_OWN)
			pvvas_free_level(kvm, pvvas_table(root[i]),
					 PVVAS_ROOT_LEVEL - 1);
		root[i] = 0;
	}
}

void pvvas_free_tables(struct kvm *kvm, u64 *root)
{
	pvvas_empty_tables(kvm, root);
	pvvas_put_page(kvm, root);
}

static u64 pvvas_link_value(u64 val, u32 prot)
{
	if (!pvvas_present(val))
		return 0;
	return val & ~PVVAS_OWN & (~PVVAS_RWX | pvvas_prot_mask(prot));
}

static void pvvas_set_link(struct pvvas_att *att, gfn_t gfn, int level, u64 val)
{
	u64 *entry = pvvas_walk(NULL, att->view->root, gfn, level, NULL);

	/* The tables above were made at attach. */
	if (!WARN_ON_ONCE(!entry))
		WRITE_ONCE(*entry, pvvas_link_value(val, att->prot));
}

/*
 * Set an entry of a segment's tree, and the link in every view that has one
 * here.  mmu_lock held for writing.
 */
void pvvas_seg_set(struct pvvas_seg *seg, gfn_t gfn, int level, u64 *entry,
		   u64 val)
{
	struct pvvas_att *att;

	WRITE_ONCE(*entry, val);
	if (!pvvas_may_link(seg, gfn, level))
		return;
	list_for_each_entry(att, &seg->atts, seg_node)
		if (level == pvvas_link_level(att, gfn))
			pvvas_set_link(att, gfn, level, val);
}

/*
 * The entry of a segment's tree for @gfn at @level.  Missing tables are made
 * from @mc, or NULL is returned; NULL too if a leaf stands above.
 */
u64 *pvvas_seg_entry(struct kvm *kvm, struct pvvas_seg *seg, gfn_t gfn,
		     int level, struct kvm_mmu_memory_cache *mc)
{
	u64 *entry = seg->root + pvvas_index(gfn, PVVAS_ROOT_LEVEL);
	int l;

	for (l = PVVAS_ROOT_LEVEL; l > level; l--) {
		if (!pvvas_present(*entry)) {
			if (!mc)
				return NULL;
			pvvas_seg_set(seg, gfn, l, entry,
				      __pa(pvvas_take_page(kvm, mc)) |
				      PVVAS_RWX | PVVAS_OWN);
		} else if (*entry & PVVAS_LARGE) {
			return NULL;
		}
		entry = pvvas_table(*entry) + pvvas_index(gfn, l - 1);
	}
	return entry;
}

/*
 * Has a leaf been used?  Where views link leaves, each copy has a flag of its
 * own; pvvas_seg_set() overwrites them all.  mmu_lock held.
 */
bool pvvas_seg_accessed(struct pvvas_seg *seg, gfn_t gfn, int level, u64 leaf)
{
	struct pvvas_att *att;

	if (leaf & VMX_EPT_ACCESS_BIT)
		return true;
	if (!pvvas_may_link(seg, gfn, level))
		return false;
	list_for_each_entry(att, &seg->atts, seg_node) {
		u64 *copy;

		if (level != pvvas_link_level(att, gfn))
			continue;
		copy = pvvas_walk(NULL, att->view->root, gfn, level, NULL);
		if (copy && READ_ONCE(*copy) & VMX_EPT_ACCESS_BIT)
			return true;
	}
	return false;
}

static void pvvas_drop_leaf(struct kvm *kvm, u64 leaf, bool accessed)
{
	kvm_pfn_t pfn = (leaf & PVVAS_ADDR_MASK) >> PAGE_SHIFT;

	if (accessed)
		kvm_set_pfn_accessed(pfn);
	if (leaf & VMX_EPT_WRITABLE_MASK)
		kvm_set_pfn_dirty(pfn);
	kvm->stat.pvvas_zapped++;
}

/*
 * Remove the leaves that map [@start, @end), whole 2 MiB leaves if they touch
 * it.  mmu_lock held for writing.  Return: a flush is due.
 */
bool pvvas_seg_zap(struct kvm *kvm, struct pvvas_seg *seg, gfn_t start,
		   gfn_t end)
{
	gfn_t gfn, next;
	u64 *entry, n = 0;

	for (gfn = start; gfn < end; gfn = next) {
		int level = PVVAS_ROOT_LEVEL;

		entry = seg->root + pvvas_index(gfn, level);
		while (pvvas_present(*entry) && level > PG_LEVEL_4K &&
		       !(level == PG_LEVEL_2M && (*entry & PVVAS_LARGE))) {
			level--;
			entry = pvvas_table(*entry) + pvvas_index(gfn, level);
		}
		next = ALIGN(gfn + 1, pvvas_level_pages(level));
		if (pvvas_present(*entry)) {
			pvvas_drop_leaf(kvm, *entry,
					pvvas_seg_accessed(seg, gfn, level,
							   *entry));
			pvvas_seg_set(seg, gfn, level, entry, 0);
			n++;
		}
	}
	if (n)
		trace_kvm_pvvas_zap(seg->id, start, end, n);
	return n;
}

/*
 * The same for a range of any size, letting go of mmu_lock now and then.  Faults
 * must not fill meanwhile what was zapped: @seg is frozen, or in no view.
 */
bool pvvas_seg_zap_yielding(struct kvm *kvm, struct pvvas_seg *seg, gfn_t start,
			    gfn_t end)
{
	bool flush = false;
	gfn_t gfn, next;

	for (gfn = start; gfn < end; gfn = next) {
		next = min(end, ALIGN(gfn + 1, pvvas_level_pages(PG_LEVEL_1G)));
		flush |= pvvas_seg_zap(kvm, seg, gfn, next);
		if (next == end || (!need_resched() &&
				    !rwlock_needbreak(&kvm->mmu_lock)))
			continue;
		/* A notifier finds nothing mapped and frees the page. */
		if (flush)
			pvvas_flush(kvm);
		flush = false;
		cond_resched_rwlock_write(&kvm->mmu_lock);
	}
	return flush;
}

/*
 * Set the links of an attachment that lie in [@gfn, @end): to the segment's
 * entries where there are any, or to 0.
 */
static void pvvas_link_range(struct kvm *kvm, struct pvvas_att *att, gfn_t gfn,
			     gfn_t end, bool link)
{
	while (gfn < end) {
		int link_level = pvvas_link_level(att, gfn);
		int level = PVVAS_ROOT_LEVEL;
		u64 *entry = att->seg->root + pvvas_index(gfn, level);

		while (level > link_level && pvvas_present(*entry)) {
			level--;
			entry = pvvas_table(*entry) + pvvas_index(gfn, level);
		}
		if (pvvas_present(*entry)) {
			pvvas_set_link(att, gfn, level, link ? *entry : 0);
			kvm->stat.pvvas_links++;
		}
		gfn = ALIGN(gfn + 1, pvvas_level_pages(level));
	}
}

void pvvas_each_link(struct kvm *kvm, struct pvvas_att *att, bool link)
{
	pvvas_link_range(kvm, att, att->node.start, att->node.last + 1, link);
}

/*
 * Another attachment comes into the GiB of @gfn, where @att's segment is alone
 * so far: from the segment's level 2 table to one of the view's own.
 */
static void pvvas_crowd(struct kvm *kvm, struct pvvas_att *att, gfn_t gfn,
			struct kvm_mmu_memory_cache *mc)
{
	gfn_t size = pvvas_level_pages(PG_LEVEL_1G), first = gfn & ~(size - 1);

	pvvas_set_link(att, gfn, PG_LEVEL_1G, 0);
	*pvvas_crowded(att, gfn) = true;
	pvvas_walk(kvm, att->view->root, gfn, PG_LEVEL_2M, mc);
	pvvas_link_range(kvm, att, max_t(gfn_t, first, att->node.start),
			 min_t(gfn_t, first + size, att->node.last + 1), true);
}

/*
 * @att is about to join its view: look for others in the GiB of @gfn, its first
 * or last page.  Return: a flush is due, since an entry has become another.
 */
static bool pvvas_meet(struct kvm *kvm, struct pvvas_att *att, gfn_t gfn,
		       struct kvm_mmu_memory_cache *mc)
{
	gfn_t first = gfn & ~(pvvas_level_pages(PG_LEVEL_1G) - 1);
	gfn_t last = first + pvvas_level_pages(PG_LEVEL_1G) - 1;
	struct interval_tree_node *node;
	struct pvvas_att *other;

	node = interval_tree_iter_first(&att->view->atts, first, last);
	if (!node)
		return false;
	*pvvas_crowded(att, gfn) = true;
	/* The first to be there was alone; the others know it is crowded. */
	other = container_of(node, struct pvvas_att, node);
	if (*pvvas_crowded(other, max_t(gfn_t, first, node->start)))
		return false;
	pvvas_crowd(kvm, other, max_t(gfn_t, first, node->start), mc);
	return true;
}

/* How many tables of its own a view may need to attach @seg. */
static int pvvas_tables_needed(const struct pvvas_seg *seg)
{
	gfn_t last = seg->base + seg->npages - 1;

	/* Level 3, once per root entry, and level 2 at either end. */
	return (last >> 27) - (seg->base >> 27) + 1 + 2;
}

/* Make the tables above the links.  mmu_lock held for writing. */
static void pvvas_make_tables(struct kvm *kvm, struct pvvas_att *att,
			      struct kvm_mmu_memory_cache *mc)
{
	gfn_t gfn = att->node.start, last = att->node.last;
	u64 *root = att->view->root;

	/* The ends may need level 2 tables; between them level 3 will do. */
	pvvas_walk(kvm, root, last, pvvas_link_level(att, last), mc);
	while (gfn <= last) {
		int level = pvvas_link_level(att, gfn);

		pvvas_walk(kvm, root, gfn, level, mc);
		gfn = ALIGN(gfn + 1, pvvas_level_pages(level == PG_LEVEL_2M ?
						       PG_LEVEL_1G :
						       PVVAS_ROOT_LEVEL));
	}
}

static bool pvvas_table_empty(const u64 *table)
{
	return !memchr_inv(table, 0, PAGE_SIZE);
}

/*
 * Unhook the view's own tables around @gfn that have become empty and put them
 * on @freed, unless another attachment is there: it counts on its tables, used
 * or not.  mmu_lock held for writing; the caller flushes, then frees.
 */
static void pvvas_prune(struct kvm *kvm, struct pvvas_view *view, gfn_t gfn,
			struct list_head *freed)
{
	int level;

	for (level = PG_LEVEL_1G; level <= PVVAS_ROOT_LEVEL; level++) {
		u64 *entry = pvvas_walk(kvm, view->root, gfn, level, NULL);
		gfn_t first = gfn & ~(pvvas_level_pages(level) - 1);
		gfn_t last = first + pvvas_level_pages(level) - 1;
		u64 *table;

		if (!entry || !(*entry & PVVAS_OWN))
			continue;
		table = pvvas_table(*entry);
		if (!pvvas_table_empty(table) ||
		    interval_tree_iter_first(&view->atts, first, last))
			return;
		WRITE_ONCE(*entry, 0);
		list_add(&virt_to_page(table)->lru, freed);
	}
}

static void pvvas_free_list(struct kvm *kvm, struct list_head *freed)
{
	struct page *page, *tmp;

	list_for_each_entry_safe(page, tmp, freed, lru) {
		list_del(&page->lru);
		pvvas_put_page(kvm, page_address(page));
	}
}

/*
 * mmu_lock held for writing; the caller sees to it that no CPU uses the links,
 * flushes, then frees @att.
 */
static void pvvas_forget(struct kvm *kvm, struct pvvas_att *att)
{
	interval_tree_remove(&att->node, &att->view->atts);
	list_del(&att->seg_node);
	trace_kvm_pvvas_link(att->view->id, att->seg->id, att->seg->base,
			     att->seg->npages, 0);
	kvm->stat.pvvas_attachments--;
}

static struct pvvas_att *pvvas_find_att(struct pvvas_view *view,
					struct pvvas_seg *seg)
{
	struct interval_tree_node *node;

	node = interval_tree_iter_first(&view->atts, seg->base, seg->base);
	if (!node)
		return NULL;
	return container_of(node, struct pvvas_att, node);
}

int pvvas_attach(struct kvm *kvm, u64 view_id, u64 seg_id, u64 prot)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct kvm_mmu_memory_cache mc = { .gfp_zero = __GFP_ZERO };
	struct pvvas_view *view = xa_load(&pv->views, view_id);
	struct pvvas_seg *seg = xa_load(&pv->segs, seg_id);
	struct pvvas_att *att;
	bool flush;
	int need, r;

	if (!view || !seg)
		return -ENOENT;
	if (!pvvas_prot_valid(prot))
		return -EINVAL;
	if (interval_tree_iter_first(&view->atts, seg->base,
				     seg->base + seg->npages - 1))
		return -EEXIST;
	if (kvm->stat.pvvas_attachments >= pv->config.max_extents)
		return -ENOSPC;
	need = pvvas_tables_needed(seg);
	r = pvvas_room_for_tables(kvm, need);
	if (r)
		return r;

	att = kzalloc(sizeof(*att), GFP_KERNEL_ACCOUNT);
	if (!att)
		return -ENOMEM;
	r = __kvm_mmu_topup_memory_cache(&mc, need, need);
	if (r) {
		kvm_mmu_free_memory_cache(&mc);
		kfree(att);
		return r;
	}
	att->node.start = seg->base;
	att->node.last = seg->base + seg->npages - 1;
	att->view = view;
	att->seg = seg;
	att->prot = prot;

	/* Non-present to present, but for a neighbour's link: nothing to flush. */
	write_lock(&kvm->mmu_lock);
	flush = pvvas_meet(kvm, att, att->node.start, &mc);
	flush |= pvvas_meet(kvm, att, att->node.last, &mc);
	pvvas_make_tables(kvm, att, &mc);
	interval_tree_insert(&att->node, &view->atts);
	list_add_tail(&att->seg_node, &seg->atts);
	kvm->stat.pvvas_attachments++;
	pvvas_each_link(kvm, att, true);
	trace_kvm_pvvas_link(view_id, seg_id, seg->base, seg->npages, prot);
	if (flush)
		pvvas_flush(kvm);
	write_unlock(&kvm->mmu_lock);

	kvm_mmu_free_memory_cache(&mc);
	return 0;
}

long pvvas_view_detach(struct kvm_vcpu *vcpu, u64 view_id, u64 seg_id)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_view *view = xa_load(&pv->views, view_id);
	struct pvvas_seg *seg = xa_load(&pv->segs, seg_id);
	struct pvvas_att *att;
	LIST_HEAD(freed);
	gfn_t gfn, last;

	if (!view || !seg)
		return -ENOENT;
	att = pvvas_find_att(view, seg);
	if (!att || att->seg != seg)
		return -ENOENT;

	write_lock(&kvm->mmu_lock);
	pvvas_each_link(kvm, att, false);
	pvvas_forget(kvm, att);
	last = seg->base + seg->npages - 1;
	for (gfn = seg->base; gfn <= last;
	     gfn = ALIGN(gfn + 1, pvvas_level_pages(PVVAS_ROOT_LEVEL)))
		pvvas_prune(kvm, view, gfn, &freed);
	pvvas_prune(kvm, view, last, &freed);
	/* Paging-structure caches of this view's root may hold the links. */
	pvvas_flush(kvm);
	write_unlock(&kvm->mmu_lock);

	pvvas_free_list(kvm, &freed);
	kfree(att);
	return 0;
}

/*
 * The view is about to go, links and all: no vCPU is in it, will enter it again
 * or remembers anything of it, and the caller frees its tables.  There may be
 * very many attachments: pauses do no harm, faults and zaps of their segments
 * change links in tables that nobody walks.
 */
void pvvas_detach_all(struct kvm *kvm, struct pvvas_view *view)
{
	struct interval_tree_node *node;

	lockdep_assert_held_write(&kvm->mmu_lock);

	while ((node = interval_tree_iter_first(&view->atts, 0, ULONG_MAX))) {
		struct pvvas_att *att = container_of(node, struct pvvas_att, node);

		pvvas_forget(kvm, att);
		kfree(att);
		cond_resched_rwlock_write(&kvm->mmu_lock);
	}
}
