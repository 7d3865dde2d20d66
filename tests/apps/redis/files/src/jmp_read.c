// SPDX-License-Identifier: BSD-3-Clause
/*
 * Reading Redis's structures without writing to them: no step of rehashing, no
 * access time, nothing that expires, nothing that is decompressed in place.
 */
#include "jmp_read.h"

#include "lzf.h"

dictEntry *jmpFind(const dict *d, const char *key, size_t len)
{
	uint64_t h = keyspaceHash(key, len);

	for (int t = 0; t < 2 && d->ht_table[t]; t++) {
		const dictEntry *de;

		de = d->ht_table[t][h & DICTHT_SIZE_MASK(d->ht_size_exp[t])];
		for (; de; de = de->next)
			if (sdslen(de->key) == len &&
			    !memcmp(de->key, key, len))
				return (dictEntry *)de;
	}
	return NULL;
}

static mstime_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

robj *jmpKey(const redisDb *db, const char *key, size_t len)
{
	dictEntry *de = jmpFind(db->dict, key, len), *limit;

	if (!de)
		return NULL;
	if (dictSize(db->expires)) {
		limit = jmpFind(db->expires, key, len);
		if (limit && limit->v.s64 < now())
			return NULL;
	}
	return de->v.val;
}

const char *jmpString(const robj *o, char number[32], size_t *len)
{
	if (o->encoding != OBJ_ENCODING_INT) {
		*len = sdslen(o->ptr);
		return o->ptr;
	}
	*len = ll2string(number, 32, (long)o->ptr);
	return number;
}

const char *jmpField(const robj *o, const char *field, size_t len,
		      char number[32], size_t *size)
{
	unsigned char *lp = o->ptr, *p;
	dictEntry *de;
	int64_t n;

	if (o->encoding == OBJ_ENCODING_HT) {
		de = jmpFind(o->ptr, field, len);
		if (!de)
			return NULL;
		*size = sdslen(de->v.val);
		return de->v.val;
	}
	p = lpFirst(lp);
	if (p)
		p = lpFind(lp, p, (unsigned char *)field, len, 1);
	if (!p)
		return NULL;
	p = lpGet(lpNext(lp, p), &n, (unsigned char *)number);
	*size = (size_t)n;
	return (char *)p;
}

/* The listpack of a node; *copy is to be freed. */
static unsigned char *listpackOf(const quicklistNode *node, void **copy)
{
	const quicklistLZF *z = (const void *)node->entry;

	*copy = NULL;
	if (node->encoding != QUICKLIST_NODE_ENCODING_LZF)
		return node->entry;
	*copy = zmalloc(node->sz);
	if (!lzf_decompress(z->compressed, z->sz, *copy, node->sz)) {
		zfree(*copy);
		*copy = NULL;
		return NULL;
	}
	return *copy;
}

long jmpList(const robj *o, long start, long stop,
	      void (*each)(void *arg, const char *item, size_t n), void *arg)
{
	const quicklist *ql = o->ptr;
	const quicklistNode *node;
	long at = 0, done = 0, count = (long)ql->count;

	start = start < 0 ? start + count : start;
	stop = stop < 0 ? stop + count : stop;
	start = start < 0 ? 0 : start;
	for (node = ql->head; node && at <= stop; node = node->next) {
		unsigned char *lp, *p, number[32];
		void *copy;

		if (at + (long)node->count <= start) {
			at += node->count;
			continue;
		}
		lp = listpackOf(node, &copy);
		if (!lp)
			return -EIO;
		if (node->container == QUICKLIST_NODE_CONTAINER_PLAIN) {
			each(arg, (char *)lp, node->sz);
			done++;
			at++;
			zfree(copy);
			continue;
		}
		for (p = lpFirst(lp); p && at <= stop; p = lpNext(lp, p)) {
			int64_t n;
			unsigned char *item;

			if (at++ < start)
				continue;
			item = lpGet(p, &n, number);
			each(arg, (char *)item, (size_t)n);
			done++;
		}
		zfree(copy);
	}
	return done;
}
