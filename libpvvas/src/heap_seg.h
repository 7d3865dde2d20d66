/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which heap a call means.
 */
#ifndef PVVAS_HEAP_SEG_H
#define PVVAS_HEAP_SEG_H

#include <stdatomic.h>

#include <pvvas.h>

#include "heap.h"

/* A segment's heap in this process. */
struct seg_heap {
	struct pvvas_heap heap;
	int sid;
	struct seg_heap *next;
};

/*
 * What a thread remembers of what the driver said last: the heaps of so many
 * segments, and the heap of its VAS (with 0 for the segment).
 */
#define SEG_HEAPS_REMEMBERED	4

struct seg_heap_answer {
	uint64_t question;	/* the handle, and the segment */
	uint32_t changes;	/* it was true before the next one of these */
	uint32_t unused;
	const struct seg_heap *heap;
	uint64_t unused_too;
};

struct seg_heap_answers {
	struct seg_heap_answer seg[SEG_HEAPS_REMEMBERED];
	struct seg_heap_answer vas;
};

extern __thread struct seg_heap_answers pvvas_heap_answers
	__attribute__((tls_model("initial-exec")));
extern _Atomic uint32_t pvvas_heap_changes;

static inline uint64_t seg_heap_question(int vh, int sid)
{
	return (uint64_t)(uint32_t)vh << 32 | (uint32_t)sid;
}

static inline const struct seg_heap *seg_heap_answer(
		const struct seg_heap_answer *a, int sid)
{
	uint32_t now = atomic_load_explicit(&pvvas_heap_changes,
					    memory_order_relaxed);

	return __builtin_expect(a->question ==
				seg_heap_question(vas_current(), sid) &&
				a->changes == now, 1) ? a->heap : NULL;
}

/*
 * heap_answers.c: what the process remembers.  find: fill in the heap that
 * belongs to question and changes; false if it is not known.
 */
bool heap_answers_find(struct seg_heap_answer *a);
void heap_answers_add(const struct seg_heap_answer *a);
/* In a forked child. */
void heap_answers_forked(void);

/* heap_seg.c: where segment @sid lies, if the thread sees it; 0 or -errno */
int pvvas_seg_visible(int sid, void **base);
/* A segment that the thread sees, at @base. */
bool pvvas_seg_has_heap(const void *base);
/* Ask the driver; NULL and errno */
const struct seg_heap *pvvas_seg_heap(int sid);
const struct seg_heap *pvvas_vas_heap(void);

/* The heap of segment @sid, or of the VAS that the thread is in; or as above */
static inline const struct seg_heap *heap_of_seg(int sid)
{
	const struct seg_heap *sh;

	sh = seg_heap_answer(&pvvas_heap_answers.seg[(unsigned int)sid %
						     SEG_HEAPS_REMEMBERED],
			     sid);
	return __builtin_expect(!!sh, 1) ? sh : pvvas_seg_heap(sid);
}

static inline const struct seg_heap *heap_of_vas(void)
{
	const struct seg_heap *sh = seg_heap_answer(&pvvas_heap_answers.vas, 0);

	return __builtin_expect(!!sh, 1) ? sh : pvvas_vas_heap();
}

#endif /* PVVAS_HEAP_SEG_H */
