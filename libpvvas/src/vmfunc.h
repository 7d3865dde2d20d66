/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two instructions that this library needs and C does not have.
 */
#ifndef PVVAS_VMFUNC_H
#define PVVAS_VMFUNC_H

#include <pvvas.h>

#if defined(__x86_64__)

#include <cpuid.h>
#include <string.h>

#include <linux/pvvas_para.h>

#define KVM_CPUID_BASE		0x40000000

static inline void vmfunc(unsigned int leaf, unsigned int slot)
{
	__asm__ __volatile__(".byte 0x0f, 0x01, 0xd4"
			     : : "a" (leaf), "c" (slot) : "memory", "cc");
}

/* Does the hypervisor offer views?  CPUID says so, to everyone. */
static inline enum pvvas_answer vmfunc_hypervisor(void)
{
	unsigned int eax, ebx, ecx, edx;
	char name[12];

	__cpuid(1, eax, ebx, ecx, edx);
	if (!(ecx & (1U << 31)))
		return PVVAS_NO;	/* no hypervisor at all */
	__cpuid(KVM_CPUID_BASE, eax, ebx, ecx, edx);
	memcpy(name, &ebx, 4);
	memcpy(name + 4, &ecx, 4);
	memcpy(name + 8, &edx, 4);
	if (memcmp(name, "KVMKVMKVM\0\0\0", 12))
		return PVVAS_UNKNOWN;	/* another's leaves, KVM's may follow */
	if (eax < KVM_CPUID_PVVAS)
		return PVVAS_NO;
	__cpuid(KVM_CPUID_PVVAS, eax, ebx, ecx, edx);
	return ecx == PVVAS_CPUID_ECX && edx == PVVAS_CPUID_EDX ? PVVAS_YES :
								  PVVAS_NO;
}

#else

static inline void vmfunc(unsigned int leaf, unsigned int slot)
{
	(void)leaf;
	(void)slot;
}

static inline enum pvvas_answer vmfunc_hypervisor(void)
{
	return PVVAS_NO;
}

#endif

#endif /* PVVAS_VMFUNC_H */
