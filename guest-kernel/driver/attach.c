// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attachments: a VAS in a process, and the segments that only this process
 * sees in it.  Each has one view.
 *
 * What a segment allows in a view is what was given when it was linked to the
 * VAS, less what the VAS's mode denies the process.  The process that links a
 * segment to a VAS vouches for it: attachers of the VAS need no right to the segment.
 */
#include <linux/jiffies.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "ept.h"
#include "trace.h"

/* Most attachments of a process: the index has 16 bits, 0 is no attachment. */
#define PVVAS_ATT_LIMIT	XA_LIMIT(1, 0xffff)

struct pvvas_att *pvvas_att_get(struct pvvas_proc *proc, u32 handle)
{
	struct pvvas_att *att = NULL;

	if (proc && handle & PVVAS_HANDLE)
		att = xa_load(&proc->atts, PVVAS_HANDLE_INDEX(handle));
	return att && att->handle == handle ? att : NULL;
}

/*
 * An index is used again as late as possible, and a generation tells its next
 * user from this one: so that a thread with a stale handle is not, on trying
 * it, for a moment in another attachment's view, which then could not be detached.
 */
static int pvvas_att_number(struct pvvas_proc *proc, struct pvvas_att *att)
{
	u32 index;
	int ret;

	ret = xa_alloc_cyclic(&proc->atts, &index, att, PVVAS_ATT_LIMIT,
			      &proc->next_index, GFP_KERNEL);
	if (ret < 0)
		return ret == -EBUSY ? -ENOSPC : ret;
	/* Before a thread can be in the view. */
	if (proc->generation)
		WRITE_ONCE(proc->several, true);
	proc->generation = (proc->generation + 1) & 0x3fff;
	att->handle = PVVAS_HANDLE | proc->generation << 16 | index;
	return 0;
}

/* Make the view and show the VAS's segments in it. */
static int pvvas_att_build(struct pvvas_att *att)
{
	return pvvas_view_new(att->proc, att->handle, att->vas->space,
			      att->rights, &att->view);
}

/* No thread is in the view any more, or it was never placed. */
static long pvvas_att_close(struct pvvas_att *att)
{
	long ret = att->view ? pvvas_view_free(att->view) : 0;

	if (!ret)
		att->view = NULL;
	return ret;
}

static bool pvvas_att_end(struct pvvas_leftover *left)
{
	struct pvvas_att *att = container_of(left, struct pvvas_att, left);

	if (pvvas_att_close(att)) {
		/* Segments may go before it does. */
		if (att->space)
			pvvas_space_clear(att->space);
		return false;
	}
	if (att->space)
		pvvas_views_leave(att->space);
	pvvas_space_bury(att->space);
	pvvas_links_free(&att->links, U32_MAX);
	pvvas_object_unuse(&att->vas->obj);
	pvvas_object_put(&att->vas->obj);
	pvvas_quota_uncharge(att->charged, PVVAS_QUOTA_ATTACHMENTS);
	atomic_dec(&pvvas_counts.attachments);
	kfree(att);
	return true;
}

static void pvvas_att_free(struct pvvas_att *att)
{
	pvvas_dump_forget(att);
	if (att->slot)
		pvvas_slot_forget(att);
	if (att->handle)
		xa_erase(&att->proc->atts, PVVAS_HANDLE_INDEX(att->handle));
	list_del(&att->in_vas);
	if (att->space)
		xa_erase(&att->vas->parted, att->serial);
	pvvas_give_back(&att->left, pvvas_att_end);
}

/* In *spare, which is taken if it becomes one. */
static struct pvvas_att *pvvas_att_new(struct pvvas_proc *proc,
				       struct pvvas_vas *vas, u32 rights,
				       struct pvvas_att **spare)
{
	struct pvvas_user *user = pvvas_quota_charge(PVVAS_QUOTA_ATTACHMENTS);
	struct pvvas_att *att = *spare;
	int ret;

	if (IS_ERR(user))
		return ERR_CAST(user);
	*spare = NULL;
	att->charged = user;
	kref_get(&vas->obj.ref);
	pvvas_object_use(&vas->obj);
	att->proc = proc;
	att->vas = vas;
	att->rights = rights;
	pvvas_links_init(&att->links, true);
	INIT_LIST_HEAD(&att->in_vas);
	INIT_LIST_HEAD(&att->dumps);
	atomic_inc(&pvvas_counts.attachments);

	ret = pvvas_att_number(proc, att);
	if (!ret)
		ret = pvvas_att_build(att);
	if (ret) {
		pvvas_att_free(att);
		return ERR_PTR(ret);
	}
	att->serial = ++vas->attached;
	list_add_tail(&att->in_vas, &vas->atts);
	return att;
}

static struct pvvas_vas *pvvas_vas_by_id(u32 id)
{
	struct pvvas_object *obj = pvvas_object_by_id(PVVAS_KIND_VAS, id);

	return obj ? container_of(obj, struct pvvas_vas, obj) : NULL;
}

static struct pvvas_seg *pvvas_seg_by_id(u32 id)
{
	struct pvvas_object *obj = pvvas_object_by_id(PVVAS_KIND_SEG, id);

	return obj ? container_of(obj, struct pvvas_seg, obj) : NULL;
}

/* *dumps: pvvas_dump_update() has something to do. */
static int pvvas_attach_locked(struct pvvas_proc *proc,
			       struct pvvas_ioc_attach *arg,
			       struct pvvas_att **spare, bool *dumps)
{
	struct pvvas_vas *vas = pvvas_vas_by_id(arg->id);
	struct pvvas_att *att;
	u32 rights;
	int ret;

	if (!vas)
		return -ENOENT;
	rights = pvvas_object_rights(&vas->obj);
	if (!(rights & PVVAS_READ))
		return -EACCES;
	att = pvvas_att_new(proc, vas, rights, spare);
	if (IS_ERR(att))
		return PTR_ERR(att);

	/* All slots taken by threads that are in them: resident later. */
	ret = pvvas_slot_fill(att);
	if (ret && ret != -EBUSY) {
		pvvas_att_free(att);
		return ret;
	}
	arg->handle = att->handle;
	arg->slot = att->slot;
	if (RB_EMPTY_ROOT(&vas->links.lockable))
		arg->flags |= PVVAS_ATTACH_NO_LOCKS;
	*dumps = !list_empty(&vas->links.dumped);
	trace_pvvas_attach(vas->obj.id, att->handle, att->slot);
	return 0;
}

int pvvas_attach(struct pvvas_ioc_attach *arg)
{
	struct pvvas_att *spare;
	struct pvvas_proc *proc;
	bool dumps = false;
	u32 tries = 0;
	int ret;

	if (arg->flags || arg->reserved)
		return -EINVAL;
	proc = pvvas_proc_current();
	if (IS_ERR(proc))
		return PTR_ERR(proc);
	do {
		/* Here, as a cgroup at its limit may have to reclaim for it. */
		spare = kzalloc(sizeof(*spare), GFP_KERNEL_ACCOUNT);
		if (!spare)
			return -ENOMEM;
		mutex_lock(&pvvas_lock);
		ret = pvvas_attach_locked(proc, arg, &spare, &dumps);
		pvvas_unlock();
		kfree(spare);
	} while (ret == -ENOMEM && pvvas_make_room(&tries));
	if (!ret && dumps)
		pvvas_dump_update(arg->handle);
	return ret;
}

/* The view is the process's spare one, or goes; or the error of these. */
static int pvvas_att_leave_view(struct pvvas_att *att)
{
	int ret;

	if (pvvas_slot_keep(att))
		return 0;
	ret = pvvas_slot_vacate(att);
	return ret ?: pvvas_spare_put(att->proc, att->view);
}

static int pvvas_detach_once(u32 handle)
{
	struct pvvas_att *att;
	LIST_HEAD(dumps);
	int ret;

	mutex_lock(&pvvas_lock);
	att = pvvas_att_get(pvvas_proc_find(current->mm), handle);
	ret = att ? pvvas_att_leave_view(att) : -ENOENT;
	if (!ret) {
		att->view = NULL;
		pvvas_dump_take(att, NULL, &dumps);
		pvvas_att_free(att);
	}
	pvvas_unlock();
	pvvas_dump_unmap_all(&dumps);
	return ret;
}

/* A thread that has been joined may not be quite gone: the caller need not know. */
int pvvas_detach(struct pvvas_ioc_attach *arg)
{
	unsigned long end = jiffies + HZ;
	int ret;

	if (arg->flags || arg->reserved)
		return -EINVAL;
	for (;;) {
		ret = pvvas_detach_once(arg->handle);
		if (ret != -EAGAIN)
			return ret;
		if (time_after(jiffies, end) || fatal_signal_pending(current))
			return -EBUSY;
		schedule_timeout_killable(1);
	}
}

int pvvas_resident(struct pvvas_ioc_attach *arg)
{
	struct pvvas_att *att;
	int ret;

	if (arg->flags || arg->reserved)
		return -EINVAL;
	mutex_lock(&pvvas_lock);
	att = pvvas_att_get(pvvas_proc_find(current->mm), arg->handle);
	ret = att ? pvvas_slot_fill(att) : -ENOENT;
	if (!ret)
		arg->slot = att->slot;
	pvvas_unlock();
	return ret;
}

/*
 * The mm is dead and no CPU has its list: no thread can be in a view.  There may
 * be many, so others have the lock in between.
 */
void pvvas_detach_all(struct pvvas_proc *proc)
{
	struct pvvas_att *att;
	unsigned long index;

	do {
		index = 0;
		mutex_lock(&pvvas_lock);
		att = xa_find(&proc->atts, &index, ULONG_MAX, XA_PRESENT);
		if (att)
			pvvas_att_free(att);
		pvvas_unlock();
		cond_resched();
	} while (att);
}

static int pvvas_seg_attach_private(struct pvvas_att *att,
				    struct pvvas_seg *seg, u32 prot,
				    struct pvvas_link **spare)
{
	struct pvvas_link *link;
	int ret;

	if (pvvas_link_overlaps(&att->vas->links, seg) ||
	    pvvas_link_overlaps(&att->links, seg))
		return -EEXIST;
	ret = att->parted == U64_MAX ? 0 : pvvas_att_part(att);
	if (ret)
		return ret;
	link = pvvas_link_new(seg, prot, spare);
	if (IS_ERR(link))
		return PTR_ERR(link);
	ret = pvvas_space_attach(att->space, seg->tree, prot);
	if (ret) {
		pvvas_link_free(link);
		return ret;
	}
	pvvas_link_add(link, &att->links);
	return 0;
}

/*
 * Show what of the VAS a private segment had hidden between these addresses.  Without
 * memory for tables: what is not shown stays hidden until it is attached again.
 */
void pvvas_att_uncover(struct pvvas_att *att, u64 start, u64 end)
{
	struct pvvas_link *other = pvvas_link_claims_behind(&att->vas->links,
							    start);
	int ret;

	for (; other && other->seg->start < end; other = pvvas_links_next(other)) {
		if (pvvas_link_hidden(att, other))
			continue;
		ret = pvvas_space_attach(att->space, other->seg->tree,
					 other->prot & att->rights);
		if (ret && ret != -EEXIST)
			pr_warn_ratelimited("no memory to show a segment again\n");
	}
}

static int pvvas_seg_detach_private(struct pvvas_att *att,
				    struct pvvas_seg *seg,
				    struct list_head *dumps)
{
	struct pvvas_link *link = pvvas_link_find(&att->links, seg);

	if (!link)
		return -ENOENT;
	pvvas_space_detach(att->space, seg->tree);
	pvvas_link_remove(link);
	pvvas_att_uncover(att, seg->start, max(seg->end, seg->claimed));
	pvvas_dump_take(att, seg, dumps);
	pvvas_link_free(link);
	return 0;
}

/* Changing a VAS needs the right to write to it. */
static struct pvvas_vas *pvvas_vas_to_change(u32 id)
{
	struct pvvas_vas *vas = pvvas_vas_by_id(id);

	if (!vas)
		return ERR_PTR(-ENOENT);
	if (!(pvvas_object_rights(&vas->obj) & PVVAS_WRITE))
		return ERR_PTR(-EACCES);
	return vas;
}

static int pvvas_seg_attach_locked(struct pvvas_ioc_seg_attach *arg,
				   struct pvvas_link **spare)
{
	struct pvvas_seg *seg = pvvas_seg_by_id(arg->seg);
	u32 rights, prot = arg->prot;
	struct pvvas_att *att;
	struct pvvas_vas *vas;

	if (!seg)
		return -ENOENT;
	rights = pvvas_object_rights(&seg->obj);
	if (!prot)
		prot = rights;
	if (!(rights & PVVAS_READ) || prot & ~rights)
		return -EACCES;
	if (arg->target & PVVAS_HANDLE) {
		att = pvvas_att_get(pvvas_proc_find(current->mm), arg->target);
		return att ? pvvas_seg_attach_private(att, seg, prot, spare) :
			     -ENOENT;
	}
	vas = pvvas_vas_to_change(arg->target);
	if (IS_ERR(vas))
		return PTR_ERR(vas);
	return pvvas_vas_link(vas, seg, prot, spare);
}

static bool pvvas_seg_attach_again(int ret, u32 *tries)
{
	if (ret == -EAGAIN)
		return !fatal_signal_pending(current);
	return pvvas_vas_again(ret) ||
	       (ret == -ENOMEM && pvvas_make_room(tries));
}

int pvvas_seg_attach(struct pvvas_ioc_seg_attach *arg)
{
	struct pvvas_link *spare;
	u32 tries = 0;
	int ret;

	if (arg->flags || arg->reserved ||
	    arg->prot & ~(PVVAS_READ | PVVAS_WRITE) ||
	    arg->prot == PVVAS_WRITE)
		return -EINVAL;
	do {
		spare = kzalloc(sizeof(*spare), GFP_KERNEL_ACCOUNT);
		if (!spare)
			return -ENOMEM;
		mutex_lock(&pvvas_lock);
		ret = pvvas_seg_attach_locked(arg, &spare);
		pvvas_unlock();
		kfree(spare);
		cond_resched();
	} while (pvvas_seg_attach_again(ret, &tries));
	if (!ret && arg->target & PVVAS_HANDLE)
		pvvas_dump_update(arg->target);
	return ret;
}

static int pvvas_seg_detach_locked(struct pvvas_ioc_seg_attach *arg,
				   struct list_head *dumps)
{
	struct pvvas_seg *seg = pvvas_seg_by_id(arg->seg);
	struct pvvas_att *att;
	struct pvvas_vas *vas;

	if (!seg)
		return -ENOENT;
	if (arg->target & PVVAS_HANDLE) {
		att = pvvas_att_get(pvvas_proc_find(current->mm), arg->target);
		return att ? pvvas_seg_detach_private(att, seg, dumps) :
			     -ENOENT;
	}
	vas = pvvas_vas_to_change(arg->target);
	if (IS_ERR(vas))
		return PTR_ERR(vas);
	return pvvas_vas_unlink(vas, seg);
}

int pvvas_seg_detach(struct pvvas_ioc_seg_attach *arg)
{
	LIST_HEAD(dumps);
	int ret;

	if (arg->flags || arg->reserved || arg->prot)
		return -EINVAL;
	do {
		mutex_lock(&pvvas_lock);
		ret = pvvas_seg_detach_locked(arg, &dumps);
		pvvas_unlock();
	} while (pvvas_vas_again(ret));
	pvvas_dump_unmap_all(&dumps);
	return ret;
}

/* The segment @id in an attachment of this process, and with which rights. */
struct pvvas_seg *pvvas_att_seg(u32 handle, u32 id, u32 *rights)
{
	struct pvvas_att *att = pvvas_att_get(pvvas_proc_find(current->mm),
					      handle);
	struct pvvas_seg *seg = pvvas_seg_by_id(id);
	struct pvvas_link *link;

	if (!att || !seg)
		return ERR_PTR(-ENOENT);
	link = pvvas_link_find(&att->links, seg);
	if (link) {
		*rights = link->prot;
		return seg;
	}
	link = pvvas_link_find(&att->vas->links, seg);
	if (!link || pvvas_link_hidden(att, link))
		return ERR_PTR(-ENOENT);
	*rights = link->prot & att->rights;
	return seg;
}

/* Links that one call goes through with the lock held. */
#define PVVAS_LINKS_AT_ONCE	256

/*
 * The link with the lowest segment id above *@id that the attachment shows of its VAS,
 * or NULL.  Others may hide many: -EAGAIN, to go on with *@id without the lock
 * meanwhile.
 */
static struct pvvas_link *pvvas_link_shown(struct pvvas_vas *vas,
					   struct pvvas_att *att, u32 *id,
					   bool lockable)
{
	struct pvvas_link *link;
	u32 n;

	for (n = 0; n < PVVAS_LINKS_AT_ONCE; n++) {
		link = pvvas_link_above(&vas->links, *id, lockable);
		if (!link || !att || !pvvas_link_hidden(att, link))
			return link;
		*id = link->seg->obj.id;
	}
	return ERR_PTR(-EAGAIN);
}

/* *@from: above which segment of the VAS, if not that of @arg. */
static u32 pvvas_link_flags(const struct pvvas_seg *seg)
{
	u32 flags = seg->lockable ? PVVAS_LINK_LOCKABLE : 0;

	if (READ_ONCE(seg->memory->pager))
		flags |= PVVAS_LINK_PAGER;
	if (pvvas_seg_is_part(seg))
		flags |= PVVAS_LINK_PART;
	return flags;
}

static int pvvas_link_next_locked(struct pvvas_ioc_link *arg, u32 *from)
{
	bool lockable = arg->flags & PVVAS_LINK_LOCKABLE;
	struct pvvas_link *link, *mine = NULL;
	struct pvvas_att *att = NULL;
	struct pvvas_vas *vas;

	if (arg->target & PVVAS_HANDLE) {
		att = pvvas_att_get(pvvas_proc_find(current->mm), arg->target);
		vas = att ? att->vas : NULL;
	} else {
		vas = pvvas_vas_by_id(arg->target);
	}
	if (!vas)
		return -EINVAL;
	if (!att && !(pvvas_object_rights(&vas->obj) & PVVAS_READ))
		return -EACCES;
	link = pvvas_link_shown(vas, att, from, lockable);
	if (IS_ERR(link))
		return PTR_ERR(link);
	if (att)
		mine = pvvas_link_above(&att->links, arg->seg, lockable);
	if (mine && (!link || mine->seg->obj.id < link->seg->obj.id))
		link = mine;
	if (!link)
		return -ENOENT;
	arg->seg = link->seg->obj.id;
	arg->prot = link->prot;
	if (att && link != mine)
		arg->prot &= att->rights;
	arg->flags = pvvas_link_flags(link->seg);
	arg->memory = pvvas_seg_unique(link->seg);
	return 0;
}

int pvvas_link_next(struct pvvas_ioc_link *arg)
{
	u32 from = arg->seg;
	int ret;

	if (arg->flags & ~PVVAS_LINK_LOCKABLE || arg->prot || arg->reserved)
		return -EINVAL;
	do {
		mutex_lock(&pvvas_lock);
		ret = pvvas_link_next_locked(arg, &from);
		pvvas_unlock();
		cond_resched();
	} while (ret == -EAGAIN && !fatal_signal_pending(current));
	return ret;
}
