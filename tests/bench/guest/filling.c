// SPDX-License-Identifier: GPL-2.0-only
/*
 * What it costs to fill memory for the first time: segments beside anonymous memory
 * with and without pages of 2 MiB, files in memory and hugetlbfs.  Each batch fills
 * memory that was made for it; figures are for each page of 4 KiB.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "bench.h"

#define GROUP	"filling"
#define PAGE	4096UL
#define BLOCK	(2 * MIB)
#define GIB	(1024 * MIB)
#define SPARSE	8	/* one page of so many is touched at random */
#define MOST_THREADS	8

enum kind { ANON_THP, ANON_SMALL, MEMFD, HUGETLB, VAS, VAS_SMALL, VAS_HUGE,
	    NR_KINDS };

static const char *const kind_names[NR_KINDS] = {
	"anonymous_thp", "anonymous_small", "memfd", "hugetlbfs", "vas",
	"vas_small", "vas_huge",
};

struct area {
	enum kind kind;
	size_t size;
	bool from_child;	/* another process fills it first */
	bool filled;		/* so does this one */
	char *base;
	void *mapping;
	int vid, sid, vh;
	int clone;		/* of the segment, or 0 */
	int file;		/* what read() reads */
	uint32_t *order;	/* of pages that are touched at random */
	size_t touches;
	int threads;
	int cpu;
};

static bool is_vas(const struct area *a)
{
	return a->kind >= VAS;
}

static void touch_in_order(unsigned long n, void *arg)
{
	const struct area *a = arg;
	size_t at;

	(void)n;
	for (at = 0; at < a->size; at += PAGE)
		((volatile char *)a->base)[at] = 1;
}

static void touch_at_random(unsigned long n, void *arg)
{
	const struct area *a = arg;
	size_t i;

	(void)n;
	for (i = 0; i < a->touches; i++)
		((volatile char *)a->base)[a->order[i] * PAGE] = 1;
}

static void *touch_part(void *arg)
{
	const struct area *part = arg;
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(part->cpu, &cpu);
	bench_check(!pthread_setaffinity_np(pthread_self(), sizeof(cpu), &cpu));
	if (is_vas(part))
		bench_id(vas_switch(part->vh));
	touch_in_order(1, arg);
	if (is_vas(part))
		bench_id(vas_switch(VAS_HOME));
	return NULL;
}

/* Each thread on a processor of its own. */
static void touch_by_threads(unsigned long n, void *arg)
{
	const struct area *a = arg;
	struct area part[MOST_THREADS];
	pthread_t thread[MOST_THREADS];
	int i;

	(void)n;
	for (i = 0; i < a->threads; i++) {
		part[i] = *a;
		part[i].cpu = i;
		part[i].size /= (size_t)a->threads;
		part[i].base += (size_t)i * part[i].size;
		bench_check(!pthread_create(&thread[i], NULL, touch_part,
					    &part[i]));
	}
	for (i = 0; i < a->threads; i++)
		pthread_join(thread[i], NULL);
}

static void read_file(unsigned long n, void *arg)
{
	const struct area *a = arg;

	(void)n;
	bench_check(pread(a->file, a->base, a->size, 0) == (ssize_t)a->size);
}

static void populate(unsigned long n, void *arg)
{
	const struct area *a = arg;

	(void)n;
	if (is_vas(a))
		bench_id(seg_populate(a->sid, a->base, a->size));
	else
		bench_check(!madvise(a->base, a->size, MADV_POPULATE_WRITE));
}

/* Data that are in memory already. */
static void fill(unsigned long n, void *arg)
{
	static char data[BLOCK] __attribute__((aligned(4096)));
	const struct area *a = arg;
	size_t at;

	(void)n;
	for (at = 0; at < a->size; at += BLOCK)
		if (is_vas(a))
			bench_id(seg_fill(a->sid, a->base + at, data, BLOCK));
		else
			memcpy(a->base + at, data, BLOCK);
}

static void clone_segment(unsigned long n, void *arg)
{
	struct area *a = arg;

	(void)n;
	a->clone = bench_id(seg_clone(a->sid));
}

static void discard_and_touch(unsigned long n, void *arg)
{
	const struct area *a = arg;

	if (is_vas(a))
		bench_id(seg_discard(a->sid, a->base, a->size));
	else
		bench_check(!madvise(a->base, a->size, MADV_DONTNEED));
	touch_in_order(n, arg);
}

static void make_mapping(struct area *a)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;

	if (a->kind == MEMFD) {
		fd = memfd_create("bench", MFD_CLOEXEC);
		bench_check(fd >= 0 && !ftruncate(fd, (off_t)(a->size + BLOCK)));
		flags = MAP_SHARED;
	} else if (a->kind == HUGETLB) {
		flags |= MAP_HUGETLB;
	}
	/* room to align */
	a->mapping = mmap(NULL, a->size + BLOCK, PROT_READ | PROT_WRITE,
			  flags | (a->kind == HUGETLB ? MAP_NORESERVE : 0), fd,
			  0);
	bench_check(a->mapping != MAP_FAILED);
	a->base = (char *)(((uintptr_t)a->mapping + BLOCK - 1) & -BLOCK);
	if (a->kind == ANON_THP || a->kind == ANON_SMALL)
		bench_check(!madvise(a->base, a->size, a->kind == ANON_THP ?
				     MADV_HUGEPAGE : MADV_NOHUGEPAGE));
	if (fd >= 0)
		close(fd);
}

static void make_segment(struct area *a)
{
	struct seg_options options = {
		.size = sizeof(options),
		.flags = a->kind == VAS_SMALL ? SEG_SMALL :
			 a->kind == VAS_HUGE ? SEG_HUGE : 0,
	};
	size_t size;

	a->vid = bench_id(vas_create(NULL, 0600));
	a->sid = bench_id(seg_alloc_with(NULL, NULL, a->size, 0600, &options));
	bench_id(seg_range(a->sid, (void **)&a->base, &size));
	bench_id(seg_attach(a->vid, a->sid));
	a->vh = bench_id(vas_attach(a->vid));
}

static void fill_in_child(struct area *a)
{
	pid_t pid = fork();
	int status;

	bench_check(pid >= 0);
	if (!pid) {
		if (is_vas(a))
			bench_id(vas_switch(bench_id(vas_attach(a->vid))));
		touch_in_order(1, a);
		_exit(0);
	}
	bench_check(waitpid(pid, &status, 0) == pid && !status);
}

static void make(unsigned long n, void *arg)
{
	struct area *a = arg;

	(void)n;
	if (is_vas(a))
		make_segment(a);
	else
		make_mapping(a);
	if (a->from_child)
		fill_in_child(a);
	if (is_vas(a))
		bench_id(vas_switch(a->vh));
	if (a->filled)
		touch_in_order(1, a);
}

/* Nothing is freed meanwhile, on this processor or on another one. */
static void wait_until_freed(void)
{
	struct pvvas_stats stats = { .size = sizeof(stats) };

	do
		bench_id(pvvas_stats(&stats));
	while (stats.freeing && !usleep(1000));
}

static void unmake(unsigned long n, void *arg)
{
	struct area *a = arg;

	(void)n;
	if (!is_vas(a)) {
		munmap(a->mapping, a->size + BLOCK);
		return;
	}
	bench_id(vas_switch(VAS_HOME));
	bench_id(vas_detach(a->vh));
	bench_id(vas_delete(a->vid));
	bench_id(seg_delete(a->sid));
	if (a->clone)
		bench_id(seg_delete(a->clone));
	a->clone = 0;
	wait_until_freed();
}

static void run(const char *name, void (*op)(unsigned long, void *),
		struct area a, bool fragmented)
{
	const char *params = bench_text("\"memory\": \"%s\", \"mib\": %zu, \"fragmented\": %d",
					kind_names[a.kind], a.size / MIB,
					fragmented);

	bench_run(&(struct bench){
		GROUP, name, params, op, make, unmake, &a,
		BENCH_ONCE | BENCH_NO_STEP,
		(unsigned int)(a.touches ?: a.size / PAGE), 1 });
}

/* One page of each SPARSE, in an order without order. */
static void choose_pages(struct area *a)
{
	size_t pages = a->size / PAGE, i, j;
	uint64_t state = 88172645463325252ULL;
	uint32_t swap;

	a->order = calloc(pages, sizeof(*a->order));
	bench_check(a->order);
	for (i = 0; i < pages; i++)
		a->order[i] = (uint32_t)i;
	a->touches = pages / SPARSE;
	for (i = 0; i < a->touches; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		j = i + state % (pages - i);
		swap = a->order[i];
		a->order[i] = a->order[j];
		a->order[j] = swap;
	}
}

static void at_random(enum kind kind, bool fragmented)
{
	struct area a = { .kind = kind, .size = 64 * MIB };

	choose_pages(&a);
	run("touch_at_random", touch_at_random, a, fragmented);
	free(a.order);
}

static int file_to_read(size_t size)
{
	int fd = memfd_create("source", MFD_CLOEXEC);
	char *p;

	bench_check(fd >= 0 && !ftruncate(fd, (off_t)size));
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	bench_check(p != MAP_FAILED);
	memset(p, 1, size);
	munmap(p, size);
	return fd;
}

static size_t free_bytes(void)
{
	return (size_t)sysconf(_SC_AVPHYS_PAGES) * PAGE;
}

/* What the kernel wants to keep free, and more. */
#define SPARE	(96 * MIB)

/*
 * All memory that is free but for SPARE, each page touched, so that the host has it;
 * of 32 pages in a row, if @keep, 16 are given back.
 */
static void *take_memory(size_t *size, bool keep)
{
	size_t at;
	char *p;

	*size = (free_bytes() - SPARE) & -BLOCK;
	p = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	bench_check(p != MAP_FAILED);
	bench_check(!madvise(p, *size, keep ? MADV_NOHUGEPAGE :
			     MADV_HUGEPAGE));
	for (at = 0; at < *size; at += PAGE)
		p[at] = 1;
	for (at = 0; keep && at < *size; at += 32 * PAGE)
		bench_check(!madvise(p + at, 16 * PAGE, MADV_DONTNEED));
	return p;
}

/* Pieces of 2 MiB and more that are free. */
static unsigned long large_pieces(void)
{
	unsigned long n[11], sum = 0;
	FILE *f = fopen("/proc/buddyinfo", "r");

	bench_check(f);
	while (fscanf(f, "Node %*d, zone %*s %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu ",
		      &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7],
		      &n[8], &n[9], &n[10]) == 11)
		sum += n[9] + n[10];
	fclose(f);
	return sum;
}

/* Those that are left, as pages of 2 MiB. */
static void *take_large_pieces(size_t *size)
{
	char *p;
	size_t at;

	*size = 2 * SPARE;
	p = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	bench_check(p != MAP_FAILED && !madvise(p, *size, MADV_HUGEPAGE));
	for (at = 0; at < *size && large_pieces(); at += BLOCK)
		p[at] = 1;
	bench_note("  %lu pieces of 2 MiB are left", large_pieces());
	return p;
}

static bool hugetlb_pool(size_t bytes)
{
	const char *path = "/proc/sys/vm/nr_hugepages";
	unsigned long there = 0;
	FILE *f = fopen(path, "w");

	if (f) {
		fprintf(f, "%lu\n", bytes / BLOCK);
		fclose(f);
	}
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%lu", &there) != 1)
			there = 0;
		fclose(f);
	}
	if (there < bytes / BLOCK)
		bench_note("  no %zu MiB of hugetlbfs are to be had",
			   bytes / MIB);
	return there >= bytes / BLOCK;
}

static void all_of_kind(enum kind kind, int file)
{
	const struct area large = { .kind = kind, .size = 128 * MIB };
	const struct area small = { .kind = kind, .size = 32 * MIB };
	struct area a;

	run("touch_in_order", touch_in_order, large, false);
	at_random(kind, false);
	a = (struct area){ .kind = kind, .size = 16 * MIB, .file = file };
	run("read_into", read_file, a, false);
	run("populate", populate, small, false);
	run("fill", fill, small, false);
	a = small;
	a.filled = true;
	run("discard_and_touch_in_order", discard_and_touch, a, false);
	if (is_vas(&a))
		run("clone", clone_segment, a, false);
	if (kind < MEMFD)
		return;
	/* what is private to a process no other one fills */
	a = small;
	a.from_child = true;
	if (kind != HUGETLB)
		run("touch_what_another_has_filled", touch_in_order, a, false);
}

/* What one thread touches, and then by as many as there are processors. */
static void by_threads(enum kind kind, int cpus)
{
	struct area a = { .kind = kind, .size = 256 * MIB };

	for (a.threads = 1; a.threads <= cpus && a.threads <= MOST_THREADS;
	     a.threads *= 2)
		bench_run(&(struct bench){
			GROUP, "touch_in_order_by_threads",
			bench_text("\"memory\": \"%s\", \"mib\": %zu, \"threads\": %d",
				   kind_names[kind], a.size / MIB, a.threads),
			touch_by_threads, make, unmake, &a,
			BENCH_ONCE | BENCH_NO_STEP,
			(unsigned int)(a.size / PAGE), 1 });
}

/* The driver's own limit is half of the memory. */
static void limit_of_segments(size_t bytes)
{
	FILE *f = fopen("/sys/module/pvvas/parameters/max_memory_mib", "w");

	bench_check(f && fprintf(f, "%lu\n", bytes / MIB) > 0 && !fclose(f));
}

/* In a guest that has room for it, which is for that alone. */
static void one_gib(void)
{
	static const enum kind large[] = { ANON_THP, VAS };
	size_t i;

	limit_of_segments(2 * GIB);
	for (i = 0; i < sizeof(large) / sizeof(large[0]); i++)
		run("touch_1_gib_in_order", touch_in_order,
		    (struct area){ .kind = large[i], .size = GIB }, false);
}

int main(int argc, char **argv)
{
	static const enum kind kinds[] = { ANON_SMALL, VAS, VAS_SMALL, MEMFD };
	static const enum kind shared[] = { ANON_THP, ANON_SMALL, MEMFD, VAS };
	int file, cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
	size_t size, large_size, i;
	void *taken, *large;
	enum kind kind;

	bench_init(argc, argv);
	taken = take_memory(&size, false);
	munmap(taken, size);
	if (free_bytes() > GIB + 2 * SPARE) {
		one_gib();
		return 0;
	}
	if (cpus > 1) {
		for (i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
			by_threads(shared[i], cpus);
		return 0;
	}
	file = file_to_read(16 * MIB);
	for (kind = 0; kind < NR_KINDS; kind++) {
		if (kind == HUGETLB && !hugetlb_pool(160 * MIB))
			continue;
		all_of_kind(kind, file);
		if (kind == HUGETLB)
			hugetlb_pool(0);
	}
	/* no 2 MiB in one piece */
	taken = take_memory(&size, true);
	large = take_large_pieces(&large_size);
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const struct area a = { .kind = kinds[i], .size = 32 * MIB };

		run("touch_in_order", touch_in_order, a, true);
		run("populate", populate, a, true);
		at_random(kinds[i], true);
	}
	munmap(large, large_size);
	munmap(taken, size);
	return 0;
}
