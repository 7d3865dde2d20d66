/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signs of life without a driver: a thread, or a process, holds a lock on one byte
 * of a file that all know, and others look whether it is still held.
 *
 * The byte's number is drawn at random from 2^62 and names the holder.  The
 * kernel drops the lock with the last reference to the open file, and that is a
 * mapping, which goes with the thread or with the address space: at exit, when
 * killed and at exec, whatever the process does to its descriptors.  It does
 * not matter which pid namespaces the two are in, or that pids are used again.
 *
 * Any process that can open the file can hold any number: it is one user's own.
 */
#ifndef PVVAS_SOFT_LIFE_H
#define PVVAS_SOFT_LIFE_H

#include <stdint.h>

/*
 * Once, before there are other handlers of a fork that lock what is held around
 * the calls below.  0 or -errno.
 */
int soft_life_init(void);
/*
 * The token of the calling thread, not 0, held by a mapping of @path in the
 * folder @dir, which is made if it is not there.  0 or -errno.
 *
 * A thread that ends by a bare exit system call holds it until the process
 * ends; so does, for its parent, a child made by a bare clone().
 */
int soft_life_hold(int dir, const char *path, uint64_t *token);
/*
 * The same of the process: held until it ends or executes another program.  A
 * child of fork() gets another one.
 */
int soft_life_process(int dir, const char *path, uint64_t *token);
/* 1: a thread or a process holds it.  0: none does.  -errno: unknown. */
int soft_life_held(int dir, const char *path, uint64_t token);

#endif /* PVVAS_SOFT_LIFE_H */
