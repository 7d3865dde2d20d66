/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of libpvvas share.  Not installed.
 */
#ifndef PVVAS_INTERNAL_H
#define PVVAS_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#define PVVAS_EXPORT	__attribute__((visibility("default")))

#define PVVAS_HANDLE_INDICES	65536

/*
 * Until the end of the block the thread is not cancelled: it has a lock, a
 * descriptor, or threads that work for it.  No call is a cancellation point.
 */
#define PVVAS_NO_CANCEL \
	__attribute__((cleanup(pvvas_cancel_again))) int pvvas_cancel_state = \
		pvvas_no_cancel()

static inline int pvvas_no_cancel(void)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	return state;
}

static inline void pvvas_cancel_again(const int *state)
{
	int now;

	pthread_setcancelstate(*state, &now);
}

/*
 * Backends.
 *
 * A backend answers the requests of the ioctl ABI and moves threads between
 * views.  Everything above it (arguments, ids, attributes) is common.
 */
struct seglock;

struct pvvas_backend {
	/* Get ready: 0 or -errno.  Under the library's lock, once a process. */
	int (*open)(void);
	/* Be ready to attach (map the window): 0 or -errno.  Under the lock. */
	int (*prepare)(void);
	/* One request of linux/pvvas.h: 0 or -errno. */
	int (*call)(unsigned long request, void *arg);
	/* With fast_switch: the slot that an attachment was given when it was made. */
	void (*attached)(int vh, unsigned int slot);
	/* An attachment is about to go: no fast switch to it any more. */
	void (*forget)(int vh);
	/*
	 * Move the calling thread.  With @fast, later switches there may be
	 * made inline, by any thread.
	 */
	int (*enter)(int vh, int prev, bool fast);
	/* With fast_switch: the slot of the view that the thread is in. */
	unsigned int (*slot)(void);
	/*
	 * Locks (seglock.h): map the word of one that an attachment shows, and
	 * writable if the attachment is (-ESTALE: the segment has another one
	 * than was mapped before); know the calling thread, and map an
	 * array of so many bytes for it.  A child inherits none of the mappings.
	 */
	int (*map_lock)(int vh, struct seglock *lock);
	void (*unmap_lock)(struct seglock *lock);
	int (*lock_thread)(uint32_t *number);
	int (*map_array)(size_t bytes, void **array);
	/*
	 * Signs of life: a token for the calling thread, which no other one has
	 * or had; 0 or -errno.  Is the thread of a token there, with the program
	 * that asked for it?  1, 0 or -errno.
	 */
	int (*token)(uint64_t *token);
	int (*alive)(uint64_t token);
	/*
	 * An access at this address of the window was refused.  Was it by what
	 * this process knew too late?  Then 1, and the access is repeated.
	 */
	int (*stale)(uintptr_t addr, bool write);
	/* In a forked child, before anything else: inherit nothing. */
	void (*forked)(void);
	bool fast_switch;
	bool per_thread;
	bool writes;	/* seg_dirty() misses none */
};

extern const struct pvvas_backend pvvas_kernel_backend;
extern const struct pvvas_backend pvvas_soft_backend;

/* backend.c: the backend in use, opened; or NULL and *err = -errno */
const struct pvvas_backend *pvvas_backend(int *err);
/* backend.c: the backend in use if it was opened before, NULL otherwise */
const struct pvvas_backend *pvvas_backend_opened(void);
/* backend.c: as pvvas_backend(), and ready to attach; 0 or -errno */
int pvvas_prepare(void);
/*
 * backend.c: the file of @fd at a number that few programs get to by opening
 * files one after the other.  @fd is closed then; -1 stays -1, errno too.
 */
int pvvas_move_up(int fd);
/* backend.c: one request to the backend */
int pvvas_call(unsigned long request, void *arg);

/*
 * window.c: how much of it this process maps, 0 or -EINVAL (PVVAS_WINDOW makes
 * no sense); is a range in that; how many bytes of it are; are all segments of a VAS or
 * a handle, 0 or -ERANGE
 */
int pvvas_window_here(uint64_t whole, uint64_t *size);
bool pvvas_window_has(uint64_t base, uint64_t length);
uint64_t pvvas_window_part(uint64_t base, uint64_t length);
int pvvas_window_shows(int target);

/* self.c: the thread's part of the inline switch */
extern uint16_t pvvas_no_slots[PVVAS_HANDLE_INDICES];
/* where a thread is that has not been anywhere else */
extern const uint64_t pvvas_home_cookie;
void pvvas_self_reset(void);

/* vas.c: 0, or -errno for a name that nothing can have */
int pvvas_check_name(const char *name);
/* heap_seg.c: attachments change; in a forked child */
void pvvas_heaps_changed(void);
void pvvas_heaps_forked(void);
/* check.c: vas_attach() gave this handle */
void pvvas_check_attached(int vh);
/* trap.c: in a forked child */
void pvvas_traps_forked(void);
/* segfile.c: in a forked child */
void pvvas_files_forked(void);
/* wait.c: nanoseconds of CLOCK_MONOTONIC, or -EINVAL; NULL: no time limit */
int pvvas_deadline(const struct timespec *abs, __u64 *deadline);
/* ctl.c */
int pvvas_getattr(unsigned int kind, int id, struct pvvas_ioc_attr *attr);

#endif /* PVVAS_INTERNAL_H */
