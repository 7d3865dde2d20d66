// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * vas_switch() and vas_current() as symbols, for languages that call functions
 * of a shared library and cannot use what pvvas.h has inline.
 */
#define vas_switch	inline_vas_switch
#define vas_current	inline_vas_current
#include "internal.h"
#undef vas_switch
#undef vas_current

int vas_switch(int vh);
int vas_current(void);

PVVAS_EXPORT int vas_switch(int vh)
{
	return inline_vas_switch(vh);
}

PVVAS_EXPORT int vas_current(void)
{
	return inline_vas_current();
}
