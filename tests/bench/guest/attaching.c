// SPDX-License-Identifier: GPL-2.0-only
/*
 * What attaching costs, by how many segments a VAS has: attach and detach; attach,
 * switch there, read what was there before, and detach; and a segment more.
 */
#include <stdlib.h>

#include <pvvas.h>

#include "bench.h"

#define GROUP	"attaching"
#define BASE	((char *)VAS_WINDOW_FIRST)
#define STEP	(2 * MIB)

struct scene {
	int vid;
	int spare;	/* a segment that is in no VAS */
};

static void attach_detach(unsigned long n, void *arg)
{
	const struct scene *s = arg;

	BENCH_LOOP(n)
		bench_id(vas_detach(bench_id(vas_attach(s->vid))));
}

static void attach_read_detach(unsigned long n, void *arg)
{
	const struct scene *s = arg;

	BENCH_LOOP(n) {
		int vh = bench_id(vas_attach(s->vid));

		bench_check(!vas_switch(vh));
		bench_check(*(volatile char *)BASE == 1);
		vas_switch(VAS_HOME);
		bench_id(vas_detach(vh));
	}
}

static void seg_attach_detach(unsigned long n, void *arg)
{
	const struct scene *s = arg;

	BENCH_LOOP(n) {
		bench_id(seg_attach(s->vid, s->spare));
		bench_id(seg_detach(s->vid, s->spare));
	}
}

static void run(const char *name, void (*op)(unsigned long, void *),
		struct scene *s, int segments)
{
	bench_run(&(struct bench){ GROUP, name,
				   bench_text("\"segments\": %d", segments),
				   op, .arg = s });
}

/* In a page of the first one, from another attachment. */
static void write_first(int vid)
{
	int vh = bench_id(vas_attach(vid));

	bench_check(!vas_switch(vh));
	*(volatile char *)BASE = 1;
	vas_switch(VAS_HOME);
	bench_id(vas_detach(vh));
}

static void of_many(int nr)
{
	struct scene s = { .vid = bench_id(vas_create(NULL, 0600)) };
	int i, vh, *sids = calloc((size_t)nr, sizeof(*sids));

	bench_check(sids);
	for (i = 0; i < nr; i++) {
		sids[i] = bench_id(seg_alloc(NULL, BASE + i * STEP, STEP, 0600));
		bench_id(seg_attach(s.vid, sids[i]));
	}
	s.spare = bench_id(seg_alloc(NULL, BASE + nr * STEP, STEP, 0600));
	write_first(s.vid);
	/* as in every process that uses VASes, there is another attachment */
	vh = bench_id(vas_attach(bench_id(vas_create(NULL, 0600))));
	run("vas_attach_detach", attach_detach, &s, nr);
	run("vas_attach_read_detach", attach_read_detach, &s, nr);
	run("seg_attach_detach", seg_attach_detach, &s, nr);
	bench_id(vas_detach(vh));
	bench_id(seg_delete(s.spare));
	for (i = 0; i < nr; i++)
		bench_id(seg_delete(sids[i]));
	bench_id(vas_delete(s.vid));
	free(sids);
}

int main(int argc, char **argv)
{
	static const int numbers[] = { 1, 8, 64, 512, 8000 };
	size_t i;

	bench_init(argc, argv);
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		of_many(numbers[i]);
	return 0;
}
