// SPDX-License-Identifier: GPL-2.0-only
/* A server with its keyspace in a VAS, and a connection to it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#include "client.h"

/* Where sockets, files and logs go: a folder of this case. */
static const char *folder(void)
{
	static char path[80];
	const char *tmp = getenv("TMPDIR");

	snprintf(path, sizeof(path), "%.60s/redis-%d", tmp ? tmp : "/tmp",
		 (int)getpid());
	return path;
}

static void run(const struct server *s, const char *option, const char *value)
{
	int log = open("server.log", O_WRONLY | O_CREAT | O_APPEND, 0600);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(log, 1);
	dup2(log, 2);
	execlp("redis-server", "redis-server", "--port", "0", "--unixsocket",
	       s->socket, "--save", "", "--vas", s->name,
	       "--vas-size", "64mb", option, value, NULL);
	_exit(127);
}

int server_connect(const struct server *s)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), i;

	strcpy(to.sun_path, s->socket);
	for (i = 0; i < 1000; i++) {
		if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
			return fd;
		if (s->pid > 0 && waitpid(s->pid, NULL, WNOHANG) == s->pid)
			tcase_fail(__FILE__, __LINE__, "the server ended, see "
				   "%s/server.log", folder());
		usleep(10000);
	}
	tcase_fail(__FILE__, __LINE__, "the server does not answer");
}

/* Both VASes go when the case ends. */
static void track(const struct server *s)
{
	char reading[80];

	snprintf(reading, sizeof(reading), "%s.read", s->name);
	tcase_track_vas(check_id(vas_find(reading)));
	tcase_track_vas(check_id(vas_find(s->name)));
}

void server_start(struct server *s, const char *name, const char *option,
		  const char *value)
{
	if (name != s->name)
		snprintf(s->name, sizeof(s->name), "%s",
			 name ? name : tcase_name("redis"));
	mkdir(folder(), 0700);
	check(!chdir(folder()));
	snprintf(s->socket, sizeof(s->socket), "%s/socket", folder());
	unlink(s->socket);
	s->pid = fork();
	if (!s->pid)
		run(s, option, value);
	s->fd = server_connect(s);
	if (!name)
		track(s);
}

void server_kill(struct server *s)
{
	kill(s->pid, SIGKILL);
	tcase_join_killed(s->pid, SIGKILL);
	close(s->fd);
}

void server_shutdown(struct server *s)
{
	send_all(s->fd, "SHUTDOWN NOSAVE\r\n", 17);
	tcase_join(s->pid);
	close(s->fd);
}

bool send_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

bool read_line(int fd, char *line, size_t room)
{
	size_t n = 0;
	char c = 0;

	while (c != '\n') {
		if (read(fd, &c, 1) != 1)
			return false;
		if (c != '\r' && c != '\n' && n + 1 < room)
			line[n++] = c;
	}
	line[n] = 0;
	return true;
}

/* A bulk string without its length, else the line as it came. */
static void reply(int fd, char *text, size_t room)
{
	check(read_line(fd, text, room));
	if (text[0] == '$' && text[1] != '-')
		check(read_line(fd, text, room));
}

void ask(int fd, char *text, size_t room, ...)
{
	char out[1024];
	const char *word;
	size_t len;
	int words = 0;
	va_list ap;

	va_start(ap, room);
	while (va_arg(ap, const char *))
		words++;
	va_end(ap);
	len = (size_t)snprintf(out, sizeof(out), "*%d\r\n", words);
	va_start(ap, room);
	while ((word = va_arg(ap, const char *)))
		len += (size_t)snprintf(out + len, sizeof(out) - len,
					"$%zu\r\n%s\r\n", strlen(word), word);
	va_end(ap);
	check(send_all(fd, out, len));
	reply(fd, text, room);
}
