/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pvvas, the command line tool: what its files share.
 */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Exit statuses; documented in pvvas(1). */
enum {
	TOOL_OK = 0,
	TOOL_FAILED = 1,
	TOOL_USAGE = 2,
	TOOL_NOT_FOUND = 3,
	TOOL_DENIED = 4,
	TOOL_ABSENT = 5,
};

/* Set by --json before any command runs. */
extern bool tool_json;

/* "pvvas: ..." on stderr; the exit status that goes with the error. */
int tool_error(int err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The same, with a reason of the command's own. */
int tool_error_text(int err, const char *why, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* What is wrong with the variables of this library, if that is what @err comes from, or NULL. */
const char *tool_bad_environment(int err);

/* How the command is used, on stderr; TOOL_USAGE. */
int tool_usage(void);

/* What an object is called on the command line: "vas:NAME" or "seg:NAME". */
enum tool_kind { TOOL_VAS, TOOL_SEG };

/* "vas", "seg"; false if it is neither */
bool tool_kind(const char *word, enum tool_kind *kind);
/* The id of NAME, or of #ID; or -errno. */
int tool_find(enum tool_kind kind, const char *name);
/* An octal mode; false if it is none. */
bool tool_mode(const char *text, mode_t *mode);
/* Bytes, with K, M, G or T behind the number; false if it is no size. */
bool tool_size(const char *text, uint64_t *size);

/* A segment that this process has in a VAS of its own. */
struct tool_segment {
	int sid;
	int vh;
	char *base;
	size_t size;
};

/* segment.c; 0 or -errno */
int tool_open_segment(struct tool_segment *s, const char *name);
/*
 * fn(arg), at home afterwards; -EFAULT if it had to do with memory that could not be
 * accessed.  Writers of a segment can protect it at any time, or leave no memory for it.
 * A lock that is held then goes with this process.
 */
int tool_guarded(int (*fn)(void *arg), void *arg);
/* That this, or what a lock's dead holder left, is wrong with a segment. */
int tool_segment_error(int err, const char *name);

/* All objects of a kind, one after the other: walk.c */
struct tool_walk {
	enum tool_kind kind;
	int id;
	uint64_t left;
};

void tool_walk_begin(struct tool_walk *w, enum tool_kind kind);
/* The next one's id; -ENOENT: that was all; -EAGAIN: there is no end of new ones */
int tool_walk_next(struct tool_walk *w);
#define TOOL_NO_END	"objects are made as fast as they are listed"

/* The driver's control file system; guest-kernel/README.md has its lines. */
#define TOOL_CONTROL	"/sys/fs/pvvas"
#define TOOL_PROCESSES	TOOL_CONTROL "/processes"

/* Text in which nothing is a command to the terminal: see tool_print_name(). */
void tool_print_text(FILE *to, const char *text);
/*
 * A name on stdout, "-" if it has none; \xNN for each byte of it that is no
 * printable character in UTF-8.
 */
void tool_print_name(const char *name);
/* The same as one word, where others come behind it: \x20 for each blank. */
void tool_print_word(const char *name);
/* A string as JSON has it, quotes included; \uNNNN for what is not printable. */
void tool_json_string(const char *s);

/* The commands: arguments after the command's name; an exit status. */
int cmd_ls(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_create(int argc, char **argv);
int cmd_rm(int argc, char **argv);
int cmd_chmod(int argc, char **argv);
int cmd_expire(int argc, char **argv);
int cmd_resize(int argc, char **argv);
int cmd_attach(int argc, char **argv);
int cmd_detach(int argc, char **argv);
int cmd_unlock(int argc, char **argv);
int cmd_heap(int argc, char **argv);
int cmd_cp(int argc, char **argv);
int cmd_save(int argc, char **argv);
int cmd_load(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_stats(int argc, char **argv);
int cmd_doctor(int argc, char **argv);

#endif /* TOOL_H */
