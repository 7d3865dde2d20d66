// SPDX-License-Identifier: GPL-2.0-only
/*
 * GUPS over many windows: sets of random updates, each set in another window.
 * A window is a VAS, a part of one large mapping, a file that is mapped in
 * place of another, or the memory of a process that gets messages.  The large ones
 * are a page of 2 MiB each.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "bench.h"

#define BASE		((uint64_t *)VAS_WINDOW_FIRST)
#define WINDOW		MIB
#define WORDS		(WINDOW / sizeof(uint64_t))
#define LARGE		(2 * MIB)
#define MOST		64
#define MOST_SET	64

struct gups {
	unsigned int windows;
	unsigned int set;
	uint64_t random;
	uint64_t *memory;
	uint64_t *large;
	int handles[MOST];
	int large_handles[MOST];
	int fds[MOST];
	int to[MOST], from[MOST];
	pid_t pids[MOST];
};

static inline uint64_t next(uint64_t x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

static inline __attribute__((always_inline)) uint64_t
update_of(uint64_t *window, size_t words, uint64_t x, unsigned int set)
{
	while (set--) {
		x = next(x);
		window[x % words] ^= x;
	}
	return x;
}

static inline __attribute__((always_inline)) uint64_t
update(uint64_t *window, uint64_t x, unsigned int set)
{
	return update_of(window, WORDS, x, set);
}

/* Which window is next: the same sequence for all of them. */
static inline unsigned int choose(const struct gups *g, uint64_t x)
{
	return (unsigned int)(x >> 32) & (g->windows - 1);
}

static void one_mapping(unsigned long n, void *arg)
{
	struct gups *g = arg;
	uint64_t x = g->random;

	BENCH_LOOP(n)
		x = update(g->memory + choose(g, x) * WORDS, x, g->set);
	g->random = x;
}

static void by_vas(unsigned long n, void *arg)
{
	struct gups *g = arg;
	uint64_t x = g->random;

	BENCH_LOOP(n) {
		if (vas_switch(g->handles[choose(g, x)]))
			bench_fail("vas_switch");
		x = update(BASE, x, g->set);
	}
	vas_switch(VAS_HOME);
	g->random = x;
}

static void one_mapping_large(unsigned long n, void *arg)
{
	struct gups *g = arg;
	uint64_t x = g->random;
	const size_t words = LARGE / sizeof(x);

	BENCH_LOOP(n)
		x = update_of(g->large + choose(g, x) * words, words, x, g->set);
	g->random = x;
}

static void by_vas_large(unsigned long n, void *arg)
{
	struct gups *g = arg;
	uint64_t x = g->random;

	BENCH_LOOP(n) {
		if (vas_switch(g->large_handles[choose(g, x)]))
			bench_fail("vas_switch");
		x = update_of(BASE, LARGE / sizeof(x), x, g->set);
	}
	vas_switch(VAS_HOME);
	g->random = x;
}

static void by_mmap(unsigned long n, void *arg)
{
	struct gups *g = arg;
	uint64_t x = g->random;

	BENCH_LOOP(n) {
		munmap(g->memory, WINDOW);
		if (mmap(g->memory, WINDOW, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, g->fds[choose(g, x)], 0) ==
		    MAP_FAILED)
			bench_fail("mmap: %d", errno);
		x = update(g->memory, x, g->set);
	}
	g->random = x;
}

static void serve(int from, int to, unsigned int set)
{
	uint64_t *window = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1,
				0);
	uint64_t x[MOST_SET];
	ssize_t bytes = (ssize_t)(set * sizeof(*x));
	unsigned int i;

	while (read(from, x, (size_t)bytes) == bytes) {
		for (i = 0; i < set; i++)
			window[x[i] % WORDS] ^= x[i];
		if (write(to, "", 1) != 1)
			break;
	}
	_exit(0);
}

static void by_process(unsigned long n, void *arg)
{
	struct gups *g = arg;
	uint64_t x = g->random, message[MOST_SET];
	ssize_t bytes = (ssize_t)(g->set * sizeof(x));
	unsigned int i, w;
	char c;

	BENCH_LOOP(n) {
		w = choose(g, x);
		for (i = 0; i < g->set; i++)
			message[i] = x = next(x);
		if (write(g->to[w], message, (size_t)bytes) != bytes ||
		    read(g->from[w], &c, 1) != 1)
			bench_fail("a process is gone");
	}
	g->random = x;
}

static void start_processes(struct gups *g)
{
	unsigned int i;
	int a[2], b[2];

	for (i = 0; i < g->windows; i++) {
		bench_check(!pipe(a) && !pipe(b));
		g->pids[i] = fork();
		bench_check(g->pids[i] >= 0);
		if (!g->pids[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(a[1]);
			close(b[0]);
			serve(a[0], b[1], g->set);
		}
		close(a[0]);
		close(b[1]);
		g->to[i] = a[1];
		g->from[i] = b[0];
	}
}

static void stop_processes(struct gups *g)
{
	unsigned int i;

	for (i = 0; i < g->windows; i++) {
		close(g->to[i]);
		close(g->from[i]);
		kill(g->pids[i], SIGKILL);
		waitpid(g->pids[i], NULL, 0);
	}
}

static void attach_all(struct gups *g)
{
	unsigned int i;
	size_t w;

	for (i = 0; i < MOST; i++) {
		int vid = bench_id(vas_create(NULL, 0600));
		int sid = bench_id(seg_alloc(NULL, BASE, WINDOW, 0600));

		bench_id(seg_attach(vid, sid));
		g->handles[i] = bench_id(vas_attach(vid));
		bench_id(vas_switch(g->handles[i]));
		for (w = 0; w < WORDS; w += 512)
			BASE[w] = 1;
		vas_switch(VAS_HOME);
	}
}

static void run(const char *name, void (*op)(unsigned long, void *),
		struct gups *g)
{
	const char *params = bench_text("\"windows\": %u, \"set\": %u",
					g->windows, g->set);

	/* the same updates for all */
	g->random = 88172645463325252ULL;
	bench_run(&(struct bench){ "gups", name, params, op, .arg = g,
				   .per_turn = g->set,
				   .flags = BENCH_NO_STEP });
}

/* Each window is a page of 2 MiB, in the mapping too. */
static void attach_large(struct gups *g)
{
	const struct seg_options options = { .size = sizeof(options),
					     .flags = SEG_HUGE };
	int i, vid, sid;
	char *p;
	size_t at;

	for (i = 0; i < MOST; i++) {
		vid = bench_id(vas_create(NULL, 0600));
		sid = bench_id(seg_alloc_with(NULL, BASE, LARGE, 0600,
					      &options));
		bench_id(seg_attach(vid, sid));
		g->large_handles[i] = bench_id(vas_attach(vid));
		bench_id(vas_switch(g->large_handles[i]));
		*(volatile char *)BASE = 1;
		vas_switch(VAS_HOME);
	}
	p = mmap(NULL, (MOST + 1) * LARGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bench_check(p != MAP_FAILED);
	p = (char *)(((uintptr_t)p + LARGE - 1) & -LARGE);
	bench_check(!madvise(p, MOST * LARGE, MADV_HUGEPAGE));
	for (at = 0; at < MOST * LARGE; at += 4096)
		p[at] = 1;
	g->large = (uint64_t *)p;
}

static void with_large_windows(struct gups *g)
{
	static const char *const names[] = {
		"one_mapping_large", "vas_large", NULL
	};

	if (!bench_wanted_any("gups", names))
		return;
	attach_large(g);
	for (g->windows = 1; g->windows <= MOST; g->windows *= 4)
		for (g->set = 64; g->set >= 16; g->set /= 4) {
			run("one_mapping_large", one_mapping_large, g);
			run("vas_large", by_vas_large, g);
		}
}

static void with_windows(struct gups *g, unsigned int windows, unsigned int set)
{
	static const char *const names[] = { "processes", NULL };

	g->windows = windows;
	g->set = set;
	run("one_mapping", one_mapping, g);
	run("vas", by_vas, g);
	run("mmap", by_mmap, g);
	if (bench_wanted_any("gups", names)) {
		start_processes(g);
		run("processes", by_process, g);
		stop_processes(g);
	}
}

int main(int argc, char **argv)
{
	struct gups *g = calloc(1, sizeof(*g));
	unsigned int v;
	size_t w;

	bench_init(argc, argv);
	g->memory = mmap(NULL, MOST * WINDOW, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bench_check(g->memory != MAP_FAILED);
	for (v = 0; v < MOST; v++) {
		g->fds[v] = memfd_create("gups", MFD_CLOEXEC);
		bench_check(write(g->fds[v], g->memory, WINDOW) == WINDOW);
	}
	attach_all(g);
	for (v = 1; v <= MOST; v *= 4) {
		/* the last series unmapped a part of it */
		mmap(g->memory, MOST * WINDOW, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		for (w = 0; w < v * WORDS; w += 512)
			g->memory[w] = 1;
		with_windows(g, v, 64);
		mmap(g->memory, MOST * WINDOW, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		for (w = 0; w < v * WORDS; w += 512)
			g->memory[w] = 1;
		with_windows(g, v, 16);
	}
	with_large_windows(g);
	return 0;
}
