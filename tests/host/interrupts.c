// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the tests stand on: interrupts of the host, which end a guest's run
 * whatever its interrupt flag is, whether it computes, waits, or has just
 * taken an exception. Nothing here is about views.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

#include "patience.h"
#include "vm.h"

#define FLAGS_IF	0x200ULL
#define NOTHING_VA	0x7000000000ULL		/* no page table shows it */
#define USER_RPL	3

static atomic_ullong turns, awake;

static void nothing(int sig)
{
	(void)sig;
}

/* SIGALRM, again and again; not so often that a slow host does nothing else. */
static void alarms(unsigned int microseconds)
{
	const suseconds_t period = (suseconds_t)microseconds * patience();
	struct itimerval t = {
		.it_interval.tv_usec = period,
		.it_value.tv_usec = period,
	};
	struct sigaction sa = { .sa_handler = nothing };

	check_eq(sigaction(SIGALRM, &sa, NULL), 0);
	check_eq(setitimer(ITIMER_REAL, &t, NULL), 0);
}

static void prepare(struct vcpu *v, void *fn, uint64_t arg, bool interruptible)
{
	const uint64_t args[4] = { arg };
	struct kvm_regs r;

	vcpu_prepare(v, (guest_fn)fn, args);
	vm_ioctl(v->fd, KVM_GET_REGS, &r);
	r.rflags &= ~FLAGS_IF;
	if (interruptible)
		r.rflags |= FLAGS_IF;
	vm_ioctl(v->fd, KVM_SET_REGS, &r);
}

static uint64_t guest_turn(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		atomic_fetch_add_explicit(&turns, 1, memory_order_relaxed);
	return 0;
}

/* The alarm must come long before the loop ends, and again after it. */
static void ends_a_loop(bool interruptible)
{
	const unsigned long long all = 100 * 1000 * 1000;
	struct vm *vm = vm_new(1);
	unsigned long long before;
	struct vcpu *v = &vm->vcpus[0];
	int i;

	atomic_store(&turns, 0);
	prepare(v, guest_turn, all, interruptible);
	alarms(20 * 1000);
	for (i = 0; i < 5; i++) {
		before = atomic_load(&turns);
		check_eq(vcpu_run_once(v), -EINTR);
		check(atomic_load(&turns) < all);
		check(i == 0 || atomic_load(&turns) > before);
	}
	vm_free(vm);
}

static void an_interrupt_ends_a_loop(void)
{
	ends_a_loop(true);
}

static void an_interrupt_ends_a_loop_that_has_interrupts_off(void)
{
	ends_a_loop(false);
}

static uint64_t guest_halt(uint64_t unused)
{
	(void)unused;
	asm volatile("hlt");
	atomic_store(&awake, 1);
	return 0;
}

/* A guest that halts by itself, without an exit, halts on after an exit. */
static void stays_halted(bool interruptible)
{
	struct kvm_enable_cap halt = {
		.cap = KVM_CAP_X86_DISABLE_EXITS,
		.args = { KVM_X86_DISABLE_EXITS_HLT },
	};
	struct vm *vm = vm_bare();
	struct vcpu *v;
	int i;

	if (!(vm_ioctl(vm->fd, KVM_CHECK_EXTENSION, halt.cap) & halt.args[0]))
		host_skip("KVM lets no guest halt by itself");
	vm_ioctl(vm->fd, KVM_ENABLE_CAP, &halt);
	v = vm_add_vcpu(vm);
	atomic_store(&awake, 0);
	prepare(v, guest_halt, 0, interruptible);
	alarms(20 * 1000);
	for (i = 0; i < 5; i++) {
		check_eq(vcpu_run_once(v), -EINTR);
		check_eq(atomic_load(&awake), 0);
	}
	/* and goes on when there is something for it */
	vm_ioctl(v->fd, KVM_NMI, 0);
	while (vcpu_run_once(v) == -EINTR)
		;
	check_eq(v->run->io.port, UCALL_PORT);
	check_eq(v->g->ucall.kind, UCALL_EXCEPTION);
	check_eq(v->g->vector, 2);
	vm_free(vm);
}

static void a_halted_guest_stays_halted_over_an_interrupt(void)
{
	stays_halted(true);
}

static void a_halted_guest_with_interrupts_off_stays_halted(void)
{
	stays_halted(false);
}

static uint64_t guest_fault(uint64_t n)
{
	uint64_t before = gc_cpu()->exceptions, i;

	for (i = 0; i < n; i++) {
		gcheck_eq(try_read(NOTHING_VA + i, NULL), 14);
		gcheck_eq(gc_cpu()->cr2, NOTHING_VA + i);
		gcheck_eq(gc_cpu()->cs & 3, USER_RPL);
		gcheck_eq(gc_cpu()->exceptions, before + i + 1);
	}
	return n;
}

/* Between an exception and the first instruction of its handler, too. */
static void an_interrupt_behind_an_exception_loses_nothing(void)
{
	const uint64_t faults = 300 * 1000;
	struct vm *vm = vm_new(1);

	alarms(500);
	check_eq(vcpu_user(&vm->vcpus[0], guest_fault, faults), faults);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(an_interrupt_ends_a_loop),
	CASE(an_interrupt_ends_a_loop_that_has_interrupts_off),
	CASE(a_halted_guest_stays_halted_over_an_interrupt),
	CASE(a_halted_guest_with_interrupts_off_stays_halted),
	CASE(an_interrupt_behind_an_exception_loses_nothing),
};
HOSTCASE_MAIN(cases)
