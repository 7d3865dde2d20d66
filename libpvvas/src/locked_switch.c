// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Switches that take or release locks.
 *
 * Locks are taken in the order of the segments' ids, with none held that comes
 * later: so switches do not wait for each other in a circle.  Where a thread
 * holds some already, it first tries to get the others without waiting.  If
 * that fails it goes home, gives all back and waits with empty hands.
 */
#include <errno.h>

#include "lockset.h"

void locks_release(struct lock_thread *me)
{
	unsigned int i;

	for (i = me->nr; i--;)
		if (me->held[i].lock)
			seglock_release(me, i);
	me->nr = 0;
	me->used = 0;
	me->slots = NULL;
}

void locks_list(struct lock_thread *me, const struct lockset_entry *e,
		unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		me->held[i].flags = e[i].flags;
		__atomic_store_n(&me->held[i].lock, e[i].lock,
				 __ATOMIC_RELEASE);
	}
	me->nr = nr;
	me->used = nr;
	lockset_leave(&me->using);
}

/* The inline switch works as at home: handlers of signals may use it. */
void locks_begin(struct lock_thread *me)
{
	atomic_store(&me->changing, true);
	me->ready = 0;
	if (me->slots && __pvvas_self.slots == pvvas_no_slots)
		__pvvas_self.slots = me->slots;
}

/* A thread that holds locks has every switch come here. */
void locks_end(struct lock_thread *me)
{
	if (me->used && __pvvas_self.slots != pvvas_no_slots) {
		me->slots = __pvvas_self.slots;
		__pvvas_self.slots = pvvas_no_slots;
	}
	me->ready = me->used || __pvvas_self.slots == pvvas_no_slots ?
		    0 : me->room;
	if (me->ready)
		lock_inline = me;
	atomic_store(&me->changing, false);
}

static void list_all(struct lock_thread *me)
{
	const struct lockset *set = me->using;

	if (set)
		locks_list(me, set->entries, set->nr);
}

/* All of a set, by a thread that holds nothing; or nothing. */
static int take_all(struct lock_thread *me, const struct lockset *set,
		    const struct lock_wait *wait)
{
	const struct lockset_entry *e = set->entries;
	unsigned int i;
	int err = 0;

	for (i = 0; i < set->nr; i++, e++) {
		err = seglock_take(me, i, e->lock, e->flags, wait);
		if (err)
			break;
	}
	me->nr = i;
	me->used = i;
	if (err)
		locks_release(me);
	return err;
}

static const struct seglock_hold *find_lock(const struct lock_thread *me,
					    const struct seglock *lock)
{
	unsigned int i;

	for (i = 0; i < me->nr; i++)
		if (me->held[i].lock == lock)
			return &me->held[i];
	return NULL;
}

static struct seglock_hold *find_held(struct lock_thread *me, int sid)
{
	unsigned int i;

	for (i = 0; i < me->nr; i++)
		if (me->held[i].lock && me->held[i].lock->sid == sid)
			return &me->held[i];
	return NULL;
}

static bool in_set(const struct lockset *set, const struct seglock *lock)
{
	unsigned int low = 0, high = set->nr, mid;

	while (low < high) {
		mid = (low + high) / 2;
		if (set->entries[mid].lock == lock)
			return true;
		if (set->entries[mid].lock->sid < lock->sid)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

static unsigned int unused_entry(struct lock_thread *me)
{
	unsigned int i = 0;

	if (me->used == me->nr)
		return me->nr++;
	while (me->held[i].lock)
		i++;
	return i;
}

/* Keep what is in the set, or else what was there before; give back the rest. */
static void settle(struct lock_thread *me, const struct lockset *set, bool taken)
{
	struct seglock_hold *hold;
	unsigned int i;
	bool fresh;

	for (i = 0; i < me->nr; i++) {
		hold = &me->held[i];
		if (!hold->lock)
			continue;
		fresh = hold->flags & SEGLOCK_FRESH;
		hold->flags &= ~SEGLOCK_FRESH;
		if (taken ? !fresh && !in_set(set, hold->lock) : fresh) {
			seglock_release(me, i);
			me->used--;
		}
	}
	if (!me->used)
		me->nr = 0;
}

/* Those that are not held, without waiting; nothing changes unless all can be. */
static int try_others(struct lock_thread *me, const struct lockset *set)
{
	const struct lock_wait try = { .try = true };
	const struct lockset_entry *e = set->entries;
	const struct seglock_hold *have;
	unsigned int n, i;
	int err = 0;

	for (n = 0; n < set->nr && !err; n++, e++) {
		have = find_lock(me, e->lock);
		if (!have) {
			i = unused_entry(me);
			err = seglock_take(me, i, e->lock, e->flags, &try);
			if (!err) {
				me->held[i].flags |= SEGLOCK_FRESH;
				me->used++;
			}
		} else if (e->flags & ~have->flags) {
			err = -EBUSY;	/* no upgrade without giving it back */
		}
	}
	settle(me, set, !err);
	return err;
}

static int take_set(const struct pvvas_backend *be, struct lock_thread *me,
		    const struct lockset *set, int prev,
		    const struct lock_wait *wait)
{
	int err;

	if (!me->used)
		return take_all(me, set, wait);
	err = try_others(me, set);
	if (err != -EBUSY || wait->try)
		return err;
	err = be->enter(VAS_HOME, prev, true);
	if (err)
		return err;
	locks_release(me);
	return take_all(me, set, wait);
}

static bool writer_died(const struct lock_thread *me)
{
	unsigned int i;

	for (i = 0; i < me->nr; i++)
		if (me->held[i].lock && me->held[i].flags & SEGLOCK_DIED)
			return true;
	return false;
}

/* Into the VAS, with the locks taken. */
static int enter(const struct pvvas_backend *be, struct lock_thread *me,
		 struct lockset *set, int vh, int prev)
{
	int err = be->enter(vh, prev, false);

	if (err) {
		if (vas_current() != VAS_HOME)
			be->enter(VAS_HOME, VAS_HOME, false);
		locks_release(me);
		return err;
	}
	if (be->fast_switch)
		lockset_set_slot(set, be->slot());
	return writer_died(me) ? -EOWNERDEAD : 0;
}

static int enter_with(const struct pvvas_backend *be, struct lock_thread *me,
		      struct lockset *set, int vh, int prev,
		      const struct lock_wait *wait)
{
	unsigned int room = me->nr + set->nr;
	int err;

	/* a switch to where it is takes nothing again */
	if (me->used && prev == vh)
		return 0;
	if (room < set->room)
		room = set->room;
	err = room > me->room ? lock_thread_prepare(room) : 0;
	if (!err)
		err = take_set(be, me, set, prev, wait);
	return err ? err : enter(be, me, set, vh, prev);
}

static int try_switch(const struct pvvas_backend *be, int vh, int prev,
		      const struct lock_wait *wait)
{
	struct lockset *set = lockset_enter(&lock_self->looking, vh);
	int err;

	/* its index is that of another handle: the backend says so */
	if (set && set->vh == vh) {
		err = enter_with(be, lock_self, set, vh, prev, wait);
	} else {
		err = be->enter(vh, prev, true);
		if (!err)
			locks_release(lock_self);
	}
	lockset_leave(&lock_self->looking);
	return err;
}

/* A segment that got another lock meanwhile may get more of them. */
#define MAX_TRIES	100

static int try_often(const struct pvvas_backend *be, int vh, int prev,
		     const struct lock_wait *wait)
{
	int err, i;

	for (i = 0; i < MAX_TRIES; i++) {
		err = try_switch(be, vh, prev, wait);
		if (err != -ESTALE)
			return err;
		prev = vas_current();
		err = lockset_update(vh);
		if (err)
			return err;
	}
	return -EAGAIN;
}

int locked_switch(const struct pvvas_backend *be, int vh, int prev,
		  const struct lock_wait *wait)
{
	int err = lock_self ? 0 : lock_thread_prepare(0);

	if (err)
		return err;
	locks_begin(lock_self);
	list_all(lock_self);
	err = try_often(be, vh, prev, wait);
	locks_end(lock_self);
	return err;
}

int lockset_consistent(int sid)
{
	struct seglock_hold *hold = NULL;

	if (sid > 0 && lock_self && !locks_change(lock_self)) {
		locks_begin(lock_self);
		list_all(lock_self);
		locks_end(lock_self);
		hold = find_held(lock_self, sid);
	}
	return hold ? seglock_consistent(hold) : -EINVAL;
}
