// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A table that is only read, once on each NUMA node and at the same address on each:
 * its pointers are good in every replica, and a thread finds the nearest one with one
 * switch.
 *
 *   numa-replicas        a tree of 100000 numbers, looked up on each node
 *
 * A VAS for each node shows the replica of this node.  Where the backend cannot choose
 * nodes (the software backend) the replicas are made all the same, wherever.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#define HERE		((struct tree *)VAS_WINDOW_FIRST)
#define SIZE		(8UL << 20)
#define NR		100000L
#define MAX_NODES	64

struct branch {
	const struct branch *smaller, *larger;
	long number;
};

struct tree {
	const struct branch *root;
	struct branch branches[NR];
};

static int vas_of[MAX_NODES];

static const struct branch *grow(struct tree *t, long from, long to)
{
	long middle = from + (to - from) / 2;
	struct branch *b = &t->branches[middle];

	if (from >= to)
		return NULL;
	b->number = 3 * middle;
	b->smaller = grow(t, from, middle);
	b->larger = grow(t, middle + 1, to);
	return b;
}

static int found(const struct tree *t, long number)
{
	const struct branch *b = t->root;

	while (b && b->number != number)
		b = number < b->number ? b->smaller : b->larger;
	return b != NULL;
}

static int has_node(int node)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", node);
	return node == 0 || !access(path, F_OK);
}

/* A segment whose memory is on one node; returns whether the backend could. */
static int segment_on(int node, int *bound)
{
	struct seg_options there = {
		.size = sizeof(there), .policy = SEG_NUMA_BIND,
		.nodes = 1ULL << node,
	};
	int sid = seg_alloc_with(NULL, HERE, SIZE, 0600, &there);

	*bound = sid != -EOPNOTSUPP;
	return *bound ? sid : seg_alloc(NULL, HERE, SIZE, 0600);
}

/* Two VASes show two segments at one address: the way leads through this buffer. */
static int copy(int from, int to)
{
	static char buffer[1 << 16];
	size_t at;
	int err = 0;

	for (at = 0; !err && at < SIZE; at += sizeof(buffer)) {
		err = vas_switch(from);
		if (!err)
			memcpy(buffer, (char *)HERE + at, sizeof(buffer));
		if (!err)
			err = vas_switch(to);
		if (!err)
			memcpy((char *)HERE + at, buffer, sizeof(buffer));
	}
	return err;
}

/* Make one, fill it, show it to readers without the right to write. */
static int replica(int node, int first, int *bound)
{
	int maker = vas_create(NULL, 0600), vid = vas_create(NULL, 0600), vh, err;
	int sid = segment_on(node, bound);

	err = sid < 0 ? sid : seg_attach(maker, sid);
	vh = err ? err : vas_attach(maker);
	err = vh < 0 ? vh : vas_switch(vh);
	if (!err && first)
		err = copy(first, vh);
	else if (!err)
		HERE->root = grow(HERE, 0, NR);
	if (!err)
		err = vas_switch(VAS_HOME);
	if (!err)
		err = vas_detach(vh);
	if (!err)
		err = seg_attach_prot(vid, sid, PROT_READ);
	vas_of[node] = err ? err : vas_attach(vid);
	return vas_of[node] < 0 ? vas_of[node] : 0;
}

/* Into the replica of the node that this thread runs on. */
static int enter_nearest(unsigned int *node)
{
	unsigned int cpu;

	if (getcpu(&cpu, node))
		return -errno;
	return vas_switch(*node < MAX_NODES ? vas_of[*node] : vas_of[0]);
}

static int look_up(unsigned int cpu)
{
	unsigned int node;
	cpu_set_t one;
	long i;
	int err;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		return 0;	/* not ours to use */
	err = enter_nearest(&node);
	for (i = 0; !err && i < 3 * NR; i += 1001)
		err = found(HERE, i) != (i % 3 == 0);
	if (!err)
		printf("CPU %u, node %u: all found at %p\n", cpu, node,
		       (void *)HERE);
	vas_switch(VAS_HOME);
	return err;
}

int main(void)
{
	int node, err = 0, first = 0, bound = 0, n = 0;
	unsigned int cpu;

	for (node = 0; !err && node < MAX_NODES; node++) {
		if (!has_node(node))
			continue;
		err = replica(node, first, &bound);
		first = first ? first : vas_of[node];
		n++;
	}
	if (!err)
		printf("%d replica(s), %s\n", n,
		       bound ? "each with its node's memory" : "from any memory");
	for (cpu = 0; !err && cpu < (unsigned int)sysconf(_SC_NPROCESSORS_CONF);
	     cpu++)
		err = look_up(cpu);
	if (err < 0)
		fprintf(stderr, "numa-replicas: %s\n", strerror(-err));
	return err ? 1 : 0;
}
