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

/* What the calling thread holds. */
static __thread struct {
	unsigned int nr;
	struct seglock_hold *holds;
	int *sids;
} held;

bool locks_held(void)
{
	return held.nr;
}

static void drop_arrays(void)
{
	free(held.holds);
	free(held.sids);
	held.holds = NULL;
	held.sids = NULL;
	held.nr = 0;
}

/* The child of a fork holds nothing: mutexes know threads. */
void locks_forked(void)
{
	drop_arrays();
}

static void release_all(void)
{
	unsigned int i;

	for (i = held.nr; i--;)
		if (held.holds[i].lock)
			seglock_release(&held.holds[i]);
	drop_arrays();
}

static struct seglock_hold *find_held(int sid)
{
	unsigned int i;

	for (i = 0; i < held.nr; i++)
		if (held.sids[i] == sid && held.holds[i].lock)
			return &held.holds[i];
	return NULL;
}

/*
 * Make @holds and @sids what the thread holds.  Locks of the set that it held
 * before have been moved there; the others are given back.
 */
static void replace(unsigned int nr, struct seglock_hold *holds, int *sids)
{
	release_all();
	held.nr = nr;
	held.holds = holds;
	held.sids = sids;
}

/* Those of @set that are not held; nothing changes unless all can be had. */
static int take_more(const struct lockset *set, struct seglock_hold *holds,
		     const struct lock_wait *wait)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < set->nr && !err; i++) {
		const struct lockset_entry *e = &set->entries[i];
		const struct seglock_hold *have = find_held(e->sid);

		if (!have)
			err = seglock_take(e->lock, e->exclusive, wait->try,
					   wait->deadline, &holds[i]);
		else if (e->exclusive && !have->exclusive)
			err = -EBUSY;	/* no upgrade without giving it back */
	}
	if (!err)
		return 0;
	while (i--)
		if (holds[i].lock)
			seglock_release(&holds[i]);
	return err;
}

/* What was held before and is in the set moves into the new array. */
static void keep(const struct lockset *set, struct seglock_hold *holds)
{
	struct seglock_hold *have;
	unsigned int i;

	for (i = 0; i < set->nr; i++) {
		have = find_held(set->entries[i].sid);
		if (holds[i].lock || !have)
			continue;
		holds[i] = *have;
		have->lock = NULL;
	}
}

static int take_set(const struct pvvas_backend *be, const struct lockset *set,
		    int prev, const struct lock_wait *wait)
{
	const struct lock_wait try = { .try = true };
	struct seglock_hold *holds = calloc(set->nr, sizeof(*holds));
	int *sids = calloc(set->nr, sizeof(*sids));
	unsigned int i;
	int err = -ENOMEM;

	if (!holds || !sids)
		goto fail;
	err = take_more(set, holds, &try);
	if (err == -EBUSY && !wait->try) {
		err = held.nr ? be->enter(VAS_HOME, prev, false) : 0;
		if (err)
			goto fail;
		release_all();
		err = take_more(set, holds, wait);
	}
	if (err)
		goto fail;
	keep(set, holds);
	for (i = 0; i < set->nr; i++)
		sids[i] = set->entries[i].sid;
	replace(set->nr, holds, sids);
	return 0;
fail:
	free(holds);
	free(sids);
	return err;
}

static bool somebody_died(void)
{
	unsigned int i;

	for (i = 0; i < held.nr; i++)
		if (held.holds[i].owner_died)
			return true;
	return false;
}

/* Into a VAS with locks; the thread's next switch has to come here, too. */
static int enter_with(const struct pvvas_backend *be, int vh, int prev,
		      const struct lockset *set, const struct lock_wait *wait)
{
	int err;

	/* a switch to where it is takes nothing again */
	if (held.nr && vas_current() == vh)
		return 0;
	err = take_set(be, set, prev, wait);
	if (err)
		return err;
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
	if (set) {
		err = enter_with(be, vh, prev, set, wait);
		free(set);
		return err;
	}
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
