// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Clones of VASes and segments.
 */
#include <errno.h>
#include <stdint.h>

#include "internal.h"

static int clone_of(unsigned long request, int id, const char *name,
		    mode_t perms)
{
	struct pvvas_ioc_clone arg = {
		.size = sizeof(arg),
		.name = (uintptr_t)name,
		.mode = perms,
		.source = (uint32_t)id,
	};
	int err;

	if (id <= 0 || perms & ~(mode_t)0777)
		return -EINVAL;
	err = name ? pvvas_check_name(name) : 0;
	if (!err)
		err = pvvas_call(request, &arg);
	return err ? err : (int)arg.id;
}

static int clone_as(unsigned long request, unsigned int kind, int id)
{
	struct pvvas_ioc_attr attr;
	int err = pvvas_getattr(kind, id, &attr);

	return err ? err : clone_of(request, id, NULL, attr.mode);
}

PVVAS_EXPORT int vas_clone(int vid)
{
	return clone_as(PVVAS_IOC_VAS_CLONE, PVVAS_KIND_VAS, vid);
}

PVVAS_EXPORT int vas_clone_named(int vid, const char *name, mode_t perms)
{
	return clone_of(PVVAS_IOC_VAS_CLONE, vid, name, perms);
}

PVVAS_EXPORT int seg_clone(int sid)
{
	return clone_as(PVVAS_IOC_SEG_CLONE, PVVAS_KIND_SEG, sid);
}

PVVAS_EXPORT int seg_clone_named(int sid, const char *name, mode_t perms)
{
	return clone_of(PVVAS_IOC_SEG_CLONE, sid, name, perms);
}

PVVAS_EXPORT int seg_map2(int sid, void *base)
{
	return seg_map2_range(sid, NULL, 0, base);
}

PVVAS_EXPORT int seg_map2_range(int sid, void *addr, size_t length, void *base)
{
	struct pvvas_ioc_clone arg = {
		.size = sizeof(arg),
		.source = (uint32_t)sid,
		.base = (uintptr_t)base,
		.length = length,
	};
	struct pvvas_ioc_attr attr;
	int err = pvvas_getattr(PVVAS_KIND_SEG, sid, &attr);

	if (err)
		return err;
	if (addr && !length)
		return -EINVAL;
	if (addr && (uintptr_t)addr < attr.base)
		return -ERANGE;
	arg.offset = addr ? (uintptr_t)addr - attr.base : 0;
	arg.mode = attr.mode;
	err = pvvas_call(PVVAS_IOC_SEG_MAP2, &arg);
	return err ? err : (int)arg.id;
}
