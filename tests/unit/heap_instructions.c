// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Death at every instruction.
 *
 * A child does one thing with a heap and is stepped through it, instruction by
 * instruction.  After each, a copy of the memory is what a death right there
 * would leave: it must be a sound heap, with the other blocks untouched and at
 * most the block that was in the child's hands lost or gone.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "heap/support.h"

#define SIZE	(128UL << 10)
#define KEPT	24

static struct pvvas_heap heap;
static void *kept[KEPT];
static size_t kept_size[KEPT];

/* Blocks of many sizes, with holes between them. */
static void furnish(void)
{
	static const size_t sizes[] = { 16, 48, 200, 700, 4096, 4608, 6000 };
	void *holes[KEPT];
	int i;

	for (i = 0; i < KEPT; i++) {
		kept_size[i] = sizes[i % 7];
		kept[i] = pvvas_heap_malloc(&heap, kept_size[i]);
		holes[i] = pvvas_heap_malloc(&heap, sizes[(i + 5) % 7]);
		assert_non_null(kept[i]);
		assert_non_null(holes[i]);
		fill(kept[i], kept_size[i], (uint64_t)i);
	}
	for (i = 0; i < KEPT; i++)
		assert_int_equal(pvvas_heap_free(&heap, holes[i]), 0);
	assert_int_equal(count_blocks(&heap), KEPT);
}

static uint64_t count_copied(char *memory)
{
	struct pvvas_heap copy;

	assert_int_equal(pvvas_heap_open(&copy, memory, SIZE, 2, this_process()),
			 0);
	return count_blocks(&copy);
}

/* What a death has left must not come up later either. */
static void use(const struct pvvas_heap *h)
{
	static const size_t sizes[] = { 5000, 20, 700, 9000, 2048, 513, 300 };
	void *p[21], *q;
	int i;

	for (i = 0; i < 21; i++) {
		p[i] = pvvas_heap_malloc(h, sizes[i % 7]);
		if (p[i])
			fill(p[i], sizes[i % 7], (uint64_t)i);
	}
	for (i = 0; i < 21; i += 2) {
		q = p[i] ? pvvas_heap_realloc(h, p[i], sizes[(i + 3) % 7]) : NULL;
		p[i] = q ? q : p[i];
	}
	for (i = 1; i < 21; i += 2)
		if (p[i])
			assert_true(is_filled(p[i], sizes[i % 7], (uint64_t)i));
	for (i = 0; i < 21; i++)
		assert_int_equal(pvvas_heap_free(h, p[(i * 5) % 21]), 0);
}

/* A copy, opened as what it is: another heap, whose lock no thread can hold. */
static void check_copy(char *memory, uint64_t least, uint64_t most)
{
	struct pvvas_heap copy;
	uint64_t n;
	void *p;
	int i;

	memcpy(memory, heap.base, SIZE);
	assert_int_equal(pvvas_heap_open(&copy, memory, SIZE, 2, this_process()),
			 0);
	n = count_blocks(&copy);
	assert_in_range(n, least, most);
	for (i = 0; i < KEPT; i++) {
		p = memory + ((char *)kept[i] - heap.base);
		assert_true(is_filled(p, kept_size[i], (uint64_t)i));
		assert_int_equal(pvvas_heap_free(&copy, p), 0);
	}
	assert_int_equal(count_blocks(&copy), n - KEPT);
	use(&copy);
	assert_int_equal(count_blocks(&copy), n - KEPT);
}

/* What the child does, and what is done for it before. */
struct scene {
	void *(*prepare)(void);	/* gives the block for the child; may be NULL */
	void (*act)(void *p);
};

static void child(const struct scene *s, void *p)
{
	get_token();
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	s->act(p);
	/* the end of the steps */
	raise(SIGSTOP);
	_exit(0);
}

static void step_through(const struct scene *s)
{
	char *memory = shared_memory(SIZE);
	uint64_t before, steps = 0;
	int status, changes = 0;
	void *p = NULL;
	char *last;
	pid_t pid;

	heap = new_heap(SIZE);
	furnish();
	p = s->prepare ? s->prepare() : NULL;
	memcpy(memory, heap.base, SIZE);
	before = count_copied(memory);
	last = malloc(SIZE);
	assert_non_null(last);
	memcpy(last, heap.base, SIZE);

	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		/* its life is not what is tested, and locks nothing here */
		child(s, p);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	for (;;) {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSTOPPED(status));
		if (WSTOPSIG(status) == SIGSTOP)
			break;
		assert_int_equal(WSTOPSIG(status), SIGTRAP);
		steps++;
		if (!memcmp(last, heap.base, SIZE))
			continue;
		memcpy(last, heap.base, SIZE);
		changes++;
		check_copy(memory, before - 1, before + 1);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_true(steps > 20);
	assert_true(changes > 0);
	count_blocks(&heap);
	print_message("# %llu instructions, %d that change the heap\n",
		      (unsigned long long)steps, changes);
	free(last);
	drop_memory(memory, SIZE);
	drop_heap(&heap);
}

static void *block(size_t size)
{
	void *p = pvvas_heap_malloc(&heap, size);

	assert_non_null(p);
	return p;
}

static void *block_of_48(void)
{
	return block(48);
}

static void *block_of_5000(void)
{
	return block(5000);
}

static void *block_of_6000(void)
{
	return block(6000);
}

/* Slabs of this size have four blocks; the first of three full slabs. */
static void *block_of_a_full_slab(void)
{
	void *p = block(2048);
	int i;

	for (i = 1; i < 12; i++)
		block(2048);
	return p;
}

/* Nothing else is in its slab, and another slab has room. */
static void *last_block_of_a_slab(void)
{
	void *p[12];
	int i;

	for (i = 0; i < 12; i++)
		p[i] = block(2048);
	for (i = 1; i < 5; i++)
		assert_int_equal(pvvas_heap_free(&heap, p[i]), 0);
	return p[0];
}

/* Slabs without blocks, which only a shortage gives back. */
static void *empty_slabs(void)
{
	static const size_t sizes[] = { 320, 640, 1280, 2560 };
	int i;

	for (i = 0; i < 4; i++)
		assert_int_equal(pvvas_heap_free(&heap, block(sizes[i])), 0);
	return NULL;
}

/* Free runs on both sides. */
static void *block_between_holes(void)
{
	void *before = block(5000), *p = block(5000), *after = block(5000);

	block(5000);
	assert_int_equal(pvvas_heap_free(&heap, before), 0);
	assert_int_equal(pvvas_heap_free(&heap, after), 0);
	return p;
}

static void *block_before_a_hole(void)
{
	char *p, *after = block(6000);

	do {
		p = after;
		after = block(6000);
	} while (after != p + pvvas_heap_usable(&heap, p));
	assert_int_equal(pvvas_heap_free(&heap, after), 0);
	return p;
}

/* The lock says that another copy of this memory has it. */
static void leave_locked(void)
{
	uint64_t *lock = (uint64_t *)heap.base + 8;

	assert_true(lock[0] == 0);
	assert_true(lock[1] == heap.memory);
	lock[0] = 1;
	lock[1]++;
}

/* As after a death between freeing and joining. */
static void *unjoined(void)
{
	char *p = block_between_holes();
	uint64_t *word = (uint64_t *)(heap.base + 8192) +
		2 * ((p - heap.base) / 512);

	/* kind LARGE becomes kind FREE; nothing else */
	assert_int_equal(*word >> 56, 3);
	*word = (*word & ~0UL >> 8) | 1UL << 56;
	leave_locked();
	return NULL;
}

static void act_malloc_16(void *p)
{
	(void)p;
	pvvas_heap_malloc(&heap, 16);
}

static void act_malloc_320(void *p)
{
	(void)p;
	pvvas_heap_malloc(&heap, 320);
}

static void act_malloc_5000(void *p)
{
	(void)p;
	pvvas_heap_malloc(&heap, 5000);
}

static void act_malloc_too_much(void *p)
{
	(void)p;
	/* shorter than the heap, or it would not be looked for */
	pvvas_heap_malloc(&heap, SIZE - SIZE / 8);
}

static void act_calloc(void *p)
{
	(void)p;
	pvvas_heap_calloc(&heap, 10, 600);
}

static void act_memalign(void *p)
{
	(void)p;
	pvvas_heap_memalign(&heap, 16384, 5000);
}

static void act_free(void *p)
{
	pvvas_heap_free(&heap, p);
}

static void act_grow(void *p)
{
	pvvas_heap_realloc(&heap, p, 8000);
}

static void act_shrink(void *p)
{
	pvvas_heap_realloc(&heap, p, 4600);
}

static void act_move(void *p)
{
	pvvas_heap_realloc(&heap, p, 1000);
}

static void malloc_from_a_slab(void **state)
{
	(void)state;
	step_through(&(struct scene){ NULL, act_malloc_16 });
}

static void malloc_that_makes_a_slab(void **state)
{
	(void)state;
	step_through(&(struct scene){ NULL, act_malloc_320 });
}

static void malloc_of_a_large_block(void **state)
{
	(void)state;
	step_through(&(struct scene){ NULL, act_malloc_5000 });
}

static void malloc_that_fails(void **state)
{
	(void)state;
	step_through(&(struct scene){ empty_slabs, act_malloc_too_much });
}

static void calloc_of_a_large_block(void **state)
{
	(void)state;
	step_through(&(struct scene){ NULL, act_calloc });
}

static void memalign_to_a_large_power(void **state)
{
	(void)state;
	step_through(&(struct scene){ NULL, act_memalign });
}

static void free_into_a_slab(void **state)
{
	(void)state;
	step_through(&(struct scene){ block_of_48, act_free });
}

static void free_into_a_full_slab(void **state)
{
	(void)state;
	step_through(&(struct scene){ block_of_a_full_slab, act_free });
}

static void free_of_the_last_block_of_a_slab(void **state)
{
	(void)state;
	step_through(&(struct scene){ last_block_of_a_slab, act_free });
}

static void free_of_a_large_block(void **state)
{
	(void)state;
	step_through(&(struct scene){ block_of_5000, act_free });
}

static void free_of_a_large_block_between_holes(void **state)
{
	(void)state;
	step_through(&(struct scene){ block_between_holes, act_free });
}

static void realloc_that_grows_in_place(void **state)
{
	(void)state;
	step_through(&(struct scene){ block_before_a_hole, act_grow });
}

static void realloc_that_shrinks_in_place(void **state)
{
	(void)state;
	step_through(&(struct scene){ block_of_6000, act_shrink });
}

static void realloc_that_moves(void **state)
{
	(void)state;
	step_through(&(struct scene){ block_of_48, act_move });
}

static void recovery_itself(void **state)
{
	(void)state;
	step_through(&(struct scene){ unjoined, act_malloc_5000 });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malloc_from_a_slab),
		cmocka_unit_test(malloc_that_makes_a_slab),
		cmocka_unit_test(malloc_of_a_large_block),
		cmocka_unit_test(malloc_that_fails),
		cmocka_unit_test(calloc_of_a_large_block),
		cmocka_unit_test(memalign_to_a_large_power),
		cmocka_unit_test(free_into_a_slab),
		cmocka_unit_test(free_into_a_full_slab),
		cmocka_unit_test(free_of_the_last_block_of_a_slab),
		cmocka_unit_test(free_of_a_large_block),
		cmocka_unit_test(free_of_a_large_block_between_holes),
		cmocka_unit_test(realloc_that_grows_in_place),
		cmocka_unit_test(realloc_that_shrinks_in_place),
		cmocka_unit_test(realloc_that_moves),
		cmocka_unit_test(recovery_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
