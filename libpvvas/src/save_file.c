// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The folder of a saved set, and its files of pages.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "save.h"

void save_file_name(const struct save_file *file, char name[SAVE_FILE_NAME])
{
	snprintf(name, SAVE_FILE_NAME, "%" PRIu64 "-%u.pages", file->generation,
		 file->number);
}

/* Is it the name of a file of pages? */
static bool parse_name(const char *name, struct save_file *file)
{
	char same[SAVE_FILE_NAME];

	*file = (struct save_file){ 0 };
	if (sscanf(name, "%" SCNu64 "-%u.pages", &file->generation,
		   &file->number) != 2)
		return false;
	save_file_name(file, same);
	return !strcmp(name, same);
}

int save_sync_parent(const char *path)
{
	char copy[PATH_MAX], *slash;
	int fd, err = 0;

	if (strlen(path) >= sizeof(copy))
		return -ENAMETOOLONG;
	strcpy(copy, path);
	while ((slash = strrchr(copy, '/')) && !slash[1] && slash != copy)
		*slash = 0;
	if (slash)
		slash[slash == copy] = 0;
	fd = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

/* A folder that was made is there after a crash, too. */
static int make_dir(const char *path)
{
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	return save_sync_parent(path);
}

int save_dir_open(const char *path, bool make)
{
	int err = make ? make_dir(path) : 0;
	int fd;

	if (err)
		return err;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!flock(fd, (make ? LOCK_EX : LOCK_SH) | LOCK_NB))
		return fd;
	err = errno == EWOULDBLOCK ? -EBUSY : -errno;
	close(fd);
	return err;
}

/* fn() for each file of pages in the folder; 0 or -errno */
static int each_file(int dir, void (*fn)(int dir, const struct save_file *file,
					 void *arg), void *arg)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct save_file file;
	struct dirent *entry;
	int err = 0;

	if (!list) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (errno = 0, (entry = readdir(list)))
		if (parse_name(entry->d_name, &file))
			fn(dir, &file, arg);
	err = -errno;
	closedir(list);
	return err;
}

static void highest(int dir, const struct save_file *file, void *arg)
{
	uint64_t *generation = arg;

	(void)dir;
	if (file->generation > *generation)
		*generation = file->generation;
}

int save_dir_generation(int dir, uint64_t *generation)
{
	*generation = 0;
	return each_file(dir, highest, generation);
}

static void clean_one(int dir, const struct save_file *file, void *arg)
{
	const struct save_set *set = arg;
	char name[SAVE_FILE_NAME];
	uint32_t i;

	for (i = 0; i < set->head.files; i++)
		if (set->files[i].generation == file->generation &&
		    set->files[i].number == file->number)
			return;
	save_file_name(file, name);
	unlinkat(dir, name, 0);
}

void save_dir_clean(int dir, const struct save_set *set)
{
	each_file(dir, clean_one, (void *)set);
}

int save_file_size(int fd, uint64_t *size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) ||
	    (st.st_size && lseek(fd, 0, SEEK_HOLE) != st.st_size))
		return -EUCLEAN;
	*size = (uint64_t)st.st_size;
	return 0;
}

int save_read(int fd, void *data, size_t n, uint64_t at)
{
	size_t done = 0;
	ssize_t r;

	while (done < n) {
		r = pread(fd, (char *)data + done, n - done, (off_t)(at + done));
		if (!r)
			return -EUCLEAN;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0)
			done += (size_t)r;
	}
	return 0;
}

int save_write(int fd, const void *data, size_t n, uint64_t at)
{
	size_t done = 0;
	ssize_t r;

	while (done < n) {
		r = pwrite(fd, (const char *)data + done, n - done,
			   (off_t)(at + done));
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0)
			done += (size_t)r;
	}
	return 0;
}

int save_pages_open(int dir, const struct save_file *file,
		    struct save_pages *pages)
{
	size_t table = file->pages * sizeof(*pages->crcs);
	char name[SAVE_FILE_NAME];
	uint64_t size = 0;
	struct stat st;
	int err;

	save_file_name(file, name);
	pages->crcs = NULL;
	pages->fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
			   O_NONBLOCK);
	if (pages->fd < 0)
		return errno == ENOENT ? -EUCLEAN : -errno;
	err = save_file_size(pages->fd, &size);
	if (!err && fstat(pages->fd, &st) < 0)
		err = -errno;
	if (!err) {
		pages->dev = st.st_dev;
		pages->ino = st.st_ino;
	}
	if (!err && size != file->pages * SAVE_PAGE + table)
		err = -EUCLEAN;
	if (!err) {
		pages->crcs = malloc(table);
		err = pages->crcs ? save_read(pages->fd, pages->crcs, table,
					      file->pages * SAVE_PAGE) : -ENOMEM;
	}
	if (!err && pvvas_crc32c(pages->crcs, table) != file->crc)
		err = -EUCLEAN;
	if (err)
		save_pages_close(pages, 1);
	return err;
}

void save_pages_close(struct save_pages *pages, uint32_t nr)
{
	while (nr--) {
		if (pages[nr].fd >= 0)
			close(pages[nr].fd);
		free(pages[nr].crcs);
		pages[nr] = (struct save_pages){ .fd = -1 };
	}
}

static int by_file(const void *a, const void *b)
{
	const struct save_pages *x = *(struct save_pages *const *)a;
	const struct save_pages *y = *(struct save_pages *const *)b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* Its pages would be read twice, and are on the disk once. */
static int find_twice(struct save_pages *pages, uint32_t nr, uint32_t *bad)
{
	struct save_pages **sorted = calloc(nr + 1UL, sizeof(struct save_pages *));
	uint32_t i;
	int err = 0;

	if (!sorted)
		return -ENOMEM;
	for (i = 0; i < nr; i++)
		sorted[i] = &pages[i];
	qsort(sorted, nr, sizeof(*sorted), by_file);
	for (i = 1; i < nr && !err; i++) {
		if (by_file(&sorted[i - 1], &sorted[i]))
			continue;
		*bad = (uint32_t)(sorted[i] - pages);
		err = -EUCLEAN;
	}
	free(sorted);
	return err;
}

int save_pages_open_all(int dir, const struct save_set *set,
			struct save_pages **pages, uint32_t *bad)
{
	int err = 0;
	uint32_t i;

	*bad = 0;
	*pages = calloc(set->head.files + 1UL, sizeof(**pages));
	if (!*pages)
		return -ENOMEM;
	for (i = 0; i < set->head.files && !err; i++) {
		*bad = i;
		err = save_pages_open(dir, &set->files[i], &(*pages)[i]);
	}
	if (!err)
		err = find_twice(*pages, i, bad);
	if (!err)
		return 0;
	save_pages_close(*pages, i);
	free(*pages);
	*pages = NULL;
	return err;
}
