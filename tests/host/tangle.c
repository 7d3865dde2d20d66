// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables that are tables of several levels at once, lead to themselves, are
 * roots of several contexts, and change at all levels while vCPUs walk them and
 * the host takes memory away: nothing of the host's is seen, and nothing that
 * was invalidated.  The vCPUs meet only on two CPUs.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vm.h"

#define E_TABLE		((uint64_t)PVVAS_PROT_ALL)
#define E_LEAF		(PVVAS_PROT_ALL | PVVAS_EPT_WB)
#define E_LARGE		(E_LEAF | PVVAS_EPT_LARGE)
#define PTE		7UL
#define PF_VECTOR	14

/* So many entries of a root have 512 GiB of addresses each. */
#define NR_REGIONS	4
#define REGION_GPA(r)	((uint64_t)(r) * 512 * GIB)
#define REGION_VA(r)	(0x100000000000ULL + REGION_GPA(r))

#define SIZE		(4 * MIB)
#define NR_FRAMES	(SIZE / PAGE)
#define POISON		0xdeaddeaddeaddeadULL

static struct vm *vm;
static uint64_t *ram;
static atomic_int stop;

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % sysconf(_SC_NPROCESSORS_ONLN), &set);
	check_eq(sched_setaffinity(0, sizeof(set), &set), 0);
}

static uint64_t next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return *seed >> 33;
}

/* Addresses of all vCPUs: the first 4 GiB of each region, in 4 KiB pages' reach. */
static void map_regions(void)
{
	struct kvm_sregs s;
	uint64_t *pml4, *pdpt, r, i;

	vm_ioctl(vm->vcpus[0].fd, KVM_GET_SREGS, &s);
	pml4 = (uint64_t *)s.cr3;
	for (r = 1; r <= NR_REGIONS; r++) {
		pdpt = vm_shared(PAGE);
		for (i = 0; i < 512; i++)
			pdpt[i] = (REGION_GPA(r) + i * GIB) | 0x87;
		pml4[REGION_VA(r) >> 39 & 511] = (uint64_t)pdpt | PTE;
	}
}

static void begin(int nr_vcpus)
{
	uint64_t i;

	vm = vm_new(nr_vcpus);
	ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, SIZE, 0);
	for (i = 0; i < NR_FRAMES; i++)
		ram[i * 512] = i << 53;	/* no entry, if it is read as one */
	map_regions();
	atomic_store(&stop, 0);
}

/* What has no memory behind it is MMIO: answer with 0. */
static uint64_t run(struct vcpu *v, void *fn, uint64_t a, uint64_t b)
{
	uint64_t ret;
	int r;

	vcpu_prepare(v, (guest_fn)fn, (uint64_t[4]) { a, b });
	for (;;) {
		r = vcpu_run_once(v);
		if (r == -EINTR)
			continue;
		/* the host has taken the right to write, or it was never there */
		if (r == -EFAULT)
			return 0;
		check_eq(r, 0);
		if (v->run->exit_reason == KVM_EXIT_MMIO) {
			memset(v->run->mmio.data, 0, 8);
			continue;
		}
		if (vcpu_done(v, &ret))
			return ret;
		vcpu_unexpected(v);
	}
}

static void guest_delay(uint64_t delay)
{
	volatile uint64_t i;

	for (i = 0; i < delay; i++)
		;
}

/*
 * INVALIDATE.  An entry at some level leads to memory A or to memory B.  Once it
 * has been changed and invalidated, the other has a word that nobody may see.
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
		guest_delay(next(&seed) % 300);
		*(volatile uint64_t *)word[!to] = !to + 1;
	}
	return i;
}

static void *read_on(void *arg)
{
	uint64_t ret;

	run_on(1);
	ret = run(&vm->vcpus[1], guest_reads, REGION_VA(2), 0);
	atomic_store(&stop, 1);
	return (void *)ret;
	(void)arg;
}

static void *disturb(void *arg)
{
	uint64_t seed = 3, n;

	run_on(0);
	for (n = 0; !atomic_load(&stop); n++) {
		usleep(300);
		switch (next(&seed) % 4) {
		case 0:
			vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, n % 2 ? 64 : 3000);
			break;
		case 1:
			vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, SIZE,
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
	run_on(0);
	check_eq(pthread_create(&reader, NULL, read_on, NULL), 0);
	check_eq(pthread_create(&host, NULL, disturb, page), 0);
	i = run(&vm->vcpus[0], guest_toggles, 400, level * 16 + leaf);
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
		p = next(&seed) % NR_PAGES;
		k = next(&seed) % 8;
		if (p < NR_ROOTS)
			k = 1 + next(&seed) % NR_REGIONS;
		to = kinds[next(&seed) % 11];
		if (next(&seed) % 3)
			to |= (uint64_t)pages[next(&seed) % NR_PAGES];
		else
			to |= TEST_GPA + next(&seed) % NR_FRAMES * PAGE;
		if (to & PVVAS_EPT_LARGE)
			to = TEST_GPA | E_LARGE;
		*(volatile uint64_t *)(pages[p] + k) = to;
		if (next(&seed) % 2)
			hc(PVVAS_HC_INVALIDATE, pages[p], k, 1);
		if (next(&seed) % 32 == 0)
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
			try_vmfunc(0, 1 + next(&seed) % NR_ROOTS);
		va = REGION_VA(1 + next(&seed) % NR_REGIONS) +
		     next(&seed) % 8 * GIB + next(&seed) % 8 * 2 * MIB +
		     next(&seed) % 8 * PAGE;
		val = 0;
		if (next(&seed) % 4)
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

	run_on(v->id);
	while (!atomic_load(&stop) && !bad[v->id]) {
		bad[v->id] = run(v, guest_wanders, 100, seed++);
		looks[v->id] += v->g->exceptions;
	}
	return NULL;
}

static void use_what_was_freed(void)
{
	uint64_t i, *p;

	p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	check(p != MAP_FAILED);
	for (i = 0; i < 4 * MIB / 8; i += 512)
		p[i] = POISON;
	munmap(p, 4 * MIB);
}

/* Of the RAM, or of the pages that are tables. */
static void take(uint64_t n, uint64_t *seed)
{
	struct kvm_enable_cap quirks = { .cap = KVM_CAP_DISABLE_QUIRKS2,
		.args[0] = 1 << 7 };
	uint64_t page = next(seed) % NR_FRAMES, count = 1 + next(seed) % 64;
	pid_t child;

	if (page + count > NR_FRAMES)
		count = NR_FRAMES - page;
	madvise(ram + page * 512, count * PAGE, MADV_DONTNEED);
	use_what_was_freed();
	switch (n % 9) {
	case 0:
		madvise(pages[NR_ROOTS + n % (NR_PAGES - NR_ROOTS)], PAGE,
			MADV_DONTNEED);
		break;
	case 1:
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, 0, 0);
		use_what_was_freed();
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, SIZE, 0);
		break;
	case 2:
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, SIZE,
			next(seed) % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
		break;
	case 3:
		vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES,
			 next(seed) % 2 ? 64 : 2000);
		break;
	case 4:
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA + GIB, ram, SIZE, 0);
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, SIZE, 0);
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
		ctxs[i] = run(v, guest_remakes, i, 0);
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
		run(&vm->vcpus[2], guest_tangles, 40, seed);
		next(&seed);
		take(rounds, &seed);
		if (rounds % 10 == 9) {
			struct kvm_pvvas_state s = { .size = sizeof(s),
				.op = 1 + next(&seed) % 3 };

			i = next(&seed) % NR_CTXS;
			ctxs[i] = run(&vm->vcpus[2], guest_remakes, i, 0);
			r = __vm_ioctl(vm->fd, KVM_PVVAS_STATE, (unsigned long)&s);
			check(r == -EBUSY || r == -E2BIG);
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

/*
 * A fault that sleeps in a view whose root two contexts have, while both views go
 * and the root is invalidated, may not link what it found before.
 */
#define OTHER_GPA	(TEST_GPA + GIB)

static uint64_t guest_try(uint64_t va, uint64_t slot)
{
	vmfunc(0, slot);
	return try_read(va, NULL);
}

static void *fault(void *arg)
{
	run(&vm->vcpus[1], guest_try, REGION_VA(2), 1);
	return arg;
}

static int sleep_at(void *mem)
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

struct sleeper {
	uint64_t *root, *t3[2], ctx[2], address;
	long view[2];
	pthread_t t;
	int fd;
};

/* vCPU 1 sleeps in a fault in the first of the views, which have one root. */
static void fall_asleep(struct sleeper *s, int nr_views)
{
	uint64_t *other;
	struct uffd_msg msg;
	struct vcpu *v;
	int i;

	begin(2);
	v = &vm->vcpus[0];
	other = vm_ram(vm, FIRST_TEST_SLOT + 1, OTHER_GPA, 2 * MIB, 0);
	other[0] = 2;
	madvise(ram, 2 * MIB, MADV_DONTNEED);
	s->fd = sleep_at(ram);
	s->root = root_new(vm);
	for (i = 0; i < 2; i++) {
		s->t3[i] = vm_shared(PAGE);
		s->t3[i][0] = (TEST_GPA + i * GIB) | E_LARGE;
		s->ctx[i] = ctx_new(v);
	}
	s->root[2] = (uint64_t)s->t3[0] | E_TABLE;
	for (i = 0; i < nr_views; i++) {
		s->view[i] = vcpu_hc4(v, PVVAS_HC_VIEW_CREATE, s->ctx[i], 1,
				      (uint64_t)s->root, 0);
		check(s->view[i] > 0);
	}
	vcpu_hc_ok(&vm->vcpus[1], PVVAS_HC_CTX_LOAD, s->ctx[0], 0, 0);
	check_eq(pthread_create(&s->t, NULL, fault, NULL), 0);
	check_eq(read(s->fd, &msg, sizeof(msg)), sizeof(msg));
	check_eq(msg.event, UFFD_EVENT_PAGEFAULT);
	s->address = msg.arg.pagefault.address & ~(PAGE - 1);
}

static void wake_up(struct sleeper *s)
{
	uint64_t *page = vm_mem(PAGE);
	struct uffdio_copy copy = { .src = (uint64_t)page, .dst = s->address,
				    .len = PAGE };

	page[0] = 1;
	check_eq(ioctl(s->fd, UFFDIO_COPY, &copy), 0);
	pthread_join(s->t, NULL);
	close(s->fd);
}

static void destroyed(bool reset, int nr_views)
{
	struct sleeper s;
	struct vcpu *v;
	uint64_t fresh;
	int i;

	fall_asleep(&s, nr_views);
	v = &vm->vcpus[0];
	if (reset)
		vcpu_hc_ok(v, PVVAS_HC_RESET, 0, 0, 0);
	else
		for (i = 0; i < nr_views; i++)
			vcpu_hc_ok(v, PVVAS_HC_VIEW_DESTROY, s.view[i], 0, 0);
	vcpu_hc_ok(v, PVVAS_HC_INVALIDATE, s.root, 0, 512);
	wake_up(&s);

	s.root[2] = (uint64_t)s.t3[1] | E_TABLE;
	fresh = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, s.root, 0, 0);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, fresh, 0, 0);
	check_eq(vcpu_peek(v, REGION_VA(2)), 2);
	vm_free(vm);
}

static void a_sleeping_fault_links_nothing_into_a_later_view(void)
{
	destroyed(false, 1);
}

static void nor_if_two_contexts_had_the_root(void)
{
	destroyed(false, 2);
}

static void nor_after_a_reset(void)
{
	destroyed(true, 2);
}

static uint64_t shadow_pages(struct vcpu *v)
{
	struct pvvas_hc_stats s;

	vcpu_stats(v, &s);
	return s.shadow_pages;
}

/* Else what that fault links would be in the new view, too. */
static void a_root_that_only_a_fault_has_is_no_later_views(void)
{
	struct sleeper s;
	struct vcpu *v;
	uint64_t before;
	int i;

	fall_asleep(&s, 2);
	v = &vm->vcpus[0];
	for (i = 0; i < 2; i++)
		vcpu_hc_ok(v, PVVAS_HC_VIEW_DESTROY, s.view[i], 0, 0);
	before = shadow_pages(v);
	vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, s.root, 0, 0);
	check_eq(shadow_pages(v), before + 1);
	wake_up(&s);
	vm_free(vm);
}

/*
 * How long others wait for mmu_lock while a context of many views goes, each with
 * all entries of its root in use.
 */
#define NR_SLOTS	150
#define NR_LINKS	128	/* with 46 bits; the window is entry 64 */

static uint64_t guest_links(uint64_t slots)
{
	uint64_t s, i, sum = 0;

	for (s = 1; s <= slots; s++) {
		vmfunc(0, s);
		for (i = 1; i < NR_LINKS; i++)
			if (i != 64)
				sum += *(volatile uint64_t *)(i << 39);
		vmfunc(0, 0);
	}
	return sum;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static double longest_wait, longest_sleep;

/* On another CPU, for mmu_lock. */
static void *wait_for_the_lock(void *arg)
{
	double t, d;

	run_on(1);
	while (!atomic_load(&stop)) {
		t = now();
		vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 20000);
		d = now() - t;
		if (d > longest_wait)
			longest_wait = d;
		usleep(200);
	}
	return arg;
}

/* On the same CPU, to run. */
static void *wait_for_the_cpu(void *arg)
{
	double t, d, was = now();

	run_on(0);
	while (!atomic_load(&stop)) {
		t = now();
		d = t - was;
		if (d > longest_sleep)
			longest_sleep = d;
		was = t;
	}
	return arg;
}

static void destroying_a_context_keeps_nobody_waiting(void)
{
	uint64_t *pml4, *pdpt, *root, *t3[64], i, s, ctx;
	struct kvm_sregs sregs;
	struct vcpu *v;
	double took;
	pthread_t t, t2;

	begin(1);
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 20000);
	v = &vm->vcpus[0];
	vm_ioctl(v->fd, KVM_GET_SREGS, &sregs);
	pml4 = (uint64_t *)sregs.cr3;
	/* one page of addresses at each 512 GiB */
	for (i = 1; i < NR_LINKS; i++) {
		pdpt = vm_shared(PAGE);
		pdpt[0] = (i << 39) | 0x87;
		pml4[i] = (uint64_t)pdpt | PTE;
	}
	for (i = 0; i < 64; i++) {
		t3[i] = vm_shared(PAGE);
		t3[i][0] = TEST_GPA | E_LARGE;
	}
	ctx = ctx_new(v);
	for (s = 1; s <= NR_SLOTS; s++) {
		root = root_new(vm);
		for (i = 1; i < NR_LINKS; i++)
			if (i != 64)
				root[i] = (uint64_t)t3[(s * NR_LINKS + i) / 900 % 64] | E_TABLE;
		check(vcpu_hc4(v, PVVAS_HC_VIEW_CREATE, ctx, s, (uint64_t)root,
			       0) > 0);
	}
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	took = now();
	vcpu_call(v, guest_links, NR_SLOTS);
	host_note("linked in %.1f ms", now() - took);
	run_on(0);
	check_eq(pthread_create(&t, NULL, wait_for_the_lock, NULL), 0);
	check_eq(pthread_create(&t2, NULL, wait_for_the_cpu, NULL), 0);
	usleep(20000);
	host_note("before: longest wait %.2f ms, sleep %.2f ms", longest_wait,
		  longest_sleep);
	longest_wait = longest_sleep = 0;
	took = now();
	vcpu_hc_ok(v, PVVAS_HC_CTX_DESTROY, ctx, 0, 0);
	took = now() - took;
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	pthread_join(t2, NULL);
	host_note("%d views of %d links: %.2f ms; longest wait %.2f ms, sleep %.2f ms",
		  NR_SLOTS, NR_LINKS - 2, took, longest_wait, longest_sleep);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(a_sleeping_fault_links_nothing_into_a_later_view),
	CASE(nor_if_two_contexts_had_the_root),
	CASE(nor_after_a_reset),
	CASE(a_root_that_only_a_fault_has_is_no_later_views),
	CASE_SECONDS(destroying_a_context_keeps_nobody_waiting, 120),
	CASE_SECONDS(nothing_that_was_invalidated_is_seen, 240),
	CASE_SECONDS(tangled_tables_lead_to_nothing_of_the_hosts, 240),
	CASE_SECONDS(killed_in_the_middle_nothing_is_left, 240),
};

HOSTCASE_MAIN(cases)
