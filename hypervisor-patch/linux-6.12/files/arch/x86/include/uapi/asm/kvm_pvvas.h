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

/* Far from the numbers that KVM itself hands out. */
#define KVM_CAP_PVVAS	0x5056

/**
 * struct kvm_pvvas_config - limits of one VM; 0 takes the default
 * @size: sizeof(struct kvm_pvvas_config)
 * @flags: 0
 * @window_gpa: first guest-physical address of the window, a multiple of
 *	512 GiB, not 0; default: half of what the host's MAXPHYADDR reaches
 * @window_size: bytes, a multiple of 512 GiB
 * @max_ctxs: contexts (EPTP lists)
 * @max_views: views
 * @max_segs: segments
 * @pad: 0
 * @max_extents: extents of all segments together
 * @max_tables: EPT pages of all kinds
 *
 * A limit above the module parameter of the same name is refused.
 */
struct kvm_pvvas_config {
	__u32 size;
	__u32 flags;
	__u64 window_gpa;
	__u64 window_size;
	__u32 max_ctxs;
	__u32 max_views;
	__u32 max_segs;
	__u32 pad;
	__u64 max_extents;
	__u64 max_tables;
};

#endif /* _UAPI_ASM_X86_KVM_PVVAS_H */
