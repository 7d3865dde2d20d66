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

static void misused(const struct seg_heap *sh, void *ptr, int error)
{
	void (*handler)(int sid, void *ptr, int error);

	handler = atomic_load(&on_misuse);
	if (handler)
		handler(sh->sid, ptr, error);
}

/* NULL, with errno from *err, if there was no heap to be found. */
static inline const struct pvvas_heap *core(const struct seg_heap *sh, const int *err)
{
	if (__builtin_expect(!!sh, 1))
		return &sh->heap;
	errno = -*err;
	return NULL;
}

static void *resize(const struct seg_heap *sh, int err, void *ptr, size_t size)
{
	const struct pvvas_heap *h = core(sh, &err);
	void *p = h ? pvvas_heap_realloc(h, ptr, size) : NULL;

	if (h && !p && (errno == EINVAL || errno == EALREADY))
		misused(sh, ptr, -errno);
	return p;
}

static int release(const struct seg_heap *sh, int err, void *ptr)
{
	if (__builtin_expect(!sh, 0))
		return err;
	err = pvvas_heap_free(&sh->heap, ptr);
	if (__builtin_expect(err, 0))
		misused(sh, ptr, err);
	return err;
}

/*
 * The heap of one segment.
 */

PVVAS_EXPORT int seg_heap_init(int sid)
{
	int err = 0;

	pvvas_seg_heap(sid, &err);
	return err;
}

PVVAS_EXPORT void *seg_malloc(int sid, size_t size)
{
	int err = 0;
	const struct pvvas_heap *h = core(pvvas_seg_heap(sid, &err), &err);

	return h ? pvvas_heap_malloc(h, size) : NULL;
}

PVVAS_EXPORT void *seg_calloc(int sid, size_t n, size_t size)
{
	int err = 0;
	const struct pvvas_heap *h = core(pvvas_seg_heap(sid, &err), &err);

	return h ? pvvas_heap_calloc(h, n, size) : NULL;
}

PVVAS_EXPORT void *seg_memalign(int sid, size_t align, size_t size)
{
	int err = 0;
	const struct pvvas_heap *h = core(pvvas_seg_heap(sid, &err), &err);

	return h ? pvvas_heap_memalign(h, align, size) : NULL;
}

PVVAS_EXPORT void *seg_realloc(int sid, void *ptr, size_t size)
{
	int err = 0;
	const struct seg_heap *sh = pvvas_seg_heap(sid, &err);

	return resize(sh, err, ptr, size);
}

PVVAS_EXPORT int seg_free(int sid, void *ptr)
{
	int err = 0;
	const struct seg_heap *sh = pvvas_seg_heap(sid, &err);

	return release(sh, err, ptr);
}

PVVAS_EXPORT size_t seg_usable_size(int sid, const void *ptr)
{
	int err = 0;
	const struct pvvas_heap *h = core(pvvas_seg_heap(sid, &err), &err);

	return h ? pvvas_heap_usable(h, ptr) : 0;
}

PVVAS_EXPORT int seg_heap_check(int sid)
{
	int err = 0;
	const struct seg_heap *sh = pvvas_seg_heap(sid, &err);

	return sh ? pvvas_heap_check(&sh->heap, NULL) : err;
}

PVVAS_EXPORT int seg_heap_stat(int sid, struct seg_heap_stat *stat)
{
	int err = 0;
	const struct seg_heap *sh;
	struct pvvas_heap_usage u;

	if (!stat || stat->size != sizeof(*stat))
		return -EINVAL;
	sh = pvvas_seg_heap(sid, &err);
	if (!sh)
		return err;
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

/*
 * The heap of the VAS that the thread is in.
 */

PVVAS_EXPORT int vas_heap(void)
{
	int err = 0;
	const struct seg_heap *sh = pvvas_vas_heap(&err);

	return sh ? sh->sid : err;
}

PVVAS_EXPORT void *vas_malloc(size_t size)
{
	int err = 0;
	const struct pvvas_heap *h = core(pvvas_vas_heap(&err), &err);

	return h ? pvvas_heap_malloc(h, size) : NULL;
}

PVVAS_EXPORT void *vas_calloc(size_t n, size_t size)
{
	int err = 0;
	const struct pvvas_heap *h = core(pvvas_vas_heap(&err), &err);

	return h ? pvvas_heap_calloc(h, n, size) : NULL;
}

PVVAS_EXPORT void *vas_memalign(size_t align, size_t size)
{
	int err = 0;
	const struct pvvas_heap *h = core(pvvas_vas_heap(&err), &err);

	return h ? pvvas_heap_memalign(h, align, size) : NULL;
}

PVVAS_EXPORT void *vas_realloc(void *ptr, size_t size)
{
	int err = 0;
	const struct seg_heap *sh = pvvas_vas_heap(&err);

	return resize(sh, err, ptr, size);
}

PVVAS_EXPORT int vas_free(void *ptr)
{
	int err = 0;
	const struct seg_heap *sh = pvvas_vas_heap(&err);

	return release(sh, err, ptr);
}

PVVAS_EXPORT size_t vas_usable_size(const void *ptr)
{
	int err = 0;
	const struct pvvas_heap *h = core(pvvas_vas_heap(&err), &err);

	return h ? pvvas_heap_usable(h, ptr) : 0;
}
