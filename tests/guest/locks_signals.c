// SPDX-License-Identifier: GPL-2.0-only
/*
 * Handlers of signals that switch, in the middle of a switch that takes or
 * releases locks; and switches that fail there.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "locks.h"
#include "tcase.h"

#define FREE	((volatile long *)((char *)PAIR + 8 * MIB))
#define HANDLES	32

/* A VAS without locks: the first switch to a handle of it asks the library. */
static int free_vid;
static int handles[HANDLES];
static int next_handle;
static atomic_int *handled;

static void make_free(void)
{
	int i;

	free_vid = tcase_vas_with_seg((void *)FREE, MIB, NULL);
	for (i = 0; i < HANDLES; i++)
		handles[i] = check_id(vas_attach(free_vid));
	handled = tcase_shared(sizeof(*handled));
}

/* In place of those that inline switches go to by now. */
static void renew_free(void)
{
	while (next_handle) {
		next_handle--;
		check_eq(vas_detach(handles[next_handle]), 0);
		handles[next_handle] = check_id(vas_attach(free_vid));
	}
}

static void go_there_and_back(int sig)
{
	int here = vas_current();

	(void)sig;
	if (here == VAS_HOME) {
		if (vas_switch(VAS_HOME) || next_handle == HANDLES ||
		    vas_switch(handles[next_handle++]))
			_exit(2);
		++*FREE;
		if (vas_switch(here) || vas_current() != here)
			_exit(3);
	}
	atomic_fetch_add(handled, 1);
}

static void hold_until_told(void *arg)
{
	struct stage *s = arg;

	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	atomic_fetch_add(&s->inside, 1);
	while (!atomic_load(&s->leave))
		usleep(1000);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void is_busy(void *arg)
{
	struct stage *s = arg;

	check_eq(vas_switch_try(check_id(vas_attach(s->vid))), -EBUSY);
}

static void is_free(void *arg)
{
	struct stage *s = arg;

	check_eq(vas_switch_try(check_id(vas_attach(s->vid))), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

/* From @from, where signals come while it waits; then it has the lock. */
static void wait_through_signals(struct stage *s, int from, void (*handler)(int))
{
	int vh = check_id(vas_attach(s->vid)), i;
	pid_t owner = tcase_spawn(hold_until_told, s), other;
	pid_t waiter = getpid();

	reach(&s->inside, 1);
	check(signal(SIGUSR1, handler) != SIG_ERR);
	other = fork();
	check(other >= 0);
	if (!other) {
		for (i = 0; i < 10; i++) {
			usleep(20000);
			kill(waiter, SIGUSR1);
		}
		reach(handled, 5);
		atomic_store(&s->leave, true);
		_exit(0);
	}
	check_eq(vas_switch(from), 0);
	check_eq(vas_switch_timed(vh, LIMIT), 0);
	check_eq(vas_current(), vh);
	change();
	check_eq(PAIR->a, PAIR->b);
	tcase_run(is_busy, s);
	check_eq(vas_switch(VAS_HOME), 0);
	tcase_run(is_free, s);
	tcase_join(owner);
	tcase_join(other);
	signal(SIGUSR1, SIG_DFL);
}

static void a_handler_may_switch_while_its_thread_waits_for_a_lock(void)
{
	struct stage *s = new_stage(), *with = new_stage();

	make_free();
	wait_through_signals(s, VAS_HOME, go_there_and_back);
	/* and where the thread came with a lock that it has given back */
	atomic_store(&s->inside, 0);
	atomic_store(&s->leave, false);
	atomic_store(handled, 0);
	wait_through_signals(s, check_id(vas_attach(with->vid)),
			     go_there_and_back);
	tcase_run(is_free, with);
}

static int another;

static void take_another(int sig)
{
	(void)sig;
	if (vas_current() != VAS_HOME)
		return;
	if (vas_switch(another) != -EDEADLK ||
	    vas_switch_try(another) != -EDEADLK ||
	    vas_current() != VAS_HOME)
		_exit(4);
	atomic_fetch_add(handled, 1);
}

static void a_handler_takes_no_locks_while_its_thread_does(void)
{
	struct stage *s = new_stage(), *with = new_stage();

	make_free();
	another = check_id(vas_attach(with->vid));
	check_eq(vas_switch(another), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	wait_through_signals(s, VAS_HOME, take_another);
	check_eq(vas_switch(another), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

/*
 * At any instruction.  The tracee stops before it enters, when it is in, and when
 * it is home again.
 */
static int tracee_vh;

__attribute__((noipa)) static void enter(void)
{
	check_eq(vas_switch(tracee_vh), 0);
}

__attribute__((noipa)) static void leave(void)
{
	check_eq(vas_switch(VAS_HOME), 0);
}

static void tracee(void *arg)
{
	tracee_vh = check_id(vas_attach(*(int *)arg));
	signal(SIGUSR1, go_there_and_back);
	enter();
	leave();
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	for (;;) {
		renew_free();
		raise(SIGSTOP);
		enter();
		check_eq(vas_current(), tracee_vh);
		raise(SIGSTOP);
		leave();
		check_eq(vas_current(), VAS_HOME);
	}
}

static unsigned long rip(pid_t pid)
{
	struct user_regs_struct regs;

	check_eq(ptrace(PTRACE_GETREGS, pid, NULL, &regs), 0);
	return regs.rip;
}

static void step(pid_t pid)
{
	bool call = !memcmp((void *)rip(pid), "\x0f\x05", 2);
	int status, i;

	for (i = 0; i < 1 + call; i++) {
		ptrace(call ? PTRACE_SYSCALL : PTRACE_SINGLESTEP, pid, NULL,
		       NULL);
		check_eq(waitpid(pid, &status, 0), pid);
		check(WIFSTOPPED(status));
	}
}

static void stops(pid_t pid)
{
	int status;

	check_eq(waitpid(pid, &status, 0), pid);
	/* a signal for a thread that stops at a system call comes by its tracer */
	if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGUSR1) {
		check_eq(ptrace(PTRACE_CONT, pid, NULL, SIGUSR1), 0);
		check_eq(waitpid(pid, &status, 0), pid);
	}
	if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGSTOP)
		tcase_fail(__FILE__, __LINE__, "status %x", status);
}

/* The signal comes after @n steps in @where; false: the function has ended. */
static bool signal_after(pid_t pid, void (*where)(void), int n)
{
	struct user_regs_struct regs;
	unsigned long back;
	bool more = true;
	int i;

	while (rip(pid) != (unsigned long)where)
		step(pid);
	check_eq(ptrace(PTRACE_GETREGS, pid, NULL, &regs), 0);
	back = (unsigned long)ptrace(PTRACE_PEEKDATA, pid, regs.rsp, NULL);
	for (i = 0; i < n && more; i++) {
		step(pid);
		more = rip(pid) != back;
	}
	check_eq(ptrace(PTRACE_CONT, pid, NULL, more ? SIGUSR1 : 0), 0);
	stops(pid);
	return more;
}

static void switches_anywhere(struct stage *s, int vid)
{
	int vh, n;
	bool more = true;
	pid_t pid;

	make_free();
	pid = fork();
	check(pid >= 0);
	if (!pid) {
		make_free();
		tracee(&vid);
	}
	vh = check_id(vas_attach(s->vid));
	stops(pid);
	for (n = 0; more; n++) {
		more = signal_after(pid, enter, n);
		check_eq(vas_switch_try(vh), -EBUSY);
		more |= signal_after(pid, leave, n);
		check_eq(vas_switch_try(vh), 0);
		check_eq(vas_switch(VAS_HOME), 0);
	}
	tcase_note("%d steps, a handler switched after each", n);
	check_eq(kill(pid, SIGKILL), 0);
	check_eq(waitpid(pid, NULL, 0), pid);
}

static void a_handler_may_switch_at_any_instruction_of_a_writers(void)
{
	struct stage *s = new_stage();

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	switches_anywhere(s, s->vid);
}

/* The same index, and another generation. */
static int no_handle_like(int vh)
{
	return vh ^ 1 << 17;
}

static void refused_from(int here, int vh)
{
	check_eq(vas_switch(here), 0);
	check_eq(vas_switch(no_handle_like(vh)), -EINVAL);
	check_eq(vas_current(), here);
	check_eq(vas_switch_try(no_handle_like(vh)), -EINVAL);
	check_eq(vas_current(), here);
}

static void what_is_no_handle_moves_nobody_and_releases_nothing(void)
{
	struct stage *s = new_stage(), *other = new_stage();
	int vh = check_id(vas_attach(s->vid)), i;
	int like = check_id(vas_attach(other->vid));
	int free_vh[2];

	free_vid = tcase_vas_with_seg((void *)FREE, MIB, NULL);
	for (i = 0; i < 2; i++) {
		free_vh[i] = check_id(vas_attach(free_vid));
		check_eq(vas_switch(free_vh[i]), 0);
	}
	check_eq(vas_switch(like), 0);
	for (i = 0; i < 2; i++) {
		refused_from(VAS_HOME, like);
		refused_from(VAS_HOME, free_vh[1]);
		refused_from(free_vh[0], like);
		refused_from(free_vh[0], free_vh[1]);
		refused_from(vh, like);
		tcase_run(is_busy, s);
		refused_from(vh, free_vh[1]);
		tcase_run(is_busy, s);
	}
	check_eq(vas_switch(VAS_HOME), 0);
	tcase_run(is_free, s);
	tcase_run(is_free, other);
}

static const struct tcase cases[] = {
	CASE(a_handler_may_switch_while_its_thread_waits_for_a_lock),
	CASE(a_handler_takes_no_locks_while_its_thread_does),
	CASE_SECONDS(a_handler_may_switch_at_any_instruction_of_a_writers, 300),
	CASE(what_is_no_handle_moves_nobody_and_releases_nothing),
};

TCASE_MAIN(cases, 0)
