/* SPDX-License-Identifier: GPL-2.0-only */
/* Which segments are in a VAS, or in the private set of an attachment (links.c). */
#ifndef PVVAS_LINKS_H
#define PVVAS_LINKS_H

#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/types.h>

struct pvvas_seg;
struct pvvas_user;

/**
 * struct pvvas_links - segments that do not overlap (links.c)
 * @by_address: all, by struct pvvas_link.by_address
 * @by_id: all, by the id of the segment
 * @lockable: those of lockable segments, by id
 * @dumped: those of segments that core dumps hold
 * @private: of an attachment, else of a VAS
 */
struct pvvas_links {
	struct rb_root by_address;
	struct rb_root by_id;
	struct rb_root lockable;
	struct list_head dumped;
	bool private;
};

/**
 * struct pvvas_link - a segment in a VAS, or in the private set of an attachment
 * @set: where it is, or NULL
 * @lockable: empty, if the segment is not
 * @in_seg: among all links of the segment
 */
struct pvvas_link {
	struct pvvas_links *set;
	struct rb_node by_address;
	struct rb_node by_id;
	struct rb_node lockable;
	struct list_head dumped;
	struct list_head in_seg;
	struct pvvas_seg *seg;
	struct pvvas_user *charged;
	u32 prot;
};

/* These take pvvas_lock, and give it to others in between. */
bool pvvas_links_walk(struct pvvas_seg *seg);
void pvvas_links_walk_end(struct pvvas_seg *seg);
int pvvas_links_each(struct pvvas_seg *seg,
		     int (*what)(struct pvvas_link *link), bool killable);
void pvvas_links_sort(struct pvvas_seg *seg);

/* pvvas_lock is held. */
void pvvas_links_init(struct pvvas_links *set, bool private);
bool pvvas_links_free(struct pvvas_links *set, u32 most);
struct pvvas_link *pvvas_link_new(struct pvvas_seg *seg, u32 prot,
				  struct pvvas_link **spare);
void pvvas_link_add(struct pvvas_link *link, struct pvvas_links *set);
void pvvas_link_remove(struct pvvas_link *link);
void pvvas_link_free(struct pvvas_link *link);
struct pvvas_link *pvvas_links_first(const struct pvvas_links *set);
struct pvvas_link *pvvas_links_next(const struct pvvas_link *link);
struct pvvas_link *pvvas_link_above(const struct pvvas_links *set, u32 id,
				    bool lockable);
struct pvvas_link *pvvas_link_by_id(const struct pvvas_links *set, u32 id);
struct pvvas_link *pvvas_link_find(const struct pvvas_links *set,
				   const struct pvvas_seg *seg);
struct pvvas_link *pvvas_link_overlaps(const struct pvvas_links *set,
				       const struct pvvas_seg *seg);
struct pvvas_link *pvvas_link_behind(const struct pvvas_links *set,
				     u64 address);
struct pvvas_link *pvvas_link_claims_behind(const struct pvvas_links *set,
					    u64 address);
struct pvvas_link *pvvas_link_at(const struct pvvas_links *set, u64 address);

#endif /* PVVAS_LINKS_H */
