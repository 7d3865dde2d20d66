/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The hypercall ABI between a guest kernel and KVM, version 1.
 * Documentation/virt/kvm/x86/pvvas.rst describes every call; the numbers live here
 * alone.
 *
 * A view is a four-level table in EPT format in the guest's own memory, which
 * KVM shadows.  Contexts are EPTP lists of such views.
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

/*
 * CPUID leaf, counted from KVM's first one (0x40000000 if nothing else comes
 * before): EAX the ABI version, EBX PVVAS_FEATURE_*, ECX and EDX a signature.
 * It is there if the first leaf's EAX reaches it and the signature is right.
 */
#define KVM_CPUID_PVVAS		0x40000008
#define PVVAS_CPUID_ECX		0x41565650	/* "PVVA" */
#define PVVAS_CPUID_EDX		0x57454956	/* "VIEW" */

/* One block of numbers, without gaps. */
#define PVVAS_HC_BASE		0x100
#define PVVAS_HC_INFO		0x100	/* gpa, size */
#define PVVAS_HC_STATS		0x101	/* gpa, size */
#define PVVAS_HC_RESET		0x102	/* - */
#define PVVAS_HC_CTX_CREATE	0x103	/* root gpa of the plain view, flags */
#define PVVAS_HC_CTX_DESTROY	0x104	/* ctx */
#define PVVAS_HC_CTX_LOAD	0x105	/* ctx */
#define PVVAS_HC_VIEW_CREATE	0x106	/* ctx, slot, root gpa, cookie */
#define PVVAS_HC_VIEW_DESTROY	0x107	/* view */
#define PVVAS_HC_VIEW_PLACE	0x108	/* ctx, slot, view */
#define PVVAS_HC_INVALIDATE	0x109	/* table gpa, first, count */
#define PVVAS_HC_INVALIDATE_LIST 0x10a	/* gpa of rows, rows */
#define PVVAS_HC_LAST		PVVAS_HC_INVALIDATE_LIST

/* Slots of an EPTP list; slot 0 always holds the context's plain view. */
#define PVVAS_NR_SLOTS		512

/* Access rights, as they stand in a table's entries. */
#define PVVAS_PROT_READ		(1U << 0)
#define PVVAS_PROT_WRITE	(1U << 1)
#define PVVAS_PROT_EXEC		(1U << 2)
#define PVVAS_PROT_ALL		(PVVAS_PROT_READ | PVVAS_PROT_WRITE | PVVAS_PROT_EXEC)

/*
 * Entries of tables: PVVAS_PROT_* (none: not present), the address of a table
 * or of memory, and for memory PVVAS_EPT_WB, above level 1 with PVVAS_EPT_LARGE.
 * The other bits up to 11 are 0; bits 53 to 63 are the guest's own.
 */
#define PVVAS_EPT_LEVELS	4
#define PVVAS_NR_ENTRIES	512	/* of a table */
#define PVVAS_EPT_WB		(6ULL << 3)
#define PVVAS_EPT_LARGE		(1ULL << 7)
#define PVVAS_EPT_ADDR		0x000ffffffffff000ULL
/*
 * The entry that refuses an access, because it is not present or because it maps
 * memory without the right, raises PVVAS_DEMAND_VECTOR instead of #PF, if the
 * entries above it give the right.
 */
#define PVVAS_EPT_DEMAND	(1ULL << 52)

/*
 * Coprocessor segment overrun: raised by no processor since the 486.  CR2 holds
 * the linear address, in which a write inverts bit 62 and an instruction fetch
 * bit 61; in an address both are equal to bit 63.
 */
#define PVVAS_DEMAND_VECTOR	9
#define PVVAS_CR2_WRITE		(1ULL << 62)
#define PVVAS_CR2_EXEC		(1ULL << 61)

/* PVVAS_HC_INFO and CPUID: entries with PVVAS_PROT_EXEC alone are allowed. */
#define PVVAS_FEATURE_EXEC_ONLY	(1U << 0)

/* Most rows that one PVVAS_HC_INVALIDATE_LIST takes. */
#define PVVAS_MAX_BATCH		4096

/**
 * struct pvvas_hc_range - one row of PVVAS_HC_INVALIDATE_LIST
 * @table: guest-physical address of a table; page aligned
 * @first: index of the first entry that has changed
 * @count: entries, at least 1; all 512 if the page is a table no more
 */
struct pvvas_hc_range {
	__u64 table;
	__u32 first;
	__u32 count;
};

/*
 * Answers may grow at their end: the host writes as much as it knows and as the
 * guest has room for, and returns how much that is.
 */

/**
 * struct pvvas_hc_info - answer of PVVAS_HC_INFO
 * @version: PVVAS_ABI_VERSION of the host
 * @features: PVVAS_FEATURE_*
 * @window_gpa: guest-physical range where the VM has neither RAM nor devices,
 *	for views to use; a multiple of 1 GiB
 * @window_size: its bytes, a multiple of 1 GiB
 * @slots: entries of an EPTP list
 * @max_ctxs: most contexts of this VM
 * @max_views: most views, contexts' plain ones not counted: what the VMM allows,
 *	or less if KVM has no tables for so many roots
 * @max_batch: most rows of PVVAS_HC_INVALIDATE_LIST
 */
struct pvvas_hc_info {
	__u32 version;
	__u32 features;
	__u64 window_gpa;
	__u64 window_size;
	__u32 slots;
	__u32 max_ctxs;
	__u32 max_views;
	__u32 max_batch;
};

/**
 * struct pvvas_hc_stats - answer of PVVAS_HC_STATS
 *
 * Counters of the whole VM since its creation, summed over its vCPUs, then what
 * exists now.
 */
struct pvvas_hc_stats {
	/* events */
	__u64 exits;		/* VM exits of any kind */
	__u64 hypercalls;	/* hypercalls of any kind */
	__u64 ept_violations;	/* all, in views or not */
	__u64 vmfunc_exits;	/* VMFUNC that the CPU refused */
	__u64 view_faults;	/* EPT violations in views */
	__u64 reflected;	/* of these: given to the guest as #PF */
	__u64 demand;		/* of these: given to the guest as demand faults */
	__u64 ctx_loads;	/* PVVAS_HC_CTX_LOAD that succeeded */
	__u64 invalidations;	/* rows of PVVAS_HC_INVALIDATE and _LIST */
	__u64 zapped;		/* shadow entries that these removed */
	__u64 flushes;		/* VM-wide ones, but those of invalidations */
	/* objects */
	__u64 ctxs;
	__u64 views;
	__u64 shadow_pages;	/* pages of shadow tables */
	__u64 max_shadow_pages;	/* most of them; KVM drops the oldest */
};

#endif /* _UAPI_LINUX_PVVAS_PARA_H */
