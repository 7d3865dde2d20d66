// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A generational collector whose write barrier is the dirty bit of pages.
 *
 * Old objects fill the first half of a segment, new ones the second.  A minor
 * collection keeps the new objects that old ones point to.  It does not look at
 * all old objects for that: only at the pages that were written since the last
 * time, which seg_dirty() knows.  No store of the program is instrumented.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pvvas.h>

#define SIZE		(8UL << 20)
#define PAGE		4096UL
#define OLD		((struct object *)VAS_WINDOW_FIRST)
#define NEW		((struct object *)(VAS_WINDOW_FIRST + SIZE / 2))
#define NR_OLD		(SIZE / 2 / sizeof(struct object))
#define MAX_DIRTY	1024

struct object {
	struct object *refers;
	long value;
	long marked;
	long unused;
};

static struct {
	size_t dirty_pages;
	size_t looked_at;
	size_t kept;
} found;

static int is_new(const struct object *o)
{
	return o >= NEW && (char *)o < (char *)OLD + SIZE;
}

/* Mark the new objects that old ones on written pages refer to. */
static int minor_collection(int sid)
{
	static void *pages[MAX_DIRTY];
	struct object *o, *end;
	int n, i;

	memset(&found, 0, sizeof(found));
	do {
		n = seg_dirty(sid, OLD, SIZE / 2, pages, MAX_DIRTY);
		for (i = 0; i < n; i++) {
			end = (struct object *)((char *)pages[i] + PAGE);
			for (o = pages[i]; o < end; o++) {
				found.looked_at++;
				if (!is_new(o->refers) || o->refers->marked)
					continue;
				o->refers->marked = 1;
				found.kept++;
			}
		}
		if (n > 0)
			found.dirty_pages += (size_t)n;
	} while (n == MAX_DIRTY);
	return n < 0 ? n : 0;
}

static int run(int sid)
{
	size_t i;
	int err;

	for (i = 0; i < NR_OLD; i++)
		OLD[i].value = (long)i;
	err = minor_collection(sid);
	if (err)
		return err;
	printf("first: %zu pages written, %zu kept\n", found.dirty_pages,
	       found.kept);
	if (found.dirty_pages != SIZE / 2 / PAGE)
		return 1;

	/* the program goes on: three old objects get to know new ones */
	NEW[1].value = 1;
	NEW[2].value = 2;
	OLD[5].refers = &NEW[1];
	OLD[NR_OLD / 2].refers = &NEW[2];
	OLD[NR_OLD - 1].refers = &NEW[2];
	err = minor_collection(sid);
	printf("second: %zu pages written, %zu of %lu objects looked at, %zu kept\n",
	       found.dirty_pages, found.looked_at, NR_OLD, found.kept);
	if (err || found.dirty_pages != 3 || found.kept != 2 ||
	    !NEW[1].marked || !NEW[2].marked || NEW[3].marked)
		return 1;

	err = minor_collection(sid);
	printf("third: %zu pages written\n", found.dirty_pages);
	return err || found.dirty_pages;
}

int main(void)
{
	int sid = seg_alloc(NULL, OLD, SIZE, 0600);
	int vid = vas_create(NULL, 0600), vh, err;

	err = sid < 0 ? sid : seg_attach(vid, sid);
	vh = err ? err : vas_attach(vid);
	err = vh < 0 ? vh : vas_switch(vh);
	if (!err)
		err = run(sid);
	if (err < 0)
		fprintf(stderr, "gc-barrier: %s\n", strerror(-err));
	vas_switch(VAS_HOME);
	return err ? 1 : 0;
}
