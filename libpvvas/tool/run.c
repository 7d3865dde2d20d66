// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas run, pvvas doctor.
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

static const char *const answers[] = {
	[PVVAS_NO] = "no",
	[PVVAS_YES] = "yes",
	[PVVAS_UNKNOWN] = "unknown",
};

static const struct {
	enum pvvas_feature feature;
	const char *name;
	const char *what;
	const char *advice;
} checks[] = {
	{ PVVAS_FEATURE_HYPERVISOR, "hypervisor", "KVM offers views to this machine",
	  "start the virtual machine with -cpu ...,kvm-pvvas=on on a host whose KVM has it" },
	{ PVVAS_FEATURE_DRIVER, "driver", "/dev/pvvas answers",
	  "load the module pvvas; may this user open /dev/pvvas?" },
	{ PVVAS_FEATURE_SWITCH, "switch", "a switch is one instruction",
	  "the software backend is in use, or none" },
	{ PVVAS_FEATURE_PER_THREAD, "threads", "each thread is in its own VAS",
	  "the software backend is in use, or none" },
};

#define NR_CHECKS	(sizeof(checks) / sizeof(checks[0]))

int cmd_doctor(int argc, char **argv)
{
	int status = TOOL_OK, answer;
	size_t i;

	(void)argv;
	if (argc)
		return tool_usage();
	if (tool_json)
		putchar('{');
	for (i = 0; i < NR_CHECKS; i++) {
		answer = pvvas_probe(checks[i].feature);
		if (answer != PVVAS_YES)
			status = TOOL_ABSENT;
		if (tool_json) {
			printf("%s\"%s\":\"%s\"", i ? "," : "", checks[i].name,
			       answers[answer]);
			continue;
		}
		printf("%-8s %s\n", answers[answer], checks[i].what);
		if (answer != PVVAS_YES)
			printf("         %s\n", checks[i].advice);
	}
	if (tool_json)
		puts("}");
	return status;
}
