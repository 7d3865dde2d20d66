// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Checked pointers: the part that is not inline.
 *
 * A pointer that was made in another VAS is good here if the same segment is at
 * its address in both.  The tag is the index of a handle; the handle of it is
 * found among those that vas_attach() gave.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include <pvvas_check.h>

#include "internal.h"

_Static_assert(sizeof(unsigned long) == 8, "16 bits are free in a pointer");

static _Atomic uint32_t *_Atomic handles;
static _Atomic(vas_misuse_fn *) on_misuse;

/* Only programs that attach much need it all: it is taken page by page. */
void pvvas_check_attached(int vh)
{
	_Atomic uint32_t *table = atomic_load(&handles), *other = NULL;

	if (!table) {
		table = calloc(PVVAS_HANDLE_INDICES, sizeof(*table));
		if (!table)
			return;
		if (!atomic_compare_exchange_strong(&handles, &other, table)) {
			free((void *)table);
			table = other;
		}
	}
	atomic_store(&table[PVVAS_HANDLE_INDEX(vh)], (uint32_t)vh);
}

/* The segment at an address of a VAS, or 0. */
static int segment_at(int vh, unsigned long address)
{
	struct pvvas_ioc_attr attr;
	int sid = 0;

	while (vh != VAS_HOME && (sid = vas_next_seg(vh, sid, NULL)) > 0) {
		if (pvvas_getattr(PVVAS_KIND_SEG, sid, &attr))
			continue;
		if (address >= attr.base && address - attr.base < attr.length)
			return sid;
	}
	return 0;
}

PVVAS_EXPORT void vas_on_misuse(vas_misuse_fn *fn)
{
	atomic_store(&on_misuse, fn);
}

PVVAS_EXPORT void __pvvas_check(enum vas_misuse what, unsigned long p,
				const char *file, int line)
{
	_Atomic uint32_t *table = atomic_load(&handles);
	vas_misuse_fn *fn = atomic_load(&on_misuse);
	struct vas_misuse_info info = {
		.what = what,
		.made_in = (unsigned int)(p >> __PVVAS_TAG_SHIFT),
		.used_in = vas_current(),
		.address = (void *)(p & __PVVAS_PLAIN),
		.file = file,
		.line = line,
	};
	int made_in, sid;

	if (what != VAS_MISUSE_PRIVATE && table) {
		made_in = (int)atomic_load(&table[info.made_in]);
		sid = segment_at(made_in, p & __PVVAS_PLAIN);
		if (sid && sid == segment_at(info.used_in, p & __PVVAS_PLAIN))
			return;
	}
	if (!fn)
		abort();
	fn(&info);
}
