// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clones, which have their source's data of one moment, and second faces, which
 * are the same memory for good: the requests.  cow.c has the moment.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "compat.h"
#include "ept.h"
#include "lock.h"

/* An empty segment as @like, but for where it is and of which of its pages. */
static struct pvvas_seg *pvvas_clone_new(struct pvvas_seg *like, u64 base,
					 u64 offset, u64 length, umode_t mode)
{
	struct pvvas_seg *seg = pvvas_seg_new(base, length, mode);
	int ret;

	if (IS_ERR(seg))
		return seg;
	seg->shift = like->shift +
		     ((like->base - like->start + offset) / PVVAS_BLOCK *
		      PVVAS_BLOCK_PAGES);
	seg->huge = like->huge;
	seg->small = like->small;
	seg->dump = like->dump;
	seg->policy = like->policy;
	seg->nodes = like->nodes;
	seg->colors = like->colors;
	mutex_lock(&pvvas_lock);
	ret = pvvas_seg_place(seg);
	pvvas_unlock();
	if (!ret)
		ret = pvvas_seg_make(seg);
	if (!ret)
		return seg;
	pvvas_seg_drop(seg);
	return ERR_PTR(ret);
}

/* The name, or the process that owns a clone without one; 0 or -errno. */
static int pvvas_clone_name(const struct pvvas_ioc_clone *arg, char **name,
			    struct pvvas_proc **owner)
{
	*name = NULL;
	*owner = NULL;
	if (arg->flags || arg->reserved || arg->mode & ~0777)
		return -EINVAL;
	if (arg->name) {
		*name = pvvas_name_from_user(arg->name);
		return PTR_ERR_OR_ZERO(*name);
	}
	*owner = pvvas_proc_current();
	return PTR_ERR_OR_ZERO(*owner);
}

/* @seg is complete: give it to the name or the owner, or back. */
static int pvvas_clone_publish(struct pvvas_seg *seg, char *name,
			       struct pvvas_proc *owner, int ret, u32 *id)
{
	mutex_lock(&pvvas_lock);
	if (!ret)
		ret = pvvas_object_publish(&seg->obj, name, owner);
	if (ret)
		pvvas_object_put(&seg->obj);
	else
		*id = seg->obj.id;
	pvvas_unlock();
	return ret;
}

/* cow.c lets these go first.  The lock is not needed: nothing else hangs on it. */
static bool pvvas_clone_writer(const struct pvvas_seg *from)
{
	return pvvas_object_rights(&from->obj) & PVVAS_WRITE;
}

static void pvvas_clone_drop(struct pvvas_clone *clones, u32 nr)
{
	while (nr--)
		pvvas_seg_drop(clones[nr].to);
}

/*
 * The clones of all sources, with the mode @mode or that of the source, to be
 * published; or none.  -EAGAIN: try it again.
 */
static int pvvas_clone_try(struct pvvas_clone *clones, u32 nr, const u32 *mode)
{
	struct pvvas_seg *from, *to;
	int ret = 0;
	u32 i;

	for (i = 0; i < nr; i++) {
		from = clones[i].from;
		to = from->memory->pinned ? ERR_PTR(-EOPNOTSUPP) :
		     pvvas_clone_hides(&clones[i]) ? ERR_PTR(-EACCES) :
		     pvvas_clone_new(from, from->base, 0, from->length,
				     mode ? *mode : from->obj.mode);
		ret = PTR_ERR_OR_ZERO(to);
		if (ret)
			break;
		clones[i].to = to;
	}
	if (!ret)
		ret = pvvas_clone_pages(clones, nr);
	if (ret)
		pvvas_clone_drop(clones, i);
	return ret;
}

/* The same, as often as it takes: an owner can let a source grow again and again. */
static int pvvas_clone_make(struct pvvas_clone *clones, u32 nr, const u32 *mode)
{
	int ret;

	do {
		ret = pvvas_clone_try(clones, nr, mode);
	} while (ret == -EAGAIN && !fatal_signal_pending(current));
	return ret == -EAGAIN ? -EINTR : ret;
}

int pvvas_seg_clone(struct pvvas_ioc_clone *arg)
{
	struct pvvas_clone clone = {};
	struct pvvas_proc *owner;
	char *name;
	int ret;

	if (arg->base || arg->offset || arg->length)
		return -EINVAL;
	ret = pvvas_clone_name(arg, &name, &owner);
	if (ret)
		return ret;
	clone.from = pvvas_seg_hold(arg->source, PVVAS_READ);
	if (IS_ERR(clone.from)) {
		kfree(name);
		return PTR_ERR(clone.from);
	}
	clone.writer = pvvas_clone_writer(clone.from);
	ret = pvvas_clone_make(&clone, 1, &arg->mode);
	if (!ret)
		ret = pvvas_clone_publish(clone.to, name, owner, 0, &arg->id);
	pvvas_seg_drop(clone.from);
	if (ret)
		kfree(name);
	return ret;
}

/*
 * A second face of @mem.  Faces are gone through with interrupts off, whenever a
 * page goes or loses rights: so there are not many.
 */
static int pvvas_face_join(struct pvvas_seg *face, struct pvvas_seg *mem)
{
	struct list_head *pos;
	int ret = 0, n = 0;

	mutex_lock(&pvvas_lock);
	/* list_count_nodes() is not in each 6.1. */
	list_for_each(pos, &mem->faces)
		n++;
	if (n >= PVVAS_MAX_FACES) {
		ret = -ENOSPC;
	} else {
		kref_get(&mem->obj.ref);
		xa_lock_irq(&mem->pages);
		list_move(&face->face, &mem->faces);
		face->memory = mem;
		xa_unlock_irq(&mem->pages);
	}
	pvvas_unlock();
	return ret;
}

/* Does the range fit where it is to be seen? */
static int pvvas_map2_check(const struct pvvas_seg *from,
			    struct pvvas_ioc_clone *arg)
{
	struct pvvas_ioc_range range = { .offset = arg->offset,
					 .length = arg->length };
	u64 at = from->base + arg->offset;
	int ret;

	if (!arg->length && !arg->offset)
		range.length = arg->length = from->length;
	ret = pvvas_range_check(from, &range);
	if (ret)
		return ret;
	if (!arg->base)
		return IS_ALIGNED(at, PVVAS_BLOCK) ? 0 : -EINVAL;
	if (arg->base < PVVAS_WINDOW_FIRST || arg->base > PVVAS_WINDOW_VA +
	    pvvas_window.size - arg->length)
		return -ERANGE;
	return (arg->base ^ at) & (PVVAS_BLOCK - 1) ? -EINVAL : 0;
}

int pvvas_seg_map2(struct pvvas_ioc_clone *arg)
{
	struct pvvas_seg *from, *to, *mem;
	struct pvvas_proc *owner;
	char *name;
	int ret;

	ret = pvvas_clone_name(arg, &name, &owner);
	if (ret)
		return ret;
	from = pvvas_seg_hold(arg->source, PVVAS_READ | PVVAS_WRITE);
	if (IS_ERR(from)) {
		kfree(name);
		return PTR_ERR(from);
	}
	mem = from->memory;
	ret = pvvas_map2_check(from, arg);
	to = ret ? ERR_PTR(ret) : pvvas_clone_new(from, arg->base, arg->offset,
						  arg->length, arg->mode);
	ret = PTR_ERR_OR_ZERO(to);
	if (!ret) {
		arg->base = to->base;
		ret = pvvas_face_join(to, mem);
		ret = pvvas_clone_publish(to, name, owner, ret, &arg->id);
	}
	pvvas_seg_drop(from);
	if (ret)
		kfree(name);
	return ret;
}

/* A VAS that the caller may read, and how many segments it has; or -errno. */
static int pvvas_vas_clone_count(u32 id, struct pvvas_vas **vas)
{
	struct pvvas_object *obj = pvvas_object_by_id(PVVAS_KIND_VAS, id);
	struct pvvas_link *link;
	int n = 0;

	if (!obj)
		return -ENOENT;
	if (!(pvvas_object_rights(obj) & PVVAS_READ))
		return -EACCES;
	*vas = container_of(obj, struct pvvas_vas, obj);
	for (link = pvvas_links_first(&(*vas)->links); link;
	     link = pvvas_links_next(link)) {
		if (link->seg->memory->pinned)
			return -EOPNOTSUPP;
		n++;
	}
	return n;
}

static void pvvas_vas_clone_take(const struct pvvas_vas *vas,
				 struct pvvas_clone *clone)
{
	struct pvvas_link *link;

	for (link = pvvas_links_first(&vas->links); link;
	     link = pvvas_links_next(link)) {
		kref_get(&link->seg->obj.ref);
		clone->from = link->seg;
		clone->writer = pvvas_clone_writer(link->seg);
		(clone++)->prot = link->prot;
	}
}

/* The segments of a VAS that the caller may read, each with a reference. */
static struct pvvas_clone *pvvas_vas_clone_list(u32 id, u32 *n)
{
	struct pvvas_clone *clones;
	struct pvvas_vas *vas;
	int ret, room = 8;

	for (;;) {
		/* Not under the lock: a cgroup may have to wait for the memory. */
		clones = kvcalloc(room + 1, sizeof(*clones),
				  GFP_KERNEL_ACCOUNT);
		if (!clones)
			return ERR_PTR(-ENOMEM);
		mutex_lock(&pvvas_lock);
		ret = pvvas_vas_clone_count(id, &vas);
		if (ret >= 0 && ret <= room)
			pvvas_vas_clone_take(vas, clones);
		pvvas_unlock();
		if (ret >= 0 && ret <= room)
			break;
		kvfree(clones);
		if (ret < 0)
			return ERR_PTR(ret);
		/* Some more may come meanwhile. */
		room = ret + ret / 2 + 8;
	}
	*n = ret;
	return clones;
}

static int pvvas_vas_clone_link(struct pvvas_clone *clone, u32 vid)
{
	struct pvvas_object *obj;
	struct pvvas_link *spare;
	struct pvvas_vas *vas;
	u32 tries = 0;
	int ret;

	do {
		spare = kzalloc(sizeof(*spare), GFP_KERNEL_ACCOUNT);
		if (!spare)
			return -ENOMEM;
		mutex_lock(&pvvas_lock);
		obj = pvvas_object_by_id(PVVAS_KIND_VAS, vid);
		vas = obj ? container_of(obj, struct pvvas_vas, obj) : NULL;
		ret = vas ? pvvas_vas_link(vas, clone->to, clone->prot, &spare) :
			    -ENOENT;
		pvvas_unlock();
		kfree(spare);
	} while (pvvas_vas_again(ret) ||
		 (ret == -ENOMEM && pvvas_make_room(&tries)));
	return ret;
}

/* Segments without names, each linked to the new VAS. */
static int pvvas_vas_clone_links(struct pvvas_clone *clones, u32 n, u32 vid)
{
	int ret = 0;
	u32 i;

	for (i = 0; i < n && !ret; i++)
		ret = pvvas_vas_clone_link(&clones[i], vid);
	return ret;
}

static int pvvas_vas_clone_fill(struct pvvas_clone *clones, u32 n, u32 vid)
{
	struct pvvas_proc *owner = pvvas_proc_current();
	int ret = PTR_ERR_OR_ZERO(owner);
	u32 i;

	if (ret)
		return ret;
	ret = pvvas_clone_make(clones, n, NULL);
	if (ret)
		return ret;
	for (i = 0; i < n; i++) {
		/* Keep one reference, so that it lasts until it is linked. */
		kref_get(&clones[i].to->obj.ref);
		ret = pvvas_clone_publish(clones[i].to, NULL, owner, ret,
					  &clones[i].id);
	}
	if (!ret)
		ret = pvvas_vas_clone_links(clones, n, vid);
	for (i = 0; i < n; i++) {
		struct pvvas_ioc_id id = { .id = clones[i].id };

		/* It lives as long as the VAS, not as long as this process. */
		if (id.id)
			pvvas_object_delete(&id, PVVAS_KIND_SEG);
		pvvas_seg_drop(clones[i].to);
	}
	return ret;
}

/*
 * -ESTALE: a segment that has been there has gone since, and another one has grown into
 * its place before they were copied.
 */
static int pvvas_vas_clone_once(struct pvvas_ioc_clone *arg)
{
	struct pvvas_ioc_create create = { .name = arg->name,
					   .mode = arg->mode };
	struct pvvas_ioc_id id = {};
	struct pvvas_clone *clones;
	u32 n, i;
	int ret;

	clones = pvvas_vas_clone_list(arg->source, &n);
	if (IS_ERR(clones))
		return PTR_ERR(clones);
	/* Others can find it now, without segments; it is deleted on failure. */
	ret = pvvas_vas_create(&create);
	if (!ret) {
		ret = pvvas_vas_clone_fill(clones, n, create.id);
		if (ret == -EEXIST)
			ret = -ESTALE;
		id.id = create.id;
		if (ret)
			pvvas_object_delete(&id, PVVAS_KIND_VAS);
		else
			arg->id = create.id;
	}
	for (i = 0; i < n; i++)
		pvvas_seg_drop(clones[i].from);
	kvfree(clones);
	return ret;
}

int pvvas_vas_clone(struct pvvas_ioc_clone *arg)
{
	int ret;

	if (arg->flags || arg->reserved || arg->base || arg->offset ||
	    arg->length)
		return -EINVAL;
	do {
		ret = pvvas_vas_clone_once(arg);
	} while (ret == -ESTALE && !fatal_signal_pending(current));
	return ret;
}

/*
 * -EINVAL: a segment is there twice.  Each clone in the making gets what the owner
 * of its source writes meanwhile, with interrupts off: a memory has no more of them
 * than it has faces.
 */
static int pvvas_segs_clone_once(const struct pvvas_clone_row *rows, u32 nr)
{
	struct xarray seen;
	int ret = 0;
	u32 i;

	/* On the stack: a lock that is initialised statically is of no class there. */
	xa_init(&seen);
	for (i = 0; i < nr && !ret; i++) {
		ret = xa_insert(&seen, rows[i].source, xa_mk_value(1),
				GFP_KERNEL_ACCOUNT);
		cond_resched();
	}
	xa_destroy(&seen);
	return ret == -EBUSY ? -EINVAL : ret;
}

/* The segments of all rows, each with a reference, and one to its lock. */
static int pvvas_segs_clone_hold(struct pvvas_clone *clones, u32 nr,
				 const struct pvvas_clone_row *rows)
{
	struct pvvas_clone *clone;
	struct pvvas_seg *seg;
	u32 i;

	for (i = 0; i < nr; i++) {
		if (rows[i].id || rows[i].lock || rows[i].reserved)
			return -EINVAL;
		seg = pvvas_seg_hold(rows[i].source, PVVAS_READ);
		if (IS_ERR(seg))
			return PTR_ERR(seg);
		clone = &clones[i];
		clone->from = seg;
		clone->writer = pvvas_clone_writer(seg);
		mutex_lock(&pvvas_lock);
		if (seg->lockable) {
			clone->lock = seg->lock;
			kref_get(&clone->lock->ref);
		}
		pvvas_unlock();
		cond_resched();
	}
	return 0;
}

/* All are published, or none. */
static int pvvas_segs_clone_finish(struct pvvas_clone *clones, u32 nr,
				   struct pvvas_clone_row *rows)
{
	struct pvvas_proc *owner = pvvas_proc_current();
	int ret = PTR_ERR_OR_ZERO(owner);
	u32 i;

	for (i = 0; i < nr; i++) {
		ret = pvvas_clone_publish(clones[i].to, NULL, owner, ret,
					  &rows[i].id);
		rows[i].lock = clones[i].lock_state;
	}
	return ret;
}

static void pvvas_segs_clone_delete(const struct pvvas_clone_row *rows, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++) {
		struct pvvas_ioc_id id = { .id = rows[i].id };

		if (id.id)
			pvvas_object_delete(&id, PVVAS_KIND_SEG);
	}
}

static int pvvas_segs_clone_rows(struct pvvas_clone *clones, u32 nr,
				 struct pvvas_clone_row *rows)
{
	const u32 mode = 0600;
	int ret;
	u32 i;

	ret = pvvas_segs_clone_once(rows, nr) ?:
	      pvvas_segs_clone_hold(clones, nr, rows);
	if (!ret)
		ret = pvvas_clone_make(clones, nr, &mode);
	if (!ret)
		ret = pvvas_segs_clone_finish(clones, nr, rows);
	for (i = 0; i < nr && clones[i].from; i++) {
		pvvas_seg_drop(clones[i].from);
		if (clones[i].lock)
			pvvas_lock_put(clones[i].lock);
	}
	return ret;
}

int pvvas_segs_clone(struct pvvas_ioc_segs_clone *arg)
{
	struct pvvas_clone_row __user *user = u64_to_user_ptr(arg->rows);
	struct pvvas_clone_row *rows;
	struct pvvas_clone *clones;
	size_t bytes;
	int ret = -ENOMEM;

	if (!arg->nr || arg->nr > PVVAS_MAX_ROWS)
		return -EINVAL;
	bytes = arg->nr * sizeof(*rows);
	rows = kvmalloc(bytes, GFP_KERNEL_ACCOUNT);
	clones = kvcalloc(arg->nr, sizeof(*clones), GFP_KERNEL_ACCOUNT);
	if (rows && clones)
		ret = copy_from_user(rows, user, bytes) ? -EFAULT : 0;
	if (!ret)
		ret = pvvas_segs_clone_rows(clones, arg->nr, rows);
	if (!ret && copy_to_user(user, rows, bytes))
		ret = -EFAULT;
	if (ret && rows && clones && clones[0].to)
		pvvas_segs_clone_delete(rows, arg->nr);
	kvfree(clones);
	kvfree(rows);
	return ret;
}
