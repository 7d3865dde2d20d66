/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * EPT views: objects and locking.
 *
 * Two locks, taken in this order:
 *
 *   kvm_pvvas.lock (mutex)  serialises the hypercalls that make, change and
 *		destroy objects.  Sleeps; taken inside kvm->srcu, so nothing
 *		that waits for SRCU may be done under it.
 *   kvm->mmu_lock	     protects what faults and loads look at: lists, and
 *		which contexts and views there are.  Changing any of these takes
 *		both; reading takes either.  What struct kvm_vcpu_pvvas holds is
 *		said there.
 *
 * A view that is destroyed is unreachable after a VM-wide flush that follows the
 * unlinking: kvm_flush_remote_tlbs() returns only when every vCPU has left the
 * guest, and each loads another view before it enters again.  Its root stays
 * pinned until the last fault in it is over: pvvas_view.users.
 */
#ifndef __KVM_X86_PVVAS_INTERNAL_H
#define __KVM_X86_PVVAS_INTERNAL_H

#include <linux/kvm_host.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/xarray.h>
#include <asm/kvm_pvvas.h>
#include <asm/vmx.h>
#include <uapi/asm/kvm_pvvas.h>
#include <uapi/linux/pvvas_para.h>

/* An EPTP of four levels, write-back, with accessed and dirty flags. */
#define PVVAS_EPTP_FLAGS	(VMX_EPTP_MT_WB | VMX_EPTP_PWL_4 | \
				 VMX_EPTP_AD_ENABLE_BIT)

/* What the levels of a view reach. */
#define PVVAS_GPA_BITS	(PAGE_SHIFT + 9 * PVVAS_EPT_LEVELS)

/**
 * struct pvvas_view - an EPT root
 * @id: never reused; 0 in a plain view
 * @ctx: owner
 * @cookie: what the guest calls it
 * @table: frame of its level 4 table
 * @root: the shadow of that, pinned
 * @slot: where it is placed; 0 for nowhere, and in a plain view
 * @users: one while it is linked, and one of each fault in it
 */
struct pvvas_view {
	u64 id;
	struct pvvas_ctx *ctx;
	u64 cookie;
	gfn_t table;
	hpa_t root;
	u32 slot;
	refcount_t users;
};

/**
 * struct pvvas_ctx - an EPTP list, of one guest process as a rule
 * @id: never reused
 * @list: one page, PVVAS_NR_SLOTS EPTPs; unused entries hold the plain view
 * @plain: the view in slot 0
 * @roots: all views, by frame number of their root
 */
struct pvvas_ctx {
	u64 id;
	u64 *list;
	struct pvvas_view *plain;
	struct xarray roots;
};

/**
 * struct kvm_pvvas - a VM's part
 * @lock: see the top of this file
 * @window: first gfn of the window
 * @window_pages: its size
 * @config: limits
 * @next_id: for every kind of object
 * @ctxs: by id
 * @views: by id, the plain ones not among them
 */
struct kvm_pvvas {
	struct mutex lock; /* see the top of this file */
	gfn_t window;
	u64 window_pages;
	struct kvm_pvvas_config config;
	u64 next_id;
	struct xarray ctxs;
	struct xarray views;
};

static inline u64 pvvas_eptp(const struct pvvas_view *view)
{
	return view->root | PVVAS_EPTP_FLAGS;
}

/* main.c */
void pvvas_flush(struct kvm *kvm, const char *why);
int pvvas_copy_struct(void *to, size_t known, size_t least,
		      const void __user *from);
void pvvas_reset_locked(struct kvm *kvm);

/* context.c */
int pvvas_ctx_make(struct kvm_vcpu *vcpu, u64 id, u64 root_gpa);
long pvvas_ctx_create(struct kvm_vcpu *vcpu, u64 root_gpa, u64 flags);
long pvvas_ctx_destroy(struct kvm *kvm, u64 id);
long pvvas_ctx_load(struct kvm_vcpu *vcpu, u64 id);
void pvvas_ctx_free(struct kvm *kvm, struct pvvas_ctx *ctx);

/* view.c */
struct pvvas_view *pvvas_view_get(struct kvm_vcpu *vcpu, u64 eptp);
void pvvas_view_put(struct kvm *kvm, struct pvvas_view *view);
struct pvvas_view *pvvas_view_in_force(struct kvm_vcpu *vcpu, u64 eptp);
struct pvvas_view *pvvas_view_to_load(struct kvm_vcpu *vcpu, u64 eptp);
struct pvvas_view *pvvas_view_alloc(struct kvm_vcpu *vcpu, struct pvvas_ctx *ctx,
				    u64 id, u64 root_gpa);
int pvvas_view_make(struct kvm_vcpu *vcpu, u64 id, u64 ctx_id, u64 slot,
		    u64 root_gpa, u64 cookie);
long pvvas_view_create(struct kvm_vcpu *vcpu, u64 ctx_id, u64 slot,
		       u64 root_gpa, u64 cookie);
long pvvas_view_destroy(struct kvm *kvm, u64 id);
long pvvas_view_place(struct kvm *kvm, u64 ctx_id, u64 slot, u64 id);

#endif /* __KVM_X86_PVVAS_INTERNAL_H */
