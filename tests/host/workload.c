// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fixed workload without a guest OS, counted: what a VM without views costs.
 * workload NAME [views]: ten rounds in one VM, a line of numbers for each;
 * with "views" the VM may have them and uses none. For make test-same.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "vm.h"

#define ROUNDS	10
#define SIZE	(4 * MIB)

/* This thread's own time: a nanosecond is a tenth of an instruction (docs/testing.md). */
static uint64_t instructions(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (t.tv_sec * 1000000000UL + t.tv_nsec) / 10;
}

/* Exits of many kinds, faults, and instructions without either. */
static uint64_t guest_work(uint64_t ram)
{
	uint64_t i, sum = 0;

	for (i = 0; i < SIZE / PAGE; i++)
		*(volatile uint64_t *)(ram + i * PAGE) += i;
	for (i = 0; i < 300; i++) {
		uint32_t eax = 0, ebx, ecx = 0, edx;

		asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
		sum += ebx + __hc(1234, i, 0, 0);
	}
	for (i = 0; i < 20000; i++)
		sum += *(volatile uint64_t *)(ram + i % 4096 * 8) * i;
	return sum;
}

int main(int argc, char **argv)
{
	struct kvm_pvvas_config config = { .size = sizeof(config) };
	uint64_t exits, hypercalls, n, e, h, round;
	struct vm *vm = vm_bare();
	struct vcpu *v;
	void *ram;

	if (argc > 2 && !strcmp(argv[2], "views"))
		check_eq(vm_enable_pvvas(vm, &config), 0);
	v = vm_add_vcpu(vm);
	ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, SIZE, 0);
	for (round = 0; round < ROUNDS; round++) {
		/* pages go, so that each round has its faults */
		madvise(ram, SIZE, MADV_DONTNEED);
		exits = kvm_stat_of(v->fd, "exits");
		hypercalls = kvm_stat_of(v->fd, "hypercalls");
		n = instructions();
		vcpu_call(v, guest_work, TEST_GPA);
		n = instructions() - n;
		e = kvm_stat_of(v->fd, "exits") - exits;
		h = kvm_stat_of(v->fd, "hypercalls") - hypercalls;
		/* the first round has what comes only once */
		if (round)
			printf("count %s exits %lu hypercalls %lu instructions %lu\n",
			       argc > 1 ? argv[1] : "-", e, h, n);
	}
	vm_free(vm);
	return 0;
}
