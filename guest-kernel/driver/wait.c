// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads that wait until a word of a segment changes: PVVAS_IOC_SEG_WAIT, _WAKE.
 *
 * A futex would look for others by address and mm, or by the struct page, and
 * the window has neither one memory at an address nor struct pages.  Here a
 * word is known by the memory that it is in and its offset there: the same in
 * every VAS, through every face and in every process.
 *
 * No wake-up is lost: the word is read, in the memory itself, under the lock of
 * the bucket, which a wake-up takes after the word was changed.
 *
 * Rights: a waiter that may only read can neither wake others nor take a wake-up
 * from waiters that may write: it is woken beside the number that was asked for.
 */
#include <linux/jhash.h>
#include <linux/hrtimer.h>
#include <linux/nsproxy.h>
#include <linux/overflow.h>
#include <linux/random.h>
#include <linux/sched/signal.h>
#include <linux/time_namespace.h>
#include "pvvas_drv.h"

/* On the stack of the waiting thread; on the list until it is @woken. */
struct pvvas_waiter {
	struct list_head node;
	struct task_struct *task;
	u64 memory;
	u64 offset;
	u64 number;		/* of its arrival in the bucket */
	bool writer;
	bool woken;
};

/* Nothing sleeps under the lock. */
static struct pvvas_bucket {
	spinlock_t lock;		/* of what follows, and of the waiters */
	struct list_head waiters;	/* in the order of their arrival */
	u64 arrivals;
} ____cacheline_aligned_in_smp pvvas_buckets[256];

static u32 pvvas_wait_seed __read_mostly;

#define PVVAS_WAKE_BATCH	64

void __init pvvas_wait_init(void)
{
	int i;

	pvvas_wait_seed = get_random_u32();
	for (i = 0; i < ARRAY_SIZE(pvvas_buckets); i++) {
		spin_lock_init(&pvvas_buckets[i].lock);
		INIT_LIST_HEAD(&pvvas_buckets[i].waiters);
	}
}

/* The memory goes by its number (life.c): it may go while threads wait. */
static struct pvvas_bucket *pvvas_bucket(u64 memory, u64 offset)
{
	u64 key[] = { memory, offset };
	u32 hash = jhash(key, sizeof(key), pvvas_wait_seed);

	return &pvvas_buckets[hash % ARRAY_SIZE(pvvas_buckets)];
}

/* Where the word is in the memory of @seg. */
static u64 pvvas_word_offset(const struct pvvas_seg *seg, u64 addr)
{
	return addr - seg->start + ((u64)seg->shift << PAGE_SHIFT);
}

/* A word of the memory of @seg; pvvas_lock is held. */
static int pvvas_word_read(struct pvvas_seg *seg, u64 offset, u32 *value)
{
	struct pvvas_seg *mem = seg->memory;
	pgoff_t index = offset >> PAGE_SHIFT;
	void *prot = mtree_load(&seg->prot, pvvas_own(seg, index));
	struct page *page;
	int ret = 0;

	if (prot && !(xa_to_value(prot) & PVVAS_PROT_READ))
		return -EFAULT;
	xa_lock_irq(&mem->pages);
	page = xa_load(&mem->pages, index);
	if (page)
		*value = READ_ONCE(*(u32 *)(page_address(page) +
					    offset_in_page(offset)));
	else if (mem->pager)
		ret = -EFAULT;
	else
		*value = 0;	/* what an access would find */
	xa_unlock_irq(&mem->pages);
	return ret;
}

/* Queue the waiter if the word is as expected; pvvas_lock is held. */
static int pvvas_wait_queue(struct pvvas_ioc_wait *arg, struct pvvas_waiter *w)
{
	struct pvvas_bucket *bucket;
	struct pvvas_seg *seg;
	u32 rights, value;
	int ret;

	seg = pvvas_seen_at(arg->addr, &rights);
	if (!seg || !(rights & PVVAS_READ))
		return -EFAULT;
	w->task = current;
	w->memory = seg->memory->unique;
	w->offset = pvvas_word_offset(seg, arg->addr);
	w->writer = rights & PVVAS_WRITE;
	w->woken = false;
	bucket = pvvas_bucket(w->memory, w->offset);
	spin_lock(&bucket->lock);
	ret = pvvas_word_read(seg, w->offset, &value);
	if (!ret && value != arg->value)
		ret = -EAGAIN;
	if (!ret) {
		w->number = ++bucket->arrivals;
		list_add_tail(&w->node, &bucket->waiters);
	}
	spin_unlock(&bucket->lock);
	return ret;
}

/*
 * User space counts from its time namespace's beginning.  KTIME_MAX: for ever;
 * what is later than that in the kernel's time, too.
 */
ktime_t pvvas_deadline(u64 deadline)
{
	ktime_t t = min_t(u64, deadline, KTIME_MAX), offset = 0;

#ifdef CONFIG_TIME_NS
	offset = timespec64_to_ktime(
			current->nsproxy->time_ns->offsets.monotonic);
#endif
	if (t == KTIME_MAX || check_sub_overflow(t, offset, &t))
		return KTIME_MAX;
	return max_t(ktime_t, t, 0);
}

/*
 * Sleep until *@woken, which is set before this task is woken up, or -ETIMEDOUT,
 * or -ERESTARTSYS.  The caller settles afterwards, under its lock, which of
 * them came first.
 */
int pvvas_sleep(const bool *woken, ktime_t deadline)
{
	ktime_t *expires = deadline == KTIME_MAX ? NULL : &deadline;
	int ret = 0;

	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (READ_ONCE(*woken) || ret)
			break;
		if (signal_pending(current))
			ret = -ERESTARTSYS;
		else if (!schedule_hrtimeout(expires, HRTIMER_MODE_ABS))
			ret = -ETIMEDOUT;
	}
	__set_current_state(TASK_RUNNING);
	return ret;
}

int pvvas_seg_wait(struct pvvas_ioc_wait *arg)
{
	struct pvvas_bucket *bucket;
	struct pvvas_waiter w;
	int ret;

	if (arg->done || arg->reserved ||
	    !IS_ALIGNED(arg->addr, sizeof(u32)))
		return -EINVAL;
	mutex_lock(&pvvas_lock);
	ret = pvvas_wait_queue(arg, &w);
	pvvas_unlock();
	if (ret)
		return ret;
	ret = pvvas_sleep(&w.woken, pvvas_deadline(arg->deadline));
	bucket = pvvas_bucket(w.memory, w.offset);
	spin_lock(&bucket->lock);
	if (w.woken)
		ret = 0;
	else
		list_del(&w.node);
	spin_unlock(&bucket->lock);
	return ret;
}

/* A wake-up, with what is left to do. */
struct pvvas_wake {
	u64 memory;
	u64 offset;
	u32 writers;	/* may still be woken */
	u64 last;	/* arrived before */
	u32 done;
};

/* Some at a time, so that the lock is not kept for long; false: that was all. */
static bool pvvas_wake_some(struct pvvas_bucket *bucket, struct pvvas_wake *wake)
{
	struct pvvas_waiter *w, *next;
	int n = 0;

	list_for_each_entry_safe(w, next, &bucket->waiters, node) {
		if (w->number > wake->last)
			break;
		if (w->memory != wake->memory || w->offset != wake->offset ||
		    (w->writer && !wake->writers))
			continue;
		if (n++ == PVVAS_WAKE_BATCH)
			return true;
		if (w->writer)
			wake->writers--;
		list_del(&w->node);
		WRITE_ONCE(w->woken, true);
		wake_up_process(w->task);
		wake->done++;
	}
	return false;
}

/* Those that may write, up to a number, and all that may only read. */
static void pvvas_wake(struct pvvas_wake *wake)
{
	struct pvvas_bucket *bucket = pvvas_bucket(wake->memory, wake->offset);
	bool more;

	spin_lock(&bucket->lock);
	/* Not the waiters that are woken and wait again. */
	wake->last = bucket->arrivals;
	spin_unlock(&bucket->lock);
	do {
		spin_lock(&bucket->lock);
		more = pvvas_wake_some(bucket, wake);
		spin_unlock(&bucket->lock);
		cond_resched();
	} while (more);
}

int pvvas_seg_wake(struct pvvas_ioc_wait *arg)
{
	struct pvvas_wake wake = { .writers = arg->value };
	struct pvvas_seg *seg;
	u32 rights;
	int ret = 0;

	if (arg->done || arg->reserved || arg->deadline ||
	    !IS_ALIGNED(arg->addr, sizeof(u32)))
		return -EINVAL;
	mutex_lock(&pvvas_lock);
	seg = pvvas_seen_at(arg->addr, &rights);
	if (!seg) {
		ret = -EFAULT;
	} else if (!(rights & PVVAS_WRITE)) {
		ret = -EACCES;
	} else {
		wake.memory = seg->memory->unique;
		wake.offset = pvvas_word_offset(seg, arg->addr);
	}
	pvvas_unlock();
	if (ret)
		return ret;
	pvvas_wake(&wake);
	arg->done = wake.done;
	return 0;
}
