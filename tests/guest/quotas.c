// SPDX-License-Identifier: GPL-2.0-only
/*
 * Objects beyond the limit of a user, or of the machine, are refused to the process
 * that asks for them, and to no other one.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>
#include <sys/ioctl.h>

#include "cgroup.h"
#include "driver.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define NOBODY	1000

static void make_objects(void *arg)
{
	int ids[20], i;

	(void)arg;
	tcase_become(NOBODY);
	for (i = 0; i < 10; i++)
		ids[i] = check_id(i % 2 ? vas_create(NULL, 0600) :
				  seg_alloc(NULL, NULL, 4096, 0600));
	check_eq(vas_create(NULL, 0600), -EDQUOT);
	check_eq(seg_alloc("over.quota", NULL, 4096, 0600), -EDQUOT);
	check_eq(vas_delete(ids[1]), 0);
	ids[1] = check_id(vas_create(NULL, 0600));
	check_eq(vas_create(NULL, 0600), -EDQUOT);
}

static void a_user_has_so_many_objects(void)
{
	int vid;

	driver_with("user_objects", 10, 8192, make_objects);
	/* root was never in the way */
	vid = tcase_vas(NULL, 0600);
	check(vid > 0);
}

static void map_ids(pid_t pid, const char *file)
{
	char dir[32];

	snprintf(dir, sizeof(dir), "/proc/%d", pid);
	put_value(dir, file, "0 1000 1\n1 100000 100\n");
}

/* In a user namespace that NOBODY makes, under two of its ids. */
static void make_objects_as_many(void *arg)
{
	_Atomic int *turn = arg;
	int i;

	tcase_become(NOBODY);
	check_eq(unshare(CLONE_NEWUSER), 0);
	atomic_store(turn, 1);
	while (atomic_load(turn) < 2)
		usleep(1000);
	for (i = 0; i < 6; i++)
		check_id(vas_create(NULL, 0600));
	check_eq(setresgid(5, 5, 5), 0);
	check_eq(setresuid(5, 5, 5), 0);
	for (i = 0; i < 4; i++)
		check_id(vas_create(NULL, 0600));
	check_eq(vas_create(NULL, 0600), -EDQUOT);
}

static void make_a_namespace(void *arg)
{
	_Atomic int *turn = tcase_shared(sizeof(*turn));
	pid_t pid = tcase_spawn(make_objects_as_many, (void *)turn);

	(void)arg;
	while (atomic_load(turn) < 1)
		usleep(1000);
	map_ids(pid, "uid_map");
	map_ids(pid, "gid_map");
	atomic_store(turn, 2);
	tcase_join(pid);
}

static void a_user_namespace_gives_no_second_quota(void)
{
	driver_with("user_objects", 10, 8192, make_a_namespace);
}

static void make_attachments(void *arg)
{
	int vid, vh[5], i;

	(void)arg;
	tcase_become(NOBODY);
	vid = check_id(vas_create(NULL, 0600));
	for (i = 0; i < 5; i++)
		vh[i] = check_id(vas_attach(vid));
	check_eq(vas_attach(vid), -EDQUOT);
	check_eq(vas_detach(vh[2]), 0);
	check_id(vas_attach(vid));
}

static void a_user_has_so_many_attachments(void)
{
	driver_with("user_attachments", 5, 8192, make_attachments);
}

static void make_links(void *arg)
{
	int vid, other, vh, sid[6], i;

	(void)arg;
	tcase_become(NOBODY);
	vid = check_id(vas_create(NULL, 0600));
	other = check_id(vas_create(NULL, 0600));
	vh = check_id(vas_attach(other));
	for (i = 0; i < 6; i++)
		sid[i] = check_id(seg_alloc(NULL, BASE + i * 2 * MIB, 4096,
					    0600));
	/* in a VAS or for oneself, all count */
	for (i = 0; i < 3; i++)
		check_eq(seg_attach(vid, sid[i]), 0);
	check_eq(seg_attach(vh, sid[0]), 0);
	check_eq(seg_attach(vh, sid[1]), 0);
	check_eq(seg_attach(vid, sid[5]), -EDQUOT);
	check_eq(seg_attach(vh, sid[5]), -EDQUOT);
	check_eq(seg_detach(vid, sid[1]), 0);
	check_eq(seg_attach(vh, sid[5]), 0);
	check_eq(seg_attach(vid, sid[4]), -EDQUOT);
	check_eq(vas_detach(vh), 0);
	for (i = 3; i < 6; i++)
		check_eq(seg_attach(vid, sid[i]), 0);
	check_eq(seg_attach(vid, sid[1]), -EDQUOT);
	check_eq(vas_delete(vid), 0);
	check_eq(seg_attach(other, sid[1]), 0);
}

static void a_user_has_so_many_links(void)
{
	driver_with("user_links", 5, 65536, make_links);
}

/* Its first attach, and then it stays until it is told to go. */
static void begin_process(void *arg)
{
	_Atomic int *done = arg;
	int vid = vas_create("of.all", 0644);

	tcase_become(NOBODY);
	if (vid < 0)
		vid = vas_find("of.all");
	atomic_store(done, vas_attach(vid));
	while (atomic_load(done))
		usleep(1000);
}

static int begun(_Atomic int *done, pid_t *pid)
{
	atomic_store(done, 0);
	*pid = tcase_spawn(begin_process, (void *)done);
	while (!atomic_load(done))
		usleep(1000);
	return atomic_load(done);
}

static void end_process(_Atomic int *done, pid_t pid)
{
	atomic_store(done, 0);
	tcase_join(pid);
}

static void make_processes(void *arg)
{
	_Atomic int *done = tcase_shared(5 * sizeof(*done));
	pid_t pid[5];
	int i;

	(void)arg;
	for (i = 0; i < 3; i++)
		check_id(begun(&done[i], &pid[i]));
	check_eq(begun(&done[3], &pid[3]), -EDQUOT);
	end_process(&done[3], pid[3]);
	end_process(&done[1], pid[1]);
	check_id(begun(&done[4], &pid[4]));
	end_process(&done[0], pid[0]);
	end_process(&done[2], pid[2]);
	end_process(&done[4], pid[4]);
	check_eq(vas_delete(check_id(vas_find("of.all"))), 0);
}

static void a_user_has_so_many_processes(void)
{
	driver_with("user_processes", 3, 1024, make_processes);
}

static void fill_machine(void *arg)
{
	int vid, sid;

	(void)arg;
	check_id(vas_create(NULL, 0600));
	vid = check_id(vas_create(NULL, 0600));
	sid = check_id(seg_alloc(NULL, NULL, 4096, 0600));
	check_eq(vas_create(NULL, 0600), -ENOSPC);
	check_eq(seg_alloc(NULL, NULL, 4096, 0600), -ENOSPC);
	check_eq(vas_clone(vid), -ENOSPC);
	check_eq(seg_clone(sid), -ENOSPC);
	check_eq(seg_map2(sid, NULL), -ENOSPC);
}

static void the_machine_has_so_many_objects(void)
{
	driver_with("max_objects", 3, 65536, fill_machine);
}

static void fill_attachments(void *arg)
{
	int vid = check_id(vas_create(NULL, 0600)), vh[3], i;

	(void)arg;
	for (i = 0; i < 3; i++)
		vh[i] = check_id(vas_attach(vid));
	/* root, which no quota of a user holds back */
	check_eq(vas_attach(vid), -ENOSPC);
	check_eq(vas_detach(vh[1]), 0);
	check_id(vas_attach(vid));
}

static void the_machine_has_so_many_attachments(void)
{
	driver_with("max_attachments", 3, 65536, fill_attachments);
}

static void fill_links(void *arg)
{
	int vid = check_id(vas_create(NULL, 0600)), sid[4], i;

	(void)arg;
	for (i = 0; i < 4; i++)
		sid[i] = check_id(seg_alloc(NULL, BASE + i * 2 * MIB, 4096,
					    0600));
	for (i = 0; i < 3; i++)
		check_eq(seg_attach(vid, sid[i]), 0);
	check_eq(seg_attach(vid, sid[3]), -ENOSPC);
	check_eq(seg_detach(vid, sid[0]), 0);
	check_eq(seg_attach(vid, sid[3]), 0);
}

static void the_machine_has_so_many_links(void)
{
	driver_with("max_links", 3, 524288, fill_links);
}

static int protect(int fd, int sid, size_t offset, size_t length, int prot)
{
	struct pvvas_ioc_range range = {
		.size = sizeof(range), .seg = (unsigned int)sid,
		.offset = offset, .length = length, .arg = (unsigned int)prot,
	};

	return ioctl(fd, PVVAS_IOC_SEG_PROTECT, &range) ? -errno : 0;
}

static void make_protections(void *arg)
{
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC), sid, other, i, ret = 0;

	(void)arg;
	check(fd >= 0);
	tcase_become(NOBODY);
	sid = check_id(seg_alloc(NULL, BASE, 64 * MIB, 0600));
	other = check_id(seg_alloc(NULL, BASE, 64 * MIB, 0600));
	for (i = 0; !ret && i < 8000; i++)
		ret = protect(fd, sid, (size_t)i * 8192, 4096, PVVAS_READ);
	check_eq(ret, -EDQUOT);
	check(i > 450 && i < 550);
	check_eq(protect(fd, other, 0, 4096, PVVAS_READ), -EDQUOT);
	/* one large one in place of them all: then there is room again */
	check_eq(protect(fd, sid, 0, 64 * MIB, PVVAS_READ | PVVAS_WRITE), 0);
	for (i = 0; i < 400; i++)
		check_eq(protect(fd, sid, (size_t)i * 8192, 4096, PVVAS_READ),
			 0);
	/* the same ones again are no more than before */
	for (i = 0; i < 400; i++)
		check_eq(protect(fd, sid, (size_t)i * 8192, 4096, 0), 0);
	check_eq(seg_delete(sid), 0);
	check_eq(protect(fd, other, 0, 4096, PVVAS_READ), 0);
	close(fd);
}

static void a_user_has_so_many_protections(void)
{
	driver_with("user_protections", 1000, 262144, make_protections);
}

static const struct tcase cases[] = {
	CASE(a_user_has_so_many_objects),
	CASE(a_user_namespace_gives_no_second_quota),
	CASE(a_user_has_so_many_attachments),
	CASE(a_user_has_so_many_links),
	CASE(a_user_has_so_many_processes),
	CASE(the_machine_has_so_many_objects),
	CASE(the_machine_has_so_many_attachments),
	CASE(the_machine_has_so_many_links),
	CASE(a_user_has_so_many_protections),
};

TCASE_MAIN(cases, 0)
