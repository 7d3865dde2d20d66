/* SPDX-License-Identifier: GPL-2.0-only */
/* A VAS whose one segment has a number in each second page: that of one moment, or not. */
#ifndef NUMBERED_H
#define NUMBERED_H

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define PAGES	40

/* Its id. */
int numbered_make(const char *name, int number);
/* The number that all pages have. */
int numbered_look(const char *name);
/* The number in the set that is there, or 0 if there is none. */
int numbered_in(const char *folder, const char *name);

#endif /* NUMBERED_H */
