/* SPDX-License-Identifier: GPL-2.0-only */
/* Folders of saved sets, for test programs. */
#ifndef SAVED_H
#define SAVED_H

#include <stddef.h>
#include <stdint.h>

#include <pvvas.h>

/* A folder that is not there yet, of this case only; a static buffer for each of 4 calls. */
const char *saved_folder(const char *stem);
void saved_remove(const char *folder);
/* fn() for each file in it, by its whole path; how many there are. */
int saved_each(const char *folder, void (*fn)(const char *path));
/* A named VAS with one segment of this name at VAS_WINDOW_FIRST, which the thread is in; its id. */
int saved_make(const char *name, size_t size);
/* Into a VAS, by handle or by name. */
void saved_switch(int vh);
void saved_enter(const char *name);
/* vas_save() of one VAS, vas_load(): what they return, and what they say. */
int saved_save(int vid, const char *folder, struct vas_save_options *options);
int saved_load(const char *folder, struct vas_save_options *options);
extern char saved_message[512];
/* Delete a VAS or segment by its name, if there is one. */
void saved_forget(const char *vas, const char *seg);
/* Are they there now?  Deleted after the case. */
void saved_track(const char *vas, const char *seg);

/* As docs/save-format.md says, and not the library. */
uint32_t saved_crc32c(const unsigned char *p, size_t n);

#endif /* SAVED_H */
