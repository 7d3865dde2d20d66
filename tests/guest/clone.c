// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clones: the source's data of one moment, and from then on each its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL

static void enter(int vh)
{
	check_eq(vas_switch(vh), 0);
	check_eq(vas_current(), vh);
}

/* A handle of a VAS that shows this segment alone. */
static int show(int sid)
{
	int vid = tcase_vas(NULL, 0600);

	check_eq(seg_attach(vid, sid), 0);
	return check_id(vas_attach(vid));
}

static int cloned(int sid)
{
	int copy = check_id(seg_clone(sid));

	tcase_track_seg(copy);
	return copy;
}

static struct seg_stat stat_of(int sid)
{
	struct seg_stat stat = { .size = sizeof(stat) };

	check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), 0);
	return stat;
}

static void a_clone_has_its_sources_data(void)
{
	int sid = tcase_seg(NULL, BASE, 8 * MIB, 0640);
	struct seg_attr attr = { .size = sizeof(attr) };
	int vh = show(sid), copy;
	size_t at;

	enter(vh);
	for (at = 0; at < 4 * MIB; at += 3 * PAGE)
		*(size_t *)(BASE + at) = at + 1;
	copy = cloned(sid);
	check(copy != sid);
	check_eq(seg_ctl(copy, SEG_CTL_GETATTR, &attr), 0);
	check(attr.base == BASE);
	check_eq(attr.length, 8 * MIB);
	check_eq(attr.mode, 0640);
	check_eq(attr.name[0], 0);
	enter(show(copy));
	for (at = 0; at < 4 * MIB; at += 3 * PAGE)
		check_eq(*(size_t *)(BASE + at), at + 1);
	check_eq(BASE[5 * MIB], 0);
	enter(VAS_HOME);
}

static void neither_side_sees_the_others_writes(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0600);
	int a = show(sid), b;

	enter(a);
	strcpy(BASE, "before");
	strcpy(BASE + PAGE, "before");
	strcpy(BASE + 2 * PAGE, "before");
	b = show(cloned(sid));
	enter(a);
	strcpy(BASE, "source");
	strcpy(BASE + 3 * PAGE, "new in source");
	enter(b);
	check(!strcmp(BASE, "before"));
	check_eq(BASE[3 * PAGE], 0);
	strcpy(BASE + PAGE, "clone");
	strcpy(BASE + 4 * PAGE, "new in clone");
	enter(a);
	check(!strcmp(BASE, "source"));
	check(!strcmp(BASE + PAGE, "before"));
	check(!strcmp(BASE + 2 * PAGE, "before"));
	check_eq(BASE[4 * PAGE], 0);
	strcpy(BASE + 2 * PAGE, "source");
	enter(b);
	check(!strcmp(BASE + 2 * PAGE, "before"));
	check(!strcmp(BASE + PAGE, "clone"));
	enter(VAS_HOME);
}

static void pages_are_shared_until_one_side_writes(void)
{
	struct pvvas_stats before = { .size = sizeof(before) };
	struct pvvas_stats after = { .size = sizeof(after) };
	int sid = tcase_seg(NULL, BASE, MIB, 0600);
	int copy, a = show(sid), b;

	tcase_need(PVVAS_FEATURE_SWITCH);
	enter(a);
	memset(BASE, 7, 64 * PAGE);
	enter(VAS_HOME);
	check_eq(pvvas_stats(&before), 0);
	copy = cloned(sid);
	b = show(copy);
	enter(b);
	check_eq(BASE[63 * PAGE], 7);
	check_eq(pvvas_stats(&after), 0);
	check_eq(after.pages, before.pages);
	check_eq(stat_of(sid).shared, 64 * PAGE);
	check_eq(stat_of(copy).shared, 64 * PAGE);
	BASE[3 * PAGE] = 1;
	BASE[9 * PAGE] = 1;
	enter(a);
	BASE[9 * PAGE] = 2;	/* alone by now: nothing to copy */
	BASE[10 * PAGE] = 2;
	enter(VAS_HOME);
	check_eq(pvvas_stats(&after), 0);
	check_eq(after.pages, before.pages + 3);
	check_eq(stat_of(sid).shared, 61 * PAGE);
	check_eq(stat_of(sid).copied, 1);
	check_eq(stat_of(copy).copied, 2);
	check_eq(stat_of(copy).resident, 64 * PAGE);
	check_eq(vas_detach(b), 0);
}

static void large_pages_are_cloned(void)
{
	int sid = tcase_seg(NULL, BASE, 8 * MIB, 0600);
	int a = show(sid), b, copy;
	size_t at;

	check_eq(seg_populate(sid, BASE, 8 * MIB), 0);
	check_eq(stat_of(sid).resident, 8 * MIB);
	enter(a);
	for (at = 0; at < 8 * MIB; at += PAGE)
		*(size_t *)(BASE + at) = at;
	copy = cloned(sid);
	b = show(copy);
	for (at = 0; at < 8 * MIB; at += 7 * PAGE)
		*(size_t *)(BASE + at) = ~at;
	enter(b);
	for (at = 0; at < 8 * MIB; at += PAGE)
		check_eq(*(size_t *)(BASE + at), at);
	enter(VAS_HOME);
}

static void a_clone_outlives_its_source(void)
{
	int sid = tcase_seg(tcase_name("s"), BASE, MIB, 0600);
	int vid = tcase_vas(NULL, 0600), copy, again, vh;

	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	enter(vh);
	strcpy(BASE, "left");
	copy = check_id(seg_clone_named(sid, tcase_name("copy"), 0600));
	tcase_track_seg(copy);
	enter(VAS_HOME);
	check_eq(vas_detach(vh), 0);
	check_eq(vas_delete(vid), 0);
	check_eq(seg_delete(sid), 0);
	check_eq(seg_find(tcase_name("copy")), copy);
	again = cloned(copy);
	enter(show(again));
	check(!strcmp(BASE, "left"));
	strcpy(BASE, "right");
	enter(show(copy));
	check(!strcmp(BASE, "left"));
	strcpy(BASE, "alone");
	enter(VAS_HOME);
}

static void find_and_look(void *arg)
{
	enter(check_id(vas_attach(check_id(vas_find(arg)))));
	check(!strcmp(BASE, "first"));
	check(!strcmp(BASE + 4 * MIB, "second"));
	strcpy(BASE, "mine");
	check_eq(tcase_try_write(BASE + 4 * MIB).sig, SIGSEGV);
	enter(VAS_HOME);
}

static void a_clone_of_a_vas_has_clones_of_its_segments(void)
{
	struct vas_stat stat = { .size = sizeof(stat) };
	int vid = tcase_vas(tcase_name("v"), 0600), copy, vh, sid, n = 0;
	int one = tcase_seg(tcase_name("one"), BASE, MIB, 0600);
	int two = tcase_seg(tcase_name("two"), BASE + 4 * MIB, MIB, 0600);
	const char *name = tcase_name("clone");

	vh = show(two);
	check_eq(seg_attach(vid, one), 0);
	check_eq(seg_attach_prot(vid, two, PROT_READ), 0);
	enter(vh);
	strcpy(BASE + 4 * MIB, "second");
	vh = check_id(vas_attach(vid));
	enter(vh);
	strcpy(BASE, "first");
	copy = check_id(vas_clone_named(vid, name, 0600));
	tcase_track_vas(copy);
	for (sid = 0; (sid = vas_next_seg(copy, sid, NULL)) > 0; n++)
		check(sid != one && sid != two);
	check_eq(n, 2);
	check_eq(vas_ctl(VAS_CTL_STAT, copy, &stat), 0);
	check_eq(stat.segs, 2);
	check_eq(stat.length, 2 * MIB);
	check_eq(stat.attachments, 0);
	strcpy(BASE, "changed");
	tcase_join(tcase_spawn(find_and_look, (void *)name));
	check(!strcmp(BASE, "changed"));
	enter(check_id(vas_attach(copy)));
	check(!strcmp(BASE, "mine"));
	enter(VAS_HOME);
}

static void clones_of_nothing_are_refused(void)
{
	int sid = tcase_seg(tcase_name("s"), BASE, MIB, 0600);
	int vid = tcase_vas(NULL, 0600);
	char name[VAS_NAME_MAX + 2];

	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = 0;
	check_eq(seg_clone(0), -EINVAL);
	check_eq(seg_clone(-1), -EINVAL);
	check_eq(vas_clone(0), -EINVAL);
	check_eq(seg_clone(99999), -ENOENT);
	check_eq(vas_clone(99999), -ENOENT);
	check_eq(vas_clone(check_id(vas_attach(vid))), -ENOENT);
	check_eq(seg_clone_named(sid, "", 0600), -EINVAL);
	check_eq(seg_clone_named(sid, name, 0600), -ENAMETOOLONG);
	check_eq(seg_clone_named(sid, "a", 01777), -EINVAL);
	check_eq(seg_clone_named(sid, tcase_name("s"), 0600), -EEXIST);
}

/* The kernel writes for the program: it copies, too. */
static void system_calls_write_to_pages_that_are_shared(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0600);
	int a = show(sid), b, fd[2];

	enter(a);
	strcpy(BASE, "before");
	b = show(cloned(sid));
	check_eq(pipe(fd), 0);
	check_eq(write(fd[1], "by read", 8), 8);
	check_eq(read(fd[0], BASE, 8), 8);
	check(!strcmp(BASE, "by read"));
	enter(b);
	check(!strcmp(BASE, "before"));
	enter(VAS_HOME);
}

#define NR	24

static _Atomic bool stop;

/* Rounds that write to one page after the other. */
static void *write_rounds(void *arg)
{
	volatile long *round;
	long n;
	int i;

	enter(*(int *)arg);
	for (n = 1; !stop; n++)
		for (i = 0; i < NR; i++) {
			round = (long *)(BASE + i * PAGE);
			*round = n;
		}
	enter(VAS_HOME);
	return NULL;
}

static void a_clone_is_of_one_moment_while_others_write(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0600);
	int vh = show(sid), rounds, i;
	long first, last, here, most = 0;
	pthread_t thread;

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	check_eq(pthread_create(&thread, NULL, write_rounds, &vh), 0);
	for (rounds = 0; rounds < 40 || (most < 2 && rounds < 400); rounds++) {
		int copy = check_id(seg_clone(sid)), view;

		view = show(copy);
		enter(view);
		first = *(long *)BASE;
		last = *(long *)(BASE + (NR - 1) * PAGE);
		check(first - last == 0 || first - last == 1);
		for (i = 1; i < NR; i++) {
			here = *(long *)(BASE + i * PAGE);
			check(here == first || here == last);
			check(here <= *(long *)(BASE + (i - 1) * PAGE));
		}
		most = first > most ? first : most;
		enter(VAS_HOME);
		check_eq(vas_detach(view), 0);
		check_eq(seg_delete(copy), 0);
		sched_yield();
	}
	stop = true;
	pthread_join(thread, NULL);
	tcase_note("%d clones, %ld rounds of writes", rounds, most);
	check(most >= 2);
}

static void write_in_a_clone(void *arg)
{
	long *round = (long *)BASE;
	int i, k;

	enter(show(*(int *)arg));
	for (k = 1; k <= 50; k++)
		for (i = 0; i < NR; i++) {
			round[i * (PAGE / sizeof(long))] += k;
			check(round[i * (PAGE / sizeof(long))] >= k);
		}
	for (i = 0; i < NR; i++)
		check_eq(round[i * (PAGE / sizeof(long))], 1275 + i);
	enter(VAS_HOME);
}

static void many_clones_are_written_to_at_once(void)
{
	int sid = tcase_seg(tcase_name("s"), BASE, MIB, 0600), copy[4], i;
	char name[8] = "c0";
	pid_t pid[4];

	enter(show(sid));
	for (i = 0; i < NR; i++)
		*(long *)(BASE + i * PAGE) = i;
	for (i = 0; i < 4; i++) {
		name[1] = (char)('0' + i);
		copy[i] = check_id(seg_clone_named(sid, tcase_name(name), 0600));
		tcase_track_seg(copy[i]);
	}
	for (i = 0; i < 4; i++)
		pid[i] = tcase_spawn(write_in_a_clone, &copy[i]);
	for (i = 0; i < 4; i++)
		tcase_join(pid[i]);
	for (i = 0; i < NR; i++)
		check_eq(*(long *)(BASE + i * PAGE), i);
	enter(VAS_HOME);
}

static const struct tcase cases[] = {
	CASE(a_clone_has_its_sources_data),
	CASE(neither_side_sees_the_others_writes),
	CASE(pages_are_shared_until_one_side_writes),
	CASE(large_pages_are_cloned),
	CASE(a_clone_outlives_its_source),
	CASE(a_clone_of_a_vas_has_clones_of_its_segments),
	CASE(clones_of_nothing_are_refused),
	CASE(system_calls_write_to_pages_that_are_shared),
	CASE(a_clone_is_of_one_moment_while_others_write),
	CASE(many_clones_are_written_to_at_once),
};

TCASE_MAIN(cases, 0)
