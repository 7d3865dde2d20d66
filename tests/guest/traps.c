// SPDX-License-Identifier: GPL-2.0-only
/*
 * seg_trap(): which accesses a program hears of, what it is told, and what
 * becomes of the signals that do not concern it.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define NEXT	(BASE + 4 * MIB)

static int vid, first, next, vh;

/* Two segments; nothing may be written to the first and the last page of each. */
static void enter(void)
{
	char *p[] = { BASE, BASE + MIB - 4096, NEXT, NEXT + MIB - 4096 };
	int i;

	vid = tcase_vas_with_seg(BASE, MIB, &first);
	next = tcase_seg(NULL, NEXT, MIB, 0600);
	check_eq(seg_attach(vid, next), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	for (i = 0; i < 4; i++)
		check_eq(seg_prot1(i < 2 ? first : next, p[i], PROT_READ), 0);
}

static volatile struct {
	int calls;
	struct seg_fault fault;
	void *arg;
} heard;

static int allow(const struct seg_fault *fault, void *arg)
{
	heard.calls++;
	heard.fault = *fault;
	heard.arg = arg;
	errno = 12345;
	seg_protect(fault->sid, (void *)((uintptr_t)fault->addr & ~4095UL), 1,
		    PROT_READ | PROT_WRITE);
	return SEG_TRAP_RESUME;
}

static int pass(const struct seg_fault *fault, void *arg)
{
	heard.calls++;
	heard.fault = *fault;
	heard.arg = arg;
	return SEG_TRAP_PASS;
}

static void a_refused_access_is_told_in_full(void)
{
	char *last = BASE + MIB - 1;

	enter();
	check_eq(seg_trap(first, allow, &vid), 0);
	errno = 77;
	*(volatile char *)BASE = 1;
	check_eq(errno, 77);
	check_eq(heard.calls, 1);
	check(heard.fault.addr == BASE);
	check_eq(heard.fault.sid, first);
	check_eq(heard.fault.vh, vh);
	check_eq(heard.fault.access, PROT_WRITE);
	check_eq(heard.fault.missing, 0);
	check(heard.fault.context);
	check(heard.arg == &vid);
	*(volatile char *)last = 2;
	check_eq(heard.calls, 2);
	check(heard.fault.addr == last);
	check_eq(*last, 2);
	check_eq(seg_prot1(first, BASE, PROT_NONE), 0);
	check_eq(*(volatile char *)(BASE + 5), 0);
	check_eq(heard.calls, 3);
	check_eq(heard.fault.access, PROT_READ);
	check_eq(heard.fault.missing, 0);
}

static void another_segments_accesses_are_not_told(void)
{
	enter();
	check_eq(tcase_try_write(NEXT).sig, SIGSEGV);
	check_eq(seg_trap(first, pass, NULL), 0);
	check_eq(seg_trap(next, allow, &next), 0);
	*(volatile char *)NEXT = 1;
	check_eq(heard.calls, 1);
	check_eq(heard.fault.sid, next);
	*(volatile char *)(NEXT + MIB - 1) = 1;
	check_eq(heard.calls, 2);
	check_eq(heard.fault.sid, next);
	/* the last trap of a segment is the one that there is */
	check_eq(seg_trap(first, allow, &first), 0);
	*(volatile char *)BASE = 1;
	check_eq(heard.calls, 3);
	check(heard.arg == &first);
	/* one goes, the other stays */
	check_eq(seg_trap(first, NULL, NULL), 0);
	check_eq(seg_trap(first, NULL, NULL), -ENOENT);
	check_eq(seg_prot1(next, NEXT, PROT_READ), 0);
	*(volatile char *)NEXT = 1;
	check_eq(heard.calls, 4);
	check_eq(seg_trap(next, NULL, NULL), 0);
	check_eq(seg_trap(next, NULL, NULL), -ENOENT);
	check_eq(seg_trap(0, allow, NULL), -EINVAL);
	check_eq(seg_trap(-1, NULL, NULL), -EINVAL);
	check_eq(seg_trap(1 << 29, allow, NULL), -ENOENT);
	check_eq(tcase_try_write(BASE + MIB - 1).sig, SIGSEGV);
	check_eq(heard.calls, 4);
}

static void a_missing_page_is_told_as_missing(void)
{
	static char data[4096] = "filled";

	enter();
	check_eq(seg_trap(first, pass, NULL), 0);
	check_eq(seg_pager(first, 1), 0);
	check_eq(tcase_try_read(BASE + 8192).sig, SIGSEGV);
	/* tcase's handler came after ours: it has the signal for itself */
	check_eq(heard.calls, 0);
	check_eq(seg_fill(first, BASE + 8192, data, 4096), 1);
	check(!strcmp(BASE + 8192, "filled"));
}

static sigjmp_buf back;
static int sig_seen;
static void *addr_seen;

static void on_signal_info(int sig, siginfo_t *info, void *context)
{
	sig_seen = context ? sig : 0;
	addr_seen = info->si_addr;
	siglongjmp(back, 1);
}

static void on_signal(int sig)
{
	sig_seen = sig;
	siglongjmp(back, 2);
}

static void set_handler(void (*plain)(int), bool info)
{
	struct sigaction sa = { .sa_handler = plain };

	if (info) {
		sa.sa_sigaction = on_signal_info;
		sa.sa_flags = SA_SIGINFO;
	}
	sa.sa_flags |= SA_NODEFER;
	check_eq(sigaction(SIGSEGV, &sa, NULL), 0);
}

/* Which handler a write there ends in; 0: it succeeds. */
static int write_to(volatile char *p)
{
	int which = sigsetjmp(back, 1);

	if (!which)
		*p = 1;
	return which;
}

static void what_is_passed_on_reaches_the_handler_of_before(void)
{
	enter();
	set_handler(NULL, true);
	check_eq(seg_trap(first, pass, NULL), 0);
	check_eq(write_to(BASE + 16), 1);
	check_eq(heard.calls, 1);
	check_eq(sig_seen, SIGSEGV);
	check(addr_seen == BASE + 16);
	/* of no segment that has a trap, and of no segment at all */
	check_eq(write_to(NEXT), 1);
	check(addr_seen == NEXT);
	check_eq(write_to((char *)32), 1);
	check(addr_seen == (char *)32);
	check_eq(heard.calls, 1);
	/* sent, not raised by an access: an address in it means nothing */
	if (!sigsetjmp(back, 1))
		raise(SIGSEGV);
	check_eq(heard.calls, 1);
	check_eq(sig_seen, SIGSEGV);
	check_eq(seg_pager(first, 1), 0);
	check_eq(write_to(BASE + 12288), 1);
	check_eq(heard.calls, 2);
	check_eq(heard.fault.missing, 1);
	check_eq(heard.fault.access, PROT_WRITE);
	check_eq(seg_trap(first, NULL, NULL), 0);
	check_eq(write_to(BASE + 12288), 1);
	check_eq(heard.calls, 2);
}

/* A trap gives no right that the attachment has not. */
static void what_is_attached_read_only_stays_so_with_a_trap(void)
{
	int ids[4], i;

	enter();
	set_handler(NULL, true);
	for (i = 0; i < 4; i++) {
		char *at = BASE + (4 + i) * 4 * MIB;

		ids[i] = tcase_seg(NULL, at, MIB, 0600);
		check_eq(seg_attach_prot(vid, ids[i], PROT_READ), 0);
		check_eq(seg_trap(ids[i], pass, NULL), 0);
		check_eq(write_to(at), 1);
		check_eq(heard.fault.sid, ids[i]);
		check_eq(*(volatile char *)at, 0);
	}
	check_eq(heard.calls, 4);
}

static void a_plain_handler_of_before_is_called_too(void)
{
	struct sigaction now;

	enter();
	set_handler(on_signal, false);
	check_eq(seg_trap(first, pass, NULL), 0);
	check_eq(write_to(BASE), 2);
	check_eq(heard.calls, 1);
	check_eq(sig_seen, SIGSEGV);
	/* and is there again when the last trap has gone */
	check_eq(seg_trap(first, NULL, NULL), 0);
	check_eq(sigaction(SIGSEGV, NULL, &now), 0);
	check(now.sa_handler == on_signal && !(now.sa_flags & SA_SIGINFO));
}

static void a_handler_that_came_later_stays(void)
{
	struct sigaction now;

	enter();
	check_eq(seg_trap(first, pass, NULL), 0);
	set_handler(NULL, true);
	check_eq(seg_trap(first, NULL, NULL), 0);
	check_eq(sigaction(SIGSEGV, NULL, &now), 0);
	check(now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_signal_info);
	set_handler(on_signal, false);
	check_eq(seg_trap(first, pass, NULL), 0);
	check_eq(seg_trap(first, NULL, NULL), 0);
	check_eq(sigaction(SIGSEGV, NULL, &now), 0);
	check(now.sa_handler == on_signal);
}

static void die_of_it(void *arg)
{
	void (*before)(int) = *(void (**)(int))arg;

	enter();
	signal(SIGSEGV, before);
	check_eq(seg_trap(first, pass, NULL), 0);
	*(volatile char *)BASE = 1;
}

static void die_of_one_that_is_sent(void *arg)
{
	(void)arg;
	enter();
	check_eq(seg_trap(first, allow, NULL), 0);
	raise(SIGSEGV);
	pause();
}

static void with_no_handler_before_the_process_dies_of_it(void)
{
	void (*before[])(int) = { SIG_DFL, SIG_IGN };
	int i;

	for (i = 0; i < 2; i++)
		tcase_join_killed(tcase_spawn(die_of_it, &before[i]), SIGSEGV);
	tcase_join_killed(tcase_spawn(die_of_one_that_is_sent, NULL), SIGSEGV);
}

/* The function of one trap may touch what another trap is for. */
static int touch_the_other(const struct seg_fault *fault, void *arg)
{
	*(volatile char *)NEXT = 1;
	return allow(fault, arg);
}

static void a_trap_may_run_into_another(void)
{
	enter();
	check_eq(seg_trap(next, allow, NULL), 0);
	check_eq(seg_trap(first, touch_the_other, NULL), 0);
	*(volatile char *)BASE = 1;
	check_eq(heard.calls, 2);
	check_eq(heard.fault.sid, first);
}

static void in_the_child(void *arg)
{
	struct sigaction now;
	int handle;

	(void)arg;
	check_eq(sigaction(SIGSEGV, NULL, &now), 0);
	check(now.sa_handler == on_signal && !(now.sa_flags & SA_SIGINFO));
	check_eq(seg_trap(first, NULL, NULL), -ENOENT);
	handle = check_id(vas_attach(vid));
	check_eq(vas_switch(handle), 0);
	check_eq(write_to(BASE), 2);
	check_eq(heard.calls, 0);
	check_eq(seg_trap(first, allow, NULL), 0);
	check_eq(write_to(BASE), 0);
	check_eq(heard.calls, 1);
	check_eq(heard.fault.vh, handle);
}

static void a_child_has_no_traps_and_the_handler_of_before(void)
{
	enter();
	set_handler(on_signal, false);
	check_eq(seg_trap(first, allow, NULL), 0);
	check_eq(seg_trap(next, allow, NULL), 0);
	tcase_join(tcase_spawn(in_the_child, NULL));
	/* the parent's are as they were */
	heard.calls = 0;
	check_eq(seg_prot1(first, BASE, PROT_READ), 0);
	check_eq(write_to(BASE), 0);
	check_eq(heard.calls, 1);
}

#define TRAPS	100

static void traps_that_are_set_again_take_no_more_memory(void)
{
	long before = 0;
	int sids[TRAPS], i;

	for (i = 0; i < TRAPS; i++)
		sids[i] = tcase_seg(NULL, NULL, 4096, 0600);
	for (i = 0; i < 100 * TRAPS; i++) {
		if (i == 2 * TRAPS)
			before = tcase_number("/proc/self/status", "VmRSS:");
		check_eq(seg_trap(sids[i % TRAPS], i % 7 ? pass : allow, NULL),
			 0);
	}
	check(tcase_number("/proc/self/status", "VmRSS:") - before < 2048);
	for (i = 0; i < TRAPS; i++)
		check_eq(seg_trap(sids[i], NULL, NULL), 0);
}

static void a_trap_hears_of_refused_accesses_and_resumes(void)
{
	void (*old)(int sig);

	enter();
	check_eq(seg_protect(first, BASE, 4 * PAGE, PROT_READ | PROT_WRITE), 0);
	memset(BASE, 3, 4 * PAGE);
	old = signal(SIGSEGV, SIG_DFL);
	check_eq(seg_trap(first, allow, NULL), 0);
	check_eq(seg_protect(first, BASE, 4 * PAGE, PROT_NONE), 0);
	check_eq(*(volatile char *)(BASE + 17), 3);
	check_eq(heard.calls, 1);
	check(heard.fault.addr == BASE + 17);
	check_eq(heard.fault.access, PROT_READ);
	*(volatile char *)(BASE + PAGE + 3) = 4;
	check_eq(heard.calls, 2);
	check(heard.fault.addr == BASE + PAGE + 3);
	check_eq(heard.fault.access, PROT_WRITE);
	*(volatile char *)(BASE + PAGE + 3) = 5;
	check_eq(heard.calls, 2);
	check_eq(vas_current(), vh);
	check_eq(seg_trap(first, NULL, NULL), 0);
	check(signal(SIGSEGV, old) == SIG_DFL);
	check_eq(tcase_try_write(BASE + 2 * PAGE).sig, SIGSEGV);
	check_eq(heard.calls, 2);
}

static const struct tcase cases[] = {
	CASE(a_trap_hears_of_refused_accesses_and_resumes),
	CASE(a_refused_access_is_told_in_full),
	CASE(another_segments_accesses_are_not_told),
	CASE(a_missing_page_is_told_as_missing),
	CASE(what_is_passed_on_reaches_the_handler_of_before),
	CASE(what_is_attached_read_only_stays_so_with_a_trap),
	CASE(a_plain_handler_of_before_is_called_too),
	CASE(a_handler_that_came_later_stays),
	CASE(with_no_handler_before_the_process_dies_of_it),
	CASE(a_trap_may_run_into_another),
	CASE(traps_that_are_set_again_take_no_more_memory),
	CASE(a_child_has_no_traps_and_the_handler_of_before),
};

TCASE_MAIN(cases, 0)
