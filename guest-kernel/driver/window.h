/* SPDX-License-Identifier: GPL-2.0-only */
/* The window's addresses: what programs see, and what is behind it. */
#ifndef PVVAS_WINDOW_H
#define PVVAS_WINDOW_H

#include <linux/types.h>
#include <linux/pvvas.h>

/**
 * struct pvvas_window - what the driver uses of the hypervisor's window
 * @base: guest-physical address of its first GiB
 * @identity: of PVVAS_WINDOW_VA, in that GiB: of the identity page
 * @ladder: nothing else is in the 512 GiB around that (view.c)
 * @first: of PVVAS_WINDOW_FIRST, where segments begin
 * @end: of the end
 * @size: bytes from PVVAS_WINDOW_VA on that programs see
 *
 * Segments have whole 512 GiB of guest-physical addresses, if the window has any;
 * else they share 512 GiB with the identity page, and maybe with RAM.
 */
struct pvvas_window {
	u64 base;
	u64 identity;
	bool ladder;
	u64 first;
	u64 end;
	u64 size;
};

extern struct pvvas_window pvvas_window;

static inline u64 pvvas_va_to_gpa(u64 va)
{
	return va < PVVAS_WINDOW_FIRST ?
	       va - PVVAS_WINDOW_VA + pvvas_window.identity :
	       va - PVVAS_WINDOW_FIRST + pvvas_window.first;
}

#endif /* PVVAS_WINDOW_H */
