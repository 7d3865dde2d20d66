// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The lock of a lockable segment: what is not done inline.
 */
#include <errno.h>

#include "seglock.h"

static int call(const struct seglock *lock, unsigned long request,
		uint32_t flags)
{
	struct pvvas_ioc_lock arg = {
		.size = sizeof(arg),
		.flags = flags,
		.lock = lock->number,
	};

	return pvvas_call(request, &arg);
}

/* One other thread reads: make the word say that all may, if this one can write it. */
static bool join_readers(const struct seglock *lock)
{
	uint32_t word = atomic_load(lock->word);

	if (!lock->writable ||
	    (word & ~PVVAS_LOCK_OWNER) != PVVAS_LOCK_READERS)
		return false;
	return atomic_compare_exchange_strong(lock->writable, &word,
					      PVVAS_LOCK_READERS);
}

int seglock_ask(struct lock_thread *me, unsigned int i,
		const struct lock_wait *wait)
{
	struct seglock_hold *hold = &me->held[i];
	bool exclusive = hold->flags & SEGLOCK_EXCLUSIVE;
	struct pvvas_ioc_lock arg = {
		.size = sizeof(arg),
		.flags = (exclusive ? PVVAS_LOCK_EXCLUSIVE : 0) |
			 (wait->try ? PVVAS_LOCK_TRY : 0),
		.lock = hold->lock->number,
		.deadline = wait->deadline,
	};
	int err;

	if (!exclusive && join_readers(hold->lock) &&
	    seglock_try_shared(me, hold->lock))
		return 0;
	do {
		err = pvvas_call(PVVAS_IOC_LOCK_TAKE, &arg);
	} while (err == -EINTR);
	if (err)
		hold->lock = NULL;
	else if (arg.state & PVVAS_LOCK_DIED)
		hold->flags |= SEGLOCK_DIED;
	return err;
}

void seglock_tell(const struct seglock_hold *hold)
{
	call(hold->lock, PVVAS_IOC_LOCK_RELEASE,
	     hold->flags & SEGLOCK_EXCLUSIVE ? PVVAS_LOCK_EXCLUSIVE : 0);
}

int seglock_consistent(struct seglock_hold *hold)
{
	const unsigned int need = SEGLOCK_EXCLUSIVE | SEGLOCK_DIED;
	int err;

	if ((hold->flags & need) != need)
		return -EINVAL;
	err = call(hold->lock, PVVAS_IOC_LOCK_CONSISTENT, 0);
	if (!err)
		hold->flags &= ~SEGLOCK_DIED;
	return err;
}
