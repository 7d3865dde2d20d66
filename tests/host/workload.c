// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fixed workload without a guest OS, counted: what a VM without views costs.
 * workload NAME [views]: ten rounds in one VM, a line of numbers for each, then
 * what single exits take; with "views" the VM may have them and uses none. For
 * make test-same.
 */
#include <stdio.h>
#include <stdlib.h>
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

/*
 * Single exits, by the guest's own time stamp counter, which counts the
 * emulator's instructions, those of the host in between too.
 */
enum { CPUID, HYPERCALL, FAULT, PORT, DEVICE, NR_KINDS };

static const char * const kinds[] = { "cpuid", "hypercall", "fault", "port",
	"device" };

#define TIMES		512
#define DEVICE_GPA	0x90000000ULL	/* no memslot: the VMM answers */

static uint64_t taken[NR_KINDS][TIMES];

static inline uint64_t tsc(void)
{
	uint32_t low, high;

	asm volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static uint64_t guest_single(uint64_t kind, uint64_t ram)
{
	uint64_t i, t;

	for (i = 0; i < TIMES; i++) {
		uint32_t eax = 0, ebx, ecx = 0, edx;

		t = tsc();
		switch (kind) {
		case CPUID:
			asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx),
				     "=d"(edx));
			break;
		case HYPERCALL:
			__hc(1234, 0, 0, 0);
			break;
		case FAULT:
			*(volatile uint64_t *)(ram + i * PAGE) = i;
			break;
		case DEVICE:
			*(volatile uint8_t *)DEVICE_GPA = 0;
			break;
		default:
			asm volatile("out %%al, $0x51" : : "a"(0));
		}
		taken[kind][i] = tsc() - t;
	}
	return 0;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void count_single(const char *name, struct vcpu *v, uint64_t *ram)
{
	uint64_t args[4] = { 0, TEST_GPA }, i;

	/* the host's pages stay: what is counted is KVM's part */
	memset(ram, 1, SIZE);
	vm_slot(v->vm, FIRST_TEST_SLOT, TEST_GPA, ram, 0, 0);
	vm_slot(v->vm, FIRST_TEST_SLOT, TEST_GPA, ram, SIZE, 0);
	for (i = 0; i < NR_KINDS; i++) {
		args[0] = i;
		vcpu_prepare(v, (guest_fn)(void *)guest_single, args);
		do {
			check_eq(vcpu_run_once(v), 0);
		} while (v->run->exit_reason == KVM_EXIT_MMIO ||
			 (v->run->exit_reason == KVM_EXIT_IO &&
			  v->run->io.port == 0x51));
		if (!vcpu_done(v, NULL))
			vcpu_unexpected(v);
		qsort(taken[i], TIMES, sizeof(taken[i][0]), by_size);
		printf("single %s %s least %lu median %lu\n", name, kinds[i],
		       taken[i][0], taken[i][TIMES / 2]);
	}
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
	count_single(argc > 1 ? argv[1] : "-", v, ram);
	vm_free(vm);
	return 0;
}
