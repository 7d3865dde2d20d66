// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device whose DMA is not coherent makes KVM honour the guest's PAT: what
 * views show of RAM goes when the first one comes, or the last one leaves, and
 * comes back with the memory type that RAM then has. Needs modules that can
 * pretend there is one (kvm.pvvas_noncoherent_dma, tests/flushes/mutate); for
 * make test-hooks.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm.h"

#define SIZE		(2 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define NR_PAGES	16
#define DMA		"/sys/module/kvm/parameters/pvvas_noncoherent_dma"
#define TRACING		"/sys/kernel/tracing/instances/devices/"
/* EPT: bits 5:3 are the type, 6 for write-back; bit 6 says never mind the PAT */
#define MEMORY_TYPE	0x78ULL
#define WRITE_BACK	0x30ULL
#define IGNORE_PAT	0x40ULL

static struct vm *vm;
static struct vcpu *v;
static struct scene s;

/* Read the pages; that takes @n leaves, all of this memory type. */
static void touch(uint64_t n, uint64_t type)
{
	uint64_t i, gfn, leaf, found = 0;
	char line[512], *p;
	FILE *f;

	host_put(TRACING "trace", "\n");
	for (i = 0; i < NR_PAGES; i++)
		check_eq(vcpu_peek(v, AT(i)), i);
	f = fopen(TRACING "trace", "r");
	check(f);
	while (fgets(line, sizeof(line), f)) {
		p = strstr(line, "gfn ");
		if (line[0] == '#' || !p ||
		    sscanf(p, "gfn %lx spte %lx", &gfn, &leaf) != 2 ||
		    gfn - TEST_GPA / PAGE >= NR_PAGES)
			continue;
		check_eq(leaf & MEMORY_TYPE, type);
		found++;
	}
	fclose(f);
	check_eq(found, n);
}

static void leaves_follow_a_device_without_coherent_dma(void)
{
	uint64_t i;

	if (mkdir(TRACING, 0700))
		check(!access(TRACING, F_OK));
	vm = vm_new(1);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 2);
	for (i = 0; i < NR_PAGES; i++)
		s.ram[i * PAGE / 8] = i;
	host_put(TRACING "events/kvmmmu/kvm_mmu_set_spte/enable", "1");
	vcpu_vmfunc(v, 1);
	touch(NR_PAGES, WRITE_BACK | IGNORE_PAT);
	touch(0, 0);
	host_put(DMA, "1");
	touch(NR_PAGES, WRITE_BACK);
	/* a second one changes nothing */
	host_put(DMA, "1");
	touch(0, 0);
	host_put(DMA, "0");
	touch(0, 0);
	host_put(DMA, "0");
	touch(NR_PAGES, WRITE_BACK | IGNORE_PAT);
	host_put(TRACING "events/kvmmmu/kvm_mmu_set_spte/enable", "0");
	vm_free(vm);
	rmdir(TRACING);
}

/*
 * A guest that needs nothing but the window: tables, code and data are pages of
 * the segment. The code reads the first word of page DATA and says it at a port.
 */
enum { TABLES, CODE = TABLES + 4, DATA };

#define LINEAR		0x400000UL

static const uint8_t say_it[] = {
	0x48, 0xb9, 0x00, 0x10, 0x40, 0, 0, 0, 0, 0,	/* mov $LINEAR + PAGE, %rcx */
	0x8b, 0x01,					/* mov (%rcx), %eax */
	0xe7, 0x51,					/* out %eax, $0x51 */
	0xeb, 0xfa,					/* jmp back to the read */
};

static void move_into_the_window(void)
{
	uint64_t at = window_gpa(vm, WINDOW_FREE), i;
	struct kvm_regs regs = { .rip = LINEAR, .rflags = 2 };
	struct kvm_sregs sregs;

	/* PML4 to PT, one entry each; the PT shows code and data */
	for (i = TABLES; i < CODE - 1; i++)
		s.ram[i * PAGE / 8 + (i == TABLES + 2 ? LINEAR / (2 * MIB) : 0)] =
			(at + (i + 1) * PAGE) | 0x63;
	s.ram[(CODE - 1) * PAGE / 8] = (at + CODE * PAGE) | 0x63;
	s.ram[(CODE - 1) * PAGE / 8 + 1] = (at + DATA * PAGE) | 0x63;
	memcpy(&s.ram[CODE * PAGE / 8], say_it, sizeof(say_it));

	vm_ioctl(v->fd, KVM_GET_SREGS, &sregs);
	sregs.cr3 = at;
	vm_ioctl(v->fd, KVM_SET_SREGS, &sregs);
	vm_ioctl(v->fd, KVM_SET_REGS, &regs);
}

static uint32_t what_it_says(void)
{
	check_eq(vcpu_run_once(v), 0);
	check_eq(v->run->exit_reason, KVM_EXIT_IO);
	check_eq(v->run->io.port, 0x51);
	return *(uint32_t *)((char *)v->run + v->run->io.data_offset);
}

/* Four tables, code and data. */
#define SEEN_IN_THE_VIEW	6

static uint64_t pages_of_the_vm(void)
{
	return kvm_stat_of(vm->fd, "pages_4k") + kvm_stat_of(vm->fd, "pages_2m") +
	       kvm_stat_of(vm->fd, "pages_1g");
}

/*
 * When KVM zaps a range that the VM's own tables have nothing of, views may have
 * something, and only their answer makes it flush. If it did not, the page
 * could go, and the notifier would find no leaf and flush nothing either.
 */
static void what_only_views_had_is_flushed(void)
{
	int file = memfd_create("pages", 0), i;
	uint32_t val;
	char *p;

	for (i = 0; i < 2; i++) {
		val = 42 + i;
		check_eq(pwrite(file, &val, sizeof(val), i * PAGE), sizeof(val));
	}
	check_eq(ftruncate(file, 2 * PAGE), 0);
	vm = vm_new(1);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 2);
	p = (char *)s.ram + DATA * PAGE;
	check(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
		   0) == p);
	vcpu_vmfunc(v, 1);
	move_into_the_window();
	/* what the VM's own tables have goes; the vCPU needs none of it */
	host_put(DMA, "1");
	check_eq(what_it_says(), 42);
	check_eq(what_it_says(), 42);
	check_eq(pages_of_the_vm(), SEEN_IN_THE_VIEW);

	host_put(DMA, "0");
	check(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
		   PAGE) == p);
	check_eq(what_it_says(), 43);
	vm_free(vm);
	close(file);
}

static const struct hostcase cases[] = {
	CASE(leaves_follow_a_device_without_coherent_dma),
	CASE(what_only_views_had_is_flushed),
};

HOSTCASE_MAIN(cases)
