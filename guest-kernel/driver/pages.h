/* SPDX-License-Identifier: GPL-2.0-only */
/* The pages of segments: what the files that make, show and take them share. */
#ifndef PVVAS_PAGES_H
#define PVVAS_PAGES_H

#include "pvvas_drv.h"

/* The memory's number of the page at @offset from @seg->start. */
static inline pgoff_t pvvas_index_at(const struct pvvas_seg *seg, u64 offset)
{
	return (offset >> PAGE_SHIFT) + seg->shift;
}

/* The memory's number of the segment's first page; of the page behind its last one. */
static inline pgoff_t pvvas_first(const struct pvvas_seg *seg)
{
	return pvvas_index_at(seg, seg->base - seg->start);
}

static inline pgoff_t pvvas_end(const struct pvvas_seg *seg)
{
	return pvvas_first(seg) + (seg->length >> PAGE_SHIFT);
}

/*
 * Does it show no more than a part of its memory?  Then write access to it decides
 * nothing that holds for all of the memory.
 */
static inline bool pvvas_seg_is_part(const struct pvvas_seg *seg)
{
	const struct pvvas_seg *mem = seg->memory;

	return pvvas_first(seg) != pvvas_first(mem) || seg->length != mem->length;
}

/* The same for all that show a memory from its beginning. */
static inline u64 pvvas_seg_unique(const struct pvvas_seg *seg)
{
	const struct pvvas_seg *mem = seg->memory;

	return pvvas_first(seg) == pvvas_first(mem) ? mem->unique : seg->unique;
}

/* The segment's number of the memory's page @index. */
static inline pgoff_t pvvas_own(const struct pvvas_seg *seg, pgoff_t index)
{
	return index - seg->shift;
}

/* page.c */
#define PVVAS_COW	XA_MARK_0	/* a clone may have the page, too */
#define PVVAS_CLEAN	XA_MARK_1	/* not written since it was told of */
#define PVVAS_IDLE	XA_MARK_2	/* not accessed, and shown nowhere */
#define PVVAS_LOOK	4096	/* pages looked at with interrupts off */
#define PVVAS_RW	(PVVAS_PROT_READ | PVVAS_PROT_WRITE)
int pvvas_page_fault(struct pvvas_seg *seg, u64 offset, u32 access, gfp_t gfp,
		     bool user);
long pvvas_page_populate(struct pvvas_seg *seg, pgoff_t index, pgoff_t last);
u32 pvvas_seg_allows(struct pvvas_seg *seg, pgoff_t index);
struct page *pvvas_page_alloc(struct pvvas_seg *mem, pgoff_t index, gfp_t gfp,
			      unsigned int order);
int pvvas_page_store(struct pvvas_seg *mem, pgoff_t index, struct page *page,
		     gfp_t gfp);
void pvvas_page_put(struct page *page);
int pvvas_page_put_at(struct pvvas_seg *mem, pgoff_t index, struct page *page,
		      gfp_t gfp);
int pvvas_page_show(struct pvvas_seg *face, pgoff_t index, struct page *page);
void pvvas_zeroes_hide(struct pvvas_seg *mem, pgoff_t index, u32 nr);
void pvvas_pages_free(struct pvvas_seg *mem);
bool pvvas_memcg_room(struct mem_cgroup *memcg, unsigned long pages);

/* extent.c */
int pvvas_extent_touch(struct pvvas_seg *seg, pgoff_t index, gfp_t gfp);
int pvvas_extent_fill(struct pvvas_seg *seg, pgoff_t index, pgoff_t from,
		      pgoff_t to, gfp_t gfp);
long pvvas_extent_place(struct pvvas_seg *seg, pgoff_t index, pgoff_t to,
			const char __user *data, gfp_t gfp);

/* populate.c */
int pvvas_pages_populate(struct pvvas_seg *seg, pgoff_t index, pgoff_t end);
int pvvas_pages_pin(struct pvvas_seg *seg, u64 addr);

/* cow.c */
int pvvas_clones_init(void);
void pvvas_clones_exit(void);
int pvvas_clone_wait(struct pvvas_seg *mem);
void pvvas_clone_keep(struct pvvas_seg *mem, pgoff_t index, struct page *page);
void pvvas_face_refuse(struct pvvas_seg *face, pgoff_t first, u64 count, u32 prot);
void pvvas_faces_refuse(struct pvvas_seg *mem, pgoff_t first, u64 count,
			u32 prot);
int pvvas_clone_pages(struct pvvas_clone *clones, u32 nr);
int pvvas_clone_hold(struct pvvas_seg *a, struct pvvas_seg *b);
void pvvas_clone_release(struct pvvas_seg *a, struct pvvas_seg *b);

/* clone.c */
int pvvas_seg_clone(struct pvvas_ioc_clone *arg);
int pvvas_vas_clone(struct pvvas_ioc_clone *arg);
int pvvas_seg_map2(struct pvvas_ioc_clone *arg);
int pvvas_segs_clone(struct pvvas_ioc_segs_clone *arg);

/* protect.c */
int pvvas_seg_protect(struct pvvas_ioc_range *arg);
bool pvvas_clone_hides(const struct pvvas_clone *clone);
int pvvas_clone_check(const struct pvvas_clone *clone);
int pvvas_range_check(const struct pvvas_seg *seg,
		      const struct pvvas_ioc_range *arg);
pgoff_t pvvas_range_first(const struct pvvas_seg *seg,
			  const struct pvvas_ioc_range *arg);

/* track.c */
int pvvas_seg_dirty(struct pvvas_ioc_range *arg);
int pvvas_seg_accessed(struct pvvas_ioc_range *arg);
int pvvas_seg_untrack(struct pvvas_ioc_id *arg);
void pvvas_pages_refuse(struct pvvas_seg *mem, pgoff_t first, u64 count,
			u32 prot);

/* reclaim.c */
int pvvas_reclaim_init(void);
void pvvas_reclaim_exit(void);
void pvvas_reclaim_grown(const struct pvvas_seg *mem);
void pvvas_reclaim_short(const struct pvvas_seg *mem);
void pvvas_reclaim_end(struct pvvas_seg *mem);
int pvvas_seg_limit(struct pvvas_ioc_reclaim *arg);
int pvvas_seg_reclaim_wait(struct pvvas_ioc_reclaim *arg);
int pvvas_seg_evict(struct pvvas_ioc_evict *arg);

/* What a pager has copied of the page may be old from now on. */
static inline void pvvas_evict_not(const struct pvvas_seg *mem, struct page *page)
{
	/* That of a page of hugetlbfs is not ours. */
	if (!mem->pinned)
		set_page_private(page, 0);
}

/* discard.c */
int pvvas_seg_discard(struct pvvas_ioc_range *arg);
void pvvas_pages_forget(struct pvvas_seg *seg, pgoff_t index, pgoff_t end);

/* move.c */
int pvvas_seg_move(struct pvvas_ioc_move *arg);

/* selfpage.c */
int pvvas_seg_populate(struct pvvas_ioc_range *arg);
int pvvas_seg_fill(struct pvvas_ioc_range *arg);
int pvvas_seg_pager(struct pvvas_ioc_seg_pager *arg);
int pvvas_seg_stat(struct pvvas_ioc_seg_stat *arg);

#endif /* PVVAS_PAGES_H */
