// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest's tables may cost the host where it holds mmu_lock: one frame in
 * very many places, one table in very many, many leaves, the log of a large
 * slot, a page to recycle. Budgets are instructions of the emulated machine; on
 * another they are only said, and so they are on a kernel that checks itself.
 */
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "patience.h"
#include "vm.h"

#define E_TABLE		((uint64_t)PVVAS_PROT_ALL)
#define E_LEAF		(PVVAS_PROT_ALL | PVVAS_EPT_WB)
#define SIZE		(4 * MIB)
#define NR_TABLES	64
/* What the emulated clock makes of an instruction: images/bochs-3.0/bochsrc.in. */
#define NS_EACH		10

static struct vm *vm;
static struct vcpu *v;
static char *ram;
static uint64_t ctx, view, *root;

static double now(void)
{
	struct timespec t;

	/* without what else runs, as after a boot */
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void within(const char *what, double since, double budget)
{
	double n = (now() - since) / NS_EACH;

	host_note("%s: %.0f instructions of %.0f", what, n, budget);
	check(n <= budget || patience() > 1);
}

static void begin(uint64_t size, unsigned long pages)
{
	vm = vm_new(1);
	v = &vm->vcpus[0];
	ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, size, 0);
	if (pages)
		vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, pages);
	ctx = ctx_new(v);
	view = view_new(v, ctx, 1, 0);
	root = view_root(view);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	vcpu_vmfunc(v, 1);
}

static uint64_t guest_write(uint64_t va, uint64_t n, uint64_t step)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		*(volatile uint64_t *)(va + i * step) = i;
	return 0;
}

static uint64_t bits[160 * MIB / PAGE / 64];

static void get_log(void)
{
	struct kvm_dirty_log log = { .slot = FIRST_TEST_SLOT,
				     .dirty_bitmap = bits };

	vm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
}

/* A view with NR_TABLES tables, full of leaves whose frames are @step apart. */
static void begin_with_many_leaves(uint64_t step)
{
	uint64_t i, k, *t;

	begin(SIZE, 4000);
	for (i = 0; i < NR_TABLES; i++) {
		t = vm_shared(PAGE);
		for (k = 0; k < 512; k++)
			t[k] = (TEST_GPA + k * step) | E_LEAF;
		*root_2mib(vm, root, WINDOW_FREE + i * 2 * MIB) =
			(uint64_t)t | E_TABLE;
	}
}

static void one_frame_in_very_many_places(void)
{
	double since;

	begin_with_many_leaves(0);
	since = now();
	vcpu_call(v, guest_write, WINDOW_FREE, NR_TABLES * 512, PAGE);
	within("32768 entries for one frame", since, NR_TABLES * 512 * 4000.0);
	since = now();
	check_eq(madvise(ram, PAGE, MADV_DONTNEED), 0);
	within("the host takes it", since, 1e6);

	vcpu_call(v, guest_write, WINDOW_FREE, NR_TABLES * 512, PAGE);
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, SIZE,
		KVM_MEM_LOG_DIRTY_PAGES);
	vcpu_call(v, guest_write, WINDOW_FREE, NR_TABLES * 512, PAGE);
	since = now();
	get_log();
	within("its word of the dirty log", since, 1e6);
	check_eq(bits[0], 1);
	vm_free(vm);
}

static void one_table_in_very_many_places(void)
{
	uint64_t i, *t, *one = vm_shared(PAGE);
	double since;

	begin(SIZE, 4000);
	for (i = 0; i < 512; i++)
		one[i] = (TEST_GPA + i * PAGE) | E_LEAF;
	/* 16 tables of level 2 of 512 entries each, all for one table */
	for (i = 0; i < 16 * 512; i++) {
		t = root_2mib(vm, root, WINDOW_FREE + i * 2 * MIB);
		*t = (uint64_t)one | E_TABLE;
	}
	since = now();
	vcpu_call(v, guest_write, WINDOW_FREE, 6 * 512, 2 * MIB);
	within("3072 entries for one table", since, 6 * 512 * 20000.0);
	one[0] = 0;
	since = now();
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, (uint64_t)one, 0, 512), 1);
	within("its invalidation", since, 1e5);
	check_eq(vcpu_try_peek(v, WINDOW_FREE), 14);
	check_eq(vcpu_try_peek(v, WINDOW_FREE + PAGE), -1);
	vm_free(vm);
}

static void an_unrelated_slot_with_many_leaves(void)
{
	double since;

	begin_with_many_leaves(PAGE);
	vm_ram(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 64 * MIB, 2 * MIB, 0);
	vcpu_call(v, guest_write, WINDOW_FREE, NR_TABLES * 512, PAGE);
	since = now();
	vm_slot(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 64 * MIB, 0, 0, 0);
	within("an unrelated slot deleted beside 32768 leaves", since,
	       NR_TABLES * 512 * 800.0);
	vcpu_call(v, guest_write, WINDOW_FREE, 16, PAGE);
	vm_free(vm);
}

/* What is below it may be other views' too, or soon used again: it stays. */
static void a_view_with_many_leaves_is_destroyed(void)
{
	double since;

	begin_with_many_leaves(PAGE);
	vcpu_call(v, guest_write, WINDOW_FREE, NR_TABLES * 512, PAGE);
	vcpu_vmfunc(v, 0);
	since = now();
	vcpu_hc_ok(v, PVVAS_HC_VIEW_DESTROY, view, 0, 0);
	within("a view with 32768 leaves destroyed", since, 1e6);
	vm_free(vm);
}

/* Roots cannot be recycled: what looks for a page does not pass over them. */
static void a_page_recycled_beside_many_roots(void)
{
	const unsigned int roots = 3000, tables = 3100;
	struct pvvas_hc_stats s;
	uint64_t i, *t;
	double since;

	begin(SIZE, 8000);
	for (i = 0; i < roots; i++)
		vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, ctx, 0,
			   (uint64_t)vm_shared(PAGE));
	for (i = 0; i < tables; i++) {
		t = vm_shared(PAGE);
		t[0] = TEST_GPA | E_LEAF;
		*root_2mib(vm, root, WINDOW_FREE + i * 2 * MIB) =
			(uint64_t)t | E_TABLE;
	}
	vcpu_call(v, guest_write, WINDOW_FREE, tables, 2 * MIB);
	vcpu_stats(v, &s);
	check(s.shadow_pages > roots + tables);
	/* those that are older than the roots, and then one more */
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, s.shadow_pages - 50);
	since = now();
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, s.shadow_pages - 51);
	within("one page recycled beside 3000 roots", since, 30000);
	check_eq(kvm_stat_of(vm->fd, "mmu_recycled"), 51);
	vcpu_call(v, guest_write, WINDOW_FREE, tables, 2 * MIB);
	vm_free(vm);
}

static void the_log_of_a_large_slot(void)
{
	const uint64_t size = 160 * MIB, words = size / PAGE / 64;
	uint64_t i, n = 0;
	double since;

	begin(size, 0);
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, size,
		KVM_MEM_LOG_DIRTY_PAGES);
	vcpu_call(v, guest_write, TEST_GPA, words, 64 * PAGE);
	since = now();
	get_log();
	within("the log of 160 MiB with a page dirty in each word", since,
	       words * 12000.0);
	for (i = 0; i < words; i++)
		n += __builtin_popcountll(bits[i]);
	check_eq(n, words);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE_SECONDS(one_frame_in_very_many_places, 120),
	CASE_SECONDS(one_table_in_very_many_places, 120),
	CASE_SECONDS(an_unrelated_slot_with_many_leaves, 120),
	CASE_SECONDS(a_view_with_many_leaves_is_destroyed, 120),
	CASE_SECONDS(a_page_recycled_beside_many_roots, 120),
	CASE_SECONDS(the_log_of_a_large_slot, 120),
};

HOSTCASE_MAIN(cases)
