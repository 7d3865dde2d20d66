// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that move from one place to another: what is read at both, which owner keeps
 * what, and which one pays.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define A	((char *)VAS_WINDOW_FIRST)
#define B	(A + 64 * MIB)
#define MIB	(1UL << 20)
#define PAGE	4096UL

static int a, b, vh;

static void enter(int to)
{
	check_eq(vas_switch(to), 0);
	check_eq(vas_current(), to);
}

/* Two segments of 8 MiB, and this thread where both are seen. */
static int scene(void)
{
	int vid = tcase_vas(NULL, 0600);

	a = tcase_seg_with(NULL, A, 8 * MIB, 0600, 0);
	b = tcase_seg_with(NULL, B, 8 * MIB, 0600, 0);
	check_eq(seg_attach(vid, a), 0);
	check_eq(seg_attach(vid, b), 0);
	vh = check_id(vas_attach(vid));
	enter(vh);
	return vid;
}

static uint64_t resident(int sid)
{
	struct seg_stat stat = { .size = sizeof(stat) };

	check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), 0);
	return stat.resident;
}

static void number(char *base, size_t from, size_t to, size_t plus)
{
	size_t at;

	for (at = from; at < to; at += PAGE)
		*(volatile size_t *)(base + at) = at / PAGE + plus;
}

static void numbered(const char *base, size_t from, size_t to, size_t value)
{
	size_t at;

	for (at = from; at < to; at += PAGE)
		check_eq(*(const volatile size_t *)(base + at), value++);
}

static void what_moves_is_there_and_here_no_more(void)
{
	size_t at;

	scene();
	number(A, 0, 8 * MIB, 1);
	number(B, 0, MIB, 50000);
	/* over what is there, and across tables */
	check_eq(seg_move(a, A + 5 * PAGE, b, B + 9 * PAGE, 4 * MIB), 0);
	numbered(B, 0, 9 * PAGE, 50000);
	numbered(B, 9 * PAGE, 9 * PAGE + 4 * MIB, 6);
	check_eq(resident(a), 4 * MIB);
	check_eq(resident(b), 4 * MIB + 9 * PAGE);
	numbered(A, 0, 5 * PAGE, 1);
	for (at = 5 * PAGE; at < 5 * PAGE + 4 * MIB; at += PAGE)
		check_eq(*(volatile size_t *)(A + at), 0);
	numbered(A, 5 * PAGE + 4 * MIB, 8 * MIB, 6 + 4 * MIB / PAGE);
	/* both can be written to, and back */
	number(B, 0, 8 * MIB, 7);
	number(A, 0, 8 * MIB, 9);
	numbered(B, 0, 8 * MIB, 7);
	check_eq(seg_move(b, B, a, A, 8 * MIB), 0);
	numbered(A, 0, 8 * MIB, 7);
	check_eq(resident(b), 0);
	enter(VAS_HOME);
}

static void holes_move_too(void)
{
	scene();
	number(B, 0, 64 * PAGE, 1);
	A[3 * PAGE] = 7;
	check_eq(seg_move(a, A, b, B, 32 * PAGE), 0);
	check_eq(resident(b), 33 * PAGE);
	check_eq(resident(a), 0);
	check_eq(B[3 * PAGE], 7);
	check_eq(*(volatile char *)B, 0);
	check_eq(*(volatile char *)(B + 31 * PAGE), 0);
	numbered(B, 32 * PAGE, 64 * PAGE, 33);
	enter(VAS_HOME);
}

static void within_a_segment_ranges_must_not_overlap(void)
{
	scene();
	number(A, 0, 2 * MIB, 1);
	check_eq(seg_move(a, A, a, A + 4 * MIB, 2 * MIB), 0);
	numbered(A, 4 * MIB, 6 * MIB, 1);
	check_eq(resident(a), 2 * MIB);
	check_eq(seg_move(a, A + 4 * MIB, a, A + 5 * MIB, 2 * MIB), -EINVAL);
	check_eq(seg_move(a, A + 4 * MIB, a, A + 4 * MIB, PAGE), -EINVAL);
	numbered(A, 4 * MIB, 6 * MIB, 1);
	enter(VAS_HOME);
}

static void see_and_write(void *arg)
{
	enter(check_id(vas_attach(*(int *)arg)));
	numbered(B, 0, MIB, 1);
	check_eq(*(volatile size_t *)A, 0);
	*(volatile size_t *)B = 77;
	enter(VAS_HOME);
}

static void a_move_holds_in_every_process_and_face(void)
{
	char *other = A + 256 * MIB;
	int vid = scene(), face;

	face = check_id(seg_map2(a, other));
	tcase_track_seg(face);
	check_eq(seg_attach(vid, face), 0);
	number(other, 0, MIB, 1);
	numbered(A, 0, MIB, 1);
	/* through the other face */
	check_eq(seg_move(face, other, b, B, MIB), 0);
	check_eq(*(volatile size_t *)A, 0);
	check_eq(*(volatile size_t *)other, 0);
	enter(VAS_HOME);
	tcase_join(tcase_spawn(see_and_write, &vid));
	enter(vh);
	check_eq(*(volatile size_t *)B, 77);
	enter(VAS_HOME);
}

static void clones_keep_what_moves_and_what_goes(void)
{
	int vid, of_a, of_b;

	scene();
	number(A, 0, MIB, 1);
	number(B, 0, MIB, 1000);
	of_a = check_id(seg_clone(a));
	tcase_track_seg(of_a);
	of_b = check_id(seg_clone(b));
	tcase_track_seg(of_b);
	check_eq(seg_move(a, A, b, B, MIB), 0);
	numbered(B, 0, MIB, 1);
	/* a page that the clone has too */
	number(B, 0, MIB, 5000);
	numbered(B, 0, MIB, 5000);
	vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach(vid, of_a), 0);
	check_eq(seg_attach(vid, of_b), 0);
	enter(check_id(vas_attach(vid)));
	numbered(A, 0, MIB, 1);
	numbered(B, 0, MIB, 1000);
	enter(VAS_HOME);
}

static void what_moved_is_dirty_and_protections_stay(void)
{
	void *pages[8];

	scene();
	A[0] = 1;
	A[PAGE] = 2;
	check_eq(seg_dirty(b, B, MIB, pages, 8), 0);
	check_eq(seg_protect(b, B + PAGE, PAGE, PROT_READ), 0);
	check_eq(seg_move(a, A, b, B, 2 * PAGE), 0);
	check_eq(seg_dirty(b, B, MIB, pages, 8), 2);
	check_eq(tcase_try_write(B + PAGE).sig, SIGSEGV);
	check_eq(B[PAGE], 2);
	check_eq(tcase_try_write(B).sig, 0);
	enter(VAS_HOME);
}

static void bad_moves_are_refused(void)
{
	struct seg_options options = { .size = sizeof(options),
				       .flags = SEG_LOCK };
	int locked;

	scene();
	A[0] = 1;
	check_eq(seg_move(a, A + 1, b, B, PAGE), -EINVAL);
	check_eq(seg_move(a, A, b, B + 1, PAGE), -EINVAL);
	check_eq(seg_move(a, A, b, B, 0), -EINVAL);
	check_eq(seg_move(0, A, b, B, PAGE), -EINVAL);
	check_eq(seg_move(99999, A, b, B, PAGE), -ENOENT);
	check_eq(seg_move(a, A, 99999, B, PAGE), -ENOENT);
	check_eq(seg_move(a, A, b, B + 8 * MIB - PAGE, 2 * PAGE), -ERANGE);
	check_eq(seg_move(a, A - PAGE, b, B, PAGE), -ERANGE);
	locked = seg_alloc_with(NULL, B + 64 * MIB, MIB, 0600, &options);
	if (locked != -EOPNOTSUPP) {
		tcase_track_seg(check_id(locked));
		check_eq(seg_move(a, A, locked, B + 64 * MIB, PAGE), -EINVAL);
		check_eq(seg_move(locked, B + 64 * MIB, a, A, PAGE), -EINVAL);
	}
	check_eq(A[0], 1);
	enter(VAS_HOME);
}

static void move_what_may_only_be_read(void *arg)
{
	(void)arg;
	check_eq(setuid(1000), 0);
	check_eq(seg_move(a, A, b, B, PAGE), -EACCES);
	check_eq(seg_move(b, B, a, A, PAGE), -EACCES);
}

static void both_sides_must_be_writable(void)
{
	if (geteuid())
		tcase_skip("this needs a second user");
	a = tcase_seg(NULL, A, MIB, 0644);
	b = tcase_seg(NULL, B, MIB, 0666);
	tcase_join(tcase_spawn(move_what_may_only_be_read, NULL));
}

#define SLOTS	8
#define ROUNDS	2000

static pthread_barrier_t barrier;

/* Each page is a message that goes round: each mover finds it whole. */
static void *move_round(void *arg)
{
	uintptr_t n = (uintptr_t)arg;
	char *mine = A + n * 2 * MIB, *theirs = B + n * 2 * MIB;
	unsigned int i;

	enter(vh);
	pthread_barrier_wait(&barrier);
	for (i = 0; i < ROUNDS; i++) {
		size_t at = i % SLOTS * PAGE;

		memset(mine + at, (int)(i + n), PAGE);
		check_eq(seg_move(a, mine + at, b, theirs + at, PAGE), 0);
		check_eq((unsigned char)theirs[at], (unsigned char)(i + n));
		check(!memcmp(theirs + at, theirs + at + 1, PAGE - 1));
		if (i % 2)
			check_eq(*(volatile char *)(mine + at), 0);
	}
	enter(VAS_HOME);
	return NULL;
}

static void *clone_both(void *arg)
{
	unsigned int i;
	int copy;

	(void)arg;
	pthread_barrier_wait(&barrier);
	for (i = 0; i < 20; i++) {
		copy = check_id(seg_clone(i % 2 ? a : b));
		check_eq(seg_delete(copy), 0);
	}
	return NULL;
}

static void moves_beside_moves_and_clones_lose_nothing(void)
{
	pthread_t thread[3];
	uintptr_t i;

	if (pvvas_probe(PVVAS_FEATURE_PER_THREAD) != PVVAS_YES)
		tcase_skip("this needs a VAS for each thread");
	scene();
	enter(VAS_HOME);
	check_eq(pthread_barrier_init(&barrier, NULL, 3), 0);
	for (i = 0; i < 3; i++)
		check_eq(pthread_create(&thread[i], NULL, i < 2 ? move_round :
					clone_both, (void *)i), 0);
	for (i = 0; i < 3; i++)
		check_eq(pthread_join(thread[i], NULL), 0);
	enter(vh);
	check(resident(b) >= 2 * SLOTS * PAGE);
	check_eq(seg_discard(a, A, 8 * MIB), 0);
	check_eq(seg_discard(b, B, 8 * MIB), 0);
	check_eq(resident(a) + resident(b), 0);
	enter(VAS_HOME);
}

static const struct tcase cases[] = {
	CASE(what_moves_is_there_and_here_no_more),
	CASE(holes_move_too),
	CASE(within_a_segment_ranges_must_not_overlap),
	CASE(a_move_holds_in_every_process_and_face),
	CASE(clones_keep_what_moves_and_what_goes),
	CASE(what_moved_is_dirty_and_protections_stay),
	CASE(bad_moves_are_refused),
	CASE(both_sides_must_be_writable),
	CASE(moves_beside_moves_and_clones_lose_nothing),
};

TCASE_MAIN(cases, 0)
