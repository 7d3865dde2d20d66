// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * How much of the window this process maps: all of it, or as much as
 * PVVAS_WINDOW says, for processes that may not map so much.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pvvas.h>

#include "internal.h"

#define STEP	(2ULL << 20)

/* Where the window ends here, if it is not all of it; set under the lock. */
static uint64_t limit;

/* Bytes, with K, M, G or T; 0 if it is no such number. */
static uint64_t bytes_of(const char *text)
{
	static const char units[] = "KMGT";
	unsigned long long value;
	const char *unit;
	int shift = 0;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || *text < '0' || *text > '9')
		return 0;
	if (*end) {
		unit = strchr(units, *end);
		if (!unit || end[1])
			return 0;
		shift = 10 * (int)(unit - units + 1);
	}
	return value > UINT64_MAX >> shift ? 0 : (uint64_t)value << shift;
}

/*
 * Valgrind writes down for each page of a mapping what is known of it: for the whole
 * window that takes minutes and all memory.  It says that it is there by what it has
 * the dynamic linker load.
 */
static bool in_valgrind(void)
{
	const char *loaded = getenv("LD_PRELOAD");

	return loaded && strstr(loaded, "/vgpreload_");
}

int pvvas_window_here(uint64_t whole, uint64_t *size)
{
	const char *env = secure_getenv("PVVAS_WINDOW");
	int saved = errno;
	uint64_t bytes;

	*size = whole;
	if (!env)
		return in_valgrind() ? -ENOMEM : 0;
	bytes = bytes_of(env);
	errno = saved;
	if (!bytes)
		return -EINVAL;
	/* in whole tables, behind what is reserved */
	if (bytes < whole - PVVAS_WINDOW_RESERVED - STEP) {
		*size = PVVAS_WINDOW_RESERVED + (bytes + STEP - 1) / STEP * STEP;
		limit = PVVAS_WINDOW_VA + *size;
	}
	return 0;
}

bool pvvas_window_has(uint64_t base, uint64_t length)
{
	return !limit || base + length <= limit;
}

uint64_t pvvas_window_part(uint64_t base, uint64_t length)
{
	if (pvvas_window_has(base, length))
		return length;
	return base < limit ? limit - base : 0;
}

int pvvas_window_shows(int target)
{
	size_t length;
	void *base;
	int sid = 0;

	if (!limit)
		return 0;
	while ((sid = vas_next_seg(target, sid, NULL)) > 0)
		if (!seg_range(sid, &base, &length) &&
		    !pvvas_window_has((uintptr_t)base, length))
			return -ERANGE;
	return sid == -ENOENT ? 0 : sid;
}
