/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which heap a call means.
 */
#ifndef PVVAS_HEAP_SEG_H
#define PVVAS_HEAP_SEG_H

#include "heap.h"

/* A segment's heap in this process. */
struct seg_heap {
	struct pvvas_heap heap;
	int sid;
	struct seg_heap *next;
};

/*
 * heap_seg.c: the heap of segment @sid, or of the VAS that the thread is in;
 * or NULL and *err = -errno
 */
const struct seg_heap *pvvas_seg_heap(int sid, int *err);
const struct seg_heap *pvvas_vas_heap(int *err);

#endif /* PVVAS_HEAP_SEG_H */
