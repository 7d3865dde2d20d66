// SPDX-License-Identifier: GPL-2.0-only
/*
 * Core dumps: the kernel writes only what has struct pages, so it leaves out the
 * window.  A segment that is marked for dumps is therefore mapped a second time,
 * read-only and somewhere else, in each process that attaches it.  Only the
 * kernel gets pages there, when it writes a core, and only of what the
 * attachment still shows then: the process itself finds SIGBUS, or else it could
 * go on reading what has been taken out of the VAS.  Pages that the dumper got
 * stay in the page tables, so it gets none if another process, which lives on,
 * shares them (vfork, CLONE_VM).  What is not backed is a hole.  Debuggers that
 * write cores come by way of the access method.
 *
 * The dumper asks for each page of a mapping.  A large segment has many mappings
 * side by side, and those with no page at the time of the dump are left out.
 *
 * The mapping's file has the segment's id and address in its name, and the note
 * NT_FILE of the core tells names of files: a debugger finds there what was
 * where in the window.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "compat.h"
#include "pvvas_drv.h"

/* Of one mapping: as long as the dumper may look for pages that are not there. */
#define PVVAS_DUMP_LENGTH	(256UL << 20)
#define PVVAS_DUMP_MAPPINGS	1024

/*
 * What the mapping's file holds: a reference only from the dump on, when its
 * pages are in page tables.  Else a process could keep the memory of a segment
 * that is taken out of a VAS, by having attached the VAS.
 */
struct pvvas_dump_file {
	u64 serial;		/* of the segment */
	u32 id;			/* likewise */
	u32 handle;
	struct pvvas_seg *held;	/* under pvvas_lock */
};

/* One mapping; in att->dumps, under pvvas_lock. */
struct pvvas_dump {
	struct list_head node;
	struct pvvas_seg *seg;	/* a reference, until it is mapped */
	u64 serial;
	unsigned long addr;
	unsigned long length;
};

static struct pvvas_link *pvvas_dump_link(const struct pvvas_links *links,
					  const struct pvvas_dump_file *df)
{
	struct pvvas_link *link = pvvas_link_by_id(links, df->id);

	/* An id may be another segment's by now. */
	return link && link->seg->obj.serial == df->serial ? link : NULL;
}

/* The segment, if the attachment shows it still.  pvvas_lock is held. */
static struct pvvas_seg *pvvas_dump_shown(struct vm_area_struct *vma)
{
	const struct pvvas_dump_file *df = vma->vm_private_data;
	struct pvvas_link *link;
	struct pvvas_att *att;

	att = pvvas_att_get(pvvas_proc_find(vma->vm_mm), df->handle);
	if (!att)
		return NULL;
	link = pvvas_dump_link(&att->links, df);
	if (link)
		return link->seg;
	link = pvvas_dump_link(&att->vas->links, df);
	return link && !pvvas_link_hidden(att, link) &&
	       link->prot & att->rights & PVVAS_READ ? link->seg : NULL;
}

/*
 * No task outlives the dump with this memory.  The dumper's own threads are dying,
 * so those that could make another task with it are looked at here.
 */
static bool pvvas_dump_is_last(struct mm_struct *mm)
{
	struct task_struct *group, *task;
	bool last = true;

	if (atomic_read(&mm->mm_users) == 1)
		return true;
	rcu_read_lock();
	for_each_process_thread(group, task)
		if (READ_ONCE(task->mm) == mm &&
		    !same_thread_group(task, current))
			last = false;
	rcu_read_unlock();
	return last;
}

static pgoff_t pvvas_dump_index(const struct pvvas_seg *seg, pgoff_t pgoff)
{
	return pgoff + pvvas_first(seg);
}

/* The page, unless it is protected from being read: as an access in the view. */
static struct page *pvvas_dump_page(struct pvvas_seg *seg, pgoff_t pgoff)
{
	pgoff_t index = pvvas_dump_index(seg, pgoff);

	return pvvas_seg_allows(seg, index) & PVVAS_PROT_READ ?
	       pvvas_seg_page_get(seg, index) : NULL;
}

static vm_fault_t pvvas_dump_fault(struct vm_fault *vmf)
{
	struct pvvas_dump_file *df = vmf->vma->vm_private_data;
	struct page *page = NULL;
	struct pvvas_seg *seg;

	if (!(current->flags & PF_DUMPCORE) || current->mm != vmf->vma->vm_mm ||
	    !pvvas_dump_is_last(current->mm))
		return VM_FAULT_SIGBUS;
	/* The dumper alone sets it.  A hole does not cost the lock. */
	seg = df->held;
	if (seg && !xa_load(&seg->memory->pages,
			    pvvas_dump_index(seg, vmf->pgoff)))
		return VM_FAULT_SIGBUS;
	mutex_lock(&pvvas_lock);
	seg = pvvas_dump_shown(vmf->vma);
	if (seg)
		page = pvvas_dump_page(seg, vmf->pgoff);
	if (page && !df->held) {
		kref_get(&seg->obj.ref);
		df->held = seg;
	}
	pvvas_unlock();
	if (!page)
		return VM_FAULT_SIGBUS;
	vmf->page = page;
	return 0;
}

/* For a debugger; nothing of it stays in the process's page tables. */
static int pvvas_dump_access(struct vm_area_struct *vma, unsigned long addr,
			     void *buf, int len, int write)
{
	u64 offset = addr - vma->vm_start +
		     ((u64)vma->vm_pgoff << PAGE_SHIFT);
	struct pvvas_seg *seg;
	int ret = -EIO;

	mutex_lock(&pvvas_lock);
	seg = pvvas_dump_shown(vma);
	if (seg)
		kref_get(&seg->obj.ref);
	pvvas_unlock();
	if (!seg)
		return ret;
	if (!write && offset < seg->length)
		ret = pvvas_seg_copy(seg, offset, buf, len, false);
	pvvas_seg_drop(seg);
	return ret;
}

static bool pvvas_dump_is_empty(struct vm_area_struct *vma)
{
	bool empty = true;
	struct pvvas_seg *seg;
	unsigned long index;

	mutex_lock(&pvvas_lock);
	seg = pvvas_dump_shown(vma);
	if (seg) {
		index = pvvas_dump_index(seg, vma->vm_pgoff);
		empty = !xa_find(&seg->memory->pages, &index,
				 index + vma_pages(vma) - 1, XA_PRESENT);
	}
	pvvas_unlock();
	return empty;
}

/*
 * What has a name of its own kind is always dumped; without, the flag counts.  The
 * dumper asks once for each mapping, with mmap_lock held for writing.
 */
static const char *pvvas_dump_name(struct vm_area_struct *vma)
{
	if (!(current->flags & PF_DUMPCORE) || current->mm != vma->vm_mm ||
	    !pvvas_dump_is_empty(vma))
		return "[pvvas]";
	vm_flags_mod(vma, VM_DONTDUMP, 0);
	return NULL;
}

static const struct vm_operations_struct pvvas_dump_vm_ops = {
	.fault	= pvvas_dump_fault,
	.access	= pvvas_dump_access,
	.name	= pvvas_dump_name,
};

/* The file may only be read: so remap_file_pages(2) moves no mapping of it. */
static int pvvas_dump_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_WRITE)
		return -EACCES;
	vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTCOPY, VM_MAYWRITE | VM_MAYEXEC);
	vma->vm_private_data = file->private_data;
	vma->vm_ops = &pvvas_dump_vm_ops;
	return 0;
}

static int pvvas_dump_release(struct inode *inode, struct file *file)
{
	struct pvvas_dump_file *df = file->private_data;

	if (df->held)
		pvvas_seg_drop(df->held);
	kfree(df);
	return 0;
}

static const struct file_operations pvvas_dump_fops = {
	.owner		= THIS_MODULE,
	.mmap		= pvvas_dump_mmap,
	.release	= pvvas_dump_release,
};

/* In place of one long mapping; VM_DONTEXPAND keeps them apart. */
static void pvvas_dump_split(struct file *file, unsigned long addr,
			     unsigned long length)
{
	unsigned long step = max(PVVAS_DUMP_LENGTH,
				 roundup_pow_of_two(length /
						    PVVAS_DUMP_MAPPINGS));
	unsigned long at;

	/* The last piece is what is left of the long one, also after an error. */
	for (at = 0; at + step < length; at += step)
		if (IS_ERR_VALUE(vm_mmap(file, addr + at, step, PROT_READ,
					 MAP_SHARED | MAP_FIXED, at)))
			return;
}

static unsigned long pvvas_dump_map(const struct pvvas_seg *seg,
				    unsigned long length, u32 handle)
{
	struct pvvas_dump_file *df;
	unsigned long addr;
	struct file *file;
	char name[64];

	df = kzalloc(sizeof(*df), GFP_KERNEL_ACCOUNT);
	if (!df)
		return -ENOMEM;
	df->serial = seg->obj.serial;
	df->id = seg->obj.id;
	df->handle = handle;
	snprintf(name, sizeof(name), "[pvvas segment %u at 0x%llx]",
		 seg->obj.id, seg->base);
	file = anon_inode_getfile(name, &pvvas_dump_fops, df, O_RDONLY);
	if (IS_ERR(file)) {
		kfree(df);
		return PTR_ERR(file);
	}
	addr = vm_mmap(file, 0, length, PROT_READ, MAP_SHARED, 0);
	if (!IS_ERR_VALUE(addr))
		pvvas_dump_split(file, addr, length);
	fput(file);
	return addr;
}

static bool pvvas_dump_has(const struct pvvas_att *att,
			   const struct pvvas_seg *seg)
{
	const struct pvvas_dump *dump;

	list_for_each_entry(dump, &att->dumps, node)
		if (dump->serial == seg->obj.serial)
			return true;
	return false;
}

/* Those that are marked and have no mapping yet; pvvas_lock is held. */
static void pvvas_dump_collect(struct pvvas_att *att,
			       const struct pvvas_links *links,
			       struct list_head *todo)
{
	struct pvvas_link *link;
	struct pvvas_dump *dump;

	list_for_each_entry(link, &links->dumped, dumped) {
		if (pvvas_dump_has(att, link->seg))
			continue;
		dump = kzalloc(sizeof(*dump), PVVAS_GFP_LOCKED | __GFP_ACCOUNT);
		if (!dump)
			return;
		kref_get(&link->seg->obj.ref);
		dump->seg = link->seg;
		dump->serial = link->seg->obj.serial;
		dump->length = link->seg->length;
		list_add(&dump->node, todo);
	}
}

/* Still ours?  The process may have put something else there. */
static void pvvas_dump_unmap(struct pvvas_dump *dump)
{
	const struct pvvas_dump_file *df;
	struct vm_area_struct *vma;
	bool ours;

	mmap_read_lock(current->mm);
	vma = find_vma(current->mm, dump->addr);
	df = vma && vma->vm_ops == &pvvas_dump_vm_ops ? vma->vm_private_data :
	     NULL;
	ours = df && vma->vm_start == dump->addr && df->serial == dump->serial;
	mmap_read_unlock(current->mm);
	if (ours)
		vm_munmap(dump->addr, dump->length);
	kfree(dump);
}

/*
 * After a change of what current has attached.  A dump without a segment is
 * not worth an error: the attachment works.
 */
void pvvas_dump_update(u32 handle)
{
	struct pvvas_dump *dump, *next;
	struct pvvas_att *att;
	LIST_HEAD(todo);
	LIST_HEAD(done);

	mutex_lock(&pvvas_lock);
	att = pvvas_att_get(pvvas_proc_find(current->mm), handle);
	if (att) {
		pvvas_dump_collect(att, &att->vas->links, &todo);
		pvvas_dump_collect(att, &att->links, &todo);
	}
	pvvas_unlock();

	list_for_each_entry_safe(dump, next, &todo, node) {
		list_del(&dump->node);
		dump->addr = pvvas_dump_map(dump->seg, dump->length, handle);
		pvvas_seg_drop(dump->seg);
		if (IS_ERR_VALUE(dump->addr))
			kfree(dump);
		else
			list_add(&dump->node, &done);
	}
	mutex_lock(&pvvas_lock);
	att = pvvas_att_get(pvvas_proc_find(current->mm), handle);
	if (att)
		list_splice_init(&done, &att->dumps);
	pvvas_unlock();
	pvvas_dump_unmap_all(&done);
}

/* Of one segment, or of all; to be unmapped without the lock, which is held. */
void pvvas_dump_take(struct pvvas_att *att, const struct pvvas_seg *seg,
		     struct list_head *list)
{
	struct pvvas_dump *dump, *next;

	list_for_each_entry_safe(dump, next, &att->dumps, node)
		if (!seg || dump->serial == seg->obj.serial)
			list_move(&dump->node, list);
}

void pvvas_dump_unmap_all(struct list_head *list)
{
	struct pvvas_dump *dump, *next;

	list_for_each_entry_safe(dump, next, list, node) {
		list_del(&dump->node);
		pvvas_dump_unmap(dump);
	}
}

/* The mm is gone, and its mappings with it. */
void pvvas_dump_forget(struct pvvas_att *att)
{
	struct pvvas_dump *dump, *next;

	list_for_each_entry_safe(dump, next, &att->dumps, node) {
		list_del(&dump->node);
		kfree(dump);
	}
}
