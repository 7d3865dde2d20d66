// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two users that may write to the same segments take pages out of them, put others in,
 * move, clone, protect and read them, all at once, with signals in the middle of their
 * calls, and are killed.  Each word that they see is one that was written there, or 0,
 * never one of memory that was another process's, and nothing is left.
 *
 * Usage: attack_pages [SEED [SECONDS]]
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define NOBODY	1000
#define SIZE	(6 * MIB)	/* the first 2 MiB are never one page */
#define PAGES	(SIZE / PAGE)
#define NR_SEGS	3
#define NR_PROCS 4
#define OURS	0xa110ULL	/* the upper 16 bits of what is written */
#define SECRET	0xdead5ec000000000ULL

struct scene {
	_Atomic long calls;
	_Atomic long starts;
	_Atomic long foreign;
	_Atomic uint64_t word;
	_Atomic int op;
	int vid;
	int sid[NR_SEGS];
	int face;
	char *base[NR_SEGS + 1];
};

struct mine {
	struct scene *s;
	uint64_t state;
	int vh;
	int fd;
	int op;
};

static unsigned int seed = 1, seconds = 8;
static struct mine *both[2];
static __thread sigjmp_buf refused;
static __thread volatile int trying;

static unsigned int any(struct mine *m, unsigned int n)
{
	m->state = m->state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned int)(m->state >> 33) % n;
}

static void on_refused(int sig)
{
	if (!trying)
		_exit(100 + sig);
	trying = 0;
	siglongjmp(refused, 1);
}

static void on_tick(int sig)
{
	(void)sig;
}

static void look(struct mine *m, const volatile uint64_t *p)
{
	uint64_t v = *p;

	if (v && v >> 48 != OURS) {
		if (!atomic_fetch_add(&m->s->foreign, 1)) {
			atomic_store(&m->s->word, v);
			atomic_store(&m->s->op, m->op);
		}
	}
}

static void look_all(struct mine *m, const char *page)
{
	unsigned int i;

	for (i = 0; i < PAGE; i += 256)
		look(m, (const volatile uint64_t *)(page + i));
}

static void touch(struct mine *m, char *p, bool write)
{
	trying = 1;
	if (!sigsetjmp(refused, 1)) {
		if (write)
			*(volatile uint64_t *)p = OURS << 48 | (uintptr_t)p;
		look_all(m, p);
	}
	trying = 0;
}

static char *place(struct mine *m, int which)
{
	return m->s->base[which] + (size_t)any(m, PAGES) * PAGE;
}

static size_t extent(struct mine *m, const char *at, int which)
{
	size_t left = SIZE - (size_t)(at - m->s->base[which]);
	size_t n = (1 + (size_t)any(m, any(m, 3) ? 8 : PAGES)) * PAGE;

	return n < left ? n : left;
}

static int sid_of(struct mine *m, int which)
{
	return which == NR_SEGS ? m->s->face : m->s->sid[which];
}

static void fill(struct mine *m, int sid, char *at, size_t n)
{
	uint64_t *data;
	size_t i;

	if (n > 3 * MIB)
		n = 3 * MIB;
	data = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	for (i = 0; i < n / 8; i += 32)
		data[i] = OURS << 48 | i;
	if (!any(m, 4))	/* the end of it is not there */
		munmap((char *)data + n / 2 / PAGE * PAGE, PAGE);
	seg_fill(sid, at, data, n);
	munmap(data, n);
}

static void move(struct mine *m, int which, char *at, size_t n)
{
	int to = (int)any(m, NR_SEGS + 1);
	char *dest = place(m, to);
	size_t room = extent(m, dest, to);

	seg_move(sid_of(m, which), at, sid_of(m, to), dest, n < room ? n : room);
}

static void clone_it(struct mine *m, int sid, char *at)
{
	int copy = seg_clone(sid), vid, vh;

	if (copy <= 0)
		return;
	vid = vas_create(NULL, 0600);
	if (vid > 0 && !seg_attach(vid, copy)) {
		vh = vas_attach(vid);
		if (vh > 0 && !vas_switch(vh)) {
			touch(m, at, false);
			touch(m, at, true);
			vas_switch(m->vh);
		}
		if (vh > 0)
			vas_detach(vh);
	}
	vas_delete(vid);
	if (any(m, 2))
		seg_move(copy, at, sid, at, PAGE);
	seg_delete(copy);
}

static void evict(struct mine *m, int sid)
{
	static __thread char data[32 * PAGE] __attribute__((aligned(PAGE)));
	void *pages[32];
	int n, i;

	seg_pager(sid, 1);
	n = seg_evict(sid, pages, data, 1 + any(m, 32));
	for (i = 0; i < n; i++) {
		look_all(m, data + (size_t)i * PAGE);
		if (any(m, 4))
			seg_fill(sid, pages[i], data + (size_t)i * PAGE, PAGE);
	}
	if (any(m, 2))
		seg_pager(sid, 0);
}

static void read_by_request(struct mine *m, int sid, size_t offset)
{
	static __thread char page[PAGE] __attribute__((aligned(PAGE)));
	struct pvvas_ioc_range arg = { .size = sizeof(arg), .seg = (uint32_t)sid,
				       .offset = offset, .length = PAGE,
				       .addr = (uintptr_t)page };

	if (!ioctl(m->fd, PVVAS_IOC_SEG_READ, &arg))
		look_all(m, page);
}

/* Pages that were just freed are another user's. */
static void secrets(void)
{
	size_t n = 2 * MIB, i;
	uint64_t *p = mmap(NULL, n, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	for (i = 0; i < n / 8; i += 32)
		p[i] = SECRET | i;
	munmap(p, n);
}

static void by_debugger(struct mine *m, char *at)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	uint64_t word = OURS << 48;

	if (fd < 0)
		return;
	pwrite(fd, &word, sizeof(word), (off_t)at);
	if (pread(fd, &word, sizeof(word), (off_t)at) == sizeof(word))
		look(m, &word);
	close(fd);
}

static void fork_or_so(struct mine *m)
{
	pid_t pid = any(m, 2) ? fork() : vfork();

	if (!pid)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void call(struct mine *m)
{
	int which = (int)any(m, NR_SEGS + 1), sid = sid_of(m, which);
	char *at = place(m, which);
	size_t n = extent(m, at, which), i;
	void *pages[64];

	m->op = (int)any(m, 24);
	switch (m->op) {
	case 0: case 1: case 2:
		touch(m, at, true);
		break;
	case 3: case 4:
		touch(m, at, false);
		break;
	case 5: case 6:	/* in order */
		for (i = 0; i < n && i < 64 * PAGE; i += PAGE)
			touch(m, at + i, true);
		break;
	case 7:
		seg_discard(sid, at, n);
		break;
	case 8: case 9:
		move(m, which, at, n);
		break;
	case 10:
		clone_it(m, sid, at);
		break;
	case 11: case 12:
		evict(m, sid);
		break;
	case 13:
		fill(m, sid, at, n);
		break;
	case 14:
		seg_populate(sid, at, n);
		break;
	case 15:
		seg_dirty(sid, at, n, pages, 64);
		break;
	case 16:
		seg_accessed(sid, at, n, pages, 64);
		break;
	case 17:
		if (any(m, 2))
			seg_untrack(sid);
		else
			seg_limit(sid, any(m, SIZE));
		break;
	case 18:
		seg_protect(sid, at, n, any(m, 2) ? PROT_NONE : PROT_READ);
		seg_protect(sid, m->s->base[which], SIZE, PROT_READ | PROT_WRITE);
		break;
	case 19:
		read_by_request(m, sid, (size_t)(at - m->s->base[which]));
		break;
	case 20:
		secrets();
		break;
	case 21:
		by_debugger(m, at);
		break;
	case 22:
		fork_or_so(m);
		break;
	case 23:
		if (any(m, 2)) {
			seg_detach(m->s->vid, sid);
			seg_attach(m->s->vid, sid);
		} else {
			vas_switch(VAS_HOME);
			vas_detach(m->vh);
			m->vh = vas_attach(m->s->vid);
			vas_switch(m->vh);
		}
		break;
	}
}

static void *attack(void *arg)
{
	struct mine *m = arg;

	m->fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);
	m->vh = vas_attach(m->s->vid);
	if (m->fd < 0 || m->vh <= 0 || vas_switch(m->vh))
		return NULL;
	for (;;) {
		call(m);
		atomic_fetch_add_explicit(&m->s->calls, 1, memory_order_relaxed);
		if (m->vh <= 0)
			return NULL;
	}
}

static void live(void *arg)
{
	struct itimerval every = { { 0, 3000 }, { 0, 3000 } };
	struct sigaction act = { .sa_handler = on_refused, .sa_flags = SA_NODEFER };
	struct sigaction tick = { .sa_handler = on_tick };
	struct scene *s = arg;
	long number = atomic_fetch_add(&s->starts, 1);
	pthread_t other;
	int i;

	if (number % 2)
		tcase_become(NOBODY);
	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	sigaction(SIGALRM, &tick, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	for (i = 0; i < 2; i++) {
		both[i] = calloc(1, sizeof(**both));
		both[i]->s = s;
		both[i]->state = seed * 1000003UL + (unsigned long)number * 2 + (unsigned int)i;
	}
	if (number % 4 < 2)
		pthread_create(&other, NULL, attack, both[1]);
	attack(both[0]);
}

static int make(char *base, uint32_t flags)
{
	struct pvvas_ioc_create arg = {
		.size = sizeof(arg), .mode = 0666, .flags = flags,
		.base = (uintptr_t)base, .length = SIZE,
	};
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);

	check(fd >= 0);
	check_eq(ioctl(fd, PVVAS_IOC_SEG_CREATE, &arg), 0);
	close(fd);
	tcase_track_seg((int)arg.id);
	return (int)arg.id;
}

static void two_writers_at_odds_see_nobody_elses_memory(void)
{
	static const uint32_t flags[NR_SEGS] = { 0, PVVAS_CREATE_HUGE,
						 PVVAS_CREATE_SMALL };
	struct scene *s = tcase_shared(sizeof(*s));
	long end = tcase_microseconds() + seconds * 1000000L;
	pid_t pids[NR_PROCS];
	int i;

	srand(seed);
	s->vid = tcase_vas(NULL, 0666);
	for (i = 0; i < NR_SEGS; i++) {
		s->base[i] = BASE + (size_t)i * 8 * MIB;
		s->sid[i] = make(s->base[i], flags[i]);
		check_eq(seg_attach(s->vid, s->sid[i]), 0);
	}
	s->base[NR_SEGS] = BASE + (2UL << 30);
	s->face = check_id(seg_map2(s->sid[0], s->base[NR_SEGS]));
	tcase_track_seg(s->face);
	check_eq(seg_attach(s->vid, s->face), 0);
	for (i = 0; i < NR_PROCS; i++)
		pids[i] = tcase_spawn(live, s);
	while (tcase_microseconds() < end) {
		usleep(100000 + (unsigned int)rand() % 200000);
		i = rand() % NR_PROCS;
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
		pids[i] = tcase_spawn(live, s);
	}
	for (i = 0; i < NR_PROCS; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	tcase_note("seed %u: %ld calls of %ld processes", seed,
		   atomic_load(&s->calls), atomic_load(&s->starts));
	if (atomic_load(&s->foreign))
		tcase_note("foreign: %lx, by %d", (long)atomic_load(&s->word),
			   atomic_load(&s->op));
	check_eq(atomic_load(&s->foreign), 0);
	check(atomic_load(&s->calls) > 20 * (long)seconds);
}

static const struct tcase cases[] = {
	CASE_SECONDS(two_writers_at_odds_see_nobody_elses_memory, 1500),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		seed = (unsigned int)atoi(argv[1]);
	if (argc > 2)
		seconds = (unsigned int)atoi(argv[2]);
	return tcase_main(cases, 1, 0);
}
