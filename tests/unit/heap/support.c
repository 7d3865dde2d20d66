// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <life.h>

#include "support.h"

void *shared_memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

void drop_memory(void *base, size_t size)
{
	munmap(base, size);
}

/*
 * All tests of one program know this file; each process opens it for itself.
 */
static int life_file = -1;

static int open_life(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", life_file);
	return open(path, O_RDWR | O_CLOEXEC);
}

static bool dead(const struct pvvas_heap_owner *owner, uint32_t token)
{
	int fd = open_life(), held;

	(void)owner;
	if (fd < 0)
		return false;
	held = pvvas_life_held(fd, token);
	close(fd);
	return held == 0;
}

const struct pvvas_heap_owner *this_process(void)
{
	static struct pvvas_heap_owner self = { .dead = dead };
	static pid_t pid;
	static int fd;

	if (pid == getpid())
		return &self;
	if (life_file < 0)
		life_file = memfd_create("life", MFD_CLOEXEC);
	if (pid)
		close(fd);	/* the parent's */
	fd = open_life();
	assert_true(fd >= 0);
	assert_int_equal(pvvas_life_hold(fd, &self.token), 0);
	pid = getpid();
	return &self;
}

struct pvvas_heap new_heap(size_t size)
{
	struct pvvas_heap h;

	assert_int_equal(pvvas_heap_open(&h, shared_memory(size), size, 1,
					 this_process()), 0);
	assert_int_equal(count_blocks(&h), 0);
	return h;
}

void drop_heap(struct pvvas_heap *h)
{
	drop_memory(h->base, (size_t)h->end * 512);
}

uint64_t count_blocks(const struct pvvas_heap *h)
{
	struct pvvas_heap_usage u;

	assert_int_equal(pvvas_heap_check(h, &u), 0);
	return u.blocks;
}

uint64_t next_random(uint64_t *seed)
{
	uint64_t x = *seed += 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

size_t random_size(uint64_t *seed)
{
	uint64_t r = next_random(seed);

	switch (r % 16) {
	case 0:
		return r >> 32 & 0xffff;
	case 1:
	case 2:
		return r >> 32 & 0x1fff;
	case 3:
	case 4:
	case 5:
		return r >> 32 & 0x3ff;
	default:
		return r >> 32 & 0x7f;
	}
}

void fill(void *p, size_t size, uint64_t key)
{
	unsigned char *c = p;
	size_t i;

	for (i = 0; i + 8 <= size; i += 8)
		memcpy(c + i, &key, 8);
	memcpy(c + i, &key, size - i);
}

bool is_filled(const void *p, size_t size, uint64_t key)
{
	const unsigned char *c = p;
	size_t i;

	for (i = 0; i + 8 <= size; i += 8)
		if (memcmp(c + i, &key, 8))
			return false;
	return !memcmp(c + i, &key, size - i);
}
