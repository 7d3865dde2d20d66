// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The sets of locks of this process's attachments.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lockset.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* By index of the handle; the table exists once a set does. */
static _Atomic(struct lockset **) sets;

/* Locks of this process, each mapped once and for good: others may hold it. */
struct mapped {
	struct mapped *next;
	int sid;
	struct seglock *lock;
};

static struct mapped *mapped;

static int map_lock(int sid, struct seglock **lock)
{
	const struct pvvas_backend *be;
	struct mapped *m;
	int err;

	for (m = mapped; m; m = m->next) {
		if (m->sid == sid) {
			*lock = m->lock;
			return 0;
		}
	}
	be = pvvas_backend(&err);
	if (!be)
		return err;
	m = malloc(sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->sid = sid;
	err = be->map_lock(sid, (void **)&m->lock);
	if (!err) {
		err = seglock_init(m->lock);
		if (err)
			munmap(m->lock, SEGLOCK_BYTES);
	}
	if (err) {
		free(m);
		return err;
	}
	m->next = mapped;
	mapped = m;
	*lock = m->lock;
	return 0;
}

static int by_sid(const void *a, const void *b)
{
	return ((const struct lockset_entry *)a)->sid -
	       ((const struct lockset_entry *)b)->sid;
}

static int add(struct lockset **set, const struct pvvas_ioc_link *link)
{
	unsigned int nr = *set ? (*set)->nr : 0;
	struct lockset_entry *e;
	struct lockset *bigger;
	int err;

	bigger = realloc(*set, sizeof(**set) + (nr + 1) * sizeof(*e));
	if (!bigger)
		return -ENOMEM;
	*set = bigger;
	e = &bigger->entries[nr];
	memset(e, 0, sizeof(*e));
	e->sid = (int)link->seg;
	e->exclusive = link->prot & PVVAS_WRITE;
	err = map_lock(e->sid, &e->lock);
	bigger->nr = nr + !err;
	return err;
}

/* All lockable segments that the attachment shows; NULL if none. */
static int collect(int vh, struct lockset **set)
{
	struct pvvas_ioc_link link = {
		.size = sizeof(link),
		.target = (uint32_t)vh,
	};
	int err;

	*set = NULL;
	for (;;) {
		err = pvvas_call(PVVAS_IOC_LINK_NEXT, &link);
		if (err)
			break;
		if (link.flags & PVVAS_LINK_LOCKABLE && link.prot)
			err = add(set, &link);
		if (err)
			break;
		link.prot = 0;
		link.flags = 0;
	}
	/* the end, or a driver that knows nothing of this */
	if (err == -ENOENT || err == -ENOTTY)
		err = 0;
	if (!err && *set)
		qsort((*set)->entries, (*set)->nr, sizeof((*set)->entries[0]),
		      by_sid);
	if (err) {
		free(*set);
		*set = NULL;
	}
	return err;
}

static int need_table(void)
{
	size_t bytes = PVVAS_HANDLE_INDICES * sizeof(struct lockset *);
	void *p;

	if (atomic_load(&sets))
		return 0;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	atomic_store(&sets, p);
	return 0;
}

static struct lockset **entry(int vh)
{
	struct lockset **table = atomic_load(&sets);

	return table ? &table[PVVAS_HANDLE_INDEX(vh)] : NULL;
}

int lockset_update(int vh)
{
	struct lockset *set, **e;
	int err;

	pthread_mutex_lock(&mutex);
	err = collect(vh, &set);
	if (!err && set)
		err = need_table();
	e = entry(vh);
	if (!err && e) {
		free(*e);
		__atomic_store_n(e, set, __ATOMIC_RELEASE);
	} else {
		free(set);
	}
	pthread_mutex_unlock(&mutex);
	return err;
}

void lockset_forget(int vh)
{
	struct lockset **e;

	pthread_mutex_lock(&mutex);
	e = entry(vh);
	if (e) {
		free(*e);
		__atomic_store_n(e, NULL, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&mutex);
}

bool lockset_exists(int vh)
{
	struct lockset **e = entry(vh);

	return e && __atomic_load_n(e, __ATOMIC_ACQUIRE);
}

struct lockset *lockset_get(int vh, int *err)
{
	struct lockset **e, *copy = NULL;
	size_t bytes;

	*err = 0;
	if (!lockset_exists(vh))
		return NULL;
	pthread_mutex_lock(&mutex);
	e = entry(vh);
	if (e && *e) {
		bytes = sizeof(**e) + (*e)->nr * sizeof((*e)->entries[0]);
		copy = malloc(bytes);
		if (copy)
			memcpy(copy, *e, bytes);
		else
			*err = -ENOMEM;
	}
	pthread_mutex_unlock(&mutex);
	return copy;
}

void lockset_forked(void)
{
	struct lockset **table = atomic_load(&sets);
	struct mapped *m;
	int i;

	for (i = 0; table && i < PVVAS_HANDLE_INDICES; i++)
		free(table[i]);
	if (table)
		munmap(table, PVVAS_HANDLE_INDICES * sizeof(*table));
	atomic_store(&sets, NULL);
	while (mapped) {
		m = mapped;
		mapped = m->next;
		munmap(m->lock, SEGLOCK_BYTES);
		free(m);
	}
	pthread_mutex_init(&mutex, NULL);
	locks_forked();
}

int lockset_enable(int sid, bool on)
{
	struct pvvas_ioc_seg_locking arg = {
		.size = sizeof(arg),
		.seg = (uint32_t)sid,
		.on = on,
	};
	int err;

	if (sid <= 0)
		return -EINVAL;
	err = pvvas_call(PVVAS_IOC_SEG_LOCKING, &arg);
	return err == -ENOTTY ? -EOPNOTSUPP : err;
}
