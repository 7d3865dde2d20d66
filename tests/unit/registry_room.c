// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend where there is no room: full file systems, limits of
 * files, a folder that is removed, a child that forks at its first call.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>
#include <pvvas_heap.h>
#include <pvvas_page.h>

#include "soft.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define PAGE	4096UL
#define MIB	(1UL << 20)
#define LOCKS	300	/* more than a page of the registry has */

static char folder[64];

static void new_folder(void)
{
	tcase_folder(folder, sizeof(folder), "room");
	setenv("PVVAS_SOFT_DIR", folder, 1);
}

/* A file system in memory, of this size, that only this process sees. */
static void new_file_system(const char *options)
{
	new_folder();
	if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
		tcase_skip("no mount namespaces here");
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (mount("room", folder, "tmpfs", 0, options))
		tcase_skip("no file system can be mounted here");
	check_eq(chmod(folder, 0700), 0);
}

static void path_of_filler(char *path, size_t size)
{
	check(snprintf(path, size, "%s/filler", folder) < (int)size);
}

static void fill_file_system(void)
{
	static const char page[PAGE] = "full";
	char path[80];
	int fd;

	path_of_filler(path, sizeof(path));
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	check(fd >= 0);
	while (write(fd, page, sizeof(page)) == sizeof(page))
		;
	check_eq(errno, ENOSPC);
	check_eq(close(fd), 0);
}

static void make_room(void)
{
	char path[80];

	path_of_filler(path, sizeof(path));
	check_eq(unlink(path), 0);
}

static void remove_folder(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	check_eq(system(command), 0);
}

/*
 * What needs room.
 */

static int make_vases(void)
{
	int id;

	while ((id = vas_create(NULL, 0600)) > 0)
		;
	return id;
}

static int make_segments(void)
{
	int id;

	while ((id = seg_alloc(NULL, NULL, PAGE, 0600)) > 0)
		;
	return id;
}

static int attach_often(void)
{
	int vid = check_id(vas_find("plain")), vh;

	while ((vh = vas_attach(vid)) > 0)
		;
	return vh;
}

static int show_many(void)
{
	int vid = check_id(vas_find("plain")), sid = 0, err;

	while ((sid = seg_next(sid)) > 0) {
		err = seg_attach(vid, sid);
		if (err && err != -EEXIST)
			return err;
	}
	return -ENOSPC;
}

static int take_lock(void)
{
	int vh = vas_attach(check_id(vas_find("locked"))), err;

	if (vh < 0)
		return vh;
	err = vas_switch(vh);
	return err ? err : vas_switch(VAS_HOME);
}

static int protect(void)
{
	int sid = check_id(seg_find("plain")), err = 0;
	size_t size, at;
	void *base;

	check_eq(seg_range(sid, &base, &size), 0);
	for (at = 0; !err && at < size; at += MIB)
		err = seg_protect(sid, (char *)base + at, MIB, PROT_READ);
	return err;
}

static int clone_segment(void)
{
	return seg_clone(check_id(seg_find("plain")));
}

static int clone_vas(void)
{
	return vas_clone(check_id(vas_find("plain")));
}

static int (*const needs[])(void) = {
	make_vases, make_segments, attach_often, show_many, take_lock, protect,
	clone_segment, clone_vas,
};

#define NEEDS	(sizeof(needs) / sizeof(needs[0]))

static void need(void *arg)
{
	int (*call)(void) = *(int (**)(void))arg;
	int result = call();

	if (result != -ENOMEM)
		check_eq(result, -ENOSPC);
}

static void succeed(void *arg)
{
	int (*call)(void) = *(int (**)(void))arg;

	check(call() >= 0);
}

static void prepare(void *unused)
{
	int vid = check_id(vas_create("plain", 0600)), vh;
	int sid = check_id(seg_alloc("plain", BASE, 64 * MIB, 0600));
	int locked = check_id(vas_create("locked", 0600));
	int seg, i;

	(void)unused;
	check_eq(seg_attach(vid, sid), 0);
	for (i = 0; i < LOCKS; i++) {
		seg = check_id(seg_alloc(NULL, NULL, PAGE, 0600));
		check_eq(seg_attach(locked, seg), 0);
		check_eq(seg_ctl(seg, SEG_CTL_LOCK_ON), 0);
	}
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	memset(BASE, 1, 16 * PAGE);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_full_file_system_is_an_error_of_each_call(void)
{
	size_t i;

	new_file_system("size=8m");
	tcase_run(prepare, NULL);
	/* of pages that are there already some calls may use the rest */
	for (i = 0; i < NEEDS; i++) {
		fill_file_system();
		tcase_run(need, (void *)&needs[i]);
		make_room();
	}
	for (i = 4; i < NEEDS; i++)
		tcase_run(succeed, (void *)&needs[i]);
	check_eq(umount2(folder, MNT_DETACH), 0);
	remove_folder();
}

static void use_heaps(void *unused)
{
	int vid = check_id(vas_create(NULL, 0600));
	int sid = check_id(seg_alloc(NULL, BASE, 16 * MIB, 0600));
	int other = check_id(seg_alloc(NULL, BASE + 16 * MIB, MIB, 0600));
	void *value;
	char *p;

	(void)unused;
	check_eq(seg_attach(vid, sid), 0);
	check_eq(seg_attach(vid, other), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check_eq(seg_heap_init(sid), 0);
	while ((p = seg_malloc(sid, 1000)))
		memset(p, 1, 1000);
	check_eq(errno, ENOMEM);
	fill_file_system();
	check_eq(seg_heap_init(other), -ENOMEM);
	check_eq(seg_root_get(other, &value), -ENOENT);
	check(!vas_malloc(1000));
	check_eq(seg_heap_check(sid), 0);
}

static void heaps_in_a_full_file_system_say_so(void)
{
	new_file_system("size=4m");
	tcase_run(use_heaps, NULL);
	check_eq(umount2(folder, MNT_DETACH), 0);
	remove_folder();
}

static void first_call_fails(void *unused)
{
	(void)unused;
	check_eq(vas_create(NULL, 0600), -ENOSPC);
	check_eq(vas_next(0), -ENOSPC);
}

static void a_full_file_system_is_an_error_of_the_first_call(void)
{
	new_file_system("size=400k");
	fill_file_system();
	tcase_run(first_call_fails, NULL);
	make_room();
	check(vas_create(NULL, 0600) > 0);
	check_eq(umount2(folder, MNT_DETACH), 0);
	remove_folder();
}

static long blocks(void)
{
	struct stat st;
	char path[80];

	check(snprintf(path, sizeof(path), "%s/registry", folder) <
	      (int)sizeof(path));
	check_eq(stat(path, &st), 0);
	return st.st_blocks / 8;
}

static void ids_that_do_not_exist_take_no_memory(void)
{
	int vid, sid, vh, i;
	long before;

	new_folder();
	vid = check_id(vas_create(NULL, 0600));
	sid = check_id(seg_alloc(NULL, BASE, PAGE, 0600));
	check_eq(seg_attach(vid, sid), 0);
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	before = blocks();
	for (i = 1000; i < 65000; i += 100) {
		check_eq(vas_attach(i), -ENOENT);
		check_eq(seg_attach(vid, i), -ENOENT);
		check_eq(vas_switch(0x40000000 + i), -EINVAL);
	}
	check_id(vas_clone(vid));
	check_eq(blocks(), before);
	remove_folder();
}

/*
 * Limits, and folders that go.
 */

static void limited(void *arg)
{
	struct rlimit limit = { *(rlim_t *)arg, *(rlim_t *)arg };
	bool first = limit.rlim_cur < 64 * PAGE;
	sigset_t pending;
	int sid;

	check_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	sid = seg_alloc(NULL, NULL, 16 * MIB, 0600);
	check_eq(sid, -EFBIG);
	sid = seg_alloc(NULL, NULL, 16 * PAGE, 0600);
	if (first)
		check_eq(sid, -EFBIG);
	else
		check_id(sid);
	check_eq(sigpending(&pending), 0);
	check_eq(sigismember(&pending, SIGXFSZ), 0);
}

static void a_limit_of_files_is_an_error(void)
{
	rlim_t small = PAGE, large = MIB;

	new_folder();
	tcase_run(limited, &small);
	check_eq(vas_next(0), -ENOENT);
	tcase_run(limited, &large);
	remove_folder();
}

static void a_folder_that_was_removed_is_ebadf(void)
{
	int vid, sid, vh;

	new_folder();
	vid = check_id(vas_create(NULL, 0600));
	sid = check_id(seg_alloc(NULL, BASE, MIB, 0600));
	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	*BASE = 7;
	remove_folder();
	/* what the process sees it goes on with */
	check_eq(*BASE, 7);
	check_eq(seg_alloc(NULL, NULL, MIB, 0600), -EBADF);
	check_eq(seg_clone(sid), -EBADF);
	check_eq(vas_switch(VAS_HOME), 0);
}

/*
 * Processes and threads that end.
 */

static void *first_call(void *unused)
{
	check_eq(vas_find("none"), -ENOENT);
	return unused;
}

static void fork_beside_it(void *unused)
{
	pthread_t thread;
	pid_t child;
	int i;

	(void)unused;
	alarm(20);
	check_eq(pthread_create(&thread, NULL, first_call, NULL), 0);
	for (i = 0; i < 3; i++) {
		child = fork();
		if (!child)
			_exit(0);
		tcase_join(child);
	}
	check_eq(pthread_join(thread, NULL), 0);
}

static void a_child_may_fork_during_its_first_call(void)
{
	int i;

	new_folder();
	first_call(NULL);
	for (i = 0; i < 300; i++)
		tcase_run(fork_beside_it, NULL);
	remove_folder();
}

static void hold_and_stay(void *arg)
{
	int *ids = arg, vh = check_id(vas_attach(ids[0]));

	check_eq(vas_switch(vh), 0);
	check_eq(seg_delete(ids[1]), 0);
	raise(SIGKILL);
}

/* Entries of the registry's table of locks that are held. */
static unsigned int nr_holds(void)
{
	const struct soft_registry *reg;
	unsigned int nr;
	char path[80];
	int fd;

	check(snprintf(path, sizeof(path), "%s/registry", folder) <
	      (int)sizeof(path));
	fd = open(path, O_RDONLY);
	reg = mmap(NULL, sizeof(*reg), PROT_READ, MAP_SHARED, fd, 0);
	check(reg != MAP_FAILED);
	nr = reg->nr_holds;
	munmap((void *)reg, sizeof(*reg));
	close(fd);
	return nr;
}

static void locks_of_the_dead_go_with_their_segments(void)
{
	int ids[2], i;

	new_folder();
	for (i = 0; i < 20; i++) {
		ids[0] = check_id(vas_create(NULL, 0600));
		ids[1] = check_id(seg_alloc(NULL, BASE, PAGE, 0600));
		check_eq(seg_attach(ids[0], ids[1]), 0);
		check_eq(seg_ctl(ids[1], SEG_CTL_LOCK_ON), 0);
		tcase_join_killed(tcase_spawn(hold_and_stay, ids), SIGKILL);
		check_eq(vas_delete(ids[0]), 0);
	}
	check(nr_holds() > 0);
	usleep(1100000);
	/* this call looks at everything */
	check_eq(vas_next(0), -ENOENT);
	check_eq(nr_holds(), 0);
	remove_folder();
}

/*
 * A process that is killed before and after each of its system calls.
 */

static int make_named(int from)
{
	(void)from;
	return seg_alloc("made", BASE + 64 * MIB, MIB, 0600);
}

static int clone_named(int from)
{
	return seg_clone_named(from, "made", 0600);
}

static int delete_named(int from)
{
	(void)from;
	return seg_delete(seg_find("made"));
}

static int (*const killed_in[])(int) = { make_named, clone_named, delete_named };

static void be_traced(int (*call)(int))
{
	int from = check_id(seg_find("from"));

	if (call == delete_named)
		check_id(make_named(0));
	check_eq(ptrace(PTRACE_TRACEME, 0, NULL, NULL), 0);
	raise(SIGSTOP);
	call(from);
}

/* At its stop number @at, before or after a call; false: it has no more. */
static bool kill_at(int (*call)(int), int at)
{
	pid_t child = fork();
	int status;

	check(child >= 0);
	if (!child) {
		be_traced(call);
		_exit(0);
	}
	check_eq(waitpid(child, &status, 0), child);
	check_eq(ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_EXITKILL), 0);
	while (at--) {
		check_eq(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
		check_eq(waitpid(child, &status, 0), child);
		if (WIFEXITED(status))
			return false;
	}
	check_eq(kill(child, SIGKILL), 0);
	check_eq(waitpid(child, &status, 0), child);
	return true;
}

/* What has a name is whole. */
static void look_at_what_is_left(void *arg)
{
	int (*call)(int) = *(int (**)(int))arg;
	int sid = seg_find("made"), vid;
	void *base;
	size_t size;

	if (sid == -ENOENT)
		return;
	check_id(sid);
	check_eq(seg_range(sid, &base, &size), 0);
	check_eq(seg_populate(sid, base, size), 0);
	vid = check_id(vas_create(NULL, 0600));
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check_eq(*((char *)base + 15 * PAGE), call == clone_named);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_delete(sid), 0);
}

static int files(void)
{
	char command[128];
	int status;

	check(snprintf(command, sizeof(command),
		       "exit $(ls %s | grep -c -e segment- -e prot- -e clean-)",
		       folder) < (int)sizeof(command));
	status = system(command);
	check(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void make_from(void *unused)
{
	int vid = check_id(vas_create(NULL, 0600));
	int sid = check_id(seg_alloc("from", BASE, MIB, 0600));

	(void)unused;
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	memset(BASE, 1, 16 * PAGE);
}

static void what_is_killed_at_any_call_leaves_nothing_unfinished(void)
{
	size_t i;
	int at;

	new_folder();
	tcase_run(make_from, NULL);
	for (i = 0; i < sizeof(killed_in) / sizeof(killed_in[0]); i++) {
		for (at = 1; kill_at(killed_in[i], at); at++)
			tcase_run(look_at_what_is_left, (void *)&killed_in[i]);
		tcase_run(look_at_what_is_left, (void *)&killed_in[i]);
		tcase_note("killed at %d places", at - 1);
		check(at > 20);
	}
	usleep(1100000);
	check_eq(vas_next(0), -ENOENT);
	check_eq(files(), 1);
	remove_folder();
}

static const struct tcase cases[] = {
	CASE(what_is_killed_at_any_call_leaves_nothing_unfinished),
	CASE(a_full_file_system_is_an_error_of_each_call),
	CASE(a_full_file_system_is_an_error_of_the_first_call),
	CASE(heaps_in_a_full_file_system_say_so),
	CASE(ids_that_do_not_exist_take_no_memory),
	CASE(a_limit_of_files_is_an_error),
	CASE(a_folder_that_was_removed_is_ebadf),
	CASE(a_child_may_fork_during_its_first_call),
	CASE(locks_of_the_dead_go_with_their_segments),
};

int main(void)
{
	setenv("PVVAS_BACKEND", "soft", 1);
	return tcase_main(cases, sizeof(cases) / sizeof(cases[0]),
			  TCASE_NO_DRIVER);
}
