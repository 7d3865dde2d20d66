// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Replay a trace on one allocator, for counting.
 *
 *   replay ALLOCATOR TRACE [peak]
 *
 * ALLOCATOR: glibc, heap (a heap in a segment of the software backend), or
 * none (the loop without any allocator, to subtract).  Prints the number of
 * calls and, with "peak" (every byte of every block is written), the most
 * memory that the process got for them, in KiB.  Instructions are counted from
 * outside, in replay_trace().
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "allocators.h"
#include "trace.h"

/* One call, with numbers for blocks. */
struct call {
	uint32_t op;
	uint32_t align;
	uint32_t old;
	uint32_t new;
	uint64_t size;
};

struct trace {
	struct call *calls;
	size_t nr_calls;
	void **blocks;
	size_t nr_blocks;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

/*
 * Addresses to block numbers: an open hash table; a number is that of the event
 * that made the block.
 */
struct map {
	uint64_t *keys;
	uint32_t *values;
	size_t mask;
};

static size_t slot(const struct map *m, uint64_t key)
{
	size_t i = (key * 0x9e3779b97f4a7c15ULL >> 20) & m->mask;

	while (m->keys[i] && m->keys[i] != key)
		i = (i + 1) & m->mask;
	return i;
}

static void set(struct map *m, uint64_t key, uint32_t value)
{
	size_t i = slot(m, key);

	m->keys[i] = key;
	m->values[i] = value;
}

/* 0: not a block that we know, or freed before */
static uint32_t take(struct map *m, uint64_t key)
{
	size_t i = slot(m, key);
	uint32_t value = m->keys[i] ? m->values[i] : 0;

	m->values[i] = 0;
	return value;
}

static bool translate(struct map *m, const struct event *e, uint32_t number,
		      struct call *c)
{
	*c = (struct call){
		.op = e->op & 0xff,
		.align = e->op >> 8,
		.size = e->size,
	};
	if (c->op == EVENT_FREE || (c->op == EVENT_REALLOC && e->old)) {
		c->old = take(m, e->old);
		if (!c->old)
			return false;
	}
	if (c->op == EVENT_FREE)
		return true;
	if (c->op == EVENT_REALLOC && !e->size) {
		c->op = EVENT_FREE;
		return true;
	}
	if (!e->ptr)
		return false;
	c->new = number;
	set(m, e->ptr, number);
	return true;
}

static void load(const char *path, struct trace *t)
{
	const struct event *events;
	struct map map = { .mask = 1023 };
	size_t n, i, bytes;
	struct stat st;
	int fd;

	fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) < 0)
		die(path);
	n = (size_t)st.st_size / sizeof(*events);
	events = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (!n || events == MAP_FAILED)
		die(path);
	while (map.mask < n * 2)
		map.mask = map.mask * 2 + 1;
	bytes = (map.mask + 1) * (sizeof(*map.keys) + sizeof(*map.values));
	map.keys = memory(bytes);
	map.values = (uint32_t *)(map.keys + map.mask + 1);

	t->nr_blocks = n + 1;
	t->calls = memory(n * sizeof(*t->calls));
	t->blocks = memory(t->nr_blocks * sizeof(*t->blocks));
	for (i = 0; i < n; i++)
		if (translate(&map, &events[i], (uint32_t)i + 1,
			      &t->calls[t->nr_calls]))
			t->nr_calls++;
	munmap(map.keys, bytes);
	munmap((void *)events, (size_t)st.st_size);
	close(fd);
}

/* Kept out of line: what is called in here is what is counted. */
__attribute__((noinline))
void replay_trace(const struct allocator *a, const struct trace *t, bool touch)
{
	void **blocks = t->blocks;
	size_t i;

	for (i = 0; i < t->nr_calls; i++) {
		const struct call *c = &t->calls[i];
		void *p = NULL;

		switch (c->op) {
		case EVENT_MALLOC:
			p = a->malloc(c->size);
			break;
		case EVENT_CALLOC:
			p = a->calloc(1, c->size);
			break;
		case EVENT_REALLOC:
			p = a->realloc(blocks[c->old], c->size);
			break;
		case EVENT_MEMALIGN:
			p = a->memalign(c->align, c->size);
			break;
		case EVENT_FREE:
			a->free(blocks[c->old]);
			continue;
		}
		if (!p)
			die("allocation");
		blocks[c->new] = p;
		if (touch)
			memset(p, 0x5a, c->size);
	}
}

static long status_kib(const char *field)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");
	size_t n = strlen(field);
	long kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, field, n))
			kib = atol(line + n);
	if (f)
		fclose(f);
	return kib;
}

/* From here on, VmHWM is the most that was resident. */
static void reset_peak(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY);

	if (fd < 0 || write(fd, "5", 1) != 1)
		die("clear_refs");
	close(fd);
}

int main(int argc, char **argv)
{
	const struct allocator *a = argc > 1 ? find_allocator(argv[1]) : NULL;
	bool peak = argc > 3;
	struct trace t = { 0 };
	long before = 0;

	if (argc < 3 || !a) {
		fprintf(stderr, "usage: replay ALLOCATOR TRACE [peak]\n");
		return 2;
	}
	load(argv[2], &t);
	a->setup();
	if (peak) {
		before = status_kib("VmRSS:");
		reset_peak();
		before = status_kib("VmRSS:");
	}
	replay_trace(a, &t, peak && a->is_real);
	printf("%zu", t.nr_calls);
	if (peak)
		printf(" %ld", status_kib("VmHWM:") - before);
	putchar('\n');
	return 0;
}
