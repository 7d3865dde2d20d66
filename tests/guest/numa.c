// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages come from the node that a segment was made for. In a guest with two
 * nodes, see tests/host/numa.sh; tests/guest/options.c has what one node shows.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "files.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define SIZE	(32 * MIB)
#define CGROUP	"/tmp/cgroup"
#define QUOTA	"/sys/module/pvvas/parameters/max_memory_mib"

static long kib_free(int node)
{
	char path[64], key[32];
	long kib;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo",
		 node);
	snprintf(key, sizeof(key), "Node %d MemFree:", node);
	kib = tcase_number(path, key);
	check(kib > 0);
	return kib;
}

/*
 * What was freed before is on its way to the nodes' free memory: the driver
 * gives back in the background, and a CPU keeps pages of order 0 to itself, up
 * to an eighth of a node, which MemFree does not count and which the next
 * allocations take first.
 */
static void read_free(long kib[2])
{
	long last;
	int i, same = 0;

	file_put("/proc/sys/vm/percpu_pagelist_high_fraction", "1000000");
	for (i = 0; i < 2; i++)
		kib[i] = kib_free(i);
	while (same < 5) {
		usleep(20000);
		last = kib[0] + kib[1];
		for (i = 0; i < 2; i++)
			kib[i] = kib_free(i);
		same = labs(kib[0] + kib[1] - last) < 64 ? same + 1 : 0;
	}
}

static int try_with(unsigned int flags, uint32_t policy, uint64_t nodes)
{
	struct pvvas_ioc_create arg = {
		.size = sizeof(arg), .mode = 0600, .base = (uintptr_t)BASE,
		.length = SIZE, .flags = flags, .policy = policy,
		.nodes = nodes,
	};
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC), ret;

	check(fd >= 0);
	ret = ioctl(fd, PVVAS_IOC_SEG_CREATE, &arg) ? -errno : (int)arg.id;
	close(fd);
	if (ret > 0)
		tcase_track_seg(ret);
	return ret;
}

static int try_to_create(unsigned int flags, int node)
{
	return try_with(flags, PVVAS_NUMA_PREFERRED, 1ULL << node);
}

static int create(unsigned int flags, int node)
{
	return check_id(try_to_create(flags, node));
}

static bool __attribute__((warn_unused_result))
took_from(int node, const long before[2])
{
	long took[2];
	int i;

	for (i = 0; i < 2; i++)
		took[i] = before[i] - kib_free(i);
	tcase_note("node %d: %ld KiB from node 0, %ld from node 1", node,
		   took[0], took[1]);
	/* most of it: the tables and the CPU's own pages come on top */
	return took[node] > (long)(SIZE / 1024 / 4 * 3) &&
	       took[!node] < (long)(SIZE / 1024 / 4);
}

#define TRIES	5

/* A kernel that has just started frees memory of its own, now and then. */
static void all_at_once_from(int node)
{
	long before[2];
	int sid, i;

	for (i = 0; i < TRIES; i++) {
		read_free(before);
		sid = create(PVVAS_CREATE_POPULATE, node);
		if (took_from(node, before))
			break;
		check_eq(seg_delete(sid), 0);
	}
	check(i < TRIES);
}

static void at_first_touch_from(int node)
{
	int vid = tcase_vas(NULL, 0600);
	long before[2];
	size_t at;

	check_eq(seg_attach(vid, create(0, node)), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	read_free(before);
	for (at = 0; at < SIZE; at += 4096)
		BASE[at] = 1;
	check(took_from(node, before));
	check_eq(vas_switch(VAS_HOME), 0);
}

static void pages_taken_at_once_are_of_node_0(void)
{
	all_at_once_from(0);
}

static void pages_taken_at_once_are_of_node_1(void)
{
	all_at_once_from(1);
}

static void pages_taken_at_first_touch_are_of_node_0(void)
{
	at_first_touch_from(0);
}

static void pages_taken_at_first_touch_are_of_node_1(void)
{
	at_first_touch_from(1);
}

/* So many bytes from each, give or take what the CPU has of its own. */
static void took_from_both(const long before[2])
{
	int i;

	for (i = 0; i < 2; i++) {
		long took = before[i] - kib_free(i);

		tcase_note("%ld KiB from node %d", took, i);
		check(took > (long)(SIZE / 1024 / 8 * 3));
		check(took < (long)(SIZE / 1024 / 8 * 5));
	}
}

static void interleaved(unsigned int flags)
{
	long before[2];

	read_free(before);
	check_id(try_with(flags | PVVAS_CREATE_POPULATE, PVVAS_NUMA_INTERLEAVE,
			  3));
	took_from_both(before);
}

static void interleaved_pages_are_of_both_nodes(void)
{
	interleaved(PVVAS_CREATE_SMALL);
}

static void interleaved_extents_are_of_both_nodes(void)
{
	interleaved(0);
}

/* More than a node has: nothing comes from the other one. */
static void bound_pages_are_of_their_nodes_or_not_at_all(void)
{
	struct pvvas_ioc_create arg = {
		.size = sizeof(arg), .mode = 0600, .base = (uintptr_t)BASE,
		.length = 384 * MIB, .flags = PVVAS_CREATE_POPULATE,
		.policy = PVVAS_NUMA_BIND, .nodes = 2,
	};
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);
	long before[2];

	check(fd >= 0);
	/* the segments of a machine have half of its memory else */
	file_put(QUOTA, "1024");
	check_eq(ioctl(fd, PVVAS_IOC_SEG_CREATE, &arg), -1);
	check_eq(errno, ENOMEM);
	file_put(QUOTA, "0");
	close(fd);
	read_free(before);
	check_id(try_with(PVVAS_CREATE_POPULATE, PVVAS_NUMA_BIND, 2));
	check(took_from(1, before));
}

static void in_cpuset(void *arg)
{
	int node = *(int *)arg;

	file_put(CGROUP "/one/cpuset.mems", node ? "1" : "0");
	file_put(CGROUP "/one/cgroup.procs", "0");
	create(PVVAS_CREATE_POPULATE, node);
	check_eq(try_to_create(0, !node), -EINVAL);
}

static void a_node_that_the_cpuset_has_not_is_refused(void)
{
	int node;

	check_eq(mkdir(CGROUP, 0755), 0);
	check_eq(mount("none", CGROUP, "cgroup2", 0, NULL), 0);
	file_put(CGROUP "/cgroup.subtree_control", "+cpuset");
	check_eq(mkdir(CGROUP "/one", 0755), 0);
	for (node = 0; node < 2; node++)
		tcase_join(tcase_spawn(in_cpuset, &node));
	check_eq(rmdir(CGROUP "/one"), 0);
	check_eq(umount2(CGROUP, MNT_DETACH), 0);
	check_eq(try_to_create(0, 2), -EINVAL);
}

/* libpvvas/examples/numa-replicas.c: the memory of each is bound, as above */
static void a_table_has_a_replica_on_each_node(void)
{
	char output[512], line[64];
	size_t n;
	FILE *f = popen("/usr/lib/pvvas/examples/numa-replicas", "r");
	long cpu;

	check(f);
	n = fread(output, 1, sizeof(output) - 1, f);
	output[n] = '\0';
	tcase_note("%s", output);
	check_eq(pclose(f), 0);
	check(strstr(output, "2 replica(s), each with its node's memory\n"));
	/* numa.sh puts one CPU into each node */
	for (cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) {
		snprintf(line, sizeof(line), "CPU %ld, node %ld: all found at",
			 cpu, cpu);
		check(strstr(output, line));
	}
}

static const struct tcase cases[] = {
	CASE(pages_taken_at_once_are_of_node_0),
	CASE(pages_taken_at_once_are_of_node_1),
	CASE(pages_taken_at_first_touch_are_of_node_0),
	CASE(pages_taken_at_first_touch_are_of_node_1),
	CASE(interleaved_pages_are_of_both_nodes),
	CASE(interleaved_extents_are_of_both_nodes),
	CASE(bound_pages_are_of_their_nodes_or_not_at_all),
	CASE(a_node_that_the_cpuset_has_not_is_refused),
	CASE(a_table_has_a_replica_on_each_node),
};

TCASE_MAIN(cases, 0)
