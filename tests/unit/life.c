// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Signs of life: how long does a process hold its number?
 */
#include <fcntl.h>
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

#include <life.h>

static int file;
static uint32_t *number;

static int open_file(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static int setup(void **state)
{
	(void)state;
	file = memfd_create("life", 0);
	number = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return file < 0 || ftruncate(file, 4096) || number == MAP_FAILED;
}

/* As the software backend does it: a mapping is all that refers to the file. */
static void hold(void)
{
	int fd = open_file();
	void *p = mmap(NULL, 4096, PROT_NONE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED || madvise(p, 4096, MADV_DONTFORK) ||
	    pvvas_life_hold(fd, number))
		abort();
	close(fd);
}

/* A child that holds a number; it waits, or does @then. */
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

static int held(void)
{
	return pvvas_life_held(file, *number);
}

static void the_living_are_seen_and_the_killed_are_not(void **state)
{
	pid_t pid = start(NULL);
	siginfo_t info;

	(void)state;
	assert_int_equal(held(), 1);
	kill(pid, SIGKILL);
	/* a zombie is dead enough; valgrind wants to see what tells so */
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	assert_int_equal(held(), 0);
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
	assert_int_equal(held(), 1);
	end(pid);
	assert_int_equal(held(), 0);
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

static void a_child_does_not_hold_its_parents_number(void **state)
{
	pid_t pid;

	(void)state;
	grandchild = (pid_t *)(number + 1);
	pid = start(fork_on);
	assert_int_equal(held(), 1);
	end(pid);
	assert_int_equal(held(), 0);
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
	for (i = 0; i < 1000 && held(); i++)
		usleep(10000);
	assert_int_equal(held(), 0);
	assert_int_equal(kill(pid, 0), 0);
	end(pid);
}

static void numbers_differ(void **state)
{
	uint32_t a, b;
	int one = open_file(), two = open_file();

	(void)state;
	assert_int_equal(pvvas_life_hold(one, &a), 0);
	assert_int_equal(pvvas_life_hold(two, &b), 0);
	assert_int_not_equal(a, b);
	assert_int_not_equal(a, 0);
	assert_int_equal(pvvas_life_held(two, a), 1);
	assert_int_equal(pvvas_life_held(one, a), 0);
	close(one);
	assert_int_equal(pvvas_life_held(two, a), 0);
	close(two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_living_are_seen_and_the_killed_are_not),
		cmocka_unit_test(closing_all_files_changes_nothing),
		cmocka_unit_test(a_child_does_not_hold_its_parents_number),
		cmocka_unit_test(exec_ends_it),
		cmocka_unit_test(numbers_differ),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
