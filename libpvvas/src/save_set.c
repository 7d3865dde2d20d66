// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The manifest of a saved set: read and checked, or written.  What it says is
 * believed no further than it was checked here: the file may be any.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "save.h"

/* Each of its arrays: where its pointer is, how long one is, how many there are. */
#define PARTS		5

struct part {
	void **array;
	size_t size;
	uint64_t nr;
};

static void parts_of(struct save_set *set, struct part parts[PARTS])
{
	const struct save_head *h = &set->head;
	const struct part all[PARTS] = {
		{ (void **)&set->vases, sizeof(*set->vases), h->vases },
		{ (void **)&set->segs, sizeof(*set->segs), h->segs },
		{ (void **)&set->links, sizeof(*set->links), h->links },
		{ (void **)&set->files, sizeof(*set->files), h->files },
		{ (void **)&set->extents, sizeof(*set->extents), h->extents },
	};

	memcpy(parts, all, sizeof(all));
}

void save_set_free(struct save_set *set)
{
	free(set->vases);
	free(set->segs);
	free(set->links);
	free(set->files);
	free(set->extents);
	memset(set, 0, sizeof(*set));
}

/* All arrays, from what follows the head. */
static int take_apart(struct save_set *set, const char *from)
{
	struct part parts[PARTS];
	size_t i, n;

	parts_of(set, parts);
	for (i = 0; i < PARTS; i++, from += n) {
		n = (size_t)parts[i].nr * parts[i].size;
		*parts[i].array = malloc(n ? n : 1);
		if (!*parts[i].array)
			return -ENOMEM;
		memcpy(*parts[i].array, from, n);
	}
	return 0;
}

/* Do the numbers in the head make the file as long as it is? */
static bool length_is_right(struct save_set *set, uint64_t bytes)
{
	uint64_t sum = sizeof(set->head);
	struct part parts[PARTS];
	size_t i;

	if (set->head.bytes != bytes || set->head.extents > bytes)
		return false;
	parts_of(set, parts);
	/* no sum of 5 products of 2^32 or a file's length, and 304, overflows */
	for (i = 0; i < PARTS; i++)
		sum += parts[i].nr * parts[i].size;
	return sum == bytes;
}

static bool name_is_right(const char *name, bool wanted)
{
	if (!*name)
		return !wanted && !memcmp(name, name + 1, SAVE_NAME - 1);
	return memchr(name, 0, SAVE_NAME) && !pvvas_check_name(name);
}

static bool segs_are_right(const struct save_set *set)
{
	const struct save_seg *s;
	uint32_t i;

	for (i = 0; i < set->head.segs; i++) {
		s = &set->segs[i];
		if (!name_is_right(s->name, false) || s->mode > 0777 ||
		    !s->length || (s->base | s->length) % SAVE_PAGE ||
		    s->length > UINT64_MAX - s->base || s->lockable > 1 ||
		    (s->lock && (!s->lockable || (s->lock != PVVAS_LOCK_DIED &&
						  s->lock != PVVAS_LOCK_LOST))))
			return false;
		if (s->face_of && (s->face_of > i ||
				   set->segs[s->face_of - 1].face_of ||
				   set->segs[s->face_of - 1].length != s->length))
			return false;
	}
	return true;
}

static bool links_are_right(const struct save_set *set)
{
	const struct save_link *l;
	uint32_t i;

	for (i = 0; i < set->head.links; i++) {
		l = &set->links[i];
		if (l->vas >= set->head.vases || l->seg >= set->head.segs ||
		    (l->prot != PVVAS_READ && l->prot != (PVVAS_READ | PVVAS_WRITE)))
			return false;
	}
	return true;
}

/* All of them have no more pages than the files: no set makes more memory than it has. */
static bool extents_are_right(const struct save_set *set)
{
	const struct save_extent *e, *before = NULL;
	uint64_t i, pages, left = 0;

	for (i = 0; i < set->head.files; i++)
		left += set->files[i].pages;
	for (i = 0; i < set->head.extents; i++, before = e) {
		e = &set->extents[i];
		if (e->seg >= set->head.segs || e->file >= set->head.files ||
		    set->segs[e->seg].face_of)
			return false;
		pages = set->segs[e->seg].length / SAVE_PAGE;
		if (!e->pages || e->first >= pages || e->pages > pages - e->first)
			return false;
		pages = set->files[e->file].pages;
		if (e->at >= pages || e->pages > pages - e->at ||
		    e->pages > left)
			return false;
		left -= e->pages;
		if (before && (e->seg < before->seg ||
			       (e->seg == before->seg &&
				e->first < before->first + before->pages)))
			return false;
	}
	return true;
}

/* In order, so that no file is there twice: its pages would count as twice as many. */
static bool files_are_right(const struct save_set *set)
{
	const struct save_file *f, *before = NULL;
	uint32_t i;

	for (i = 0; i < set->head.files; i++, before = f) {
		f = &set->files[i];
		if (!f->pages || f->pages > UINT32_MAX)
			return false;
		if (before && (f->generation < before->generation ||
			       (f->generation == before->generation &&
				f->number <= before->number)))
			return false;
	}
	return true;
}

static bool is_right(const struct save_set *set)
{
	uint32_t i;

	for (i = 0; i < set->head.vases; i++)
		if (!name_is_right(set->vases[i].name, true) ||
		    set->vases[i].mode > 0777)
			return false;
	return files_are_right(set) && segs_are_right(set) &&
	       links_are_right(set) && extents_are_right(set);
}

static int parse(struct save_set *set, char *file, uint64_t bytes,
		 const char **what)
{
	struct save_head *head = (struct save_head *)file;
	uint32_t crc = head->crc;

	if (bytes < sizeof(*head) || memcmp(head->magic, SAVE_MAGIC, 8))
		return -EUCLEAN;
	if (head->version != SAVE_VERSION) {
		*what = "manifest of another version";
		return -EPROTO;
	}
	set->head = *head;
	if (!length_is_right(set, bytes))
		return -EUCLEAN;
	head->crc = 0;
	if (pvvas_crc32c(file, bytes) != crc)
		return -EUCLEAN;
	if (take_apart(set, file + sizeof(*head)))
		return -ENOMEM;
	return is_right(set) ? 0 : -EUCLEAN;
}

int save_set_read(int dir, struct save_set *set, const char **what)
{
	int fd = openat(dir, "manifest", O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
			O_NONBLOCK);
	char *file = NULL;
	uint64_t size = 0;
	int err;

	memset(set, 0, sizeof(*set));
	*what = "manifest";
	if (fd < 0)
		return -errno;
	err = save_file_size(fd, &size);
	if (!err) {
		file = malloc(size + sizeof(set->head));
		err = file ? save_read(fd, file, size, 0) : -ENOMEM;
	}
	if (!err)
		err = parse(set, file, size, what);
	free(file);
	close(fd);
	if (err)
		save_set_free(set);
	return err;
}

/* The whole file in memory, or NULL. */
static char *put_together(struct save_set *set)
{
	struct part parts[PARTS];
	char *file, *to;
	size_t i;

	memcpy(set->head.magic, SAVE_MAGIC, 8);
	set->head.version = SAVE_VERSION;
	set->head.crc = 0;
	set->head.bytes = sizeof(set->head);
	parts_of(set, parts);
	for (i = 0; i < PARTS; i++)
		set->head.bytes += parts[i].nr * parts[i].size;
	file = malloc(set->head.bytes);
	if (!file)
		return NULL;
	to = mempcpy(file, &set->head, sizeof(set->head));
	for (i = 0; i < PARTS; i++)
		if (parts[i].nr)
			to = mempcpy(to, *parts[i].array,
				     (size_t)parts[i].nr * parts[i].size);
	set->head.crc = pvvas_crc32c(file, set->head.bytes);
	memcpy(file, &set->head, sizeof(set->head));
	return file;
}

int save_set_write(int dir, struct save_set *set, bool *there)
{
	char *file = put_together(set);
	int fd, err;

	*there = false;
	if (!file)
		return -ENOMEM;
	/* of a save that was killed */
	unlinkat(dir, "manifest.new", 0);
	fd = openat(dir, "manifest.new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	err = fd < 0 ? -errno : save_write(fd, file, set->head.bytes, 0);
	free(file);
	/* the folder first: files of pages must not come to it after this one */
	if (!err && (fsync(fd) < 0 || fsync(dir) < 0))
		err = -errno;
	if (fd >= 0 && close(fd) < 0 && !err)
		err = -errno;
	if (!err && renameat(dir, "manifest.new", dir, "manifest") < 0)
		err = -errno;
	if (err) {
		unlinkat(dir, "manifest.new", 0);
		return err;
	}
	*there = true;
	return fsync(dir) < 0 ? -errno : 0;
}

const struct save_extent *save_set_find(const struct save_set *set, uint32_t seg,
					uint64_t page)
{
	uint64_t low = 0, high = set->head.extents, mid;
	const struct save_extent *e;

	/* the last one that begins at the page or before it */
	while (low < high) {
		mid = low + (high - low) / 2;
		e = &set->extents[mid];
		if (e->seg < seg || (e->seg == seg && e->first <= page))
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return NULL;
	e = &set->extents[low - 1];
	return e->seg == seg && page - e->first < e->pages ? e : NULL;
}
