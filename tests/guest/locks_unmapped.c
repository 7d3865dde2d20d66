// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process that unmaps the lock of a segment holds it no more, whether it lives on or
 * not, and does not get it if it waits for it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "locks/attacker.h"
#include "tcase.h"

/* All mappings of words, the library's included. */
static void unmap_words(void)
{
	unsigned long from, to, list[16][2];
	char line[512];
	int n = 0;
	FILE *f = fopen("/proc/self/maps", "r");

	check(f);
	while (fgets(line, sizeof(line), f) && n < 16)
		if (strstr(line, "pvvas-lock") &&
		    sscanf(line, "%lx-%lx", &from, &to) == 2) {
			list[n][0] = from;
			list[n++][1] = to;
		}
	fclose(f);
	check(n > 0);
	while (n--)
		check_eq(munmap((void *)list[n][0], list[n][1] - list[n][0]), 0);
}

static void read_and_unmap(void *arg)
{
	struct stage *s = arg;
	struct attacker a = reader(s);

	check_eq(a.open.rights, PVVAS_READ);
	check_eq(call_lock(&a, PVVAS_IOC_LOCK_TAKE, 0), 0);
	atomic_store(&s->ready, 1);
	wait_for_waiters(a.word);
	unmap_words();
}

static void a_reader_that_unmaps_the_lock_and_dies_has_let_go(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid));
	pid_t pid = tcase_spawn(read_and_unmap, s);
	long begin;

	reach(&s->ready, 1);
	begin = now_ms();
	check_eq(vas_switch_timed(vh, LIMIT), 0);
	/* not by looking again at the time limit */
	check(now_ms() - begin < LIMIT / 2);
	check_eq(vas_switch(VAS_HOME), 0);
	tcase_join(pid);
}

static void write_unmap_and_live(void *arg)
{
	struct stage *s = arg;
	struct attacker a = attack(s, s->vid);

	check_eq(call_lock(&a, PVVAS_IOC_LOCK_TAKE, PVVAS_LOCK_EXCLUSIVE), 0);
	check_eq(*a.word & PVVAS_LOCK_OWNER, a.thread.number);
	unmap_words();
	atomic_store(&s->ready, 1);
	reach(&s->step, 1);
}

static void a_writer_that_unmaps_the_lock_and_lives_on_has_died_in_it(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid));
	pid_t pid = tcase_spawn(write_unmap_and_live, s);

	reach(&s->ready, 1);
	check_eq(vas_switch_timed(vh, LIMIT), -EOWNERDEAD);
	check_eq(seg_ctl(s->sid, SEG_CTL_CONSISTENT), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	atomic_store(&s->step, 1);
	tcase_join(pid);
}

/* A thread waits, another one of its process unmaps the lock, and it is free. */
static struct waiter {
	struct attacker a;
	uint32_t flags;
	atomic_int err;		/* 1 + the error */
	volatile uint32_t *array;
} waiter;

static void *wait_for_it(void *arg)
{
	struct pvvas_ioc_lock_thread me = { .size = sizeof(me) };
	struct pvvas_ioc_lock take = { .size = sizeof(take),
				       .flags = waiter.flags,
				       .lock = waiter.a.open.lock,
				       .deadline = PVVAS_NO_DEADLINE };

	(void)arg;
	check_eq(call(&waiter.a, PVVAS_IOC_LOCK_THREAD, &me), 0);
	waiter.array = map_array(&waiter.a, 1);
	atomic_store(&waiter.err, 1 - call(&waiter.a, PVVAS_IOC_LOCK_TAKE,
					   &take));
	/* it lives, whatever it holds */
	for (;;)
		pause();
	return NULL;
}

static void unmap_beside_a_waiter(void *arg)
{
	struct stage *s = arg;
	pthread_t thread;

	waiter.a = attack(s, s->vid);
	waiter.flags = s->number;
	check_eq(pthread_create(&thread, NULL, wait_for_it, NULL), 0);
	wait_for_waiters(waiter.a.word);
	unmap_words();
	atomic_store(&s->ready, 1);
	reach(&waiter.err, 1);
	check_eq(atomic_load(&waiter.err), 1 + ENOENT);
	check_eq(waiter.array[0], 0);
	atomic_store(&s->ready, 2);
	reach(&s->step, 1);
}

/* The caller is in while they wait; what it finds when it comes again. */
static void leave_to_a_waiter_that_unmaps(uint32_t flags, int found)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid));
	pid_t pid;

	s->number = flags;
	check_eq(vas_switch_timed(vh, LIMIT), 0);
	pid = tcase_spawn(unmap_beside_a_waiter, s);
	reach(&s->ready, 1);
	check_eq(vas_switch(VAS_HOME), 0);
	reach(&s->ready, 2);
	check_eq(vas_switch_timed(vh, LIMIT), found);
	if (found)
		check_eq(seg_ctl(s->sid, SEG_CTL_CONSISTENT), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	atomic_store(&s->step, 1);
	tcase_join(pid);
}

static void a_writer_that_waits_does_not_get_what_was_unmapped(void)
{
	leave_to_a_waiter_that_unmaps(PVVAS_LOCK_EXCLUSIVE, -EOWNERDEAD);
}

static void a_reader_that_waits_does_not_get_what_was_unmapped(void)
{
	leave_to_a_waiter_that_unmaps(0, 0);
}

static const struct tcase cases[] = {
	CASE(a_reader_that_unmaps_the_lock_and_dies_has_let_go),
	CASE(a_writer_that_unmaps_the_lock_and_lives_on_has_died_in_it),
	CASE(a_writer_that_waits_does_not_get_what_was_unmapped),
	CASE(a_reader_that_waits_does_not_get_what_was_unmapped),
};

TCASE_MAIN(cases, 0)
