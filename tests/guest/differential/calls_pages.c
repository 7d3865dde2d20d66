// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls that are about pages, and accesses.
 */
#include <signal.h>
#include <sys/mman.h>

#include "calls.h"
#include "calls_pages.h"
#include "choose.h"
#include "tcase.h"

static uint64_t next_value = 1;

/* A page that the view shows, or of a segment that it may not show. */
static uintptr_t some_address(const unsigned int *r)
{
	const struct m_att *a = m_att(m, m->current);
	unsigned int i;

	for (i = 0; a && r[0] % 8 && i < M_LINKS; i++) {
		const struct m_link *l = &m->link[(r[1] + i) % M_LINKS];

		if (l->target &&
		    (l->target == a->vid || l->target == a->handle))
			return some_page(r[2], l->sid) & ~(PAGE - 1);
	}
	return some_page(r[2], some_seg(r[1])) & ~(PAGE - 1);
}

void do_access(const unsigned int *r)
{
	uintptr_t at = some_address(r);
	volatile uint64_t *word = (volatile uint64_t *)at;
	bool write = r[3] & 1, may;
	struct m_page *p;
	int prot, sig;

	say("%s of %#lx", write ? "write" : "read", at);
	if (at < FIRST || at >= m->end)
		return;
	may = m_access(m, at, write);
	sig = write ? tcase_try_write((volatile char *)at + PAGE - 1).sig :
		      tcase_try_read(word).sig;
	if (!!sig == may || (sig && sig != SIGSEGV))
		differ("signal %d", sig);
	if (!may)
		return;
	p = m_shown(m, at, &prot);
	if (write) {
		p->value = next_value++;
		*word = p->value;
	} else if (*word != p->value) {
		differ("reads %#llx, not %#llx", (unsigned long long)*word,
		       (unsigned long long)p->value);
	}
}

void do_protect(const unsigned int *r)
{
	int sid = some_seg(r[0]), prot = some_prot(r[3]);
	uintptr_t at = some_page(r[1], sid);
	size_t length = some_length(r[2], sid);
	void *page = (void *)at;
	int ret;

	switch (r[4] % 6) {
	case 0:
		say("seg_prot1(%d, %#lx, %d)", sid, at, prot);
		ret = seg_prot1(sid, page, prot);
		length = PAGE;
		break;
	case 1:
		say("seg_unprot(%d, %#lx)", sid, at);
		ret = seg_unprot(sid, page);
		prot = PROT_READ | PROT_WRITE;
		length = PAGE;
		break;
	case 2:
		say("SEG_CTL_UNPROTECT(%d, %#lx, %#zx)", sid, at, length);
		ret = seg_ctl(sid, SEG_CTL_UNPROTECT, page, length);
		prot = PROT_READ | PROT_WRITE;
		break;
	case 3:
		say("SEG_CTL_PROTECT(%d, %#lx, %#zx, %d)", sid, at, length,
		    prot);
		ret = seg_ctl(sid, SEG_CTL_PROTECT, page, length, prot);
		break;
	default:
		say("seg_protect(%d, %#lx, %#zx, %d)", sid, at, length, prot);
		ret = seg_protect(sid, page, length, prot);
	}
	agree_exactly(ret, m_protect(m, sid, at, length, prot));
}

void do_dirty(const unsigned int *r)
{
	static uintptr_t told[M_PAGES];
	static void *pages[M_PAGES];
	int sid = some_seg(r[0]), max = r[3] % 4 ? M_PAGES : r[3] / 4 % 3;
	uintptr_t at = some_page(r[1], sid);
	size_t length = some_length(r[2], sid);
	int ret, i;

	say("seg_dirty(%d, %#lx, %#zx, %d)", sid, at, length, max);
	ret = r[4] & 1 ? seg_dirty(sid, (void *)at, length, pages, max) :
	      seg_ctl(sid, SEG_CTL_DIRTY, (void *)at, length, pages,
		      (size_t)max);
	agree_exactly(ret, m_dirty(m, sid, at, length, told, max));
	for (i = 0; i < ret; i++)
		if ((uintptr_t)pages[i] != told[i])
			differ("tells of %p, not %#lx", pages[i], told[i]);
}

void do_populate(const unsigned int *r)
{
	int sid = some_seg(r[0]);
	uintptr_t at = some_page(r[1], sid);
	size_t length = some_length(r[2], sid);

	say("seg_populate(%d, %#lx, %#zx)", sid, at, length);
	agree_exactly(r[3] & 1 ? seg_populate(sid, (void *)at, length) :
		      seg_ctl(sid, SEG_CTL_POPULATE, (void *)at, length),
		      m_populate(m, sid, at, length));
}

void do_fill(const unsigned int *r)
{
	static uint64_t data[8 * PAGE / sizeof(uint64_t)];
	int sid = some_seg(r[0]);
	uintptr_t at = some_page(r[1], sid);
	size_t length = r[2] % 8 * PAGE, i;

	if (r[2] / 8 % 8 == 0)
		length += 1;
	for (i = 0; i < 8; i++)
		data[i * PAGE / sizeof(uint64_t)] = next_value + i;
	say("seg_fill(%d, %#lx, %#zx)", sid, at, length);
	agree_exactly(seg_fill(sid, (void *)at, data, length),
		      m_fill(m, sid, at, length, next_value));
	next_value += 8;
}

void do_resize(const unsigned int *r)
{
	int sid = some_seg(r[0]);
	const struct m_seg *s = m_seg(m, sid);
	size_t size = some_size(r[1]);

	/* mostly one that is larger */
	if (s && r[2] % 4 && s->pages < M_PAGES / 2)
		size = s->pages * PAGE + size % BLOCK;
	say("seg_resize(%d, %#zx)", sid, size);
	agree_exactly(seg_resize(sid, size), m_resize(m, sid, size));
}

void do_discard(const unsigned int *r)
{
	int sid = some_seg(r[0]);
	uintptr_t at = some_page(r[1], sid);
	size_t length = some_length(r[2], sid);

	say("seg_discard(%d, %#lx, %#zx)", sid, at, length);
	agree_exactly(r[3] & 1 ? seg_discard(sid, (void *)at, length) :
		      seg_ctl(sid, SEG_CTL_DISCARD, (void *)at, length),
		      m_discard(m, sid, at, length));
}

void do_move(const unsigned int *r)
{
	int from = some_seg(r[0]), to = some_seg(r[1]);
	uintptr_t src = some_page(r[2], from), dst = some_page(r[3], to);
	size_t length = some_length(r[4], from);

	say("seg_move(%d, %#lx, %d, %#lx, %#zx)", from, src, to, dst, length);
	agree_exactly(seg_move(from, (void *)src, to, (void *)dst, length),
		      m_move(m, from, src, to, dst, length));
}

void do_pager(const unsigned int *r)
{
	int sid = some_seg(r[0]), on = r[1] % 3 == 0;

	say("seg_pager(%d, %d)", sid, on);
	agree_exactly(r[2] & 1 ? seg_pager(sid, on) :
		      seg_ctl(sid, on ? SEG_CTL_PAGER_ON : SEG_CTL_PAGER_OFF),
		      m_pager(m, sid, on));
}
