// SPDX-License-Identifier: GPL-2.0-only
/*
 * What views cost in pages of the host: KVM's own count of tables, what the
 * host says of small objects, and who is charged for both.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm.h"

#define NR_CTXS		10
#define NR_VIEWS	(NR_CTXS * 400)
#define PIECES		512	/* of 2 MiB: 1 GiB */

/* Pages that the host's small objects take. */
static int64_t slab_pages(void)
{
	long long kb = -1;
	char line[128];
	FILE *f;

	f = fopen("/proc/meminfo", "r");
	check(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Slab: %lld", &kb) == 1)
			break;
	fclose(f);
	check(kb > 0);
	return kb / 4;
}

static void an_idle_view_costs_at_most_three_pages(void)
{
	struct pvvas_hc_stats before, after;
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t ctx[NR_CTXS], view, i;
	int64_t slab, tables;

	for (i = 0; i < NR_CTXS; i++)
		ctx[i] = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	vcpu_stats(v, &before);
	slab = slab_pages();
	for (i = 0; i < NR_VIEWS; i++) {
		view = vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, ctx[i % NR_CTXS], 0,
				  i);
		vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, ctx[i % NR_CTXS],
			   1 + i / NR_CTXS, view);
	}
	slab = slab_pages() - slab;
	vcpu_stats(v, &after);
	tables = after.tables - before.tables;
	host_note("%d views: %ld tables, %ld pages of small objects", NR_VIEWS,
		  tables, slab);
	check(tables >= NR_VIEWS && slab > 0);
	check(tables + slab <= 3 * NR_VIEWS);
	vm_free(vm);
}

/* Read a word of each piece. */
static uint64_t guest_touch(uint64_t va, uint64_t n, uint64_t step)
{
	uint64_t i, sum = 0;

	for (i = 0; i < n; i++)
		sum += *(volatile uint64_t *)(va + i * step);
	return sum;
}

/*
 * 1 GiB of which each 2 MiB is the same memory, and has leaf or table; @off
 * from the beginning of a GiB.
 */
static void attach_twice(bool huge, uint64_t off)
{
	uint64_t at = WINDOW_FREE + off, gibs = off ? 2 : 1, links;
	struct pvvas_hc_stats before, attached, used;
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t *ram = vm_mem(2 * MIB);
	uint64_t ctx, seg, view[2], i;

	madvise(ram, 2 * MIB, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(ram, 0, 2 * MIB);
	ram[0] = 3;
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, 2 * MIB, 0);
	ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	seg = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE, window_gpa(vm, at), GIB, 0);
	for (i = 0; i < PIECES; i++)
		check_eq(vcpu_map(v, PVVAS_HC_SEG_MAP, seg, i * 2 * MIB,
				  TEST_GPA, 2 * MIB, 3), 1);
	for (i = 0; i < 2; i++) {
		view[i] = vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, ctx, 0, 0);
		vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, ctx, 1 + i, view[i]);
	}
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view[0], seg, 3);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	vcpu_vmfunc(v, 1);
	vcpu_stats(v, &attached);
	check_eq(vcpu_call(v, guest_touch, at, PIECES, 2 * MIB),
		 3 * PIECES);
	vcpu_stats(v, &before);
	check_eq(before.filled - attached.filled, PIECES);
	/* tables of levels 3 and 2, and of level 1 where leaves are small */
	check_eq(before.tables - attached.tables,
		 1 + gibs + (huge ? 0 : PIECES));

	links = kvm_stat_of(vm->fd, "pvvas_links");
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view[1], seg, 3);
	check_eq(kvm_stat_of(vm->fd, "pvvas_links") - links, gibs);
	vcpu_vmfunc(v, 2);
	vcpu_stats(v, &attached);
	check_eq(vcpu_call(v, guest_touch, at, PIECES, 2 * MIB),
		 3 * PIECES);
	vcpu_stats(v, &used);
	host_note("second view: %llu pages, %llu faults in the window",
		  used.tables - before.tables,
		  used.window_faults - attached.window_faults);
	check(used.tables - before.tables <= 2);
	check_eq(used.window_faults, attached.window_faults);
	vm_free(vm);
}

static void a_second_view_of_1_gib_costs_two_pages_and_no_fault(void)
{
	attach_twice(false, 0);
}

static void a_second_view_of_1_gib_in_large_leaves_costs_no_more(void)
{
	attach_twice(true, 0);
}

static void a_second_view_of_1_gib_anywhere_costs_no_more(void)
{
	attach_twice(false, 2 * MIB);
	attach_twice(true, GIB / 2);
}

#define GROUPS		"/tmp/groups/"
#define GROUP		GROUPS "views/"
#define NR_CHARGED	2000

/* A number of the group's memory.stat, in bytes. */
static int64_t charged(const char *name)
{
	long long bytes = -1;
	char line[128];
	size_t n = strlen(name);
	FILE *f;

	f = fopen(GROUP "memory.stat", "r");
	check(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, n) && line[n] == ' ')
			sscanf(line + n, "%lld", &bytes);
	fclose(f);
	check(bytes >= 0);
	return bytes;
}

/* Tables and objects count for the group of the VMM, and leave with them. */
static void tables_and_objects_are_charged_to_the_vmm(void)
{
	int64_t tables, objects;
	struct vm *vm;
	struct vcpu *v;
	uint64_t ctx, seg, i;

	mkdir(GROUPS, 0700);
	check_eq(mount("none", GROUPS, "cgroup2", 0, NULL), 0);
	host_put(GROUPS "cgroup.subtree_control", "+memory");
	mkdir(GROUP, 0700);
	host_put(GROUP "cgroup.procs", "0");

	vm = vm_new(1);
	v = &vm->vcpus[0];
	ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	seg = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE, window_gpa(vm, WINDOW_FREE),
			 GIB, 0);
	tables = charged("sec_pagetables");
	for (i = 0; i < NR_CHARGED; i++)
		vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, ctx, 0, 0);
	tables = charged("sec_pagetables") - tables;
	objects = charged("slab");
	/* every other page: none is joined with the one before */
	for (i = 0; i < NR_CHARGED; i++)
		check_eq(vcpu_map(v, PVVAS_HC_SEG_MAP, seg, i * 2 * PAGE,
				  TEST_GPA, PAGE, 3), 1);
	objects = charged("slab") - objects;
	host_note("%d views: %ld bytes of tables; %d extents: %ld of objects",
		  NR_CHARGED, tables, NR_CHARGED, objects);
	check(tables >= (int64_t)(NR_CHARGED * PAGE));
	/* two nodes of a tree with bounds, at least; up to a page is in hand */
	check(objects >= NR_CHARGED * 64 - (int64_t)PAGE);
	vm_free(vm);

	host_put(GROUPS "cgroup.procs", "0");
	rmdir(GROUP);
	umount2(GROUPS, MNT_DETACH);
}

static const struct hostcase cases[] = {
	CASE(an_idle_view_costs_at_most_three_pages),
	CASE(a_second_view_of_1_gib_costs_two_pages_and_no_fault),
	CASE(a_second_view_of_1_gib_in_large_leaves_costs_no_more),
	CASE(a_second_view_of_1_gib_anywhere_costs_no_more),
	CASE(tables_and_objects_are_charged_to_the_vmm),
};

HOSTCASE_MAIN(cases)
