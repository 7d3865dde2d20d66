// SPDX-License-Identifier: GPL-2.0-only
/*
 * EPT views: extents, i.e. which guest page is behind which page of a segment,
 * and the batches that change them.
 *
 * An extent is never changed in place under a leaf: MAP refuses pages that
 * have one already, UNMAP and PROTECT remove the leaves in the same critical
 * section.  So no present leaf ever changes its frame.
 */
#include <linux/kvm_host.h>

#include "internal.h"
#include "mmu.h"

#define PVVAS_CHUNK	64

/* mmu_lock or the mutex held */
struct pvvas_extent_node *pvvas_extent_find(struct pvvas_seg *seg, u64 offset)
{
	struct interval_tree_node *node;

	node = interval_tree_iter_first(&seg->extents, offset, offset);
	return node ? container_of(node, struct pvvas_extent_node, fwd) : NULL;
}

static void pvvas_extent_insert(struct kvm *kvm, struct pvvas_extent_node *e)
{
	interval_tree_insert(&e->fwd, &e->seg->extents);
	interval_tree_insert(&e->rev, &kvm->arch.pvvas->rmap);
	kvm->stat.pvvas_extents++;
}

static void pvvas_extent_remove(struct kvm *kvm, struct pvvas_extent_node *e)
{
	interval_tree_remove(&e->fwd, &e->seg->extents);
	interval_tree_remove(&e->rev, &kvm->arch.pvvas->rmap);
	kvm->stat.pvvas_extents--;
}

static void pvvas_extent_init(struct pvvas_extent_node *e, struct pvvas_seg *seg,
			      u64 offset, u64 gfn, u64 npages, u32 prot)
{
	e->seg = seg;
	e->prot = prot;
	e->fwd.start = offset;
	e->fwd.last = offset + npages - 1;
	e->rev.start = gfn;
	e->rev.last = gfn + npages - 1;
}

/* Shorten @e to what lies in [@first, @last] of the segment. */
static void pvvas_extent_clip(struct pvvas_extent_node *e, u64 first, u64 last)
{
	e->rev.start += first - e->fwd.start;
	e->rev.last -= e->fwd.last - last;
	e->fwd.start = first;
	e->fwd.last = last;
}

/* mmu_lock held for writing, nothing is or will be mapped from @seg any more */
void pvvas_extents_free(struct kvm *kvm, struct pvvas_seg *seg)
{
	struct interval_tree_node *node;

	while ((node = interval_tree_iter_first(&seg->extents, 0, ULONG_MAX))) {
		struct pvvas_extent_node *e;

		e = container_of(node, struct pvvas_extent_node, fwd);
		pvvas_extent_remove(kvm, e);
		kfree(e);
		cond_resched_rwlock_write(&kvm->mmu_lock);
	}
}

static struct pvvas_extent_node *pvvas_extent_alloc(void)
{
	return kzalloc(sizeof(struct pvvas_extent_node), GFP_KERNEL_ACCOUNT);
}

static int pvvas_map_one(struct kvm *kvm, struct pvvas_seg *seg,
			 const struct pvvas_extent *row)
{
	struct kvm_pvvas *pv = kvm->arch.pvvas;
	u64 offset = row->offset >> PAGE_SHIFT, npages = row->size >> PAGE_SHIFT;
	gfn_t gfn = gpa_to_gfn(row->gpa);
	struct pvvas_extent_node *e, *prev = NULL;

	if (!pvvas_prot_valid(row->prot) || row->gpa & ~PAGE_MASK)
		return -EINVAL;
	/* A page of the window is no RAM. */
	if (gfn + npages - 1 > kvm_mmu_max_gfn() ||
	    kvm_pvvas_overlaps_window(kvm, gfn, npages))
		return -EINVAL;
	if (interval_tree_iter_first(&seg->extents, offset, offset + npages - 1))
		return -EEXIST;

	if (offset)
		prev = pvvas_extent_find(seg, offset - 1);
	if (prev && prev->rev.last + 1 == gfn && prev->prot == row->prot) {
		/* One longer extent instead of two. */
		write_lock(&kvm->mmu_lock);
		pvvas_extent_remove(kvm, prev);
		prev->fwd.last += npages;
		prev->rev.last += npages;
		pvvas_extent_insert(kvm, prev);
		write_unlock(&kvm->mmu_lock);
		return 0;
	}

	if (kvm->stat.pvvas_extents >= pv->config.max_extents)
		return -ENOSPC;
	e = pvvas_extent_alloc();
	if (!e)
		return -ENOMEM;
	pvvas_extent_init(e, seg, offset, gfn, npages, row->prot);
	write_lock(&kvm->mmu_lock);
	pvvas_extent_insert(kvm, e);
	write_unlock(&kvm->mmu_lock);
	return 0;
}

/* The extent that has to be split for one to begin at @offset, or NULL. */
static struct pvvas_extent_node *pvvas_crossing(struct pvvas_seg *seg,
						u64 offset)
{
	struct pvvas_extent_node *e = pvvas_extent_find(seg, offset);

	return e && e->fwd.start != offset ? e : NULL;
}

/*
 * Split extents so that none crosses @first or @end.  Return: 0, or an error
 * with nothing changed.
 */
static int pvvas_split(struct kvm *kvm, struct pvvas_seg *seg, u64 first,
		       u64 end)
{
	struct pvvas_extent_node *e, *tail[2] = {};
	u64 at[2] = { first, end };
	int i, n;

	n = !!pvvas_crossing(seg, first) + !!pvvas_crossing(seg, end);
	if (kvm->stat.pvvas_extents + n > kvm->arch.pvvas->config.max_extents)
		return -ENOSPC;
	for (i = 0; i < n; i++) {
		tail[i] = pvvas_extent_alloc();
		if (!tail[i]) {
			kfree(tail[0]);
			return -ENOMEM;
		}
	}

	/* The pages stay as they are behind the same leaves. */
	write_lock(&kvm->mmu_lock);
	for (i = 0; i < 2; i++) {
		e = pvvas_crossing(seg, at[i]);
		if (!e)
			continue;
		n--;
		pvvas_extent_init(tail[n], seg, at[i],
				  e->rev.start + (at[i] - e->fwd.start),
				  e->fwd.last - at[i] + 1, e->prot);
		pvvas_extent_remove(kvm, e);
		pvvas_extent_clip(e, e->fwd.start, at[i] - 1);
		pvvas_extent_insert(kvm, e);
		pvvas_extent_insert(kvm, tail[n]);
	}
	write_unlock(&kvm->mmu_lock);
	return 0;
}

/* PVVAS_HC_SEG_UNMAP (prot 0) and PVVAS_HC_SEG_PROTECT */
static int pvvas_unmap_one(struct kvm *kvm, struct pvvas_seg *seg,
			   const struct pvvas_extent *row)
{
	u64 first = row->offset >> PAGE_SHIFT;
	u64 last = first + (row->size >> PAGE_SHIFT) - 1;
	struct interval_tree_node *node, *next;
	int r;

	if (row->gpa)
		return -EINVAL;
	r = pvvas_split(kvm, seg, first, last + 1);
	if (r)
		return r;

	write_lock(&kvm->mmu_lock);
	kvm->arch.pvvas->frozen = seg;
	if (pvvas_seg_zap_yielding(kvm, seg, seg->base + first,
				   seg->base + last + 1))
		pvvas_flush(kvm);
	for (node = interval_tree_iter_first(&seg->extents, first, last); node;
	     node = next) {
		struct pvvas_extent_node *e;

		e = container_of(node, struct pvvas_extent_node, fwd);
		next = interval_tree_iter_next(node, first, last);
		if (row->prot) {
			e->prot = row->prot;
		} else {
			pvvas_extent_remove(kvm, e);
			kfree(e);
		}
		/* kvm_pvvas.lock keeps the tree as it is. */
		cond_resched_rwlock_write(&kvm->mmu_lock);
	}
	kvm->arch.pvvas->frozen = NULL;
	write_unlock(&kvm->mmu_lock);
	return 0;
}

int pvvas_change_one(struct kvm *kvm, u64 nr, struct pvvas_seg *seg,
		     const struct pvvas_extent *row)
{
	u64 bytes = seg->npages << PAGE_SHIFT;

	if (row->reserved || !row->size ||
	    !PAGE_ALIGNED(row->offset | row->size) ||
	    row->offset >= bytes || row->size > bytes - row->offset)
		return -EINVAL;

	switch (nr) {
	case PVVAS_HC_SEG_MAP:
		return pvvas_map_one(kvm, seg, row);
	case PVVAS_HC_SEG_UNMAP:
		if (row->prot)
			return -EINVAL;
		return pvvas_unmap_one(kvm, seg, row);
	default:
		if (!pvvas_prot_valid(row->prot))
			return -EINVAL;
		return pvvas_unmap_one(kvm, seg, row);
	}
}

/*
 * Work through a list.  Return: how many rows are done; less than @count if
 * something is pending for the vCPU or a later row is wrong, and the guest
 * calls again with the rest; the error if the very first row fails.
 */
long pvvas_seg_change(struct kvm_vcpu *vcpu, u64 nr, u64 id, u64 gpa, u64 count)
{
	struct kvm *kvm = vcpu->kvm;
	struct pvvas_seg *seg = xa_load(&kvm->arch.pvvas->segs, id);
	struct pvvas_extent *rows;
	u64 done = 0, n, i;
	int r = 0;

	if (!seg)
		return -ENOENT;
	if (!count || count > PVVAS_MAX_BATCH || !IS_ALIGNED(gpa, 8))
		return -EINVAL;
	rows = kmalloc_array(min_t(u64, count, PVVAS_CHUNK), sizeof(*rows),
			     GFP_KERNEL_ACCOUNT);
	if (!rows)
		return -ENOMEM;

	while (!r && done < count) {
		n = min_t(u64, count - done, PVVAS_CHUNK);
		if (kvm_read_guest(kvm, gpa + done * sizeof(*rows), rows,
				   n * sizeof(*rows))) {
			r = -EFAULT;
			break;
		}
		for (i = 0; i < n; i++) {
			r = pvvas_change_one(kvm, nr, seg, &rows[i]);
			if (r)
				break;
			done++;
		}
		if (signal_pending(current))
			break;
		cond_resched();
	}
	kfree(rows);
	return done ?: r;
}
