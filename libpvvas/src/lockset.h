/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which locks a switch takes.
 *
 * An attachment whose VAS shows lockable segments has a set of their locks.
 * Its entry in the table of the fast switch stays empty, and so does the table
 * of a thread that holds locks: every switch that has to do with locks goes
 * another way, and no other one pays anything.
 */
#ifndef PVVAS_LOCKSET_H
#define PVVAS_LOCKSET_H

#include <limits.h>
#include <stdbool.h>

#include "internal.h"
#include "seglock.h"

struct lockset_entry {
	const struct seglock *lock;
	unsigned int flags;	/* SEGLOCK_EXCLUSIVE or 0 */
};

/* It does not change once others can find it, but for @slot and @need. */
struct lockset {
	struct lockset *next;	/* of those that are to be freed */
	int vh;
	unsigned int nr;	/* at least one */
	unsigned int room;	/* that a thread needs to take them all */
	atomic_uint slot;	/* of the view, as far as anyone knows */
	/* @room, or LOCKSET_NO_SLOT where @slot says nothing */
	atomic_uint need;
	struct lockset_entry entries[];	/* in the order of sid */
};

#define LOCKSET_NO_SLOT	UINT_MAX

/* By index of the handle; NULL before there is any set. */
extern _Atomic(lockset_ptr *) lock_sets
	__attribute__((visibility("hidden")));

static inline lockset_ptr *lockset_entry(int vh)
{
	lockset_ptr *table = atomic_load_explicit(&lock_sets,
						  memory_order_acquire);

	return table ? &table[PVVAS_HANDLE_INDEX(vh)] : NULL;
}

/* Find out what the attachment's set is; 0 or -errno. */
int lockset_update(int vh);
void lockset_forget(int vh);
/* Around a fork; in the child attachments and locks are the parent's. */
void lockset_before_fork(void);
void lockset_after_fork(void);
void lockset_forked(void);

/*
 * The attachment's set or NULL.  It stays until lockset_leave(), whatever
 * becomes of the attachment; @in: the thread's @using or @looking.
 */
static inline struct lockset *lockset_enter(lockset_ptr *in, int vh)
{
	/* there is a table: no thread is prepared before it is needed */
	lockset_ptr *e =
		&atomic_load_explicit(&lock_sets, memory_order_acquire)
			[PVVAS_HANDLE_INDEX(vh)];
	struct lockset *set;

	do {
		set = atomic_load_explicit(e, memory_order_acquire);
		if (!set)
			return NULL;
		atomic_store(in, set);
		/* a thread that takes it away looks at @in after that */
	} while (__builtin_expect(atomic_load(e) != set, 0));
	return set;
}

static inline void lockset_leave(lockset_ptr *in)
{
	atomic_store_explicit(in, NULL, memory_order_release);
}

/* From now on threads enter without the driver, or ask it again. */
static inline void lockset_set_slot(struct lockset *set, unsigned int slot)
{
	atomic_store(&set->slot, slot);
	atomic_store(&set->need, set->room);
}

static inline void lockset_ask_again(struct lockset *set)
{
	atomic_store(&set->need, LOCKSET_NO_SLOT);
}

static inline bool lockset_exists(int vh)
{
	lockset_ptr *e = lockset_entry(vh);

	return e && atomic_load_explicit(e, memory_order_acquire);
}

/* The calling thread, known to the backend, with room for @nr locks. */
int lock_thread_prepare(unsigned int nr);

/* Switch lockable on or off; the mark of consistence; a lost lock as new. */
int lockset_enable(int sid, bool on);
int lockset_consistent(int sid);
int lockset_reset(int sid);

/* A switch with locks on either side. */
int locked_switch(const struct pvvas_backend *be, int vh, int prev,
		  const struct lock_wait *wait);
/* Let go of all that the thread holds; it is home. */
void locks_release(struct lock_thread *me);
/*
 * What the thread holds of the set that it uses: listed in @held from now on, by
 * a thread that has nothing there.
 */
void locks_list(struct lock_thread *me, const struct lockset_entry *e,
		unsigned int nr);

/* Around all that changes what is listed. */
void locks_begin(struct lock_thread *me);
void locks_end(struct lock_thread *me);

/*
 * Is the thread in the middle of a switch that takes or releases locks?  Then
 * this is the handler of a signal.
 */
static inline bool locks_change(const struct lock_thread *me)
{
	return atomic_load(&me->changing) ||
	       (atomic_load(&me->using) && __pvvas_self.slots != pvvas_no_slots);
}

/* Does the calling thread hold locks? */
static inline bool locks_held(void)
{
	return lock_self && (lock_self->used || lock_self->using);
}

#endif /* PVVAS_LOCKSET_H */
