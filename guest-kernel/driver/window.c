// SPDX-License-Identifier: GPL-2.0-only
/*
 * The window of a process: one VMA at PVVAS_WINDOW_VA, linear onto the window's
 * guest-physical range, with the largest pages that the CPU has.
 *
 * Its page tables never change after a page has been entered; what is behind it
 * is decided by the view in force.  The first page is entered only when all
 * threads of the process are covered (cover.c).
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <asm/cpufeature.h>
#include "compat.h"
#include "pvvas_drv.h"

/*
 * 0 if all threads are covered.  Else cover them, without the lock that the
 * fault holds, because threads to cover may be waiting for it; the fault is
 * tried again, and if that finds them not covered either it is SIGBUS.
 */
static vm_fault_t pvvas_window_ready(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;

	if (pvvas_proc_covered(mm))
		return 0;
	if (mm != current->mm || !fault_flag_allow_retry_first(vmf->flags) ||
	    vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_SIGBUS;
	release_fault_lock(vmf);
	pvvas_proc_current();
	return VM_FAULT_RETRY;
}

static unsigned long pvvas_window_pfn(unsigned long addr)
{
	return PHYS_PFN(pvvas_va_to_gpa(addr));
}

/*
 * Something else than a page is there: a marker of userfaultfd, on kernels that
 * let it protect any memory from writes (UFFD_FEATURE_WP_ASYNC; later 6.12.y
 * leave out memory without struct pages).  Nothing can be put over it, and the
 * fault would be tried again for ever.
 */
static bool pvvas_fault_marked(const struct vm_fault *vmf)
{
	return vmf->flags & FAULT_FLAG_ORIG_PTE_VALID &&
	       !pte_none(vmf->orig_pte) && !pte_present(vmf->orig_pte);
}

static vm_fault_t pvvas_fault_4k(struct vm_fault *vmf)
{
	vm_fault_t ret;

	/* Of the first GiB there is no more than the identity page. */
	if (vmf->address >= PVVAS_WINDOW_VA + PAGE_SIZE &&
	    vmf->address < PVVAS_WINDOW_FIRST)
		return VM_FAULT_SIGSEGV;
	ret = pvvas_window_ready(vmf);
	if (!ret && pvvas_fault_marked(vmf))
		ret = VM_FAULT_SIGBUS;
	return ret ?: vmf_insert_pfn(vmf->vma, vmf->address,
				     pvvas_window_pfn(vmf->address));
}

/*
 * A large entry is writable from the start: where writes are tracked (soft-dirty
 * bits, userfaultfd) the kernel would make it read-only, and then ask here,
 * again and again, for the right to write.
 *
 * Before 6.12 a large page without struct pages had no mark by which
 * get_user_pages_fast() could tell: small ones only.
 */
#if PVVAS_LARGE_PAGES
static vm_fault_t pvvas_fault_huge(struct vm_fault *vmf, unsigned int order)
{
	unsigned long size = PAGE_SIZE << order;
	unsigned long addr = vmf->address & ~(size - 1);
	struct vm_area_struct *vma = vmf->vma;
	unsigned long pfn;
	vm_fault_t ret;

	if (addr < PVVAS_WINDOW_FIRST || addr + size > vma->vm_end)
		return VM_FAULT_FALLBACK;
	if (order != PMD_ORDER &&
	    (order != PUD_ORDER || !boot_cpu_has(X86_FEATURE_GBPAGES)))
		return VM_FAULT_FALLBACK;
	/*
	 * The kernel has asked whether large pages are wanted.  Without
	 * mmap_lock that may be otherwise by now (PR_SET_THP_DISABLE), and
	 * there be a table of small ones, about which it would warn.
	 */
	if (vmf->flags & FAULT_FLAG_VMA_LOCK) {
		release_fault_lock(vmf);
		return VM_FAULT_RETRY;
	}
	ret = pvvas_window_ready(vmf);
	if (ret)
		return ret;
	pfn = pvvas_window_pfn(addr);
	if (order == PUD_ORDER)
		return pvvas_insert_pud(vmf, pfn);
	return pvvas_insert_pmd(vmf, pfn);
}

#endif

static int pvvas_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return -EINVAL;
}

static int pvvas_mremap(struct vm_area_struct *vma)
{
	return -EINVAL;
}

static int pvvas_mprotect(struct vm_area_struct *vma, unsigned long start,
			  unsigned long end, unsigned long newflags)
{
	return -EACCES;
}

static const struct vm_operations_struct pvvas_vm_ops = {
	.fault		= pvvas_fault_4k,
#if PVVAS_LARGE_PAGES
	.huge_fault	= pvvas_fault_huge,
#endif
	.may_split	= pvvas_may_split,
	.mremap		= pvvas_mremap,
	.mprotect	= pvvas_mprotect,
	.access		= pvvas_window_access,
};

bool pvvas_is_window(const struct vm_area_struct *vma)
{
	return vma->vm_ops == &pvvas_vm_ops;
}

int pvvas_mmap(struct file *file, struct vm_area_struct *vma)
{
	const vm_flags_t need = VM_SHARED | VM_READ | VM_WRITE;

	if (vma->vm_pgoff == PVVAS_HOLDS_OFFSET >> PAGE_SHIFT)
		return pvvas_holds_mmap(vma);
	if (vma->vm_start != PVVAS_WINDOW_VA || vma->vm_pgoff ||
	    vma->vm_end - vma->vm_start > pvvas_window.size ||
	    (vma->vm_flags & need) != need)
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	vm_flags_mod(vma, VM_PFNMAP | VM_IO | VM_DONTCOPY | VM_DONTEXPAND |
		     VM_DONTDUMP, VM_MAYEXEC);
	vma->vm_ops = &pvvas_vm_ops;
	return 0;
}
