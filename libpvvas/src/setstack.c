// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pthread_attr_setstack(), but for memory in the window.  Not in the static library:
 * a static program has no second function of this name to go on to.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

#include "stacks.h"

PVVAS_EXPORT int pthread_attr_setstack(pthread_attr_t *attr, void *addr,
				       size_t size)
{
	__typeof__(pthread_attr_setstack) *next = dlsym(RTLD_NEXT, __func__);

	if (pvvas_in_window(addr, size))
		return EINVAL;
	return next ? next(attr, addr, size) : ENOSYS;
}
