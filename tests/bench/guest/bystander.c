// SPDX-License-Identifier: GPL-2.0-only
/*
 * What programs pay that do not use it: the same work in guests of a stock KVM and
 * of a patched one, with the feature off, on, and in use by another process.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "bench.h"
#include "switching.h"

#define GROUP	"bystanders"
#define PAIRS	5
/* These contain timer interrupts: the more of them, the surer the median. */
#define EXECS	101
#define COMPILES	15

extern char **environ;

static void run_program(char **argv)
{
	int status, err;
	pid_t pid;

	err = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
	if (err || waitpid(pid, &status, 0) != pid || status)
		bench_fail("%s: failed", argv[0]);
}

static void fork_and_exec(unsigned long n, void *arg)
{
	char *argv[] = { "/bin/true", NULL };

	(void)arg;
	while (n--)
		run_program(argv);
}

static void compile(unsigned long n, void *arg)
{
	char *argv[] = { "/bench/bin/tcc", "-c", "/bench/source.c", "-o",
			 "/tmp/source.o", NULL };

	(void)arg;
	while (n--)
		run_program(argv);
}

/* A process that uses VASes and sleeps in one. */
static void start_user(void)
{
	int vid, sid, ready[2];
	char c;

	bench_check(!pipe(ready));
	if (fork()) {
		bench_check(read(ready[0], &c, 1) == 1);
		return;
	}
	vid = bench_id(vas_create(NULL, 0600));
	sid = bench_id(seg_alloc(NULL, NULL, MIB, 0600));
	bench_id(seg_attach(vid, sid));
	bench_id(vas_switch(bench_id(vas_attach(vid))));
	bench_check(write(ready[1], "", 1) == 1);
	for (;;)
		pause();
}

static void load_driver(const char *path)
{
	int fd = open(path, O_RDONLY);
	uint64_t start = bench_tsc();

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		bench_fail("%s does not load: %s", path, strerror(errno));
	bench_value(GROUP, "load_driver", NULL, "ticks",
		    (double)(bench_tsc() - start));
	close(fd);
}

int main(int argc, char **argv)
{
	uint64_t booted = bench_tsc();
	int pair;

	/* first of all, -b [DRIVER]: the TSC starts at 0 with the guest's CPU */
	if (argc > 1 && !strcmp(argv[1], "-b")) {
		bench_value(GROUP, "boot", NULL, "ticks", (double)booted);
		if (argc > 2)
			load_driver(argv[2]);
		return 0;
	}
	if (argc > 1 && !strcmp(argv[1], "-u")) {
		argv[1] = argv[0];
		argc--;
		argv++;
		start_user();
	}
	bench_init(argc, argv);
	bench_run(&(struct bench){ GROUP, "fork_and_exec", NULL, fork_and_exec,
				   .flags = BENCH_NO_STEP | BENCH_ONCE,
				   .batches = EXECS });
	/* how a pair gets along is decided when it starts */
	for (pair = 1; pair <= PAIRS; pair++) {
		const char *params = bench_text("\"pair\": %d", pair);

		ping_pong(GROUP, params, "process", "pipe");
		ping_pong(GROUP, params, "thread", "futex");
	}
	bench_run(&(struct bench){ GROUP, "compile", NULL, compile,
				   .flags = BENCH_NO_STEP | BENCH_ONCE,
				   .batches = COMPILES });
	return 0;
}
