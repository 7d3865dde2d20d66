// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas heap: what is in the heap of a segment, and what nothing leads to.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <pvvas.h>

#include "tool.h"

struct looking {
	struct tool_segment s;
	bool collect;
	struct seg_heap_stat st;
	int64_t lost;
};

/* Is there a heap?  The calls below would make one of a blank segment. */
static bool is_blank(const struct tool_segment *s)
{
	return !*(volatile uint64_t *)s->base;
}

static int look(const struct tool_segment *s, bool collect,
		struct seg_heap_stat *st, int64_t *lost)
{
	if (is_blank(s))
		return -EEXIST;
	*lost = seg_heap_collect(s->sid, collect ? 0 : SEG_HEAP_COUNT, NULL,
				 NULL);
	if (*lost < 0)
		return (int)*lost;
	return seg_heap_stat(s->sid, st);
}

static int look_at(void *arg)
{
	struct looking *l = arg;
	int err = vas_switch(l->s.vh);

	/* leaving after -EOWNERDEAD gives the segment up; ending there does not */
	return err ? err : look(&l->s, l->collect, &l->st, &l->lost);
}

static void print_heap(const struct seg_heap_stat *st, bool collect,
		       int64_t lost)
{
	const char *what = collect ? "collected" : "unreachable";

	if (tool_json)
		printf("{\"bytes\":%" PRIu64 ",\"used\":%" PRIu64
		       ",\"blocks\":%" PRIu64 ",\"free\":%" PRIu64
		       ",\"largest_free\":%" PRIu64 ",\"recoveries\":%" PRIu64
		       ",\"%s\":%" PRId64 "}\n", st->bytes, st->used,
		       st->blocks, st->free, st->largest_free, st->recoveries,
		       what, lost);
	else
		printf("%-13s %12" PRIu64 "\n%-13s %12" PRIu64
		       "\n%-13s %12" PRIu64 "\n%-13s %12" PRIu64
		       "\n%-13s %12" PRIu64 "\n%-13s %12" PRIu64
		       "\n%-13s %12" PRId64 "\n", "bytes", st->bytes, "used",
		       st->used, "blocks", st->blocks, "free", st->free,
		       "largest free", st->largest_free, "recoveries",
		       st->recoveries, what, lost);
}

int cmd_heap(int argc, char **argv)
{
	struct looking l = {
		.collect = argc == 2 && !strcmp(argv[1], "--collect"),
		.st.size = sizeof(l.st),
	};
	int err;

	if (argc != 1 && !l.collect)
		return tool_usage();
	err = tool_open_segment(&l.s, argv[0]);
	if (!err)
		err = tool_guarded(look_at, &l);
	if (err == -EEXIST)
		return tool_error(err, "seg %s: there is no heap", argv[0]);
	if (err)
		return tool_segment_error(err, argv[0]);
	print_heap(&l.st, l.collect, l.lost);
	return TOOL_OK;
}
