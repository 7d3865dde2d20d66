// SPDX-License-Identifier: GPL-2.0-only
/*
 * Running test cases: process groups, time limits, TAP.
 */
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "leave_out.h"
#include "patience.h"
#include "tcase.h"

#define EXIT_SKIP	77
#define MAX_OBJECTS	4096

/* What the processes of a case tell the one that runs it. */
struct shared {
	atomic_int nr_objects;
	struct {
		int id;
		bool seg;
	} objects[MAX_OBJECTS];
	char skip[128];
	char fail[512];
};

static struct shared *shared;

void tcase_note(const char *format, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line, sizeof(line) - 2, format, ap);
	va_end(ap);
	if (n < 0)
		return;
	dprintf(STDOUT_FILENO, "# %s\n", line);
}

void tcase_fail(const char *file, int line, const char *format, ...)
{
	char what[400];
	va_list ap;

	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	tcase_note("%s:%d: %s", file, line, what);
	_exit(1);
}

void tcase_folder(char *path, size_t size, const char *name)
{
	const char *parent = getenv("PVVAS_TEST_DIR");
	int n = snprintf(path, size, "%s/pvvas-%s-XXXXXX",
			 parent ?: "/dev/shm", name);

	check(n < (int)size);
	check(mkdtemp(path));
}

void tcase_skip(const char *why)
{
	snprintf(shared->skip, sizeof(shared->skip), "%s", why);
	_exit(EXIT_SKIP);
}

static void track(int id, bool seg)
{
	int i = atomic_fetch_add(&shared->nr_objects, 1);

	if (i >= MAX_OBJECTS)
		tcase_fail(__FILE__, __LINE__, "too many objects");
	shared->objects[i].id = id;
	shared->objects[i].seg = seg;
}

void tcase_track_vas(int vid)
{
	track(vid, false);
}

void tcase_track_seg(int sid)
{
	track(sid, true);
}

int tcase_vas(const char *name, mode_t mode)
{
	int vid = check_id(vas_create(name, mode));

	track(vid, false);
	return vid;
}

int tcase_seg_with(const char *name, void *base, size_t size, mode_t mode,
		   uint32_t flags)
{
	struct seg_options options = { .size = sizeof(options), .flags = flags };
	int sid = check_id(seg_alloc_with(name, base, size, mode, &options));

	track(sid, true);
	return sid;
}

int tcase_seg(const char *name, void *base, size_t size, mode_t mode)
{
	return tcase_seg_with(name, base, size, mode, 0);
}

const char *tcase_name(const char *stem)
{
	static char names[8][VAS_NAME_MAX + 1];
	static unsigned int next;
	char *name = names[next++ % 8];

	snprintf(name, sizeof(names[0]), "test.%s.%d", stem, (int)getpgrp());
	return name;
}

int tcase_vas_with_seg(void *base, size_t size, int *sid)
{
	int vid = tcase_vas(NULL, 0600);
	int id = tcase_seg(NULL, base, size, 0600);

	check_eq(seg_attach(vid, id), 0);
	if (sid)
		*sid = id;
	return vid;
}

static void delete_objects(void)
{
	int i, nr = atomic_load(&shared->nr_objects);

	/* Deleting twice, or what the case has deleted, is no error here. */
	for (i = 0; i < nr && i < MAX_OBJECTS; i++) {
		if (shared->objects[i].seg)
			seg_delete(shared->objects[i].id);
		else
			vas_delete(shared->objects[i].id);
	}
	memset(shared, 0, sizeof(*shared));
}

static void pause_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static int leak(const char *what, uint64_t before, uint64_t after, bool say)
{
	if (before == after)
		return 0;
	if (say)
		tcase_note("leak: %s were %llu and are %llu", what,
			   (unsigned long long)before,
			   (unsigned long long)after);
	return 1;
}

static int compare(const struct pvvas_stats *a, const struct pvvas_stats *b,
		   bool say)
{
#define SAME(name)	leak(#name, a->name, b->name, say)
	return SAME(vases) + SAME(segs) + SAME(processes) + SAME(threads) +
	       SAME(attachments) + SAME(pages) + SAME(links) +
	       SAME(trees) + SAME(tables) + SAME(hv_ctxs) +
	       SAME(hv_views);
#undef SAME
}

/*
 * The last of a process goes a little after its parent hears of its death, and
 * large segments in the background: 10 s.
 */
static bool leaks(const struct pvvas_stats *before)
{
	struct pvvas_stats now = { .size = sizeof(now) };
	int i;

	for (i = 0; i < 500; i++) {
		if (pvvas_stats(&now)) {
			tcase_note("no counters");
			return true;
		}
		if (!compare(before, &now, false))
			return false;
		pause_ms(20);
	}
	return compare(before, &now, true);
}

/* Until the case ends or its time is over; its status, or -1. */
static int await(pid_t pid, unsigned int seconds)
{
	struct timespec ts = { .tv_sec = seconds };
	int status = -1;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (;;) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		if (sigtimedwait(&set, NULL, &ts) < 0 && errno == EAGAIN) {
			tcase_note("took more than %u seconds", seconds);
			kill(-pid, SIGKILL);
			waitpid(pid, &status, 0);
			status = -1;
			break;
		}
	}
	/* what it left behind */
	kill(-pid, SIGKILL);
	while (waitpid(-pid, NULL, 0) > 0)
		;
	return status;
}

static int run_case(const struct tcase *c)
{
	sigset_t none;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -1;
	if (!pid) {
		setpgid(0, 0);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		c->run();
		_exit(0);
	}
	setpgid(pid, pid);
	return await(pid, (c->seconds ? c->seconds : 60) * patience());
}

/* 0 passed, 1 failed, EXIT_SKIP skipped */
static int one(const struct tcase *c, size_t number, unsigned int flags)
{
	struct pvvas_stats before = { .size = sizeof(before) };
	bool look = !(flags & TCASE_NO_DRIVER);
	char why[sizeof(shared->skip)];
	int status, ret;

	if (look && pvvas_stats(&before))
		look = false;
	status = run_case(c);
	memcpy(why, shared->skip, sizeof(why));
	delete_objects();
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP) {
		printf("ok %zu - %s # SKIP %s\n", number, c->name, why);
		return EXIT_SKIP;
	}
	ret = status == 0 ? 0 : 1;
	if (status != -1 && WIFSIGNALED(status))
		tcase_note("killed by signal %d", WTERMSIG(status));
	if (look && leaks(&before))
		ret = 1;
	printf("%s %zu - %s\n", ret ? "not ok" : "ok", number, c->name);
	return ret;
}

int tcase_main(const struct tcase *cases, size_t nr, unsigned int flags)
{
	struct pvvas_stats st = { .size = sizeof(st) };
	size_t i, planned = 0, run = 0, failed = 0, skipped = 0;
	sigset_t set;
	int ret;

	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = tcase_shared(sizeof(*shared));
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (i = 0; i < nr; i++)
		planned += !left_out(cases[i].name);
	printf("1..%zu\n", planned);
	if (planned + left_out_names() != nr) {
		printf("Bail out! cases that are not there are left out\n");
		return 1;
	}
	ret = flags & TCASE_NO_DRIVER ? 0 : pvvas_stats(&st);
	if (ret) {
		printf("Bail out! the driver does not answer: %d\n", ret);
		return 1;
	}
	for (i = 0; i < nr; i++) {
		if (left_out(cases[i].name))
			continue;
		ret = one(&cases[i], ++run, flags);
		failed += ret == 1;
		skipped += ret == EXIT_SKIP;
	}
	if (failed || !run)
		return 1;
	return skipped == run ? EXIT_SKIP : 0;
}

pid_t tcase_spawn(void (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (!pid) {
		fn(arg);
		_exit(0);
	}
	return pid;
}

void tcase_join(pid_t pid)
{
	int status;

	check_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		tcase_fail(__FILE__, __LINE__, "a process died of signal %d",
			   WTERMSIG(status));
	if (WEXITSTATUS(status))
		tcase_fail(__FILE__, __LINE__, "a process failed");
}

void tcase_run(void (*fn)(void *arg), void *arg)
{
	tcase_join(tcase_spawn(fn, arg));
}

void tcase_join_killed(pid_t pid, int sig)
{
	int status;

	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFSIGNALED(status));
	check_eq(WTERMSIG(status), sig);
}

void *tcase_shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

long tcase_number(const char *path, const char *key)
{
	char line[128];
	FILE *f = fopen(path, "r");
	long value = -1;

	check(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			value = atol(line + strlen(key));
	fclose(f);
	return value;
}

void tcase_become(unsigned int id)
{
	check_eq(setgroups(0, NULL), 0);
	check_eq(setgid(id), 0);
	check_eq(setuid(id), 0);
}

void tcase_threads(pthread_t *threads, int nr, void *(*fn)(void *arg),
		   void *arg)
{
	pthread_attr_t small;
	pthread_t one;
	int i;

	check_eq(pthread_attr_init(&small), 0);
	check_eq(pthread_attr_setstacksize(&small, 64 << 10), 0);
	for (i = 0; i < nr; i++)
		check_eq(pthread_create(threads ? &threads[i] : &one, &small,
					fn, arg), 0);
	pthread_attr_destroy(&small);
}

long tcase_microseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int tcase_nr_cpus(void)
{
	cpu_set_t set;

	check_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	return CPU_COUNT(&set);
}

void tcase_need_cpus(int nr)
{
	if (tcase_nr_cpus() < nr)
		tcase_skip("needs more CPUs");
}

void tcase_need(enum pvvas_feature feature)
{
	if (pvvas_probe(feature) != PVVAS_YES)
		tcase_skip("this backend lacks it");
}

void tcase_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	check_eq(sched_setaffinity(0, sizeof(set), &set), 0);
}
