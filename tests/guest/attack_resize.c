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
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "driver.h"
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
	_Atomic uint64_t length, value;
	_Atomic unsigned int turn;	/* odd: these change */
	_Atomic int sid, stop;
	_Atomic long grown, refused, looks, public, private, clones;
	int vid[VASES];
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

static void clone_again(void *arg)
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
						  neighbour, clone_again };
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

/* More than what may be locked here. */
static void lock_without_limit(void)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	check_eq(setrlimit(RLIMIT_MEMLOCK, &all), 0);
}

static long pages_seen(const char *from, const char *end)
{
	long seen = 0;

	for (; from < end; from += PAGE)
		seen += !tcase_try_read(from).sig;
	return seen;
}

/* Some of the memory comes, and goes again as the rest is refused. */
static void grow_beyond_the_quota(void *arg)
{
	int sid, vid, vh;

	(void)arg;
	tcase_become(OWNER);
	vid = check_id(vas_create(NULL, 0600));
	sid = check_id(tcase_seg_with(NULL, BASE, MIB, 0600, SEG_LOCK));
	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	BASE[0] = 1;
	check_eq(seg_resize(sid, 16 * MIB), -EDQUOT);
	check_eq(pages_seen(BASE + MIB, BASE + 16 * MIB), 0);
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
	check_eq(vas_delete(vid), 0);
	check_eq(seg_delete(sid), 0);
}

static void what_a_growth_that_fails_had_is_out_of_reach(void)
{
	lock_without_limit();
	driver_with("user_memory_mib", 8, 0, grow_beyond_the_quota);
}

/* A segment that grows over the end of a GiB, and what comes beside it. */
#define EDGE	(BASE + GIB)
#define LATE	4

struct edge {
	_Atomic int sid, growing, done, attached;
	int vid, late[LATE];
};

static void grow_over_the_edge(void *arg)
{
	struct edge *e = arg;

	e->growing = 1;
	seg_resize(e->sid, 128 * MIB);
	e->done = 1;
}

/* VASes get it while it grows, and the growth is killed. */
static void be_attached_beside_a_growth(struct edge *e, unsigned int delay)
{
	int sid, other, vh, i, ret;
	pid_t pid;

	e->growing = e->done = e->attached = 0;
	sid = check_id(tcase_seg_with(NULL, EDGE - 2 * MIB, 2 * MIB, 0600, SEG_LOCK));
	e->sid = sid;
	check_eq(seg_attach(e->vid, sid), 0);
	pid = tcase_spawn(grow_over_the_edge, e);
	while (!e->growing && !kill(pid, 0))
		usleep(10);
	usleep(delay);
	for (i = 0; i < LATE; i++) {
		e->late[i] = check_id(vas_create(NULL, 0600));
		check_eq(seg_attach(e->late[i], sid), 0);
		usleep(delay / 4);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (!e->done)
		e->attached++;
	ret = seg_resize(sid, 2 * MIB);
	check(ret == 0 || ret == -EINVAL);
	other = check_id(seg_alloc(NULL, EDGE, 4 * MIB, 0600));
	for (i = 0; i < LATE && !ret; i++) {
		check_eq(seg_attach(e->late[i], other), 0);
		vh = check_id(vas_attach(e->late[i]));
		check_eq(vas_switch(vh), 0);
		check_eq(EDGE[i * PAGE], 0);
		EDGE[i * PAGE] = (char)i + 1;
		check_eq(pages_seen(EDGE + 4 * MIB, EDGE + 5 * MIB), 0);
		check_eq(vas_switch(VAS_HOME), 0);
		check_eq(vas_detach(vh), 0);
	}
	check_eq(seg_detach(e->vid, sid), 0);
	for (i = 0; i < LATE; i++) {
		check_eq(seg_detach(e->late[i], sid), 0);
		vh = check_id(vas_attach(e->late[i]));
		check_eq(vas_switch(vh), 0);
		check(ret || EDGE[i * PAGE] == i + 1);
		check_eq(pages_seen(EDGE + 4 * MIB, EDGE + 5 * MIB), 0);
		check_eq(vas_switch(VAS_HOME), 0);
		check_eq(vas_detach(vh), 0);
		check_eq(vas_delete(e->late[i]), 0);
	}
	check_eq(seg_delete(sid), 0);
	check_eq(seg_delete(other), 0);
}

static void growth_that_is_killed_leaves_nothing_where_it_was(void)
{
	struct edge *e = tcase_shared(sizeof(*e));
	uint32_t state = seed * 23 + 1;
	int i, cut = 0;

	lock_without_limit();
	tcase_become(OWNER);
	e->vid = check_id(vas_create(NULL, 0600));
	for (i = 0; i < 8; i++) {
		be_attached_beside_a_growth(e, 100 + next(&state) % 30000);
		cut += e->attached;
	}
	check_eq(vas_delete(e->vid), 0);
	tcase_note("%d growths killed", cut);
	check(cut);
}

struct part {
	int whole, part;
	_Atomic int step;
};

/* With the right to a part of the memory, and to no more of it. */
static void take_more_than_the_part(void *arg)
{
	char *at = BASE + 64 * MIB;
	struct part *p = arg;
	int face, vid;

	tcase_become(NEIGHBOUR);
	face = check_id(seg_map2(p->part, at));
	p->step++;
	while (p->step != 2)
		usleep(100);
	check_eq(seg_resize(face, 2 * MIB), 0);
	check_eq(seg_resize(face, 4 * MIB), -EACCES);
	vid = check_id(vas_create(NULL, 0600));
	check_eq(seg_attach(vid, face), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check(!tcase_try_read(at).sig);
	check_eq(tcase_try_read(at + 2 * MIB).sig, SIGSEGV);
}

static void give(int sid, mode_t mode)
{
	struct seg_attr attr = { .size = sizeof(attr), .valid = VAS_ATTR_MODE, .mode = mode };

	check_eq(seg_ctl(sid, SEG_CTL_SETATTR, &attr), 0);
}

static void a_face_is_no_way_to_what_its_owner_has_no_right_to(void)
{
	struct part *p = tcase_shared(sizeof(*p));
	pid_t pid;

	/* a part alone is for all */
	p->whole = tcase_seg(NULL, BASE, 4 * MIB, 0600);
	p->part = check_id(seg_map2_range(p->whole, BASE, 2 * MIB, BASE + 32 * MIB));
	tcase_track_seg(p->part);
	give(p->part, 0666);
	p->step = 1;
	tcase_run(take_more_than_the_part, p);
	/* all of it was, and then it grows */
	p->step = 0;
	p->part = tcase_seg(NULL, BASE, 2 * MIB, 0666);
	pid = tcase_spawn(take_more_than_the_part, p);
	while (!p->step && !kill(pid, 0))
		usleep(100);
	give(p->part, 0600);
	check_eq(seg_resize(p->part, 4 * MIB), 0);
	p->step = 2;
	tcase_join(pid);
}

#define OTHERS	200

struct beside {
	_Atomic int sid, stop;
	_Atomic long clones;
	int vid;
};

static void clone_all_the_time(void *arg)
{
	struct beside *b = arg;
	int id;

	tcase_become(NEIGHBOUR);
	while (!b->stop) {
		id = seg_clone(b->sid);
		if (id == -ENOENT || id == -EINVAL)
			continue;
		check_eq(seg_delete(check_id(id)), 0);
		b->clones++;
	}
}

static void a_reader_that_clones_stops_no_growth(void)
{
	struct beside *b = tcase_shared(sizeof(*b));
	int sid, i, j;
	pid_t pid[2];

	lock_without_limit();
	for (i = 0; i < 2; i++)
		pid[i] = tcase_spawn(clone_all_the_time, b);
	for (i = 0; i < 8; i++) {
		sid = tcase_seg_with(NULL, BASE, MIB, 0644, SEG_LOCK);
		b->sid = sid;
		for (j = 1; j < 12; j++)
			check_eq(seg_resize(sid, j * 2 * MIB + PAGE), 0);
		check_eq(seg_delete(sid), 0);
	}
	b->stop = 1;
	for (i = 0; i < 2; i++)
		tcase_join(pid[i]);
	tcase_note("%ld clones", b->clones);
	check(b->clones);
}

static void grow_page_by_page(void *arg)
{
	struct beside *b = arg;
	size_t size = PAGE;

	while (!b->stop)
		check_eq(seg_resize(b->sid, size += PAGE), 0);
}

static void clone_its_vas(void *arg)
{
	struct beside *b = arg;

	tcase_become(NEIGHBOUR);
	for (;;)
		check_eq(vas_delete(check_id(vas_clone(b->vid))), 0);
}

/* With so many others that it has grown each time before they are all copied. */
static void a_clone_of_what_grows_all_the_time_is_killed(void)
{
	struct beside *b = tcase_shared(sizeof(*b));
	pid_t owner, reader;
	int i;

	b->vid = tcase_vas(NULL, 0644);
	for (i = 0; i < OTHERS; i++)
		check_eq(seg_attach(b->vid, tcase_seg(NULL, EDGE + i * 2 * MIB, PAGE,
						      0644)), 0);
	b->sid = tcase_seg(NULL, BASE, PAGE, 0644);
	check_eq(seg_attach(b->vid, b->sid), 0);
	owner = tcase_spawn(grow_page_by_page, b);
	reader = tcase_spawn(clone_its_vas, b);
	usleep(300000);
	kill(reader, SIGKILL);
	tcase_join_killed(reader, SIGKILL);
	b->stop = 1;
	tcase_join(owner);
}

static void grow_it(void *arg)
{
	struct beside *b = arg;
	int ret;

	do {
		ret = seg_resize(b->sid, 128 * MIB);
	} while (ret == -EEXIST);
	check_eq(ret, 0);
	b->stop = 1;
}

/* What hides it from a process goes, one after the other, while it grows. */
static void what_grows_shows_once_nothing_hides_it(void)
{
	struct beside *b = tcase_shared(sizeof(*b));
	int hider, behind, probe, sid, vid, vh;
	char *at = BASE + 4 * MIB;
	pid_t pid;

	lock_without_limit();
	hider = tcase_seg(NULL, BASE, 6 * MIB, 0600);
	behind = tcase_seg(NULL, BASE + 32 * MIB, MIB, 0600);
	probe = tcase_seg(NULL, BASE + 64 * MIB, MIB, 0600);
	sid = tcase_seg_with(NULL, at, MIB, 0600, SEG_LOCK);
	vid = tcase_vas(NULL, 0600);
	vh = check_id(vas_attach(vid));
	check_eq(seg_attach(vh, hider), 0);
	check_eq(seg_attach(vh, behind), 0);
	check_eq(seg_attach(vid, sid), 0);
	b->sid = sid;
	pid = tcase_spawn(grow_it, b);
	/* until its place is taken */
	while (!seg_attach(vid, probe))
		check_eq(seg_detach(vid, probe), 0);
	check_eq(seg_detach(vh, hider), 0);
	check_eq(seg_detach(vh, behind), 0);
	tcase_note(b->stop ? "it had grown" : "it grew");
	tcase_join(pid);
	check_eq(vas_switch(vh), 0);
	check(!tcase_try_read(at).sig && !tcase_try_read(at + 100 * MIB).sig);
	check_eq(vas_switch(VAS_HOME), 0);
}

static const struct tcase cases[] = {
	CASE_SECONDS(what_a_growth_that_fails_had_is_out_of_reach, 30),
	CASE_SECONDS(growth_that_is_killed_leaves_nothing_where_it_was, 60),
	CASE(a_face_is_no_way_to_what_its_owner_has_no_right_to),
	CASE_SECONDS(a_reader_that_clones_stops_no_growth, 60),
	CASE_SECONDS(what_grows_shows_once_nothing_hides_it, 30),
	CASE_SECONDS(a_clone_of_what_grows_all_the_time_is_killed, 30),
	CASE_SECONDS(growth_beside_all_others_takes_no_place_and_shows, 350),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		seed = (unsigned int)strtoul(argv[1], NULL, 0);
	if (argc > 2)
		rounds = (unsigned int)strtoul(argv[2], NULL, 0);
	return tcase_main(cases, sizeof(cases) / sizeof(cases[0]), 0);
}
