// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: what a VMM saves and restores.  Tables are the guest's memory, and
 * their shadows no state: faults bring them back.
 *
 * All vCPUs must be stopped: their mutexes are tried, before kvm_pvvas.lock is
 * taken, since a vCPU in a hypercall holds the one and waits for the other.
 */
#include <linux/kvm_host.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>

#include "internal.h"
#include "cpuid.h"
#include "mmu.h"
#include "smm.h"

/* A record sink that counts, and writes while there is room. */
struct pvvas_out {
	struct kvm_pvvas_record __user *to;
	u64 room;
	u64 n;
	int err;
};

static void pvvas_put(struct pvvas_out *out, u32 type, u32 arg, u64 a, u64 b,
		      u64 c, u64 d)
{
	struct kvm_pvvas_record rec = {
		.type = type,
		.arg = arg,
		.val = { a, b, c, d },
	};

	if (out->n < out->room && !out->err &&
	    copy_to_user(out->to + out->n, &rec, sizeof(rec)))
		out->err = -EFAULT;
	out->n++;
}

/* Context and view of a stopped vCPU: what kvm_pvvas_choose() will find. */
static void pvvas_save_vcpu(struct pvvas_out *out, struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	u64 eptp, ctx = 0, view = 0;

	vcpu_load(vcpu);
	eptp = kvm_x86_call(pvvas_eptp)(vcpu);
	vcpu_put(vcpu);

	read_lock(&vcpu->kvm->mmu_lock);
	if (a->ctx) {
		ctx = a->ctx->id;
		view = pvvas_view_to_load(vcpu, eptp)->id;
	}
	read_unlock(&vcpu->kvm->mmu_lock);
	pvvas_put(out, KVM_PVVAS_VCPU, vcpu->vcpu_id, ctx, view, 0, 0);
}

/* kvm_pvvas.lock held */
static int pvvas_save(struct kvm *kvm, struct pvvas_out *out)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_view *view;
	struct pvvas_ctx *ctx;
	struct kvm_vcpu *vcpu;
	unsigned long i;

	pvvas_put(out, KVM_PVVAS_HEADER, PVVAS_ABI_VERSION, pv->next_id,
		  gfn_to_gpa(pv->window), pv->window_pages << PAGE_SHIFT, 0);
	xa_for_each(&pv->ctxs, i, ctx)
		pvvas_put(out, KVM_PVVAS_CONTEXT, 0, ctx->id,
			  gfn_to_gpa(ctx->plain->table), 0, 0);
	xa_for_each(&pv->views, i, view) {
		pvvas_put(out, KVM_PVVAS_VIEW, view->slot, view->id,
			  view->ctx->id, gfn_to_gpa(view->table), view->cookie);
		cond_resched();
	}
	kvm_for_each_vcpu(i, vcpu, kvm)
		if (vcpu->arch.pvvas.ctx)
			pvvas_save_vcpu(out, vcpu);
	return out->err;
}

static int pvvas_load_header(struct kvm *kvm, const struct kvm_pvvas_record *rec)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;

	if (rec->type != KVM_PVVAS_HEADER || rec->arg != PVVAS_ABI_VERSION ||
	    !rec->val[0] || rec->val[0] > S64_MAX / 2 ||
	    rec->val[1] != gfn_to_gpa(pv->window) ||
	    rec->val[2] != pv->window_pages << PAGE_SHIFT || rec->val[3])
		return -EINVAL;
	pv->next_id = max(pv->next_id, rec->val[0]);
	return 0;
}

static int pvvas_load_vcpu(struct kvm *kvm, const struct kvm_pvvas_record *rec)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct kvm_vcpu *vcpu = kvm_get_vcpu_by_id(kvm, rec->arg);
	struct pvvas_ctx *ctx = xa_load(&pv->ctxs, rec->val[0]);
	struct pvvas_view *view;

	if (!vcpu || !ctx)
		return -ENOENT;
	if (guest_cpu_cap_has(vcpu, X86_FEATURE_VMX))
		return -EINVAL;
	view = rec->val[1] ? xa_load(&pv->views, rec->val[1]) : ctx->plain;
	if (!view)
		return -ENOENT;
	if (view->ctx != ctx)
		return -EINVAL;

	write_lock(&kvm->mmu_lock);
	WRITE_ONCE(vcpu->arch.pvvas.ctx, ctx);
	/* EPT_POINTER is no view of this VM: all were made just now. */
	vcpu->arch.pvvas.eptp = pvvas_eptp(view);
	vcpu->arch.pvvas.older_than = U64_MAX;
	vcpu->arch.pvvas.noted = true;
	vcpu->arch.pvvas.reset_view = false;
	write_unlock(&kvm->mmu_lock);
	kvm_make_request(KVM_REQ_LOAD_MMU_PGD, vcpu);
	return 0;
}

/* How much of val[] a record of each type has a use for; the rest is 0. */
static const u8 pvvas_record_vals[] = {
	[KVM_PVVAS_HEADER] = 4,
	[KVM_PVVAS_CONTEXT] = 2,
	[KVM_PVVAS_VIEW] = 4,
	[KVM_PVVAS_VCPU] = 2,
};

static bool pvvas_record_padded(const struct kvm_pvvas_record *rec)
{
	unsigned int i;

	if (rec->type >= ARRAY_SIZE(pvvas_record_vals))
		return false;
	i = pvvas_record_vals[array_index_nospec(rec->type,
						 ARRAY_SIZE(pvvas_record_vals))];
	for (; i < ARRAY_SIZE(rec->val); i++)
		if (rec->val[i])
			return false;
	return rec->type != KVM_PVVAS_CONTEXT || !rec->arg;
}

/* Whose guest_mmu and caches may serve for the roots: one that does not nest. */
static struct kvm_vcpu *pvvas_any_vcpu(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm)
		if (!guest_cpu_cap_has(vcpu, X86_FEATURE_VMX) && !is_smm(vcpu))
			return vcpu;
	return NULL;
}

static int pvvas_load_record(struct kvm *kvm, const struct kvm_pvvas_record *rec)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct kvm_vcpu *vcpu = pvvas_any_vcpu(kvm);
	const u64 *val = rec->val;

	if (!pvvas_record_padded(rec) || !vcpu)
		return -EINVAL;
	/* Ids that will be given out later would clash. */
	if (rec->type != KVM_PVVAS_VCPU && (!val[0] || val[0] >= pv->next_id))
		return -EINVAL;

	switch (rec->type) {
	case KVM_PVVAS_CONTEXT:
		return pvvas_ctx_make(vcpu, val[0], val[1]);
	case KVM_PVVAS_VIEW:
		return pvvas_view_make(vcpu, val[0], val[1], rec->arg, val[2],
				       val[3]);
	case KVM_PVVAS_VCPU:
		return pvvas_load_vcpu(kvm, rec);
	default:
		return -EINVAL;
	}
}

/* kvm_pvvas.lock held */
static int pvvas_restore(struct kvm *kvm,
			 const struct kvm_pvvas_record __user *from, u64 n)
{
	struct kvm_pvvas_record rec;
	u64 i;
	int r;

	pvvas_reset_locked(kvm);
	for (i = 0; i < n; i++) {
		if (copy_from_user(&rec, from + i, sizeof(rec)))
			r = -EFAULT;
		else if (!i)
			r = pvvas_load_header(kvm, &rec);
		else
			r = pvvas_load_record(kvm, &rec);
		/* The word for an id or slot that is taken; ours means vCPUs. */
		if (r == -EBUSY)
			r = -EEXIST;
		if (!r && fatal_signal_pending(current))
			r = -EINTR;
		if (r)
			goto fail;
		cond_resched();
	}
	return 0;
fail:
	pvvas_reset_locked(kvm);
	return r;
}

static void pvvas_unlock_vcpus(struct kvm *kvm, unsigned long n)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (i == n)
			break;
#ifdef CONFIG_PROVE_LOCKING
		if (i)
			mutex_acquire(&vcpu->mutex.dep_map, 0, 1, _RET_IP_);
#endif
		mutex_unlock(&vcpu->mutex);
	}
}

/* kvm->lock held: no vCPU is added meanwhile. */
static int pvvas_lock_vcpus(struct kvm *kvm, unsigned long *n)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	*n = 0;
	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (!mutex_trylock(&vcpu->mutex)) {
			pvvas_unlock_vcpus(kvm, *n);
			return -EBUSY;
		}
#ifdef CONFIG_PROVE_LOCKING
		/* The first stands for all: lockdep counts to 48. */
		if (i)
			mutex_release(&vcpu->mutex.dep_map, _RET_IP_);
#endif
		++*n;
	}
	return 0;
}

/**
 * kvm_pvvas_ioctl - KVM_PVVAS_STATE
 * @kvm: the VM
 * @argp: struct kvm_pvvas_state
 *
 * Return: 0; -ENXIO if the VM has no views; -EBUSY if a vCPU runs; -E2BIG if the
 * buffer is too small, with the number of records in it; -EINVAL, -ENOENT,
 * -EEXIST, -ENOSPC or -EFAULT for a bad record: then the VM has no objects;
 * -EFAULT, -EINTR, -ENOMEM.
 */
int kvm_pvvas_ioctl(struct kvm *kvm, void __user *argp)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct kvm_pvvas_state state;
	struct pvvas_out out = {};
	unsigned long locked;
	int r, idx;

	if (!pv)
		return -ENXIO;
	r = pvvas_copy_struct(&state, sizeof(state), KVM_PVVAS_STATE_SIZE_V1,
			      argp);
	if (!r && state.pad)
		r = -EINVAL;
	if (r)
		return r;

	mutex_lock(&kvm->lock);
	r = pvvas_lock_vcpus(kvm, &locked);
	if (r) {
		mutex_unlock(&kvm->lock);
		return r;
	}
	/* Roots are of memory in memslots. */
	idx = srcu_read_lock(&kvm->srcu);
	mutex_lock(&pv->lock);
	switch (state.op) {
	case KVM_PVVAS_GET:
		out.to = u64_to_user_ptr(state.records);
		out.room = state.nr;
		r = pvvas_save(kvm, &out);
		if (!r && out.n > out.room)
			r = -E2BIG;
		state.nr = out.n;
		break;
	case KVM_PVVAS_SET:
		r = pvvas_restore(kvm, u64_to_user_ptr(state.records), state.nr);
		break;
	case KVM_PVVAS_RESET:
		pvvas_reset_locked(kvm);
		r = 0;
		break;
	default:
		r = -EINVAL;
	}
	mutex_unlock(&pv->lock);
	srcu_read_unlock(&kvm->srcu, idx);
	pvvas_unlock_vcpus(kvm, locked);
	mutex_unlock(&kvm->lock);

	if (copy_to_user(argp, &state, min_t(u32, state.size, sizeof(state))))
		return -EFAULT;
	return r;
}
