// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a debugger reads and writes the window: ptrace and /proc/PID/mem come here
 * because the window has no struct pages.
 *
 * They name an address and a process, but no thread.  The view is that of the
 * thread which stopped first, of those that the caller traces: a debugger that
 * stops all threads does so after one of them has reported something.  Without
 * a traced one in a view it is any thread in a view; in one's own process it
 * is one's own view.
 */
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include "hv.h"

/* Of the current thread; 0 for the plain view. */
u32 pvvas_own_slot(const struct pvvas_proc *proc)
{
	u32 slot = 0;

	preempt_disable();
	if (this_cpu_read(pvvas_cpu.ctx) == proc->ctx &&
	    READ_ONCE(pvvas_identity->ctx) == proc->ctx)
		slot = READ_ONCE(pvvas_identity->slot);
	preempt_enable();
	return slot;
}

static u64 pvvas_last_ran(const struct task_struct *task)
{
#ifdef CONFIG_SCHED_INFO
	return task->sched_info.last_arrival;
#else
	return 0;
#endif
}

static bool pvvas_traced_by_us(const struct task_struct *task)
{
	return READ_ONCE(task->ptrace) &&
	       same_thread_group(rcu_dereference(task->parent), current);
}

/* Is @b, in a view, a better choice than @a, which may be NULL? */
static bool pvvas_prefer(const struct pvvas_thread *a,
			 const struct pvvas_thread *b)
{
	bool traced = pvvas_traced_by_us(b->task);

	if (!a || traced != pvvas_traced_by_us(a->task))
		return !a || traced;
	return pvvas_last_ran(b->task) < pvvas_last_ran(a->task);
}

static u32 pvvas_stopped_slot(struct pvvas_proc *proc)
{
	struct pvvas_thread *t, *best = NULL;
	u32 slot = 0;

	rcu_read_lock();
	spin_lock(&proc->lock);
	list_for_each_entry(t, &proc->threads, node)
		if (READ_ONCE(t->state) == PVVAS_THREAD_LIVE &&
		    !READ_ONCE(t->running) && READ_ONCE(t->slot) &&
		    pvvas_prefer(best, t))
			best = t;
	if (best)
		slot = READ_ONCE(best->slot);
	spin_unlock(&proc->lock);
	rcu_read_unlock();
	return slot;
}

/*
 * Tell every reader of the dirty bits of the write.  Under the pages' lock, so that a
 * thread that asks all the time does not keep the write from ending.
 */
static void pvvas_page_write(struct pvvas_seg *mem, pgoff_t index,
			     struct page *page, u32 at, const void *buf, int len)
{
	__xa_clear_mark(&mem->pages, index, PVVAS_CLEAN);
	__xa_clear_mark(&mem->pages, index, PVVAS_IDLE);
	pvvas_evict_not(mem, page);
	memcpy(page_address(page) + at, buf, len);
}

/* For the kernel: bytes done, in one page, or an error. */
static int pvvas_seg_copy_page(struct pvvas_seg *seg, u64 offset, void *buf,
			       int len, bool write)
{
	struct pvvas_seg *mem = seg->memory;
	u32 in_page = offset_in_page(offset);
	pgoff_t index = pvvas_index_at(seg, offset);
	struct page *page;
	int ret;

	len = min_t(int, len, PAGE_SIZE - in_page);
	do {
		ret = write ? pvvas_page_fault(seg, offset - in_page, PVVAS_RW,
					       GFP_KERNEL | __GFP_RETRY_MAYFAIL,
					       false) : 0;
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		if (ret)
			return ret;
		xa_lock_irq(&mem->pages);
		page = xa_load(&mem->pages, index);
		if (!(pvvas_seg_allows(seg, index) & PVVAS_PROT_READ))
			len = -EACCES;
		else if (!page && !write && mem->pager)
			len = -ENXIO;
		else if (!page && !write)
			memset(buf, 0, len);
		else if (!write)
			memcpy(buf, page_address(page) + in_page, len);
		else if (!page || xa_get_mark(&mem->pages, index, PVVAS_COW))
			ret = -EAGAIN;	/* gone or cloned meanwhile */
		else
			pvvas_page_write(mem, index, page, in_page, buf, len);
		xa_unlock_irq(&mem->pages);
	} while (ret);
	return len;
}

/* @offset from the base; bytes done, or an error.  The caller has a reference. */
int pvvas_seg_copy(struct pvvas_seg *seg, u64 offset, void *buf, int len,
		   bool write)
{
	int done = 0, ret = 0;

	len = min_t(u64, len, seg->length - offset);
	offset += seg->base - seg->start;
	while (done < len && ret >= 0) {
		ret = pvvas_seg_copy_page(seg, offset + done, buf + done,
					  len - done, write);
		done += max(ret, 0);
	}
	return done ?: ret;
}

/* For a program that is not in a VAS with the segment. */
int pvvas_seg_read(struct pvvas_ioc_range *arg)
{
	struct pvvas_seg *seg;
	void *page;
	int ret;
	u64 at;

	if (arg->arg || arg->done)
		return -EINVAL;
	seg = pvvas_seg_hold(arg->seg, PVVAS_READ);
	if (IS_ERR(seg))
		return PTR_ERR(seg);
	page = (void *)__get_free_page(GFP_KERNEL);
	ret = page ? pvvas_range_check(seg, arg) : -ENOMEM;
	for (at = 0; at < arg->length && ret >= 0; at += PAGE_SIZE) {
		ret = pvvas_seg_copy(seg, arg->offset + at, page, PAGE_SIZE,
				     false);
		if (ret >= 0 && copy_to_user(u64_to_user_ptr(arg->addr + at),
					     page, PAGE_SIZE))
			ret = -EFAULT;
		if (fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	free_page((unsigned long)page);
	pvvas_seg_drop(seg);
	return min(ret, 0);
}

/* The segment that an attachment shows at @addr, and with which rights. */
static struct pvvas_seg *pvvas_att_at(struct pvvas_att *att, u64 addr,
				      u32 *rights)
{
	struct pvvas_link *link = pvvas_link_at(&att->links, addr);

	if (link) {
		*rights = link->prot;
		return link->seg;
	}
	link = pvvas_link_at(&att->vas->links, addr);
	if (!link || pvvas_link_hidden(att, link))
		return NULL;
	*rights = link->prot & att->rights;
	return link->seg;
}

/* What the current thread sees at @addr, or NULL; pvvas_lock is held. */
struct pvvas_seg *pvvas_seen_at(u64 addr, u32 *rights)
{
	struct pvvas_proc *proc = pvvas_proc_find(current->mm);
	struct pvvas_att *att = NULL;

	if (proc)
		att = proc->slots[pvvas_own_slot(proc)];
	return att ? pvvas_att_at(att, addr, rights) : NULL;
}

/* The same, with a reference, if that may be done there; or NULL. */
static struct pvvas_seg *pvvas_access_seg(struct pvvas_att *att, u64 addr,
					  bool write)
{
	struct pvvas_seg *seg;
	u32 rights;

	seg = pvvas_att_at(att, addr, &rights);
	if (!seg || !(rights & (write ? PVVAS_WRITE : PVVAS_READ)))
		return NULL;
	kref_get(&seg->obj.ref);
	return seg;
}

/*
 * Bytes done, or an error.  mmap_lock is held; ours comes after it, and is not
 * held while memory is allocated for the write.
 */
int pvvas_window_access(struct vm_area_struct *vma, unsigned long addr,
			void *buf, int len, int write)
{
	struct mm_struct *mm = vma->vm_mm;
	struct pvvas_att *att = NULL;
	struct pvvas_seg *seg = NULL;
	struct pvvas_proc *proc;
	int ret;

	mutex_lock(&pvvas_lock);
	proc = pvvas_proc_find(mm);
	if (proc)
		att = proc->slots[mm == current->mm ? pvvas_own_slot(proc) :
				  pvvas_stopped_slot(proc)];
	if (att)
		seg = pvvas_access_seg(att, addr, write);
	pvvas_unlock();
	if (!seg)
		return -EIO;
	ret = pvvas_seg_copy(seg, addr - seg->base, buf, len, write);
	pvvas_seg_drop(seg);
	return ret;
}
