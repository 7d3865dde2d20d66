// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM's instruction emulator sees the window through the view in force:
 * string I/O and accesses to MMIO that read and write it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vm.h"

#define PF_VECTOR	14
#define SIZE		(2 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define WORD(page)	((page) * PAGE / 8)
#define PORT		0x51
#define MMIO		0x90000000ULL	/* no memslot */

static struct vm *vm;
static struct vcpu *v;
static struct scene s;

/* Two segments at one address, each in a view of its own; 1 is read-only. */
static uint64_t seg2;

static void begin_in(struct vm *with_two_vcpus)
{
	vm = with_two_vcpus;
	v = &vm->vcpus[0];
	s.ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, 2 * SIZE, 0);
	scene_over(&s, vm, TEST_GPA, SIZE, 2);
	view_detach(v, s.view[0], s.seg);
	view_attach(v, s.view[0], s.seg, PVVAS_PROT_READ);
	view_detach(v, s.view[1], s.seg);
	seg2 = seg_new(vm, WINDOW_FREE, SIZE, 0);
	seg_map(v, seg2, 0, TEST_GPA + SIZE, SIZE, 3);
	view_attach(v, s.view[1], seg2, 3);
	strcpy((char *)s.ram, "first view");
	strcpy((char *)s.ram + SIZE, "other view");
}

static void begin(void)
{
	begin_in(vm_new(2));
}

static uint64_t guest_outs(uint64_t va, uint64_t n)
{
	asm volatile(GC_TRY("rep outsb") : "+S"(va), "+c"(n) : "d"(PORT)
		     : "rax", "memory");
	return gc_cpu()->vector;
}

static uint64_t guest_ins(uint64_t va, uint64_t n)
{
	asm volatile(GC_TRY("rep insb") : "+D"(va), "+c"(n) : "d"(PORT)
		     : "rax", "memory");
	return gc_cpu()->vector;
}

static uint64_t guest_movs(uint64_t to, uint64_t from, uint64_t n)
{
	asm volatile(GC_TRY("rep movsq") : "+D"(to), "+S"(from), "+c"(n)
		     : : "rax", "memory");
	return gc_cpu()->vector;
}

/* Start a function that has to end in an exit of this kind. */
static void start(void *fn, uint64_t a, uint64_t b, uint64_t c, uint32_t exit)
{
	const uint64_t args[4] = { a, b, c };

	vcpu_prepare(v, (guest_fn)fn, args);
	check_eq(vcpu_run_once(v), 0);
	if (v->run->exit_reason != exit)
		vcpu_unexpected(v);
}

static uint64_t finish(void)
{
	uint64_t ret;

	check_eq(vcpu_run_once(v), 0);
	if (!vcpu_done(v, &ret))
		vcpu_unexpected(v);
	return ret;
}

static void check_output(const char *text)
{
	struct kvm_run *run = v->run;
	char seen[11] = "";
	int i;

	start(guest_outs, WINDOW_FREE, 10, 0, KVM_EXIT_IO);
	for (i = 0; i < 10; i += run->io.count) {
		check_eq(run->io.port, PORT);
		check_eq(run->io.direction, KVM_EXIT_IO_OUT);
		memcpy(seen + i, (char *)run + run->io.data_offset,
		       run->io.count);
		check_eq(vcpu_run_once(v), 0);
	}
	check(vcpu_done(v, NULL));
	check(!strcmp(seen, text));
}

static void string_output_reads_the_view_in_force(void)
{
	begin();
	vcpu_vmfunc(v, 1);
	check_output("first view");
	vcpu_vmfunc(v, 2);
	check_output("other view");
	vm_free(vm);
}

static void a_root_at_address_0_is_one_like_any_other(void)
{
	void *root;

	begin();
	root = vm_ram(vm, FIRST_TEST_SLOT + 1, 0, PAGE, 0);
	memcpy(root, view_root(s.view[1]), PAGE);
	check(vcpu_hc4(v, PVVAS_HC_VIEW_CREATE, s.ctx, 3, 0, 0) > 0);
	vcpu_vmfunc(v, 3);
	check_output("other view");
	vm_free(vm);
}

static void string_input_writes_the_view_in_force(void)
{
	struct kvm_run *run;

	begin();
	run = v->run;
	vcpu_vmfunc(v, 2);
	start(guest_ins, AT(3), 4, 0, KVM_EXIT_IO);
	check_eq(run->io.direction, KVM_EXIT_IO_IN);
	check_eq(run->io.count, 4);
	memcpy((char *)run + run->io.data_offset, "abcd", 4);
	check_eq(finish(), -1);
	check(!memcmp((char *)s.ram + SIZE + 3 * PAGE, "abcd", 4));
	check_eq(s.ram[WORD(3)], 0);
	check_eq(vcpu_peek(v, AT(3)), 0x64636261);
	vm_free(vm);
}

static void copies_between_mmio_and_the_window_use_the_view(void)
{
	uint64_t val;

	begin();
	s.ram[WORD(2)] = 1111;
	s.ram[WORD(512 + 2)] = 2222;
	vcpu_vmfunc(v, 1);
	start(guest_movs, MMIO, AT(2), 1, KVM_EXIT_MMIO);
	check_eq(v->run->mmio.phys_addr, MMIO);
	check(v->run->mmio.is_write);
	memcpy(&val, v->run->mmio.data, 8);
	check_eq(val, 1111);
	check_eq(finish(), -1);
	vcpu_vmfunc(v, 2);
	start(guest_movs, MMIO, AT(2), 1, KVM_EXIT_MMIO);
	memcpy(&val, v->run->mmio.data, 8);
	check_eq(val, 2222);
	check_eq(finish(), -1);
	start(guest_movs, AT(2), MMIO, 1, KVM_EXIT_MMIO);
	check_eq(v->run->mmio.phys_addr, MMIO);
	check(!v->run->mmio.is_write);
	val = 3333;
	memcpy(v->run->mmio.data, &val, 8);
	check_eq(finish(), -1);
	check_eq(s.ram[WORD(2)], 1111);
	check_eq(s.ram[WORD(512 + 2)], 3333);
	vm_free(vm);
}

/* As if the CPU had done it: #PF with the SGX bit and the address. */
static void refused(void *fn, uint64_t va, uint64_t error, bool user)
{
	const uint64_t args[4] = { va, 4 };
	uint64_t vector;

	v->user = user;
	vcpu_prepare(v, (guest_fn)fn, args);
	v->user = false;
	check_eq(vcpu_run_once(v), 0);
	/* KVM asks the device before it looks where its answer goes */
	if (v->run->io.port == PORT && v->run->io.direction == KVM_EXIT_IO_IN)
		check_eq(vcpu_run_once(v), 0);
	if (!vcpu_done(v, &vector))
		vcpu_unexpected(v);
	check_eq(vector, PF_VECTOR);
	check_eq(v->g->error, error | 0x8001 | (user ? 4 : 0));
	check_eq(v->g->cr2, va);
}

/* Show a page that views have at @gpa as 512 GiB of page tables at TABLES_VA. */
#define TABLES_VA	0x7f8000000000UL

static void show_tables(uint64_t gpa)
{
	struct kvm_sregs sregs;

	vm_ioctl(v->fd, KVM_GET_SREGS, &sregs);
	((uint64_t *)sregs.cr3)[TABLES_VA >> 39 & 511] = gpa | 7;
}

static void the_emulator_refuses_what_the_cpu_refuses(void)
{
	uint64_t error;
	int user;

	begin();
	show_tables(window_gpa(vm, AT(1)));
	for (user = 0; user < 2; user++) {
		/* the guest's own tables */
		vcpu_vmfunc(v, 0);
		v->user = user;
		check_eq(vcpu_try_peek(v, TABLES_VA + 8), PF_VECTOR);
		error = v->g->error;
		check_eq(error & 0x8005, user ? 0x8005 : 0x8001);
		refused(guest_outs, TABLES_VA + 8, error & 2, user);
		refused(guest_ins, TABLES_VA + 16, error & 2, user);
		/* nothing there */
		vcpu_vmfunc(v, 0);
		refused(guest_outs, AT(1) + 8, 0, user);
		refused(guest_ins, AT(1) + 16, 2, user);
		/* read-only */
		vcpu_vmfunc(v, 1);
		refused(guest_ins, AT(1), 2, user);
		check_eq(s.ram[WORD(1)], 0);
		refused(guest_ins, WINDOW_VA, 2, user);
		check_eq(vcpu_view(v), s.view[0]);
		/* beyond the segment's end */
		vcpu_vmfunc(v, 2);
		refused(guest_outs, WINDOW_FREE + SIZE, 0, user);
	}
	vm_free(vm);
}

/* Views have four levels, whatever the VM's own tables have. */
static void an_address_beyond_the_views_levels_is_refused(void)
{
	const uint64_t va = 0x100000000000;
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	struct vm *wide = vm_bare();
	struct kvm_sregs sregs;
	uint64_t *pdpt;
	uint32_t i;
	int user;

	for (i = 0; i < wide->cpuid->nent; i++)
		if (wide->cpuid->entries[i].function == 0x80000008)
			wide->cpuid->entries[i].eax |= 52;
	check_eq(vm_enable_pvvas(wide, &c), 0);
	vm_add_vcpu(wide);
	begin_in(wide);
	vm_ioctl(v->fd, KVM_GET_SREGS, &sregs);
	pdpt = vm_shared(PAGE);
	pdpt[0] = 1ULL << 48 | TEST_GPA | 0x87;	/* a GiB, for CPL 3 too */
	((uint64_t *)sregs.cr3)[va >> 39 & 511] = (uint64_t)pdpt | 7;
	vcpu_vmfunc(v, 1);
	for (user = 0; user < 2; user++) {
		refused(guest_outs, va + 8, 0, user);
		refused(guest_ins, va + 16, 2, user);
	}
	vm_free(vm);
}

/* Code and data of 4 GiB, no paging, no IDT to speak of. */
static void leave_long_mode(uint64_t rip, uint64_t rsi)
{
	struct kvm_segment flat = { .limit = ~0U, .type = 3, .present = 1,
				    .s = 1, .db = 1, .g = 1, .selector = 16 };
	struct kvm_regs regs = { .rip = rip, .rsi = rsi, .rdx = PORT,
				 .rflags = 2 };
	struct kvm_sregs sregs;

	vm_ioctl(v->fd, KVM_GET_SREGS, &sregs);
	sregs.cr0 = 1 | 1 << 5;		/* PE, NE */
	sregs.cr4 = sregs.efer = sregs.cr2 = 0;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	sregs.cs = flat;
	sregs.cs.type = 11;
	sregs.idt.limit = 0;
	vm_ioctl(v->fd, KVM_SET_SREGS, &sregs);
	vm_ioctl(v->fd, KVM_SET_REGS, &regs);
}

asm(".globl guest_outs_once\n"
    "guest_outs_once: .byte 0x6e\n");	/* outsb */
extern char guest_outs_once[];

static void without_paging_the_address_is_told_too(void)
{
	uint64_t *gibs = vm_shared(PAGE), *root;
	struct kvm_sregs sregs;

	begin();
	root = view_root(s.view[1]);
	memcpy(gibs, (void *)(root[0] & PVVAS_EPT_ADDR), PAGE);
	gibs[3] = 0;
	root[0] = (uint64_t)gibs | PVVAS_PROT_ALL;
	vcpu_vmfunc(v, 2);
	leave_long_mode((uint64_t)guest_outs_once, 3 * GIB + 8);
	check_eq(vcpu_run_once(v), 0);
	check_eq(v->run->exit_reason, KVM_EXIT_SHUTDOWN);
	vm_ioctl(v->fd, KVM_GET_SREGS, &sregs);
	check_eq(sregs.cr2, 3 * GIB + 8);
	vm_free(vm);
}

static uint64_t *demand_table, demand_cr2;

static void guest_demand(void)
{
	demand_cr2 = gc_cpu()->cr2;
	((volatile uint64_t *)demand_table)[demand_cr2 / PAGE % 512] =
		TEST_GPA | 3 | PVVAS_EPT_WB;
}

static uint64_t guest_movs_from_mmio_demand(uint64_t to, uint64_t n)
{
	gc_cpu()->demand = guest_demand;
	return guest_movs(to, MMIO, n);
}

static void a_demand_fault_by_the_emulator_is_answered(void)
{
	uint64_t seg, val = 77;

	begin();
	seg = seg_new(vm, WINDOW_FREE + SIZE, SIZE, SEG_DEMAND);
	view_attach(v, s.view[1], seg, 3);
	demand_table = seg_table(seg, 0);
	vcpu_vmfunc(v, 2);
	start(guest_movs_from_mmio_demand, WINDOW_FREE + SIZE + PAGE + 8, 1, 0,
	      KVM_EXIT_MMIO);
	memcpy(v->run->mmio.data, &val, 8);
	/* the page is asked for before or after the device is */
	check_eq(vcpu_run_once(v), 0);
	if (v->run->exit_reason == KVM_EXIT_MMIO) {
		memcpy(v->run->mmio.data, &val, 8);
		check_eq(vcpu_run_once(v), 0);
	}
	if (!vcpu_done(v, NULL))
		vcpu_unexpected(v);
	check_eq(v->g->demands, 1);
	check_eq(gc_demand_address(demand_cr2), WINDOW_FREE + SIZE + PAGE + 8);
	check_eq(gc_demand_access(demand_cr2), PVVAS_PROT_WRITE);
	check_eq(s.ram[1], 77);
	vm_free(vm);
}

/*
 * The vCPU waits for a device in the middle of an instruction. Its context goes,
 * and the page of its view's root is that of a view in another context, which
 * the rest of the instruction must not reach. Which of the new views gets the
 * page is the host's affair.
 */
static void end_in_another_context(void)
{
	uint64_t ctx, seg, view[24], val = 3333;
	struct vcpu *w;
	int i;

	tables_reset();
	begin();
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 1000);
	w = &vm->vcpus[1];
	vcpu_vmfunc(v, 2);
	start(guest_movs, AT(2), MMIO, 1, KVM_EXIT_MMIO);
	memcpy(v->run->mmio.data, &val, 8);
	vcpu_hc_ok(w, PVVAS_HC_CTX_DESTROY, s.ctx, 0, 0);
	ctx = ctx_new(w);
	seg = seg_new(vm, WINDOW_FREE, SIZE, 0);
	seg_map(w, seg, 0, TEST_GPA, SIZE, 3);
	/* all roots first: the page is not to become another table */
	for (i = 0; i < 24; i++)
		view[i] = view_new(w, ctx, 0, 0);
	for (i = 0; i < 24; i++)
		view_attach(w, view[i], seg, 3);
	/* no context: the window is what it is without views */
	check_eq(vcpu_run_once(v), 0);
	check_eq(v->run->exit_reason, KVM_EXIT_MMIO);
	check_eq(v->run->mmio.phys_addr, window_gpa(vm, AT(2)));
	check_eq(finish(), -1);
	check_eq(s.ram[WORD(2)], 0);
	check_eq(s.ram[WORD(512 + 2)], 0);
	vm_free(vm);
}

static void an_instruction_does_not_end_in_another_context(void)
{
	int i;

	for (i = 0; i < 4; i++)
		end_in_another_context();
}

/* Dirty logging sees what the emulator writes, also to page tables. */
static void the_emulators_writes_are_logged(void)
{
	static uint64_t bits[SIZE / PAGE / 64 * 2];
	struct kvm_dirty_log log = { .slot = FIRST_TEST_SLOT,
				     .dirty_bitmap = bits };

	begin();
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, 2 * SIZE,
		KVM_MEM_LOG_DIRTY_PAGES);
	vcpu_vmfunc(v, 2);
	start(guest_ins, AT(3), 4, 0, KVM_EXIT_IO);
	check_eq(finish(), -1);
	vm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
	check_eq(bits[0], 0);
	check_eq(bits[8], 1 << 3);

	/* 1 GiB, in tables that are elsewhere than where the view shows them */
	s.ram[WORD(512 + 7)] = TEST_GPA | 0x87;
	show_tables(window_gpa(vm, AT(7)));
	start(guest_outs, TABLES_VA, 1, 0, KVM_EXIT_IO);
	check_eq(finish(), -1);
	vm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
	check_eq(s.ram[WORD(512 + 7)], TEST_GPA | 0xa7);
	check_eq(bits[8], 1 << 7);
	vm_free(vm);
}

static atomic_int unmapped;

static void *unmap_page_3(void *arg)
{
	seg_unmap(arg, seg2, 3 * PAGE, PAGE);
	atomic_store(&unmapped, 1);
	return NULL;
}

static void *go_on(void *arg)
{
	(void)arg;
	check_eq(finish(), -1);
	return NULL;
}

/*
 * The emulator has found the way to the page, and sleeps in the middle of its
 * write to it, when another vCPU unmaps it: that call must not return before
 * the write is done, since then the guest may use the page for something else.
 */
static void a_page_is_taken_when_the_emulator_is_done_with_it(void)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_zeropage zero = { 0 };
	pthread_t writer, unmapper;
	struct uffd_msg m;
	struct kvm_run *run;
	char *page;
	int uffd, i;

	begin();
	run = v->run;
	page = (char *)s.ram + SIZE + 3 * PAGE;
	vcpu_vmfunc(v, 2);
	start(guest_ins, AT(3), 4, 0, KVM_EXIT_IO);
	memcpy((char *)run + run->io.data_offset, "abcd", 4);

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	check(uffd >= 0);
	check_eq(ioctl(uffd, UFFDIO_API, &api), 0);
	madvise(page, PAGE, MADV_DONTNEED);
	reg.range.start = (uint64_t)page;
	reg.range.len = PAGE;
	check_eq(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	check_eq(pthread_create(&writer, NULL, go_on, NULL), 0);
	check_eq(read(uffd, &m, sizeof(m)), sizeof(m));
	check_eq(m.arg.pagefault.address & ~(PAGE - 1), (uint64_t)page);

	check_eq(pthread_create(&unmapper, NULL, unmap_page_3, &vm->vcpus[1]), 0);
	for (i = 0; i < 50; i++) {
		usleep(1000);
		check_eq(atomic_load(&unmapped), 0);
	}
	zero.range = reg.range;
	check_eq(ioctl(uffd, UFFDIO_ZEROPAGE, &zero), 0);
	pthread_join(unmapper, NULL);
	check(!memcmp(page, "abcd", 4));
	pthread_join(writer, NULL);
	check_eq(vcpu_try_peek(v, AT(3)), PF_VECTOR);
	close(uffd);

	/* a vCPU that has left KVM_RUN since holds up no other */
	start(guest_ins, AT(4), 4, 0, KVM_EXIT_IO);
	seg_unmap(&vm->vcpus[1], seg2, 4 * PAGE, PAGE);
	memcpy((char *)run + run->io.data_offset, "abcd", 4);
	check_eq(finish(), PF_VECTOR);
	vm_free(vm);
}

static void nothing(int sig)
{
	(void)sig;
}

static void *run_until_signal(void *arg)
{
	atomic_store((atomic_int *)arg, gettid());
	check_eq(vcpu_run_once(v), -EINTR);
	return NULL;
}

static bool sleeps(int tid)
{
	char file[64], line[512] = "", *p;
	FILE *f;

	snprintf(file, sizeof(file), "/proc/self/task/%d/stat", tid);
	f = fopen(file, "r");
	check(f && fgets(line, sizeof(line), f));
	fclose(f);
	p = strrchr(line, ')');
	check(p);
	return p[2] == 'S';
}

/*
 * KVM's emulator has read a page of the window for an instruction that is not
 * over, and INIT comes: the vCPU sleeps in KVM_RUN, for as long as no other sends
 * a SIPI. It will not use the page: another vCPU's call must not wait.
 */
static void a_hypercall_does_not_wait_for_a_vcpu_that_sleeps(void)
{
	struct kvm_mp_state init = { KVM_MP_STATE_UNINITIALIZED };
	struct kvm_mp_state runs = { KVM_MP_STATE_RUNNABLE };
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	struct sigaction sa = { .sa_handler = nothing };
	struct vm *with_apics = vm_bare();
	atomic_int tid = 0;
	pthread_t sleeper;

	check_eq(vm_enable_pvvas(with_apics, &c), 0);
	vm_ioctl(with_apics->fd, KVM_CREATE_IRQCHIP, 0);
	vm_add_vcpu(with_apics);
	vm_ioctl(vm_add_vcpu(with_apics)->fd, KVM_SET_MP_STATE, &runs);
	begin_in(with_apics);
	sigaction(SIGUSR1, &sa, NULL);
	vcpu_vmfunc(v, 2);
	start(guest_outs, AT(3), 4, 0, KVM_EXIT_IO);
	vm_ioctl(v->fd, KVM_SET_MP_STATE, &init);
	check_eq(pthread_create(&sleeper, NULL, run_until_signal, &tid), 0);
	while (!atomic_load(&tid) || !sleeps(tid))
		usleep(1000);
	seg_unmap(&vm->vcpus[1], seg2, 3 * PAGE, PAGE);
	pthread_kill(sleeper, SIGUSR1);
	pthread_join(sleeper, NULL);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(string_output_reads_the_view_in_force),
	CASE(a_root_at_address_0_is_one_like_any_other),
	CASE(string_input_writes_the_view_in_force),
	CASE(copies_between_mmio_and_the_window_use_the_view),
	CASE(the_emulator_refuses_what_the_cpu_refuses),
	CASE(an_address_beyond_the_views_levels_is_refused),
	CASE(without_paging_the_address_is_told_too),
	CASE(a_demand_fault_by_the_emulator_is_answered),
	CASE(an_instruction_does_not_end_in_another_context),
	CASE(the_emulators_writes_are_logged),
	CASE(a_page_is_taken_when_the_emulator_is_done_with_it),
	CASE_SECONDS(a_hypercall_does_not_wait_for_a_vcpu_that_sleeps, 20),
};

HOSTCASE_MAIN(cases)
