// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A list in the heap of a segment, that every process may add to and take from.
 *
 *   shared-list add word ...
 *   shared-list show
 *   shared-list clear
 *   shared-list delete
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pvvas.h>

#define NAME	"shared-list"
#define SIZE	(1UL << 30)

struct node {
	struct node *next;
	char word[];
};

static int fail(const char *what, int err)
{
	fprintf(stderr, "shared-list: %s: %s\n", what, strerror(-err));
	return 1;
}

static int make(void)
{
	int vid = vas_create(NAME, 0600), sid, err;

	if (vid < 0)
		return vid;
	sid = seg_alloc(NAME, NULL, SIZE, 0600);
	err = sid < 0 ? sid : seg_attach(vid, sid);
	if (err)
		vas_delete(vid);
	return err ? err : vid;
}

/* Into the VAS; the first process makes it. */
static int enter(void)
{
	int vid = vas_find(NAME), vh;

	if (vid == -ENOENT)
		vid = make();
	vh = vid < 0 ? vid : vas_attach(vid);
	return vh < 0 ? vh : vas_switch(vh);
}

/* The root of the heap is the first node; others may change it meanwhile. */
static int add(const char *word)
{
	struct node **first = (struct node **)vas_root();
	struct node *n = vas_malloc(sizeof(*n) + strlen(word) + 1);

	if (!first || !n)
		return -errno;
	strcpy(n->word, word);
	n->next = __atomic_load_n(first, __ATOMIC_ACQUIRE);
	while (!__atomic_compare_exchange_n(first, &n->next, n, 0,
					    __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		;
	return 0;
}

static int show(void)
{
	struct node **first = (struct node **)vas_root(), *n;

	if (!first)
		return -errno;
	for (n = __atomic_load_n(first, __ATOMIC_ACQUIRE); n; n = n->next)
		puts(n->word);
	return 0;
}

static int clear(void)
{
	struct node **first = (struct node **)vas_root(), *n, *next;
	int err = 0;

	if (!first)
		return -errno;
	n = __atomic_exchange_n(first, NULL, __ATOMIC_ACQ_REL);
	for (; n && !err; n = next) {
		next = n->next;
		err = vas_free(n);
	}
	return err;
}

static int delete(void)
{
	int vid = vas_find(NAME), sid = seg_find(NAME), err;

	err = vid < 0 ? vid : vas_delete(vid);
	return err ? err : sid < 0 ? sid : seg_delete(sid);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int err, i;

	if (!strcmp(what, "delete")) {
		err = delete();
		return err ? fail(what, err) : 0;
	}
	err = enter();
	if (err)
		return fail("entering the VAS", err);
	if (!strcmp(what, "add"))
		for (i = 2; i < argc && !err; i++)
			err = add(argv[i]);
	else if (!strcmp(what, "show"))
		err = show();
	else if (!strcmp(what, "clear"))
		err = clear();
	else
		fputs("usage: shared-list add word ... | show | clear | delete\n",
		      stderr);
	return err ? fail(what, err) : 0;
}
