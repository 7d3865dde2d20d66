// SPDX-License-Identifier: GPL-2.0-only
/*
 * The locks of lockable segments: which processes have one mapped, and which of
 * their threads can hold one.
 */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include "compat.h"
#include "lock.h"

/* Number -> holder, to know which are alive. */
static DEFINE_XARRAY_ALLOC1(pvvas_holders);
static u32 pvvas_next_holder;

void pvvas_locks_init(struct pvvas_proc *proc)
{
	mutex_init(&proc->locks_mutex);
	spin_lock_init(&proc->holders_lock);
	INIT_LIST_HEAD(&proc->holders);
	xa_init(&proc->locks);
}

/*
 * Maps.  A fork does not copy them (VM_DONTCOPY, and VM_IO, with which it stays).
 */

static int pvvas_map_add(struct pvvas_proc *proc, struct pvvas_seglock *lock,
			 bool writable, u32 element,
			 struct pvvas_lock_map **result)
{
	struct pvvas_lock_map *map = xa_load(&proc->locks, lock->id);
	int ret;

	lockdep_assert_held(&proc->locks_mutex);
	*result = map;
	if (map && map->element != element)
		return -EINVAL;
	if (map) {
		map->vmas++;
		map->writable |= writable;
		return 0;
	}
	map = kzalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);
	if (!map)
		return -ENOMEM;
	map->lock = lock;
	map->proc = proc;
	map->vmas = 1;
	map->writable = writable;
	map->element = element;
	ret = xa_err(xa_store(&proc->locks, lock->id, map, GFP_KERNEL_ACCOUNT));
	if (ret) {
		kfree(map);
		return ret;
	}
	kref_get(&lock->ref);
	kref_get(&proc->ref);
	spin_lock(&lock->lock);
	list_add(&map->node, &lock->maps);
	spin_unlock(&lock->lock);
	*result = map;
	return 0;
}

static void pvvas_lock_vm_open(struct vm_area_struct *vma)
{
	struct pvvas_lock_map *map = vma->vm_private_data;

	mutex_lock(&map->proc->locks_mutex);
	map->vmas++;
	mutex_unlock(&map->proc->locks_mutex);
}

static void pvvas_lock_vm_close(struct vm_area_struct *vma)
{
	struct pvvas_lock_map *map = vma->vm_private_data;
	struct pvvas_seglock *lock = map->lock;
	struct pvvas_proc *proc = map->proc;
	struct pvvas_holder *holder;
	bool last;

	mutex_lock(&proc->locks_mutex);
	last = !--map->vmas;
	if (last) {
		xa_erase(&proc->locks, lock->id);
		spin_lock(&lock->lock);
		list_del(&map->node);
		spin_unlock(&lock->lock);
		/* As if all threads had died: later no death would be told. */
		list_for_each_entry(holder, &proc->holders, node)
			pvvas_lock_owner_died(lock, holder->number);
	}
	mutex_unlock(&proc->locks_mutex);
	if (!last)
		return;
	kfree(map);
	pvvas_lock_put(lock);
	pvvas_proc_put(proc);
}

static int pvvas_lock_vm_refuse_split(struct vm_area_struct *vma,
				      unsigned long addr)
{
	return -EINVAL;
}

static int pvvas_lock_vm_refuse_move(struct vm_area_struct *vma)
{
	return -EINVAL;
}

static const struct vm_operations_struct pvvas_lock_vm_ops = {
	.open		= pvvas_lock_vm_open,
	.close		= pvvas_lock_vm_close,
	.may_split	= pvvas_lock_vm_refuse_split,
	.mremap		= pvvas_lock_vm_refuse_move,
};

static int pvvas_private_vma(struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	vm_flags_mod(vma, VM_IO | VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP,
		     VM_MAYEXEC);
	return 0;
}

/* Only the driver ever writes to it. */
static int pvvas_lock_gone_mmap(struct pvvas_seglock *lock,
				struct vm_area_struct *vma)
{
	int ret;

	if (vma->vm_flags & VM_WRITE)
		return -EACCES;
	ret = pvvas_private_vma(vma);
	if (ret)
		return ret;
	vm_flags_mod(vma, 0, VM_MAYWRITE);
	return vm_insert_page(vma, vma->vm_start, virt_to_page(lock->gone));
}

/* The file's mode has decided, before this, whether it may be written to. */
static int pvvas_lock_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct pvvas_proc *proc = pvvas_proc_find(current->mm);
	struct pvvas_seglock *lock = file->private_data;
	struct pvvas_lock_map *map;
	int ret;

	if (!proc || vma_pages(vma) != 1)
		return -EINVAL;
	if (vma->vm_pgoff == PVVAS_LOCK_GONE_OFFSET >> PAGE_SHIFT)
		return pvvas_lock_gone_mmap(lock, vma);
	if (vma->vm_pgoff >= PVVAS_HOLDS_MAX * PVVAS_HOLDS_PER_PAGE)
		return -EINVAL;
	ret = pvvas_private_vma(vma);
	if (!ret)
		ret = vm_insert_page(vma, vma->vm_start,
				     virt_to_page(lock->word));
	if (ret)
		return ret;
	mutex_lock(&proc->locks_mutex);
	ret = pvvas_map_add(proc, lock, file->f_mode & FMODE_WRITE,
			    vma->vm_pgoff, &map);
	mutex_unlock(&proc->locks_mutex);
	if (ret)
		return ret;
	vma->vm_private_data = map;
	vma->vm_ops = &pvvas_lock_vm_ops;
	return 0;
}

static int pvvas_lock_file_release(struct inode *inode, struct file *file)
{
	pvvas_lock_put(file->private_data);
	return 0;
}

static const struct file_operations pvvas_lock_fops = {
	.owner		= THIS_MODULE,
	.mmap		= pvvas_lock_mmap,
	.release	= pvvas_lock_file_release,
	.llseek		= noop_llseek,
};

int pvvas_lock_open(struct pvvas_ioc_lock_open *arg)
{
	struct pvvas_seglock *lock = NULL;
	struct pvvas_seg *seg;
	u32 rights;
	int ret = 0;

	if (arg->fd || arg->lock || arg->rights)
		return -EINVAL;
	mutex_lock(&pvvas_lock);
	seg = pvvas_att_seg(arg->handle, arg->seg, &rights);
	if (IS_ERR(seg))
		ret = PTR_ERR(seg);
	else if (!seg->lock)
		ret = -ENOENT;
	else if (!(rights & PVVAS_READ))
		ret = -EACCES;
	else
		lock = seg->lock;
	if (lock)
		kref_get(&lock->ref);
	pvvas_unlock();
	if (ret)
		return ret;
	ret = anon_inode_getfd("[pvvas-lock]", &pvvas_lock_fops, lock,
			       O_CLOEXEC | (rights & PVVAS_WRITE ? O_RDWR :
					    O_RDONLY));
	if (ret < 0) {
		pvvas_lock_put(lock);
		return ret;
	}
	arg->fd = ret;
	arg->lock = lock->id;
	arg->rights = rights;
	return 0;
}

/* The lock @id of a process, with a reference, and its element of the arrays. */
struct pvvas_seglock *pvvas_lock_mapped(struct pvvas_proc *proc, u32 id,
					bool write, u32 *element)
{
	struct pvvas_seglock *lock;
	struct pvvas_lock_map *map;

	mutex_lock(&proc->locks_mutex);
	map = xa_load(&proc->locks, id);
	if (!map) {
		lock = ERR_PTR(-ENOENT);
	} else if (write && !map->writable) {
		lock = ERR_PTR(-EACCES);
	} else {
		lock = map->lock;
		*element = map->element;
		kref_get(&lock->ref);
	}
	mutex_unlock(&proc->locks_mutex);
	return lock;
}

/*
 * Holders.
 */

bool pvvas_holder_lives(u32 number)
{
	struct pvvas_holder *holder;
	bool lives;

	rcu_read_lock();
	/* A holder is erased before its thread is freed. */
	xa_lock(&pvvas_holders);
	holder = xa_load(&pvvas_holders, number);
	lives = holder && pvvas_thread_lives(holder->thread);
	xa_unlock(&pvvas_holders);
	rcu_read_unlock();
	return lives;
}

static struct pvvas_thread *pvvas_thread_current(struct pvvas_proc *proc)
{
	struct pvvas_thread *t;

	spin_lock(&proc->lock);
	t = pvvas_thread_find(proc, current);
	spin_unlock(&proc->lock);
	return t;
}

/* That of the current thread, which cannot go meanwhile, or NULL. */
struct pvvas_holder *pvvas_holder_current(struct pvvas_proc *proc)
{
	struct pvvas_thread *t = proc ? pvvas_thread_current(proc) : NULL;

	return t ? t->holder : NULL;
}

static struct pvvas_holder *pvvas_holder_new(struct pvvas_thread *t)
{
	struct pvvas_holder *holder = kzalloc(sizeof(*holder),
					      GFP_KERNEL_ACCOUNT);
	int ret;

	if (!holder)
		return ERR_PTR(-ENOMEM);
	holder->thread = t;
	ret = xa_alloc_cyclic(&pvvas_holders, &holder->number, holder,
			      XA_LIMIT(1, PVVAS_LOCK_OWNER), &pvvas_next_holder,
			      GFP_KERNEL_ACCOUNT);
	if (ret < 0) {
		kfree(holder);
		return ERR_PTR(ret == -EBUSY ? -ENOSPC : ret);
	}
	return holder;
}

int pvvas_lock_thread(struct pvvas_ioc_lock_thread *arg)
{
	struct pvvas_proc *proc = pvvas_proc_find(current->mm);
	struct pvvas_thread *t = proc ? pvvas_thread_current(proc) : NULL;
	struct pvvas_holder *holder;

	if (arg->number || !t)
		return -EINVAL;
	holder = t->holder;
	if (!holder) {
		holder = pvvas_holder_new(t);
		if (IS_ERR(holder))
			return PTR_ERR(holder);
		mutex_lock(&proc->locks_mutex);
		spin_lock(&proc->holders_lock);
		list_add(&holder->node, &proc->holders);
		spin_unlock(&proc->holders_lock);
		t->holder = holder;
		mutex_unlock(&proc->locks_mutex);
	}
	arg->number = holder->number;
	return 0;
}

/* The thread's own; others may be reading, pages before their number. */
static int pvvas_holder_grow(struct pvvas_holder *holder, u32 nr)
{
	u32 *page;

	while (holder->nr_pages < nr) {
		page = pvvas_lock_page_new();
		if (IS_ERR(page))
			return PTR_ERR(page);
		holder->pages[holder->nr_pages] = page;
		/* Pairs with the acquire in pvvas_holder_element(). */
		smp_store_release(&holder->nr_pages, holder->nr_pages + 1);
	}
	return 0;
}

/* mmap() of the device at PVVAS_HOLDS_OFFSET. */
int pvvas_holds_mmap(struct vm_area_struct *vma)
{
	struct pvvas_proc *proc = pvvas_proc_find(current->mm);
	struct pvvas_holder *holder = pvvas_holder_current(proc);
	unsigned long nr = vma_pages(vma), i;
	int ret;

	if (!holder || nr > PVVAS_HOLDS_MAX)
		return -EINVAL;
	ret = pvvas_private_vma(vma);
	if (ret)
		return ret;
	ret = pvvas_holder_grow(holder, nr);
	for (i = 0; i < nr && !ret; i++)
		ret = vm_insert_page(vma, vma->vm_start + i * PAGE_SIZE,
				     virt_to_page(holder->pages[i]));
	return ret;
}

/* An element of the array; NULL if that is shorter. */
u32 *pvvas_holder_element(struct pvvas_holder *holder, u32 element)
{
	u32 page = element / PVVAS_HOLDS_PER_PAGE;

	/* Pairs with the release in pvvas_holder_grow(). */
	if (page >= smp_load_acquire(&holder->nr_pages))
		return NULL;
	return &holder->pages[page][element % PVVAS_HOLDS_PER_PAGE];
}

/* A thread that executes another program holds nothing any more. */
static bool pvvas_holder_has(struct pvvas_holder *holder,
			     const struct pvvas_lock_map *map)
{
	const u32 *hold = pvvas_holder_element(holder, map->element);

	return hold && READ_ONCE(*hold) == map->lock->id &&
		pvvas_holder_lives(holder->number);
}

/*
 * Does a thread hold it shared, or seem to?  One look for each thread that could,
 * whatever else that holds.  lock->lock is held.
 */
bool pvvas_lock_has_readers(struct pvvas_seglock *lock)
{
	struct pvvas_holder *holder;
	struct pvvas_lock_map *map;
	bool found = false;

	list_for_each_entry(map, &lock->maps, node) {
		spin_lock(&map->proc->holders_lock);
		list_for_each_entry(holder, &map->proc->holders, node) {
			found = pvvas_holder_has(holder, map);
			if (found)
				break;
		}
		spin_unlock(&map->proc->holders_lock);
		if (found)
			break;
	}
	return found;
}

/* The thread is dead, or its mm is: what it holds is let go.  Sleeps. */
static void pvvas_holder_end(struct pvvas_proc *proc,
			     struct pvvas_holder *holder)
{
	struct pvvas_lock_map *map;
	unsigned long id;

	lockdep_assert_held(&proc->locks_mutex);
	spin_lock(&proc->holders_lock);
	list_del(&holder->node);
	spin_unlock(&proc->holders_lock);
	xa_erase(&pvvas_holders, holder->number);
	xa_for_each(&proc->locks, id, map)
		pvvas_lock_owner_died(map->lock, holder->number);
	while (holder->nr_pages)
		pvvas_lock_page_free(holder->pages[--holder->nr_pages]);
	holder->thread->holder = NULL;
	kfree(holder);
}

void pvvas_locks_thread_died(struct pvvas_thread *t)
{
	struct pvvas_proc *proc = t->proc;

	/* A dead thread gets none. */
	if (!READ_ONCE(t->holder))
		return;
	mutex_lock(&proc->locks_mutex);
	if (t->holder)
		pvvas_holder_end(proc, t->holder);
	mutex_unlock(&proc->locks_mutex);
}

void pvvas_locks_mm_died(struct pvvas_proc *proc)
{
	struct pvvas_holder *holder, *next;

	mutex_lock(&proc->locks_mutex);
	list_for_each_entry_safe(holder, next, &proc->holders, node)
		pvvas_holder_end(proc, holder);
	mutex_unlock(&proc->locks_mutex);
}

/*
 * The mark.
 */

/* pvvas_lock is held. */
static struct pvvas_seg *pvvas_seg_owned(u32 id)
{
	struct pvvas_object *obj = pvvas_object_by_id(PVVAS_KIND_SEG, id);

	if (!obj)
		return ERR_PTR(-ENOENT);
	if (!pvvas_object_is_owner(obj))
		return ERR_PTR(-EPERM);
	return container_of(obj, struct pvvas_seg, obj);
}

/*
 * Make the segment lockable, or not.  Made lockable again it has a new lock: what
 * former writers have mapped, or have written to the old one, does not matter.
 */
int pvvas_seg_locking(struct pvvas_ioc_seg_locking *arg)
{
	struct pvvas_seglock *lock = NULL;
	struct pvvas_seg *seg;
	int ret = 0;

	if (arg->on > 1 || (arg->state && arg->state != PVVAS_LOCK_DIED &&
			    arg->state != PVVAS_LOCK_LOST))
		return -EINVAL;
	if (arg->on) {
		lock = pvvas_lock_new();
		if (IS_ERR(lock))
			return PTR_ERR(lock);
		*lock->word = arg->state;
	}
	mutex_lock(&pvvas_lock);
	seg = pvvas_seg_owned(arg->seg);
	if (IS_ERR(seg)) {
		ret = PTR_ERR(seg);
	} else if (arg->state && (!arg->on || seg->lockable)) {
		ret = -EBUSY;
	} else {
		if (arg->on && !seg->lockable) {
			swap(seg->lock, lock);
			/* before a thread finds the other one */
			if (lock)
				WRITE_ONCE(*lock->gone, 1);
		}
		seg->lockable = arg->on;
	}
	if (!ret)
		kref_get(&seg->obj.ref);
	pvvas_unlock();
	if (!ret) {
		pvvas_links_sort(seg);
		pvvas_seg_drop(seg);
	}
	if (lock) {
		pvvas_lock_retire(lock);
		pvvas_lock_put(lock);
	}
	return ret;
}

int pvvas_seg_lock_reset(struct pvvas_ioc_id *arg)
{
	struct pvvas_seglock *lock = NULL;
	struct pvvas_seg *seg;
	int ret = 0;

	mutex_lock(&pvvas_lock);
	seg = pvvas_seg_owned(arg->id);
	if (IS_ERR(seg))
		ret = PTR_ERR(seg);
	else if (!seg->lock)
		ret = -EINVAL;
	else
		lock = seg->lock;
	if (lock)
		kref_get(&lock->ref);
	pvvas_unlock();
	if (!lock)
		return ret;
	ret = pvvas_lock_renew(lock);
	pvvas_lock_put(lock);
	return ret;
}
