/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The hypercall ABI between a guest kernel and KVM, version 1.
 * docs/hypercalls.rst describes every call; the numbers live here alone.
 *
 * A hypercall is VMCALL at CPL 0 in 64-bit mode: number in RAX, arguments in
 * RBX, RCX, RDX, RSI; the result comes back in RAX: 0 or positive, or a
 * negative Linux errno.
 */
#ifndef _UAPI_LINUX_PVVAS_PARA_H
#define _UAPI_LINUX_PVVAS_PARA_H

#include <linux/types.h>
#include <linux/pvvas_identity.h>

#define PVVAS_ABI_VERSION	1

/* Bit in EAX of CPUID leaf KVM_CPUID_FEATURES (0x40000001). */
#define KVM_FEATURE_PVVAS	30

#define PVVAS_HC_BASE		0x50560000
#define PVVAS_HC_INFO		(PVVAS_HC_BASE + 0)	/* gpa, size */
#define PVVAS_HC_RESET		(PVVAS_HC_BASE + 1)	/* - */
#define PVVAS_HC_STATS		(PVVAS_HC_BASE + 2)	/* gpa, size */
#define PVVAS_HC_FAULT		(PVVAS_HC_BASE + 3)	/* gpa, size */
#define PVVAS_HC_CTX_CREATE	(PVVAS_HC_BASE + 16)	/* flags */
#define PVVAS_HC_CTX_DESTROY	(PVVAS_HC_BASE + 17)	/* ctx */
#define PVVAS_HC_CTX_LOAD	(PVVAS_HC_BASE + 18)	/* ctx */
#define PVVAS_HC_VIEW_CREATE	(PVVAS_HC_BASE + 32)	/* ctx, flags, cookie */
#define PVVAS_HC_VIEW_DESTROY	(PVVAS_HC_BASE + 33)	/* view */
#define PVVAS_HC_VIEW_PLACE	(PVVAS_HC_BASE + 34)	/* ctx, slot, view */
#define PVVAS_HC_VIEW_ATTACH	(PVVAS_HC_BASE + 35)	/* view, seg, prot */
#define PVVAS_HC_VIEW_DETACH	(PVVAS_HC_BASE + 36)	/* view, seg */
#define PVVAS_HC_SEG_CREATE	(PVVAS_HC_BASE + 48)	/* base gpa, size, flags */
#define PVVAS_HC_SEG_DESTROY	(PVVAS_HC_BASE + 49)	/* seg */
#define PVVAS_HC_SEG_MAP	(PVVAS_HC_BASE + 50)	/* seg, list gpa, count */
#define PVVAS_HC_SEG_UNMAP	(PVVAS_HC_BASE + 51)	/* seg, list gpa, count */
#define PVVAS_HC_SEG_PROTECT	(PVVAS_HC_BASE + 52)	/* seg, list gpa, count */

/* Slots of an EPTP list; slot 0 always holds the plain view. */
#define PVVAS_NR_SLOTS		512

/* Access rights, in PVVAS_HC_VIEW_ATTACH, in extents and in faults. */
#define PVVAS_PROT_READ		(1U << 0)
#define PVVAS_PROT_WRITE	(1U << 1)
#define PVVAS_PROT_EXEC		(1U << 2)
#define PVVAS_PROT_ALL		(PVVAS_PROT_READ | PVVAS_PROT_WRITE | PVVAS_PROT_EXEC)

/*
 * PVVAS_HC_SEG_CREATE: an access to a page that the segment covers and no
 * extent backs raises vector PVVAS_DEMAND_VECTOR instead of #PF; the handler
 * asks PVVAS_HC_FAULT what was touched and answers with PVVAS_HC_SEG_MAP.
 */
#define PVVAS_SEG_DEMAND	(1U << 0)

/*
 * PVVAS_HC_SEG_CREATE, if the host has PVVAS_FEATURE_DEMAND_PROT: the same for
 * an access that the attachment allows and the extent refuses; the answer is
 * PVVAS_HC_SEG_PROTECT, or another page.
 */
#define PVVAS_SEG_DEMAND_PROT	(1U << 1)

/* struct pvvas_hc_info.features */
#define PVVAS_FEATURE_DEMAND_PROT	(1U << 0)

/* Coprocessor segment overrun: raised by no processor since the 486. */
#define PVVAS_DEMAND_VECTOR	9

/* Most extents that one call takes. */
#define PVVAS_MAX_BATCH		4096

/* The first GiB of the window is KVM's: it holds the identity page. */
#define PVVAS_WINDOW_RESERVED	(1ULL << 30)

/**
 * struct pvvas_extent - one row of the list that a SEG_* call takes
 * @offset: where in the segment, in bytes from its base; page aligned
 * @gpa: guest RAM that backs it; page aligned; 0 in UNMAP and PROTECT
 * @size: bytes; a multiple of the page size, not 0
 * @prot: PVVAS_PROT_*, ANDed with the attachment's; 0 in UNMAP
 * @reserved: 0
 */
struct pvvas_extent {
	__u64 offset;
	__u64 gpa;
	__u64 size;
	__u32 prot;
	__u32 reserved;
};

/*
 * The structs that INFO, STATS and FAULT answer with may grow.  A guest gives
 * the size of the one that it knows, a multiple of 8, and the answer is cut to
 * that; an older host writes less, and the rest stays as it was: the result is
 * the bytes written, no less than these unless the guest asked for less.
 */
#define PVVAS_HC_INFO_SIZE_VER1		56
#define PVVAS_HC_FAULT_SIZE_VER1	48
#define PVVAS_HC_STATS_SIZE_VER1	144

/**
 * struct pvvas_hc_info - answer of PVVAS_HC_INFO
 * @version: PVVAS_ABI_VERSION of the host
 * @features: PVVAS_FEATURE_*
 * @window_gpa: first guest-physical address of the window
 * @window_size: bytes of the window, a multiple of 512 GiB
 * @slots: entries of an EPTP list
 * @max_ctxs: most contexts of this VM
 * @max_views: most views
 * @max_segs: most segments
 * @max_extents: most extents
 * @max_tables: most EPT pages (roots, tables, identity pages, lists)
 */
struct pvvas_hc_info {
	__u32 version;
	__u32 features;
	__u64 window_gpa;
	__u64 window_size;
	__u32 slots;
	__u32 max_ctxs;
	__u32 max_views;
	__u32 max_segs;
	__u64 max_extents;
	__u64 max_tables;
};

/* struct pvvas_hc_fault.flags */
#define PVVAS_FAULT_USER	(1U << 0)	/* raised at CPL 3 */
#define PVVAS_FAULT_GLA_VALID	(1U << 1)	/* @gla is known */

/**
 * struct pvvas_hc_fault - answer of PVVAS_HC_FAULT: the newest demand fault of
 * this vCPU
 * @gpa: guest-physical address in the window
 * @gla: guest linear address
 * @seg: the segment
 * @view: the view in force
 * @offset: bytes from the segment's base, rounded down to a page
 * @access: PVVAS_PROT_* that was tried
 * @flags: PVVAS_FAULT_*
 */
struct pvvas_hc_fault {
	__u64 gpa;
	__u64 gla;
	__u64 seg;
	__u64 view;
	__u64 offset;
	__u32 access;
	__u32 flags;
};

/**
 * struct pvvas_hc_stats - answer of PVVAS_HC_STATS
 *
 * Counters of the whole VM since its creation, summed over its vCPUs, then the
 * objects that exist now.
 */
struct pvvas_hc_stats {
	/* events */
	__u64 exits;		/* VM exits of any kind */
	__u64 hypercalls;	/* hypercalls of any kind */
	__u64 ept_violations;	/* all, RAM included */
	__u64 vmfunc_exits;	/* VMFUNC that the CPU refused */
	__u64 window_faults;	/* EPT violations in the window */
	__u64 filled;		/* of these: answered with a page */
	__u64 reflected;	/* of these: given to the guest as #PF */
	__u64 demand;		/* of these: given to the guest as demand faults */
	__u64 ram_links;	/* root entries copied from the VM's own root */
	__u64 ctx_loads;	/* PVVAS_HC_CTX_LOAD that succeeded */
	__u64 zapped;		/* leaves removed because their page went away */
	__u64 flushes;		/* VM-wide flushes asked for */
	/* objects */
	__u64 ctxs;
	__u64 views;
	__u64 segs;
	__u64 attachments;
	__u64 extents;
	__u64 tables;		/* EPT pages of all kinds */
};

#endif /* _UAPI_LINUX_PVVAS_PARA_H */
