// SPDX-License-Identifier: GPL-2.0-only
/*
 * PVVAS_HC_RESET and PVVAS_HC_CTX_CREATE beside RAM faults of another vCPU, in
 * many root entries, with the VM's own root replaced in between.  The vCPUs
 * meet only on two CPUs.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "vm.h"

/* So many 512 GiB, each with 2 MiB of RAM at its start and nothing else. */
#define NR_REGIONS	12
#define REGION_GIBS	8
#define REGION_GPA(r)	((uint64_t)(r) * 512 * GIB)
#define REGION_VA(r)	(0x100000000000ULL + REGION_GPA(r))
#define OTHER_SLOT	(FIRST_TEST_SLOT + NR_REGIONS + 1)

#define PDE_GIB		0x87UL		/* present, writable, user, 1 GiB */
/* An EPT entry of level 3 that maps a GiB: RWX, write-back, A and D. */
#define EPT_GIB		(7UL | 6 << 3 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9)

static struct vm *vm;
static void *other;
static pthread_t toucher;
static atomic_int stop;
static unsigned int rnd = 12345;
static uint64_t *root;

/* Links every region's root entry, again and again. */
static uint64_t guest_touch(void)
{
	uint64_t r, sum = 0;

	while (!atomic_load(&stop))
		for (r = 1; r <= NR_REGIONS; r++)
			sum += *(volatile uint64_t *)REGION_VA(r);
	return sum;
}

static uint64_t guest_cycle(uint64_t delay, uint64_t root)
{
	volatile uint64_t i;

	hc(PVVAS_HC_CTX_CREATE, root, 0, 0);
	for (i = 0; i < delay; i++)
		;
	hc(PVVAS_HC_RESET, 0, 0, 0);
	return 0;
}

static uint64_t guest_read(uint64_t va)
{
	return *(volatile uint64_t *)va;
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
	uint64_t *pml4, *pdpt, r, i;
	struct kvm_sregs s;

	vm = vm_new(2);
	root = root_new(vm);
	vm_ioctl(vm->vcpus[0].fd, KVM_GET_SREGS, &s);
	pml4 = (uint64_t *)s.cr3;
	for (r = 1; r <= NR_REGIONS; r++) {
		pdpt = vm_shared(PAGE);
		for (i = 0; i < REGION_GIBS; i++)
			pdpt[i] = (REGION_GPA(r) + i * GIB) | PDE_GIB;
		pml4[REGION_VA(r) >> 39 & 511] = (uint64_t)pdpt | 7;
		*(uint64_t *)vm_ram(vm, FIRST_TEST_SLOT + r, REGION_GPA(r),
				    2 * MIB, 0) = r;
	}
	other = vm_mem(2 * MIB);
	atomic_store(&stop, 0);
	check(!pthread_create(&toucher, NULL, touch, NULL));
	run_on(0);
}

static void end(void)
{
	atomic_store(&stop, 1);
	pthread_join(toucher, NULL);
	vm_free(vm);
}

/* All of the VM's own tables go, while views are not in use. */
static void cycle(void)
{
	vcpu_call(&vm->vcpus[0], guest_cycle, rand_r(&rnd) % 12000,
		  (uint64_t)root);
	vm_slot(vm, OTHER_SLOT, TEST_GPA, other, 2 * MIB, 0);
	vm_slot(vm, OTHER_SLOT, TEST_GPA, other, 0, 0);
}

static void a_reset_beside_ram_faults_leaves_no_link(void)
{
	uint64_t r;
	int i;

	begin();
	for (i = 0; i < 400; i++)
		cycle();
	for (r = 1; r <= NR_REGIONS; r++)
		check_eq(vcpu_call(&vm->vcpus[0], guest_read, REGION_VA(r)), r);
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

static void empty_pipes(void)
{
	int i;

	for (i = 0; i < NR_PIPES; i++) {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
}

/* The guest reads where the VM has no memory: an exit to the VMM. */
static void check_nothing_at(struct vcpu *v, uint64_t va)
{
	const uint64_t args[4] = { va };
	int r;

	vcpu_prepare(v, (guest_fn)(void *)guest_read, args);
	do {
		r = vcpu_run_once(v);
	} while (r == -EINTR);
	check_eq(r, 0);
	if (v->run->exit_reason != KVM_EXIT_MMIO)
		host_note("something is at %#lx", va);
	check_eq(v->run->exit_reason, KVM_EXIT_MMIO);
	/* the instruction that waits for its answer goes with the registers */
	v->run->immediate_exit = 1;
	check_eq(vcpu_run_once(v), -EINTR);
	v->run->immediate_exit = 0;
}

/* Freed tables whose pages hold what others choose show nothing to the guest. */
static void no_memory_of_the_host_shows_after_a_reset(void)
{
	struct vcpu *v;
	uint64_t *table, r, i;
	int n;

	begin();
	v = &vm->vcpus[0];
	table = vm_mem(PAGE);
	for (i = 0; i < 512; i++)
		table[i] = i % 2 * GIB | EPT_GIB;
	for (n = 0; n < 150; n++) {
		cycle();
		usleep(8000);	/* RCU frees the tables */
		fill_pipes(table);
		vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, (uint64_t)root, 0, 0);
		for (r = 1; r <= NR_REGIONS; r++)
			check_nothing_at(v, REGION_VA(r) + GIB + MIB);
		vcpu_hc_ok(v, PVVAS_HC_RESET, 0, 0, 0);
		empty_pipes();
	}
	end();
}

static const struct hostcase cases[] = {
	CASE_SECONDS(a_reset_beside_ram_faults_leaves_no_link, 300),
	CASE_SECONDS(no_memory_of_the_host_shows_after_a_reset, 900),
};

HOSTCASE_MAIN(cases)
