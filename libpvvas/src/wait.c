// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Waiting for a word of a segment to change.
 */
#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "internal.h"

#define NS_PER_S	1000000000L

int pvvas_deadline(const struct timespec *abs, __u64 *deadline)
{
	uint64_t limit = PVVAS_NO_DEADLINE / NS_PER_S;

	*deadline = PVVAS_NO_DEADLINE;
	if (!abs)
		return 0;
	if (abs->tv_sec < 0 || abs->tv_nsec < 0 || abs->tv_nsec >= NS_PER_S)
		return -EINVAL;
	if ((uint64_t)abs->tv_sec < limit)
		*deadline = (uint64_t)abs->tv_sec * NS_PER_S +
			    (uint64_t)abs->tv_nsec;
	return 0;
}

PVVAS_EXPORT int seg_wait(const uint32_t *word, uint32_t expected,
			  const struct timespec *abs)
{
	struct pvvas_ioc_wait arg = {
		.size = sizeof(arg),
		.value = expected,
		.addr = (uintptr_t)word,
	};
	int err = pvvas_deadline(abs, &arg.deadline);

	return err ? err : pvvas_call(PVVAS_IOC_SEG_WAIT, &arg);
}

PVVAS_EXPORT int seg_wake(const uint32_t *word, int n)
{
	struct pvvas_ioc_wait arg = {
		.size = sizeof(arg),
		.value = (uint32_t)n,
		.addr = (uintptr_t)word,
	};
	int err = n < 0 ? -EINVAL : pvvas_call(PVVAS_IOC_SEG_WAKE, &arg);

	return err ? err : (int)arg.done;
}
