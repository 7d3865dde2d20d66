// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the unit of measurement is worth here: sequences of known length.  In
 * Bochs each must cost as many ticks as it has instructions.
 */
#include <string.h>

#include "bench.h"

#define NOPS	100

static void nops(unsigned long n, void *arg)
{
	(void)arg;
	BENCH_LOOP(n)
		__asm__ __volatile__(".rept 100\n\tnop\n\t.endr");
}

static void loads(unsigned long n, void *arg)
{
	BENCH_LOOP(n)
		__asm__ __volatile__(".rept 100\n\tmov (%0), %%rax\n\t.endr"
				     : : "r" (arg) : "rax");
}

/* String instructions count once for each element, so glibc's copies do. */
static void strings(unsigned long n, void *arg)
{
	BENCH_LOOP(n) {
		void *to = arg;
		unsigned long count = NOPS;

		__asm__ __volatile__("rep stosb"
				     : "+D" (to), "+c" (count) : "a" (0)
				     : "memory");
	}
}

int main(int argc, char **argv)
{
	char page[4096];

	bench_init(argc, argv);
	memset(page, 0, sizeof(page));
	bench_run(&(struct bench){ "frame", "nop", NULL, nops,
				   .per_turn = NOPS });
	bench_run(&(struct bench){ "frame", "load", NULL, loads, .arg = page,
				   .per_turn = NOPS });
	bench_run(&(struct bench){ "frame", "rep_stosb_byte", NULL, strings,
				   .arg = page, .per_turn = NOPS });
	return 0;
}
