// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Two address spaces with different memory at the same address.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pvvas.h>

#define AT	((char *)VAS_WINDOW_FIRST)

static int must(int ret)
{
	if (ret >= 0)
		return ret;
	fprintf(stderr, "hello: %s\n", strerror(-ret));
	exit(1);
}

int main(void)
{
	const char *const text[] = { "hello", "world" };
	int vh[2], i;

	for (i = 0; i < 2; i++) {
		int vid = must(vas_create(NULL, 0600));
		int sid = must(seg_alloc(NULL, AT, 1UL << 30, 0600));

		must(seg_attach(vid, sid));
		vh[i] = must(vas_attach(vid));
		must(vas_switch(vh[i]));
		strcpy(AT, text[i]);
	}
	for (i = 0; i < 4; i++) {
		must(vas_switch(vh[i % 2]));
		printf("%p: %s\n", (void *)AT, AT);
	}
	return 0;
}
