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
	pvvas_links_init(&vas->links);
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

/* Links that go with the lock held. */
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
		if (!ret && pvvas_att_parted(att, link->seg->start) &&
		    !pvvas_link_hidden(att, link))
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
