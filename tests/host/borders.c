// SPDX-License-Identifier: GPL-2.0-only
/*
 * Liars: a guest kernel and a VMM that give KVM what is not so, or change it
 * while it is looked at.  What KVM keeps is right, or it keeps nothing.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vm.h"

#define SIZE		(4 * MIB)
#define ROM_GPA		(TEST_GPA + 64 * MIB)
#define PF_VECTOR	14
#define GP_VECTOR	13
#define NR_ROWS		64
#define MAX_RECORDS	512

static struct vm *vm;
static struct vcpu *v;
static struct scene s;
static atomic_int stop;
static struct kvm_pvvas_record records[MAX_RECORDS];
static struct kvm_pvvas_record lies[MAX_RECORDS] __attribute__((aligned(4096)));

static int state(uint32_t op, struct kvm_pvvas_record *r, uint64_t *nr)
{
	struct kvm_pvvas_state st = { .size = sizeof(st), .op = op,
				      .records = (uint64_t)r, .nr = *nr };
	int ret = __vm_ioctl(vm->fd, KVM_PVVAS_STATE, (unsigned long)&st);

	*nr = st.nr;
	return ret;
}

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x >> 24;
}

static struct pvvas_hc_range *rows;
static uint64_t table;

static void good_row(volatile struct pvvas_hc_range *row, uint64_t i)
{
	row->table = table;
	row->first = i;
	row->count = 1;
}

/* One vCPU writes what must not be into rows that another hands over. */
static uint64_t guest_lie(void)
{
	volatile struct pvvas_hc_range *row;
	uint64_t x = 88172645463325252ULL;

	while (!atomic_load(&stop)) {
		row = &rows[next(&x) % NR_ROWS];
		switch (next(&x) % 5) {
		case 0:
			row->table = ~0ULL;
			break;
		case 1:
			row->first = 512;
			break;
		case 2:
			row->count = 0;
			break;
		case 3:
			row->count = ~0U;
			break;
		case 4:
			row->table = table + 8;
		}
		good_row(row, row - rows);
	}
	return 0;
}

static void *lie(void *arg)
{
	vcpu_call(&vm->vcpus[1], guest_lie);
	return arg;
}

static void rows_that_change_meanwhile_are_taken_as_they_were_checked(void)
{
	uint64_t i, k, entry, *entries, whole = 0, cut = 0;
	pthread_t t;
	long r;

	vm = vm_new(2);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 1);
	for (i = 0; i < SIZE / PAGE; i++)
		s.ram[i * PAGE / 8] = i;
	entries = seg_table(s.seg, 0);
	table = (uint64_t)entries;
	vcpu_vmfunc(v, 1);
	rows = vm_shared(NR_ROWS * sizeof(*rows));
	for (i = 0; i < NR_ROWS; i++)
		good_row(&rows[i], i);
	atomic_store(&stop, 0);
	check_eq(pthread_create(&t, NULL, lie, NULL), 0);
	for (k = 0; k < 200; k++) {
		for (i = 0; i < NR_ROWS; i++) {
			entry = entries[i] & ~PVVAS_EPT_ADDR;
			((volatile uint64_t *)entries)[i] = entry |
				(TEST_GPA + (i + k % 2 * 512) * PAGE);
		}
		r = vcpu_hc(v, PVVAS_HC_INVALIDATE_LIST, (uint64_t)rows,
			    NR_ROWS, 0);
		check(r == -EINVAL || (r > 0 && r <= NR_ROWS));
		whole += r == NR_ROWS;
		cut += r < NR_ROWS;
		/* rows that are done count, whatever became of them since */
		for (i = 0; r > 0 && i < (uint64_t)r; i += 5)
			check_eq(vcpu_peek(v, WINDOW_FREE + i * PAGE),
				 i + k % 2 * 512);
	}
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	host_note("%lu lists done, %lu refused or cut short", whole, cut);
	check(whole);
	vm_free(vm);
}

static void answers_go_only_where_the_guest_may_write(void)
{
	uint64_t *rom = vm_mem(2 * MIB);

	vm = vm_new(1);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 1);
	vm_slot(vm, FIRST_TEST_SLOT + 1, ROM_GPA, rom, 2 * MIB,
		KVM_MEM_READONLY);
	check_eq(vcpu_hc(v, PVVAS_HC_INFO, ROM_GPA, PAGE, 0), -EFAULT);
	check_eq(vcpu_hc(v, PVVAS_HC_STATS, ROM_GPA + 8, PAGE, 0), -EFAULT);
	/* in the window, though a view shows RAM there */
	check_eq(vcpu_hc(v, PVVAS_HC_INFO, window_gpa(vm, WINDOW_FREE), PAGE, 0),
		 -EFAULT);
	check_eq(vcpu_hc(v, PVVAS_HC_INFO, window_gpa(vm, WINDOW_VA), PAGE, 0),
		 -EFAULT);
	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE_LIST,
			 window_gpa(vm, WINDOW_FREE), 1, 0), -EFAULT);
	/* nor is a root there, or in a slot that is not there */
	check_eq(vcpu_hc4(v, PVVAS_HC_VIEW_CREATE, s.ctx, 0,
			  window_gpa(vm, WINDOW_FREE), 0), -EFAULT);
	check_eq(vcpu_hc(v, PVVAS_HC_CTX_CREATE, TEST_GPA + GIB * 8, 0, 0),
		 -EFAULT);
	check(!memcmp(rom, (char *)rom + PAGE, PAGE));
	/* not even the part of it that has memory */
	vm_slot(vm, FIRST_TEST_SLOT + 1, ROM_GPA, rom, 0, 0);
	vm_slot(vm, FIRST_TEST_SLOT + 1, ROM_GPA, rom, 2 * MIB, 0);
	check_eq(vcpu_hc(v, PVVAS_HC_INFO, ROM_GPA + 2 * MIB - 8, PAGE, 0),
		 -EFAULT);
	check_eq(vcpu_hc(v, PVVAS_HC_STATS, ROM_GPA + 2 * MIB - 16, PAGE, 0),
		 -EFAULT);
	check_eq(rom[2 * MIB / 8 - 2] | rom[2 * MIB / 8 - 1], 0);
	check_eq(vcpu_hc(v, PVVAS_HC_INFO, ROM_GPA + 2 * MIB - 8, 8, 0), 8);
	check(rom[2 * MIB / 8 - 1]);
	vm_free(vm);
}

static uint64_t guest_wrmsr(uint64_t msr, uint64_t val)
{
	asm volatile(GC_TRY("mov %0, %%rax\n\twrmsr")
		     : : "r"((uint64_t)(uint32_t)val), "c"(msr), "d"(val >> 32)
		     : "rax", "memory");
	return gc_cpu()->vector;
}

/* KVM's MSRs that name a page of the guest's, and the local APIC's own. */
static void an_address_in_the_window_is_no_memory_elsewhere(void)
{
	static const struct {
		uint32_t msr;
		uint32_t flags;
	} msrs[] = {
		{ 0x11, 0 },		/* wall clock, old */
		{ 0x12, 1 },		/* system time, old */
		{ 0x4b564d00, 0 },	/* wall clock */
		{ 0x4b564d01, 1 },	/* system time */
		{ 0x4b564d02, 1 },	/* asynchronous page faults */
		{ 0x4b564d03, 1 },	/* steal time */
		{ 0x4b564d04, 1 },	/* end of interrupt */
		{ 0x1b, 0x900 },	/* the APIC's base: enabled, BSP */
	};
	uint64_t at[3];
	unsigned int i, k;

	vm = vm_new(2);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 1);
	memset(s.ram, 0x77, SIZE);
	at[0] = window_gpa(vm, WINDOW_VA);
	at[1] = window_gpa(vm, WINDOW_FREE);
	at[2] = window_gpa(vm, WINDOW_FREE + 3 * SIZE);
	for (k = 0; k < 3; k++) {
		for (i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
			long vector = vcpu_call(v, guest_wrmsr, msrs[i].msr,
						at[k] | msrs[i].flags);

			check(vector == -1 || vector == GP_VECTOR);
			vcpu_vmfunc(v, 1);
			check_eq(vcpu_view(v), s.view[0]);
			check_eq(vcpu_peek(v, WINDOW_FREE), 0x7777777777777777);
		}
		/* on the VM's own root too */
		vcpu_hc_ok(v, PVVAS_HC_RESET, 0, 0, 0);
		tables_reset();
		scene_over(&s, vm, TEST_GPA, SIZE, 1);
	}
	for (i = 0; i < SIZE / 8; i++)
		check_eq(s.ram[i], 0x7777777777777777);
	vm_free(vm);
}

static uint64_t guest_cr3(uint64_t cr3, uint64_t slot)
{
	asm volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
	/* here the tables are as before; there they are not */
	gcheck_eq(gc_identity()->magic, PVVAS_IDENTITY_MAGIC);
	vmfunc(0, slot);
	return gc_identity()->magic;
}

static atomic_int ended;

static void *run_to_the_end(void *arg)
{
	int r = vcpu_run_once(v);

	check(r == -EINTR || (!r && v->run->exit_reason == KVM_EXIT_SHUTDOWN));
	host_note("%s", r ? "faults for ever" : "shutdown");
	atomic_store(&ended, 1);
	return arg;
}

static void nothing(int sig)
{
	(void)sig;
}

/*
 * No exception can be delivered: the vCPU shuts down, or tries for ever, since
 * vector 9 on top of vector 9 is no double fault, and can be stopped.
 */
static void run_and_stop(void)
{
	struct sigaction sa = { .sa_handler = nothing };
	pthread_t t;

	check_eq(sigaction(SIGUSR1, &sa, NULL), 0);
	atomic_store(&ended, 0);
	check_eq(pthread_create(&t, NULL, run_to_the_end, NULL), 0);
	usleep(20000);
	/* the other vCPU goes on */
	check_eq(vcpu_peek(&vm->vcpus[1], TEST_GPA), s.ram[0]);
	while (!atomic_load(&ended)) {
		pthread_kill(t, SIGUSR1);
		usleep(1000);
	}
	pthread_join(t, NULL);
}

/* The paging structures lie in a segment, and the view changes. */
static void page_tables_that_vanish_end_the_vcpu_alone(void)
{
	struct kvm_vcpu_events no_events = { 0 };
	struct kvm_sregs sregs;
	uint64_t args[4], seg;
	int i;

	for (i = 0; i < 4; i++) {
		vm = vm_new(2);
		v = &vm->vcpus[0];
		scene_make(&s, vm, SIZE, 2);
		vm_ioctl(v->fd, KVM_GET_SREGS, &sregs);
		memcpy(s.ram, (void *)sregs.cr3, PAGE);
		/* slot 0 has no segment; 2 has one that answers, or that asks */
		view_detach(v, s.view[1], s.seg);
		seg = seg_new(vm, WINDOW_FREE, SIZE, i % 2 ? SEG_DEMAND : 0);
		view_attach(v, s.view[1], seg, 3);
		vcpu_vmfunc(v, 1);
		args[0] = window_gpa(vm, WINDOW_FREE);
		args[1] = i / 2 * 2;
		vcpu_prepare(v, (guest_fn)(void *)guest_cr3, args);
		run_and_stop();
		vcpu_hc_ok(&vm->vcpus[1], PVVAS_HC_RESET, 0, 0, 0);
		tables_reset();
		vcpu_long_mode(v);
		vm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &no_events);
		check_eq(vcpu_peek(v, TEST_GPA), s.ram[0]);
		scene_over(&s, vm, TEST_GPA, SIZE, 1);
		vcpu_vmfunc(v, 1);
		check_eq(vcpu_peek(v, WINDOW_FREE), s.ram[0]);
		vm_free(vm);
	}
}

static void make_objects(void)
{
	vm = vm_new(2);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 3);
}

static uint64_t nr_lies;

/* The records change under the ioctl, and now and then their page is gone. */
static void *lie_in_records(void *arg)
{
	uint64_t x = 1, i, was;
	volatile uint64_t *p;

	for (i = 0; !atomic_load(&stop); i++) {
		p = (uint64_t *)lies + next(&x) % (nr_lies * sizeof(*lies) / 8);
		was = *p;
		*p = next(&x) % 4 ? was + (next(&x) % 5 - 2) : ~was;
		usleep(next(&x) % 50);
		*p = was;
		if (i % 64)
			continue;
		mprotect(lies, PAGE, PROT_NONE);
		mprotect(lies, PAGE, PROT_READ | PROT_WRITE);
	}
	return arg;
}

static void records_that_change_meanwhile_leave_all_or_nothing(void)
{
	uint64_t nr, i, ctxs = 0, views = 0, good = 0, bad = 0;
	pthread_t t;
	int r;

	make_objects();
	nr = MAX_RECORDS;
	check_eq(state(KVM_PVVAS_GET, records, &nr), 0);
	check(nr > 5 && nr < MAX_RECORDS);
	memcpy(lies, records, nr * sizeof(*records));
	nr_lies = nr;
	vcpu_hc_ok(v, PVVAS_HC_RESET, 0, 0, 0);
	atomic_store(&stop, 0);
	check_eq(pthread_create(&t, NULL, lie_in_records, NULL), 0);
	for (i = 0; i < 400; i++) {
		uint64_t n = nr;

		r = state(KVM_PVVAS_SET, lies, &n);
		if (!r) {
			good++;
			ctxs = kvm_stat_of(vm->fd, "pvvas_ctxs");
			views = kvm_stat_of(vm->fd, "pvvas_views");
			continue;
		}
		bad++;
		check(r == -EINVAL || r == -ENOENT || r == -EEXIST ||
		      r == -ENOSPC || r == -EFAULT);
		/*
		 * Records that cannot be read change nothing; one that names
		 * a table outside memory leaves nothing.  Both are -EFAULT.
		 */
		if (r != -EFAULT || !kvm_stat_of(vm->fd, "pvvas_ctxs"))
			ctxs = views = 0;
		check_eq(kvm_stat_of(vm->fd, "pvvas_ctxs"), ctxs);
		check_eq(kvm_stat_of(vm->fd, "pvvas_views"), views);
	}
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	host_note("%lu taken, %lu refused", good, bad);
	vm_free(vm);
}

static void *state_calls(void *arg)
{
	uint32_t op = (uintptr_t)arg;
	static struct kvm_pvvas_record mine[MAX_RECORDS];
	uint64_t nr;
	int r;

	while (!atomic_load(&stop)) {
		nr = op == KVM_PVVAS_SET ? nr_lies : MAX_RECORDS;
		r = state(op, op == KVM_PVVAS_SET ? lies : mine, &nr);
		check(!r || r == -EBUSY || r == -ENOENT || r == -E2BIG);
	}
	return NULL;
}

/* KVM_PVVAS_STATE by three threads, beside a vCPU that runs and slots that change. */
static void a_vmm_may_call_everything_at_once(void)
{
	uint64_t nr = MAX_RECORDS, i;
	void *mem = vm_mem(2 * MIB);
	pthread_t t[3];

	make_objects();
	check_eq(state(KVM_PVVAS_GET, records, &nr), 0);
	memcpy(lies, records, nr * sizeof(*records));
	nr_lies = nr;
	atomic_store(&stop, 0);
	for (i = 0; i < 3; i++)
		check_eq(pthread_create(&t[i], NULL, state_calls,
					(void *)(uintptr_t)(KVM_PVVAS_GET + i)), 0);
	for (i = 0; i < 60; i++) {
		vm_slot(vm, FIRST_TEST_SLOT + 2, TEST_GPA + 32 * MIB, mem,
			2 * MIB, 0);
		vcpu_hc(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
		vcpu_hc(v, PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
		check_eq(vcpu_peek(v, TEST_GPA), 0);
		vm_slot(vm, FIRST_TEST_SLOT + 2, TEST_GPA + 32 * MIB, mem, 0, 0);
		if (i % 20 == 0)
			vm_add_vcpu(vm);
	}
	atomic_store(&stop, 1);
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	vm_free(vm);
}

/* In and out of SMM, as fast as it goes. */
static void *into_smm(void *arg)
{
	struct kvm_vcpu_events e = { .flags = KVM_VCPUEVENT_VALID_SMM };

	while (!atomic_load(&stop)) {
		e.smi.smm = !e.smi.smm;
		vm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &e);
	}
	return arg;
}

/*
 * Roots are made by a vCPU that is stopped and fit for it: the host complains
 * (and the row fails) if it is not, because it was looked at too early.
 */
static void roots_are_made_by_a_vcpu_that_stays_fit_for_it(void)
{
	uint64_t nr = MAX_RECORDS, i, n, done = 0;
	pthread_t t;
	int r;

	vm = vm_new(1);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 1);
	check_eq(state(KVM_PVVAS_GET, records, &nr), 0);
	atomic_store(&stop, 0);
	check_eq(pthread_create(&t, NULL, into_smm, NULL), 0);
	for (i = 0; i < 3000; i++) {
		n = nr;
		r = state(KVM_PVVAS_SET, records, &n);
		check(!r || r == -EBUSY || r == -EINVAL);
		done += !r;
	}
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	host_note("%lu of %lu restored", done, i);
	vm_free(vm);
}

static void another_process_with_the_descriptors_is_refused(void)
{
	uint64_t nr = MAX_RECORDS;
	int stats, status;
	pid_t pid;

	make_objects();
	stats = vm_ioctl(vm->fd, KVM_GET_STATS_FD, 0);
	fflush(NULL);
	pid = fork();
	check(pid >= 0);
	if (!pid) {
		if (state(KVM_PVVAS_RESET, NULL, &nr) != -EIO ||
		    state(KVM_PVVAS_GET, records, &nr) != -EIO ||
		    __vm_ioctl(v->fd, KVM_RUN, 0) != -EIO)
			_exit(1);
		/* counters may be read by any holder, as all of KVM's */
		_exit(kvm_stat_read(stats, "pvvas_views") != 3);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	check_eq(kvm_stat_of(vm->fd, "pvvas_views"), 3);
	close(stats);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(rows_that_change_meanwhile_are_taken_as_they_were_checked),
	CASE(answers_go_only_where_the_guest_may_write),
	CASE(an_address_in_the_window_is_no_memory_elsewhere),
	CASE(page_tables_that_vanish_end_the_vcpu_alone),
	CASE(records_that_change_meanwhile_leave_all_or_nothing),
	CASE(a_vmm_may_call_everything_at_once),
	CASE(roots_are_made_by_a_vcpu_that_stays_fit_for_it),
	CASE(another_process_with_the_descriptors_is_refused),
};

HOSTCASE_MAIN(cases)
