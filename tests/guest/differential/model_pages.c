// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model.h"

/* The segment that this address shows now, and the rights of its attachment. */
static struct m_seg *seg_shown(struct model *m, uintptr_t addr, int *prot)
{
	struct m_att *a = m_att(m, m->current);
	size_t i;

	for (i = 0; a && i < M_LINKS; i++) {
		const struct m_link *l = &m->link[i];
		struct m_seg *s;

		if (!l->target ||
		    (l->target != a->vid && l->target != a->handle) ||
		    m_hidden(m, a, l))
			continue;
		s = m_seg(m, l->sid);
		if (addr < s->base || addr >= s->base + s->pages * PAGE)
			continue;
		*prot = l->target == a->vid ? l->prot & a->rights : l->prot;
		return s;
	}
	return NULL;
}

struct m_page *m_shown(struct model *m, uintptr_t addr, int *rights)
{
	struct m_seg *s = seg_shown(m, addr, rights);
	size_t i;

	if (!s)
		return NULL;
	i = (addr - s->base) / PAGE;
	*rights &= s->rights[i];
	return &s->memory->page[i];
}

/* Driver: a page that is read first while writes are tracked is clean. */
static void there(struct m_memory *mem, struct m_page *p, bool written)
{
	if (!p->there)
		p->clean = mem->tracking;
	p->there = true;
	if (written)
		p->clean = false;
}

/*
 * Driver: where two pages before it are there, or two behind it, the rest of its
 * 64 KiB in that direction comes with the page, as far as it is in the segment, if
 * nothing of it is there and nothing is decided page by page.
 */
static void around(const struct m_seg *s, size_t i)
{
	const size_t nr = 16, skew = s->base / PAGE % nr;
	size_t first = (i + skew) / nr * nr, end = first + nr - skew, k;
	struct m_memory *mem = s->memory;

	first = first < skew ? 0 : first - skew;
	end = end < s->pages ? end : s->pages;
	if (mem->small || mem->pager || mem->tracking)
		return;
	if (i >= 2 && mem->page[i - 1].there && mem->page[i - 2].there)
		first = i;
	else if (i + 2 < s->pages && mem->page[i + 1].there &&
		 mem->page[i + 2].there)
		end = i + 1;
	else
		return;
	for (k = first; k < end; k++)
		if (mem->page[k].there ||
		    s->rights[k] != (PROT_READ | PROT_WRITE))
			return;
	for (k = first; k < end; k++)
		mem->page[k].there = true;
}

bool m_access(struct model *m, uintptr_t addr, bool write)
{
	int rights = 0;
	struct m_seg *s = seg_shown(m, addr, &rights);
	struct m_page *p = m_shown(m, addr, &rights);

	if (!p || !(rights & (write ? PROT_WRITE : PROT_READ)))
		return false;
	if (!p->there && s->memory->pager)
		return false;
	/* Driver: reading where there is no page makes one for writers alone. */
	if (!p->there && !write && !m->soft && !(m_mode(&s->obj) & PROT_WRITE))
		return true;
	if (!m->soft)
		around(s, (addr - s->base) / PAGE);
	there(s->memory, p, write);
	return true;
}

/* The library's own checks come first, and then those of rights. */
static int range(struct model *m, int sid, uintptr_t addr, size_t length)
{
	struct m_seg *s = m_seg(m, sid);
	size_t bytes;

	if (addr % PAGE || !length || length > SIZE_MAX - PAGE || sid <= 0)
		return -EINVAL;
	if (!s)
		return -ENOENT;
	bytes = (length + PAGE - 1) / PAGE * PAGE;
	if (addr < s->base || addr - s->base >= s->pages * PAGE ||
	    bytes > s->pages * PAGE - (addr - s->base))
		return -ERANGE;
	return 0;
}

int m_range(struct model *m, int sid, uintptr_t addr, size_t length)
{
	int err = range(m, sid, addr, length);

	if (err)
		return err;
	return m_rights(&m_seg(m, sid)->obj) == (PROT_READ | PROT_WRITE) ?
		0 : -EACCES;
}

static size_t first_of(const struct m_seg *s, uintptr_t addr)
{
	return (addr - s->base) / PAGE;
}

static size_t pages_of(size_t length)
{
	return (length + PAGE - 1) / PAGE;
}

int m_protect(struct model *m, int sid, uintptr_t addr, size_t length, int prot)
{
	struct m_seg *s = m_seg(m, sid);
	int err;

	if (prot != PROT_NONE && prot != PROT_READ &&
	    prot != (PROT_READ | PROT_WRITE))
		return -EINVAL;
	err = m_range(m, sid, addr, length);
	if (!err)
		memset(s->rights + first_of(s, addr), prot, pages_of(length));
	return err;
}

int m_dirty(struct model *m, int sid, uintptr_t addr, size_t length,
	    uintptr_t *told, int max)
{
	struct m_seg *s = m_seg(m, sid);
	int err = range(m, sid, addr, length), n = 0;
	size_t i;

	if (err || !max)
		return err;
	err = m_range(m, sid, addr, length);
	if (err)
		return err;
	s->memory->tracking = true;
	for (i = 0; i < pages_of(length) && n < max; i++) {
		struct m_page *p = &s->memory->page[first_of(s, addr) + i];

		/* the software backend compares with what it was */
		if (!p->there || (m->soft ? p->value == p->told : p->clean))
			continue;
		p->clean = true;
		p->told = p->value;
		told[n++] = addr + i * PAGE;
	}
	return n;
}

int m_populate(struct model *m, int sid, uintptr_t addr, size_t length)
{
	struct m_seg *s = m_seg(m, sid);
	int err = m_range(m, sid, addr, length);
	size_t i;

	if (err)
		return err;
	for (i = 0; i < pages_of(length); i++) {
		struct m_page *p = &s->memory->page[first_of(s, addr) + i];

		if (!p->there && s->memory->pager)
			return -ENXIO;
		there(s->memory, p, false);
	}
	return 0;
}

int m_fill(struct model *m, int sid, uintptr_t addr, size_t length,
	   uint64_t value)
{
	struct m_seg *s = m_seg(m, sid);
	int err, n = 0;
	size_t i;

	if (length % PAGE)
		return -EINVAL;
	err = m_range(m, sid, addr, length);
	for (i = 0; !err && i < pages_of(length); i++) {
		struct m_page *p = &s->memory->page[first_of(s, addr) + i];

		if (p->there)
			continue;
		there(s->memory, p, true);
		p->value = value + i;
		n++;
	}
	return err ? err : n;
}

int m_discard(struct model *m, int sid, uintptr_t addr, size_t length)
{
	struct m_seg *s = m_seg(m, sid);
	int err = m_range(m, sid, addr, length);
	size_t i;

	for (i = 0; !err && i < pages_of(length); i++) {
		struct m_page *p = &s->memory->page[first_of(s, addr) + i];

		p->there = false;
		p->clean = false;
		p->value = 0;
	}
	return err;
}

int m_move(struct model *m, int from, uintptr_t src, int to, uintptr_t dst,
	   size_t length)
{
	struct m_seg *f, *t;
	int err = range(m, from, src, length);
	size_t i, n = pages_of(length);

	if (!err)
		err = range(m, to, dst, length);
	if (!err)
		err = m_range(m, from, src, length);
	if (!err)
		err = m_range(m, to, dst, length);
	if (err)
		return err;
	f = m_seg(m, from);
	t = m_seg(m, to);
	if (f->memory == t->memory && first_of(f, src) < first_of(t, dst) + n &&
	    first_of(t, dst) < first_of(f, src) + n)
		return -EINVAL;
	for (i = 0; i < n; i++) {
		struct m_page *p = &f->memory->page[first_of(f, src) + i];
		struct m_page *q = &t->memory->page[first_of(t, dst) + i];

		q->there = p->there;
		q->value = p->value;
		q->clean = false;
		p->there = false;
		p->clean = false;
		p->value = 0;
	}
	return 0;
}

int m_pager(struct model *m, int sid, bool on)
{
	struct m_seg *s = m_seg(m, sid);

	if (sid <= 0)
		return -EINVAL;
	if (!s)
		return -ENOENT;
	if (m_rights(&s->obj) != (PROT_READ | PROT_WRITE))
		return -EACCES;
	/* it shows a part, since the memory has grown */
	if (s->pages != s->memory->pages)
		return -EINVAL;
	s->memory->pager = on;
	return 0;
}

static bool share_block(const struct m_seg *s, size_t pages, const struct m_seg *other)
{
	return s->base / BLOCK <= (other->base + other->pages * PAGE - 1) / BLOCK &&
	       other->base / BLOCK <= (s->base + pages * PAGE - 1) / BLOCK;
}

/* Is what @l attaches, where that shows, behind what @mine does? */
static bool is_in_way(struct model *m, size_t pages, const struct m_link *mine,
		      const struct m_link *l)
{
	const struct m_seg *s = m_seg(m, mine->sid), *other = m_seg(m, l->sid);
	const struct m_att *a = m_att(m, mine->target), *b = m_att(m, l->target);
	int vid = a ? a->vid : mine->target;

	if (!share_block(s, pages, other) || share_block(s, s->pages, other))
		return false;
	if (l->target == vid)
		return !m_hidden(m, a, l);
	if (a)
		return a == b;
	return b && b->vid == vid && !m_hidden(m, b, mine);
}

static bool has_room(struct model *m, const struct m_seg *s, size_t pages)
{
	size_t i, k;

	for (i = 0; i < M_LINKS; i++)
		for (k = 0; k < M_LINKS; k++)
			if (i != k && m->link[i].target && m->link[k].target &&
			    m->link[i].sid == s->obj.id &&
			    is_in_way(m, pages, &m->link[i], &m->link[k]))
				return false;
	return true;
}

int m_resize(struct model *m, int sid, size_t size)
{
	struct m_seg *s = m_seg(m, sid);
	size_t pages;

	if (sid <= 0 || !size || size > SIZE_MAX - PAGE)
		return -EINVAL;
	pages = pages_of(size);
	if (!s)
		return -ENOENT;
	if (geteuid() && s->obj.uid != geteuid())
		return -EPERM;
	if (pages <= s->pages)
		return pages < s->pages ? -EINVAL : 0;
	if (pages > (m->end - s->base) / PAGE ||
	    (!s->first && pages > s->memory->pages))
		return -ERANGE;
	if (!has_room(m, s, pages))
		return -EEXIST;
	s->pages = pages;
	if (s->first)
		s->memory->pages = pages;
	return 0;
}
