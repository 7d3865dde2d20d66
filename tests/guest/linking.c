// SPDX-License-Identifier: GPL-2.0-only
/*
 * What attaching segments may cost, in instructions (of the emulator, whose time stamp
 * counter counts these), whatever their size and their number, and how long others wait
 * for the driver's lock meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "tcase.h"
#include "ticks.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define BLOCK	(2 * MIB)
#define MANY	2000

static int vas_of_many(int nr, size_t step)
{
	int vid = tcase_vas(NULL, 0600), i;

	for (i = 0; i < nr; i++)
		check_eq(seg_attach(vid, tcase_seg(NULL, BASE + i * step,
						   BLOCK, 0600)), 0);
	return vid;
}

struct link {
	int target, sid;
};

static void link_and_unlink(void *arg)
{
	struct link *link = arg;

	check_eq(seg_attach(link->target, link->sid), 0);
	check_eq(seg_detach(link->target, link->sid), 0);
}

static void attaching_a_segment_costs_the_same_for_2_mib_and_1_tib(void)
{
	int vid, targets[2], i, cpus = tcase_nr_cpus();
	struct link small = { .sid = tcase_seg(NULL, BASE, BLOCK, 0600) };
	struct link large = { .sid = tcase_seg(NULL, BASE, 1UL << 40, 0600) };
	uint64_t one, many, most;

	tcase_need(PVVAS_FEATURE_SWITCH);
	tcase_pin(0);
	vid = tcase_vas(NULL, 0600);
	targets[0] = vid;
	targets[1] = check_id(vas_attach(vid));
	for (i = 0; i < 2; i++) {
		small.target = large.target = targets[i];
		one = ticks_least(link_and_unlink, &small, TICKS_ANY);
		/* Emulated CPUs take turns, which each other's counter sees. */
		most = one + one / (cpus == 1 ? 10 : 1);
		many = ticks_least(link_and_unlink, &large, most);
		tcase_note("%s: 2 MiB %lu, 1 TiB %lu", i ? "private" : "public",
			   one, many);
		check(many <= most);
	}
	check_eq(vas_detach(targets[1]), 0);
}

/* Of a link that a private segment makes the driver copy, in memory that is new. */
#define MOST_A_LINK	10000

/* A handle's first private segment: once, for each segment of the VAS. */
static void a_first_private_segment_costs_little_a_segment_of_the_vas(void)
{
	int first = tcase_seg(NULL, BASE + 2 * MANY * BLOCK, BLOCK, 0600);
	int second = tcase_seg(NULL, BASE + (2 * MANY + 1) * BLOCK, BLOCK, 0600);
	int vh, vid = vas_of_many(MANY, BLOCK), i;
	uint64_t start, one = UINT64_MAX, next = UINT64_MAX, t;

	tcase_need(PVVAS_FEATURE_SWITCH);
	tcase_pin(0);
	/* More than once: the kernel still frees what other cases had. */
	for (i = 0; i < 3; i++) {
		vh = check_id(vas_attach(vid));
		start = ticks();
		check_eq(seg_attach(vh, first), 0);
		t = ticks() - start;
		if (t < one)
			one = t;
		start = ticks();
		check_eq(seg_attach(vh, second), 0);
		t = ticks() - start;
		if (t < next)
			next = t;
		check_eq(vas_detach(vh), 0);
	}
	tcase_note("beside %d segments: the first %lu, the next %lu", MANY, one,
		   next);
	check(one <= MOST_A_LINK * (uint64_t)MANY);
	check(next <= one / 4);
}

struct waits {
	atomic_ulong calls;
	atomic_ulong longest;
};

/* Calls of another process that need the driver's lock. */
static void find_again_and_again(void *arg)
{
	struct waits *waits = arg;
	uint64_t t;

	for (;;) {
		t = ticks();
		check_eq(vas_find("nothing of this name"), -ENOENT);
		t = ticks() - t;
		if (t > atomic_load(&waits->longest))
			atomic_store(&waits->longest, t);
		atomic_fetch_add(&waits->calls, 1);
	}
}

/* Turns that others must get at least, of one for 32 segments. */
#define FEW_CALLS	(MANY / 32 / 4)
#define PARTED		1000

/* What others wait while @what does something to @target and @sid; how long that takes. */
static uint64_t waits_during(int (*what)(int target, int sid), int target,
			     int sid, struct waits *result)
{
	struct waits *waits = tcase_shared(sizeof(*waits));
	pid_t pid = tcase_spawn(find_again_and_again, waits);
	uint64_t t;

	while (atomic_load(&waits->calls) < 10)
		usleep(1000);
	atomic_store(&waits->calls, 0);
	atomic_store(&waits->longest, 0);
	t = ticks();
	check_eq(what(target, sid), 0);
	t = ticks() - t;
	*result = *waits;
	/* And the one that has waited to the end, maybe. */
	while (atomic_load(&waits->calls) < result->calls + 2)
		usleep(1000);
	result->longest = waits->longest;
	check_eq(kill(pid, SIGKILL), 0);
	check_eq(waitpid(pid, NULL, 0), pid);
	return t;
}

static void a_first_private_segment_keeps_nobody_waiting_to_its_end(void)
{
	int sid = tcase_seg(NULL, BASE + 2 * MANY * BLOCK, BLOCK, 0600);
	int vid = vas_of_many(MANY, BLOCK);
	struct waits waits;

	tcase_need(PVVAS_FEATURE_SWITCH);
	waits_during(seg_attach, check_id(vas_attach(vid)), sid, &waits);
	tcase_note("%d segments, %lu calls meanwhile", MANY, waits.calls);
	check(waits.calls >= FEW_CALLS);
}

/* Each of the attachments has a private segment, and so a space of its own. */
static void linking_beside_private_segments_keeps_nobody_waiting_to_its_end(void)
{
	int vid = tcase_vas(NULL, 0600), own = tcase_seg(NULL, BASE, BLOCK, 0600);
	int sid = tcase_seg(NULL, BASE + BLOCK, BLOCK, 0600), vh[PARTED], i;
	struct waits linked, unlinked;
	uint64_t link, unlink;

	tcase_need(PVVAS_FEATURE_SWITCH);
	for (i = 0; i < PARTED; i++) {
		vh[i] = check_id(vas_attach(vid));
		check_eq(seg_attach(vh[i], own), 0);
	}
	link = waits_during(seg_attach, vid, sid, &linked);
	for (i = 0; i < PARTED; i += 97) {
		check_eq(vas_switch(vh[i]), 0);
		BASE[BLOCK] = 1;
	}
	unlink = waits_during(seg_detach, vid, sid, &unlinked);
	for (i = 0; i < PARTED; i += 97) {
		check_eq(vas_switch(vh[i]), 0);
		check_eq(tcase_try_read(BASE + BLOCK).sig, SIGSEGV);
	}
	check_eq(vas_switch(VAS_HOME), 0);
	for (i = 0; i < PARTED; i++)
		check_eq(vas_detach(vh[i]), 0);
	tcase_note("%d attachments: linked in %lu, longest wait %lu; unlinked in %lu, %lu",
		   PARTED, link, linked.longest, unlink, unlinked.longest);
	check(linked.longest <= link / 3 && unlinked.longest <= unlink / 3);
}

/* 0 if the VAS has the segment as one that is lockable, or -ENOENT. */
static int lockable_in(int fd, int vid, int sid)
{
	struct pvvas_ioc_link link = {
		.size = sizeof(link), .target = (uint32_t)vid,
		.flags = PVVAS_LINK_LOCKABLE,
	};

	if (ioctl(fd, PVVAS_IOC_LINK_NEXT, &link))
		return -errno;
	check_eq(link.seg, (uint32_t)sid);
	return 0;
}

/* A segment in very many VASes: that is not done in one piece, but it is all done. */
static void a_segment_in_2000_vases_is_lockable_in_each(void)
{
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);
	int sid = tcase_seg(NULL, BASE, BLOCK, 0600), vids[MANY], i;

	check(fd >= 0);
	for (i = 0; i < MANY; i++) {
		vids[i] = tcase_vas(NULL, 0600);
		check_eq(seg_attach(vids[i], sid), 0);
	}
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
	for (i = 0; i < MANY; i++)
		check_eq(lockable_in(fd, vids[i], sid), 0);
	check_eq(seg_detach(vids[1], sid), 0);
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_OFF), 0);
	for (i = 0; i < MANY; i++)
		check_eq(lockable_in(fd, vids[i], sid), -ENOENT);
	close(fd);
}

/* The most that one question for the next segment takes, of some. */
static uint64_t most_of_asking(int vh)
{
	uint64_t most = 0, t;
	int i, sid = 0;

	for (i = 0; i < 10; i++) {
		t = ticks();
		sid = check_id(vas_next_seg(vh, sid, NULL));
		t = ticks() - t;
		if (t > most)
			most = t;
	}
	return most;
}

/* Each of the public segments is behind a private one, with higher ids. */
static void asking_what_a_view_shows_is_cheap_whatever_it_hides(void)
{
	int vid = tcase_vas(NULL, 0600), vh = check_id(vas_attach(vid)), i;
	uint64_t most;

	for (i = MANY; i--;)
		check_eq(seg_attach(vh, tcase_seg(NULL, BASE + i * BLOCK, BLOCK,
						  0600)), 0);
	for (i = 0; i < MANY; i++)
		check_eq(seg_attach(vid, tcase_seg(NULL, BASE + i * BLOCK,
						   BLOCK, 0600)), 0);
	most = most_of_asking(vh);
	tcase_note("%d segments, as many hidden: %lu", MANY, most);
	check_eq(vas_detach(vh), 0);
	/* A step for each hidden one of each private one is a million times four. */
	check(most < 2500000);
}

static const struct tcase cases[] = {
	CASE(attaching_a_segment_costs_the_same_for_2_mib_and_1_tib),
	CASE_SECONDS(a_first_private_segment_costs_little_a_segment_of_the_vas, 120),
	CASE_SECONDS(a_first_private_segment_keeps_nobody_waiting_to_its_end, 120),
	CASE_SECONDS(linking_beside_private_segments_keeps_nobody_waiting_to_its_end, 120),
	CASE_SECONDS(a_segment_in_2000_vases_is_lockable_in_each, 120),
	CASE_SECONDS(asking_what_a_view_shows_is_cheap_whatever_it_hides, 120),
};

TCASE_MAIN(cases, 0)
