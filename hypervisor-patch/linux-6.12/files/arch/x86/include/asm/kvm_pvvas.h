/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * EPT views: what the rest of KVM knows of them.
 */
#ifndef _ASM_X86_KVM_PVVAS_H
#define _ASM_X86_KVM_PVVAS_H

#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/jump_label_ratelimit.h>
#include <linux/kvm_types.h>
#include <linux/tracepoint-defs.h>
#include <linux/types.h>
#include <uapi/linux/kvm_para.h>

struct kvm;
struct kvm_vcpu;
struct pvvas_ctx;
struct pvvas_hc_range;
struct x86_exception;

/*
 * In x86_exception.error_code, of a page fault at an address that a view
 * refuses.  SGX: Linux takes no #PF with that bit for a spurious one.  DEMAND:
 * ours alone; the guest gets PVVAS_DEMAND_VECTOR instead.
 */
#define PVVAS_PFERR_SGX		BIT(15)
#define PVVAS_PFERR_DEMAND	BIT(14)

/**
 * struct kvm_vcpu_pvvas - a vCPU's part
 * @ctx: the context whose EPTP list is to be in force, or NULL; written by the
 *	vCPU's own thread under mmu_lock held for reading, by others for writing
 * @eptp: the view at the latest load; as @ctx
 * @older_than: until the next load, EPT_POINTER and @eptp mean only views with
 *	a smaller id: a view was destroyed, and its root's page may be that of
 *	a newer one; as @ctx
 * @reset_view: the next load goes to the plain view; as @ctx
 * @noted: the next load goes to @eptp, whatever EPT_POINTER says: the vCPU's
 *	state was set, or it is in SMM; as @ctx
 * @loaded: the latest load went to a view; vCPU's own thread only
 * @traced_view: id of the view seen at the latest exit that was traced; vCPU's
 *	own thread only
 * @flushes: how often the vCPU has flushed everything before it entered the
 *	guest; written by its own thread
 * @emulated_at: @flushes, plus one, when KVM's emulator last asked where an
 *	address of a view leads: until @flushes grows, an instruction may use
 *	the answer.  Written by the vCPU's own thread
 * @fault: what the exit said about the access in a view that is being handled;
 *	vCPU's own thread only
 */
struct kvm_vcpu_pvvas {
	struct pvvas_ctx *ctx;
	u64 eptp;
	u64 older_than;
	bool reset_view;
	bool noted;
	bool loaded;
	u64 traced_view;
	u64 flushes;
	u64 emulated_at;
	struct {
		u64 view;
		u64 gpa;
		u64 gla;
		u32 access;	/* PFERR_* */
		bool gla_valid;
		bool misconfig;
	} fault;
};

#ifdef CONFIG_KVM_PVVAS
/* On while a VM of this host may have views. */
extern struct static_key_false_deferred kvm_pvvas_enabled;
DECLARE_TRACEPOINT(kvm_pvvas_switch);

int kvm_pvvas_enable(struct kvm *kvm, void __user *uconfig);
int kvm_pvvas_ioctl(struct kvm *kvm, void __user *argp);
int kvm_pvvas_check_extension(void);
u32 kvm_pvvas_features(void);
void kvm_pvvas_destroy_vm(struct kvm *kvm);
void kvm_pvvas_reset_vcpu(struct kvm_vcpu *vcpu);
long kvm_pvvas_hypercall(struct kvm_vcpu *vcpu, u64 nr, u64 a0, u64 a1,
			 u64 a2, u64 a3, bool op_64_bit);
bool kvm_pvvas_overlaps_window(struct kvm *kvm, gfn_t gfn, u64 npages);
void kvm_pvvas_inject_demand(struct kvm_vcpu *vcpu,
			     const struct x86_exception *fault);
void kvm_pvvas_trace_switch(struct kvm_vcpu *vcpu);

/* mmu/mmu.c, and what it calls */
int kvm_view_enable(struct kvm *kvm);
unsigned long kvm_view_max_roots(struct kvm *kvm);
int kvm_view_get_root(struct kvm_vcpu *vcpu, gfn_t table, hpa_t *root);
void kvm_view_put_root(struct kvm *kvm, hpa_t root);
void kvm_view_kill_root(struct kvm *kvm, hpa_t root);
void kvm_view_zap_all(struct kvm *kvm);
int kvm_view_page_fault(struct kvm_vcpu *vcpu, hpa_t root, gfn_t table,
			gpa_t gpa, u64 error_code);
gpa_t kvm_view_translate(struct kvm_vcpu *vcpu, gfn_t table, gpa_t gpa,
			 u64 access, struct x86_exception *exception);
unsigned long kvm_view_invalidate(struct kvm *kvm,
				  const struct pvvas_hc_range *rows,
				  unsigned int nr);
void kvm_pvvas_inject_view_fault(struct kvm_vcpu *vcpu,
				 struct x86_exception *fault,
				 bool from_hardware);
gpa_t kvm_pvvas_translate_gpa(struct kvm_vcpu *vcpu, gpa_t gpa, u64 access,
			      struct x86_exception *exception);

/* Vendor side. */
bool kvm_pvvas_choose(struct kvm_vcpu *vcpu, u64 *eptp, u64 *list);
int kvm_pvvas_page_fault(struct kvm_vcpu *vcpu, u64 eptp, gpa_t gpa,
			 u64 error_code);

#else /* !CONFIG_KVM_PVVAS */
static inline int kvm_pvvas_enable(struct kvm *kvm, void __user *uconfig)
{
	return -EINVAL;
}

static inline int kvm_pvvas_ioctl(struct kvm *kvm, void __user *argp)
{
	return -ENOTTY;
}

static inline int kvm_pvvas_check_extension(void)
{
	return 0;
}

static inline u32 kvm_pvvas_features(void)
{
	return 0;
}

static inline void kvm_pvvas_destroy_vm(struct kvm *kvm) {}
static inline void kvm_pvvas_reset_vcpu(struct kvm_vcpu *vcpu) {}

static inline long kvm_pvvas_hypercall(struct kvm_vcpu *vcpu, u64 nr, u64 a0,
				       u64 a1, u64 a2, u64 a3, bool op_64_bit)
{
	return -KVM_ENOSYS;
}

static inline bool kvm_pvvas_overlaps_window(struct kvm *kvm, gfn_t gfn,
					     u64 npages)
{
	return false;
}

static inline void kvm_pvvas_inject_demand(struct kvm_vcpu *vcpu,
					   const struct x86_exception *fault) {}

static inline gpa_t kvm_pvvas_translate_gpa(struct kvm_vcpu *vcpu, gpa_t gpa,
					    u64 access,
					    struct x86_exception *exception)
{
	return gpa;
}
#endif /* CONFIG_KVM_PVVAS */

#endif /* _ASM_X86_KVM_PVVAS_H */
