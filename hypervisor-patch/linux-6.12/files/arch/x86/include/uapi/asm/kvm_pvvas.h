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
 * Both structs may grow.  A caller gives the size of the struct that it knows:
 * KVM takes members that a shorter one lacks for 0, and refuses with -EINVAL a
 * longer one in which anything but 0 follows what KVM knows.
 */
#define KVM_PVVAS_CONFIG_SIZE_VER1	56
#define KVM_PVVAS_STATE_SIZE_VER1	32

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

/* Ioctl of the VM: save, restore and reset all objects.  vCPUs are stopped. */
#define KVM_PVVAS_STATE	_IO(0xAE, 0xf0)	/* struct kvm_pvvas_state */

/* struct kvm_pvvas_state.op */
#define KVM_PVVAS_GET	1
#define KVM_PVVAS_SET	2
#define KVM_PVVAS_RESET	3

/**
 * struct kvm_pvvas_state - argument of KVM_PVVAS_STATE
 * @size: sizeof(struct kvm_pvvas_state)
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
 * The header comes first, and every object after those that it names.
 */
#define KVM_PVVAS_HEADER	1 /* ABI version; next id, window gpa, size, active */
#define KVM_PVVAS_SEGMENT	2 /* flags; id, base gpa, size */
#define KVM_PVVAS_EXTENT	3 /* prot; segment, offset, gpa, size */
#define KVM_PVVAS_CONTEXT	4 /* 0; id */
#define KVM_PVVAS_VIEW		5 /* slot; id, context, cookie, generation */
#define KVM_PVVAS_ATTACHMENT	6 /* prot; view, segment */
#define KVM_PVVAS_VCPU		7 /* vCPU id; context, view */

struct kvm_pvvas_record {
	__u32 type;
	__u32 arg;
	__u64 val[4];
};

#endif /* _UAPI_ASM_X86_KVM_PVVAS_H */
