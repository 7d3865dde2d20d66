// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables that are tables of several levels at once, lead to themselves, are
 * roots of several contexts, and change at all levels while vCPUs walk them and
 * the host takes memory away: nothing of the host's is seen, and nothing that
 * was invalidated.  The vCPUs meet only on two CPUs.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "beside.h"

static struct vm *vm;
static uint64_t *ram;
static atomic_int stop;

static void begin(int nr_vcpus)
{
	vm = beside_vm(nr_vcpus, &ram);
	atomic_store(&stop, 0);
}

static void guest_delay(uint64_t delay)
{
	volatile uint64_t i;

	for (i = 0; i < delay; i++)
		;
}

/*
 * INVALIDATE.  An entry at some level leads to memory A or to memory B.  Once it
 * has been changed and invalidated, the other has a word that must not be seen.
 */
#define UNSEEN		0x5ec4e75ec4e75ec4ULL
#define TREE_A		1	/* frames, and words in them */
#define TREE_B		2

static uint64_t *entry, entry_to[2];
static uint64_t *word[2];	/* of A and B, in RAM as the guest has it */
static atomic_ulong seen[3];

static uint64_t guest_reads(uint64_t va)
{
	uint64_t val;

	vmfunc(0, 1);
	while (!atomic_load(&stop)) {
		val = *(volatile uint64_t *)va;
		if (val == UNSEEN)
			return val;
		atomic_fetch_add_explicit(&seen[val % 3], 1,
					  memory_order_relaxed);
	}
	vmfunc(0, 0);
	return 0;
}

static uint64_t guest_toggles(uint64_t n, uint64_t seed)
{
	uint64_t table = (uint64_t)entry & ~(PAGE - 1);
	uint64_t i, to;

	for (i = 0; i < n && !atomic_load(&stop); i++) {
		to = i & 1;
		*(volatile uint64_t *)entry = entry_to[to];
		hc(PVVAS_HC_INVALIDATE, table, (uint64_t)entry / 8 & 511, 1);
		*(volatile uint64_t *)word[!to] = UNSEEN;
		guest_delay(beside_random(&seed) % 300);
		*(volatile uint64_t *)word[!to] = !to + 1;
	}
	return i;
}

static void *read_on(void *arg)
{
	uint64_t ret;

	beside_stay_on(1);
	ret = beside_run_or_fault(&vm->vcpus[1], guest_reads, REGION_VA(2), 0);
	atomic_store(&stop, 1);
	return (void *)ret;
	(void)arg;
}

static void *disturb(void *arg)
{
	uint64_t seed = 3, n;

	beside_stay_on(0);
	for (n = 0; !atomic_load(&stop); n++) {
		usleep(300);
		switch (beside_random(&seed) % 4) {
		case 0:
			vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, n % 2 ? 64 : 3000);
			break;
		case 1:
			vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, BESIDE_SIZE,
				n % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
			break;
		case 2:
			vm_slot(vm, FIRST_TEST_SLOT + 1, 3 * GIB, arg, PAGE, 0);
			vm_slot(vm, FIRST_TEST_SLOT + 1, 3 * GIB, arg, 0, 0);
			break;
		default:
			/* frames that nothing leads to, but prefetch may */
			madvise(ram + 16 * 512, 16 * PAGE, MADV_DONTNEED);
		}
	}
	return NULL;
}

/* At REGION_VA(2): the entry of level @level changes; leaves are of @leaf. */
static void toggles(int level, int leaf)
{
	uint64_t *root = root_new(vm), *t[2][5] = {{ 0 }};
	uint64_t i, k, ctx;
	void *saw, *page = vm_mem(PAGE);
	pthread_t reader, host;
	int l;

	for (i = 0; i < 2; i++) {
		/* below the entry, each has tables of its own; above, all share */
		for (l = leaf; l < 4; l++)
			t[i][l] = i && l >= level ? t[0][l] : vm_shared(PAGE);
		for (l = leaf; l < 4; l++) {
			uint64_t to = l > leaf ? (uint64_t)t[i][l - 1] | E_TABLE :
				      l == 1 ? (TEST_GPA + i * PAGE) | E_LEAF :
				      l == 2 ? (TEST_GPA + i * 2 * MIB) | E_LARGE :
				      (TEST_GPA + i * GIB) | E_LARGE;

			for (k = 0; k < (l == 1 ? 8 : 1); k++)
				t[i][l][k] = to;
			if (l == level)
				entry_to[i] = to;
		}
		word[i] = (uint64_t *)(TEST_GPA + (leaf == 1 ? i * PAGE :
				       leaf == 2 ? i * 2 * MIB : i * GIB));
	}
	if (leaf == 3)
		vm_ram(vm, FIRST_TEST_SLOT + 2, TEST_GPA + GIB, 2 * MIB, 0);
	for (i = 0; i < 2; i++)
		vcpu_poke(&vm->vcpus[0], (uint64_t)word[i], i + 1);
	root[2] = (uint64_t)t[0][3] | E_TABLE;
	entry = level == 4 ? &root[2] : t[0][level];
	if (level == 4)
		for (i = 0; i < 2; i++)
			entry_to[i] = (uint64_t)t[i][3] | E_TABLE;

	ctx = ctx_new(&vm->vcpus[0]);
	check(vcpu_hc4(&vm->vcpus[0], PVVAS_HC_VIEW_CREATE, ctx, 1,
		       (uint64_t)root, 0) > 0);
	vcpu_hc_ok(&vm->vcpus[1], PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	memset(seen, 0, sizeof(seen));
	beside_stay_on(0);
	check_eq(pthread_create(&reader, NULL, read_on, NULL), 0);
	check_eq(pthread_create(&host, NULL, disturb, page), 0);
	i = beside_run_or_fault(&vm->vcpus[0], guest_toggles, 400, level * 16 + leaf);
	atomic_store(&stop, 1);
	pthread_join(reader, &saw);
	pthread_join(host, NULL);
	host_note("level %d, leaf %d: %lu changes; seen A %lu, B %lu", level, leaf,
		  i, seen[TREE_A], seen[TREE_B]);
	check_eq(saw, 0);
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 3000);
}

static void nothing_that_was_invalidated_is_seen(void)
{
	static const int levels[][2] = { { 1, 1 }, { 2, 1 }, { 3, 1 }, { 4, 1 },
		{ 2, 2 }, { 3, 2 }, { 3, 3 } };
	size_t i;

	for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		tables_reset();
		begin(2);
		toggles(levels[i][0], levels[i][1]);
		vm_free(vm);
	}
}

/*
 * The storm.  Pages are tables of any level, roots among them, and lead to each
 * other, themselves, memory and nowhere.
 */
#define NR_PAGES	10
#define NR_ROOTS	3	/* of the pages; entry 0 is the guest's RAM */
#define NR_CTXS		2

static uint64_t *pages[NR_PAGES], ctxs[NR_CTXS];
static uint64_t looks[MAX_VCPUS], bad[MAX_VCPUS];
static uint64_t rounds;

static uint64_t guest_tangles(uint64_t n, uint64_t seed)
{
	static const uint64_t kinds[] = { 0, E_LEAF, E_TABLE, E_TABLE, E_TABLE,
		E_LARGE, PVVAS_PROT_READ | PVVAS_EPT_WB, PVVAS_PROT_READ,
		PVVAS_EPT_DEMAND, 4, 5 };
	uint64_t i, p, k, to;

	for (i = 0; i < n; i++) {
		p = beside_random(&seed) % NR_PAGES;
		k = beside_random(&seed) % 8;
		if (p < NR_ROOTS)
			k = 1 + beside_random(&seed) % NR_REGIONS;
		to = kinds[beside_random(&seed) % 11];
		if (beside_random(&seed) % 3)
			to |= (uint64_t)pages[beside_random(&seed) % NR_PAGES];
		else
			to |= TEST_GPA + beside_random(&seed) % BESIDE_FRAMES * PAGE;
		if (to & PVVAS_EPT_LARGE)
			to = TEST_GPA | E_LARGE;
		*(volatile uint64_t *)(pages[p] + k) = to;
		if (beside_random(&seed) % 2)
			hc(PVVAS_HC_INVALIDATE, pages[p], k, 1);
		if (beside_random(&seed) % 32 == 0)
			hc(PVVAS_HC_INVALIDATE, pages[p], 0, 512);
	}
	return 0;
}

/* Reads, and writes to words that no table needs. */
static uint64_t guest_wanders(uint64_t n, uint64_t seed)
{
	uint64_t i, va, val, done = 0;
	long vector;

	/* it may go at any time */
	__hc(PVVAS_HC_CTX_LOAD, ctxs[seed % NR_CTXS], 0, 0);
	for (i = 0; i < n; i++) {
		if (i % 8 == 0)
			try_vmfunc(0, 1 + beside_random(&seed) % NR_ROOTS);
		va = REGION_VA(1 + beside_random(&seed) % NR_REGIONS) +
		     beside_random(&seed) % 8 * GIB + beside_random(&seed) % 8 * 2 * MIB +
		     beside_random(&seed) % 8 * PAGE;
		val = 0;
		if (beside_random(&seed) % 4)
			vector = try_read(va, &val);
		else
			vector = try_write(va + PAGE - 8, seed);
		if (vector == -1) {
			done++;
			if (val == POISON)
				return val;
		}
	}
	gc_cpu()->exceptions = done;
	try_vmfunc(0, 0);
	return 0;
}

static void *wander(void *arg)
{
	struct vcpu *v = arg;
	uint64_t seed = v->id + 1;

	beside_stay_on(v->id);
	while (!atomic_load(&stop) && !bad[v->id]) {
		bad[v->id] = beside_run_or_fault(v, guest_wanders, 100, seed++);
		looks[v->id] += v->g->exceptions;
	}
	return NULL;
}

/* Of the RAM, or of the pages that are tables. */
static void take(uint64_t n, uint64_t *seed)
{
	struct kvm_enable_cap quirks = { .cap = KVM_CAP_DISABLE_QUIRKS2,
		.args[0] = 1 << 7 };
	uint64_t page = beside_random(seed) % BESIDE_FRAMES;
	uint64_t count = 1 + beside_random(seed) % 64;
	pid_t child;

	if (page + count > BESIDE_FRAMES)
		count = BESIDE_FRAMES - page;
	madvise(ram + page * 512, count * PAGE, MADV_DONTNEED);
	beside_reuse();
	switch (n % 9) {
	case 0:
		madvise(pages[NR_ROOTS + n % (NR_PAGES - NR_ROOTS)], PAGE,
			MADV_DONTNEED);
		break;
	case 1:
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, 0, 0);
		beside_reuse();
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, BESIDE_SIZE, 0);
		break;
	case 2:
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, BESIDE_SIZE,
			beside_random(seed) % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
		break;
	case 3:
		vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES,
			 beside_random(seed) % 2 ? 64 : 2000);
		break;
	case 4:
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA + GIB, ram, BESIDE_SIZE, 0);
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, BESIDE_SIZE, 0);
		break;
	case 5:
		child = fork();
		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
		break;
	case 6:
		if (n > 30)
			__vm_ioctl(vm->fd, KVM_ENABLE_CAP,
				   (unsigned long)&quirks);
		break;
	case 7:
		mprotect(ram + page * 512, count * PAGE, PROT_READ);
		mprotect(ram + page * 512, count * PAGE, PROT_READ | PROT_WRITE);
		break;
	}
}

static uint64_t guest_remakes(uint64_t i)
{
	long id;

	hc(PVVAS_HC_CTX_DESTROY, ctxs[i], 0, 0);
	id = __hc(PVVAS_HC_CTX_CREATE, (uint64_t)pages[i], 0, 0);
	gcheck(id > 0);
	for (i = 0; i < NR_ROOTS; i++)
		__hc4(PVVAS_HC_VIEW_CREATE, id, i + 1, (uint64_t)pages[i], i);
	return id;
}

static void begin_storm(int nr_vcpus)
{
	struct vcpu *v;
	int i;

	begin(nr_vcpus);
	v = &vm->vcpus[nr_vcpus - 1];
	for (i = 0; i < NR_PAGES; i++)
		pages[i] = i < NR_ROOTS ? root_new(vm) : vm_shared(PAGE);
	for (i = 0; i < NR_CTXS; i++) {
		ctxs[i] = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, pages[i], 0, 0);
		ctxs[i] = beside_run_or_fault(v, guest_remakes, i, 0);
	}
}

static void storm(uint64_t n, uint64_t seed)
{
	pthread_t t[2];
	uint64_t i;
	long r;

	begin_storm(3);
	for (i = 0; i < 2; i++)
		check_eq(pthread_create(&t[i], NULL, wander, &vm->vcpus[i]), 0);
	for (rounds = 0; rounds < n && !bad[0] && !bad[1]; rounds++) {
		beside_run_or_fault(&vm->vcpus[2], guest_tangles, 40, seed);
		beside_random(&seed);
		take(rounds, &seed);
		if (rounds % 10 == 9) {
			struct kvm_pvvas_state s = { .size = sizeof(s),
				.op = 1 + beside_random(&seed) % 3 };

			i = beside_random(&seed) % NR_CTXS;
			ctxs[i] = beside_run_or_fault(&vm->vcpus[2], guest_remakes, i, 0);
			r = __vm_ioctl(vm->fd, KVM_PVVAS_STATE, (unsigned long)&s);
			check(r == -EBUSY || r == -E2BIG ||
			      (s.op == KVM_PVVAS_SET && r == -EINVAL));
		}
	}
	atomic_store(&stop, 1);
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	host_note("%lu rounds, %lu and %lu looks, %lu tables zapped, %lu of them",
		  rounds, looks[0], looks[1],
		  kvm_stat_of(vm->fd, "mmu_shadow_zapped"),
		  kvm_stat_of(vm->fd, "pvvas_invalidations"));
	check_eq(bad[0], 0);
	check_eq(bad[1], 0);
	check(looks[0] && looks[1]);
	vm_free(vm);
}

static void tangled_tables_lead_to_nothing_of_the_hosts(void)
{
	storm(150, 11);
}

static void killed_in_the_middle_nothing_is_left(void)
{
	int i, status;
	pid_t child;

	for (i = 0; i < 5; i++) {
		child = fork();
		check(child >= 0);
		if (!child) {
			setpgid(0, 0);
			storm(1000000, 20 + i);
			_exit(0);
		}
		usleep(700000 + i * 130000);
		kill(child, SIGKILL);
		kill(-child, SIGKILL);
		check_eq(waitpid(child, &status, 0), child);
		check(WIFSIGNALED(status));
	}
}

static const struct hostcase cases[] = {
	CASE_SECONDS(nothing_that_was_invalidated_is_seen, 240),
	CASE_SECONDS(tangled_tables_lead_to_nothing_of_the_hosts, 240),
	CASE_SECONDS(killed_in_the_middle_nothing_is_left, 240),
};

HOSTCASE_MAIN(cases)
