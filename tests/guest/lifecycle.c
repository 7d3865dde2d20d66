// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver comes and goes, CPUs go and come, the machine wants to sleep.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "driver.h"
#include "files.h"
#include "patience.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

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

static void unload_is_refused_while_anything_is_in_use(void)
{
	atomic_int *go = tcase_shared(sizeof(*go));
	pid_t pid;
	int fd;

	tcase_run(make_a_name, NULL);
	check_eq(driver_unload(), -EAGAIN);
	tcase_run(delete_the_name, NULL);

	pid = tcase_spawn(sit, go);
	while (!atomic_load(go))
		usleep(1000);
	check_eq(driver_unload(), -EAGAIN);
	atomic_store(go, 2);
	tcase_join(pid);

	fd = open("/dev/pvvas", O_RDWR);
	check(fd >= 0);
	check_eq(driver_unload(), -EAGAIN);
	close(fd);

	check_eq(mount("none", "/sys/fs/pvvas", "pvvas", 0, NULL), 0);
	check_eq(driver_unload(), -EAGAIN);
	check_eq(umount("/sys/fs/pvvas"), 0);

	driver_unload_soon();
	check_eq(driver_load("/modules/pvvas.ko", ""), 0);
	tcase_run(driver_empty, NULL);
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
		driver_unload_soon();
		check_eq(driver_load("/modules/pvvas.ko", ""), 0);
	}
	tcase_run(driver_empty, NULL);
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
			tcase_run(visit, t);
		usleep(1000);
	}
}

static void wait_for_more(atomic_int *counter)
{
	int seen = atomic_load(counter);

	while (atomic_load(counter) < seen + 3)
		usleep(1000);
}

/* What is in use stays, what is not goes, and no call meets half a driver. */
static void a_driver_goes_and_comes_beside_processes_that_start(void)
{
	struct traffic *t = tcase_shared(sizeof(*t));
	int round, i, ret, refused = 0;
	pid_t pids[3];

	for (i = 0; i < 3; i++)
		pids[i] = tcase_spawn(keep_visiting, t);
	for (round = 0; round < 5; round++) {
		wait_for_more(&t->visits);
		ret = driver_unload();
		for (i = 0; ret && i < 20; i++) {
			check_eq(ret, -EAGAIN);
			refused++;
			usleep(1000);
			ret = driver_unload();
		}
		if (ret) {
			atomic_store(&t->hold, 1);
			driver_unload_soon();
			atomic_store(&t->hold, 0);
		}
		wait_for_more(&t->absent);
		check_eq(driver_load("/modules/pvvas.ko", ""), 0);
	}
	atomic_store(&t->over, 1);
	for (i = 0; i < 3; i++)
		tcase_join(pids[i]);
	tcase_note("%d visits, %d found no driver, %d unloads refused",
		   atomic_load(&t->visits), atomic_load(&t->absent), refused);
	check(refused > 0);
	tcase_run(driver_empty, NULL);
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
		file_put(path, "0");
		seen = atomic_load(&turning);
		while (atomic_load(&turning) < seen + 8)
			usleep(1000);
		file_put(path, "1");
		seen = atomic_load(&turning);
		while (atomic_load(&turning) < seen + 8)
			usleep(1000);
	}
	atomic_store(&stop, 1);
	for (i = 0; i < 4; i++)
		check_eq(pthread_join(threads[i], NULL), 0);
}

static const struct driver_case cases[] = {
	DRIVER_CASE(unload_is_refused_while_anything_is_in_use, 1),
	DRIVER_CASE(a_driver_comes_and_goes, 1),
	DRIVER_CASE(a_driver_goes_and_comes_beside_processes_that_start, 1),
	DRIVER_CASE(the_machine_does_not_sleep_on_a_process_with_views, 1),
	DRIVER_CASE(cpus_go_and_come_while_threads_are_in_views, 2),
};

DRIVER_MAIN(cases)
