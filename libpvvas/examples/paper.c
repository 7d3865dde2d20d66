// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The example of the SpaceJMP paper: one process makes a VAS with a segment at
 * a fixed address; another one finds it by name, switches into it, and writes
 * through a pointer.
 */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

static char *const va = (char *)VAS_WINDOW_FIRST;
static const size_t sz = 1UL << 35;

static int create(void)
{
	int vid, sid;

	vid = vas_create("v0", 0660);
	sid = seg_alloc("s0", va, sz, 0660);
	return seg_attach(vid, sid);
}

/* In another process; alone: attached to the handle, not for all. */
static int use(int alone)
{
	int vid, vh, sid, *t = (int *)va;

	vid = vas_find("v0");
	vh = vas_attach(vid);
	if (alone) {
		sid = seg_alloc("s1", va + sz, sz, 0660);
		if (seg_attach(vh, sid) || seg_delete(sid))
			return 1;
		t = (int *)(va + sz);
	}
	if (vas_switch(vh))
		return 1;
	*t = 42;
	printf("%d at %p\n", *t, (void *)t);
	return vas_switch(VAS_HOME) ? 1 : 0;
}

static int in_another_process(int alone)
{
	int status = 1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		status = use(alone);
		fflush(stdout);
		_exit(status);
	}
	waitpid(pid, &status, 0);
	return status;
}

int main(void)
{
	int err = create();

	if (!err)
		err = in_another_process(0) || in_another_process(1);
	seg_delete(seg_find("s0"));
	vas_delete(vas_find("v0"));
	return err ? 1 : 0;
}
