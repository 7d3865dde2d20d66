// SPDX-License-Identifier: GPL-2.0-only
/*
 * `begin_storm [SECONDS [SEED]]`: processes begin while their threads do what a
 * scheduler finds hardest: sleep shortly, exit, fork, share their memory with other
 * processes, change CPUs and policies, are stopped, execute another program, or are
 * killed.  A thread that is there by then keeps its view across its sleeps, and nothing
 * is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>
#include <linux/io_uring.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define THREADS	7
#define NR(a)	(sizeof(a) / sizeof((a)[0]))

static unsigned int seconds = 10;
static uint64_t seed = 1;

struct tally {
	atomic_ulong begun, refused, killed, ended, executed, checked, deeds[16];
	atomic_int wrong, error, deed;
};

static struct tally *tally;
static int vids[2];

struct storm {
	atomic_int begun, vh[2];
	int pipe[2];
};

static struct storm storm;

struct member {
	uint64_t state;
	unsigned int number;
	pthread_t thread;
};

static unsigned int any(struct member *m, unsigned int n)
{
	m->state = m->state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned int)(m->state >> 33) % n;
}

/* What a thread does until its process has begun, and beyond. */
static void doze(struct member *m)
{
	usleep(any(m, 200));
}

static void yield(struct member *m)
{
	(void)m;
	sched_yield();
}

static void *nothing(void *arg)
{
	return arg;
}

static void have_a_thread_exit(struct member *m)
{
	pthread_t t;

	(void)m;
	if (!pthread_create(&t, NULL, nothing, NULL))
		pthread_join(t, NULL);
}

static void fork_one(struct member *m)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	if (any(m, 2))
		usleep(any(m, 50));
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void vfork_one(struct member *m)
{
	pid_t pid = vfork();

	(void)m;
	if (!pid)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static int share(void *arg)
{
	struct timespec t = { .tv_nsec = (long)(uintptr_t)arg };

	/* no library here: these are not its thread's variables */
	syscall(SYS_nanosleep, &t, NULL);
	return 0;
}

static void share_memory(struct member *m)
{
	char *stack = malloc(32768);
	pid_t pid = clone(share, stack + 32768,
			  CLONE_VM | CLONE_FILES | CLONE_CHILD_CLEARTID | SIGCHLD,
			  (void *)(uintptr_t)any(m, 200000), NULL, NULL,
			  BASE + any(m, 64) * 4096);

	if (pid > 0)
		waitpid(pid, NULL, __WALL);
	free(stack);
}

static void map_and_unmap(struct member *m)
{
	size_t size = (1 + any(m, 64)) * 4096, i;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	for (i = 0; i < size; i += 4096)
		p[i] = 1;
	munmap(p, size);
}

static void change_cpu(struct member *m)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(any(m, (unsigned int)tcase_nr_cpus()), &set);
	sched_setaffinity(0, sizeof(set), &set);
	usleep(any(m, 60));
}

static void change_policy(struct member *m)
{
	static const int policies[] = { SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE };
	int policy = policies[any(m, NR(policies))];
	struct sched_param p = {
		.sched_priority = policy == SCHED_FIFO || policy == SCHED_RR
	};

	sched_setscheduler(0, policy, &p);
	usleep(any(m, 60));
	p.sched_priority = 0;
	sched_setscheduler(0, SCHED_OTHER, &p);
}

static void stay_in_the_kernel(struct member *m)
{
	static char random[1 << 16];

	if (getrandom(random, 1 + any(m, sizeof(random)), 0) < 0)
		_exit(9);
}

static void wait_on_a_futex(struct member *m)
{
	int word = 0;
	struct timespec t = { .tv_nsec = any(m, 500000) };

	syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);
}

static void by_a_pipe(struct member *m)
{
	int fd[2];
	char c = 0;

	if (pipe(fd))
		return;
	if (any(m, 2) && write(fd[1], &c, 1) == 1)
		read(fd[0], BASE + any(m, 64) * 4096, 1);
	close(fd[0]);
	close(fd[1]);
}

static void by_a_polling_ring(struct member *m)
{
	struct io_uring_params p = {
		.flags = any(m, 2) ? IORING_SETUP_SQPOLL : 0,
		.sq_thread_idle = 1 + any(m, 20),
	};
	int fd = (int)syscall(SYS_io_uring_setup, 4, &p);

	if (fd < 0)
		return;
	usleep(any(m, 3000));
	close(fd);
}

static void fault_in_the_window(struct member *m)
{
	/* the kernel begins for it, if nothing else has */
	if (write(storm.pipe[1], BASE + any(m, 64) * 4096, 1) == 1)
		read(storm.pipe[0], &(char){ 0 }, 1);
}

static void (*const deeds[])(struct member *) = {
	doze, yield, have_a_thread_exit, fork_one, vfork_one, share_memory,
	map_and_unmap, change_cpu, change_policy, stay_in_the_kernel,
	wait_on_a_futex, by_a_pipe, by_a_polling_ring, fault_in_the_window,
};

static void wrong(int line, int error)
{
	if (!atomic_exchange(&tally->wrong, line))
		atomic_store(&tally->error, error);
}

/* In its own view after each sleep, which its notifier alone does. */
static void keep_a_view(struct member *m)
{
	unsigned int which = m->number % 2, i;
	char *mine = BASE + 64 * m->number;
	int vh = atomic_load(&storm.vh[which]), err = vas_switch(vh);

	if (err) {
		wrong(__LINE__, err);
		return;
	}
	for (i = 0; i < 12; i++) {
		if (any(m, 3))
			usleep(any(m, 300));
		else
			change_cpu(m);
		if (vas_current() != vh)
			wrong(__LINE__, (int)m->number);
		if (BASE[4096] != (char)(which + 1))
			wrong(__LINE__, BASE[4096]);
		(*mine)++;
	}
	vas_switch(VAS_HOME);
	atomic_fetch_add(&tally->checked, 1);
}

static void *be_there(void *arg)
{
	struct member *m = arg;
	unsigned int deed;

	do {
		deed = any(m, NR(deeds));
		atomic_fetch_add(&tally->deeds[deed], 1);
		deeds[deed](m);
	} while (!atomic_load(&storm.begun));
	keep_a_view(m);
	return NULL;
}

static void *begin(void *arg)
{
	struct member *m = arg;
	int vh;

	usleep(any(m, 3000));
	vh = vas_attach(vids[m->number]);
	if (vh > 0) {
		atomic_store(&storm.vh[m->number], vh);
		atomic_fetch_add(&tally->begun, 1);
	} else if (vh == -EAGAIN) {
		atomic_fetch_add(&tally->refused, 1);
	} else {
		wrong(__LINE__, vh);
	}
	return NULL;
}

static void execute(struct member *m)
{
	char first[16], second[16];
	char *argv[] = { "begin_storm", "again", first, second, NULL };

	sprintf(first, "%d", vids[0]);
	sprintf(second, "%d", vids[1]);
	usleep(any(m, 20000));
	atomic_fetch_add(&tally->executed, 1);
	execv("/proc/self/exe", argv);
	_exit(8);
}

static void *execute_in_a_thread(void *arg)
{
	execute(arg);
	return NULL;
}

static void live(uint64_t number)
{
	struct member m[THREADS], two[2], x = { .state = ~(seed * 1000003 + number) };
	pthread_t t;
	unsigned int i;

	any(&x, 2);
	if (pipe(storm.pipe))
		_exit(7);
	for (i = 0; i < THREADS; i++) {
		m[i] = (struct member){ .state = seed + number * 64 + i, .number = i };
		any(&m[i], 2);
		if (pthread_create(&m[i].thread, NULL, be_there, &m[i]))
			_exit(7);
	}
	if (!any(&x, 6))
		pthread_create(&t, NULL, execute_in_a_thread, &x);
	for (i = 0; i < 2; i++) {
		two[i] = (struct member){ .state = seed + number * 64 + 32 + i, .number = i };
		any(&two[i], 2);
		pthread_create(&two[i].thread, NULL, begin, &two[i]);
	}
	for (i = 0; i < 2; i++)
		pthread_join(two[i].thread, NULL);
	if (!atomic_load(&storm.vh[0]) || !atomic_load(&storm.vh[1]))
		_exit(0);
	atomic_store(&storm.begun, 1);
	for (i = 0; i < THREADS; i++)
		pthread_join(m[i].thread, NULL);
	_exit(0);
}

/* After exec: the task may have a notifier of before. */
static int again(char **argv)
{
	int i, k, vh;

	for (i = 0; i < 2; i++) {
		vh = vas_attach(atoi(argv[i]));
		if (vh <= 0 || vas_switch(vh))
			return 5;
		for (k = 0; k < 5; k++) {
			usleep(100);
			if (vas_current() != vh || BASE[4096] != (char)(i + 1))
				return 6;
		}
		vas_switch(VAS_HOME);
	}
	return 0;
}

/* What another process does to it meanwhile.  True: that has seen its end. */
static bool disturb(pid_t pid, struct member *m, int *status)
{
	usleep(any(m, 20000));
	switch (any(m, 4)) {
	case 0:
		kill(pid, SIGSTOP);
		usleep(any(m, 5000));
		kill(pid, SIGCONT);
		break;
	case 1:
		if (ptrace(PTRACE_SEIZE, pid, 0, 0))
			break;
		ptrace(PTRACE_INTERRUPT, pid, 0, 0);
		usleep(any(m, 5000));
		if (waitpid(pid, status, __WALL) == pid && !WIFSTOPPED(*status))
			return true;
		ptrace(PTRACE_DETACH, pid, 0, 0);
		break;
	case 2:
		kill(pid, SIGKILL);
		break;
	default:
		break;
	}
	return false;
}

static void whoever_is_there_keeps_its_view(void)
{
	struct member m = { .state = seed };
	struct sigaction by_default = { .sa_handler = SIG_DFL };
	uint64_t number = 0;
	time_t until = time(NULL) + seconds;
	bool ended;
	pid_t pid;
	int i, vh, status = 0;

	sigaction(SIGCHLD, &by_default, NULL);
	tally = tcase_shared(sizeof(*tally));
	for (i = 0; i < 2; i++) {
		vids[i] = tcase_vas_with_seg(BASE, MIB, NULL);
		vh = check_id(vas_attach(vids[i]));
		check_eq(vas_switch(vh), 0);
		BASE[4096] = (char)(i + 1);
		check_eq(vas_switch(VAS_HOME), 0);
		check_eq(vas_detach(vh), 0);
	}
	while (time(NULL) < until) {
		pid = fork();
		check(pid >= 0);
		if (!pid)
			live(number);
		number++;
		ended = disturb(pid, &m, &status);
		for (i = 0; i < 20000 && !ended; i++) {
			ended = waitpid(pid, &status, WNOHANG | __WALL) == pid;
			if (!ended)
				usleep(1000);
		}
		if (!ended) {
			kill(pid, SIGKILL);
			tcase_fail(__FILE__, __LINE__, "process %llu hangs",
				   (unsigned long long)number);
		}
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			atomic_fetch_add(&tally->killed, 1);
		else if (!status)
			atomic_fetch_add(&tally->ended, 1);
		else
			tcase_note("process %llu: status %x", (unsigned long long)number, status);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			check_eq(status, 0);
	}
	tcase_note("begun %lu refused %lu killed %lu ended %lu executed %lu checked %lu",
		   tally->begun, tally->refused, tally->killed, tally->ended,
		   tally->executed, tally->checked);
	if (tally->wrong)
		tcase_fail(__FILE__, tally->wrong, "%d", tally->error);
	check(tally->checked > 0);
}

int main(int argc, char **argv)
{
	struct tcase cases[] = {
		CASE_SECONDS(whoever_is_there_keeps_its_view, 0),
	};

	if (argc == 4 && !strcmp(argv[1], "again"))
		return again(argv + 2);
	if (argc > 1)
		seconds = (unsigned int)strtoul(argv[1], NULL, 0);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0);
	cases[0].seconds = seconds + 120;
	printf("# %u seconds, seed %llu\n", seconds, (unsigned long long)seed);
	return tcase_main(cases, 1, 0);
}
