// SPDX-License-Identifier: GPL-2.0-only
/*
 * User instructions of an operation, counted one by one: the trap flag makes
 * the CPU raise a trap after each.  A system call counts as the one instruction
 * that it is at user level; the handler makes it, because the emulator takes the
 * trap flag into the kernel, where it is not expected.
 */
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "bench.h"

#define TRAP_FLAG	0x100UL
#define MOST_STEPS	300

static volatile long steps;

/* What stands at RIP is not executed yet. */
static void make_system_call(greg_t *regs)
{
	register long r10 __asm__("r10") = regs[REG_R10];
	register long r8 __asm__("r8") = regs[REG_R8];
	register long r9 __asm__("r9") = regs[REG_R9];
	long ret = regs[REG_RAX];

	__asm__ __volatile__("syscall"
			     : "+a" (ret)
			     : "D" (regs[REG_RDI]), "S" (regs[REG_RSI]),
			       "d" (regs[REG_RDX]), "r" (r10), "r" (r8),
			       "r" (r9)
			     : "rcx", "r11", "memory");
	regs[REG_RAX] = ret;
	regs[REG_RIP] += 2;
	regs[REG_RCX] = regs[REG_RIP];
	regs[REG_R11] = regs[REG_EFL];
	steps++;
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
	static const char syscall_insn[2] = "\x0f\x05";
	ucontext_t *uc = context;
	greg_t *regs = uc->uc_mcontext.gregs;

	(void)sig;
	(void)info;
	if (++steps > MOST_STEPS)
		regs[REG_EFL] &= ~TRAP_FLAG;
	else if (!memcmp((void *)regs[REG_RIP], syscall_insn, 2))
		make_system_call(regs);
}

static __attribute__((noinline)) long stepped(const struct bench *b,
					      unsigned long n)
{
	steps = 0;
	__asm__ __volatile__("sub $128, %%rsp\n\t"
			     "pushfq\n\torq %0, (%%rsp)\n\tpopfq\n\t"
			     "add $128, %%rsp"
			     : : "i" (TRAP_FLAG) : "memory", "cc");
	b->op(n, b->arg);
	__asm__ __volatile__("sub $128, %%rsp\n\t"
			     "pushfq\n\tandq %0, (%%rsp)\n\tpopfq\n\t"
			     "add $128, %%rsp"
			     : : "i" (~TRAP_FLAG) : "memory", "cc");
	return steps > MOST_STEPS ? -1 : steps;
}

long steps_of(const struct bench *b, unsigned long n)
{
	struct sigaction sa = {
		.sa_sigaction = on_trap,
		.sa_flags = SA_SIGINFO,
	}, old;
	long ret;

	sigaction(SIGTRAP, &sa, &old);
	if (b->before)
		b->before(n, b->arg);
	ret = stepped(b, n);
	if (b->after)
		b->after(n, b->arg);
	sigaction(SIGTRAP, &old, NULL);
	return ret;
}
