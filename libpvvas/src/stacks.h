/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stacks that the kernel or the C library would use in whichever VAS the thread is
 * by then: sigaltstack() and pthread_attr_setstack() of the C library are
 * preceded by the library's, which refuse memory in the window.
 */
#ifndef PVVAS_STACKS_H
#define PVVAS_STACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "internal.h"

/* Without VASes in this process the addresses are like others. */
static inline bool pvvas_in_window(const void *from, size_t length)
{
	uintptr_t first = (uintptr_t)from;

	return first < 2 * VAS_WINDOW_BASE &&
	       (first >= VAS_WINDOW_BASE || length > VAS_WINDOW_BASE - first) &&
	       pvvas_backend_opened();
}

#endif
