// SPDX-License-Identifier: GPL-2.0-only
/*
 * Links: which segments are in a VAS, or in the private set of an attachment.
 *
 * No two of a set overlap, so one tree finds them by address.  Others find them by
 * the segment's id: all, and the lockable ones, which each attach asks for.  Nothing
 * goes through a set that does not want all of it.  pvvas_lock is held throughout.
 */
#include <linux/rbtree.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "pvvas_drv.h"

void pvvas_links_init(struct pvvas_links *set, bool private)
{
	set->private = private;
	set->by_address = RB_ROOT;
	set->by_id = RB_ROOT;
	set->lockable = RB_ROOT;
	INIT_LIST_HEAD(&set->dumped);
}

static struct pvvas_link *pvvas_link_of_id(struct rb_node *node)
{
	return rb_entry_safe(node, struct pvvas_link, by_id);
}

static struct pvvas_link *pvvas_link_of_lockable(struct rb_node *node)
{
	return rb_entry_safe(node, struct pvvas_link, lockable);
}

static struct pvvas_link *pvvas_link_of_address(struct rb_node *node)
{
	return rb_entry_safe(node, struct pvvas_link, by_address);
}

static bool pvvas_less_address(struct rb_node *a, const struct rb_node *b)
{
	return rb_entry(a, struct pvvas_link, by_address)->seg->start <
	       rb_entry(b, struct pvvas_link, by_address)->seg->start;
}

static bool pvvas_less_id(struct rb_node *a, const struct rb_node *b)
{
	return rb_entry(a, struct pvvas_link, by_id)->seg->obj.id <
	       rb_entry(b, struct pvvas_link, by_id)->seg->obj.id;
}

static bool pvvas_less_lockable(struct rb_node *a, const struct rb_node *b)
{
	return rb_entry(a, struct pvvas_link, lockable)->seg->obj.id <
	       rb_entry(b, struct pvvas_link, lockable)->seg->obj.id;
}

/*
 * In *spare, which is taken if it becomes one: zeroed memory that was allocated
 * before the lock was taken, as a cgroup at its limit may have to reclaim for it.
 */
struct pvvas_link *pvvas_link_new(struct pvvas_seg *seg, u32 prot,
				  struct pvvas_link **spare)
{
	struct pvvas_user *user = pvvas_quota_charge(PVVAS_QUOTA_LINKS);
	struct pvvas_link *link = *spare;

	if (IS_ERR(user))
		return ERR_CAST(user);
	*spare = NULL;
	kref_get(&seg->obj.ref);
	pvvas_object_use(&seg->obj);
	link->seg = seg;
	link->charged = user;
	link->prot = prot;
	return link;
}

static void pvvas_link_lockable(struct pvvas_link *link, bool lockable)
{
	if (lockable == !RB_EMPTY_NODE(&link->lockable))
		return;
	if (lockable) {
		rb_add(&link->lockable, &link->set->lockable,
		       pvvas_less_lockable);
	} else {
		rb_erase(&link->lockable, &link->set->lockable);
		RB_CLEAR_NODE(&link->lockable);
	}
}

/* To those of a VAS or of an attachment, none of which overlaps it. */
void pvvas_link_add(struct pvvas_link *link, struct pvvas_links *set)
{
	link->set = set;
	list_add_tail(&link->in_seg, &link->seg->links);
	link->seg->nr_links++;
	rb_add(&link->by_address, &set->by_address, pvvas_less_address);
	rb_add(&link->by_id, &set->by_id, pvvas_less_id);
	RB_CLEAR_NODE(&link->lockable);
	pvvas_link_lockable(link, link->seg->lockable);
	INIT_LIST_HEAD(&link->dumped);
	if (link->seg->dump)
		list_add(&link->dumped, &set->dumped);
}

/* Out of its set, if it is in one. */
void pvvas_link_remove(struct pvvas_link *link)
{
	if (!link->set)
		return;
	list_del(&link->in_seg);
	link->seg->nr_links--;
	rb_erase(&link->by_address, &link->set->by_address);
	rb_erase(&link->by_id, &link->set->by_id);
	pvvas_link_lockable(link, false);
	list_del(&link->dumped);
	link->set = NULL;
}

void pvvas_link_free(struct pvvas_link *link)
{
	pvvas_link_remove(link);
	pvvas_object_unuse(&link->seg->obj);
	pvvas_object_put(&link->seg->obj);
	pvvas_quota_uncharge(link->charged, PVVAS_QUOTA_LINKS);
	kfree(link);
}

/* At most @most of a set; true: there are more. */
bool pvvas_links_free(struct pvvas_links *set, u32 most)
{
	struct pvvas_link *link;

	while ((link = pvvas_links_first(set)) && most--)
		pvvas_link_free(link);
	return link;
}

/* So many at a time. */
#define PVVAS_LINKS_AT_ONCE	64

/*
 * May the caller, which has a reference to the segment, go through its links?  One at a
 * time may; then pvvas_links_walk_end().
 */
bool pvvas_links_walk(struct pvvas_seg *seg)
{
	bool mine;

	mutex_lock(&pvvas_lock);
	mine = !seg->walked;
	seg->walked = true;
	pvvas_unlock();
	return mine;
}

void pvvas_links_walk_end(struct pvvas_seg *seg)
{
	mutex_lock(&pvvas_lock);
	seg->walked = false;
	pvvas_unlock();
}

/*
 * Do that for each link of a segment that is walked, up to the first error.  There may be
 * as many as there are VASes: others have the lock in between.  What is done goes to the
 * end, where new links come, which are right from the start.  -EINPROGRESS of @what: the
 * link's turn is later; 1: others have waited for long.  @killable: -EINTR if the process
 * is killed.
 */
int pvvas_links_each(struct pvvas_seg *seg,
		     int (*what)(struct pvvas_link *link), bool killable)
{
	struct pvvas_link *link;
	u32 left = U32_MAX, n;
	int ret = 0;

	do {
		mutex_lock(&pvvas_lock);
		for (n = PVVAS_LINKS_AT_ONCE; n && !ret; n--) {
			left = min(left, seg->nr_links);
			if (!left)
				break;
			link = list_first_entry(&seg->links, struct pvvas_link,
						in_seg);
			ret = what(link);
			if (ret < 0)
				break;
			/* Others may have had the lock, and the link stays. */
			list_move_tail(&link->in_seg, &seg->links);
			left--;
		}
		pvvas_unlock();
		if (ret == -EINPROGRESS)
			schedule_timeout_uninterruptible(1);
		if (ret == -EINPROGRESS || ret > 0)
			ret = 0;
		if (killable && !ret && left && fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	} while (left && !ret);
	return ret;
}

static int pvvas_link_sort(struct pvvas_link *link)
{
	pvvas_link_lockable(link, link->seg->lockable);
	return 0;
}

/* The segment, to which the caller has a reference, is lockable now, or not any more. */
void pvvas_links_sort(struct pvvas_seg *seg)
{
	while (!pvvas_links_walk(seg))
		schedule_timeout_uninterruptible(1);
	pvvas_links_each(seg, pvvas_link_sort, false);
	pvvas_links_walk_end(seg);
}

/* All of a set, by address. */
struct pvvas_link *pvvas_links_first(const struct pvvas_links *set)
{
	return pvvas_link_of_address(rb_first(&set->by_address));
}

struct pvvas_link *pvvas_links_next(const struct pvvas_link *link)
{
	return pvvas_link_of_address(rb_next(&link->by_address));
}

/* The one with the lowest id above @id; of lockable segments alone. */
static struct pvvas_link *pvvas_lockable_above(const struct pvvas_links *set,
					       u32 id)
{
	struct rb_node *node = set->lockable.rb_node, *best = NULL;

	while (node) {
		if (pvvas_link_of_lockable(node)->seg->obj.id > id) {
			best = node;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return pvvas_link_of_lockable(best);
}

struct pvvas_link *pvvas_link_above(const struct pvvas_links *set, u32 id,
				    bool lockable)
{
	struct rb_node *node = set->by_id.rb_node, *best = NULL;

	if (lockable)
		return pvvas_lockable_above(set, id);
	while (node) {
		if (pvvas_link_of_id(node)->seg->obj.id > id) {
			best = node;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return pvvas_link_of_id(best);
}

/* The link of segment @id, or NULL. */
struct pvvas_link *pvvas_link_by_id(const struct pvvas_links *set, u32 id)
{
	struct pvvas_link *link = pvvas_link_above(set, id - 1, false);

	return link && link->seg->obj.id == id ? link : NULL;
}

struct pvvas_link *pvvas_link_find(const struct pvvas_links *set,
				   const struct pvvas_seg *seg)
{
	return pvvas_link_by_id(set, seg->obj.id);
}

/* The first one that ends behind @address, rounded up to blocks. */
struct pvvas_link *pvvas_link_behind(const struct pvvas_links *set,
					    u64 address)
{
	struct rb_node *node = set->by_address.rb_node, *best = NULL;

	while (node) {
		if (pvvas_link_of_address(node)->seg->end > address) {
			best = node;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return pvvas_link_of_address(best);
}

/* The same, where segments that grow have their new ends already. */
struct pvvas_link *pvvas_link_claims_behind(const struct pvvas_links *set,
					    u64 address)
{
	struct pvvas_link *link = pvvas_link_behind(set, address), *before;

	before = pvvas_link_of_address(link ? rb_prev(&link->by_address) :
					      rb_last(&set->by_address));
	return before && before->seg->claimed > address ? before : link;
}

/* The first one that overlaps the segment, or NULL. */
struct pvvas_link *pvvas_link_overlaps(const struct pvvas_links *set,
				       const struct pvvas_seg *seg)
{
	struct pvvas_link *link = pvvas_link_behind(set, seg->start);

	return link && link->seg->start < seg->end ? link : NULL;
}

/* The link of the segment that has @address, or NULL. */
struct pvvas_link *pvvas_link_at(const struct pvvas_links *set, u64 address)
{
	struct pvvas_link *link = pvvas_link_behind(set, address);

	return link && address >= link->seg->base &&
	       address - link->seg->base < link->seg->length ? link : NULL;
}
