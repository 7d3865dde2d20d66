// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instructions whose operand KVM reads itself and for which it expects to tell
 * the guest of a #PF and nothing else: INVPCID and ENCLS.  Needs modules in
 * which CPUID of one leaf stands for them (tests/flushes/mutate); for make
 * test-hooks.
 */
#include <string.h>

#include "vm.h"

#define SIZE		(2 * MIB)
#define LEAF		0x50560000UL
#define PF_VECTOR	14

static struct vm *vm;
static struct vcpu *v;
static struct scene s;

static uint64_t *table, asked;

static long try_operand(uint64_t va)
{
	asm volatile(GC_TRY("mov %1, %%rax\n\tcpuid")
		     : "+b"(va) : "i"(LEAF) : "rax", "rcx", "rdx", "memory");
	return gc_cpu()->vector;
}

static void guest_demand(void)
{
	asked = gc_cpu()->cr2;
	table[1] = TEST_GPA | PVVAS_PROT_READ | PVVAS_PROT_WRITE | PVVAS_EPT_WB;
}

static uint64_t guest_operand(uint64_t va)
{
	gc_cpu()->demand = guest_demand;
	return try_operand(va);
}

static void begin(void)
{
	vm = vm_new(1);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 2);
	memset(s.ram, 0, PAGE);
	/* else the leaf is CPUID's */
	s.ram[0] = 1 << 12;
	vcpu_vmfunc(v, 1);
	check_eq(vcpu_call(v, guest_operand, WINDOW_FREE), 13);
	s.ram[0] = 0;
	check_eq(vcpu_call(v, guest_operand, WINDOW_FREE), (uint64_t)-1);
}

static void a_page_of_an_operand_is_asked_for(void)
{
	uint64_t seg;

	begin();
	seg = seg_new(vm, WINDOW_FREE + SIZE, SIZE, SEG_DEMAND);
	view_attach(v, s.view[1], seg, 3);
	table = seg_table(seg, 0);
	vcpu_vmfunc(v, 2);
	check_eq(vcpu_call(v, guest_operand, WINDOW_FREE + SIZE + PAGE + 8),
		 (uint64_t)-1);
	check_eq(v->g->demands, 1);
	check_eq(asked, WINDOW_FREE + SIZE + PAGE + 8);
	vm_free(vm);
}

static void an_operand_in_no_segment_is_a_page_fault(void)
{
	begin();
	check_eq(vcpu_call(v, guest_operand, WINDOW_FREE + SIZE), PF_VECTOR);
	check_eq(v->g->cr2, WINDOW_FREE + SIZE);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(a_page_of_an_operand_is_asked_for),
	CASE(an_operand_in_no_segment_is_a_page_fault),
};

HOSTCASE_MAIN(cases)
