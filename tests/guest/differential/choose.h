/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DIFFERENTIAL_CHOOSE_H
#define DIFFERENTIAL_CHOOSE_H

#include "model.h"

#define FIRST		((uintptr_t)VAS_WINDOW_FIRST)

/* The model that the arguments are chosen from. */
extern struct model *m;

/* Each makes an argument of the number @r. */
int some_vas(unsigned int r);
int some_seg(unsigned int r);
int some_handle(unsigned int r);
mode_t some_mode(unsigned int r);
const char *some_name(unsigned int r);
const char *shown(const char *name);
size_t some_size(unsigned int r);
uintptr_t some_base(unsigned int r);
uintptr_t some_page(unsigned int r, int sid);
size_t some_length(unsigned int r, int sid);
int some_prot(unsigned int r);

/* A number that is no more; another call may be made with it. */
void was_vas(int vid);
void was_seg(int sid);
void was_handle(int handle);

#endif /* DIFFERENTIAL_CHOOSE_H */
