// SPDX-License-Identifier: GPL-2.0-only
/* First-class virtual address spaces for processes of a KVM guest: the module. */
#define pr_fmt(fmt) "pvvas: " fmt

#include <linux/cpuhotplug.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include "pvvas_drv.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

DEFINE_MUTEX(pvvas_lock);	/* see pvvas_drv.h */
struct workqueue_struct *pvvas_wq;
struct pvvas_counts pvvas_counts;
DEFINE_PER_CPU(struct pvvas_cpu, pvvas_cpu);

static int pvvas_cpuhp_state;

static const struct file_operations pvvas_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= pvvas_ioctl,
	.mmap		= pvvas_mmap,
	.llseek		= noop_llseek,
};

static struct miscdevice pvvas_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "pvvas",
	.fops	= &pvvas_fops,
	.mode	= 0666,
};

/* Before a CPU starts: INIT has taken its context away. */
static int pvvas_cpu_prepare(unsigned int cpu)
{
	per_cpu(pvvas_cpu.ctx, cpu) = 0;
	per_cpu(pvvas_cpu.running, cpu) = NULL;
	return 0;
}

static int __init pvvas_init(void)
{
	int ret;

	/* Locks are taken where such a kernel's locks must not be. */
	if (IS_ENABLED(CONFIG_PREEMPT_RT)) {
		pr_info("not loaded: kernels with PREEMPT_RT are not supported\n");
		return -ENODEV;
	}
	ret = pvvas_hv_probe();
	if (ret)
		return ret;
	pvvas_life_init();
	pvvas_wait_init();
	ret = -ENOMEM;
	pvvas_wq = alloc_workqueue("pvvas", WQ_UNBOUND, 0);
	if (!pvvas_wq)
		goto err_hv;
	ret = pvvas_cover_init();
	if (ret)
		goto err_wq;
	ret = pvvas_clones_init();
	if (ret)
		goto err_wq;
	ret = pvvas_thread_init();
	if (ret)
		goto err_clones;
	ret = cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "pvvas:prepare",
					pvvas_cpu_prepare, NULL);
	if (ret < 0)
		goto err_thread;
	pvvas_cpuhp_state = ret;
	ret = pvvas_fault_init();
	if (ret)
		goto err_cpuhp;
	ret = pvvas_fixup_init();
	if (ret)
		goto err_fault;
	ret = pvvas_uring_init();
	if (ret)
		goto err_fixup;
	ret = pvvas_process_init();
	if (ret)
		goto err_uring;
	ret = pvvas_fs_init();
	if (ret)
		goto err_process;
	ret = pvvas_reclaim_init();
	if (ret)
		goto err_fs;
	ret = misc_register(&pvvas_misc);
	if (ret)
		goto err_reclaim;
	pr_info("window of %llu GiB at guest-physical 0x%llx, %u slots\n",
		pvvas_window.size >> 30, pvvas_window.identity,
		pvvas_hv.slots);
	return 0;

err_reclaim:
	pvvas_reclaim_exit();
err_fs:
	pvvas_fs_exit();
err_process:
	pvvas_process_exit();
err_uring:
	pvvas_uring_exit();
err_fixup:
	pvvas_fixup_exit();
err_fault:
	pvvas_fault_exit();
err_cpuhp:
	cpuhp_remove_state_nocalls(pvvas_cpuhp_state);
err_thread:
	pvvas_thread_exit();
err_clones:
	pvvas_clones_exit();
err_wq:
	destroy_workqueue(pvvas_wq);
err_hv:
	pvvas_hv_remove();
	return ret;
}

/*
 * Every open file, object, process and thread holds a reference to the module,
 * so nothing is in use here; what remains is code of ours that may still be
 * running its last instructions.
 */
static void __exit pvvas_exit(void)
{
	misc_deregister(&pvvas_misc);
	pvvas_reclaim_exit();
	pvvas_fs_exit();
	pvvas_process_exit();
	mmu_notifier_synchronize();
	pvvas_cover_exit();
	pvvas_thread_exit();
	pvvas_leftover_flush();
	pvvas_expiry_exit();
	pvvas_clones_exit();
	destroy_workqueue(pvvas_wq);
	pvvas_uring_exit();
	pvvas_fixup_exit();
	pvvas_fault_exit();
	cpuhp_remove_state_nocalls(pvvas_cpuhp_state);
	pvvas_hv_remove();
}

module_init(pvvas_init);
module_exit(pvvas_exit);
MODULE_DESCRIPTION("First-class virtual address spaces, switched with VMFUNC");
MODULE_LICENSE("GPL");
