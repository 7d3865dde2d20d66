// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "heap.h"
#include "seglock.h"
#include "soft_life.h"

#define TRIES		16
#define TOKENS		(1ULL << 62)
#define PAGE		4096

/* Held while there is a descriptor that a forked child would get, too. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int once_err;

/* This thread's token, and what holds it. */
static __thread uint64_t mine;
static __thread void *held;
static __thread int ends;
/* The process's; under the lock. */
static uint64_t process_token;
static void *process_held;

static void before_fork(void)
{
	pthread_mutex_lock(&lock);
}

static void after_fork_in_parent(void)
{
	pthread_mutex_unlock(&lock);
}

/* The mapping was not inherited. */
static void after_fork_in_child(void)
{
	pvvas_heap_forget_self();
	held = NULL;
	process_held = NULL;
	pthread_setspecific(key, NULL);
	pthread_mutex_unlock(&lock);
}

/*
 * Whatever destroys more after this and uses a heap gets another token.  A lock
 * of a segment may still be taken with this one: see lockset.c.
 */
static void thread_ends(void *p)
{
	if (lock_self && ++ends < PTHREAD_DESTRUCTOR_ITERATIONS) {
		pthread_setspecific(key, p);
		return;
	}
	pvvas_heap_forget_self();
	if (held)
		munmap(held, PAGE);
	held = NULL;
}

static void init_once(void)
{
	once_err = -pthread_key_create(&key, thread_ends);
	if (!once_err)
		once_err = -pthread_atfork(before_fork, after_fork_in_parent,
					   after_fork_in_child);
}

static struct flock byte_lock(uint64_t token)
{
	return (struct flock){
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)token,
		.l_len = 1,
	};
}

static int lock_byte(int fd, uint64_t *token)
{
	struct flock byte;
	uint64_t n;
	int i;

	for (i = 0; i < TRIES; i++) {
		if (getrandom(&n, sizeof(n), 0) != sizeof(n))
			return -errno;
		n %= TOKENS;
		if (!n)
			continue;
		byte = byte_lock(n);
		if (!fcntl(fd, F_OFD_SETLK, &byte)) {
			*token = n;
			return 0;
		}
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
	}
	return -EAGAIN;
}

static int open_file(int dir, const char *path)
{
	int fd = openat(dir, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

/* A byte of the file that is locked as long as the mapping stays. */
static int hold(int fd, uint64_t *token, void **holds)
{
	void *p = mmap(NULL, PAGE, PROT_NONE, MAP_SHARED, fd, 0);
	int err;

	if (p == MAP_FAILED)
		return -errno;
	err = madvise(p, PAGE, MADV_DONTFORK) ? -errno : lock_byte(fd, token);
	if (err)
		munmap(p, PAGE);
	else
		*holds = p;
	return err;
}

static int hold_file(int dir, const char *path, uint64_t *token, void **holds)
{
	int fd = open_file(dir, path), err;

	if (fd < 0)
		return fd;
	err = hold(fd, token, holds);
	close(fd);
	return err;
}

static int hold_thread(int dir, const char *path)
{
	void *p;
	int err = hold_file(dir, path, &mine, &p);

	if (err)
		return err;
	err = -pthread_setspecific(key, p);
	if (err)
		munmap(p, PAGE);
	else
		held = p;
	return err;
}

int soft_life_init(void)
{
	pthread_once(&once, init_once);
	return once_err;
}

int soft_life_hold(int dir, const char *path, uint64_t *token)
{
	int err = soft_life_init();

	if (err)
		return err;
	if (!held) {
		pthread_mutex_lock(&lock);
		err = hold_thread(dir, path);
		pthread_mutex_unlock(&lock);
	}
	if (!err)
		*token = mine;
	return err;
}

int soft_life_process(int dir, const char *path, uint64_t *token)
{
	int err = soft_life_init();

	if (err)
		return err;
	pthread_mutex_lock(&lock);
	if (!process_held)
		err = hold_file(dir, path, &process_token, &process_held);
	if (!err)
		*token = process_token;
	pthread_mutex_unlock(&lock);
	return err;
}

int soft_life_held(int dir, const char *path, uint64_t token)
{
	struct flock byte = byte_lock(token);
	int fd, ret;

	if (!token || token >= TOKENS)
		return 0;
	fd = open_file(dir, path);
	if (fd < 0)
		return fd;
	ret = fcntl(fd, F_OFD_GETLK, &byte) ? -errno : byte.l_type != F_UNLCK;
	close(fd);
	return ret;
}
