// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checked pointers: uses in the wrong VAS and stores into another VAS are
 * found, all else is not.
 */
#include <signal.h>
#include <string.h>

#define PVVAS_CHECK	1
#include <pvvas_check.h>

#include "tcase.h"

#define BASE	((struct node *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

struct node {
	struct node *next;
	long value;
};

static volatile int found, last_line;
static struct vas_misuse_info last;

static void note(const struct vas_misuse_info *info)
{
	last = *info;
	last_line = info->line;
	found++;
}

static int a, b;

static void scene(void)
{
	a = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	b = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	found = 0;
	vas_on_misuse(note);
	check_eq(vas_switch(a), 0);
}

static void what_is_right_is_not_noticed(void)
{
	struct node *n, *m, *local;

	scene();
	n = vas_tagged(BASE);
	m = vas_tagged(BASE + 1);
	vas_checked(n)->value = 1;
	vas_checked(m)->value = 2;
	vas_set(vas_checked(n)->next, m);
	vas_set(vas_checked(m)->next, NULL);
	check(BASE->next == BASE + 1);	/* plain in the segment */
	vas_set(local, n);
	check_eq(vas_switch(b), 0);
	check_eq(vas_switch(a), 0);
	local = vas_get(vas_checked(local)->next);
	check_eq(vas_checked(local)->value, 2);
	check(!vas_get(vas_checked(local)->next));
	n = (struct node *)&found;
	check(vas_checked(vas_tagged(n)) == (void *)&found);
	check_eq(found, 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void use_in_another_vas_is_found(void)
{
	struct node *n;
	int line;

	scene();
	n = vas_tagged(BASE);
	vas_checked(n)->value = 1;
	check_eq(vas_switch(b), 0);
	line = __LINE__ + 1;
	check_eq(vas_checked(n)->value, 0);
	check_eq(found, 1);
	check_eq(last.what, VAS_MISUSE_ACCESS);
	check_eq(last.made_in, a & 0xffff);
	check_eq(last.used_in, b);
	check(last.address == BASE);
	check_eq(last_line, line);
	check(strstr(last.file, "checked.c"));
	check_eq(vas_switch(VAS_HOME), 0);
	(void)vas_checked(n);
	check_eq(found, 2);
}

static void stores_into_another_vas_are_found(void)
{
	struct node *n;

	scene();
	n = vas_tagged(BASE + 3);
	check_eq(vas_switch(b), 0);
	vas_set(BASE->next, n);
	check_eq(found, 1);
	check_eq(last.what, VAS_MISUSE_STORE);
	vas_set(BASE->next, vas_tagged(BASE + 3));
	check_eq(found, 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void private_memory_in_a_vas_is_found(void)
{
	struct node own;

	scene();
	vas_set(BASE->next, &own);
	check_eq(found, 1);
	check_eq(last.what, VAS_MISUSE_PRIVATE);
	check(last.address == &own);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_segment_that_both_vases_show_may_be_used_in_both(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0600);
	int one = tcase_vas(NULL, 0600), two = tcase_vas(NULL, 0600);
	struct node *n;

	check_eq(seg_attach(one, sid), 0);
	check_eq(seg_attach(two, sid), 0);
	a = check_id(vas_attach(one));
	b = check_id(vas_attach(two));
	found = 0;
	vas_on_misuse(note);
	check_eq(vas_switch(a), 0);
	n = vas_tagged(BASE);
	vas_checked(n)->value = 5;
	check_eq(vas_switch(b), 0);
	check_eq(vas_checked(n)->value, 5);
	vas_set(vas_checked(n)->next, n);
	check_eq(found, 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void misuse(void *arg)
{
	struct node *n;

	(void)arg;
	scene();
	vas_on_misuse(NULL);
	n = vas_tagged(BASE);
	check_eq(vas_switch(b), 0);
	(void)vas_checked(n);
}

static void without_a_function_misuse_aborts(void)
{
	tcase_join_killed(tcase_spawn(misuse, NULL), SIGABRT);
}

static const struct tcase cases[] = {
	CASE(what_is_right_is_not_noticed),
	CASE(use_in_another_vas_is_found),
	CASE(stores_into_another_vas_are_found),
	CASE(private_memory_in_a_vas_is_found),
	CASE(a_segment_that_both_vases_show_may_be_used_in_both),
	CASE(without_a_function_misuse_aborts),
};

TCASE_MAIN(cases, 0)
