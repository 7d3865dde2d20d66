// SPDX-License-Identifier: GPL-2.0-only
/*
 * Coverage: every task whose mm has the window mapped has our preempt notifier.
 *
 * Why: VMFUNC works at CPL 3, with the list that the vCPU loaded last.  A task
 * without the window that executes it sees nothing.  A task T with the window
 * but without notifier could run while another process's list is loaded, and
 * read that process's segments; so could the kernel on T's behalf, in a system
 * call, if a third task left the vCPU in one of those views.
 *
 * preempt_notifier_register() takes current only and nothing is inherited, so:
 *
 * 1. The tracepoint task_newtask, in copy_process(), runs in the parent after
 *    the child has been put on the task lists and before it can run.  If the
 *    child's mm is a process of ours, the probe gives it its notifier.  This
 *    covers fork, vfork, clone, and the kernel's own user workers (io_uring,
 *    vhost).  A child that does not share the mm has no window: VM_DONTCOPY.
 *
 * 2. When a process becomes one of ours (first attach, or first fault in the
 *    window), the order is: the probe is registered and waited for; the process
 *    gets into the hash; all tasks are looked at; each one with this mm that is
 *    asleep gets its notifier at once, each other one task work that registers
 *    it; we wait for all of them; only then proc->covered is set.  No PTE of the
 *    window exists before that (window.c), so nothing is behind the window until
 *    then.
 *
 * No task escapes.  Let C be a task with this mm, other than the one that does
 * step 2, at the time when covered is set.  It got the mm in copy_process().
 * If its task_newtask call found the process in the hash, the probe covered it.
 * If not, that call came before the insertion (both take the hash's lock), or
 * was made with the tracepoint's old list of probes, and then came before the
 * end of tracepoint_synchronize_unregister(), or is still to come; a parent
 * that has not come to it yet finds the process when it does.  In the first
 * two cases C was on the task lists before we walked them.  The walk, under
 * RCU, sees each task that is on the lists all the time.  So it does with a thread
 * in the middle of de_thread(), which takes over its leader's place: it is in the
 * list of its group's threads before and after.  Tasks that exit are covered like
 * others while they have the mm: they do not return to user mode, but the kernel
 * writes to their clear_child_tid and goes through their list of robust futexes.
 *
 * Wait for what?  The task work runs before the task's next instruction in user
 * mode; but the task may be in a system call that will touch the window, and come
 * to sleep there.  So the wait ends every tick, to cover those that are asleep by
 * then (pvvas_thread_adopt_sleeper()).  No call of theirs is interrupted, and
 * tasks that sleep for long, are stopped, or wait for a child of vfork() are
 * covered like others.  A task that runs in the kernel for two seconds, or that gets
 * no CPU for as long, makes the first attach fail with -EAGAIN.
 */
#define pr_fmt(fmt) "pvvas: " fmt

#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/tracepoint.h>
#include "pvvas_drv.h"

#define PVVAS_COVER_TIMEOUT	(2 * HZ)

static struct tracepoint *pvvas_newtask_tp;

/* No memory, not even in the reserve: the child must not run. */
static void pvvas_kill_newborn(struct task_struct *child)
{
	/* What the kernel would write for it on its way. */
	child->set_child_tid = NULL;
	child->clear_child_tid = NULL;
	send_sig(SIGKILL, child, 1);
}

/* In the parent, which shares the mm, so that the process stays. */
static void pvvas_newtask(void *data, struct task_struct *child,
			  unsigned long clone_flags)
{
	struct pvvas_thread *t;
	struct pvvas_proc *proc;

	if (!(clone_flags & CLONE_VM) || !child->mm)
		return;
	proc = pvvas_proc_find(child->mm);
	if (!proc)
		return;
	t = pvvas_thread_obtain(proc, child, GFP_ATOMIC | __GFP_NOWARN);
	if (!t) {
		pvvas_kill_newborn(child);
		return;
	}
	/*
	 * A child of vfork() goes on with its parent's stack and pointers, and so
	 * in its parent's view.  The parent stays in that until the child is done
	 * with the memory, or is killed.
	 */
	if (clone_flags & CLONE_VFORK)
		WRITE_ONCE(t->slot, pvvas_own_slot(proc));
	pvvas_thread_adopt(t, child);
}

/* In a task that was there before its process was one of ours. */
static void pvvas_cover_work(struct callback_head *work)
{
	struct pvvas_thread *t =
		container_of(work, struct pvvas_thread, cover_work);
	struct pvvas_proc *proc = t->proc;

	kref_get(&proc->ref);
	/* After exec, or at the end of exit, which is after the last use of the mm. */
	if (READ_ONCE(t->state) == PVVAS_THREAD_COVERING &&
	    (!current->mm || current->mm != READ_ONCE(proc->mm)))
		pvvas_thread_free(t);
	else
		pvvas_thread_register(t);
	wake_up(&proc->wait);
	pvvas_proc_put(proc);
}

/*
 * Both in one, under the lock: once the thread is in the list, its task may
 * register it without our help, and die with it.
 */
static bool pvvas_cover_enlist(struct pvvas_proc *proc, struct pvvas_thread *t,
			       struct task_struct *task)
{
	bool used;

	init_task_work(&t->cover_work, pvvas_cover_work);
	spin_lock(&proc->lock);
	used = !pvvas_thread_find(proc, task) &&
	       (pvvas_thread_adopt_sleeper(t) ||
		!task_work_add(task, &t->cover_work, TWA_RESUME));
	if (used)
		pvvas_thread_enlist(t);
	spin_unlock(&proc->lock);
	return used;
}

static int pvvas_cover_task(struct pvvas_proc *proc, struct task_struct *task)
{
	struct pvvas_thread *t;

	if (READ_ONCE(task->mm) != proc->mm ||
	    READ_ONCE(task->flags) & PF_KTHREAD)
		return 0;
	t = pvvas_thread_alloc(proc, task, GFP_ATOMIC | __GFP_NOWARN);
	if (!t)
		return -ENOMEM;
	if (!pvvas_cover_enlist(proc, t, task))
		pvvas_thread_free(t);
	return 0;
}

/* Current needs no task work. */
static int pvvas_cover_self(struct pvvas_proc *proc)
{
	struct pvvas_thread *t;

	pvvas_thread_shed();
	t = pvvas_thread_obtain(proc, current, GFP_KERNEL);
	if (!t)
		return -ENOMEM;
	pvvas_thread_register(t);
	wake_up(&proc->wait);
	return 0;
}

static int pvvas_cover_walk(struct pvvas_proc *proc)
{
	struct task_struct *group, *task;
	int ret = 0;

	rcu_read_lock();
	for_each_process_thread(group, task) {
		if (!ret)
			ret = pvvas_cover_task(proc, task);
	}
	rcu_read_unlock();
	return ret;
}

/*
 * A thread that is COVERING is in the list until its task work is done, which takes
 * the lock to free it, or makes it live: its task is there under lock and RCU.
 */
static bool pvvas_cover_sleepers(struct pvvas_proc *proc)
{
	struct pvvas_thread *t;
	bool all = true;

	rcu_read_lock();
	spin_lock(&proc->lock);
	list_for_each_entry(t, &proc->threads, node)
		if (READ_ONCE(t->state) == PVVAS_THREAD_COVERING &&
		    !pvvas_thread_adopt_sleeper(t))
			all = false;
	spin_unlock(&proc->lock);
	rcu_read_unlock();
	return all;
}

static int pvvas_cover_all(struct pvvas_proc *proc)
{
	unsigned long end = jiffies + PVVAS_COVER_TIMEOUT;
	long left;
	int ret;

	/* Also after a failure: the thread that registered the probe may not have waited. */
	tracepoint_synchronize_unregister();
	ret = pvvas_cover_walk(proc);
	if (ret)
		return ret;
	do {
		left = wait_event_killable_timeout(proc->wait,
						   pvvas_cover_sleepers(proc), 1);
		if (left)
			return left < 0 ? -EINTR : 0;
	} while (time_before(jiffies, end));
	return -EAGAIN;
}

/*
 * Cover the current process.  If no other task has the mm, current is the only
 * task to cover, and no other one can be cloning.
 */
int pvvas_cover(struct pvvas_proc *proc)
{
	int ret;

	/* Before the mutex: its holder waits for this thread. */
	ret = pvvas_cover_self(proc);
	if (ret)
		return ret;
	if (mutex_lock_killable(&proc->cover_lock))
		return -EINTR;
	if (!proc->covered) {
		if (atomic_read(&current->mm->mm_users) > 1)
			ret = pvvas_cover_all(proc);
		if (!ret) {
			/* Pairs with the acquire in process.c. */
			smp_store_release(&proc->covered, true);
		}
	}
	mutex_unlock(&proc->cover_lock);
	return ret;
}

/* From now on the probe sees new tasks, once running calls have ended. */
int pvvas_cover_start(void)
{
	return tracepoint_probe_register(pvvas_newtask_tp, pvvas_newtask, NULL);
}

void pvvas_cover_stop(void)
{
	tracepoint_probe_unregister(pvvas_newtask_tp, pvvas_newtask, NULL);
}

static void __init pvvas_cover_look(struct tracepoint *tp, void *data)
{
	if (!strcmp(tp->name, "task_newtask"))
		pvvas_newtask_tp = tp;
}

int __init pvvas_cover_init(void)
{
	for_each_kernel_tracepoint(pvvas_cover_look, NULL);
	if (pvvas_newtask_tp)
		return 0;
	pr_info("not loaded: this kernel has no tracepoint task_newtask\n");
	return -ENODEV;
}

void pvvas_cover_exit(void)
{
	tracepoint_synchronize_unregister();
}
