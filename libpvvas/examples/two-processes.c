// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One process leaves a list in a VAS; another one, which was not there when
 * the list was made, walks it.
 *
 *   two-processes write one two three
 *   two-processes read
 *   two-processes delete
 */
#include <stdio.h>
#include <string.h>

#include <pvvas.h>

#define BASE	((struct list *)VAS_WINDOW_FIRST)
#define SIZE	(1UL << 30)

struct item {
	struct item *next;
	char text[];
};

struct list {
	struct item *first;
	char *free;
};

static int fail(const char *what, int err)
{
	fprintf(stderr, "two-processes: %s: %s\n", what, strerror(-err));
	return 1;
}

static int make(void)
{
	int vid = vas_create("two-processes", 0600);
	int sid, err;

	if (vid < 0)
		return vid;
	sid = seg_alloc("two-processes", BASE, SIZE, 0600);
	err = sid < 0 ? sid : seg_attach(vid, sid);
	if (err)
		vas_delete(vid);
	return err ? err : vid;
}

static void add(struct list *list, const char *text)
{
	struct item *item;

	if (!list->free)
		list->free = (char *)(list + 1);
	item = (struct item *)list->free;
	strcpy(item->text, text);
	item->next = list->first;
	list->first = item;
	list->free += (sizeof(*item) + strlen(text) + sizeof(item)) /
		      sizeof(item) * sizeof(item);
}

static int delete_all(void)
{
	int vid = vas_find("two-processes"), sid = seg_find("two-processes");

	if (vid < 0)
		return fail("vas_find", vid);
	vas_delete(vid);
	if (sid > 0)
		seg_delete(sid);
	return 0;
}

int main(int argc, char **argv)
{
	const struct item *item;
	int vid, vh, i, err;

	if (argc == 2 && !strcmp(argv[1], "delete"))
		return delete_all();
	if (argc > 2 && !strcmp(argv[1], "write")) {
		vid = make();
		if (vid < 0)
			return fail("making the VAS", vid);
	} else if (argc == 2 && !strcmp(argv[1], "read")) {
		vid = vas_find("two-processes");
		if (vid < 0)
			return fail("vas_find", vid);
	} else {
		fputs("usage: two-processes write TEXT... | read | delete\n",
		      stderr);
		return 2;
	}
	vh = vas_attach(vid);
	if (vh < 0)
		return fail("vas_attach", vh);
	err = vas_switch(vh);
	if (err)
		return fail("vas_switch", err);
	for (i = 2; i < argc; i++)
		add(BASE, argv[i]);
	if (argc == 2)
		for (item = BASE->first; item; item = item->next)
			puts(item->text);
	return 0;
}
