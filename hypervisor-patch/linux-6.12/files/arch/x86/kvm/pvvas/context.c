// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: contexts, i.e. EPTP lists, and which one a vCPU has loaded.
 */
#include <linux/kvm_host.h>

#include "internal.h"
#include "cpuid.h"
#include "mmu.h"
#include "smm.h"
#include "trace.h"

int pvvas_ctx_make(struct kvm_vcpu *vcpu, u64 id, u64 root_gpa)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_ctx *ctx;
	int i, r = -ENOMEM;

	lockdep_assert_held(&pv->lock);

	if (kvm->stat.pvvas_ctxs >= pv->config.max_ctxs)
		return -ENOSPC;
	ctx = kzalloc(sizeof(*ctx), GFP_KERNEL_ACCOUNT);
	if (!ctx)
		return -ENOMEM;
	ctx->id = id;
	xa_init_flags(&ctx->roots, XA_FLAGS_ACCOUNT);
	ctx->list = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!ctx->list)
		goto free;
	ctx->plain = pvvas_view_alloc(vcpu, ctx, 0, root_gpa);
	if (IS_ERR(ctx->plain)) {
		r = PTR_ERR(ctx->plain);
		goto free;
	}
	for (i = 0; i < PVVAS_NR_SLOTS; i++)
		ctx->list[i] = pvvas_eptp(ctx->plain);
	/* Whole by now: PVVAS_HC_CTX_LOAD takes no mutex. */
	r = xa_insert(&pv->ctxs, id, ctx, GFP_KERNEL_ACCOUNT);
	if (r)
		goto put;
	kvm->stat.pvvas_ctxs++;
	trace_kvm_pvvas_ctx("create", id, root_gpa);
	return 0;
put:
	pvvas_view_put(kvm, ctx->plain);
free:
	xa_destroy(&ctx->roots);
	free_page((unsigned long)ctx->list);
	kfree(ctx);
	return r;
}

long pvvas_ctx_create(struct kvm_vcpu *vcpu, u64 root_gpa, u64 flags)
{
	struct kvm_pvvas *pv = vcpu->kvm->arch.pvvas;
	int r;

	if (flags)
		return -EINVAL;
	r = pvvas_ctx_make(vcpu, pv->next_id, root_gpa);
	return r ?: pv->next_id++;
}

/*
 * Destroy @ctx and its views.  A vCPU that has it loaded falls back to no
 * context before it runs guest code again.
 */
void pvvas_ctx_free(struct kvm *kvm, struct pvvas_ctx *ctx)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_view *view;
	struct kvm_vcpu *v;
	unsigned long i;

	lockdep_assert_held(&pv->lock);

	write_lock(&kvm->mmu_lock);
	xa_erase(&pv->ctxs, ctx->id);
	kvm_for_each_vcpu(i, v, kvm) {
		if (v->arch.pvvas.ctx != ctx)
			continue;
		WRITE_ONCE(v->arch.pvvas.ctx, NULL);
		kvm_make_request(KVM_REQ_LOAD_MMU_PGD, v);
	}
	xa_for_each(&ctx->roots, i, view)
		kvm_view_kill_root(kvm, view->root);
	/* Kicks every vCPU out of the views and the list. */
	pvvas_flush(kvm, __func__);
	write_unlock(&kvm->mmu_lock);

	xa_for_each(&ctx->roots, i, view) {
		if (view != ctx->plain) {
			xa_erase(&pv->views, view->id);
			kvm->stat.pvvas_views--;
		}
		pvvas_view_put(kvm, view);
		cond_resched();
	}
	trace_kvm_pvvas_ctx("destroy", ctx->id, 0);
	xa_destroy(&ctx->roots);
	free_page((unsigned long)ctx->list);
	kvm->stat.pvvas_ctxs--;
	kfree(ctx);
}

long pvvas_ctx_destroy(struct kvm *kvm, u64 id)
{
	struct pvvas_ctx *ctx = xa_load(&kvm->arch.pvvas->ctxs, id);

	if (!ctx)
		return -ENOENT;
	pvvas_ctx_free(kvm, ctx);
	return 0;
}

/* The hot one: no mutex, and mmu_lock for reading. */
long pvvas_ctx_load(struct kvm_vcpu *vcpu, u64 id)
{
	struct kvm *kvm = vcpu->kvm;
	struct pvvas_ctx *ctx = NULL;

	read_lock(&kvm->mmu_lock);
	if (id) {
		ctx = xa_load(&kvm->arch.pvvas->ctxs, id);
		if (!ctx) {
			read_unlock(&kvm->mmu_lock);
			return -ENOENT;
		}
	}
	WRITE_ONCE(vcpu->arch.pvvas.ctx, ctx);
	vcpu->arch.pvvas.reset_view = true;
	read_unlock(&kvm->mmu_lock);

	kvm_make_request(KVM_REQ_LOAD_MMU_PGD, vcpu);
	vcpu->stat.pvvas_ctx_loads++;
	return 0;
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
 * Return: false if the vCPU is to run on the VM's own root.
 */
bool kvm_pvvas_choose(struct kvm_vcpu *vcpu, u64 *eptp, u64 *list)
{
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	struct pvvas_ctx *ctx;

	a->loaded = false;
	/* Views and nested VMX would both own guest_mmu and the EPTP. */
	if (is_guest_mode(vcpu) || guest_cpu_cap_has(vcpu, X86_FEATURE_VMX))
		return false;

	read_lock(&vcpu->kvm->mmu_lock);
	ctx = a->ctx;
	if (ctx) {
		a->eptp = pvvas_eptp(pvvas_view_to_load(vcpu, *eptp));
		a->noted = is_smm(vcpu);
		*eptp = a->eptp;
		*list = __pa(ctx->list);
	} else {
		a->noted = false;
	}
	a->reset_view = false;
	a->older_than = U64_MAX;
	read_unlock(&vcpu->kvm->mmu_lock);

	a->loaded = ctx && !is_smm(vcpu);
	return a->loaded;
}
EXPORT_SYMBOL_GPL(kvm_pvvas_choose);
