// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the memory of a segment comes from: at first touch, in large pages, at
 * once, from a node; and how little a sparse one costs.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define KIB	(1UL << 10)
#define MIB	(1UL << 20)
#define GIB	(1UL << 30)
#define TIB	(1UL << 40)

static int device(void)
{
	static int fd;

	if (!fd)
		fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);
	check(fd > 0);
	return fd;
}

static int create_on(void *base, size_t length, int flags, uint32_t policy,
		     uint64_t nodes)
{
	struct pvvas_ioc_create arg = {
		.size = sizeof(arg), .mode = 0600, .base = (uintptr_t)base,
		.length = length, .flags = flags, .policy = policy,
		.nodes = nodes,
	};

	if (ioctl(device(), PVVAS_IOC_SEG_CREATE, &arg))
		return -errno;
	tcase_track_seg(arg.id);
	return arg.id;
}

static int create(void *base, size_t length, int flags)
{
	return create_on(base, length, flags, PVVAS_NUMA_DEFAULT, 0);
}

static struct seg_attr attributes(int sid)
{
	struct seg_attr attr = { .size = sizeof(attr) };

	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &attr), 0);
	return attr;
}

static struct pvvas_stats counters(void)
{
	struct pvvas_stats st = { .size = sizeof(st) };

	check_eq(pvvas_stats(&st), 0);
	return st;
}

static int attached(int sid)
{
	int vid = tcase_vas(NULL, 0600), vh;

	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	return vh;
}

static void a_sparse_tebibyte_costs_what_is_touched(void)
{
	struct pvvas_stats before, after;
	int sid = create(BASE, TIB, PVVAS_CREATE_SMALL);

	attached(check_id(sid));
	before = counters();
	BASE[0] = 1;
	BASE[TIB / 2 + 4096] = 2;
	BASE[TIB - 1] = 3;
	after = counters();
	check_eq(after.pages - before.pages, 3);
	check_eq(attributes(sid).resident, 3 * 4 * KIB);
	/* of each the tables of levels 2 and 1, which nothing else is in */
	check_eq(after.tables - before.tables, 6);
	check_eq(BASE[TIB / 2 + 4096], 2);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_huge_segment_has_pages_of_two_mib(void)
{
	struct pvvas_stats before, after;
	int sid = create(BASE, 5 * MIB, PVVAS_CREATE_HUGE);

	attached(check_id(sid));
	before = counters();
	BASE[MIB] = 1;
	check_eq(attributes(sid).resident, 2 * MIB);
	memset(BASE, 1, 4 * MIB);
	check_eq(attributes(sid).resident, 4 * MIB);
	after = counters();
	/* one of level 2, and none of level 1 */
	check_eq(after.tables - before.tables, 1);
	/* one fault each, and no page twice */
	check_eq(after.demand_faults - before.demand_faults, 2);
	/* the rest is no whole block */
	BASE[4 * MIB] = 1;
	check_eq(attributes(sid).resident, 4 * MIB + 64 * KIB);
	check_eq(vas_switch(VAS_HOME), 0);
}

/* Of a second face, which has no entries yet. */
static void a_touch_of_what_is_there_maps_its_neighbours(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0600), face, i;
	char *base = BASE + GIB;
	struct pvvas_stats before, after;

	attached(sid);
	memset(BASE, 7, MIB);
	face = check_id(seg_map2(sid, base));
	tcase_track_seg(face);
	attached(face);
	before = counters();
	for (i = 0; i < 64; i++)
		check_eq(base[i * 4 * KIB], 7);
	after = counters();
	check_eq(after.demand_faults - before.demand_faults, 4);
	check_eq(vas_switch(VAS_HOME), 0);
}

/* A VAS where the GiB has a segment already shows 2 MiB by 2 MiB. */
static void an_attach_beside_a_neighbour_leaves_two_mib_whole(void)
{
	int sid = create(BASE, 8 * MIB, PVVAS_CREATE_HUGE), vid, vh, i;
	int other = tcase_seg(NULL, BASE + 512 * MIB, MIB, 0600);
	struct pvvas_stats before, after;

	vh = attached(check_id(sid));
	memset(BASE, 1, 8 * MIB);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
	vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach(vid, other), 0);
	vh = check_id(vas_attach(vid));
	before = counters();
	check_eq(seg_attach(vid, sid), 0);
	after = counters();
	/* one for the neighbour, and none to split what was not touched there */
	check(after.hv_flushes - before.hv_flushes <= 1);
	check_eq(vas_switch(vh), 0);
	for (i = 0; i < 8; i++)
		check_eq(BASE[i * MIB], 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_huge_segment_takes_what_the_kernel_writes_first(void)
{
	int sid = create(BASE, 2 * MIB, PVVAS_CREATE_HUGE), fds[2];

	attached(check_id(sid));
	check_eq(pipe(fds), 0);
	check_eq(write(fds[1], "abc", 3), 3);
	check_eq(read(fds[0], BASE + MIB, 3), 3);
	check_eq(memcmp(BASE + MIB, "abc", 3), 0);
	BASE[0] = 1;
	check_eq(memcmp(BASE + MIB, "abc", 3), 0);
	check(attributes(sid).resident <= 2 * MIB);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void pages_of_a_node(void)
{
	uint32_t policy;
	int sid;

	for (policy = PVVAS_NUMA_PREFERRED; policy <= PVVAS_NUMA_INTERLEAVE;
	     policy++) {
		sid = create_on(BASE, MIB, PVVAS_CREATE_POPULATE, policy, 1);
		check_eq(attributes(check_id(sid)).resident, MIB);
		check_eq(create_on(BASE, MIB, 0, policy, 1ULL << 63), -EINVAL);
		check_eq(create_on(BASE, MIB, 0, policy, 1ULL << 63 | 1),
			 -EINVAL);
		check_eq(create_on(BASE, MIB, 0, policy, 0), -EINVAL);
	}
	check_eq(create_on(BASE, MIB, 0, policy, 1), -EINVAL);
	check_eq(create_on(BASE, MIB, 0, PVVAS_NUMA_DEFAULT, 1), -EINVAL);
}

static void lock_as_nobody(void *arg)
{
	struct rlimit limit = { 64 * KIB, 64 * KIB };
	int first;

	(void)arg;
	check_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	check_eq(setuid(1000), 0);
	check_eq(create(BASE, MIB, PVVAS_CREATE_LOCK), -EPERM);
	first = check_id(create(BASE, 48 * KIB, PVVAS_CREATE_LOCK));
	check_eq(attributes(first).resident, 48 * KIB);
	/* all of a user's together, as long as they are there */
	check_eq(create(BASE, 20 * KIB, PVVAS_CREATE_LOCK), -EPERM);
	check_id(create(BASE, 16 * KIB, PVVAS_CREATE_LOCK));
	check_eq(create(BASE, 4 * KIB, PVVAS_CREATE_LOCK), -EPERM);
	check_eq(seg_delete(first), 0);
	check_id(create(BASE, 48 * KIB, PVVAS_CREATE_LOCK));
}

static void locked_segments_obey_the_limit(void)
{
	int sid = create(BASE, MIB, PVVAS_CREATE_LOCK);

	check_eq(attributes(check_id(sid)).resident, MIB);
	tcase_join(tcase_spawn(lock_as_nobody, NULL));
}

static int create_over(void *base, size_t length, void *memory, int flags)
{
	struct pvvas_ioc_create arg = {
		.size = sizeof(arg), .mode = 0600, .base = (uintptr_t)base,
		.length = length, .flags = flags, .memory = (uintptr_t)memory,
	};

	if (ioctl(device(), PVVAS_IOC_SEG_CREATE, &arg))
		return -errno;
	tcase_track_seg(arg.id);
	return arg.id;
}

static void hugetlb_pool(int pages)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "w");

	check(f);
	check(fprintf(f, "%d\n", pages) > 0);
	check_eq(fclose(f), 0);
	check_eq(tcase_number("/proc/meminfo", "HugePages_Total:"), pages);
}

static void pages_of_hugetlbfs_become_a_segment(void)
{
	struct pvvas_ioc_clone clone = { .size = sizeof(clone), .mode = 0600 };
	static char page[4 * KIB];
	struct pvvas_stats none, before, after;
	char *m, *small;
	void *gone;
	int sid, i;

	hugetlb_pool(4);
	m = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	check(m != MAP_FAILED);
	strcpy(m + 3 * MIB, "was here before");
	none = counters();
	sid = check_id(create_over(BASE, 4 * MIB, m, PVVAS_CREATE_HUGETLB));
	check_eq(attributes(sid).resident, 4 * MIB);
	/* one table, of entries of 2 MiB */
	check_eq(counters().tables - none.tables, 1);
	attached(sid);
	before = counters();
	check_eq(strcmp(BASE + 3 * MIB, "was here before"), 0);
	/* one memory, seen twice */
	for (i = 0; i < 1024; i++)
		BASE[i * 4 * KIB] = (char)(i + 1);
	for (i = 0; i < 1024; i++)
		check_eq(m[i * 4 * KIB], (char)(i + 1));
	after = counters();
	check_eq(after.demand_faults, before.demand_faults);
	check_eq(after.tables, before.tables);
	/* the mapping goes, the pages stay */
	check_eq(tcase_number("/proc/meminfo", "HugePages_Free:"), 2);
	check_eq(munmap(m, 4 * MIB), 0);
	check_eq(tcase_number("/proc/meminfo", "HugePages_Free:"), 2);
	check_eq(BASE[1023 * 4 * KIB], 0);
	check_eq(BASE[1022 * 4 * KIB], -1);
	clone.source = (unsigned int)sid;
	check_eq(ioctl(device(), PVVAS_IOC_SEG_CLONE, &clone), -1);
	check_eq(errno, EOPNOTSUPP);
	check_eq(seg_discard(sid, BASE, MIB), -EOPNOTSUPP);
	check_eq(seg_move(sid, BASE, sid, BASE + MIB, MIB), -EOPNOTSUPP);
	check_eq(seg_limit(sid, SEG_NO_LIMIT), -EOPNOTSUPP);
	check_eq(seg_resize(sid, 1UL << 30), -EOPNOTSUPP);
	check_eq(seg_evict(sid, &gone, page, 1), -EOPNOTSUPP);
	/* but accesses can be told of */
	check_eq(seg_accessed(sid, BASE, MIB, &gone, 1), 1);
	check_eq(*(volatile char *)BASE, 1);
	check_eq(seg_untrack(sid), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	i = tcase_vas(tcase_name("hugetlb"), 0600);
	check_eq(seg_attach(i, sid), 0);
	check_eq(vas_save(&i, 1, "/tmp/never.made", NULL), -EOPNOTSUPP);
	check_eq(vas_delete(i), 0);

	/* what is no such memory, or not all there, or asked for wrongly */
	small = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		     MAP_ANONYMOUS, -1, 0);
	check(small != MAP_FAILED);
	small = (char *)(((uintptr_t)small + 2 * MIB - 1) & ~(2 * MIB - 1));
	check_eq(create_over(BASE, 2 * MIB, small, PVVAS_CREATE_HUGETLB),
		 -EINVAL);
	check_eq(create_over(BASE, 2 * MIB, NULL, PVVAS_CREATE_HUGETLB),
		 -EFAULT);
	m = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	check(m != MAP_FAILED);
	*m = 1;
	/* nothing, or something else, is behind it */
	i = create_over(BASE, 4 * MIB, m, PVVAS_CREATE_HUGETLB);
	check(i == -EFAULT || i == -EINVAL);
	check_eq(create_over(BASE, 2 * MIB, m + 4096, PVVAS_CREATE_HUGETLB),
		 -EINVAL);
	check_eq(create_over(BASE, 2 * MIB, m, 0), -EINVAL);
	check_eq(create_over(BASE, 2 * MIB, m, PVVAS_CREATE_HUGETLB |
			     PVVAS_CREATE_DUMP), -EINVAL);
	check_eq(mprotect(m, 2 * MIB, PROT_READ), 0);
	check_eq(create_over(BASE, 2 * MIB, m, PVVAS_CREATE_HUGETLB), -EFAULT);
	check_eq(munmap(m, 2 * MIB), 0);
}

static void share_and_go(void *arg)
{
	char *m = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED |
		       MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	int vid = check_id(vas_create(NULL, 0600));

	(void)arg;
	check(m != MAP_FAILED);
	*m = 1;
	check_eq(seg_attach(vid, check_id(create_over(BASE, 2 * MIB, m,
						      PVVAS_CREATE_HUGETLB))),
		 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check_eq(BASE[0], 1);
}

static void pages_of_hugetlbfs_go_back_with_the_segment(void)
{
	int i;

	hugetlb_pool(2);
	for (i = 0; i < 5; i++)
		tcase_join(tcase_spawn(share_and_go, NULL));
	for (i = 0; i < 100; i++) {
		if (tcase_number("/proc/meminfo", "HugePages_Free:") == 2)
			break;
		usleep(10000);
	}
	check_eq(tcase_number("/proc/meminfo", "HugePages_Free:"), 2);
	hugetlb_pool(0);
}

static void a_program_of_the_first_version_is_understood(void)
{
	struct pvvas_ioc_create arg = { .size = 40, .mode = 0600,
					.base = (uintptr_t)BASE,
					.length = MIB };

	arg.policy = 7;	/* beyond what it says it has */
	check_eq(ioctl(device(), PVVAS_IOC_SEG_CREATE, &arg), 0);
	tcase_track_seg(arg.id);
	check_eq(arg.policy, 7);
}

static uint64_t colors_of(int sid)
{
	struct seg_stat stat = { .size = sizeof(stat) };

	check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), 0);
	return stat.colors;
}

/* Whatever makes them: a touch, a call, a copy for a clone, a move. */
static void pages_have_the_colours_that_were_asked_for(void)
{
	struct seg_options options = { .size = sizeof(options) };
	static char data[64 * KIB];
	uint64_t mask = 1ULL << 5 | 1ULL << 40;
	char *other = BASE + 64 * MIB;
	int sid, plain, copy;
	size_t at;

	options.colors = mask;
	sid = check_id(seg_alloc_with(NULL, BASE, MIB, 0600, &options));
	tcase_track_seg(sid);
	plain = tcase_seg_with(NULL, other, MIB, 0600, 0);
	attached(sid);
	check_eq(colors_of(sid), 0);
	for (at = 0; at < 512 * KIB; at += 4 * KIB) {
		check_eq(*(volatile char *)(BASE + at), 0);
		BASE[at] = 1;
	}
	check_eq(colors_of(sid) & ~mask, 0);
	check(colors_of(sid));
	check_eq(attributes(sid).resident, 512 * KIB);
	check_eq(seg_populate(sid, BASE + 512 * KIB, 64 * KIB), 0);
	check_eq(seg_fill(sid, BASE + 640 * KIB, data, sizeof(data)), 16);
	copy = check_id(seg_clone(sid));
	tcase_track_seg(copy);
	memset(BASE, 2, MIB);
	check_eq(colors_of(sid) & ~mask, 0);
	check_eq(colors_of(copy) & ~mask, 0);
	check_eq(seg_populate(plain, other, 64 * KIB), 0);
	check_eq(seg_move(plain, other, sid, BASE, 64 * KIB), 0);
	check_eq(colors_of(sid) & ~mask, 0);
	check_eq(*(volatile char *)BASE, 0);
	check_eq(vas_switch(VAS_HOME), 0);
	/* what was made for any tells of none */
	check_eq(colors_of(plain), 0);
	options.flags = SEG_HUGE;
	check_eq(seg_alloc_with(NULL, BASE, MIB, 0600, &options), -EINVAL);
	options.flags = SEG_POPULATE;
	options.colors = 1;
	sid = check_id(seg_alloc_with(NULL, BASE + 128 * MIB, MIB, 0600,
				      &options));
	tcase_track_seg(sid);
	check_eq(colors_of(sid), 1);
}

static const struct tcase cases[] = {
	CASE(a_sparse_tebibyte_costs_what_is_touched),
	CASE(a_huge_segment_has_pages_of_two_mib),
	CASE(a_touch_of_what_is_there_maps_its_neighbours),
	CASE(an_attach_beside_a_neighbour_leaves_two_mib_whole),
	CASE(a_huge_segment_takes_what_the_kernel_writes_first),
	CASE(pages_of_a_node),
	CASE(locked_segments_obey_the_limit),
	CASE(pages_of_hugetlbfs_become_a_segment),
	CASE(pages_of_hugetlbfs_go_back_with_the_segment),
	CASE(a_program_of_the_first_version_is_understood),
	CASE(pages_have_the_colours_that_were_asked_for),
};

TCASE_MAIN(cases, 0)
