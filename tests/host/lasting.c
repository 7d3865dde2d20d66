// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a vCPU's view outlives, and what ends it.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vm.h"

#define UD_VECTOR	6
#define SIZE		(2 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define SMRAM		0x30000ULL
#define SMRAM_SLOT	(FIRST_TEST_SLOT + 4)

static struct vm *vm;
static struct vcpu *v;
static struct scene s;

static void begin(int nr_vcpus)
{
	vm = vm_new(nr_vcpus);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 3);
	vcpu_vmfunc(v, 2);
	vcpu_poke(v, AT(1), 4711);
}

/* No context: no list, and nothing of the window. */
static void check_home(struct vcpu *c)
{
	check_eq(vcpu_try_vmfunc(c, 0, 0), UD_VECTOR);
	check_eq(vcpu_peek(c, TEST_GPA + PAGE), 4711);
}

static void check_still(struct vcpu *c)
{
	check_eq(vcpu_view(c), s.view[1]);
	check_eq(vcpu_peek(c, AT(1)), 4711);
	check_eq(vcpu_peek(c, TEST_GPA + PAGE), 4711);
}

static void the_view_outlives_exits_and_the_vmms_calls(void)
{
	struct kvm_msrs *m;
	struct kvm_sregs sr;
	struct kvm_regs r;
	char room[64] = { 0 };

	begin(1);
	check_still(v);
	vm_ioctl(v->fd, KVM_GET_REGS, &r);
	vm_ioctl(v->fd, KVM_SET_REGS, &r);
	check_still(v);
	vm_ioctl(v->fd, KVM_GET_SREGS, &sr);
	vm_ioctl(v->fd, KVM_SET_SREGS, &sr);
	check_still(v);
	/* roles of the MMU change to and fro */
	sr.cr0 &= ~(1ULL << 16);
	vm_ioctl(v->fd, KVM_SET_SREGS, &sr);
	check_still(v);
	sr.cr4 ^= 1 << 7;
	sr.efer &= ~(1ULL << 11);
	vm_ioctl(v->fd, KVM_SET_SREGS, &sr);
	check_still(v);
	vcpu_long_mode(v);
	check_still(v);
	vm_ioctl(v->fd, KVM_SET_CPUID2, vm->cpuid);
	check_still(v);
	m = (void *)room;
	m->nmsrs = 1;
	m->entries[0].index = 0xc0000080;
	vm_ioctl(v->fd, KVM_GET_MSRS, m);
	m->entries[0].data ^= 1;
	vm_ioctl(v->fd, KVM_SET_MSRS, m);
	check_still(v);
	vm_free(vm);
}

/* Guest code itself changes its paging mode in the view. */
static uint64_t guest_flip_modes(void)
{
	uint64_t view = gc_identity()->view, cr, i;

	for (i = 0; i < 20; i++) {
		asm volatile("mov %%cr0, %0" : "=r"(cr));
		asm volatile("mov %0, %%cr0" : : "r"(cr ^ 1 << 16));
		gcheck_eq(gc_identity()->view, view);
		asm volatile("mov %%cr4, %0" : "=r"(cr));
		asm volatile("mov %0, %%cr4" : : "r"(cr ^ 1 << 7));
		gcheck_eq(gc_identity()->view, view);
		asm volatile("mov %%cr3, %0" : "=r"(cr));
		asm volatile("mov %0, %%cr3" : : "r"(cr));
		gcheck_eq(gc_identity()->view, view);
		gcheck_eq(*(volatile uint64_t *)AT(1), 4711);
	}
	return 0;
}

static void the_view_outlives_changes_of_the_paging_mode(void)
{
	begin(1);
	vcpu_call(v, guest_flip_modes, 0);
	check_still(v);
	vm_free(vm);
}

static void the_view_outlives_new_roots(void)
{
	int i;

	begin(1);
	for (i = 0; i < 10; i++) {
		vm_ram(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 16 * MIB, SIZE, 0);
		check_still(v);
		vm_slot(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 16 * MIB, 0, 0, 0);
		check_still(v);
	}
	vm_free(vm);
}

/* SMM code: what it sees of the window, then RSM. */
asm(".code16\n"
    "guest_smm: incl %cs:0x100; rsm\n"
    "guest_smm_end:\n"
    "guest_smm_vmfunc: xor %eax, %eax; xor %ecx, %ecx\n"
    "	.byte 0x0f, 0x01, 0xd4; rsm\n"
    "guest_smm_vmfunc_end:\n"
    ".code64\n");
extern char guest_smm[], guest_smm_end[];
extern char guest_smm_vmfunc[], guest_smm_vmfunc_end[];

static uint8_t *begin_smm(const char *code, const char *end)
{
	uint8_t *smram = vm_mem(64 * 1024);

	begin(1);
	vm_slot(vm, SMRAM_SLOT, SMRAM, smram, 64 * 1024, 0);
	vm_slot(vm, 1 << 16 | SMRAM_SLOT, SMRAM, smram, 64 * 1024, 0);
	memcpy(smram + 0x8000, code, end - code);
	return smram;
}

static void the_view_outlives_smm(void)
{
	uint8_t *smram = begin_smm(guest_smm, guest_smm_end);
	int i;

	for (i = 1; i <= 10; i++) {
		vm_ioctl(v->fd, KVM_SMI, 0);
		check_still(v);
		check_eq(*(uint32_t *)(smram + 0x100), i);
	}
	/* in SMM when the root goes */
	vm_ioctl(v->fd, KVM_SMI, 0);
	vm_ram(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 16 * MIB, SIZE, 0);
	vm_slot(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 16 * MIB, 0, 0, 0);
	check_still(v);
	/* and when the view goes */
	vm_ioctl(v->fd, KVM_SMI, 0);
	view_destroy(v, s.view[1]);
	vm_ioctl(v->fd, KVM_SMI, 0);
	check_eq(vcpu_view(v), 0);
	vm_free(vm);
}

/* #UD in SMM with no IDT to speak of: a triple fault, not another view. */
static void smm_has_no_vmfunc(void)
{
	begin_smm(guest_smm_vmfunc, guest_smm_vmfunc_end);
	vm_ioctl(v->fd, KVM_SMI, 0);
	check_eq(vcpu_run_once(v), 0);
	check_eq(v->run->exit_reason, KVM_EXIT_SHUTDOWN);
	vm_free(vm);
}

/* INIT and SIPI as Linux sends them, by KVM's local APIC. */
static uint64_t guest_icr(uint64_t val)
{
	volatile uint32_t *apic = (uint32_t *)0xfee00000;

	apic[0xf0 / 4] = 0x1ff;
	apic[0x310 / 4] = 1 << 24;
	apic[0x300 / 4] = val;
	return 0;
}

static void init_ends_it(void)
{
	struct kvm_mp_state mp = { KVM_MP_STATE_RUNNABLE };
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	struct kvm_regs r;
	struct vcpu *ap;

	vm = vm_bare();
	check_eq(vm_enable_pvvas(vm, &c), 0);
	vm_ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	v = vm_add_vcpu(vm);
	ap = vm_add_vcpu(vm);
	vm_ioctl(ap->fd, KVM_SET_MP_STATE, &mp);
	scene_make(&s, vm, SIZE, 3);
	vcpu_hc_ok(ap, PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
	vcpu_vmfunc(ap, 2);
	vcpu_poke(ap, AT(1), 4711);
	vcpu_vmfunc(v, 2);

	/* At 0x80000: out %al, $0x51; hlt */
	memcpy(vm_ram(vm, FIRST_TEST_SLOT + 1, 0x80000, PAGE, 0),
	       "\xe6\x51\xf4", 3);
	vcpu_call(v, guest_icr, 0x4500);	/* INIT */
	vcpu_call(v, guest_icr, 0x4680);	/* SIPI */
	check_eq(vcpu_run_once(ap), 0);
	check_eq(ap->run->exit_reason, KVM_EXIT_IO);
	check_eq(ap->run->io.port, 0x51);
	vm_ioctl(ap->fd, KVM_GET_REGS, &r);
	check(r.rip < PAGE);
	vcpu_long_mode(ap);
	/* no view, no list; the other vCPU's stays */
	check_home(ap);
	check_still(v);
	vcpu_hc_ok(ap, PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
	check_eq(vcpu_view(ap), 0);
	vcpu_vmfunc(ap, 2);
	check_still(ap);
	vm_free(vm);
}

static void loading_a_context_leads_to_the_plain_view(void)
{
	uint64_t other, view;

	begin(1);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
	check_eq(vcpu_view(v), 0);
	vcpu_vmfunc(v, 2);
	check_still(v);
	other = ctx_new(v);
	view = view_new(v, other, 2, 0);
	check_still(v);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, other, 0, 0);
	check_eq(vcpu_view(v), 0);
	vcpu_vmfunc(v, 1);
	check_eq(vcpu_view(v), 0);
	vcpu_vmfunc(v, 2);
	check_eq(vcpu_view(v), view);
	check_eq(vcpu_try_peek(v, AT(1)), 14);
	/* a context that fails to load changes nothing */
	check_eq(vcpu_hc(v, PVVAS_HC_CTX_LOAD, 12345, 0, 0), -ENOENT);
	check_eq(vcpu_view(v), view);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, 0, 0, 0);
	check_home(v);
	vm_free(vm);
}

static void a_view_that_goes_becomes_the_plain_one(void)
{
	struct vcpu *w;

	begin(2);
	w = &vm->vcpus[1];
	vcpu_hc_ok(w, PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
	vcpu_vmfunc(w, 2);
	check_still(w);
	/* taken out of its slot it stays in force */
	vcpu_hc_ok(w, PVVAS_HC_VIEW_PLACE, s.ctx, 2, 0);
	check_still(v);
	check_still(w);
	view_destroy(w, s.view[1]);
	check_eq(vcpu_view(v), 0);
	check_eq(vcpu_view(w), 0);
	vcpu_vmfunc(v, 1);
	vcpu_vmfunc(w, 3);
	check_eq(vcpu_view(v), s.view[0]);
	check_eq(vcpu_view(w), s.view[2]);
	/* in its slot when it goes: the slot leads to the plain view, too */
	view_destroy(w, s.view[2]);
	check_eq(vcpu_view(w), 0);
	vcpu_vmfunc(w, 3);
	check_eq(vcpu_view(w), 0);
	vcpu_hc_ok(w, PVVAS_HC_CTX_DESTROY, s.ctx, 0, 0);
	check_home(v);
	check_home(w);
	vm_free(vm);
}

/*
 * The page of its root is that of a new view's before the vCPU has noticed.
 * Which of the new ones gets it is the host's affair.
 */
static void a_new_view_is_not_taken_for_one_that_went(void)
{
	struct vcpu *w;
	int i, j;

	begin(2);
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 4000);
	w = &vm->vcpus[1];
	for (i = 0; i < 8; i++) {
		vcpu_vmfunc(v, 0);
		vcpu_hc_ok(w, PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
		vcpu_vmfunc(w, 2);
		check_eq(vcpu_view(w), s.view[1]);
		view_destroy(v, s.view[1]);
		/* more than the pages that KVM has in hand for tables */
		for (j = 0; j < 80; j++)
			s.view[1] = view_new(v, s.ctx, 0, 0);
		check_eq(vcpu_view(w), 0);
		vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, s.ctx, 2, s.view[1]);
	}
	vm_free(vm);
}

/* Loaded in one view, it goes to another by itself, and that one goes. */
static void a_vcpu_does_not_go_back_to_an_older_view(void)
{
	begin(2);
	vcpu_vmfunc(v, 1);
	/* KVM notes the view when it loads a root */
	vm_ram(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 16 * MIB, SIZE, 0);
	vm_slot(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 16 * MIB, 0, 0, 0);
	check_eq(vcpu_view(v), s.view[0]);
	vcpu_vmfunc(v, 2);
	view_destroy(&vm->vcpus[1], s.view[1]);
	check_eq(vcpu_view(v), 0);
	vm_free(vm);
}

/* Code for SMM that waits for the host. */
asm(".code16\n"
    "guest_smm_out: out %al, $0x52; rsm\n"
    "guest_smm_out_end:\n"
    ".code64\n");
extern char guest_smm_out[], guest_smm_out_end[];

static uint64_t guest_which_view(void)
{
	return gc_identity()->view;
}

/*
 * In SMM EPT_POINTER is a root of the VM's own. It goes, and its page is the
 * root of a new view when the vCPU comes out of SMM. Which of the new ones gets
 * it is the host's affair.
 */
static void after_smm_a_root_is_not_taken_for_a_view(void)
{
	const uint64_t none[4] = { 0 };
	struct kvm_sregs sr;
	uint64_t view;
	int i, j;

	begin_smm(guest_smm_out, guest_smm_out_end);
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 4000);
	vm_add_vcpu(vm);
	for (i = 0; i < 4; i++) {
		vcpu_prepare(v, (guest_fn)(void *)guest_which_view, none);
		vm_ioctl(v->fd, KVM_SMI, 0);
		check_eq(vcpu_run_once(v), 0);
		check_eq(v->run->exit_reason, KVM_EXIT_IO);
		check_eq(v->run->io.port, 0x52);
		/* another paging mode, so that the root is let go */
		vm_ioctl(v->fd, KVM_GET_SREGS, &sr);
		sr.cr4 ^= 1 << 7;
		vm_ioctl(v->fd, KVM_SET_SREGS, &sr);
		vm_ram(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 16 * MIB, SIZE, 0);
		vm_slot(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 16 * MIB, 0, 0, 0);
		usleep(50000);
		for (j = 0; j < 150; j++)
			view_new(&vm->vcpus[1], s.ctx, 0, 0);
		check_eq(vcpu_run_once(v), 0);
		check(vcpu_done(v, &view));
		check_eq(view, s.view[1]);
	}
	vm_free(vm);
}

/* A reset by one vCPU while the others are in views. */
static void reset_takes_every_vcpu_home(void)
{
	struct vcpu *w;

	begin(2);
	w = &vm->vcpus[1];
	vcpu_hc_ok(w, PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
	vcpu_vmfunc(w, 1);
	vcpu_hc_ok(v, PVVAS_HC_RESET, 0, 0, 0);
	check_home(w);
	check_home(v);
	tables_reset();
	scene_over(&s, vm, TEST_GPA, SIZE, 2);
	check_home(w);
	vcpu_vmfunc(v, 2);
	check_still(v);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(the_view_outlives_exits_and_the_vmms_calls),
	CASE(the_view_outlives_changes_of_the_paging_mode),
	CASE(the_view_outlives_new_roots),
	CASE(the_view_outlives_smm),
	CASE(smm_has_no_vmfunc),
	CASE(init_ends_it),
	CASE(loading_a_context_leads_to_the_plain_view),
	CASE(a_view_that_goes_becomes_the_plain_one),
	CASE(a_new_view_is_not_taken_for_one_that_went),
	CASE(a_vcpu_does_not_go_back_to_an_older_view),
	CASE(after_smm_a_root_is_not_taken_for_a_view),
	CASE(reset_takes_every_vcpu_home),
};

HOSTCASE_MAIN(cases)
