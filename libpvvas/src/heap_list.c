// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Lists of runs, by the numbers of their first granules, whose heads are in the
 * header.  Under the lock.  A list that makes no sense loses what comes after.
 */
#include "heap_layout.h"

bool pvvas_heap_listed(const struct pvvas_heap *h, uint32_t g)
{
	return heap_get(&h->table[g].prev);
}

void pvvas_heap_list_add(const struct pvvas_heap *h, uint32_t *head, uint32_t g)
{
	uint32_t next = heap_link(h, head);

	heap_put(&h->table[g].next, next);
	heap_put(&h->table[g].prev, LIST_FIRST);
	if (next)
		heap_put(&h->table[next].prev, g);
	heap_put(head, g);
}

void pvvas_heap_list_del(const struct pvvas_heap *h, uint32_t *head, uint32_t g)
{
	uint32_t next = heap_link(h, &h->table[g].next);
	uint32_t prev = heap_get(&h->table[g].prev);

	if (next)
		heap_put(&h->table[next].prev, prev);
	if (prev == LIST_FIRST)
		heap_put(head, next);
	else if (heap_granule(h, prev))
		heap_put(&h->table[prev].next, next);
	else
		heap_is_broken(h);
	heap_put(&h->table[g].next, 0);
	heap_put(&h->table[g].prev, 0);
}
