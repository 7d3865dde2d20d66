// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The loader: one file, one segment, one VAS.  It builds the index inside the
 * VAS and exits; what it built stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pvvas.h>

#include "demo.h"
#include "index.h"

/* The file's bytes, or NULL with errno set; 0 bytes are an error, too. */
static char *read_file(const char *file, size_t *size)
{
	char *text = NULL;
	size_t done = 0;
	struct stat st;
	ssize_t n = 1;
	int fd;

	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) < 0)
		goto out;
	text = mmap(NULL, st.st_size ? (size_t)st.st_size : 1,
		    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (text == MAP_FAILED) {
		text = NULL;
		goto out;
	}
	while (done < (size_t)st.st_size && n > 0) {
		n = read(fd, text + done, (size_t)st.st_size - done);
		if (n > 0)
			done += (size_t)n;
	}
	if (n < 0)
		text = NULL;
	*size = done;
out:
	close(fd);
	return text;
}

int demo_load(const char *file, const char *vas)
{
	size_t text_size, size;
	int vid, sid, vh, err;
	struct index *ix;
	char *text;

	text = read_file(file, &text_size);
	if (!text)
		return demo_fail("%s: %s", file, strerror(errno));
	if (!text_size)
		return demo_fail("%s: empty file", file);
	if (text_size > UINT32_MAX)
		return demo_fail("%s: larger than 4 GiB", file);
	size = index_size(text_size);

	vid = vas_create(vas, 0600);
	if (vid < 0)
		return demo_fail("vas_create: %s", demo_error(vid));
	sid = seg_alloc(vas, demo_base(), size, 0600);
	if (sid < 0)
		return demo_fail("seg_alloc of %zu bytes: %s", size, demo_error(sid));
	err = seg_attach(vid, sid);
	if (err)
		return demo_fail("seg_attach: %s", demo_error(err));
	vh = vas_attach(vid);
	if (vh < 0)
		return demo_fail("vas_attach: %s", demo_error(vh));
	err = vas_switch(vh);
	if (err)
		return demo_fail("vas_switch: %s", demo_error(err));
	ix = index_build(demo_base(), size, text, text_size);
	vas_switch(VAS_HOME);
	return ix ? 0 : demo_fail("%s: the index does not fit", file);
}
