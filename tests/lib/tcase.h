/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Test cases that fork, fault and get killed: each runs in a process group of
 * its own with a time limit; the results are TAP.
 *
 * After each case the objects it made are deleted, and the counters of driver
 * and KVM have to be what they were before it: every case is a test for leaks.
 */
#ifndef TCASE_H
#define TCASE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <pvvas.h>

struct tcase {
	const char *name;	/* a sentence in snake_case */
	void (*run)(void);
	unsigned int seconds;	/* time limit; 0: 60 */
};

#define CASE(name)		{ #name, name, 0 }
#define CASE_SECONDS(name, s)	{ #name, name, s }

/* How to run without what a test usually needs. */
#define TCASE_NO_DRIVER	(1U << 0)	/* no driver expected, no leak check */

int tcase_main(const struct tcase *cases, size_t nr, unsigned int flags);

#define TCASE_MAIN(cases, flags) \
	int main(void) \
	{ \
		return tcase_main(cases, sizeof(cases) / sizeof((cases)[0]), \
				  flags); \
	}

/* End the case, as failed or as skipped. */
void tcase_fail(const char *file, int line, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
void tcase_skip(const char *why) __attribute__((noreturn));
/*
 * A new folder of the case's own, in memory.  Where tests/run runs the program, what the program
 * leaves of it goes.
 */
void tcase_folder(char *path, size_t size, const char *name);
/* A line of comment. */
void tcase_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define check(cond) \
	do { \
		if (!(cond)) \
			tcase_fail(__FILE__, __LINE__, "%s", #cond); \
	} while (0)

#define check_eq(a, b) \
	do { \
		long long a__ = (long long)(a), b__ = (long long)(b); \
		if (a__ != b__) \
			tcase_fail(__FILE__, __LINE__, \
				   "%s is %lld, not %s (%lld)", #a, a__, #b, \
				   b__); \
	} while (0)

/* The value of an expression that is an id, a handle or a pid. */
#define check_id(expr) \
	({ \
		long long id__ = (long long)(expr); \
		if (id__ <= 0) \
			tcase_fail(__FILE__, __LINE__, "%s is %lld", #expr, \
				   id__); \
		(int)id__; \
	})

/* Objects, deleted after the case whatever becomes of it. */
int tcase_vas(const char *name, mode_t mode);
int tcase_seg(const char *name, void *base, size_t size, mode_t mode);
int tcase_seg_with(const char *name, void *base, size_t size, mode_t mode,
		   uint32_t flags);	/* SEG_* */
void tcase_track_vas(int vid);
void tcase_track_seg(int sid);
/* A name of this case only; a static buffer for each of 8 calls. */
const char *tcase_name(const char *stem);
/* A VAS with one segment in it, both without names; sid may be NULL. */
int tcase_vas_with_seg(void *base, size_t size, int *sid);

/* Another process: runs fn(arg), and exits with 0 unless it fails. */
pid_t tcase_spawn(void (*fn)(void *arg), void *arg);
void tcase_join(pid_t pid);
/* Both of them. */
void tcase_run(void (*fn)(void *arg), void *arg);
/* Wait for a process that shall be killed by this signal. */
void tcase_join_killed(pid_t pid, int sig);
/* Memory that all processes of the case share. */
void *tcase_shared(size_t size);

/* Try an access: 0, or the signal it raised, with its address and code. */
struct tcase_fault {
	int sig;
	int code;
	void *addr;
};

struct tcase_fault tcase_try_read(const volatile void *p);
struct tcase_fault tcase_try_write(volatile void *p);
/* Run fn(arg) with faults caught. */
struct tcase_fault tcase_try(void (*fn)(void *arg), void *arg);

/* Skip the case where the backend in use cannot do it: the software one. */
void tcase_need(enum pvvas_feature feature);

/* Be this user, and in this group alone, from now on. */
void tcase_become(unsigned int id);
/* Start @nr threads with small stacks, all with @arg; @threads may be NULL. */
void tcase_threads(pthread_t *threads, int nr, void *(*fn)(void *arg),
		   void *arg);
/* By a clock that is not set. */
long tcase_microseconds(void);

/* CPUs */
/* The number behind @key, at a line's beginning, in the file @path; or -1. */
long tcase_number(const char *path, const char *key);
int tcase_nr_cpus(void);
void tcase_need_cpus(int nr);
void tcase_pin(int cpu);

#endif /* TCASE_H */
