// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * VASes: make, find, attach, detach, delete, and the slow switch.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "internal.h"
#include "lockset.h"

_Static_assert(VAS_NAME_MAX == PVVAS_NAME_MAX, "one limit");

/* Names are those of files, and can be printed as they are: see pvvas(7). */
int pvvas_check_name(const char *name)
{
	const char *p;

	if (!name)
		return -EINVAL;
	if (strnlen(name, VAS_NAME_MAX + 1) > VAS_NAME_MAX)
		return -ENAMETOOLONG;
	for (p = name; *p; p++)
		if (*p == '/' || (unsigned char)*p < ' ' || *p == '\177')
			return -EINVAL;
	return *name && strcmp(name, ".") && strcmp(name, "..") ? 0 : -EINVAL;
}

PVVAS_EXPORT int vas_create(const char *name, mode_t perms)
{
	struct pvvas_ioc_create arg = {
		.size = sizeof(arg),
		.name = (uintptr_t)name,
		.mode = perms,
	};
	int err;

	if (perms & ~(mode_t)0777)
		return -EINVAL;
	err = name ? pvvas_check_name(name) : 0;
	if (!err)
		err = pvvas_call(PVVAS_IOC_VAS_CREATE, &arg);
	return err ? err : (int)arg.id;
}

PVVAS_EXPORT int vas_find(const char *name)
{
	struct pvvas_ioc_name arg = {
		.size = sizeof(arg),
		.name = (uintptr_t)name,
	};
	int err = pvvas_check_name(name);

	if (!err)
		err = pvvas_call(PVVAS_IOC_VAS_FIND, &arg);
	return err ? err : (int)arg.id;
}

PVVAS_EXPORT int vas_publish(int vid, const char *name)
{
	struct pvvas_ioc_name arg = {
		.size = sizeof(arg),
		.id = (uint32_t)vid,
		.name = (uintptr_t)name,
	};
	int err = vid <= 0 ? -EINVAL : pvvas_check_name(name);

	return err ? err : pvvas_call(PVVAS_IOC_VAS_PUBLISH, &arg);
}

PVVAS_EXPORT int vas_attach(int vid)
{
	struct pvvas_ioc_attach arg = {
		.size = sizeof(arg),
		.id = (uint32_t)vid,
	};
	const struct pvvas_backend *be;
	int err;

	if (vid <= 0)
		return -EINVAL;
	err = pvvas_prepare();
	if (!err)
		err = pvvas_call(PVVAS_IOC_VAS_ATTACH, &arg);
	if (err)
		return err;
	err = pvvas_window_shows((int)arg.handle);
	if (arg.flags & PVVAS_ATTACH_NO_LOCKS)
		lockset_forget((int)arg.handle);
	else if (!err)
		err = lockset_update((int)arg.handle);
	if (err) {
		vas_detach((int)arg.handle);
		return err;
	}
	be = pvvas_backend_opened();
	if (arg.slot)
		be->attached((int)arg.handle, arg.slot);
	pvvas_check_attached((int)arg.handle);
	return (int)arg.handle;
}

PVVAS_EXPORT int vas_detach(int vh)
{
	struct pvvas_ioc_attach arg = {
		.size = sizeof(arg),
		.handle = (uint32_t)vh,
	};
	const struct pvvas_backend *be;
	int err;

	if (vh <= 0 || !(arg.handle & PVVAS_HANDLE))
		return -EINVAL;
	be = pvvas_backend(&err);
	if (!be)
		return err;
	if (vas_current() == vh)
		return -EBUSY;
	be->forget(vh);
	err = be->call(PVVAS_IOC_VAS_DETACH, &arg);
	pvvas_heaps_changed();
	if (!err)
		lockset_forget(vh);
	return err == -ENOENT ? -EINVAL : err;
}

PVVAS_EXPORT int vas_delete(int vid)
{
	struct pvvas_ioc_id arg = {
		.size = sizeof(arg),
		.id = (uint32_t)vid,
	};

	return vid <= 0 ? -EINVAL : pvvas_call(PVVAS_IOC_VAS_DELETE, &arg);
}
