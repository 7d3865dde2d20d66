/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * EPT views: objects and locking.
 *
 * Two locks, taken in this order:
 *
 *   kvm_pvvas.lock (mutex)  serialises the hypercalls that make, change and
 *		destroy objects.  Sleeps; taken inside kvm->srcu, so nothing
 *		that waits for SRCU may be done under it.
 *   kvm->mmu_lock	     protects everything that faults, zaps and loads
 *		look at: every EPT page, the roots xarray, attachments,
 *		extents.  Changing any of these takes it for writing and, for
 *		objects and links made by hypercalls, the mutex too.  Reading
 *		takes either.  So it is for kvm->stat.pvvas_*: ctxs, views and
 *		segs change under the mutex, the others under mmu_lock, tables
 *		is atomic.
 *
 * Pages are allocated before mmu_lock is taken and freed after a VM-wide
 * flush that follows the unlinking: kvm_flush_remote_tlbs() returns only when
 * every vCPU has left the guest, and each flushes before it enters again.
 */
#ifndef __KVM_X86_PVVAS_INTERNAL_H
#define __KVM_X86_PVVAS_INTERNAL_H

#include <linux/interval_tree.h>
#include <linux/kvm_host.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/xarray.h>
#include <asm/kvm_pvvas.h>
#include <asm/vmx.h>
#include <uapi/asm/kvm_pvvas.h>
#include <uapi/linux/pvvas_para.h>

#define PVVAS_ROOT_LEVEL	4
#define PVVAS_RWX		(VMX_EPT_READABLE_MASK | \
				 VMX_EPT_WRITABLE_MASK | \
				 VMX_EPT_EXECUTABLE_MASK)
/* EPT bit 7 of a level 2 entry: a leaf. */
#define PVVAS_LARGE		BIT_ULL(7)
/* Ignored by hardware: the table below belongs to this tree alone. */
#define PVVAS_OWN		BIT_ULL(53)
#define PVVAS_ADDR_MASK		GENMASK_ULL(51, 12)

/* Hugepages of a segment: 2 MiB, its granularity too. */
#define PVVAS_LARGE_PAGES	512UL

/* What the first look at a view's identity page takes: three tables, it. */
#define PVVAS_IDENTITY_PAGES	4
/* Hypercalls leave this to faults: one instruction may touch several pages. */
#define PVVAS_FAULT_ROOM	32

/* An EPTP of four levels, write-back, with accessed and dirty flags. */
#define PVVAS_EPTP_FLAGS	(VMX_EPTP_MT_WB | VMX_EPTP_PWL_4 | \
				 VMX_EPTP_AD_ENABLE_BIT)

/**
 * struct pvvas_ctx - the EPTP list of one guest process
 * @id: never reused
 * @list: one page, 512 EPTPs; unused entries hold the plain view
 * @slots: the view in each slot, or NULL
 * @views: all views of the context
 */
struct pvvas_ctx {
	u64 id;
	u64 *list;
	struct pvvas_view *slots[PVVAS_NR_SLOTS];
	struct list_head views;
};

/**
 * struct pvvas_view - one EPT root
 * @id: never reused; 0 in the plain view
 * @ctx: owner; NULL in the plain view
 * @cookie: what the guest calls it
 * @root: level 4 table; entries outside the window are copies of the VM's own
 * @eptp: @root as an EPTP
 * @identity: the identity page, NULL until it is first read
 * @slot: where it is placed, 0 for nowhere
 * @generation: how often it has been placed
 * @atts: attachments, keyed by window gfn
 * @ctx_node: in pvvas_ctx.views
 */
struct pvvas_view {
	u64 id;
	struct pvvas_ctx *ctx;
	u64 cookie;
	u64 *root;
	u64 eptp;
	struct pvvas_identity *identity;
	u32 slot;
	u32 generation;
	struct rb_root_cached atts;
	struct list_head ctx_node;
};

/**
 * struct pvvas_seg - one EPT subtree
 * @id: never reused
 * @base: first window gfn, a multiple of 2 MiB
 * @npages: size, a multiple of 2 MiB
 * @flags: PVVAS_SEG_*
 * @root: level 4 table that only this subtree hangs from; no CPU walks it,
 *	views link the levels below
 * @extents: by offset in pages
 * @atts: all attachments
 */
struct pvvas_seg {
	u64 id;
	gfn_t base;
	u64 npages;
	u32 flags;
	u64 *root;
	struct rb_root_cached extents;
	struct list_head atts;
};

/**
 * struct pvvas_att - a segment in a view
 * @node: window gfns, in pvvas_view.atts
 * @seg_node: in pvvas_seg.atts
 * @prot: PVVAS_PROT_*
 * @crowded: something else is or was attached in the GiB where the segment
 *	begins, and in the one where it ends (see link.c)
 */
struct pvvas_att {
	struct interval_tree_node node;
	struct list_head seg_node;
	struct pvvas_view *view;
	struct pvvas_seg *seg;
	u32 prot;
	bool crowded[2];
};

/**
 * struct pvvas_extent_node - a range of a segment and what backs it
 * @fwd: pages of the segment, in pvvas_seg.extents
 * @rev: guest frames, in kvm_pvvas.rmap
 * @prot: PVVAS_PROT_*
 */
struct pvvas_extent_node {
	struct interval_tree_node fwd;
	struct interval_tree_node rev;
	struct pvvas_seg *seg;
	u32 prot;
};

/**
 * struct kvm_pvvas - a VM's part
 * @lock: see the top of this file
 * @window: first gfn of the window
 * @window_pages: its size
 * @config: limits
 * @next_id: for every kind of object
 * @frozen: a segment whose leaves are being removed with pauses: faults fill
 *	nothing until it is done.  Written under both locks
 * @promised: tables and identity pages of views that were not looked at yet;
 *	written under mmu_lock
 * @ctxs: by id
 * @views: by id
 * @segs: by id
 * @roots: views by frame number of their root, the plain view too
 * @rmap: extents by guest frame
 * @plain: the plain view
 * @null_list: EPTP list of vCPUs with no context: the plain view 512 times
 * @emptying: who frees tables under mmu_lock; for pvvas_debug
 */
struct kvm_pvvas {
	struct mutex lock; /* see the top of this file */
	gfn_t window;
	u64 window_pages;
	struct kvm_pvvas_config config;
	u64 next_id;
	struct pvvas_seg *frozen;
	u64 promised;
	struct xarray ctxs;
	struct xarray views;
	struct xarray segs;
	struct xarray roots;
	struct rb_root_cached rmap;
	struct pvvas_view plain;
	u64 *null_list;
	struct task_struct *emptying;
};

static inline unsigned int pvvas_index(gfn_t gfn, int level)
{
	return (gfn >> ((level - 1) * 9)) & 511;
}

static inline u64 pvvas_level_pages(int level)
{
	return 1ULL << ((level - 1) * 9);
}

static inline bool pvvas_present(u64 entry)
{
	return entry & PVVAS_RWX;
}

static inline u64 *pvvas_table(u64 entry)
{
	return __va(entry & PVVAS_ADDR_MASK);
}

/* PVVAS_PROT_* and the permission bits of EPT are the same bits. */
static inline u64 pvvas_prot_mask(u32 prot)
{
	BUILD_BUG_ON(PVVAS_PROT_READ != VMX_EPT_READABLE_MASK);
	BUILD_BUG_ON(PVVAS_PROT_WRITE != VMX_EPT_WRITABLE_MASK);
	BUILD_BUG_ON(PVVAS_PROT_EXEC != VMX_EPT_EXECUTABLE_MASK);
	return prot;
}

static inline bool pvvas_prot_valid(u64 prot)
{
	return (prot & PVVAS_PROT_READ) && !(prot & ~(u64)PVVAS_PROT_ALL);
}

static inline bool pvvas_in_window(struct kvm_pvvas *pv, gfn_t gfn)
{
	return gfn - pv->window < pv->window_pages;
}

/* main.c */
extern bool pvvas_debug;
void *pvvas_take_page(struct kvm *kvm, struct kvm_mmu_memory_cache *mc);
void pvvas_put_page(struct kvm *kvm, void *page);
s64 pvvas_tables_left(struct kvm *kvm);
int pvvas_room_for_tables(struct kvm *kvm, u64 n);
void __pvvas_flush(struct kvm *kvm, const char *why);
#define pvvas_flush(kvm)	__pvvas_flush(kvm, __func__)
int pvvas_copy_struct(void *to, size_t known, size_t least,
		      const void __user *from);
void pvvas_activate(struct kvm *kvm);
void pvvas_reset_locked(struct kvm *kvm);
void pvvas_reset(struct kvm *kvm);

/* context.c */
int pvvas_ctx_make(struct kvm *kvm, u64 id);
long pvvas_ctx_create(struct kvm_vcpu *vcpu, u64 flags);
long pvvas_ctx_destroy(struct kvm_vcpu *vcpu, u64 id);
long pvvas_ctx_load(struct kvm_vcpu *vcpu, u64 id);
void pvvas_ctx_free(struct kvm *kvm, struct pvvas_ctx *ctx);
struct pvvas_view *pvvas_view_in_force(struct kvm_vcpu *vcpu, u64 eptp);
struct pvvas_view *pvvas_view_to_load(struct kvm_vcpu *vcpu, u64 eptp);

/* view.c */
bool pvvas_is_window_index(struct kvm_pvvas *pv, unsigned int i);
void pvvas_view_uninit(struct kvm *kvm, struct pvvas_view *view);
struct pvvas_view *pvvas_view_by_eptp(struct kvm_pvvas *pv, u64 eptp);
void pvvas_assert_unlinked(struct kvm_pvvas *pv);
void pvvas_view_scrub_ram(struct pvvas_view *view, struct kvm_pvvas *pv);
int pvvas_view_show_identity(struct kvm *kvm, struct pvvas_view *view,
			     struct kvm_mmu_memory_cache *mc);
int pvvas_view_make(struct kvm *kvm, u64 id, u64 ctx_id, u64 cookie);
void pvvas_view_put_in(struct kvm *kvm, struct pvvas_view *view, u32 slot);
long pvvas_view_create(struct kvm_vcpu *vcpu, u64 ctx, u64 flags, u64 cookie);
long pvvas_view_destroy(struct kvm_vcpu *vcpu, u64 id);
long pvvas_view_place(struct kvm_vcpu *vcpu, u64 ctx, u64 slot, u64 id);
void pvvas_view_free(struct kvm *kvm, struct pvvas_view *view);

/* link.c */
u64 *pvvas_walk(struct kvm *kvm, u64 *root, gfn_t gfn, int level,
		struct kvm_mmu_memory_cache *mc);
void pvvas_assert_unreachable(struct kvm *kvm, const void *page);
void pvvas_empty_tables(struct kvm *kvm, u64 *root);
void pvvas_free_tables(struct kvm *kvm, u64 *root);
void pvvas_each_link(struct kvm *kvm, struct pvvas_att *att, bool link);
u64 *pvvas_seg_entry(struct kvm *kvm, struct pvvas_seg *seg, gfn_t gfn,
		     int level, struct kvm_mmu_memory_cache *mc);
void pvvas_seg_set(struct pvvas_seg *seg, gfn_t gfn, int level, u64 *entry,
		   u64 val);
bool pvvas_seg_accessed(struct pvvas_seg *seg, gfn_t gfn, int level, u64 leaf);
bool pvvas_seg_zap(struct kvm *kvm, struct pvvas_seg *seg, gfn_t start,
		   gfn_t end);
bool pvvas_seg_zap_yielding(struct kvm *kvm, struct pvvas_seg *seg, gfn_t start,
			    gfn_t end);
int pvvas_attach(struct kvm *kvm, u64 view, u64 seg, u64 prot);
long pvvas_view_detach(struct kvm_vcpu *vcpu, u64 view, u64 seg);
void pvvas_detach_all(struct kvm *kvm, struct pvvas_view *view);

/* segment.c */
int pvvas_seg_make(struct kvm *kvm, u64 id, u64 base, u64 size, u64 flags);
long pvvas_seg_create(struct kvm_vcpu *vcpu, u64 base, u64 size, u64 flags);
long pvvas_seg_destroy(struct kvm_vcpu *vcpu, u64 id);
void pvvas_seg_free(struct kvm *kvm, struct pvvas_seg *seg);

/* extent.c */
int pvvas_change_one(struct kvm *kvm, u64 nr, struct pvvas_seg *seg,
		     const struct pvvas_extent *row);
struct pvvas_extent_node *pvvas_extent_find(struct pvvas_seg *seg, u64 offset);
void pvvas_extents_free(struct kvm *kvm, struct pvvas_seg *seg);
long pvvas_seg_change(struct kvm_vcpu *vcpu, u64 nr, u64 id, u64 gpa,
		      u64 count);

/* zap.c */
void pvvas_zap_everything(struct kvm *kvm);

#endif /* __KVM_X86_PVVAS_INTERNAL_H */
