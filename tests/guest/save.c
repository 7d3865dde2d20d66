// SPDX-License-Identifier: GPL-2.0-only
/*
 * VASes that are saved and loaded: all of them comes back, of one moment, or
 * nothing does.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pvvas.h>

#include "saved.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define OTHER	((char *)VAS_WINDOW_FIRST + 64 * MIB)
#define MIB	(1UL << 20)
#define PAGE	4096UL

struct item {
	struct item *next;
	size_t value;
};

/* A list in a heap, which goes on in a second segment. */
static void build(int sid, size_t n)
{
	struct item *head = NULL, *item;

	check_eq(seg_heap_init(sid), 0);
	while (n--) {
		item = seg_malloc(sid, sizeof(*item));
		check(item);
		*item = (struct item){ head, n };
		head = item;
	}
	*seg_root(sid) = head;
}

static void ask(int sid, size_t n)
{
	struct item *item = *seg_root(sid);
	size_t i;

	for (i = 0; i < n; i++, item = item->next)
		check_eq(item->value, i);
	check(!item);
	check_eq(seg_heap_check(sid), 0);
	item = seg_malloc(sid, 1000);
	check(item);
	check_eq(seg_free(sid, item), 0);
}

static void a_heap_with_pointers_comes_back_and_is_used_at_once(void)
{
	const char *name = tcase_name("heap"), *folder = saved_folder("heap");
	struct seg_attr attr = { .size = sizeof(attr) };
	int vid = saved_make(name, 64 * MIB), sid = check_id(seg_find(name));

	build(sid, 20000);
	check_eq(saved_save(vid, folder, NULL), 0);
	saved_switch(VAS_HOME);
	saved_forget(name, name);
	check_eq(vas_find(name), -ENOENT);
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	sid = check_id(seg_find(name));
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &attr), 0);
	check(attr.base == BASE);
	check_eq(attr.length, 64 * MIB);
	/* holes are holes still */
	check(attr.resident < 4 * MIB);
	saved_enter(name);
	ask(sid, 20000);
	saved_switch(VAS_HOME);
	saved_remove(folder);
}

/*
 * Two VASes that share a segment, one of them with a segment where the other one
 * has another; one without a name; one that may only be read.
 */
static void several_vases_come_back_with_what_they_share(void)
{
	const char *a = tcase_name("a"), *b = tcase_name("b");
	const char *shared = tcase_name("shared"), *folder = saved_folder("two");
	struct vas_attr va = { .size = sizeof(va) };
	int vids[2] = { tcase_vas(a, 0640), tcase_vas(b, 0604) }, sid, prot, vh;
	int common = tcase_seg(shared, OTHER, MIB, 0640);

	check_eq(seg_attach(vids[0], common), 0);
	check_eq(seg_attach_prot(vids[1], common, PROT_READ), 0);
	check_eq(seg_attach(vids[0], tcase_seg(NULL, BASE, MIB, 0600)), 0);
	check_eq(seg_attach(vids[1], tcase_seg(NULL, BASE, 2 * MIB, 0600)), 0);
	va.valid = VAS_ATTR_EXPIRY;
	va.expiry = 10000;
	check_eq(vas_ctl(VAS_CTL_SETATTR, vids[1], &va), 0);
	saved_switch(check_id(vas_attach(vids[0])));
	strcpy(BASE, "of a");
	strcpy(OTHER, "of both");
	vh = vas_current();
	saved_switch(check_id(vas_attach(vids[1])));
	strcpy(BASE + MIB, "of b");
	check_eq(vas_save(vids, 2, folder, NULL), 0);
	saved_switch(VAS_HOME);
	check_eq(vas_detach(vh), 0);
	saved_forget(a, shared);
	saved_forget(b, NULL);

	check_eq(vas_load(folder, NULL), 0);
	saved_track(a, shared);
	saved_track(b, NULL);
	check_eq(vas_ctl(VAS_CTL_GETATTR, vas_find(a), &va), 0);
	check_eq(va.mode, 0640);
	check_eq(va.expiry, 0);
	check_eq(vas_ctl(VAS_CTL_GETATTR, vas_find(b), &va), 0);
	check_eq(va.mode, 0604);
	check_eq(va.expiry, 10000);
	check_eq(va.uid, geteuid());
	common = seg_find(shared);
	check_eq(vas_next_seg(vas_find(b), common - 1, &prot), common);
	check_eq(prot, PROT_READ);
	check_eq(vas_next_seg(vas_find(a), common - 1, &prot), common);
	check_eq(prot, PROT_READ | PROT_WRITE);
	for (sid = 0; (sid = vas_next_seg(vas_find(b), sid, NULL)) > 0;)
		check(sid == common || seg_ctl(sid, SEG_CTL_DELETE) == -ENOENT);
	saved_enter(a);
	check(!strcmp(BASE, "of a") && !strcmp(OTHER, "of both"));
	strcpy(OTHER, "of both still");
	saved_enter(b);
	check(!strcmp(BASE + MIB, "of b") && !strcmp(OTHER, "of both still"));
	check_eq(tcase_try_write(OTHER).sig, SIGSEGV);
	saved_switch(VAS_HOME);
	saved_remove(folder);
}

static void second_faces_show_the_same_memory_again(void)
{
	const char *name = tcase_name("faces"), *folder = saved_folder("faces");
	int vid = saved_make(name, MIB), face;

	face = check_id(seg_map2(seg_find(name), OTHER));
	tcase_track_seg(face);
	check_eq(seg_attach(vid, face), 0);
	strcpy(OTHER + PAGE, "one");
	check_eq(saved_save(vid, folder, NULL), 0);
	saved_switch(VAS_HOME);
	saved_forget(name, name);
	check_eq(seg_delete(face), 0);
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	saved_enter(name);
	check(!strcmp(BASE + PAGE, "one") && !strcmp(OTHER + PAGE, "one"));
	BASE[PAGE] = 'O';
	check(!strcmp(OTHER + PAGE, "One"));
	saved_switch(VAS_HOME);
	saved_remove(folder);
}

/*
 * A writer counts in the first word of many pages, one after the other, in two
 * segments of two VASes: at each moment no page is ahead of one before it, nor
 * more than one behind it.
 */
#define COUNTERS	16

struct race {
	int vids[2];
	atomic_int rounds;
	atomic_bool stop;
};

static _Atomic uint64_t *counter(char *base, int i)
{
	return (_Atomic uint64_t *)(base + (size_t)i * 3 * PAGE);
}

/* What has no switch without the library's locks writes with them (lockable). */
static void count_up(void *arg)
{
	int vhs[2], i;
	struct race *race = arg;
	uint64_t n;

	vhs[0] = check_id(vas_attach(race->vids[0]));
	vhs[1] = check_id(vas_attach(race->vids[1]));
	for (n = 1; !atomic_load(&race->stop); n++) {
		saved_switch(vhs[0]);
		for (i = 0; i < COUNTERS; i++)
			atomic_store(counter(BASE, i), n);
		saved_switch(vhs[1]);
		for (i = 0; i < COUNTERS; i++)
			atomic_store(counter(BASE, i), n);
		atomic_fetch_add(&race->rounds, 1);
	}
	saved_switch(VAS_HOME);
}

static uint64_t check_counters(const char *name, uint64_t first)
{
	uint64_t n = first, now;
	int i;

	saved_enter(name);
	for (i = 0; i < COUNTERS; i++) {
		now = atomic_load(counter(BASE, i));
		n = n ? n : now;
		check(now <= n && now + 1 >= first);
		n = now;
		first = first ? first : now;
	}
	saved_switch(VAS_HOME);
	return n;
}

static void what_is_saved_while_others_write_is_one_moment(void)
{
	const char *a = tcase_name("a"), *b = tcase_name("b");
	const char *folder = saved_folder("moment");
	struct race *race = tcase_shared(sizeof(*race));
	bool locked = pvvas_probe(PVVAS_FEATURE_SWITCH) != PVVAS_YES;
	int i, sids[2], last;
	uint64_t first, n;
	pid_t pid;

	for (i = 0; i < 2; i++) {
		race->vids[i] = tcase_vas(i ? b : a, 0600);
		sids[i] = tcase_seg(i ? b : a, BASE, MIB, 0600);
		/* the software backend stops no thread that takes no lock */
		if (locked)
			check_eq(seg_ctl(sids[i], SEG_CTL_LOCK_ON), 0);
		check_eq(seg_attach(race->vids[i], sids[i]), 0);
	}
	pid = tcase_spawn(count_up, race);
	while (atomic_load(&race->rounds) < 10)
		usleep(1000);
	for (i = 0; i < 10; i++) {
		last = atomic_load(&race->rounds);
		check_eq(vas_save(race->vids, 2, folder, NULL), 0);
		/* the writer goes on */
		while (atomic_load(&race->rounds) < last + 3)
			usleep(1000);
	}
	atomic_store(&race->stop, true);
	tcase_join(pid);
	check_eq(vas_delete(race->vids[0]) | vas_delete(race->vids[1]), 0);
	check_eq(seg_delete(sids[0]) | seg_delete(sids[1]), 0);
	check_eq(vas_load(folder, NULL), 0);
	saved_track(a, a);
	saved_track(b, b);
	if (locked) {
		/* one of the two may have been in the middle of a change */
		saved_remove(folder);
		return;
	}
	saved_enter(a);
	first = atomic_load(counter(BASE, 0));
	saved_switch(VAS_HOME);
	check(first >= 10);
	n = check_counters(a, first);
	check(check_counters(b, n) + 1 >= first);
	saved_remove(folder);
}

/* Pairs that are equal whenever no thread has the lock. */
struct locked {
	int vid;
	int sid;
	atomic_int inside;
	atomic_bool stop;
};

static void change_in_pairs(void *arg)
{
	struct locked *l = arg;
	int vh = check_id(vas_attach(l->vid));
	uint64_t n;

	for (n = 1; !atomic_load(&l->stop); n++) {
		saved_switch(vh);
		*(_Atomic uint64_t *)BASE = n;
		*(_Atomic uint64_t *)(BASE + 200 * PAGE) = n;
		saved_switch(VAS_HOME);
		atomic_fetch_add(&l->inside, 1);
	}
}

static void what_is_written_with_the_lock_is_whole_or_told(void)
{
	const char *name = tcase_name("pairs"), *folder = saved_folder("pairs");
	struct locked *l = tcase_shared(sizeof(*l));
	int i, ret, vh, whole = 0;
	pid_t pid;

	l->vid = tcase_vas(name, 0600);
	l->sid = tcase_seg(name, BASE, MIB, 0600);
	check_eq(seg_ctl(l->sid, SEG_CTL_LOCK_ON), 0);
	check_eq(seg_attach(l->vid, l->sid), 0);
	pid = tcase_spawn(change_in_pairs, l);
	while (atomic_load(&l->inside) < 10)
		usleep(1000);
	for (i = 0; i < 10; i++) {
		check_eq(saved_save(check_id(vas_find(name)), folder, NULL), 0);
		/* the writer has the VAS that has no name now */
		saved_forget(name, name);
		check_eq(saved_load(folder, NULL), 0);
		saved_track(name, name);
		vh = check_id(vas_attach(vas_find(name)));
		ret = vas_switch(vh);
		check(!ret || ret == -EOWNERDEAD);
		if (!ret) {
			whole++;
			check(*(uint64_t *)BASE >= 10);
			check_eq(*(uint64_t *)BASE, *(uint64_t *)(BASE + 200 * PAGE));
		} else {
			/* in order, as the next one is a copy of this one */
			*(uint64_t *)(BASE + 200 * PAGE) = *(uint64_t *)BASE;
			check_eq(seg_ctl(seg_find(name), SEG_CTL_CONSISTENT), 0);
		}
		saved_switch(VAS_HOME);
		saved_switch(vh);
		saved_switch(VAS_HOME);
		check_eq(vas_detach(vh), 0);
	}
	atomic_store(&l->stop, true);
	tcase_join(pid);
	tcase_note("%d of 10 were whole", whole);
	saved_remove(folder);
}

static void hold_the_lock(void *arg)
{
	struct locked *l = arg;

	saved_switch(check_id(vas_attach(l->vid)));
	strcpy(BASE, "half");
	atomic_store(&l->inside, 1);
	while (!atomic_load(&l->stop))
		usleep(1000);
	saved_switch(VAS_HOME);
}

static void a_held_lock_is_one_death_and_a_lost_one_is_lost(void)
{
	const char *name = tcase_name("held"), *folder = saved_folder("held");
	struct locked *l = tcase_shared(sizeof(*l));
	pid_t pid;
	int vh;

	l->vid = tcase_vas(name, 0600);
	l->sid = tcase_seg(name, BASE, MIB, 0600);
	check_eq(seg_ctl(l->sid, SEG_CTL_LOCK_ON), 0);
	check_eq(seg_attach(l->vid, l->sid), 0);
	pid = tcase_spawn(hold_the_lock, l);
	while (!atomic_load(&l->inside))
		usleep(1000);
	check_eq(saved_save(l->vid, folder, NULL), 0);
	atomic_store(&l->stop, true);
	tcase_join(pid);
	/* saving has done nothing to the lock */
	vh = check_id(vas_attach(l->vid));
	saved_switch(vh);
	saved_switch(VAS_HOME);
	check_eq(vas_detach(vh), 0);
	saved_forget(name, name);
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	vh = check_id(vas_attach(vas_find(name)));
	check_eq(vas_switch(vh), -EOWNERDEAD);
	check(!strcmp(BASE, "half"));
	check_eq(seg_ctl(seg_find(name), SEG_CTL_CONSISTENT), 0);
	saved_switch(VAS_HOME);
	saved_switch(vh);
	saved_switch(VAS_HOME);
	check_eq(vas_detach(vh), 0);
	saved_forget(name, name);

	/* once more, and it is not repaired */
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	vh = check_id(vas_attach(vas_find(name)));
	check_eq(vas_switch(vh), -EOWNERDEAD);
	saved_switch(VAS_HOME);
	check_eq(vas_switch(vh), -ENOTRECOVERABLE);
	check_eq(saved_save(vas_find(name), folder, NULL), 0);
	check_eq(vas_detach(vh), 0);
	saved_forget(name, name);
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	vh = check_id(vas_attach(vas_find(name)));
	check_eq(vas_switch(vh), -ENOTRECOVERABLE);
	check_eq(seg_ctl(seg_find(name), SEG_CTL_LOCK_RESET), 0);
	saved_switch(vh);
	saved_switch(VAS_HOME);
	saved_remove(folder);
}

static uint64_t bytes;

static void add_bytes(const char *path)
{
	struct stat st;

	check_eq(stat(path, &st), 0);
	bytes += (uint64_t)st.st_size;
}

static uint64_t bytes_in(const char *folder)
{
	bytes = 0;
	saved_each(folder, add_bytes);
	return bytes;
}

static void since_writes_what_differs_and_keeps_the_rest(void)
{
	const char *name = tcase_name("since"), *folder = saved_folder("since");
	struct vas_save_options options = { .flags = VAS_SAVE_SINCE };
	int vid = saved_make(name, 16 * MIB), i, j;
	uint64_t whole;

	for (i = 0; i < 1024; i++)
		BASE[(size_t)i * PAGE] = (char)(i + 1) ? (char)(i + 1) : 1;
	/* there is nothing yet: all of it */
	check_eq(saved_save(vid, folder, &options), 0);
	check(options.bytes >= 1020 * PAGE);
	check(options.written > options.bytes);
	whole = options.bytes;
	options.flags = VAS_SAVE_SINCE;
	BASE[10 * PAGE] = 'x';
	BASE[3000 * PAGE] = 'y';
	check_eq(saved_save(vid, folder, &options), 0);
	check_eq(options.bytes, whole + PAGE);
	check(options.written < 8 * PAGE);
	tcase_note("2 of %lu pages: %lu bytes written", whole / PAGE, options.written);
	/* pages that are gone, and pages of zeroes */
	check_eq(seg_discard(seg_find(name), BASE + 20 * PAGE, 4 * PAGE), 0);
	memset(BASE + 30 * PAGE, 0, 2 * PAGE);
	check_eq(saved_save(vid, folder, &options), 0);
	check_eq(options.bytes, whole - 5 * PAGE);
	/* many changes to the same pages do not make the folder grow on and on */
	for (j = 0; j < 40; j++) {
		for (i = 100; i < 200; i++)
			BASE[(size_t)i * PAGE] = (char)(j + 50);
		check_eq(saved_save(vid, folder, &options), 0);
	}
	check(bytes_in(folder) < 3 * whole);
	check(saved_each(folder, NULL) < 40);
	saved_switch(VAS_HOME);
	saved_forget(name, name);
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	saved_enter(name);
	for (i = 0; i < 1024; i++) {
		char want = i == 10 ? 'x' : (i >= 20 && i < 24) || i == 30 || i == 31 ?
			0 : i >= 100 && i < 200 ? 39 + 50 :
			(char)(i + 1) ? (char)(i + 1) : 1;

		check_eq(BASE[(size_t)i * PAGE], want);
	}
	check_eq(BASE[3000 * PAGE], 'y');
	saved_switch(VAS_HOME);
	saved_remove(folder);
}

static const struct tcase cases[] = {
	CASE(a_heap_with_pointers_comes_back_and_is_used_at_once),
	CASE(several_vases_come_back_with_what_they_share),
	CASE(second_faces_show_the_same_memory_again),
	CASE(what_is_saved_while_others_write_is_one_moment),
	CASE(what_is_written_with_the_lock_is_whole_or_told),
	CASE(a_held_lock_is_one_death_and_a_lost_one_is_lost),
	CASE(since_writes_what_differs_and_keeps_the_rest),
};

TCASE_MAIN(cases, 0)
