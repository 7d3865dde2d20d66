// SPDX-License-Identifier: GPL-2.0-only
/* Redis with its keyspace in a VAS, read and written beside the server. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#include "client.h"
#include "jmp.h"

static struct server server;

static struct jmp *open_jmp(int mode)
{
	int err;
	struct jmp *j = jmp_open(server.name, mode, &err);

	check_eq(err, 0);
	return j;
}

static const char *got(struct jmp *j, const char *key)
{
	static char value[512];
	ssize_t n = jmp_get(j, key, strlen(key), value, sizeof(value) - 1);

	if (n < 0)
		return strerror((int)-n);
	value[n] = 0;
	return value;
}

#define gets(j, key, value) \
	do { \
		const char *got__ = got(j, key); \
		if (strcmp(got__, value)) \
			tcase_fail(__FILE__, __LINE__, "%s is %s, not %s", \
				   key, got__, value); \
	} while (0)

static int set(struct jmp *j, const char *key, const char *value)
{
	return jmp_set(j, key, strlen(key), value, strlen(value));
}

static int del(struct jmp *j, const char *key)
{
	return jmp_del(j, key, strlen(key));
}

static void what_the_server_sets_is_got(void)
{
	char big[300];
	struct jmp *j;

	server_start(&server, NULL, NULL, NULL);
	memset(big, 'x', sizeof(big));
	big[299] = 0;
	tell(server.fd, "+OK", "SET", "short", "word");
	tell(server.fd, "+OK", "SET", "number", "123456");
	tell(server.fd, "+OK", "SET", "small", "7");
	tell(server.fd, "+OK", "SET", "long", big);
	j = open_jmp(JMP_READ);
	gets(j, "short", "word");
	gets(j, "number", "123456");
	gets(j, "small", "7");
	gets(j, "long", big);
	gets(j, "none", strerror(ENOENT));
	check_eq(jmp_exists(j, "short", 5), 1);
	check_eq(jmp_exists(j, "none", 4), 0);
	check_eq(jmp_strlen(j, "number", 6), 6);
	check_eq(jmp_strlen(j, "long", 4), 299);
	check_eq(jmp_strlen(j, "none", 4), 0);
	tell(server.fd, "+OK", "SET", "short", "other");
	gets(j, "short", "other");
	check_eq(jmp_set(j, "short", 5, "x", 1), -EACCES);
	jmp_close(j);
}

static void what_is_set_beside_the_server_is_its_own(void)
{
	struct jmp *w, *r;

	server_start(&server, NULL, NULL, NULL);
	w = open_jmp(JMP_WRITE);
	r = open_jmp(JMP_READ);
	check_eq(set(w, "a", "first"), 0);
	tell(server.fd, "first", "GET", "a");
	gets(r, "a", "first");
	check_eq(set(w, "a", "10"), 0);
	tell(server.fd, ":11", "INCR", "a");
	gets(w, "a", "11");
	tell(server.fd, ":1", "EXPIRE", "a", "1000");
	check_eq(set(w, "a", "last"), 0);
	tell(server.fd, ":-1", "TTL", "a");
	check_eq(del(w, "a"), 1);
	check_eq(del(w, "a"), 0);
	tell(server.fd, "$-1", "GET", "a");
	tell(server.fd, ":3", "RPUSH", "list", "x", "y", "z");
	check_eq(set(w, "list", "string"), 0);
	tell(server.fd, "+string", "TYPE", "list");
	jmp_close(w);
	jmp_close(r);
}

static void join_items(void *arg, const char *item, size_t n)
{
	strcat(arg, "/");
	strncat(arg, item, n);
}

static void structures_are_followed(void)
{
	char text[512] = "", item[16], value[64];
	struct jmp *j;
	int i;

	server_start(&server, NULL, NULL, NULL);
	tell(server.fd, ":4", "RPUSH", "list", "x", "y", "3", "z");
	tell(server.fd, ":2", "HSET", "hash", "f", "value", "g", "17");
	for (i = 0; i < 600; i++) {
		snprintf(item, sizeof(item), "field%d", i);
		tell(server.fd, ":1", "HSET", "large", item, item);
		snprintf(text, sizeof(text), ":%d", i + 1);
		tell(server.fd, text, "RPUSH", "much", item);
	}
	text[0] = 0;
	j = open_jmp(JMP_READ);
	check_eq(jmp_lrange(j, "list", 4, 1, -2, join_items, text), 2);
	check(!strcmp(text, "/y/3"));
	text[0] = 0;
	check_eq(jmp_lrange(j, "much", 4, 598, 1000, join_items, text), 2);
	check(!strcmp(text, "/field598/field599"));
	check_eq(jmp_lrange(j, "none", 4, 0, -1, join_items, text), 0);
	check_eq(jmp_lrange(j, "hash", 4, 0, -1, join_items, text),
		 -EMEDIUMTYPE);
	check_eq(jmp_hget(j, "hash", 4, "f", 1, value, sizeof(value)), 5);
	check(!memcmp(value, "value", 5));
	check_eq(jmp_hget(j, "hash", 4, "g", 1, value, sizeof(value)), 2);
	check(!memcmp(value, "17", 2));
	check_eq(jmp_hget(j, "hash", 4, "h", 1, value, sizeof(value)), -ENOENT);
	check_eq(jmp_hget(j, "large", 5, "field599", 8, value, 64), 8);
	check(!memcmp(value, "field599", 8));
	gets(j, "hash", strerror(EMEDIUMTYPE));
	jmp_close(j);
}

static void who_reads_ends_no_key(void)
{
	struct jmp *j;

	server_start(&server, NULL, NULL, NULL);
	tell(server.fd, "+OK", "CONFIG", "SET", "hz", "1");
	tell(server.fd, "+OK", "SET", "short", "lived", "PX", "1500");
	j = open_jmp(JMP_READ);
	gets(j, "short", "lived");
	usleep(1600000);
	gets(j, "short", strerror(ENOENT));
	jmp_close(j);
}

static void a_server_finds_its_keyspace_again(void)
{
	struct jmp *j;

	server_start(&server, NULL, NULL, NULL);
	tell(server.fd, "+OK", "SET", "a", "5");
	tell(server.fd, ":3", "SADD", "set", "x", "y", "z");
	tell(server.fd, ":2", "HSET", "hash", "f", "1", "g", "2");
	server_shutdown(&server);
	j = open_jmp(JMP_WRITE);
	gets(j, "a", "5");
	check_eq(set(j, "b", "meanwhile"), 0);
	jmp_close(j);
	server_start(&server, server.name, NULL, NULL);
	tell(server.fd, "5", "GET", "a");
	tell(server.fd, "meanwhile", "GET", "b");
	tell(server.fd, ":1", "SISMEMBER", "set", "y");
	tell(server.fd, "2", "HGET", "hash", "g");
	tell(server.fd, ":4", "DBSIZE");
}

static void a_log_or_a_replica_keeps_other_writers_out(void)
{
	struct jmp *j;

	server_start(&server, NULL, "--appendonly", "yes");
	tell(server.fd, "+OK", "SET", "a", "1");
	j = open_jmp(JMP_WRITE);
	check_eq(set(j, "a", "2"), -EROFS);
	check_eq(del(j, "a"), -EROFS);
	gets(j, "a", "1");
	jmp_close(j);
}

/* New keys of this size until there is no room for one more; how many */
static int fill(struct jmp *j, size_t size)
{
	char *value = calloc(1, size), name[32];
	int i, err = 0;

	for (i = 0; i < 1000 && !err; i++) {
		snprintf(name, sizeof(name), "%zu:%d", size, i);
		err = jmp_set(j, name, strlen(name), value, size);
	}
	check_eq(err, -ENOMEM);
	free(value);
	return i;
}

static void a_keyspace_that_is_full_says_so(void)
{
	char text[128];
	struct jmp *j;

	server_start(&server, NULL, NULL, NULL);
	j = open_jmp(JMP_WRITE);
	check(fill(j, 1UL << 20) > 40);
	fill(j, 1UL << 14);
	fill(j, 64);
	ask(server.fd, text, sizeof(text), "SET", "a", "b", NULL);
	check(!strncmp(text, "-OOM", 4));
	check_eq(del(j, "1048576:0"), 1);
	check_eq(set(j, "a", "b"), 0);
	tell(server.fd, "b", "GET", "a");
	tell(server.fd, "+OK", "FLUSHALL");
	check(fill(j, 1UL << 20) > 40);
	jmp_close(j);
}

static void a_watched_key_is_seen_to_change(void)
{
	struct jmp *j;

	server_start(&server, NULL, NULL, NULL);
	j = open_jmp(JMP_WRITE);
	tell(server.fd, "+OK", "SET", "a", "1");
	tell(server.fd, "+OK", "WATCH", "a");
	check_eq(set(j, "a", "2"), 0);
	tell(server.fd, "+OK", "MULTI");
	tell(server.fd, "+QUEUED", "SET", "a", "3");
	tell(server.fd, "*-1", "EXEC");
	gets(j, "a", "2");
	jmp_close(j);
}

static void a_snapshot_is_of_one_moment(void)
{
	char text[512];

	server_start(&server, NULL, NULL, NULL);
	tell(server.fd, "+OK", "SET", "a", "1");
	tell(server.fd, "+Background saving started", "BGSAVE");
	tell(server.fd, "+OK", "SET", "a", "2");
	do {
		usleep(100000);
		ask(server.fd, text, sizeof(text), "LASTSAVE", NULL);
		ask(server.fd, text, sizeof(text), "EVAL",
		    "return string.match(redis.call('INFO','persistence'),"
		    "'rdb_bgsave_in_progress:(%d)') .. string.match("
		    "redis.call('INFO','persistence'),"
		    "'rdb_last_bgsave_status:(%a+)')", "0", NULL);
	} while (text[0] == '1');
	check(!strcmp(text, "0ok"));
	tell(server.fd, "2", "GET", "a");
}

static void read_on(void *arg)
{
	struct jmp *j = open_jmp(JMP_READ);

	(void)arg;
	for (;;)
		got(j, "key");
}

static void readers_that_are_killed_keep_nobody_out(void)
{
	struct jmp *j;
	pid_t pid;
	int i;

	server_start(&server, NULL, NULL, NULL);
	tell(server.fd, "+OK", "SET", "key", "value");
	for (i = 0; i < 20; i++) {
		pid = tcase_spawn(read_on, NULL);
		usleep(10000 + i * 1000);
		kill(pid, SIGKILL);
		tcase_join_killed(pid, SIGKILL);
		tell(server.fd, "+OK", "SET", "key", "value");
	}
	j = open_jmp(JMP_WRITE);
	check_eq(set(j, "key", "last"), 0);
	jmp_close(j);
	tell(server.fd, "last", "GET", "key");
}

static const struct tcase cases[] = {
	CASE(what_the_server_sets_is_got),
	CASE(what_is_set_beside_the_server_is_its_own),
	CASE_SECONDS(structures_are_followed, 120),
	CASE(who_reads_ends_no_key),
	CASE(a_server_finds_its_keyspace_again),
	CASE(a_log_or_a_replica_keeps_other_writers_out),
	CASE(a_keyspace_that_is_full_says_so),
	CASE(a_watched_key_is_seen_to_change),
	CASE(a_snapshot_is_of_one_moment),
	CASE(readers_that_are_killed_keep_nobody_out),
};

TCASE_MAIN(cases, 0)
