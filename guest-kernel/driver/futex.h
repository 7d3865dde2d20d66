/* SPDX-License-Identifier: GPL-2.0-only */
/* Private futexes at one address in several VASes: futex.c. */
#ifndef PVVAS_FUTEX_H
#define PVVAS_FUTEX_H

#include <linux/spinlock.h>
#include <linux/workqueue.h>

#define PVVAS_FUTEX_WORDS	8

struct pvvas_proc;

/**
 * struct pvvas_futex - of a process: words at which a wait has ended by a wake-up
 * @lock: guards @nr and @words; taken with interrupts off, on the way to user mode,
 *	with no other lock held or taken
 * @work: looks for those that wait at them in other views; has a reference to the
 *	process while it is queued
 * @round: how many times @work has run, from 1
 * @nr: more than there is room for stand for all words of the window
 */
struct pvvas_futex {
	raw_spinlock_t lock;
	struct work_struct work;
	u64 round;
	u32 nr;
	struct {
		u64 addr;
		u32 slot;
	} words[PVVAS_FUTEX_WORDS];
};

void pvvas_futex_init(struct pvvas_proc *proc);
u64 pvvas_futex_word(void);
void pvvas_futex_returns(struct pvvas_proc *proc);

#endif
