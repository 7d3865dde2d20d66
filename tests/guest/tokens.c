// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Signs of life, as the driver gives them: a token lives as long as its thread
 * executes the program that asked for it, and no other can change that.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

static int fd;

static int call(unsigned long request, struct pvvas_ioc_life *arg)
{
	if (!fd)
		fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);
	arg->size = sizeof(*arg);
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static uint64_t my_token(void)
{
	struct pvvas_ioc_life arg = { 0 };

	check_eq(call(PVVAS_IOC_LIFE_TOKEN, &arg), 0);
	check(arg.token);
	return arg.token;
}

static int alive(uint64_t token)
{
	struct pvvas_ioc_life arg = { .token = token };

	check_eq(call(PVVAS_IOC_LIFE_ALIVE, &arg), 0);
	check_eq(arg.token, token);
	return (int)arg.alive;
}

/* What ends takes a moment. */
static void check_dead_soon(uint64_t token)
{
	struct timespec ts = { .tv_nsec = 10000000 };
	int i;

	for (i = 0; i < 1000 && alive(token); i++)
		nanosleep(&ts, NULL);
	check(!alive(token));
}

static void use_vases(void)
{
	check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
}

static void a_process_without_views_has_no_token(void)
{
	struct pvvas_ioc_life arg = { 0 };

	check_eq(call(PVVAS_IOC_LIFE_TOKEN, &arg), -EINVAL);
	check_eq(alive(0), 0);
	check_eq(alive(1), 0);
	check_eq(alive(UINT64_MAX), 0);
	use_vases();
	check(alive(my_token()));
	arg.token = 1;
	check_eq(call(PVVAS_IOC_LIFE_TOKEN, &arg), -EINVAL);
	arg.token = 0;
	arg.alive = 1;
	check_eq(call(PVVAS_IOC_LIFE_TOKEN, &arg), -EINVAL);
	check_eq(call(PVVAS_IOC_LIFE_ALIVE, &arg), -EINVAL);
}

static void *ask_in_thread(void *arg)
{
	uint64_t *token = arg;

	token[0] = my_token();
	token[1] = my_token();
	return NULL;
}

static void each_thread_has_one_token_until_it_ends(void)
{
	uint64_t mine, tokens[2];
	pthread_t thread;

	use_vases();
	mine = my_token();
	check_eq(my_token(), mine);
	check_eq(pthread_create(&thread, NULL, ask_in_thread, tokens), 0);
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(tokens[0], tokens[1]);
	check(tokens[0] != mine);
	check_dead_soon(tokens[0]);
	check(alive(mine));
}

static void publish_token(void *arg)
{
	uint64_t *token = arg;
	int vid = tcase_vas(NULL, 0600);

	check_id(vas_attach(vid));
	__atomic_store_n(token, my_token(), __ATOMIC_RELEASE);
	for (;;)
		pause();
}

static uint64_t wait_for(uint64_t *token)
{
	struct timespec ts = { .tv_nsec = 1000000 };
	uint64_t n;

	while (!(n = __atomic_load_n(token, __ATOMIC_ACQUIRE)))
		nanosleep(&ts, NULL);
	return n;
}

static void a_killed_process_is_dead_before_it_is_waited_for(void)
{
	uint64_t *token = tcase_shared(sizeof(*token)), n;
	siginfo_t info;
	pid_t pid = tcase_spawn(publish_token, token);

	n = wait_for(token);
	check(alive(n));
	kill(pid, SIGSTOP);
	check_eq(waitpid(pid, NULL, WUNTRACED), pid);
	check(alive(n));
	kill(pid, SIGKILL);
	check_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	check(!alive(n));
	tcase_join_killed(pid, SIGKILL);
	check(!alive(n));
}

static void fork_with_token(void *arg)
{
	uint64_t *token = arg;
	struct pvvas_ioc_life own = { 0 };
	pid_t pid;

	check_id(vas_attach(tcase_vas(NULL, 0600)));
	token[0] = my_token();
	pid = fork();
	check(pid >= 0);
	if (!pid) {
		/* not the parent's, nor one that it did not ask for */
		check_eq(call(PVVAS_IOC_LIFE_TOKEN, &own), -EINVAL);
		check_id(vas_attach(tcase_vas(NULL, 0600)));
		__atomic_store_n(&token[1], my_token(), __ATOMIC_RELEASE);
	}
	for (;;)
		pause();
}

static void a_child_has_a_token_of_its_own(void)
{
	uint64_t *token = tcase_shared(2 * sizeof(*token));
	pid_t pid = tcase_spawn(fork_with_token, token);

	wait_for(&token[1]);
	check(token[0] != token[1]);
	check(alive(token[0]));
	check(alive(token[1]));
	kill(pid, SIGKILL);
	tcase_join_killed(pid, SIGKILL);
	/* the child has every descriptor of its parent */
	check(!alive(token[0]));
	check(alive(token[1]));
}

static void exec_with_token(void *arg)
{
	uint64_t *token = arg;

	check_id(vas_attach(tcase_vas(NULL, 0600)));
	__atomic_store_n(token, my_token(), __ATOMIC_RELEASE);
	execl("/proc/self/exe", "wait", (char *)NULL);
}

static void exec_ends_it(void)
{
	uint64_t *token = tcase_shared(sizeof(*token));
	pid_t pid = tcase_spawn(exec_with_token, token);

	check_dead_soon(wait_for(token));
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
}

/* Shares the memory, as vfork's does, and goes on as another program. */
static char stack[65536];
static uint64_t in_clone;

static int exec_in_clone(void *arg)
{
	(void)arg;
	in_clone = my_token();
	execl("/proc/self/exe", "wait", (char *)NULL);
	_exit(1);
}

static void exec_of_who_shares_the_memory_ends_it(void)
{
	uint64_t mine;
	pid_t pid;

	use_vases();
	mine = my_token();
	pid = clone(exec_in_clone, stack + sizeof(stack),
		    CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
	check(pid > 0);
	check(in_clone != mine);
	check_dead_soon(in_clone);
	check(alive(mine));
	check_eq(kill(pid, SIGKILL), 0);
	check_eq(waitpid(pid, NULL, 0), pid);
}

static void *leave_without_a_word(void *arg)
{
	uint64_t *token = arg;

	*token = my_token();
	syscall(SYS_exit, 0);
	return NULL;
}

static void a_bare_exit_of_a_thread_ends_it(void)
{
	uint64_t token = 0;
	pthread_t thread;

	use_vases();
	check_eq(pthread_create(&thread, NULL, leave_without_a_word, &token), 0);
	check_eq(pthread_join(thread, NULL), 0);
	check_dead_soon(token);
}

/* Whatever locks there are on the device's file. */
static void lock_the_device(void *arg)
{
	struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int *locked = arg, f;

	check_eq(setgroups(0, NULL), 0);
	check_eq(setgid(65534), 0);
	check_eq(setuid(65534), 0);
	f = open("/dev/pvvas", O_RDWR);
	check(f >= 0);
	check_eq(fcntl(f, F_OFD_SETLK, &all), 0);
	__atomic_store_n(locked, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
}

static void a_stranger_who_locks_the_device_holds_nobody_up(void)
{
	uint64_t *token = tcase_shared(sizeof(*token)), n;
	struct timespec ts = { .tv_nsec = 1000000 };
	int *locked = tcase_shared(sizeof(*locked)), sid;
	pid_t stranger, pid;

	stranger = tcase_spawn(lock_the_device, locked);
	while (!__atomic_load_n(locked, __ATOMIC_ACQUIRE))
		nanosleep(&ts, NULL);
	check_eq(vas_switch(check_id(vas_attach(tcase_vas_with_seg(BASE, MIB,
								   &sid)))), 0);
	check(seg_malloc(sid, 100));
	pid = tcase_spawn(publish_token, token);
	n = wait_for(token);
	check(alive(n));
	kill(pid, SIGKILL);
	tcase_join_killed(pid, SIGKILL);
	check(!alive(n));
	kill(stranger, SIGKILL);
	tcase_join_killed(stranger, SIGKILL);
}

static const struct tcase cases[] = {
	CASE(a_process_without_views_has_no_token),
	CASE(each_thread_has_one_token_until_it_ends),
	CASE(a_killed_process_is_dead_before_it_is_waited_for),
	CASE(a_child_has_a_token_of_its_own),
	CASE(exec_ends_it),
	CASE(exec_of_who_shares_the_memory_ends_it),
	CASE(a_bare_exit_of_a_thread_ends_it),
	CASE(a_stranger_who_locks_the_device_holds_nobody_up),
};

int main(int argc, char **argv)
{
	(void)argc;
	/* executed by a case */
	if (!strcmp(argv[0], "wait"))
		for (;;)
			pause();
	return tcase_main(cases, sizeof(cases) / sizeof(cases[0]), 0);
}
