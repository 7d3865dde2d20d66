// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: roots, their RAM part, the identity page, slots.
 *
 * Outside the window a view's level 4 entries are copies of those of the VM's
 * ordinary root.  In a valid TDP root such an entry goes from non-present to
 * present once and is cleared only when the root is zapped, so a copy stays
 * right until the root is invalidated; then kvm_pvvas_zap_all() removes them
 * all and flushes, before the tables below are freed.
 */
#include <linux/kvm_host.h>

#include "internal.h"
#include "mmu.h"
#include "mmu/mmu_internal.h"
#include "mmu/spte.h"

/* mmu_lock held */
struct pvvas_view *pvvas_view_by_eptp(struct kvm_pvvas *pv, u64 eptp)
{
	if ((eptp & ~PVVAS_ADDR_MASK) != PVVAS_EPTP_FLAGS)
		return NULL;
	return xa_load(&pv->roots, (eptp & PVVAS_ADDR_MASK) >> PAGE_SHIFT);
}

bool pvvas_is_window_index(struct kvm_pvvas *pv, unsigned int i)
{
	unsigned int first = pvvas_index(pv->window, PVVAS_ROOT_LEVEL);

	return i - first < pv->window_pages / pvvas_level_pages(PVVAS_ROOT_LEVEL);
}

/*
 * While views are not in use, nothing scrubs what the plain view links, since
 * nothing may be linked.  mmu_lock held; only looks if pvvas_debug is set.
 */
void pvvas_assert_unlinked(struct kvm_pvvas *pv)
{
	bool found = false;
	unsigned int i;

	if (!pvvas_debug)
		return;
	for (i = 0; i < 512; i++)
		found |= !pvvas_is_window_index(pv, i) &&
			 pvvas_present(pv->plain.root[i]);
	WARN_ONCE(found, "pvvas: a view links RAM while views are not in use\n");
}

/* mmu_lock held for writing; the caller flushes. */
void pvvas_view_scrub_ram(struct pvvas_view *view, struct kvm_pvvas *pv)
{
	unsigned int i;

	for (i = 0; i < 512; i++)
		if (!pvvas_is_window_index(pv, i))
			WRITE_ONCE(view->root[i], 0);
}

/**
 * kvm_pvvas_link_ram - copy a missing root entry from the VM's ordinary root
 * @vcpu: the vCPU
 * @eptp: its EPT_POINTER
 * @gpa: the address outside the window whose access raised an EPT violation
 *
 * Return: true if the access is to be tried again; false if the view is not to
 * blame and the ordinary fault path has to look.
 */
bool kvm_pvvas_link_ram(struct kvm_vcpu *vcpu, u64 eptp, gpa_t gpa)
{
	unsigned int i = pvvas_index(gpa_to_gfn(gpa), PVVAS_ROOT_LEVEL);
	struct kvm *kvm = vcpu->kvm;
	struct kvm_mmu_page *sp;
	struct pvvas_view *view;
	bool retry = false;
	u64 spte;

	/* Beyond what four levels translate: never RAM. */
	if (gpa >> 48)
		return false;

	/* Writing, so that no two vCPUs undo each other across a scrub. */
	write_lock(&kvm->mmu_lock);
	if (!kvm_pvvas_in_use(kvm)) {
		/* A reset came first: the plain root stays as it was scrubbed. */
		retry = true;
		goto out;
	}
	view = pvvas_view_by_eptp(kvm->arch.pvvas, eptp);
	sp = root_to_sp(vcpu->arch.mmu->root.hpa);
	if (!view || !sp)
		goto out;
	if (sp->role.invalid) {
		/* KVM_REQ_MMU_FREE_OBSOLETE_ROOTS is pending. */
		retry = true;
		goto out;
	}
	spte = READ_ONCE(sp->spt[i]);
	if (is_shadow_present_pte(spte) && view->root[i] != spte) {
		WRITE_ONCE(view->root[i], spte);
		kvm->stat.pvvas_ram_links++;
		retry = true;
	}
out:
	write_unlock(&kvm->mmu_lock);
	return retry;
}
EXPORT_SYMBOL_GPL(kvm_pvvas_link_ram);

static void pvvas_fill_identity(struct pvvas_view *view)
{
	struct pvvas_identity *id = view->identity;

	if (!id)
		return;
	WRITE_ONCE(id->view, view->id);
	WRITE_ONCE(id->generation, view->generation);
	WRITE_ONCE(id->slot, view->slot);
	WRITE_ONCE(id->ctx, view->ctx ? view->ctx->id : 0);
	WRITE_ONCE(id->cookie, view->cookie);
	WRITE_ONCE(id->magic, PVVAS_IDENTITY_MAGIC);
}

/* mmu_lock held for writing; @mc holds four pages. */
int pvvas_view_show_identity(struct kvm *kvm, struct pvvas_view *view,
			     struct kvm_mmu_memory_cache *mc)
{
	gfn_t gfn = kvm->arch.pvvas->window;
	u64 *entry;

	lockdep_assert_held_write(&kvm->mmu_lock);

	if (view->identity)
		return 0;
	entry = pvvas_walk(kvm, view->root, gfn, PG_LEVEL_4K, mc);
	if (WARN_ON_ONCE(!entry))
		return -EIO;
	view->identity = pvvas_take_page(kvm, mc);
	if (view->ctx)
		kvm->arch.pvvas->promised -= PVVAS_IDENTITY_PAGES;
	pvvas_fill_identity(view);
	WRITE_ONCE(*entry, __pa(view->identity) | VMX_EPT_READABLE_MASK |
		   (MTRR_TYPE_WRBACK << VMX_EPT_MT_EPTE_SHIFT) |
		   VMX_EPT_IPAT_BIT | VMX_EPT_ACCESS_BIT);
	return 0;
}

/* No CPU can walk the view any more. */
void pvvas_view_uninit(struct kvm *kvm, struct pvvas_view *view)
{
	if (!view->root)
		return;
	pvvas_free_tables(kvm, view->root);
	pvvas_put_page(kvm, view->identity);
	view->root = NULL;
}

/* As above, and nothing is attached. */
void pvvas_view_free(struct kvm *kvm, struct pvvas_view *view)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;

	lockdep_assert_held(&pv->lock);
	WARN_ON_ONCE(!RB_EMPTY_ROOT(&view->atts.rb_root));

	xa_erase(&pv->views, view->id);
	list_del(&view->ctx_node);
	write_lock(&kvm->mmu_lock);
	if (!view->identity)
		pv->promised -= PVVAS_IDENTITY_PAGES;
	write_unlock(&kvm->mmu_lock);
	pvvas_view_uninit(kvm, view);
	kvm->stat.pvvas_views--;
	kfree(view);
}

int pvvas_view_make(struct kvm *kvm, u64 id, u64 ctx_id, u64 cookie)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct kvm_mmu_memory_cache mc = { .gfp_zero = __GFP_ZERO };
	struct pvvas_view *view;
	struct pvvas_ctx *ctx;
	unsigned long pfn;
	int r;

	ctx = xa_load(&pv->ctxs, ctx_id);
	if (!ctx)
		return -ENOENT;
	if (kvm->stat.pvvas_views >= pv->config.max_views)
		return -ENOSPC;
	r = pvvas_room_for_tables(kvm, 1 + PVVAS_IDENTITY_PAGES);
	if (r)
		return r;

	view = kzalloc(sizeof(*view), GFP_KERNEL_ACCOUNT);
	if (!view)
		return -ENOMEM;
	r = __kvm_mmu_topup_memory_cache(&mc, 1, 1);
	if (r)
		goto fail;
	view->id = id;
	view->ctx = ctx;
	view->cookie = cookie;
	view->atts = RB_ROOT_CACHED;
	view->root = pvvas_take_page(kvm, &mc);
	view->eptp = __pa(view->root) | PVVAS_EPTP_FLAGS;
	pfn = PHYS_PFN(__pa(view->root));

	r = xa_insert(&pv->views, view->id, view, GFP_KERNEL_ACCOUNT);
	if (r)
		goto fail;
	/* The store below cannot fail: the entry is reserved. */
	r = xa_reserve(&pv->roots, pfn, GFP_KERNEL_ACCOUNT);
	if (r) {
		xa_erase(&pv->views, view->id);
		goto fail;
	}

	write_lock(&kvm->mmu_lock);
	xa_store(&pv->roots, pfn, view, GFP_NOWAIT);
	list_add_tail(&view->ctx_node, &ctx->views);
	kvm->stat.pvvas_views++;
	pv->promised += PVVAS_IDENTITY_PAGES;
	write_unlock(&kvm->mmu_lock);
	kvm_mmu_free_memory_cache(&mc);
	return 0;
fail:
	pvvas_put_page(kvm, view->root);
	kvm_mmu_free_memory_cache(&mc);
	kfree(view);
	return r;
}

long pvvas_view_create(struct kvm_vcpu *vcpu, u64 ctx, u64 flags, u64 cookie)
{
	struct kvm_pvvas *pv = vcpu->kvm->arch.pvvas;
	int r;

	if (flags)
		return -EINVAL;
	r = pvvas_view_make(vcpu->kvm, pv->next_id, ctx, cookie);
	return r ?: pv->next_id++;
}

/* Take @view out of its slot; the list shows the plain view there. */
static void pvvas_view_unplace(struct kvm *kvm, struct pvvas_view *view)
{
	if (!view->slot)
		return;
	WRITE_ONCE(view->ctx->list[view->slot], kvm->arch.pvvas->plain.eptp);
	view->ctx->slots[view->slot] = NULL;
	view->slot = 0;
}

/* A vCPU that is in the view finds itself in the plain one. */
long pvvas_view_destroy(struct kvm_vcpu *vcpu, u64 id)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_view *view = xa_load(&pv->views, id);
	struct kvm_vcpu *v;
	unsigned long i;

	if (!view)
		return -ENOENT;

	write_lock(&kvm->mmu_lock);
	pvvas_view_unplace(kvm, view);
	xa_erase(&pv->roots, PHYS_PFN(__pa(view->root)));
	kvm_for_each_vcpu(i, v, kvm) {
		if (v->arch.pvvas.ctx != view->ctx->id)
			continue;
		/* Views made from now on: not what its EPT_POINTER means. */
		v->arch.pvvas.older_than = min(v->arch.pvvas.older_than,
					       pv->next_id);
		kvm_make_request(KVM_REQ_LOAD_MMU_PGD, v);
	}
	/* Kicks every vCPU out of the view. */
	pvvas_flush(kvm);
	pvvas_detach_all(kvm, view);
	write_unlock(&kvm->mmu_lock);

	pvvas_view_free(kvm, view);
	return 0;
}

/* mmu_lock held for writing; both are free. */
void pvvas_view_put_in(struct kvm *kvm, struct pvvas_view *view, u32 slot)
{
	/* Its page may have been an EPT root before. */
	if (!view->generation++)
		pvvas_flush(kvm);
	view->slot = slot;
	view->ctx->slots[slot] = view;
	pvvas_fill_identity(view);
	WRITE_ONCE(view->ctx->list[slot], view->eptp);
}

/*
 * Place a view in a slot of its context's list, or with @id 0 clear the slot.
 * Clearing only keeps vCPUs from entering: one that is in the view stays.
 */
long pvvas_view_place(struct kvm_vcpu *vcpu, u64 ctx_id, u64 slot, u64 id)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_ctx *ctx = xa_load(&pv->ctxs, ctx_id);
	struct pvvas_view *view = NULL;
	long r = 0;

	if (!ctx)
		return -ENOENT;
	if (!slot || slot >= PVVAS_NR_SLOTS)
		return -EINVAL;
	slot = array_index_nospec(slot, PVVAS_NR_SLOTS);
	if (id) {
		view = xa_load(&pv->views, id);
		if (!view)
			return -ENOENT;
		if (view->ctx != ctx)
			return -EINVAL;
		if (view->slot || ctx->slots[slot])
			return -EBUSY;
	}

	write_lock(&kvm->mmu_lock);
	if (!view) {
		if (ctx->slots[slot])
			pvvas_view_unplace(kvm, ctx->slots[slot]);
		else
			r = -ENOENT;
	} else {
		pvvas_view_put_in(kvm, view, slot);
	}
	write_unlock(&kvm->mmu_lock);
	return r;
}
