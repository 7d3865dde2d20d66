/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of a saved set: docs/save-format.md.  Numbers are little-endian.
 *
 * "manifest": struct save_head, then its VASes, segments, links, files and extents,
 * one array behind the other.  "GENERATION-NUMBER.pages": pages of 4096 bytes, then
 * the CRC-32C of each in 4 bytes.
 */
#ifndef PVVAS_SAVE_FORMAT_H
#define PVVAS_SAVE_FORMAT_H

#include <stdint.h>

#define SAVE_MAGIC	"PVVASset"
#define SAVE_VERSION	1
#define SAVE_PAGE	4096ULL
#define SAVE_NAME	256

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "as they are in memory");

/**
 * struct save_head - the beginning of a manifest
 * @magic: SAVE_MAGIC
 * @version: SAVE_VERSION
 * @crc: CRC-32C of the whole manifest with 0 here
 * @bytes: of the whole manifest
 * @generation: of the set, more than that of the set before
 * @time: seconds of the clock when it was saved
 * @vases, @segs, @links, @files: how many of each follow
 * @extents: how many of these
 */
struct save_head {
	char magic[8];
	uint32_t version;
	uint32_t crc;
	uint64_t bytes;
	uint64_t generation;
	uint64_t time;
	uint32_t vases;
	uint32_t segs;
	uint32_t links;
	uint32_t files;
	uint64_t extents;
};

struct save_vas {
	char name[SAVE_NAME];
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t expiry;
};

/**
 * struct save_seg - a segment
 * @name: empty if it has none
 * @lockable: 0 or 1
 * @lock: PVVAS_LOCK_DIED, PVVAS_LOCK_LOST or 0
 * @face_of: number, from 1, of the segment before this one whose memory it shows;
 *	or 0
 */
struct save_seg {
	char name[SAVE_NAME];
	uint64_t base;
	uint64_t length;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t expiry;
	uint32_t lockable;
	uint32_t lock;
	uint32_t face_of;
	uint32_t reserved;
};

/* Segment @seg is attached to VAS @vas, both numbered from 0, with @prot: PVVAS_READ, _WRITE. */
struct save_link {
	uint32_t vas;
	uint32_t seg;
	uint32_t prot;
	uint32_t reserved;
};

/* File GENERATION-NUMBER.pages; @crc: of its table of checksums. */
struct save_file {
	uint64_t generation;
	uint64_t pages;
	uint32_t number;
	uint32_t crc;
};

/*
 * @pages of segment @seg, from page @first of it on, are those of file @file from its
 * page @at on.  In the order of @seg and @first; what no extent has is zeroes.
 */
struct save_extent {
	uint32_t seg;
	uint32_t file;
	uint64_t first;
	uint64_t at;
	uint64_t pages;
};

_Static_assert(sizeof(struct save_head) == 64, "layout");
_Static_assert(sizeof(struct save_vas) == 272, "layout");
_Static_assert(sizeof(struct save_seg) == 304, "layout");
_Static_assert(sizeof(struct save_link) == 16, "layout");
_Static_assert(sizeof(struct save_file) == 24, "layout");
_Static_assert(sizeof(struct save_extent) == 32, "layout");

#endif /* PVVAS_SAVE_FORMAT_H */
