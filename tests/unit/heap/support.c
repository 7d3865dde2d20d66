// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <heap_layout.h>
#include <soft_life.h>

#include "support.h"

void *shared_memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

void drop_memory(void *base, size_t size)
{
	munmap(base, size);
}

/*
 * All processes of one program know this file, and open it by its name.
 */
static int life_file = -1;

static const char *life_path(char path[64])
{
	if (life_file < 0)
		life_file = memfd_create("life", MFD_CLOEXEC);
	assert_true(life_file >= 0);
	snprintf(path, 64, "/proc/self/fd/%d", life_file);
	return path;
}

static int token(uint64_t *number)
{
	char path[64];

	return soft_life_hold(AT_FDCWD, life_path(path), number);
}

static bool dead(uint64_t number)
{
	char path[64];

	return soft_life_held(AT_FDCWD, life_path(path), number) == 0;
}

struct pvvas_heap_owner *this_process(void)
{
	static struct pvvas_heap_owner self = {
		.token = token,
		.dead = dead,
		.patience = 60,
	};
	char path[64];

	life_path(path);	/* children inherit it */
	return &self;
}

void get_token(void)
{
	struct pvvas_heap h = new_heap(1UL << 16);

	drop_heap(&h);
}

struct pvvas_heap new_heap(size_t size)
{
	struct pvvas_heap h;

	assert_int_equal(pvvas_heap_open(&h, shared_memory(size), size, 1,
					 this_process()), 0);
	assert_int_equal(count_blocks(&h), 0);
	return h;
}

void drop_heap(struct pvvas_heap *h)
{
	drop_memory(h->base, (size_t)h->end * 512);
}

static bool is_listed(const struct pvvas_heap *h, uint32_t list, uint32_t g)
{
	uint32_t n = 0;

	for (; list && n < h->end; list = h->table[list].next, n++)
		if (list == g)
			return true;
	return false;
}

/* Of what is in no run's first granule, only that may be there. */
static void check_inside(const struct pvvas_heap *h, uint32_t g, uint32_t n)
{
	uint64_t word = heap_word(h, g), inside;
	uint32_t i;

	for (i = 1; i < n; i++) {
		inside = heap_word(h, g + i);
		if (IS_SLAB(word))
			assert_int_equal(inside, WORD(KIND_INSIDE, i));
		else if (WORD_KIND(word) == KIND_FREE && i == n - 1 &&
			 g + n < h->end)
			assert_int_equal(inside, WORD(KIND_TAIL, n));
		else
			assert_true(WORD_KIND(inside) == KIND_NONE ||
				    WORD_KIND(inside) == KIND_INSIDE);
	}
}

static void add_up(const struct pvvas_heap *h, uint32_t g, uint32_t n,
		   struct pvvas_heap_usage *u)
{
	uint64_t word = heap_word(h, g), bytes = (uint64_t)n * GRANULE;
	const struct heap_class *c;
	uint64_t blocks;

	if (IS_SLAB(word)) {
		c = &pvvas_heap_classes[WORD_KIND(word) - KIND_SLAB];
		blocks = c->blocks - __builtin_popcount(WORD_LOW(word));
		u->used += blocks * c->size;
		u->blocks += blocks;
	} else if (WORD_KIND(word) == KIND_FREE) {
		u->free += bytes;
		if (bytes > u->largest_free)
			u->largest_free = bytes;
		assert_true(is_listed(h, h->hdr->bins[pvvas_heap_bin(n)], g));
	} else {
		assert_int_equal(WORD_KIND(word), KIND_LARGE);
		u->used += bytes;
		u->blocks++;
	}
}

/* What the checker says, and beside it what this one counts itself. */
uint64_t count_blocks(const struct pvvas_heap *h)
{
	struct pvvas_heap_usage u, mine = { 0 };
	bool after_free = false;
	uint32_t g, n;

	assert_int_equal(pvvas_heap_check(h, &u), 0);
	/* no list goes over what is no run, and the log holds what it can */
	assert_int_equal(h->table[0].next, 0);
	assert_int_equal(h->table[0].prev, 0);
	assert_in_range(h->hdr->nr_log, 0, HEAP_LOG);
	for (g = h->first; g < h->end; g += n) {
		uint64_t kind = WORD_KIND(heap_word(h, g));

		n = kind < KIND_SLAB ? WORD_LOW(heap_word(h, g)) :
			pvvas_heap_classes[kind - KIND_SLAB].granules;
		assert_in_range(n, 1, h->end - g);
		assert_false(after_free && kind == KIND_FREE);
		after_free = kind == KIND_FREE;
		check_inside(h, g, n);
		add_up(h, g, n, &mine);
	}
	assert_int_equal(u.blocks, mine.blocks);
	assert_int_equal(u.used, mine.used);
	assert_int_equal(u.free, mine.free);
	assert_int_equal(u.largest_free, mine.largest_free);
	assert_int_equal(u.size, (uint64_t)(h->end - h->first) * GRANULE);
	return u.blocks;
}

uint64_t next_random(uint64_t *seed)
{
	uint64_t x = *seed += 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

size_t random_size(uint64_t *seed)
{
	uint64_t r = next_random(seed);

	switch (r % 16) {
	case 0:
		return r >> 32 & 0xffff;
	case 1:
	case 2:
		return r >> 32 & 0x1fff;
	case 3:
	case 4:
	case 5:
		return r >> 32 & 0x3ff;
	default:
		return r >> 32 & 0x7f;
	}
}

void fill(void *p, size_t size, uint64_t key)
{
	unsigned char *c = p;
	size_t i;

	for (i = 0; i + 8 <= size; i += 8)
		memcpy(c + i, &key, 8);
	memcpy(c + i, &key, size - i);
}

bool is_filled(const void *p, size_t size, uint64_t key)
{
	const unsigned char *c = p;
	size_t i;

	for (i = 0; i + 8 <= size; i += 8)
		if (memcmp(c + i, &key, 8))
			return false;
	return !memcmp(c + i, &key, size - i);
}
