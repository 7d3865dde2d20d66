// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls, and what comes back beside what the model says.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "calls.h"
#include "calls_pages.h"
#include "choose.h"
#include "tcase.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

static struct outcome *outcome;
static const struct call *now;
static char said[160];
static int last_vas, last_seg;	/* the highest ids so far */
static int handles[4096], nr_handles;

void differ(const char *format, ...)
{
	va_list ap;
	int n;

	n = snprintf(outcome->why, sizeof(outcome->why), "%s: ", said);
	va_start(ap, format);
	vsnprintf(outcome->why + n, sizeof(outcome->why) - n, format, ap);
	va_end(ap);
	_exit(1);
}

void say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(said, sizeof(said), format, ap);
	va_end(ap);
}

/* @ret is what the call answered; true: it is a new number, or 0. */
static bool agree(int ret, int want)
{
	if (want < 0 ? ret != want : ret < 0)
		differ("answers %d, not %d", ret, want);
	return want >= 0;
}

void agree_exactly(int ret, int want)
{
	if (ret != want)
		differ("answers %d, not %d", ret, want);
}

/*
 * Results.
 */

static void new_id(int id, int *last)
{
	if (id <= *last || id >= 1 << 30)
		differ("gives the number %d after %d", id, *last);
	*last = id;
}

/* No handle is given twice, within any that a program can still hold. */
static void new_handle(int handle)
{
	int i;

	if (handle <= 1 << 30)
		differ("gives the handle %#x", handle);
	for (i = 0; i < nr_handles; i++)
		if (handles[i] == handle)
			differ("gives the handle %#x again", handle);
	if (nr_handles < (int)ARRAY_SIZE(handles))
		handles[nr_handles++] = handle;
}

/* The system has chosen where: in the window, in blocks that none has. */
static uintptr_t chosen_base(int sid, size_t pages)
{
	uintptr_t base;
	size_t size, i;
	void *p;

	if (seg_range(sid, &p, &size))
		differ("has no range");
	base = (uintptr_t)p;
	if (base % BLOCK || base < FIRST || base > m->end - pages * PAGE)
		differ("lies at %p", p);
	for (i = 0; i < M_SEGS; i++) {
		const struct m_seg *s = &m->seg[i];

		if (s->obj.id &&
		    base / BLOCK <= (s->base + s->pages * PAGE - 1) / BLOCK &&
		    s->base / BLOCK <= (base + pages * PAGE - 1) / BLOCK)
			differ("lies at %p beside %d", p, s->obj.id);
	}
	return base;
}

/*
 * Calls.
 */

static void do_vas_create(const unsigned int *r)
{
	const char *name = some_name(r[0]);
	mode_t mode = some_mode(r[1]);
	int ret;

	say("vas_create(%s, %o)", shown(name), mode);
	ret = vas_create(name, mode);
	if (!agree(ret, m_vas_create(m, name, mode)))
		return;
	new_id(ret, &last_vas);
	m_vas_made(m, ret, name, mode);
}

static void do_find(const unsigned int *r)
{
	const char *name = some_name(r[0] & ~64U);
	bool seg = r[1] & 1;
	int id = 0, want;

	say("%s_find(%s)", seg ? "seg" : "vas", shown(name));
	want = m_find(m, seg, name, &id);
	agree_exactly(seg ? seg_find(name) : vas_find(name), want ? want : id);
}

static void do_publish(const unsigned int *r)
{
	const char *name = some_name(r[0] & ~64U);
	bool seg = r[1] & 1;
	int id = seg ? some_seg(r[2]) : some_vas(r[2]);

	say("%s_publish(%d, %s)", seg ? "seg" : "vas", id, shown(name));
	agree_exactly(seg ? seg_publish(id, name) : vas_publish(id, name),
		      m_publish(m, seg, id, name));
}

static void do_vas_delete(const unsigned int *r)
{
	int vid = some_vas(r[0]);

	say("vas_delete(%d)", vid);
	agree_exactly(r[1] & 1 ? vas_delete(vid) :
		      vas_ctl(VAS_CTL_DELETE, vid), m_delete(m, false, vid));
	was_vas(vid);
}

static void do_vas_attach(const unsigned int *r)
{
	int vid = some_vas(r[0]), ret;

	say("vas_attach(%d)", vid);
	ret = vas_attach(vid);
	if (!agree(ret, m_vas_attach(m, vid)))
		return;
	new_handle(ret);
	m_vas_attached(m, vid, ret);
}

static void do_vas_detach(const unsigned int *r)
{
	int handle = some_handle(r[0]);

	say("vas_detach(%#x)", handle);
	agree_exactly(vas_detach(handle), m_vas_detach(m, handle));
	was_handle(handle);
}

/* Each clone is where its source is: no two segments of a VAS share a place. */
static void take_clones(int from, int to)
{
	int sid = 0, prot, n = 0;
	size_t i;

	while ((sid = vas_next_seg(to, sid, &prot)) > 0) {
		uintptr_t base;
		size_t size;
		void *p;

		new_id(sid, &last_seg);
		if (seg_range(sid, &p, &size))
			differ("its segment %d has no range", sid);
		base = (uintptr_t)p;
		for (i = 0; i < M_LINKS; i++) {
			const struct m_link *l = &m->link[i];
			struct m_seg *s = m_seg(m, l->sid);

			if (l->target != from || s->base != base)
				continue;
			m_seg_cloned(m, l->sid, sid, NULL, s->obj.mode);
			m_link(m, to, sid, l->prot);
			m_seg(m, sid)->obj.held = false;
			n++;
			break;
		}
		if (i == M_LINKS)
			differ("has a clone of nothing, %d", sid);
	}
	for (i = 0; i < M_LINKS; i++)
		n -= m->link[i].target == from;
	if (n)
		differ("lacks clones of %d segments", -n);
}

static void do_vas_clone(const unsigned int *r)
{
	const char *name = r[2] & 1 ? some_name(r[1]) : NULL;
	int vid = some_vas(r[0]), ret, want;
	struct m_object *v = m_vas(m, vid);
	mode_t mode = r[2] & 1 ? some_mode(r[3]) : v ? v->mode : 0;
	mode_t kept;

	if (r[2] & 1) {
		say("vas_clone_named(%d, %s, %o)", vid, shown(name), mode);
		ret = vas_clone_named(vid, name, mode);
	} else {
		say("vas_clone(%d)", vid);
		ret = vas_clone(vid);
	}
	want = m_vas_clone(m, vid, name, mode);
	if (!agree(ret, want))
		return;
	new_id(ret, &last_vas);
	m_vas_made(m, ret, name, mode);
	/* for the model's own rules, and to look into it */
	v = m_vas(m, ret);
	kept = v->mode;
	v->mode = 0700;
	if (!(kept & 0400) && geteuid()) {
		struct vas_attr a = { .size = sizeof(a), .valid = VAS_ATTR_MODE,
				      .mode = 0700 };

		agree_exactly(vas_ctl(VAS_CTL_SETATTR, ret, &a), 0);
		take_clones(vid, ret);
		a.mode = kept;
		agree_exactly(vas_ctl(VAS_CTL_SETATTR, ret, &a), 0);
	} else {
		take_clones(vid, ret);
	}
	v->mode = kept;
}

static void do_seg_alloc(const unsigned int *r)
{
	const char *name = some_name(r[0]);
	mode_t mode = some_mode(r[1]);
	uintptr_t base = some_base(r[2]);
	size_t size = some_size(r[3]);
	/* whether there are 2 MiB at hand no model can tell */
	struct seg_options options = {
		.size = sizeof(options),
		.flags = size >= BLOCK || r[4] & 1 ? SEG_SMALL : 0,
	};
	int ret;

	say("seg_alloc_with(%s, %#lx, %#zx, %o, %u)", shown(name), base, size,
	    mode, options.flags);
	ret = seg_alloc_with(name, (void *)base, size, mode, &options);
	if (!agree(ret, m_seg_alloc(m, name, base, size, mode)))
		return;
	new_id(ret, &last_seg);
	if (!base)
		base = chosen_base(ret, (size + PAGE - 1) / PAGE);
	m_seg_made(m, ret, name, base, size, mode, options.flags);
}

static void do_seg_delete(const unsigned int *r)
{
	int sid = some_seg(r[0]);

	say("seg_delete(%d)", sid);
	agree_exactly(r[1] & 1 ? seg_delete(sid) :
		      seg_ctl(sid, SEG_CTL_DELETE), m_delete(m, true, sid));
	was_seg(sid);
}

static void do_seg_attach(const unsigned int *r)
{
	int target = r[0] & 1 ? some_vas(r[0] / 2) : some_handle(r[0] / 2);
	int sid = some_seg(r[1]), prot = r[2] & 1 ? some_prot(r[2] / 2) : 0;

	if (!(r[2] & 1)) {
		say("seg_attach(%#x, %d)", target, sid);
		agree_exactly(seg_attach(target, sid),
			      m_seg_attach(m, target, sid, 0));
		return;
	}
	say("seg_attach_prot(%#x, %d, %d)", target, sid, prot);
	agree_exactly(seg_attach_prot(target, sid, prot),
		      prot != PROT_READ && prot != (PROT_READ | PROT_WRITE) ?
		      -EINVAL : m_seg_attach(m, target, sid, prot));
}

static void do_seg_detach(const unsigned int *r)
{
	const struct m_link *l = &m->link[r[1] % M_LINKS];
	int target = r[0] & 1 ? some_vas(r[0] / 2) : some_handle(r[0] / 2);
	int sid = some_seg(r[1]);

	/* mostly one that is there */
	if (r[2] % 4 && l->target) {
		target = l->target;
		sid = l->sid;
	}
	say("seg_detach(%#x, %d)", target, sid);
	agree_exactly(seg_detach(target, sid), m_seg_detach(m, target, sid));
}

static void do_seg_clone(const unsigned int *r)
{
	const char *name = r[2] & 1 ? some_name(r[1]) : NULL;
	int sid = some_seg(r[0]), ret;
	const struct m_seg *s = m_seg(m, sid);
	mode_t mode = r[2] & 1 ? some_mode(r[3]) : s ? s->obj.mode : 0;

	if (r[2] & 1) {
		say("seg_clone_named(%d, %s, %o)", sid, shown(name), mode);
		ret = seg_clone_named(sid, name, mode);
	} else {
		say("seg_clone(%d)", sid);
		ret = seg_clone(sid);
	}
	if (!agree(ret, m_seg_clone(m, sid, name, mode)))
		return;
	new_id(ret, &last_seg);
	m_seg_cloned(m, sid, ret, name, mode);
}

static void do_seg_map2(const unsigned int *r)
{
	int sid = some_seg(r[0]), ret;
	const struct m_seg *s = m_seg(m, sid);
	uintptr_t base = some_base(r[1]);

	/* mostly one whose distance is right */
	if (s && base && r[2] % 4)
		base = base / BLOCK * BLOCK + s->base % BLOCK;
	say("seg_map2(%d, %#lx)", sid, base);
	ret = seg_map2(sid, (void *)base);
	if (!agree(ret, m_seg_map2(m, sid, base)))
		return;
	new_id(ret, &last_seg);
	m_seg_mapped2(m, sid, ret, base ? base : chosen_base(ret, s->pages));
}

static void do_setattr(const unsigned int *r)
{
	bool seg = r[0] & 1;
	int id = seg ? some_seg(r[1]) : some_vas(r[1]);
	unsigned int valid = r[2] % 17;
	uint32_t expiry = r[5] & 1 ? 0 : 3600 + r[5] % 1000;
	uid_t uid = r[4] & 1 ? geteuid() : 1234;
	gid_t gid = r[4] & 2 ? getegid() : 4321;
	/* all of them alike: a process that has a right may lose it */
	mode_t mode = some_mode(r[3] / 3 * 3);
	struct vas_attr va = { .size = sizeof(va), .valid = valid,
			       .mode = mode, .uid = uid, .gid = gid,
			       .expiry = expiry };
	struct seg_attr sa = { .size = sizeof(sa), .valid = valid,
			       .mode = mode, .uid = uid, .gid = gid,
			       .expiry = expiry };

	say("%s_ctl(SETATTR, %d, %#x, %o, %u, %u, %u)", seg ? "seg" : "vas", id,
	    valid, mode, uid, gid, expiry);
	agree_exactly(seg ? seg_ctl(id, SEG_CTL_SETATTR, &sa) :
		      vas_ctl(VAS_CTL_SETATTR, id, &va),
		      m_setattr(m, seg, id, valid, mode, uid, gid, expiry));
}

static void do_switch(const unsigned int *r)
{
	int handle = r[0] % 8 ? some_handle(r[0] / 8) : VAS_HOME;

	say("vas_switch(%#x)", handle);
	agree_exactly(r[1] % 4 == 0 ? vas_switch_try(handle) :
		      r[1] % 4 == 1 ? vas_switch_timed(handle, 2500) :
		      vas_switch(handle), m_switch(m, handle));
}

static void (*const calls_of[])(const unsigned int *r) = {
	do_vas_create, do_find, do_vas_delete, do_vas_attach, do_vas_attach,
	do_vas_detach, do_vas_clone, do_seg_alloc, do_seg_alloc, do_seg_delete,
	do_seg_attach, do_seg_attach, do_seg_attach, do_seg_detach,
	do_seg_clone, do_seg_map2, do_setattr, do_switch, do_switch, do_access,
	do_access, do_access, do_access, do_protect, do_dirty, do_populate,
	do_fill, do_discard, do_move, do_pager, do_publish, do_resize,
};

_Static_assert(ARRAY_SIZE(calls_of) == NR_CALLS, "all of them");

/* When there is much, nothing is made but room. */
static void (*call_for(unsigned int what))(const unsigned int *r)
{
	void (*call)(const unsigned int *r) = calls_of[what];

	if (m_count(m, 'v') > M_VASES - 2 &&
	    (call == do_vas_create || call == do_vas_clone))
		return m_count(m, 'a') ? do_vas_detach : do_vas_delete;
	if (m_count(m, 's') > M_SEGS - 12 &&
	    (call == do_seg_alloc || call == do_vas_clone ||
	     call == do_seg_clone || call == do_seg_map2))
		return now->random[5] & 1 ? do_seg_delete : do_seg_detach;
	if (m_count(m, 'a') > M_ATTS - 2 && call == do_vas_attach)
		return do_vas_detach;
	if (m_count(m, 'l') > M_LINKS - 16 &&
	    (call == do_seg_attach || call == do_vas_clone))
		return do_seg_detach;
	return call;
}

void make_calls(const struct call *calls, unsigned int n, bool loud,
		struct outcome *out)
{
	unsigned int i;
	size_t size;
	void *base;

	outcome = out;
	m = calloc(1, sizeof(*m));
	say("pvvas_window");
	if (!m || pvvas_window(&base, &size))
		differ("fails");
	m->end = (uintptr_t)base + size;
	m->soft = pvvas_probe(PVVAS_FEATURE_PER_THREAD) != PVVAS_YES;
	/* what was made before ours */
	while ((i = vas_next(last_vas)) < 1U << 30)
		last_vas = i;
	while ((i = seg_next(last_seg)) < 1U << 30)
		last_seg = i;
	/* the least number that a descriptor can have must do, too */
	close(0);
	for (i = 0; i < n; i++) {
		now = &calls[i];
		call_for(now->what)(now->random);
		if (loud)
			tcase_note("%u: %s", i, said);
		/* that takes longer than the call: what fails is shrunk */
		if (i % 4 == 3 || n < 64 || i + 1 == n)
			compare_all(m, said);
		out->made = i + 1;
	}
}
