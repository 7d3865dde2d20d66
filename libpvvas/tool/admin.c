// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas ps, pvvas stats: what an administrator asks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pvvas.h>

#include "tool.h"

struct attachment {
	unsigned int handle, slot, vid, threads;
	char rights[4];
	char name[4 * VAS_NAME_MAX + 1];
};

struct process {
	int pid;
	unsigned int threads, nr;
	struct attachment *atts;
};

/* \ooo in names, where a blank would end a word. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (*s == '\\' && strspn(s + 1, "01234567") >= 3) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				       (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* What the process is called, which it chooses itself; empty if it is gone. */
static void command_of(int pid, char *text, size_t size)
{
	char path[64];
	FILE *f;

	*text = '\0';
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "r");
	if (!f)
		return;
	if (fgets(text, (int)size, f))
		text[strcspn(text, "\n")] = '\0';
	fclose(f);
}

static void print_process(const struct process *p, bool first)
{
	const struct attachment *a;
	char command[64];

	command_of(p->pid, command, sizeof(command));
	if (tool_json) {
		printf("%s{\"pid\":%d,\"threads\":%u,\"command\":",
		       first ? "" : ",\n", p->pid, p->threads);
		tool_json_string(command);
		printf(",\"attachments\":[");
	}
	for (a = p->atts; a < p->atts + p->nr; a++) {
		if (tool_json) {
			printf("%s{\"handle\":%u,\"vas\":%u,\"writable\":%s,\"slot\":%u,\"inside\":%u,\"name\":",
			       a == p->atts ? "" : ",", a->handle, a->vid,
			       a->rights[1] ? "true" : "false", a->slot,
			       a->threads);
			tool_json_string(a->name);
			putchar('}');
		} else {
			printf("%8d %7u ", p->pid, p->threads);
			tool_print_word(command);
			printf(" %#x %s %u/%u #%u ", a->handle,
			       a->rights[1] ? "rw" : "r-", a->slot, a->threads,
			       a->vid);
			tool_print_name(a->name);
			putchar('\n');
		}
	}
	if (tool_json)
		printf("]}");
	if (!tool_json && !p->nr) {
		printf("%8d %7u ", p->pid, p->threads);
		tool_print_word(command);
		puts(" -");
	}
}

static int add_attachment(struct process *p, const struct attachment *a)
{
	struct attachment *more;

	more = reallocarray(p->atts, p->nr + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	p->atts = more;
	p->atts[p->nr++] = *a;
	return 0;
}

static void add_thread(struct process *p, unsigned int handle)
{
	unsigned int i;

	p->threads++;
	for (i = 0; i < p->nr; i++)
		p->atts[i].threads += p->atts[i].handle == handle;
}

/* A line of the file; what a later driver adds is left alone. */
static int take_line(struct process *p, const char *line, unsigned int *printed)
{
	struct attachment a = {};
	unsigned int handle;
	int pid;

	if (sscanf(line, "process %d", &pid) == 1) {
		if (p->pid)
			print_process(p, !(*printed)++);
		p->pid = pid;
		p->threads = p->nr = 0;
		return 0;
	}
	if (sscanf(line, "attachment %x slot %u rights %3s vas %u name %1020s",
		   &a.handle, &a.slot, a.rights, &a.vid, a.name) == 5) {
		unescape(a.name);
		if (!strcmp(a.name, "-"))
			*a.name = '\0';
		return add_attachment(p, &a);
	}
	if (sscanf(line, "thread %d %*s slot %*u handle %x", &pid, &handle) == 2)
		add_thread(p, handle);
	return 0;
}

int cmd_ps(int argc, char **argv)
{
	struct process p = {};
	unsigned int printed = 0;
	char *line = NULL;
	size_t size = 0;
	int err = 0;
	FILE *f;

	(void)argv;
	if (argc)
		return tool_usage();
	f = fopen(TOOL_PROCESSES, "r");
	/* the driver makes the folder */
	if (!f && errno == ENOENT && !access(TOOL_CONTROL, F_OK))
		return tool_error_text(-ENODEV, "not mounted: mount -t pvvas none "
				       TOOL_CONTROL, "ps: " TOOL_PROCESSES);
	if (!f && errno == ENOENT)
		return tool_error(-ENODEV, "ps: " TOOL_PROCESSES);
	if (!f)
		return tool_error(-errno, "ps: " TOOL_PROCESSES);
	if (tool_json)
		putchar('[');
	else
		puts("     pid threads command handle rights slot/inside vas");
	while (!err && getline(&line, &size, f) > 0)
		err = take_line(&p, line, &printed);
	if (p.pid && !err)
		print_process(&p, !printed);
	if (tool_json)
		puts("]");
	if (!err && ferror(f))
		err = -EIO;
	fclose(f);
	free(line);
	free(p.atts);
	return err ? tool_error(err, "ps") : TOOL_OK;
}

/* Counts of what there is now; then counts that only grow. */
static const struct counter {
	const char *name;
	size_t at;
	bool grows;
} counters[] = {
#define NOW(name)	{ #name, offsetof(struct pvvas_stats, name), false }
#define GROWS(name)	{ #name, offsetof(struct pvvas_stats, name), true }
	NOW(vases), NOW(segs), NOW(processes), NOW(threads), NOW(attachments),
	NOW(pages), NOW(freeing), NOW(links), NOW(trees), NOW(tables), NOW(hv_ctxs),
	NOW(hv_views), NOW(hv_shadow_pages), NOW(hv_max_shadow_pages),
	GROWS(ctx_loads), GROWS(demand_faults), GROWS(hv_exits),
	GROWS(hv_hypercalls), GROWS(hv_ept_violations), GROWS(hv_vmfunc_exits),
	GROWS(hv_view_faults), GROWS(hv_reflected), GROWS(hv_demand),
	GROWS(hv_ctx_loads), GROWS(hv_invalidations), GROWS(hv_zapped),
	GROWS(hv_flushes),
#undef NOW
#undef GROWS
};

#define NR_COUNTERS	(sizeof(counters) / sizeof(counters[0]))

static uint64_t value_of(const struct pvvas_stats *st, const struct counter *c)
{
	uint64_t value;

	memcpy(&value, (const char *)st + c->at, sizeof(value));
	return value;
}

/* @before: what grows is what has come since. */
static void print_stats(const struct pvvas_stats *st,
			const struct pvvas_stats *before)
{
	uint64_t value;
	size_t i;

	for (i = 0; i < NR_COUNTERS; i++) {
		value = value_of(st, &counters[i]);
		if (before && counters[i].grows)
			value -= value_of(before, &counters[i]);
		if (tool_json)
			printf("%s\"%s\":%" PRIu64, i ? "," : "{",
			       counters[i].name, value);
		else
			printf("%-20s %20" PRIu64 "%s\n", counters[i].name,
			       value,
			       before && counters[i].grows ? " more" : "");
	}
	puts(tool_json ? "}" : "");
}

int cmd_stats(int argc, char **argv)
{
	struct pvvas_stats st = { .size = sizeof(st) }, before;
	uint64_t seconds = 0;
	int err;

	if (argc > 1 || (argc && (!tool_size(argv[0], &seconds) || !seconds ||
				  seconds > 86400)))
		return tool_usage();
	err = pvvas_stats(&st);
	if (err)
		return tool_error(err, "stats");
	print_stats(&st, NULL);
	while (seconds) {
		if (fflush(stdout))
			break;
		sleep((unsigned int)seconds);
		before = st;
		err = pvvas_stats(&st);
		if (err)
			return tool_error(err, "stats");
		print_stats(&st, &before);
	}
	return TOOL_OK;
}
