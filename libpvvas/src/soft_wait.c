// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend's seg_wait() and seg_wake(): a segment is a file mapped
 * shared, in which a futex is found by file and offset.
 */
#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "soft.h"

#define NS_PER_S	1000000000UL

int soft_futex_wait(uint32_t *word, uint32_t expected, uint64_t deadline)
{
	struct timespec abs = {
		.tv_sec = (time_t)(deadline / NS_PER_S),
		.tv_nsec = (long)(deadline % NS_PER_S),
	};
	long ret = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected,
			   deadline == PVVAS_NO_DEADLINE ? NULL : &abs, NULL,
			   FUTEX_BITSET_MATCH_ANY);

	return ret < 0 ? -errno : 0;
}

/* How many were woken, or -errno.  The kernel takes 0 for 1. */
int soft_futex_wake(uint32_t *word, uint32_t n)
{
	long ret;

	if (!n)
		return 0;
	ret = syscall(SYS_futex, word, FUTEX_WAKE, n < INT_MAX ? n : INT_MAX,
		      NULL, NULL, 0);
	return ret < 0 ? -errno : (int)ret;
}

/* Outside every segment that is shown the window is not accessible. */
static int check(const struct pvvas_ioc_wait *arg)
{
	if (arg->addr % sizeof(uint32_t))
		return -EINVAL;
	return arg->addr - PVVAS_WINDOW_VA < SOFT_WINDOW ? 0 : -EFAULT;
}

static int wake(struct pvvas_ioc_wait *arg)
{
	uint32_t rights;
	int ret;

	ret = soft_lock();
	if (ret)
		return ret;
	rights = soft_rights_at(arg->addr);
	soft_unlock();
	if (!(rights & PVVAS_WRITE))
		return rights ? -EACCES : -EFAULT;
	ret = soft_futex_wake((uint32_t *)(uintptr_t)arg->addr, arg->value);
	if (ret < 0)
		return ret;
	arg->done = (uint32_t)ret;
	return 0;
}

int soft_wait_call(unsigned long request, struct pvvas_ioc_wait *arg)
{
	int err = check(arg);

	if (err)
		return err;
	if (request == PVVAS_IOC_SEG_WAKE)
		return wake(arg);
	return soft_futex_wait((uint32_t *)(uintptr_t)arg->addr, arg->value,
			       arg->deadline);
}
