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

static __attribute__((noinline)) int home_slowly(struct lock_thread *me)
{
	const volatile uint16_t *slots = me->slots;

	locks_release(me);
	__pvvas_self.slots = slots;
	return 0;
}

/* A thread that holds locks, and has put its table away, goes home. */
static inline int home_with_locks(struct lock_thread *me)
{
	unsigned int i;

	vmfunc(0, 0);
	for (i = me->nr; i--;)
		if (me->held[i].lock && !seglock_try_release(me, i))
			return home_slowly(me);
	me->nr = 0;
	me->used = 0;
	__pvvas_self.slots = me->slots;
	me->slots = NULL;
	return 0;
}

/* Not all could be had, or the slot is another's by now. */
static __attribute__((noinline)) int enter_slowly(struct lock_thread *me, int vh)
{
	lockset_leave(me);
	return switch_waiting(vh, vas_current());
}

/* What was taken before @end. */
static __attribute__((noinline)) int give_back(struct lock_thread *me, int vh,
					       struct seglock_hold *end)
{
	/* A writer may have seen the number in the array, and wait for it. */
	if (!(end->flags & SEGLOCK_EXCLUSIVE))
		seglock_tell(end);
	end->lock = NULL;
	me->nr = (unsigned int)(end - me->held);
	me->used = me->nr;
	locks_release(me);
	return enter_slowly(me, vh);
}

static __attribute__((noinline)) int wrong_view(struct lock_thread *me, int vh,
						struct lockset *set)
{
	atomic_store(&set->slot, 0);
	vmfunc(0, 0);
	me->nr = set->nr;
	me->used = set->nr;
	locks_release(me);
	return enter_slowly(me, vh);
}

/* A thread that holds none, and that the driver knows, goes into a VAS. */
static inline int enter_with_locks(struct lock_thread *me, int vh)
{
	struct lockset *set = lockset_enter(me, vh);
	const struct lockset_entry *e, *end;
	struct seglock_hold *hold = me->held;

	if (__builtin_expect(!set || !atomic_load_explicit(&set->slot,
				memory_order_relaxed) || set->room > me->room, 0))
		return enter_slowly(me, vh);
	/* no set is empty */
	for (e = set->entries, end = e + set->nr;; hold++) {
		hold->lock = e->lock;
		hold->flags = e->flags;
		if (!(e->flags ? seglock_try_exclusive(me, e->lock) :
				 seglock_try_shared(me, e->lock)))
			return give_back(me, vh, hold);
		if (++e == end)
			break;
	}
	vmfunc(0, atomic_load_explicit(&set->slot, memory_order_relaxed) - 1U);
	if (__builtin_expect(vas_current() != vh, 0))
		return wrong_view(me, vh, set);
	me->nr = set->nr;
	me->used = set->nr;
	me->slots = __pvvas_self.slots;
	__pvvas_self.slots = pvvas_no_slots;
	lockset_leave(me);
	return 0;
}

PVVAS_EXPORT int __pvvas_switch_slow(int vh, int prev)
{
	struct lock_thread *me = lock_self;

	if (me) {
		if (vh == VAS_HOME && me->slots)
			return home_with_locks(me);
		/* A thread that holds any has no table. */
		if (__pvvas_self.slots != pvvas_no_slots)
			return enter_with_locks(me, vh);
	}
	return switch_waiting(vh, prev);
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
