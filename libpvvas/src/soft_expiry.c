// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend's objects that go when they have been unused for long
 * enough: the next call of any process looks.
 */
#include <time.h>

#include "soft.h"

uint64_t soft_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void soft_used(struct soft_object *obj)
{
	obj->used = soft_now();
}

uint64_t soft_idle(const struct soft_object *obj)
{
	uint64_t now = soft_now();

	/* a folder that is not in memory outlives the clock */
	return obj->users || now < obj->used ? 0 : (now - obj->used) / 1000;
}

/* When it may expire; of one in use, not before that. */
static uint64_t deadline(const struct soft_object *obj, uint64_t time)
{
	return (obj->users ? time : obj->used) + obj->expiry * 1000ULL;
}

bool soft_expire(void)
{
	uint64_t time, end, next = 0;
	struct soft_object *o;
	bool any = false;

	if (!soft_reg->next_expiry)
		return false;
	time = soft_now();
	for_each_object(o) {
		if (!o->expiry)
			continue;
		end = deadline(o, time);
		if (end <= time) {
			soft_drop(o);
			any = true;
		} else if (!next || end < next) {
			next = end;
		}
	}
	soft_reg->next_expiry = next;
	return any;
}

void soft_set_expiry(struct soft_object *obj, uint32_t seconds)
{
	obj->expiry = seconds;
	if (seconds)
		soft_reg->next_expiry = 1;
}
