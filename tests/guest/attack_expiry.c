// SPDX-License-Identifier: GPL-2.0-only
/*
 * Objects that expire while other processes find, attach, name, clone and delete them, die in the
 * middle of that, or may not touch them: what is in use stays, what is not goes in time and
 * not before, and the owner alone decides about it.
 *
 *	attack_expiry [SEED [SECONDS]]
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define OWNERS		3
#define MEMBERS		3
#define POPULATION	8
/* Longest that an object may stay after its time, on a busy machine. */
#define PATIENCE	30
/* The clock of idle times is coarse. */
#define COARSE		20000

static unsigned int seed = 1, seconds = 6;

static struct counts {
	int early, late, gone_in_use, gone_kept, trespassed;
	int kept, expired, members, killed, strangers;
} *counts;

static void count(int *n)
{
	__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
}

static int let_expire(int vid, uint32_t after)
{
	struct vas_attr a = { .size = sizeof(a), .valid = VAS_ATTR_EXPIRY,
			      .expiry = after };

	return vas_ctl(VAS_CTL_SETATTR, vid, &a);
}

static bool is_there(int vid)
{
	struct vas_attr a = { .size = sizeof(a) };

	return !vas_ctl(VAS_CTL_GETATTR, vid, &a);
}

/* It has had no user since @since, and a second to stay. */
static void wait_for_end(int vid, long since)
{
	long end = since + PATIENCE * 1000000L;

	while (is_there(vid) && tcase_microseconds() < end)
		usleep(3000);
	if (is_there(vid))
		count(&counts->late);
	else if (tcase_microseconds() < since + 1000000 - COARSE)
		count(&counts->early);
	else
		count(&counts->expired);
}

static void use_for_some_time(int vid, const char *name)
{
	int vh = check_id(vas_attach(vid)), i;
	long since;

	for (i = rand() % 30; i; i--) {
		usleep(50000);
		if (vas_find(name) != vid)
			count(&counts->gone_in_use);
	}
	since = tcase_microseconds();
	check_eq(vas_detach(vh), 0);
	wait_for_end(vid, since);
}

static void use_and_die(void *arg)
{
	check_id(vas_attach(*(int *)arg));
	usleep(1200000);
	raise(SIGKILL);
}

/* What becomes of objects that no other process touches. */
static void own(void *arg)
{
	char name[64];
	long since;
	pid_t pid;
	int vid, i;

	srand(seed + *(int *)arg);
	for (i = 0;; i++) {
		snprintf(name, sizeof(name), "pvvas.own.%d.%d", getpid(), i);
		vid = check_id(vas_create(NULL, 0600));
		since = tcase_microseconds();
		check_eq(let_expire(vid, 1), 0);
		check_eq(vas_publish(vid, name), 0);
		switch (rand() % 4) {
		case 0:
			wait_for_end(vid, since);
			break;
		case 1:
			use_for_some_time(vid, name);
			break;
		case 2:
			check_eq(let_expire(vid, 0), 0);
			usleep(1500000);
			count(is_there(vid) ? &counts->kept : &counts->gone_kept);
			vas_delete(vid);
			break;
		case 3:
			pid = tcase_spawn(use_and_die, &vid);
			usleep(1100000);
			tcase_join_killed(pid, SIGKILL);
			wait_for_end(vid, since + 1000000);
			break;
		}
	}
}

/* One of the processes that do anything with the same few objects. */
static void belong(void *arg)
{
	char name[64];
	int vid, vh;

	srand(seed + *(int *)arg + getpid());
	for (;;) {
		snprintf(name, sizeof(name), "pvvas.pop.%d", rand() % POPULATION);
		vid = vas_find(name);
		if (vid < 0)
			vid = rand() % 2 ? vas_create(name, 0600) :
			      vas_create(NULL, 0600);
		vh = rand() % 2 ? vas_attach(vid) : 0;
		switch (rand() % 7) {
		case 0:
			let_expire(vid, 1 + rand() % 2);
			break;
		case 1:
			let_expire(vid, 0);
			break;
		case 2:
			vas_publish(vid, name);
			break;
		case 3:
			vas_delete(vid);
			break;
		case 4:
			vh = vh ? vh : vas_attach(vid);
			vas_delete(vas_clone(vid));
			break;
		case 5:
			if (vh > 0 && !vas_switch(vh))
				vas_switch(VAS_HOME);
			break;
		case 6:
			let_expire(vid, 1);
			usleep(rand() % 1300000);
			break;
		}
		if (vh > 0)
			vas_detach(vh);
		count(&counts->members);
	}
}

static void expect(int ret, int why)
{
	count(ret == why || ret == -ENOENT ? &counts->strangers :
					     &counts->trespassed);
}

static void trespass(void *arg)
{
	int id = 0;

	(void)arg;
	tcase_become(65534);
	for (;;) {
		id = vas_next(id);
		if (id < 0) {
			id = 0;
			continue;
		}
		expect(let_expire(id, 1), -EPERM);
		expect(vas_attach(id), -EACCES);
		expect(vas_publish(id, "pvvas.taken"), -EPERM);
		expect(vas_delete(id), -EPERM);
	}
}

static void end(pid_t pid)
{
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
}

static void forget(void)
{
	struct vas_attr a = { .size = sizeof(a) };
	int id = 0;

	while ((id = vas_next(id)) > 0)
		if (!vas_ctl(VAS_CTL_GETATTR, id, &a) &&
		    !strncmp(a.name, "pvvas.", 6))
			vas_delete(id);
}

static void objects_expire_beside_all_that_others_do(void)
{
	pid_t owners[OWNERS], members[MEMBERS], stranger = 0;
	int numbers[OWNERS + MEMBERS], i;
	long until;

	counts = tcase_shared(sizeof(*counts));
	for (i = 0; i < OWNERS + MEMBERS; i++)
		numbers[i] = i;
	for (i = 0; i < OWNERS; i++)
		owners[i] = tcase_spawn(own, &numbers[i]);
	for (i = 0; i < MEMBERS; i++)
		members[i] = tcase_spawn(belong, &numbers[OWNERS + i]);
	/* the software backend has a folder for each user */
	if (!geteuid() && pvvas_probe(PVVAS_FEATURE_DRIVER) == PVVAS_YES)
		stranger = tcase_spawn(trespass, NULL);
	until = tcase_microseconds() + seconds * 1000000L;
	for (i = 0; tcase_microseconds() < until; i = (i + 1) % MEMBERS) {
		usleep(300000);
		end(members[i]);
		members[i] = tcase_spawn(belong, &numbers[OWNERS + i]);
		counts->killed++;
	}
	for (i = 0; i < OWNERS; i++)
		end(owners[i]);
	for (i = 0; i < MEMBERS; i++)
		end(members[i]);
	if (stranger)
		end(stranger);
	forget();
	tcase_note("%d expired, %d kept; %d turns of members, %d killed; %d tries of a stranger",
		   counts->expired, counts->kept, counts->members,
		   counts->killed, counts->strangers);
	tcase_note("early %d, late %d, gone in use %d, gone though kept %d, trespassed %d",
		   counts->early, counts->late, counts->gone_in_use,
		   counts->gone_kept, counts->trespassed);
	check(!counts->early && !counts->late && !counts->gone_in_use &&
	      !counts->gone_kept && !counts->trespassed);
	check(counts->expired && counts->members && counts->killed);
}

int main(int argc, char **argv)
{
	struct tcase cases[] = {
		CASE(objects_expire_beside_all_that_others_do),
	};

	if (argc > 1)
		seed = (unsigned int)atoi(argv[1]);
	if (argc > 2)
		seconds = (unsigned int)atoi(argv[2]);
	cases[0].seconds = seconds + 120;
	return tcase_main(cases, 1, 0);
}
