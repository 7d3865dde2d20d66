// SPDX-License-Identifier: GPL-2.0-only
/*
 * Objects that get their names when they are ready, and objects that go when
 * nothing has used them for some time.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
/* Longest that an object may stay after its time, on a busy machine. */
#define PATIENCE	30

static void find_and_read(void *arg)
{
	check_eq(vas_switch(check_id(vas_attach(check_id(vas_find(arg))))), 0);
	check_eq(strcmp(BASE, "complete"), 0);
}

static void what_is_not_published_is_not_found(void)
{
	const char *name = tcase_name("whole");
	int sid, vid = tcase_vas_with_seg(BASE, MIB, &sid);

	check_eq(vas_find(name), -ENOENT);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	strcpy(BASE, "complete");
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(seg_publish(sid, name), 0);
	check_eq(vas_publish(vid, name), 0);
	check_eq(vas_find(name), vid);
	check_eq(seg_find(name), sid);
	tcase_join(tcase_spawn(find_and_read, (void *)name));
}

static void publishing_says_what_is_wrong(void)
{
	const char *name = tcase_name("wrong"), *other = tcase_name("other");
	int vid = tcase_vas(NULL, 0600), named = tcase_vas(name, 0600), vh;

	check_eq(vas_publish(vid, name), -EEXIST);
	check_eq(vas_publish(named, other), -EINVAL);
	check_eq(vas_publish(vid, ""), -EINVAL);
	check_eq(vas_publish(vid, "a/b"), -EINVAL);
	check_eq(vas_publish(vid, NULL), -EINVAL);
	check_eq(vas_publish(0, other), -EINVAL);
	check_eq(vas_publish(1 << 29, other), -ENOENT);
	check_eq(seg_publish(vid + (1 << 28), other), -ENOENT);
	check_eq(vas_find(other), -ENOENT);
	/* a deleted one stays so */
	vh = check_id(vas_attach(vid));
	check_eq(vas_delete(vid), 0);
	check_eq(vas_publish(vid, other), -ENOENT);
	check_eq(vas_detach(vh), 0);
}

static void publish_as_another_user(void *arg)
{
	check_eq(setgid(65534), 0);
	check_eq(setuid(65534), 0);
	check_eq(vas_publish(*(int *)arg, "pvvas.stranger"), -EPERM);
}

static void only_its_owner_publishes_an_object(void)
{
	int vid = tcase_vas(NULL, 0666);

	if (geteuid())
		tcase_skip("needs root");
	/* the software backend has a folder for each user */
	tcase_need(PVVAS_FEATURE_DRIVER);
	tcase_join(tcase_spawn(publish_as_another_user, &vid));
	check_eq(vas_find("pvvas.stranger"), -ENOENT);
}

struct maker {
	const char *name;
	bool publish;
	int vid;
};

static void make_and_die(void *arg)
{
	struct maker *m = arg;

	m->vid = check_id(vas_create(NULL, 0600));
	if (m->publish)
		check_eq(vas_publish(m->vid, m->name), 0);
	raise(SIGKILL);
}

static bool is_there(int vid)
{
	struct vas_attr a = { .size = sizeof(a) };
	int err = vas_ctl(VAS_CTL_GETATTR, vid, &a);

	check(!err || err == -ENOENT);
	return !err;
}

/* The driver's work, or the next caller's, some time after @vid is due. */
static bool goes(int vid)
{
	time_t end = time(NULL) + PATIENCE;
	struct pvvas_stats st = { .size = sizeof(st) };

	while (is_there(vid) && time(NULL) < end) {
		usleep(50000);
		pvvas_stats(&st);
	}
	return !is_there(vid);
}

static void what_its_maker_never_published_goes_with_it(void)
{
	struct maker *m = tcase_shared(sizeof(*m));

	m->name = tcase_name("died");
	tcase_join_killed(tcase_spawn(make_and_die, m), SIGKILL);
	check(goes(m->vid));
	m->publish = true;
	tcase_join_killed(tcase_spawn(make_and_die, m), SIGKILL);
	check_eq(vas_find(m->name), m->vid);
	check_eq(vas_delete(m->vid), 0);
}

static void let_vas_expire(int vid, uint32_t seconds)
{
	struct vas_attr a = { .size = sizeof(a), .valid = VAS_ATTR_EXPIRY,
			      .expiry = seconds };

	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &a), 0);
	check_eq(vas_ctl(VAS_CTL_GETATTR, vid, &a), 0);
	check_eq(a.expiry, seconds);
}

static void let_seg_expire(int sid, uint32_t seconds)
{
	struct seg_attr a = { .size = sizeof(a), .valid = VAS_ATTR_EXPIRY,
			      .expiry = seconds };

	check_eq(seg_ctl(sid, SEG_CTL_SETATTR, &a), 0);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &a), 0);
	check_eq(a.expiry, seconds);
}

static void what_nothing_uses_expires(void)
{
	const char *name = tcase_name("expires");
	int kept = tcase_vas(tcase_name("kept"), 0600);
	int vid = tcase_vas(name, 0600), sid = tcase_seg(name, BASE, MIB, 0600);
	int vh = check_id(vas_attach(vid));

	check_eq(seg_attach(vid, sid), 0);
	let_seg_expire(sid, 1);
	let_vas_expire(vid, 1);
	let_vas_expire(kept, 1000);
	/* in use */
	usleep(2500000);
	check_eq(vas_find(name), vid);
	check_eq(seg_find(name), sid);
	check_eq(vas_detach(vh), 0);
	check_eq(vas_find(name), vid);
	/* the segment, once the VAS that showed it is gone, and its time again */
	check(goes(vid));
	check_eq(vas_find(name), -ENOENT);
	for (vh = 0; vh < 20 * PATIENCE && seg_find(name) != -ENOENT; vh++)
		usleep(50000);
	check_eq(seg_find(name), -ENOENT);
	check(is_there(kept));
}

static void use_begins_the_time_anew(void)
{
	const char *name = tcase_name("anew");
	int vid = tcase_vas(name, 0600), i;

	let_vas_expire(vid, 3);
	for (i = 0; i < 5; i++) {
		check_eq(vas_detach(check_id(vas_attach(vid))), 0);
		sleep(1);
		check_eq(vas_find(name), vid);
	}
	let_vas_expire(vid, 0);
	sleep(4);
	check_eq(vas_find(name), vid);
}

static void idle_time_is_counted(void)
{
	struct vas_attr a = { .size = sizeof(a) };
	int vid = tcase_vas(NULL, 0600), vh;

	sleep(2);
	check_eq(vas_ctl(VAS_CTL_GETATTR, vid, &a), 0);
	check(a.idle >= 1 && a.idle < 40);
	vh = check_id(vas_attach(vid));
	sleep(1);
	check_eq(vas_ctl(VAS_CTL_GETATTR, vid, &a), 0);
	check_eq(a.idle, 0);
	check_eq(vas_detach(vh), 0);
	sleep(1);
	check_eq(vas_ctl(VAS_CTL_GETATTR, vid, &a), 0);
	check(a.idle >= 1 && a.idle < 40);
}

static void attach_and_die(void *arg)
{
	check_id(vas_attach(*(int *)arg));
	raise(SIGKILL);
}

static void what_the_dead_used_expires_too(void)
{
	const char *name = tcase_name("widow");
	int vid = tcase_vas(name, 0600);

	let_vas_expire(vid, 2);
	tcase_join_killed(tcase_spawn(attach_and_die, &vid), SIGKILL);
	check(goes(vid));
}

static void a_deleted_object_has_no_expiry(void)
{
	struct vas_attr a = { .size = sizeof(a), .valid = VAS_ATTR_EXPIRY,
			      .expiry = 1 };
	int vid = tcase_vas(tcase_name("gone"), 0600);
	int vh = check_id(vas_attach(vid));

	check_eq(vas_delete(vid), 0);
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &a), -ENOENT);
	check_eq(vas_detach(vh), 0);
	check(!is_there(vid));
}

static const struct tcase cases[] = {
	CASE(what_is_not_published_is_not_found),
	CASE(publishing_says_what_is_wrong),
	CASE(only_its_owner_publishes_an_object),
	CASE(what_its_maker_never_published_goes_with_it),
	CASE(what_nothing_uses_expires),
	CASE(use_begins_the_time_anew),
	CASE(idle_time_is_counted),
	CASE(what_the_dead_used_expires_too),
	CASE(a_deleted_object_has_no_expiry),
};

TCASE_MAIN(cases, 0)
