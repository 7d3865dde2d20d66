// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a command takes by the time stamp counter, which in the emulator counts instructions
 * of its one CPU: those of the command, and of the kernels below it.
 *
 *   ticks FILE COMMAND [ARGUMENT...]     writes the number into FILE
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

int main(int argc, char **argv)
{
	unsigned long long start;
	int status;
	FILE *f;
	pid_t pid;

	if (argc < 3) {
		fputs("usage: ticks FILE COMMAND [ARGUMENT...]\n", stderr);
		return 2;
	}
	start = __rdtsc();
	pid = fork();
	if (!pid) {
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("ticks");
		return 1;
	}
	start = __rdtsc() - start;
	f = fopen(argv[1], "w");
	if (!f || fprintf(f, "%llu\n", start) < 0 || fclose(f)) {
		perror(argv[1]);
		return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
