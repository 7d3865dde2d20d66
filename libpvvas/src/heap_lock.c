// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The lock of a heap.
 *
 * Two words in the heap say which thread owns it, and in which memory.  It
 * cannot be a futex: the memory may be behind a window of page frames, where
 * shared futexes do not work.  It is held for some hundred instructions, so
 * that waiting is spinning, then yielding, then sleeping a little.  A thread
 * that sleeps asks each time whether the owner has died, and gives up in the
 * end: any process that may write to the heap can make another one the owner.
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

/* The token of this thread, once it has asked for it. */
static __thread uint64_t self __attribute__((tls_model("initial-exec")));

/*
 * How many calls of this thread are between the first and the last instruction
 * that they may hold a lock at: more than one if a signal came in between.
 */
static __thread unsigned int calls __attribute__((tls_model("initial-exec")));

void pvvas_heap_forget_self(void)
{
	self = 0;
}

/* If *lock is *seen, it is @want from now on; if not, *seen is what it is. */
static inline bool exchange(struct heap_lock *lock, struct heap_lock *seen,
			    struct heap_lock want)
{
	bool done;

	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz" (done), "+m" (*lock),
			   "+a" (seen->owner), "+d" (seen->memory)
			 : "b" (want.owner), "c" (want.memory)
			 : "memory");
	return done;
}

static inline void relax(void)
{
	__builtin_ia32_pause();
}

/* Not nanosleep(3), which is a cancellation point; nor shall errno change. */
static void nap(long ns)
{
	struct timespec ts = { .tv_nsec = ns };
	int saved = errno;

	syscall(SYS_nanosleep, &ts, NULL);
	errno = saved;
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/*
 * One look at the lock.  0, or -EBUSY, -EDEADLK; *died: it was a dead thread's,
 * or this one's, which is not in another call: then another process wrote that.
 */
static int try_take(const struct pvvas_heap *h, bool ask, bool *died)
{
	struct heap_lock seen = { 0, h->memory }, want = { self, h->memory };
	bool dead;

	if (exchange(&h->hdr->lock, &seen, want))
		return 0;
	/* else it was copied with the memory, or has never been taken */
	if (seen.owner && seen.memory == h->memory) {
		if (seen.owner == self && calls > 1)
			return -EDEADLK;
		if (seen.owner != self &&
		    (!ask || !h->owner->dead(seen.owner)))
			return -EBUSY;
	}
	dead = seen.owner;
	if (!exchange(&h->hdr->lock, &seen, want))
		return -EBUSY;
	*died = dead;
	return 0;
}

static int wait_for(const struct pvvas_heap *h, bool *died)
{
	int64_t end = 0;
	long ns = SLEEP_NS;
	int err, i;

	for (i = 0; i < SPINS + YIELDS; i++) {
		err = try_take(h, false, died);
		if (err != -EBUSY)
			return err;
		if (i < SPINS)
			relax();
		else
			sched_yield();
	}
	end = now_ns() + h->owner->patience * 1000000000LL;
	while ((err = try_take(h, true, died)) == -EBUSY) {
		if (now_ns() > end)
			return -ETIMEDOUT;
		nap(ns);
		ns = ns * 2 < SLEEP_MAX_NS ? ns * 2 : SLEEP_MAX_NS;
	}
	return err;
}

static int take_slow(const struct pvvas_heap *h)
{
	bool died = false;
	int err = 0;

	if (!self)
		err = h->owner->token(&self);
	if (!err)
		err = wait_for(h, &died);
	if (err || !died)
		return err;
	pvvas_heap_rebuild(h);
	h->hdr->recoveries++;
	return 0;
}

int pvvas_heap_lock(const struct pvvas_heap *h)
{
	struct heap_lock none = { 0, h->memory }, mine = { self, h->memory };
	int err;

	calls++;
	if (__builtin_expect(mine.owner && exchange(&h->hdr->lock, &none, mine),
			     1))
		return 0;
	err = take_slow(h);
	if (err)
		calls--;
	return err;
}

void pvvas_heap_unlock(const struct pvvas_heap *h)
{
	__atomic_store_n(&h->hdr->lock.owner, 0, __ATOMIC_RELEASE);
	atomic_signal_fence(memory_order_seq_cst);
	calls--;
}
