// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VAS with a lock and a heap, two threads and two processes.  Prints "ok", or which
 * call failed and how.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

static const char *name_of(int err)
{
	switch (err) {
	case -EAGAIN:
		return "EAGAIN";
	case -EEXIST:
		return "EEXIST";
	case -ENOMEM:
		return "ENOMEM";
	default:
		return strerror(-err);
	}
}

static int or_end(const char *call, int ret)
{
	if (ret < 0) {
		printf("%s: %s\n", call, name_of(ret));
		exit(1);
	}
	return ret;
}

static void *allocate(void *arg)
{
	int vh = *(int *)arg, ret;

	or_end("vas_switch", vas_switch(vh));
	ret = vas_malloc(1000) ? 0 : 1;
	or_end("vas_switch", vas_switch(VAS_HOME));
	return ret ? arg : NULL;
}

static int child(void)
{
	int vh = or_end("vas_attach", vas_attach(or_end("vas_find", vas_find("program"))));
	int wrong;

	or_end("vas_switch", vas_switch(vh));
	wrong = strcmp(*vas_root(), "left for another process");
	return or_end("vas_switch", vas_switch(VAS_HOME)) || wrong;
}

int main(void)
{
	int vid = or_end("vas_create", vas_create("program", 0600)), vh, status;
	int sid = or_end("seg_alloc", seg_alloc("program", (void *)VAS_WINDOW_FIRST,
						 4 << 20, 0600));
	void *wrong;
	pthread_t t;
	pid_t pid;

	or_end("seg_attach", seg_attach(vid, sid));
	or_end("seg_ctl", seg_ctl(sid, SEG_CTL_LOCK_ON));
	vh = or_end("vas_attach", vas_attach(vid));
	or_end("vas_switch", vas_switch(vh));
	*vas_root() = strcpy(vas_malloc(100), "left for another process");
	or_end("vas_switch", vas_switch(VAS_HOME));
	if (pthread_create(&t, NULL, allocate, &vh) || pthread_join(t, &wrong) || wrong)
		return 1;
	pid = fork();
	if (!pid)
		_exit(child());
	waitpid(pid, &status, 0);
	or_end("vas_detach", vas_detach(vh));
	or_end("seg_delete", seg_delete(sid));
	or_end("vas_delete", vas_delete(vid));
	puts(status ? "wrong" : "ok");
	return status != 0;
}
