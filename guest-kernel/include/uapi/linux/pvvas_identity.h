/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The view identity page: how the driver tells programs which view they are in.
 *
 * Every view shows, at the first page of the window, a read-only page of the
 * driver's that says which view it is.  Who reads it through the window knows
 * the view in force without trusting any memory that a process can write.  KVM
 * does not know of it.
 */
#ifndef _UAPI_LINUX_PVVAS_IDENTITY_H
#define _UAPI_LINUX_PVVAS_IDENTITY_H

#include <linux/types.h>

/* "PVVAS\0\0\1" as a little-endian number; the last byte is the layout version. */
#define PVVAS_IDENTITY_MAGIC	0x0100005341565650ULL

/* The first GiB of the window belongs to the driver: the identity page is there. */
#define PVVAS_WINDOW_RESERVED	(1ULL << 30)

/**
 * struct pvvas_identity - what a view says about itself
 * @magic: PVVAS_IDENTITY_MAGIC
 * @cookie: the number that the guest kernel gave at PVVAS_HC_VIEW_CREATE;
 *	0 in the plain view
 * @view: KVM's id of the view; 0 in the plain view.  A later attachment of the
 *	same process may get the view, with its id
 * @generation: how often the view has been placed in a slot
 * @slot: the slot of the EPTP list that the view was last placed in
 * @ctx: id of the context that the view belongs to; 0 in the plain view
 */
struct pvvas_identity {
	__u64 magic;
	__u64 cookie;
	__u64 view;
	__u32 generation;
	__u32 slot;
	__u64 ctx;
	__u64 reserved[3];
};

#endif /* _UAPI_LINUX_PVVAS_IDENTITY_H */
