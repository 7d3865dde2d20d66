/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * How a VMM turns EPT views on for a VM: KVM_ENABLE_CAP(KVM_CAP_PVVAS) on the
 * VM file descriptor before the first vCPU exists, with args[0] the address of
 * a struct kvm_pvvas_config.  KVM_CHECK_EXTENSION answers with the version of
 * the hypercall ABI, or 0.
 */
#ifndef _UAPI_ASM_X86_KVM_PVVAS_H
#define _UAPI_ASM_X86_KVM_PVVAS_H

#include <linux/types.h>
#include <linux/ioctl.h>

/* Far from the numbers that KVM itself hands out. */
#define KVM_CAP_PVVAS	0x5056

/*
 * Structs may grow at their end: @size says how long the caller's is.  What the
 * kernel does not know must be 0; what the caller does not know counts as 0.
 */

/**
 * struct kvm_pvvas_config - limits of one VM; 0 takes the default
 * @size: bytes of this struct, at least KVM_PVVAS_CONFIG_SIZE_V1
 * @flags: 0
 * @window_gpa: first guest-physical address of the window, a multiple of 1 GiB,
 *	not 0; default: half of what the host's MAXPHYADDR reaches, or of 2^48
 * @window_size: bytes, a multiple of 1 GiB; no memslot may lie in the window
 * @max_ctxs: contexts (EPTP lists)
 * @max_views: views; KVM_SET_NR_MMU_PAGES bounds them too: half of the pages
 *	may be roots of views
 * @features: out: PVVAS_FEATURE_* that the guest may use; for EBX of CPUID leaf
 *	KVM_CPUID_PVVAS
 * @pad: 0
 *
 * A limit above the module parameter of the same name is refused.  Limits that
 * were left 0 come back filled.
 */
struct kvm_pvvas_config {
	__u32 size;
	__u32 flags;
	__u64 window_gpa;
	__u64 window_size;
	__u32 max_ctxs;
	__u32 max_views;
	__u32 features;
	__u32 pad;
};

#define KVM_PVVAS_CONFIG_SIZE_V1	40
#define KVM_PVVAS_STATE_SIZE_V1		32

/* Ioctl of the VM: save, restore and reset all objects.  vCPUs are stopped. */
#define KVM_PVVAS_STATE	_IO(0xAE, 0xf0) /* struct kvm_pvvas_state */

/* struct kvm_pvvas_state.op */
#define KVM_PVVAS_GET	1
#define KVM_PVVAS_SET	2
#define KVM_PVVAS_RESET	3

/**
 * struct kvm_pvvas_state - argument of KVM_PVVAS_STATE
 * @size: bytes of this struct, at least KVM_PVVAS_STATE_SIZE_V1
 * @op: KVM_PVVAS_*
 * @records: address of an array of struct kvm_pvvas_record
 * @nr: in: entries of the array; out, GET: entries there are (-E2BIG if more
 *	than fit)
 * @pad: 0
 */
struct kvm_pvvas_state {
	__u32 size;
	__u32 op;
	__u64 records;
	__u64 nr;
	__u64 pad;
};

/*
 * struct kvm_pvvas_record.type, with what @arg and @val hold; the rest is 0.
 * The header comes first, and every object after those that it names.  Tables
 * are the guest's memory and no part of it.
 */
#define KVM_PVVAS_HEADER	1 /* ABI version; next id, window gpa, window size */
#define KVM_PVVAS_CONTEXT	2 /* 0; id, root gpa of the plain view */
#define KVM_PVVAS_VIEW		3 /* slot; id, context, root gpa, cookie */
#define KVM_PVVAS_VCPU		4 /* vCPU id; context, view (0: the plain one) */

struct kvm_pvvas_record {
	__u32 type;
	__u32 arg;
	__u64 val[4];
};

#endif /* _UAPI_ASM_X86_KVM_PVVAS_H */
