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

/* @units: size of the blocks, in units of 16 bytes */
#define CLASS(units) { \
	.size = (units) * 16, \
	.reciprocal = (uint32_t)(((1ULL << 32) + (units) * 16 - 1) / \
				 ((units) * 16)), \
	.full = (uint32_t)((1ULL << BLOCKS((units) * 16)) - 1), \
	.granules = GRANULES((units) * 16), \
	.blocks = BLOCKS((units) * 16), \
}

const struct heap_class pvvas_heap_classes[HEAP_CLASSES] = {
	CLASS(1), CLASS(2), CLASS(3), CLASS(4), CLASS(5), CLASS(6), CLASS(7), CLASS(8),
	CLASS(9), CLASS(10), CLASS(11), CLASS(12), CLASS(13), CLASS(14), CLASS(15), CLASS(16),
	CLASS(18), CLASS(20), CLASS(22), CLASS(24), CLASS(26), CLASS(28), CLASS(30), CLASS(32),
	CLASS(36), CLASS(40), CLASS(44), CLASS(48), CLASS(52), CLASS(56), CLASS(60), CLASS(64),
	CLASS(72), CLASS(80), CLASS(88), CLASS(96), CLASS(104), CLASS(112), CLASS(120), CLASS(128),
	CLASS(144), CLASS(160), CLASS(176), CLASS(192), CLASS(208), CLASS(224), CLASS(240), CLASS(256),
};

const uint8_t pvvas_heap_class_of[HEAP_SMALL_MAX / 16 + 1] = {
	[0 ... 1] = 0, [2] = 1, [3] = 2, [4] = 3,
	[5] = 4, [6] = 5, [7] = 6, [8] = 7,
	[9] = 8, [10] = 9, [11] = 10, [12] = 11,
	[13] = 12, [14] = 13, [15] = 14, [16] = 15,
	[17 ... 18] = 16, [19 ... 20] = 17, [21 ... 22] = 18, [23 ... 24] = 19,
	[25 ... 26] = 20, [27 ... 28] = 21, [29 ... 30] = 22, [31 ... 32] = 23,
	[33 ... 36] = 24, [37 ... 40] = 25, [41 ... 44] = 26, [45 ... 48] = 27,
	[49 ... 52] = 28, [53 ... 56] = 29, [57 ... 60] = 30, [61 ... 64] = 31,
	[65 ... 72] = 32, [73 ... 80] = 33, [81 ... 88] = 34, [89 ... 96] = 35,
	[97 ... 104] = 36, [105 ... 112] = 37, [113 ... 120] = 38, [121 ... 128] = 39,
	[129 ... 144] = 40, [145 ... 160] = 41, [161 ... 176] = 42, [177 ... 192] = 43,
	[193 ... 208] = 44, [209 ... 224] = 45, [225 ... 240] = 46, [241 ... 256] = 47,
};
