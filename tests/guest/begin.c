// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first call of a process that has threads already: the driver gives each of
 * them its notifier, wherever it is, and disturbs none.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define NR(a)	(sizeof(a) / sizeof((a)[0]))

/* A thread in a call that ends by its time limit if nothing interrupts it. */
struct sleeper {
	int (*sleep)(void);	/* 0, or the error */
	atomic_int *asleep;
	int error;
	pthread_t thread;
};

static int in_epoll_wait(void)
{
	struct epoll_event e;
	int fd = epoll_create1(EPOLL_CLOEXEC);
	int ret = epoll_wait(fd, &e, 1, 1000) ? errno : 0;

	close(fd);
	return ret;
}

static int in_recv(void)
{
	struct timeval limit = { .tv_sec = 1 };
	int fd[2], ret;
	char c;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0)
		return errno;
	setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	ret = recv(fd[0], &c, 1, 0) < 0 && errno == EAGAIN ? 0 : errno;
	close(fd[0]);
	close(fd[1]);
	return ret;
}

static int in_nanosleep(void)
{
	struct timespec second = { .tv_sec = 1 };

	return nanosleep(&second, NULL) ? errno : 0;
}

static void *sleep_in_call(void *arg)
{
	struct sleeper *s = arg;

	atomic_fetch_add(s->asleep, 1);
	s->error = s->sleep();
	return NULL;
}

static void no_thread_is_interrupted(int (*begin)(void))
{
	static int (*const calls[])(void) = {
		in_epoll_wait, in_recv, in_nanosleep
	};
	struct sleeper s[NR(calls)];
	atomic_int asleep = 0;
	size_t i;

	for (i = 0; i < NR(s); i++) {
		s[i] = (struct sleeper){ .sleep = calls[i], .asleep = &asleep };
		check_eq(pthread_create(&s[i].thread, NULL, sleep_in_call, &s[i]), 0);
	}
	while (atomic_load(&asleep) < (int)NR(s))
		sched_yield();
	usleep(100000);
	check_eq(begin(), 0);
	for (i = 0; i < NR(s); i++) {
		check_eq(pthread_join(s[i].thread, NULL), 0);
		if (s[i].error)
			tcase_fail(__FILE__, __LINE__, "call %zu: %s", i,
				   strerror(s[i].error));
	}
}

static int attach(void)
{
	return vas_detach(check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL))));
}

static void the_first_attach_interrupts_no_call(void)
{
	no_thread_is_interrupted(attach);
	no_thread_is_interrupted(attach);
}

static void pvvas_begin_interrupts_no_call(void)
{
	no_thread_is_interrupted(pvvas_begin);
	check_eq(pvvas_begin(), 0);
}

/* A thread that is in a read() into the window before there is one. */
struct reader {
	int fd[2], vid[2], vh;
	atomic_int asleep, attached;
	ssize_t n;
	int error;
};

static void *read_then_use_a_vas(void *arg)
{
	struct reader *r = arg;
	int i;

	atomic_store(&r->asleep, 1);
	r->n = read(r->fd[0], BASE, 8);
	r->error = errno;
	while (!atomic_load(&r->attached))
		usleep(1000);
	check_eq(vas_switch(r->vh), 0);
	for (i = 0; i < 20; i++) {
		BASE[0]++;
		usleep(1000);
		check_eq(vas_current(), r->vh);
		check_eq(BASE[0], i + 1);
	}
	check_eq(vas_switch(VAS_HOME), 0);
	return NULL;
}

static void begin_beside_a_reader(void *arg)
{
	struct reader *r = arg;
	pthread_t thread;

	check_eq(pipe(r->fd), 0);
	check_eq(pthread_create(&thread, NULL, read_then_use_a_vas, r), 0);
	while (!atomic_load(&r->asleep))
		sched_yield();
	usleep(100000);
	r->vh = check_id(vas_attach(r->vid[0]));
	check_eq(vas_switch(check_id(vas_attach(r->vid[1]))), 0);
	check_eq(write(r->fd[1], "01234567", 8), 8);
	atomic_store(&r->attached, 1);
	/* the reader has nothing of this view, and writes nothing into it */
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(r->n, -1);
	check_eq(r->error, EFAULT);
	check_eq(BASE[0], 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

/* Its own view comes back after each sleep, which its notifier alone does. */
static void a_thread_asleep_in_a_call_is_covered(void)
{
	struct reader r = { 0 };

	r.vid[0] = tcase_vas_with_seg(BASE, MIB, NULL);
	r.vid[1] = tcase_vas_with_seg(BASE, MIB, NULL);
	/* making them has begun for this process */
	tcase_join(tcase_spawn(begin_beside_a_reader, &r));
}

static void *spin(void *arg)
{
	atomic_int *stop = arg;

	while (!atomic_load(stop))
		;
	return NULL;
}

static void *yield(void *arg)
{
	atomic_int *stop = arg;

	while (!atomic_load(stop))
		sched_yield();
	return NULL;
}

static void threads_that_run_are_covered(void)
{
	void *(*const run[])(void *) = { spin, yield, spin, yield };
	pthread_t thread[NR(run)];
	atomic_int stop = 0;
	size_t i;

	for (i = 0; i < NR(run); i++)
		check_eq(pthread_create(&thread[i], NULL, run[i], &stop), 0);
	usleep(20000);
	check_eq(attach(), 0);
	atomic_store(&stop, 1);
	for (i = 0; i < NR(run); i++)
		check_eq(pthread_join(thread[i], NULL), 0);
}

struct traced {
	atomic_int tid, stopped, begun;
};

/* Stop a thread of the parent until the parent has begun. */
static void trace_a_thread(void *arg)
{
	struct traced *t = arg;
	int tid = atomic_load(&t->tid), status;

	check_eq(ptrace(PTRACE_SEIZE, tid, 0, 0), 0);
	check_eq(ptrace(PTRACE_INTERRUPT, tid, 0, 0), 0);
	check_eq(waitpid(tid, &status, __WALL), tid);
	check(WIFSTOPPED(status));
	atomic_store(&t->stopped, 1);
	while (!atomic_load(&t->begun))
		usleep(1000);
	check_eq(ptrace(PTRACE_DETACH, tid, 0, 0), 0);
}

static void *be_traced(void *arg)
{
	struct traced *t = arg;

	atomic_store(&t->tid, syscall(SYS_gettid));
	while (!atomic_load(&t->begun))
		;
	return NULL;
}

static void a_thread_that_is_stopped_is_covered(void)
{
	struct traced *t = tcase_shared(sizeof(*t));
	pthread_t thread;
	pid_t tracer;

	/* A kernel without Yama lets a child trace its parent in any case. */
	if (prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0))
		check_eq(errno, EINVAL);
	check_eq(pthread_create(&thread, NULL, be_traced, t), 0);
	while (!atomic_load(&t->tid))
		usleep(1000);
	tracer = tcase_spawn(trace_a_thread, t);
	while (!atomic_load(&t->stopped))
		usleep(1000);
	check_eq(attach(), 0);
	atomic_store(&t->begun, 1);
	tcase_join(tracer);
	check_eq(pthread_join(thread, NULL), 0);
}

static void begin_in_a_child_of_vfork(void *arg)
{
	volatile int vh = -1;
	int vid = *(int *)arg, status;
	pid_t pid = vfork();

	if (!pid) {
		vh = vas_attach(vid);
		_exit(0);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	check_id(vh);
	check_eq(vas_switch(vh), 0);
	BASE[0] = 1;
	usleep(10000);
	check_eq(vas_current(), vh);
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_parent_in_vfork_is_covered(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL);

	tcase_join(tcase_spawn(begin_in_a_child_of_vfork, &vid));
}

/* Threads that go to sleep and wake up all the time, and die, while it begins. */
static void *doze(void *arg)
{
	atomic_int *stop = arg;
	int i;

	for (i = 0; i < 50 && !atomic_load(stop); i++)
		usleep(i * 7 % 50);
	return NULL;
}

static void begin_among_dozers(void *arg)
{
	pthread_t thread[12];
	atomic_int stop = 0;
	int vid = *(int *)arg, vh;
	size_t i;

	for (i = 0; i < NR(thread); i++)
		check_eq(pthread_create(&thread[i], NULL, doze, &stop), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	BASE[0] = 1;
	for (i = 0; i < NR(thread); i++)
		check_eq(pthread_join(thread[i], NULL), 0);
	check_eq(vas_current(), vh);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void threads_that_fall_asleep_and_wake_are_covered(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL), i;

	for (i = 0; i < 40; i++)
		tcase_join(tcase_spawn(begin_among_dozers, &vid));
}

static void *stay_asleep(void *arg)
{
	pause();
	return arg;
}

struct crowd {
	int threads;
	long microseconds;
};

static void begin_in_a_crowd(void *arg)
{
	struct crowd *c = arg;
	long from;

	tcase_threads(NULL, c->threads, stay_asleep, NULL);
	usleep(300000);
	from = tcase_microseconds();
	check_eq(pvvas_begin(), 0);
	c->microseconds = tcase_microseconds() - from;
}

/* Four times as many take four times as long, and not sixteen times. */
static void each_thread_costs_the_same_however_many_there_are(void)
{
	struct crowd *c = tcase_shared(3 * sizeof(*c));
	static const int threads[] = { 1, 700, 2800 };
	size_t i;

	for (i = 0; i < NR(threads); i++) {
		c[i].threads = threads[i];
		tcase_run(begin_in_a_crowd, &c[i]);
	}
	tcase_note("%ld, %ld, %ld us", c[0].microseconds, c[1].microseconds,
		   c[2].microseconds);
	check(c[2].microseconds - c[0].microseconds <
	      10 * (c[1].microseconds - c[0].microseconds));
}

static const struct tcase cases[] = {
	CASE(the_first_attach_interrupts_no_call),
	CASE(pvvas_begin_interrupts_no_call),
	CASE(a_thread_asleep_in_a_call_is_covered),
	CASE(threads_that_run_are_covered),
	CASE(a_thread_that_is_stopped_is_covered),
	CASE(a_parent_in_vfork_is_covered),
	CASE(threads_that_fall_asleep_and_wake_are_covered),
	CASE(each_thread_costs_the_same_however_many_there_are),
};

int main(void)
{
	return tcase_main(cases, NR(cases), 0);
}
