// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each call of the heaps of segments and VASes: what it gives, and what it says
 * where there is no heap.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

static int sid;

struct chain {
	struct chain *next;
};

/* In a VAS with one segment, writable. */
static void enter(size_t size)
{
	int vid = tcase_vas_with_seg(BASE, size, &sid);

	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
}

#define fails_with(error, expr) \
	do { \
		errno = 0; \
		check(!(expr)); \
		check_eq(errno, error); \
	} while (0)

/* Nothing of the heap of a segment works, and each call says why. */
static void no_heap_of(int id, int error)
{
	struct seg_heap_stat st = { .size = sizeof(st) };
	int x;

	check_eq(seg_heap_init(id), -error);
	check_eq(seg_heap_check(id), -error);
	check_eq(seg_heap_stat(id, &st), -error);
	check_eq(seg_heap_collect(id, 0, NULL, NULL), -error);
	check_eq(seg_free(id, &x), -error);
	check_eq(seg_free(id, NULL), 0);
	check_eq(seg_usable_size(id, &x), 0);
	fails_with(error, seg_root(id));
	fails_with(error, seg_malloc(id, 10));
	fails_with(error, seg_calloc(id, 1, 10));
	fails_with(error, seg_memalign(id, 64, 10));
	fails_with(error, seg_realloc(id, &x, 10));
}

static void no_heap_here(int error)
{
	int x;

	check_eq(vas_heap(), -error);
	check_eq(vas_free(&x), -error);
	check_eq(vas_free(NULL), 0);
	check_eq(vas_usable_size(&x), 0);
	fails_with(error, vas_root());
	fails_with(error, vas_malloc(10));
	fails_with(error, vas_calloc(1, 10));
	fails_with(error, vas_memalign(64, 10));
	fails_with(error, vas_realloc(&x, 10));
}

static void without_a_heap_each_call_says_why(void)
{
	int other = tcase_seg(NULL, BASE + 8 * MIB, MIB, 0600);

	no_heap_of(0, EINVAL);
	no_heap_of(-1, EINVAL);
	no_heap_of(other, EPERM);
	no_heap_here(EPERM);
	enter(MIB);
	no_heap_of(other, EPERM);
	no_heap_of(1 << 29, EPERM);
	BASE[8] = 1;
	no_heap_of(sid, EEXIST);
	no_heap_here(EEXIST);
	check_eq(BASE[8], 1);
}

static void a_segment_that_is_too_small_has_no_heap(void)
{
	enter(16384);
	no_heap_of(sid, EINVAL);
}

static void a_segment_that_is_read_only_here_has_no_heap(void)
{
	int vid = tcase_vas(NULL, 0600), id = tcase_seg(NULL, BASE, MIB, 0600);

	check_eq(seg_attach_prot(vid, id, 1), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	no_heap_of(id, EPERM);
	no_heap_here(ENOENT);
}

static void who_may_only_read_finds_the_root_as_well(void)
{
	int vid = tcase_vas(NULL, 0600), reader = tcase_vas(NULL, 0600);
	int id = tcase_seg(NULL, BASE, MIB, 0600);
	int writable, readable;
	void *value = BASE;

	check_eq(seg_attach(vid, id), 0);
	check_eq(seg_attach_prot(reader, id, 1), 0);
	writable = check_id(vas_attach(vid));
	readable = check_id(vas_attach(reader));
	check_eq(seg_root_get(id, &value), -EPERM);
	check_eq(seg_root_get(0, &value), -EINVAL);
	check_eq(vas_switch(readable), 0);
	check_eq(seg_root_get(id, &value), -ENOENT);
	check_eq(seg_root_get(id + 1000, &value), -EPERM);
	check(value == BASE);
	check_eq(vas_switch(writable), 0);
	check_eq(seg_heap_init(id), 0);
	check_eq(seg_root_get(id, &value), 0);
	check(!value);
	*seg_root(id) = BASE + 64;
	check_eq(vas_switch(readable), 0);
	check_eq(seg_root_get(id, &value), 0);
	check(value == BASE + 64);
}

static bool zero(const char *p, size_t n)
{
	while (n--)
		if (*p++)
			return false;
	return true;
}

static void each_call_gives_a_block_of_the_segment(void)
{
	char *p, *q;
	void **root;

	enter(4 * MIB);
	check_eq(seg_heap_init(sid), 0);
	check_eq(seg_heap_init(sid), 0);
	root = seg_root(sid);
	check((char *)root >= BASE && (char *)root < BASE + 4096);
	check(!*root);
	p = seg_malloc(sid, 100);
	check(p > BASE && p < BASE + 4 * MIB);
	check(seg_usable_size(sid, p) >= 100);
	memset(p, 0x55, 100);
	q = seg_calloc(sid, 7, 50);
	check(q && q != p && zero(q, 350));
	check(seg_usable_size(sid, q) >= 350);
	check_eq(seg_free(sid, q), 0);
	q = seg_memalign(sid, 4096, 100);
	check(q && !((uintptr_t)q % 4096));
	check_eq(seg_free(sid, q), 0);
	q = seg_realloc(sid, p, 10000);
	check(q && seg_usable_size(sid, q) >= 10000);
	check_eq(q[99], 0x55);
	check(seg_realloc(sid, NULL, 10));
	*root = q;
	check(*seg_root(sid) == q);
	fails_with(ENOMEM, seg_malloc(sid, 8 * MIB));
	fails_with(ENOMEM, seg_calloc(sid, SIZE_MAX, 2));
	fails_with(EINVAL, seg_memalign(sid, 3, 100));
	check_eq(seg_heap_check(sid), 0);
}

static void each_call_gives_a_block_of_the_vas(void)
{
	char *p, *q;

	enter(4 * MIB);
	check_eq(vas_heap(), sid);
	check(vas_root() == seg_root(sid));
	p = vas_malloc(100);
	check(p && vas_usable_size(p) >= 100 &&
	      vas_usable_size(p) == seg_usable_size(sid, p));
	memset(p, 0x55, 100);
	q = vas_calloc(7, 50);
	check(q && q != p && zero(q, 350));
	check_eq(vas_free(q), 0);
	check_eq(vas_free(q), -EALREADY);
	q = vas_memalign(4096, 100);
	check(q && !((uintptr_t)q % 4096));
	check_eq(vas_free(q), 0);
	q = vas_realloc(p, 10000);
	check(q && vas_usable_size(q) >= 10000);
	check_eq(q[99], 0x55);
	check_eq(vas_free(q + 16), -EINVAL);
	check_eq(vas_free(q), 0);
	fails_with(ENOMEM, vas_malloc(8 * MIB));
	fails_with(EINVAL, vas_memalign(3, 100));
}

static void a_heap_is_counted(void)
{
	struct seg_heap_stat st = { .size = sizeof(st) }, wrong = { .size = 1 };
	char *p[3];

	enter(4 * MIB);
	check_eq(seg_heap_stat(sid, NULL), -EINVAL);
	check_eq(seg_heap_stat(sid, &wrong), -EINVAL);
	check_eq(seg_heap_stat(sid, &st), 0);
	check_eq(st.size, sizeof(st));
	check_eq(st.reserved, 0);
	check(st.bytes > 3 * MIB && st.bytes < 4 * MIB);
	check_eq(st.used, 0);
	check_eq(st.blocks, 0);
	check_eq(st.free, st.bytes);
	check_eq(st.largest_free, st.bytes);
	check_eq(st.recoveries, 0);
	p[0] = seg_malloc(sid, MIB);
	p[1] = seg_malloc(sid, 8192);
	p[2] = seg_malloc(sid, MIB);
	check_eq(seg_free(sid, p[0]), 0);
	check_eq(seg_heap_stat(sid, &st), 0);
	check_eq(st.used, MIB + 8192);
	check_eq(st.blocks, 2);
	check_eq(st.free, st.bytes - MIB - 8192);
	check(st.largest_free < st.free);
	check_eq(st.largest_free, st.free - MIB > MIB ? st.free - MIB : MIB);
	check_eq(st.recoveries, 0);
}

static struct {
	int calls, sid, error;
	void *ptr;
} misuse;

static void on_misuse(int id, void *ptr, int error)
{
	misuse.calls++;
	misuse.sid = id;
	misuse.ptr = ptr;
	misuse.error = error;
}

static void told(int calls, void *ptr, int error)
{
	check_eq(misuse.calls, calls);
	check_eq(misuse.sid, sid);
	check(misuse.ptr == ptr);
	check_eq(misuse.error, error);
}

static void misuse_is_told_and_nothing_else(void)
{
	char *p, *q;

	enter(4 * MIB);
	p = seg_malloc(sid, 100);
	q = seg_malloc(sid, 100);
	check_eq(seg_free(sid, p + 1), -EINVAL);
	seg_heap_on_misuse(on_misuse);
	check_eq(seg_free(sid, p), 0);
	check(!seg_realloc(sid, q, 8 * MIB));
	check_eq(misuse.calls, 0);
	check_eq(seg_free(sid, p), -EALREADY);
	told(1, p, -EALREADY);
	check_eq(vas_free(q + 1), -EINVAL);
	told(2, q + 1, -EINVAL);
	fails_with(EALREADY, seg_realloc(sid, p, 10));
	told(3, p, -EALREADY);
	fails_with(EINVAL, vas_realloc(q + 8, 10));
	told(4, q + 8, -EINVAL);
	check(vas_realloc(q, 20));
	check_eq(misuse.calls, 4);
	seg_heap_on_misuse(NULL);
	check_eq(seg_free(sid, p), -EALREADY);
	check_eq(misuse.calls, 4);
}

/* The one with the lowest id that has a heap; or the only one, if blank. */
static void the_heap_of_a_vas_is_that_of_its_first_segment_with_one(void)
{
	int vid = tcase_vas(NULL, 0600), ids[4], i;

	for (i = 0; i < 4; i++) {
		ids[i] = tcase_seg(NULL, BASE + i * 4 * MIB, MIB, 0600);
		check_eq(i ? seg_attach(vid, ids[i]) :
			 seg_attach_prot(vid, ids[i], 1), 0);
	}
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	/* two and more that are blank: which? */
	no_heap_here(ENOENT);
	check_eq(seg_heap_init(ids[3]), 0);
	check_eq(vas_heap(), ids[3]);
	check((char *)vas_malloc(10) > BASE + 12 * MIB);
	check_eq(seg_heap_init(ids[1]), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	no_heap_here(EPERM);
}

/* What another process has overwritten is not the caller's mistake. */
static void a_heap_that_was_overwritten_is_no_misuse(void)
{
	uint64_t *word;
	char *p;

	enter(4 * MIB);
	p = seg_malloc(sid, 5000);
	check(p);
	/* in the table after the header: so many granules, at the block's place */
	word = (uint64_t *)(BASE + 8192) + 2 * ((p - BASE) / 512);
	*word |= UINT32_MAX;
	misuse.calls = 0;
	seg_heap_on_misuse(on_misuse);
	check_eq(seg_free(sid, p), -EUCLEAN);
	fails_with(EUCLEAN, seg_realloc(sid, p, 9000));
	check_eq(seg_usable_size(sid, p), 0);
	check_eq(seg_heap_collect(sid, 0, NULL, NULL), -EUCLEAN);
	check_eq(misuse.calls, 0);
	seg_heap_on_misuse(NULL);
}

/* Links a block, and dies with two that nothing leads to. */
static void leave_blocks(void *arg)
{
	struct chain *c;

	check_eq(vas_switch(check_id(vas_attach(*(int *)arg))), 0);
	c = seg_calloc(sid, 1, sizeof(*c));
	check(c && seg_calloc(sid, 1, 100) && seg_calloc(sid, 1, 10000));
	c->next = *seg_root(sid);
	*seg_root(sid) = c;
	raise(SIGKILL);
}

static void follow(struct seg_heap_trace *t, void *block, size_t size, void *arg)
{
	struct chain *c = block;

	(void)size;
	++*(int *)arg;
	if (c)
		seg_heap_reach(t, c->next);
}

static void what_nothing_leads_to_is_collected(void)
{
	struct seg_heap_stat st = { .size = sizeof(st) };
	int vid = tcase_vas_with_seg(BASE, 4 * MIB, &sid), visits = 0, i;
	const int64_t lost = 112 + 20 * 512;

	for (i = 0; i < 3; i++)
		tcase_join_killed(tcase_spawn(leave_blocks, &vid), SIGKILL);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check_eq(seg_heap_collect(sid, SEG_HEAP_COUNT << 1, NULL, NULL),
		 -EINVAL);
	check_eq(seg_heap_collect(sid, SEG_HEAP_COUNT, NULL, NULL), 3 * lost);
	check_eq(seg_heap_collect(sid, SEG_HEAP_COUNT, follow, &visits),
		 3 * lost);
	check_eq(visits, 4);
	check_eq(seg_heap_stat(sid, &st), 0);
	check_eq(st.blocks, 9);
	check_eq(seg_heap_collect(sid, 0, NULL, NULL), 3 * lost);
	check_eq(seg_heap_stat(sid, &st), 0);
	check_eq(st.blocks, 3);
	check(((struct chain *)*seg_root(sid))->next->next);
}

static uint64_t resident(void)
{
	struct seg_stat stat = { .size = sizeof(stat) };

	check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), 0);
	return stat.resident;
}

#define HOLES	(100 * MIB)

static void a_large_block_is_searched_where_it_has_memory(void)
{
	char **block, *last;
	uint64_t before;

	enter(HOLES + 16 * MIB);
	block = seg_malloc(sid, HOLES);
	*seg_root(sid) = block;
	block[0] = seg_malloc(sid, 100);
	block[HOLES / 2 / sizeof(*block)] = seg_malloc(sid, 100);
	last = seg_malloc(sid, 100);
	block[HOLES / sizeof(*block) - 1] = last;
	check(last && seg_malloc(sid, 200));
	before = resident();
	check_eq(seg_heap_collect(sid, SEG_HEAP_COUNT, NULL, NULL), 208);
	check_eq(seg_heap_collect(sid, 0, NULL, NULL), 208);
	tcase_note("%lu KiB, then %lu", (unsigned long)before >> 10,
		   (unsigned long)resident() >> 10);
	check(resident() <= before + MIB);
	check_eq(seg_usable_size(sid, block[0]), 112);
	check_eq(seg_usable_size(sid, block[HOLES / 2 / sizeof(*block)]), 112);
	check_eq(seg_usable_size(sid, last), 112);
}

static const struct tcase cases[] = {
	CASE(without_a_heap_each_call_says_why),
	CASE(a_segment_that_is_too_small_has_no_heap),
	CASE(a_segment_that_is_read_only_here_has_no_heap),
	CASE(who_may_only_read_finds_the_root_as_well),
	CASE(each_call_gives_a_block_of_the_segment),
	CASE(each_call_gives_a_block_of_the_vas),
	CASE(a_heap_is_counted),
	CASE(misuse_is_told_and_nothing_else),
	CASE(a_heap_that_was_overwritten_is_no_misuse),
	CASE(what_nothing_leads_to_is_collected),
	CASE(a_large_block_is_searched_where_it_has_memory),
	CASE(the_heap_of_a_vas_is_that_of_its_first_segment_with_one),
};

TCASE_MAIN(cases, 0)
