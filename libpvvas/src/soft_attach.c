// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend's attachments and links.  The rules are the driver's.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "soft.h"

struct soft_att *soft_att(uint32_t handle)
{
	uint32_t i = PVVAS_HANDLE_INDEX(handle) - 1;
	struct soft_att *a;

	if (!(handle & PVVAS_HANDLE) || i >= soft_reg->nr_atts)
		return NULL;
	a = &soft_reg->atts[i];
	return a->handle == handle && a->process == soft_self ? a : NULL;
}

static int attach(struct pvvas_ioc_attach *arg)
{
	struct soft_object *vas = soft_object(PVVAS_KIND_VAS, arg->id);
	struct soft_att *att;
	uint32_t rights;

	if (!vas)
		return -ENOENT;
	rights = soft_rights(vas);
	if (!(rights & PVVAS_READ))
		return -EACCES;
	att = soft_new_att(vas);
	if (!att)
		return -ENOSPC;
	soft_reg->generation = (soft_reg->generation + 1) & 0x3fff;
	*att = (struct soft_att){
		.handle = PVVAS_HANDLE | soft_reg->generation << 16 |
			  (uint32_t)(att - soft_reg->atts + 1),
		.vas = arg->id,
		.rights = rights,
		.process = soft_self,
	};
	arg->handle = att->handle;
	arg->slot = 0;
	return 0;
}

static int detach(const struct pvvas_ioc_attach *arg)
{
	struct soft_att *att = soft_att(arg->handle);
	struct soft_link *l;

	if (!att)
		return -ENOENT;
	/* another thread may be there */
	if (soft_is_shown((int)arg->handle))
		return -EBUSY;
	for_each_link(l)
		if (l->target == arg->handle &&
		    l->process == soft_self)
			soft_free_link(l);
	soft_free_att(att);
	return 0;
}

bool soft_overlap(const struct soft_object *seg, uint64_t base, uint64_t length)
{
	return seg->base / SOFT_BLOCK <= (base + length - 1) / SOFT_BLOCK &&
	       base / SOFT_BLOCK <= (seg->base + seg->length - 1) / SOFT_BLOCK;
}

/* Does what is attached there, of a handle of that process, as such, overlap @seg? */
static bool overlaps_of(uint32_t target, uint64_t process,
			const struct soft_object *seg)
{
	const struct soft_link *l;

	for_each_link(l) {
		const struct soft_object *other;

		if (l->target != target ||
		    (target & PVVAS_HANDLE && l->process != process))
			continue;
		other = soft_object(PVVAS_KIND_SEG, l->seg);
		if (other && soft_overlap(other, seg->base, seg->length))
			return true;
	}
	return false;
}

static bool overlaps_at(uint32_t target, const struct soft_object *seg)
{
	return overlaps_of(target, soft_self, seg);
}

bool soft_hidden(const struct soft_att *att, const struct soft_object *seg)
{
	return overlaps_at(att->handle, seg);
}

static int link_segment(uint32_t target, uint32_t vas,
			struct soft_object *seg, uint32_t prot)
{
	uint32_t handle = target & PVVAS_HANDLE ? target : 0;
	struct soft_link *l;

	if (overlaps_at(vas, seg) || (handle && overlaps_at(handle, seg)))
		return -EEXIST;
	l = soft_new_link(seg);
	if (!l)
		return -ENOSPC;
	*l = (struct soft_link){
		.target = target,
		.seg = seg->id,
		.prot = prot,
	};
	if (handle)
		l->process = soft_self;
	soft_reg->changes++;
	return 0;
}

int soft_link(uint32_t vas, uint32_t seg, uint32_t prot)
{
	return link_segment(vas, vas, soft_object(PVVAS_KIND_SEG, seg), prot);
}

/* Changing a VAS needs the right to write to it. */
static int may_change(uint32_t id)
{
	const struct soft_object *vas = soft_object(PVVAS_KIND_VAS, id);

	if (!vas)
		return -ENOENT;
	return soft_rights(vas) & PVVAS_WRITE ? 0 : -EACCES;
}

static int seg_attach_to(const struct pvvas_ioc_seg_attach *arg)
{
	struct soft_object *seg = soft_object(PVVAS_KIND_SEG, arg->seg);
	uint32_t rights, prot = arg->prot, vas = arg->target;
	int err;

	if (!seg)
		return -ENOENT;
	rights = soft_rights(seg);
	if (!prot)
		prot = rights;
	if (!(rights & PVVAS_READ) || prot & ~rights)
		return -EACCES;
	if (arg->target & PVVAS_HANDLE) {
		const struct soft_att *att = soft_att(arg->target);

		if (!att)
			return -ENOENT;
		vas = att->vas;
	} else {
		err = may_change(vas);
		if (err)
			return err;
	}
	return link_segment(arg->target, vas, seg, prot);
}

static int seg_detach_from(const struct pvvas_ioc_seg_attach *arg)
{
	struct soft_link *l;
	int err;

	if (!soft_object(PVVAS_KIND_SEG, arg->seg))
		return -ENOENT;
	if (arg->target & PVVAS_HANDLE) {
		if (!soft_att(arg->target))
			return -ENOENT;
	} else {
		err = may_change(arg->target);
		if (err)
			return err;
	}
	for_each_link(l) {
		if (l->target != arg->target || l->seg != arg->seg ||
		    (l->target & PVVAS_HANDLE && l->process != soft_self))
			continue;
		soft_free_link(l);
		soft_reg->changes++;
		return 0;
	}
	return -ENOENT;
}

/* The segment with the next id that the VAS or the attachment shows. */
static uint32_t flags_of(const struct soft_object *seg)
{
	uint32_t flags = seg->lockable ? PVVAS_LINK_LOCKABLE : 0;

	if (seg->pager)
		flags |= PVVAS_LINK_PAGER;
	if (soft_is_part(seg))
		flags |= PVVAS_LINK_PART;
	return flags;
}

static int next_link(struct pvvas_ioc_link *arg)
{
	const struct soft_att *att = soft_att(arg->target);
	uint32_t vas = att ? att->vas : arg->target;
	const struct soft_link *l, *found = NULL;
	const struct soft_object *seg;
	const struct soft_object *obj = soft_object(PVVAS_KIND_VAS, vas);

	if (arg->target & PVVAS_HANDLE ? !att : !obj)
		return -EINVAL;
	if (!att && !(soft_rights(obj) & PVVAS_READ))
		return -EACCES;
	for_each_link(l) {
		if (l->target != vas && l->target != arg->target)
			continue;
		seg = soft_object(PVVAS_KIND_SEG, l->seg);
		if (arg->flags & PVVAS_LINK_LOCKABLE &&
		    !(seg && seg->lockable))
			continue;
		if (att && l->target == vas && seg && soft_hidden(att, seg))
			continue;
		if (l->seg > arg->seg && (!found || l->seg < found->seg))
			found = l;
	}
	if (!found)
		return -ENOENT;
	seg = soft_object(PVVAS_KIND_SEG, found->seg);
	arg->seg = found->seg;
	arg->prot = found->prot;
	if (att && found->target == vas)
		arg->prot &= att->rights;
	arg->flags = seg ? flags_of(seg) : 0;
	arg->memory = seg ? seg->unique : 0;
	return 0;
}

static int set_lockable(const struct pvvas_ioc_seg_locking *arg)
{
	struct soft_object *seg = soft_object(PVVAS_KIND_SEG, arg->seg);

	if (!seg)
		return -ENOENT;
	if (!soft_is_owner(seg))
		return -EPERM;
	if (arg->state && (!arg->on || seg->lockable))
		return -EBUSY;
	if (arg->on && !seg->lockable)
		soft_lock_reset(seg);
	if (arg->state)
		seg->lock_state = arg->state;
	seg->lockable = arg->on;
	seg->has_lock |= arg->on;
	return 0;
}

static int reset_lock(const struct pvvas_ioc_id *arg)
{
	struct soft_object *seg = soft_object(PVVAS_KIND_SEG, arg->id);

	if (!seg)
		return -ENOENT;
	if (!soft_is_owner(seg))
		return -EPERM;
	return seg->has_lock ? soft_lock_reset(seg) : -EINVAL;
}

/* The attachment, of any process, that has a private segment. */
static const struct soft_att *att_of(const struct soft_link *l)
{
	uint32_t i = PVVAS_HANDLE_INDEX(l->target) - 1;
	const struct soft_att *a = &soft_reg->atts[i];

	return l->target & PVVAS_HANDLE && i < soft_reg->nr_atts &&
	       a->handle == l->target && a->process == l->process ? a : NULL;
}

/* Would @seg, which is attached by @mine, grow into what is attached by @l? */
static bool is_in_way(const struct soft_object *seg, uint64_t length,
		      const struct soft_link *mine, const struct soft_link *l)
{
	const struct soft_object *other = soft_object(PVVAS_KIND_SEG, l->seg);
	const struct soft_att *att = att_of(mine), *a = att_of(l);
	uint32_t vas = att ? att->vas : mine->target;

	if (!other || !soft_overlap(other, seg->base, length) ||
	    soft_overlap(other, seg->base, seg->length))
		return false;
	/* what does not show is not in the way */
	if (l->target == vas)
		return !att || !overlaps_of(att->handle, att->process, other);
	if (att || !a)
		return a && a == att;
	return a->vas == vas && !overlaps_of(a->handle, a->process, seg);
}

static bool can_grow(const struct soft_object *seg, uint64_t length)
{
	const struct soft_link *mine, *l;

	for_each_link(mine) {
		if (!mine->target || mine->seg != seg->id)
			continue;
		for_each_link(l)
			if (l->target && l != mine &&
			    is_in_way(seg, length, mine, l))
				return false;
	}
	return true;
}

static int grow_file(const struct soft_object *seg, uint64_t length)
{
	int fd, err = 0;

	if (seg->memory)
		return 0;
	fd = soft_segment_file(seg, O_RDWR);
	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)length) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int resize(const struct pvvas_ioc_seg_resize *arg)
{
	struct soft_object *seg = soft_object(PVVAS_KIND_SEG, arg->seg);
	const struct soft_object *whole;
	int err;

	if (!arg->length || arg->length % 4096)
		return -EINVAL;
	if (!seg)
		return -ENOENT;
	if (!soft_is_owner(seg))
		return -EPERM;
	if (arg->length <= seg->length)
		return arg->length < seg->length ? -EINVAL : 0;
	/* the first face goes last */
	whole = seg->memory ? soft_object(PVVAS_KIND_SEG, seg->memory) : NULL;
	if (arg->length > PVVAS_WINDOW_VA + SOFT_WINDOW - seg->base ||
	    (whole && seg->shift + arg->length > whole->length))
		return -ERANGE;
	if (whole && (PVVAS_READ | PVVAS_WRITE) & ~soft_rights(whole))
		return -EACCES;
	if (!can_grow(seg, arg->length))
		return -EEXIST;
	err = grow_file(seg, arg->length);
	if (err)
		return err;
	seg->length = arg->length;
	soft_reg->changes++;
	return 0;
}

int soft_attach_call(unsigned long request, void *arg)
{
	switch (request) {
	case PVVAS_IOC_VAS_ATTACH:
		return attach(arg);
	case PVVAS_IOC_VAS_DETACH:
		return detach(arg);
	case PVVAS_IOC_SEG_ATTACH:
		return seg_attach_to(arg);
	case PVVAS_IOC_SEG_DETACH:
		return seg_detach_from(arg);
	case PVVAS_IOC_LINK_NEXT:
		return next_link(arg);
	case PVVAS_IOC_SEG_RESIZE:
		return resize(arg);
	case PVVAS_IOC_SEG_LOCKING:
		return set_lockable(arg);
	case PVVAS_IOC_SEG_LOCK_RESET:
		return reset_lock(arg);
	default:
		return -ENOTTY;
	}
}
