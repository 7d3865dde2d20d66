// SPDX-License-Identifier: GPL-2.0-only
/*
 * Huge pages that may not be executed (kvm.nx_huge_pages): no large leaf of a
 * window gets around it, and its recovery thread takes tables away from under
 * live views.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

#define SIZE		(2 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define NX		"/sys/module/kvm/parameters/nx_huge_pages"

static struct vm *vm;
static struct vcpu *v;
static struct scene s;

static void begin(void)
{
	vm = vm_new(1);
	v = &vm->vcpus[0];
	s.ram = vm_mem(SIZE);
	check_eq(madvise(s.ram, SIZE, MADV_HUGEPAGE), 0);
	memset(s.ram, 0xc3, SIZE);	/* ret */
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, SIZE, 0);
	scene_over(&s, vm, TEST_GPA, SIZE, 2);
	vcpu_vmfunc(v, 1);
}

/* Faults that reading 16 pages takes. */
static uint64_t leaves(void)
{
	struct pvvas_hc_stats before, after;
	int i;

	vcpu_stats(v, &before);
	for (i = 0; i < 16; i++)
		check_eq(vcpu_peek(v, AT(i)), 0xc3c3c3c3c3c3c3c3ULL);
	vcpu_stats(v, &after);
	return after.view_faults - before.view_faults;
}

static void what_may_be_executed_is_large_only_if_allowed(void)
{
	begin();
	host_put(NX, "off");
	check_eq(leaves(), 1);
	/* what is there already goes too */
	host_put(NX, "force");
	check_eq(leaves(), 2);	/* small ones, 8 at a time */
	seg_rights(v, s.seg, 0, SIZE, PVVAS_PROT_READ);
	check_eq(leaves(), 1);	/* large again, instead of the table */
	host_put(NX, "off");
	vm_free(vm);
}

static uint64_t guest_ret(uint64_t va)
{
	((void (*)(void))va)();
	return 1;
}

static void the_recovery_of_huge_pages_spares_views(void)
{
	int round, i;

	host_put(NX, "force");
	host_put(NX "_recovery_ratio", "1");
	begin();
	for (round = 0; round < 5; round++) {
		/* later than what follows takes; a shorter period wakes it */
		host_put(NX "_recovery_period_ms", "3600000");
		/* splits the huge page of RAM, in the table that views share */
		check_eq(vcpu_call(v, guest_ret, TEST_GPA + 8 * PAGE), 1);
		check_eq(vcpu_call(v, guest_ret, AT(8)), 1);
		check(kvm_stat_of(vm->fd, "nx_lpage_splits") > 0);
		host_put(NX "_recovery_period_ms", "20");
		for (i = 0; i < 500; i++) {
			if (!kvm_stat_of(vm->fd, "nx_lpage_splits"))
				break;
			usleep(10000);
		}
		check_eq(kvm_stat_of(vm->fd, "nx_lpage_splits"), 0);
		check_eq(vcpu_view(v), s.view[round % 2]);
		check_eq(vcpu_peek(v, AT(3)), vcpu_peek(v, TEST_GPA + 3 * PAGE));
		vcpu_poke(v, AT(4), round);
		check_eq(vcpu_peek(v, TEST_GPA + 4 * PAGE), round);
		vcpu_vmfunc(v, 2 - round % 2);
	}
	vm_free(vm);
	host_put(NX, "off");
}

static const struct hostcase cases[] = {
	CASE(what_may_be_executed_is_large_only_if_allowed),
	CASE(the_recovery_of_huge_pages_spares_views),
};

HOSTCASE_MAIN(cases)
