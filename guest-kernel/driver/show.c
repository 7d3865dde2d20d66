// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an administrator reads in the control file system: what keeps an object,
 * and its memory, in use.  Lines of words, the first one says of what.
 *
 * pvvas_lock is held, and given back after each piece: any reader of an object can
 * make its list long.  What does not fit into the buffer is not gone through to
 * its end (seq_file asks again with a larger one).
 */
#include <linux/pid_namespace.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/smp.h>
#include <linux/string_helpers.h>
#include "hv.h"

static const char *pvvas_show_rights(u32 rights)
{
	return rights & PVVAS_WRITE ? "rw" : "r";
}

/*
 * At the end of a line, in which a name cannot begin another one; nor be more than
 * letters to a terminal, which takes bytes beyond ASCII for commands, too.
 */
static void pvvas_show_name(struct seq_file *m, const struct pvvas_object *obj)
{
	const char *name = obj->name ?: "-";

	seq_puts(m, " name ");
	seq_escape_mem(m, name, strlen(name),
		       ESCAPE_OCTAL | ESCAPE_NAP | ESCAPE_APPEND, " \\");
	seq_putc(m, '\n');
}

/*
 * In the process still: not dead, so that the task cannot go before the end of
 * the RCU section, and not gone elsewhere (a child of vfork() that executes
 * another program keeps its notifier).
 */
static bool pvvas_show_lives(const struct pvvas_proc *proc,
			     const struct pvvas_thread *t)
{
	return READ_ONCE(t->state) == PVVAS_THREAD_LIVE &&
	       READ_ONCE(t->task->mm) == READ_ONCE(proc->mm);
}

/* A process's id, as the reader's namespace has it, or 0: that of any of its threads. */
static pid_t pvvas_show_pid(struct pvvas_proc *proc)
{
	struct pvvas_thread *t;
	pid_t pid = 0;

	rcu_read_lock();
	spin_lock(&proc->lock);
	list_for_each_entry(t, &proc->threads, node) {
		if (pvvas_show_lives(proc, t)) {
			pid = task_tgid_nr_ns(t->task,
					      task_active_pid_ns(current));
			break;
		}
	}
	spin_unlock(&proc->lock);
	rcu_read_unlock();
	return pid;
}

/* Lines that are written with the lock held. */
#define PVVAS_SHOW_AT_ONCE	64

static void pvvas_show_pause(void)
{
	pvvas_unlock();
	cond_resched();
	mutex_lock(&pvvas_lock);
}

/* From the address *@from on, which moves on.  True: there are more. */
static bool pvvas_show_links(struct seq_file *m, const struct pvvas_links *links,
			     const char *what, u64 *from)
{
	const struct pvvas_link *link = pvvas_link_behind(links, *from);
	u32 n;

	for (n = 0; link && n < PVVAS_SHOW_AT_ONCE; n++) {
		seq_printf(m, "%s %u base 0x%llx length %llu rights %s", what,
			   link->seg->obj.id, link->seg->base,
			   link->seg->length, pvvas_show_rights(link->prot));
		pvvas_show_name(m, &link->seg->obj);
		*from = link->seg->end;
		link = pvvas_links_next(link);
	}
	return link && !seq_has_overflowed(m);
}

/* The same, of attachments, by their serial numbers. */
static bool pvvas_show_attachers(struct seq_file *m, const struct pvvas_vas *vas,
				 u64 *from)
{
	struct pvvas_att *att;
	u32 n = 0;

	list_for_each_entry(att, &vas->atts, in_vas) {
		if (att->serial < *from)
			continue;
		if (n++ == PVVAS_SHOW_AT_ONCE)
			return !seq_has_overflowed(m);
		seq_printf(m, "process %d handle 0x%x slot %u\n",
			   pvvas_show_pid(att->proc), att->handle, att->slot);
		*from = att->serial + 1;
	}
	return false;
}

/* The caller has a reference. */
static void pvvas_show_vas(struct seq_file *m, struct pvvas_vas *vas)
{
	u64 from = 0;

	while (pvvas_show_links(m, &vas->links, "segment", &from))
		pvvas_show_pause();
	from = 0;
	while (pvvas_show_attachers(m, vas, &from))
		pvvas_show_pause();
}

static void pvvas_show_seg(struct seq_file *m, struct pvvas_seg *seg)
{
	struct pvvas_object *obj;
	unsigned long id = 0;

	seq_printf(m, "base 0x%llx length %llu resident %lld\n", seg->base,
		   seg->length, (s64)atomic64_read(&seg->memory->resident));
	while (!seq_has_overflowed(m) &&
	       (obj = pvvas_object_after(PVVAS_KIND_VAS, &id))) {
		struct pvvas_vas *vas = container_of(obj, struct pvvas_vas,
						     obj);
		struct pvvas_link *link = pvvas_link_find(&vas->links, seg);
		struct pvvas_att *att;

		if (link) {
			seq_printf(m, "vas %u rights %s", obj->id,
				   pvvas_show_rights(link->prot));
			pvvas_show_name(m, obj);
		}
		list_for_each_entry(att, &vas->atts, in_vas) {
			if (pvvas_link_find(&att->links, seg))
				seq_printf(m, "process %d handle 0x%x private\n",
					   pvvas_show_pid(att->proc),
					   att->handle);
		}
		pvvas_show_pause();
	}
}

void pvvas_show_object(struct seq_file *m, struct pvvas_object *obj)
{
	seq_printf(m, "id %u users %u\n", obj->id, obj->users);
	if (obj->kind == PVVAS_KIND_VAS)
		pvvas_show_vas(m, container_of(obj, struct pvvas_vas, obj));
	else
		pvvas_show_seg(m, container_of(obj, struct pvvas_seg, obj));
}

/* Where a thread is that runs, only its CPU knows. */
struct pvvas_seen {
	const struct pvvas_thread *thread;
	u32 slot;
};

static DEFINE_PER_CPU(struct pvvas_seen, pvvas_seen);

static void pvvas_see_cpu(void *unused)
{
	struct pvvas_cpu *cpu = this_cpu_ptr(&pvvas_cpu);
	struct pvvas_seen *seen = this_cpu_ptr(&pvvas_seen);

	seen->thread = cpu->running;
	seen->slot = 0;
	if (cpu->running && READ_ONCE(pvvas_identity->ctx) == cpu->ctx)
		seen->slot = READ_ONCE(pvvas_identity->slot);
}

static u32 pvvas_show_slot(const struct pvvas_thread *t)
{
	int cpu;

	if (!READ_ONCE(t->running))
		return READ_ONCE(t->slot);
	for_each_online_cpu(cpu)
		if (per_cpu(pvvas_seen.thread, cpu) == t)
			return per_cpu(pvvas_seen.slot, cpu);
	return 0;
}

static void pvvas_show_thread(struct seq_file *m, const struct pvvas_proc *proc,
			      const struct pvvas_thread *t)
{
	u32 slot = pvvas_show_slot(t);
	const struct pvvas_att *att = proc->slots[slot];

	seq_printf(m, "thread %d %s slot %u handle 0x%x\n",
		   task_pid_nr_ns(t->task, task_active_pid_ns(current)),
		   READ_ONCE(t->running) ? "running" : "waiting", slot,
		   slot && att ? att->handle : 0);
}

static void pvvas_show_att(struct seq_file *m, struct pvvas_proc *proc,
			   unsigned long index, struct pvvas_att *att)
{
	u32 handle = att->handle;
	u64 from = 0;

	seq_printf(m, "attachment 0x%x slot %u rights %s vas %u", att->handle,
		   att->slot, pvvas_show_rights(att->rights),
		   att->vas->obj.id);
	pvvas_show_name(m, &att->vas->obj);
	while (att && att->handle == handle &&
	       pvvas_show_links(m, &att->links, "private", &from)) {
		pvvas_show_pause();
		att = xa_load(&proc->atts, index);
	}
}

/* The lock is given back between attachments. */
static void pvvas_show_process(struct seq_file *m, struct pvvas_proc *proc)
{
	struct pvvas_thread *t;
	struct pvvas_att *att;
	unsigned long index = 0;

	seq_printf(m, "process %d context %llu\n", pvvas_show_pid(proc),
		   proc->ctx);
	while (!seq_has_overflowed(m) &&
	       (att = xa_find_after(&proc->atts, &index, ULONG_MAX,
				    XA_PRESENT))) {
		pvvas_show_att(m, proc, index, att);
		pvvas_show_pause();
	}
	rcu_read_lock();
	spin_lock(&proc->lock);
	list_for_each_entry(t, &proc->threads, node)
		if (pvvas_show_lives(proc, t))
			pvvas_show_thread(m, proc, t);
	spin_unlock(&proc->lock);
	rcu_read_unlock();
}

void pvvas_show_processes(struct seq_file *m)
{
	struct pvvas_proc *proc;
	unsigned long ctx = 0;

	on_each_cpu(pvvas_see_cpu, NULL, 1);
	while (!seq_has_overflowed(m) && (proc = pvvas_proc_after(&ctx))) {
		pvvas_show_process(m, proc);
		pvvas_proc_put(proc);
	}
}
