// SPDX-License-Identifier: BSD-3-Clause
/* redis-jmp, the command line: one command on a keyspace in a VAS. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "jmp.h"

static int usage(void)
{
	fputs("usage: redis-jmp [-n DB] NAME COMMAND [ARGUMENT...]\n"
	      "NAME is that of redis-server --vas NAME. COMMAND:\n"
	      "  GET KEY           MGET KEY...       EXISTS KEY   STRLEN KEY\n"
	      "  HGET KEY FIELD    LRANGE KEY START STOP\n"
	      "  SET KEY VALUE     DEL KEY...        repair\n", stderr);
	return 2;
}

static int failed(long err)
{
	fprintf(stderr, "redis-jmp: %s\n", strerror((int)-err));
	return 1;
}

static void print(void *arg, const char *text, size_t len)
{
	long *n = arg;

	if (n)
		printf("%ld) ", ++*n);
	fwrite(text, 1, len, stdout);
	putchar('\n');
}

/* A value can grow between the calls. */
static ssize_t get(struct jmp *j, const char *key, const char *field, char **to)
{
	size_t room = 0;
	ssize_t n;

	*to = NULL;
	for (;;) {
		n = field ? jmp_hget(j, key, strlen(key), field, strlen(field),
				     *to, room) :
			jmp_get(j, key, strlen(key), *to, room);
		if (n < 0 || (size_t)n <= room)
			return n;
		room = (size_t)n;
		*to = realloc(*to, room);
		if (!*to)
			return -ENOMEM;
	}
}

static int show(struct jmp *j, const char *key, const char *field, long *number)
{
	char *value;
	ssize_t n = get(j, key, field, &value);

	if (n == -ENOENT)
		print(number, "(nil)", 5);
	else if (n >= 0)
		print(number, value, (size_t)n);
	free(value);
	return n < 0 && n != -ENOENT ? failed(n) : 0;
}

static int answer(long n)
{
	if (n < 0)
		return failed(n);
	printf("%ld\n", n);
	return 0;
}

static int several(struct jmp *j, int keys, char **key)
{
	long number = 0;
	int ret = 0;

	while (keys-- && !ret)
		ret = show(j, *key++, NULL, &number);
	return ret;
}

static int delete(struct jmp *j, int keys, char **key)
{
	long n = 0, gone;

	for (; keys--; key++) {
		gone = jmp_del(j, *key, strlen(*key));
		if (gone < 0)
			return failed(gone);
		n += gone;
	}
	return answer(n);
}

static int set(struct jmp *j, const char *key, const char *value)
{
	int err = jmp_set(j, key, strlen(key), value, strlen(value));

	if (err)
		return failed(err);
	puts("OK");
	return 0;
}

static int range(struct jmp *j, char **argv)
{
	long number = 0;
	long n = jmp_lrange(j, argv[0], strlen(argv[0]),
			    strtol(argv[1], NULL, 10),
			    strtol(argv[2], NULL, 10), print, &number);

	return n < 0 ? failed(n) : 0;
}

static int run(struct jmp *j, const char *cmd, int argc, char **argv)
{
	if (!strcasecmp(cmd, "get") && argc == 1)
		return show(j, argv[0], NULL, NULL);
	if (!strcasecmp(cmd, "mget") && argc >= 1)
		return several(j, argc, argv);
	if (!strcasecmp(cmd, "exists") && argc == 1)
		return answer(jmp_exists(j, argv[0], strlen(argv[0])));
	if (!strcasecmp(cmd, "strlen") && argc == 1)
		return answer(jmp_strlen(j, argv[0], strlen(argv[0])));
	if (!strcasecmp(cmd, "hget") && argc == 2)
		return show(j, argv[0], argv[1], NULL);
	if (!strcasecmp(cmd, "lrange") && argc == 3)
		return range(j, argv);
	if (!strcasecmp(cmd, "set") && argc == 2)
		return set(j, argv[0], argv[1]);
	if (!strcasecmp(cmd, "del") && argc >= 1)
		return delete(j, argc, argv);
	if (!strcasecmp(cmd, "repair") && argc == 0)
		return answer(jmp_repair(j));
	return usage();
}

static int writes(const char *cmd)
{
	return !strcasecmp(cmd, "set") || !strcasecmp(cmd, "del") ||
		!strcasecmp(cmd, "repair");
}

int main(int argc, char **argv)
{
	unsigned int db = 0;
	struct jmp *j;
	int err, ret;

	if (argc > 2 && !strcmp(argv[1], "-n")) {
		db = (unsigned int)strtoul(argv[2], NULL, 10);
		argv += 2;
		argc -= 2;
	}
	if (argc < 3)
		return usage();
	j = jmp_open(argv[1], writes(argv[2]) ? JMP_WRITE : JMP_READ, &err);
	if (!j)
		return failed(err);
	err = jmp_select(j, db);
	ret = err ? failed(err) : run(j, argv[2], argc - 3, argv + 3);
	jmp_close(j);
	return ret;
}
