/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A key-value store, and the ways to it: in a VAS, behind a UNIX socket, and
 * redis.
 */
#ifndef KV_H
#define KV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KV_KEY		16	/* bytes of a key, with its NUL */

struct kv_entry {
	struct kv_entry *next;
	uint64_t hash;
	uint64_t sequence;	/* odd: a writer is in */
	size_t length, room;
	char *value;
	char key[KV_KEY];
};

struct kv_store {
	uint64_t mask;
	struct kv_entry **buckets;
	char *free;
};

/* kv_store.c: the same code wherever the store lies */
struct kv_store *kv_make(void *memory, unsigned int keys, size_t room);
size_t kv_bytes(unsigned int keys, size_t room);
ssize_t kv_get(const struct kv_store *s, const char *key, char *value,
	       size_t room);
int kv_set(struct kv_store *s, const char *key, const char *value,
	   size_t length);

/* What a client has, whatever is behind it. */
struct kv_way {
	const char *name;
	unsigned int rounds;	/* requests that are worth a batch */
	/* once, before there are clients */
	void (*open)(unsigned int clients, unsigned int keys, size_t room);
	/* in each client */
	void (*join)(unsigned int client);
	ssize_t (*get)(const char *key, char *value, size_t room);
	int (*set)(const char *key, const char *value, size_t length);
	void (*leave)(void);	/* in each client */
	void (*close)(void);
};

/* kv_vas.c, kv_socket.c, kv_redis.c */
extern const struct kv_way kv_vas, kv_vas_locked, kv_socket, kv_redis;

void kv_read(int fd, void *to, size_t length);
void kv_write(int fd, const void *from, size_t length);
void kv_key(char *key, unsigned int nr);
/* redis-benchmark's own requests, for the table */
void kv_redis_benchmarks(void);

#endif /* KV_H */
