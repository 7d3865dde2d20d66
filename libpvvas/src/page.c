// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Pages of segments: protect, dirty, accessed, populate, fill, discard, move, evict.
 * All of it may be called by the function of seg_trap(), in a signal handler.
 */
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "internal.h"

#define PAGE		((size_t)4096)
#define BATCH		128

/* The range as an offset in the segment; *base says where that begins. */
static int range_of(int sid, const void *addr, size_t length,
		    struct pvvas_ioc_range *arg, uint64_t *base)
{
	uint64_t at = (uintptr_t)addr;
	struct pvvas_ioc_attr attr;
	int err;

	if (at % PAGE || !length || length > SIZE_MAX - PAGE)
		return -EINVAL;
	err = pvvas_getattr(PVVAS_KIND_SEG, sid, &attr);
	if (err)
		return err;
	*arg = (struct pvvas_ioc_range){
		.size = sizeof(*arg),
		.seg = (uint32_t)sid,
		.offset = at - attr.base,
		.length = (length + PAGE - 1) / PAGE * PAGE,
	};
	if (at < attr.base || arg->offset >= attr.length ||
	    arg->length > attr.length - arg->offset)
		return -ERANGE;
	*base = attr.base;
	return 0;
}

static int rights_of(int prot)
{
	switch (prot) {
	case PROT_NONE:
		return 0;
	case PROT_READ:
		return PVVAS_READ;
	case PROT_READ | PROT_WRITE:
		return PVVAS_READ | PVVAS_WRITE;
	default:
		return -EINVAL;
	}
}

PVVAS_EXPORT int seg_protect(int sid, void *addr, size_t length, int prot)
{
	struct pvvas_ioc_range arg;
	int rights = rights_of(prot), err;
	uint64_t base;

	if (rights < 0)
		return rights;
	err = range_of(sid, addr, length, &arg, &base);
	if (err)
		return err;
	arg.arg = (uint64_t)rights;
	return pvvas_call(PVVAS_IOC_SEG_PROTECT, &arg);
}

PVVAS_EXPORT int seg_prot1(int sid, void *page, int prot)
{
	return seg_protect(sid, page, PAGE, prot);
}

PVVAS_EXPORT int seg_unprot(int sid, void *page)
{
	return seg_protect(sid, page, PAGE, PROT_READ | PROT_WRITE);
}

/* Pages that follow each other are one range. */
PVVAS_EXPORT int seg_protN(int sid, void *const *pages, size_t n, int prot)
{
	size_t i, run;
	int err = 0;

	if (sid <= 0 || (n && !pages) || rights_of(prot) < 0)
		return -EINVAL;
	for (i = 0; i < n && !err; i += run) {
		for (run = 1; i + run < n; run++)
			if ((uintptr_t)pages[i + run] !=
			    (uintptr_t)pages[i] + run * PAGE)
				break;
		err = seg_protect(sid, pages[i], run * PAGE, prot);
	}
	return err;
}

static int told_of(unsigned long request, int sid, void *addr, size_t length,
		   void **pages, size_t max)
{
	uint64_t offsets[BATCH], base;
	struct pvvas_ioc_range arg;
	size_t found = 0, i;
	int err;

	if ((max && !pages) || max > INT_MAX)
		return -EINVAL;
	err = range_of(sid, addr, length, &arg, &base);
	arg.addr = (uintptr_t)offsets;
	while (!err && found < max) {
		arg.arg = max - found < BATCH ? max - found : BATCH;
		arg.done = 0;
		err = pvvas_call(request, &arg);
		for (i = 0; !err && i < arg.done; i++)
			pages[found++] = (void *)(uintptr_t)(base + offsets[i]);
		if (!err && arg.done < arg.arg)
			break;
	}
	/* it is not told of again: it must not be lost */
	return found ? (int)found : err;
}

PVVAS_EXPORT int seg_dirty(int sid, void *addr, size_t length, void **pages,
			   size_t max)
{
	return told_of(PVVAS_IOC_SEG_DIRTY, sid, addr, length, pages, max);
}

PVVAS_EXPORT int seg_accessed(int sid, void *addr, size_t length, void **pages,
			      size_t max)
{
	return told_of(PVVAS_IOC_SEG_ACCESSED, sid, addr, length, pages, max);
}

PVVAS_EXPORT int seg_untrack(int sid)
{
	struct pvvas_ioc_id arg = { .size = sizeof(arg), .id = (uint32_t)sid };

	return sid <= 0 ? -EINVAL : pvvas_call(PVVAS_IOC_SEG_UNTRACK, &arg);
}

PVVAS_EXPORT int seg_populate(int sid, void *addr, size_t length)
{
	struct pvvas_ioc_range arg;
	uint64_t base;
	int err = range_of(sid, addr, length, &arg, &base);

	return err ? err : pvvas_call(PVVAS_IOC_SEG_POPULATE, &arg);
}

PVVAS_EXPORT int seg_discard(int sid, void *addr, size_t length)
{
	struct pvvas_ioc_range arg;
	uint64_t base;
	int err = range_of(sid, addr, length, &arg, &base);

	return err ? err : pvvas_call(PVVAS_IOC_SEG_DISCARD, &arg);
}

PVVAS_EXPORT int seg_move(int from, void *src, int to, void *dst, size_t length)
{
	struct pvvas_ioc_range src_range, dst_range;
	struct pvvas_ioc_move arg;
	uint64_t base;
	int err = range_of(from, src, length, &src_range, &base);

	if (!err)
		err = range_of(to, dst, length, &dst_range, &base);
	if (err)
		return err;
	arg = (struct pvvas_ioc_move){
		.size = sizeof(arg),
		.from = (uint32_t)from,
		.to = (uint32_t)to,
		.from_offset = src_range.offset,
		.to_offset = dst_range.offset,
		.length = src_range.length,
	};
	return pvvas_call(PVVAS_IOC_SEG_MOVE, &arg);
}

PVVAS_EXPORT int seg_pager(int sid, int on)
{
	struct pvvas_ioc_seg_pager arg = {
		.size = sizeof(arg),
		.seg = (uint32_t)sid,
		.on = !!on,
	};

	return sid <= 0 ? -EINVAL : pvvas_call(PVVAS_IOC_SEG_PAGER, &arg);
}

PVVAS_EXPORT int seg_fill(int sid, void *addr, const void *data, size_t length)
{
	struct pvvas_ioc_range arg;
	uint64_t base;
	int err;

	if (!data || length % PAGE || length / PAGE > INT_MAX)
		return -EINVAL;
	err = range_of(sid, addr, length, &arg, &base);
	if (err)
		return err;
	arg.addr = (uintptr_t)data;
	err = pvvas_call(PVVAS_IOC_SEG_FILL, &arg);
	return err ? err : (int)arg.done;
}

PVVAS_EXPORT int seg_limit(int sid, uint64_t bytes)
{
	struct pvvas_ioc_reclaim arg = {
		.size = sizeof(arg),
		.seg = (uint32_t)sid,
		.bytes = bytes,
	};

	return sid <= 0 ? -EINVAL : pvvas_call(PVVAS_IOC_SEG_LIMIT, &arg);
}

PVVAS_EXPORT int seg_reclaim_wait(int sid, uint64_t *bytes,
				  const struct timespec *abs)
{
	struct pvvas_ioc_reclaim arg = {
		.size = sizeof(arg),
		.seg = (uint32_t)sid,
	};
	int err = sid <= 0 || !bytes ? -EINVAL :
		  pvvas_deadline(abs, &arg.deadline);

	if (!err)
		err = pvvas_call(PVVAS_IOC_SEG_RECLAIM_WAIT, &arg);
	if (!err)
		*bytes = arg.bytes;
	return err;
}

/* The driver's offsets become addresses where they lie. */
PVVAS_EXPORT int seg_evict(int sid, void **pages, void *data, size_t max)
{
	struct pvvas_ioc_evict arg = {
		.size = sizeof(arg),
		.seg = (uint32_t)sid,
		.addr = (uintptr_t)pages,
		.data = (uintptr_t)data,
		.room = max,
	};
	struct pvvas_ioc_attr attr;
	uint64_t offset, i;
	int err;

	if (!pages || !data || max > INT_MAX)
		return -EINVAL;
	err = pvvas_getattr(PVVAS_KIND_SEG, sid, &attr);
	if (!err)
		err = pvvas_call(PVVAS_IOC_SEG_EVICT, &arg);
	if (err)
		return err;
	for (i = 0; i < arg.done; i++) {
		memcpy(&offset, &pages[i], sizeof(offset));
		pages[i] = (void *)(uintptr_t)(attr.base + offset);
	}
	return (int)arg.done;
}
