// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single steps in the guest, called from the host, and what most tests begin
 * with.
 */
#include "vm.h"

static uint64_t step_hc(uint64_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	return __hc(nr, a, b, c);
}

static uint64_t step_vmfunc(uint64_t slot)
{
	vmfunc(0, slot);
	return 0;
}

static uint64_t step_view(void)
{
	gcheck_eq(gc_identity()->magic, PVVAS_IDENTITY_MAGIC);
	return gc_identity()->view;
}

static uint64_t step_peek(uint64_t va)
{
	return *(volatile uint64_t *)va;
}

static uint64_t step_poke(uint64_t va, uint64_t val)
{
	*(volatile uint64_t *)va = val;
	return 0;
}

static uint64_t step_try_read(uint64_t va)
{
	return try_read(va, NULL);
}

static uint64_t step_try_write(uint64_t va, uint64_t val)
{
	return try_write(va, val);
}

long vcpu_hc(struct vcpu *v, uint64_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	return vcpu_call(v, step_hc, nr, a, b, c);
}

void vcpu_vmfunc(struct vcpu *v, uint64_t slot)
{
	vcpu_call(v, step_vmfunc, slot);
}

uint64_t vcpu_view(struct vcpu *v)
{
	return vcpu_call(v, step_view, 0);
}

uint64_t vcpu_peek(struct vcpu *v, uint64_t va)
{
	return vcpu_call(v, step_peek, va);
}

void vcpu_poke(struct vcpu *v, uint64_t va, uint64_t val)
{
	vcpu_call(v, step_poke, va, val);
}

long vcpu_try_peek(struct vcpu *v, uint64_t va)
{
	return vcpu_call(v, step_try_read, va);
}

long vcpu_try_poke(struct vcpu *v, uint64_t va, uint64_t val)
{
	return vcpu_call(v, step_try_write, va, val);
}

void vcpu_stats(struct vcpu *v, struct pvvas_hc_stats *s)
{
	static struct pvvas_hc_stats *page;

	if (!page)
		page = vm_shared(sizeof(*page));
	check_eq(vcpu_hc(v, PVVAS_HC_STATS, (uint64_t)page, sizeof(*page), 0),
		 sizeof(*page));
	*s = *page;
}

long vcpu_map(struct vcpu *v, uint64_t nr, uint64_t seg, uint64_t offset,
	      uint64_t gpa, uint64_t size, uint32_t prot)
{
	static struct pvvas_extent *row;

	if (!row)
		row = vm_shared(sizeof(*row));
	*row = (struct pvvas_extent){ offset, gpa, size, prot, 0 };
	return vcpu_hc(v, nr, seg, (uint64_t)row, 1);
}

uint64_t window_gpa(struct vm *vm, uint64_t va)
{
	return va - WINDOW_VA + vm->config.window_gpa;
}

void scene_over(struct scene *s, struct vm *vm, uint64_t gpa, uint64_t size,
		int nr_views)
{
	uint64_t seg_size = (size + 2 * MIB - 1) & ~(2 * MIB - 1);
	struct vcpu *v = &vm->vcpus[0];
	int i;

	s->vm = vm;
	s->v = v;
	s->size = size;
	s->ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	s->seg = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE,
			    window_gpa(vm, WINDOW_FREE), seg_size, 0);
	check_eq(vcpu_map(v, PVVAS_HC_SEG_MAP, s->seg, 0, gpa, size,
			  PVVAS_PROT_ALL), 1);
	for (i = 0; i < nr_views; i++) {
		s->view[i] = vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, s->ctx, 0,
					100 + i);
		vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, s->view[i], s->seg,
			   PVVAS_PROT_ALL);
		vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, s->ctx, i + 1, s->view[i]);
	}
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, s->ctx, 0, 0);
	check_eq(vcpu_view(v), 0);
}

void scene_make(struct scene *s, struct vm *vm, uint64_t size, int nr_views)
{
	s->ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, size, 0);
	scene_over(s, vm, TEST_GPA, size, nr_views);
}
