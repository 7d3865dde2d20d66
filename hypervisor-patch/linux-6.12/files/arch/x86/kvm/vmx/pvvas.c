// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: what touches the VMCS.
 *
 * VMFUNC changes EPT_POINTER behind KVM's back; it is read only where that
 * matters: here.
 */
#include <linux/kvm_host.h>
#include <asm/kvm_pvvas.h>
#include <uapi/linux/pvvas_para.h>

#include "x86.h"
#include "mmu.h"
#include "smm.h"
#include "vmx.h"
#include "vmx_ops.h"
#include "vmx_onhyperv.h"
#include "pvvas.h"

/* Linux takes no #PF with the SGX bit for a spurious one. */
static bool __read_mostly pvvas_pf_sgx = true;
module_param(pvvas_pf_sgx, bool, 0444);

#define PVVAS_PFERR_SGX		BIT(15)

bool vmx_pvvas_supported(void)
{
	u64 functions;

	if (!cpu_has_vmx_vmfunc() || !enable_ept || !enable_ept_ad_bits ||
	    !enable_unrestricted_guest || !enable_vpid || kvm_is_using_evmcs())
		return false;
	/* Empty entries of views do not suppress it. */
	if (vmcs_config.cpu_based_2nd_exec_ctrl & SECONDARY_EXEC_EPT_VIOLATION_VE)
		return false;
	if (rdmsrl_safe(MSR_IA32_VMX_VMFUNC, &functions))
		return false;
	return functions & VMX_VMFUNC_EPTP_SWITCHING;
}

u64 vmx_pvvas_eptp(struct kvm_vcpu *vcpu)
{
	return vmcs_read64(EPT_POINTER);
}

/* SMM sees the VM's own root and cannot leave it. */
bool vmx_pvvas_wants_vmfunc(struct kvm_vcpu *vcpu)
{
	return kvm_pvvas_active(vcpu) && !is_smm(vcpu);
}

/**
 * vmx_pvvas_load - choose the EPTP when KVM (re)loads a vCPU's root
 * @vcpu: the vCPU
 * @base_eptp: the VM's own root
 *
 * Return: the EPTP to load: the vCPU's view, or @base_eptp.
 */
u64 vmx_pvvas_load(struct kvm_vcpu *vcpu, u64 base_eptp)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	bool active = kvm_pvvas_active(vcpu);
	u64 eptp, list;

	/* Past every instruction that was emulated; pairs with pvvas_wait_for(). */
	smp_store_release(&vcpu->arch.pvvas.used, vcpu->arch.pvvas.translated);

	if (active) {
		/* Also on the way into SMM, to note the view that was left. */
		eptp = vmcs_read64(EPT_POINTER);
		active = kvm_pvvas_choose(vcpu, &eptp, &list);
	}
	if (!active) {
		if (secondary_exec_controls_get(vmx) & SECONDARY_EXEC_ENABLE_VMFUNC &&
		    !is_guest_mode(vcpu))
			secondary_exec_controls_clearbit(vmx,
						SECONDARY_EXEC_ENABLE_VMFUNC);
		return base_eptp;
	}

	if (is_smm(vcpu)) {
		secondary_exec_controls_clearbit(vmx,
						 SECONDARY_EXEC_ENABLE_VMFUNC);
		return base_eptp;
	}
	vmcs_write64(EPTP_LIST_ADDRESS, list);
	vmcs_write64(VM_FUNCTION_CONTROL, VMX_VMFUNC_EPTP_SWITCHING);
	secondary_exec_controls_setbit(vmx, SECONDARY_EXEC_ENABLE_VMFUNC);
	return eptp;
}

static void vmx_pvvas_reflect(struct kvm_vcpu *vcpu, unsigned long qual,
			      bool user)
{
	struct x86_exception fault = {
		.vector = PF_VECTOR,
		.error_code_valid = true,
		.error_code = PFERR_PRESENT_MASK,
		.address = vmcs_readl(GUEST_LINEAR_ADDRESS),
	};

	/* No linear address, no CR2: only a CPL 0 that asks for it gets here. */
	if (!(qual & EPT_VIOLATION_GVA_IS_VALID)) {
		kvm_inject_gp(vcpu, 0);
		return;
	}
	if (pvvas_pf_sgx) {
		if (qual & EPT_VIOLATION_ACC_WRITE)
			fault.error_code |= PFERR_WRITE_MASK;
		fault.error_code |= PVVAS_PFERR_SGX;
	}
	if (qual & EPT_VIOLATION_ACC_INSTR)
		fault.error_code |= PFERR_FETCH_MASK;
	if (user)
		fault.error_code |= PFERR_USER_MASK;
	kvm_inject_emulated_page_fault(vcpu, &fault);
}

static int vmx_pvvas_window_fault(struct kvm_vcpu *vcpu, gpa_t gpa,
				  unsigned long qual)
{
	bool user = vmx_get_cpl(vcpu) == 3;
	u32 access = 0, flags = 0;
	u64 gla = 0;
	int r;

	if (qual & EPT_VIOLATION_ACC_INSTR)
		access |= PVVAS_PROT_EXEC;
	if (qual & EPT_VIOLATION_ACC_WRITE)
		access |= PVVAS_PROT_WRITE;
	if (qual & EPT_VIOLATION_ACC_READ || !access)
		access |= PVVAS_PROT_READ;
	if (user)
		flags |= PVVAS_FAULT_USER;
	if (qual & EPT_VIOLATION_GVA_IS_VALID) {
		flags |= PVVAS_FAULT_GLA_VALID;
		gla = vmcs_readl(GUEST_LINEAR_ADDRESS);
	}

	r = kvm_pvvas_window_fault(vcpu, vmcs_read64(EPT_POINTER), gpa, access,
				   gla, flags);
	switch (r) {
	case KVM_PVVAS_RETRY:
		return 1;
	case KVM_PVVAS_DEMAND:
		kvm_queue_exception(vcpu, PVVAS_DEMAND_VECTOR);
		return 1;
	case KVM_PVVAS_REFLECT:
		vmx_pvvas_reflect(vcpu, qual, user);
		return 1;
	default:
		return r;
	}
}

/**
 * vmx_pvvas_ept_violation - first look at an EPT violation
 * @vcpu: the vCPU
 * @gpa: GUEST_PHYSICAL_ADDRESS
 * @exit_qualification: of the exit
 *
 * Return: 1 or a negative errno if it has been dealt with, 0 if it is none of
 * the views' business.
 */
int vmx_pvvas_ept_violation(struct kvm_vcpu *vcpu, gpa_t gpa,
			    unsigned long exit_qualification)
{
	int r;

	if (is_guest_mode(vcpu) || !kvm_pvvas_active(vcpu) || is_smm(vcpu))
		return 0;
	if (kvm_pvvas_gpa_in_window(vcpu, gpa))
		r = vmx_pvvas_window_fault(vcpu, gpa, exit_qualification);
	else
		r = kvm_pvvas_link_ram(vcpu, vmcs_read64(EPT_POINTER), gpa);
	if (r)
		++vcpu->stat.pvvas_ept_violations;
	return r;
}

/*
 * VMFUNC that the CPU refused: a function other than 0 or an index beyond the
 * list.  Guest user code can do this at will.
 */
int vmx_pvvas_handle_vmfunc(struct kvm_vcpu *vcpu)
{
	if (!kvm_pvvas_active(vcpu)) {
		kvm_queue_exception(vcpu, UD_VECTOR);
		return 1;
	}
	++vcpu->stat.pvvas_vmfunc_exits;
	kvm_inject_gp(vcpu, 0);
	return 1;
}
