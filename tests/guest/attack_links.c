// SPDX-License-Identifier: GPL-2.0-only
/*
 * Links against their users: segments that share a GiB or go over the borders of tables
 * come and go while others access them; attachments with private segments come and go
 * while a segment is linked.  What is gone is seen by no process, what is there by all,
 * with the rights that it was linked with.
 *
 * Usage: attack_links [SEED [ROUNDS]]
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define GIB	(1UL << 30)
#define BLOCK	(2 * MIB)
#define PAGE	4096UL
#define NOBODY	1000
#define TAG	0x5649000000000000UL

static unsigned int seed = 1, rounds = 400;

static _Thread_local sigjmp_buf refused;

static void on_refused(int sig)
{
	siglongjmp(refused, sig);
}

static void catch_faults(void)
{
	struct sigaction act = { .sa_handler = on_refused,
				 .sa_flags = SA_NODEFER };

	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
}

/* 0, or the signal. */
static int peek(const volatile uint64_t *p, uint64_t *v)
{
	int sig = sigsetjmp(refused, 0);

	if (!sig)
		*v = *p;
	return sig;
}

static int poke(volatile uint64_t *p, uint64_t v)
{
	int sig = sigsetjmp(refused, 0);

	if (!sig)
		*p = v;
	return sig;
}

/*
 * Segments that come and go.
 */

enum state { GONE, READABLE, WRITABLE };

struct place {
	unsigned long at, size;
	atomic_uint turn;	/* odd: it changes now */
	atomic_int state;
	int sid;
};

/* In one GiB, over its border, over that of 512 GiB, and larger than that. */
static const struct place places[] = {
	{ .at = 0, .size = BLOCK },
	{ .at = 2 * BLOCK, .size = 5 * PAGE },
	{ .at = 3 * BLOCK, .size = 40 * BLOCK },
	{ .at = GIB - 2 * BLOCK, .size = 4 * BLOCK },
	{ .at = GIB + 2 * BLOCK, .size = BLOCK },
	{ .at = 2 * GIB - 4 * BLOCK, .size = 3 * GIB + 8 * BLOCK },
	{ .at = 5 * GIB + 5 * BLOCK, .size = 2 * BLOCK },
	{ .at = 511 * GIB + 510 * BLOCK, .size = 8 * BLOCK },
	{ .at = 512 * GIB + 10 * BLOCK, .size = 2 * BLOCK },
	{ .at = 600 * GIB + BLOCK, .size = 1024 * GIB },
	{ .at = 600 * GIB, .size = BLOCK },
	{ .at = 1624 * GIB + 2 * BLOCK, .size = BLOCK },
};

#define PLACES	(sizeof(places) / sizeof(places[0]))

struct scene {
	_Atomic int ready, stop;
	_Atomic long tries, seen, written, stale, missing, foreign, trespass, bus;
	_Atomic long first;
	int vid;
	struct place at[PLACES];
};

static uint64_t tag_of(unsigned int i, unsigned long offset)
{
	return TAG | (uint64_t)i << 40 | offset / PAGE;
}

/* The first pages most of the time, and those at the ends of tables. */
static unsigned long some_offset(const struct place *p, unsigned int r)
{
	unsigned long pages = p->size / PAGE, page;

	switch (r % 4) {
	case 0:
		page = r >> 8 & 3;
		break;
	case 1:
		page = pages - 1 - (r >> 8 & 3) % pages;
		break;
	case 2:
		page = (unsigned long)(r >> 8 & 0xff) * 512 + (r >> 16 & 1) * 511;
		break;
	default:
		page = (unsigned long)(r >> 8 & 7) * 512 * 512 + (r >> 16 & 3);
		break;
	}
	return page % pages * PAGE;
}

static void try_one(struct scene *s, unsigned int i, unsigned int r)
{
	struct place *p = &s->at[i];
	unsigned long offset = some_offset(p, r);
	volatile uint64_t *word = (void *)(BASE + p->at + offset);
	unsigned int turn = atomic_load(&p->turn);
	int state = atomic_load(&p->state), sig;
	bool write = r >> 20 & 1;
	uint64_t v = 0;

	sig = write ? poke(word, tag_of(i, offset)) : peek(word, &v);
	atomic_fetch_add(&s->tries, 1);
	if (sig == SIGBUS)
		atomic_fetch_add(&s->bus, 1);
	if (!sig && !write && v && v != tag_of(i, offset))
		atomic_fetch_add(&s->foreign, 1);
	if (turn & 1 || atomic_load(&p->turn) != turn)
		return;
	if (!sig && state == GONE) {
		atomic_fetch_add(&s->stale, 1);
		atomic_store(&s->first, (long)(i << 24 | r % 4));
	} else if (!sig && write && state == READABLE) {
		atomic_fetch_add(&s->trespass, 1);
	} else if (sig && (state == WRITABLE || (state == READABLE && !write))) {
		atomic_fetch_add(&s->missing, 1);
		atomic_store(&s->first, (long)(i << 24 | (unsigned int)sig << 16 |
					       r % 4));
	} else if (!sig) {
		atomic_fetch_add(write ? &s->written : &s->seen, 1);
	}
}

static void access_all(struct scene *s, bool private)
{
	unsigned int r = 12345 + seed + private;
	int vh, own;

	tcase_pin(tcase_nr_cpus() > 1);
	catch_faults();
	vh = check_id(vas_attach(s->vid));
	if (private) {
		own = check_id(seg_alloc(NULL, BASE + 100 * BLOCK, PAGE, 0600));
		check_eq(seg_attach(vh, own), 0);
	}
	check_eq(vas_switch(vh), 0);
	atomic_fetch_add(&s->ready, 1);
	while (!atomic_load(&s->stop)) {
		r = r * 1103515245 + 12345;
		try_one(s, (r >> 4) % PLACES, r >> 7);
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

static void access_public(void *arg)
{
	access_all(arg, false);
}

static void access_private(void *arg)
{
	access_all(arg, true);
}

static int seg_of(struct scene *s, unsigned int i)
{
	struct place *p = &s->at[i];

	if (!p->sid)
		p->sid = check_id(seg_alloc(NULL, BASE + p->at, p->size, 0600));
	return p->sid;
}

static void change_one(struct scene *s, unsigned int i)
{
	struct place *p = &s->at[i];
	int state = atomic_load(&p->state);

	atomic_fetch_add(&p->turn, 1);
	if (state != GONE) {
		check_eq(seg_detach(s->vid, p->sid), 0);
		atomic_store(&p->state, GONE);
		if (rand() % 2) {
			check_eq(seg_delete(p->sid), 0);
			p->sid = 0;
		}
	} else if (rand() % 2) {
		check_eq(seg_attach(s->vid, seg_of(s, i)), 0);
		atomic_store(&p->state, WRITABLE);
	} else {
		check_eq(seg_attach_prot(s->vid, seg_of(s, i), PROT_READ), 0);
		atomic_store(&p->state, READABLE);
	}
	atomic_fetch_add(&p->turn, 1);
}

static void segments_of_shared_tables_come_and_go(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	unsigned int i;
	pid_t a, b;

	tcase_pin(0);
	srand(seed);
	s->vid = tcase_vas(tcase_name("v"), 0600);
	for (i = 0; i < PLACES; i++) {
		s->at[i].at = places[i].at;
		s->at[i].size = places[i].size;
	}
	a = tcase_spawn(access_public, s);
	b = tcase_spawn(access_private, s);
	while (atomic_load(&s->ready) < 2)
		usleep(1000);
	for (i = 0; i < rounds; i++) {
		change_one(s, (unsigned int)rand() % PLACES);
		if (rand() % 2)
			usleep(1000 * ((unsigned int)rand() % 8));
	}
	atomic_store(&s->stop, 1);
	tcase_join(a);
	tcase_join(b);
	for (i = 0; i < PLACES; i++)
		if (s->at[i].sid)
			check_eq(seg_delete(s->at[i].sid), 0);
	tcase_note("seed %u: %ld tries, %ld read, %ld written, %ld SIGBUS; first %lx",
		   seed, atomic_load(&s->tries), atomic_load(&s->seen),
		   atomic_load(&s->written), atomic_load(&s->bus),
		   (unsigned long)atomic_load(&s->first));
	check_eq(atomic_load(&s->stale), 0);
	check_eq(atomic_load(&s->trespass), 0);
	check_eq(atomic_load(&s->foreign), 0);
	check_eq(atomic_load(&s->missing), 0);
	check(atomic_load(&s->seen) && atomic_load(&s->written));
}

/*
 * Attachments that come and go.
 */

#define CROWD	70
#define CROWDS	2

struct crowd {
	_Atomic int stop, state;
	atomic_uint turn;
	_Atomic long made, stale, missing, other, seen;
	int vid;
};

static void look_at(struct crowd *c, int vh)
{
	unsigned int turn = atomic_load(&c->turn);
	int state = atomic_load(&c->state), sig;
	uint64_t v = 0;

	check_eq(vas_switch(vh), 0);
	sig = peek((void *)(BASE + BLOCK), &v);
	check_eq(vas_switch(VAS_HOME), 0);
	if (turn & 1 || atomic_load(&c->turn) != turn)
		return;
	if (!sig && state == GONE)
		atomic_fetch_add(&c->stale, 1);
	else if (sig && state != GONE)
		atomic_fetch_add(&c->missing, 1);
	else if (!sig && v != TAG)
		atomic_fetch_add(&c->other, 1);
	else if (!sig)
		atomic_fetch_add(&c->seen, 1);
}

static void come_and_go(void *arg)
{
	struct crowd *c = arg;
	int vh[CROWD] = {}, own, over, i, n;

	tcase_become(NOBODY);
	catch_faults();
	srand((unsigned int)getpid());
	own = check_id(seg_alloc(NULL, BASE, PAGE, 0600));
	over = check_id(seg_alloc(NULL, BASE + BLOCK, PAGE, 0600));
	for (n = 0; !atomic_load(&c->stop); n++) {
		i = rand() % CROWD;
		if (!vh[i]) {
			vh[i] = check_id(vas_attach(c->vid));
			check_eq(seg_attach(vh[i], own), 0);
			atomic_fetch_add(&c->made, 1);
		} else if (rand() % 4 == 0) {
			check_eq(vas_detach(vh[i]), 0);
			vh[i] = 0;
		} else if (rand() % 4 == 0) {
			/* In the place of what is linked, and away again. */
			if (!seg_attach(vh[i], over))
				check_eq(seg_detach(vh[i], over), 0);
		} else {
			look_at(c, vh[i]);
		}
	}
	/* Whatever is attached goes with the process. */
}

struct linker {
	struct crowd *crowd;
	int sid;
	bool attach;
};

static void link_once(void *arg)
{
	struct linker *l = arg;

	if (l->attach)
		seg_attach(l->crowd->vid, l->sid);
	else
		seg_detach(l->crowd->vid, l->sid);
}

static void killed_linker(struct crowd *c, int sid)
{
	struct linker l = { .crowd = c, .sid = sid, .attach = rand() % 2 };
	pid_t pid = tcase_spawn(link_once, &l);

	usleep((unsigned int)rand() % 20000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void attachments_come_and_go_while_a_segment_is_linked(void)
{
	struct crowd *c = tcase_shared(sizeof(*c));
	int sid = tcase_seg(NULL, BASE + BLOCK, PAGE, 0600), ret, vh;
	unsigned int i, killed = 0;
	pid_t pid[CROWDS];

	c->vid = tcase_vas(tcase_name("v"), 0644);
	srand(seed);
	vh = check_id(vas_attach(c->vid));
	check_eq(seg_attach(vh, sid), 0);
	check_eq(vas_switch(vh), 0);
	*(volatile uint64_t *)(BASE + BLOCK) = TAG;
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
	for (i = 0; i < CROWDS; i++)
		pid[i] = tcase_spawn(come_and_go, c);
	while (atomic_load(&c->made) < CROWDS * CROWD)
		usleep(1000);
	for (i = 0; i < rounds / 4; i++) {
		atomic_fetch_add(&c->turn, 1);
		if (rand() % 3 == 0) {
			killed_linker(c, sid);
			killed++;
		}
		if (rand() % 2) {
			ret = seg_attach(c->vid, sid);
			check(!ret || ret == -EEXIST);
			atomic_store(&c->state, WRITABLE);
		} else {
			ret = seg_detach(c->vid, sid);
			check(!ret || ret == -ENOENT);
			atomic_store(&c->state, GONE);
		}
		atomic_fetch_add(&c->turn, 1);
		usleep(1000 * ((unsigned int)rand() % 20));
		/* Readers that are killed come again. */
		if (rand() % 16 == 0) {
			kill(pid[i % CROWDS], SIGKILL);
			waitpid(pid[i % CROWDS], NULL, 0);
			pid[i % CROWDS] = tcase_spawn(come_and_go, c);
		}
	}
	atomic_store(&c->stop, 1);
	for (i = 0; i < CROWDS; i++)
		tcase_join(pid[i]);
	tcase_note("seed %u: %ld attachments, %ld looks at what is there, %u killed",
		   seed, atomic_load(&c->made), atomic_load(&c->seen), killed);
	check_eq(atomic_load(&c->stale), 0);
	check_eq(atomic_load(&c->missing), 0);
	check_eq(atomic_load(&c->other), 0);
}

/*
 * Where there is nothing.
 */

static void nothing_at(char *p)
{
	struct tcase_fault r = tcase_try_read(p), w = tcase_try_write(p);
	int fd[2];

	check_eq(r.sig, SIGSEGV);
	check_eq(w.sig, SIGSEGV);
	check(r.addr == p && w.addr == p);
	check_eq(r.code, SEGV_ACCERR);
	check_eq(w.code, SEGV_ACCERR);
	check_eq(pipe(fd), 0);
	check_eq(write(fd[1], p, 8), -1);
	check_eq(errno, EFAULT);
	close(fd[0]);
	close(fd[1]);
}

static void where_nothing_is_attached_all_accesses_are_refused(void)
{
	int vid = tcase_vas(NULL, 0600), vh = check_id(vas_attach(vid)), own;
	int sid = tcase_seg(NULL, BASE + BLOCK, BLOCK, 0600);

	tcase_need(PVVAS_FEATURE_SWITCH);
	nothing_at(BASE);
	check_eq(vas_switch(vh), 0);
	nothing_at(BASE);
	check_eq(seg_attach(vid, sid), 0);
	nothing_at(BASE);
	/* Once its GiB has a table. */
	BASE[BLOCK] = 1;
	nothing_at(BASE);
	nothing_at(BASE + GIB);
	nothing_at(BASE + 512 * GIB);
	/* In a table of the space. */
	check_eq(seg_attach(vid, tcase_seg(NULL, BASE + 2 * BLOCK, BLOCK, 0600)), 0);
	BASE[2 * BLOCK] = 1;
	nothing_at(BASE);
	check_eq(seg_detach(vid, sid), 0);
	nothing_at(BASE + BLOCK);
	own = check_id(vas_attach(vid));
	check_eq(seg_attach(own, sid), 0);
	check_eq(vas_switch(own), 0);
	nothing_at(BASE + 5 * BLOCK);
	check_eq(seg_detach(own, sid), 0);
	nothing_at(BASE + BLOCK);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
	check_eq(vas_detach(own), 0);
}

static const struct tcase cases[] = {
	CASE(where_nothing_is_attached_all_accesses_are_refused),
	CASE_SECONDS(segments_of_shared_tables_come_and_go, 300),
	CASE_SECONDS(attachments_come_and_go_while_a_segment_is_linked, 300),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		seed = (unsigned int)atoi(argv[1]);
	if (argc > 2)
		rounds = (unsigned int)atoi(argv[2]);
	return tcase_main(cases, sizeof(cases) / sizeof(cases[0]), 0);
}
