/* SPDX-License-Identifier: GPL-2.0-only */
/* Threads that have a notifier, and what a CPU knows of the one that it runs: thread.c. */
#ifndef PVVAS_THREAD_H
#define PVVAS_THREAD_H

enum pvvas_thread_state {
	PVVAS_THREAD_COVERING,	/* task work queued, notifier not registered */
	PVVAS_THREAD_LIVE,
	PVVAS_THREAD_DEAD,	/* the task is dead or never registered */
};

/**
 * struct pvvas_thread - a thread that has our preempt notifier
 * @task: to compare with, never to follow; valid while not DEAD
 * @node: in proc->threads; @of_task: in proc->tasks
 * @running: on a CPU, with its context loaded
 * @slot: while not running, where to go back to
 * @kept: the slot of the view that it has left for a while, and goes back to, or 0;
 *	written by the thread
 * @leaving: while not running, or with a view kept, it never returns to user mode
 * @waits_at: while not running, the word of the window it waits at, or 0; or any
 *	(futex.c)
 * @futex_round: the last round of futex.c that has looked at it; under proc->lock
 * @token: names the thread for ever, or 0 (life.c)
 * @holder: it can take locks; with proc->locks_mutex but for the thread itself
 */
struct pvvas_thread {
	struct preempt_notifier notifier;
	struct pvvas_proc *proc;
	struct task_struct *task;
	struct list_head node;
	struct hlist_node of_task;
	enum pvvas_thread_state state;
	bool running;
	bool leaving;
	u32 slot;
	u32 kept;
	u64 waits_at;
	u64 futex_round;
	u64 token;
	struct pvvas_holder *holder;
	struct callback_head cover_work;
	struct llist_node dead;
	/* A demand fault to finish where sleeping is allowed (fault.c). */
	struct callback_head fault_work;
	struct pvvas_seg *fault_seg;
	u64 fault_offset;
	u64 fault_gla;
	u32 fault_access;
};

/* What a CPU knows; touched by that CPU alone, with interrupts off. */
struct pvvas_cpu {
	u64 ctx;			/* whose list is loaded, or 0 */
	struct pvvas_thread *running;	/* or NULL */
	struct user_return_notifier user_return;	/* registered if @hears */
	bool hears;
	u64 ctx_loads;
	u64 demand_faults;
};

DECLARE_PER_CPU(struct pvvas_cpu, pvvas_cpu);

bool pvvas_thread_in_view(void);
struct pvvas_thread *pvvas_thread_step_out(void);
void pvvas_thread_step_in(struct pvvas_thread *t);

#endif
