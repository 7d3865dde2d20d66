// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Blocks that nothing leads to are found and freed, and no others.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "heap/support.h"

#define SIZE	(4UL << 20)

struct node {
	struct node *next;
	uint64_t value;
};

static void *allocate(const struct pvvas_heap *h, size_t size)
{
	void *p = pvvas_heap_calloc(h, 1, size);

	assert_non_null(p);
	return p;
}

static struct node *push(const struct pvvas_heap *h, size_t size)
{
	struct node *n = allocate(h, size), **root;

	root = (struct node **)pvvas_heap_root(h);
	n->next = *root;
	n->value = size;
	*root = n;
	return n;
}

static uint64_t collect(const struct pvvas_heap *h)
{
	uint64_t bytes = ~0ULL, counted = ~0ULL, blocks = count_blocks(h);

	assert_int_equal(pvvas_heap_collect(h, true, NULL, NULL, &counted), 0);
	assert_int_equal(count_blocks(h), blocks);
	assert_int_equal(pvvas_heap_collect(h, false, NULL, NULL, &bytes), 0);
	assert_int_equal(bytes, counted);
	assert_int_equal(pvvas_heap_collect(h, true, NULL, NULL, &counted), 0);
	assert_int_equal(counted, 0);
	return bytes;
}

static void what_nothing_leads_to_is_freed(void **state)
{
	static const size_t sizes[] = { 16, 100, 512, 4096, 5000, 100000 };
	struct pvvas_heap h = new_heap(SIZE);
	uint64_t lost = 0, kept = 0;
	struct node *n;
	size_t i;
	void *p;

	(void)state;
	assert_int_equal(collect(&h), 0);
	for (i = 0; i < 300; i++) {
		n = push(&h, sizes[i % 6] / (1 + i / 50));
		kept++;
		p = allocate(&h, sizes[i % 5]);
		lost += pvvas_heap_usable(&h, p);
		memset(p, 0x55, sizes[i % 5]);
		/* a block that only a lost one leads to is lost */
		if (i % 7 == 0)
			*(void **)p = n->next;
	}
	assert_int_equal(count_blocks(&h), 600);
	assert_int_equal(collect(&h), lost);
	assert_int_equal(count_blocks(&h), kept);
	for (n = *pvvas_heap_root(&h); n; n = n->next, kept--)
		assert_true(pvvas_heap_usable(&h, n) >= n->value);
	assert_int_equal(kept, 0);
	*pvvas_heap_root(&h) = NULL;
	collect(&h);
	assert_int_equal(count_blocks(&h), 0);
	drop_heap(&h);
}

static void an_address_inside_of_a_block_leads_to_it(void **state)
{
	static const size_t sizes[] = { 48, 4096, 70000 };
	struct pvvas_heap h = new_heap(SIZE);
	size_t i;
	char *p;

	(void)state;
	for (i = 0; i < 3; i++) {
		p = allocate(&h, sizes[i]);
		*pvvas_heap_root(&h) = p + sizes[i] - 1;
		assert_int_equal(collect(&h), 0);
		assert_int_equal(count_blocks(&h), 1);
		/* and one behind its end does not */
		*pvvas_heap_root(&h) = p + pvvas_heap_usable(&h, p);
		assert_true(collect(&h) >= sizes[i]);
		assert_int_equal(count_blocks(&h), 0);
	}
	*pvvas_heap_root(&h) = h.base - 8;
	assert_int_equal(collect(&h), 0);
	*pvvas_heap_root(&h) = h.base + SIZE;
	assert_int_equal(collect(&h), 0);
	*pvvas_heap_root(&h) = h.base;
	assert_int_equal(collect(&h), 0);
	drop_heap(&h);
}

static void a_circle_of_blocks_is_gone_through_once(void **state)
{
	struct pvvas_heap h = new_heap(SIZE);
	struct node *a = push(&h, 100), *b = push(&h, 100);

	(void)state;
	a->next = b;
	assert_int_equal(collect(&h), 0);
	assert_int_equal(count_blocks(&h), 2);
	*pvvas_heap_root(&h) = NULL;
	assert_int_equal(collect(&h), 2 * 112);
	drop_heap(&h);
}

/* The program marks its pointers in the lowest bits, and has one at home. */
struct known {
	void *at_home;
	unsigned int calls, starts;
};

static void visit(struct seg_heap_trace *t, void *block, size_t size, void *arg)
{
	struct known *known = arg;

	known->calls++;
	if (!block) {
		known->starts++;
		pvvas_heap_reach(t, known->at_home);
		return;
	}
	assert_true(size >= sizeof(uintptr_t));
	/* hidden from a search for addresses */
	pvvas_heap_reach(t, (void *)~*(uintptr_t *)block);
}

static void a_visitor_says_where_the_pointers_are(void **state)
{
	struct pvvas_heap h = new_heap(SIZE);
	uintptr_t *a = allocate(&h, 64), *b = allocate(&h, 6000);
	uintptr_t *c = allocate(&h, 300), *lost = allocate(&h, 300);
	struct known known = { .at_home = c };
	uint64_t bytes;

	(void)state;
	*pvvas_heap_root(&h) = a;
	*a = ~(uintptr_t)b;
	a[1] = (uintptr_t)lost;
	assert_int_equal(pvvas_heap_collect(&h, false, visit, &known, &bytes),
			 0);
	assert_int_equal(bytes, 320);
	assert_int_equal(known.starts, 1);
	assert_int_equal(known.calls, 4);
	assert_int_equal(count_blocks(&h), 3);
	assert_int_equal(pvvas_heap_usable(&h, lost), 0);
	drop_heap(&h);
}

static void without_memory_to_search_nothing_is_freed(void **state)
{
	struct pvvas_heap h = new_heap(64 * SIZE);
	struct rlimit none = { 0, 0 };
	uint64_t bytes = 0;
	int status;
	pid_t pid;
	int i;

	(void)state;
	for (i = 0; i < 20000; i++)
		push(&h, 5000);
	for (i = 0; i < 10; i++)
		allocate(&h, 5000);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		setrlimit(RLIMIT_AS, &none);
		_exit(pvvas_heap_collect(&h, false, NULL, NULL, &bytes) ==
		      -ENOMEM ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(count_blocks(&h), 20010);
	drop_heap(&h);
}

/* Some blocks are linked, most are not yet when the process dies. */
static void live_and_die(const struct pvvas_heap *h, atomic_uint *done,
			 uint64_t r)
{
	size_t bytes = 0, size;
	struct node *n;
	struct node **root = (struct node **)pvvas_heap_root(h);


	while (bytes < 50000) {
		size = random_size(&r) / 8 + sizeof(*n);
		n = pvvas_heap_malloc(h, size);
		if (!n)
			_exit(1);
		memset(n, 0, size);
		n->value = size;
		bytes += size;
		if (next_random(&r) % 16)
			continue;
		n->next = *root;
		__atomic_store_n(root, n, __ATOMIC_RELEASE);
	}
	atomic_fetch_add(done, 1);
	for (;;)
		pvvas_heap_free(h, pvvas_heap_malloc(h, random_size(&r) / 8));
}

/* Bytes that can be had in blocks of 4 KiB. */
static uint64_t to_be_had(const struct pvvas_heap *h)
{
	struct node *n, *all = NULL;
	uint64_t bytes = 0;

	while ((n = pvvas_heap_malloc(h, 4096)) != NULL) {
		n->next = all;
		all = n;
		bytes += 4096;
	}
	while (all) {
		n = all->next;
		assert_int_equal(pvvas_heap_free(h, all), 0);
		all = n;
	}
	return bytes;
}

static void after_sixty_deaths_nine_tenths_can_be_had_again(void **state)
{
	struct pvvas_heap h = new_heap(SIZE);
	uint64_t seed = 60, all = to_be_had(&h), linked = 0, before;
	atomic_uint *done = shared_memory(sizeof(*done));
	struct pvvas_heap_usage u;
	struct node *n;
	int i, status;
	pid_t pid;

	(void)state;
	for (i = 1; i <= 60; i++) {
		pid = fork();
		assert_true(pid >= 0);
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			pvvas_heap_forget_self();
			live_and_die(&h, done, next_random(&seed) + i);
		}
		while (atomic_load(done) < (unsigned int)i)
			assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(WTERMSIG(status), SIGKILL);
	}
	before = to_be_had(&h);
	assert_true(before < all / 2);
	collect(&h);
	for (n = *pvvas_heap_root(&h); n; n = n->next)
		linked += pvvas_heap_usable(&h, n);
	print_message("# %llu KiB to be had, %llu after 60 deaths, %llu once collected, %llu linked\n",
		      (unsigned long long)all >> 10,
		      (unsigned long long)before >> 10,
		      (unsigned long long)to_be_had(&h) >> 10,
		      (unsigned long long)linked >> 10);
	assert_true(linked > 0 && linked < all / 10);
	assert_int_equal(pvvas_heap_check(&h, &u), 0);
	assert_int_equal(u.used, linked);
	*pvvas_heap_root(&h) = NULL;
	collect(&h);
	assert_true(to_be_had(&h) >= all - all / 10);
	drop_memory(done, sizeof(*done));
	drop_heap(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_nothing_leads_to_is_freed),
		cmocka_unit_test(an_address_inside_of_a_block_leads_to_it),
		cmocka_unit_test(a_circle_of_blocks_is_gone_through_once),
		cmocka_unit_test(a_visitor_says_where_the_pointers_are),
		cmocka_unit_test(without_memory_to_search_nothing_is_freed),
		cmocka_unit_test(after_sixty_deaths_nine_tenths_can_be_had_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
