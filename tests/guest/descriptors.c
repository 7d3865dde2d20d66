// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Programs that close what they have not opened, and use the numbers again; and
 * signal handlers that switch.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

static int vh, sid;

static void attach_one(void)
{
	vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, &sid)));
}

static void switch_and_back(void)
{
	check_eq(vas_switch(vh), 0);
	BASE[MIB - 1]++;	/* not where a heap begins */
	check_eq(vas_switch(VAS_HOME), 0);
}

static void *switch_in_thread(void *unused)
{
	(void)unused;
	switch_and_back();
	return NULL;
}

/* All that the library does, in threads that it knows and in others. */
static void everything_works(void)
{
	pthread_t thread;

	switch_and_back();
	check_eq(pthread_create(&thread, NULL, switch_in_thread, NULL), 0);
	check_eq(pthread_join(thread, NULL), 0);
	check_id(vas_create(NULL, 0600));
	check_eq(vas_find("nothing has this name"), -ENOENT);
	check_eq(vas_switch(vh), 0);
	check(seg_malloc(sid, 5000));
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_program_that_closes_all_descriptors_goes_on(void)
{
	attach_one();
	closefrom(3);
	everything_works();
	closefrom(3);
	attach_one();
	everything_works();
}

/* A file of the program's own at each number. */
static void fill_numbers(const char *path, int flags)
{
	int first = open(path, flags | O_CREAT, 0600), i;

	check(first >= 0);
	for (i = 3; i < 200; i++)
		check(i == first || dup2(first, i) == i);
}

static void numbers_that_are_used_again_are_the_programs(void)
{
	char path[] = "/tmp/pvvas-XXXXXX", c = 0;
	int f = mkstemp(path), i;

	check(f >= 0);
	attach_one();
	closefrom(3);
	fill_numbers("/dev/null", O_RDWR);
	everything_works();
	closefrom(3);
	fill_numbers(path, O_RDWR);
	everything_works();
	/* nothing of ours has closed or written to one of them */
	for (i = 3; i < 200; i++)
		check(fcntl(i, F_GETFD) >= 0);
	check_eq(pread(10, &c, 1, 0), 0);
	check_eq(unlink(path), 0);
}

static void what_a_child_inherits_stays_open_in_it(void *unused)
{
	int i;

	(void)unused;
	for (i = 3; i < 200; i++)
		check(fcntl(i, F_GETFD) >= 0);
	attach_one();
	everything_works();
}

static void a_child_closes_nothing_of_the_programs(void)
{
	attach_one();
	closefrom(3);
	fill_numbers("/dev/null", O_RDWR);
	tcase_join(tcase_spawn(what_a_child_inherits_stays_open_in_it, NULL));
}

static void a_file_of_the_programs_is_not_mapped_as_the_window(void)
{
	char path[] = "/tmp/pvvas-XXXXXX";
	int f = mkstemp(path), vid;

	check(f >= 0);
	/* opens the device, but maps nothing yet */
	vid = tcase_vas_with_seg(BASE, MIB, &sid);
	closefrom(3);
	fill_numbers(path, O_RDWR);
	vh = check_id(vas_attach(vid));
	everything_works();
	check_eq(unlink(path), 0);
}

static void where_no_descriptor_is_left_the_error_says_so(void)
{
	struct rlimit none = { .rlim_cur = 3, .rlim_max = 3 };

	attach_one();
	switch_and_back();
	closefrom(3);
	check_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	check_eq(vas_create(NULL, 0600), -EBADF);
	check_eq(seg_alloc(NULL, NULL, 4096, 0600), -EBADF);
	check_eq(vas_attach(1), -EBADF);
}

static void with_few_descriptors(void *arg)
{
	struct rlimit few = { .rlim_cur = 3, .rlim_max = 20 };

	closefrom(3);
	check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	check_eq(vas_create(NULL, 0600), -EMFILE);
	check_eq(vas_next(0), -EMFILE);
	/* that is no lasting harm, and a few are enough */
	few.rlim_cur = 8;
	check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	attach_one();
	switch_and_back();
	(void)arg;
}

static void a_process_needs_a_few_descriptors(void)
{
	tcase_join(tcase_spawn(with_few_descriptors, NULL));
}

static int other;
static volatile sig_atomic_t handled, wrong;

/* Once: also where the handler takes longer than that, the program goes on. */
static void ring_soon(void)
{
	struct itimerval soon = { .it_value = { 0, 300 } };

	check_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
}

static void switch_in_handler(int sig)
{
	int before = vas_current();

	(void)sig;
	if (vas_switch(other) || BASE[0] != 'o' || vas_switch(before))
		wrong = 1;
	handled++;
	ring_soon();
}

static void a_signals_handler_may_switch_at_any_moment(void)
{
	struct itimerval never = { 0 };
	struct sigaction sa = { .sa_handler = switch_in_handler,
				.sa_flags = SA_RESTART };
	int i;

	attach_one();
	other = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	check_eq(vas_switch(other), 0);
	BASE[0] = 'o';
	check_eq(vas_switch(vh), 0);
	BASE[0] = 'v';
	check_eq(sigaction(SIGALRM, &sa, NULL), 0);
	ring_soon();
	for (i = 0; i < 2000000 && handled < 500 && !wrong; i++) {
		check_eq(vas_switch(VAS_HOME), 0);
		check_eq(vas_switch(vh), 0);
		check_eq(*(volatile char *)BASE, 'v');
		if (!(i % 16))
			check_eq(vas_find("nothing has this name"), -ENOENT);
	}
	check_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	check_eq(wrong, 0);
	check(handled >= 500);
}

static const struct tcase cases[] = {
	CASE(a_program_that_closes_all_descriptors_goes_on),
	CASE(numbers_that_are_used_again_are_the_programs),
	CASE(a_child_closes_nothing_of_the_programs),
	CASE(a_file_of_the_programs_is_not_mapped_as_the_window),
	CASE(where_no_descriptor_is_left_the_error_says_so),
	CASE(a_process_needs_a_few_descriptors),
	CASE(a_signals_handler_may_switch_at_any_moment),
};

TCASE_MAIN(cases, 0)
