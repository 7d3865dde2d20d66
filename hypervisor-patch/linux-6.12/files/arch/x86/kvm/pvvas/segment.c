// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: segments.
 */
#include <linux/kvm_host.h>

#include "internal.h"

int pvvas_seg_make(struct kvm *kvm, u64 id, u64 base, u64 size, u64 flags)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct kvm_mmu_memory_cache mc = { .gfp_zero = __GFP_ZERO };
	gfn_t gfn = gpa_to_gfn(base), first;
	u64 npages = size >> PAGE_SHIFT;
	struct pvvas_seg *seg;
	int r;

	if (flags & ~(u64)(PVVAS_SEG_DEMAND | PVVAS_SEG_DEMAND_PROT))
		return -EINVAL;
	if (!size || !IS_ALIGNED(base | size, PVVAS_LARGE_PAGES << PAGE_SHIFT))
		return -EINVAL;
	/* The first GiB is KVM's. */
	first = pv->window + (PVVAS_WINDOW_RESERVED >> PAGE_SHIFT);
	if (gfn < first || gfn >= pv->window + pv->window_pages ||
	    npages > pv->window + pv->window_pages - gfn)
		return -EINVAL;
	if (kvm->stat.pvvas_segs >= pv->config.max_segs)
		return -ENOSPC;
	r = pvvas_room_for_tables(kvm, 1);
	if (r)
		return r;

	seg = kzalloc(sizeof(*seg), GFP_KERNEL_ACCOUNT);
	if (!seg)
		return -ENOMEM;
	r = __kvm_mmu_topup_memory_cache(&mc, 1, 1);
	if (r)
		goto fail;
	seg->id = id;
	seg->base = gfn;
	seg->npages = npages;
	seg->flags = flags;
	seg->extents = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&seg->atts);
	seg->root = pvvas_take_page(kvm, &mc);
	r = xa_insert(&pv->segs, seg->id, seg, GFP_KERNEL_ACCOUNT);
	if (r)
		goto fail;
	kvm_mmu_free_memory_cache(&mc);
	kvm->stat.pvvas_segs++;
	return 0;
fail:
	pvvas_put_page(kvm, seg->root);
	kvm_mmu_free_memory_cache(&mc);
	kfree(seg);
	return r;
}

long pvvas_seg_create(struct kvm_vcpu *vcpu, u64 base, u64 size, u64 flags)
{
	struct kvm_pvvas *pv = vcpu->kvm->arch.pvvas;
	int r;

	r = pvvas_seg_make(vcpu->kvm, pv->next_id, base, size, flags);
	return r ?: pv->next_id++;
}

/*
 * Nothing attaches @seg: no view leads to its tables, and the detach flushed,
 * so they can go at once.  Its leaves must be found until the last is gone:
 * when a memslot goes meanwhile, its pages may not be touched any more.
 */
void pvvas_seg_free(struct kvm *kvm, struct pvvas_seg *seg)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;

	lockdep_assert_held(&pv->lock);
	WARN_ON_ONCE(!list_empty(&seg->atts));

	write_lock(&kvm->mmu_lock);
	pvvas_seg_zap_yielding(kvm, seg, seg->base, seg->base + seg->npages);
	xa_erase(&pv->segs, seg->id);
	pvvas_extents_free(kvm, seg);
	write_unlock(&kvm->mmu_lock);

	pvvas_free_tables(kvm, seg->root);
	kvm->stat.pvvas_segs--;
	kfree(seg);
}

long pvvas_seg_destroy(struct kvm_vcpu *vcpu, u64 id)
{
	struct kvm_pvvas *pv = vcpu->kvm->arch.pvvas;
	struct pvvas_seg *seg = xa_load(&pv->segs, id);

	if (!seg)
		return -ENOENT;
	if (!list_empty(&seg->atts))
		return -EBUSY;
	pvvas_seg_free(vcpu->kvm, seg);
	return 0;
}
