// SPDX-License-Identifier: GPL-2.0-only
/* Is there a hypervisor that knows views, and where is its window? */
#define pr_fmt(fmt) "pvvas: " fmt

#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "compat.h"
#include "ept.h"
#include "hv.h"

struct pvvas_hc_info pvvas_hv;
struct pvvas_window pvvas_window;
struct pvvas_identity *pvvas_identity;

#ifdef PVVAS_INJECT
static int inject;
module_param(inject, int, 0644);
MODULE_PARM_DESC(inject, "fail the n-th hypercall, or page for a table, from now on (0: none)");

static int inject_more;
module_param(inject_more, int, 0644);
MODULE_PARM_DESC(inject_more, "then, fail so many more");

static int inject_view_error = ENOMEM;
module_param(inject_view_error, int, 0644);
MODULE_PARM_DESC(inject_view_error, "with which error, where a view is to be made");

static unsigned int inject_view_bits = PVVAS_VIEW_BITS;
module_param(inject_view_bits, uint, 0444);
MODULE_PARM_DESC(inject_view_bits, "physical address bits that views are to reach");

static atomic_t inject_atomic;

static int inject_atomic_set(const char *val, const struct kernel_param *kp)
{
	int n, ret = kstrtoint(val, 0, &n);

	if (!ret)
		atomic_set(&inject_atomic, n);
	return ret;
}

static const struct kernel_param_ops inject_atomic_ops = {
	.set = inject_atomic_set,
};
module_param_cb(inject_atomic, &inject_atomic_ops, NULL, 0200);
MODULE_PARM_DESC(inject_atomic, "fail so many pages for tables where nothing may sleep");

/* A lock that keeps a call from sleeping is no reason: that is tried again. */
bool pvvas_inject_table(gfp_t gfp)
{
	return pvvas_inject() ||
	       (!gfpflags_allow_blocking(gfp) &&
		!preemptible() &&
		atomic_dec_if_positive(&inject_atomic) >= 0);
}

long pvvas_inject_no_view(void)
{
	return -READ_ONCE(inject_view_error);
}

bool pvvas_inject(void)
{
	int n = READ_ONCE(inject), more = READ_ONCE(inject_more);

	if (n <= 0)
		return false;
	if (n == 1 && more > 0)
		return cmpxchg(&inject_more, more, more - 1) == more;
	return cmpxchg(&inject, n, n - 1) == n && n == 1;
}
#endif

static bool pvvas_hv_offered(void)
{
	u32 base, leaf;

	if (!kvm_para_available())
		return false;
	base = hypervisor_cpuid_base("KVMKVMKVM\0\0\0", 0);
	leaf = base + (KVM_CPUID_PVVAS - KVM_CPUID_SIGNATURE);
	return base && cpuid_eax(base) >= leaf &&
	       cpuid_ecx(leaf) == PVVAS_CPUID_ECX &&
	       cpuid_edx(leaf) == PVVAS_CPUID_EDX;
}

static bool pvvas_hv_sane(const struct pvvas_hc_info *info)
{
	return info->version == PVVAS_ABI_VERSION && info->slots >= 2 &&
	       info->window_gpa && info->window_size &&
	       IS_ALIGNED(info->window_gpa | info->window_size, PUD_SIZE) &&
	       info->window_gpa + info->window_size > info->window_gpa;
}

/* What can be used of the window; false if there is no room for segments. */
static bool pvvas_hv_fit(const struct pvvas_hc_info *info)
{
	u64 reach = BIT_ULL(min_t(u32, boot_cpu_data.x86_phys_bits,
				  PVVAS_VIEW_BITS));
	u64 end = min(info->window_gpa + info->window_size, reach);
	u64 first = info->window_gpa + PVVAS_WINDOW_RESERVED;
	u64 whole = ALIGN(first, PVVAS_TOP_SIZE);
	u64 most = TASK_SIZE_MAX - PVVAS_WINDOW_FIRST;

	if (whole < ALIGN_DOWN(end, PVVAS_TOP_SIZE)) {
		first = whole;
		end = ALIGN_DOWN(end, PVVAS_TOP_SIZE);
	} else {
		end = min(end, whole);
	}
	if (first >= end)
		return false;
	pvvas_window.base = info->window_gpa;
	pvvas_window.ladder = first - info->window_gpa == PVVAS_TOP_SIZE;
	pvvas_window.identity = info->window_gpa +
				(pvvas_window.ladder ? PVVAS_LADDER : 0);
	pvvas_window.first = first;
	pvvas_window.end = min(end, first + ALIGN_DOWN(most, PVVAS_TOP_SIZE));
	pvvas_window.size = PVVAS_WINDOW_RESERVED +
			    (pvvas_window.end - pvvas_window.first);
	return true;
}

static unsigned int pvvas_hv_view_bits(void)
{
#ifdef PVVAS_INJECT
	return inject_view_bits;
#else
	return PVVAS_VIEW_BITS;
#endif
}

/* Views have four levels: what lies beyond them no view shows. */
static bool pvvas_hv_reaches_all(void)
{
	u64 end = BIT_ULL(pvvas_hv_view_bits());
	u64 all = BIT_ULL(boot_cpu_data.x86_phys_bits);

	return all <= end ||
	       region_intersects(end, all - end, IORESOURCE_MEM,
				 IORES_DESC_NONE) == REGION_DISJOINT;
}

static int pvvas_hv_info(void)
{
	struct pvvas_hc_info *info = kzalloc(sizeof(*info), GFP_KERNEL);
	long ret;

	if (!info)
		return -ENOMEM;
	ret = pvvas_hc_info(info);
	pvvas_hv = *info;
	kfree(info);
	if (ret < 0) {
		pr_info("not loaded: the hypervisor answers %ld\n", ret);
		return -ENODEV;
	}
	if (!pvvas_hv_sane(&pvvas_hv)) {
		pr_info("not loaded: version %u of the hypervisor is not understood\n",
			pvvas_hv.version);
		return -ENODEV;
	}
	if (pvvas_hv.slots > PVVAS_NR_SLOTS)
		pvvas_hv.slots = PVVAS_NR_SLOTS;
	return 0;
}

int pvvas_hv_probe(void)
{
	long ret;

	if (!pvvas_hv_offered()) {
		pr_info("not loaded: this hypervisor offers no views (is kvm-pvvas=on set?)\n");
		return -ENODEV;
	}
	ret = pvvas_hv_info();
	if (ret)
		return ret;
	if (!pvvas_hv_fit(&pvvas_hv)) {
		pr_info("not loaded: a window of %llu GiB at guest-physical 0x%llx is too small or beyond the CPU's addresses\n",
			pvvas_hv.window_size >> 30, pvvas_hv.window_gpa);
		return -ENODEV;
	}
	if (!pvvas_hv_reaches_all()) {
		pr_info("not loaded: views do not reach memory or devices beyond 2^%u\n",
			pvvas_hv_view_bits());
		return -ENODEV;
	}

	/* A kernel that was here before (kexec) may have left objects. */
	ret = pvvas_hc_reset();
	if (ret < 0) {
		pr_info("not loaded: the hypervisor keeps old objects (%ld)\n",
			ret);
		return -ENODEV;
	}

	ret = pvvas_tables_init();
	if (ret)
		return ret;
	ret = pvvas_views_init();
	if (ret) {
		pvvas_tables_exit();
		return ret;
	}
	pvvas_identity = memremap(pvvas_window.identity, PAGE_SIZE, MEMREMAP_WB);
	if (pvvas_identity)
		return 0;
	pvvas_views_exit();
	pvvas_tables_exit();
	return -ENOMEM;
}

void pvvas_hv_remove(void)
{
	memunmap(pvvas_identity);
	/* All objects are gone already; the next driver does it again. */
	pvvas_hc_reset();
	pvvas_views_exit();
	pvvas_tables_exit();
}
