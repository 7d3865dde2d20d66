// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which heap a VAS or a segment has, remembered by handle for the process, so
 * that going from VAS to VAS costs no request each time.
 *
 * A handle is never used again for another attachment of the process within
 * what this table can hold, and each change of attachments makes all answers
 * old.  The table is of fixed size: what finds no place in its row takes that
 * of the oldest one there, and that one is asked for again.
 */
#include <pthread.h>
#include <string.h>

#include "heap_seg.h"

#define ROWS		1024
#define COLUMNS		4

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Newest first; under the lock. */
static struct seg_heap_answer table[ROWS][COLUMNS];

static struct seg_heap_answer *row_of(uint64_t question)
{
	return table[question * 0x9e3779b97f4a7c15ULL >> 54];
}

_Static_assert(1ULL << (64 - 54) == ROWS, "bits of a row's number");

bool heap_answers_find(struct seg_heap_answer *a)
{
	const struct seg_heap_answer *row = row_of(a->question);
	int i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < COLUMNS && !a->heap; i++)
		if (row[i].question == a->question &&
		    row[i].changes == a->changes)
			a->heap = row[i].heap;
	pthread_mutex_unlock(&lock);
	return a->heap;
}

void heap_answers_add(const struct seg_heap_answer *a)
{
	struct seg_heap_answer *row = row_of(a->question);
	int i;

	pthread_mutex_lock(&lock);
	/* in place of an old answer to this question, or of the oldest one */
	for (i = 0; i < COLUMNS - 1 && row[i].question != a->question; i++)
		;
	memmove(row + 1, row, (size_t)i * sizeof(*row));
	row[0] = *a;
	pthread_mutex_unlock(&lock);
}

void heap_answers_forked(void)
{
	pthread_mutex_init(&lock, NULL);
}
