// SPDX-License-Identifier: GPL-2.0-only
/*
 * A segment: a range of the window, which can grow (resize.c), and the pages behind it.
 *
 * A page is given back only after KVM has forgotten it: pages leave with the
 * whole segment, after its tables.
 */
#include <linux/cpuset.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include "compat.h"
#include "ept.h"

#define PVVAS_CREATE_ALL	(PVVAS_CREATE_POPULATE | PVVAS_CREATE_HUGE | \
				 PVVAS_CREATE_LOCK | PVVAS_CREATE_DUMP | \
				 PVVAS_CREATE_HUGETLB | PVVAS_CREATE_SMALL)

/* Are the nodes there, and for the caller to use, and as many as the policy takes? */
static bool pvvas_nodes_ok(u32 policy, u64 nodes)
{
	u64 rest;
	int node;

	for (rest = nodes; rest; rest &= rest - 1) {
		node = __ffs64(rest);
		if (node >= nr_node_ids || !node_state(node, N_MEMORY) ||
		    !node_isset(node, cpuset_current_mems_allowed))
			return false;
	}
	switch (policy) {
	case PVVAS_NUMA_DEFAULT:
		return !nodes;
	case PVVAS_NUMA_PREFERRED:
		return hweight64(nodes) == 1;
	case PVVAS_NUMA_BIND:
	case PVVAS_NUMA_INTERLEAVE:
		return nodes;
	default:
		return false;
	}
}

static int pvvas_seg_check(const struct pvvas_ioc_create *arg)
{
	if (arg->flags & ~PVVAS_CREATE_ALL || arg->mode & ~0777 ||
	    arg->reserved)
		return -EINVAL;
	if (arg->flags & PVVAS_CREATE_HUGE && arg->flags & PVVAS_CREATE_SMALL)
		return -EINVAL;
	if (!pvvas_nodes_ok(arg->policy, arg->nodes))
		return -EINVAL;
	if (arg->colors && arg->flags & (PVVAS_CREATE_HUGE | PVVAS_CREATE_HUGETLB))
		return -EINVAL;
	if (arg->flags & PVVAS_CREATE_HUGETLB) {
		if (arg->flags != PVVAS_CREATE_HUGETLB || arg->policy ||
		    !IS_ALIGNED(arg->base | arg->length | arg->memory,
				PVVAS_BLOCK))
			return -EINVAL;
	} else if (arg->memory) {
		return -EINVAL;
	}
	if (!arg->length || !PAGE_ALIGNED(arg->length | arg->base))
		return -EINVAL;
	if (arg->length > pvvas_window_end() - PVVAS_WINDOW_FIRST)
		return -E2BIG;
	if (arg->base && (arg->base < PVVAS_WINDOW_FIRST ||
			  arg->base > pvvas_window_end() - arg->length))
		return -ERANGE;
	return 0;
}

/* Its tables. */
int pvvas_seg_make(struct pvvas_seg *seg)
{
	struct pvvas_tree *tree = pvvas_tree_new(seg,
						 pvvas_va_to_gpa(seg->start),
						 pvvas_va_to_gpa(seg->end));

	if (IS_ERR(tree))
		return PTR_ERR(tree);
	seg->tree = tree;
	return 0;
}

struct pvvas_seg *pvvas_seg_new(u64 base, u64 length, umode_t mode)
{
	struct pvvas_seg *seg = kzalloc(sizeof(*seg), GFP_KERNEL_ACCOUNT);

	int ret;

	if (!seg)
		return ERR_PTR(-ENOMEM);
	ret = pvvas_object_init(&seg->obj, PVVAS_KIND_SEG, mode);
	if (ret) {
		kfree(seg);
		return ERR_PTR(ret);
	}
	seg->base = base;
	seg->length = length;
	seg->memory = seg;
	seg->unique = pvvas_unique();
	INIT_LIST_HEAD(&seg->clones);
	INIT_LIST_HEAD(&seg->links);
	INIT_LIST_HEAD(&seg->faces);
	list_add(&seg->face, &seg->faces);
	xa_init_flags(&seg->pages, XA_FLAGS_LOCK_IRQ | XA_FLAGS_ACCOUNT);
	/*
	 * Not a plain tree of ranges: of these, with RCU, mt_free_walk() takes
	 * the number of entries in a node that lacks one to be full for a
	 * pointer (seen with 6.12).  Nodes that know gaps keep it elsewhere.
	 */
	mt_init_flags(&seg->prot, MT_FLAGS_ALLOC_RANGE | MT_FLAGS_USE_RCU);
	seg->memcg = get_mem_cgroup_from_mm(current->mm);
	atomic_inc(&pvvas_counts.segs);
	return seg;
}

int pvvas_seg_create(struct pvvas_ioc_create *arg)
{
	struct pvvas_proc *owner = NULL;
	struct pvvas_seg *seg;
	char *name = NULL;
	int ret;

	ret = pvvas_seg_check(arg);
	if (ret)
		return ret;
	if (arg->name)
		name = pvvas_name_from_user(arg->name);
	else
		owner = pvvas_proc_current();
	if (IS_ERR(name) || IS_ERR(owner))
		return IS_ERR(name) ? PTR_ERR(name) : PTR_ERR(owner);
	seg = pvvas_seg_new(arg->base, arg->length, arg->mode);
	if (IS_ERR(seg)) {
		kfree(name);
		return PTR_ERR(seg);
	}
	seg->huge = arg->flags & PVVAS_CREATE_HUGE;
	seg->small = arg->flags & PVVAS_CREATE_SMALL;
	seg->dump = arg->flags & PVVAS_CREATE_DUMP;
	seg->policy = arg->policy;
	seg->nodes = arg->nodes;
	seg->colors = arg->colors;
	mutex_lock(&pvvas_lock);
	ret = pvvas_seg_place(seg);
	if (!ret && arg->flags & PVVAS_CREATE_LOCK)
		ret = pvvas_quota_lock(seg->obj.charged, seg->length);
	if (!ret && arg->flags & PVVAS_CREATE_LOCK)
		seg->locked = seg->length;
	pvvas_unlock();

	/* Its range is taken; no other process can find it. */
	if (!ret)
		ret = pvvas_seg_make(seg);
	if (!ret && arg->flags & (PVVAS_CREATE_POPULATE | PVVAS_CREATE_LOCK))
		ret = pvvas_pages_populate(seg, pvvas_first(seg),
					   pvvas_end(seg));
	if (!ret && arg->flags & PVVAS_CREATE_HUGETLB)
		ret = pvvas_pages_pin(seg, arg->memory);

	mutex_lock(&pvvas_lock);
	if (!ret)
		ret = pvvas_object_publish(&seg->obj, name, owner);
	if (ret) {
		pvvas_object_put(&seg->obj);
	} else {
		arg->id = seg->obj.id;
		arg->base = seg->base;
	}
	pvvas_unlock();
	if (ret)
		kfree(name);
	return ret;
}

/* Pages of a segment, from which on a kernel thread frees them. */
#define PVVAS_LATER_PAGES	((16UL << 20) >> PAGE_SHIFT)

/*
 * Can the pages of @seg be there for a while yet?  Not where memory is short: what they
 * are freed for must not fail.  So there is to be as much again in the cgroup that pays,
 * and twice what waits in the machine.
 */
static bool pvvas_seg_later(const struct pvvas_seg *seg)
{
	u64 waiting = atomic64_read(&pvvas_counts.freeing);

	return seg->freeing >= PVVAS_LATER_PAGES && !seg->pinned &&
	       seg->policy == PVVAS_NUMA_DEFAULT &&
	       2 * waiting <= si_mem_available() &&
	       pvvas_memcg_room(seg->memcg, seg->freeing);
}

/* From now on its pages count in no quota. */
static void pvvas_seg_free_begin(struct pvvas_seg *seg)
{
	s64 bytes = atomic64_xchg(&seg->resident, 0);

	pvvas_quota_memory_back(seg->obj.charged, bytes);
	seg->freeing += bytes >> PAGE_SHIFT;
	atomic64_add(bytes >> PAGE_SHIFT, &pvvas_counts.freeing);
}

/*
 * The tables, and then what they show.  Without locks.  Demand faults that have found
 * the segment end first.
 */
static bool pvvas_seg_end(struct pvvas_leftover *left)
{
	struct pvvas_seg *seg = container_of(left, struct pvvas_seg, left);
	struct pvvas_seg *mem = seg->memory;

	if (seg->tree)
		wait_var_event(&seg->tree->faulting,
			       !atomic_read(&seg->tree->faulting));
	pvvas_tree_free(seg->tree);
	pvvas_reclaim_end(seg);
	/* Those of faults that were under way. */
	pvvas_seg_free_begin(seg);
	pvvas_pages_free(seg);
	pvvas_seg_lock_free(seg);
	xa_destroy(&seg->pages);
	mtree_destroy(&seg->prot);
	mem_cgroup_put(seg->memcg);
	atomic_dec(&pvvas_counts.segs);
	mutex_lock(&pvvas_lock);
	if (mem != seg)
		pvvas_object_put(&mem->obj);
	pvvas_object_end(&seg->obj);
	pvvas_unlock();
	kfree(seg);
	return true;
}

/* The last reference is gone: it is not found, and no thread sees it. */
void pvvas_seg_free(struct pvvas_seg *seg)
{
	struct pvvas_seg *mem = seg->memory;

	pvvas_quota_forget(seg);
	pvvas_seg_unplace(seg);
	xa_lock_irq(&mem->pages);
	list_del(&seg->face);
	xa_unlock_irq(&mem->pages);
	/* No demand fault begins from here on. */
	if (seg->tree)
		atomic_dec(&seg->tree->faulting);
	pvvas_seg_free_begin(seg);
	if (pvvas_seg_later(seg))
		pvvas_bury_later(&seg->left, pvvas_seg_end);
	else
		pvvas_bury(&seg->left, pvvas_seg_end);
}

/*
 * The segment of this tree, for a demand fault; NULL if that is dead.  It stays until
 * pvvas_seg_fault_end(), even when its last reference goes.  RCU.
 */
struct pvvas_seg *pvvas_seg_fault_begin(struct pvvas_tree *tree)
{
	return atomic_inc_not_zero(&tree->faulting) ? tree->seg : NULL;
}

/* Interrupts are off: the tree outlives its segment by a grace period. */
void pvvas_seg_fault_end(struct pvvas_seg *seg)
{
	atomic_t *faulting = &seg->tree->faulting;

	if (atomic_dec_and_test(faulting))
		wake_up_var(faulting);
}

/* The segment @id, with a reference, if the caller has these rights to it. */
struct pvvas_seg *pvvas_seg_hold(u32 id, u32 rights)
{
	struct pvvas_object *obj;
	int ret = 0;

	mutex_lock(&pvvas_lock);
	obj = pvvas_object_by_id(PVVAS_KIND_SEG, id);
	if (!obj)
		ret = -ENOENT;
	else if (rights & ~pvvas_object_rights(obj))
		ret = -EACCES;
	else
		kref_get(&obj->ref);
	pvvas_unlock();
	return ret ? ERR_PTR(ret) : container_of(obj, struct pvvas_seg, obj);
}

void pvvas_seg_drop(struct pvvas_seg *seg)
{
	mutex_lock(&pvvas_lock);
	pvvas_object_put(&seg->obj);
	pvvas_unlock();
}

static int pvvas_seg_data_from(struct pvvas_seg *seg, u64 *offset, u64 *length)
{
	unsigned long first = pvvas_first(seg), last = pvvas_end(seg) - 1;
	unsigned long index = first + (*offset >> PAGE_SHIFT), end;
	struct xarray *pages = &seg->memory->pages;

	if (!xa_find(pages, &index, last, XA_PRESENT))
		return -ENOENT;
	for (end = index + 1; end <= last && end - index < PTRS_PER_PMD; end++)
		if (!xa_load(pages, end))
			break;
	*offset = max_t(u64, *offset, (u64)(index - first) << PAGE_SHIFT);
	*length = ((u64)(end - first) << PAGE_SHIFT) - *offset;
	return 0;
}

int pvvas_seg_next_data(struct pvvas_ioc_seg_data *arg)
{
	struct pvvas_object *obj;
	struct pvvas_seg *seg;
	int ret;

	mutex_lock(&pvvas_lock);
	obj = pvvas_object_by_id(PVVAS_KIND_SEG, arg->seg);
	seg = obj ? container_of(obj, struct pvvas_seg, obj) : NULL;
	if (!seg || arg->offset >= seg->length)
		ret = -ENOENT;
	else if (!(pvvas_object_rights(obj) & PVVAS_READ))
		ret = -EACCES;
	else
		ret = pvvas_seg_data_from(seg, &arg->offset, &arg->length);
	pvvas_unlock();
	return ret;
}
