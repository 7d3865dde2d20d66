// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: roots and slots.
 */
#include <linux/kvm_host.h>
#include <linux/nospec.h>

#include "internal.h"
#include "mmu.h"
#include "trace.h"

/*
 * The view that @vcpu's EPT_POINTER, or what was noted of it, means; NULL if it
 * is gone.  Its page may be the root of a newer view by now: one of the same
 * context is told by its id, one of another by the context.
 */
struct pvvas_view *pvvas_view_in_force(struct kvm_vcpu *vcpu, u64 eptp)
{
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	struct pvvas_view *view;

	lockdep_assert_held(&vcpu->kvm->mmu_lock);

	if (!a->ctx || (eptp & ~PVVAS_EPT_ADDR) != PVVAS_EPTP_FLAGS)
		return NULL;
	view = xa_load(&a->ctx->roots, (eptp & PVVAS_EPT_ADDR) >> PAGE_SHIFT);
	return view && view->id < a->older_than ? view : NULL;
}

/* The view that @vcpu, which has a context, goes on in; EPT_POINTER is @eptp. */
struct pvvas_view *pvvas_view_to_load(struct kvm_vcpu *vcpu, u64 eptp)
{
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	struct pvvas_view *view = NULL;

	if (!a->reset_view)
		view = pvvas_view_in_force(vcpu, a->noted ? a->eptp : eptp);
	return view ?: a->ctx->plain;
}

/* The view in force, for pvvas_view_put(). */
struct pvvas_view *pvvas_view_get(struct kvm_vcpu *vcpu, u64 eptp)
{
	struct pvvas_view *view;

	read_lock(&vcpu->kvm->mmu_lock);
	view = pvvas_view_in_force(vcpu, eptp);
	if (view)
		refcount_inc(&view->users);
	read_unlock(&vcpu->kvm->mmu_lock);
	return view;
}

/* The last one, of a view that is unreachable, lets its root go. */
void pvvas_view_put(struct kvm *kvm, struct pvvas_view *view)
{
	if (!refcount_dec_and_test(&view->users))
		return;
	write_lock(&kvm->mmu_lock);
	kvm_view_put_root(kvm, view->root);
	write_unlock(&kvm->mmu_lock);
	kfree(view);
}

/* A view that no list shows yet. */
struct pvvas_view *pvvas_view_alloc(struct kvm_vcpu *vcpu, struct pvvas_ctx *ctx,
				    u64 id, u64 root_gpa)
{
	struct kvm *kvm = vcpu->kvm;
	struct pvvas_view *view;
	int r, fresh;

	if (!PAGE_ALIGNED(root_gpa))
		return ERR_PTR(-EINVAL);
	view = kzalloc(sizeof(*view), GFP_KERNEL_ACCOUNT);
	if (!view)
		return ERR_PTR(-ENOMEM);
	refcount_set(&view->users, 1);
	view->id = id;
	view->ctx = ctx;
	view->table = gpa_to_gfn(root_gpa);
	fresh = kvm_view_get_root(vcpu, view->table, &view->root);
	if (fresh < 0) {
		kfree(view);
		return ERR_PTR(fresh);
	}
	r = xa_insert(&ctx->roots, PHYS_PFN(view->root), view,
		      GFP_KERNEL_ACCOUNT);
	if (r) {
		pvvas_view_put(kvm, view);
		return ERR_PTR(r == -EBUSY ? -EEXIST : r);
	}
	/* The page may have been a root before, of another VM even. */
	if (fresh)
		pvvas_flush(kvm, __func__);
	return view;
}

static bool pvvas_slot_free(const struct pvvas_ctx *ctx, u32 slot)
{
	return ctx->list[slot] == pvvas_eptp(ctx->plain);
}

static void pvvas_view_put_in(struct pvvas_view *view, u32 slot)
{
	view->slot = slot;
	WRITE_ONCE(view->ctx->list[slot], pvvas_eptp(view));
}

/* mmu_lock held for writing */
static void pvvas_view_take_out(struct pvvas_view *view)
{
	if (view->slot)
		WRITE_ONCE(view->ctx->list[view->slot],
			   pvvas_eptp(view->ctx->plain));
	view->slot = 0;
}

int pvvas_view_make(struct kvm_vcpu *vcpu, u64 id, u64 ctx_id, u64 slot,
		    u64 root_gpa, u64 cookie)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_ctx *ctx = xa_load(&pv->ctxs, ctx_id);
	struct pvvas_view *view;
	int r;

	lockdep_assert_held(&pv->lock);

	if (!ctx)
		return -ENOENT;
	if (slot >= PVVAS_NR_SLOTS)
		return -EINVAL;
	slot = array_index_nospec(slot, PVVAS_NR_SLOTS);
	if (slot && !pvvas_slot_free(ctx, slot))
		return -EBUSY;
	if (kvm->stat.pvvas_views >= pv->config.max_views)
		return -ENOSPC;

	view = pvvas_view_alloc(vcpu, ctx, id, root_gpa);
	if (IS_ERR(view))
		return PTR_ERR(view);
	r = xa_insert(&pv->views, id, view, GFP_KERNEL_ACCOUNT);
	if (r) {
		xa_erase(&ctx->roots, PHYS_PFN(view->root));
		pvvas_view_put(kvm, view);
		return r;
	}

	write_lock(&kvm->mmu_lock);
	view->cookie = cookie;
	if (slot)
		pvvas_view_put_in(view, slot);
	write_unlock(&kvm->mmu_lock);
	kvm->stat.pvvas_views++;
	trace_kvm_pvvas_view("create", id, ctx_id, slot, root_gpa, cookie);
	return 0;
}

long pvvas_view_create(struct kvm_vcpu *vcpu, u64 ctx_id, u64 slot,
		       u64 root_gpa, u64 cookie)
{
	struct kvm_pvvas *pv = vcpu->kvm->arch.pvvas;
	int r;

	r = pvvas_view_make(vcpu, pv->next_id, ctx_id, slot, root_gpa, cookie);
	return r ?: pv->next_id++;
}

/* A vCPU that is in the view finds itself in the plain one. */
long pvvas_view_destroy(struct kvm *kvm, u64 id)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_view *view = xa_load(&pv->views, id);
	struct kvm_vcpu *v;
	unsigned long i;

	if (!view)
		return -ENOENT;

	write_lock(&kvm->mmu_lock);
	pvvas_view_take_out(view);
	xa_erase(&view->ctx->roots, PHYS_PFN(view->root));
	kvm_for_each_vcpu(i, v, kvm) {
		if (v->arch.pvvas.ctx != view->ctx)
			continue;
		/* Views made from now on: not what its EPT_POINTER means. */
		v->arch.pvvas.older_than = min(v->arch.pvvas.older_than,
					       pv->next_id);
		kvm_make_request(KVM_REQ_LOAD_MMU_PGD, v);
	}
	kvm_view_kill_root(kvm, view->root);
	/* Kicks every vCPU out of the view. */
	pvvas_flush(kvm, __func__);
	write_unlock(&kvm->mmu_lock);

	xa_erase(&pv->views, id);
	kvm->stat.pvvas_views--;
	trace_kvm_pvvas_view("destroy", id, view->ctx->id, 0, 0, view->cookie);
	pvvas_view_put(kvm, view);
	return 0;
}

/*
 * Place a view in a slot of its context's list, or with @id 0 clear the slot.
 * Clearing only keeps vCPUs from entering: one that is in the view stays.
 */
long pvvas_view_place(struct kvm *kvm, u64 ctx_id, u64 slot, u64 id)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_ctx *ctx = xa_load(&pv->ctxs, ctx_id);
	struct pvvas_view *view;

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
		if (view->slot || !pvvas_slot_free(ctx, slot))
			return -EBUSY;
	} else {
		if (pvvas_slot_free(ctx, slot))
			return -ENOENT;
		view = xa_load(&ctx->roots, (ctx->list[slot] & PVVAS_EPT_ADDR) >>
			       PAGE_SHIFT);
	}

	write_lock(&kvm->mmu_lock);
	if (id)
		pvvas_view_put_in(view, slot);
	else
		pvvas_view_take_out(view);
	write_unlock(&kvm->mmu_lock);
	trace_kvm_pvvas_view("place", view->id, ctx_id, id ? slot : 0, 0,
			     view->cookie);
	return 0;
}
