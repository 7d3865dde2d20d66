/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libpvvas: first-class virtual address spaces.
 *
 * A VAS is a named set of segments.  A process attaches it and gets a handle;
 * a thread switches into it with vas_switch(), and from then on sees the
 * segments of that VAS at their addresses.  All else (code, stack, heap,
 * globals) is the same in every VAS.
 *
 * Every function returns 0 or a positive number, or a negative errno value.
 * Ids (of VASes and of segments) and handles are positive.  Nothing here
 * prints, exits or changes a signal's disposition.  pvvas(7) is the overview.
 */
#ifndef PVVAS_H
#define PVVAS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header; pvvas_version() is that of the library. */
#define PVVAS_VERSION_MAJOR	0
#define PVVAS_VERSION_MINOR	1

/* What vas_switch() takes, and vas_current() gives, for no VAS at all. */
#define VAS_HOME		0

/*
 * Segments lie in one range of addresses, the window, which begins at the
 * same place in every process.  The first address that a segment can have is
 * VAS_WINDOW_FIRST; how far the window goes is for pvvas_window() to say.
 */
#define VAS_WINDOW_BASE		0x200000000000UL
#define VAS_WINDOW_FIRST	(VAS_WINDOW_BASE + (1UL << 30))

/* Longest name of a VAS or of a segment, without the terminating NUL. */
#define VAS_NAME_MAX		255

/*
 * Virtual address spaces.
 */

/**
 * vas_create - make a VAS
 * @name: its name, 1 to VAS_NAME_MAX bytes; NULL for one without a name
 * @perms: permission bits as of a file, 0777 at most; no umask applies
 *
 * Returns its id.  -EEXIST: the name is taken.  A VAS without a name lives as
 * long as the process that made it, or as long as it is attached.
 */
int vas_create(const char *name, mode_t perms);

/**
 * vas_find - the id of the VAS with this name
 *
 * -ENOENT: there is none.  -EACCES: its mode gives the caller no right at all.
 */
int vas_find(const char *name);

/**
 * vas_publish - give a VAS without a name its name
 * @vid: a VAS that the caller owns
 * @name: as for vas_create()
 *
 * For a VAS that others shall not see half of: make it without a name, attach
 * segments, fill them, and publish it.  If its maker dies before, it goes.
 * -EEXIST: the name is taken.  -EINVAL: it has a name.  -EPERM: the caller does
 * not own it.
 */
int vas_publish(int vid, const char *name);

/**
 * vas_attach - make a VAS reachable for this process
 *
 * Returns a handle.  Attaching twice gives two handles.  -ENOENT: no such VAS.
 * -EACCES: its mode does not let the caller read it.
 */
int vas_attach(int vid);

/**
 * vas_detach - undo vas_attach(); the handle is stale from here on
 *
 * -EBUSY: a thread is in it.  -EINVAL: not a handle of this process.
 */
int vas_detach(int vh);

/**
 * vas_delete - take away the name; the VAS goes when its last user does
 */
int vas_delete(int vid);

/**
 * vas_clone - a copy of a VAS, with a copy of each segment
 *
 * Returns the id of a VAS without a name, with the mode of @vid, which belongs
 * to the caller.  Its segments have the data that those of @vid had at one
 * moment; memory is shared until one side writes to it.  What another process
 * attached to its handle is not copied.  -EACCES: the caller may not read @vid.
 */
int vas_clone(int vid);

/** vas_clone_named - vas_clone() with a name (or NULL) and a mode */
int vas_clone_named(int vid, const char *name, mode_t perms);

/* vas_ctl() commands: numbers that no id can have, so that a swap is noticed. */
#define VAS_CTL_GETATTR		0x56000001	/* struct vas_attr * */
#define VAS_CTL_SETATTR		0x56000002	/* const struct vas_attr * */
#define VAS_CTL_DELETE		0x56000003	/* nothing */
#define VAS_CTL_STAT		0x56000004	/* struct vas_stat * */

/* struct vas_attr.valid, struct seg_attr.valid: what SETATTR shall set */
#define VAS_ATTR_MODE		(1U << 0)
#define VAS_ATTR_UID		(1U << 1)
#define VAS_ATTR_GID		(1U << 2)
#define VAS_ATTR_EXPIRY		(1U << 3)

/**
 * struct vas_attr - what vas_ctl() gets and sets
 * @size: sizeof(struct vas_attr), set by the caller
 * @valid: SETATTR: VAS_ATTR_*; GETATTR ignores it
 * @mode: permission bits
 * @uid: owner
 * @gid: group
 * @users: GETATTR: attachments
 * @idle: GETATTR: seconds since it was attached last; 0 while it is
 * @expiry: seconds that it may be idle until it is deleted; 0: any time
 * @reserved: 0
 * @name: GETATTR: its name, or empty
 */
struct vas_attr {
	uint32_t size;
	uint32_t valid;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint32_t users;
	uint64_t idle;
	uint32_t expiry;
	uint32_t reserved;
	char name[VAS_NAME_MAX + 1];
};

/**
 * struct vas_stat - VAS_CTL_STAT
 * @size: sizeof(struct vas_stat), set by the caller
 * @segs: segments that every attacher sees
 * @attachments: how often it is attached
 * @reserved: 0
 * @length: bytes of these segments
 * @resident: bytes of memory behind them
 */
struct vas_stat {
	uint32_t size;
	uint32_t segs;
	uint32_t attachments;
	uint32_t reserved;
	uint64_t length;
	uint64_t resident;
};

/**
 * vas_ctl - attributes, counts and deletion of a VAS
 * @cmd: VAS_CTL_*
 * @vid: the VAS
 */
int vas_ctl(int cmd, int vid, ...);

/*
 * Segments.
 */

/**
 * seg_alloc - make a segment
 * @name: its name, 1 to VAS_NAME_MAX bytes; NULL for one without a name
 * @base: its address in every VAS: page aligned, in the window; NULL lets the
 *	system choose (seg_range() says what it chose)
 * @size: bytes, rounded up to whole pages; memory is taken at first touch
 * @perms: permission bits as of a file, 0777 at most
 *
 * Returns its id.  -EEXIST: the name is taken.  -EINVAL: @base is not aligned.
 * -ERANGE: it would not lie in the window.  -E2BIG: no window is that large.
 * -ENOSPC: there is no room left to choose.  A segment without a name lives as
 * long as the process that made it, or as long as it is attached.
 */
int seg_alloc(const char *name, void *base, size_t size, mode_t perms);

/** seg_find - the id of the segment with this name, as vas_find() */
int seg_find(const char *name);

/** seg_publish - vas_publish() for a segment */
int seg_publish(int sid, const char *name);

/**
 * seg_attach - show a segment in a VAS, with all rights that the caller has
 * @vid_or_vh: a VAS id: for every process that attaches it, now or later; or a
 *	handle: for this process only
 * @sid: the segment
 *
 * -EEXIST: it, or another one that it overlaps or shares an aligned block of
 * 2 MiB with, is attached there already: to the VAS, or, if the first argument
 * is a handle, to the handle or its VAS.  What other processes attached to their
 * handles is in no caller's way: such a handle does not show the segment.
 * -ENOENT: no such segment, VAS or handle.  -EACCES: the segment's mode does
 * not give these rights, or the VAS's no right to write.
 */
int seg_attach(int vid_or_vh, int sid);

/**
 * seg_attach_prot - seg_attach() with fewer rights
 * @prot: PROT_READ or PROT_READ | PROT_WRITE, of <sys/mman.h>
 */
int seg_attach_prot(int vid_or_vh, int sid, int prot);

/** seg_detach - undo seg_attach() with the same first argument */
int seg_detach(int vid_or_vh, int sid);

/**
 * seg_clone - a copy of a segment, at the same address
 *
 * Returns the id of a segment without a name, with the mode of @sid, which
 * belongs to the caller; as vas_clone().
 */
int seg_clone(int sid);

/** seg_clone_named - seg_clone() with a name (or NULL) and a mode */
int seg_clone_named(int sid, const char *name, mode_t perms);

/** seg_delete - take away the name; the segment goes when its last user does */
int seg_delete(int sid);

/**
 * seg_resize - let a segment grow at its end
 * @size: bytes, rounded up to whole pages; no fewer than it has
 *
 * All that have it attached see the new pages, which are zero.  It does not get smaller:
 * -EINVAL; seg_discard() gives memory back.  -EPERM: the caller is not the owner.
 * -EEXIST: another segment is in the way, in any VAS or attachment that has this one.
 */
int seg_resize(int sid, size_t size);

/** seg_range - where a segment lies and how long it is, in bytes */
int seg_range(int sid, void **base, size_t *size);

#define SEG_CTL_GETATTR		0x53000001	/* struct seg_attr * */
#define SEG_CTL_SETATTR		0x53000002	/* const struct seg_attr * */
#define SEG_CTL_DELETE		0x53000003	/* nothing */
/*
 * A lockable segment is locked by every switch into a VAS that shows it: shared
 * if the switching process can only read it there, exclusively if it can write;
 * and released by the switch out.  It concerns attachments that are made after;
 * switched on again, the segment has a new lock, for attachments of before as well.
 */
#define SEG_CTL_LOCK_ON		0x53000004	/* nothing */
#define SEG_CTL_LOCK_OFF	0x53000005	/* nothing */
/*
 * After -EOWNERDEAD: the data are in order again.  Without it the segment is
 * lost at the switch out: -ENOTRECOVERABLE from then on.
 */
#define SEG_CTL_CONSISTENT	0x53000006	/* nothing */
/* Pages: see pvvas_page.h for the functions of these names. */
#define SEG_CTL_PROTECT		0x53000007	/* void *, size_t, int prot */
#define SEG_CTL_UNPROTECT	0x53000008	/* void *, size_t */
#define SEG_CTL_DIRTY		0x53000009	/* void *, size_t, void **, size_t */
#define SEG_CTL_POPULATE	0x5300000a	/* void *, size_t */
#define SEG_CTL_PAGER_ON	0x5300000b	/* nothing */
#define SEG_CTL_PAGER_OFF	0x5300000c	/* nothing */
#define SEG_CTL_STAT		0x5300000d	/* struct seg_stat * */
#define SEG_CTL_DISCARD		0x5300000f	/* void *, size_t */
#define SEG_CTL_ACCESSED	0x53000010	/* void *, size_t, void **, size_t */
#define SEG_CTL_UNTRACK		0x53000011	/* nothing */
#define SEG_CTL_LIMIT		0x53000012	/* uint64_t */
/*
 * By the segment's owner: its lock is as new, after -ENOTRECOVERABLE or instead
 * of SEG_CTL_CONSISTENT.  -EBUSY: a thread has it exclusively.
 */
#define SEG_CTL_LOCK_RESET	0x5300000e	/* nothing */

/**
 * struct seg_attr - what seg_ctl() gets and sets
 * @size: sizeof(struct seg_attr), set by the caller
 * @valid: SETATTR: VAS_ATTR_*; GETATTR ignores it
 * @mode: permission bits
 * @uid: owner
 * @gid: group
 * @users: GETATTR: VASes and handles that it is attached to
 * @base: GETATTR: address
 * @length: GETATTR: bytes
 * @resident: GETATTR: bytes of memory behind it
 * @idle: GETATTR: seconds since it was attached last; 0 while it is
 * @expiry: seconds that it may be idle until it is deleted; 0: any time
 * @reserved: 0
 * @name: GETATTR: its name, or empty
 */
struct seg_attr {
	uint32_t size;
	uint32_t valid;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint32_t users;
	void *base;
	uint64_t length;
	uint64_t resident;
	uint64_t idle;
	uint32_t expiry;
	uint32_t reserved;
	char name[VAS_NAME_MAX + 1];
};

/**
 * struct seg_stat - SEG_CTL_STAT
 * @size: sizeof(struct seg_stat), set by the caller
 * @reserved: 0
 * @resident: bytes of memory behind it
 * @shared: of these, bytes that a clone has too, until one side writes
 * @faults: first accesses to pages, and accesses to protected pages, so far
 * @copied: pages copied so far because a clone had them too
 * @refused: accesses that a protection or a missing page refused so far
 * @colors: of a segment made for some colours: those that its pages have
 *
 * The software backend knows @resident alone; the others are 0.
 */
struct seg_stat {
	uint32_t size;
	uint32_t reserved;
	uint64_t resident;
	uint64_t shared;
	uint64_t faults;
	uint64_t copied;
	uint64_t refused;
	uint64_t colors;
};

/**
 * seg_ctl - attributes, pages, locks and deletion of a segment
 * @sid: the segment
 * @cmd: SEG_CTL_*
 */
int seg_ctl(int sid, int cmd, ...);

/*
 * Waiting.  A futex in a segment is found by address and process, and so
 * confuses VASes and does not reach other processes; these two do neither.
 */

/**
 * seg_wait - sleep until seg_wake(), if a word is as expected
 * @word: four aligned bytes of a segment that the calling thread sees now
 * @expected: what it is taken to be
 * @abs: until when, by CLOCK_MONOTONIC; NULL: for as long as it takes
 *
 * The word is looked up by its memory: in whatever VAS, at whatever address and
 * in whatever process it is woken.  0 also without a wake-up, now and then:
 * look at the word again.  -EAGAIN: it is not @expected.  -ETIMEDOUT.  -EINTR:
 * a signal handler ran that was installed without SA_RESTART.  -EFAULT: it is
 * not in a segment that the thread sees.  -EINVAL: @word is not aligned, or
 * @abs is no time.
 */
int seg_wait(const uint32_t *word, uint32_t expected,
	     const struct timespec *abs);

/**
 * seg_wake - wake threads that wait for a word, after changing it
 * @word: as in seg_wait(), writable for the caller
 * @n: how many at most, of those that see the word writable; those that see it
 *	read-only are all woken
 *
 * Returns how many were woken.  -EACCES: the caller cannot write there.
 * -EFAULT, -EINVAL: as seg_wait().
 */
int seg_wake(const uint32_t *word, int n);

/*
 * Listings.
 */

/** vas_next - the VAS with the next id above @vid; -ENOENT after the last */
int vas_next(int vid);

/** seg_next - the segment with the next id above @sid; -ENOENT after the last */
int seg_next(int sid);

/**
 * vas_next_seg - the segment with the next id above @sid that a VAS shows
 * @vid_or_vh: VAS, or handle: then also what only this process sees
 * @sid: where to go on; 0 to begin
 * @prot: PROT_READ, PROT_WRITE: what it is attached with; or NULL
 *
 * -ENOENT after the last.  -EINVAL: no such VAS or handle.
 */
int vas_next_seg(int vid_or_vh, int sid, int *prot);

/**
 * seg_next_data - where a segment has memory
 * @sid: the segment; the caller may read it
 * @offset: in, where to look from, in bytes from its start; out, where there
 *	is some
 * @length: out, how many bytes there are at least
 *
 * -ENOENT: none from there on.
 */
int seg_next_data(int sid, size_t *offset, size_t *length);

/*
 * The library and what it runs on.
 */

/* pvvas_backend_select(), and PVVAS_BACKEND in the environment */
enum pvvas_backend_kind {
	PVVAS_BACKEND_DEFAULT = 0,	/* what PVVAS_BACKEND says, else kernel */
	PVVAS_BACKEND_KERNEL = 1,	/* /dev/pvvas */
	PVVAS_BACKEND_SOFT = 2,		/* shared memory, switch by mapping */
	PVVAS_BACKEND_AUTO = 3,		/* kernel if there is one, else soft */
};

/**
 * pvvas_backend_select - what VASes are made of in this process
 *
 * Call it before anything else of this library; -EBUSY afterwards.  With the
 * software backend a program runs on any Linux: VASes are seen by this user's
 * processes only, a switch takes system calls and moves all threads of the
 * process, and what another process attaches shows at the next switch.
 */
int pvvas_backend_select(enum pvvas_backend_kind kind);

/**
 * pvvas_begin - do now what else the first attach of the process does
 *
 * Maps the window, and has the driver register the threads of the process.  0 or
 * a negative error number.
 */
int pvvas_begin(void);

/** pvvas_window - first address and length of the window, in bytes */
int pvvas_window(void **base, size_t *size);

/* pvvas_probe() */
enum pvvas_feature {
	PVVAS_FEATURE_HYPERVISOR = 0,	/* this machine offers views */
	PVVAS_FEATURE_DRIVER = 1,	/* /dev/pvvas is there and answers */
	PVVAS_FEATURE_SWITCH = 2,	/* vas_switch() without a system call */
	PVVAS_FEATURE_PER_THREAD = 3,	/* each thread is in its own VAS */
	PVVAS_FEATURE_WRITES = 4,	/* seg_dirty() misses no write */
};

enum pvvas_answer {
	PVVAS_NO = 0,
	PVVAS_YES = 1,
	PVVAS_UNKNOWN = 2,
};

/**
 * pvvas_probe - what this machine can do, found out by trying
 *
 * Returns one of enum pvvas_answer; PVVAS_UNKNOWN also for a feature that this
 * library does not know.
 */
int pvvas_probe(enum pvvas_feature feature);

/**
 * struct pvvas_stats - counters
 * @size: sizeof(struct pvvas_stats), set by the caller; less, as in the first version,
 *	where it was compiled with an older header
 *
 * First what the driver has now, then KVM's counts for the whole VM since its
 * start, then what KVM has now.
 */
struct pvvas_stats {
	uint32_t size;
	uint32_t reserved;
	/* the driver: objects now */
	uint64_t vases;
	uint64_t segs;
	uint64_t processes;
	uint64_t threads;
	uint64_t attachments;
	uint64_t pages;
	uint64_t links;
	uint64_t trees;
	uint64_t tables;
	/* the driver: events */
	uint64_t ctx_loads;
	uint64_t demand_faults;
	/* KVM: events */
	uint64_t hv_exits;
	uint64_t hv_hypercalls;
	uint64_t hv_ept_violations;
	uint64_t hv_vmfunc_exits;
	uint64_t hv_view_faults;
	uint64_t hv_reflected;
	uint64_t hv_demand;
	uint64_t hv_ctx_loads;
	uint64_t hv_invalidations;
	uint64_t hv_zapped;
	uint64_t hv_flushes;
	/* KVM: objects now */
	uint64_t hv_ctxs;
	uint64_t hv_views;
	uint64_t hv_shadow_pages;
	uint64_t hv_max_shadow_pages;
	/* the driver: pages of segments that are gone, still to be freed */
	uint64_t freeing;
};

/** pvvas_stats - read the counters */
int pvvas_stats(struct pvvas_stats *stats);

/** pvvas_version - (major << 16) | minor of the library that is loaded */
int pvvas_version(void);

/*
 * The switch.
 *
 * What follows is inline: no call and no system call.  A thread's table says
 * in which slot of the process's EPTP list an attachment is; an entry is the
 * slot plus one, or 0 where only the library knows what to do.  The cookie is
 * what the view in force says about itself.  Both names are private.  For other
 * languages the library has both functions as symbols.
 */
struct __pvvas_self {
	const volatile uint16_t *slots;
	const volatile uint64_t *cookie;
};

extern __thread struct __pvvas_self __pvvas_self
	__attribute__((tls_model("initial-exec")));

int __pvvas_switch_slow(int vh, int prev);

/**
 * vas_current - the handle of the VAS that this thread is in, or VAS_HOME
 */
static inline int vas_current(void)
{
	return (int)*__pvvas_self.cookie;
}

/**
 * vas_switch - go into an attached VAS, or home
 * @vh: handle, or VAS_HOME
 *
 * Other threads stay where they are.  0, or -EINVAL if @vh is not a handle of
 * this process; then the thread is where it was.  With lockable segments also
 * -EOWNERDEAD: the thread is in the VAS and has the locks, but a thread died in
 * the middle of a change (see SEG_CTL_CONSISTENT); and -ENOTRECOVERABLE.
 */
static inline int vas_switch(int vh)
{
#if defined(__x86_64__)
	unsigned int slot = __pvvas_self.slots[(uint16_t)vh];
	const volatile uint64_t *cookie = __pvvas_self.cookie;
	int prev = (int)*cookie;

	if (__builtin_expect(slot == 0, 0))
		return __pvvas_switch_slow(vh, prev);
	/* VMFUNC, leaf 0 (EPTP switching): older assemblers do not know it */
	__asm__ __volatile__(".byte 0x0f, 0x01, 0xd4"
			     : : "a" (0), "c" (slot - 1) : "memory", "cc");
	if (__builtin_expect((int)*cookie != vh, 0))
		return __pvvas_switch_slow(vh, prev);
	return 0;
#else
	return __pvvas_switch_slow(vh, vas_current());
#endif
}

/**
 * vas_switch_try - vas_switch() that does not wait for the locks of segments
 *
 * -EBUSY: another thread has one; this one is where it was.
 */
int vas_switch_try(int vh);

/**
 * vas_switch_timed - vas_switch() that waits for so long at most
 *
 * -ETIMEDOUT: and the thread is at VAS_HOME if it held locks, or where it was.
 */
int vas_switch_timed(int vh, unsigned int milliseconds);

#ifdef __cplusplus
}
#endif

#include <pvvas_heap.h>
#include <pvvas_page.h>
#include <pvvas_save.h>

#endif /* PVVAS_H */
