/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading Redis's structures without writing to them: jmp_read.c */
#ifndef JMP_READ_H
#define JMP_READ_H

#include "keyspace.h"

/* dictFind() without a step of rehashing, for keys that are sds */
struct dictEntry *jmpFind(const struct dict *d, const char *key, size_t len);
/* The value of a key that has not expired, or NULL */
robj *jmpKey(const redisDb *db, const char *key, size_t len);
/* The bytes of a string; @number is room for one that is an integer */
const char *jmpString(const robj *o, char number[32], size_t *len);
/* A field of a hash; NULL: it is not there */
const char *jmpField(const robj *o, const char *field, size_t len,
		      char number[32], size_t *size);
/* Items of a list, as LRANGE; how many, or -errno */
long jmpList(const robj *o, long start, long stop,
	      void (*each)(void *arg, const char *item, size_t n), void *arg);

#endif
