// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel does when an atomic access to user memory fails.
 *
 * Futex code that cannot write asks fixup_user_fault() to make the page
 * writable, and tries again for as long as that answers 0.  In the window it
 * would always answer 0: the page tables are right, it is the view that refuses.
 * The thread would spin in the kernel, deaf to signals, for ever.
 *
 * So a probe at the function's entry sends calls for a window to the function
 * below, which answers by trying the access.  It is only the code that
 * fixup_user_fault() is there for that comes by: futexes that fault.
 */
#define pr_fmt(fmt) "pvvas: " fmt

#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/futex.h>
#include <asm/futex.h>
#include "pvvas_drv.h"

/* Does the view in force allow it?  Under mmap_lock, so without page faults. */
static bool pvvas_access_works(unsigned long address, bool write)
{
	u32 __user *word = (u32 __user *)(address & ~3UL);
	int old, ret;

	pagefault_disable();
	if (write)
		ret = arch_futex_atomic_op_inuser(FUTEX_OP_OR, 0, &old, word);
	else
		ret = get_user(old, word);
	pagefault_enable();
	return !ret;
}

/* In place of fixup_user_fault(), called with mmap_lock held. */
static noinline int pvvas_fixup_user_fault(struct mm_struct *mm,
					   unsigned long address,
					   unsigned int flags, bool *unlocked)
{
	bool write = flags & FAULT_FLAG_WRITE;
	struct vm_area_struct *vma;

	if (mm != current->mm || fatal_signal_pending(current))
		return -EFAULT;
	if (pvvas_access_works(address, write))
		return 0;
	/* Page tables may lack the page; this tells nothing about the view. */
	vma = find_vma(mm, address);
	if (!vma || handle_mm_fault(vma, address, write ? FAULT_FLAG_WRITE : 0,
				    NULL) & VM_FAULT_ERROR)
		return -EFAULT;
	return pvvas_access_works(address, write) ? 0 : -EFAULT;
}

static int pvvas_fixup_entered(struct kprobe *probe, struct pt_regs *regs)
{
	struct mm_struct *mm = (struct mm_struct *)regs->di;
	unsigned long address = regs->si;
	struct vm_area_struct *vma;

	if (address < PVVAS_WINDOW_VA ||
	    address - PVVAS_WINDOW_VA >= pvvas_window.size)
		return 0;
	vma = find_vma(mm, address);
	if (!vma || vma->vm_start > address || !pvvas_is_window(vma))
		return 0;
	/* As if it had been called: arguments and return address are in place. */
	regs->ip = (unsigned long)pvvas_fixup_user_fault;
	return 1;
}
NOKPROBE_SYMBOL(pvvas_fixup_entered);

/*
 * Never called.  A probe that has one is not made into a jump, where going
 * elsewhere is not possible, and ftrace hears that it does go elsewhere.
 */
static void pvvas_fixup_passed(struct kprobe *probe, struct pt_regs *regs,
			       unsigned long flags)
{
}
NOKPROBE_SYMBOL(pvvas_fixup_passed);

static struct kprobe pvvas_fixup_probe = {
	.symbol_name	= "fixup_user_fault",
	.pre_handler	= pvvas_fixup_entered,
	.post_handler	= pvvas_fixup_passed,
};

int __init pvvas_fixup_init(void)
{
	int ret = register_kprobe(&pvvas_fixup_probe);

	if (ret)
		pr_info("not loaded: no probe at fixup_user_fault() (%d), without which a futex in the window could hang its thread\n",
			ret);
	return ret;
}

void pvvas_fixup_exit(void)
{
	unregister_kprobe(&pvvas_fixup_probe);
}
