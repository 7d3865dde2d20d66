// SPDX-License-Identifier: GPL-2.0-only
/*
 * `process_storm [SECONDS [SEED [PROCESSES]]]`: processes of four threads create, find,
 * attach, switch, touch, detach, delete and fork at random, and are killed at
 * random.  Afterwards nothing of them may be left: no object, no view, no
 * memory.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define THREADS	4
#define NAMES	16
#define SLOTS	8
#define MOST	64

static unsigned int seconds = 10, processes = MOST;
static uint64_t seed = 1;

struct tally {
	atomic_ulong attached, switched, touched, detached, forked, wrong;
	atomic_ulong killed, ended;
};

static struct tally *tally;

/* Each thread has its own numbers, so that a seed means the same calls. */
struct random {
	uint64_t state;
};

static uint32_t below(struct random *r, uint32_t n)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return (uint32_t)(r->state >> 20) % n;
}

/* Attachments of one process, which its threads share and take from each other. */
static atomic_int handles[SLOTS];

static const char *name_of(struct random *r, char *buf)
{
	sprintf(buf, "storm.%u", below(r, NAMES));
	return below(r, 4) ? buf : NULL;
}

static void make(struct random *r)
{
	char buf[32];
	/* places that overlap now and then, so that links are refused, too */
	int sid = seg_alloc(name_of(r, buf), BASE + below(r, 8) * MIB * 2,
			    (1 + below(r, 64)) * 4096, 0600);
	int vid = vas_create(name_of(r, buf), 0600);

	if (vid == -EEXIST)
		vid = vas_find(buf);
	if (sid == -EEXIST)
		sid = seg_find(buf);
	if (vid > 0 && sid > 0)
		seg_attach(vid, sid);
}

static void attach(struct random *r)
{
	char buf[32];
	int vid, vh, old;

	sprintf(buf, "storm.%u", below(r, NAMES));
	vid = vas_find(buf);
	vh = vid > 0 ? vas_attach(vid) : 0;
	if (vh <= 0)
		return;
	atomic_fetch_add(&tally->attached, 1);
	old = atomic_exchange(&handles[below(r, SLOTS)], vh);
	if (old && !vas_detach(old))
		atomic_fetch_add(&tally->detached, 1);
}

/* What is read has to be what was written in the same place, or zero. */
static void touch(struct random *r)
{
	volatile uint64_t *at = (volatile uint64_t *)(BASE +
				below(r, 8) * MIB * 2 + below(r, 64) * 4096);
	uint64_t value = *at;

	if (value && value != (uintptr_t)at)
		atomic_fetch_add(&tally->wrong, 1);
	*at = (uintptr_t)at;
	atomic_fetch_add(&tally->touched, 1);
}

static __thread struct __jmp_buf_tag *escape;

static void on_fault(int sig)
{
	(void)sig;
	if (escape)
		siglongjmp(escape, 1);
	_exit(3);
}

static void visit(struct random *r)
{
	int vh = atomic_load(&handles[below(r, SLOTS)]);
	sigjmp_buf here;

	if (!vh || vas_switch(vh))
		return;
	atomic_fetch_add(&tally->switched, 1);
	if (!sigsetjmp(here, 1)) {
		escape = here;
		touch(r);
		if (below(r, 4) == 0)
			sched_yield();
		touch(r);
	}
	escape = NULL;
	vas_switch(VAS_HOME);
}

static void drop(struct random *r)
{
	int vh, id;
	char buf[32];

	switch (below(r, 4)) {
	case 0:
		vh = atomic_exchange(&handles[below(r, SLOTS)], 0);
		if (vh && !vas_detach(vh))
			atomic_fetch_add(&tally->detached, 1);
		break;
	case 1:
		sprintf(buf, "storm.%u", below(r, NAMES));
		id = vas_find(buf);
		if (id > 0)
			vas_delete(id);
		break;
	case 2:
		sprintf(buf, "storm.%u", below(r, NAMES));
		id = seg_find(buf);
		if (id > 0)
			seg_delete(id);
		break;
	default:
		sprintf(buf, "storm.%u", below(r, NAMES));
		id = vas_find(buf);
		vh = seg_find(buf);
		if (id > 0 && vh > 0)
			seg_detach(id, vh);
	}
}

/* A child that starts at home, and may attach for itself. */
static void spawn(struct random *r)
{
	pid_t pid = fork();

	if (!pid) {
		if (vas_current() != VAS_HOME)
			atomic_fetch_add(&tally->wrong, 1);
		attach(r);
		visit(r);
		_exit(0);
	}
	if (pid > 0) {
		waitpid(pid, NULL, 0);
		atomic_fetch_add(&tally->forked, 1);
	}
}

static void *blow(void *arg)
{
	struct random r = { (uintptr_t)arg };

	for (;;) {
		unsigned int what = below(&r, 32);

		if (what == 0)
			spawn(&r);
		else if (what <= 4)
			make(&r);
		else if (what <= 8)
			attach(&r);
		else if (what <= 10)
			drop(&r);
		else if (what == 11 && below(&r, 64) == 0)
			/* the whole process, whatever the others do */
			_exit(0);
		else
			visit(&r);
	}
	return NULL;
}

static void live(uint64_t number)
{
	struct sigaction sa = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	pthread_t thread;
	unsigned int i;

	setpgid(0, 0);
	alarm(0);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	number = (number + 1) * 0x9e3779b97f4a7c15ULL ^ seed;
	for (i = 1; i < THREADS; i++)
		pthread_create(&thread, NULL, blow,
			       (void *)(uintptr_t)((number + i) | 1));
	blow((void *)(uintptr_t)(number | 1));
}

static long free_memory(void)
{
	char line[128], key[64];
	long sum = 0, value;
	FILE *f = fopen("/proc/meminfo", "r");

	check(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%63[^:]: %ld", key, &value) == 2 &&
		    (!strcmp(key, "MemFree") || !strcmp(key, "Cached") ||
		     !strcmp(key, "Buffers") || !strcmp(key, "SReclaimable")))
			sum += value;
	fclose(f);
	return sum;
}

static pid_t start(uint64_t number)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (!pid) {
		live(number);
		_exit(0);
	}
	setpgid(pid, pid);
	return pid;
}

static void end(pid_t pid)
{
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
	check_eq(waitpid(pid, NULL, 0), pid);
}

static void blow_for_a_while(void)
{
	struct random r = { seed * 2 + 1 };
	uint64_t number = 0;
	pid_t pids[MOST];
	time_t until;
	unsigned int i;

	for (i = 0; i < processes; i++)
		pids[i] = start(number++);
	until = time(NULL) + seconds;
	while (time(NULL) < until) {
		i = below(&r, processes);
		usleep(1000 + below(&r, 20000));
		if (waitpid(pids[i], NULL, WNOHANG) == pids[i]) {
			atomic_fetch_add(&tally->ended, 1);
		} else {
			end(pids[i]);
			atomic_fetch_add(&tally->killed, 1);
		}
		pids[i] = start(number++);
	}
	for (i = 0; i < processes; i++)
		end(pids[i]);
}

static void delete_names(void)
{
	char buf[32];
	int i, id;

	for (i = 0; i < NAMES; i++) {
		sprintf(buf, "storm.%d", i);
		id = vas_find(buf);
		if (id > 0)
			check_eq(vas_delete(id), 0);
		id = seg_find(buf);
		if (id > 0)
			check_eq(seg_delete(id), 0);
	}
}

static void nothing_is_left_of_many_processes_killed_at_random(void)
{
	struct pvvas_stats st = { .size = sizeof(st) }, old = st;
	long before, after;
	int i;

	tally = tcase_shared(sizeof(*tally));
	check_eq(pvvas_stats(&old), 0);
	before = free_memory();
	blow_for_a_while();
	delete_names();
	tcase_note("attached %lu switched %lu touched %lu detached %lu forked %lu killed %lu ended %lu",
		   tally->attached, tally->switched, tally->touched,
		   tally->detached, tally->forked, tally->killed, tally->ended);
	check_eq(tally->wrong, 0);
	check(tally->attached > processes);
	check(tally->switched > processes);
	for (i = 0; i < 100; i++) {
		check_eq(pvvas_stats(&st), 0);
		after = free_memory();
		if (st.vases == old.vases && st.segs == old.segs &&
		    st.processes == old.processes &&
		    st.threads == old.threads && st.pages == old.pages &&
		    st.attachments == old.attachments && before - after < 8192)
			return;
		usleep(50000);
	}
	tcase_fail(__FILE__, __LINE__,
		   "vases %lu segs %lu processes %lu threads %lu attachments %lu pages %lu, %ld KiB less memory",
		   st.vases, st.segs, st.processes, st.threads,
		   st.attachments, st.pages, before - after);
}

int main(int argc, char **argv)
{
	struct tcase cases[] = {
		CASE_SECONDS(nothing_is_left_of_many_processes_killed_at_random,
			     0),
	};

	if (argc > 1)
		seconds = (unsigned int)strtoul(argv[1], NULL, 0);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0);
	if (argc > 3)
		processes = (unsigned int)strtoul(argv[3], NULL, 0);
	if (!processes || processes > MOST)
		return 2;
	cases[0].seconds = seconds + 300;
	printf("# %u seconds, seed %llu, %u processes of %d threads\n", seconds,
	       (unsigned long long)seed, processes, THREADS);
	return tcase_main(cases, 1, 0);
}
