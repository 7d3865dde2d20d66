// SPDX-License-Identifier: GPL-2.0-only
/*
 * How many instructions vas_switch() has beside VMFUNC, and the lock of a
 * segment beside vas_switch(), counted by executing them one at a time; that
 * none of them is a system call where the slot is known, and one is where it is
 * not.
 */
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MOST	15
#define FOREVER	1000
/* More than an EPTP list has slots. */
#define MANY	600

static int handle, handles[MANY];

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

/* The code is the same in both: the tracee is a child. */
static bool is_at(pid_t pid, const char *code, size_t length)
{
	return !memcmp((void *)rip(pid), code, length);
}

static bool at_syscall(pid_t pid)
{
	return is_at(pid, "\x0f\x05", 2);
}

static void go_on(pid_t pid, enum __ptrace_request how)
{
	int status;

	check_eq(ptrace(how, pid, NULL, NULL), 0);
	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
}

static void step(pid_t pid)
{
	if (at_syscall(pid)) {
		/* into it and out: Bochs steps into the kernel, which wonders */
		go_on(pid, PTRACE_SYSCALL);
		go_on(pid, PTRACE_SYSCALL);
	} else {
		go_on(pid, PTRACE_SINGLESTEP);
	}
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
		count.instructions++;
		count.vmfuncs += is_at(pid, "\x0f\x01\xd4", 3);
		count.syscalls += at_syscall(pid);
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

/* Attachments that all lose their slots to those that come after them. */
static void tracee_of_many(void)
{
	int vid = tcase_vas_with_seg(BASE, 4096, NULL), i;
	volatile int sum = 0;

	for (i = 0; i < MANY; i++)
		handles[i] = check_id(vas_attach(vid));
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	/* for the first time, when the library learns the slot; then again */
	sum += with_switch(handles[0]);
	sum += with_switch(VAS_HOME);
	sum += with_switch(handles[0]);
	raise(SIGSTOP);
	for (i = 1; i < MANY; i++)
		check_eq(vas_switch(handles[i]), 0);
	raise(SIGSTOP);
	/* visited, and the slot that it had is another's */
	sum += with_switch(handles[0]);
	sum += vas_current() != handles[0];
	sum += with_switch(VAS_HOME);
	_exit(sum != 0);
}

static void stopped(pid_t pid)
{
	int status;

	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
}

static void goes_on(pid_t pid)
{
	check_eq(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
}

static void a_switch_costs_a_system_call_at_first_and_after_an_eviction(void)
{
	struct count never, resident, evicted;
	int status;
	pid_t pid;

	tcase_need(PVVAS_FEATURE_SWITCH);
	pid = fork();
	if (!pid)
		tracee_of_many();
	check(pid > 0);
	stopped(pid);
	never = follow(pid, with_switch);
	check_eq(follow(pid, with_switch).syscalls, 0);
	resident = follow(pid, with_switch);
	goes_on(pid);
	stopped(pid);
	goes_on(pid);
	stopped(pid);
	evicted = follow(pid, with_switch);
	check_eq(follow(pid, with_switch).syscalls, 0);
	goes_on(pid);
	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	tcase_note("never visited %d, resident %d, evicted %d system calls",
		   never.syscalls, resident.syscalls, evicted.syscalls);
	check_eq(never.syscalls, 1);
	check_eq(resident.syscalls, 0);
	check_eq(resident.vmfuncs, 1);
	check_eq(evicted.syscalls, 1);
}

/* More than a switch without locks, on the average of in and out. */
#define MOST_SHARED	60
#define MOST_EXCLUSIVE	100

static int locked_vas(int sid, int prot)
{
	int vid = tcase_vas(NULL, 0600);

	check_eq(seg_attach_prot(vid, sid, prot), 0);
	return check_id(vas_attach(vid));
}

static void tracee_with_locks(void)
{
	int sid = tcase_seg(NULL, BASE, 4096, 0600), vh[3], i;
	volatile int sum = 0;

	vh[0] = locked_vas(sid, PROT_READ);
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
	vh[1] = locked_vas(sid, PROT_READ);
	vh[2] = locked_vas(sid, PROT_READ | PROT_WRITE);
	for (i = 0; i < 3; i++) {
		check_eq(vas_switch(vh[i]), 0);
		check_eq(vas_switch(VAS_HOME), 0);
	}
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	for (i = 0; i < 3; i++) {
		sum += with_switch(vh[i]);
		sum += with_switch(VAS_HOME);
	}
	_exit(sum != 0);
}

/* Shared after exclusive and the other way round, too: one thread, no rival. */
static void an_uncontended_lock_is_60_or_100_instructions_and_no_system_call(void)
{
	static const char *const names[] = { "none", "shared", "exclusive" };
	int status, i, total[3];
	struct count in, out;
	pid_t pid;

	tcase_need(PVVAS_FEATURE_SWITCH);
	pid = fork();
	if (!pid)
		tracee_with_locks();
	check(pid > 0);
	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	for (i = 0; i < 3; i++) {
		in = follow(pid, with_switch);
		out = follow(pid, with_switch);
		total[i] = in.instructions + out.instructions;
		tcase_note("%s: in %d, out %d", names[i], in.instructions,
			   out.instructions);
		check_eq(in.vmfuncs, 1);
		check_eq(out.vmfuncs, 1);
		check_eq(in.syscalls, 0);
		check_eq(out.syscalls, 0);
	}
	check_eq(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	check(total[1] - total[0] <= 2 * MOST_SHARED);
	check(total[2] - total[0] <= 2 * MOST_EXCLUSIVE);
}

static const struct tcase cases[] = {
	CASE(a_switch_is_at_most_15_instructions_beside_vmfunc),
	CASE(a_switch_costs_a_system_call_at_first_and_after_an_eviction),
	CASE(an_uncontended_lock_is_60_or_100_instructions_and_no_system_call),
};

TCASE_MAIN(cases, 0)
