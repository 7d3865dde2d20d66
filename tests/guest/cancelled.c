// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads that are cancelled while they are in a call of the library: no call
 * ends in the middle, and nothing stays locked.
 */
#include <errno.h>
#include <stdbool.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((void *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

static int vid, sid, vh;
static char folder[256], file[300];

static int result;
static volatile bool came_back;

static void *call_cancelled(void *call)
{
	pthread_cancel(pthread_self());
	result = (*(int (**)(void))call)();
	came_back = true;
	pthread_testcancel();
	return NULL;
}

/* What the call answers to a thread that shall end at its next such point. */
static int cancelled(int (*call)(void))
{
	pthread_t thread;
	void *end;

	came_back = false;
	check_eq(pthread_create(&thread, NULL, call_cancelled, &call), 0);
	check_eq(pthread_join(thread, &end), 0);
	check(end == PTHREAD_CANCELED);
	check(came_back);
	return result;
}

static int make_vas(void)
{
	return vas_create(NULL, 0600);
}

static void the_first_call_of_a_process_comes_to_its_end(void)
{
	vid = cancelled(make_vas);
	tcase_track_vas(check_id(vid));
	check_eq(vas_delete(vid), 0);
}

static int attach(void)
{
	return vas_attach(vid);
}

static int go(void)
{
	int err = vas_switch(vh);

	return err ? err : vas_switch(VAS_HOME);
}

static int detach(void)
{
	return vas_detach(vh);
}

static int make_lockable(void)
{
	vid = tcase_vas_with_seg(BASE, MIB, &sid);
	return seg_ctl(sid, SEG_CTL_LOCK_ON);
}

static void attaching_and_switching_leave_nothing_locked(void)
{
	pid_t child;

	check_eq(make_lockable(), 0);
	vh = check_id(cancelled(attach));
	check_eq(cancelled(go), 0);
	/* a fork needs what a call may have locked */
	child = fork();
	if (!child)
		_exit(0);
	tcase_join(child);
	check_eq(go(), 0);
	check_eq(cancelled(detach), 0);
	vh = check_id(vas_attach(vid));
	check_eq(go(), 0);
}

static int open_file(void)
{
	return seg_open(file, (char *)BASE + 8 * MIB, MIB, SEG_OPEN_CREATE);
}

static int sync_file(void)
{
	return seg_sync(sid, (char *)BASE + 8 * MIB, MIB);
}

static int save(void)
{
	return vas_save(&vid, 1, folder, NULL);
}

static int load(void)
{
	return vas_load(folder, NULL);
}

static int probe(void)
{
	return pvvas_probe(PVVAS_FEATURE_DRIVER);
}

static void what_opens_files_comes_to_its_end(void)
{
	tcase_folder(folder, sizeof(folder), "set");
	snprintf(file, sizeof(file), "%s.file", folder);
	vid = tcase_vas(NULL, 0600);
	sid = cancelled(open_file);
	tcase_track_seg(check_id(sid));
	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	*((volatile char *)BASE + 8 * MIB) = 1;
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(cancelled(sync_file), 0);
	check_eq(unlink(file), 0);
	snprintf(file, sizeof(file), "/%s", tcase_name("set"));
	check_eq(vas_publish(vid, file + 1), 0);
	check_eq(seg_publish(sid, file + 1), 0);
	check_eq(cancelled(save), 0);
	check_eq(cancelled(load), -EEXIST);
	check(cancelled(probe) != PVVAS_UNKNOWN);
}

static const struct tcase cases[] = {
	CASE(the_first_call_of_a_process_comes_to_its_end),
	CASE(attaching_and_switching_leave_nothing_locked),
	CASE(what_opens_files_comes_to_its_end),
};

TCASE_MAIN(cases, 0)
