/* SPDX-License-Identifier: GPL-2.0-only */
/* The end of objects: leftover.c. */
#ifndef PVVAS_LEFTOVER_H
#define PVVAS_LEFTOVER_H

#include <linux/list.h>
#include <linux/types.h>

/**
 * struct pvvas_leftover - in what does not go at once
 * @end: as for pvvas_give_back(), pvvas_bury() or pvvas_bury_later()
 */
struct pvvas_leftover {
	struct list_head node;
	bool (*end)(struct pvvas_leftover *left);
};

void pvvas_unlock(void);	/* instead of mutex_unlock(&pvvas_lock) */
void pvvas_bury(struct pvvas_leftover *left,
		bool (*end)(struct pvvas_leftover *left));
void pvvas_bury_later(struct pvvas_leftover *left,
		      bool (*end)(struct pvvas_leftover *left));
void pvvas_give_back(struct pvvas_leftover *left,
		     bool (*end)(struct pvvas_leftover *left));
void pvvas_leave(struct pvvas_leftover *left,
		 bool (*end)(struct pvvas_leftover *left));
void pvvas_leftover_flush(void);

#endif /* PVVAS_LEFTOVER_H */
