// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define IS_HANDLE(n)	((n) & 1 << 30)

struct m_object *m_vas(struct model *m, int vid)
{
	size_t i;

	for (i = 0; i < M_VASES; i++)
		if (vid && m->vas[i].id == vid)
			return &m->vas[i];
	return NULL;
}

struct m_seg *m_seg(struct model *m, int sid)
{
	size_t i;

	for (i = 0; i < M_SEGS; i++)
		if (sid && m->seg[i].obj.id == sid)
			return &m->seg[i];
	return NULL;
}

struct m_att *m_att(struct model *m, int handle)
{
	size_t i;

	for (i = 0; i < M_ATTS; i++)
		if (handle && m->att[i].handle == handle)
			return &m->att[i];
	return NULL;
}

int m_count(const struct model *m, char what)
{
	size_t i;
	int n = 0;

	for (i = 0; what == 'v' && i < M_VASES; i++)
		n += !!m->vas[i].id;
	for (i = 0; what == 's' && i < M_SEGS; i++)
		n += !!m->seg[i].obj.id;
	for (i = 0; what == 'l' && i < M_LINKS; i++)
		n += !!m->link[i].target;
	for (i = 0; what == 'a' && i < M_ATTS; i++)
		n += !!m->att[i].handle;
	return n;
}

int m_users_of_vas(const struct model *m, int vid)
{
	int n = 0;
	size_t i;

	for (i = 0; i < M_ATTS; i++)
		n += m->att[i].handle && m->att[i].vid == vid;
	return n;
}

int m_users_of_seg(const struct model *m, int sid)
{
	int n = 0;
	size_t i;

	for (i = 0; i < M_LINKS; i++)
		n += m->link[i].target && m->link[i].sid == sid;
	return n;
}

size_t m_resident(const struct m_seg *s)
{
	size_t i, n = 0;

	for (i = 0; i < s->memory->pages; i++)
		n += s->memory->page[i].there;
	return n * PAGE;
}

/* What the mode gives, without what root may do anyway. */
int m_mode(const struct m_object *obj)
{
	unsigned int bits = obj->mode;

	if (obj->uid == geteuid())
		bits >>= 6;
	else if (obj->gid == getegid())
		bits >>= 3;
	return (bits & 4 ? PROT_READ : 0) | (bits & 2 ? PROT_WRITE : 0);
}

/* With the meaning that the bits have for files. */
int m_rights(const struct m_object *obj)
{
	return geteuid() ? m_mode(obj) : PROT_READ | PROT_WRITE;
}

/* What nothing keeps goes, and what that used. */
static void collect(struct model *m)
{
	size_t i, k;

	for (i = 0; i < M_VASES; i++) {
		if (!m->vas[i].id || m->vas[i].held ||
		    m_users_of_vas(m, m->vas[i].id))
			continue;
		for (k = 0; k < M_LINKS; k++)
			if (m->link[k].target == m->vas[i].id)
				m->link[k].target = 0;
		m->vas[i].id = 0;
	}
	for (i = 0; i < M_SEGS; i++) {
		struct m_seg *s = &m->seg[i];

		if (!s->obj.id || s->obj.held || m_users_of_seg(m, s->obj.id))
			continue;
		/* The memory is in the first face, as long as another one uses it. */
		if (s->first && s->memory->refs > 1)
			continue;
		s->obj.id = 0;
		if (--s->memory->refs)
			i = (size_t)-1;	/* perhaps the first face now */
		else
			free(s->memory);
	}
}

int m_name(const char *name)
{
	if (!name || !*name)
		return -EINVAL;
	if (strlen(name) > VAS_NAME_MAX)
		return -ENAMETOOLONG;
	return strpbrk(name, "/\n\033\177") || !strcmp(name, ".") ||
	       !strcmp(name, "..") ? -EINVAL : 0;
}

static struct m_object *by_name(struct model *m, bool seg, const char *name)
{
	struct m_object *o;
	size_t i;

	for (i = 0; i < (seg ? M_SEGS : M_VASES); i++) {
		o = seg ? &m->seg[i].obj : &m->vas[i];
		if (o->id && o->named && !strcmp(o->name, name))
			return o;
	}
	return NULL;
}

static struct m_object *by_id(struct model *m, bool seg, int id)
{
	struct m_seg *s;

	if (!seg)
		return m_vas(m, id);
	s = m_seg(m, id);
	return s ? &s->obj : NULL;
}

static int may_make(struct model *m, bool seg, const char *name, mode_t mode)
{
	int err;

	if (mode & ~0777U)
		return -EINVAL;
	err = name ? m_name(name) : 0;
	return err ? err : name && by_name(m, seg, name) ? -EEXIST : 0;
}

static void make(struct m_object *o, int id, const char *name, mode_t mode)
{
	*o = (struct m_object){
		.id = id,
		.held = true,
		.named = !!name,
		.mode = mode,
		.uid = geteuid(),
		.gid = getegid(),
	};
	if (name)
		strcpy(o->name, name);
}

int m_vas_create(struct model *m, const char *name, mode_t mode)
{
	return may_make(m, false, name, mode);
}

void m_vas_made(struct model *m, int vid, const char *name, mode_t mode)
{
	size_t i;

	for (i = 0; i < M_VASES && m->vas[i].id; i++)
		;
	make(&m->vas[i], vid, name, mode);
}

int m_find(struct model *m, bool seg, const char *name, int *id)
{
	struct m_object *o;
	int err = m_name(name);

	if (err)
		return err;
	o = by_name(m, seg, name);
	if (!o)
		return -ENOENT;
	*id = o->id;
	return m_rights(o) ? 0 : -EACCES;
}

int m_publish(struct model *m, bool seg, int id, const char *name)
{
	struct m_object *o = by_id(m, seg, id);
	int err = id <= 0 ? -EINVAL : m_name(name);

	if (err)
		return err;
	if (!o || !o->held)
		return -ENOENT;
	if (geteuid() && o->uid != geteuid())
		return -EPERM;
	if (o->named)
		return -EINVAL;
	if (by_name(m, seg, name))
		return -EEXIST;
	o->named = true;
	strcpy(o->name, name);
	return 0;
}

int m_delete(struct model *m, bool seg, int id)
{
	struct m_object *o = by_id(m, seg, id);

	if (id <= 0)
		return -EINVAL;
	if (!o || !o->held)
		return -ENOENT;
	if (geteuid() && o->uid != geteuid())
		return -EPERM;
	o->held = false;
	o->named = false;
	o->expiry = 0;
	memset(o->name, 0, sizeof(o->name));
	collect(m);
	return 0;
}

int m_vas_attach(struct model *m, int vid)
{
	struct m_object *v = m_vas(m, vid);

	if (vid <= 0)
		return -EINVAL;
	if (!v)
		return -ENOENT;
	return m_rights(v) & PROT_READ ? 0 : -EACCES;
}

void m_vas_attached(struct model *m, int vid, int handle)
{
	size_t i;

	for (i = 0; i < M_ATTS && m->att[i].handle; i++)
		;
	m->att[i] = (struct m_att){ .handle = handle, .vid = vid,
				    .rights = m_rights(m_vas(m, vid)) };
}

int m_vas_detach(struct model *m, int handle)
{
	struct m_att *a = m_att(m, handle);
	size_t i;

	if (handle <= 0 || !IS_HANDLE(handle))
		return -EINVAL;
	if (handle == m->current)
		return -EBUSY;
	if (!a)
		return -EINVAL;
	for (i = 0; i < M_LINKS; i++)
		if (m->link[i].target == handle)
			m->link[i].target = 0;
	a->handle = 0;
	collect(m);
	return 0;
}

int m_vas_clone(struct model *m, int vid, const char *name, mode_t mode)
{
	struct m_object *v = m_vas(m, vid);
	int err;

	if (vid <= 0 || mode & ~0777U)
		return -EINVAL;
	err = name ? m_name(name) : 0;
	if (err)
		return err;
	if (!v)
		return -ENOENT;
	if (!(m_rights(v) & PROT_READ))
		return -EACCES;
	return may_make(m, false, name, mode);
}

int m_seg_alloc(struct model *m, const char *name, uintptr_t base, size_t size,
		mode_t mode)
{
	uintptr_t first = (uintptr_t)VAS_WINDOW_FIRST;
	size_t length;
	int err;

	if (mode & ~0777U || !size || size > SIZE_MAX - PAGE || base % PAGE)
		return -EINVAL;
	err = name ? m_name(name) : 0;
	if (err)
		return err;
	length = (size + PAGE - 1) / PAGE * PAGE;
	if (length > m->end - first)
		return -E2BIG;
	if (base && (base < first || base > m->end - length))
		return -ERANGE;
	return may_make(m, true, name, mode);
}

static struct m_seg *new_seg(struct model *m, int sid, const char *name,
			     uintptr_t base, size_t pages, mode_t mode)
{
	size_t i;

	for (i = 0; i < M_SEGS && m->seg[i].obj.id; i++)
		;
	make(&m->seg[i].obj, sid, name, mode);
	m->seg[i].base = base;
	m->seg[i].pages = pages;
	memset(m->seg[i].rights, PROT_READ | PROT_WRITE,
	       sizeof(m->seg[i].rights));
	return &m->seg[i];
}

void m_seg_made(struct model *m, int sid, const char *name, uintptr_t base,
		size_t size, mode_t mode, uint32_t flags)
{
	struct m_seg *s = new_seg(m, sid, name, base,
				  (size + PAGE - 1) / PAGE, mode);

	s->memory = calloc(1, sizeof(*s->memory));
	s->memory->refs = 1;
	s->memory->small = flags & SEG_SMALL;
	s->memory->pages = s->pages;
	s->first = true;
}

static bool overlap(const struct m_seg *a, const struct m_seg *b)
{
	return a->base / BLOCK <= (b->base + b->pages * PAGE - 1) / BLOCK &&
	       b->base / BLOCK <= (a->base + a->pages * PAGE - 1) / BLOCK;
}

static bool is_taken(struct model *m, int target, const struct m_seg *s)
{
	size_t i;

	for (i = 0; i < M_LINKS; i++)
		if (target && m->link[i].target == target &&
		    overlap(m_seg(m, m->link[i].sid), s))
			return true;
	return false;
}

bool m_hidden(struct model *m, const struct m_att *a, const struct m_link *l)
{
	return a && l->target == a->vid &&
	       is_taken(m, a->handle, m_seg(m, l->sid));
}

void m_link(struct model *m, int target, int sid, int prot)
{
	size_t i;

	for (i = 0; i < M_LINKS && m->link[i].target; i++)
		;
	m->link[i] = (struct m_link){ target, sid, prot };
}

int m_seg_attach(struct model *m, int target, int sid, int prot)
{
	struct m_seg *s = m_seg(m, sid);
	struct m_att *a = m_att(m, target);
	struct m_object *v = m_vas(m, target);
	int rights;

	if (target <= 0 || sid <= 0)
		return -EINVAL;
	if (!s)
		return -ENOENT;
	rights = m_rights(&s->obj);
	if (!prot)
		prot = rights;
	if (!(rights & PROT_READ) || prot & ~rights)
		return -EACCES;
	if (IS_HANDLE(target) ? !a : !v)
		return -ENOENT;
	if (v && !(m_rights(v) & PROT_WRITE))
		return -EACCES;
	if (is_taken(m, target, s) || (a && is_taken(m, a->vid, s)))
		return -EEXIST;
	m_link(m, target, sid, prot);
	return 0;
}

int m_seg_detach(struct model *m, int target, int sid)
{
	struct m_object *v = m_vas(m, target);
	size_t i;

	if (target <= 0 || sid <= 0)
		return -EINVAL;
	if (!m_seg(m, sid))
		return -ENOENT;
	if (IS_HANDLE(target) ? !m_att(m, target) : !v)
		return -ENOENT;
	if (v && !(m_rights(v) & PROT_WRITE))
		return -EACCES;
	for (i = 0; i < M_LINKS; i++) {
		if (m->link[i].target != target || m->link[i].sid != sid)
			continue;
		m->link[i].target = 0;
		collect(m);
		return 0;
	}
	return -ENOENT;
}

int m_seg_clone(struct model *m, int sid, const char *name, mode_t mode)
{
	struct m_seg *s = m_seg(m, sid);
	int err;

	if (sid <= 0 || mode & ~0777U)
		return -EINVAL;
	err = name ? m_name(name) : 0;
	if (err)
		return err;
	if (!s)
		return -ENOENT;
	if (!(m_rights(&s->obj) & PROT_READ))
		return -EACCES;
	return may_make(m, true, name, mode);
}

void m_seg_cloned(struct model *m, int from, int sid, const char *name,
		  mode_t mode)
{
	struct m_seg *s = m_seg(m, from);
	struct m_seg *to = new_seg(m, sid, name, s->base, s->pages, mode);
	size_t i;

	to->memory = calloc(1, sizeof(*to->memory));
	to->memory->refs = 1;
	to->memory->small = s->memory->small;
	to->memory->pages = s->pages;
	to->first = true;
	for (i = 0; i < s->pages; i++) {
		to->memory->page[i].there = s->memory->page[i].there;
		to->memory->page[i].value = s->memory->page[i].value;
	}
}

int m_seg_map2(struct model *m, int sid, uintptr_t base)
{
	struct m_seg *s = m_seg(m, sid);

	if (sid <= 0)
		return -EINVAL;
	if (!s)
		return -ENOENT;
	if (m_rights(&s->obj) != (PROT_READ | PROT_WRITE))
		return -EACCES;
	if (!base)
		return s->base % BLOCK ? -EINVAL : 0;
	if (base < (uintptr_t)VAS_WINDOW_FIRST ||
	    base > m->end - s->pages * PAGE)
		return -ERANGE;
	return (base ^ s->base) % BLOCK ? -EINVAL : 0;
}

void m_seg_mapped2(struct model *m, int from, int sid, uintptr_t base)
{
	struct m_seg *s = m_seg(m, from);
	struct m_seg *to = new_seg(m, sid, NULL, base, s->pages, s->obj.mode);

	to->memory = s->memory;
	to->first = false;
	s->memory->refs++;
}

int m_setattr(struct model *m, bool seg, int id, unsigned int valid, mode_t mode,
	      uid_t uid, gid_t gid, uint32_t expiry)
{
	const unsigned int all = VAS_ATTR_MODE | VAS_ATTR_UID | VAS_ATTR_GID |
				 VAS_ATTR_EXPIRY;
	struct m_object *o = by_id(m, seg, id);

	if (id <= 0 || !valid || valid & ~all ||
	    (valid & VAS_ATTR_MODE && mode & ~0777U))
		return -EINVAL;
	if (!o)
		return -ENOENT;
	if (geteuid() && o->uid != geteuid())
		return -EPERM;
	/* deleted: it goes with its last user */
	if (valid & VAS_ATTR_EXPIRY && !o->held)
		return -ENOENT;
	if (geteuid() && ((valid & VAS_ATTR_UID && uid != o->uid) ||
			  (valid & VAS_ATTR_GID && gid != getegid())))
		return -EPERM;
	if (valid & VAS_ATTR_MODE)
		o->mode = mode;
	if (valid & VAS_ATTR_UID)
		o->uid = uid;
	if (valid & VAS_ATTR_GID)
		o->gid = gid;
	if (valid & VAS_ATTR_EXPIRY)
		o->expiry = expiry;
	return 0;
}

int m_switch(struct model *m, int handle)
{
	if (handle != VAS_HOME && !m_att(m, handle))
		return -EINVAL;
	m->current = handle;
	return 0;
}
