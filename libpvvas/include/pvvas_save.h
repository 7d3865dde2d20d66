/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Save VASes with their segments to files, and make them again from there: after
 * a reboot, on another machine, with another backend.  And segments with the
 * content of a file.  Included by pvvas.h.
 */
#ifndef PVVAS_SAVE_H
#define PVVAS_SAVE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* struct vas_save_options.flags of vas_save() */
#define VAS_SAVE_SINCE	(1U << 0)	/* only what differs from the set there */
/* and of vas_load() */
#define VAS_LOAD_OWN	(1U << 0)	/* the caller owns all, whichever user did */

/**
 * struct vas_save_options - how to save or load, and what became of it
 * @size: sizeof(struct vas_save_options), set by the caller
 * @flags: VAS_SAVE_* or VAS_LOAD_*
 * @threads: that read and write; 0: one for each CPU, at most 4
 * @progress: called now and then by the calling thread with bytes done and
 *	bytes altogether; or NULL
 * @arg: passed to it
 * @message: room for a text that says what failed, and where; or NULL
 * @message_size: bytes of it
 * @bytes: out, of memory in the set
 * @written: out, vas_save(): bytes written to files for it
 */
struct vas_save_options {
	size_t size;
	uint32_t flags;
	uint32_t threads;
	void (*progress)(uint64_t done, uint64_t all, void *arg);
	void *arg;
	char *message;
	size_t message_size;
	uint64_t bytes;
	uint64_t written;
};

/**
 * vas_save - write VASes with their segments to a folder
 * @vids: ids of VASes with names
 * @nr: how many
 * @dir: the folder; made if it is not there
 * @options: or NULL for none
 *
 * What is saved is of one moment, while others go on writing.  The set in the
 * folder is the one before until the new one is complete and on the disk.
 */
int vas_save(const int *vids, size_t nr, const char *dir,
	     struct vas_save_options *options);

/**
 * vas_load - make the VASes and segments that are in a folder
 * @dir: of vas_save()
 * @options: or NULL for none
 *
 * All of them, with their names, or none.
 */
int vas_load(const char *dir, struct vas_save_options *options);

/* seg_open() */
#define SEG_OPEN_CREATE	(1 << 0)	/* make the file if it is not there */

/**
 * seg_open - a segment with the content of a file
 * @path: the file, which the caller may read and write
 * @base: as for seg_alloc()
 * @size: bytes of the file from its start; the file grows to that; 0: all of it
 * @flags: SEG_OPEN_CREATE or 0
 *
 * Returns the id of a segment without a name, of mode 0600.  What is written to
 * it comes to the file by seg_sync().  -EBUSY: a process has opened it already.
 */
int seg_open(const char *path, void *base, size_t size, int flags);

/**
 * seg_sync - write a range of a segment back to its file
 * @sid: of seg_open(), in this process or the one that it was forked from
 * @addr: first page
 * @length: bytes, rounded up to whole pages
 *
 * When it returns 0 the bytes that were there when it was called, or later ones,
 * are on the disk.  -EBADF: a segment that this process has not opened.
 */
int seg_sync(int sid, void *addr, size_t length);

#ifdef __cplusplus
}
#endif

#endif /* PVVAS_SAVE_H */
