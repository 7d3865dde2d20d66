// SPDX-License-Identifier: GPL-2.0-only
/*
 * The arguments of random ioctls: ids, handles, names and flags are drawn from
 * what exists more often than not; structs are random bytes now and then.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fill.h"

uint64_t fuzz_state = 1;
int secret_vas, secret_seg, open_vas, open_seg;
struct known known;
struct pvvas_clone_row clone_rows[NR];
struct pvvas_publish_row publish_rows[NR];

uint64_t rnd(void)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 7;
	fuzz_state ^= fuzz_state << 17;
	return fuzz_state;
}

uint32_t below(uint32_t n)
{
	return (uint32_t)(rnd() >> 20) % n;
}

uint64_t odd_number(void)
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
	/* over before it begins: nothing would end it */
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
		/* over before it begins: nothing would end it */
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

static unsigned long fill_resize(union arg *a)
{
	a->resize.seg = an_id(known.seg, secret_seg, open_seg);
	a->resize.length = below(4) ? (1 + below(2048)) * 4096UL : odd_number();
	return PVVAS_IOC_SEG_RESIZE;
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
		return below(2) ? fill_move(a) : fill_resize(a);
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

unsigned long fuzz_fill(union arg *a)
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
