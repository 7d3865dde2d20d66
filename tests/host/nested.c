// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM in which one vCPU has VMX, and hence no views, and another has views and
 * no VMX. When the first runs a guest of its own, KVM shadows that guest's EPT:
 * it write protects the tables, and what views show of them too.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "vm.h"

#define SIZE		(2 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define EPT_PAGE	7	/* of the RAM: the tables of the nested guest */
#define PF_VECTOR	14
#define EXIT_VMCALL	18
#define EXIT_EPT	48

/* Fields of a VMCS (Intel SDM, volume 3, appendix B). */
enum {
	GUEST_ES_SEL = 0x800, GUEST_TR_SEL = 0x80e, HOST_ES_SEL = 0xc00,
	EPT_POINTER = 0x201a, GUEST_PHYSICAL = 0x2400, LINK_POINTER = 0x2800,
	PIN_CONTROLS = 0x4000, CPU_CONTROLS = 0x4002, EXIT_CONTROLS = 0x400c,
	ENTRY_CONTROLS = 0x4012, CPU_CONTROLS_2 = 0x401e, VM_ERROR = 0x4400,
	EXIT_REASON = 0x4402, GUEST_ES_LIMIT = 0x4800,
	GUEST_GDTR_LIMIT = 0x4810, GUEST_IDTR_LIMIT = 0x4812,
	GUEST_ES_RIGHTS = 0x4814, GUEST_CR0 = 0x6800, GUEST_CR3 = 0x6802,
	GUEST_CR4 = 0x6804, GUEST_CS_BASE = 0x6808, GUEST_TR_BASE = 0x6814,
	GUEST_GDTR_BASE = 0x6816, GUEST_IDTR_BASE = 0x6818,
	GUEST_DR7 = 0x681a, GUEST_RSP = 0x681c, GUEST_RIP = 0x681e,
	GUEST_RFLAGS = 0x6820, HOST_CR0 = 0x6c00, HOST_CR3 = 0x6c02,
	HOST_CR4 = 0x6c04, HOST_GS_BASE = 0x6c08, HOST_TR_BASE = 0x6c0a,
	HOST_GDTR_BASE = 0x6c0c, HOST_IDTR_BASE = 0x6c0e, HOST_RSP = 0x6c14,
	HOST_RIP = 0x6c16,
};

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static void put(uint64_t field, uint64_t val)
{
	uint8_t failed;

	asm volatile("vmwrite %2, %1; setna %0" : "=qm"(failed)
		     : "r"(field), "r"(val) : "cc");
	gcheck_eq(failed ? field : 0, 0);
}

static uint64_t get(uint64_t field)
{
	uint64_t val;

	asm volatile("vmread %1, %0" : "=r"(val) : "r"(field) : "cc");
	return val;
}

/* The wanted bits and those that must be set (SDM, appendix A.2). */
static void put_controls(uint64_t field, uint32_t msr, uint32_t wanted)
{
	uint64_t caps = rdmsr(msr);

	gcheck_eq(wanted & ~(caps >> 32), 0);
	put(field, wanted | (uint32_t)caps);
}

static uint64_t cr(int n)
{
	uint64_t val;

	if (n == 0)
		asm volatile("mov %%cr0, %0" : "=r"(val));
	else if (n == 3)
		asm volatile("mov %%cr3, %0" : "=r"(val));
	else
		asm volatile("mov %%cr4, %0" : "=r"(val));
	return val;
}

/* The nested guest is as its host: the same tables, its first fetch faults. */
static void fill_vmcs(uint64_t eptp, uint64_t tss)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) gdt, idt;
	int i;

	asm volatile("sgdt %0" : "=m"(gdt));
	asm volatile("sidt %0" : "=m"(idt));
	put_controls(PIN_CONTROLS, 0x48d, 0);
	put_controls(CPU_CONTROLS, 0x48e, 1U << 31);
	put_controls(CPU_CONTROLS_2, 0x48b, 1 << 1);
	put_controls(EXIT_CONTROLS, 0x48f, 1 << 9);
	put_controls(ENTRY_CONTROLS, 0x490, 1 << 9);
	put(EPT_POINTER, eptp);
	put(LINK_POINTER, -1);

	/* ES, CS, SS, DS, FS, GS, LDTR, TR */
	for (i = 0; i < 8; i++) {
		put(GUEST_ES_LIMIT + 2 * i, 0xffffffff);
		put(GUEST_ES_RIGHTS + 2 * i, i == 1 ? 0xa09b : i == 7 ? 0x8b :
					     0x10000);
	}
	put(GUEST_ES_SEL + 2, 8);
	put(GUEST_TR_SEL, 0x28);
	put(GUEST_ES_LIMIT + 2 * 7, 0x67);
	put(GUEST_TR_BASE, tss);
	put(GUEST_GDTR_BASE, gdt.base);
	put(GUEST_GDTR_LIMIT, gdt.limit);
	put(GUEST_IDTR_BASE, idt.base);
	put(GUEST_IDTR_LIMIT, idt.limit);
	put(GUEST_CR0, cr(0));
	put(GUEST_CR3, cr(3));
	put(GUEST_CR4, cr(4));
	put(GUEST_DR7, 0x400);
	put(GUEST_RFLAGS, 2);
	put(GUEST_RIP, 0x1000);
	put(GUEST_RSP, 0x1000);

	put(HOST_ES_SEL + 2, 8);
	put(HOST_ES_SEL + 4, 0x10);
	put(HOST_ES_SEL + 12, 0x28);
	put(HOST_CR0, cr(0));
	put(HOST_CR3, cr(3));
	put(HOST_CR4, cr(4));
	put(HOST_GS_BASE, (uint64_t)gc_cpu());
	put(HOST_TR_BASE, tss);
	put(HOST_GDTR_BASE, gdt.base);
	put(HOST_IDTR_BASE, idt.base);
}

/* Run it until it exits.  Return: the reason. */
static uint64_t __attribute__((noinline)) launch(void)
{
	uint8_t entered;

	asm volatile("sub $128, %%rsp\n\t"
		     "push %%rbp\n\t"
		     "vmwrite %%rsp, %[rsp]\n\t"
		     "lea 1f(%%rip), %%rax\n\t"
		     "vmwrite %%rax, %[rip]\n\t"
		     "vmlaunch\n\t"
		     "xor %%eax, %%eax\n\t"
		     "jmp 2f\n"
		     "1:	mov $1, %%eax\n"
		     "2:	pop %%rbp\n\t"
		     "add $128, %%rsp"
		     : "=&a"(entered)
		     : [rsp] "r"((uint64_t)HOST_RSP), [rip] "r"((uint64_t)HOST_RIP)
		     : "cc", "memory", "rcx", "rdi", "r8", "r9", "r10", "r11",
		       "r12", "r13", "r14", "r15");
	if (!entered)
		gc_fail(__FILE__, __LINE__, "vmlaunch", get(VM_ERROR), 0);
	return get(EXIT_REASON);
}

static void enter_vmx(uint64_t pages)
{
	uint64_t vmxon = pages, vmcs = pages + PAGE;
	uint8_t failed;

	asm volatile("mov %0, %%cr4" : : "r"(cr(4) | 1 << 13));
	*(volatile uint32_t *)vmxon = rdmsr(0x480);
	*(volatile uint32_t *)vmcs = rdmsr(0x480);
	asm volatile("vmxon %1; setna %0" : "=qm"(failed) : "m"(vmxon)
		     : "cc", "memory");
	gcheck_eq(failed, 0);
	asm volatile("vmclear %1; setna %0" : "=qm"(failed) : "m"(vmcs)
		     : "cc", "memory");
	gcheck_eq(failed, 0);
	asm volatile("vmptrld %1; setna %0" : "=qm"(failed) : "m"(vmcs)
		     : "cc", "memory");
	gcheck_eq(failed, 0);
}

static void leave_vmcs(uint64_t pages)
{
	uint64_t vmcs = pages + PAGE;
	uint8_t failed;

	asm volatile("vmclear %1; setna %0" : "=qm"(failed) : "m"(vmcs)
		     : "cc", "memory");
	gcheck_eq(failed, 0);
}

static uint64_t guest_nest(uint64_t eptp, uint64_t tss, uint64_t pages)
{
	uint64_t reason;

	enter_vmx(pages);
	fill_vmcs(eptp, tss);
	reason = launch();
	leave_vmcs(pages);
	return reason;
}

/*
 * The nested guest says that it runs, and what is at LOOK_AT, and exits to its
 * hypervisor.
 */
#define LOOK_AT		0x80000000UL
#define SAY		0x51
extern char nested_code[];
asm(".pushsection .text\n"
    "nested_code:\n\t"
    "out %al, $0x51\n\t"
    "movabs 0x80000000, %al\n\t"
    "out %al, $0x51\n\t"
    "vmcall\n\t"
    "jmp nested_code\n"
    ".popsection");

/* Twice, with INVEPT in between. */
static uint64_t guest_nest_twice(uint64_t eptp, uint64_t tss, uint64_t pages)
{
	uint64_t desc[2] = { eptp, 0 };
	uint8_t failed;
	int i;

	enter_vmx(pages);
	for (i = 0; i < 2; i++) {
		fill_vmcs(eptp, tss);
		put(GUEST_RIP, (uint64_t)nested_code);
		gcheck_eq(launch(), EXIT_VMCALL);
		leave_vmcs(pages);
		asm volatile("vmptrld %1; setna %0" : "=qm"(failed)
			     : "m"((uint64_t){ pages + PAGE }) : "cc", "memory");
		gcheck_eq(failed, 0);
		asm volatile("invept %1, %2; setna %0" : "=qm"(failed)
			     : "m"(desc), "r"(1UL) : "cc", "memory");
		gcheck_eq(failed, 0);
	}
	return 0;
}

static void set_vmx_in_cpuid(struct vm *vm, bool on)
{
	uint32_t i;

	for (i = 0; i < vm->cpuid->nent; i++)
		if (vm->cpuid->entries[i].function == 1)
			vm->cpuid->entries[i].ecx =
				(vm->cpuid->entries[i].ecx & ~(1U << 5)) |
				(uint32_t)on << 5;
}

/* IA32_FEATURE_CONTROL: locked, VMX outside of SMX. */
static void allow_vmx(struct vcpu *v)
{
	struct {
		struct kvm_msrs msrs;
		struct kvm_msr_entry entry;
	} set = { .msrs.nmsrs = 1, .entry = { .index = 0x3a, .data = 5 } };

	check_eq(vm_ioctl(v->fd, KVM_SET_MSRS, &set), 1);
}

/* A vCPU whose CPUID and IA32_FEATURE_CONTROL give it VMX. */
static struct vcpu *add_vcpu_with_vmx(struct vm *vm)
{
	struct vcpu *v;

	set_vmx_in_cpuid(vm, true);
	v = vm_add_vcpu(vm);
	allow_vmx(v);
	return v;
}

static void a_shadowed_table_is_written_through_a_view(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *nested, *v = &vm->vcpus[0];
	uint64_t pages = (uint64_t)vm_shared(2 * PAGE);
	struct scene s;

	nested = add_vcpu_with_vmx(vm);
	scene_make(&s, vm, SIZE, 2);
	vcpu_vmfunc(v, 1);
	vcpu_poke(v, AT(EPT_PAGE), 0);
	vcpu_poke(v, AT(EPT_PAGE + 1), 1);
	/* four levels, write-back */
	check_eq(vcpu_call(nested, guest_nest,
			   (TEST_GPA + EPT_PAGE * PAGE) | 0x1e,
			   nested->args[8], pages), EXIT_EPT);

	/* KVM gives the shadow up and lets the write through, as without views */
	check_eq(vcpu_peek(v, AT(EPT_PAGE)), 0);
	vcpu_poke(v, AT(EPT_PAGE), 1);
	vcpu_vmfunc(v, 2);
	vcpu_poke(v, AT(EPT_PAGE) + 8, 1);
	vcpu_poke(v, AT(EPT_PAGE + 1), 2);
	check_eq(s.ram[EPT_PAGE * PAGE / 8], 1);
	check_eq(s.ram[EPT_PAGE * PAGE / 8 + 1], 1);
	vm_free(vm);
}

/* Pages of the RAM: the EPT of the nested guest, identity up to 2 GiB. */
enum { EPT_PML4 = EPT_PAGE, EPT_PDPT, EPT_PD, EPT_LAST_PD = EPT_PD + 2, EPT_PT,
       EPT_OTHER_PT };

static void fill_ept(uint64_t *ram)
{
	uint64_t i;

#define TABLE(page)	((TEST_GPA + (page) * PAGE) | 7)
#define LEAF(gpa)	((gpa) | 0x37)		/* write-back */
#define LARGE_LEAF(gpa)	((gpa) | 0xb7)
#define ENTRY(page, i)	ram[(page) * PAGE / 8 + (i)]
	ENTRY(EPT_PML4, 0) = TABLE(EPT_PDPT);
	for (i = 0; i < 3; i++)
		ENTRY(EPT_PDPT, i) = TABLE(EPT_PD + i);
	for (i = 0; i < 1024; i++)
		ENTRY(EPT_PD, i) = LARGE_LEAF(i * 2 * MIB);
	ENTRY(EPT_LAST_PD, 0) = TABLE(EPT_PT);
	ENTRY(EPT_PT, 0) = LEAF(TEST_GPA);
	ENTRY(EPT_OTHER_PT, 0) = LEAF(TEST_GPA + PAGE);
}

/* The next byte that the nested guest says. */
static uint8_t said(struct vcpu *nested)
{
	check_eq(vcpu_run_once(nested), 0);
	if (nested->run->exit_reason != KVM_EXIT_IO ||
	    nested->run->io.port != SAY)
		vcpu_unexpected(nested);
	return *((uint8_t *)nested->run + nested->run->io.data_offset);
}

static struct vcpu *start_nested(struct vm *vm, struct scene *s)
{
	uint64_t pages = (uint64_t)vm_shared(2 * PAGE);
	struct vcpu *nested = add_vcpu_with_vmx(vm);
	const uint64_t args[4] = { (TEST_GPA + EPT_PML4 * PAGE) | 0x1e,
				   nested->args[8], pages };

	scene_make(s, vm, SIZE, 2);
	fill_ept(s->ram);
	s->ram[0] = 1;
	s->ram[PAGE / 8] = 2;
	vcpu_vmfunc(s->v, 1);
	vcpu_prepare(nested, (guest_fn)(void *)guest_nest_twice, args);
	return nested;
}

/*
 * Only a view has the table mapped when KVM begins to shadow it: what the view
 * has of it must be write-protected and flushed, or the change is not seen.
 */
static void a_table_that_becomes_shadowed_is_flushed(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *nested, *v = &vm->vcpus[0];
	struct scene s;

	nested = start_nested(vm, &s);
	said(nested);
	/* the nested guest runs, and has not needed this table yet */
	vcpu_poke(v, AT(EPT_LAST_PD) + 511 * 8, 0);
	check_eq(said(nested), 1);
	vcpu_poke(v, AT(EPT_LAST_PD), TABLE(EPT_OTHER_PT));
	said(nested);
	check_eq(said(nested), 2);
	vm_free(vm);
}

/* KVM shadows the last table too, and looks again after INVEPT. */
static void a_last_table_written_through_a_view_counts(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *nested, *v = &vm->vcpus[0];
	struct scene s;

	nested = start_nested(vm, &s);
	said(nested);
	vcpu_poke(v, AT(EPT_PT) + 511 * 8, 0);
	check_eq(said(nested), 1);
	vcpu_poke(v, AT(EPT_PT), LEAF(TEST_GPA + PAGE));
	said(nested);
	check_eq(said(nested), 2);
	vm_free(vm);
}

static void a_vcpu_with_vmx_runs_beside_views(void)
{
	struct vm *vm = vm_new(1);
	struct vcpu *nested, *v = &vm->vcpus[0];
	uint64_t pages = (uint64_t)vm_shared(3 * PAGE);
	struct scene s;

	nested = add_vcpu_with_vmx(vm);
	scene_make(&s, vm, SIZE, 2);
	vcpu_vmfunc(v, 1);
	vcpu_poke(v, AT(1), 42);
	check_eq(vcpu_call(nested, guest_nest, (pages + 2 * PAGE) | 0x1e,
			   nested->args[8], pages), EXIT_EPT);
	/* the window is nothing to it, and the view is as it was */
	check_eq(vcpu_peek(nested, TEST_GPA + PAGE), 42);
	check_eq(vcpu_view(v), s.view[0]);
	check_eq(vcpu_peek(v, AT(1)), 42);
	vm_free(vm);
}

/* To a vCPU that has not run yet; @skip: of an instruction that has exited. */
static void move_vcpu(struct vcpu *to, struct vcpu *from, uint64_t skip)
{
	static union {
		struct kvm_nested_state state;
		char room[sizeof(struct kvm_nested_state) +
			  sizeof(struct kvm_vmx_nested_state_data)];
	} nest = { .state.size = sizeof(nest) };
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	vm_ioctl(from->fd, KVM_GET_SREGS, &sregs);
	vm_ioctl(from->fd, KVM_GET_REGS, &regs);
	vm_ioctl(from->fd, KVM_GET_NESTED_STATE, &nest.state);
	check(nest.state.flags & KVM_STATE_NESTED_GUEST_MODE);
	vm_ioctl(to->fd, KVM_SET_SREGS, &sregs);
	vm_ioctl(to->fd, KVM_SET_NESTED_STATE, &nest.state);
	regs.rip += skip;
	vm_ioctl(to->fd, KVM_SET_REGS, &regs);
}

/* Debian's headers of the C library do not have it yet. */
struct pre_fault {
	uint64_t gpa;
	uint64_t size;
	uint64_t flags;
	uint64_t padding[5];
};

#ifndef KVM_PRE_FAULT_MEMORY
#define KVM_PRE_FAULT_MEMORY	_IOWR(KVMIO, 0xd5, struct pre_fault)
#endif

/*
 * A vCPU without VMX is restored in a view, and that is loaded; then the VMM
 * gives it VMX, and a nested guest that runs.  What that needs is no view's.
 */
static void a_nested_guest_runs_in_no_view(void)
{
	struct kvm_pvvas_record records[16] = { { 0 } };
	struct kvm_pvvas_state state = { .size = sizeof(state),
		.op = KVM_PVVAS_GET, .records = (uint64_t)records, .nr = 15 };
	struct pre_fault load = { .gpa = TEST_GPA, .size = PAGE };
	struct vm *vm = vm_new(1);
	struct vcpu *nested, *both;
	struct scene s;

	nested = start_nested(vm, &s);
	said(nested);
	set_vmx_in_cpuid(vm, false);
	both = vm_add_vcpu(vm);
	vm_ioctl(vm->fd, KVM_PVVAS_STATE, &state);
	records[state.nr++] = (struct kvm_pvvas_record){
		KVM_PVVAS_VCPU, both->id, { s.ctx, s.view[1] } };
	state.op = KVM_PVVAS_SET;
	vm_ioctl(vm->fd, KVM_PVVAS_STATE, &state);
	vm_ioctl(both->fd, KVM_PRE_FAULT_MEMORY, &load);
	set_vmx_in_cpuid(vm, true);
	vm_ioctl(both->fd, KVM_SET_CPUID2, vm->cpuid);
	allow_vmx(both);
	move_vcpu(both, nested, 2);
	check_eq(said(both), 1);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(a_shadowed_table_is_written_through_a_view),
	CASE(a_table_that_becomes_shadowed_is_flushed),
	CASE(a_last_table_written_through_a_view_counts),
	CASE(a_vcpu_with_vmx_runs_beside_views),
	CASE_SECONDS(a_nested_guest_runs_in_no_view, 20),
};

HOSTCASE_MAIN(cases)
