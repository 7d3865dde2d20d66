/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The frame that all benchmarks share: run an operation in batches, count what
 * it took, print one line of JSON for tests/bench/run.
 *
 * Instructions are read from the time stamp counter, which the emulator Bochs
 * advances by one for each instruction (bench-frame checks that); on hardware
 * the same numbers are cycles.  Medians of batches, so that a timer interrupt
 * in some of them does not count.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define MIB	(1UL << 20)

static inline uint64_t bench_tsc(void)
{
	uint32_t lo, hi;

	__asm__ __volatile__("lfence\n\trdtsc\n\tlfence"
			     : "=a" (lo), "=d" (hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

/*
 * The loop of an operation.  It costs the same few instructions whatever is in
 * it, and they are subtracted.
 */
#define BENCH_LOOP(n) \
	for (unsigned long n__ = (n), more__ = n__ != 0; more__; ({ \
		bool z__; \
		__asm__ __volatile__("sub $1, %0" \
				     : "+r" (n__), "=@ccnz" (z__) \
				     : : "memory"); \
		more__ = z__; \
	}))

enum bench_flags {
	BENCH_NO_STEP = 1U << 0,	/* cannot be single-stepped */
	BENCH_ONCE = 1U << 1,		/* each batch is one operation */
};

struct bench {
	const char *group;
	const char *name;
	const char *params;		/* members of a JSON object, or NULL */
	void (*op)(unsigned long n, void *arg);	/* does it @n times */
	/* before and after each batch, not counted; or NULL */
	void (*before)(unsigned long n, void *arg);
	void (*after)(unsigned long n, void *arg);
	void *arg;
	unsigned int flags;
	unsigned int per_turn;		/* operations in one turn; 0: one */
	unsigned int batches;		/* 0: as many as seems right */
};

/* Arguments of the program; exits if this benchmark cannot run here. */
void bench_init(int argc, char **argv);
/* Does ONLY= want it? */
bool bench_wanted(const char *group, const char *name);
bool bench_wanted_any(const char *group, const char *const *names);
void bench_run(const struct bench *b);
/* A result that is not an operation's cost: bytes, entries. */
void bench_value(const char *group, const char *name, const char *params,
		 const char *unit, double value);
/* A line that says how far it is. */
void bench_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends the program with status 1. */
void bench_fail(const char *format, ...)
	__attribute__((noreturn, format(printf, 1, 2)));
/* Formats into a static buffer, one of eight. */
const char *bench_text(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
/* REPEAT=: how many times as many batches. */
extern unsigned int bench_repeat;

#define bench_check(cond) \
	do { \
		if (!(cond)) \
			bench_fail("%s:%d: %s", __FILE__, __LINE__, #cond); \
	} while (0)

/* The value of a call that returns -errno. */
#define bench_id(expr) \
	({ \
		long long id__ = (long long)(expr); \
		if (id__ < 0) \
			bench_fail("%s:%d: %s is %lld", __FILE__, __LINE__, \
				   #expr, id__); \
		(int)id__; \
	})

/* count.c: what else happened */
enum counter {
	C_EXITS,
	C_HYPERCALLS,
	C_EPT_VIOLATIONS,
	C_VMFUNC_EXITS,
	C_HOST_FLUSHES,
	C_SYSCALLS,
	C_PAGE_FAULTS,
	C_CONTEXT_SWITCHES,
	C_GUEST_FLUSHES,
	NR_COUNTERS,
};

extern const char *const counter_names[NR_COUNTERS];
/* Which of them this machine has. */
extern bool counter_there[NR_COUNTERS];

void counters_open(void);
void counters_enable(bool on);
void counters_read(uint64_t *values);

/* step.c: user instructions of @n operations, -1 if there are too many */
long steps_of(const struct bench *b, unsigned long n);

#endif /* BENCH_H */
