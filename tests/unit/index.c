// SPDX-License-Identifier: GPL-2.0-only
/*
 * The demo's word index, in ordinary memory, against a naive count.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "index.h"

static uint64_t naive_count(const char *text, size_t size, const char *word)
{
	size_t length = strlen(word), i;
	uint64_t n = 0;

	for (i = 0; i + length <= size; i++) {
		if (memcmp(text + i, word, length))
			continue;
		if (i && word_char((unsigned char)text[i - 1]))
			continue;
		if (i + length < size && word_char((unsigned char)text[i + length]))
			continue;
		n++;
	}
	return n;
}

static struct index *build(const char *text, size_t size)
{
	size_t bytes = index_size(size);
	void *memory = calloc(1, bytes);
	struct index *ix;

	assert_non_null(memory);
	ix = index_build(memory, bytes, text, size);
	assert_ptr_equal(ix, memory);
	assert_true(ix->magic == INDEX_MAGIC);
	return ix;
}

static uint64_t count(const struct index *ix, const char *word)
{
	uint32_t length = (uint32_t)strlen(word);
	const struct node *n = index_find(ix, word, length,
					  word_hash(word, length));

	if (!n)
		return 0;
	assert_true(node_sound(ix, n));
	return n->count;
}

static void words_are_letters_digits_and_underscores(void **state)
{
	const char *text = "foo foo_bar,foo-foo\nFoo foo1 (foo)\tfoofoo. foo";
	struct index *ix = build(text, strlen(text));

	(void)state;
	assert_int_equal(count(ix, "foo"), 5);
	assert_int_equal(count(ix, "Foo"), 1);
	assert_int_equal(count(ix, "foo_bar"), 1);
	assert_int_equal(count(ix, "foofoo"), 1);
	assert_int_equal(count(ix, "foo1"), 1);
	assert_int_equal(count(ix, "bar"), 0);
	assert_int_equal(ix->words, 9);
	assert_int_equal(ix->distinct, 5);
	free(ix);
}

static void bytes_beyond_ascii_separate_words(void **state)
{
	const char text[] = "caf\xc3\xa9 caf\0caf";
	struct index *ix = build(text, sizeof(text) - 1);

	(void)state;
	assert_int_equal(count(ix, "caf"), 3);
	free(ix);
}

static void a_text_without_words_has_an_empty_index(void **state)
{
	struct index *ix = build(" \n-.,", 5);

	(void)state;
	assert_int_equal(ix->words, 0);
	assert_int_equal(count(ix, "a"), 0);
	free(ix);
}

static void the_densest_text_fits_in_the_size_computed(void **state)
{
	size_t size, i;
	char *text;

	(void)state;
	for (size = 1; size <= 1 << 20; size = size * 2 + 1) {
		struct index *ix;

		text = malloc(size);
		assert_non_null(text);
		for (i = 0; i < size; i++)
			text[i] = i % 2 ? ' ' : 'a';
		ix = build(text, size);
		assert_int_equal(count(ix, "a"), (size + 1) / 2);
		free(ix);
		free(text);
	}
}

static void one_word_as_long_as_the_text_fits(void **state)
{
	size_t size = 1 << 20;
	char *text = malloc(size + 1);
	struct index *ix;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', size);
	text[size] = '\0';
	ix = build(text, size);
	assert_int_equal(count(ix, text), 1);
	free(ix);
	free(text);
}

static void all_words_different_fit(void **state)
{
	size_t size = 0, room = 1 << 20;
	char *text = malloc(room);
	struct index *ix;
	unsigned int i;

	(void)state;
	assert_non_null(text);
	for (i = 0; size + 8 < room; i++)
		size += (size_t)sprintf(text + size, "%x ", i);
	ix = build(text, size);
	assert_int_equal(ix->distinct, i);
	assert_int_equal(count(ix, "0"), 1);
	assert_int_equal(count(ix, "ff"), 1);
	free(ix);
	free(text);
}

static void too_little_memory_is_refused(void **state)
{
	const char *text = "one two three four five six seven";
	size_t size = strlen(text), room;
	char *memory;

	(void)state;
	for (room = 0; room < index_size(size); room += 64) {
		struct index *ix;

		memory = calloc(1, room ? room : 1);
		assert_non_null(memory);
		ix = index_build(memory, room, text, size);
		if (ix)
			assert_int_equal(ix->words, 7);
		free(memory);
	}
}

static void random_texts_agree_with_a_naive_count(void **state)
{
	static const char letters[] = "aab_1 \n-";
	static const char *const words[] = { "a", "b", "aa", "ab", "a_", "1",
					     "_", "aab", "a1" };
	char text[2000];
	unsigned int round, i;

	(void)state;
	srand(1);
	for (round = 0; round < 200; round++) {
		size_t size = (size_t)rand() % sizeof(text);
		struct index *ix;

		for (i = 0; i < size; i++)
			text[i] = letters[(size_t)rand() % (sizeof(letters) - 1)];
		ix = build(text, size);
		for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			assert_int_equal(count(ix, words[i]),
					 naive_count(text, size, words[i]));
		free(ix);
	}
}

static void a_damaged_list_of_places_is_noticed(void **state)
{
	const char *text = "a b a b a";
	struct index *ix = build(text, strlen(text));
	struct node *n;

	(void)state;
	n = (struct node *)index_find(ix, "a", 1, word_hash("a", 1));
	assert_non_null(n);
	assert_true(node_sound(ix, n));
	n->count++;
	assert_false(node_sound(ix, n));
	n->count--;
	n->last->before->offset = 1000;
	assert_false(node_sound(ix, n));
	free(ix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_letters_digits_and_underscores),
		cmocka_unit_test(bytes_beyond_ascii_separate_words),
		cmocka_unit_test(a_text_without_words_has_an_empty_index),
		cmocka_unit_test(the_densest_text_fits_in_the_size_computed),
		cmocka_unit_test(one_word_as_long_as_the_text_fits),
		cmocka_unit_test(all_words_different_fit),
		cmocka_unit_test(too_little_memory_is_refused),
		cmocka_unit_test(random_texts_agree_with_a_naive_count),
		cmocka_unit_test(a_damaged_list_of_places_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
