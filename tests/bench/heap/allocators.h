/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a trace can be replayed on.
 */
#ifndef HEAP_ALLOCATORS_H
#define HEAP_ALLOCATORS_H

#include <stdbool.h>
#include <stddef.h>

struct allocator {
	const char *name;
	bool is_real;
	void (*setup)(void);
	void *(*malloc)(size_t size);
	void *(*calloc)(size_t n, size_t size);
	void *(*realloc)(void *p, size_t size);
	void *(*memalign)(size_t align, size_t size);
	void (*free)(void *p);
};

/* NULL: there is none of this name */
const struct allocator *find_allocator(const char *name);

#endif /* HEAP_ALLOCATORS_H */
