// SPDX-License-Identifier: GPL-2.0-only
/*
 * Saving and loading where something ends in the middle: the process is killed, a
 * call fails, the disk is full, a file is cut, changed or gone.  It is the old set
 * or the new one, and all of it is loaded or nothing.
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

#include "saved.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define PAGES	40

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

static int make(const struct scene *s)
{
	int vid = tcase_vas(s->name, 0600), i;

	check_eq(seg_attach(vid, tcase_seg(s->name, BASE, MIB, 0600)), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	for (i = 0; i < PAGES; i++)
		*(int *)(BASE + 2 * (size_t)i * PAGE) = s->number;
	check_eq(vas_switch(VAS_HOME), 0);
	return vid;
}

static int look(const char *name)
{
	int vh = check_id(vas_attach(check_id(vas_find(name)))), i, number;

	check_eq(vas_switch(vh), 0);
	number = *(int *)BASE;
	for (i = 0; i < PAGES; i++)
		check_eq(*(int *)(BASE + 2 * (size_t)i * PAGE), number);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
	return number;
}

/* The number in the set that is there, or 0 if there is none. */
static int number_in(const char *folder, const char *name)
{
	int ret = saved_load(folder, NULL);

	if (ret == -ENOENT && (!strcmp(saved_message, "manifest") ||
			       !strcmp(saved_message, "folder")))
		return 0;
	if (ret)
		tcase_fail(__FILE__, __LINE__, "load: %d, %s", ret, saved_message);
	ret = look(name);
	saved_forget(name, name);
	return ret;
}

static void make_and_save(void *arg)
{
	struct scene *s = arg;
	struct vas_save_options options = { .flags = s->flags };
	int vid = make(s), err;

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
		now = number_in(s.folder, s.name);
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
	check_eq(number_in(s.folder, s.name), 4711);
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
	vid = make(&s);
	check_eq(saved_save(vid, folder, NULL), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	memset(BASE, 7, MIB);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(saved_save(vid, folder, NULL), -ENOSPC);
	check(strstr(saved_message, ".pages"));
	check(saved_each(folder, NULL) <= 5);
	saved_forget(s.name, s.name);
	check_eq(number_in(folder, s.name), 1);
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
	int status = -1, vid = make(&s), there;

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
			check_eq(look(s.name), 1);
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

/*
 * Damage.
 */

static struct scene whole;

/* A set with files of two saves. */
static void make_set(const char *stem)
{
	struct vas_save_options options = { .flags = VAS_SAVE_SINCE, .threads = 1 };
	int vid, vh;

	whole = (struct scene){ .name = tcase_name(stem),
				.folder = saved_folder(stem), .number = 77 };
	vid = make(&whole);
	check_eq(saved_save(vid, whole.folder, NULL), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	strcpy(BASE + PAGE, "in the second save");
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(saved_save(vid, whole.folder, &options), 0);
	saved_forget(whole.name, whole.name);
	check(saved_each(whole.folder, NULL) >= 3);
}

static void is_refused(int err)
{
	int ret = saved_load(whole.folder, NULL);

	if (ret >= 0 || (err && ret != err) || !*saved_message)
		tcase_fail(__FILE__, __LINE__, "%d, \"%s\"", ret, saved_message);
	check_eq(vas_find(whole.name), -ENOENT);
	check_eq(seg_find(whole.name), -ENOENT);
}

static bool is_manifest(const char *path)
{
	return strstr(path, "/manifest");
}

static void change_bytes(const char *path)
{
	int fd = open(path, O_RDWR), n = 0;
	struct stat st;
	off_t at;
	char byte, other;

	check(fd >= 0 && !fstat(fd, &st));
	for (at = 0; at < st.st_size; at += is_manifest(path) ? 3 : 5003, n++) {
		check_eq(pread(fd, &byte, 1, at), 1);
		other = (char)(byte ^ 1 << n % 8);
		check_eq(pwrite(fd, &other, 1, at), 1);
		is_refused(is_manifest(path) ? 0 : -EUCLEAN);
		check_eq(pwrite(fd, &byte, 1, at), 1);
	}
	close(fd);
	tcase_note("%s: %d bytes", strrchr(path, '/') + 1, n);
}

static void cut_and_stretch(const char *path)
{
	int fd = open(path, O_RDWR);
	char copy[1 << 18];
	struct stat st;
	off_t at;

	check(fd >= 0 && !fstat(fd, &st) && st.st_size < (off_t)sizeof(copy));
	check_eq(pread(fd, copy, (size_t)st.st_size, 0), st.st_size);
	for (at = 0; at < st.st_size; at += st.st_size / 13 + 1) {
		check_eq(ftruncate(fd, at), 0);
		is_refused(-EUCLEAN);
	}
	check_eq(ftruncate(fd, st.st_size + 1), 0);
	check_eq(pwrite(fd, copy, (size_t)st.st_size, 0), st.st_size);
	is_refused(-EUCLEAN);
	check_eq(ftruncate(fd, st.st_size), 0);
	close(fd);
}

/* Gone, or not a file at all. */
static void take_away(const char *path)
{
	int missing = is_manifest(path) ? -ENOENT : -EUCLEAN;
	char other[PATH_MAX];

	snprintf(other, sizeof(other), "%s.elsewhere", whole.folder);
	check_eq(rename(path, other), 0);
	is_refused(missing);
	check_eq(mkfifo(path, 0600), 0);
	is_refused(-EUCLEAN);
	check_eq(unlink(path), 0);
	check_eq(symlink(other, path), 0);
	is_refused(-ELOOP);
	check_eq(unlink(path), 0);
	check_eq(syscall(SYS_mkdir, path, 0700), 0);
	is_refused(0);
	check_eq(rmdir(path), 0);
	check_eq(rename(other, path), 0);
}

static void a_changed_byte_of_any_file_is_refused(void)
{
	make_set("bytes");
	saved_each(whole.folder, change_bytes);
	check_eq(number_in(whole.folder, whole.name), 77);
	saved_remove(whole.folder);
}

static void a_file_that_is_cut_or_gone_is_refused(void)
{
	make_set("cut");
	saved_each(whole.folder, cut_and_stretch);
	check_eq(number_in(whole.folder, whole.name), 77);
	saved_each(whole.folder, take_away);
	check_eq(number_in(whole.folder, whole.name), 77);
	saved_remove(whole.folder);
}

#define HEAD		64
#define VERSION_AT	8
#define CRC_AT		12
#define NAME		256

static void put_manifest(unsigned char *data, size_t n)
{
	char path[PATH_MAX];
	uint32_t crc;
	int fd;

	memset(data + CRC_AT, 0, 4);
	crc = saved_crc32c(data, n);
	memcpy(data + CRC_AT, &crc, 4);
	snprintf(path, sizeof(path), "%s/manifest", whole.folder);
	fd = open(path, O_WRONLY | O_TRUNC);
	check(fd >= 0);
	check_eq(pwrite(fd, data, n, 0), (ssize_t)n);
	close(fd);
}

static size_t get_manifest(unsigned char *data, size_t room)
{
	char path[PATH_MAX];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/manifest", whole.folder);
	fd = open(path, O_RDONLY);
	check(fd >= 0);
	n = pread(fd, data, room, 0);
	close(fd);
	check(n > HEAD + 272 + 304 && n < (ssize_t)room);
	return (size_t)n;
}

static void another_version_is_refused(void)
{
	unsigned char data[8192];
	size_t n;

	make_set("version");
	n = get_manifest(data, sizeof(data));
	put_manifest(data, n);
	check_eq(number_in(whole.folder, whole.name), 77);
	data[VERSION_AT]++;
	put_manifest(data, n);
	is_refused(-EPROTO);
	check(strstr(saved_message, "version"));
	saved_remove(whole.folder);
}

static void a_segment_beyond_the_window_is_refused(void)
{
	uint64_t base = 1ULL << 47;
	unsigned char data[8192];
	size_t n;

	make_set("beyond");
	n = get_manifest(data, sizeof(data));
	memcpy(data + HEAD + 272 + NAME, &base, sizeof(base));
	put_manifest(data, n);
	is_refused(-ERANGE);
	check(strstr(saved_message, whole.name) &&
	      strstr(saved_message, "0x800000000000"));
	saved_remove(whole.folder);
}

/* Numbers that no save writes, with the right checksum; names stay as they are. */
static void a_manifest_may_say_anything(void)
{
	static const uint64_t odd[] = { 0, 1, 2, 3, 4095, 4096, 1 << 20, 0x7fffffff,
		0xffffffff, 1ULL << 32, 1ULL << 47, 1ULL << 63, ~0ULL };
	unsigned char data[8192], changed[8192];
	size_t n, at, i, loaded = 0;
	unsigned int seed = 1;

	make_set("any");
	n = get_manifest(data, sizeof(data));
	for (i = 0; i < 600; i++) {
		memcpy(changed, data, n);
		do {
			at = 16 + (size_t)rand_r(&seed) % (n - 16 - 8);
			at -= at % 4;
		} while ((at + 8 > HEAD && at < HEAD + NAME) ||
			 (at + 8 > HEAD + 272 && at < HEAD + 272 + NAME));
		memcpy(changed + at, &odd[(size_t)rand_r(&seed) % 13],
		       rand_r(&seed) % 2 ? 8 : 4);
		put_manifest(changed, n);
		if (!saved_load(whole.folder, NULL)) {
			loaded++;
			saved_forget(whole.name, whole.name);
		}
	}
	tcase_note("%zu of %zu were loaded", loaded, i);
	check(loaded < i / 2);
	put_manifest(data, n);
	check_eq(number_in(whole.folder, whole.name), 77);
	saved_remove(whole.folder);
}

static void hold_folder(void *arg)
{
	int fd = open(arg, O_RDONLY | O_DIRECTORY);

	check(fd >= 0 && !flock(fd, LOCK_EX));
	pause();
}

static void a_folder_that_is_in_use_is_refused(void)
{
	int vid, i, ret = 0;
	pid_t pid;

	make_set("busy");
	vid = make(&whole);
	pid = tcase_spawn(hold_folder, (void *)whole.folder);
	for (i = 0; i < 500 && ret != -EBUSY; i++) {
		ret = saved_save(vid, whole.folder, NULL);
		usleep(10000);
	}
	check_eq(ret, -EBUSY);
	saved_forget(whole.name, whole.name);
	is_refused(-EBUSY);
	check_eq(kill(pid, SIGKILL), 0);
	check_eq(waitpid(pid, NULL, 0), pid);
	saved_remove(whole.folder);
}

static const struct tcase cases[] = {
	CASE(a_save_that_is_killed_leaves_the_old_set_or_the_new_one),
	CASE(so_does_one_of_what_has_changed),
	CASE(so_does_one_for_which_the_disk_is_full),
	CASE(so_does_one_that_gets_errors_of_the_disk),
	CASE(a_disk_that_is_full_is_told_and_the_set_stays),
	CASE(a_load_that_is_killed_leaves_all_or_nothing),
	CASE(a_load_that_gets_errors_of_the_disk_leaves_nothing),
	CASE(a_changed_byte_of_any_file_is_refused),
	CASE(a_file_that_is_cut_or_gone_is_refused),
	CASE(another_version_is_refused),
	CASE(a_segment_beyond_the_window_is_refused),
	CASE(a_manifest_may_say_anything),
	CASE(a_folder_that_is_in_use_is_refused),
};

TCASE_MAIN(cases, 0)
