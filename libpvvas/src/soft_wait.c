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

int soft_futex_wait(uint32_t *word, uint32_t expected, uint64_t deadline,
		    uint32_t kind)
{
	struct timespec abs = {
		.tv_sec = (time_t)(deadline / NS_PER_S),
		.tv_nsec = (long)(deadline % NS_PER_S),
	};
	long ret = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected,
			   deadline == PVVAS_NO_DEADLINE ? NULL : &abs, NULL,
			   kind);

	return ret < 0 ? -errno : 0;
}

/* How many were woken, or -errno.  The kernel takes 0 for 1. */
int soft_futex_wake(uint32_t *word, uint32_t n, uint32_t kind)
{
	long ret;

	if (!n)
		return 0;
	ret = syscall(SYS_futex, word, FUTEX_WAKE_BITSET,
		      n < INT_MAX ? n : INT_MAX, NULL, NULL, kind);
	return ret < 0 ? -errno : (int)ret;
}

/* Outside every segment that is shown the window is not accessible. */
static int check(const struct pvvas_ioc_wait *arg)
{
	if (arg->addr % sizeof(uint32_t))
		return -EINVAL;
	return arg->addr - PVVAS_WINDOW_VA < SOFT_WINDOW ? 0 : -EFAULT;
}

static int rights_at(uint64_t addr, uint32_t *rights)
{
	int err = soft_lock();

	if (err)
		return err;
	*rights = soft_rights_at(addr);
	soft_unlock();
	return 0;
}

/* Those that may write, up to a number, and all that may only read. */
static int wake(struct pvvas_ioc_wait *arg)
{
	uint32_t *word = (uint32_t *)(uintptr_t)arg->addr, rights;
	int readers, writers, err = rights_at(arg->addr, &rights);

	if (err)
		return err;
	if (!(rights & PVVAS_WRITE))
		return rights ? -EACCES : -EFAULT;
	readers = soft_futex_wake(word, UINT32_MAX, SOFT_WAITS_TO_READ);
	if (readers < 0)
		return readers;
	writers = soft_futex_wake(word, arg->value, SOFT_WAITS_TO_WRITE);
	if (writers < 0)
		return writers;
	arg->done = (uint32_t)(readers + writers);
	return 0;
}

static int wait_for(const struct pvvas_ioc_wait *arg)
{
	uint32_t rights;
	int err = rights_at(arg->addr, &rights);

	if (err)
		return err;
	return soft_futex_wait((uint32_t *)(uintptr_t)arg->addr, arg->value,
			       arg->deadline, rights & PVVAS_WRITE ?
			       SOFT_WAITS_TO_WRITE : SOFT_WAITS_TO_READ);
}

int soft_wait_call(unsigned long request, struct pvvas_ioc_wait *arg)
{
	int err = check(arg);

	if (err)
		return err;
	return request == PVVAS_IOC_SEG_WAKE ? wake(arg) : wait_for(arg);
}
