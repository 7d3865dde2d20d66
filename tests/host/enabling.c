// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_ENABLE_CAP(KVM_CAP_PVVAS): when it may come, and what it may say.
 */
#include <errno.h>
#include <string.h>

#include "vm.h"

#define WINDOW_UNIT	(1ULL << 30)
#define WINDOW		(512 * WINDOW_UNIT)

static struct kvm_pvvas_config config;

/* A fresh VM each time: what becomes of it with this config? */
static int try_config(const struct kvm_pvvas_config *c)
{
	struct kvm_pvvas_config copy = *c;
	struct vm *vm = vm_bare();
	int r = vm_enable_pvvas(vm, &copy);

	if (r)
		check(!memcmp(c, &copy, sizeof(copy)));
	config = copy;
	vm_free(vm);
	return r;
}

#define REFUSED(...) \
	check_eq(try_config(&(struct kvm_pvvas_config){ \
		 .size = sizeof(config), __VA_ARGS__ }), -EINVAL)
#define TAKEN(...) \
	check_eq(try_config(&(struct kvm_pvvas_config){ \
		 .size = sizeof(config), __VA_ARGS__ }), 0)

static uint64_t address_limit(void)
{
	struct vm *vm = vm_bare();
	uint64_t limit = 0;
	uint32_t i;

	for (i = 0; i < vm->cpuid->nent; i++)
		if (vm->cpuid->entries[i].function == 0x80000008)
			limit = 1ULL << (vm->cpuid->entries[i].eax & 0xff);
	vm_free(vm);
	check(limit);
	return limit < 1ULL << 48 ? limit : 1ULL << 48;
}

static uint64_t parameter(const char *name)
{
	long long n = host_number("/sys/module/kvm/parameters/%s", name);

	check(n > 0);
	return n;
}

static void the_extension_answers_with_the_abi_version(void)
{
	struct vm *vm = vm_bare();

	check_eq(vm_ioctl(vm->kvm, KVM_CHECK_EXTENSION, KVM_CAP_PVVAS),
		 PVVAS_ABI_VERSION);
	check_eq(vm_ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_PVVAS),
		 PVVAS_ABI_VERSION);
	vm_free(vm);
}

static void defaults_come_back_filled(void)
{
	TAKEN();
	check_eq(config.window_gpa, address_limit() / 2);
	check(config.window_size >= WINDOW_UNIT);
	check_eq(config.window_size % WINDOW_UNIT, 0);
	check(config.window_size <= address_limit() - config.window_gpa);
	check_eq(config.max_ctxs, parameter("pvvas_max_ctxs"));
	check_eq(config.max_views, parameter("pvvas_max_views"));
}

static void bad_sizes_and_flags_are_refused(void)
{
	struct kvm_pvvas_config c = { 0 };
	uint32_t bit;

	c.size = 0;
	check_eq(try_config(&c), -EINVAL);
	c.size = sizeof(c) - 1;
	check_eq(try_config(&c), -EINVAL);
	for (bit = 0; bit < 32; bit += 5)
		REFUSED(.flags = 1U << bit);
	REFUSED(.pad = 1);
}

static void bad_windows_are_refused(void)
{
	uint64_t limit = address_limit();

	REFUSED(.window_gpa = 1);
	REFUSED(.window_gpa = WINDOW_UNIT / 2);
	REFUSED(.window_gpa = WINDOW_UNIT + PAGE);
	REFUSED(.window_gpa = limit);
	REFUSED(.window_gpa = limit * 2);
	REFUSED(.window_gpa = ~0ULL);
	REFUSED(.window_size = 1);
	REFUSED(.window_size = WINDOW_UNIT + PAGE);
	REFUSED(.window_size = limit);
	REFUSED(.window_size = ~0ULL << 30);
	REFUSED(.window_gpa = 8 * WINDOW_UNIT, .window_size = limit);
	TAKEN(.window_gpa = 8 * WINDOW_UNIT, .window_size = WINDOW_UNIT);
	TAKEN(.window_gpa = limit - WINDOW_UNIT, .window_size = WINDOW_UNIT);
}

static void limits_above_the_module_parameters_are_refused(void)
{
	REFUSED(.max_ctxs = parameter("pvvas_max_ctxs") + 1);
	REFUSED(.max_views = parameter("pvvas_max_views") + 1);
	TAKEN(.max_ctxs = 3, .max_views = 4);
	check_eq(config.max_ctxs, 3);
	check_eq(config.max_views, 4);
}

static void arguments_and_flags_of_the_call_are_checked(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	struct vm *vm = vm_bare();
	struct kvm_enable_cap cap;
	int i;

	for (i = 1; i < 4; i++) {
		cap = (struct kvm_enable_cap){ .cap = KVM_CAP_PVVAS,
					       .args[0] = (uint64_t)&c };
		cap.args[i] = 1;
		check_eq(__vm_ioctl(vm->fd, KVM_ENABLE_CAP, (uint64_t)&cap),
			 -EINVAL);
	}
	cap.args[3] = 0;
	cap.flags = 1;
	check_eq(__vm_ioctl(vm->fd, KVM_ENABLE_CAP, (uint64_t)&cap), -EINVAL);
	cap.flags = 0;
	cap.args[0] = 1;
	check_eq(__vm_ioctl(vm->fd, KVM_ENABLE_CAP, (uint64_t)&cap), -EFAULT);
	vm_free(vm);
}

/* The answer cannot be written: nothing may have been enabled. */
static void a_config_that_cannot_be_filled_enables_nothing(void)
{
	static const struct kvm_pvvas_config constant = {
		.size = sizeof(constant)
	};
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	struct kvm_enable_cap cap = { .cap = KVM_CAP_PVVAS,
				      .args[0] = (uint64_t)&constant };
	struct vm *vm = vm_bare();

	check_eq(__vm_ioctl(vm->fd, KVM_ENABLE_CAP, (uint64_t)&cap), -EFAULT);
	check_eq(vm_enable_pvvas(vm, &c), 0);
	vm_free(vm);
}

static void too_late_is_busy_and_twice_is_there_already(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	struct kvm_enable_cap cap = { .cap = KVM_CAP_PVVAS,
				      .args[0] = (uint64_t)&c };
	struct vm *vm = vm_bare();
	struct vcpu *v = vm_add_vcpu(vm);

	check_eq(vm_enable_pvvas(vm, &c), -EBUSY);
	check_eq(vcpu_hc(v, PVVAS_HC_INFO, 0, 0, 0), -1000);
	check_eq(__vm_ioctl(v->fd, KVM_ENABLE_CAP, (uint64_t)&cap), -EINVAL);
	vm_free(vm);

	vm = vm_bare();
	check_eq(vm_enable_pvvas(vm, &c), 0);
	check_eq(vm_enable_pvvas(vm, &c), -EEXIST);
	v = vm_add_vcpu(vm);
	check_eq(vm_enable_pvvas(vm, &c), -EBUSY);
	ctx_new(v);
	vm_free(vm);
}

static void memslots_and_the_window_exclude_each_other(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c),
				      .window_gpa = 512 * WINDOW_UNIT,
				      .window_size = 512 * WINDOW_UNIT };
	struct kvm_userspace_memory_region r = {
		.slot = FIRST_TEST_SLOT, .memory_size = 2 * MIB,
		.userspace_addr = (uint64_t)vm_mem(2 * MIB),
	};
	static const uint64_t inside[] = {
		WINDOW, WINDOW - MIB, WINDOW + 5 * GIB,
		2 * WINDOW - 2 * MIB, 2 * WINDOW - MIB,
	};
	struct vm *vm = vm_bare();
	size_t i;

	r.guest_phys_addr = WINDOW + GIB;
	vm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r);
	check_eq(vm_enable_pvvas(vm, &c), -EEXIST);
	vm_free(vm);

	vm = vm_bare();
	check_eq(vm_enable_pvvas(vm, &c), 0);
	for (i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
		r.guest_phys_addr = inside[i];
		check_eq(__vm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION,
				    (uint64_t)&r), -EINVAL);
	}
	r.guest_phys_addr = WINDOW - 2 * MIB;
	vm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r);
	/* A slot may not be moved there either. */
	r.guest_phys_addr = WINDOW;
	check_eq(__vm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, (uint64_t)&r),
		 -EINVAL);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(the_extension_answers_with_the_abi_version),
	CASE(defaults_come_back_filled),
	CASE(bad_sizes_and_flags_are_refused),
	CASE(bad_windows_are_refused),
	CASE(limits_above_the_module_parameters_are_refused),
	CASE(arguments_and_flags_of_the_call_are_checked),
	CASE(a_config_that_cannot_be_filled_enables_nothing),
	CASE(too_late_is_busy_and_twice_is_there_already),
	CASE(memslots_and_the_window_exclude_each_other),
};

HOSTCASE_MAIN(cases)
