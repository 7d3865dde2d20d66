// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMFUNC to every index and beyond; what a view shows and what it refuses.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "vm.h"

#define UD_VECTOR	6
#define GP_VECTOR	13
#define PF_VECTOR	14

#define ERR_P		(1 << 0)
#define ERR_W		(1 << 1)
#define ERR_U		(1 << 2)
#define ERR_I		(1 << 4)
#define ERR_SGX		(1 << 15)

/* Which slot holds which view; the rest of the list leads to the plain one. */
static uint64_t expected[PVVAS_NR_SLOTS];

static uint64_t guest_all_slots(void)
{
	uint64_t i;

	for (i = 0; i < PVVAS_NR_SLOTS; i++) {
		gcheck_eq(try_vmfunc(0, i), -1);
		gcheck_eq(gc_identity()->view, expected[i]);
		/* the upper halves of the registers do not count */
		gcheck_eq(try_vmfunc(0, 0), -1);
		gcheck_eq(try_vmfunc(1ULL << 32, i | 1ULL << 63), -1);
		gcheck_eq(gc_identity()->view, expected[i]);
	}
	vmfunc(0, 0);
	gcheck_eq(gc_identity()->view, 0);
	return 0;
}

static uint64_t guest_bad_vmfunc(uint64_t slot, uint64_t user)
{
	static const uint64_t ecx[] = { 512, 513, 1024, 4096, 65536,
		1U << 31, 0xffffffff, 0xfffff000, 0x1ff00 };
	uint64_t i;

	vmfunc(0, slot);
	for (i = 0; i < sizeof(ecx) / sizeof(ecx[0]); i++) {
		gcheck_eq(try_vmfunc(0, ecx[i]), GP_VECTOR);
		gcheck_eq(gc_cpu()->error, 0);
		gcheck_eq(gc_cpu()->cs & 3, user ? 3 : 0);
		gcheck_eq(gc_identity()->view, expected[slot]);
	}
	for (i = 1; i < 300; i++) {
		gcheck_eq(try_vmfunc(i, 1), i < 64 ? GP_VECTOR : UD_VECTOR);
		gcheck_eq(gc_identity()->view, expected[slot]);
	}
	gcheck_eq(try_vmfunc(0x80000000, 1), UD_VECTOR);
	gcheck_eq(try_vmfunc(0xffffffff, 1), UD_VECTOR);
	gcheck_eq(gc_identity()->view, expected[slot]);
	vmfunc(0, 0);
	return 0;
}

static void every_index_leads_to_its_view_or_to_the_plain_one(void)
{
	static const int slots[] = { 1, 2, 3, 255, 256, 510, 511 };
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t ctx, i;

	ctx = ctx_new(v);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	/* no views: the plain one everywhere */
	vcpu_call(v, guest_all_slots, 0);
	vcpu_user(v, guest_all_slots, 0);
	for (i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
		expected[slots[i]] = view_new(v, ctx, slots[i], 0);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	vcpu_call(v, guest_all_slots, 0);
	vcpu_user(v, guest_all_slots, 0);
	/* a view that is gone, and one that left its slot */
	view_destroy(v, expected[255]);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, ctx, 511, 0);
	expected[255] = 0;
	expected[511] = 0;
	vcpu_call(v, guest_all_slots, 0);
	vcpu_user(v, guest_all_slots, 0);
	vm_free(vm);
}

static void bad_functions_and_indices_raise_gp_or_ud(void)
{
	struct vm *vm = vm_new(1);
	struct pvvas_hc_stats s;
	struct scene sc;

	scene_make(&sc, vm, 2 * MIB, 1);
	expected[1] = sc.view[0];
	vcpu_call(sc.v, guest_bad_vmfunc, 0, 0);
	vcpu_user(sc.v, guest_bad_vmfunc, 0, 1);
	vcpu_call(sc.v, guest_bad_vmfunc, 1, 0);
	vcpu_user(sc.v, guest_bad_vmfunc, 1, 1);
	vcpu_stats(sc.v, &s);
	/* all but the #UD, which the CPU raises by itself */
	check_eq(s.vmfunc_exits, 4 * (9 + 63));
	vm_free(vm);
}

/* One check of all of an identity page. */
static uint64_t guest_identity(uint64_t view, uint64_t cookie, uint64_t slot,
			       uint64_t generation)
{
	const volatile struct pvvas_identity *id = gc_identity();
	uint64_t i;

	gcheck_eq(id->magic, PVVAS_IDENTITY_MAGIC);
	gcheck_eq(id->view, view);
	gcheck_eq(id->cookie, cookie);
	gcheck_eq(id->slot, slot);
	gcheck_eq(id->generation, generation);
	for (i = 0; i < 3; i++)
		gcheck_eq(id->reserved[i], 0);
	for (i = sizeof(*id); i < 4096; i += 8)
		gcheck_eq(*(volatile uint64_t *)(WINDOW_VA + i), 0);
	return id->ctx;
}

static void the_identity_page_says_which_view_this_is(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	struct scene sc;

	scene_make(&sc, vm, 2 * MIB, 2);
	check_eq(vcpu_call(v, guest_identity, 0, 0, 0, 0), 0);
	vcpu_vmfunc(v, 2);
	check_eq(vcpu_user(v, guest_identity, sc.view[1], 101, 2, 1), sc.ctx);
	/* moved while it is in force */
	vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, sc.ctx, 2, 0);
	check_eq(vcpu_call(v, guest_identity, sc.view[1], 101, 2, 1), sc.ctx);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, sc.ctx, 400, sc.view[1]);
	view_placed(sc.view[1], 400);
	check_eq(vcpu_call(v, guest_identity, sc.view[1], 101, 400, 2), sc.ctx);
	vcpu_vmfunc(v, 1);
	check_eq(vcpu_user(v, guest_identity, sc.view[0], 100, 1, 1), sc.ctx);
	vm_free(vm);
}

/* Refused, with the right error code and address, wherever it comes from. */
static uint64_t guest_refused(uint64_t va, uint64_t access, uint64_t user)
{
	uint64_t error = ERR_P | ERR_SGX | (user ? ERR_U : 0);
	long vector;

	switch (access) {
	case PVVAS_PROT_READ:
		vector = try_read(va, NULL);
		break;
	case PVVAS_PROT_WRITE:
		vector = try_write(va, 1);
		error |= ERR_W;
		break;
	default:
		vector = try_call(va);
		error |= ERR_I;
		break;
	}
	gcheck_eq(vector, PF_VECTOR);
	gcheck_eq(gc_cpu()->error, error);
	gcheck_eq(gc_cpu()->cr2, va);
	return 0;
}

static void refused(struct vcpu *v, uint64_t va, uint32_t access)
{
	uint32_t bit;

	for (bit = PVVAS_PROT_READ; bit <= PVVAS_PROT_EXEC; bit <<= 1)
		if (access & bit) {
			vcpu_call(v, guest_refused, va, bit, 0);
			vcpu_user(v, guest_refused, va, bit, 1);
		}
}

static uint64_t guest_allowed(uint64_t va, uint64_t access)
{
	uint64_t val = 0;

	if (access & PVVAS_PROT_READ)
		gcheck_eq(try_read(va, &val), -1);
	if (access & PVVAS_PROT_WRITE)
		gcheck_eq(try_write(va, val), -1);
	if (access & PVVAS_PROT_EXEC)
		gcheck_eq(try_call(va), -1);
	return 0;
}

static void allowed(struct vcpu *v, uint64_t va, uint32_t access)
{
	vcpu_call(v, guest_allowed, va, access);
	vcpu_user(v, guest_allowed, va, access);
}

static void the_identity_page_is_read_only_and_the_rest_is_nothing(void)
{
	struct vm *vm = vm_new(1);
	struct scene sc;
	int slot;

	scene_make(&sc, vm, 2 * MIB, 1);
	for (slot = 0; slot < 2; slot++) {
		vcpu_vmfunc(sc.v, slot);
		allowed(sc.v, WINDOW_VA, PVVAS_PROT_READ);
		refused(sc.v, WINDOW_VA, PVVAS_PROT_WRITE | PVVAS_PROT_EXEC);
		refused(sc.v, WINDOW_VA + 4095 - 7, PVVAS_PROT_WRITE);
		refused(sc.v, WINDOW_VA + PAGE, PVVAS_PROT_ALL);
		refused(sc.v, WINDOW_FREE - 8, PVVAS_PROT_ALL);
		refused(sc.v, WINDOW_FREE + 2 * MIB, PVVAS_PROT_ALL);
		refused(sc.v, WINDOW_FREE + 5 * GIB + 0x123, PVVAS_PROT_ALL);
	}
	vcpu_vmfunc(sc.v, 0);
	refused(sc.v, WINDOW_FREE, PVVAS_PROT_ALL);
	vm_free(vm);
}

static void one_address_shows_different_data_in_each_view(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t seg, view[3], ctx, *ram, i;

	ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, 6 * MIB, 0);
	ctx = ctx_new(v);
	for (i = 0; i < 3; i++) {
		seg = seg_new(vm, WINDOW_FREE, 2 * MIB, 0);
		seg_map(v, seg, 0, TEST_GPA + i * 2 * MIB, 2 * MIB, 3);
		view[i] = view_new(v, ctx, i + 1, 0);
		view_attach(v, view[i], seg, 3);
	}
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	v->user = true;
	for (i = 0; i < 3; i++) {
		vcpu_vmfunc(v, i + 1);
		vcpu_poke(v, WINDOW_FREE + PAGE, 1000 + i);
	}
	for (i = 0; i < 9; i++) {
		vcpu_vmfunc(v, i % 3 + 1);
		check_eq(vcpu_peek(v, WINDOW_FREE + PAGE), 1000 + i % 3);
		check_eq(vcpu_peek(v, TEST_GPA + i % 3 * 2 * MIB + PAGE),
			 1000 + i % 3);
		check_eq(ram[(i % 3 * 2 * MIB + PAGE) / 8], 1000 + i % 3);
	}
	vm_free(vm);
}

/* Every mixture of the attachment's and the page's rights. */
static void rights_of_attachment_and_page_are_anded(void)
{
	struct vm *vm = vm_new(1);
	uint32_t att, ext, both;
	struct scene sc;

	scene_make(&sc, vm, 2 * MIB, 1);
	sc.ram[0] = 0xc3;	/* ret */
	vcpu_vmfunc(sc.v, 1);
	for (att = 1; att < 8; att += 2)
		for (ext = 1; ext < 8; ext += 2) {
			both = att & ext;
			view_detach(sc.v, sc.view[0], sc.seg);
			refused(sc.v, WINDOW_FREE, PVVAS_PROT_ALL);
			view_attach(sc.v, sc.view[0], sc.seg, att);
			seg_rights(sc.v, sc.seg, 0, PAGE, ext);
			allowed(sc.v, WINDOW_FREE, both);
			refused(sc.v, WINDOW_FREE, ~both & PVVAS_PROT_ALL);
			allowed(sc.v, WINDOW_FREE, both);
		}
	vm_free(vm);
}

static char parameter(const char *file)
{
	char c = 0;
	int fd = open(file, O_RDONLY);

	check(fd >= 0);
	check_eq(read(fd, &c, 1), 1);
	close(fd);
	return c;
}

#define APIC	0xfee00000ULL

static uint64_t guest_apic(void)
{
	volatile uint32_t *apic = (uint32_t *)APIC;

	apic[0xf0 / 4] = 0x1ff;
	return apic[0xf0 / 4];
}

/* The RAM of views has it where it is without them, too. */
static void the_local_apic_works_in_views(void)
{
	char flex = parameter("/sys/module/kvm_intel/parameters/flexpriority");
	char apicv = parameter("/sys/module/kvm_intel/parameters/enable_apicv");
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	struct kvm_userspace_memory_region r = { 9, 0, APIC, PAGE,
		(uint64_t)vm_mem(PAGE) };
	struct vm *vm = vm_bare();
	struct scene sc;
	struct vcpu *v;

	check_eq(vm_enable_pvvas(vm, &c), 0);
	vm_ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	v = vm_add_vcpu(vm);
	host_note("flexpriority %c, enable_apicv %c", flex, apicv);
	if (flex == 'Y')
		check_eq(__vm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION,
				    (uint64_t)&r), -EEXIST);
	check_eq(vcpu_call(v, guest_apic, 0), 0x1ff);
	scene_make(&sc, vm, 2 * MIB, 1);
	vcpu_vmfunc(v, 1);
	check_eq(vcpu_call(v, guest_apic, 0), 0x1ff);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(every_index_leads_to_its_view_or_to_the_plain_one),
	CASE(bad_functions_and_indices_raise_gp_or_ud),
	CASE(the_identity_page_says_which_view_this_is),
	CASE(the_identity_page_is_read_only_and_the_rest_is_nothing),
	CASE(one_address_shows_different_data_in_each_view),
	CASE(rights_of_attachment_and_page_are_anded),
	CASE(the_local_apic_works_in_views),
};

HOSTCASE_MAIN(cases)
