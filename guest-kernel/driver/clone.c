// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clones, which share pages with their source until one side writes, and second
 * faces, which are the same memory for good.
 *
 * A clone has the source of one moment, as far as programs can tell.  First,
 * every page is made read-only, while faults in user mode wait; what a thread
 * has seen of another's writes before is in the clone then.  Then the pages are
 * shared, and only then threads go on.  The kernel's own writes for a program
 * (read(2) into a segment) do not wait: they are in the clone page by page.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "ept.h"

/* Who clones; faults that have to wait, wait for it. */
static DEFINE_MUTEX(pvvas_clone_lock);

/* A source and its clone; while one is made */
struct pvvas_pair {
	struct pvvas_seg *from;
	struct pvvas_seg *to;
	u32 prot;
	u32 id;
};

int pvvas_clone_wait(void)
{
	int ret = mutex_lock_killable(&pvvas_clone_lock);

	if (!ret)
		mutex_unlock(&pvvas_clone_lock);
	return ret;
}

static void pvvas_clone_changing(struct pvvas_seg *mem, bool on)
{
	xa_lock_irq(&mem->pages);
	mem->changing = on;
	xa_unlock_irq(&mem->pages);
}

/* The faces of @mem, each with a reference; the number of them. */
static int pvvas_faces_get(struct pvvas_seg *mem, struct pvvas_seg ***faces)
{
	struct pvvas_seg *face;
	int n = 0, room = 0;

	mutex_lock(&pvvas_lock);
	list_for_each_entry(face, &mem->faces, face)
		room++;
	*faces = kcalloc(room, sizeof(**faces), GFP_KERNEL);
	if (*faces) {
		list_for_each_entry(face, &mem->faces, face)
			if (kref_get_unless_zero(&face->obj.ref))
				(*faces)[n++] = face;
	}
	mutex_unlock(&pvvas_lock);
	return *faces ? n : -ENOMEM;
}

static void pvvas_faces_put(struct pvvas_seg **faces, int n)
{
	while (n--)
		pvvas_seg_drop(faces[n]);
	kfree(faces);
}

/* Mark every page as shared, and make it read-only wherever it is shown. */
static int pvvas_clone_freeze(struct pvvas_seg *mem)
{
	unsigned long index = 0, seen = 0;
	struct pvvas_seg **faces;
	int n, i;

	n = pvvas_faces_get(mem, &faces);
	if (n < 0)
		return n;
	while (xa_find(&mem->pages, &index, ULONG_MAX, XA_PRESENT)) {
		xa_set_mark(&mem->pages, index, PVVAS_COW);
		index++;
		if (!(++seen % 1024))
			cond_resched();
	}
	for (i = 0; i < n; i++)
		pvvas_tree_refuse(faces[i]->tree, 0,
				  (mem->end - mem->start) >> PAGE_SHIFT,
				  PVVAS_PROT_READ);
	pvvas_faces_put(faces, n);
	return 0;
}

/* A reference to the page at @index, read-only from now on. */
static struct page *pvvas_clone_page(struct pvvas_seg *mem, pgoff_t index)
{
	struct pvvas_seg *face;
	struct page *page;

	xa_lock_irq(&mem->pages);
	page = xa_load(&mem->pages, index);
	if (page && !xa_get_mark(&mem->pages, index, PVVAS_COW)) {
		/* The kernel has written to it since. */
		__xa_set_mark(&mem->pages, index, PVVAS_COW);
		list_for_each_entry(face, &mem->faces, face)
			pvvas_tree_refuse(face->tree, index, 1, PVVAS_PROT_READ);
	}
	if (page)
		get_page(page);
	xa_unlock_irq(&mem->pages);
	return page;
}

static int pvvas_clone_share(struct pvvas_seg *mem, struct pvvas_seg *to)
{
	unsigned long index = 0, seen = 0;
	struct page *page;
	int ret;

	for (; xa_find(&mem->pages, &index, ULONG_MAX, XA_PRESENT); index++) {
		page = pvvas_clone_page(mem, index);
		ret = pvvas_page_store(to, index, page, GFP_KERNEL);
		if (ret) {
			pvvas_page_put(page);
			return ret;
		}
		xa_set_mark(&to->pages, index, PVVAS_COW);
		if (!(++seen % 1024)) {
			if (fatal_signal_pending(current))
				return -EINTR;
			cond_resched();
		}
	}
	return 0;
}

/* The clones exist, without pages, and nobody can find them. */
static int pvvas_clone_pages(struct pvvas_pair *pairs, u32 n)
{
	int ret = mutex_lock_killable(&pvvas_clone_lock);
	u32 i;

	if (ret)
		return ret;
	for (i = 0; i < n; i++)
		pvvas_clone_changing(pairs[i].from->memory, true);
	for (i = 0; i < n && !ret; i++)
		ret = pvvas_clone_freeze(pairs[i].from->memory);
	for (i = 0; i < n && !ret; i++)
		ret = pvvas_clone_share(pairs[i].from->memory, pairs[i].to);
	for (i = 0; i < n; i++)
		pvvas_clone_changing(pairs[i].from->memory, false);
	mutex_unlock(&pvvas_clone_lock);
	return ret;
}

/* An empty segment as @like, at @base. */
static struct pvvas_seg *pvvas_clone_new(struct pvvas_seg *like, u64 base,
					 umode_t mode)
{
	struct pvvas_seg *seg = pvvas_seg_new(base, like->length, mode);
	int ret;

	if (IS_ERR(seg))
		return seg;
	seg->huge = like->huge;
	seg->dump = like->dump;
	seg->node = like->node;
	mutex_lock(&pvvas_lock);
	ret = pvvas_seg_place(seg);
	mutex_unlock(&pvvas_lock);
	if (!ret)
		ret = pvvas_seg_make(seg);
	if (!ret)
		return seg;
	pvvas_seg_drop(seg);
	return ERR_PTR(ret);
}

/* The name, or who owns what has none; 0 or -errno. */
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
	mutex_unlock(&pvvas_lock);
	return ret;
}

int pvvas_seg_clone(struct pvvas_ioc_clone *arg)
{
	struct pvvas_pair pair = {};
	struct pvvas_proc *owner;
	char *name;
	int ret;

	if (arg->base)
		return -EINVAL;
	ret = pvvas_clone_name(arg, &name, &owner);
	if (ret)
		return ret;
	pair.from = pvvas_seg_hold(arg->source, PVVAS_READ);
	if (IS_ERR(pair.from)) {
		kfree(name);
		return PTR_ERR(pair.from);
	}
	if (pair.from->memory->pinned)
		pair.to = ERR_PTR(-EOPNOTSUPP);
	else
		pair.to = pvvas_clone_new(pair.from, pair.from->base,
					  arg->mode);
	ret = PTR_ERR_OR_ZERO(pair.to);
	if (!ret) {
		ret = pvvas_clone_pages(&pair, 1);
		ret = pvvas_clone_publish(pair.to, name, owner, ret, &arg->id);
	}
	pvvas_seg_drop(pair.from);
	if (ret)
		kfree(name);
	return ret;
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
	if (!arg->base)
		ret = from->base == from->start ? 0 : -EINVAL;
	else if (arg->base < PVVAS_WINDOW_FIRST || arg->base > PVVAS_WINDOW_VA +
		 pvvas_hv.window_size - from->length)
		ret = -ERANGE;
	else if ((arg->base ^ from->base) & (PVVAS_BLOCK - 1))
		ret = -EINVAL;
	to = ret ? ERR_PTR(ret) : pvvas_clone_new(from, arg->base, arg->mode);
	ret = PTR_ERR_OR_ZERO(to);
	if (!ret) {
		mutex_lock(&pvvas_lock);
		kref_get(&mem->obj.ref);
		xa_lock_irq(&mem->pages);
		list_move(&to->face, &mem->faces);
		to->memory = mem;
		xa_unlock_irq(&mem->pages);
		mutex_unlock(&pvvas_lock);
		arg->base = to->base;
		ret = pvvas_clone_publish(to, name, owner, 0, &arg->id);
	}
	pvvas_seg_drop(from);
	if (ret)
		kfree(name);
	return ret;
}

/* The segments of a VAS that the caller may read, each with a reference. */
static struct pvvas_pair *pvvas_vas_pairs(u32 id, u32 *n)
{
	struct pvvas_pair *pairs = NULL;
	struct pvvas_object *obj;
	struct pvvas_link *link;
	struct pvvas_vas *vas;
	u32 room = 0;
	int ret = 0;

	*n = 0;
	mutex_lock(&pvvas_lock);
	obj = pvvas_object_by_id(PVVAS_KIND_VAS, id);
	vas = obj ? container_of(obj, struct pvvas_vas, obj) : NULL;
	if (!vas)
		ret = -ENOENT;
	else if (!(pvvas_object_rights(obj) & PVVAS_READ))
		ret = -EACCES;
	if (!ret) {
		list_for_each_entry(link, &vas->links, node) {
			if (link->seg->memory->pinned)
				ret = -EOPNOTSUPP;
			room++;
		}
	}
	if (!ret) {
		pairs = kvcalloc(room + 1, sizeof(*pairs), GFP_KERNEL_ACCOUNT);
		if (!pairs)
			ret = -ENOMEM;
	}
	if (!ret) {
		list_for_each_entry(link, &vas->links, node) {
			kref_get(&link->seg->obj.ref);
			pairs[*n].from = link->seg;
			pairs[(*n)++].prot = link->prot;
		}
	}
	mutex_unlock(&pvvas_lock);
	return ret ? ERR_PTR(ret) : pairs;
}

/* Segments without names, each linked to the new VAS. */
static int pvvas_vas_clone_links(struct pvvas_pair *pairs, u32 n, u32 vid)
{
	struct pvvas_object *obj;
	struct pvvas_vas *vas;
	int ret = 0;
	u32 i;

	mutex_lock(&pvvas_lock);
	obj = pvvas_object_by_id(PVVAS_KIND_VAS, vid);
	vas = obj ? container_of(obj, struct pvvas_vas, obj) : NULL;
	if (!vas)
		ret = -ENOENT;
	for (i = 0; i < n && !ret; i++)
		ret = pvvas_vas_link(vas, pairs[i].to, pairs[i].prot);
	mutex_unlock(&pvvas_lock);
	return ret;
}

static int pvvas_vas_clone_fill(struct pvvas_pair *pairs, u32 n, u32 vid)
{
	struct pvvas_proc *owner = pvvas_proc_current();
	int ret = PTR_ERR_OR_ZERO(owner);
	u32 i, made = 0;

	for (i = 0; i < n && !ret; i++) {
		struct pvvas_seg *from = pairs[i].from;
		struct pvvas_seg *to;

		to = pvvas_clone_new(from, from->base, from->obj.mode);
		if (IS_ERR(to)) {
			ret = PTR_ERR(to);
			break;
		}
		pairs[i].to = to;
		made++;
	}
	if (!ret)
		ret = pvvas_clone_pages(pairs, n);
	for (i = 0; i < made; i++) {
		/* Keep one reference, so that it lasts until it is linked. */
		kref_get(&pairs[i].to->obj.ref);
		ret = pvvas_clone_publish(pairs[i].to, NULL, owner, ret,
					  &pairs[i].id);
	}
	if (!ret)
		ret = pvvas_vas_clone_links(pairs, n, vid);
	for (i = 0; i < made; i++) {
		struct pvvas_ioc_id id = { .id = pairs[i].id };

		/* It lives as long as the VAS, not as long as this process. */
		if (id.id)
			pvvas_object_delete(&id, PVVAS_KIND_SEG);
		pvvas_seg_drop(pairs[i].to);
	}
	return ret;
}

int pvvas_vas_clone(struct pvvas_ioc_clone *arg)
{
	struct pvvas_ioc_create create = { .name = arg->name,
					   .mode = arg->mode };
	struct pvvas_ioc_id id = {};
	struct pvvas_pair *pairs;
	u32 n, i;
	int ret;

	if (arg->flags || arg->reserved || arg->base)
		return -EINVAL;
	pairs = pvvas_vas_pairs(arg->source, &n);
	if (IS_ERR(pairs))
		return PTR_ERR(pairs);
	/* Others can find it now, without segments; it is deleted on failure. */
	ret = pvvas_vas_create(&create);
	if (!ret) {
		ret = pvvas_vas_clone_fill(pairs, n, create.id);
		id.id = create.id;
		if (ret)
			pvvas_object_delete(&id, PVVAS_KIND_VAS);
		else
			arg->id = create.id;
	}
	for (i = 0; i < n; i++)
		pvvas_seg_drop(pairs[i].from);
	kvfree(pairs);
	return ret;
}
