/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the recorder writes and the replayer reads.
 */
#ifndef HEAP_TRACE_H
#define HEAP_TRACE_H

#include <stdint.h>

enum {
	EVENT_MALLOC = 1,
	EVENT_CALLOC = 2,
	EVENT_REALLOC = 3,
	EVENT_MEMALIGN = 4,	/* the alignment is above bit 8 */
	EVENT_FREE = 5,
};

struct event {
	uint32_t op;
	uint32_t reserved;
	uint64_t size;
	uint64_t old;		/* address given: REALLOC, FREE */
	uint64_t ptr;		/* address returned */
};

#endif /* HEAP_TRACE_H */
