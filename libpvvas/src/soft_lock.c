// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend's locks of segments: a list in the registry of the holders
 * of each, and of the threads that wait to write.
 *
 * All processes that can open the registry can write to it, and to the segments:
 * they are one user's.  Nothing is taken or released without the registry's
 * lock, and so without a system call.
 */
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#include "seglock.h"
#include "soft.h"

/* No event tells of a death: waiters look as often. */
#define LOOK_NS		20000000UL

/* A word that sends every thread to soft_lock_call(). */
static atomic_uint always_ask = PVVAS_LOCK_WAITERS;
/* A segment has one lock as long as it lives. */
static const atomic_uint never_gone;

static __thread uint64_t token;

int soft_map_lock(int vh, struct seglock *lock)
{
	(void)vh;
	lock->number = (uint32_t)lock->sid;
	lock->word = &always_ask;
	lock->writable = &always_ask;
	lock->gone = &never_gone;
	return 0;
}

void soft_unmap_lock(struct seglock *lock)
{
	(void)lock;
}

int soft_lock_thread(uint32_t *number)
{
	*number = 1;
	return soft_token(&token);
}

/* The software backend does not look at it. */
int soft_map_array(size_t bytes, void **array)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	madvise(p, bytes, MADV_DONTFORK);
	*array = p;
	return 0;
}

static void changed(void)
{
	atomic_fetch_add(&soft_reg->lock_changes, 1);
	soft_futex_wake((uint32_t *)&soft_reg->lock_changes, UINT32_MAX,
			SOFT_WAITS_TO_WRITE);
}

/* The holds of threads that are no more; the registry's lock is held. */
static void bury(struct soft_object *seg)
{
	struct soft_hold *h;

	for (h = soft_reg->holds; h < soft_reg->holds + soft_reg->nr_holds; h++) {
		if (h->seg != seg->id || h->token == token ||
		    soft_alive(h->token) != 0)
			continue;
		if (h->how == SOFT_HOLD_EXCLUSIVE)
			seg->lock_state |= PVVAS_LOCK_DIED;
		h->seg = 0;
	}
}

static struct soft_hold *find(uint32_t seg)
{
	struct soft_hold *h;

	for (h = soft_reg->holds; h < soft_reg->holds + soft_reg->nr_holds; h++)
		if (h->seg == seg && h->token == token)
			return h;
	return NULL;
}

/* An unused entry, or NULL. */
static struct soft_hold *new_hold(void)
{
	struct soft_hold *h;

	for (h = soft_reg->holds; h < soft_reg->holds + soft_reg->nr_holds; h++)
		if (!h->seg)
			return h;
	if (soft_reg->nr_holds == SOFT_HOLDS || soft_room(h, sizeof(*h)))
		return NULL;
	soft_reg->nr_holds++;
	return h;
}

/* Does another thread hold it so that we must not? */
static bool conflicts(uint32_t seg, bool exclusive)
{
	const struct soft_hold *h;

	for (h = soft_reg->holds; h < soft_reg->holds + soft_reg->nr_holds; h++) {
		if (h->seg != seg || h->token == token)
			continue;
		if (exclusive ? h->how != SOFT_HOLD_WANTED :
				h->how != SOFT_HOLD_SHARED)
			return true;
	}
	return false;
}

/* 0, -EBUSY with the entry that says that we want it, or another error. */
static int try_take(struct pvvas_ioc_lock *arg, struct soft_hold **mine)
{
	bool exclusive = arg->flags & PVVAS_LOCK_EXCLUSIVE;
	struct soft_object *seg = soft_object(PVVAS_KIND_SEG, arg->lock);

	if (!seg)
		return -ENOENT;
	bury(seg);
	if (seg->lock_state & PVVAS_LOCK_LOST)
		return -ENOTRECOVERABLE;
	if (conflicts(arg->lock, exclusive)) {
		if (!exclusive || arg->flags & PVVAS_LOCK_TRY || *mine)
			return -EBUSY;
		*mine = new_hold();
		if (!*mine)
			return -ENOSPC;
		**mine = (struct soft_hold){ token, arg->lock,
					     SOFT_HOLD_WANTED };
		return -EBUSY;
	}
	if (!*mine)
		*mine = new_hold();
	if (!*mine)
		return -ENOSPC;
	**mine = (struct soft_hold){ token, arg->lock,
		exclusive ? SOFT_HOLD_EXCLUSIVE : SOFT_HOLD_SHARED };
	arg->state = seg->lock_state & PVVAS_LOCK_DIED;
	return 0;
}

static uint64_t look_again(uint64_t deadline)
{
	struct timespec now;
	uint64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	if (deadline <= ns)
		return 0;
	return deadline - ns < LOOK_NS ? deadline : ns + LOOK_NS;
}

static int take(struct pvvas_ioc_lock *arg)
{
	struct soft_hold *mine = NULL;
	uint64_t until;
	uint32_t seen;
	int err;

	for (;;) {
		err = soft_lock();
		if (err)
			break;
		seen = atomic_load(&soft_reg->lock_changes);
		err = try_take(arg, &mine);
		soft_unlock();
		if (err != -EBUSY || arg->flags & PVVAS_LOCK_TRY)
			break;
		until = look_again(arg->deadline);
		if (!until) {
			err = -ETIMEDOUT;
			break;
		}
		err = soft_futex_wait((uint32_t *)&soft_reg->lock_changes, seen,
				      until, SOFT_WAITS_TO_WRITE);
		if (err == -EINTR)
			break;
	}
	if (err && mine && !soft_lock()) {
		mine->seg = 0;
		changed();
		soft_unlock();
	}
	return err;
}

static int release(const struct pvvas_ioc_lock *arg)
{
	struct soft_object *seg;
	struct soft_hold *mine;
	int err = soft_lock();

	if (err)
		return err;
	mine = find(arg->lock);
	seg = soft_object(PVVAS_KIND_SEG, arg->lock);
	if (mine) {
		/* no thread has said that the data are in order */
		if (seg && mine->how == SOFT_HOLD_EXCLUSIVE &&
		    seg->lock_state & PVVAS_LOCK_DIED)
			seg->lock_state = PVVAS_LOCK_LOST;
		mine->seg = 0;
		changed();
	}
	soft_unlock();
	return mine ? 0 : -EPERM;
}

static int consistent(const struct pvvas_ioc_lock *arg)
{
	const struct soft_hold *mine;
	struct soft_object *seg;
	int err = soft_lock();

	if (err)
		return err;
	err = -EPERM;
	mine = find(arg->lock);
	seg = soft_object(PVVAS_KIND_SEG, arg->lock);
	if (seg && mine && mine->how == SOFT_HOLD_EXCLUSIVE) {
		seg->lock_state &= ~PVVAS_LOCK_DIED;
		err = 0;
	}
	soft_unlock();
	return err;
}

/* The registry's lock is held. */
int soft_lock_reset(struct soft_object *seg)
{
	const struct soft_hold *h;

	bury(seg);
	for (h = soft_reg->holds; h < soft_reg->holds + soft_reg->nr_holds; h++)
		if (h->seg == seg->id && h->how == SOFT_HOLD_EXCLUSIVE)
			return -EBUSY;
	seg->lock_state = 0;
	return 0;
}

/* The registry's lock is held. */
uint32_t soft_lock_state(struct soft_object *seg)
{
	const struct soft_hold *h;

	if (!seg->lockable)
		return 0;
	bury(seg);
	if (seg->lock_state & PVVAS_LOCK_LOST)
		return PVVAS_LOCK_LOST;
	for (h = soft_reg->holds; h < soft_reg->holds + soft_reg->nr_holds; h++)
		if (h->seg == seg->id && h->how == SOFT_HOLD_EXCLUSIVE)
			return PVVAS_LOCK_DIED;
	return seg->lock_state & PVVAS_LOCK_DIED;
}

int soft_lock_call(unsigned long request, void *arg)
{
	switch (request) {
	case PVVAS_IOC_LOCK_TAKE:
		return take(arg);
	case PVVAS_IOC_LOCK_RELEASE:
		return release(arg);
	case PVVAS_IOC_LOCK_CONSISTENT:
		return consistent(arg);
	default:
		return -ENOTTY;
	}
}
