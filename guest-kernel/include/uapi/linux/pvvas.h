/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The ioctl ABI of /dev/pvvas, version 1.
 *
 * Every argument is a struct whose first member is its size.  A larger size
 * than the driver knows is accepted if the bytes beyond are zero (-E2BIG
 * otherwise), a smaller one if it is one that was ever published.  Unknown
 * flags and non-zero reserved members are refused with -EINVAL.
 *
 * Ids are positive and fit an int.  VASes and segments have a number space of
 * 2^30 - 1 ids each.  The id of an object that is gone is used again only after
 * all others of its kind.  A handle (an attachment of this process) has
 * PVVAS_HANDLE set, so that one call can take either.
 */
#ifndef _UAPI_LINUX_PVVAS_H
#define _UAPI_LINUX_PVVAS_H

#include <linux/types.h>
#include <linux/ioctl.h>
#include <linux/pvvas_identity.h>
#include <linux/pvvas_lock.h>
#include <linux/pvvas_pages.h>

#define PVVAS_IOC_VERSION	1

/* Longest name of a VAS or a segment, without the terminating NUL. */
#define PVVAS_NAME_MAX		255

/*
 * The window stands at this virtual address in every process, so that a
 * pointer means the same everywhere.  The identity page is its first page;
 * segments may lie from PVVAS_WINDOW_FIRST on.
 */
#define PVVAS_WINDOW_VA		0x200000000000ULL
#define PVVAS_WINDOW_FIRST	(PVVAS_WINDOW_VA + PVVAS_WINDOW_RESERVED)

/* A handle: bit 30, then 14 bits of generation, then 16 bits of index. */
#define PVVAS_HANDLE		(1U << 30)
#define PVVAS_HANDLE_INDEX(h)	((__u32)(h) & 0xffff)

/* Rights of an attachment. */
#define PVVAS_READ		(1U << 0)
#define PVVAS_WRITE		(1U << 1)

/**
 * struct pvvas_ioc_info - PVVAS_IOC_INFO: what driver and hypervisor offer
 * @size: sizeof(struct pvvas_ioc_info)
 * @version: out, PVVAS_IOC_VERSION of the driver
 * @hc_version: out, version of the hypercall ABI of the host
 * @slots: out, views that one process can have resident
 * @window_va: out, PVVAS_WINDOW_VA
 * @window_size: out, bytes of the window
 * @page_size: out, granularity of base and size of segments, in bytes
 */
struct pvvas_ioc_info {
	__u32 size;
	__u32 version;
	__u32 hc_version;
	__u32 slots;
	__u64 window_va;
	__u64 window_size;
	__u64 page_size;
};

/**
 * struct pvvas_ioc_create - PVVAS_IOC_VAS_CREATE, PVVAS_IOC_SEG_CREATE
 * @size: sizeof(struct pvvas_ioc_create)
 * @flags: PVVAS_CREATE_*
 * @name: address of the name, NUL-terminated; -EINVAL if it is empty, "." or
 *	"..", or has a slash or a control character (below 0x20, or 0x7f); 0 for
 *	an anonymous object
 * @mode: permission bits, 0777 at most, subject to no umask
 * @id: out, the new object
 * @base: in/out, segments only: virtual address, page aligned; 0 lets the
 *	driver choose
 * @length: segments only: bytes, a multiple of the page size
 * @policy: segments only: PVVAS_NUMA_*
 * @reserved: 0
 * @memory: with PVVAS_CREATE_HUGETLB: address of the memory; else 0
 * @nodes: a bit for each NUMA node of the policy, of the caller's cpuset and below
 *	64; 0 with PVVAS_NUMA_DEFAULT
 * @colors: segments only: a bit for each colour that its pages may have, the frame's
 *	number in guest-physical memory modulo 64; 0: any.  Not with PVVAS_CREATE_HUGE, PVVAS_CREATE_HUGETLB
 */
struct pvvas_ioc_create {
	__u32 size;
	__u32 flags;
	__u64 name;
	__u32 mode;
	__u32 id;
	__u64 base;
	__u64 length;
	/* since version 1.1: a struct that ends here means zeroes */
	__u32 policy;
	__u32 reserved;
	/* since version 1.2 */
	__u64 memory;
	/* since version 1.3 */
	__u64 nodes;
	/* since version 1.4 */
	__u64 colors;
};

/* Where pages come from, as far as there is any memory: */
#define PVVAS_NUMA_DEFAULT	0	/* from where its thread that takes one does */
#define PVVAS_NUMA_PREFERRED	1	/* one node first */
#define PVVAS_NUMA_BIND		2	/* these nodes only */
#define PVVAS_NUMA_INTERLEAVE	3	/* these nodes in turn, by place */

/* PVVAS_IOC_SEG_CREATE: all pages now (-ENOMEM now) rather than at first touch */
#define PVVAS_CREATE_POPULATE	(1U << 0)
/*
 * Any touch takes 2 MiB where they fit, with an effort to have them; else up to 64 KiB.
 * Without it: only a touch behind two pages that are there, and without the effort.
 */
#define PVVAS_CREATE_HUGE	(1U << 1)
/* populated, and never swapped; within RLIMIT_MEMLOCK or with CAP_IPC_LOCK */
#define PVVAS_CREATE_LOCK	(1U << 2)
/* core dumps of processes that attach it hold it */
#define PVVAS_CREATE_DUMP	(1U << 3)
/*
 * @memory, @length bytes of hugetlbfs mapped writable in this process, is the
 * segment's from now on as well, and until it goes.  Base and length are
 * multiples of 2 MiB.  With no other flag and no policy; it cannot be cloned.
 */
#define PVVAS_CREATE_HUGETLB	(1U << 4)
/* A touch takes the page that is touched alone.  Not with PVVAS_CREATE_HUGE. */
#define PVVAS_CREATE_SMALL	(1U << 5)

/**
 * struct pvvas_ioc_name - PVVAS_IOC_VAS_FIND, _SEG_FIND, _VAS_PUBLISH,
 *	_SEG_PUBLISH
 * @size: sizeof(struct pvvas_ioc_name)
 * @id: FIND: out, the object; PUBLISH: in, an anonymous object that the caller
 *	owns
 * @name: address of the name, NUL-terminated; see struct pvvas_ioc_create
 *
 * PUBLISH gives an anonymous object its name: others find it from then on, and
 * it outlives its creator.  -EINVAL if it has a name, -EEXIST if another object
 * has this one.
 */
struct pvvas_ioc_name {
	__u32 size;
	__u32 id;
	__u64 name;
};

/**
 * struct pvvas_ioc_id - PVVAS_IOC_VAS_DELETE, _SEG_DELETE, _SEG_LOCK_RESET, _SEG_UNTRACK
 * @size: sizeof(struct pvvas_ioc_id)
 * @id: DELETE: the object whose name goes away; it lives on until its last user
 *	goes.  LOCK_RESET: a segment that was lockable once, and that the caller
 *	owns: its lock is as new, whatever died in it.  -EBUSY if a thread holds
 *	it exclusively, -EINVAL if it never was lockable.  UNTRACK: a segment that
 *	the caller may write to: SEG_DIRTY and SEG_ACCESSED begin anew, and until
 *	then cost nothing
 */
struct pvvas_ioc_id {
	__u32 size;
	__u32 id;
};

/**
 * struct pvvas_ioc_attach - PVVAS_IOC_VAS_ATTACH, _DETACH, _RESIDENT
 * @size: sizeof(struct pvvas_ioc_attach)
 * @flags: in, 0; out (ATTACH): PVVAS_ATTACH_*
 * @id: in, the VAS (ATTACH)
 * @handle: out (ATTACH) or in (DETACH, RESIDENT): the attachment
 * @slot: out, the slot of its view in the EPTP list of the process
 *	(ATTACH, RESIDENT)
 * @reserved: 0
 *
 * RESIDENT gives the attachment a slot if it has lost its own.
 */
struct pvvas_ioc_attach {
	__u32 size;
	__u32 flags;
	__u32 id;
	__u32 handle;
	__u32 slot;
	__u32 reserved;
};

#define PVVAS_ATTACH_NO_LOCKS	1U	/* none of its segments is lockable */

/**
 * struct pvvas_ioc_seg_attach - PVVAS_IOC_SEG_ATTACH, PVVAS_IOC_SEG_DETACH
 * @size: sizeof(struct pvvas_ioc_seg_attach)
 * @flags: 0
 * @target: VAS id (public: for every attacher, but for handles to which
 *	something that overlaps it is attached) or handle (this process only)
 * @seg: segment id
 * @prot: PVVAS_READ or PVVAS_READ | PVVAS_WRITE; 0: all that the caller may.
 *	0 in DETACH
 * @reserved: 0
 */
struct pvvas_ioc_seg_attach {
	__u32 size;
	__u32 flags;
	__u32 target;
	__u32 seg;
	__u32 prot;
	__u32 reserved;
};

/**
 * struct pvvas_ioc_seg_data - PVVAS_IOC_SEG_NEXT_DATA: where memory is
 * @size: sizeof(struct pvvas_ioc_seg_data)
 * @seg: a segment that the caller may read
 * @offset: in, bytes from the segment's base; out, the first byte from there on
 *	that has memory behind it
 * @length: out, how many have, at least, from there on
 *
 * -ENOENT if there is none from @offset on.
 */
struct pvvas_ioc_seg_data {
	__u32 size;
	__u32 seg;
	__u64 offset;
	__u64 length;
};

/* struct pvvas_ioc_link.flags */
#define PVVAS_LINK_LOCKABLE	(1U << 0)
#define PVVAS_LINK_PAGER	(1U << 1)	/* a program has the pages without memory */
#define PVVAS_LINK_PART		(1U << 2)	/* it shows a part of another one's memory */

/**
 * struct pvvas_ioc_link - PVVAS_IOC_LINK_NEXT: what a VAS or a handle shows
 * @size: sizeof(struct pvvas_ioc_link)
 * @flags: in, PVVAS_LINK_LOCKABLE: only segments of which that is so, or 0; out,
 *	PVVAS_LINK_*
 * @target: VAS id, or handle: then with what only this process sees, and with
 *	the rights of this process
 * @seg: in, an id, or 0; out, the segment there with the next higher one
 * @prot: out, PVVAS_READ, PVVAS_WRITE
 * @reserved: 0
 * @memory: out, a number for the segment's memory: the same for every segment
 *	that shows it from its beginning (PVVAS_IOC_SEG_MAP2), and never that of another
 *	memory, of a clone for instance, nor of one under a driver that is loaded later
 *
 * -ENOENT after the last one, -EINVAL if there is no such target.
 */
struct pvvas_ioc_link {
	__u32 size;
	__u32 flags;
	__u32 target;
	__u32 seg;
	__u32 prot;
	__u32 reserved;
	__u64 memory;
};

/**
 * struct pvvas_ioc_life - PVVAS_IOC_LIFE_TOKEN, PVVAS_IOC_LIFE_ALIVE
 * @size: sizeof(struct pvvas_ioc_life)
 * @alive: ALIVE: out, 1 as long as the thread with this token lives and has not
 *	executed another program, 0 from then on; else 0
 * @token: TOKEN: out, that of the calling thread; ALIVE: in
 *
 * A token is not 0 and names one thread of one process for ever: no other
 * thread gets it, nor the same one after exec, nor any thread under a driver
 * that is loaded later.  TOKEN is -EINVAL in a process that has never attached
 * a VAS.
 */
struct pvvas_ioc_life {
	__u32 size;
	__u32 alive;
	__u64 token;
};

/**
 * struct pvvas_publish_row - an object and its name
 * @kind: PVVAS_KIND_*
 * @id: an anonymous object that the caller owns
 * @name: address of the name, NUL-terminated; see struct pvvas_ioc_create
 */
struct pvvas_publish_row {
	__u32 kind;
	__u32 id;
	__u64 name;
};

/**
 * struct pvvas_ioc_publish_all - PVVAS_IOC_PUBLISH_ALL: names for many at once
 * @size: sizeof(struct pvvas_ioc_publish_all)
 * @nr: in, rows, 1 to PVVAS_MAX_ROWS
 * @rows: address of an array of struct pvvas_publish_row
 *
 * As PVVAS_IOC_VAS_PUBLISH and _SEG_PUBLISH, for all of them or for none: no
 * process finds one without the others.
 */
struct pvvas_ioc_publish_all {
	__u32 size;
	__u32 nr;
	__u64 rows;
};

/**
 * struct pvvas_ioc_begin - PVVAS_IOC_BEGIN: the process will use VASes
 * @size: sizeof(struct pvvas_ioc_begin)
 * @reserved: 0
 *
 * What the first attach does first: each thread of the process gets to know the
 * driver, which ends calls in which other threads sleep with -EINTR, those that
 * no signal handler's SA_RESTART restarts.  Nothing if it has been done.
 *
 * -EAGAIN: a thread is stopped, or waits for a child of vfork().
 */
struct pvvas_ioc_begin {
	__u32 size;
	__u32 reserved;
};

/* struct pvvas_ioc_attr.valid */
#define PVVAS_ATTR_MODE		(1U << 0)
#define PVVAS_ATTR_UID		(1U << 1)
#define PVVAS_ATTR_GID		(1U << 2)
#define PVVAS_ATTR_EXPIRY	(1U << 3)

#define PVVAS_KIND_VAS		1
#define PVVAS_KIND_SEG		2

/**
 * struct pvvas_ioc_attr - PVVAS_IOC_GETATTR, PVVAS_IOC_SETATTR
 * @size: sizeof(struct pvvas_ioc_attr)
 * @kind: PVVAS_KIND_*
 * @id: in, the object; GETATTR with PVVAS_ATTR_NEXT in @valid: out, the first
 *	object with an id above the one given
 * @valid: SETATTR: which of mode, uid, gid, expiry to set
 * @mode: permission bits
 * @uid: owner, in the caller's user namespace
 * @gid: group
 * @users: out, processes that have it attached (VAS) or VASes and handles
 *	that it is attached to (segment)
 * @base: out, segments: virtual address
 * @length: out, segments: bytes
 * @resident: out, segments: bytes of guest memory behind it
 * @name: out, the name, empty for an anonymous or deleted object
 * @idle: out, seconds since it had users last, or since its creation; 0 while it
 *	has some
 * @expiry: seconds without users after which it is deleted; 0: never.  -ENOENT
 *	for an object that is deleted already
 * @reserved: 0
 */
struct pvvas_ioc_attr {
	__u32 size;
	__u32 kind;
	__u32 id;
	__u32 valid;
	__u32 mode;
	__u32 uid;
	__u32 gid;
	__u32 users;
	__u64 base;
	__u64 length;
	__u64 resident;
	char  name[PVVAS_NAME_MAX + 1];
	/* since version 1.3: a struct that ends here means zeroes */
	__u64 idle;
	__u32 expiry;
	__u32 reserved;
};

/* GETATTR: step to the next object; -ENOENT after the last. */
#define PVVAS_ATTR_NEXT		(1U << 31)

/**
 * struct pvvas_ioc_stats - PVVAS_IOC_STATS: counters of driver and KVM
 * @size: sizeof(struct pvvas_ioc_stats)
 * @reserved: 0
 *
 * Driver: objects that exist now and context loads asked for.  hv_*: from
 * PVVAS_HC_STATS, for the whole VM (see struct pvvas_hc_stats).  @freeing: pages of
 * segments that are gone, still to be freed; those that clones share once for each.
 */
struct pvvas_ioc_stats {
	__u32 size;
	__u32 reserved;
	__u64 vases;
	__u64 segs;
	__u64 processes;
	__u64 threads;
	__u64 attachments;
	__u64 pages;
	__u64 links;
	__u64 trees;
	__u64 tables;
	__u64 ctx_loads;
	__u64 demand_faults;
	__u64 hv_exits;
	__u64 hv_hypercalls;
	__u64 hv_ept_violations;
	__u64 hv_vmfunc_exits;
	__u64 hv_view_faults;
	__u64 hv_reflected;
	__u64 hv_demand;
	__u64 hv_ctx_loads;
	__u64 hv_invalidations;
	__u64 hv_zapped;
	__u64 hv_flushes;
	__u64 hv_ctxs;
	__u64 hv_views;
	__u64 hv_shadow_pages;
	__u64 hv_max_shadow_pages;
	__u64 freeing;
};

#define PVVAS_IOC_TYPE		0xb7
#define PVVAS_IOC_INFO		_IOWR(PVVAS_IOC_TYPE, 0, struct pvvas_ioc_info)
#define PVVAS_IOC_VAS_CREATE	_IOWR(PVVAS_IOC_TYPE, 1, struct pvvas_ioc_create)
#define PVVAS_IOC_VAS_FIND	_IOWR(PVVAS_IOC_TYPE, 2, struct pvvas_ioc_name)
#define PVVAS_IOC_VAS_DELETE	_IOWR(PVVAS_IOC_TYPE, 3, struct pvvas_ioc_id)
#define PVVAS_IOC_VAS_ATTACH	_IOWR(PVVAS_IOC_TYPE, 4, struct pvvas_ioc_attach)
#define PVVAS_IOC_VAS_DETACH	_IOWR(PVVAS_IOC_TYPE, 5, struct pvvas_ioc_attach)
#define PVVAS_IOC_VAS_RESIDENT	_IOWR(PVVAS_IOC_TYPE, 6, struct pvvas_ioc_attach)
#define PVVAS_IOC_BEGIN		_IOWR(PVVAS_IOC_TYPE, 7, struct pvvas_ioc_begin)
#define PVVAS_IOC_VAS_PUBLISH	_IOWR(PVVAS_IOC_TYPE, 8, struct pvvas_ioc_name)
#define PVVAS_IOC_SEG_CREATE	_IOWR(PVVAS_IOC_TYPE, 16, struct pvvas_ioc_create)
#define PVVAS_IOC_SEG_FIND	_IOWR(PVVAS_IOC_TYPE, 17, struct pvvas_ioc_name)
#define PVVAS_IOC_SEG_DELETE	_IOWR(PVVAS_IOC_TYPE, 18, struct pvvas_ioc_id)
#define PVVAS_IOC_SEG_ATTACH	_IOWR(PVVAS_IOC_TYPE, 19, struct pvvas_ioc_seg_attach)
#define PVVAS_IOC_SEG_DETACH	_IOWR(PVVAS_IOC_TYPE, 20, struct pvvas_ioc_seg_attach)
#define PVVAS_IOC_LINK_NEXT	_IOWR(PVVAS_IOC_TYPE, 21, struct pvvas_ioc_link)
#define PVVAS_IOC_SEG_LOCKING	_IOWR(PVVAS_IOC_TYPE, 22, struct pvvas_ioc_seg_locking)
#define PVVAS_IOC_LOCK_OPEN	_IOWR(PVVAS_IOC_TYPE, 23, struct pvvas_ioc_lock_open)
#define PVVAS_IOC_LOCK_THREAD	_IOWR(PVVAS_IOC_TYPE, 24, struct pvvas_ioc_lock_thread)
#define PVVAS_IOC_SEG_NEXT_DATA	_IOWR(PVVAS_IOC_TYPE, 25, struct pvvas_ioc_seg_data)
#define PVVAS_IOC_LOCK_TAKE	_IOWR(PVVAS_IOC_TYPE, 26, struct pvvas_ioc_lock)
#define PVVAS_IOC_LOCK_RELEASE	_IOWR(PVVAS_IOC_TYPE, 27, struct pvvas_ioc_lock)
#define PVVAS_IOC_LOCK_CONSISTENT _IOWR(PVVAS_IOC_TYPE, 28, struct pvvas_ioc_lock)
#define PVVAS_IOC_SEG_LOCK_RESET _IOWR(PVVAS_IOC_TYPE, 29, struct pvvas_ioc_id)
#define PVVAS_IOC_SEG_PUBLISH	_IOWR(PVVAS_IOC_TYPE, 30, struct pvvas_ioc_name)
#define PVVAS_IOC_GETATTR	_IOWR(PVVAS_IOC_TYPE, 32, struct pvvas_ioc_attr)
#define PVVAS_IOC_SETATTR	_IOWR(PVVAS_IOC_TYPE, 33, struct pvvas_ioc_attr)
#define PVVAS_IOC_STATS		_IOWR(PVVAS_IOC_TYPE, 34, struct pvvas_ioc_stats)
#define PVVAS_IOC_PUBLISH_ALL	_IOWR(PVVAS_IOC_TYPE, 35, struct pvvas_ioc_publish_all)
#define PVVAS_IOC_LIFE_TOKEN	_IOWR(PVVAS_IOC_TYPE, 40, struct pvvas_ioc_life)
#define PVVAS_IOC_LIFE_ALIVE	_IOWR(PVVAS_IOC_TYPE, 41, struct pvvas_ioc_life)
#define PVVAS_IOC_VAS_CLONE	_IOWR(PVVAS_IOC_TYPE, 48, struct pvvas_ioc_clone)
#define PVVAS_IOC_SEG_CLONE	_IOWR(PVVAS_IOC_TYPE, 49, struct pvvas_ioc_clone)
#define PVVAS_IOC_SEG_MAP2	_IOWR(PVVAS_IOC_TYPE, 50, struct pvvas_ioc_clone)
#define PVVAS_IOC_SEG_PROTECT	_IOWR(PVVAS_IOC_TYPE, 51, struct pvvas_ioc_range)
#define PVVAS_IOC_SEG_DIRTY	_IOWR(PVVAS_IOC_TYPE, 52, struct pvvas_ioc_range)
#define PVVAS_IOC_SEG_POPULATE	_IOWR(PVVAS_IOC_TYPE, 53, struct pvvas_ioc_range)
#define PVVAS_IOC_SEG_FILL	_IOWR(PVVAS_IOC_TYPE, 54, struct pvvas_ioc_range)
#define PVVAS_IOC_SEG_PAGER	_IOWR(PVVAS_IOC_TYPE, 55, struct pvvas_ioc_seg_pager)
#define PVVAS_IOC_SEG_STAT	_IOWR(PVVAS_IOC_TYPE, 56, struct pvvas_ioc_seg_stat)
#define PVVAS_IOC_SEG_DISCARD	_IOWR(PVVAS_IOC_TYPE, 57, struct pvvas_ioc_range)
#define PVVAS_IOC_SEG_READ	_IOWR(PVVAS_IOC_TYPE, 58, struct pvvas_ioc_range)
#define PVVAS_IOC_SEGS_CLONE	_IOWR(PVVAS_IOC_TYPE, 59, struct pvvas_ioc_segs_clone)
#define PVVAS_IOC_SEG_ACCESSED	_IOWR(PVVAS_IOC_TYPE, 60, struct pvvas_ioc_range)
#define PVVAS_IOC_SEG_UNTRACK	_IOWR(PVVAS_IOC_TYPE, 61, struct pvvas_ioc_id)
#define PVVAS_IOC_SEG_LIMIT	_IOWR(PVVAS_IOC_TYPE, 62, struct pvvas_ioc_reclaim)
#define PVVAS_IOC_SEG_RECLAIM_WAIT _IOWR(PVVAS_IOC_TYPE, 63, struct pvvas_ioc_reclaim)
#define PVVAS_IOC_SEG_WAIT	_IOWR(PVVAS_IOC_TYPE, 64, struct pvvas_ioc_wait)
#define PVVAS_IOC_SEG_WAKE	_IOWR(PVVAS_IOC_TYPE, 65, struct pvvas_ioc_wait)
#define PVVAS_IOC_SEG_EVICT	_IOWR(PVVAS_IOC_TYPE, 66, struct pvvas_ioc_evict)
#define PVVAS_IOC_SEG_MOVE	_IOWR(PVVAS_IOC_TYPE, 67, struct pvvas_ioc_move)
#define PVVAS_IOC_SEG_RESIZE	_IOWR(PVVAS_IOC_TYPE, 68, struct pvvas_ioc_seg_resize)

#endif /* _UAPI_LINUX_PVVAS_H */
