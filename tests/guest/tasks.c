// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where tasks are that sleep, share the memory of a process without being its
 * threads, or work for it in the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "files.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

static volatile struct pvvas_identity *identity = (void *)PVVAS_WINDOW_VA;

static int view_with(char value)
{
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, 4 * MIB, NULL)));

	check_eq(vas_switch(vh), 0);
	BASE[0] = value;
	check_eq(vas_switch(VAS_HOME), 0);
	return vh;
}

/* In its own process, and another context, on the same CPU. */
static void busy_elsewhere(void *arg)
{
	atomic_int *stop = arg;
	int vh;

	tcase_pin(0);
	vh = view_with(9);
	check_eq(vas_switch(vh), 0);
	atomic_fetch_add(stop, 1);
	while (atomic_load(stop) < 2) {
		check_eq(BASE[0], 9);
		sched_yield();
	}
	/* the page that the other one reads into has not been written to */
	check_eq(BASE[2 * MIB], 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static int pipe_fds[2], views[2];
static atomic_int reading;

static void *sleeping_reader(void *arg)
{
	tcase_pin(0);
	check_eq(vas_switch(views[0]), 0);
	atomic_store(&reading, gettid());
	check_eq(read(pipe_fds[0], BASE + 2 * MIB, 5), 5);
	check_eq(memcmp(BASE + 2 * MIB, "hello", 5), 0);
	check_eq(vas_current(), views[0]);
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
	return arg;
}

static void wait_until_asleep(int tid)
{
	char path[64], text[256] = "", *state;
	int i, fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	for (i = 0; i < 1000; i++) {
		fd = open(path, O_RDONLY);
		check(fd >= 0);
		check(read(fd, text, sizeof(text) - 1) > 0);
		close(fd);
		state = strrchr(text, ')');
		check(state);
		if (state[2] == 'S')
			return;
		usleep(1000);
	}
	tcase_fail(__FILE__, __LINE__, "it does not sleep: %s", text);
}

static void a_read_that_slept_ends_in_the_view_where_it_began(void)
{
	atomic_int *stop = tcase_shared(sizeof(*stop));
	pthread_t thread;
	pid_t pid;

	tcase_pin(0);
	views[0] = view_with(1);
	views[1] = view_with(2);
	pid = tcase_spawn(busy_elsewhere, stop);
	while (!atomic_load(stop))
		usleep(1000);
	check_eq(pipe(pipe_fds), 0);
	check_eq(pthread_create(&thread, NULL, sleeping_reader, NULL), 0);
	while (!atomic_load(&reading))
		usleep(1000);
	wait_until_asleep(atomic_load(&reading));
	/* its process is in another view when the data come */
	check_eq(vas_switch(views[1]), 0);
	sched_yield();
	check_eq(write(pipe_fds[1], "hello", 5), 5);
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(vas_current(), views[1]);
	check_eq(BASE[0], 2);
	check_eq(BASE[2 * MIB], 0);
	check_eq(vas_switch(VAS_HOME), 0);
	atomic_store(stop, 2);
	tcase_join(pid);
}

static int handler_view;

static void on_alarm(int sig)
{
	(void)sig;
	handler_view = vas_current();
}

static void a_signal_ends_a_read_and_the_view_stays(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	int vh = view_with(1), fds[2];

	check_eq(sigaction(SIGALRM, &sa, NULL), 0);
	check_eq(pipe(fds), 0);
	check_eq(vas_switch(vh), 0);
	ualarm(50000, 0);
	check_eq(read(fds[0], BASE + 8192, 1), -1);
	check_eq(errno, EINTR);
	check_eq(handler_view, vh);
	check_eq(vas_current(), vh);
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static volatile int child_slot, child_byte;

static void a_child_of_vfork_is_where_its_parent_is(void)
{
	int vh = view_with(1), status;
	pid_t pid;

	check_eq(vas_switch(vh), 0);
	child_slot = -1;
	child_byte = -1;
	pid = vfork();
	if (!pid) {
		child_slot = (int)identity->slot;
		child_byte = BASE[0];
		/* preempted, and back */
		usleep(1000);
		child_byte += BASE[0];
		_exit(0);
	}
	check(pid > 0);
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	check_eq(child_slot, (int)identity->slot);
	check_eq(child_byte, 2);
	check_eq(vas_current(), vh);
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
}

static void programs_may_be_started_from_inside(void)
{
	char *argv[] = { "true", NULL }, *none[] = { NULL };
	int vh = view_with(1), status, i;
	pid_t pid;

	check_eq(vas_switch(vh), 0);
	for (i = 0; i < 5; i++) {
		check_eq(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, none),
			 0);
		check_eq(waitpid(pid, &status, 0), pid);
		check_eq(status, 0);
		check_eq(system("true"), 0);
		check_eq(vas_current(), vh);
		check_eq(BASE[0], 1);
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

/* It has left the process, although its notifier is the same as before. */
static void who_executes_another_program_is_off_the_list(void)
{
	char *argv[] = { "sleep", "1", NULL }, *none[] = { NULL };
	char line[64], self[64];
	pid_t pid;
	int i;

	file_mount("pvvas", "/sys/fs/pvvas");
	check_eq(vas_switch(view_with(1)), 0);
	check_eq(posix_spawn(&pid, "/bin/sleep", NULL, NULL, argv, none), 0);
	snprintf(line, sizeof(line), "thread %d ", pid);
	/* it wakes us before it has the new program's memory */
	for (i = 0; i < 1000; i++) {
		if (!strstr(file_contents("/sys/fs/pvvas/processes"), line))
			break;
		usleep(1000);
	}
	check(!strstr(file_contents("/sys/fs/pvvas/processes"), line));
	snprintf(self, sizeof(self), "process %d ", getpid());
	check(strstr(file_contents("/sys/fs/pvvas/processes"), self));
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(umount("/sys/fs/pvvas"), 0);
}

/* What an access is refused for that a page fault is not told of. */
struct refusal {
	size_t offset;
	int sig;
};

static int first_in_its_namespace(const struct refusal *r)
{
	pid_t pid;
	int status;

	check_eq(unshare(CLONE_NEWPID), 0);
	pid = fork();
	check(pid >= 0);
	if (!pid) {
		int sid, vid = tcase_vas_with_seg(BASE, MIB, &sid);

		check_eq(getpid(), 1);
		check_eq(seg_prot1(sid, BASE + 4096, PROT_READ), 0);
		check_eq(vas_switch(check_id(vas_attach(vid))), 0);
		BASE[r->offset] = 1;
		_exit(0);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static void refuse_the_first(void *arg)
{
	const struct refusal *r = arg;
	int status = first_in_its_namespace(r);

	check(r->sig ? WIFSIGNALED(status) : WIFEXITED(status));
	check_eq(r->sig ? WTERMSIG(status) : WEXITSTATUS(status), r->sig);
}

/* The first process of a container, which no signal kills by default. */
static void the_first_process_of_a_namespace_dies_of_a_refused_access(void)
{
	static const struct refusal of[] = {
		{ 0, 0 },
		{ 4096, SIGSEGV },	/* protected */
		{ MIB, SIGSEGV },	/* beyond the end */
	};
	size_t i;

	for (i = 0; i < sizeof(of) / sizeof(of[0]); i++)
		tcase_join(tcase_spawn(refuse_the_first, (void *)&of[i]));
}

static uint32_t shared_slot;

/* No library here: it has thread-local variables, and this is no thread. */
static int clone_child(void *arg)
{
	(void)arg;
	child_slot = (int)identity->slot;
	asm volatile(".byte 0x0f, 0x01, 0xd4" : : "a"(0), "c"(shared_slot)
		     : "memory");
	child_byte = BASE[0];
	syscall(SYS_sched_yield);
	child_byte += (int)identity->slot == (int)shared_slot ? BASE[0] : 100;
	/* ends inside */
	return 0;
}

static void a_process_that_shares_the_memory_has_a_view_of_its_own(void)
{
	int vh = view_with(7), other = view_with(2), status;
	char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	check(stack != MAP_FAILED);
	check_eq(vas_switch(vh), 0);
	shared_slot = identity->slot;
	check_eq(vas_switch(other), 0);
	pid = clone(clone_child, stack + 65536, CLONE_VM | SIGCHLD, NULL);
	check(pid > 0);
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	check_eq(child_slot, 0);
	check_eq(child_byte, 14);
	check_eq(vas_current(), other);
	check_eq(BASE[0], 2);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
}

struct ring {
	int fd;
	struct io_uring_params p;
	char *sq, *cq;
	struct io_uring_sqe *sqes;
};

static void ring_open(struct ring *r)
{
	r->fd = (int)syscall(SYS_io_uring_setup, 4, &r->p);
	check(r->fd >= 0);
	r->sq = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		     IORING_OFF_SQ_RING);
	r->cq = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		     IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		       IORING_OFF_SQES);
	if (r->sq == MAP_FAILED || r->cq == MAP_FAILED || r->sqes == MAP_FAILED)
		tcase_fail(__FILE__, __LINE__, "mmap: %s", strerror(errno));
}

static int ring_read(struct ring *r, int fd, char *to, unsigned int flags)
{
	unsigned int *tail = (unsigned int *)(r->sq + r->p.sq_off.tail);
	unsigned int *array = (unsigned int *)(r->sq + r->p.sq_off.array);
	unsigned int *head = (unsigned int *)(r->cq + r->p.cq_off.head);
	struct io_uring_cqe *cqes = (void *)(r->cq + r->p.cq_off.cqes);
	unsigned int mask = r->p.sq_entries - 1, at = *tail & mask;
	int res;

	memset(&r->sqes[at], 0, sizeof(r->sqes[at]));
	r->sqes[at].opcode = IORING_OP_READ;
	r->sqes[at].fd = fd;
	r->sqes[at].addr = (uintptr_t)to;
	r->sqes[at].len = 4;
	r->sqes[at].flags = (unsigned char)flags;
	array[at] = at;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	check_eq(syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS,
			 NULL, 0), 1);
	res = cqes[*head & (r->p.cq_entries - 1)].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return res;
}

/* What a worker does for a thread it does at home, where nothing is. */
static void workers_of_io_uring_are_at_home(void)
{
	static struct ring r;
	int vh = view_with(1), fds[2];
	char outside[4];

	check_eq(pipe(fds), 0);
	ring_open(&r);
	check_eq(vas_switch(vh), 0);
	check_eq(write(fds[1], "self", 4), 4);
	check_eq(ring_read(&r, fds[0], BASE + MIB, 0), 4);
	check_eq(memcmp(BASE + MIB, "self", 4), 0);
	check_eq(write(fds[1], "work", 4), 4);
	check_eq(ring_read(&r, fds[0], BASE + MIB, IOSQE_ASYNC), -EFAULT);
	check_eq(memcmp(BASE + MIB, "self", 4), 0);
	check_eq(write(fds[1], "done", 4), 4);
	check_eq(ring_read(&r, fds[0], outside, IOSQE_ASYNC), 4);
	check_eq(vas_current(), vh);
	check_eq(vas_switch(VAS_HOME), 0);
	close(r.fd);
}

static const struct tcase cases[] = {
	CASE(a_read_that_slept_ends_in_the_view_where_it_began),
	CASE(a_signal_ends_a_read_and_the_view_stays),
	CASE(a_child_of_vfork_is_where_its_parent_is),
	CASE(programs_may_be_started_from_inside),
	CASE(who_executes_another_program_is_off_the_list),
	CASE(a_process_that_shares_the_memory_has_a_view_of_its_own),
	CASE(workers_of_io_uring_are_at_home),
	CASE_SECONDS(the_first_process_of_a_namespace_dies_of_a_refused_access,
		     20),
};

TCASE_MAIN(cases, 0)
