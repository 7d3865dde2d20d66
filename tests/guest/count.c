// SPDX-License-Identifier: GPL-2.0-only
/*
 * How many instructions vas_switch() has beside VMFUNC, counted by executing
 * them one at a time; and that none of them is a system call.
 */
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MOST	15
#define FOREVER	1000

static int handle;

__attribute__((noipa)) static int with_switch(int vh)
{
	return vas_switch(vh);
}

/* The same function around the instruction alone: to the plain view. */
__attribute__((noipa)) static int with_vmfunc(int vh)
{
	__asm__ __volatile__(".byte 0x0f, 0x01, 0xd4"
			     : : "a" (0), "c" (0) : "memory", "cc");
	return vh;
}

/* Calls that the tracer follows. */
static void tracee(void)
{
	volatile int sum = 0;

	handle = check_id(vas_attach(tcase_vas_with_seg(BASE, 4096, NULL)));
	check_eq(vas_switch(handle), 0);
	BASE[0] = 1;
	check_eq(vas_switch(VAS_HOME), 0);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	sum += with_vmfunc(VAS_HOME);
	sum += with_switch(handle);
	sum += with_switch(VAS_HOME);
	_exit(sum != 0);
}

struct count {
	int instructions;
	int vmfuncs;
	int syscalls;
};

static unsigned long rip(pid_t pid)
{
	struct user_regs_struct regs;

	check_eq(ptrace(PTRACE_GETREGS, pid, NULL, &regs), 0);
	return regs.rip;
}

static void step(pid_t pid)
{
	int status;

	check_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
}

/* From the first instruction of @function to where it returns. */
static struct count follow(pid_t pid, const void *function)
{
	struct count count = { 0 };
	struct user_regs_struct regs;
	unsigned long back;
	int i;

	for (i = 0; rip(pid) != (unsigned long)function; i++) {
		check(i < FOREVER);
		step(pid);
	}
	check_eq(ptrace(PTRACE_GETREGS, pid, NULL, &regs), 0);
	back = (unsigned long)ptrace(PTRACE_PEEKDATA, pid, regs.rsp, NULL);
	for (; rip(pid) != back; step(pid)) {
		/* the code is the same in both: the tracee is a child */
		const unsigned char *code = (void *)rip(pid);

		count.instructions++;
		count.vmfuncs += !memcmp(code, "\x0f\x01\xd4", 3);
		count.syscalls += !memcmp(code, "\x0f\x05", 2);
		check(count.instructions < FOREVER);
	}
	return count;
}

static void a_switch_is_at_most_15_instructions_beside_vmfunc(void)
{
	struct count bare, in, out;
	int status;
	pid_t pid;

	tcase_need(PVVAS_FEATURE_SWITCH);
	pid = fork();
	if (!pid)
		tracee();
	check(pid > 0);
	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	bare = follow(pid, with_vmfunc);
	in = follow(pid, with_switch);
	out = follow(pid, with_switch);
	check_eq(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
	check_eq(waitpid(pid, &status, 0), pid);
	tcase_note("bare %d, in %d, out %d", bare.instructions,
		   in.instructions, out.instructions);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	check_eq(bare.vmfuncs, 1);
	check_eq(in.vmfuncs, 1);
	check_eq(out.vmfuncs, 1);
	check_eq(in.syscalls, 0);
	check_eq(out.syscalls, 0);
	check(in.instructions - bare.instructions <= MOST);
	check(out.instructions - bare.instructions <= MOST);
}

static const struct tcase cases[] = {
	CASE(a_switch_is_at_most_15_instructions_beside_vmfunc),
};

TCASE_MAIN(cases, 0)
