// SPDX-License-Identifier: GPL-2.0-only
/*
 * The log says which limit refused memory: the error, or the signal, does not.
 *
 * A line for each limit in five seconds at most: any user can reach one again and
 * again.
 */
#define pr_fmt(fmt) "pvvas: " fmt

#include <linux/memcontrol.h>
#include <linux/ratelimit.h>
#include <linux/sched.h>
#include "compat.h"
#include "refused.h"

struct pvvas_limit {
	const char *text;
	struct ratelimit_state rate;
};

#define PVVAS_LIMIT(_text) { \
	.text = (_text), \
	.rate = RATELIMIT_STATE_INIT_FLAGS(pvvas_limit, 5 * HZ, 1, \
					   RATELIMIT_MSG_ON_RELEASE), \
}

static struct pvvas_limit pvvas_limits[PVVAS_NR_LIMITS] = {
	[PVVAS_LIMIT_USER] = PVVAS_LIMIT("its user has user_memory_mib already"),
	[PVVAS_LIMIT_ALL] = PVVAS_LIMIT("all users have max_memory_mib already"),
	[PVVAS_LIMIT_TABLES] =
		PVVAS_LIMIT("tables have half of max_memory_mib already"),
	[PVVAS_LIMIT_CGROUP] =
		PVVAS_LIMIT("the memory cgroup of the segment's maker is full"),
	[PVVAS_LIMIT_MACHINE] = PVVAS_LIMIT("the machine has none left"),
	[PVVAS_LIMIT_HYPERVISOR] =
		PVVAS_LIMIT("the hypervisor has no more views for this machine"),
};

/* Anywhere where printk() may be called. */
void pvvas_limit_reached(enum pvvas_limit_kind kind)
{
	struct pvvas_limit *limit = &pvvas_limits[kind];

	if (__ratelimit(&limit->rate))
		pr_info("%s[%d] gets no memory: %s\n", current->comm,
			task_pid_nr(current), limit->text);
}

static bool pvvas_cgroup_full(struct mem_cgroup *memcg)
{
#ifdef CONFIG_MEMCG
	/* Charges are made in batches: it may seem to have so much left. */
	for (; memcg; memcg = parent_mem_cgroup(memcg))
		if (page_counter_read(&memcg->memory) + MEMCG_CHARGE_BATCH >=
		    READ_ONCE(memcg->memory.max))
			return true;
#endif
	return false;
}

/* A page of @mem, or several, could not be had, and that is the end of it. */
void pvvas_memory_refused(const struct pvvas_seg *mem, int err)
{
	switch (err) {
	case -EDQUOT:
		pvvas_limit_reached(PVVAS_LIMIT_USER);
		break;
	case -ENOSPC:
		pvvas_limit_reached(PVVAS_LIMIT_ALL);
		break;
	case -ENOMEM:
		pvvas_limit_reached(pvvas_cgroup_full(mem->memcg) ?
				    PVVAS_LIMIT_CGROUP : PVVAS_LIMIT_MACHINE);
		break;
	}
}
