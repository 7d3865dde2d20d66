// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes: one object for each mm that uses VASes, with one context of KVM's.
 *
 * It is found by the mm, not by the open file: a child that inherited the file
 * has another mm and gets an object of its own.  The mm's end (exit of the last
 * thread, exec) is told by the mmu notifier; the object itself remains until
 * the last thread that has a notifier for it is dead, as an empty shell.
 */
#define pr_fmt(fmt) "pvvas: " fmt

#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/suspend.h>
#include "compat.h"
#include "ept.h"
#include "hv.h"

/*
 * How many processes exist or begin: the fork probe is needed.  Never together
 * with mmap_lock, which a process can keep for long.
 */
static DEFINE_MUTEX(pvvas_procs_lock);
static unsigned int pvvas_procs_live;
/* Processes that need preempt notifiers; from 0, and to 0, under the lock. */
static atomic_t pvvas_notifiers;

/* Innermost but for proc->lock; not taken in interrupts. */
static DEFINE_SPINLOCK(pvvas_hash_lock);
static DEFINE_HASHTABLE(pvvas_procs, 8);	/* by mm */
static DEFINE_XARRAY(pvvas_procs_by_ctx);	/* the same ones */

/* The machine is about to sleep; under pvvas_procs_lock. */
static bool pvvas_sleeping;

/*
 * A CPU that slept has lost its context, and threads in views would find
 * themselves in the plain one.  So while there are processes the machine does
 * not go to sleep, and none begins while it does.
 */
static int pvvas_pm_event(struct notifier_block *nb, unsigned long event,
			  void *unused)
{
	int ret = 0;

	mutex_lock(&pvvas_procs_lock);
	switch (event) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		if (pvvas_procs_live)
			ret = -EBUSY;
		else
			pvvas_sleeping = true;
		break;
	default:
		pvvas_sleeping = false;
	}
	mutex_unlock(&pvvas_procs_lock);
	if (ret)
		pr_info("the machine cannot sleep while processes use address spaces\n");
	return notifier_from_errno(ret);
}

static struct notifier_block pvvas_pm_nb = {
	.notifier_call = pvvas_pm_event,
};

int __init pvvas_process_init(void)
{
	return register_pm_notifier(&pvvas_pm_nb);
}

void pvvas_process_exit(void)
{
	unregister_pm_notifier(&pvvas_pm_nb);
}

static struct pvvas_proc *pvvas_proc_lookup(struct mm_struct *mm)
{
	struct pvvas_proc *proc;

	hash_for_each_possible(pvvas_procs, proc, hash, (unsigned long)mm)
		if (proc->mm == mm)
			return proc;
	return NULL;
}

/*
 * The process of @mm, or NULL.  No reference: the caller has to know that the
 * mm stays alive (it is its own, or that of the task that it is cloning).
 */
struct pvvas_proc *pvvas_proc_find(struct mm_struct *mm)
{
	struct pvvas_proc *proc;

	spin_lock(&pvvas_hash_lock);
	proc = mm ? pvvas_proc_lookup(mm) : NULL;
	spin_unlock(&pvvas_hash_lock);
	return proc;
}

bool pvvas_proc_covered(struct mm_struct *mm)
{
	struct pvvas_proc *proc;
	bool covered;

	spin_lock(&pvvas_hash_lock);
	proc = pvvas_proc_lookup(mm);
	/* Pairs with the release in pvvas_cover(). */
	covered = proc && smp_load_acquire(&proc->covered);
	spin_unlock(&pvvas_hash_lock);
	return covered;
}

/* The first one with a context above *ctx, with a reference; or NULL. */
struct pvvas_proc *pvvas_proc_after(unsigned long *ctx)
{
	struct pvvas_proc *proc;

	spin_lock(&pvvas_hash_lock);
	proc = xa_find_after(&pvvas_procs_by_ctx, ctx, ULONG_MAX, XA_PRESENT);
	if (proc)
		kref_get(&proc->ref);
	spin_unlock(&pvvas_hash_lock);
	return proc;
}

static void pvvas_notifiers_get(void)
{
	if (atomic_inc_not_zero(&pvvas_notifiers))
		return;
	mutex_lock(&pvvas_procs_lock);
	if (atomic_inc_return(&pvvas_notifiers) == 1)
		preempt_notifier_inc();
	mutex_unlock(&pvvas_procs_lock);
}

static void pvvas_notifiers_put(void)
{
	if (!atomic_dec_and_mutex_lock(&pvvas_notifiers, &pvvas_procs_lock))
		return;
	preempt_notifier_dec();
	mutex_unlock(&pvvas_procs_lock);
}

static void pvvas_proc_free(struct work_struct *work)
{
	struct pvvas_proc *proc =
		container_of(work, struct pvvas_proc, free_work);

	/* Its last instructions touch it after the last thread went. */
	irq_work_sync(&proc->reap_irq);
	xa_destroy(&proc->atts);
	xa_destroy(&proc->locks);
	kfree(proc);
	pvvas_notifiers_put();
	module_put(THIS_MODULE);
}

static void pvvas_proc_release(struct kref *ref)
{
	struct pvvas_proc *proc = container_of(ref, struct pvvas_proc, ref);

	/* May be called where sleeping is not allowed. */
	INIT_WORK(&proc->free_work, pvvas_proc_free);
	queue_work(pvvas_wq, &proc->free_work);
}

void pvvas_proc_put(struct pvvas_proc *proc)
{
	kref_put(&proc->ref, pvvas_proc_release);
}

/* mmap_lock is held. */
static struct mmu_notifier *pvvas_mn_alloc(struct mm_struct *mm)
{
	struct pvvas_proc *proc = kzalloc(sizeof(*proc), GFP_KERNEL_ACCOUNT);

	if (!proc)
		return ERR_PTR(-ENOMEM);
	kref_init(&proc->ref);
	proc->mm = mm;
	mutex_init(&proc->begin_lock);
	mutex_init(&proc->cover_lock);
	init_waitqueue_head(&proc->wait);
	spin_lock_init(&proc->lock);
	INIT_LIST_HEAD(&proc->threads);
	hash_init(proc->tasks);
	INIT_LIST_HEAD(&proc->owned);
	xa_init_flags(&proc->atts, XA_FLAGS_ALLOC);
	pvvas_locks_init(proc);
	pvvas_reap_init(proc);
	pvvas_futex_init(proc);
	__module_get(THIS_MODULE);
	/* Not the first one, for which locks are taken: pvvas_proc_obtain(). */
	atomic_inc(&pvvas_notifiers);
	return &proc->mn;
}

static void pvvas_mn_free(struct mmu_notifier *mn)
{
	pvvas_proc_put(container_of(mn, struct pvvas_proc, mn));
}

/* The fork probe sees new tasks from here on, once running calls have ended. */
static int pvvas_procs_more(void)
{
	int ret = 0;

	if (mutex_lock_killable(&pvvas_procs_lock))
		return -EINTR;
	if (pvvas_sleeping)
		ret = -EAGAIN;
	else if (!pvvas_procs_live)
		ret = pvvas_cover_start();
	if (!ret)
		pvvas_procs_live++;
	mutex_unlock(&pvvas_procs_lock);
	return ret;
}

static void pvvas_procs_less(void)
{
	mutex_lock(&pvvas_procs_lock);
	if (!--pvvas_procs_live)
		pvvas_cover_stop();
	mutex_unlock(&pvvas_procs_lock);
}

static bool pvvas_proc_end(struct pvvas_leftover *left)
{
	struct pvvas_proc *proc = container_of(left, struct pvvas_proc, left);

	if (!pvvas_hc_gone(pvvas_hc_ctx_destroy(proc->ctx)))
		return false;
	/* It has gone with its context. */
	if (proc->spare)
		pvvas_view_end(proc->spare);
	pvvas_quota_uncharge(proc->charged, PVVAS_QUOTA_PROCESSES);
	atomic_dec(&pvvas_counts.processes);
	pvvas_proc_put(proc);
	return true;
}

/*
 * The mm has no user left: no task runs in user mode with it, and none will.
 * The task that brings the news may itself still be in one of the views (exit,
 * exec), and so may another one on its way out: they are put into the plain
 * view first.  No CPU loads the context again, since proc->mm is NULL.
 */
static void pvvas_mn_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct pvvas_proc *proc = container_of(mn, struct pvvas_proc, mn);

	spin_lock(&pvvas_hash_lock);
	hash_del(&proc->hash);
	xa_erase(&pvvas_procs_by_ctx, proc->ctx);
	WRITE_ONCE(proc->mm, NULL);
	spin_unlock(&pvvas_hash_lock);
	on_each_cpu(pvvas_cpu_unload, proc, 1);
	pvvas_locks_mm_died(proc);

	pvvas_detach_all(proc);
	pvvas_objects_disown(proc);
	mutex_lock(&pvvas_lock);
	kref_get(&proc->ref);
	pvvas_give_back(&proc->left, pvvas_proc_end);
	pvvas_unlock();

	pvvas_procs_less();
	mmu_notifier_put(mn);
}

static const struct mmu_notifier_ops pvvas_mn_ops = {
	.release	= pvvas_mn_release,
	.alloc_notifier	= pvvas_mn_alloc,
	.free_notifier	= pvvas_mn_free,
};

/* Its context; or what there was of it, back. */
static int pvvas_proc_get_context(struct pvvas_proc *proc)
{
	long ctx = pvvas_hc_ctx_create(pvvas_plain_root());
	int ret;

	if (ctx <= 0)
		return ctx ?: -EIO;
	ret = xa_err(xa_store(&pvvas_procs_by_ctx, ctx, proc, GFP_KERNEL));
	if (ret)
		/* Without views: if it stays, it goes with the VM. */
		pvvas_hc_ctx_destroy(ctx);
	else
		proc->ctx = ctx;
	return ret;
}

/* The first thread that comes does it; then others can find the process. */
static int pvvas_proc_begin(struct pvvas_proc *proc)
{
	int ret;

	mutex_lock(&pvvas_lock);
	proc->charged = pvvas_quota_charge(PVVAS_QUOTA_PROCESSES);
	pvvas_unlock();
	if (IS_ERR(proc->charged))
		return PTR_ERR(proc->charged);
	ret = pvvas_proc_get_context(proc);
	if (ret) {
		mutex_lock(&pvvas_lock);
		pvvas_quota_uncharge(proc->charged, PVVAS_QUOTA_PROCESSES);
		pvvas_unlock();
		return ret;
	}
	atomic_inc(&pvvas_counts.processes);
	spin_lock(&pvvas_hash_lock);
	hash_add(pvvas_procs, &proc->hash, (unsigned long)proc->mm);
	spin_unlock(&pvvas_hash_lock);
	return 0;
}

/*
 * The object of the current process, made if there is none; threads may be here
 * together.  *made: it is by this call that there is one.
 */
static struct pvvas_proc *pvvas_proc_make(struct mm_struct *mm, bool *made)
{
	struct mmu_notifier *mn = mmu_notifier_get(&pvvas_mn_ops, mm);
	struct pvvas_proc *proc;
	int ret = 0;

	/*
	 * Taking all locks of an mm ends with -EINTR at any signal, a stop
	 * among them.  Nothing has been done: the call is made again.
	 */
	if (mn == ERR_PTR(-EINTR))
		return ERR_PTR(-ERESTARTNOINTR);
	if (IS_ERR(mn))
		return ERR_CAST(mn);
	proc = container_of(mn, struct pvvas_proc, mn);
	mutex_lock(&proc->begin_lock);
	*made = !proc->ctx;
	if (*made)
		ret = pvvas_proc_begin(proc);
	if (ret)
		*made = false;
	mutex_unlock(&proc->begin_lock);
	/* The caller that made it leaves its reference to the mm. */
	if (!*made)
		mmu_notifier_put(mn);
	return ret ? ERR_PTR(ret) : proc;
}

static struct pvvas_proc *pvvas_proc_obtain(struct mm_struct *mm)
{
	struct pvvas_proc *proc;
	bool made = false;
	int ret;

	ret = pvvas_procs_more();
	if (ret)
		return ERR_PTR(ret);
	pvvas_notifiers_get();
	proc = pvvas_proc_make(mm, &made);
	pvvas_notifiers_put();
	if (!made)
		pvvas_procs_less();
	return proc;
}

/*
 * The current process's object, with every thread covered; made at first use.
 * -EAGAIN if a thread does not come to the point where it can be covered.
 * Call it without locks; mmap_lock counts.
 */
struct pvvas_proc *pvvas_proc_current(void)
{
	struct mm_struct *mm = current->mm;
	struct pvvas_proc *proc;
	int ret;

	if (!mm || current->flags & (PF_KTHREAD | PF_USER_WORKER | PF_EXITING))
		return ERR_PTR(-EINVAL);
	proc = pvvas_proc_find(mm);
	if (!proc)
		proc = pvvas_proc_obtain(mm);
	/* Pairs with the release in pvvas_cover(). */
	if (IS_ERR(proc) || smp_load_acquire(&proc->covered))
		return proc;
	ret = pvvas_cover(proc);
	return ret ? ERR_PTR(ret) : proc;
}
