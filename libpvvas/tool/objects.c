// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas create, rm, chmod, expire, attach, detach, unlock.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <pvvas.h>

#include "tool.h"

int cmd_create(int argc, char **argv)
{
	uint64_t base = 0, size = 0;
	enum tool_kind kind;
	mode_t mode = 0600;
	int i, id, first;

	if (argc < 2 || !tool_kind(argv[0], &kind))
		return tool_usage();
	first = kind == TOOL_SEG ? 3 : 2;
	if (kind == TOOL_SEG && (argc < 3 || !tool_size(argv[2], &size)))
		return tool_usage();
	for (i = first; i < argc; i += 2) {
		if (i + 1 == argc)
			return tool_usage();
		if (!strcmp(argv[i], "-m") && tool_mode(argv[i + 1], &mode))
			continue;
		if (!strcmp(argv[i], "-b") && kind == TOOL_SEG &&
		    tool_size(argv[i + 1], &base))
			continue;
		return tool_usage();
	}
	id = kind == TOOL_VAS ? vas_create(argv[1], mode) :
		seg_alloc(argv[1], (void *)(uintptr_t)base, size, mode);
	if (id < 0)
		return tool_error(id, "%s %s", argv[0], argv[1]);
	printf(tool_json ? "{\"id\":%d}\n" : "%d\n", id);
	return TOOL_OK;
}

static int remove_one(enum tool_kind kind, const char *name)
{
	int id = tool_find(kind, name);

	if (id < 0)
		return id;
	return kind == TOOL_VAS ? vas_delete(id) : seg_delete(id);
}

int cmd_rm(int argc, char **argv)
{
	enum tool_kind kind;
	int i, err, status = TOOL_OK;

	if (argc < 2 || !tool_kind(argv[0], &kind))
		return tool_usage();
	for (i = 1; i < argc; i++) {
		err = remove_one(kind, argv[i]);
		if (err)
			status = tool_error(err, "%s %s", argv[0], argv[i]);
	}
	return status;
}

static int change_one(enum tool_kind kind, const char *name,
		      unsigned int valid, mode_t mode, uint32_t expiry)
{
	struct vas_attr va = { .size = sizeof(va), .valid = valid,
			       .mode = mode, .expiry = expiry };
	struct seg_attr sa = { .size = sizeof(sa), .valid = valid,
			       .mode = mode, .expiry = expiry };
	int id = tool_find(kind, name);

	if (id < 0)
		return id;
	return kind == TOOL_VAS ? vas_ctl(VAS_CTL_SETATTR, id, &va) :
		seg_ctl(id, SEG_CTL_SETATTR, &sa);
}

int cmd_chmod(int argc, char **argv)
{
	enum tool_kind kind;
	int i, err, status = TOOL_OK;
	mode_t mode;

	if (argc < 3 || !tool_mode(argv[0], &mode) ||
	    !tool_kind(argv[1], &kind))
		return tool_usage();
	for (i = 2; i < argc; i++) {
		err = change_one(kind, argv[i], VAS_ATTR_MODE, mode, 0);
		if (err)
			status = tool_error(err, "%s %s", argv[1], argv[i]);
	}
	return status;
}

int cmd_expire(int argc, char **argv)
{
	enum tool_kind kind;
	int i, err, status = TOOL_OK;
	uint64_t seconds = 0;

	if (argc < 3 || !tool_kind(argv[1], &kind))
		return tool_usage();
	if (strcmp(argv[0], "never") &&
	    (!tool_size(argv[0], &seconds) || !seconds || seconds > UINT32_MAX))
		return tool_usage();
	for (i = 2; i < argc; i++) {
		err = change_one(kind, argv[i], VAS_ATTR_EXPIRY, 0,
				 (uint32_t)seconds);
		if (err)
			status = tool_error(err, "%s %s", argv[1], argv[i]);
	}
	return status;
}

static int find_both(char **argv, int *vid, int *sid, int *status)
{
	*vid = tool_find(TOOL_VAS, argv[0]);
	if (*vid < 0) {
		*status = tool_error(*vid, "vas %s", argv[0]);
		return -1;
	}
	*sid = tool_find(TOOL_SEG, argv[1]);
	if (*sid < 0) {
		*status = tool_error(*sid, "seg %s", argv[1]);
		return -1;
	}
	return 0;
}

int cmd_attach(int argc, char **argv)
{
	int vid, sid, err, status;
	bool ro = argc == 3 && !strcmp(argv[2], "ro");

	if (argc != 2 && !ro)
		return tool_usage();
	if (find_both(argv, &vid, &sid, &status))
		return status;
	err = ro ? seg_attach_prot(vid, sid, PROT_READ) : seg_attach(vid, sid);
	return err ? tool_error(err, "attach %s to %s", argv[1], argv[0]) :
		     TOOL_OK;
}

int cmd_detach(int argc, char **argv)
{
	int vid, sid, err, status;

	if (argc != 2)
		return tool_usage();
	if (find_both(argv, &vid, &sid, &status))
		return status;
	err = seg_detach(vid, sid);
	return err ? tool_error(err, "detach %s from %s", argv[1], argv[0]) :
		     TOOL_OK;
}

int cmd_unlock(int argc, char **argv)
{
	int i, sid, err, status = TOOL_OK;

	if (argc < 1)
		return tool_usage();
	for (i = 0; i < argc; i++) {
		sid = tool_find(TOOL_SEG, argv[i]);
		err = sid < 0 ? sid : seg_ctl(sid, SEG_CTL_LOCK_RESET);
		if (err)
			status = tool_error(err, "seg %s", argv[i]);
	}
	return status;
}
