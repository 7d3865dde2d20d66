// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the memory of a segment comes from: at first touch, in large pages, at
 * once, from a node; and how little a sparse one costs.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
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

static int create(void *base, size_t length, int flags, int node)
{
	struct pvvas_ioc_create arg = {
		.size = sizeof(arg), .mode = 0600, .base = (uintptr_t)base,
		.length = length, .flags = flags, .node = node,
	};

	if (ioctl(device(), PVVAS_IOC_SEG_CREATE, &arg))
		return -errno;
	tcase_track_seg(arg.id);
	return arg.id;
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
	int sid = create(BASE, TIB, 0, 0);

	attached(check_id(sid));
	before = counters();
	BASE[0] = 1;
	BASE[TIB / 2 + 4096] = 2;
	BASE[TIB - 1] = 3;
	after = counters();
	check_eq(after.pages - before.pages, 3);
	check_eq(attributes(sid).resident, 3 * 4 * KIB);
	check_eq(after.hv_extents - before.hv_extents, 3);
	/* of each the tables of levels 3 to 1, which nothing else is in */
	check(after.hv_tables - before.hv_tables <= 9);
	check(after.hv_tables - before.hv_tables >= 3);
	check_eq(BASE[TIB / 2 + 4096], 2);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_huge_segment_has_pages_of_two_mib(void)
{
	struct pvvas_stats before, after;
	int sid = create(BASE, 5 * MIB, PVVAS_CREATE_HUGE, 0);

	attached(check_id(sid));
	before = counters();
	BASE[MIB] = 1;
	check_eq(attributes(sid).resident, 2 * MIB);
	memset(BASE, 1, 4 * MIB);
	check_eq(attributes(sid).resident, 4 * MIB);
	after = counters();
	/* KVM makes one of two that lie side by side in memory */
	check(after.hv_extents - before.hv_extents <= 2);
	/* one fault each, and no page twice */
	check_eq(after.demand_faults - before.demand_faults, 2);
	/* the rest is no whole block */
	BASE[4 * MIB] = 1;
	check_eq(attributes(sid).resident, 4 * MIB + 4 * KIB);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_huge_segment_takes_what_the_kernel_writes_first(void)
{
	int sid = create(BASE, 2 * MIB, PVVAS_CREATE_HUGE, 0), fds[2];

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
	int sid = create(BASE, MIB, PVVAS_CREATE_NODE | PVVAS_CREATE_POPULATE,
			 0);

	check_eq(attributes(check_id(sid)).resident, MIB);
	check_eq(create(BASE, MIB, PVVAS_CREATE_NODE, 63), -EINVAL);
	check_eq(create(BASE, MIB, PVVAS_CREATE_NODE, -1), -EINVAL);
	check_eq(create(BASE, MIB, PVVAS_CREATE_NODE, 1 << 30), -EINVAL);
	check_eq(create(BASE, MIB, 0, 1), -EINVAL);
}

static void lock_as_nobody(void *arg)
{
	struct rlimit limit = { 64 * KIB, 64 * KIB };

	(void)arg;
	check_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	check_eq(setuid(1000), 0);
	check_eq(create(BASE, MIB, PVVAS_CREATE_LOCK, 0), -EPERM);
	check_eq(attributes(create(BASE, 64 * KIB, PVVAS_CREATE_LOCK, 0)).resident,
		 64 * KIB);
}

static void locked_segments_obey_the_limit(void)
{
	int sid = create(BASE, MIB, PVVAS_CREATE_LOCK, 0);

	check_eq(attributes(check_id(sid)).resident, MIB);
	tcase_join(tcase_spawn(lock_as_nobody, NULL));
}

static void a_program_of_the_first_version_is_understood(void)
{
	struct pvvas_ioc_create arg = { .size = 40, .mode = 0600,
					.base = (uintptr_t)BASE,
					.length = MIB };

	arg.node = 7;	/* beyond what it says it has */
	check_eq(ioctl(device(), PVVAS_IOC_SEG_CREATE, &arg), 0);
	tcase_track_seg(arg.id);
	check_eq(arg.node, 7);
}

static const struct tcase cases[] = {
	CASE(a_sparse_tebibyte_costs_what_is_touched),
	CASE(a_huge_segment_has_pages_of_two_mib),
	CASE(a_huge_segment_takes_what_the_kernel_writes_first),
	CASE(pages_of_a_node),
	CASE(locked_segments_obey_the_limit),
	CASE(a_program_of_the_first_version_is_understood),
};

TCASE_MAIN(cases, 0)
