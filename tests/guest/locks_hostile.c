// SPDX-License-Identifier: GPL-2.0-only
/*
 * What processes that may only read a lockable segment can do to those that may write
 * to it: hold the lock shared as long as they live, and nothing else.  And what
 * those that may write can do to the lock: make others wait, and nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "locks/attacker.h"
#include "tcase.h"


/* The victim goes in and out, as it ever did. */
static void works(int vh)
{
	check_eq(vas_switch_timed(vh, LIMIT), 0);
	BASE[0]++;
	check_eq(vas_switch(VAS_HOME), 0);
}

static void try_to_write_the_word(void *arg)
{
	struct attacker a = reader(arg);
	char path[64];
	void *gone;

	check_eq(a.open.rights, PVVAS_READ);
	check(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a.open.fd,
		   0) == MAP_FAILED && errno == EACCES);
	check(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, a.open.fd,
		   0) == MAP_FAILED);
	check(mprotect((void *)a.word, PAGE, PROT_READ | PROT_WRITE) < 0 &&
	      errno == EACCES);
	check(mprotect((void *)a.word, PAGE, PROT_READ | PROT_EXEC) < 0);
	check_eq(tcase_try_write((void *)a.word).sig, SIGSEGV);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", a.open.fd);
	check(open(path, O_RDWR) < 0);
	check(pwrite(a.open.fd, "x", 1, 0) < 0);
	check(ftruncate(a.open.fd, 0) < 0);
	check(fcntl(a.open.fd, F_SETFL, O_RDWR) < 0 ||
	      mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, a.open.fd, 0) ==
	      MAP_FAILED);
	check(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a.open.fd,
		   (off_t)PVVAS_LOCK_GONE_OFFSET) == MAP_FAILED);
	gone = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, a.open.fd,
		    (off_t)PVVAS_LOCK_GONE_OFFSET);
	check(gone != MAP_FAILED);
	check(mprotect(gone, PAGE, PROT_READ | PROT_WRITE) < 0 &&
	      errno == EACCES);
	check_eq(tcase_try_write(gone).sig, SIGSEGV);
	check_eq(munmap(gone, PAGE), 0);
	/* one element for a lock, in all of its mappings */
	check(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, a.open.fd, PAGE) ==
	      MAP_FAILED && errno == EINVAL);
	/* neither may a child have the mappings that it would die with */
	check(madvise((void *)a.word, PAGE, MADV_DOFORK) < 0);
	check(madvise((void *)a.array, PAGE, MADV_DOFORK) < 0);
	check(mremap((void *)a.word, PAGE, PAGE, MREMAP_MAYMOVE |
		     MREMAP_DONTUNMAP) == MAP_FAILED);
	check(mremap((void *)a.word, 0, PAGE, MREMAP_MAYMOVE) == MAP_FAILED);
}

static void a_reader_cannot_write_the_word(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid));

	works(vh);
	tcase_join(tcase_spawn(try_to_write_the_word, s));
	works(vh);
}

/* A writer of the word says with that what it likes, and not that it is old. */
static void a_writer_cannot_say_that_the_lock_is_gone(void)
{
	struct stage *s = new_stage();
	struct attacker a = attack(s, s->vid);
	const off_t at = (off_t)PVVAS_LOCK_GONE_OFFSET;
	void *gone;

	check_eq(a.open.rights, PVVAS_READ | PVVAS_WRITE);
	check(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a.open.fd,
		   at) == MAP_FAILED && errno == EACCES);
	check(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, a.open.fd,
		   at) == MAP_FAILED);
	gone = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, a.open.fd, at);
	check(gone != MAP_FAILED);
	check(mprotect(gone, PAGE, PROT_READ | PROT_WRITE) < 0 &&
	      errno == EACCES);
	check_eq(tcase_try_write(gone).sig, SIGSEGV);
	check_eq(munmap(gone, PAGE), 0);
	works(a.vh);
}

/* By a process that may not attach the segment, and has got its descriptor. */
static void use_what_was_passed_on(void *arg)
{
	struct attacker *given = arg;
	struct attacker a = { .dev = open("/dev/pvvas", O_RDWR) };
	struct pvvas_ioc_lock_thread me = { .size = sizeof(me) };

	become_nobody();
	check_id(vas_attach(check_id(vas_create(NULL, 0600))));
	check_eq(call(&a, PVVAS_IOC_LOCK_THREAD, &me), 0);
	a.open = given->open;
	check_eq(call_lock(&a, PVVAS_IOC_LOCK_TAKE, 0), -ENOENT);
	check(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a.open.fd,
		   0) == MAP_FAILED && errno == EACCES);
	check(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, a.open.fd, 0) !=
	      MAP_FAILED);
	map_array(&a, 1);
	check_eq(call_lock(&a, PVVAS_IOC_LOCK_TAKE, PVVAS_LOCK_EXCLUSIVE),
		 -EACCES);
	check_eq(call_lock(&a, PVVAS_IOC_LOCK_TAKE, 0), 0);
}

static void a_descriptor_that_is_passed_on_gives_the_rights_that_it_had(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid)), vid = tcase_vas(NULL, 0600);
	struct attacker a;

	check_eq(seg_attach_prot(vid, s->sid, PROT_READ), 0);
	a = attack(s, vid);
	check_eq(a.open.rights, PVVAS_READ);
	tcase_join(tcase_spawn(use_what_was_passed_on, &a));
	works(vh);
}

static void ask_for_what_is_not_its_own(void *arg)
{
	struct stage *s = arg;
	struct attacker a = reader(s);
	struct pvvas_ioc_id reset = { .size = sizeof(reset),
				      .id = (uint32_t)s->sid };
	uint32_t i;

	/* the victim is in */
	check_eq(call_lock(&a, PVVAS_IOC_LOCK_TAKE, PVVAS_LOCK_EXCLUSIVE),
		 -EACCES);
	check_eq(call_lock(&a, PVVAS_IOC_LOCK_TAKE, PVVAS_LOCK_TRY), -EBUSY);
	check_eq(call_lock(&a, PVVAS_IOC_LOCK_RELEASE, PVVAS_LOCK_EXCLUSIVE),
		 -EACCES);
	check_eq(call_lock(&a, PVVAS_IOC_LOCK_CONSISTENT, 0), -EACCES);
	check_eq(call_lock(&a, PVVAS_IOC_LOCK_RELEASE, 0), 0);
	check_eq(call(&a, PVVAS_IOC_SEG_LOCK_RESET, &reset), -EPERM);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_OFF), -EPERM);
	check_eq(seg_ctl(s->sid, SEG_CTL_CONSISTENT), -EINVAL);
	for (i = 0; i < 1000; i++) {
		struct attacker b = a;

		b.open.lock = i;
		if (i != a.open.lock)
			check_eq(call_lock(&b, PVVAS_IOC_LOCK_TAKE, 0),
				 -ENOENT);
	}
	/* nor has its word become another one */
	check_eq(vas_switch_try(a.vh), -EBUSY);
}

static void a_reader_cannot_take_or_release_for_others(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid));

	check_eq(vas_switch(vh), 0);
	tcase_join(tcase_spawn(ask_for_what_is_not_its_own, s));
	BASE[0] = 1;
	check_eq(vas_switch(VAS_HOME), 0);
	works(vh);
}

/* Every number in every element but one, over and over, until it is killed. */
static void fill_the_array(void *arg)
{
	struct stage *s = arg;
	struct attacker a = reader(s);
	uint32_t n;
	size_t i;

	/* in, as all others; from then on nothing is as it should be */
	check_eq(call_lock(&a, PVVAS_IOC_LOCK_TAKE, 0), 0);
	check_eq(a.array[0], a.open.lock);
	for (n = 0;; n++) {
		for (i = 1; i < 4 * PAGE / 4; i++)
			a.array[i] = n % 2 ? a.open.lock : (uint32_t)i * n;
		atomic_store(&s->ready, 1);
	}
}

static void garbage_in_an_array_holds_the_lock_shared_until_death(void)
{
	struct stage *s = new_stage();
	int other, vid = tcase_vas_with_seg((char *)BASE + 8 * MIB, MIB,
					    &other);
	int vh = check_id(vas_attach(s->vid)), elsewhere, r;
	pid_t pid;

	check_eq(seg_ctl(other, SEG_CTL_LOCK_ON), 0);
	elsewhere = check_id(vas_attach(vid));
	r = check_id(vas_attach(s->read_vid));
	works(vh);
	pid = tcase_spawn(fill_the_array, s);
	reach(&s->ready, 1);
	check_eq(vas_switch_try(vh), -EBUSY);
	check_eq(vas_switch_timed(vh, 200), -ETIMEDOUT);
	/* it does not hold what it has not mapped */
	check_eq(vas_switch_timed(elsewhere, LIMIT), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_detach(s->read_vid, s->sid), 0);
	check_eq(seg_attach_prot(s->read_vid, s->sid, PROT_READ), 0);
	check_eq(vas_detach(r), 0);
	r = check_id(vas_attach(s->read_vid));
	check_eq(vas_switch_timed(r, LIMIT), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
	works(vh);
}

static void only_fill_the_array(void *arg)
{
	struct stage *s = arg;
	struct attacker a = reader(s);
	size_t i;

	for (i = 0; i < 4 * PAGE / 4; i++)
		a.array[i] = a.open.lock;
	atomic_store(&s->ready, 1);
	for (;;)
		pause();
}

/* The word says that none reads: it is not asked, and does not hold the lock. */
static void a_number_in_an_array_alone_keeps_nobody_out(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid));
	pid_t pid = tcase_spawn(only_fill_the_array, s);

	reach(&s->ready, 1);
	works(vh);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
	works(vh);
}

/* Let go of all that it has, in the middle of holding. */
static void give_all_away(void *arg)
{
	struct stage *s = arg;
	struct attacker a = reader(s);
	int i;

	a.array[0] = a.open.lock;
	for (i = 3; i < 1024; i++)
		close(i);
	check_eq(munmap((void *)a.word, PAGE), 0);
	check_eq(munmap((void *)a.array, PAGE), 0);
	atomic_store(&s->ready, 1);
	reach(&s->step, 1);
}

static void a_reader_may_close_and_unmap_what_it_likes(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid));
	pid_t pid = tcase_spawn(give_all_away, s);

	reach(&s->ready, 1);
	/* the library has it mapped, too: it holds it; or it does not */
	check(vas_switch_timed(vh, 100) != -EOWNERDEAD);
	check_eq(vas_switch(VAS_HOME), 0);
	atomic_store(&s->step, 1);
	tcase_join(pid);
	works(vh);
}

static void stay_inside(void *arg)
{
	struct stage *s = arg;

	become_nobody();
	check_eq(vas_switch(check_id(vas_attach(s->read_vid))), 0);
	atomic_store(&s->ready, 1);
	for (;;)
		pause();
}

static void a_stopped_reader_stops_writers_alone(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid)), r, vid = tcase_vas(NULL, 0600);
	pid_t pid = tcase_spawn(stay_inside, s);

	check_eq(seg_attach_prot(vid, s->sid, PROT_READ), 0);
	r = check_id(vas_attach(vid));
	reach(&s->ready, 1);
	check_eq(kill(pid, SIGSTOP), 0);
	check_eq(vas_switch_timed(vh, 100), -ETIMEDOUT);
	check_eq(vas_switch_timed(r, LIMIT), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
	works(vh);
}

static void attach_and_detach(void *arg)
{
	struct stage *s = arg;
	int vh;

	become_nobody();
	for (;;) {
		vh = check_id(vas_attach(s->read_vid));
		check_eq(vas_detach(vh), 0);
		atomic_fetch_add(&s->ready, 1);
	}
}

/* A process that makes the lock, or attaches, is stopped anywhere. */
static void who_is_stopped_while_it_attaches_is_in_nobodys_way(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid)), i;
	pid_t pid = tcase_spawn(attach_and_detach, s);

	reach(&s->ready, 1);
	for (i = 0; i < 100; i++) {
		check_eq(kill(pid, SIGSTOP), 0);
		works(vh);
		check_eq(vas_detach(vh), 0);
		vh = check_id(vas_attach(s->vid));
		works(vh);
		check_eq(kill(pid, SIGCONT), 0);
		usleep((useconds_t)(i * 37 % 1000));
	}
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
}

static void lock_on_and_attach(void *arg)
{
	struct stage *s = arg;

	for (;;) {
		check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_ON), 0);
		check_eq(vas_detach(check_id(vas_attach(s->vid))), 0);
		check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_OFF), 0);
		atomic_fetch_add(&s->ready, 1);
	}
}

static void a_lock_whose_maker_is_stopped_is_there_or_not(void)
{
	struct stage *s = new_stage();
	pid_t pid = tcase_spawn(lock_on_and_attach, s);
	int vh, i;

	reach(&s->ready, 1);
	for (i = 0; i < 100; i++) {
		check_eq(kill(pid, SIGSTOP), 0);
		vh = check_id(vas_attach(s->vid));
		works(vh);
		check_eq(vas_detach(vh), 0);
		check_eq(kill(pid, SIGCONT), 0);
		usleep((useconds_t)(i * 37 % 1000));
	}
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
}

/* With the right to write: random words, faster than they can be looked at. */
static void scribble(void *arg)
{
	static const uint32_t some[] = {
		0, 1, PVVAS_LOCK_OWNER, PVVAS_LOCK_READERS, PVVAS_LOCK_WAITERS,
		PVVAS_LOCK_LOST, PVVAS_LOCK_DIED, ~0U,
		PVVAS_LOCK_READERS | 7, PVVAS_LOCK_WAITERS | 3,
	};
	struct stage *s = arg;
	struct pvvas_ioc_lock_open open_arg = {
		.size = sizeof(open_arg),
		.handle = (uint32_t)check_id(vas_attach(s->vid)),
		.seg = (uint32_t)s->sid,
	};
	int dev = open("/dev/pvvas", O_RDWR);
	volatile uint32_t *word;
	uint32_t x = 1;

	check_eq(ioctl(dev, PVVAS_IOC_LOCK_OPEN, &open_arg), 0);
	check_eq(open_arg.rights, PVVAS_READ | PVVAS_WRITE);
	word = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
		    open_arg.fd, 0);
	check(word != MAP_FAILED);
	for (;;) {
		x = x * 1664525 + 1013904223;
		*word = x % 3 ? some[(x >> 8) % 10] : x;
		atomic_store(&s->ready, 1);
	}
}

static bool fair(int err)
{
	return !err || err == -EBUSY || err == -ETIMEDOUT ||
		err == -EOWNERDEAD || err == -ENOTRECOVERABLE ||
		err == -EDEADLK;
}

static void any_word_is_answered_and_reset_makes_it_new(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid)), r, i, err;
	int vid = tcase_vas(NULL, 0600);
	pid_t pid = tcase_spawn(scribble, s);

	check_eq(seg_attach_prot(vid, s->sid, PROT_READ), 0);
	r = check_id(vas_attach(vid));
	reach(&s->ready, 1);
	for (i = 0; i < 300; i++) {
		err = i % 3 ? vas_switch_timed(i % 2 ? vh : r, 2) :
			      vas_switch_try(i % 2 ? vh : r);
		if (!fair(err))
			tcase_note("%d", err);
		check(fair(err));
		if (err == -EOWNERDEAD)
			seg_ctl(s->sid, SEG_CTL_CONSISTENT);
		check_eq(vas_switch(VAS_HOME), 0);
		if (i % 50 == 0)
			seg_ctl(s->sid, SEG_CTL_LOCK_RESET);
	}
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
	/* a number that it has left there may be that of a live thread */
	err = seg_ctl(s->sid, SEG_CTL_LOCK_RESET);
	check(!err || err == -EBUSY);
	if (!err)
		works(vh);
}

/* Its own, which it has not taken: by a process that may write. */
static void a_word_that_names_the_caller_is_edeadlk(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid));
	struct pvvas_ioc_lock_open open_arg = {
		.size = sizeof(open_arg),
		.handle = (uint32_t)vh,
		.seg = (uint32_t)s->sid,
	};
	struct pvvas_ioc_lock_thread me = { .size = sizeof(me) };
	int dev = open("/dev/pvvas", O_RDWR);
	volatile uint32_t *word;

	works(vh);
	check_eq(ioctl(dev, PVVAS_IOC_LOCK_OPEN, &open_arg), 0);
	check_eq(ioctl(dev, PVVAS_IOC_LOCK_THREAD, &me), 0);
	word = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
		    open_arg.fd, 0);
	check(word != MAP_FAILED);
	*word = me.number;
	check_eq(vas_switch(vh), -EDEADLK);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_RESET), -EBUSY);
	*word = 0;
	works(vh);
}

static const struct tcase cases[] = {
	CASE(a_reader_cannot_write_the_word),
	CASE(a_writer_cannot_say_that_the_lock_is_gone),
	CASE(a_descriptor_that_is_passed_on_gives_the_rights_that_it_had),
	CASE(a_reader_cannot_take_or_release_for_others),
	CASE(garbage_in_an_array_holds_the_lock_shared_until_death),
	CASE(a_number_in_an_array_alone_keeps_nobody_out),
	CASE(a_reader_may_close_and_unmap_what_it_likes),
	CASE(a_stopped_reader_stops_writers_alone),
	CASE(who_is_stopped_while_it_attaches_is_in_nobodys_way),
	CASE(a_lock_whose_maker_is_stopped_is_there_or_not),
	CASE(any_word_is_answered_and_reset_makes_it_new),
	CASE(a_word_that_names_the_caller_is_edeadlk),
};

TCASE_MAIN(cases, 0)
