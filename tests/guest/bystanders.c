// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tasks that have nothing to do with VASes: where they are, and what they pay.
 */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "files.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define TRACING	"/sys/kernel/tracing/"

struct scene {
	atomic_int ready, stop;
};

static void visitor(void *arg)
{
	struct scene *s = arg;

	tcase_pin(0);
	check_eq(vas_switch(check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)))), 0);
	BASE[0] = 3;
	atomic_fetch_add(&s->ready, 1);
	while (!atomic_load(&s->stop)) {
		syscall(SYS_getppid);
		sched_yield();
		if (BASE[0] != 3)
			tcase_fail(__FILE__, __LINE__, "not its view");
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

static void bystander(void *arg)
{
	int i;

	(void)arg;
	tcase_pin(0);
	for (i = 0; i < 300; i++) {
		syscall(SYS_getppid);
		sched_yield();
	}
}

/* Lines of the trace by that task; how many of them have the text. */
static int lines_of(const char *text, const char *task, const char *with,
		    int *all)
{
	int n = 0;

	*all = 0;
	for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
		size_t len = strcspn(text, "\n");
		char line[512];

		if (*text == '#' || len >= sizeof(line))
			continue;
		memcpy(line, text, len);
		line[len] = '\0';
		if (!strstr(line, task))
			continue;
		(*all)++;
		n += !!strstr(line, with);
	}
	return n;
}

/* At home: in the plain view, or on a CPU without a list of views. */
static int lines_at_home(const char *text, const char *task, int *all)
{
	return lines_of(text, task, " slot=0 ctx=0", all) +
	       lines_of(text, task,
			" slot=4294967295 ctx=18446744073709551615", all);
}

/*
 * The kernel's own eyes: a probe that reads the identity page whenever a task
 * comes by.
 */
static void tasks_without_views_and_kernel_threads_are_never_in_one(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	char who[32], *text;
	pid_t in, by;
	int all, at_home, i;

	file_mount("tracefs", "/sys/kernel/tracing");
	file_put(TRACING "kprobe_events",
	    "p:pvv/task __x64_sys_getppid slot=+28(@pvvas_identity):u32 ctx=+32(@pvvas_identity):u64\n"
	    "p:pvv/work process_one_work slot=+28(@pvvas_identity):u32 ctx=+32(@pvvas_identity):u64\n");
	in = tcase_spawn(visitor, s);
	while (!atomic_load(&s->ready))
		usleep(1000);
	file_clear(TRACING "trace");
	file_put(TRACING "events/pvv/enable", "1");
	by = tcase_spawn(bystander, NULL);
	tcase_join(by);
	file_put(TRACING "events/pvv/task/enable", "0");
	/* a worker has something to do every now and then */
	for (i = 0; i < 100 && !strstr(file_contents(TRACING "trace"), " work: "); i++)
		usleep(100000);
	file_put(TRACING "events/pvv/enable", "0");
	atomic_store(&s->stop, 1);
	tcase_join(in);
	text = file_contents(TRACING "trace");
	file_put(TRACING "kprobe_events", "-:pvv/task\n-:pvv/work\n");
	file_clear(TRACING "trace");

	snprintf(who, sizeof(who), "-%d ", by);
	at_home = lines_at_home(text, who, &all);
	tcase_note("the bystander: %d times seen, %d at home", all, at_home);
	check(all >= 300);
	check_eq(at_home, all);
	at_home = lines_at_home(text, " work: ", &all);
	tcase_note("kernel threads: %d times seen, %d at home", all, at_home);
	check(all > 0);
	check_eq(at_home, all);
	/* and the probe does see views */
	snprintf(who, sizeof(who), "-%d ", in);
	at_home = lines_at_home(text, who, &all);
	check(all >= 100);
	check_eq(at_home, 0);
}

static void fork_switch_and_fault(void *arg)
{
	char *p;
	int i;

	(void)arg;
	tcase_pin(0);
	for (i = 0; i < 50; i++) {
		sched_yield();
		p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		check(p != MAP_FAILED);
		*p = 1;
		munmap(p, 4096);
	}
	for (i = 0; i < 3; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
}

static char *functions_while(bool others, pid_t *by)
{
	struct scene *s = tcase_shared(sizeof(*s));
	pid_t in = 0;

	if (others) {
		in = tcase_spawn(visitor, s);
		while (!atomic_load(&s->ready))
			usleep(1000);
	}
	file_clear(TRACING "trace");
	file_put(TRACING "tracing_on", "1");
	*by = tcase_spawn(fork_switch_and_fault, NULL);
	tcase_join(*by);
	file_put(TRACING "tracing_on", "0");
	if (others) {
		atomic_store(&s->stop, 1);
		tcase_join(in);
	}
	return file_contents(TRACING "trace");
}

/* Which functions of the driver run, and for which task: the function tracer knows. */
static void no_hook_runs_for_tasks_without_views(void)
{
	char who[32], *text;
	int all, forks;
	pid_t by;

	file_mount("tracefs", "/sys/kernel/tracing");
	file_put(TRACING "tracing_on", "0");
	file_put(TRACING "set_ftrace_filter", ":mod:pvvas");
	file_put(TRACING "current_tracer", "function");
	/* while no process uses a VAS: nothing at all, for any */
	text = functions_while(false, &by);
	lines_of(text, "pvvas_", "", &all);
	check_eq(all, 0);
	/* while one does: one look at each fork */
	text = functions_while(true, &by);
	snprintf(who, sizeof(who), "-%d ", by);
	forks = lines_of(text, who, "pvvas_newtask", &all);
	tcase_note("for the bystander %d calls, %d of them at its %d forks",
		   all, forks, 3);
	check_eq(forks, 3);
	check_eq(all, 3);
	/* the tracer sees what runs for the others, inside their views */
	lines_of(text, "pvvas_sched_in", "", &all);
	check(all > 10);
	file_put(TRACING "current_tracer", "nop");
	file_clear(TRACING "set_ftrace_filter");
	file_clear(TRACING "trace");
	file_put(TRACING "tracing_on", "1");
}

static const struct tcase cases[] = {
	CASE(tasks_without_views_and_kernel_threads_are_never_in_one),
	CASE(no_hook_runs_for_tasks_without_views),
};

TCASE_MAIN(cases, 0)
