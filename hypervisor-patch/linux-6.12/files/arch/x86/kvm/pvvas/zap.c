// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: every way by which a page behind a window can go away or be
 * watched ends here.  The reverse tree finds the aliases of a guest frame; the
 * segment's tree is the one place where each alias is mapped.
 */
#include <linux/kvm_host.h>

#include "internal.h"
#include "mmu.h"

/*
 * Call @fn for each stretch of a segment that guest frames [start, end) back.
 * mmu_lock held.
 */
static bool pvvas_each_alias(struct kvm *kvm, gfn_t start, gfn_t end,
			     bool (*fn)(struct kvm *kvm, struct pvvas_seg *seg,
					gfn_t start, gfn_t end))
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct interval_tree_node *node;
	bool ret = false;

	if (!pv || start >= end)
		return false;

	for (node = interval_tree_iter_first(&pv->rmap, start, end - 1); node;
	     node = interval_tree_iter_next(node, start, end - 1)) {
		struct pvvas_extent_node *e;
		gfn_t first, last, win;

		e = container_of(node, struct pvvas_extent_node, rev);
		first = max_t(gfn_t, start, node->start);
		last = min_t(gfn_t, end - 1, node->last);
		win = e->seg->base + e->fwd.start + (first - node->start);
		ret |= fn(kvm, e->seg, win, win + (last - first) + 1);
	}
	return ret;
}

/* mmu_lock held for writing.  Return: a flush is due. */
bool kvm_pvvas_zap_gfns(struct kvm *kvm, gfn_t start, gfn_t end)
{
	if (!kvm->arch.pvvas)
		return false;
	lockdep_assert_held_write(&kvm->mmu_lock);
	return pvvas_each_alias(kvm, start, end, pvvas_seg_zap);
}

bool kvm_pvvas_unmap_gfn_range(struct kvm *kvm, struct kvm_gfn_range *range)
{
	return kvm_pvvas_zap_gfns(kvm, range->start, range->end);
}

/*
 * Dirty logging begins on a slot, or ends: the slot's flags have changed, what
 * is faulted in from now on is as they want it.
 */
void kvm_pvvas_zap_slot(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	gfn_t gfn, next, end = slot->base_gfn + slot->npages;
	bool flush = false;

	if (!kvm->arch.pvvas)
		return;
	write_lock(&kvm->mmu_lock);
	for (gfn = slot->base_gfn; gfn < end; gfn = next) {
		next = min(end, ALIGN(gfn + 1, pvvas_level_pages(PG_LEVEL_1G)));
		flush |= kvm_pvvas_zap_gfns(kvm, gfn, next);
		if (next < end && !need_resched() &&
		    !rwlock_needbreak(&kvm->mmu_lock))
			continue;
		/*
		 * The caller flushes, but later: until then a notifier would
		 * find nothing mapped and free the page unflushed.
		 */
		if (flush)
			pvvas_flush(kvm);
		flush = false;
		cond_resched_rwlock_write(&kvm->mmu_lock);
	}
	write_unlock(&kvm->mmu_lock);
}

static bool pvvas_age(struct kvm *kvm, struct pvvas_seg *seg, gfn_t start,
		      gfn_t end, bool clear)
{
	bool young = false;
	gfn_t gfn, next;

	for (gfn = start; gfn < end; gfn = next) {
		int level = PG_LEVEL_4K;
		u64 *entry = pvvas_seg_entry(kvm, seg, gfn, level, NULL);

		if (!entry) {
			level = PG_LEVEL_2M;
			entry = pvvas_seg_entry(kvm, seg, gfn, level, NULL);
		}
		next = ALIGN(gfn + 1, pvvas_level_pages(level));
		if (!entry || !pvvas_present(*entry))
			continue;
		if (level == PG_LEVEL_2M && !(*entry & PVVAS_LARGE))
			continue;
		if (!pvvas_seg_accessed(seg, gfn, level, *entry))
			continue;
		young = true;
		if (clear)
			pvvas_seg_set(seg, gfn, level, entry,
				      *entry & ~VMX_EPT_ACCESS_BIT);
	}
	return young;
}

static bool pvvas_age_clear(struct kvm *kvm, struct pvvas_seg *seg, gfn_t start,
			    gfn_t end)
{
	return pvvas_age(kvm, seg, start, end, true);
}

static bool pvvas_age_test(struct kvm *kvm, struct pvvas_seg *seg, gfn_t start,
			   gfn_t end)
{
	return pvvas_age(kvm, seg, start, end, false);
}

bool kvm_pvvas_age_gfn_range(struct kvm *kvm, struct kvm_gfn_range *range,
			     bool test_only)
{
	lockdep_assert_held_write(&kvm->mmu_lock);
	return pvvas_each_alias(kvm, range->start, range->end,
				test_only ? pvvas_age_test : pvvas_age_clear);
}

/*
 * The VM's roots are about to be zapped: no view may lead to their tables, and
 * no CPU may remember that one did.  KVM itself needs no flush here, because a
 * vCPU flushes the new root when it loads it; that says nothing about the
 * views' roots, which stay.  Leaves go too: the reason may be a memslot.
 */
void kvm_pvvas_zap_all(struct kvm *kvm)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_view *view;
	struct pvvas_seg *seg;
	unsigned long i;

	if (!pv)
		return;
	lockdep_assert_held_write(&kvm->mmu_lock);

	if (!kvm_pvvas_in_use(kvm))
		pvvas_assert_unlinked(pv);
	/* A reset at work leaves segments and roots behind for a while. */
	xa_for_each(&pv->segs, i, seg)
		pvvas_seg_zap(kvm, seg, seg->base, seg->base + seg->npages);
	xa_for_each(&pv->roots, i, view)
		pvvas_view_scrub_ram(view, pv);
	/* But no vCPU enters a view before pvvas_activate() has flushed. */
	if (kvm_pvvas_in_use(kvm))
		pvvas_flush(kvm);
}

/*
 * Out of tables: drop all that segments have, leaves and tables.  What is
 * still in use comes back by faults.
 */
void pvvas_zap_everything(struct kvm *kvm)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_seg *seg;
	struct pvvas_att *att;
	unsigned long i;

	lockdep_assert_held_write(&kvm->mmu_lock);

	xa_for_each(&pv->segs, i, seg) {
		pvvas_seg_zap(kvm, seg, seg->base, seg->base + seg->npages);
		list_for_each_entry(att, &seg->atts, seg_node)
			pvvas_each_link(kvm, att, false);
	}
	pvvas_flush(kvm);
	WRITE_ONCE(pv->emptying, current);
	xa_for_each(&pv->segs, i, seg)
		pvvas_empty_tables(kvm, seg->root);
	WRITE_ONCE(pv->emptying, NULL);
}

/**
 * kvm_pvvas_root_spte_zapped - an entry of a root of the VM's own is cleared
 * @kvm: the VM
 * @spte: what it was
 *
 * The tables below will be freed: views, which copy such entries, must have
 * been scrubbed.  mmu_lock held; only looks if pvvas_debug is set.
 */
void kvm_pvvas_root_spte_zapped(struct kvm *kvm, u64 spte)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_view *view;
	bool bad = false;
	unsigned long i;
	int e;

	if (!pv || !pvvas_debug)
		return;
	xa_for_each(&pv->roots, i, view)
		for (e = 0; e < 512; e++)
			bad |= pvvas_present(view->root[e]) &&
			       !((view->root[e] ^ spte) & PVVAS_ADDR_MASK);
	WARN_ONCE(bad, "pvvas: a view holds an entry of a zapped root\n");
}
