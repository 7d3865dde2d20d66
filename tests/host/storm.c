// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPUs look through views while their tables change without a word, the host
 * takes pages and memslots away, watches them and frees tables. What was taken
 * is another user's at once: none of it may be seen.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "beside.h"
#include "patience.h"

#define E_RO		(PVVAS_PROT_READ | PVVAS_EPT_WB)
#define SIZE		(8 * MIB)
#define NR_FRAMES	(SIZE / PAGE)
#define NR_VIEWS	3
#define NR_TABLES	(2 * NR_VIEWS)
/* As many as take a minute or so, on a kernel that checks itself, too. */
#define ROUNDS		(400 / patience())

static struct vm *vm;
static uint64_t *ram, ctx, *roots[NR_VIEWS];
/* what hostile guests change: levels 2 and 1 of each view, at WINDOW_FREE */
static uint64_t *tables[NR_TABLES];
static atomic_int stop;
static uint64_t looked[MAX_VCPUS], bad[MAX_VCPUS];

static void begin(int nr_vcpus)
{
	uint64_t i, k, view, *t1;
	struct vcpu *v;

	vm = vm_new(nr_vcpus);
	v = &vm->vcpus[0];
	ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, SIZE, 0);
	for (k = 0; k < NR_FRAMES; k++)
		ram[k * 512] = k;
	ctx = ctx_new(v);
	for (i = 0; i < NR_VIEWS; i++) {
		view = view_new(v, ctx, i + 1, i);
		roots[i] = view_root(view);
		t1 = vm_shared(PAGE);
		for (k = 0; k < 512; k++)
			t1[k] = (TEST_GPA + (i * 512 + k) * PAGE) | E_LEAF;
		tables[2 * i] = root_2mib(vm, roots[i], WINDOW_FREE);
		*tables[2 * i] = (uint64_t)t1 | E_TABLE;
		tables[2 * i + 1] = t1;
	}
	for (i = 0; i < (uint64_t)nr_vcpus; i++)
		vcpu_hc_ok(&vm->vcpus[i], PVVAS_HC_CTX_LOAD, ctx, 0, 0);
}

/* Frames hold their number, or nothing; tables hold entries, which are frames. */
static bool right(uint64_t val)
{
	return val != POISON;
}

static uint64_t guest_looks(uint64_t n, uint64_t seed)
{
	uint64_t i, val, va, seen = 0;

	for (i = 0; i < n; i++) {
		if (i % 16 == 0)
			vmfunc(0, 1 + beside_random(&seed) % NR_VIEWS);
		va = WINDOW_FREE + beside_random(&seed) % 1024 * PAGE;
		val = 0;
		if (try_read(va, &val) == -1) {
			seen++;
			if (!right(val))
				return val;
		}
	}
	gc_cpu()->exceptions = seen;
	vmfunc(0, 0);
	return 0;
}

static void *look(void *arg)
{
	struct vcpu *v = arg;
	uint64_t seed = v->id + 1;

	while (!atomic_load(&stop) && !bad[v->id]) {
		bad[v->id] = beside_run(v, guest_looks, 200, seed++);
		looked[v->id] += v->g->exceptions;
	}
	return NULL;
}

/* Any entry of these tables becomes any other, invalidated or not. */
static uint64_t guest_changes(uint64_t n, uint64_t seed)
{
	static const uint64_t kinds[] = { 0, E_LEAF, E_RO, E_TABLE, E_LARGE,
		PVVAS_EPT_DEMAND, PVVAS_PROT_WRITE, E_LEAF };
	uint64_t i, t, k, to, *entry;

	for (i = 0; i < n; i++) {
		t = beside_random(&seed) % NR_TABLES;
		k = beside_random(&seed) % (t & 1 ? 512 : 2);
		to = beside_random(&seed) % 4;
		entry = tables[t] + k;
		*(volatile uint64_t *)entry =
			(to == 0 ? (uint64_t)tables[beside_random(&seed) % NR_TABLES | 1] :
			 to == 1 ? TEST_GPA + beside_random(&seed) % 4 * 2 * MIB :
				   TEST_GPA + beside_random(&seed) % NR_FRAMES * PAGE) |
			kinds[beside_random(&seed) % 8];
		if (beside_random(&seed) % 2)
			hc(PVVAS_HC_INVALIDATE, (uint64_t)entry & ~0xfffULL,
			   (uint64_t)entry / 8 % 512, 1);
		if (beside_random(&seed) % 64 == 0)
			hc(PVVAS_HC_INVALIDATE,
			   (uint64_t)tables[t] & ~0xfffULL, 0, 512);
	}
	return 0;
}

static void get_log(void)
{
	static uint64_t bits[NR_FRAMES / 64];
	struct kvm_dirty_log log = { .slot = FIRST_TEST_SLOT,
				     .dirty_bitmap = bits };

	vm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
}

static void take(uint64_t n, uint64_t *seed)
{
	uint64_t page = beside_random(seed) % NR_FRAMES;
	uint64_t pages = 1 + beside_random(seed) % 128;

	if (page + pages > NR_FRAMES)
		pages = NR_FRAMES - page;
	check_eq(madvise(ram + page * 512, pages * PAGE, MADV_DONTNEED), 0);
	beside_reuse();
	if (n % 7 == 0) {
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, SIZE,
			n % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
		if (n % 2)
			get_log();
	}
	if (n % 11 == 0) {
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, 0, 0);
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, SIZE, 0);
	}
	if (n % 13 == 0)
		vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, n % 2 ? 70 : 3000);
}

static void nothing_that_was_taken_is_seen(void)
{
	uint64_t seed = 7, n;
	pthread_t t[2];
	int i;

	begin(3);
	for (i = 0; i < 2; i++)
		check_eq(pthread_create(&t[i], NULL, look, &vm->vcpus[i]), 0);
	for (n = 0; n < ROUNDS && !bad[0] && !bad[1]; n++) {
		beside_run(&vm->vcpus[2], guest_changes, 20, seed);
		take(n, &seed);
	}
	atomic_store(&stop, 1);
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	host_note("%lu rounds, %lu and %lu looks, %lu tables zapped", n,
		  looked[0], looked[1],
		  kvm_stat_of(vm->fd, "mmu_shadow_zapped"));
	check_eq(bad[0], 0);
	check_eq(bad[1], 0);
	check(looked[0] && looked[1]);
	vm_free(vm);
}

static uint64_t guest_makes(uint64_t n, uint64_t root)
{
	uint64_t i;
	long view;

	for (i = 0; i < n; i++) {
		view = __hc4(PVVAS_HC_VIEW_CREATE, ctx, 9, root, i);
		gcheck(view > 0);
		vmfunc(0, 9);
		hc(PVVAS_HC_VIEW_PLACE, ctx, 9, 0);
		hc(PVVAS_HC_VIEW_PLACE, ctx, 10, view);
		hc(PVVAS_HC_VIEW_DESTROY, view, 0, 0);
	}
	return 0;
}

/* The same while views, contexts and the loaded list come and go. */
static void views_come_and_go_meanwhile(void)
{
	uint64_t seed = 9, n, other, *idle, *mine;
	pthread_t t[2];
	int i;

	begin(3);
	idle = root_new(vm);
	mine = root_new(vm);
	for (i = 0; i < 2; i++)
		check_eq(pthread_create(&t[i], NULL, look, &vm->vcpus[i]), 0);
	for (n = 0; n < ROUNDS / 4 && !bad[0] && !bad[1]; n++) {
		beside_run(&vm->vcpus[2], guest_makes, 10, (uint64_t)mine);
		beside_run(&vm->vcpus[2], guest_changes, 10, seed);
		other = vcpu_hc_ok(&vm->vcpus[2], PVVAS_HC_CTX_CREATE, idle, 0, 0);
		vcpu_hc_ok(&vm->vcpus[2], PVVAS_HC_CTX_LOAD, other, 0, 0);
		vcpu_hc_ok(&vm->vcpus[2], PVVAS_HC_CTX_DESTROY, other, 0, 0);
		vcpu_hc_ok(&vm->vcpus[2], PVVAS_HC_CTX_LOAD, ctx, 0, 0);
		take(n, &seed);
	}
	atomic_store(&stop, 1);
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	check_eq(bad[0], 0);
	check_eq(bad[1], 0);
	vm_free(vm);
}

/* A vCPU takes faults while another resets all views and makes them again. */
static uint64_t guest_ram(uint64_t n, uint64_t seed)
{
	uint64_t i, val;

	for (i = 0; i < n; i++) {
		val = *(volatile uint64_t *)(TEST_GPA + PAGE *
				(beside_random(&seed) % NR_FRAMES));
		if (!right(val))
			return val;
	}
	return 0;
}

static void *look_at_ram(void *arg)
{
	struct vcpu *v = arg;
	uint64_t seed = 3;

	while (!atomic_load(&stop) && !bad[v->id]) {
		bad[v->id] = beside_run(v, guest_ram, 300, seed++);
		looked[v->id]++;
	}
	return NULL;
}

static uint64_t guest_resets(uint64_t root)
{
	long id;

	hc(PVVAS_HC_RESET, 0, 0, 0);
	id = __hc(PVVAS_HC_CTX_CREATE, root, 0, 0);
	gcheck(id > 0);
	hc(PVVAS_HC_CTX_LOAD, id, 0, 0);
	return id;
}

static void resets_beside_faults_in_ram(void)
{
	uint64_t seed = 5, n, *root;
	pthread_t t;

	begin(2);
	root = root_new(vm);
	check_eq(pthread_create(&t, NULL, look_at_ram, &vm->vcpus[1]), 0);
	for (n = 0; n < ROUNDS && !bad[1]; n++) {
		beside_run(&vm->vcpus[0], guest_resets, (uint64_t)root, 0);
		take(n, &seed);
	}
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	check_eq(bad[1], 0);
	check(looked[1]);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE_SECONDS(nothing_that_was_taken_is_seen, 240),
	CASE_SECONDS(views_come_and_go_meanwhile, 240),
	CASE_SECONDS(resets_beside_faults_in_ram, 240),
};

HOSTCASE_MAIN(cases)
