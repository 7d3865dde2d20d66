/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Saving and loading: what its files share.
 */
#ifndef PVVAS_SAVE_INTERNAL_H
#define PVVAS_SAVE_INTERNAL_H

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "internal.h"
#include "save_format.h"

#define SAVE_CHUNK	(1UL << 20)	/* read or written at a time */
#define SAVE_THREADS	4

/* crc32c.c */
uint32_t pvvas_crc32c(const void *data, size_t n);

/*
 * save_set.c: a manifest in memory.
 */
struct save_set {
	struct save_head head;
	struct save_vas *vases;
	struct save_seg *segs;
	struct save_link *links;
	struct save_file *files;
	struct save_extent *extents;
};

/* All arrays are freed; an empty set is left. */
void save_set_free(struct save_set *set);
/*
 * The set in a folder, all of its numbers checked.  0; -ENOENT: there is none;
 * -EUCLEAN, -EPROTO, or another error, and *what says what
 */
int save_set_read(int dir, struct save_set *set, const char **what);
/*
 * Put it there in place of another one, on the disk when it returns 0.  -errno:
 * *there says which of the two the folder has, whatever the disk has
 */
int save_set_write(int dir, struct save_set *set, bool *there);
/* The extent that has this page of a segment, or NULL. */
const struct save_extent *save_set_find(const struct save_set *set, uint32_t seg,
					uint64_t page);

/*
 * save_file.c: the folder, and files of pages.
 */
#define SAVE_FILE_NAME	40

/* The name at the end of the path is on the disk; 0 or -errno */
int save_sync_parent(const char *path);
void save_file_name(const struct save_file *file, char name[SAVE_FILE_NAME]);
/* The folder, locked against others, shared or not: a descriptor or -errno */
int save_dir_open(const char *path, bool make);
/* The highest generation of any file in it; 0 or -errno */
int save_dir_generation(int dir, uint64_t *generation);
/* Take files of pages away that are not in the set, of whatever set they are. */
void save_dir_clean(int dir, const struct save_set *set);
/*
 * Of a file that shall be read as a whole; -EUCLEAN if it is none, or has holes, which
 * no save leaves: they would cost the reader memory, and the writer nothing.
 */
int save_file_size(int fd, uint64_t *size);
/* All of it, or an error: -EUCLEAN where the file ends before */
int save_read(int fd, void *data, size_t n, uint64_t at);
int save_write(int fd, const void *data, size_t n, uint64_t at);

/* A file of pages, opened to read: its table of checksums is in order. */
struct save_pages {
	int fd;
	uint32_t *crcs;
	dev_t dev;		/* which file it is, whatever its name */
	ino_t ino;
};

int save_pages_open(int dir, const struct save_file *file,
		    struct save_pages *pages);
void save_pages_close(struct save_pages *pages, uint32_t nr);
/* All files of a set, no two of them one by links; *bad: the one that has the error */
int save_pages_open_all(int dir, const struct save_set *set,
			struct save_pages **pages, uint32_t *bad);

/*
 * save_work.c: threads that do pieces of one work.
 */
struct save_work {
	/* One piece: 1 done, 0 there are no more, -errno */
	int (*piece)(struct save_work *work, unsigned int thread, char *buffer);
	unsigned int threads;
	uint64_t all;			/* bytes */
	/* the lock guards what follows, and what is next for the pieces */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	uint64_t done;
	unsigned int running;
	int err;
};

unsigned int save_threads(const struct vas_save_options *options);
int save_work_run(struct save_work *work, struct vas_save_options *options);
void save_work_done(struct save_work *work, uint64_t bytes);

/* save_options.c: a copy of known size, or -errno; the caller's message */
int save_options_read(const struct vas_save_options *from,
		      struct vas_save_options *to, uint32_t flags);
void save_options_write(struct vas_save_options *to,
			const struct vas_save_options *from);
int save_message(const struct vas_save_options *options, int err,
		 const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif /* PVVAS_SAVE_INTERNAL_H */
