// SPDX-License-Identifier: GPL-2.0-only
/*
 * Run a guest test program here, on the software backend and in a folder of its
 * own.
 *
 *   soft PROGRAM [ARGUMENT...]
 */
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

int main(int argc, char **argv)
{
	char self[PATH_MAX], program[PATH_MAX + 64], libs[PATH_MAX + 64];
	char path[4 * PATH_MAX];
	const char *parent = getenv("PVVAS_TEST_DIR");
	char dir[PATH_MAX];
	int status = 1;
	ssize_t n;
	pid_t pid;

	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	snprintf(dir, sizeof(dir), "%s/pvvas-test-XXXXXX",
		 parent ? parent : "/dev/shm");
	if (argc < 2 || n < 0 || !mkdtemp(dir)) {
		fputs("usage: soft PROGRAM [ARGUMENT...]\n", stderr);
		return 1;
	}
	self[n] = '\0';
	dirname(self);
	snprintf(program, sizeof(program), "%s/../guest/%s", self, argv[1]);
	snprintf(libs, sizeof(libs), "%s/../../libpvvas", self);
	setenv("LD_LIBRARY_PATH", libs, 1);
	snprintf(path, sizeof(path), "%s:%s", libs, getenv("PATH"));
	setenv("PATH", path, 1);
	setenv("PVVAS_BACKEND", "soft", 1);
	setenv("PVVAS_SOFT_DIR", dir, 1);
	pid = fork();
	if (!pid) {
		execv(program, argv + 1);
		perror(program);
		_exit(1);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
