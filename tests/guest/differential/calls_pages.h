/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DIFFERENTIAL_CALLS_PAGES_H
#define DIFFERENTIAL_CALLS_PAGES_H

/* calls.c: the call that comes now, and what it has to answer */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void agree_exactly(int ret, int want);

/* Each makes its arguments of the numbers @r. */
void do_access(const unsigned int *r);
void do_protect(const unsigned int *r);
void do_dirty(const unsigned int *r);
void do_populate(const unsigned int *r);
void do_fill(const unsigned int *r);
void do_discard(const unsigned int *r);
void do_move(const unsigned int *r);
void do_resize(const unsigned int *r);
void do_pager(const unsigned int *r);

#endif /* DIFFERENTIAL_CALLS_PAGES_H */
