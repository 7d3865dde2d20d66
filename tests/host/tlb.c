// SPDX-License-Identifier: GPL-2.0-only
/*
 * A translation that a change has made wrong is not used again. Each case is
 * about one flush, or a pair of which either is enough; only a CPU that
 * keeps what it need not drop can tell (make test TLB=sticky, docs/tlb.md).
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
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

#define PARAMETERS	"/sys/module/kvm/parameters/"
#define KEEP_ROOTS	PARAMETERS "pvvas_keep_roots"

/* In the view all that it touches is its code and @va: no stack. */
static uint64_t guest_glance(uint64_t slot, uint64_t va)
{
	uint64_t val;

	asm volatile("xor %%eax, %%eax\n\t"
		     ".byte 0x0f, 0x01, 0xd4\n\t" /* VMFUNC */
		     "mov (%[va]), %[val]\n\t"
		     "xor %%eax, %%eax\n\t"
		     "xor %%ecx, %%ecx\n\t"
		     ".byte 0x0f, 0x01, 0xd4"
		     : [val] "=&r"(val), "+c"(slot)
		     : [va] "r"(va)
		     : "rax", "memory");
	return val;
}

static void make_views(struct vm *m, struct scene *sc, int n)
{
	struct vcpu *c = &m->vcpus[0];
	int i;

	for (i = 0; i < n; i++) {
		sc->view[i] = view_new(c, sc->ctx, 0, 0);
		view_attach(c, sc->view[i], sc->seg, PVVAS_PROT_ALL);
	}
}

/*
 * pvvas_view_alloc(): a view of one VM in the page of the root of another's.  Which
 * of the new views has that page, and which that of the old plain view, is not said.
 */
static void root_page_that_was_another_vms(int first)
{
	struct vm *old, *new;
	struct vcpu *o, *n;
	struct scene a, b;
	int i;

	old = vm_new(1);
	o = &old->vcpus[0];
	scene_make(&a, old, SIZE, 0);
	a.ram[WORD(1)] = 1;
	make_views(old, &a, 1);

	new = vm_new(1);
	n = &new->vcpus[0];
	scene_make(&b, new, SIZE, 0);
	b.ram[WORD(1)] = 2;
	check_eq(vcpu_peek(n, TEST_GPA + PAGE), 2);

	/*
	 * Until nothing is missing in the view any more, and the CPU has walked
	 * the guest's own tables for AT(1) when their pages were dirty.
	 */
	vcpu_hc_ok(o, PVVAS_HC_VIEW_PLACE, a.ctx, 1, a.view[0]);
	for (i = 0; i < 6; i++)
		vcpu_call(o, guest_glance, 1, AT(1 + i % 2));
	host_put(KEEP_ROOTS, "1");
	vm_free(old);
	make_views(new, &b, 4);
	host_put(KEEP_ROOTS, "0");
	vcpu_hc_ok(n, PVVAS_HC_VIEW_PLACE, b.ctx, 1, b.view[first]);
	check_eq(vcpu_call(n, guest_glance, 1, AT(1)), 2);
	vm_free(new);
}

static void a_root_page_that_was_another_vms_shows_nothing_of_it(void)
{
	int i;

	host_need_parameter(KEEP_ROOTS);
	/* a tick of the host at the wrong moment, and the CPU walks anew */
	for (i = 0; i < 12; i++)
		root_page_that_was_another_vms(i % 4);
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

/* kvm_zap_obsolete_pages(), or vmx_flush_tlb_current() when roots are loaded */
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
	/* The first place again, as long as it is not forgotten. */
	for (i = 0; i < 1100; i++) {
		check_eq(vcpu_peek(v, WINDOW_FREE + 8 * MIB + i * 2 * MIB), 1000);
		if (i < 990)
			check_eq(vcpu_peek(v, WINDOW_FREE + 8 * MIB), 1000);
	}
	*first = 0;
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, (uint64_t)first & ~(PAGE - 1),
			 (uint64_t)first / 8 % 512, 1), 1);
	check_eq(vcpu_try_peek(v, WINDOW_FREE + 8 * MIB), PF_VECTOR);
	vm_free(vm);
}

#define CR4_SMEP	(1UL << 20)
#define GUEST_PTE	3UL		/* present, writable, not for CPL 3 */
#define SCRATCH		100UL		/* entry of the level 4 table */

/*
 * The guest's own tables: another page at an address, and no INVLPG.  To set
 * CR4.SMEP drops what the CPU remembers, and KVM intercepts it.
 */
static uint64_t guest_smep(uint64_t *pml4, uint64_t *pdpt, uint64_t *pd,
			   uint64_t gpa)
{
	volatile uint64_t *at = (uint64_t *)(SCRATCH << 39);
	uint64_t cr3, cr4, first, then;
	int i;

	asm volatile("mov %%cr3, %0" : "=r"(cr3));
	for (i = 0; i < 512; i++)
		pml4[i] = ((uint64_t *)cr3)[i];
	/* CPL 0 may not execute what is CPL 3's */
	pml4[0] &= ~4UL;
	pml4[SCRATCH] = (uint64_t)pdpt | GUEST_PTE;
	pdpt[0] = (uint64_t)pd | GUEST_PTE;
	pd[0] = gpa | 0x80 | GUEST_PTE;
	asm volatile("mov %0, %%cr3" : : "r"(pml4) : "memory");
	first = *at;
	pd[0] = (gpa + SIZE) | 0x80 | GUEST_PTE;
	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_SMEP) : "memory");
	then = *at;
	asm volatile("mov %0, %%cr4" : : "r"(cr4) : "memory");
	asm volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
	gcheck_eq(first, 1);
	return then;
}

/* vmx_flush_tlb_current() */
static void what_a_guest_flushes_by_cr4_is_gone_from_its_view(void)
{
	uint64_t *ram;

	begin(1);
	ram = vm_ram(vm, RAM_SLOT, RAM_GPA, 2 * SIZE, 0);
	ram[0] = 1;
	ram[SIZE / 8] = 2;
	check_eq(vcpu_call(v, guest_smep, (uint64_t)vm_shared(PAGE),
			   (uint64_t)vm_shared(PAGE), (uint64_t)vm_shared(PAGE),
			   RAM_GPA), 2);
	check_eq(vcpu_view(v), s.view[0]);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(a_detached_segment_is_gone_at_once),
	CASE(an_unmapped_page_is_gone_at_once),
	CASE(a_page_that_the_host_takes_is_gone_at_once),
	CASE_ONLY_NAMED(a_running_vcpu_leaves_a_destroyed_view),
	CASE_ONLY_NAMED(a_running_vcpu_leaves_a_destroyed_context),
	CASE_ONLY_NAMED(a_root_page_that_was_another_vms_shows_nothing_of_it),
	CASE(tables_that_were_taken_back_are_not_walked),
	CASE(other_ram_shows_in_views_at_once),
	CASE(what_a_guest_flushes_by_cr4_is_gone_from_its_view),
	CASE_ONLY_NAMED(a_table_in_very_many_places_leaves_each_at_once),
};

HOSTCASE_MAIN(cases)
