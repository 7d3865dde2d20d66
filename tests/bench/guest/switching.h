/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SWITCHING_H
#define SWITCHING_H

/* pingpong.c, alternatives.c */
void ping_pong(const char *group, const char *params, const char *who,
	       const char *over);
void ping_pongs(void);
void alternatives(void);

#endif /* SWITCHING_H */
