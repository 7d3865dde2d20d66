// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Segments with the content of a file: seg_open(), seg_sync().
 *
 * The process that opens one keeps the file, locked, so that no other segment is
 * made of it meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "save.h"

#define PAGE	((size_t)SAVE_PAGE)

/* Entries stay; those of segments that are gone are used again. */
struct seg_file {
	struct seg_file *next;
	int sid;
	int fd;
	uint64_t base;
	uint64_t length;	/* of the file: what is behind it is not written */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct seg_file *files;

void pvvas_files_forked(void)
{
	pthread_mutex_init(&lock, NULL);
}

/* The lock is held: those of segments that are gone close. */
static void forget_gone(void)
{
	struct seg_file **at = &files, *f;
	struct pvvas_ioc_attr attr;

	while ((f = *at)) {
		if (pvvas_getattr(PVVAS_KIND_SEG, f->sid, &attr) != -ENOENT) {
			at = &f->next;
			continue;
		}
		*at = f->next;
		close(f->fd);
		free(f);
	}
}

static int note_file(int sid, int fd, uint64_t base, uint64_t length)
{
	struct seg_file *f = malloc(sizeof(*f));

	if (!f)
		return -ENOMEM;
	*f = (struct seg_file){ .sid = sid, .fd = fd, .base = base,
				.length = length };
	pthread_mutex_lock(&lock);
	f->next = files;
	files = f;
	pthread_mutex_unlock(&lock);
	return 0;
}

static bool find_file(int sid, struct seg_file *found)
{
	const struct seg_file *f;

	pthread_mutex_lock(&lock);
	for (f = files; f && f->sid != sid; f = f->next)
		;
	if (f)
		*found = *f;
	pthread_mutex_unlock(&lock);
	return f;
}

/* Opened, locked, and as long as it shall be; or -errno */
static int open_file(const char *path, int flags, size_t *size)
{
	struct stat st;
	int err = 0, fd;

	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK |
		  (flags & SEG_OPEN_CREATE ? O_CREAT : 0), 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
	else if (fstat(fd, &st) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -EINVAL;
	if (!err && !*size)
		*size = (size_t)st.st_size;
	if (!err && !*size)
		err = -EINVAL;
	if (!err && (uint64_t)st.st_size < *size &&
	    ftruncate(fd, (off_t)*size) < 0)
		err = -errno;
	if (!err && flags & SEG_OPEN_CREATE)
		err = save_sync_parent(path);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* Up to a chunk of the file, and zeroes behind its end. */
static int read_chunk(const struct seg_file *f, uint64_t at, char *buffer,
		      size_t n)
{
	size_t there = f->length - at < n ? f->length - at : n;
	int err = save_read(f->fd, buffer, there, at);

	memset(buffer + there, 0, n - there);
	/* another program has cut it */
	return err == -EUCLEAN ? -EIO : err;
}

static int fill_from(const struct seg_file *f, char *buffer)
{
	uint64_t end = (f->length + PAGE - 1) / PAGE * PAGE;
	off_t at = 0;
	size_t n;
	int err;

	for (;;) {
		at = lseek(f->fd, at, SEEK_DATA);
		if (at < 0)
			return errno == ENXIO ? 0 : -errno;
		at -= at % (off_t)PAGE;
		if ((uint64_t)at >= end)
			return 0;
		n = end - (uint64_t)at < SAVE_CHUNK ? end - (uint64_t)at :
						      SAVE_CHUNK;
		err = read_chunk(f, (uint64_t)at, buffer, n);
		if (!err)
			err = seg_fill(f->sid, (void *)(uintptr_t)(f->base +
				       (uint64_t)at), buffer, n);
		if (err < 0)
			return err;
		at += (off_t)n;
	}
}

PVVAS_EXPORT int seg_open(const char *path, void *base, size_t size, int flags)
{
	PVVAS_NO_CANCEL;
	char *buffer = malloc(SAVE_CHUNK);
	struct seg_file f = { .fd = -1 };
	int err = 0;

	if (!path || flags & ~SEG_OPEN_CREATE)
		err = -EINVAL;
	else if (!buffer)
		err = -ENOMEM;
	if (!err) {
		pthread_mutex_lock(&lock);
		forget_gone();
		pthread_mutex_unlock(&lock);
		f.fd = pvvas_move_up(open_file(path, flags, &size));
		err = f.fd < 0 ? f.fd : 0;
	}
	if (!err) {
		f.sid = seg_alloc(NULL, base, size, 0600);
		err = f.sid < 0 ? f.sid : seg_range(f.sid, &base, &f.length);
	}
	if (!err) {
		f.base = (uintptr_t)base;
		f.length = size;
		err = fill_from(&f, buffer);
	}
	if (!err)
		err = note_file(f.sid, f.fd, f.base, f.length);
	free(buffer);
	if (err && f.sid > 0)
		seg_delete(f.sid);
	if (err && f.fd >= 0)
		close(f.fd);
	return err ? err : f.sid;
}

/* Is there nothing in the segment, and nothing in the file?  Then how far? */
static uint64_t skip_holes(const struct seg_file *f, uint64_t at, uint64_t end)
{
	size_t offset = at, length;
	off_t data = lseek(f->fd, (off_t)at, SEEK_DATA);
	int err = seg_next_data(f->sid, &offset, &length);

	if (err == -ENOENT)
		offset = end;
	else if (err)
		offset = at;
	if (data >= 0 && (uint64_t)data < offset)
		offset = (uint64_t)data;
	else if (data < 0 && errno != ENXIO)
		offset = at;
	offset -= offset % PAGE;
	return offset < end ? offset : end;
}

/* Pages that differ go to the file. */
static int sync_chunk(const struct seg_file *f, uint64_t at, size_t n,
		      char *mine, char *theirs)
{
	struct pvvas_ioc_range range = { .size = sizeof(range),
					 .seg = (uint32_t)f->sid, .offset = at,
					 .length = n, .addr = (uintptr_t)mine };
	size_t i, run, there;
	int err = pvvas_call(PVVAS_IOC_SEG_READ, &range);

	if (!err)
		err = read_chunk(f, at, theirs, n);
	for (i = 0; i < n && !err; i += run + PAGE) {
		for (run = 0; i + run < n &&
		     memcmp(mine + i + run, theirs + i + run, PAGE); run += PAGE)
			;
		there = f->length - at - i < run ? f->length - at - i : run;
		if (run)
			err = save_write(f->fd, mine + i, there, at + i);
	}
	return err;
}

/* What a pager has is its own to write. */
static int sync_pages(const struct seg_file *f, uint64_t at, size_t n, char *buffer)
{
	int err = sync_chunk(f, at, n, buffer, buffer + SAVE_CHUNK);
	size_t i;

	if (err != -ENXIO)
		return err;
	for (err = 0, i = 0; i < n && !err; i += PAGE) {
		err = sync_chunk(f, at + i, PAGE, buffer, buffer + SAVE_CHUNK);
		if (err == -ENXIO)
			err = 0;
	}
	return err;
}

PVVAS_EXPORT int seg_sync(int sid, void *addr, size_t length)
{
	PVVAS_NO_CANCEL;
	uint64_t at = (uintptr_t)addr, end;
	struct seg_file f;
	char *buffer;
	size_t n;
	int err = 0;

	if (sid <= 0 || at % PAGE || !length || length > SIZE_MAX - PAGE)
		return -EINVAL;
	if (!find_file(sid, &f))
		return -EBADF;
	end = (f.length + PAGE - 1) / PAGE * PAGE;
	length = (length + PAGE - 1) / PAGE * PAGE;
	at -= f.base;
	if (at >= end || length > end - at)
		return -ERANGE;
	end = at + length;
	buffer = malloc(2 * SAVE_CHUNK);
	if (!buffer)
		return -ENOMEM;
	while (!err && (at = skip_holes(&f, at, end)) < end) {
		n = end - at < SAVE_CHUNK ? end - at : SAVE_CHUNK;
		err = sync_pages(&f, at, n, buffer);
		at += n;
	}
	free(buffer);
	if (!err && fdatasync(f.fd) < 0)
		err = -errno;
	return err;
}
