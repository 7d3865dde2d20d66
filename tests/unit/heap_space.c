// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Where blocks lie: what is joined, found again, and given back.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <heap_layout.h>

#include "heap/support.h"

#define MIB	(1UL << 20)

static struct pvvas_heap heap;

static int setup(void **state)
{
	(void)state;
	heap = new_heap(4 * MIB);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	drop_heap(&heap);
	return 0;
}

static void an_exhausted_heap_gives_null_and_recovers(void **state)
{
	static const size_t sizes[] = { 16, 100, 1000, 4096, 10000, 300000 };
	size_t i, usable = 0;
	void **list, **p;
	uint64_t n;

	(void)state;
	for (i = 0; i < 6; i++) {
		list = NULL;
		n = 0;
		for (;;) {
			errno = 0;
			p = pvvas_heap_malloc(&heap, sizes[i]);
			if (!p)
				break;
			usable = pvvas_heap_usable(&heap, p);
			*p = list;
			list = p;
			n++;
		}
		assert_int_equal(errno, ENOMEM);
		/* the table takes a 32nd; as much again may be odd ends */
		assert_true((n + 1) * usable > 4 * MIB - 4 * MIB / 16);
		assert_int_equal(count_blocks(&heap), n);
		while (list) {
			p = *list;
			assert_int_equal(pvvas_heap_free(&heap, list), 0);
			list = p;
		}
		assert_int_equal(count_blocks(&heap), 0);
	}
	/* what slabs keep back is there for others */
	p = pvvas_heap_malloc(&heap, 3 * MIB + MIB / 2);
	assert_non_null(p);
}

static void a_full_heap_has_room_for_small_blocks_in_any_hole(void **state)
{
	void *large[8192];
	size_t n = 0, i;

	(void)state;
	while ((large[n] = pvvas_heap_malloc(&heap, 4097)) != NULL)
		n++;
	while (pvvas_heap_malloc(&heap, 16))
		;
	/* holes of nine granules: too short for most slabs */
	for (i = 0; i < n; i += 2)
		assert_int_equal(pvvas_heap_free(&heap, large[i]), 0);
	for (i = 0; i < 16; i++)
		assert_non_null(pvvas_heap_malloc(&heap, 3500));
	count_blocks(&heap);
}

static void free_joins_what_lies_side_by_side(void **state)
{
	struct pvvas_heap_usage u;
	void *p[8];
	int i;

	(void)state;
	for (i = 0; i < 8; i++)
		p[i] = pvvas_heap_malloc(&heap, 100000);
	for (i = 0; i < 8; i += 2)
		assert_int_equal(pvvas_heap_free(&heap, p[i]), 0);
	for (i = 1; i < 8; i += 2)
		assert_int_equal(pvvas_heap_free(&heap, p[i]), 0);
	assert_int_equal(pvvas_heap_check(&heap, &u), 0);
	assert_int_equal(u.largest_free, u.size);
}

static void a_heap_takes_memory_only_where_it_is_used(void **state)
{
	struct pvvas_heap h = new_heap(1UL << 34);
	char *p = pvvas_heap_malloc(&h, 1UL << 33);
	char *q = pvvas_heap_malloc(&h, 100);

	(void)state;
	assert_non_null(p);
	assert_non_null(q);
	p[0] = p[(1UL << 33) - 1] = 1;
	assert_int_equal(count_blocks(&h), 2);
	assert_int_equal(pvvas_heap_free(&h, p), 0);
	assert_int_equal(count_blocks(&h), 1);
	drop_heap(&h);
}

static void memory_that_a_growth_took_is_not_fresh(void **state)
{
	char *p = pvvas_heap_malloc(&heap, 5000), *q;

	(void)state;
	assert_ptr_equal(pvvas_heap_realloc(&heap, p, 60000), p);
	memset(p, 0xff, 60000);
	assert_int_equal(pvvas_heap_free(&heap, p), 0);
	q = pvvas_heap_calloc(&heap, 1, 60000);
	assert_ptr_equal(q, p);
	assert_true(is_filled(q, 60000, 0));
}

/* Of whatever was in it: slabs without blocks are given back. */
static void all_of_an_empty_heap_can_be_one_block(void **state)
{
	static void *p[20000];
	struct pvvas_heap_usage u;
	size_t size, n;
	char *all;

	(void)state;
	assert_int_equal(pvvas_heap_check(&heap, &u), 0);
	for (size = 16; size <= 4096; size += 16 + size / 3) {
		for (n = 0; n < 20000; n++) {
			p[n] = pvvas_heap_malloc(&heap, size);
			if (!p[n])
				break;
		}
		assert_true(n > 500);
		while (n--)
			assert_int_equal(pvvas_heap_free(&heap, p[n]), 0);
		all = pvvas_heap_malloc(&heap, u.size);
		assert_non_null(all);
		assert_int_equal(pvvas_heap_usable(&heap, all), u.size);
		assert_null(pvvas_heap_malloc(&heap, 1));
		assert_int_equal(pvvas_heap_free(&heap, all), 0);
		errno = 0;
		assert_null(pvvas_heap_malloc(&heap, u.size + 1));
		assert_int_equal(errno, ENOMEM);
	}
}

static void a_block_grows_and_shrinks_any_number_of_times(void **state)
{
	void *p = pvvas_heap_malloc(&heap, 5000);
	struct pvvas_heap_usage u;
	int i;

	(void)state;
	for (i = 1; i < 40; i++) {
		assert_ptr_equal(pvvas_heap_realloc(&heap, p, 5000 + i * 1000),
				 p);
		count_blocks(&heap);
	}
	while (--i)
		assert_ptr_equal(pvvas_heap_realloc(&heap, p, 5000 + i * 1000),
				 p);
	assert_int_equal(count_blocks(&heap), 1);
	assert_int_equal(pvvas_heap_check(&heap, &u), 0);
	assert_int_equal(u.recoveries, 0);
}

/* Runs of nearly the same length are in one list: it is searched to its end. */
static void a_run_that_fits_is_found_behind_many_that_do_not(void **state)
{
	void *p[16], *longer, *q;
	size_t size;
	int i;

	(void)state;
	longer = pvvas_heap_malloc(&heap, 67 * GRANULE);
	for (i = 0; i < 16; i++) {
		assert_non_null(pvvas_heap_malloc(&heap, 9 * GRANULE));
		p[i] = pvvas_heap_malloc(&heap, 64 * GRANULE);
	}
	for (size = 2 * MIB; size > 16; size /= 2)
		while (pvvas_heap_malloc(&heap, size))
			;
	assert_int_equal(pvvas_heap_free(&heap, longer), 0);
	for (i = 0; i < 16; i++)
		assert_int_equal(pvvas_heap_free(&heap, p[i]), 0);
	q = pvvas_heap_malloc(&heap, 66 * GRANULE);
	assert_ptr_equal(q, longer);
}

static void small_aligned_blocks_come_from_slabs(void **state)
{
	void *p;
	int i;

	(void)state;
	for (i = 5; i <= 9; i++) {
		p = pvvas_heap_memalign(&heap, 1UL << i, 24);
		assert_in_range(pvvas_heap_usable(&heap, p), 24,
				(1UL << i) + 16);
	}
}

/* A block is taken from the slab that has been used last, while it has any. */
static void a_freed_slab_is_used_before_a_new_one(void **state)
{
	struct pvvas_heap_usage u;
	void *p[400];
	uint64_t before;
	int i, round;

	(void)state;
	for (i = 0; i < 400; i++)
		p[i] = pvvas_heap_malloc(&heap, 1000);
	assert_int_equal(pvvas_heap_check(&heap, &u), 0);
	before = u.free;
	for (round = 0; round < 20; round++) {
		for (i = round % 7; i < 400; i += 7)
			assert_int_equal(pvvas_heap_free(&heap, p[i]), 0);
		for (i = round % 7; i < 400; i += 7)
			p[i] = pvvas_heap_malloc(&heap, 1000);
		assert_int_equal(pvvas_heap_check(&heap, &u), 0);
		assert_in_range(u.free, before - 8192, before);
	}
	/* and one that nothing is in any more goes, but for a few */
	for (i = 0; i < 400; i++)
		assert_int_equal(pvvas_heap_free(&heap, p[i]), 0);
	assert_int_equal(pvvas_heap_check(&heap, &u), 0);
	assert_in_range(u.size - u.free, 0, 3 * 8192);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_exhausted_heap_gives_null_and_recovers),
		TEST(a_full_heap_has_room_for_small_blocks_in_any_hole),
		TEST(free_joins_what_lies_side_by_side),
		TEST(a_heap_takes_memory_only_where_it_is_used),
		TEST(memory_that_a_growth_took_is_not_fresh),
		TEST(all_of_an_empty_heap_can_be_one_block),
		TEST(a_block_grows_and_shrinks_any_number_of_times),
		TEST(a_run_that_fits_is_found_behind_many_that_do_not),
		TEST(small_aligned_blocks_come_from_slabs),
		TEST(a_freed_slab_is_used_before_a_new_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
