// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single steps in the guest, called from the host, and what most tests begin
 * with.
 */
#include <string.h>

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

static uint64_t step_hc4(const uint64_t *a)
{
	return __hc4(a[0], a[1], a[2], a[3], a[4]);
}

long vcpu_hc4(struct vcpu *v, uint64_t nr, uint64_t a, uint64_t b, uint64_t c,
	      uint64_t d)
{
	static uint64_t *args;

	if (!args)
		args = vm_shared(PAGE);
	memcpy(args, (uint64_t[]){ nr, a, b, c, d }, 5 * sizeof(*args));
	return vcpu_call(v, step_hc4, (uint64_t)args);
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

static uint64_t step_try_vmfunc(uint64_t eax, uint64_t ecx)
{
	return try_vmfunc(eax, ecx);
}

long vcpu_try_vmfunc(struct vcpu *v, uint64_t eax, uint64_t ecx)
{
	return vcpu_call(v, step_try_vmfunc, eax, ecx);
}

void vcpu_check_mmio(struct vcpu *v, uint64_t va, uint64_t gpa)
{
	const uint64_t args[4] = { va };

	vcpu_prepare(v, (guest_fn)(void *)step_peek, args);
	check_eq(vcpu_run_once(v), 0);
	check_eq(v->run->exit_reason, KVM_EXIT_MMIO);
	check_eq(v->run->mmio.phys_addr, gpa);
	check_eq(vcpu_run_once(v), 0);
	check(vcpu_done(v, NULL));
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

void scene_over(struct scene *s, struct vm *vm, uint64_t gpa, uint64_t size,
		int nr_views)
{
	uint64_t seg_size = (size + 2 * MIB - 1) & ~(2 * MIB - 1);
	struct vcpu *v = &vm->vcpus[0];
	int i;

	s->vm = vm;
	s->v = v;
	s->size = size;
	s->ctx = ctx_new(v);
	s->seg = seg_new(vm, WINDOW_FREE, seg_size, s->flags);
	seg_map(v, s->seg, 0, gpa, size, PVVAS_PROT_ALL);
	for (i = 0; i < nr_views; i++) {
		s->view[i] = view_new(v, s->ctx, i + 1, 100 + i);
		view_attach(v, s->view[i], s->seg, PVVAS_PROT_ALL);
	}
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, s->ctx, 0, 0);
	check_eq(vcpu_view(v), 0);
}

void scene_make(struct scene *s, struct vm *vm, uint64_t size, int nr_views)
{
	s->flags = SEG_SMALL;
	s->ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, size, 0);
	scene_over(s, vm, TEST_GPA, size, nr_views);
}
