// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One process and one heap: what the calls give, and what they refuse.
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

static void zeroes_are_an_empty_heap(void **state)
{
	struct pvvas_heap_usage u;

	(void)state;
	assert_int_equal(pvvas_heap_check(&heap, &u), 0);
	assert_int_equal(u.blocks, 0);
	assert_int_equal(u.used, 0);
	assert_int_equal(u.free, u.size);
	assert_int_equal(u.largest_free, u.size);
	assert_true(u.size > 4 * MIB - 4 * MIB / 16);
}

static void a_heap_is_opened_as_often_as_one_likes(void **state)
{
	struct pvvas_heap again;
	void *p = pvvas_heap_malloc(&heap, 100);

	(void)state;
	assert_int_equal(pvvas_heap_open(&again, heap.base, 4 * MIB, 1,
					 this_process()), 0);
	assert_true(pvvas_heap_is_there(heap.base));
	assert_int_equal(count_blocks(&again), 1);
	assert_int_equal(pvvas_heap_free(&again, p), 0);
	assert_int_equal(count_blocks(&heap), 0);
}

static void memory_with_something_else_in_it_is_refused(void **state)
{
	uint64_t *p = shared_memory(MIB);
	struct pvvas_heap h;

	(void)state;
	p[0] = 1;
	assert_int_equal(pvvas_heap_open(&h, p, MIB, 1, this_process()), -EEXIST);
	p[0] = 0;
	p[8] = 1;
	assert_int_equal(pvvas_heap_open(&h, p, MIB, 1, this_process()), -EEXIST);
	assert_int_equal(p[8], 1);
	assert_false(pvvas_heap_is_there(p));
	drop_memory(p, MIB);
}

/* A range that has grown has the heap that it had. */
static void a_heap_of_a_larger_size_is_refused(void **state)
{
	struct pvvas_heap h;

	(void)state;
	assert_int_equal(pvvas_heap_open(&h, heap.base, 2 * MIB, 1,
					 this_process()), -ESTALE);
	assert_int_equal(pvvas_heap_open(&h, heap.base, 8 * MIB, 1,
					 this_process()), 0);
	assert_int_equal(h.end, heap.end);
	assert_int_equal(h.first, heap.first);
	assert_int_equal(pvvas_heap_open(&h, heap.base, 4096, 1,
					 this_process()), -EINVAL);
	assert_int_equal(pvvas_heap_open(&h, heap.base + 512, 2 * MIB, 1,
					 this_process()), -EINVAL);
}

static void every_size_is_aligned_and_large_enough(void **state)
{
	size_t size, usable;
	void *p;

	(void)state;
	for (size = 0; size < 20000; size += 1 + size / 64) {
		p = pvvas_heap_malloc(&heap, size);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		usable = pvvas_heap_usable(&heap, p);
		assert_true(usable >= size);
		/* an eighth, or to the next granule; 16 at least */
		assert_true(usable <= size + size / 8 + 16 ||
			    usable < size + 512);
		memset(p, 0xff, usable);
	}
	count_blocks(&heap);
}

static void blocks_do_not_overlap(void **state)
{
	unsigned char *p[600];
	size_t i, size;

	(void)state;
	for (i = 0; i < 600; i++) {
		size = i * 9;
		p[i] = pvvas_heap_malloc(&heap, size);
		assert_non_null(p[i]);
		fill(p[i], pvvas_heap_usable(&heap, p[i]), i);
	}
	for (i = 0; i < 600; i++)
		assert_true(is_filled(p[i], pvvas_heap_usable(&heap, p[i]), i));
	assert_int_equal(count_blocks(&heap), 600);
	for (i = 0; i < 600; i++)
		assert_int_equal(pvvas_heap_free(&heap, p[i * 7 % 600]), 0);
	assert_int_equal(count_blocks(&heap), 0);
}

static void calloc_gives_zeroes(void **state)
{
	static const size_t sizes[] = { 1, 100, 3000, 5000, 100000 };
	unsigned char *p;
	size_t i, j;
	int round;

	(void)state;
	for (round = 0; round < 3; round++)
		for (i = 0; i < 5; i++) {
			p = pvvas_heap_calloc(&heap, sizes[i], 3);
			assert_non_null(p);
			for (j = 0; j < sizes[i] * 3; j++)
				assert_int_equal(p[j], 0);
			memset(p, 0xff, pvvas_heap_usable(&heap, p));
			assert_int_equal(pvvas_heap_free(&heap, p), 0);
		}
	errno = 0;
	assert_null(pvvas_heap_calloc(&heap, SIZE_MAX / 2, 3));
	assert_int_equal(errno, ENOMEM);
}

static void memalign_aligns(void **state)
{
	static const size_t sizes[] = { 0, 1, 24, 250, 700, 4000, 4096, 9000 };
	size_t align, i;
	void *p[16][8];

	(void)state;
	for (i = 0; i < 8; i++)
		for (align = 0; align < 16; align++) {
			p[align][i] = pvvas_heap_memalign(&heap, 1UL << align,
							  sizes[i]);
			assert_non_null(p[align][i]);
			assert_int_equal((uintptr_t)p[align][i] %
					 (1UL << align), 0);
			assert_true(pvvas_heap_usable(&heap, p[align][i]) >=
				    sizes[i]);
			memset(p[align][i], 0x11, sizes[i]);
		}
	count_blocks(&heap);
	for (i = 0; i < 8; i++)
		for (align = 0; align < 16; align++)
			assert_int_equal(pvvas_heap_free(&heap, p[align][i]), 0);
	assert_int_equal(count_blocks(&heap), 0);
}

static void memalign_refuses_what_is_no_alignment(void **state)
{
	int i;

	(void)state;
	errno = 0;
	assert_null(pvvas_heap_memalign(&heap, 0, 10));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(pvvas_heap_memalign(&heap, 48, 10));
	assert_int_equal(errno, EINVAL);
	for (i = 30; i < 64; i++) {
		errno = 0;
		assert_null(pvvas_heap_memalign(&heap, 1UL << i, 10));
		assert_int_equal(errno, ENOMEM);
	}
	assert_int_equal(count_blocks(&heap), 0);
}

static void realloc_keeps_the_content(void **state)
{
	static const size_t sizes[] = { 10, 100, 90, 5000, 5100, 200000, 6000,
					4000, 3, 900000, 4097, 4096, 0, 1 };
	size_t i, old = 0;
	void *p = NULL;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		p = pvvas_heap_realloc(&heap, p, sizes[i]);
		assert_non_null(p);
		assert_true(is_filled(p, old < sizes[i] ? old : sizes[i],
				      0x1122334455667788));
		fill(p, sizes[i], 0x1122334455667788);
		old = sizes[i];
		assert_int_equal(count_blocks(&heap), 1);
	}
	assert_int_equal(pvvas_heap_free(&heap, p), 0);
	assert_int_equal(count_blocks(&heap), 0);
}

static void a_large_block_grows_where_it_is(void **state)
{
	void *p = pvvas_heap_malloc(&heap, 5000), *q;

	(void)state;
	assert_ptr_equal(pvvas_heap_realloc(&heap, p, 50000), p);
	assert_ptr_equal(pvvas_heap_realloc(&heap, p, MIB), p);
	q = pvvas_heap_malloc(&heap, 5000);
	assert_ptr_not_equal(pvvas_heap_realloc(&heap, p, MIB + MIB / 2), p);
	assert_int_equal(pvvas_heap_free(&heap, q), 0);
}

static void realloc_that_fails_leaves_the_block(void **state)
{
	void *p = pvvas_heap_malloc(&heap, 100);

	(void)state;
	fill(p, 100, 7);
	errno = 0;
	assert_null(pvvas_heap_realloc(&heap, p, 5 * MIB));
	assert_int_equal(errno, ENOMEM);
	assert_null(pvvas_heap_realloc(&heap, p, SIZE_MAX));
	assert_true(is_filled(p, 100, 7));
	assert_int_equal(pvvas_heap_free(&heap, p), 0);
}

static void null_is_free(void **state)
{
	(void)state;
	assert_int_equal(pvvas_heap_free(&heap, NULL), 0);
	assert_int_equal(pvvas_heap_usable(&heap, NULL), 0);
}

static void a_second_free_is_refused(void **state)
{
	static const size_t sizes[] = { 1, 100, 4000, 5000, 100000 };
	void *p, *other;
	size_t i;

	(void)state;
	for (i = 0; i < 5; i++) {
		other = pvvas_heap_malloc(&heap, sizes[i]);
		p = pvvas_heap_malloc(&heap, sizes[i]);
		assert_int_equal(pvvas_heap_free(&heap, p), 0);
		assert_int_equal(pvvas_heap_free(&heap, p), -EALREADY);
		assert_int_equal(pvvas_heap_usable(&heap, p), 0);
		errno = 0;
		assert_null(pvvas_heap_realloc(&heap, p, 10));
		assert_int_equal(errno, EALREADY);
		assert_int_equal(pvvas_heap_free(&heap, other), 0);
		assert_int_equal(count_blocks(&heap), 0);
	}
}

static void pointers_that_are_no_blocks_are_refused(void **state)
{
	static const size_t sizes[] = { 40, 1000, 5000 };
	char *p, local;
	size_t i, k;

	(void)state;
	for (i = 0; i < 3; i++) {
		p = pvvas_heap_malloc(&heap, sizes[i]);
		for (k = 1; k < sizes[i]; k++) {
			assert_int_equal(pvvas_heap_free(&heap, p + k), -EINVAL);
			assert_int_equal(pvvas_heap_usable(&heap, p + k), 0);
		}
		errno = 0;
		assert_null(pvvas_heap_realloc(&heap, p + 8, 100));
		assert_int_equal(errno, EINVAL);
	}
	assert_int_equal(pvvas_heap_free(&heap, heap.base), -EINVAL);
	assert_int_equal(pvvas_heap_free(&heap, heap.base + 8192), -EINVAL);
	assert_int_equal(pvvas_heap_free(&heap, heap.base - 16), -EINVAL);
	assert_int_equal(pvvas_heap_free(&heap, heap.base + 4 * MIB), -EINVAL);
	assert_int_equal(pvvas_heap_free(&heap, &local), -EINVAL);
	assert_int_equal(pvvas_heap_free(&heap, (void *)1), -EINVAL);
	assert_int_equal(count_blocks(&heap), 3);
}

static void expect_seen(const char *what, uint32_t g)
{
	if (pvvas_heap_check(&heap, NULL) != -EUCLEAN)
		fail_msg("%s of %u was overwritten, and not seen", what, g);
}

#define OVERWRITE(what, g, lvalue, value) \
	do { \
		__typeof__(lvalue) saved__ = (lvalue); \
		(lvalue) = (value); \
		if ((lvalue) != saved__) \
			expect_seen(what, g); \
		(lvalue) = saved__; \
	} while (0)

static void overwrite_links(uint32_t g)
{
	struct pvvas_heap_desc *d = &heap.table[g];

	if (!d->prev)
		return;
	OVERWRITE("next", g, d->next, 0U);
	OVERWRITE("next", g, d->next, heap.end);
	OVERWRITE("next", g, d->next, heap.first - 1);
	OVERWRITE("next", g, d->next, g);
	OVERWRITE("prev", g, d->prev, LIST_FIRST);
	OVERWRITE("prev", g, d->prev, heap.end);
	OVERWRITE("prev", g, d->prev, heap.first - 1);
	OVERWRITE("prev", g, d->prev, g);
}

static void overwrite_run(uint32_t g)
{
	struct pvvas_heap_desc *d = &heap.table[g];
	uint64_t word = d->word;
	uint32_t n, i;

	overwrite_links(g);
	OVERWRITE("word", g, d->word, 0x4242424242424242);
	OVERWRITE("word", g, d->word, 0UL);
	OVERWRITE("word", g, d->word, WORD(KIND_FREE, 0));
	OVERWRITE("word", g, d->word, WORD(KIND_LARGE, heap.end));
	OVERWRITE("word", g, d->word, WORD(KIND_INSIDE, 1));
	OVERWRITE("word", g, d->word, word | 1UL << 40);
	if (!IS_SLAB(word)) {
		OVERWRITE("word", g, d->word, word + 1);
		return;
	}
	n = pvvas_heap_classes[WORD_KIND(word) - KIND_SLAB].blocks;
	if (n < 32)
		OVERWRITE("word", g, d->word, word | 1UL << n);
	OVERWRITE("word", g, d->word, WORD(KIND_SLAB + HEAP_CLASSES, 1));
	n = pvvas_heap_classes[WORD_KIND(word) - KIND_SLAB].granules;
	for (i = 1; i < n; i++) {
		OVERWRITE("inside", g, heap.table[g + i].word, 0UL);
		OVERWRITE("inside", g, heap.table[g + i].word,
			  WORD(KIND_INSIDE, i + 1));
	}
}

static void the_checker_sees_what_was_overwritten(void **state)
{
	static const size_t sizes[] = { 16, 100, 3000, 5000, 700, 9000, 40 };
	struct pvvas_heap_header *hdr = heap.hdr;
	void *p[140];
	uint32_t g, n;
	int i;

	(void)state;
	for (i = 0; i < 140; i++)
		p[i] = pvvas_heap_malloc(&heap, sizes[i % 7]);
	for (i = 0; i < 140; i += 3)
		assert_int_equal(pvvas_heap_free(&heap, p[i]), 0);
	count_blocks(&heap);
	for (g = heap.first; g < heap.end; g += n) {
		n = pvvas_heap_run_length(&heap, g, heap_word(&heap, g));
		overwrite_run(g);
		if (WORD_KIND(heap.table[g].word) != KIND_FREE || n < 2 ||
		    g + n == heap.end)
			continue;
		OVERWRITE("tail", g, heap.table[g + n - 1].word, 0UL);
		OVERWRITE("tail", g, heap.table[g + n - 1].word,
			  WORD(KIND_TAIL, n - 1));
	}
	for (i = 0; i < HEAP_BINS; i++) {
		OVERWRITE("bin", i, hdr->bins[i], hdr->bins[i] ? 0U : heap.first);
		OVERWRITE("bin", i, hdr->bins[i], heap.end);
		OVERWRITE("bit", i, hdr->bin_map[i / 64],
			  hdr->bin_map[i / 64] ^ 1UL << i % 64);
	}
	for (i = 0; i < HEAP_CLASSES; i++) {
		OVERWRITE("list", i, hdr->slabs[i], heap.end);
		OVERWRITE("list", i, hdr->slabs[i], 0U);
	}
	OVERWRITE("meta", 0, heap.table[0].word, WORD(KIND_META, heap.first + 1));
	OVERWRITE("broken", 0, hdr->broken, 1U);
	assert_int_equal(pvvas_heap_check(&heap, NULL), 0);
}

static void pointers_outside_have_no_size(void **state)
{
	char local = 0;

	(void)state;
	assert_int_equal(pvvas_heap_usable(&heap, &local), 0);
	assert_int_equal(pvvas_heap_usable(&heap, heap.base), 0);
	assert_int_equal(pvvas_heap_usable(&heap, heap.base - 512), 0);
	assert_int_equal(pvvas_heap_usable(&heap, heap.base + 4 * MIB), 0);
	errno = 0;
	assert_null(pvvas_heap_realloc(&heap, heap.base + 4 * MIB, 10));
	assert_int_equal(errno, EINVAL);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(zeroes_are_an_empty_heap),
		TEST(a_heap_is_opened_as_often_as_one_likes),
		TEST(memory_with_something_else_in_it_is_refused),
		TEST(a_heap_of_a_larger_size_is_refused),
		TEST(every_size_is_aligned_and_large_enough),
		TEST(blocks_do_not_overlap),
		TEST(calloc_gives_zeroes),
		TEST(memalign_aligns),
		TEST(memalign_refuses_what_is_no_alignment),
		TEST(realloc_keeps_the_content),
		TEST(a_large_block_grows_where_it_is),
		TEST(realloc_that_fails_leaves_the_block),
		TEST(null_is_free),
		TEST(a_second_free_is_refused),
		TEST(pointers_that_are_no_blocks_are_refused),
		TEST(the_checker_sees_what_was_overwritten),
		TEST(pointers_outside_have_no_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
