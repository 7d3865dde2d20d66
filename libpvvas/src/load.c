// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * vas_load(): segments and VASes of a saved set, made without names, filled, and
 * all named at once.  They belong to this process until then, and go with it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "save.h"

struct loading {
	struct save_work work;
	struct vas_save_options options;
	struct save_set set;
	struct save_pages *pages;
	int *vids;
	int *sids;
	/* the next piece: with the work's lock */
	uint64_t extent;
	uint64_t page;
};

static const char *seg_name(const struct loading *l, uint32_t seg)
{
	return *l->set.segs[seg].name ? l->set.segs[seg].name : "without a name";
}

/* Part of an extent, as large as a buffer. */
static bool next_piece(struct loading *l, struct save_extent *e)
{
	const struct save_extent *from;
	bool found;

	pthread_mutex_lock(&l->work.lock);
	found = l->extent < l->set.head.extents;
	if (found) {
		from = &l->set.extents[l->extent];
		*e = *from;
		e->first += l->page;
		e->at += l->page;
		e->pages -= l->page;
		if (e->pages > SAVE_CHUNK / SAVE_PAGE) {
			e->pages = SAVE_CHUNK / SAVE_PAGE;
			l->page += e->pages;
		} else {
			l->extent++;
			l->page = 0;
		}
	}
	pthread_mutex_unlock(&l->work.lock);
	return found;
}

static int read_piece(const struct loading *l, const struct save_extent *e,
		      char *buffer)
{
	const struct save_pages *pages = &l->pages[e->file];
	char name[SAVE_FILE_NAME];
	uint64_t i;
	int err;

	err = save_read(pages->fd, buffer, e->pages * SAVE_PAGE,
			e->at * SAVE_PAGE);
	for (i = 0; i < e->pages && !err; i++)
		if (pvvas_crc32c(buffer + i * SAVE_PAGE, SAVE_PAGE) !=
		    pages->crcs[e->at + i])
			err = -EUCLEAN;
	save_file_name(&l->set.files[e->file], name);
	return err ? save_message(&l->options, err, "%s, page %llu", name,
				  (unsigned long long)(e->at + (i ? i - 1 : 0))) : 0;
}

static int load_piece(struct save_work *work, unsigned int thread, char *buffer)
{
	struct loading *l = (struct loading *)work;
	struct save_extent e;
	int err;

	(void)thread;
	if (!next_piece(l, &e))
		return 0;
	err = read_piece(l, &e, buffer);
	if (err)
		return err;
	err = seg_fill(l->sids[e.seg], (void *)(uintptr_t)(l->set.segs[e.seg].base +
		       e.first * SAVE_PAGE), buffer, e.pages * SAVE_PAGE);
	if (err < 0)
		return save_message(&l->options, err, "memory of seg %s",
				    seg_name(l, e.seg));
	save_work_done(work, e.pages * SAVE_PAGE);
	return 1;
}

/* Refuse what is clear before anything is made. */
static int check_names(struct loading *l)
{
	uint32_t i;

	for (i = 0; i < l->set.head.vases; i++)
		if (vas_find(l->set.vases[i].name) != -ENOENT)
			return save_message(&l->options, -EEXIST, "vas %s",
					    l->set.vases[i].name);
	for (i = 0; i < l->set.head.segs; i++)
		if (*l->set.segs[i].name &&
		    seg_find(l->set.segs[i].name) != -ENOENT)
			return save_message(&l->options, -EEXIST, "seg %s",
					    l->set.segs[i].name);
	return 0;
}

static int make_segs(struct loading *l)
{
	const struct save_seg *s;
	void *base;
	uint32_t i;

	for (i = 0; i < l->set.head.segs; i++) {
		s = &l->set.segs[i];
		if (s->face_of)
			continue;
		base = (void *)(uintptr_t)s->base;
		/* 0 would mean any */
		l->sids[i] = base ? seg_alloc(NULL, base, s->length, 0600) : -ERANGE;
		if (l->sids[i] < 0)
			return save_message(&l->options, l->sids[i],
					    "seg %s, %llu KiB at %#llx", seg_name(l, i),
					    (unsigned long long)s->length >> 10,
					    (unsigned long long)s->base);
	}
	return 0;
}

static int make_faces(struct loading *l)
{
	const struct save_seg *s;
	uint32_t i;

	for (i = 0; i < l->set.head.segs; i++) {
		s = &l->set.segs[i];
		if (!s->face_of)
			continue;
		l->sids[i] = s->base ? seg_map2(l->sids[s->face_of - 1],
						(void *)(uintptr_t)s->base) : -ERANGE;
		if (l->sids[i] < 0)
			return save_message(&l->options, l->sids[i],
					    "seg %s, a second face at %#llx",
					    seg_name(l, i), (unsigned long long)s->base);
	}
	return 0;
}

static int set_lock(struct loading *l, uint32_t seg)
{
	struct pvvas_ioc_seg_locking arg = {
		.size = sizeof(arg),
		.seg = (uint32_t)l->sids[seg],
		.on = 1,
		.state = l->set.segs[seg].lock,
	};
	int err = pvvas_call(PVVAS_IOC_SEG_LOCKING, &arg);

	return err ? save_message(&l->options, err, "lock of seg %s",
				  seg_name(l, seg)) : 0;
}

static int make_vases(struct loading *l)
{
	const struct save_link *link;
	uint32_t i;
	int err;

	for (i = 0; i < l->set.head.segs; i++) {
		err = l->set.segs[i].lockable ? set_lock(l, i) : 0;
		if (err)
			return err;
	}
	for (i = 0; i < l->set.head.vases; i++) {
		l->vids[i] = vas_create(NULL, 0600);
		if (l->vids[i] < 0)
			return save_message(&l->options, l->vids[i], "vas %s",
					    l->set.vases[i].name);
	}
	for (i = 0; i < l->set.head.links; i++) {
		link = &l->set.links[i];
		err = seg_attach_prot(l->vids[link->vas], l->sids[link->seg],
				      link->prot & PVVAS_WRITE ?
				      PROT_READ | PROT_WRITE : PROT_READ);
		if (err)
			return save_message(&l->options, err, "seg %s in vas %s",
					    seg_name(l, link->seg),
					    l->set.vases[link->vas].name);
	}
	return 0;
}

/* Mode, owner, group and expiry, where they are not as they are. */
static int set_attr(const struct loading *l, uint32_t kind, int id, uint32_t mode,
		    uint32_t uid, uint32_t gid, uint32_t expiry)
{
	struct pvvas_ioc_attr attr = { .size = sizeof(attr), .kind = kind,
				       .id = (uint32_t)id,
				       .valid = PVVAS_ATTR_MODE, .mode = mode };

	if (!(l->options.flags & VAS_LOAD_OWN)) {
		if (uid != geteuid())
			attr.valid |= PVVAS_ATTR_UID;
		if (gid != getegid())
			attr.valid |= PVVAS_ATTR_GID;
	}
	if (expiry)
		attr.valid |= PVVAS_ATTR_EXPIRY;
	attr.uid = uid;
	attr.gid = gid;
	attr.expiry = expiry;
	return pvvas_call(PVVAS_IOC_SETATTR, &attr);
}

static int set_attrs(struct loading *l)
{
	const struct save_seg *s;
	const struct save_vas *v;
	uint32_t i;
	int err;

	for (i = 0; i < l->set.head.segs; i++) {
		s = &l->set.segs[i];
		err = set_attr(l, PVVAS_KIND_SEG, l->sids[i], s->mode, s->uid, s->gid,
			       s->expiry);
		if (err)
			return save_message(&l->options, err,
					    "seg %s of user %u, group %u",
					    seg_name(l, i), s->uid, s->gid);
	}
	for (i = 0; i < l->set.head.vases; i++) {
		v = &l->set.vases[i];
		err = set_attr(l, PVVAS_KIND_VAS, l->vids[i], v->mode, v->uid, v->gid,
			       v->expiry);
		if (err)
			return save_message(&l->options, err,
					    "vas %s of user %u, group %u", v->name,
					    v->uid, v->gid);
	}
	return 0;
}

static int publish(struct loading *l)
{
	struct pvvas_ioc_publish_all arg = { .size = sizeof(arg) };
	struct pvvas_publish_row *rows;
	uint32_t i;
	int err;

	rows = calloc(l->set.head.vases + l->set.head.segs + 1UL, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	for (i = 0; i < l->set.head.segs; i++)
		if (*l->set.segs[i].name)
			rows[arg.nr++] = (struct pvvas_publish_row){
				PVVAS_KIND_SEG, (uint32_t)l->sids[i],
				(uintptr_t)l->set.segs[i].name };
	for (i = 0; i < l->set.head.vases; i++)
		rows[arg.nr++] = (struct pvvas_publish_row){
			PVVAS_KIND_VAS, (uint32_t)l->vids[i],
			(uintptr_t)l->set.vases[i].name };
	arg.rows = (uintptr_t)rows;
	err = pvvas_call(PVVAS_IOC_PUBLISH_ALL, &arg);
	free(rows);
	/* another process may have taken one meanwhile: say which */
	if (err == -EEXIST)
		check_names(l);
	return err ? save_message(&l->options, err, "the names") : 0;
}

/*
 * A process that can write to the folder says what is loaded, and which user owns
 * it: that can be root, for any user, and else the folder's owner, for itself.
 */
static int check_owners(const struct loading *l, int dir)
{
	struct stat st;
	bool others;
	uint32_t i;

	if (l->options.flags & VAS_LOAD_OWN)
		return 0;
	if (fstat(dir, &st) < 0)
		return -errno;
	if (st.st_mode & 022)
		return save_message(&l->options, -EPERM,
				    "others may write to the folder");
	others = !st.st_uid;
	for (i = 0; i < l->set.head.vases; i++)
		if (!others && l->set.vases[i].uid != st.st_uid)
			return save_message(&l->options, -EPERM,
					    "folder of user %u: vas %s of user %u",
					    st.st_uid, l->set.vases[i].name,
					    l->set.vases[i].uid);
	for (i = 0; i < l->set.head.segs; i++)
		if (!others && l->set.segs[i].uid != st.st_uid)
			return save_message(&l->options, -EPERM,
					    "folder of user %u: seg %s of user %u",
					    st.st_uid, seg_name(l, i),
					    l->set.segs[i].uid);
	return 0;
}

static int open_set(struct loading *l, int dir)
{
	char name[SAVE_FILE_NAME];
	const char *what;
	uint64_t i;
	uint32_t bad;
	int err = save_set_read(dir, &l->set, &what);

	if (err)
		return save_message(&l->options, err, "%s", what);
	err = check_owners(l, dir);
	if (err)
		return err;
	err = save_pages_open_all(dir, &l->set, &l->pages, &bad);
	if (err) {
		save_file_name(&l->set.files[bad], name);
		return save_message(&l->options, err, "%s", name);
	}
	for (i = 0; i < l->set.head.extents; i++)
		l->work.all += l->set.extents[i].pages * SAVE_PAGE;
	l->options.bytes = l->work.all;
	l->vids = calloc(l->set.head.vases + 1UL, sizeof(*l->vids));
	l->sids = calloc(l->set.head.segs + 1UL, sizeof(*l->sids));
	return l->vids && l->sids ? 0 : -ENOMEM;
}

static int make_all(struct loading *l)
{
	int err = check_names(l);

	l->work.piece = load_piece;
	l->work.threads = save_threads(&l->options);
	if (!err)
		err = make_segs(l);
	if (!err)
		err = save_work_run(&l->work, &l->options);
	if (!err)
		err = make_faces(l);
	if (!err)
		err = make_vases(l);
	if (!err)
		err = set_attrs(l);
	return err ? err : publish(l);
}

/* What has a name stays; what has none and is in a VAS lives as long as that. */
static void give_up(struct loading *l, bool failed)
{
	uint32_t i;

	for (i = 0; l->vids && failed && i < l->set.head.vases; i++)
		if (l->vids[i] > 0)
			vas_delete(l->vids[i]);
	for (i = 0; l->sids && i < l->set.head.segs; i++)
		if (l->sids[i] > 0 && (failed || !*l->set.segs[i].name))
			seg_delete(l->sids[i]);
	free(l->vids);
	free(l->sids);
	if (l->pages)
		save_pages_close(l->pages, l->set.head.files);
	free(l->pages);
	save_set_free(&l->set);
}

PVVAS_EXPORT int vas_load(const char *dir, struct vas_save_options *options)
{
	PVVAS_NO_CANCEL;
	struct loading l = { 0 };
	int fd, err = save_options_read(options, &l.options, VAS_LOAD_OWN);

	if (err)
		return err;
	if (!dir)
		return -EINVAL;
	fd = save_dir_open(dir, false);
	if (fd < 0)
		return save_message(&l.options, fd, "folder");
	err = open_set(&l, fd);
	if (!err)
		err = make_all(&l);
	give_up(&l, err);
	close(fd);
	save_options_write(options, &l.options);
	return err;
}
