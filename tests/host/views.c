// SPDX-License-Identifier: GPL-2.0-only
/*
 * A view is a table that the guest writes: what needs an invalidation and what
 * does not, which accesses are refused and how, and what all of it costs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vm.h"

#define PF_VECTOR	14
#define E_TABLE		((uint64_t)PVVAS_PROT_ALL)
#define E_LEAF		(PVVAS_PROT_ALL | PVVAS_EPT_WB)
#define E_RO		(PVVAS_PROT_READ | PVVAS_PROT_EXEC | PVVAS_EPT_WB)
#define E_LARGE		(E_LEAF | PVVAS_EPT_LARGE)
#define SIZE		(8 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define NR		4

static struct vm *vm;
static struct vcpu *v;
static uint64_t *ram;
static uint64_t ctx, view[NR];
/* of each view: the entry of the GiB, levels 2 and 1 of its first 2 MiB */
static uint64_t *gib[NR], *t2[NR], *t1[NR];

static void invalidate(uint64_t *entry, uint64_t count)
{
	uint64_t table = (uint64_t)entry & ~(PAGE - 1);

	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, table,
			 ((uint64_t)entry - table) / 8, count), 1);
}

/* View i shows RAM's 2 MiB number i at WINDOW_FREE, by entries of 4 KiB. */
static void begin(int nr_views)
{
	uint64_t k;
	int i;

	vm = vm_new(1);
	v = &vm->vcpus[0];
	ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, SIZE, 0);
	for (k = 0; k < SIZE / PAGE; k++)
		ram[k * 512] = k;
	ctx = ctx_new(v);
	for (i = 0; i < nr_views; i++) {
		view[i] = view_new(v, ctx, i + 1, 100 + i);
		gib[i] = root_gib(vm, view_root(view[i]), WINDOW_FREE);
		t2[i] = root_2mib(vm, view_root(view[i]), WINDOW_FREE);
		t1[i] = vm_shared(PAGE);
		for (k = 0; k < 512; k++)
			t1[i][k] = (TEST_GPA + i * 2 * MIB + k * PAGE) | E_LEAF;
		*t2[i] = (uint64_t)t1[i] | E_TABLE;
	}
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
}

static uint64_t faults(void)
{
	return kvm_stat_of(v->fd, "pvvas_view_faults");
}

static uint64_t guest_nop(void)
{
	return 0;
}

static uint64_t guest_sum(uint64_t va, uint64_t n, uint64_t step)
{
	uint64_t i, sum = 0;

	for (i = 0; i < n; i++)
		sum += *(volatile uint64_t *)(va + i * step);
	return sum;
}

static uint64_t guest_switches(uint64_t n, uint64_t a, uint64_t b)
{
	uint64_t i;

	for (i = 0; i < n; i++) {
		vmfunc(0, 1);
		if (*(volatile uint64_t *)WINDOW_FREE != a)
			return 1000 + i;
		vmfunc(0, 2);
		if (*(volatile uint64_t *)WINDOW_FREE != b)
			return 2000 + i;
	}
	vmfunc(0, 0);
	return 0;
}

static void switches_take_no_exits(void)
{
	uint64_t before;

	begin(2);
	check_eq(vcpu_user(v, guest_switches, 2, 0, 512), 0);
	before = faults();
	check_eq(vcpu_user(v, guest_switches, 20000, 0, 512), 0);
	check_eq(faults(), before);
	vm_free(vm);
}

static void a_shared_subtree_faults_once(void)
{
	uint64_t *seg2, *seg1, before, va = WINDOW_FREE + GIB, i, k;

	begin(3);
	seg2 = vm_shared(PAGE);
	for (i = 0; i < 4; i++) {
		seg1 = vm_shared(PAGE);
		seg2[i] = (uint64_t)seg1 | E_TABLE;
		for (k = 0; k < 512; k++)
			seg1[k] = (TEST_GPA + (i * 512 + k) * PAGE) | E_LEAF;
	}
	for (i = 0; i < 3; i++) {
		gib[i][1] = (uint64_t)seg2 | E_TABLE;
		vcpu_vmfunc(v, i + 1);
		vcpu_call(v, guest_nop, 0);
		vcpu_user(v, guest_nop, 0);
	}
	vcpu_vmfunc(v, 1);
	check_eq(vcpu_user(v, guest_sum, va, 2048, PAGE), 2048 * 2047 / 2);
	for (i = 2; i <= 3; i++) {
		vcpu_vmfunc(v, i);
		before = faults();
		check_eq(vcpu_user(v, guest_sum, va, 2048, PAGE), 2048 * 2047 / 2);
		check(faults() - before <= 1);
	}
	/* detach from one: the others keep it */
	vcpu_vmfunc(v, 2);
	gib[1][1] = 0;
	invalidate(&gib[1][1], 1);
	check_eq(vcpu_try_peek(v, va), PF_VECTOR);
	vcpu_vmfunc(v, 3);
	before = faults();
	check_eq(vcpu_peek(v, va + PAGE), 1);
	check_eq(faults(), before);
	/* attach again: a store, and one fault for all of it */
	vcpu_vmfunc(v, 2);
	gib[1][1] = (uint64_t)seg2 | E_TABLE;
	before = faults();
	check_eq(vcpu_user(v, guest_sum, va, 2048, PAGE), 2048 * 2047 / 2);
	check(faults() - before <= 1);
	vm_free(vm);
}

static void new_entries_and_more_rights_need_no_invalidation(void)
{
	begin(1);
	vcpu_vmfunc(v, 1);
	t1[0][5] = 0;
	check_eq(vcpu_try_peek(v, AT(5)), PF_VECTOR);
	t1[0][5] = (TEST_GPA + 700 * PAGE) | E_RO;
	check_eq(vcpu_peek(v, AT(5)), 700);
	check_eq(vcpu_try_poke(v, AT(5), 1), PF_VECTOR);
	check_eq(v->g->cr2, AT(5));
	check_eq(v->g->error & 0x8003, 0x8003);
	t1[0][5] |= PVVAS_PROT_WRITE;
	vcpu_poke(v, AT(5), 7000);
	check_eq(ram[700 * 512], 7000);
	/* and by an entry above */
	*t2[0] = (uint64_t)t1[0] | PVVAS_PROT_READ | PVVAS_PROT_EXEC;
	invalidate(t2[0], 1);
	check_eq(vcpu_peek(v, AT(6)), 6);
	check_eq(vcpu_try_poke(v, AT(6), 1), PF_VECTOR);
	*t2[0] |= PVVAS_PROT_WRITE;
	vcpu_poke(v, AT(6), 60);
	check_eq(ram[6 * 512], 60);
	vm_free(vm);
}

static void an_invalidation_ends_what_was(void)
{
	begin(1);
	vcpu_vmfunc(v, 1);
	check_eq(vcpu_peek(v, AT(5)), 5);
	t1[0][5] = (TEST_GPA + 700 * PAGE) | E_LEAF;
	invalidate(&t1[0][5], 1);
	check_eq(vcpu_peek(v, AT(5)), 700);
	t1[0][5] = 0;
	invalidate(&t1[0][5], 1);
	check_eq(vcpu_try_peek(v, AT(5)), PF_VECTOR);
	check_eq(vcpu_peek(v, AT(6)), 6);
	/* a table that goes */
	*t2[0] = 0;
	invalidate(t2[0], 1);
	check_eq(vcpu_try_peek(v, AT(6)), PF_VECTOR);
	/* and comes back with other entries */
	t1[0][6] = (TEST_GPA + 600 * PAGE) | E_LEAF;
	invalidate(t1[0], 512);
	*t2[0] = (uint64_t)t1[0] | E_TABLE;
	check_eq(vcpu_peek(v, AT(6)), 600);
	/* a large entry over it, and back */
	*t2[0] = (TEST_GPA + 2 * MIB) | E_LARGE;
	invalidate(t2[0], 1);
	check_eq(vcpu_peek(v, AT(6)), 512 + 6);
	*t2[0] = (uint64_t)t1[0] | E_TABLE;
	invalidate(t2[0], 1);
	check_eq(vcpu_peek(v, AT(6)), 600);
	/* the same page of the host as another frame */
	vm_slot(vm, FIRST_TEST_SLOT + 1, TEST_GPA + SIZE, ram, SIZE, 0);
	t1[0][6] = (TEST_GPA + SIZE + 600 * PAGE) | E_LEAF;
	check_eq(vcpu_peek(v, AT(6)), 600);
	vcpu_poke(v, AT(6), 601);
	vm_slot(vm, FIRST_TEST_SLOT + 1, TEST_GPA + SIZE, ram, 0, 0);
	check_eq(ram[600 * 512], 601);
	vm_free(vm);
}

/* Tables of levels 3, 2 and 1 that are one page, which the last one shows. */
static void a_table_may_lead_to_itself(void)
{
	uint64_t *self, va = WINDOW_FREE + 5 * (GIB + 2 * MIB + PAGE);

	begin(1);
	vcpu_vmfunc(v, 1);
	self = gib[0] + 5;
	*self = ((uint64_t)self & ~(PAGE - 1)) | E_TABLE;
	check_eq(vcpu_peek(v, va + 5 * 8), *self);
	check_eq(vcpu_peek(v, AT(5)), 5);
	vcpu_poke(v, va + 5 * 8, 0);
	check_eq(*self, 0);
	invalidate(self, 1);
	check_eq(vcpu_try_peek(v, va), PF_VECTOR);
	check_eq(vcpu_peek(v, AT(5)), 5);
	vm_free(vm);
}

static void a_list_of_invalidations_counts_its_rows(void)
{
	struct pvvas_hc_range *rows = vm_shared(2 * PAGE);
	int i;

	begin(1);
	vcpu_vmfunc(v, 1);
	for (i = 0; i < 100; i++) {
		check_eq(vcpu_peek(v, AT(i)), i);
		t1[0][i] = (TEST_GPA + (1000 + i) * PAGE) | E_LEAF;
		rows[i] = (struct pvvas_hc_range){ (uint64_t)t1[0], i, 1 };
	}
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE_LIST, (uint64_t)rows, 100, 0),
		 100);
	for (i = 0; i < 100; i++)
		check_eq(vcpu_peek(v, AT(i)), 1000 + i);
	rows[40].count = 0;
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE_LIST, (uint64_t)rows, 100, 0), 40);
	rows[0].count = 513;
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE_LIST, (uint64_t)rows, 100, 0),
		 -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE_LIST, (uint64_t)rows + 4, 1, 0),
		 -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE_LIST, (uint64_t)rows, 0, 0),
		 -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE_LIST, (uint64_t)rows,
			 PVVAS_MAX_BATCH + 1, 0), -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE_LIST, 1ULL << 38, 1, 0), -EFAULT);
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, (uint64_t)t1[0] + 8, 0, 1),
		 -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, (uint64_t)t1[0], 512, 1),
		 -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, (uint64_t)t1[0], 511, 2),
		 -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, (uint64_t)t1[0], 0,
			 (1ULL << 32) + 1), -EINVAL);
	/* memory that is no table: nothing to forget */
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, 1ULL << 38, 0, 512), 1);
	vm_free(vm);
}

static uint64_t *demand_table, demand_gpa, demand_cr2;
static uint32_t demand_access;

static void guest_demand(void)
{
	uint64_t i;

	demand_cr2 = gc_demand_address(gc_cpu()->cr2);
	demand_access = gc_demand_access(gc_cpu()->cr2);
	i = demand_cr2 >> 12 & 511;
	((volatile uint64_t *)demand_table)[i] = (demand_gpa + i * PAGE) | E_LEAF;
}

static uint64_t guest_touch(uint64_t va, uint64_t n, uint64_t step)
{
	gc_cpu()->demand = guest_demand;
	return guest_sum(va, n, step);
}

static uint64_t guest_demand_write(uint64_t va)
{
	gc_cpu()->demand = guest_demand;
	*(volatile uint64_t *)va = 77;
	return 0;
}

static void demand_faults_bring_their_address(void)
{
	uint64_t exits, calls, irqs, pages = 256;
	int k;

	begin(1);
	for (k = 0; k < 512; k++)
		t1[0][k] = PVVAS_EPT_DEMAND;
	demand_table = t1[0];
	demand_gpa = TEST_GPA;
	vcpu_vmfunc(v, 1);
	vcpu_user(v, guest_touch, AT(0), 8, PAGE);
	check_eq(demand_cr2, AT(7));
	check_eq(demand_access, 0);
	vcpu_user(v, guest_demand_write, AT(9) + 24);
	check_eq(demand_cr2, AT(9) + 24);
	check_eq(demand_access, PVVAS_PROT_WRITE);
	check_eq(ram[9 * 512 + 3], 77);

	exits = kvm_stat_of(v->fd, "exits");
	calls = kvm_stat_of(v->fd, "hypercalls");
	irqs = kvm_stat_of(v->fd, "irq_exits");
	vcpu_user(v, guest_touch, AT(16), pages, PAGE);
	exits = kvm_stat_of(v->fd, "exits") - exits;
	irqs = kvm_stat_of(v->fd, "irq_exits") - irqs;
	host_note("%lu pages on demand: %lu exits (%lu of them the host's)",
		  pages, exits, irqs);
	check_eq(kvm_stat_of(v->fd, "hypercalls"), calls);
	check(exits - irqs <= 2 * pages + 2);

	/* a right that the entry lacks: the same; one that those above lack: not */
	v->g->demand = NULL;
	t1[0][10] = (TEST_GPA + 10 * PAGE) | E_RO | PVVAS_EPT_DEMAND;
	invalidate(&t1[0][10], 1);
	check_eq(vcpu_peek(v, AT(10)), 10);
	check_eq(vcpu_try_poke(v, AT(10), 1), PVVAS_DEMAND_VECTOR);
	check_eq(gc_demand_address(v->g->cr2), AT(10));
	check_eq(gc_demand_access(v->g->cr2), PVVAS_PROT_WRITE);
	*t2[0] = (uint64_t)t1[0] | PVVAS_PROT_READ;
	invalidate(t2[0], 1);
	check_eq(vcpu_try_poke(v, AT(10), 1), PF_VECTOR);
	check_eq(vcpu_try_poke(v, AT(400), 1), PF_VECTOR);
	check_eq(vcpu_try_peek(v, AT(400)), PVVAS_DEMAND_VECTOR);
	/* an empty entry above asks too */
	*t2[0] = PVVAS_EPT_DEMAND;
	invalidate(t2[0], 1);
	check_eq(vcpu_try_peek(v, AT(10)), PVVAS_DEMAND_VECTOR);
	gib[0][1] = PVVAS_EPT_DEMAND;
	check_eq(vcpu_try_peek(v, AT(10) + GIB), PVVAS_DEMAND_VECTOR);
	check_eq(vcpu_try_peek(v, AT(10) + 2 * GIB), PF_VECTOR);
	vm_free(vm);
}

static void bad_entries_refuse(void)
{
	static const uint64_t bad[] = {
		PVVAS_PROT_WRITE | PVVAS_EPT_WB,		/* W without R */
		E_LEAF | 1ULL << 51,				/* beyond the width */
		PVVAS_PROT_ALL | 7ULL << 3,			/* memory type */
	};
	unsigned int i;

	begin(1);
	vcpu_vmfunc(v, 1);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		t1[0][5] = (TEST_GPA + 5 * PAGE) | bad[i];
		invalidate(&t1[0][5], 1);
		check_eq(vcpu_try_peek(v, AT(5)), PF_VECTOR);
		check_eq(vcpu_try_poke(v, AT(5), 1), PF_VECTOR);
	}
	t1[0][5] = (TEST_GPA + 5 * PAGE) | E_LEAF;
	check_eq(vcpu_peek(v, AT(5)), 5);
	/* a table where there is no memory */
	*t2[0] = 1ULL << 38 | E_TABLE;
	invalidate(t2[0], 1);
	check_eq(vcpu_try_peek(v, AT(5)), PF_VECTOR);
	vm_free(vm);
}

static void without_a_context_there_is_no_view(void)
{
	begin(2);
	vcpu_vmfunc(v, 2);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, 0, 0, 0);
	vcpu_prepare(v, (guest_fn)(void *)guest_sum, (uint64_t[4]) { AT(5), 1 });
	check_eq(vcpu_run_once(v), 0);
	check_eq(v->run->exit_reason, KVM_EXIT_MMIO);
	check_eq(v->run->mmio.phys_addr, window_gpa(vm, AT(5)));
	vm_free(vm);
}

static void what_is_no_memory_is_what_it_is_without_views(void)
{
	uint64_t ret;
	int i;

	begin(1);
	vcpu_vmfunc(v, 1);
	t1[0][5] = 0xd0000000 | E_LEAF;
	for (i = 0; i < 2; i++) {	/* the second by what KVM remembers */
		vcpu_prepare(v, (guest_fn)(void *)guest_sum,
			     (uint64_t[4]) { AT(5) + 16, 1 });
		check_eq(vcpu_run_once(v), 0);
		check_eq(v->run->exit_reason, KVM_EXIT_MMIO);
		check_eq(v->run->mmio.phys_addr, 0xd0000010);
		memcpy(v->run->mmio.data, "\1\2\3\4\5\6\7\10", 8);
		check_eq(vcpu_run_once(v), 0);
		check(vcpu_done(v, &ret));
		check_eq(ret, 0x0807060504030201);
	}
	t1[0][5] = 0;
	invalidate(&t1[0][5], 1);
	check_eq(vcpu_try_peek(v, AT(5)), PF_VECTOR);
	/* the same, forgotten, with what KVM remembers of another generation */
	t1[0][5] = 0xd0000000 | E_LEAF;
	vcpu_prepare(v, (guest_fn)(void *)guest_sum, (uint64_t[4]) { AT(5), 1 });
	check_eq(vcpu_run_once(v), 0);
	check_eq(v->run->exit_reason, KVM_EXIT_MMIO);
	check_eq(vcpu_run_once(v), 0);
	vm_ram(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 2 * SIZE, PAGE, 0);
	/* the latest address that an exit has told of is another */
	t1[0][6] = 0;
	invalidate(&t1[0][6], 1);
	check_eq(vcpu_try_peek(v, AT(6)), PF_VECTOR);
	t1[0][5] = 0;
	check_eq(vcpu_try_peek(v, AT(5)), PF_VECTOR);
	check_eq(v->g->cr2, AT(5));
	vm_free(vm);
}

static void execute_only_entries(void)
{
	struct pvvas_hc_info *info = vm_shared(PAGE);

	begin(1);
	check_eq(vcpu_hc(v, PVVAS_HC_INFO, (uint64_t)info, sizeof(*info), 0),
		 sizeof(*info));
	if (!(info->features & PVVAS_FEATURE_EXEC_ONLY))
		host_skip("the CPU has no execute-only entries");
	vcpu_vmfunc(v, 1);
	*(unsigned char *)&ram[5 * 512] = 0xc3;
	t1[0][5] = (TEST_GPA + 5 * PAGE) | PVVAS_PROT_EXEC | PVVAS_EPT_WB;
	check_eq(vcpu_call(v, (guest_fn)(void *)guest_nop, 0), 0);
	check_eq(vcpu_try_peek(v, AT(5)), PF_VECTOR);
	check_eq(vcpu_call(v, (guest_fn)AT(5), 0) & 0, 0);
	vm_free(vm);
}

static uint64_t rdtsc(void)
{
	uint32_t low, high;

	asm volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* Each of some steps by itself, since the host has other things to do, too. */
#define NR_TIMES	129
static uint64_t times[NR_TIMES];

static uint64_t guest_reads(uint64_t va, uint64_t n)
{
	uint64_t i, t;

	for (i = 0; i < n; i++) {
		t = rdtsc();
		*(volatile uint64_t *)(va + i * PAGE);
		times[i] = rdtsc() - t;
	}
	return 0;
}

static uint64_t guest_demands(uint64_t va, uint64_t n)
{
	gc_cpu()->demand = guest_demand;
	return guest_reads(va, n);
}

static uint64_t guest_unmaps(uint64_t table, uint64_t n)
{
	uint64_t i, t;

	for (i = 0; i < n; i++) {
		t = rdtsc();
		((volatile uint64_t *)table)[i] = 0;
		hc(PVVAS_HC_INVALIDATE, table, i, 1);
		times[i] = rdtsc() - t;
	}
	return 0;
}

static uint64_t guest_calls(uint64_t nr, uint64_t a, uint64_t n)
{
	uint64_t i, t;

	for (i = 0; i < n; i++) {
		t = rdtsc();
		__hc(nr, a, 0, 1);
		times[i] = rdtsc() - t;
	}
	return 0;
}

/* A view made and destroyed, as an attach and a detach do. */
static uint64_t guest_lives(uint64_t c, uint64_t root, uint64_t n)
{
	uint64_t i, t;
	long id;

	for (i = 0; i < n; i++) {
		t = rdtsc();
		id = __hc4(PVVAS_HC_VIEW_CREATE, c, 9, root, i);
		gcheck(id > 0);
		hc(PVVAS_HC_VIEW_DESTROY, id, 0, 0);
		times[i] = rdtsc() - t;
	}
	return 0;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void median(const char *what, uint64_t n)
{
	uint64_t i, sum = 0;

	for (i = 0; i < n; i++)
		sum += times[i];
	qsort(times, n, sizeof(times[0]), by_size);
	host_note("%s: %lu instructions, mean %lu", what, times[n / 2], sum / n);
}

static void figures(void)
{
	const uint64_t n = 100;
	uint64_t k, *root;

	begin(2);
	vcpu_vmfunc(v, 1);
	vcpu_call(v, guest_nop, 0);
	vcpu_user(v, guest_nop, 0);
	vcpu_user(v, guest_reads, AT(0), 8);
	vcpu_user(v, guest_reads, AT(8), NR_TIMES - 1);
	median("a first touch, of which each eighth is a fault", NR_TIMES - 1);
	vcpu_call(v, guest_unmaps, (uint64_t)t1[0], n);
	median("unmap of a page", n);
	for (k = 0; k < 512; k++)
		t1[0][k] = PVVAS_EPT_DEMAND;
	invalidate(t1[0], 512);
	demand_table = t1[0];
	demand_gpa = TEST_GPA;
	vcpu_user(v, guest_demands, AT(0), 8);
	vcpu_user(v, guest_demands, AT(8), n);
	median("a page on demand", n);
	vcpu_call(v, guest_calls, PVVAS_HC_LAST + 1, 0, n);
	median("an unknown hypercall", n);
	vcpu_call(v, guest_calls, PVVAS_HC_INVALIDATE, TEST_GPA, n);
	median("an invalidation of nothing", n);
	vcpu_call(v, guest_calls, PVVAS_HC_CTX_LOAD, ctx, n);
	median("a context loaded", n);
	root = root_new(vm);
	vcpu_call(v, guest_lives, ctx, (uint64_t)root, 2);
	vcpu_call(v, guest_lives, ctx, (uint64_t)root, n);
	median("a view created and destroyed", n);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(switches_take_no_exits),
	CASE(a_shared_subtree_faults_once),
	CASE(new_entries_and_more_rights_need_no_invalidation),
	CASE(an_invalidation_ends_what_was),
	CASE(a_table_may_lead_to_itself),
	CASE(a_list_of_invalidations_counts_its_rows),
	CASE(demand_faults_bring_their_address),
	CASE(bad_entries_refuse),
	CASE(without_a_context_there_is_no_view),
	CASE(what_is_no_memory_is_what_it_is_without_views),
	CASE(execute_only_entries),
	CASE(figures),
};

HOSTCASE_MAIN(cases)
