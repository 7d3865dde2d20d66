// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Making the index anew from the words, and checking that both agree.
 */
#include <errno.h>
#include <string.h>

#include "heap_layout.h"

uint32_t pvvas_heap_run_length(const struct pvvas_heap *h, uint32_t g,
			       uint64_t word)
{
	uint64_t kind = WORD_KIND(word);
	uint32_t n = 0;

	if (kind == KIND_FREE || kind == KIND_LARGE)
		n = WORD_LOW(word);
	else if (IS_SLAB(word))
		n = pvvas_heap_classes[WORD_CLASS(word)].granules;
	return n <= h->end - g ? n : 0;
}

/* What a change that was cut off left inside of the run. */
static void clear_inside(const struct pvvas_heap *h, uint32_t g, uint32_t n,
			 uint64_t word)
{
	struct pvvas_heap_header *hdr = h->hdr;
	uint32_t i, at;

	for (i = 0; i < heap_get(&hdr->nr_log) && i < HEAP_LOG; i++) {
		at = heap_get(&hdr->log[i]);
		if (at > g && at < g + n)
			heap_set_word(h, at, IS_SLAB(word) ?
				      WORD(KIND_INSIDE, at - g) :
				      WORD(KIND_NONE, 0));
	}
}

static void index_run(const struct pvvas_heap *h, uint32_t g, uint32_t n,
		      uint64_t word)
{
	heap_put(&h->table[g].next, 0);
	heap_put(&h->table[g].prev, 0);
	if (WORD_KIND(word) == KIND_FREE)
		pvvas_heap_run_index(h, g, n);
	else if (IS_SLAB(word) && WORD_LOW(word))
		pvvas_heap_slab_list(h, g, WORD_CLASS(word));
}

/* Join free runs that a change was about to join.  At most a few. */
static void join(const struct pvvas_heap *h)
{
	uint64_t left = 2ULL * (h->end - h->first), word;
	uint32_t g = h->first, n, prev = 0, before = 0;

	for (; g < h->end && left; g += n, left--) {
		word = heap_word(h, g);
		n = pvvas_heap_run_length(h, g, word);
		if (!n) {
			heap_is_broken(h);
			return;
		}
		if (WORD_KIND(word) != KIND_FREE) {
			prev = 0;
			continue;
		}
		if (prev) {
			/* @before granules, which end at @g */
			pvvas_heap_run_unindex(h, prev, before);
			pvvas_heap_run_free(h, prev, before);
			g = prev;
			n += before;
		}
		prev = g;
		before = n;
	}
}

void pvvas_heap_rebuild(const struct pvvas_heap *h)
{
	struct pvvas_heap_header *hdr = h->hdr;
	uint64_t word;
	uint32_t g, n;

	heap_put(&hdr->broken, 0);
	memset(hdr->slabs, 0, sizeof(hdr->slabs));
	memset(hdr->bins, 0, sizeof(hdr->bins));
	memset(hdr->bin_map, 0, sizeof(hdr->bin_map));
	if (WORD_KIND(heap_word(h, 0)) != KIND_META) {
		heap_set_word(h, h->first,
			      WORD(KIND_FREE, h->end - h->first));
		heap_put(&hdr->fresh, h->first);
		heap_set_word(h, 0, WORD(KIND_META, h->first));
	}
	for (g = h->first; g < h->end; g += n) {
		word = heap_word(h, g);
		n = pvvas_heap_run_length(h, g, word);
		if (!n) {
			heap_is_broken(h);
			return;
		}
		clear_inside(h, g, n, word);
		index_run(h, g, n, word);
	}
	heap_put(&hdr->nr_log, 0);
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
	uint32_t next = heap_get(&h->table[g].next);
	uint32_t prev = heap_get(&h->table[g].prev);

	if (next && (!heap_granule(h, next) ||
		     heap_get(&h->table[next].prev) != g))
		return false;
	if (prev == LIST_FIRST)
		return first == g;
	return heap_granule(h, prev) && heap_get(&h->table[prev].next) == g;
}

static bool good_free(const struct pvvas_heap *h, uint32_t g, uint32_t n,
		      bool after_free)
{
	if (after_free)
		return false;
	/* the last run has no mark, and maybe no memory for one */
	if (n > 1 && g + n < h->end &&
	    heap_word(h, g + n - 1) != WORD(KIND_TAIL, n))
		return false;
	return good_links(h, g, heap_get(&h->hdr->bins[pvvas_heap_bin(n)]));
}

static bool good_large(const struct pvvas_heap *h, uint32_t g, uint32_t n)
{
	uint64_t kind = n > 1 ? WORD_KIND(heap_word(h, g + n - 1)) : KIND_NONE;

	/* old marks of slabs may be there, but none that a free would join */
	return kind == KIND_NONE || kind == KIND_INSIDE;
}

static bool good_slab(const struct pvvas_heap *h, uint32_t g, uint32_t n,
		      uint64_t word)
{
	unsigned int cls = WORD_CLASS(word);
	uint32_t i;

	if (WORD_LOW(word) & ~pvvas_heap_classes[cls].full ||
	    (word & ~slab_word(cls, UINT32_MAX)))
		return false;
	for (i = 1; i < n; i++)
		if (heap_word(h, g + i) != WORD(KIND_INSIDE, i))
			return false;
	return !pvvas_heap_listed(h, g) ||
		good_links(h, g, heap_get(&h->hdr->slabs[cls]));
}

static bool good_run(const struct pvvas_heap *h, uint32_t g, uint32_t n,
		     uint64_t word, bool after_free)
{
	if (IS_SLAB(word))
		return good_slab(h, g, n, word);
	if (word != WORD(WORD_KIND(word), n))
		return false;
	if (WORD_KIND(word) == KIND_FREE)
		return good_free(h, g, n, after_free);
	return good_large(h, g, n);
}

static void count_run(const struct pvvas_heap *h, uint32_t g, uint32_t n,
		      uint64_t word, struct pvvas_heap_usage *u, struct tally *t)
{
	uint64_t bytes = (uint64_t)n << GRANULE_SHIFT;
	const struct heap_class *c;
	unsigned int blocks;

	if (IS_SLAB(word)) {
		c = &pvvas_heap_classes[WORD_CLASS(word)];
		blocks = (unsigned int)__builtin_popcount(c->full &
							  ~WORD_LOW(word));
		u->blocks += blocks;
		u->used += (uint64_t)blocks * c->size;
		t->listed_slabs += pvvas_heap_listed(h, g);
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
		g = heap_get(&h->hdr->bins[i]);
		if (!g != !(h->hdr->bin_map[i / 64] >> i % 64 & 1))
			return false;
		for (; g; g = heap_get(&h->table[g].next))
			if (g >= h->end || ++t->listed_runs > t->free_runs)
				return false;
	}
	for (i = 0; i < HEAP_CLASSES; i++)
		for (g = heap_get(&h->hdr->slabs[i]); g;
		     g = heap_get(&h->table[g].next))
			if (g >= h->end || ++t->found_slabs > t->listed_slabs)
				return false;
	return t->listed_runs == t->free_runs &&
		t->found_slabs == t->listed_slabs;
}

static bool good_heap(const struct pvvas_heap *h, struct pvvas_heap_usage *u)
{
	bool after_free = false;
	struct tally t = { 0 };
	uint64_t word;
	uint32_t g, n;

	if (heap_word(h, 0) != WORD(KIND_META, h->first) ||
	    heap_get(&h->hdr->broken))
		return false;
	for (g = h->first; g < h->end; g += n) {
		word = heap_word(h, g);
		n = pvvas_heap_run_length(h, g, word);
		if (!n || !good_run(h, g, n, word, after_free))
			return false;
		count_run(h, g, n, word, u, &t);
		after_free = WORD_KIND(word) == KIND_FREE;
	}
	return good_lists(h, &t);
}

int pvvas_heap_check(const struct pvvas_heap *h, struct pvvas_heap_usage *usage)
{
	struct pvvas_heap_usage u = {
		.size = (uint64_t)(h->end - h->first) << GRANULE_SHIFT,
	};
	bool good;
	int err;

	err = pvvas_heap_lock(h);
	if (err)
		return err;
	good = good_heap(h, &u);
	u.recoveries = h->hdr->recoveries;
	pvvas_heap_unlock(h);
	if (usage)
		*usage = u;
	return good ? 0 : -EUCLEAN;
}
