// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas run.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pvvas.h>

#include "tool.h"

/*
 * exec ends every attachment, so the library has to do it in the new program:
 * PVVAS_RUN tells it to.
 */
int cmd_run(int argc, char **argv)
{
	const char *old = getenv("LD_PRELOAD");
	char *preload;
	int vid;

	if (argc < 3 || strcmp(argv[1], "--"))
		return tool_usage();
	vid = tool_find(TOOL_VAS, argv[0]);
	if (vid < 0)
		return tool_error(vid, "vas %s", argv[0]);
	vid = vas_attach(vid);
	if (vid < 0)
		return tool_error(vid, "vas %s", argv[0]);
	if (asprintf(&preload, "libpvvas.so.1%s%s", old ? ":" : "",
		     old ? old : "") < 0)
		return tool_error(-ENOMEM, "run");
	setenv("PVVAS_RUN", argv[0], 1);
	setenv("LD_PRELOAD", preload, 1);
	execvp(argv[2], argv + 2);
	return tool_error(-errno, "%s", argv[2]);
}
