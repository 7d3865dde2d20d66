/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The pages of segments: clones, ranges, pagers, limits and moves.  What
 * <linux/pvvas.h> says of structs and ids holds here.
 */
#ifndef _UAPI_LINUX_PVVAS_PAGES_H
#define _UAPI_LINUX_PVVAS_PAGES_H

#include <linux/types.h>

/* Segments that show the same pages, the first one included. */
#define PVVAS_MAX_FACES		64

/**
 * struct pvvas_ioc_clone - PVVAS_IOC_VAS_CLONE, _SEG_CLONE, _SEG_MAP2
 * @size: sizeof(struct pvvas_ioc_clone)
 * @flags: 0
 * @name: address of the name, NUL-terminated; 0 for an anonymous object
 * @mode: permission bits of the new object
 * @id: out, the new object
 * @source: a VAS or segment that the caller may read
 * @reserved: 0
 * @base: SEG_MAP2: virtual address; 0 lets the driver choose.  Its distance to
 *	that of the source, or of its range, is a multiple of 2 MiB.  0 in the others
 * @offset: SEG_MAP2: of the range of the source, in bytes, of whole pages; else 0
 * @length: SEG_MAP2: of the range, the same; both 0: all of the source; else 0
 *
 * A clone has its source's data of one moment, and is written to alone: pages
 * are shared until one side writes to them.  That of a VAS has a clone of each
 * segment.  SEG_MAP2 makes a segment that shows the source's very pages, or those
 * of a range of it, which the caller may write to, at another address, with protections of its own;
 * -ENOSPC if PVVAS_MAX_FACES do already.
 */
struct pvvas_ioc_clone {
	__u32 size;
	__u32 flags;
	__u64 name;
	__u32 mode;
	__u32 id;
	__u32 source;
	__u32 reserved;
	__u64 base;
	/* since version 1.4: a struct that ends here means zeroes */
	__u64 offset;
	__u64 length;
};

/* Rows of one PVVAS_IOC_SEGS_CLONE or PVVAS_IOC_PUBLISH_ALL at most. */
#define PVVAS_MAX_ROWS		65536

/**
 * struct pvvas_clone_row - a segment and its clone
 * @source: a segment that the caller may read
 * @id: out, the clone: anonymous, of mode 0600, owned by the caller
 * @lock: out, of a lockable source, at the moment of the clones: PVVAS_LOCK_DIED
 *	if a thread held it exclusively, or has died with it; PVVAS_LOCK_LOST;
 *	or 0
 * @reserved: 0
 */
struct pvvas_clone_row {
	__u32 source;
	__u32 id;
	__u32 lock;
	__u32 reserved;
};

/**
 * struct pvvas_ioc_segs_clone - PVVAS_IOC_SEGS_CLONE: segments of one moment
 * @size: sizeof(struct pvvas_ioc_segs_clone)
 * @nr: rows, 1 to PVVAS_MAX_ROWS
 * @rows: address of an array of struct pvvas_clone_row
 *
 * As PVVAS_IOC_SEG_CLONE, of all of them at the same moment, wherever they lie;
 * or of none.  -EINVAL if a segment is there twice.
 */
struct pvvas_ioc_segs_clone {
	__u32 size;
	__u32 nr;
	__u64 rows;
};

/**
 * struct pvvas_ioc_range - PVVAS_IOC_SEG_PROTECT, _DIRTY, _ACCESSED, _POPULATE, _FILL,
 *	_DISCARD, _READ
 * @size: sizeof(struct pvvas_ioc_range)
 * @seg: a segment that the caller may write to; READ: that it may read
 * @offset: bytes from the segment's base, a multiple of the page size
 * @length: bytes, the same
 * @addr: DIRTY, ACCESSED: an array of __u64 for offsets of pages; FILL: @length
 *	bytes of data; READ: room for @length bytes; else 0
 * @arg: PROTECT: PVVAS_READ, PVVAS_WRITE, both or 0: what is allowed here at
 *	most, in all VASes; DIRTY, ACCESSED: rows of the array; else 0
 * @done: out, DIRTY, ACCESSED: rows filled, FILL: pages placed, else 0
 *
 * DIRTY tells which pages were written to since it last told of them, and only
 * of as many as there is room for; ACCESSED the same of any access.  After -EFAULT
 * all that it has looked at counts as written to, or accessed.  FILL puts data where
 * there is no memory yet, and leaves what is there alone.  DISCARD gives memory back:
 * the next access finds zeroes, or asks the pager; -EOPNOTSUPP for memory of
 * hugetlbfs, -EINVAL for a segment that is locked into memory.  READ copies what is
 * there, and zeroes for pages without memory, or -ENXIO if a pager has them; -EACCES for
 * a page that a protection lets no process read.
 */
struct pvvas_ioc_range {
	__u32 size;
	__u32 seg;
	__u64 offset;
	__u64 length;
	__u64 addr;
	__u64 arg;
	__u64 done;
};

/**
 * struct pvvas_ioc_seg_pager - PVVAS_IOC_SEG_PAGER
 * @size: sizeof(struct pvvas_ioc_seg_pager)
 * @seg: a segment that the caller may write to, and no part of another one
 * @on: 1: an access where there is no memory is SIGSEGV, SEGV_MAPERR, until
 *	PVVAS_IOC_SEG_FILL; 0: it finds a zeroed page
 * @reserved: 0
 */
struct pvvas_ioc_seg_pager {
	__u32 size;
	__u32 seg;
	__u32 on;
	__u32 reserved;
};

/**
 * struct pvvas_ioc_reclaim - PVVAS_IOC_SEG_LIMIT, _RECLAIM_WAIT
 * @size: sizeof(struct pvvas_ioc_reclaim)
 * @seg: a segment that the caller may write to
 * @bytes: LIMIT: how much of it is to be resident at most; PVVAS_NO_LIMIT; or 0: it
 *	is not reclaimable (any more).  RECLAIM_WAIT: in, 0; out, how much is to go
 * @deadline: RECLAIM_WAIT: nanoseconds of CLOCK_MONOTONIC, or PVVAS_NO_DEADLINE;
 *	else 0
 *
 * A limit refuses nothing: it is for the pager that keeps it.  RECLAIM_WAIT sleeps
 * until more than that is resident, or the kernel is short of memory.
 *
 * RECLAIM_WAIT: -ETIMEDOUT.  -EINTR: a signal (and with SA_RESTART the request is
 * made again).  -EINVAL: the segment is not reclaimable.  -ENOENT: there is no such
 * segment, also once it has gone.
 */
struct pvvas_ioc_reclaim {
	__u32 size;
	__u32 seg;
	__u64 bytes;
	__u64 deadline;
};

#define PVVAS_NO_LIMIT		(~0ULL)

/**
 * struct pvvas_ioc_evict - PVVAS_IOC_SEG_EVICT
 * @size: sizeof(struct pvvas_ioc_evict)
 * @seg: a segment that the caller may write to, and that has a pager
 * @addr: an array of __u64 for the offsets of the pages that went
 * @data: room for the content of as many pages
 * @room: how many, INT_MAX at most
 * @done: in, 0; out, how many went
 *
 * Takes the pages that were not accessed for the longest time out of the segment, with
 * their content: an access asks the pager (PVVAS_IOC_SEG_PAGER).  Counts as
 * PVVAS_IOC_SEG_ACCESSED for pages that it has looked at.
 */
struct pvvas_ioc_evict {
	__u32 size;
	__u32 seg;
	__u64 addr;
	__u64 data;
	__u64 room;
	__u64 done;
};

/**
 * struct pvvas_ioc_move - PVVAS_IOC_SEG_MOVE: pages to another place
 * @size: sizeof(struct pvvas_ioc_move)
 * @from: a segment that the caller may write to; @to: another one, or the same
 * @reserved: 0
 * @from_offset: bytes from the base of @from, a multiple of the page size
 * @to_offset: the same in @to
 * @length: bytes, a multiple of the page size
 *
 * What was at the new place is gone, and there is no memory at the old one any more.
 * Pages are not copied, unless another memory cgroup pays for @to.  -EINVAL: ranges of
 * one memory that overlap, or a segment that is locked into memory; -EOPNOTSUPP for
 * memory of hugetlbfs.
 */
struct pvvas_ioc_move {
	__u32 size;
	__u32 from;
	__u32 to;
	__u32 reserved;
	__u64 from_offset;
	__u64 to_offset;
	__u64 length;
};

/**
 * struct pvvas_ioc_seg_resize - PVVAS_IOC_SEG_RESIZE: a segment grows at its end
 * @size: sizeof(struct pvvas_ioc_seg_resize)
 * @seg: a segment that the caller owns
 * @length: bytes, a multiple of the page size, and no fewer than the segment has
 *
 * All that attach it see the new pages at once, which have no memory, but for those of
 * a segment that is locked into memory.  -EEXIST: something is in the way in a VAS, or
 * in an attachment of any process, that the segment is attached to; -ERANGE: it would
 * not be in the window, or a second face would show more than there is; -EACCES: a second
 * face, and no right to the memory, as PVVAS_IOC_SEG_MAP2 wants it;
 * -EOPNOTSUPP for memory of hugetlbfs.  Nothing has changed then.
 */
struct pvvas_ioc_seg_resize {
	__u32 size;
	__u32 seg;
	__u64 length;
};

/**
 * struct pvvas_ioc_seg_stat - PVVAS_IOC_SEG_STAT
 * @size: sizeof(struct pvvas_ioc_seg_stat)
 * @seg: a segment that the caller may read
 * @resident: out, bytes of memory behind it
 * @shared: out, of these, bytes that a clone may have too
 * @faults: out, demand faults since its creation
 * @copied: out, pages copied because a clone had them too
 * @refused: out, accesses refused by a protection or for want of a page
 * @colors: out, of a segment made for some colours: those that its pages have
 */
struct pvvas_ioc_seg_stat {
	__u32 size;
	__u32 seg;
	__u64 resident;
	__u64 shared;
	__u64 faults;
	__u64 copied;
	__u64 refused;
	/* since version 1.4: a struct that ends here means zeroes */
	__u64 colors;
};

#endif
