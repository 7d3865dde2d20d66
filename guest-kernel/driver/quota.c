// SPDX-License-Identifier: GPL-2.0-only
/*
 * Quotas: how much a user, and all users together, may have of what stays when
 * its maker goes.
 *
 * The memory itself is charged to the memory cgroup of the segment's creator;
 * what is here keeps a user without cgroup from having all of it, and from
 * filling the tables of names.  An object is charged to its maker, also after
 * chown.  CAP_SYS_RESOURCE lifts the user's limits, not the machine's.
 *
 * The hypervisor bounds views and contexts.  Of these a user may have a quarter at
 * most, and the last eighth is for CAP_SYS_RESOURCE.
 */
#include <linux/cred.h>
#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>
#include "hv.h"
#include "refused.h"

struct pvvas_user {
	struct hlist_node node;
	kuid_t uid;
	u32 used;		/* the sum of @count, each one a reference */
	u32 count[PVVAS_NR_QUOTAS];
	u32 ranges;		/* at most, of pages with protections */
	u64 locked;		/* bytes of segments made with PVVAS_CREATE_LOCK */
	struct rb_root_cached segs;	/* by address (place.c) */
	atomic64_t bytes;
};

/* Under pvvas_lock, as all but the bytes. */
static DEFINE_HASHTABLE(pvvas_users, 6);
static u32 pvvas_quota_count[PVVAS_NR_QUOTAS];
static atomic64_t pvvas_quota_bytes;
static atomic64_t pvvas_quota_table_bytes;

static unsigned int pvvas_quota_user[PVVAS_NR_QUOTAS] = {
	[PVVAS_QUOTA_OBJECTS] = 8192,
	[PVVAS_QUOTA_ATTACHMENTS] = 8192,
	[PVVAS_QUOTA_LINKS] = 65536,
	[PVVAS_QUOTA_PROCESSES] = 1024,
};

static unsigned int pvvas_quota_all[PVVAS_NR_QUOTAS] = {
	[PVVAS_QUOTA_OBJECTS] = 65536,
	[PVVAS_QUOTA_ATTACHMENTS] = 65536,
	[PVVAS_QUOTA_LINKS] = 524288,
	[PVVAS_QUOTA_PROCESSES] = UINT_MAX,
};

/* What the hypervisor has of it. */
static u32 pvvas_quota_hv(enum pvvas_quota kind)
{
	switch (kind) {
	case PVVAS_QUOTA_ATTACHMENTS:
		return pvvas_hv.max_views;
	case PVVAS_QUOTA_PROCESSES:
		return pvvas_hv.max_ctxs;
	default:
		return UINT_MAX;
	}
}

static u32 pvvas_quota_max(enum pvvas_quota kind)
{
	return min(READ_ONCE(pvvas_quota_all[kind]), pvvas_quota_hv(kind));
}

static u32 pvvas_quota_user_max(enum pvvas_quota kind)
{
	return min(READ_ONCE(pvvas_quota_user[kind]), pvvas_quota_hv(kind) / 4);
}

/* What is left for CAP_SYS_RESOURCE alone. */
static u32 pvvas_quota_reserve(enum pvvas_quota kind)
{
	return pvvas_quota_hv(kind) == UINT_MAX ? 0 : pvvas_quota_max(kind) / 8;
}

static unsigned int user_protections = 262144;
static ulong user_memory_mib;
static ulong max_memory_mib;

module_param_named(user_objects, pvvas_quota_user[PVVAS_QUOTA_OBJECTS], uint,
		   0644);
MODULE_PARM_DESC(user_objects, "VASes and segments that a user can have");
module_param_named(user_attachments,
		   pvvas_quota_user[PVVAS_QUOTA_ATTACHMENTS], uint, 0644);
MODULE_PARM_DESC(user_attachments, "attachments that a user can have");
module_param_named(user_links, pvvas_quota_user[PVVAS_QUOTA_LINKS], uint, 0644);
MODULE_PARM_DESC(user_links, "segments in VASes that a user can have put there");
module_param_named(user_processes, pvvas_quota_user[PVVAS_QUOTA_PROCESSES],
		   uint, 0644);
MODULE_PARM_DESC(user_processes, "processes with VASes that a user can have");
module_param(user_memory_mib, ulong, 0644);
MODULE_PARM_DESC(user_memory_mib,
		 "memory in segments that a user can have (0: no limit of its own)");
module_param(user_protections, uint, 0644);
MODULE_PARM_DESC(user_protections,
		 "ranges of pages that a user can give protections");
module_param_named(max_objects, pvvas_quota_all[PVVAS_QUOTA_OBJECTS], uint,
		   0644);
MODULE_PARM_DESC(max_objects, "VASes and segments of all users");
module_param_named(max_attachments, pvvas_quota_all[PVVAS_QUOTA_ATTACHMENTS],
		   uint, 0644);
MODULE_PARM_DESC(max_attachments, "attachments of all users");
module_param_named(max_links, pvvas_quota_all[PVVAS_QUOTA_LINKS], uint, 0644);
MODULE_PARM_DESC(max_links, "segments in VASes, of all users");
module_param(max_memory_mib, ulong, 0644);
MODULE_PARM_DESC(max_memory_mib,
		 "memory in segments of all users (0: half of the memory)");

/*
 * The user that is charged.  The maker of a user namespace can act under many ids
 * in it (subordinate ids), which are all the same user here.  In one that root made,
 * as for a container, each id is a user of its own.
 */
static kuid_t pvvas_quota_uid(void)
{
	const struct user_namespace *ns = current_user_ns();
	kuid_t uid = current_fsuid();

	for (; ns->parent; ns = ns->parent)
		if (!uid_eq(ns->owner, GLOBAL_ROOT_UID))
			uid = ns->owner;
	return uid;
}

static struct pvvas_user *pvvas_user_find(kuid_t uid)
{
	struct pvvas_user *user;

	hash_for_each_possible(pvvas_users, user, node, __kuid_val(uid))
		if (uid_eq(user->uid, uid))
			return user;
	/* Under the lock: no reclaiming for the caller's cgroup. */
	user = kzalloc(sizeof(*user), GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN);
	if (!user)
		return NULL;
	user->uid = uid;
	user->segs = RB_ROOT_CACHED;
	hash_add(pvvas_users, &user->node, __kuid_val(uid));
	return user;
}

static void pvvas_user_put(struct pvvas_user *user)
{
	if (user->used)
		return;
	hash_del(&user->node);
	kfree(user);
}

struct rb_root_cached *pvvas_user_segs(struct pvvas_user *user)
{
	return &user->segs;
}

/* 0, -EDQUOT (the user's limit) or -ENOSPC (the machine's). */
static int pvvas_quota_check(const struct pvvas_user *user, enum pvvas_quota kind)
{
	u32 used = pvvas_quota_count[kind], max = pvvas_quota_max(kind);

	if (used >= max)
		return -ENOSPC;
	if (user->count[kind] < pvvas_quota_user_max(kind) &&
	    used < max - pvvas_quota_reserve(kind))
		return 0;
	if (capable(CAP_SYS_RESOURCE))
		return 0;
	return user->count[kind] < pvvas_quota_user_max(kind) ? -ENOSPC : -EDQUOT;
}

/*
 * One more of @kind for the current user: the user that is charged, or the error of
 * pvvas_quota_check(), or -ENOMEM.  pvvas_lock is held.
 */
struct pvvas_user *pvvas_quota_charge(enum pvvas_quota kind)
{
	struct pvvas_user *user;
	int ret;

	lockdep_assert_held(&pvvas_lock);
	user = pvvas_user_find(pvvas_quota_uid());
	if (!user)
		return ERR_PTR(-ENOMEM);
	ret = pvvas_quota_check(user, kind);
	if (ret) {
		pvvas_user_put(user);
		return ERR_PTR(ret);
	}
	pvvas_quota_count[kind]++;
	user->count[kind]++;
	user->used++;
	return user;
}

void pvvas_quota_uncharge(struct pvvas_user *user, enum pvvas_quota kind)
{
	lockdep_assert_held(&pvvas_lock);
	pvvas_quota_count[kind]--;
	user->count[kind]--;
	user->used--;
	pvvas_user_put(user);
}

/*
 * As mlock(2), but counted for the user, as the segment outlives the process.
 * Pages of segments are never moved or swapped anyway.  pvvas_lock is held.
 */
int pvvas_quota_lock(struct pvvas_user *user, u64 bytes)
{
	lockdep_assert_held(&pvvas_lock);
	if (user->locked + bytes > rlimit(RLIMIT_MEMLOCK) &&
	    !capable(CAP_IPC_LOCK))
		return -EPERM;
	user->locked += bytes;
	return 0;
}

void pvvas_quota_unlock(struct pvvas_user *user, u64 bytes)
{
	lockdep_assert_held(&pvvas_lock);
	user->locked -= bytes;
}

/* The segment goes, and with it what counted beside its pages. */
void pvvas_quota_forget(struct pvvas_seg *seg)
{
	lockdep_assert_held(&pvvas_lock);
	seg->obj.charged->locked -= seg->locked;
	seg->obj.charged->ranges -= seg->ranges;
}

static u32 pvvas_ranges_count(struct pvvas_seg *seg)
{
	unsigned long index = 0;
	void *entry;
	u32 n = 0;

	mt_for_each(&seg->prot, entry, index, ULONG_MAX) {
		n++;
		cond_resched();
	}
	return 2 * n;
}

/* @seg may have @ranges as its number; -EDQUOT if its user has too many then. */
static int pvvas_ranges_set(struct pvvas_seg *seg, u32 ranges)
{
	u32 *used = &seg->obj.charged->ranges;
	u32 sum;
	int ret = -EDQUOT;

	mutex_lock(&pvvas_lock);
	sum = *used - seg->ranges + ranges;
	if (ranges <= seg->ranges || sum <= READ_ONCE(user_protections) ||
	    capable(CAP_SYS_RESOURCE)) {
		*used = sum;
		seg->ranges = ranges;
		ret = 0;
	}
	pvvas_unlock();
	return ret;
}

/*
 * @more ranges of pages with protections of their own, or with none between
 * two.  No memory cgroup pays for what remembers them: the kernel's trees
 * allocate without.  What is kept is the most that there can be; only when that
 * is too much are they counted.
 */
int pvvas_quota_ranges(struct pvvas_seg *seg, u32 more)
{
	u32 n;

	if (!pvvas_ranges_set(seg, READ_ONCE(seg->ranges) + more))
		return 0;
	n = pvvas_ranges_count(seg);
	pvvas_ranges_set(seg, min(n, READ_ONCE(seg->ranges)));
	return pvvas_ranges_set(seg, n + more);
}

void pvvas_quota_no_ranges(struct pvvas_seg *seg)
{
	pvvas_ranges_set(seg, 0);
}

/*
 * Let the caller's cgroup have room for some pages, more at each try; false: it has
 * not, or this was the last try.  Sleeps; not under pvvas_lock.
 */
bool pvvas_make_room(u32 *tries)
{
	u32 n = 32U << (2 * *tries);
	struct page *page, *next;
	LIST_HEAD(pages);
	bool room = true;

	/* What a test lets fail shall fail. */
	if (PVVAS_MAY_INJECT || (*tries)++ == 4)
		return false;
	while (room && n--) {
		page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_NORETRY |
				  __GFP_NOWARN);
		room = page && !fatal_signal_pending(current);
		if (page)
			list_add(&page->lru, &pages);
	}
	list_for_each_entry_safe(page, next, &pages, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
	return room;
}

static s64 pvvas_quota_all_bytes(void)
{
	ulong mib = READ_ONCE(max_memory_mib);

	return mib ? (s64)mib << 20 : (s64)totalram_pages() << (PAGE_SHIFT - 1);
}

static bool pvvas_bytes_add(atomic64_t *used, s64 bytes, s64 limit)
{
	if (atomic64_add_return(bytes, used) <= limit)
		return true;
	atomic64_sub(bytes, used);
	return false;
}

/* Anywhere, with interrupts off too.  @free: the user has no limit. */
int pvvas_quota_memory(struct pvvas_user *user, bool free, s64 bytes)
{
	ulong mib = READ_ONCE(user_memory_mib);
	s64 limit = mib && !free ? (s64)mib << 20 : S64_MAX;

	if (!pvvas_bytes_add(&user->bytes, bytes, limit))
		return -EDQUOT;
	if (pvvas_bytes_add(&pvvas_quota_bytes, bytes, pvvas_quota_all_bytes()))
		return 0;
	atomic64_sub(bytes, &user->bytes);
	return -ENOSPC;
}

void pvvas_quota_memory_back(struct pvvas_user *user, s64 bytes)
{
	atomic64_sub(bytes, &user->bytes);
	atomic64_sub(bytes, &pvvas_quota_bytes);
}

/*
 * Tables: a segment without pages has some, and a reader makes more where it finds
 * nothing.  No process that could be killed has them, so there is a limit for all:
 * half of that of pages.  Anywhere, as above.
 */
bool pvvas_quota_tables(s64 bytes)
{
	if (pvvas_bytes_add(&pvvas_quota_table_bytes, bytes,
			    pvvas_quota_all_bytes() / 2))
		return true;
	pvvas_limit_reached(PVVAS_LIMIT_TABLES);
	return false;
}

void pvvas_quota_tables_back(s64 bytes)
{
	atomic64_sub(bytes, &pvvas_quota_table_bytes);
}

static void pvvas_quota_show_counts(struct seq_file *m, const u32 *used,
				    u32 (*limit)(enum pvvas_quota kind))
{
	static const char * const names[PVVAS_NR_QUOTAS] = {
		[PVVAS_QUOTA_OBJECTS] = "objects",
		[PVVAS_QUOTA_ATTACHMENTS] = "attachments",
		[PVVAS_QUOTA_LINKS] = "links",
		[PVVAS_QUOTA_PROCESSES] = "processes",
	};
	int i;

	for (i = 0; i < PVVAS_NR_QUOTAS; i++)
		seq_printf(m, " %s %u/%u", names[i], used[i], limit(i));
}

/* pvvas_lock is held. */
void pvvas_quota_show(struct seq_file *m)
{
	struct pvvas_user *user;
	int bucket;

	seq_puts(m, "all");
	pvvas_quota_show_counts(m, pvvas_quota_count, pvvas_quota_max);
	seq_printf(m, " bytes %lld/%lld\n",
		   (s64)atomic64_read(&pvvas_quota_bytes),
		   pvvas_quota_all_bytes());
	hash_for_each(pvvas_users, bucket, user, node) {
		seq_printf(m, "uid %u",
			   from_kuid_munged(seq_user_ns(m), user->uid));
		pvvas_quota_show_counts(m, user->count, pvvas_quota_user_max);
		seq_printf(m, " bytes %lld/%lld\n",
			   (s64)atomic64_read(&user->bytes),
			   (s64)user_memory_mib << 20);
	}
}
