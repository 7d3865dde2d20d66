/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the driver share.
 *
 * Locks, in the order in which they are taken:
 *
 *   proc->begin_lock (mutex)  process.c: the process gets its context
 *   proc->cover_lock (mutex)  cover.c: its threads are covered
 *   pvvas_procs_lock (mutex)  process.c: are there processes, and the fork probe
 *   pvvas_lock (mutex)        objects, names, links, attachments, slots; given
 *				back with pvvas_unlock() (leftover.h)
 *     procs hash lock (spin)    process.c: mm -> process
 *       proc->lock (spin)       the process's list of threads; within it a
 *				task's pi_lock (thread.c)
 *     bucket->lock (spin)       wait.c: threads that wait for a word
 *   seg->pages (spin, irq)    the pages of a segment, and its faces; that of a
 *				clone in the making within that of its source
 *   seg->prot (spin)          protect.c: writers of the tree; readers use RCU
 *   pvvas_cloning_lock (spin)  cow.c: whose clone is next
 *   pvvas_reclaim_lock (spin)  reclaim.c: pagers that wait; a shrinker takes it
 *
 * Locks of segments have their own (lock.h).  pvvas_procs_lock is held together
 * with no other mutex.  mmap_lock comes before
 * pvvas_lock (access.c, dump.c) and is not held when the first three are taken.
 * The last four are never held together; demand faults (fault.c) take the first
 * of them, in whatever the kernel does with user memory.  The scheduler hooks
 * take no lock at all.
 */
#ifndef PVVAS_DRV_H
#define PVVAS_DRV_H

#include <linux/hashtable.h>
#include <linux/timerqueue.h>
#include <linux/irq_work.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/task_work.h>
#include <linux/user-return-notifier.h>
#include <linux/uidgid.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <linux/pvvas.h>
#include <linux/pvvas_para.h>
#include "futex.h"
#include "leftover.h"
#include "links.h"
#include "window.h"

struct file;
struct mem_cgroup;
struct pvvas_holder;
struct pvvas_reclaim;
struct pvvas_seglock;
struct pvvas_space;
struct pvvas_thread;
struct pvvas_tree;
struct pvvas_user;
struct pvvas_view;

extern struct mutex pvvas_lock;

/*
 * How memory for which the caller's cgroup pays is allocated under pvvas_lock: a
 * cgroup at its limit reclaims, and one above memory.high sleeps, and all users
 * would wait.  Where that is too little: pvvas_make_room(), without the lock.
 */
#define PVVAS_GFP_LOCKED	(GFP_NOWAIT | __GFP_NOWARN)
bool pvvas_make_room(u32 *tries);
extern struct workqueue_struct *pvvas_wq;

/**
 * struct pvvas_object - what a VAS and a segment have in common
 * @kind: PVVAS_KIND_*
 * @id: unique among those of its kind that live
 * @serial: never reused
 * @ref: one for the name or the creating process, one for each user
 * @name: NULL if anonymous or deleted
 * @hash: in the table of names, while @name is set
 * @owned: in proc->owned of the creator, if anonymous
 * @charged: whose quota it counts against
 * @free: its creator was above the user's quotas
 * @atime: last attach; @mtime: last change of what it holds; @ctime: of owner,
 *	group, mode; seconds
 *
 * All of it is guarded by pvvas_lock.
 */
struct pvvas_object {
	u32 kind;
	u32 id;
	u64 serial;
	u32 users;
	umode_t mode;
	kuid_t uid;
	kgid_t gid;
	struct kref ref;
	char *name;
	struct hlist_node hash;
	struct list_head owned;
	struct pvvas_user *charged;
	bool free;
	u32 expiry;		/* seconds without users; 0: never */
	ktime_t idle_since;	/* CLOCK_BOOTTIME, of one without users */
	struct timerqueue_node expires;
	time64_t atime;
	time64_t mtime;
	time64_t ctime;
};

struct pvvas_vas {
	struct pvvas_object obj;
	struct pvvas_space *space;	/* its segments */
	struct pvvas_links links;
	struct list_head atts;		/* struct pvvas_att.in_vas */
	struct xarray parted;		/* serial -> those with a space of their own */
	bool linking;			/* see vas.c */
	u64 attached;			/* attachments that it ever had */
	struct pvvas_leftover left;
};

/*
 * KVM's segments are made of whole tables of this size, so two segments of one
 * VAS cannot share a block.
 */
#define PVVAS_BLOCK	((u64)PMD_SIZE)

/**
 * struct pvvas_seg - a segment
 * @base: virtual address
 * @start: @base rounded down to PVVAS_BLOCK: offsets count from here
 * @end: end of the segment rounded up to PVVAS_BLOCK
 * @claimed: where that is to be, while the segment grows (resize.c); else 0
 * @tree: its tables (ept.c)
 * @placed: among all segments by address, once @end is set; with @placed_last
 * @users: likewise, among those of the same @obj.charged; with @users_last
 * @memory: whose pages it shows: itself, or the one that it is a second face of
 * @shift: number of a page of the memory less that of the segment: the former counts
 *	in @pages, the latter in tables and protections; a multiple of those in a block
 * @faces: in @memory: all that show its pages; @face is the node of it
 * @pages: in @memory: number of a page -> struct page, with the marks
 *	PVVAS_COW, PVVAS_CLEAN and PVVAS_IDLE.  Its own lock, taken with interrupts off
 *	(demand faults), guards it, the faces, what KVM is told about single
 *	pages, and the members down to @clones
 * @unique: in @memory: what no other memory has, see life.c
 * @resident: in @memory: bytes in @pages
 * @pager: in @memory: no page is made by an access (selfpage.c)
 * @tracking: in @memory: pages are clean until they are written (track.c)
 * @ageing: in @memory: pages can be idle until they are accessed
 * @hand: in @memory: of the clock, a page's number (reclaim.c)
 * @reclaim: in @memory: once it was reclaimable
 * @zeroes: in @memory: some face shows the page of zeroes where there is none
 * @changing: in @memory: until the moment of a clone; faults in user mode wait
 * @frozen_first, @frozen_end: in @memory: pages that are read-only for it already
 * @clones: in @memory: in the making, struct pvvas_clone.node (cow.c)
 * @cloning: in @memory: there are @clones; @writers: that wait for their turn
 * @prot: page number -> rights, where a protection was asked for
 * @ranges: in @prot, at most (quota.c)
 * @hides: there has been a page in @prot that may not be read
 * @memcg: the cgroup that the pages are charged to
 * @pinned: the pages are of hugetlbfs, and not ours to copy
 * @huge: 2 MiB at a time where they fit, from the first touch on
 * @small: a page at a time (extent.c)
 * @colors: of its pages, a bit for each; 0: any
 * @dump: core dumps hold it (dump.c)
 * @locked: bytes that count for RLIMIT_MEMLOCK
 * @policy: where its pages come from, PVVAS_NUMA_*; @nodes: of which nodes
 * @lockable: a switch locks it
 * @links: struct pvvas_link.in_seg; @walked: they are gone through (links.c)
 * @lock: once it was lockable (lock.c); another one each time that it becomes so
 * @freeing: once it is dead: its pages that are still to be freed
 */
struct pvvas_seg {
	struct pvvas_object obj;
	u64 base;
	u64 length;
	u64 start;
	u64 end;
	u64 claimed;
	struct pvvas_tree *tree;
	struct rb_node placed;
	u64 placed_last;
	struct rb_node users;
	u64 users_last;
	struct pvvas_seg *memory;
	pgoff_t shift;
	struct list_head faces;
	struct list_head face;
	u64 unique;
	struct xarray pages;
	bool pager;
	bool tracking;
	bool ageing;
	pgoff_t hand;
	struct pvvas_reclaim *reclaim;
	bool zeroes;
	bool changing;
	pgoff_t frozen_first;
	pgoff_t frozen_end;
	struct list_head clones;
	bool cloning;
	u32 writers;
	struct maple_tree prot;
	u32 ranges;
	bool hides;
	atomic64_t resident;
	atomic64_t faults;
	atomic64_t copied;
	atomic64_t refused;
	struct mem_cgroup *memcg;
	bool pinned;
	bool huge;
	bool small;
	bool dump;
	u64 locked;
	u32 policy;
	u64 nodes;
	u64 colors;
	bool lockable;
	struct list_head links;
	u32 nr_links;
	bool walked;
	struct pvvas_seglock *lock;
	s64 freeing;
	struct pvvas_leftover left;
};

/**
 * struct pvvas_clone - a source and its clone, while that is made
 * @prot: clone.c: with which it was linked; @id: of the clone
 * @writer: the caller may write to the source
 * @copies: they share no page (cow.c)
 * @lock: of a lockable source, with a reference; or NULL
 * @lock_state: PVVAS_LOCK_DIED, PVVAS_LOCK_LOST, of @lock at the moment; or 0
 * @error: the clone lacks a page that has been written since
 *
 * @node and @error are under the lock of the source's pages.
 */
struct pvvas_clone {
	struct list_head node;
	struct pvvas_seg *from;
	struct pvvas_seg *to;
	u32 prot;
	u32 id;
	bool writer;
	bool copies;
	struct pvvas_seglock *lock;
	u32 lock_state;
	int error;
};

/**
 * struct pvvas_att - an attachment: a VAS in a process
 * @space: the VAS's segments and private ones, once there was one; else NULL
 * @parted: up to which address @space has the VAS's; U64_MAX: all, and @view has it
 * @slot: where its view is resident, or 0; @lost: it should be (slot.c)
 * @rights: PVVAS_READ and _WRITE, what the process may do in the VAS
 * @charged: whose quota it counts against
 * @dumps: mappings for core dumps
 * @in_vas: among those of the VAS, in the order of @serial
 */
struct pvvas_att {
	struct pvvas_proc *proc;
	struct pvvas_vas *vas;
	struct pvvas_view *view;
	struct pvvas_space *space;
	u64 parted;
	u32 handle;
	u32 slot;
	bool lost;
	u32 rights;
	struct pvvas_user *charged;
	struct list_head dumps;
	struct list_head in_vas;
	u64 serial;
	struct pvvas_links links;
	struct pvvas_leftover left;
};

/**
 * struct pvvas_proc - an mm that uses VASes
 * @mn: tells when the mm dies; holds the first reference
 * @mm: to compare with, never to follow; NULL once the mm is dead
 * @ctx: KVM's context, set before the object can be found
 * @hash: in the table of processes
 * @charged: whose quota it counts against
 * @covered: every thread of the mm has its notifier (cover.c)
 * @lock: guards @threads, and @tasks: the same by task
 * @moving: a slot is being emptied: threads with a saved view wait (slot.c)
 * @atts: index -> attachment; with @slots, @hand, @generation under pvvas_lock
 * @spare: a view for the next attach, or NULL (spare.c); under pvvas_lock
 * @owned: anonymous objects that it created; under pvvas_lock
 * @locks: number of a lock -> struct pvvas_lock_map; with @locks_mutex
 * @holders: struct pvvas_holder.node; with both locks to change it (lock.h)
 * @dead: struct pvvas_thread.dead, for @reap_work, which @reap_irq starts
 * @futex: words at which a wait has ended by a wake-up (futex.c)
 */
struct pvvas_proc {
	struct mmu_notifier mn;
	struct kref ref;
	struct mm_struct *mm;
	u64 ctx;
	struct hlist_node hash;
	struct pvvas_user *charged;
	bool covered;
	bool moving;
	bool several;			/* it has had a second attachment */
	struct mutex begin_lock;
	/* Its holder waits for all others: be covered first, and leave begin_lock. */
	struct mutex cover_lock;
	wait_queue_head_t wait;
	spinlock_t lock;		/* guards threads, tasks */
	struct list_head threads;
	DECLARE_HASHTABLE(tasks, 8);
	struct xarray atts;
	struct pvvas_att *slots[PVVAS_NR_SLOTS];
	DECLARE_BITMAP(taken, PVVAS_NR_SLOTS);	/* of @slots */
	u32 hand;
	u32 next_index;
	u32 generation;
	struct pvvas_view *spare;
	struct list_head owned;
	struct mutex locks_mutex;
	struct xarray locks;
	spinlock_t holders_lock;
	struct list_head holders;
	struct llist_head dead;
	struct irq_work reap_irq;
	struct work_struct reap_work;
	struct pvvas_leftover left;
	struct work_struct free_work;
	struct pvvas_futex futex;
};

struct pvvas_counts {
	atomic_t vases, segs, processes, threads, attachments, spans;
	atomic64_t pages, tables, trees, freeing;
};

extern struct pvvas_counts pvvas_counts;

/* hv.c: the hypervisor, found at load */
extern struct pvvas_hc_info pvvas_hv;
extern struct pvvas_identity *pvvas_identity;
int pvvas_hv_probe(void);
void pvvas_hv_remove(void);

/* object.c; pvvas_lock held but for pvvas_name_from_user() */
char *pvvas_name_from_user(u64 addr);
int __must_check pvvas_object_init(struct pvvas_object *obj, u32 kind,
				   umode_t mode);
int pvvas_object_publish(struct pvvas_object *obj, char *name,
			 struct pvvas_proc *owner);
void pvvas_object_put(struct pvvas_object *obj);
void pvvas_object_end(struct pvvas_object *obj);
struct pvvas_object *pvvas_object_by_id(u32 kind, u32 id);
struct pvvas_object *pvvas_object_by_name(u32 kind, const char *name);
struct pvvas_object *pvvas_object_after(u32 kind, unsigned long *id);
void pvvas_object_drop(struct pvvas_object *obj);
u32 pvvas_object_mode(const struct pvvas_object *obj);
u32 pvvas_object_rights(const struct pvvas_object *obj);
bool pvvas_object_is_owner(const struct pvvas_object *obj);
int pvvas_object_find(struct pvvas_ioc_name *arg, u32 kind);
int pvvas_object_name(struct pvvas_ioc_name *arg, u32 kind);
int pvvas_publish_all(struct pvvas_ioc_publish_all *arg);
int pvvas_object_delete(struct pvvas_ioc_id *arg, u32 kind);
void pvvas_objects_disown(struct pvvas_proc *proc);
int pvvas_getattr(struct pvvas_ioc_attr *arg);
int pvvas_setattr(struct pvvas_ioc_attr *arg);

/* expiry.c; pvvas_lock held, but for init and exit */
void pvvas_expiry_init(struct pvvas_object *obj);
void pvvas_expiry_set(struct pvvas_object *obj, u32 seconds);
void pvvas_expiry_end(struct pvvas_object *obj);
void pvvas_object_use(struct pvvas_object *obj);
void pvvas_object_unuse(struct pvvas_object *obj);
u64 pvvas_object_idle(const struct pvvas_object *obj);
void pvvas_expiry_exit(void);

/* vas.c */
int pvvas_vas_create(struct pvvas_ioc_create *arg);
void pvvas_vas_free(struct pvvas_vas *vas);
int pvvas_vas_link(struct pvvas_vas *vas, struct pvvas_seg *seg, u32 prot,
		   struct pvvas_link **spare);
int pvvas_vas_unlink(struct pvvas_vas *vas, struct pvvas_seg *seg);
bool pvvas_vas_again(int ret);
int pvvas_link_reach(struct pvvas_link *link);
bool pvvas_link_hidden(struct pvvas_att *att, const struct pvvas_link *link);

/* segment.c */
int pvvas_seg_create(struct pvvas_ioc_create *arg);
void pvvas_seg_free(struct pvvas_seg *seg);
int pvvas_seg_next_data(struct pvvas_ioc_seg_data *arg);
struct pvvas_seg *pvvas_seg_fault_begin(struct pvvas_tree *tree);
void pvvas_seg_fault_end(struct pvvas_seg *seg);
struct page *pvvas_seg_page_get(struct pvvas_seg *seg, pgoff_t index);
struct pvvas_seg *pvvas_seg_new(u64 base, u64 length, umode_t mode);
int pvvas_seg_make(struct pvvas_seg *seg);
struct pvvas_seg *pvvas_seg_hold(u32 id, u32 rights);
void pvvas_seg_drop(struct pvvas_seg *seg);

/* place.c; pvvas_lock held */
u64 pvvas_window_end(void);
int pvvas_seg_place(struct pvvas_seg *seg);
void pvvas_seg_unplace(struct pvvas_seg *seg);
void pvvas_seg_place_end(struct pvvas_seg *seg, u64 end);

/* attach.c */
struct pvvas_att *pvvas_att_get(struct pvvas_proc *proc, u32 handle);
int pvvas_attach(struct pvvas_ioc_attach *arg);
int pvvas_detach(struct pvvas_ioc_attach *arg);
int pvvas_resident(struct pvvas_ioc_attach *arg);
int pvvas_seg_attach(struct pvvas_ioc_seg_attach *arg);
int pvvas_seg_detach(struct pvvas_ioc_seg_attach *arg);
int pvvas_link_next(struct pvvas_ioc_link *arg);
struct pvvas_seg *pvvas_att_seg(u32 handle, u32 id, u32 *rights);
void pvvas_att_uncover(struct pvvas_att *att, u64 start, u64 end);
void pvvas_detach_all(struct pvvas_proc *proc);

/* resize.c */
int pvvas_seg_resize(struct pvvas_ioc_seg_resize *arg);

/* part.c; pvvas_lock held */
int pvvas_att_part(struct pvvas_att *att);
bool pvvas_att_parted(const struct pvvas_att *att, u64 address);

/* life.c */
void pvvas_life_init(void);
u64 pvvas_unique(void);
int pvvas_life_token(struct pvvas_ioc_life *arg);
int pvvas_life_alive(struct pvvas_ioc_life *arg);
bool pvvas_thread_lives(const struct pvvas_thread *t);
void pvvas_life_end(struct pvvas_thread *t);

/* lock.c, lock_map.c */
int pvvas_lock_take(struct pvvas_ioc_lock *arg);
int pvvas_lock_release(struct pvvas_ioc_lock *arg);
int pvvas_lock_consistent(struct pvvas_ioc_lock *arg);
void pvvas_seg_lock_free(struct pvvas_seg *seg);
int pvvas_lock_open(struct pvvas_ioc_lock_open *arg);
int pvvas_lock_thread(struct pvvas_ioc_lock_thread *arg);
int pvvas_holds_mmap(struct vm_area_struct *vma);
int pvvas_seg_locking(struct pvvas_ioc_seg_locking *arg);
int pvvas_seg_lock_reset(struct pvvas_ioc_id *arg);
void pvvas_locks_init(struct pvvas_proc *proc);
void pvvas_locks_thread_died(struct pvvas_thread *t);
void pvvas_locks_mm_died(struct pvvas_proc *proc);

/* slot.c; pvvas_lock held */
int pvvas_slot_fill(struct pvvas_att *att);
int pvvas_slot_vacate(struct pvvas_att *att);
bool pvvas_slot_keep(struct pvvas_att *att);
void pvvas_slot_forget(struct pvvas_att *att);

/* process.c */
int pvvas_process_init(void);
void pvvas_process_exit(void);
struct pvvas_proc *pvvas_proc_find(struct mm_struct *mm);
struct pvvas_proc *pvvas_proc_current(void);
bool pvvas_proc_covered(struct mm_struct *mm);
void pvvas_proc_put(struct pvvas_proc *proc);
struct pvvas_proc *pvvas_proc_after(unsigned long *ctx);

/* cover.c */
int pvvas_cover_init(void);
int pvvas_cover_start(void);
void pvvas_cover_stop(void);
int pvvas_cover(struct pvvas_proc *proc);
void pvvas_cover_exit(void);

/* thread.c */
int pvvas_thread_init(void);
void pvvas_thread_exit(void);
void pvvas_reap_init(struct pvvas_proc *proc);
struct pvvas_thread *pvvas_thread_alloc(struct pvvas_proc *proc,
					struct task_struct *task, gfp_t gfp);
void pvvas_thread_enlist(struct pvvas_thread *t);
struct pvvas_thread *pvvas_thread_find(struct pvvas_proc *proc,
				       struct task_struct *task);
struct pvvas_thread *pvvas_thread_obtain(struct pvvas_proc *proc,
					 struct task_struct *task, gfp_t gfp);
void pvvas_thread_register(struct pvvas_thread *t);
void pvvas_thread_shed(void);
void pvvas_thread_adopt(struct pvvas_thread *t, struct task_struct *task);
bool pvvas_thread_adopt_sleeper(struct pvvas_thread *t);
void pvvas_thread_free(struct pvvas_thread *t);
void pvvas_thread_flush(void);
void pvvas_cpu_unload(void *proc);

/* fault.c */
int pvvas_fault_init(void);
void pvvas_fault_exit(void);
void pvvas_fault_work(struct callback_head *work);

/* quota.c */
enum pvvas_quota { PVVAS_QUOTA_OBJECTS, PVVAS_QUOTA_ATTACHMENTS, PVVAS_QUOTA_LINKS,
		   PVVAS_QUOTA_PROCESSES, PVVAS_NR_QUOTAS };

struct pvvas_user *pvvas_quota_charge(enum pvvas_quota kind);
struct rb_root_cached *pvvas_user_segs(struct pvvas_user *user);
void pvvas_quota_uncharge(struct pvvas_user *user, enum pvvas_quota kind);
int pvvas_quota_lock(struct pvvas_user *user, u64 bytes);
void pvvas_quota_unlock(struct pvvas_user *user, u64 bytes);
int pvvas_quota_ranges(struct pvvas_seg *seg, u32 more);
void pvvas_quota_no_ranges(struct pvvas_seg *seg);
void pvvas_quota_forget(struct pvvas_seg *seg);
int pvvas_quota_memory(struct pvvas_user *user, bool free, s64 bytes);
void pvvas_quota_memory_back(struct pvvas_user *user, s64 bytes);
bool pvvas_quota_tables(s64 bytes);
void pvvas_quota_tables_back(s64 bytes);
void pvvas_quota_show(struct seq_file *m);

/* fs.c, show.c */
int pvvas_fs_init(void);
void pvvas_fs_exit(void);
void pvvas_show_object(struct seq_file *m, struct pvvas_object *obj);
void pvvas_show_processes(struct seq_file *m);

/* access.c */
u32 pvvas_own_slot(const struct pvvas_proc *proc);
int pvvas_seg_copy(struct pvvas_seg *seg, u64 offset, void *buf, int len,
		   bool write);
int pvvas_seg_read(struct pvvas_ioc_range *arg);
int pvvas_window_access(struct vm_area_struct *vma, unsigned long addr,
			void *buf, int len, int write);
struct pvvas_seg *pvvas_seen_at(u64 addr, u32 *rights);

/* wait.c */
void pvvas_wait_init(void);
int pvvas_seg_wait(struct pvvas_ioc_wait *arg);
int pvvas_seg_wake(struct pvvas_ioc_wait *arg);
int pvvas_sleep(const bool *woken, ktime_t deadline);
ktime_t pvvas_deadline(u64 deadline);

/* dump.c */
void pvvas_dump_update(u32 handle);
void pvvas_dump_take(struct pvvas_att *att, const struct pvvas_seg *seg,
		     struct list_head *list);
void pvvas_dump_unmap_all(struct list_head *list);
void pvvas_dump_forget(struct pvvas_att *att);

/* fixup.c */
int pvvas_fixup_init(void);
void pvvas_fixup_exit(void);

/* uring.c */
int pvvas_uring_init(void);
void pvvas_uring_exit(void);

/* window.c, ioctl.c */
bool pvvas_is_window(const struct vm_area_struct *vma);
int pvvas_mmap(struct file *file, struct vm_area_struct *vma);
long pvvas_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

#include "pages.h"
#include "thread.h"

#endif /* PVVAS_DRV_H */
