// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control file system: objects as files, and what the administrator reads
 * about processes that use them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "patience.h"
#include "files.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define DIR_	"/sys/fs/pvvas"
#define NOBODY	1000

static const char *text;

static const char *path_of(const char *kind, const char *name)
{
	static char paths[4][512];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), DIR_ "/%s/%s", kind, name);
	return path;
}

static void mounted(void)
{
	file_mount("pvvas", DIR_);
}

static void unmounted(void)
{
	check_eq(umount(DIR_), 0);
}

static struct stat attributes(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		tcase_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	return st;
}

static bool listed(const char *kind, const char *name)
{
	DIR *dir = opendir(path_of(kind, ""));
	struct dirent *entry;
	int found = 0;

	check(dir);
	while ((entry = readdir(dir)))
		found += !strcmp(entry->d_name, name);
	closedir(dir);
	check(found <= 1);
	return found;
}

static void names_are_files_with_owner_mode_and_size(void)
{
	const char *v = tcase_name("v"), *s = tcase_name("s");
	int vid, sid, vh;
	struct stat st;

	mounted();
	vid = tcase_vas(v, 0640);
	sid = tcase_seg(s, BASE, 8 * MIB, 0604);
	check(listed("vas", v) && !listed("vas", s));
	check(listed("seg", s) && !listed("seg", v));
	st = attributes(path_of("vas", v));
	check_eq(st.st_mode, S_IFREG | 0640);
	check_eq(st.st_uid, 0);
	st = attributes(path_of("seg", s));
	check_eq(st.st_mode, S_IFREG | 0604);
	check_eq(st.st_size, 8 * MIB);
	check_eq(st.st_blocks, 0);
	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	BASE[0] = BASE[4096] = 1;
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(attributes(path_of("seg", s)).st_blocks, 16);
	check_eq(stat(path_of("vas", "not.there"), &st), -1);
	check_eq(errno, ENOENT);
	unmounted();
}

static void many_names_are_listed_once_each(void)
{
	char name[64];
	int i, seen = 0;
	struct dirent *entry;
	DIR *dir;

	mounted();
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "many.%d", i);
		tcase_vas(name, 0600);
	}
	dir = opendir(path_of("vas", ""));
	while ((entry = readdir(dir)))
		seen += !strncmp(entry->d_name, "many.", 5);
	closedir(dir);
	check_eq(seen, 1000);
	unmounted();
}

static void chmod_and_chown_are_those_of_the_object(void)
{
	struct seg_attr attr = { .size = sizeof(attr), .valid = VAS_ATTR_MODE,
				 .mode = 0640 };
	const char *s = tcase_name("s");
	struct stat st;
	int sid;

	mounted();
	sid = tcase_seg(s, BASE, MIB, 0600);
	check_eq(chmod(path_of("seg", s), 0444), 0);
	check_eq(chown(path_of("seg", s), 12, 34), 0);
	st = attributes(path_of("seg", s));
	check_eq(st.st_mode, S_IFREG | 0444);
	check_eq(st.st_uid, 12);
	check_eq(st.st_gid, 34);
	check_eq(seg_ctl(sid, SEG_CTL_SETATTR, &attr), 0);
	check_eq(attributes(path_of("seg", s)).st_mode, S_IFREG | 0640);
	check_eq(chmod(path_of("seg", s), 04755), -1);
	check_eq(truncate(path_of("seg", s), 0), -1);
	unmounted();
}

static void rm_takes_the_name_away(void)
{
	const char *v = tcase_name("v");
	int vid, vh;

	mounted();
	vid = tcase_vas(v, 0600);
	vh = check_id(vas_attach(vid));
	check_eq(unlink(path_of("vas", v)), 0);
	check_eq(vas_find(v), -ENOENT);
	check(!listed("vas", v));
	check_eq(unlink(path_of("vas", v)), -1);
	check_eq(errno, ENOENT);
	/* alive until its last user goes */
	check_eq(vas_switch(vh), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
	unmounted();
}

static void as_another_user(void *arg)
{
	const char **path = arg;

	check_eq(setgid(NOBODY), 0);
	check_eq(setuid(NOBODY), 0);
	check_eq(unlink(path[0]), -1);
	check_eq(errno, EPERM);
	check_eq(chmod(path[0], 0777), -1);
	check_eq(errno, EPERM);
	check_eq(chown(path[0], NOBODY, NOBODY), -1);
	check_eq(open(path[0], O_RDONLY), -1);
	check_eq(errno, EACCES);
	check(open(path[1], O_RDONLY) >= 0);
	check_eq(open(DIR_ "/processes", O_RDONLY), -1);
	check_eq(errno, EACCES);
	check(open(DIR_ "/usage", O_RDONLY) >= 0);
}

static void files_obey_the_rules_of_the_objects(void)
{
	const char *v = tcase_name("v"), *w = tcase_name("w"), *path[2];

	mounted();
	tcase_vas(v, 0600);
	tcase_vas(w, 0644);
	path[0] = path_of("vas", v);
	path[1] = path_of("vas", w);
	tcase_join(tcase_spawn(as_another_user, path));
	check_eq(check_id(vas_find(v)) > 0, 1);
	unmounted();
}

struct stayer {
	const char *vas;
	atomic_int handle;
	atomic_int leave;
};

static void stay_inside(void *arg)
{
	struct stayer *st = arg;
	int vh = check_id(vas_attach(check_id(vas_find(st->vas))));

	check_eq(vas_switch(vh), 0);
	atomic_store(&st->handle, vh);
	while (!atomic_load(&st->leave))
		usleep(1000);
}

static void processes_show_attachments_and_the_view_of_each_thread(void)
{
	struct stayer *st = tcase_shared(sizeof(*st));
	const char *v = tcase_name("v"), *s = tcase_name("s");
	char want[4][128];
	int vid, sid, i;
	pid_t pid;

	mounted();
	vid = tcase_vas(v, 0600);
	sid = tcase_seg(s, BASE, MIB, 0600);
	check_eq(seg_attach(vid, sid), 0);
	st->vas = v;
	pid = tcase_spawn(stay_inside, st);
	while (!atomic_load(&st->handle))
		usleep(1000);
	snprintf(want[0], sizeof(want[0]), "process %d context ", pid);
	snprintf(want[1], sizeof(want[1]), "attachment 0x%x slot 1 rights rw vas %d name %s\n",
		 st->handle, vid, v);
	snprintf(want[2], sizeof(want[2]), "thread %d waiting slot 1 handle 0x%x\n",
		 pid, st->handle);
	text = file_contents(DIR_ "/processes");
	for (i = 0; i < 3; i++)
		if (!strstr(text, want[i]))
			tcase_fail(__FILE__, __LINE__, "no '%s' in: %s",
				   want[i], text);
	snprintf(want[3], sizeof(want[3]), "process %d handle 0x%x", pid,
		 st->handle);
	text = file_contents(path_of("vas", v));
	check(strstr(text, want[3]));
	check(strstr(text, s));
	check(strstr(file_contents(path_of("seg", s)), v));
	atomic_store(&st->leave, 1);
	tcase_join(pid);
	check(!strstr(file_contents(DIR_ "/processes"), want[0]));
	unmounted();
}

static void a_thread_sees_its_own_view_in_the_list(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL), vh;
	char want[128];

	mounted();
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	text = file_contents(DIR_ "/processes");
	snprintf(want, sizeof(want), "thread %d running slot 1 handle 0x%x\n",
		 getpid(), vh);
	check(strstr(text, want));
	check_eq(vas_switch(VAS_HOME), 0);
	text = file_contents(DIR_ "/processes");
	snprintf(want, sizeof(want), "thread %d running slot 0 handle 0x0\n",
		 getpid());
	check(strstr(text, want));
	unmounted();
}

#define SLEEPERS	400
#define ATTACHED	1500

static void *sleep_until_told(void *arg)
{
	atomic_int *leave = arg;

	while (!atomic_load(leave))
		sleep(1);
	return NULL;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A user that makes it long does not hold up all others for it. */
static void the_tool_lists_processes_with_what_they_have_attached(void)
{
	const char *name = tcase_name("v w");
	int vid = tcase_vas(name, 0600), vh = check_id(vas_attach(vid));
	static char out[1 << 16];
	char line[512], json[512];
	FILE *f;
	size_t n;

	mounted();
	check_eq(seg_attach(vid, tcase_seg(NULL, BASE, MIB, 0600)), 0);
	check_eq(vas_switch(vh), 0);
	f = popen("pvvas ps && pvvas --json ps", "r");
	check(f);
	n = fread(out, 1, sizeof(out) - 1, f);
	out[n] = '\0';
	check_eq(pclose(f), 0);
	snprintf(line, sizeof(line), "%8d       1 visible %#x rw 1/1 #%d %s\n",
		 getpid(), (unsigned int)vh, vid, name);
	check(strstr(out, line));
	snprintf(json, sizeof(json), "{\"pid\":%d,\"threads\":1,\"command\":\"visible\",\"attachments\":[{\"handle\":%u,\"vas\":%d,\"writable\":true,\"slot\":1,\"inside\":1,\"name\":\"%s\"}]}",
		 getpid(), (unsigned int)vh, vid, name);
	check(strstr(out, json));
	check_eq(vas_switch(VAS_HOME), 0);
	unmounted();
}

static void a_long_list_is_soon_read(void)
{
	const char *v = tcase_name("v");
	static pthread_t threads[SLEEPERS];
	int vid = tcase_vas(v, 0600), i, lines = 0;
	atomic_int leave = 0;
	const char *at;
	double start;

	mounted();
	for (i = 0; i < ATTACHED; i++)
		check_id(vas_attach(vid));
	tcase_threads(threads, SLEEPERS, sleep_until_told, &leave);
	start = seconds();
	text = file_contents(path_of("vas", v));
	start = seconds() - start;
	tcase_note("%d attachments, %d threads: %.0f ms", ATTACHED, SLEEPERS,
		   start * 1e3);
	for (at = text; (at = strstr(at, "process ")); at++)
		lines++;
	check_eq(lines, ATTACHED);
	check(start < 0.5 * patience());
	atomic_store(&leave, 1);
	for (i = 0; i < SLEEPERS; i++)
		check_eq(pthread_join(threads[i], NULL), 0);
	unmounted();
}

static void names_that_no_file_can_have_are_refused(void)
{
	check_eq(vas_create("a/b", 0600), -EINVAL);
	check_eq(vas_create(".", 0600), -EINVAL);
	check_eq(seg_alloc("..", BASE, MIB, 0600), -EINVAL);
}

static const struct tcase cases[] = {
	CASE(names_are_files_with_owner_mode_and_size),
	CASE(many_names_are_listed_once_each),
	CASE(chmod_and_chown_are_those_of_the_object),
	CASE(rm_takes_the_name_away),
	CASE(files_obey_the_rules_of_the_objects),
	CASE(processes_show_attachments_and_the_view_of_each_thread),
	CASE(a_thread_sees_its_own_view_in_the_list),
	CASE(the_tool_lists_processes_with_what_they_have_attached),
	CASE(a_long_list_is_soon_read),
	CASE(names_that_no_file_can_have_are_refused),
};

TCASE_MAIN(cases, 0)
