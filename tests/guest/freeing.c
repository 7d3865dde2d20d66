// SPDX-License-Identifier: GPL-2.0-only
/*
 * The end of large segments: a kernel thread frees them, the deleter does not wait,
 * and the counters say what is left.  Where memory is short nothing waits to be freed.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "cgroup.h"
#include "driver.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define LARGE	(64 * MIB)
/* Less than what a kernel thread is asked for. */
#define SMALL	(12 * MIB)
#define TRIES	5
#define NOBODY	1000

static struct pvvas_stats counters(void)
{
	struct pvvas_stats stats = { .size = sizeof(stats) };

	check_eq(pvvas_stats(&stats), 0);
	return stats;
}

/* What this thread has run, not others meanwhile; nanoseconds. */
static uint64_t own_time(void)
{
	struct timespec ts;

	check_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts), 0);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Pages one by one, which take longest. */
static int segment_of(size_t size)
{
	struct seg_options options = {
		.size = sizeof(options),
		.flags = SEG_SMALL | SEG_POPULATE,
	};

	return check_id(seg_alloc_with(NULL, BASE, size, 0600, &options));
}

/* Until nothing is left; fails where that takes long. */
static void wait_for_end(void)
{
	int i;

	for (i = 0; i < 1000 && counters().freeing; i++)
		usleep(10000);
	check_eq(counters().freeing, 0);
}

static uint64_t least_of_deleting(size_t size)
{
	uint64_t least = UINT64_MAX, t;
	int i, sid;

	for (i = 0; i < TRIES; i++) {
		sid = segment_of(size);
		t = own_time();
		check_eq(seg_delete(sid), 0);
		t = own_time() - t;
		if (t < least)
			least = t;
		wait_for_end();
	}
	return least;
}

static void who_deletes_64_mib_does_not_free_them_itself(void)
{
	uint64_t small, large;

	small = least_of_deleting(SMALL);
	large = least_of_deleting(LARGE);
	tcase_note("%lu MiB %lu ns, %lu MiB %lu ns", SMALL / MIB, small,
		   LARGE / MIB, large);
	check(large < small / 4);
}

static void what_is_left_to_free_is_counted_down(void)
{
	uint64_t before = counters().pages, seen = 0, left, now;
	int i, sid;

	for (i = 0; i < TRIES && !seen; i++) {
		sid = segment_of(LARGE);
		check_eq(counters().pages, before + LARGE / PAGE);
		check_eq(counters().freeing, 0);
		check_eq(seg_delete(sid), 0);
		/* The name is gone at once, the pages go one after the other. */
		check_eq(seg_delete(sid), -ENOENT);
		left = counters().freeing;
		check(left <= LARGE / PAGE);
		for (seen = left; left; left = now) {
			now = counters().freeing;
			check(now <= left);
			usleep(1000);
		}
		check_eq(counters().pages, before);
	}
	tcase_note("%lu of %lu pages seen waiting", seen, LARGE / PAGE);
	check(seen);
}

/* As soon as it is deleted it is no part of the quota. */
static void make_again_and_again(void *arg)
{
	int i, sid;

	(void)arg;
	tcase_become(NOBODY);
	for (i = 0; i < TRIES; i++) {
		sid = segment_of(LARGE);
		check_eq(seg_delete(sid), 0);
	}
}

static void what_waits_to_be_freed_is_in_no_quota(void)
{
	driver_with("user_memory_mib", LARGE / MIB, 0, make_again_and_again);
	wait_for_end();
}

/* The cgroup would be full, and a process in it killed, if the old ones were there. */
static void make_in_a_cgroup(void *arg)
{
	int i, sid;

	(void)arg;
	cgroup_enter("narrow");
	for (i = 0; i < TRIES; i++) {
		sid = segment_of(LARGE);
		check_eq(seg_delete(sid), 0);
		check_eq(counters().freeing, 0);
	}
}

static void in_a_cgroup_without_room_nothing_waits(void)
{
	cgroup_make("narrow", "100663296");	/* 96 MiB */
	tcase_join(tcase_spawn(make_in_a_cgroup, NULL));
	cgroup_remove("narrow");
}

/* All that a program of the first version knows. */
static void a_shorter_struct_gets_what_it_has_room_for(void)
{
	struct pvvas_stats stats;

	memset(&stats, 0x5a, sizeof(stats));
	stats.size = offsetof(struct pvvas_stats, freeing);
	check_eq(pvvas_stats(&stats), 0);
	check_eq(stats.size, offsetof(struct pvvas_stats, freeing));
	check_eq(stats.reserved, 0);
	check_eq(stats.segs, counters().segs);
	check_eq(stats.freeing, 0x5a5a5a5a5a5a5a5a);
}

static const struct tcase cases[] = {
	CASE_SECONDS(who_deletes_64_mib_does_not_free_them_itself, 120),
	CASE_SECONDS(what_is_left_to_free_is_counted_down, 120),
	CASE_SECONDS(what_waits_to_be_freed_is_in_no_quota, 120),
	CASE_SECONDS(in_a_cgroup_without_room_nothing_waits, 120),
	CASE(a_shorter_struct_gets_what_it_has_room_for),
};

TCASE_MAIN(cases, 0)
