// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * CRC-32C, by the instruction of SSE 4.2 or bit by bit.
 */
#include <string.h>

#include "save.h"

#define POLYNOMIAL	0x82f63b78U	/* reflected */

static uint32_t by_bit(uint32_t crc, const unsigned char *p, size_t n)
{
	int bit;

	while (n--) {
		crc ^= *p++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
	}
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2")))
static uint32_t by_instruction(uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t word, wide = crc;

	for (; n >= sizeof(word); n -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	return by_bit((uint32_t)wide, p, n);
}
#endif

uint32_t pvvas_crc32c(const void *data, size_t n)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~by_instruction(~0U, data, n);
#endif
	return ~by_bit(~0U, data, n);
}
