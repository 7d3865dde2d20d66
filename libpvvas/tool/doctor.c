// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas doctor: what works here, and what does not, and why.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <pvvas.h>

#include "tool.h"

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

static bool is_limited(int resource)
{
	struct rlimit limit;

	return !getrlimit(resource, &limit) && limit.rlim_cur != RLIM_INFINITY;
}

static bool in_valgrind(void)
{
	const char *loaded = getenv("LD_PRELOAD");

	return loaded && strstr(loaded, "/vgpreload_");
}

const char *tool_bad_environment(int err)
{
	const char *backend = getenv("PVVAS_BACKEND");
	const char *folder = getenv("PVVAS_SOFT_DIR");
	struct stat st;

	if (err == -EINVAL && backend && strcmp(backend, "kernel") &&
	    strcmp(backend, "soft") && strcmp(backend, "auto"))
		return "PVVAS_BACKEND is neither kernel nor soft nor auto";
	if (err == -ENOTDIR && folder &&
	    (lstat(folder, &st) < 0 || !S_ISDIR(st.st_mode)))
		return "PVVAS_SOFT_DIR is no folder, and there is none to make it in";
	return NULL;
}

/* Why a process like this one cannot attach a VAS. */
static const char *why_no_window(int err)
{
	const char *why = tool_bad_environment(err);

	if (why)
		return why;
	switch (err) {
	case -ENOMEM:
		return in_valgrind() ?
			"valgrind takes memory for each page of the window: say by PVVAS_WINDOW=SIZE how much to map" :
			is_limited(RLIMIT_AS) ?
			"RLIMIT_AS (ulimit -v) is less than the window: raise it, or say by PVVAS_WINDOW=SIZE how much to map" :
			"memory is short";
	case -EAGAIN:
		return "a thread is stopped; or mlockall(MCL_FUTURE) with a small RLIMIT_MEMLOCK forbids the window: attach before that call";
	case -EEXIST:
		return "something else is mapped at 0x200000000000, as the shadow memory of -fsanitize=thread and =memory is";
	case -EINVAL:
		return "PVVAS_WINDOW is no size";
	case -EACCES:
		return "this user may not open /dev/pvvas, or the folder of the software backend";
	case -EPERM:
		return "a filter of system calls (seccomp) or a security module forbids ioctl() or mmap() of /dev/pvvas";
	case -ENODEV:
		return "there is no driver; in a container, pass /dev/pvvas to it (PrivateDevices=yes of systemd hides it)";
	case -ENOSYS:
		return "the hypervisor offers no views";
	default:
		return strerror(-err);
	}
}

/* NULL, or what is in the way. */
static const char *try_window(void)
{
	int vid = vas_create(NULL, 0600);
	int vh = vid < 0 ? vid : vas_attach(vid);

	return vh < 0 ? why_no_window(vh) : NULL;
}

static void print(const char *name, const char *what, int answer,
		  const char *advice, bool first)
{
	if (tool_json) {
		printf("%s\"%s\":\"%s\"", first ? "" : ",", name,
		       answers[answer]);
		return;
	}
	printf("%-8s %s\n", answers[answer], what);
	if (answer != PVVAS_YES)
		printf("         %s\n", advice);
}

int cmd_doctor(int argc, char **argv)
{
	int status = TOOL_OK, answer;
	const char *why;
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
		print(checks[i].name, checks[i].what, answer, checks[i].advice,
		      !i);
	}
	why = try_window();
	if (why)
		status = TOOL_ABSENT;
	print("window", "a process like this one can attach a VAS",
	      why ? PVVAS_NO : PVVAS_YES, why, false);
	if (tool_json) {
		printf(",\"reason\":");
		tool_json_string(why ? why : "");
		puts("}");
	}
	return status;
}
