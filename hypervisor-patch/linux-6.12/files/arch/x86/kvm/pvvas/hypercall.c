// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: the hypercalls' front door.  docs/hypercalls.rst describes them.
 */
#include <linux/delay.h>
#include <linux/kvm_host.h>

#include "internal.h"
#include "cpuid.h"
#include "kvm_cache_regs.h"
#include "smm.h"

/*
 * The guest says how much of the struct it knows, and gets no more; what it
 * knows beyond @len stays as it was.
 */
static long pvvas_answer(struct kvm *kvm, u64 gpa, u64 size, const void *data,
			 u64 len)
{
	if (!size || !IS_ALIGNED(gpa | size, 8))
		return -EINVAL;
	len = min(size, len);
	return kvm_write_guest(kvm, gpa, data, len) ? -EFAULT : (long)len;
}

static long pvvas_info(struct kvm *kvm, u64 gpa, u64 size)
{
	struct kvm_pvvas_config *c = &kvm->arch.pvvas->config;
	struct pvvas_hc_info info = {
		.version = PVVAS_ABI_VERSION,
		.features = PVVAS_FEATURE_DEMAND_PROT,
		.window_gpa = c->window_gpa,
		.window_size = c->window_size,
		.slots = PVVAS_NR_SLOTS,
		.max_ctxs = c->max_ctxs,
		.max_views = c->max_views,
		.max_segs = c->max_segs,
		.max_extents = c->max_extents,
		.max_tables = c->max_tables,
	};

	return pvvas_answer(kvm, gpa, size, &info, sizeof(info));
}

static long pvvas_stats(struct kvm *kvm, u64 gpa, u64 size)
{
	struct pvvas_hc_stats s = {
		.ram_links = kvm->stat.pvvas_ram_links,
		.zapped = kvm->stat.pvvas_zapped,
		.flushes = kvm->stat.pvvas_flushes,
		.ctxs = kvm->stat.pvvas_ctxs,
		.views = kvm->stat.pvvas_views,
		.segs = kvm->stat.pvvas_segs,
		.attachments = kvm->stat.pvvas_attachments,
		.extents = kvm->stat.pvvas_extents,
		.tables = atomic64_read(&kvm->stat.pvvas_tables),
	};
	struct kvm_vcpu *v;
	unsigned long i;

	kvm_for_each_vcpu(i, v, kvm) {
		s.exits += v->stat.exits;
		s.hypercalls += v->stat.hypercalls;
		/* by KVM's ordinary handler, and by views */
		s.ept_violations += v->stat.pf_taken +
				    v->stat.pvvas_ept_violations;
		s.vmfunc_exits += v->stat.pvvas_vmfunc_exits;
		s.window_faults += v->stat.pvvas_window_faults;
		s.filled += v->stat.pvvas_filled;
		s.reflected += v->stat.pvvas_reflected;
		s.demand += v->stat.pvvas_demand;
		s.ctx_loads += v->stat.pvvas_ctx_loads;
	}
	return pvvas_answer(kvm, gpa, size, &s, sizeof(s));
}

static long pvvas_fault(struct kvm_vcpu *vcpu, u64 gpa, u64 size)
{
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	struct pvvas_hc_fault f = {
		.gpa = a->fault.gpa,
		.gla = a->fault.gla,
		.seg = a->fault.seg,
		.view = a->fault.view,
		.offset = a->fault.offset,
		.access = a->fault.access,
		.flags = a->fault.flags,
	};
	long r;

	if (!a->fault.pending)
		return -ENOENT;
	r = pvvas_answer(vcpu->kvm, gpa, size, &f, sizeof(f));
	if (r >= 0)
		a->fault.pending = false;
	return r;
}

/* kvm_pvvas.lock held */
static long pvvas_change(struct kvm_vcpu *vcpu, u64 nr, u64 a0, u64 a1, u64 a2)
{
	switch (nr) {
	case PVVAS_HC_CTX_CREATE:
		return pvvas_ctx_create(vcpu, a0);
	case PVVAS_HC_CTX_DESTROY:
		return pvvas_ctx_destroy(vcpu, a0);
	case PVVAS_HC_VIEW_CREATE:
		return pvvas_view_create(vcpu, a0, a1, a2);
	case PVVAS_HC_VIEW_DESTROY:
		return pvvas_view_destroy(vcpu, a0);
	case PVVAS_HC_VIEW_PLACE:
		return pvvas_view_place(vcpu, a0, a1, a2);
	case PVVAS_HC_VIEW_ATTACH:
		return pvvas_attach(vcpu->kvm, a0, a1, a2);
	case PVVAS_HC_VIEW_DETACH:
		return pvvas_view_detach(vcpu, a0, a1);
	case PVVAS_HC_SEG_CREATE:
		return pvvas_seg_create(vcpu, a0, a1, a2);
	case PVVAS_HC_SEG_DESTROY:
		return pvvas_seg_destroy(vcpu, a0);
	case PVVAS_HC_SEG_MAP:
	case PVVAS_HC_SEG_UNMAP:
	case PVVAS_HC_SEG_PROTECT:
		return pvvas_seg_change(vcpu, nr, a0, a1, a2);
	default:
		return -KVM_ENOSYS;
	}
}

/*
 * A flush ends what CPUs know.  KVM's emulator, on behalf of @v, may have an
 * address from before it and not have used it yet: wait until the instruction
 * is over, which it is when the vCPU is on its way into the guest again, sleeps
 * (it may do so for ever: INIT) or has left KVM_RUN.  No locks held but the
 * caller's own vcpu->mutex.
 */
static void pvvas_wait_for(struct kvm_vcpu *v)
{
	u64 at = READ_ONCE(v->arch.pvvas.translated);

	/* Pairs with vmx_pvvas_load(): @v has used the pages for the last time. */
	while ((s64)(smp_load_acquire(&v->arch.pvvas.used) - at) < 0) {
		if (mutex_trylock(&v->mutex)) {
			mutex_unlock(&v->mutex);
			return;
		}
		if (kvm_vcpu_is_blocking(v) || fatal_signal_pending(current))
			return;
		usleep_range(20, 100);
		/* A slow CPU does not sleep: the time is over before. */
		cond_resched();
	}
}

/* After hypercalls that promise that a page is reached no more. */
static void pvvas_wait_for_emulators(struct kvm_vcpu *vcpu, u64 nr)
{
	struct kvm_vcpu *v;
	unsigned long i;

	switch (nr) {
	case PVVAS_HC_RESET:
	case PVVAS_HC_CTX_DESTROY:
	case PVVAS_HC_VIEW_DESTROY:
	case PVVAS_HC_VIEW_DETACH:
	case PVVAS_HC_SEG_UNMAP:
	case PVVAS_HC_SEG_PROTECT:
		break;
	default:
		return;
	}
	kvm_for_each_vcpu(i, v, vcpu->kvm)
		if (v != vcpu)
			pvvas_wait_for(v);
}

/**
 * kvm_pvvas_hypercall - a hypercall whose number is PVVAS_HC_BASE or more
 * @vcpu: the vCPU, at CPL 0
 * @nr: PVVAS_HC_*
 * @a0: first argument
 * @a1: second argument
 * @a2: third argument
 * @op_64_bit: made in 64-bit mode
 *
 * Return: what goes into RAX: 0 or positive, or a negative errno, which for
 * unknown numbers and VMs without views is what KVM always answered.
 */
long kvm_pvvas_hypercall(struct kvm_vcpu *vcpu, u64 nr, u64 a0, u64 a1,
			 u64 a2, bool op_64_bit)
{
	struct kvm_pvvas *pv = vcpu->kvm->arch.pvvas;
	long r;

	if (!pv || nr > PVVAS_HC_BASE + 0xff ||
	    !guest_pv_has(vcpu, KVM_FEATURE_PVVAS))
		return -KVM_ENOSYS;
	/* Views and nested VMX would both own the EPTP. */
	if (!op_64_bit || is_guest_mode(vcpu) || is_smm(vcpu) ||
	    guest_cpu_cap_has(vcpu, X86_FEATURE_VMX))
		return -EOPNOTSUPP;

	switch (nr) {
	case PVVAS_HC_INFO:
		return pvvas_info(vcpu->kvm, a0, a1);
	case PVVAS_HC_STATS:
		return pvvas_stats(vcpu->kvm, a0, a1);
	case PVVAS_HC_FAULT:
		return pvvas_fault(vcpu, a0, a1);
	case PVVAS_HC_CTX_LOAD:
		return pvvas_ctx_load(vcpu, a0);
	case PVVAS_HC_RESET:
		pvvas_reset(vcpu->kvm);
		pvvas_wait_for_emulators(vcpu, nr);
		return 0;
	}

	mutex_lock(&pv->lock);
	r = pvvas_change(vcpu, nr, a0, a1, a2);
	mutex_unlock(&pv->lock);
	if (r >= 0)
		pvvas_wait_for_emulators(vcpu, nr);
	return r;
}
