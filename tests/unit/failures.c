// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Each call of the C library that the software backend makes fails once, in each
 * operation: the operation says so, has changed nothing, keeps no descriptor,
 * and succeeds when it is repeated.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>
#include <pvvas_page.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define PAGES	4
/* An error that nothing here gives by itself */
#define FAILURE	EDQUOT

enum way {
	ERROR,		/* -1 and FAILURE */
	NOTHING,	/* reads and writes: 0 bytes */
	INTERRUPTED,	/* -1 and EINTR */
	PARTLY,		/* reads and writes: half of it */
	NR_WAYS,
};

static enum way way;
static int countdown;	/* fails at 1; 0: nothing fails */
static const char *failed;
static int failure = FAILURE;
static const char *only;	/* this call */

static bool fails(const char *call)
{
	if (!countdown || (only && strcmp(only, call)) || --countdown)
		return false;
	failed = call;
	errno = way == INTERRUPTED ? EINTR : failure;
	return true;
}

/* What can be cut short, or interrupted, counts for that alone. */
static bool fails_at_all(const char *call)
{
	return way == ERROR && fails(call);
}

static bool fails_at_once(const char *call)
{
	return (way == ERROR || way == INTERRUPTED) && fails(call);
}

#define WRAP(type, name, parameters, arguments) \
	type __real_##name parameters; \
	type __wrap_##name parameters; \
	type __wrap_##name parameters \
	{ \
		return fails_at_all(#name) ? (type)-1 : __real_##name arguments; \
	}

WRAP(int, fstat, (int fd, struct stat *st), (fd, st))
WRAP(int, ftruncate, (int fd, off_t size), (fd, size))
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(off_t, lseek, (int fd, off_t at, int whence), (fd, at, whence))
WRAP(int, madvise, (void *p, size_t n, int advice), (p, n, advice))
WRAP(void *, mmap, (void *p, size_t n, int prot, int flags, int fd, off_t at),
     (p, n, prot, flags, fd, at))

int __real_flock(int fd, int how);
int __wrap_flock(int fd, int how);
int __wrap_flock(int fd, int how)
{
	/* the lock of every call: it waits, and is not expected to fail */
	return way == INTERRUPTED && how == LOCK_EX && fails("flock") ? -1 :
		__real_flock(fd, how);
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode)
{
	return fails_at_all("openat") ? -1 :
		__real_openat(dir, path, flags, mode);
}

ssize_t __real_pread(int fd, void *p, size_t n, off_t at);
ssize_t __wrap_pread(int fd, void *p, size_t n, off_t at);
ssize_t __wrap_pread(int fd, void *p, size_t n, off_t at)
{
	if (way != INTERRUPTED && fails("pread"))
		return way == ERROR ? -1 : way == NOTHING ? 0 :
			__real_pread(fd, p, n / 2, at);
	return __real_pread(fd, p, n, at);
}

ssize_t __real_pwrite(int fd, const void *p, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at)
{
	if (way == PARTLY && fails("pwrite"))
		return __real_pwrite(fd, p, n / 2, at);
	if (way == NOTHING && fails("pwrite"))
		return 0;
	return fails_at_once("pwrite") ? -1 : __real_pwrite(fd, p, n, at);
}

/*
 * Operations: on a VAS with two segments, in which the process is.
 */

static int vid, sid, other, big, vh, second;
static char page[4096];

static void prepare(void)
{
	size_t n;

	vid = tcase_vas("v", 0600);
	sid = tcase_seg("s", BASE, 4 * MIB, 0600);
	other = tcase_seg("o", BASE + 8 * MIB, 300000, 0600);
	big = tcase_seg("b", BASE + 128 * MIB, 64 * MIB, 0600);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(seg_attach(vid, other), 0);
	vh = check_id(vas_attach(vid));
	second = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	strcpy(BASE, "first");
	strcpy(BASE + MIB, "second");
	for (n = 0; n < 300000; n += 4096)
		BASE[8 * MIB + n] = n / 4096;
	check_eq(seg_protect(sid, BASE + 2 * MIB, 4096, PROT_READ), 0);
}

static int make_vas(void)
{
	return vas_create("new", 0600);
}

static int make_segment(void)
{
	return seg_alloc("new", BASE + 32 * MIB, MIB, 0600);
}

static int clone_segment(void)
{
	return seg_clone(other);
}

static int clone_vas(void)
{
	return vas_clone(vid);
}

static int second_face(void)
{
	return seg_map2(sid, BASE + 64 * MIB);
}

static int attach(void)
{
	return vas_attach(vid);
}

static int switch_over(void)
{
	return vas_switch(vas_current() == vh ? second : vh);
}

static int protect(void)
{
	return seg_protect(sid, BASE, 8192, PROT_READ);
}

/* More than is written at a time */
static int protect_much(void)
{
	return seg_protect(big, BASE + 128 * MIB, 40 * MIB, PROT_READ);
}

static int unprotect(void)
{
	return seg_protect(sid, BASE, 4 * MIB, PROT_READ | PROT_WRITE);
}

static int dirty(void)
{
	void *pages[8];

	return seg_dirty(sid, BASE, 4 * MIB, pages, 8);
}

static int fill(void)
{
	return seg_fill(sid, BASE + 3 * MIB, page, 4096);
}

static int populate(void)
{
	return seg_populate(sid, BASE + 3 * MIB, 16384);
}

static int pager_off_and_on(void)
{
	int err = seg_pager(sid, 1);

	return err ? err : seg_pager(sid, 0);
}

static int look_for_data(void)
{
	size_t at = 0, length;

	return seg_next_data(sid, &at, &length);
}

static int lock(void)
{
	int err = seg_ctl(other, SEG_CTL_LOCK_ON), handle;

	if (err)
		return err;
	handle = vas_attach(vid);
	err = handle < 0 ? handle : vas_switch(handle);
	/* back, in any case */
	if (vas_current() != vh) {
		err = vas_switch(vh);
		if (err)
			vas_switch(vh);
	}
	if (handle > 0)
		vas_detach(handle);
	seg_ctl(other, SEG_CTL_LOCK_OFF);
	return err;
}

struct operation {
	const char *name;
	int (*run)(void);
	bool repeats;	/* what was half done is done again: seg_dirty(3) */
};

static const struct operation operations[] = {
	{ "vas_create", make_vas, false },
	{ "seg_alloc", make_segment, false },
	{ "seg_clone", clone_segment, false },
	{ "vas_clone", clone_vas, false },
	{ "seg_map2", second_face, false },
	{ "vas_attach", attach, false },
	{ "vas_switch", switch_over, false },
	{ "seg_protect", protect, false },
	{ "seg_protect of much", protect_much, false },
	{ "seg_unprot", unprotect, false },
	{ "seg_dirty", dirty, true },
	{ "seg_fill", fill, true },
	{ "seg_populate", populate, true },
	{ "seg_pager", pager_off_and_on, false },
	{ "seg_next_data", look_for_data, false },
	{ "a lockable segment", lock, false },
};

#define NR_OPERATIONS	(sizeof(operations) / sizeof(operations[0]))

/*
 * Before and after.
 */

struct state {
	struct pvvas_stats stats;
	int current;
	int descriptors;
	int files;
};

static int entries(const char *path, const char *prefix)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	int n = 0;

	check(dir);
	while ((e = readdir(dir)))
		n += !strncmp(e->d_name, prefix, strlen(prefix));
	closedir(dir);
	return n;
}

static struct state look(void)
{
	struct state s = { .stats.size = sizeof(s.stats) };

	check_eq(pvvas_stats(&s.stats), 0);
	s.current = vas_current();
	s.descriptors = entries("/proc/self/fd", "");
	s.files = entries(getenv("PVVAS_SOFT_DIR"), "segment-");
	return s;
}

static void check_same(const struct operation *op, const struct state *before,
		       bool also_memory)
{
	struct state now = look();

	if (now.stats.vases != before->stats.vases ||
	    now.stats.segs != before->stats.segs ||
	    now.stats.attachments != before->stats.attachments ||
	    (also_memory && now.stats.pages != before->stats.pages))
		tcase_fail(__FILE__, __LINE__, "%s left something, %s failed",
			   op->name, failed);
	if (now.files != before->files)
		tcase_fail(__FILE__, __LINE__, "%s left a file, %s failed",
			   op->name, failed);
	if (now.descriptors != before->descriptors)
		tcase_fail(__FILE__, __LINE__, "%s: a descriptor, %s failed",
			   op->name, failed);
	if (now.current != before->current)
		tcase_fail(__FILE__, __LINE__, "%s moved, %s failed", op->name,
			   failed);
	check(!strcmp(BASE, "first"));
	check(!strcmp(BASE + MIB, "second"));
	check_eq(tcase_try_write(BASE + 2 * MIB).sig, op->run == unprotect ?
		 tcase_try_write(BASE + 2 * MIB).sig : SIGSEGV);
}

/* 1: something failed in it; 0: nothing had to */
static int one(const struct operation *op, int n)
{
	struct state before;
	int ret, want = way == ERROR ? -FAILURE : -EIO;

	prepare();
	before = look();
	failed = NULL;
	countdown = n;
	ret = op->run();
	countdown = 0;
	if (!failed) {
		check(ret >= 0);
		return 0;
	}
	if (way == INTERRUPTED || (way == PARTLY && !strcmp(failed, "pwrite"))) {
		/* it is repeated, and the caller does not see it */
		if (ret < 0)
			tcase_fail(__FILE__, __LINE__, "%s is %d, %s stopped",
				   op->name, ret, failed);
		return 1;
	}
	if (ret < 0 && ret != want &&
	    !(ret == -ENOMEM && !strcmp(failed, "mmap")))
		tcase_fail(__FILE__, __LINE__, "%s is %d, %s failed", op->name,
			   ret, failed);
	if (ret < 0) {
		check_same(op, &before, !op->repeats);
		ret = op->run();
		if (ret < 0)
			tcase_fail(__FILE__, __LINE__,
				   "%s is %d after %s failed once", op->name,
				   ret, failed);
	} else if (look().descriptors != before.descriptors) {
		tcase_fail(__FILE__, __LINE__, "%s: a descriptor, %s failed",
			   op->name, failed);
	}
	return 1;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void remove_folder(const char *dir)
{
	nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void fail_each_call(enum way which)
{
	char dir[64];
	unsigned int fired = 0;
	size_t i;
	int n, status;
	pid_t pid;

	tcase_folder(dir, sizeof(dir), "failures");
	setenv("PVVAS_SOFT_DIR", dir, 1);
	way = which;
	for (i = 0; i < NR_OPERATIONS; i++) {
		for (n = 1, status = 1; WEXITSTATUS(status) || n == 1; n++) {
			remove_folder(dir);
			pid = fork();
			check(pid >= 0);
			if (!pid)
				_exit(one(&operations[i], n) ? 2 : 0);
			check_eq(waitpid(pid, &status, 0), pid);
			if (status && (!WIFEXITED(status) ||
				       WEXITSTATUS(status) != 2)) {
				remove_folder(dir);
				tcase_fail(__FILE__, __LINE__, "%s, call %d",
					   operations[i].name, n);
			}
			fired += !!status;
			if (!status)
				break;
		}
	}
	remove_folder(dir);
	tcase_note("%u calls failed", fired);
	check(fired > 3);
}

static void a_call_that_fails_is_told_and_changes_nothing(void)
{
	fail_each_call(ERROR);
}

static void a_read_or_write_of_nothing_is_an_error(void)
{
	fail_each_call(NOTHING);
}

static void an_interrupted_call_is_repeated(void)
{
	fail_each_call(INTERRUPTED);
}

static void what_is_done_partly_is_finished(void)
{
	fail_each_call(PARTLY);
}

/*
 * What may be done in part: no page is lost.
 */

static void *moving_pages(size_t page)
{
	return BASE + page * PAGE;
}

/* A segment with other pages in its second half. */
static int pages_to_move(void)
{
	int vid, sid;
	size_t i;

	vid = tcase_vas_with_seg(BASE, 2 * PAGES * PAGE, &sid);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	for (i = 0; i < 2 * PAGES; i++)
		memset(moving_pages(i), (int)i + 1, PAGE);
	return sid;
}

static void move_and_fail(void *at)
{
	int sid = pages_to_move(), err;
	size_t i;

	countdown = *(int *)at;
	err = seg_move(sid, BASE, sid, BASE + PAGES * PAGE, PAGES * PAGE);
	check_eq(err, countdown ? 0 : -ENOSPC);
	countdown = 0;
	for (i = 0; i < PAGES; i++)
		check(*(char *)moving_pages(i) == (char)(i + 1) ||
		      *(char *)moving_pages(PAGES + i) == (char)(i + 1));
}

static void dirty_and_fail(void *at)
{
	int sid = pages_to_move(), told, more;
	void *pages[4 * PAGES];

	countdown = *(int *)at;
	told = seg_dirty(sid, BASE, 2 * PAGES * PAGE, pages, 4 * PAGES);
	if (told < 0)
		check_eq(told, -ENOSPC);
	countdown = 0;
	more = seg_dirty(sid, BASE, 2 * PAGES * PAGE, pages, 4 * PAGES);
	check(told < 0 || told == 2 * PAGES - more);
	check(told >= 0 || more == 2 * PAGES);
}

static void a_move_and_a_look_that_fail_lose_no_page(void)
{
	char dir[64];
	int at;

	failure = ENOSPC;
	only = "pwrite";
	way = ERROR;
	tcase_folder(dir, sizeof(dir), "failures");
	setenv("PVVAS_SOFT_DIR", dir, 1);
	for (at = 1; at <= 2 * PAGES + 1; at++) {
		tcase_run(move_and_fail, &at);
		tcase_run(dirty_and_fail, &at);
	}
	remove_folder(dir);
}

static const struct tcase cases[] = {
	CASE(a_move_and_a_look_that_fail_lose_no_page),
	CASE(a_call_that_fails_is_told_and_changes_nothing),
	CASE(a_read_or_write_of_nothing_is_an_error),
	CASE(an_interrupted_call_is_repeated),
	CASE(what_is_done_partly_is_finished),
};

int main(void)
{
	setenv("PVVAS_BACKEND", "soft", 1);
	return tcase_main(cases, sizeof(cases) / sizeof(cases[0]),
			  TCASE_NO_DRIVER);
}
