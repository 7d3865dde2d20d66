/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small blocks: the part without the lock, inline.
 */
#ifndef PVVAS_HEAP_SMALL_H
#define PVVAS_HEAP_SMALL_H

#include <errno.h>

#include "heap_layout.h"

/* Which hints this thread looks at; 0 until it has waited for the lock once. */
extern __thread unsigned int pvvas_heap_lane
	__attribute__((tls_model("initial-exec")));

/* A free block of the slab at @g, if that is one of this class. */
static inline void *heap_take(const struct pvvas_heap *h, uint32_t g,
			      unsigned int cls)
{
	const struct heap_class *c = &pvvas_heap_classes[cls];
	uint64_t tag = slab_word(cls, 0), word;
	unsigned int tries = HEAP_TRIES;

	if (__builtin_expect((uint64_t)g + c->granules > h->end, 0))
		return NULL;
	word = heap_word(h, g);
	/* the right class, and bits of blocks: between 1 and full */
	while (__builtin_expect((word ^ tag) - 1 < c->full, 1)) {
		if (heap_cas_word(h, g, &word, word & (word - 1)))
			return heap_address(h, g) +
				(unsigned int)__builtin_ctz((uint32_t)word) *
				c->size;
		if (!--tries)
			break;
	}
	return NULL;
}

static inline void *heap_small_alloc(const struct pvvas_heap *h, size_t size)
{
	unsigned int cls = pvvas_heap_class_of[(size + 15) / 16];
	uint32_t g = atomic_load_explicit(&h->hdr->hint[pvvas_heap_lane][cls],
					  memory_order_relaxed);
	void *p = heap_take(h, g, cls);

	/* NULL and errno */
	return __builtin_expect(!!p, 1) ? p : pvvas_heap_small_alloc(h, cls);
}

/* The number of the block @offset bytes into a slab; -1: none begins there. */
static inline int heap_block(const struct heap_class *c, size_t offset)
{
	uint32_t i = (uint32_t)(offset * c->reciprocal >> 32);

	return i < c->blocks && i * c->size == offset ? (int)i : -1;
}

/* @g, @word: of the slab */
static inline int heap_small_free(const struct pvvas_heap *h, uint32_t g,
				  uint64_t word, size_t offset)
{
	unsigned int cls = WORD_CLASS(word), tries = HEAP_TRIES;
	const struct heap_class *c = &pvvas_heap_classes[cls];
	uint64_t tag = slab_word(cls, 0), bit;
	int i = heap_block(c, offset);

	if (__builtin_expect(i < 0, 0))
		return -EINVAL;
	bit = 1ULL << i;
	do {
		/* or the slab has gone meanwhile, and the block with it */
		if (__builtin_expect((word ^ tag) & (~0ULL << 32 | bit), 0))
			return -EALREADY;
		if (__builtin_expect(heap_cas_word(h, g, &word, word | bit), 1))
			break;
	} while (--tries);
	if (__builtin_expect(!tries, 0))
		return -EUCLEAN;

	if (__builtin_expect(word == tag, 0))
		pvvas_heap_slab_has_room(h, g, cls);
	else if (__builtin_expect((word | bit) == (tag | c->full), 0))
		pvvas_heap_slab_is_empty(h, g, cls);
	return 0;
}

#endif /* PVVAS_HEAP_SMALL_H */
