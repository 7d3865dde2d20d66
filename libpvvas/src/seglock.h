/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lock of a lockable segment: shared or exclusive, between the threads of
 * all processes, robust against their death.
 *
 * It is made of robust mutexes.  Who reads holds one of the slots; who writes
 * holds the gate and all slots that were ever used.  Whoever wants either goes
 * through the gate, so writers are not starved.  The page it is in is ordinary
 * shared memory outside the window, where futexes work.
 */
#ifndef PVVAS_SEGLOCK_H
#define PVVAS_SEGLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define SEGLOCK_SLOTS	64
#define SEGLOCK_BYTES	4096

struct seglock {
	_Atomic uint32_t ready;		/* SEGLOCK_* */
	uint32_t used;			/* slots that were ever used */
	uint32_t writer;		/* held exclusively, or the owner died */
	uint32_t broken;		/* unlocked, but not made consistent */
	pthread_mutex_t gate;
	pthread_mutex_t slots[SEGLOCK_SLOTS];
};

_Static_assert(sizeof(struct seglock) <= SEGLOCK_BYTES, "one page");

/* How one thread holds it. */
struct seglock_hold {
	struct seglock *lock;
	int slot;		/* shared: which; exclusive: -1 */
	bool exclusive;
	bool owner_died;	/* and nobody has said yet that all is well */
};

/* Make the page a lock unless it is one. */
int seglock_init(struct seglock *lock);

/*
 * Take it, until @deadline (CLOCK_MONOTONIC) or for as long as it takes (NULL),
 * or not at all if it is taken (@try).  0; -EBUSY, -ETIMEDOUT,
 * -ENOTRECOVERABLE; with hold->owner_died set if a writer died in it.
 */
int seglock_take(struct seglock *lock, bool exclusive, bool try,
		 const struct timespec *deadline, struct seglock_hold *hold);
void seglock_release(struct seglock_hold *hold);
/* The data are in order again; -EINVAL if nobody had died, or held shared. */
int seglock_consistent(struct seglock_hold *hold);

#endif /* PVVAS_SEGLOCK_H */
