// SPDX-License-Identifier: GPL-2.0-only
/*
 * What another user is shown of a segment by ways around the view: core dumps, clones,
 * reads of pages that are not there.  No more than the view itself would show.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "files.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define FACE	(BASE + 64 * MIB)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define SIZE	(6 * MIB)
#define NOBODY	1000

/* Not to be found anywhere but where it is written. */
#define MARK	64

enum mark { SHOWN, BEFORE, BEHIND, NR_MARKS };

struct scene {
	int vid;
	long by;	/* how far the mapping for dumps is moved, in pages */
	char file[32];
};

static int device(void)
{
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);

	check(fd >= 0);
	return fd;
}

static void set_mode(int sid, mode_t mode)
{
	struct seg_attr attr = { .size = sizeof(attr), .valid = VAS_ATTR_MODE,
				 .mode = mode };

	check_eq(seg_ctl(sid, SEG_CTL_SETATTR, &attr), 0);
}

static char mark_byte(enum mark which, int i)
{
	return (char)(i * (13 + 16 * (int)which) ^ (0x5a + (int)which));
}

static void put_mark(volatile char *at, enum mark which)
{
	int i;

	for (i = 0; i < MARK; i++)
		at[i] = mark_byte(which, i);
}

/* Without a copy of the mark, which would be in the next core. */
static bool holds(const char *text, size_t size, enum mark which)
{
	const char *at = text, *end = text + size - MARK;
	int i;

	while ((at = memchr(at, mark_byte(which, 0), (size_t)(end - at)))) {
		for (i = 1; i < MARK && at[i] == mark_byte(which, i); i++)
			;
		if (i == MARK)
			return true;
		at++;
	}
	return false;
}

static int enter_own(int sid)
{
	int vid = tcase_vas(NULL, 0600), vh;

	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	return vh;
}

/* For core dumps, with a mark in each 2 MiB. */
static int marked(mode_t mode)
{
	struct pvvas_ioc_create arg = {
		.size = sizeof(arg), .mode = mode, .base = (uintptr_t)BASE,
		.length = SIZE, .flags = PVVAS_CREATE_DUMP,
	};
	int fd = device();

	check_eq(ioctl(fd, PVVAS_IOC_SEG_CREATE, &arg), 0);
	close(fd);
	tcase_track_seg((int)arg.id);
	enter_own((int)arg.id);
	put_mark(BASE + 64, BEFORE);
	put_mark(BASE + 2 * MIB + 64, SHOWN);
	put_mark(BASE + 4 * MIB + 64, BEHIND);
	check_eq(vas_switch(VAS_HOME), 0);
	return (int)arg.id;
}

/*
 * Core dumps.
 */

/* Where the kernel's second mapping of the marked segment is. */
static char *dump_mapping(void)
{
	char line[512], *at = NULL;
	FILE *f = fopen("/proc/self/maps", "r");

	check(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "[pvvas segment "))
			at = (char *)strtoul(line, NULL, 16);
	fclose(f);
	check(at);
	return at;
}

static void die_with_core(void *arg)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	const struct scene *s = arg;
	char *at;

	check_eq(setrlimit(RLIMIT_CORE, &limit), 0);
	tcase_become(NOBODY);
	check_eq(prctl(PR_SET_DUMPABLE, 1), 0);
	check_id(vas_attach(s->vid));
	at = dump_mapping();
	if (s->by)
		syscall(SYS_remap_file_pages, at, 2 * MIB - PAGE, 0, s->by, 0);
	syscall(SYS_kill, getpid(), SIGABRT);
	for (;;)
		pause();
}

/* Which marks the core of a stranger holds that attached the VAS: bits. */
static unsigned int marks_in_core(struct scene *s)
{
	unsigned int found = 0;
	enum mark which;
	struct stat st;
	char path[64];
	pid_t pid;
	char *text;
	int fd;

	check(mkdir("/tmp/cores", 0777) == 0 || errno == EEXIST);
	check_eq(chmod("/tmp/cores", 0777), 0);
	file_put("/proc/sys/kernel/core_pattern", "/tmp/cores/core.%p");
	pid = tcase_spawn(die_with_core, s);
	tcase_join_killed(pid, SIGABRT);
	snprintf(path, sizeof(path), "/tmp/cores/core.%d", pid);
	fd = open(path, O_RDONLY);
	check(fd >= 0);
	check_eq(fstat(fd, &st), 0);
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	check(text != MAP_FAILED);
	for (which = 0; which < NR_MARKS; which++)
		if (holds(text, (size_t)st.st_size, which))
			found |= 1U << which;
	munmap(text, (size_t)st.st_size);
	close(fd);
	unlink(path);
	return found;
}

static void a_core_has_nothing_beside_the_part_that_is_shown(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	int sid = marked(0600), face;

	s->vid = tcase_vas(NULL, 0644);
	face = check_id(seg_map2_range(sid, BASE + 2 * MIB, 2 * MIB, FACE));
	check_eq(seg_attach_prot(s->vid, face, PROT_READ), 0);
	check_eq(marks_in_core(s), 1U << SHOWN);
	s->by = -512;
	check_eq(marks_in_core(s) & ~(1U << SHOWN), 0);
	s->by = 512;
	check_eq(marks_in_core(s) & ~(1U << SHOWN), 0);
	check_eq(seg_delete(face), 0);
}

static void a_core_has_nothing_that_is_protected(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	int sid = marked(0644);

	s->vid = tcase_vas(NULL, 0644);
	check_eq(seg_attach_prot(s->vid, sid, PROT_READ), 0);
	check_eq(marks_in_core(s), 1U << SHOWN | 1U << BEFORE | 1U << BEHIND);
	check_eq(seg_protect(sid, BASE + 4 * MIB, PAGE, PROT_NONE), 0);
	check_eq(seg_protect(sid, BASE, PAGE, PROT_READ), 0);
	check_eq(marks_in_core(s), 1U << SHOWN | 1U << BEFORE);
}

/*
 * Clones.
 */

static int seg_clones(int sid)
{
	struct pvvas_clone_row row = { .source = (uint32_t)sid };
	struct pvvas_ioc_segs_clone arg = { .size = sizeof(arg), .nr = 1,
					    .rows = (uintptr_t)&row };
	int fd = device(), ret = ioctl(fd, PVVAS_IOC_SEGS_CLONE, &arg);

	ret = ret ? -errno : (int)row.id;
	close(fd);
	return ret;
}

struct sources {
	int vid;
	int sid;
	bool protected;
};

static void clone_all(void *arg)
{
	const struct sources *s = arg;
	int got[3], i;

	tcase_become(NOBODY);
	got[0] = seg_clone(s->sid);
	got[1] = seg_clones(s->sid);
	got[2] = vas_clone(s->vid);
	for (i = 0; i < 3; i++) {
		if (s->protected)
			check_eq(got[i], -EACCES);
		else
			check_id(got[i]);
	}
}

static void who_may_only_read_clones_nothing_that_is_protected(void)
{
	struct sources *s = tcase_shared(sizeof(*s));

	s->sid = marked(0644);
	s->vid = tcase_vas(NULL, 0644);
	check_eq(seg_attach_prot(s->vid, s->sid, PROT_READ), 0);
	/* what others may read is no secret */
	check_eq(seg_protect(s->sid, BASE, 8 * PAGE, PROT_READ), 0);
	tcase_run(clone_all, s);
	check_eq(seg_protect(s->sid, BASE + 2 * MIB, PAGE, PROT_NONE), 0);
	s->protected = true;
	tcase_run(clone_all, s);
	/* a process that may write could take the protection away */
	check_eq(seg_delete(check_id(seg_clone(s->sid))), 0);
	check_eq(seg_protect(s->sid, BASE + 2 * MIB, PAGE, PROT_READ | PROT_WRITE), 0);
	s->protected = false;
	tcase_run(clone_all, s);
}

/*
 * Pages that a pager has.
 */

static int read_page(int sid, size_t offset, char *page)
{
	struct pvvas_ioc_range arg = { .size = sizeof(arg), .seg = (uint32_t)sid,
				       .offset = offset, .length = PAGE,
				       .addr = (uintptr_t)page };
	int fd = device(), ret = ioctl(fd, PVVAS_IOC_SEG_READ, &arg) ? -errno : 0;

	close(fd);
	return ret;
}

static void what_a_pager_has_is_not_read_as_zeroes(void)
{
	int sid = tcase_seg(NULL, BASE, SIZE, 0600), mem, vh;
	char page[PAGE];

	check_eq(seg_pager(sid, 1), 0);
	memset(page, 'x', PAGE);
	check_eq(seg_fill(sid, BASE, page, PAGE), 1);
	check_eq(read_page(sid, 0, page), 0);
	check_eq(page[7], 'x');
	check_eq(read_page(sid, PAGE, page), -ENXIO);
	vh = enter_own(sid);
	mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	check(mem >= 0);
	check_eq(pread(mem, page, 1, (off_t)BASE), 1);
	check_eq(pread(mem, page, 1, (off_t)(BASE + PAGE)), -1);
	check_eq(vas_switch(VAS_HOME), 0);
	close(mem);
	check_eq(seg_pager(sid, 0), 0);
	check_eq(read_page(sid, PAGE, page), 0);
	check_eq(page[7], 0);
	check_eq(vas_detach(vh), 0);
}

/* Two at once: each page goes to one of them, which alone has its content then. */
#define PAGED	256

struct pagers {
	_Atomic int got[PAGED];
	_Atomic int all;
	int sid;
};

static void take_pages_out(void *arg)
{
	static char data[16 * PAGE] __attribute__((aligned(PAGE)));
	struct pagers *p = arg;
	void *pages[16];
	size_t at;
	int n, i;

	while (atomic_load(&p->all) < PAGED) {
		n = seg_evict(p->sid, pages, data, 16);
		check(n >= 0);
		for (i = 0; i < n; i++) {
			at = (size_t)((char *)pages[i] - BASE) / PAGE;
			check_eq(data[(size_t)i * PAGE], (char)at);
			atomic_fetch_add(&p->got[at], 1);
		}
		atomic_fetch_add(&p->all, n);
	}
}

static void each_page_goes_to_one_of_two_pagers(void)
{
	struct pagers *p = tcase_shared(sizeof(*p));
	static char data[PAGED * PAGE];
	pid_t one, two;
	size_t i;

	p->sid = tcase_seg(NULL, BASE, SIZE, 0600);
	check_eq(seg_pager(p->sid, 1), 0);
	for (i = 0; i < PAGED; i++)
		memset(data + i * PAGE, (int)i, PAGE);
	check_eq(seg_fill(p->sid, BASE, data, sizeof(data)), PAGED);
	one = tcase_spawn(take_pages_out, p);
	two = tcase_spawn(take_pages_out, p);
	tcase_join(one);
	tcase_join(two);
	check_eq(atomic_load(&p->all), PAGED);
	for (i = 0; i < PAGED; i++)
		check_eq(atomic_load(&p->got[i]), 1);
}

/*
 * A part of a segment.
 */

struct part {
	int sid;
	int face;
};

/* The right to write to a part says nothing of the rest. */
static void decide_for_all(void *arg)
{
	const struct part *p = arg;
	uint64_t bytes;

	tcase_become(NOBODY);
	check_eq(seg_pager(p->sid, 0), -EACCES);
	check_eq(seg_pager(p->face, 0), -EINVAL);
	check_eq(seg_limit(p->face, PAGE), -EINVAL);
	check_eq(seg_reclaim_wait(p->face, &bytes, NULL), -EINVAL);
	check_eq(seg_untrack(p->face), 0);
}

static void who_may_write_to_a_part_pages_nothing_of_the_rest(void)
{
	struct part *p = tcase_shared(sizeof(*p));
	void *pages[16];
	char page[PAGE];

	p->sid = tcase_seg(NULL, BASE, SIZE, 0600);
	check_eq(seg_pager(p->sid, 1), 0);
	check_eq(seg_limit(p->sid, SEG_NO_LIMIT), 0);
	memset(page, 'x', PAGE);
	check_eq(seg_fill(p->sid, BASE, page, PAGE), 1);
	check_eq(seg_fill(p->sid, BASE + 2 * MIB, page, PAGE), 1);
	check_eq(seg_dirty(p->sid, BASE, SIZE, pages, 16), 2);
	p->face = check_id(seg_map2_range(p->sid, BASE + 2 * MIB, 2 * MIB, FACE));
	tcase_track_seg(p->face);
	set_mode(p->face, 0666);
	tcase_run(decide_for_all, p);
	check_eq(read_page(p->sid, PAGE, page), -ENXIO);
	/* of its own part it has said that all is written */
	check_eq(seg_dirty(p->sid, BASE, SIZE, pages, 16), 1);
	check(pages[0] == BASE + 2 * MIB);
}

static const struct tcase cases[] = {
	CASE(a_core_has_nothing_beside_the_part_that_is_shown),
	CASE(a_core_has_nothing_that_is_protected),
	CASE(who_may_only_read_clones_nothing_that_is_protected),
	CASE(what_a_pager_has_is_not_read_as_zeroes),
	CASE(each_page_goes_to_one_of_two_pagers),
	CASE(who_may_write_to_a_part_pages_nothing_of_the_rest),
};

TCASE_MAIN(cases, 0)
