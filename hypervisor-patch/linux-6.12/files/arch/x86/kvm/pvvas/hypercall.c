// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: the hypercalls' front door.  docs/hypercalls.rst describes them.
 */
#include <linux/delay.h>
#include <linux/kvm_host.h>

#include "internal.h"
#include "cpuid.h"
#include "mmu.h"
#include "smm.h"
#include "x86.h"
#include "trace.h"

/* Rows of a list that are read at a time. */
#define PVVAS_ROWS	32U

/* The struct may be older than the host, or newer. */
static long pvvas_answer(struct kvm *kvm, u64 gpa, u64 size, const void *data,
			 u64 len)
{
	if (!IS_ALIGNED(gpa, 8))
		return -EINVAL;
	len = min(size, len);
	return kvm_write_guest(kvm, gpa, data, len) ? -EFAULT : (long)len;
}

static long pvvas_info(struct kvm *kvm, u64 gpa, u64 size)
{
	struct kvm_pvvas_config *c = &kvm->arch.pvvas->config;
	unsigned long roots = kvm_view_max_roots(kvm);
	struct pvvas_hc_info info = {
		.version = PVVAS_ABI_VERSION,
		.features = kvm_pvvas_features(),
		.window_gpa = c->window_gpa,
		.window_size = c->window_size,
		.slots = PVVAS_NR_SLOTS,
		.max_ctxs = c->max_ctxs,
		/* One is a plain view's. */
		.max_views = min_t(u64, c->max_views, roots - 1),
		.max_batch = PVVAS_MAX_BATCH,
	};

	return pvvas_answer(kvm, gpa, size, &info, sizeof(info));
}

static long pvvas_stats(struct kvm *kvm, u64 gpa, u64 size)
{
	struct pvvas_hc_stats s = {
		.invalidations = kvm->stat.pvvas_invalidations,
		.zapped = kvm->stat.pvvas_zapped,
		.flushes = kvm->stat.pvvas_flushes,
		.ctxs = kvm->stat.pvvas_ctxs,
		.views = kvm->stat.pvvas_views,
		.shadow_pages = READ_ONCE(kvm->arch.n_used_mmu_pages),
		.max_shadow_pages = READ_ONCE(kvm->arch.n_max_mmu_pages),
	};
	struct kvm_vcpu *v;
	unsigned long i;

	kvm_for_each_vcpu(i, v, kvm) {
		s.exits += v->stat.exits;
		s.hypercalls += v->stat.hypercalls;
		s.ept_violations += v->stat.pf_taken;
		s.vmfunc_exits += v->stat.pvvas_vmfunc_exits;
		s.view_faults += v->stat.pvvas_view_faults;
		s.reflected += v->stat.pvvas_reflected;
		s.demand += v->stat.pvvas_demand;
		s.ctx_loads += v->stat.pvvas_ctx_loads;
	}
	return pvvas_answer(kvm, gpa, size, &s, sizeof(s));
}

/* Does it promise that something is reached no more? */
static bool pvvas_takes_away(u64 nr)
{
	switch (nr) {
	case PVVAS_HC_RESET:
	case PVVAS_HC_CTX_DESTROY:
	case PVVAS_HC_VIEW_DESTROY:
	case PVVAS_HC_INVALIDATE:
	case PVVAS_HC_INVALIDATE_LIST:
		return true;
	default:
		return false;
	}
}

/* kvm_pvvas.lock held */
static long pvvas_change(struct kvm_vcpu *vcpu, u64 nr, u64 a0, u64 a1, u64 a2,
			 u64 a3)
{
	struct kvm *kvm = vcpu->kvm;

	switch (nr) {
	case PVVAS_HC_RESET:
		pvvas_reset_locked(kvm);
		return 0;
	case PVVAS_HC_CTX_CREATE:
		return pvvas_ctx_create(vcpu, a0, a1);
	case PVVAS_HC_CTX_DESTROY:
		return pvvas_ctx_destroy(kvm, a0);
	case PVVAS_HC_VIEW_CREATE:
		return pvvas_view_create(vcpu, a0, a1, a2, a3);
	case PVVAS_HC_VIEW_DESTROY:
		return pvvas_view_destroy(kvm, a0);
	case PVVAS_HC_VIEW_PLACE:
		return pvvas_view_place(kvm, a0, a1, a2);
	default:
		return -KVM_ENOSYS;
	}
}

static bool pvvas_row_valid(const struct pvvas_hc_range *row)
{
	return PAGE_ALIGNED(row->table) && row->count &&
	       row->first < PVVAS_NR_ENTRIES &&
	       row->count <= PVVAS_NR_ENTRIES - row->first;
}

static void pvvas_invalidate(struct kvm *kvm, const struct pvvas_hc_range *rows,
			     unsigned int n)
{
	unsigned long zapped = kvm_view_invalidate(kvm, rows, n);

	/* Counters, several vCPUs' at once: one of them may lose. */
	kvm->stat.pvvas_invalidations += n;
	kvm->stat.pvvas_zapped += zapped;
	trace_kvm_pvvas_invalidate(rows->table, rows->first, rows->count, n,
				   zapped);
}

static long pvvas_invalidate_one(struct kvm *kvm, u64 table, u64 first,
				 u64 count)
{
	struct pvvas_hc_range row = { table, first, count };

	if (first > U32_MAX || count > U32_MAX || !pvvas_row_valid(&row))
		return -EINVAL;
	pvvas_invalidate(kvm, &row, 1);
	return 1;
}

static long pvvas_invalidate_list(struct kvm *kvm, u64 gpa, u64 nr)
{
	struct pvvas_hc_range rows[PVVAS_ROWS];
	unsigned int i, n;
	u64 done = 0;
	long r = 0;

	if (!IS_ALIGNED(gpa, 8) || !nr || nr > PVVAS_MAX_BATCH)
		return -EINVAL;
	while (!r && done < nr) {
		n = min(nr - done, PVVAS_ROWS);
		if (kvm_read_guest(kvm, gpa + done * sizeof(*rows), rows,
				   n * sizeof(*rows)))
			r = -EFAULT;
		for (i = 0; !r && i < n; i++)
			if (!pvvas_row_valid(&rows[i])) {
				r = -EINVAL;
				n = i;
			}
		if (r == -EFAULT || !n)
			break;
		pvvas_invalidate(kvm, rows, n);
		done += n;
		cond_resched();
	}
	return done ?: r;
}

/*
 * A flush ends what CPUs know.  KVM's emulator, on behalf of @v, may have an
 * address from before it and not have used it yet: wait until the instruction
 * is over.  It is when the vCPU is about to enter the guest, and flushes as asked,
 * when it sleeps (it may do so for ever: INIT) or has left KVM_RUN.
 */
static void pvvas_wait_for(struct kvm_vcpu *v)
{
	u64 at = READ_ONCE(v->arch.pvvas.emulated_at);

	kvm_make_request(KVM_REQ_TLB_FLUSH, v);
	while (READ_ONCE(v->arch.pvvas.emulated_at) == at &&
	       READ_ONCE(v->arch.pvvas.flushes) + 1 == at) {
		if (mutex_trylock(&v->mutex)) {
			mutex_unlock(&v->mutex);
			return;
		}
		if (kvm_vcpu_is_blocking(v) || fatal_signal_pending(current))
			return;
		/* It may be in the guest since, without an exit so far. */
		kvm_vcpu_kick(v);
		usleep_range(20, 100);
		/* A slow CPU does not sleep: the time is over before. */
		cond_resched();
	}
}

static bool pvvas_emulates(struct kvm_vcpu *v)
{
	return READ_ONCE(v->arch.pvvas.emulated_at) ==
	       READ_ONCE(v->arch.pvvas.flushes) + 1;
}

/* @vcpu's own part is 0: else two that wait would wait for each other. */
static void pvvas_wait_for_emulators(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu *v;
	unsigned long i;

	/* After the store to the table, before the look: see the translation. */
	smp_mb();
	kvm_for_each_vcpu(i, v, vcpu->kvm) {
		if (v == vcpu || !pvvas_emulates(v))
			continue;
		/* What it does may wait for who waits for SRCU. */
		kvm_vcpu_srcu_read_unlock(vcpu);
		pvvas_wait_for(v);
		kvm_vcpu_srcu_read_lock(vcpu);
	}
}

static bool pvvas_offered(struct kvm_vcpu *vcpu)
{
	return !vcpu->arch.pv_cpuid.enforce ||
	       kvm_find_cpuid_entry(vcpu, vcpu->arch.kvm_cpuid.base +
				    KVM_CPUID_PVVAS - KVM_CPUID_SIGNATURE);
}

/**
 * kvm_pvvas_hypercall - a hypercall from PVVAS_HC_BASE to PVVAS_HC_LAST
 * @vcpu: the vCPU, at CPL 0
 * @nr: PVVAS_HC_*
 * @a0: first argument
 * @a1: second argument
 * @a2: third argument
 * @a3: fourth argument
 * @op_64_bit: made in 64-bit mode
 *
 * Return: what goes into RAX: 0 or positive, or a negative errno, which for
 * VMs without views is what KVM always answered.
 */
long kvm_pvvas_hypercall(struct kvm_vcpu *vcpu, u64 nr, u64 a0, u64 a1,
			 u64 a2, u64 a3, bool op_64_bit)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	long r;

	if (!pv || !pvvas_offered(vcpu))
		return -KVM_ENOSYS;
	/* Views and nested VMX would both own guest_mmu and the EPTP. */
	if (!op_64_bit || is_guest_mode(vcpu) || is_smm(vcpu) ||
	    guest_cpu_cap_has(vcpu, X86_FEATURE_VMX))
		return -EOPNOTSUPP;
	WRITE_ONCE(vcpu->arch.pvvas.emulated_at, 0);

	switch (nr) {
	case PVVAS_HC_INFO:
		return pvvas_info(kvm, a0, a1);
	case PVVAS_HC_STATS:
		return pvvas_stats(kvm, a0, a1);
	case PVVAS_HC_CTX_LOAD:
		return pvvas_ctx_load(vcpu, a0);
	case PVVAS_HC_INVALIDATE:
		r = pvvas_invalidate_one(kvm, a0, a1, a2);
		break;
	case PVVAS_HC_INVALIDATE_LIST:
		r = pvvas_invalidate_list(kvm, a0, a1);
		break;
	default:
		mutex_lock(&pv->lock);
		r = pvvas_change(vcpu, nr, a0, a1, a2, a3);
		mutex_unlock(&pv->lock);
	}
	if (r >= 0 && pvvas_takes_away(nr))
		pvvas_wait_for_emulators(vcpu);
	return r;
}
