// SPDX-License-Identifier: GPL-2.0-only
/*
 * Without a driver every call answers, and nothing is executed that this
 * machine does not have.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <pvvas.h>

/* What the machine lacks decides which of the two. */
static int expected;

static int group_setup(void **state)
{
	(void)state;
	expected = vas_find("x");
	return expected == -ENODEV || expected == -ENOSYS ? 0 : -1;
}

static void every_call_says_what_is_missing(void **state)
{
	struct pvvas_stats st = { .size = sizeof(st) };
	struct vas_attr va = { .size = sizeof(va) };
	struct seg_attr sa = { .size = sizeof(sa) };
	void *base;
	size_t size;

	(void)state;
	assert_int_equal(vas_create("x", 0600), expected);
	assert_int_equal(vas_create(NULL, 0600), expected);
	assert_int_equal(vas_find("x"), expected);
	assert_int_equal(vas_attach(1), expected);
	assert_int_equal(vas_detach(1 << 30 | 1), expected);
	assert_int_equal(vas_delete(1), expected);
	assert_int_equal(vas_ctl(VAS_CTL_GETATTR, 1, &va), expected);
	assert_int_equal(vas_ctl(VAS_CTL_SETATTR, 1, &va), expected);
	assert_int_equal(vas_ctl(VAS_CTL_DELETE, 1), expected);
	assert_int_equal(seg_alloc("x", (void *)VAS_WINDOW_FIRST, 1, 0600),
			 expected);
	assert_int_equal(seg_find("x"), expected);
	assert_int_equal(seg_attach(1, 1), expected);
	assert_int_equal(seg_attach_prot(1, 1, PROT_READ), expected);
	assert_int_equal(seg_detach(1, 1), expected);
	assert_int_equal(seg_delete(1), expected);
	assert_int_equal(seg_range(1, &base, &size), expected);
	assert_int_equal(seg_ctl(1, SEG_CTL_GETATTR, &sa), expected);
	assert_int_equal(seg_ctl(1, SEG_CTL_SETATTR, &sa), expected);
	assert_int_equal(seg_ctl(1, SEG_CTL_DELETE), expected);
	assert_int_equal(pvvas_window(&base, &size), expected);
	assert_int_equal(pvvas_stats(&st), expected);
}

static void a_switch_to_a_handle_is_refused(void **state)
{
	(void)state;
	assert_int_equal(vas_switch(1 << 30 | 1), expected);
	assert_int_equal(vas_switch(-ENODEV), expected);
	assert_int_equal(vas_current(), VAS_HOME);
}

static void a_switch_home_is_no_error(void **state)
{
	(void)state;
	assert_int_equal(vas_switch(VAS_HOME), 0);
	assert_int_equal(vas_current(), VAS_HOME);
}

static void the_probe_says_no(void **state)
{
	(void)state;
	assert_int_equal(pvvas_probe(PVVAS_FEATURE_DRIVER), PVVAS_NO);
	assert_int_equal(pvvas_probe(PVVAS_FEATURE_SWITCH), PVVAS_NO);
	assert_int_equal(pvvas_probe(PVVAS_FEATURE_PER_THREAD), PVVAS_NO);
	assert_int_equal(pvvas_probe(PVVAS_FEATURE_WRITES), PVVAS_NO);
	if (expected == -ENOSYS)
		assert_int_equal(pvvas_probe(PVVAS_FEATURE_HYPERVISOR), PVVAS_NO);
}

static void a_forked_child_gets_the_same_answers(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(vas_switch(VAS_HOME) || vas_find("x") != expected);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void *try_all(void *arg)
{
	int i;

	for (i = 0; i < 1000; i++)
		if (vas_switch(VAS_HOME) || vas_find("x") != expected ||
		    vas_switch(1 << 30 | i) != expected)
			return arg;
	return NULL;
}

static void threads_get_the_same_answers(void **state)
{
	pthread_t threads[8];
	void *result;
	int i;

	(void)state;
	for (i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, try_all,
						&expected), 0);
	for (i = 0; i < 8; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_call_says_what_is_missing),
		cmocka_unit_test(a_switch_to_a_handle_is_refused),
		cmocka_unit_test(a_switch_home_is_no_error),
		cmocka_unit_test(the_probe_says_no),
		cmocka_unit_test(a_forked_child_gets_the_same_answers),
		cmocka_unit_test(threads_get_the_same_answers),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
