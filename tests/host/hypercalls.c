// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every hypercall, its arguments and its errors. Invalidations are in views.c.
 */
#include <errno.h>
#include <string.h>

#include "vm.h"

#define SIZE		(2 * MIB)
#define NOWHERE		(1ULL << 38)	/* no memslot */

static struct vm *vm;
static struct vcpu *v;
static struct scene s;

static void begin(void)
{
	vm = vm_new(1);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 2);
}

static long create(uint64_t ctx, uint64_t slot, const void *root)
{
	return vcpu_hc4(v, PVVAS_HC_VIEW_CREATE, ctx, slot, (uint64_t)root, 5);
}

static void answers_fit_into_what_the_guest_has_room_for(void)
{
	static const uint64_t calls[] = { PVVAS_HC_INFO, PVVAS_HC_STATS };
	static const size_t sizes[] = { sizeof(struct pvvas_hc_info),
					sizeof(struct pvvas_hc_stats) };
	unsigned char *page = vm_shared(2 * PAGE);
	uint64_t i, n;

	begin();
	for (i = 0; i < 2; i++)
		for (n = 0; n <= sizes[i] + 64; n += 8) {
			memset(page, 0xee, PAGE);
			check_eq(vcpu_hc(v, calls[i], (uint64_t)page, n, 0),
				 n < sizes[i] ? n : sizes[i]);
			check_eq(page[n < sizes[i] ? n : sizes[i]], 0xee);
		}
	for (i = 0; i < 2; i++) {
		check_eq(vcpu_hc(v, calls[i], (uint64_t)page + 4, 64, 0), -EINVAL);
		check_eq(vcpu_hc(v, calls[i], NOWHERE, 64, 0), -EFAULT);
		check_eq(vcpu_hc(v, calls[i], ~7ULL, 64, 0), -EFAULT);
	}
	vm_free(vm);
}

static void info_tells_what_the_vmm_has_said(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c), .max_ctxs = 5,
				      .max_views = 7, .window_gpa = GIB * 1024,
				      .window_size = 3 * GIB };
	struct pvvas_hc_info *info = vm_shared(PAGE);

	vm = vm_new_config(1, &c);
	v = &vm->vcpus[0];
	vcpu_hc_ok(v, PVVAS_HC_INFO, info, sizeof(*info), 0);
	check_eq(info->version, PVVAS_ABI_VERSION);
	check_eq(info->window_gpa, c.window_gpa);
	check_eq(info->window_size, c.window_size);
	check_eq(info->slots, PVVAS_NR_SLOTS);
	check_eq(info->max_ctxs, 5);
	check_eq(info->max_views, 7);
	check_eq(info->max_batch, PVVAS_MAX_BATCH);
	vm_free(vm);
}

static void contexts_and_views_are_made_of_tables_in_ram(void)
{
	uint64_t *root, *other;

	begin();
	root = root_new(vm);
	other = root_new(vm);
	check_eq(vcpu_hc(v, PVVAS_HC_CTX_CREATE, (uint64_t)root, 1, 0), -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_CTX_CREATE, (uint64_t)root + 8, 0, 0),
		 -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_CTX_CREATE, NOWHERE, 0, 0), -EFAULT);
	check_eq(vcpu_hc(v, PVVAS_HC_CTX_CREATE, ~0xfffULL, 0, 0), -EFAULT);
	check_eq(create(12345, 4, root), -ENOENT);
	check_eq(create(s.view[0], 4, root), -ENOENT);
	check_eq(create(s.ctx, 512, root), -EINVAL);
	check_eq(create(s.ctx, ~0ULL, root), -EINVAL);
	check_eq(create(s.ctx, 1, root), -EBUSY);
	check_eq(create(s.ctx, 4, (char *)root + 8), -EINVAL);
	check_eq(create(s.ctx, 4, (void *)NOWHERE), -EFAULT);
	/* a root has one view in a context */
	check_eq(create(s.ctx, 4, view_root(s.view[0])), -EEXIST);
	check(create(s.ctx, 4, root) > 0);
	check_eq(create(s.ctx, 5, root), -EEXIST);
	check_eq(create(s.ctx, 4, other), -EBUSY);
	/* and in other contexts more */
	check(vcpu_hc(v, PVVAS_HC_CTX_CREATE, (uint64_t)root, 0, 0) > 0);
	check(create(ctx_new(v), 1, root) > 0);
	vm_free(vm);
}

static void ids_are_not_reused_and_kinds_do_not_share_them(void)
{
	uint64_t last, id;

	begin();
	last = s.view[1];
	view_destroy(v, s.view[1]);
	id = view_new(v, s.ctx, 2, 0);
	check(id > last);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_DESTROY, last, 0, 0), -ENOENT);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_DESTROY, s.ctx, 0, 0), -ENOENT);
	check_eq(vcpu_hc(v, PVVAS_HC_CTX_DESTROY, id, 0, 0), -ENOENT);
	check_eq(vcpu_hc(v, PVVAS_HC_CTX_LOAD, id, 0, 0), -ENOENT);
	check_eq(vcpu_hc(v, PVVAS_HC_CTX_DESTROY, 0, 0, 0), -ENOENT);
	vcpu_hc_ok(v, PVVAS_HC_CTX_DESTROY, s.ctx, 0, 0);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_DESTROY, id, 0, 0), -ENOENT);
	check(ctx_new(v) > id);
	vcpu_hc_ok(v, PVVAS_HC_RESET, 0, 0, 0);
	check(ctx_new(v) > id + 1);
	vm_free(vm);
}

static void slots_are_taken_and_left(void)
{
	uint64_t other;

	begin();
	other = view_new(v, s.ctx, 0, 0);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_PLACE, 1 << 20, 3, other), -ENOENT);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_PLACE, s.ctx, 0, other), -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_PLACE, s.ctx, 512, other), -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_PLACE, s.ctx, 3, 1 << 20), -ENOENT);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_PLACE, s.ctx, 3, 0), -ENOENT);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_PLACE, s.ctx, 1, other), -EBUSY);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_PLACE, s.ctx, 3, s.view[0]), -EBUSY);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_PLACE, ctx_new(v), 3, other), -EINVAL);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, s.ctx, 3, other);
	vcpu_vmfunc(v, 3);
	check_eq(vcpu_view(v), other);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, s.ctx, 3, 0);
	check_eq(vcpu_view(v), other);
	vcpu_vmfunc(v, 3);
	check_eq(vcpu_view(v), 0);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, s.ctx, 511, other);
	vcpu_vmfunc(v, 511);
	check_eq(vcpu_view(v), other);
	vm_free(vm);
}

static void numbers_beside_the_block_are_unknown(void)
{
	begin();
	check_eq(vcpu_hc(v, PVVAS_HC_BASE - 1, 0, 0, 0), -1000);
	check_eq(vcpu_hc(v, PVVAS_HC_LAST + 1, 0, 0, 0), -1000);
	vm_free(vm);
}

static uint64_t guest_hypercall(uint64_t nr)
{
	return __hc(nr, 0, 0, 0);
}

static void user_mode_may_call_none(void)
{
	uint64_t nr;

	begin();
	for (nr = PVVAS_HC_BASE; nr <= PVVAS_HC_LAST; nr++)
		check_eq(vcpu_user(v, guest_hypercall, nr), -EPERM);
	vcpu_vmfunc(v, 1);
	check_eq(vcpu_view(v), s.view[0]);
	vm_free(vm);
}

/* Where memory ends within a list, the rows before are done. */
static void rows_up_to_the_end_of_memory_are_done(void)
{
	struct pvvas_hc_range *rows;
	uint64_t n, i, *table;

	begin();
	table = seg_table(s.seg, 0);
	vcpu_vmfunc(v, 1);
	for (i = 0; i < 100; i++)
		s.ram[i * PAGE / 8] = i;
	for (n = 0; n < 70; n += 1 + n / 4) {
		rows = (struct pvvas_hc_range *)((char *)s.ram + SIZE) - n;
		for (i = 0; i < n; i++) {
			check_eq(vcpu_peek(v, WINDOW_FREE + i * PAGE), i);
			table[i] += PAGE;
			rows[i] = (struct pvvas_hc_range){ (uint64_t)table, i, 1 };
		}
		check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE_LIST,
				 TEST_GPA + SIZE - n * sizeof(*rows), 100, 0),
			 n ? (long)n : -EFAULT);
		for (i = 0; i < n; i++) {
			check_eq(vcpu_peek(v, WINDOW_FREE + i * PAGE), i + 1);
			table[i] -= PAGE;
		}
		vcpu_hc_ok(v, PVVAS_HC_INVALIDATE, table, 0, 512);
	}
	/* a row of which half is there */
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE_LIST, TEST_GPA + SIZE - 8, 1, 0),
		 -EFAULT);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(answers_fit_into_what_the_guest_has_room_for),
	CASE(info_tells_what_the_vmm_has_said),
	CASE(contexts_and_views_are_made_of_tables_in_ram),
	CASE(ids_are_not_reused_and_kinds_do_not_share_them),
	CASE(slots_are_taken_and_left),
	CASE(rows_up_to_the_end_of_memory_are_done),
	CASE(numbers_beside_the_block_are_unknown),
	CASE(user_mode_may_call_none),
};

HOSTCASE_MAIN(cases)
