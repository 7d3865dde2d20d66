// SPDX-License-Identifier: GPL-2.0-only
/*
 * A reader's stale translations: another user reads what it was given, without a
 * pause, while the owner takes it away in each way that there is and then writes
 * secrets where it was.  No secret is ever read.
 *
 * Usage: attack_stale [SEED [ROUNDS]]
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define GIB	(1UL << 30)
#define PAGE	4096UL
#define NOBODY	1000
#define SIZE	(2 * MIB)
#define PAGES	(SIZE / PAGE)
#define FACE	(BASE + GIB)
#define BESIDE	(BASE + 8 * MIB)
#define SHOWN	0x5649000000000000UL
#define SECRET	0xdead5ec000000000UL

enum way { UNLINK, DELETE, PROTECT, CLONED, SOURCE, SECOND_FACE, DISCARD, MOVE, NR_WAYS };

struct scene {
	_Atomic int ready;
	_Atomic int stop;
	_Atomic long reads;
	_Atomic long shown;
	_Atomic long secrets;
	_Atomic long other;
	_Atomic int way;	/* of the first secret */
	_Atomic long where;
	_Atomic int now;
	int vid;
	int beside;		/* a segment of the same GiB */
	bool beside_on;
};

static unsigned int seed = 1, rounds = 60;

static void enter(int vh)
{
	check_eq(vas_switch(vh), 0);
}

static void nap(void)
{
	usleep(3000 + (useconds_t)(rand() % 8) * 500);
}

/*
 * The reader.
 */

static _Thread_local sigjmp_buf refused;

static void on_refused(int sig)
{
	siglongjmp(refused, sig);
}

static void look(struct scene *s, const volatile uint64_t *p)
{
	uint64_t v;

	if (sigsetjmp(refused, 0))
		return;
	v = *p;
	if (v >> 48 == SHOWN >> 48) {
		atomic_fetch_add(&s->shown, 1);
	} else if (v >> 36 == SECRET >> 36) {
		if (!atomic_fetch_add(&s->secrets, 1)) {
			atomic_store(&s->way, atomic_load(&s->now));
			atomic_store(&s->where, (char *)p - BASE);
		}
	} else if (v) {
		atomic_fetch_add(&s->other, 1);
	}
}

static void read_all(struct scene *s, bool private)
{
	struct sigaction act = { .sa_handler = on_refused,
				 .sa_flags = SA_NODEFER };
	unsigned int r = 12345;
	int vh, own;
	long n;

	tcase_pin(tcase_nr_cpus() > 1);
	tcase_become(NOBODY);
	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	vh = check_id(vas_attach(s->vid));
	if (private) {
		own = check_id(seg_alloc(NULL, BASE + 16 * MIB, PAGE, 0600));
		check_eq(seg_attach(vh, own), 0);
	}
	enter(vh);
	atomic_fetch_add(&s->ready, 1);
	for (n = 0; !atomic_load(&s->stop); n++) {
		/* the first pages most of the time: they stay translated */
		r = r * 1103515245 + 12345;
		look(s, (void *)((n & 16 ? FACE : BASE) +
				 (n & 1 ? (r >> 16) % PAGES : (r >> 8) % 4) * PAGE));
	}
	atomic_fetch_add(&s->reads, n);
	enter(VAS_HOME);
}

static void read_public(void *arg)
{
	read_all(arg, false);
}

static void read_private(void *arg)
{
	read_all(arg, true);
}

/*
 * The owner.
 */

static int make(void *base, uint32_t flags)
{
	struct pvvas_ioc_create arg = {
		.size = sizeof(arg), .mode = 0644, .flags = flags,
		.base = (uintptr_t)base, .length = SIZE,
	};
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);

	check(fd >= 0);
	check_eq(ioctl(fd, PVVAS_IOC_SEG_CREATE, &arg), 0);
	close(fd);
	return (int)arg.id;
}

/* In the VAS @vh, all pages, or some of them. */
static void put(int vh, char *base, uint64_t what, unsigned int step)
{
	unsigned int i;

	enter(vh);
	for (i = 0; i < PAGES; i += step)
		*(volatile uint64_t *)(base + i * PAGE) = what ? what | i : 0;
	enter(VAS_HOME);
}

/* A VAS of the owner's own, with the segment in it. */
static int own_view(int sid)
{
	int vid = check_id(vas_create(NULL, 0600)), vh;

	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_delete(vid), 0);
	return vh;
}

/* Pages that were just freed are in use again, with secrets in them. */
static void refill(void)
{
	size_t size = 2 * SIZE, at;
	char *m = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int sid = make(BASE, PVVAS_CREATE_POPULATE), vh = own_view(sid);

	check(m != MAP_FAILED);
	put(vh, BASE, SECRET, 1);
	for (at = 0; at < size; at += PAGE)
		*(volatile uint64_t *)(m + at) = SECRET | at;
	nap();
	for (at = 0; at < size; at += PAGE)
		*(volatile uint64_t *)(m + at) = 0;
	munmap(m, size);
	put(vh, BASE, 0, 1);
	check_eq(vas_detach(vh), 0);
	check_eq(seg_delete(sid), 0);
}

static uint32_t some_flags(void)
{
	static const uint32_t flags[] = {
		0, PVVAS_CREATE_HUGE, PVVAS_CREATE_POPULATE,
		PVVAS_CREATE_HUGE | PVVAS_CREATE_POPULATE,
	};

	return flags[rand() % 4];
}

/* Things that change tables, on the way. */
static void disturb(struct scene *s, int sid)
{
	void *pages[16];

	if (!(rand() % 3)) {
		if (s->beside_on)
			check_eq(seg_detach(s->vid, s->beside), 0);
		else
			check_eq(seg_attach(s->vid, s->beside), 0);
		s->beside_on = !s->beside_on;
	}
	if (!(rand() % 3))
		check(seg_dirty(sid, BASE, SIZE, pages, 16) >= 0);
	if (!(rand() % 3))
		check(seg_accessed(sid, BASE, SIZE, pages, 16) >= 0);
	if (!(rand() % 3)) {
		check_eq(seg_protect(sid, BASE + (size_t)(rand() % 8) * PAGE,
				     (size_t)(1 + rand() % 64) * PAGE,
				     PROT_READ), 0);
		check_eq(seg_protect(sid, BASE, SIZE,
				     PROT_READ | PROT_WRITE), 0);
	}
}

/* A part of the segment, or all of it, again and again. */
static void discard(int sid, int vh)
{
	size_t first, n;
	int i;

	for (i = 0; i < 4; i++) {
		first = i ? (size_t)rand() % PAGES : 0;
		n = i ? 1 + (size_t)rand() % (PAGES - first) : PAGES;
		check_eq(seg_discard(sid, BASE + first * PAGE, n * PAGE), 0);
		refill();
		put(vh, BASE, SHOWN, 1 + (unsigned int)rand() % 9);
	}
}

static void one_round(struct scene *s, enum way way)
{
	unsigned int step = rand() % 2 ? 1 : 1 + (unsigned int)rand() % 9;
	int sid = make(BASE, some_flags()), vh = own_view(sid);
	int copy = 0, face = 0, other = 0, shown = sid;

	atomic_store(&s->now, (int)way);
	if (rand() % 2)
		put(vh, BASE, SHOWN, step);
	if (way == SOURCE || way == CLONED) {
		copy = check_id(seg_clone(sid));
		other = own_view(copy);
		if (way == SOURCE)
			shown = copy;
	} else if (way == SECOND_FACE || way == PROTECT) {
		face = check_id(seg_map2(sid, FACE));
		other = own_view(face);
		if (way == SECOND_FACE)
			shown = face;
	} else if (way == MOVE) {
		copy = make(BASE, some_flags());
		other = own_view(copy);
	}
	check_eq(seg_attach(s->vid, shown), 0);
	nap();
	disturb(s, sid);
	put(vh, BASE, SHOWN, step);
	nap();
	disturb(s, sid);
	switch (way) {
	case UNLINK:
	case SECOND_FACE:
		check_eq(seg_detach(s->vid, shown), 0);
		put(vh, BASE, SECRET, 1);
		break;
	case DELETE:
		check_eq(seg_detach(s->vid, shown), 0);
		check_eq(vas_detach(vh), 0);
		vh = 0;
		check_eq(seg_delete(sid), 0);
		refill();
		break;
	case PROTECT:
		check_eq(seg_protect(sid, BASE, SIZE, PROT_NONE), 0);
		put(other, FACE, SECRET, 1);
		break;
	case CLONED:
		put(other, BASE, SECRET, 1);
		break;
	case SOURCE:
		put(vh, BASE, SECRET, 1);
		break;
	case DISCARD:
		discard(sid, vh);
		break;
	case MOVE:
		check_eq(seg_move(sid, BASE, copy, BASE, SIZE), 0);
		put(other, BASE, SECRET, 1);
		break;
	default:
		break;
	}
	nap();
	/* no secret is left in what the reader may see */
	if (way == CLONED || way == PROTECT)
		put(other, way == PROTECT ? FACE : BASE, 0, 1);
	else if (vh)
		put(vh, BASE, 0, 1);
	if (way == PROTECT || way == CLONED || way == SOURCE ||
	    way == DISCARD || way == MOVE)
		check_eq(seg_detach(s->vid, shown), 0);
	if (other)
		check_eq(vas_detach(other), 0);
	if (vh) {
		check_eq(vas_detach(vh), 0);
		check_eq(seg_delete(sid), 0);
	}
	if (copy)
		check_eq(seg_delete(copy), 0);
	if (face)
		check_eq(seg_delete(face), 0);
}

static void what_is_taken_away_is_never_seen_again(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	pid_t a, b;
	unsigned int i;

	tcase_pin(0);
	srand(seed);
	s->vid = tcase_vas(tcase_name("v"), 0644);
	s->beside = tcase_seg(NULL, BESIDE, PAGE, 0644);
	a = tcase_spawn(read_public, s);
	b = tcase_spawn(read_private, s);
	while (atomic_load(&s->ready) < 2)
		usleep(1000);
	for (i = 0; i < rounds; i++)
		one_round(s, (enum way)(i % NR_WAYS));
	atomic_store(&s->stop, 1);
	tcase_join(a);
	tcase_join(b);
	tcase_note("seed %u: %u rounds, %ld reads: %ld of what is shown", seed,
		   rounds, atomic_load(&s->reads), atomic_load(&s->shown));
	if (atomic_load(&s->secrets))
		tcase_note("first secret: way %d at %lx", atomic_load(&s->way),
			   atomic_load(&s->where));
	check_eq(atomic_load(&s->secrets), 0);
	check_eq(atomic_load(&s->other), 0);
	check(atomic_load(&s->shown) > 0);
}

static const struct tcase cases[] = {
	CASE_SECONDS(what_is_taken_away_is_never_seen_again, 1500),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		seed = (unsigned int)atoi(argv[1]);
	if (argc > 2)
		rounds = (unsigned int)atoi(argv[2]);
	return tcase_main(cases, 1, 0);
}
