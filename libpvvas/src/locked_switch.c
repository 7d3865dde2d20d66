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
#include <stdlib.h>

#include "lockset.h"

/* What the calling thread holds: a copy of an attachment's set, or NULL. */
static __thread struct lockset *held;

bool locks_held(void)
{
	return held;
}

/* The child of a fork holds nothing: mutexes know threads. */
void locks_forked(void)
{
	free(held);
	held = NULL;
}

static void release_all(void)
{
	unsigned int i;

	for (i = held ? held->nr : 0; i--;)
		if (held->entries[i].hold.lock)
			seglock_release(&held->entries[i].hold);
	free(held);
	held = NULL;
}

static struct seglock_hold *find_held(int sid)
{
	unsigned int i;

	for (i = 0; held && i < held->nr; i++)
		if (held->entries[i].sid == sid && held->entries[i].hold.lock)
			return &held->entries[i].hold;
	return NULL;
}

/* Those of @set that are not held; nothing changes unless all can be had. */
static int take_more(struct lockset *set, const struct lock_wait *wait)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < set->nr && !err; i++) {
		struct lockset_entry *e = &set->entries[i];
		const struct seglock_hold *have = find_held(e->sid);

		if (!have)
			err = seglock_take(e->lock, e->exclusive, wait->try,
					   wait->deadline, &e->hold);
		else if (e->exclusive && !have->exclusive)
			err = -EBUSY;	/* no upgrade without giving it back */
	}
	if (!err)
		return 0;
	while (i--)
		if (set->entries[i].hold.lock)
			seglock_release(&set->entries[i].hold);
	return err;
}

/*
 * Make @set what the thread holds.  Locks of it that the thread held before
 * move there, the others are given back.
 */
static void replace(struct lockset *set)
{
	struct seglock_hold *have;
	unsigned int i;

	for (i = 0; i < set->nr; i++) {
		have = find_held(set->entries[i].sid);
		if (set->entries[i].hold.lock || !have)
			continue;
		set->entries[i].hold = *have;
		have->lock = NULL;
	}
	release_all();
	held = set;
}

static int take_set(const struct pvvas_backend *be, struct lockset *set,
		    int prev, const struct lock_wait *wait)
{
	const struct lock_wait try = { .try = true };
	int err;

	err = take_more(set, &try);
	if (err == -EBUSY && !wait->try) {
		err = held ? be->enter(VAS_HOME, prev, false) : 0;
		if (err)
			return err;
		release_all();
		err = take_more(set, wait);
	}
	if (!err)
		replace(set);
	return err;
}

static bool somebody_died(void)
{
	unsigned int i;

	for (i = 0; i < held->nr; i++)
		if (held->entries[i].hold.owner_died)
			return true;
	return false;
}

/*
 * Into a VAS with locks; the thread's next switch has to come here, too.
 * @set belongs to the thread, or is freed.
 */
static int enter_with(const struct pvvas_backend *be, int vh, int prev,
		      struct lockset *set, const struct lock_wait *wait)
{
	bool there = held && vas_current() == vh;
	int err;

	/* a switch to where it is takes nothing again */
	err = there ? 0 : take_set(be, set, prev, wait);
	if (there || err) {
		free(set);
		return err;
	}
	err = be->enter(vh, vas_current(), false);
	if (err) {
		if (vas_current() != VAS_HOME)
			be->enter(VAS_HOME, VAS_HOME, false);
		release_all();
		return err;
	}
	__pvvas_self.slots = pvvas_no_slots;
	return somebody_died() ? -EOWNERDEAD : 0;
}

int locked_switch(const struct pvvas_backend *be, int vh, int prev,
		  const struct lock_wait *wait)
{
	struct lockset *set;
	int err;

	set = lockset_get(vh, &err);
	if (err)
		return err;
	if (set)
		return enter_with(be, vh, prev, set, wait);
	err = be->enter(vh, prev, true);
	if (!err)
		release_all();
	return err;
}

int lockset_consistent(int sid)
{
	struct seglock_hold *have = sid > 0 ? find_held(sid) : NULL;

	return have ? seglock_consistent(have) : -EINVAL;
}
