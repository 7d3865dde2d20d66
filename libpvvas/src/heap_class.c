// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Size classes of small blocks: every 16 bytes up to 256, then eight for each
 * power of two.  A slab has 32 blocks, or fewer if these would be more than
 * 8 KiB.
 */
#include "heap_layout.h"

#define SLAB_MAX	8192U

#define MIN(a, b)	((a) < (b) ? (a) : (b))
#define BLOCKS(size)	MIN(32U, SLAB_MAX / (size))
#define GRANULES(size)	((BLOCKS(size) * (size) + GRANULE - 1) / GRANULE)

/* Class number, smallest and largest size in units of 16 */
#define CLASSES(X) \
	X(0, 0, 1) X(1, 2, 2) X(2, 3, 3) X(3, 4, 4) \
	X(4, 5, 5) X(5, 6, 6) X(6, 7, 7) X(7, 8, 8) \
	X(8, 9, 9) X(9, 10, 10) X(10, 11, 11) X(11, 12, 12) \
	X(12, 13, 13) X(13, 14, 14) X(14, 15, 15) X(15, 16, 16) \
	X(16, 17, 18) X(17, 19, 20) X(18, 21, 22) X(19, 23, 24) \
	X(20, 25, 26) X(21, 27, 28) X(22, 29, 30) X(23, 31, 32) \
	X(24, 33, 36) X(25, 37, 40) X(26, 41, 44) X(27, 45, 48) \
	X(28, 49, 52) X(29, 53, 56) X(30, 57, 60) X(31, 61, 64) \
	X(32, 65, 72) X(33, 73, 80) X(34, 81, 88) X(35, 89, 96) \
	X(36, 97, 104) X(37, 105, 112) X(38, 113, 120) X(39, 121, 128) \
	X(40, 129, 144) X(41, 145, 160) X(42, 161, 176) X(43, 177, 192) \
	X(44, 193, 208) X(45, 209, 224) X(46, 225, 240) X(47, 241, 256)

#define INFO(class, low, high) \
	[class] = { \
		.size = (high) * 16, \
		.reciprocal = (uint32_t)(((1ULL << 32) + (high) * 16 - 1) / \
					 ((high) * 16)), \
		.full = (uint32_t)((1ULL << BLOCKS((high) * 16)) - 1), \
		.granules = GRANULES((high) * 16), \
	},

const struct heap_class pvvas_heap_classes[HEAP_CLASSES] = { CLASSES(INFO) };

#define INDEX(class, low, high)	[low ... high] = (class),

const uint8_t pvvas_heap_class_of[HEAP_SMALL_MAX / 16 + 1] = { CLASSES(INDEX) };
