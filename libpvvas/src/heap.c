// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The calls of a heap: which kind of block, and arguments.
 */
#include <errno.h>
#include <string.h>

#include "heap_small.h"

/* A header, a table, and a few slabs */
#define HEAP_MIN	(32UL << 10)

static uint64_t nr_granules(size_t size)
{
	uint64_t n = size >> GRANULE_SHIFT;

	/* numbers of granules have 32 bits, and two of them mean something */
	return n < UINT32_MAX - 1 ? n : UINT32_MAX - 1;
}

static bool is_blank(const struct pvvas_heap *h)
{
	const uint64_t *p = (const uint64_t *)h->hdr;
	size_t i;

	for (i = 0; i < HEAP_HEADER_SIZE / sizeof(*p); i++)
		if (p[i])
			return false;
	return true;
}

bool pvvas_heap_is_there(const void *base)
{
	const struct pvvas_heap_header *hdr = base;

	return atomic_load(&hdr->magic) == HEAP_MAGIC;
}

/*
 * Blank memory is claimed by one exchange, and then made a heap under the lock;
 * if the first caller dies, the next one does it.
 */
static int make(const struct pvvas_heap *h, size_t size)
{
	struct pvvas_heap_header *hdr = h->hdr;
	uint64_t magic = 0;
	int err;

	if (is_blank(h))
		atomic_compare_exchange_strong(&hdr->magic, &magic,
					       HEAP_MAKING);
	magic = atomic_load(&hdr->magic);
	if (magic != HEAP_MAKING)
		return magic == HEAP_MAGIC ? 0 : -EEXIST;
	if (!heap_has(h, h->table, sizeof(*h->table)) ||
	    !heap_has(h, &h->table[h->first], sizeof(*h->table)))
		return -ENOMEM;
	err = pvvas_heap_lock(h);
	if (err)
		return err;
	if (atomic_load(&hdr->magic) != HEAP_MAGIC) {
		hdr->size = size;
		pvvas_heap_rebuild(h);
		atomic_store(&hdr->magic, HEAP_MAGIC);
	}
	pvvas_heap_unlock(h);
	return 0;
}

/* Where its blocks are. */
static void set_size(struct pvvas_heap *h, size_t size)
{
	uint64_t n = nr_granules(size);
	uint64_t meta = HEAP_HEADER_SIZE + n * sizeof(struct pvvas_heap_desc);

	h->first = (uint32_t)((meta + GRANULE - 1) >> GRANULE_SHIFT);
	h->end = (uint32_t)n;
}

int pvvas_heap_open(struct pvvas_heap *h, void *base, size_t size,
		    uint64_t memory, const struct pvvas_heap_owner *owner)
{
	uint64_t made;
	int err;

	if ((uintptr_t)base % HEAP_PAGE || size < HEAP_MIN)
		return -EINVAL;
	*h = (struct pvvas_heap){
		.base = base,
		.hdr = base,
		.table = (void *)((char *)base + HEAP_HEADER_SIZE),
		.memory = memory,
		.owner = owner,
	};
	set_size(h, size);
	if (!heap_has(h, base, HEAP_HEADER_SIZE))
		return -ENOMEM;
	if (!pvvas_heap_is_there(base)) {
		err = make(h, size);
		if (err)
			return err;
	}
	/* The range may have grown since: the heap has not. */
	made = __atomic_load_n(&h->hdr->size, __ATOMIC_RELAXED);
	if (made < HEAP_MIN || made > size)
		return -ESTALE;
	set_size(h, made);
	return 0;
}

void *pvvas_heap_root_at(const void *base)
{
	const struct pvvas_heap_header *hdr = base;

	return (void *)__atomic_load_n(&hdr->root, __ATOMIC_ACQUIRE);
}

void **pvvas_heap_root(const struct pvvas_heap *h)
{
	return (void **)&h->hdr->root;
}

static void *large_alloc(const struct pvvas_heap *h, size_t size, size_t align,
			 bool *fresh)
{
	uint64_t n = (size >> GRANULE_SHIFT) + !!(size & (GRANULE - 1));
	uint32_t g = 0;
	int err = -ENOMEM;

	if (n < h->end) {
		err = pvvas_heap_lock(h);
		if (err)
			goto out;
		g = pvvas_heap_run_alloc(h, (uint32_t)n, align,
					 WORD(KIND_LARGE, n), fresh);
		if (!g) {
			pvvas_heap_sweep(h);
			g = pvvas_heap_run_alloc(h, (uint32_t)n, align,
						 WORD(KIND_LARGE, n), fresh);
		}
		err = -heap_errno(h);
		pvvas_heap_unlock(h);
	}
	if (g)
		return heap_address(h, g);
out:
	errno = -err;
	return NULL;
}

void *pvvas_heap_malloc(const struct pvvas_heap *h, size_t size)
{
	bool fresh;

	if (size > HEAP_SMALL_MAX)
		return large_alloc(h, size, GRANULE, &fresh);
	return heap_small_alloc(h, size);
}

void *pvvas_heap_calloc(const struct pvvas_heap *h, size_t n, size_t size)
{
	bool fresh = false;
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	if (bytes > HEAP_SMALL_MAX)
		p = large_alloc(h, bytes, GRANULE, &fresh);
	else
		p = pvvas_heap_malloc(h, bytes);
	/* memory that was never used is zero */
	if (!p || fresh)
		return p;
	if (bytes > HEAP_SMALL_MAX && !heap_has(h, p, bytes)) {
		pvvas_heap_free(h, p);
		errno = ENOMEM;
		return NULL;
	}
	memset(p, 0, bytes);
	return p;
}

void *pvvas_heap_memalign(const struct pvvas_heap *h, size_t align, size_t size)
{
	unsigned int cls;
	bool fresh;

	if (!align || align & (align - 1)) {
		errno = EINVAL;
		return NULL;
	}
	if (align <= 16)
		return pvvas_heap_malloc(h, size);
	/* slabs begin at a granule: blocks of the right sizes are aligned */
	if (align <= GRANULE && size <= HEAP_SMALL_MAX) {
		cls = pvvas_heap_class_of[(size + 15) / 16];
		while (pvvas_heap_classes[cls].size & (align - 1))
			cls++;
		return heap_small_alloc(h, pvvas_heap_classes[cls].size);
	}
	return large_alloc(h, size ? size : 1, align, &fresh);
}

/*
 * Whose block is this?  The first granule of its run, the run's word, and how
 * far in it @p is; or 0.
 */
static uint32_t lookup(const struct pvvas_heap *h, const void *p,
		       uint64_t *word, size_t *offset)
{
	size_t at = (uintptr_t)p - (uintptr_t)h->base;
	size_t g = at >> GRANULE_SHIFT;

	if (__builtin_expect(g >= h->end, 0))
		return 0;
	*word = heap_word(h, (uint32_t)g);
	if (WORD_KIND(*word) == KIND_INSIDE) {
		g -= WORD_LOW(*word);
		if (__builtin_expect(g >= h->end, 0))
			return 0;
		*word = heap_word(h, (uint32_t)g);
	}
	*offset = at - (g << GRANULE_SHIFT);
	return (uint32_t)g;
}

static int large_free(const struct pvvas_heap *h, uint32_t g)
{
	uint64_t word;
	uint32_t n;
	int err;

	err = pvvas_heap_lock(h);
	if (err)
		return err;
	word = heap_word(h, g);
	n = pvvas_heap_run_length(h, g, word);
	if (WORD_KIND(word) != KIND_LARGE) {
		err = WORD_KIND(word) == KIND_FREE ? -EALREADY : -EINVAL;
	} else if (!n) {
		heap_is_broken(h);
		err = -EUCLEAN;
	} else {
		heap_has_gaps(h);
		/* the store that counts */
		heap_set_word(h, g, WORD(KIND_FREE, n));
		pvvas_heap_run_free(h, g, n);
	}
	pvvas_heap_unlock(h);
	return err;
}

int pvvas_heap_free(const struct pvvas_heap *h, void *p)
{
	size_t offset;
	uint64_t word;
	uint32_t g;

	if (!p)
		return 0;
	g = lookup(h, p, &word, &offset);
	if (!g)
		return -EINVAL;
	if (__builtin_expect(IS_SLAB(word), 1))
		return heap_small_free(h, g, word, offset);
	return offset ? -EINVAL : large_free(h, g);
}

/* Bytes of the block at @p; 0 and *err if it is none. */
static size_t block_size(const struct pvvas_heap *h, const void *p,
			 uint32_t *g, uint64_t *word, int *err)
{
	const struct heap_class *c;
	size_t offset;
	uint32_t n;
	int i;

	*err = EINVAL;
	*g = lookup(h, p, word, &offset);
	if (!*g)
		return 0;
	n = pvvas_heap_run_length(h, *g, *word);
	if (!IS_SLAB(*word)) {
		if (offset)
			return 0;
		if (WORD_KIND(*word) == KIND_FREE)
			*err = EALREADY;
		if (WORD_KIND(*word) != KIND_LARGE)
			return 0;
		if (!n)
			*err = EUCLEAN;
		return (size_t)n << GRANULE_SHIFT;
	}
	c = &pvvas_heap_classes[WORD_CLASS(*word)];
	i = heap_block(c, offset);
	if (i < 0)
		return 0;
	if (!n) {
		*err = EUCLEAN;
		return 0;
	}
	if (*word >> i & 1) {
		*err = EALREADY;
		return 0;
	}
	return c->size;
}

size_t pvvas_heap_usable(const struct pvvas_heap *h, const void *p)
{
	uint64_t word;
	uint32_t g;
	int err;

	return p ? block_size(h, p, &g, &word, &err) : 0;
}

/* Without moving it, if that is possible and no waste. */
static bool resize_here(const struct pvvas_heap *h, uint32_t g, uint64_t word,
			size_t old, size_t size)
{
	uint64_t n = (size >> GRANULE_SHIFT) + !!(size & (GRANULE - 1));
	bool done = false;

	if (IS_SLAB(word))
		return size <= old && pvvas_heap_class_of[(size + 15) / 16] ==
			WORD_CLASS(word);
	if (size <= HEAP_SMALL_MAX || n >= h->end || pvvas_heap_lock(h))
		return false;
	/* a second thread that frees it is wrong, and shall not do harm */
	if (heap_word(h, g) == word)
		done = pvvas_heap_run_resize(h, g, WORD_LOW(word), (uint32_t)n);
	pvvas_heap_unlock(h);
	return done;
}

void *pvvas_heap_realloc(const struct pvvas_heap *h, void *p, size_t size)
{
	uint64_t word;
	size_t old;
	uint32_t g;
	void *q;
	int err;

	if (!p)
		return pvvas_heap_malloc(h, size);
	old = block_size(h, p, &g, &word, &err);
	if (!old) {
		errno = err;
		return NULL;
	}
	if (resize_here(h, g, word, old, size))
		return p;
	q = pvvas_heap_malloc(h, size);
	old = size < old ? size : old;
	/* large blocks may never have been touched */
	if (q && ((size > HEAP_SMALL_MAX && !heap_has(h, q, old)) ||
		  (old && !IS_SLAB(word) && !heap_has(h, p, old)))) {
		pvvas_heap_free(h, q);
		errno = ENOMEM;
		q = NULL;
	}
	if (!q)
		return size == old ? p : NULL;
	memcpy(q, p, old);
	err = pvvas_heap_free(h, p);
	if (err) {
		pvvas_heap_free(h, q);
		errno = -err;
		return NULL;
	}
	return q;
}
