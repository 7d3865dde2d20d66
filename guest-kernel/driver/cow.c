// SPDX-License-Identifier: GPL-2.0-only
/*
 * The moment of which a clone is a copy.
 *
 * First every page of the source is made read-only, while faults in user mode
 * wait: what a thread has seen of another thread's writes before is in the clone
 * then.  From then on nothing waits.  The clone takes some pages after the other;
 * a write to a page that it does not have yet, by a program or by the kernel for
 * one, gives it the page first.
 *
 * A reader may clone what another user writes to, so none of this is at the
 * source's expense:
 *
 * - Pages are shared only if one memory cgroup pays for both sides.  Else the
 *   clone gets copies, charged to its own cgroup: a page that is shared stays
 *   charged to the source's, also when the source has copied it and goes on
 *   without it.
 * - A write never waits for the clone's memory.  If there is none at once, the
 *   clone fails.
 * - The work is done by a kernel thread: threads that wait for the moment, and
 *   other clones of the same memory, do not depend on the caller's priority.
 * - One clone is made of a memory at a time.  A caller without write access yields
 *   to callers with it, and begins anew if one comes: its pages may take as long as
 *   its cgroup wants.
 */
#include <linux/completion.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include "ept.h"
#include "lock.h"
#include "refused.h"

/* mem->cloning and mem->writers; innermost */
static DEFINE_SPINLOCK(pvvas_cloning_lock);
static DECLARE_WAIT_QUEUE_HEAD(pvvas_cloning_wait);

/*
 * Of its own: what is copied for a cgroup above memory.high sleeps for it, and the
 * ends of objects shall not wait for that.
 */
static struct workqueue_struct *pvvas_clone_wq;

/* Some memories being cloned at one moment; @writer: the caller may write to all. */
struct pvvas_moment {
	struct work_struct work;
	struct completion done;
	struct pvvas_clone *clones;
	u32 nr;
	bool writer;
	bool killed;
	int ret;
};

/* Pages that are shared, or copied, at once: powers of two, within a node. */
#define PVVAS_SHARED_AT_ONCE	XA_CHUNK_SIZE
#define PVVAS_COPIED_AT_ONCE	16

/**
 * struct pvvas_batch - pages that a clone takes at once
 * @first: number of the first one; @last: of the last one
 * @nr_spares: of @spares, pages to copy to
 * @index: of @pages, those that it takes
 */
struct pvvas_batch {
	unsigned long first;
	unsigned long last;
	u32 nr_spares;
	struct page *spares[PVVAS_COPIED_AT_ONCE];
	pgoff_t index[PVVAS_SHARED_AT_ONCE];
	struct page *pages[PVVAS_SHARED_AT_ONCE];
};

/* Until the moment is over; -ERESTARTSYS if the thread is killed. */
int pvvas_clone_wait(struct pvvas_seg *mem)
{
	return wait_var_event_killable(&mem->changing,
				       !READ_ONCE(mem->changing));
}

/*
 * With the lock of the source's pages: the clone gets the page at @index, if it
 * has none.  -EAGAIN: a spare page to copy to is wanted.
 */
static int pvvas_clone_take(struct pvvas_clone *clone, pgoff_t index,
			    struct page *page, struct page **spare)
{
	struct pvvas_seg *to = clone->to;
	int ret;

	if (index < pvvas_first(to) || index >= pvvas_end(to) ||
	    xa_load(&to->pages, index))
		return 0;
	if (!clone->copies) {
		get_page(page);
	} else if (*spare) {
		copy_page(page_address(*spare), page_address(page));
		page = *spare;
	} else {
		return -EAGAIN;
	}
	xa_lock_nested(&to->pages, SINGLE_DEPTH_NESTING);
	ret = pvvas_page_put_at(to, index, page, GFP_NOWAIT);
	if (!ret && !clone->copies)
		__xa_set_mark(&to->pages, index, PVVAS_COW);
	xa_unlock(&to->pages);
	if (!clone->copies && ret)
		pvvas_page_put(page);
	if (clone->copies && !ret)
		*spare = NULL;
	return ret;
}

static int pvvas_clone_keep_one(struct pvvas_clone *clone, pgoff_t index,
				struct page *page)
{
	struct mem_cgroup *old = set_active_memcg(clone->to->memcg);
	struct page *spare = NULL;
	int ret;

	ret = pvvas_clone_take(clone, index, page, &spare);
	if (ret == -EAGAIN) {
		spare = pvvas_page_alloc(clone->to, index, GFP_NOWAIT, 0);
		ret = spare ? pvvas_clone_take(clone, index, page, &spare) :
			      -ENOMEM;
	}
	if (spare)
		pvvas_page_put(spare);
	set_active_memcg(old);
	return ret;
}

/*
 * The page is about to be written: clones in the making get it as it is.  With
 * the lock of the pages, which the writer holds; it does not sleep, nor fail.
 */
void pvvas_clone_keep(struct pvvas_seg *mem, pgoff_t index, struct page *page)
{
	struct pvvas_clone *clone;

	list_for_each_entry(clone, &mem->clones, node)
		if (!clone->error)
			clone->error = pvvas_clone_keep_one(clone, index, page);
}

/* The faces of @mem, each with a reference; the number of them. */
static int pvvas_faces_get(struct pvvas_seg *mem,
			   struct pvvas_seg *faces[PVVAS_MAX_FACES])
{
	struct pvvas_seg *face;
	int n = 0;

	mutex_lock(&pvvas_lock);
	list_for_each_entry(face, &mem->faces, face)
		if (kref_get_unless_zero(&face->obj.ref))
			faces[n++] = face;
	pvvas_unlock();
	return n;
}

/* Of the memory's pages from @first on, what the face shows. */
void pvvas_face_refuse(struct pvvas_seg *face, pgoff_t first, u64 count, u32 prot)
{
	pgoff_t from = max(first, pvvas_first(face));
	pgoff_t to = min(first + count, pvvas_end(face));

	if (from < to)
		pvvas_tree_refuse(face->tree, pvvas_own(face, from), to - from,
				  prot);
}

/* Lower the rights that any face gives, to what pvvas_tree_refuse() takes. */
void pvvas_faces_refuse(struct pvvas_seg *mem, pgoff_t first, u64 count,
			u32 prot)
{
	struct pvvas_seg *faces[PVVAS_MAX_FACES];
	int n = pvvas_faces_get(mem, faces);

	while (n--) {
		pvvas_face_refuse(faces[n], first, count, prot);
		pvvas_seg_drop(faces[n]);
	}
}

/* Mark pages as shared, and make them read-only wherever they are shown. */
static void pvvas_pages_freeze(struct pvvas_seg *mem, pgoff_t first, pgoff_t end)
{
	XA_STATE(xas, &mem->pages, first);
	unsigned long seen = 0;
	struct page *page;

	xas_lock_irq(&xas);
	xas_for_each(&xas, page, end - 1) {
		if (xas_retry(&xas, page))
			continue;
		xas_set_mark(&xas, PVVAS_COW);
		if (++seen % 1024)
			continue;
		xas_pause(&xas);
		xas_unlock_irq(&xas);
		cond_resched();
		xas_lock_irq(&xas);
	}
	xas_unlock_irq(&xas);
	/* What a face that comes now shows is read-only already. */
	pvvas_faces_refuse(mem, first, end - first, PVVAS_PROT_READ);
}

/* What @from shows, but for what the moment has of the memory by another face. */
static void pvvas_clone_freeze(const struct pvvas_seg *from)
{
	pgoff_t first = pvvas_first(from), end = pvvas_end(from);
	struct pvvas_seg *mem = from->memory;

	if (mem->frozen_first == mem->frozen_end)
		mem->frozen_first = mem->frozen_end = first;
	if (first < mem->frozen_first) {
		pvvas_pages_freeze(mem, first, mem->frozen_first);
		mem->frozen_first = first;
	}
	if (end > mem->frozen_end) {
		pvvas_pages_freeze(mem, mem->frozen_end, end);
		mem->frozen_end = end;
	}
}

/* As many pages to copy to as the batch may take; -ENOMEM if there is none. */
static int pvvas_batch_spares(struct pvvas_clone *clone,
			      struct pvvas_batch *batch, gfp_t gfp)
{
	struct xarray *pages = &clone->from->memory->pages;
	unsigned long index = batch->first;
	struct page *spare;
	u32 wanted = 0;

	for (; xa_find(pages, &index, batch->last, PVVAS_COW); index++)
		wanted++;
	while (batch->nr_spares < wanted) {
		spare = pvvas_page_alloc(clone->to, batch->first, gfp, 0);
		if (!spare)
			return batch->nr_spares ? 0 : -ENOMEM;
		batch->spares[batch->nr_spares++] = spare;
	}
	return 0;
}

/*
 * What the clone lacks of the batch, but for what has come after the moment; the
 * batch goes on behind it.  With the locks of both sides.
 */
static u32 pvvas_batch_gather(const struct pvvas_clone *clone,
			      struct pvvas_batch *batch)
{
	XA_STATE(xas, &clone->from->memory->pages, batch->first);
	struct page *page;
	u32 n = 0;

	xas_for_each_marked(&xas, page, batch->last, PVVAS_COW) {
		if (xa_load(&clone->to->pages, xas.xa_index))
			continue;
		if (clone->copies && n == batch->nr_spares) {
			batch->first = xas.xa_index;
			return n;
		}
		batch->index[n] = xas.xa_index;
		batch->pages[n++] = page;
	}
	batch->first = batch->last + 1;
	return n;
}

/* With the locks of both sides; a node for them is there. */
static int pvvas_batch_store(const struct pvvas_clone *clone,
			     struct pvvas_batch *batch, u32 n)
{
	XA_STATE(xas, &clone->to->pages, 0);
	struct page *page;
	u32 i;

	for (i = 0; i < n; i++) {
		page = clone->copies ? batch->spares[batch->nr_spares - 1] :
				       batch->pages[i];
		xas_set(&xas, batch->index[i]);
		xas_store(&xas, page);
		if (xas_error(&xas))
			return xas_error(&xas);
		if (clone->copies) {
			copy_page(page_address(page),
				  page_address(batch->pages[i]));
			batch->nr_spares--;
		} else {
			get_page(page);
			xas_set_mark(&xas, PVVAS_COW);
		}
		atomic64_add(PAGE_SIZE, &clone->to->resident);
	}
	return 0;
}

/* With the lock of the source's pages. */
static int pvvas_batch_take(struct pvvas_clone *clone, struct pvvas_batch *batch)
{
	struct pvvas_seg *to = clone->to;
	s64 before = atomic64_read(&to->resident), bytes;
	int ret;
	u32 n;

	xa_lock_nested(&to->pages, SINGLE_DEPTH_NESTING);
	n = pvvas_batch_gather(clone, batch);
	bytes = (s64)n << PAGE_SHIFT;
	ret = pvvas_quota_memory(to->obj.charged, to->obj.free, bytes);
	if (!ret) {
		ret = pvvas_batch_store(clone, batch, n);
		bytes -= atomic64_read(&to->resident) - before;
		pvvas_quota_memory_back(to->obj.charged, bytes);
	}
	xa_unlock(&to->pages);
	return ret;
}

/* The pages of the batch, or the first ones; it goes on behind them. */
static int pvvas_clone_share_some(struct pvvas_clone *clone,
				  struct pvvas_batch *batch)
{
	gfp_t gfp = GFP_KERNEL | __GFP_RETRY_MAYFAIL;
	struct pvvas_seg *mem = clone->from->memory, *to = clone->to;
	int ret = clone->copies ? pvvas_batch_spares(clone, batch, gfp) : 0;

	/* A node for all of them, as a batch is in one. */
	if (!ret)
		ret = xa_reserve_irq(&to->pages, batch->last,
				     gfp | __GFP_NOWARN);
	if (ret)
		return ret;
	xa_lock_irq(&mem->pages);
	ret = clone->error ?: pvvas_batch_take(clone, batch);
	xa_unlock_irq(&mem->pages);
	xa_cmpxchg_irq(&to->pages, batch->last, XA_ZERO_ENTRY, NULL, 0);
	return ret;
}

/* Is there a reason to end early?  -EAGAIN: a clone with write access waits. */
static int pvvas_clone_stop(const struct pvvas_clone *clone, const bool *killed)
{
	if (READ_ONCE(*killed))
		return -EINTR;
	return !clone->writer && READ_ONCE(clone->from->memory->writers) ?
	       -EAGAIN : 0;
}

static int pvvas_clone_share(struct pvvas_clone *clone, const bool *killed)
{
	struct mem_cgroup *old = set_active_memcg(clone->to->memcg);
	u32 most = clone->copies ? PVVAS_COPIED_AT_ONCE : PVVAS_SHARED_AT_ONCE;
	unsigned long end = pvvas_end(clone->to);
	struct xarray *pages = &clone->from->memory->pages;
	struct pvvas_batch *batch = kzalloc(sizeof(*batch), GFP_KERNEL_ACCOUNT);
	int ret = batch ? 0 : -ENOMEM;

	if (batch)
		batch->first = pvvas_first(clone->to);
	while (!ret && xa_find(pages, &batch->first, end - 1, PVVAS_COW)) {
		batch->last = min(batch->first | (most - 1), end - 1);
		ret = pvvas_clone_stop(clone, killed) ?:
		      pvvas_clone_share_some(clone, batch);
		cond_resched();
	}
	while (batch && batch->nr_spares)
		pvvas_page_put(batch->spares[--batch->nr_spares]);
	kfree(batch);
	set_active_memcg(old);
	pvvas_memory_refused(clone->to, ret);
	return ret;
}

static void pvvas_clone_begin(struct pvvas_clone *clone)
{
	struct pvvas_seg *mem = clone->from->memory;

	xa_lock_irq(&mem->pages);
	mem->changing = true;
	list_add_tail(&clone->node, &mem->clones);
	xa_unlock_irq(&mem->pages);
}

static void pvvas_clone_thaw(struct pvvas_seg *mem)
{
	xa_lock_irq(&mem->pages);
	mem->changing = false;
	mem->frozen_first = mem->frozen_end = 0;
	xa_unlock_irq(&mem->pages);
	smp_mb();	/* as wake_up_var() wants it */
	wake_up_var(&mem->changing);
}

static int pvvas_clone_finish(struct pvvas_clone *clone)
{
	struct pvvas_seg *mem = clone->from->memory;

	xa_lock_irq(&mem->pages);
	list_del(&clone->node);
	xa_unlock_irq(&mem->pages);
	return clone->error;
}

static void pvvas_moment_freeze(struct pvvas_moment *moment, bool writer)
{
	struct pvvas_clone *clone = moment->clones;

	for (; clone < moment->clones + moment->nr; clone++)
		if (clone->writer == writer) {
			pvvas_clone_begin(clone);
			pvvas_clone_freeze(clone->from);
		}
}

/*
 * What the caller can only read is frozen last: others wait no longer than
 * that takes, however much of its own the caller has beside it.
 */
static void pvvas_moment_work(struct work_struct *work)
{
	struct pvvas_moment *moment =
		container_of(work, struct pvvas_moment, work);
	struct pvvas_clone *clone, *end = moment->clones + moment->nr;
	int ret = 0;

	pvvas_moment_freeze(moment, true);
	pvvas_moment_freeze(moment, false);
	/* A writer with more to write waits, and still holds the lock. */
	for (clone = moment->clones; clone < end; clone++) {
		if (clone->lock)
			clone->lock_state = pvvas_lock_state(clone->lock);
		ret = pvvas_clone_check(clone) ?: ret;
	}
	for (clone = moment->clones; clone < end; clone++)
		pvvas_clone_thaw(clone->from->memory);
	for (clone = moment->clones; clone < end && !ret; clone++)
		ret = pvvas_clone_share(clone, &moment->killed);
	for (clone = moment->clones; clone < end; clone++)
		if (!list_empty(&clone->node))
			ret = pvvas_clone_finish(clone) ?: ret;
	moment->ret = ret;
	complete(&moment->done);
}

/* Each memory, or none. */
static bool pvvas_moment_claim(struct pvvas_moment *moment)
{
	bool claimed = true;
	u32 i;

	spin_lock(&pvvas_cloning_lock);
	for (i = 0; i < moment->nr; i++) {
		const struct pvvas_clone *clone = &moment->clones[i];
		const struct pvvas_seg *mem = clone->from->memory;

		if (mem->cloning || (mem->writers && !moment->writer))
			claimed = false;
	}
	for (i = 0; i < moment->nr && claimed; i++)
		moment->clones[i].from->memory->cloning = true;
	spin_unlock(&pvvas_cloning_lock);
	return claimed;
}

/*
 * Only a caller that may write to all goes first: two that may write to half of it
 * each would yield to each other for ever.
 */
static void pvvas_moment_writers(struct pvvas_moment *moment, int change)
{
	u32 i;

	if (!moment->writer)
		return;
	spin_lock(&pvvas_cloning_lock);
	for (i = 0; i < moment->nr; i++)
		moment->clones[i].from->memory->writers += change;
	spin_unlock(&pvvas_cloning_lock);
}

static void pvvas_moment_release(struct pvvas_moment *moment)
{
	u32 i;

	spin_lock(&pvvas_cloning_lock);
	for (i = 0; i < moment->nr; i++)
		moment->clones[i].from->memory->cloning = false;
	spin_unlock(&pvvas_cloning_lock);
	wake_up_all(&pvvas_cloning_wait);
}

static int pvvas_moment_run(struct pvvas_moment *moment)
{
	INIT_WORK_ONSTACK(&moment->work, pvvas_moment_work);
	init_completion(&moment->done);
	queue_work(pvvas_clone_wq, &moment->work);
	if (wait_for_completion_killable(&moment->done)) {
		WRITE_ONCE(moment->killed, true);
		wait_for_completion(&moment->done);
	}
	flush_work(&moment->work);
	destroy_work_on_stack(&moment->work);
	return moment->ret;
}

/*
 * Fill clones that exist, without pages, and that cannot be found.  Their sources
 * have a reference each.  -EAGAIN: begin again, with empty ones.
 */
int pvvas_clone_pages(struct pvvas_clone *clones, u32 nr)
{
	struct pvvas_moment moment = { .clones = clones, .nr = nr,
				       .writer = true };
	int ret;
	u32 i;

	for (i = 0; i < nr; i++) {
		INIT_LIST_HEAD(&clones[i].node);
		clones[i].error = 0;
		moment.writer &= clones[i].writer;
		clones[i].copies = clones[i].to->memcg !=
				   clones[i].from->memory->memcg;
	}
	pvvas_moment_writers(&moment, 1);
	ret = wait_event_killable(pvvas_cloning_wait,
				  pvvas_moment_claim(&moment));
	pvvas_moment_writers(&moment, -1);
	if (!ret) {
		ret = pvvas_moment_run(&moment);
		pvvas_moment_release(&moment);
	} else {
		wake_up_all(&pvvas_cloning_wait);
		ret = -EINTR;
	}
	return ret;
}

static bool pvvas_clone_try_hold(struct pvvas_seg *a, struct pvvas_seg *b)
{
	bool held;

	spin_lock(&pvvas_cloning_lock);
	held = !a->cloning && !b->cloning;
	if (held)
		a->cloning = b->cloning = true;
	spin_unlock(&pvvas_cloning_lock);
	return held;
}

static void pvvas_clone_waiting(struct pvvas_seg *mem, int change)
{
	spin_lock(&pvvas_cloning_lock);
	mem->writers += change;
	spin_unlock(&pvvas_cloning_lock);
}

/*
 * No clone of either is in the making from now on, for a caller that may write to
 * both, until pvvas_clone_release(); -EINTR.
 */
int pvvas_clone_hold(struct pvvas_seg *a, struct pvvas_seg *b)
{
	int ret;

	pvvas_clone_waiting(a, 1);
	pvvas_clone_waiting(b, 1);
	ret = wait_event_killable(pvvas_cloning_wait, pvvas_clone_try_hold(a, b));
	pvvas_clone_waiting(a, -1);
	pvvas_clone_waiting(b, -1);
	if (!ret)
		return 0;
	wake_up_all(&pvvas_cloning_wait);
	return -EINTR;
}

void pvvas_clone_release(struct pvvas_seg *a, struct pvvas_seg *b)
{
	spin_lock(&pvvas_cloning_lock);
	a->cloning = b->cloning = false;
	spin_unlock(&pvvas_cloning_lock);
	wake_up_all(&pvvas_cloning_wait);
}

int __init pvvas_clones_init(void)
{
	pvvas_clone_wq = alloc_workqueue("pvvas_clone", WQ_UNBOUND,
					 WQ_MAX_ACTIVE);
	return pvvas_clone_wq ? 0 : -ENOMEM;
}

void pvvas_clones_exit(void)
{
	destroy_workqueue(pvvas_clone_wq);
}
