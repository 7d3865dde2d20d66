// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend's folder: which it takes, and what becomes in it of what
 * the dead have left.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

static char folder[64];

static void new_folder(mode_t mode)
{
	tcase_folder(folder, sizeof(folder), "registry");
	check_eq(chmod(folder, mode), 0);
	setenv("PVVAS_SOFT_DIR", folder, 1);
}

static void remove_folder(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	check_eq(system(command), 0);
}

static int entries(const char *prefix)
{
	DIR *dir = opendir(folder);
	struct dirent *e;
	int n = 0;

	check(dir);
	while ((e = readdir(dir)))
		n += !strncmp(e->d_name, prefix, strlen(prefix));
	closedir(dir);
	return n;
}

static void use_it(void *arg)
{
	check_eq(vas_next(0), *(int *)arg);
}

/* Another process begins to use the folder, and gets this. */
static void using_it_is(int want)
{
	tcase_join(tcase_spawn(use_it, &want));
}

static void a_folder_that_others_may_write_to_is_refused(void)
{
	static const mode_t bad[] = { 0720, 0702, 0777, 0770 };
	static const mode_t good[] = { 0700, 0755, 0711 };
	size_t i;

	new_folder(0700);
	for (i = 0; i < 4; i++) {
		check_eq(chmod(folder, bad[i]), 0);
		using_it_is(-EACCES);
		check_eq(entries("registry"), 0);
	}
	for (i = 0; i < 3; i++) {
		check_eq(chmod(folder, good[i]), 0);
		using_it_is(-ENOENT);
	}
	if (!geteuid()) {
		check_eq(chown(folder, 1234, 0), 0);
		using_it_is(-EACCES);
	}
	remove_folder();
}

static void what_is_no_folder_is_refused(void)
{
	char link[80];

	new_folder(0700);
	snprintf(link, sizeof(link), "%s/link", folder);
	check_eq(symlink(folder, link), 0);
	setenv("PVVAS_SOFT_DIR", link, 1);
	using_it_is(-ENOTDIR);
	check_eq(unlink(link), 0);
	close(open(link, O_CREAT | O_WRONLY, 0600));
	using_it_is(-ENOTDIR);
	check_eq(unlink(link), 0);
	/* nothing there: it is made, for this user alone */
	using_it_is(-ENOENT);
	{
		struct stat st;

		check_eq(stat(link, &st), 0);
		check_eq(st.st_mode, S_IFDIR | 0700);
	}
	snprintf(link, sizeof(link), "%s/none/such", folder);
	setenv("PVVAS_SOFT_DIR", link, 1);
	/* as -ENOENT says that there is no object */
	using_it_is(-ENOTDIR);
	remove_folder();
}

static void a_registry_of_another_version_is_eproto(void)
{
	char path[80];
	struct stat st;
	int fd;

	new_folder(0700);
	using_it_is(-ENOENT);
	snprintf(path, sizeof(path), "%s/registry", folder);
	fd = open(path, O_RDWR);
	check(fd >= 0);
	check_eq(fstat(fd, &st), 0);
	check_eq(st.st_mode, S_IFREG | 0600);
	check_eq(pwrite(fd, "another", 8, 0), 8);
	using_it_is(-EPROTO);
	check_eq(ftruncate(fd, 0), 0);
	using_it_is(-ENOENT);
	check_eq(ftruncate(fd, st.st_size - 1), 0);
	using_it_is(-EPROTO);
	check_eq(ftruncate(fd, st.st_size + 4096), 0);
	using_it_is(-EPROTO);
	close(fd);
	remove_folder();
}

static int ready[2];

static void tell(void)
{
	char c = 0;

	check_eq(write(ready[1], &c, 1), 1);
}

static void make_and_stay(void *arg)
{
	int vid = check_id(vas_create(NULL, 0600)), named;
	int sid = check_id(seg_alloc(NULL, BASE, MIB, 0600));
	int own = check_id(seg_alloc(NULL, BASE + 4 * MIB, MIB, 0600));

	(void)arg;
	named = check_id(seg_alloc("named", BASE + 8 * MIB, MIB, 0600));
	check_eq(seg_attach(vid, sid), 0);
	vid = check_id(vas_attach(vid));
	check_eq(seg_attach(vid, own), 0);
	check_eq(seg_attach(vid, named), 0);
	check_eq(vas_switch(vid), 0);
	BASE[0] = BASE[4 * MIB] = 1;
	strcpy(BASE + 8 * MIB, "stays");
	check_eq(seg_protect(sid, BASE, 4096, 1), 0);
	tell();
	pause();
}

static struct pvvas_stats counts(void)
{
	struct pvvas_stats st = { .size = sizeof(st) };

	check_eq(pvvas_stats(&st), 0);
	return st;
}

static void what_the_dead_have_left_goes(void)
{
	struct seg_attr a = { .size = sizeof(a) };
	struct pvvas_stats st;
	char c;
	pid_t pid;
	int sid;

	new_folder(0700);
	check_eq(pipe(ready), 0);
	pid = tcase_spawn(make_and_stay, NULL);
	check_eq(read(ready[0], &c, 1), 1);
	st = counts();
	check_eq(st.vases, 1);
	check_eq(st.segs, 3);
	check_eq(st.attachments, 1);
	check_eq(st.pages, 3);
	check_eq(entries("segment-"), 3);
	check_eq(entries("prot-"), 1);
	/* dead, though its parent has not heard of it */
	check_eq(kill(pid, SIGKILL), 0);
	check_eq(waitid(P_PID, pid, NULL, WEXITED | WNOWAIT), 0);
	/* seen by processes that begin now as by those before */
	using_it_is(-ENOENT);
	st = counts();
	check_eq(st.vases, 0);
	check_eq(st.segs, 1);
	check_eq(st.attachments, 0);
	check_eq(st.pages, 1);
	check_eq(entries("segment-"), 1);
	check_eq(entries("prot-"), 0);
	sid = check_id(seg_find("named"));
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &a), 0);
	check_eq(a.users, 0);
	tcase_join_killed(pid, SIGKILL);
	check_eq(seg_delete(sid), 0);
	check_eq(entries("segment-"), 0);
	remove_folder();
}

static void *stay(void *arg)
{
	(void)arg;
	usleep(100000);
	tell();
	pause();
	return NULL;
}

static void end_the_first_thread(void *arg)
{
	pthread_t thread;

	(void)arg;
	check_id(vas_create(NULL, 0600));
	check_eq(pthread_create(&thread, NULL, stay, NULL), 0);
	pthread_exit(NULL);
}

/* Its first thread is a zombie, and it lives. */
static void a_process_lives_as_long_as_any_of_its_threads(void)
{
	pid_t pid;
	char c;

	new_folder(0700);
	check_eq(pipe(ready), 0);
	pid = tcase_spawn(end_the_first_thread, NULL);
	check_eq(read(ready[0], &c, 1), 1);
	check_eq(counts().vases, 1);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
	check_eq(counts().vases, 0);
	remove_folder();
}

/* See soft.h; what is refused leaves nothing, and room is used again. */
static void a_full_table_is_enospc(void)
{
	static int ids[65600];
	int n = 0, sid, vh = 0, next;

	new_folder(0700);
	sid = check_id(seg_alloc(NULL, BASE, 4096, 0600));
	while ((ids[n] = vas_create(NULL, 0600)) > 0)
		n++;
	check_eq(ids[n], -ENOSPC);
	check_eq(n, 65535);
	check_eq(seg_alloc("full", NULL, 4096, 0600), -ENOSPC);
	check_eq(seg_clone(sid), -ENOSPC);
	check_eq(seg_map2(sid, NULL), -ENOSPC);
	check_eq(vas_clone(ids[0]), -ENOSPC);
	check_eq(entries("segment-"), 1);
	check_eq(vas_delete(ids[7]), 0);
	check_id(vas_create(NULL, 0600));
	for (n = 0; (next = vas_attach(ids[0])) > 0; n++)
		vh = next;
	check_eq(next, -ENOSPC);
	check_eq(n, 65535);
	check_eq(vas_detach(vh), 0);
	check_id(vas_attach(ids[0]));
	remove_folder();
}

static void become_another_user(void *arg)
{
	(void)arg;
	check_id(vas_next(0));
	check_eq(setgid(65534), 0);
	check_eq(setuid(65534), 0);
	/* it may not signal the process that made the VAS: which lives */
	check_eq(counts().vases, 1);
}

static void who_may_not_be_signalled_is_not_dead(void)
{
	if (geteuid())
		tcase_skip("needs root");
	new_folder(0700);
	check_id(vas_create(NULL, 0600));
	tcase_join(tcase_spawn(become_another_user, NULL));
	check_eq(counts().vases, 1);
	remove_folder();
}

#define CROWD	64
#define ROUNDS	40

/* Half of the objects stay. */
/* Make others look at everything, in a root that has no /proc. */
static void look_from_an_empty_root(void *arg)
{
	(void)arg;
	check_eq(vas_next(0) > 0, 1);
	check_eq(chroot(folder), 0);
	usleep(1100000);
	check(vas_next(0) > 0);
}

static void who_sees_no_proc_takes_nothing_from_others(void)
{
	int vh;

	if (geteuid())
		tcase_skip("needs root");
	new_folder(0700);
	vh = check_id(vas_attach(check_id(vas_create(NULL, 0600))));
	tcase_join(tcase_spawn(look_from_an_empty_root, NULL));
	check_eq(vas_switch(vh), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	remove_folder();
}

static void look_from_another_pid_namespace(void *arg)
{
	pid_t pid;

	check_eq(unshare(CLONE_NEWPID), 0);
	pid = fork();
	if (!pid) {
		check(vas_next(0) > 0);
		usleep(1100000);
		check(vas_next(0) > 0);
		_exit(0);
	}
	tcase_join(pid);
	(void)arg;
}

static void pid_namespaces_do_not_matter(void)
{
	int vh;

	if (geteuid())
		tcase_skip("needs root");
	new_folder(0700);
	vh = check_id(vas_attach(check_id(vas_create(NULL, 0600))));
	tcase_join(tcase_spawn(look_from_another_pid_namespace, NULL));
	check_eq(vas_switch(vh), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	remove_folder();
}

static void attach_and_execute(void *arg)
{
	check_id(vas_attach(*(int *)arg));
	execlp("sleep", "sleep", "60", NULL);
	_exit(1);
}

static void another_program_has_no_attachments(void)
{
	int vid, i;
	pid_t pid;

	new_folder(0700);
	vid = check_id(vas_create(NULL, 0600));
	pid = tcase_spawn(attach_and_execute, &vid);
	for (i = 0; i < 500 && !counts().attachments; i++)
		usleep(10000);
	for (i = 0; i < 500 && counts().attachments; i++)
		usleep(10000);
	check_eq(counts().attachments, 0);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
	remove_folder();
}

#define SHOWN	32700

/* One page in each block, so that each is a mapping between two holes. */
static void a_vas_shows_32700_segments(void)
{
	int vid, vh, sid, i;

	new_folder(0700);
	vid = check_id(vas_create(NULL, 0600));
	for (i = 0; i < SHOWN; i++) {
		sid = check_id(seg_alloc(NULL, BASE + 2 * MIB * (size_t)i, 4096,
					 0600));
		check_eq(seg_attach(vid, sid), 0);
	}
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	BASE[2 * MIB * (SHOWN - 1)] = 1;
	check_eq(vas_switch(VAS_HOME), 0);
	sid = check_id(seg_alloc(NULL, BASE + 2 * MIB * SHOWN, 4096, 0600));
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(vh), -ENOSPC);
	check_eq(vas_current(), VAS_HOME);
	check_eq(tcase_try_read(BASE).sig, SIGSEGV);
	remove_folder();
}

static void create_and_attach(void *arg)
{
	int i, vid, sid, vh;
	char name[64];

	for (i = 0; i < ROUNDS; i++) {
		snprintf(name, sizeof(name), "%d.%d", *(int *)arg, i);
		vid = check_id(vas_create(name, 0600));
		sid = check_id(seg_alloc(name, BASE, 65536, 0600));
		check_eq(seg_attach(vid, sid), 0);
		vh = check_id(vas_attach(check_id(vas_find(name))));
		check_eq(vas_switch(vh), 0);
		*BASE = 1;
		check_eq(vas_switch(VAS_HOME), 0);
		if (i & 1)
			continue;
		check_eq(vas_detach(vh), 0);
		check_eq(vas_delete(vid), 0);
		check_eq(seg_delete(sid), 0);
	}
}

static double seconds_of(const struct timeval *tv)
{
	return (double)tv->tv_sec + (double)tv->tv_usec / 1e6;
}

/*
 * What each does under the lock, the others wait for.  The time of the
 * processors is counted, not that of the clock, which others share.
 */
static void a_crowd_does_not_wait_for_looks_at_everything(void)
{
	struct rusage usage;
	pid_t pids[CROWD];
	int numbers[CROWD], i;
	double used;

	new_folder(0700);
	for (i = 0; i < CROWD; i++) {
		numbers[i] = i;
		pids[i] = tcase_spawn(create_and_attach, &numbers[i]);
	}
	for (i = 0; i < CROWD; i++)
		tcase_join(pids[i]);
	check_eq(getrusage(RUSAGE_CHILDREN, &usage), 0);
	used = seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime);
	tcase_note("%d processes, %d rounds: %.2f s of processors", CROWD,
		   ROUNDS, used);
	check(used < 4);
	check_eq(counts().vases, CROWD * ROUNDS / 2);
	check_eq(counts().segs, CROWD * ROUNDS / 2);
	check_eq(counts().attachments, 0);
	remove_folder();
}

static const struct tcase cases[] = {
	CASE(a_folder_that_others_may_write_to_is_refused),
	CASE(what_is_no_folder_is_refused),
	CASE(a_registry_of_another_version_is_eproto),
	CASE(what_the_dead_have_left_goes),
	CASE(a_full_table_is_enospc),
	CASE(a_crowd_does_not_wait_for_looks_at_everything),
	CASE(who_may_not_be_signalled_is_not_dead),
	CASE_SECONDS(a_vas_shows_32700_segments, 240),
	CASE(who_sees_no_proc_takes_nothing_from_others),
	CASE(pid_namespaces_do_not_matter),
	CASE(another_program_has_no_attachments),
	CASE(a_process_lives_as_long_as_any_of_its_threads),
};

int main(void)
{
	setenv("PVVAS_BACKEND", "soft", 1);
	return tcase_main(cases, sizeof(cases) / sizeof(cases[0]),
			  TCASE_NO_DRIVER);
}
