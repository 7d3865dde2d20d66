// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VAS: a set of links to segments, and the space that shows them.  The views of
 * its attachments lead there, or, where an attachment has private segments, to a
 * space of the attachment's; link and unlink change them all.  pvvas_lock is held
 * throughout.
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
	    arg->node || arg->reserved || arg->memory)
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
	INIT_LIST_HEAD(&vas->links);
	INIT_LIST_HEAD(&vas->atts);
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

/* The last reference is gone, and with it the last attachment. */
void pvvas_vas_free(struct pvvas_vas *vas)
{
	struct pvvas_link *link, *next;

	pvvas_space_free(vas->space);
	list_for_each_entry_safe(link, next, &vas->links, node)
		pvvas_link_free(link);
	atomic_dec(&pvvas_counts.vases);
	pvvas_object_end(&vas->obj);
	kfree(vas);
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
	INIT_LIST_HEAD(&link->node);
	INIT_LIST_HEAD(&link->in_seg);
	return link;
}

static void pvvas_link_sort(struct pvvas_link *link)
{
	if (link->seg->lockable)
		list_move(&link->node, link->set);
	else
		list_move_tail(&link->node, link->set);
}

/* To those of a VAS or of an attachment. */
void pvvas_link_add(struct pvvas_link *link, struct list_head *set)
{
	link->set = set;
	list_add(&link->in_seg, &link->seg->links);
	pvvas_link_sort(link);
}

/* It is lockable now, or not any more. */
void pvvas_links_sort(struct pvvas_seg *seg)
{
	struct pvvas_link *link;

	list_for_each_entry(link, &seg->links, in_seg)
		pvvas_link_sort(link);
}

void pvvas_link_free(struct pvvas_link *link)
{
	list_del(&link->node);
	list_del(&link->in_seg);
	pvvas_object_unuse(&link->seg->obj);
	pvvas_object_put(&link->seg->obj);
	pvvas_quota_uncharge(link->charged, PVVAS_QUOTA_LINKS);
	kfree(link);
}

struct pvvas_link *pvvas_link_find(struct list_head *links,
				   const struct pvvas_seg *seg)
{
	struct pvvas_link *link;

	list_for_each_entry(link, links, node)
		if (link->seg == seg)
			return link;
	return NULL;
}

bool pvvas_segs_overlap(const struct pvvas_seg *a, const struct pvvas_seg *b)
{
	return a->start < b->end && b->start < a->end;
}

struct pvvas_link *pvvas_link_overlaps(struct list_head *links,
				       const struct pvvas_seg *seg)
{
	struct pvvas_link *link;

	list_for_each_entry(link, links, node)
		if (pvvas_segs_overlap(seg, link->seg))
			return link;
	return NULL;
}

/*
 * What a process attached to its own handle stays, whatever is attached to the
 * VAS: the view of that handle does not show what overlaps it, and nobody else
 * has to care.
 */
bool pvvas_link_hidden(struct pvvas_att *att, const struct pvvas_link *link)
{
	return pvvas_link_overlaps(&att->links, link->seg);
}

static void pvvas_link_hide(struct pvvas_vas *vas, const struct pvvas_link *link)
{
	struct pvvas_att *att;

	pvvas_space_detach(vas->space, link->seg->tree);
	list_for_each_entry(att, &vas->atts, in_vas)
		/* What the attachment has privately is its own, and stays. */
		if (att->space && !pvvas_link_find(&att->links, link->seg))
			pvvas_space_detach(att->space, link->seg->tree);
}

/* In all views, or in none. */
static int pvvas_link_show(struct pvvas_vas *vas, const struct pvvas_link *link)
{
	struct pvvas_att *att;
	int ret = pvvas_space_attach(vas->space, link->seg->tree, link->prot);

	list_for_each_entry(att, &vas->atts, in_vas)
		if (!ret && att->space && !pvvas_link_hidden(att, link))
			ret = pvvas_space_attach(att->space, link->seg->tree,
						 link->prot & att->rights);
	if (ret)
		pvvas_link_hide(vas, link);
	return ret;
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
	struct pvvas_link *link = pvvas_vas_link_new(vas, seg, prot, spare);
	int ret;

	if (IS_ERR(link))
		return PTR_ERR(link);
	ret = pvvas_link_show(vas, link);
	if (ret)
		pvvas_link_free(link);
	else
		vas->obj.mtime = ktime_get_real_seconds();
	return ret;
}

int pvvas_vas_unlink(struct pvvas_vas *vas, struct pvvas_seg *seg)
{
	struct pvvas_link *link = pvvas_link_find(&vas->links, seg);

	if (!link)
		return -ENOENT;
	pvvas_link_hide(vas, link);
	pvvas_link_free(link);
	vas->obj.mtime = ktime_get_real_seconds();
	return 0;
}
