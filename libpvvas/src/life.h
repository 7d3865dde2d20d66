/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signs of life: a process holds a lock on one byte of a file that all know,
 * and others look whether it is still held.
 *
 * The byte's number is drawn at random and names the process.  The kernel drops
 * the lock with the last reference to the open file.  If a mapping is what
 * refers to it, that is when the address space goes: at exit, when killed and
 * at exec, whatever the process does to its descriptors; and it does not matter
 * which pid namespaces the two are in, or that pids are used again.
 */
#ifndef PVVAS_LIFE_H
#define PVVAS_LIFE_H

#include <stdint.h>
#include <sys/stat.h>

/* A number not used by anyone, held by the open file @fd from now on. */
int pvvas_life_hold(int fd, uint32_t *number);
/* 1: held by another open file than @fd.  0: not held.  -errno: unknown. */
int pvvas_life_held(int fd, uint32_t number);

/* Two processes that have different files cannot see each other's signs. */
static inline uint16_t pvvas_life_realm(const struct stat *st)
{
	return (uint16_t)((st->st_dev * 0x9e3779b97f4a7c15ULL + st->st_ino) *
			  0xbf58476d1ce4e5b9ULL >> 48);
}

#endif /* PVVAS_LIFE_H */
