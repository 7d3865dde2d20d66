// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a process has left that died with the keyspace's lock.
 *
 * The heap repairs itself.  Keys are put into new tables from what the old ones
 * lead to: both of them, if they were being rehashed, and the entry that was on
 * its way.  A command that replaces values as a whole leaves the old one or the
 * new one.  What a command was changing where it is may be half of it: the keys
 * that the command names are removed.
 */
#include "keyspace.h"

#include <pvvas.h>

/* Bounds for what memory says */
#define MOST_EXP	40

static int block(int sid, const void *p, size_t size)
{
	return p && seg_usable_size(sid, p) >= size;
}

/* A string in a block of its own. */
static int goodSds(int sid, sds s)
{
	size_t whole;
	void *start;

	if (!zmalloc_in_arena(s) || !zmalloc_in_arena(s - 18))
		return 0;
	start = sdsAllocPtr(s);
	whole = seg_usable_size(sid, start);
	return whole && (size_t)(s - (char *)start) + sdslen(s) + 1 <= whole;
}

/* A value that a command can have been given, or leaves, as a whole. */
static int goodValue(int sid, robj *o)
{
	if (!block(sid, o, sizeof(*o)) || o->refcount < 1)
		return 0;
	if (o->type != OBJ_STRING)
		return o->type <= OBJ_STREAM && o->type != OBJ_MODULE &&
			seg_usable_size(sid, o->ptr) > 0;
	switch (o->encoding) {
	case OBJ_ENCODING_INT:
		return 1;
	case OBJ_ENCODING_EMBSTR:
		return (char *)o->ptr == (char *)(o + 1) + sizeof(struct sdshdr8) &&
			sizeof(*o) + sizeof(struct sdshdr8) + sdslen(o->ptr) <
			seg_usable_size(sid, o);
	case OBJ_ENCODING_RAW:
		return goodSds(sid, o->ptr);
	default:
		return 0;
	}
}

/* Is it one of the arguments of the command that was at work? */
static int named(const keyspaceRoot *r, int sid, sds key)
{
	if (r->busy != KEYSPACE_CHANGES ||
	    !block(sid, r->argv, sizeof(robj *) * r->argc))
		return 0;
	for (int j = 0; j < r->argc; j++) {
		robj *o = r->argv[j];

		if (goodValue(sid, o) && sdsEncodedObject(o) &&
		    !sdscmp(o->ptr, key))
			return 1;
	}
	return 0;
}

typedef struct survey {
	const keyspaceRoot *root;
	int sid;
	dict *keys;	/* of the main dict, by address; outside of the segment */
	dict *entries;	/* seen already */
	dict *fresh;
	long lost;
	int expires;
} survey;

static uint64_t addressHash(const void *key)
{
	return dictGenHashFunction(&key, sizeof(key));
}

static dictType addressDictType = { .hashFunction = addressHash };

static int keeps(survey *s, dictEntry *de)
{
	if (!goodSds(s->sid, de->key))
		return 0;
	if (s->expires)
		return dictFind(s->keys, de->key) && de->v.s64;
	return goodValue(s->sid, de->v.val) && !named(s->root, s->sid, de->key);
}

/* The entry's own memory, key and value are taken over. */
static void take(survey *s, dictEntry *de)
{
	int arena = zmalloc_use_arena(0);

	dictAdd(s->entries, de, NULL);
	zmalloc_use_arena(1);
	if (!keeps(s, de) || dictFind(s->fresh, de->key)) {
		s->lost += !s->expires;
	} else {
		dictEntry *mine = dictAddRaw(s->fresh, de->key, NULL);

		mine->v = de->v;
		zmalloc_use_arena(0);
		if (!s->expires)
			dictAdd(s->keys, de->key, NULL);
	}
	zmalloc_use_arena(arena);
}

static void follow(survey *s, dictEntry *de)
{
	while (block(s->sid, de, sizeof(*de)) && !dictFind(s->entries, de)) {
		dictEntry *next = de->next;

		take(s, de);
		de = next;
	}
}

static void rebuild(survey *s, dict **d, dictType *type)
{
	int arena = zmalloc_use_arena(1);
	dict *old = *d;

	s->fresh = dictCreate(type);
	zmalloc_use_arena(0);
	s->entries = dictCreate(&addressDictType);
	for (int t = 0; t < 2 && block(s->sid, old, sizeof(*old)); t++) {
		int exp = old->ht_size_exp[t];

		if (exp < 0 || exp > MOST_EXP ||
		    !block(s->sid, old->ht_table[t], sizeof(void *) << exp))
			continue;
		for (unsigned long i = 0; i < 1UL << exp; i++)
			follow(s, old->ht_table[t][i]);
	}
	zmalloc_use_arena(arena);
	*d = s->fresh;
}

/* Of the keyspace itself, or of a hash, a set or a sorted set. */
static void finishMove(const keyspaceRoot *r, int sid)
{
	dict *d = r->moving.d;
	dictEntry *de = r->moving.entry;

	if (block(sid, d, sizeof(*d)) && (!de || block(sid, de, sizeof(*de))))
		dictFinishMove(d, de);
}

long keyspaceRepair(keyspaceRoot *r, int sid)
{
	survey s = { .root = r, .sid = sid };

	finishMove(r, sid);
	for (uint32_t j = 0; j < r->dbnum && r->db; j++) {
		redisDb *db = &r->db[j];

		s.keys = dictCreate(&addressDictType);
		s.expires = 0;
		rebuild(&s, &db->dict, &dbDictType);
		dictRelease(s.entries);
		s.expires = 1;
		rebuild(&s, &db->expires, &dbExpiresDictType);
		dictRelease(s.entries);
		dictRelease(s.keys);
	}
	r->moving.d = NULL;
	r->busy = KEYSPACE_IDLE;
	r->argc = 0;
	r->repairs++;
	return s.lost;
}
