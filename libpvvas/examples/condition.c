// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A mutex and a condition variable inside a segment, made of seg_wait() and
 * seg_wake(); and a queue between two processes that see the segment at two
 * addresses.
 *
 *   condition
 *
 * They are not robust: a thread that dies with the mutex leaves it locked.  Lockable
 * segments (vas_switch(3)) are.
 */
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#define SIZE	(1UL << 21)
#define ITEMS	1000
#define ROOM	8

/* 0: free, 1: locked, 2: locked, and a thread may be waiting */
struct mutex {
	_Atomic uint32_t state;
};

static void mutex_lock(struct mutex *m)
{
	uint32_t seen = 0;

	if (atomic_compare_exchange_strong(&m->state, &seen, 1))
		return;
	while (atomic_exchange(&m->state, 2))
		seg_wait((uint32_t *)&m->state, 2, NULL);
}

static void mutex_unlock(struct mutex *m)
{
	if (atomic_exchange(&m->state, 0) == 2)
		seg_wake((uint32_t *)&m->state, 1);
}

/* Counts signals: one that comes before the wait makes it not begin. */
struct condition {
	_Atomic uint32_t signals;
};

static void condition_wait(struct condition *c, struct mutex *m)
{
	uint32_t seen = atomic_load(&c->signals);

	mutex_unlock(m);
	seg_wait((uint32_t *)&c->signals, seen, NULL);
	mutex_lock(m);
}

static void condition_broadcast(struct condition *c)
{
	atomic_fetch_add(&c->signals, 1);
	seg_wake((uint32_t *)&c->signals, INT_MAX);
}

struct queue {
	struct mutex mutex;
	struct condition changed;
	unsigned int first, nr;
	int items[ROOM];
};

static void put(struct queue *q, int item)
{
	mutex_lock(&q->mutex);
	while (q->nr == ROOM)
		condition_wait(&q->changed, &q->mutex);
	q->items[(q->first + q->nr++) % ROOM] = item;
	condition_broadcast(&q->changed);
	mutex_unlock(&q->mutex);
}

static int get(struct queue *q)
{
	int item;

	mutex_lock(&q->mutex);
	while (!q->nr)
		condition_wait(&q->changed, &q->mutex);
	item = q->items[q->first++ % ROOM];
	q->nr--;
	condition_broadcast(&q->changed);
	mutex_unlock(&q->mutex);
	return item;
}

static int fail(const char *what, int err)
{
	fprintf(stderr, "condition: %s: %s\n", what, strerror(-err));
	return 1;
}

/* Into a VAS of this process's own that shows the segment. */
static int go(int sid)
{
	int vid = vas_create(NULL, 0600), err;

	err = vid < 0 ? vid : seg_attach(vid, sid);
	if (!err)
		err = vas_attach(vid);
	return err > 0 ? vas_switch(err) : err;
}

static int producer(int sid)
{
	struct queue *q;
	size_t size;
	int i, err;

	err = seg_range(sid, (void **)&q, &size);
	if (!err)
		err = go(sid);
	if (err)
		return fail("the producer's VAS", err);
	for (i = 1; i <= ITEMS; i++)
		put(q, i);
	return 0;
}

int main(void)
{
	int sid = seg_alloc(NULL, NULL, SIZE, 0600), face, status, i, err;
	struct queue *q;
	size_t size;
	long sum = 0;
	pid_t pid;

	if (sid < 0)
		return fail("seg_alloc", sid);
	face = seg_map2(sid, NULL);
	if (face < 0)
		return fail("seg_map2", face);
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(producer(sid));
	err = seg_range(face, (void **)&q, &size);
	if (!err)
		err = go(face);
	if (err)
		return fail("the consumer's VAS", err);
	for (i = 0; i < ITEMS; i++)
		sum += get(q);
	vas_switch(VAS_HOME);
	waitpid(pid, &status, 0);
	printf("%d items, sum %ld\n", ITEMS, sum);
	return status || sum != (long)ITEMS * (ITEMS + 1) / 2;
}
