/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DIFFERENTIAL_CALLS_H
#define DIFFERENTIAL_CALLS_H

#include "model.h"

/* One call: which, and numbers that its arguments are made of. */
struct call {
	unsigned int what;
	unsigned int random[6];
};

#define NR_CALLS	32	/* kinds of calls */

/* What the process that makes the calls tells the one that waits. */
struct outcome {
	unsigned int made;	/* calls that agreed */
	char why[256];
};

/* Make the calls, with the model beside; the process ends where they differ. */
void make_calls(const struct call *calls, unsigned int n, bool say,
		struct outcome *out);

/* compare.c: does all that can be asked for agree?  @last: the last call */
void compare_all(struct model *m, const char *last);
/* End the process: they differ. */
void differ(const char *format, ...)
	__attribute__((noreturn, format(printf, 1, 2)));

#endif /* DIFFERENTIAL_CALLS_H */
