// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VAS: a set of links to segments, and the space that shows them.  The views of
 * its attachments lead there, or, where an attachment has private segments, to a
 * space of the attachment's; link and unlink change them all.  pvvas_lock is held.
 *
 * There may be many such attachments, so link and unlink go through them in pieces, and
 * give pvvas_lock to others in between.  vas->linking is set then: no other segment of
 * the VAS is linked or unlinked meanwhile (-EINPROGRESS, for pvvas_vas_again()).
 * Attachments come and go.  What one that parts now shows is decided by the links of the
 * VAS: a link comes among these before it is shown, and goes before it is hidden.
 */
#include <linux/slab.h>
#include "ept.h"

int pvvas_vas_create(struct pvvas_ioc_create *arg)
{
	struct pvvas_proc *owner = NULL;
	struct pvvas_vas *vas;
	char *name = NULL;
	int ret;

	if (arg->flags || arg->mode & ~0777 || arg->base || arg->length ||
	    arg->policy || arg->nodes || arg->reserved || arg->memory ||
	    arg->colors)
		return -EINVAL;
	if (arg->name)
		name = pvvas_name_from_user(arg->name);
	else
		owner = pvvas_proc_current();
	if (IS_ERR(name) || IS_ERR(owner))
		return IS_ERR(name) ? PTR_ERR(name) : PTR_ERR(owner);
	vas = kzalloc(sizeof(*vas), GFP_KERNEL_ACCOUNT);
	if (!vas) {
		kfree(name);
		return -ENOMEM;
	}
	ret = -ENOMEM;
	vas->space = pvvas_space_new(GFP_KERNEL);
	if (vas->space)
		ret = pvvas_object_init(&vas->obj, PVVAS_KIND_VAS, arg->mode);
	if (ret) {
		pvvas_space_free(vas->space);
		kfree(name);
		kfree(vas);
		return ret;
	}
	pvvas_links_init(&vas->links, false);
	INIT_LIST_HEAD(&vas->atts);
	xa_init(&vas->parted);
	atomic_inc(&pvvas_counts.vases);

	mutex_lock(&pvvas_lock);
	ret = pvvas_object_publish(&vas->obj, name, owner);
	if (ret)
		pvvas_object_put(&vas->obj);
	else
		arg->id = vas->obj.id;
	pvvas_unlock();
	if (ret)
		kfree(name);
	return ret;
}

/*
 * Links that go, and attachments that are gone through, with the lock held; fewer where
 * each may take several tables.
 */
#define PVVAS_LINKS_AT_ONCE	64

/* Without locks: there may be many segments. */
static bool pvvas_vas_end(struct pvvas_leftover *left)
{
	struct pvvas_vas *vas = container_of(left, struct pvvas_vas, left);
	bool more;

	pvvas_space_free(vas->space);
	do {
		mutex_lock(&pvvas_lock);
		more = pvvas_links_free(&vas->links, PVVAS_LINKS_AT_ONCE);
		if (!more)
			pvvas_object_end(&vas->obj);
		pvvas_unlock();
		cond_resched();
	} while (more);
	atomic_dec(&pvvas_counts.vases);
	kfree(vas);
	return true;
}

/* The last reference is gone, and with it the last attachment. */
void pvvas_vas_free(struct pvvas_vas *vas)
{
	/* Spare views may have the space still. */
	pvvas_views_leave(vas->space);
	pvvas_bury(&vas->left, pvvas_vas_end);
}

/*
 * What a process attached to its own handle stays, whatever is attached to the
 * VAS: the view of that handle does not show what overlaps it, and others
 * need not care.
 */
bool pvvas_link_hidden(struct pvvas_att *att, const struct pvvas_link *link)
{
	return pvvas_link_overlaps(&att->links, link->seg);
}

/* What the attachment has privately is its own, and stays. */
static int pvvas_att_hide(struct pvvas_att *att, const struct pvvas_link *link)
{
	if (!pvvas_link_find(&att->links, link->seg))
		pvvas_space_detach(att->space, link->seg->tree);
	return 0;
}

static int pvvas_att_show(struct pvvas_att *att, const struct pvvas_link *link)
{
	int ret;

	if (!pvvas_att_parted(att, link->seg->start) ||
	    pvvas_link_hidden(att, link))
		return 0;
	ret = pvvas_space_attach(att->space, link->seg->tree,
				 link->prot & att->rights);
	/* It parted when the link was there, or what had hidden it has gone. */
	return ret == -EEXIST ? 0 : ret;
}

/*
 * Do that for each attachment with a space of its own, up to the first error.  Those that
 * come meanwhile part with the links as they are now: else there may be no end.
 */
static int pvvas_parted_each(struct pvvas_vas *vas, const struct pvvas_link *link,
			     int (*what)(struct pvvas_att *att,
					 const struct pvvas_link *link))
{
	unsigned long serial = 0, last = vas->attached;
	u32 n = 0, tops = pvvas_tree_tops(link->seg->tree);
	struct pvvas_att *att;
	int ret = 0;

	if (xa_empty(&vas->parted))
		return 0;
	kref_get(&vas->obj.ref);
	vas->linking = true;
	while (!ret) {
		att = xa_find_after(&vas->parted, &serial, last, XA_PRESENT);
		if (!att)
			break;
		ret = what(att, link);
		n += tops;
		if (n < PVVAS_LINKS_AT_ONCE)
			continue;
		n = 0;
		pvvas_unlock();
		cond_resched();
		mutex_lock(&pvvas_lock);
	}
	vas->linking = false;
	pvvas_object_put(&vas->obj);
	return ret;
}

/* Does it not grow, or not any more? */
static bool pvvas_seg_stays(const struct pvvas_seg *seg)
{
	return seg->tree->end == pvvas_va_to_gpa(seg->end);
}

static int pvvas_att_reach(struct pvvas_att *att, const struct pvvas_link *link)
{
	int ret = pvvas_space_reach(att->space, link->seg->tree);

	/* What had hidden it went while its new place was taken. */
	if (pvvas_seg_stays(link->seg))
		pvvas_att_show(att, link);
	return ret;
}

/* Is it enough for once, with the lock held?  Where one space may take several tables. */
static bool pvvas_reach_is_much(const struct pvvas_seg *seg)
{
	return pvvas_tree_tops(seg->tree) > 1;
}

/*
 * Let what @link shows reach as far as the segment's tables do, in all views: for
 * pvvas_links_each().
 */
int pvvas_link_reach(struct pvvas_link *link)
{
	struct pvvas_seg *seg = link->seg;
	struct pvvas_att *att;
	struct pvvas_vas *vas;
	int ret;

	if (link->set->private) {
		att = container_of(link->set, struct pvvas_att, links);
		ret = pvvas_space_reach(att->space, seg->tree);
		/* What came to the VAS while the place was taken; not to what is dead. */
		if (pvvas_seg_stays(seg) &&
		    xa_load(&att->vas->parted, att->serial) == att)
			pvvas_att_uncover(att, seg->end, seg->claimed);
		return ret ?: pvvas_reach_is_much(seg);
	}
	vas = container_of(link->set, struct pvvas_vas, links);
	/* It is about to go, and its space may have. */
	if (!kref_read(&vas->obj.ref))
		return 0;
	if (vas->linking)
		return -EINPROGRESS;
	ret = pvvas_space_reach(vas->space, seg->tree) ?:
	      pvvas_parted_each(vas, link, pvvas_att_reach);
	return ret ?: !xa_empty(&vas->parted) || pvvas_reach_is_much(seg);
}

/* Another call links or unlinks: is it this one's turn, after a while? */
bool pvvas_vas_again(int ret)
{
	if (ret != -EINPROGRESS || fatal_signal_pending(current))
		return false;
	schedule_timeout_killable(1);
	return true;
}

/* Nowhere, from now on. */
static void pvvas_link_hide(struct pvvas_vas *vas, struct pvvas_link *link)
{
	pvvas_link_remove(link);
	pvvas_space_detach(vas->space, link->seg->tree);
	pvvas_parted_each(vas, link, pvvas_att_hide);
}

/* In all views. */
static int pvvas_link_show(struct pvvas_vas *vas, const struct pvvas_link *link)
{
	return pvvas_space_attach(vas->space, link->seg->tree, link->prot) ?:
	       pvvas_parted_each(vas, link, pvvas_att_show);
}

static struct pvvas_link *pvvas_vas_link_new(struct pvvas_vas *vas,
					     struct pvvas_seg *seg, u32 prot,
					     struct pvvas_link **spare)
{
	struct pvvas_link *link;

	if (pvvas_link_overlaps(&vas->links, seg))
		return ERR_PTR(-EEXIST);
	link = pvvas_link_new(seg, prot, spare);
	if (!IS_ERR(link))
		pvvas_link_add(link, &vas->links);
	return link;
}

int pvvas_vas_link(struct pvvas_vas *vas, struct pvvas_seg *seg, u32 prot,
		   struct pvvas_link **spare)
{
	struct pvvas_link *link;
	int ret;

	if (vas->linking)
		return -EINPROGRESS;
	link = pvvas_vas_link_new(vas, seg, prot, spare);
	if (IS_ERR(link))
		return PTR_ERR(link);
	ret = pvvas_link_show(vas, link);
	if (ret) {
		pvvas_link_hide(vas, link);
		pvvas_link_free(link);
	} else {
		vas->obj.mtime = ktime_get_real_seconds();
	}
	return ret;
}

int pvvas_vas_unlink(struct pvvas_vas *vas, struct pvvas_seg *seg)
{
	struct pvvas_link *link = pvvas_link_find(&vas->links, seg);

	if (vas->linking)
		return -EINPROGRESS;
	if (!link)
		return -ENOENT;
	pvvas_link_hide(vas, link);
	pvvas_link_free(link);
	vas->obj.mtime = ktime_get_real_seconds();
	return 0;
}
