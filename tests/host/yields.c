// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens while KVM lets go of mmu_lock in the middle of a zap or of a list
 * of invalidations: for YIELD ms each time, as the cases tell the modules of
 * tests/flushes, which is long enough for what is to happen meanwhile.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "beside.h"

#define SIZE		(2 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define WORD(page)	((page) * PAGE / 8)
#define RAM_GPA		(TEST_GPA + 16 * MIB)
#define RAM_SLOT	(FIRST_TEST_SLOT + 1)
#define YIELD_MS	"/sys/module/kvm/parameters/pvvas_yield_ms"
#define YIELD		500
/*
 * With the plain views of two contexts: the view's root comes between the tenth
 * and the twentieth, or is the twentieth.
 */
#define EARLIER		12
#define EARLIER_17	17
#define OLDER		20
#define LATER		100

static struct vm *vm;
static struct vcpu *v;
static struct scene s;
static volatile uint64_t stop;
static volatile uint64_t written, read_too_old, reads;

/* Tables of slot 2's view, from @first on, which lead to @other. */
static void use_tables(uint64_t first, uint64_t count, const uint64_t *other)
{
	uint64_t i, *table, va;

	vcpu_vmfunc(v, 2);
	for (i = first; i < first + count; i++) {
		va = WINDOW_FREE + 8 * MIB + i * 2 * MIB;
		table = vm_shared(PAGE);
		table[0] = (uint64_t)other | PVVAS_PROT_ALL | PVVAS_EPT_WB;
		*root_2mib(vm, view_root(s.view[1]), va) =
			(uint64_t)table | PVVAS_PROT_ALL;
		check_eq(vcpu_peek(v, va), 1000);
	}
}

/*
 * Roots that a zap of all finds before that of slot 1's view, and tables that it
 * finds before and after those of that view: it yields after each ten roots, or
 * tables.
 */
static void begin_between_others(int vcpus, uint64_t earlier)
{
	uint64_t i, ctx, *other;

	host_need_parameter(YIELD_MS);
	vm = vm_new(vcpus);
	v = &vm->vcpus[0];
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 4000);
	ctx = ctx_new(v);
	for (i = 0; i < earlier; i++)
		view_new(v, ctx, 0, 0);
	scene_make(&s, vm, SIZE, 2);
	/*
	 * Of other memory: else a notifier for the page that the cases take, whose
	 * huge page it splits, finds the leaves of these, and flushes.
	 */
	other = vm_shared(PAGE);
	*other = 1000;
	use_tables(0, OLDER, other);
	vcpu_vmfunc(v, 1);
	for (i = 0; i < 16; i++)
		vcpu_poke(v, AT(i), 1000 + i);
	use_tables(OLDER, LATER, other);
}

static void *zapper(void *arg)
{
	(void)arg;
	vm_slot(vm, RAM_SLOT, RAM_GPA, NULL, 0, 0);
	return NULL;
}

/* Never older than what was written when it began to read. */
static uint64_t guest_reads(uint64_t va)
{
	uint64_t least, val;

	vmfunc(0, 1);
	while (!stop) {
		least = written;
		val = *(volatile uint64_t *)va;
		if (val < least)
			read_too_old = least;
		reads++;
	}
	vmfunc(0, 0);
	return 0;
}

static void *reader(void *arg)
{
	beside_stay_on(1);
	vcpu_call(arg, guest_reads, AT(1));
	return NULL;
}

static void wait_for_reads(void)
{
	uint64_t first = reads;

	while (reads < first + 100)
		usleep(1000);
}

/* @takes_away yields: the page that the other vCPU reads becomes another. */
static void take_a_page_meanwhile(void *(*takes_away)(void *), int yields)
{
	int file = memfd_create("page", 0);
	uint64_t *page = &s.ram[WORD(1)], val = 2000;
	pthread_t r, z;

	check_eq(ftruncate(file, PAGE), 0);
	check_eq(pwrite(file, &val, sizeof(val), 0), sizeof(val));
	beside_stay_on(0);
	vcpu_hc_ok(&vm->vcpus[1], PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
	check_eq(pthread_create(&r, NULL, reader, &vm->vcpus[1]), 0);
	wait_for_reads();
	host_put(YIELD_MS, "%d", YIELD);
	check_eq(pthread_create(&z, NULL, takes_away, NULL), 0);
	usleep(yields * YIELD * 1000 + YIELD * 500);
	check(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		   file, 0) == page);
	written = val;
	wait_for_reads();
	host_put(YIELD_MS, "0");
	pthread_join(z, NULL);
	stop = 1;
	pthread_join(r, NULL);
	check_eq(read_too_old, 0);
}

/*
 * kvm_zap_obsolete_pages() empties the roots, then takes the tables below, and
 * the leaves with them.  When it yields then, a notifier finds nothing: no CPU
 * may know of a leaf by that time.
 */
static void what_a_zap_has_taken_is_flushed_before_it_yields(void)
{
	begin_between_others(2, EARLIER);
	vm_ram(vm, RAM_SLOT, RAM_GPA, SIZE, 0);
	vcpu_vmfunc(v, 0);
	take_a_page_meanwhile(zapper, 5);
	vm_free(vm);
}

/*
 * The view's root is emptied after the vCPU has been in it once more: by a fault,
 * or by the zap, which yields then.  For the entry that the guest invalidates
 * there is nothing left to take.
 */
static void gone_when_invalidated(uint64_t earlier, bool by_a_fault)
{
	uint64_t *root, i;
	pthread_t z;

	begin_between_others(1, earlier);
	vm_ram(vm, RAM_SLOT, RAM_GPA, SIZE, 0);
	vcpu_vmfunc(v, 1);
	root = view_root(s.view[0]);
	i = window_gpa(vm, AT(1)) >> 39 & 511;
	host_put(YIELD_MS, "%d", YIELD);
	check_eq(pthread_create(&z, NULL, zapper, NULL), 0);
	usleep(YIELD * 500);
	check_eq(vcpu_peek(v, AT(1)), 1001);
	if (by_a_fault)
		check_eq(vcpu_peek(v, TEST_GPA + 20 * PAGE), 0);
	else
		usleep(YIELD * 1000);
	root[i] = 0;
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, (uint64_t)root, i, 1), 1);
	check_eq(vcpu_try_peek(v, AT(1)), PF_VECTOR);
	host_put(YIELD_MS, "0");
	pthread_join(z, NULL);
	vm_free(vm);
}

/* view_empty_obsolete_roots() */
static void what_an_emptied_root_had_is_gone_when_invalidated(void)
{
	gone_when_invalidated(EARLIER_17, false);
}

/* view_renew_root() */
static void what_a_renewed_root_had_is_gone_when_invalidated(void)
{
	gone_when_invalidated(EARLIER, true);
}

static struct pvvas_hc_range *rows;

static void *invalidator(void *arg)
{
	(void)arg;
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE_LIST, (uint64_t)rows, 3, 0), 3);
	return NULL;
}

/* kvm_view_invalidate(): what its first rows have taken */
static void what_a_list_has_taken_is_flushed_before_it_yields(void)
{
	uint64_t i;

	begin_between_others(2, EARLIER);
	rows = vm_shared(PAGE);
	for (i = 0; i < 3; i++)
		rows[i] = (struct pvvas_hc_range){
			(uint64_t)seg_table(s.seg, 0), 0, 16 };
	vcpu_vmfunc(v, 0);
	take_a_page_meanwhile(invalidator, 0);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE_ONLY_NAMED(what_a_zap_has_taken_is_flushed_before_it_yields),
	CASE_ONLY_NAMED(what_an_emptied_root_had_is_gone_when_invalidated),
	CASE_ONLY_NAMED(what_a_list_has_taken_is_flushed_before_it_yields),
	CASE_ONLY_NAMED(what_a_renewed_root_had_is_gone_when_invalidated),
};

HOSTCASE_MAIN(cases)
