// SPDX-License-Identifier: GPL-2.0-only
/*
 * What another user can burden others with, beside pages: tables, and the time
 * in which a lock or a clone is held for a cgroup that has to wait for memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "cgroup.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define GIB	(1UL << 30)
#define TIB	(1UL << 40)
#define BLOCK	(2 * MIB)
#define PAGE	4096UL
#define NOBODY	1000
#define CGROUPS	"/tmp/cgroup/"
#define QUOTAS	"/sys/module/pvvas/parameters"
/* what a cgroup is charged ahead */
#define SLACK	(512L << 10)

struct scene {
	_Atomic int turn;
	_Atomic int stop;
	_Atomic long slowest;	/* microseconds */
	_Atomic long done;
	char name[64];
	int vid;
	int sid;
};

static void pass(struct scene *s)
{
	atomic_fetch_add(&s->turn, 1);
}

static void await(struct scene *s, int turn)
{
	while (atomic_load(&s->turn) < turn)
		usleep(1000);
}

static struct scene *new_scene(void)
{
	struct scene *s = tcase_shared(sizeof(*s));

	strcpy(s->name, tcase_name("burden"));
	return s;
}

static long available(void)
{
	return tcase_number("/proc/meminfo", "MemAvailable:") << 10;
}

/*
 * Tables.
 */

#define SPARSE	(4 * GIB)

static void own_sparse(void *arg)
{
	struct scene *s = arg;

	cgroup_enter("owner");
	s->sid = tcase_seg(s->name, BASE, SPARSE, 0644);
	s->vid = tcase_vas(NULL, 0644);
	check_eq(seg_attach(s->vid, s->sid), 0);
	pass(s);
	await(s, 3);
}

static void read_everywhere(void *arg)
{
	struct scene *s = arg;
	volatile char *p = BASE;
	size_t at;

	cgroup_enter("reader");
	tcase_become(NOBODY);
	check_eq(vas_switch(check_id(vas_attach(s->vid))), 0);
	for (at = 0; at < SPARSE; at += BLOCK)
		check_eq(p[at], 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void reading_in_many_places_costs_the_owners_cgroup_nothing(void)
{
	struct scene *s = new_scene();
	pid_t owner, reader;
	long before, after;

	cgroup_make("owner", "max");
	cgroup_make("reader", "max");
	owner = tcase_spawn(own_sparse, s);
	await(s, 1);
	before = cgroup_bytes("owner");
	reader = tcase_spawn(read_everywhere, s);
	tcase_join(reader);
	after = cgroup_bytes("owner");
	tcase_note("owner %ld KiB, then %ld; reader %ld", before >> 10,
		   after >> 10, cgroup_bytes("reader") >> 10);
	atomic_store(&s->turn, 3);
	tcase_join(owner);
	seg_delete(s->sid);
	vas_delete(s->vid);
	cgroup_remove("owner");
	cgroup_remove("reader");
	check(after <= before + SLACK);
}

/* Anonymous segments: they go with the process. */
static void make_huge_ones(void *arg)
{
	struct scene *s = arg;
	long before = available(), n;
	int sid = 0;

	tcase_become(NOBODY);
	for (n = 0; n < 600 && sid >= 0; n++)
		sid = seg_alloc(NULL, BASE, 8 * TIB - TIB, 0400);
	tcase_note("%ld segments, the last answer %d: %ld KiB", n, sid,
		   (before - available()) >> 10);
	check(before - available() < 24 * (long)MIB);
	(void)s;
}

/* Run fn(arg) with a small quota, which goes before the case can fail. */
static void with_8_mib(void (*fn)(void *arg), void *arg)
{
	siginfo_t info;
	pid_t pid;

	put_value(QUOTAS, "max_memory_mib", "8");
	pid = tcase_spawn(fn, arg);
	waitid(P_PID, pid, &info, WEXITED | WNOWAIT);
	put_value(QUOTAS, "max_memory_mib", "0");
	tcase_join(pid);
}

static void segments_without_pages_are_held_to_the_quota(void)
{
	struct scene *s = new_scene();

	with_8_mib(make_huge_ones, s);
}

static void read_own(void *arg)
{
	struct scene *s = arg;
	long before = available();
	struct tcase_fault f = { 0 };
	size_t at;
	int sid, vid;

	tcase_become(NOBODY);
	sid = check_id(seg_alloc(NULL, BASE, 16 * GIB, 0400));
	vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach_prot(vid, sid, 1), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	for (at = 0; at < 16 * GIB && !f.sig; at += BLOCK)
		f = tcase_try_read(BASE + at);
	check_eq(vas_switch(VAS_HOME), 0);
	tcase_note("%zu reads, signal %d: %ld KiB", at / BLOCK, f.sig,
		   (before - available()) >> 10);
	check(before - available() < 24 * (long)MIB);
	(void)s;
}

static void tables_are_held_to_the_quota(void)
{
	struct scene *s = new_scene();

	with_8_mib(read_own, s);
}

/* A page in each block: as many tables as pages, and fewer are allowed. */
static void fill_with_tables(void *arg)
{
	int sid, vid, err = 0;
	size_t at;

	tcase_become(NOBODY);
	vid = check_id(vas_create(NULL, 0600));
	for (at = 17; at < 19; at++)
		check_eq(seg_attach(vid, check_id(seg_alloc(NULL,
			BASE + at * GIB, PAGE, 0600))), 0);
	sid = check_id(seg_alloc(NULL, BASE, 16 * GIB, 0600));
	for (at = 0; at < 16 * GIB && !err; at += BLOCK)
		err = seg_populate(sid, BASE + at, PAGE);
	check_eq(err, -ENOSPC);
	/* two in a GiB, for which a VAS has a table of its own: one is left */
	for (at = 17, err = 0; at < 19 && !err; at++)
		err = seg_attach(vid, check_id(seg_alloc(NULL,
			BASE + at * GIB + BLOCK, PAGE, 0600)));
	check_eq(err, -ENOSPC);
	(void)arg;
}

static void tables_beyond_the_quota_are_enospc(void)
{
	with_8_mib(fill_with_tables, NULL);
}

/*
 * Time.
 */

static void high(const char *limit)
{
	put_value(CGROUPS "reader", "memory.high", limit);
}

static void measure_find(void *arg)
{
	struct scene *s = arg;
	long at, took;

	tcase_pin(0);
	vas_find("nothing of this name");
	pass(s);
	while (!atomic_load(&s->stop)) {
		at = tcase_microseconds();
		check_eq(vas_find("nothing of this name"), -ENOENT);
		took = tcase_microseconds() - at;
		if (took > atomic_load(&s->slowest))
			atomic_store(&s->slowest, took);
		atomic_fetch_add(&s->done, 1);
		usleep(500);
	}
}

#define CROWDS	400

static void attach_with_much(void *arg)
{
	struct scene *s = arg;
	int vid, mine, vh, i;
	long took;

	cgroup_enter("reader");
	tcase_become(NOBODY);
	vid = check_id(vas_create(NULL, 0600));
	for (i = 0; i < CROWDS; i++) {
		check_eq(seg_attach(vid, check_id(seg_alloc(NULL,
			BASE + i * GIB, PAGE, 0600))), 0);
		check_eq(seg_attach(vid, check_id(seg_alloc(NULL,
			BASE + i * GIB + BLOCK, PAGE, 0600))), 0);
	}
	mine = check_id(seg_alloc(NULL, BASE + CROWDS * GIB, PAGE, 0600));
	pass(s);
	await(s, 3);
	for (i = 0; i < 2; i++) {
		vh = check_id(vas_attach(vid));
		took = tcase_microseconds();
		check_eq(seg_attach(vh, mine), 0);
		tcase_note("the attacker's call took %ld us",
			   tcase_microseconds() - took);
		check_eq(vas_detach(vh), 0);
	}
}

static void a_cgroup_that_waits_for_memory_keeps_nobody_else_waiting(void)
{
	struct scene *s = new_scene();
	pid_t attacker, victim;

	cgroup_make("reader", "max");
	attacker = tcase_spawn(attach_with_much, s);
	await(s, 1);
	victim = tcase_spawn(measure_find, s);
	await(s, 2);
	high("1M");
	pass(s);
	tcase_join(attacker);
	atomic_store(&s->stop, 1);
	tcase_join(victim);
	tcase_note("the slowest of %ld calls of another user: %ld us",
		   atomic_load(&s->done), atomic_load(&s->slowest));
	cgroup_remove("reader");
	check(atomic_load(&s->slowest) < 1500000);
}

#define CLONED	MIB

static void become_reader(void *arg)
{
	struct scene *s = arg;
	long took;

	cgroup_enter("reader");
	tcase_become(NOBODY);
	/* more than the limit, before */
	memset(malloc(8 * MIB), 1, 8 * MIB);
	pass(s);
	await(s, 2);
	took = tcase_microseconds();
	check_id(seg_clone(s->sid));
	tcase_note("the reader's clone took %ld us", tcase_microseconds() - took);
}

/* Clone a segment of this mode while @slow works on it in a cgroup beyond its limit. */
static void clone_beside(void (*slow)(void *arg), mode_t mode)
{
	struct scene *s = new_scene();
	pid_t other;
	long took;

	cgroup_make("reader", "max");
	s->sid = tcase_seg(s->name, BASE, CLONED, mode);
	check_eq(seg_populate(s->sid, BASE, CLONED), 0);
	other = tcase_spawn(slow, s);
	await(s, 1);
	high("1M");
	pass(s);
	usleep(500000);
	took = tcase_microseconds();
	tcase_track_seg(check_id(seg_clone(s->sid)));
	took = tcase_microseconds() - took;
	tcase_note("the owner's clone took %ld us", took);
	tcase_join(other);
	cgroup_remove("reader");
	check(took < 2000000);
}

static void a_readers_slow_clone_does_not_hold_up_the_owners(void)
{
	clone_beside(become_reader, 0644);
}

/* To memory of its own, for which its cgroup pays: by copies. */
static void become_mover(void *arg)
{
	struct scene *s = arg;
	long took;
	int sid;

	cgroup_enter("reader");
	tcase_become(NOBODY);
	sid = check_id(seg_alloc(NULL, BASE, CLONED, 0600));
	memset(malloc(8 * MIB), 1, 8 * MIB);
	pass(s);
	await(s, 2);
	took = tcase_microseconds();
	check_eq(seg_move(s->sid, BASE, sid, BASE, CLONED), 0);
	tcase_note("the move took %ld us", tcase_microseconds() - took);
}

static void a_slow_move_does_not_hold_up_the_owners_clone(void)
{
	clone_beside(become_mover, 0666);
}

static uint64_t tables(void)
{
	struct pvvas_stats stats = { .size = sizeof(stats) };

	check_eq(pvvas_stats(&stats), 0);
	return stats.tables;
}

/* Else 16 GiB without a page would cost 8192 tables. */
static void a_move_makes_tables_where_there_are_pages(void)
{
	int from = tcase_seg(NULL, BASE, 16 * GIB, 0600);
	int to = tcase_seg(NULL, BASE, 16 * GIB, 0600);
	size_t at = 15 * GIB + 5 * PAGE, length;
	uint64_t before;

	check_eq(seg_populate(from, BASE + at, PAGE), 0);
	check_eq(seg_populate(to, BASE + GIB, PAGE), 0);
	before = tables();
	check_eq(seg_move(from, BASE, to, BASE, 16 * GIB), 0);
	check(tables() - before < 8);
	/* what was there is gone, as nothing came in its place */
	at = 0;
	check_eq(seg_next_data(to, &at, &length), 0);
	check_eq(at, 15 * GIB + 5 * PAGE);
	at = 0;
	check_eq(seg_next_data(from, &at, &length), -ENOENT);
}

/* One user has all addresses, and many segments at those of another one. */
#define MANY	3000

static void take_all_places(void *arg)
{
	static const size_t sizes[] = { TIB, 64 * GIB, GIB, BLOCK };
	struct scene *s = arg;
	unsigned int i;
	int sid;

	tcase_become(NOBODY);
	for (i = 0; i < 4; i++)
		while ((sid = seg_alloc(NULL, NULL, sizes[i], 0600)) > 0)
			;
	check_eq(sid, -ENOSPC);
	for (i = 0; i < MANY; i++)
		check_id(seg_alloc(NULL, BASE, MANY * BLOCK, 0600));
	pass(s);
	await(s, 2);
}

static void find_a_place(void *arg)
{
	struct scene *s = arg;
	unsigned int i;
	long took;

	tcase_become(NOBODY + 1);
	for (i = 0; i < MANY; i++)
		check_id(seg_alloc(NULL, BASE + i * BLOCK, BLOCK, 0600));
	took = tcase_microseconds();
	for (i = 0; i < 3; i++)
		check_id(seg_alloc(NULL, NULL, BLOCK, 0600));
	atomic_store(&s->slowest, (tcase_microseconds() - took) / 3);
}

static void a_place_is_found_soon_among_segments_of_others(void)
{
	struct scene *s = new_scene();
	pid_t other = tcase_spawn(take_all_places, s);

	await(s, 1);
	tcase_join(tcase_spawn(find_a_place, s));
	pass(s);
	tcase_join(other);
	tcase_note("%ld us", atomic_load(&s->slowest));
	check(atomic_load(&s->slowest) < 100000);
}

/*
 * Two users, each with a segment that the other one may read, in one VAS that both
 * clone, with two processes each.
 */

static void clone_often(struct scene *s)
{
	int i;

	for (i = 0; i < 40; i++) {
		int vid = check_id(vas_clone(s->vid));

		check_eq(vas_delete(vid), 0);
		atomic_fetch_add(&s->done, 1);
	}
}

static void clone_as_one(void *arg)
{
	tcase_become(NOBODY);
	clone_often(arg);
}

static void clone_as_other(void *arg)
{
	tcase_become(NOBODY + 1);
	clone_often(arg);
}

static void give(int sid, int uid)
{
	struct seg_attr attr = { .size = sizeof(attr), .valid = VAS_ATTR_UID,
				 .uid = (uid_t)uid };

	check_eq(seg_ctl(sid, SEG_CTL_SETATTR, &attr), 0);
}

static void two_users_clone_a_vas_with_segments_of_both(void)
{
	struct scene *s = new_scene();
	pid_t pids[4];
	int sid[2], i;

	s->vid = tcase_vas(tcase_name("v"), 0644);
	for (i = 0; i < 2; i++) {
		sid[i] = tcase_seg(tcase_name(i ? "other" : "one"),
				   BASE + (size_t)i * BLOCK, MIB, 0644);
		check_eq(seg_populate(sid[i], BASE + (size_t)i * BLOCK, MIB), 0);
		give(sid[i], NOBODY + i);
		check_eq(seg_attach(s->vid, sid[i]), 0);
	}
	for (i = 0; i < 4; i++)
		pids[i] = tcase_spawn(i % 2 ? clone_as_one : clone_as_other, s);
	for (i = 0; i < 4; i++)
		tcase_join(pids[i]);
	check_eq(atomic_load(&s->done), 160);
}

/*
 * Protections.
 */

static void peek(void *arg)
{
	struct scene *s = arg;
	char buf[16] = "";
	int fd, vh;

	tcase_become(NOBODY);
	vh = check_id(vas_attach(s->vid));
	check_eq(vas_switch(vh), 0);
	check_eq(tcase_try_read(BASE).sig, SIGSEGV);
	check_eq(prctl(PR_SET_DUMPABLE, 1), 0);
	fd = open("/proc/self/mem", O_RDONLY);
	check(fd >= 0);
	check_eq(pread(fd, buf, 8, (off_t)(uintptr_t)BASE), -1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void what_is_protected_is_not_read_by_way_of_proc(void)
{
	struct scene *s = new_scene();
	int vh;

	s->sid = tcase_seg(s->name, BASE, 4 * PAGE, 0644);
	s->vid = tcase_vas(tcase_name("v"), 0644);
	check_eq(seg_attach(s->vid, s->sid), 0);
	vh = check_id(vas_attach(s->vid));
	check_eq(vas_switch(vh), 0);
	strcpy(BASE, "secret");
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_protect(s->sid, BASE, PAGE, 0), 0);
	tcase_join(tcase_spawn(peek, s));
}

static const struct tcase cases[] = {
	CASE(reading_in_many_places_costs_the_owners_cgroup_nothing),
	CASE(segments_without_pages_are_held_to_the_quota),
	CASE(tables_are_held_to_the_quota),
	CASE(tables_beyond_the_quota_are_enospc),
	CASE_SECONDS(a_cgroup_that_waits_for_memory_keeps_nobody_else_waiting, 120),
	CASE_SECONDS(a_readers_slow_clone_does_not_hold_up_the_owners, 120),
	CASE_SECONDS(a_slow_move_does_not_hold_up_the_owners_clone, 120),
	CASE(a_move_makes_tables_where_there_are_pages),
	CASE_SECONDS(a_place_is_found_soon_among_segments_of_others, 120),
	CASE(two_users_clone_a_vas_with_segments_of_both),
	CASE(what_is_protected_is_not_read_by_way_of_proc),
};

TCASE_MAIN(cases, 0)
