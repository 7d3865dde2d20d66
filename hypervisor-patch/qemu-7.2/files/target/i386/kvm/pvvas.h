/*
 * EPT views for KVM guests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef QEMU_I386_KVM_PVVAS_H
#define QEMU_I386_KVM_PVVAS_H

struct kvm_cpuid_entry2;

bool kvm_pvvas_realize(X86CPU *cpu, Error **errp);
void kvm_pvvas_cpuid(struct kvm_cpuid_entry2 *c);

#endif
