/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which locks a switch takes.
 *
 * An attachment whose VAS shows lockable segments has a set of their locks.
 * Its entry in the table of the fast switch stays empty, and so does the table
 * of a thread that holds locks: every switch that has to do with locks goes the
 * slow way, and no other one pays anything.
 */
#ifndef PVVAS_LOCKSET_H
#define PVVAS_LOCKSET_H

#include <stdbool.h>

#include "internal.h"
#include "seglock.h"

struct lockset_entry {
	int sid;
	bool exclusive;
	struct seglock *lock;
	struct seglock_hold hold;	/* in a thread's copy: how it has it */
};

struct lockset {
	unsigned int nr;
	struct lockset_entry entries[];	/* in the order of sid */
};

/* Find out what the attachment's set is; 0 or -errno. */
int lockset_update(int vh);
void lockset_forget(int vh);
/* In a forked child: attachments and locks are the parent's. */
void lockset_forked(void);
/*
 * A copy with nothing held, to be freed, or NULL: none; *err is -errno if that
 * is not known.
 */
struct lockset *lockset_get(int vh, int *err);
bool lockset_exists(int vh);

/* Switch lockable on or off, and the mark of consistence. */
int lockset_enable(int sid, bool on);
int lockset_consistent(int sid);

/* How to wait for locks. */
struct lock_wait {
	bool try;
	const struct timespec *deadline;	/* or NULL: for ever */
};

/* Does the calling thread hold locks? */
bool locks_held(void);
/* A switch with locks on either side. */
int locked_switch(const struct pvvas_backend *be, int vh, int prev,
		  const struct lock_wait *wait);
void locks_forked(void);

#endif /* PVVAS_LOCKSET_H */
