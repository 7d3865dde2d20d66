/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages of segments: what kind they are, protect them, hear of refused accesses,
 * know which were written or accessed, show them twice, fill them, give them back,
 * write them out.  Included by pvvas.h.
 *
 * What is said here holds for the segment in every VAS and every process.  A
 * protection allows no more than the attachment does.  Addresses are those of
 * pages of the segment; lengths are rounded up to whole pages.  The caller needs
 * the right to write to the segment.  All return 0 or more, or a negative error
 * number: -EINVAL for an address that is no page's, -ERANGE for one outside the
 * segment, -ENOENT, -EACCES.
 */
#ifndef PVVAS_PAGE_H
#define PVVAS_PAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * struct seg_options.flags.  Without SEG_HUGE or SEG_SMALL a touch brings one page,
 * and where pages are touched in order 64 KiB to 2 MiB, if such a page is at hand.
 */
#define SEG_HUGE	(1U << 0)	/* any touch brings 2 MiB where they fit */
#define SEG_SMALL	(1U << 1)	/* a touch brings one page of 4 KiB */
#define SEG_POPULATE	(1U << 2)	/* all memory now: -ENOMEM now */
#define SEG_LOCK	(1U << 3)	/* likewise, within RLIMIT_MEMLOCK */
#define SEG_DUMP	(1U << 4)	/* core dumps hold it */
#define SEG_HUGETLB	(1U << 5)	/* its memory is @memory */
#define SEG_NORESERVE	(1U << 6)	/* as without: no memory is set aside for it */

/* struct seg_options.policy: where memory comes from */
#define SEG_NUMA_DEFAULT	0	/* as the thread's that touches it */
#define SEG_NUMA_PREFERRED	1	/* one node, if it has any */
#define SEG_NUMA_BIND		2	/* these nodes, or none */
#define SEG_NUMA_INTERLEAVE	3	/* these nodes in turn */

/**
 * struct seg_options - what a segment's memory shall be
 * @size: sizeof(struct seg_options), set by the caller
 * @flags: SEG_*
 * @policy: SEG_NUMA_*
 * @nodes: with a policy: a bit for each NUMA node of it
 * @memory: with SEG_HUGETLB: as many bytes of hugetlbfs, mapped writable in this
 *	process, which are the segment's from then on as well
 * @colors: a bit for each of the 64 colours that pages may have, the frame's number
 *	in the guest's memory modulo 64, as caches that are indexed by physical address
 *	know them; 0: any.  Not with SEG_HUGE, SEG_HUGETLB
 */
struct seg_options {
	size_t size;
	uint32_t flags;
	uint32_t policy;
	uint64_t nodes;
	void *memory;
	uint64_t colors;
};

/**
 * seg_alloc_with - seg_alloc() with options
 * @options: NULL for none
 *
 * Besides the errors of seg_alloc(): -EINVAL: options that there are not, or not
 * together; -E2BIG: of a later library; -ENOMEM: SEG_POPULATE, SEG_LOCK: there is
 * not as much; -EPERM: SEG_LOCK: RLIMIT_MEMLOCK; -EFAULT: SEG_HUGETLB: @memory is
 * not there; -EOPNOTSUPP: the backend in use has it not.
 */
int seg_alloc_with(const char *name, void *base, size_t size, mode_t perms,
		   const struct seg_options *options);

/**
 * seg_protect - what accesses to a range of pages are allowed at most
 * @prot: PROT_NONE, PROT_READ, or PROT_READ | PROT_WRITE (no protection)
 *
 * It is in force, in all threads of all processes, when the call returns.
 */
int seg_protect(int sid, void *addr, size_t length, int prot);

/** seg_prot1 - seg_protect() for one page */
int seg_prot1(int sid, void *page, int prot);

/** seg_protN - seg_prot1() for each of @n pages, in any order */
int seg_protN(int sid, void *const *pages, size_t n, int prot);

/** seg_unprot - no protection of this page any more */
int seg_unprot(int sid, void *page);

/**
 * seg_dirty - which pages of a range were written, and forget it
 * @pages: filled with the addresses
 * @max: how many there is room for
 *
 * Returns how many: those written since a call told of them, which writes what
 * it tells of down as clean.  Before the first call of all, every page that has
 * memory counts as written, also one that came with its neighbour; from then on a
 * touch brings one page.  If it returns @max there may be more: call again.
 */
int seg_dirty(int sid, void *addr, size_t length, void **pages, size_t max);

/**
 * seg_accessed - which pages of a range were accessed since this was last asked
 *
 * As seg_dirty(), of any access instead of writes alone.  A page that was told of is
 * idle until the next access, which costs a fault.  -EOPNOTSUPP: the software backend.
 */
int seg_accessed(int sid, void *addr, size_t length, void **pages, size_t max);

/**
 * seg_untrack - seg_dirty() and seg_accessed() are not wanted any more
 *
 * Faults for them end, and touches bring as many pages as before the first call.  The
 * next call begins anew: every page that has memory counts.
 */
int seg_untrack(int sid);

/**
 * seg_map2 - the same memory at a second address
 * @base: its address, which differs from the first by a multiple of 2 MiB; or
 *	NULL
 *
 * Returns the id of a segment without a name and with the mode of @sid.  Its
 * protections are its own, so that a program can write to pages here that are
 * protected there.  The segment that the memory was made with stays, without a
 * name if that is taken away, as long as there is another face.
 */
int seg_map2(int sid, void *base);

/**
 * seg_map2_range - a range of a segment at a second address
 * @addr: where the range begins; NULL: where the segment does
 * @length: of it, in bytes, whole pages; 0 with NULL: all
 * @base: its address, which differs from @addr by a multiple of 2 MiB; or NULL
 *
 * As seg_map2().  Some of these beside each other show a memory in another order, or a
 * part of it several times.
 */
int seg_map2_range(int sid, void *addr, size_t length, void *base);

/**
 * struct seg_fault - an access that was refused
 * @addr: the address
 * @sid: the segment that was given to seg_trap()
 * @vh: the VAS that the thread is in
 * @access: PROT_READ or PROT_WRITE: what was tried
 * @missing: not refused, but there is no page, and seg_pager() is on
 * @context: the third argument of the signal handler
 */
struct seg_fault {
	void *addr;
	int sid;
	int vh;
	int access;
	int missing;
	void *context;
};

/* What the function of seg_trap() returns */
#define SEG_TRAP_RESUME	0	/* repeat the access */
#define SEG_TRAP_PASS	1	/* do as if there were no function */

typedef int seg_trap_fn(const struct seg_fault *fault, void *arg);

/**
 * seg_trap - call a function where this process is refused an access
 * @fn: called in the thread that made the access, in a signal handler; NULL: no
 *	function any more
 * @arg: passed to it
 *
 * While there is such a function the library handles SIGSEGV; what does not
 * concern it goes to the handler that was there before.  System calls that are
 * given refused addresses fail with EFAULT, and no function is called.
 */
int seg_trap(int sid, seg_trap_fn *fn, void *arg);

/** seg_populate - memory for all pages of a range, now */
int seg_populate(int sid, void *addr, size_t length);

/**
 * seg_pager - on: the program fills this segment itself
 *
 * An access to a page without memory does not find zeroes, but is SIGSEGV with
 * SEGV_MAPERR, or a call of seg_trap()'s function, until seg_fill().
 */
int seg_pager(int sid, int on);

/**
 * seg_fill - give pages that have no memory their content, each at once
 * @addr: first page
 * @data: @length bytes
 *
 * Returns how many pages it has filled; pages with memory stay as they are.
 */
int seg_fill(int sid, void *addr, const void *data, size_t length);

/**
 * seg_discard - give the memory of a range back, and the content with it
 *
 * The next access finds zeroes, or asks the pager; clones keep what they have.
 * seg_dirty() does not tell of it.  -EINVAL: a segment of SEG_LOCK.  -EOPNOTSUPP:
 * one of SEG_HUGETLB.
 */
int seg_discard(int sid, void *addr, size_t length);

/**
 * seg_move - take pages from one place to another, without copying them
 * @from: a segment, and @src a page of it
 * @to: another segment, or the same one, and @dst a page of it
 *
 * What was at @dst is gone; where no memory was at @src there is none at @dst.  At @src
 * the next access finds zeroes, or asks the pager.  Clones keep what they have.  What
 * other threads write to either range meanwhile may be lost.  -EINVAL: ranges of one
 * memory that overlap, or a segment of SEG_LOCK.  -EOPNOTSUPP: one of SEG_HUGETLB.
 */
int seg_move(int from, void *src, int to, void *dst, size_t length);

#define SEG_NO_LIMIT	UINT64_MAX

/**
 * seg_limit - how many bytes are to be resident, for a pager that writes out the rest
 * @bytes: at most; SEG_NO_LIMIT: as long as there is memory; 0: all, no pager is told
 *
 * Refuses nothing: where no pager keeps the limit, more is resident.  -EOPNOTSUPP: the
 * software backend, or a segment of SEG_HUGETLB; -EINVAL: one of SEG_LOCK.
 */
int seg_limit(int sid, uint64_t bytes);

/**
 * seg_reclaim_wait - sleep until memory of the segment is to go
 * @bytes: out: how much
 * @abs: until then, by CLOCK_MONOTONIC; NULL: no time limit
 *
 * More is resident than the limit, or the kernel is short of memory.  -ETIMEDOUT;
 * -EINTR; -EINVAL: there is no limit (any more); -ENOENT: there is no such segment,
 * also if it goes meanwhile.
 */
int seg_reclaim_wait(int sid, uint64_t *bytes, const struct timespec *abs);

/**
 * seg_evict - take the pages out that were not accessed for the longest time
 * @pages: out: their addresses
 * @data: out: their content, a page each, in the same order
 * @max: how many at most
 *
 * Returns how many went.  From then on they are @data's alone: an access finds no page
 * and asks the pager (seg_pager(), which has to be on), which puts it back with
 * seg_fill().  Counts as seg_accessed() for the pages that it has looked at.
 */
int seg_evict(int sid, void **pages, void *data, size_t max);

#ifdef __cplusplus
}
#endif

#endif /* PVVAS_PAGE_H */
