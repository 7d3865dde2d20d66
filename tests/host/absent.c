// SPDX-License-Identifier: GPL-2.0-only
/*
 * The feature absent: stock KVM, a VM that did not ask, a vCPU that may not.
 */
#include <errno.h>
#include <string.h>

#include "vm.h"

#define KVM_ENOSYS	1000
#define UD_VECTOR	6
#define LEAF_SIGNATURE	0x40000000

static uint64_t guest_vmfunc(uint64_t eax, uint64_t ecx)
{
	return try_vmfunc(eax, ecx);
}

/* Every number of the range, at CPL 0 and 3. */
static void no_hypercalls(struct vcpu *v)
{
	uint64_t nr;

	for (nr = PVVAS_HC_BASE; nr <= PVVAS_HC_LAST + 0x10; nr++)
		check_eq(vcpu_hc(v, nr, 0, 0, 0), -KVM_ENOSYS);
	v->user = true;
	check_eq(vcpu_hc(v, PVVAS_HC_INFO, 0, 0, 0), -EPERM);
	check_eq(vcpu_hc(v, PVVAS_HC_CTX_CREATE, 0, 0, 0), -EPERM);
	v->user = false;
}

static void no_vmfunc(struct vcpu *v)
{
	static const uint64_t eax[] = { 0, 1, 2, 63, 64, ~0ULL };
	static const uint64_t ecx[] = { 0, 1, 511, 512, 1ULL << 32, ~0ULL };
	size_t i, j;

	for (i = 0; i < sizeof(eax) / sizeof(eax[0]); i++)
		for (j = 0; j < sizeof(ecx) / sizeof(ecx[0]); j++) {
			check_eq(vcpu_call(v, guest_vmfunc, eax[i], ecx[j]),
				 UD_VECTOR);
			check_eq(vcpu_user(v, guest_vmfunc, eax[i], ecx[j]),
				 UD_VECTOR);
		}
}

static struct kvm_cpuid_entry2 *leaf(struct vm *vm, uint32_t function)
{
	uint32_t i;

	for (i = 0; i < vm->cpuid->nent; i++)
		if (vm->cpuid->entries[i].function == function)
			return &vm->cpuid->entries[i];
	host_fail(__FILE__, __LINE__, "no CPUID leaf %#x", function);
}

static void a_vm_that_did_not_ask_has_no_hypercalls_and_no_vmfunc(void)
{
	struct vm *vm = vm_bare();
	struct vcpu *v = vm_add_vcpu(vm);

	no_hypercalls(v);
	no_vmfunc(v);
	vm_free(vm);
}

static void memory_may_lie_where_other_vms_have_their_window(void)
{
	struct vm *vm = vm_bare();
	struct vcpu *v = vm_add_vcpu(vm);

	vm_ram(vm, FIRST_TEST_SLOT, 1ULL << 39, 2 * MIB, 0);
	check_eq(vcpu_hc(v, PVVAS_HC_INFO, 0, 0, 0), -KVM_ENOSYS);
	vm_free(vm);
}

/* Run with stock modules. */
static void stock_kvm_knows_no_views(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	struct vm *vm = vm_bare();
	struct vcpu *v;

	check_eq(vm_ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_PVVAS), 0);
	check_eq(vm_enable_pvvas(vm, &c), -EINVAL);
	check(leaf(vm, LEAF_SIGNATURE)->eax < KVM_CPUID_PVVAS);
	v = vm_add_vcpu(vm);
	no_hypercalls(v);
	no_vmfunc(v);
	vm_free(vm);
}

static void views_unused_leave_vmfunc_undefined(void)
{
	struct vm *vm = vm_new(1);

	no_vmfunc(&vm->vcpus[0]);
	vm_free(vm);
}

static void a_context_that_is_not_loaded_leaves_vmfunc_undefined(void)
{
	struct vm *vm = vm_new(1);

	ctx_new(&vm->vcpus[0]);
	no_vmfunc(&vm->vcpus[0]);
	vm_free(vm);
}

static void after_a_reset_vmfunc_is_undefined_again(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];

	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx_new(v), 0, 0);
	vcpu_vmfunc(v, 0);
	vcpu_hc_ok(v, PVVAS_HC_RESET, 0, 0, 0);
	no_vmfunc(v);
	vm_free(vm);
}

/* KVM gives a guest everything unless the VMM enforces what CPUID says. */
static void a_vcpu_without_the_cpuid_leaf_has_no_hypercalls(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	struct kvm_enable_cap cap = { .args[0] = 1,
		.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID };
	struct vm *vm = vm_bare();
	struct pvvas_hc_info *info = vm_shared(PAGE);
	struct vcpu *v;

	check_eq(vm_enable_pvvas(vm, &c), 0);
	v = vm_add_vcpu(vm);
	vm_ioctl(v->fd, KVM_ENABLE_CAP, &cap);
	no_hypercalls(v);
	no_vmfunc(v);
	vm->cpuid->entries[vm->cpuid->nent++] = (struct kvm_cpuid_entry2){
		.function = KVM_CPUID_PVVAS, .eax = PVVAS_ABI_VERSION,
		.ebx = c.features, .ecx = PVVAS_CPUID_ECX,
		.edx = PVVAS_CPUID_EDX,
	};
	v = vm_add_vcpu(vm);
	vm_ioctl(v->fd, KVM_ENABLE_CAP, &cap);
	vcpu_hc_ok(v, PVVAS_HC_INFO, (uint64_t)info, sizeof(*info), 0);
	check_eq(info->features, c.features);
	vm_free(vm);
}

/* What VMMs show all their guests does not depend on it. */
static void kvm_reports_no_cpuid_leaf_of_views(void)
{
	struct vm *vm = vm_bare();

	check(leaf(vm, LEAF_SIGNATURE)->eax < KVM_CPUID_PVVAS);
	vm_free(vm);
}

static void a_vcpu_with_vmx_is_refused(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	struct vm *vm = vm_bare();
	struct vcpu *plain, *nested;
	uint64_t ctx;

	check_eq(vm_enable_pvvas(vm, &c), 0);
	plain = vm_add_vcpu(vm);
	leaf(vm, 1)->ecx |= 1U << 5;
	nested = vm_add_vcpu(vm);
	check_eq(vcpu_hc(nested, PVVAS_HC_INFO, 0, 0, 0), -EOPNOTSUPP);
	check_eq(vcpu_hc(nested, PVVAS_HC_CTX_CREATE, (uint64_t)root_new(vm), 0, 0),
		 -EOPNOTSUPP);
	no_vmfunc(nested);

	/* Not even when another vCPU of the VM has made views. */
	ctx = ctx_new(plain);
	vcpu_hc_ok(plain, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	check_eq(vcpu_view(plain), 0);
	check_eq(vcpu_hc(nested, PVVAS_HC_CTX_LOAD, ctx, 0, 0), -EOPNOTSUPP);
	no_vmfunc(nested);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(a_vm_that_did_not_ask_has_no_hypercalls_and_no_vmfunc),
	CASE(memory_may_lie_where_other_vms_have_their_window),
	CASE(views_unused_leave_vmfunc_undefined),
	CASE(a_context_that_is_not_loaded_leaves_vmfunc_undefined),
	CASE(after_a_reset_vmfunc_is_undefined_again),
	CASE(a_vcpu_without_the_cpuid_leaf_has_no_hypercalls),
	CASE(kvm_reports_no_cpuid_leaf_of_views),
	CASE(a_vcpu_with_vmx_is_refused),
	CASE_ONLY_NAMED(stock_kvm_knows_no_views),
};

HOSTCASE_MAIN(cases)
