// SPDX-License-Identifier: GPL-2.0-only
/*
 * fork, exec, exit and death of processes that use VASes.  That nothing stays
 * behind is checked after every case: see tests/lib/tcase.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

static int attached(char value)
{
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));

	check_eq(vas_switch(vh), 0);
	BASE[0] = value;
	check_eq(vas_switch(VAS_HOME), 0);
	return vh;
}

static void look_around_in_child(void *arg)
{
	int vh = *(int *)arg;

	check_eq(vas_current(), VAS_HOME);
	check_eq(tcase_try_read(BASE).sig, SIGSEGV);
	check_eq(vas_switch(vh), -EINVAL);
	check_eq(vas_current(), VAS_HOME);
	check_eq(vas_detach(vh), -EINVAL);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_forked_child_is_in_no_vas(void)
{
	int vh = attached(1);

	tcase_join(tcase_spawn(look_around_in_child, &vh));
	check_eq(vas_switch(vh), 0);
	tcase_join(tcase_spawn(look_around_in_child, &vh));
	check_eq(vas_current(), vh);
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

struct family {
	int vid;
	int vh;
};

static void attach_in_child(void *arg)
{
	struct family *f = arg;
	int vh = check_id(vas_attach(f->vid));

	check_eq(vas_switch(vh), 0);
	check_eq(BASE[0], 1);
	BASE[1] = 2;
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
}

static void programs_are_started_with_words_in_a_segment(void)
{
	char *none[] = { NULL }, *word = BASE + 100, **argv = (char **)(BASE + 200);
	int vh = attached(1), status;
	pid_t pid;
	FILE *f;

	check_eq(vas_switch(vh), 0);
	strcpy(word, "exit 7");
	status = system(word);
	check(WIFEXITED(status));
	check_eq(WEXITSTATUS(status), 7);
	f = popen(word, "r");
	check(f);
	status = pclose(f);
	check(WIFEXITED(status));
	check_eq(WEXITSTATUS(status), 7);
	strcpy(word, "/bin/sh");
	strcpy(word + 10, "-c");
	strcpy(word + 20, "exit 8");
	argv[0] = word;
	argv[1] = word + 10;
	argv[2] = word + 20;
	argv[3] = NULL;
	check_eq(posix_spawn(&pid, word, NULL, NULL, argv, none), 0);
	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFEXITED(status));
	check_eq(WEXITSTATUS(status), 8);
	check_eq(vas_current(), vh);
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_forked_child_can_attach_for_itself(void)
{
	struct family f = { .vid = tcase_vas_with_seg(BASE, MIB, NULL) };

	f.vh = check_id(vas_attach(f.vid));
	check_eq(vas_switch(f.vh), 0);
	BASE[0] = 1;
	tcase_join(tcase_spawn(attach_in_child, &f));
	check_eq(BASE[1], 2);
	check_eq(vas_current(), f.vh);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_child_of_the_raw_system_call_sees_nothing(void)
{
	int vh = attached(1), status;
	pid_t pid;

	check_eq(vas_switch(vh), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	pid = (pid_t)syscall(SYS_fork);
	check(pid >= 0);
	if (!pid) {
		/* no fork handler has run here; the window is gone all the same */
		_exit(tcase_try_read(BASE).sig == SIGSEGV ? 0 : 1);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	check_eq(vas_switch(vh), 0);
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void exec_leaves_every_vas(void)
{
	char *argv[] = { "/proc/self/exe", "after-exec", NULL };
	int vh = attached(1), status;
	pid_t pid;

	pid = fork();
	check(pid >= 0);
	if (!pid) {
		vh = attached(2);
		check_eq(vas_switch(vh), 0);
		execv(argv[0], argv);
		_exit(1);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	check_eq(vas_switch(vh), 0);
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void *exec_here(void *arg)
{
	char *argv[] = { "/proc/self/exe", "after-exec", NULL };

	check_eq(vas_switch(*(int *)arg), 0);
	execv(argv[0], argv);
	_exit(1);
}

static void *stay_here(void *arg)
{
	check_eq(vas_switch(*(int *)arg), 0);
	for (;;)
		BASE[4096]++;
	return NULL;
}

/* It takes over from the first thread; the others die where they are. */
static void exec_by_a_thread_leaves_every_vas(void)
{
	int status, vh, i;
	pid_t pid;

	for (i = 0; i < 10; i++) {
		pid = fork();
		check(pid >= 0);
		if (!pid) {
			pthread_t threads[3];

			vh = attached(2);
			for (i = 0; i < 2; i++)
				pthread_create(&threads[i], NULL, stay_here,
					       &vh);
			pthread_create(&threads[2], NULL, exec_here, &vh);
			vas_switch(vh);
			for (;;)
				pause();
		}
		check_eq(waitpid(pid, &status, 0), pid);
		check_eq(status, 0);
	}
}

/* What the program above becomes. */
static int after_exec(void)
{
	int vid, sid, vh;

	if (vas_current() != VAS_HOME || tcase_try_read(BASE).sig != SIGSEGV ||
	    tcase_try_read((char *)VAS_WINDOW_BASE).sig != SIGSEGV)
		return 1;
	vid = vas_create(NULL, 0600);
	sid = seg_alloc(NULL, BASE, MIB, 0600);
	if (vid <= 0 || sid <= 0 || seg_attach(vid, sid))
		return 2;
	vh = vas_attach(vid);
	if (vh <= 0 || vas_switch(vh))
		return 3;
	BASE[0] = 1;
	return 0;
}

/* One task, many programs, each with attachments: it is one thread still. */
static void exec_again(const char *left, const char *before)
{
	char number[16];
	char *argv[] = { "/proc/self/exe", "exec-again", number,
			 (char *)before, NULL };
	int more = atoi(left) - 1;

	snprintf(number, sizeof(number), "%d", more);
	if (more >= 0)
		execv(argv[0], argv);
}

static uint64_t threads_now(void)
{
	struct pvvas_stats st = { .size = sizeof(st) };

	check_eq(pvvas_stats(&st), 0);
	return st.threads;
}

static int after_exec_again(const char *left, const char *before)
{
	unsigned long more;
	int ret = after_exec();

	if (ret)
		return ret;
	exec_again(left, before);
	more = threads_now() - strtoul(before, NULL, 10);
	if (more > 2)
		printf("# %lu threads of one\n", more);
	return more > 2 ? 4 : 0;
}

static void a_task_that_executes_many_programs_stays_one_thread(void)
{
	char before[24];
	int status;
	pid_t pid;

	snprintf(before, sizeof(before), "%lu", (unsigned long)threads_now());
	pid = fork();
	check(pid >= 0);
	if (!pid) {
		attached(2);
		exec_again("12", before);
		_exit(1);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
}

static void live_and_wait(void *arg)
{
	atomic_int *ready = arg;
	int vh = attached(1);

	attached(2);
	check_eq(vas_switch(vh), 0);
	memset(BASE, 1, MIB);
	atomic_fetch_add(ready, 1);
	for (;;)
		BASE[4096]++;
}

static void kill_9_inside_a_vas_leaves_nothing(void)
{
	enum { NR = 6 };
	atomic_int *ready = tcase_shared(sizeof(*ready));
	pid_t pids[NR];
	int i;

	for (i = 0; i < NR; i++)
		pids[i] = tcase_spawn(live_and_wait, ready);
	while (atomic_load(ready) < NR)
		usleep(1000);
	for (i = 0; i < NR; i++)
		check_eq(kill(pids[i], SIGKILL), 0);
	for (i = 0; i < NR; i++)
		tcase_join_killed(pids[i], SIGKILL);
}

static int attach_and_forget(char value)
{
	int vid = check_id(vas_create(NULL, 0600));
	int sid = check_id(seg_alloc(NULL, BASE, MIB, 0600));
	int vh;

	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_delete(vid), 0);
	check_eq(seg_delete(sid), 0);
	check_eq(vas_switch(vh), 0);
	BASE[0] = value;
	return vh;
}

static void busy(void *arg)
{
	(void)arg;
	for (;;) {
		int a = attach_and_forget(1), b = attach_and_forget(2);

		check_eq(vas_detach(a), 0);
		check_eq(vas_switch(VAS_HOME), 0);
		check_eq(vas_detach(b), 0);
	}
}

static void kill_9_at_any_moment_leaves_nothing(void)
{
	int i;

	for (i = 0; i < 60; i++) {
		pid_t pid = tcase_spawn(busy, NULL);

		usleep((useconds_t)(1000 + i * 317));
		check_eq(kill(pid, SIGKILL), 0);
		tcase_join_killed(pid, SIGKILL);
	}
}

static void crash(void *arg)
{
	(void)arg;
	check_eq(vas_switch(attached(1)), 0);
	BASE[MIB] = 1;
}

static void a_crash_inside_a_vas_leaves_nothing(void)
{
	tcase_join_killed(tcase_spawn(crash, NULL), SIGSEGV);
}

static uint64_t attachments_now(void)
{
	struct pvvas_stats st = { .size = sizeof(st) };

	check_eq(pvvas_stats(&st), 0);
	return st.attachments;
}

static void one_nobody_has_waited_for_holds_nothing(void)
{
	atomic_int *ready = tcase_shared(sizeof(*ready));
	uint64_t before = attachments_now();
	pid_t pid = tcase_spawn(live_and_wait, ready);
	int i;

	while (!atomic_load(ready))
		usleep(1000);
	check_eq(attachments_now(), before + 2);
	check_eq(kill(pid, SIGKILL), 0);
	for (i = 0; i < 1000 && attachments_now() != before; i++)
		usleep(5000);
	check_eq(attachments_now(), before);
	tcase_join_killed(pid, SIGKILL);
}

static void *go_on_alone(void *arg)
{
	atomic_int *ready = arg;

	atomic_fetch_add(ready, 1);
	for (;;)
		pause();
	return NULL;
}

static void leave_a_thread(void *arg)
{
	pthread_t thread;

	attached(1);
	check(!pthread_create(&thread, NULL, go_on_alone, arg));
	pthread_exit(NULL);
}

static void a_process_lives_on_without_its_first_thread(void)
{
	atomic_int *ready = tcase_shared(sizeof(*ready));
	uint64_t before = attachments_now();
	pid_t pid = tcase_spawn(leave_a_thread, ready);

	while (!atomic_load(ready))
		usleep(1000);
	usleep(50000);
	check_eq(attachments_now(), before + 1);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
}

static void stop_and_go(void *arg)
{
	atomic_int *ready = arg;
	int vh = attached(3);

	check_eq(vas_switch(vh), 0);
	atomic_store(ready, 1);
	while (atomic_load(ready) == 1)
		;
	check_eq(vas_current(), vh);
	check_eq(BASE[0], 3);
}

static void a_stopped_process_continues_in_its_vas(void)
{
	atomic_int *ready = tcase_shared(sizeof(*ready));
	pid_t pid = tcase_spawn(stop_and_go, ready);
	int status;

	while (!atomic_load(ready))
		usleep(1000);
	check_eq(kill(pid, SIGSTOP), 0);
	check_eq(waitpid(pid, &status, WUNTRACED), pid);
	check(WIFSTOPPED(status));
	atomic_store(ready, 2);
	check_eq(kill(pid, SIGCONT), 0);
	tcase_join(pid);
}

static void ignore_alarm(int sig)
{
	(void)sig;
}

struct alarmed {
	int vid;
	int microseconds;
};

static void attach_with_an_alarm_ahead(void *arg)
{
	const struct alarmed *a = arg;
	const struct itimerval t = { .it_value.tv_usec = a->microseconds };
	const struct sigaction sa = { .sa_handler = ignore_alarm };

	check_eq(sigaction(SIGALRM, &sa, NULL), 0);
	check_eq(setitimer(ITIMER_REAL, &t, NULL), 0);
	check_id(vas_attach(a->vid));
}

/* In the first call of a process the driver registers with its memory. */
static void no_signal_interrupts_the_first_attach(void)
{
	struct alarmed a = { .vid = tcase_vas_with_seg(BASE, MIB, NULL) };

	for (a.microseconds = 10; a.microseconds <= 1000; a.microseconds += 10)
		tcase_join(tcase_spawn(attach_with_an_alarm_ahead, &a));
}

static void the_device_is_not_inherited_by_programs(void)
{
	char path[64], target[64];
	int fd;

	attached(1);
	for (fd = 0; fd < 64; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (!strcmp(target, "/dev/pvvas"))
			check(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
}

static const struct tcase cases[] = {
	CASE(a_forked_child_is_in_no_vas),
	CASE(programs_are_started_with_words_in_a_segment),
	CASE(a_forked_child_can_attach_for_itself),
	CASE(a_child_of_the_raw_system_call_sees_nothing),
	CASE(exec_leaves_every_vas),
	CASE(exec_by_a_thread_leaves_every_vas),
	CASE(a_task_that_executes_many_programs_stays_one_thread),
	CASE(kill_9_inside_a_vas_leaves_nothing),
	CASE(kill_9_at_any_moment_leaves_nothing),
	CASE(a_crash_inside_a_vas_leaves_nothing),
	CASE(one_nobody_has_waited_for_holds_nothing),
	CASE(a_process_lives_on_without_its_first_thread),
	CASE(a_stopped_process_continues_in_its_vas),
	CASE(no_signal_interrupts_the_first_attach),
	CASE(the_device_is_not_inherited_by_programs),
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "after-exec"))
		return after_exec();
	if (argc == 4 && !strcmp(argv[1], "exec-again"))
		return after_exec_again(argv[2], argv[3]);
	return tcase_main(cases, sizeof(cases) / sizeof(cases[0]), 0);
}
