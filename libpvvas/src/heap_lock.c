// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The lock of a heap.
 *
 * A word in the heap says who owns it, and in which copy of the memory.  It
 * cannot be a futex: the memory may be behind a window of page frames, where
 * shared futexes do not work.  It is held for some hundred instructions, so
 * that waiting is spinning, then yielding, then sleeping a little; who waits
 * long asks whether the owner died.
 */
#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "heap_layout.h"

#define SPINS		64
#define YIELDS		32
#define SLEEP_NS	20000L
#define SLEEP_MAX_NS	1000000L

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* Not nanosleep(3), which is a cancellation point; nor shall errno change. */
static void nap(long ns)
{
	struct timespec ts = { .tv_nsec = ns };
	int saved = errno;

	syscall(SYS_nanosleep, &ts, NULL);
	errno = saved;
}

/* Can the owner never release it? */
static bool is_dead(const struct pvvas_heap *h, uint64_t seen)
{
	if (seen == h->me)
		return false;	/* another thread */
	if (LOCK_INSTANCE(seen) != LOCK_INSTANCE(h->me))
		return true;	/* the lock was copied with the memory */
	return LOCK_REALM(seen) == LOCK_REALM(h->me) &&
		h->owner->dead(h->owner, LOCK_TOKEN(seen));
}

/* One look at the lock: true if it is ours now. */
static bool try_take(const struct pvvas_heap *h, bool ask, bool *died)
{
	_Atomic uint64_t *lock = &h->hdr->lock;
	uint64_t seen = atomic_load_explicit(lock, memory_order_relaxed);

	if (!seen)
		return atomic_compare_exchange_strong(lock, &seen,
						      h->me);
	if (!ask || !is_dead(h, seen))
		return false;
	*died = atomic_compare_exchange_strong(lock, &seen, h->me);
	return *died;
}

static void take_slow(const struct pvvas_heap *h)
{
	long ns = SLEEP_NS;
	bool died = false;
	int i;

	for (i = 0; !try_take(h, i > SPINS + YIELDS, &died); i++) {
		if (i < SPINS) {
			relax();
		} else if (i < SPINS + YIELDS) {
			sched_yield();
		} else {
			i = SPINS + YIELDS;
			nap(ns);
			ns = ns * 2 < SLEEP_MAX_NS ? ns * 2 : SLEEP_MAX_NS;
		}
	}
	if (died) {
		pvvas_heap_rebuild(h);
		h->hdr->recoveries++;
	}
}

void pvvas_heap_lock(const struct pvvas_heap *h)
{
	uint64_t none = 0;

	if (__builtin_expect(!atomic_compare_exchange_strong(&h->hdr->lock, &none,
							     h->me), 0))
		take_slow(h);
}

void pvvas_heap_unlock(const struct pvvas_heap *h)
{
	atomic_store_explicit(&h->hdr->lock, 0, memory_order_release);
}
