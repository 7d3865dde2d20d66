// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend's VASes and segments: create, find, delete, attributes,
 * counters.  The rules are the driver's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "soft.h"

#define WINDOW_END	(PVVAS_WINDOW_VA + SOFT_WINDOW)

struct soft_object *soft_object(uint32_t kind, uint32_t id)
{
	uint32_t entry = id % SOFT_OBJECTS;
	struct soft_object *o = &soft_reg->objects[entry];

	return entry < soft_reg->nr_objects && o->kind == kind && o->id == id ?
	       o : NULL;
}

/* FNV-1a; a number that few other names have, and not 0. */
static uint32_t name_key(const char *name)
{
	uint32_t key = 2166136261U;

	while (*name)
		key = (key ^ (unsigned char)*name++) * 16777619U;
	return key ? key : 1;
}

static struct soft_object *by_name(uint32_t kind, const char *name)
{
	uint32_t key = name_key(name), i;
	struct soft_object *o;

	for (i = 0; i < soft_reg->nr_objects; i++) {
		if (soft_reg->name_keys[i] != key)
			continue;
		o = &soft_reg->objects[i];
		if (o->kind == kind && o->named && !strcmp(o->name, name))
			return o;
	}
	return NULL;
}

/*
 * The first hole of all segments that exist, in blocks that none of them has:
 * see soft_overlap(); 0 if there is none.
 */
static uint64_t pick_base(uint64_t length)
{
	uint64_t base = PVVAS_WINDOW_FIRST;
	const struct soft_object *o;
	bool moved = true;

	while (moved) {
		if (base > WINDOW_END - length)
			return 0;
		moved = false;
		for_each_object(o) {
			if (o->kind != PVVAS_KIND_SEG ||
			    !soft_overlap(o, base, length))
				continue;
			base = (o->base + o->length + SOFT_BLOCK - 1) /
			       SOFT_BLOCK * SOFT_BLOCK;
			moved = true;
		}
	}
	return base;
}

static int check_range(struct pvvas_ioc_create *arg)
{
	if (!arg->length || arg->length % 4096 || arg->base % 4096)
		return -EINVAL;
	if (arg->length > WINDOW_END - PVVAS_WINDOW_FIRST)
		return -E2BIG;
	if (!arg->base) {
		arg->base = pick_base(arg->length);
		return arg->base ? 0 : -ENOSPC;
	}
	if (arg->base < PVVAS_WINDOW_FIRST ||
	    arg->base > WINDOW_END - arg->length)
		return -ERANGE;
	return 0;
}

/* The kernel chooses the pages of a file; what says more than how large is not here. */
static int check_segment(struct pvvas_ioc_create *arg)
{
	const uint32_t hints = PVVAS_CREATE_HUGE | PVVAS_CREATE_SMALL;
	const uint32_t others = PVVAS_CREATE_LOCK | PVVAS_CREATE_DUMP |
				PVVAS_CREATE_HUGETLB;

	if ((arg->flags & hints) == hints ||
	    arg->flags & ~(hints | others | PVVAS_CREATE_POPULATE) ||
	    arg->policy > PVVAS_NUMA_INTERLEAVE || !arg->policy != !arg->nodes ||
	    (arg->memory && !(arg->flags & PVVAS_CREATE_HUGETLB)))
		return -EINVAL;
	if (arg->colors &&
	    arg->flags & (PVVAS_CREATE_HUGE | PVVAS_CREATE_HUGETLB))
		return -EINVAL;
	if (arg->flags & others || arg->policy || arg->colors)
		return -EOPNOTSUPP;
	return check_range(arg);
}

static int make_segment_file(struct soft_object *obj, bool populate)
{
	int fd, err = 0;

	if (getrandom(&obj->unique, sizeof(obj->unique), 0) !=
	    sizeof(obj->unique))
		return -errno;
	fd = soft_segment_file(obj, O_RDWR | O_CREAT | O_TRUNC);
	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)obj->length) < 0)
		err = -errno;
	else if (populate && fallocate(fd, 0, 0, (off_t)obj->length) < 0)
		err = errno == ENOSPC ? -ENOMEM : -errno;
	close(fd);
	return err;
}

static int room_for_object(uint32_t entry)
{
	int err = soft_room(&soft_reg->in_use[entry], 1);

	if (!err)
		err = soft_room(&soft_reg->name_keys[entry], sizeof(uint32_t));
	return err ? err : soft_room(&soft_reg->objects[entry],
				     sizeof(struct soft_object));
}

/*
 * An unused entry, with the next id of all that belong to it: an id is used again
 * after all others.  NULL: the table is full, or the file system
 */
static struct soft_object *new_object(void)
{
	uint32_t id = soft_reg->last_id, i, entry;

	for (i = 0; i < SOFT_OBJECTS; i++) {
		id = id % (PVVAS_HANDLE - 1) + 1;
		entry = id % SOFT_OBJECTS;
		if (entry < soft_reg->nr_objects && soft_reg->in_use[entry])
			continue;
		if (room_for_object(entry))
			return NULL;
		soft_reg->last_id = id;
		if (entry >= soft_reg->nr_objects)
			soft_reg->nr_objects = entry + 1;
		soft_reg->objects[entry].id = id;
		soft_reg->in_use[entry] = 1;
		return &soft_reg->objects[entry];
	}
	return NULL;
}

int soft_create(struct pvvas_ioc_create *arg, uint32_t kind)
{
	const char *name = (const char *)(uintptr_t)arg->name;
	struct soft_object *o, made;
	int err;

	err = kind == PVVAS_KIND_SEG ? check_segment(arg) :
	      arg->flags ? -EINVAL : 0;
	if (err)
		return err;
	if (name && by_name(kind, name))
		return -EEXIST;
	o = new_object();
	if (!o)
		return -ENOSPC;
	made = (struct soft_object){
		.id = o->id,
		.mode = arg->mode,
		.uid = geteuid(),
		.gid = getegid(),
		.owner = soft_self,
		.base = arg->base,
		.length = arg->length,
	};
	soft_used(&made);
	err = kind == PVVAS_KIND_SEG ?
	      make_segment_file(&made, arg->flags & PVVAS_CREATE_POPULATE) : 0;
	if (err) {
		soft_free(o);
		return err;
	}
	*o = made;
	/* a process that is killed before leaves no object: see collect() */
	atomic_signal_fence(memory_order_seq_cst);
	o->kind = kind;
	arg->id = o->id;
	if (name)
		soft_keep(o, name);
	return 0;
}

/* The key comes first, and goes last: see soft_collect.c. */
void soft_keep(struct soft_object *obj, const char *name)
{
	soft_reg->name_keys[obj - soft_reg->objects] = name_key(name);
	strncpy(obj->name, name, PVVAS_NAME_MAX);
	obj->named = 1;
	obj->owner = 0;
}

bool soft_name_is_taken(uint32_t kind, const char *name)
{
	return by_name(kind, name);
}

static int find(struct pvvas_ioc_name *arg, uint32_t kind)
{
	const struct soft_object *o;

	o = by_name(kind, (const char *)(uintptr_t)arg->name);
	if (!o)
		return -ENOENT;
	if (!soft_rights(o))
		return -EACCES;
	arg->id = o->id;
	return 0;
}

static bool is_kept(const struct soft_object *obj)
{
	return obj->named || obj->owner;
}

static int publish(const struct pvvas_ioc_name *arg, uint32_t kind)
{
	const char *name = (const char *)(uintptr_t)arg->name;
	struct soft_object *o = soft_object(kind, arg->id);

	if (!o || !is_kept(o))
		return -ENOENT;
	if (!soft_is_owner(o))
		return -EPERM;
	if (o->named)
		return -EINVAL;
	if (by_name(kind, name))
		return -EEXIST;
	soft_keep(o, name);
	return 0;
}

/* All names or none; a process that is killed in between leaves some. */
static int publish_all(const struct pvvas_ioc_publish_all *arg)
{
	const struct pvvas_publish_row *rows =
		(const struct pvvas_publish_row *)(uintptr_t)arg->rows;
	struct soft_object *o;
	uint32_t n;
	int err = 0;

	for (n = 0; n < arg->nr && !err; n++) {
		struct pvvas_ioc_name one = { sizeof(one), rows[n].id, rows[n].name };

		err = publish(&one, rows[n].kind);
	}
	/* the last one was not published */
	for (n -= !!err; err && n--;) {
		o = soft_object(rows[n].kind, rows[n].id);
		soft_drop(o);
		o->owner = soft_self;
	}
	return err;
}

void soft_drop(struct soft_object *obj)
{
	obj->named = 0;
	obj->owner = 0;
	obj->expiry = 0;
	memset(obj->name, 0, sizeof(obj->name));
}

void soft_delete(struct soft_object *obj)
{
	soft_drop(obj);
	soft_release(obj);
}

/* The segment, if the caller has these rights to it; else NULL and *err */
struct soft_object *soft_segment_at(uint32_t id, uint32_t rights, int *err)
{
	struct soft_object *seg = soft_object(PVVAS_KIND_SEG, id);

	*err = !seg ? -ENOENT : rights & ~soft_rights(seg) ? -EACCES : 0;
	return *err ? NULL : seg;
}

static int delete(const struct pvvas_ioc_id *arg, uint32_t kind)
{
	struct soft_object *o = soft_object(kind, arg->id);

	if (!o || !is_kept(o))
		return -ENOENT;
	if (!soft_is_owner(o))
		return -EPERM;
	soft_delete(o);
	return 0;
}

static uint64_t resident(const struct soft_object *seg)
{
	int fd = soft_segment_file(seg, O_RDONLY);
	uint64_t bytes = 0;
	struct stat st;

	if (fd < 0)
		return 0;
	if (!fstat(fd, &st))
		bytes = (uint64_t)st.st_blocks * 512;
	close(fd);
	return bytes;
}

static int getattr(struct pvvas_ioc_attr *arg)
{
	const struct soft_object *o, *found = NULL;

	for_each_object(o) {
		if (o->kind != arg->kind)
			continue;
		if (arg->valid & PVVAS_ATTR_NEXT ?
		    o->id > arg->id && (!found || o->id < found->id) :
		    o->id == arg->id)
			found = o;
	}
	if (!found)
		return -ENOENT;
	arg->id = found->id;
	arg->valid = 0;
	arg->mode = found->mode;
	arg->uid = found->uid;
	arg->gid = found->gid;
	arg->users = found->users;
	arg->base = found->base;
	arg->length = found->length;
	arg->idle = soft_idle(found);
	arg->expiry = found->expiry;
	arg->reserved = 0;
	arg->resident = found->kind == PVVAS_KIND_SEG ? resident(found) : 0;
	memcpy(arg->name, found->name, sizeof(arg->name));
	return 0;
}

/* The rules of chmod(2) and chown(2). */
static int check_attr(const struct soft_object *o,
		      const struct pvvas_ioc_attr *arg)
{
	bool owner = soft_is_owner(o);

	if (arg->valid & (PVVAS_ATTR_MODE | PVVAS_ATTR_EXPIRY) && !owner)
		return -EPERM;
	/* deleted: it goes with its last user in any case */
	if (arg->valid & PVVAS_ATTR_EXPIRY && !is_kept(o))
		return -ENOENT;
	if (arg->valid & PVVAS_ATTR_UID) {
		if (arg->uid == UINT32_MAX)
			return -EINVAL;
		if (!(arg->uid == o->uid && owner) && !soft_capable(CAP_CHOWN))
			return -EPERM;
	}
	if (arg->valid & PVVAS_ATTR_GID) {
		if (arg->gid == UINT32_MAX)
			return -EINVAL;
		if (!(o->uid == geteuid() && soft_in_group(arg->gid)) &&
		    !soft_capable(CAP_CHOWN))
			return -EPERM;
	}
	return 0;
}

static int setattr(const struct pvvas_ioc_attr *arg)
{
	struct soft_object *o = soft_object(arg->kind, arg->id);
	int err;

	if (!arg->valid)
		return -EINVAL;
	if (!o)
		return -ENOENT;
	err = check_attr(o, arg);
	if (err)
		return err;
	if (arg->valid & PVVAS_ATTR_MODE)
		o->mode = arg->mode;
	if (arg->valid & PVVAS_ATTR_UID)
		o->uid = arg->uid;
	if (arg->valid & PVVAS_ATTR_GID)
		o->gid = arg->gid;
	if (arg->valid & PVVAS_ATTR_EXPIRY)
		soft_set_expiry(o, arg->expiry);
	return 0;
}

static int next_data(struct pvvas_ioc_seg_data *arg)
{
	const struct soft_object *o = soft_object(PVVAS_KIND_SEG, arg->seg);
	off_t from, end;
	int fd;

	if (!o || arg->offset >= o->length)
		return -ENOENT;
	if (!(soft_rights(o) & PVVAS_READ))
		return -EACCES;
	fd = soft_segment_file(o, O_RDONLY);
	if (fd < 0)
		return fd;
	from = lseek(fd, (off_t)(arg->offset + o->shift), SEEK_DATA);
	end = from < 0 ? from : lseek(fd, from, SEEK_HOLE);
	close(fd);
	if (from < 0 || end < 0)
		return errno == ENXIO ? -ENOENT : -errno;
	if ((uint64_t)from >= o->shift + o->length)
		return -ENOENT;
	if ((uint64_t)end > o->shift + o->length)
		end = (off_t)(o->shift + o->length);
	arg->offset = (uint64_t)from - o->shift;
	arg->length = (uint64_t)(end - from);
	return 0;
}

/* Counts of objects; there is no hypervisor to count anything else. */
static int stats(struct pvvas_ioc_stats *arg)
{
	const struct soft_object *o;
	const struct soft_att *a;

	soft_collect();
	memset(arg, 0, sizeof(*arg));
	arg->size = sizeof(*arg);
	for_each_object(o) {
		arg->vases += o->kind == PVVAS_KIND_VAS;
		arg->segs += o->kind == PVVAS_KIND_SEG;
		if (o->kind == PVVAS_KIND_SEG && !o->memory)
			arg->pages += resident(o) / 4096;
	}
	for_each_att(a)
		arg->attachments += !!a->handle;
	return 0;
}

int soft_objects_call(unsigned long request, void *arg)
{
	switch (request) {
	case PVVAS_IOC_VAS_CREATE:
		return soft_create(arg, PVVAS_KIND_VAS);
	case PVVAS_IOC_SEG_CREATE:
		return soft_create(arg, PVVAS_KIND_SEG);
	case PVVAS_IOC_VAS_FIND:
		return find(arg, PVVAS_KIND_VAS);
	case PVVAS_IOC_SEG_FIND:
		return find(arg, PVVAS_KIND_SEG);
	case PVVAS_IOC_VAS_PUBLISH:
		return publish(arg, PVVAS_KIND_VAS);
	case PVVAS_IOC_SEG_PUBLISH:
		return publish(arg, PVVAS_KIND_SEG);
	case PVVAS_IOC_PUBLISH_ALL:
		return publish_all(arg);
	case PVVAS_IOC_VAS_DELETE:
		return delete(arg, PVVAS_KIND_VAS);
	case PVVAS_IOC_SEG_DELETE:
		return delete(arg, PVVAS_KIND_SEG);
	case PVVAS_IOC_GETATTR:
		return getattr(arg);
	case PVVAS_IOC_SETATTR:
		return setattr(arg);
	case PVVAS_IOC_BEGIN:
		return 0;
	case PVVAS_IOC_STATS:
		return stats(arg);
	case PVVAS_IOC_SEG_NEXT_DATA:
		return next_data(arg);
	default:
		return -ENOTTY;
	}
}
