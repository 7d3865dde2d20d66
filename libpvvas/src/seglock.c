// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The lock of a lockable segment.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "seglock.h"

#define SEGLOCK_NEW	0
#define SEGLOCK_BUSY	1
#define SEGLOCK_READY	2

/* How long somebody else may take to make the lock before we do. */
#define INIT_TRIES	1000
#define INIT_PAUSE_US	1000

static int init_mutexes(struct seglock *lock)
{
	pthread_mutexattr_t attr;
	int err, i;

	err = pthread_mutexattr_init(&attr);
	if (err)
		return -err;
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	err = pthread_mutex_init(&lock->gate, &attr);
	for (i = 0; i < SEGLOCK_SLOTS && !err; i++)
		err = pthread_mutex_init(&lock->slots[i], &attr);
	pthread_mutexattr_destroy(&attr);
	return -err;
}

int seglock_init(struct seglock *lock)
{
	uint32_t old;
	int err, i;

	for (i = 0; i < INIT_TRIES; i++) {
		old = SEGLOCK_NEW;
		if (atomic_compare_exchange_strong(&lock->ready, &old,
						   SEGLOCK_BUSY))
			break;
		if (old == SEGLOCK_READY)
			return 0;
		usleep(INIT_PAUSE_US);
	}
	/* Nobody uses it before it is ready: who began has died. */
	err = init_mutexes(lock);
	atomic_store(&lock->ready, err ? SEGLOCK_NEW : SEGLOCK_READY);
	return err;
}

/* A mutex whose owner died is ours as it stands: the state is elsewhere. */
static int take_mutex(pthread_mutex_t *m, bool try,
		      const struct timespec *deadline)
{
	int err;

	if (try)
		err = pthread_mutex_trylock(m);
	else if (deadline)
		err = pthread_mutex_clocklock(m, CLOCK_MONOTONIC, deadline);
	else
		err = pthread_mutex_lock(m);
	if (err == EOWNERDEAD)
		err = pthread_mutex_consistent(m);
	return -err;
}

/* Where this thread looks for a slot first; a child's may be its parent's. */
static unsigned int first_slot(void)
{
	static __thread unsigned int tid;

	if (!tid)
		tid = (unsigned int)gettid();
	return tid;
}

static int take_shared(struct seglock *lock, bool try,
		       const struct timespec *deadline,
		       struct seglock_hold *hold)
{
	unsigned int first = first_slot(), i, slot;
	int err = -EBUSY;

	/* a slot that was used before, then a new one, then wait for one */
	for (i = 0; i < lock->used && err; i++) {
		slot = (first + i) % lock->used;
		err = take_mutex(&lock->slots[slot], true, NULL);
	}
	if (err && lock->used < SEGLOCK_SLOTS) {
		slot = lock->used++;
		err = take_mutex(&lock->slots[slot], true, NULL);
	}
	if (err) {
		slot = first % SEGLOCK_SLOTS;
		err = take_mutex(&lock->slots[slot], try, deadline);
	}
	if (!err)
		hold->slot = (int)slot;
	return err;
}

static int take_exclusive(struct seglock *lock, bool try,
			  const struct timespec *deadline,
			  struct seglock_hold *hold)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < lock->used; i++) {
		err = take_mutex(&lock->slots[i], try, deadline);
		if (err)
			break;
	}
	if (err) {
		while (i--)
			pthread_mutex_unlock(&lock->slots[i]);
		return err;
	}
	hold->slot = -1;
	return 0;
}

int seglock_take(struct seglock *lock, bool exclusive, bool try,
		 const struct timespec *deadline, struct seglock_hold *hold)
{
	int err;

	memset(hold, 0, sizeof(*hold));
	err = take_mutex(&lock->gate, try, deadline);
	if (err)
		return err;
	if (lock->broken)
		err = -ENOTRECOVERABLE;
	else if (exclusive)
		err = take_exclusive(lock, try, deadline, hold);
	else
		err = take_shared(lock, try, deadline, hold);
	if (err) {
		pthread_mutex_unlock(&lock->gate);
		return err;
	}
	hold->lock = lock;
	hold->exclusive = exclusive;
	/* With the gate in our hands: whoever has set this is no more. */
	hold->owner_died = lock->writer;
	if (exclusive)
		lock->writer = 1;
	else
		pthread_mutex_unlock(&lock->gate);
	return 0;
}

void seglock_release(struct seglock_hold *hold)
{
	struct seglock *lock = hold->lock;
	unsigned int i;

	if (hold->exclusive) {
		if (hold->owner_died)
			lock->broken = 1;
		lock->writer = 0;
		for (i = lock->used; i--;)
			pthread_mutex_unlock(&lock->slots[i]);
		pthread_mutex_unlock(&lock->gate);
	} else {
		pthread_mutex_unlock(&lock->slots[hold->slot]);
	}
	hold->lock = NULL;
}

int seglock_consistent(struct seglock_hold *hold)
{
	if (!hold->exclusive || !hold->owner_died)
		return -EINVAL;
	hold->owner_died = false;
	return 0;
}
