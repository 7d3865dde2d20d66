// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas ls, pvvas stat.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <pvvas.h>

#include "tool.h"

static void print_owner(uid_t uid, gid_t gid)
{
	const struct passwd *pw = getpwuid(uid);
	const struct group *gr = getgrgid(gid);
	char u[32], g[32];

	snprintf(u, sizeof(u), "%u", (unsigned int)uid);
	snprintf(g, sizeof(g), "%u", (unsigned int)gid);
	printf("%-8s %-8s", pw ? pw->pw_name : u, gr ? gr->gr_name : g);
}

/* Only what no process and no VAS uses. */
static bool only_idle;

/* In JSON, behind the text @before. */
static int ls_one_vas(int vid, const char *before)
{
	struct vas_attr a = { .size = sizeof(a) };
	int err = vas_ctl(VAS_CTL_GETATTR, vid, &a);

	if (!err && only_idle && a.users)
		err = -ENOENT;
	if (err)
		return err;
	if (tool_json) {
		printf("%s{\"kind\":\"vas\",\"id\":%d,\"mode\":\"%04o\",\"uid\":%u,\"gid\":%u,\"users\":%u,\"idle\":%llu,\"expiry\":%u,\"name\":",
		       before, vid, (unsigned int)a.mode,
		       (unsigned int)a.uid, (unsigned int)a.gid, a.users,
		       (unsigned long long)a.idle, a.expiry);
		tool_json_string(a.name);
		putchar('}');
	} else {
		printf("vas %6d %04o ", vid, (unsigned int)a.mode);
		print_owner(a.uid, a.gid);
		printf(" %5u %18s %12s %12s ", a.users, "", "", "");
		tool_print_name(a.name);
		putchar('\n');
	}
	return 0;
}

static int ls_one_seg(int sid, const char *before)
{
	struct seg_attr a = { .size = sizeof(a) };
	int err = seg_ctl(sid, SEG_CTL_GETATTR, &a);

	if (!err && only_idle && a.users)
		err = -ENOENT;
	if (err)
		return err;
	if (tool_json) {
		printf("%s{\"kind\":\"seg\",\"id\":%d,\"mode\":\"%04o\",\"uid\":%u,\"gid\":%u,\"users\":%u,\"idle\":%llu,\"expiry\":%u,\"base\":\"%p\",\"size\":%llu,\"resident\":%llu,\"name\":",
		       before, sid, (unsigned int)a.mode,
		       (unsigned int)a.uid, (unsigned int)a.gid, a.users,
		       (unsigned long long)a.idle, a.expiry, a.base, (unsigned long long)a.length,
		       (unsigned long long)a.resident);
		tool_json_string(a.name);
		putchar('}');
	} else {
		printf("seg %6d %04o ", sid, (unsigned int)a.mode);
		print_owner(a.uid, a.gid);
		printf(" %5u %18p %12llu %12llu ", a.users, a.base,
		       (unsigned long long)a.length,
		       (unsigned long long)a.resident);
		tool_print_name(a.name);
		putchar('\n');
	}
	return 0;
}

/* All of one kind; *printed counts.  What goes away meanwhile is no error. */
static int ls_kind(enum tool_kind kind, unsigned int *printed)
{
	struct tool_walk walk;
	const char *before;
	int id, err;

	tool_walk_begin(&walk, kind);
	for (;;) {
		id = tool_walk_next(&walk);
		if (id == -ENOENT)
			return 0;
		if (id < 0)
			return id;
		before = *printed ? ",\n" : "";
		err = kind == TOOL_VAS ? ls_one_vas(id, before) :
			ls_one_seg(id, before);
		if (err && err != -ENOENT)
			return err;
		*printed += !err;
	}
}

int cmd_ls(int argc, char **argv)
{
	enum tool_kind only = TOOL_VAS;
	unsigned int printed = 0;
	int err = 0;

	if (argc && !strcmp(argv[argc - 1], "--idle")) {
		only_idle = true;
		argc--;
	}
	if (argc > 1 || (argc == 1 && !tool_kind(argv[0], &only)))
		return tool_usage();
	/* no head of a list that cannot come */
	err = vas_next(0);
	if (err < 0 && err != -ENOENT)
		return tool_error(err, "ls");
	err = 0;
	if (tool_json)
		putchar('[');
	else
		printf("%-3s %6s %-4s %-8s %-8s %5s %18s %12s %12s %s\n", "",
		       "id", "mode", "owner", "group", "users", "base", "size",
		       "resident", "name");
	if (!argc || only == TOOL_VAS)
		err = ls_kind(TOOL_VAS, &printed);
	if (!err && (!argc || only == TOOL_SEG))
		err = ls_kind(TOOL_SEG, &printed);
	if (tool_json)
		puts("]");
	return err == -EAGAIN ?
	       tool_error_text(err, TOOL_NO_END, "ls") :
	       err ? tool_error(err, "ls") : TOOL_OK;
}

/* The segments of a VAS. */
static int stat_segments(int vid)
{
	struct seg_attr a = { .size = sizeof(a) };
	int sid = 0, prot;
	bool first = true;

	if (tool_json)
		printf(",\n\"segments\":[");
	for (;;) {
		sid = vas_next_seg(vid, sid, &prot);
		if (sid < 0)
			break;
		if (seg_ctl(sid, SEG_CTL_GETATTR, &a))
			continue;
		if (tool_json) {
			printf("%s{\"id\":%d,\"writable\":%s,\"base\":\"%p\",\"size\":%llu,\"name\":",
			       first ? "" : ",", sid,
			       prot & PROT_WRITE ? "true" : "false", a.base,
			       (unsigned long long)a.length);
			tool_json_string(a.name);
			putchar('}');
		} else {
			printf("  %s %18p %12llu #%d ",
			       prot & PROT_WRITE ? "rw" : "r-", a.base,
			       (unsigned long long)a.length, sid);
			tool_print_name(a.name);
			putchar('\n');
		}
		first = false;
	}
	if (tool_json)
		putchar(']');
	return sid == -ENOENT || sid == -EOPNOTSUPP ? 0 : sid;
}

int cmd_stat(int argc, char **argv)
{
	enum tool_kind kind;
	int id, err;

	if (argc != 2 || !tool_kind(argv[0], &kind))
		return tool_usage();
	id = tool_find(kind, argv[1]);
	if (id < 0)
		return tool_error(id, "%s %s", argv[0], argv[1]);
	/* it may have gone since: then there is nothing to be put in brackets */
	err = kind == TOOL_VAS ? ls_one_vas(id, "{\"object\":") :
		ls_one_seg(id, "{\"object\":");
	if (err)
		return tool_error(err, "%s %s", argv[0], argv[1]);
	if (kind == TOOL_VAS)
		err = stat_segments(id);
	if (tool_json)
		puts("}");
	return err ? tool_error(err, "%s %s", argv[0], argv[1]) : TOOL_OK;
}
