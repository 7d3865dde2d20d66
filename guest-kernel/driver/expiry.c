// SPDX-License-Identifier: GPL-2.0-only
/*
 * Since when an object has no users, and objects that go when they have had none
 * for as long as their owner says: their names are taken away, as by a delete.
 *
 * Objects that are without users and will expire are in a queue by time, and the
 * work is due when the first of them is.  pvvas_lock is held.
 */
#include <linux/ktime.h>
#include <linux/workqueue.h>
#include "pvvas_drv.h"

static void pvvas_expire(struct work_struct *work);

static struct timerqueue_head pvvas_expiring = {
	.rb_root = RB_ROOT_CACHED,
};
static DECLARE_DELAYED_WORK(pvvas_expiry_work, pvvas_expire);

static struct pvvas_object *pvvas_first_expiring(void)
{
	struct timerqueue_node *node = timerqueue_getnext(&pvvas_expiring);

	return node ? container_of(node, struct pvvas_object, expires) : NULL;
}

/* How long the first one has, in jiffies, rounded up. */
static void pvvas_expiry_arm(void)
{
	struct pvvas_object *first = pvvas_first_expiring();
	s64 ns;

	if (!first)
		return;
	ns = max(ktime_to_ns(ktime_sub(first->expires.expires,
				       ktime_get_boottime())), 0);
	/* a day at most at a time: the sum of jiffies fits */
	ns = min(ns, 86400LL * NSEC_PER_SEC);
	mod_delayed_work(pvvas_wq, &pvvas_expiry_work,
			 nsecs_to_jiffies64(ns) + 1);
}

static void pvvas_expiry_stop(struct pvvas_object *obj)
{
	if (!RB_EMPTY_NODE(&obj->expires.node))
		timerqueue_del(&pvvas_expiring, &obj->expires);
}

/* Nothing uses it, and its name or its creator is all that keeps it. */
static void pvvas_expiry_start(struct pvvas_object *obj)
{
	if (!obj->expiry || obj->users)
		return;
	obj->expires.expires = ktime_add_ns(obj->idle_since,
					    obj->expiry * (u64)NSEC_PER_SEC);
	if (timerqueue_add(&pvvas_expiring, &obj->expires))
		pvvas_expiry_arm();
}

static void pvvas_expire(struct work_struct *work)
{
	struct pvvas_object *obj;

	mutex_lock(&pvvas_lock);
	while ((obj = pvvas_first_expiring()) &&
	       ktime_compare(obj->expires.expires, ktime_get_boottime()) <= 0) {
		pvvas_object_drop(obj);
		/* what was in a VAS may have to be given back, at length */
		pvvas_unlock();
		cond_resched();
		mutex_lock(&pvvas_lock);
	}
	pvvas_expiry_arm();
	pvvas_unlock();
}

/* A new object. */
void pvvas_expiry_init(struct pvvas_object *obj)
{
	timerqueue_init(&obj->expires);
	obj->idle_since = ktime_get_coarse_boottime();
}

/* It has lost its name, or its creator. */
void pvvas_expiry_end(struct pvvas_object *obj)
{
	pvvas_expiry_stop(obj);
	obj->expiry = 0;
}

/* @seconds, or 0: it does not expire; from the time on that nothing uses it. */
void pvvas_expiry_set(struct pvvas_object *obj, u32 seconds)
{
	pvvas_expiry_stop(obj);
	obj->expiry = seconds;
	pvvas_expiry_start(obj);
}

void pvvas_object_use(struct pvvas_object *obj)
{
	obj->users++;
	obj->atime = ktime_get_real_seconds();
	pvvas_expiry_stop(obj);
}

void pvvas_object_unuse(struct pvvas_object *obj)
{
	obj->users--;
	if (obj->users)
		return;
	obj->idle_since = ktime_get_coarse_boottime();
	pvvas_expiry_start(obj);
}

/* Seconds since it had users last; 0 if it has some. */
u64 pvvas_object_idle(const struct pvvas_object *obj)
{
	if (obj->users)
		return 0;
	return div_u64(ktime_to_ns(ktime_sub(ktime_get_boottime(),
					     obj->idle_since)), NSEC_PER_SEC);
}

/* There is no object any more. */
void pvvas_expiry_exit(void)
{
	cancel_delayed_work_sync(&pvvas_expiry_work);
}
