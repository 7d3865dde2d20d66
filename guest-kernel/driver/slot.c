// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slots of a process's EPTP list, as a cache of its views.
 *
 * A view leaves its slot only if no thread is in it, because a thread that is
 * preempted goes back to the slot that it left.  Which threads are in a view?
 *
 *   - a thread that does not run, or has left its view for a while (uring.c): its
 *     struct pvvas_thread says so;
 *   - any other thread that runs: only its CPU knows, from the identity page, since
 *     VMFUNC tells nothing.  So each CPU is asked, by an interrupt.
 *
 * With proc->moving set and each CPU interrupted once, no thread of the process
 * goes from the first kind to the second until moving is clear again
 * (pvvas_sched_in() and pvvas_thread_step_in() wait, and read it with interrupts
 * off).  Running threads
 * can still enter by VMFUNC until the view is out of the list: so it is taken
 * out, every CPU is asked once more, and if a thread got in it is put back.
 * Threads that were preempted meanwhile have not noticed.  If the hypervisor
 * refuses to put it back the slot stays its own, empty: a thread that goes back
 * to it finds the plain view, and not another one.
 *
 * Where the current thread is the only one, as it mostly is, no CPU is to be asked.
 *
 * Preemption is off while moving is set: a thread that waits for it does so on
 * another CPU, with interrupts on, and answers.
 *
 * All of this runs under pvvas_lock.
 */
#include <linux/smp.h>
#include "ept.h"
#include "hv.h"
#include "trace.h"

struct pvvas_poll {
	const struct pvvas_proc *proc;
	u32 handle;
	bool busy;
	bool leaving;
};

static void pvvas_poll_note(struct pvvas_poll *poll, bool leaving)
{
	if (leaving)
		WRITE_ONCE(poll->leaving, true);
	else
		WRITE_ONCE(poll->busy, true);
}

/* On each CPU, in an interrupt. */
static void pvvas_poll_cpu(void *arg)
{
	struct pvvas_cpu *cpu = this_cpu_ptr(&pvvas_cpu);
	struct pvvas_poll *poll = arg;

	if (cpu->ctx != poll->proc->ctx ||
	    READ_ONCE(pvvas_identity->ctx) != poll->proc->ctx ||
	    READ_ONCE(pvvas_identity->cookie) != poll->handle)
		return;
	if (cpu->running && cpu->running->proc == poll->proc)
		pvvas_poll_note(poll, current->flags & PF_EXITING);
	else
		/* A bystander's VMFUNC; it has no window and sees nothing. */
		pvvas_vmfunc(0);
}

/* -EBUSY if a thread is in the view; -EAGAIN if all that are there exit. */
static int pvvas_slot_occupied(struct pvvas_att *att)
{
	struct pvvas_poll poll = { .proc = att->proc, .handle = att->handle };
	struct pvvas_thread *t;

	on_each_cpu(pvvas_poll_cpu, &poll, 1);
	spin_lock(&att->proc->lock);
	list_for_each_entry(t, &att->proc->threads, node)
		if ((!READ_ONCE(t->running) && READ_ONCE(t->slot) == att->slot) ||
		    READ_ONCE(t->kept) == att->slot)
			pvvas_poll_note(&poll, READ_ONCE(t->leaving));
	spin_unlock(&att->proc->lock);
	if (READ_ONCE(poll.busy))
		return -EBUSY;
	return READ_ONCE(poll.leaving) ? -EAGAIN : 0;
}

/* Only the current thread could enter a view of the process. */
static bool pvvas_slot_alone(struct pvvas_proc *proc)
{
	struct pvvas_thread *t;
	bool alone;

	spin_lock(&proc->lock);
	t = list_first_entry_or_null(&proc->threads, struct pvvas_thread, node);
	alone = t && t->task == current && list_is_singular(&proc->threads);
	spin_unlock(&proc->lock);
	return alone;
}

/* The current thread, which is the only one, is in the view. */
static bool pvvas_slot_has_us(struct pvvas_att *att)
{
	struct pvvas_poll poll = { .proc = att->proc, .handle = att->handle };

	local_irq_disable();
	pvvas_poll_cpu(&poll);
	local_irq_enable();
	return poll.busy || poll.leaving;
}

static int pvvas_slot_take_out_alone(struct pvvas_att *att)
{
	long ret;

	if (pvvas_slot_has_us(att))
		return -EBUSY;
	ret = pvvas_view_place(att->view, 0);
	return pvvas_hc_gone(ret) ? 0 : ret;
}

static int pvvas_slot_take_out(struct pvvas_att *att)
{
	int busy;
	long ret;

	busy = pvvas_slot_occupied(att);
	if (busy)
		return busy;
	ret = pvvas_view_place(att->view, 0);
	if (!pvvas_hc_gone(ret))
		return ret;
	busy = pvvas_slot_occupied(att);
	if (busy) {
		ret = pvvas_view_place(att->view, att->slot);
		att->lost = ret < 0;
		return busy;
	}
	return 0;
}

/* The slot is no attachment's; maybe still the view's. */
void pvvas_slot_forget(struct pvvas_att *att)
{
	att->proc->slots[att->slot] = NULL;
	__clear_bit(att->slot, att->proc->taken);
	att->slot = 0;
	att->lost = false;
}

/*
 * -EBUSY if a thread is in the view, -EAGAIN if only threads that exit are, which
 * may still touch it in the kernel (robust futexes) but will be out of it soon.
 */
int pvvas_slot_vacate(struct pvvas_att *att)
{
	int ret;

	if (!att->slot)
		return 0;
	if (pvvas_slot_alone(att->proc)) {
		ret = pvvas_slot_take_out_alone(att);
	} else {
		preempt_disable();
		WRITE_ONCE(att->proc->moving, true);
		ret = pvvas_slot_take_out(att);
		WRITE_ONCE(att->proc->moving, false);
		preempt_enable();
	}
	if (ret)
		return ret;
	pvvas_slot_forget(att);
	return 0;
}

/*
 * Make the view of an attachment that goes the process's spare one, where that is
 * possible without taking it out of its slot.  False: it is not; or a thread is in it.
 */
bool pvvas_slot_keep(struct pvvas_att *att)
{
	if (!att->slot || att->lost || !pvvas_slot_alone(att->proc) ||
	    pvvas_slot_has_us(att) || !pvvas_spare_keep(att->proc, att->view))
		return false;
	pvvas_slot_forget(att);
	return true;
}

/* One that no attachment has, and then the one of the spare view; or 0. */
static u32 pvvas_slot_free(struct pvvas_proc *proc)
{
	struct pvvas_view *spare = proc->spare;
	u32 i, kept = spare ? spare->slot : 0;

	i = find_next_zero_bit(proc->taken, pvvas_hv.slots, 1);
	if (i == kept)
		i = find_next_zero_bit(proc->taken, pvvas_hv.slots, i + 1);
	if (i < pvvas_hv.slots)
		return i;
	return kept && pvvas_hc_gone(pvvas_view_place(spare, 0)) ? kept : 0;
}

/* Which slots of the process threads are in. */
struct pvvas_census {
	const struct pvvas_proc *proc;
	DECLARE_BITMAP(used, PVVAS_NR_SLOTS);
};

/* On each CPU, in an interrupt. */
static void pvvas_census_cpu(void *arg)
{
	struct pvvas_cpu *cpu = this_cpu_ptr(&pvvas_cpu);
	struct pvvas_census *census = arg;

	if (cpu->running && cpu->running->proc == census->proc &&
	    READ_ONCE(pvvas_identity->ctx) == census->proc->ctx)
		set_bit(READ_ONCE(pvvas_identity->slot) % PVVAS_NR_SLOTS,
			census->used);
}

static void pvvas_census_take(struct pvvas_proc *proc,
			      struct pvvas_census *census)
{
	struct pvvas_thread *t;

	census->proc = proc;
	bitmap_zero(census->used, PVVAS_NR_SLOTS);
	if (pvvas_slot_alone(proc)) {
		local_irq_disable();
		pvvas_census_cpu(census);
		local_irq_enable();
		return;
	}
	on_each_cpu(pvvas_census_cpu, census, 1);
	spin_lock(&proc->lock);
	list_for_each_entry(t, &proc->threads, node) {
		if (!READ_ONCE(t->running))
			set_bit(READ_ONCE(t->slot) % PVVAS_NR_SLOTS,
				census->used);
		set_bit(READ_ONCE(t->kept) % PVVAS_NR_SLOTS, census->used);
	}
	spin_unlock(&proc->lock);
}

/* Slots that threads enter between the census and the attempt to take them. */
#define PVVAS_SLOT_TRIES	8

/*
 * A free slot, made free if need be; -EBUSY if threads are in all of them.  All CPUs
 * are asked once which slots are in use, and not again for each of these.
 */
static int pvvas_slot_find(struct pvvas_proc *proc)
{
	struct pvvas_census census;
	u32 i, slot = proc->hand, handle, tries = 0;

	i = pvvas_slot_free(proc);
	if (i)
		return i;
	pvvas_census_take(proc, &census);
	for (i = 1; i < pvvas_hv.slots && tries < PVVAS_SLOT_TRIES; i++) {
		slot = slot + 1 < pvvas_hv.slots ? slot + 1 : 1;
		if (test_bit(slot, census.used))
			continue;
		handle = proc->slots[slot]->handle;
		tries++;
		if (pvvas_slot_vacate(proc->slots[slot]))
			continue;
		proc->hand = slot;
		trace_pvvas_evict(handle, slot);
		return slot;
	}
	return -EBUSY;
}

int pvvas_slot_fill(struct pvvas_att *att)
{
	struct pvvas_proc *proc = att->proc;
	int slot = att->slot;
	long ret;

	if (slot && !att->lost)
		return 0;
	/* The view was a spare one, which has kept its slot. */
	if (!slot && att->view->slot) {
		slot = att->view->slot;
		goto found;
	}
	if (!slot)
		slot = pvvas_slot_find(proc);
	if (slot < 0)
		return slot;
	ret = pvvas_view_place(att->view, slot);
	if (ret < 0)
		return ret;
found:
	att->slot = slot;
	att->lost = false;
	proc->slots[slot] = att;
	__set_bit(slot, proc->taken);
	return 0;
}
