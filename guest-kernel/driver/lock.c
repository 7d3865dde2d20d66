// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lockable segments: the mark, and memory for a lock that the library makes.
 *
 * It cannot be in the window, where there are no pages that a shared futex
 * could be found by.  So it is a file of shared memory, one a segment.
 */
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/shmem_fs.h>
#include "pvvas_drv.h"

static_assert(PVVAS_LOCK_BYTES == PAGE_SIZE);

/* Nobody who can write to it shall be able to take it away from others. */
static struct file *pvvas_lock_file_new(void)
{
	struct file *file;

	file = shmem_file_setup("pvvas-lock", PVVAS_LOCK_BYTES, VM_NORESERVE);
	if (!IS_ERR(file))
		SHMEM_I(file_inode(file))->seals =
			F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW;
	return file;
}

static struct pvvas_seg *pvvas_lock_seg(u32 id)
{
	struct pvvas_object *obj = pvvas_object_by_id(PVVAS_KIND_SEG, id);

	return obj ? container_of(obj, struct pvvas_seg, obj) : NULL;
}

static int pvvas_seg_locking_locked(struct pvvas_ioc_seg_locking *arg)
{
	struct pvvas_seg *seg = pvvas_lock_seg(arg->seg);
	struct file *file;

	if (!seg)
		return -ENOENT;
	if (!pvvas_object_is_owner(&seg->obj))
		return -EPERM;
	if (arg->on && !seg->lock_file) {
		file = pvvas_lock_file_new();
		if (IS_ERR(file))
			return PTR_ERR(file);
		seg->lock_file = file;
	}
	seg->lockable = arg->on;
	return 0;
}

int pvvas_seg_locking(struct pvvas_ioc_seg_locking *arg)
{
	int ret;

	if (arg->on > 1 || arg->reserved)
		return -EINVAL;
	mutex_lock(&pvvas_lock);
	ret = pvvas_seg_locking_locked(arg);
	mutex_unlock(&pvvas_lock);
	return ret;
}

static struct file *pvvas_lock_file_get(u32 id)
{
	struct pvvas_seg *seg = pvvas_lock_seg(id);

	if (!seg || !seg->lock_file)
		return ERR_PTR(-ENOENT);
	if (!(pvvas_object_rights(&seg->obj) & PVVAS_READ))
		return ERR_PTR(-EACCES);
	return get_file(seg->lock_file);
}

int pvvas_seg_lock_file(struct pvvas_ioc_lock_file *arg)
{
	struct file *file;
	int fd;

	if (arg->fd || arg->reserved)
		return -EINVAL;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	mutex_lock(&pvvas_lock);
	file = pvvas_lock_file_get(arg->seg);
	mutex_unlock(&pvvas_lock);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	fd_install(fd, file);
	arg->fd = fd;
	return 0;
}

void pvvas_seg_lock_free(struct pvvas_seg *seg)
{
	if (seg->lock_file)
		fput(seg->lock_file);
}
