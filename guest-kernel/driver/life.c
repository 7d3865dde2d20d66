// SPDX-License-Identifier: GPL-2.0-only
/*
 * Signs of life: a token for each thread that asks for one, and an answer to
 * whether the thread of a token is still there.
 *
 * Programs write tokens into memory that they share, to say which thread is in the
 * middle of a change; others ask here whether that thread can still finish it.
 * The driver knows from its own list of threads, so that no process can make a dead
 * thread look alive, or a live one dead.
 */
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include "pvvas_drv.h"

/* Token -> thread; its lock keeps the thread from being freed. */
static DEFINE_XARRAY(pvvas_tokens);

static atomic64_t pvvas_last_unique;

/*
 * Memory may come back in a later boot, from a file, with numbers of this one
 * in it.  So they do not begin at 1 each time.
 */
void __init pvvas_life_init(void)
{
	atomic64_set(&pvvas_last_unique, get_random_u64());
}

/* A number that nothing else has or had; not 0. */
u64 pvvas_unique(void)
{
	u64 n;

	do {
		n = atomic64_inc_return(&pvvas_last_unique);
	} while (!n);
	return n;
}

/* Of the current task, which cannot die meanwhile. */
static struct pvvas_thread *pvvas_thread_current(void)
{
	struct pvvas_proc *proc = pvvas_proc_find(current->mm);
	struct pvvas_thread *t;

	if (!proc)
		return NULL;
	spin_lock(&proc->lock);
	t = pvvas_thread_find(proc, current);
	spin_unlock(&proc->lock);
	return t;
}

int pvvas_life_token(struct pvvas_ioc_life *arg)
{
	struct pvvas_thread *t;
	u64 token;
	int ret;

	if (arg->alive || arg->token)
		return -EINVAL;
	t = pvvas_thread_current();
	if (!t)
		return -EINVAL;
	if (!t->token) {
		token = pvvas_unique();
		ret = xa_err(xa_store(&pvvas_tokens, token, t,
				      GFP_KERNEL_ACCOUNT));
		if (ret)
			return ret;
		t->token = token;
	}
	arg->token = t->token;
	return 0;
}

/*
 * Does the task still execute the program of its process?  Under rcu_read_lock(),
 * by a caller that keeps the thread from being freed meanwhile.
 */
bool pvvas_thread_lives(const struct pvvas_thread *t)
{
	const struct mm_struct *mm = READ_ONCE(t->proc->mm);

	/* Not dead: the task_struct remains until rcu_read_unlock(). */
	return mm && READ_ONCE(t->state) != PVVAS_THREAD_DEAD &&
		READ_ONCE(t->task->mm) == mm;
}

int pvvas_life_alive(struct pvvas_ioc_life *arg)
{
	const struct pvvas_thread *t;

	if (arg->alive)
		return -EINVAL;
	rcu_read_lock();
	xa_lock(&pvvas_tokens);
	t = xa_load(&pvvas_tokens, arg->token);
	arg->alive = t && pvvas_thread_lives(t);
	xa_unlock(&pvvas_tokens);
	rcu_read_unlock();
	return 0;
}

/* The thread is about to be freed. */
void pvvas_life_end(struct pvvas_thread *t)
{
	if (t->token)
		xa_erase(&pvvas_tokens, t->token);
}
