/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For data in a segment that point to functions and constants of the program: they
 * are good only in processes that run the same file, and have it at the same place.
 * Programs that are not position independent have (-no-pie, -static).
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct program {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
	void *place;
};

/* What program is this?  0, or a negative error number. */
static inline int program_self(struct program *p)
{
	struct stat st;

	if (stat("/proc/self/exe", &st))
		return -errno;
	memset(p, 0, sizeof(*p));
	p->dev = st.st_dev;
	p->ino = st.st_ino;
	p->size = st.st_size;
	p->changed = st.st_ctim;
	p->place = (void *)program_self;
	return 0;
}

static inline int program_is(const struct program *p)
{
	struct program self;

	return !program_self(&self) && !memcmp(p, &self, sizeof(self));
}

#endif /* PROGRAM_H */
