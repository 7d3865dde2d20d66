// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens to a thread's view when the scheduler takes it off a CPU and
 * puts it on one: the preempt notifier.
 *
 * Off: the identity page says which view the thread is in, wherever VMFUNC has
 * brought it; remember it and go to the plain view.  On: load the process's
 * context if this CPU has another one (the only hypercall), and go back to the
 * view; VMFUNC in any case, because a task without notifier may have left the
 * CPU in any view of the list.
 *
 * A notifier stays on its task.  When the task has gone to another mm (exec) or
 * is on its way out, it does nothing but leave the view.  It goes when the task
 * gets another one for its new mm, or when the task dies.
 */
#define pr_fmt(fmt) "pvvas: " fmt

#include <linux/llist.h>
#include <linux/mempool.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "hv.h"
#include "trace.h"

/* Threads that can be created with no memory free. */
#define PVVAS_THREAD_RESERVE	64

static mempool_t *pvvas_thread_pool;

/* The task that reboots the machine: no context is loaded any more. */
static struct task_struct *pvvas_rebooting;

/*
 * Its own for what waits for locks of segments: with room for all processes of a
 * user, as the locks may be held by threads that get next to no CPU.
 */
static struct workqueue_struct *pvvas_reap_wq;

/* Lists of dead threads that are not empty. */
static atomic_t pvvas_reaping;
static DECLARE_WAIT_QUEUE_HEAD(pvvas_reaped);

/*
 * Dead threads: no lock may be taken in the scheduler, so in two steps.  Each
 * process has its own, so that its deaths wait for its own locks alone.  The
 * scheduler reads a notifier once more after its call, with interrupts off, and
 * another CPU's request may have brought us here meanwhile.
 */
static void pvvas_reap(struct work_struct *work)
{
	struct pvvas_proc *proc =
		container_of(work, struct pvvas_proc, reap_work);
	struct llist_node *list = llist_del_all(&proc->dead);
	struct pvvas_thread *t, *next;

	if (!list)
		return;
	llist_for_each_entry(t, list, dead)
		pvvas_locks_thread_died(t);
	synchronize_rcu();
	/* The process may go with the last one. */
	llist_for_each_entry_safe(t, next, list, dead)
		pvvas_thread_free(t);
	atomic_dec(&pvvas_reaping);
	wake_up(&pvvas_reaped);
}

static void pvvas_reap_later(struct irq_work *work)
{
	struct pvvas_proc *proc =
		container_of(work, struct pvvas_proc, reap_irq);

	queue_work(pvvas_reap_wq, &proc->reap_work);
}

void pvvas_reap_init(struct pvvas_proc *proc)
{
	init_llist_head(&proc->dead);
	init_irq_work(&proc->reap_irq, pvvas_reap_later);
	INIT_WORK(&proc->reap_work, pvvas_reap);
}

static bool pvvas_is_member(const struct pvvas_proc *proc)
{
	return current->mm && current->mm == READ_ONCE(proc->mm);
}

static void pvvas_user_return(struct user_return_notifier *notifier)
{
	struct pvvas_thread *t = this_cpu_read(pvvas_cpu.running);

	if (t)
		pvvas_futex_returns(t->proc);
}

/*
 * Interrupts off, of the current thread.  While one runs, its returns to user mode
 * are heard of (futex.c); those of other tasks cost nothing.  Not from interrupts:
 * KVM in this guest has its own in the same list, with interrupts on.
 */
static void pvvas_hear(struct pvvas_cpu *cpu, bool on)
{
	if (cpu->hears == on)
		return;
	cpu->hears = on;
	cpu->user_return.on_user_return = pvvas_user_return;
	if (on)
		user_return_notifier_register(&cpu->user_return);
	else
		user_return_notifier_unregister(&cpu->user_return);
}

/* Under the run queue's lock, interrupts off. */
static void pvvas_save_view(struct pvvas_thread *t, struct pvvas_cpu *cpu)
{
	const struct pvvas_identity *id = pvvas_identity;
	u32 slot = 0;

	if (cpu->ctx && READ_ONCE(id->ctx)) {
		if (READ_ONCE(id->ctx) == t->proc->ctx &&
		    pvvas_is_member(t->proc))
			slot = READ_ONCE(id->slot);
		pvvas_vmfunc(0);
	}
	WRITE_ONCE(t->slot, slot);
	WRITE_ONCE(t->leaving, current->flags & PF_EXITING);
	WRITE_ONCE(t->waits_at, pvvas_futex_word());
	cpu->running = NULL;
	/* Pairs with the acquire in futex.c. */
	smp_store_release(&t->running, false);
}

static void pvvas_sched_out(struct preempt_notifier *notifier,
			    struct task_struct *next)
{
	struct pvvas_thread *t =
		container_of(notifier, struct pvvas_thread, notifier);
	struct pvvas_cpu *cpu = this_cpu_ptr(&pvvas_cpu);

	if (cpu->running == t)
		pvvas_save_view(t, cpu);
	pvvas_hear(cpu, false);
	if (unlikely(READ_ONCE(current->__state) == TASK_DEAD)) {
		WRITE_ONCE(t->state, PVVAS_THREAD_DEAD);
		if (llist_add(&t->dead, &t->proc->dead)) {
			atomic_inc(&pvvas_reaping);
			irq_work_queue(&t->proc->reap_irq);
		}
	}
}

/* The current thread cannot be in its view. */
static void pvvas_kill(void)
{
	/* The thread that reboots the machine has to get to its end. */
	if (READ_ONCE(pvvas_rebooting) != current)
		force_sig(SIGKILL);
}

/*
 * Interrupts off.  False if the hypervisor refuses the context, or the machine
 * reboots: then no process's list should stay loaded.  If it refuses that, too,
 * the CPU stays in the plain view of the list that it had.
 */
static bool pvvas_load(struct pvvas_cpu *cpu, u64 ctx)
{
	if (READ_ONCE(pvvas_rebooting))
		return false;
	if (cpu->ctx == ctx)
		return true;
	if (pvvas_hc_ctx_load(ctx) < 0) {
		if (pvvas_hc_ctx_load(0) >= 0)
			cpu->ctx = 0;
		return false;
	}
	cpu->ctx = ctx;
	cpu->ctx_loads++;
	return true;
}

/* Interrupts off; current is a member of the process. */
static bool pvvas_enter(struct pvvas_thread *t)
{
	struct pvvas_cpu *cpu = this_cpu_ptr(&pvvas_cpu);

	if (cpu->ctx != t->proc->ctx)
		trace_pvvas_ctx_load(t->proc->ctx, t->slot);
	if (!pvvas_load(cpu, t->proc->ctx))
		return false;
	pvvas_vmfunc(t->slot);
	cpu->running = t;
	pvvas_hear(cpu, true);
	WRITE_ONCE(t->running, true);
	return true;
}

static void pvvas_sched_in(struct preempt_notifier *notifier, int this_cpu)
{
	struct pvvas_thread *t =
		container_of(notifier, struct pvvas_thread, notifier);
	bool ok = true;

	local_irq_disable();
	if (pvvas_is_member(t->proc)) {
		/* See slot.c: its interrupt must get through. */
		while (unlikely(t->slot && READ_ONCE(t->proc->moving))) {
			local_irq_enable();
			cpu_relax();
			local_irq_disable();
		}
		ok = pvvas_enter(t);
	}
	local_irq_enable();

	/* Dead before it executes one instruction in user mode. */
	if (unlikely(!ok))
		pvvas_kill();
}

static struct preempt_ops pvvas_preempt_ops = {
	.sched_in	= pvvas_sched_in,
	.sched_out	= pvvas_sched_out,
};

/* Of the current thread, which is not preempted: to be left for a while? */
bool pvvas_thread_in_view(void)
{
	const struct pvvas_identity *id = pvvas_identity;
	struct pvvas_thread *t = this_cpu_read(pvvas_cpu.running);

	return t && READ_ONCE(t->proc->several) &&
	       READ_ONCE(id->ctx) == t->proc->ctx && READ_ONCE(id->slot);
}

/*
 * The current thread leaves its view, which stays in its slot until
 * pvvas_thread_step_in().  NULL: it is in none, and no step back is due.
 */
struct pvvas_thread *pvvas_thread_step_out(void)
{
	struct pvvas_thread *t = NULL;

	local_irq_disable();
	if (pvvas_thread_in_view()) {
		t = this_cpu_read(pvvas_cpu.running);
		WRITE_ONCE(t->leaving, current->flags & PF_EXITING);
		WRITE_ONCE(t->kept, READ_ONCE(pvvas_identity->slot));
		pvvas_vmfunc(0);
	}
	local_irq_enable();
	return t;
}

/* As when the scheduler puts the thread on a CPU: see slot.c. */
void pvvas_thread_step_in(struct pvvas_thread *t)
{
	local_irq_disable();
	while (unlikely(READ_ONCE(t->proc->moving))) {
		local_irq_enable();
		cpu_relax();
		local_irq_disable();
	}
	/* Not if the hypervisor has refused the context: it is killed. */
	if (this_cpu_read(pvvas_cpu.running) == t)
		pvvas_vmfunc(t->kept);
	WRITE_ONCE(t->kept, 0);
	local_irq_enable();
}

/* Interrupts off. */
static void pvvas_cpu_leave(struct pvvas_cpu *cpu)
{
	/* Refused, the list stays until the context is destroyed. */
	if (pvvas_hc_ctx_load(0) < 0)
		pvvas_vmfunc(0);
	cpu->ctx = 0;
	if (cpu->running) {
		WRITE_ONCE(cpu->running->running, false);
		cpu->running = NULL;
	}
}

/* On each CPU, in an interrupt: nothing of a dead process stays loaded. */
void pvvas_cpu_unload(void *arg)
{
	struct pvvas_cpu *cpu = this_cpu_ptr(&pvvas_cpu);
	struct pvvas_proc *proc = arg;

	if (cpu->ctx == proc->ctx)
		pvvas_cpu_leave(cpu);
}

static void pvvas_reboot_cpu(void *unused)
{
	struct pvvas_cpu *cpu = this_cpu_ptr(&pvvas_cpu);
	bool running = cpu->running;

	if (cpu->ctx)
		pvvas_cpu_leave(cpu);
	if (running)
		pvvas_kill();
}

/*
 * The next kernel, by kexec, takes the pages of our tables for free memory, while
 * KVM reads them as long as a CPU has a context.  Threads end that would find
 * themselves out of their views.
 */
static int pvvas_reboot(struct notifier_block *nb, unsigned long event,
			void *unused)
{
	WRITE_ONCE(pvvas_rebooting, current);
	on_each_cpu(pvvas_reboot_cpu, NULL, 1);
	return NOTIFY_DONE;
}

static struct notifier_block pvvas_reboot_nb = {
	.notifier_call = pvvas_reboot,
};

/* In no list yet, and unknown to the scheduler. */
struct pvvas_thread *pvvas_thread_alloc(struct pvvas_proc *proc,
					struct task_struct *task, gfp_t gfp)
{
	struct pvvas_thread *t = mempool_alloc(pvvas_thread_pool, gfp);

	if (!t)
		return NULL;
	memset(t, 0, sizeof(*t));
	preempt_notifier_init(&t->notifier, &pvvas_preempt_ops);
	init_task_work(&t->fault_work, pvvas_fault_work);
	INIT_LIST_HEAD(&t->node);
	t->task = task;
	t->proc = proc;
	kref_get(&proc->ref);
	__module_get(THIS_MODULE);
	atomic_inc(&pvvas_counts.threads);
	return t;
}

/* The task is dead, or never had the notifier. */
void pvvas_thread_free(struct pvvas_thread *t)
{
	struct pvvas_proc *proc = t->proc;

	pvvas_life_end(t);
	spin_lock(&proc->lock);
	list_del(&t->node);
	hash_del(&t->of_task);
	spin_unlock(&proc->lock);
	mempool_free(t, pvvas_thread_pool);
	atomic_dec(&pvvas_counts.threads);
	pvvas_proc_put(proc);
	module_put(THIS_MODULE);
}

/* Under proc->lock. */
void pvvas_thread_enlist(struct pvvas_thread *t)
{
	struct pvvas_proc *proc = t->proc;

	lockdep_assert_held(&proc->lock);
	list_add(&t->node, &proc->threads);
	hash_add(proc->tasks, &t->of_task, (unsigned long)t->task);
}

/* Under proc->lock.  A dead one is of a task that had the same address. */
struct pvvas_thread *pvvas_thread_find(struct pvvas_proc *proc,
				       struct task_struct *task)
{
	struct pvvas_thread *t;

	lockdep_assert_held(&proc->lock);
	hash_for_each_possible(proc->tasks, t, of_task, (unsigned long)task)
		if (t->task == task &&
		    READ_ONCE(t->state) != PVVAS_THREAD_DEAD)
			return t;
	return NULL;
}

/* The one of @task, which cannot die meanwhile; made if there is none. */
struct pvvas_thread *pvvas_thread_obtain(struct pvvas_proc *proc,
					 struct task_struct *task, gfp_t gfp)
{
	struct pvvas_thread *t = pvvas_thread_alloc(proc, task, gfp);
	struct pvvas_thread *old;

	spin_lock(&proc->lock);
	old = pvvas_thread_find(proc, task);
	if (t && !old)
		pvvas_thread_enlist(t);
	spin_unlock(&proc->lock);
	if (!old)
		return t;
	if (t)
		pvvas_thread_free(t);
	return old;
}

/* The thread that changes the state from COVERING does what the state says. */
static bool pvvas_thread_goes_live(struct pvvas_thread *t)
{
	return cmpxchg(&t->state, PVVAS_THREAD_COVERING,
		       PVVAS_THREAD_LIVE) == PVVAS_THREAD_COVERING;
}

/* Of the current task; nothing if it is registered. */
void pvvas_thread_register(struct pvvas_thread *t)
{
	bool ok = true;

	preempt_disable();
	local_irq_disable();
	if (pvvas_thread_goes_live(t)) {
		preempt_notifier_register(&t->notifier);
		if (pvvas_is_member(t->proc))
			ok = pvvas_enter(t);
	}
	local_irq_enable();
	preempt_enable();
	if (!ok)
		pvvas_kill();
}

/*
 * The notifiers that the current task has of programs that it executed before go:
 * there would be ever more of them, and each costs something at each switch.
 * Their task work was done when it came back from exec to user mode.
 */
void pvvas_thread_shed(void)
{
	struct pvvas_cpu *cpu;
	struct pvvas_thread *t;
	struct preempt_notifier *n;
	struct hlist_node *next;
	HLIST_HEAD(gone);

	local_irq_disable();
	cpu = this_cpu_ptr(&pvvas_cpu);
	hlist_for_each_entry_safe(n, next, &current->preempt_notifiers, link) {
		t = container_of(n, struct pvvas_thread, notifier);
		if (n->ops != &pvvas_preempt_ops || pvvas_is_member(t->proc))
			continue;
		preempt_notifier_unregister(n);
		hlist_add_head(&n->link, &gone);
		WRITE_ONCE(t->state, PVVAS_THREAD_DEAD);
		/* The view stays, as of a task that never had a notifier. */
		if (cpu->running == t)
			cpu->running = NULL;
	}
	pvvas_hear(cpu, cpu->running);
	local_irq_enable();
	hlist_for_each_entry_safe(n, next, &gone, link) {
		t = container_of(n, struct pvvas_thread, notifier);
		pvvas_locks_thread_died(t);
		pvvas_thread_free(t);
	}
}

/*
 * Of a task that does not run, and whose notifiers nothing else touches: what
 * preempt_notifier_register() does, but for another task than current.
 */
void pvvas_thread_adopt(struct pvvas_thread *t, struct task_struct *task)
{
	if (pvvas_thread_goes_live(t))
		hlist_add_head(&t->notifier.link, &task->preempt_notifiers);
}

/*
 * Under pi_lock, which try_to_wake_up() takes.  A task that is RUNNING or WAKING may
 * be on its way to a CPU without that lock, and one with on_cpu set has not left its
 * own yet.  The loads are in the order of the stores of a task that goes to
 * sleep: __state, on_rq, on_cpu.  One that is DEAD will not wake up.
 */
static bool pvvas_asleep(struct task_struct *task)
{
	unsigned int state = READ_ONCE(task->__state);

	if (state == TASK_RUNNING || state == TASK_WAKING || state == TASK_DEAD)
		return false;
	/* Not the 0 of the sleep before. */
	smp_rmb();
	if (READ_ONCE(task->on_rq))
		return false;
	/* Nor here. */
	smp_rmb();
	/* Pairs with the release in finish_task(): it is done with its notifiers. */
	return !smp_load_acquire(&task->on_cpu);
}

/*
 * Of a task that cannot die meanwhile: if it is asleep, it stays so until this is
 * done, and its own code in the scheduler, which alone reads and changes the list
 * of its notifiers, does not run.  True if @t is registered.
 */
bool pvvas_thread_adopt_sleeper(struct pvvas_thread *t)
{
	struct task_struct *task = t->task;
	unsigned long flags;
	bool asleep;

	raw_spin_lock_irqsave(&task->pi_lock, flags);
	asleep = pvvas_asleep(task);
	if (asleep)
		pvvas_thread_adopt(t, task);
	raw_spin_unlock_irqrestore(&task->pi_lock, flags);
	return asleep;
}

/*
 * For exact numbers: threads that are dead by now are gone afterwards, but for
 * those of processes whose locks are kept busy for a second.
 */
void pvvas_thread_flush(void)
{
	wait_event_killable_timeout(pvvas_reaped, !atomic_read(&pvvas_reaping),
				    HZ);
}

int __init pvvas_thread_init(void)
{
	pvvas_thread_pool =
		mempool_create_kmalloc_pool(PVVAS_THREAD_RESERVE,
					    sizeof(struct pvvas_thread));
	if (!pvvas_thread_pool)
		return -ENOMEM;
	pvvas_reap_wq = alloc_workqueue("pvvas_reap", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (pvvas_reap_wq) {
		register_reboot_notifier(&pvvas_reboot_nb);
		return 0;
	}
	mempool_destroy(pvvas_thread_pool);
	return -ENOMEM;
}

/* Every thread is freed, but the work that did it may not have returned. */
void pvvas_thread_exit(void)
{
	unregister_reboot_notifier(&pvvas_reboot_nb);
	destroy_workqueue(pvvas_reap_wq);
	mempool_destroy(pvvas_thread_pool);
}
