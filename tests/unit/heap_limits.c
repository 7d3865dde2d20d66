// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A heap where memory comes late, and not always: the pages of this one cannot be
 * touched before the heap has asked for them, and a budget refuses some.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <heap_layout.h>

#include "heap/support.h"

#define MIB	(1UL << 20)
#define PAGE	4096UL
#define SIZE	(64 * MIB)
#define MANY	4000

static struct pvvas_heap heap;
static struct pvvas_heap_owner owner;
static unsigned char there[SIZE / PAGE];
static char *memory;
static size_t budget;	/* pages */
static unsigned int refusals;

static int have(const struct pvvas_heap *h, const void *from, size_t bytes)
{
	size_t at = (size_t)((const char *)from - memory), i, n = 0;
	size_t first = at / PAGE, last = (at + bytes - 1) / PAGE;

	(void)h;
	assert_true(bytes && last < SIZE / PAGE);
	for (i = first; i <= last; i++)
		n += !there[i];
	if (n > budget) {
		refusals++;
		return -ENOMEM;
	}
	budget -= n;
	memset(there + first, 1, last - first + 1);
	assert_int_equal(mprotect(memory + first * PAGE, (last - first + 1) * PAGE,
				  PROT_READ | PROT_WRITE), 0);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	memory = shared_memory(SIZE);
	assert_int_equal(mprotect(memory, SIZE, PROT_NONE), 0);
	memset(there, 0, sizeof(there));
	owner = *this_process();
	owner.have = have;
	refusals = 0;
	get_token();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	drop_memory(memory, SIZE);
	return 0;
}

/* count_blocks() looks at what nothing has ever touched, too. */
static uint64_t blocks(void)
{
	struct pvvas_heap_usage usage;

	assert_int_equal(pvvas_heap_check(&heap, &usage), 0);
	return usage.blocks;
}

static int open_heap(void)
{
	return pvvas_heap_open(&heap, memory, SIZE, 1, &owner);
}

/* Each number of pages until it is made; what there was before is of use then. */
static void a_heap_is_made_once_there_is_memory(void **state)
{
	int err, tries = 0;

	(void)state;
	budget = 0;
	while ((err = open_heap()) != 0) {
		assert_int_equal(err, -ENOMEM);
		assert_true(++tries < 6);
		budget++;
	}
	assert_true(tries >= 3);
	assert_int_equal(blocks(), 0);
}

static void small_blocks_have_memory_or_there_are_none(void **state)
{
	static const size_t sizes[] = { 16, 100, 1000, 4096 };
	uint64_t n = 0;
	size_t i;
	char *p;

	(void)state;
	budget = 5;
	assert_int_equal(open_heap(), 0);
	for (i = 0; i < 4; i++) {
		budget += 64;
		errno = 0;
		while ((p = pvvas_heap_malloc(&heap, sizes[i])) != NULL) {
			memset(p, 1, sizes[i]);
			n++;
		}
		assert_int_equal(errno, ENOMEM);
		errno = 0;
		assert_null(pvvas_heap_calloc(&heap, 1, sizes[i]));
		assert_int_equal(errno, ENOMEM);
		/* nearly all of it is of use */
		assert_true(budget < 16);
		assert_int_equal(blocks(), n);
	}
}

static void a_large_block_is_like_overcommitted_memory(void **state)
{
	char *p, *q;

	(void)state;
	budget = 20;
	assert_int_equal(open_heap(), 0);
	p = pvvas_heap_malloc(&heap, 16 * MIB);
	assert_non_null(p);
	/* nothing of it was touched: what is zeroed, or copied, has to be there */
	assert_int_equal(pvvas_heap_free(&heap, p), 0);
	errno = 0;
	assert_null(pvvas_heap_calloc(&heap, 1, 16 * MIB));
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(blocks(), 0);
	p = pvvas_heap_malloc(&heap, MIB);
	q = pvvas_heap_malloc(&heap, MIB);
	assert_true(p && q);
	errno = 0;
	assert_null(pvvas_heap_realloc(&heap, p, 2 * MIB));
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(blocks(), 2);
	/* as far as it goes, it shrinks */
	budget = 0;
	assert_ptr_equal(pvvas_heap_realloc(&heap, p, 5000), p);
	assert_int_equal(blocks(), 2);
}

struct block {
	char *p;
	size_t size;
	bool small;	/* it was asked for as one, and so has memory */
};

static void allocate(struct block *b, uint64_t *seed)
{
	size_t size = random_size(seed) * (next_random(seed) % 8 ? 1 : 20);

	*b = (struct block){ .size = size };
	switch (next_random(seed) % 4) {
	case 0:
		b->p = pvvas_heap_memalign(&heap, 4096, size);
		break;
	case 1:
		b->p = pvvas_heap_calloc(&heap, 1, size);
		break;
	default:
		b->p = pvvas_heap_malloc(&heap, size);
		b->small = size && size <= 4096;
	}
	if (!b->p)
		assert_int_equal(errno, ENOMEM);
	else if (b->small)
		memset(b->p, 'p', size);
}

static void reallocate(struct block *b, uint64_t *seed)
{
	size_t size = random_size(seed) + 1;
	char *p = pvvas_heap_realloc(&heap, b->p, size);

	if (!p) {
		assert_int_equal(errno, ENOMEM);
		return;
	}
	if (b->small) {
		assert_int_equal(p[0], 'p');
		assert_int_equal(p[(size < b->size ? size : b->size) - 1], 'p');
	}
	if (size < b->size)
		b->size = size;
	b->p = p;
}

/* Any calls, where memory comes in drops. */
static void one_call(struct block *b, uint64_t *seed)
{
	errno = 0;
	if (!b->p) {
		allocate(b, seed);
	} else if (next_random(seed) % 3) {
		assert_int_equal(pvvas_heap_free(&heap, b->p), 0);
		b->p = NULL;
	} else {
		reallocate(b, seed);
	}
}

static void no_call_touches_what_it_has_not_asked_for(void **state)
{
	static struct block all[MANY];
	uint64_t seed = 11, n;
	unsigned int i, used;

	(void)state;
	budget = 5;
	assert_int_equal(open_heap(), 0);
	memset(all, 0, sizeof(all));
	for (i = 0; i < 60000; i++) {
		if (!(i % 100))
			budget++;
		one_call(&all[next_random(&seed) % MANY], &seed);
		if (i % 6000)
			continue;
		for (n = used = 0; used < MANY; used++)
			n += !!all[used].p;
		assert_int_equal(blocks(), n);
	}
	assert_true(refusals > 100);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_heap_is_made_once_there_is_memory),
		TEST(small_blocks_have_memory_or_there_are_none),
		TEST(a_large_block_is_like_overcommitted_memory),
		TEST(no_call_touches_what_it_has_not_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
