/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Cases that tests/run does not want on a kernel that checks itself (its option
 * debug-without): names in the environment.
 */
#ifndef LEAVE_OUT_H
#define LEAVE_OUT_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline bool left_out(const char *name)
{
	const char *list = getenv("PVVAS_LEAVE_OUT"), *at = list;
	size_t len = strlen(name);

	for (; at && (at = strstr(at, name)); at += len)
		if ((at == list || at[-1] == ' ') &&
		    (at[len] == ' ' || !at[len]))
			return true;
	return false;
}

/* A name that no case has must not pass unnoticed: how many there are. */
static inline size_t left_out_names(void)
{
	const char *at = getenv("PVVAS_LEAVE_OUT");
	size_t n = 0;

	for (at = at ? at : ""; *at; at += strcspn(at, " ")) {
		at += strspn(at, " ");
		n += !!*at;
	}
	return n;
}

#endif
