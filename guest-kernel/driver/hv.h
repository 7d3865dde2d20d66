/* SPDX-License-Identifier: GPL-2.0-only */
/* The hypercalls, one inline each; 0 or a positive result, or a negative errno. */
#ifndef PVVAS_HV_H
#define PVVAS_HV_H

#include <linux/io.h>
#include <asm/kvm_para.h>
#include "pvvas_drv.h"

/* Change the view.  The list in force must be one of ours: else this is #UD. */
static __always_inline void pvvas_vmfunc(u32 slot)
{
	asm volatile(".byte 0x0f, 0x01, 0xd4"
		     : : "a" (0), "c" (slot) : "memory");
}

/*
 * For tests, if compiled with PVVAS_INJECT: pretend that the hypervisor has no
 * memory left.
 */
#ifdef PVVAS_INJECT
bool pvvas_inject(void);
#else
static inline bool pvvas_inject(void)
{
	return false;
}
#endif

/* Is what was to be taken away not there any more? */
static inline bool pvvas_hc_gone(long ret)
{
	return ret >= 0 || ret == -ENOENT;
}

/*
 * @buf of these three: memory of the linear mapping, zeroed by kzalloc().  A
 * host that knows a shorter struct leaves the rest 0.
 */
static inline long pvvas_hc_info(struct pvvas_hc_info *buf)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall2(PVVAS_HC_INFO, virt_to_phys(buf), sizeof(*buf));
}

static inline long pvvas_hc_stats(struct pvvas_hc_stats *buf)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall2(PVVAS_HC_STATS, virt_to_phys(buf), sizeof(*buf));
}

static inline long pvvas_hc_fault(struct pvvas_hc_fault *buf)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall2(PVVAS_HC_FAULT, virt_to_phys(buf), sizeof(*buf));
}

static inline long pvvas_hc_reset(void)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall0(PVVAS_HC_RESET);
}

static inline long pvvas_hc_ctx_create(void)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall1(PVVAS_HC_CTX_CREATE, 0);
}

static inline long pvvas_hc_ctx_destroy(u64 ctx)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall1(PVVAS_HC_CTX_DESTROY, ctx);
}

/* 0: no context, every slot is the plain view */
static inline long pvvas_hc_ctx_load(u64 ctx)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall1(PVVAS_HC_CTX_LOAD, ctx);
}

static inline long pvvas_hc_view_create(u64 ctx, u64 cookie)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall3(PVVAS_HC_VIEW_CREATE, ctx, 0, cookie);
}

static inline long pvvas_hc_view_destroy(u64 view)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall1(PVVAS_HC_VIEW_DESTROY, view);
}

/* @view 0 empties the slot */
static inline long pvvas_hc_view_place(u64 ctx, u32 slot, u64 view)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall3(PVVAS_HC_VIEW_PLACE, ctx, slot, view);
}

static inline long pvvas_hc_view_attach(u64 view, u64 seg, u32 prot)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall3(PVVAS_HC_VIEW_ATTACH, view, seg, prot);
}

static inline long pvvas_hc_view_detach(u64 view, u64 seg)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall2(PVVAS_HC_VIEW_DETACH, view, seg);
}

static inline long pvvas_hc_seg_create(u64 gpa, u64 size)
{
	u32 flags = PVVAS_SEG_DEMAND;

	if (pvvas_hv_asks())
		flags |= PVVAS_SEG_DEMAND_PROT;
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall3(PVVAS_HC_SEG_CREATE, gpa, size, flags);
}

static inline long pvvas_hc_seg_destroy(u64 seg)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall1(PVVAS_HC_SEG_DESTROY, seg);
}

static inline long pvvas_hc_seg_map(u64 seg, struct pvvas_extent *list, u32 n)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall3(PVVAS_HC_SEG_MAP, seg, virt_to_phys(list), n);
}

static inline long pvvas_hc_seg_unmap(u64 seg, struct pvvas_extent *list, u32 n)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall3(PVVAS_HC_SEG_UNMAP, seg, virt_to_phys(list), n);
}

static inline long pvvas_hc_seg_protect(u64 seg, struct pvvas_extent *list,
					u32 n)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall3(PVVAS_HC_SEG_PROTECT, seg, virt_to_phys(list), n);
}

#endif /* PVVAS_HV_H */
