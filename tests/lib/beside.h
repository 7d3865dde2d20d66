/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What host cases need whose vCPUs, and the host, do things beside each other.
 */
#ifndef BESIDE_H
#define BESIDE_H

#include "vm.h"

#define E_TABLE		((uint64_t)PVVAS_PROT_ALL)
#define E_LEAF		(PVVAS_PROT_ALL | PVVAS_EPT_WB)
#define E_LARGE		(E_LEAF | PVVAS_EPT_LARGE)
#define PF_VECTOR	14

/* In the first word of each page that beside_reuse() has had. */
#define POISON		0xdeaddeaddeaddeadULL

/* Pseudo-random 31 bits, the same in the guest and outside, for each seed. */
static inline uint64_t beside_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return *seed >> 33;
}

/* So many entries of a root, from 1, have 512 GiB of addresses each. */
#define NR_REGIONS	4
#define REGION_GPA(r)	((uint64_t)(r) * 512 * GIB)
#define REGION_VA(r)	(0x100000000000ULL + REGION_GPA(r))

/* A VM with this much RAM at TEST_GPA, and the regions at REGION_VA(). */
#define BESIDE_SIZE	(4 * MIB)
#define BESIDE_FRAMES	(BESIDE_SIZE / PAGE)
struct vm *beside_vm(int nr_vcpus, uint64_t **ram);
/* The same of a VM that is there. */
uint64_t *beside_ram(struct vm *vm);

/* Keep the calling thread on a CPU; on a machine with one, on that. */
void beside_stay_on(int cpu);

/*
 * Run a function in the guest until it returns, whatever the host does
 * meanwhile: signals, a dirty ring that another thread empties, memory that is
 * gone, where reads give 0.  The first ends the test if KVM_RUN fails; the other
 * returns 0 then if it failed with EFAULT.
 */
uint64_t beside_run(struct vcpu *v, void *fn, uint64_t a, uint64_t b);
uint64_t beside_run_or_fault(struct vcpu *v, void *fn, uint64_t a, uint64_t b);

/* Take memory that was freed just now, and leave POISON in it. */
void beside_reuse(void);

/* From now on 2 MiB at @mem come when this userfaultfd is told so. */
int beside_come_later(void *mem);

#endif /* BESIDE_H */
