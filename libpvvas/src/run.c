// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Programs that "pvvas run" starts: the first thread is in the VAS before the
 * program begins.  Nothing happens without PVVAS_RUN in the environment.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

/* What "pvvas run" was given: a name, or #ID. */
static int find(const char *name)
{
	char *end;
	long id;

	if (*name != '#')
		return vas_find(name);
	id = strtol(name + 1, &end, 10);
	return *end || id <= 0 || id >= PVVAS_HANDLE ? -EINVAL : (int)id;
}

static __attribute__((constructor)) void start_in_vas(void)
{
	const char *name = secure_getenv("PVVAS_RUN");
	int id;

	if (!name)
		return;
	id = find(name);
	if (id > 0)
		id = vas_attach(id);
	/* To run elsewhere than where it was told to would be worse. */
	if (id <= 0 || vas_switch(id))
		_exit(127);
	unsetenv("PVVAS_RUN");
}
