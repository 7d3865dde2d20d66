// SPDX-License-Identifier: GPL-2.0-only
/*
 * What KVM has read from a guest's tables: when it is forgotten, and that entries
 * which change without a word, or lead in a circle, do no harm but to the guest.
 */
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

#define PF_VECTOR	14
#define E_TABLE		((uint64_t)PVVAS_PROT_ALL)
#define E_LEAF		(PVVAS_PROT_ALL | PVVAS_EPT_WB)
#define E_RO		(PVVAS_PROT_READ | PVVAS_PROT_EXEC | PVVAS_EPT_WB)
#define E_LARGE		(E_LEAF | PVVAS_EPT_LARGE)
#define SIZE		(8 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define NR		2

static struct vm *vm;
static struct vcpu *v;
static uint64_t *ram;
static uint64_t ctx, view[NR];
/* of each view: the entry of the GiB, levels 2 and 1 of its first 2 MiB */
static uint64_t *gib[NR], *t2[NR], *t1[NR];

static void invalidate(uint64_t *entry, uint64_t count)
{
	uint64_t table = (uint64_t)entry & ~(PAGE - 1);

	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, table,
			 ((uint64_t)entry - table) / 8, count), 1);
}

/* View i shows RAM's 2 MiB number i at WINDOW_FREE, by entries of 4 KiB. */
static void begin(int nr_views)
{
	uint64_t k;
	int i;

	vm = vm_new(1);
	v = &vm->vcpus[0];
	ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, SIZE, 0);
	for (k = 0; k < SIZE / PAGE; k++)
		ram[k * 512] = k;
	ctx = ctx_new(v);
	for (i = 0; i < nr_views; i++) {
		view[i] = view_new(v, ctx, i + 1, 100 + i);
		gib[i] = root_gib(vm, view_root(view[i]), WINDOW_FREE);
		t2[i] = root_2mib(vm, view_root(view[i]), WINDOW_FREE);
		t1[i] = vm_shared(PAGE);
		for (k = 0; k < 512; k++)
			t1[i][k] = (TEST_GPA + i * 2 * MIB + k * PAGE) | E_LEAF;
		*t2[i] = (uint64_t)t1[i] | E_TABLE;
	}
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
}

static uint64_t faults(void)
{
	return kvm_stat_of(v->fd, "pvvas_view_faults");
}

static uint64_t guest_stores(uint64_t table, uint64_t first, uint64_t n,
			     uint64_t val)
{
	uint64_t i;

	for (i = first; i < first + n; i++)
		((volatile uint64_t *)table)[i] = val;
	return 0;
}

/* At each level, while KVM has shadows of the tables. */
static void stores_to_tables_take_no_exits(void)
{
	uint64_t before, emulated, *table[3], i;

	begin(1);
	vcpu_vmfunc(v, 1);
	check_eq(vcpu_peek(v, AT(5)), 5);
	table[0] = t1[0];
	table[1] = (uint64_t *)((uint64_t)t2[0] & ~(PAGE - 1));
	table[2] = (uint64_t *)((uint64_t)gib[0] & ~(PAGE - 1));
	for (i = 0; i < 3; i++)
		vcpu_call(v, guest_stores, (uint64_t)table[i], 500, 1, 0);
	before = faults();
	emulated = kvm_stat_of(v->fd, "pf_emulate");
	for (i = 0; i < 3; i++)
		vcpu_call(v, guest_stores, (uint64_t)table[i], 300, 100, 0);
	check_eq(faults(), before);
	check_eq(kvm_stat_of(v->fd, "pf_emulate"), emulated);
	check_eq(vcpu_peek(v, AT(5)), 5);
	vm_free(vm);
}

static uint64_t shadow_pages(void)
{
	struct pvvas_hc_stats s;

	vcpu_stats(v, &s);
	return s.shadow_pages;
}

static void a_table_invalidated_as_a_whole_is_forgotten(void)
{
	uint64_t before;

	begin(1);
	vcpu_vmfunc(v, 1);
	check_eq(vcpu_peek(v, AT(5)), 5);
	before = shadow_pages();
	*t2[0] = 0;
	invalidate(t2[0], 1);
	check_eq(shadow_pages(), before);
	invalidate(t1[0], 512);
	check_eq(shadow_pages(), before - 1);
	vm_free(vm);
}

static void a_reset_forgets_what_was_read_from_tables(void)
{
	uint64_t *root;

	begin(1);
	root = view_root(view[0]);
	vcpu_vmfunc(v, 1);
	check_eq(vcpu_peek(v, AT(5)), 5);
	check_eq(vcpu_peek(v, AT(60)), 60);
	vcpu_hc_ok(v, PVVAS_HC_RESET, 0, 0, 0);
	t1[0][5] = (TEST_GPA + 700 * PAGE) | E_LEAF;
	ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, root, 0, 0);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	/* the table comes back by another entry of it */
	check_eq(vcpu_peek(v, AT(60)), 60);
	check_eq(vcpu_peek(v, AT(5)), 700);
	vm_free(vm);
}

/*
 * Entries that change without a word mislead the guest, but what they now lead
 * to is followed as if they had always done: the host takes it like any other.
 */
static void a_large_entry_for_other_memory_is_followed(void)
{
	begin(1);
	vcpu_vmfunc(v, 1);
	*t2[0] = TEST_GPA | E_LARGE;
	invalidate(t2[0], 1);
	check_eq(vcpu_peek(v, AT(5)), 5);
	*t2[0] = (TEST_GPA + 2 * MIB) | E_LARGE;
	check_eq(vcpu_peek(v, AT(100)), 512 + 100);
	check_eq(madvise(&ram[(512 + 100) * 512], PAGE, MADV_DONTNEED), 0);
	check_eq(vcpu_peek(v, AT(100)), 0);
	vcpu_poke(v, AT(100), 1);
	check_eq(ram[(512 + 100) * 512], 1);
	check_eq(vcpu_peek(v, AT(5)), 512 + 5);
	vm_free(vm);
}

/* Two frames on one page of the host; the entry changes from one to the other. */
static void the_same_page_as_another_frame_goes_with_that(void)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DISABLE_QUIRKS2,
				      .args[0] = 1 << 7 /* SLOT_ZAP_ALL */ };

	begin(1);
	if (!(vm_ioctl(vm->fd, KVM_CHECK_EXTENSION, cap.cap) & cap.args[0]))
		host_skip("no KVM_X86_QUIRK_SLOT_ZAP_ALL");
	vm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	vm_slot(vm, FIRST_TEST_SLOT + 1, TEST_GPA + SIZE, ram, SIZE, 0);
	vcpu_vmfunc(v, 1);
	t1[0][6] = (TEST_GPA + 600 * PAGE) | E_RO;
	check_eq(vcpu_peek(v, AT(6)), 600);
	t1[0][6] = (TEST_GPA + SIZE + 600 * PAGE) | E_LEAF;
	vcpu_poke(v, AT(6), 601);
	check_eq(ram[600 * 512], 601);
	vm_slot(vm, FIRST_TEST_SLOT + 1, TEST_GPA + SIZE, ram, 0, 0);
	vcpu_check_mmio(v, AT(6), TEST_GPA + SIZE + 600 * PAGE);
	vm_free(vm);
}

/* The entry of a linear address that nothing else uses, in the guest's tables. */
static uint64_t *linear_entry(uint64_t va)
{
	struct kvm_sregs s;
	uint64_t *table, *entry;
	int shift;

	vm_ioctl(v->fd, KVM_GET_SREGS, &s);
	table = (uint64_t *)s.cr3;
	for (shift = 39; shift > 12; shift -= 9) {
		entry = &table[va >> shift & 511];
		if (!*entry)
			*entry = (uint64_t)vm_shared(PAGE) | 7;
		table = (uint64_t *)(*entry & ~0xfffULL);
	}
	return &table[va >> 12 & 511];
}

static uint64_t doorbell(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static int ring_at(uint64_t gpa)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct kvm_ioeventfd d = { .addr = gpa, .fd = fd };

	check(fd >= 0);
	vm_ioctl(vm->fd, KVM_IOEVENTFD, &d);
	return fd;
}

static uint64_t guest_write(uint64_t va)
{
	*(volatile uint32_t *)va = 1;
	return 0;
}

static uint64_t guest_movs(uint64_t to, uint64_t from)
{
	asm volatile("movsl" : "+D"(to), "+S"(from) : : "memory");
	return 0;
}

/*
 * What KVM remembers of an access to no memory is of one frame, however many
 * addresses of views, and linear ones of the same number, there are.
 */
static void devices_at_one_address_of_two_views_are_told_apart(void)
{
	uint64_t va, ram_va, i;
	int bell[2];

	begin(2);
	va = window_gpa(vm, AT(7));
	*linear_entry(va) = window_gpa(vm, AT(6)) | 7;
	ram_va = window_gpa(vm, AT(8));
	*linear_entry(ram_va) = window_gpa(vm, AT(9)) | 7;
	for (i = 0; i < 2; i++) {
		bell[i] = ring_at(0xd0000000 + i * PAGE);
		t1[i][5] = (0xd0000000 + i * PAGE) | E_LEAF;
		t1[i][6] = 0xd0010000 | E_LEAF;
		t1[i][7] = 0xd0020000 | E_LEAF;
		t1[i][8] = 0xd0030000 | E_LEAF;
	}
	for (i = 0; i < 6; i++) {
		vcpu_vmfunc(v, 1 + i % 2);
		vcpu_call(v, guest_write, AT(5));
		check_eq(doorbell(bell[i % 2]), 1);
		check_eq(doorbell(bell[1 - i % 2]), 0);
	}
	/* from the view's address to the linear one of the same number */
	for (i = 0; i < 3; i++) {
		vcpu_prepare(v, (guest_fn)(void *)guest_movs,
			     (uint64_t[4]) { va, AT(7) });
		check_eq(vcpu_run_once(v), 0);
		check_eq(v->run->exit_reason, KVM_EXIT_MMIO);
		check(!v->run->mmio.is_write);
		check_eq(v->run->mmio.phys_addr, 0xd0020000);
		check_eq(vcpu_run_once(v), 0);
		check_eq(v->run->exit_reason, KVM_EXIT_MMIO);
		check(v->run->mmio.is_write);
		check_eq(v->run->mmio.phys_addr, 0xd0010000);
		check_eq(vcpu_run_once(v), 0);
		check(vcpu_done(v, NULL));
	}
	/* and from memory there to the view's */
	for (i = 0; i < 3; i++) {
		vcpu_prepare(v, (guest_fn)(void *)guest_movs,
			     (uint64_t[4]) { AT(8), ram_va });
		check_eq(vcpu_run_once(v), 0);
		check_eq(v->run->exit_reason, KVM_EXIT_MMIO);
		check(v->run->mmio.is_write);
		check_eq(v->run->mmio.phys_addr, 0xd0030000);
		check_eq(*(uint32_t *)v->run->mmio.data,
			 ram[(512 + 9) * 512]);
		check_eq(vcpu_run_once(v), 0);
		check(vcpu_done(v, NULL));
	}
	vm_free(vm);
}

/* Of any length and value, which KVM rings without a look at the instruction. */
static void a_doorbell_is_rung_behind_the_view_and_not_before(void)
{
	int behind, before, i;

	begin(1);
	behind = ring_at(0xd0000000);
	before = ring_at(window_gpa(vm, AT(6)));
	t1[0][5] = 0xd0000000 | E_LEAF;
	t1[0][6] = 0xd0001000 | E_LEAF;
	vcpu_vmfunc(v, 1);
	for (i = 0; i < 3; i++) {	/* what KVM remembers from the second on */
		vcpu_call(v, guest_write, AT(5));
		check_eq(doorbell(behind), 1);
		vcpu_prepare(v, (guest_fn)(void *)guest_write,
			     (uint64_t[4]) { AT(6) });
		check_eq(vcpu_run_once(v), 0);
		check_eq(v->run->exit_reason, KVM_EXIT_MMIO);
		check_eq(v->run->mmio.phys_addr, 0xd0001000);
		check_eq(vcpu_run_once(v), 0);
		check(vcpu_done(v, NULL));
		check_eq(doorbell(before), 0);
	}
	vm_free(vm);
}

/* KVM takes an access that it remembers for a write, without a look at it. */
static void a_device_shown_for_reading_is_not_rung_by_writes(void)
{
	int bell, i;

	begin(1);
	bell = ring_at(0xd0000000);
	t1[0][5] = 0xd0000000 | E_RO;
	vcpu_vmfunc(v, 1);
	for (i = 0; i < 3; i++) {
		vcpu_check_mmio(v, AT(5), 0xd0000000);
		check_eq(vcpu_try_poke(v, AT(5), 1), PF_VECTOR);
		check_eq(v->g->error & 2, 2);
		check_eq(doorbell(bell), 0);
	}
	/* more rights need nothing but the store */
	t1[0][5] = 0xd0000000 | E_LEAF;
	for (i = 0; i < 3; i++) {
		vcpu_call(v, guest_write, AT(5));
		check_eq(doorbell(bell), 1);
	}
	vm_free(vm);
}

/* The guest would look for a page at the linear address, and it is not that. */
static void tables_of_the_guest_are_not_asked_for(void)
{
	const uint64_t va = 0x7f8000000000ULL;
	struct kvm_sregs s;

	begin(1);
	vm_ioctl(v->fd, KVM_GET_SREGS, &s);
	((uint64_t *)s.cr3)[va >> 39 & 511] = window_gpa(vm, AT(20)) | 7;
	t1[0][20] = PVVAS_EPT_DEMAND;
	vcpu_vmfunc(v, 1);
	check_eq(vcpu_try_peek(v, AT(20)), PVVAS_DEMAND_VECTOR);
	check_eq(vcpu_try_peek(v, va), PF_VECTOR);
	check_eq(v->g->cr2, va);
	vm_free(vm);
}

/* The level is KVM's own, and a walk has four steps whatever the tables say. */
static void tables_may_lead_to_themselves(void)
{
	const uint64_t k = 100, va = 0x7f8000000000ULL;
	uint64_t gpa = k << 39 | k << 30 | k << 21 | k << 12, *root, i;

	begin(1);
	root = view_root(view[0]);
	*linear_entry(va) = gpa | 7;
	vcpu_vmfunc(v, 1);
	check_eq(vcpu_try_peek(v, va), PF_VECTOR);
	root[k] = (uint64_t)root | E_TABLE;
	for (i = 0; i < 512; i += 100)
		check_eq(vcpu_peek(v, va + i * 8), root[i]);
	vcpu_poke(v, va + k * 8, 0);
	check_eq(root[k], 0);
	invalidate(root, 512);
	check_eq(vcpu_try_peek(v, va), PF_VECTOR);
	check_eq(vcpu_peek(v, AT(5)), 5);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE_ONLY_NAMED(stores_to_tables_take_no_exits),
	CASE(a_table_invalidated_as_a_whole_is_forgotten),
	CASE(a_reset_forgets_what_was_read_from_tables),
	CASE_ONLY_NAMED(a_large_entry_for_other_memory_is_followed),
	CASE(the_same_page_as_another_frame_goes_with_that),
	CASE_ONLY_NAMED(devices_at_one_address_of_two_views_are_told_apart),
	CASE_ONLY_NAMED(a_doorbell_is_rung_behind_the_view_and_not_before),
	CASE(a_device_shown_for_reading_is_not_rung_by_writes),
	CASE(tables_of_the_guest_are_not_asked_for),
	CASE_ONLY_NAMED(tables_may_lead_to_themselves),
};

HOSTCASE_MAIN(cases)
