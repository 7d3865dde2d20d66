// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hypervisor refuses, and so does the allocator: nothing leaks, and what is refused
 * once works the next time.  The cases load the driver that is built for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "driver.h"
#include "files.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define FAR	(1UL << 40)
#define PARAM	"/sys/module/pvvas/parameters/inject"

/*
 * As much of the driver as there is.  What is refused is tried again, as often
 * as @arg says at most: then it must have worked.
 */
static void everything(void *arg)
{
	struct pvvas_ioc_create full = {
		.size = sizeof(full), .mode = 0600, .length = MIB,
		.base = (uintptr_t)BASE + 64 * MIB,
		.flags = PVVAS_CREATE_POPULATE,
	};
	struct pvvas_ioc_range protect = {
		.size = sizeof(protect), .length = 4096, .arg = PVVAS_READ,
	};
	struct pvvas_ioc_range dirty = {
		.size = sizeof(dirty), .length = 4 * MIB, .arg = 16,
	};
	struct pvvas_ioc_clone clone = { .size = sizeof(clone), .mode = 0600 };
	struct pvvas_ioc_clone face = { .size = sizeof(face), .mode = 0600 };
	struct pvvas_stats st = { .size = sizeof(st) };
	int more = *(int *)arg, fds[2], vid, sid, mine, over, vh, other, fd;
	uint64_t pages[16];
	pthread_t thread;

#define STEP(expr) \
	({ \
		long ret__ = -1; \
		int tried__; \
		for (tried__ = 0; ret__ < 0 && tried__ <= more; tried__++) \
			ret__ = (expr); \
		check(ret__ >= 0); \
	})
	(void)thread;
	STEP(vid = vas_create("all", 0600));
	STEP(sid = seg_alloc("all", BASE, 4 * MIB, 0600));
	STEP(mine = seg_alloc(NULL, BASE + 8 * MIB, MIB, 0600));
	STEP(seg_attach(vid, sid));
	STEP(vh = vas_attach(vid));
	STEP(other = vas_attach(vid));
	STEP(seg_attach(vh, mine));
	STEP(vas_switch(vh));
	BASE[0] = 1;
	BASE[8 * MIB] = 2;
	STEP(vas_switch(VAS_HOME));
	STEP(vas_switch(other));
	check_eq(BASE[0], 1);
	STEP(pipe(fds));
	STEP(write(fds[1], "x", 1));
	STEP(read(fds[0], BASE + MIB, 1));
	STEP(vas_switch(VAS_HOME));
	STEP(fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC));
	/* rights that are taken away, and pages that are copied for it */
	protect.seg = (unsigned int)sid;
	STEP(ioctl(fd, PVVAS_IOC_SEG_PROTECT, &protect));
	protect.arg = PVVAS_READ | PVVAS_WRITE;
	STEP(ioctl(fd, PVVAS_IOC_SEG_PROTECT, &protect));
	dirty.seg = (unsigned int)sid;
	dirty.addr = (uintptr_t)pages;
	STEP(ioctl(fd, PVVAS_IOC_SEG_DIRTY, &dirty));
	clone.source = (unsigned int)sid;
	STEP(ioctl(fd, PVVAS_IOC_SEG_CLONE, &clone));
	face.source = (unsigned int)sid;
	STEP(ioctl(fd, PVVAS_IOC_SEG_MAP2, &face));
	STEP(seg_attach(vid, (int)face.id));
	STEP(vas_switch(vh));
	check_eq(*(char *)(uintptr_t)face.base, 1);
	BASE[0] = 1;
	BASE[0] = 3;
	check_eq(*(char *)(uintptr_t)face.base, 3);
	STEP(vas_switch(VAS_HOME));
	STEP(vas_clone(vid));
	STEP(seg_detach(vid, (int)face.id));
	STEP(seg_attach(vid, (int)face.id));
	STEP(vas_switch(other));
	check_eq(*(char *)(uintptr_t)face.base, 3);
	STEP(vas_switch(VAS_HOME));
	STEP(seg_detach(vid, (int)face.id));
	/* in the place of what only the handle shows */
	STEP(over = seg_alloc(NULL, BASE + 8 * MIB, MIB, 0600));
	STEP(seg_attach(vid, over));
	STEP(seg_detach(vh, mine));
	STEP(vas_switch(vh));
	check_eq(BASE[8 * MIB], 0);
	STEP(vas_switch(VAS_HOME));
	STEP(seg_detach(vid, over));
	STEP(seg_delete(over));
	STEP(ioctl(fd, PVVAS_IOC_SEG_CREATE, &full));
	STEP(seg_attach(vid, (int)full.id));
	STEP(vas_detach(vh));
	STEP(vas_detach(other));
	STEP(pvvas_stats(&st));
	STEP(vas_delete(vid));
	STEP(seg_delete(sid));
#undef STEP
}

static void tidy(void *arg)
{
	int id;

	(void)arg;
	id = vas_find("all");
	if (id > 0)
		check_eq(vas_delete(id), 0);
	id = seg_find("all");
	if (id > 0)
		check_eq(seg_delete(id), 0);
}

static void inject(int n, int more)
{
	char text[32];

	snprintf(text, sizeof(text), "%d", more);
	file_put(PARAM "_more", text);
	snprintf(text, sizeof(text), "%d", n);
	file_put(PARAM, text);
}

/* With hypercalls refused from the n-th on: false if there were fewer. */
static bool refuse(int n, int more, int *died)
{
	int status, tries = more + 1, once = 0, left, more_left;
	pid_t pid;

	inject(n, more);
	pid = tcase_spawn(everything, &tries);
	check_eq(waitpid(pid, &status, 0), pid);
	left = atoi(file_contents(PARAM));
	more_left = atoi(file_contents(PARAM "_more"));
	inject(0, 0);
	if (left > 1)
		return false;
	/* a signal that says that memory was not to be had */
	if (WIFSIGNALED(status)) {
		check(WTERMSIG(status) == SIGBUS || WTERMSIG(status) == SIGKILL ||
		      WTERMSIG(status) == SIGFPE || WTERMSIG(status) == SIGSEGV);
		(*died)++;
	} else if (WEXITSTATUS(status)) {
		tcase_fail(__FILE__, __LINE__, "refusing %d: wrong", n);
	}
	tcase_run(tidy, NULL);
	tcase_run(driver_empty_soon, NULL);
	tcase_run(everything, &once);
	tcase_run(driver_empty_soon, NULL);
	/* The first one may have been fatal. */
	return !left || more_left < more;
}

/* What is refused once works the second time, or a signal tells of it. */
static void whichever_hypercall_or_table_is_refused_nothing_leaks(void)
{
	int n, died = 0, once = 0;

	driver_unload_soon();
	/* the first ones at load: it does not load */
	check_eq(driver_load("/modules/pvvas-inject.ko", "inject=1"), -ENODEV);
	check_eq(driver_load("/modules/pvvas-inject.ko", "inject=2"), -ENODEV);
	check_eq(driver_load("/modules/pvvas-inject.ko", ""), 0);
	tcase_run(everything, &once);
	for (n = 1; n < 300; n++)
		if (!refuse(n, 0, &died))
			break;
	tcase_note("%d hypercalls and tables, %d of them fatal to the process", n - 1,
		   died);
	check(n > 30 && n < 300);
	/* the one at unload */
	inject(1, 0);
	driver_change_to("/modules/pvvas-inject.ko");
	tcase_run(everything, &once);
	tcase_run(driver_empty_soon, NULL);
	driver_change_to("/modules/pvvas.ko");
}

/* Also where the way back is refused. */
static void several_refusals_in_turn_leave_nothing(void)
{
	int n, died = 0;

	driver_change_to("/modules/pvvas-inject.ko");
	for (n = 1; n < 300; n++)
		if (!refuse(n, 3, &died))
			break;
	tcase_note("from each of %d hypercalls and tables on four of them, %d times fatal",
		   n - 1, died);
	check(n > 30 && n < 300);
	driver_change_to("/modules/pvvas.ko");
}

static void expect(int vh)
{
	check_eq(vas_switch(vh), 0);
	check_eq(BASE[0], 5);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void refusals(void *arg)
{
	int vid = check_id(vas_create(NULL, 0600)), i, sid, own, far, vhs[2];

	(void)arg;
	sid = check_id(seg_alloc(NULL, BASE, MIB, 0600));
	own = check_id(seg_alloc(NULL, BASE + 8 * MIB, MIB, 0600));
	check_eq(seg_attach(vid, sid), 0);
	for (i = 0; i < 2; i++)
		vhs[i] = check_id(vas_attach(vid));
	check_eq(seg_attach(vhs[0], own), 0);
	check_eq(vas_switch(vhs[0]), 0);
	BASE[0] = 5;
	BASE[8 * MIB] = 6;
	check_eq(vas_switch(VAS_HOME), 0);
	expect(vhs[1]);

	/* the first view that goes is kept for the next attach */
	check_eq(vas_detach(check_id(vas_attach(vid))), 0);
	/* an attachment: its slot, its view */
	for (i = 1; i <= 2; i++) {
		inject(i, 0);
		check_eq(vas_detach(vhs[1]), -ENOMEM);
		check_eq(atoi(file_contents(PARAM)), 0);
		expect(vhs[0]);
		expect(vhs[1]);
	}
	check_eq(vas_detach(vhs[1]), 0);
	check_eq(vas_switch(vhs[1]), -EINVAL);
	check_eq(seg_detach(vhs[0], own), 0);
	check_eq(seg_detach(vhs[0], own), -ENOENT);

	/* on the way in: tables of the VAS, of a handle with its own; or none */
	vhs[1] = check_id(vas_attach(vid));
	check_eq(seg_attach(vhs[1], own), 0);
	far = check_id(seg_alloc(NULL, BASE + FAR, MIB, 0600));
	for (i = 1; i <= 2; i++) {
		inject(i, 0);
		check_eq(seg_attach(vid, far), -ENOMEM);
		check_eq(atoi(file_contents(PARAM)), 0);
		expect(vhs[0]);
		expect(vhs[1]);
	}
	check_eq(seg_attach(vid, far), 0);
	for (i = 0; i < 2; i++) {
		check_eq(vas_switch(vhs[i]), 0);
		BASE[FAR] = 7;
		check_eq(vas_switch(VAS_HOME), 0);
	}
	check_eq(seg_detach(vid, far), 0);
	check_eq(seg_detach(vid, far), -ENOENT);
	expect(vhs[0]);
	expect(vhs[1]);
}

static void an_attach_or_detach_that_is_refused_changes_nothing(void)
{
	driver_change_to("/modules/pvvas-inject.ko");
	tcase_run(refusals, NULL);
	tcase_run(driver_empty_soon, NULL);
	driver_change_to("/modules/pvvas.ko");
}

static uint64_t views(void)
{
	struct pvvas_stats st = { .size = sizeof(st) };

	check_eq(pvvas_stats(&st), 0);
	return st.hv_views;
}

/* Three tables and a hypercall, then the record; nor is the view taken back. */
static void attach_without_a_record(void *arg)
{
	int vid = check_id(vas_create(NULL, 0600)), i;
	uint64_t before;

	(void)arg;
	check_id(vas_attach(vid));
	before = views();
	inject(5, 1);
	check_eq(vas_attach(vid), -ENOMEM);
	check_eq(atoi(file_contents(PARAM)), 0);
	for (i = 0; i < 500 && views() != before; i++)
		usleep(10000);
	check_eq(views(), before);
	check_id(vas_attach(vid));
}

static void a_view_that_cannot_be_recorded_is_given_back(void)
{
	driver_change_to("/modules/pvvas-inject.ko");
	tcase_run(attach_without_a_record, NULL);
	tcase_run(driver_empty_soon, NULL);
	driver_change_to("/modules/pvvas.ko");
}

/* Which hypercall makes the view: only then the error is that of too many. */
static void attach_beyond_the_last_view(void *arg)
{
	int vid = check_id(vas_create(NULL, 0600)), n, ret = 0, vh;

	(void)arg;
	file_put(PARAM "_view_error", "28");	/* ENOSPC */
	for (n = 1; n <= 10 && ret != -ENOSPC; n++) {
		/* Again, after spare views have gone. */
		inject(n, 1);
		ret = vas_attach(vid);
		inject(0, 0);
	}
	check_eq(ret, -ENOSPC);
	vh = check_id(vas_attach(vid));
	check_eq(vas_detach(vh), 0);
}

static void without_a_view_the_log_says_so_once_in_a_while(void)
{
	long now = tcase_microseconds();
	int fd, i;

	driver_change_to("/modules/pvvas-inject.ko");
	fd = driver_log_open();
	for (i = 0; i < 5; i++)
		tcase_run(attach_beyond_the_last_view, NULL);
	driver_is_logged(fd, "the hypervisor has no more views", now);
	tcase_run(driver_empty_soon, NULL);
	driver_change_to("/modules/pvvas.ko");
}

static int huge(void *base)
{
	struct pvvas_ioc_create arg = {
		.size = sizeof(arg), .mode = 0600, .base = (uintptr_t)base,
		.length = 2 * MIB, .flags = PVVAS_CREATE_HUGE,
	};
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);

	check(fd >= 0);
	check_eq(ioctl(fd, PVVAS_IOC_SEG_CREATE, &arg), 0);
	close(fd);
	return arg.id;
}

/* After a clone, and where the GiB has another segment: tables of small pages. */
static void split_without_atomic_memory(void *arg)
{
	int vids[2], vhs[2], sid = huge(BASE), other, i;

	(void)arg;
	other = check_id(seg_alloc(NULL, BASE + 512 * MIB, MIB, 0600));
	for (i = 0; i < 2; i++)
		vids[i] = check_id(vas_create(NULL, 0600));
	check_eq(seg_attach(vids[1], other), 0);
	for (i = 0; i < 2; i++) {
		check_eq(seg_attach(vids[i], sid), 0);
		vhs[i] = check_id(vas_attach(vids[i]));
	}
	check_eq(vas_switch(vhs[0]), 0);
	BASE[0] = 5;
	file_put(PARAM "_atomic", "1000");
	check_eq(vas_switch(vhs[1]), 0);
	check_eq(BASE[0], 5);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_delete(sid), 0);
	sid = huge(BASE + 4 * MIB);
	check_eq(seg_attach(vids[0], sid), 0);
	check_eq(vas_switch(vhs[0]), 0);
	BASE[4 * MIB] = 6;
	check_id(seg_clone(sid));
	BASE[4 * MIB] = 7;
	file_put(PARAM "_atomic", "0");
	check_eq(vas_switch(VAS_HOME), 0);
}

static void two_mib_are_split_where_memory_can_be_waited_for(void)
{
	driver_change_to("/modules/pvvas-inject.ko");
	tcase_run(split_without_atomic_memory, NULL);
	tcase_run(driver_empty_soon, NULL);
	driver_change_to("/modules/pvvas.ko");
}

static void go_on_from(unsigned int id)
{
	char text[64];

	snprintf(text, sizeof(text), "0,%u,%u", id, id);
	file_put("/sys/module/pvvas/parameters/next_id", text);
}

static void make_the_last_ids(void *arg)
{
	int last = PVVAS_HANDLE - 1, sid, vid;

	(void)arg;
	go_on_from(PVVAS_HANDLE - 2);
	check_eq(vas_create(NULL, 0600), last - 1);
	vid = vas_create("stays", 0600);
	check_eq(vid, last);
	check_eq(vas_create(NULL, 0600), 1);
	check_eq(vas_attach(vid) & PVVAS_HANDLE, PVVAS_HANDLE);
	check_eq(seg_alloc(NULL, NULL, MIB, 0600), last - 1);
	sid = check_id(seg_alloc(NULL, NULL, MIB, 0600));
	check_eq(seg_delete(sid), 0);
	check_eq(seg_attach(vid, sid), -ENOENT);
	/* round once more: what lives keeps its id */
	go_on_from(PVVAS_HANDLE - 2);
	check_eq(vas_create(NULL, 0600), 2);
	check_eq(seg_alloc(NULL, NULL, MIB, 0600), sid);
	check_eq(seg_alloc(NULL, NULL, MIB, 0600), 1);
	check_eq(vas_find("stays"), vid);
	check_eq(vas_delete(vid), 0);
}

/* It is no file of the process that has the id now. */
static void hold_a_file_of_who_had_the_id(void *arg)
{
	struct vas_attr attr = { .size = sizeof(attr) };
	int vid, fd;
	char text[8];

	(void)arg;
	check_eq(mount("none", "/sys/fs/pvvas", "pvvas", 0, NULL), 0);
	go_on_from(77);
	vid = check_id(vas_create("stays", 0600));
	fd = open("/sys/fs/pvvas/vas/stays", O_RDONLY | O_CLOEXEC);
	check(fd >= 0);
	check_eq(vas_delete(vid), 0);
	go_on_from(77);
	check_eq(vas_create(NULL, 0600), vid);
	check_eq(fchmod(fd, 0666), -1);
	check_eq(errno, ENOENT);
	check_eq(read(fd, text, sizeof(text)), -1);
	check_eq(vas_ctl(VAS_CTL_GETATTR, vid, &attr), 0);
	check_eq(attr.mode, 0600);
	close(fd);
	check_eq(umount2("/sys/fs/pvvas", MNT_DETACH), 0);
}

static void ids_come_round_and_miss_who_has_one(void)
{
	driver_change_to("/modules/pvvas-inject.ko");
	tcase_run(make_the_last_ids, NULL);
	tcase_run(hold_a_file_of_who_had_the_id, NULL);
	tcase_run(driver_empty_soon, NULL);
	driver_change_to("/modules/pvvas.ko");
}

/* No VM here has memory beyond 2^48, but each beyond 2^26, and none beyond 2^46. */
static void memory_that_views_do_not_reach_refuses_the_driver(void)
{
	driver_unload_soon();
	check_eq(driver_load("/modules/pvvas-inject.ko", "inject_view_bits=26"),
		 -ENODEV);
	check_eq(driver_load("/modules/pvvas-inject.ko", "inject_view_bits=46"),
		 0);
	driver_change_to("/modules/pvvas.ko");
}

/*
 * A segment with a word in each sixteenth page, beside one of 2 MiB pages: pages that
 * move are in one of two places, whatever is refused meanwhile.
 */
#define MOVED	(6 * MIB)
#define EACH	(16 * 4096UL)

static void check_moved(int err)
{
	unsigned long at, here, there;

	for (at = 0; at < MOVED; at += EACH) {
		here = *(volatile unsigned long *)(BASE + at);
		there = *(volatile unsigned long *)(BASE + 8 * MIB + at);
		check_eq(here + there, at + 1);
		check(!here || !there);
		check(err || there);
	}
}

static void move_while_refused(void *arg)
{
	const struct seg_options huge = { .size = sizeof(huge), .flags = SEG_HUGE };
	int *fewer = arg, n = abs(*fewer), more = *fewer < 0 ? 2 : 0, vid, vh, err;
	int from, to, copy;
	unsigned long at;

	vid = check_id(vas_create("all", 0600));
	from = check_id(seg_alloc_with("all", BASE, MOVED, 0600, &huge));
	to = check_id(seg_alloc(NULL, BASE + 8 * MIB, MOVED, 0600));
	check_eq(seg_attach(vid, from), 0);
	check_eq(seg_attach(vid, to), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	for (at = 0; at < MOVED; at += EACH)
		*(volatile unsigned long *)(BASE + at) = at + 1;
	copy = check_id(seg_clone(from));
	inject(n, more);
	err = seg_move(from, BASE, to, BASE + 8 * MIB, MOVED);
	*fewer = atoi(file_contents(PARAM)) > 1;
	inject(0, 0);
	check_moved(err);
	check_eq(seg_move(from, BASE, to, BASE + 8 * MIB, 2 * MIB), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_delete(copy), 0);
	check_eq(vas_detach(vh), 0);
	check_eq(vas_delete(vid), 0);
	check_eq(seg_delete(from), 0);
	check_eq(seg_delete(to), 0);
}

static void a_move_that_is_refused_loses_no_page(void)
{
	int *fewer = tcase_shared(sizeof(*fewer)), n, sign;

	driver_change_to("/modules/pvvas-inject.ko");
	for (sign = 1; sign >= -1; sign -= 2) {
		for (n = 1; n < 100; n++) {
			*fewer = sign * n;
			tcase_run(move_while_refused, fewer);
			tcase_run(driver_empty_soon, NULL);
			if (*fewer)
				break;
		}
		tcase_note("%d hypercalls and tables of a move", n - 1);
		check(n > 1 && n < 100);
	}
	driver_change_to("/modules/pvvas.ko");
}

static const struct driver_case cases[] = {
	DRIVER_CASE(whichever_hypercall_or_table_is_refused_nothing_leaks, 1),
	DRIVER_CASE(several_refusals_in_turn_leave_nothing, 1),
	DRIVER_CASE(an_attach_or_detach_that_is_refused_changes_nothing, 1),
	DRIVER_CASE(a_view_that_cannot_be_recorded_is_given_back, 1),
	DRIVER_CASE(without_a_view_the_log_says_so_once_in_a_while, 1),
	DRIVER_CASE(two_mib_are_split_where_memory_can_be_waited_for, 1),
	DRIVER_CASE(a_move_that_is_refused_loses_no_page, 1),
	DRIVER_CASE(ids_come_round_and_miss_who_has_one, 1),
	DRIVER_CASE(memory_that_views_do_not_reach_refuses_the_driver, 1),
};

DRIVER_MAIN(cases)
