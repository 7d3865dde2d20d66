/* SPDX-License-Identifier: GPL-2.0-only */
/* Which limit refused memory: refused.c. */
#ifndef PVVAS_REFUSED_H
#define PVVAS_REFUSED_H

#include "pvvas_drv.h"

enum pvvas_limit_kind {
	PVVAS_LIMIT_USER,
	PVVAS_LIMIT_ALL,
	PVVAS_LIMIT_TABLES,
	PVVAS_LIMIT_CGROUP,
	PVVAS_LIMIT_MACHINE,
	PVVAS_LIMIT_HYPERVISOR,
	PVVAS_NR_LIMITS,
};

void pvvas_limit_reached(enum pvvas_limit_kind kind);
void pvvas_memory_refused(const struct pvvas_seg *mem, int err);

#endif /* PVVAS_REFUSED_H */
