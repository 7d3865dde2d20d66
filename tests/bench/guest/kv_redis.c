// SPDX-License-Identifier: GPL-2.0-only
/*
 * Debian's redis-server behind a UNIX socket, asked by our client and by its
 * own, redis-benchmark.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "kv.h"

#define SOCKET	"/tmp/redis.sock"
#define BIN	"/bench/bin/"

extern char **environ;

static pid_t server;
static int mine;

static pid_t spawn(char **argv)
{
	posix_spawn_file_actions_t quiet;
	pid_t pid;
	int err;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/tmp/redis.log",
					 O_WRONLY | O_CREAT | O_APPEND, 0600);
	posix_spawn_file_actions_adddup2(&quiet, 1, 2);
	err = posix_spawn(&pid, argv[0], &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	if (err)
		bench_fail("%s: %s", argv[0], strerror(err));
	return pid;
}

static int connected(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int tries;

	for (tries = 0; tries < 500; tries++) {
		if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
			return fd;
		usleep(20000);
	}
	bench_fail("redis-server does not answer, see /tmp/redis.log");
}

static void start_server(void)
{
	char *argv[] = { BIN "redis-server", "--port", "0", "--unixsocket",
			 SOCKET, "--save", "", "--appendonly", "no", NULL };

	unlink(SOCKET);
	server = spawn(argv);
	mine = connected();
}

static void stop_server(void)
{
	close(mine);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

/*
 * The first line of a reply, and what came with it: the number behind "$" or
 * ":", and where in @text the rest begins.
 */
static long reply(char *text, size_t room, size_t *have, char **rest)
{
	char *end;

	*have = 0;
	do {
		ssize_t n = read(mine, text + *have, room - *have);

		if (n <= 0)
			bench_fail("redis is gone");
		*have += (size_t)n;
		end = memchr(text, '\n', *have);
	} while (!end);
	if (text[0] == '-')
		bench_fail("redis: %.60s", text);
	*rest = end + 1;
	return text[0] == '+' ? 0 : strtol(text + 1, NULL, 10);
}

static ssize_t get(const char *key, char *value, size_t room)
{
	static char buffer[4096];
	size_t have, first;
	char *rest;
	long length;

	(void)room;
	kv_write(mine, buffer, (size_t)
		 snprintf(buffer, sizeof(buffer),
			  "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n",
			  strlen(key), key));
	length = reply(buffer, sizeof(buffer), &have, &rest);
	if (length < 0)
		return -ENOENT;
	first = have - (size_t)(rest - buffer);
	if (first >= (size_t)length + 2) {
		memcpy(value, rest, (size_t)length);
		return length;
	}
	/* the value, then the end of the line */
	if (first > (size_t)length)
		first = (size_t)length;
	memcpy(value, rest, first);
	kv_read(mine, value + first, (size_t)length - first);
	have -= (size_t)(rest - buffer);
	have = have > (size_t)length ? have - (size_t)length : 0;
	kv_read(mine, buffer, 2 - have);
	return length;
}

static int set(const char *key, const char *value, size_t length)
{
	char text[96], *rest;
	size_t have, head;
	ssize_t n;
	struct iovec parts[3] = { { text, 0 }, { (char *)value, length },
				  { "\r\n", 2 } };

	head = (size_t)snprintf(text, sizeof(text),
				"*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n",
				strlen(key), key, length);
	parts[0].iov_len = head;
	n = writev(mine, parts, 3);
	if (n < (ssize_t)head)
		bench_fail("redis is gone");
	if ((size_t)n < head + length + 2) {
		size_t done = (size_t)n - head;

		if (done < length) {
			kv_write(mine, value + done, length - done);
			done = length;
		}
		kv_write(mine, "\r\n" + (done - length), 2 - (done - length));
	}
	return (int)reply(text, sizeof(text), &have, &rest);
}

static void open_server(unsigned int clients, unsigned int keys, size_t room)
{
	char *value = malloc(room), key[KV_KEY];
	unsigned int i;

	(void)clients;
	memset(value, 'v', room);
	start_server();
	for (i = 0; i < keys; i++) {
		kv_key(key, i);
		bench_check(!set(key, value, room));
	}
	free(value);
}

static void join(unsigned int client)
{
	(void)client;
	close(mine);
	mine = connected();
}

static void leave(void)
{
}

const struct kv_way kv_redis = {
	"redis", 50, open_server, join, get, set, leave, stop_server
};

/* All that happens while redis-benchmark makes so many requests. */
static uint64_t benchmark(const char *what, unsigned int clients, size_t size,
			  unsigned int requests)
{
	char c[16], n[16], d[16];
	char *argv[] = { BIN "redis-benchmark", "-s", SOCKET, "-q", "-t",
			 (char *)what, "-c", c, "-n", n, "-d", d, NULL };
	uint64_t start;
	int status;
	pid_t pid;

	snprintf(c, sizeof(c), "%u", clients);
	snprintf(n, sizeof(n), "%u", requests);
	snprintf(d, sizeof(d), "%zu", size);
	start = bench_tsc();
	pid = spawn(argv);
	if (waitpid(pid, &status, 0) != pid || status)
		bench_fail("redis-benchmark: status %x", (unsigned int)status);
	return bench_tsc() - start;
}

/* Its start and its end are in both, and go. */
static void compare(const char *what, unsigned int clients, size_t size)
{
	unsigned int few = clients, many = size > MIB ? 20 : 600;
	const char *name = bench_text("redis_benchmark_%s", what);
	uint64_t least, most;

	if (!bench_wanted("kv", name))
		return;
	benchmark("set", 1, size, 1);
	least = benchmark(what, clients, size, few);
	most = benchmark(what, clients, size, many);
	bench_value("kv", name,
		    bench_text("\"bytes\": %zu, \"clients\": %u", size,
			       clients), "ticks",
		    (double)(most - least) / (many - few));
}

void kv_redis_benchmarks(void)
{
	static const size_t sizes[] = { 4, 64, 1024, 65536, 2 * MIB };
	static const char *const names[] = { "redis_benchmark_get",
					     "redis_benchmark_set", NULL };
	size_t i;

	if (!bench_wanted_any("kv", names))
		return;
	start_server();
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		compare("get", 1, sizes[i]);
		compare("set", 1, sizes[i]);
	}
	compare("get", 8, 64);
	compare("set", 8, 64);
	stop_server();
}
