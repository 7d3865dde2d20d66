// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The functions of pvvas_heap.h: each finds the heap that it means, and calls
 * the core.
 */
#include <errno.h>
#include <stdatomic.h>

#include "heap_seg.h"
#include "internal.h"

static void (*_Atomic on_misuse)(int sid, void *ptr, int error);

PVVAS_EXPORT void seg_heap_on_misuse(void (*handler)(int sid, void *ptr,
						     int error))
{
	atomic_store(&on_misuse, handler);
}

/* A pointer that is refused; what else went wrong is not the caller's doing. */
static void misused(const struct seg_heap *sh, void *ptr, int error)
{
	void (*handler)(int sid, void *ptr, int error);

	if (error != -EINVAL && error != -EALREADY)
		return;
	handler = atomic_load(&on_misuse);
	if (handler)
		handler(sh->sid, ptr, error);
}

static inline void *resize(const struct seg_heap *sh, void *ptr, size_t size)
{
	void *p = pvvas_heap_realloc(&sh->heap, ptr, size);

	if (__builtin_expect(!p, 0))
		misused(sh, ptr, -errno);
	return p;
}

static inline int release(const struct seg_heap *sh, void *ptr)
{
	int err = pvvas_heap_free(&sh->heap, ptr);

	if (__builtin_expect(err, 0))
		misused(sh, ptr, err);
	return err;
}

/*
 * The heap of one segment.
 */

PVVAS_EXPORT void *seg_malloc(int sid, size_t size)
{
	const struct seg_heap *sh = heap_of_seg(sid);

	return sh ? pvvas_heap_malloc(&sh->heap, size) : NULL;
}

PVVAS_EXPORT void *seg_calloc(int sid, size_t n, size_t size)
{
	const struct seg_heap *sh = heap_of_seg(sid);

	return sh ? pvvas_heap_calloc(&sh->heap, n, size) : NULL;
}

PVVAS_EXPORT void *seg_memalign(int sid, size_t align, size_t size)
{
	const struct seg_heap *sh = heap_of_seg(sid);

	return sh ? pvvas_heap_memalign(&sh->heap, align, size) : NULL;
}

PVVAS_EXPORT void *seg_realloc(int sid, void *ptr, size_t size)
{
	const struct seg_heap *sh = heap_of_seg(sid);

	return sh ? resize(sh, ptr, size) : NULL;
}

PVVAS_EXPORT int seg_free(int sid, void *ptr)
{
	const struct seg_heap *sh;

	if (!ptr)
		return 0;
	sh = heap_of_seg(sid);
	return sh ? release(sh, ptr) : -errno;
}

PVVAS_EXPORT size_t seg_usable_size(int sid, const void *ptr)
{
	const struct seg_heap *sh = heap_of_seg(sid);

	return sh ? pvvas_heap_usable(&sh->heap, ptr) : 0;
}

PVVAS_EXPORT int seg_heap_init(int sid)
{
	return heap_of_seg(sid) ? 0 : -errno;
}

PVVAS_EXPORT void **seg_root(int sid)
{
	const struct seg_heap *sh = heap_of_seg(sid);

	return sh ? pvvas_heap_root(&sh->heap) : NULL;
}

PVVAS_EXPORT int seg_root_get(int sid, void **value)
{
	void *base;
	int err = pvvas_seg_visible(sid, &base);

	if (err)
		return err;
	if (!pvvas_seg_has_heap(base))
		return -ENOENT;
	*value = pvvas_heap_root_at(base);
	return 0;
}

PVVAS_EXPORT int seg_heap_check(int sid)
{
	const struct seg_heap *sh = heap_of_seg(sid);

	return sh ? pvvas_heap_check(&sh->heap, NULL) : -errno;
}

PVVAS_EXPORT int seg_heap_stat(int sid, struct seg_heap_stat *stat)
{
	struct pvvas_heap_usage u;
	const struct seg_heap *sh;
	int err;

	if (!stat || stat->size != sizeof(*stat))
		return -EINVAL;
	sh = heap_of_seg(sid);
	if (!sh)
		return -errno;
	err = pvvas_heap_check(&sh->heap, &u);
	*stat = (struct seg_heap_stat){
		.size = sizeof(*stat),
		.bytes = u.size,
		.used = u.used,
		.blocks = u.blocks,
		.free = u.free,
		.largest_free = u.largest_free,
		.recoveries = u.recoveries,
	};
	return err;
}

/* Of a larger block only what has memory is read: it may be mostly holes. */
#define SPARSE_MIN	(64UL << 10)

static void reach_memory(struct seg_heap_trace *t, void *block, size_t size,
			 void *arg)
{
	const struct seg_heap *sh = arg;
	size_t at = (size_t)((char *)block - sh->heap.base), end = at + size;
	size_t n = size, length;
	void *base;
	int err = 0;

	while (at < end) {
		if (size > SPARSE_MIN)
			err = seg_next_data(sh->sid, &at, &n);
		/* There is none from here on, but not because the segment is gone. */
		if (at >= end || (err == -ENOENT &&
				  !seg_range(sh->sid, &base, &length)))
			return;
		if (err || n > end - at)
			n = end - at;
		pvvas_heap_reach_words(t, sh->heap.base + at, n);
		at += n;
	}
}

PVVAS_EXPORT int64_t seg_heap_collect(int sid, unsigned int flags,
				      seg_heap_visit *visit, void *arg)
{
	const struct seg_heap *sh;
	uint64_t bytes = 0;
	int err;

	if (flags & ~SEG_HEAP_COUNT)
		return -EINVAL;
	sh = heap_of_seg(sid);
	if (!sh)
		return -errno;
	if (!visit) {
		visit = reach_memory;
		arg = (void *)sh;
	}
	err = pvvas_heap_collect(&sh->heap, flags & SEG_HEAP_COUNT, visit, arg,
				 &bytes);
	return err ? err : (int64_t)bytes;
}

PVVAS_EXPORT void seg_heap_reach(struct seg_heap_trace *trace, const void *ptr)
{
	pvvas_heap_reach(trace, ptr);
}

/*
 * The heap of the VAS that the thread is in.
 */

PVVAS_EXPORT int vas_heap(void)
{
	const struct seg_heap *sh = heap_of_vas();

	return sh ? sh->sid : -errno;
}

PVVAS_EXPORT void **vas_root(void)
{
	const struct seg_heap *sh = heap_of_vas();

	return sh ? pvvas_heap_root(&sh->heap) : NULL;
}

PVVAS_EXPORT void *vas_malloc(size_t size)
{
	const struct seg_heap *sh = heap_of_vas();

	return sh ? pvvas_heap_malloc(&sh->heap, size) : NULL;
}

PVVAS_EXPORT void *vas_calloc(size_t n, size_t size)
{
	const struct seg_heap *sh = heap_of_vas();

	return sh ? pvvas_heap_calloc(&sh->heap, n, size) : NULL;
}

PVVAS_EXPORT void *vas_memalign(size_t align, size_t size)
{
	const struct seg_heap *sh = heap_of_vas();

	return sh ? pvvas_heap_memalign(&sh->heap, align, size) : NULL;
}

PVVAS_EXPORT void *vas_realloc(void *ptr, size_t size)
{
	const struct seg_heap *sh = heap_of_vas();

	return sh ? resize(sh, ptr, size) : NULL;
}

PVVAS_EXPORT int vas_free(void *ptr)
{
	const struct seg_heap *sh;

	if (!ptr)
		return 0;
	sh = heap_of_vas();
	return sh ? release(sh, ptr) : -errno;
}

PVVAS_EXPORT size_t vas_usable_size(const void *ptr)
{
	const struct seg_heap *sh = heap_of_vas();

	return sh ? pvvas_heap_usable(&sh->heap, ptr) : 0;
}
