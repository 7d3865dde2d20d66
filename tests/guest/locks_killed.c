// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes that are killed at any instruction of taking and releasing the lock
 * of a segment.
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

/*
 * At any instruction: a tracee switches in, changes the data and switches out
 * again, and is killed after so many steps.
 */
static int tracee_vh;
static bool tracee_writes;

__attribute__((noipa)) static void one_round(void)
{
	if (!vas_switch(tracee_vh) && tracee_writes)
		change();
	vas_switch(VAS_HOME);
}

static void tracee(void *arg)
{
	int vid = *(int *)arg;

	tracee_vh = check_id(vas_attach(vid));
	one_round();
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	one_round();
	_exit(0);
}

static bool at(pid_t pid, const void *code, const char *bytes, size_t n)
{
	struct user_regs_struct regs;

	check_eq(ptrace(PTRACE_GETREGS, pid, NULL, &regs), 0);
	return code ? regs.rip == (unsigned long)code :
		      !memcmp((void *)regs.rip, bytes, n);
}

/* One instruction, or one system call. */
static void step(pid_t pid)
{
	bool call = at(pid, NULL, "\x0f\x05", 2);
	int status, i;

	for (i = 0; i < 1 + call; i++) {
		ptrace(call ? PTRACE_SYSCALL : PTRACE_SINGLESTEP, pid, NULL,
		       NULL);
		check_eq(waitpid(pid, &status, 0), pid);
		check(WIFSTOPPED(status));
	}
}

/* At most @max steps from the beginning of one_round() to its end; how many. */
static int run_and_kill(int vid, int max)
{
	struct user_regs_struct regs;
	pid_t pid = fork();
	int status, n = 0;
	void *back;

	check(pid >= 0);
	if (!pid)
		tracee(&vid);
	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	while (!at(pid, one_round, NULL, 0))
		step(pid);
	check_eq(ptrace(PTRACE_GETREGS, pid, NULL, &regs), 0);
	back = (void *)ptrace(PTRACE_PEEKDATA, pid, regs.rsp, NULL);
	for (; n < max && !at(pid, back, NULL, 0); n++)
		step(pid);
	check_eq(kill(pid, SIGKILL), 0);
	check_eq(waitpid(pid, &status, 0), pid);
	return n;
}

static void dies_anywhere(struct stage *s, int vid, bool writer)
{
	int vh = check_id(vas_attach(s->vid)), last, n, told = 0;

	tracee_writes = writer;
	last = run_and_kill(vid, 1 << 20);
	for (n = 0; n <= last; n++) {
		run_and_kill(vid, n);
		if (enter_and_repair(s, vh))
			told++;
		check_eq(vas_switch(VAS_HOME), 0);
		check_eq(vas_switch_try(vh), 0);
		check_eq(vas_switch(VAS_HOME), 0);
	}
	tcase_note("%d steps, killed after each: %d told", last, told);
	check(writer ? told > 0 : !told);
}

static void a_writer_may_die_at_any_instruction(void)
{
	struct stage *s = new_stage();

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	dies_anywhere(s, s->vid, true);
}

static void a_reader_may_die_at_any_instruction(void)
{
	struct stage *s = new_stage();

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	dies_anywhere(s, s->read_vid, false);
}

/* In the storm no process hangs, and no death in the middle of a change is missed. */
static void come_and_go(void *arg)
{
	struct stage *s = arg;
	int w = check_id(vas_attach(s->vid));
	int r = check_id(vas_attach(s->read_vid));
	int i, err;

	for (i = getpid();; i++) {
		if (i % 3) {
			enter_and_repair(s, w);
			change();
		} else {
			err = vas_switch_timed(r, LIMIT);
			check(err == -EOWNERDEAD ||
			      (!err && PAIR->a == PAIR->b));
		}
		if (i % 4)
			check_eq(vas_switch(VAS_HOME), 0);
		atomic_fetch_add(&s->inside, 1);
	}
}

#define STORM	6

static void a_storm_of_deaths_is_survived(void)
{
	struct stage *s = new_stage();
	pid_t pids[STORM];
	int i, n, vh = check_id(vas_attach(s->vid));

	for (i = 0; i < STORM; i++)
		pids[i] = tcase_spawn(come_and_go, s);
	for (n = 0; n < 150; n++) {
		usleep((useconds_t)(1000 + n * 7919 % 9000));
		i = n % STORM;
		check_eq(kill(pids[i], SIGKILL), 0);
		tcase_join_killed(pids[i], SIGKILL);
		pids[i] = tcase_spawn(come_and_go, s);
	}
	n = atomic_load(&s->inside);
	reach(&s->inside, n + 10);
	for (i = 0; i < STORM; i++) {
		check_eq(kill(pids[i], SIGKILL), 0);
		tcase_join_killed(pids[i], SIGKILL);
	}
	enter_and_repair(s, vh);
	check_eq(vas_switch(VAS_HOME), 0);
	check(!enter_and_repair(s, vh));
	check_eq(vas_switch(VAS_HOME), 0);
	tcase_note("%d visits, %d deaths told", atomic_load(&s->inside),
		   atomic_load(&s->died));
}

static const struct tcase cases[] = {
	CASE_SECONDS(a_writer_may_die_at_any_instruction, 300),
	CASE_SECONDS(a_reader_may_die_at_any_instruction, 300),
	CASE_SECONDS(a_storm_of_deaths_is_survived, 120),
};

TCASE_MAIN(cases, 0)
