/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pvvas-demo: what its files share.
 */
#ifndef DEMO_H
#define DEMO_H

#include <stdint.h>

/* Where the index of every file lies, each in its own VAS: the same address. */
#define DEMO_BASE_OFFSET	(1UL << 31)

#define DEMO_SWITCHES		2000000UL

/* What all processes of one run know. */
struct demo {
	unsigned long switches;
	char **words;		/* NULL-terminated */
	int nr_words;
	char **files;
	char **vases;		/* names, one a file */
	int nr_files;
};

/* load.c: the loader process */
int demo_load(const char *file, const char *vas);
/* query.c: the process that asks */
int demo_query(const struct demo *d);

/* "pvvas-demo: ..." on stderr; returns 1, for an exit status */
int demo_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What a negative result of the library means here. */
const char *demo_error(int err);
/* The address at which every index lies. */
void *demo_base(void);
/* File name without its directories. */
const char *demo_basename(const char *path);

#endif /* DEMO_H */
