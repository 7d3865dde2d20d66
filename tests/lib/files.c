// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "files.h"
#include "tcase.h"

static void write_to(const char *path, const char *value, int flags)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		tcase_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	close(fd);
}

void file_put(const char *path, const char *value)
{
	write_to(path, value, 0);
}

void file_clear(const char *path)
{
	write_to(path, "", O_TRUNC);
}

char *file_contents(const char *path)
{
	static char text[1 << 20];
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f)
		tcase_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

void file_mount(const char *type, const char *where)
{
	if (mount("none", where, type, 0, NULL) && errno != EBUSY)
		tcase_fail(__FILE__, __LINE__, "%s: %s", where, strerror(errno));
}
