/*
 * EPT views for KVM guests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef QEMU_I386_KVM_PVVAS_H
#define QEMU_I386_KVM_PVVAS_H

struct kvm_cpuid_entry2;

/* A CPU's properties kvm-pvvas*; false, with an error, if they cannot be had. */
bool kvm_pvvas_realize(X86CPU *cpu, Error **errp);

/* The CPUID leaf that tells the guest of views. */
void kvm_pvvas_cpuid(struct kvm_cpuid_entry2 *c);

/*
 * Before the memory of the machine is laid out: @max_gpa is the highest address
 * that it may use.  The window must be above; the guest's firmware and kernel
 * learn that nothing else may be put there.
 */
void kvm_pvvas_reserve_window(uint64_t max_gpa);

#endif
