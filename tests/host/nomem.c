// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each allocation of the views' code fails once: the call that needed it says
 * -ENOMEM, has changed nothing, and succeeds the next time. Needs modules that
 * can do that (kvm.pvvas_fail_at, tests/flushes/mutate); for make test-hooks.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

#define SIZE		(4 * MIB)
#define PARAMETER	"/sys/module/kvm/parameters/pvvas_fail_at"
#define MAX_RECORDS	64

static const char * const objects[] = { "pvvas_ctxs", "pvvas_views" };
#define NR_OBJECTS	(sizeof(objects) / sizeof(objects[0]))

static struct vm *vm;
static struct vcpu *v;
static uint64_t failed;

static void fail_at(uint64_t n)
{
	host_put(PARAMETER, "%lu", n);
}

static void note_objects(uint64_t *n)
{
	size_t i;

	for (i = 0; i < NR_OBJECTS; i++)
		n[i] = kvm_stat_of(vm->fd, objects[i]);
}

/* Where KVM_RUN fails for want of memory, it goes on when it is called again. */
static uint64_t run(void *fn, uint64_t a, uint64_t b)
{
	const uint64_t args[4] = { a, b };
	uint64_t ret;
	int r;

	vcpu_prepare(v, (guest_fn)fn, args);
	r = vcpu_run_once(v);
	if (r == -ENOMEM) {
		failed++;
		r = vcpu_run_once(v);
	}
	check_eq(r, 0);
	if (!vcpu_done(v, &ret))
		vcpu_unexpected(v);
	return ret;
}

static uint64_t guest_call(const uint64_t *a)
{
	return __hc4(a[0], a[1], a[2], a[3], a[4]);
}

/* Twice if there was no memory the first time. */
static long call(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	uint64_t before[NR_OBJECTS], after[NR_OBJECTS];
	static uint64_t *args;
	long r;

	if (!args)
		args = vm_shared(PAGE);
	memcpy(args, (uint64_t[]){ nr, a, b, c, d }, 5 * sizeof(*args));
	note_objects(before);
	r = run(guest_call, (uint64_t)args, 0);
	if (r == -ENOMEM) {
		failed++;
		note_objects(after);
		check(!memcmp(before, after, sizeof(before)));
		r = run(guest_call, (uint64_t)args, 0);
	}
	if (r < 0)
		host_fail(__FILE__, __LINE__, "hypercall %#lx: %ld", nr, r);
	return r;
}

static uint64_t guest_poke(uint64_t va, uint64_t val)
{
	*(volatile uint64_t *)va = val;
	return *(volatile uint64_t *)va;
}

static void poke(uint64_t va, uint64_t val)
{
	check_eq(run(guest_poke, va, val), val);
}

static uint64_t guest_vmfunc(uint64_t slot)
{
	vmfunc(0, slot);
	return slot;
}

static void enter(uint64_t slot)
{
	check_eq(run(guest_vmfunc, slot, 0), slot);
}

static void save_and_restore(void)
{
	static struct kvm_pvvas_record rec[MAX_RECORDS];
	struct kvm_pvvas_state st = { .size = sizeof(st), .op = KVM_PVVAS_GET,
		.records = (uint64_t)rec, .nr = MAX_RECORDS };
	uint64_t had, has;
	long r;

	r = __vm_ioctl(vm->fd, KVM_PVVAS_STATE, (uint64_t)&st);
	if (r == -ENOMEM) {
		failed++;
		r = __vm_ioctl(vm->fd, KVM_PVVAS_STATE, (uint64_t)&st);
	}
	check_eq(r, 0);
	st.op = KVM_PVVAS_SET;
	had = kvm_stat_of(vm->fd, "pvvas_ctxs");
	r = __vm_ioctl(vm->fd, KVM_PVVAS_STATE, (uint64_t)&st);
	if (r == -ENOMEM) {
		failed++;
		/* there was no copy of the records, or not all of their objects */
		has = kvm_stat_of(vm->fd, "pvvas_ctxs");
		check(has == 0 || has == had);
		r = __vm_ioctl(vm->fd, KVM_PVVAS_STATE, (uint64_t)&st);
	}
	check_eq(r, 0);
}

/* Some of everything. */
static void scenario(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	uint64_t ctx, *root[2], *entry, *ram, i;
	long r;

	vm = vm_bare();
	r = vm_enable_pvvas(vm, &c);
	if (r == -ENOMEM) {
		failed++;
		r = vm_enable_pvvas(vm, &c);
	}
	check_eq(r, 0);
	v = vm_add_vcpu(vm);
	ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, SIZE, 0);
	ctx = call(PVVAS_HC_CTX_CREATE, (uint64_t)root_new(vm), 0, 0, 0);
	for (i = 0; i < 2; i++) {
		root[i] = root_new(vm);
		entry = root_2mib(vm, root[i], WINDOW_FREE);
		*entry = TEST_GPA | PVVAS_PROT_READ | PVVAS_PROT_WRITE |
			 PVVAS_EPT_WB | PVVAS_EPT_LARGE;
		call(PVVAS_HC_VIEW_CREATE, ctx, i + 1, (uint64_t)root[i], i);
	}
	call(PVVAS_HC_CTX_LOAD, ctx, 0, 0, 0);
	enter(1);
	poke(WINDOW_FREE, 1);
	/* other memory in its place */
	entry = root_2mib(vm, root[0], WINDOW_FREE);
	*entry += 2 * MIB;
	call(PVVAS_HC_INVALIDATE, (uint64_t)entry & ~(PAGE - 1),
	     ((uint64_t)entry & (PAGE - 1)) / 8, 1, 0);
	poke(WINDOW_FREE + PAGE, 2);
	save_and_restore();
	enter(2);
	poke(WINDOW_FREE + PAGE, 3);
	check_eq(ram[0], 1);
	check_eq(ram[PAGE / 8], 3);
	check_eq(ram[(2 * MIB + PAGE) / 8], 2);
	vm_free(vm);
	munmap(ram, SIZE);
	for (i = 0; i < NR_OBJECTS; i++)
		check_eq(host_kvm_counter(objects[i]), 0);
}

static void every_allocation_may_fail(void)
{
	uint64_t n;

	if (access(PARAMETER, W_OK))
		host_skip("these modules cannot let allocations fail");
	for (n = 1;; n++) {
		failed = 0;
		fail_at(n);
		scenario();
		if (host_number(PARAMETER) > 0)
			break;
		check_eq(failed, 1);
	}
	fail_at(0);
	check_eq(failed, 0);
	host_note("%lu allocations failed, one at a time", n - 1);
	check(n > 40);
}

static const struct hostcase cases[] = {
	CASE(every_allocation_may_fail),
};

HOSTCASE_MAIN(cases)
