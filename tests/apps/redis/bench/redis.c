// SPDX-License-Identifier: GPL-2.0-only
/*
 * GET and SET by redis-jmp, beside Debian's own Redis asked by its own
 * redis-benchmark.
 */
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "jmp.h"

#define STOCK		"/bench/bin/redis-server"
#define PATCHED		"/apps/bin/redis-server"
#define BENCHMARK	"/bench/bin/redis-benchmark"
#define SOCKET		"/tmp/redis.sock"
#define PORT		"7000"
#define NAME		"bench-redis"
#define MOST_CLIENTS	12
#define KEYS		256

extern char **environ;

static pid_t server;

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

static void wait_for_server(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), tries;

	for (tries = 0; tries < 500; tries++) {
		if (!connect(fd, (struct sockaddr *)&to, sizeof(to))) {
			close(fd);
			return;
		}
		usleep(20000);
	}
	bench_fail("redis-server does not answer, see /tmp/redis.log");
}

static void start(char *path, const char *vas)
{
	char *argv[] = { path, "--port", PORT, "--unixsocket", SOCKET,
			 "--save", "", "--appendonly", "no",
			 vas ? "--vas" : NULL, (char *)vas, "--vas-size",
			 "512mb", NULL };

	unlink(SOCKET);
	server = spawn(argv);
	wait_for_server();
}

static void stop(void)
{
	kill(server, SIGTERM);
	waitpid(server, NULL, 0);
}

static void loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	bench_check(!ioctl(fd, SIOCSIFFLAGS, &r));
	close(fd);
}

/*
 * By redis-jmp
 */

struct run {
	unsigned int clients, keys, rounds, sets;	/* of 100 */
	size_t size;
	unsigned int nr;
	struct jmp *reader, *writer;
	char *value, names[KEYS][24];
	int go[MOST_CLIENTS], done;
	pid_t pids[MOST_CLIENTS];
};

static void one(struct run *r)
{
	unsigned int n = r->nr++;
	const char *key = r->names[n & (r->keys - 1)];

	/* 37 and 100 have no divisor in common */
	if (n * 37 % 100 < r->sets)
		bench_check(!jmp_set(r->writer, key, strlen(key), r->value,
				     r->size));
	else
		bench_check(jmp_get(r->reader, key, strlen(key), r->value,
				    r->size) == (ssize_t)r->size);
}

static void requests(struct run *r)
{
	unsigned int i;

	for (i = 0; i < r->rounds; i++)
		one(r);
}

static void read_all(int fd, size_t n)
{
	char c;

	while (n--)
		if (read(fd, &c, 1) != 1)
			bench_fail("a client is gone");
}

static void operation(unsigned long n, void *arg)
{
	struct run *r = arg;
	unsigned int i;

	while (n--) {
		if (r->clients == 1) {
			requests(r);
			continue;
		}
		for (i = 0; i < r->clients; i++)
			bench_check(write(r->go[i], "", 1) == 1);
		read_all(r->done, r->clients);
	}
}

static void attach(struct run *r)
{
	int err;

	r->reader = jmp_open(NAME, JMP_READ, &err);
	bench_check(r->reader);
	r->writer = jmp_open(NAME, JMP_WRITE, &err);
	bench_check(r->writer);
}

static void client(struct run *r, unsigned int nr, int go, int done)
{
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	attach(r);
	r->nr = nr * 7;
	requests(r);
	bench_check(write(done, "", 1) == 1);
	while (read(go, &c, 1) == 1) {
		requests(r);
		bench_check(write(done, "", 1) == 1);
	}
	_exit(0);
}

static void start_clients(struct run *r)
{
	int done[2], go[2];
	unsigned int i;

	bench_check(!pipe(done));
	r->done = done[0];
	for (i = 0; i < r->clients; i++) {
		bench_check(!pipe(go));
		r->go[i] = go[1];
		r->pids[i] = fork();
		bench_check(r->pids[i] >= 0);
		if (!r->pids[i])
			client(r, i, go[0], done[1]);
		close(go[0]);
		read_all(done[0], 1);
	}
	close(done[1]);
}

static void stop_clients(struct run *r)
{
	unsigned int i;

	for (i = 0; i < r->clients; i++) {
		close(r->go[i]);
		waitpid(r->pids[i], NULL, 0);
	}
	close(r->done);
}

static void measure(const char *name, unsigned int sets, unsigned int clients,
		    size_t size)
{
	struct run r = { .clients = clients, .keys = KEYS, .rounds = 200,
			 .sets = sets, .size = size };
	struct bench b = {
		.group = "redis", .name = name, .arg = &r, .op = operation,
		.params = bench_text("\"bytes\": %zu, \"clients\": %u, "
				     "\"sets\": %u", size, clients, sets),
		.flags = BENCH_NO_STEP | BENCH_ONCE,
	};
	unsigned int i;

	if (!bench_wanted("redis", name))
		return;
	while (r.keys * size > 16 * MIB)
		r.keys /= 2;
	if (size > 4096)
		r.rounds = size > 65536 ? 3 : 20;
	b.per_turn = r.rounds * clients;
	r.value = malloc(size);
	memset(r.value, 'v', size);
	attach(&r);
	for (i = 0; i < KEYS; i++) {
		snprintf(r.names[i], sizeof(r.names[i]), "key:%012u", i);
		if (i < r.keys)
			bench_check(!jmp_set(r.writer, r.names[i], 16,
					     r.value, size));
	}
	if (clients > 1) {
		start_clients(&r);
		bench_run(&b);
		stop_clients(&r);
	} else {
		bench_run(&b);
	}
	for (i = 0; i < r.keys; i++)
		bench_check(jmp_del(r.writer, r.names[i], 16) == 1);
	jmp_close(r.reader);
	jmp_close(r.writer);
	free(r.value);
}

/*
 * By redis-benchmark
 */

struct way {
	const char *name;
	const char *option, *value;	/* how to reach the server */
};

/* All that happens while it makes so many requests. */
static uint64_t benchmark(const struct way *w, const char *what,
			  unsigned int clients, unsigned int pipeline,
			  size_t size, unsigned int requests)
{
	char c[16], n[16], d[16], p[16];
	char *argv[] = { BENCHMARK, (char *)w->option, (char *)w->value, "-q",
			 "-t", (char *)what, "-c", c, "-n", n, "-d", d, "-P", p,
			 NULL };
	uint64_t begin;
	int status;
	pid_t pid;

	snprintf(c, sizeof(c), "%u", clients);
	snprintf(n, sizeof(n), "%u", requests);
	snprintf(d, sizeof(d), "%zu", size);
	snprintf(p, sizeof(p), "%u", pipeline);
	begin = bench_tsc();
	pid = spawn(argv);
	if (waitpid(pid, &status, 0) != pid || status)
		bench_fail("redis-benchmark: status %x", (unsigned int)status);
	return bench_tsc() - begin;
}

/* Its start and its end are in both, and go. */
static void compare(const struct way *w, const char *what, unsigned int clients,
		    unsigned int pipeline, size_t size)
{
	unsigned int few = clients * pipeline, many;
	const char *name = bench_text("%s_%s", w->name, what);
	uint64_t least, most;

	if (!bench_wanted("redis", name))
		return;
	many = few + (size >= MIB ? 20 : size > 4096 ? 100 : 600) *
		(pipeline > 1 && size < 4096 ? 4 : 1);
	benchmark(w, "set", 1, 1, size, 1);
	least = benchmark(w, what, clients, pipeline, size, few);
	most = benchmark(w, what, clients, pipeline, size, many);
	bench_value("redis", name,
		    bench_text("\"bytes\": %zu, \"clients\": %u, "
			       "\"pipeline\": %u", size, clients, pipeline),
		    "ticks", most > least ? (double)(most - least) /
		    (many - few) : 0);
}

static const size_t sizes[] = { 4, 64, 1024, 65536, MIB };
#define NR_SIZES	(sizeof(sizes) / sizeof(sizes[0]))

static void by_sockets(const struct way *w, bool all)
{
	size_t i;

	for (i = 0; i < NR_SIZES; i++) {
		compare(w, "get", 1, 1, sizes[i]);
		compare(w, "set", 1, 1, sizes[i]);
	}
	if (!all)
		return;
	compare(w, "get", 12, 1, 64);
	compare(w, "set", 12, 1, 64);
	compare(w, "get", 1, 16, 64);
	compare(w, "set", 1, 16, 64);
	compare(w, "get", 12, 16, 64);
	compare(w, "set", 12, 16, 64);
}

static void by_jmp(void)
{
	static const unsigned int clients[] = { 2, 4, 8, 12 };
	static const unsigned int shares[] = { 0, 10, 50, 100 };
	size_t i, k;

	for (i = 0; i < NR_SIZES; i++) {
		measure("jmp_get", 0, 1, sizes[i]);
		measure("jmp_set", 100, 1, sizes[i]);
	}
	for (i = 0; i < sizeof(clients) / sizeof(clients[0]); i++)
		for (k = 0; k < sizeof(shares) / sizeof(shares[0]); k++)
			measure(shares[k] == 0 ? "jmp_get" : shares[k] == 100 ?
				"jmp_set" : "jmp_mixed", shares[k], clients[i],
				64);
}

int main(int argc, char **argv)
{
	static const struct way stock_unix = { "stock_unix", "-s", SOCKET };
	static const struct way stock_tcp = { "stock_tcp", "-p", PORT };
	static const struct way vas_unix = { "vas_unix", "-s", SOCKET };

	bench_init(argc, argv);
	loopback_up();
	start(PATCHED, NAME);
	by_jmp();
	by_sockets(&vas_unix, false);
	stop();
	start(STOCK, NULL);
	by_sockets(&stock_unix, true);
	by_sockets(&stock_tcp, true);
	stop();
	return 0;
}
