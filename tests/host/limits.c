// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limits: each has an error of its own, and what is within it goes on working.
 */
#include <errno.h>

#include "vm.h"

#define SIZE		(2 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)

static long try_view(struct vcpu *v, uint64_t ctx)
{
	return vcpu_hc4(v, PVVAS_HC_VIEW_CREATE, ctx, 0,
			(uint64_t)root_new(v->vm), 0);
}

static void contexts_and_views_stop_at_what_the_vmm_allows(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c), .max_ctxs = 3,
				      .max_views = 4 };
	struct vm *vm = vm_new_config(1, &c);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t ctx[3], *plain = root_new(vm);
	long view[4];
	int i;

	for (i = 0; i < 3; i++)
		ctx[i] = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, plain, 0, 0);
	check_eq(vcpu_hc(v, PVVAS_HC_CTX_CREATE, (uint64_t)plain, 0, 0), -ENOSPC);
	for (i = 0; i < 4; i++) {
		view[i] = try_view(v, ctx[i % 3]);
		check(view[i] > 0);
	}
	check_eq(try_view(v, ctx[0]), -ENOSPC);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_DESTROY, view[2], 0, 0);
	check(try_view(v, ctx[1]) > 0);
	check_eq(try_view(v, ctx[1]), -ENOSPC);
	vcpu_hc_ok(v, PVVAS_HC_CTX_DESTROY, ctx[1], 0, 0);
	check(vcpu_hc(v, PVVAS_HC_CTX_CREATE, (uint64_t)plain, 0, 0) > 0);
	check(try_view(v, ctx[0]) > 0);
	vm_free(vm);
}

/* Half of KVM's tables may be pinned; then the guest still runs. */
static void roots_leave_room_for_tables(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	struct scene s = { 0 };
	uint64_t n = 0, i;
	long r;

	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 100);
	scene_make(&s, vm, SIZE, 2);
	for (;;) {
		r = try_view(v, s.ctx);
		if (r < 0)
			break;
		n++;
	}
	check_eq(r, -ENOSPC);
	/* the two of the scene and the plain one are pinned too */
	check_eq(n, 50 - 3);
	/* the VMM takes no more than that away */
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 64);
	vcpu_vmfunc(v, 1);
	for (i = 0; i < 512; i++) {
		s.ram[i * 512] = i;
		check_eq(vcpu_peek(v, AT(i)), i);
	}
	/* contexts of one plain view share its root */
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 102);
	for (i = 0; i < 10; i++)
		check(vcpu_hc(v, PVVAS_HC_CTX_CREATE,
			      (uint64_t)view_root(s.view[0]), 0, 0) > 0);
	vm_free(vm);
}

/* More roots than the VMM allows tables from now on. */
static void roots_keep_their_room_when_the_vmm_takes_tables_away(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	struct scene s = { 0 };
	uint64_t i;

	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 300);
	scene_make(&s, vm, SIZE, 2);
	for (i = 0; i < 90; i++)
		check(try_view(v, s.ctx) > 0);
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 64);
	vcpu_vmfunc(v, 1);
	for (i = 0; i < 512; i++) {
		s.ram[i * 512] = i;
		check_eq(vcpu_peek(v, AT(i)), i);
	}
	vm_free(vm);
}

static uint32_t told_views(struct vcpu *v)
{
	struct pvvas_hc_info *info = vm_shared(PAGE);

	vcpu_hc_ok(v, PVVAS_HC_INFO, info, sizeof(*info), 0);
	return info->max_views;
}

/* The VMM's limit, or what KVM has roots for, whichever is less. */
static void a_guest_is_told_how_many_views_it_can_have(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c), .max_views = 120 };
	struct vm *vm = vm_new_config(1, &c);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t ctx, n;

	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 1000);
	check_eq(told_views(v), 120);
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 100);
	check_eq(told_views(v), 49);
	ctx = ctx_new(v);
	for (n = 0; try_view(v, ctx) > 0; n++)
		;
	check_eq(n, 49);
	check_eq(told_views(v), 49);
	vm_free(vm);
}

/* More tables than KVM keeps: the oldest go, and come back. */
static void tables_beyond_the_limit_are_dropped_and_come_back(void)
{
	const uint64_t parts = 300;
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t ctx, view, seg, i, round, *ram;

	ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, SIZE, 0);
	for (i = 0; i < 512; i++)
		ram[i * 512] = i;
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 100);
	ctx = ctx_new(v);
	view = view_new(v, ctx, 1, 0);
	seg = seg_new(vm, WINDOW_FREE, parts * 2 * MIB, SEG_SMALL);
	for (i = 0; i < parts; i++)
		seg_map(v, seg, i * 2 * MIB, TEST_GPA + i * PAGE, PAGE, 3);
	view_attach(v, view, seg, 3);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	vcpu_vmfunc(v, 1);
	for (round = 0; round < 3; round++)
		for (i = 0; i < parts; i++)
			check_eq(vcpu_peek(v, WINDOW_FREE + i * 2 * MIB), i);
	check(kvm_stat_of(vm->fd, "mmu_recycled") > parts);
	check_eq(vcpu_view(v), view);
	vm_free(vm);
}

static uint64_t shadow_pages(struct vcpu *v)
{
	struct pvvas_hc_stats s;

	vcpu_stats(v, &s);
	return s.shadow_pages;
}

/* Whether or not the guest invalidates the table. */
static void a_destroyed_view_gives_its_root_back(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t ctx = ctx_new(v), before, i;
	long view;

	before = shadow_pages(v);
	for (i = 0; i < 20; i++) {
		view = try_view(v, ctx);
		check(view > 0);
		check_eq(shadow_pages(v), before + 1);
		vcpu_hc_ok(v, PVVAS_HC_VIEW_DESTROY, view, 0, 0);
		check_eq(shadow_pages(v), before);
	}
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(contexts_and_views_stop_at_what_the_vmm_allows),
	CASE(roots_leave_room_for_tables),
	CASE(roots_keep_their_room_when_the_vmm_takes_tables_away),
	CASE(a_guest_is_told_how_many_views_it_can_have),
	CASE(tables_beyond_the_limit_are_dropped_and_come_back),
	CASE(a_destroyed_view_gives_its_root_back),
};

HOSTCASE_MAIN(cases)
