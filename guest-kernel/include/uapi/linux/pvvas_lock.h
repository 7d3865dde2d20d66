/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Locks of segments, and waiting at a word of one: what <linux/pvvas.h> says of
 * structs and ids holds here.
 */
#ifndef _UAPI_LINUX_PVVAS_LOCK_H
#define _UAPI_LINUX_PVVAS_LOCK_H

#include <linux/types.h>

/**
 * struct pvvas_ioc_seg_locking - PVVAS_IOC_SEG_LOCKING
 * @size: sizeof(struct pvvas_ioc_seg_locking)
 * @seg: the segment; the caller owns it
 * @on: 1: it is lockable, with a new lock unless it was already; 0: it is not,
 *	for processes that attach it later: others go on using the lock that it had
 * @state: how a new lock begins: PVVAS_LOCK_DIED, as if a thread had died that
 *	held it; PVVAS_LOCK_LOST; or 0.  -EBUSY, and no change, where @on makes
 *	no new lock
 */
struct pvvas_ioc_seg_locking {
	__u32 size;
	__u32 seg;
	__u32 on;
	__u32 state;
};

/*
 * The lock of a lockable segment: one word, which a process that may write
 * to the segment can write, and others can read; and for each thread an array of its
 * own, where it puts the numbers of the locks that it holds shared.  Which
 * element is for which lock, the process says when it maps the word.  The driver
 * alone reads the arrays of others.
 *
 * Exclusively:
 *   take:    compare and swap 0, or READERS | own number, for the own number
 *   release: compare and swap the own number for 0
 * Shared:
 *   take:    store the lock's number in its element; full barrier; the word is
 *	      READERS, or READERS | own number.  A thread that can write the word
 *	      may make it so from 0, or from READERS | another's number.  If it is
 *	      anything else: store 0 again, and ask the driver
 *   release: store 0; full barrier; ask the driver if the word has WAITERS
 *
 * What does not succeed is for the driver: LOCK_TAKE, LOCK_RELEASE.  READERS
 * with the number of a thread stands until another one reads.
 *
 * A segment that is made lockable again has a new lock.  The word at
 * PVVAS_LOCK_GONE_OFFSET of the old one, which only the driver can write, is not
 * 0 from then on: open the lock again.
 */
#define PVVAS_LOCK_OWNER	0x0fffffffU	/* number of a thread */
#define PVVAS_LOCK_READERS	(1U << 28)	/* threads may hold it shared */
#define PVVAS_LOCK_DIED		(1U << 29)	/* a thread died that held it */
#define PVVAS_LOCK_LOST		(1U << 30)	/* and no thread repaired the data */
#define PVVAS_LOCK_WAITERS	(1U << 31)	/* others wait in the driver */

#define PVVAS_LOCK_BYTES	4096
#define PVVAS_LOCK_GONE_OFFSET	(1ULL << 60)

/**
 * struct pvvas_ioc_lock_open - PVVAS_IOC_LOCK_OPEN: the word of a lock
 * @size: sizeof(struct pvvas_ioc_lock_open)
 * @handle: an attachment
 * @seg: a segment that it shows and that was lockable once
 * @fd: in, 0; out, a new descriptor, closed by exec: PVVAS_LOCK_BYTES to map
 *	shared, that begin with the word, at offset PVVAS_LOCK_BYTES times the
 *	number of the element that is this lock's in the arrays of the process's
 *	threads, the same in all its mappings (else -EINVAL); and as many to map
 *	shared and to read only, at PVVAS_LOCK_GONE_OFFSET.  A fork does not
 *	inherit the mappings
 * @lock: out, the lock's number
 * @rights: out, PVVAS_READ, PVVAS_WRITE: how it can be mapped, which is as the
 *	attachment shows the segment
 */
struct pvvas_ioc_lock_open {
	__u32 size;
	__u32 handle;
	__u32 seg;
	__s32 fd;
	__u32 lock;
	__u32 rights;
};

/*
 * Where /dev/pvvas is mapped for the array of the calling thread: shared, to
 * read and write, of up to PVVAS_HOLDS_MAX pages.  Mapped again, it shows the
 * same pages, and more if that is longer.  It begins with zeroes.  A fork does
 * not inherit it.
 */
#define PVVAS_HOLDS_OFFSET	(1ULL << 60)
#define PVVAS_HOLDS_MAX		64

/**
 * struct pvvas_ioc_lock_thread - PVVAS_IOC_LOCK_THREAD: before the thread maps
 *	its array
 * @size: sizeof(struct pvvas_ioc_lock_thread)
 * @number: out, the calling thread's in the words of locks
 */
struct pvvas_ioc_lock_thread {
	__u32 size;
	__u32 number;
};

/* struct pvvas_ioc_lock.flags */
#define PVVAS_LOCK_EXCLUSIVE	(1U << 0)
#define PVVAS_LOCK_TRY		(1U << 1)	/* TAKE: do not wait */

/**
 * struct pvvas_ioc_lock - PVVAS_IOC_LOCK_TAKE, _RELEASE, _CONSISTENT
 * @size: sizeof(struct pvvas_ioc_lock)
 * @flags: PVVAS_LOCK_EXCLUSIVE, PVVAS_LOCK_TRY
 * @lock: its number, of one that the process has mapped
 * @state: in, 0; out, TAKE: PVVAS_LOCK_DIED if a thread died that held it
 *	exclusively and no thread has said since that the data are in order
 * @deadline: TAKE: nanoseconds of CLOCK_MONOTONIC, or PVVAS_NO_DEADLINE; else 0
 *
 * TAKE, shared, puts the number into the lock's element of the caller's array,
 * which has to be that long (else -EINVAL).
 * RELEASE gives up an exclusive hold; without PVVAS_LOCK_EXCLUSIVE it wakes
 * those that wait, after the caller has taken the number out of its array.
 * CONSISTENT says that the data are in order again.  An exclusive hold that is
 * released without that makes the lock lost: -ENOTRECOVERABLE from then on.
 *
 * TAKE: -EBUSY, -ETIMEDOUT, -EINTR (with SA_RESTART it is made again), -ESTALE:
 * the segment has another lock by now.  -EACCES: the process may only read the
 * word.  RELEASE, CONSISTENT: -EPERM: the caller does not hold it.
 */
struct pvvas_ioc_lock {
	__u32 size;
	__u32 flags;
	__u32 lock;
	__u32 state;
	__u64 deadline;
};

/* No time limit. */
#define PVVAS_NO_DEADLINE	(~0ULL)

/**
 * struct pvvas_ioc_wait - PVVAS_IOC_SEG_WAIT, PVVAS_IOC_SEG_WAKE
 * @size: sizeof(struct pvvas_ioc_wait)
 * @value: WAIT: what the word is expected to be; WAKE: how many threads, of
 *	those that may write to the word
 * @addr: the word: four aligned bytes that the calling thread sees now in a
 *	segment, to read (WAIT) or to write (WAKE)
 * @deadline: WAIT: nanoseconds of CLOCK_MONOTONIC, or PVVAS_NO_DEADLINE; else 0
 * @done: in, 0; out, WAKE: how many were woken
 * @reserved: 0
 *
 * WAIT sleeps until a WAKE if the word is as expected, whatever VAS, segment or
 * process the other thread reaches the same memory by.  Threads that may only
 * read the word are all woken, whatever @value says.
 *
 * WAIT: -EAGAIN: the word is not @value.  -ETIMEDOUT.  -EINTR: a signal (and
 * with SA_RESTART the request is made again).  -EFAULT: there is no such word.
 * WAKE: -EACCES: it cannot be written to.
 */
struct pvvas_ioc_wait {
	__u32 size;
	__u32 value;
	__u64 addr;
	__u64 deadline;
	__u32 done;
	__u32 reserved;
};

#endif
