// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes that say of the locks of segments what is not so, and what becomes
 * of those that share a lock with them, or a machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "locks/attacker.h"
#include "patience.h"
#include "tcase.h"

/* The victim goes in and out, as it ever did. */
static void works(int vh)
{
	check_eq(vas_switch_timed(vh, LIMIT), 0);
	BASE[0]++;
	check_eq(vas_switch(VAS_HOME), 0);
}

/* Wait to write as long as it takes; @step: 1 + the error. */
static void wait_to_write(void *arg)
{
	struct stage *s = arg;
	int vh = check_id(vas_attach(s->vid)), err;

	atomic_store(&s->ready, 1);
	err = vas_switch_timed(vh, LIMIT);
	atomic_store(&s->step, 1 - err);
	if (err == -EOWNERDEAD)
		check_eq(seg_ctl(s->sid, SEG_CTL_CONSISTENT), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

/* Hold it in every element but the one that is the lock's. */
static void hold_elsewhere(void *arg)
{
	struct stage *s = arg;
	struct attacker a = reader(s);
	size_t i;

	/* the word says from now on that threads may hold it shared */
	check_eq(call_lock(&a, PVVAS_IOC_LOCK_TAKE, 0), 0);
	for (i = 1; i < 4 * PAGE / 4; i++)
		a.array[i] = a.open.lock;
	a.array[0] = 0;
	check(*a.word & PVVAS_LOCK_READERS);
	atomic_store(&s->ready, 1);
	for (;;)
		pause();
}

/* A look at each thread: the writer is not made to search. */
static void a_hold_counts_in_its_own_element_alone(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid));
	pid_t pid = tcase_spawn(hold_elsewhere, s);

	reach(&s->ready, 1);
	check_eq(vas_switch_try(vh), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
}

/* With the owner's number, or any word, whenever a thread looks. */
static void keep_writing(void *arg)
{
	struct stage *s = arg;
	struct attacker a = attack(s, s->vid);
	uint32_t n;

	*a.word = a.thread.number;
	atomic_store(&s->ready, 1);
	reach(&s->step, 1);
	for (n = 0;; n++)
		*a.word = n % 2 ? 0 : PVVAS_LOCK_READERS;
}

static void stay_inside(void *arg)
{
	struct stage *s = arg;
	int vh = check_id(vas_attach(s->vid)), err;

	err = vas_switch_timed(vh, LIMIT);
	atomic_store(&s->ready, err ? -1 : 2);
	for (;;)
		pause();
}

static void made_lockable_again_a_segment_is_rid_of_a_former_writer(void)
{
	struct stage *s = new_stage();
	int before[2] = { check_id(vas_attach(s->vid)),
			  check_id(vas_attach(s->read_vid)) };
	int vid = tcase_vas(NULL, 0600), shared, i;
	pid_t liar, inside;

	check_eq(seg_attach_prot(vid, s->sid, PROT_READ), 0);
	shared = check_id(vas_attach(vid));
	works(before[0]);
	check_eq(vas_switch(shared), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	liar = tcase_spawn(keep_writing, s);
	reach(&s->ready, 1);
	check_eq(vas_switch_timed(before[0], 10), -ETIMEDOUT);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_RESET), -EBUSY);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_OFF), 0);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_ON), 0);
	atomic_store(&s->step, 1);
	/* processes that attached it before and after lock the same */
	for (i = 0; i < 100; i++)
		works(before[i % 2]);
	inside = tcase_spawn(stay_inside, s);
	reach(&s->ready, 2);
	for (i = 0; i < 100; i++) {
		check_eq(vas_switch_try(before[i % 2]), -EBUSY);
		check_eq(vas_switch_try(shared), -EBUSY);
	}
	check_eq(kill(inside, SIGKILL), 0);
	tcase_join_killed(inside, SIGKILL);
	check_eq(vas_switch_timed(shared, LIMIT), -EOWNERDEAD);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(kill(liar, SIGKILL), 0);
	tcase_join_killed(liar, SIGKILL);
}

/* On the old lock, whose word has the number of a thread that lives. */
static void move_a_waiter(void *arg)
{
	struct stage *s = arg;
	struct attacker a = attack(s, s->vid);
	pid_t pid;
	long begin;

	atomic_store(&s->step, 0);
	*a.word = a.thread.number;
	pid = tcase_spawn(wait_to_write, s);
	wait_for_waiters(a.word);
	check_eq(atomic_load(&s->step), 0);
	begin = now_ms();
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_OFF), 0);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_ON), 0);
	reach(&s->step, 1);
	s->number = (uint32_t)(now_ms() - begin);
	check_eq(atomic_load(&s->step), 1);
	tcase_join(pid);
	check_eq(call_lock(&a, PVVAS_IOC_LOCK_TAKE, 0), -ESTALE);
}

/* Told at once, that is, and not found by looking once a second. */
static void who_waits_goes_to_the_new_lock(void)
{
	struct stage *s = new_stage();
	uint32_t least = LIMIT;
	int i;

	for (i = 0; i < 5; i++) {
		tcase_join(tcase_spawn(move_a_waiter, s));
		if (s->number < least)
			least = s->number;
	}
	tcase_note("after %u ms", least);
	check(least < 500);
}

/* Of a process that has never seen the lock. */
static void get_a_number(void *arg)
{
	struct pvvas_ioc_lock_thread me = { .size = sizeof(me) };
	struct attacker a = { .dev = open("/dev/pvvas", O_RDWR) };
	struct stage *s = arg;

	check_id(vas_attach(tcase_vas(NULL, 0600)));
	check_eq(call(&a, PVVAS_IOC_LOCK_THREAD, &me), 0);
	s->number = me.number;
	atomic_store(&s->ready, 1);
	for (;;)
		pause();
}

static void the_number_of_a_stranger_holds_until_its_death(void)
{
	struct stage *s = new_stage();
	struct attacker a = attack(s, s->vid);
	pid_t stranger = tcase_spawn(get_a_number, s), waiter;
	long begin;

	reach(&s->ready, 1);
	*a.word = s->number;
	waiter = tcase_spawn(wait_to_write, s);
	wait_for_waiters(a.word);
	check_eq(atomic_load(&s->step), 0);
	check_eq(kill(stranger, SIGKILL), 0);
	tcase_join_killed(stranger, SIGKILL);
	begin = now_ms();
	reach(&s->step, 1);
	check_eq(atomic_load(&s->step), 1 + EOWNERDEAD);
	check(now_ms() - begin < LIMIT / 2);
	tcase_join(waiter);
}

/* Shares the memory, takes the lock, and becomes another program. */
static char stack[65536];
static struct attacker in_clone;

static int take_and_exec(void *arg)
{
	struct attacker *a = arg;

	check_eq(call(a, PVVAS_IOC_LOCK_THREAD, &a->thread), 0);
	check_eq(call_lock(a, PVVAS_IOC_LOCK_TAKE, PVVAS_LOCK_EXCLUSIVE), 0);
	execl("/proc/self/exe", "wait", (char *)NULL);
	_exit(1);
}

static void who_shares_the_memory_and_executes_a_program_holds_nothing(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid));
	pid_t pid;

	in_clone = attack(s, s->vid);
	in_clone.thread = (struct pvvas_ioc_lock_thread){
		.size = sizeof(in_clone.thread),
	};
	pid = clone(take_and_exec, stack + sizeof(stack),
		    CLONE_VM | CLONE_VFORK | SIGCHLD, &in_clone);
	check(pid > 0);
	check_eq(vas_switch_timed(vh, 5000), -EOWNERDEAD);
	check_eq(seg_ctl(s->sid, SEG_CTL_CONSISTENT), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(kill(pid, SIGKILL), 0);
	check_eq(waitpid(pid, NULL, 0), pid);
	works(vh);
}

/* How often a process has gone to sleep. */
static long sleeps(pid_t pid)
{
	static const char name[] = "voluntary_ctxt_switches:";
	char path[64], line[256];
	long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	check(f);
	while (n < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, sizeof(name) - 1))
			n = strtol(line + sizeof(name) - 1, NULL, 10);
	fclose(f);
	check(n >= 0);
	return n;
}

#define CALLS	500

static void a_reader_that_stays_in_wakes_no_writer(void)
{
	struct stage *s = new_stage();
	struct attacker a = attack(s, s->read_vid);
	pid_t pid;
	long before, after, begin;
	int i;

	check_eq(call_lock(&a, PVVAS_IOC_LOCK_TAKE, 0), 0);
	pid = tcase_spawn(wait_to_write, s);
	wait_for_waiters(a.word);
	before = sleeps(pid);
	begin = now_ms();
	for (i = 0; i < CALLS; i++) {
		check_eq(call_lock(&a, PVVAS_IOC_LOCK_RELEASE, 0), 0);
		check_eq(call_lock(&a, PVVAS_IOC_LOCK_TAKE, PVVAS_LOCK_TRY),
			 -EBUSY);
		/* it holds it all the time */
		a.array[0] = a.open.lock;
		sched_yield();
	}
	after = sleeps(pid);
	tcase_note("%ld wake-ups", after - before);
	/* it looks by itself, once a second */
	check(after - before <= 2 + (now_ms() - begin) / 500);
	a.array[0] = 0;
	check_eq(call_lock(&a, PVVAS_IOC_LOCK_RELEASE, 0), 0);
	reach(&s->step, 1);
	check_eq(atomic_load(&s->step), 1);
	tcase_join(pid);
}

/*
 * A process that keeps the lock of a segment of its own busy: one thread writes
 * to the word all the time, and another one, which gets what CPU time is left,
 * asks for the lock; and threads end.
 */
static struct hammer {
	struct attacker a;
	atomic_int ready;
} hammer;

static void *toggles(void *arg)
{
	uint32_t n;

	(void)arg;
	tcase_pin(tcase_nr_cpus() - 1);
	for (n = 0;; n++)
		*hammer.a.word = PVVAS_LOCK_READERS | (n & PVVAS_LOCK_OWNER);
	return NULL;
}

static void *hogs(void *arg)
{
	volatile unsigned long n = 0;

	(void)arg;
	tcase_pin(0);
	for (;;)
		n++;
	return NULL;
}

static void be_a_holder(void)
{
	struct pvvas_ioc_lock_thread me = { .size = sizeof(me) };

	check_eq(call(&hammer.a, PVVAS_IOC_LOCK_THREAD, &me), 0);
}

static void *takes(void *arg)
{
	const struct sched_param none = { 0 };

	(void)arg;
	be_a_holder();
	map_array(&hammer.a, PVVAS_HOLDS_MAX);
	atomic_store(&hammer.ready, 1);
	tcase_pin(0);
	check_eq(sched_setscheduler(0, SCHED_IDLE, &none), 0);
	for (;;)
		call_lock(&hammer.a, PVVAS_IOC_LOCK_TAKE,
			  PVVAS_LOCK_EXCLUSIVE | PVVAS_LOCK_TRY);
	return NULL;
}

static void *ends(void *arg)
{
	(void)arg;
	be_a_holder();
	return NULL;
}

static pthread_t start(void *(*fn)(void *arg))
{
	pthread_t thread;

	check_eq(pthread_create(&thread, NULL, fn, NULL), 0);
	return thread;
}

static void keep_busy(void *arg)
{
	struct stage *s = arg, own;

	become_nobody();
	own.sid = check_id(seg_alloc(NULL, (char *)BASE + 64 * MIB, MIB, 0600));
	check_eq(seg_ctl(own.sid, SEG_CTL_LOCK_ON), 0);
	own.vid = check_id(vas_create(NULL, 0600));
	check_eq(seg_attach(own.vid, own.sid), 0);
	hammer.a = attack(&own, own.vid);
	start(takes);
	reach(&hammer.ready, 1);
	start(toggles);
	start(hogs);
	for (;;) {
		check_eq(pthread_join(start(ends), NULL), 0);
		atomic_fetch_add(&s->ready, 1);
		usleep(2000);
	}
}

static void ask_for_numbers(void *arg)
{
	struct pvvas_ioc_stats stats = { .size = sizeof(stats) };
	struct attacker a = { .dev = open("/dev/pvvas", O_RDWR) };
	struct stage *s = arg;

	check_eq(call(&a, PVVAS_IOC_STATS, &stats), 0);
	atomic_store(&s->step, 1);
}

static void a_lock_that_is_kept_busy_keeps_nobody_else_from_numbers(void)
{
	struct stage *s = tcase_shared(sizeof(*s));
	pid_t pid = tcase_spawn(keep_busy, s), other;

	reach(&s->ready, 20);
	other = tcase_spawn(ask_for_numbers, s);
	reach(&s->step, 1);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
	tcase_join(other);
}

/* A thread dies with the lock while another one waits for it. */
struct pair {
	struct stage *s;
	int vh;
	const volatile uint32_t *word;
	atomic_int inside;
	atomic_long died;
};

static void *die_inside(void *arg)
{
	struct pair *p = arg;

	check_eq(vas_switch_timed(p->vh, LIMIT), 0);
	atomic_store(&p->inside, 1);
	wait_for_waiters(p->word);
	atomic_store(&p->died, now_ms());
	return NULL;
}

static long ms_until_told(struct pair *p)
{
	pthread_t thread;
	long told;

	atomic_store(&p->inside, 0);
	check_eq(pthread_create(&thread, NULL, die_inside, p), 0);
	reach(&p->inside, 1);
	check_eq(vas_switch_timed(p->vh, LIMIT), -EOWNERDEAD);
	told = now_ms();
	check_eq(seg_ctl(p->s->sid, SEG_CTL_CONSISTENT), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(pthread_join(thread, NULL), 0);
	return told - atomic_load(&p->died);
}

/* Told by the driver, that is, and not found by looking once a second. */
static void a_death_is_told_beside_a_lock_that_is_kept_busy(void)
{
	struct stage *s = new_stage();
	struct attacker a = attack(s, s->vid);
	struct pair p = { .s = s, .vh = a.vh, .word = a.word };
	pid_t pid = tcase_spawn(keep_busy, s);
	long least = LIMIT, ms;
	int i;

	reach(&s->ready, 20);
	for (i = 0; i < 5; i++) {
		ms = ms_until_told(&p);
		if (ms < least)
			least = ms;
	}
	tcase_note("told after %ld ms", least);
	check(least < 500);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
}

/* Threads end in so many processes that one worker would always be busy. */
#define PROCESSES	150

static void *returns(void *arg)
{
	return arg;
}

static void lose_threads(void *arg)
{
	struct stage *s = arg;

	check_id(vas_attach(tcase_vas(NULL, 0600)));
	atomic_fetch_add(&s->ready, 1);
	for (;;) {
		check_eq(pthread_join(start(returns), NULL), 0);
		usleep(300000);
	}
}

static void deaths_in_many_processes_hold_up_neither_deaths_nor_numbers(void)
{
	struct stage *s = new_stage();
	struct attacker a = attack(s, s->vid);
	struct pair p = { .s = s, .vh = a.vh, .word = a.word };
	long least = LIMIT, ms, longest = 0;
	pid_t pids[PROCESSES];
	int i;

	for (i = 0; i < PROCESSES; i++)
		pids[i] = tcase_spawn(lose_threads, s);
	reach(&s->ready, PROCESSES);
	for (i = 0; i < 5; i++) {
		ms = ms_until_told(&p);
		if (ms < least)
			least = ms;
	}
	for (i = 0; i < 5; i++) {
		ms = now_ms();
		ask_for_numbers(s);
		ms = now_ms() - ms;
		if (ms > longest)
			longest = ms;
	}
	for (i = 0; i < PROCESSES; i++) {
		check_eq(kill(pids[i], SIGKILL), 0);
		tcase_join_killed(pids[i], SIGKILL);
	}
	tcase_note("told after %ld ms, numbers after %ld ms", least, longest);
	check(least < 200 * (long)patience());
	/* the driver waits for a second at most */
	check(longest < 3000 * (long)patience());
}

static const struct tcase cases[] = {
	CASE(a_hold_counts_in_its_own_element_alone),
	CASE(made_lockable_again_a_segment_is_rid_of_a_former_writer),
	CASE(who_waits_goes_to_the_new_lock),
	CASE(the_number_of_a_stranger_holds_until_its_death),
	CASE(who_shares_the_memory_and_executes_a_program_holds_nothing),
	CASE(a_reader_that_stays_in_wakes_no_writer),
	CASE(a_lock_that_is_kept_busy_keeps_nobody_else_from_numbers),
	CASE(a_death_is_told_beside_a_lock_that_is_kept_busy),
	CASE(deaths_in_many_processes_hold_up_neither_deaths_nor_numbers),
};

int main(int argc, char **argv)
{
	(void)argc;
	/* executed by a case */
	if (!strcmp(argv[0], "wait"))
		for (;;)
			pause();
	return tcase_main(cases, sizeof(cases) / sizeof(cases[0]), 0);
}
