// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: enabling, reset and teardown of a VM's part.
 */
#include <linux/kvm_host.h>
#include <linux/moduleparam.h>

#include "internal.h"
#include "cpuid.h"
#include "mmu.h"
#include "mmu/spte.h"
#include "smm.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

EXPORT_TRACEPOINT_SYMBOL_GPL(kvm_pvvas_switch);

/* Off with a delay, as kvm_xen_enabled: VMs come and go. */
DEFINE_STATIC_KEY_DEFERRED_FALSE(kvm_pvvas_enabled, HZ);
EXPORT_SYMBOL_GPL(kvm_pvvas_enabled);

/* Upper bounds of what KVM_ENABLE_CAP may ask for, and the defaults. */
static unsigned int __read_mostly pvvas_max_ctxs = 4096;
module_param(pvvas_max_ctxs, uint, 0444);
static unsigned int __read_mostly pvvas_max_views = 65536;
module_param(pvvas_max_views, uint, 0444);

#define PVVAS_WINDOW_UNIT	BIT_ULL(30)
#define PVVAS_DEFAULT_WINDOW	(8ULL << 40)

/*
 * Wait until every vCPU has left the guest; each flushes all its EPT roots
 * before it enters again.
 */
void pvvas_flush(struct kvm *kvm, const char *why)
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

u32 kvm_pvvas_features(void)
{
	return shadow_present_mask & VMX_EPT_READABLE_MASK ?
	       0 : PVVAS_FEATURE_EXEC_ONLY;
}

bool kvm_pvvas_overlaps_window(struct kvm *kvm, gfn_t gfn, u64 npages)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;

	return pv && gfn < pv->window + pv->window_pages &&
	       gfn + npages > pv->window;
}

static int pvvas_limit(u32 *val, u32 max)
{
	if (!*val)
		*val = max;
	return *val > max ? -EINVAL : 0;
}

static int pvvas_check_config(struct kvm_pvvas_config *c)
{
	u64 limit = 1ULL << min_t(u8, kvm_host.maxphyaddr, PVVAS_GPA_BITS);

	if (c->flags)
		return -EINVAL;

	if (!c->window_gpa)
		c->window_gpa = limit / 2;
	if (!c->window_size && c->window_gpa < limit)
		c->window_size = min(limit - c->window_gpa, PVVAS_DEFAULT_WINDOW);
	if (c->window_gpa >= limit ||
	    !c->window_size || c->window_size > limit - c->window_gpa ||
	    (c->window_gpa | c->window_size) & (PVVAS_WINDOW_UNIT - 1))
		return -EINVAL;

	return pvvas_limit(&c->max_ctxs, pvvas_max_ctxs) ?:
	       pvvas_limit(&c->max_views, pvvas_max_views);
}

static struct kvm_pvvas *pvvas_alloc(const struct kvm_pvvas_config *config)
{
	struct kvm_pvvas *pv = kzalloc(sizeof(*pv), GFP_KERNEL_ACCOUNT);

	if (!pv)
		return NULL;
	mutex_init(&pv->lock);
	pv->config = *config;
	pv->window = gpa_to_gfn(config->window_gpa);
	pv->window_pages = config->window_size >> PAGE_SHIFT;
	pv->next_id = 1;
	xa_init_flags(&pv->ctxs, XA_FLAGS_ACCOUNT);
	xa_init_flags(&pv->views, XA_FLAGS_ACCOUNT);
	return pv;
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

/*
 * Copy a struct of @known bytes that begins with its size, a __u32, as the VMM
 * knows it: @least bytes or more.  What KVM does not know has to be 0.
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
	/* It may have changed since; what was checked counts. */
	*(u32 *)to = size;
	/* -E2BIG of KVM_PVVAS_STATE means that the records do not fit. */
	return r == -E2BIG ? -EINVAL : r;
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
	struct kvm_pvvas_config config;
	struct kvm_pvvas *pv;
	int r;

	if (!kvm_pvvas_check_extension() ||
	    kvm->arch.vm_type != KVM_X86_DEFAULT_VM)
		return -EOPNOTSUPP;
	r = pvvas_copy_struct(&config, sizeof(config), KVM_PVVAS_CONFIG_SIZE_V1,
			      uconfig) ?:
	    pvvas_check_config(&config);
	if (r)
		return r;
	pv = pvvas_alloc(&config);
	if (!pv)
		return -ENOMEM;

	static_branch_deferred_inc(&kvm_pvvas_enabled);
	/* slots_lock: no memslot may appear in the window meanwhile. */
	mutex_lock(&kvm->lock);
	mutex_lock(&kvm->slots_lock);
	if (kvm->created_vcpus)
		r = -EBUSY;
	else if (kvm->arch.pvvas || pvvas_memslots_in_window(kvm, pv))
		r = -EEXIST;
	else
		r = kvm_view_enable(kvm);
	if (!r && copy_to_user(uconfig, &config,
			       min_t(u32, config.size, sizeof(config))))
		r = -EFAULT;
	if (!r)
		kvm->arch.pvvas = pv;
	mutex_unlock(&kvm->slots_lock);
	mutex_unlock(&kvm->lock);

	if (r) {
		static_branch_slow_dec_deferred(&kvm_pvvas_enabled);
		kfree(pv);
	}
	return r;
}

/*
 * Destroy every object; vCPUs go back to the VM's own root.  Also what a guest
 * driver asks for when it starts, since the kernel before it may have left
 * things behind.
 */
void pvvas_reset_locked(struct kvm *kvm)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	struct pvvas_ctx *ctx;
	unsigned long i;

	lockdep_assert_held(&pv->lock);

	xa_for_each(&pv->ctxs, i, ctx)
		pvvas_ctx_free(kvm, ctx);
	kvm_view_zap_all(kvm);
}

/* All vCPUs are gone, or never were. */
void kvm_pvvas_destroy_vm(struct kvm *kvm)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;

	if (!pv)
		return;
	mutex_lock(&pv->lock);
	pvvas_reset_locked(kvm);
	mutex_unlock(&pv->lock);
	WARN_ON_ONCE(kvm->arch.nr_view_roots);
	kvm->arch.pvvas = NULL;
	kfree(pv);
	static_branch_slow_dec_deferred(&kvm_pvvas_enabled);
}

/* INIT and RESET: no context. */
void kvm_pvvas_reset_vcpu(struct kvm_vcpu *vcpu)
{
	if (!vcpu->kvm->arch.pvvas)
		return;
	read_lock(&vcpu->kvm->mmu_lock);
	WRITE_ONCE(vcpu->arch.pvvas.ctx, NULL);
	read_unlock(&vcpu->kvm->mmu_lock);
	kvm_make_request(KVM_REQ_LOAD_MMU_PGD, vcpu);
}

/* At an exit, while the event is on: say so if it is out of another view. */
void kvm_pvvas_trace_switch(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_pvvas *a = &vcpu->arch.pvvas;
	struct pvvas_view *view = NULL;
	u64 id, ctx;

	if (a->loaded)
		view = pvvas_view_get(vcpu, kvm_x86_call(pvvas_eptp)(vcpu));
	id = view ? view->id : 0;
	read_lock(&vcpu->kvm->mmu_lock);
	ctx = a->ctx ? a->ctx->id : 0;
	read_unlock(&vcpu->kvm->mmu_lock);
	if (view)
		pvvas_view_put(vcpu->kvm, view);

	if (id != a->traced_view)
		trace_kvm_pvvas_switch(vcpu->vcpu_id, ctx, a->traced_view, id);
	a->traced_view = id;
}
