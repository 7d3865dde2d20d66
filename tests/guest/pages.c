// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of segments: protections, which were written, second faces, and programs
 * that fill segments themselves.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define RW	(PROT_READ | PROT_WRITE)

static int sid, vh;

static void enter(int to)
{
	check_eq(vas_switch(to), 0);
	check_eq(vas_current(), to);
}

/* A VAS that shows a segment of 4 MiB, of a kind. */
static int vas_with(uint32_t flags)
{
	int vid = tcase_vas(NULL, 0600);

	sid = tcase_seg_with(NULL, BASE, 4 * MIB, 0600, flags);
	check_eq(seg_attach(vid, sid), 0);
	return vid;
}

static void scene_with(uint32_t flags)
{
	vh = check_id(vas_attach(vas_with(flags)));
	enter(vh);
}

/* A segment, and this thread in a VAS that shows it. */
static void scene(void)
{
	scene_with(0);
}

/* The same where a touch brings one page: for cases that count pages. */
static void scene_of_small_pages(void)
{
	scene_with(SEG_SMALL);
}

static void refused(struct tcase_fault f, void *addr)
{
	check_eq(f.sig, SIGSEGV);
	check_eq(f.code, SEGV_ACCERR);
	check(f.addr == addr);
}

static void protected_pages_refuse_and_keep_their_data(void)
{
	scene();
	strcpy(BASE + PAGE, "data");
	check_eq(seg_protect(sid, BASE + PAGE, 2 * PAGE, PROT_READ), 0);
	check(!strcmp(BASE + PAGE, "data"));
	check_eq(BASE[2 * PAGE + 5], 0);
	refused(tcase_try_write(BASE + PAGE + 1), BASE + PAGE + 1);
	refused(tcase_try_write(BASE + 2 * PAGE + 8), BASE + 2 * PAGE + 8);
	BASE[0] = 1;
	BASE[3 * PAGE] = 1;
	check_eq(seg_protect(sid, BASE + PAGE, 1, PROT_NONE), 0);
	refused(tcase_try_read(BASE + PAGE), BASE + PAGE);
	refused(tcase_try_write(BASE + PAGE), BASE + PAGE);
	check_eq(seg_protect(sid, BASE, 4 * MIB, RW), 0);
	check(!strcmp(BASE + PAGE, "data"));
	strcpy(BASE + PAGE, "new");
	BASE[2 * PAGE] = 1;
	check(!strcmp(BASE + PAGE, "new"));
	enter(VAS_HOME);
}

static void pages_without_memory_are_protected_too(void)
{
	struct seg_stat stat = { .size = sizeof(stat) };

	scene_of_small_pages();
	check_eq(seg_prot1(sid, BASE + 8 * PAGE, PROT_NONE), 0);
	refused(tcase_try_write(BASE + 8 * PAGE), BASE + 8 * PAGE);
	BASE[7 * PAGE] = 1;
	BASE[9 * PAGE] = 1;
	refused(tcase_try_read(BASE + 9 * PAGE - 1), BASE + 9 * PAGE - 1);
	check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), 0);
	check_eq(stat.resident, 2 * PAGE);
	check_eq(seg_unprot(sid, BASE + 8 * PAGE), 0);
	BASE[8 * PAGE] = 1;
	enter(VAS_HOME);
}

static void try_in_another_process(void *arg)
{
	int ours = check_id(vas_attach(*(int *)arg));

	enter(ours);
	check_eq(BASE[PAGE], 5);
	refused(tcase_try_write(BASE + PAGE), BASE + PAGE);
	refused(tcase_try_read(BASE + 2 * PAGE), BASE + 2 * PAGE);
	check_eq(seg_unprot(sid, BASE + PAGE), 0);
	BASE[PAGE] = 6;
	enter(VAS_HOME);
}

static void protections_hold_in_every_process(void)
{
	int vid = tcase_vas(tcase_name("v"), 0600);

	sid = tcase_seg(tcase_name("s"), BASE, MIB, 0600);
	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	enter(vh);
	BASE[PAGE] = 5;
	check_eq(seg_prot1(sid, BASE + PAGE, PROT_READ), 0);
	check_eq(seg_prot1(sid, BASE + 2 * PAGE, PROT_NONE), 0);
	tcase_join(tcase_spawn(try_in_another_process, &vid));
	enter(VAS_HOME);
	enter(vh);
	check_eq(BASE[PAGE], 6);
	BASE[PAGE] = 7;
	refused(tcase_try_read(BASE + 2 * PAGE), BASE + 2 * PAGE);
	enter(VAS_HOME);
}

static void protN_takes_pages_in_any_order(void)
{
	void *pages[] = { BASE + 9 * PAGE, BASE, BASE + PAGE, BASE + 5 * PAGE };
	int i;

	scene();
	memset(BASE, 1, 10 * PAGE);
	check_eq(seg_protN(sid, pages, 4, PROT_READ), 0);
	for (i = 0; i < 10; i++) {
		int sig = i == 9 || i == 0 || i == 1 || i == 5 ? SIGSEGV : 0;

		check_eq(tcase_try_write(BASE + i * PAGE).sig, sig);
	}
	check_eq(seg_protN(sid, pages, 4, RW), 0);
	for (i = 0; i < 10; i++)
		check_eq(tcase_try_write(BASE + i * PAGE).sig, 0);
	check_eq(seg_protN(sid, NULL, 0, RW), 0);
	enter(VAS_HOME);
}

static void system_calls_are_refused_with_efault(void)
{
	int fd[2];

	scene();
	BASE[0] = 1;
	check_eq(pipe(fd), 0);
	check_eq(write(fd[1], "ab", 2), 2);
	check_eq(seg_prot1(sid, BASE, PROT_READ), 0);
	check_eq(read(fd[0], BASE, 1), -1);
	check_eq(errno, EFAULT);
	check_eq(write(fd[1], BASE, 1), 1);
	check_eq(seg_prot1(sid, BASE, PROT_NONE), 0);
	check_eq(write(fd[1], BASE, 1), -1);
	check_eq(errno, EFAULT);
	enter(VAS_HOME);
}

static void bad_ranges_are_refused(void)
{
	void *pages[2];

	scene();
	check_eq(seg_protect(sid, BASE + 1, PAGE, PROT_READ), -EINVAL);
	check_eq(seg_protect(sid, BASE, 0, PROT_READ), -EINVAL);
	check_eq(seg_protect(sid, BASE, PAGE, PROT_WRITE), -EINVAL);
	check_eq(seg_protect(sid, BASE, PAGE, PROT_READ | PROT_EXEC), -EINVAL);
	check_eq(seg_protect(sid, BASE, ~0UL, PROT_READ), -EINVAL);
	check_eq(seg_protect(sid, BASE, 5 * MIB, PROT_READ), -ERANGE);
	check_eq(seg_protect(sid, BASE + 4 * MIB, PAGE, PROT_READ), -ERANGE);
	check_eq(seg_protect(sid, BASE - PAGE, PAGE, PROT_READ), -ERANGE);
	check_eq(seg_protect(sid, NULL, PAGE, PROT_READ), -ERANGE);
	check_eq(seg_protect(0, BASE, PAGE, PROT_READ), -EINVAL);
	check_eq(seg_protect(99999, BASE, PAGE, PROT_READ), -ENOENT);
	check_eq(seg_dirty(sid, BASE, PAGE, NULL, 1), -EINVAL);
	check_eq(seg_dirty(sid, BASE, PAGE, pages, 0), 0);
	check_eq(seg_dirty(sid, BASE + 4 * MIB, PAGE, pages, 2), -ERANGE);
	check_eq(seg_fill(sid, BASE, NULL, PAGE), -EINVAL);
	check_eq(seg_fill(sid, BASE, pages, 100), -EINVAL);
	check_eq(seg_trap(0, NULL, NULL), -EINVAL);
	check_eq(seg_trap(sid, NULL, NULL), -ENOENT);
	check_eq(seg_populate(sid, BASE, 5 * MIB), -ERANGE);
	check_eq(seg_map2(sid, BASE + 8 * MIB + PAGE), -EINVAL);
	check_eq(seg_map2(sid, (void *)(2 * MIB)), -ERANGE);
	enter(VAS_HOME);
}

/* Which pages were written. */

static int dirty(void **pages, size_t max)
{
	return seg_dirty(sid, BASE, 4 * MIB, pages, max);
}

static void dirty_tells_of_written_pages_once(void)
{
	void *pages[64];
	int i;

	scene_of_small_pages();
	for (i = 0; i < 8; i++)
		BASE[i * PAGE] = 1;
	check_eq(dirty(pages, 64), 8);
	for (i = 0; i < 8; i++)
		check(pages[i] == BASE + i * PAGE);
	check_eq(dirty(pages, 64), 0);
	BASE[3 * PAGE + 100]++;
	BASE[6 * PAGE]++;
	BASE[6 * PAGE + 1]++;
	BASE[20 * PAGE]++;
	check_eq(*(volatile char *)(BASE + PAGE), 1);
	check_eq(*(volatile char *)(BASE + 30 * PAGE), 0);
	check_eq(dirty(pages, 2), 2);
	check(pages[0] == BASE + 3 * PAGE && pages[1] == BASE + 6 * PAGE);
	check_eq(dirty(pages, 64), 1);
	check(pages[0] == BASE + 20 * PAGE);
	check_eq(dirty(pages, 64), 0);
	enter(VAS_HOME);
}

static void writes_of_system_calls_are_dirty_too(void)
{
	void *pages[4];
	int fd[2];

	scene_of_small_pages();
	BASE[PAGE] = 1;
	check_eq(dirty(pages, 4), 1);
	check_eq(pipe(fd), 0);
	check_eq(write(fd[1], "x", 1), 1);
	check_eq(read(fd[0], BASE + PAGE + 9, 1), 1);
	check_eq(dirty(pages, 4), 1);
	check(pages[0] == BASE + PAGE);
	enter(VAS_HOME);
}

static void write_one(void *arg)
{
	enter(check_id(vas_attach(*(int *)arg)));
	BASE[5 * PAGE] = 9;
	enter(VAS_HOME);
}

static void writes_of_other_processes_are_dirty_too(void)
{
	int vid = vas_with(SEG_SMALL);
	void *pages[200];
	int i;

	enter(check_id(vas_attach(vid)));
	for (i = 0; i < 150; i++)
		BASE[i * PAGE] = 1;
	check_eq(dirty(pages, 200), 150);
	tcase_join(tcase_spawn(write_one, &vid));
	check_eq(dirty(pages, 200), 1);
	check(pages[0] == BASE + 5 * PAGE);
	enter(VAS_HOME);
}

/* Second faces. */

static void map2_shows_the_same_memory_with_its_own_protection(void)
{
	int vid = vas_with(SEG_SMALL), face;
	char *other;
	size_t size;
	void *pages[4];

	face = check_id(seg_map2(sid, NULL));
	tcase_track_seg(face);
	check_eq(seg_range(face, (void **)&other, &size), 0);
	check(other != BASE);
	check_eq(size, 4 * MIB);
	check_eq(seg_attach(vid, face), 0);
	enter(check_id(vas_attach(vid)));
	strcpy(BASE + PAGE, "here");
	check(!strcmp(other + PAGE, "here"));
	strcpy(other + 2 * PAGE, "there");
	check(!strcmp(BASE + 2 * PAGE, "there"));
	check_eq(seg_protect(sid, BASE, 4 * MIB, PROT_NONE), 0);
	refused(tcase_try_read(BASE + PAGE), BASE + PAGE);
	strcpy(other + PAGE, "through the back door");
	check_eq(seg_protect(sid, BASE, 4 * MIB, RW), 0);
	check(!strcmp(BASE + PAGE, "through the back door"));
	check_eq(dirty(pages, 4), 2);
	other[2 * PAGE]++;
	check_eq(dirty(pages, 4), 1);
	check(pages[0] == BASE + 2 * PAGE);
	enter(VAS_HOME);
}

static void a_clone_is_not_seen_through_a_second_face(void)
{
	int vid = tcase_vas_with_seg(BASE, 4 * MIB, &sid), face, copy;
	char *other = BASE + 64 * MIB;

	face = check_id(seg_map2(sid, other));
	tcase_track_seg(face);
	check_eq(seg_attach(vid, face), 0);
	vh = check_id(vas_attach(vid));
	enter(vh);
	strcpy(BASE, "before");
	check(!strcmp(other, "before"));
	copy = check_id(seg_clone(face));
	tcase_track_seg(copy);
	/* the page is replaced: both faces have to show the new one */
	strcpy(BASE, "after");
	check(!strcmp(other, "after"));
	strcpy(other, "last");
	check(!strcmp(BASE, "last"));
	vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach(vid, copy), 0);
	enter(check_id(vas_attach(vid)));
	check(!strcmp(other, "before"));
	enter(VAS_HOME);
}

static void a_memory_has_so_many_faces(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0600), face = 0, i;

	tcase_need(PVVAS_FEATURE_SWITCH);
	for (i = 1; i < 64; i++) {
		face = check_id(seg_map2(sid, NULL));
		tcase_track_seg(face);
	}
	check_eq(seg_map2(sid, NULL), -ENOSPC);
	check_eq(seg_map2(face, NULL), -ENOSPC);
	check_eq(seg_delete(face), 0);
	tcase_track_seg(check_id(seg_map2(sid, NULL)));
}

static void a_second_face_outlives_the_first(void)
{
	int vid = tcase_vas_with_seg(BASE, 4 * MIB, &sid), face;
	char *other = BASE + 64 * MIB;

	vh = check_id(vas_attach(vid));
	enter(vh);
	strcpy(BASE, "kept");
	face = check_id(seg_map2(sid, other));
	tcase_track_seg(face);
	enter(VAS_HOME);
	check_eq(vas_detach(vh), 0);
	check_eq(vas_delete(vid), 0);
	check_eq(seg_delete(sid), 0);
	vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach(vid, face), 0);
	enter(check_id(vas_attach(vid)));
	check(!strcmp(other, "kept"));
	other[PAGE] = 1;
	enter(VAS_HOME);
}

/* Programs that fill segments themselves. */

static volatile struct seg_fault seen;
static volatile int nr_seen;

static int fill_with_number(const struct seg_fault *fault, void *arg)
{
	uintptr_t page = (uintptr_t)fault->addr & ~(PAGE - 1);
	static char data[PAGE] __attribute__((aligned(16)));

	(void)arg;
	nr_seen++;
	seen = *fault;
	memset(data, (int)((page - (uintptr_t)BASE) / PAGE) + 1, PAGE);
	check_eq(seg_fill(fault->sid, (void *)page, data, PAGE), 1);
	return SEG_TRAP_RESUME;
}

static void a_pager_gives_pages_their_content(void)
{
	struct tcase_fault f;
	char data[2 * PAGE];
	int i;

	scene_of_small_pages();
	BASE[0] = 99;
	check_eq(seg_pager(sid, 1), 0);
	check_eq(BASE[0], 99);
	f = tcase_try_read(BASE + PAGE);
	check_eq(f.sig, SIGSEGV);
	check(f.addr == BASE + PAGE);
	nr_seen = 0;
	check_eq(seg_trap(sid, fill_with_number, NULL), 0);
	for (i = 1; i < 5; i++)
		check_eq(*(volatile char *)(BASE + i * PAGE + 10 * i), i + 1);
	check_eq(nr_seen, 4);
	check_eq(seen.missing, 1);
	check_eq(seen.access, PROT_READ);
	*(volatile char *)(BASE + 6 * PAGE) = 50;
	check_eq(nr_seen, 5);
	check_eq(seen.access, PROT_WRITE);
	check_eq(BASE[6 * PAGE], 50);
	check_eq(BASE[6 * PAGE + 1], 7);
	memset(data, 100, sizeof(data));
	check_eq(seg_fill(sid, BASE + 4 * PAGE, data, 2 * PAGE), 1);
	check_eq(BASE[4 * PAGE], 5);
	check_eq(BASE[5 * PAGE], 100);
	check_eq(nr_seen, 5);
	check_eq(seg_trap(sid, NULL, NULL), 0);
	check_eq(seg_pager(sid, 0), 0);
	check_eq(BASE[12 * PAGE], 0);
	enter(VAS_HOME);
}

static void populate_takes_memory_at_once(void)
{
	struct seg_stat stat = { .size = sizeof(stat) };

	scene_of_small_pages();
	BASE[5 * PAGE] = 7;
	check_eq(seg_ctl(sid, SEG_CTL_POPULATE, BASE + PAGE, 16 * PAGE), 0);
	check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), 0);
	check_eq(stat.resident, 16 * PAGE);
	check_eq(BASE[5 * PAGE], 7);
	check_eq(BASE[6 * PAGE], 0);
	enter(VAS_HOME);
}

/*
 * What comes with a page is told of at first, and from then on a page comes alone:
 * also where no page was before.
 */
static void after_the_first_dirty_a_touch_brings_one_page(void)
{
	void *pages[1024];
	int n, i, found = 0;

	scene();
	BASE[5 * PAGE] = 1;
	n = dirty(pages, 1024);
	for (i = 0; i < n; i++)
		found += pages[i] == BASE + 5 * PAGE;
	check_eq(found, 1);
	check_eq(dirty(pages, 1024), 0);
	BASE[3 * MIB + 7 * PAGE] = 1;
	check_eq(dirty(pages, 1024), 1);
	check(pages[0] == BASE + 3 * MIB + 7 * PAGE);
	check_eq(*(volatile char *)(BASE + 3 * MIB + 8 * PAGE), 0);
	check_eq(dirty(pages, 1024), 0);
	enter(VAS_HOME);
}

/* Nothing comes that the pager has not given, however much would fit. */
static void a_pager_is_asked_for_every_page(void)
{
	static char data[PAGE];

	scene();
	check_eq(seg_pager(sid, 1), 0);
	data[0] = 3;
	check_eq(seg_fill(sid, BASE + 4 * PAGE, data, PAGE), 1);
	check_eq(*(volatile char *)(BASE + 4 * PAGE), 3);
	check_eq(tcase_try_read(BASE + 5 * PAGE).sig, SIGSEGV);
	check_eq(tcase_try_write(BASE + 3 * PAGE).sig, SIGSEGV);
	check_eq(seg_populate(sid, BASE, 4 * MIB), -ENXIO);
	enter(VAS_HOME);
}

static void seg_ctl_does_the_same(void)
{
	struct seg_stat stat = { .size = 1 };
	void *pages[4];

	scene_of_small_pages();
	check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), -EINVAL);
	BASE[0] = 1;
	check_eq(seg_ctl(sid, SEG_CTL_PROTECT, BASE, PAGE, PROT_READ), 0);
	refused(tcase_try_write(BASE), BASE);
	check_eq(seg_ctl(sid, SEG_CTL_UNPROTECT, BASE, PAGE), 0);
	check_eq(tcase_try_write(BASE).sig, 0);
	check_eq(seg_ctl(sid, SEG_CTL_DIRTY, BASE, PAGE, pages, (size_t)4), 1);
	check_eq(seg_ctl(sid, SEG_CTL_PAGER_ON), 0);
	check_eq(tcase_try_read(BASE + PAGE).sig, SIGSEGV);
	check_eq(seg_ctl(sid, SEG_CTL_PAGER_OFF), 0);
	check_eq(tcase_try_read(BASE + PAGE).sig, 0);
	enter(VAS_HOME);
}

/* Any number of them can be forgotten: each makes another tree. */
static void a_segment_goes_with_all_its_protections(void)
{
	int n, i, seg;

	tcase_need(PVVAS_FEATURE_SWITCH);
	for (n = 60; n < 400; n += 4) {
		seg = check_id(seg_alloc(NULL, BASE, 4 * MIB, 0600));
		for (i = 0; i < n; i++)
			check_eq(seg_prot1(seg, BASE + 2 * (size_t)i * PAGE,
					   PROT_READ), 0);
		check_eq(seg_delete(seg), 0);
	}
	/* what was deleted is freed after a grace period */
	usleep(200000);
}

/* More clean pages than are looked at in one go, before the written one. */
static void a_written_page_is_found_behind_many_clean_ones(void)
{
	int seg = tcase_seg(NULL, BASE, 40 * MIB, 0600);
	static void *pages[10240];
	static char page[PAGE];

	/* a comparison of contents looks at all pages */
	tcase_need(PVVAS_FEATURE_WRITES);
	page[0] = 1;
	check_eq(seg_populate(seg, BASE, 39 * MIB), 0);
	check_eq(seg_dirty(seg, BASE, 40 * MIB, pages, 10240), 9984);
	check_eq(seg_dirty(seg, BASE, 40 * MIB, pages, 10240), 0);
	/* it comes as written */
	check_eq(seg_fill(seg, BASE + 40 * MIB - PAGE, page, PAGE), 1);
	check_eq(seg_dirty(seg, BASE, 40 * MIB, pages, 10240), 1);
	check(pages[0] == BASE + 40 * MIB - PAGE);
}

static const struct tcase cases[] = {
	CASE(protected_pages_refuse_and_keep_their_data),
	CASE(pages_without_memory_are_protected_too),
	CASE(protections_hold_in_every_process),
	CASE(protN_takes_pages_in_any_order),
	CASE(system_calls_are_refused_with_efault),
	CASE(bad_ranges_are_refused),
	CASE(dirty_tells_of_written_pages_once),
	CASE(writes_of_system_calls_are_dirty_too),
	CASE(writes_of_other_processes_are_dirty_too),
	CASE(map2_shows_the_same_memory_with_its_own_protection),
	CASE(a_clone_is_not_seen_through_a_second_face),
	CASE(a_memory_has_so_many_faces),
	CASE(a_second_face_outlives_the_first),
	CASE(a_pager_gives_pages_their_content),
	CASE(populate_takes_memory_at_once),
	CASE(after_the_first_dirty_a_touch_brings_one_page),
	CASE(a_pager_is_asked_for_every_page),
	CASE(seg_ctl_does_the_same),
	CASE(a_segment_goes_with_all_its_protections),
	CASE(a_written_page_is_found_behind_many_clean_ones),
};

TCASE_MAIN(cases, 0)
