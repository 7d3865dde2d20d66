/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PVVAS_SAVE_SHAPE_H
#define PVVAS_SAVE_SHAPE_H

#include "save.h"

/**
 * struct save_shape - VASes as they are at a moment
 * @set: without files and extents
 * @sources: ids of its segments
 * @memories: what LINK_NEXT says of them
 * @rows: clones of those that are no faces of others, in their order
 */
struct save_shape {
	struct save_set set;
	int *sources;
	uint64_t *memories;
	struct pvvas_clone_row *rows;
	uint32_t nr_rows;
};

/* save_shape_free() deletes the clones. */
int save_shape_take(struct save_shape *shape, const int *vids, size_t nr,
		    const struct vas_save_options *options);
void save_shape_free(struct save_shape *shape);

#endif /* PVVAS_SAVE_SHAPE_H */
