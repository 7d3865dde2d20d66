// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the hypervisor has few of, no user takes from the others.  For
 * tests/host/machines.sh, which makes the hypervisor have so few.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define VIEWS		32
#define CONTEXTS	16
#define USERS		5
#define FIRST_USER	1000

/* What one process has got, and the error that ended it. */
struct share {
	uid_t uid;
	int most;
	atomic_int had;
	atomic_int error;
	atomic_int leave;
};

static void be(uid_t uid)
{
	check_eq(setgid(uid), 0);
	check_eq(setuid(uid), 0);
}

static void attach_many(void *arg)
{
	struct share *s = arg;
	int vid = check_id(vas_find("of.all")), ret = 0, n;

	if (s->uid)
		be(s->uid);
	for (n = 0; n < s->most; n++) {
		ret = vas_attach(vid);
		if (ret < 0)
			break;
	}
	atomic_store(&s->had, n);
	atomic_store(&s->error, ret < 0 ? ret : 1);
	while (!atomic_load(&s->leave))
		usleep(1000);
}

static pid_t take(struct share *s, uid_t uid, int most)
{
	pid_t pid;

	s->uid = uid;
	s->most = most;
	pid = tcase_spawn(attach_many, s);
	while (!atomic_load(&s->error))
		usleep(1000);
	return pid;
}

static void leave(struct share *s, pid_t pid)
{
	atomic_store(&s->leave, 1);
	tcase_join(pid);
}

static void a_user_has_a_quarter_of_the_views(void)
{
	struct share *s = tcase_shared(sizeof(*s));
	pid_t pid;

	tcase_vas("of.all", 0644);
	pid = take(s, FIRST_USER, VIEWS);
	check_eq(s->had, VIEWS / 4);
	check_eq(s->error, -EDQUOT);
	leave(s, pid);
}

static void the_last_views_are_for_the_administrator(void)
{
	struct share *s = tcase_shared(USERS * sizeof(*s));
	pid_t pid[USERS];
	int i, had = 0;

	tcase_vas("of.all", 0644);
	for (i = 0; i < USERS - 1; i++) {
		pid[i] = take(&s[i], FIRST_USER + i, VIEWS);
		had += s[i].had;
	}
	check_eq(had, VIEWS - VIEWS / 8);
	check_eq(s[USERS - 2].error, -ENOSPC);
	pid[i] = take(&s[i], 0, VIEWS);
	check_eq(s[i].had, VIEWS / 8);
	check_eq(s[i].error, -ENOSPC);
	for (i = 0; i < USERS; i++)
		leave(&s[i], pid[i]);
}

/* Processes with one attachment each; how many got it. */
static int take_each(struct share *s, pid_t *pid, uid_t uid, int most)
{
	int n;

	for (n = 0; n < most; n++) {
		pid[n] = take(&s[n], uid, 1);
		if (!s[n].had)
			break;
	}
	return n;
}

static void leave_all(struct share *s, pid_t *pid, int n)
{
	while (n--)
		leave(&s[n], pid[n]);
}

static void a_user_has_a_quarter_of_the_contexts(void)
{
	struct share *s = tcase_shared(CONTEXTS * sizeof(*s));
	pid_t pid[CONTEXTS];
	int n;

	tcase_vas("of.all", 0644);
	n = take_each(s, pid, FIRST_USER, CONTEXTS);
	check_eq(n, CONTEXTS / 4);
	check_eq(s[n].error, -EDQUOT);
	leave_all(s, pid, n + 1);
}

static void the_last_contexts_are_for_the_administrator(void)
{
	struct share *s = tcase_shared(2 * CONTEXTS * sizeof(*s));
	pid_t pid[2 * CONTEXTS];
	int had = 0, n = 0, i, got;

	tcase_vas("of.all", 0644);
	for (i = 0; i < USERS - 1; i++) {
		got = take_each(s + n, pid + n, FIRST_USER + i, CONTEXTS / 4);
		had += got;
		n += got < CONTEXTS / 4 ? got + 1 : got;
	}
	check_eq(had, CONTEXTS - CONTEXTS / 8);
	check_eq(s[n - 1].error, -ENOSPC);
	got = take_each(s + n, pid + n, 0, CONTEXTS / 8 + 1);
	check_eq(got, CONTEXTS / 8);
	check_eq(s[n + got].error, -ENOSPC);
	leave_all(s, pid, n + got + 1);
}

static const struct tcase cases[] = {
	CASE(a_user_has_a_quarter_of_the_views),
	CASE(the_last_views_are_for_the_administrator),
	CASE(a_user_has_a_quarter_of_the_contexts),
	CASE(the_last_contexts_are_for_the_administrator),
};

TCASE_MAIN(cases, 0)
