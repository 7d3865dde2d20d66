// SPDX-License-Identifier: GPL-2.0-only
/*
 * What making and unmaking costs: VASes, segments and attachments, beside
 * processes and mappings.
 */
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "bench.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define GROUP	"building"

/* One VAS with one segment, its attachment, and a segment that is free. */
struct scene {
	int vid, sid, vh;
	int spare;
	int other;		/* another VAS */
	size_t size;
	size_t at;
	char *base;		/* where the system put the segment */
	int fd;
};

static void vas_create_delete(unsigned long n, void *arg)
{
	(void)arg;
	BENCH_LOOP(n)
		bench_id(vas_delete(bench_id(vas_create("bench", 0600))));
}

static void seg_alloc_delete(unsigned long n, void *arg)
{
	const struct scene *s = arg;

	BENCH_LOOP(n)
		bench_id(seg_delete(bench_id(seg_alloc("bench", BASE, s->size,
						       0600))));
}

static void attach_detach(unsigned long n, void *arg)
{
	const struct scene *s = arg;

	BENCH_LOOP(n)
		bench_id(vas_detach(bench_id(vas_attach(s->vid))));
}

/* Each attach is of another VAS than the one before. */
static void attach_detach_in_turn(unsigned long n, void *arg)
{
	const struct scene *s = arg;

	BENCH_LOOP(n) {
		bench_id(vas_detach(bench_id(vas_attach(s->vid))));
		bench_id(vas_detach(bench_id(vas_attach(s->other))));
	}
}

/* The first touch of one page after the other. */
static void demand_page(unsigned long n, void *arg)
{
	struct scene *s = arg;

	BENCH_LOOP(n) {
		*(volatile char *)(s->base + s->at) = 1;
		s->at += 4096;
	}
}

static void seg_attach_detach(unsigned long n, void *arg)
{
	const struct scene *s = arg;

	BENCH_LOOP(n) {
		bench_id(seg_attach(s->vh, s->spare));
		bench_id(seg_detach(s->vh, s->spare));
	}
}

static void whole_life(unsigned long n, void *arg)
{
	(void)arg;
	BENCH_LOOP(n) {
		int vid = bench_id(vas_create("bench", 0600));
		int vh = bench_id(vas_attach(vid));

		bench_id(vas_detach(vh));
		bench_id(vas_delete(vid));
	}
}

static void whole_life_used(unsigned long n, void *arg)
{
	const struct scene *s = arg;

	BENCH_LOOP(n) {
		int vid = bench_id(vas_create("bench", 0600));
		int sid = bench_id(seg_alloc("bench", BASE, s->size, 0600));
		int vh;

		bench_id(seg_attach(vid, sid));
		vh = bench_id(vas_attach(vid));
		bench_id(vas_switch(vh));
		*(volatile char *)BASE = 1;
		vas_switch(VAS_HOME);
		bench_id(vas_detach(vh));
		bench_id(seg_delete(sid));
		bench_id(vas_delete(vid));
	}
}

static void fork_exit_wait(unsigned long n, void *arg)
{
	(void)arg;
	BENCH_LOOP(n) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			bench_fail("fork: %d", errno);
	}
}

static void spawn_wait(unsigned long n, void *arg)
{
	char *argv[] = { "true", NULL }, *env[] = { NULL };

	(void)arg;
	BENCH_LOOP(n) {
		pid_t pid;
		int err = posix_spawn(&pid, "/bin/true", NULL, NULL, argv, env);

		if (err || waitpid(pid, NULL, 0) != pid)
			bench_fail("posix_spawn: %d", err);
	}
}

static void *map(void *at, size_t size, int flags, int fd)
{
	void *p = mmap(at, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		bench_fail("mmap: %d", errno);
	return p;
}

static void mmap_munmap(unsigned long n, void *arg)
{
	const struct scene *s = arg;

	BENCH_LOOP(n)
		munmap(map(NULL, s->size, MAP_SHARED, s->fd), s->size);
}

/* What makes all of the memory usable at once, as attaching does. */
static void mmap_populate_munmap(unsigned long n, void *arg)
{
	const struct scene *s = arg;

	BENCH_LOOP(n)
		munmap(map(NULL, s->size, MAP_SHARED | MAP_POPULATE, s->fd),
		       s->size);
}

static void memfd_fixed(unsigned long n, void *arg)
{
	const struct scene *s = arg;
	void *at = (void *)(VAS_WINDOW_BASE - (1UL << 42));

	BENCH_LOOP(n) {
		int fd = memfd_create("bench", MFD_CLOEXEC);

		if (fd < 0 || ftruncate(fd, (off_t)s->size))
			bench_fail("memfd: %d", errno);
		map(at, s->size, MAP_SHARED | MAP_FIXED_NOREPLACE, fd);
		*(volatile char *)at = 1;
		munmap(at, s->size);
		close(fd);
	}
}

static void run(const char *name, void (*op)(unsigned long, void *),
		struct scene *s, const char *params, unsigned int flags)
{
	bench_run(&(struct bench){ GROUP, name, params, op, .arg = s,
				   .flags = flags });
}

static void touch_all(const struct scene *s)
{
	size_t i;

	bench_id(vas_switch(s->vh));
	for (i = 0; i < s->size; i += 4096)
		((volatile char *)s->base)[i] = 1;
	vas_switch(VAS_HOME);
}

/* Attach and detach, of a segment of this size with memory or without. */
static void attach_of_size(size_t mib, bool populated)
{
	const char *params = bench_text("\"mib\": %zu, \"populated\": %d", mib,
					populated);
	struct scene s = { .size = mib * MIB };
	size_t size;
	static const char *const names[] = {
		"vas_attach_detach", "seg_attach_detach", NULL
	};

	if (!bench_wanted_any(GROUP, names))
		return;
	s.vid = bench_id(vas_create(NULL, 0600));
	s.sid = bench_id(seg_alloc(NULL, NULL, s.size, 0600));
	bench_id(seg_range(s.sid, (void **)&s.base, &size));
	bench_id(seg_attach(s.vid, s.sid));
	s.vh = bench_id(vas_attach(s.vid));
	if (populated)
		touch_all(&s);
	run("vas_attach_detach", attach_detach, &s, params, 0);
	bench_id(vas_detach(s.vh));
	bench_id(seg_detach(s.vid, s.sid));
	s.vh = bench_id(vas_attach(s.vid));
	s.spare = s.sid;
	run("seg_attach_detach", seg_attach_detach, &s, params, 0);
	bench_id(vas_detach(s.vh));
	bench_id(seg_delete(s.sid));
	bench_id(vas_delete(s.vid));
}

static void pages_on_demand(void)
{
	const struct seg_options options = { .size = sizeof(options),
					     .flags = SEG_SMALL };
	struct scene s = { .size = 128 * MIB };
	size_t size;

	if (!bench_wanted(GROUP, "demand_page"))
		return;
	s.vid = bench_id(vas_create(NULL, 0600));
	s.sid = bench_id(seg_alloc_with(NULL, NULL, s.size, 0600, &options));
	bench_id(seg_range(s.sid, (void **)&s.base, &size));
	bench_id(seg_attach(s.vid, s.sid));
	s.vh = bench_id(vas_attach(s.vid));
	bench_id(vas_switch(s.vh));
	run("demand_page", demand_page, &s, NULL, 0);
	vas_switch(VAS_HOME);
	bench_check(s.at <= s.size);
	bench_id(vas_detach(s.vh));
	bench_id(seg_delete(s.sid));
	bench_id(vas_delete(s.vid));
}

static void map_of_size(size_t mib, bool populated)
{
	const char *params = bench_text("\"mib\": %zu, \"populated\": %d", mib,
					populated);
	static const char *const names[] = {
		"mmap_munmap", "mmap_populate_munmap", NULL
	};
	struct scene s = { .size = mib * MIB };
	size_t i;
	char *p;

	if (!bench_wanted_any(GROUP, names))
		return;
	s.fd = memfd_create("bench", MFD_CLOEXEC);
	bench_check(s.fd >= 0 && !ftruncate(s.fd, (off_t)s.size));
	if (populated) {
		p = map(NULL, s.size, MAP_SHARED, s.fd);
		for (i = 0; i < s.size; i += 4096)
			p[i] = 1;
		munmap(p, s.size);
		run("mmap_populate_munmap", mmap_populate_munmap, &s, params,
		    0);
	}
	run("mmap_munmap", mmap_munmap, &s, params, 0);
	close(s.fd);
}

static struct pvvas_stats stats(void)
{
	struct pvvas_stats now = { .size = sizeof(now) };

	bench_id(pvvas_stats(&now));
	return now;
}

/* Tables of the guest, and KVM's shadows of them, for each of @nr. */
static void tables_of(const char *what, const struct pvvas_stats *before,
		      const struct pvvas_stats *after, unsigned int nr)
{
	bench_value(GROUP, bench_text("tables_per_%s", what), NULL, "bytes",
		    4096.0 * (double)(after->tables - before->tables) / nr);
	bench_value(GROUP, bench_text("shadow_tables_per_%s", what), NULL,
		    "bytes", 4096.0 * (double)(after->hv_shadow_pages -
					       before->hv_shadow_pages) / nr);
}

/* In bytes: tables are whole pages. */
static void memory_of_objects(void)
{
	enum { NR = 64 };
	struct pvvas_stats before, after;
	int vid[NR], vh[NR], sid[NR], first;
	unsigned int i;
	pid_t pid;

	for (i = 0; i < NR; i++)
		vid[i] = bench_id(vas_create(NULL, 0600));
	/* gets the view that was kept of an attachment before */
	first = bench_id(vas_attach(vid[0]));
	before = stats();
	for (i = 0; i < NR; i++)
		vh[i] = bench_id(vas_attach(vid[i]));
	after = stats();
	bench_check(after.hv_views - before.hv_views == NR);
	tables_of("view", &before, &after, NR);
	before = stats();
	for (i = 0; i < NR; i++)
		bench_id(vas_switch(vh[i]));
	vas_switch(VAS_HOME);
	after = stats();
	tables_of("view_to_enter", &before, &after, NR);
	for (i = 0; i < NR; i++)
		sid[i] = bench_id(seg_alloc(NULL, BASE + i * 4 * MIB, 2 * MIB,
					    0600));
	before = stats();
	for (i = 0; i < NR; i++)
		bench_id(seg_attach(vh[i], sid[i]));
	after = stats();
	bench_check(after.links - before.links == NR);
	tables_of("attached_segment", &before, &after, NR);
	before = stats();
	for (i = 0; i < NR; i++) {
		bench_id(vas_switch(vh[i]));
		BASE[i * 4 * MIB] = 1;
	}
	vas_switch(VAS_HOME);
	after = stats();
	tables_of("used_segment_of_2_mib", &before, &after, NR);
	for (i = 0; i < NR; i++) {
		bench_id(vas_detach(vh[i]));
		bench_id(seg_delete(sid[i]));
	}
	/* a second process with one attachment: a context and a view */
	before = stats();
	pid = fork();
	bench_check(pid >= 0);
	if (!pid) {
		bench_id(vas_attach(vid[0]));
		after = stats();
		bench_check(after.hv_ctxs - before.hv_ctxs == 1);
		tables_of("context_with_a_view", &before, &after, 1);
		_exit(0);
	}
	bench_check(waitpid(pid, NULL, 0) == pid);
	bench_id(vas_detach(first));
	for (i = 0; i < NR; i++)
		bench_id(vas_delete(vid[i]));
}

int main(int argc, char **argv)
{
	static const size_t sparse[] = { 2, 16, 64, 256, 1024, 16384, 1 << 18,
					 1 << 20 };
	static const size_t populated[] = { 2, 16, 64 };
	struct scene s = { .size = 2 * MIB, .fd = -1 };
	size_t i;

	bench_init(argc, argv);
	run("fork_exit_wait", fork_exit_wait, &s, NULL, BENCH_NO_STEP);
	run("posix_spawn_wait", spawn_wait, &s, NULL, BENCH_NO_STEP);
	/* a view and a context exist, as in every process that uses VASes */
	s.vid = bench_id(vas_create(NULL, 0600));
	s.vh = bench_id(vas_attach(s.vid));
	run("vas_create_delete", vas_create_delete, &s, NULL, 0);
	run("seg_alloc_delete", seg_alloc_delete, &s, NULL, 0);
	run("vas_create_attach_detach_delete", whole_life, &s, NULL, 0);
	s.other = bench_id(vas_create(NULL, 0600));
	bench_run(&(struct bench){ GROUP, "vas_attach_detach_in_turn", NULL,
				   attach_detach_in_turn, .arg = &s,
				   .per_turn = 2 });
	run("vas_and_segment_made_used_and_deleted", whole_life_used, &s, NULL,
	    0);
	run("memfd_made_mapped_used_and_closed", memfd_fixed, &s, NULL, 0);
	run("fork_exit_wait_of_a_user_of_vases", fork_exit_wait, &s, NULL,
	    BENCH_NO_STEP);
	for (i = 0; i < sizeof(sparse) / sizeof(sparse[0]); i++)
		attach_of_size(sparse[i], false);
	for (i = 0; i < sizeof(populated) / sizeof(populated[0]); i++)
		attach_of_size(populated[i], true);
	for (i = 0; i < sizeof(sparse) / sizeof(sparse[0]); i++)
		map_of_size(sparse[i], false);
	for (i = 0; i < sizeof(populated) / sizeof(populated[0]); i++)
		map_of_size(populated[i], true);
	pages_on_demand();
	memory_of_objects();
	return 0;
}
