// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads that use a segment while others of the process make, show and take
 * away other ones: each goes on as if it were alone.
 */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>
#include <pvvas_page.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define ROUNDS	400

static int vid, vh;
static atomic_int stop;
static atomic_long turns;

/* It stays in the VAS, and uses two pages of its segment. */
static void *use(void *unused)
{
	volatile long *word = (volatile long *)BASE;
	volatile long *other = (volatile long *)(BASE + 4096);

	check_eq(vas_switch(vh), 0);
	while (!stop) {
		(*word)++;
		(*other)++;
		turns++;
	}
	check_eq(*word, turns);
	check_eq(*other, turns);
	check_eq(vas_switch(VAS_HOME), 0);
	return unused;
}

static void user_beside(void (*change)(int round))
{
	pthread_t user;
	int i;

	vid = tcase_vas_with_seg(BASE, MIB, NULL);
	vh = check_id(vas_attach(vid));
	check_eq(pthread_create(&user, NULL, use, NULL), 0);
	while (!turns)
		usleep(1000);
	for (i = 0; i < ROUNDS; i++)
		change(i);
	stop = 1;
	check_eq(pthread_join(user, NULL), 0);
	tcase_note("%ld turns beside %d rounds", (long)turns, ROUNDS);
}

static int other_vas;

static void change_another(int round)
{
	int sid = check_id(seg_alloc(NULL, NULL, 4096, 0600));

	if (!round)
		other_vas = tcase_vas(NULL, 0600);
	check_eq(seg_attach(other_vas, sid), 0);
	check_eq(seg_detach(other_vas, sid), 0);
	check_eq(seg_delete(sid), 0);
}

static void changes_of_another_vas_disturb_no_thread(void)
{
	user_beside(change_another);
}

/* The block before the segment that is used, or the one behind it. */
static void change_this(int round)
{
	char *base = round % 2 ? BASE + 4 * MIB : BASE + 1024 * MIB;
	int sid = check_id(seg_alloc(NULL, base, MIB, 0600));

	check_eq(seg_attach(round % 3 ? vid : vh, sid), 0);
	check_eq(seg_protect(sid, base, 4096, PROT_READ), 0);
	check_eq(seg_detach(round % 3 ? vid : vh, sid), 0);
	check_eq(seg_delete(sid), 0);
}

static void segments_that_come_and_go_disturb_no_user_of_another(void)
{
	user_beside(change_this);
}

static void *go_there(void *unused)
{
	check_eq(vas_switch(vh), 0);
	check(*(volatile long *)BASE > 0);
	return unused;
}

/* What was changed meanwhile shows at the switch. */
static void send_another(int round)
{
	pthread_t thread;

	change_this(round);
	check_eq(pthread_create(&thread, NULL, go_there, NULL), 0);
	check_eq(pthread_join(thread, NULL), 0);
}

static void a_thread_that_comes_later_disturbs_none_that_is_there(void)
{
	user_beside(send_another);
}

static void change_rights(void *arg)
{
	int *ids = arg, handle = check_id(vas_attach(ids[0])), prot;
	volatile long *word = (volatile long *)BASE;

	for (prot = 0; prot < 4; prot++) {
		check_eq(seg_attach_prot(ids[0], ids[1], prot % 2 ?
					 PROT_READ : PROT_READ | PROT_WRITE), 0);
		check_eq(vas_switch(handle), 0);
		check_eq(tcase_try_read(word).sig, 0);
		check_eq(tcase_try_write((volatile char *)word).sig,
			 prot % 2 ? SIGSEGV : 0);
		check_eq(seg_detach(ids[0], ids[1]), 0);
		check_eq(tcase_try_read(word).sig, SIGSEGV);
		/* another segment in its place, without a switch */
		check_eq(seg_attach(ids[0], ids[2]), 0);
		check_eq(*word, 5);
		check_eq(seg_detach(ids[0], ids[2]), 0);
	}
}

static void a_segment_in_the_place_of_another_shows(void)
{
	int ids[3], handle;

	ids[0] = tcase_vas(NULL, 0600);
	ids[1] = tcase_seg(NULL, BASE, MIB, 0600);
	ids[2] = tcase_seg(NULL, BASE, MIB, 0600);
	check_eq(seg_attach(ids[0], ids[2]), 0);
	handle = check_id(vas_attach(ids[0]));
	check_eq(vas_switch(handle), 0);
	*(volatile long *)BASE = 5;
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_detach(ids[0], ids[2]), 0);
	tcase_run(change_rights, ids);
}

/*
 * Destructors of threads.
 */

static pthread_key_t key;
static int *inside;

/* The key was made after the library's first one, and before its second. */
static void take_in_destructor(void *unused)
{
	(void)unused;
	check_eq(vas_switch(vh), 0);
	*(volatile int *)BASE = 1;
	*inside = 1;
	usleep(300000);
	check_eq(*(volatile int *)BASE, 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void *have_destructor(void *unused)
{
	check_eq(vas_switch(vh), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(pthread_setspecific(key, &key), 0);
	return unused;
}

static void take_beside(void *unused)
{
	(void)unused;
	vh = check_id(vas_attach(vid));
	while (!*(volatile int *)inside)
		usleep(1000);
	/* it waits, and no holder has died */
	check_eq(vas_switch(vh), 0);
	*(volatile int *)BASE = 2;
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_destructor_may_take_a_lock(void)
{
	pthread_t thread;
	pid_t other;
	int sid;

	inside = tcase_shared(4096);
	vid = tcase_vas_with_seg(BASE, MIB, &sid);
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
	other = tcase_spawn(take_beside, NULL);
	check_eq(pthread_key_create(&key, take_in_destructor), 0);
	vh = check_id(vas_attach(vid));
	check_eq(pthread_create(&thread, NULL, have_destructor, NULL), 0);
	check_eq(pthread_join(thread, NULL), 0);
	tcase_join(other);
}

/*
 * Threads with small stacks, as those that a program schedules by itself.
 */

static void *use_all(void *unused)
{
	int copy, sid = seg_alloc(NULL, BASE + 8 * MIB, MIB, 0600), twin;
	void *pages[2];

	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(vh), 0);
	*(BASE + 8 * MIB) = 1;
	check_eq(seg_dirty(sid, BASE + 8 * MIB, MIB, pages, 2), 1);
	check_eq(seg_protect(sid, BASE + 8 * MIB, 4096, PROT_NONE), 0);
	check_eq(seg_protect(sid, BASE + 8 * MIB, 4096, PROT_READ | PROT_WRITE), 0);
	check_eq(seg_move(sid, BASE + 8 * MIB, sid, BASE + 9 * MIB - 4096, 4096), 0);
	check_eq(*(BASE + 9 * MIB - 4096), 1);
	copy = check_id(seg_clone(sid));
	twin = check_id(vas_clone(vid));
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_delete(twin), 0);
	check_eq(seg_delete(copy), 0);
	check_eq(seg_detach(vid, sid), 0);
	check_eq(seg_delete(sid), 0);
	return unused;
}

static void calls_fit_on_a_small_stack(void)
{
	pthread_attr_t attr;
	pthread_t thread;

	vid = tcase_vas_with_seg(BASE, MIB, NULL);
	vh = check_id(vas_attach(vid));
	check_eq(pthread_attr_init(&attr), 0);
	check_eq(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN), 0);
	check_eq(pthread_create(&thread, &attr, use_all, NULL), 0);
	check_eq(pthread_join(thread, NULL), 0);
}

static const struct tcase cases[] = {
	CASE(calls_fit_on_a_small_stack),
	CASE(changes_of_another_vas_disturb_no_thread),
	CASE(segments_that_come_and_go_disturb_no_user_of_another),
	CASE(a_thread_that_comes_later_disturbs_none_that_is_there),
	CASE(a_segment_in_the_place_of_another_shows),
	CASE(a_destructor_may_take_a_lock),
};

TCASE_MAIN(cases, 0)
