// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rest of io_uring's requests that had to wait.
 *
 * The thread that made the request does it, when it is in the kernel next or asks
 * for results.  By then it may be in another view, and a read that was asked for in
 * one VAS would overwrite what another one has at that address.  Nothing says in
 * which view a request was made.  So the thread leaves its view for that time, and
 * addresses in the window are -EFAULT.  In a process that has never had a second
 * attachment there is nothing else to overwrite, and the thread stays.
 *
 * Two functions do all of it.  Probes at their entries send threads that are in a
 * view to functions below, with the arguments in place, which leave the view, call
 * what was to be called, and go back.  These calls are direct ones: an indirect one
 * needs an ENDBR at its target, which static functions do not have, and what relied
 * on one more probe would not be done at all while probes are being switched off
 * or on.
 */
#define pr_fmt(fmt) "pvvas: " fmt

#include <linux/kprobes.h>
#include <linux/static_call.h>
#include "pvvas_drv.h"
#include "thread.h"

/* Until init has found what is to be called. */
static unsigned long pvvas_uring_none(unsigned long a, unsigned long b, unsigned long c,
				      unsigned long d)
{
	return 0;
}

DEFINE_STATIC_CALL(pvvas_uring_task, pvvas_uring_none);
DEFINE_STATIC_CALL(pvvas_uring_local, pvvas_uring_none);

/* In place of tctx_task_work(). */
static noinline unsigned long pvvas_uring_task_work(unsigned long a, unsigned long b,
						    unsigned long c, unsigned long d)
{
	struct pvvas_thread *t = pvvas_thread_step_out();
	unsigned long ret = static_call(pvvas_uring_task)(a, b, c, d);

	if (t)
		pvvas_thread_step_in(t);
	return ret;
}

/* In place of __io_run_local_work(), of rings with IORING_SETUP_DEFER_TASKRUN. */
static noinline unsigned long pvvas_uring_local_work(unsigned long a, unsigned long b,
						     unsigned long c, unsigned long d)
{
	struct pvvas_thread *t = pvvas_thread_step_out();
	unsigned long ret = static_call(pvvas_uring_local)(a, b, c, d);

	if (t)
		pvvas_thread_step_in(t);
	return ret;
}

static struct kprobe pvvas_uring_task_probe;

/* As if the other had been called: arguments and return address are in place. */
static int pvvas_uring_entered(struct kprobe *probe, struct pt_regs *regs)
{
	if (!pvvas_thread_in_view())
		return 0;
	if (probe == &pvvas_uring_task_probe)
		regs->ip = (unsigned long)pvvas_uring_task_work;
	else
		regs->ip = (unsigned long)pvvas_uring_local_work;
	return 1;
}
NOKPROBE_SYMBOL(pvvas_uring_entered);

/* Never called, as in fixup.c. */
static void pvvas_uring_passed(struct kprobe *probe, struct pt_regs *regs,
			       unsigned long flags)
{
}
NOKPROBE_SYMBOL(pvvas_uring_passed);

static struct kprobe pvvas_uring_task_probe = {
	.symbol_name	= "tctx_task_work",
	.pre_handler	= pvvas_uring_entered,
	.post_handler	= pvvas_uring_passed,
};

static struct kprobe pvvas_uring_local_probe = {
	.symbol_name	= "__io_run_local_work",
	.pre_handler	= pvvas_uring_entered,
	.post_handler	= pvvas_uring_passed,
};

static struct kprobe *pvvas_uring_probes[] = {
	&pvvas_uring_task_probe,
	&pvvas_uring_local_probe,
};

int __init pvvas_uring_init(void)
{
	int ret;

	if (!IS_ENABLED(CONFIG_IO_URING))
		return 0;
	ret = register_kprobes(pvvas_uring_probes, ARRAY_SIZE(pvvas_uring_probes));
	if (ret) {
		pr_info("not loaded: no probes at tctx_task_work() and __io_run_local_work() (%d), without which a request of io_uring could end in another VAS\n",
			ret);
		return ret;
	}
	/* Before there is a process with views. */
	static_call_update(pvvas_uring_task,
			   (void *)pvvas_uring_task_probe.addr);
	static_call_update(pvvas_uring_local,
			   (void *)pvvas_uring_local_probe.addr);
	return 0;
}

/* Nothing of a process is left, and so no thread is on its way back to here. */
void pvvas_uring_exit(void)
{
	if (IS_ENABLED(CONFIG_IO_URING))
		unregister_kprobes(pvvas_uring_probes,
				   ARRAY_SIZE(pvvas_uring_probes));
}
