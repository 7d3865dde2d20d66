// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Making the index anew from the words, and checking that both agree.
 */
#include <errno.h>
#include <string.h>

#include "heap_layout.h"

uint32_t pvvas_heap_run_length(const struct pvvas_heap *h, uint32_t g)
{
	uint64_t word = heap_word(h, g), kind = WORD_KIND(word), n = 0;

	if (kind == KIND_FREE || kind == KIND_LARGE)
		n = WORD_LOW(word);
	else if (kind >= KIND_SLAB && kind < KIND_SLAB + HEAP_CLASSES)
		n = pvvas_heap_classes[kind - KIND_SLAB].granules;
	return n <= h->end - g ? (uint32_t)n : 0;
}

/* What a change that was cut off left inside of the run. */
static void clear_inside(const struct pvvas_heap *h, uint32_t g, uint32_t n)
{
	struct pvvas_heap_header *hdr = h->hdr;
	uint32_t i, at;

	for (i = 0; i < hdr->nr_log && i < HEAP_LOG; i++) {
		at = hdr->log[i];
		if (at > g && at < g + n)
			heap_set_word(h, at, IS_SLAB(heap_word(h, g)) ?
				      WORD(KIND_INSIDE, at - g) :
				      WORD(KIND_NONE, 0));
	}
}

static void index_run(const struct pvvas_heap *h, uint32_t g, uint32_t n)
{
	uint64_t word = heap_word(h, g);

	h->table[g].next = 0;
	h->table[g].prev = 0;
	if (WORD_KIND(word) == KIND_FREE)
		pvvas_heap_run_index(h, g, n);
	else if (IS_SLAB(word) && WORD_LOW(word))
		pvvas_heap_slab_list(h, g, (unsigned int)(WORD_KIND(word) -
							  KIND_SLAB));
}

/* Join free runs that a change was about to join.  At most a few. */
static void join(const struct pvvas_heap *h)
{
	uint32_t g = h->first, n, prev = 0;

	for (; g < h->end; g += n) {
		n = pvvas_heap_run_length(h, g);
		if (!n)
			return;
		if (WORD_KIND(heap_word(h, g)) != KIND_FREE) {
			prev = 0;
			continue;
		}
		if (prev) {
			uint32_t len = WORD_LOW(heap_word(h, prev));

			pvvas_heap_run_unindex(h, prev, len);
			pvvas_heap_run_free(h, prev, len);
			g = prev;
			n = pvvas_heap_run_length(h, g);
		}
		prev = g;
	}
}

void pvvas_heap_rebuild(const struct pvvas_heap *h)
{
	struct pvvas_heap_header *hdr = h->hdr;
	uint32_t g, n;

	memset(hdr->slabs, 0, sizeof(hdr->slabs));
	memset(hdr->bins, 0, sizeof(hdr->bins));
	memset(hdr->bin_map, 0, sizeof(hdr->bin_map));
	if (WORD_KIND(heap_word(h, 0)) != KIND_META) {
		heap_set_word(h, h->first,
			      WORD(KIND_FREE, h->end - h->first));
		hdr->fresh = h->first;
		heap_set_word(h, 0, WORD(KIND_META, h->first));
	}
	for (g = h->first; g < h->end; g += n) {
		n = pvvas_heap_run_length(h, g);
		if (!n) {
			hdr->broken = 1;
			return;
		}
		clear_inside(h, g, n);
		index_run(h, g, n);
	}
	hdr->nr_log = 0;
	join(h);
}

/*
 * The checker.
 */

struct tally {
	uint64_t free_runs;
	uint64_t listed_runs;
	uint64_t listed_slabs;
	uint64_t found_slabs;
};

static bool good_links(const struct pvvas_heap *h, uint32_t g, uint32_t first)
{
	uint32_t next = h->table[g].next, prev = h->table[g].prev;

	if (next && (next < h->first || next >= h->end ||
		     h->table[next].prev != g))
		return false;
	if (prev == LIST_FIRST)
		return first == g;
	return prev >= h->first && prev < h->end && h->table[prev].next == g;
}

static bool good_free(const struct pvvas_heap *h, uint32_t g, uint32_t n,
		      bool after_free)
{
	uint64_t tail = heap_word(h, g + n - 1);

	if (after_free)
		return false;
	if (n > 1 && g + n < h->end && tail != WORD(KIND_TAIL, n))
		return false;
	return good_links(h, g, h->hdr->bins[pvvas_heap_bin(n)]);
}

static bool good_large(const struct pvvas_heap *h, uint32_t g, uint32_t n)
{
	uint64_t kind = n > 1 ? WORD_KIND(heap_word(h, g + n - 1)) : KIND_NONE;

	/* old marks of slabs may be there, but none that a free would join */
	return kind == KIND_NONE || kind == KIND_INSIDE;
}

static bool good_slab(const struct pvvas_heap *h, uint32_t g, uint32_t n)
{
	uint64_t word = heap_word(h, g);
	unsigned int cls = (unsigned int)(WORD_KIND(word) - KIND_SLAB);
	uint32_t i;

	if (WORD_LOW(word) & ~pvvas_heap_classes[cls].full ||
	    (word & ~slab_word(cls, UINT32_MAX)))
		return false;
	for (i = 1; i < n; i++)
		if (heap_word(h, g + i) != WORD(KIND_INSIDE, i))
			return false;
	return !pvvas_heap_slab_listed(h, g) ||
		good_links(h, g, h->hdr->slabs[cls]);
}

static bool good_run(const struct pvvas_heap *h, uint32_t g, uint32_t n,
		     bool after_free)
{
	uint64_t word = heap_word(h, g);

	if (IS_SLAB(word))
		return good_slab(h, g, n);
	if (word != WORD(WORD_KIND(word), n))
		return false;
	if (WORD_KIND(word) == KIND_FREE)
		return good_free(h, g, n, after_free);
	return good_large(h, g, n);
}

static void count_run(const struct pvvas_heap *h, uint32_t g, uint32_t n,
		      struct pvvas_heap_usage *u, struct tally *t)
{
	uint64_t word = heap_word(h, g), bytes = (uint64_t)n << GRANULE_SHIFT;
	const struct heap_class *c;
	unsigned int blocks;

	if (IS_SLAB(word)) {
		c = &pvvas_heap_classes[WORD_KIND(word) - KIND_SLAB];
		blocks = (unsigned int)__builtin_popcount(c->full &
							  ~WORD_LOW(word));
		u->blocks += blocks;
		u->used += (uint64_t)blocks * c->size;
		t->listed_slabs += pvvas_heap_slab_listed(h, g);
	} else if (WORD_KIND(word) == KIND_FREE) {
		u->free += bytes;
		if (bytes > u->largest_free)
			u->largest_free = bytes;
		t->free_runs++;
	} else {
		u->blocks++;
		u->used += bytes;
	}
}

/* Do the lists hold what the words said, and not more? */
static bool good_lists(const struct pvvas_heap *h, struct tally *t)
{
	uint32_t g;
	int i;

	for (i = 0; i < HEAP_BINS; i++) {
		if (!h->hdr->bins[i] !=
		    !(h->hdr->bin_map[i / 64] >> i % 64 & 1))
			return false;
		for (g = h->hdr->bins[i]; g; g = h->table[g].next)
			if (g >= h->end || ++t->listed_runs > t->free_runs)
				return false;
	}
	for (i = 0; i < HEAP_CLASSES; i++)
		for (g = h->hdr->slabs[i]; g; g = h->table[g].next)
			if (g >= h->end || ++t->found_slabs > t->listed_slabs)
				return false;
	return t->listed_runs == t->free_runs &&
		t->found_slabs == t->listed_slabs;
}

static bool good_heap(const struct pvvas_heap *h, struct pvvas_heap_usage *u)
{
	bool after_free = false;
	struct tally t = { 0 };
	uint32_t g, n;

	if (heap_word(h, 0) != WORD(KIND_META, h->first) || h->hdr->broken)
		return false;
	for (g = h->first; g < h->end; g += n) {
		n = pvvas_heap_run_length(h, g);
		if (!n || !good_run(h, g, n, after_free))
			return false;
		count_run(h, g, n, u, &t);
		after_free = WORD_KIND(heap_word(h, g)) == KIND_FREE;
	}
	return good_lists(h, &t);
}

int pvvas_heap_check(const struct pvvas_heap *h, struct pvvas_heap_usage *usage)
{
	struct pvvas_heap_usage u = {
		.size = (uint64_t)(h->end - h->first) << GRANULE_SHIFT,
	};
	bool good;

	pvvas_heap_lock(h);
	good = good_heap(h, &u);
	u.recoveries = h->hdr->recoveries;
	pvvas_heap_unlock(h);
	if (usage)
		*usage = u;
	return good ? 0 : -EUCLEAN;
}
