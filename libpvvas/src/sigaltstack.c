// SPDX-License-Identifier: LGPL-2.1-or-later
/* sigaltstack(), but for memory in the window. */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stacks.h"

PVVAS_EXPORT int sigaltstack(const stack_t *restrict new, stack_t *restrict old)
{
	if (new && !(new->ss_flags & SS_DISABLE) &&
	    pvvas_in_window(new->ss_sp, new->ss_size)) {
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_sigaltstack, new, old);
}
