// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random ioctls by a user that may do nothing special: `ioctl_fuzz [SEED [CALLS]]`.
 *
 * What belongs to root and is closed to others must be untouched afterwards, and
 * nothing may stay behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ioctl_fuzz/fill.h"
#include "tcase.h"

static unsigned long calls = 100000;
static int dev;

/* Now and then with garbage in what may be written to. */
static void scribble(uint32_t *words, size_t n)
{
	size_t i;

	for (i = 0; i < n && below(2); i++)
		words[below((uint32_t)n)] = below(2) ? below(100) :
			below(2) ? 1U << below(32) : (uint32_t)rnd();
}

static void map_lock(const struct pvvas_ioc_lock_open *open)
{
	static void *maps[NR];
	int prot = PROT_READ | (open->rights & PVVAS_WRITE ? PROT_WRITE : 0);
	uint32_t i = below(NR);

	check(prot & PROT_WRITE ||
	      mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, open->fd, 0) ==
	      MAP_FAILED);
	if (maps[i])
		munmap(maps[i], 4096);
	maps[i] = mmap(NULL, 4096, prot, MAP_SHARED, open->fd, 0);
	close(open->fd);
	if (maps[i] == MAP_FAILED)
		maps[i] = NULL;
	else if (prot & PROT_WRITE)
		scribble(maps[i], 1);
	known.lock[i] = open->lock;
}

static void map_array(void)
{
	static uint32_t *array;
	static size_t bytes;

	if (array)
		munmap(array, bytes);
	bytes = (1 + below(70)) * 4096UL;
	array = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, dev,
		     (off_t)PVVAS_HOLDS_OFFSET);
	if (array == MAP_FAILED)
		array = NULL;
	else
		scribble(array, bytes / sizeof(*array));
}

static void remember(unsigned long request, const union arg *a)
{
	if (request == PVVAS_IOC_VAS_CREATE)
		known.vas[below(NR)] = a->create.id;
	else if (request == PVVAS_IOC_SEG_CREATE)
		known.seg[below(NR)] = a->create.id;
	else if (request == PVVAS_IOC_VAS_CLONE)
		known.vas[below(NR)] = a->clone.id;
	else if (request == PVVAS_IOC_SEG_CLONE || request == PVVAS_IOC_SEG_MAP2)
		known.seg[below(NR)] = a->clone.id;
	else if (request == PVVAS_IOC_SEGS_CLONE)
		known.seg[below(NR)] = clone_rows[0].id;
	else if (request == PVVAS_IOC_VAS_ATTACH)
		known.handle[below(NR)] = a->attach.handle;
	else if (request == PVVAS_IOC_LOCK_OPEN)
		map_lock(&a->lock_open);
	else if (request == PVVAS_IOC_LOCK_THREAD)
		map_array();
}

/* Into a view and out; whatever is there, or not. */
static void wander(void)
{
	uint32_t handle = known.handle[below(NR)];

	if (handle && !vas_switch((int)handle))
		tcase_try_write(BASE + below(1 << 26));
	vas_switch(VAS_HOME);
}

/* No user may have got what root keeps to itself. */
static void nothing_gained(unsigned long request, const union arg *a)
{
	uint32_t i;

	if (request == PVVAS_IOC_VAS_ATTACH)
		check(a->attach.id != (uint32_t)secret_vas);
	if (request == PVVAS_IOC_SEG_ATTACH)
		check(a->seg_attach.seg != (uint32_t)secret_seg &&
		      a->seg_attach.target != (uint32_t)secret_vas);
	if (request == PVVAS_IOC_SEG_NEXT_DATA ||
	    request == PVVAS_IOC_SEG_PAGER || request == PVVAS_IOC_SEG_STAT)
		check(a->seg_data.seg != (uint32_t)secret_seg);
	if (request == PVVAS_IOC_LOCK_OPEN)
		check(a->lock_open.seg != (uint32_t)secret_seg);
	if (request == PVVAS_IOC_SEG_LOCK_RESET)
		check(a->id.id != (uint32_t)secret_seg &&
		      a->id.id != (uint32_t)open_seg);
	if (request == PVVAS_IOC_VAS_CLONE)
		check(a->clone.source != (uint32_t)secret_vas);
	if (request == PVVAS_IOC_SEG_CLONE || request == PVVAS_IOC_SEG_MAP2)
		check(a->clone.source != (uint32_t)secret_seg);
	if (request == PVVAS_IOC_SEG_READ)
		check(a->range.seg != (uint32_t)secret_seg);
	for (i = 0; request == PVVAS_IOC_SEGS_CLONE && i < a->segs_clone.nr; i++)
		check(clone_rows[i].source != (uint32_t)secret_seg);
	for (i = 0; request == PVVAS_IOC_PUBLISH_ALL && i < a->publish_all.nr; i++)
		check(publish_rows[i].id !=
		      (uint32_t)(publish_rows[i].kind == PVVAS_KIND_SEG ?
				 secret_seg : secret_vas));
	/* what may be read may be cloned, and not changed */
	if (request == PVVAS_IOC_SEG_MAP2 || request == PVVAS_IOC_SEG_PAGER)
		check((request == PVVAS_IOC_SEG_MAP2 ? a->clone.source :
		       a->pager.seg) != (uint32_t)open_seg);
	if (request == PVVAS_IOC_SEG_PROTECT || request == PVVAS_IOC_SEG_DIRTY ||
	    request == PVVAS_IOC_SEG_POPULATE || request == PVVAS_IOC_SEG_FILL ||
	    request == PVVAS_IOC_SEG_DISCARD || request == PVVAS_IOC_SEG_ACCESSED)
		check(a->range.seg != (uint32_t)secret_seg &&
		      a->range.seg != (uint32_t)open_seg);
	if (request == PVVAS_IOC_SEG_LIMIT || request == PVVAS_IOC_SEG_EVICT ||
	    request == PVVAS_IOC_SEG_RECLAIM_WAIT ||
	    request == PVVAS_IOC_SEG_UNTRACK)
		check(a->reclaim.seg != (uint32_t)secret_seg &&
		      a->reclaim.seg != (uint32_t)open_seg);
	if (request == PVVAS_IOC_SEG_RESIZE)
		check(a->resize.seg != (uint32_t)secret_seg &&
		      a->resize.seg != (uint32_t)open_seg);
	if (request == PVVAS_IOC_SEG_MOVE)
		check(a->move.from != (uint32_t)secret_seg &&
		      a->move.from != (uint32_t)open_seg &&
		      a->move.to != (uint32_t)secret_seg &&
		      a->move.to != (uint32_t)open_seg);
}

static void as_nobody(void *arg)
{
	unsigned long i, ok = 0;

	(void)arg;
	check_eq(setgid(NOBODY), 0);
	check_eq(setuid(NOBODY), 0);
	dev = open("/dev/pvvas", O_RDWR | O_CLOEXEC);
	check(dev >= 0);
	/* the window, by the library's own way in */
	check_id(vas_attach(check_id(vas_create(NULL, 0600))));
	for (i = 0; i < calls; i++) {
		union arg a;
		unsigned long request = fuzz_fill(&a);

		if (!ioctl(dev, request, below(64) ? &a :
			   (void *)(uintptr_t)odd_number())) {
			nothing_gained(request, &a);
			remember(request, &a);
			ok++;
		}
		if (i % 256 == 255)
			wander();
	}
	/* a fuzzer that gets nowhere tests nothing */
	check(ok > calls / 8);
	tcase_note("%lu of %lu calls succeeded", ok, calls);
}

/*
 * It stays, as files would; without a name nothing may be left when they are
 * gone (before, it may be the memory of what has one).
 */
static void delete_what_the_user_named(int kind, unsigned long request,
				       bool all)
{
	struct pvvas_ioc_attr attr = { .size = sizeof(attr), .kind = kind };
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);

	check(fd >= 0);
	for (;;) {
		struct pvvas_ioc_id id = { .size = sizeof(id) };

		attr.valid = PVVAS_ATTR_NEXT;
		if (ioctl(fd, PVVAS_IOC_GETATTR, &attr))
			break;
		if (!strcmp(attr.name, "fuzz.secret") ||
		    !strncmp(attr.name, "fuzz.open", 9))
			continue;
		if (!attr.name[0] && !all)
			continue;
		if (!attr.name[0])
			tcase_fail(__FILE__, __LINE__,
				   "%d of kind %d, with %u users, has no name",
				   attr.id, kind, attr.users);
		id.id = attr.id;
		check_eq(ioctl(fd, request, &id), 0);
	}
	close(fd);
}

static void random_calls_of_a_user_gain_nothing_and_leave_nothing(void)
{
	struct seg_attr attr = { .size = sizeof(attr) };
	struct vas_attr vattr = { .size = sizeof(vattr) };
	int vh, i;

	secret_vas = tcase_vas("fuzz.secret", 0600);
	secret_seg = tcase_seg("fuzz.secret", BASE + 512 * MIB, MIB, 0600);
	open_vas = tcase_vas("fuzz.open", 0644);
	open_seg = tcase_seg("fuzz.open.seg", BASE + 600 * MIB, MIB, 0644);
	check_eq(seg_attach(secret_vas, secret_seg), 0);
	check_eq(seg_attach(open_vas, open_seg), 0);
	tcase_join(tcase_spawn(as_nobody, NULL));
	check_eq(vas_find("fuzz.secret"), secret_vas);
	check_eq(seg_find("fuzz.secret"), secret_seg);
	check_eq(seg_ctl(secret_seg, SEG_CTL_GETATTR, &attr), 0);
	check_eq(attr.mode, 0600);
	check_eq(attr.uid, 0);
	check_eq(attr.users, 1);
	check_eq(attr.resident, 0);
	check_eq(vas_ctl(VAS_CTL_GETATTR, open_vas, &vattr), 0);
	check_eq(vattr.mode, 0644);
	check_eq(vattr.users, 0);
	for (i = 0; i < 2; i++) {
		delete_what_the_user_named(PVVAS_KIND_VAS, PVVAS_IOC_VAS_DELETE,
					   i);
		delete_what_the_user_named(PVVAS_KIND_SEG, PVVAS_IOC_SEG_DELETE,
					   i);
	}
	vh = check_id(vas_attach(secret_vas));
	check_eq(vas_detach(vh), 0);
}

int main(int argc, char **argv)
{
	static const struct tcase cases[] = {
		CASE_SECONDS(random_calls_of_a_user_gain_nothing_and_leave_nothing,
			     900),
	};

	if (argc > 1)
		fuzz_state = strtoull(argv[1], NULL, 0) * 2654435761ULL + 1;
	if (argc > 2)
		calls = strtoul(argv[2], NULL, 0);
	printf("# seed %s, %lu calls\n", argc > 1 ? argv[1] : "0", calls);
	return tcase_main(cases, 1, 0);
}
