/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The software backend: what its files share.
 *
 * A folder of shared memory holds a registry of the objects, and a sparse file
 * for each segment.  Every process maps the registry, and changes it under a
 * lock that dies with its holder.  A switch maps the segments of the new VAS
 * into the window: per process, and with system calls.
 */
#ifndef PVVAS_SOFT_H
#define PVVAS_SOFT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "internal.h"

#define SOFT_MAGIC	0x000b536f66747650ULL
/* What the driver has of a host with 46 address bits, and of most others. */
#define SOFT_WINDOW	(8ULL << 40)
/* Segments share no block in a VAS, as the driver has it: see seg_attach(3). */
#define SOFT_BLOCK	(2ULL << 20)
/* As many as the driver has, of all users, unless told otherwise. */
#define SOFT_OBJECTS	65536
#define SOFT_LINKS	524288
#define SOFT_ATTS	65535	/* what an index in a handle can tell */
/* 1,000 threads in a VAS of 500 lockable segments. */
#define SOFT_HOLDS	524288

struct soft_object {
	uint32_t kind;		/* PVVAS_KIND_*, 0: unused entry */
	uint32_t id;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t named;		/* or owned, if it has no name yet lives */
	uint64_t owner;		/* token of a process; 0: none (any more) */
	uint16_t lockable;
	uint16_t pager;
	uint32_t memory;	/* whose file it shows; 0: its own */
	uint64_t unique;	/* of the memory; at random */
	uint32_t lock_state;	/* PVVAS_LOCK_DIED, PVVAS_LOCK_LOST */
	uint32_t has_lock;	/* it was lockable once */
	uint64_t base;
	uint64_t length;
	uint32_t users;		/* attachments, or links */
	uint32_t faces;		/* 1: other segments show its file, or have done */
	uint64_t used;		/* ms of CLOCK_BOOTTIME: last, if it has no users */
	uint32_t expiry;	/* seconds after that; 0: never */
	uint32_t reserved_also;
	uint64_t shift;		/* where its first byte is in the file that it shows */
	char name[PVVAS_NAME_MAX + 1];
};

/* A segment in a VAS, or in an attachment if target has PVVAS_HANDLE. */
struct soft_link {
	uint32_t target;	/* 0: unused entry */
	uint32_t seg;
	uint32_t prot;
	uint32_t reserved;
	uint64_t process;	/* token of that whose handle the target is */
};

struct soft_att {
	uint32_t handle;	/* 0: unused entry */
	uint32_t vas;
	uint32_t rights;
	uint32_t reserved;
	uint64_t process;	/* its token */
};

/* A thread that has the lock of a segment, or waits to have it exclusively. */
struct soft_hold {
	uint64_t token;
	uint32_t seg;		/* 0: unused entry */
	uint32_t how;		/* SOFT_HOLD_* */
};

#define SOFT_HOLD_SHARED	1
#define SOFT_HOLD_EXCLUSIVE	2
#define SOFT_HOLD_WANTED	3

struct soft_registry {
	uint64_t magic;
	uint32_t generation;	/* of handles */
	uint32_t last_id;	/* its entry is that of the id modulo SOFT_OBJECTS */
	/* entries from there on are unused, and have no memory: see soft_room() */
	uint32_t nr_objects;
	uint32_t nr_links;
	uint32_t nr_atts;
	uint32_t nr_holds;
	/* entries before that are used */
	uint32_t first_link;
	uint32_t first_att;
	uint32_t reserved;
	uint64_t collected;	/* ms of CLOCK_BOOTTIME */
	uint64_t changes;	/* of links, and lengths: threads in a VAS look again */
	uint64_t next_expiry;	/* ms, not later than the first one; 0: none */
	uint8_t in_use[SOFT_OBJECTS];	/* by objects, and never too few */
	uint32_t name_keys[SOFT_OBJECTS];	/* of the objects' names */
	struct soft_object objects[SOFT_OBJECTS];
	struct soft_link links[SOFT_LINKS];
	struct soft_att atts[SOFT_ATTS];
	atomic_uint lock_changes;	/* a futex */
	struct soft_hold holds[SOFT_HOLDS];
};

/* soft_registry.c */
extern struct soft_registry *soft_reg;
extern uint64_t soft_self;	/* the token of this process */
int soft_registry_open(void);
void soft_registry_close(void);
int soft_token(uint64_t *token);
int soft_alive(uint64_t token);
/*
 * The lock of the registry, of all processes.  No signal is handled while it is
 * held, but for those that a fault of its holder raises.  0; -EBADF: the
 * program has closed the library's descriptors, and the folder is not there any
 * more; -EDEADLK: this thread has it.
 */
__attribute__((warn_unused_result))
int soft_lock(void);
void soft_unlock(void);
int soft_segment_file(const struct soft_object *seg, int flags);
/* of a segment: rights of protected pages, a byte each; what was clean */
int soft_prot_file(const struct soft_object *seg, int flags);
int soft_clean_file(const struct soft_object *seg, int flags);
/* Are they faces of the same memory?  Does it show no more than a part of it? */
bool soft_same_memory(const struct soft_object *a, const struct soft_object *b);
bool soft_is_part(const struct soft_object *seg);
void soft_share_memory(struct soft_object *to, const struct soft_object *from,
		       uint64_t offset);
/* All of it, at this place; 0 or -errno */
int soft_read(int fd, void *data, size_t n, uint64_t at);
int soft_write(int fd, const void *data, size_t n, uint64_t at);
/* Nothing uses the object: it goes, and its files. */
void soft_free(struct soft_object *obj);

/*
 * Give an unused entry memory before the first access, which is SIGBUS in a
 * full file system otherwise.  0 or -errno.
 */
int soft_room(const void *entry, size_t bytes);
/* Take the pending signal of RLIMIT_FSIZE away: the caller gets an error. */
void soft_no_sigxfsz(void);

#define for_each_object(o) \
	for ((o) = soft_reg->objects; \
	     (o) < soft_reg->objects + soft_reg->nr_objects; (o)++) \
		if (!soft_reg->in_use[(o) - soft_reg->objects]) { \
		} else
#define for_each_link(l) \
	for ((l) = soft_reg->links; \
	     (l) < soft_reg->links + soft_reg->nr_links; (l)++)
#define for_each_att(a) \
	for ((a) = soft_reg->atts; \
	     (a) < soft_reg->atts + soft_reg->nr_atts; (a)++)

/* soft_collect.c: the lock is held */
/* An entry to fill in, for a user more of the object; NULL: the table is full */
struct soft_att *soft_new_att(struct soft_object *vas);
struct soft_link *soft_new_link(struct soft_object *seg);
/* A user less of a VAS, or of a segment, which may go with it. */
void soft_free_att(struct soft_att *att);
void soft_free_link(struct soft_link *link);
/* It goes if nothing keeps it and nothing uses it. */
void soft_release(struct soft_object *obj);
/* Take away what belonged to the dead, and what expires. */
void soft_collect(void);
bool soft_collect_is_due(void);

/* soft_rights.c: the rules of the driver, which are those of files */
bool soft_capable(int cap);
bool soft_in_group(gid_t gid);
uint32_t soft_rights(const struct soft_object *obj);
bool soft_is_owner(const struct soft_object *obj);

/* soft_objects.c: the lock is held */
struct soft_object *soft_object(uint32_t kind, uint32_t id);
struct soft_att *soft_att(uint32_t handle);
int soft_objects_call(unsigned long request, void *arg);

int soft_create(struct pvvas_ioc_create *arg, uint32_t kind);
/* It has this name from now on, and does not go with its maker any more. */
void soft_keep(struct soft_object *obj, const char *name);
bool soft_name_is_taken(uint32_t kind, const char *name);
/* What keeps it, its name or its creator, does so no more. */
void soft_drop(struct soft_object *obj);
/* And then it goes, if nothing uses it. */
void soft_delete(struct soft_object *obj);
struct soft_object *soft_segment_at(uint32_t id, uint32_t rights, int *err);

/*
 * soft_expiry.c: the lock is held.  now: in ms of CLOCK_BOOTTIME; used: it loses a user now, or is new; idle:
 * seconds; expire: drop what is due, and say if there was something
 */
uint64_t soft_now(void);
void soft_used(struct soft_object *obj);
uint64_t soft_idle(const struct soft_object *obj);
bool soft_expire(void);
void soft_set_expiry(struct soft_object *obj, uint32_t seconds);

/* soft.c: the lock is held; what of a segment is mapped now, or 0 */
uint32_t soft_shown_rights(uint32_t seg);
/* does the process see the VAS of this handle */
bool soft_is_shown(int vh);
/* what may be done at an address of the window now, or 0 */
uint32_t soft_rights_at(uint64_t addr);
/* pages of a segment have other rights now: here at once */
void soft_range_changed(const struct soft_object *seg, uint64_t offset,
			uint64_t length);

/* soft_page.c: the lock is held */
int soft_page_call(unsigned long request, void *arg);
/* Let a mapped range have the rights that its pages have. */
void soft_page_apply(const struct soft_object *seg, uint32_t rights,
		     uint64_t offset, uint64_t length);
/* May the page be accessed?  0, -EACCES, or -ENXIO: there is none */
bool soft_page_hides(const struct soft_object *seg);
int soft_page_allows(const struct soft_object *seg, uint64_t offset, bool write);

/* soft_clone.c: the lock is held */
int soft_clone_call(unsigned long request, void *arg);

/* soft_lock.c: the lock is not held, but for soft_lock_reset() and _state() */
int soft_lock_call(unsigned long request, void *arg);
int soft_lock_reset(struct soft_object *seg);
/* As the next holder would find the lock if its holder died now. */
uint32_t soft_lock_state(struct soft_object *seg);
int soft_map_lock(int vh, struct seglock *lock);
void soft_unmap_lock(struct seglock *lock);
int soft_lock_thread(uint32_t *number);
int soft_map_array(size_t bytes, void **array);

/* soft_wait.c: the lock is not held */
int soft_wait_call(unsigned long request, struct pvvas_ioc_wait *arg);
#define SOFT_WAITS_TO_WRITE	1U
#define SOFT_WAITS_TO_READ	2U
int soft_futex_wait(uint32_t *word, uint32_t expected, uint64_t deadline,
		    uint32_t kind);
int soft_futex_wake(uint32_t *word, uint32_t n, uint32_t kind);

/* soft_attach.c: the lock is held */
int soft_attach_call(unsigned long request, void *arg);
/* Has what only this process attached the place of a segment of the VAS? */
bool soft_hidden(const struct soft_att *att, const struct soft_object *seg);
/* Do they share a block? */
bool soft_overlap(const struct soft_object *seg, uint64_t base,
		  uint64_t length);
int soft_link(uint32_t vas, uint32_t seg, uint32_t prot);

#endif /* PVVAS_SOFT_H */
