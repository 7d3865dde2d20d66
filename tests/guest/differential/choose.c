// SPDX-License-Identifier: GPL-2.0-only
/*
 * Arguments: numbers choose among what is there, what was there, and what never
 * was.
 */
#include <string.h>
#include <sys/mman.h>

#include "choose.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define GIB		(1UL << 30)

struct model *m;
static int gone_vas[4], gone_seg[4], gone_handle[4];

static int junk(unsigned int r)
{
	static const int ids[] = { 0, -1, 1 << 20, 1 << 30, 0x40010001 };

	return ids[r % ARRAY_SIZE(ids)];
}

int some_vas(unsigned int r)
{
	unsigned int i;

	if (r % 32 == 0)
		return junk(r / 32);
	if (r % 32 == 1)
		return gone_vas[r / 32 % 4];
	for (i = 0; i < M_VASES; i++)
		if (m->vas[(r / 32 + i) % M_VASES].id)
			return m->vas[(r / 32 + i) % M_VASES].id;
	return junk(r / 32);
}

int some_seg(unsigned int r)
{
	unsigned int i;

	if (r % 32 == 0)
		return junk(r / 32);
	if (r % 32 == 1)
		return gone_seg[r / 32 % 4];
	for (i = 0; i < M_SEGS; i++)
		if (m->seg[(r / 32 + i) % M_SEGS].obj.id)
			return m->seg[(r / 32 + i) % M_SEGS].obj.id;
	return junk(r / 32);
}

int some_handle(unsigned int r)
{
	unsigned int i;

	if (r % 32 == 0)
		return junk(r / 32);
	if (r % 32 == 1)
		return gone_handle[r / 32 % 4];
	for (i = 0; i < M_ATTS; i++)
		if (m->att[(r / 32 + i) % M_ATTS].handle)
			return m->att[(r / 32 + i) % M_ATTS].handle;
	return junk(r / 32);
}

mode_t some_mode(unsigned int r)
{
	static const mode_t modes[] = { 0600, 0600, 0644, 0666, 0400, 0200, 0,
					0777, 01600 };

	return r % 3 ? 0600 : modes[r / 3 % ARRAY_SIZE(modes)];
}

const char *some_name(unsigned int r)
{
	static char longest[VAS_NAME_MAX + 2];
	static const char *const names[] = {
		NULL, "a", "b", "c", "a.b", "a/b", ".", "..", "", "a\nb",
		"a\033b", "\177", longest,
		longest + 1,
	};
	unsigned int n = r % 4 ? r / 4 % 5 : r / 4 % ARRAY_SIZE(names);

	memset(longest, 'x', sizeof(longest) - 1);
	return names[r & 64 ? 0 : n];
}

const char *shown(const char *name)
{
	return !name ? "NULL" : strlen(name) > 9 ? "LONG" : name;
}

size_t some_size(unsigned int r)
{
	static const size_t sizes[] = {
		PAGE, 3 * PAGE, BLOCK, BLOCK + PAGE, 2 * BLOCK, 5000, PAGE - 1,
		0, SIZE_MAX, 1UL << 62, 8UL << 40,
	};

	return sizes[r % 8 ? r / 8 % 7 : r / 8 % ARRAY_SIZE(sizes)];
}

uintptr_t some_base(unsigned int r)
{
	const uintptr_t bases[] = {
		0, FIRST, FIRST + PAGE, FIRST + BLOCK, FIRST + BLOCK - PAGE,
		FIRST + 4 * BLOCK, FIRST + GIB, FIRST + 3 * GIB,
		m->end - BLOCK, m->end - PAGE,
		FIRST - PAGE, FIRST + 1, m->end, m->end - BLOCK + PAGE,
	};

	return bases[r % 8 ? r / 8 % 10 : r / 8 % ARRAY_SIZE(bases)];
}

/* An address in, or near, the segment; of a page mostly. */
uintptr_t some_page(unsigned int r, int sid)
{
	const struct m_seg *s = m_seg(m, sid);
	size_t pages = s ? s->pages : 1;
	size_t page = r % 4 == 0 ? 0 : r % 4 == 1 ? pages - 1 : r / 64 % pages;

	if (r / 4 % 16 == 0)
		page = pages;
	return (s ? s->base : FIRST) + page * PAGE + (r / 4 % 16 == 1) -
	       (r / 4 % 16 == 2 ? pages * PAGE : 0);
}

size_t some_length(unsigned int r, int sid)
{
	const struct m_seg *s = m_seg(m, sid);
	const size_t lengths[] = {
		PAGE, PAGE, 2 * PAGE, 1, PAGE + 1, (s ? s->pages : 1) * PAGE,
		7 * PAGE, 0, SIZE_MAX,
	};

	return lengths[r % 4 ? r / 4 % 7 : r / 4 % ARRAY_SIZE(lengths)];
}

int some_prot(unsigned int r)
{
	static const int prots[] = { PROT_NONE, PROT_READ,
				     PROT_READ | PROT_WRITE, PROT_WRITE,
				     PROT_READ | PROT_EXEC };

	return prots[r % 4 ? r / 4 % 3 : r / 4 % ARRAY_SIZE(prots)];
}

static void forget(int *gone, int id)
{
	memmove(gone + 1, gone, 3 * sizeof(*gone));
	gone[0] = id;
}

void was_vas(int vid)
{
	forget(gone_vas, vid);
}

void was_seg(int sid)
{
	forget(gone_seg, sid);
}

void was_handle(int handle)
{
	forget(gone_handle, handle);
}
