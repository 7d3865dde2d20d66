// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a limit refuses memory, a call that wants some says so: seg_malloc() and its
 * like are no end of the program.  The kernel's log names the limit, once in a while.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#include "cgroup.h"
#include "driver.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define BLOCK	(2 * MIB)
#define NOBODY	1000

static int heap_in(const char *base, size_t size, uint32_t flags)
{
	struct seg_options options = { .size = sizeof(options), .flags = flags };
	int vid = check_id(vas_create(NULL, 0600));
	int sid = check_id(seg_alloc_with(NULL, (void *)base, size, 0600,
					  &options));

	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check_eq(seg_heap_init(sid), 0);
	return sid;
}

#define NR_SIZES	3

struct outcome {
	size_t bytes;
	int errors[NR_SIZES + 1];
};

/*
 * Blocks that are written to until there are no more: NULL, and not a signal.  Says
 * nothing, as a line of text would want memory as well, and there is none then.
 */
static void malloc_until_null(int sid, struct outcome *o)
{
	static const size_t sizes[NR_SIZES] = { 3000, 100, 16 };
	size_t i;
	char *p;

	o->bytes = 0;
	for (i = 0; i < NR_SIZES; i++) {
		errno = 0;
		while ((p = seg_malloc(sid, sizes[i])) != NULL) {
			memset(p, 1, sizes[i]);
			o->bytes += sizes[i];
		}
		o->errors[i] = errno;
	}
	errno = 0;
	p = seg_calloc(sid, 4, 16);
	o->errors[i] = p ? 0 : errno;
}

static void check_outcome(int sid, const struct outcome *o)
{
	size_t i;

	tcase_note("%zu KiB in blocks", o->bytes >> 10);
	for (i = 0; i <= NR_SIZES; i++)
		check_eq(o->errors[i], ENOMEM);
	check_eq(seg_heap_check(sid), 0);
}

/* Memory of the process's own, for when there is none but this. */
static void *set_aside(void)
{
	void *p = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	check(p != MAP_FAILED);
	return p;
}

/* A heap in 64 MiB where @least to 16 MiB can be had. */
static void fill_a_heap(size_t least)
{
	int sid = heap_in(BASE, 64 * MIB, 0);
	void *aside = set_aside();
	struct outcome o;

	malloc_until_null(sid, &o);
	check_eq(munmap(aside, BLOCK), 0);
	check_outcome(sid, &o);
	check(o.bytes >= least);
	check(o.bytes < 16 * MIB);
}

static void as_a_user(void *arg)
{
	(void)arg;
	tcase_become(NOBODY);
	fill_a_heap(3 * MIB);
}

static void as_root(void *arg)
{
	(void)arg;
	fill_a_heap(3 * MIB);
}

static void in_a_cgroup(void *arg)
{
	(void)arg;
	cgroup_enter("small");
	fill_a_heap(4 * MIB);
}

static void above_the_quota_of_a_user_malloc_is_enomem(void)
{
	int fd = driver_log_open();
	long now = tcase_microseconds();

	driver_with("user_memory_mib", 4, 0, as_a_user);
	driver_is_logged(fd, "its user has user_memory_mib", now);
}

static void above_the_machines_limit_malloc_is_enomem(void)
{
	int fd = driver_log_open();
	long now = tcase_microseconds();

	driver_with("max_memory_mib", 4, 0, as_root);
	driver_is_logged(fd, "all users have max_memory_mib", now);
}

static void above_the_limit_of_a_cgroup_malloc_is_enomem(void)
{
	int fd = driver_log_open();
	long now = tcase_microseconds();

	cgroup_make("small", "16777216");
	tcase_join(tcase_spawn(in_a_cgroup, NULL));
	cgroup_remove("small");
	driver_is_logged(fd, "the memory cgroup of the segment's maker", now);
}

/* A page in each 2 MiB takes as much for tables: these are too many first. */
static void use_tables(void *arg)
{
	size_t size = 8UL << 30, at, sparse = 64UL << 30;
	char *far = BASE + sparse;
	struct seg_options options = { .size = sizeof(options),
				       .flags = SEG_SMALL };
	int heap, vid, sid, vh;

	(void)arg;
	heap = heap_in(BASE, size, SEG_SMALL);
	check(seg_malloc(heap, 100));
	vid = check_id(vas_create(NULL, 0600));
	sid = check_id(seg_alloc_with(NULL, far, sparse, 0600, &options));
	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(seg_attach(vh, heap), 0);
	check_eq(vas_switch(vh), 0);
	for (at = 0; at < sparse; at += BLOCK)
		if (tcase_try_write(far + at).sig == SIGBUS)
			break;
	tcase_note("%zu pages in 2 MiB each", at / BLOCK);
	check(at >= 64 * BLOCK);
	check(at < sparse);
	/* its descriptor lies 8 MiB behind those that were used */
	errno = 0;
	check(!seg_malloc(heap, 256 * MIB));
	check_eq(errno, ENOMEM);
	check(seg_malloc(heap, 100));
	check_eq(seg_heap_check(heap), 0);
}

static void above_the_limit_of_tables_malloc_is_enomem(void)
{
	int fd = driver_log_open();
	long now = tcase_microseconds();

	driver_with("max_memory_mib", 4, 0, use_tables);
	driver_is_logged(fd, "tables have half of max_memory_mib", now);
}

/* A heap, when there is next to nothing left for it; that is over at once. */
static void use_all(void *arg)
{
	size_t size = (size_t)tcase_number("/proc/meminfo", "MemTotal:") << 10;
	char *all = BASE + (64UL << 30);
	int heap = heap_in(BASE, 64 * MIB, 0);
	int sid = check_id(seg_alloc(NULL, all, size & ~(BLOCK - 1), 0600)), err;
	struct outcome o;

	(void)arg;
	check(seg_malloc(heap, 3000));
	tcase_note("%zu MiB of memory", size / MIB);
	err = seg_populate(sid, all, size & ~(BLOCK - 1));
	malloc_until_null(heap, &o);
	check_eq(seg_delete(sid), 0);
	check_eq(err, -ENOMEM);
	check_outcome(heap, &o);
	check(seg_malloc(heap, 3000));
}

static void above_what_the_machine_has_malloc_is_enomem(void)
{
	long kills = tcase_number("/proc/vmstat", "oom_kill ");
	int fd = driver_log_open();
	long now = tcase_microseconds();

	driver_with("max_memory_mib", 1 << 20, 0, use_all);
	driver_is_logged(fd, "the machine has none left", now);
	check_eq(tcase_number("/proc/vmstat", "oom_kill "), kills);
}

static const struct tcase cases[] = {
	CASE(above_the_quota_of_a_user_malloc_is_enomem),
	CASE(above_the_machines_limit_malloc_is_enomem),
	CASE(above_the_limit_of_a_cgroup_malloc_is_enomem),
	CASE(above_the_limit_of_tables_malloc_is_enomem),
	CASE_SECONDS(above_what_the_machine_has_malloc_is_enomem, 120),
};

TCASE_MAIN(cases, 0)
