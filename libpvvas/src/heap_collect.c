// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Blocks that nothing leads to: mark and sweep.
 *
 * A list of the blocks that there are is taken first, under the heap's lock,
 * into memory of this process, and nothing else is believed afterwards: what
 * is reached is struck off the list, and what is left in the end is freed as
 * any caller would.  A block that was allocated later is not in the list.
 */
#include <errno.h>
#include <stdlib.h>

#include "heap_layout.h"

/* A run with blocks. */
struct run {
	uint32_t g;	/* first granule */
	uint32_t n;	/* granules */
	uint32_t left;	/* a bit for each block that has not been reached */
	uint32_t size;	/* of a block of a slab; 0: one large block */
};

struct seg_heap_trace {
	const struct pvvas_heap *h;
	struct run *runs;	/* by address */
	size_t nr, max;
	/* blocks that were reached and not looked into: run << 5 | block */
	uint64_t *todo;
	size_t nr_todo, max_todo;
	int err;
};

static bool grow(void **array, size_t *max, size_t element)
{
	size_t more = *max ? 2 * *max : 64;
	void *p = reallocarray(*array, more, element);

	if (!p)
		return false;
	*array = p;
	*max = more;
	return true;
}

static int note_run(struct seg_heap_trace *t, uint32_t g, uint32_t n,
		    uint64_t word)
{
	struct run r = { .g = g, .n = n, .left = 1 };
	const struct heap_class *c;

	if (IS_SLAB(word)) {
		c = &pvvas_heap_classes[WORD_CLASS(word)];
		r.size = c->size;
		r.left = c->full & ~WORD_LOW(word);
	} else if (WORD_KIND(word) != KIND_LARGE) {
		return 0;
	}
	if (!r.left)
		return 0;
	if (t->nr == t->max &&
	    !grow((void **)&t->runs, &t->max, sizeof(*t->runs)))
		return -ENOMEM;
	t->runs[t->nr++] = r;
	return 0;
}

static int note_runs(struct seg_heap_trace *t)
{
	const struct pvvas_heap *h = t->h;
	uint64_t word;
	uint32_t g, n;
	int err;

	err = pvvas_heap_lock(h);
	if (err)
		return err;
	for (g = h->first; g < h->end && !err; g += n) {
		word = heap_word(h, g);
		n = pvvas_heap_run_length(h, g, word);
		if (!n) {
			heap_is_broken(h);
			err = -EUCLEAN;
			break;
		}
		err = note_run(t, g, n, word);
	}
	pvvas_heap_unlock(h);
	return err;
}

static char *block_address(const struct seg_heap_trace *t, const struct run *r,
			   unsigned int i)
{
	return heap_address(t->h, r->g) + (size_t)i * r->size;
}

static size_t block_bytes(const struct run *r)
{
	return r->size ? r->size : (size_t)r->n << GRANULE_SHIFT;
}

/* The run that granule @g is in; NULL if it has no blocks. */
static struct run *find_run(const struct seg_heap_trace *t, uint32_t g)
{
	size_t low = 0, high = t->nr, middle;

	while (low < high) {
		middle = (low + high) / 2;
		if (t->runs[middle].g <= g)
			low = middle + 1;
		else
			high = middle;
	}
	return low && g - t->runs[low - 1].g < t->runs[low - 1].n ?
		&t->runs[low - 1] : NULL;
}

void pvvas_heap_reach(struct seg_heap_trace *t, const void *p)
{
	size_t at = (uintptr_t)p - (uintptr_t)t->h->base;
	unsigned int i = 0;
	struct run *r;

	if (at >> GRANULE_SHIFT >= t->h->end)
		return;
	r = find_run(t, (uint32_t)(at >> GRANULE_SHIFT));
	if (!r)
		return;
	if (r->size)
		i = (unsigned int)((at - ((size_t)r->g << GRANULE_SHIFT)) /
				   r->size);
	if (i > 31 || !(r->left >> i & 1))
		return;
	if (t->nr_todo == t->max_todo &&
	    !grow((void **)&t->todo, &t->max_todo, sizeof(*t->todo))) {
		t->err = -ENOMEM;
		return;
	}
	r->left &= ~(1U << i);
	t->todo[t->nr_todo++] = (uint64_t)(r - t->runs) << 5 | i;
}

void pvvas_heap_reach_words(struct seg_heap_trace *t, const void *words,
			    size_t size)
{
	const uint64_t *p = words;
	size_t i;

	for (i = 0; i < size / sizeof(*p); i++)
		pvvas_heap_reach(t, (void *)(uintptr_t)
				 __atomic_load_n(&p[i], __ATOMIC_RELAXED));
}

static void reach_all(struct seg_heap_trace *t, void *block, size_t size,
		      void *arg)
{
	(void)arg;
	pvvas_heap_reach_words(t, block, size);
}

static void follow(struct seg_heap_trace *t, pvvas_heap_visit *visit, void *arg)
{
	uint64_t root = __atomic_load_n(&t->h->hdr->root, __ATOMIC_RELAXED);
	const struct run *r;
	uint64_t next;

	if (!visit)
		visit = reach_all;
	pvvas_heap_reach(t, (void *)(uintptr_t)root);
	visit(t, NULL, 0, arg);
	while (t->nr_todo && !t->err) {
		next = t->todo[--t->nr_todo];
		r = &t->runs[next >> 5];
		visit(t, block_address(t, r, next & 31), block_bytes(r), arg);
	}
}

static uint64_t give_back(const struct seg_heap_trace *t, bool count_only)
{
	const struct run *r;
	uint64_t bytes = 0;
	unsigned int i;

	for (r = t->runs; r < t->runs + t->nr; r++)
		for (i = 0; i < 32; i++)
			if (r->left >> i & 1 &&
			    (count_only ||
			     !pvvas_heap_free(t->h, block_address(t, r, i))))
				bytes += block_bytes(r);
	return bytes;
}

int pvvas_heap_collect(const struct pvvas_heap *h, bool count_only,
		       pvvas_heap_visit *visit, void *arg, uint64_t *bytes)
{
	struct seg_heap_trace t = { .h = h };

	t.err = note_runs(&t);
	if (!t.err)
		follow(&t, visit, arg);
	if (!t.err)
		*bytes = give_back(&t, count_only);
	free(t.runs);
	free(t.todo);
	return t.err;
}
