// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a switch costs, beside what a program would do instead.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <pvvas.h>

#include "bench.h"
#include "switching.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MOST	2000

struct ring {
	int *handles;
	unsigned int nr;
	unsigned int at;
	unsigned int slots[2];
};

static inline void vmfunc(unsigned int slot)
{
	__asm__ __volatile__(".byte 0x0f, 0x01, 0xd4"
			     : : "a" (0), "c" (slot) : "memory", "cc");
}

static void bare_vmfunc(unsigned long n, void *arg)
{
	const struct ring *r = arg;
	unsigned int a = r->slots[0], b = r->slots[1];

	BENCH_LOOP(n) {
		vmfunc(a);
		vmfunc(b);
	}
}

static void wrong(int err)
{
	bench_fail("vas_switch: %d", err);
}

static void switch_between_two(unsigned long n, void *arg)
{
	const struct ring *r = arg;
	int a = r->handles[0], b = r->handles[1], err;

	BENCH_LOOP(n) {
		err = vas_switch(a);
		if (err)
			wrong(err);
		err = vas_switch(b);
		if (err)
			wrong(err);
	}
}

static void switch_and_read(unsigned long n, void *arg)
{
	const struct ring *r = arg;
	int a = r->handles[0], b = r->handles[1];

	BENCH_LOOP(n) {
		vas_switch(a);
		(void)*(volatile char *)BASE;
		vas_switch(b);
		(void)*(volatile char *)BASE;
	}
}

static void switch_round(unsigned long n, void *arg)
{
	struct ring *r = arg;
	unsigned int i = r->at;

	BENCH_LOOP(n) {
		int err = vas_switch(r->handles[i]);

		if (err)
			wrong(err);
		if (++i == r->nr)
			i = 0;
	}
	r->at = i;
}

static void in_and_out(unsigned long n, void *arg)
{
	const struct ring *r = arg;
	int a = r->handles[0], err;

	BENCH_LOOP(n) {
		err = vas_switch(a);
		if (err)
			wrong(err);
		vas_switch(VAS_HOME);
	}
}

static void go_home(unsigned long n, void *arg)
{
	(void)n;
	(void)arg;
	vas_switch(VAS_HOME);
}

/* A VAS with @nr segments of a page each, 2 MiB apart. */
static int new_vas(unsigned int nr, bool lockable, int prot)
{
	int vid = bench_id(vas_create(NULL, 0600));
	unsigned int i;

	for (i = 0; i < nr; i++) {
		int sid = bench_id(seg_alloc(NULL, BASE + i * 2 * MIB, 4096,
					     0600));

		if (lockable)
			bench_id(seg_ctl(sid, SEG_CTL_LOCK_ON));
		bench_id(seg_attach_prot(vid, sid, prot));
	}
	return vid;
}

static unsigned int slot_of(int vh)
{
	bench_check(!vas_switch(vh));
	return __pvvas_self.slots[(uint16_t)vh] - 1U;
}

/* More attachments, and that each is its own: it remembers its number. */
static void grow(struct ring *r, unsigned int to)
{
	while (r->nr < to) {
		int vh = bench_id(vas_attach(new_vas(1, false, PROT_READ | PROT_WRITE)));

		r->handles[r->nr] = vh;
		bench_check(!vas_switch(vh));
		*(unsigned int *)BASE = r->nr++;
		vas_switch(VAS_HOME);
	}
}

static void check_ring(const struct ring *r)
{
	unsigned int i;

	for (i = 0; i < r->nr; i++) {
		bench_check(!vas_switch(r->handles[i]));
		bench_check(*(unsigned int *)BASE == i);
	}
	vas_switch(VAS_HOME);
}

static void with_attachments(struct ring *r, unsigned int nr)
{
	const char *params = bench_text("\"attachments\": %u", nr);

	bench_note("  %u attachments", nr);
	grow(r, nr);
	check_ring(r);
	/* with one attachment the other place is home */
	if (nr > 1) {
		r->slots[0] = slot_of(r->handles[0]);
		r->slots[1] = slot_of(r->handles[1]);
		bench_run(&(struct bench){ "switching", "bare_vmfunc", params,
					   bare_vmfunc, .arg = r,
					   .per_turn = 2, .after = go_home });
		bench_run(&(struct bench){ "switching", "vas_switch", params,
					   switch_between_two, .arg = r,
					   .per_turn = 2, .after = go_home });
		bench_run(&(struct bench){ "switching", "vas_switch_and_read",
					   params, switch_and_read, .arg = r,
					   .per_turn = 2, .after = go_home });
	}
	bench_run(&(struct bench){ "switching", "vas_switch_and_home", params,
				   in_and_out, .arg = r, .per_turn = 2 });
	/* the first two are resident: from the measurements before */
	r->at = nr > 511 ? 2 : 0;
	bench_run(&(struct bench){ "switching",
				   nr > 511 ? "vas_switch_non_resident" :
				   "vas_switch_round", params, switch_round,
				   .arg = r, .after = go_home });
	check_ring(r);
}

/* Uncontended: exclusively where the segments can be written to, else shared. */
static void with_locks(unsigned int nr, const char *name, int prot)
{
	int vh = bench_id(vas_attach(new_vas(nr, true, prot)));
	struct ring r = { .handles = &vh, .nr = 1 };

	bench_run(&(struct bench){ "switching", name,
				   bench_text("\"locks\": %u", nr), in_and_out,
				   .arg = &r, .per_turn = 2 });
	bench_check(!vas_detach(vh));
}

int main(int argc, char **argv)
{
	static const unsigned int sizes[] = { 1, 2, 8, 64, 511, MOST };
	static const char *const names[] = {
		"bare_vmfunc", "vas_switch", "vas_switch_and_read",
		"vas_switch_and_home", "vas_switch_round",
		"vas_switch_non_resident", NULL
	};
	struct ring r = { .handles = calloc(MOST, sizeof(int)) };
	size_t i;

	bench_init(argc, argv);
	alternatives();
	ping_pongs();
	for (i = 1; i <= 8; i *= 8) {
		with_locks(i, "vas_switch_locking", PROT_READ | PROT_WRITE);
		with_locks(i, "vas_switch_locking_shared", PROT_READ);
	}
	if (!bench_wanted_any("switching", names))
		return 0;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		with_attachments(&r, sizes[i]);
	return 0;
}
