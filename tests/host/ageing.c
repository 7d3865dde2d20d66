// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host asks which pages are in use: what is used through a view is young,
 * what is not grows old. DAMON asks, as reclaim would.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "patience.h"
#include "vm.h"

#define SIZE		(2 * MIB)
#define DAMON		"/sys/kernel/mm/damon/admin/kdamonds/"
#define CONTEXT		DAMON "0/contexts/0/"
#define SCHEME		CONTEXT "schemes/0/"

static struct vm *vm;
static struct scene s;
static atomic_int stop;

/*
 * Watch this process's memory behind the segment, and only that: "vaddr" would
 * take the whole address space in at its next update.
 */
static void watch(void)
{
	host_put(DAMON "nr_kdamonds", "1");
	host_put(DAMON "0/contexts/nr_contexts", "1");
	host_put(CONTEXT "operations", "fvaddr");
	host_put(CONTEXT "monitoring_attrs/intervals/sample_us", "%u",
		 2000 * patience());
	host_put(CONTEXT "monitoring_attrs/intervals/aggr_us", "%u",
		 40000 * patience());
	host_put(CONTEXT "monitoring_attrs/nr_regions/min", "3");
	host_put(CONTEXT "monitoring_attrs/nr_regions/max", "3");
	host_put(CONTEXT "targets/nr_targets", "1");
	host_put(CONTEXT "targets/0/pid_target", "%d", getpid());
	host_put(CONTEXT "targets/0/regions/nr_regions", "1");
	host_put(CONTEXT "targets/0/regions/0/start", "%lu", (uint64_t)s.ram);
	host_put(CONTEXT "targets/0/regions/0/end", "%lu",
		 (unsigned long)s.ram + (unsigned long)SIZE);
	host_put(CONTEXT "schemes/nr_schemes", "1");
	host_put(SCHEME "action", "stat");
	host_put(SCHEME "access_pattern/sz/min", "0");
	host_put(SCHEME "access_pattern/sz/max", "%lu", ~0UL);
	host_put(SCHEME "access_pattern/nr_accesses/min", "0");
	host_put(SCHEME "access_pattern/nr_accesses/max", "%u", ~0U);
	host_put(SCHEME "access_pattern/age/min", "0");
	host_put(SCHEME "access_pattern/age/max", "%u", ~0U);
	host_put(DAMON "0/state", "on");
}

/* Accesses that were seen in the latest whole interval. */
static long long seen(void)
{
	long long sum = 0, n, i;

	usleep(120000 * patience());
	host_put(DAMON "0/state", "update_schemes_tried_regions");
	for (i = 0; i < 3; i++) {
		n = host_number(SCHEME "tried_regions/%lld/nr_accesses", i);
		if (n > 0)
			sum += n;
	}
	return sum;
}

static uint64_t guest_use(uint64_t n)
{
	uint64_t i, sum = 0;

	/* the host's ticks let it out; VMFUNC takes an emulator long */
	for (i = 0; i < n && !atomic_load(&stop); i++) {
		if (i % 4096 == 0)
			vmfunc(0, 1 + i / 4096 % 2);
		sum += *(volatile uint64_t *)(WINDOW_FREE + i % 512 * 4096);
	}
	return sum;
}

static void *use(void *arg)
{
	vcpu_call(arg, guest_use, ~0ULL);
	return NULL;
}

static void begin(bool huge)
{
	struct pvvas_hc_stats before, after;

	vm = vm_new(1);
	s.ram = vm_mem(SIZE);
	check_eq(madvise(s.ram, SIZE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE),
		 0);
	memset(s.ram, 1, SIZE);
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, SIZE, 0);
	scene_over(&s, vm, TEST_GPA, SIZE, 2);
	vcpu_stats(s.v, &before);
	/* the leaves are there, and only views use the memory */
	vcpu_call(s.v, guest_use, 8192);
	vcpu_stats(s.v, &after);
	check(after.view_faults > before.view_faults);
	watch();
}

static void used_is_young(bool huge)
{
	pthread_t t;
	long long n;

	begin(huge);
	check_eq(pthread_create(&t, NULL, use, s.v), 0);
	seen();
	n = seen();
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	host_note("%lld accesses seen", n);
	host_put(DAMON "0/state", "off");
	check(n > 10);
	vm_free(vm);
}

static void what_a_view_uses_is_young(void)
{
	used_is_young(false);
}

static void what_a_view_uses_of_a_huge_page_is_young(void)
{
	used_is_young(true);
}

static void unused_grows_old(bool huge)
{
	long long n;

	begin(huge);
	seen();
	n = seen();
	host_note("%lld accesses seen", n);
	host_put(DAMON "0/state", "off");
	check_eq(n, 0);
	vm_free(vm);
}

static void what_no_view_uses_grows_old(void)
{
	unused_grows_old(false);
}

static void a_huge_page_that_no_view_uses_grows_old(void)
{
	unused_grows_old(true);
}

static const struct hostcase cases[] = {
	CASE(what_a_view_uses_is_young),
	CASE(what_a_view_uses_of_a_huge_page_is_young),
	CASE(what_no_view_uses_grows_old),
	CASE(a_huge_page_that_no_view_uses_grows_old),
};

HOSTCASE_MAIN(cases)
