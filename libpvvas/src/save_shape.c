// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What VASes are made of: names, modes, segments and where they are attached; and
 * copies of all segments' memory, of one moment.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "save_shape.h"

/* Room for one element more; NULL: there is no memory. */
static void *one_more(void **array, uint32_t nr, size_t size)
{
	void *more = realloc(*array, (nr + 1UL) * size);

	if (!more)
		return NULL;
	*array = more;
	return memset((char *)more + nr * size, 0, size);
}

static int add_vas(struct save_shape *shape, int vid,
		   const struct vas_save_options *options)
{
	struct save_set *set = &shape->set;
	struct pvvas_ioc_attr attr;
	struct save_vas *vas;
	int err = pvvas_getattr(PVVAS_KIND_VAS, vid, &attr);

	if (err)
		return save_message(options, err, "vas #%d", vid);
	if (!*attr.name)
		return save_message(options, -EINVAL, "vas #%d has no name", vid);
	vas = one_more((void **)&set->vases, set->head.vases, sizeof(*vas));
	if (!vas)
		return -ENOMEM;
	memcpy(vas->name, attr.name, SAVE_NAME);
	vas->mode = attr.mode;
	vas->uid = attr.uid;
	vas->gid = attr.gid;
	vas->expiry = attr.expiry;
	set->head.vases++;
	return 0;
}

/* Another segment before it that shows the same memory: its number from 1, or 0 */
static uint32_t face_of(const struct save_shape *shape, uint64_t memory)
{
	uint32_t i;

	for (i = 0; i < shape->set.head.segs; i++)
		if (shape->memories[i] == memory)
			return i + 1;
	return 0;
}

/* A copy would not have what a pager has; nor be one with what it is a part of. */
static int check_seg(const struct pvvas_ioc_link *link,
		     const struct pvvas_ioc_attr *attr,
		     const struct vas_save_options *options)
{
	const char *why = link->flags & PVVAS_LINK_PAGER ? "has a pager" :
			  link->flags & PVVAS_LINK_PART ?
			  "shows a part of another segment" : NULL;

	return why ? save_message(options, -EOPNOTSUPP, "seg %s (#%u) %s",
				  attr->name, link->seg, why) : 0;
}

static int add_seg(struct save_shape *shape, const struct pvvas_ioc_link *link,
		   const struct vas_save_options *options)
{
	uint32_t n = shape->set.head.segs;
	struct pvvas_ioc_attr attr;
	struct save_seg *seg;
	uint64_t *memory;
	int *source;
	int err = pvvas_getattr(PVVAS_KIND_SEG, (int)link->seg, &attr);

	if (!err)
		err = check_seg(link, &attr, options);
	if (err)
		return err;
	seg = one_more((void **)&shape->set.segs, n, sizeof(*seg));
	source = one_more((void **)&shape->sources, n, sizeof(*source));
	memory = one_more((void **)&shape->memories, n, sizeof(*memory));
	if (!seg || !source || !memory)
		return -ENOMEM;
	*source = (int)link->seg;
	*memory = link->memory;
	memcpy(seg->name, attr.name, SAVE_NAME);
	seg->base = attr.base;
	seg->length = attr.length;
	seg->mode = attr.mode;
	seg->uid = attr.uid;
	seg->gid = attr.gid;
	seg->expiry = attr.expiry;
	seg->lockable = !!(link->flags & PVVAS_LINK_LOCKABLE);
	seg->face_of = face_of(shape, link->memory);
	shape->set.head.segs++;
	return 0;
}

/* Its number; added if it is a new one. */
static int find_seg(struct save_shape *shape, const struct pvvas_ioc_link *from,
		    uint32_t *number, const struct vas_save_options *options)
{
	uint32_t i;

	for (i = 0; i < shape->set.head.segs; i++)
		if (shape->sources[i] == (int)from->seg)
			break;
	*number = i;
	return i < shape->set.head.segs ? 0 : add_seg(shape, from, options);
}

static int add_links(struct save_shape *shape, int vid,
		     const struct vas_save_options *options)
{
	struct pvvas_ioc_link from = { .size = sizeof(from),
				       .target = (uint32_t)vid };
	struct save_set *set = &shape->set;
	struct save_link *link;
	uint32_t number;
	int err;

	for (;;) {
		from.flags = 0;
		from.prot = 0;
		from.memory = 0;
		err = pvvas_call(PVVAS_IOC_LINK_NEXT, &from);
		if (err == -ENOENT)
			return 0;
		if (!err)
			err = find_seg(shape, &from, &number, options);
		/* one that goes meanwhile is not in it */
		if (err == -ENOENT)
			continue;
		if (err)
			return save_message(options, err, "vas %s",
					    set->vases[set->head.vases - 1].name);
		link = one_more((void **)&set->links, set->head.links,
				sizeof(*link));
		if (!link)
			return -ENOMEM;
		link->vas = set->head.vases - 1;
		link->seg = number;
		link->prot = from.prot;
		set->head.links++;
	}
}

void save_shape_free(struct save_shape *shape)
{
	uint32_t i;

	for (i = 0; i < shape->nr_rows; i++)
		if (shape->rows[i].id)
			seg_delete((int)shape->rows[i].id);
	save_set_free(&shape->set);
	free(shape->sources);
	free(shape->memories);
	free(shape->rows);
	memset(shape, 0, sizeof(*shape));
}

static int gather(struct save_shape *shape, const int *vids, size_t nr,
		  const struct vas_save_options *options)
{
	size_t i;
	int err = 0;

	memset(shape, 0, sizeof(*shape));
	for (i = 0; i < nr && !err; i++) {
		err = add_vas(shape, vids[i], options);
		if (!err)
			err = add_links(shape, vids[i], options);
	}
	if (err)
		save_shape_free(shape);
	return err;
}

static bool same(const void *a, const void *b, size_t n)
{
	return !n || !memcmp(a, b, n);
}

static bool same_shape(const struct save_shape *a, const struct save_shape *b)
{
	const struct save_head *h = &a->set.head, *i = &b->set.head;

	return h->vases == i->vases && h->segs == i->segs && h->links == i->links &&
	       same(a->set.vases, b->set.vases, h->vases * sizeof(*a->set.vases)) &&
	       same(a->set.segs, b->set.segs, h->segs * sizeof(*a->set.segs)) &&
	       same(a->set.links, b->set.links, h->links * sizeof(*a->set.links)) &&
	       same(a->sources, b->sources, h->segs * sizeof(*a->sources));
}

/* One row for each memory. */
static int take_clones(struct save_shape *shape, const struct vas_save_options *options)
{
	struct pvvas_ioc_segs_clone arg = { .size = sizeof(arg) };
	uint32_t i;
	int err;

	shape->rows = calloc(shape->set.head.segs + 1UL, sizeof(*shape->rows));
	if (!shape->rows)
		return -ENOMEM;
	for (i = 0; i < shape->set.head.segs; i++)
		if (!shape->set.segs[i].face_of)
			shape->rows[arg.nr++].source = (uint32_t)shape->sources[i];
	if (!arg.nr)
		return 0;
	arg.rows = (uintptr_t)shape->rows;
	err = pvvas_call(PVVAS_IOC_SEGS_CLONE, &arg);
	if (err)
		return save_message(options, err, "a copy of the memory");
	shape->nr_rows = arg.nr;
	return 0;
}

int save_shape_take(struct save_shape *shape, const int *vids, size_t nr,
		    const struct vas_save_options *options)
{
	struct save_shape after;
	int err, tries;
	bool done;

	for (tries = 0; tries < 10; tries++) {
		err = gather(shape, vids, nr, options);
		if (err)
			return err;
		err = take_clones(shape, options);
		if (!err)
			err = gather(&after, vids, nr, options);
		if (err) {
			save_shape_free(shape);
			return err;
		}
		done = same_shape(shape, &after);
		save_shape_free(&after);
		if (done)
			return 0;
		save_shape_free(shape);
	}
	return save_message(options, -EAGAIN,
			    "segments are attached and detached all the time");
}
