// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "saved.h"
#include "tcase.h"

char saved_message[512];

const char *saved_folder(const char *stem)
{
	static char paths[4][PATH_MAX];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "/tmp/%s", tcase_name(stem));
	saved_remove(path);
	return path;
}

static void remove_one(const char *path)
{
	unlink(path);
}

void saved_remove(const char *folder)
{
	saved_each(folder, remove_one);
	rmdir(folder);
}

int saved_each(const char *folder, void (*fn)(const char *path))
{
	struct dirent *entry;
	char path[PATH_MAX];
	DIR *dir = opendir(folder);
	int n = 0;

	while (dir && (entry = readdir(dir))) {
		if (*entry->d_name == '.')
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", folder,
			     entry->d_name) >= (int)sizeof(path))
			continue;
		if (fn)
			fn(path);
		n++;
	}
	if (dir)
		closedir(dir);
	return n;
}

static struct vas_save_options *with_message(struct vas_save_options *options)
{
	static struct vas_save_options plain;

	if (!options) {
		memset(&plain, 0, sizeof(plain));
		options = &plain;
	}
	options->size = sizeof(*options);
	options->message = saved_message;
	options->message_size = sizeof(saved_message);
	return options;
}

void saved_switch(int vh)
{
	check_eq(vas_switch(vh), 0);
}

void saved_enter(const char *name)
{
	saved_switch(check_id(vas_attach(check_id(vas_find(name)))));
}

int saved_make(const char *name, size_t size)
{
	int sid = tcase_seg(name, (void *)VAS_WINDOW_FIRST, size, 0600);
	int vid = tcase_vas(name, 0640);

	check_eq(seg_attach(vid, sid), 0);
	saved_switch(check_id(vas_attach(vid)));
	return vid;
}

int saved_save(int vid, const char *folder, struct vas_save_options *options)
{
	return vas_save(&vid, 1, folder, with_message(options));
}

int saved_load(const char *folder, struct vas_save_options *options)
{
	return vas_load(folder, with_message(options));
}

void saved_forget(const char *vas, const char *seg)
{
	int id = vas ? vas_find(vas) : 0;

	if (id > 0)
		check_eq(vas_delete(id), 0);
	id = seg ? seg_find(seg) : 0;
	if (id > 0)
		check_eq(seg_delete(id), 0);
}

void saved_track(const char *vas, const char *seg)
{
	if (vas)
		tcase_track_vas(check_id(vas_find(vas)));
	if (seg)
		tcase_track_seg(check_id(seg_find(seg)));
}

uint32_t saved_crc32c(const unsigned char *p, size_t n)
{
	uint32_t crc = ~0U;
	int bit;

	while (n--)
		for (crc ^= *p++, bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78U : 0);
	return ~crc;
}
