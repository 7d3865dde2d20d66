// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas top: which objects grow, how large they are, since when they are idle,
 * and what holds them; as many as fit on a screen.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <pvvas.h>

#include "tool.h"

/* Where no terminal says how many lines it has. */
#define LINES		24
/* Holders that are named of each object; more are counted. */
#define NAMED		4

struct row {
	enum tool_kind kind;
	int id;
	unsigned int users;
	uint64_t idle;
	uint64_t resident;
	int64_t grown;
};

/* One look at all objects, by kind and id. */
struct look {
	struct row *rows;
	size_t nr, max;
};

/* A process, or a VAS, that has an object. */
struct holder {
	enum tool_kind kind;
	int id;			/* of the object */
	int by;			/* pid, or id of the VAS */
};

static struct holder *holders;
static size_t nr_holders, max_holders;

static int add_row(struct look *l, const struct row *r)
{
	size_t max = l->max ? 2 * l->max : 64;
	struct row *rows = l->rows;

	if (l->nr == l->max) {
		rows = reallocarray(rows, max, sizeof(*rows));
		if (!rows)
			return -ENOMEM;
		l->rows = rows;
		l->max = max;
	}
	rows[l->nr++] = *r;
	return 0;
}

static int add_holder(enum tool_kind kind, int id, int by)
{
	size_t max = max_holders ? 2 * max_holders : 64;
	struct holder *more = holders;

	if (nr_holders == max_holders) {
		more = reallocarray(more, max, sizeof(*more));
		if (!more)
			return -ENOMEM;
		holders = more;
		max_holders = max;
	}
	holders[nr_holders++] = (struct holder){ kind, id, by };
	return 0;
}

static int get(enum tool_kind kind, int id, struct row *r)
{
	struct vas_attr va = { .size = sizeof(va) };
	struct seg_attr sa = { .size = sizeof(sa) };
	int err = kind == TOOL_VAS ? vas_ctl(VAS_CTL_GETATTR, id, &va) :
		seg_ctl(id, SEG_CTL_GETATTR, &sa);

	*r = (struct row){
		.kind = kind,
		.id = id,
		.users = kind == TOOL_VAS ? va.users : sa.users,
		.idle = kind == TOOL_VAS ? va.idle : sa.idle,
		.resident = sa.resident,
	};
	return err;
}

/* What goes away meanwhile is no error. */
static int look_at(enum tool_kind kind, struct look *l)
{
	struct tool_walk walk;
	struct row r;
	int id, err;

	tool_walk_begin(&walk, kind);
	for (;;) {
		id = tool_walk_next(&walk);
		if (id == -ENOENT)
			return 0;
		if (id < 0)
			return id;
		err = get(kind, id, &r);
		if (err == -ENOENT)
			continue;
		if (!err)
			err = add_row(l, &r);
		if (err)
			return err;
	}
}

static int look_at_all(struct look *l)
{
	int err;

	l->nr = 0;
	err = look_at(TOOL_VAS, l);
	return err ? err : look_at(TOOL_SEG, l);
}

/* Which process has which VAS; nothing where only root may know. */
static int find_processes(void)
{
	FILE *f = fopen(TOOL_PROCESSES, "r");
	unsigned int vid;
	char *line = NULL;
	int pid = 0, err = 0;
	size_t size = 0;

	while (f && !err && getline(&line, &size, f) > 0) {
		/* 0: it ends, or is none of this pid namespace */
		if (sscanf(line, "process %d", &pid) == 1 || !pid)
			continue;
		if (sscanf(line, "attachment %*x slot %*u rights %*s vas %u",
			   &vid) == 1)
			err = add_holder(TOOL_VAS, (int)vid, pid);
		else if (sscanf(line, "private %u", &vid) == 1)
			err = add_holder(TOOL_SEG, (int)vid, -pid);
	}
	if (f)
		fclose(f);
	free(line);
	return err;
}

static int by_object(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return x->id - y->id;
}

/* The first one of an object. */
static size_t first_holder(const struct row *r)
{
	const struct holder wanted = { r->kind, r->id, 0 };
	size_t low = 0, high = nr_holders, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (by_object(&holders[mid], &wanted) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int by_object_and_holder(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;
	int order = by_object(a, b);

	return order ? order : x->by < y->by ? -1 : x->by > y->by;
}

/* In order: there may be as many objects, and as many holders of one, as users like. */
static int find_holders(const struct look *l)
{
	int err, sid;
	size_t i;

	nr_holders = 0;
	err = find_processes();
	for (i = 0; i < l->nr && l->rows[i].kind == TOOL_VAS; i++) {
		sid = 0;
		while (!err && (sid = vas_next_seg(l->rows[i].id, sid,
						   NULL)) > 0)
			err = add_holder(TOOL_SEG, sid, l->rows[i].id);
	}
	if (nr_holders)
		qsort(holders, nr_holders, sizeof(*holders),
		      by_object_and_holder);
	return err;
}

/* Both are in order. */
static void compare(struct look *now, const struct look *before)
{
	size_t i, j = 0;

	for (i = 0; i < now->nr; i++) {
		struct row *r = &now->rows[i];

		while (j < before->nr && (before->rows[j].kind < r->kind ||
					  (before->rows[j].kind == r->kind &&
					   before->rows[j].id < r->id)))
			j++;
		r->grown = (int64_t)r->resident;
		if (j < before->nr && before->rows[j].kind == r->kind &&
		    before->rows[j].id == r->id)
			r->grown -= (int64_t)before->rows[j].resident;
	}
}

static int by_growth_and_size(const void *a, const void *b)
{
	const struct row *p = a, *q = b;

	if (p->grown != q->grown)
		return p->grown < q->grown ? 1 : -1;
	if (p->resident != q->resident)
		return p->resident < q->resident ? 1 : -1;
	if (p->kind != q->kind)
		return p->kind < q->kind ? -1 : 1;
	return p->id - q->id;
}

/* Processes by number, VASes with #. */
static void print_holders(const struct row *r)
{
	unsigned int n = 0;
	size_t i;

	if (tool_json)
		printf(",\"holders\":[");
	for (i = first_holder(r); i < nr_holders; i++) {
		const struct holder *h = &holders[i];
		bool process = h->kind == TOOL_VAS || h->by < 0;

		if (h->kind != r->kind || h->id != r->id)
			break;
		if (tool_json)
			printf("%s{\"%s\":%d}", n ? "," : "",
			       process ? "pid" : "vas", abs(h->by));
		else if (n < NAMED)
			printf(" %s%d", process ? "" : "#", abs(h->by));
		n++;
	}
	if (tool_json)
		putchar(']');
	else if (n > NAMED)
		printf(" +%u", n - NAMED);
}

static void print_row(const struct row *r, bool first)
{
	struct vas_attr va = { .size = sizeof(va) };
	struct seg_attr sa = { .size = sizeof(sa) };
	const char *name = r->kind == TOOL_VAS ? va.name : sa.name;
	const char *kind = r->kind == TOOL_VAS ? "vas" : "seg";

	/* of what has gone since, there is no name */
	if (r->kind == TOOL_VAS)
		vas_ctl(VAS_CTL_GETATTR, r->id, &va);
	else
		seg_ctl(r->id, SEG_CTL_GETATTR, &sa);
	if (tool_json) {
		printf("%s{\"kind\":\"%s\",\"id\":%d,\"users\":%u,\"idle\":%" PRIu64
		       ",\"resident\":%" PRIu64 ",\"grown\":%" PRId64
		       ",\"name\":", first ? "" : ",\n", kind, r->id, r->users,
		       r->idle, r->resident, r->grown);
		tool_json_string(name);
		print_holders(r);
		putchar('}');
		return;
	}
	printf("%s %6d %5u %9" PRIu64 " %14" PRIu64 " %+14" PRId64 " ", kind,
	       r->id, r->users, r->idle, r->resident, r->grown);
	tool_print_word(name);
	print_holders(r);
	putchar('\n');
}

static size_t lines_of_screen(void)
{
	struct winsize w;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_row < 4)
		return LINES;
	return w.ws_row;
}

static void print_look(struct look *l, bool again)
{
	size_t fit = lines_of_screen() - 3, i;

	qsort(l->rows, l->nr, sizeof(*l->rows), by_growth_and_size);
	if (tool_json) {
		putchar('[');
		for (i = 0; i < l->nr; i++)
			print_row(&l->rows[i], !i);
		puts("]");
		return;
	}
	if (isatty(STDOUT_FILENO) && again)
		fputs("\033[H\033[J", stdout);
	printf("    %6s %5s %9s %14s %14s %s\n", "id", "users", "idle s",
	       "resident", "grown", "name, holders");
	for (i = 0; i < l->nr && i < fit; i++)
		print_row(&l->rows[i], !i);
	if (i < l->nr)
		printf("and %zu more\n", l->nr - i);
}

static int top(unsigned int seconds, bool watch)
{
	struct look before = {}, now = {}, sorted = {};
	int err = look_at_all(&before);
	size_t i;

	do {
		if (err || fflush(stdout))
			break;
		sleep(seconds);
		err = look_at_all(&now);
		if (!err)
			err = find_holders(&now);
		if (err)
			break;
		compare(&now, &before);
		sorted.nr = 0;
		for (i = 0; i < now.nr && !err; i++)
			err = add_row(&sorted, &now.rows[i]);
		print_look(&sorted, watch);
		/* what is now is before the next look */
		free(before.rows);
		before = now;
		now = (struct look){};
	} while (watch);
	free(before.rows);
	free(now.rows);
	free(sorted.rows);
	free(holders);
	return err;
}

int cmd_top(int argc, char **argv)
{
	uint64_t seconds = 1;
	bool watch = false;
	int err;

	if (argc && !strcmp(argv[argc - 1], "--watch")) {
		watch = true;
		argc--;
	}
	if (argc > 1 || (argc && (!tool_size(argv[0], &seconds) || !seconds ||
				  seconds > 86400)))
		return tool_usage();
	err = top((unsigned int)seconds, watch);
	return err == -EAGAIN ?
	       tool_error_text(err, TOOL_NO_END, "top") :
	       err ? tool_error(err, "top") : TOOL_OK;
}
