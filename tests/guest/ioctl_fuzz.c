// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random ioctls by a user who may do nothing special: `ioctl_fuzz [SEED [CALLS]]`.
 *
 * Ids, handles, names and flags are drawn from what exists more often than not;
 * structs are random bytes now and then.  What belongs to root and is closed to
 * others must be untouched afterwards, and nothing may stay behind.
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

#include <linux/pvvas.h>
#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define NOBODY	1000
#define NR	32

static uint64_t state = 1;
static unsigned long calls = 100000;
static int secret_vas, secret_seg, open_vas, open_seg;

struct known {
	uint32_t vas[NR], seg[NR], handle[NR], lock[NR];
};

static struct known known;
static int dev;

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)(rnd() >> 20) % n;
}

static uint64_t odd_number(void)
{
	static const uint64_t odd[] = {
		0, 1, 2, 4095, 4096, MIB, 2 * MIB, 1UL << 30, 1UL << 32,
		1UL << 40, 1UL << 63, ~0UL, ~0UL - 4095, PVVAS_WINDOW_VA,
		PVVAS_WINDOW_FIRST, PVVAS_WINDOW_FIRST + 4096, PVVAS_HANDLE,
	};

	if (below(8) == 0)
		return rnd();
	return odd[below(sizeof(odd) / sizeof(odd[0]))];
}

static uint32_t an_id(const uint32_t *ids, uint32_t root1, uint32_t root2)
{
	switch (below(12)) {
	case 0:
		return root1;
	case 1:
		return root2;
	case 2:
		return (uint32_t)odd_number();
	case 3:
		return known.vas[below(NR)];
	case 4:
		return known.seg[below(NR)];
	default:
		return ids[below(NR)];
	}
}

static uint64_t a_name(void)
{
	static char names[4][300];
	char *name = names[below(4)];

	switch (below(8)) {
	case 0:
		return odd_number();
	case 1:
		return (uintptr_t)"fuzz.secret";
	case 2:
		memset(name, 'x', sizeof(names[0]));
		name[below(sizeof(names[0]))] = '\0';
		return (uintptr_t)name;
	case 3:
		return (uintptr_t)(BASE + below(1 << 24));
	case 4:
		return 0;
	default:
		snprintf(name, sizeof(names[0]), "fuzz.%u", below(16));
		return (uintptr_t)name;
	}
}

union arg {
	uint32_t size;
	struct pvvas_ioc_info info;
	struct pvvas_ioc_begin begin;
	struct pvvas_ioc_create create;
	struct pvvas_ioc_name name;
	struct pvvas_ioc_id id;
	struct pvvas_ioc_attach attach;
	struct pvvas_ioc_seg_attach seg_attach;
	struct pvvas_ioc_link link;
	struct pvvas_ioc_seg_locking locking;
	struct pvvas_ioc_lock_open lock_open;
	struct pvvas_ioc_lock_thread lock_thread;
	struct pvvas_ioc_lock lock;
	struct pvvas_ioc_seg_data seg_data;
	struct pvvas_ioc_life life;
	struct pvvas_ioc_attr attr;
	struct pvvas_ioc_stats stats;
	struct pvvas_ioc_clone clone;
	struct pvvas_ioc_segs_clone segs_clone;
	struct pvvas_ioc_publish_all publish_all;
	struct pvvas_ioc_range range;
	struct pvvas_ioc_seg_pager pager;
	struct pvvas_ioc_reclaim reclaim;
	struct pvvas_ioc_evict evict;
	struct pvvas_ioc_move move;
	struct pvvas_ioc_seg_stat seg_stat;
	struct pvvas_ioc_wait wait;
	unsigned char bytes[512];
};

static uint32_t some_flags(void)
{
	return below(4) ? 0 : below(2) ? 1U << below(32) : below(16);
}

static unsigned long fill_object(union arg *a, bool seg)
{
	switch (below(4)) {
	case 0:
		a->create.name = a_name();
		a->create.mode = below(6) ? 0600 : (uint32_t)rnd() & 01777;
		a->create.flags = some_flags();
		if (seg) {
			a->create.base = below(2) ? 0 : below(2) ?
				PVVAS_WINDOW_FIRST + below(64) * 4096UL * 128 :
				odd_number();
			a->create.length = below(4) ?
				(1 + below(1024)) * 4096UL : odd_number();
			/* a whole tebibyte of memory is not what is tried here */
			if (a->create.length > 64 * MIB)
				a->create.flags &= ~(PVVAS_CREATE_POPULATE |
						     PVVAS_CREATE_LOCK);
		}
		return seg ? PVVAS_IOC_SEG_CREATE : PVVAS_IOC_VAS_CREATE;
	case 1:
		a->name.name = a_name();
		return seg ? PVVAS_IOC_SEG_FIND : PVVAS_IOC_VAS_FIND;
	case 2:
		a->name.name = a_name();
		a->name.id = seg ? an_id(known.seg, secret_seg, open_seg) :
				   an_id(known.vas, secret_vas, open_vas);
		return seg ? PVVAS_IOC_SEG_PUBLISH : PVVAS_IOC_VAS_PUBLISH;
	default:
		a->id.id = seg ? an_id(known.seg, secret_seg, open_seg) :
				 an_id(known.vas, secret_vas, open_vas);
		return seg ? PVVAS_IOC_SEG_DELETE : PVVAS_IOC_VAS_DELETE;
	}
}

static unsigned long fill_attach(union arg *a)
{
	a->attach.flags = below(16) ? 0 : some_flags();
	a->attach.id = an_id(known.vas, secret_vas, open_vas);
	a->attach.handle = an_id(known.handle, secret_vas, open_vas);
	switch (below(4)) {
	case 0:
		return PVVAS_IOC_VAS_DETACH;
	case 1:
		return PVVAS_IOC_VAS_RESIDENT;
	default:
		return PVVAS_IOC_VAS_ATTACH;
	}
}

static unsigned long fill_link(union arg *a)
{
	a->seg_attach.target = below(2) ?
		an_id(known.handle, secret_vas, open_vas) :
		an_id(known.vas, secret_vas, open_vas);
	a->seg_attach.seg = an_id(known.seg, secret_seg, open_seg);
	switch (below(4)) {
	case 0:
		a->link.prot = 0;
		return PVVAS_IOC_LINK_NEXT;
	case 1:
		return PVVAS_IOC_SEG_DETACH;
	default:
		a->seg_attach.prot = below(5);
		return PVVAS_IOC_SEG_ATTACH;
	}
}

static unsigned long fill_wait(union arg *a)
{
	a->wait.addr = below(2) ? PVVAS_WINDOW_FIRST + below(1 << 26) :
				  odd_number();
	a->wait.value = below(3);
	if (below(2))
		return PVVAS_IOC_SEG_WAKE;
	/* over before it begins: nobody would end it */
	a->wait.deadline = below(1 << 20);
	return PVVAS_IOC_SEG_WAIT;
}

/* Of a lock that this process has mapped, or of any. */
static unsigned long fill_lock(union arg *a)
{
	static const unsigned long on_number[] = {
		PVVAS_IOC_LOCK_TAKE, PVVAS_IOC_LOCK_RELEASE,
		PVVAS_IOC_LOCK_CONSISTENT,
	};

	switch (below(6)) {
	case 0:
	case 1:
		a->lock_open.handle = an_id(known.handle, secret_vas, open_vas);
		a->lock_open.seg = an_id(known.seg, secret_seg, open_seg);
		return PVVAS_IOC_LOCK_OPEN;
	case 2:
		return PVVAS_IOC_LOCK_THREAD;
	case 3:
		a->id.id = an_id(known.seg, secret_seg, open_seg);
		return PVVAS_IOC_SEG_LOCK_RESET;
	default:
		a->lock.lock = below(4) ? known.lock[below(NR)] : below(100);
		a->lock.flags = below(4);
		if (below(2))
			return on_number[below(3)];
		/* over before it begins: nobody would end it */
		a->lock.deadline = below(1 << 20);
		return PVVAS_IOC_LOCK_TAKE;
	}
}

static unsigned long fill_other(union arg *a)
{
	switch (below(8)) {
	case 6:
		a->life.alive = !below(8);
		a->life.token = below(2) ? 0 : odd_number();
		return below(2) ? PVVAS_IOC_LIFE_TOKEN : PVVAS_IOC_LIFE_ALIVE;
	case 7:
		return fill_wait(a);
	case 0:
		a->locking.seg = an_id(known.seg, secret_seg, open_seg);
		a->locking.on = below(3);
		a->locking.state = below(4) ? 0 : 1U << (28 + below(4));
		return PVVAS_IOC_SEG_LOCKING;
	case 1:
		return fill_lock(a);
	case 2:
		a->seg_data.seg = an_id(known.seg, secret_seg, open_seg);
		a->seg_data.offset = odd_number();
		return PVVAS_IOC_SEG_NEXT_DATA;
	case 3:
		a->attr.kind = below(4);
		a->attr.id = an_id(known.seg, secret_seg, secret_vas);
		a->attr.valid = below(2) ? PVVAS_ATTR_NEXT : some_flags();
		return PVVAS_IOC_GETATTR;
	case 4:
		a->attr.kind = 1 + below(2);
		a->attr.id = a->attr.kind == PVVAS_KIND_VAS ?
			an_id(known.vas, secret_vas, open_vas) :
			an_id(known.seg, secret_seg, open_seg);
		a->attr.valid = below(16);
		a->attr.expiry = below(3);
		a->attr.mode = below(2) ? 0777 : (uint32_t)rnd();
		a->attr.uid = below(2) ? NOBODY : (uint32_t)rnd();
		a->attr.gid = below(2) ? NOBODY : (uint32_t)rnd();
		return PVVAS_IOC_SETATTR;
	default:
		switch (below(8)) {
		case 0:
			return PVVAS_IOC_STATS;
		case 1:
			return PVVAS_IOC_BEGIN;
		default:
			return PVVAS_IOC_INFO;
		}
	}
}

/* Where a clone, or FILL, may take its bytes from, or DIRTY put them. */
static uint64_t a_buffer(void)
{
	static char buffer[64 * 4096];

	return below(4) ? (uintptr_t)buffer : below(2) ?
		(uintptr_t)(BASE + below(1 << 24)) : odd_number();
}

static unsigned long fill_clone(union arg *a)
{
	a->clone.name = below(3) ? 0 : a_name();
	a->clone.mode = below(6) ? 0600 : (uint32_t)rnd() & 01777;
	a->clone.flags = below(8) ? 0 : some_flags();
	switch (below(3)) {
	case 0:
		a->clone.source = an_id(known.vas, secret_vas, open_vas);
		return PVVAS_IOC_VAS_CLONE;
	case 1:
		a->clone.source = an_id(known.seg, secret_seg, open_seg);
		return PVVAS_IOC_SEG_CLONE;
	default:
		a->clone.source = an_id(known.seg, secret_seg, open_seg);
		a->clone.base = below(2) ? 0 : below(2) ?
			PVVAS_WINDOW_FIRST + below(64) * 2 * MIB : odd_number();
		if (below(2)) {
			a->clone.offset = below(4) ? below(64) * 4096UL :
				odd_number();
			a->clone.length = below(4) ? below(64) * 4096UL :
				odd_number();
		}
		return PVVAS_IOC_SEG_MAP2;
	}
}

/* Rows of the last request that had some; none, or not there, now and then. */
static struct pvvas_clone_row clone_rows[NR];
static struct pvvas_publish_row publish_rows[NR];

static unsigned long fill_segs_clone(union arg *a)
{
	unsigned int i;

	memset(clone_rows, 0, sizeof(clone_rows));
	for (i = 0; i < NR; i++)
		clone_rows[i].source = below(16) ? known.seg[below(NR)] :
				       an_id(known.seg, secret_seg, open_seg);
	if (below(16) == 0)
		clone_rows[below(NR)].id = (uint32_t)odd_number();
	a->segs_clone.nr = below(16) ? 1 + below(4) : (uint32_t)odd_number();
	a->segs_clone.rows = a->segs_clone.nr > NR || below(32) == 0 ?
			     odd_number() : (uintptr_t)clone_rows;
	return PVVAS_IOC_SEGS_CLONE;
}

static unsigned long fill_publish_all(union arg *a)
{
	unsigned int i;

	for (i = 0; i < NR; i++) {
		publish_rows[i].kind = 1 + below(below(16) ? 2 : 5);
		publish_rows[i].id = publish_rows[i].kind == PVVAS_KIND_SEG ?
			an_id(known.seg, secret_seg, open_seg) :
			an_id(known.vas, secret_vas, open_vas);
		publish_rows[i].name = a_name();
	}
	a->publish_all.nr = below(16) ? 1 + below(3) : (uint32_t)odd_number();
	a->publish_all.rows = a->publish_all.nr > NR || below(32) == 0 ?
			      odd_number() : (uintptr_t)publish_rows;
	return PVVAS_IOC_PUBLISH_ALL;
}

static unsigned long fill_range(union arg *a)
{
	static const unsigned long requests[] = {
		PVVAS_IOC_SEG_PROTECT, PVVAS_IOC_SEG_DIRTY,
		PVVAS_IOC_SEG_POPULATE, PVVAS_IOC_SEG_FILL,
		PVVAS_IOC_SEG_DISCARD, PVVAS_IOC_SEG_READ,
		PVVAS_IOC_SEG_ACCESSED,
	};
	unsigned long request = requests[below(7)];

	a->range.seg = an_id(known.seg, secret_seg, open_seg);
	a->range.offset = below(4) ? below(64) * 4096UL : odd_number();
	a->range.length = below(4) ? (1 + below(64)) * 4096UL : odd_number();
	if (request == PVVAS_IOC_SEG_PROTECT) {
		a->range.arg = below(5);
	} else if (request == PVVAS_IOC_SEG_DIRTY ||
		   request == PVVAS_IOC_SEG_ACCESSED) {
		a->range.addr = a_buffer();
		a->range.arg = below(4) ? below(512) : odd_number();
	} else if (request == PVVAS_IOC_SEG_FILL ||
		   request == PVVAS_IOC_SEG_READ) {
		a->range.addr = a_buffer();
	}
	if (below(16) == 0)
		a->range.done = odd_number();
	return request;
}

static unsigned long fill_move(union arg *a)
{
	a->move.from = an_id(known.seg, secret_seg, open_seg);
	a->move.to = an_id(known.seg, secret_seg, open_seg);
	a->move.from_offset = below(4) ? below(64) * 4096UL : odd_number();
	a->move.to_offset = below(4) ? below(64) * 4096UL : odd_number();
	a->move.length = below(4) ? (1 + below(64)) * 4096UL : odd_number();
	return PVVAS_IOC_SEG_MOVE;
}

/* A pager that waits does so until a moment that is past. */
static unsigned long fill_reclaim(union arg *a)
{
	a->reclaim.seg = an_id(known.seg, secret_seg, open_seg);
	switch (below(4)) {
	case 0:
		a->reclaim.deadline = 1 + below(1000);
		return PVVAS_IOC_SEG_RECLAIM_WAIT;
	case 1:
		a->evict.addr = a_buffer();
		a->evict.data = a_buffer();
		a->evict.room = below(4) ? below(64) : odd_number();
		return PVVAS_IOC_SEG_EVICT;
	case 2:
		a->id.id = a->reclaim.seg;
		return PVVAS_IOC_SEG_UNTRACK;
	default:
		a->reclaim.bytes = odd_number();
		return PVVAS_IOC_SEG_LIMIT;
	}
}

static unsigned long fill_self(union arg *a)
{
	if (below(4) == 0)
		return fill_move(a);
	if (below(3) == 0)
		return fill_reclaim(a);
	if (below(2)) {
		a->pager.seg = an_id(known.seg, secret_seg, open_seg);
		a->pager.on = below(3);
		return PVVAS_IOC_SEG_PAGER;
	}
	a->seg_stat.seg = an_id(known.seg, secret_seg, open_seg);
	return PVVAS_IOC_SEG_STAT;
}

static unsigned long fill(union arg *a)
{
	unsigned long request;
	unsigned int i;

	memset(a, 0, sizeof(*a));
	if (below(16) == 0) {
		for (i = 0; i < sizeof(a->bytes); i++)
			a->bytes[i] = (unsigned char)rnd();
		if (below(2))
			a->size = below(600);
		return _IOC(_IOC_READ | _IOC_WRITE, PVVAS_IOC_TYPE, below(80),
			    below(512));
	}
	switch (below(9)) {
	case 8:
		request = below(2) ? fill_segs_clone(a) : fill_publish_all(a);
		break;
	case 5:
		request = fill_clone(a);
		break;
	case 6:
		request = fill_range(a);
		break;
	case 7:
		request = fill_self(a);
		break;
	case 0:
		request = fill_object(a, false);
		break;
	case 1:
		request = fill_object(a, true);
		break;
	case 2:
		request = fill_attach(a);
		break;
	case 3:
		request = fill_link(a);
		break;
	default:
		request = fill_other(a);
		break;
	}
	a->size = below(32) ? _IOC_SIZE(request) : below(600);
	return request;
}

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

/* Nobody may have got what root keeps to itself. */
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
		unsigned long request = fill(&a);

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
		state = strtoull(argv[1], NULL, 0) * 2654435761ULL + 1;
	if (argc > 2)
		calls = strtoul(argv[2], NULL, 0);
	printf("# seed %s, %lu calls\n", argc > 1 ? argv[1] : "0", calls);
	return tcase_main(cases, 1, 0);
}
