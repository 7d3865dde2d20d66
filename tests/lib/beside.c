// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "beside.h"

#define PTE		7UL
#define PTE_LARGE	0x87UL

static void map_regions(struct vm *vm)
{
	struct kvm_sregs s;
	uint64_t *pml4, *pdpt, r, i;

	vm_ioctl(vm->vcpus[0].fd, KVM_GET_SREGS, &s);
	pml4 = (uint64_t *)s.cr3;
	for (r = 1; r <= NR_REGIONS; r++) {
		pdpt = vm_shared(PAGE);
		for (i = 0; i < 512; i++)
			pdpt[i] = (REGION_GPA(r) + i * GIB) | PTE_LARGE;
		pml4[REGION_VA(r) >> 39 & 511] = (uint64_t)pdpt | PTE;
	}
}

uint64_t *beside_ram(struct vm *vm)
{
	uint64_t *ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, BESIDE_SIZE, 0);
	uint64_t i;

	for (i = 0; i < BESIDE_FRAMES; i++)
		ram[i * 512] = i << 53;	/* no entry, if it is read as one */
	map_regions(vm);
	return ram;
}

struct vm *beside_vm(int nr_vcpus, uint64_t **ram)
{
	struct vm *vm = vm_new(nr_vcpus);

	*ram = beside_ram(vm);
	return vm;
}

void beside_stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % sysconf(_SC_NPROCESSORS_ONLN), &set);
	check_eq(sched_setaffinity(0, sizeof(set), &set), 0);
}

static uint64_t run(struct vcpu *v, void *fn, uint64_t a, uint64_t b, int fault)
{
	uint64_t ret;
	int r;

	vcpu_prepare(v, (guest_fn)fn, (uint64_t[4]) { a, b });
	for (;;) {
		r = vcpu_run_once(v);
		if (r == -EINTR)
			continue;
		if (fault && r == fault)
			return 0;
		check_eq(r, 0);
		if (v->run->exit_reason == KVM_EXIT_DIRTY_RING_FULL) {
			usleep(200);
			continue;
		}
		if (v->run->exit_reason == KVM_EXIT_MMIO) {
			memset(v->run->mmio.data, 0, 8);
			continue;
		}
		if (vcpu_done(v, &ret))
			return ret;
		vcpu_unexpected(v);
	}
}

uint64_t beside_run(struct vcpu *v, void *fn, uint64_t a, uint64_t b)
{
	return run(v, fn, a, b, 0);
}

uint64_t beside_run_or_fault(struct vcpu *v, void *fn, uint64_t a, uint64_t b)
{
	return run(v, fn, a, b, -EFAULT);
}

void beside_reuse(void)
{
	uint64_t i, *p;

	p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	check(p != MAP_FAILED);
	for (i = 0; i < 4 * MIB / 8; i += 512)
		p[i] = POISON;
	munmap(p, 4 * MIB);
}

int beside_come_later(void *mem)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uint64_t)mem, 2 * MIB },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);

	check(fd >= 0);
	check_eq(ioctl(fd, UFFDIO_API, &api), 0);
	check_eq(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
	return fd;
}
