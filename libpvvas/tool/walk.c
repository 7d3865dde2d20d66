// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * All VASes or all segments.  Ids go up, and so a process that makes objects as fast
 * as this one goes through them could keep it from ever coming to the end.
 */
#include <errno.h>

#include <pvvas.h>

#include "tool.h"

/* So many may come meanwhile: the default limit of the machine. */
#define MORE	65536

void tool_walk_begin(struct tool_walk *w, enum tool_kind kind)
{
	struct pvvas_stats st = { .size = sizeof(st) };

	*w = (struct tool_walk){ .kind = kind, .left = MORE };
	if (!pvvas_stats(&st))
		w->left += kind == TOOL_VAS ? st.vases : st.segs;
}

int tool_walk_next(struct tool_walk *w)
{
	int id = w->kind == TOOL_VAS ? vas_next(w->id) : seg_next(w->id);

	if (id < 0)
		return id;
	if (!w->left)
		return -EAGAIN;
	w->left--;
	w->id = id;
	return id;
}
