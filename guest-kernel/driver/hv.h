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
#define PVVAS_MAY_INJECT	true
bool pvvas_inject(void);
long pvvas_inject_no_view(void);
bool pvvas_inject_table(gfp_t gfp);
#else
#define PVVAS_MAY_INJECT	false
static inline bool pvvas_inject(void)
{
	return false;
}

static inline long pvvas_inject_no_view(void)
{
	return 0;
}

static inline bool pvvas_inject_table(gfp_t gfp)
{
	return false;
}
#endif

/* Is what was to be taken away not there any more? */
static inline bool pvvas_hc_gone(long ret)
{
	return ret >= 0 || ret == -ENOENT;
}

/* @buf of these two: memory of the linear mapping, kmalloc()ed */
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

static inline long pvvas_hc_reset(void)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall0(PVVAS_HC_RESET);
}

/* @root: of the context's plain view */
static inline long pvvas_hc_ctx_create(u64 root)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall2(PVVAS_HC_CTX_CREATE, root, 0);
}

static inline long pvvas_hc_ctx_destroy(u64 ctx)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall1(PVVAS_HC_CTX_DESTROY, ctx);
}

/* 0: no context; VMFUNC is #UD then */
static inline long pvvas_hc_ctx_load(u64 ctx)
{
	if (pvvas_inject())
		return -ENOMEM;
	return kvm_hypercall1(PVVAS_HC_CTX_LOAD, ctx);
}

/* @slot 0: in none */
static inline long pvvas_hc_view_create(u64 ctx, u32 slot, u64 root, u64 cookie)
{
	if (pvvas_inject())
		return pvvas_inject_no_view();
	return kvm_hypercall4(PVVAS_HC_VIEW_CREATE, ctx, slot, root, cookie);
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

/* Both can only fail for bad arguments. */
static inline long pvvas_hc_invalidate(u64 table, u32 first, u32 count)
{
	return kvm_hypercall3(PVVAS_HC_INVALIDATE, table, first, count);
}

static inline long pvvas_hc_invalidate_list(struct pvvas_hc_range *rows, u32 n)
{
	return kvm_hypercall2(PVVAS_HC_INVALIDATE_LIST, virt_to_phys(rows), n);
}

#endif /* PVVAS_HV_H */
