// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many processes after one name; the owners of objects, and their rights to change
 * them; what the times of an object tell.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/capability.h>
#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define DIR_	"/sys/fs/pvvas"
#define USER	1000
#define OTHER	1001
#define PLAYERS	6
#define ROUNDS	100

struct race {
	atomic_int arrived[2 * ROUNDS];
	atomic_int made[ROUNDS], deleted[ROUNDS], id[ROUNDS];
	bool seg;
};

static void meet(atomic_int *at)
{
	atomic_fetch_add(at, 1);
	while (atomic_load(at) < PLAYERS)
		sched_yield();
}

static int make(const struct race *r, const char *name)
{
	return r->seg ? seg_alloc(name, BASE, 4096, 0600) :
			vas_create(name, 0600);
}

/* Each process makes it, looks for it and deletes it. */
static void play(void *arg)
{
	struct race *r = arg;
	char name[64];
	int i, id, ret;

	for (i = 0; i < ROUNDS; i++) {
		snprintf(name, sizeof(name), "race.%d.%d", r->seg, i);
		meet(&r->arrived[2 * i]);
		id = make(r, name);
		if (id > 0) {
			atomic_store(&r->id[i], id);
			atomic_fetch_add(&r->made[i], 1);
		} else {
			check_eq(id, -EEXIST);
		}
		id = r->seg ? seg_find(name) : vas_find(name);
		check(id > 0);
		meet(&r->arrived[2 * i + 1]);
		check_eq(id, atomic_load(&r->id[i]));
		ret = r->seg ? seg_delete(id) : vas_delete(id);
		if (!ret)
			atomic_fetch_add(&r->deleted[i], 1);
		else
			check_eq(ret, -ENOENT);
		id = r->seg ? seg_find(name) : vas_find(name);
		check_eq(id, -ENOENT);
	}
}

static void race_for(bool seg)
{
	struct race *r = tcase_shared(sizeof(*r));
	pid_t pids[PLAYERS];
	int i;

	r->seg = seg;
	for (i = 0; i < PLAYERS; i++)
		pids[i] = tcase_spawn(play, r);
	for (i = 0; i < PLAYERS; i++)
		tcase_join(pids[i]);
	for (i = 0; i < ROUNDS; i++) {
		check_eq(atomic_load(&r->made[i]), 1);
		check_eq(atomic_load(&r->deleted[i]), 1);
	}
}

static void one_of_many_makes_a_name_and_one_deletes_it(void)
{
	race_for(false);
	race_for(true);
}

struct churn {
	atomic_int stop;
	atomic_long made, found, deleted;
};

/* Without order: whatever is found is or was the one object of that name. */
static void churn(void *arg)
{
	struct vas_attr attr = { .size = sizeof(attr) };
	struct churn *c = arg;
	int id, ret;

	while (!atomic_load(&c->stop)) {
		id = vas_create("race.churn", 0600);
		if (id > 0)
			atomic_fetch_add(&c->made, 1);
		else
			check_eq(id, -EEXIST);
		sched_yield();
		id = vas_find("race.churn");
		if (id < 0) {
			check_eq(id, -ENOENT);
			continue;
		}
		atomic_fetch_add(&c->found, 1);
		ret = vas_ctl(VAS_CTL_GETATTR, id, &attr);
		if (!ret)
			check(!strcmp(attr.name, "race.churn") || !attr.name[0]);
		else
			check_eq(ret, -ENOENT);
		sched_yield();
		ret = vas_delete(id);
		if (!ret)
			atomic_fetch_add(&c->deleted, 1);
		else
			check_eq(ret, -ENOENT);
	}
}

static void each_name_that_was_made_was_deleted_once(void)
{
	struct churn *c = tcase_shared(sizeof(*c));
	pid_t pids[PLAYERS];
	int i, left;

	for (i = 0; i < PLAYERS; i++)
		pids[i] = tcase_spawn(churn, c);
	usleep(500000);
	atomic_store(&c->stop, 1);
	for (i = 0; i < PLAYERS; i++)
		tcase_join(pids[i]);
	left = vas_find("race.churn");
	if (left > 0)
		check_eq(vas_delete(left), 0);
	tcase_note("made %ld found %ld deleted %ld", c->made, c->found,
		   c->deleted);
	check(c->made > 20);
	check_eq(c->made, c->deleted + (left > 0));
}

static void become(uid_t uid, gid_t gid)
{
	check_eq(setgroups(0, NULL), 0);
	check_eq(setgid(gid), 0);
	check_eq(setuid(uid), 0);
}

/* Another user, with one capability of root's. */
static void become_with(uid_t uid, int cap)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};

	check_eq(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), 0);
	become(uid, uid);
	data[0].permitted = data[0].effective = 1U << cap;
	check_eq(syscall(SYS_capset, &header, data), 0);
}

static int chmod_vas(int vid, mode_t mode)
{
	struct vas_attr attr = { .size = sizeof(attr), .valid = VAS_ATTR_MODE,
				 .mode = mode };

	return vas_ctl(VAS_CTL_SETATTR, vid, &attr);
}

static int chown_vas(int vid, uid_t uid)
{
	struct vas_attr attr = { .size = sizeof(attr), .valid = VAS_ATTR_UID,
				 .uid = uid };

	return vas_ctl(VAS_CTL_SETATTR, vid, &attr);
}

static int chgrp_vas(int vid, gid_t gid)
{
	struct vas_attr attr = { .size = sizeof(attr), .valid = VAS_ATTR_GID,
				 .gid = gid };

	return vas_ctl(VAS_CTL_SETATTR, vid, &attr);
}

static void as_owner(void *arg)
{
	int vid = *(int *)arg;

	become(USER, USER);
	check_eq(chmod_vas(vid, 0640), 0);
	check_eq(chmod_vas(vid, 0666), 0);
	check_eq(chgrp_vas(vid, USER), 0);
	check_eq(chgrp_vas(vid, OTHER), -EPERM);
	check_eq(chown_vas(vid, OTHER), -EPERM);
	check_eq(chown_vas(vid, USER), 0);
}

static void as_stranger(void *arg)
{
	int vid = *(int *)arg;

	/* the right to write is none to change or delete it */
	become(OTHER, OTHER);
	check_eq(chmod_vas(vid, 0666), -EPERM);
	check_eq(chgrp_vas(vid, OTHER), -EPERM);
	check_eq(chown_vas(vid, OTHER), -EPERM);
	check_eq(vas_delete(vid), -EPERM);
}

static void with_override(void *arg)
{
	int vid = *(int *)arg;

	become_with(OTHER, CAP_DAC_OVERRIDE);
	check_eq(chmod_vas(vid, 0666), -EPERM);
	check_eq(vas_delete(vid), -EPERM);
}

static void with_chown(void *arg)
{
	int vid = *(int *)arg;

	become_with(OTHER, CAP_CHOWN);
	check_eq(chmod_vas(vid, 0666), -EPERM);
	check_eq(vas_delete(vid), -EPERM);
	check_eq(chown_vas(vid, 4321), 0);
	check_eq(chown_vas(vid, USER), 0);
}

/* root of a namespace of its own has no rights outside */
static void in_user_namespace(void *arg)
{
	int vid = *(int *)arg, fd;

	become(OTHER, OTHER);
	check_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
	check_eq(unshare(CLONE_NEWUSER), 0);
	fd = open("/proc/self/uid_map", O_WRONLY);
	check(fd >= 0);
	check_eq(write(fd, "0 1001 1", 8), 8);
	close(fd);
	check_eq(geteuid(), 0);
	check_eq(chmod_vas(vid, 0666), -EPERM);
	check_eq(vas_delete(vid), -EPERM);
	check_eq(chown_vas(vid, 0), -EPERM);
	/* one that it has no name for */
	check_eq(chown_vas(vid, USER), -EINVAL);
	check_eq(mount("none", DIR_, "pvvas", 0, NULL), -1);
	check_eq(errno, EPERM);
}

static void with_fowner(void *arg)
{
	int vid = *(int *)arg;

	become_with(OTHER, CAP_FOWNER);
	check_eq(chmod_vas(vid, 0600), 0);
	check_eq(chown_vas(vid, OTHER), -EPERM);
	check_eq(vas_delete(vid), 0);
}

static void only_owner_and_cap_fowner_change_and_delete(void)
{
	int vid = tcase_vas(tcase_name("v"), 0600);

	check_eq(chown_vas(vid, USER), 0);
	tcase_join(tcase_spawn(as_owner, &vid));
	tcase_join(tcase_spawn(as_stranger, &vid));
	tcase_join(tcase_spawn(with_override, &vid));
	tcase_join(tcase_spawn(with_chown, &vid));
	tcase_join(tcase_spawn(in_user_namespace, &vid));
	tcase_join(tcase_spawn(with_fowner, &vid));
	check_eq(vas_delete(vid), -ENOENT);
}

struct expect {
	int vid;
	uid_t uid;
	gid_t gid;
	int attach;	/* what vas_attach() answers; 1: a handle */
	bool write;	/* may change it */
};

static void as_expected(void *arg)
{
	struct expect *e = arg;
	int ret, sid;

	become(e->uid, e->gid);
	ret = vas_attach(e->vid);
	if (e->attach < 0)
		check_eq(ret, e->attach);
	else
		check_id(ret);
	sid = check_id(seg_alloc(NULL, BASE, 4096, 0600));
	check_eq(seg_attach(e->vid, sid), e->write ? 0 : -EACCES);
}

/* The class of the caller decides, not the best of all three. */
static void owner_group_and_others_have_the_bits_of_their_class(void)
{
	struct expect list[] = {
		{ 0, USER, USER, 1, false },
		{ 0, OTHER, USER, -EACCES, false },
		{ 0, OTHER, OTHER, 1, true },
	};
	int vid = tcase_vas(tcase_name("v"), 0406);
	size_t i;

	check_eq(chown_vas(vid, USER), 0);
	check_eq(chgrp_vas(vid, USER), 0);
	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		list[i].vid = vid;
		tcase_join(tcase_spawn(as_expected, &list[i]));
	}
}

static void mounted(void)
{
	if (mount("none", DIR_, "pvvas", 0, NULL) && errno != EBUSY)
		tcase_fail(__FILE__, __LINE__, "mount: %s", strerror(errno));
}

struct stale {
	char path[300];
	atomic_int step;
};

static void keep_it_open(void *arg)
{
	struct stale *s = arg;
	int fd;

	become(USER, USER);
	fd = open(s->path, O_RDONLY);
	check(fd >= 0);
	check_eq(fchmod(fd, 0640), 0);
	atomic_store(&s->step, 1);
	while (atomic_load(&s->step) < 2)
		usleep(1000);
	/* the file's owner of old */
	check_eq(fchmod(fd, 0666), -1);
	check_eq(errno, EPERM);
}

static void an_open_file_gives_no_rights_of_a_former_owner(void)
{
	struct vas_attr attr = { .size = sizeof(attr) };
	struct stale *s = tcase_shared(sizeof(*s));
	const char *name = tcase_name("v");
	int vid = tcase_vas(name, 0600);
	pid_t pid;

	mounted();
	snprintf(s->path, sizeof(s->path), DIR_ "/vas/%s", name);
	check_eq(chown_vas(vid, USER), 0);
	pid = tcase_spawn(keep_it_open, s);
	while (!atomic_load(&s->step))
		usleep(1000);
	check_eq(chown_vas(vid, OTHER), 0);
	atomic_store(&s->step, 2);
	tcase_join(pid);
	check_eq(vas_ctl(VAS_CTL_GETATTR, vid, &attr), 0);
	check_eq(attr.uid, OTHER);
	check_eq(attr.mode, 0640);
	check_eq(umount(DIR_), 0);
}

static struct stat times(const char *name)
{
	struct stat st;
	char path[300];

	snprintf(path, sizeof(path), DIR_ "/vas/%s", name);
	check_eq(stat(path, &st), 0);
	return st;
}

static void later(void)
{
	usleep(1100000);
}

static void times_tell_of_attach_of_contents_and_of_owner(void)
{
	const char *name = tcase_name("v");
	int vid, sid, vh;
	struct stat a, b;

	mounted();
	vid = tcase_vas(name, 0600);
	sid = tcase_seg(NULL, BASE, MIB, 0600);
	a = times(name);
	check(a.st_atime >= time(NULL) - 5 && a.st_atime <= time(NULL));
	check_eq(a.st_mtime, a.st_atime);
	check_eq(a.st_ctime, a.st_atime);

	later();
	vh = check_id(vas_attach(vid));
	b = times(name);
	check(b.st_atime > a.st_atime);
	check_eq(b.st_mtime, a.st_mtime);
	check_eq(b.st_ctime, a.st_ctime);

	later();
	check_eq(seg_attach(vid, sid), 0);
	a = times(name);
	check_eq(a.st_atime, b.st_atime);
	check(a.st_mtime > b.st_mtime);
	check_eq(a.st_ctime, b.st_ctime);

	later();
	check_eq(chmod_vas(vid, 0640), 0);
	b = times(name);
	check_eq(b.st_atime, a.st_atime);
	check_eq(b.st_mtime, a.st_mtime);
	check(b.st_ctime > a.st_ctime);

	later();
	/* neither a switch nor looking at it is an attach */
	check_eq(vas_switch(vh), 0);
	BASE[0] = 1;
	check_eq(vas_switch(VAS_HOME), 0);
	check_id(vas_find(name));
	a = times(name);
	check_eq(a.st_atime, b.st_atime);
	check_eq(a.st_mtime, b.st_mtime);
	check_eq(umount(DIR_), 0);
}

static void a_name_cannot_forge_lines_of_the_list(void)
{
	static char text[1 << 16];
	int vid, n, fd;

	mounted();
	check_eq(vas_create("x\nprocess 4242 context 1", 0600), -EINVAL);
	vid = tcase_vas("x process 4242 \\012 context 1", 0600);
	check_id(vas_attach(vid));
	fd = open(DIR_ "/processes", O_RDONLY);
	check(fd >= 0);
	n = (int)read(fd, text, sizeof(text) - 1);
	check(n > 0);
	close(fd);
	check(!strstr(text, "\nprocess 4242"));
	check(strstr(text, " name x\\040process\\0404242\\040\\134012\\040context\\0401\n"));
	check_eq(umount(DIR_), 0);
}

static void take_all_places(void *arg)
{
	atomic_int *step = arg;
	size_t size;
	void *base;

	become(USER, USER);
	check_eq(pvvas_window(&base, &size), 0);
	check_id(seg_alloc(NULL, BASE, size - (VAS_WINDOW_FIRST - VAS_WINDOW_BASE), 0600));
	/* the place is his own problem */
	check_eq(seg_alloc(NULL, NULL, MIB, 0600), -ENOSPC);
	atomic_store(step, 1);
	while (atomic_load(step) < 2)
		usleep(1000);
}

static void nobody_takes_all_places_from_others(void)
{
	atomic_int *step = tcase_shared(sizeof(*step));
	pid_t pid = tcase_spawn(take_all_places, step);
	int a, b, vid = tcase_vas(NULL, 0600);

	while (!atomic_load(step))
		usleep(1000);
	a = tcase_seg(NULL, NULL, MIB, 0600);
	b = tcase_seg(NULL, NULL, MIB, 0600);
	check_eq(seg_attach(vid, a), 0);
	check_eq(seg_attach(vid, b), 0);
	atomic_store(step, 2);
	tcase_join(pid);
}

static const struct tcase cases[] = {
	CASE(one_of_many_makes_a_name_and_one_deletes_it),
	CASE(each_name_that_was_made_was_deleted_once),
	CASE(only_owner_and_cap_fowner_change_and_delete),
	CASE(owner_group_and_others_have_the_bits_of_their_class),
	CASE(an_open_file_gives_no_rights_of_a_former_owner),
	CASE(times_tell_of_attach_of_contents_and_of_owner),
	CASE(a_name_cannot_forge_lines_of_the_list),
	CASE(nobody_takes_all_places_from_others),
};

TCASE_MAIN(cases, 0)
