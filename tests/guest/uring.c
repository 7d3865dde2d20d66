// SPDX-License-Identifier: GPL-2.0-only
/*
 * io_uring: what its requests do in the window, at once and after they have waited.
 * Those that had to wait reach no view of a process that has had two.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "two_views.h"

#define PAGE	4096UL

/* Of one entry. */
static struct ring {
	int fd;
	struct io_uring_params p;
	char *sq, *cq;
	struct io_uring_sqe *sqe;
} ring;

static void *ring_map(off_t what)
{
	void *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
		       what);

	check(p != MAP_FAILED);
	return p;
}

static void ring_open(unsigned int flags)
{
	memset(&ring, 0, sizeof(ring));
	ring.p.flags = flags;
	ring.p.sq_thread_idle = 1000;
	ring.fd = (int)syscall(SYS_io_uring_setup, 1, &ring.p);
	check(ring.fd >= 0);
	ring.sq = ring_map(IORING_OFF_SQ_RING);
	ring.cq = ring_map(IORING_OFF_CQ_RING);
	ring.sqe = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
			IORING_OFF_SQES);
	check(ring.sqe != MAP_FAILED);
}

static unsigned int *ring_word(char *part, unsigned int offset)
{
	return (unsigned int *)(part + offset);
}

static struct io_uring_sqe *ring_request(int opcode, int fd, unsigned int flags)
{
	memset(ring.sqe, 0, sizeof(*ring.sqe));
	ring.sqe->opcode = (unsigned char)opcode;
	ring.sqe->flags = (unsigned char)flags;
	ring.sqe->fd = fd;
	return ring.sqe;
}

static void ring_submit(void)
{
	unsigned int *tail = ring_word(ring.sq, ring.p.sq_off.tail);

	*ring_word(ring.sq, ring.p.sq_off.array) = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	check(syscall(SYS_io_uring_enter, ring.fd, 1, 0,
		      ring.p.flags & IORING_SETUP_SQPOLL ?
		      IORING_ENTER_SQ_WAKEUP : 0, NULL, 0) >= 0);
}

/* Read 8 bytes. */
static void ring_read_to(void *to, int fd, unsigned int flags)
{
	struct io_uring_sqe *sqe = ring_request(IORING_OP_READ, fd, flags);

	sqe->addr = (uintptr_t)to;
	sqe->len = 8;
	ring_submit();
}

static void ring_poll(int fd)
{
	ring_request(IORING_OP_POLL_ADD, fd, 0)->poll32_events = POLLIN;
	ring_submit();
}

static void ring_read(int fd, unsigned int flags)
{
	ring_read_to(BASE, fd, flags);
}

static int ring_result(void)
{
	unsigned int *head = ring_word(ring.cq, ring.p.cq_off.head);
	struct io_uring_cqe *cqes =
		(struct io_uring_cqe *)(ring.cq + ring.p.cq_off.cqes);
	int res;

	check_eq(syscall(SYS_io_uring_enter, ring.fd, 0, 1,
			 IORING_ENTER_GETEVENTS, NULL, 0), 0);
	res = cqes[*head & (*ring_word(ring.cq, ring.p.cq_off.ring_mask))].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return res;
}

/* In place of a pipe, whose reads go to a worker at once on Linux 6.1. */
static void open_pair(int fds[2])
{
	check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* What does the rest of a request: a task work, or the thread when it asks for results. */
static const unsigned int kinds[] = {
	0, IORING_SETUP_COOP_TASKRUN,
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
};

#define NR_KINDS	(sizeof(kinds) / sizeof(kinds[0]))

/* A read that waits, from a view or from none, and ends in another one. */
static void waits_and_ends(unsigned int kind, int from, int to, int expected)
{
	int fds[2];

	ring_open(kind);
	open_pair(fds);
	enter(from);
	ring_read(fds[0], 0);
	enter(to);
	check_eq(write(fds[1], "FROMPIPE", 8), 8);
	check_eq(ring_result(), expected);
	check_eq(vas_current(), to);
	close(fds[0]);
	close(fds[1]);
	close(ring.fd);
}

static void a_read_that_has_waited_reaches_no_vas(void)
{
	unsigned int i;

	two_views();
	for (i = 0; i < NR_KINDS; i++) {
		waits_and_ends(kinds[i], a, b, -EFAULT);
		waits_and_ends(kinds[i], a, VAS_HOME, -EFAULT);
		waits_and_ends(kinds[i], VAS_HOME, b, -EFAULT);
		/* nor the one that it was asked for in, which is not known */
		waits_and_ends(kinds[i], a, a, -EFAULT);
	}
	enter(a);
	check(shows(a, "this is a"));
	check(shows(b, "this is b"));
}

static void what_has_gone_before_counts_as_a_second_vas(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL), vh, fds[2];

	vh = check_id(vas_attach(vid));
	ring_open(0);
	open_pair(fds);
	enter(vh);
	ring_read(fds[0], 0);
	enter(VAS_HOME);
	check_eq(vas_detach(vh), 0);
	vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	enter(vh);
	strcpy(BASE, "this is b");
	check_eq(write(fds[1], "FROMPIPE", 8), 8);
	check_eq(ring_result(), -EFAULT);
	check(shows(vh, "this is b"));
}

static void with_one_vas_a_read_that_has_waited_is_as_with_other_memory(void)
{
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	unsigned int i;

	for (i = 0; i < NR_KINDS; i++) {
		enter(vh);
		strcpy(BASE, "this is a");
		waits_and_ends(kinds[i], vh, vh, 8);
		check(shows(vh, "FROMPIPE"));
		waits_and_ends(kinds[i], vh, VAS_HOME, -EFAULT);
	}
}

/* What pvvas(7) says to do instead. */
static void what_waits_is_read_into_memory_outside_or_waited_for_first(void)
{
	static char outside[8];
	unsigned int i;
	int fds[2];

	two_views();
	open_pair(fds);
	for (i = 0; i < NR_KINDS; i++) {
		ring_open(kinds[i]);
		enter(a);
		ring_read_to(outside, fds[0], 0);
		enter(b);
		memset(outside, 0, sizeof(outside));
		check_eq(write(fds[1], "TOMEMORY", 8), 8);
		check_eq(ring_result(), 8);
		check(!memcmp(outside, "TOMEMORY", 8));
		enter(a);
		ring_poll(fds[0]);
		check_eq(write(fds[1], "FROMPIPE", 8), 8);
		check_eq(ring_result(), POLLIN);
		ring_read(fds[0], 0);
		check_eq(ring_result(), 8);
		check(shows(a, "FROMPIPE"));
		check(shows(b, "this is b"));
		close(ring.fd);
	}
}

static void a_read_that_need_not_wait_goes_where_it_was_submitted(void)
{
	int fds[2];

	two_views();
	ring_open(0);
	open_pair(fds);
	check_eq(write(fds[1], "FROMPIPE", 8), 8);
	ring_read(fds[0], 0);
	enter(b);
	check_eq(ring_result(), 8);
	check(shows(a, "FROMPIPE"));
	check(shows(b, "this is b"));
}

static void workers_see_no_view(void)
{
	int fds[2];

	two_views();
	open_pair(fds);
	check_eq(write(fds[1], "FROMPIPEFROMPIPE", 16), 16);
	ring_open(0);
	ring_read(fds[0], IOSQE_ASYNC);
	check_eq(ring_result(), -EFAULT);
	close(ring.fd);
	ring_open(IORING_SETUP_SQPOLL);
	ring_read(fds[0], 0);
	check_eq(ring_result(), -EFAULT);
	check(shows(a, "this is a"));
	check(shows(b, "this is b"));
}

static void buffers_in_the_window_cannot_be_registered(void)
{
	struct iovec iov = { BASE, PAGE };

	two_views();
	ring_open(0);
	check_eq(syscall(SYS_io_uring_register, ring.fd,
			 IORING_REGISTER_BUFFERS, &iov, 1), -1);
	check_eq(errno, EFAULT);
}

/*
 * A thread that is out of its view for the time of such work: its view stays.
 */

/* Memory outside the window whose first touch waits until it is let go on. */
static char *page_that_waits(int *fd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(p != MAP_FAILED);
	*fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (*fd < 0 && errno == ENOSYS)
		tcase_skip("this kernel has no userfaultfd");
	check(*fd >= 0);
	check_eq(ioctl(*fd, UFFDIO_API, &api), 0);
	reg.range.start = (uintptr_t)p;
	reg.range.len = PAGE;
	check_eq(ioctl(*fd, UFFDIO_REGISTER, &reg), 0);
	return p;
}

struct held {
	int fds[2], uffd;
	char *page;
};

static void *detach_meanwhile(void *arg)
{
	struct held *held = arg;
	struct uffdio_zeropage zero = {
		.range = { (uintptr_t)held->page, PAGE },
	};
	struct uffd_msg msg;

	check_eq(write(held->fds[1], "FROMPIPE", 8), 8);
	check_eq(read(held->uffd, &msg, sizeof(msg)), sizeof(msg));
	check_eq(msg.event, UFFD_EVENT_PAGEFAULT);
	check_eq(vas_detach(a), -EBUSY);
	check_eq(vas_detach(b), 0);
	check_eq(ioctl(held->uffd, UFFDIO_ZEROPAGE, &zero), 0);
	return NULL;
}

static void a_view_that_a_thread_comes_back_to_stays(void)
{
	struct held held;
	pthread_t thread;
	unsigned int i;

	for (i = 0; i < NR_KINDS; i++) {
		two_views();
		held.page = page_that_waits(&held.uffd);
		open_pair(held.fds);
		ring_open(kinds[i]);
		ring_read_to(held.page, held.fds[0], 0);
		check_eq(pthread_create(&thread, NULL, detach_meanwhile, &held), 0);
		check_eq(ring_result(), 8);
		check_eq(vas_current(), a);
		check(!strcmp(BASE, "this is a"));
		check_eq(pthread_join(thread, NULL), 0);
		check(!memcmp(held.page, "FROMPIPE", 8));
		enter(VAS_HOME);
		check_eq(vas_detach(a), 0);
		close(ring.fd);
		close(held.uffd);
	}
}

struct churn {
	int fd;
	atomic_bool end;
	unsigned long turns;
};

/* More attachments than there are slots, and what the other one waits for. */
static void *churn(void *arg)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL), vh;
	struct churn *churn = arg;

	while (!atomic_load(&churn->end)) {
		vh = check_id(vas_attach(vid));
		check_eq(write(churn->fd, "FROMPIPE", 8), 8);
		enter(vh);
		enter(VAS_HOME);
		check_eq(vas_detach(vh), 0);
		churn->turns++;
	}
	return NULL;
}

#define READS	3000

static void a_thread_comes_back_to_its_own_view_while_others_come_and_go(void)
{
	static char outside[8];
	struct churn other = { 0 };
	pthread_t thread;
	int fds[2], i;

	two_views();
	check_eq(pipe(fds), 0);
	check_eq(fcntl(fds[1], F_SETPIPE_SZ, (int)PAGE), PAGE);
	other.fd = fds[1];
	check_eq(pthread_create(&thread, NULL, churn, &other), 0);
	for (i = 0; i < READS; i++) {
		if (i % 500 == 0) {
			if (i)
				close(ring.fd);
			ring_open(kinds[i / 500 % NR_KINDS]);
		}
		enter(i % 2 ? a : b);
		ring_read_to(outside, fds[0], 0);
		check_eq(ring_result(), 8);
		check(!strcmp(BASE, i % 2 ? "this is a" : "this is b"));
	}
	atomic_store(&other.end, true);
	/* It may wait for room. */
	check_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	while (read(fds[0], outside, sizeof(outside)) > 0 || other.turns == 0)
		;
	check_eq(pthread_join(thread, NULL), 0);
	tcase_note("%d reads beside %lu attachments", READS, other.turns);
}

struct probes {
	int fd;
	atomic_bool end;
	atomic_int turns;
};

static void *switch_probes(void *arg)
{
	struct probes *probes = arg;

	while (!atomic_load(&probes->end)) {
		check_eq(pwrite(probes->fd, "0", 1, 0), 1);
		check_eq(pwrite(probes->fd, "1", 1, 0), 1);
		atomic_fetch_add(&probes->turns, 1);
	}
	return NULL;
}

#define TURNS	10

/* A request whose work is lost never ends, nor does a later one of its thread. */
static void probes_that_are_switched_off_and_on_lose_no_work(void)
{
	struct probes probes = {
		.fd = open("/sys/kernel/debug/kprobes/enabled", O_WRONLY),
	};
	static char outside[8];
	unsigned long reads;
	pthread_t thread;
	int fds[2];

	if (probes.fd < 0)
		tcase_skip("no debugfs with kprobes");
	two_views();
	ring_open(0);
	check_eq(pipe(fds), 0);
	check_eq(pthread_create(&thread, NULL, switch_probes, &probes), 0);
	for (reads = 0; atomic_load(&probes.turns) < TURNS; reads++) {
		enter(reads % 2 ? a : b);
		ring_read_to(outside, fds[0], 0);
		check_eq(write(fds[1], "TOMEMORY", 8), 8);
		check_eq(ring_result(), 8);
		check(shows(reads % 2 ? a : b, reads % 2 ? "this is a" : "this is b"));
	}
	atomic_store(&probes.end, true);
	check_eq(pthread_join(thread, NULL), 0);
	close(probes.fd);
	tcase_note("%lu reads", reads);
}

static const struct tcase cases[] = {
	CASE(a_read_that_has_waited_reaches_no_vas),
	CASE(what_has_gone_before_counts_as_a_second_vas),
	CASE(with_one_vas_a_read_that_has_waited_is_as_with_other_memory),
	CASE(what_waits_is_read_into_memory_outside_or_waited_for_first),
	CASE(a_read_that_need_not_wait_goes_where_it_was_submitted),
	CASE(workers_see_no_view),
	CASE(buffers_in_the_window_cannot_be_registered),
	CASE(a_view_that_a_thread_comes_back_to_stays),
	CASE_SECONDS(a_thread_comes_back_to_its_own_view_while_others_come_and_go, 60),
	CASE_SECONDS(probes_that_are_switched_off_and_on_lose_no_work, 60),
};

TCASE_MAIN(cases, 0)
