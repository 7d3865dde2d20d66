// SPDX-License-Identifier: GPL-2.0-only
/*
 * The same store in a process of its own, behind UNIX sockets.
 */
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "kv.h"

#define MOST	8

struct request {
	uint32_t set;
	uint32_t pad;
	uint64_t length;
	char key[KV_KEY];
};

static int ours[MOST], theirs[MOST], mine;
static unsigned int nr;
static pid_t server;

void kv_read(int fd, void *to, size_t length)
{
	char *p = to;

	while (length) {
		ssize_t n = read(fd, p, length);

		if (n <= 0)
			bench_fail("a connection is gone");
		p += n;
		length -= (size_t)n;
	}
}

void kv_write(int fd, const void *from, size_t length)
{
	const char *p = from;

	while (length) {
		ssize_t n = write(fd, p, length);

		if (n <= 0)
			bench_fail("a connection is gone");
		p += n;
		length -= (size_t)n;
	}
}

/* The rest of what has begun to arrive: @have bytes at @to, @all are due. */
static void rest(int fd, char *to, size_t have, size_t all)
{
	if (have < all)
		kv_read(fd, to + have, all - have);
}

static size_t some(int fd, void *to, size_t room)
{
	ssize_t n = read(fd, to, room);

	if (n <= 0)
		bench_fail("a connection is gone");
	return (size_t)n;
}

static void answer(int fd, struct kv_store *store, char *buffer, size_t room)
{
	struct request *r = (struct request *)buffer;
	size_t have = some(fd, buffer, sizeof(*r) + room);
	uint64_t ret;

	rest(fd, buffer, have, sizeof(*r));
	if (have < sizeof(*r))
		have = sizeof(*r);
	if (r->set) {
		rest(fd, buffer, have, sizeof(*r) + r->length);
		ret = (uint64_t)kv_set(store, r->key, (char *)(r + 1),
				       r->length);
		kv_write(fd, &ret, sizeof(ret));
		return;
	}
	/* one message: the length and the value */
	ret = (uint64_t)kv_get(store, r->key, (char *)(r + 1), room);
	memcpy((char *)(r + 1) - sizeof(ret), &ret, sizeof(ret));
	kv_write(fd, (char *)(r + 1) - sizeof(ret), sizeof(ret) + ret);
}

static void serve(unsigned int keys, size_t room)
{
	struct kv_store *store = mmap(NULL, kv_bytes(keys, room),
				      PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *value = mmap(NULL, room + sizeof(struct request),
			   PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct epoll_event events[MOST];
	int ep = epoll_create1(0), i, n;

	kv_make(store, keys, room);
	for (i = 0; i < (int)nr; i++) {
		struct epoll_event e = { .events = EPOLLIN,
					 .data.fd = theirs[i] };

		bench_check(!epoll_ctl(ep, EPOLL_CTL_ADD, theirs[i], &e));
	}
	for (;;) {
		n = epoll_wait(ep, events, MOST, -1);
		for (i = 0; i < n; i++)
			answer(events[i].data.fd, store, value, room);
	}
}

static void open_server(unsigned int clients, unsigned int keys, size_t room)
{
	unsigned int i;
	int pair[2];

	nr = clients;
	for (i = 0; i < nr; i++) {
		bench_check(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
		ours[i] = pair[0];
		theirs[i] = pair[1];
	}
	server = fork();
	bench_check(server >= 0);
	if (!server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(keys, room);
	}
}

static void join(unsigned int client)
{
	mine = ours[client];
}

static ssize_t get(const char *key, char *value, size_t room)
{
	struct request r = { .set = 0 };
	uint64_t length = 0;
	struct iovec parts[] = { { &length, sizeof(length) }, { value, room } };
	ssize_t n;

	strcpy(r.key, key);
	kv_write(mine, &r, sizeof(r));
	n = readv(mine, parts, 2);
	if (n < (ssize_t)sizeof(length))
		bench_fail("a connection is gone");
	rest(mine, value, (size_t)n - sizeof(length), length);
	return (ssize_t)length;
}

static int set(const char *key, const char *value, size_t length)
{
	struct request r = { .set = 1, .length = length };
	struct iovec parts[] = { { &r, sizeof(r) }, { (char *)value, length } };
	uint64_t ret;
	ssize_t n;

	strcpy(r.key, key);
	n = writev(mine, parts, 2);
	if (n < (ssize_t)sizeof(r))
		bench_fail("a connection is gone");
	n -= (ssize_t)sizeof(r);
	kv_write(mine, value + n, length - (size_t)n);
	kv_read(mine, &ret, sizeof(ret));
	return (int)ret;
}

static void leave(void)
{
}

static void close_server(void)
{
	unsigned int i;

	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	for (i = 0; i < nr; i++) {
		close(ours[i]);
		close(theirs[i]);
	}
}

const struct kv_way kv_socket = {
	"unix_socket", 50, open_server, join, get, set, leave, close_server
};
