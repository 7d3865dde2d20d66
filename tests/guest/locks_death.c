// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads and processes that end while they hold the lock of a segment: by exit,
 * by a signal or by exec; and locks that are lost.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "locks.h"
#include "tcase.h"

static void stay_until_told(struct stage *s, int vid)
{
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	if (vid == s->vid)
		PAIR->a = 42;
	atomic_fetch_add(&s->inside, 1);
	while (!atomic_load(&s->leave))
		usleep(1000);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void read_until_told(void *arg)
{
	struct stage *s = arg;

	stay_until_told(s, s->read_vid);
}

static void write_until_told(void *arg)
{
	struct stage *s = arg;

	stay_until_told(s, s->vid);
}

static void die_inside(struct stage *s, void (*fn)(void *arg))
{
	pid_t pid = tcase_spawn(fn, s);

	reach(&s->inside, 1);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
	atomic_store(&s->inside, 0);
}

static void the_death_of_a_writer_is_told_once(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid));

	die_inside(s, write_until_told);
	check_eq(vas_switch(w), -EOWNERDEAD);
	check_eq(vas_current(), w);
	check_eq(PAIR->a, 42);
	check_eq(seg_ctl(s->sid, SEG_CTL_CONSISTENT), 0);
	check_eq(seg_ctl(s->sid, SEG_CTL_CONSISTENT), -EINVAL);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_switch(w), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void data_that_nobody_repairs_are_lost(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid)), r = check_id(vas_attach(s->read_vid));

	die_inside(s, write_until_told);
	/* a reader cannot repair, and hears of it, too */
	check_eq(vas_switch(r), -EOWNERDEAD);
	check_eq(seg_ctl(s->sid, SEG_CTL_CONSISTENT), -EINVAL);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_switch(w), -EOWNERDEAD);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_switch(w), -ENOTRECOVERABLE);
	check_eq(vas_current(), VAS_HOME);
	check_eq(vas_switch(r), -ENOTRECOVERABLE);
}

static void a_lost_lock_is_made_new_by_its_owner(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid)), r = check_id(vas_attach(s->read_vid));

	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_RESET), 0);
	die_inside(s, write_until_told);
	check_eq(vas_switch(w), -EOWNERDEAD);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_RESET), -EBUSY);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_switch(w), -ENOTRECOVERABLE);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_RESET), 0);
	check_eq(vas_switch(w), 0);
	check_eq(PAIR->a, 42);
	check_eq(vas_switch(r), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	/* none need have been told */
	die_inside(s, write_until_told);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_RESET), 0);
	check_eq(vas_switch(w), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_reset_leaves_readers_in(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid));
	pid_t pid = tcase_spawn(read_until_told, s);

	reach(&s->inside, 1);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_RESET), 0);
	check_eq(vas_switch_try(w), -EBUSY);
	atomic_store(&s->leave, true);
	tcase_join(pid);
	check_eq(vas_switch(w), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void only_a_lockable_segment_has_a_lock_to_reset(void)
{
	int sid = tcase_seg(NULL, PAIR, MIB, 0600);

	check_eq(seg_ctl(sid, SEG_CTL_LOCK_RESET), -EINVAL);
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_OFF), 0);
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_RESET), 0);
	check_eq(seg_ctl(-1, SEG_CTL_LOCK_RESET), -EINVAL);
	check_eq(seg_ctl(sid + 1000000, SEG_CTL_LOCK_RESET), -ENOENT);
}

static void lock_off_and_on_again_is_a_new_lock(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid));

	die_inside(s, write_until_told);
	check_eq(vas_switch(w), -EOWNERDEAD);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_ON), 0);
	check_eq(vas_switch(w), -ENOTRECOVERABLE);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_OFF), 0);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_ON), 0);
	check_eq(vas_switch(w), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void the_death_of_a_reader_does_not_matter(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid));

	die_inside(s, read_until_told);
	check_eq(vas_switch(w), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void wait_inside_for_death(void *arg)
{
	struct stage *s = arg;
	int err = vas_switch(check_id(vas_attach(s->vid)));

	check_eq(err, -EOWNERDEAD);
	check_eq(seg_ctl(s->sid, SEG_CTL_CONSISTENT), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void who_waits_is_woken_by_death(void)
{
	struct stage *s = new_stage();
	pid_t owner = tcase_spawn(write_until_told, s), waiter;

	reach(&s->inside, 1);
	waiter = tcase_spawn(wait_inside_for_death, s);
	usleep(100000);
	check_eq(kill(owner, SIGKILL), 0);
	tcase_join_killed(owner, SIGKILL);
	tcase_join(waiter);
}

static void *end_inside(void *arg)
{
	vas_switch(*(int *)arg);
	return NULL;
}

static void *end_inside_without_farewell(void *arg)
{
	vas_switch(*(int *)arg);
	syscall(SYS_exit, 0);
	return NULL;
}

static void in_thread(void *(*fn)(void *), int *vh)
{
	pthread_t thread;

	tcase_threads(&thread, 1, fn, vh);
	check_eq(pthread_join(thread, NULL), 0);
}

static void a_lock_ends_with_its_thread(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid));
	int r = check_id(vas_attach(s->read_vid));

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	in_thread(end_inside, &w);
	check(enter_and_repair(s, w));
	check_eq(vas_switch(VAS_HOME), 0);
	check(!enter_and_repair(s, w));
	check_eq(vas_switch(VAS_HOME), 0);
	in_thread(end_inside, &r);
	check(!enter_and_repair(s, w));
	check_eq(vas_switch(VAS_HOME), 0);
}

static pthread_key_t key;

static void go_home(void *arg)
{
	(void)arg;
	check_eq(vas_switch(VAS_HOME), 0);
}

/* The library's own destructor may run before the program's. */
static void *leave_in_a_destructor(void *arg)
{
	check_eq(vas_switch(*(int *)arg), 0);
	change();
	check_eq(pthread_setspecific(key, arg), 0);
	return NULL;
}

static void a_destructor_may_still_leave(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid));

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	/* first the library's key, then this one */
	check_eq(vas_switch(w), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(pthread_key_create(&key, go_home), 0);
	in_thread(leave_in_a_destructor, &w);
	check(!enter_and_repair(s, w));
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(pthread_key_delete(key), 0);
}

static void a_lock_ends_with_a_bare_exit_of_its_thread(void)
{
	struct stage *s = new_stage();
	int w = check_id(vas_attach(s->vid));
	int r = check_id(vas_attach(s->read_vid));

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	in_thread(end_inside_without_farewell, &w);
	check(enter_and_repair(s, w));
	check_eq(vas_switch(VAS_HOME), 0);
	in_thread(end_inside_without_farewell, &r);
	check(!enter_and_repair(s, w));
	check_eq(vas_switch(VAS_HOME), 0);
}

static void execute_another_program(void *arg)
{
	struct stage *s = arg;

	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	change();
	atomic_store(&s->inside, 1);
	execl("/bin/sleep", "sleep", "30", (char *)NULL);
	execlp("busybox", "busybox", "sleep", "30", (char *)NULL);
	check(0);
}

static void a_lock_ends_with_exec(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid));
	pid_t pid = tcase_spawn(execute_another_program, s);

	reach(&s->inside, 1);
	check(enter_and_repair(s, vh));
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
}

#define SEGS	100
#define READERS	64

struct hundred {
	int vid, read_vid, sid[SEGS];
	atomic_int inside;
};

/* All of them at once, and once more, and then as one that could at any time. */
static void read_all(void *arg)
{
	struct hundred *h = arg;
	int vh = check_id(vas_attach(h->read_vid)), i;

	for (i = 0; i < 2; i++) {
		check_eq(vas_switch(vh), 0);
		check_eq(vas_switch(VAS_HOME), 0);
	}
	atomic_fetch_add(&h->inside, 1);
	for (;;)
		pause();
}

static void write_all(void *arg)
{
	struct hundred *h = arg;

	check_eq(vas_switch(check_id(vas_attach(h->vid))), 0);
	atomic_fetch_add(&h->inside, 1);
	for (;;)
		pause();
}

static struct hundred *new_hundred(void)
{
	struct hundred *h = tcase_shared(sizeof(*h));
	int i;

	h->vid = tcase_vas(NULL, 0600);
	h->read_vid = tcase_vas(NULL, 0600);
	for (i = 0; i < SEGS; i++) {
		h->sid[i] = tcase_seg(NULL, (char *)PAIR + i * 2 * MIB, 4096,
				      0600);
		check_eq(seg_ctl(h->sid[i], SEG_CTL_LOCK_ON), 0);
		check_eq(seg_attach_prot(h->read_vid, h->sid[i], PROT_READ), 0);
		check_eq(seg_attach(h->vid, h->sid[i]), 0);
	}
	return h;
}

static void a_writer_of_a_hundred_segments_dies_beside_64_readers(void)
{
	struct hundred *h = new_hundred();
	pid_t readers[READERS], writer;
	int i, told = 0, vh, err;

	for (i = 0; i < READERS; i++)
		readers[i] = tcase_spawn(read_all, h);
	reach(&h->inside, READERS);
	writer = tcase_spawn(write_all, h);
	reach(&h->inside, READERS + 1);
	check_eq(kill(writer, SIGKILL), 0);
	tcase_join_killed(writer, SIGKILL);
	for (i = 0; i < SEGS; i++) {
		int vid = tcase_vas(NULL, 0600);

		check_eq(seg_attach(vid, h->sid[i]), 0);
		vh = check_id(vas_attach(vid));
		err = vas_switch_timed(vh, LIMIT);
		check(!err || err == -EOWNERDEAD);
		if (err) {
			told++;
			check_eq(seg_ctl(h->sid[i], SEG_CTL_CONSISTENT), 0);
		}
		check_eq(vas_switch(VAS_HOME), 0);
		check_eq(vas_switch_timed(vh, LIMIT), 0);
		check_eq(vas_switch(VAS_HOME), 0);
	}
	check_eq(told, SEGS);
	for (i = 0; i < READERS; i++) {
		check_eq(kill(readers[i], SIGKILL), 0);
		tcase_join_killed(readers[i], SIGKILL);
	}
}

static const struct tcase cases[] = {
	CASE(the_death_of_a_writer_is_told_once),
	CASE(data_that_nobody_repairs_are_lost),
	CASE(a_lost_lock_is_made_new_by_its_owner),
	CASE(a_reset_leaves_readers_in),
	CASE(only_a_lockable_segment_has_a_lock_to_reset),
	CASE(lock_off_and_on_again_is_a_new_lock),
	CASE(the_death_of_a_reader_does_not_matter),
	CASE(who_waits_is_woken_by_death),
	CASE(a_lock_ends_with_its_thread),
	CASE(a_destructor_may_still_leave),
	CASE(a_lock_ends_with_a_bare_exit_of_its_thread),
	CASE(a_lock_ends_with_exec),
	CASE_SECONDS(a_writer_of_a_hundred_segments_dies_beside_64_readers, 300),
};

TCASE_MAIN(cases, 0)
