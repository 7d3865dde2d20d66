// SPDX-License-Identifier: GPL-2.0-only
/*
 * PVVAS_HC_RESET, other tables in the same pages and PVVAS_HC_CTX_CREATE beside
 * faults of another vCPU in views, in many entries of the root, with all of
 * KVM's tables replaced in between.  The vCPUs meet only on two CPUs.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vm.h"

/* So many 512 GiB, each with 2 MiB of RAM at its start and nothing else. */
#define NR_REGIONS	12
#define REGION_GPA(r)	((uint64_t)(r) * 512 * GIB)
#define REGION_VA(r)	(0x100000000000ULL + REGION_GPA(r))
#define OTHER_SLOT	(FIRST_TEST_SLOT + NR_REGIONS + 1)

#define PDE_GIB		0x87UL		/* present, writable, user, 1 GiB */
#define E_TABLE		((uint64_t)PVVAS_PROT_ALL)
#define E_GIB		(PVVAS_PROT_ALL | PVVAS_EPT_WB | PVVAS_EPT_LARGE)
#define NR_KINDS	2

static struct vm *vm;
static void *other;
static pthread_t toucher;
static atomic_int stop;
static atomic_long published;	/* a context, or 0 */
static unsigned int rnd = 12345;
static uint64_t *root;
/* of each kind: level 3 tables; kind 1 shows at each region the next one */
static uint64_t *tables[NR_KINDS][NR_REGIONS + 1];

static uint64_t behind(uint64_t r, uint64_t kind)
{
	return 1 + (r - 1 + kind) % NR_REGIONS;
}

/* Goes to whatever context there is, and links every entry of its root. */
static uint64_t guest_touch(void)
{
	uint64_t r, sum = 0;

	while (!atomic_load(&stop)) {
		__hc(PVVAS_HC_CTX_LOAD, atomic_load(&published), 0, 0);
		for (r = 1; r <= NR_REGIONS; r++)
			sum += *(volatile uint64_t *)REGION_VA(r);
	}
	return sum;
}

static void guest_delay(uint64_t delay)
{
	volatile uint64_t i;

	for (i = 0; i < delay; i++)
		;
}

/* The first region that does not show what the tables say, or 0. */
static uint64_t guest_cycle(uint64_t kind, uint64_t delay)
{
	uint64_t r, ctx, wrong = 0;

	for (r = 1; r <= NR_REGIONS; r++)
		((volatile uint64_t *)root)[r] =
			(uint64_t)tables[kind][r] | E_TABLE;
	ctx = hc(PVVAS_HC_CTX_CREATE, root, 0, 0);
	hc(PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	for (r = 1; r <= NR_REGIONS && !wrong; r++)
		if (*(volatile uint64_t *)REGION_VA(r) != behind(r, kind))
			wrong = r;
	atomic_store(&published, ctx);
	guest_delay(delay);
	hc(PVVAS_HC_RESET, 0, 0, 0);
	return wrong;
}

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % sysconf(_SC_NPROCESSORS_ONLN), &set);
	check_eq(sched_setaffinity(0, sizeof(set), &set), 0);
}

static void *touch(void *arg)
{
	run_on(1);
	vcpu_call(&vm->vcpus[1], guest_touch);
	return arg;
}

static void begin(void)
{
	uint64_t *pml4, *pdpt, r, kind;
	struct kvm_sregs s;

	vm = vm_new(2);
	root = root_new(vm);
	vm_ioctl(vm->vcpus[0].fd, KVM_GET_SREGS, &s);
	pml4 = (uint64_t *)s.cr3;
	for (r = 1; r <= NR_REGIONS; r++) {
		pdpt = vm_shared(PAGE);
		pdpt[0] = REGION_GPA(r) | PDE_GIB;
		pml4[REGION_VA(r) >> 39 & 511] = (uint64_t)pdpt | 7;
		*(uint64_t *)vm_ram(vm, FIRST_TEST_SLOT + r, REGION_GPA(r),
				    2 * MIB, 0) = r;
		for (kind = 0; kind < NR_KINDS; kind++) {
			tables[kind][r] = vm_shared(PAGE);
			tables[kind][r][0] = REGION_GPA(behind(r, kind)) | E_GIB;
		}
	}
	other = vm_mem(2 * MIB);
	atomic_store(&stop, 0);
	atomic_store(&published, 0);
	check(!pthread_create(&toucher, NULL, touch, NULL));
	run_on(0);
}

static void end(void)
{
	uint64_t r;

	atomic_store(&stop, 1);
	pthread_join(toucher, NULL);
	for (r = 1; r <= NR_REGIONS; r++)
		check_eq(vcpu_peek(&vm->vcpus[0], REGION_VA(r)), r);
	vm_free(vm);
}

static void cycle(uint64_t i)
{
	check_eq(vcpu_call(&vm->vcpus[0], guest_cycle, i % NR_KINDS,
			   rand_r(&rnd) % 12000), 0);
}

static void replace_all_tables(void)
{
	vm_slot(vm, OTHER_SLOT, TEST_GPA, other, 2 * MIB, 0);
	vm_slot(vm, OTHER_SLOT, TEST_GPA, other, 0, 0);
}

static void a_fault_beside_a_reset_links_nothing_into_later_views(void)
{
	uint64_t i;

	begin();
	for (i = 0; i < 600; i++) {
		cycle(i);
		if (i % 20 == 0)
			replace_all_tables();
	}
	end();
}

#define NR_PIPES	4
static int pipes[NR_PIPES][2];

/* Pages of the kernel's, with this content. */
static void fill_pipes(const void *page)
{
	unsigned int i, n;

	for (i = 0; i < NR_PIPES; i++) {
		check_eq(pipe(pipes[i]), 0);
		check(fcntl(pipes[i][1], F_SETPIPE_SZ, MIB) >= 0);
		for (n = 0; n < MIB / PAGE; n++)
			check_eq(write(pipes[i][1], page, PAGE), PAGE);
	}
}

static void empty_pipes(const void *page)
{
	static char was[PAGE];
	unsigned int i, n;

	for (i = 0; i < NR_PIPES; i++) {
		for (n = 0; n < MIB / PAGE; n++) {
			check_eq(read(pipes[i][0], was, PAGE), PAGE);
			check(!memcmp(was, page, PAGE));
		}
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
}

/* The pages of tables that are free are others' at once: KVM uses none of them. */
static void no_memory_of_the_host_is_used_after_a_reset(void)
{
	uint64_t *page, i;
	int n;

	begin();
	page = vm_mem(PAGE);
	/* entries that KVM would take for its own */
	for (i = 0; i < 512; i++)
		page[i] = i % 2 * GIB | E_GIB | 1 << 8 | 1 << 9;
	for (n = 0; n < 25; n++) {
		for (i = 0; i < 8; i++)
			cycle(i);
		replace_all_tables();
		fill_pipes(page);
		for (i = 0; i < 8; i++)
			cycle(i);
		empty_pipes(page);
	}
	end();
}

static const struct hostcase cases[] = {
	CASE_SECONDS(a_fault_beside_a_reset_links_nothing_into_later_views, 300),
	CASE_SECONDS(no_memory_of_the_host_is_used_after_a_reset, 600),
};

HOSTCASE_MAIN(cases)
