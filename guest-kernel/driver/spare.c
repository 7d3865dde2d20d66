// SPDX-License-Identifier: GPL-2.0-only
/*
 * Spare views: a process that detaches keeps one view for its next attach.  That need
 * not allocate tables, nor KVM learn them again.
 *
 * Where the thread that detaches is the only one, the view shows nothing any more and
 * stays in its slot: the next attach needs no hypercall.  Else other threads may enter
 * it, so it is taken out of its slot and stays with the space that it had until that
 * goes: if that is the one to attach all it takes is a place in the list.
 *
 * A process has one at most, and all together PVVAS_SPARES: the oldest goes first,
 * and all go when the hypervisor has no room for another view.  Under pvvas_lock.
 */
#include "ept.h"

#define PVVAS_SPARES	64

/* struct pvvas_view.spare, the oldest first. */
static LIST_HEAD(pvvas_spares);
static u32 pvvas_nr_spares;

static struct pvvas_view *pvvas_spare_forget(struct pvvas_proc *proc)
{
	struct pvvas_view *view = proc->spare;

	if (!view)
		return NULL;
	list_del(&view->spare);
	pvvas_nr_spares--;
	proc->spare = NULL;
	view->proc = NULL;
	return view;
}

/* The one of this process, or NULL. */
struct pvvas_view *pvvas_spare_take(struct pvvas_proc *proc)
{
	lockdep_assert_held(&pvvas_lock);
	return pvvas_spare_forget(proc);
}

/* False: none has gone. */
static bool pvvas_spare_drop(void)
{
	struct pvvas_view *view = list_first_entry_or_null(&pvvas_spares,
							   struct pvvas_view,
							   spare);

	if (!view || pvvas_view_free(view))
		return false;
	return true;
}

/* Make room for views; false: there is none to be made. */
bool pvvas_spares_drop(void)
{
	bool some = false;

	lockdep_assert_held(&pvvas_lock);
	while (pvvas_spare_drop())
		some = true;
	return some;
}

static bool pvvas_spare_add(struct pvvas_proc *proc, struct pvvas_view *view)
{
	lockdep_assert_held(&pvvas_lock);
	if (proc->spare)
		return false;
	if (pvvas_nr_spares >= PVVAS_SPARES && !pvvas_spare_drop())
		return false;
	proc->spare = view;
	view->proc = proc;
	list_add_tail(&view->spare, &pvvas_spares);
	pvvas_nr_spares++;
	return true;
}

/*
 * No thread is in the view, and it is in no slot: keep it or free it.  Refused by
 * the hypervisor: nothing has changed.
 */
long pvvas_spare_put(struct pvvas_proc *proc, struct pvvas_view *view)
{
	return pvvas_spare_add(proc, view) ? 0 : pvvas_view_free(view);
}

/*
 * No thread is in the view, and none but the current one could enter it: keep it in
 * its slot, with nothing in it.  False: the process has a spare view.
 */
bool pvvas_spare_keep(struct pvvas_proc *proc, struct pvvas_view *view)
{
	if (!pvvas_spare_add(proc, view))
		return false;
	pvvas_view_name(view, 0);
	pvvas_view_empty(view);
	return true;
}

/* The view goes, spare or not. */
void pvvas_spare_gone(struct pvvas_view *view)
{
	if (view->proc)
		pvvas_spare_forget(view->proc);
}
