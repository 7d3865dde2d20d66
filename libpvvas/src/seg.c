// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Segments: make, find, attach, detach, delete.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"
#include "lockset.h"

_Static_assert(SEG_NUMA_PREFERRED == PVVAS_NUMA_PREFERRED &&
	       SEG_NUMA_BIND == PVVAS_NUMA_BIND &&
	       SEG_NUMA_INTERLEAVE == PVVAS_NUMA_INTERLEAVE, "policies");

/* Options as they are known here, or -errno. */
static int read_options(const struct seg_options *options,
			struct pvvas_ioc_create *arg)
{
	static const struct {
		uint32_t ours, theirs;
	} flags[] = {
		{ SEG_HUGE, PVVAS_CREATE_HUGE },
		{ SEG_SMALL, PVVAS_CREATE_SMALL },
		{ SEG_POPULATE, PVVAS_CREATE_POPULATE },
		{ SEG_LOCK, PVVAS_CREATE_LOCK },
		{ SEG_DUMP, PVVAS_CREATE_DUMP },
		{ SEG_HUGETLB, PVVAS_CREATE_HUGETLB },
	};
	/* these have all of their memory from the start */
	const uint32_t whole = SEG_POPULATE | SEG_LOCK | SEG_HUGETLB;
	const char *more = (const char *)options;
	struct seg_options known = { 0 };
	size_t i;

	if (!options)
		return 0;
	if (options->size < sizeof(options->size))
		return -EINVAL;
	for (i = sizeof(known); i < options->size; i++)
		if (more[i])
			return -E2BIG;
	memcpy(&known, options, options->size < sizeof(known) ?
	       options->size : sizeof(known));
	if (known.flags & SEG_NORESERVE && known.flags & whole)
		return -EINVAL;
	known.flags &= ~SEG_NORESERVE;
	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (known.flags & flags[i].ours)
			arg->flags |= flags[i].theirs;
		known.flags &= ~flags[i].ours;
	}
	arg->policy = known.policy;
	arg->nodes = known.nodes;
	arg->memory = (uintptr_t)known.memory;
	arg->colors = known.colors;
	return known.flags ? -EINVAL : 0;
}

PVVAS_EXPORT int seg_alloc_with(const char *name, void *base, size_t size,
				mode_t perms, const struct seg_options *options)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct pvvas_ioc_create arg = {
		.size = sizeof(arg),
		.name = (uintptr_t)name,
		.mode = perms,
		.base = (uintptr_t)base,
	};
	int err;

	if (perms & ~(mode_t)0777 || !size || size > SIZE_MAX - page ||
	    (uintptr_t)base % page)
		return -EINVAL;
	arg.length = (size + page - 1) / page * page;
	err = read_options(options, &arg);
	if (!err && name)
		err = pvvas_check_name(name);
	if (!err)
		err = pvvas_call(PVVAS_IOC_SEG_CREATE, &arg);
	return err ? err : (int)arg.id;
}

PVVAS_EXPORT int seg_alloc(const char *name, void *base, size_t size,
			   mode_t perms)
{
	return seg_alloc_with(name, base, size, perms, NULL);
}

PVVAS_EXPORT int seg_find(const char *name)
{
	struct pvvas_ioc_name arg = {
		.size = sizeof(arg),
		.name = (uintptr_t)name,
	};
	int err = pvvas_check_name(name);

	if (!err)
		err = pvvas_call(PVVAS_IOC_SEG_FIND, &arg);
	return err ? err : (int)arg.id;
}

PVVAS_EXPORT int seg_publish(int sid, const char *name)
{
	struct pvvas_ioc_name arg = {
		.size = sizeof(arg),
		.id = (uint32_t)sid,
		.name = (uintptr_t)name,
	};
	int err = sid <= 0 ? -EINVAL : pvvas_check_name(name);

	return err ? err : pvvas_call(PVVAS_IOC_SEG_PUBLISH, &arg);
}

/* A lockable segment makes switches take its lock: none may be inline. */
static int seg_links_changed(int vh)
{
	const struct pvvas_backend *be;
	int err = lockset_update(vh);

	be = pvvas_backend_opened();
	if (!err && be && lockset_exists(vh))
		be->forget(vh);
	return err;
}

static int attach(int vid_or_vh, int sid, unsigned int prot)
{
	struct pvvas_ioc_seg_attach arg = {
		.size = sizeof(arg),
		.target = (uint32_t)vid_or_vh,
		.seg = (uint32_t)sid,
		.prot = prot,
	};
	size_t length;
	void *base;
	int err;

	if (vid_or_vh <= 0 || sid <= 0)
		return -EINVAL;
	if (arg.target & PVVAS_HANDLE && !seg_range(sid, &base, &length) &&
	    !pvvas_window_has((uintptr_t)base, length))
		return -ERANGE;
	err = pvvas_call(PVVAS_IOC_SEG_ATTACH, &arg);
	if (!err && arg.target & PVVAS_HANDLE)
		err = seg_links_changed(vid_or_vh);
	return err;
}

PVVAS_EXPORT int seg_attach(int vid_or_vh, int sid)
{
	return attach(vid_or_vh, sid, 0);
}

PVVAS_EXPORT int seg_attach_prot(int vid_or_vh, int sid, int prot)
{
	switch (prot) {
	case PROT_READ:
		return attach(vid_or_vh, sid, PVVAS_READ);
	case PROT_READ | PROT_WRITE:
		return attach(vid_or_vh, sid, PVVAS_READ | PVVAS_WRITE);
	default:
		return -EINVAL;
	}
}

PVVAS_EXPORT int seg_detach(int vid_or_vh, int sid)
{
	struct pvvas_ioc_seg_attach arg = {
		.size = sizeof(arg),
		.target = (uint32_t)vid_or_vh,
		.seg = (uint32_t)sid,
	};
	int err;

	if (vid_or_vh <= 0 || sid <= 0)
		return -EINVAL;
	err = pvvas_call(PVVAS_IOC_SEG_DETACH, &arg);
	pvvas_heaps_changed();
	if (!err && arg.target & PVVAS_HANDLE)
		err = seg_links_changed(vid_or_vh);
	return err;
}

PVVAS_EXPORT int seg_delete(int sid)
{
	struct pvvas_ioc_id arg = {
		.size = sizeof(arg),
		.id = (uint32_t)sid,
	};

	return sid <= 0 ? -EINVAL : pvvas_call(PVVAS_IOC_SEG_DELETE, &arg);
}

PVVAS_EXPORT int seg_resize(int sid, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct pvvas_ioc_seg_resize arg = {
		.size = sizeof(arg),
		.seg = (uint32_t)sid,
	};

	if (sid <= 0 || !size || size > SIZE_MAX - page)
		return -EINVAL;
	arg.length = (size + page - 1) / page * page;
	return pvvas_call(PVVAS_IOC_SEG_RESIZE, &arg);
}

PVVAS_EXPORT int seg_range(int sid, void **base, size_t *size)
{
	struct pvvas_ioc_attr attr;
	int err;

	if (!base || !size)
		return -EINVAL;
	err = pvvas_getattr(PVVAS_KIND_SEG, sid, &attr);
	if (err)
		return err;
	*base = (void *)(uintptr_t)attr.base;
	*size = attr.length;
	return 0;
}
