/* SPDX-License-Identifier: GPL-2.0-only */
/* Files of the kernel, for test programs of the guest: a call that fails is the case's failure. */
#ifndef FILES_H
#define FILES_H

/* Write @value, in one call. */
void file_put(const char *path, const char *value);
/* Make it empty. */
void file_clear(const char *path);
/* All of a text, until the next call: at most 1 MiB. */
char *file_contents(const char *path);
/* Mount the file system @type at @where, unless one is mounted there. */
void file_mount(const char *type, const char *where);

#endif /* FILES_H */
