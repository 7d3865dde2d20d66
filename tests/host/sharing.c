// SPDX-License-Identifier: GPL-2.0-only
/*
 * What views share: pages faulted in once, tables linked rather than copied,
 * large leaves.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vm.h"

#define PF_VECTOR	14

/* Read @n pages @step apart; with @write also write to them. */
static uint64_t guest_touch(uint64_t va, uint64_t n, uint64_t step,
			    uint64_t write)
{
	uint64_t i, sum = 0;

	for (i = 0; i < n; i++) {
		volatile uint64_t *p = (uint64_t *)(va + i * step);

		if (write)
			*p = va + i;
		sum += *p;
	}
	return sum;
}

static uint64_t window_faults(struct vcpu *v)
{
	struct pvvas_hc_stats s;

	vcpu_stats(v, &s);
	return s.window_faults;
}

static uint64_t tables(struct vcpu *v)
{
	struct pvvas_hc_stats s;

	vcpu_stats(v, &s);
	return s.tables;
}

static void a_page_faulted_in_by_one_view_does_not_fault_in_another(void)
{
	struct vm *vm = vm_new(2);
	struct scene s;
	uint64_t before;
	int i;

	scene_make(&s, vm, 4 * MIB, 4);
	for (i = 1; i <= 4; i++) {
		vcpu_vmfunc(s.v, i);
		vcpu_view(s.v);	/* shows the identity page */
	}
	vcpu_vmfunc(s.v, 1);
	before = window_faults(s.v);
	vcpu_user(s.v, guest_touch, WINDOW_FREE, 64, 16 * PAGE, 1);
	check_eq(window_faults(s.v), before + 64);
	for (i = 2; i <= 4; i++) {
		vcpu_vmfunc(s.v, i);
		vcpu_user(s.v, guest_touch, WINDOW_FREE, 64, 16 * PAGE, 1);
	}
	/* another vCPU, another view */
	vcpu_hc_ok(&vm->vcpus[1], PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
	vcpu_vmfunc(&vm->vcpus[1], 3);
	vcpu_user(&vm->vcpus[1], guest_touch, WINDOW_FREE, 64, 16 * PAGE, 1);
	check_eq(window_faults(s.v), before + 64);
	vm_free(vm);
}

/* Reading first costs no second fault for the write, if it is allowed. */
static void a_read_fault_makes_the_page_writable_too(void)
{
	struct vm *vm = vm_new(1);
	struct scene s;
	uint64_t before;

	scene_make(&s, vm, 2 * MIB, 2);
	memset(s.ram, 1, 2 * MIB);
	vcpu_vmfunc(s.v, 1);
	before = window_faults(s.v);
	vcpu_user(s.v, guest_touch, WINDOW_FREE, 16, PAGE, 0);
	vcpu_user(s.v, guest_touch, WINDOW_FREE, 16, PAGE, 1);
	check_eq(window_faults(s.v), before + 16);
	vm_free(vm);
}

/* One GiB, 512 times the same 2 MiB: a table for each. */
static void attaching_a_populated_gib_costs_two_tables_and_no_fault(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t ctx, seg, view[2], sum, faults, t, i;

	memset(vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, 2 * MIB, 0), 3, 2 * MIB);
	ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	seg = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE, window_gpa(vm, WINDOW_FREE),
			 GIB, 0);
	for (i = 0; i < 512; i++)
		check_eq(vcpu_map(v, PVVAS_HC_SEG_MAP, seg, i * 2 * MIB,
				  TEST_GPA, 2 * MIB, 3), 1);
	for (i = 0; i < 2; i++) {
		view[i] = vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, ctx, 0, 0);
		vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, ctx, i + 1, view[i]);
	}
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view[0], seg, 3);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	vcpu_vmfunc(v, 1);
	sum = vcpu_user(v, guest_touch, WINDOW_FREE, 512, 2 * MIB, 0);
	check_eq(sum, 512 * 0x0303030303030303ULL);

	faults = window_faults(v);
	t = tables(v);
	check(t > 512);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view[1], seg, 1);
	check(tables(v) <= t + 2);
	vcpu_vmfunc(v, 2);
	check_eq(vcpu_user(v, guest_touch, WINDOW_FREE, 512, 2 * MIB, 0), sum);
	check_eq(window_faults(v), faults);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_DETACH, view[1], seg, 0);
	check_eq(vcpu_try_peek(v, WINDOW_FREE), PF_VECTOR);
	vm_free(vm);
}

static void one_idle_view_costs_three_pages_at_most(void)
{
	struct vm *vm = vm_new(1);
	struct scene s;
	uint64_t t, i, view;

	scene_make(&s, vm, 4 * MIB, 1);
	t = tables(s.v);
	for (i = 1; i <= 100; i++) {
		view = vcpu_hc_ok(s.v, PVVAS_HC_VIEW_CREATE, s.ctx, 0, 0);
		vcpu_hc_ok(s.v, PVVAS_HC_VIEW_ATTACH, view, s.seg, 3);
		vcpu_hc_ok(s.v, PVVAS_HC_VIEW_PLACE, s.ctx, i + 1, view);
		check(tables(s.v) <= t + 3 * i);
	}
	vm_free(vm);
}

static void tables_come_back_when_views_and_segments_go(void)
{
	struct vm *vm = vm_new(1);
	uint64_t t, view, i;
	struct scene s;

	scene_make(&s, vm, 4 * MIB, 2);
	vcpu_vmfunc(s.v, 1);
	vcpu_view(s.v);
	vcpu_vmfunc(s.v, 0);
	t = tables(s.v);
	for (i = 0; i < 5; i++) {
		view = vcpu_hc_ok(s.v, PVVAS_HC_VIEW_CREATE, s.ctx, 0, 0);
		vcpu_hc_ok(s.v, PVVAS_HC_VIEW_ATTACH, view, s.seg, 3);
		vcpu_hc_ok(s.v, PVVAS_HC_VIEW_PLACE, s.ctx, 9, view);
		vcpu_vmfunc(s.v, 9);
		check_eq(vcpu_view(s.v), view);
		vcpu_hc_ok(s.v, PVVAS_HC_VIEW_DETACH, view, s.seg, 0);
		vcpu_hc_ok(s.v, PVVAS_HC_VIEW_DESTROY, view, 0, 0);
		check_eq(vcpu_view(s.v), 0);
		check_eq(tables(s.v), t);
	}
	vm_free(vm);
}

static void neighbours_at_2_mib_share_a_view(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t ctx, view, seg[8], i;

	vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, 16 * MIB, 0);
	ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	view = vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, ctx, 0, 0);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, ctx, 1, view);
	for (i = 0; i < 8; i++) {
		/* across a GiB's border */
		seg[i] = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE,
				    window_gpa(vm, WINDOW_FREE + GIB - 8 * MIB +
					       i * 2 * MIB), 2 * MIB, 0);
		check_eq(vcpu_map(v, PVVAS_HC_SEG_MAP, seg[i], 0,
				  TEST_GPA + i * 2 * MIB, 2 * MIB, 3), 1);
		vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view, seg[i], 3);
	}
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	vcpu_vmfunc(v, 1);
	vcpu_user(v, guest_touch, WINDOW_FREE + GIB - 8 * MIB, 16, MIB, 1);
	for (i = 0; i < 16; i++)
		check_eq(vcpu_peek(v, TEST_GPA + i * MIB),
			 WINDOW_FREE + GIB - 8 * MIB + i);
	/* one goes, the others stay */
	vcpu_hc_ok(v, PVVAS_HC_VIEW_DETACH, view, seg[3], 0);
	for (i = 0; i < 16; i++)
		check_eq(vcpu_try_peek(v, WINDOW_FREE + GIB - 8 * MIB + i * MIB),
			 i / 2 == 3 ? PF_VECTOR : -1);
	vm_free(vm);
}

/* Tables of a view that nothing hangs from yet belong to somebody even so. */
static void a_neighbour_that_was_not_used_yet_outlives_a_detach(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t ctx, view, seg[3], i;
	struct pvvas_hc_stats st;

	vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, 8 * MIB, 0);
	ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	view = vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, ctx, 0, 0);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, ctx, 1, view);
	for (i = 0; i < 3; i++) {
		/* two in a GiB, one in the next */
		seg[i] = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE,
				    window_gpa(vm, WINDOW_FREE +
					       (i == 2 ? GIB : i * 2 * MIB)),
				    2 * MIB, 0);
		vcpu_map(v, PVVAS_HC_SEG_MAP, seg[i], 0,
			 TEST_GPA + i * 2 * MIB, 2 * MIB, 3);
		vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view, seg[i], 3);
	}
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	vcpu_vmfunc(v, 1);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_DETACH, view, seg[0], 0);
	vcpu_poke(v, WINDOW_FREE + 2 * MIB, 1);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_DETACH, view, seg[1], 0);
	vcpu_poke(v, WINDOW_FREE + GIB, 2);
	check_eq(vcpu_peek(v, TEST_GPA + 2 * MIB), 1);
	check_eq(vcpu_peek(v, TEST_GPA + 4 * MIB), 2);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_DETACH, view, seg[2], 0);
	vcpu_stats(v, &st);
	check_eq(st.attachments, 0);
	vm_free(vm);
}

/* A segment that begins and ends inside of GiBs, over two of them. */
static void a_segment_over_borders_of_gibs_is_whole_in_every_view(void)
{
	uint64_t base = WINDOW_FREE + GIB - 4 * MIB, size = GIB + 8 * MIB;
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t ctx, seg, view[3], faults, sum, i;

	memset(vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, 2 * MIB, 0), 3, 2 * MIB);
	ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	seg = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE, window_gpa(vm, base), size, 0);
	for (i = 0; i < size; i += 2 * MIB)
		check_eq(vcpu_map(v, PVVAS_HC_SEG_MAP, seg, i, TEST_GPA,
				  2 * MIB, 3), 1);
	for (i = 0; i < 3; i++) {
		view[i] = vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, ctx, 0, 0);
		vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, ctx, i + 1, view[i]);
		/* two before it is populated, one after */
		if (i < 2)
			vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view[i], seg, 3);
	}
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	vcpu_vmfunc(v, 1);
	sum = vcpu_user(v, guest_touch, base, size / MIB, MIB, 0);
	check_eq(sum, size / MIB * 0x0303030303030303ULL);
	faults = window_faults(v);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view[2], seg, 3);
	for (i = 2; i <= 3; i++) {
		vcpu_vmfunc(v, i);
		check_eq(vcpu_user(v, guest_touch, base, size / MIB, MIB, 0),
			 sum);
	}
	check_eq(window_faults(v), faults);
	for (i = 1; i <= 3; i++) {
		vcpu_hc_ok(v, PVVAS_HC_VIEW_DETACH, view[i - 1], seg, 0);
		vcpu_vmfunc(v, i);
		check_eq(vcpu_try_peek(v, base), PF_VECTOR);
		check_eq(vcpu_try_peek(v, base + size / 2), PF_VECTOR);
		check_eq(vcpu_try_peek(v, base + size - 8), PF_VECTOR);
	}
	vm_free(vm);
}

/* Entries that an attach of a segment with something in each GiB wrote. */
static uint64_t links_of(uint64_t off, uint64_t size)
{
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t ctx, seg, view[2], at = WINDOW_FREE + off, i, links;

	vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, 2 * MIB, 0);
	ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	seg = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE, window_gpa(vm, at), size, 0);
	for (i = 0; i < 2; i++)
		view[i] = vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, ctx, 0, 0);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, ctx, 1, view[0]);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view[0], seg, 3);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	vcpu_vmfunc(v, 1);
	/* something in each GiB, so that there are entries on the way */
	for (i = 0; i < size; i += GIB) {
		check_eq(vcpu_map(v, PVVAS_HC_SEG_MAP, seg, i, TEST_GPA,
				  2 * MIB, 3), 1);
		vcpu_poke(v, at + i, i);
	}
	if (size > 2 * MIB && size % GIB == 0 && off % GIB) {
		check_eq(vcpu_map(v, PVVAS_HC_SEG_MAP, seg, size - 2 * MIB,
				  TEST_GPA, 2 * MIB, 3), 1);
		vcpu_poke(v, at + size - 8, i);
	}
	links = kvm_stat_of(vm->fd, "pvvas_links");
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view[1], seg, 3);
	links = kvm_stat_of(vm->fd, "pvvas_links") - links;
	host_note("%llu MiB at GiB + %llu MiB: %lu links", size / MIB,
		  off % GIB / MIB, links);
	vm_free(vm);
	return links;
}

static void linking_writes_one_entry_a_gib(void)
{
	check_eq(links_of(0, 2 * MIB), 1);
	check_eq(links_of(0, GIB), 1);
	check_eq(links_of(2 * MIB, GIB), 2);
	check_eq(links_of(GIB / 2, 2 * MIB), 1);
	check_eq(links_of(0, 64 * GIB), 64);
	check_eq(links_of(GIB - 2 * MIB, 64 * GIB), 65);
	/* the window's first entry of 512 GiB has the identity page in it */
	check_eq(links_of(511 * GIB, 512 * GIB), 1);
}

/* Who is alone in a GiB of a view shares more than who has a neighbour. */
static void a_neighbour_that_comes_later_takes_nothing_away(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t ctx, view[2], seg[3], at[3], faults, i, j;

	memset(vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, 24 * MIB, 0), 0, 24 * MIB);
	ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	for (i = 0; i < 2; i++) {
		view[i] = vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, ctx, 0, 0);
		vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, ctx, i + 1, view[i]);
	}
	/* one over a border, with a neighbour on either side */
	for (i = 0; i < 3; i++) {
		at[i] = WINDOW_FREE + GIB - 12 * MIB + i * 8 * MIB;
		seg[i] = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE,
				    window_gpa(vm, at[i]), 8 * MIB, 0);
		vcpu_map(v, PVVAS_HC_SEG_MAP, seg[i], 0, TEST_GPA + i * 8 * MIB,
			 8 * MIB, 3);
	}
	for (i = 0; i < 2; i++)
		vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view[i], seg[1], 3 - 2 * i);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	vcpu_vmfunc(v, 1);
	vcpu_poke(v, at[1], 10);
	vcpu_poke(v, at[1] + 6 * MIB, 11);
	/* one view has neighbours now, the other has not */
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view[0], seg[0], 3);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view[0], seg[2], 1);
	faults = window_faults(v);
	check_eq(vcpu_peek(v, at[1]), 10);
	check_eq(vcpu_peek(v, at[1] + 6 * MIB), 11);
	vcpu_vmfunc(v, 2);
	check_eq(vcpu_peek(v, at[1]), 10);
	check_eq(vcpu_peek(v, at[1] + 6 * MIB), 11);
	check_eq(window_faults(v), faults);
	/* what one of them adds is in the other too */
	vcpu_peek(v, at[1] + 2 * MIB);
	vcpu_vmfunc(v, 1);
	vcpu_poke(v, at[1] + 4 * MIB, 12);
	faults = window_faults(v);
	vcpu_poke(v, at[1] + 2 * MIB, 13);
	vcpu_vmfunc(v, 2);
	check_eq(vcpu_peek(v, at[1] + 4 * MIB), 12);
	check_eq(vcpu_peek(v, at[1] + 2 * MIB), 13);
	check_eq(window_faults(v), faults);
	/* rights and neighbours are those of each view */
	for (i = 0; i < 2; i++) {
		vcpu_vmfunc(v, i + 1);
		for (j = 0; j < 3; j++) {
			check_eq(vcpu_try_peek(v, at[j]),
				 i && j != 1 ? PF_VECTOR : -1);
			check_eq(vcpu_try_poke(v, at[j] + 8 * MIB - 8, j),
				 i || j == 2 ? PF_VECTOR : -1);
		}
	}
	/* gone from one view, and back again between its neighbours */
	vcpu_vmfunc(v, 1);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_DETACH, view[0], seg[1], 0);
	for (j = 0; j < 3; j++)
		check_eq(vcpu_try_peek(v, at[j]), j == 1 ? PF_VECTOR : -1);
	vcpu_vmfunc(v, 2);
	check_eq(vcpu_peek(v, at[1]), 10);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view[0], seg[1], 1);
	vcpu_vmfunc(v, 1);
	faults = window_faults(v);
	check_eq(vcpu_peek(v, at[1] + 6 * MIB), 11);
	check_eq(window_faults(v), faults);
	check_eq(vcpu_try_poke(v, at[1], 1), PF_VECTOR);
	/* the neighbours go */
	vcpu_hc_ok(v, PVVAS_HC_VIEW_DETACH, view[0], seg[0], 0);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_DETACH, view[0], seg[2], 0);
	check_eq(vcpu_peek(v, at[1]), 10);
	check_eq(vcpu_try_peek(v, at[0]), PF_VECTOR);
	check_eq(vcpu_try_peek(v, at[2]), PF_VECTOR);
	vm_free(vm);
}

/* RAM of transparent huge pages, 4 MiB, populated; NULL if there are none. */
static uint64_t *huge_ram(struct vm *vm)
{
	uint64_t *p = vm_mem(4 * MIB);

	madvise(p, 4 * MIB, MADV_HUGEPAGE);
	memset(p, 5, 4 * MIB);
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, p, 4 * MIB, 0);
	return p;
}

static void huge_pages_of_the_host_are_mapped_by_one_fault(void)
{
	struct vm *vm = vm_new(1);
	uint64_t faults, t, i;
	struct scene s;

	huge_ram(vm);
	scene_over(&s, vm, TEST_GPA, 4 * MIB, 3);
	/* large and executable do not go together with NX huge pages */
	check_eq(vcpu_map(s.v, PVVAS_HC_SEG_PROTECT, s.seg, 0, 0, 4 * MIB, 3),
		 1);
	vcpu_vmfunc(s.v, 1);
	vcpu_view(s.v);
	faults = window_faults(s.v);
	t = tables(s.v);
	vcpu_user(s.v, guest_touch, WINDOW_FREE, 1024, PAGE, 1);
	check_eq(window_faults(s.v), faults + 2);
	check(tables(s.v) <= t + 2);
	for (i = 2; i <= 3; i++) {
		vcpu_vmfunc(s.v, i);
		vcpu_user(s.v, guest_touch, WINDOW_FREE, 1024, PAGE, 1);
	}
	check_eq(window_faults(s.v), faults + 2);
	vm_free(vm);
}

static void a_large_leaf_splits_where_rights_differ(void)
{
	struct vm *vm = vm_new(1);
	struct scene s;
	uint64_t i;

	huge_ram(vm);
	scene_over(&s, vm, TEST_GPA, 4 * MIB, 2);
	vcpu_map(s.v, PVVAS_HC_SEG_PROTECT, s.seg, 0, 0, 4 * MIB, 3);
	vcpu_vmfunc(s.v, 1);
	vcpu_user(s.v, guest_touch, WINDOW_FREE, 1024, PAGE, 1);
	check_eq(vcpu_map(s.v, PVVAS_HC_SEG_PROTECT, s.seg, 7 * PAGE, 0, PAGE,
			  PVVAS_PROT_READ), 1);
	check_eq(vcpu_map(s.v, PVVAS_HC_SEG_UNMAP, s.seg, 9 * PAGE, 0, PAGE, 0),
		 1);
	for (i = 0; i < 20; i++) {
		uint64_t va = WINDOW_FREE + i * PAGE;

		vcpu_vmfunc(s.v, i % 2 + 1);
		check_eq(vcpu_try_peek(s.v, va), i == 9 ? PF_VECTOR : -1);
		check_eq(vcpu_try_poke(s.v, va, i), i == 9 || i == 7 ?
			 PF_VECTOR : -1);
	}
	/* whole again */
	check_eq(vcpu_map(s.v, PVVAS_HC_SEG_MAP, s.seg, 9 * PAGE,
			  TEST_GPA + 9 * PAGE, PAGE, 3), 1);
	check_eq(vcpu_map(s.v, PVVAS_HC_SEG_PROTECT, s.seg, 0, 0, 4 * MIB, 3),
		 1);
	vcpu_user(s.v, guest_touch, WINDOW_FREE, 1024, PAGE, 1);
	for (i = 0; i < 1024; i++)
		check_eq(vcpu_peek(s.v, TEST_GPA + i * PAGE), WINDOW_FREE + i);
	vm_free(vm);
}

/* EPT violations: those that views deal with, and those that KVM does. */
static void violations_of_window_and_ram_are_counted(void)
{
	struct pvvas_hc_stats before, after;
	struct vm *vm = vm_new(1);
	struct scene s;

	scene_make(&s, vm, 2 * MIB, 2);
	vcpu_vmfunc(s.v, 1);
	vcpu_call(s.v, guest_touch, WINDOW_FREE, 1, PAGE, 1);
	vcpu_stats(s.v, &before);
	vcpu_call(s.v, guest_touch, WINDOW_FREE + PAGE, 32, PAGE, 1);
	vcpu_stats(s.v, &after);
	check_eq(after.window_faults - before.window_faults, 32);
	check_eq(after.ept_violations - before.ept_violations, 32);

	vcpu_stats(s.v, &before);
	vcpu_call(s.v, guest_touch, TEST_GPA, 64, PAGE, 1);
	vcpu_stats(s.v, &after);
	check_eq(after.window_faults, before.window_faults);
	check_eq(after.ept_violations - before.ept_violations, 64);

	/* a view that has no RAM yet finds the VM's own entry */
	vcpu_vmfunc(s.v, 2);
	vcpu_stats(s.v, &before);
	check_eq(before.ram_links - after.ram_links, 1);
	check_eq(before.ept_violations - after.ept_violations, 1);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(a_page_faulted_in_by_one_view_does_not_fault_in_another),
	CASE(a_read_fault_makes_the_page_writable_too),
	CASE(attaching_a_populated_gib_costs_two_tables_and_no_fault),
	CASE(one_idle_view_costs_three_pages_at_most),
	CASE(tables_come_back_when_views_and_segments_go),
	CASE(neighbours_at_2_mib_share_a_view),
	CASE(a_neighbour_that_was_not_used_yet_outlives_a_detach),
	CASE(a_segment_over_borders_of_gibs_is_whole_in_every_view),
	CASE(violations_of_window_and_ram_are_counted),
	CASE(linking_writes_one_entry_a_gib),
	CASE(a_neighbour_that_comes_later_takes_nothing_away),
	CASE(huge_pages_of_the_host_are_mapped_by_one_fault),
	CASE(a_large_leaf_splits_where_rights_differ),
};

HOSTCASE_MAIN(cases)
