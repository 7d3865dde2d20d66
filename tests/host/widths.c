// SPDX-License-Identifier: GPL-2.0-only
/*
 * widths BITS [CASE...]: views on a CPU with so many physical address bits.  Above
 * 48 the VM's own root has five levels, while views have four, and linear
 * addresses may have 57 bits.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm.h"

#define PF_VECTOR	14
#define PF_SGX		0x8000
#define E_TABLE		((uint64_t)PVVAS_PROT_ALL)
#define E_LEAF		(PVVAS_PROT_ALL | PVVAS_EPT_WB)
#define E_LARGE		(E_LEAF | PVVAS_EPT_LARGE)
#define PTE		0x7UL		/* present, writable, user */
#define PTE_LARGE	0x87UL
#define CR4_LA57	(1ULL << 12)

#define VIEW_BITS	48
#define NR_VIEWS	2
#define NR_WIDE		4	/* cases for five levels, the last ones */
#define SIZE		(2 * MIB)
#define MMIO		0x90000000ULL	/* no memslot */

/* Linear addresses, 1 GiB each, and what is there. */
#define VIEW_VA		(1ULL << 42)	/* where views differ */
#define HIGH_VA		(1ULL << 43)	/* HIGH_GPA */
#define WALK_VA		(1ULL << 44)	/* a page table at HIGH_GPA */
#define AT(page)	(VIEW_VA + (page) * PAGE)
#define HIGH_GPA	(1ULL << 50)
#define HIGH_SLOT	(FIRST_TEST_SLOT + 1)

/* Of the addresses of five levels, the second 2^48. */
#define WIDE		(1ULL << 48)

static unsigned int bits;

static struct vm *vm;
static struct vcpu *v;
static uint64_t *ram, *high, *pml4;
static uint64_t ctx, view[NR_VIEWS + 1];
/* of each view, the plain one first: its root, and level 1 of what differs */
static uint64_t *root[NR_VIEWS + 1], *t1[NR_VIEWS + 1];

static uint64_t window_end(void)
{
	return 1ULL << (bits < VIEW_BITS ? bits : VIEW_BITS);
}

static void invalidate(uint64_t table, uint64_t first, uint64_t count)
{
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, table, first, count), 1);
}

/* RAM below 512 GiB, and 2 MiB of @from at @gpa. */
static void make_root(int i, uint64_t gpa, uint64_t from)
{
	uint64_t *gibs = vm_shared(PAGE), *top = gibs, *t2 = vm_shared(PAGE), k;

	root[i] = vm_shared(PAGE);
	t1[i] = vm_shared(PAGE);
	for (k = 0; k < 512 && (k + 1) * GIB <= window_end(); k++)
		gibs[k] = k * GIB | E_LARGE;
	root[i][0] = (uint64_t)gibs | E_TABLE;
	if (gpa >> 39) {
		top = vm_shared(PAGE);
		root[i][gpa >> 39] = (uint64_t)top | E_TABLE;
	}
	top[gpa >> 30 & 511] = (uint64_t)t2 | E_TABLE;
	t2[gpa >> 21 & 511] = (uint64_t)t1[i] | E_TABLE;
	for (k = 0; from && k < 512; k++)
		t1[i][k] = (from + k * PAGE) | E_LEAF;
}

/* Let the GiB at @va be that at @gpa. */
static void show(uint64_t va, uint64_t gpa)
{
	uint64_t *pdpt = vm_shared(PAGE);

	pml4[va >> 39 & 511] = (uint64_t)pdpt | PTE;
	pdpt[va >> 30 & 511] = gpa | PTE_LARGE;
}

/* Views that differ at the GiB @gpa of a window that is only that. */
static void begin_in(struct vm *with, uint64_t gpa)
{
	struct kvm_sregs sregs;
	uint64_t k;
	int i;

	vm = with;
	v = &vm->vcpus[0];
	vm_ioctl(v->fd, KVM_GET_SREGS, &sregs);
	pml4 = (uint64_t *)sregs.cr3;
	show(VIEW_VA, gpa);
	ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, NR_VIEWS * SIZE, 0);
	for (k = 0; k < NR_VIEWS * SIZE / PAGE; k++)
		ram[k * 512] = k;
	for (i = 0; i <= NR_VIEWS; i++)
		make_root(i, gpa, i ? TEST_GPA + (i - 1) * SIZE : 0);
	ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, root[0], 0, 0);
	for (i = 1; i <= NR_VIEWS; i++) {
		view[i] = vcpu_hc4(v, PVVAS_HC_VIEW_CREATE, ctx, i,
				   (uint64_t)root[i], 100 + i);
		check((long)view[i] > 0);
	}
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
}

static void begin(uint64_t gpa)
{
	begin_in(vm_new_config(1, &(struct kvm_pvvas_config){
			       .window_gpa = gpa, .window_size = GIB }), gpa);
}

static uint64_t guest_switches(uint64_t n, uint64_t va)
{
	uint64_t i, k;

	for (i = 0; i < n; i++)
		for (k = 0; k < 2; k++) {
			vmfunc(0, k + 1);
			if (*(volatile uint64_t *)va != k * 512)
				return 1000 + i;
		}
	vmfunc(0, 0);
	return 0;
}

static uint64_t guest_movs(uint64_t to, uint64_t from)
{
	uint64_t n = 1;

	asm volatile(GC_TRY("rep movsq") : "+D"(to), "+S"(from), "+c"(n)
		     : : "rax", "memory");
	return gc_cpu()->vector;
}

/* All kinds of entries, by an address that leads to where views differ. */
static void check_views(uint64_t va)
{
	uint64_t before;

	check_eq(vcpu_user(v, guest_switches, 2, va), 0);
	before = kvm_stat_of(v->fd, "pvvas_view_faults");
	check_eq(vcpu_user(v, guest_switches, 1000, va), 0);
	check_eq(kvm_stat_of(v->fd, "pvvas_view_faults"), before);

	vcpu_vmfunc(v, 1);
	vcpu_poke(v, va + 3 * PAGE, 33);
	check_eq(ram[3 * 512], 33);
	t1[1][4] = PVVAS_EPT_DEMAND;
	t1[1][5] = 0;
	invalidate((uint64_t)t1[1], 4, 2);
	check_eq(vcpu_try_poke(v, va + 4 * PAGE + 8, 1), PVVAS_DEMAND_VECTOR);
	check_eq(gc_demand_address(v->g->cr2), va + 4 * PAGE + 8);
	check_eq(gc_demand_access(v->g->cr2), PVVAS_PROT_WRITE);
	check_eq(vcpu_try_peek(v, va + 5 * PAGE), PF_VECTOR);
	check_eq(v->g->cr2, va + 5 * PAGE);
	check_eq(v->g->error & PF_SGX, PF_SGX);
	t1[1][4] = (TEST_GPA + 4 * PAGE) | E_LEAF;
	t1[1][5] = (TEST_GPA + 5 * PAGE) | E_LEAF;
	check_eq(vcpu_peek(v, va + 4 * PAGE), 4);
	check_eq(vcpu_peek(v, va + 5 * PAGE), 5);
}

/* An entry with an address bit that the guest's CPU has not. */
static void check_reserved(unsigned int width)
{
	uint64_t good = t1[1][6];

	t1[1][6] = good | 1ULL << width;
	invalidate((uint64_t)t1[1], 6, 1);
	check_eq(vcpu_try_peek(v, AT(6)), PF_VECTOR);
	t1[1][6] = good;
	check_eq(vcpu_peek(v, AT(6)), 6);
}

static bool host_cpu_has(const char *flag)
{
	char line[4096], *word;
	bool found = false;
	FILE *f = fopen("/proc/cpuinfo", "r");

	check(f);
	while (!found && fgets(line, sizeof(line), f)) {
		word = strstr(line, flag);
		found = word && word[-1] == ' ' &&
			(word[strlen(flag)] == ' ' || word[strlen(flag)] == '\n');
	}
	fclose(f);
	return found;
}

static void the_cpu_is_as_wide_as_the_row_says(void)
{
	char flag[32];

	snprintf(flag, sizeof(flag), "%u bits physical,", bits);
	check(host_cpu_has(flag));
	check_eq(host_cpu_has("la57"), bits > VIEW_BITS);
	check_eq(host_cpu_has("ept_5level"), bits > VIEW_BITS);
}

static void the_default_window_is_the_upper_half_of_what_views_reach(void)
{
	uint64_t size = window_end() / 2;

	vm = vm_new(1);
	check_eq(vm->config.window_gpa, window_end() / 2);
	check_eq(vm->config.window_size, size < 8192 * GIB ? size : 8192 * GIB);
	vm_free(vm);
}

static void views_differ_at_either_end_of_the_window(void)
{
	uint64_t gpa[2] = { window_end() / 2, window_end() - GIB };
	int i;

	for (i = 0; i < 2; i++) {
		begin(gpa[i]);
		check_views(VIEW_VA);
		if (bits < 52)
			check_reserved(bits);
		vm_free(vm);
	}
}

static void a_window_right_above_ram_is_enough(void)
{
	begin(4 * GIB);
	check_views(VIEW_VA);
	vm_free(vm);
}

static void a_guest_may_have_fewer_bits_than_the_host(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c), .window_size = GIB };
	unsigned int width = bits > 39 ? 39 : 38;
	uint32_t i;

	c.window_gpa = (1ULL << width) - GIB;
	vm = vm_bare();
	for (i = 0; i < vm->cpuid->nent; i++)
		if (vm->cpuid->entries[i].function == 0x80000008)
			vm->cpuid->entries[i].eax =
				(vm->cpuid->entries[i].eax & ~0xffU) | width;
	check_eq(vm_enable_pvvas(vm, &c), 0);
	vm_add_vcpu(vm);
	begin_in(vm, c.window_gpa);
	check_views(VIEW_VA);
	check_reserved(width);
	vm_free(vm);
}

static void what_the_cpu_does_not_reach_is_refused(void)
{
	struct kvm_userspace_memory_region r = {
		.slot = HIGH_SLOT, .guest_phys_addr = 1ULL << bits,
		.memory_size = SIZE, .userspace_addr = (uint64_t)vm_mem(SIZE)
	};
	struct kvm_pvvas_config c = { .size = sizeof(c), .window_size = GIB,
				      .window_gpa = window_end() };

	vm = vm_bare();
	check_eq(vm_enable_pvvas(vm, &c), -EINVAL);
	c.window_gpa -= GIB;
	c.window_size += GIB;
	check_eq(vm_enable_pvvas(vm, &c), -EINVAL);
	if (bits < 52)
		check_eq(__vm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION,
				    (unsigned long)&r), -EINVAL);
	vm_free(vm);
}

/* Memory where only five levels lead. */
static void begin_high(void)
{
	uint64_t *pdpt, k;

	begin(window_end() / 2);
	high = vm_ram(vm, HIGH_SLOT, HIGH_GPA, SIZE, 0);
	for (k = 0; k < 256; k++)
		high[k * 512] = 7000 + k;
	show(HIGH_VA, HIGH_GPA);
	/* the last page is a page table, for addresses of RAM */
	pdpt = high + 511 * 512;
	pdpt[WALK_VA >> 30 & 511] = TEST_GPA | PTE_LARGE;
	pml4[WALK_VA >> 39] = (HIGH_GPA + 511 * PAGE) | PTE;
}

static void check_refused(long vector, uint64_t va)
{
	check_eq(vector, PF_VECTOR);
	check_eq(v->g->cr2, va);
	check_eq(v->g->error & PF_SGX, PF_SGX);
}

static uint64_t guest_try_read(uint64_t va)
{
	return try_read(va, NULL);
}

static uint64_t guest_try_call(uint64_t va)
{
	return try_call(va);
}

static void memory_beyond_four_levels_is_there_outside_views_alone(void)
{
	uint64_t demands;
	int slot;

	begin_high();
	demands = kvm_stat_of(v->fd, "pvvas_demand");
	for (slot = 0; slot <= 1; slot++) {
		vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, 0, 0, 0);
		check_eq(vcpu_peek(v, HIGH_VA + 9 * PAGE), 7009);
		vcpu_poke(v, HIGH_VA + 10 * PAGE, slot);
		check_eq(high[10 * 512], slot);
		check_eq(vcpu_peek(v, WALK_VA), ram[0]);
		vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
		vcpu_vmfunc(v, slot);
		check_refused(vcpu_try_peek(v, HIGH_VA), HIGH_VA);
		check_refused(vcpu_try_poke(v, HIGH_VA + 8, 1), HIGH_VA + 8);
		check_refused(vcpu_call(v, guest_try_call, HIGH_VA + PAGE),
			      HIGH_VA + PAGE);
		check_refused(vcpu_user(v, guest_try_read, HIGH_VA), HIGH_VA);
		check_refused(vcpu_try_peek(v, WALK_VA + 16), WALK_VA + 16);
	}
	check_eq(kvm_stat_of(v->fd, "pvvas_demand"), demands);
	vm_free(vm);
}

/* KVM's emulator stores what the VMM answers; -1, or the vector. */
static long store_from_mmio(uint64_t va)
{
	const uint64_t args[4] = { va, MMIO };
	uint64_t ret;

	vcpu_prepare(v, (guest_fn)(void *)guest_movs, args);
	check_eq(vcpu_run_once(v), 0);
	check_eq(v->run->exit_reason, KVM_EXIT_MMIO);
	memcpy(v->run->mmio.data, "\1\2\3\4\5\6\7\10", 8);
	check_eq(vcpu_run_once(v), 0);
	check(vcpu_done(v, &ret));
	return ret;
}

static void the_emulator_refuses_it_too(void)
{
	long vector;
	int in_view;

	begin_high();
	for (in_view = 1; in_view >= 0; in_view--) {
		if (!in_view)
			vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, 0, 0, 0);
		vector = store_from_mmio(HIGH_VA + 64);
		if (in_view)
			check_refused(vector, HIGH_VA + 64);
		else
			check_eq(vector, -1);
		check_eq(high[8], in_view ? 0 : 0x0807060504030201);
	}
	vm_free(vm);
}

static void a_view_shows_it_below_and_has_its_tables_there(void)
{
	uint64_t gpa = window_end() / 2, *r, *t, *top;
	long id;

	begin_high();
	r = high + 300 * 512;
	t = high + 301 * 512;
	vcpu_vmfunc(v, 1);
	t1[1][20] = (HIGH_GPA + 20 * PAGE) | E_LEAF;
	invalidate((uint64_t)t1[1], 20, 1);
	check_eq(vcpu_peek(v, AT(20)), 7020);
	vcpu_poke(v, AT(20), 1);
	check_eq(high[20 * 512], 1);

	/* the tables of a third view, but for those of RAM */
	top = (uint64_t *)(root[1][gpa >> 39] & PVVAS_EPT_ADDR);
	r[0] = root[1][0];
	r[gpa >> 39] = (HIGH_GPA + 302 * PAGE) | E_TABLE;
	memcpy(high + 302 * 512, top, PAGE);
	high[302 * 512 + (gpa >> 30 & 511)] = (HIGH_GPA + 303 * PAGE) | E_TABLE;
	high[303 * 512] = (HIGH_GPA + 301 * PAGE) | E_TABLE;
	t[0] = (TEST_GPA + 30 * PAGE) | E_LEAF;
	id = vcpu_hc4(v, PVVAS_HC_VIEW_CREATE, ctx, 3, HIGH_GPA + 300 * PAGE, 0);
	check(id > 0);
	vcpu_vmfunc(v, 3);
	check_eq(vcpu_peek(v, AT(0)), 30);
	t[0] = (TEST_GPA + 31 * PAGE) | E_LEAF;
	invalidate(HIGH_GPA + 301 * PAGE, 0, 1);
	check_eq(vcpu_peek(v, AT(0)), 31);
	/* and the host takes its memory away, as any */
	vcpu_vmfunc(v, 1);
	vm_slot(vm, HIGH_SLOT, HIGH_GPA, high, 0, 0);
	check_eq(vcpu_peek(v, AT(21)), 21);
	vcpu_check_mmio(v, AT(20), HIGH_GPA + 20 * PAGE);
	vm_free(vm);
}

static void linear_addresses_may_have_57_bits(void)
{
	uint64_t *pml5, va;
	struct kvm_sregs sregs;
	int i;

	for (i = 0; i < 2; i++) {
		begin(window_end() / 2);
		pml5 = vm_shared(PAGE);
		pml5[0] = pml5[1] = pml5[511] = (uint64_t)pml4 | PTE;
		vm_ioctl(v->fd, KVM_GET_SREGS, &sregs);
		sregs.cr3 = (uint64_t)pml5;
		sregs.cr4 |= CR4_LA57;
		vm_ioctl(v->fd, KVM_SET_SREGS, &sregs);
		va = i ? ~0ULL << VIEW_BITS | VIEW_VA : WIDE | VIEW_VA;
		check_views(va);
		check_eq(vcpu_peek(v, VIEW_VA + 7 * PAGE), 7);
		check_eq(store_from_mmio(va + 8 * PAGE), -1);
		check_eq(ram[8 * 512], 0x0807060504030201);
		t1[1][8] = PVVAS_EPT_DEMAND;
		invalidate((uint64_t)t1[1], 8, 1);
		check_eq(store_from_mmio(va + 8 * PAGE), PVVAS_DEMAND_VECTOR);
		check_eq(gc_demand_address(v->g->cr2), va + 8 * PAGE);
		vm_free(vm);
	}
}

static const struct hostcase cases[] = {
	CASE(the_cpu_is_as_wide_as_the_row_says),
	CASE(the_default_window_is_the_upper_half_of_what_views_reach),
	CASE(views_differ_at_either_end_of_the_window),
	CASE(a_window_right_above_ram_is_enough),
	CASE(a_guest_may_have_fewer_bits_than_the_host),
	CASE(what_the_cpu_does_not_reach_is_refused),
	/* of CPUs with five levels */
	CASE(memory_beyond_four_levels_is_there_outside_views_alone),
	CASE(the_emulator_refuses_it_too),
	CASE(a_view_shows_it_below_and_has_its_tables_there),
	CASE(linear_addresses_may_have_57_bits),
};

int main(int argc, char **argv)
{
	size_t nr = sizeof(cases) / sizeof(cases[0]);

	bits = argc < 2 ? 0 : strtoul(argv[1], NULL, 10);
	if (bits < 36 || bits > 52) {
		fprintf(stderr, "usage: widths BITS [CASE...]\n");
		return 2;
	}
	if (bits <= VIEW_BITS)
		nr -= NR_WIDE;
	argv[1] = argv[0];
	return hostcase_main(cases, nr, argc - 1, argv + 1);
}
