// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Building a word index.
 */
#include <string.h>

#include "index.h"

#define ALIGN		_Alignof(max_align_t)

/*
 * The shortest word takes two bytes of the text: itself and what separates it
 * from the next.  The most that it takes here is a node, a place, its letters
 * and two buckets.
 */
#define PER_WORD	(sizeof(struct node) + sizeof(struct place) + \
			 2 * ALIGN + 4 * sizeof(struct node *))

bool word_char(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '_';
}

/* FNV-1a */
uint32_t word_hash(const char *word, size_t length)
{
	uint32_t hash = 2166136261U;
	size_t i;

	for (i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)word[i]) * 16777619U;
	return hash;
}

/* A power of two that is no less than half of the words there can be. */
static size_t nr_buckets(size_t text_size)
{
	size_t n = 64;

	while (n < text_size / 4)
		n *= 2;
	return n;
}

size_t index_size(size_t text_size)
{
	return sizeof(struct index) + ALIGN +
	       (nr_buckets(text_size) + 1) * sizeof(struct node *) +
	       (text_size / 2 + 1) * PER_WORD + text_size;
}

static void *take(struct index *ix, size_t size)
{
	char *p = ix->free;

	size = (size + ALIGN - 1) / ALIGN * ALIGN;
	if (size > (size_t)(ix->end - p))
		return NULL;
	ix->free = p + size;
	return p;
}

static struct node *add_node(struct index *ix, const char *word,
			     uint32_t length, uint32_t hash)
{
	struct node **bucket = &ix->buckets[hash & ix->mask];
	struct node *n = take(ix, sizeof(*n));
	char *copy = take(ix, length);

	if (!n || !copy)
		return NULL;
	memcpy(copy, word, length);
	*n = (struct node){
		.next = *bucket,
		.word = copy,
		.length = length,
		.hash = hash,
	};
	*bucket = n;
	ix->distinct++;
	return n;
}

static bool add_word(struct index *ix, const char *text, size_t offset,
		     uint32_t length)
{
	const char *word = text + offset;
	uint32_t hash = word_hash(word, length);
	struct place *place = take(ix, sizeof(*place));
	struct node *n;

	n = (struct node *)index_find(ix, word, length, hash);
	if (!n)
		n = add_node(ix, word, length, hash);
	if (!n || !place)
		return false;
	place->offset = offset;
	place->before = n->last;
	n->last = place;
	n->count++;
	ix->words++;
	return true;
}

struct index *index_build(void *memory, size_t size, const char *text,
			  size_t text_size)
{
	struct index *ix = memory;
	size_t start, end;

	if (size < sizeof(*ix) + ALIGN)
		return NULL;
	*ix = (struct index){
		.text_size = text_size,
		.mask = nr_buckets(text_size) - 1,
		.free = (char *)memory + (sizeof(*ix) + ALIGN - 1) / ALIGN * ALIGN,
		.end = (char *)memory + size,
	};
	ix->buckets = take(ix, (ix->mask + 1) * sizeof(struct node *));
	if (!ix->buckets)
		return NULL;
	for (start = 0; start < text_size; start = end + 1) {
		for (end = start; end < text_size; end++)
			if (!word_char((unsigned char)text[end]))
				break;
		if (end > start &&
		    !add_word(ix, text, start, (uint32_t)(end - start)))
			return NULL;
	}
	ix->magic = INDEX_MAGIC;
	return ix;
}

bool node_sound(const struct index *ix, const struct node *n)
{
	uint64_t places = 0, limit = ix->text_size;
	const struct place *p;

	/* Last first, and no two words overlap. */
	for (p = n->last; p; p = p->before) {
		if (p->offset + n->length > limit)
			return false;
		limit = p->offset;
		places++;
	}
	return places == n->count;
}
