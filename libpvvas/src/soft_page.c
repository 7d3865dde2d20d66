// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend's pages.
 *
 * Protections are a sparse file of a byte a page beside the segment's, and
 * mprotect() here; other processes see them at their next switch.  Which pages
 * were written is found by comparing with what was clean, in a file as well: a
 * write of what was there already is not seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "soft.h"

#define PAGE		4096UL
#define CHUNK		4096UL		/* pages whose bytes are read at a time */

/* The byte of a page: 0, or its rights plus one. */
static uint32_t rights_of(unsigned char byte)
{
	return byte ? byte - 1U : PVVAS_READ | PVVAS_WRITE;
}

static int prot_of(uint32_t rights)
{
	return (rights & PVVAS_READ ? PROT_READ : PROT_NONE) |
	       (rights & PVVAS_WRITE ? PROT_WRITE : PROT_NONE);
}

/* Is there memory at @offset?  *end: up to where the answer is the same. */
static bool has_memory(int fd, uint64_t offset, uint64_t *end)
{
	off_t at = lseek(fd, (off_t)offset, SEEK_DATA);

	if (at == (off_t)offset) {
		at = lseek(fd, (off_t)offset, SEEK_HOLE);
		*end = at < 0 ? offset + PAGE : (uint64_t)at;
		return true;
	}
	*end = at < 0 ? UINT64_MAX : (uint64_t)at;
	return false;
}

/* Runs of equal bytes; @file is the segment's, or -1 if missing pages are zero. */
static void apply_bytes(const struct soft_object *seg, uint32_t rights,
			uint64_t offset, const unsigned char *bytes, size_t n,
			int file)
{
	size_t i, run;

	for (i = 0; i < n; i += run) {
		uint64_t at = offset + i * PAGE, end = UINT64_MAX;
		uint32_t may = rights & rights_of(bytes[i]);

		if (file >= 0 && !has_memory(file, at + seg->shift, &end))
			may = 0;
		for (run = 1; i + run < n && bytes[i + run] == bytes[i] &&
		     at + seg->shift + run * PAGE < end; run++)
			;
		mprotect((void *)(uintptr_t)(seg->base + at), run * PAGE,
			 prot_of(may));
	}
}

void soft_page_apply(const struct soft_object *seg, uint32_t rights,
		     uint64_t offset, uint64_t length)
{
	int prot = soft_prot_file(seg, O_RDONLY);
	int file = seg->pager ? soft_segment_file(seg, O_RDONLY) : -1;
	static unsigned char bytes[CHUNK];
	uint64_t at, n, end;

	for (at = offset; (prot >= 0 || file >= 0) && at < offset + length;
	     at += n * PAGE) {
		n = (offset + length - at) / PAGE;
		memset(bytes, 0, sizeof(bytes));
		/* much of a large segment is neither protected nor filled */
		if (file < 0 && !has_memory(prot, at / PAGE, &end) &&
		    end > at / PAGE + CHUNK) {
			n = end - at / PAGE < n ? end - at / PAGE : n;
			mprotect((void *)(uintptr_t)(seg->base + at), n * PAGE,
				 prot_of(rights));
			continue;
		}
		n = n < CHUNK ? n : CHUNK;
		if (prot >= 0 && pread(prot, bytes, n, (off_t)(at / PAGE)) < 0)
			memset(bytes, 0, sizeof(bytes));
		apply_bytes(seg, rights, at, bytes, n, file);
	}
	if (prot >= 0)
		close(prot);
	if (file >= 0)
		close(file);
}

int soft_page_allows(const struct soft_object *seg, uint64_t offset, bool write)
{
	uint32_t access = write ? PVVAS_WRITE : PVVAS_READ;
	int fd = soft_prot_file(seg, O_RDONLY);
	unsigned char byte = 0;
	uint64_t end;
	bool there;

	if (fd >= 0) {
		if (pread(fd, &byte, 1, (off_t)(offset / PAGE)) < 0)
			byte = 0;
		close(fd);
	}
	if (access & ~rights_of(byte))
		return -EACCES;
	if (!seg->pager)
		return 0;
	fd = soft_segment_file(seg, O_RDONLY);
	there = fd < 0 || has_memory(fd, (offset & ~(PAGE - 1)) + seg->shift,
				     &end);
	if (fd >= 0)
		close(fd);
	return there ? 0 : -ENXIO;
}

/* Is there a page that may not be read? */
bool soft_page_hides(const struct soft_object *seg)
{
	int fd = soft_prot_file(seg, O_RDONLY);
	static unsigned char bytes[CHUNK];
	bool hides = false;
	ssize_t n = 0;
	off_t at = 0;

	if (fd < 0)
		return false;
	while (!hides && (at = lseek(fd, at + n, SEEK_DATA)) >= 0 &&
	       (n = pread(fd, bytes, sizeof(bytes), at)) > 0)
		hides = memchr(bytes, 1, (size_t)n);
	close(fd);
	return hides;
}

static int protect(const struct soft_object *seg,
		   const struct pvvas_ioc_range *arg)
{
	uint64_t first = arg->offset / PAGE, n = arg->length / PAGE, part;
	int fd = soft_prot_file(seg, O_RDWR | O_CREAT), err = 0;
	static unsigned char bytes[CHUNK];

	if (fd < 0)
		return fd;
	memset(bytes, arg->arg == (PVVAS_READ | PVVAS_WRITE) ? 0 :
	       (int)arg->arg + 1, sizeof(bytes));
	if (ftruncate(fd, (off_t)(seg->length / PAGE)) < 0)
		err = -errno;
	for (; n && !err; n -= part, first += part) {
		part = n < CHUNK ? n : CHUNK;
		err = soft_write(fd, bytes, part, first);
	}
	close(fd);
	soft_range_changed(seg, arg->offset, arg->length);
	return err;
}

/* Is this page as it was when it was clean?  If not, it is clean now. */
static int page_written(int file, int clean, uint64_t at)
{
	static char now[PAGE], then[PAGE];
	uint64_t end;
	int err;

	memset(then, 0, PAGE);
	err = soft_read(file, now, PAGE, at);
	/* reading a page for the first time gives it memory, too: zeroes */
	if (!err && has_memory(clean, at, &end))
		err = soft_read(clean, then, PAGE, at);
	if (err || !memcmp(now, then, PAGE))
		return err;
	err = soft_write(clean, now, PAGE, at);
	return err ? err : 1;
}

static int find_dirty(int file, int clean, uint64_t shift,
		      struct pvvas_ioc_range *arg)
{
	uint64_t *out = (uint64_t *)(uintptr_t)arg->addr, end;
	uint64_t at = arg->offset + shift, stop = at + arg->length;
	int ret;

	while (at < stop && arg->done < arg->arg) {
		if (!has_memory(file, at, &end)) {
			at = end;
			continue;
		}
		ret = page_written(file, clean, at);
		/* what was found is clean now, and has to be told */
		if (ret < 0)
			return arg->done ? 0 : ret;
		if (ret)
			out[arg->done++] = at - shift;
		at += PAGE;
	}
	return 0;
}

static int dirty(const struct soft_object *seg, struct pvvas_ioc_range *arg)
{
	int file = soft_segment_file(seg, O_RDONLY);
	int clean = soft_clean_file(seg, O_RDWR | O_CREAT);
	int err = file < 0 ? file : clean < 0 ? clean : 0;
	struct stat st;

	if (!err && (fstat(file, &st) < 0 || ftruncate(clean, st.st_size) < 0))
		err = -errno;
	if (!err)
		err = find_dirty(file, clean, seg->shift, arg);
	if (file >= 0)
		close(file);
	if (clean >= 0)
		close(clean);
	return err;
}

/* So has what the segment shows of a range of its file. */
static void file_changed(const struct soft_object *seg, uint64_t at,
			 uint64_t length)
{
	uint64_t from = at > seg->shift ? at : seg->shift;
	uint64_t end = seg->shift + seg->length;

	if (at + length < end)
		end = at + length;
	if (from < end)
		soft_range_changed(seg, from - seg->shift, end - from);
}

/* Pages have come or gone in all faces of the memory. */
static void pages_changed(const struct soft_object *seg, uint64_t offset,
			  uint64_t length)
{
	const struct soft_object *o;

	if (!seg->pager)
		return;
	for_each_object(o)
		if (o->kind == PVVAS_KIND_SEG && soft_same_memory(o, seg))
			file_changed(o, seg->shift + offset, length);
}

static int fill(const struct soft_object *seg, struct pvvas_ioc_range *arg,
		const char *data)
{
	int fd = soft_segment_file(seg, O_RDWR), err = 0;
	static const char zeroes[PAGE];
	uint64_t first = seg->shift + arg->offset, at, end;

	if (fd < 0)
		return fd;
	for (at = 0; at < arg->length && !err; at += PAGE) {
		if (has_memory(fd, first + at, &end))
			continue;
		/* the program pages it itself: nothing comes unasked */
		if (!data && seg->pager) {
			err = -ENXIO;
			break;
		}
		err = soft_write(fd, data ? data + at : zeroes, PAGE, first + at);
		/* a page is there with its content, or not at all */
		if (err)
			fallocate(fd, FALLOC_FL_PUNCH_HOLE |
				  FALLOC_FL_KEEP_SIZE,
				  (off_t)(first + at), PAGE);
		else if (data)
			arg->done++;
	}
	close(fd);
	pages_changed(seg, arg->offset, arg->length);
	return err;
}

/* The memory goes, and what was known of it as clean stays as it was. */
static int discard(const struct soft_object *seg,
		   const struct pvvas_ioc_range *arg)
{
	int fd = soft_segment_file(seg, O_RDWR), err = 0;

	if (fd < 0)
		return fd;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)(seg->shift + arg->offset),
		      (off_t)arg->length) < 0)
		err = -errno;
	close(fd);
	pages_changed(seg, arg->offset, arg->length);
	return err;
}

static int read_pages(const struct soft_object *seg,
		      const struct pvvas_ioc_range *arg)
{
	int fd = soft_segment_file(seg, O_RDONLY), err = 0;
	int prot = soft_prot_file(seg, O_RDONLY);
	uint64_t at;

	/* most segments have neither protected pages nor a pager */
	for (at = 0; (prot >= 0 || seg->pager) && at < arg->length && !err;
	     at += PAGE)
		err = soft_page_allows(seg, arg->offset + at, false);
	if (!err)
		err = fd < 0 ? fd : soft_read(fd, (void *)(uintptr_t)arg->addr,
					      arg->length,
					      seg->shift + arg->offset);
	if (fd >= 0)
		close(fd);
	if (prot >= 0)
		close(prot);
	return err;
}

static bool in_segment(const struct soft_object *seg, uint64_t offset,
		       uint64_t length)
{
	return offset < seg->length && length <= seg->length - offset;
}

static int move_page(int from, uint64_t src, int to, uint64_t dst)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	static char data[PAGE];
	uint64_t end;
	int err;

	if (!has_memory(from, src, &end))
		return fallocate(to, punch, (off_t)dst, PAGE) < 0 ? -errno : 0;
	err = soft_read(from, data, PAGE, src);
	if (!err)
		err = soft_write(to, data, PAGE, dst);
	if (!err && fallocate(from, punch, (off_t)src, PAGE) < 0)
		err = -errno;
	return err;
}

/* Files share no pages: they are copied, and the old ones given back. */
static int move_pages(const struct soft_object *from, const struct soft_object *to,
		      const struct pvvas_ioc_move *arg)
{
	int in = soft_segment_file(from, O_RDWR);
	int out = soft_segment_file(to, O_RDWR);
	int err = in < 0 ? in : out < 0 ? out : 0;
	uint64_t at;

	for (at = 0; at < arg->length && !err; at += PAGE)
		err = move_page(in, from->shift + arg->from_offset + at, out,
				to->shift + arg->to_offset + at);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	pages_changed(from, arg->from_offset, arg->length);
	pages_changed(to, arg->to_offset, arg->length);
	return err;
}

static int move_call(const struct pvvas_ioc_move *arg)
{
	const struct soft_object *from, *to;
	uint64_t src, dst;
	int err;

	from = soft_segment_at(arg->from, PVVAS_READ | PVVAS_WRITE, &err);
	if (!from)
		return err;
	to = soft_segment_at(arg->to, PVVAS_READ | PVVAS_WRITE, &err);
	if (!to)
		return err;
	if (!arg->length ||
	    (arg->from_offset | arg->to_offset | arg->length) % PAGE)
		return -EINVAL;
	if (!in_segment(from, arg->from_offset, arg->length) ||
	    !in_segment(to, arg->to_offset, arg->length))
		return -ERANGE;
	src = from->shift + arg->from_offset;
	dst = to->shift + arg->to_offset;
	if (soft_same_memory(from, to) && src < dst + arg->length &&
	    dst < src + arg->length)
		return -EINVAL;
	return move_pages(from, to, arg);
}

static int range_call(unsigned long request, struct pvvas_ioc_range *arg)
{
	uint32_t rights = request == PVVAS_IOC_SEG_READ ? PVVAS_READ :
			  PVVAS_READ | PVVAS_WRITE;
	struct soft_object *seg;
	int err;

	seg = soft_segment_at(arg->seg, rights, &err);
	if (!seg)
		return err;
	if (!arg->length || arg->offset % PAGE || arg->length % PAGE)
		return -EINVAL;
	if (arg->offset >= seg->length ||
	    arg->length > seg->length - arg->offset)
		return -ERANGE;
	switch (request) {
	case PVVAS_IOC_SEG_PROTECT:
		return protect(seg, arg);
	case PVVAS_IOC_SEG_DIRTY:
		return dirty(seg, arg);
	case PVVAS_IOC_SEG_POPULATE:
		return fill(seg, arg, NULL);
	case PVVAS_IOC_SEG_DISCARD:
		return discard(seg, arg);
	case PVVAS_IOC_SEG_READ:
		return read_pages(seg, arg);
	default:
		return fill(seg, arg, (const char *)(uintptr_t)arg->addr);
	}
}

static int set_pager(const struct pvvas_ioc_seg_pager *arg)
{
	uint16_t on = arg->on ? 1 : 0;
	struct soft_object *seg, *o;
	int err;

	seg = soft_segment_at(arg->seg, PVVAS_READ | PVVAS_WRITE, &err);
	if (!seg)
		return err;
	if (soft_is_part(seg))
		return -EINVAL;
	if (seg->pager == on)
		return 0;
	/* in all its faces: what is missing is a page of the memory */
	for_each_object(o)
		if (o->kind == PVVAS_KIND_SEG && soft_same_memory(o, seg))
			o->pager = on;
	soft_reg->changes++;
	return 0;
}

static int seg_stat(struct pvvas_ioc_seg_stat *arg)
{
	struct pvvas_ioc_attr attr = {
		.size = sizeof(attr),
		.kind = PVVAS_KIND_SEG,
		.id = arg->seg,
	};
	int err;

	if (!soft_segment_at(arg->seg, PVVAS_READ, &err))
		return err;
	err = soft_objects_call(PVVAS_IOC_GETATTR, &attr);
	arg->resident = attr.resident;
	return err;
}

/* What was clean is known no more. */
static int untrack(const struct pvvas_ioc_id *arg)
{
	const struct soft_object *seg;
	int fd, err;

	seg = soft_segment_at(arg->id, PVVAS_READ | PVVAS_WRITE, &err);
	if (!seg)
		return err;
	fd = soft_clean_file(seg, O_RDWR);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	err = ftruncate(fd, 0) < 0 ? -errno : 0;
	close(fd);
	return err;
}

/* Shared memory knows no accesses, nor writes while a page is taken out. */
static int not_known(uint32_t id)
{
	int err;

	return soft_segment_at(id, PVVAS_READ | PVVAS_WRITE, &err) ?
	       -EOPNOTSUPP : err;
}

int soft_page_call(unsigned long request, void *arg)
{
	switch (request) {
	case PVVAS_IOC_SEG_UNTRACK:
		return untrack(arg);
	case PVVAS_IOC_SEG_ACCESSED:
		return not_known(((struct pvvas_ioc_range *)arg)->seg);
	case PVVAS_IOC_SEG_LIMIT:
	case PVVAS_IOC_SEG_RECLAIM_WAIT:
		return not_known(((struct pvvas_ioc_reclaim *)arg)->seg);
	case PVVAS_IOC_SEG_EVICT:
		return not_known(((struct pvvas_ioc_evict *)arg)->seg);
	case PVVAS_IOC_SEG_MOVE:
		return move_call(arg);
	case PVVAS_IOC_SEG_PROTECT:
	case PVVAS_IOC_SEG_DIRTY:
	case PVVAS_IOC_SEG_POPULATE:
	case PVVAS_IOC_SEG_FILL:
	case PVVAS_IOC_SEG_DISCARD:
	case PVVAS_IOC_SEG_READ:
		return range_call(request, arg);
	case PVVAS_IOC_SEG_PAGER:
		return set_pager(arg);
	case PVVAS_IOC_SEG_STAT:
		return seg_stat(arg);
	default:
		return -ENOTTY;
	}
}
