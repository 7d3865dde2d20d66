// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Random calls, of one thread and of many, against what must be true.
 *
 *   heap_random [SEED]
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "heap/support.h"

#define SLOTS	2000
#define CALLS	100000
#define THREADS	8

static uint64_t first_seed = 1;

struct slot {
	void *p;
	size_t size;
	uint64_t key;
};

static struct pvvas_heap heap;

/* A new block, from one of the four calls; NULL is right if memory is short. */
static void allocate(struct slot *s, uint64_t *seed)
{
	uint64_t r = next_random(seed);
	size_t align = 16;

	s->size = random_size(seed);
	s->key = next_random(seed);
	switch (r % 8) {
	case 0:
		s->p = pvvas_heap_calloc(&heap, 1, s->size);
		if (s->p && !is_filled(s->p, s->size, 0))
			abort();
		break;
	case 1:
		align = 1UL << (r >> 8) % 14;
		s->p = pvvas_heap_memalign(&heap, align, s->size);
		break;
	default:
		s->p = pvvas_heap_malloc(&heap, s->size);
	}
	if (!s->p)
		return;
	if ((uintptr_t)s->p % align || pvvas_heap_usable(&heap, s->p) < s->size)
		abort();
	fill(s->p, s->size, s->key);
}

static void reallocate(struct slot *s, uint64_t *seed)
{
	size_t size = random_size(seed);
	size_t common = size < s->size ? size : s->size;
	void *p = pvvas_heap_realloc(&heap, s->p, size);

	if (!p)
		return;
	if (!is_filled(p, common, s->key))
		abort();
	s->p = p;
	s->size = size;
	fill(p, size, s->key);
}

static void release(struct slot *s)
{
	if (!is_filled(s->p, s->size, s->key))
		abort();
	if (pvvas_heap_free(&heap, s->p))
		abort();
	s->p = NULL;
}

static void one_call(struct slot *s, uint64_t *seed)
{
	if (!s->p)
		allocate(s, seed);
	else if (next_random(seed) % 4)
		release(s);
	else
		reallocate(s, seed);
}

static void run(size_t size, uint64_t seed)
{
	struct slot *slots = calloc(SLOTS, sizeof(*slots));
	uint64_t blocks = 0;
	int i;

	assert_non_null(slots);
	heap = new_heap(size);
	for (i = 0; i < CALLS; i++) {
		one_call(&slots[next_random(&seed) % SLOTS], &seed);
		if (i % 5000 == 0)
			count_blocks(&heap);
	}
	for (i = 0; i < SLOTS; i++)
		blocks += !!slots[i].p;
	assert_int_equal(count_blocks(&heap), blocks);
	for (i = 0; i < SLOTS; i++)
		if (slots[i].p)
			release(&slots[i]);
	assert_int_equal(count_blocks(&heap), 0);
	drop_heap(&heap);
	free(slots);
}

static void with_enough_memory(void **state)
{
	(void)state;
	run(64UL << 20, first_seed);
}

static void with_too_little_memory(void **state)
{
	(void)state;
	run(1UL << 20, first_seed + 1);
	run(64UL << 10, first_seed + 2);
}

/*
 * Threads: each takes any slot from the common table, so that blocks are freed
 * by others than those that allocated them.
 */
static struct slot *shared[SLOTS];

static void *run_thread(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	struct slot *mine, *s;
	int i;

	for (i = 0; i < CALLS / 2; i++) {
		mine = calloc(1, sizeof(*mine));
		if (!mine)
			abort();
		allocate(mine, &seed);
		s = __atomic_exchange_n(&shared[next_random(&seed) % SLOTS],
					mine, __ATOMIC_ACQ_REL);
		if (s && s->p && next_random(&seed) % 2)
			reallocate(s, &seed);
		if (s && s->p)
			release(s);
		free(s);
	}
	return NULL;
}

static void by_threads_that_free_what_others_took(void **state)
{
	pthread_t threads[THREADS];
	uint64_t blocks = 0;
	uintptr_t i;

	(void)state;
	heap = new_heap(32UL << 20);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_thread,
						(void *)(first_seed + i)), 0);
	for (i = 0; i < 50; i++)
		assert_int_equal(pvvas_heap_check(&heap, NULL), 0);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < SLOTS; i++)
		blocks += shared[i] && shared[i]->p;
	assert_int_equal(count_blocks(&heap), blocks);
	for (i = 0; i < SLOTS; i++) {
		if (shared[i] && shared[i]->p)
			release(shared[i]);
		free(shared[i]);
		shared[i] = NULL;
	}
	assert_int_equal(count_blocks(&heap), 0);
	drop_heap(&heap);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_enough_memory),
		cmocka_unit_test(with_too_little_memory),
		cmocka_unit_test(by_threads_that_free_what_others_took),
	};

	if (argc > 1)
		first_seed = strtoull(argv[1], NULL, 0);
	print_message("# seed %llu\n", (unsigned long long)first_seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
