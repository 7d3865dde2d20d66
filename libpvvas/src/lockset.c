// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The sets of locks of this process's attachments, and the threads that take
 * them.
 *
 * A switch takes no mutex: a thread says in @using or @looking which set it looks
 * at, and in @held which locks it has.  What is taken away meanwhile is freed once
 * no thread says so any more.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lockset.h"

#define ROOM		16	/* for locks of a thread, at first */
#define ARRAY_BYTES	4096UL	/* of its array, at first */
#define MAX_ELEMENTS	65536	/* that an array can have */

/* Guards all below; and, against reap(), @room and @held of each thread. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

_Atomic(lockset_ptr *) lock_sets;

static struct lockset *retired;
static struct seglock *locks;
static struct lock_thread *threads;
/* A bit for each element that a lock has. */
static uint64_t elements[MAX_ELEMENTS / 64];

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_err;

__thread struct lock_thread *lock_self;
__thread struct lock_thread *lock_inline;

static bool set_in_use(const struct lockset *set)
{
	const struct lock_thread *t;

	for (t = threads; t; t = t->next)
		if (atomic_load(&t->using) == set ||
		    atomic_load(&t->looking) == set)
			return true;
	return false;
}

static bool lock_in_use(const struct seglock *lock)
{
	const struct lock_thread *t;
	unsigned int i;

	for (t = threads; t; t = t->next)
		for (i = 0; i < t->room; i++)
			if (__atomic_load_n(&t->held[i].lock,
					    __ATOMIC_ACQUIRE) == lock)
				return true;
	return false;
}

/* The first one that no lock has, or MAX_ELEMENTS. */
static unsigned int take_element(void)
{
	unsigned int i, bit;

	for (i = 0; i < MAX_ELEMENTS / 64; i++) {
		if (!~elements[i])
			continue;
		bit = (unsigned int)__builtin_ctzll(~elements[i]);
		elements[i] |= 1ULL << bit;
		return i * 64 + bit;
	}
	return MAX_ELEMENTS;
}

static void give_element(unsigned int n)
{
	elements[n / 64] &= ~(1ULL << n % 64);
}

static void put_locks(const struct lockset *set)
{
	unsigned int i;

	/* the entries are const for readers */
	for (i = 0; i < set->nr; i++)
		((struct seglock *)set->entries[i].lock)->refs--;
}

/* Free what no attachment needs and no thread uses; the mutex is held. */
static void reap(void)
{
	struct lockset **s = &retired, *set;
	struct seglock **l = &locks, *lock;

	/* See lockset_enter(): it looks again after it has said what it uses. */
	atomic_thread_fence(memory_order_seq_cst);
	while ((set = *s)) {
		if (set_in_use(set)) {
			s = &set->next;
			continue;
		}
		*s = set->next;
		put_locks(set);
		free(set);
	}
	while ((lock = *l)) {
		if (lock->refs || lock_in_use(lock)) {
			l = &lock->next;
			continue;
		}
		*l = lock->next;
		pvvas_backend_opened()->unmap_lock(lock);
		give_element(lock->element);
		free(lock);
	}
}

/* 0, or -ENOMEM, -ENOSPC */
static int find_lock(int sid, struct seglock **found)
{
	struct seglock *lock;
	unsigned int element;

	for (lock = locks; lock; lock = lock->next)
		if (lock->sid == sid && !lock->stale &&
		    !(lock->gone && seglock_is_gone(lock)))
			break;
	*found = lock;
	if (lock)
		return 0;
	element = take_element();
	if (element == MAX_ELEMENTS)
		return -ENOSPC;
	lock = calloc(1, sizeof(*lock));
	if (!lock) {
		give_element(element);
		return -ENOMEM;
	}
	lock->sid = sid;
	lock->element = element;
	lock->next = locks;
	locks = lock;
	*found = lock;
	return 0;
}

/* The lock of a segment, mapped as the attachment shows it. */
static int get_lock(int vh, int sid, bool exclusive, struct seglock **lock)
{
	int err;

	do {
		err = find_lock(sid, lock);
		if (err)
			return err;
		if (!(*lock)->word || (exclusive && !(*lock)->writable))
			err = pvvas_backend_opened()->map_lock(vh, *lock);
		(*lock)->stale = err == -ESTALE;
	} while (err == -ESTALE);
	return !err && exclusive && !(*lock)->writable ? -EACCES : err;
}

static int add(struct lockset **set, int vh, const struct pvvas_ioc_link *link)
{
	unsigned int nr = *set ? (*set)->nr : 0;
	bool exclusive = link->prot & PVVAS_WRITE;
	struct lockset *bigger;
	struct seglock *lock;
	int err;

	bigger = realloc(*set, sizeof(**set) +
			 (nr + 1) * sizeof(bigger->entries[0]));
	if (!bigger)
		return -ENOMEM;
	bigger->vh = vh;
	bigger->nr = nr;
	bigger->slot = 0;
	bigger->need = LOCKSET_NO_SLOT;
	if (!nr)
		bigger->room = 0;
	*set = bigger;
	err = get_lock(vh, (int)link->seg, exclusive, &lock);
	if (err)
		return err;
	lock->refs++;
	if (bigger->room <= lock->element)
		bigger->room = lock->element + 1;
	bigger->entries[bigger->nr++] = (struct lockset_entry){
		.lock = lock,
		.flags = exclusive ? SEGLOCK_EXCLUSIVE : 0,
	};
	return 0;
}

/* All lockable segments that the attachment shows; NULL if none. */
static int collect(int vh, struct lockset **set)
{
	struct pvvas_ioc_link link = {
		.size = sizeof(link),
		.target = (uint32_t)vh,
		.flags = PVVAS_LINK_LOCKABLE,
	};
	int err;

	*set = NULL;
	/* in the order of their ids */
	for (;;) {
		err = pvvas_call(PVVAS_IOC_LINK_NEXT, &link);
		if (err)
			break;
		if (link.flags & PVVAS_LINK_LOCKABLE && link.prot)
			err = add(set, vh, &link);
		/* taken out of the VAS meanwhile; others follow */
		if (err && err != -ENOENT)
			break;
		link.prot = 0;
		link.flags = PVVAS_LINK_LOCKABLE;
	}
	/* the end, or a driver that knows nothing of this */
	if (err == -ENOENT || err == -ENOTTY)
		err = 0;
	if (err && *set) {
		put_locks(*set);
		free(*set);
		*set = NULL;
	}
	return err;
}

static int need_table(void)
{
	void *p;

	if (atomic_load(&lock_sets))
		return 0;
	/* where detectors of leaks look for what leads to the sets */
	p = calloc(PVVAS_HANDLE_INDICES, sizeof(lock_sets[0]));
	if (!p)
		return -ENOMEM;
	atomic_store(&lock_sets, p);
	return 0;
}

static void replace(lockset_ptr *e, struct lockset *set)
{
	struct lockset *old = atomic_exchange(e, set);

	if (old) {
		old->next = retired;
		retired = old;
	}
}

int lockset_update(int vh)
{
	PVVAS_NO_CANCEL;
	struct lockset *set;
	int err;

	pthread_mutex_lock(&mutex);
	err = collect(vh, &set);
	if (!err && set) {
		err = need_table();
		if (err) {
			put_locks(set);
			free(set);
		}
	}
	if (!err && lockset_entry(vh))
		replace(lockset_entry(vh), set);
	reap();
	pthread_mutex_unlock(&mutex);
	return err;
}

void lockset_forget(int vh)
{
	pthread_mutex_lock(&mutex);
	if (lockset_entry(vh)) {
		replace(lockset_entry(vh), NULL);
		reap();
	}
	pthread_mutex_unlock(&mutex);
}

static void free_thread(struct lock_thread *me)
{
	struct lock_thread **t;

	for (t = &threads; *t && *t != me; t = &(*t)->next)
		;
	if (*t)
		*t = me->next;
	free(me->held);
	free(me);
}

/*
 * The thread ends.  A destructor of the program's may still leave the VAS: what
 * is held after the last round the driver takes when the thread is dead.
 */
static void thread_exits(void *arg)
{
	struct lock_thread *me = arg;

	if (locks_held() && ++me->exits < PTHREAD_DESTRUCTOR_ITERATIONS) {
		pthread_setspecific(key, me);
		return;
	}
	pthread_mutex_lock(&mutex);
	lock_inline = NULL;
	lock_self = NULL;
	if (me->array)
		munmap(me->array, me->array_bytes);
	free_thread(me);
	reap();
	pthread_mutex_unlock(&mutex);
}

static void make_key(void)
{
	key_err = -pthread_key_create(&key, thread_exits);
}

static int new_thread(const struct pvvas_backend *be)
{
	struct lock_thread *me;
	int err;

	pthread_once(&key_once, make_key);
	if (key_err)
		return key_err;
	me = calloc(1, sizeof(*me));
	if (!me)
		return -ENOMEM;
	err = be->lock_thread(&me->number);
	me->reader = PVVAS_LOCK_READERS | me->number;
	if (!err)
		err = -pthread_setspecific(key, me);
	if (err) {
		free(me);
		return err;
	}
	pthread_mutex_lock(&mutex);
	me->next = threads;
	threads = me;
	pthread_mutex_unlock(&mutex);
	lock_self = me;
	return 0;
}

/* The new array shows what the old one does. */
static int grow_array(const struct pvvas_backend *be, struct lock_thread *me,
		      unsigned int room)
{
	size_t bytes = ARRAY_BYTES;
	void *array;
	int err;

	while (bytes < room * sizeof(me->array[0]))
		bytes *= 2;
	if (bytes <= me->array_bytes)
		return 0;
	err = be->map_array(bytes, &array);
	if (err)
		return err;
	if (me->array)
		munmap(me->array, me->array_bytes);
	me->array = array;
	me->array_bytes = bytes;
	return 0;
}

static int grow(const struct pvvas_backend *be, struct lock_thread *me,
		unsigned int nr)
{
	struct seglock_hold *held, *old = me->held;
	unsigned int room = ROOM;
	int err;

	while (room < nr)
		room *= 2;
	err = grow_array(be, me, room);
	if (err)
		return err;
	held = calloc(room, sizeof(*held));
	if (!held)
		return -ENOMEM;
	pthread_mutex_lock(&mutex);
	if (old)
		memcpy(held, old, me->room * sizeof(*held));
	me->held = held;
	me->room = room;
	pthread_mutex_unlock(&mutex);
	free(old);
	return 0;
}

int lock_thread_prepare(unsigned int nr)
{
	const struct pvvas_backend *be = pvvas_backend_opened();
	int err = lock_self ? 0 : new_thread(be);

	if (!err && nr > lock_self->room)
		err = grow(be, lock_self, nr);
	return err;
}

void lockset_before_fork(void)
{
	pthread_mutex_lock(&mutex);
}

void lockset_after_fork(void)
{
	pthread_mutex_unlock(&mutex);
}

/* The mappings of words and arrays are not in the child. */
void lockset_forked(void)
{
	lockset_ptr *table = atomic_load(&lock_sets);
	struct lockset *set;
	struct seglock *lock;
	int i;

	for (i = 0; table && i < PVVAS_HANDLE_INDICES; i++)
		free(atomic_load(&table[i]));
	free(table);
	atomic_store(&lock_sets, NULL);
	while ((set = retired)) {
		retired = set->next;
		free(set);
	}
	while ((lock = locks)) {
		locks = lock->next;
		free(lock);
	}
	memset(elements, 0, sizeof(elements));
	while (threads)
		free_thread(threads);
	if (lock_self)
		pthread_setspecific(key, NULL);
	lock_inline = NULL;
	lock_self = NULL;
	pthread_mutex_init(&mutex, NULL);
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

int lockset_reset(int sid)
{
	struct pvvas_ioc_id arg = {
		.size = sizeof(arg),
		.id = (uint32_t)sid,
	};
	int err;

	if (sid <= 0)
		return -EINVAL;
	err = pvvas_call(PVVAS_IOC_SEG_LOCK_RESET, &arg);
	return err == -ENOTTY ? -EOPNOTSUPP : err;
}
