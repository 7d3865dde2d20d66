// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Listings: step from one id to the next.
 */
#include <errno.h>
#include <sys/mman.h>

#include "internal.h"

static int next(unsigned int kind, int id)
{
	struct pvvas_ioc_attr attr = {
		.size = sizeof(attr),
		.kind = kind,
		.id = (uint32_t)id,
		.valid = PVVAS_ATTR_NEXT,
	};
	int err;

	if (id < 0)
		return -EINVAL;
	err = pvvas_call(PVVAS_IOC_GETATTR, &attr);
	return err ? err : (int)attr.id;
}

PVVAS_EXPORT int vas_next(int vid)
{
	return next(PVVAS_KIND_VAS, vid);
}

PVVAS_EXPORT int seg_next(int sid)
{
	return next(PVVAS_KIND_SEG, sid);
}

PVVAS_EXPORT int seg_next_data(int sid, size_t *offset, size_t *length)
{
	struct pvvas_ioc_seg_data data = {
		.size = sizeof(data),
		.seg = (uint32_t)sid,
	};
	int err;

	if (sid <= 0 || !offset || !length)
		return -EINVAL;
	data.offset = *offset;
	err = pvvas_call(PVVAS_IOC_SEG_NEXT_DATA, &data);
	if (err)
		return err == -ENOTTY ? -EOPNOTSUPP : err;
	*offset = data.offset;
	*length = data.length;
	return 0;
}

PVVAS_EXPORT int vas_next_seg(int vid_or_vh, int sid, int *prot)
{
	struct pvvas_ioc_link link = {
		.size = sizeof(link),
		.target = (uint32_t)vid_or_vh,
		.seg = (uint32_t)sid,
	};
	int err;

	if (vid_or_vh <= 0 || sid < 0)
		return -EINVAL;
	err = pvvas_call(PVVAS_IOC_LINK_NEXT, &link);
	if (err)
		return err == -ENOTTY ? -EOPNOTSUPP : err;
	if (prot)
		*prot = (link.prot & PVVAS_READ ? PROT_READ : 0) |
			(link.prot & PVVAS_WRITE ? PROT_WRITE : 0);
	return (int)link.seg;
}
