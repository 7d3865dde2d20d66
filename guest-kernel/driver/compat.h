/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between the kernels that the driver builds for: 6.1 and 6.12. */
#ifndef PVVAS_COMPAT_H
#define PVVAS_COMPAT_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/version.h>

#define PVVAS_KERNEL_6_12	(LINUX_VERSION_MAJOR > 6 || LINUX_VERSION_PATCHLEVEL >= 12)

/* Large pages without struct pages, with a mark that says so. */
#define PVVAS_LARGE_PAGES	(PVVAS_KERNEL_6_12 && \
				 IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))

#if PVVAS_KERNEL_6_12
#define pvvas_idmap mnt_idmap
#else
#define pvvas_idmap user_namespace
#endif

#ifndef PMD_ORDER
#define PMD_ORDER	(PMD_SHIFT - PAGE_SHIFT)
#endif

#ifndef PF_USER_WORKER	/* 6.4: vhost workers are tasks of the process, too */
#define PF_USER_WORKER	PF_IO_WORKER
#endif

#if !PVVAS_KERNEL_6_12
static inline void vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set,
				vm_flags_t clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}

/* No faults under the lock of a VMA alone. */
static inline void release_fault_lock(struct vm_fault *vmf)
{
	mmap_read_unlock(vmf->vma->vm_mm);
}
#endif

static inline void pvvas_fillattr(struct pvvas_idmap *idmap, u32 mask,
				  struct inode *inode, struct kstat *stat)
{
#if PVVAS_KERNEL_6_12
	generic_fillattr(idmap, mask, inode, stat);
#else
	generic_fillattr(idmap, inode, stat);
#endif
}

static inline void pvvas_inode_times(struct inode *inode, time64_t atime,
				     time64_t mtime, time64_t ctime)
{
#if PVVAS_KERNEL_6_12
	inode_set_atime(inode, atime, 0);
	inode_set_mtime(inode, mtime, 0);
	inode_set_ctime(inode, ctime, 0);
#else
	inode->i_atime.tv_sec = atime;
	inode->i_mtime.tv_sec = mtime;
	inode->i_ctime.tv_sec = ctime;
#endif
}

typedef unsigned long pvvas_shrink_t(struct shrinker *shrinker,
				     struct shrink_control *sc);

static inline struct shrinker *pvvas_shrinker_new(pvvas_shrink_t *count,
						  pvvas_shrink_t *scan)
{
#if PVVAS_KERNEL_6_12
	struct shrinker *shrinker = shrinker_alloc(0, "pvvas");
#else
	struct shrinker *shrinker = kzalloc(sizeof(*shrinker), GFP_KERNEL);
#endif

	if (!shrinker)
		return NULL;
	shrinker->count_objects = count;
	shrinker->scan_objects = scan;
	shrinker->seeks = DEFAULT_SEEKS;
#if PVVAS_KERNEL_6_12
	shrinker_register(shrinker);
#else
	if (register_shrinker(shrinker, "pvvas")) {
		kfree(shrinker);
		return NULL;
	}
#endif
	return shrinker;
}

static inline void pvvas_shrinker_free(struct shrinker *shrinker)
{
#if PVVAS_KERNEL_6_12
	shrinker_free(shrinker);
#else
	unregister_shrinker(shrinker);
	kfree(shrinker);
#endif
}

#endif /* PVVAS_COMPAT_H */
