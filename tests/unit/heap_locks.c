// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The lock of a heap: threads that hold it and end, go on, or were copied with
 * the memory.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <heap_layout.h>

#include "heap/support.h"

#define SIZE	(1UL << 20)

static struct pvvas_heap heap;

static int setup(void **state)
{
	(void)state;
	heap = new_heap(SIZE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	this_process()->patience = 60;
	drop_heap(&heap);
	return 0;
}

static uint64_t recoveries(const struct pvvas_heap *h)
{
	struct pvvas_heap_usage u;

	assert_int_equal(pvvas_heap_check(h, &u), 0);
	return u.recoveries;
}

static void *lock_and_end(void *arg)
{
	(void)arg;
	return pvvas_heap_lock(&heap) ? "lock" : NULL;
}

static void a_thread_that_ends_with_the_lock_loses_it(void **state)
{
	pthread_t thread;
	void *failed;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, lock_and_end, NULL), 0);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	assert_non_null(pvvas_heap_malloc(&heap, 5000));
	assert_int_equal(recoveries(&heap), 1);
}

static void a_process_that_ends_with_the_lock_loses_it(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	assert_true(pid >= 0);
	if (!pid)
		_exit(pvvas_heap_lock(&heap) ? 1 : 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_non_null(pvvas_heap_malloc(&heap, 5000));
	assert_int_equal(recoveries(&heap), 1);
}

/* A thread that holds the lock from the first meeting to the second. */
static pthread_barrier_t meet;

static void *lock_for_long(void *arg)
{
	int err = pvvas_heap_lock(&heap);

	(void)arg;
	pthread_barrier_wait(&meet);
	pthread_barrier_wait(&meet);
	if (!err)
		pvvas_heap_unlock(&heap);
	return err ? "lock" : NULL;
}

static pthread_t start_holder(void)
{
	pthread_t thread;

	assert_int_equal(pthread_barrier_init(&meet, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, lock_for_long, NULL), 0);
	pthread_barrier_wait(&meet);
	return thread;
}

static void end_holder(pthread_t thread)
{
	void *failed;

	pthread_barrier_wait(&meet);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	pthread_barrier_destroy(&meet);
}

static void a_lock_that_is_held_on_and_on_is_a_time_out(void **state)
{
	void *p = pvvas_heap_malloc(&heap, 5000), *small, *full[32];
	pthread_t thread;
	int i;

	(void)state;
	for (i = 0; i < 32; i++)
		full[i] = pvvas_heap_malloc(&heap, 64);
	small = pvvas_heap_malloc(&heap, 64);
	assert_non_null(p);
	assert_non_null(small);
	thread = start_holder();
	this_process()->patience = 1;
	errno = 0;
	assert_null(pvvas_heap_malloc(&heap, 5000));
	assert_int_equal(errno, ETIMEDOUT);
	assert_int_equal(pvvas_heap_free(&heap, p), -ETIMEDOUT);
	assert_int_equal(pvvas_heap_check(&heap, NULL), -ETIMEDOUT);
	/* these need no lock, or can do without */
	assert_int_equal(pvvas_heap_free(&heap, small), 0);
	assert_int_equal(pvvas_heap_free(&heap, full[0]), 0);
	end_holder(thread);
	assert_int_equal(pvvas_heap_free(&heap, p), 0);
	assert_int_equal(count_blocks(&heap), 31);
	assert_int_equal(recoveries(&heap), 0);
}

static void a_thread_that_has_the_lock_does_not_wait_for_itself(void **state)
{
	void *p = pvvas_heap_malloc(&heap, 5000);

	(void)state;
	assert_int_equal(pvvas_heap_lock(&heap), 0);
	errno = 0;
	assert_null(pvvas_heap_malloc(&heap, 5000));
	assert_int_equal(errno, EDEADLK);
	assert_int_equal(pvvas_heap_free(&heap, p), -EDEADLK);
	pvvas_heap_unlock(&heap);
	assert_int_equal(pvvas_heap_free(&heap, p), 0);
}

static void ones_own_token_that_somebody_else_wrote_is_taken_over(void **state)
{
	struct heap_lock *lock = &heap.hdr->lock;
	uint64_t token;
	void *p;

	(void)state;
	assert_int_equal(pvvas_heap_lock(&heap), 0);
	token = lock->owner;
	pvvas_heap_unlock(&heap);
	lock->owner = token;
	p = pvvas_heap_malloc(&heap, 5000);
	assert_non_null(p);
	assert_int_equal(recoveries(&heap), 1);
	assert_int_equal(pvvas_heap_free(&heap, p), 0);
}

static void a_copy_of_a_locked_heap_is_not_locked(void **state)
{
	struct pvvas_heap copy;
	pthread_t thread;
	void *memory;

	(void)state;
	assert_non_null(pvvas_heap_malloc(&heap, 5000));
	thread = start_holder();
	memory = shared_memory(SIZE);
	memcpy(memory, heap.base, SIZE);
	assert_int_equal(pvvas_heap_open(&copy, memory, SIZE, heap.memory + 1,
					 this_process()), 0);
	assert_int_equal(recoveries(&copy), 1);
	assert_int_equal(count_blocks(&copy), 1);
	end_holder(thread);
	/* and one of a heap that is not locked needs no recovery */
	memcpy(memory, heap.base, SIZE);
	assert_int_equal(recoveries(&copy), 0);
	drop_heap(&copy);
}

#define CALLS	100000

/* Two addresses of one memory, each used by a thread. */
struct face {
	struct pvvas_heap heap;
	uint64_t key;
	const char *failed;
};

static void *use_face(void *arg)
{
	struct face *f = arg;
	uint64_t r = f->key;
	void *p[64] = { NULL };
	size_t size[64], i;
	int k;

	for (k = 0; k < CALLS && !f->failed; k++) {
		i = next_random(&r) % 64;
		if (p[i]) {
			if (!is_filled(p[i], size[i], f->key + i))
				f->failed = "a block was given out twice";
			if (pvvas_heap_free(&f->heap, p[i]))
				f->failed = "free";
			p[i] = NULL;
			continue;
		}
		size[i] = 4097 + next_random(&r) % 9000;
		p[i] = pvvas_heap_malloc(&f->heap, size[i]);
		if (p[i])
			fill(p[i], size[i], f->key + i);
	}
	for (i = 0; i < 64; i++)
		if (p[i] && pvvas_heap_free(&f->heap, p[i]))
			f->failed = "free at the end";
	return NULL;
}

static void a_heap_is_used_at_two_addresses_at_once(void **state)
{
	int fd = memfd_create("two faces", MFD_CLOEXEC), i;
	pthread_t threads[2];
	struct face faces[2];
	void *p;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	for (i = 0; i < 2; i++) {
		p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_ptr_not_equal(p, MAP_FAILED);
		faces[i] = (struct face){ .key = (uint64_t)i << 32 };
		assert_int_equal(pvvas_heap_open(&faces[i].heap, p, SIZE, 7,
						 this_process()), 0);
	}
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_face,
						&faces[i]), 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_null(faces[i].failed);
	}
	assert_int_equal(recoveries(&faces[0].heap), 0);
	assert_int_equal(count_blocks(&faces[1].heap), 0);
	for (i = 0; i < 2; i++)
		drop_heap(&faces[i].heap);
	close(fd);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_thread_that_ends_with_the_lock_loses_it),
		TEST(a_process_that_ends_with_the_lock_loses_it),
		TEST(a_lock_that_is_held_on_and_on_is_a_time_out),
		TEST(a_thread_that_has_the_lock_does_not_wait_for_itself),
		TEST(ones_own_token_that_somebody_else_wrote_is_taken_over),
		TEST(a_copy_of_a_locked_heap_is_not_locked),
		TEST(a_heap_is_used_at_two_addresses_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
