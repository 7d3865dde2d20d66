// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas cp: a segment to a file, or a file into a segment; holes stay holes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "tool.h"

#define PAGE	4096UL
#define CHUNK	(2UL << 20)	/* as large as pages come at once */

/* A progress line each second, on a terminal. */
static void progress(size_t done, size_t size, bool last)
{
	static time_t before;
	time_t now = time(NULL);

	if (!before)
		before = now;
	if (!isatty(STDERR_FILENO) || (now == before && !last))
		return;
	before = now;
	fprintf(stderr, "\r%zu of %zu MiB%s", done >> 20, size >> 20,
		last ? "\n" : "");
}

static bool is_zero(const char *p, size_t n)
{
	return !*p && !memcmp(p, p + 1, n - 1);
}

static int write_all(int fd, const char *buffer, size_t n, off_t at)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = pwrite(fd, buffer + done, n - done,
				   at + (off_t)done);

		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0)
			done += (size_t)r;
	}
	return 0;
}

/* Pages of zeroes become holes. */
static int write_sparse(int fd, const char *buffer, size_t n, off_t at)
{
	size_t i, len;
	int err = 0;

	for (i = 0; i < n && !err; i += PAGE) {
		len = n - i < PAGE ? n - i : PAGE;
		if (!is_zero(buffer + i, len))
			err = write_all(fd, buffer + i, len, at + (off_t)i);
	}
	return err;
}

static int range_to_file(const struct tool_segment *s, int fd, char *buffer,
			 size_t at, size_t length)
{
	size_t n, end = at + length;
	int err = 0;

	for (; at < end && !err; at += n) {
		n = end - at < CHUNK ? end - at : CHUNK;
		err = vas_switch(s->vh);
		if (err)
			break;
		memcpy(buffer, s->base + at, n);
		vas_switch(VAS_HOME);
		err = write_sparse(fd, buffer, n, (off_t)at);
		progress(at, s->size, false);
	}
	return err;
}

/* Only what has memory: the rest is zeroes, and a hole in the file. */
static int to_file(const struct tool_segment *s, int fd, char *buffer)
{
	size_t at = 0, length;
	int err;

	if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)s->size) < 0)
		return -errno;
	for (;;) {
		err = seg_next_data(s->sid, &at, &length);
		if (err)
			break;
		err = range_to_file(s, fd, buffer, at, length);
		if (err)
			break;
		at += length;
	}
	return err == -ENOENT ? 0 : err;
}

/* Make the bytes of pages that are there what the file's are. */
static void put_over(const struct tool_segment *s, const char *buffer, size_t at,
		     size_t n)
{
	size_t i, len;

	for (i = 0; i < n; i += PAGE) {
		len = n - i < PAGE ? n - i : PAGE;
		if (memcmp(s->base + at + i, buffer + i, len))
			memcpy(s->base + at + i, buffer + i, len);
	}
}

/*
 * Make the segment's bytes what the file's are.  Where it has no memory whole pages
 * come at once, the last one with zeroes behind the end of the file.
 */
static int put(const struct tool_segment *s, char *buffer, size_t at, size_t n)
{
	size_t whole = (n + PAGE - 1) / PAGE * PAGE;
	int filled, err = vas_switch(s->vh);

	if (err)
		return err;
	memset(buffer + n, 0, whole - n);
	filled = seg_fill(s->sid, s->base + at, buffer, whole);
	if (filled >= 0 && (size_t)filled < whole / PAGE)
		put_over(s, buffer, at, n);
	err = vas_switch(VAS_HOME);
	return filled < 0 ? filled : err;
}

/* All of it, or less at the end of the file. */
static ssize_t read_all(int fd, char *buffer, size_t n, off_t at)
{
	size_t done = 0;
	ssize_t r = 1;

	while (done < n && r) {
		r = pread(fd, buffer + done, n - done, at + (off_t)done);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0)
			done += (size_t)r;
	}
	return (ssize_t)done;
}

/* Where the file has data from @at on, in whole pages; -ENXIO after the last. */
static off_t next_data(int fd, off_t at, off_t *end)
{
	at = lseek(fd, at, SEEK_DATA);
	*end = at < 0 ? at : lseek(fd, at, SEEK_HOLE);
	if (*end < 0)
		return -errno;
	*end = (*end + (off_t)PAGE - 1) / (off_t)PAGE * (off_t)PAGE;
	return at / (off_t)PAGE * (off_t)PAGE;
}

static int from_file(const struct tool_segment *s, int fd, size_t size, char *buffer)
{
	off_t at = 0, end = 0;
	ssize_t n;
	int err = 0;

	while (!err && (size_t)at < size) {
		if (at >= end)
			at = next_data(fd, at, &end);
		if (at < 0)
			return at == -ENXIO ? 0 : (int)at;
		n = read_all(fd, buffer, (size_t)(end - at) < CHUNK ?
			     (size_t)(end - at) : CHUNK, at);
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		err = put(s, buffer, (size_t)at, (size_t)n);
		at += (n + (ssize_t)PAGE - 1) / (ssize_t)PAGE * (ssize_t)PAGE;
		progress((size_t)at < size ? (size_t)at : size, size, false);
	}
	return err;
}

/* What is copied, and whereto. */
struct copy {
	struct tool_segment s;
	int fd;
	size_t size;
	char *buffer;
};

static int out_of_segment(void *arg)
{
	struct copy *c = arg;

	return to_file(&c->s, c->fd, c->buffer);
}

static int into_segment(void *arg)
{
	struct copy *c = arg;

	return from_file(&c->s, c->fd, c->size, c->buffer);
}

/* Which of both it is about. */
static int tell(int err, const char *file, const char *name)
{
	if (!err)
		return TOOL_OK;
	if (err == -EFAULT || err == -EOWNERDEAD || err == -ENOTRECOVERABLE)
		return tool_segment_error(err, name);
	return tool_error(err, "%s", file);
}

/*
 * Its descriptor, or -1 and the exit status.  Only a regular file has a size, and the
 * open() of a FIFO that another user puts there would wait.
 */
static int open_file(const char *file, int flags, struct stat *st, int *status)
{
	int fd = open(file, flags | O_NONBLOCK | O_CLOEXEC, 0600);
	char one;

	if (fd < 0 || fstat(fd, st) < 0) {
		*status = tool_error(-errno, "%s", file);
	} else if (S_ISDIR(st->st_mode)) {
		*status = tool_error(-EISDIR, "%s", file);
	} else if (!S_ISREG(st->st_mode) ||
		   (!st->st_size && pread(fd, &one, 1, 0) > 0)) {
		*status = tool_error_text(-EINVAL, "no regular file", "%s",
					  file);
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

static int copy_out(const char *name, const char *file, char *buffer)
{
	struct copy c = { .buffer = buffer };
	int status, err = tool_open_segment(&c.s, name);
	struct stat st;

	if (err)
		return tool_error(err, "seg %s", name);
	c.fd = open_file(file, O_WRONLY | O_CREAT, &st, &status);
	if (c.fd < 0)
		return status;
	err = tool_guarded(out_of_segment, &c);
	if (close(c.fd) < 0 && !err)
		err = -errno;
	progress(c.s.size, c.s.size, true);
	return tell(err, file, name);
}

static int copy_in(const char *file, const char *name, char *buffer)
{
	struct copy c = { .buffer = buffer };
	struct stat st;
	int status, err;

	c.fd = open_file(file, O_RDONLY, &st, &status);
	if (c.fd < 0)
		return status;
	c.size = (size_t)st.st_size;
	err = tool_open_segment(&c.s, name);
	if (err)
		return tool_error(err, "seg %s", name);
	if (c.size > c.s.size)
		return tool_error(-EFBIG, "%s does not fit into seg %s", file,
				  name);
	err = tool_guarded(into_segment, &c);
	close(c.fd);
	progress(c.size, c.size, true);
	return tell(err, file, name);
}

int cmd_cp(int argc, char **argv)
{
	bool out, in;
	char *buffer;
	int status;

	if (argc != 2)
		return tool_usage();
	out = !strncmp(argv[0], "seg:", 4);
	in = !strncmp(argv[1], "seg:", 4);
	if (out == in)
		return tool_usage();
	buffer = malloc(CHUNK);
	if (!buffer)
		return tool_error(-ENOMEM, "cp");
	status = out ? copy_out(argv[0] + 4, argv[1], buffer) :
		       copy_in(argv[0], argv[1] + 4, buffer);
	free(buffer);
	return status;
}
