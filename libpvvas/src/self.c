// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The state of one thread that the inline switch looks at.
 *
 * A thread starts with a table of zeroes, which sends its first switch to the
 * slow path; only a thread that the backend knows gets another one.
 */
#include "internal.h"

uint16_t pvvas_no_slots[PVVAS_HANDLE_INDICES];
const uint64_t pvvas_home_cookie = VAS_HOME;

PVVAS_EXPORT __thread struct __pvvas_self __pvvas_self = {
	.slots = pvvas_no_slots,
	.cookie = &pvvas_home_cookie,
};

void pvvas_self_reset(void)
{
	__pvvas_self.slots = pvvas_no_slots;
	__pvvas_self.cookie = &pvvas_home_cookie;
}
