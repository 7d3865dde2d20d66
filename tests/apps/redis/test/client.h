/* SPDX-License-Identifier: GPL-2.0-only */
/* A server with its keyspace in a VAS, and a connection to it. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stddef.h>
#include <sys/types.h>

struct server {
	char name[64];		/* of the VAS */
	char socket[108];
	pid_t pid;
	int fd;			/* connected */
};

/* Start one; @name: of an earlier one's VAS, or NULL for a new one. */
void server_start(struct server *s, const char *name, const char *option,
		  const char *value);
int server_connect(const struct server *s);
void server_kill(struct server *s);
void server_shutdown(struct server *s);

/* Send a command, of words that end with NULL; the reply is put into text. */
void ask(int fd, char *text, size_t room, ...) __attribute__((sentinel));
/* The same for a reply that has to be @reply. */
#define tell(fd, reply, ...) \
	do { \
		char text__[512]; \
		ask(fd, text__, sizeof(text__), __VA_ARGS__, NULL); \
		if (strcmp(text__, reply)) \
			tcase_fail(__FILE__, __LINE__, "%s, not %s", text__, \
				   reply); \
	} while (0)
/* False if the server is gone. */
bool send_all(int fd, const char *text, size_t len);
/* One line of a reply without its end; false as above. */
bool read_line(int fd, char *line, size_t room);

#endif
