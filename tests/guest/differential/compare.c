// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything that the library tells about objects, beside what the model has.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "calls.h"

#define same(what, id, is, want) \
	do { \
		long long is__ = (long long)(is), want__ = (long long)(want); \
		if (is__ != want__) \
			differ("%s of %d is %lld, not %lld", what, id, is__, \
			       want__); \
	} while (0)

static void compare_vas(struct model *m, const struct m_object *v)
{
	struct vas_attr a = { .size = sizeof(a) };
	struct vas_stat st = { .size = sizeof(st) };
	size_t i, length = 0, resident = 0;
	int segs = 0;

	same("getattr", v->id, vas_ctl(VAS_CTL_GETATTR, v->id, &a), 0);
	same("mode", v->id, a.mode, v->mode);
	same("uid", v->id, a.uid, v->uid);
	same("gid", v->id, a.gid, v->gid);
	same("expiry", v->id, a.expiry, v->expiry);
	same("users", v->id, a.users, m_users_of_vas(m, v->id));
	same("valid", v->id, a.valid,
	     VAS_ATTR_MODE | VAS_ATTR_UID | VAS_ATTR_GID |
	     VAS_ATTR_EXPIRY);
	if (strcmp(a.name, v->named ? v->name : ""))
		differ("name of %d is %s, not %s", v->id, a.name, v->name);
	for (i = 0; i < M_LINKS; i++) {
		struct m_seg *s;

		if (m->link[i].target != v->id)
			continue;
		s = m_seg(m, m->link[i].sid);
		segs++;
		length += s->pages * PAGE;
		resident += m_resident(s);
	}
	if (!(m_rights(v) & PROT_READ)) {
		same("stat", v->id, vas_ctl(VAS_CTL_STAT, v->id, &st), -EACCES);
		return;
	}
	same("stat", v->id, vas_ctl(VAS_CTL_STAT, v->id, &st), 0);
	same("segments", v->id, st.segs, segs);
	same("attachments", v->id, st.attachments, m_users_of_vas(m, v->id));
	same("length", v->id, st.length, length);
	same("memory", v->id, st.resident, resident);
}

/* Where it has memory: runs of pages, in order. */
static void compare_data(const struct m_seg *s)
{
	size_t at = 0, length, i = 0, k;
	int ret;

	for (;;) {
		ret = seg_next_data(s->obj.id, &at, &length);
		for (k = i; k < s->pages && !s->memory->page[k].there; k++)
			;
		if (i < s->pages && !(m_rights(&s->obj) & PROT_READ)) {
			same("next_data", s->obj.id, ret, -EACCES);
			return;
		}
		same("next_data", s->obj.id, ret, k < s->pages ? 0 : -ENOENT);
		if (ret)
			return;
		same("data", s->obj.id, at, k * PAGE);
		for (i = k; i < k + length / PAGE; i++)
			if (i >= s->pages || !s->memory->page[i].there)
				differ("page %zu of %d is said to be there", i,
				       s->obj.id);
		same("data bytes", s->obj.id, length % PAGE, 0);
		at += length;
	}
}

static void compare_seg(struct model *m, const struct m_seg *s)
{
	const struct m_object *o = &s->obj;
	struct seg_attr a = { .size = sizeof(a) };
	struct seg_stat st = { .size = sizeof(st) };
	bool readable = m_rights(o) & PROT_READ;

	same("getattr", o->id, seg_ctl(o->id, SEG_CTL_GETATTR, &a), 0);
	same("mode", o->id, a.mode, o->mode);
	same("uid", o->id, a.uid, o->uid);
	same("gid", o->id, a.gid, o->gid);
	same("expiry", o->id, a.expiry, o->expiry);
	same("users", o->id, a.users, m_users_of_seg(m, o->id));
	same("base", o->id, (uintptr_t)a.base, s->base);
	same("length", o->id, a.length, s->pages * PAGE);
	same("memory", o->id, a.resident, m_resident(s));
	same("valid", o->id, a.valid,
	     VAS_ATTR_MODE | VAS_ATTR_UID | VAS_ATTR_GID |
	     VAS_ATTR_EXPIRY);
	if (strcmp(a.name, o->named ? o->name : ""))
		differ("name of %d is %s, not %s", o->id, a.name, o->name);
	same("seg_stat", o->id, seg_ctl(o->id, SEG_CTL_STAT, &st),
	     readable ? 0 : -EACCES);
	if (readable)
		same("memory by seg_stat", o->id, st.resident, m_resident(s));
	compare_data(s);
}

/* The next link of the target above @sid. */
static const struct m_link *next_link(struct model *m, int target, int sid)
{
	const struct m_att *a = m_att(m, target);
	const struct m_link *best = NULL;
	size_t i;

	for (i = 0; i < M_LINKS; i++) {
		const struct m_link *l = &m->link[i];

		if (l->target && l->sid > sid && !m_hidden(m, a, l) &&
		    (l->target == target || (a && l->target == a->vid)) &&
		    (!best || l->sid < best->sid))
			best = l;
	}
	return best;
}

static void compare_links(struct model *m, int target)
{
	const struct m_att *a = m_att(m, target);
	const struct m_link *l;
	int sid = 0, prot;

	if (!a && !(m_rights(m_vas(m, target)) & PROT_READ)) {
		same("next_seg", target, vas_next_seg(target, 0, NULL),
		     -EACCES);
		return;
	}
	do {
		l = next_link(m, target, sid);
		sid = vas_next_seg(target, sid, &prot);
		same("next_seg", target, sid, l ? l->sid : -ENOENT);
		if (l)
			same("prot", target, prot, a && l->target == a->vid ?
			     l->prot & a->rights : l->prot);
	} while (l);
}

/* Ids, in order, and none that the model has not. */
static void compare_list(struct model *m, bool seg)
{
	int id = 0, n = 0, next;

	for (;;) {
		next = seg ? seg_next(id) : vas_next(id);
		if (next == -ENOENT)
			break;
		if (next <= id || !(seg ? !!m_seg(m, next) : !!m_vas(m, next)))
			differ("%s after %d is %d", seg ? "segment" : "VAS",
			       id, next);
		id = next;
		n++;
	}
	same("number in list", seg, n, m_count(m, seg ? 's' : 'v'));
}

static int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	if (!dir)
		return -1;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

void compare_all(struct model *m, const char *last)
{
	struct pvvas_stats st = { .size = sizeof(st) };
	static int open_before;
	size_t i;

	same("current", 0, vas_current(), m->current);
	same("stats", 0, pvvas_stats(&st), 0);
	same("VASes", 0, st.vases, m_count(m, 'v'));
	same("segments", 0, st.segs, m_count(m, 's'));
	same("attachments", 0, st.attachments, m_count(m, 'a'));
	compare_list(m, false);
	compare_list(m, true);
	for (i = 0; i < M_VASES; i++) {
		if (!m->vas[i].id)
			continue;
		compare_vas(m, &m->vas[i]);
		compare_links(m, m->vas[i].id);
	}
	for (i = 0; i < M_SEGS; i++)
		if (m->seg[i].obj.id)
			compare_seg(m, &m->seg[i]);
	for (i = 0; i < M_ATTS; i++)
		if (m->att[i].handle)
			compare_links(m, m->att[i].handle);
	if (!open_before)
		open_before = descriptors();
	if (descriptors() != open_before)
		differ("%s left a descriptor open", last);
}
