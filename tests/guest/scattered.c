// SPDX-License-Identifier: GPL-2.0-only
/*
 * `scattered [GIB]`: pages far from each other, over 16 GiB or as many as said: in each
 * 2 MiB one, in an order without order.  Nothing counts how far apart they are; the host
 * keeps fewer tables of them than there are, and makes those that it dropped again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define GIB	(1UL << 30)
#define BLOCK	(2UL << 20)
#define PAGE	4096UL
#define BLOCKS	(size / BLOCK)

static size_t size = 16 * GIB;

/* The @i-th page: each block once, as the step and their number have no divisor in common. */
static unsigned long *page_of(unsigned long i)
{
	unsigned long block = i * 12289 % BLOCKS;

	return (unsigned long *)(BASE + block * BLOCK +
				 block * 2654435761UL % (BLOCK / PAGE) * PAGE);
}

static void touch_all(void)
{
	unsigned long i;

	for (i = 0; i < BLOCKS; i++)
		*page_of(i) = i + 1;
}

static void check_all(unsigned long step)
{
	unsigned long i;

	for (i = 0; i < BLOCKS; i += step)
		if (*page_of(i) != i + 1)
			tcase_fail(__FILE__, __LINE__, "page %lu has %lu", i,
				   *page_of(i));
}

static int segment(char *base, size_t length, uint32_t flags, int *vh)
{
	struct seg_options options = { .size = sizeof(options), .flags = flags };
	int vid = tcase_vas(NULL, 0600);
	int sid = check_id(seg_alloc_with(NULL, base, length, 0600, &options));

	tcase_track_seg(sid);
	check_eq(seg_attach(vid, sid), 0);
	*vh = check_id(vas_attach(vid));
	return sid;
}

/* What a program does next, when all these pages are there. */
static void go_on(int sid, int vh)
{
	char *other = BASE + size;
	int heap = tcase_seg(NULL, other, BLOCK, 0600), clone, fd, seen;
	char *p;

	check_eq(seg_attach(vh, heap), 0);
	check_eq(vas_switch(vh), 0);
	check_eq(seg_heap_init(heap), 0);
	p = seg_malloc(heap, 100);
	check(p);
	memset(p, 1, 100);
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	check(fd >= 0);
	check_eq(read(fd, BASE + size - PAGE, PAGE), PAGE);
	close(fd);
	check_eq(memcmp(BASE + size - PAGE, "\177ELF", 4), 0);
	check_eq(vas_switch(VAS_HOME), 0);

	clone = check_id(seg_clone(sid));
	tcase_track_seg(clone);
	seen = tcase_vas(NULL, 0600);
	check_eq(seg_attach(seen, clone), 0);
	check_eq(vas_switch(check_id(vas_attach(seen))), 0);
	check_all(61);
	*page_of(0) = 0;
	check_eq(vas_switch(vh), 0);
	check_eq(*page_of(0), 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void pages_scattered_over_many_gib_keep_their_data(void)
{
	struct pvvas_stats before = { .size = sizeof(before) }, after = before;
	struct seg_attr attr = { .size = sizeof(attr) };
	int vh, sid = segment(BASE, size, SEG_SMALL, &vh);

	check_eq(pvvas_stats(&before), 0);
	check_eq(vas_switch(vh), 0);
	touch_all();
	check_all(1);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(pvvas_stats(&after), 0);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &attr), 0);
	tcase_note("%lu pages in %zu blocks, %lu tables, %lu faults in views, %lu exits",
		   attr.resident / PAGE, BLOCKS, after.tables - before.tables,
		   after.hv_view_faults - before.hv_view_faults,
		   after.hv_exits - before.hv_exits);
	check_eq(attr.resident, BLOCKS * PAGE);
	go_on(sid, vh);
}

/* In a window's last GiB, too, and by default options: 64 pages in 4 TiB. */
static void pages_scattered_over_4_tib_keep_their_data(void)
{
	size_t end = 4096 * GIB, step = 64 * GIB - BLOCK, at;
	int vh, sid = segment(BASE, end, 0, &vh);
	struct seg_attr attr = { .size = sizeof(attr) };

	check_eq(vas_switch(vh), 0);
	for (at = 0; at < end; at += step)
		*(size_t *)(BASE + at) = at;
	BASE[end - 1] = 1;
	for (at = 0; at < end; at += step)
		check_eq(*(size_t *)(BASE + at), at);
	check_eq(BASE[end - 1], 1);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &attr), 0);
	tcase_note("%lu KiB are there", attr.resident >> 10);
	check(attr.resident <= 256 * BLOCK);
}

static const struct tcase cases[] = {
	CASE_SECONDS(pages_scattered_over_many_gib_keep_their_data, 600),
	CASE(pages_scattered_over_4_tib_keep_their_data),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		size = strtoul(argv[1], NULL, 0) * GIB;
	return tcase_main(cases, sizeof(cases) / sizeof(cases[0]), 0);
}
