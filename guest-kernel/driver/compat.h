/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between the kernels that the driver builds for: 6.1, 6.12 and 7.3. */
#ifndef PVVAS_COMPAT_H
#define PVVAS_COMPAT_H

#include <linux/version.h>

#define PVVAS_LINUX(major, minor)	(LINUX_VERSION_MAJOR == (major) && \
					 LINUX_VERSION_PATCHLEVEL == (minor))

/* As dkms.conf says. */
#if !PVVAS_LINUX(6, 1) && !PVVAS_LINUX(6, 12) && !PVVAS_LINUX(7, 3)
#error "pvvas is for Linux 6.1, 6.12 and 7.3: it hooks into the kernel where others may differ"
#endif

/* Or later. */
#define PVVAS_KERNEL_7_3	PVVAS_LINUX(7, 3)
#define PVVAS_KERNEL_6_12	(PVVAS_LINUX(6, 12) || PVVAS_KERNEL_7_3)

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/pagemap.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <asm/unistd.h>

#if PVVAS_KERNEL_7_3
#include <asm/cpuid/api.h>
#define hypervisor_cpuid_base	cpuid_base_hypervisor
#else
#include <linux/pfn_t.h>
#include <asm/cpuid.h>
#endif

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

#ifndef __NR_futex_wait	/* 6.7: no call of that number before */
#define __NR_futex_wait	455
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

#if !PVVAS_KERNEL_7_3
#define inode_just_drop	generic_delete_inode

static inline void set_default_d_op(struct super_block *sb,
				    const struct dentry_operations *ops)
{
	sb->s_d_op = ops;
}
#endif

/* What d_revalidate() is given before the entry. */
#if PVVAS_KERNEL_7_3
#define PVVAS_REVALIDATE_DIR	struct inode *dir, const struct qstr *name,
#else
#define PVVAS_REVALIDATE_DIR
#endif

#if PVVAS_LARGE_PAGES
static inline vm_fault_t pvvas_insert_pmd(struct vm_fault *vmf, unsigned long pfn)
{
#if PVVAS_KERNEL_7_3
	return vmf_insert_pfn_pmd(vmf, pfn, true);
#else
	return vmf_insert_pfn_pmd(vmf, __pfn_to_pfn_t(pfn, PFN_DEV), true);
#endif
}

static inline vm_fault_t pvvas_insert_pud(struct vm_fault *vmf, unsigned long pfn)
{
#if PVVAS_KERNEL_7_3
	return vmf_insert_pfn_pud(vmf, pfn, true);
#else
	return vmf_insert_pfn_pud(vmf, __pfn_to_pfn_t(pfn, PFN_DEV), true);
#endif
}
#endif

/* A word of the page, free for the page's owner beside the private one. */
static inline unsigned long *pvvas_page_index(struct page *page)
{
#if PVVAS_KERNEL_7_3
	return &page->__folio_index;
#else
	return &page->index;
#endif
}

/*
 * Pages of these nodes only, the lowest first.  Kernels without an allocator of pages
 * for a set of nodes are asked for one after the other.
 */
static inline struct page *pvvas_alloc_bound(gfp_t gfp, unsigned int order,
					     nodemask_t *nodes)
{
#if PVVAS_KERNEL_7_3
	struct page *page;
	int node;

	for_each_node_mask(node, *nodes) {
		page = alloc_pages_node(node, gfp | __GFP_THISNODE, order);
		if (page)
			return page;
	}
	return NULL;
#else
	return __alloc_pages(gfp, order, first_node(*nodes), nodes);
#endif
}

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
