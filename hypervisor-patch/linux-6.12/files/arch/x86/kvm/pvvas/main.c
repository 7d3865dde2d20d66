// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: enabling, activation, reset and teardown of a VM's part.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": pvvas: " fmt

#include <linux/kvm_host.h>
#include <linux/moduleparam.h>
#include <linux/uaccess.h>

#include "internal.h"
#include "mmu.h"
#include "mmu/mmu_internal.h"
#include "mmu/spte.h"
#include "smm.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* Off with a delay, as kvm_xen_enabled: VMs come and go. */
DEFINE_STATIC_KEY_DEFERRED_FALSE(kvm_pvvas_enabled, HZ);
EXPORT_SYMBOL_GPL(kvm_pvvas_enabled);

atomic_t __read_mostly kvm_look_at_gpa;
EXPORT_SYMBOL_GPL(kvm_look_at_gpa);

/* Upper bounds of what KVM_ENABLE_CAP may ask for, and the defaults. */
static unsigned int __read_mostly pvvas_max_ctxs = 4096;
module_param(pvvas_max_ctxs, uint, 0444);
static unsigned int __read_mostly pvvas_max_views = 65536;
module_param(pvvas_max_views, uint, 0444);
static unsigned int __read_mostly pvvas_max_segs = 65536;
module_param(pvvas_max_segs, uint, 0444);
static unsigned long __read_mostly pvvas_max_extents = 1UL << 20;
module_param(pvvas_max_extents, ulong, 0444);
static unsigned long __read_mostly pvvas_max_tables = 1UL << 18;
module_param(pvvas_max_tables, ulong, 0444);

/* Look through all views whenever a table is freed: slow, for tests. */
bool __read_mostly pvvas_debug;
module_param(pvvas_debug, bool, 0644);

/* One root entry; the window is made of whole ones (see link.c). */
#define PVVAS_WINDOW_UNIT	(1ULL << 39)
#define PVVAS_DEFAULT_WINDOW	(16 * PVVAS_WINDOW_UNIT)

void *pvvas_take_page(struct kvm *kvm, struct kvm_mmu_memory_cache *mc)
{
	void *page = kvm_mmu_memory_cache_alloc(mc);

	atomic64_inc(&kvm->stat.pvvas_tables);
	kvm_account_pgtable_pages(page, 1);
	return page;
}

void pvvas_put_page(struct kvm *kvm, void *page)
{
	if (!page)
		return;
	if (pvvas_debug)
		pvvas_assert_unreachable(kvm, page);
	kvm_account_pgtable_pages(page, -1);
	free_page((unsigned long)page);
	atomic64_dec(&kvm->stat.pvvas_tables);
}

/* Up to the cap, with what views may ask for kept aside. */
s64 pvvas_tables_left(struct kvm *kvm)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;

	return pv->config.max_tables - atomic64_read(&kvm->stat.pvvas_tables) -
	       READ_ONCE(pv->promised);
}

/*
 * Only hypercalls ask, and only what is left without the segments' tables
 * counts: those come back by faults. Without PVVAS_FAULT_ROOM an instruction
 * that touches two pages could lose one whenever it gains the other (fault.c).
 */
int pvvas_room_for_tables(struct kvm *kvm, u64 n)
{
	s64 need = n + PVVAS_FAULT_ROOM;

	if (pvvas_tables_left(kvm) < need) {
		write_lock(&kvm->mmu_lock);
		pvvas_zap_everything(kvm);
		write_unlock(&kvm->mmu_lock);
	}
	return pvvas_tables_left(kvm) < need ? -ENOSPC : 0;
}

/*
 * Wait until every vCPU has left the guest; each flushes all its EPT roots
 * before it enters again.
 */
void __pvvas_flush(struct kvm *kvm, const char *why)
{
	trace_kvm_pvvas_flush(why);
	kvm->stat.pvvas_flushes++;
	kvm_flush_remote_tlbs(kvm);
}

/* The CPU can, the TDP MMU is in use, and flushes are KVM's own. */
int kvm_pvvas_check_extension(void)
{
	if (!kvm_caps.has_pvvas || !tdp_mmu_enabled)
		return 0;
#if IS_ENABLED(CONFIG_HYPERV)
	if (kvm_x86_ops.flush_remote_tlbs)
		return 0;
#endif
	return PVVAS_ABI_VERSION;
}

bool kvm_pvvas_overlaps_window(struct kvm *kvm, gfn_t gfn, u64 npages)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;

	return pv && gfn < pv->window + pv->window_pages &&
	       gfn + npages > pv->window;
}

/*
 * Copy a struct that begins with the size its owner gives it, a __u32.  @known
 * bytes are filled; @least is how long the first version was.
 */
int pvvas_copy_struct(void *to, size_t known, size_t least,
		      const void __user *from)
{
	u32 size;
	int r;

	if (get_user(size, (const u32 __user *)from))
		return -EFAULT;
	if (size < least || size > PAGE_SIZE)
		return -EINVAL;
	r = copy_struct_from_user(to, known, from, size);
	/* What was looked at is what counts. */
	*(u32 *)to = size;
	/* -E2BIG here; of KVM_PVVAS_STATE that means another thing. */
	return r == -E2BIG ? -EINVAL : r;
}

static int pvvas_limit_u32(u32 *val, u32 max)
{
	if (!*val)
		*val = max;
	return *val > max ? -EINVAL : 0;
}

static int pvvas_limit_u64(u64 *val, u64 max)
{
	if (!*val)
		*val = max;
	return *val > max ? -EINVAL : 0;
}

static int pvvas_check_config(struct kvm_pvvas_config *c)
{
	/* Four levels reach 48 bits. */
	u64 limit = 1ULL << min_t(u8, kvm_host.maxphyaddr, 48);

	if (c->flags || c->pad)
		return -EINVAL;

	if (!c->window_gpa)
		c->window_gpa = limit / 2;
	if (!c->window_size)
		c->window_size = min(limit - c->window_gpa, PVVAS_DEFAULT_WINDOW);
	if (c->window_gpa < PVVAS_WINDOW_UNIT || c->window_gpa >= limit ||
	    !c->window_size || c->window_size > limit - c->window_gpa ||
	    (c->window_gpa | c->window_size) & (PVVAS_WINDOW_UNIT - 1))
		return -EINVAL;

	return pvvas_limit_u32(&c->max_ctxs, pvvas_max_ctxs) ?:
	       pvvas_limit_u32(&c->max_views, pvvas_max_views) ?:
	       pvvas_limit_u32(&c->max_segs, pvvas_max_segs) ?:
	       pvvas_limit_u64(&c->max_extents, pvvas_max_extents) ?:
	       pvvas_limit_u64(&c->max_tables, pvvas_max_tables);
}

/* The plain view has no tables but its root. */
static void pvvas_free(struct kvm *kvm, struct kvm_pvvas *pv)
{
	pvvas_put_page(kvm, pv->plain.root);
	pvvas_put_page(kvm, pv->null_list);
	xa_destroy(&pv->roots);
	kfree(pv);
}

static struct kvm_pvvas *pvvas_alloc(struct kvm *kvm,
				     const struct kvm_pvvas_config *config)
{
	struct kvm_mmu_memory_cache mc = { .gfp_zero = __GFP_ZERO };
	struct kvm_pvvas *pv;
	int i;

	pv = kzalloc(sizeof(*pv), GFP_KERNEL_ACCOUNT);
	if (!pv)
		return NULL;

	mutex_init(&pv->lock);
	pv->config = *config;
	pv->window = gpa_to_gfn(config->window_gpa);
	pv->window_pages = config->window_size >> PAGE_SHIFT;
	pv->next_id = 1;
	xa_init_flags(&pv->ctxs, XA_FLAGS_ACCOUNT);
	xa_init_flags(&pv->views, XA_FLAGS_ACCOUNT);
	xa_init_flags(&pv->segs, XA_FLAGS_ACCOUNT);
	xa_init_flags(&pv->roots, XA_FLAGS_ACCOUNT);
	pv->rmap = RB_ROOT_CACHED;
	pv->plain.atts = RB_ROOT_CACHED;

	if (__kvm_mmu_topup_memory_cache(&mc, 2, 2))
		goto fail;
	pv->null_list = pvvas_take_page(kvm, &mc);
	pv->plain.root = pvvas_take_page(kvm, &mc);
	kvm_mmu_free_memory_cache(&mc);

	pv->plain.eptp = __pa(pv->plain.root) | PVVAS_EPTP_FLAGS;
	if (xa_err(xa_store(&pv->roots, PHYS_PFN(__pa(pv->plain.root)),
			    &pv->plain, GFP_KERNEL_ACCOUNT)))
		goto fail;
	for (i = 0; i < PVVAS_NR_SLOTS; i++)
		pv->null_list[i] = pv->plain.eptp;
	return pv;
fail:
	kvm_mmu_free_memory_cache(&mc);
	pvvas_free(kvm, pv);
	return NULL;
}

static bool pvvas_memslots_in_window(struct kvm *kvm, struct kvm_pvvas *pv)
{
	struct kvm_memslot_iter iter;
	int i;

	for (i = 0; i < kvm_arch_nr_memslot_as_ids(kvm); i++)
		kvm_for_each_memslot_in_gfn_range(&iter, __kvm_memslots(kvm, i),
						  pv->window,
						  pv->window + pv->window_pages)
			return true;
	return false;
}

/**
 * kvm_pvvas_enable - KVM_ENABLE_CAP(KVM_CAP_PVVAS)
 * @kvm: a VM without vCPUs
 * @uconfig: struct kvm_pvvas_config; limits that were left 0 come back filled
 *
 * Return: 0, -EOPNOTSUPP if this host or VM type cannot have views, -EBUSY if
 * vCPUs exist, -EEXIST if it was enabled before or a memslot lies in the
 * window, -EINVAL for a bad config, -EFAULT, -ENOMEM.
 */
int kvm_pvvas_enable(struct kvm *kvm, void __user *uconfig)
{
	struct kvm_mmu_memory_cache mc = { .gfp_zero = __GFP_ZERO };
	struct kvm_pvvas_config config;
	struct kvm_pvvas *pv;
	int r;

	if (!kvm_pvvas_check_extension() ||
	    kvm->arch.vm_type != KVM_X86_DEFAULT_VM)
		return -EOPNOTSUPP;
	BUILD_BUG_ON(sizeof(config) < KVM_PVVAS_CONFIG_SIZE_VER1);
	r = pvvas_copy_struct(&config, sizeof(config),
			      KVM_PVVAS_CONFIG_SIZE_VER1, uconfig);
	if (r)
		return r;
	r = pvvas_check_config(&config);
	if (r)
		return r;

	/* The plain view's identity page and the tables above it. */
	if (__kvm_mmu_topup_memory_cache(&mc, PVVAS_ROOT_LEVEL, PVVAS_ROOT_LEVEL))
		return -ENOMEM;
	pv = pvvas_alloc(kvm, &config);
	if (!pv) {
		kvm_mmu_free_memory_cache(&mc);
		return -ENOMEM;
	}

	static_branch_deferred_inc(&kvm_pvvas_enabled);
	/* slots_lock: no memslot may appear in the window meanwhile. */
	mutex_lock(&kvm->lock);
	mutex_lock(&kvm->slots_lock);
	if (kvm->created_vcpus)
		r = -EBUSY;
	else if (kvm->arch.pvvas || pvvas_memslots_in_window(kvm, pv))
		r = -EEXIST;
	else if (copy_to_user(uconfig, &config, min_t(size_t, config.size,
						      sizeof(config))))
		r = -EFAULT;
	else
		/* mmu notifiers may look at it at once. */
		smp_store_release(&kvm->arch.pvvas, pv);
	mutex_unlock(&kvm->slots_lock);
	mutex_unlock(&kvm->lock);

	if (r) {
		static_branch_slow_dec_deferred(&kvm_pvvas_enabled);
		pvvas_free(kvm, pv);
	} else {
		write_lock(&kvm->mmu_lock);
		pvvas_view_show_identity(kvm, &pv->plain, &mc);
		write_unlock(&kvm->mmu_lock);
	}
	kvm_mmu_free_memory_cache(&mc);
	return r;
}

bool kvm_pvvas_active(struct kvm_vcpu *vcpu)
{
	return kvm_pvvas_in_use(vcpu->kvm) &&
	       vcpu->arch.mmu->root_role.level == PVVAS_ROOT_LEVEL &&
	       !guest_cpu_cap_has(vcpu, X86_FEATURE_VMX);
}
EXPORT_SYMBOL_GPL(kvm_pvvas_active);

bool kvm_pvvas_gpa_in_window(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	return kvm_pvvas_active(vcpu) && !is_smm(vcpu) &&
	       pvvas_in_window(vcpu->kvm->arch.pvvas, gpa_to_gfn(gpa));
}
EXPORT_SYMBOL_GPL(kvm_pvvas_gpa_in_window);

/*
 * The first context: from here on every vCPU runs on a view.  The requests are
 * seen before the next entry; a vCPU in the guest now stays on its ordinary
 * root until it leaves, which shows it the same RAM.
 */
void pvvas_activate(struct kvm *kvm)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct kvm_vcpu *v;
	unsigned long i;

	lockdep_assert_held(&pv->lock);

	if (kvm_pvvas_in_use(kvm))
		return;

	write_lock(&kvm->mmu_lock);
	pvvas_assert_unlinked(pv);
	kvm_for_each_vcpu(i, v, kvm) {
		v->arch.pvvas.ctx = 0;
		v->arch.pvvas.list = __pa(pv->null_list);
		v->arch.pvvas.eptp = pv->plain.eptp;
	}
	pvvas_view_scrub_ram(&pv->plain, pv);
	atomic_inc(&kvm_look_at_gpa);
	WRITE_ONCE(kvm->arch.pvvas_active, true);
	kvm_make_all_cpus_request(kvm, KVM_REQ_LOAD_MMU_PGD);
	/* The plain root's page may have been an EPT root before. */
	pvvas_flush(kvm);
	write_unlock(&kvm->mmu_lock);
}

/*
 * Destroy every object; vCPUs go back to their ordinary root.  Also what a
 * guest driver asks for when it starts, since the kernel before it may have
 * left things behind.
 */
void pvvas_reset_locked(struct kvm *kvm)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_ctx *ctx;
	struct pvvas_seg *seg;
	struct kvm_vcpu *v;
	unsigned long i;

	lockdep_assert_held(&pv->lock);

	write_lock(&kvm->mmu_lock);
	if (kvm_pvvas_in_use(kvm))
		atomic_dec(&kvm_look_at_gpa);
	WRITE_ONCE(kvm->arch.pvvas_active, false);
	kvm_for_each_vcpu(i, v, kvm) {
		v->arch.pvvas.ctx = 0;
		v->arch.pvvas.list = __pa(pv->null_list);
		v->arch.pvvas.eptp = pv->plain.eptp;
	}
	pvvas_view_scrub_ram(&pv->plain, pv);
	kvm_make_all_cpus_request(kvm, KVM_REQ_LOAD_MMU_PGD);
	pvvas_flush(kvm);
	write_unlock(&kvm->mmu_lock);

	xa_for_each(&pv->ctxs, i, ctx)
		pvvas_ctx_free(kvm, ctx);
	xa_for_each(&pv->segs, i, seg)
		pvvas_seg_free(kvm, seg);
}

void pvvas_reset(struct kvm *kvm)
{
	mutex_lock(&kvm->arch.pvvas->lock);
	pvvas_reset_locked(kvm);
	mutex_unlock(&kvm->arch.pvvas->lock);
}

/* All vCPUs are gone, or never were. */
void kvm_pvvas_destroy_vm(struct kvm *kvm)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;

	if (!pv)
		return;
	pvvas_reset(kvm);
	xa_erase(&pv->roots, PHYS_PFN(__pa(pv->plain.root)));
	pvvas_empty_tables(kvm, pv->plain.root);
	pvvas_put_page(kvm, pv->plain.identity);
	kvm->arch.pvvas = NULL;
	pvvas_free(kvm, pv);
	static_branch_slow_dec_deferred(&kvm_pvvas_enabled);
	WARN_ON_ONCE(atomic64_read(&kvm->stat.pvvas_tables));
}

void kvm_pvvas_destroy_vcpu(struct kvm_vcpu *vcpu)
{
	kvm_mmu_free_memory_cache(&vcpu->arch.pvvas.pages);
}

/* INIT and RESET: no context, plain view. */
void kvm_pvvas_reset_vcpu(struct kvm_vcpu *vcpu)
{
	struct kvm_pvvas *pv = vcpu->kvm->arch.pvvas;

	if (!pv)
		return;
	write_lock(&vcpu->kvm->mmu_lock);
	vcpu->arch.pvvas.ctx = 0;
	vcpu->arch.pvvas.list = __pa(pv->null_list);
	vcpu->arch.pvvas.eptp = pv->plain.eptp;
	vcpu->arch.pvvas.reset_view = true;
	write_unlock(&vcpu->kvm->mmu_lock);
	vcpu->arch.pvvas.fault.pending = false;
	kvm_make_request(KVM_REQ_LOAD_MMU_PGD, vcpu);
}
