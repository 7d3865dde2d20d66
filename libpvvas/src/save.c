// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * vas_save(): clones of one moment, their pages to files, and a manifest last.
 *
 * Each thread writes a file of its own.  The manifest has the place of every page,
 * in these files or in those of the set before, so that a set never depends on
 * another one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "save_shape.h"

/* So many files are read for one set at most; then all is written anew. */
#define MANY_FILES	32

/* What a thread writes. */
struct out {
	struct save_file file;
	int fd;
	uint32_t *crcs;
	uint64_t room;
	struct save_extent *extents;
	uint64_t nr_extents;
	uint64_t room_extents;
};

struct saving {
	struct save_work work;
	struct vas_save_options options;
	int dir;
	struct save_shape shape;
	/* the set before, if pages of it are used; the files that they are in */
	struct save_set old;
	struct save_pages *old_pages;
	bool *reuse;
	uint32_t *old_segs;	/* number of the segment there, from 1, or 0 */
	struct out *outs;
	/* the next piece: with the work's lock */
	uint32_t seg;
	uint32_t row;
	size_t offset;
};

/* A piece of one segment. */
struct piece {
	uint32_t seg;
	int sid;
	size_t offset;
	size_t length;
};

static int next_piece(struct saving *s, struct piece *p)
{
	int err = -ENOENT;

	pthread_mutex_lock(&s->work.lock);
	for (; s->seg < s->shape.set.head.segs; s->seg++, s->offset = 0) {
		if (s->shape.set.segs[s->seg].face_of)
			continue;
		p->seg = s->seg;
		p->sid = (int)s->shape.rows[s->row].id;
		err = seg_next_data(p->sid, &s->offset, &p->length);
		if (err != -ENOENT)
			break;
		s->row++;
	}
	if (!err) {
		p->length = p->length < SAVE_CHUNK ? p->length : SAVE_CHUNK;
		p->offset = s->offset;
		s->offset += p->length;
	}
	pthread_mutex_unlock(&s->work.lock);
	return err;
}

static int open_out(struct saving *s, struct out *out)
{
	char name[SAVE_FILE_NAME];

	save_file_name(&out->file, name);
	out->fd = openat(s->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			 0600);
	return out->fd < 0 ? save_message(&s->options, -errno, "%s", name) : 0;
}

/* Is what @e has right behind what @last has, in segment and file? */
static bool continues(const struct save_extent *last, const struct save_extent *e)
{
	return last->seg == e->seg && last->file == e->file &&
	       last->first + last->pages == e->first &&
	       last->at + last->pages == e->at;
}

/* Pages of a segment are in a file from page @at on. */
static int note_extent(struct out *out, struct save_extent e)
{
	struct save_extent *last, *more;

	if (out->nr_extents) {
		last = &out->extents[out->nr_extents - 1];
		if (continues(last, &e)) {
			last->pages += e.pages;
			return 0;
		}
	}
	if (out->nr_extents == out->room_extents) {
		out->room_extents = out->room_extents * 2 + 64;
		more = reallocarray(out->extents, out->room_extents,
				    sizeof(*more));
		if (!more)
			return -ENOMEM;
		out->extents = more;
	}
	out->extents[out->nr_extents++] = e;
	return 0;
}

static int note_crcs(struct out *out, const char *data, uint64_t pages)
{
	uint32_t *more;
	uint64_t i;

	if (out->file.pages + pages > out->room) {
		out->room = (out->file.pages + pages) * 2;
		more = reallocarray(out->crcs, out->room, sizeof(*more));
		if (!more)
			return -ENOMEM;
		out->crcs = more;
	}
	for (i = 0; i < pages; i++)
		out->crcs[out->file.pages + i] =
			pvvas_crc32c(data + i * SAVE_PAGE, SAVE_PAGE);
	return 0;
}

static int write_pages(struct saving *s, unsigned int thread, uint32_t seg,
		       uint64_t first, const char *data, uint64_t pages)
{
	struct out *out = &s->outs[thread];
	struct save_extent e = { seg, s->old.head.files + thread, first,
				 out->file.pages, pages };
	char name[SAVE_FILE_NAME];
	int err = out->fd < 0 ? open_out(s, out) : 0;

	if (!err)
		err = note_crcs(out, data, pages);
	if (!err)
		err = note_extent(out, e);
	if (err)
		return err;
	err = save_write(out->fd, data, pages * SAVE_PAGE,
			 out->file.pages * SAVE_PAGE);
	out->file.pages += pages;
	save_file_name(&out->file, name);
	return err ? save_message(&s->options, err, "%s", name) : 0;
}

static bool is_zero(const char *page)
{
	return !*page && !memcmp(page, page + 1, SAVE_PAGE - 1);
}

/* The page is in a file of the set before, and is just as it is here. */
static bool is_old(struct saving *s, uint32_t seg, uint64_t number,
		   const char *page, char *room, struct save_extent *e)
{
	const struct save_extent *old = NULL;
	const struct save_pages *pages;

	if (s->old_segs && s->old_segs[seg])
		old = save_set_find(&s->old, s->old_segs[seg] - 1, number);
	if (!old || !s->reuse[old->file])
		return false;
	pages = &s->old_pages[old->file];
	*e = (struct save_extent){ seg, old->file, number,
				   old->at + number - old->first, 1 };
	return pages->crcs[e->at] == pvvas_crc32c(page, SAVE_PAGE) &&
	       !save_read(pages->fd, room, SAVE_PAGE, e->at * SAVE_PAGE) &&
	       !memcmp(room, page, SAVE_PAGE);
}

/* The pages of a piece, in runs of those that are to be written. */
static int sort_pages(struct saving *s, unsigned int thread,
		      const struct piece *p, const char *data, char *room)
{
	uint64_t first = p->offset / SAVE_PAGE, n = p->length / SAVE_PAGE;
	uint64_t i, run = 0;
	struct save_extent e;
	bool zero, old;
	int err = 0;

	for (i = 0; i < n && !err; i++) {
		const char *page = data + i * SAVE_PAGE;

		zero = is_zero(page);
		old = !zero && is_old(s, p->seg, first + i, page, room, &e);
		if (!zero && !old) {
			run++;
			continue;
		}
		if (run)
			err = write_pages(s, thread, p->seg, first + i - run,
					  page - run * SAVE_PAGE, run);
		run = 0;
		if (old && !err)
			err = note_extent(&s->outs[thread], e);
	}
	if (run && !err)
		err = write_pages(s, thread, p->seg, first + n - run,
				  data + (n - run) * SAVE_PAGE, run);
	return err;
}

static int save_piece(struct save_work *work, unsigned int thread, char *buffer)
{
	struct saving *s = (struct saving *)work;
	struct pvvas_ioc_range range = { .size = sizeof(range),
					 .addr = (uintptr_t)buffer };
	struct piece p;
	int err = next_piece(s, &p);

	if (err)
		return err == -ENOENT ? 0 : err;
	range.seg = (uint32_t)p.sid;
	range.offset = p.offset;
	range.length = p.length;
	err = pvvas_call(PVVAS_IOC_SEG_READ, &range);
	if (!err)
		err = sort_pages(s, thread, &p, buffer, buffer + SAVE_CHUNK);
	if (err)
		return err;
	save_work_done(work, p.length);
	return 1;
}

/* The segment of the set before with this one's name, base and length. */
static uint32_t old_seg(const struct save_set *old, const struct save_seg *seg)
{
	const struct save_seg *o;
	uint32_t i;

	for (i = 0; i < old->head.segs; i++) {
		o = &old->segs[i];
		if (!o->face_of && o->base == seg->base &&
		    o->length == seg->length && !strcmp(o->name, seg->name))
			return i + 1;
	}
	return 0;
}

/* A file of which half is not used any more is not worth keeping. */
static void choose_files(struct saving *s)
{
	uint64_t used;
	uint64_t i;
	uint32_t f;

	for (f = 0; f < s->old.head.files; f++) {
		used = 0;
		for (i = 0; i < s->old.head.extents; i++)
			if (s->old.extents[i].file == f)
				used += s->old.extents[i].pages;
		s->reuse[f] = used > s->old.files[f].pages / 2 &&
			      s->old.head.files <= MANY_FILES;
	}
}

static int open_old(struct saving *s)
{
	char name[SAVE_FILE_NAME];
	const char *what;
	uint32_t bad, i;
	int err;

	err = save_set_read(s->dir, &s->old, &what);
	if (err)
		return err == -ENOENT ? 0 : save_message(&s->options, err, "%s", what);
	err = save_pages_open_all(s->dir, &s->old, &s->old_pages, &bad);
	if (err) {
		save_file_name(&s->old.files[bad], name);
		return save_message(&s->options, err, "%s", name);
	}
	s->reuse = calloc(s->old.head.files + 1UL, sizeof(*s->reuse));
	s->old_segs = calloc(s->shape.set.head.segs + 1UL, sizeof(*s->old_segs));
	if (!s->reuse || !s->old_segs)
		return -ENOMEM;
	choose_files(s);
	for (i = 0; i < s->shape.set.head.segs; i++)
		s->old_segs[i] = old_seg(&s->old, &s->shape.set.segs[i]);
	return 0;
}

/* The table of checksums, and all of it on the disk. */
static int finish_out(struct saving *s, struct out *out)
{
	size_t table = out->file.pages * sizeof(*out->crcs);
	char name[SAVE_FILE_NAME];
	int err;

	if (out->fd < 0)
		return 0;
	out->file.crc = pvvas_crc32c(out->crcs, table);
	err = save_write(out->fd, out->crcs, table, out->file.pages * SAVE_PAGE);
	if (!err && fsync(out->fd) < 0)
		err = -errno;
	if (close(out->fd) < 0 && !err)
		err = -errno;
	out->fd = -1;
	s->options.written += out->file.pages * SAVE_PAGE + table;
	save_file_name(&out->file, name);
	return err ? save_message(&s->options, err, "%s", name) : 0;
}

static int by_place(const void *a, const void *b)
{
	const struct save_extent *x = a, *y = b;

	if (x->seg != y->seg)
		return x->seg < y->seg ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* The extents of all threads, in order; those that continue others joined. */
static int collect_extents(struct saving *s)
{
	struct save_set *set = &s->shape.set;
	uint64_t nr = 0, i, n = 0;
	struct save_extent *e;
	unsigned int t;

	for (t = 0; t < s->work.threads; t++)
		nr += s->outs[t].nr_extents;
	e = set->extents = calloc(nr + 1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	for (t = 0; t < s->work.threads; t++)
		for (i = 0; i < s->outs[t].nr_extents; i++)
			e[n++] = s->outs[t].extents[i];
	qsort(e, nr, sizeof(*e), by_place);
	for (i = 0, n = 0; i < nr; i++) {
		s->options.bytes += e[i].pages * SAVE_PAGE;
		if (n && continues(&e[n - 1], &e[i]))
			e[n - 1].pages += e[i].pages;
		else
			e[n++] = e[i];
	}
	set->head.extents = n;
	return 0;
}

/* The files that the extents are in, and no others. */
static int collect_files(struct saving *s)
{
	uint32_t all = s->old.head.files + s->work.threads, i;
	uint32_t *numbers = calloc(all, sizeof(*numbers));
	struct save_set *set = &s->shape.set;
	uint64_t n;

	set->files = calloc(all, sizeof(*set->files));
	if (!numbers || !set->files) {
		free(numbers);
		return -ENOMEM;
	}
	for (n = 0; n < set->head.extents; n++)
		numbers[set->extents[n].file] = 1;
	for (i = 0; i < all; i++) {
		if (!numbers[i])
			continue;
		numbers[i] = set->head.files;
		set->files[set->head.files++] = i < s->old.head.files ?
			s->old.files[i] : s->outs[i - s->old.head.files].file;
	}
	for (n = 0; n < set->head.extents; n++)
		set->extents[n].file = numbers[set->extents[n].file];
	free(numbers);
	return 0;
}

static int write_manifest(struct saving *s, bool *there)
{
	struct save_set *set = &s->shape.set;
	uint32_t i, row = 0;
	int err;

	for (i = 0; i < set->head.segs; i++)
		if (!set->segs[i].face_of)
			set->segs[i].lock = s->shape.rows[row++].lock;
	err = collect_extents(s);
	if (!err)
		err = collect_files(s);
	if (err)
		return err;
	set->head.time = (uint64_t)time(NULL);
	err = save_set_write(s->dir, set, there);
	s->options.written += set->head.bytes;
	return err ? save_message(&s->options, err, "manifest") : 0;
}

static int prepare(struct saving *s)
{
	struct pvvas_ioc_attr attr;
	uint64_t generation;
	unsigned int t;
	uint32_t i;
	int err;

	err = save_dir_generation(s->dir, &generation);
	if (err)
		return save_message(&s->options, err, "folder");
	generation++;
	s->work.piece = save_piece;
	s->work.threads = save_threads(&s->options);
	s->shape.set.head.generation = generation;
	s->outs = calloc(s->work.threads, sizeof(*s->outs));
	if (!s->outs)
		return -ENOMEM;
	for (t = 0; t < s->work.threads; t++) {
		s->outs[t].fd = -1;
		s->outs[t].file.generation = generation;
		s->outs[t].file.number = t;
	}
	for (i = 0; i < s->shape.nr_rows; i++)
		if (!pvvas_getattr(PVVAS_KIND_SEG, (int)s->shape.rows[i].id, &attr))
			s->work.all += attr.resident;
	return s->options.flags & VAS_SAVE_SINCE ? open_old(s) : 0;
}

static void clean_up(struct saving *s)
{
	unsigned int t;

	for (t = 0; s->outs && t < s->work.threads; t++) {
		if (s->outs[t].fd >= 0)
			close(s->outs[t].fd);
		free(s->outs[t].crcs);
		free(s->outs[t].extents);
	}
	free(s->outs);
	if (s->old_pages)
		save_pages_close(s->old_pages, s->old.head.files);
	free(s->old_pages);
	free(s->reuse);
	free(s->old_segs);
	save_set_free(&s->old);
	save_shape_free(&s->shape);
}

/* Files of this save, which failed: the set before has none of them. */
static void unlink_outs(struct saving *s)
{
	char name[SAVE_FILE_NAME];
	unsigned int t;

	for (t = 0; s->outs && t < s->work.threads; t++) {
		save_file_name(&s->outs[t].file, name);
		if (s->outs[t].file.pages)
			unlinkat(s->dir, name, 0);
	}
}

static int save_to(struct saving *s)
{
	bool there = false;
	unsigned int t;
	int err = prepare(s);

	if (!err)
		err = save_work_run(&s->work, &s->options);
	for (t = 0; t < s->work.threads && !err; t++)
		err = finish_out(s, &s->outs[t]);
	if (!err)
		err = write_manifest(s, &there);
	/* with both: the disk may have the other manifest */
	if (!there)
		unlink_outs(s);
	else if (!err)
		save_dir_clean(s->dir, &s->shape.set);
	return err;
}

static bool are_ids(const int *vids, size_t nr)
{
	size_t i, j;

	for (i = 0; i < nr; i++)
		for (j = 0; j < i; j++)
			if (vids[i] == vids[j])
				return false;
	return vids && nr && nr <= PVVAS_MAX_ROWS;
}

PVVAS_EXPORT int vas_save(const int *vids, size_t nr, const char *dir,
			  struct vas_save_options *options)
{
	PVVAS_NO_CANCEL;
	struct saving s = { .dir = -1 };
	int err = save_options_read(options, &s.options, VAS_SAVE_SINCE);

	if (err)
		return err;
	if (!are_ids(vids, nr) || !dir)
		return -EINVAL;
	err = save_shape_take(&s.shape, vids, nr, &s.options);
	if (!err) {
		s.dir = save_dir_open(dir, true);
		err = s.dir < 0 ? save_message(&s.options, s.dir, "folder") :
				  save_to(&s);
	}
	clean_up(&s);
	if (s.dir >= 0)
		close(s.dir);
	save_options_write(options, &s.options);
	return err;
}
