// SPDX-License-Identifier: GPL-2.0-only
/*
 * No process waits for what others do with their own memory, however much it is.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define NOBODY	1000

struct neighbour {
	_Atomic int ready;
	_Atomic int stop;
	_Atomic long calls;
	_Atomic long slowest;	/* microseconds */
};

/* One call after the other, until it is told to stop. */
static void measure(struct neighbour *n, void (*call)(void *arg), void *arg)
{
	long at, took;

	call(arg);
	atomic_store(&n->ready, 1);
	while (!atomic_load(&n->stop)) {
		at = tcase_microseconds();
		call(arg);
		took = tcase_microseconds() - at;
		if (took > atomic_load(&n->slowest))
			atomic_store(&n->slowest, took);
		atomic_fetch_add(&n->calls, 1);
	}
}

/* How long @work takes, beside a process that runs @neighbour. */
static void beside(void (*neighbour)(void *arg), int (*work)(int sid), int sid)
{
	struct neighbour *n = tcase_shared(sizeof(*n));
	pid_t pid = tcase_spawn(neighbour, n);
	long took;

	while (!atomic_load(&n->ready))
		usleep(1000);
	usleep(10000);
	took = tcase_microseconds();
	check(work(sid) >= 0);
	took = tcase_microseconds() - took;
	atomic_store(&n->stop, 1);
	tcase_join(pid);
	tcase_note("%ld us; the neighbour's slowest of %ld calls: %ld us", took,
		   atomic_load(&n->calls), atomic_load(&n->slowest));
	check(atomic_load(&n->calls) >= 4);
	check(4 * atomic_load(&n->slowest) < took);
}

static int populated(size_t size)
{
	int sid = check_id(seg_alloc(NULL, BASE, size, 0600));

	check_eq(seg_populate(sid, BASE, size), 0);
	return sid;
}

static void find_once(void *arg)
{
	check_eq(vas_find(arg), -ENOENT);
}

static void find(void *arg)
{
	tcase_become(NOBODY);
	measure(arg, find_once, "nothing of this name");
}

static uint64_t pages(void)
{
	struct pvvas_stats stats = { .size = sizeof(stats) };

	check_eq(pvvas_stats(&stats), 0);
	return stats.pages;
}

/* To the end of its pages, whichever thread frees them. */
static int delete(int sid)
{
	uint64_t most = pages() - 128 * MIB / PAGE;
	int ret = seg_delete(sid);

	while (pages() > most)
		usleep(1000);
	return ret;
}

static void deleting_much_memory_keeps_nobody_waiting(void)
{
	beside(find, delete, populated(128 * MIB));
}

struct filler {
	int sid;
	char *base;
	size_t at;
};

static void fill_once(void *arg)
{
	struct filler *f = arg;

	check_eq(seg_populate(f->sid, f->base + f->at, PAGE), 0);
	f->at += PAGE;
}

static void fill(void *arg)
{
	struct filler f = { .at = 0 };
	size_t size;
	void *base;

	tcase_become(NOBODY);
	f.sid = check_id(seg_alloc(NULL, NULL, 1UL << 30, 0600));
	check_eq(seg_range(f.sid, &base, &size), 0);
	f.base = base;
	measure(arg, fill_once, &f);
}

static int make_a_clone(int sid)
{
	int copy = seg_clone(sid);

	if (copy > 0)
		tcase_track_seg(copy);
	return copy;
}

static void a_clone_keeps_nobody_else_from_touching_memory(void)
{
	int sid = populated(64 * MIB);

	tcase_track_seg(sid);
	beside(fill, make_a_clone, sid);
}

/* What an exit leaves may be much as well. */
static _Atomic int *go;
static pid_t who_has_much;

static void leave_much(void *arg)
{
	(void)arg;
	populated(128 * MIB);
	atomic_store(go, 1);
	while (atomic_load(go) == 1)
		usleep(1000);
}

static int end_of_who_has_much(int sid)
{
	uint64_t most = pages() - 128 * MIB / PAGE;

	(void)sid;
	atomic_store(go, 2);
	tcase_join(who_has_much);
	while (pages() > most)
		usleep(1000);
	return 0;
}

static void the_end_of_a_process_keeps_nobody_waiting(void)
{
	go = tcase_shared(sizeof(*go));
	who_has_much = tcase_spawn(leave_much, NULL);
	while (!atomic_load(go))
		usleep(1000);
	beside(find, end_of_who_has_much, 0);
}

static int begin_with;

/* A process that has never used the driver. */
static void begin_once(void *arg)
{
	int status;
	pid_t pid = fork();

	(void)arg;
	if (!pid)
		_exit(vas_attach(begin_with) < 0);
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
}

static void begin(void *arg)
{
	measure(arg, begin_once, NULL);
}

static void *keep_the_memory_busy(void *arg)
{
	atomic_store((atomic_int *)arg, 1);
	check(mmap(NULL, 128 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		   MAP_ANONYMOUS | MAP_POPULATE, -1, 0) != MAP_FAILED);
	return NULL;
}

/* The first attach of a process changes its mappings, and waits until it may. */
static int attach_when_the_memory_is_busy(int vid)
{
	atomic_int busy = 0;
	pthread_t thread;
	int vh;

	check_eq(pthread_create(&thread, NULL, keep_the_memory_busy, &busy), 0);
	while (!atomic_load(&busy))
		sched_yield();
	vh = vas_attach(vid);
	check_eq(pthread_join(thread, NULL), 0);
	return vh;
}

static void a_process_that_waits_to_begin_keeps_nobody_from_it(void)
{
	begin_with = tcase_vas(NULL, 0600);
	beside(begin, attach_when_the_memory_is_busy, begin_with);
}

static const struct tcase cases[] = {
	CASE(deleting_much_memory_keeps_nobody_waiting),
	CASE(a_clone_keeps_nobody_else_from_touching_memory),
	CASE(the_end_of_a_process_keeps_nobody_waiting),
	CASE(a_process_that_waits_to_begin_keeps_nobody_from_it),
};

TCASE_MAIN(cases, 0)
