// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a reader does with a segment is at its own expense,
 * whether it is counted by memory cgroups or by users.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>
#include <sys/ioctl.h>

#include "cgroup.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define NOBODY	1000
#define SIZE	(8 * MIB)
/* what a cgroup is charged ahead, and the tables of what is not looked at */
#define SLACK	(512L << 10)

/* Both processes, in turns. */
struct pair {
	_Atomic int turn;
	char name[64];
	int ret;
	long kib;
};

static void pass(struct pair *pair)
{
	atomic_fetch_add(&pair->turn, 1);
}

static void await(struct pair *pair, int turn)
{
	while (atomic_load(&pair->turn) < turn)
		usleep(1000);
}

static struct pair *new_pair(void)
{
	struct pair *pair = tcase_shared(sizeof(*pair));

	strcpy(pair->name, tcase_name("owned"));
	return pair;
}

/* A handle of a VAS that shows this segment alone. */
static int show(int sid)
{
	int vid = tcase_vas(NULL, 0600);

	check_eq(seg_attach(vid, sid), 0);
	return check_id(vas_attach(vid));
}

static void enter(int vh)
{
	check_eq(vas_switch(vh), 0);
}

/* Writes all of it, each time that it is its turn. */
static void own_and_write(void *arg)
{
	struct pair *pair = arg;
	int round;

	cgroup_enter("owner");
	enter(show(tcase_seg(pair->name, BASE, SIZE, 0644)));
	for (round = 1; round <= 4; round++) {
		memset(BASE, round, SIZE);
		pass(pair);
		await(pair, 2 * round);
	}
	enter(VAS_HOME);
}

static void clone_each_round(void *arg)
{
	struct pair *pair = arg;
	int copy[3], sid, round;
	size_t at;

	cgroup_enter("reader");
	tcase_become(NOBODY);
	await(pair, 1);
	sid = check_id(seg_find(pair->name));
	for (round = 1; round <= 3; round++) {
		copy[round - 1] = check_id(seg_clone(sid));
		pass(pair);
		await(pair, 2 * round + 1);
	}
	for (round = 1; round <= 3; round++) {
		enter(show(copy[round - 1]));
		for (at = 0; at < SIZE; at += PAGE / 2)
			check_eq(BASE[at], round);
		enter(VAS_HOME);
	}
	/* until it has been looked at which one is charged */
	await(pair, 8);
}

static void a_readers_clones_cost_the_owners_cgroup_nothing(void)
{
	struct pair *pair = new_pair();
	pid_t owner, reader;
	long before, after;

	cgroup_make("owner", "max");
	cgroup_make("reader", "max");
	owner = tcase_spawn(own_and_write, pair);
	await(pair, 1);
	before = cgroup_bytes("owner");
	reader = tcase_spawn(clone_each_round, pair);
	await(pair, 7);
	after = cgroup_bytes("owner");
	tcase_note("owner: %ld KiB before, %ld after; reader: %ld",
		   before >> 10, after >> 10, cgroup_bytes("reader") >> 10);
	check(before >= (long)SIZE);
	check(after <= before + SLACK);
	check(cgroup_bytes("reader") >= 3 * (long)SIZE);
	pass(pair);
	tcase_join(owner);
	tcase_join(reader);
	cgroup_remove("owner");
	cgroup_remove("reader");
}

/* In its cgroup, or under its quota, there is no room for it. */
static void clone_too_much(void *arg)
{
	struct pair *pair = arg;

	cgroup_enter("reader");
	tcase_become(NOBODY);
	check_eq(seg_clone(check_id(seg_find(pair->name))), pair->ret);
	check_eq(seg_clone(check_id(seg_find(pair->name))), pair->ret);
}

static void clone_beyond(const char *cgroup_limit, const char *quota, int ret)
{
	struct pair *pair = new_pair();
	pid_t owner, reader;
	siginfo_t info;
	long before;

	cgroup_make("owner", "max");
	cgroup_make("reader", cgroup_limit);
	owner = tcase_spawn(own_and_write, pair);
	await(pair, 1);
	before = cgroup_bytes("owner");
	pair->ret = ret;
	put_value("/sys/module/pvvas/parameters", "user_memory_mib", quota);
	reader = tcase_spawn(clone_too_much, pair);
	/* it may fail; the parameter is set back first */
	waitid(P_PID, (id_t)reader, &info, WEXITED | WNOWAIT);
	put_value("/sys/module/pvvas/parameters", "user_memory_mib", "0");
	tcase_join(reader);
	/* what it had got until then is back */
	check(cgroup_bytes("reader") < 2 * (long)MIB);
	pass(pair);
	await(pair, 3);
	check(cgroup_bytes("owner") <= before + SLACK);
	pass(pair);
	await(pair, 5);
	pass(pair);
	await(pair, 7);
	pass(pair);
	tcase_join(owner);
	cgroup_remove("owner");
	cgroup_remove("reader");
}

static void a_clone_is_held_to_the_limit_of_its_makers_cgroup(void)
{
	clone_beyond("6291456", "0", -ENOMEM);
}

static void a_clone_is_held_to_the_quota_of_its_maker(void)
{
	clone_beyond("max", "4", -EDQUOT);
}

#define NR	48

/* Rounds that write to one page after the other. */
static void own_and_write_rounds(void *arg)
{
	struct pair *pair = arg;
	long n;
	int i;

	cgroup_enter("owner");
	enter(show(tcase_seg(pair->name, BASE, MIB, 0644)));
	for (n = 1; atomic_load(&pair->turn) < 2; n++) {
		for (i = 0; i < NR; i++)
			*(volatile long *)(BASE + i * PAGE) = n;
		if (n == 1)
			pass(pair);
	}
	enter(VAS_HOME);
}

static void clone_while_it_writes(void *arg)
{
	struct pair *pair = arg;
	long first, last, here, most = 0;
	int rounds, i, sid;

	cgroup_enter("reader");
	tcase_become(NOBODY);
	await(pair, 1);
	sid = check_id(seg_find(pair->name));
	for (rounds = 0; rounds < 60; rounds++) {
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
	}
	pass(pair);
	tcase_note("%ld rounds of writes", most);
	check(most >= 2);
}

static void copies_for_another_cgroup_are_of_one_moment(void)
{
	struct pair *pair = new_pair();
	pid_t owner, reader;

	cgroup_make("owner", "max");
	cgroup_make("reader", "max");
	owner = tcase_spawn(own_and_write_rounds, pair);
	reader = tcase_spawn(clone_while_it_writes, pair);
	tcase_join(reader);
	tcase_join(owner);
	cgroup_remove("owner");
	cgroup_remove("reader");
}

static uint64_t resident(int sid)
{
	struct seg_attr attr = { .size = sizeof(attr) };

	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &attr), 0);
	return attr.resident;
}

static void read_the_holes(void *arg)
{
	struct pair *pair = arg;
	char byte = 1;
	int fd[2];
	size_t at;

	tcase_become(NOBODY);
	enter(check_id(vas_attach(check_id(vas_find(pair->name)))));
	for (at = PAGE; at < SIZE; at += PAGE)
		check_eq(BASE[at], 0);
	check_eq(tcase_try_write(BASE + PAGE).sig, SIGSEGV);
	check_eq(pipe(fd), 0);
	check_eq(write(fd[1], BASE + 5 * PAGE, 1), 1);
	check_eq(read(fd[0], &byte, 1), 1);
	check_eq(byte, 0);
	check_eq(read(fd[0], BASE + 5 * PAGE, 0), 0);
	pass(pair);
	await(pair, 2);
	/* where it has seen nothing, it sees what came since */
	for (at = PAGE; at < SIZE; at += PAGE)
		check_eq(BASE[at], at < 64 * PAGE ? 'a' : 0);
	pass(pair);
	await(pair, 4);
	check_eq(tcase_try_read(BASE + 100 * PAGE).sig, SIGSEGV);
	check_eq(BASE[101 * PAGE], 'f');
	enter(VAS_HOME);
}

static void reading_where_nothing_is_costs_the_owner_nothing(void)
{
	static const char data[PAGE] = "f";
	struct pair *pair = new_pair();
	int vid = tcase_vas(pair->name, 0644), vh, face;
	int sid = tcase_seg_with(NULL, BASE, SIZE, 0644, SEG_SMALL);
	pid_t reader;
	size_t at;

	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	face = check_id(seg_map2(sid, BASE + 512 * MIB));
	tcase_track_seg(face);
	enter(vh);
	BASE[0] = 1;
	reader = tcase_spawn(read_the_holes, pair);
	await(pair, 1);
	check_eq(resident(sid), PAGE);
	for (at = PAGE; at < 32 * PAGE; at += PAGE)
		BASE[at] = 'a';
	/* by way of the other face, too */
	enter(show(face));
	for (; at < 64 * PAGE; at += PAGE)
		BASE[512 * MIB + at] = 'a';
	check_eq(resident(sid), 64 * PAGE);
	pass(pair);
	await(pair, 3);
	check_eq(resident(sid), 64 * PAGE);
	/* and where a pager answers from now on, it asks */
	check_eq(seg_pager(sid, 1), 0);
	check_eq(seg_fill(sid, BASE + 101 * PAGE, data, PAGE), 1);
	pass(pair);
	tcase_join(reader);
	enter(VAS_HOME);
}

static void read_one_hole(void *arg)
{
	struct pair *pair = arg;

	tcase_become(NOBODY);
	enter(check_id(vas_attach(check_id(vas_find(pair->name)))));
	check_eq(BASE[PAGE], 0);
	pass(pair);
	await(pair, 2);
	check_eq(BASE[PAGE], 'a');
	enter(VAS_HOME);
}

static uint64_t demand_faults(void)
{
	struct pvvas_stats st = { .size = sizeof(st) };

	check_eq(pvvas_stats(&st), 0);
	return st.demand_faults;
}

static void large_pages_come_where_a_reader_saw_zeroes(void)
{
	struct pvvas_ioc_create create = {
		.size = sizeof(create), .mode = 0644, .base = (uintptr_t)BASE,
		.length = SIZE, .flags = PVVAS_CREATE_HUGE,
	};
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);
	struct pair *pair = new_pair();
	int vid = tcase_vas(pair->name, 0644);
	uint64_t faults;
	pid_t reader;
	size_t at;

	check(fd >= 0);
	check_eq(ioctl(fd, PVVAS_IOC_SEG_CREATE, &create), 0);
	close(fd);
	tcase_track_seg((int)create.id);
	check_eq(seg_attach(vid, (int)create.id), 0);
	enter(check_id(vas_attach(vid)));
	reader = tcase_spawn(read_one_hole, pair);
	await(pair, 1);
	check_eq(resident((int)create.id), 0);
	BASE[PAGE] = 'a';
	check_eq(resident((int)create.id), 2 * MIB);
	/* and they are mapped as such */
	faults = demand_faults();
	for (at = 0; at < 2 * MIB; at += PAGE)
		BASE[at] = 'a';
	check_eq(demand_faults(), faults);
	pass(pair);
	tcase_join(reader);
	enter(VAS_HOME);
}

#define PIECE	(16 * PAGE)
#define BLOCK	(2 * MIB)
#define REGIONS	512

static void own_for_all(void *arg)
{
	struct pair *pair = arg;

	cgroup_enter("owner");
	pair->ret = check_id(seg_alloc(pair->name, BASE, SIZE, 0666));
	/* its tables */
	check_eq(seg_populate(pair->ret, BASE, PIECE), 0);
	check_eq(seg_discard(pair->ret, BASE, PIECE), 0);
	pass(pair);
	await(pair, 2);
	check_eq(seg_delete(pair->ret), 0);
}

/* Each time from where the process has no page table yet. */
static void fill_from_everywhere(void *arg)
{
	struct pair *pair = arg;
	char *m = mmap(NULL, REGIONS * BLOCK, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t at;

	cgroup_enter("filler");
	tcase_become(NOBODY);
	check(m != MAP_FAILED);
	for (at = 0; at < REGIONS * BLOCK; at += BLOCK) {
		check_eq(seg_fill(pair->ret, BASE, m + at, PIECE), PIECE / PAGE);
		check_eq(seg_discard(pair->ret, BASE, PIECE), 0);
	}
	pair->kib = cgroup_bytes("owner") >> 10;
}

static void who_fills_pays_for_its_own_page_tables(void)
{
	struct pair *pair = new_pair();
	pid_t owner;
	long before;

	cgroup_make("owner", "max");
	cgroup_make("filler", "max");
	owner = tcase_spawn(own_for_all, pair);
	await(pair, 1);
	before = cgroup_bytes("owner") >> 10;
	tcase_join(tcase_spawn(fill_from_everywhere, pair));
	pass(pair);
	tcase_join(owner);
	cgroup_remove("owner");
	cgroup_remove("filler");
	tcase_note("owner: %ld KiB, then %ld", before, pair->kib);
	check(pair->kib <= before + (SLACK >> 10));
}

/* All are read before the first one is found to name nothing. */
static void name_very_much(void *arg)
{
	size_t bytes = PVVAS_MAX_ROWS * sizeof(struct pvvas_publish_row);
	struct pvvas_publish_row *rows = malloc(bytes);
	struct pvvas_ioc_publish_all all = {
		.size = sizeof(all), .nr = PVVAS_MAX_ROWS,
		.rows = (uintptr_t)rows,
	};
	char name[PVVAS_NAME_MAX + 1];
	struct pair *pair = arg;
	unsigned int i;
	int fd;

	cgroup_enter("namer");
	memset(name, 'n', PVVAS_NAME_MAX);
	name[PVVAS_NAME_MAX] = 0;
	for (i = 0; i < PVVAS_MAX_ROWS; i++)
		rows[i] = (struct pvvas_publish_row){
			.kind = PVVAS_KIND_SEG, .id = (1U << 30) - 2,
			.name = (uintptr_t)name,
		};
	fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);
	check(fd >= 0);
	check_eq(ioctl(fd, PVVAS_IOC_PUBLISH_ALL, &all), -1);
	check_eq(errno, ENOENT);
	pair->kib = tcase_number("/tmp/cgroup/namer/memory.peak", "") >> 10;
}

static void who_gives_names_pays_for_them(void)
{
	struct pair *pair = new_pair();

	cgroup_make("namer", "max");
	tcase_join(tcase_spawn(name_very_much, pair));
	cgroup_remove("namer");
	tcase_note("%ld KiB at most", pair->kib);
	check(pair->kib >= PVVAS_MAX_ROWS * (PVVAS_NAME_MAX + 1L) >> 10);
}

static const struct tcase cases[] = {
	CASE(a_readers_clones_cost_the_owners_cgroup_nothing),
	CASE(a_clone_is_held_to_the_limit_of_its_makers_cgroup),
	CASE(a_clone_is_held_to_the_quota_of_its_maker),
	CASE(copies_for_another_cgroup_are_of_one_moment),
	CASE(reading_where_nothing_is_costs_the_owner_nothing),
	CASE(large_pages_come_where_a_reader_saw_zeroes),
	CASE(who_fills_pays_for_its_own_page_tables),
	CASE(who_gives_names_pays_for_them),
};

TCASE_MAIN(cases, 0)
