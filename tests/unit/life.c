// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Signs of life: how long does a thread hold its token?
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <soft_life.h>

static int file;
static uint64_t *token;

static const char *path(void)
{
	static char name[64];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", file);
	return name;
}

static int setup(void **state)
{
	(void)state;
	file = memfd_create("life", 0);
	token = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return file < 0 || ftruncate(file, 4096) || token == MAP_FAILED;
}

static void hold(void)
{
	if (soft_life_hold(AT_FDCWD, path(), token))
		abort();
}

static int held(uint64_t number)
{
	return soft_life_held(AT_FDCWD, path(), number);
}

/* A child that holds a token; it waits, or does @then. */
static pid_t start(void (*then)(void))
{
	int ready[2];
	char c = 0;
	pid_t pid;

	/* sleep(1) shall not keep it open */
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		hold();
		if (then)
			then();
		if (write(ready[1], &c, 1) != 1)
			abort();
		for (;;)
			pause();
	}
	close(ready[1]);
	/* or the end of the pipe */
	if (read(ready[0], &c, 1) < 0)
		abort();
	close(ready[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void the_living_are_seen_and_the_killed_are_not(void **state)
{
	pid_t pid = start(NULL);
	siginfo_t info;

	(void)state;
	assert_int_equal(held(*token), 1);
	kill(pid, SIGKILL);
	/* a zombie is dead enough; valgrind wants to see what tells so */
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	assert_int_equal(held(*token), 0);
	end(pid);
}

static void close_all(void)
{
	int fd;

	/* all but the pipe, which has the highest number */
	for (fd = 0; fd <= file; fd++)
		close(fd);
}

static void closing_all_files_changes_nothing(void **state)
{
	pid_t pid = start(close_all);

	(void)state;
	assert_int_equal(held(*token), 1);
	end(pid);
	assert_int_equal(held(*token), 0);
}

static pid_t *grandchild;

static void fork_on(void)
{
	pid_t pid = fork();

	if (!pid)
		for (;;)
			pause();
	*grandchild = pid;
}

static void a_child_does_not_hold_its_parents_token(void **state)
{
	pid_t pid;

	(void)state;
	grandchild = (pid_t *)(token + 1);
	pid = start(fork_on);
	assert_int_equal(held(*token), 1);
	end(pid);
	assert_int_equal(held(*token), 0);
	assert_int_equal(kill(*grandchild, SIGKILL), 0);
}

static void exec_on(void)
{
	execlp("sleep", "sleep", "1000", (char *)NULL);
	abort();
}

static void exec_ends_it(void **state)
{
	pid_t pid = start(exec_on);
	int i;

	(void)state;
	/* the old memory goes soon after the files that exec closes */
	for (i = 0; i < 1000 && held(*token); i++)
		usleep(10000);
	assert_int_equal(held(*token), 0);
	assert_int_equal(kill(pid, 0), 0);
	end(pid);
}

static void *hold_in_thread(void *arg)
{
	if (soft_life_hold(AT_FDCWD, path(), arg))
		abort();
	return NULL;
}

static void each_thread_has_its_own_until_it_ends(void **state)
{
	pthread_t thread;
	uint64_t mine;

	(void)state;
	hold_in_thread(&mine);
	assert_int_equal(pthread_create(&thread, NULL, hold_in_thread, token), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_not_equal(mine, 0);
	assert_int_not_equal(*token, mine);
	assert_int_equal(held(*token), 0);
	assert_int_equal(held(mine), 1);
}

static void what_is_no_token_is_dead(void **state)
{
	(void)state;
	assert_int_equal(held(0), 0);
	assert_int_equal(held(1ULL << 62), 0);
	assert_int_equal(held(UINT64_MAX), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_living_are_seen_and_the_killed_are_not),
		cmocka_unit_test(closing_all_files_changes_nothing),
		cmocka_unit_test(a_child_does_not_hold_its_parents_token),
		cmocka_unit_test(exec_ends_it),
		cmocka_unit_test(each_thread_has_its_own_until_it_ends),
		cmocka_unit_test(what_is_no_token_is_dead),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
