/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * EPT views: what the rest of KVM knows of them.
 */
#ifndef _ASM_X86_KVM_PVVAS_H
#define _ASM_X86_KVM_PVVAS_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/jump_label_ratelimit.h>
#include <linux/kvm_types.h>
#include <linux/types.h>

struct kvm;
struct kvm_vcpu;
struct kvm_gfn_range;
struct kvm_memory_slot;
struct kvm_pvvas;
struct kvm_pvvas_config;
struct x86_exception;

/**
 * struct kvm_vcpu_pvvas - a vCPU's part
 * @ctx: id of the context whose EPTP list is in force, 0 for none; written
 *	under mmu_lock
 * @list: physical address of that list; written under mmu_lock
 * @eptp: the view at the latest load; written under mmu_lock
 * @older_than: until the next load, EPT_POINTER and @eptp mean only views with
 *	a smaller id: a view was destroyed, and its root's page may be that of
 *	a newer one; written under mmu_lock
 * @reset_view: the next load goes to the plain view; written under mmu_lock
 * @noted: the next load goes to @eptp, whatever EPT_POINTER says: the vCPU's
 *	state was set, or it is in SMM; written under mmu_lock
 * @traced_view: id of the view seen at the latest exit that was traced; vCPU's
 *	own thread only
 * @translated: how many addresses of the window were translated for KVM's
 *	emulator; written by the vCPU's own thread under mmu_lock, read without
 * @used: what @translated was at the latest load of a root, on the way into the
 *	guest: no instruction uses these answers any more; written by the
 *	vCPU's own thread, read without a lock
 * @pages: zeroed pages for tables, filled before mmu_lock is taken; vCPU's own
 *	thread only
 * @fault: newest demand fault, for PVVAS_HC_FAULT; vCPU's own thread only
 */
struct kvm_vcpu_pvvas {
	u64 ctx;
	u64 list;
	u64 eptp;
	u64 older_than;
	bool reset_view;
	bool noted;
	u64 traced_view;
	u64 translated;
	u64 used;
	struct kvm_mmu_memory_cache pages;
	struct {
		bool pending;
		u32 access;
		u32 flags;
		u64 gpa;
		u64 gla;
		u64 seg;
		u64 view;
		u64 offset;
	} fault;
};

/* What became of an access to the window. */
enum kvm_pvvas_result {
	KVM_PVVAS_RETRY,	/* filled, or the world changed: run on */
	KVM_PVVAS_REFLECT,	/* not attached or not permitted: #PF */
	KVM_PVVAS_DEMAND,	/* the guest is asked to back the page */
};

/*
 * In the error code of a #PF that KVM finds itself: the guest is asked to back
 * the page, see kvm_inject_page_fault().  No CPU sets this bit.
 */
#define PVVAS_PFERR_DEMAND	BIT(14)

/* On while a VM of this host may have views. */
extern struct static_key_false_deferred kvm_pvvas_enabled;
/*
 * An EPT violation is looked at before KVM maps anything: how many VMs of this
 * host use views, and one for kvm_intel.allow_smaller_maxphyaddr.
 */
extern atomic_t kvm_look_at_gpa;

void kvm_pvvas_ops_updated(void);
int kvm_pvvas_enable(struct kvm *kvm, void __user *uconfig);
int kvm_pvvas_ioctl(struct kvm *kvm, void __user *argp);
int kvm_pvvas_check_extension(void);
void kvm_pvvas_destroy_vm(struct kvm *kvm);
void kvm_pvvas_destroy_vcpu(struct kvm_vcpu *vcpu);
void kvm_pvvas_reset_vcpu(struct kvm_vcpu *vcpu);
long kvm_pvvas_hypercall(struct kvm_vcpu *vcpu, u64 nr, u64 a0, u64 a1,
			 u64 a2, bool op_64_bit);
bool kvm_pvvas_overlaps_window(struct kvm *kvm, gfn_t gfn, u64 npages);

/* MMU side: mmu_lock held for writing; return whether a flush is due. */
bool kvm_pvvas_unmap_gfn_range(struct kvm *kvm, struct kvm_gfn_range *range);
bool kvm_pvvas_age_gfn_range(struct kvm *kvm, struct kvm_gfn_range *range,
			     bool test_only);
bool kvm_pvvas_zap_gfns(struct kvm *kvm, gfn_t start, gfn_t end);
void kvm_pvvas_zap_all(struct kvm *kvm);
void kvm_pvvas_root_spte_zapped(struct kvm *kvm, u64 spte);
/* The same, taking mmu_lock, and flushing under it. */
void kvm_pvvas_zap_slot(struct kvm *kvm, const struct kvm_memory_slot *slot);

/* Vendor side. */
bool kvm_pvvas_active(struct kvm_vcpu *vcpu);
bool kvm_pvvas_gpa_in_window(struct kvm_vcpu *vcpu, gpa_t gpa);
bool kvm_pvvas_choose(struct kvm_vcpu *vcpu, u64 *eptp, u64 *list);
bool kvm_pvvas_link_ram(struct kvm_vcpu *vcpu, u64 eptp, gpa_t gpa);
int kvm_pvvas_window_fault(struct kvm_vcpu *vcpu, u64 eptp, gpa_t gpa,
			   u32 access, u64 gla, u32 flags);
gpa_t kvm_pvvas_translate_gpa(struct kvm_vcpu *vcpu, gpa_t gpa, u64 access,
			      struct x86_exception *exception);

#endif /* _ASM_X86_KVM_PVVAS_H */
