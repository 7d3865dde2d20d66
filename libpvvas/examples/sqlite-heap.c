// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * SQLite with its heap in a segment: a database in memory, with its tables, indexes and
 * cached schema, that stays when the process ends; the next one carries on with the
 * connection itself.  No file, no server, nothing read or parsed again.
 *
 *   sqlite-heap 'create table t(x)'
 *   sqlite-heap 'insert into t values (1), (2)'
 *   sqlite-heap 'select sum(x) from t'
 *   sqlite-heap delete
 *
 * The connection points to SQLite's own functions, and so only the program that made
 * it can use it (program.h).  Only one process at a time is in the VAS.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pvvas.h>
#include <sqlite3.h>

#include "program.h"

#define NAME	"sqlite-heap"
#define SIZE	(1UL << 30)

struct session {
	struct program program;
	sqlite3 *db;
};

static int sid;

static int fail(const char *what, int err)
{
	fprintf(stderr, "sqlite-heap: %s: %s\n", what, strerror(-err));
	return 1;
}

static void *get(int n)
{
	return seg_malloc(sid, (size_t)n);
}

static void put(void *ptr)
{
	seg_free(sid, ptr);
}

static void *change(void *ptr, int n)
{
	return seg_realloc(sid, ptr, (size_t)n);
}

static int size_of(void *ptr)
{
	return ptr ? (int)seg_usable_size(sid, ptr) : 0;
}

static int round_up(int n)
{
	return (n + 15) & ~15;
}

static int start(void *arg)
{
	(void)arg;
	return SQLITE_OK;
}

static void stop(void *arg)
{
	(void)arg;
}

static const sqlite3_mem_methods heap = {
	.xMalloc = get,
	.xFree = put,
	.xRealloc = change,
	.xSize = size_of,
	.xRoundup = round_up,
	.xInit = start,
	.xShutdown = stop,
};

static int make(void)
{
	int vid = vas_create(NULL, 0600), err;

	if (vid < 0)
		return vid;
	sid = seg_alloc(NAME, NULL, SIZE, 0600);
	err = sid < 0 ? sid : seg_ctl(sid, SEG_CTL_LOCK_ON);
	if (!err)
		err = seg_attach(vid, sid);
	if (!err)
		err = vas_publish(vid, NAME);
	return err ? err : vid;
}

/* Into the VAS and its lock; the first process makes it. */
static int enter(void)
{
	int vid = vas_find(NAME), vh;

	if (vid == -ENOENT)
		vid = make();
	vh = vid < 0 ? vid : vas_attach(vid);
	return vh < 0 ? vh : vas_switch(vh);
}

/* One thread: no mutexes.  No count of memory either, which is this process's. */
static int configure(void)
{
	return sqlite3_config(SQLITE_CONFIG_MALLOC, &heap) ||
	       sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) ||
	       sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) ||
	       sqlite3_initialize() ? -EINVAL : 0;
}

static int new_session(void **root)
{
	struct session *s = seg_malloc(sid, sizeof(*s));
	int err;

	if (!s)
		return -errno;
	err = program_self(&s->program);
	if (err)
		return err;
	if (sqlite3_open(":memory:", &s->db))
		return -ENOMEM;
	*root = s;
	return 0;
}

static int print(void *arg, int n, char **values, char **names)
{
	int i;

	(void)arg;
	(void)names;
	for (i = 0; i < n; i++)
		printf("%s%c", values[i] ? values[i] : "", i < n - 1 ? '|' : '\n');
	return 0;
}

static int run(sqlite3 *db, const char *sql)
{
	char *error = NULL;

	if (!sqlite3_exec(db, sql, print, NULL, &error))
		return 0;
	fprintf(stderr, "sqlite-heap: %s\n", error ? error : "no memory");
	sqlite3_free(error);
	return 1;
}

static int delete(void)
{
	int vid = vas_find(NAME), err;

	sid = seg_find(NAME);
	err = vid < 0 ? vid : vas_delete(vid);
	return err ? err : sid < 0 ? sid : seg_delete(sid);
}

int main(int argc, char **argv)
{
	void **root;
	int err;

	if (argc != 2) {
		fputs("usage: sqlite-heap SQL | delete\n", stderr);
		return 2;
	}
	if (!strcmp(argv[1], "delete")) {
		err = delete();
		return err ? fail("delete", err) : 0;
	}
	err = enter();
	if (err == -EOWNERDEAD)
		fputs("sqlite-heap: a process died in the middle: delete\n",
		      stderr);
	if (err)
		return fail("entering the VAS", err);
	sid = vas_heap();
	root = vas_root();
	if (sid < 0 || !root)
		return fail("the heap", sid < 0 ? sid : -errno);
	if (*root && !program_is(&((struct session *)*root)->program)) {
		fputs("sqlite-heap: another program made this database: delete\n",
		      stderr);
		return 1;
	}
	err = configure();
	if (!err && !*root)
		err = new_session(root);
	if (err)
		return fail("SQLite", err);
	err = run(((struct session *)*root)->db, argv[1]);
	vas_switch(VAS_HOME);
	return err;
}
