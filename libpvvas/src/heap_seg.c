// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Heaps and segments: which heap a call means, and may the thread use it here?
 *
 * The driver knows; the process remembers what it said (heap_answers.c) until
 * it changes its attachments.  If another process takes the segment out of the
 * VAS, using it faults, as using any pointer into it does.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "heap_seg.h"
#include "internal.h"

/* How long a call waits for a thread that holds a heap's lock, in seconds. */
#define PATIENCE_S	30
#define PAGE		4096

/* Of Linux 5.14; an older one says EINVAL. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct seg_heap *heaps;
_Atomic uint32_t pvvas_heap_changes = 1;
__thread struct seg_heap_answers pvvas_heap_answers;

void pvvas_heaps_changed(void)
{
	atomic_fetch_add(&pvvas_heap_changes, 1);
}

/*
 * This process as an owner of locks.
 */

static bool dead(uint64_t token)
{
	const struct pvvas_backend *be = pvvas_backend_opened();

	return be && be->alive(token) == 0;
}

static int token(uint64_t *number)
{
	const struct pvvas_backend *be = pvvas_backend_opened();

	return be ? be->token(number) : -EPERM;
}

/*
 * The software backend's memory is that of a file, and of a full file system each
 * access is SIGBUS.  Its registry is not locked, while the heap is: a process that
 * is stopped there would stop all others.
 */
static int have_of_file(const void *from, size_t bytes, int how)
{
	int saved = errno, err = 0;

	if (madvise((void *)((uintptr_t)from & -(uintptr_t)PAGE),
		    ((uintptr_t)from & (PAGE - 1)) + bytes, how) < 0 &&
	    errno == EFAULT)
		err = -ENOMEM;
	errno = saved;
	return err;
}

/* What cannot be had for another reason than a limit is not looked for here. */
static int have(const struct pvvas_heap *h, const void *from, size_t bytes)
{
	const struct seg_heap *sh = (const void *)((const char *)h -
				    offsetof(struct seg_heap, heap));
	size_t first = ((uintptr_t)from - (uintptr_t)h->base) & -(size_t)PAGE;
	size_t last = (uintptr_t)from - (uintptr_t)h->base + bytes - 1;
	struct pvvas_ioc_range arg = {
		.size = sizeof(arg),
		.seg = (uint32_t)sh->sid,
		.offset = first,
		.length = (last & -(size_t)PAGE) + PAGE - first,
	};
	const struct pvvas_backend *be = pvvas_backend_opened();
	int err;

	if (!be)
		return 0;
	if (!be->fast_switch)
		return have_of_file(from, bytes, MADV_POPULATE_WRITE);
	err = pvvas_call(PVVAS_IOC_SEG_POPULATE, &arg);
	return err == -ENOMEM || err == -ENOSPC || err == -EDQUOT ? -ENOMEM : 0;
}

static const struct pvvas_heap_owner self = {
	.token = token,
	.dead = dead,
	.have = have,
	.patience = PATIENCE_S,
};

/* The child has no window, and so no heaps, until it attaches something. */
void pvvas_heaps_forked(void)
{
	pthread_mutex_init(&lock, NULL);
	heap_answers_forked();
	heaps = NULL;
	pvvas_heap_forget_self();
	pvvas_heaps_changed();
}

/*
 * Asking the driver.
 */

/*
 * The next segment of the attachment after @sid: its id, its rights, and which
 * memory it shows.
 */
static int next_segment(int vh, int sid, unsigned int *rights, uint64_t *memory)
{
	struct pvvas_ioc_link arg = {
		.size = sizeof(arg),
		.target = (uint32_t)vh,
		.seg = (uint32_t)sid,
	};
	int err = pvvas_call(PVVAS_IOC_LINK_NEXT, &arg);

	if (err)
		return err;
	*rights = arg.prot;
	*memory = arg.memory;
	return (int)arg.seg;
}

static int may_write(int vh, int sid, uint64_t *memory)
{
	unsigned int rights = 0;
	int found = next_segment(vh, sid - 1, &rights, memory);

	if (found < 0 && found != -ENOENT)
		return found;
	return found == sid && rights & PVVAS_WRITE ? 0 : -EPERM;
}

/* The lock is held. */
static struct seg_heap *find_opened(int sid, uint64_t memory)
{
	struct seg_heap *sh;

	for (sh = heaps; sh; sh = sh->next)
		if (sh->sid == sid && sh->heap.memory == memory)
			return sh;
	return NULL;
}

/* The thread sees the segment, and may write to it. */
static struct seg_heap *open_heap(int sid, uint64_t memory, int *err)
{
	size_t size, now;
	struct seg_heap *sh;
	void *base;

	*err = seg_range(sid, &base, &size);
	if (*err)
		return NULL;
	sh = calloc(1, sizeof(*sh));
	if (!sh) {
		*err = -ENOMEM;
		return NULL;
	}
	sh->sid = sid;
	*err = pvvas_heap_open(&sh->heap, base, size, memory, &self);
	/* it has grown meanwhile, and another process has made the heap */
	if (*err == -ESTALE && !seg_range(sid, &base, &now) && now > size)
		*err = pvvas_heap_open(&sh->heap, base, now, memory, &self);
	if (*err) {
		free(sh);
		return NULL;
	}
	return sh;
}

/* The list's own, if another thread was faster. */
static struct seg_heap *note_opened(struct seg_heap *sh)
{
	struct seg_heap *first;

	pthread_mutex_lock(&lock);
	first = find_opened(sh->sid, sh->heap.memory);
	if (!first) {
		sh->next = heaps;
		heaps = sh;
	}
	pthread_mutex_unlock(&lock);
	if (!first)
		return sh;
	free(sh);
	return first;
}

static const struct seg_heap *ask(int vh, int sid, int *err)
{
	struct seg_heap *sh;
	uint64_t memory = 0;

	*err = may_write(vh, sid, &memory);
	if (*err)
		return NULL;
	pthread_mutex_lock(&lock);
	sh = find_opened(sid, memory);
	pthread_mutex_unlock(&lock);
	if (sh)
		return sh;
	/* without the lock: it can wait for a user of the heap */
	sh = open_heap(sid, memory, err);
	return sh ? note_opened(sh) : NULL;
}

int pvvas_seg_visible(int sid, void **base)
{
	int vh = vas_current(), found;
	unsigned int rights;
	uint64_t memory;
	size_t size;

	if (sid <= 0)
		return -EINVAL;
	if (vh == VAS_HOME)
		return -EPERM;
	found = next_segment(vh, sid - 1, &rights, &memory);
	if (found != sid)
		return found < 0 && found != -ENOENT ? found : -EPERM;
	return seg_range(sid, base, &size);
}

/* Where reading cannot have memory nothing was written. */
bool pvvas_seg_has_heap(const void *base)
{
	const struct pvvas_backend *be = pvvas_backend_opened();

	return (be->fast_switch ||
		!have_of_file(base, PAGE, MADV_POPULATE_READ)) &&
	       pvvas_heap_is_there(base);
}

static bool has_heap(int sid)
{
	size_t size;
	void *base;

	return !seg_range(sid, &base, &size) && pvvas_seg_has_heap(base);
}

/* The segment of the attachment that vas_malloc() uses; or -errno. */
static int choose(int vh)
{
	unsigned int rights = 0, writable = 0;
	int sid = 0, only = 0;
	uint64_t memory;

	while ((sid = next_segment(vh, sid, &rights, &memory)) > 0) {
		if (!(rights & PVVAS_WRITE))
			continue;
		if (has_heap(sid))
			return sid;
		writable++;
		only = sid;
	}
	if (sid != -ENOENT)
		return sid;
	return writable == 1 ? only : -ENOENT;
}

/* What the process knows, or the driver says; noted down for this thread. */
static const struct seg_heap *find(struct seg_heap_answer *noted, int vh,
				   int sid)
{
	struct seg_heap_answer a = {
		.question = seg_heap_question(vh, sid),
		/* what changes while we ask makes the answer an old one */
		.changes = atomic_load(&pvvas_heap_changes),
	};
	int err = -EPERM;

	if (vh != VAS_HOME && !heap_answers_find(&a)) {
		err = sid ? sid : choose(vh);
		if (err > 0)
			a.heap = ask(vh, err, &err);
		if (a.heap)
			heap_answers_add(&a);
	}
	if (a.heap)
		*noted = a;
	else
		errno = -err;
	return a.heap;
}

const struct seg_heap *pvvas_seg_heap(int sid)
{
	int vh = vas_current();

	if (sid <= 0) {
		errno = EINVAL;
		return NULL;
	}
	return find(&pvvas_heap_answers.seg[sid % SEG_HEAPS_REMEMBERED], vh, sid);
}

const struct seg_heap *pvvas_vas_heap(void)
{
	return find(&pvvas_heap_answers.vas, vas_current(), 0);
}
