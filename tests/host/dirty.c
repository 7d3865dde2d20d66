// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty logging: the pages that are written through views are logged at the
 * guest frame behind them, all of them and no others, again after each look.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vm.h"

#define SIZE		(2 * MIB)
#define NR_PAGES	512ULL
#define AT(page)	(WINDOW_FREE + (page) * PAGE)

static struct vm *vm;
static struct vcpu *v;
static struct scene s;
static uint64_t bits[NR_PAGES / 64], written[NR_PAGES / 64];
static uint32_t seed = 1;

static uint32_t rnd(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

static void log_on(uint32_t flags)
{
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, SIZE, flags);
}

static void begin_with(void *mem, uint64_t manual)
{
	struct kvm_enable_cap cap = { .args[0] = manual,
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 };
	uint64_t i;

	vm = vm_new(1);
	if (manual)
		vm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	v = &vm->vcpus[0];
	s.ram = mem;
	log_on(0);
	scene_over(&s, vm, TEST_GPA, SIZE, 2);
	seg_rights(v, s.seg, 0, SIZE, 3);
	/*
	 * Writable leaves, and the tables above in both views, from before the
	 * log: a read that needs a new one counts as a write.
	 */
	vcpu_vmfunc(v, 2);
	vcpu_peek(v, AT(0));
	vcpu_vmfunc(v, 1);
	for (i = 0; i < NR_PAGES; i++)
		vcpu_poke(v, AT(i), i);
}

static void begin(uint64_t manual)
{
	begin_with(vm_mem(SIZE), manual);
}

/*
 * And read the others; by windows only, since KVM itself takes a page for dirty
 * that a read fault has made writable.
 */
static uint64_t guest_write_set(uint64_t va)
{
	uint64_t i;

	for (i = 0; i < NR_PAGES; i++) {
		volatile uint64_t *p = (uint64_t *)(va + i * 4096);

		if (written[i / 64] >> (i % 64) & 1)
			*p = i;
		else if (va != TEST_GPA)
			(void)*p;
	}
	return 0;
}

/* A random set, by either view or the frame itself, at either CPL. */
static void write_some(uint32_t one_in)
{
	static const uint64_t at[] = { WINDOW_FREE, WINDOW_FREE, TEST_GPA };
	uint64_t i;

	memset(written, 0, sizeof(written));
	for (i = 0; i < NR_PAGES; i++)
		if (rnd() % one_in == 0)
			written[i / 64] |= 1ULL << (i % 64);
	vcpu_vmfunc(v, 1 + rnd() % 2);
	v->user = rnd() % 2;
	vcpu_call(v, guest_write_set, at[rnd() % 3]);
	v->user = false;
}

static void get_log(void)
{
	struct kvm_dirty_log log = { .slot = FIRST_TEST_SLOT,
				     .dirty_bitmap = bits };

	vm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
}

static void check_log(void)
{
	uint64_t i;

	get_log();
	for (i = 0; i < NR_PAGES / 64; i++)
		check_eq(bits[i], written[i]);
}

static void exact(void)
{
	int round;

	log_on(KVM_MEM_LOG_DIRTY_PAGES);
	for (round = 0; round < 12; round++) {
		write_some(1 + round % 4);
		check_log();
	}
	/* nothing written, nothing logged */
	memset(written, 0, sizeof(written));
	check_log();
}

static void the_bitmap_is_exact(void)
{
	begin(0);
	exact();
	log_on(0);
	write_some(2);
	exact();
	vm_free(vm);
}

static void the_bitmap_is_exact_over_huge_pages(void)
{
	uint64_t *mem = vm_mem(SIZE);

	madvise(mem, SIZE, MADV_HUGEPAGE);
	memset(mem, 0, SIZE);
	begin_with(mem, 0);
	exact();
	log_on(0);
	write_some(1);
	exact();
	vm_free(vm);
}

static uint64_t view_faults(void)
{
	return kvm_stat_of(v->fd, "pvvas_view_faults");
}

/* The log needs small pages; without it one large one will do. */
static void large_leaves_come_back_after_the_log(void)
{
	uint64_t *mem = vm_mem(SIZE), before;

	madvise(mem, SIZE, MADV_HUGEPAGE);
	memset(mem, 0, SIZE);
	begin_with(mem, 0);
	log_on(KVM_MEM_LOG_DIRTY_PAGES);
	memset(written, 0xff, sizeof(written));
	before = view_faults();
	vcpu_call(v, guest_write_set, WINDOW_FREE);
	/* and some of the RAM that the call needs */
	check(view_faults() - before >= NR_PAGES);
	check(view_faults() - before <= NR_PAGES + 8);
	log_on(0);
	before = view_faults();
	vcpu_call(v, guest_write_set, WINDOW_FREE);
	check(view_faults() - before <= 4);
	vm_free(vm);
}

/* A write before the log is asked for, then again: two views, one page. */
static void each_look_arms_the_page_again(void)
{
	int i;

	begin(0);
	log_on(KVM_MEM_LOG_DIRTY_PAGES);
	memset(written, 0, sizeof(written));
	written[1] = 1;
	for (i = 0; i < 10; i++) {
		vcpu_vmfunc(v, 1 + i % 2);
		vcpu_poke(v, AT(64), i);
		vcpu_poke(v, AT(64), i);
		vcpu_vmfunc(v, 2 - i % 2);
		vcpu_poke(v, AT(64), i);
		check_log();
	}
	vm_free(vm);
}

static void reading_is_not_writing(void)
{
	uint64_t i;

	begin(0);
	log_on(KVM_MEM_LOG_DIRTY_PAGES);
	memset(written, 0, sizeof(written));
	for (i = 0; i < NR_PAGES; i++)
		check_eq(vcpu_peek(v, AT(i)), i);
	check_log();
	vm_free(vm);
}

static void clear_log(uint64_t first, uint32_t n)
{
	struct kvm_clear_dirty_log clear = { .slot = FIRST_TEST_SLOT,
		.first_page = first, .num_pages = n,
		.dirty_bitmap = bits + first / 64 };

	vm_ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear);
}

/* What was not cleared stays dirty; what was is armed again. */
static void manual_protection(uint64_t flags)
{
	uint64_t sum[NR_PAGES / 64];
	uint64_t i, round;

	begin(flags);
	log_on(KVM_MEM_LOG_DIRTY_PAGES);
	if (flags & KVM_DIRTY_LOG_INITIALLY_SET) {
		memset(written, 0xff, sizeof(written));
		check_log();
		clear_log(0, NR_PAGES);
	}
	memset(sum, 0, sizeof(sum));
	for (round = 0; round < 12; round++) {
		write_some(1 + round % 3);
		for (i = 0; i < NR_PAGES / 64; i++)
			sum[i] |= written[i];
		get_log();
		for (i = 0; i < NR_PAGES / 64; i++)
			check_eq(bits[i], sum[i]);
		/* only half of it, and within that half of the bits */
		for (i = 0; i < 4; i++)
			bits[i] &= 0xaaaaaaaaaaaaaaaaULL;
		clear_log(0, 256);
		for (i = 0; i < 4; i++)
			sum[i] &= ~0xaaaaaaaaaaaaaaaaULL;
	}
	vm_free(vm);
}

static void manual_protection_is_exact(void)
{
	manual_protection(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
}

static void manual_protection_initially_set_is_exact(void)
{
	manual_protection(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE |
			  KVM_DIRTY_LOG_INITIALLY_SET);
}

#define RING_SIZE	65536
#define NR_GFNS		(RING_SIZE / sizeof(struct kvm_dirty_gfn))

static void the_ring_is_exact(void)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING,
				      .args[0] = RING_SIZE };
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	struct kvm_dirty_gfn *ring;
	uint64_t next = 0, i;
	int round;

	vm = vm_bare();
	vm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	check_eq(vm_enable_pvvas(vm, &c), 0);
	v = vm_add_vcpu(vm);
	ring = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd,
		    KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
	check(ring != MAP_FAILED);
	s.ram = vm_mem(SIZE);
	log_on(0);
	scene_over(&s, vm, TEST_GPA, SIZE, 2);
	vcpu_vmfunc(v, 2);
	vcpu_peek(v, AT(0));
	vcpu_vmfunc(v, 1);
	for (i = 0; i < NR_PAGES; i++)
		vcpu_poke(v, AT(i), i);
	log_on(KVM_MEM_LOG_DIRTY_PAGES);
	for (round = 0; round < 10; round++) {
		write_some(2);
		memset(bits, 0, sizeof(bits));
		for (;; next++) {
			struct kvm_dirty_gfn *g = &ring[next % NR_GFNS];

			if (!(g->flags & KVM_DIRTY_GFN_F_DIRTY))
				break;
			check_eq(g->slot, FIRST_TEST_SLOT);
			check(g->offset < NR_PAGES);
			bits[g->offset / 64] |= 1ULL << (g->offset % 64);
			__atomic_store_n(&g->flags, KVM_DIRTY_GFN_F_RESET,
					 __ATOMIC_RELEASE);
		}
		for (i = 0; i < NR_PAGES / 64; i++)
			check_eq(bits[i], written[i]);
		vm_ioctl(vm->fd, KVM_RESET_DIRTY_RINGS, 0);
	}
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(the_bitmap_is_exact),
	CASE(the_bitmap_is_exact_over_huge_pages),
	CASE(large_leaves_come_back_after_the_log),
	CASE(each_look_arms_the_page_again),
	CASE(reading_is_not_writing),
	CASE(manual_protection_is_exact),
	CASE(manual_protection_initially_set_is_exact),
	CASE(the_ring_is_exact),
};

HOSTCASE_MAIN(cases)
