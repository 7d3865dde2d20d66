// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>

#include "life.h"

#define TRIES	16

static struct flock byte_lock(uint32_t number)
{
	return (struct flock){
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)number,
		.l_len = 1,
	};
}

int pvvas_life_hold(int fd, uint32_t *number)
{
	struct flock lock;
	uint32_t n;
	int i;

	for (i = 0; i < TRIES; i++) {
		if (getrandom(&n, sizeof(n), 0) != sizeof(n))
			return -errno;
		if (!n)
			continue;
		lock = byte_lock(n);
		if (!fcntl(fd, F_OFD_SETLK, &lock)) {
			*number = n;
			return 0;
		}
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
	}
	return -EAGAIN;
}

int pvvas_life_held(int fd, uint32_t number)
{
	struct flock lock = byte_lock(number);

	if (fcntl(fd, F_OFD_GETLK, &lock))
		return -errno;
	return lock.l_type != F_UNLCK;
}
