/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A lockable segment with two numbers in it that are the same when no thread is in
 * the middle of a change; and what becomes of them when a thread dies there.
 */
#ifndef LOCKS_H
#define LOCKS_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

struct pair {
	volatile long a, b;
};

#define PAIR	((struct pair *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define LIMIT	20000	/* ms: what is never over */

struct stage {
	int vid;
	int read_vid;
	int sid;
	atomic_int inside;
	atomic_bool leave;
	atomic_int died;	/* how often a thread was told */
};

static inline struct stage *new_stage(void)
{
	struct stage *s = tcase_shared(sizeof(*s));

	s->sid = tcase_seg(NULL, PAIR, MIB, 0600);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_ON), 0);
	s->vid = tcase_vas(NULL, 0600);
	s->read_vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach(s->vid, s->sid), 0);
	check_eq(seg_attach_prot(s->read_vid, s->sid, PROT_READ), 0);
	return s;
}

static inline void reach(atomic_int *what, int value)
{
	int i;

	for (i = 0; i < LIMIT && atomic_load(what) < value; i++)
		usleep(1000);
	check(atomic_load(what) >= value);
}

static inline void change(void)
{
	PAIR->a++;
	PAIR->b++;
}

/* In, with what a death has left put right; was there one? */
static inline bool enter_and_repair(struct stage *s, int vh)
{
	int err = vas_switch_timed(vh, LIMIT);

	if (err == -EOWNERDEAD) {
		atomic_fetch_add(&s->died, 1);
		PAIR->b = PAIR->a;
		check_eq(seg_ctl(s->sid, SEG_CTL_CONSISTENT), 0);
		return true;
	}
	check_eq(err, 0);
	check_eq(PAIR->a, PAIR->b);
	return false;
}

#endif /* LOCKS_H */
