// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A segment that this process looks into, which others may write to.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>

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

static sigjmp_buf taken_away;

static void on_fault(int sig)
{
	siglongjmp(taken_away, sig);
}

int tool_guarded(int (*fn)(void *arg), void *arg)
{
	struct sigaction act = { .sa_handler = on_fault };
	int err;

	if (sigsetjmp(taken_away, 1)) {
		vas_switch(VAS_HOME);
		return -EFAULT;
	}
	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	err = fn(arg);
	if (err != -EOWNERDEAD)
		vas_switch(VAS_HOME);
	return err;
}

int tool_segment_error(int err, const char *name)
{
	if (err == -EFAULT)
		return tool_error_text(err, "protected, or without memory",
				       "seg %s", name);
	return tool_error(err, "seg %s", name);
}
