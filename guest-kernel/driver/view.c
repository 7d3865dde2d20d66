// SPDX-License-Identifier: GPL-2.0-only
/*
 * Views: what one attachment of a process sees.
 *
 *   root (level 4)
 *     RAM: level 3 tables that all views share, 1 GiB an entry
 *     512 GiB where the window begins: the identity page below tables of the view's
 *	own, or one, and RAM before the window
 *     the others: the tops of a space (space.c), with the rights of the attachment
 *
 * A small window has no whole 512 GiB for segments.  Then the view's own level 3
 * table has copies of the entries of the space's only top.
 *
 * The plain view is one for all processes: RAM and an identity page.
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include "ept.h"
#include "hv.h"
#include "refused.h"

/* By KVM's id, for demand faults: RCU. */
static DEFINE_XARRAY(pvvas_views);

static struct pvvas_view *pvvas_plain;

/* Level 3 tables of RAM; NULL where the window is, too. */
static u64 *pvvas_ram[PVVAS_PTRS];

/* Physical addresses that four levels reach. */
static u64 pvvas_phys_end(void)
{
	return 1ULL << min_t(u32, boot_cpu_data.x86_phys_bits, PVVAS_VIEW_BITS);
}

static bool pvvas_gpa_in_window(u64 gpa)
{
	return gpa >= pvvas_window.base && gpa < pvvas_window.end;
}

/* The window touches the 512 GiB around @gpa. */
static bool pvvas_has_window(u64 gpa)
{
	u64 start = ALIGN_DOWN(gpa, PVVAS_TOP_SIZE);

	return start < pvvas_window.end &&
	       start + PVVAS_TOP_SIZE > pvvas_window.base;
}

/* Segments have whole 512 GiB: views lead to the tops of their space. */
bool pvvas_tops_shared(void)
{
	return pvvas_window.base >> PVVAS_TOP_SHIFT !=
	       pvvas_window.first >> PVVAS_TOP_SHIFT;
}

static u32 pvvas_root_index(u64 gpa)
{
	return (gpa >> PVVAS_TOP_SHIFT) % PVVAS_PTRS;
}

static u32 pvvas_gib_index(u64 gpa)
{
	return (gpa >> PUD_SHIFT) % PVVAS_PTRS;
}

/* Which of the 512 GiB of segments @gpa is in. */
u32 pvvas_top_number(u64 gpa)
{
	return (gpa >> PVVAS_TOP_SHIFT) -
	       (pvvas_window.first >> PVVAS_TOP_SHIFT);
}

u32 pvvas_tops(void)
{
	return pvvas_top_number(pvvas_window.end - 1) + 1;
}

/* All that is not window, as it is: RAM, devices, holes. */
static void pvvas_fill_ram(u64 *table, u64 gpa)
{
	u64 at = ALIGN_DOWN(gpa, PVVAS_TOP_SIZE);
	u32 i;

	for (i = 0; i < PVVAS_PTRS; i++, at += PUD_SIZE)
		if (!pvvas_gpa_in_window(at) && at < pvvas_phys_end())
			table[i] = at | PVVAS_PROT_ALL | PVVAS_EPT_WB |
				   PVVAS_EPT_LARGE;
}

/*
 * The tables to the identity page, and that.
 *
 * Where there is nothing else in the 512 GiB around it, one page is all three of
 * them, the ladder.  Its entry 0, as one of level 3, leads to the page itself, and so
 * does entry 1, as one of level 2; entry 2, as one of level 1, maps the identity page.
 * At other levels, which no program reaches (window.c), the first two map the ladder
 * itself, to read, and the third one is not valid.
 */
static int pvvas_view_build_identity(struct pvvas_view *view, gfp_t gfp)
{
	u64 first = pvvas_window.identity, **own = view->own, *level2, *level1;
	u32 i;

	view->identity = (void *)pvvas_table_new(0, gfp);
	if (!view->identity)
		return -ENOMEM;
	for (i = 0; i < (pvvas_window.ladder ? 1 : ARRAY_SIZE(view->own)); i++) {
		own[i] = pvvas_table_new(0, gfp);
		if (!own[i])
			return -ENOMEM;
	}
	level2 = own[1] ?: own[0];
	level1 = own[2] ?: own[0];
	/* RAM may be in the same 512 GiB. */
	pvvas_fill_ram(own[0], first);
	own[0][pvvas_gib_index(first)] = pvvas_entry_to(level2, PVVAS_PROT_READ);
	level2[(first >> PMD_SHIFT) % PVVAS_PTRS] =
		pvvas_entry_to(level1, PVVAS_PROT_READ);
	level1[(first >> PAGE_SHIFT) % PVVAS_PTRS] =
		virt_to_phys(view->identity) | PVVAS_PROT_READ | PVVAS_EPT_WB;
	view->root[pvvas_root_index(first)] = pvvas_entry_to(own[0],
							     PVVAS_PROT_ALL);
	return 0;
}

static int pvvas_view_build(struct pvvas_view *view, gfp_t gfp)
{
	u64 gpa;
	u32 i;

	view->root = pvvas_table_new(0, gfp);
	if (!view->root)
		return -ENOMEM;
	for (gpa = 0; gpa < pvvas_phys_end(); gpa += PVVAS_TOP_SIZE) {
		i = pvvas_root_index(gpa);
		if (pvvas_ram[i])
			view->root[i] = pvvas_entry_to(pvvas_ram[i],
						       PVVAS_PROT_ALL);
	}
	return pvvas_view_build_identity(view, gfp);
}

static void pvvas_view_destroy_tables(struct pvvas_view *view, bool known)
{
	LIST_HEAD(list);
	u32 i;

	pvvas_table_discard(&list, view->root);
	for (i = 0; i < ARRAY_SIZE(view->own); i++)
		pvvas_table_discard(&list, view->own[i]);
	pvvas_tables_free(&list, known);
	/* No table, but what one of them led to. */
	pvvas_table_free((u64 *)view->identity);
}

static struct pvvas_view *pvvas_view_alloc(u64 ctx, u64 cookie, gfp_t gfp)
{
	struct pvvas_view *view;

	view = kzalloc(sizeof(*view), gfp | __GFP_ACCOUNT);
	if (!view)
		return NULL;
	view->ctx = ctx;
	INIT_LIST_HEAD(&view->in_space);
	if (pvvas_view_build(view, gfp)) {
		pvvas_view_destroy_tables(view, false);
		kfree(view);
		return NULL;
	}
	view->identity->magic = PVVAS_IDENTITY_MAGIC;
	view->identity->cookie = cookie;
	view->identity->ctx = ctx;
	return view;
}

/* Change an entry of a table of the view's own.  True: KVM may know the old one. */
static bool pvvas_view_entry(u64 *entry, u64 new)
{
	u64 old = *entry;

	/* The table before what leads to it. */
	smp_wmb();
	WRITE_ONCE(*entry, new);
	return pvvas_entry_present(old) && old != new;
}

/* Let the view's 512 GiB around @gpa be what is below @table, a top of its space. */
bool pvvas_view_lead(struct pvvas_view *view, u64 gpa, u64 *table)
{
	if (table)
		pvvas_range_add(&view->led, pvvas_top_number(gpa));
	return pvvas_view_entry(&view->root[pvvas_root_index(gpa)],
				table ? pvvas_entry_to(table, view->prot) : 0);
}

static u64 pvvas_entry_less(u64 entry, u32 prot)
{
	return pvvas_entry_present(entry) ? entry & ~(u64)(PVVAS_RW & ~prot) :
					    entry;
}

/*
 * The entry of the GiB around @gpa has changed in a top of the space.  Views whose
 * RAM is in the same table have copies, with the rights of the attachment.
 * space->lock is held, as for the next one.
 */
void pvvas_views_set(struct pvvas_space *space, u64 gpa, u64 entry)
{
	struct pvvas_view *view;

	if (pvvas_tops_shared())
		return;
	list_for_each_entry(view, &space->views, in_space)
		WRITE_ONCE(view->own[0][pvvas_gib_index(gpa)],
			   pvvas_entry_less(entry, view->prot));
}

/* So have @count entries that KVM may know. */
void pvvas_views_invalidate(struct pvvas_space *space, u64 gpa, u32 count)
{
	struct pvvas_view *view;

	if (!space->shown)
		return;
	if (pvvas_tops_shared()) {
		pvvas_invalidate_more(space->tops[pvvas_top_number(gpa)],
				 pvvas_gib_index(gpa), count);
		return;
	}
	list_for_each_entry(view, &space->views, in_space)
		pvvas_invalidate_more(view->own[0], pvvas_gib_index(gpa), count);
}

/*
 * To the tops of the space, or nowhere (NULL), and away from those of the one before.
 * A window can have very many.
 */
static bool pvvas_view_lead_tops(struct pvvas_view *view,
				 struct pvvas_space *space)
{
	struct pvvas_range tops = view->led;
	u64 first = ALIGN_DOWN(pvvas_window.first, PVVAS_TOP_SIZE);
	bool lost = false;
	u32 i;

	if (space && space->used.end) {
		pvvas_range_add(&tops, space->used.first);
		pvvas_range_add(&tops, space->used.end - 1);
	}
	view->led = (struct pvvas_range) {};
	for (i = tops.first; i < tops.end; i++)
		lost |= pvvas_view_lead(view, first + i * PVVAS_TOP_SIZE,
					space ? space->tops[i] : NULL);
	return lost;
}

/* To all that is in the space, or nowhere (NULL); the space's lock is held. */
static bool pvvas_view_lead_all(struct pvvas_view *view,
				struct pvvas_space *space)
{
	u64 gpa = pvvas_window.first, *top;
	bool lost = false;

	if (pvvas_tops_shared())
		return pvvas_view_lead_tops(view, space);
	top = space ? space->tops[0] : NULL;
	for (; gpa < pvvas_window.end; gpa += PUD_SIZE)
		lost |= pvvas_view_entry(&view->own[0][pvvas_gib_index(gpa)],
					 top ? pvvas_entry_less(top[pvvas_gib_index(gpa)],
								view->prot) :
					       PVVAS_EPT_DEMAND);
	return lost;
}

/* What it shows stays until it shows something else. */
static void pvvas_view_leave(struct pvvas_view *view)
{
	struct pvvas_space *space = view->space;
	unsigned long flags;

	if (!space)
		return;
	spin_lock_irqsave(&space->lock, flags);
	list_del_init(&view->in_space);
	spin_unlock_irqrestore(&space->lock, flags);
}

/* KVM may know entries that led to the segments. */
static void pvvas_view_forget(struct pvvas_view *view)
{
	if (pvvas_tops_shared())
		pvvas_invalidate_more(view->root,
				 pvvas_root_index(pvvas_window.first),
				 pvvas_tops());
	else
		pvvas_invalidate_more(view->own[0],
				 pvvas_gib_index(pvvas_window.first),
				 (pvvas_window.end - pvvas_window.first) >>
				 PUD_SHIFT);
}

/* Show nothing but RAM from now on.  pvvas_lock is held. */
void pvvas_view_empty(struct pvvas_view *view)
{
	if (!view->space)
		return;
	pvvas_view_leave(view);
	WRITE_ONCE(view->space, NULL);
	if (pvvas_view_lead_all(view, NULL))
		pvvas_view_forget(view);
}

/* The space goes: spare views that have it have none then. */
void pvvas_views_leave(struct pvvas_space *space)
{
	struct pvvas_view *view, *next;

	list_for_each_entry_safe(view, next, &space->views, in_space)
		pvvas_view_empty(view);
}

/* True: KVM may know what the view showed before. */
static bool pvvas_view_join(struct pvvas_view *view, struct pvvas_space *space,
			    u32 prot)
{
	unsigned long flags;
	bool lost;

	view->prot = prot & PVVAS_RW;
	/* Demand faults look at it under RCU. */
	smp_store_release(&view->space, space);
	spin_lock_irqsave(&space->lock, flags);
	space->shown = true;
	list_add(&view->in_space, &space->views);
	lost = pvvas_view_lead_all(view, space);
	spin_unlock_irqrestore(&space->lock, flags);
	return lost;
}

static long pvvas_view_create(struct pvvas_view *view)
{
	u64 root = virt_to_phys(view->root), cookie = view->identity->cookie;
	long ret = pvvas_hc_view_create(view->ctx, 0, root, cookie);

	if (ret == -ENOSPC && pvvas_spares_drop())
		ret = pvvas_hc_view_create(view->ctx, 0, root, cookie);
	if (ret == -ENOSPC)
		pvvas_limit_reached(PVVAS_LIMIT_HYPERVISOR);
	return ret;
}

static int pvvas_view_make(struct pvvas_proc *proc, u32 handle,
			   struct pvvas_space *space, u32 prot,
			   struct pvvas_view **made)
{
	struct pvvas_view *view;
	long ret;

	view = pvvas_view_alloc(proc->ctx, handle, PVVAS_GFP_LOCKED);
	if (!view)
		return -ENOMEM;
	pvvas_view_join(view, space, prot);
	ret = pvvas_view_create(view);
	if (ret <= 0) {
		pvvas_view_leave(view);
		pvvas_view_destroy_tables(view, false);
		kfree(view);
		return ret ?: -EIO;
	}
	*made = view;
	view->id = ret;
	view->identity->view = ret;
	if (pvvas_inject())
		return -ENOMEM;
	return xa_err(xa_store(&pvvas_views, view->id, view,
			       PVVAS_GFP_LOCKED | __GFP_ACCOUNT));
}

/* It is the view of this handle from now on; 0: of none. */
void pvvas_view_name(struct pvvas_view *view, u32 handle)
{
	/* No handle, and not home either. */
	WRITE_ONCE(view->identity->cookie, handle ?: PVVAS_HANDLE);
	WRITE_ONCE(view->identity->generation, view->identity->generation + 1);
}

/*
 * A view for the process that shows @space with the rights @prot; it may have a slot.
 * In *made as soon as KVM has it, also where an error comes later: pvvas_view_free()
 * then.  pvvas_lock is held.
 */
int pvvas_view_new(struct pvvas_proc *proc, u32 handle, struct pvvas_space *space,
		   u32 prot, struct pvvas_view **made)
{
	struct pvvas_view *view = pvvas_spare_take(proc);

	if (!view)
		return pvvas_view_make(proc, handle, space, prot, made);
	pvvas_view_change(view, space, prot);
	pvvas_view_name(view, handle);
	*made = view;
	return 0;
}

/* Show another space, with other rights, from now on. */
void pvvas_view_change(struct pvvas_view *view, struct pvvas_space *space,
		       u32 prot)
{
	pvvas_view_leave(view);
	if (pvvas_view_join(view, space, prot))
		pvvas_view_forget(view);
}

/* KVM has it no more. */
void pvvas_view_end(struct pvvas_view *view)
{
	pvvas_spare_gone(view);
	xa_erase(&pvvas_views, view->id);
	pvvas_view_leave(view);
	pvvas_view_destroy_tables(view, true);
	kfree_rcu(view, rcu);
}

/* No thread is in it.  Refused: nothing has changed. */
long pvvas_view_free(struct pvvas_view *view)
{
	long ret;

	ret = pvvas_hc_view_destroy(view->id);
	if (!pvvas_hc_gone(ret))
		return ret;
	pvvas_view_end(view);
	return 0;
}

/* Slot 0: out of its slot. */
long pvvas_view_place(struct pvvas_view *view, u32 slot)
{
	u32 old = view->identity->slot;
	long ret;

	if (!slot) {
		if (!view->slot)
			return 0;
		ret = pvvas_hc_view_place(view->ctx, view->slot, 0);
		if (pvvas_hc_gone(ret))
			view->slot = 0;
		return ret;
	}
	/* Right before a thread can come in. */
	WRITE_ONCE(view->identity->slot, slot);
	ret = pvvas_hc_view_place(view->ctx, slot, view->id);
	if (ret < 0) {
		WRITE_ONCE(view->identity->slot, old);
		return ret;
	}
	view->slot = slot;
	WRITE_ONCE(view->identity->generation, view->identity->generation + 1);
	return 0;
}

/*
 * What the demand fault of this CPU is about; interrupts are off since then.
 * False: not one of ours.
 */
bool pvvas_demand_read(struct pvvas_demand *demand)
{
	unsigned long cr2 = native_read_cr2();
	u64 va = cr2 & ~(u64)(PVVAS_CR2_WRITE | PVVAS_CR2_EXEC);
	struct pvvas_space *space;
	struct pvvas_view *view;

	/* Without a context there is no view, and no identity page. */
	if (!this_cpu_read(pvvas_cpu.ctx) || cr2 >> 63 ||
	    va - PVVAS_WINDOW_VA >= pvvas_window.size)
		return false;
	demand->address = va;
	demand->access = cr2 & PVVAS_CR2_WRITE ? PVVAS_PROT_WRITE :
			 cr2 & PVVAS_CR2_EXEC ? PVVAS_PROT_EXEC :
			 PVVAS_PROT_READ;
	rcu_read_lock();
	demand->view = READ_ONCE(pvvas_identity->view);
	view = xa_load(&pvvas_views, demand->view);
	/*
	 * Where nothing is attached, or not any more, nothing is to be had.
	 * Pairs with the release in pvvas_view_join().
	 */
	space = view ? smp_load_acquire(&view->space) : NULL;
	if (!space || !pvvas_space_find(space, demand)) {
		demand->seg = NULL;
		demand->offset = 0;
		demand->refused = true;
	} else if (demand->access & ~READ_ONCE(view->prot)) {
		demand->refused = true;
	}
	rcu_read_unlock();
	return true;
}

/* The segment has the page: let the view lead there.  0 or -ENOMEM. */
int pvvas_demand_link(const struct pvvas_demand *demand)
{
	struct pvvas_space *space;
	struct pvvas_view *view;
	int ret = 0;

	rcu_read_lock();
	view = xa_load(&pvvas_views, demand->view);
	/* As in pvvas_demand_read(). */
	space = view ? smp_load_acquire(&view->space) : NULL;
	if (space)
		ret = pvvas_space_follow(space,
					 pvvas_va_to_gpa(demand->address));
	rcu_read_unlock();
	return ret;
}

u64 pvvas_plain_root(void)
{
	return virt_to_phys(pvvas_plain->root);
}

static int pvvas_ram_init(void)
{
	u64 gpa;

	for (gpa = 0; gpa < pvvas_phys_end(); gpa += PVVAS_TOP_SIZE) {
		u64 **table = &pvvas_ram[pvvas_root_index(gpa)];

		if (pvvas_has_window(gpa))
			continue;
		*table = pvvas_table_new(0, GFP_KERNEL);
		if (!*table)
			return -ENOMEM;
		pvvas_fill_ram(*table, gpa);
	}
	return 0;
}

int pvvas_views_init(void)
{
	int ret = pvvas_ram_init();

	if (!ret)
		pvvas_plain = pvvas_view_alloc(0, 0, GFP_KERNEL);
	if (!ret && !pvvas_plain)
		ret = -ENOMEM;
	if (ret)
		pvvas_views_exit();
	return ret;
}

/* No view is left that leads here. */
void pvvas_views_exit(void)
{
	LIST_HEAD(list);
	u32 i;

	if (pvvas_plain) {
		pvvas_view_destroy_tables(pvvas_plain, true);
		kfree(pvvas_plain);
		pvvas_plain = NULL;
	}
	for (i = 0; i < PVVAS_PTRS; i++) {
		pvvas_table_discard(&list, pvvas_ram[i]);
		pvvas_ram[i] = NULL;
	}
	pvvas_tables_free(&list, true);
}
