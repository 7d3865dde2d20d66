// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostcase.h"
#include "leave_out.h"
#include "patience.h"

#define EXIT_SKIP	77

static void vnote(const char *format, va_list ap)
{
	char line[512];

	vsnprintf(line, sizeof(line), format, ap);
	dprintf(STDOUT_FILENO, "# %s\n", line);
}

void host_note(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vnote(format, ap);
	va_end(ap);
}

void host_fail(const char *file, int line, const char *format, ...)
{
	char what[400];
	va_list ap;

	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	host_note("%s:%d: %s", file, line, what);
	_exit(1);
}

void host_skip(const char *why)
{
	host_note("SKIP %s", why);
	_exit(EXIT_SKIP);
}

void host_need_parameter(const char *path)
{
	if (access(path, W_OK))
		host_skip("these modules cannot be told to");
}

void host_put(const char *path, const char *format, ...)
{
	char val[256];
	va_list ap;
	int fd;

	va_start(ap, format);
	vsnprintf(val, sizeof(val), format, ap);
	va_end(ap);
	fd = open(path, O_WRONLY | O_TRUNC);
	if (fd < 0 || write(fd, val, strlen(val)) < 0)
		host_fail(__FILE__, __LINE__, "%s < %s: %s", path, val,
			  strerror(errno));
	close(fd);
}

long long host_number(const char *format, ...)
{
	char path[256];
	long long n = -1;
	va_list ap;
	FILE *f;

	va_start(ap, format);
	vsnprintf(path, sizeof(path), format, ap);
	va_end(ap);
	f = fopen(path, "r");
	if (!f)
		return -1;
	if (fscanf(f, "%lli", &n) != 1)
		n = -1;
	fclose(f);
	return n;
}

long long host_kvm_counter(const char *name)
{
	return host_number("/sys/kernel/debug/kvm/%s", name);
}

/* Pages that the host counts as second level page tables, views' among them. */
static long long table_pages(void)
{
	long long kb = -1;
	char line[128];
	FILE *f;

	/* the CPUs' own shares too */
	f = fopen("/proc/sys/vm/stat_refresh", "w");
	if (f) {
		fputs("1", f);
		fclose(f);
	}
	f = fopen("/proc/meminfo", "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "SecPageTables: %lld", &kb) == 1)
			break;
	fclose(f);
	return kb < 0 ? kb : kb / 4;
}

/* KVM frees tables when RCU lets it: up to a second later. */
static bool tables_leak(long long before)
{
	long long now;
	int i;

	for (i = 0; i < 100; i++) {
		now = table_pages();
		if (now <= before)
			return false;
		usleep(10000);
	}
	host_note("leak: %lld pages of tables, before %lld", now, before);
	return true;
}

/* Objects of VMs that are gone. */
static bool leaks(void)
{
	static const char * const names[] = {
		"pvvas_ctxs", "pvvas_views",
	};
	bool leak = false;
	long long n;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		n = host_kvm_counter(names[i]);
		if (n > 0) {
			host_note("leak: %s is %lld", names[i], n);
			leak = true;
		}
	}
	return leak;
}

static int run_case(const struct hostcase *c)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -1;
	if (!pid) {
		setpgid(0, 0);
		/* a runner that is out of time leaves no VM behind */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm((c->seconds ? c->seconds : 60) * patience());
		c->run();
		_exit(0);
	}
	setpgid(pid, pid);
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	/* what it left behind */
	kill(-pid, SIGKILL);
	return status;
}

static int one(const struct hostcase *c, size_t number)
{
	long long before = table_pages();
	int status = run_case(c);
	bool leak = leaks() | tables_leak(before);

	if (WIFSIGNALED(status))
		host_note("killed by signal %d%s", WTERMSIG(status),
			  WTERMSIG(status) == SIGALRM ? ": out of time" : "");
	if (!leak && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP) {
		printf("ok %zu - %s # SKIP\n", number, c->name);
		return EXIT_SKIP;
	}
	if (leak || status) {
		printf("not ok %zu - %s\n", number, c->name);
		return 1;
	}
	printf("ok %zu - %s\n", number, c->name);
	return 0;
}

/* Names of cases may be given; without any, all run that need no name. */
static bool chosen(const struct hostcase *c, int argc, char **argv)
{
	int i;

	if (left_out(c->name))
		return false;
	if (argc <= 1)
		return !c->only_named;
	for (i = 1; i < argc; i++)
		if (!strcmp(argv[i], c->name))
			return true;
	return false;
}

int hostcase_main(const struct hostcase *cases, size_t nr, int argc,
		  char **argv)
{
	size_t i, run = 0, failed = 0, skipped = 0, planned = 0, out = 0;
	int ret;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; i < nr; i++) {
		planned += chosen(&cases[i], argc, argv);
		out += left_out(cases[i].name);
	}
	printf("1..%zu\n", planned);
	if (out != left_out_names()) {
		printf("Bail out! cases that are not there are left out\n");
		return 1;
	}
	for (i = 0; i < nr; i++) {
		if (!chosen(&cases[i], argc, argv))
			continue;
		ret = one(&cases[i], ++run);
		failed += ret == 1;
		skipped += ret == EXIT_SKIP;
	}
	if (failed || !run)
		return 1;
	return skipped == run ? EXIT_SKIP : 0;
}
