// SPDX-License-Identifier: GPL-2.0-only
/*
 * What views cost in pages of the host: KVM's own count of tables, what the
 * host says of small objects, and which process is charged for both.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm.h"

#define NR_CTXS		10
#define NR_VIEWS	(NR_CTXS * 40)

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
	uint64_t ctx[NR_CTXS], i;
	int64_t slab, tables;

	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 4 * NR_VIEWS);

	for (i = 0; i < NR_CTXS; i++)
		ctx[i] = ctx_new(v);
	vcpu_stats(v, &before);
	slab = slab_pages();
	for (i = 0; i < NR_VIEWS; i++)
		view_new(v, ctx[i % NR_CTXS], 1 + i / NR_CTXS, i);
	slab = slab_pages() - slab;
	vcpu_stats(v, &after);
	tables = 2 * (after.shadow_pages - before.shadow_pages);
	host_note("%d views: %ld pages of tables, %ld of small objects", NR_VIEWS,
		  tables, slab);
	check(tables >= NR_VIEWS && slab > 0);
	check(tables + slab <= 3 * NR_VIEWS);
	vm_free(vm);
}

#define GROUPS		"/tmp/groups/"
#define GROUP		GROUPS "views/"
#define NR_CHARGED	400

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

static void enter_group(void)
{
	mkdir(GROUPS, 0700);
	check_eq(mount("none", GROUPS, "cgroup2", 0, NULL), 0);
	host_put(GROUPS "cgroup.subtree_control", "+memory");
	mkdir(GROUP, 0700);
	host_put(GROUP "cgroup.procs", "0");
}

static void leave_group(void)
{
	host_put(GROUPS "cgroup.procs", "0");
	rmdir(GROUP);
	umount2(GROUPS, MNT_DETACH);
}

/* Tables and objects count for the group of the VMM, and leave with them. */
static void tables_and_objects_are_charged_to_the_vmm(void)
{
	int64_t tables, objects;
	struct vm *vm;
	struct vcpu *v;
	uint64_t ctx, i;

	enter_group();
	vm = vm_new(1);
	v = &vm->vcpus[0];
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 4 * NR_CHARGED);
	ctx = ctx_new(v);
	tables = charged("sec_pagetables");
	objects = charged("slab");
	for (i = 0; i < NR_CHARGED; i++)
		view_new(v, ctx, 0, 0);
	tables = charged("sec_pagetables") - tables;
	objects = charged("slab") - objects;
	host_note("%d views: %ld bytes of tables, %ld of objects", NR_CHARGED,
		  tables, objects);
	check(tables >= (int64_t)(NR_CHARGED * PAGE));
	/* the views, and what finds them by id and by root */
	check(objects >= NR_CHARGED * 265);
	vm_free(vm);
	leave_group();
}

/* Most records that a VM with the default limits may have, but for its vCPUs'. */
#define MAX_RECORDS	(1 + 4096 + 65536)

static int64_t number(int fd)
{
	char text[32] = "";

	check(pread(fd, text, sizeof(text) - 1, 0) > 0);
	return strtoll(text, NULL, 10);
}

/* What KVM copies of the VMM's records counts for the VMM, while it is there. */
static void records_are_charged_to_the_vmm(void)
{
	const int64_t size = MAX_RECORDS * sizeof(struct kvm_pvvas_record);
	struct kvm_pvvas_state st = { .size = sizeof(st),
		.op = KVM_PVVAS_SET, .nr = MAX_RECORDS };
	int64_t before;
	struct vm *vm;
	int peak;

	enter_group();
	vm = vm_new(1);
	st.records = (uint64_t)mmap(NULL, size, PROT_READ,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(st.records != (uint64_t)MAP_FAILED);
	peak = open(GROUP "memory.peak", O_RDWR);
	check(peak >= 0);
	check_eq(write(peak, "reset", 5), 5);
	before = number(peak);
	check_eq(__vm_ioctl(vm->fd, KVM_PVVAS_STATE, (uint64_t)&st), -EINVAL);
	host_note("%ld bytes of records: the peak was %ld, is %ld", size, before,
		  number(peak));
	check(number(peak) >= before + size);
	close(peak);
	vm_free(vm);
	leave_group();
}

static const struct hostcase cases[] = {
	CASE(an_idle_view_costs_at_most_three_pages),
	CASE(tables_and_objects_are_charged_to_the_vmm),
	CASE(records_are_charged_to_the_vmm),
};

HOSTCASE_MAIN(cases)
