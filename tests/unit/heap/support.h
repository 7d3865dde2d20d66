/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Heaps in ordinary shared memory, for tests.
 */
#ifndef HEAP_SUPPORT_H
#define HEAP_SUPPORT_H

#include <heap.h>

/* Zeroed memory that children share. */
void *shared_memory(size_t size);
void drop_memory(void *base, size_t size);

/* How the threads of this process and its children own locks. */
struct pvvas_heap_owner *this_process(void);
/* Have this thread ask for its token now. */
void get_token(void);

/* A heap in memory of its own, with nothing in it; the test fails otherwise. */
struct pvvas_heap new_heap(size_t size);
void drop_heap(struct pvvas_heap *h);

/* Checks the heap, and says how many blocks there are. */
uint64_t count_blocks(const struct pvvas_heap *h);

/* A stream of numbers that depends on the seed alone. */
uint64_t next_random(uint64_t *seed);
/* Mostly small, sometimes up to 64 KiB. */
size_t random_size(uint64_t *seed);

/* Is this the program's pattern for @key?  And write it. */
void fill(void *p, size_t size, uint64_t key);
bool is_filled(const void *p, size_t size, uint64_t key);

#endif /* HEAP_SUPPORT_H */
