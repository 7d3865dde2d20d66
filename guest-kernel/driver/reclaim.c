// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that a pager writes out.
 *
 * A segment that has a limit is reclaimable.  A pager waits until more is resident
 * than that, or the kernel is short of memory (a shrinker), or a page could not be
 * had, and then takes pages out of the segment with their content.  Nothing waits for
 * the pager: a limit that it does not keep stops no thread.
 *
 * Which pages: those that were not accessed for the longest time, as a clock knows.
 * The hand goes round the pages.  One that was accessed since it came by last becomes
 * idle (track.c); one that is still idle is copied to the pager, and taken out if
 * nothing has accessed it meanwhile: what was copied is its last content.  The page's
 * private word says for which caller it was copied last, and 0 once it was accessed.
 */
#include <linux/hrtimer.h>
#include <linux/sched/signal.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include "compat.h"
#include "ept.h"

#define PVVAS_EVICT_BATCH	16
#define PVVAS_WAKE_BATCH	16

/* Pagers that are asked at once, and that are looked at for one that has memory. */
#define PVVAS_PRESS_BATCH	16
#define PVVAS_PRESS_LOOK	64

/**
 * struct pvvas_reclaim - of a reclaimable memory
 * @ref: one of the memory, one of each pager that waits
 * @node: in pvvas_reclaims, while a pager waits
 * @mem: NULL once it is gone
 * @limit: bytes; 0: not reclaimable (any more)
 * @pressed: bytes that the kernel wants back
 * @pagers: that wait
 * @waking: wakes them; has a reference while it is queued
 *
 * @node, @mem, @pressed and @pagers are under pvvas_reclaim_lock.
 */
struct pvvas_reclaim {
	struct kref ref;
	struct list_head node;
	wait_queue_head_t wait;
	struct pvvas_seg *mem;
	u64 limit;
	u64 pressed;
	u32 pagers;
	struct work_struct waking;
};

/* Innermost; nothing is allocated under it, since a shrinker takes it. */
static DEFINE_SPINLOCK(pvvas_reclaim_lock);
static LIST_HEAD(pvvas_reclaims);

/* With a thread of its own, for when there is no memory for one. */
static struct workqueue_struct *pvvas_reclaim_wq;

static void pvvas_reclaim_free(struct kref *ref)
{
	kfree(container_of(ref, struct pvvas_reclaim, ref));
}

static u64 pvvas_resident_of(const struct pvvas_seg *mem)
{
	return atomic64_read(&mem->resident);
}

/*
 * All that wait now, some at a time.  By a kernel thread: they may be very many, and
 * the memory grows under the lock of its pages, in faults of other users.
 */
static void pvvas_reclaim_waking(struct work_struct *work)
{
	struct pvvas_reclaim *reclaim =
		container_of(work, struct pvvas_reclaim, waking);
	u32 n = READ_ONCE(reclaim->pagers) / PVVAS_WAKE_BATCH + 1;

	while (n--) {
		wake_up_interruptible_nr(&reclaim->wait, PVVAS_WAKE_BATCH);
		cond_resched();
	}
	kref_put(&reclaim->ref, pvvas_reclaim_free);
}

/* The caller has a reference. */
static void pvvas_reclaim_wake(struct pvvas_reclaim *reclaim)
{
	kref_get(&reclaim->ref);
	if (!queue_work(pvvas_reclaim_wq, &reclaim->waking))
		kref_put(&reclaim->ref, pvvas_reclaim_free);
}

/* More has become resident; the pages' lock is held. */
void pvvas_reclaim_grown(const struct pvvas_seg *mem)
{
	struct pvvas_reclaim *reclaim = mem->reclaim;

	if (pvvas_resident_of(mem) > READ_ONCE(reclaim->limit))
		pvvas_reclaim_wake(reclaim);
}

/* @bytes of it are wanted.  pvvas_reclaim_lock is held. */
static void pvvas_reclaim_press(struct pvvas_reclaim *reclaim, u64 bytes)
{
	reclaim->pressed = min(reclaim->pressed + bytes,
			       pvvas_resident_of(reclaim->mem));
	pvvas_reclaim_wake(reclaim);
}

/* A page for @mem could not be had. */
void pvvas_reclaim_short(const struct pvvas_seg *mem)
{
	struct pvvas_reclaim *reclaim = READ_ONCE(mem->reclaim);

	if (!reclaim)
		return;
	spin_lock(&pvvas_reclaim_lock);
	pvvas_reclaim_press(reclaim, PVVAS_BLOCK);
	spin_unlock(&pvvas_reclaim_lock);
}

/* The memory goes: waiters get the error for a segment that does not exist. */
void pvvas_reclaim_end(struct pvvas_seg *mem)
{
	struct pvvas_reclaim *reclaim = mem->reclaim;

	if (!reclaim)
		return;
	spin_lock(&pvvas_reclaim_lock);
	reclaim->mem = NULL;
	pvvas_reclaim_wake(reclaim);
	spin_unlock(&pvvas_reclaim_lock);
	kref_put(&reclaim->ref, pvvas_reclaim_free);
}

static int pvvas_reclaim_limit(struct pvvas_seg *mem, u64 limit)
{
	struct pvvas_reclaim *reclaim, *new;

	if (mem->pinned)
		return -EOPNOTSUPP;
	if (mem->locked)
		return -EINVAL;
	new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	kref_init(&new->ref);
	INIT_LIST_HEAD(&new->node);
	init_waitqueue_head(&new->wait);
	INIT_WORK(&new->waking, pvvas_reclaim_waking);
	new->mem = mem;
	xa_lock_irq(&mem->pages);
	if (!mem->reclaim) {
		/* Pairs with the acquire in pvvas_seg_reclaim_wait(). */
		smp_store_release(&mem->reclaim, new);
		new = NULL;
	}
	reclaim = mem->reclaim;
	WRITE_ONCE(reclaim->limit, limit);
	xa_unlock_irq(&mem->pages);
	kfree(new);
	pvvas_reclaim_wake(reclaim);
	return 0;
}

int pvvas_seg_limit(struct pvvas_ioc_reclaim *arg)
{
	struct pvvas_seg *seg;
	int ret;

	if (arg->deadline)
		return -EINVAL;
	seg = pvvas_seg_hold(arg->seg, PVVAS_READ | PVVAS_WRITE);
	if (IS_ERR(seg))
		return PTR_ERR(seg);
	ret = pvvas_seg_is_part(seg) ? -EINVAL :
	      pvvas_reclaim_limit(seg->memory, arg->bytes);
	pvvas_seg_drop(seg);
	return ret;
}

/* How many bytes are to go now, or -errno.  What is told of is not pressed for again. */
static s64 pvvas_reclaim_wanted(struct pvvas_reclaim *reclaim)
{
	u64 limit = READ_ONCE(reclaim->limit), resident;
	s64 ret;

	spin_lock(&pvvas_reclaim_lock);
	if (!reclaim->mem) {
		ret = -ENOENT;
	} else if (!limit) {
		ret = -EINVAL;
	} else {
		resident = pvvas_resident_of(reclaim->mem);
		ret = resident > limit ? resident - limit : 0;
		ret = max_t(u64, ret, reclaim->pressed);
		reclaim->pressed = 0;
	}
	spin_unlock(&pvvas_reclaim_lock);
	return ret;
}

/* Bytes, or -errno. */
static s64 pvvas_reclaim_sleep(struct pvvas_reclaim *reclaim, ktime_t deadline)
{
	ktime_t *expires = deadline == KTIME_MAX ? NULL : &deadline;
	DEFINE_WAIT(wait);
	int end = 0;
	s64 bytes;

	for (;;) {
		prepare_to_wait_exclusive(&reclaim->wait, &wait,
					  TASK_INTERRUPTIBLE);
		bytes = pvvas_reclaim_wanted(reclaim);
		if (bytes || end)
			break;
		if (signal_pending(current))
			end = -ERESTARTSYS;
		else if (!schedule_hrtimeout(expires, HRTIMER_MODE_ABS))
			end = -ETIMEDOUT;
	}
	finish_wait(&reclaim->wait, &wait);
	return bytes ?: end;
}

/* Pagers do not keep the segment: its end is what they hear of. */
int pvvas_seg_reclaim_wait(struct pvvas_ioc_reclaim *arg)
{
	struct pvvas_reclaim *reclaim;
	struct pvvas_seg *seg;
	s64 ret;

	if (arg->bytes)
		return -EINVAL;
	seg = pvvas_seg_hold(arg->seg, PVVAS_READ | PVVAS_WRITE);
	if (IS_ERR(seg))
		return PTR_ERR(seg);
	reclaim = NULL;
	if (!pvvas_seg_is_part(seg))
		/* Pairs with the release in pvvas_reclaim_limit(). */
		reclaim = smp_load_acquire(&seg->memory->reclaim);
	if (reclaim) {
		kref_get(&reclaim->ref);
		spin_lock(&pvvas_reclaim_lock);
		if (!reclaim->pagers++)
			list_add_tail(&reclaim->node, &pvvas_reclaims);
		spin_unlock(&pvvas_reclaim_lock);
	}
	pvvas_seg_drop(seg);
	if (!reclaim)
		return -EINVAL;
	ret = pvvas_reclaim_sleep(reclaim, pvvas_deadline(arg->deadline));
	spin_lock(&pvvas_reclaim_lock);
	if (!--reclaim->pagers)
		list_del_init(&reclaim->node);
	spin_unlock(&pvvas_reclaim_lock);
	kref_put(&reclaim->ref, pvvas_reclaim_free);
	if (ret < 0)
		return ret;
	arg->bytes = ret;
	return 0;
}

/**
 * struct pvvas_evict - a round of the clock
 * @first: number of the first page of the segment; @last: of the last one
 * @turns: how often the hand has come to the end
 * @nr: of @pages, with a reference, that are to go; @index: their numbers
 */
struct pvvas_evict {
	pgoff_t first;
	pgoff_t last;
	u32 turns;
	u32 nr;
	pgoff_t index[PVVAS_EVICT_BATCH];
	struct page *pages[PVVAS_EVICT_BATCH];
};

/* The next idle pages; what the hand passes becomes idle. */
static void pvvas_evict_pick(struct pvvas_seg *mem, struct pvvas_evict *evict,
			     u32 room)
{
	unsigned long index, from = 0, end = 0;
	struct page *page;
	u32 seen;

	evict->nr = 0;
	xa_lock_irq(&mem->pages);
	mem->ageing = true;
	if (mem->hand < evict->first || mem->hand > evict->last)
		mem->hand = evict->first;
	for (seen = 0; evict->nr < room && seen < PVVAS_LOOK; seen++) {
		index = mem->hand;
		page = xa_find(&mem->pages, &index, evict->last, XA_PRESENT);
		if (!page) {
			mem->hand = evict->first;
			evict->turns++;
			break;
		}
		/* What lies between is gone through with interrupts off. */
		if (end && index - from >= PVVAS_LOOK)
			break;
		mem->hand = index + 1;
		if (xa_get_mark(&mem->pages, index, PVVAS_IDLE)) {
			get_page(page);
			set_page_private(page, (unsigned long)evict);
			evict->index[evict->nr] = index;
			evict->pages[evict->nr++] = page;
			continue;
		}
		__xa_set_mark(&mem->pages, index, PVVAS_IDLE);
		from = end ? from : index;
		end = index + 1;
	}
	if (end)
		pvvas_pages_refuse(mem, from, end - from, 0);
	xa_unlock_irq(&mem->pages);
}

/* Take the page out, unless it was accessed since it was copied. */
static bool pvvas_evict_take(struct pvvas_seg *mem, pgoff_t index,
			     struct page *page, const struct pvvas_evict *evict)
{
	bool idle;

	xa_lock_irq(&mem->pages);
	idle = mem->pager && !mem->changing &&
	       xa_load(&mem->pages, index) == page &&
	       page_private(page) == (unsigned long)evict &&
	       xa_get_mark(&mem->pages, index, PVVAS_IDLE);
	if (idle) {
		/* Others have come after the moment of the clones. */
		if (xa_get_mark(&mem->pages, index, PVVAS_COW))
			pvvas_clone_keep(mem, index, page);
		__xa_erase(&mem->pages, index);
		atomic64_sub(PAGE_SIZE, &mem->resident);
	}
	xa_unlock_irq(&mem->pages);
	if (idle) {
		pvvas_quota_memory_back(mem->obj.charged, PAGE_SIZE);
		pvvas_page_put(page);
	}
	return idle;
}

/* Copy the page to the next place of the caller, and take it out. */
static int pvvas_evict_one(struct pvvas_seg *seg, const struct pvvas_evict *evict,
			   u32 i, struct pvvas_ioc_evict *arg)
{
	struct page *page = evict->pages[i];
	pgoff_t index = evict->index[i];
	u64 __user *offset = u64_to_user_ptr(arg->addr);
	char __user *data = u64_to_user_ptr(arg->data);

	if (copy_to_user(data + (arg->done << PAGE_SHIFT), page_address(page),
			 PAGE_SIZE) ||
	    put_user((u64)(index - evict->first) << PAGE_SHIFT,
		     offset + arg->done))
		return -EFAULT;
	if (pvvas_evict_take(seg->memory, index, page, evict))
		arg->done++;
	return 0;
}

/* A page is idle after one turn, and goes in the next one. */
static int pvvas_evict_held(struct pvvas_seg *seg, struct pvvas_evict *evict,
			    struct pvvas_ioc_evict *arg)
{
	struct pvvas_seg *mem = seg->memory;
	int ret = 0;
	u32 i;

	evict->first = pvvas_first(seg);
	evict->last = pvvas_end(seg) - 1;
	while (!ret && arg->done < arg->room && evict->turns < 3) {
		if (!mem->pager)
			ret = -EINVAL;
		else if (fatal_signal_pending(current))
			ret = -EINTR;
		if (ret)
			break;
		pvvas_evict_pick(mem, evict, min_t(u64, arg->room - arg->done,
						   PVVAS_EVICT_BATCH));
		for (i = 0; i < evict->nr; i++) {
			ret = ret ?: pvvas_evict_one(seg, evict, i, arg);
			pvvas_page_put(evict->pages[i]);
		}
		cond_resched();
	}
	/* What has gone the caller must hear of. */
	return arg->done ? 0 : ret;
}

int pvvas_seg_evict(struct pvvas_ioc_evict *arg)
{
	struct pvvas_evict *evict;
	struct pvvas_seg *seg;
	int ret;

	if (arg->done || arg->room > INT_MAX)
		return -EINVAL;
	evict = kzalloc(sizeof(*evict), GFP_KERNEL_ACCOUNT);
	if (!evict)
		return -ENOMEM;
	seg = pvvas_seg_hold(arg->seg, PVVAS_READ | PVVAS_WRITE);
	ret = PTR_ERR_OR_ZERO(seg);
	if (!ret) {
		ret = seg->memory->pinned ? -EOPNOTSUPP :
		      seg->memory->locked ? -EINVAL :
		      pvvas_evict_held(seg, evict, arg);
		pvvas_seg_drop(seg);
	}
	kfree(evict);
	return ret;
}

/*
 * That whose turn it is, or NULL; pvvas_reclaim_lock is held.  What has nothing to give
 * goes to the end of the list: else any user could keep pressure from all others.
 */
static struct pvvas_reclaim *pvvas_reclaim_next(void)
{
	struct pvvas_reclaim *reclaim;
	u32 seen;

	for (seen = 0; seen < PVVAS_PRESS_LOOK; seen++) {
		reclaim = list_first_entry_or_null(&pvvas_reclaims,
						   struct pvvas_reclaim, node);
		if (!reclaim)
			break;
		if (reclaim->mem && pvvas_resident_of(reclaim->mem))
			return reclaim;
		list_rotate_left(&pvvas_reclaims);
	}
	return NULL;
}

static unsigned long pvvas_shrink_count(struct shrinker *shrinker,
					struct shrink_control *sc)
{
	struct pvvas_reclaim *reclaim;
	unsigned long pages = 0;

	spin_lock(&pvvas_reclaim_lock);
	reclaim = pvvas_reclaim_next();
	if (reclaim)
		pages = pvvas_resident_of(reclaim->mem) >> PAGE_SHIFT;
	spin_unlock(&pvvas_reclaim_lock);
	return pages;
}

/* What a pager gives back comes later: nothing is free now. */
static unsigned long pvvas_shrink_scan(struct shrinker *shrinker,
				       struct shrink_control *sc)
{
	u64 bytes = (u64)sc->nr_to_scan << PAGE_SHIFT, some;
	struct pvvas_reclaim *reclaim;
	u32 asked;

	spin_lock(&pvvas_reclaim_lock);
	for (asked = 0; bytes && asked < PVVAS_PRESS_BATCH; asked++) {
		reclaim = pvvas_reclaim_next();
		if (!reclaim)
			break;
		some = min(bytes, pvvas_resident_of(reclaim->mem));
		pvvas_reclaim_press(reclaim, some);
		bytes -= some;
		list_rotate_left(&pvvas_reclaims);
	}
	spin_unlock(&pvvas_reclaim_lock);
	return SHRINK_STOP;
}

static struct shrinker *pvvas_shrinker;

int __init pvvas_reclaim_init(void)
{
	pvvas_reclaim_wq = alloc_workqueue("pvvas_reclaim",
					   WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!pvvas_reclaim_wq)
		return -ENOMEM;
	pvvas_shrinker = pvvas_shrinker_new(pvvas_shrink_count,
					    pvvas_shrink_scan);
	if (pvvas_shrinker)
		return 0;
	destroy_workqueue(pvvas_reclaim_wq);
	return -ENOMEM;
}

void pvvas_reclaim_exit(void)
{
	pvvas_shrinker_free(pvvas_shrinker);
	destroy_workqueue(pvvas_reclaim_wq);
}
