// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend's registry: finding it, locking it, and its files.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "soft.h"
#include "soft_life.h"

struct soft_registry *soft_reg;
uint64_t soft_self;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static __thread bool have_mutex;
static sigset_t saved_mask;	/* of the thread that has it */
static int saved_cancel;	/* the same */

#define PAGE	4096UL

/* The pages of the registry that soft_room() knows to have memory. */
static bool has_room[sizeof(struct soft_registry) / PAGE + 1];

/* Under the mutex.  The program can close them, see find_files(). */
static int dir_fd = -1;
static int reg_fd = -1;
static char *dir_path;
static struct stat dir_stat;
static struct stat reg_stat;

/* All but those that the thread may raise itself while it has the lock. */
static void block_signals(sigset_t *old)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP,
				      SIGABRT };
	sigset_t most;
	size_t i;

	sigfillset(&most);
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&most, faults[i]);
	pthread_sigmask(SIG_BLOCK, &most, old);
}

void soft_no_sigxfsz(void)
{
	static const struct timespec now;
	int saved = errno;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGXFSZ);
	while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR)
		;
	errno = saved;
}

/* 1: @fd is this file.  0: it is another one, or none.  -errno: unknown. */
static int is_file(int fd, const struct stat *known)
{
	struct stat st;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return errno == EBADF ? 0 : -errno;
	return st.st_dev == known->st_dev && st.st_ino == known->st_ino;
}

static int open_folder(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int open_registry(int flags)
{
	return openat(dir_fd, "registry", O_RDWR | O_CLOEXEC | flags, 0600);
}

/*
 * PVVAS_SOFT_DIR, or a folder of this user's in shared memory.  One that cannot be,
 * as what it should be in is not there, is -ENOTDIR: -ENOENT is about objects.
 */
static int open_dir(void)
{
	const char *dir = secure_getenv("PVVAS_SOFT_DIR");
	char path[64];

	if (!dir) {
		snprintf(path, sizeof(path), "/dev/shm/pvvas-%u",
			 (unsigned int)geteuid());
		dir = path;
	}
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return errno == ENOENT ? -ENOTDIR : -errno;
	dir_fd = pvvas_move_up(open_folder(dir));
	if (dir_fd < 0)
		return -errno;
	/* another user's folder is no place for our data */
	if (fstat(dir_fd, &dir_stat) < 0 || dir_stat.st_uid != geteuid() ||
	    dir_stat.st_mode & 022) {
		close(dir_fd);
		dir_fd = -1;
		return -EACCES;
	}
	free(dir_path);
	dir_path = realpath(dir, NULL);
	return dir_path ? 0 : -errno;
}

/* Under the mutex: both are what they were, or are opened anew. */
static int find_files(void)
{
	int fd, is = is_file(dir_fd, &dir_stat);

	if (!is) {
		fd = open_folder(dir_path);
		if (is_file(fd, &dir_stat) != 1)
			goto lost;
		dir_fd = pvvas_move_up(fd);
	}
	if (is >= 0)
		is = is_file(reg_fd, &reg_stat);
	if (!is) {
		fd = open_registry(0);
		if (is_file(fd, &reg_stat) != 1)
			goto lost;
		reg_fd = pvvas_move_up(fd);
	}
	return is < 0 ? is : 0;
lost:
	if (fd >= 0)
		close(fd);
	return -EBADF;
}

int soft_room(const void *entry, size_t bytes)
{
	size_t at = (size_t)((const char *)entry - (const char *)soft_reg);
	size_t page = at / PAGE, last = (at + bytes - 1) / PAGE;
	int err;

	for (; page <= last; page++) {
		if (has_room[page])
			continue;
		while ((err = fallocate(reg_fd, 0, (off_t)(page * PAGE), PAGE)))
			if (errno != EINTR)
				break;
		/* elsewhere than in memory nothing may be known before */
		if (err && errno != EOPNOTSUPP)
			return -errno;
		has_room[page] = true;
	}
	return 0;
}

static int size_registry(void)
{
	if (fstat(reg_fd, &reg_stat) < 0)
		return -errno;
	if (reg_stat.st_size)
		return reg_stat.st_size == sizeof(*soft_reg) ? 0 : -EPROTO;
	if (!ftruncate(reg_fd, sizeof(*soft_reg)))
		return 0;
	if (errno == EFBIG)
		soft_no_sigxfsz();
	return -errno;
}

/* What is no entry. */
static int room_at_first(void)
{
	int err = soft_room(soft_reg, offsetof(struct soft_registry, in_use));

	return err ? err : soft_room(&soft_reg->lock_changes,
				     sizeof(soft_reg->lock_changes));
}

static int map_registry(void)
{
	void *p;
	int err;

	reg_fd = pvvas_move_up(open_registry(O_CREAT));
	if (reg_fd < 0)
		return -errno;
	while (flock(reg_fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return -errno;
	err = size_registry();
	if (!err) {
		p = mmap(NULL, sizeof(*soft_reg), PROT_READ | PROT_WRITE,
			 MAP_SHARED, reg_fd, 0);
		if (p == MAP_FAILED)
			err = -errno;
		else
			soft_reg = p;
	}
	if (!err)
		err = room_at_first();
	if (!err && !soft_reg->magic)
		soft_reg->magic = SOFT_MAGIC;
	if (!err && soft_reg->magic != SOFT_MAGIC)
		err = -EPROTO;
	flock(reg_fd, LOCK_UN);
	return err;
}

int soft_registry_open(void)
{
	sigset_t old;
	int err;

	block_signals(&old);
	err = open_dir();
	if (!err)
		err = map_registry();
	if (!err)
		err = soft_life_process(dir_fd, "life", &soft_self);
	if (err)
		soft_registry_close();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

void soft_registry_close(void)
{
	if (soft_reg)
		munmap(soft_reg, sizeof(*soft_reg));
	soft_reg = NULL;
	memset(has_room, 0, sizeof(has_room));
	if (is_file(reg_fd, &reg_stat) == 1)
		close(reg_fd);
	if (is_file(dir_fd, &dir_stat) == 1)
		close(dir_fd);
	reg_fd = -1;
	dir_fd = -1;
	/* in a forked child: another thread of the parent may have held it */
	pthread_mutex_init(&mutex, NULL);
}

/* The folder is there now.  With the lock or without. */
static int check_folder(void)
{
	int err;

	if (have_mutex)
		return 0;
	err = soft_lock();
	if (!err)
		soft_unlock();
	return err;
}

int soft_token(uint64_t *token)
{
	PVVAS_NO_CANCEL;
	int err = check_folder();

	return err ? err : soft_life_hold(dir_fd, "life", token);
}

int soft_alive(uint64_t token)
{
	PVVAS_NO_CANCEL;
	int err = check_folder();

	return err ? err : soft_life_held(dir_fd, "life", token);
}

/* A signal's handler may switch, and need the lock: it waits for its thread. */
int soft_lock(void)
{
	int err, cancel;
	sigset_t old;

	if (have_mutex)
		return -EDEADLK;
	block_signals(&old);
	cancel = pvvas_no_cancel();
	pthread_mutex_lock(&mutex);
	err = find_files();
	while (!err && flock(reg_fd, LOCK_EX) < 0)
		if (errno != EINTR)
			err = -errno;
	if (err) {
		pthread_mutex_unlock(&mutex);
		pvvas_cancel_again(&cancel);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		return err;
	}
	have_mutex = true;
	saved_mask = old;
	saved_cancel = cancel;
	return 0;
}

void soft_unlock(void)
{
	sigset_t old = saved_mask;
	int cancel = saved_cancel;

	flock(reg_fd, LOCK_UN);
	have_mutex = false;
	pthread_mutex_unlock(&mutex);
	pvvas_cancel_again(&cancel);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static int open_file(const char *what, uint32_t id, int flags)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "%s-%u", what, id);
	fd = openat(dir_fd, name, flags | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* the folder was removed: that says nothing of objects */
	return errno == ENOENT && flags & O_CREAT ? -EBADF : -errno;
}

static uint32_t memory_of(const struct soft_object *seg)
{
	return seg->memory ? seg->memory : seg->id;
}

bool soft_same_memory(const struct soft_object *a, const struct soft_object *b)
{
	return memory_of(a) == memory_of(b);
}

int soft_segment_file(const struct soft_object *seg, int flags)
{
	return open_file("segment", memory_of(seg), flags);
}

int soft_prot_file(const struct soft_object *seg, int flags)
{
	return open_file("prot", seg->id, flags);
}

int soft_clean_file(const struct soft_object *seg, int flags)
{
	return open_file("clean", memory_of(seg), flags);
}

int soft_read(int fd, void *data, size_t n, uint64_t at)
{
	char *p = data;
	ssize_t done;

	for (; n; n -= (size_t)done, p += done, at += (uint64_t)done) {
		done = pread(fd, p, n, (off_t)at);
		if (done < 0 && errno == EINTR)
			done = 0;
		else if (done <= 0)
			return done < 0 ? -errno : -EIO;
	}
	return 0;
}

int soft_write(int fd, const void *data, size_t n, uint64_t at)
{
	const char *p = data;
	ssize_t done;

	for (; n; n -= (size_t)done, p += done, at += (uint64_t)done) {
		done = pwrite(fd, p, n, (off_t)at);
		if (done < 0 && errno == EINTR)
			done = 0;
		else if (done <= 0)
			return done < 0 ? -errno : -EIO;
	}
	return 0;
}

static void remove_file(const char *what, uint32_t id)
{
	char name[32];

	snprintf(name, sizeof(name), "%s-%u", what, id);
	unlinkat(dir_fd, name, 0);
}

/* Does it show no more than a part of its memory? */
bool soft_is_part(const struct soft_object *seg)
{
	const struct soft_object *whole = seg->memory ?
		soft_object(PVVAS_KIND_SEG, seg->memory) : NULL;

	return seg->shift || (whole && whole->length != seg->length);
}

/* The file that @to was made with has no owner. */
void soft_share_memory(struct soft_object *to, const struct soft_object *from,
		       uint64_t offset)
{
	remove_file("segment", to->id);
	to->shift = from->shift + offset;
	to->memory = memory_of(from);
	soft_object(PVVAS_KIND_SEG, to->memory)->faces = 1;
	if (to->shift == from->shift)
		to->unique = from->unique;
}

/* If the process is killed meanwhile, the next look finds the rest: nothing keeps it. */
void soft_free(struct soft_object *obj)
{
	uint32_t id = obj->id;

	obj->named = 0;
	obj->owner = 0;
	/* an entry without a kind is a segment that was never finished */
	if (obj->kind != PVVAS_KIND_VAS) {
		remove_file("prot", id);
		if (!obj->memory) {
			remove_file("segment", id);
			remove_file("clean", id);
		}
	}
	memset(obj, 0, sizeof(*obj));
	soft_reg->in_use[id % SOFT_OBJECTS] = 0;
}
