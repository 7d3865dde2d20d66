// SPDX-License-Identifier: GPL-2.0-only
/*
 * Segments that grow, against users that can be in the way: others attach what is theirs
 * behind them, to the VASes and to their own handles, clone them, and come and go.  What
 * has grown shows everywhere, and nothing that is attached loses its place.
 *
 * Usage: attack_resize [SEED [ROUNDS]]
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define GIB	(1UL << 30)
#define FAR	(BASE + 1500 * GIB)
#define PAGE	4096UL
#define OWNER	1001
#define NEIGHBOUR 1000
#define VIEWER	1002
#define VASES	2

static unsigned int seed = 1, rounds = 60;

struct scene {
	int vid[VASES];
	_Atomic uint64_t length, value;
	_Atomic unsigned int turn;	/* odd: these change */
	_Atomic int sid, stop;
	_Atomic long grown, refused, looks, public, private, clones;
};

static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Where tables and GiB begin. */
static uint64_t some_size(uint32_t *state)
{
	static const uint64_t near[] = { 2 * MIB, 4 * MIB, 10 * MIB, GIB, 3 * GIB,
					 511 * GIB, 513 * GIB };
	uint64_t size = near[next(state) % 7];

	return size + (next(state) % 5) * PAGE - (next(state) % 2) * 2 * MIB;
}

/* One segment after the other, which grows until it is in the way or large. */
static void grow_once(struct scene *s, uint32_t *state, uint64_t round, const int *vh)
{
	uint64_t length = (1 + next(state) % 3) * PAGE, size;
	int sid = check_id(seg_alloc(NULL, BASE, length, 0666)), i, ret;

	for (i = 0; i < VASES; i++)
		while ((ret = seg_attach(s->vid[i], sid)))
			check_eq(ret, -EEXIST);
	for (i = 0; i < 12; i++) {
		size = some_size(state);
		ret = seg_resize(sid, size);
		/* the other caller may have been there */
		check(ret == 0 || ret == -EINVAL || ret == -EEXIST);
		if (ret) {
			s->refused++;
			continue;
		}
		length = size;
		s->grown++;
		check_eq(vas_switch(vh[i % VASES]), 0);
		s->turn++;
		s->sid = sid;
		s->length = length;
		s->value = round << 8 | (uint64_t)i;
		*(volatile uint64_t *)(BASE + length - 8) = s->value;
		s->turn++;
		check_eq(vas_switch(VAS_HOME), 0);
		usleep(next(state) % 2000);
	}
	s->turn++;
	s->length = 0;
	s->turn++;
	for (i = 0; i < VASES; i++)
		check_eq(seg_detach(s->vid[i], sid), 0);
	check_eq(seg_delete(sid), 0);
}

static void grow(void *arg)
{
	struct scene *s = arg;
	uint32_t state = seed * 7 + 1;
	int vh[VASES], i;
	unsigned int n;

	tcase_become(OWNER);
	for (i = 0; i < VASES; i++)
		vh[i] = check_id(vas_attach(s->vid[i]));
	for (n = 0; n < rounds; n++)
		grow_once(s, &state, n + 1, vh);
	s->stop = 1;
}

/* A second call for the same segment, by its owner, at once. */
static void grow_too(void *arg)
{
	struct scene *s = arg;
	uint32_t state = seed * 11 + 3;
	int ret;

	tcase_become(OWNER);
	while (!s->stop) {
		ret = seg_resize(s->sid, s->length ? s->length : PAGE);
		check(ret == 0 || ret == -EINVAL || ret == -ENOENT ||
		      ret == -EEXIST);
		usleep(next(&state) % 3000);
	}
}

struct look {
	volatile uint64_t *at;
	uint64_t is;
};

static void look_at(void *arg)
{
	struct look *look = arg;

	look->is = *look->at;
}

/* A thread in a VAS sees all that there is by now, with private segments or without. */
static void view(void *arg)
{
	struct scene *s = arg;
	uint32_t state = seed * 13 + 5;
	int sid, vh, i;

	tcase_become(VIEWER);
	sid = check_id(seg_alloc(NULL, FAR, PAGE, 0600));
	while (!s->stop) {
		vh = check_id(vas_attach(s->vid[next(&state) % VASES]));
		if (next(&state) % 2)
			check_eq(seg_attach(vh, sid), 0);
		check_eq(vas_switch(vh), 0);
		for (i = 0; i < 200 && !s->stop; i++) {
			unsigned int turn = s->turn;
			uint64_t length = s->length, value = s->value;
			struct look look = { (uint64_t *)(BASE + length - 8), 0 };
			int sig;

			if (turn % 2 || !length)
				continue;
			sig = tcase_try(look_at, &look).sig;
			if (turn != s->turn)
				continue;
			if (sig || look.is != value)
				tcase_fail(__FILE__, __LINE__,
					   "signal %d, %#llx is not %#llx at %#llx", sig,
					   (unsigned long long)look.is,
					   (unsigned long long)value,
					   (unsigned long long)length);
			s->looks++;
		}
		check_eq(vas_switch(VAS_HOME), 0);
		check_eq(vas_detach(vh), 0);
	}
}

/* What is attached stays where it is. */
static void neighbour(void *arg)
{
	struct scene *s = arg;
	uint32_t state = seed * 17 + 9;
	volatile uint32_t *at;
	int vid, vh, sid, to;
	uint32_t mine;

	tcase_become(NEIGHBOUR);
	while (!s->stop) {
		vid = s->vid[next(&state) % VASES];
		at = (uint32_t *)(BASE + some_size(&state) / (2 * MIB) * (2 * MIB) +
				  2 * MIB);
		mine = next(&state);
		vh = check_id(vas_attach(vid));
		sid = check_id(seg_alloc(NULL, (void *)at, (1 + mine % 3) * MIB, 0600));
		to = mine & 4 ? vid : vh;
		if (!seg_attach(to, sid)) {
			check_eq(vas_switch(vh), 0);
			*at = mine;
			usleep(next(&state) % 1000);
			check_eq(*at, mine);
			check_eq(vas_switch(VAS_HOME), 0);
			check_eq(seg_detach(to, sid), 0);
			if (to == vid)
				s->public++;
			else
				s->private++;
		}
		check_eq(seg_delete(sid), 0);
		check_eq(vas_detach(vh), 0);
	}
}

static void clone(void *arg)
{
	struct scene *s = arg;
	uint32_t state = seed * 19 + 11;
	size_t size;
	void *base;
	int id;

	tcase_become(NEIGHBOUR);
	while (!s->stop) {
		id = next(&state) % 2 ? seg_clone(s->sid) : -ENOENT;
		if (id > 0) {
			check_eq(seg_range(id, &base, &size), 0);
			check(size && size % PAGE == 0);
			/* its size is its own */
			check_eq(seg_resize(id, size + PAGE), 0);
			check_eq(seg_delete(id), 0);
			s->clones++;
		}
		id = vas_clone(s->vid[0]);
		check(id > 0 || id == -ENOENT || id == -EACCES);
		if (id > 0)
			check_eq(vas_delete(id), 0);
		usleep(next(&state) % 2000);
	}
}

static void growth_beside_all_others_takes_no_place_and_shows(void)
{
	static void (*const others[])(void *) = { grow_too, view, view, neighbour,
						  neighbour, clone };
	struct scene *s = tcase_shared(sizeof(*s));
	pid_t pid[sizeof(others) / sizeof(others[0])];
	unsigned int i;

	for (i = 0; i < VASES; i++)
		s->vid[i] = tcase_vas(NULL, 0666);
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		pid[i] = tcase_spawn(others[i], s);
	tcase_join(tcase_spawn(grow, s));
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		tcase_join(pid[i]);
	tcase_note("%ld grown, %ld refused, %ld looks, %ld public, %ld private, %ld clones",
		   s->grown, s->refused, s->looks, s->public, s->private, s->clones);
	check(s->grown && s->looks && s->private);
}

static const struct tcase cases[] = {
	CASE_SECONDS(growth_beside_all_others_takes_no_place_and_shows, 350),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		seed = (unsigned int)strtoul(argv[1], NULL, 0);
	if (argc > 2)
		rounds = (unsigned int)strtoul(argv[2], NULL, 0);
	return tcase_main(cases, 1, 0);
}
