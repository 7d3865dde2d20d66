// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: contexts, i.e. EPTP lists, and which one a vCPU has loaded.
 */
#include <linux/kvm_host.h>

#include "internal.h"
#include "mmu.h"
#include "smm.h"
#include "trace.h"

int pvvas_ctx_make(struct kvm *kvm, u64 id)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct kvm_mmu_memory_cache mc = { .gfp_zero = __GFP_ZERO };
	struct pvvas_ctx *ctx;
	int i, r;

	if (kvm->stat.pvvas_ctxs >= pv->config.max_ctxs)
		return -ENOSPC;
	r = pvvas_room_for_tables(kvm, 1);
	if (r)
		return r;

	ctx = kzalloc(sizeof(*ctx), GFP_KERNEL_ACCOUNT);
	if (!ctx)
		return -ENOMEM;
	r = __kvm_mmu_topup_memory_cache(&mc, 1, 1);
	if (r)
		goto fail;

	ctx->id = id;
	INIT_LIST_HEAD(&ctx->views);
	ctx->list = pvvas_take_page(kvm, &mc);
	for (i = 0; i < PVVAS_NR_SLOTS; i++)
		ctx->list[i] = pv->plain.eptp;
	/* Whole by now: PVVAS_HC_CTX_LOAD takes no mutex. */
	r = xa_insert(&pv->ctxs, ctx->id, ctx, GFP_KERNEL_ACCOUNT);
	if (r)
		goto fail;
	kvm_mmu_free_memory_cache(&mc);
	kvm->stat.pvvas_ctxs++;
	return 0;
fail:
	pvvas_put_page(kvm, ctx->list);
	kvm_mmu_free_memory_cache(&mc);
	kfree(ctx);
	return r;
}

long pvvas_ctx_create(struct kvm_vcpu *vcpu, u64 flags)
{
	struct kvm_pvvas *pv = vcpu->kvm->arch.pvvas;
	int r;

	if (flags)
		return -EINVAL;
	if (vcpu->arch.mmu->root_role.level != PVVAS_ROOT_LEVEL)
		return -EOPNOTSUPP;
	r = pvvas_ctx_make(vcpu->kvm, pv->next_id);
	if (r)
		return r;
	pvvas_activate(vcpu->kvm);
	return pv->next_id++;
}

/*
 * Destroy @ctx and its views.  A vCPU that has it loaded falls back to no
 * context and the plain view before it runs guest code again.
 */
void pvvas_ctx_free(struct kvm *kvm, struct pvvas_ctx *ctx)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_view *view, *tmp;
	struct kvm_vcpu *v;
	unsigned long i;

	lockdep_assert_held(&pv->lock);

	write_lock(&kvm->mmu_lock);
	xa_erase(&pv->ctxs, ctx->id);
	list_for_each_entry(view, &ctx->views, ctx_node)
		xa_erase(&pv->roots, PHYS_PFN(__pa(view->root)));
	kvm_for_each_vcpu(i, v, kvm) {
		if (v->arch.pvvas.ctx != ctx->id)
			continue;
		v->arch.pvvas.ctx = 0;
		v->arch.pvvas.list = __pa(pv->null_list);
		kvm_make_request(KVM_REQ_LOAD_MMU_PGD, v);
	}
	/* Kicks every vCPU out of the views and the list. */
	pvvas_flush(kvm);
	list_for_each_entry(view, &ctx->views, ctx_node)
		pvvas_detach_all(kvm, view);
	write_unlock(&kvm->mmu_lock);

	list_for_each_entry_safe(view, tmp, &ctx->views, ctx_node) {
		pvvas_view_free(kvm, view);
		cond_resched();
	}
	pvvas_put_page(kvm, ctx->list);
	kvm->stat.pvvas_ctxs--;
	kfree(ctx);
}

long pvvas_ctx_destroy(struct kvm_vcpu *vcpu, u64 id)
{
	struct pvvas_ctx *ctx = xa_load(&vcpu->kvm->arch.pvvas->ctxs, id);

	if (!ctx)
		return -ENOENT;
	pvvas_ctx_free(vcpu->kvm, ctx);
	return 0;
}

/* The hot one: no mutex. */
long pvvas_ctx_load(struct kvm_vcpu *vcpu, u64 id)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_ctx *ctx = NULL;

	write_lock(&kvm->mmu_lock);
	/* A reset at work has contexts left. */
	if (id && kvm_pvvas_in_use(kvm))
		ctx = xa_load(&pv->ctxs, id);
	if (id && !ctx) {
		write_unlock(&kvm->mmu_lock);
		return -ENOENT;
	}
	vcpu->arch.pvvas.ctx = id;
	vcpu->arch.pvvas.list = __pa(ctx ? ctx->list : pv->null_list);
	vcpu->arch.pvvas.reset_view = true;
	write_unlock(&kvm->mmu_lock);

	kvm_make_request(KVM_REQ_LOAD_MMU_PGD, vcpu);
	vcpu->stat.pvvas_ctx_loads++;
	return 0;
}

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

	view = pvvas_view_by_eptp(vcpu->kvm->arch.pvvas, eptp);
	if (!view || view->id >= a->older_than)
		return NULL;
	return view->ctx && view->ctx->id != a->ctx ? NULL : view;
}

/* The view that @vcpu goes on in; EPT_POINTER is @eptp. */
struct pvvas_view *pvvas_view_to_load(struct kvm_vcpu *vcpu, u64 eptp)
{
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	struct pvvas_view *view = NULL;

	if (!a->reset_view)
		view = pvvas_view_in_force(vcpu, a->noted ? a->eptp : eptp);
	return view ?: &vcpu->kvm->arch.pvvas->plain;
}

/* Say so if @vcpu has come out of another view. */
static void pvvas_trace_switch(struct kvm_vcpu *vcpu)
{
	u64 id, ctx, eptp = kvm_x86_call(pvvas_eptp)(vcpu);
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	struct pvvas_view *view;

	read_lock(&vcpu->kvm->mmu_lock);
	view = pvvas_view_in_force(vcpu, eptp);
	id = view ? view->id : 0;
	ctx = a->ctx;
	read_unlock(&vcpu->kvm->mmu_lock);

	if (id != a->traced_view)
		trace_kvm_pvvas_switch(vcpu->vcpu_id, ctx, a->traced_view, id);
	a->traced_view = id;
}

static int pvvas_traced_exit(struct kvm_vcpu *vcpu, fastpath_t fastpath)
{
	if (kvm_pvvas_active(vcpu) && !is_guest_mode(vcpu) && !is_smm(vcpu))
		pvvas_trace_switch(vcpu);
	return kvm_x86_ops.handle_exit(vcpu, fastpath);
}

/*
 * Every exit would have to ask whether kvm_pvvas_switch is wanted.  Instead the
 * event, while it is on, stands in for the function that every exit calls.
 */
int pvvas_trace_exits(void)
{
	static_call_update(kvm_x86_handle_exit, pvvas_traced_exit);
	return 0;
}

void pvvas_trace_no_exits(void)
{
	static_call_update(kvm_x86_handle_exit, kvm_x86_ops.handle_exit);
}

/* A vendor module has been loaded, maybe with the event on. */
void kvm_pvvas_ops_updated(void)
{
	if (trace_kvm_pvvas_switch_enabled())
		pvvas_trace_exits();
}

/**
 * kvm_pvvas_choose - which view and list a vCPU is to run with
 * @vcpu: the vCPU
 * @eptp: in: its EPT_POINTER; out: the one to load
 * @list: out: EPTP_LIST_ADDRESS
 *
 * The view in force stays, whoever changed the root meanwhile, unless it is
 * gone or belongs to another context; then it is the plain one.  SMM runs on the
 * VM's own root: the view that was left is noted on the way in, and what
 * EPT_POINTER says until the way out means nothing.
 *
 * Return: false if a reset came first, and the VM's own root it is.
 */
bool kvm_pvvas_choose(struct kvm_vcpu *vcpu, u64 *eptp, u64 *list)
{
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	bool in_use;

	write_lock(&vcpu->kvm->mmu_lock);
	in_use = kvm_pvvas_in_use(vcpu->kvm);
	a->eptp = pvvas_view_to_load(vcpu, *eptp)->eptp;
	a->reset_view = false;
	a->noted = is_smm(vcpu);
	a->older_than = U64_MAX;
	*eptp = a->eptp;
	*list = a->list;
	write_unlock(&vcpu->kvm->mmu_lock);
	return in_use;
}
EXPORT_SYMBOL_GPL(kvm_pvvas_choose);
