/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lock of a lockable segment, as one thread takes it: shared or exclusive,
 * between the threads of all processes, robust against their death.
 *
 * linux/pvvas.h has the protocol: a word that only those with the right to
 * write to the segment can write, an array of the thread's own for what it
 * holds shared, and the driver for all else.  What is uncontended is done here,
 * inline and without a system call.
 */
#ifndef PVVAS_SEGLOCK_H
#define PVVAS_SEGLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "internal.h"

struct lockset;
typedef _Atomic(struct lockset *) lockset_ptr;

/* A lock of this process, shared by the sets that have it (lockset.c). */
struct seglock {
	struct seglock *next;
	int sid;
	unsigned int refs;
	bool stale;		/* the segment has another one */
	uint32_t number;
	unsigned int element;	/* in the arrays of all threads */
	const atomic_uint *word;
	atomic_uint *writable;	/* the same, or NULL */
	/* what the driver alone writes: not 0 once the segment has another lock */
	const atomic_uint *gone;
};

/* How a thread holds one. */
struct seglock_hold {
	const struct seglock *lock;	/* NULL: an unused entry */
	unsigned int flags;		/* SEGLOCK_* */
};

#define SEGLOCK_EXCLUSIVE	(1U << 0)
/* a writer has died, and no thread has said that all is well */
#define SEGLOCK_DIED		(1U << 1)
/* taken by the switch that is being made */
#define SEGLOCK_FRESH		(1U << 2)

/*
 * A thread that takes locks.  @array, which the driver reads, has an element for
 * each lock of the process.  Other threads look at @using, @looking and at the
 * locks in @held, to know what they may free.
 *
 * What a switch took without the driver is not listed in @held: the thread holds
 * all of @using, from then until it goes home.  Only a switch without the driver
 * has anything in @using, and has put the table of the inline switch away as
 * long as it holds all; see locks_change().
 */
struct lock_thread {
	lockset_ptr using;	/* the first, which makes switches shorter */
	lockset_ptr looking;	/* by a switch that lists what it holds */
	struct lock_thread *next;
	unsigned int nr;	/* entries of @held that may be in use */
	unsigned int used;	/* entries that are in use */
	uint32_t number;
	uint32_t reader;	/* the word of a lock that only it reads */
	unsigned int room;	/* of @held, and of @array */
	/*
	 * The same, or 0: the next switch may not take locks without asking,
	 * because the thread has some in @held, or no table.
	 */
	unsigned int ready;
	int prev;	/* where the switch that uses @using began */
	atomic_uint *array;
	struct seglock_hold *held;
	size_t array_bytes;
	atomic_bool changing;	/* what is listed in @held */
	unsigned int exits;	/* rounds of destructors with locks held */
	/* The table of the inline switch, put away while there are locks. */
	const volatile uint16_t *slots;
};

extern __thread struct lock_thread *lock_self
	__attribute__((tls_model("initial-exec")));
/* The same, once the thread has the table of the inline switch; else NULL. */
extern __thread struct lock_thread *lock_inline
	__attribute__((tls_model("initial-exec")));

/* How to wait for locks. */
struct lock_wait {
	bool try;
	uint64_t deadline;	/* PVVAS_NO_DEADLINE: for ever */
};

static inline bool seglock_is_gone(const struct seglock *lock)
{
	return __builtin_expect(atomic_load_explicit(lock->gone,
				memory_order_relaxed), 0);
}

static inline bool seglock_try_exclusive(const struct lock_thread *me,
					 const struct seglock *lock)
{
	uint32_t word = 0;

	if (seglock_is_gone(lock))
		return false;
	if (atomic_compare_exchange_strong(lock->writable, &word, me->number))
		return true;
	/* the last thread that read was this one, and it does not now */
	return word == me->reader &&
	       atomic_compare_exchange_strong(lock->writable, &word,
					      me->number);
}

/*
 * The caller's number is in its array.  Does the word let it read, or can the
 * caller make it?
 */
static inline bool seglock_may_read(const struct lock_thread *me,
				    const struct seglock *lock)
{
	uint32_t word;

	word = atomic_load_explicit(lock->word, memory_order_acquire);
	if (__builtin_expect(word == PVVAS_LOCK_READERS || word == me->reader, 1))
		return true;
	return !word && lock->writable &&
		atomic_compare_exchange_strong(lock->writable, &word,
					       me->reader);
}

static inline bool seglock_try_shared(const struct lock_thread *me,
				      const struct seglock *lock)
{
	if (seglock_is_gone(lock))
		return false;
	/*
	 * A writer makes the word say so, and then looks here: the
	 * word is read after this store, which is a barrier.
	 */
	atomic_exchange(&me->array[lock->element], lock->number);
	if (seglock_may_read(me, lock))
		return true;
	atomic_store_explicit(&me->array[lock->element], 0,
			      memory_order_release);
	return false;
}

/* Ask the driver for what could not be had inline. */
int seglock_ask(struct lock_thread *me, unsigned int i,
		const struct lock_wait *wait);

/*
 * Take @lock, shared or with SEGLOCK_EXCLUSIVE in @flags, as entry @i of what
 * the thread holds.  0; -EBUSY, -ETIMEDOUT,
 * -ENOTRECOVERABLE, -ESTALE; with SEGLOCK_DIED set in the entry if a writer died in it.
 */
static inline int seglock_take(struct lock_thread *me, unsigned int i,
			       const struct seglock *lock, unsigned int flags,
			       const struct lock_wait *wait)
{
	struct seglock_hold *hold = &me->held[i];

	hold->flags = flags;
	hold->lock = lock;
	if (flags ? seglock_try_exclusive(me, lock) :
			seglock_try_shared(me, lock))
		return 0;
	return seglock_ask(me, i, wait);
}

/* Tell the driver: others wait, or the lock is lost. */
void seglock_tell(const struct seglock_hold *hold);

/* False: the driver has to be told, or it is tried once more. */
static inline bool seglock_try_release(struct lock_thread *me,
				       const struct seglock *lock,
				       unsigned int flags)
{
	uint32_t mine;

	if (__builtin_expect(flags & SEGLOCK_EXCLUSIVE, 0)) {
		mine = me->number;
		return atomic_compare_exchange_strong(lock->writable, &mine, 0);
	}
	/*
	 * A waiter makes the word say so, and then looks here: as in
	 * seglock_try_shared().
	 */
	atomic_exchange(&me->array[lock->element], 0);
	return !(atomic_load_explicit(lock->word, memory_order_relaxed) &
		 PVVAS_LOCK_WAITERS);
}

static inline void seglock_release(struct lock_thread *me, unsigned int i)
{
	struct seglock_hold *hold = &me->held[i];

	if (!seglock_try_release(me, hold->lock, hold->flags))
		seglock_tell(hold);
	__atomic_store_n(&hold->lock, NULL, __ATOMIC_RELEASE);
}

/* The data are in order again; -EINVAL if no thread had died, or held shared. */
int seglock_consistent(struct seglock_hold *hold);

#endif /* PVVAS_SEGLOCK_H */
