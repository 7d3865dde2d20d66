// SPDX-License-Identifier: GPL-2.0-only
/*
 * The end of objects.
 *
 * A segment's pages may be many, and so may the segments of a VAS: the thread that
 * drops the last reference frees them without pvvas_lock, in pvvas_unlock(); very many
 * are freed by a kernel thread, one object after the other, for which no caller waits.
 *
 * What the hypervisor would not take back when its last user went is left over.
 * No caller is there to get the error, and nothing that it may still show can be
 * freed: so it stays as it is, counted and charged, and is tried again until it
 * goes.  The module stays as long.
 */
#define pr_fmt(fmt) "pvvas: " fmt

#include <linux/module.h>
#include <linux/workqueue.h>
#include "pvvas_drv.h"

#define PVVAS_LEFTOVER_SOON	(HZ / 20)
#define PVVAS_LEFTOVER_LATE	(10 * HZ)

/* What the holder of pvvas_lock has dropped the last reference to. */
static LIST_HEAD(pvvas_dead);		/* under pvvas_lock */

/* In the order in which they came: views before the segments in them. */
static LIST_HEAD(pvvas_leftovers);	/* under pvvas_lock */
static unsigned long pvvas_leftover_wait;	/* likewise */

/* What the kernel thread is to end, the oldest first. */
static LIST_HEAD(pvvas_later);		/* under pvvas_lock */

static void pvvas_later_end(struct work_struct *work);
static DECLARE_WORK(pvvas_later_work, pvvas_later_end);

static void pvvas_leftover_again(struct work_struct *work);
static DECLARE_DELAYED_WORK(pvvas_leftover_work, pvvas_leftover_again);

/*
 * The last reference is gone, and so is every user: @end is called without the lock,
 * which is held now, and what it returns does not matter.
 */
void pvvas_bury(struct pvvas_leftover *left,
		bool (*end)(struct pvvas_leftover *left))
{
	lockdep_assert_held(&pvvas_lock);
	left->end = end;
	list_add_tail(&left->node, &pvvas_dead);
}

/* The same, but @end is called by a kernel thread. */
void pvvas_bury_later(struct pvvas_leftover *left,
		      bool (*end)(struct pvvas_leftover *left))
{
	lockdep_assert_held(&pvvas_lock);
	left->end = end;
	list_add_tail(&left->node, &pvvas_later);
	queue_work(pvvas_wq, &pvvas_later_work);
}

static struct pvvas_leftover *pvvas_later_next(void)
{
	struct pvvas_leftover *left;

	mutex_lock(&pvvas_lock);
	left = list_first_entry_or_null(&pvvas_later, struct pvvas_leftover,
					node);
	if (left)
		list_del(&left->node);
	pvvas_unlock();
	return left;
}

static void pvvas_later_end(struct work_struct *work)
{
	struct pvvas_leftover *left;

	while ((left = pvvas_later_next()))
		left->end(left);
}

void pvvas_unlock(void)
{
	struct pvvas_leftover *left, *next;
	LIST_HEAD(dead);

	list_splice_init(&pvvas_dead, &dead);
	mutex_unlock(&pvvas_lock);
	list_for_each_entry_safe(left, next, &dead, node)
		left->end(left);
}

static void pvvas_leftover_again(struct work_struct *work)
{
	struct pvvas_leftover *left, *next;
	LIST_HEAD(list);

	mutex_lock(&pvvas_lock);
	list_splice_init(&pvvas_leftovers, &list);
	list_for_each_entry_safe(left, next, &list, node) {
		list_del(&left->node);
		if (left->end(left))
			module_put(THIS_MODULE);
		else
			list_add_tail(&left->node, &pvvas_leftovers);
		cond_resched();
	}
	if (!list_empty(&pvvas_leftovers)) {
		pvvas_leftover_wait = min_t(unsigned long,
					    2 * pvvas_leftover_wait,
					    PVVAS_LEFTOVER_LATE);
		queue_delayed_work(pvvas_wq, &pvvas_leftover_work,
				   pvvas_leftover_wait);
	}
	pvvas_unlock();
}

/*
 * The end of an object that cannot be found any more: @end takes away KVM's
 * half and then frees the rest.  False: KVM's half stays, nothing was done.
 * pvvas_lock is held, each time.
 */
void pvvas_give_back(struct pvvas_leftover *left,
		     bool (*end)(struct pvvas_leftover *left))
{
	if (!end(left))
		pvvas_leave(left, end);
}

/* The same, when KVM has refused it once.  pvvas_lock is held. */
void pvvas_leave(struct pvvas_leftover *left,
		 bool (*end)(struct pvvas_leftover *left))
{
	lockdep_assert_held(&pvvas_lock);
	pr_info_once("the hypervisor refuses to take something back; it is tried again\n");
	__module_get(THIS_MODULE);
	left->end = end;
	list_add_tail(&left->node, &pvvas_leftovers);
	pvvas_leftover_wait = PVVAS_LEFTOVER_SOON;
	mod_delayed_work(pvvas_wq, &pvvas_leftover_work, pvvas_leftover_wait);
}

/* Nothing is left, else we would not unload; but the works may be at their end. */
void pvvas_leftover_flush(void)
{
	flush_work(&pvvas_later_work);
	cancel_delayed_work_sync(&pvvas_leftover_work);
}
