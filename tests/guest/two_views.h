/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef TWO_VIEWS_H
#define TWO_VIEWS_H

#include <stdbool.h>
#include <string.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

/* Two views with something else at one address. */
static int a, b;

static inline void enter(int vh)
{
	check_eq(vas_switch(vh), 0);
}

static inline void two_views(void)
{
	a = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	b = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	enter(a);
	strcpy(BASE, "this is a");
	enter(b);
	strcpy(BASE, "this is b");
	enter(a);
}

static inline bool shows(int vh, const char *text)
{
	int was = vas_current();
	bool same;

	enter(vh);
	same = !strncmp(BASE, text, strlen(text));
	enter(was);
	return same;
}

#endif
