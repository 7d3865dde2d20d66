// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: what a VMM saves and restores.  Tables and leaves are no state:
 * faults bring them back.
 *
 * All vCPUs must be stopped: their mutexes are tried, before kvm_pvvas.lock is
 * taken, since a vCPU in a hypercall holds the one and waits for the other.
 */
#include <linux/kvm_host.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>

#include "internal.h"
#include "mmu.h"

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

static void pvvas_save_view(struct pvvas_out *out, struct pvvas_view *view)
{
	struct interval_tree_node *node;

	pvvas_put(out, KVM_PVVAS_VIEW, view->slot, view->id, view->ctx->id,
		  view->cookie, view->generation);
	cond_resched();
	for (node = interval_tree_iter_first(&view->atts, 0, ULONG_MAX); node;
	     node = interval_tree_iter_next(node, 0, ULONG_MAX)) {
		struct pvvas_att *att = container_of(node, struct pvvas_att, node);

		pvvas_put(out, KVM_PVVAS_ATTACHMENT, att->prot, view->id,
			  att->seg->id, 0, 0);
	}
}

static void pvvas_save_seg(struct pvvas_out *out, struct pvvas_seg *seg)
{
	struct interval_tree_node *node;

	pvvas_put(out, KVM_PVVAS_SEGMENT, seg->flags, seg->id,
		  gfn_to_gpa(seg->base), seg->npages << PAGE_SHIFT, 0);
	for (node = interval_tree_iter_first(&seg->extents, 0, ULONG_MAX); node;
	     node = interval_tree_iter_next(node, 0, ULONG_MAX)) {
		struct pvvas_extent_node *e;

		e = container_of(node, struct pvvas_extent_node, fwd);
		pvvas_put(out, KVM_PVVAS_EXTENT, e->prot, seg->id,
			  node->start << PAGE_SHIFT, gfn_to_gpa(e->rev.start),
			  (node->last - node->start + 1) << PAGE_SHIFT);
		cond_resched();
	}
}

/* Context and view of a stopped vCPU. */
static void pvvas_save_vcpu(struct pvvas_out *out, struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	u64 eptp, view;

	vcpu_load(vcpu);
	eptp = kvm_x86_call(pvvas_eptp)(vcpu);
	vcpu_put(vcpu);

	/* What kvm_pvvas_choose() will find at the next entry; the plain one is 0. */
	read_lock(&vcpu->kvm->mmu_lock);
	view = pvvas_view_to_load(vcpu, eptp)->id;
	read_unlock(&vcpu->kvm->mmu_lock);

	pvvas_put(out, KVM_PVVAS_VCPU, vcpu->vcpu_id, a->ctx, view, 0, 0);
}

/* kvm_pvvas.lock held */
static int pvvas_save(struct kvm *kvm, struct pvvas_out *out)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_view *view;
	struct pvvas_ctx *ctx;
	struct pvvas_seg *seg;
	struct kvm_vcpu *vcpu;
	unsigned long i;

	pvvas_put(out, KVM_PVVAS_HEADER, PVVAS_ABI_VERSION, pv->next_id,
		  gfn_to_gpa(pv->window), pv->window_pages << PAGE_SHIFT,
		  kvm_pvvas_in_use(kvm));
	/* Each kind after those that it names. */
	xa_for_each(&pv->segs, i, seg)
		pvvas_save_seg(out, seg);
	xa_for_each(&pv->ctxs, i, ctx)
		pvvas_put(out, KVM_PVVAS_CONTEXT, 0, ctx->id, 0, 0, 0);
	xa_for_each(&pv->views, i, view)
		pvvas_save_view(out, view);
	if (!kvm_pvvas_in_use(kvm))
		return out->err;
	kvm_for_each_vcpu(i, vcpu, kvm)
		pvvas_save_vcpu(out, vcpu);
	return out->err;
}

static int pvvas_load_header(struct kvm *kvm, const struct kvm_pvvas_record *rec)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;

	if (rec->type != KVM_PVVAS_HEADER || rec->arg != PVVAS_ABI_VERSION ||
	    !rec->val[0] || rec->val[0] > S64_MAX / 2 ||
	    rec->val[1] != gfn_to_gpa(pv->window) ||
	    rec->val[2] != pv->window_pages << PAGE_SHIFT || rec->val[3] > 1)
		return -EINVAL;
	pv->next_id = max(pv->next_id, rec->val[0]);
	if (rec->val[3])
		pvvas_activate(kvm);
	return 0;
}

static int pvvas_load_view(struct kvm *kvm, const struct kvm_pvvas_record *rec)
{
	struct pvvas_view *view;
	u32 slot;
	int r;

	if (rec->arg >= PVVAS_NR_SLOTS || rec->val[3] > U32_MAX)
		return -EINVAL;
	slot = array_index_nospec(rec->arg, PVVAS_NR_SLOTS);
	r = pvvas_view_make(kvm, rec->val[0], rec->val[1], rec->val[2]);
	if (r)
		return r;
	view = xa_load(&kvm->arch.pvvas->views, rec->val[0]);
	if (slot) {
		if (view->ctx->slots[slot])
			return -EEXIST;
		write_lock(&kvm->mmu_lock);
		pvvas_view_put_in(kvm, view, slot);
		write_unlock(&kvm->mmu_lock);
	}
	/*
	 * One step of it was the placing just now.  That later placings flush
	 * no more is right: the vCPUs flush before they enter again, as the
	 * activation asked for.
	 */
	view->generation = rec->val[3];
	return 0;
}

static int pvvas_load_extent(struct kvm *kvm, const struct kvm_pvvas_record *rec)
{
	struct pvvas_seg *seg = xa_load(&kvm->arch.pvvas->segs, rec->val[0]);
	struct pvvas_extent row = {
		.offset = rec->val[1],
		.gpa = rec->val[2],
		.size = rec->val[3],
		.prot = rec->arg,
	};

	if (!seg)
		return -ENOENT;
	return pvvas_change_one(kvm, PVVAS_HC_SEG_MAP, seg, &row);
}

static int pvvas_load_vcpu(struct kvm *kvm, const struct kvm_pvvas_record *rec)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct kvm_vcpu *vcpu = kvm_get_vcpu_by_id(kvm, rec->arg);
	struct pvvas_view *view = NULL;
	struct pvvas_ctx *ctx = NULL;

	if (!vcpu || !kvm_pvvas_in_use(kvm))
		return -ENOENT;
	if (rec->val[0]) {
		ctx = xa_load(&pv->ctxs, rec->val[0]);
		if (!ctx)
			return -ENOENT;
	}
	if (rec->val[1]) {
		view = xa_load(&pv->views, rec->val[1]);
		if (!view)
			return -ENOENT;
		if (view->ctx != ctx)
			return -EINVAL;
	}

	write_lock(&kvm->mmu_lock);
	vcpu->arch.pvvas.ctx = rec->val[0];
	vcpu->arch.pvvas.list = __pa(ctx ? ctx->list : pv->null_list);
	/* EPT_POINTER is no view of this VM: all were made just now. */
	vcpu->arch.pvvas.eptp = view ? view->eptp : pv->plain.eptp;
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
	[KVM_PVVAS_SEGMENT] = 3,
	[KVM_PVVAS_EXTENT] = 4,
	[KVM_PVVAS_CONTEXT] = 1,
	[KVM_PVVAS_VIEW] = 4,
	[KVM_PVVAS_ATTACHMENT] = 2,
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

static int pvvas_load_record(struct kvm *kvm, const struct kvm_pvvas_record *rec)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	const u64 *val = rec->val;

	if (!pvvas_record_padded(rec))
		return -EINVAL;
	/* Ids that will be given out later would clash. */
	if (rec->type != KVM_PVVAS_VCPU && (!val[0] || val[0] >= pv->next_id))
		return -EINVAL;

	switch (rec->type) {
	case KVM_PVVAS_SEGMENT:
		return pvvas_seg_make(kvm, val[0], val[1], val[2], rec->arg);
	case KVM_PVVAS_EXTENT:
		return pvvas_load_extent(kvm, rec);
	case KVM_PVVAS_CONTEXT:
		return kvm_pvvas_in_use(kvm) ? pvvas_ctx_make(kvm, val[0]) :
					       -EINVAL;
	case KVM_PVVAS_VIEW:
		return pvvas_load_view(kvm, rec);
	case KVM_PVVAS_ATTACHMENT:
		return pvvas_attach(kvm, val[0], val[1], rec->arg);
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
		/* xa_insert()'s word for an id that is there; ours means vCPUs. */
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
		mutex_acquire(&vcpu->mutex.dep_map, 0, 1, _THIS_IP_);
		mutex_unlock(&vcpu->mutex);
	}
}

/*
 * kvm->lock held: no vCPU is added meanwhile.  Lockdep counts these locks as let
 * go until they are: it has no room for as many as a VM has vCPUs.
 */
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
		mutex_release(&vcpu->mutex.dep_map, _THIS_IP_);
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
 * -EEXIST or -ENOSPC for a bad record: then the VM has no objects; -EFAULT,
 * -EINTR, -ENOMEM.
 */
int kvm_pvvas_ioctl(struct kvm *kvm, void __user *argp)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct kvm_pvvas_state state;
	struct pvvas_out out = {};
	unsigned long locked;
	int r;

	if (!pv)
		return -ENXIO;
	BUILD_BUG_ON(sizeof(state) < KVM_PVVAS_STATE_SIZE_VER1);
	r = pvvas_copy_struct(&state, sizeof(state), KVM_PVVAS_STATE_SIZE_VER1,
			      argp);
	if (r)
		return r;
	if (state.pad)
		return -EINVAL;

	mutex_lock(&kvm->lock);
	r = pvvas_lock_vcpus(kvm, &locked);
	if (r) {
		mutex_unlock(&kvm->lock);
		return r;
	}
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
	pvvas_unlock_vcpus(kvm, locked);
	mutex_unlock(&kvm->lock);

	if (copy_to_user(argp, &state, min_t(size_t, state.size, sizeof(state))))
		return -EFAULT;
	return r;
}
