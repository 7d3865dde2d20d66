// SPDX-License-Identifier: GPL-2.0-only
/*
 * GET and SET over every way to the store, with one client or several.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "kv.h"

#define MOST_CLIENTS	8
#define KEYS		256

struct run {
	const struct kv_way *way;
	const char *what;	/* get, set or mixed */
	unsigned int clients, keys, rounds;
	size_t size;
	unsigned int nr;	/* of the next request */
	char *value;
	char names[KEYS][KV_KEY];
	int go[MOST_CLIENTS], done;
	pid_t pids[MOST_CLIENTS];
};

static void one(struct run *r, bool set)
{
	const char *key = r->names[r->nr++ & (r->keys - 1)];

	if (set) {
		if (r->way->set(key, r->value, r->size))
			bench_fail("%s: SET failed", r->way->name);
	} else if (r->way->get(key, r->value, r->size) != (ssize_t)r->size ||
		   r->value[r->size - 1] != 'v') {
		bench_fail("%s: GET failed", r->way->name);
	}
}

static void requests(struct run *r, unsigned int n)
{
	unsigned int i;

	switch (r->what[0]) {
	case 'g':
		for (i = 0; i < n; i++)
			one(r, false);
		break;
	case 's':
		for (i = 0; i < n; i++)
			one(r, true);
		break;
	default:
		for (i = 0; i < n; i++)
			one(r, i % 10 == 9);
	}
}

static void alone(unsigned long n, void *arg)
{
	struct run *r = arg;

	while (n--)
		requests(r, r->rounds);
}

static void together(unsigned long n, void *arg)
{
	struct run *r = arg;
	char done[MOST_CLIENTS];
	unsigned int i;

	while (n--) {
		for (i = 0; i < r->clients; i++)
			kv_write(r->go[i], "", 1);
		kv_read(r->done, done, r->clients);
	}
}

static void client(struct run *r, unsigned int nr, int go, int done)
{
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	r->way->join(nr);
	r->nr = nr * 7;
	requests(r, 1);
	kv_write(done, "", 1);
	while (read(go, &c, 1) == 1) {
		requests(r, r->rounds);
		kv_write(done, "", 1);
	}
	_exit(0);
}

static void start_clients(struct run *r)
{
	int done[2], go[2];
	unsigned int i;
	char c;

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
		kv_read(done[0], &c, 1);
	}
	close(done[1]);
}

static void stop_clients(struct run *r)
{
	unsigned int i;

	for (i = 0; i < r->clients; i++) {
		kill(r->pids[i], SIGKILL);
		waitpid(r->pids[i], NULL, 0);
		close(r->go[i]);
	}
	close(r->done);
}

static void measure(const struct kv_way *way, const char *what,
		    unsigned int clients, size_t size)
{
	const char *name = bench_text("%s_%s", way->name, what);
	struct run r = { .way = way, .what = what, .clients = clients,
			 .size = size, .keys = KEYS, .rounds = way->rounds };
	struct bench b = {
		.group = "kv", .name = name, .arg = &r,
		.params = bench_text("\"bytes\": %zu, \"clients\": %u", size,
				     clients),
		.op = clients > 1 ? together : alone,
		.flags = BENCH_NO_STEP | BENCH_ONCE,
	};

	unsigned int i;

	if (!bench_wanted("kv", name))
		return;
	while (r.keys * size > 16 * MIB)
		r.keys /= 2;
	/* large values take long enough by themselves */
	if (size > 4096)
		r.rounds = size > MIB ? 2 : 20;
	b.per_turn = r.rounds * clients;
	for (i = 0; i < KEYS; i++)
		kv_key(r.names[i], i);
	r.value = malloc(size);
	memset(r.value, 'v', size);
	way->open(clients, r.keys, size);
	if (clients > 1) {
		start_clients(&r);
		bench_run(&b);
		stop_clients(&r);
	} else {
		way->join(0);
		bench_run(&b);
		way->leave();
	}
	way->close();
	free(r.value);
}

int main(int argc, char **argv)
{
	static const struct kv_way *const ways[] = {
		&kv_vas, &kv_vas_locked, &kv_socket, &kv_redis
	};
	static const size_t sizes[] = { 4, 64, 1024, 65536, 2 * MIB };
	static const unsigned int clients[] = { 2, 4, 8 };
	size_t w, i;

	bench_init(argc, argv);
	for (w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			measure(ways[w], "get", 1, sizes[i]);
			measure(ways[w], "set", 1, sizes[i]);
		}
		for (i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
			measure(ways[w], "get", clients[i], 64);
			measure(ways[w], "set", clients[i], 64);
			measure(ways[w], "mixed", clients[i], 64);
		}
	}
	kv_redis_benchmarks();
	return 0;
}
