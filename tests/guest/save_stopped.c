// SPDX-License-Identifier: GPL-2.0-only
/*
 * Saving and loading where something ends in the middle: the process is killed, a
 * call fails, the disk is full.  It is the old set or the new one, and all of it is
 * loaded or nothing.
 *
 * The calls that the library makes are those of this program, which stops at one.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "save/numbered.h"
#include "saved.h"
#include "tcase.h"

/*
 * Steps: calls on the folder, or with @anywhere on whatever else.
 */
static struct {
	const char *folder;
	atomic_int n;
	int last;		/* at this one */
	int error;		/* fail with it; 0: be killed */
	bool anywhere;
} steps;

static bool in_folder(int fd)
{
	char link[64], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = syscall(SYS_readlink, link, path, sizeof(path));
	return n >= (ssize_t)strlen(steps.folder) &&
	       !memcmp(path, steps.folder, strlen(steps.folder));
}

/* Shall this call fail?  -1 for @fd: it is about the folder */
static bool step(int fd)
{
	if (!steps.folder || !(steps.anywhere || fd < 0 || in_folder(fd)))
		return false;
	if (atomic_fetch_add(&steps.n, 1) + 1 != steps.last)
		return false;
	if (!steps.error)
		kill(getpid(), SIGKILL);
	errno = steps.error;
	return true;
}

int openat(int dir, const char *path, int flags, ...)
{
	va_list ap;
	int mode;

	va_start(ap, flags);
	mode = va_arg(ap, int);
	va_end(ap);
	return step(dir) ? -1 : (int)syscall(SYS_openat, dir, path, flags, mode);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	return step(fd) ? -1 : syscall(SYS_pwrite64, fd, data, n, at);
}

ssize_t pread(int fd, void *data, size_t n, off_t at)
{
	return step(fd) ? -1 : syscall(SYS_pread64, fd, data, n, at);
}

int fsync(int fd)
{
	return step(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int renameat(int from, const char *a, int to, const char *b)
{
	return step(from) ? -1 : (int)syscall(SYS_renameat, from, a, to, b);
}

int unlinkat(int dir, const char *path, int flags)
{
	return step(dir) ? -1 : (int)syscall(SYS_unlinkat, dir, path, flags);
}

int mkdir(const char *path, mode_t mode)
{
	return step(-1) ? -1 : (int)syscall(SYS_mkdir, path, mode);
}

/* of the driver: in loads, wherever */
int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	return step(fd) ? -1 : (int)syscall(SYS_ioctl, fd, request, arg);
}

/* From here on. */
static void stop_at(const char *folder, int last, int error, bool anywhere)
{
	atomic_store(&steps.n, 0);
	steps.last = last;
	steps.error = error;
	steps.anywhere = anywhere;
	steps.folder = folder;
}

/*
 * A VAS and a segment with one name, each page of which has the same number.
 */

struct scene {
	const char *name;
	const char *folder;
	int number;
	int last;
	int error;
	uint32_t flags;
};

static void make_and_save(void *arg)
{
	struct scene *s = arg;
	struct vas_save_options options = { .flags = s->flags };
	int vid = numbered_make(s->name, s->number), err;

	stop_at(s->folder, s->last, s->error, false);
	err = saved_save(vid, s->folder, &options);
	steps.folder = NULL;
	if (!s->error && err)
		tcase_note("save: %d, %s", err, saved_message);
	/* what is said is what has failed */
	if (err && !*saved_message)
		_exit(3);
	_exit(err ? 2 : atomic_load(&steps.n) < s->last ? 0 : 1);
}

/* 0: it was complete; 1: with a failure that does not matter; 2: refused; or killed */
static int status_of(pid_t pid)
{
	int status;

	check_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		check_eq(WTERMSIG(status), SIGKILL);
	else
		check(WEXITSTATUS(status) < 3);
	return WIFSIGNALED(status) ? -1 : WEXITSTATUS(status);
}

static void stop_saves(const char *stem, int error, uint32_t flags)
{
	struct scene s = { .name = tcase_name(stem), .folder = saved_folder(stem),
			   .error = error, .flags = flags };
	int before = 0, now, status = -1, files;

	for (s.last = 1; status; s.last++) {
		s.number = s.last;
		files = saved_each(s.folder, NULL);
		status = status_of(tcase_spawn(make_and_save, &s));
		saved_forget(s.name, s.name);
		now = numbered_in(s.folder, s.name);
		check(now == before || now == s.number);
		if (status == 0 || status == 1)
			check_eq(now, s.number);
		/* what is refused leaves nothing behind */
		if (status == 2 && now == before)
			check(saved_each(s.folder, NULL) <= files);
		before = now;
		check(s.last < 200);
	}
	tcase_note("%d steps", s.last - 2);
	check(s.last > 10);
	/* a complete save has taken away what others left */
	s.last = INT_MAX;
	s.error = 0;
	s.flags = 0;
	s.number = 4711;
	check_eq(status_of(tcase_spawn(make_and_save, &s)), 0);
	saved_forget(s.name, s.name);
	check_eq(numbered_in(s.folder, s.name), 4711);
	check(saved_each(s.folder, NULL) <= 5);
	saved_remove(s.folder);
}

static void a_save_that_is_killed_leaves_the_old_set_or_the_new_one(void)
{
	stop_saves("killed", 0, 0);
}

static void so_does_one_of_what_has_changed(void)
{
	stop_saves("changed", 0, VAS_SAVE_SINCE);
}

static void so_does_one_for_which_the_disk_is_full(void)
{
	stop_saves("full", ENOSPC, 0);
}

static void so_does_one_that_gets_errors_of_the_disk(void)
{
	stop_saves("errors", EIO, VAS_SAVE_SINCE);
}

static void a_disk_that_is_full_is_told_and_the_set_stays(void)
{
	struct scene s = { .name = tcase_name("small"), .number = 1 };
	const char *disk = saved_folder("disk");
	char folder[PATH_MAX];
	int vid, vh;

	check_eq(syscall(SYS_mkdir, disk, 0700), 0);
	if (mount("none", disk, "tmpfs", 0, "size=600k") < 0) {
		rmdir(disk);
		tcase_skip("may not mount");
	}
	snprintf(folder, sizeof(folder), "%s/set", disk);
	vid = numbered_make(s.name, s.number);
	check_eq(saved_save(vid, folder, NULL), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	memset(BASE, 7, MIB);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(saved_save(vid, folder, NULL), -ENOSPC);
	check(strstr(saved_message, ".pages"));
	check(saved_each(folder, NULL) <= 5);
	saved_forget(s.name, s.name);
	check_eq(numbered_in(folder, s.name), 1);
	saved_remove(folder);
	check_eq(umount(disk), 0);
	check_eq(rmdir(disk), 0);
}

static void load_and_stop(void *arg)
{
	struct scene *s = arg;
	int err;

	stop_at(s->folder, s->last, s->error, !s->error);
	err = saved_load(s->folder, NULL);
	steps.folder = NULL;
	_exit(err ? 2 : atomic_load(&steps.n) < s->last ? 0 : 1);
}

static void stop_loads(const char *stem, int error)
{
	struct scene s = { .name = tcase_name(stem), .folder = saved_folder(stem),
			   .number = 1, .error = error };
	int status = -1, vid = numbered_make(s.name, s.number), there;

	check_eq(saved_save(vid, s.folder, NULL), 0);
	saved_forget(s.name, s.name);
	for (s.last = 1; status; s.last++) {
		status = status_of(tcase_spawn(load_and_stop, &s));
		there = vas_find(s.name);
		/* with both names, or with none */
		check_eq(seg_find(s.name) > 0, there > 0);
		if (status == 0)
			check(there > 0);
		if (there > 0)
			check_eq(numbered_look(s.name), 1);
		else
			check_eq(there, -ENOENT);
		saved_forget(s.name, s.name);
		check(s.last < 2000);
	}
	tcase_note("%d steps", s.last - 2);
	check(s.last > 6);
	saved_remove(s.folder);
}

static void a_load_that_is_killed_leaves_all_or_nothing(void)
{
	stop_loads("dead", 0);
}

static void a_load_that_gets_errors_of_the_disk_leaves_nothing(void)
{
	stop_loads("eio", EIO);
}

static const struct tcase cases[] = {
	CASE(a_save_that_is_killed_leaves_the_old_set_or_the_new_one),
	CASE(so_does_one_of_what_has_changed),
	CASE(so_does_one_for_which_the_disk_is_full),
	CASE(so_does_one_that_gets_errors_of_the_disk),
	CASE(a_disk_that_is_full_is_told_and_the_set_stays),
	CASE(a_load_that_is_killed_leaves_all_or_nothing),
	CASE(a_load_that_gets_errors_of_the_disk_leaves_nothing),
};

TCASE_MAIN(cases, 0)
