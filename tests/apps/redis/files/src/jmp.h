/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * redis-jmp: a Redis keyspace without a server in between.
 *
 * Calls switch into the VAS of `redis-server --vas NAME`, follow Redis's own
 * structures, and switch back.  They return a length, a count or 0, or a
 * negative errno value:
 *
 * -ENOENT		there is no such key, or field; or no such VAS
 * -EMEDIUMTYPE		the key is of another type
 * -EOWNERDEAD		a process died while it changed the keyspace, and who
 *			reads cannot repair that: the server does at once when it
 *			runs, `redis-jmp NAME repair` does without it
 * -ENOTRECOVERABLE	somebody left without repairing it
 * -ENOMEM		jmp_set(): the keyspace is full
 * -EROFS		jmp_set(), jmp_del(): the server has an AOF or a replica,
 *			which would not hear of the change
 * -EPROTO		the keyspace is of another version of Redis
 *
 * A handle is for one thread at a time.
 */
#ifndef JMP_H
#define JMP_H

#include <stddef.h>
#include <sys/types.h>

#define JMP_READ	0	/* shared with other readers */
#define JMP_WRITE	1	/* alone, and with the right to change */

struct jmp;

/* Attach a keyspace; *err is 0 or the error. */
struct jmp *jmp_open(const char *name, int mode, int *err);
void jmp_close(struct jmp *j);
/* The database that the calls mean, as SELECT; 0 at first. */
int jmp_select(struct jmp *j, unsigned int db);

/*
 * GET: the length of the value, of which up to @room bytes are stored.  No NUL
 * is added.
 */
ssize_t jmp_get(struct jmp *j, const char *key, size_t len, char *to,
		size_t room);

struct jmp_value {
	const char *key;
	size_t key_len;
	char *to;
	size_t room;
	ssize_t len;	/* as jmp_get() */
};

/* MGET: of one moment; 0, or why none was read */
int jmp_mget(struct jmp *j, struct jmp_value *values, unsigned int n);
int jmp_exists(struct jmp *j, const char *key, size_t len);
ssize_t jmp_strlen(struct jmp *j, const char *key, size_t len);
ssize_t jmp_hget(struct jmp *j, const char *key, size_t len, const char *field,
		 size_t field_len, char *to, size_t room);

/* LRANGE: calls @each, in the VAS: it may copy, and must return. */
long jmp_lrange(struct jmp *j, const char *key, size_t len, long start,
		long stop, void (*each)(void *arg, const char *item, size_t n),
		void *arg);

/* SET without options: the key has no expiry then. */
int jmp_set(struct jmp *j, const char *key, size_t len, const char *value,
	    size_t value_len);
/* DEL of one key: 1, or 0 if it was not there */
int jmp_del(struct jmp *j, const char *key, size_t len);
/* Repair what a dead process has left: keys that were lost, or 0 */
long jmp_repair(struct jmp *j);

#endif
