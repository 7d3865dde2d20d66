// SPDX-License-Identifier: LGPL-2.1-or-later
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pvvas.h>

#include "allocators.h"

/* More than any trace needs; memory is taken at first touch. */
#define SEGMENT_SIZE	(4UL << 30)

static void no_setup(void)
{
}

/*
 * A segment, used as a program uses it.
 */
static int sid;

static void must(int ret, const char *what)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-ret));
	exit(1);
}

static void seg_setup(void)
{
	int vid, vh;

	must(pvvas_backend_select(PVVAS_BACKEND_SOFT), "pvvas_backend_select");
	vid = vas_create(NULL, 0600);
	must(vid, "vas_create");
	sid = seg_alloc(NULL, NULL, SEGMENT_SIZE, 0600);
	must(sid, "seg_alloc");
	must(seg_attach(vid, sid), "seg_attach");
	vh = vas_attach(vid);
	must(vh, "vas_attach");
	must(vas_switch(vh), "vas_switch");
}

static void *from_seg_malloc(size_t size)
{
	return seg_malloc(sid, size);
}

static void *from_seg_calloc(size_t n, size_t size)
{
	return seg_calloc(sid, n, size);
}

static void *from_seg_realloc(void *p, size_t size)
{
	return seg_realloc(sid, p, size);
}

static void *from_seg_memalign(size_t align, size_t size)
{
	return seg_memalign(sid, align, size);
}

static void to_seg_free(void *p)
{
	must(seg_free(sid, p), "seg_free");
}

/*
 * Nothing at all.
 */
static char nothing[64];

static void *no_malloc(size_t size)
{
	(void)size;
	return nothing;
}

static void *no_calloc(size_t n, size_t size)
{
	(void)n;
	(void)size;
	return nothing;
}

static void *no_realloc(void *p, size_t size)
{
	(void)size;
	return p ? p : nothing;
}

static void *no_memalign(size_t align, size_t size)
{
	(void)align;
	(void)size;
	return nothing;
}

static void no_free(void *p)
{
	(void)p;
}

static const struct allocator allocators[] = {
	{ "none", false, no_setup, no_malloc, no_calloc, no_realloc,
	  no_memalign, no_free },
	{ "glibc", true, no_setup, malloc, calloc, realloc, memalign, free },
	{ "heap", true, seg_setup, from_seg_malloc, from_seg_calloc,
	  from_seg_realloc, from_seg_memalign, to_seg_free },
};

const struct allocator *find_allocator(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(allocators) / sizeof(allocators[0]); i++)
		if (!strcmp(allocators[i].name, name))
			return &allocators[i];
	return NULL;
}
