/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_VMX_PVVAS_H
#define __KVM_X86_VMX_PVVAS_H

#include <linux/kvm_host.h>

#ifdef CONFIG_KVM_PVVAS
bool vmx_pvvas_supported(void);
u64 vmx_pvvas_eptp(struct kvm_vcpu *vcpu);
u64 vmx_pvvas_load(struct kvm_vcpu *vcpu, u64 base_eptp);
int vmx_pvvas_ept_violation(struct kvm_vcpu *vcpu, gpa_t gpa,
			    unsigned long exit_qualification);
int vmx_pvvas_ept_misconfig(struct kvm_vcpu *vcpu, gpa_t gpa);
int vmx_pvvas_handle_vmfunc(struct kvm_vcpu *vcpu);

#else /* !CONFIG_KVM_PVVAS */
static inline bool vmx_pvvas_supported(void)
{
	return false;
}

static inline u64 vmx_pvvas_load(struct kvm_vcpu *vcpu, u64 base_eptp)
{
	return base_eptp;
}

static inline int vmx_pvvas_ept_violation(struct kvm_vcpu *vcpu, gpa_t gpa,
					  unsigned long exit_qualification)
{
	return 1;
}

static inline int vmx_pvvas_ept_misconfig(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	return 1;
}

static inline int vmx_pvvas_handle_vmfunc(struct kvm_vcpu *vcpu)
{
	kvm_queue_exception(vcpu, UD_VECTOR);
	return 1;
}
#endif /* CONFIG_KVM_PVVAS */

#endif /* __KVM_X86_VMX_PVVAS_H */
