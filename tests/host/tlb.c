// SPDX-License-Identifier: GPL-2.0-only
/*
 * A translation that a change has made wrong is not used again. Each case is
 * about one flush, or a pair of which either is enough; only a CPU that
 * keeps what it need not drop can tell (make test TLB=sticky, docs/tlb.md).
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

#define PF_VECTOR	14
#define SIZE		(2 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define WORD(page)	((page) * PAGE / 8)
#define RAM_GPA		(TEST_GPA + 16 * MIB)
#define RAM_SLOT	(FIRST_TEST_SLOT + 1)

static struct vm *vm;
static struct vcpu *v;
static struct scene s;

static void begin(int vcpus)
{
	uint64_t i;

	vm = vm_new(vcpus);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 2);
	vcpu_vmfunc(v, 1);
	for (i = 0; i < 16; i++)
		vcpu_poke(v, AT(i), 1000 + i);
}

/* kvm_view_invalidate(), of entries above */
static void a_detached_segment_is_gone_at_once(void)
{
	begin(1);
	view_detach(v, s.view[0], s.seg);
	check_eq(vcpu_view(v), s.view[0]);
	check_eq(vcpu_try_peek(v, AT(1)), PF_VECTOR);
	check_eq(vcpu_try_poke(v, AT(2), 5), PF_VECTOR);
	check_eq(s.ram[WORD(2)], 1002);
	vcpu_vmfunc(v, 2);
	check_eq(vcpu_peek(v, AT(1)), 1001);
	vm_free(vm);
}

/* kvm_view_invalidate(), of leaves */
static void an_unmapped_page_is_gone_at_once(void)
{
	begin(1);
	seg_unmap(v, s.seg, PAGE, 2 * PAGE);
	check_eq(vcpu_try_peek(v, AT(1)), PF_VECTOR);
	check_eq(vcpu_try_poke(v, AT(2), 5), PF_VECTOR);
	check_eq(vcpu_peek(v, AT(3)), 1003);
	seg_rights(v, s.seg, 3 * PAGE, PAGE, PVVAS_PROT_READ);
	check_eq(vcpu_try_poke(v, AT(3), 5), PF_VECTOR);
	check_eq(s.ram[WORD(2)], 1002);
	check_eq(s.ram[WORD(3)], 1003);
	vm_free(vm);
}

/* kvm_unmap_gfn_range(): nothing but the window has this page */
static void a_page_that_the_host_takes_is_gone_at_once(void)
{
	begin(1);
	check_eq(madvise(s.ram, 8 * PAGE, MADV_DONTNEED), 0);
	check_eq(vcpu_peek(v, AT(3)), 0);
	vcpu_poke(v, AT(4), 5);
	check_eq(s.ram[WORD(4)], 5);
	vm_free(vm);
}

static volatile uint64_t beats, stop, gone;

/* Read until it faults. */
static uint64_t guest_beat(uint64_t va)
{
	vmfunc(0, 1);
	while (!stop) {
		if (try_read(va, NULL) != -1) {
			gone = 1;
			break;
		}
		beats++;
	}
	return 0;
}

/* Destroy what the other vCPU is in. Return: how often it beats after that. */
static uint64_t guest_destroy(uint64_t nr, uint64_t id)
{
	uint64_t first, i;

	while (beats < 1000)
		asm volatile("pause");
	hc(nr, id, 0, 0);
	first = beats;
	for (i = 0; i < 3000 && !gone; i++)
		asm volatile("pause");
	return beats - first;
}

/* Without a context the window is no memory: the VMM is asked. */
static void *other_vcpu(void *arg)
{
	const uint64_t args[4] = { AT(1) };
	struct vcpu *other = arg;
	int r;

	vcpu_prepare(other, (guest_fn)(void *)guest_beat, args);
	while (!(r = vcpu_run_once(other)) || r == -EINTR) {
		if (r)
			continue;
		if (vcpu_done(other, NULL))
			return NULL;
		if (other->run->exit_reason != KVM_EXIT_MMIO)
			vcpu_unexpected(other);
		check_eq(other->run->mmio.phys_addr, window_gpa(vm, AT(1)));
		gone = 1;
		stop = 1;
	}
	check_eq(r, 0);
	return NULL;
}

static void destroy_under_a_running_vcpu(uint64_t nr, const uint64_t *id)
{
	pthread_t t;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		host_skip("one CPU");
	begin(2);
	vcpu_vmfunc(v, 0);
	vcpu_hc_ok(&vm->vcpus[1], PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
	check_eq(pthread_create(&t, NULL, other_vcpu, &vm->vcpus[1]), 0);
	/* the read that was under way may still count */
	check(vcpu_call(v, guest_destroy, nr, *id) <= 1);
	stop = 1;
	pthread_join(t, NULL);
	check(gone);
	vm_free(vm);
}

/* pvvas_view_destroy() */
static void a_running_vcpu_leaves_a_destroyed_view(void)
{
	destroy_under_a_running_vcpu(PVVAS_HC_VIEW_DESTROY, &s.view[0]);
}

/* pvvas_ctx_free() */
static void a_running_vcpu_leaves_a_destroyed_context(void)
{
	destroy_under_a_running_vcpu(PVVAS_HC_CTX_DESTROY, &s.ctx);
}

#define OLD	64
#define NEW	200

static uint64_t view_ids[NEW];

/* All roots first: they then get most of the pages that were freed last. */
static void make_views(struct vm *m, const struct scene *sc, uint64_t n)
{
	struct vcpu *c = &m->vcpus[0];
	uint64_t i;

	for (i = 0; i < n; i++)
		view_ids[i] = view_new(c, sc->ctx, 0, 0);
	for (i = 0; i < n; i++) {
		view_attach(c, view_ids[i], sc->seg, PVVAS_PROT_ALL);
		vcpu_hc_ok(c, PVVAS_HC_VIEW_PLACE, sc->ctx, i + 1, view_ids[i]);
	}
}

static void look_through_views(struct vm *m, uint64_t n, uint64_t val)
{
	struct vcpu *c = &m->vcpus[0];
	uint64_t i;

	for (i = 0; i < n; i++) {
		vcpu_vmfunc(c, i + 1);
		check_eq(vcpu_peek(c, AT(1)), val);
	}
	vcpu_vmfunc(c, 0);
}

/* pvvas_view_alloc(): views of one VM, in pages that were roots of another's */
static void a_root_page_that_was_another_vms_shows_nothing_of_it(void)
{
	struct vm *old, *new;
	struct scene a, b;

	old = vm_new(1);
	vm_ioctl(old->fd, KVM_SET_NR_MMU_PAGES, 4000);
	scene_make(&a, old, SIZE, 0);
	a.ram[WORD(1)] = 1;
	make_views(old, &a, OLD);

	new = vm_new(1);
	vm_ioctl(new->fd, KVM_SET_NR_MMU_PAGES, 4000);
	scene_make(&b, new, SIZE, 0);
	b.ram[WORD(1)] = 2;
	check_eq(vcpu_peek(&new->vcpus[0], TEST_GPA + PAGE), 2);

	look_through_views(old, OLD, 1);
	vm_free(old);
	make_views(new, &b, NEW);
	look_through_views(new, NEW, 2);
	vm_free(new);
}

/* kvm_mmu_zap_oldest_mmu_pages(): two pages each in more 2 MiB than tables allow */
static void tables_that_were_taken_back_are_not_walked(void)
{
	const uint64_t n = 100;
	uint64_t i, round, seg, ctx, view;
	uint64_t *ram;

	vm = vm_new(1);
	v = &vm->vcpus[0];
	ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, SIZE, 0);
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 72);
	for (i = 0; i < 512; i++)
		ram[WORD(i)] = i;
	ctx = ctx_new(v);
	seg = seg_new(vm, WINDOW_FREE, n * SIZE, SEG_SMALL);
	for (i = 0; i < n; i++)
		seg_map(v, seg, i * SIZE, TEST_GPA + 2 * i * PAGE, 2 * PAGE, 3);
	view = view_new(v, ctx, 1, 0);
	view_attach(v, view, seg, 3);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	vcpu_vmfunc(v, 1);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < n; i++)
			check_eq(vcpu_peek(v, WINDOW_FREE + i * SIZE), 2 * i);
		for (i = n; i-- > 0;)
			check_eq(vcpu_peek(v, WINDOW_FREE + i * SIZE + PAGE),
				 2 * i + 1);
	}
	check(kvm_stat_of(vm->fd, "mmu_recycled") > 0);
	vm_free(vm);
}

static void other_ram(uint64_t val)
{
	uint64_t *mem = vm_mem(SIZE);

	mem[0] = val;
	vm_slot(vm, RAM_SLOT, RAM_GPA, NULL, 0, 0);
	vm_slot(vm, RAM_SLOT, RAM_GPA, mem, SIZE, 0);
}

/* kvm_zap_obsolete_pages(), and vmx_flush_tlb_current() when roots are loaded */
static void other_ram_shows_in_views_at_once(void)
{
	uint64_t i;

	begin(1);
	vm_ram(vm, RAM_SLOT, RAM_GPA, SIZE, 0);
	for (i = 1; i < 10; i++) {
		vcpu_vmfunc(v, i % 3);
		vcpu_peek(v, RAM_GPA);
		other_ram(i);
		check_eq(vcpu_peek(v, RAM_GPA), i);
	}
	vm_free(vm);
}

/* view_bound_parents(): the way that was forgotten is not gone on CPUs */
static void a_table_in_very_many_places_leaves_each_at_once(void)
{
	uint64_t *table, *first, i;

	begin(1);
	table = vm_shared(PAGE);
	table[0] = TEST_GPA | PVVAS_PROT_ALL | PVVAS_EPT_WB;
	for (i = 0; i < 1100; i++)
		*root_2mib(vm, view_root(s.view[0]),
			   WINDOW_FREE + 8 * MIB + i * 2 * MIB) =
			(uint64_t)table | PVVAS_PROT_ALL;
	first = root_2mib(vm, view_root(s.view[0]), WINDOW_FREE + 8 * MIB);
	for (i = 0; i < 1100; i++)
		check_eq(vcpu_peek(v, WINDOW_FREE + 8 * MIB + i * 2 * MIB), 1000);
	*first = 0;
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, (uint64_t)first & ~(PAGE - 1),
			 (uint64_t)first / 8 % 512, 1), 1);
	check_eq(vcpu_try_peek(v, WINDOW_FREE + 8 * MIB), PF_VECTOR);
	vm_free(vm);
}

#define YIELD_MS	"/sys/module/kvm/parameters/pvvas_yield_ms"
#define FORGOTTEN	200

static volatile uint64_t written, read_too_old, zaps_done;

/* Never older than what was written when it began to read. */
static uint64_t guest_reads(uint64_t va)
{
	uint64_t least, val;

	vmfunc(0, 1);
	while (!stop) {
		least = written;
		val = *(volatile uint64_t *)va;
		if (val < least)
			read_too_old = least;
	}
	vmfunc(0, 0);
	return 0;
}

static void *reader(void *arg)
{
	vcpu_call(arg, guest_reads, AT(1));
	return NULL;
}

static void *zapper(void *arg)
{
	uint64_t i;

	for (i = 0; i < 3; i++) {
		vm_slot(vm, RAM_SLOT, RAM_GPA, arg, SIZE, 0);
		vm_slot(vm, RAM_SLOT, RAM_GPA, NULL, 0, 0);
	}
	zaps_done = 1;
	return NULL;
}

/*
 * kvm_zap_obsolete_pages(), which yields: the host takes a page that the view
 * has no leaf of any more, and the vCPU runs on in that view.  Needs modules that
 * can make it yield (tests/flushes/mutate).
 */
static void what_a_zap_has_taken_is_flushed_before_it_yields(void)
{
	int file = memfd_create("pages", 0);
	uint64_t i, *page, *other;
	pthread_t r, z;

	if (access(YIELD_MS, W_OK))
		host_skip("these modules cannot yield when they are told to");
	begin(2);
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 4000);
	vcpu_vmfunc(v, 0);
	for (i = 0; i < FORGOTTEN; i++)
		*root_2mib(vm, view_root(s.view[1]),
			   WINDOW_FREE + 8 * MIB + i * 2 * MIB) =
			(uint64_t)memset(vm_shared(PAGE), 0, PAGE) |
			PVVAS_PROT_ALL;
	page = &s.ram[WORD(1)];
	other = vm_mem(SIZE);
	check_eq(ftruncate(file, 2 * PAGE), 0);
	host_put(YIELD_MS, "2");
	vcpu_hc_ok(&vm->vcpus[1], PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
	check_eq(pthread_create(&r, NULL, reader, &vm->vcpus[1]), 0);
	vcpu_vmfunc(v, 2);
	for (i = 0; i < FORGOTTEN; i++)
		vcpu_try_peek(v, WINDOW_FREE + 8 * MIB + i * 2 * MIB);
	check_eq(pthread_create(&z, NULL, zapper, other), 0);
	for (i = 1000; !zaps_done; i++) {
		check_eq(pwrite(file, &i, sizeof(i), i % 2 * PAGE), sizeof(i));
		check(mmap(page, PAGE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_FIXED, file, i % 2 * PAGE) == page);
		written = i;
		usleep(500);
	}
	pthread_join(z, NULL);
	stop = 1;
	pthread_join(r, NULL);
	host_put(YIELD_MS, "0");
	host_note("%lu pages taken meanwhile", i - 1000);
	check_eq(read_too_old, 0);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(a_detached_segment_is_gone_at_once),
	CASE(an_unmapped_page_is_gone_at_once),
	CASE(a_page_that_the_host_takes_is_gone_at_once),
	CASE_ONLY_NAMED(a_running_vcpu_leaves_a_destroyed_view),
	CASE_ONLY_NAMED(a_running_vcpu_leaves_a_destroyed_context),
	CASE(a_root_page_that_was_another_vms_shows_nothing_of_it),
	CASE(tables_that_were_taken_back_are_not_walked),
	CASE(other_ram_shows_in_views_at_once),
	CASE_ONLY_NAMED(a_table_in_very_many_places_leaves_each_at_once),
	CASE_ONLY_NAMED(what_a_zap_has_taken_is_flushed_before_it_yields),
};

HOSTCASE_MAIN(cases)
