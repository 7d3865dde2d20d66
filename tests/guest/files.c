// SPDX-License-Identifier: GPL-2.0-only
/*
 * Segments with the content of a file: what is synced is there whatever becomes of
 * the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "saved.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define LARGE	(256 * MIB)
#define PAGE	4096UL

static char path[256];

/* A file of this case, with this content. */
static void make_file(const void *data, size_t n)
{
	int fd;

	snprintf(path, sizeof(path), "%s", saved_folder("file"));
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	check(fd >= 0);
	check_eq(write(fd, data, n), (ssize_t)n);
	close(fd);
}

static void read_file(void *data, size_t n, off_t at)
{
	int fd = open(path, O_RDONLY);

	check(fd >= 0);
	check_eq(pread(fd, data, n, at), (ssize_t)n);
	close(fd);
}

static off_t file_size(void)
{
	struct stat st;

	check_eq(stat(path, &st), 0);
	return st.st_size;
}

/* The thread is in a VAS with the file from here on. */
static int enter_file(size_t size, int flags)
{
	int sid = check_id(seg_open(path, BASE, size, flags));
	int vid = tcase_vas(NULL, 0600);

	tcase_track_seg(sid);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	return sid;
}

static void content_comes_from_the_file_and_goes_back_by_sync(void)
{
	static char data[3 * MIB], back[3 * MIB];
	int sid;
	size_t i;

	for (i = 0; i < sizeof(data); i += PAGE)
		sprintf(data + i, "page %zu", i / PAGE);
	make_file(data, sizeof(data));
	sid = enter_file(0, 0);
	check(!memcmp(BASE, data, sizeof(data)));
	strcpy(BASE + 5 * PAGE, "changed");
	strcpy(BASE + 2 * MIB - 3, "over two pieces");
	strcpy(BASE + 9 * PAGE, "not in the range");
	read_file(back, sizeof(back), 0);
	check(!memcmp(back, data, sizeof(data)));
	check_eq(seg_sync(sid, BASE, 9 * PAGE), 0);
	check_eq(seg_sync(sid, BASE + 2 * MIB - PAGE, 2 * PAGE), 0);
	read_file(back, sizeof(back), 0);
	check(!strcmp(back + 5 * PAGE, "changed"));
	check(!strcmp(back + 2 * MIB - 3, "over two pieces"));
	check(!strcmp(back + 9 * PAGE, "page 9"));
	/* what is discarded is zeroes, there as well */
	check_eq(seg_discard(sid, BASE + PAGE, PAGE), 0);
	check_eq(seg_sync(sid, BASE, sizeof(data)), 0);
	read_file(back, sizeof(back), 0);
	check_eq(back[PAGE], 0);
	check(!strcmp(back + 9 * PAGE, "not in the range"));
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(unlink(path), 0);
}

struct writer {
	atomic_int synced;
};

static void write_and_sync(void *arg)
{
	struct writer *w = arg;
	int sid = enter_file(MIB, 0), n;

	for (n = 1;; n++) {
		*(int *)BASE = n;
		*(int *)(BASE + 100 * PAGE) = n;
		check_eq(seg_sync(sid, BASE, MIB), 0);
		atomic_store(&w->synced, n);
	}
}

/* Each time another process goes on from where the last one was killed. */
static void what_is_synced_is_there_after_a_kill(void)
{
	struct writer *w = tcase_shared(sizeof(*w));
	int i, first, second;
	pid_t pid;

	make_file("", 1);
	for (i = 0; i < 10; i++) {
		atomic_store(&w->synced, 0);
		pid = tcase_spawn(write_and_sync, w);
		while (atomic_load(&w->synced) < 3 + i)
			usleep(500);
		check_eq(kill(pid, SIGKILL), 0);
		tcase_join_killed(pid, SIGKILL);
		read_file(&first, sizeof(first), 0);
		read_file(&second, sizeof(second), 100 * PAGE);
		check(first >= atomic_load(&w->synced));
		check(second >= atomic_load(&w->synced));
	}
	check_eq(unlink(path), 0);
}

static void a_file_grows_to_the_size_and_no_further(void)
{
	char back[16];
	int sid;

	make_file("0123456789", 10);
	sid = enter_file(0, 0);
	check(!strcmp(BASE, "0123456789"));
	strcpy(BASE, "abcdefghijklm");
	check_eq(seg_sync(sid, BASE, PAGE), 0);
	check_eq(file_size(), 10);
	read_file(back, 10, 0);
	check(!memcmp(back, "abcdefghij", 10));
	check_eq(seg_sync(sid, BASE + PAGE, PAGE), -ERANGE);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_delete(sid), 0);
	check_eq(unlink(path), 0);
	/* a new one, with next to nothing in it; a ramfs knows no holes */
	check_eq(seg_open(path, BASE, MIB, 0), -ENOENT);
	sid = check_id(seg_open(path, BASE, LARGE, SEG_OPEN_CREATE));
	tcase_track_seg(sid);
	check_eq(file_size(), LARGE);
	check_eq(vas_switch(VAS_HOME), 0);
	{
		int vid = tcase_vas(NULL, 0600);

		check_eq(seg_attach(vid, sid), 0);
		check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	}
	strcpy(BASE + LARGE - MIB, "far");
	check_eq(seg_sync(sid, BASE, LARGE), 0);
	read_file(back, 4, LARGE - MIB);
	check(!strcmp(back, "far"));
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(unlink(path), 0);
}

static void write_there(void *arg)
{
	int vid = tcase_vas(NULL, 0600);
	int sid = check_id(seg_find(arg));

	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	strcpy(BASE + 7 * PAGE, "of another process");
}

static void open_once_more(void *arg)
{
	(void)arg;
	check_eq(seg_open(path, NULL, 0, 0), -EBUSY);
}

static void others_write_to_it_and_its_opener_syncs(void)
{
	const char *name = tcase_name("shared");
	char back[32];
	int sid, other;

	make_file("x", 1);
	sid = check_id(seg_open(path, BASE, MIB, 0));
	tcase_track_seg(sid);
	check_eq(seg_publish(sid, name), 0);
	tcase_join(tcase_spawn(write_there, (void *)name));
	check_eq(seg_sync(sid, BASE, MIB), 0);
	read_file(back, 19, 7 * PAGE);
	check(!strcmp(back, "of another process"));
	/* one memory for a file at a time */
	check_eq(seg_open(path, NULL, 0, 0), -EBUSY);
	tcase_join(tcase_spawn(open_once_more, NULL));
	other = tcase_seg(NULL, NULL, PAGE, 0600);
	check_eq(seg_sync(other, BASE, PAGE), -EBADF);
	/* when it is gone the file is free again */
	check_eq(seg_delete(sid), 0);
	sid = check_id(seg_open(path, BASE, 0, 0));
	tcase_track_seg(sid);
	check_eq(unlink(path), 0);
}

static void what_a_pager_has_stays_as_it_is_in_the_file(void)
{
	static char data[8 * PAGE], now[8 * PAGE];
	int sid;

	memset(data, 'f', sizeof(data));
	make_file(data, sizeof(data));
	sid = check_id(seg_open(path, BASE, 0, 0));
	tcase_track_seg(sid);
	check_eq(seg_pager(sid, 1), 0);
	check_eq(seg_discard(sid, BASE + PAGE, 6 * PAGE), 0);
	memset(data, 'n', sizeof(data));
	check_eq(seg_fill(sid, BASE + 3 * PAGE, data, PAGE), 1);
	check_eq(seg_sync(sid, BASE, sizeof(data)), 0);
	read_file(now, sizeof(now), 0);
	check_eq(now[0], 'f');
	check_eq(now[PAGE], 'f');
	check_eq(now[3 * PAGE], 'n');
	check_eq(now[4 * PAGE], 'f');
	/* without a pager they are zeroes, and so is the file */
	check_eq(seg_pager(sid, 0), 0);
	check_eq(seg_sync(sid, BASE, sizeof(data)), 0);
	read_file(now, sizeof(now), 0);
	check_eq(now[PAGE], 0);
	check_eq(now[3 * PAGE], 'n');
}

static void what_is_no_file_is_refused(void)
{
	int sid;

	make_file("x", 1);
	sid = check_id(seg_open(path, BASE, 0, 0));
	tcase_track_seg(sid);
	check_eq(seg_sync(sid, BASE + 1, PAGE), -EINVAL);
	check_eq(seg_sync(sid, BASE, 0), -EINVAL);
	check_eq(seg_sync(0, BASE, PAGE), -EINVAL);
	check_eq(seg_sync(sid, BASE - PAGE, PAGE), -ERANGE);
	check_eq(seg_open(NULL, BASE, PAGE, 0), -EINVAL);
	check_eq(seg_open(path, BASE, PAGE, 4), -EINVAL);
	check_eq(seg_open("/tmp", BASE, PAGE, 0), -EISDIR);
	check_eq(seg_open("/dev/null", BASE, PAGE, 0), -EINVAL);
	check_eq(unlink(path), 0);
	check_eq(seg_open(path, BASE, 0, SEG_OPEN_CREATE), -EINVAL);
	check_eq(seg_open(path, BASE + 1, PAGE, SEG_OPEN_CREATE), -EINVAL);
	check_eq(unlink(path), 0);
}

static const struct tcase cases[] = {
	CASE(content_comes_from_the_file_and_goes_back_by_sync),
	CASE(what_is_synced_is_there_after_a_kill),
	CASE(a_file_grows_to_the_size_and_no_further),
	CASE(others_write_to_it_and_its_opener_syncs),
	CASE(what_a_pager_has_stays_as_it_is_in_the_file),
	CASE(what_is_no_file_is_refused),
};

TCASE_MAIN(cases, 0)
