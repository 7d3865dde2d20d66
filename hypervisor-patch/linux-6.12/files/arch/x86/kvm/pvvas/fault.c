// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: accesses that a view refuses, and the emulator's way through one.
 */
#include <linux/kvm_host.h>
#include <linux/moduleparam.h>

#include "internal.h"
#include "cpuid.h"
#include "mmu.h"
#include "smm.h"
#include "x86.h"
#include "trace.h"

/* Linux takes no #PF with the SGX bit for a spurious one. */
static bool __read_mostly pvvas_pf_sgx = true;
module_param(pvvas_pf_sgx, bool, 0444);

#define PVVAS_PFERR_ACCESS	(PFERR_WRITE_MASK | PFERR_USER_MASK | \
				 PFERR_FETCH_MASK)

/* The guest is to store an entry. */
void kvm_pvvas_inject_demand(struct kvm_vcpu *vcpu,
			     const struct x86_exception *fault)
{
	u64 cr2 = fault->address;

	if (fault->error_code & PFERR_WRITE_MASK)
		cr2 ^= PVVAS_CR2_WRITE;
	if (fault->error_code & PFERR_FETCH_MASK)
		cr2 ^= PVVAS_CR2_EXEC;
	vcpu->stat.pvvas_demand++;
	vcpu->arch.cr2 = cr2;
	kvm_queue_exception(vcpu, PVVAS_DEMAND_VECTOR);
}

/*
 * What a guest at @cpl_3 or not is told of an access that a view refuses.  @access
 * is PFERR_*, of which USER stands for CPL 3.
 */
static struct x86_exception pvvas_exception(u64 access, u64 gla, bool demand)
{
	struct x86_exception e = {
		.vector = PF_VECTOR,
		.error_code_valid = true,
		.error_code = PFERR_PRESENT_MASK |
			      (access & PVVAS_PFERR_ACCESS),
		.address = gla,
	};

	if (demand)
		e.error_code |= PVVAS_PFERR_DEMAND;
	else if (pvvas_pf_sgx)
		e.error_code |= PVVAS_PFERR_SGX;
	else
		e.error_code &= ~PFERR_WRITE_MASK;
	return e;
}

/* The walk of a view's tables for an access of the guest has failed. */
void kvm_pvvas_inject_view_fault(struct kvm_vcpu *vcpu,
				 struct x86_exception *fault,
				 bool from_hardware)
{
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	bool demand = fault->error_code & PVVAS_PFERR_DEMAND;
	u64 access = a->fault.access & (PFERR_WRITE_MASK | PFERR_FETCH_MASK);
	struct x86_exception e;

	/* A stale entry for no memory: it is forgotten, and the access repeated. */
	if (a->fault.misconfig)
		return;
	trace_kvm_pvvas_refuse(vcpu->vcpu_id, a->fault.view, a->fault.gpa,
			       a->fault.access, demand);
	/* No linear address, no CR2: only a CPL 0 that asks for it gets here. */
	if (!a->fault.gla_valid) {
		kvm_inject_gp(vcpu, 0);
		return;
	}
	if (kvm_x86_call(get_cpl)(vcpu) == 3)
		access |= PFERR_USER_MASK;
	if (!demand)
		vcpu->stat.pvvas_reflected++;
	e = pvvas_exception(access, a->fault.gla, demand);
	/* Of the guest's own tables, whose MMU is not vcpu->arch.mmu now. */
	kvm_inject_emulated_page_fault(vcpu, &e);
}

/* Four levels; the VM's own root may have five. */
static bool pvvas_reaches(gpa_t gpa)
{
	return !(gpa >> PVVAS_GPA_BITS);
}

/**
 * kvm_pvvas_page_fault - an EPT violation or misconfiguration in a view
 * @vcpu: the vCPU; its arch.pvvas.fault says what the exit knows
 * @eptp: its EPT_POINTER
 * @gpa: the address
 * @error_code: PFERR_*
 *
 * Return: as exit handlers.
 */
int kvm_pvvas_page_fault(struct kvm_vcpu *vcpu, u64 eptp, gpa_t gpa,
			 u64 error_code)
{
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	struct pvvas_view *view = pvvas_view_get(vcpu, eptp);
	struct x86_exception refused = {};
	int r = 1;

	/* Destroyed since the exit: KVM_REQ_LOAD_MMU_PGD is pending. */
	if (!view)
		return 1;
	vcpu->stat.pvvas_view_faults++;
	a->fault.view = view->id;
	a->fault.gpa = gpa;
	a->fault.access = error_code & PVVAS_PFERR_ACCESS;
	a->fault.misconfig = error_code & PFERR_RSVD_MASK;
	trace_kvm_pvvas_fault(vcpu->vcpu_id, view->id, gpa, error_code);
	if (pvvas_reaches(gpa))
		r = kvm_view_page_fault(vcpu, view->root, view->table, gpa,
					error_code);
	else
		kvm_pvvas_inject_view_fault(vcpu, &refused, true);
	pvvas_view_put(vcpu->kvm, view);
	return r;
}
EXPORT_SYMBOL_GPL(kvm_pvvas_page_fault);

/**
 * kvm_pvvas_translate_gpa - the emulator's way through a view
 * @vcpu: a vCPU that has a context
 * @gpa: an address that a software walk has arrived at
 * @access: PFERR_* that is tried
 * @exception: filled if there is no way; the caller adds the linear address
 *
 * Return: the address behind @gpa in the vCPU's current view, or INVALID_GPA.
 */
gpa_t kvm_pvvas_translate_gpa(struct kvm_vcpu *vcpu, gpa_t gpa, u64 access,
			      struct x86_exception *exception)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	u64 eptp = kvm_x86_call(pvvas_eptp)(vcpu);
	struct x86_exception e = {};
	gpa_t real = INVALID_GPA;
	bool in_view;
	u64 ept_access;
	gfn_t table;

	/* guest_mmu of a vCPU with VMX is for its own guests. */
	if (is_guest_mode(vcpu) || is_smm(vcpu) ||
	    guest_cpu_cap_has(vcpu, X86_FEATURE_VMX))
		return gpa;
	/* What changed since the vCPU left the guest counts already. */
	read_lock(&kvm->mmu_lock);
	in_view = a->ctx;
	if (in_view)
		table = pvvas_view_to_load(vcpu, eptp)->table;
	read_unlock(&kvm->mmu_lock);
	if (!in_view)
		return gpa;

	/*
	 * Before the look at the tables: an invalidation waits for who may have
	 * seen what they were before it.
	 */
	smp_store_mb(a->emulated_at, a->flushes + 1);
	/* For tables of EPT, USER is a read, which a write is too. */
	ept_access = access & (PFERR_WRITE_MASK | PFERR_FETCH_MASK |
			       PFERR_GUEST_FINAL_MASK | PFERR_GUEST_PAGE_MASK);
	if (!(access & PFERR_FETCH_MASK))
		ept_access |= PFERR_USER_MASK;
	if (pvvas_reaches(gpa))
		real = kvm_view_translate(vcpu, table, gpa, ept_access, &e);
	if (real == INVALID_GPA && exception)
		*exception = pvvas_exception(access, exception->address,
					     e.error_code & PVVAS_PFERR_DEMAND);
	return real;
}
