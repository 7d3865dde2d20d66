// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Programs that "pvvas run" starts: the first thread is in the VAS before the
 * program begins.  Nothing happens without PVVAS_RUN in the environment.
 */
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

static __attribute__((constructor)) void start_in_vas(void)
{
	const char *name = secure_getenv("PVVAS_RUN");
	char *end;
	int id;

	if (!name)
		return;
	id = *name == '#' ? (int)strtol(name + 1, &end, 10) : vas_find(name);
	if (id > 0)
		id = vas_attach(id);
	/* To run elsewhere than where it was told to would be worse. */
	if (id < 0 || vas_switch(id))
		_exit(127);
	unsetenv("PVVAS_RUN");
}
