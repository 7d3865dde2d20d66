/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keyspace in a virtual address space (redis-server --vas NAME).
 *
 * All that keys lead to lies in one lockable segment, at the same addresses in
 * every process.  Two VASes show it: NAME, writable, and NAME.read.  Who
 * switches into the first has the segment's lock exclusively, into the second
 * shared.  README.md of the port says what this rests on.
 */
#ifndef KEYSPACE_H
#define KEYSPACE_H

#include "server.h"

#define KEYSPACE_MAGIC		"redis keyspace 1"
#define KEYSPACE_READ		".read"

/* Numbers of dict types in the segment, see dictShareType() */
enum {
	KEYSPACE_DB = 1, KEYSPACE_EXPIRES, KEYSPACE_SET, KEYSPACE_ZSET,
	KEYSPACE_HASH
};

enum { KEYSPACE_IDLE, KEYSPACE_SWAPS, KEYSPACE_CHANGES };

/*
 * What the heap's root leads to.  All but the last part is written only by who
 * has the lock exclusively.
 * @moving: what a rehash has in its hands
 * @busy: what a command does at the moment: KEYSPACE_SWAPS, replace or remove
 *	values as a whole; KEYSPACE_CHANGES, change some where they are
 * @db_busy, @argc, @argv: of this command
 * @outside: how often another process than the server has written
 * @used: bytes of the server and in the segment, while it is not in the VAS
 * @most: of these before a SET answers ENOMEM; a heap that is full would end
 *	whoever changes the keyspace
 * @refuse: others may not write: there is an AOF, or a replica
 */
typedef struct keyspaceRoot {
	char magic[16];
	char version[16];
	uint32_t size;
	uint32_t dbsize;
	uint32_t dbnum;
	uint32_t refuse;
	uint8_t seed[16];
	redisDb *db;
	dictMove moving;
	int busy;
	int argc;
	struct redisObject **argv;
	uint64_t outside;
	uint64_t used;
	uint64_t most;
	uint64_t repairs;
	uint32_t lruclock;
	pid_t server;
	uint64_t server_start;
} keyspaceRoot;

/* The server; each does nothing without --vas. */
void keyspaceOpen(void);
redisDb *keyspaceDatabases(void);
void keyspaceReady(void);
int keyspaceFound(void);
void keyspaceArena(int on);
void keyspaceEnter(void);
void keyspaceLeave(void);
void keyspaceBegin(client *c);
void keyspaceEnd(void);
int keyspaceBeforeFork(void);
void keyspaceAfterFork(void);
void keyspaceInChild(void);

/* Server and redis-jmp */
uint64_t keyspaceHash(const void *key, size_t len);
void keyspaceUse(keyspaceRoot *root, int sid, void *base, size_t size);
/* 0, or what of the root is not as this program needs it */
const char *keyspaceMismatch(const keyspaceRoot *root);
/* After -EOWNERDEAD, in the VAS: keys that were removed. */
long keyspaceRepair(keyspaceRoot *root, int sid);

#endif
