// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes that are killed while they change a keyspace: what was answered is
 * there, and each value is one that was set.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#include "client.h"
#include "jmp.h"

#define KEYS		64
#define ROUNDS		15
#define MOST		3000
/* single steps: to leave the VAS takes none that matter */
#define STRIDE		37
#define MOST_STEPS	3000

/* What the writer knows; a value says which one of its key's it is. */
struct known {
	unsigned int asked[KEYS];	/* the latest SET */
	unsigned int answered[KEYS];	/* and the latest with an answer */
	unsigned int added;		/* new keys so far */
	unsigned int pushed;		/* items of a list */
};

static struct server server;
static struct known *known;

static size_t value_of(char *to, unsigned int key, unsigned int nr)
{
	size_t len = (size_t)sprintf(to, "%u:%u:", key, nr);
	size_t more = (key * 7919 + nr * 104729) % MOST;

	memset(to + len, 'a' + nr % 26, more);
	return len + more;
}

static bool set_by_server(int fd, const char *key, const char *value,
			  size_t len)
{
	char head[96], line[64];
	size_t n;

	n = (size_t)sprintf(head, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n",
			    strlen(key), key, len);
	return send_all(fd, head, n) && send_all(fd, value, len) &&
		send_all(fd, "\r\n", 2) && read_line(fd, line, sizeof(line)) &&
		!strcmp(line, "+OK");
}

static bool push(int fd, unsigned int nr)
{
	char text[64], line[64];
	size_t n = (size_t)sprintf(text, "RPUSH list item-%u\r\n", nr);

	return send_all(fd, text, n) && read_line(fd, line, sizeof(line)) &&
		line[0] == ':';
}

/* Until the server is gone: SET of known keys, of new ones, RPUSH. */
static void write_by_server(void *arg)
{
	static char value[MOST + 64];
	unsigned int nr, key;
	char name[32];

	(void)arg;
	for (nr = known->asked[0] + 1;; nr++) {
		for (key = 0; key < KEYS; key++) {
			sprintf(name, "key:%u", key);
			known->asked[key] = nr;
			if (!set_by_server(server.fd, name, value,
					   value_of(value, key, nr)))
				return;
			known->answered[key] = nr;
			sprintf(name, "new:%u", known->added);
			if (!set_by_server(server.fd, name, name, strlen(name)))
				return;
			known->added++;
			if (!push(server.fd, known->pushed))
				return;
			known->pushed++;
		}
	}
}

/* The latest value that was answered, or the one that was asked for after it. */
static void check_keys(struct jmp *j)
{
	static char value[MOST + 64], expected[MOST + 64];
	unsigned int key, nr;
	char name[32], *end;
	ssize_t n;

	for (key = 0; key < KEYS; key++) {
		sprintf(name, "key:%u", key);
		n = jmp_get(j, name, strlen(name), value, sizeof(value) - 1);
		if (n == -ENOENT && !known->answered[key])
			continue;
		check(n > 0);
		value[n] = 0;
		check_eq(strtoul(value, &end, 10), key);
		nr = (unsigned int)strtoul(end + 1, NULL, 10);
		check(nr == known->answered[key] || nr == known->asked[key]);
		check_eq(n, value_of(expected, key, nr));
		check(!memcmp(value, expected, (size_t)n));
	}
	for (key = 0; key < known->added; key++) {
		sprintf(name, "new:%u", key);
		n = jmp_get(j, name, strlen(name), value, sizeof(value));
		check_eq(n, strlen(name));
		check(!memcmp(value, name, (size_t)n));
	}
}

static void check_item(void *arg, const char *item, size_t n)
{
	unsigned int *nr = arg;
	char text[32];

	check_eq(sprintf(text, "item-%u", *nr), n);
	check(!memcmp(text, item, n));
	++*nr;
}

/* It is whole, or was removed because the server was changing it. */
static void check_list(struct jmp *j, unsigned int *first)
{
	unsigned int nr = *first;
	long n = jmp_lrange(j, "list", 4, 0, -1, check_item, &nr);

	check(n >= 0);
	if (!n)
		*first = known->pushed;
	else
		check(nr == known->pushed || nr == known->pushed + 1);
	known->pushed = n ? nr : known->pushed;
}

static void a_server_that_is_killed_loses_nothing_that_it_answered(void)
{
	unsigned int i, first = 0, repaired = 0;
	struct jmp *r, *w;
	int err;

	known = tcase_shared(sizeof(*known));
	for (i = 0; i < ROUNDS; i++) {
		pid_t pid;
		char line[8];
		ssize_t n;

		server_start(&server, i ? server.name : NULL, NULL, NULL);
		pid = tcase_spawn(write_by_server, NULL);
		usleep(20000 + i * 3001);
		server_kill(&server);
		tcase_join(pid);
		r = jmp_open(server.name, JMP_READ, &err);
		check_eq(err, 0);
		n = jmp_get(r, "none", 4, line, sizeof(line));
		check(n == -ENOENT || n == -EOWNERDEAD);
		if (n == -EOWNERDEAD) {
			repaired++;
			w = jmp_open(server.name, JMP_WRITE, &err);
			check_eq(err, 0);
			check(jmp_repair(w) >= 0);
			jmp_close(w);
		}
		check_keys(r);
		check_list(r, &first);
		jmp_close(r);
	}
	tcase_note("%u of %u times it died with the lock; %u keys", repaired,
		   ROUNDS, known->added);
	check(known->added > 0);
}

static void write_beside_it(void *arg)
{
	static char value[MOST + 64];
	unsigned int nr, key;
	struct jmp *j;
	char name[32];
	int err;

	(void)arg;
	j = jmp_open(server.name, JMP_WRITE, &err);
	check_eq(err, 0);
	for (nr = known->asked[0] + 1;; nr++) {
		for (key = 0; key < KEYS; key++) {
			sprintf(name, "key:%u", key);
			known->asked[key] = nr;
			check_eq(jmp_set(j, name, strlen(name), value,
					 value_of(value, key, nr)), 0);
			known->answered[key] = nr;
			sprintf(name, "new:%u", known->added);
			check_eq(jmp_set(j, name, strlen(name), name,
					 strlen(name)), 0);
			known->added++;
		}
	}
}

static void a_writer_that_is_killed_leaves_the_server_running(void)
{
	struct jmp *r;
	unsigned int i;
	int err;

	known = tcase_shared(sizeof(*known));
	server_start(&server, NULL, NULL, NULL);
	tell(server.fd, "+OK", "SET", "still", "here");
	r = jmp_open(server.name, JMP_READ, &err);
	check_eq(err, 0);
	for (i = 0; i < ROUNDS; i++) {
		pid_t pid = tcase_spawn(write_beside_it, NULL);

		usleep(20000 + i * 3001);
		kill(pid, SIGKILL);
		tcase_join_killed(pid, SIGKILL);
		/* the server repairs if need be */
		tell(server.fd, "here", "GET", "still");
		check_keys(r);
	}
	tcase_note("%u keys", known->added);
	check(known->added > 0);
	jmp_close(r);
}

/*
 * The linker puts this in the place of jmpFind(), which jmp_set() calls once it
 * is in the VAS: single steps begin there.
 */
static bool stop_there;
struct dict;
void *__real_jmpFind(const struct dict *d, const char *key, size_t len);
void *__wrap_jmpFind(const struct dict *d, const char *key, size_t len);

void *__wrap_jmpFind(const struct dict *d, const char *key, size_t len)
{
	if (stop_there)
		raise(SIGSTOP);
	stop_there = false;
	return __real_jmpFind(d, key, len);
}

static void set_one(void *arg)
{
	struct jmp *j;
	char name[32];
	int err;

	(void)arg;
	j = jmp_open(server.name, JMP_WRITE, &err);
	check_eq(err, 0);
	sprintf(name, "new:%u", known->added);
	check_eq(ptrace(PTRACE_TRACEME, 0, NULL, NULL), 0);
	stop_there = true;
	jmp_set(j, name, strlen(name), name, strlen(name));
	_exit(0);
}

/* Kill it after so many instructions; false: it was done before. */
static bool kill_after(pid_t pid, unsigned long steps)
{
	int status;

	while (steps--) {
		check_eq(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status)) {
			check_eq(WEXITSTATUS(status), 0);
			return false;
		}
		check(WIFSTOPPED(status));
		check_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		return false;
	kill(pid, SIGKILL);
	tcase_join_killed(pid, SIGKILL);
	return true;
}

/* What a rehash has in its hands: in the keyspace, so at one address for all */
extern struct {
	void *dict, *entry;
} *dictMoving;

/* Kill it so many instructions after an entry is on its way to another table. */
static bool kill_while_it_moves(pid_t pid, unsigned int steps)
{
	unsigned int all = 0;
	int status;

	for (;;) {
		check_eq(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status))
			return false;
		if (all > 0 && ptrace(PTRACE_PEEKDATA, pid, dictMoving, NULL) &&
		    !steps--)
			break;
		if (all++ > MOST_STEPS) {
			check_eq(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
			tcase_join(pid);
			return false;
		}
		check_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
	}
	kill(pid, SIGKILL);
	tcase_join_killed(pid, SIGKILL);
	return true;
}

/* The key that was not answered is there and right, or is not there. */
static void check_new(struct jmp *r)
{
	char name[32], value[32];
	ssize_t n;

	sprintf(name, "new:%u", known->added);
	n = jmp_get(r, name, strlen(name), value, sizeof(value));
	check(n == -ENOENT || n == (ssize_t)strlen(name));
	if (n > 0)
		check(!memcmp(name, value, (size_t)n));
}

/* Mostly a rehash is going on meanwhile, as the dict grows by a key a time. */
static void a_writer_may_be_killed_at_any_instruction(void)
{
	unsigned long at, killed = 0;
	struct jmp *r, *w;
	long lost;
	int err;

	known = tcase_shared(sizeof(*known));
	server_start(&server, NULL, NULL, NULL);
	server_shutdown(&server);
	r = jmp_open(server.name, JMP_READ, &err);
	check_eq(err, 0);
	w = jmp_open(server.name, JMP_WRITE, &err);
	check_eq(err, 0);
	for (at = 1; at < MOST_STEPS; at += STRIDE, killed++) {
		char name[32];

		if (!kill_after(tcase_spawn(set_one, NULL), at))
			break;
		lost = jmp_repair(w);
		if (lost < 0)
			tcase_fail(__FILE__, __LINE__,
				   "killed after %lu: %ld", at, lost);
		check_keys(r);
		check_new(r);
		sprintf(name, "new:%u", known->added);
		check_eq(jmp_set(w, name, strlen(name), name, strlen(name)), 0);
		known->added++;
	}
	tcase_note("%lu times killed, in %lu instructions", killed, at);
	check(killed > 5);
	server_start(&server, server.name, NULL, NULL);
	check_keys(r);
	jmp_close(r);
	jmp_close(w);
}

static void what_a_rehash_has_in_its_hands_is_not_lost(void)
{
	struct jmp *r, *w;
	unsigned int steps, tries;
	int err;

	known = tcase_shared(sizeof(*known));
	server_start(&server, NULL, NULL, NULL);
	server_shutdown(&server);
	r = jmp_open(server.name, JMP_READ, &err);
	check_eq(err, 0);
	w = jmp_open(server.name, JMP_WRITE, &err);
	check_eq(err, 0);
	for (steps = 0; steps < 12; steps++) {
		for (tries = 0; tries < 100; tries++) {
			if (kill_while_it_moves(tcase_spawn(set_one, NULL),
						steps))
				break;
			known->added++;
		}
		check(tries < 100);
		check(jmp_repair(w) >= 0);
		check_keys(r);
		check_new(r);
	}
	jmp_close(r);
	jmp_close(w);
}

static const struct tcase cases[] = {
	CASE_SECONDS(a_server_that_is_killed_loses_nothing_that_it_answered,
		     300),
	CASE_SECONDS(a_writer_may_be_killed_at_any_instruction, 300),
	CASE_SECONDS(what_a_rehash_has_in_its_hands_is_not_lost, 300),
	CASE_SECONDS(a_writer_that_is_killed_leaves_the_server_running, 300),
};

TCASE_MAIN(cases, 0)
