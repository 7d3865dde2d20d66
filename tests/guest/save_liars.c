// SPDX-License-Identifier: GPL-2.0-only
/*
 * Folders of saved sets that another user wrote: loading one takes as much memory as
 * its files take of the disk, which that user pays for, and no more.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pvvas.h>

#include "saved.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define USER	1000
#define GROUP	6

/* docs/save-format.md, for a set of one VAS, segment, link, file and extent. */
#define HEAD		64
#define CRC_AT		12
#define BYTES_AT	16
#define FILES_AT	52
#define EXTENTS_AT	56
#define UID_OF_VAS	(HEAD + 260)
#define UID_OF_SEG	(HEAD + 272 + 276)
#define FILE_AT		(HEAD + 272 + 304 + 16)
#define EXTENT_AT	(FILE_AT + 24)
#define EXTENT		32
#define END		(EXTENT_AT + EXTENT)

static unsigned char manifest[END + 64 * EXTENT];
static const char *folder, *name;

static int open_in(const char *file)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	fd = open(path, O_RDWR | O_CLOEXEC);
	check(fd >= 0);
	return fd;
}

static int link_in(const char *file, const char *other)
{
	char from[PATH_MAX], to[PATH_MAX];

	snprintf(from, sizeof(from), "%s/%s", folder, file);
	snprintf(to, sizeof(to), "%s/%s", folder, other);
	return link(from, to);
}

/* The manifest of a set whose segment has one page of memory. */
static void make_set(const char *stem)
{
	int vid, sid, fd;

	folder = saved_folder(stem);
	name = tcase_name(stem);
	vid = tcase_vas(name, 0600);
	sid = tcase_seg(name, BASE, MIB, 0600);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	strcpy(BASE, "one page");
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(saved_save(vid, folder, NULL), 0);
	saved_forget(name, name);
	fd = open_in("manifest");
	check_eq(pread(fd, manifest, sizeof(manifest), 0), END);
	close(fd);
}

static void put_manifest(uint64_t bytes)
{
	int fd = open_in("manifest");
	uint32_t crc;

	memcpy(manifest + BYTES_AT, &bytes, sizeof(bytes));
	memset(manifest + CRC_AT, 0, sizeof(crc));
	crc = saved_crc32c(manifest, bytes);
	memcpy(manifest + CRC_AT, &crc, sizeof(crc));
	check_eq(pwrite(fd, manifest, bytes, 0), (ssize_t)bytes);
	close(fd);
}

static void is_refused(void)
{
	check_eq(saved_load(folder, NULL), -EUCLEAN);
	check_eq(vas_find(name), -ENOENT);
	saved_remove(folder);
}

static void a_page_of_a_file_is_loaded_once(void)
{
	uint64_t extents = 64, i;
	unsigned char *e;

	make_set("often");
	for (i = 1; i < extents; i++) {
		e = manifest + EXTENT_AT + i * EXTENT;
		memcpy(e, e - EXTENT, EXTENT);
		memcpy(e + 8, &i, sizeof(i));
	}
	memcpy(manifest + EXTENTS_AT, &extents, sizeof(extents));
	put_manifest(EXTENT_AT + extents * EXTENT);
	is_refused();
}

/* The set's one file, named @times times, and an extent of the page that each has. */
static void name_file_again(uint32_t times)
{
	unsigned char file[24], extent[EXTENT], *at = manifest + FILE_AT;
	uint64_t extents = times, first;
	uint32_t i;

	memcpy(file, at, sizeof(file));
	memcpy(extent, manifest + EXTENT_AT, EXTENT);
	for (i = 0; i < times; i++, at += sizeof(file))
		memcpy(at, file, sizeof(file));
	for (i = 0; i < times; i++, at += EXTENT) {
		first = i;
		memcpy(at, extent, EXTENT);
		memcpy(at + 4, &i, sizeof(i));
		memcpy(at + 8, &first, sizeof(first));
	}
	memcpy(manifest + FILES_AT, &times, sizeof(times));
	memcpy(manifest + EXTENTS_AT, &extents, sizeof(extents));
	put_manifest((uint64_t)(at - manifest));
}

static void a_file_is_loaded_once_whatever_names_it(void)
{
	uint64_t generation = 2;
	char name_of[64], link_of[64];
	uint32_t number;

	make_set("again");
	name_file_again(2);
	is_refused();
	/* by another name */
	make_set("linked");
	memcpy(&number, manifest + FILE_AT + 16, sizeof(number));
	name_file_again(2);
	memcpy(manifest + FILE_AT + 24, &generation, sizeof(generation));
	put_manifest(FILE_AT + 2 * 24 + 2 * EXTENT);
	snprintf(name_of, sizeof(name_of), "1-%u.pages", number);
	snprintf(link_of, sizeof(link_of), "2-%u.pages", number);
	check_eq(link_in(name_of, link_of), 0);
	is_refused();
}

/* 1 GiB of nothing, and of checksums of it. */
static void a_file_with_holes_is_refused(void)
{
	static unsigned char table[MIB];
	uint64_t pages = sizeof(table) / 4;
	uint32_t number, crc;
	char file[32];
	int fd;

	make_set("holes");
	/* that of whichever thread came first */
	memcpy(&number, manifest + FILE_AT + 16, sizeof(number));
	snprintf(file, sizeof(file), "1-%u.pages", number);
	fd = open_in(file);
	check_eq(pread(fd, table, 4, PAGE), 4);
	check_eq(ftruncate(fd, PAGE), 0);
	check_eq(ftruncate(fd, (off_t)(pages * (PAGE + 4))), 0);
	check_eq(pwrite(fd, table, 4, (off_t)(pages * PAGE)), 4);
	close(fd);
	crc = saved_crc32c(table, sizeof(table));
	memcpy(manifest + FILE_AT + 8, &pages, sizeof(pages));
	memcpy(manifest + FILE_AT + 20, &crc, sizeof(crc));
	put_manifest(END);
	is_refused();
}

/* Read as a whole, before any number in it can be believed. */
static void a_manifest_with_holes_is_refused_unread(void)
{
	struct stat st;
	int fd;

	make_set("vast");
	fd = open_in("manifest");
	check_eq(ftruncate(fd, 1L << 33), 0);
	check_eq(fstat(fd, &st), 0);
	close(fd);
	is_refused();
	check(tcase_number("/proc/self/status", "VmHWM:") < 1 << 20);
}

static void put_number(size_t at, uint32_t n)
{
	memcpy(manifest + at, &n, sizeof(n));
}

/*
 * The group can be any: it lets others in, and its owner, which may let in any other,
 * no further.  Nothing is done with a group's rights but that.
 */
static void a_set_names_any_group_and_no_other_owner(void)
{
	struct vas_attr attr = { .size = sizeof(attr) };

	if (geteuid())
		tcase_skip("only root gives folders away");
	make_set("group");
	put_number(UID_OF_VAS, USER);
	put_number(UID_OF_VAS + 4, GROUP);
	put_number(UID_OF_SEG, USER);
	put_number(UID_OF_SEG + 4, GROUP);
	put_manifest(END);
	check_eq(chown(folder, USER, USER), 0);
	check_eq(saved_load(folder, NULL), 0);
	check_eq(vas_ctl(VAS_CTL_GETATTR, check_id(vas_find(name)), &attr), 0);
	check_eq(attr.uid, USER);
	check_eq(attr.gid, GROUP);
	check_eq(attr.mode, 0600);
	saved_forget(name, name);
	put_number(UID_OF_SEG, 0);
	put_manifest(END);
	check_eq(saved_load(folder, NULL), -EPERM);
	check_eq(vas_find(name), -ENOENT);
	saved_remove(folder);
}

static const struct tcase cases[] = {
	CASE(a_page_of_a_file_is_loaded_once),
	CASE(a_file_is_loaded_once_whatever_names_it),
	CASE(a_file_with_holes_is_refused),
	CASE(a_manifest_with_holes_is_refused_unread),
	CASE(a_set_names_any_group_and_no_other_owner),
};

TCASE_MAIN(cases, 0)
