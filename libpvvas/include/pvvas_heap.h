/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libpvvas: heaps in segments.  Included by pvvas.h.
 *
 * All of a heap is in its segment, so that every process that attaches the
 * segment can allocate and free, and pointers mean the same to all.  Calls are
 * safe between threads and between processes, and a process may be killed at
 * any instruction: at most the block in its hands is lost.  They are not for
 * signal handlers.
 *
 * seg_malloc(3) is the manual page.
 */
#ifndef PVVAS_HEAP_API_H
#define PVVAS_HEAP_API_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The heap of one segment, which the VAS that the thread is in has to hold
 * writable.  A segment of zeroes, as seg_alloc() makes it, becomes a heap at the
 * first call.
 *
 * Functions that return a pointer give NULL and set errno if they fail, to
 * ENOMEM or to what the others return as a negative number:
 * -EPERM: the thread is in no VAS, or in one that does not let it write to the
 * segment.  -EEXIST: there is something else in the segment.  -EINVAL: it is
 * too small, or @sid is no id.  -ETIMEDOUT: another thread is alive and has not
 * finished a change for 30 seconds.  -EDEADLK: this thread is in the middle of
 * one.  -EUCLEAN: the heap's data have been overwritten.
 */

/** seg_heap_init - make a heap in a segment, or find that there is one */
int seg_heap_init(int sid);

/**
 * seg_root - the address of a word in the segment that is the program's own
 *
 * NULL is in it at first.  It is for the pointer that leads to all others; a
 * program that shares it with other threads or processes uses atomic operations.
 */
void **seg_root(int sid);

/**
 * seg_root_get - what is in the word of seg_root(), for readers
 * @sid: a segment that the VAS shows which the thread is in, writable or not
 * @value: out
 *
 * 0.  -EPERM: the thread is in no VAS that shows the segment.  -ENOENT: there is
 * no heap in it.
 */
int seg_root_get(int sid, void **value);

/** seg_malloc - a block of @size bytes, aligned to 16; one byte if @size is 0 */
void *seg_malloc(int sid, size_t size);

/** seg_calloc - seg_malloc() of @n * @size bytes, and zeroes in them */
void *seg_calloc(int sid, size_t n, size_t size);

/**
 * seg_realloc - make a block larger or smaller, moved if need be
 *
 * If it fails, the block is as it was.  EINVAL and EALREADY as seg_free().
 */
void *seg_realloc(int sid, void *ptr, size_t size);

/** seg_memalign - seg_malloc() at a multiple of @align, a power of two */
void *seg_memalign(int sid, size_t align, size_t size);

/**
 * seg_free - give a block back
 *
 * -EINVAL: @ptr is not the address of a block of this heap.  -EALREADY: the
 * block is free already.  Nothing changes then.
 */
int seg_free(int sid, void *ptr);

/** seg_usable_size - how long a block is; 0 if it is none */
size_t seg_usable_size(int sid, const void *ptr);

/**
 * seg_heap_check - look for what was overwritten or lost
 *
 * 0, or -EUCLEAN: the heap's own data make no sense.
 */
int seg_heap_check(int sid);

/**
 * struct seg_heap_stat - what is in a heap
 * @size: sizeof(struct seg_heap_stat), set by the caller
 * @reserved: 0
 * @bytes: there are to hand out
 * @used: bytes in blocks that are handed out, with their rounding
 * @blocks: number of these
 * @free: bytes in no block, nor kept for blocks of a certain size
 * @largest_free: the longest range of these
 * @recoveries: deaths in the middle of a change, put right by others
 */
struct seg_heap_stat {
	uint32_t size;
	uint32_t reserved;
	uint64_t bytes;
	uint64_t used;
	uint64_t blocks;
	uint64_t free;
	uint64_t largest_free;
	uint64_t recoveries;
};

/** seg_heap_stat - seg_heap_check(), and how much there is of what */
int seg_heap_stat(int sid, struct seg_heap_stat *stat);

/**
 * seg_heap_on_misuse - call @handler where free or realloc refuse a pointer
 * @handler: gets the segment, the pointer, and -EINVAL or -EALREADY; it may
 *	abort the program.  NULL, as at the start: nothing is called
 */
void seg_heap_on_misuse(void (*handler)(int sid, void *ptr, int error));

struct seg_heap_trace;

/**
 * typedef seg_heap_visit - tell where a block leads
 * @trace: for seg_heap_reach()
 * @block: a block that was reached, or NULL, once, at the start: for what the
 *	program holds outside of the heap
 * @size: bytes of the block
 * @arg: what seg_heap_collect() was given
 */
typedef void seg_heap_visit(struct seg_heap_trace *trace, void *block,
			    size_t size, void *arg);

/* Only count; free nothing. */
#define SEG_HEAP_COUNT	(1U << 0)

/**
 * seg_heap_collect - free the blocks that nothing leads to
 * @sid: the segment
 * @flags: 0 or SEG_HEAP_COUNT
 * @visit: calls seg_heap_reach() for each pointer in a block; NULL: each aligned
 *	word of a block that can be a pointer into the heap is one
 * @arg: for @visit
 *
 * What a process had allocated and not linked when it died is such a block.  So
 * is what a living thread has just allocated: the caller keeps others from
 * allocating and linking meanwhile, as the exclusive lock of a lockable segment
 * does.  The way begins at the word of seg_root().
 *
 * Bytes that were freed, or that could be; or -EINVAL: bad @flags; -ENOMEM: this
 * process's memory is short, and nothing was freed; and as above
 */
int64_t seg_heap_collect(int sid, unsigned int flags, seg_heap_visit *visit,
			 void *arg);

/** seg_heap_reach - the block that @ptr points to, or into, is in use */
void seg_heap_reach(struct seg_heap_trace *trace, const void *ptr);

/*
 * The same with the heap of the VAS that the thread is in: that of the segment
 * with the lowest id which has a heap, among those that the VAS holds writable.
 * If none has, but there is only one and it is blank, it gets one.  ENOENT:
 * there is no such segment.
 */

/** vas_heap - the segment that these functions use here */
int vas_heap(void);

void **vas_root(void);
void *vas_malloc(size_t size);
void *vas_calloc(size_t n, size_t size);
void *vas_realloc(void *ptr, size_t size);
void *vas_memalign(size_t align, size_t size);
int vas_free(void *ptr);
size_t vas_usable_size(const void *ptr);

#ifdef __cplusplus
}
#endif

#endif /* PVVAS_HEAP_API_H */
