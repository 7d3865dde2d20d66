/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An index of the words of a text: a hash table of nodes linked by ordinary
 * pointers, built by a bump allocator in one piece of memory.
 *
 * A word is a longest run of letters, digits and underscores of ASCII, as for
 * grep -w in the C locale.
 */
#ifndef INDEX_H
#define INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a word stands; a list, last place first. */
struct place {
	struct place *before;
	uint64_t offset;	/* bytes from the start of the text */
};

struct node {
	struct node *next;	/* in the same bucket */
	const char *word;	/* not NUL-terminated */
	struct place *last;
	uint64_t count;
	uint32_t length;
	uint32_t hash;
};

struct index {
	uint64_t magic;		/* INDEX_MAGIC once the index is complete */
	uint64_t text_size;
	uint64_t words;
	uint64_t distinct;
	struct node **buckets;
	uint64_t mask;		/* buckets - 1 */
	/* the allocator */
	char *free;
	char *end;
};

#define INDEX_MAGIC	0x7865646e69766170ULL

bool word_char(unsigned char c);
uint32_t word_hash(const char *word, size_t length);

/* Bytes that always suffice for the index of a text of this size. */
size_t index_size(size_t text_size);

/* Build in @size bytes at @memory (zeroed); NULL if they do not suffice. */
struct index *index_build(void *memory, size_t size, const char *text,
			  size_t text_size);

/* The node of a word whose hash is known, or NULL. */
static inline const struct node *index_find(const struct index *ix,
					    const char *word, uint32_t length,
					    uint32_t hash)
{
	const struct node *n;

	for (n = ix->buckets[hash & ix->mask]; n; n = n->next) {
		if (n->hash == hash && n->length == length &&
		    !__builtin_memcmp(n->word, word, length))
			return n;
	}
	return NULL;
}

/* Do list of places and count agree, for a text of which we have nothing? */
bool node_sound(const struct index *ix, const struct node *n);

#endif /* INDEX_H */
