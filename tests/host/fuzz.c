// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random hypercalls, VMFUNCs and accesses, from a seed: whatever a guest asks
 * for, the answer is one of the documented ones, counters agree with what
 * calls returned, and a reset leaves nothing.
 *
 * fuzz [SEED [HYPERCALLS]]; accesses and VMFUNCs come on top.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm.h"

#define KVM_ENOSYS	1000
#define RAM		(4 * MIB)
#define MAX_IDS		16
#define NR_ROWS		64

static struct {
	uint64_t seed, calls, steps;
	uint64_t window;
	uint64_t counts[16];
	uint64_t answers[1024];	/* by -errno; 0 for success */
	uint64_t accesses, faults, switches, resets;
} job;

enum { CTX, VIEW, SEG };

/* Ids that were given out; most of them live. */
static uint64_t ids[3][MAX_IDS];
static const uint64_t nr_ids[3] = { 3, 16, 10 };
/* the context of each view */
static uint64_t view_ctx[MAX_IDS];
static struct pvvas_extent rows[NR_ROWS] __attribute__((aligned(4096)));
static union {
	struct pvvas_hc_info info;
	struct pvvas_hc_stats stats;
	struct pvvas_hc_fault fault;
} answer __attribute__((aligned(4096)));
static struct pvvas_hc_stats stats __attribute__((aligned(4096)));
static uint64_t highest_id;

static uint64_t rnd(void)
{
	job.seed ^= job.seed << 13;
	job.seed ^= job.seed >> 7;
	job.seed ^= job.seed << 17;
	return job.seed;
}

static uint64_t below(uint64_t n)
{
	return rnd() % n;
}

/* Mostly an id of the kind; sometimes another's, sometimes nonsense. */
static uint64_t an_id(int kind)
{
	switch (below(64)) {
	case 0:
		kind = below(3);
		break;
	case 1:
		return rnd() >> below(64);
	}
	return ids[kind][below(nr_ids[kind])];
}

/* Numbers as such calls take them, and their neighbours. */
static uint64_t a_number(void)
{
	uint64_t n = 1ULL << below(64);

	switch (below(4)) {
	case 0:
		return below(16);
	case 1:
		return n - 1;
	case 2:
		return -n;
	default:
		return n;
	}
}

static uint64_t sometimes(uint64_t good)
{
	return below(64) ? good : a_number();
}

static uint64_t a_base(void)
{
	return sometimes(job.window + PVVAS_WINDOW_RESERVED +
			 below(3) * (below(8) ? 2 * MIB : GIB / 2));
}

static uint64_t a_size(void)
{
	static const uint64_t sizes[] = { 2 * MIB, 4 * MIB, 16 * MIB, GIB,
					  GIB + 2 * MIB, 4 * GIB };

	return sometimes(sizes[below(below(4) ? 3 : 6)]);
}

static uint64_t a_prot(void)
{
	return sometimes(PVVAS_PROT_READ | below(4) << 1);
}

static long fill_rows(uint64_t nr)
{
	uint64_t n = 1 + below(below(8) ? 4 : NR_ROWS), i;

	for (i = 0; i < n; i++) {
		struct pvvas_extent *r = &rows[i];

		r->offset = sometimes(below(512) * PAGE);
		r->size = sometimes((1 + below(below(2) ? 4 : 600)) * PAGE);
		r->gpa = nr == PVVAS_HC_SEG_MAP ?
			 sometimes(TEST_GPA + below(1024) * PAGE) :
			 sometimes(0);
		r->prot = nr == PVVAS_HC_SEG_UNMAP ? sometimes(0) : a_prot();
		r->reserved = sometimes(0);
	}
	return sometimes(n);
}

static long call(uint64_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	long r = __hc(nr, a, b, c);

	job.calls++;
	switch (r) {
	case -EINVAL:
	case -ENOENT:
	case -EBUSY:
	case -EEXIST:
	case -ENOSPC:
	case -EFAULT:
	case -KVM_ENOSYS:
		job.answers[-r]++;
		break;
	default:
		gcheck(r >= 0);
		job.answers[0]++;
	}
	return r;
}

static void destroy(int kind, uint64_t id)
{
	static const uint64_t nrs[] = { PVVAS_HC_CTX_DESTROY,
		PVVAS_HC_VIEW_DESTROY, PVVAS_HC_SEG_DESTROY };

	call(nrs[kind], id, 0, 0);
}

/*
 * A call that gives out an id: larger than all before it. It takes the place
 * of another one, which mostly has been destroyed.
 */
static void create(int kind, uint64_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t i = below(nr_ids[kind]);
	long id;

	if (below(16))
		destroy(kind, ids[kind][i]);
	id = call(nr, a, b, c);
	if (id < 0)
		return;
	gcheck((uint64_t)id > highest_id);
	highest_id = id;
	ids[kind][i] = id;
	if (kind == VIEW)
		view_ctx[i] = a;
}

static void place(void)
{
	uint64_t i = below(nr_ids[VIEW]);

	call(PVVAS_HC_VIEW_PLACE, below(16) ? view_ctx[i] : an_id(CTX),
	     sometimes(below(8)), below(8) ? ids[VIEW][i] : 0);
}

static void random_call(void)
{
	uint64_t nr;

	switch (below(20)) {
	case 0:
		if (!below(64))
			create(CTX, PVVAS_HC_CTX_CREATE, sometimes(0), 0, 0);
		break;
	case 1:
		if (!below(128))
			destroy(CTX, an_id(CTX));
		break;
	case 2:
		if (!below(8))
			call(PVVAS_HC_CTX_LOAD, an_id(CTX), 0, 0);
		break;
	case 3:
		if (below(4))
			break;
		create(VIEW, PVVAS_HC_VIEW_CREATE, an_id(CTX), sometimes(0),
		       rnd());
		break;
	case 4:
		if (!below(16))
			destroy(VIEW, an_id(VIEW));
		break;
	case 5:
	case 6:
	case 7:
		place();
		break;
	case 8:
	case 9:
	case 10:
	case 11:
		call(PVVAS_HC_VIEW_ATTACH, an_id(VIEW), an_id(SEG), a_prot());
		break;
	case 12:
		if (below(2))
			break;
		call(PVVAS_HC_VIEW_DETACH, an_id(VIEW), an_id(SEG), 0);
		break;
	case 13:
		if (!below(3))
			create(SEG, PVVAS_HC_SEG_CREATE, a_base(), a_size(),
			       sometimes(below(2)));
		break;
	case 14:
		if (!below(8))
			destroy(SEG, an_id(SEG));
		break;
	case 15:
	case 16:
	case 17:
	case 18:
		nr = PVVAS_HC_SEG_MAP + (below(2) ? 0 : below(3));
		call(nr, an_id(SEG), sometimes((uint64_t)rows), fill_rows(nr));
		break;
	default:
		nr = PVVAS_HC_BASE + below(256);
		if (nr == PVVAS_HC_RESET)
			break;
		call(nr, sometimes((uint64_t)&answer), sometimes(sizeof(answer)),
		     a_number());
	}
}

/* Demand faults of accesses: mapped sometimes, else the access is given up. */
static void guest_demand(void)
{
	struct gcpu *g = gc_cpu();

	gcheck_eq(__hc(PVVAS_HC_FAULT, (uint64_t)&answer, sizeof(answer), 0),
		  sizeof(struct pvvas_hc_fault));
	rows[0] = (struct pvvas_extent){ answer.fault.offset,
		TEST_GPA + below(1024) * PAGE, PAGE, 7, 0 };
	if (__hc(PVVAS_HC_SEG_MAP, answer.fault.seg, (uint64_t)rows, 1) == 1)
		return;
	/* no room: make the segment go away, so that it is a #PF */
	hc(PVVAS_HC_VIEW_DETACH, answer.fault.view, answer.fault.seg, 0);
	g->demands--;
}

static void random_access(void)
{
	uint64_t va = WINDOW_FREE + below(3) * (below(8) ? 2 * MIB : GIB / 2) +
		      below(512) * PAGE + below(512) * 8;
	long vector;

	job.accesses++;
	vector = below(2) ? try_read(va, NULL) : try_write(va, rnd());
	gcheck(vector == -1 || vector == 14);
	if (vector == -1)
		return;
	job.faults++;
	gcheck_eq(gc_cpu()->cr2, va);
	gcheck_eq(gc_cpu()->error & ~2ULL, 0x8001);
}

static void random_switch(void)
{
	uint64_t slot = sometimes(below(8));
	long vector = try_vmfunc(0, slot);

	job.switches++;
	/* the index is ECX, not RCX */
	gcheck_eq(vector, (uint32_t)slot < 512 ? -1 : 13);
	if (try_read(WINDOW_VA, NULL) != -1) {
		/* nothing is active: the window is MMIO or nothing */
		gc_fail(__FILE__, __LINE__, "identity", 0, 0);
	}
	gcheck_eq(gc_identity()->magic, PVVAS_IDENTITY_MAGIC);
	gcheck(gc_identity()->view <= highest_id);
}

static void check_counters(void)
{
	hc(PVVAS_HC_STATS, &stats, sizeof(stats), 0);
	gcheck(stats.views <= highest_id);
	/* a root each, a list each, the plain view and the empty list */
	gcheck(stats.tables >= stats.views + stats.ctxs + stats.segs + 2);
	gcheck_eq(stats.window_faults >= stats.filled + stats.reflected +
		  stats.demand, 1);
}

static void reset(void)
{
	uint64_t i;

	job.resets++;
	hc(PVVAS_HC_RESET, 0, 0, 0);
	hc(PVVAS_HC_STATS, &stats, sizeof(stats), 0);
	gcheck_eq(stats.ctxs, 0);
	gcheck_eq(stats.views, 0);
	gcheck_eq(stats.segs, 0);
	gcheck_eq(stats.attachments, 0);
	gcheck_eq(stats.extents, 0);
	/* two, and four of the plain view's identity page */
	gcheck(stats.tables <= 6);
	for (i = 0; i < 8; i++)
		create(CTX, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	for (i = 0; i < 30; i++) {
		create(VIEW, PVVAS_HC_VIEW_CREATE, an_id(CTX), 0, rnd());
		create(SEG, PVVAS_HC_SEG_CREATE, a_base(), a_size(), below(2));
	}
	call(PVVAS_HC_CTX_LOAD, an_id(CTX), 0, 0);
}

/* Until @calls hypercalls were made. */
static uint64_t guest_fuzz(uint64_t calls)
{
	gc_cpu()->demand = guest_demand;
	for (; job.calls < calls; job.steps++) {
		switch (below(8)) {
		case 0:
			random_switch();
			break;
		case 1:
		case 2:
			random_access();
			break;
		default:
			random_call();
		}
		if (job.steps % 1024 == 1023)
			check_counters();
		if (job.steps % 10000 == 9999)
			reset();
	}
	return 0;
}

static uint64_t seed = 20261121, hypercalls = 100000;

static void fuzz(void)
{
	struct kvm_pvvas_config c = { .max_tables = 300, .max_ctxs = 20,
		.max_views = 40, .max_segs = 30, .max_extents = 500 };
	struct vm *vm = vm_new_config(1, &c);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t i, n;
	void *mem;

	mem = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, RAM, 0);
	job.seed = seed;
	job.window = vm->config.window_gpa;
	vcpu_call(v, (void *)reset, 0);
	for (i = 0; i < hypercalls; i += n) {
		n = 500;
		vcpu_call(v, guest_fuzz, i + n);
		check_eq(kvm_stat_of(vm->fd, "pvvas_ctxs") <= 20, 1);
		check_eq(kvm_stat_of(vm->fd, "pvvas_views") <= 40, 1);
		check_eq(kvm_stat_of(vm->fd, "pvvas_extents") <= 500, 1);
		check_eq(kvm_stat_of(vm->fd, "pvvas_tables") <= 300, 1);
		/* memory comes and goes meanwhile */
		if (i % 3500 == 0)
			vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, mem, 0, 0);
		else if (i % 3500 == 500)
			vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, mem, RAM, 0);
	}
	vcpu_call(v, (void *)reset, 0);
	host_note("%lu hypercalls, %lu accesses (%lu refused), %lu switches",
		  job.calls, job.accesses, job.faults, job.switches);
	for (i = 0; i < 1024; i++)
		if (job.answers[i])
			host_note("answer %ld: %lu times", -(long)i,
				  job.answers[i]);
	check(job.calls >= hypercalls);
	/* it must have got somewhere */
	check(job.answers[0] > hypercalls / 5);
	check(job.accesses - job.faults > hypercalls / 100);
	vm_free(vm);
}

/* The same seed gives the same run. */
static void random_hypercalls_are_answered_as_documented(void)
{
	fuzz();
}

static const struct hostcase cases[] = {
	CASE_SECONDS(random_hypercalls_are_answered_as_documented, 300),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		hypercalls = strtoull(argv[2], NULL, 0);
	printf("# seed %lu, %lu hypercalls\n", seed, hypercalls);
	return hostcase_main(cases, 1, 1, argv);
}
