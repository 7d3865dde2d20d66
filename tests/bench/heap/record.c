// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * An LD_PRELOAD library that writes down every call of the malloc family.
 *
 * The file (HEAP_TRACE=path; "%p" in it becomes the pid) is an array of
 * struct event.  Events of several threads are in the order of their ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trace.h"

#define EXPORT	__attribute__((visibility("default")))
#define BATCH	4096

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

static struct event batch[BATCH];
static unsigned int filled;
static int fd = -1;
static atomic_flag busy = ATOMIC_FLAG_INIT;

static void enter(void)
{
	while (atomic_flag_test_and_set(&busy))
		;
}

static void leave(void)
{
	atomic_flag_clear(&busy);
}

static void flush(void)
{
	const char *path = getenv("HEAP_TRACE");
	char name[4096];
	const char *p;

	if (fd == -1 && path) {
		p = strstr(path, "%p");
		if (p)
			snprintf(name, sizeof(name), "%.*s%d%s",
				 (int)(p - path), path, getpid(), p + 2);
		else
			snprintf(name, sizeof(name), "%s", path);
		fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		/* out of the way of programs that close what they do not know */
		if (fd >= 0)
			fd = fcntl(fd, F_DUPFD_CLOEXEC, 700);
	}
	if (fd >= 0 && filled &&
	    write(fd, batch, filled * sizeof(batch[0])) < 0)
		fd = -2;
	filled = 0;
}

static void note(uint32_t op, uint64_t size, const void *old, const void *new)
{
	int saved = errno;

	enter();
	if (filled == BATCH)
		flush();
	batch[filled++] = (struct event){
		.op = op,
		.size = size,
		.old = (uintptr_t)old,
		.ptr = (uintptr_t)new,
	};
	leave();
	errno = saved;
}

__attribute__((destructor)) static void finish(void)
{
	enter();
	flush();
	leave();
}

EXPORT void *malloc(size_t size)
{
	void *p = __libc_malloc(size);

	note(EVENT_MALLOC, size, NULL, p);
	return p;
}

EXPORT void *calloc(size_t n, size_t size)
{
	void *p = __libc_calloc(n, size);

	if (p)
		note(EVENT_CALLOC, n * size, NULL, p);
	return p;
}

EXPORT void *realloc(void *old, size_t size)
{
	void *p = __libc_realloc(old, size);

	note(EVENT_REALLOC, size, old, p);
	return p;
}

EXPORT void *memalign(size_t align, size_t size)
{
	void *p = __libc_memalign(align, size);

	note(EVENT_MEMALIGN | (uint32_t)align << 8, size, NULL, p);
	return p;
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
	void *p = memalign(align, size);

	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

EXPORT void free(void *p)
{
	/* first: another thread may get this address at once */
	if (p)
		note(EVENT_FREE, 0, p, NULL);
	__libc_free(p);
}
