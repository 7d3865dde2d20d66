// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Runs of granules: split, join, and an index of the free ones by length.
 *
 * Everything here is under the lock.  The order of the stores to descriptors
 * matters: each function says where its one store is that counts.
 */
#include "heap_layout.h"

/*
 * Lists by length.
 */

unsigned int pvvas_heap_bin(uint32_t n)
{
	unsigned int log;

	if (n < BIN_LINEAR)
		return n;
	log = 31 - (unsigned int)__builtin_clz(n);
	return BIN_LINEAR + (log - 5) * BIN_STEPS +
		(n >> (log - 4)) - BIN_STEPS;
}

static void bin_insert(const struct pvvas_heap *h, uint32_t g, uint32_t n)
{
	struct pvvas_heap_header *hdr = h->hdr;
	unsigned int bin = pvvas_heap_bin(n);

	pvvas_heap_list_add(h, &hdr->bins[bin], g);
	hdr->bin_map[bin / 64] |= 1ULL << bin % 64;
}

static void bin_remove(const struct pvvas_heap *h, uint32_t g, uint32_t n)
{
	struct pvvas_heap_header *hdr = h->hdr;
	unsigned int bin = pvvas_heap_bin(n);

	pvvas_heap_list_del(h, &hdr->bins[bin], g);
	if (!heap_get(&hdr->bins[bin]))
		hdr->bin_map[bin / 64] &= ~(1ULL << bin % 64);
}

/* The length of the free run at @g; 0: none begins there. */
static uint32_t free_length(const struct pvvas_heap *h, uint32_t g)
{
	uint64_t word = heap_word(h, g);

	return WORD_KIND(word) == KIND_FREE ?
		pvvas_heap_run_length(h, g, word) : 0;
}

/* The first list with runs, from @bin on; HEAP_BINS if there is none. */
static unsigned int bin_from(const struct pvvas_heap *h, unsigned int bin)
{
	unsigned int i = bin / 64;
	uint64_t map;

	if (bin >= HEAP_BINS)
		return HEAP_BINS;
	map = __atomic_load_n(&h->hdr->bin_map[i], __ATOMIC_RELAXED) &
		~0ULL << bin % 64;
	while (!map) {
		if (++i == HEAP_BIN_WORDS)
			return HEAP_BINS;
		map = __atomic_load_n(&h->hdr->bin_map[i], __ATOMIC_RELAXED);
	}
	return i * 64 + (unsigned int)__builtin_ctzll(map);
}

void pvvas_heap_run_index(const struct pvvas_heap *h, uint32_t g, uint32_t n)
{
	/* the end of the last run is never looked for */
	if (n > 1 && g + n < h->end)
		heap_set_word(h, g + n - 1, WORD(KIND_TAIL, n));
	bin_insert(h, g, n);
}

/*
 * What a death in the middle could leave inside of a run is written down
 * before; making the index anew clears it.
 */
static void log_start(const struct pvvas_heap *h)
{
	heap_put(&h->hdr->nr_log, 0);
}

static void log_add(const struct pvvas_heap *h, uint32_t g)
{
	struct pvvas_heap_header *hdr = h->hdr;
	uint32_t n = heap_get(&hdr->nr_log);

	if (n >= HEAP_LOG) {
		heap_is_broken(h);
		return;
	}
	heap_put(&hdr->log[n], g);
	atomic_signal_fence(memory_order_seq_cst);
	heap_put(&hdr->nr_log, n + 1);
	atomic_signal_fence(memory_order_seq_cst);
}

static void clear(const struct pvvas_heap *h, uint32_t g)
{
	heap_set_word(h, g, WORD(KIND_NONE, 0));
}

/* Take away the mark at the end of a free run that is one no more. */
static void clear_tail(const struct pvvas_heap *h, uint32_t g, uint32_t n)
{
	if (n > 1 && g + n < h->end)
		clear(h, g + n - 1);
}

void pvvas_heap_run_unindex(const struct pvvas_heap *h, uint32_t g, uint32_t n)
{
	bin_remove(h, g, n);
	clear_tail(h, g, n);
}

/*
 * Allocation.
 */

/* Granules from @g on up to the next one with an aligned address. */
static uint64_t padding(const struct pvvas_heap *h, uint32_t g, size_t align)
{
	uintptr_t p = (uintptr_t)heap_address(h, g);

	return align > GRANULE ? (-p & (align - 1)) >> GRANULE_SHIFT : 0;
}

static bool fits(const struct pvvas_heap *h, uint32_t g, uint32_t n,
		 size_t align)
{
	return free_length(h, g) >= n + padding(h, g, align);
}

/* A free run that @n aligned granules fit into, soon; or 0. */
static uint32_t find(const struct pvvas_heap *h, uint32_t n, size_t align)
{
	uint64_t more = n + (align > GRANULE ? (align >> GRANULE_SHIFT) - 1 : 0);
	unsigned int bin = pvvas_heap_bin(n), sure;
	uint32_t g;
	int tries;

	if (more > h->end)
		return 0;
	/* all runs of this list are long enough, and of those after it */
	sure = bin;
	if (more >= BIN_LINEAR || more != n)
		sure = pvvas_heap_bin((uint32_t)more) + (more >= BIN_LINEAR);
	/* a few of the shorter ones, that may be */
	for (; bin < sure && (bin = bin_from(h, bin)) < sure; bin++)
		for (g = heap_link(h, &h->hdr->bins[bin]), tries = 8; g && tries;
		     g = heap_link(h, &h->table[g].next), tries--)
			if (fits(h, g, n, align))
				return g;
	bin = bin_from(h, sure);
	return bin < HEAP_BINS ? heap_link(h, &h->hdr->bins[bin]) : 0;
}

/*
 * As find(), but looks at every run that could be long enough.  A run that does
 * not name the one before it ends the search: so a circle is walked once, and
 * the steps are no more than the runs that memory has been spent on.
 */
static uint32_t find_all(const struct pvvas_heap *h, uint32_t n, size_t align)
{
	uint32_t g, prev, left = h->end - h->first;
	unsigned int bin;

	for (bin = pvvas_heap_bin(n); (bin = bin_from(h, bin)) < HEAP_BINS; bin++) {
		prev = LIST_FIRST;
		for (g = heap_link(h, &h->hdr->bins[bin]); g;
		     g = heap_link(h, &h->table[g].next)) {
			if (heap_get(&h->table[g].prev) != prev || !left--) {
				heap_is_broken(h);
				return 0;
			}
			if (fits(h, g, n, align))
				return g;
			prev = g;
		}
	}
	return 0;
}

static void write_inside(const struct pvvas_heap *h, uint32_t g, uint32_t n)
{
	uint32_t i;

	for (i = 1; i < n; i++)
		atomic_store_explicit(&h->table[g + i].word,
				      WORD(KIND_INSIDE, i),
				      memory_order_relaxed);
}

uint32_t pvvas_heap_run_alloc(const struct pvvas_heap *h, uint32_t n,
			      size_t align, uint64_t word, bool *fresh)
{
	uint32_t g, start, len, rest;

	g = find(h, n, align);
	if (!g)
		g = find_all(h, n, align);
	if (!g)
		return 0;
	len = free_length(h, g);
	if (len < n + padding(h, g, align)) {
		heap_is_broken(h);
		return 0;
	}
	start = g + (uint32_t)padding(h, g, align);
	rest = len - (start - g) - n;
	if (!heap_has_end(h, start, n) ||
	    (start > g && !heap_has_end(h, g, start - g)))
		return 0;
	log_start(h);
	log_add(h, start);
	log_add(h, start + n);
	log_add(h, start - 1);
	log_add(h, g + len - 1);

	pvvas_heap_run_unindex(h, g, len);
	if (rest) {
		heap_set_word(h, start + n, WORD(KIND_FREE, rest));
		pvvas_heap_run_index(h, start + n, rest);
	}
	if (IS_SLAB(word))
		write_inside(h, start, n);
	*fresh = start >= heap_get(&h->hdr->fresh);
	if (start + n > heap_get(&h->hdr->fresh))
		heap_put(&h->hdr->fresh, start + n);
	/* either of these is the one store that counts */
	heap_set_word(h, start, word);
	if (start > g) {
		heap_has_gaps(h);
		heap_set_word(h, g, WORD(KIND_FREE, start - g));
		pvvas_heap_run_index(h, g, start - g);
	}
	return start;
}

/*
 * Freeing.
 */

/* The length of the free run that ends before @g, or 0. */
static uint32_t free_before(const struct pvvas_heap *h, uint32_t g)
{
	uint64_t word;
	uint32_t n;

	if (g <= h->first)
		return 0;
	word = heap_word(h, g - 1);
	if (WORD_KIND(word) != KIND_TAIL)
		return word == WORD(KIND_FREE, 1);
	n = WORD_LOW(word);
	if (n <= g - h->first && heap_word(h, g - n) == WORD(KIND_FREE, n))
		return n;
	heap_is_broken(h);
	return 0;
}

static uint32_t free_after(const struct pvvas_heap *h, uint32_t g)
{
	return g < h->end ? free_length(h, g) : 0;
}

void pvvas_heap_run_free(const struct pvvas_heap *h, uint32_t g, uint32_t n)
{
	uint32_t after = free_after(h, g + n);
	uint32_t before = free_before(h, g);

	log_start(h);
	log_add(h, g);
	log_add(h, g + n);
	log_add(h, g - 1);
	/* each store of a word joins two runs that are both free */
	if (after) {
		bin_remove(h, g + n, after);
		heap_set_word(h, g, WORD(KIND_FREE, n + after));
		clear(h, g + n);
		n += after;
	}
	if (before) {
		bin_remove(h, g - before, before);
		heap_set_word(h, g - before, WORD(KIND_FREE, before + n));
		clear_tail(h, g - before, before);
		clear(h, g);
		g -= before;
		n += before;
	}
	pvvas_heap_run_index(h, g, n);
}

/* Cut what is beyond @n off a block of @len granules. */
static void shorten(const struct pvvas_heap *h, uint32_t g, uint32_t n,
		    uint32_t len)
{
	heap_has_gaps(h);
	log_start(h);
	log_add(h, g + n);
	heap_set_word(h, g + n, WORD(KIND_FREE, len - n));
	/* the store that counts */
	heap_set_word(h, g, WORD(KIND_LARGE, n));
	pvvas_heap_run_free(h, g + n, len - n);
}

bool pvvas_heap_run_resize(const struct pvvas_heap *h, uint32_t g, uint32_t len,
			   uint32_t n)
{
	uint32_t after, rest;

	if (n == len)
		return true;
	if (n < len) {
		if (heap_has_end(h, g, n))
			shorten(h, g, n, len);
		return true;
	}
	after = free_after(h, g + len);
	if (after < n - len || !heap_has_end(h, g, n))
		return false;
	rest = after - (n - len);
	log_start(h);
	log_add(h, g + len);
	log_add(h, g + n);
	log_add(h, g + len + after - 1);
	bin_remove(h, g + len, after);
	clear_tail(h, g + len, after);
	if (rest) {
		heap_set_word(h, g + n, WORD(KIND_FREE, rest));
		pvvas_heap_run_index(h, g + n, rest);
	}
	if (g + n > heap_get(&h->hdr->fresh))
		heap_put(&h->hdr->fresh, g + n);
	/* the store that counts */
	heap_set_word(h, g, WORD(KIND_LARGE, n));
	clear(h, g + len);
	return true;
}
