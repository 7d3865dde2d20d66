// SPDX-License-Identifier: GPL-2.0-only
/*
 * GCBench, written from its published description (Ellis, Kovac and Boehm): trees of various
 * depths are made top down, by filling the nodes of one level after the other, and bottom up,
 * and forgotten, while one large tree and one large array of numbers live on.
 *
 *   gcbench [-g] [DEPTH]     -g: generational; DEPTH of the largest trees, 16 if not said
 *
 * Prints what was made, how many collections there were and how many ticks of the time
 * stamp counter the longest allocation took: the longest pause.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#define GC_THREADS
#include <gc.h>

#define LEAST_DEPTH	4
#define ARRAY_LENGTH	500000

struct node {
	struct node *left, *right;
	long i, j;
};

static unsigned long long longest;

static void *allocate(size_t size, int has_pointers)
{
	unsigned long long t = __rdtsc();
	void *p = has_pointers ? GC_MALLOC(size) : GC_MALLOC_ATOMIC(size);

	t = __rdtsc() - t;
	if (t > longest)
		longest = t;
	if (!p) {
		fputs("gcbench: no memory\n", stderr);
		exit(1);
	}
	return p;
}

static struct node *new_node(struct node *left, struct node *right)
{
	struct node *n = allocate(sizeof(*n), 1);

	n->left = left;
	n->right = right;
	return n;
}

static long tree_size(int depth)
{
	return (1L << (depth + 1)) - 1;
}

/* Top down: old nodes get to point to new ones, which is what a write barrier is for. */
static void populate(int depth, struct node *n)
{
	if (depth <= 0)
		return;
	n->left = new_node(NULL, NULL);
	n->right = new_node(NULL, NULL);
	populate(depth - 1, n->left);
	populate(depth - 1, n->right);
}

static struct node *bottom_up(int depth)
{
	if (depth <= 0)
		return new_node(NULL, NULL);
	return new_node(bottom_up(depth - 1), bottom_up(depth - 1));
}

static long count(const struct node *n)
{
	return n ? 1 + count(n->left) + count(n->right) : 0;
}

static int make_trees(int depth, int largest)
{
	long n = 2 * tree_size(largest) / tree_size(depth), i;

	for (i = 0; i < n; i++) {
		struct node *root = new_node(NULL, NULL);

		populate(depth, root);
		if (i == 0 && count(root) != tree_size(depth))
			return -1;
	}
	for (i = 0; i < n; i++) {
		struct node *root = bottom_up(depth);

		if (i == 0 && count(root) != tree_size(depth))
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int generational = argc > 1 && !strcmp(argv[1], "-g"), depth;
	int largest = argc > 1 + generational ? atoi(argv[1 + generational]) : 16;
	struct node *lasting;
	double *array;
	long i;

	GC_INIT();
	if (generational)
		GC_enable_incremental();
	if (generational && !GC_is_incremental_mode()) {
		fputs("gcbench: there are no dirty bits\n", stderr);
		return 1;
	}
	/* the heap grows */
	if (count(bottom_up(largest + 1)) != tree_size(largest + 1))
		return 1;
	lasting = new_node(NULL, NULL);
	populate(largest, lasting);
	array = allocate(ARRAY_LENGTH * sizeof(*array), 0);
	for (i = 1; i < ARRAY_LENGTH; i++)
		array[i] = 1.0 / (double)i;
	for (depth = LEAST_DEPTH; depth <= largest; depth += 2)
		if (make_trees(depth, largest))
			return 1;
	if (count(lasting) != tree_size(largest) || array[1000] != 1.0 / 1000) {
		fputs("gcbench: what should have lasted did not\n", stderr);
		return 1;
	}
	printf("depth %d, %lu collections, heap of %lu KiB, longest pause %llu\n",
	       largest, (unsigned long)GC_get_gc_no(),
	       (unsigned long)GC_get_heap_size() / 1024, longest);
	return 0;
}
