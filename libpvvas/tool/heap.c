// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas heap: what is in the heap of a segment, and what nothing leads to.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <pvvas.h>

#include "tool.h"

int tool_open_segment(struct tool_segment *s, const char *name)
{
	int vid, err;

	s->sid = tool_find(TOOL_SEG, name);
	if (s->sid < 0)
		return s->sid;
	err = seg_range(s->sid, (void **)&s->base, &s->size);
	if (err)
		return err;
	vid = vas_create(NULL, 0600);
	if (vid < 0)
		return vid;
	s->vh = vas_attach(vid);
	if (s->vh < 0)
		return s->vh;
	return seg_attach(s->vh, s->sid);
}

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

/*
 * Other writers of the segment can protect it meanwhile, or leave no memory for it:
 * the look at it ends then.  A lock that is held goes with this process.
 */
static sigjmp_buf taken_away;

static void on_fault(int sig)
{
	siglongjmp(taken_away, sig);
}

static int look_guarded(const struct tool_segment *s, bool collect,
			struct seg_heap_stat *st, int64_t *lost)
{
	struct sigaction act = { .sa_handler = on_fault };

	if (sigsetjmp(taken_away, 1))
		return -EFAULT;
	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	return look(s, collect, st, lost);
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
	struct seg_heap_stat st = { .size = sizeof(st) };
	bool collect = argc == 2 && !strcmp(argv[1], "--collect");
	struct tool_segment s;
	int64_t lost = 0;
	int err;

	if (argc != 1 && !collect)
		return tool_usage();
	err = tool_open_segment(&s, argv[0]);
	/* leaving after -EOWNERDEAD gives the segment up; ending there does not */
	if (!err)
		err = vas_switch(s.vh);
	if (!err) {
		err = look_guarded(&s, collect, &st, &lost);
		vas_switch(VAS_HOME);
	}
	if (err == -EEXIST)
		return tool_error(err, "seg %s: there is no heap", argv[0]);
	if (err == -EFAULT)
		return tool_error_text(err, "protected, or without memory",
				       "seg %s", argv[0]);
	if (err)
		return tool_error(err, "seg %s", argv[0]);
	print_heap(&st, collect, lost);
	return TOOL_OK;
}
