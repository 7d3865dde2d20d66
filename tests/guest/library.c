// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the library decides itself: which backend, arguments, lists, counts, and
 * how long a switch waits.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

static void a_backend_is_chosen_before_the_first_call(void)
{
	check_eq(pvvas_backend_select(-1), -EINVAL);
	check_eq(pvvas_backend_select(4), -EINVAL);
	check(vas_next(0) != -EINVAL);
	check_eq(pvvas_backend_select(3), -EBUSY);
	check_eq(pvvas_backend_select(0), -EBUSY);
}

/* In a child nothing is chosen yet: does it find the name with this choice? */
struct choice {
	const char *environment;	/* NULL: none */
	int kind;			/* -1: none */
	bool same;			/* as this process */
};

static void find_with(void *arg)
{
	const struct choice *c = arg;
	int ret;

	if (c->environment)
		setenv("PVVAS_BACKEND", c->environment, 1);
	else
		unsetenv("PVVAS_BACKEND");
	if (c->kind >= 0)
		check_eq(pvvas_backend_select(c->kind), 0);
	ret = vas_find("the-parents");
	if (c->same)
		check_id(ret);
	else
		check(ret < 0);
	check_eq(pvvas_backend_select(0), ret == -ENODEV || ret == -ENOSYS ? 0 :
		 -EBUSY);
}

static void environment_and_program_say_which_backend(void)
{
	bool soft = pvvas_probe(PVVAS_FEATURE_PER_THREAD) != PVVAS_YES;
	struct choice choices[] = {
		{ NULL, -1, !soft },
		{ "kernel", -1, !soft },
		{ "soft", -1, soft },
		{ "auto", -1, true },
		{ "soft", PVVAS_BACKEND_KERNEL, !soft },
		{ "kernel", PVVAS_BACKEND_SOFT, soft },
		{ "kernel", PVVAS_BACKEND_AUTO, true },
		{ "soft", PVVAS_BACKEND_DEFAULT, soft },
		{ NULL, PVVAS_BACKEND_SOFT, soft },
	};
	size_t i;

	tcase_vas("the-parents", 0600);
	for (i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
		tcase_join(tcase_spawn(find_with, &choices[i]));
}

static void with_variables_of_no_sense(void *arg)
{
	static const char *const backends[] = { "", "Soft", "soft ", "kvm" };
	static const char *const folders[] = { "", "/dev/null",
					       "/nonexistent/folder" };
	size_t i;

	(void)arg;
	for (i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
		setenv("PVVAS_BACKEND", backends[i], 1);
		check_eq(vas_create(NULL, 0600), -EINVAL);
		check_eq(vas_next(0), -EINVAL);
		check_eq(vas_attach(1), -EINVAL);
	}
	setenv("PVVAS_BACKEND", "soft", 1);
	for (i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		setenv("PVVAS_SOFT_DIR", folders[i], 1);
		check_eq(vas_create(NULL, 0600), -ENOTDIR);
		/* not as if there were no VAS */
		check_eq(vas_next(0), -ENOTDIR);
	}
	/* what the program says counts, whatever the environment has */
	setenv("PVVAS_BACKEND", "kvm", 1);
	check_eq(pvvas_backend_select(PVVAS_BACKEND_SOFT), 0);
	check_eq(vas_create(NULL, 0600), -ENOTDIR);
}

static void variables_of_no_sense_are_errors_of_their_own(void)
{
	tcase_join(tcase_spawn(with_variables_of_no_sense, NULL));
}

static void the_window_and_the_version_are_told(void)
{
	void *base = NULL;
	size_t size = 0;

	check_eq(pvvas_window(NULL, &size), -EINVAL);
	check_eq(pvvas_window(&base, NULL), -EINVAL);
	check_eq(pvvas_window(&base, &size), 0);
	check(base == (void *)VAS_WINDOW_BASE);
	check(size >= 4UL << 40 && !(size % (1UL << 30)));
	check_eq(pvvas_version(), PVVAS_VERSION_MAJOR << 16 |
		 PVVAS_VERSION_MINOR);
	check_eq(pvvas_probe(-1), PVVAS_UNKNOWN);
	check_eq(pvvas_probe(PVVAS_FEATURE_WRITES + 1), PVVAS_UNKNOWN);
}

static void structs_of_another_size_are_refused(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL), sid = seg_next(0);
	struct vas_attr va = { .size = sizeof(va) - 1,
			       .valid = VAS_ATTR_MODE };
	struct vas_stat vs = { .size = sizeof(vs) - 1 };
	struct seg_attr sa = { .size = sizeof(sa) + 1,
			       .valid = VAS_ATTR_MODE };
	struct seg_stat ss = { .size = 0 };
	struct pvvas_stats st = { .size = sizeof(st) + 8 };
	int i;

	for (i = 0; i < 2; i++) {
		check_eq(vas_ctl(VAS_CTL_GETATTR, vid, i ? NULL : &va),
			 -EINVAL);
		check_eq(vas_ctl(VAS_CTL_SETATTR, vid, i ? NULL : &va),
			 -EINVAL);
		check_eq(vas_ctl(VAS_CTL_STAT, vid, i ? NULL : &vs), -EINVAL);
		check_eq(seg_ctl(sid, SEG_CTL_GETATTR, i ? NULL : &sa),
			 -EINVAL);
		check_eq(seg_ctl(sid, SEG_CTL_SETATTR, i ? NULL : &sa),
			 -EINVAL);
		check_eq(seg_ctl(sid, SEG_CTL_STAT, i ? NULL : &ss), -EINVAL);
		check_eq(pvvas_stats(i ? NULL : &st), -EINVAL);
	}
	check_eq(vas_ctl(VAS_CTL_STAT + 1, vid, NULL), -EINVAL);
	check_eq(vas_ctl(VAS_CTL_GETATTR - 1, vid, NULL), -EINVAL);
	check_eq(seg_ctl(sid, SEG_CTL_STAT + 1, NULL), -EINVAL);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR - 1, NULL), -EINVAL);
	va.size = sizeof(va);
	check_eq(vas_ctl(VAS_CTL_GETATTR, vid, &va), 0);
	check_eq(va.mode, 0600);
}

static void commands_do_what_the_calls_do(void)
{
	struct seg_stat st = { .size = sizeof(st) };
	int sid = tcase_seg(NULL, BASE, MIB, 0600), vid = tcase_vas(NULL, 0600);
	void *pages[4];

	check_eq(seg_ctl(sid, SEG_CTL_POPULATE, BASE, 3 * 4096UL), 0);
	check_eq(seg_ctl(sid, SEG_CTL_STAT, &st), 0);
	check_eq(st.resident, 3 * 4096);
	check_eq(seg_ctl(sid, SEG_CTL_PAGER_ON), 0);
	check_eq(seg_ctl(sid, SEG_CTL_POPULATE, BASE, MIB), -ENXIO);
	check_eq(seg_ctl(sid, SEG_CTL_PAGER_OFF), 0);
	check_eq(seg_ctl(sid, SEG_CTL_PROTECT, BASE, 4096UL, PROT_READ), 0);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check_eq(tcase_try_write(BASE).sig, 11);
	check_eq(seg_ctl(sid, SEG_CTL_UNPROTECT, BASE, 4096UL), 0);
	check_eq(tcase_try_write(BASE).sig, 0);
	check_eq(seg_ctl(sid, SEG_CTL_DIRTY, BASE, MIB, pages, 4UL) >= 1, 1);
	check(pages[0] == BASE);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_ctl(sid, SEG_CTL_CONSISTENT), -EINVAL);
}

/* Each page that is named, and no other. */
static void pages_are_protected_one_by_one_or_many(void)
{
	char *pages[] = { BASE + 8 * 4096, BASE + 9 * 4096, BASE + 11 * 4096,
			  BASE + 10 * 4096, BASE, BASE + 20 * 4096 };
	void *bad[] = { BASE + 30 * 4096, BASE + 31 * 4096 + 1, BASE };
	int sid, i, k;
	bool named;

	check_eq(vas_switch(check_id(vas_attach(
		 tcase_vas_with_seg(BASE, MIB, &sid)))), 0);
	check_eq(seg_protN(sid, (void **)pages, 6, PROT_READ), 0);
	for (i = 0; i < 40; i++) {
		for (k = 0, named = false; k < 6; k++)
			named |= pages[k] == BASE + i * 4096;
		check_eq(tcase_try_write(BASE + i * 4096).sig, named ? 11 : 0);
	}
	check_eq(seg_protN(sid, (void **)pages, 0, PROT_READ), 0);
	check_eq(seg_protN(sid, NULL, 0, PROT_READ), 0);
	check_eq(seg_protN(sid, NULL, 1, PROT_READ), -EINVAL);
	check_eq(seg_protN(0, (void **)pages, 1, PROT_READ), -EINVAL);
	check_eq(seg_protN(sid, (void **)pages, 1, PROT_WRITE), -EINVAL);
	check_eq(seg_protN(sid, bad, 3, PROT_READ), -EINVAL);
	check_eq(tcase_try_write(BASE + 30 * 4096).sig, 11);
	check_eq(seg_unprot(sid, pages[4]), 0);
	check_eq(tcase_try_write(BASE).sig, 0);
	check_eq(seg_dirty(sid, BASE, MIB, NULL, 1), -EINVAL);
	check_eq(seg_dirty(sid, BASE, MIB, bad, 1UL << 31), -EINVAL);
	check_eq(seg_dirty(sid, BASE, MIB, NULL, 0), 0);
	check_eq(seg_fill(sid, BASE, NULL, 4096), -EINVAL);
	check_eq(seg_fill(sid, BASE, BASE, 4095), -EINVAL);
}

/* However far it is from others, and from the segment's start. */
static void a_page_far_away_is_protected_in_every_view(void)
{
	int vid = tcase_vas(NULL, 0600), vh, i;
	int sid = tcase_seg(NULL, BASE, 256 * MIB, 0600);
	static const size_t at[] = { 40, 41, 100, 255 };

	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	for (i = 0; i < 4; i++)
		check_eq(seg_prot1(sid, BASE + at[i] * MIB, PROT_READ), 0);
	for (i = 0; i < 4; i++) {
		check_eq(vas_switch(vh), 0);
		check_eq(tcase_try_write(BASE + at[i] * MIB).sig, 11);
		check_eq(tcase_try_read(BASE + at[i] * MIB).sig, 0);
		check_eq(tcase_try_write(BASE + at[i] * MIB + 4096).sig, 0);
		check_eq(tcase_try_write(BASE + at[i] * MIB - 1).sig, 0);
		check_eq(vas_switch(VAS_HOME), 0);
	}
}

/* More than one round of the library's own. */
static void as_many_written_pages_are_told_as_there_is_room_for(void)
{
	void *pages[600];
	int sid, i, n;

	check_eq(vas_switch(check_id(vas_attach(
		 tcase_vas_with_seg(BASE, 2 * MIB, &sid)))), 0);
	/* from then on a touch brings its page alone */
	check_eq(seg_dirty(sid, BASE, 2 * MIB, pages, 600), 0);
	for (i = 0; i < 400; i++)
		BASE[i * 4096] = 1;
	check_eq(seg_dirty(sid, BASE, 2 * MIB, pages, 130), 130);
	for (i = 0; i < 130; i++)
		check(pages[i] == BASE + i * 4096);
	check_eq(seg_dirty(sid, BASE, 2 * MIB, pages, 256), 256);
	n = seg_dirty(sid, BASE, 2 * MIB, pages, 600);
	check_eq(n, 400 - 130 - 256);
	for (i = 0; i < n; i++)
		check(pages[i] == BASE + (386 + i) * 4096);
	check_eq(seg_dirty(sid, BASE, 2 * MIB, pages, 600), 0);
}

struct holder {
	int vid;
	int ready[2], done[2];
};

static void hold(void *arg)
{
	struct holder *h = arg;
	char c = 0;

	check_eq(vas_switch(check_id(vas_attach(h->vid))), 0);
	check_eq(write(h->ready[1], &c, 1), 1);
	check_eq(read(h->done[0], &c, 1), 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static long milliseconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* 999 ms end in the next second at nearly any time. */
static void a_switch_waits_as_long_as_it_was_told(void)
{
	static const unsigned int ms[] = { 0, 300, 999, 1250 };
	struct holder h;
	long before, took;
	int sid, handle;
	size_t i;
	pid_t pid;
	char c;

	h.vid = tcase_vas_with_seg(BASE, MIB, &sid);
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
	check_eq(pipe(h.ready) | pipe(h.done), 0);
	pid = tcase_spawn(hold, &h);
	check_eq(read(h.ready[0], &c, 1), 1);
	handle = check_id(vas_attach(h.vid));
	check_eq(vas_switch_try(handle), -EBUSY);
	for (i = 0; i < sizeof(ms) / sizeof(ms[0]); i++) {
		before = milliseconds();
		check_eq(vas_switch_timed(handle, ms[i]), -ETIMEDOUT);
		took = milliseconds() - before;
		check(took + 1 >= (long)ms[i]);
		check(took < (long)ms[i] + 900);
		check_eq(vas_current(), VAS_HOME);
	}
	check_eq(write(h.done[1], &c, 1), 1);
	check_eq(vas_switch_timed(handle, 5000), 0);
	tcase_join(pid);
	check_eq(vas_switch_try(VAS_HOME), 0);
}

#define MANY	40

/* As many as there are: each has its lock, and each is let go. */
static void every_lockable_segment_of_a_vas_is_locked(void)
{
	int one[MANY], sid, i;
	struct holder h;
	pid_t pid;
	char c;

	h.vid = tcase_vas(NULL, 0600);
	for (i = 0; i < MANY; i++) {
		int vid = tcase_vas(NULL, 0600);

		sid = tcase_seg(NULL, BASE + i * 2 * MIB, 4096, 0600);
		check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
		check_eq(seg_attach(h.vid, sid), 0);
		check_eq(seg_attach(vid, sid), 0);
		one[i] = check_id(vas_attach(vid));
	}
	check_eq(pipe(h.ready) | pipe(h.done), 0);
	pid = tcase_spawn(hold, &h);
	check_eq(read(h.ready[0], &c, 1), 1);
	for (i = 0; i < MANY; i++)
		check_eq(vas_switch_try(one[i]), -EBUSY);
	check_eq(write(h.done[1], &c, 1), 1);
	tcase_join(pid);
	for (i = 0; i < MANY; i++)
		check_eq(vas_switch_try(one[i]), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	/* and in this process, too */
	check_eq(vas_switch(check_id(vas_attach(h.vid))), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	pid = tcase_spawn(hold, &h);
	check_eq(read(h.ready[0], &c, 1), 1);
	check_eq(write(h.done[1], &c, 1), 1);
	tcase_join(pid);
}

static void before_anything_is_attached_there_is_only_home(void)
{
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_switch(1 << 30 | 1 << 16 | 1), -EINVAL);
	check_eq(vas_switch(5), -EINVAL);
	check_eq(vas_switch_try(-1), -EINVAL);
	check_eq(vas_current(), VAS_HOME);
	check_eq(vas_detach(0), -EINVAL);
	check_eq(vas_detach(-5), -EINVAL);
	check_eq(vas_detach(5), -EINVAL);
}

static void lists_begin_at_none_and_end(void)
{
	size_t at = 0, n;
	int sid;

	check_eq(vas_next(-1), -EINVAL);
	check_eq(seg_next(-1), -EINVAL);
	check_eq(vas_next((1 << 30) - 1), -ENOENT);
	check_eq(vas_next_seg(0, 0, NULL), -EINVAL);
	check_eq(vas_next_seg(-1, 0, NULL), -EINVAL);
	check_eq(vas_next_seg(1 << 29, 0, NULL), -EINVAL);
	sid = tcase_seg(NULL, BASE, MIB, 0600);
	check_eq(seg_next_data(sid, NULL, &n), -EINVAL);
	check_eq(seg_next_data(sid, &at, NULL), -EINVAL);
	check_eq(seg_next_data(0, &at, &n), -EINVAL);
	check_eq(seg_next_data(sid, &at, &n), -ENOENT);
	check_eq(seg_range(sid, NULL, &n), -EINVAL);
	check_eq(seg_range(sid, (void **)&at, NULL), -EINVAL);
	check_eq(seg_range(0, (void **)&at, &n), -EINVAL);
	/* outside of the window comes before a wrong distance */
	check_eq(seg_map2(sid, BASE - 4096), -ERANGE);
	check_eq(seg_map2(sid, BASE + 4096), -EINVAL);
}

/* What sigaltstack() says of a stack, which it has then, or not. */
static int stack_for_signals(char *at, size_t size, int flags)
{
	stack_t stack = { .ss_sp = at, .ss_size = size, .ss_flags = flags }, now;
	int error = sigaltstack(&stack, NULL) ? errno : 0;

	check_eq(sigaltstack(NULL, &now), 0);
	if (!error && !flags)
		check(now.ss_sp == at);
	return error;
}

static int stack_for_threads(void *at, size_t size)
{
	pthread_attr_t attr;
	size_t length;
	void *now;
	int error;

	check_eq(pthread_attr_init(&attr), 0);
	error = pthread_attr_setstack(&attr, at, size);
	check_eq(pthread_attr_getstack(&attr, &now, &length), 0);
	if (!error)
		check(now == at);
	check_eq(pthread_attr_destroy(&attr), 0);
	return error;
}

static void memory_in_the_window_is_no_stack(void)
{
	char *end = (char *)(2 * VAS_WINDOW_BASE);
	char *outside = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(outside != MAP_FAILED);
	/* without VASes the window is nothing yet */
	check_eq(stack_for_threads(BASE, MIB), 0);
	check_eq(vas_switch(check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)))), 0);
	check_eq(stack_for_signals(outside, MIB, 0), 0);
	check_eq(stack_for_signals(BASE, MIB, 0), EINVAL);
	check_eq(stack_for_signals(end - MIB, MIB, 0), EINVAL);
	check_eq(stack_for_signals((char *)VAS_WINDOW_BASE - MIB, MIB + 1, 0), EINVAL);
	/* these are kept, by which a program finds its stack again */
	check_eq(stack_for_signals((char *)VAS_WINDOW_BASE - MIB, MIB, 0), 0);
	check_eq(stack_for_signals(end, MIB, 0), 0);
	check_eq(stack_for_signals(BASE, MIB, SS_DISABLE), 0);
	check_eq(stack_for_signals(outside, MIB, 4), EINVAL);
	check_eq(stack_for_signals(outside, 1, 0), ENOMEM);
	check_eq(stack_for_threads(BASE, MIB), EINVAL);
	check_eq(stack_for_threads(outside, MIB), 0);
	check_eq(stack_for_threads(outside, 1), EINVAL);
	check_eq(vas_switch(VAS_HOME), 0);
}

static const struct tcase cases[] = {
	CASE(a_backend_is_chosen_before_the_first_call),
	CASE(environment_and_program_say_which_backend),
	CASE(variables_of_no_sense_are_errors_of_their_own),
	CASE(the_window_and_the_version_are_told),
	CASE(structs_of_another_size_are_refused),
	CASE(commands_do_what_the_calls_do),
	CASE(pages_are_protected_one_by_one_or_many),
	CASE(a_page_far_away_is_protected_in_every_view),
	CASE(as_many_written_pages_are_told_as_there_is_room_for),
	CASE(a_switch_waits_as_long_as_it_was_told),
	CASE(every_lockable_segment_of_a_vas_is_locked),
	CASE(before_anything_is_attached_there_is_only_home),
	CASE(lists_begin_at_none_and_end),
	CASE(memory_in_the_window_is_no_stack),
};

TCASE_MAIN(cases, 0)
