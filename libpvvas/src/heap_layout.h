/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a heap looks like in memory.
 *
 * The range is cut into granules of 512 bytes.  A run is some granules in a
 * row: free, one large block, or a slab of up to 32 blocks of one size.  Runs
 * cover the range without gaps, in the order of their addresses.
 *
 * Each granule has a descriptor in one table.  The word in the descriptor of a
 * run's first granule is the truth about the run, and each change of what is
 * handed out is one atomic store to one such word:
 *
 *   large block  allocate: FREE -> LARGE       free: LARGE -> FREE
 *   slab         make: FREE -> SLAB, all free  give back: SLAB, all free -> FREE
 *   small block  allocate: clear a bit         free: set a bit
 *
 * Splitting stores the new run's word first, inside of the old run, where
 * no thread looks, and then shortens the old one; joining is the reverse.
 *
 * Blocks of slabs are taken and given by compare and exchange alone.  A word
 * names the size of its blocks, so that whatever happens between load and
 * exchange, success means a block of the right size.  All else is under one
 * lock, and is an index of the words that can be made anew from them: lists of
 * free runs by length, lists of slabs with free blocks by size, marks at the
 * end of free runs.  A caller that finds the lock with a dead owner makes it anew.
 *
 * Nothing of this is trusted: other processes can write to it, lock or not.
 * Each number is read once, into a local variable, by an atomic load, and is
 * checked before it is used as an index, a length or a size; each loop over
 * what is in memory has a bound that does not come from there.
 */
#ifndef PVVAS_HEAP_LAYOUT_H
#define PVVAS_HEAP_LAYOUT_H

#include <errno.h>
#include <stdatomic.h>

#include "heap.h"

#define HEAP_MAGIC		0x31307061654850ULL	/* "PHeap01" */
#define HEAP_MAKING		0x30307061654850ULL	/* "PHeap00" */
#define HEAP_HEADER_SIZE	8192
#define HEAP_PAGE		4096

#define GRANULE_SHIFT		9
#define GRANULE			(1U << GRANULE_SHIFT)

/* Kinds: the top byte of a word.  The low half says what it says here. */
#define KIND_SHIFT		56
#define KIND_NONE		0ULL	/* inside of a run */
#define KIND_FREE		1ULL	/* granules of the run */
#define KIND_TAIL		2ULL	/* last of a free run: granules of the run */
#define KIND_LARGE		3ULL	/* granules of the run */
#define KIND_INSIDE		4ULL	/* inside of a slab: distance to its first */
#define KIND_META		5ULL	/* header and table: granules */
#define KIND_SLAB		0x40ULL	/* plus class: a bit for each free block */

#define WORD(kind, low)		((kind) << KIND_SHIFT | (uint32_t)(low))
#define WORD_KIND(word)		((word) >> KIND_SHIFT)
#define WORD_LOW(word)		((uint32_t)(word))
#define WORD_CLASS(word)	((unsigned int)(WORD_KIND(word) - KIND_SLAB))
#define IS_SLAB(word)		(WORD_KIND(word) - KIND_SLAB < HEAP_CLASSES)

/*
 * @next, @prev: free runs: in the list of their length; slabs: in the list of
 * their class, or 0 and 0; the first of a list has LIST_FIRST in @prev.
 */
struct pvvas_heap_desc {
	_Atomic uint64_t word;
	uint32_t next;
	uint32_t prev;
};

#define LIST_FIRST		UINT32_MAX

/* Size classes: see heap_class.c */
#define HEAP_CLASSES		48
#define HEAP_SMALL_MAX		4096

struct heap_class {
	uint32_t size;		/* of a block */
	uint32_t reciprocal;	/* 2^32 / size, rounded up */
	uint32_t full;		/* a bit for each block */
	uint16_t granules;	/* of a slab */
	uint16_t blocks;	/* of a slab */
};

extern const struct heap_class pvvas_heap_classes[HEAP_CLASSES];
/* by size in units of 16, rounded up */
extern const uint8_t pvvas_heap_class_of[HEAP_SMALL_MAX / 16 + 1];

/* Lists of free runs: by length up to 32, then 16 for each power of two */
#define BIN_LINEAR		32
#define BIN_STEPS		16
#define HEAP_BINS		(BIN_LINEAR + (32 - 5) * BIN_STEPS)
#define HEAP_BIN_WORDS		((HEAP_BINS + 63) / 64)

/* So many threads can take small blocks without meeting in one slab. */
#define HEAP_LANES		8
/* Descriptors that one change can leave behind inside of a run */
#define HEAP_LOG		8
/* So often an exchange may fail: more than threads can bring about. */
#define HEAP_TRIES		(1U << 20)

#define HEAP_GAPS		(1ULL << 63)

/* Token of the owner, or 0; and the memory that the lock is in. */
struct heap_lock {
	uint64_t owner;
	uint64_t memory;
} __attribute__((aligned(16)));

struct pvvas_heap_header {
	_Atomic uint64_t magic;
	uint64_t size;
	uint64_t root;		/* the program's own */
	/*
	 * Hints: fresh slabs below this granule have memory; and, beside it,
	 * HEAP_GAPS: what was never touched may be free (large blocks, and what
	 * alignment leaves before them).
	 */
	uint64_t ready;

	/* on a cache line of its own */
	struct heap_lock lock __attribute__((aligned(64)));

	/* The slab to try first, by lane and class; may be out of date */
	_Atomic uint32_t hint[HEAP_LANES][HEAP_CLASSES]
		__attribute__((aligned(64)));

	/* Under the lock from here on */
	uint32_t fresh __attribute__((aligned(64)));	/* granules from here on: never used */
	uint32_t nr_log;
	uint32_t log[HEAP_LOG];
	uint64_t recoveries;
	uint32_t broken;
	uint32_t slabs[HEAP_CLASSES];
	uint32_t bins[HEAP_BINS];
	uint64_t bin_map[HEAP_BIN_WORDS];
};

_Static_assert(sizeof(struct pvvas_heap_desc) == 16, "layout");
_Static_assert(sizeof(struct pvvas_heap_header) <= HEAP_HEADER_SIZE, "layout");
_Static_assert(HEAP_BIN_WORDS * 64 >= HEAP_BINS, "layout");

static inline uint64_t heap_word(const struct pvvas_heap *h, uint32_t g)
{
	return atomic_load_explicit(&h->table[g].word, memory_order_relaxed);
}

static inline void heap_set_word(const struct pvvas_heap *h, uint32_t g,
				 uint64_t word)
{
	atomic_store_explicit(&h->table[g].word, word, memory_order_release);
}

static inline bool heap_cas_word(const struct pvvas_heap *h, uint32_t g,
				 uint64_t *old, uint64_t word)
{
	return atomic_compare_exchange_weak(&h->table[g].word, old, word);
}

/* A word of the index, which others may be writing. */
static inline uint32_t heap_get(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void heap_put(uint32_t *p, uint32_t value)
{
	__atomic_store_n(p, value, __ATOMIC_RELAXED);
}

/* The data of the heap contradict themselves. */
static inline void heap_is_broken(const struct pvvas_heap *h)
{
	heap_put(&h->hdr->broken, 1);
}

/* Why there is no memory. */
static inline int heap_errno(const struct pvvas_heap *h)
{
	return heap_get(&h->hdr->broken) ? EUCLEAN : ENOMEM;
}

/* Can a run begin at @g? */
static inline bool heap_granule(const struct pvvas_heap *h, uint32_t g)
{
	return g - h->first < h->end - h->first;
}

/* The granule that *p names; 0 if there is none. */
static inline uint32_t heap_link(const struct pvvas_heap *h, const uint32_t *p)
{
	uint32_t g = heap_get(p);

	if (!g || __builtin_expect(heap_granule(h, g), 1))
		return g;
	heap_is_broken(h);
	return 0;
}

static inline char *heap_address(const struct pvvas_heap *h, uint32_t g)
{
	return h->base + ((size_t)g << GRANULE_SHIFT);
}

/*
 * Before memory is touched for the first time: false, and the call fails, where a
 * limit refuses it; else it would be the end of the program, in the middle of a
 * change.  What the caller will touch itself is not looked at, but for slabs.
 */
static inline bool heap_has(const struct pvvas_heap *h, const void *from,
			    size_t bytes)
{
	return !h->owner->have || !h->owner->have(h, from, bytes);
}

/* What is free may not be fresh, and without memory yet; the lock is held. */
static inline void heap_has_gaps(const struct pvvas_heap *h)
{
	__atomic_fetch_or(&h->hdr->ready, HEAP_GAPS, __ATOMIC_RELAXED);
}

/* Of the descriptors around the end of a run, whose first one has memory. */
static inline bool heap_has_end(const struct pvvas_heap *h, uint32_t g,
				uint32_t n)
{
	const struct pvvas_heap_desc *last = &h->table[g + n - 1];
	size_t nr = g + n < h->end ? 2 : 1;

	if (((uintptr_t)&h->table[g] ^ (uintptr_t)(last + nr - 1)) < HEAP_PAGE)
		return true;
	return heap_has(h, last, nr * sizeof(*last));
}

static inline uint64_t slab_word(unsigned int cls, uint32_t bits)
{
	return WORD(KIND_SLAB + cls, bits);
}

/* heap_lock.c; with the lock comes an index that is right.  0 or -errno */
int pvvas_heap_lock(const struct pvvas_heap *h)
	__attribute__((warn_unused_result));
void pvvas_heap_unlock(const struct pvvas_heap *h);

/*
 * heap_list.c; under the lock: lists of runs.  @head is a word of the header.
 * Of one that is in no list, @prev is 0.
 */
void pvvas_heap_list_add(const struct pvvas_heap *h, uint32_t *head, uint32_t g);
void pvvas_heap_list_del(const struct pvvas_heap *h, uint32_t *head, uint32_t g);
bool pvvas_heap_listed(const struct pvvas_heap *h, uint32_t g);

/*
 * heap_runs.c; under the lock
 *
 * alloc: a run of @n granules whose address is a multiple of @align, with
 * @word in its descriptor; 0 if there is none.  *@fresh: it was never used.
 */
uint32_t pvvas_heap_run_alloc(const struct pvvas_heap *h, uint32_t n,
			      size_t align, uint64_t word, bool *fresh);
/* The word of run @g, of @n granules, says FREE already; it ends in the heap. */
void pvvas_heap_run_free(const struct pvvas_heap *h, uint32_t g, uint32_t n);
/*
 * Make a large block of @len granules, which ends in the heap, longer or shorter
 * where it is; false: cannot.
 */
bool pvvas_heap_run_resize(const struct pvvas_heap *h, uint32_t g, uint32_t len,
			   uint32_t n);
/* Put a free run into the index, and take it out. */
void pvvas_heap_run_index(const struct pvvas_heap *h, uint32_t g, uint32_t n);
void pvvas_heap_run_unindex(const struct pvvas_heap *h, uint32_t g, uint32_t n);
unsigned int pvvas_heap_bin(uint32_t n);

/* heap_slab.c; the rest of what heap_small.h begins */
void *pvvas_heap_small_alloc(const struct pvvas_heap *h, unsigned int cls);
/* The slab has a free block again: it must be a hint, or in the list. */
void pvvas_heap_slab_has_room(const struct pvvas_heap *h, uint32_t g,
			      unsigned int cls);
/* The slab has no block any more: give it back, unless it may be of use. */
void pvvas_heap_slab_is_empty(const struct pvvas_heap *h, uint32_t g,
			      unsigned int cls);
/* under the lock */
void pvvas_heap_slab_list(const struct pvvas_heap *h, uint32_t g,
			  unsigned int cls);
/* Find what the dead have left, give back slabs without blocks. */
void pvvas_heap_sweep(const struct pvvas_heap *h);

/* heap_check.c: granules of the run at @g with this word; 0: overwritten */
uint32_t pvvas_heap_run_length(const struct pvvas_heap *h, uint32_t g,
			       uint64_t word);
/* Make the index from the words; under the lock. */
void pvvas_heap_rebuild(const struct pvvas_heap *h);

#endif /* PVVAS_HEAP_LAYOUT_H */
