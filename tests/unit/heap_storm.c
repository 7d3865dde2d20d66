// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Processes that hammer one heap, one of which is killed every tenth of a
 * second: no block is lost but those in a dead hand, none is given out twice,
 * no thread waits for the dead, and the heap stays sound.
 *
 *   heap_storm [SECONDS [SEED]]
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "heap/support.h"

#define WORKERS		8
#define OWN		300
#define COMMON		1000
#define HEAP_SIZE	(32UL << 20)
#define KILL_MS		100
/* Longest that a worker may be without a result, on a busy machine. */
#define STUCK_SECONDS	20

/* What a block begins with; the rest is the pattern for its key. */
struct block {
	uint64_t size;
	uint64_t key;
};

struct shared {
	_Atomic(struct block *) own[WORKERS][OWN];
	_Atomic(struct block *) common[COMMON];
	_Atomic uint64_t calls[WORKERS];
	_Atomic bool stop;
};

static unsigned int seconds = 5;
static uint64_t seed = 1;
static struct shared *shared;
static struct pvvas_heap heap;

static bool is_whole(const struct block *b)
{
	return is_filled(b + 1, b->size - sizeof(*b), b->key);
}

/* A worker's test; the parent sees the signal. */
static void must(bool cond, const char *what)
{
	if (cond)
		return;
	fprintf(stderr, "# worker: %s\n", what);
	abort();
}

static struct block *make(uint64_t *r)
{
	size_t size = random_size(r) / 4 + sizeof(struct block);
	struct block *b = pvvas_heap_malloc(&heap, size);

	must(b, "memory is short");
	b->size = size;
	b->key = next_random(r);
	fill(b + 1, size - sizeof(*b), b->key);
	return b;
}

static struct block *resize(struct block *b, uint64_t *r)
{
	size_t size = random_size(r) / 4 + sizeof(*b);
	size_t common = size < b->size ? size : b->size;

	b = pvvas_heap_realloc(&heap, b, size);
	must(b, "memory is short");
	must(is_filled(b + 1, common - sizeof(*b), b->key),
	     "realloc lost something");
	b->size = size;
	fill(b + 1, size - sizeof(*b), b->key);
	return b;
}

static void release(struct block *b)
{
	must(is_whole(b), "a block was overwritten");
	must(!pvvas_heap_free(&heap, b), "free refused a block");
}

static void work(unsigned int me, uint64_t r)
{
	_Atomic(struct block *) *place;
	struct block *b;
	uint64_t what;

	assert_int_equal(pvvas_heap_open(&heap, heap.base, HEAP_SIZE, 1,
					 this_process()), 0);
	while (!atomic_load(&shared->stop)) {
		what = next_random(&r);
		if (what % 4 == 0) {
			place = &shared->common[(what >> 8) % COMMON];
			b = atomic_exchange(place, make(&r));
			if (b)
				release(b);
		} else {
			place = &shared->own[me][(what >> 8) % OWN];
			b = atomic_exchange(place, NULL);
			if (!b)
				atomic_store(place, make(&r));
			else if (what % 4 == 1)
				atomic_store(place, resize(b, &r));
			else
				release(b);
		}
		atomic_fetch_add(&shared->calls[me], 1);
	}
	_exit(0);
}

static pid_t start(unsigned int me)
{
	uint64_t r = next_random(&seed);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		work(me, r);
	}
	return pid;
}

/* Until @ms after the last time, however long the work took. */
static void wait_for_tick(struct timespec *tick, long ms)
{
	tick->tv_nsec += ms * 1000000L;
	tick->tv_sec += tick->tv_nsec / 1000000000L;
	tick->tv_nsec %= 1000000000L;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, tick, NULL);
}

/* Did each worker do something since it was looked at last? */
static void look_for_stuck(uint64_t seen[WORKERS], time_t since[WORKERS])
{
	uint64_t calls;
	int i;

	for (i = 0; i < WORKERS; i++) {
		calls = atomic_load(&shared->calls[i]);
		if (calls != seen[i])
			since[i] = time(NULL);
		seen[i] = calls;
		assert_true(time(NULL) - since[i] < STUCK_SECONDS);
	}
}

static uint64_t live_in(_Atomic(struct block *) *places, size_t nr,
			bool give_back)
{
	struct block *b;
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < nr; i++) {
		b = atomic_load(&places[i]);
		if (!b)
			continue;
		n++;
		assert_true(is_whole(b));
		if (give_back)
			assert_int_equal(pvvas_heap_free(&heap, b), 0);
	}
	return n;
}

static uint64_t live_blocks(bool give_back)
{
	uint64_t n = live_in(shared->common, COMMON, give_back);
	int i;

	for (i = 0; i < WORKERS; i++)
		n += live_in(shared->own[i], OWN, give_back);
	return n;
}

static void storm(pid_t pids[WORKERS], uint64_t *kills)
{
	uint64_t seen[WORKERS] = { 0 };
	time_t since[WORKERS], end = time(NULL) + seconds;
	struct timespec tick;
	unsigned int i;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &tick);
	for (i = 0; i < WORKERS; i++)
		since[i] = time(NULL);
	while (time(NULL) < end) {
		wait_for_tick(&tick, KILL_MS);
		i = next_random(&seed) % WORKERS;
		kill(pids[i], SIGKILL);
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		/* not one that ended by itself */
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGKILL);
		++*kills;
		pids[i] = start(i);
		look_for_stuck(seen, since);
		assert_int_equal(pvvas_heap_check(&heap, NULL), 0);
	}
}

static void killed_processes_leave_a_sound_heap(void **state)
{
	struct pvvas_heap_usage u;
	uint64_t kills = 0, live, calls = 0;
	pid_t pids[WORKERS];
	unsigned int i;
	int status;

	(void)state;
	shared = shared_memory(sizeof(*shared));
	heap = new_heap(HEAP_SIZE);
	for (i = 0; i < WORKERS; i++)
		pids[i] = start(i);
	storm(pids, &kills);
	atomic_store(&shared->stop, true);
	for (i = 0; i < WORKERS; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
		calls += atomic_load(&shared->calls[i]);
	}

	assert_int_equal(pvvas_heap_check(&heap, &u), 0);
	live = live_blocks(false);
	print_message("# %llu calls, %llu kills, %llu of them with the lock, %llu blocks lost with the dead\n",
		      (unsigned long long)calls, (unsigned long long)kills,
		      (unsigned long long)u.recoveries,
		      (unsigned long long)(u.blocks - live));
	/* a process that dies has two blocks at most in its hands */
	assert_true(u.blocks >= live);
	assert_true(u.blocks - live <= 2 * kills);
	assert_int_equal(live_blocks(true), live);
	assert_int_equal(count_blocks(&heap), u.blocks - live);
	drop_heap(&heap);
	drop_memory(shared, sizeof(*shared));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_processes_leave_a_sound_heap),
	};

	if (argc > 1)
		seconds = (unsigned int)atoi(argv[1]);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
