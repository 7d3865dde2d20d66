/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The locks of lockable segments: what lock.c and lock_map.c share.
 *
 * Their own locks, in this order; mmap_lock and pvvas_lock come before them:
 *   proc->locks_mutex    the process's maps and the list of its holders
 *   lock->lock           the queue, the list of maps, the driver's changes of
 *			  the word
 *   proc->holders_lock   the list of holders and their pages, to read them
 * The last two are taken on behalf of other processes, which shall not wait for a
 * thread that gets no CPU time: no holder sleeps or is preempted.
 */
#ifndef PVVAS_LOCK_H
#define PVVAS_LOCK_H

#include "pvvas_drv.h"

/**
 * struct pvvas_seglock - the lock of a segment
 * @ref: the segment's, one of each process that has it mapped, of each file
 * @id: what is in the arrays of its readers; not 0
 * @word: shared with the processes
 * @gone: a page that they can only read: not 0 once the segment has another lock
 * @waiters: struct pvvas_lock_waiter, in the order of their arrival
 * @writers: those of them that wait to write
 * @arrivals: how many there ever were
 * @maps: struct pvvas_lock_map: where readers have to be looked for
 * @kick_work: wakes more of the waiters; has a reference while it is queued
 */
struct pvvas_seglock {
	struct kref ref;
	u32 id;
	spinlock_t lock;
	u32 *word;
	u32 *gone;
	struct list_head waiters;
	struct list_head writers;
	u64 arrivals;
	struct list_head maps;
	struct work_struct kick_work;
};

/**
 * struct pvvas_lock_map - a process that has a lock mapped
 * @node: in lock->maps
 * @vmas: how often; found in proc->locks by lock->id until there is none
 * @writable: one of them was
 * @element: where the process's threads have the lock in their arrays
 */
struct pvvas_lock_map {
	struct pvvas_seglock *lock;
	struct pvvas_proc *proc;
	struct list_head node;
	unsigned int vmas;
	bool writable;
	u32 element;
};

#define PVVAS_HOLDS_PER_PAGE	((u32)(PAGE_SIZE / sizeof(u32)))

/**
 * struct pvvas_holder - a thread that can take locks
 * @node: in proc->holders
 * @number: in the words of locks; not 0, and no other thread's while this one
 *	lives
 * @pages: of its array
 */
struct pvvas_holder {
	struct list_head node;
	struct pvvas_thread *thread;
	u32 number;
	u32 nr_pages;
	u32 *pages[PVVAS_HOLDS_MAX];
};

/* lock.c */
u32 *pvvas_lock_page_new(void);
void pvvas_lock_page_free(u32 *page);
struct pvvas_seglock *pvvas_lock_new(void);
void pvvas_lock_put(struct pvvas_seglock *lock);
u32 pvvas_lock_state(struct pvvas_seglock *lock);
void pvvas_lock_owner_died(struct pvvas_seglock *lock, u32 number);
int pvvas_lock_renew(struct pvvas_seglock *lock);
void pvvas_lock_retire(struct pvvas_seglock *lock);

/* lock_map.c */
bool pvvas_holder_lives(u32 number);
struct pvvas_holder *pvvas_holder_current(struct pvvas_proc *proc);
u32 *pvvas_holder_element(struct pvvas_holder *holder, u32 element);
struct pvvas_seglock *pvvas_lock_mapped(struct pvvas_proc *proc, u32 id,
				     bool write, u32 *element);
bool pvvas_lock_has_readers(struct pvvas_seglock *lock);

#endif /* PVVAS_LOCK_H */
