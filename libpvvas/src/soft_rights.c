// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend's rights to objects.  The rules are the driver's: the
 * owner's, group's and others' bits, supplementary groups and capabilities.
 */
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "soft.h"

bool soft_capable(int cap)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return !syscall(SYS_capget, &header, data) &&
	       data[CAP_TO_INDEX(cap)].effective & CAP_TO_MASK(cap);
}

bool soft_in_group(gid_t gid)
{
	gid_t *groups;
	bool is = gid == getegid();
	int n = is ? 0 : getgroups(0, NULL);

	groups = n > 0 ? calloc((size_t)n, sizeof(*groups)) : NULL;
	if (!groups)
		return is;
	for (n = getgroups(n, groups); n > 0 && !is; n--)
		is = groups[n - 1] == gid;
	free(groups);
	return is;
}

uint32_t soft_rights(const struct soft_object *obj)
{
	const uint32_t all = PVVAS_READ | PVVAS_WRITE;
	uint32_t bits = obj->mode, rights = 0;

	if (obj->uid == geteuid())
		bits >>= 6;
	else if (soft_in_group(obj->gid))
		bits >>= 3;
	if (bits & 4)
		rights |= PVVAS_READ;
	if (bits & 2)
		rights |= PVVAS_WRITE;
	return rights == all || soft_capable(CAP_DAC_OVERRIDE) ? all : rights;
}

bool soft_is_owner(const struct soft_object *obj)
{
	return obj->uid == geteuid() || soft_capable(CAP_FOWNER);
}
