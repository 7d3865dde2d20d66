/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory cgroups of the case that runs, in a hierarchy that the first one
 * mounts; and files with one value.
 */
#ifndef CGROUP_H
#define CGROUP_H

/* Write to a file, which has to take it. */
void put_value(const char *dir, const char *name, const char *value);

/* A new cgroup; @limit in bytes, or "max". */
void cgroup_make(const char *name, const char *limit);
/* The calling process goes there. */
void cgroup_enter(const char *name);
/* What it is charged, in bytes. */
long cgroup_bytes(const char *name);
/* All is back and no process was killed in it: it goes. */
void cgroup_remove(const char *name);

#endif /* CGROUP_H */
