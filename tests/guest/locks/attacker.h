/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process that uses the locks of segments without the library, as it likes.
 */
#ifndef LOCKS_ATTACKER_H
#define LOCKS_ATTACKER_H

#include <stdatomic.h>
#include <stdint.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#define BASE	((volatile long *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define LIMIT	20000	/* ms: what is never over */

/* What attacker and victim share. */
struct stage {
	int vid;
	int sid;
	int read_vid;		/* shows it for reading, to all users */
	uint32_t number;
	atomic_int ready;
	atomic_int step;
};

/* The attacker's end: ioctls and mappings of its own. */
struct attacker {
	int dev;
	int vh;
	struct pvvas_ioc_lock_open open;
	struct pvvas_ioc_lock_thread thread;
	volatile uint32_t *word;
	volatile uint32_t *array;
};

/* A lockable segment at BASE, in two VASes. */
struct stage *new_stage(void);
/* Wait until another process has come so far. */
void reach(atomic_int *what, int value);
/* Until a thread waits for the lock with this word. */
void wait_for_waiters(const volatile uint32_t *word);
void become_nobody(void);
long now_ms(void);

/* Attach a VAS of the stage, and get all that the driver gives. */
struct attacker attack(const struct stage *s, int vid);
/* As a user that may only read. */
struct attacker reader(const struct stage *s);
/* The array of the calling thread, of so many pages. */
volatile uint32_t *map_array(const struct attacker *a, unsigned int pages);
int call(const struct attacker *a, unsigned long request, void *arg);
int call_lock(const struct attacker *a, unsigned long request, uint32_t flags);

#endif /* LOCKS_ATTACKER_H */
