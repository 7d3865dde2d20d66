// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string.h>
#include <pvvas.h>

#include "cgroup.h"
#include "driver.h"
#include "patience.h"
#include "tcase.h"

int driver_unload(void)
{
	return syscall(SYS_delete_module, "pvvas", O_NONBLOCK) ? -errno : 0;
}

/* A process that just ended may still hold it for a moment. */
void driver_unload_soon(void)
{
	int i, ret = 0;

	for (i = 0; i < 100; i++) {
		ret = driver_unload();
		if (!ret)
			return;
		usleep(20000);
	}
	check_eq(ret, 0);
}

int driver_load(const char *file, const char *parameters)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), ret;

	check(fd >= 0);
	ret = syscall(SYS_finit_module, fd, parameters, 0) ? -errno : 0;
	close(fd);
	return ret;
}

void driver_empty(void *arg)
{
	struct pvvas_stats st = { .size = sizeof(st) };

	(void)arg;
	check_eq(pvvas_stats(&st), 0);
	check_eq(st.vases + st.segs + st.attachments + st.pages, 0);
	check_eq(st.hv_ctxs + st.hv_views + st.trees + st.links, 0);
}

/* What was refused when its last user went is tried again, soon. */
void driver_empty_soon(void *arg)
{
	struct pvvas_stats st = { .size = sizeof(st) };
	int i;

	for (i = 0; i < 500; i++) {
		check_eq(pvvas_stats(&st), 0);
		if (!(st.vases + st.segs + st.attachments + st.pages +
		      st.hv_ctxs + st.hv_views + st.trees + st.links))
			return;
		usleep(10000);
	}
	driver_empty(arg);
}

void driver_change_to(const char *file)
{
	driver_unload_soon();
	check_eq(driver_load(file, ""), 0);
}

void driver_parameter(const char *name, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	put_value("/sys/module/pvvas/parameters", name, text);
}

/* Defaults again, whatever became of the case. */
void driver_with(const char *name, long value, long normal,
		 void (*fn)(void *arg))
{
	pid_t pid;

	driver_parameter(name, value);
	pid = fork();
	check(pid >= 0);
	if (!pid) {
		fn(NULL);
		_exit(0);
	}
	/* the child may fail; the parameter is set back first */
	{
		siginfo_t info;

		waitid(P_PID, pid, &info, WEXITED | WNOWAIT);
	}
	driver_parameter(name, normal);
	tcase_join(pid);
}

int driver_log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	check(fd >= 0);
	check(lseek(fd, 0, SEEK_END) >= 0);
	return fd;
}

/* How many lines of the driver with @text there are; closes the log. */
static int log_count(int fd, const char *text)
{
	char line[8192];
	ssize_t n;
	int found = 0;

	while ((n = read(fd, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		if (n <= 0)
			continue;
		line[n] = '\0';
		found += strstr(line, "pvvas: ") && strstr(line, text);
	}
	check_eq(errno, EAGAIN);
	close(fd);
	return found;
}

/* Seconds between two lines for one limit. */
#define PAUSE	5

void driver_is_logged(int fd, const char *text, long since)
{
	long seconds = (tcase_microseconds() - since) / 1000000;
	int n = log_count(fd, text);

	tcase_note("%d lines in %ld s: %s", n, seconds, text);
	check(n >= 1);
	check(n <= 1 + seconds / PAUSE + 1);
}

int driver_cases(const struct driver_case *cases, int nr)
{
	int i, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%d\n", nr);
	for (i = 0; i < nr; i++) {
		int status = 1;
		pid_t pid;

		if (tcase_nr_cpus() < cases[i].cpus) {
			printf("ok %d - %s # SKIP needs more CPUs\n", i + 1,
			       cases[i].name);
			continue;
		}
		pid = fork();
		if (!pid) {
			alarm(100 * patience());
			cases[i].run();
			_exit(0);
		}
		waitpid(pid, &status, 0);
		failed += !!status;
		printf("%s %d - %s\n", status ? "not ok" : "ok", i + 1,
		       cases[i].name);
	}
	return failed ? 1 : 0;
}
