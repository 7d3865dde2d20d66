// SPDX-License-Identifier: GPL-2.0-only
/*
 * Demand faults: a page that a segment covers and nothing backs yet.
 *
 * KVM raises vector 9, which no processor has raised since the 486 and which
 * INT cannot raise from user mode (the gate's DPL is 0).  The kernel asks the
 * die notifiers first.  Ours asks KVM what was touched, and tells it about a
 * zeroed page; NOTIFY_STOP then repeats the access.
 *
 * The notifiers are called with interrupts off.  They are on while pages are made,
 * as they were where the access was.  From user mode, what cannot be allocated at
 * once is allocated on the way back to user mode, where sleeping is allowed;
 * when that fails too the thread gets a signal.  From kernel mode (a system call
 * given a pointer into the window) any failure leaves the trap to the kernel's
 * own fix-up, and the system call answers -EFAULT.
 */
#include <linux/hardirq.h>
#include <linux/kdebug.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <asm/traps.h>
#include "ept.h"
#include "trace.h"

/*
 * No memory: SIGBUS.  No page there, or refused: SIGSEGV, with what a page fault
 * leaves in the signal's context, so that a handler can tell.  The signal cannot
 * be blocked or ignored, not even by the first process of a pid namespace, which
 * ignores what has no handler: else the access would repeat for ever.
 */
static void pvvas_fault_signal(u64 gla, u32 access, int why)
{
	bool missing = why == -ENXIO, refused = missing || why == -EACCES ||
		       why == -ERANGE;
	int sig = refused ? SIGSEGV : SIGBUS;
	struct sighand_struct *sighand;
	struct kernel_siginfo info;
	__sighandler_t handler;

	current->thread.cr2 = gla;
	current->thread.trap_nr = X86_TRAP_PF;
	current->thread.error_code = X86_PF_USER |
				     (missing ? 0 : X86_PF_PROT) |
				     (access & PVVAS_PROT_WRITE ? X86_PF_WRITE : 0);
	/* Our own, and we are alive. */
	sighand = rcu_dereference_protected(current->sighand, true);
	handler = sighand->action[sig - 1].sa.sa_handler;
	if (handler == SIG_IGN || sigismember(&current->blocked, sig) ||
	    (handler == SIG_DFL &&
	     current->signal->flags & SIGNAL_UNKILLABLE)) {
		force_sig(sig);
		return;
	}
	clear_siginfo(&info);
	info.si_signo = sig;
	if (refused)
		info.si_code = missing ? SEGV_MAPERR : SEGV_ACCERR;
	else
		info.si_code = BUS_ADRERR;
	info.si_addr = (void __user *)(unsigned long)gla;
	send_sig_info(sig, &info, current);
}

/* On the way back to user mode, in the view of the fault. */
void pvvas_fault_work(struct callback_head *work)
{
	struct pvvas_thread *t =
		container_of(work, struct pvvas_thread, fault_work);
	struct pvvas_seg *seg = t->fault_seg;
	int ret = -ENOMEM;

	if (!(current->flags & PF_EXITING)) {
		pvvas_clone_wait(seg->memory);
		ret = pvvas_page_fault(seg, t->fault_offset, t->fault_access,
				       GFP_KERNEL | __GFP_RETRY_MAYFAIL, true);
	}
	t->fault_seg = NULL;
	pvvas_seg_drop(seg);
	/* The next clone already: the access is repeated, and waits again. */
	if (ret && ret != -EINPROGRESS)
		pvvas_fault_signal(t->fault_gla, t->fault_access, ret);
}

/* Leave the fault to pvvas_fault_work(), if the thread can. */
static bool pvvas_fault_defer(struct pvvas_seg *seg,
			      const struct pvvas_demand *demand)
{
	struct pvvas_thread *t = this_cpu_read(pvvas_cpu.running);

	if (!t || t->fault_seg || !kref_get_unless_zero(&seg->obj.ref))
		return false;
	t->fault_seg = seg;
	t->fault_offset = demand->offset;
	t->fault_gla = demand->address;
	t->fault_access = demand->access;
	/* Cannot fail: we came from user mode. */
	task_work_add(current, &t->fault_work, TWA_RESUME);
	return true;
}

static int pvvas_fault_fill(const struct pvvas_demand *demand, bool user)
{
	struct pvvas_seg *seg = demand->seg;
	int ret;

	if (demand->refused)
		return -EACCES;
	if (!seg)
		return -ENOENT;
	/* They were on before, as pvvas_fault_allowed() says. */
	local_irq_enable();
	ret = pvvas_page_fault(seg, demand->offset, demand->access,
			       user ? GFP_NOWAIT : GFP_ATOMIC, user);
	local_irq_disable();
	if (!ret)
		ret = pvvas_demand_link(demand);
	if ((ret == -ENOMEM || ret == -EINPROGRESS) && user &&
	    pvvas_fault_defer(seg, demand))
		ret = 0;
	return ret;
}

/*
 * A kernel mode access with interrupts off, or in an interrupt (a profiler that
 * follows user stack frames), may hold any lock of the allocator: not then.
 */
static bool pvvas_fault_allowed(struct pt_regs *regs)
{
	return regs->flags & X86_EFLAGS_IF &&
	       (user_mode(regs) || !in_interrupt());
}

static int pvvas_die(struct notifier_block *nb, unsigned long val, void *data)
{
	struct die_args *args = data;
	struct pvvas_demand demand;
	bool user;
	int ret;

	if (val != DIE_TRAP || args->trapnr != X86_TRAP_OLD_MF ||
	    !pvvas_fault_allowed(args->regs) || !pvvas_demand_read(&demand))
		return NOTIFY_DONE;
	this_cpu_inc(pvvas_cpu.demand_faults);
	user = user_mode(args->regs);
	ret = pvvas_fault_fill(&demand, user);
	trace_pvvas_fault(demand.address, demand.seg ? demand.seg->obj.id : 0,
			  demand.offset, user, ret);
	if (demand.seg)
		pvvas_seg_fault_end(demand.seg);
	if (!ret)
		return NOTIFY_STOP;
	if (!user)
		return NOTIFY_DONE;
	pvvas_fault_signal(demand.address, demand.access, ret);
	return NOTIFY_STOP;
}

static struct notifier_block pvvas_die_nb = {
	.notifier_call	= pvvas_die,
	.priority	= 1,
};

int __init pvvas_fault_init(void)
{
	return register_die_notifier(&pvvas_die_nb);
}

void pvvas_fault_exit(void)
{
	unregister_die_notifier(&pvvas_die_nb);
}
