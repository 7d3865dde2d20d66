/* SPDX-License-Identifier: GPL-2.0-only */
/* What fuzz_fill() draws from, and what it makes. */
#ifndef IOCTL_FUZZ_FILL_H
#define IOCTL_FUZZ_FILL_H

#include <stdint.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define NOBODY	1000
#define NR	32

union arg {
	uint32_t size;
	struct pvvas_ioc_info info;
	struct pvvas_ioc_begin begin;
	struct pvvas_ioc_create create;
	struct pvvas_ioc_name name;
	struct pvvas_ioc_id id;
	struct pvvas_ioc_attach attach;
	struct pvvas_ioc_seg_attach seg_attach;
	struct pvvas_ioc_link link;
	struct pvvas_ioc_seg_locking locking;
	struct pvvas_ioc_lock_open lock_open;
	struct pvvas_ioc_lock_thread lock_thread;
	struct pvvas_ioc_lock lock;
	struct pvvas_ioc_seg_data seg_data;
	struct pvvas_ioc_life life;
	struct pvvas_ioc_attr attr;
	struct pvvas_ioc_stats stats;
	struct pvvas_ioc_clone clone;
	struct pvvas_ioc_segs_clone segs_clone;
	struct pvvas_ioc_publish_all publish_all;
	struct pvvas_ioc_range range;
	struct pvvas_ioc_seg_pager pager;
	struct pvvas_ioc_reclaim reclaim;
	struct pvvas_ioc_evict evict;
	struct pvvas_ioc_move move;
	struct pvvas_ioc_seg_resize resize;
	struct pvvas_ioc_seg_stat seg_stat;
	struct pvvas_ioc_wait wait;
	unsigned char bytes[512];
};

/* What the user has made or seen. */
struct known {
	uint32_t vas[NR], seg[NR], handle[NR], lock[NR];
};

extern struct known known;
extern uint64_t fuzz_state;	/* of the generator, not 0 */
/* root's objects: closed to others, and open to readers */
extern int secret_vas, secret_seg, open_vas, open_seg;
/* what the requests that take arrays are given */
extern struct pvvas_clone_row clone_rows[NR];
extern struct pvvas_publish_row publish_rows[NR];

uint64_t rnd(void);
uint32_t below(uint32_t n);
/* A number that is likely to be a special case: of addresses, sizes, flags. */
uint64_t odd_number(void);
/* The next random request, and its argument. */
unsigned long fuzz_fill(union arg *a);

#endif
