/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the calls of libpvvas promise, in the plainest form: lists of objects,
 * links and attachments, and an array of pages for each memory.
 *
 * A function answers what the call of that name must answer: 0 or -errno.  Where
 * a call gives a new number, the function with _made takes it.
 */
#ifndef DIFFERENTIAL_MODEL_H
#define DIFFERENTIAL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <pvvas.h>

#define PAGE		4096UL
#define BLOCK		(2UL << 20)
#define M_VASES		10
#define M_SEGS		24
#define M_LINKS		64
#define M_ATTS		10
#define M_PAGES		1040	/* of a segment, at most */

struct m_page {
	bool there;
	bool clean;	/* told of, or read only since the first telling */
	uint64_t value;	/* the first word */
	uint64_t told;	/* its value when it was told of */
};

struct m_memory {
	int refs;
	bool tracking;
	bool pager;
	bool small;	/* a touch brings one page */
	size_t pages;	/* of its first face, or what that had */
	struct m_page page[M_PAGES];
};

struct m_object {
	int id;		/* 0: none here */
	bool held;	/* by a name, or by this process */
	bool named;
	char name[VAS_NAME_MAX + 1];
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint32_t expiry;	/* so long that nothing expires here */
};

struct m_seg {
	struct m_object obj;
	uintptr_t base;
	size_t pages;
	struct m_memory *memory;
	bool first;	/* face of the memory */
	unsigned char rights[M_PAGES];
};

struct m_link {
	int target;	/* 0: none here; a VAS or a handle */
	int sid;
	int prot;
};

struct m_att {
	int handle;	/* 0: none here */
	int vid;
	int rights;
};

struct model {
	bool soft;
	uintptr_t end;	/* of the window */
	struct m_object vas[M_VASES];
	struct m_seg seg[M_SEGS];
	struct m_link link[M_LINKS];
	struct m_att att[M_ATTS];
	int current;
};

struct m_object *m_vas(struct model *m, int vid);
struct m_seg *m_seg(struct model *m, int sid);
struct m_att *m_att(struct model *m, int handle);
int m_count(const struct model *m, char what);	/* v, s, l or a */
int m_users_of_vas(const struct model *m, int vid);
int m_users_of_seg(const struct model *m, int sid);
size_t m_resident(const struct m_seg *s);
int m_mode(const struct m_object *obj);
int m_rights(const struct m_object *obj);

int m_name(const char *name);
int m_vas_create(struct model *m, const char *name, mode_t mode);
void m_vas_made(struct model *m, int vid, const char *name, mode_t mode);
int m_find(struct model *m, bool seg, const char *name, int *id);
int m_publish(struct model *m, bool seg, int id, const char *name);
int m_delete(struct model *m, bool seg, int id);
int m_vas_attach(struct model *m, int vid);
void m_vas_attached(struct model *m, int vid, int handle);
int m_vas_detach(struct model *m, int handle);
int m_vas_clone(struct model *m, int vid, const char *name, mode_t mode);

int m_seg_alloc(struct model *m, const char *name, uintptr_t base, size_t size,
		mode_t mode);
void m_seg_made(struct model *m, int sid, const char *name, uintptr_t base,
		size_t size, mode_t mode, uint32_t flags);
/* Has what this process attached to the handle the place of a public link? */
bool m_hidden(struct model *m, const struct m_att *a, const struct m_link *l);
void m_link(struct model *m, int target, int sid, int prot);
int m_seg_attach(struct model *m, int target, int sid, int prot);
int m_seg_detach(struct model *m, int target, int sid);
int m_seg_clone(struct model *m, int sid, const char *name, mode_t mode);
void m_seg_cloned(struct model *m, int from, int sid, const char *name,
		  mode_t mode);
int m_seg_map2(struct model *m, int sid, uintptr_t base);
void m_seg_mapped2(struct model *m, int from, int sid, uintptr_t base);
int m_setattr(struct model *m, bool seg, int id, unsigned int valid, mode_t mode,
	      uid_t uid, gid_t gid, uint32_t expiry);

int m_switch(struct model *m, int handle);
/* The page that this address shows now, with the rights to it; or NULL. */
struct m_page *m_shown(struct model *m, uintptr_t addr, int *rights);
/* Is an access allowed?  Then the page is there. */
bool m_access(struct model *m, uintptr_t addr, bool write);

/* The range is one of the segment that the caller may change. */
int m_range(struct model *m, int sid, uintptr_t addr, size_t length);
int m_protect(struct model *m, int sid, uintptr_t addr, size_t length, int prot);
/* Pages told of, at most @max; their addresses in @told. */
int m_dirty(struct model *m, int sid, uintptr_t addr, size_t length,
	    uintptr_t *told, int max);
int m_populate(struct model *m, int sid, uintptr_t addr, size_t length);
/* Pages filled: each with @value plus its number. */
int m_fill(struct model *m, int sid, uintptr_t addr, size_t length,
	   uint64_t value);
int m_discard(struct model *m, int sid, uintptr_t addr, size_t length);
int m_move(struct model *m, int from, uintptr_t src, int to, uintptr_t dst,
	   size_t length);
int m_pager(struct model *m, int sid, bool on);
int m_resize(struct model *m, int sid, size_t size);

#endif /* DIFFERENTIAL_MODEL_H */
