// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that makes the host spend memory on tables, and hardly any of its
 * own: many VASes with the same segments, which lie across the boundaries of
 * 1 GiB.  So each GiB has two of them, and each view a table for it that it
 * shares with no other.  filler [VASES]: prints "filling", each 16 VASes how
 * many there are, and "filled" when no more can be made.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <pvvas.h>

#define PLACES	128
#define GIB	(1UL << 30)
#define MIB	(1UL << 20)

int main(int argc, char **argv)
{
	char *base = (char *)(uintptr_t)VAS_WINDOW_FIRST;
	int vases = argc > 1 ? atoi(argv[1]) : 1000;
	int sids[PLACES], made, i, vid, vh, error = 0;

	for (i = 0; i < PLACES; i++) {
		sids[i] = seg_alloc(NULL, base + (i + 1) * GIB - 2 * MIB,
				    4 * MIB, 0600);
		if (sids[i] < 0) {
			printf("segment %d: %d\n", i, sids[i]);
			return 2;
		}
	}
	printf("filling\n");
	fflush(stdout);
	for (made = 0; made < vases; made++) {
		vid = vas_create(NULL, 0600);
		for (i = 0; i < PLACES && vid >= 0 && !error; i++)
			error = seg_attach(vid, sids[i]);
		vh = vid >= 0 && !error ? vas_attach(vid) : -1;
		if (vh < 0 || vas_switch(vh)) {
			printf("VAS %d, segment: %d, handle %d\n", vid, error, vh);
			break;
		}
		*(volatile char *)(base + GIB) = 1;
		vas_switch(VAS_HOME);
		if (made % 16 == 15) {
			printf("%d\n", made + 1);
			fflush(stdout);
		}
	}
	printf("filled: %d\n", made);
	return made == vases ? 0 : 1;
}
