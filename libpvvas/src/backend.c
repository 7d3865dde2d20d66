// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which backend this process uses, and getting it ready: lazily, once, by any
 * thread, and anew in a forked child.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "lockset.h"
#include "soft_life.h"

/* The library's descriptors have numbers from here on, if there are any. */
#define HIGH_FD		100

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(const struct pvvas_backend *) opened;
static bool prepared;
static bool fork_handlers;
static enum pvvas_backend_kind chosen = PVVAS_BACKEND_DEFAULT;

static void before_fork(void)
{
	pthread_mutex_lock(&lock);
	lockset_before_fork();
}

static void after_fork_in_parent(void)
{
	lockset_after_fork();
	pthread_mutex_unlock(&lock);
}

static void after_fork_in_child(void)
{
	PVVAS_NO_CANCEL;
	const struct pvvas_backend *be = atomic_load(&opened);

	pvvas_self_reset();
	pvvas_heaps_forked();
	lockset_forked();
	pvvas_traps_forked();
	pvvas_files_forked();
	if (be)
		be->forked();
	atomic_store(&opened, NULL);
	prepared = false;
	pthread_mutex_unlock(&lock);
}

/* What the program has chosen, or else what the environment says, or -EINVAL. */
static int wanted(void)
{
	static const char *const names[] = {
		[PVVAS_BACKEND_KERNEL] = "kernel",
		[PVVAS_BACKEND_SOFT] = "soft",
		[PVVAS_BACKEND_AUTO] = "auto",
	};
	const char *env = secure_getenv("PVVAS_BACKEND");
	int kind;

	if (chosen != PVVAS_BACKEND_DEFAULT)
		return (int)chosen;
	if (!env)
		return PVVAS_BACKEND_KERNEL;
	for (kind = PVVAS_BACKEND_KERNEL; kind <= PVVAS_BACKEND_AUTO; kind++)
		if (!strcmp(env, names[kind]))
			return kind;
	return -EINVAL;
}

static int open_wanted(const struct pvvas_backend **be)
{
	int kind = wanted(), err = -ENODEV;

	if (kind < 0)
		return kind;
	if (kind != PVVAS_BACKEND_SOFT) {
		*be = &pvvas_kernel_backend;
		err = (*be)->open();
		if (kind != PVVAS_BACKEND_AUTO ||
		    (err != -ENODEV && err != -ENOSYS))
			return err;
	}
	*be = &pvvas_soft_backend;
	return (*be)->open();
}

static int open_locked(void)
{
	PVVAS_NO_CANCEL;
	const struct pvvas_backend *be;
	int err;

	if (atomic_load(&opened))
		return 0;
	if (!fork_handlers) {
		/* the handlers registered first lock last */
		err = soft_life_init();
		if (err)
			return err;
		err = pthread_atfork(before_fork, after_fork_in_parent,
				     after_fork_in_child);
		if (err)
			return -err;
		fork_handlers = true;
	}
	err = open_wanted(&be);
	if (err)
		return err;
	atomic_store(&opened, be);
	return 0;
}

const struct pvvas_backend *pvvas_backend(int *err)
{
	const struct pvvas_backend *be = atomic_load(&opened);

	*err = 0;
	if (be)
		return be;
	pthread_mutex_lock(&lock);
	*err = open_locked();
	pthread_mutex_unlock(&lock);
	return *err ? NULL : atomic_load(&opened);
}

const struct pvvas_backend *pvvas_backend_opened(void)
{
	return atomic_load(&opened);
}

int pvvas_prepare(void)
{
	PVVAS_NO_CANCEL;
	int err;

	pthread_mutex_lock(&lock);
	err = open_locked();
	if (!err && !prepared) {
		err = atomic_load(&opened)->prepare();
		prepared = !err;
	}
	pthread_mutex_unlock(&lock);
	return err;
}

int pvvas_move_up(int fd)
{
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);

	if (high < 0)
		return fd;
	close(fd);
	return high;
}

int pvvas_call(unsigned long request, void *arg)
{
	const struct pvvas_backend *be;
	int err;

	be = pvvas_backend(&err);
	return be ? be->call(request, arg) : err;
}

PVVAS_EXPORT int pvvas_backend_select(enum pvvas_backend_kind kind)
{
	int err = 0;

	if ((unsigned int)kind > PVVAS_BACKEND_AUTO)
		return -EINVAL;
	pthread_mutex_lock(&lock);
	if (atomic_load(&opened))
		err = -EBUSY;
	else
		chosen = kind;
	pthread_mutex_unlock(&lock);
	return err;
}
