// SPDX-License-Identifier: BSD-3-Clause
/*
 * The server's side of a keyspace in a VAS: make or find it, be in it while
 * commands run and out of it while the server sleeps, give children of fork a
 * snapshot.
 */
#include "keyspace.h"

#include <pvvas.h>

#include <sys/mman.h>

uint64_t siphash(const uint8_t *in, const size_t inlen, const uint8_t *k);

static keyspaceRoot *root;
static int vid, vh, sid, found;
static uint64_t outside_seen, used_seen;
static uint8_t *seed;
static int snapshot, snapshot_ready[2];

uint64_t keyspaceHash(const void *key, size_t len)
{
	return siphash(key, len, seed ? seed : dictGetHashFunctionSeed());
}

static void fail(const char *what, int err)
{
	serverLog(LL_WARNING, "VAS %s: %s: %s", server.vas_name, what,
		  strerror(-err));
	exit(1);
}

static int must(const char *what, int ret)
{
	if (ret < 0)
		fail(what, ret);
	return ret;
}

/* When a process was started, in clock ticks since the boot; 0: there is none. */
static uint64_t startOf(pid_t pid)
{
	unsigned long long start = 0;
	char path[64], text[1024], *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	p = strrchr(text, ')');
	if (p)
		sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		       &start);
	return start;
}

/* Seed, arena and dict types, in whichever process. */
void keyspaceUse(keyspaceRoot *r, int segment, void *base, size_t size)
{
	static uint8_t copy[16];

	memcpy(copy, r->seed, sizeof(copy));
	seed = copy;
	dictMoving = &r->moving;
	dictShareType(KEYSPACE_DB, &dbDictType);
	dictShareType(KEYSPACE_EXPIRES, &dbExpiresDictType);
	dictShareType(KEYSPACE_SET, &setDictType);
	dictShareType(KEYSPACE_ZSET, &zsetDictType);
	dictShareType(KEYSPACE_HASH, &hashDictType);
	zmalloc_set_arena(segment, base, size);
}

const char *keyspaceMismatch(const keyspaceRoot *r)
{
	if (memcmp(r->magic, KEYSPACE_MAGIC, sizeof(r->magic)))
		return "there is no keyspace in it";
	if (r->size != sizeof(*r) || r->dbsize != sizeof(redisDb) ||
	    strncmp(r->version, REDIS_VERSION, sizeof(r->version)))
		return "its keyspace is of another version";
	return NULL;
}

/* Names come last, so that nobody finds less than all of it. */
static void create(const char *reading)
{
	int reader = vas_find(reading);
	void **place, *base;
	size_t size;

	/* of a server that died here, or of a VAS that was deleted alone */
	if (reader > 0)
		vas_delete(reader);
	vid = must("vas_create", vas_create(NULL, server.vas_perm));
	sid = must("seg_alloc", seg_alloc(NULL, NULL, server.vas_size,
					  server.vas_perm));
	must("seg_ctl", seg_ctl(sid, SEG_CTL_LOCK_ON));
	must("seg_attach", seg_attach(vid, sid));
	reader = must("vas_create", vas_create(NULL, server.vas_perm));
	must("seg_attach_prot", seg_attach_prot(reader, sid, PROT_READ));
	vh = must("vas_attach", vas_attach(vid));
	must("vas_switch", vas_switch(vh));

	place = seg_root(sid);
	root = seg_calloc(sid, 1, sizeof(*root));
	if (!place || !root)
		fail("heap", -errno);
	memcpy(root->magic, KEYSPACE_MAGIC, sizeof(root->magic));
	strncpy(root->version, REDIS_VERSION, sizeof(root->version) - 1);
	root->size = sizeof(*root);
	root->dbsize = sizeof(redisDb);
	root->dbnum = server.dbnum;
	memcpy(root->seed, dictGetHashFunctionSeed(), sizeof(root->seed));
	*place = root;
	must("seg_range", seg_range(sid, &base, &size));
	keyspaceUse(root, sid, base, size);
	must("vas_publish", vas_publish(reader, reading));
	must("vas_publish", vas_publish(vid, server.vas_name));
}

static void repair(void)
{
	long lost = keyspaceRepair(root, sid);

	serverLog(LL_WARNING, "VAS %s: a process died while it changed the keyspace: %ld key(s) that it was changing removed",
		  server.vas_name, lost);
	must("seg_ctl", seg_ctl(sid, SEG_CTL_CONSISTENT));
}

static void find(void)
{
	struct seg_heap_stat st = { .size = sizeof(st) };
	const char *why;
	int64_t garbage;
	void **place, *base;
	size_t size;
	int err;

	sid = must("vas_next_seg", vas_next_seg(vid, 0, NULL));
	vh = must("vas_attach", vas_attach(vid));
	err = vas_switch(vh);
	if (err && err != -EOWNERDEAD)
		fail("vas_switch", err);
	place = seg_root(sid);
	if (!place)
		fail("seg_root", -errno);
	root = *place;
	why = root ? keyspaceMismatch(root) : "it is empty";
	if (!why && root->dbnum != (uint32_t)server.dbnum)
		why = "its keyspace has another number of databases";
	if (!why && root->server != getpid() && root->server_start &&
	    startOf(root->server) == root->server_start)
		why = "another server is in it";
	if (why) {
		serverLog(LL_WARNING, "VAS %s: %s", server.vas_name, why);
		exit(1);
	}
	must("seg_range", seg_range(sid, &base, &size));
	server.vas_size = size;
	keyspaceUse(root, sid, base, size);
	if (err)
		repair();
	/* what only the last server knew: clients, replies, its own tables */
	for (uint32_t j = 0; j < root->dbnum; j++) {
		redisDb *db = &root->db[j];

		db->blocking_keys = db->ready_keys = db->watched_keys = NULL;
		db->defrag_later = NULL;
		db->slots_to_keys = NULL;
		db->dict->pauserehash = db->expires->pauserehash = 0;
	}
	root->argc = 0;
	root->argv = NULL;
	garbage = seg_heap_collect(sid, 0, NULL, NULL);
	must("seg_heap_stat", seg_heap_stat(sid, &st));
	zmalloc_add_used(st.used);
	found = 1;
	serverLog(LL_NOTICE, "VAS %s: the keyspace is there, %llu bytes; %lld bytes of an earlier server freed",
		  server.vas_name, (unsigned long long)st.used,
		  (long long)garbage);
}

/* Options that need threads or code of others to see the keyspace. */
static const char *unfit(void)
{
	if (server.cluster_enabled)
		return "cluster-enabled";
	if (server.io_threads_num > 1)
		return "io-threads";
	if (listLength(server.loadmodule_queue))
		return "loadmodule";
	if (server.sentinel_mode)
		return "sentinel";
	return NULL;
}

/* A process that ends in the VAS has died in it, for who comes next. */
static void leaveAtExit(void)
{
	if (root->busy != KEYSPACE_IDLE)
		return;
	root->server = 0;
	root->server_start = 0;
	root->used = zmalloc_used_memory();
	vas_switch(VAS_HOME);
}

void keyspaceOpen(void)
{
	const char *why = unfit();
	sds reading;

	if (!server.vas_name)
		return;
	if (why) {
		serverLog(LL_WARNING, "vas cannot be used with %s", why);
		exit(1);
	}
	reading = sdscat(sdsnew(server.vas_name), KEYSPACE_READ);
	vid = vas_find(server.vas_name);
	if (vid == -ENOENT)
		create(reading);
	else if (must("vas_find", vid))
		find();
	sdsfree(reading);
	root->server = getpid();
	root->server_start = startOf(root->server);
	outside_seen = root->outside;
	root->most = server.vas_size / 8 * 7;
	if (!server.maxmemory || server.maxmemory > root->most)
		server.maxmemory = root->most;
	atexit(leaveAtExit);
	zmalloc_use_arena(1);
}

/* Those of the keyspace, or new ones, all zero. */
redisDb *keyspaceDatabases(void)
{
	if (root && root->db)
		return root->db;
	return zcalloc(sizeof(redisDb) * server.dbnum);
}

void keyspaceReady(void)
{
	if (root)
		root->db = server.db;
}

int keyspaceFound(void)
{
	return found;
}

void keyspaceArena(int on)
{
	if (root)
		zmalloc_use_arena(on);
}

/* Another process has written: whoever watches any key is told that it did. */
static void noteOutside(void)
{
	listIter li;
	listNode *ln;

	/* may be less than before: it wraps, and so does the sum */
	zmalloc_add_used(root->used - used_seen);
	server.dirty += root->outside - outside_seen;
	outside_seen = root->outside;
	listRewind(server.clients, &li);
	while ((ln = listNext(&li))) {
		client *c = listNodeValue(ln);

		if (listLength(c->watched_keys))
			c->flags |= CLIENT_DIRTY_CAS;
	}
	if (server.tracking_clients)
		trackingInvalidateKeysOnFlush(0);
}

void keyspaceEnter(void)
{
	int err;

	if (!root)
		return;
	err = vas_switch(vh);
	if (err == -EOWNERDEAD)
		repair();
	else if (err)
		fail("vas_switch", err);
	zmalloc_use_arena(1);
	if (root->outside != outside_seen)
		noteOutside();
}

void keyspaceLeave(void)
{
	if (!root)
		return;
	root->lruclock = server.lruclock;
	root->used = used_seen = zmalloc_used_memory();
	root->refuse = server.aof_state != AOF_OFF ||
		listLength(server.slaves) || server.masterhost;
	zmalloc_use_arena(0);
	vas_switch(VAS_HOME);
}

static int swaps(struct redisCommand *cmd)
{
	static redisCommandProc * const procs[] = {
		setCommand, setnxCommand, setexCommand, psetexCommand,
		getsetCommand, msetCommand, msetnxCommand, delCommand,
		unlinkCommand, getdelCommand, expireCommand, pexpireCommand,
		expireatCommand, pexpireatCommand, persistCommand,
		renameCommand, renamenxCommand, copyCommand, flushdbCommand,
		flushallCommand, restoreCommand,
	};

	for (size_t j = 0; j < sizeof(procs) / sizeof(procs[0]); j++)
		if (cmd->proc == procs[j])
			return 1;
	return 0;
}

void keyspaceBegin(client *c)
{
	if (!root || !(c->cmd->flags & CMD_WRITE))
		return;
	root->argv = c->argv;
	root->argc = c->argc;
	dictBarrier();
	root->busy = swaps(c->cmd) ? KEYSPACE_SWAPS : KEYSPACE_CHANGES;
	dictBarrier();
}

void keyspaceEnd(void)
{
	if (!root)
		return;
	dictBarrier();
	root->busy = KEYSPACE_IDLE;
	root->argc = 0;
}

/*
 * A child of fork is in no VAS, and what it saves shall be the keyspace of this
 * moment: it gets a clone.
 */
int keyspaceBeforeFork(void)
{
	if (!root)
		return C_OK;
	if (pipe(snapshot_ready) < 0)
		return C_ERR;
	snapshot = vas_clone(vid);
	if (snapshot < 0) {
		serverLog(LL_WARNING, "VAS %s: cannot be cloned: %s",
			  server.vas_name, strerror(-snapshot));
		close(snapshot_ready[0]);
		close(snapshot_ready[1]);
		errno = -snapshot;
		return C_ERR;
	}
	return C_OK;
}

void keyspaceInChild(void)
{
	int err, seg;
	size_t size;
	void *base;

	if (!root)
		return;
	close(snapshot_ready[0]);
	seg = vas_next_seg(snapshot, 0, NULL);
	err = seg < 0 ? seg : seg_range(seg, &base, &size);
	if (!err)
		err = vas_attach(snapshot);
	if (err > 0)
		err = vas_switch(err);
	if (err)
		_exit(1);
	zmalloc_set_arena(seg, base, size);
	zmalloc_use_arena(1);
	if (write(snapshot_ready[1], "", 1) != 1)
		_exit(1);
	close(snapshot_ready[1]);
}

/* The clone lives as long as it is attached. */
void keyspaceAfterFork(void)
{
	char c;

	if (!root)
		return;
	close(snapshot_ready[1]);
	while (read(snapshot_ready[0], &c, 1) < 0 && errno == EINTR)
		;
	close(snapshot_ready[0]);
	vas_delete(snapshot);
}
