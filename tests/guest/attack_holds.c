// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a user can hold against others by way of pagers, names, and clones of one
 * moment: the kernel's wish for memory, the driver's lock, and faults of an owner.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define NOBODY	1000

struct scene {
	_Atomic int turn;
	_Atomic int stop;
	_Atomic long slowest;	/* microseconds */
	_Atomic long done;
	int sid;
};

static void await(struct scene *s, int turn)
{
	while (atomic_load(&s->turn) < turn)
		usleep(1000);
}

static int device(void)
{
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);

	check(fd >= 0);
	return fd;
}

static void note_slowest(struct scene *s, long took)
{
	if (took > atomic_load(&s->slowest))
		atomic_store(&s->slowest, took);
	atomic_fetch_add(&s->done, 1);
}

/*
 * Pagers.
 */

/* What has no memory has none to give, whatever waits for it to be wanted. */
static void wait_with_nothing(void *arg)
{
	struct scene *s = arg;
	uint64_t bytes;
	int sid;

	tcase_become(NOBODY);
	sid = check_id(seg_alloc(NULL, BASE, MIB, 0600));
	check_eq(seg_limit(sid, SEG_NO_LIMIT), 0);
	atomic_fetch_add(&s->turn, 1);
	seg_reclaim_wait(sid, &bytes, NULL);
}

static void *wait_for_pressure(void *arg)
{
	struct scene *s = arg;
	uint64_t bytes;

	return (void *)(intptr_t)seg_reclaim_wait(s->sid, &bytes, NULL);
}

static void a_pager_without_memory_is_in_no_other_pagers_way(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	pid_t liar = tcase_spawn(wait_with_nothing, s);
	pthread_t thread;
	void *ret;
	int fd, i;

	await(s, 1);
	usleep(100000);
	s->sid = tcase_seg(NULL, BASE, MIB, 0600);
	check_eq(seg_populate(s->sid, BASE, MIB), 0);
	check_eq(seg_limit(s->sid, SEG_NO_LIMIT), 0);
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	check(fd >= 0);
	check_eq(pthread_create(&thread, NULL, wait_for_pressure, s), 0);
	for (i = 0; i < 100 && pthread_tryjoin_np(thread, &ret); i++) {
		check_eq(write(fd, "2", 1), 1);
		usleep(20000);
	}
	close(fd);
	check_eq(kill(liar, SIGKILL), 0);
	tcase_join_killed(liar, SIGKILL);
	check(i < 100);
	check_eq((intptr_t)ret, 0);
}

#define WAITING	400
#define FAULTS	12

static void *wait_and_again(void *arg)
{
	struct scene *s = arg;
	uint64_t bytes;

	while (!atomic_load(&s->stop)) {
		seg_reclaim_wait(s->sid, &bytes, NULL);
		usleep(20000);
	}
	return NULL;
}

/* Very many that may write wait for the limit, and do so again. */
static void wait_in_a_crowd(void *arg)
{
	struct scene *s = arg;

	tcase_become(NOBODY);
	tcase_threads(NULL, WAITING, wait_and_again, s);
	atomic_fetch_add(&s->turn, 1);
	pause();
}

static long cpu_microseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Of one more page that is above the limit, when all have come to rest. */
static long fault_above_the_limit(struct scene *s, int i)
{
	long at;

	check_eq(seg_limit(s->sid, i * PAGE), 0);
	usleep(300000);
	at = cpu_microseconds();
	BASE[i * PAGE] = 1;
	return cpu_microseconds() - at;
}

static void a_crowd_of_pagers_makes_no_fault_slow(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	int vid = tcase_vas(NULL, 0600), i;
	long alone = 0, beside = 0;
	pid_t liar;

	s->sid = tcase_seg_with(NULL, BASE, MIB, 0666, SEG_SMALL);
	check_eq(seg_attach(vid, s->sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	BASE[0] = 1;
	for (i = 1; i <= FAULTS; i++)
		alone += fault_above_the_limit(s, i);
	check_eq(seg_limit(s->sid, SEG_NO_LIMIT), 0);
	liar = tcase_spawn(wait_in_a_crowd, s);
	await(s, 1);
	for (; i <= 2 * FAULTS; i++)
		beside += fault_above_the_limit(s, i);
	check_eq(kill(liar, SIGKILL), 0);
	tcase_join_killed(liar, SIGKILL);
	check_eq(vas_switch(VAS_HOME), 0);
	tcase_note("a fault alone takes %ld us of CPU, beside %d pagers %ld us",
		   alone / FAULTS, WAITING, beside / FAULTS);
	check(beside < 4 * alone + 1000);
}

/*
 * Names: the kernel's jhash(), if there were no secret in it.
 */

static uint32_t rol(uint32_t x, int n)
{
	return x << n | x >> (32 - n);
}

static uint32_t hash(uint32_t kind, const char *name)
{
	uint32_t length = (uint32_t)strlen(name), a, b, c, k[3];

	a = b = c = 0xdeadbeef + length + kind;
	for (;; length -= 12, name += 12) {
		memset(k, 0, sizeof(k));
		memcpy(k, name, length > 12 ? 12 : length);
		if (!length)
			return c;
		a += k[0];
		b += k[1];
		c += k[2];
		if (length <= 12)
			break;
		a -= c; a ^= rol(c, 4); c += b;
		b -= a; b ^= rol(a, 6); a += c;
		c -= b; c ^= rol(b, 8); b += a;
		a -= c; a ^= rol(c, 16); c += b;
		b -= a; b ^= rol(a, 19); a += c;
		c -= b; c ^= rol(b, 4); b += a;
	}
	c ^= b; c -= rol(b, 14);
	a ^= c; a -= rol(c, 11);
	b ^= a; b -= rol(a, 25);
	c ^= b; c -= rol(b, 16);
	a ^= c; a -= rol(c, 4);
	b ^= a; b -= rol(a, 14);
	c ^= b; c -= rol(b, 24);
	return c;
}

#define NAMES	3000

/* Three million are tried: by hand, snprintf() takes several times as long. */
static void name_number(char name[16], unsigned int number)
{
	int i;

	for (i = 0; i < 8; i++)
		name[i] = (char)('a' + (number >> 4 * i & 15));
	name[8] = 0;
}

/* All in the first of 1024 lists; the last row is wrong. */
static void publish_in_vain(void *arg)
{
	static char names[NAMES][16];
	struct pvvas_publish_row *rows = calloc(NAMES + 1, sizeof(*rows));
	struct pvvas_ioc_publish_all all = { .size = sizeof(all),
		.nr = NAMES + 1, .rows = (uintptr_t)rows };
	struct scene *s = arg;
	int fd, i, n = 0;
	unsigned int try;
	long took;

	tcase_become(NOBODY);
	fd = device();
	for (try = 0; n < NAMES; try++) {
		name_number(names[n], try);
		if (hash(PVVAS_KIND_SEG, names[n]) * 0x61C88647U >> 22 == 0)
			n++;
	}
	for (i = 0; i < NAMES; i++)
		rows[i] = (struct pvvas_publish_row){ PVVAS_KIND_SEG,
			(uint32_t)check_id(seg_alloc(NULL, BASE, PAGE, 0600)),
			(uintptr_t)names[i] };
	rows[i] = (struct pvvas_publish_row){ PVVAS_KIND_SEG, 1 << 29,
					      (uintptr_t)"last" };
	atomic_fetch_add(&s->turn, 1);
	await(s, 2);
	for (i = 0; i < 8; i++) {
		took = tcase_microseconds();
		check_eq(ioctl(fd, PVVAS_IOC_PUBLISH_ALL, &all), -1);
		check_eq(errno, ENOENT);
		took = tcase_microseconds() - took;
	}
	tcase_note("a call of the attacker's took %ld us", took);
	close(fd);
}

static void measure_find(void *arg)
{
	struct scene *s = arg;
	long at;

	tcase_pin(0);
	vas_find("nothing of this name");
	atomic_fetch_add(&s->turn, 1);
	while (!atomic_load(&s->stop)) {
		at = tcase_microseconds();
		check_eq(vas_find("nothing of this name"), -ENOENT);
		note_slowest(s, tcase_microseconds() - at);
		usleep(500);
	}
}

static void names_that_are_published_in_vain_keep_nobody_waiting(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	pid_t attacker = tcase_spawn(publish_in_vain, s), victim;

	await(s, 1);
	victim = tcase_spawn(measure_find, s);
	tcase_join(attacker);
	atomic_store(&s->stop, 1);
	tcase_join(victim);
	tcase_note("the slowest of %ld calls of another user: %ld us",
		   atomic_load(&s->done), atomic_load(&s->slowest));
	check(atomic_load(&s->slowest) < 20000);
}

/*
 * Segments that become large where they are, in VASes and beside private segments.
 */

#define WIDE	96

static size_t widest(int sid)
{
	size_t size = 1UL << 45;
	int ret;

	while ((ret = seg_resize(sid, size)) == -ERANGE)
		size /= 2;
	check_eq(ret, 0);
	return size;
}

static void grow_everywhere(void *arg)
{
	int sid, own, one, i, vh[WIDE], vids[WIDE];
	struct scene *s = arg;
	size_t size;
	long took;

	tcase_become(NOBODY);
	sid = check_id(seg_alloc(NULL, BASE, PAGE, 0600));
	for (i = 0; i < WIDE; i++) {
		vids[i] = check_id(vas_create(NULL, 0600));
		check_eq(seg_attach(vids[i], sid), 0);
	}
	atomic_fetch_add(&s->turn, 1);
	await(s, 2);
	took = tcase_microseconds();
	size = widest(sid);
	tcase_note("to %zu GiB in %d VASes: %ld us", size >> 30, WIDE,
		   tcase_microseconds() - took);
	for (i = 0; i < WIDE; i++)
		check_eq(vas_delete(vids[i]), 0);
	check_eq(seg_delete(sid), 0);
	/* and where the VAS is one, and processes have something of their own in it */
	sid = check_id(seg_alloc(NULL, BASE, PAGE, 0600));
	one = check_id(vas_create(NULL, 0600));
	for (i = 0; i < WIDE; i++) {
		vh[i] = check_id(vas_attach(one));
		own = check_id(seg_alloc(NULL, BASE + 512 * MIB, PAGE, 0600));
		check_eq(seg_attach(vh[i], own), 0);
	}
	took = tcase_microseconds();
	check_eq(seg_attach(one, sid), 0);
	tcase_note("a small one: %ld us", tcase_microseconds() - took);
	check_eq(seg_detach(one, sid), 0);
	own = check_id(seg_alloc(NULL, BASE + 1024 * MIB, size - 1024 * MIB, 0600));
	took = tcase_microseconds();
	check_eq(seg_attach(one, own), 0);
	tcase_note("a large one, beside %d private ones: %ld us", WIDE,
		   tcase_microseconds() - took);
}

static void what_is_large_in_many_places_keeps_nobody_waiting(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	pid_t attacker = tcase_spawn(grow_everywhere, s), victim;

	await(s, 1);
	victim = tcase_spawn(measure_find, s);
	tcase_join(attacker);
	atomic_store(&s->stop, 1);
	tcase_join(victim);
	tcase_note("the slowest of %ld calls of another user: %ld us",
		   atomic_load(&s->done), atomic_load(&s->slowest));
	check(atomic_load(&s->slowest) < 20000);
}

/*
 * Clones of one moment.
 */

#define CLONES	300

static void clone_one_very_often(void *arg)
{
	struct pvvas_clone_row *rows = calloc(CLONES, sizeof(*rows));
	struct pvvas_ioc_segs_clone all = { .size = sizeof(all), .nr = CLONES,
					    .rows = (uintptr_t)rows };
	struct scene *s = arg;
	int fd, i;

	tcase_become(NOBODY);
	fd = device();
	for (i = 0; i < CLONES; i++)
		rows[i].source = (uint32_t)s->sid;
	atomic_fetch_add(&s->turn, 1);
	i = ioctl(fd, PVVAS_IOC_SEGS_CLONE, &all);
	tcase_note("%d clones at once: %d, %s", CLONES, i,
		   i ? strerror(errno) : "");
	check_eq(i, -1);
	check_eq(errno, EINVAL);
	close(fd);
}

static void a_segment_is_cloned_once_at_a_moment(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	int vid = tcase_vas(NULL, 0600), i;
	pid_t attacker;
	long at;

	s->sid = tcase_seg_with(NULL, BASE, 16 * MIB, 0644, SEG_SMALL);
	check_eq(seg_populate(s->sid, BASE, 16 * MIB), 0);
	check_eq(seg_attach(vid, s->sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	attacker = tcase_spawn(clone_one_very_often, s);
	await(s, 1);
	for (i = 0; i < 4000; i++) {
		at = tcase_microseconds();
		BASE[i * PAGE]++;
		note_slowest(s, tcase_microseconds() - at);
		usleep(500);
	}
	check_eq(vas_switch(VAS_HOME), 0);
	tcase_note("the slowest of %ld writes of the owner: %ld us",
		   atomic_load(&s->done), atomic_load(&s->slowest));
	tcase_join(attacker);
}

static uint64_t faults(int sid)
{
	struct seg_stat stat = { .size = sizeof(stat) };

	check_eq(seg_ctl(sid, SEG_CTL_STAT, &stat), 0);
	return stat.faults;
}

static void clone_it(void *arg)
{
	struct scene *s = arg;

	tcase_become(NOBODY);
	check_id(seg_clone(s->sid));
}

static void a_clone_of_a_part_leaves_the_rest_as_it_is(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	int vid = tcase_vas(NULL, 0600), sid;
	uint64_t before;

	sid = tcase_seg_with(NULL, BASE, 4 * MIB, 0644, SEG_SMALL);
	s->sid = check_id(seg_map2_range(sid, BASE, 2 * MIB, BASE + 8 * MIB));
	tcase_track_seg(s->sid);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	memset(BASE, 1, 4 * MIB);
	tcase_run(clone_it, s);
	before = faults(sid);
	memset(BASE + 2 * MIB, 2, 2 * MIB);
	check_eq(faults(sid), before);
	memset(BASE, 2, 2 * MIB);
	check(faults(sid) > before);
	check_eq(vas_switch(VAS_HOME), 0);
}

/*
 * Rights.
 */

static int read_by_request(int sid, void *page)
{
	struct pvvas_ioc_range range = { .size = sizeof(range),
		.seg = (uint32_t)sid, .length = PAGE, .addr = (uintptr_t)page };
	int fd = device(), ret;

	ret = ioctl(fd, PVVAS_IOC_SEG_READ, &range) ? -errno : 0;
	close(fd);
	return ret;
}

static void try_as_a_reader(void *arg)
{
	static char page[PAGE] __attribute__((aligned(4096)));
	struct scene *s = arg;
	uint64_t bytes;
	void *pages[1];
	int own;

	tcase_become(NOBODY);
	own = check_id(seg_alloc(NULL, BASE, MIB, 0600));
	check_eq(read_by_request(s->sid, page), 0);
	check_eq(strcmp(page, "for readers"), 0);
	check_eq(seg_limit(s->sid, 1), -EACCES);
	check_eq(seg_reclaim_wait(s->sid, &bytes, NULL), -EACCES);
	check_eq(seg_evict(s->sid, pages, page, 1), -EACCES);
	check_eq(seg_accessed(s->sid, BASE, MIB, pages, 1), -EACCES);
	check_eq(seg_dirty(s->sid, BASE, MIB, pages, 1), -EACCES);
	check_eq(seg_move(s->sid, BASE, own, BASE, PAGE), -EACCES);
	check_eq(seg_move(own, BASE, s->sid, BASE, PAGE), -EACCES);
	check_eq(seg_map2_range(s->sid, BASE, MIB, NULL), -EACCES);
	atomic_store(&s->turn, 1);
	await(s, 2);
	memset(page, 0, PAGE);
	check_eq(read_by_request(s->sid, page), -EACCES);
	check_eq(page[0], 0);
	atomic_store(&s->turn, 3);
	await(s, 4);
	check_eq(read_by_request(s->sid, page), -EACCES);
	check_eq(page[0], 0);
}

static void who_may_only_read_pages_nothing_out_and_moves_nothing(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	int vid = tcase_vas(NULL, 0600);
	struct seg_attr attr = { .size = sizeof(attr) };
	pid_t reader;

	s->sid = tcase_seg(NULL, BASE, MIB, 0644);
	check_eq(seg_attach(vid, s->sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	strcpy(BASE, "for readers");
	reader = tcase_spawn(try_as_a_reader, s);
	await(s, 1);
	check_eq(seg_protect(s->sid, BASE, PAGE, PROT_NONE), 0);
	atomic_store(&s->turn, 2);
	await(s, 3);
	check_eq(seg_protect(s->sid, BASE, PAGE, PROT_READ | PROT_WRITE), 0);
	attr.valid = VAS_ATTR_MODE;
	attr.mode = 0600;
	check_eq(seg_ctl(s->sid, SEG_CTL_SETATTR, &attr), 0);
	atomic_store(&s->turn, 4);
	tcase_join(reader);
	check_eq(strcmp(BASE, "for readers"), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static const struct tcase cases[] = {
	CASE(a_pager_without_memory_is_in_no_other_pagers_way),
	CASE(a_crowd_of_pagers_makes_no_fault_slow),
	CASE(names_that_are_published_in_vain_keep_nobody_waiting),
	CASE(what_is_large_in_many_places_keeps_nobody_waiting),
	CASE(a_segment_is_cloned_once_at_a_moment),
	CASE(a_clone_of_a_part_leaves_the_rest_as_it_is),
	CASE(who_may_only_read_pages_nothing_out_and_moves_nothing),
};

TCASE_MAIN(cases, 0)
