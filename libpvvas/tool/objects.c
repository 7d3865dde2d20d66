// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas create, rm, chmod, expire, attach, detach, unlock.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <pvvas.h>

#include "tool.h"

/* "0,2-3": a bit for each; false if it is no such list */
static bool node_list(const char *text, uint64_t *nodes)
{
	unsigned long from, to;
	char *end;

	*nodes = 0;
	do {
		if (*text < '0' || *text > '9')
			return false;
		from = to = strtoul(text, &end, 10);
		if (*end == '-') {
			if (end[1] < '0' || end[1] > '9')
				return false;
			to = strtoul(end + 1, &end, 10);
		}
		if (from > to || to > 63)
			return false;
		for (; from <= to; from++)
			*nodes |= 1ULL << from;
		text = end + 1;
	} while (*end == ',');
	return !*end;
}

/* What stands alone. */
static bool create_flag(const char *word, struct seg_options *options)
{
	static const struct {
		const char *word;
		uint32_t flag;
	} flags[] = {
		{ "--huge", SEG_HUGE }, { "--small", SEG_SMALL },
		{ "--populate", SEG_POPULATE }, { "--lock", SEG_LOCK },
		{ "--dump", SEG_DUMP }, { "--hugetlb", SEG_HUGETLB },
		{ "--no-reserve", SEG_NORESERVE },
	};
	size_t i;

	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (strcmp(word, flags[i].word))
			continue;
		options->flags |= flags[i].flag;
		return true;
	}
	return false;
}

/* What has a list of nodes. */
static bool create_policy(const char *word, const char *nodes,
			  struct seg_options *options)
{
	static const char * const policies[] = {
		[SEG_NUMA_PREFERRED] = "--prefer",
		[SEG_NUMA_BIND] = "--bind",
		[SEG_NUMA_INTERLEAVE] = "--interleave",
	};
	uint32_t i;

	for (i = SEG_NUMA_PREFERRED; i <= SEG_NUMA_INTERLEAVE; i++)
		if (!strcmp(word, policies[i]) && !options->policy) {
			options->policy = i;
			return node_list(nodes, &options->nodes);
		}
	return false;
}

/* A mask, as numbers are written in C. */
static bool create_colors(const char *word, const char *mask,
			  struct seg_options *options)
{
	char *end;

	if (strcmp(word, "--colors"))
		return false;
	errno = 0;
	options->colors = strtoull(mask, &end, 0);
	return end != mask && !*end && !errno && options->colors;
}

#define HUGETLB_PAGE	(2UL << 20)

/* A segment that has pages of hugetlbfs, which this process takes for it. */
static int create_hugetlb(const char *name, uint64_t base, uint64_t size,
			  mode_t mode, struct seg_options *options)
{
	const char *why;
	int id;

	if (size % HUGETLB_PAGE || base % HUGETLB_PAGE) {
		why = "with --hugetlb, size and base are multiples of 2M";
		return tool_error_text(-EINVAL, why, "seg %s", name);
	}
	options->memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (options->memory == MAP_FAILED) {
		why = "/proc/sys/vm/nr_hugepages allows no more pages";
		return tool_error_text(-errno, why, "seg %s", name);
	}
	id = seg_alloc_with(name, (void *)(uintptr_t)base, size, mode, options);
	munmap(options->memory, size);
	if (id < 0)
		return tool_error(id, "seg %s", name);
	printf(tool_json ? "{\"id\":%d}\n" : "%d\n", id);
	return TOOL_OK;
}

int cmd_create(int argc, char **argv)
{
	struct seg_options options = { .size = sizeof(options) };
	uint64_t base = 0, size = 0;
	enum tool_kind kind;
	mode_t mode = 0600;
	int i, id, first;

	if (argc < 2 || !tool_kind(argv[0], &kind))
		return tool_usage();
	first = kind == TOOL_SEG ? 3 : 2;
	if (kind == TOOL_SEG && (argc < 3 || !tool_size(argv[2], &size)))
		return tool_usage();
	for (i = first; i < argc; i++) {
		if (kind == TOOL_SEG && create_flag(argv[i], &options))
			continue;
		if (++i == argc)
			return tool_usage();
		if (!strcmp(argv[i - 1], "-m") && tool_mode(argv[i], &mode))
			continue;
		if (kind == TOOL_SEG && !strcmp(argv[i - 1], "-b") &&
		    tool_size(argv[i], &base))
			continue;
		if (kind == TOOL_SEG &&
		    (create_policy(argv[i - 1], argv[i], &options) ||
		     create_colors(argv[i - 1], argv[i], &options)))
			continue;
		return tool_usage();
	}
	if (options.flags & SEG_HUGETLB)
		return create_hugetlb(argv[1], base, size, mode, &options);
	id = kind == TOOL_VAS ? vas_create(argv[1], mode) :
		seg_alloc_with(argv[1], (void *)(uintptr_t)base, size, mode,
			       &options);
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

static const char *why_not_resized(int err, uint64_t size, size_t now)
{
	switch (err) {
	case -EEXIST:
		return "another segment is in the way, where this one is attached";
	case -EINVAL:
		return size < now ? "a segment does not get smaller" : NULL;
	case -ERANGE:
		return "it would not be in the window, or be larger than its memory";
	}
	return NULL;
}

int cmd_resize(int argc, char **argv)
{
	size_t now = 0;
	uint64_t size;
	const char *why;
	void *base;
	int sid, err;

	if (argc != 2 || !tool_size(argv[1], &size))
		return tool_usage();
	sid = tool_find(TOOL_SEG, argv[0]);
	err = sid < 0 ? sid : seg_range(sid, &base, &now);
	if (!err)
		err = seg_resize(sid, size);
	if (!err)
		return TOOL_OK;
	why = why_not_resized(err, size, now);
	return why ? tool_error_text(err, why, "resize %s", argv[0]) :
		     tool_error(err, "resize %s", argv[0]);
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
