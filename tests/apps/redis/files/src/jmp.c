// SPDX-License-Identifier: BSD-3-Clause
/* redis-jmp, the library: see jmp.h. */
#include "jmp_read.h"
#include "jmp.h"

#include <pvvas.h>

struct jmp {
	int vh, sid, mode;
	unsigned int dbnum, nr;
	size_t used;	/* by this process, before a change */
	keyspaceRoot *root;
	redisDb *db;
};

/* Into the VAS; who may write repairs what the dead have left. */
static int enter(struct jmp *j)
{
	int err = vas_switch(j->vh);

	if (__builtin_expect(!err, 1))
		return 0;
	if (err != -EOWNERDEAD)
		return err;
	if (j->mode == JMP_WRITE) {
		keyspaceRepair(j->root, j->sid);
		return seg_ctl(j->sid, SEG_CTL_CONSISTENT);
	}
	vas_switch(VAS_HOME);
	return err;
}

static inline int leave(int result)
{
	vas_switch(VAS_HOME);
	return result;
}

static int attach(struct jmp *j, const char *name)
{
	char full[VAS_NAME_MAX + 1];
	int vid;

	if (snprintf(full, sizeof(full), "%s%s", name, j->mode == JMP_WRITE ?
		     "" : KEYSPACE_READ) >= (int)sizeof(full))
		return -EINVAL;
	vid = vas_find(full);
	if (vid < 0)
		return vid;
	j->sid = vas_next_seg(vid, 0, NULL);
	if (j->sid < 0)
		return j->sid;
	j->vh = vas_attach(vid);
	return j->vh < 0 ? j->vh : 0;
}

static int findRoot(struct jmp *j)
{
	size_t size;
	void *base;
	int err = seg_range(j->sid, &base, &size);

	if (err)
		return err;
	err = vas_switch(j->vh);
	if (err && err != -EOWNERDEAD)
		return err;
	if (seg_root_get(j->sid, (void **)&j->root) || !j->root ||
	    keyspaceMismatch(j->root))
		return leave(-EPROTO);
	keyspaceUse(j->root, j->sid, base, size);
	j->dbnum = j->root->dbnum;
	j->db = j->root->db;
	if (err && j->mode == JMP_WRITE) {
		keyspaceRepair(j->root, j->sid);
		err = seg_ctl(j->sid, SEG_CTL_CONSISTENT);
	}
	return leave(err == -EOWNERDEAD ? 0 : err);
}

struct jmp *jmp_open(const char *name, int mode, int *err)
{
	struct jmp *j = zcalloc(sizeof(*j));

	j->mode = mode;
	server.hz = CONFIG_DEFAULT_HZ;
	*err = attach(j, name);
	if (!*err)
		*err = findRoot(j);
	if (!*err)
		return j;
	jmp_close(j);
	return NULL;
}

void jmp_close(struct jmp *j)
{
	if (j && j->vh > 0)
		vas_detach(j->vh);
	zfree(j);
}

int jmp_select(struct jmp *j, unsigned int db)
{
	if (db >= j->dbnum)
		return -ERANGE;
	j->nr = db;
	return 0;
}

static ssize_t copy(const robj *o, char *to, size_t room)
{
	char number[32];
	const char *s;
	size_t len;

	if (!o)
		return -ENOENT;
	if (o->type != OBJ_STRING)
		return -EMEDIUMTYPE;
	s = jmpString(o, number, &len);
	memcpy(to, s, len < room ? len : room);
	return (ssize_t)len;
}

ssize_t jmp_get(struct jmp *j, const char *key, size_t len, char *to,
		size_t room)
{
	ssize_t n = enter(j);

	if (n)
		return n;
	n = copy(jmpKey(&j->db[j->nr], key, len), to, room);
	vas_switch(VAS_HOME);
	return n;
}

int jmp_mget(struct jmp *j, struct jmp_value *values, unsigned int n)
{
	int err = enter(j);

	if (err)
		return err;
	for (; n--; values++)
		values->len = copy(jmpKey(&j->db[j->nr], values->key,
					   values->key_len), values->to,
				   values->room);
	return leave(0);
}

int jmp_exists(struct jmp *j, const char *key, size_t len)
{
	int err = enter(j);

	return err ? err : leave(!!jmpKey(&j->db[j->nr], key, len));
}

ssize_t jmp_strlen(struct jmp *j, const char *key, size_t len)
{
	ssize_t n = jmp_get(j, key, len, NULL, 0);

	return n == -ENOENT ? 0 : n;
}

ssize_t jmp_hget(struct jmp *j, const char *key, size_t len, const char *field,
		 size_t field_len, char *to, size_t room)
{
	char number[32];
	const char *s;
	size_t size;
	robj *o;
	ssize_t n = enter(j);

	if (n)
		return n;
	o = jmpKey(&j->db[j->nr], key, len);
	if (!o) {
		n = -ENOENT;
	} else if (o->type != OBJ_HASH) {
		n = -EMEDIUMTYPE;
	} else {
		s = jmpField(o, field, field_len, number, &size);
		n = s ? (ssize_t)size : -ENOENT;
		if (s)
			memcpy(to, s, size < room ? size : room);
	}
	vas_switch(VAS_HOME);
	return n;
}

long jmp_lrange(struct jmp *j, const char *key, size_t len, long start,
		long stop, void (*each)(void *arg, const char *item, size_t n),
		void *arg)
{
	long n = enter(j);
	robj *o;

	if (n)
		return n;
	o = jmpKey(&j->db[j->nr], key, len);
	if (!o)
		n = 0;
	else if (o->type != OBJ_LIST)
		n = -EMEDIUMTYPE;
	else
		n = jmpList(o, start, stop, each, arg);
	vas_switch(VAS_HOME);
	return n;
}

/* Alone in the keyspace, with what is allocated in it. */
static int enterToWrite(struct jmp *j, size_t need)
{
	int err = j->mode == JMP_WRITE ? enter(j) : -EACCES;

	if (err)
		return err;
	if (j->root->refuse)
		return leave(-EROFS);
	if (need && (need > j->root->most ||
		     j->root->used > j->root->most - need))
		return leave(-ENOMEM);
	j->used = zmalloc_used_memory();
	server.lruclock = j->root->lruclock;
	zmalloc_use_arena(1);
	j->root->outside++;
	j->root->busy = KEYSPACE_SWAPS;
	dictBarrier();
	return 0;
}

static int leaveWritten(struct jmp *j, int result)
{
	dictBarrier();
	j->root->used += zmalloc_used_memory() - j->used;
	j->root->busy = KEYSPACE_IDLE;
	zmalloc_use_arena(0);
	return leave(result);
}

/* As tryObjectEncoding(), but without the server's shared integers. */
static robj *newString(const char *value, size_t len)
{
	long n;

	if (len <= 20 && string2l(value, len, &n)) {
		robj *o = createObject(OBJ_STRING, NULL);

		o->encoding = OBJ_ENCODING_INT;
		o->ptr = (void *)n;
		return o;
	}
	return createStringObject(value, len);
}

int jmp_set(struct jmp *j, const char *key, size_t len, const char *value,
	    size_t value_len)
{
	robj *new, *old;
	dictEntry *de;
	redisDb *db;
	sds name;
	int err = enterToWrite(j, len + value_len + 1);

	if (err)
		return err;
	db = &j->db[j->nr];
	new = newString(value, value_len);
	de = jmpFind(db->dict, key, len);
	if (!de) {
		name = sdsnewlen(key, len);
		if (dictAdd(db->dict, name, new) != DICT_OK)
			err = -ENOMEM;
		return leaveWritten(j, err);
	}
	if (dictSize(db->expires))
		dictDelete(db->expires, de->key);
	old = de->v.val;
	de->v.val = new;
	dictBarrier();
	decrRefCount(old);
	return leaveWritten(j, 0);
}

int jmp_del(struct jmp *j, const char *key, size_t len)
{
	dictEntry *de;
	redisDb *db;
	int err = enterToWrite(j, 0);

	if (err)
		return err;
	db = &j->db[j->nr];
	de = jmpFind(db->dict, key, len);
	if (de) {
		if (dictSize(db->expires))
			dictDelete(db->expires, de->key);
		de = dictUnlink(db->dict, de->key);
		dictFreeUnlinkedEntry(db->dict, de);
	}
	return leaveWritten(j, !!de);
}

long jmp_repair(struct jmp *j)
{
	long lost = 0;
	int err;

	if (j->mode != JMP_WRITE)
		return -EACCES;
	err = vas_switch(j->vh);
	if (err == -EOWNERDEAD) {
		lost = keyspaceRepair(j->root, j->sid);
		err = seg_ctl(j->sid, SEG_CTL_CONSISTENT);
	} else if (err) {
		return err;
	}
	vas_switch(VAS_HOME);
	return err ? err : lost;
}
