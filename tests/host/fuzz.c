// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random hypercalls, VMFUNCs, accesses and stores to live tables, from a seed:
 * whatever a guest asks for, the answer is one of the documented ones, counters
 * agree with what calls returned, and a reset leaves nothing.  Another vCPU
 * stores to the same tables and looks through them, and the host takes memory
 * away, meanwhile: what was taken is not seen.
 *
 * fuzz [SEED [HYPERCALLS]]; as many stores, accesses and VMFUNCs come on top, and
 * as many of the other vCPU.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

#define KVM_ENOSYS	1000
#define RAM		(4 * MIB)
#define NR_CTXS		3
#define NR_VIEWS	16
#define NR_TABLES	24
#define NR_ROWS		64
#define POISON		0xdeaddeaddeaddeadULL

static struct {
	uint64_t calls;
	uint64_t answers[1024];	/* by -errno; 0 for success */
	uint64_t resets;
} job = { .calls = 100000 };

/* Of each vCPU. */
static struct part {
	uint64_t seed, stores, accesses, faults, switches;
} parts[2] = { { .seed = 1 } };

static struct gcpu *second;
static atomic_int stop;

/* Ids that were given out; most of them live. */
static uint64_t ctxs[NR_CTXS], views[NR_VIEWS];
/* Pages that are tables, of any level; the first are roots with RAM. */
static uint64_t *tables[NR_TABLES];
static struct pvvas_hc_range *rows;
static struct pvvas_hc_stats *stats;
static uint64_t highest_id, live_ctxs;

/* That of the vCPU that runs this. */
static struct part *part(void)
{
	return &parts[gc_cpu() == second];
}

static uint64_t rnd(void)
{
	uint64_t *seed = &part()->seed;

	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static uint64_t below(uint64_t n)
{
	return rnd() % n;
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

static uint64_t a_ctx(void)
{
	return sometimes(ctxs[below(NR_CTXS)]);
}

static uint64_t a_view(void)
{
	return sometimes(views[below(NR_VIEWS)]);
}

/* One that shows the guest its RAM, or nothing that can be a root. */
static uint64_t a_root(void)
{
	return below(16) ? (uint64_t)tables[below(4)] : a_number() | 8;
}

static uint64_t a_table(void)
{
	return sometimes((uint64_t)tables[below(NR_TABLES)]);
}

static long answer(long r)
{
	static const int known[] = { ENOENT, ENOMEM, EFAULT, EBUSY, EEXIST,
		EINVAL, ENOSPC, KVM_ENOSYS };
	size_t i;

	job.calls--;
	if (r >= 0) {
		job.answers[0]++;
		return r;
	}
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (r == -known[i]) {
			job.answers[-r]++;
			return r;
		}
	gc_fail(__FILE__, __LINE__, "an unknown answer", r, 0);
	return r;
}

static void an_id_was_given(long id)
{
	gcheck(id > (long)highest_id);
	highest_id = id;
}

static void one_call(void)
{
	uint64_t i, n;
	long r;

	switch (below(16)) {
	case 0:
		r = answer(__hc(PVVAS_HC_CTX_CREATE, a_root(), !below(32), 0));
		if (r > 0) {
			an_id_was_given(r);
			live_ctxs++;
			ctxs[below(NR_CTXS)] = r;
		}
		break;
	case 1:
		/* not all the time */
		if (below(4))
			break;
		if (!answer(__hc(PVVAS_HC_CTX_DESTROY, a_ctx(), 0, 0)))
			live_ctxs--;
		break;
	case 2 ... 4:
		answer(__hc(PVVAS_HC_CTX_LOAD, below(8) ? a_ctx() : 0, 0, 0));
		break;
	case 5 ... 7:
		r = answer(__hc4(PVVAS_HC_VIEW_CREATE, a_ctx(),
				 sometimes(below(6)), a_root(), rnd()));
		if (r > 0) {
			an_id_was_given(r);
			views[below(NR_VIEWS)] = r;
		}
		break;
	case 8:
		answer(__hc(PVVAS_HC_VIEW_DESTROY, a_view(), 0, 0));
		break;
	case 9:
		answer(__hc(PVVAS_HC_VIEW_PLACE, a_ctx(), sometimes(below(6)),
			    below(4) ? a_view() : 0));
		break;
	case 10 ... 11:
		answer(__hc(PVVAS_HC_INVALIDATE, a_table(),
			    sometimes(below(512)), sometimes(1 + below(512))));
		break;
	case 12:
		n = 1 + below(NR_ROWS);
		for (i = 0; i < n; i++)
			rows[i] = (struct pvvas_hc_range){ a_table(),
				sometimes(below(512)), sometimes(1 + below(8)) };
		r = answer(__hc(PVVAS_HC_INVALIDATE_LIST,
				sometimes((uint64_t)rows), sometimes(n), 0));
		gcheck(r <= (long)PVVAS_MAX_BATCH);
		break;
	case 13:
		answer(__hc(PVVAS_HC_INFO, sometimes((uint64_t)rows),
			    sometimes(below(128)), 0));
		break;
	case 14:
		if (below(512) == 0) {
			answer(__hc(PVVAS_HC_RESET, 0, 0, 0));
			live_ctxs = 0;
			job.resets++;
		}
		answer(__hc(PVVAS_HC_STATS, (uint64_t)stats, sizeof(*stats), 0));
		gcheck_eq(stats->ctxs, live_ctxs);
		break;
	default:
		answer(__hc(PVVAS_HC_LAST + 1 + below(8), rnd(), rnd(), rnd()));
	}
}

/* An entry of a table becomes another; what the vCPU itself needs stays. */
static void one_store(void)
{
	static const uint64_t kinds[] = { 0, 7, 7, 7 | PVVAS_EPT_WB,
		5 | PVVAS_EPT_WB, 7 | PVVAS_EPT_WB | PVVAS_EPT_LARGE, 2,
		PVVAS_EPT_DEMAND, 4 | PVVAS_EPT_WB, 1 | PVVAS_EPT_DEMAND };
	uint64_t t = below(NR_TABLES), k = below(8) ? below(4) : below(512);
	uint64_t to;

	if (t < 4 && k == 0)
		return;
	if (t < 4 && k < 4)
		k += 64;	/* the window, with 46 bits */
	to = below(2) ? (uint64_t)tables[below(NR_TABLES)] :
			TEST_GPA + below(RAM / PAGE) * PAGE;
	if (below(64) == 0)
		to = (a_number() & ~0xfffULL) | 1ULL << 33;
	((volatile uint64_t *)tables[t])[k] =
		(to & ~(uint64_t)PVVAS_EPT_LARGE) |
		kinds[below(sizeof(kinds) / sizeof(kinds[0]))];
	part()->stores++;
}

static void one_access(void)
{
	uint64_t va = WINDOW_VA + below(4) * GIB + below(4) * 2 * MIB +
		      below(8) * PAGE;

	uint64_t val = 0;

	part()->accesses++;
	if (below(2))
		part()->faults += try_read(va, &val) != -1;
	else if (below(4) == 0)
		part()->faults += try_write(va + PAGE - 8, 0) != -1;
	gcheck(val != POISON);
}

static void one_switch(void)
{
	part()->switches++;
	try_vmfunc(below(64) ? 0 : a_number(), sometimes(below(8)));
}

static uint64_t guest_fuzz(uint64_t steps)
{
	while (steps-- && job.calls) {
		one_call();
		one_store();
		one_switch();
		one_access();
	}
	return 0;
}

/* Until there were so many stores, and then until the other vCPU is done. */
static uint64_t guest_store(uint64_t stores)
{
	while (!atomic_load(&stop) || part()->stores < stores) {
		if (below(32) == 0)
			__hc(PVVAS_HC_CTX_LOAD, ctxs[below(NR_CTXS)], 0, 0);
		one_store();
		one_switch();
		one_access();
	}
	__hc(PVVAS_HC_CTX_LOAD, 0, 0, 0);
	return 0;
}

static uint64_t guest_end(void)
{
	hc(PVVAS_HC_RESET, 0, 0, 0);
	hc(PVVAS_HC_STATS, stats, sizeof(*stats), 0);
	gcheck_eq(stats->ctxs, 0);
	gcheck_eq(stats->views, 0);
	return 0;
}

/* Memory that is not there is MMIO; anything else ends the case. */
static void run(struct vcpu *v, void *fn, uint64_t a)
{
	int r;

	vcpu_prepare(v, (guest_fn)fn, (uint64_t[4]) { a });
	for (;;) {
		r = vcpu_run_once(v);
		if (r == -EINTR)
			continue;
		check_eq(r, 0);
		if (v->run->exit_reason == KVM_EXIT_MMIO) {
			memset(v->run->mmio.data, 0, 8);
			continue;
		}
		if (vcpu_done(v, NULL))
			return;
		vcpu_unexpected(v);
	}
}

static struct vm *vm;

static void *store(void *arg)
{
	run(&vm->vcpus[1], guest_store, *(uint64_t *)arg);
	return NULL;
}

/* What is freed is another user's at once. */
static void *take(void *ram)
{
	uint64_t n, *p;

	for (n = 0; !atomic_load(&stop); n++) {
		madvise((char *)ram + n * 37 * PAGE % (RAM / 2), RAM / 2,
			MADV_DONTNEED);
		p = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		check(p != MAP_FAILED);
		for (uint64_t i = 0; i < RAM / 8; i += 512)
			p[i] = POISON;
		munmap(p, RAM);
		if (n % 5 == 0) {
			vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, 0, 0);
			vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, RAM,
				n % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
		}
		if (n % 7 == 0)
			vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, n % 2 ? 64 : 3000);
		usleep(2000);
	}
	return (void *)n;
}

static void any_call_has_an_answer(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c), .max_ctxs = 6,
				      .max_views = 12 };
	uint64_t i, stores = job.calls;
	pthread_t t[2];
	struct vcpu *v;
	void *ram, *taken;

	host_note("seed %lu, %lu hypercalls", parts[0].seed, job.calls);
	parts[1].seed = parts[0].seed + 1;
	vm = vm_new_config(2, &c);
	v = &vm->vcpus[0];
	second = vm->vcpus[1].g;
	ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, RAM, 0);
	for (i = 0; i < NR_TABLES; i++)
		tables[i] = i < 4 ? root_new(vm) : vm_shared(PAGE);
	rows = vm_shared(PAGE);
	stats = vm_shared(PAGE);
	check_eq(pthread_create(&t[0], NULL, store, &stores), 0);
	check_eq(pthread_create(&t[1], NULL, take, ram), 0);
	while (job.calls)
		run(v, guest_fuzz, 200);
	atomic_store(&stop, 1);
	pthread_join(t[0], NULL);
	pthread_join(t[1], &taken);
	run(v, guest_end, 0);
	for (i = 0; i < 2; i++)
		host_note("vCPU %lu: %lu stores, %lu switches, %lu accesses (%lu refused)",
			  i, parts[i].stores, parts[i].switches,
			  parts[i].accesses, parts[i].faults);
	host_note("%lu resets; memory taken %lu times", job.resets,
		  (uint64_t)taken);
	for (i = 0; i < 1024; i++)
		if (job.answers[i])
			host_note("answer -%lu: %lu", i, job.answers[i]);
	check(taken);
	check_eq(kvm_stat_of(vm->fd, "pvvas_views"), 0);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE_SECONDS(any_call_has_an_answer, 1700),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		parts[0].seed = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		job.calls = strtoull(argv[2], NULL, 0);
	if (!parts[0].seed)
		parts[0].seed = 1;
	return hostcase_main(cases, 1, 1, argv);
}
