// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * vas_ctl() and seg_ctl(): attributes and deletion.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"
#include "lockset.h"

_Static_assert(VAS_ATTR_MODE == PVVAS_ATTR_MODE, "same bits");
_Static_assert(VAS_ATTR_UID == PVVAS_ATTR_UID, "same bits");
_Static_assert(VAS_ATTR_GID == PVVAS_ATTR_GID, "same bits");
_Static_assert(VAS_ATTR_EXPIRY == PVVAS_ATTR_EXPIRY, "same bits");

#define ATTR_ALL	(VAS_ATTR_MODE | VAS_ATTR_UID | VAS_ATTR_GID | \
			 VAS_ATTR_EXPIRY)

int pvvas_getattr(unsigned int kind, int id, struct pvvas_ioc_attr *attr)
{
	if (id <= 0)
		return -EINVAL;
	memset(attr, 0, sizeof(*attr));
	attr->size = sizeof(*attr);
	attr->kind = kind;
	attr->id = (uint32_t)id;
	return pvvas_call(PVVAS_IOC_GETATTR, attr);
}

static int setattr(unsigned int kind, int id, unsigned int valid, mode_t mode,
		   uid_t uid, gid_t gid, uint32_t expiry)
{
	struct pvvas_ioc_attr attr = {
		.size = sizeof(attr),
		.kind = kind,
		.id = (uint32_t)id,
		.valid = valid,
	};

	if (id <= 0 || valid & ~ATTR_ALL)
		return -EINVAL;
	if (valid & VAS_ATTR_MODE) {
		if (mode & ~(mode_t)0777)
			return -EINVAL;
		attr.mode = mode;
	}
	if (valid & VAS_ATTR_UID)
		attr.uid = uid;
	if (valid & VAS_ATTR_GID)
		attr.gid = gid;
	if (valid & VAS_ATTR_EXPIRY)
		attr.expiry = expiry;
	return pvvas_call(PVVAS_IOC_SETATTR, &attr);
}

static int vas_get(int vid, struct vas_attr *out)
{
	struct pvvas_ioc_attr attr;
	int err;

	if (!out || out->size != sizeof(*out))
		return -EINVAL;
	err = pvvas_getattr(PVVAS_KIND_VAS, vid, &attr);
	if (err)
		return err;
	*out = (struct vas_attr){
		.size = sizeof(*out),
		.valid = ATTR_ALL,
		.mode = attr.mode,
		.uid = attr.uid,
		.gid = attr.gid,
		.users = attr.users,
		.idle = attr.idle,
		.expiry = attr.expiry,
	};
	memcpy(out->name, attr.name, sizeof(out->name));
	return 0;
}

static int seg_get(int sid, struct seg_attr *out)
{
	struct pvvas_ioc_attr attr;
	int err;

	if (!out || out->size != sizeof(*out))
		return -EINVAL;
	err = pvvas_getattr(PVVAS_KIND_SEG, sid, &attr);
	if (err)
		return err;
	*out = (struct seg_attr){
		.size = sizeof(*out),
		.valid = ATTR_ALL,
		.mode = attr.mode,
		.uid = attr.uid,
		.gid = attr.gid,
		.users = attr.users,
		.base = (void *)(uintptr_t)attr.base,
		.length = attr.length,
		.resident = attr.resident,
		.idle = attr.idle,
		.expiry = attr.expiry,
	};
	memcpy(out->name, attr.name, sizeof(out->name));
	return 0;
}

static int vas_stat(int vid, struct vas_stat *out)
{
	struct pvvas_ioc_attr attr;
	int err, sid = 0;

	if (!out || out->size != sizeof(*out))
		return -EINVAL;
	err = pvvas_getattr(PVVAS_KIND_VAS, vid, &attr);
	if (err)
		return err;
	*out = (struct vas_stat){
		.size = sizeof(*out),
		.attachments = attr.users,
	};
	for (;;) {
		sid = vas_next_seg(vid, sid, NULL);
		if (sid < 0)
			return sid == -ENOENT ? 0 : sid;
		/* one that goes meanwhile does not count */
		if (pvvas_getattr(PVVAS_KIND_SEG, sid, &attr))
			continue;
		out->segs++;
		out->length += attr.length;
		out->resident += attr.resident;
	}
}

PVVAS_EXPORT int vas_ctl(int cmd, int vid, ...)
{
	const struct vas_attr *in;
	int ret = -EINVAL;
	va_list ap;

	va_start(ap, vid);
	switch (cmd) {
	case VAS_CTL_GETATTR:
		ret = vas_get(vid, va_arg(ap, struct vas_attr *));
		break;
	case VAS_CTL_SETATTR:
		in = va_arg(ap, const struct vas_attr *);
		if (in && in->size == sizeof(*in))
			ret = setattr(PVVAS_KIND_VAS, vid, in->valid, in->mode,
				      in->uid, in->gid, in->expiry);
		break;
	case VAS_CTL_DELETE:
		ret = vas_delete(vid);
		break;
	case VAS_CTL_STAT:
		ret = vas_stat(vid, va_arg(ap, struct vas_stat *));
		break;
	}
	va_end(ap);
	return ret;
}

static int seg_get_stat(int sid, struct seg_stat *out)
{
	struct pvvas_ioc_seg_stat stat = {
		.size = sizeof(stat),
		.seg = (uint32_t)sid,
	};
	int err;

	if (sid <= 0 || !out || out->size != sizeof(*out))
		return -EINVAL;
	err = pvvas_call(PVVAS_IOC_SEG_STAT, &stat);
	if (err)
		return err;
	*out = (struct seg_stat){
		.size = sizeof(*out),
		.resident = stat.resident,
		.shared = stat.shared,
		.faults = stat.faults,
		.copied = stat.copied,
		.refused = stat.refused,
		.colors = stat.colors,
	};
	return 0;
}

/* The commands that take a range of pages. */
static int seg_ctl_range(int sid, int cmd, va_list ap)
{
	void *addr = va_arg(ap, void *), **pages;
	size_t length = va_arg(ap, size_t);

	switch (cmd) {
	case SEG_CTL_PROTECT:
		return seg_protect(sid, addr, length, va_arg(ap, int));
	case SEG_CTL_UNPROTECT:
		return seg_protect(sid, addr, length, PROT_READ | PROT_WRITE);
	case SEG_CTL_DIRTY:
		pages = va_arg(ap, void **);
		return seg_dirty(sid, addr, length, pages, va_arg(ap, size_t));
	case SEG_CTL_ACCESSED:
		pages = va_arg(ap, void **);
		return seg_accessed(sid, addr, length, pages,
				    va_arg(ap, size_t));
	case SEG_CTL_DISCARD:
		return seg_discard(sid, addr, length);
	default:
		return seg_populate(sid, addr, length);
	}
}

PVVAS_EXPORT int seg_ctl(int sid, int cmd, ...)
{
	const struct seg_attr *in;
	int ret = -EINVAL;
	va_list ap;

	va_start(ap, cmd);
	switch (cmd) {
	case SEG_CTL_GETATTR:
		ret = seg_get(sid, va_arg(ap, struct seg_attr *));
		break;
	case SEG_CTL_SETATTR:
		in = va_arg(ap, const struct seg_attr *);
		if (in && in->size == sizeof(*in))
			ret = setattr(PVVAS_KIND_SEG, sid, in->valid, in->mode,
				      in->uid, in->gid, in->expiry);
		break;
	case SEG_CTL_DELETE:
		ret = seg_delete(sid);
		break;
	case SEG_CTL_LOCK_ON:
	case SEG_CTL_LOCK_OFF:
		ret = lockset_enable(sid, cmd == SEG_CTL_LOCK_ON);
		break;
	case SEG_CTL_CONSISTENT:
		ret = lockset_consistent(sid);
		break;
	case SEG_CTL_LOCK_RESET:
		ret = lockset_reset(sid);
		break;
	case SEG_CTL_PROTECT:
	case SEG_CTL_UNPROTECT:
	case SEG_CTL_DIRTY:
	case SEG_CTL_ACCESSED:
	case SEG_CTL_POPULATE:
	case SEG_CTL_DISCARD:
		ret = seg_ctl_range(sid, cmd, ap);
		break;
	case SEG_CTL_UNTRACK:
		ret = seg_untrack(sid);
		break;
	case SEG_CTL_LIMIT:
		ret = seg_limit(sid, va_arg(ap, uint64_t));
		break;
	case SEG_CTL_PAGER_ON:
	case SEG_CTL_PAGER_OFF:
		ret = seg_pager(sid, cmd == SEG_CTL_PAGER_ON);
		break;
	case SEG_CTL_STAT:
		ret = seg_get_stat(sid, va_arg(ap, struct seg_stat *));
		break;
	}
	va_end(ap);
	return ret;
}
