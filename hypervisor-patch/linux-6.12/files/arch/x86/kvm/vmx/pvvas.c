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
#include "vmx.h"
#include "vmx_ops.h"
#include "vmx_onhyperv.h"
#include "pvvas.h"

bool vmx_pvvas_supported(void)
{
	u64 functions;

	if (!cpu_has_vmx_vmfunc() || !enable_ept || !enable_ept_ad_bits ||
	    !enable_unrestricted_guest || !enable_vpid || kvm_is_using_evmcs())
		return false;
	if (rdmsrl_safe(MSR_IA32_VMX_VMFUNC, &functions))
		return false;
	return functions & VMX_VMFUNC_EPTP_SWITCHING;
}

u64 vmx_pvvas_eptp(struct kvm_vcpu *vcpu)
{
	return vmcs_read64(EPT_POINTER);
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
	u64 eptp, list;

	/* vmcs02 never has the control set: see prepare_vmcs02_early(). */
	if (is_guest_mode(vcpu))
		return base_eptp;
	/* Also on the way into SMM, to note the view that was left. */
	eptp = vmcs_read64(EPT_POINTER);
	if (!kvm_pvvas_choose(vcpu, &eptp, &list)) {
		secondary_exec_controls_clearbit(vmx,
						 SECONDARY_EXEC_ENABLE_VMFUNC);
		return base_eptp;
	}
	vmcs_write64(EPTP_LIST_ADDRESS, list);
	vmcs_write64(VM_FUNCTION_CONTROL, VMX_VMFUNC_EPTP_SWITCHING);
	secondary_exec_controls_setbit(vmx, SECONDARY_EXEC_ENABLE_VMFUNC);
	return eptp;
}

/**
 * vmx_pvvas_ept_violation - an EPT violation in a view
 * @vcpu: the vCPU; kvm_vcpu_pvvas.loaded is true
 * @gpa: GUEST_PHYSICAL_ADDRESS
 * @qual: exit qualification
 *
 * Return: as exit handlers.
 */
int vmx_pvvas_ept_violation(struct kvm_vcpu *vcpu, gpa_t gpa, unsigned long qual)
{
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	u64 error_code = 0;

	if (qual & EPT_VIOLATION_ACC_WRITE)
		error_code |= PFERR_WRITE_MASK;
	if (qual & EPT_VIOLATION_ACC_INSTR)
		error_code |= PFERR_FETCH_MASK;
	if (qual & EPT_VIOLATION_ACC_READ || !error_code)
		error_code |= PFERR_USER_MASK;
	if (qual & EPT_VIOLATION_RWX_MASK)
		error_code |= PFERR_PRESENT_MASK;
	a->fault.gla_valid = qual & EPT_VIOLATION_GVA_IS_VALID;
	if (a->fault.gla_valid) {
		a->fault.gla = vmcs_readl(GUEST_LINEAR_ADDRESS);
		error_code |= qual & EPT_VIOLATION_GVA_TRANSLATED ?
			      PFERR_GUEST_FINAL_MASK : PFERR_GUEST_PAGE_MASK;
	}
	return kvm_pvvas_page_fault(vcpu, vmcs_read64(EPT_POINTER), gpa,
				    error_code);
}

/* A shadow entry for what is no memory; the exit knows no linear address. */
int vmx_pvvas_ept_misconfig(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	return kvm_pvvas_page_fault(vcpu, vmcs_read64(EPT_POINTER), gpa,
				    PFERR_RSVD_MASK);
}

/*
 * VMFUNC that the CPU refused: a function other than 0 or an index beyond the
 * list.  Guest user code can do this at will.
 */
int vmx_pvvas_handle_vmfunc(struct kvm_vcpu *vcpu)
{
	if (!vcpu->arch.pvvas.loaded) {
		kvm_queue_exception(vcpu, UD_VECTOR);
		return 1;
	}
	++vcpu->stat.pvvas_vmfunc_exits;
	kvm_inject_gp(vcpu, 0);
	return 1;
}
