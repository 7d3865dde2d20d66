/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A heap in a range of shared memory: what the rest of the library calls.
 *
 * All state is in the range, so that every process that has it at the same
 * address can allocate and free.  Nothing here knows of segments or VASes.
 * Fresh memory (all zero) is an empty heap.
 *
 * A process may die at any instruction.  What it was allocating or freeing
 * is then either done or not done; at most the block in its hands is lost.
 *
 * Others may write anything into the range at any time.  Calls then fail, and
 * what they return may be of no use, but no call reads or writes outside of the
 * range because of it, hands out memory outside of it, or takes for ever.
 */
#ifndef PVVAS_HEAP_H
#define PVVAS_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct pvvas_heap_owner - how a thread shows that it lives
 * @token: a number for the calling thread, not 0, that no other one has or had;
 *	it ends with the thread and with exec, and no child inherits it.  0 or
 *	-errno
 * @dead: has the thread with this number certainly died?  No when in doubt.
 * @have: see to it that there is memory for this range of the heap; 0, or -ENOMEM:
 *	a limit refuses it.  NULL: there always is
 * @patience: how long a call waits for a thread that holds the lock and lives,
 *	in seconds
 */
struct pvvas_heap;
struct pvvas_heap_owner {
	int (*token)(uint64_t *token);
	bool (*dead)(uint64_t token);
	int (*have)(const struct pvvas_heap *h, const void *from, size_t bytes);
	unsigned int patience;
};

/**
 * struct pvvas_heap - this process's handle on a heap; nothing in it changes
 */
struct pvvas_heap {
	char *base;
	struct pvvas_heap_header *hdr;
	struct pvvas_heap_desc *table;
	uint32_t first;		/* first granule that can be handed out */
	uint32_t end;		/* number of granules */
	uint64_t memory;	/* which memory this is, and not a copy of it */
	const struct pvvas_heap_owner *owner;
};

/**
 * struct pvvas_heap_usage - what is in a heap
 * @size: bytes that there are to hand out
 * @used: bytes in blocks that are handed out, with their rounding
 * @blocks: number of these
 * @free: bytes in no block and no slab
 * @largest_free: the longest range of these
 * @recoveries: deaths in the middle of a change that were put right
 */
struct pvvas_heap_usage {
	uint64_t size;
	uint64_t used;
	uint64_t blocks;
	uint64_t free;
	uint64_t largest_free;
	uint64_t recoveries;
};

/* In a forked child, and in a thread whose token has ended: get another one. */
void pvvas_heap_forget_self(void);

/*
 * Every call that needs the heap's lock can fail for want of it: -ETIMEDOUT, it
 * was not released for as long as the owner's patience; -EDEADLK, this thread
 * holds it; or what owner->token() says.  Calls that return a pointer then
 * return NULL with that in errno, as they do for -EUCLEAN: the data of the heap
 * have been overwritten.
 */

/*
 * @memory, not 0, names the memory, at whatever address and by whatever segment
 * it is seen: a lock that was copied with the data has no owner in the copy.
 * -EINVAL: not aligned to a page, or too small.  -EEXIST: there is something
 * else in the memory.  -ESTALE: a heap of a larger size.
 */
int pvvas_heap_open(struct pvvas_heap *h, void *base, size_t size,
		    uint64_t memory, const struct pvvas_heap_owner *owner);
/* Is there a heap in this memory? */
bool pvvas_heap_is_there(const void *base);
/* The program's own word of the heap there, for readers. */
void *pvvas_heap_root_at(const void *base);

/* A word for the program's use, NULL in a new heap. */
void **pvvas_heap_root(const struct pvvas_heap *h);

/* NULL and errno: ENOMEM, EINVAL (alignment), and as above */
void *pvvas_heap_malloc(const struct pvvas_heap *h, size_t size);
void *pvvas_heap_calloc(const struct pvvas_heap *h, size_t n, size_t size);
void *pvvas_heap_memalign(const struct pvvas_heap *h, size_t align, size_t size);
/* also EINVAL and EALREADY, as pvvas_heap_free() */
void *pvvas_heap_realloc(const struct pvvas_heap *h, void *p, size_t size);

/* -EINVAL: not (the start of) a block.  -EALREADY: free already; and as above */
int pvvas_heap_free(const struct pvvas_heap *h, void *p);
/* 0: not a block that is handed out */
size_t pvvas_heap_usable(const struct pvvas_heap *h, const void *p);

/* 0, or -EUCLEAN: something was overwritten.  @usage may be NULL. */
int pvvas_heap_check(const struct pvvas_heap *h, struct pvvas_heap_usage *usage);

/*
 * Free the blocks that neither the root leads to nor @visit, and store their
 * bytes; with @count_only, only that.  @visit is called with NULL once, and with
 * each block that was reached, and calls pvvas_heap_reach() with any address in
 * a block that it leads to; NULL: each aligned word is such an address if it can
 * be one.  -ENOMEM: nothing has been freed; and as above
 */
struct seg_heap_trace;
typedef void pvvas_heap_visit(struct seg_heap_trace *t, void *block,
			      size_t size, void *arg);

int pvvas_heap_collect(const struct pvvas_heap *h, bool count_only,
		       pvvas_heap_visit *visit, void *arg, uint64_t *bytes);
void pvvas_heap_reach(struct seg_heap_trace *t, const void *p);
/* Any aligned word of these bytes that is an address in a block may lead to it. */
void pvvas_heap_reach_words(struct seg_heap_trace *t, const void *words,
			    size_t size);

#endif /* PVVAS_HEAP_H */
