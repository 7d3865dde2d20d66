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
 * what was to be called, and go back.  That call takes a third probe: an indirect
 * one needs an ENDBR at its target, which static functions do not have.
 */
#define pr_fmt(fmt) "pvvas: " fmt

#include <linux/kprobes.h>
#include "pvvas_drv.h"
#include "thread.h"

/*
 * Calls @func with up to 4 arguments: the probe at its entry goes there, so the body
 * is never executed, and the compiler may conclude nothing from it.  No WARN(): where
 * one is the first instruction there can be no probe.
 */
__attribute__((__noipa__))
static unsigned long pvvas_uring_call(unsigned long a, unsigned long b, unsigned long c,
				      unsigned long d, unsigned long func)
{
	return 0;
}

static unsigned long pvvas_uring_outside(unsigned long a, unsigned long b,
					 unsigned long c, unsigned long d,
					 const struct kprobe *probe)
{
	struct pvvas_thread *t = pvvas_thread_step_out();
	unsigned long ret;

	ret = pvvas_uring_call(a, b, c, d, (unsigned long)probe->addr);
	if (t)
		pvvas_thread_step_in(t);
	return ret;
}

static struct kprobe pvvas_uring_call_probe;
static struct kprobe pvvas_uring_task_probe;
static struct kprobe pvvas_uring_local_probe;

/* In place of tctx_task_work(). */
static noinline unsigned long pvvas_uring_task_work(unsigned long a, unsigned long b,
						    unsigned long c, unsigned long d)
{
	return pvvas_uring_outside(a, b, c, d, &pvvas_uring_task_probe);
}

/* In place of __io_run_local_work(), of rings with IORING_SETUP_DEFER_TASKRUN. */
static noinline unsigned long pvvas_uring_local_work(unsigned long a, unsigned long b,
						     unsigned long c, unsigned long d)
{
	return pvvas_uring_outside(a, b, c, d, &pvvas_uring_local_probe);
}

static int pvvas_uring_called(struct kprobe *probe, struct pt_regs *regs)
{
	regs->ip = regs->r8;
	return 1;
}
NOKPROBE_SYMBOL(pvvas_uring_called);

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

static struct kprobe pvvas_uring_call_probe = {
	.addr		= (kprobe_opcode_t *)pvvas_uring_call,
	.pre_handler	= pvvas_uring_called,
	.post_handler	= pvvas_uring_passed,
};

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
	&pvvas_uring_call_probe,
	&pvvas_uring_task_probe,
	&pvvas_uring_local_probe,
};

int __init pvvas_uring_init(void)
{
	int ret;

	if (!IS_ENABLED(CONFIG_IO_URING))
		return 0;
	ret = register_kprobes(pvvas_uring_probes, ARRAY_SIZE(pvvas_uring_probes));
	if (ret)
		pr_info("not loaded: no probes at tctx_task_work() and __io_run_local_work() (%d), without which a request of io_uring could end in another VAS\n",
			ret);
	return ret;
}

/* Nothing of a process is left, and so no thread is on its way back to here. */
void pvvas_uring_exit(void)
{
	if (IS_ENABLED(CONFIG_IO_URING))
		unregister_kprobes(pvvas_uring_probes,
				   ARRAY_SIZE(pvvas_uring_probes));
}
