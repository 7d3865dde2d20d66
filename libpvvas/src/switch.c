// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What of a switch is not inline in pvvas.h.
 */
#include <errno.h>
#include <time.h>

#include "internal.h"
#include "lockset.h"
#include "vmfunc.h"

static int switch_slow(int vh, int prev, const struct lock_wait *wait)
{
	const struct pvvas_backend *be = pvvas_backend_opened();
	int err;

	if (!be) {
		/* Nothing was ever attached here, so there is only home. */
		if (vh == VAS_HOME)
			return 0;
		be = pvvas_backend(&err);
		if (!be)
			return err;
	}
	if (lock_self && locks_change(lock_self))
		return lockset_exists(vh) ? -EDEADLK : be->enter(vh, prev, true);
	if (locks_held() || lockset_exists(vh))
		return locked_switch(be, vh, prev, wait);
	return be->enter(vh, prev, true);
}

static __attribute__((noinline)) int switch_waiting(int vh, int prev)
{
	const struct lock_wait for_ever = { .deadline = PVVAS_NO_DEADLINE };

	return switch_slow(vh, prev, &for_ever);
}

/*
 * Locks without the driver.  These functions are short and call nothing but at
 * their ends, because each instruction counts: tests/guest/count.c.
 */

/* The compiler would make a pointer to the end first, which takes longer. */
static inline const struct lockset_entry *after(const struct lockset_entry *e)
{
	e++;
	__asm__("" : "+r" (e));
	return e;
}

/* The last @nr locks of the set are not released yet. */
static __attribute__((noinline)) int home_slowly(struct lock_thread *me,
						 unsigned int nr)
{
	const struct lockset *set = me->using;

	locks_begin(me);
	locks_list(me, set->entries + set->nr - nr, nr);
	locks_release(me);
	locks_end(me);
	return 0;
}

/* A thread that holds all of @set, and has put its table away, goes home. */
static inline int home_with_locks(struct lock_thread *me,
				  const struct lockset *set)
{
	const struct lockset_entry *e = set->entries;
	unsigned int nr = set->nr;

	/* before it is home, where a handler of a signal may use it */
	__pvvas_self.slots = me->slots;
	vmfunc(0, 0);
	do {
		if (!seglock_try_release(me, e->lock, e->flags))
			return home_slowly(me, nr);
		e = after(e);
	} while (--nr);
	lockset_leave(&me->using);
	return 0;
}

/* Not all could be had, or the slot is another's by now. */
static __attribute__((noinline)) int enter_slowly(struct lock_thread *me, int vh,
						  int prev)
{
	lockset_leave(&me->using);
	return switch_waiting(vh, prev);
}

/* What was taken of the set before @end. */
static __attribute__((noinline)) int give_back(struct lock_thread *me, int vh,
					       const struct lockset_entry *end)
{
	const struct lockset *set = me->using;
	struct seglock_hold tried = { end->lock, end->flags };

	/* A writer may have seen the number in the array, and wait for it. */
	if (!(tried.flags & SEGLOCK_EXCLUSIVE))
		seglock_tell(&tried);
	locks_begin(me);
	locks_list(me, set->entries, (unsigned int)(end - set->entries));
	locks_release(me);
	locks_end(me);
	return enter_slowly(me, vh, me->prev);
}

static __attribute__((noinline)) int wrong_view(struct lock_thread *me, int vh)
{
	struct lockset *set = me->using;

	lockset_ask_again(set);
	vmfunc(0, 0);
	locks_begin(me);
	locks_list(me, set->entries, set->nr);
	locks_release(me);
	locks_end(me);
	return enter_slowly(me, vh, me->prev);
}

/* A thread goes into a VAS; if it holds none it has its table. */
static inline int enter_with_locks(struct lock_thread *me, int vh, int prev)
{
	struct lockset *set = lockset_enter(&me->using, vh);
	const struct lockset_entry *e;
	unsigned int nr;

	if (__builtin_expect(!set || atomic_load_explicit(&set->need,
				memory_order_acquire) > me->ready, 0))
		return enter_slowly(me, vh, prev);
	me->prev = prev;
	nr = set->nr;
	e = set->entries;
	do {
		if (!(__builtin_expect(e->flags != 0, 0) ?
				seglock_try_exclusive(me, e->lock) :
				seglock_try_shared(me, e->lock)))
			return give_back(me, vh, e);
		e = after(e);
	} while (--nr);
	vmfunc(0, atomic_load_explicit(&set->slot, memory_order_relaxed));
	if (__builtin_expect(vas_current() != vh, 0))
		return wrong_view(me, vh);
	me->slots = __pvvas_self.slots;
	__pvvas_self.slots = pvvas_no_slots;
	return 0;
}

PVVAS_EXPORT int __pvvas_switch_slow(int vh, int prev)
{
	struct lock_thread *me = lock_inline;
	const struct lockset *set;

	if (!me)
		return switch_waiting(vh, prev);
	set = atomic_load_explicit(&me->using, memory_order_relaxed);
	if (!set)
		return enter_with_locks(me, vh, prev);
	return vh == VAS_HOME ? home_with_locks(me, set) :
				switch_waiting(vh, prev);
}

PVVAS_EXPORT int vas_switch_try(int vh)
{
	const struct lock_wait try = { .try = true };

	return switch_slow(vh, vas_current(), &try);
}

PVVAS_EXPORT int vas_switch_timed(int vh, unsigned int milliseconds)
{
	struct lock_wait wait = { .try = false };
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	wait.deadline = (uint64_t)now.tv_sec * 1000000000 +
			(uint64_t)now.tv_nsec + milliseconds * 1000000ULL;
	return switch_slow(vh, vas_current(), &wait);
}
