/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * On a kernel that checks itself everything takes longer: tests/run says in the
 * environment how many times as long time limits are there.
 */
#ifndef PATIENCE_H
#define PATIENCE_H

#include <stdlib.h>

static inline unsigned int patience(void)
{
	const char *factor = getenv("PVVAS_PATIENCE");
	int n = factor ? atoi(factor) : 1;

	return n > 0 ? n : 1;
}

#endif
