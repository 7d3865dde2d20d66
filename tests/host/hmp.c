// SPDX-License-Identifier: GPL-2.0-only
/*
 * hmp SOCKET COMMAND: one command to QEMU's monitor, its answer to standard
 * output. Exit status: 0, or 1 if the monitor is not there.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PROMPT "(qemu) "

/* Read up to the prompt; without @show only swallow it. */
static int answer(int fd, int show)
{
	char buf[65536];
	size_t len = 0;

	while (len < sizeof(buf) - 1) {
		ssize_t n = read(fd, buf + len, sizeof(buf) - 1 - len);

		if (n <= 0)
			return -1;
		len += n;
		buf[len] = 0;
		if (len >= strlen(PROMPT) &&
		    !strcmp(buf + len - strlen(PROMPT), PROMPT)) {
			if (show)
				printf("%.*s", (int)(len - strlen(PROMPT)), buf);
			return 0;
		}
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: hmp SOCKET COMMAND\n");
		return 1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", argv[1]);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    answer(fd, 0)) {
		perror(argv[1]);
		return 1;
	}
	if (dprintf(fd, "%s\n", argv[2]) < 0)
		return 1;
	/* "quit" has no prompt behind it. */
	answer(fd, 1);
	return 0;
}
