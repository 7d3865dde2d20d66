// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables of views, as a guest kernel would build them, written by the host into
 * memory that both see.
 *
 * A view has its own tables down to level 2; its entries of 2 MiB lead to the
 * level 1 tables of segments, which all views share, or map 2 MiB themselves.
 */
#include <string.h>

#include "vm.h"

#define MAX_SEGS	128
#define MAX_VIEWS	1024
#define MAX_ATTS	2048
#define MAX_PARTS	1024	/* 2 MiB each, of a segment */

#define TABLE		((uint64_t)PVVAS_PROT_ALL)
#define GIB_ENTRIES	512

struct seg {
	struct vm *vm;
	uint64_t va;
	uint32_t parts;
	uint32_t flags;
	/* of each 2 MiB: what an entry of level 2 is to be */
	uint64_t entry[MAX_PARTS];
};

struct view {
	uint64_t id;
	uint64_t *root;
};

struct att {
	uint64_t view, seg;
	uint32_t prot;
};

static struct seg *segs[MAX_SEGS];
static struct view views[MAX_VIEWS];
static struct att atts[MAX_ATTS];
static unsigned int nr_segs, nr_views, nr_atts;
static uint64_t *ram_gibs;
/* roots of views that are gone, with nothing attached */
static uint64_t *spare[MAX_VIEWS];
static unsigned int nr_spare;

static void set(uint64_t *entry, uint64_t val)
{
	*(volatile uint64_t *)entry = val;
}

static uint64_t *table_of(uint64_t entry)
{
	return (uint64_t *)(entry & PVVAS_EPT_ADDR);
}

static uint64_t *next_table(uint64_t *entry)
{
	if (!(*entry & PVVAS_PROT_ALL))
		set(entry, (uint64_t)vm_shared(PAGE) | TABLE);
	return table_of(*entry);
}

uint64_t window_gpa(struct vm *vm, uint64_t va)
{
	return va - WINDOW_VA + vm->config.window_gpa;
}

uint64_t *root_gib(struct vm *vm, uint64_t *root, uint64_t va)
{
	uint64_t gpa = window_gpa(vm, va);

	return next_table(&root[gpa >> 39 & 511]) + (gpa >> 30 & 511);
}

uint64_t *root_2mib(struct vm *vm, uint64_t *root, uint64_t va)
{
	return next_table(root_gib(vm, root, va)) +
	       (window_gpa(vm, va) >> 21 & 511);
}

struct pvvas_identity *root_identity(uint64_t *root)
{
	/* kept in an entry that no address of a test uses */
	return (struct pvvas_identity *)(root[511] & PVVAS_EPT_ADDR);
}

uint64_t *root_new(struct vm *vm)
{
	struct pvvas_identity *id;
	uint64_t *root, i;

	if (nr_spare) {
		root = spare[--nr_spare];
		id = root_identity(root);
		memset(id, 0, sizeof(*id));
		id->magic = PVVAS_IDENTITY_MAGIC;
		return root;
	}
	id = vm_shared(PAGE);
	root = vm_shared(PAGE);

	if (!ram_gibs) {
		ram_gibs = vm_shared(PAGE);
		for (i = 0; i < GIB_ENTRIES; i++)
			ram_gibs[i] = i * GIB | TABLE | PVVAS_EPT_WB |
				      PVVAS_EPT_LARGE;
	}
	root[0] = (uint64_t)ram_gibs | TABLE;
	root[511] = (uint64_t)id;	/* not present */
	id->magic = PVVAS_IDENTITY_MAGIC;
	set(next_table(root_2mib(vm, root, WINDOW_VA)),
	    (uint64_t)id | PVVAS_PROT_READ | PVVAS_EPT_WB);
	return root;
}

static void invalidate(struct vcpu *v, uint64_t *entry, uint64_t count)
{
	uint64_t table = (uint64_t)entry & ~(PAGE - 1);

	check_eq(vcpu_hc(v, PVVAS_HC_INVALIDATE, table,
			 ((uint64_t)entry - table) / 8, count), 1);
}

/* Segments */

static struct seg *seg_of(uint64_t id)
{
	check(id && id <= nr_segs);
	return segs[id - 1];
}

static uint64_t empty(const struct seg *s)
{
	return s->flags & SEG_DEMAND ? PVVAS_EPT_DEMAND : 0;
}

uint64_t seg_new(struct vm *vm, uint64_t va, uint64_t size, uint32_t flags)
{
	struct seg *s = vm_shared(sizeof(*s));
	uint32_t i;

	check(nr_segs < MAX_SEGS && size <= MAX_PARTS * 2 * MIB);
	s->vm = vm;
	s->va = va;
	s->parts = size / (2 * MIB);
	s->flags = flags;
	for (i = 0; i < s->parts; i++)
		s->entry[i] = empty(s);
	segs[nr_segs++] = s;
	return nr_segs;
}

/* With what an attachment gives; an entry of a table is right with any. */
static uint64_t attached(uint64_t entry, uint32_t prot)
{
	return entry & ~(uint64_t)(PVVAS_PROT_ALL & ~prot);
}

/* Entry @i of @seg has changed: so do those of its views. */
static void put_part(struct vcpu *v, uint64_t seg, uint32_t i)
{
	struct seg *s = seg_of(seg);
	unsigned int k;

	for (k = 0; k < nr_atts; k++) {
		uint64_t *e, val;

		if (atts[k].seg != seg)
			continue;
		e = root_2mib(s->vm, view_root(atts[k].view),
			      s->va + i * 2 * MIB);
		val = attached(s->entry[i], atts[k].prot);
		if (*e == val)
			continue;
		if (*e & PVVAS_PROT_ALL) {
			set(e, val);
			invalidate(v, e, 1);
		} else {
			set(e, val);
		}
	}
}

static uint64_t *part_table(struct vcpu *v, uint64_t seg, uint32_t i)
{
	struct seg *s = seg_of(seg);
	uint64_t old = s->entry[i], *table, k;

	if (old & PVVAS_PROT_ALL && !(old & PVVAS_EPT_LARGE))
		return table_of(old);
	table = vm_shared(PAGE);
	for (k = 0; k < 512; k++)
		table[k] = old & PVVAS_PROT_ALL ?
			   (old & ~PVVAS_EPT_LARGE) + k * PAGE : empty(s);
	s->entry[i] = (uint64_t)table | TABLE;
	put_part(v, seg, i);
	return table;
}

uint64_t *seg_table(uint64_t seg, uint64_t offset)
{
	return part_table(NULL, seg, offset / (2 * MIB));
}

/* Give entries of one table new values, and invalidate those that were present. */
static void change_small(struct vcpu *v, uint64_t seg, uint64_t offset,
			 uint64_t size, uint64_t gpa, uint64_t prot, bool keep)
{
	struct seg *s = seg_of(seg);
	uint64_t *e = part_table(v, seg, offset / (2 * MIB)) +
		      offset / PAGE % 512;
	uint64_t n = size / PAGE, i, val;
	bool was = false;

	for (i = 0; i < n; i++) {
		if (keep)
			val = e[i] & PVVAS_PROT_ALL ?
			      (e[i] & ~(uint64_t)PVVAS_PROT_ALL) | prot : e[i];
		else if (prot)
			val = (gpa + i * PAGE) | prot | PVVAS_EPT_WB | empty(s);
		else
			val = empty(s);
		was |= e[i] & PVVAS_PROT_ALL && e[i] != val;
		set(&e[i], val);
	}
	if (was)
		invalidate(v, e, n);
}

static void change(struct vcpu *v, uint64_t seg, uint64_t offset, uint64_t size,
		   uint64_t gpa, uint64_t prot, bool keep)
{
	struct seg *s = seg_of(seg);

	check(offset + size <= s->parts * 2 * MIB);
	while (size) {
		uint32_t i = offset / (2 * MIB);
		uint64_t n = (i + 1) * 2 * MIB - offset;
		bool whole;

		if (n > size)
			n = size;
		whole = n == 2 * MIB;
		if (whole && !keep && prot && !(s->flags & SEG_SMALL) &&
		    !(gpa & (2 * MIB - 1))) {
			s->entry[i] = gpa | prot | PVVAS_EPT_WB |
				      PVVAS_EPT_LARGE | empty(s);
			put_part(v, seg, i);
		} else if (whole && !keep && !prot) {
			s->entry[i] = empty(s);
			put_part(v, seg, i);
		} else if (whole && keep && s->entry[i] & PVVAS_EPT_LARGE) {
			s->entry[i] = (s->entry[i] & ~(uint64_t)PVVAS_PROT_ALL) |
				      prot;
			put_part(v, seg, i);
		} else {
			change_small(v, seg, offset, n, gpa, prot, keep);
		}
		offset += n;
		gpa += n;
		size -= n;
	}
}

void seg_map(struct vcpu *v, uint64_t seg, uint64_t offset, uint64_t gpa,
	     uint64_t size, uint32_t prot)
{
	change(v, seg, offset, size, gpa, prot, false);
}

void seg_unmap(struct vcpu *v, uint64_t seg, uint64_t offset, uint64_t size)
{
	change(v, seg, offset, size, 0, 0, false);
}

void seg_rights(struct vcpu *v, uint64_t seg, uint64_t offset, uint64_t size,
		 uint32_t prot)
{
	change(v, seg, offset, size, 0, prot, true);
}

/* Contexts and views */

uint64_t ctx_new(struct vcpu *v)
{
	return vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, root_new(v->vm), 0, 0);
}

static struct view *view_of(uint64_t id)
{
	unsigned int i;

	for (i = nr_views; i-- > 0;)
		if (views[i].id == id)
			return &views[i];
	host_fail(__FILE__, __LINE__, "no view %lu", id);
}

uint64_t *view_root(uint64_t view)
{
	return view_of(view)->root;
}

void view_placed(uint64_t view, uint32_t slot)
{
	struct pvvas_identity *id = root_identity(view_root(view));

	id->slot = slot;
	id->generation++;
}

uint64_t view_new(struct vcpu *v, uint64_t ctx, uint64_t slot, uint64_t cookie)
{
	struct pvvas_identity *id;
	struct view *view = &views[nr_views];
	long r;

	check(nr_views < MAX_VIEWS);
	view->root = root_new(v->vm);
	r = vcpu_hc4(v, PVVAS_HC_VIEW_CREATE, ctx, slot, (uint64_t)view->root,
		     cookie);
	if (r < 0)
		host_fail(__FILE__, __LINE__, "VIEW_CREATE: %ld", r);
	view->id = r;
	nr_views++;
	id = root_identity(view->root);
	id->view = r;
	id->ctx = ctx;
	id->cookie = cookie;
	if (slot)
		view_placed(r, slot);
	return r;
}

void view_attach(struct vcpu *v, uint64_t view, uint64_t seg, uint32_t prot)
{
	uint32_t i;

	(void)v;
	check(nr_atts < MAX_ATTS);
	atts[nr_atts++] = (struct att){ view, seg, prot };
	for (i = 0; i < seg_of(seg)->parts; i++)
		put_part(v, seg, i);
}

void view_detach(struct vcpu *v, uint64_t view, uint64_t seg)
{
	struct seg *s = seg_of(seg);
	unsigned int k;
	uint32_t i;

	for (k = 0; k < nr_atts; k++)
		if (atts[k].view == view && atts[k].seg == seg)
			break;
	check(k < nr_atts);
	atts[k] = atts[--nr_atts];
	for (i = 0; i < s->parts; i++)
		set(root_2mib(s->vm, view_root(view), s->va + i * 2 * MIB), 0);
	for (i = 0; i < s->parts;) {
		uint64_t *e = root_2mib(s->vm, view_root(view),
					s->va + i * 2 * MIB);
		uint32_t n = 512 - ((uint64_t)e / 8 & 511);

		if (n > s->parts - i)
			n = s->parts - i;
		invalidate(v, e, n);
		i += n;
	}
}

void view_destroy(struct vcpu *v, uint64_t view)
{
	struct view *w = view_of(view);
	unsigned int k;

	vcpu_hc_ok(v, PVVAS_HC_VIEW_DESTROY, view, 0, 0);
	for (k = 0; k < nr_atts;)
		if (atts[k].view == view)
			view_detach(v, view, atts[k].seg);
		else
			k++;
	invalidate(v, w->root, 512);
	spare[nr_spare++] = w->root;
	*w = views[--nr_views];
}

void tables_reset(void)
{
	nr_segs = nr_views = nr_atts = 0;
}
