// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sets of which a file is cut, changed, gone or of another version, or that are in use:
 * all of them is loaded, or nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "save/numbered.h"
#include "saved.h"
#include "tcase.h"

/* What is on the disk; the number in it is 77. */
static struct {
	const char *name;
	const char *folder;
} whole;

/* A set with files of two saves. */
static void make_set(const char *stem)
{
	struct vas_save_options options = { .flags = VAS_SAVE_SINCE, .threads = 1 };
	int vid, vh;

	whole.name = tcase_name(stem);
	whole.folder = saved_folder(stem);
	vid = numbered_make(whole.name, 77);
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
	check_eq(numbered_in(whole.folder, whole.name), 77);
	saved_remove(whole.folder);
}

static void a_file_that_is_cut_or_gone_is_refused(void)
{
	make_set("cut");
	saved_each(whole.folder, cut_and_stretch);
	check_eq(numbered_in(whole.folder, whole.name), 77);
	saved_each(whole.folder, take_away);
	check_eq(numbered_in(whole.folder, whole.name), 77);
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
	check_eq(numbered_in(whole.folder, whole.name), 77);
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
	check_eq(numbered_in(whole.folder, whole.name), 77);
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
	vid = numbered_make(whole.name, 77);
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
	CASE(a_changed_byte_of_any_file_is_refused),
	CASE(a_file_that_is_cut_or_gone_is_refused),
	CASE(another_version_is_refused),
	CASE(a_segment_beyond_the_window_is_refused),
	CASE(a_manifest_may_say_anything),
	CASE(a_folder_that_is_in_use_is_refused),
};

TCASE_MAIN(cases, 0)
