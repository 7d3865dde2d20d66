// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that a segment gives back: what is then read, by which process, and which
 * keeps it; and what a pager writes out.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL

static int sid, vh;

static void enter(int to)
{
	check_eq(vas_switch(to), 0);
	check_eq(vas_current(), to);
}

/* A VAS that shows a segment of 4 MiB, of a kind. */
static int vas_with(uint32_t flags)
{
	int vid = tcase_vas(NULL, 0600);

	sid = tcase_seg_with(NULL, BASE, 4 * MIB, 0600, flags);
	check_eq(seg_attach(vid, sid), 0);
	return vid;
}

static void scene(uint32_t flags)
{
	vh = check_id(vas_attach(vas_with(flags)));
	enter(vh);
}

static uint64_t resident(void)
{
	struct seg_stat stat = { .size = sizeof(stat) };

	check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), 0);
	return stat.resident;
}

static void what_is_discarded_is_zero_again(void)
{
	size_t at;

	scene(0);
	memset(BASE, 7, 4 * MIB);
	check_eq(resident(), 4 * MIB);
	/* a part of 2 MiB, and all of the others */
	check_eq(seg_discard(sid, BASE + MIB, 3 * MIB), 0);
	check_eq(resident(), MIB);
	for (at = 0; at < MIB; at += PAGE)
		check_eq(BASE[at], 7);
	for (; at < 4 * MIB; at += PAGE)
		check_eq(*(volatile char *)(BASE + at), 0);
	memset(BASE + MIB, 8, 3 * MIB);
	for (at = 0; at < 4 * MIB; at += PAGE)
		check_eq(BASE[at], at < MIB ? 7 : 8);
	check_eq(seg_ctl(sid, SEG_CTL_DISCARD, BASE, 4 * MIB), 0);
	check_eq(resident(), 0);
	check_eq(seg_discard(sid, BASE, 4 * MIB), 0);
	check_eq(*(volatile char *)(BASE + 2 * MIB), 0);
	enter(VAS_HOME);
}

static void discard_again_and_again(void *arg)
{
	enter(check_id(vas_attach(*(int *)arg)));
	check_eq(BASE[PAGE], 5);
	check_eq(seg_discard(sid, BASE, 4 * MIB), 0);
	check_eq(*(volatile char *)(BASE + PAGE), 0);
	BASE[2 * PAGE] = 6;
	enter(VAS_HOME);
}

static void a_discard_holds_in_every_process_and_face(void)
{
	int vid = vas_with(0), face;
	char *other = BASE + 64 * MIB;

	face = check_id(seg_map2(sid, other));
	tcase_track_seg(face);
	check_eq(seg_attach(vid, face), 0);
	vh = check_id(vas_attach(vid));
	enter(vh);
	BASE[PAGE] = 5;
	check_eq(other[PAGE], 5);
	enter(VAS_HOME);
	tcase_join(tcase_spawn(discard_again_and_again, &vid));
	enter(vh);
	check_eq(*(volatile char *)(BASE + PAGE), 0);
	check_eq(*(volatile char *)(other + PAGE), 0);
	check_eq(other[2 * PAGE], 6);
	enter(VAS_HOME);
}

static void a_clone_keeps_what_is_discarded(void)
{
	int vid, copy;

	scene(0);
	memset(BASE, 9, 3 * MIB);
	copy = check_id(seg_clone(sid));
	tcase_track_seg(copy);
	check_eq(seg_discard(sid, BASE, 4 * MIB), 0);
	check_eq(*(volatile char *)(BASE + MIB), 0);
	BASE[MIB] = 1;
	vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach(vid, copy), 0);
	enter(check_id(vas_attach(vid)));
	check_eq(BASE[0], 9);
	check_eq(BASE[MIB], 9);
	check_eq(BASE[3 * MIB - 1], 9);
	check_eq(seg_discard(copy, BASE, MIB), 0);
	check_eq(*(volatile char *)BASE, 0);
	check_eq(BASE[MIB], 9);
	enter(VAS_HOME);
}

static int nr_asked;

static int fill_with_number(const struct seg_fault *fault, void *arg)
{
	static char data[PAGE] __attribute__((aligned(16)));
	uintptr_t page = (uintptr_t)fault->addr & ~(PAGE - 1);

	(void)arg;
	nr_asked++;
	memset(data, (int)((page - (uintptr_t)BASE) / PAGE) + 1, PAGE);
	check_eq(seg_fill(fault->sid, (void *)page, data, PAGE), 1);
	return SEG_TRAP_RESUME;
}

static void a_pager_is_asked_again_after_a_discard(void)
{
	scene(SEG_SMALL);
	check_eq(seg_pager(sid, 1), 0);
	nr_asked = 0;
	check_eq(seg_trap(sid, fill_with_number, NULL), 0);
	check_eq(*(volatile char *)(BASE + 3 * PAGE + 1), 4);
	check_eq(*(volatile char *)(BASE + 3 * PAGE + 2), 4);
	check_eq(nr_asked, 1);
	check_eq(seg_discard(sid, BASE + 3 * PAGE, PAGE), 0);
	check_eq(*(volatile char *)(BASE + 3 * PAGE + 1), 4);
	check_eq(nr_asked, 2);
	check_eq(seg_trap(sid, NULL, NULL), 0);
	enter(VAS_HOME);
}

/* The first telling is of all; what is gone and not written again is told of no more. */
static void what_is_discarded_is_not_dirty(void)
{
	void *pages[8];

	scene(SEG_SMALL);
	memset(BASE, 1, 4 * PAGE);
	check_eq(seg_discard(sid, BASE, 2 * PAGE), 0);
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 8), 2);
	check(pages[0] == BASE + 2 * PAGE && pages[1] == BASE + 3 * PAGE);
	BASE[2 * PAGE] = 2;
	check_eq(seg_discard(sid, BASE + 2 * PAGE, PAGE), 0);
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 8), 0);
	BASE[2 * PAGE] = 3;
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 8), 1);
	enter(VAS_HOME);
}

static void protections_outlive_a_discard(void)
{
	scene(0);
	memset(BASE, 1, MIB);
	check_eq(seg_protect(sid, BASE, 2 * PAGE, PROT_READ), 0);
	check_eq(seg_discard(sid, BASE, MIB), 0);
	check_eq(*(volatile char *)BASE, 0);
	check_eq(tcase_try_write(BASE + PAGE).sig, SIGSEGV);
	check_eq(tcase_try_write(BASE + 2 * PAGE).sig, 0);
	enter(VAS_HOME);
}

static void bad_ranges_are_refused(void)
{
	scene(0);
	check_eq(seg_discard(sid, BASE + 1, PAGE), -EINVAL);
	check_eq(seg_discard(sid, BASE, 0), -EINVAL);
	check_eq(seg_discard(0, BASE, PAGE), -EINVAL);
	check_eq(seg_discard(99999, BASE, PAGE), -ENOENT);
	check_eq(seg_discard(sid, BASE + 3 * MIB, 2 * MIB), -ERANGE);
	check_eq(seg_discard(sid, BASE - PAGE, PAGE), -ERANGE);
	enter(VAS_HOME);
}

static void a_locked_segment_is_not_discarded(void)
{
	struct seg_options options = { .size = sizeof(options),
				       .flags = SEG_LOCK };
	int locked = seg_alloc_with(NULL, BASE, MIB, 0600, &options);

	if (locked == -EOPNOTSUPP)
		tcase_skip("this backend has no locked segments");
	tcase_track_seg(check_id(locked));
	check_eq(seg_discard(locked, BASE, MIB), -EINVAL);
}

/* What a pager has written out: a page each, by number. */
static char store[4 * MIB / PAGE][PAGE] __attribute__((aligned(4096)));
static bool stored[4 * MIB / PAGE];
static pthread_mutex_t store_lock = PTHREAD_MUTEX_INITIALIZER;

static size_t number_of(const void *page)
{
	return (size_t)((const char *)page - BASE) / PAGE;
}

static int page_in(const struct seg_fault *fault, void *arg)
{
	void *page = (void *)((uintptr_t)fault->addr & ~(PAGE - 1));
	size_t n = number_of(page);
	static const char zeroes[PAGE];

	(void)arg;
	if (!fault->missing)
		return SEG_TRAP_PASS;
	pthread_mutex_lock(&store_lock);
	check(seg_fill(fault->sid, page, stored[n] ? store[n] : zeroes, PAGE) >= 0);
	pthread_mutex_unlock(&store_lock);
	return SEG_TRAP_RESUME;
}

/* Takes up to @max pages out, and keeps them. */
static int page_out(size_t max)
{
	static char data[64][PAGE] __attribute__((aligned(4096)));
	void *pages[64];
	int n, i;

	pthread_mutex_lock(&store_lock);
	n = seg_evict(sid, pages, data, max < 64 ? max : 64);
	for (i = 0; i < n; i++) {
		memcpy(store[number_of(pages[i])], data[i], PAGE);
		stored[number_of(pages[i])] = true;
	}
	pthread_mutex_unlock(&store_lock);
	return n;
}

static void paged_scene(void)
{
	memset(stored, 0, sizeof(stored));
	scene(0);
	if (seg_limit(sid, SEG_NO_LIMIT) == -EOPNOTSUPP)
		tcase_skip("this backend has no pagers that write out");
	check_eq(seg_pager(sid, 1), 0);
	check_eq(seg_trap(sid, page_in, NULL), 0);
}

static void paged_end(void)
{
	check_eq(seg_trap(sid, NULL, NULL), 0);
	enter(VAS_HOME);
}

static void what_is_cold_is_evicted_and_comes_back(void)
{
	int i, hot;

	paged_scene();
	for (i = 0; i < 64; i++)
		BASE[i * PAGE] = (char)(i + 1);
	check_eq(resident(), 64 * PAGE);
	/* the first turn makes all idle, those that are used since stay */
	check_eq(page_out(1), 1);
	for (i = 32; i < 64; i++)
		BASE[i * PAGE + 1] = 5;
	check_eq(page_out(31), 31);
	for (i = hot = 0; i < 64; i++)
		hot += stored[i] && i >= 32;
	check_eq(hot, 0);
	check_eq(resident(), 32 * PAGE);
	for (i = 0; i < 64; i++) {
		check_eq(BASE[i * PAGE], (char)(i + 1));
		check_eq(BASE[i * PAGE + 1], i < 32 ? 0 : 5);
	}
	check_eq(resident(), 64 * PAGE);
	/* all of it, and then there is none */
	check_eq(page_out(64), 64);
	check_eq(resident(), 0);
	check_eq(page_out(64), 0);
	check_eq(BASE[63 * PAGE], 64);
	paged_end();
}

static void nothing_is_evicted_that_cannot_be_kept(void)
{
	void *pages[4];
	char *data = store[0];

	scene(0);
	BASE[0] = 7;
	if (seg_limit(sid, 0) == -EOPNOTSUPP)
		tcase_skip("this backend has no pagers that write out");
	/* without a pager it would be lost */
	check_eq(seg_evict(sid, pages, data, 4), -EINVAL);
	check_eq(seg_pager(sid, 1), 0);
	check_eq(seg_evict(sid, pages, NULL, 4), -EINVAL);
	check_eq(seg_evict(sid, NULL, data, 4), -EINVAL);
	check_eq(seg_evict(sid, pages, (void *)8, 4), -EFAULT);
	check_eq(seg_evict(sid, (void **)8, data, 4), -EFAULT);
	check_eq(resident(), PAGE);
	check_eq(BASE[0], 7);
	check_eq(seg_evict(99999, pages, data, 4), -ENOENT);
	enter(VAS_HOME);
}

static struct timespec in_ms(long ms)
{
	struct timespec t;

	check_eq(clock_gettime(CLOCK_MONOTONIC, &t), 0);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	return t;
}

static void who_is_above_the_limit_wakes_the_pager(void)
{
	struct timespec t = in_ms(50);
	uint64_t bytes = 0;
	int i;

	paged_scene();
	check_eq(seg_ctl(sid, SEG_CTL_LIMIT, (uint64_t)(8 * PAGE)), 0);
	check_eq(seg_reclaim_wait(sid, &bytes, &t), -ETIMEDOUT);
	for (i = 0; i < 8; i++)
		BASE[i * PAGE] = 1;
	t = in_ms(50);
	check_eq(seg_reclaim_wait(sid, &bytes, &t), -ETIMEDOUT);
	for (; i < 12; i++)
		BASE[i * PAGE] = 1;
	check_eq(seg_reclaim_wait(sid, &bytes, NULL), 0);
	check_eq(bytes, 4 * PAGE);
	check_eq(page_out(4), 4);
	t = in_ms(50);
	check_eq(seg_reclaim_wait(sid, &bytes, &t), -ETIMEDOUT);
	check_eq(seg_limit(sid, 0), 0);
	check_eq(seg_reclaim_wait(sid, &bytes, NULL), -EINVAL);
	check_eq(seg_reclaim_wait(99999, &bytes, NULL), -ENOENT);
	paged_end();
}

static void *wait_for_pressure(void *arg)
{
	return (void *)(intptr_t)seg_reclaim_wait(sid, arg, NULL);
}

/* Until the thread waits, pressure comes to nothing: again and again. */
static void the_kernels_need_wakes_the_pager(void)
{
	uint64_t bytes = 0;
	pthread_t thread;
	void *ret;
	int fd, i;

	paged_scene();
	memset(BASE, 1, MIB);
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		tcase_skip("no /proc/sys/vm/drop_caches to write to");
	check_eq(pthread_create(&thread, NULL, wait_for_pressure, &bytes), 0);
	for (i = 0; i < 200 && pthread_tryjoin_np(thread, &ret); i++) {
		check_eq(write(fd, "2", 1), 1);
		usleep(20000);
	}
	check(i < 200);
	check_eq((intptr_t)ret, 0);
	check(bytes > 0 && bytes <= MIB);
	close(fd);
	paged_end();
}

/* A pager that waits keeps no segment, and hears of its end. */
static void the_end_of_a_segment_wakes_the_pager(void)
{
	uint64_t bytes;
	pthread_t thread;
	void *ret;
	int vid;

	tcase_need(PVVAS_FEATURE_SWITCH);
	vid = tcase_vas(NULL, 0600);
	sid = check_id(seg_alloc(NULL, BASE, MIB, 0600));
	check_eq(seg_attach(vid, sid), 0);
	check_eq(seg_limit(sid, SEG_NO_LIMIT), 0);
	check_eq(pthread_create(&thread, NULL, wait_for_pressure, &bytes), 0);
	usleep(50000);
	check_eq(seg_detach(vid, sid), 0);
	check_eq(seg_delete(sid), 0);
	check_eq(pthread_join(thread, &ret), 0);
	check_eq((intptr_t)ret, -ENOENT);
}

static void do_nothing(int sig)
{
	(void)sig;
}

static void a_signal_ends_the_wait_of_a_pager(void)
{
	struct sigaction act = { .sa_handler = do_nothing };
	uint64_t bytes;

	paged_scene();
	check_eq(sigaction(SIGALRM, &act, NULL), 0);
	alarm(1);
	check_eq(seg_reclaim_wait(sid, &bytes, NULL), -EINTR);
	paged_end();
}

static volatile bool over;

static void *page_out_all_the_time(void *arg)
{
	volatile int *n = arg;
	int ret;

	while (!over) {
		ret = page_out(4);
		check(ret >= 0);
		*n += ret;
		usleep(1000);
	}
	return NULL;
}

/* Each page counts up; what was evicted between a read and a write would be seen. */
static void no_write_is_lost_to_a_pager(void)
{
	uint64_t seed = 88172645463325252ULL;
	unsigned int count[64] = {};
	volatile int n = 0;
	pthread_t thread;
	time_t end;
	int i;

	paged_scene();
	over = false;
	end = in_ms(8000).tv_sec;
	check_eq(pthread_create(&thread, NULL, page_out_all_the_time,
				(void *)&n), 0);
	for (i = 0; i < 2000 || (n < 200 && in_ms(0).tv_sec < end); i++) {
		volatile unsigned int *word;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		word = (unsigned int *)(BASE + seed % 64 * PAGE);
		(*word)++;
		count[seed % 64]++;
	}
	over = true;
	check_eq(pthread_join(thread, NULL), 0);
	check(n > 0);
	for (i = 0; i < 64; i++)
		check_eq(*(unsigned int *)(BASE + i * PAGE), count[i]);
	paged_end();
}

static const struct tcase cases[] = {
	CASE(what_is_discarded_is_zero_again),
	CASE(a_discard_holds_in_every_process_and_face),
	CASE(a_clone_keeps_what_is_discarded),
	CASE(a_pager_is_asked_again_after_a_discard),
	CASE(what_is_discarded_is_not_dirty),
	CASE(protections_outlive_a_discard),
	CASE(bad_ranges_are_refused),
	CASE(a_locked_segment_is_not_discarded),
	CASE(what_is_cold_is_evicted_and_comes_back),
	CASE(nothing_is_evicted_that_cannot_be_kept),
	CASE(who_is_above_the_limit_wakes_the_pager),
	CASE(the_kernels_need_wakes_the_pager),
	CASE(the_end_of_a_segment_wakes_the_pager),
	CASE(a_signal_ends_the_wait_of_a_pager),
	CASE(no_write_is_lost_to_a_pager),
};

TCASE_MAIN(cases, 0)
