// SPDX-License-Identifier: GPL-2.0-only
/*
 * Private futexes at one address in several VASes.
 *
 * The kernel finds the waiters of a private futex by mm and address, in whichever
 * view each of them is.  So FUTEX_WAKE in one VAS may end the wait of a thread in
 * another VAS: that finds its own word unchanged and waits again, and the thread
 * that the wake-up was meant for sleeps on.
 *
 * So each time a wait in the window ends by a wake-up, the threads of the process
 * that wait at this address in other views are woken without one.  The kernel's
 * futex code then compares their word with what they expect, each in its own view,
 * and lets them sleep on or returns -EAGAIN: as before the first sleep.
 *
 * A wait that ends by a wake-up is seen where the thread returns to user mode, as it
 * need not have slept.  If that is in the handler of a signal, the registers of the
 * call are in the frame, and the wait may have been for any word.
 *
 * Where a thread waits, and in which view, is written down where
 * it leaves its CPU.  One that runs, but has left TASK_RUNNING, may be in the queue
 * and about to sleep: it is woken, whatever for, as any sleeper may be at any time.
 * One that has not left it is not in the queue, whose lock it holds from before it
 * compares its word: it finds the word changed.
 *
 * Not for futexes with priority inheritance, waiters that FUTEX_REQUEUE has moved to
 * another word, waits of io_uring's, and wake-ups that no change of the word goes
 * with: pvvas(7).
 */
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <asm/syscall.h>
#include <uapi/linux/futex.h>
#include "compat.h"
#include "pvvas_drv.h"

/* Instead of a word: any. */
#define PVVAS_FUTEX_ANY		1

/*
 * Where the current thread waits in the window, or 0.  A wait with a time limit that a
 * stop has interrupted goes on as restart_syscall(), its registers as they were.
 */
u64 pvvas_futex_word(void)
{
	const struct pt_regs *regs = current_pt_regs();
	unsigned int cmd = regs->si & FUTEX_CMD_MASK;

	switch (syscall_get_nr(current, current_pt_regs())) {
	case __NR_futex_waitv:
		return PVVAS_FUTEX_ANY;
	case __NR_futex:
	case __NR_restart_syscall:
		if (cmd != FUTEX_WAIT && cmd != FUTEX_WAIT_BITSET)
			return 0;
		fallthrough;
	case __NR_futex_wait:
		return regs->di - PVVAS_WINDOW_VA < pvvas_window.size ?
		       regs->di : 0;
	}
	return 0;
}

/*
 * Where a wait of the current thread, which returns to user mode, has ended by a
 * wake-up; or 0.  The result of futex_waitv() is the number of a word.
 */
static u64 pvvas_futex_woken_at(void)
{
	const struct pt_regs *regs = current_pt_regs();

	if (regs->ax >= FUTEX_WAITV_MAX)
		return 0;
	switch (syscall_get_nr(current, current_pt_regs())) {
	case __NR_futex:
	case __NR_restart_syscall:
	case __NR_futex_wait:
	case __NR_futex_waitv:
		/* The number of a signal: what its handler begins with. */
		return regs->di <= _NSIG ? PVVAS_FUTEX_ANY : pvvas_futex_word();
	}
	return 0;
}

/* Interrupts off. */
static void pvvas_futex_note(struct pvvas_futex *futex, u64 addr, u32 slot)
{
	u32 i;

	raw_spin_lock(&futex->lock);
	for (i = 0; i < futex->nr && i < PVVAS_FUTEX_WORDS; i++)
		if (futex->words[i].addr == addr && futex->words[i].slot == slot)
			break;
	if (i == futex->nr) {
		futex->nr = i + 1;
		if (i < PVVAS_FUTEX_WORDS) {
			futex->words[i].addr = addr;
			futex->words[i].slot = slot;
		}
	}
	raw_spin_unlock(&futex->lock);
}

/*
 * The thread that runs here returns to user mode, interrupts off.  Without a second
 * view in use there is no second word at the address; a thread that waits in one
 * has brought it into use before it got into the queue.
 */
void pvvas_futex_returns(struct pvvas_proc *proc)
{
	u64 addr = pvvas_futex_woken_at();

	if (likely(!addr) || bitmap_weight(proc->taken, PVVAS_NR_SLOTS) < 2)
		return;
	pvvas_futex_note(&proc->futex, addr, READ_ONCE(pvvas_identity->slot));
	kref_get(&proc->ref);
	if (!queue_work(pvvas_wq, &proc->futex.work))
		pvvas_proc_put(proc);
}

/* Does it wait for one of the words?  Not running: what it left behind is there. */
static bool pvvas_futex_match(const struct pvvas_futex *woken,
			      const struct pvvas_thread *t)
{
	u64 addr = READ_ONCE(t->waits_at);
	u32 i;

	if (!addr)
		return false;
	for (i = 0; i < woken->nr && i < PVVAS_FUTEX_WORDS; i++)
		if ((woken->words[i].addr == addr || addr == PVVAS_FUTEX_ANY ||
		     woken->words[i].addr == PVVAS_FUTEX_ANY) &&
		    woken->words[i].slot != READ_ONCE(t->slot))
			return true;
	return woken->nr > PVVAS_FUTEX_WORDS;
}

/*
 * Under proc->lock and RCU.  If it is awake by then, nothing happens.  One that is
 * frozen in its wait goes on with that otherwise, when it is thawed.
 */
static void pvvas_futex_look_again(const struct pvvas_futex *woken,
				   const struct pvvas_thread *t)
{
	if (READ_ONCE(t->state) != PVVAS_THREAD_LIVE ||
	    !(READ_ONCE(t->task->__state) & (TASK_INTERRUPTIBLE | TASK_FROZEN)))
		return;
	/* Pairs with the release in thread.c: then slot and word are there. */
	if (smp_load_acquire(&t->running) || pvvas_futex_match(woken, t))
		wake_up_process(t->task);
}

/* How many threads are looked at before others get the lock and the CPU. */
#define PVVAS_FUTEX_BATCH	64

/*
 * At the next ones, which go to the end of the list; new ones come to its beginning.
 * True: there are more.
 */
static bool pvvas_futex_look_at_some(struct pvvas_proc *proc,
				     const struct pvvas_futex *woken)
{
	struct pvvas_thread *t;
	u32 i;

	for (i = 0; i < PVVAS_FUTEX_BATCH; i++) {
		t = list_first_entry_or_null(&proc->threads, struct pvvas_thread,
					     node);
		if (!t || t->futex_round == woken->round)
			return false;
		t->futex_round = woken->round;
		list_move_tail(&t->node, &proc->threads);
		pvvas_futex_look_again(woken, t);
	}
	return true;
}

static void pvvas_futex_work(struct work_struct *work)
{
	struct pvvas_proc *proc =
		container_of(work, struct pvvas_proc, futex.work);
	struct pvvas_futex woken;
	bool more;

	raw_spin_lock_irq(&proc->futex.lock);
	proc->futex.round++;
	woken = proc->futex;
	proc->futex.nr = 0;
	raw_spin_unlock_irq(&proc->futex.lock);
	do {
		rcu_read_lock();
		spin_lock(&proc->lock);
		more = pvvas_futex_look_at_some(proc, &woken);
		spin_unlock(&proc->lock);
		rcu_read_unlock();
		cond_resched();
	} while (more);
	pvvas_proc_put(proc);
}

void pvvas_futex_init(struct pvvas_proc *proc)
{
	raw_spin_lock_init(&proc->futex.lock);
	INIT_WORK(&proc->futex.work, pvvas_futex_work);
}
