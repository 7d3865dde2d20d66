/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Test cases of tests/host: each runs in a process of its own with a time
 * limit, and results are TAP. After each case, when its process is gone and
 * with it its VMs, KVM's counters of objects have to be 0.
 */
#ifndef HOSTCASE_H
#define HOSTCASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hostcase {
	const char *name;	/* a sentence in snake_case */
	void (*run)(void);
	unsigned int seconds;	/* time limit; 0: 60 */
	bool only_named;	/* not run unless an argument names it */
};

#define CASE(name)		{ #name, name, 0, false }
#define CASE_SECONDS(name, s)	{ #name, name, s, false }
#define CASE_ONLY_NAMED(name)	{ #name, name, 0, true }

int hostcase_main(const struct hostcase *cases, size_t nr, int argc,
		  char **argv);

#define HOSTCASE_MAIN(cases) \
	int main(int argc, char **argv) \
	{ \
		return hostcase_main(cases, sizeof(cases) / sizeof((cases)[0]), \
				     argc, argv); \
	}

/* End the case, as failed or as skipped. */
void host_fail(const char *file, int line, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
void host_skip(const char *why) __attribute__((noreturn));
/* Skip without this parameter, which only modules of tests/flushes have. */
void host_need_parameter(const char *path);
/* A line of comment. */
void host_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define check(cond) \
	do { \
		if (!(cond)) \
			host_fail(__FILE__, __LINE__, "%s", #cond); \
	} while (0)

#define check_eq(a, b) \
	do { \
		long long a__ = (long long)(a), b__ = (long long)(b); \
		if (a__ != b__) \
			host_fail(__FILE__, __LINE__, \
				  "%s is %#llx (%lld), not %s (%#llx)", #a, \
				  a__, a__, #b, b__); \
	} while (0)

/* The number in a file such as a module's parameter; -1 if there is none. */
long long host_number(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
/* Write to a file such as a module's parameter; ends the case where it cannot. */
void host_put(const char *path, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* One of KVM's counters, summed over all VMs. */
long long host_kvm_counter(const char *name);

#endif /* HOSTCASE_H */
