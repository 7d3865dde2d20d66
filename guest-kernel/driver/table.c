// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that are tables in EPT format, and what KVM is told of them.
 *
 * A table that nothing leads to any more goes to the stock, with nothing mapped in
 * it, and the next table of its level is taken from there: that costs no page, and
 * KVM has a shadow of it already.  What KVM may still have of its entries it is told
 * with the next hypercall that invalidates something; until then the table waits.
 * Pages that it led to can be used at once: what led to the table is invalidated
 * before it is discarded.
 *
 * A table goes only to the memory cgroup that pays for its page.  The stock serves
 * callers that make and delete in turn: a table stays in it for a second.
 */
#include <linux/io.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/workqueue.h>
#include "compat.h"
#include "ept.h"
#include "hv.h"

/* Tables in the stock, and of these: KVM has to be told of. */
#define PVVAS_STOCK_MOST	96
#define PVVAS_UNTOLD_MOST	32

/* In the private word of a table's page, beside the bytes that are charged. */
#define PVVAS_LEVEL_MASK	7UL


/* What INVALIDATE_LIST reads; interrupts are off while it is in use. */
static DEFINE_PER_CPU(struct pvvas_hc_range *, pvvas_rows);

/* The stock, by page.lru; taken with interrupts off, within all locks of tables. */
static DEFINE_SPINLOCK(pvvas_stock_lock);
static struct list_head pvvas_stock[PVVAS_STOCK_LEVELS];	/* by level - 1 */
static LIST_HEAD(pvvas_untold);
static u32 pvvas_nr_stock;
static u32 pvvas_nr_untold;

static void pvvas_stock_expire(struct work_struct *work);
static DECLARE_DELAYED_WORK(pvvas_stock_work, pvvas_stock_expire);

/*
 * An entry of a table in which nothing is mapped.  In tables of segments and spaces all
 * ask for demand faults: which addresses have segments these know (space.c), so that
 * nothing has to be stored for a segment without pages.
 */
static u64 pvvas_entry_none(u32 level)
{
	return level ? PVVAS_EPT_DEMAND : 0;
}

static u32 pvvas_page_level(const struct page *page)
{
	return page_private(page) & PVVAS_LEVEL_MASK;
}

/*
 * In the page's index: the first entry of the table that may be in use, and the one
 * behind the last.  The lock that guards the entries guards them.
 */
static u32 pvvas_used_first(struct page *page)
{
	return *pvvas_page_index(page) & 0xffff;
}

static u32 pvvas_used_end(struct page *page)
{
	return *pvvas_page_index(page) >> 16;
}

static void pvvas_used_set(struct page *page, u32 first, u32 end)
{
	*pvvas_page_index(page) = first | end << 16;
}

/* NULL: no cgroup pays.  RCU. */
static struct mem_cgroup *pvvas_payer(void)
{
#ifdef CONFIG_MEMCG
	struct mem_cgroup *memcg = current->active_memcg ?:
				   mem_cgroup_from_task(current);

	if (memcg && parent_mem_cgroup(memcg))
		return memcg;
#endif
	return NULL;
}

static struct page *pvvas_stock_take(u32 level)
{
	struct page *page, *found = NULL;
	struct mem_cgroup *payer;
	unsigned long flags;

	if (!level)
		return NULL;
	rcu_read_lock();
	payer = pvvas_payer();
	spin_lock_irqsave(&pvvas_stock_lock, flags);
	list_for_each_entry(page, &pvvas_stock[level - 1], lru) {
		if (page_memcg_check(page) != payer)
			continue;
		list_del(&page->lru);
		pvvas_nr_stock--;
		found = page;
		break;
	}
	spin_unlock_irqrestore(&pvvas_stock_lock, flags);
	rcu_read_unlock();
	return found;
}

/*
 * A table with nothing mapped in it.  @level: of the table, for the stock; 0: it is
 * none that is kept.
 */
u64 *pvvas_table_new(u32 level, gfp_t gfp)
{
	struct page *page;

	if (pvvas_inject_table(gfp))
		return NULL;
	page = pvvas_stock_take(level);
	if (!page) {
		page = alloc_page(gfp | __GFP_NOWARN | __GFP_ACCOUNT);
		if (!page)
			return NULL;
		memset64(page_address(page), pvvas_entry_none(level), PVVAS_PTRS);
	}
	set_page_private(page, level);
	pvvas_used_set(page, 0, 0);
	atomic64_inc(&pvvas_counts.tables);
	return page_address(page);
}

/* One of those of which a user can have very many; or -ENOSPC, -ENOMEM. */
u64 *pvvas_table_charged(u32 level, gfp_t gfp)
{
	u64 *table;

	if (!pvvas_quota_tables(PAGE_SIZE))
		return ERR_PTR(-ENOSPC);
	table = pvvas_table_new(level, gfp);
	if (!table) {
		pvvas_quota_tables_back(PAGE_SIZE);
		return ERR_PTR(-ENOMEM);
	}
	set_page_private(virt_to_page(table), PAGE_SIZE | level);
	return table;
}

/*
 * Entries of a table are about to be in use, up to when nothing leads to it any more.
 * Under the lock that guards them.
 */
void pvvas_table_use(u64 *table, u32 first, u32 count)
{
	struct page *page = virt_to_page(table);
	u32 end = first + count;

	if (pvvas_used_end(page)) {
		first = min(first, pvvas_used_first(page));
		end = max(end, pvvas_used_end(page));
	}
	pvvas_used_set(page, first, end);
}

/* Of a table of a segment or a space, under its lock. */
void pvvas_entry_store(u64 *entry, u64 new)
{
	pvvas_table_use((u64 *)((unsigned long)entry & PAGE_MASK),
			offset_in_page(entry) / sizeof(*entry), 1);
	WRITE_ONCE(*entry, new);
}

/* Let nothing be mapped in the table. */
static void pvvas_table_clear(struct page *page, u32 level)
{
	u64 *table = page_address(page), none = pvvas_entry_none(level);
	u32 first = pvvas_used_first(page), i;

	memset64(table + first, none, pvvas_used_end(page) - first);
	/* Each store of an entry is recorded by pvvas_table_use(). */
	for (i = 0; PVVAS_MAY_INJECT && i < PVVAS_PTRS; i++)
		WARN_ON_ONCE(table[i] != none);
}

static void pvvas_page_uncharge(struct page *page)
{
	pvvas_quota_tables_back(page_private(page) & ~PVVAS_LEVEL_MASK);
	set_page_private(page, pvvas_page_level(page));
	atomic64_dec(&pvvas_counts.tables);
}

/* @known: KVM may have entries of the table.  False: there is no room. */
static bool pvvas_stock_put(struct page *page, bool known)
{
	u32 level = pvvas_page_level(page);
	unsigned long flags;

	if (!level || READ_ONCE(pvvas_nr_stock) >= PVVAS_STOCK_MOST)
		return false;
	pvvas_table_clear(page, level);
	pvvas_page_uncharge(page);
	spin_lock_irqsave(&pvvas_stock_lock, flags);
	pvvas_nr_stock++;
	if (known && pvvas_used_end(page)) {
		list_add_tail(&page->lru, &pvvas_untold);
		pvvas_nr_untold++;
	} else {
		list_add(&page->lru, &pvvas_stock[level - 1]);
	}
	spin_unlock_irqrestore(&pvvas_stock_lock, flags);
	schedule_delayed_work(&pvvas_stock_work, HZ);
	return true;
}

static void pvvas_page_release(struct page *page)
{
	set_page_private(page, 0);
	pvvas_used_set(page, 0, 0);
	__free_page(page);
}

/* KVM has never seen it, or has forgotten it. */
void pvvas_table_free(u64 *table)
{
	struct page *page;

	if (!table)
		return;
	page = virt_to_page(table);
	if (pvvas_stock_put(page, false))
		return;
	pvvas_page_uncharge(page);
	pvvas_page_release(page);
}

/*
 * Nothing leads to @table any more, and KVM knows: pvvas_tables_free() frees what is
 * in @list.
 */
void pvvas_table_discard(struct list_head *list, u64 *table)
{
	if (table)
		list_add_tail(&virt_to_page(table)->lru, list);
}

/* This CPU's rows, of which there are PVVAS_ROWS; interrupts are off. */
struct pvvas_hc_range *pvvas_rows_get(void)
{
	return this_cpu_read(pvvas_rows);
}

/*
 * Rows for untold tables behind the @n that there are; these are in @told then, and
 * not in the stock until pvvas_stock_told(): that may be emptied meanwhile.
 */
static u32 pvvas_untold_rows(struct pvvas_hc_range *rows, u32 n,
			     struct list_head *told)
{
	struct page *page, *next;

	if (!READ_ONCE(pvvas_nr_untold))
		return n;
	spin_lock(&pvvas_stock_lock);
	list_for_each_entry_safe(page, next, &pvvas_untold, lru) {
		if (n == PVVAS_ROWS)
			break;
		rows[n++] = (struct pvvas_hc_range) {
			.table = page_to_phys(page),
			.first = pvvas_used_first(page),
			.count = pvvas_used_end(page) - pvvas_used_first(page),
		};
		list_move(&page->lru, told);
		pvvas_nr_untold--;
		pvvas_nr_stock--;
	}
	spin_unlock(&pvvas_stock_lock);
	return n;
}

static void pvvas_stock_told(struct list_head *told)
{
	struct page *page, *next;

	if (list_empty(told))
		return;
	spin_lock(&pvvas_stock_lock);
	list_for_each_entry_safe(page, next, told, lru) {
		list_move(&page->lru, &pvvas_stock[pvvas_page_level(page) - 1]);
		pvvas_nr_stock++;
	}
	spin_unlock(&pvvas_stock_lock);
	schedule_delayed_work(&pvvas_stock_work, HZ);
}

/* @rows: this CPU's; also what waits to be told. */
void pvvas_invalidate_rows(struct pvvas_hc_range *rows, u32 n)
{
	LIST_HEAD(told);

	n = pvvas_untold_rows(rows, n, &told);
	if (n)
		WARN_ON_ONCE(pvvas_hc_invalidate_list(rows, n) != n);
	pvvas_stock_told(&told);
}

/* Entries of one table have changed.  This CPU's rows may be in use. */
void pvvas_invalidate(u64 *table, u32 first, u32 count)
{
	WARN_ON_ONCE(pvvas_hc_invalidate(virt_to_phys(table), first, count) != 1);
}

/* The same, and what waits to be told. */
void pvvas_invalidate_more(u64 *table, u32 first, u32 count)
{
	struct pvvas_hc_range *rows;
	unsigned long flags;

	if (!READ_ONCE(pvvas_nr_untold)) {
		pvvas_invalidate(table, first, count);
		return;
	}
	local_irq_save(flags);
	rows = pvvas_rows_get();
	rows[0] = (struct pvvas_hc_range) {
		.table = virt_to_phys(table),
		.first = first,
		.count = count,
	};
	pvvas_invalidate_rows(rows, 1);
	local_irq_restore(flags);
}

/* Pages that are no tables any more; @known: KVM may have seen them. */
static void pvvas_pages_release(struct list_head *list, bool known)
{
	struct page *page, *next;
	struct pvvas_hc_range *rows;
	LIST_HEAD(done);
	unsigned long flags;
	u32 n;

	while (!list_empty(list)) {
		n = 0;
		local_irq_save(flags);
		rows = pvvas_rows_get();
		list_for_each_entry_safe(page, next, list, lru) {
			rows[n++] = (struct pvvas_hc_range) {
				.table = page_to_phys(page),
				.count = PVVAS_ALL_ENTRIES,
			};
			list_move(&page->lru, &done);
			if (n == PVVAS_ROWS)
				break;
		}
		if (known)
			pvvas_invalidate_rows(rows, n);
		local_irq_restore(flags);
		list_for_each_entry_safe(page, next, &done, lru) {
			list_del(&page->lru);
			pvvas_page_release(page);
		}
		cond_resched();
	}
}

/* @known: KVM may have seen the tables. */
void pvvas_tables_free(struct list_head *list, bool known)
{
	struct page *page, *next;
	unsigned long flags;
	LIST_HEAD(rest);

	list_for_each_entry_safe(page, next, list, lru) {
		list_del(&page->lru);
		if (pvvas_stock_put(page, known))
			continue;
		pvvas_page_uncharge(page);
		list_add_tail(&page->lru, &rest);
	}
	pvvas_pages_release(&rest, known);
	if (READ_ONCE(pvvas_nr_untold) < PVVAS_UNTOLD_MOST)
		return;
	local_irq_save(flags);
	pvvas_invalidate_rows(pvvas_rows_get(), 0);
	local_irq_restore(flags);
}

/* All of the stock goes; KVM still has shadows of its tables, and gives them back. */
static void pvvas_stock_expire(struct work_struct *work)
{
	unsigned long flags;
	LIST_HEAD(list);
	u32 i;

	spin_lock_irqsave(&pvvas_stock_lock, flags);
	list_splice_init(&pvvas_untold, &list);
	for (i = 0; i < PVVAS_STOCK_LEVELS; i++)
		list_splice_init(&pvvas_stock[i], &list);
	pvvas_nr_untold = 0;
	pvvas_nr_stock = 0;
	spin_unlock_irqrestore(&pvvas_stock_lock, flags);
	pvvas_pages_release(&list, true);
}

int pvvas_tables_init(void)
{
	struct pvvas_hc_range *rows;
	int cpu, i;

	for (i = 0; i < PVVAS_STOCK_LEVELS; i++)
		INIT_LIST_HEAD(&pvvas_stock[i]);
	for_each_possible_cpu(cpu) {
		rows = (struct pvvas_hc_range *)__get_free_page(GFP_KERNEL);
		if (!rows) {
			pvvas_tables_exit();
			return -ENOMEM;
		}
		per_cpu(pvvas_rows, cpu) = rows;
	}
	return 0;
}

void pvvas_tables_exit(void)
{
	int cpu;

	cancel_delayed_work_sync(&pvvas_stock_work);
	pvvas_stock_expire(NULL);
	for_each_possible_cpu(cpu) {
		free_page((unsigned long)per_cpu(pvvas_rows, cpu));
		per_cpu(pvvas_rows, cpu) = NULL;
	}
}
