// SPDX-License-Identifier: GPL-2.0-only
/*
 * The store: a hash table of entries, linked by pointers, in one piece of
 * memory.  Readers see a value whole or read it again.
 */
#include <sched.h>
#include <string.h>
#include <errno.h>

#include "bench.h"
#include "kv.h"

static uint64_t hash_of(const char *key)
{
	uint64_t hash = 14695981039346656037ULL;

	while (*key)
		hash = (hash ^ (unsigned char)*key++) * 1099511628211ULL;
	return hash ^ hash >> 32;
}

static size_t room_of(size_t room)
{
	return (room + 63) / 64 * 64;
}

size_t kv_bytes(unsigned int keys, size_t room)
{
	return 4096 + keys * (2 * sizeof(void *) + sizeof(struct kv_entry) +
			      room_of(room) + 64) * 2;
}

void kv_key(char *key, unsigned int nr)
{
	snprintf(key, KV_KEY, "key:%08u", nr);
}

static void *take(struct kv_store *s, size_t size)
{
	char *p = s->free;

	s->free += (size + 63) / 64 * 64;
	return p;
}

static struct kv_entry *find(const struct kv_store *s, const char *key)
{
	uint64_t hash = hash_of(key);
	struct kv_entry *e;

	for (e = s->buckets[hash & s->mask]; e; e = e->next)
		if (e->hash == hash && !strcmp(e->key, key))
			return e;
	return NULL;
}

struct kv_store *kv_make(void *memory, unsigned int keys, size_t room)
{
	struct kv_store *s = memory;
	unsigned int i;

	for (s->mask = 1; s->mask < keys; s->mask *= 2)
		;
	s->free = (char *)memory + 64;
	s->buckets = take(s, s->mask * sizeof(*s->buckets));
	memset(s->buckets, 0, s->mask * sizeof(*s->buckets));
	s->mask--;
	for (i = 0; i < keys; i++) {
		struct kv_entry *e = take(s, sizeof(*e));

		*e = (struct kv_entry){ .room = room, .length = room };
		kv_key(e->key, i);
		e->hash = hash_of(e->key);
		e->value = take(s, room);
		memset(e->value, 'v', room);
		e->next = s->buckets[e->hash & s->mask];
		s->buckets[e->hash & s->mask] = e;
	}
	bench_check((size_t)(s->free - (char *)memory) <= kv_bytes(keys, room));
	return s;
}

ssize_t kv_get(const struct kv_store *s, const char *key, char *value,
	       size_t room)
{
	struct kv_entry *e = find(s, key);
	uint64_t before;
	size_t length;

	if (!e)
		return -ENOENT;
	for (;;) {
		before = __atomic_load_n(&e->sequence, __ATOMIC_ACQUIRE);
		if (before & 1) {
			sched_yield();
			continue;
		}
		length = e->length;
		memcpy(value, e->value, length < room ? length : room);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(&e->sequence, __ATOMIC_RELAXED) == before)
			return (ssize_t)length;
	}
}

int kv_set(struct kv_store *s, const char *key, const char *value,
	   size_t length)
{
	struct kv_entry *e = find(s, key);
	uint64_t before;

	if (!e || length > e->room)
		return -ENOENT;
	for (;;) {
		before = __atomic_load_n(&e->sequence, __ATOMIC_RELAXED);
		if (!(before & 1) &&
		    __atomic_compare_exchange_n(&e->sequence, &before,
						before + 1, false,
						__ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			break;
		sched_yield();
	}
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy(e->value, value, length);
	e->length = length;
	__atomic_store_n(&e->sequence, before + 2, __ATOMIC_RELEASE);
	return 0;
}
