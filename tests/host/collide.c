// SPDX-License-Identifier: GPL-2.0-only
/*
 * What one CPU does in a view, or KVM on its behalf, while another changes
 * tables and the host logs writes, splits pages or has them come later: nothing
 * is written where an entry does not lead any more, and no write is missed. The
 * vCPUs meet only on two CPUs.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "beside.h"


/* In the kernel: an instruction that reads it is emulated without an exit. */
#define IOAPIC		0xfec00000UL
#define IN_IOAPIC	0x5aU

#define SIZE		(4 * MIB)
#define NR_FRAMES	(SIZE / PAGE)
#define NR_TREES	3

static struct vm *vm;
static uint64_t *ram;
static uint64_t ctx, views[2], *roots[2];
static atomic_int stop;

/* With an interrupt controller, which takes page faults that wait off a vCPU. */
static void begin(int nr_vcpus, uint32_t ring)
{
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING,
				      .args[0] = ring };
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct vcpu *v;
	uint64_t i;

	tables_reset();
	vm = vm_bare();
	if (ring)
		vm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	check_eq(vm_enable_pvvas(vm, &c), 0);
	vm_ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	for (i = 0; i < (uint64_t)nr_vcpus; i++) {
		v = vm_add_vcpu(vm);
		vm_ioctl(v->fd, KVM_SET_MP_STATE, &runnable);
	}
	v = &vm->vcpus[0];
	ram = vm_mem(SIZE);
	madvise(ram, SIZE, MADV_HUGEPAGE);
	memset(ram, 0, SIZE);
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, SIZE, 0);
	ctx = ctx_new(v);
	for (i = 0; i < 2; i++) {
		views[i] = view_new(v, ctx, i + 1, i);
		roots[i] = view_root(views[i]);
	}
	for (i = 0; i < (uint64_t)nr_vcpus; i++)
		vcpu_hc_ok(&vm->vcpus[i], PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	atomic_store(&stop, 0);
}

/*
 * KVM's emulator.  An entry leads to A or to B.  Once it has been changed and
 * invalidated, nothing is written to the other.
 */
static uint64_t *entry, entry_to[2];
static uint64_t word[2];
static atomic_ulong copies;

static uint64_t guest_copies(uint64_t va)
{
	uint64_t to, from;

	*(volatile uint32_t *)IOAPIC = IN_IOAPIC;
	vmfunc(0, 1);
	while (!atomic_load(&stop)) {
		to = va;
		from = IOAPIC;
		asm volatile("movsl" : "+D"(to), "+S"(from) : : "memory");
		atomic_fetch_add_explicit(&copies, 1, memory_order_relaxed);
	}
	vmfunc(0, 0);
	return 0;
}

static struct {
	uint64_t written[2];
	struct pvvas_hc_range row;
} *shared;

/* Return: how often a word changed that nothing led to. */
static uint64_t guest_turns(uint64_t n, uint64_t seed)
{
	uint64_t i, k, to, bad = 0;
	volatile uint32_t *gone;

	for (i = 0; i < n && !bad; i++) {
		to = i & 1;
		*(volatile uint64_t *)entry = entry_to[to];
		if (beside_random(&seed) % 2)
			hc(PVVAS_HC_INVALIDATE, shared->row.table,
			   shared->row.first, 1);
		else
			hc(PVVAS_HC_INVALIDATE_LIST, &shared->row, 1, 0);
		gone = (uint32_t *)word[!to];
		shared->written[!to] += *gone == IN_IOAPIC;
		*gone = 0;
		for (k = beside_random(&seed) % 400; k; k--)
			bad += *gone != 0;
	}
	return bad;
}

static void *copy_on(void *arg)
{
	beside_stay_on(1);
	beside_run(&vm->vcpus[1], guest_copies, WINDOW_FREE, 0);
	return arg;
}

static void turns(int level)
{
	uint64_t *t1, i, k, bad;
	pthread_t t;

	begin(2, 0);
	shared = vm_shared(PAGE);
	memset(shared, 0, sizeof(*shared));
	atomic_store(&copies, 0);
	entry = root_2mib(vm, roots[0], WINDOW_FREE);
	for (i = 0; i < 2; i++) {
		if (level == 2) {
			entry_to[i] = (TEST_GPA + i * 2 * MIB) | E_LARGE;
			word[i] = TEST_GPA + i * 2 * MIB;
		} else {
			entry_to[i] = (TEST_GPA + i * PAGE) | E_LEAF;
			word[i] = TEST_GPA + i * PAGE;
		}
	}
	if (level == 1) {
		t1 = vm_shared(PAGE);
		for (k = 1; k < 8; k++)
			t1[k] = entry_to[0];
		*entry = (uint64_t)t1 | E_TABLE;
		entry = t1;
	}
	*entry = entry_to[0];
	shared->row.table = (uint64_t)entry & ~(PAGE - 1);
	shared->row.first = (uint64_t)entry / 8 & 511;
	shared->row.count = 1;
	beside_stay_on(0);
	check_eq(pthread_create(&t, NULL, copy_on, NULL), 0);
	while (!atomic_load(&copies))
		usleep(1000);
	bad = beside_run(&vm->vcpus[0], guest_turns, 400, level);
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	host_note("level %d: %lu copies, seen in A after %lu turns, in B after %lu",
		  level, atomic_load(&copies), shared->written[0],
		  shared->written[1]);
	check_eq(bad, 0);
	check(shared->written[0] && shared->written[1]);
	vm_free(vm);
}

static void the_emulator_writes_nothing_where_no_entry_leads(void)
{
	turns(1);
	turns(2);
}

/*
 * A migration.  Two vCPUs write all over memory through views, whose tables
 * change their shape and order; the host copies what the log says.  In the end
 * the copy is the memory.
 */
static uint64_t *trees[NR_TREES];	/* level 1 tables, of all frames */
static uint64_t *upper[2];		/* of each view: the first of 2 entries */
static uint64_t writes[MAX_VCPUS];

static uint64_t guest_writes(uint64_t seed)
{
	uint64_t va, id = seed, n = 0, to, from;

	while (!atomic_load(&stop)) {
		if (n % 64 == 0)
			vmfunc(0, 1 + beside_random(&seed) % 2);
		va = WINDOW_FREE + beside_random(&seed) % NR_FRAMES * PAGE;
		if (beside_random(&seed) % 16) {
			/* of each vCPU its own words */
			va += (2 * (beside_random(&seed) % 256) + id % 2) * 8;
			*(volatile uint64_t *)va = ++n;
			continue;
		}
		to = va + PAGE - 8;
		from = IOAPIC;
		asm volatile("movsl" : "+D"(to), "+S"(from) : : "memory");
		n++;
	}
	vmfunc(0, 0);
	return n;
}

static void *write_on(void *arg)
{
	struct vcpu *v = arg;

	beside_stay_on(v->id);
	writes[v->id] = beside_run(v, guest_writes, v->id, 0);
	return NULL;
}

/* Entries of 2 MiB, or tables, some of which have the frames in other places. */
static uint64_t guest_reshapes(uint64_t n, uint64_t seed)
{
	uint64_t i, view, k, tree;

	for (i = 0; i < n; i++) {
		view = beside_random(&seed) % 2;
		k = beside_random(&seed) % 2;
		tree = beside_random(&seed) % (NR_TREES + 1);
		*(volatile uint64_t *)&upper[view][k] = tree == NR_TREES ?
			(TEST_GPA + beside_random(&seed) % 2 * 2 * MIB) | E_LARGE :
			(uint64_t)(trees[tree] + 512 * k) | E_TABLE;
		hc(PVVAS_HC_INVALIDATE, (uint64_t)upper[view] & ~(PAGE - 1),
		   ((uint64_t)upper[view] / 8 & 511) + k, 1);
	}
	return 0;
}

static void make_trees(void)
{
	uint64_t i, k, frame;

	for (i = 0; i < NR_TREES; i++) {
		trees[i] = vm_shared(2 * PAGE);
		for (k = 0; k < NR_FRAMES; k++) {
			/* odd: the order is another one */
			frame = (k * (2 * i + 1) + i) % NR_FRAMES;
			trees[i][k] = (TEST_GPA + frame * PAGE) | E_LEAF;
		}
	}
	for (i = 0; i < 2; i++) {
		upper[i] = root_2mib(vm, roots[i], WINDOW_FREE);
		upper[i][0] = (uint64_t)trees[0] | E_TABLE;
		upper[i][1] = (uint64_t)(trees[0] + 512) | E_TABLE;
	}
}

enum log { BITMAP, MANUAL, MANUAL_ALL_SET, RING };
#define RING_SIZE	32768
#define NR_GFNS		(RING_SIZE / sizeof(struct kvm_dirty_gfn))

static enum log kind;
static uint64_t bits[NR_FRAMES / 64];
static char *copy;
static struct kvm_dirty_gfn *rings[2];
static uint64_t ring_next[2], copied;

static void copy_frames(void)
{
	uint64_t i;

	for (i = 0; i < NR_FRAMES; i++) {
		if (!(bits[i / 64] >> i % 64 & 1))
			continue;
		memcpy(copy + i * PAGE, ram + i * 512, PAGE);
		copied++;
	}
}

static void gather_rings(void)
{
	struct kvm_dirty_gfn *g;
	int i;

	memset(bits, 0, sizeof(bits));
	for (i = 0; i < 2; i++) {
		for (;; ring_next[i]++) {
			g = &rings[i][ring_next[i] % NR_GFNS];
			if (!(__atomic_load_n(&g->flags, __ATOMIC_ACQUIRE) &
			      KVM_DIRTY_GFN_F_DIRTY))
				break;
			check_eq(g->slot, FIRST_TEST_SLOT);
			check(g->offset < NR_FRAMES);
			bits[g->offset / 64] |= 1ULL << g->offset % 64;
			__atomic_store_n(&g->flags, KVM_DIRTY_GFN_F_RESET,
					 __ATOMIC_RELEASE);
		}
	}
	vm_ioctl(vm->fd, KVM_RESET_DIRTY_RINGS, 0);
}

static void look(uint64_t *seed)
{
	struct kvm_dirty_log log = { .slot = FIRST_TEST_SLOT,
				     .dirty_bitmap = bits };
	struct kvm_clear_dirty_log clear = { .slot = FIRST_TEST_SLOT,
					     .dirty_bitmap = bits };

	if (kind == RING) {
		gather_rings();
		copy_frames();
		return;
	}
	vm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
	if (kind != BITMAP) {
		clear.first_page = beside_random(seed) % (NR_FRAMES / 64) * 64;
		clear.num_pages = NR_FRAMES - clear.first_page;
		memset(bits, 0, clear.first_page / 8);
		memmove(bits + 0, bits + clear.first_page / 64,
			clear.num_pages / 8);
		vm_ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear);
		memmove(bits + clear.first_page / 64, bits,
			clear.num_pages / 8);
		memset(bits, 0, clear.first_page / 8);
	}
	copy_frames();
}

static void log_on(bool on)
{
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, SIZE,
		on ? KVM_MEM_LOG_DIRTY_PAGES : 0);
	if (!on)
		return;
	memset(bits, 0xff, sizeof(bits));
	copy_frames();
}

static void meddle(uint64_t n, uint64_t *seed, void *page)
{
	switch (n % 6) {
	case 1:
		vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES,
			 beside_random(seed) % 2 ? 64 : 3000);
		break;
	case 3:
		vm_slot(vm, FIRST_TEST_SLOT + 1, 3 * GIB, page, PAGE, 0);
		vm_slot(vm, FIRST_TEST_SLOT + 1, 3 * GIB, page, 0, 0);
		break;
	case 5:
		/* large pages come back while nothing is logged */
		if (n % 5)
			break;
		log_on(false);
		usleep(2000);
		log_on(true);
	}
}

static void migrate(enum log log, uint64_t rounds)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		.args[0] = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE |
			   (log == MANUAL_ALL_SET ?
			    KVM_DIRTY_LOG_INITIALLY_SET : 0) };
	uint64_t i, seed = 5 + log;
	void *page = vm_mem(PAGE);
	pthread_t t[2];

	kind = log;
	begin(3, log == RING ? RING_SIZE : 0);
	if (log == MANUAL || log == MANUAL_ALL_SET)
		vm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	for (i = 0; log == RING && i < 2; i++) {
		rings[i] = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE,
				MAP_SHARED, vm->vcpus[i].fd,
				KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
		check(rings[i] != MAP_FAILED);
		ring_next[i] = 0;
	}
	make_trees();
	copy = vm_mem(SIZE);
	copied = 0;
	for (i = 0; i < 2; i++)
		check_eq(pthread_create(&t[i], NULL, write_on, &vm->vcpus[i]), 0);
	usleep(20000);
	log_on(true);
	for (i = 0; i < rounds; i++) {
		beside_run(&vm->vcpus[2], guest_reshapes, 4, seed);
		beside_random(&seed);
		look(&seed);
		meddle(i, &seed, page);
		usleep(500);
	}
	atomic_store(&stop, 1);
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	/* what a part of the log was not asked for */
	for (i = 0; i < 40; i++)
		look(&seed);
	if (kind != BITMAP && kind != RING) {
		struct kvm_dirty_log all = { .slot = FIRST_TEST_SLOT,
					     .dirty_bitmap = bits };

		vm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &all);
		copy_frames();
	}
	host_note("log %d: %lu and %lu writes, %lu frames copied", log, writes[0],
		  writes[1], copied);
	check(writes[0] && writes[1]);
	for (i = 0; i < NR_FRAMES; i++)
		if (memcmp(copy + i * PAGE, ram + i * 512, PAGE))
			host_fail(__FILE__, __LINE__,
				  "log %d: frame %lu was written and not logged",
				  log, i);
	vm_free(vm);
}

static void no_write_is_missing_in_the_log(void)
{
	migrate(BITMAP, 40);
	migrate(MANUAL, 25);
	migrate(MANUAL_ALL_SET, 25);
	migrate(RING, 40);
}

/*
 * A page that comes later: with an interrupt controller, KVM lets the vCPU halt
 * meanwhile, and has nothing of the fault left.
 */
static uint64_t guest_try(uint64_t va, uint64_t slot)
{
	uint64_t val = 0;
	long vector;

	vmfunc(0, slot);
	vector = try_read(va, &val);
	return vector == -1 ? val : (uint64_t)vector;
}

static void *try_it(void *arg)
{
	return (void *)beside_run(&vm->vcpus[1], guest_try, WINDOW_FREE, 1);
	(void)arg;
}

enum meanwhile { NOTHING, VIEW_GOES, CONTEXT_GOES, ALL_GOES, ENTRY_CHANGES,
		 NR_MEANWHILE };

static void waits_for_a_page(enum meanwhile what)
{
	struct uffd_msg msg;
	struct uffdio_copy c = { .len = PAGE };
	uint64_t *page = vm_mem(PAGE), *t1;
	struct vcpu *v;
	void *saw;
	pthread_t t;
	int fd, stats;

	begin(2, 0);
	v = &vm->vcpus[0];
	/* now, since KVM_RUN keeps others from the vCPU */
	stats = vm_ioctl(vm->vcpus[1].fd, KVM_GET_STATS_FD, 0);
	madvise(ram, 2 * MIB, MADV_NOHUGEPAGE);
	madvise(ram, 2 * MIB, MADV_DONTNEED);
	fd = beside_come_later(ram);
	t1 = vm_shared(PAGE);
	t1[0] = TEST_GPA | E_LEAF;
	*root_2mib(vm, roots[0], WINDOW_FREE) = (uint64_t)t1 | E_TABLE;
	ram[2 * MIB / 8] = 2;
	check_eq(pthread_create(&t, NULL, try_it, NULL), 0);
	check_eq(read(fd, &msg, sizeof(msg)), sizeof(msg));
	usleep(5000);
	check_eq(kvm_stat_read(stats, "blocking"), 1);
	switch (what) {
	case VIEW_GOES:
		check_eq(vcpu_hc(v, PVVAS_HC_VIEW_DESTROY, views[0], 0, 0), 0);
		break;
	case CONTEXT_GOES:
		check_eq(vcpu_hc(v, PVVAS_HC_CTX_DESTROY, ctx, 0, 0), 0);
		break;
	case ALL_GOES:
		check_eq(vcpu_hc(v, PVVAS_HC_RESET, 0, 0, 0), 0);
		break;
	case ENTRY_CHANGES:
		t1[0] = (TEST_GPA + 2 * MIB) | E_LEAF;
		check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, (uint64_t)t1, 0, 512), 1);
		break;
	default:
		break;
	}
	page[0] = 1;
	c.src = (uint64_t)page;
	c.dst = msg.arg.pagefault.address & ~(PAGE - 1);
	check_eq(ioctl(fd, UFFDIO_COPY, &c), 0);
	pthread_join(t, &saw);
	check_eq(saw, what == VIEW_GOES ? PF_VECTOR :
		      what == ENTRY_CHANGES ? 2 :
		      what == NOTHING ? 1 : 0);
	close(stats);
	close(fd);
	vm_free(vm);
}

static void a_page_that_comes_later_is_seen_in_the_view_of_then(void)
{
	enum meanwhile what;

	for (what = NOTHING; what < NR_MEANWHILE; what++)
		waits_for_a_page(what);
}

static const struct hostcase cases[] = {
	CASE(a_page_that_comes_later_is_seen_in_the_view_of_then),
	CASE_SECONDS(the_emulator_writes_nothing_where_no_entry_leads, 240),
	CASE_SECONDS(no_write_is_missing_in_the_log, 400),
};

HOSTCASE_MAIN(cases)
