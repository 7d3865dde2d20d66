// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: accesses to the window, by the CPU and by KVM's emulator.
 */
#include <linux/kvm_host.h>

#include "internal.h"
#include "mmu.h"
#include "mmu/mmu_internal.h"
#include "mmu/spte.h"
#include "trace.h"

/* Level 3, 2 and 1 for a segment, or these and the identity page. */
#define PVVAS_FAULT_PAGES	4
#define PVVAS_CACHE_PAGES	8

/* The SGX bit of a #PF error code: Linux never takes such a fault for spurious. */
#define PVVAS_PFERR_SGX		BIT(15)

/* Where a window address leads. */
struct pvvas_hit {
	struct pvvas_view *view;
	struct pvvas_seg *seg;
	struct pvvas_extent_node *extent;
	bool identity;
	u64 offset;		/* pages from the segment's base */
	gfn_t gfn;		/* guest frame behind it */
	u32 prot;		/* attachment AND extent */
};

/*
 * mmu_lock held.  What is found in @view, which may be NULL, is good while it
 * stays held.
 */
static enum kvm_pvvas_result pvvas_lookup(struct kvm_vcpu *vcpu,
					  struct pvvas_view *view, gfn_t gfn,
					  u32 access, struct pvvas_hit *hit)
{
	struct kvm_pvvas *pv = vcpu->kvm->arch.pvvas;
	struct interval_tree_node *node;
	struct pvvas_att *att;

	memset(hit, 0, sizeof(*hit));
	hit->view = view;
	if (!view)
		return KVM_PVVAS_REFLECT;

	if (gfn == pv->window) {
		hit->identity = true;
		return access == PVVAS_PROT_READ ? KVM_PVVAS_RETRY :
						   KVM_PVVAS_REFLECT;
	}

	node = interval_tree_iter_first(&view->atts, gfn, gfn);
	if (!node)
		return KVM_PVVAS_REFLECT;
	att = container_of(node, struct pvvas_att, node);
	if (access & ~att->prot)
		return KVM_PVVAS_REFLECT;

	hit->seg = att->seg;
	hit->offset = gfn - att->seg->base;
	hit->extent = pvvas_extent_find(att->seg, hit->offset);
	if (!hit->extent)
		return att->seg->flags & PVVAS_SEG_DEMAND ? KVM_PVVAS_DEMAND :
							    KVM_PVVAS_REFLECT;
	if (access & ~hit->extent->prot)
		return att->seg->flags & PVVAS_SEG_DEMAND_PROT ?
		       KVM_PVVAS_DEMAND : KVM_PVVAS_REFLECT;
	hit->prot = att->prot & hit->extent->prot;
	hit->gfn = hit->extent->rev.start + (hit->offset - hit->extent->fwd.start);
	return KVM_PVVAS_RETRY;
}

static u64 pvvas_leaf(struct kvm_vcpu *vcpu, gfn_t gfn, kvm_pfn_t pfn, u32 prot)
{
	/*
	 * The memory type that KVM gives @gfn elsewhere: write-back, with the
	 * guest's PAT if a device needs that (kvm_zap_gfn_range() zaps when one
	 * comes or goes).  A and D are preset: nothing reads D, and PML must
	 * not log here.
	 */
	return (pfn << PAGE_SHIFT) | pvvas_prot_mask(prot) |
	       kvm_x86_call(get_mt_mask)(vcpu, gfn, false) |
	       VMX_EPT_ACCESS_BIT | VMX_EPT_DIRTY_BIT;
}

/* May the 2 MiB around the fault be one leaf?  mmu_lock held for writing. */
static bool pvvas_large_ok(struct kvm *kvm, const struct pvvas_hit *hit,
			   const struct kvm_page_fault *fault)
{
	const struct pvvas_extent_node *e = hit->extent;
	u64 first = hit->offset & ~(PVVAS_LARGE_PAGES - 1);

	if (first < e->fwd.start || first + PVVAS_LARGE_PAGES - 1 > e->fwd.last)
		return false;
	if ((hit->offset ^ hit->gfn) & (PVVAS_LARGE_PAGES - 1))
		return false;
	if (kvm_slot_dirty_track_enabled(fault->slot))
		return false;
	if ((e->prot & PVVAS_PROT_EXEC) && fault->nx_huge_page_workaround_enabled)
		return false;
	return kvm_mmu_max_mapping_level(kvm, fault->slot, hit->gfn,
					 PG_LEVEL_2M) >= PG_LEVEL_2M;
}

/*
 * One leaf will do where there was a table: the host's small pages have become
 * a large one, or dirty logging is over.  Return: the level 2 entry.
 */
static u64 *pvvas_make_large(struct kvm_vcpu *vcpu, struct pvvas_seg *seg,
			     gfn_t gfn)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	gfn_t first = gfn & ~(PVVAS_LARGE_PAGES - 1);
	u64 *entry, *table;

	entry = pvvas_seg_entry(kvm, seg, gfn, PG_LEVEL_2M,
				&vcpu->arch.pvvas.pages);
	if (!pvvas_present(*entry) || (*entry & PVVAS_LARGE))
		return entry;

	table = pvvas_table(*entry);
	pvvas_seg_zap(kvm, seg, first, first + PVVAS_LARGE_PAGES);
	pvvas_seg_set(seg, gfn, PG_LEVEL_2M, entry, 0);
	pvvas_flush(kvm);
	WRITE_ONCE(pv->emptying, current);
	pvvas_put_page(kvm, table);
	WRITE_ONCE(pv->emptying, NULL);
	return entry;
}

/*
 * Map the page at @hit.  The leaf has the extent's rights; the attachment's
 * stand in the view's link.  mmu_lock held for writing, @fault is not stale.
 */
static enum kvm_pvvas_result pvvas_install(struct kvm_vcpu *vcpu,
					   const struct pvvas_hit *hit,
					   const struct kvm_page_fault *fault)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_mmu_memory_cache *mc = &vcpu->arch.pvvas.pages;
	gfn_t gfn = hit->seg->base + hit->offset;
	u32 prot = hit->extent->prot;
	int level = PG_LEVEL_4K;
	kvm_pfn_t pfn = fault->pfn;
	u64 *entry, leaf;

	/*
	 * A nested guest's EPT is shadowed: upper tables are not written to,
	 * and the last ones count as changed once they may have been.
	 */
	if (!fault->map_writable ||
	    mmu_try_to_unsync_pages(kvm, fault->slot, hit->gfn, fault->write,
				    false)) {
		if (fault->write)
			return KVM_PVVAS_REFLECT;
		prot &= ~PVVAS_PROT_WRITE;
	}
	if (kvm_slot_dirty_track_enabled(fault->slot)) {
		/* Writable only by a write, which is logged here. */
		if (fault->write)
			mark_page_dirty_in_slot(kvm, fault->slot, hit->gfn);
		else
			prot &= ~PVVAS_PROT_WRITE;
	}

	if (pvvas_tables_left(kvm) < PVVAS_FAULT_PAGES)
		pvvas_zap_everything(kvm);

	if (pvvas_large_ok(kvm, hit, fault)) {
		entry = pvvas_make_large(vcpu, hit->seg, gfn);
		level = PG_LEVEL_2M;
		pfn &= ~(PVVAS_LARGE_PAGES - 1);
	} else {
		entry = pvvas_seg_entry(kvm, hit->seg, gfn, PG_LEVEL_4K, mc);
		if (!entry) {
			/* A large leaf that is not wanted any more. */
			pvvas_seg_zap(kvm, hit->seg, gfn, gfn + 1);
			pvvas_flush(kvm);
			entry = pvvas_seg_entry(kvm, hit->seg, gfn,
						PG_LEVEL_4K, mc);
		}
	}

	leaf = pvvas_leaf(vcpu, hit->gfn, pfn, prot);
	if (level == PG_LEVEL_2M)
		leaf |= PVVAS_LARGE;
	if (pvvas_present(*entry)) {
		/* Another vCPU was here; keep a right that it has gained. */
		if ((*entry & PVVAS_ADDR_MASK) == (leaf & PVVAS_ADDR_MASK)) {
			leaf |= *entry & VMX_EPT_WRITABLE_MASK;
		} else {
			pvvas_seg_zap(kvm, hit->seg, gfn, gfn + 1);
			pvvas_flush(kvm);
		}
	}
	pvvas_seg_set(hit->seg, gfn, level, entry, leaf);
	trace_kvm_pvvas_fill(hit->seg->id, gfn, hit->gfn, level, leaf);
	vcpu->stat.pvvas_filled++;
	return KVM_PVVAS_RETRY;
}

static void pvvas_note_demand(struct kvm_vcpu *vcpu, const struct pvvas_hit *hit,
			      gpa_t gpa, u32 access, u64 gla, u32 flags)
{
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;

	a->fault.pending = true;
	a->fault.access = access;
	a->fault.flags = flags;
	a->fault.gpa = gpa;
	a->fault.gla = gla;
	a->fault.seg = hit->seg->id;
	a->fault.view = hit->view->id;
	a->fault.offset = hit->offset << PAGE_SHIFT;
}

/* Leaves are of RAM's memory type: no device memory of the host. */
static bool pvvas_is_ram(kvm_pfn_t pfn)
{
	if (is_noslot_pfn(pfn) || !pfn_valid(pfn))
		return false;
	return is_zero_pfn(pfn) || !PageReserved(pfn_to_page(pfn));
}

/* RAM of the guest's, not MMIO, KVM's own slots or nothing at all. */
static bool pvvas_slot_ok(const struct kvm_memory_slot *slot, u32 access)
{
	if (!slot || slot->id >= KVM_USER_MEM_SLOTS)
		return false;
	return !(access & PVVAS_PROT_WRITE) ||
	       !(slot->flags & KVM_MEM_READONLY);
}

static int pvvas_fill_from(struct kvm_vcpu *vcpu, u64 eptp, gfn_t gfn,
			   u32 access, gfn_t base_gfn)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_page_fault fault = {
		.addr = gfn_to_gpa(base_gfn),
		.write = access & PVVAS_PROT_WRITE,
		.exec = access & PVVAS_PROT_EXEC,
		.is_tdp = true,
		.nx_huge_page_workaround_enabled = is_nx_huge_page_enabled(kvm),
		.max_level = PG_LEVEL_2M,
		.req_level = PG_LEVEL_4K,
		.goal_level = PG_LEVEL_4K,
		.gfn = base_gfn,
		.slot = kvm_vcpu_gfn_to_memslot(vcpu, base_gfn),
		.pfn = KVM_PFN_ERR_FAULT,
		.hva = KVM_HVA_ERR_BAD,
	};
	struct pvvas_hit hit;
	int r;

	if (!pvvas_slot_ok(fault.slot, access))
		return KVM_PVVAS_REFLECT;

	r = kvm_pvvas_faultin_pfn(vcpu, &fault);
	if (r == RET_PF_RETRY)
		return KVM_PVVAS_RETRY;
	if (r < 0)
		return r;
	if (r != RET_PF_CONTINUE)
		return KVM_PVVAS_REFLECT;

	if (!pvvas_is_ram(fault.pfn)) {
		kvm_release_pfn_clean(fault.pfn);
		return KVM_PVVAS_REFLECT;
	}

	/*
	 * The map may have changed while the page was looked up: look again,
	 * and go round once more if it is another page now.
	 */
	write_lock(&kvm->mmu_lock);
	r = pvvas_lookup(vcpu, pvvas_view_in_force(vcpu, eptp), gfn, access,
			 &hit);
	if (r == KVM_PVVAS_RETRY && hit.gfn == base_gfn &&
	    hit.seg != kvm->arch.pvvas->frozen &&
	    !kvm_pvvas_fault_is_stale(vcpu, &fault))
		r = pvvas_install(vcpu, &hit, &fault);
	else
		r = KVM_PVVAS_RETRY;
	write_unlock(&kvm->mmu_lock);
	kvm_release_pfn_clean(fault.pfn);
	return r;
}

/**
 * kvm_pvvas_window_fault - an EPT violation in the window
 * @vcpu: the vCPU, not in SMM and not in guest mode
 * @eptp: its EPT_POINTER
 * @gpa: the guest-physical address
 * @access: PVVAS_PROT_* that was tried
 * @gla: the guest linear address, if @flags says so
 * @flags: PVVAS_FAULT_*
 *
 * Return: enum kvm_pvvas_result, or a negative errno for the VMM.
 */
int kvm_pvvas_window_fault(struct kvm_vcpu *vcpu, u64 eptp, gpa_t gpa,
			   u32 access, u64 gla, u32 flags)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_mmu_memory_cache *mc = &vcpu->arch.pvvas.pages;
	gfn_t gfn = gpa_to_gfn(gpa);
	struct pvvas_hit hit;
	gfn_t base_gfn;
	u64 view;
	int r;

	vcpu->stat.pvvas_window_faults++;
	mc->gfp_zero = __GFP_ZERO;
	r = __kvm_mmu_topup_memory_cache(mc, PVVAS_CACHE_PAGES,
					 PVVAS_FAULT_PAGES);
	if (r)
		return r;

	write_lock(&kvm->mmu_lock);
	if (!kvm_pvvas_in_use(kvm)) {
		/* A reset came first: the vCPU is due on its ordinary root. */
		write_unlock(&kvm->mmu_lock);
		return KVM_PVVAS_RETRY;
	}
	r = pvvas_lookup(vcpu, pvvas_view_in_force(vcpu, eptp), gfn, access,
			 &hit);
	view = hit.view ? hit.view->id : 0;
	if (r == KVM_PVVAS_RETRY && hit.identity) {
		r = pvvas_view_show_identity(kvm, hit.view, mc);
		vcpu->stat.pvvas_filled++;
		write_unlock(&kvm->mmu_lock);
		goto out;
	}
	if (r == KVM_PVVAS_DEMAND)
		pvvas_note_demand(vcpu, &hit, gpa, access, gla, flags);
	base_gfn = hit.gfn;
	write_unlock(&kvm->mmu_lock);

	if (r == KVM_PVVAS_RETRY)
		r = pvvas_fill_from(vcpu, eptp, gfn, access, base_gfn);
	if (r == KVM_PVVAS_REFLECT)
		vcpu->stat.pvvas_reflected++;
	else if (r == KVM_PVVAS_DEMAND)
		vcpu->stat.pvvas_demand++;
out:
	trace_kvm_pvvas_fault(vcpu->vcpu_id, view, gpa, access, r);
	return r;
}
EXPORT_SYMBOL_GPL(kvm_pvvas_window_fault);

static u32 pvvas_access_from_pferr(u64 access)
{
	if (access & PFERR_WRITE_MASK)
		return PVVAS_PROT_READ | PVVAS_PROT_WRITE;
	if (access & PFERR_FETCH_MASK)
		return PVVAS_PROT_READ | PVVAS_PROT_EXEC;
	return PVVAS_PROT_READ;
}

/**
 * kvm_pvvas_translate_gpa - the emulator's way through a view
 * @vcpu: the vCPU
 * @gpa: an address in the window that a software walk has arrived at
 * @access: PFERR_* that is tried
 * @exception: filled with a #PF if there is no way; the caller adds the linear
 *	address
 *
 * Return: the address of the guest RAM behind @gpa in the vCPU's current view,
 * or INVALID_GPA.  The identity page is KVM's memory and has no such address.
 */
gpa_t kvm_pvvas_translate_gpa(struct kvm_vcpu *vcpu, gpa_t gpa, u64 access,
			      struct x86_exception *exception)
{
	struct kvm *kvm = vcpu->kvm;
	u64 eptp = kvm_x86_call(pvvas_eptp)(vcpu);
	u32 wanted = pvvas_access_from_pferr(access), flags;
	struct pvvas_hit hit;
	int r;

	/* What changed since the vCPU left the guest counts already. */
	read_lock(&kvm->mmu_lock);
	if (!kvm_pvvas_in_use(kvm)) {
		read_unlock(&kvm->mmu_lock);
		return gpa;
	}
	r = pvvas_lookup(vcpu, pvvas_view_to_load(vcpu, eptp), gpa_to_gfn(gpa),
			 wanted, &hit);
	if (r == KVM_PVVAS_RETRY && hit.identity)
		r = KVM_PVVAS_REFLECT;
	if (r == KVM_PVVAS_DEMAND && exception) {
		flags = access & PFERR_USER_MASK ? PVVAS_FAULT_USER : 0;
		pvvas_note_demand(vcpu, &hit, gpa, wanted, 0, flags);
	}
	/*
	 * A hypercall that takes the page away from now on waits until the
	 * vCPU has loaded its root again: pvvas_wait_for().
	 */
	if (r == KVM_PVVAS_RETRY) {
		WRITE_ONCE(vcpu->arch.pvvas.translated,
			   vcpu->arch.pvvas.translated + 1);
		kvm_make_request(KVM_REQ_LOAD_MMU_PGD, vcpu);
	}
	read_unlock(&kvm->mmu_lock);

	if (r == KVM_PVVAS_RETRY &&
	    !pvvas_slot_ok(kvm_vcpu_gfn_to_memslot(vcpu, hit.gfn), wanted))
		r = KVM_PVVAS_REFLECT;
	if (r == KVM_PVVAS_RETRY)
		return gfn_to_gpa(hit.gfn) | (gpa & ~PAGE_MASK);
	if (exception) {
		exception->vector = PF_VECTOR;
		exception->error_code_valid = true;
		exception->error_code = PFERR_PRESENT_MASK | PVVAS_PFERR_SGX |
			(access & (PFERR_WRITE_MASK | PFERR_USER_MASK |
				   PFERR_FETCH_MASK));
		if (r == KVM_PVVAS_DEMAND)
			exception->error_code |= PVVAS_PFERR_DEMAND;
		exception->nested_page_fault = false;
		exception->async_page_fault = false;
	}
	return INVALID_GPA;
}
