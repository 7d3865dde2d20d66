// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls: copy in, check the size, call, copy out.
 *
 * A request is recognised by type and number alone: its struct may be longer
 * than the one known here, if what is beyond is zero.
 */
#include <linux/fs.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "hv.h"

/* Larger than any struct will be. */
#define PVVAS_ARG_MAX	PAGE_SIZE

union pvvas_arg {
	u32 size;
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
};

/* Sizes that programs are compiled with. */
static_assert(sizeof(struct pvvas_ioc_info) == 40);
static_assert(sizeof(struct pvvas_ioc_create) == 72);
static_assert(sizeof(struct pvvas_ioc_name) == 16);
static_assert(sizeof(struct pvvas_ioc_id) == 8);
static_assert(sizeof(struct pvvas_ioc_attach) == 24);
static_assert(sizeof(struct pvvas_ioc_seg_attach) == 24);
static_assert(sizeof(struct pvvas_ioc_link) == 32);
static_assert(sizeof(struct pvvas_ioc_seg_locking) == 16);
static_assert(sizeof(struct pvvas_ioc_lock_open) == 24);
static_assert(sizeof(struct pvvas_ioc_lock_thread) == 8);
static_assert(sizeof(struct pvvas_ioc_lock) == 24);
static_assert(sizeof(struct pvvas_ioc_seg_data) == 24);
static_assert(sizeof(struct pvvas_ioc_life) == 16);
static_assert(sizeof(struct pvvas_ioc_attr) == 328);
static_assert(sizeof(struct pvvas_ioc_stats) == 224);
static_assert(sizeof(struct pvvas_ioc_clone) == 56);
static_assert(sizeof(struct pvvas_clone_row) == 16);
static_assert(sizeof(struct pvvas_ioc_segs_clone) == 16);
static_assert(sizeof(struct pvvas_publish_row) == 16);
static_assert(sizeof(struct pvvas_ioc_publish_all) == 16);
static_assert(sizeof(struct pvvas_ioc_range) == 48);
static_assert(sizeof(struct pvvas_ioc_seg_pager) == 16);
static_assert(sizeof(struct pvvas_ioc_reclaim) == 24);
static_assert(sizeof(struct pvvas_ioc_evict) == 40);
static_assert(sizeof(struct pvvas_ioc_move) == 40);
static_assert(sizeof(struct pvvas_ioc_seg_resize) == 16);
static_assert(sizeof(struct pvvas_ioc_seg_stat) == 56);
static_assert(sizeof(struct pvvas_ioc_wait) == 32);
static_assert(sizeof(struct pvvas_identity) == 64);
static_assert(sizeof(struct pvvas_hc_range) == 16);
static_assert(sizeof(struct pvvas_hc_info) == 40);
static_assert(sizeof(struct pvvas_hc_stats) == 120);

static int pvvas_do_info(union pvvas_arg *arg)
{
	arg->info.version = PVVAS_IOC_VERSION;
	arg->info.hc_version = pvvas_hv.version;
	arg->info.slots = pvvas_hv.slots - 1;
	arg->info.window_va = PVVAS_WINDOW_VA;
	arg->info.window_size = pvvas_window.size;
	arg->info.page_size = PAGE_SIZE;
	return 0;
}

static int pvvas_do_vas_create(union pvvas_arg *arg)
{
	return pvvas_vas_create(&arg->create);
}

static int pvvas_do_vas_find(union pvvas_arg *arg)
{
	return pvvas_object_find(&arg->name, PVVAS_KIND_VAS);
}

static int pvvas_do_vas_publish(union pvvas_arg *arg)
{
	return pvvas_object_name(&arg->name, PVVAS_KIND_VAS);
}

static int pvvas_do_seg_publish(union pvvas_arg *arg)
{
	return pvvas_object_name(&arg->name, PVVAS_KIND_SEG);
}

static int pvvas_do_vas_delete(union pvvas_arg *arg)
{
	return pvvas_object_delete(&arg->id, PVVAS_KIND_VAS);
}

static int pvvas_do_vas_attach(union pvvas_arg *arg)
{
	return pvvas_attach(&arg->attach);
}

static int pvvas_do_vas_detach(union pvvas_arg *arg)
{
	return pvvas_detach(&arg->attach);
}

static int pvvas_do_vas_resident(union pvvas_arg *arg)
{
	return pvvas_resident(&arg->attach);
}

static int pvvas_do_seg_create(union pvvas_arg *arg)
{
	return pvvas_seg_create(&arg->create);
}

static int pvvas_do_seg_find(union pvvas_arg *arg)
{
	return pvvas_object_find(&arg->name, PVVAS_KIND_SEG);
}

static int pvvas_do_seg_delete(union pvvas_arg *arg)
{
	return pvvas_object_delete(&arg->id, PVVAS_KIND_SEG);
}

static int pvvas_do_seg_attach(union pvvas_arg *arg)
{
	return pvvas_seg_attach(&arg->seg_attach);
}

static int pvvas_do_seg_detach(union pvvas_arg *arg)
{
	return pvvas_seg_detach(&arg->seg_attach);
}

static int pvvas_do_link_next(union pvvas_arg *arg)
{
	return pvvas_link_next(&arg->link);
}

static int pvvas_do_seg_locking(union pvvas_arg *arg)
{
	return pvvas_seg_locking(&arg->locking);
}

static int pvvas_do_seg_lock_reset(union pvvas_arg *arg)
{
	return pvvas_seg_lock_reset(&arg->id);
}

static int pvvas_do_lock_open(union pvvas_arg *arg)
{
	return pvvas_lock_open(&arg->lock_open);
}

static int pvvas_do_lock_thread(union pvvas_arg *arg)
{
	return pvvas_lock_thread(&arg->lock_thread);
}

static int pvvas_do_lock_take(union pvvas_arg *arg)
{
	return pvvas_lock_take(&arg->lock);
}

static int pvvas_do_lock_release(union pvvas_arg *arg)
{
	return pvvas_lock_release(&arg->lock);
}

static int pvvas_do_lock_consistent(union pvvas_arg *arg)
{
	return pvvas_lock_consistent(&arg->lock);
}

static int pvvas_do_seg_next_data(union pvvas_arg *arg)
{
	return pvvas_seg_next_data(&arg->seg_data);
}

static int pvvas_do_life_token(union pvvas_arg *arg)
{
	return pvvas_life_token(&arg->life);
}

static int pvvas_do_life_alive(union pvvas_arg *arg)
{
	return pvvas_life_alive(&arg->life);
}

static int pvvas_do_getattr(union pvvas_arg *arg)
{
	return pvvas_getattr(&arg->attr);
}

static int pvvas_do_setattr(union pvvas_arg *arg)
{
	return pvvas_setattr(&arg->attr);
}

static int pvvas_do_vas_clone(union pvvas_arg *arg)
{
	return pvvas_vas_clone(&arg->clone);
}

static int pvvas_do_seg_clone(union pvvas_arg *arg)
{
	return pvvas_seg_clone(&arg->clone);
}

static int pvvas_do_seg_map2(union pvvas_arg *arg)
{
	return pvvas_seg_map2(&arg->clone);
}

static int pvvas_do_segs_clone(union pvvas_arg *arg)
{
	return pvvas_segs_clone(&arg->segs_clone);
}

static int pvvas_do_publish_all(union pvvas_arg *arg)
{
	return pvvas_publish_all(&arg->publish_all);
}

static int pvvas_do_seg_protect(union pvvas_arg *arg)
{
	return pvvas_seg_protect(&arg->range);
}

static int pvvas_do_seg_dirty(union pvvas_arg *arg)
{
	return pvvas_seg_dirty(&arg->range);
}

static int pvvas_do_seg_populate(union pvvas_arg *arg)
{
	return pvvas_seg_populate(&arg->range);
}

static int pvvas_do_seg_fill(union pvvas_arg *arg)
{
	return pvvas_seg_fill(&arg->range);
}

static int pvvas_do_seg_discard(union pvvas_arg *arg)
{
	return pvvas_seg_discard(&arg->range);
}

static int pvvas_do_seg_read(union pvvas_arg *arg)
{
	return pvvas_seg_read(&arg->range);
}

static int pvvas_do_seg_accessed(union pvvas_arg *arg)
{
	return pvvas_seg_accessed(&arg->range);
}

static int pvvas_do_seg_untrack(union pvvas_arg *arg)
{
	return pvvas_seg_untrack(&arg->id);
}

static int pvvas_do_seg_limit(union pvvas_arg *arg)
{
	return pvvas_seg_limit(&arg->reclaim);
}

static int pvvas_do_seg_reclaim_wait(union pvvas_arg *arg)
{
	return pvvas_seg_reclaim_wait(&arg->reclaim);
}

static int pvvas_do_seg_evict(union pvvas_arg *arg)
{
	return pvvas_seg_evict(&arg->evict);
}

static int pvvas_do_seg_move(union pvvas_arg *arg)
{
	return pvvas_seg_move(&arg->move);
}

static int pvvas_do_seg_resize(union pvvas_arg *arg)
{
	return pvvas_seg_resize(&arg->resize);
}

static int pvvas_do_seg_pager(union pvvas_arg *arg)
{
	return pvvas_seg_pager(&arg->pager);
}

static int pvvas_do_seg_stat(union pvvas_arg *arg)
{
	return pvvas_seg_stat(&arg->seg_stat);
}

static int pvvas_do_seg_wait(union pvvas_arg *arg)
{
	return pvvas_seg_wait(&arg->wait);
}

static int pvvas_do_seg_wake(union pvvas_arg *arg)
{
	return pvvas_seg_wake(&arg->wait);
}

static void pvvas_stats_driver(struct pvvas_ioc_stats *stats)
{
	int cpu;

	stats->vases = atomic_read(&pvvas_counts.vases);
	stats->segs = atomic_read(&pvvas_counts.segs);
	stats->processes = atomic_read(&pvvas_counts.processes);
	stats->threads = atomic_read(&pvvas_counts.threads);
	stats->attachments = atomic_read(&pvvas_counts.attachments);
	stats->pages = atomic64_read(&pvvas_counts.pages);
	stats->freeing = atomic64_read(&pvvas_counts.freeing);
	stats->links = atomic_read(&pvvas_counts.spans);
	stats->trees = atomic64_read(&pvvas_counts.trees);
	stats->tables = atomic64_read(&pvvas_counts.tables);
	stats->ctx_loads = 0;
	stats->demand_faults = 0;
	for_each_possible_cpu(cpu) {
		stats->ctx_loads += per_cpu(pvvas_cpu.ctx_loads, cpu);
		stats->demand_faults += per_cpu(pvvas_cpu.demand_faults, cpu);
	}
}

static void pvvas_stats_hv(struct pvvas_ioc_stats *stats,
			   const struct pvvas_hc_stats *hv)
{
	stats->hv_exits = hv->exits;
	stats->hv_hypercalls = hv->hypercalls;
	stats->hv_ept_violations = hv->ept_violations;
	stats->hv_vmfunc_exits = hv->vmfunc_exits;
	stats->hv_view_faults = hv->view_faults;
	stats->hv_reflected = hv->reflected;
	stats->hv_demand = hv->demand;
	stats->hv_ctx_loads = hv->ctx_loads;
	stats->hv_invalidations = hv->invalidations;
	stats->hv_zapped = hv->zapped;
	stats->hv_flushes = hv->flushes;
	stats->hv_ctxs = hv->ctxs;
	stats->hv_views = hv->views;
	stats->hv_shadow_pages = hv->shadow_pages;
	stats->hv_max_shadow_pages = hv->max_shadow_pages;
}

static int pvvas_do_begin(union pvvas_arg *arg)
{
	if (arg->begin.reserved)
		return -EINVAL;
	return PTR_ERR_OR_ZERO(pvvas_proc_current());
}

static int pvvas_do_stats(union pvvas_arg *arg)
{
	struct pvvas_hc_stats *hv;
	long ret;

	if (arg->stats.reserved)
		return -EINVAL;
	hv = kzalloc(sizeof(*hv), GFP_KERNEL);
	if (!hv)
		return -ENOMEM;
	pvvas_thread_flush();
	pvvas_stats_driver(&arg->stats);
	ret = pvvas_hc_stats(hv);
	if (ret >= 0)
		pvvas_stats_hv(&arg->stats, hv);
	kfree(hv);
	return min(ret, 0L);
}

/*
 * @size: of version 1, the least that is accepted; @known: of now, if larger;
 * @silent: says nothing but whether it has been done
 */
static const struct pvvas_command {
	u32 size;
	u32 known;
	int (*call)(union pvvas_arg *arg);
	bool silent;
} pvvas_commands[] = {
	[_IOC_NR(PVVAS_IOC_INFO)] = { 40, 0, pvvas_do_info },
	[_IOC_NR(PVVAS_IOC_VAS_CREATE)] = { 40, 72, pvvas_do_vas_create },
	[_IOC_NR(PVVAS_IOC_VAS_FIND)] = { 16, 0, pvvas_do_vas_find },
	[_IOC_NR(PVVAS_IOC_VAS_DELETE)] = { 8, 0, pvvas_do_vas_delete, true },
	[_IOC_NR(PVVAS_IOC_VAS_ATTACH)] = { 24, 0, pvvas_do_vas_attach },
	[_IOC_NR(PVVAS_IOC_VAS_DETACH)] = { 24, 0, pvvas_do_vas_detach, true },
	[_IOC_NR(PVVAS_IOC_VAS_RESIDENT)] = { 24, 0, pvvas_do_vas_resident },
	[_IOC_NR(PVVAS_IOC_BEGIN)] = { 8, 0, pvvas_do_begin },
	[_IOC_NR(PVVAS_IOC_VAS_PUBLISH)] = { 16, 0, pvvas_do_vas_publish },
	[_IOC_NR(PVVAS_IOC_SEG_CREATE)] = { 40, 72, pvvas_do_seg_create },
	[_IOC_NR(PVVAS_IOC_SEG_FIND)] = { 16, 0, pvvas_do_seg_find },
	[_IOC_NR(PVVAS_IOC_SEG_DELETE)] = { 8, 0, pvvas_do_seg_delete, true },
	[_IOC_NR(PVVAS_IOC_SEG_ATTACH)] = { 24, 0, pvvas_do_seg_attach, true },
	[_IOC_NR(PVVAS_IOC_SEG_DETACH)] = { 24, 0, pvvas_do_seg_detach, true },
	[_IOC_NR(PVVAS_IOC_LINK_NEXT)] = { 32, 0, pvvas_do_link_next },
	[_IOC_NR(PVVAS_IOC_SEG_LOCKING)] = { 16, 0, pvvas_do_seg_locking },
	[_IOC_NR(PVVAS_IOC_SEG_LOCK_RESET)] = { 8, 0, pvvas_do_seg_lock_reset },
	[_IOC_NR(PVVAS_IOC_LOCK_OPEN)] = { 24, 0, pvvas_do_lock_open },
	[_IOC_NR(PVVAS_IOC_LOCK_THREAD)] = { 8, 0, pvvas_do_lock_thread },
	[_IOC_NR(PVVAS_IOC_LOCK_TAKE)] = { 24, 0, pvvas_do_lock_take },
	[_IOC_NR(PVVAS_IOC_LOCK_RELEASE)] = { 24, 0, pvvas_do_lock_release },
	[_IOC_NR(PVVAS_IOC_LOCK_CONSISTENT)] = { 24, 0, pvvas_do_lock_consistent },
	[_IOC_NR(PVVAS_IOC_SEG_NEXT_DATA)] = { 24, 0, pvvas_do_seg_next_data },
	[_IOC_NR(PVVAS_IOC_SEG_PUBLISH)] = { 16, 0, pvvas_do_seg_publish },
	[_IOC_NR(PVVAS_IOC_GETATTR)] = { 312, 328, pvvas_do_getattr },
	[_IOC_NR(PVVAS_IOC_SETATTR)] = { 312, 328, pvvas_do_setattr },
	[_IOC_NR(PVVAS_IOC_STATS)] = { 216, 224, pvvas_do_stats },
	[_IOC_NR(PVVAS_IOC_PUBLISH_ALL)] = { 16, 0, pvvas_do_publish_all },
	[_IOC_NR(PVVAS_IOC_LIFE_TOKEN)] = { 16, 0, pvvas_do_life_token },
	[_IOC_NR(PVVAS_IOC_LIFE_ALIVE)] = { 16, 0, pvvas_do_life_alive },
	[_IOC_NR(PVVAS_IOC_VAS_CLONE)] = { 40, 56, pvvas_do_vas_clone },
	[_IOC_NR(PVVAS_IOC_SEG_CLONE)] = { 40, 56, pvvas_do_seg_clone },
	[_IOC_NR(PVVAS_IOC_SEG_MAP2)] = { 40, 56, pvvas_do_seg_map2 },
	[_IOC_NR(PVVAS_IOC_SEG_PROTECT)] = { 48, 0, pvvas_do_seg_protect },
	[_IOC_NR(PVVAS_IOC_SEG_DIRTY)] = { 48, 0, pvvas_do_seg_dirty },
	[_IOC_NR(PVVAS_IOC_SEG_POPULATE)] = { 48, 0, pvvas_do_seg_populate },
	[_IOC_NR(PVVAS_IOC_SEG_FILL)] = { 48, 0, pvvas_do_seg_fill },
	[_IOC_NR(PVVAS_IOC_SEG_PAGER)] = { 16, 0, pvvas_do_seg_pager },
	[_IOC_NR(PVVAS_IOC_SEG_STAT)] = { 48, 56, pvvas_do_seg_stat },
	[_IOC_NR(PVVAS_IOC_SEG_DISCARD)] = { 48, 0, pvvas_do_seg_discard },
	[_IOC_NR(PVVAS_IOC_SEG_READ)] = { 48, 0, pvvas_do_seg_read },
	[_IOC_NR(PVVAS_IOC_SEGS_CLONE)] = { 16, 0, pvvas_do_segs_clone },
	[_IOC_NR(PVVAS_IOC_SEG_ACCESSED)] = { 48, 0, pvvas_do_seg_accessed },
	[_IOC_NR(PVVAS_IOC_SEG_UNTRACK)] = { 8, 0, pvvas_do_seg_untrack },
	[_IOC_NR(PVVAS_IOC_SEG_LIMIT)] = { 24, 0, pvvas_do_seg_limit },
	[_IOC_NR(PVVAS_IOC_SEG_RECLAIM_WAIT)] = { 24, 0, pvvas_do_seg_reclaim_wait },
	[_IOC_NR(PVVAS_IOC_SEG_EVICT)] = { 40, 0, pvvas_do_seg_evict },
	[_IOC_NR(PVVAS_IOC_SEG_MOVE)] = { 40, 0, pvvas_do_seg_move },
	[_IOC_NR(PVVAS_IOC_SEG_RESIZE)] = { 16, 0, pvvas_do_seg_resize, true },
	[_IOC_NR(PVVAS_IOC_SEG_WAIT)] = { 32, 0, pvvas_do_seg_wait },
	[_IOC_NR(PVVAS_IOC_SEG_WAKE)] = { 32, 0, pvvas_do_seg_wake },
};

/*
 * Before anything happens that the caller would not be told of: can all @n bytes be
 * written?  No struct is larger than a page, so its ends say so.
 */
static bool pvvas_arg_writable(void __user *user, const union pvvas_arg *arg, u32 n)
{
	const u8 *bytes = (const u8 *)arg;
	u8 __user *to = user;

	return !put_user(bytes[0], to) && !put_user(bytes[n - 1], to + n - 1);
}

long pvvas_ioctl(struct file *file, unsigned int cmd, unsigned long ptr)
{
	void __user *user = (void __user *)ptr;
	const struct pvvas_command *command;
	unsigned int nr = _IOC_NR(cmd);
	union pvvas_arg arg;
	u32 size, known;
	int ret;

	if (_IOC_TYPE(cmd) != PVVAS_IOC_TYPE ||
	    nr >= ARRAY_SIZE(pvvas_commands))
		return -ENOTTY;
	command = &pvvas_commands[array_index_nospec(nr,
					ARRAY_SIZE(pvvas_commands))];
	if (!command->call)
		return -ENOTTY;
	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < command->size)
		return -EINVAL;
	if (size > PVVAS_ARG_MAX)
		return -E2BIG;
	known = command->known ?: command->size;
	ret = copy_struct_from_user(&arg, known, user, size);
	if (!ret && !command->silent &&
	    !pvvas_arg_writable(user, &arg, min(size, known)))
		ret = -EFAULT;
	if (ret)
		return ret;
	arg.size = size;
	ret = command->call(&arg);
	if (!ret && !command->silent &&
	    copy_to_user(user, &arg, min(size, known)))
		ret = -EFAULT;
	return ret;
}
