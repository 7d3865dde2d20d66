// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A heap whose data are overwritten at random, between calls and during them:
 * calls may fail, but they touch nothing outside of the heap's range, hand out
 * nothing outside of it, and come to an end.
 *
 *   heap_hostile [SECONDS [SEED]]
 *
 * Around the range lies as much memory that cannot be accessed as any number of
 * 32 bits in the heap's data can lead to.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <heap_layout.h>

#include "heap/support.h"

#define SIZE		(64UL << 10)
#define BEFORE		(1UL << 40)
#define AFTER		(3UL << 40)
#define BLOCKS		64
/* Longest that one call may take, on a busy machine. */
#define STUCK_SECONDS	100

static unsigned int seconds = 5;
static uint64_t seed = 1;
static struct pvvas_heap heap;
static char *memory;

/* Two words of each descriptor, and the header. */
#define META_WORDS	((HEAP_HEADER_SIZE + SIZE / GRANULE * 16) / 8)

/* In a child, which ends with it: the parent sees the signal. */
static void must(bool cond, const char *what)
{
	if (cond)
		return;
	fprintf(stderr, "# %s\n", what);
	abort();
}

static void reserve(void)
{
	char *p = mmap(NULL, BEFORE + AFTER, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	memory = p + BEFORE;
	p = mmap(memory, SIZE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_ptr_equal(p, memory);
}

static int setup(void **state)
{
	(void)state;
	reserve();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	munmap(memory - BEFORE, BEFORE + AFTER);
	return 0;
}

/* The other one may have written before it is open. */
static void start_anew(void)
{
	int tries = 100000, err;

	do {
		memset(memory, 0, SIZE);
		err = pvvas_heap_open(&heap, memory, SIZE, 1, this_process());
	} while (err && tries--);
	must(!err, "open");
}

/* Numbers that mean something, more often than not. */
static uint64_t bad_value(uint64_t *r, uint64_t old)
{
	static const uint64_t kinds[] = { 0, 1, 2, 3, 4, 5, 0x40, 0x41, 0x5f,
					  0x6f, 0x70, 0xff };
	uint64_t x = next_random(r);

	switch (x % 9) {
	case 0:
		return x;
	case 1:
		return old ^ 1ULL << (x >> 8) % 64;
	case 2:
		return kinds[(x >> 8) % 12] << 56 | (uint32_t)(x >> 16);
	case 3:
		return kinds[(x >> 8) % 12] << 56 |
			(uint32_t)(x >> 16) % (2 * SIZE / GRANULE);
	case 4:
		/* links: to granules, two in a word */
		return (x >> 16) % (SIZE / GRANULE) << 32 |
			(x >> 40) % (SIZE / GRANULE);
	case 5:
		return old + (x >> 8) % 5 - 2;
	case 6:
		/* free blocks beyond the last one */
		return (old & ~0ULL << 32) | (uint32_t)x << 16;
	case 7:
		/* a slab, all free */
		return slab_word((x >> 8) % HEAP_CLASSES,
				 pvvas_heap_classes[(x >> 8) % HEAP_CLASSES].full);
	default:
		return *((uint64_t *)memory + (x >> 8) % META_WORDS);
	}
}

/* Overwrite something; mostly what is used, sometimes the magic number. */
static void spoil(uint64_t *r)
{
	uint64_t x = next_random(r), at = x % META_WORDS;
	uint64_t *word = (uint64_t *)memory + at;

	__atomic_store_n(word, bad_value(r, *word), __ATOMIC_RELAXED);
}

static void must_be_inside(const char *p, size_t size)
{
	must(p >= memory && p < memory + SIZE &&
	     size <= (size_t)(memory + SIZE - p), "a block is not in the heap");
}

/* What is behind these pointers may be in use by others as well by now. */
static void use_heap(void **blocks, uint64_t *r)
{
	uint64_t x = next_random(r);
	size_t size = random_size(r), usable;
	void **p = &blocks[(x >> 8) % BLOCKS], *q = *p;
	struct pvvas_heap again;
	uint64_t bytes;

	alarm(STUCK_SECONDS);
	switch (x % 16) {
	case 0:
		if (x >> 16 & 1)
			pvvas_heap_check(&heap, NULL);
		else
			pvvas_heap_collect(&heap, x >> 17 & 1, NULL, NULL,
					   &bytes);
		return;
	case 1:
		q = pvvas_heap_memalign(&heap, 1UL << (x >> 16) % 20, size);
		break;
	case 2:
		q = pvvas_heap_realloc(&heap, q, size);
		break;
	case 3:
		pvvas_heap_free(&heap, memory + (x >> 16) % SIZE);
		return;
	case 4:
		pvvas_heap_open(&again, memory, SIZE, 1 + (x >> 16) % 2,
				this_process());
		return;
	case 5:
		q = pvvas_heap_calloc(&heap, 1, size);
		break;
	case 6:
	case 7:
	case 8:
	case 9:
		q = pvvas_heap_malloc(&heap, size);
		break;
	default:
		usable = pvvas_heap_usable(&heap, q);
		if (usable)
			must_be_inside(q, usable);
		pvvas_heap_free(&heap, q);
		*p = NULL;
		return;
	}
	if (!q)
		return;
	must_be_inside(q, size);
	*p = q;
}

/* Of one process: it spoils the heap itself, between two calls. */
static void suffer(uint64_t r)
{
	void *blocks[BLOCKS] = { NULL };
	time_t end = time(NULL) + seconds;
	uint64_t rounds = 0;
	int i;

	this_process()->patience = 1;
	for (; time(NULL) < end; rounds++) {
		memset(blocks, 0, sizeof(blocks));
		start_anew();
		for (i = 0; i < 200; i++)
			use_heap(blocks, &r);
		for (i = 0; i < 40; i++) {
			spoil(&r);
			use_heap(blocks, &r);
			use_heap(blocks, &r);
		}
	}
	fprintf(stderr, "# %llu heaps\n", (unsigned long long)rounds);
}

/* Beside another process that never stops. */
static void suffer_from_another(uint64_t r)
{
	void *blocks[BLOCKS] = { NULL };
	time_t end = time(NULL) + seconds;
	uint64_t calls = 0;

	this_process()->patience = 1;
	start_anew();
	for (; time(NULL) < end; calls++) {
		if (calls % 1000 == 0)
			start_anew();
		use_heap(blocks, &r);
	}
	fprintf(stderr, "# %llu calls\n", (unsigned long long)calls);
}

static void spoil_on_and_on(uint64_t r)
{
	unsigned int i;

	for (;;) {
		spoil(&r);
		/* sometimes a few changes of the heap's own in between */
		for (i = next_random(&r) % 4096; i; i--)
			__builtin_ia32_pause();
	}
}

static pid_t start(void (*what)(uint64_t r))
{
	uint64_t r = next_random(&seed);
	pid_t pid;

	this_process();
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		what(r);
		_exit(0);
	}
	return pid;
}

static void end_well(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_spoilt_heap_leads_nowhere_else(void **state)
{
	(void)state;
	end_well(start(suffer));
}

static void a_heap_that_is_being_spoilt_leads_nowhere_else(void **state)
{
	pid_t hostile = start(spoil_on_and_on), victim;

	(void)state;
	victim = start(suffer_from_another);
	end_well(victim);
	kill(hostile, SIGKILL);
	waitpid(hostile, NULL, 0);
}

/* Where nothing is but addresses: 2^29 granules. */
#define SPARSE		(1UL << 38)

static double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint32_t granule_of(const struct pvvas_heap *h, const void *p)
{
	return (uint32_t)(((const char *)p - h->base) / GRANULE);
}

/* A sparse heap with nothing free but two runs of 16 granules. */
static struct pvvas_heap two_runs(uint32_t *a, uint32_t *b)
{
	struct pvvas_heap h = new_heap(SPARSE);
	void *p[4];
	size_t i, rest;

	for (i = 0; i < 4; i++) {
		p[i] = pvvas_heap_malloc(&h, 16 * GRANULE);
		assert_non_null(p[i]);
	}
	rest = (h.end - granule_of(&h, p[3]) - 16UL) * GRANULE;
	assert_non_null(pvvas_heap_malloc(&h, rest));
	*a = granule_of(&h, p[0]);
	*b = granule_of(&h, p[2]);
	assert_int_equal(pvvas_heap_free(&h, p[0]), 0);
	assert_int_equal(pvvas_heap_free(&h, p[2]), 0);
	return h;
}

static void a_circle_of_runs_in_a_sparse_heap_is_walked_once(void **state)
{
	uint32_t a, b;
	struct pvvas_heap h = two_runs(&a, &b);
	double begin;

	(void)state;
	h.table[a].next = b;
	h.table[b].next = a;
	begin = cpu_seconds();
	errno = 0;
	/* there is none at such an address: each run is looked at */
	assert_null(pvvas_heap_memalign(&h, 1UL << 30, 16 * GRANULE));
	assert_int_equal(errno, EUCLEAN);
	assert_true(cpu_seconds() - begin < 0.1);
	drop_heap(&h);
}

static void a_list_of_slabs_whose_first_one_stays_is_left(void **state)
{
	struct pvvas_heap h = new_heap(SPARSE);
	uint32_t slab, i;
	double begin;
	void *p;

	(void)state;
	p = pvvas_heap_malloc(&h, 64);
	assert_non_null(p);
	/* not a slab with room, and behind another one that there is not */
	slab = granule_of(&h, pvvas_heap_malloc(&h, 5000));
	for (i = 0; i < HEAP_CLASSES; i++)
		h.hdr->slabs[i] = slab;
	h.table[slab].prev = h.end + 1;
	begin = cpu_seconds();
	for (i = 1; i < 100; i++)
		pvvas_heap_malloc(&h, 64);
	assert_true(cpu_seconds() - begin < 0.1);
	drop_heap(&h);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_spoilt_heap_leads_nowhere_else),
		TEST(a_heap_that_is_being_spoilt_leads_nowhere_else),
		TEST(a_circle_of_runs_in_a_sparse_heap_is_walked_once),
		TEST(a_list_of_slabs_whose_first_one_stays_is_left),
	};

	if (argc > 1)
		seconds = (unsigned int)atoi(argv[1]);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
