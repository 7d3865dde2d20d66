// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

/* Beyond where the kernel puts a heap, below 4 GiB. */
#define ARENA		0x60000000UL
#define ARENA_SIZE	(32 * MIB)
#define IDENTITY_GIBS	4
#define WINDOW_GIBS	8
#define STACK_SIZE	(16 * 1024)

#define SEL_KCODE	0x08
#define SEL_KDATA	0x10
#define SEL_UDATA	0x1b
#define SEL_UCODE	0x23
#define SEL_TSS		0x28

#define PTE		0x7UL		/* present, writable, user */
#define PTE_LARGE	0x87UL

/* The linker's, of the whole program. */
extern char __executable_start[], _end[];

static char *arena_next;
static uint64_t *pml4, *gdt;
static struct {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_mid;
	uint32_t offset_high, zero;
} __attribute__((packed)) *idt;

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, iomap;
} __attribute__((packed));

long __vm_ioctl(int fd, unsigned long req, unsigned long arg)
{
	int r = ioctl(fd, req, arg);

	return r < 0 ? -errno : r;
}

static void gate(int vector, const void *entry, int ist, int dpl)
{
	uint64_t at = (uint64_t)entry;

	idt[vector].offset_low = at;
	idt[vector].offset_mid = at >> 16;
	idt[vector].offset_high = at >> 32;
	idt[vector].selector = SEL_KCODE;
	idt[vector].ist = ist;
	idt[vector].type = 0x8e | dpl << 5;
}

/* Page tables, GDT and IDT, which all vCPUs of all VMs share. */
static void arena_fill(void)
{
	uint64_t *pdpt, *pd, i;

	pml4 = vm_shared(PAGE);
	pdpt = vm_shared(PAGE);
	pd = vm_shared(IDENTITY_GIBS * PAGE);
	pml4[0] = (uint64_t)pdpt | PTE;
	for (i = 0; i < IDENTITY_GIBS; i++)
		pdpt[i] = (uint64_t)&pd[i * 512] | PTE;
	for (i = 0; i < IDENTITY_GIBS * 512; i++)
		pd[i] = i * 2 * MIB | PTE_LARGE;

	gdt = vm_shared(PAGE);
	gdt[SEL_KCODE / 8] = 0x00af9b000000ffff;
	gdt[SEL_KDATA / 8] = 0x00cf93000000ffff;
	gdt[SEL_UDATA / 8] = 0x00cff3000000ffff;
	gdt[SEL_UCODE / 8] = 0x00affb000000ffff;
	idt = vm_shared(PAGE);
	for (i = 0; i < GC_NR_VECTORS; i++)
		gate(i, gc_vectors + 16 * i, 1, 0);
	gate(GC_USER_END, gc_vector_user_end, 0, 3);
}

/* Show the window at WINDOW_VA; it may differ between VMs of one process. */
static void map_window(uint64_t gpa)
{
	static uint64_t *pdpt, *pd;
	uint64_t i;

	if (!pd) {
		pdpt = vm_shared(2 * PAGE);
		pd = vm_shared(WINDOW_GIBS * PAGE);
		for (i = 0; i < 2; i++)
			pml4[(WINDOW_VA >> 39) + i] =
				(uint64_t)&pdpt[i * 512] | PTE;
	}
	/* 1 TiB: small pieces where most tests look, 1 GiB each beyond */
	for (i = 0; i < 2 * 512; i++)
		pdpt[i] = i < WINDOW_GIBS ? (uint64_t)&pd[i * 512] | PTE :
					    (gpa + i * GIB) | PTE_LARGE;
	for (i = 0; i < WINDOW_GIBS * 512; i++)
		pd[i] = (gpa + i * 2 * MIB) | PTE_LARGE;
}

void *vm_shared(size_t size)
{
	char *p;

	if (!arena_next) {
		p = mmap((void *)ARENA, ARENA_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
			 0);
		check(p == (void *)ARENA);
		madvise(p, ARENA_SIZE, MADV_NOHUGEPAGE);
		arena_next = p;
		arena_fill();
	}
	p = arena_next;
	arena_next += (size + PAGE - 1) & ~(PAGE - 1);
	check(arena_next <= (char *)ARENA + ARENA_SIZE);
	return p;
}

void *vm_mem(size_t size)
{
	char *p = mmap(NULL, size + 2 * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(p != MAP_FAILED);
	p = (char *)(((uint64_t)p + 2 * MIB - 1) & ~(2 * MIB - 1));
	madvise(p, size, MADV_NOHUGEPAGE);
	return p;
}

void *vm_ram(struct vm *vm, uint32_t slot, uint64_t gpa, size_t size,
	     uint32_t flags)
{
	void *p = vm_mem(size);

	vm_slot(vm, slot, gpa, p, size, flags);
	return p;
}

/* What KVM supports, less nested VMX. */
static struct kvm_cpuid2 *supported_cpuid(int kvm)
{
	struct kvm_cpuid2 *c;
	uint32_t i;

	c = calloc(1, sizeof(*c) + 128 * sizeof(c->entries[0]));
	check(c);
	c->nent = 128;
	vm_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c);
	for (i = 0; i < c->nent; i++)
		if (c->entries[i].function == 1)
			c->entries[i].ecx &= ~(1U << 5);
	return c;
}

/* Program and arena. */
static void add_slots(struct vm *vm, uint32_t space)
{
	uint64_t start = (uint64_t)__executable_start & ~(PAGE - 1);
	uint64_t end = ((uint64_t)_end + PAGE - 1) & ~(PAGE - 1);

	vm_slot(vm, space, start, start, end - start, 0);
	vm_slot(vm, space | 1, ARENA, ARENA, ARENA_SIZE, 0);
}

void vm_smm(struct vm *vm)
{
	add_slots(vm, VM_SMM_SLOTS);
}

struct vm *vm_bare(void)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	check(vm);
	vm_shared(0);
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	check(vm->kvm >= 0);
	vm->fd = vm_ioctl(vm->kvm, KVM_CREATE_VM, 0);
	vm->cpuid = supported_cpuid(vm->kvm);
	add_slots(vm, 0);
	return vm;
}

int vm_enable_pvvas(struct vm *vm, struct kvm_pvvas_config *config)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_PVVAS,
				      .args[0] = (uint64_t)config };
	int r = __vm_ioctl(vm->fd, KVM_ENABLE_CAP, (unsigned long)&cap);

	if (!r) {
		vm->config = *config;
		map_window(config->window_gpa);
	}
	return r;
}

static struct kvm_segment segment(uint16_t selector, int type, int dpl)
{
	return (struct kvm_segment){
		.limit = 0xffffffff, .selector = selector, .type = type,
		.present = 1, .dpl = dpl, .s = 1, .g = 1,
		.l = type == 0xb, .db = type != 0xb,
	};
}

void vcpu_long_mode(struct vcpu *v)
{
	struct kvm_segment udata = segment(SEL_UDATA, 3, 3);
	struct kvm_sregs s;
	struct tss *tss;

	if (!v->g) {
		tss = vm_shared(PAGE);
		tss->iomap = sizeof(*tss);
		tss->rsp[0] = (uint64_t)vm_shared(STACK_SIZE) + STACK_SIZE;
		tss->ist[0] = (uint64_t)vm_shared(STACK_SIZE) + STACK_SIZE;
		v->stack = (uint64_t)vm_shared(STACK_SIZE) + STACK_SIZE;
		v->args = vm_shared(PAGE);
		v->g = vm_shared(PAGE);
		v->g->self = v->g;
		v->g->ustack = (uint64_t)vm_shared(STACK_SIZE) + STACK_SIZE;
		/* the TSS stays findable: it lies right before its stacks */
		v->args[8] = (uint64_t)tss;
	}
	vm_ioctl(v->fd, KVM_GET_SREGS, &s);
	s.cs = segment(SEL_KCODE, 0xb, 0);
	s.ss = segment(SEL_KDATA, 3, 0);
	s.ds = s.es = s.fs = s.gs = udata;
	s.gs.base = (uint64_t)v->g;
	s.tr = (struct kvm_segment){ .base = v->args[8], .type = 11,
		.limit = sizeof(*tss) - 1, .selector = SEL_TSS, .present = 1 };
	s.ldt = (struct kvm_segment){ .unusable = 1 };
	s.gdt.base = (uint64_t)gdt;
	s.gdt.limit = PAGE - 1;
	s.idt.base = (uint64_t)idt;
	s.idt.limit = PAGE - 1;
	s.cr0 = 0x80050033;
	s.cr3 = (uint64_t)pml4;
	s.cr4 = 0x620 | 1 << 18;	/* PAE, SSE, XSAVE */
	s.efer = 0xd00;			/* LME, LMA, NX */
	vm_ioctl(v->fd, KVM_SET_SREGS, &s);
}

struct vcpu *vm_add_vcpu(struct vm *vm)
{
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = 3 };
	struct vcpu *v = &vm->vcpus[vm->nr_vcpus];
	long size;
	uint32_t i;

	check(vm->nr_vcpus < MAX_VCPUS);
	v->vm = vm;
	v->id = vm->nr_vcpus++;
	v->fd = vm_ioctl(vm->fd, KVM_CREATE_VCPU, v->id);
	size = vm_ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	v->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	check(v->run != MAP_FAILED);
	vm_ioctl(v->fd, KVM_SET_CPUID2, vm->cpuid);
	vcpu_long_mode(v);
	/* The C library's string functions may use what the host has. */
	for (i = 0; i < vm->cpuid->nent; i++)
		if (vm->cpuid->entries[i].function == 0xd &&
		    vm->cpuid->entries[i].index == 0)
			xcrs.xcrs[0].value = vm->cpuid->entries[i].eax & 0xe7;
	vm_ioctl(v->fd, KVM_SET_XCRS, &xcrs);
	return v;
}

struct vm *vm_new_config(int nr_vcpus, const struct kvm_pvvas_config *config)
{
	struct kvm_pvvas_config c = { 0 };
	struct vm *vm = vm_bare();
	int i;

	if (config)
		c = *config;
	c.size = sizeof(c);
	check_eq(vm_enable_pvvas(vm, &c), 0);
	for (i = 0; i < nr_vcpus; i++)
		vm_add_vcpu(vm);
	return vm;
}

struct vm *vm_new(int nr_vcpus)
{
	return vm_new_config(nr_vcpus, NULL);
}

void vm_free(struct vm *vm)
{
	long size = vm_ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		munmap(vm->vcpus[i].run, size);
		close(vm->vcpus[i].fd);
	}
	close(vm->fd);
	close(vm->kvm);
	free(vm->cpuid);
	free(vm);
}

void vcpu_prepare(struct vcpu *v, guest_fn fn, const uint64_t *args)
{
	struct kvm_regs r = {
		.rip = (uint64_t)gc_entry,
		.rflags = 0x3202,	/* IOPL 3, and IF: nothing interrupts but the host */
		.rsp = v->stack - 8,
		.rdi = (uint64_t)fn,
		.rsi = (uint64_t)v->args,
		.rdx = v->user,
	};

	memcpy(v->args, args, 4 * sizeof(*args));
	v->g->ucall.kind = UCALL_NONE;
	v->g->recover_rip = 0;
	vm_ioctl(v->fd, KVM_SET_REGS, &r);
}

int vcpu_run_once(struct vcpu *v)
{
	return __vm_ioctl(v->fd, KVM_RUN, 0);
}

bool vcpu_done(struct vcpu *v, uint64_t *ret)
{
	if (v->run->exit_reason != KVM_EXIT_IO || v->run->io.port != UCALL_PORT)
		return false;
	if (v->g->ucall.kind != UCALL_DONE)
		vcpu_unexpected(v);
	if (ret)
		*ret = v->g->ucall.a[0];
	return true;
}

void vcpu_unexpected(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	struct gcpu *g = v->g;
	struct kvm_regs r = { 0 };

	if (run->exit_reason == KVM_EXIT_IO && run->io.port == UCALL_PORT) {
		if (g->ucall.kind == UCALL_FAIL)
			host_fail(g->ucall.file, g->ucall.line,
				  "guest: %s (%#lx, %#lx)", g->ucall.text,
				  g->ucall.a[0], g->ucall.a[1]);
		host_fail(__FILE__, __LINE__,
			  "guest: vector %ld error %#lx cr2 %#lx rip %#lx",
			  g->vector, g->error, g->cr2, g->rip);
	}
	__vm_ioctl(v->fd, KVM_GET_REGS, (unsigned long)&r);
	if (run->exit_reason == KVM_EXIT_MMIO)
		host_note("mmio at %#llx", run->mmio.phys_addr);
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		host_note("internal error %u", run->internal.suberror);
	host_fail(__FILE__, __LINE__, "vCPU %d: exit reason %u at %#llx", v->id,
		  run->exit_reason, r.rip);
}

uint64_t vcpu_call_args(struct vcpu *v, guest_fn fn, const uint64_t *args)
{
	uint64_t ret;
	int r;

	vcpu_prepare(v, fn, args);
	do {
		r = vcpu_run_once(v);
	} while (r == -EINTR);
	if (r)
		host_fail(__FILE__, __LINE__, "KVM_RUN: %d", r);
	if (!vcpu_done(v, &ret))
		vcpu_unexpected(v);
	return ret;
}

uint64_t vcpu_user_args(struct vcpu *v, guest_fn fn, const uint64_t *args)
{
	bool was = v->user;
	uint64_t ret;

	v->user = true;
	ret = vcpu_call_args(v, fn, args);
	v->user = was;
	return ret;
}

uint64_t kvm_stat_read(int stats, const char *name)
{
	struct kvm_stats_header h;
	struct kvm_stats_desc *d;
	uint64_t val = 0;
	size_t size;
	uint32_t i;

	check_eq(pread(stats, &h, sizeof(h), 0), sizeof(h));
	size = sizeof(*d) + h.name_size;
	d = malloc(size);
	check(d);
	for (i = 0; i < h.num_desc; i++) {
		check_eq(pread(stats, d, size, h.desc_offset + i * size), size);
		if (!strcmp(d->name, name))
			break;
	}
	if (i == h.num_desc)
		host_fail(__FILE__, __LINE__, "no counter %s", name);
	check_eq(pread(stats, &val, sizeof(val), h.data_offset + d->offset),
		 sizeof(val));
	free(d);
	return val;
}

uint64_t kvm_stat_of(int fd, const char *name)
{
	int stats = vm_ioctl(fd, KVM_GET_STATS_FD, 0);
	uint64_t val = kvm_stat_read(stats, name);

	close(stats);
	return val;
}
