// SPDX-License-Identifier: GPL-2.0-only
/*
 * The locks of lockable segments: taking, waiting, the death of a holder.
 *
 * A lock is one word in a page of its own.  Writers of the segment can write the
 * word, readers can only read it: so a reader can change nothing that others rely
 * on.  What a reader does write is an array of its own, in
 * pages that belong to its thread, where it puts the numbers of the locks that
 * it holds shared (linux/pvvas.h has the protocol).  Only the driver reads the
 * arrays of other threads, one element of each for a lock, and it only compares:
 * whatever is there, it holds some locks shared as long as the thread lives, and
 * that is all.
 *
 * The word is no more trusted than the data that it guards: a writer of both can
 * hold the lock for ever, or let others in.  No value of it makes the driver do
 * anything but wait, grant or refuse.
 *
 * All that is not settled by one access to the word happens here, under
 * lock->lock: waiting, in the order of arrival, and what becomes of the
 * holds of a thread that died.  PVVAS_LOCK_WAITERS in the word sends all
 * threads here.  A writer sets it before it looks at the arrays, and a reader looks at
 * the word after it has changed its array: one of them sees the other.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "lock.h"

/* On the stack of a thread that waits. */
struct pvvas_lock_waiter {
	struct list_head node;
	struct list_head as_writer;	/* in lock->writers */
	u64 arrival;
	struct task_struct *task;
	bool exclusive;
	bool woken;
};

/* Numbers of locks. */
static DEFINE_XARRAY_ALLOC1(pvvas_lock_ids);
static u32 pvvas_next_lock;

static_assert(PVVAS_LOCK_BYTES == PAGE_SIZE);

/*
 * A page of a lock or of a thread's array; or -ENOSPC, -ENOMEM.  Where it is not
 * mapped no process's size shows it, so it counts for the quota as tables do.
 */
u32 *pvvas_lock_page_new(void)
{
	u32 *page;

	if (!pvvas_quota_tables(PAGE_SIZE))
		return ERR_PTR(-ENOSPC);
	page = (u32 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (page)
		return page;
	pvvas_quota_tables_back(PAGE_SIZE);
	return ERR_PTR(-ENOMEM);
}

void pvvas_lock_page_free(u32 *page)
{
	if (IS_ERR_OR_NULL(page))
		return;
	pvvas_quota_tables_back(PAGE_SIZE);
	free_page((unsigned long)page);
}

static void pvvas_lock_free_pages(struct pvvas_seglock *lock)
{
	pvvas_lock_page_free(lock->gone);
	pvvas_lock_page_free(lock->word);
	kfree(lock);
}

static void pvvas_lock_kick_more(struct work_struct *work);

struct pvvas_seglock *pvvas_lock_new(void)
{
	struct pvvas_seglock *lock = kzalloc(sizeof(*lock), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!lock)
		return ERR_PTR(-ENOMEM);
	kref_init(&lock->ref);
	spin_lock_init(&lock->lock);
	INIT_LIST_HEAD(&lock->waiters);
	INIT_LIST_HEAD(&lock->writers);
	INIT_LIST_HEAD(&lock->maps);
	INIT_WORK(&lock->kick_work, pvvas_lock_kick_more);
	lock->word = pvvas_lock_page_new();
	lock->gone = pvvas_lock_page_new();
	ret = PTR_ERR_OR_ZERO(lock->word) ?: PTR_ERR_OR_ZERO(lock->gone);
	if (!ret)
		ret = xa_alloc_cyclic(&pvvas_lock_ids, &lock->id, lock,
				      xa_limit_31b, &pvvas_next_lock,
				      GFP_KERNEL_ACCOUNT);
	if (ret >= 0)
		return lock;
	pvvas_lock_free_pages(lock);
	return ERR_PTR(ret);
}

static void pvvas_lock_free(struct kref *ref)
{
	struct pvvas_seglock *lock = container_of(ref, struct pvvas_seglock, ref);

	xa_erase(&pvvas_lock_ids, lock->id);
	pvvas_lock_free_pages(lock);
}

void pvvas_lock_put(struct pvvas_seglock *lock)
{
	kref_put(&lock->ref, pvvas_lock_free);
}

void pvvas_seg_lock_free(struct pvvas_seg *seg)
{
	if (seg->lock)
		pvvas_lock_put(seg->lock);
}

/* The number of the thread that holds it exclusively, or 0. */
static u32 pvvas_word_writer(u32 word)
{
	return word & PVVAS_LOCK_READERS ? 0 : word & PVVAS_LOCK_OWNER;
}

/* As its next holder would find it if its holder died now. */
u32 pvvas_lock_state(struct pvvas_seglock *lock)
{
	u32 word = READ_ONCE(*lock->word);

	if (word & PVVAS_LOCK_LOST)
		return PVVAS_LOCK_LOST;
	return pvvas_word_writer(word) || word & PVVAS_LOCK_DIED ?
	       PVVAS_LOCK_DIED : 0;
}

/* How many threads one wakes.  A kernel thread goes on with the others. */
#define PVVAS_LOCK_KICK		16

/*
 * Wake some of the next waiters: the first one, and if that reads the readers
 * behind it; all, where the lock is the segment's no more.  True: there are more.
 * Those that are awake do not count: they may be without CPU time.
 */
static bool pvvas_lock_wake(struct pvvas_seglock *lock)
{
	bool all = READ_ONCE(*lock->gone);
	struct pvvas_lock_waiter *w;
	u32 n = 0;

	list_for_each_entry(w, &lock->waiters, node) {
		if (w->exclusive && !all &&
		    !list_is_first(&w->node, &lock->waiters))
			return false;
		if (!w->woken) {
			if (n++ == PVVAS_LOCK_KICK)
				return true;
			WRITE_ONCE(w->woken, true);
			wake_up_process(w->task);
		}
		if (w->exclusive && !all)
			return false;
	}
	return false;
}

/* lock->lock is held. */
static void pvvas_lock_kick(struct pvvas_seglock *lock)
{
	if (!pvvas_lock_wake(lock))
		return;
	kref_get(&lock->ref);
	if (!queue_work(pvvas_wq, &lock->kick_work))
		/* not the last one: the caller has one */
		kref_put(&lock->ref, pvvas_lock_free);
}

/*
 * As above, for readers and dead threads: do not wake a writer that would find
 * another thread's hold, and only wait again.
 */
static void pvvas_lock_kick_if_free(struct pvvas_seglock *lock)
{
	const struct pvvas_lock_waiter *first =
		list_first_entry_or_null(&lock->waiters,
					 struct pvvas_lock_waiter, node);

	if (!first)
		return;
	if (READ_ONCE(*lock->gone) ||
	    (!pvvas_word_writer(READ_ONCE(*lock->word)) &&
	     !(first->exclusive && pvvas_lock_has_readers(lock))))
		pvvas_lock_kick(lock);
}

static void pvvas_lock_kick_more(struct work_struct *work)
{
	struct pvvas_seglock *lock = container_of(work, struct pvvas_seglock,
						  kick_work);

	spin_lock(&lock->lock);
	pvvas_lock_kick_if_free(lock);
	spin_unlock(&lock->lock);
	pvvas_lock_put(lock);
}

/* No thread waits before @w that @w may not be in with. */
static bool pvvas_lock_turn(struct pvvas_seglock *lock,
			    const struct pvvas_lock_waiter *me)
{
	const struct pvvas_lock_waiter *writer;

	if (me->exclusive)
		return list_is_first(&me->node, &lock->waiters);
	writer = list_first_entry_or_null(&lock->writers,
					  struct pvvas_lock_waiter, as_writer);
	return !writer || me->arrival < writer->arrival;
}

/*
 * Refuse if the word says so: 0, or -ENOTRECOVERABLE, -EBUSY, -EDEADLK; or
 * -EAGAIN, with a word that has changed.  -ESTALE: the lock is the segment's no
 * more.
 */
static int pvvas_word_check(struct pvvas_seglock *lock, u32 word, u32 number)
{
	u32 writer = pvvas_word_writer(word);

	if (READ_ONCE(*lock->gone))
		return -ESTALE;
	if (word & PVVAS_LOCK_LOST)
		return -ENOTRECOVERABLE;
	if (!writer)
		return 0;
	if (writer == number)
		return -EDEADLK;
	if (pvvas_holder_lives(writer))
		return -EBUSY;
	/* The thread died, or the number is no thread's. */
	try_cmpxchg(lock->word, &word,
		    (word & ~PVVAS_LOCK_OWNER) | PVVAS_LOCK_DIED);
	return -EAGAIN;
}

/*
 * How often the driver tries to change a word.  Once PVVAS_LOCK_WAITERS is set no
 * honest program changes the word; others shall not keep lock->lock held.
 */
#define PVVAS_LOCK_ROUNDS	8

/* lock->lock is held.  -EBUSY leaves PVVAS_LOCK_WAITERS set. */
static int pvvas_try_exclusive(struct pvvas_seglock *lock, u32 number, u32 *state)
{
	const u32 keep = PVVAS_LOCK_DIED | PVVAS_LOCK_WAITERS;
	u32 word;
	int ret, i;

	for (i = 0; i < PVVAS_LOCK_ROUNDS; i++) {
		word = READ_ONCE(*lock->word);
		ret = pvvas_word_check(lock, word, number);
		if (ret == -EAGAIN)
			continue;
		if (ret)
			return ret;
		if (word & PVVAS_LOCK_READERS) {
			/* no new readers, and a barrier */
			if (!try_cmpxchg(lock->word, &word,
					 word | PVVAS_LOCK_WAITERS))
				continue;
			word |= PVVAS_LOCK_WAITERS;
			if (pvvas_lock_has_readers(lock))
				return -EBUSY;
		}
		if (try_cmpxchg(lock->word, &word, number | (word & keep))) {
			*state = word & PVVAS_LOCK_DIED;
			return 0;
		}
	}
	return -EBUSY;
}

/* lock->lock is held.  @hold: the caller's element for this lock. */
static int pvvas_try_shared(struct pvvas_seglock *lock, u32 number, u32 *hold,
			    u32 *state)
{
	const u32 keep = PVVAS_LOCK_DIED | PVVAS_LOCK_WAITERS;
	u32 word;
	int ret = -EBUSY, i;

	for (i = 0; i < PVVAS_LOCK_ROUNDS; i++) {
		word = READ_ONCE(*lock->word);
		ret = pvvas_word_check(lock, word, number);
		if (ret == -EAGAIN)
			continue;
		if (ret)
			break;
		WRITE_ONCE(*hold, lock->id);
		if (try_cmpxchg(lock->word, &word,
				PVVAS_LOCK_READERS | (word & keep))) {
			*state = word & PVVAS_LOCK_DIED;
			return 0;
		}
	}
	WRITE_ONCE(*hold, 0);
	return ret && ret != -EAGAIN ? ret : -EBUSY;
}

/* @hold: NULL if exclusively. */
static int pvvas_lock_try(struct pvvas_seglock *lock, struct pvvas_holder *me,
			  u32 *hold, struct pvvas_ioc_lock *arg)
{
	if (!hold)
		return pvvas_try_exclusive(lock, me->number, &arg->state);
	return pvvas_try_shared(lock, me->number, hold, &arg->state);
}

/*
 * How long a thread sleeps before it looks at the word again: a number in there
 * that its owner never took the lock with goes unreported when that owner dies.
 */
#define PVVAS_LOCK_LOOK		NSEC_PER_SEC

/* lock->lock is held, but while the thread sleeps. */
static int pvvas_lock_wait(struct pvvas_seglock *lock, struct pvvas_holder *me,
			   u32 *hold, struct pvvas_ioc_lock *arg)
{
	ktime_t deadline = pvvas_deadline(arg->deadline), look;
	struct pvvas_lock_waiter w = {
		.task = current,
		.exclusive = !hold,
	};
	int ret, slept = 0;

	w.arrival = lock->arrivals++;
	list_add_tail(&w.node, &lock->waiters);
	if (w.exclusive)
		list_add_tail(&w.as_writer, &lock->writers);
	for (;;) {
		WRITE_ONCE(w.woken, false);
		/* The barrier is that of a waiter: set it, then look. */
		atomic_fetch_or(PVVAS_LOCK_WAITERS, (atomic_t *)lock->word);
		ret = pvvas_lock_turn(lock, &w) ?
		      pvvas_lock_try(lock, me, hold, arg) :
		      READ_ONCE(*lock->gone) ? -ESTALE : -EBUSY;
		if (ret != -EBUSY || slept)
			break;
		spin_unlock(&lock->lock);
		look = min(deadline, ktime_add_ns(ktime_get(), PVVAS_LOCK_LOOK));
		slept = pvvas_sleep(&w.woken, look);
		if (slept == -ETIMEDOUT && look < deadline)
			slept = 0;
		spin_lock(&lock->lock);
	}
	list_del(&w.node);
	if (w.exclusive)
		list_del(&w.as_writer);
	return ret == -EBUSY ? slept : ret;
}

/*
 * Waiters get a chance first: the caller may have been in their way a moment ago,
 * with a number in its array that it has taken back.
 */
static int pvvas_lock_take_locked(struct pvvas_seglock *lock,
				  struct pvvas_holder *me, u32 *hold,
				  struct pvvas_ioc_lock *arg)
{
	int ret;

	pvvas_lock_kick_if_free(lock);
	if (!(arg->flags & PVVAS_LOCK_TRY))
		ret = pvvas_lock_wait(lock, me, hold, arg);
	else if (list_empty(&lock->waiters))
		ret = pvvas_lock_try(lock, me, hold, arg);
	else
		ret = -EBUSY;
	if (list_empty(&lock->waiters))
		atomic_andnot(PVVAS_LOCK_WAITERS, (atomic_t *)lock->word);
	else
		pvvas_lock_kick_if_free(lock);
	return ret;
}

/*
 * What has been taken stays taken only while the process has the lock mapped:
 * another thread may have unmapped it meanwhile, and then the thread's death
 * would not be told.
 */
static int pvvas_lock_keep(struct pvvas_proc *proc, struct pvvas_seglock *lock,
			   struct pvvas_holder *me, u32 *hold, u32 element)
{
	const struct pvvas_lock_map *map;
	int ret = 0;

	mutex_lock(&proc->locks_mutex);
	map = xa_load(&proc->locks, lock->id);
	if (!map || map->element != element) {
		if (hold)
			WRITE_ONCE(*hold, 0);
		pvvas_lock_owner_died(lock, me->number);
		ret = -ENOENT;
	}
	mutex_unlock(&proc->locks_mutex);
	return ret;
}

static int pvvas_lock_check(const struct pvvas_ioc_lock *arg, u32 flags)
{
	if (arg->flags & ~flags || arg->state)
		return -EINVAL;
	return 0;
}

int pvvas_lock_take(struct pvvas_ioc_lock *arg)
{
	bool exclusive = arg->flags & PVVAS_LOCK_EXCLUSIVE;
	struct pvvas_proc *proc = pvvas_proc_find(current->mm);
	struct pvvas_holder *me;
	struct pvvas_seglock *lock;
	u32 element, *hold = NULL;
	int ret;

	ret = pvvas_lock_check(arg, PVVAS_LOCK_EXCLUSIVE | PVVAS_LOCK_TRY);
	if (ret)
		return ret;
	me = pvvas_holder_current(proc);
	if (!me)
		return -EINVAL;
	lock = pvvas_lock_mapped(proc, arg->lock, exclusive, &element);
	if (IS_ERR(lock))
		return PTR_ERR(lock);
	if (!exclusive)
		hold = pvvas_holder_element(me, element);
	if (!exclusive && !hold)
		ret = -EINVAL;
	if (!ret) {
		spin_lock(&lock->lock);
		ret = pvvas_lock_take_locked(lock, me, hold, arg);
		spin_unlock(&lock->lock);
		if (!ret)
			ret = pvvas_lock_keep(proc, lock, me, hold, element);
	}
	pvvas_lock_put(lock);
	return ret;
}

/* Give up what @number holds exclusively; -EPERM if it does not. */
static int pvvas_lock_release_locked(struct pvvas_seglock *lock, u32 number)
{
	u32 word = READ_ONCE(*lock->word), new;
	int i = 0;

	do {
		if (pvvas_word_writer(word) != number || i++ == PVVAS_LOCK_ROUNDS)
			return -EPERM;
		new = word & (PVVAS_LOCK_WAITERS | PVVAS_LOCK_LOST);
		/* no thread has said that the data are in order */
		if (word & PVVAS_LOCK_DIED)
			new |= PVVAS_LOCK_LOST;
	} while (!try_cmpxchg(lock->word, &word, new));
	return 0;
}

static int pvvas_lock_consistent_locked(struct pvvas_seglock *lock, u32 number)
{
	u32 word = READ_ONCE(*lock->word);
	int i = 0;

	do {
		if (pvvas_word_writer(word) != number || i++ == PVVAS_LOCK_ROUNDS)
			return -EPERM;
	} while (!try_cmpxchg(lock->word, &word, word & ~PVVAS_LOCK_DIED));
	return 0;
}

/* RELEASE and CONSISTENT: not interrupted, since the caller cannot go on. */
static int pvvas_lock_held(struct pvvas_ioc_lock *arg, bool exclusive,
			   int (*call)(struct pvvas_seglock *lock, u32 number))
{
	struct pvvas_proc *proc = pvvas_proc_find(current->mm);
	struct pvvas_holder *me = pvvas_holder_current(proc);
	struct pvvas_seglock *lock;
	u32 element;
	int ret = 0;

	if (!me || arg->deadline)
		return -EINVAL;
	lock = pvvas_lock_mapped(proc, arg->lock, exclusive, &element);
	if (IS_ERR(lock))
		return PTR_ERR(lock);
	spin_lock(&lock->lock);
	if (exclusive)
		ret = call(lock, me->number);
	if (!exclusive)
		pvvas_lock_kick_if_free(lock);
	else if (!ret)
		pvvas_lock_kick(lock);
	spin_unlock(&lock->lock);
	pvvas_lock_put(lock);
	return ret;
}

int pvvas_lock_release(struct pvvas_ioc_lock *arg)
{
	return pvvas_lock_check(arg, PVVAS_LOCK_EXCLUSIVE) ?:
	       pvvas_lock_held(arg, arg->flags & PVVAS_LOCK_EXCLUSIVE,
			       pvvas_lock_release_locked);
}

int pvvas_lock_consistent(struct pvvas_ioc_lock *arg)
{
	return pvvas_lock_check(arg, 0) ?:
	       pvvas_lock_held(arg, true, pvvas_lock_consistent_locked);
}

/*
 * The thread that had the number is dead, and has no array any more: no waiter
 * need wait for it.
 */
void pvvas_lock_owner_died(struct pvvas_seglock *lock, u32 number)
{
	u32 word;
	int i = 0;

	spin_lock(&lock->lock);
	word = READ_ONCE(*lock->word);
	while (pvvas_word_writer(word) == number && i++ < PVVAS_LOCK_ROUNDS &&
	       !try_cmpxchg(lock->word, &word, (word & ~PVVAS_LOCK_OWNER) |
			    PVVAS_LOCK_DIED))
		;
	pvvas_lock_kick_if_free(lock);
	spin_unlock(&lock->lock);
}

/* The segment has another lock, and @gone says so: all waiters go there. */
void pvvas_lock_retire(struct pvvas_seglock *lock)
{
	spin_lock(&lock->lock);
	pvvas_lock_kick(lock);
	spin_unlock(&lock->lock);
}

/* As new, whichever holder died; -EBUSY if a thread holds it exclusively. */
int pvvas_lock_renew(struct pvvas_seglock *lock)
{
	u32 word, writer;
	int ret = 0, i = 0;

	spin_lock(&lock->lock);
	word = READ_ONCE(*lock->word);
	do {
		writer = pvvas_word_writer(word);
		if ((writer && pvvas_holder_lives(writer)) ||
		    i++ == PVVAS_LOCK_ROUNDS)
			ret = -EBUSY;
		/* Readers may be in, that were told of the death. */
	} while (!ret &&
		 !try_cmpxchg(lock->word, &word, PVVAS_LOCK_READERS |
			      (word & PVVAS_LOCK_WAITERS)));
	if (!ret)
		pvvas_lock_kick(lock);
	spin_unlock(&lock->lock);
	return ret;
}
