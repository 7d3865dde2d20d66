// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device whose DMA is not coherent makes KVM honour the guest's PAT: what
 * views show of RAM goes when the first one comes, or the last one leaves, and
 * comes back with the memory type that RAM then has. Needs modules that can
 * pretend there is one (kvm.pvvas_noncoherent_dma, tests/flushes/mutate); for
 * make test-hooks.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void put(const char *file, const char *val)
{
	int fd = open(file, O_WRONLY | O_TRUNC);

	if (fd < 0 || write(fd, val, strlen(val)) < 0)
		host_fail(__FILE__, __LINE__, "cannot write %s to %s", val,
			  file);
	close(fd);
}

/* Read the pages; that takes @n leaves, all of this memory type. */
static void touch(uint64_t n, uint64_t type)
{
	uint64_t i, leaf, found = 0;
	char line[512], *p;
	FILE *f;

	put(TRACING "trace", "");
	for (i = 0; i < NR_PAGES; i++)
		check_eq(vcpu_peek(v, AT(i)), i);
	f = fopen(TRACING "trace", "r");
	check(f);
	while (fgets(line, sizeof(line), f)) {
		p = strstr(line, " leaf ");
		if (line[0] == '#' || !p)
			continue;
		leaf = strtoull(p + strlen(" leaf "), NULL, 16);
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
	put(TRACING "events/kvm/kvm_pvvas_fill/enable", "1");
	vcpu_vmfunc(v, 1);
	touch(NR_PAGES, WRITE_BACK | IGNORE_PAT);
	touch(0, 0);
	put(DMA, "1");
	touch(NR_PAGES, WRITE_BACK);
	/* a second one changes nothing */
	put(DMA, "1");
	touch(0, 0);
	put(DMA, "0");
	touch(0, 0);
	put(DMA, "0");
	touch(NR_PAGES, WRITE_BACK | IGNORE_PAT);
	put(TRACING "events/kvm/kvm_pvvas_fill/enable", "0");
	vm_free(vm);
	rmdir(TRACING);
}

static const struct hostcase cases[] = {
	CASE(leaves_follow_a_device_without_coherent_dma),
};

HOSTCASE_MAIN(cases)
