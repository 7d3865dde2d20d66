// SPDX-License-Identifier: GPL-2.0-only
/* See cgroup.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"
#include "tcase.h"

#define ROOT	"/tmp/cgroup"

static int made;	/* by this process, of those that are there */

void put_value(const char *dir, const char *name, const char *value)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		tcase_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	close(fd);
}

static const char *folder(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), ROOT "/%s", name);
	return path;
}

void cgroup_make(const char *name, const char *limit)
{
	mkdir(ROOT, 0755);
	if (mount("none", ROOT, "cgroup2", 0, NULL) && errno != EBUSY)
		tcase_fail(__FILE__, __LINE__, "%s", strerror(errno));
	put_value(ROOT, "cgroup.subtree_control", "+memory");
	check_eq(mkdir(folder(name), 0755), 0);
	put_value(folder(name), "memory.max", limit);
	made++;
}

void cgroup_enter(const char *name)
{
	put_value(folder(name), "cgroup.procs", "0");
}

long cgroup_bytes(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/memory.current", folder(name));
	return tcase_number(path, "");
}

void cgroup_remove(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/memory.events", folder(name));
	check_eq(tcase_number(path, "oom_kill "), 0);
	check_eq(rmdir(folder(name)), 0);
	if (!--made)
		check_eq(umount2(ROOT, MNT_DETACH), 0);
}
