// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a call costs while another process frees or clones much memory, and what a
 * program pays that goes through many VASes.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "bench.h"

#define GROUP	"neighbours"
#define BASE	((char *)VAS_WINDOW_FIRST)
#define PAGE	4096UL
#define VASES	8
#define MOST	20000

/* How far the other process is. */
enum { MAKING, READY, GO, DONE };

struct call {
	const char *name;
	void (*make)(struct call *c);
	void (*once)(struct call *c);
	void (*unmake)(struct call *c);
	int sid;
	char *at;
};

struct work {
	const char *name;
	size_t size;
	int (*begin)(int sid);
};

static atomic_int *stage;
static uint32_t took[MOST];

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void find_once(struct call *c)
{
	(void)c;
	bench_check(vas_find("nothing of this name") < 0);
}

static void populate_make(struct call *c)
{
	void *base;
	size_t size;

	c->sid = bench_id(seg_alloc(NULL, NULL, 1UL << 30, 0600));
	bench_id(seg_range(c->sid, &base, &size));
	c->at = base;
}

static void populate_once(struct call *c)
{
	bench_id(seg_populate(c->sid, c->at, PAGE));
	c->at += PAGE;
}

static void populate_unmake(struct call *c)
{
	bench_id(seg_delete(c->sid));
}

/* The call again and again, as long as the other process is at @until; how often. */
static unsigned int measure(struct call *c, int until, unsigned int most)
{
	unsigned int n = 0;
	uint64_t start;

	while (n < most && atomic_load(stage) != until) {
		start = bench_tsc();
		c->once(c);
		took[n++] = (uint32_t)(bench_tsc() - start);
	}
	qsort(took, n, sizeof(took[0]), compare);
	return n;
}

static void print(const struct call *c, const struct work *w, unsigned int n)
{
	const char *beside = w ? w->name : "nothing";
	const char *params = bench_text("\"beside\": \"%s\"", beside);

	bench_value(GROUP, c->name, params, "ticks", took[n / 2]);
	bench_value(GROUP, bench_text("%s_ninth_of_ten", c->name), params,
		    "ticks", took[n * 9UL / 10]);
}

static long waits(void)
{
	struct rusage usage;

	bench_check(!getrusage(RUSAGE_SELF, &usage));
	return usage.ru_nvcsw;
}

static void worker(const struct work *w)
{
	int sid = bench_id(seg_alloc(NULL, BASE, w->size, 0600)), ret;

	bench_id(seg_populate(sid, BASE, w->size));
	atomic_store(stage, READY);
	while (atomic_load(stage) == READY)
		usleep(1000);
	ret = w->begin(sid);
	atomic_store(stage, DONE);
	_exit(ret < 0);
}

static void beside(struct call *c, const struct work *w)
{
	unsigned int n;
	int status;
	long before;
	pid_t pid;

	if (!bench_wanted(GROUP, c->name))
		return;
	if (c->make)
		c->make(c);
	atomic_store(stage, MAKING);
	measure(c, -1, 100);
	n = measure(c, -1, 1000);
	print(c, NULL, n);
	pid = fork();
	bench_check(pid >= 0);
	if (!pid)
		worker(w);
	while (atomic_load(stage) == MAKING)
		usleep(1000);
	atomic_store(stage, GO);
	before = waits();
	n = measure(c, DONE, MOST);
	bench_value(GROUP, bench_text("%s_waits", c->name),
		    bench_text("\"beside\": \"%s\", \"calls\": %u", w->name, n),
		    "times", (double)(waits() - before));
	bench_check(n >= 10);
	print(c, w, n);
	bench_check(waitpid(pid, &status, 0) == pid && !status);
	if (c->unmake)
		c->unmake(c);
}

/* To the end of its pages, whichever thread frees them. */
static int delete(int sid)
{
	struct pvvas_stats stats = { .size = sizeof(stats) };
	int ret = seg_delete(sid);

	do
		bench_id(pvvas_stats(&stats));
	while (stats.freeing && !usleep(1000));
	return ret;
}

static int clone(int sid)
{
	return seg_clone(sid);
}

struct visitor {
	int handles[VASES];
};

static void visit(unsigned long n, void *arg)
{
	const struct visitor *v = arg;
	int i;

	BENCH_LOOP(n) {
		for (i = 0; i < VASES; i++) {
			void *p;

			bench_check(!vas_switch(v->handles[i]));
			p = vas_malloc(32);
			bench_check(p);
			vas_free(p);
			vas_switch(VAS_HOME);
		}
	}
}

/* A heap in each, as a program with many VASes has them. */
static void through_many(void)
{
	struct visitor v;
	int i, sid, vid;

	for (i = 0; i < VASES; i++) {
		vid = bench_id(vas_create(NULL, 0600));
		sid = bench_id(seg_alloc(NULL, BASE, MIB, 0600));
		bench_id(seg_attach(vid, sid));
		v.handles[i] = bench_id(vas_attach(vid));
		bench_check(!vas_switch(v.handles[i]));
		bench_id(seg_heap_init(sid));
		vas_switch(VAS_HOME);
	}
	bench_run(&(struct bench){ GROUP, "visit_with_a_malloc",
				   bench_text("\"vases\": %d", VASES), visit,
				   .arg = &v, .flags = BENCH_NO_STEP,
				   .per_turn = VASES });
}

int main(int argc, char **argv)
{
	const struct work deleting = { "256_mib_deleted", 256 * MIB, delete };
	const struct work cloning = { "64_mib_cloned", 64 * MIB, clone };
	struct call find = { .name = "vas_find", .once = find_once };
	struct call populate = {
		.name = "seg_populate_a_page", .make = populate_make,
		.once = populate_once, .unmake = populate_unmake,
	};

	bench_init(argc, argv);
	stage = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bench_check(stage != MAP_FAILED);
	beside(&find, &deleting);
	beside(&populate, &cloning);
	through_many();
	return 0;
}
