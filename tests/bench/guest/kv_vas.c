// SPDX-License-Identifier: GPL-2.0-only
/*
 * The store in a segment.  Clients switch in: into a VAS that shows it
 * read-only for GET, into another one for SET.  With a lockable segment the
 * switch takes its lock as well.
 */
#include <sys/mman.h>

#include <pvvas.h>

#include "bench.h"
#include "kv.h"

#define BASE	((void *)VAS_WINDOW_FIRST)

static int sid, reading, writing;	/* segment and VASes */
static int to_read, to_write;		/* handles */

static void open_store(unsigned int keys, size_t room, bool lockable)
{
	int vh;

	sid = bench_id(seg_alloc(NULL, BASE, kv_bytes(keys, room), 0600));
	reading = bench_id(vas_create(NULL, 0600));
	writing = bench_id(vas_create(NULL, 0600));
	bench_id(seg_attach_prot(reading, sid, PROT_READ));
	bench_id(seg_attach(writing, sid));
	vh = bench_id(vas_attach(writing));
	bench_id(vas_switch(vh));
	kv_make(BASE, keys, room);
	vas_switch(VAS_HOME);
	bench_id(vas_detach(vh));
	if (lockable)
		bench_id(seg_ctl(sid, SEG_CTL_LOCK_ON));
}

static void open_plain(unsigned int clients, unsigned int keys, size_t room)
{
	(void)clients;
	open_store(keys, room, false);
}

static void open_locked(unsigned int clients, unsigned int keys, size_t room)
{
	(void)clients;
	open_store(keys, room, true);
}

static void join(unsigned int client)
{
	(void)client;
	to_read = bench_id(vas_attach(reading));
	to_write = bench_id(vas_attach(writing));
}

static ssize_t get(const char *key, char *value, size_t room)
{
	int err = vas_switch(to_read);
	ssize_t ret;

	if (err)
		return err;
	ret = kv_get(BASE, key, value, room);
	vas_switch(VAS_HOME);
	return ret;
}

static int set(const char *key, const char *value, size_t length)
{
	int err = vas_switch(to_write);

	if (err)
		return err;
	err = kv_set(BASE, key, value, length);
	vas_switch(VAS_HOME);
	return err;
}

static void leave(void)
{
	bench_id(vas_detach(to_read));
	bench_id(vas_detach(to_write));
}

static void close_store(void)
{
	bench_id(vas_delete(reading));
	bench_id(vas_delete(writing));
	bench_id(seg_delete(sid));
}

const struct kv_way kv_vas = {
	"vas", 1000, open_plain, join, get, set, leave, close_store
};

const struct kv_way kv_vas_locked = {
	"vas_locked", 200, open_locked, join, get, set, leave, close_store
};
