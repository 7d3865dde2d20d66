// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend's clones: copies, as shared memory has nothing that two
 * files could share; and second faces, which show the same file.
 *
 * What is large is static, here and in soft_page.c: the lock is held, and threads
 * may have small stacks.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "soft.h"

#define PAGE		4096UL
#define WINDOW_END	(PVVAS_WINDOW_VA + SOFT_WINDOW)

static int copy_range(int from, int to, off_t at, off_t end, uint64_t shift)
{
	static char buf[65536];
	int err = 0;
	size_t n;

	for (; at < end && !err; at += (off_t)n) {
		n = sizeof(buf);
		if ((off_t)n > end - at)
			n = (size_t)(end - at);
		err = soft_read(from, buf, n, (uint64_t)at);
		if (!err)
			err = soft_write(to, buf, n, (uint64_t)at - shift);
	}
	return err;
}

/* The @length bytes of @from that begin at @shift. */
static int copy_files(int from, int to, uint64_t shift, uint64_t length)
{
	off_t at = (off_t)shift, end, last = (off_t)(shift + length);
	int err = 0;

	while (!err && (at = lseek(from, at, SEEK_DATA)) >= 0) {
		if (at >= last)
			return 0;
		end = lseek(from, at, SEEK_HOLE);
		if (end < 0)
			return -errno;
		if (end > last)
			end = last;
		err = copy_range(from, to, at, end, shift);
		at = end;
	}
	return err ? err : errno == ENXIO ? 0 : -errno;
}

static int copy_memory(const struct soft_object *from,
		       const struct soft_object *to)
{
	int in = soft_segment_file(from, O_RDONLY);
	int out = soft_segment_file(to, O_RDWR);
	int err = in < 0 ? in : out < 0 ? out :
		  copy_files(in, out, from->shift, from->length);

	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return err;
}

/*
 * A copy gets its name when it is all there: what a process that is killed has
 * begun goes with it.
 */
static int check_name(uint32_t kind, const struct pvvas_ioc_clone *arg)
{
	const char *name = (const char *)(uintptr_t)arg->name;

	return name && soft_name_is_taken(kind, name) ? -EEXIST : 0;
}

static void finish(struct soft_object *made, struct pvvas_ioc_clone *arg)
{
	if (arg->name)
		soft_keep(made, (const char *)(uintptr_t)arg->name);
	arg->id = made->id;
}

static int clone_segment(const struct soft_object *from,
			 struct pvvas_ioc_clone *arg)
{
	struct pvvas_ioc_create make = {
		.size = sizeof(make),
		.mode = arg->mode,
		.base = from->base,
		.length = from->length,
	};
	struct soft_object *to;
	int err = check_name(PVVAS_KIND_SEG, arg);

	if (err)
		return err;
	/* a clone has no protections */
	if (!(soft_rights(from) & PVVAS_WRITE) && soft_page_hides(from))
		return -EACCES;
	err = soft_create(&make, PVVAS_KIND_SEG);
	if (err)
		return err;
	to = soft_object(PVVAS_KIND_SEG, make.id);
	err = copy_memory(from, to);
	if (err)
		soft_delete(to);
	else
		finish(to, arg);
	return err;
}

static unsigned int count_faces(const struct soft_object *seg)
{
	const struct soft_object *o;
	unsigned int n = 0;

	for_each_object(o)
		n += o->kind == PVVAS_KIND_SEG && soft_same_memory(o, seg);
	return n;
}

static int map2(const struct soft_object *from, struct pvvas_ioc_clone *arg)
{
	struct pvvas_ioc_create make = {
		.size = sizeof(make),
		.mode = arg->mode,
		.base = arg->base,
	};
	struct soft_object *to;
	int err;

	if (!arg->length && !arg->offset)
		arg->length = from->length;
	if (!arg->length || (arg->offset | arg->length) % PAGE)
		return -EINVAL;
	if (arg->offset >= from->length ||
	    arg->length > from->length - arg->offset)
		return -ERANGE;
	if (arg->base && (arg->base < PVVAS_WINDOW_FIRST ||
			  arg->base > WINDOW_END - arg->length))
		return -ERANGE;
	if (arg->base ? (arg->base ^ (from->base + arg->offset)) % SOFT_BLOCK :
			(from->base + arg->offset) % SOFT_BLOCK)
		return -EINVAL;
	make.length = arg->length;
	if (count_faces(from) >= PVVAS_MAX_FACES)
		return -ENOSPC;
	err = check_name(PVVAS_KIND_SEG, arg);
	if (!err)
		err = soft_create(&make, PVVAS_KIND_SEG);
	if (err)
		return err;
	to = soft_object(PVVAS_KIND_SEG, make.id);
	soft_share_memory(to, from, arg->offset);
	to->pager = from->pager;
	finish(to, arg);
	arg->base = make.base;
	return 0;
}

/* The clones' only user is the new VAS. */
static int clone_links(uint32_t from, uint32_t to)
{
	uint32_t i, nr = soft_reg->nr_links;
	int err = 0;

	/* those that are new are of the other VAS */
	for (i = 0; i < nr && !err; i++) {
		struct soft_link link = soft_reg->links[i];
		struct pvvas_ioc_clone arg = { .size = sizeof(arg) };
		const struct soft_object *seg;

		if (link.target != from)
			continue;
		seg = soft_object(PVVAS_KIND_SEG, link.seg);
		if (!seg)
			continue;
		arg.mode = seg->mode;
		err = clone_segment(seg, &arg);
		if (!err)
			err = soft_link(to, arg.id, link.prot);
		if (arg.id)
			soft_delete(soft_object(PVVAS_KIND_SEG, arg.id));
	}
	return err;
}

static int clone_vas(struct pvvas_ioc_clone *arg)
{
	const struct soft_object *from;
	struct pvvas_ioc_create make = {
		.size = sizeof(make),
		.mode = arg->mode,
	};
	struct soft_object *to;
	int err;

	from = soft_object(PVVAS_KIND_VAS, arg->source);
	if (!from)
		return -ENOENT;
	if (!(soft_rights(from) & PVVAS_READ))
		return -EACCES;
	err = check_name(PVVAS_KIND_VAS, arg);
	if (!err)
		err = soft_create(&make, PVVAS_KIND_VAS);
	if (err)
		return err;
	to = soft_object(PVVAS_KIND_VAS, make.id);
	err = clone_links(arg->source, make.id);
	if (err)
		soft_delete(to);
	else
		finish(to, arg);
	return err;
}

/*
 * No lock of a segment is taken or released meanwhile: what writers change with
 * the lock is of one moment.  What they write without one is not.
 */
static int clone_segments(const struct pvvas_ioc_segs_clone *arg)
{
	struct pvvas_clone_row *rows = (struct pvvas_clone_row *)(uintptr_t)arg->rows;
	struct soft_object *from;
	uint32_t i, n;
	int err = 0;

	for (n = 0; n < arg->nr && !err; n++) {
		struct pvvas_ioc_clone one = { .size = sizeof(one), .mode = 0600 };

		from = soft_segment_at(rows[n].source, PVVAS_READ, &err);
		if (from)
			err = clone_segment(from, &one);
		rows[n].id = one.id;
		rows[n].lock = err ? 0 : soft_lock_state(from);
	}
	for (i = 0; i < n && err; i++) {
		if (rows[i].id)
			soft_delete(soft_object(PVVAS_KIND_SEG, rows[i].id));
		rows[i].id = 0;
	}
	return err;
}

int soft_clone_call(unsigned long request, void *arg)
{
	struct pvvas_ioc_clone *clone = arg;
	const struct soft_object *from;
	int err;

	switch (request) {
	case PVVAS_IOC_VAS_CLONE:
		return clone_vas(clone);
	case PVVAS_IOC_SEG_CLONE:
		from = soft_segment_at(clone->source, PVVAS_READ, &err);
		return from ? clone_segment(from, clone) : err;
	case PVVAS_IOC_SEGS_CLONE:
		return clone_segments(arg);
	case PVVAS_IOC_SEG_MAP2:
		from = soft_segment_at(clone->source, PVVAS_READ | PVVAS_WRITE,
				       &err);
		return from ? map2(from, clone) : err;
	default:
		return -ENOTTY;
	}
}
