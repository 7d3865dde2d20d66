/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVM_X86_VMX_PVVAS_H
#define __KVM_X86_VMX_PVVAS_H

#include <linux/kvm_host.h>

#include "pvvas/trace.h"

bool vmx_pvvas_supported(void);
u64 vmx_pvvas_eptp(struct kvm_vcpu *vcpu);
u64 vmx_pvvas_load(struct kvm_vcpu *vcpu, u64 base_eptp);
bool vmx_pvvas_wants_vmfunc(struct kvm_vcpu *vcpu);
int vmx_pvvas_ept_violation(struct kvm_vcpu *vcpu, gpa_t gpa,
			    unsigned long exit_qualification);
int vmx_pvvas_handle_vmfunc(struct kvm_vcpu *vcpu);
void __vmx_pvvas_trace_exit(struct kvm_vcpu *vcpu);

static inline void vmx_pvvas_trace_exit(struct kvm_vcpu *vcpu)
{
	if (trace_kvm_pvvas_switch_enabled() && vcpu->kvm->arch.pvvas)
		__vmx_pvvas_trace_exit(vcpu);
}

#endif /* __KVM_X86_VMX_PVVAS_H */
