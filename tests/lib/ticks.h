/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Instructions of guests: the emulator's time stamp counter counts them, those of all
 * its CPUs together.
 */
#ifndef TICKS_H
#define TICKS_H

#include <stdint.h>
#include <unistd.h>

#define TICKS_TURNS	50
#define TICKS_ROUNDS	40
/* More than enough: one round. */
#define TICKS_ANY	(UINT64_MAX - 1)

static inline uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ __volatile__("lfence; rdtsc" : "=a" (low), "=d" (high)
			     : : "memory");
	return (uint64_t)high << 32 | low;
}

/*
 * The least that @what takes.  Interrupts only add to it, and so does what another CPU
 * does meanwhile, for longer than a round sometimes: a rest, and another round, until
 * the least is @enough or these rounds are over.
 */
static inline uint64_t ticks_least(void (*what)(void *arg), void *arg, uint64_t enough)
{
	uint64_t least = UINT64_MAX, t;
	int round, i;

	for (round = 0; round < TICKS_ROUNDS && least > enough; round++) {
		if (round)
			usleep(20000);
		for (i = 0; i < TICKS_TURNS; i++) {
			t = ticks();
			what(arg);
			t = ticks() - t;
			if (t < least)
				least = t;
		}
	}
	return least;
}

#endif
