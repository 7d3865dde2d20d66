// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas: look at virtual address spaces and segments, and handle them.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pvvas.h>

#include "tool.h"

bool tool_json;

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *arguments;
	const char *what;
} commands[] = {
	{ "ls", cmd_ls, "[vas | seg] [--idle]", "list them" },
	{ "stat", cmd_stat, "vas|seg NAME", "all about one" },
	{ "create", cmd_create, "vas NAME [-m MODE] | seg NAME SIZE [-m MODE] [-b BASE]\n"
	  "      [--huge | --small] [--populate] [--lock] [--dump]\n"
	  "      [--hugetlb] [--no-reserve]\n"
	  "      [--prefer NODE | --bind NODES | --interleave NODES] [--colors MASK]",
	  "make one" },
	{ "rm", cmd_rm, "vas|seg NAME...", "take names away" },
	{ "chmod", cmd_chmod, "MODE vas|seg NAME...", "change modes" },
	{ "expire", cmd_expire, "SECONDS|never vas|seg NAME...",
	  "delete them when nothing has used them for so long" },
	{ "resize", cmd_resize, "SEG SIZE", "let a segment grow" },
	{ "attach", cmd_attach, "VAS SEG [ro]", "show a segment in a VAS" },
	{ "detach", cmd_detach, "VAS SEG", "undo it" },
	{ "unlock", cmd_unlock, "SEG...",
	  "make locks new that died with their holders" },
	{ "heap", cmd_heap, "SEG [--collect]",
	  "how full its heap is; free what nothing leads to" },
	{ "cp", cmd_cp, "seg:NAME FILE | FILE seg:NAME",
	  "copy a segment to a file, or back" },
	{ "save", cmd_save, "[--since] vas:NAME... DIR",
	  "write VASes with their segments to a folder" },
	{ "load", cmd_load, "[--own] DIR", "make the VASes that are in a folder" },
	{ "restore", cmd_restore, "[FOLDER]", "load what a folder has links to, at boot" },
	{ "run", cmd_run, "VAS -- PROGRAM [ARGUMENT...]",
	  "run a program that starts in a VAS" },
	{ "ps", cmd_ps, "", "which process has what attached" },
	{ "top", cmd_top, "[SECONDS] [--watch]",
	  "what grows, how large it is, since when it is idle, and what has it" },
	{ "stats", cmd_stats, "[SECONDS]", "what driver and KVM have counted" },
	{ "doctor", cmd_doctor, "", "what works here, and what does not" },
};

#define NR_COMMANDS	(sizeof(commands) / sizeof(commands[0]))

/* Which one runs. */
static const struct command *command;

static void help(void)
{
	size_t i;

	puts("usage: pvvas [--json] COMMAND ...");
	for (i = 0; i < NR_COMMANDS; i++)
		printf("  %s %s\n      %s\n", commands[i].name,
		       commands[i].arguments, commands[i].what);
	puts("  --help, --version");
}

int tool_usage(void)
{
	fprintf(stderr, "usage: pvvas [--json] %s %s\n", command->name,
		command->arguments);
	return TOOL_USAGE;
}

static int status_of(int err, const char **why)
{
	const char *environment = tool_bad_environment(err);

	if (environment) {
		*why = environment;
		return TOOL_FAILED;
	}
	switch (err) {
	case -ENOENT:
		return TOOL_NOT_FOUND;
	case -EACCES:
	case -EPERM:
		return TOOL_DENIED;
	case -ENODEV:
		*why = "no driver: is the module pvvas loaded?";
		return TOOL_ABSENT;
	case -ENOSYS:
		*why = "this machine's hypervisor offers no views";
		return TOOL_ABSENT;
	}
	return TOOL_FAILED;
}

static int print_error(int err, const char *why, const char *format, va_list ap)
{
	const char *general = strerror(-err);
	int status = status_of(err, &general);
	char *text;

	fflush(stdout);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	fputs("pvvas: ", stderr);
	tool_print_text(stderr, text ? text : "?");
	fprintf(stderr, ": %s\n", why ? why : general);
	free(text);
	return status;
}

int tool_error(int err, const char *format, ...)
{
	va_list ap;
	int status;

	va_start(ap, format);
	status = print_error(err, NULL, format, ap);
	va_end(ap);
	return status;
}

int tool_error_text(int err, const char *why, const char *format, ...)
{
	va_list ap;
	int status;

	va_start(ap, format);
	status = print_error(err, why, format, ap);
	va_end(ap);
	return status;
}

bool tool_kind(const char *word, enum tool_kind *kind)
{
	if (!strcmp(word, "vas"))
		*kind = TOOL_VAS;
	else if (!strcmp(word, "seg"))
		*kind = TOOL_SEG;
	else
		return false;
	return true;
}

int tool_find(enum tool_kind kind, const char *name)
{
	char *end;
	long id;

	if (*name == '#') {
		id = strtol(name + 1, &end, 10);
		return name[1] && !*end && id > 0 && id < 1 << 30 ? (int)id :
								    -EINVAL;
	}
	return kind == TOOL_VAS ? vas_find(name) : seg_find(name);
}

bool tool_mode(const char *text, mode_t *mode)
{
	char *end;
	unsigned long value = strtoul(text, &end, 8);

	*mode = (mode_t)value;
	return *text >= '0' && *text <= '7' && !*end && value <= 0777;
}

bool tool_size(const char *text, uint64_t *size)
{
	static const char units[] = "KMGT";
	unsigned long long value;
	const char *unit;
	int shift = 0;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || end == text || *text < '0' || *text > '9')
		return false;
	if (*end) {
		unit = strchr(units, *end);
		if (!unit || end[1])
			return false;
		shift = 10 * (int)(unit - units + 1);
	}
	if (value > UINT64_MAX >> shift)
		return false;
	*size = value << shift;
	return true;
}

/* Take --json away, wherever it stands before "--". */
static int take_options(int argc, char **argv)
{
	int from, to = 1;

	for (from = 1; from < argc && strcmp(argv[from], "--"); from++) {
		if (!strcmp(argv[from], "--json"))
			tool_json = true;
		else
			argv[to++] = argv[from];
	}
	while (from < argc)
		argv[to++] = argv[from++];
	argv[to] = NULL;
	return to;
}

int main(int argc, char **argv)
{
	const char *word;
	size_t i;
	int status;

	argc = take_options(argc, argv);
	word = argc > 1 ? argv[1] : "";
	if (!strcmp(word, "--version")) {
		printf("pvvas %d.%d\n", PVVAS_VERSION_MAJOR,
		       PVVAS_VERSION_MINOR);
		return TOOL_OK;
	}
	if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
		help();
		return TOOL_OK;
	}
	for (i = 0; i < NR_COMMANDS; i++) {
		if (strcmp(word, commands[i].name))
			continue;
		command = &commands[i];
		status = command->run(argc - 2, argv + 2);
		if (fflush(stdout) || ferror(stdout)) {
			perror("pvvas: stdout");
			return TOOL_FAILED;
		}
		return status;
	}
	if (*word) {
		fputs("pvvas: there is no command '", stderr);
		tool_print_text(stderr, word);
		fputs("'; ", stderr);
	} else {
		fputs("pvvas: a command is missing; ", stderr);
	}
	fputs("pvvas --help lists them\n", stderr);
	return TOOL_USAGE;
}
