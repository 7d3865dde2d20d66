// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counters of the whole machine: KVM's by the driver, the guest kernel's by
 * software events of perf.
 */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <pvvas.h>

#include "bench.h"

#define TRACING		"/sys/kernel/tracing"

const char *const counter_names[NR_COUNTERS] = {
	[C_EXITS] = "exits",
	[C_HYPERCALLS] = "hypercalls",
	[C_EPT_VIOLATIONS] = "ept_violations",
	[C_VMFUNC_EXITS] = "vmfunc_exits",
	[C_HOST_FLUSHES] = "host_flushes",
	[C_SYSCALLS] = "system_calls",
	[C_PAGE_FAULTS] = "page_faults",
	[C_CONTEXT_SWITCHES] = "context_switches",
	[C_GUEST_FLUSHES] = "guest_flushes",
};

bool counter_there[NR_COUNTERS];

static int perf_fd[NR_COUNTERS];

/* On CPU 0: guests have one CPU here, and with more this is what it counts. */
static void open_event(enum counter c, uint32_t type, uint64_t config)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = type,
		.config = config,
	};

	perf_fd[c] = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1,
				  PERF_FLAG_FD_CLOEXEC);
	counter_there[c] = perf_fd[c] >= 0;
}

static void open_tracepoint(enum counter c, const char *name)
{
	char path[128], text[32] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), TRACING "/events/%s/id", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n > 0)
		open_event(c, PERF_TYPE_TRACEPOINT, strtoull(text, NULL, 10));
}

/* A process that has an event open makes the kernel take longer ways. */
void counters_enable(bool on)
{
	int i;

	if (on) {
		open_event(C_PAGE_FAULTS, PERF_TYPE_SOFTWARE,
			   PERF_COUNT_SW_PAGE_FAULTS);
		open_event(C_CONTEXT_SWITCHES, PERF_TYPE_SOFTWARE,
			   PERF_COUNT_SW_CONTEXT_SWITCHES);
		open_tracepoint(C_SYSCALLS, "raw_syscalls/sys_enter");
		open_tracepoint(C_GUEST_FLUSHES, "tlb/tlb_flush");
		return;
	}
	for (i = 0; i < NR_COUNTERS; i++) {
		if (perf_fd[i] >= 0)
			close(perf_fd[i]);
		perf_fd[i] = -1;
	}
}

void counters_open(void)
{
	struct pvvas_stats stats = { .size = sizeof(stats) };
	int i;

	for (i = 0; i < NR_COUNTERS; i++)
		perf_fd[i] = -1;
	if (access(TRACING "/events", F_OK))
		mount("tracefs", TRACING, "tracefs", 0, NULL);
	if (!pvvas_stats(&stats))
		for (i = C_EXITS; i <= C_HOST_FLUSHES; i++)
			counter_there[i] = true;
}

/* What reading itself costs is the same each time, and subtracted. */
void counters_read(uint64_t *values)
{
	struct pvvas_stats stats = { .size = sizeof(stats) };
	int i;

	memset(values, 0, NR_COUNTERS * sizeof(*values));
	for (i = 0; i < NR_COUNTERS; i++)
		if (perf_fd[i] >= 0 &&
		    read(perf_fd[i], &values[i], 8) != 8)
			bench_fail("perf counter %s cannot be read",
				   counter_names[i]);
	if (!counter_there[C_EXITS])
		return;
	if (pvvas_stats(&stats))
		bench_fail("pvvas_stats failed");
	values[C_EXITS] = stats.hv_exits;
	values[C_HYPERCALLS] = stats.hv_hypercalls;
	values[C_EPT_VIOLATIONS] = stats.hv_ept_violations;
	values[C_VMFUNC_EXITS] = stats.hv_vmfunc_exits;
	values[C_HOST_FLUSHES] = stats.hv_flushes;
}
