// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Small blocks.
 *
 * A hint, shared by the threads of one lane, says which slab of a class to try
 * first.  A slab with free blocks that is no hint is in the list of its class.
 * The thread that frees the first block of a full slab puts it there; if that
 * dies before, the next sweep finds the slab.
 */
#include <errno.h>
#include <unistd.h>

#include "heap_small.h"

__thread unsigned int pvvas_heap_lane;
static _Atomic unsigned int next_lane;
static __thread bool have_lane __attribute__((tls_model("initial-exec")));

static void choose_lane(void)
{
	/* other processes begin elsewhere */
	pvvas_heap_lane = ((unsigned int)getpid() +
			   atomic_fetch_add(&next_lane, 1)) % HEAP_LANES;
	have_lane = true;
}

/*
 * Lists; under the lock.
 */

void pvvas_heap_slab_list(const struct pvvas_heap *h, uint32_t g,
			  unsigned int cls)
{
	if (!pvvas_heap_listed(h, g))
		pvvas_heap_list_add(h, &h->hdr->slabs[cls], g);
}

static void unlist(const struct pvvas_heap *h, uint32_t g, unsigned int cls)
{
	if (pvvas_heap_listed(h, g))
		pvvas_heap_list_del(h, &h->hdr->slabs[cls], g);
}

static bool is_hint(const struct pvvas_heap *h, uint32_t g, unsigned int cls)
{
	unsigned int i;

	for (i = 0; i < HEAP_LANES; i++)
		if (atomic_load(&h->hdr->hint[i][cls]) == g)
			return true;
	return false;
}

static void set_hint(const struct pvvas_heap *h, uint32_t g, unsigned int cls)
{
	uint32_t old = atomic_exchange(&h->hdr->hint[pvvas_heap_lane][cls], g);
	uint64_t word;

	if (old >= h->end) {
		heap_is_broken(h);
		return;
	}
	word = atomic_load(&h->table[old].word);
	/* A thread that freed a block there just now may have seen the old hint. */
	if (old != g && WORD_KIND(word) == KIND_SLAB + cls && WORD_LOW(word))
		pvvas_heap_slab_list(h, old, cls);
}

/* Give a slab back if it is all free.  Others may take blocks until then. */
static bool give_back(const struct pvvas_heap *h, uint32_t g, unsigned int cls)
{
	const struct heap_class *c = &pvvas_heap_classes[cls];
	uint64_t word = slab_word(cls, c->full);

	if (!heap_granule(h, g) || c->granules > h->end - g)
		return false;
	if (!atomic_compare_exchange_strong(&h->table[g].word, &word,
					    WORD(KIND_FREE, c->granules)))
		return false;
	unlist(h, g, cls);
	pvvas_heap_run_free(h, g, c->granules);
	return true;
}

void pvvas_heap_sweep(const struct pvvas_heap *h)
{
	/* each run, and again those that become one with the run before */
	uint64_t left = 2ULL * (h->end - h->first), word;
	uint32_t g, n, prev = h->first;
	unsigned int cls;

	for (g = h->first; g < h->end && left; g += n, left--) {
		word = heap_word(h, g);
		if (IS_SLAB(word) && WORD_LOW(word)) {
			cls = WORD_CLASS(word);
			if (!give_back(h, g, cls))
				pvvas_heap_slab_list(h, g, cls);
			else if (WORD_KIND(heap_word(h, prev)) == KIND_FREE)
				g = prev;	/* they are one now */
			word = heap_word(h, g);
		}
		n = pvvas_heap_run_length(h, g, word);
		if (!n) {
			heap_is_broken(h);
			return;
		}
		prev = g;
	}
}

/*
 * Allocation.
 */

/* A slab of the class with a free block; @g is its first granule. */
static void *take_listed(const struct pvvas_heap *h, unsigned int cls,
			 uint32_t *g)
{
	uint32_t left = h->end - h->first;
	void *p;

	while (left-- && (*g = heap_link(h, &h->hdr->slabs[cls])) != 0) {
		/* else it would stay the first one */
		if (heap_get(&h->table[*g].prev) != LIST_FIRST) {
			heap_is_broken(h);
			break;
		}
		pvvas_heap_list_del(h, &h->hdr->slabs[cls], *g);
		p = heap_take(h, *g, cls);
		if (p)
			return p;
	}
	return NULL;
}

/* So many granules get memory at once, where none was used before. */
#define AHEAD	(65536U >> GRANULE_SHIFT)

static bool has_memory(const struct pvvas_heap *h, uint32_t g, uint32_t n,
		       bool fresh)
{
	uint64_t ready = __atomic_load_n(&h->hdr->ready, __ATOMIC_RELAXED);
	uint64_t end = g + n;

	if (!h->owner->have)
		return true;
	if (!fresh && !(ready & HEAP_GAPS))
		return true;
	if (!fresh)
		return heap_has(h, heap_address(h, g), (size_t)n << GRANULE_SHIFT);
	if (end <= (ready & ~HEAP_GAPS))
		return true;
	end = (end + AHEAD - 1) & ~(uint64_t)(AHEAD - 1);
	if (end > h->end)
		end = h->end;
	if (!heap_has(h, heap_address(h, g), (end - g) << GRANULE_SHIFT)) {
		end = g + n;
		if (!heap_has(h, heap_address(h, g), (size_t)n << GRANULE_SHIFT))
			return false;
	}
	__atomic_store_n(&h->hdr->ready, end | (ready & HEAP_GAPS),
			 __ATOMIC_RELAXED);
	return true;
}

/* A run for small blocks: as pvvas_heap_run_alloc(), and with memory in it. */
static uint32_t run_with_memory(const struct pvvas_heap *h, uint32_t n,
				uint64_t word)
{
	bool fresh;
	uint32_t g = pvvas_heap_run_alloc(h, n, GRANULE, word, &fresh);

	if (!g || has_memory(h, g, n, fresh))
		return g;
	heap_set_word(h, g, WORD(KIND_FREE, n));
	pvvas_heap_run_free(h, g, n);
	/* nothing has touched it, and its next user has to look again */
	if (fresh && heap_get(&h->hdr->fresh) == g + n)
		heap_put(&h->hdr->fresh, g);
	return 0;
}

static void *take_new(const struct pvvas_heap *h, unsigned int cls, uint32_t *g)
{
	const struct heap_class *c = &pvvas_heap_classes[cls];

	/* the first block is ours from the start */
	*g = run_with_memory(h, c->granules, slab_word(cls, c->full & ~1U));
	if (!*g)
		return NULL;
	heap_put(&h->table[*g].next, 0);
	heap_put(&h->table[*g].prev, 0);
	return heap_address(h, *g);
}

static void *take_hinted(const struct pvvas_heap *h, unsigned int cls,
			 uint32_t *g)
{
	unsigned int i;
	void *p;

	for (i = 0; i < HEAP_LANES; i++) {
		*g = atomic_load(&h->hdr->hint[i][cls]);
		p = *g ? heap_take(h, *g, cls) : NULL;
		if (p)
			return p;
	}
	return NULL;
}

/* Memory is short: whatever is left somewhere. */
static void *take_last(const struct pvvas_heap *h, unsigned int cls,
		       uint32_t *g)
{
	void *p;

	p = take_hinted(h, cls, g);
	if (p)
		return p;
	pvvas_heap_sweep(h);
	p = take_listed(h, cls, g);
	return p ? p : take_new(h, cls, g);
}

void *pvvas_heap_small_alloc(const struct pvvas_heap *h, unsigned int cls)
{
	uint32_t size = pvvas_heap_classes[cls].size, g;
	void *p;
	int err;

	if (!have_lane)
		choose_lane();
	err = pvvas_heap_lock(h);
	if (err) {
		errno = -err;
		return NULL;
	}
	g = atomic_load(&h->hdr->hint[pvvas_heap_lane][cls]);
	p = g ? heap_take(h, g, cls) : NULL;
	if (p)
		goto out;
	p = take_listed(h, cls, &g);
	if (!p)
		p = take_new(h, cls, &g);
	if (!p)
		p = take_last(h, cls, &g);
	if (p) {
		set_hint(h, g, cls);
		goto out;
	}
	/* no room for a slab, but for one block perhaps */
	g = (size + GRANULE - 1) / GRANULE;
	g = run_with_memory(h, g, WORD(KIND_LARGE, g));
	p = g ? heap_address(h, g) : NULL;
	if (!p)
		errno = heap_errno(h);
out:
	pvvas_heap_unlock(h);
	return p;
}

/*
 * Freeing.
 */

void pvvas_heap_slab_has_room(const struct pvvas_heap *h, uint32_t g,
			      unsigned int cls)
{
	uint64_t word;

	/* without the lock it is as if this thread had died: see the sweep */
	if (atomic_load(&h->hdr->hint[pvvas_heap_lane][cls]) == g ||
	    pvvas_heap_lock(h))
		return;
	word = heap_word(h, g);
	if (WORD_KIND(word) == KIND_SLAB + cls && WORD_LOW(word))
		pvvas_heap_slab_list(h, g, cls);
	pvvas_heap_unlock(h);
}

/* One such slab stays in the list; hints stay as they are. */
void pvvas_heap_slab_is_empty(const struct pvvas_heap *h, uint32_t g,
			      unsigned int cls)
{
	uint64_t word;

	if (atomic_load(&h->hdr->hint[pvvas_heap_lane][cls]) == g ||
	    pvvas_heap_lock(h))
		return;
	word = heap_word(h, g);
	if (word == slab_word(cls, pvvas_heap_classes[cls].full)) {
		if (!pvvas_heap_listed(h, g)) {
			if (!is_hint(h, g, cls))
				pvvas_heap_slab_list(h, g, cls);
		} else if (heap_get(&h->hdr->slabs[cls]) != g ||
			   heap_get(&h->table[g].next)) {
			give_back(h, g, cls);
		}
	}
	pvvas_heap_unlock(h);
}
