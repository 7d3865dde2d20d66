// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver comes and goes; the hypervisor refuses; CPUs go and come; the
 * machine wants to sleep.
 *
 * No driver may be in use while it is exchanged, so these cases do without the
 * runner of the others: each is a process, and looks for leaks itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>
#include <sys/ioctl.h>

#include "patience.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define FAR	(1UL << 40)
#define PARAM	"/sys/module/pvvas/parameters/inject"

static int unload(void)
{
	return syscall(SYS_delete_module, "pvvas", O_NONBLOCK) ? -errno : 0;
}

/* Who just ended may still hold it for a moment. */
static void unload_soon(void)
{
	int i, ret = 0;

	for (i = 0; i < 100; i++) {
		ret = unload();
		if (!ret)
			return;
		usleep(20000);
	}
	check_eq(ret, 0);
}

static int load(const char *file, const char *parameters)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), ret;

	check(fd >= 0);
	ret = syscall(SYS_finit_module, fd, parameters, 0) ? -errno : 0;
	close(fd);
	return ret;
}

static void run(void (*fn)(void *arg), void *arg)
{
	tcase_join(tcase_spawn(fn, arg));
}

static void put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		tcase_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	close(fd);
}

static int attached(void)
{
	int vid = check_id(vas_create(NULL, 0600));
	int sid = check_id(seg_alloc(NULL, BASE, MIB, 0600));

	check_eq(seg_attach(vid, sid), 0);
	return check_id(vas_attach(vid));
}

static void make_a_name(void *arg)
{
	(void)arg;
	check_id(vas_create("stays", 0600));
}

static void delete_the_name(void *arg)
{
	(void)arg;
	check_eq(vas_delete(check_id(vas_find("stays"))), 0);
}

static void sit(void *arg)
{
	atomic_int *go = arg;

	check_eq(vas_switch(attached()), 0);
	BASE[0] = 1;
	atomic_store(go, 1);
	while (atomic_load(go) == 1)
		usleep(1000);
	check_eq(BASE[0], 1);
}

static void look_at_it(void *arg)
{
	struct pvvas_stats st = { .size = sizeof(st) };

	(void)arg;
	check_eq(pvvas_stats(&st), 0);
	check_eq(st.vases + st.segs + st.attachments + st.pages, 0);
	check_eq(st.hv_ctxs + st.hv_views + st.trees + st.links, 0);
}

static void unload_is_refused_while_anything_is_in_use(void)
{
	atomic_int *go = tcase_shared(sizeof(*go));
	pid_t pid;
	int fd;

	run(make_a_name, NULL);
	check_eq(unload(), -EAGAIN);
	run(delete_the_name, NULL);

	pid = tcase_spawn(sit, go);
	while (!atomic_load(go))
		usleep(1000);
	check_eq(unload(), -EAGAIN);
	atomic_store(go, 2);
	tcase_join(pid);

	fd = open("/dev/pvvas", O_RDWR);
	check(fd >= 0);
	check_eq(unload(), -EAGAIN);
	close(fd);

	check_eq(mount("none", "/sys/fs/pvvas", "pvvas", 0, NULL), 0);
	check_eq(unload(), -EAGAIN);
	check_eq(umount("/sys/fs/pvvas"), 0);

	unload_soon();
	check_eq(load("/modules/pvvas.ko", ""), 0);
	run(look_at_it, NULL);
}

static void a_driver_comes_and_goes(void)
{
	int i;

	for (i = 0; i < 20; i++) {
		atomic_int *go = tcase_shared(sizeof(*go));
		pid_t pid = tcase_spawn(sit, go);

		while (!atomic_load(go))
			usleep(1000);
		kill(pid, SIGKILL);
		tcase_join_killed(pid, SIGKILL);
		munmap(go, sizeof(*go));
		unload_soon();
		check_eq(load("/modules/pvvas.ko", ""), 0);
	}
	run(look_at_it, NULL);
}

struct traffic {
	atomic_int visits;
	atomic_int absent;
	atomic_int hold;
	atomic_int over;
};

/* Without a driver there is no VAS; with one, it stays until we are gone. */
static void visit(void *arg)
{
	struct traffic *t = arg;
	int vid = vas_create(NULL, 0600), sid;

	if (vid < 0) {
		check_eq(vid, -ENODEV);
		atomic_fetch_add(&t->absent, 1);
		return;
	}
	sid = check_id(seg_alloc(NULL, BASE, MIB, 0600));
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	BASE[0] = 7;
	sched_yield();
	check_eq(BASE[0], 7);
	atomic_fetch_add(&t->visits, 1);
}

static void keep_visiting(void *arg)
{
	struct traffic *t = arg;

	check_eq(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
	while (!atomic_load(&t->over)) {
		if (!atomic_load(&t->hold))
			run(visit, t);
		usleep(1000);
	}
}

static void wait_for_more(atomic_int *counter)
{
	int seen = atomic_load(counter);

	while (atomic_load(counter) < seen + 3)
		usleep(1000);
}

/* What is in use stays, what is not goes, and nobody meets half a driver. */
static void a_driver_goes_and_comes_beside_processes_that_start(void)
{
	struct traffic *t = tcase_shared(sizeof(*t));
	int round, i, ret, refused = 0;
	pid_t pids[3];

	for (i = 0; i < 3; i++)
		pids[i] = tcase_spawn(keep_visiting, t);
	for (round = 0; round < 5; round++) {
		wait_for_more(&t->visits);
		ret = unload();
		for (i = 0; ret && i < 20; i++) {
			check_eq(ret, -EAGAIN);
			refused++;
			usleep(1000);
			ret = unload();
		}
		if (ret) {
			atomic_store(&t->hold, 1);
			unload_soon();
			atomic_store(&t->hold, 0);
		}
		wait_for_more(&t->absent);
		check_eq(load("/modules/pvvas.ko", ""), 0);
	}
	atomic_store(&t->over, 1);
	for (i = 0; i < 3; i++)
		tcase_join(pids[i]);
	tcase_note("%d visits, %d found no driver, %d unloads refused",
		   atomic_load(&t->visits), atomic_load(&t->absent), refused);
	check(refused > 0);
	run(look_at_it, NULL);
}

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

/* What was refused when its last user went is tried again, soon. */
static void look_soon(void *arg)
{
	struct pvvas_stats st = { .size = sizeof(st) };
	int i;

	for (i = 0; i < 500; i++) {
		check_eq(pvvas_stats(&st), 0);
		if (!(st.vases + st.segs + st.attachments + st.pages +
		      st.hv_ctxs + st.hv_views + st.trees + st.links))
			return;
		usleep(10000);
	}
	look_at_it(arg);
}

static int number_of(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	check(fd >= 0);
	check(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return atoi(text);
}

static void inject(int n, int more)
{
	char text[32];

	snprintf(text, sizeof(text), "%d", more);
	put(PARAM "_more", text);
	snprintf(text, sizeof(text), "%d", n);
	put(PARAM, text);
}

static void change_to(const char *file)
{
	unload_soon();
	check_eq(load(file, ""), 0);
}

/* With hypercalls refused from the n-th on: false if there were fewer. */
static bool refuse(int n, int more, int *died)
{
	int status, tries = more + 1, once = 0, left, more_left;
	pid_t pid;

	inject(n, more);
	pid = tcase_spawn(everything, &tries);
	check_eq(waitpid(pid, &status, 0), pid);
	left = number_of(PARAM);
	more_left = number_of(PARAM "_more");
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
	run(tidy, NULL);
	run(look_soon, NULL);
	run(everything, &once);
	run(look_soon, NULL);
	/* The first one may have been fatal. */
	return !left || more_left < more;
}

/* What is refused once works the second time, or a signal tells of it. */
static void whichever_hypercall_or_table_is_refused_nothing_leaks(void)
{
	int n, died = 0, once = 0;

	unload_soon();
	/* the first ones at load: it does not load */
	check_eq(load("/modules/pvvas-inject.ko", "inject=1"), -ENODEV);
	check_eq(load("/modules/pvvas-inject.ko", "inject=2"), -ENODEV);
	check_eq(load("/modules/pvvas-inject.ko", ""), 0);
	run(everything, &once);
	for (n = 1; n < 300; n++)
		if (!refuse(n, 0, &died))
			break;
	tcase_note("%d hypercalls and tables, %d of them fatal to the process", n - 1,
		   died);
	check(n > 30 && n < 300);
	/* the one at unload */
	inject(1, 0);
	change_to("/modules/pvvas-inject.ko");
	run(everything, &once);
	run(look_soon, NULL);
	change_to("/modules/pvvas.ko");
}

/* Also where the way back is refused. */
static void several_refusals_in_turn_leave_nothing(void)
{
	int n, died = 0;

	change_to("/modules/pvvas-inject.ko");
	for (n = 1; n < 300; n++)
		if (!refuse(n, 3, &died))
			break;
	tcase_note("from each of %d hypercalls and tables on four of them, %d times fatal",
		   n - 1, died);
	check(n > 30 && n < 300);
	change_to("/modules/pvvas.ko");
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
		check_eq(number_of(PARAM), 0);
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
		check_eq(number_of(PARAM), 0);
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
	change_to("/modules/pvvas-inject.ko");
	run(refusals, NULL);
	run(look_soon, NULL);
	change_to("/modules/pvvas.ko");
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
	check_eq(number_of(PARAM), 0);
	for (i = 0; i < 500 && views() != before; i++)
		usleep(10000);
	check_eq(views(), before);
	check_id(vas_attach(vid));
}

static void a_view_that_cannot_be_recorded_is_given_back(void)
{
	change_to("/modules/pvvas-inject.ko");
	run(attach_without_a_record, NULL);
	run(look_soon, NULL);
	change_to("/modules/pvvas.ko");
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
	put(PARAM "_atomic", "1000");
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
	put(PARAM "_atomic", "0");
	check_eq(vas_switch(VAS_HOME), 0);
}

static void two_mib_are_split_where_memory_can_be_waited_for(void)
{
	change_to("/modules/pvvas-inject.ko");
	run(split_without_atomic_memory, NULL);
	run(look_soon, NULL);
	change_to("/modules/pvvas.ko");
}

static void go_on_from(unsigned int id)
{
	char text[64];

	snprintf(text, sizeof(text), "0,%u,%u", id, id);
	put("/sys/module/pvvas/parameters/next_id", text);
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

/* It is no file of who has the id now. */
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
	change_to("/modules/pvvas-inject.ko");
	run(make_the_last_ids, NULL);
	run(hold_a_file_of_who_had_the_id, NULL);
	run(look_soon, NULL);
	change_to("/modules/pvvas.ko");
}

static void the_machine_does_not_sleep_on_a_process_with_views(void)
{
	atomic_int *go = tcase_shared(sizeof(*go));
	pid_t pid;
	int fd;

	fd = open("/sys/power/state", O_WRONLY | O_CLOEXEC);
	check(fd >= 0);
	pid = tcase_spawn(sit, go);
	while (!atomic_load(go))
		usleep(1000);
	check_eq(write(fd, "freeze", 6), -1);
	check_eq(errno, EBUSY);
	atomic_store(go, 2);
	tcase_join(pid);
	close(fd);
}

static atomic_int turning, stop;

static void *turn(void *arg)
{
	int vh = *(int *)arg;

	while (!atomic_load(&stop)) {
		check_eq(vas_switch(vh), 0);
		check_eq(BASE[0], 9);
		check_eq(vas_current(), vh);
		sched_yield();
		check_eq(vas_current(), vh);
		check_eq(vas_switch(VAS_HOME), 0);
		atomic_fetch_add(&turning, 1);
	}
	return NULL;
}

static void cpus_go_and_come_while_threads_are_in_views(void)
{
	static const char path[] = "/sys/devices/system/cpu/cpu1/online";
	pthread_t threads[4];
	int vh = attached(), i, seen;

	check_eq(vas_switch(vh), 0);
	BASE[0] = 9;
	check_eq(vas_switch(VAS_HOME), 0);
	for (i = 0; i < 4; i++)
		check_eq(pthread_create(&threads[i], NULL, turn, &vh), 0);
	for (i = 0; i < 5; i++) {
		put(path, "0");
		seen = atomic_load(&turning);
		while (atomic_load(&turning) < seen + 8)
			usleep(1000);
		put(path, "1");
		seen = atomic_load(&turning);
		while (atomic_load(&turning) < seen + 8)
			usleep(1000);
	}
	atomic_store(&stop, 1);
	for (i = 0; i < 4; i++)
		check_eq(pthread_join(threads[i], NULL), 0);
}

static const struct {
	const char *name;
	void (*run)(void);
	int cpus;
} cases[] = {
#define ONE(name, cpus)	{ #name, name, cpus }
	ONE(unload_is_refused_while_anything_is_in_use, 1),
	ONE(a_driver_comes_and_goes, 1),
	ONE(a_driver_goes_and_comes_beside_processes_that_start, 1),
	ONE(whichever_hypercall_or_table_is_refused_nothing_leaks, 1),
	ONE(several_refusals_in_turn_leave_nothing, 1),
	ONE(an_attach_or_detach_that_is_refused_changes_nothing, 1),
	ONE(a_view_that_cannot_be_recorded_is_given_back, 1),
	ONE(two_mib_are_split_where_memory_can_be_waited_for, 1),
	ONE(ids_come_round_and_miss_who_has_one, 1),
	ONE(the_machine_does_not_sleep_on_a_process_with_views, 1),
	ONE(cpus_go_and_come_while_threads_are_in_views, 2),
};

#define NR	((int)(sizeof(cases) / sizeof(cases[0])))

int main(void)
{
	int i, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%d\n", NR);
	for (i = 0; i < NR; i++) {
		int status = 1;
		pid_t pid;

		if (tcase_nr_cpus() < cases[i].cpus) {
			printf("ok %d - %s # SKIP needs more CPUs\n", i + 1,
			       cases[i].name);
			continue;
		}
		pid = fork();
		if (!pid) {
			alarm(100 * patience());
			cases[i].run();
			_exit(0);
		}
		waitpid(pid, &status, 0);
		failed += !!status;
		printf("%s %d - %s\n", status ? "not ok" : "ok", i + 1,
		       cases[i].name);
	}
	return failed ? 1 : 0;
}
