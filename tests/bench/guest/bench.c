// SPDX-License-Identifier: GPL-2.0-only
/*
 * Batches and medians.
 */
#include <fnmatch.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

/* A batch is a small part of the 400,000 instructions between timer ticks. */
#define BATCH_INSTRUCTIONS	12000
#define MOST_OPS		1000
#define MOST_BATCHES		2500
#define BATCHES			25
/* What one benchmark may take altogether, roughly. */
#define BUDGET			8000000UL
#define FEWEST_BATCHES		5

unsigned int bench_repeat = 1;

static const char *only;
static uint64_t fixed_cost;	/* of reading the counter and calling */
static double loop_cost;	/* of one turn of BENCH_LOOP */
static uint64_t read_cost[NR_COUNTERS];

void bench_note(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void bench_fail(const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("bench: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	_exit(1);
}

const char *bench_text(const char *format, ...)
{
	static char buffers[8][256];
	static unsigned int next;
	char *text = buffers[next++ % 8];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(buffers[0]), format, ap);
	va_end(ap);
	return text;
}

/* Words of @only are patterns for "group" or "group/name". */
bool bench_wanted(const char *group, const char *name)
{
	const char *full = bench_text("%s/%s", group, name);
	char words[512], *word, *save;

	if (!only || !*only)
		return true;
	snprintf(words, sizeof(words), "%s", only);
	for (word = strtok_r(words, " ,", &save); word;
	     word = strtok_r(NULL, " ,", &save))
		if (!fnmatch(word, full, 0) || !fnmatch(word, group, 0) ||
		    !fnmatch(word, name, 0))
			return true;
	return false;
}

/* One of @names, which ends with NULL. */
bool bench_wanted_any(const char *group, const char *const *names)
{
	for (; *names; names++)
		if (bench_wanted(group, *names))
			return true;
	return false;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t ticks(const struct bench *b, unsigned long n)
{
	uint64_t start, end;

	if (b->before)
		b->before(n, b->arg);
	start = bench_tsc();
	b->op(n, b->arg);
	end = bench_tsc();
	if (b->after)
		b->after(n, b->arg);
	return end - start;
}

static double per_turn(const struct bench *b)
{
	return b->per_turn ?: 1;
}

static double cost(const struct bench *b, uint64_t t, unsigned long n)
{
	double c;

	t = t > fixed_cost ? t - fixed_cost : 0;
	c = (double)t / (double)n - loop_cost;
	return c > 0 ? c / per_turn(b) : 0;
}

/* Counters of @batches batches, each sorted: @values[counter][batch]. */
static void count(const struct bench *b, unsigned long n, unsigned int batches,
		  uint64_t values[NR_COUNTERS][MOST_BATCHES])
{
	uint64_t before[NR_COUNTERS], after[NR_COUNTERS];
	unsigned int i;
	int c;

	counters_enable(true);
	for (i = 0; i < batches; i++) {
		if (b->before)
			b->before(n, b->arg);
		counters_read(before);
		b->op(n, b->arg);
		counters_read(after);
		if (b->after)
			b->after(n, b->arg);
		for (c = 0; c < NR_COUNTERS; c++) {
			uint64_t v = after[c] - before[c];

			values[c][i] = v > read_cost[c] ? v - read_cost[c] : 0;
		}
	}
	counters_enable(false);
	for (c = 0; c < NR_COUNTERS; c++)
		qsort(values[c], batches, sizeof(uint64_t), compare_u64);
}

static double user_instructions(const struct bench *b)
{
	unsigned long few = 1, many = b->flags & BENCH_ONCE ? 1 : 5;
	long x, y;

	if (b->flags & BENCH_NO_STEP)
		return -1;
	y = steps_of(b, many);
	if (y < 0)
		return -1;
	if (many == few)
		return (double)y / per_turn(b);
	x = steps_of(b, few);
	if (x < 0)
		return -1;
	return ((double)(y - x) / (double)(many - few) - loop_cost) /
		per_turn(b);
}

static void print_result(const struct bench *b, unsigned long n,
			 unsigned int batches, const uint64_t *t, double user,
			 unsigned int counted,
			 uint64_t values[NR_COUNTERS][MOST_BATCHES])
{
	double median = cost(b, t[batches / 2], n);
	int c;

	printf("{\"group\": \"%s\", \"name\": \"%s\", \"params\": {%s}, ",
	       b->group, b->name, b->params ?: "");
	printf("\"per_batch\": %lu, \"batches\": %u, ",
	       n * (b->per_turn ?: 1), batches);
	printf("\"ticks\": {\"median\": %.2f, \"min\": %.2f, \"p90\": %.2f}, ",
	       median, cost(b, t[0], n), cost(b, t[batches * 9 / 10], n));
	if (user >= 0)
		printf("\"user\": %.2f, ", user);
	else
		printf("\"user\": null, ");
	printf("\"counters\": {");
	for (c = 0; c < NR_COUNTERS; c++) {
		printf("%s\"%s\": ", c ? ", " : "", counter_names[c]);
		if (counter_there[c])
			printf("%.4f", (double)values[c][counted / 2] /
			       (double)n / per_turn(b));
		else
			printf("null");
	}
	printf("}}\n");
	fflush(stdout);
	bench_note("  %s/%s %s: %.1f", b->group, b->name, b->params ?: "",
		   median);
}

void bench_run(const struct bench *b)
{
	static uint64_t values[NR_COUNTERS][MOST_BATCHES];
	static uint64_t t[MOST_BATCHES];
	unsigned int batches, counted, i;
	unsigned long n = 1;
	uint64_t one;
	double user;

	if (!bench_wanted(b->group, b->name))
		return;
	/* warm, and long enough that pages and caches of the kernel are there */
	one = ticks(b, 1);
	for (i = 0; i < 3 && one < BUDGET / 10; i++) {
		uint64_t again = ticks(b, 1);

		one = again < one ? again : one;
	}
	one = one > fixed_cost ? one - fixed_cost : 1;
	if (!(b->flags & BENCH_ONCE) && one < BATCH_INSTRUCTIONS)
		n = BATCH_INSTRUCTIONS / one;
	if (n > MOST_OPS)
		n = MOST_OPS;
	batches = b->batches ?: BATCHES;
	if (!b->batches && batches > BUDGET / (one * n))
		batches = (unsigned int)(BUDGET / (one * n));
	if (!b->batches && batches < FEWEST_BATCHES)
		batches = FEWEST_BATCHES;
	batches *= bench_repeat;
	if (batches > MOST_BATCHES)
		batches = MOST_BATCHES;

	if (n > 1)
		ticks(b, n);
	for (i = 0; i < batches; i++)
		t[i] = ticks(b, n);
	qsort(t, batches, sizeof(*t), compare_u64);
	counted = batches < 11 ? (batches + 1) / 2 : 11;
	count(b, n, counted, values);
	user = user_instructions(b);
	print_result(b, n, batches, t, user, counted, values);
}

static void nothing(unsigned long n, void *arg)
{
	(void)arg;
	BENCH_LOOP(n)
		;
}

static void calibrate(void)
{
	static uint64_t values[NR_COUNTERS][MOST_BATCHES];
	const struct bench b = { .op = nothing };
	uint64_t few[BATCHES], many[BATCHES];
	unsigned long turns = BATCH_INSTRUCTIONS / 4;
	int i;

	for (i = 0; i < BATCHES; i++) {
		few[i] = ticks(&b, 0);
		many[i] = ticks(&b, turns);
	}
	qsort(few, BATCHES, sizeof(*few), compare_u64);
	qsort(many, BATCHES, sizeof(*many), compare_u64);
	fixed_cost = few[BATCHES / 2];
	loop_cost = (double)(many[BATCHES / 2] - fixed_cost) /
		(double)turns;
	count(&b, 1, BATCHES, values);
	for (i = 0; i < NR_COUNTERS; i++)
		read_cost[i] = values[i][BATCHES / 2];
}

void bench_init(int argc, char **argv)
{
	cpu_set_t cpu0;
	int c;

	while ((c = getopt(argc, argv, "o:r:")) != -1) {
		switch (c) {
		case 'o':
			only = optarg;
			break;
		case 'r':
			bench_repeat = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		default:
			bench_fail("usage: [-o ONLY] [-r REPEAT]");
		}
	}
	if (!bench_repeat)
		bench_repeat = 1;
	CPU_ZERO(&cpu0);
	CPU_SET(0, &cpu0);
	sched_setaffinity(0, sizeof(cpu0), &cpu0);
	counters_open();
	calibrate();
}

void bench_value(const char *group, const char *name, const char *params,
		 const char *unit, double value)
{
	if (!bench_wanted(group, name))
		return;
	printf("{\"group\": \"%s\", \"name\": \"%s\", \"params\": {%s}, ",
	       group, name, params ?: "");
	printf("\"unit\": \"%s\", \"value\": %.4f}\n", unit, value);
	fflush(stdout);
	bench_note("  %s/%s %s: %.1f %s", group, name, params ?: "", value,
		   unit);
}
