// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas save, load, restore: VASes with their segments to a folder, and from there.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "tool.h"

/* Links to the folders that are loaded at boot. */
#define RESTORE_DIR	"/etc/pvvas/restore.d"

/* A progress line each second, on a terminal. */
static void progress(uint64_t done, uint64_t all, void *arg)
{
	time_t *before = arg, now = time(NULL);

	if (now == *before || !isatty(STDERR_FILENO))
		return;
	*before = now;
	fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " MiB ", done >> 20, all >> 20);
}

static int finish(int err, const char *what, const char *dir,
		  const struct vas_save_options *options)
{
	const char *why = err == -EUCLEAN ? "cut, changed or missing" :
			  err == -EPROTO ? "this pvvas cannot read it" : NULL;

	if (!err)
		return TOOL_OK;
	if (why)
		return tool_error_text(err, why, "%s %s: %s", what, dir,
				       options->message);
	if (*options->message)
		return tool_error(err, "%s %s: %s", what, dir, options->message);
	return tool_error(err, "%s %s", what, dir);
}

/* "vas:NAME" or "NAME" */
static int find_vas(const char *word, int *vid)
{
	const char *name = strncmp(word, "vas:", 4) ? word : word + 4;

	*vid = tool_find(TOOL_VAS, name);
	return *vid < 0 ? tool_error(*vid, "vas %s", name) : TOOL_OK;
}

int cmd_save(int argc, char **argv)
{
	time_t before = time(NULL);
	char message[512] = "";
	struct vas_save_options options = {
		.size = sizeof(options),
		.progress = progress,
		.arg = &before,
		.message = message,
		.message_size = sizeof(message),
	};
	int i, n = 0, status = TOOL_OK, err;
	int *vids;

	if (argc && !strcmp(argv[0], "--since")) {
		options.flags = VAS_SAVE_SINCE;
		argc--;
		argv++;
	}
	if (argc < 2 || *argv[0] == '-')
		return tool_usage();
	vids = calloc((size_t)argc, sizeof(*vids));
	if (!vids)
		return tool_error(-ENOMEM, "save");
	for (i = 0; i < argc - 1 && status == TOOL_OK; i++)
		status = find_vas(argv[i], &vids[n++]);
	if (status == TOOL_OK) {
		err = vas_save(vids, (size_t)n, argv[argc - 1], &options);
		status = finish(err, "save", argv[argc - 1], &options);
	}
	free(vids);
	if (status == TOOL_OK)
		printf(tool_json ? "{\"bytes\":%" PRIu64 ",\"written\":%" PRIu64 "}\n" :
		       "%" PRIu64 " bytes of memory, %" PRIu64 " bytes written\n",
		       options.bytes, options.written);
	return status;
}

int cmd_load(int argc, char **argv)
{
	time_t before = time(NULL);
	char message[512] = "";
	struct vas_save_options options = {
		.size = sizeof(options),
		.progress = progress,
		.arg = &before,
		.message = message,
		.message_size = sizeof(message),
	};
	const char *dir = NULL;
	int i, status;

	for (i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--own"))
			options.flags |= VAS_LOAD_OWN;
		else if (!dir && *argv[i] != '-')
			dir = argv[i];
		else
			return tool_usage();
	}
	if (!dir)
		return tool_usage();
	status = finish(vas_load(dir, &options), "load", dir, &options);
	if (status == TOOL_OK)
		printf(tool_json ? "{\"bytes\":%" PRIu64 "}\n" :
		       "%" PRIu64 " bytes of memory\n", options.bytes);
	return status;
}

static int is_listed(const struct dirent *entry)
{
	return *entry->d_name != '.';
}

static int restore_one(const char *list, const char *name)
{
	char message[512] = "";
	struct vas_save_options options = {
		.size = sizeof(options),
		.message = message,
		.message_size = sizeof(message),
	};
	int status;
	char *dir;

	if (asprintf(&dir, "%s/%s", list, name) < 0)
		return tool_error(-ENOMEM, "restore");
	status = finish(vas_load(dir, &options), "restore", dir, &options);
	if (status == TOOL_OK) {
		tool_print_text(stdout, dir);
		printf(": %" PRIu64 " bytes of memory\n", options.bytes);
	}
	free(dir);
	return status;
}

/* What one set lacks does not keep the others from coming back. */
int cmd_restore(int argc, char **argv)
{
	const char *list = argc ? argv[0] : RESTORE_DIR;
	int i, n, one, status = TOOL_OK;
	struct dirent **names;

	if (argc > 1 || (argc && *argv[0] == '-'))
		return tool_usage();
	n = scandir(list, &names, is_listed, alphasort);
	if (n < 0)
		return !argc && errno == ENOENT ? TOOL_OK :
		       tool_error(-errno, "restore %s", list);
	for (i = 0; i < n; i++) {
		one = restore_one(list, names[i]->d_name);
		status = one == TOOL_OK ? status : one;
		free(names[i]);
	}
	free(names);
	return status;
}
