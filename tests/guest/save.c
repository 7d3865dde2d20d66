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

static void enter(int vh)
{
	check_eq(vas_switch(vh), 0);
}

static void enter_name(const char *name)
{
	enter(check_id(vas_attach(check_id(vas_find(name)))));
}

/* A named VAS with one segment of this name, which the thread is in. */
static int make(const char *name, size_t size)
{
	int vid = tcase_vas(name, 0640);

	check_eq(seg_attach(vid, tcase_seg(name, BASE, size, 0600)), 0);
	enter(check_id(vas_attach(vid)));
	return vid;
}

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
	int vid = make(name, 64 * MIB), sid = check_id(seg_find(name));

	build(sid, 20000);
	check_eq(saved_save(vid, folder, NULL), 0);
	enter(VAS_HOME);
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
	enter_name(name);
	ask(sid, 20000);
	enter(VAS_HOME);
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
	enter(check_id(vas_attach(vids[0])));
	strcpy(BASE, "of a");
	strcpy(OTHER, "of both");
	vh = vas_current();
	enter(check_id(vas_attach(vids[1])));
	strcpy(BASE + MIB, "of b");
	check_eq(vas_save(vids, 2, folder, NULL), 0);
	enter(VAS_HOME);
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
	enter_name(a);
	check(!strcmp(BASE, "of a") && !strcmp(OTHER, "of both"));
	strcpy(OTHER, "of both still");
	enter_name(b);
	check(!strcmp(BASE + MIB, "of b") && !strcmp(OTHER, "of both still"));
	check_eq(tcase_try_write(OTHER).sig, SIGSEGV);
	enter(VAS_HOME);
	saved_remove(folder);
}

static void second_faces_show_the_same_memory_again(void)
{
	const char *name = tcase_name("faces"), *folder = saved_folder("faces");
	int vid = make(name, MIB), face;

	face = check_id(seg_map2(seg_find(name), OTHER));
	tcase_track_seg(face);
	check_eq(seg_attach(vid, face), 0);
	strcpy(OTHER + PAGE, "one");
	check_eq(saved_save(vid, folder, NULL), 0);
	enter(VAS_HOME);
	saved_forget(name, name);
	check_eq(seg_delete(face), 0);
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	enter_name(name);
	check(!strcmp(BASE + PAGE, "one") && !strcmp(OTHER + PAGE, "one"));
	BASE[PAGE] = 'O';
	check(!strcmp(OTHER + PAGE, "One"));
	enter(VAS_HOME);
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
		enter(vhs[0]);
		for (i = 0; i < COUNTERS; i++)
			atomic_store(counter(BASE, i), n);
		enter(vhs[1]);
		for (i = 0; i < COUNTERS; i++)
			atomic_store(counter(BASE, i), n);
		atomic_fetch_add(&race->rounds, 1);
	}
	enter(VAS_HOME);
}

static uint64_t check_counters(const char *name, uint64_t first)
{
	uint64_t n = first, now;
	int i;

	enter_name(name);
	for (i = 0; i < COUNTERS; i++) {
		now = atomic_load(counter(BASE, i));
		n = n ? n : now;
		check(now <= n && now + 1 >= first);
		n = now;
		first = first ? first : now;
	}
	enter(VAS_HOME);
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
		/* the software backend stops nobody who takes no lock */
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
	enter_name(a);
	first = atomic_load(counter(BASE, 0));
	enter(VAS_HOME);
	check(first >= 10);
	n = check_counters(a, first);
	check(check_counters(b, n) + 1 >= first);
	saved_remove(folder);
}

/* Pairs that are equal whenever nobody has the lock. */
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
		enter(vh);
		*(_Atomic uint64_t *)BASE = n;
		*(_Atomic uint64_t *)(BASE + 200 * PAGE) = n;
		enter(VAS_HOME);
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
			check_eq(seg_ctl(seg_find(name), SEG_CTL_CONSISTENT), 0);
		}
		enter(VAS_HOME);
		enter(vh);
		enter(VAS_HOME);
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

	enter(check_id(vas_attach(l->vid)));
	strcpy(BASE, "half");
	atomic_store(&l->inside, 1);
	while (!atomic_load(&l->stop))
		usleep(1000);
	enter(VAS_HOME);
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
	enter(vh);
	enter(VAS_HOME);
	check_eq(vas_detach(vh), 0);
	saved_forget(name, name);
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	vh = check_id(vas_attach(vas_find(name)));
	check_eq(vas_switch(vh), -EOWNERDEAD);
	check(!strcmp(BASE, "half"));
	check_eq(seg_ctl(seg_find(name), SEG_CTL_CONSISTENT), 0);
	enter(VAS_HOME);
	enter(vh);
	enter(VAS_HOME);
	check_eq(vas_detach(vh), 0);
	saved_forget(name, name);

	/* once more, and nobody repairs it */
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	vh = check_id(vas_attach(vas_find(name)));
	check_eq(vas_switch(vh), -EOWNERDEAD);
	enter(VAS_HOME);
	check_eq(vas_switch(vh), -ENOTRECOVERABLE);
	check_eq(saved_save(vas_find(name), folder, NULL), 0);
	check_eq(vas_detach(vh), 0);
	saved_forget(name, name);
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	vh = check_id(vas_attach(vas_find(name)));
	check_eq(vas_switch(vh), -ENOTRECOVERABLE);
	check_eq(seg_ctl(seg_find(name), SEG_CTL_LOCK_RESET), 0);
	enter(vh);
	enter(VAS_HOME);
	saved_remove(folder);
}

static uint64_t bytes_in(const char *folder)
{
	static uint64_t sum;
	void add(const char *path)
	{
		struct stat st;

		check_eq(stat(path, &st), 0);
		sum += (uint64_t)st.st_size;
	}

	sum = 0;
	saved_each(folder, add);
	return sum;
}

static void since_writes_what_differs_and_keeps_the_rest(void)
{
	const char *name = tcase_name("since"), *folder = saved_folder("since");
	struct vas_save_options options = { .flags = VAS_SAVE_SINCE };
	int vid = make(name, 16 * MIB), i, j;
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
	enter(VAS_HOME);
	saved_forget(name, name);
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	enter_name(name);
	for (i = 0; i < 1024; i++) {
		char want = i == 10 ? 'x' : (i >= 20 && i < 24) || i == 30 || i == 31 ?
			0 : i >= 100 && i < 200 ? 39 + 50 :
			(char)(i + 1) ? (char)(i + 1) : 1;

		check_eq(BASE[(size_t)i * PAGE], want);
	}
	check_eq(BASE[3000 * PAGE], 'y');
	enter(VAS_HOME);
	saved_remove(folder);
}

static void names_that_are_taken_are_refused_and_nothing_is_made(void)
{
	const char *name = tcase_name("taken"), *folder = saved_folder("taken");
	struct pvvas_stats before = { .size = sizeof(before) };
	struct pvvas_stats after = { .size = sizeof(after) };
	int vid = make(name, MIB);

	strcpy(BASE, "first");
	enter(VAS_HOME);
	check_eq(saved_save(vid, folder, NULL), 0);
	check_eq(pvvas_stats(&before), 0);
	check_eq(saved_load(folder, NULL), -EEXIST);
	check(strstr(saved_message, "vas ") && strstr(saved_message, name));
	saved_forget(name, NULL);
	check_eq(saved_load(folder, NULL), -EEXIST);
	check(strstr(saved_message, "seg ") && strstr(saved_message, name));
	check_eq(pvvas_stats(&after), 0);
	check_eq(before.segs, after.segs);
	saved_forget(NULL, name);
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	check_eq(saved_load(folder, NULL), -EEXIST);
	saved_remove(folder);
}

static void what_cannot_be_saved_is_refused_and_the_old_set_stays(void)
{
	const char *name = tcase_name("bad"), *folder = saved_folder("bad");
	struct {
		struct vas_save_options known;
		uint64_t unknown;
	} more = { { .size = sizeof(more) }, 0 };
	struct vas_save_options options = { .size = 1 };
	int vid = make(name, MIB), none = tcase_vas(NULL, 0600), two[2] = { vid, vid };

	strcpy(BASE, "good");
	enter(VAS_HOME);
	check_eq(saved_save(vid, folder, NULL), 0);
	check_eq(saved_save(none, folder, NULL), -EINVAL);
	check(strstr(saved_message, "has no name"));
	check_eq(vas_save(two, 2, folder, NULL), -EINVAL);
	check_eq(vas_save(two, 0, folder, NULL), -EINVAL);
	check_eq(vas_save(NULL, 1, folder, NULL), -EINVAL);
	check_eq(vas_save(&vid, 1, NULL, NULL), -EINVAL);
	check_eq(vas_load(NULL, NULL), -EINVAL);
	check_eq(vas_save(&vid, 1, folder, &options), -EINVAL);
	check_eq(vas_save(&vid, 1, folder, &more.known), 0);
	more.unknown = 1;
	check_eq(vas_save(&vid, 1, folder, &more.known), -E2BIG);
	check_eq(vas_load(folder, &more.known), -E2BIG);
	options = (struct vas_save_options){ .flags = 1U << 30 };
	check_eq(saved_save(vid, folder, &options), -EINVAL);
	check_eq(saved_load(folder, &options), -EINVAL);
	check_eq(saved_save(1 << 29, folder, NULL), -ENOENT);
	check_eq(saved_save(vid, "/proc/none/there", NULL), -ENOENT);
	check_eq(saved_load("/proc/none", NULL), -ENOENT);
	check_eq(saved_load("/proc", NULL), -ENOENT);
	check(!strcmp(saved_message, "manifest"));
	saved_forget(name, name);
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	enter_name(name);
	check(!strcmp(BASE, "good"));
	enter(VAS_HOME);
	saved_remove(folder);
}

/* What the program keeps elsewhere would be zeroes after loading. */
static void what_a_copy_would_not_have_is_refused(void)
{
	const char *name = tcase_name("paged"), *folder = saved_folder("paged");
	int vid = make(name, 8 * MIB), sid = seg_find(name), part;

	strcpy(BASE, "here");
	enter(VAS_HOME);
	check_eq(seg_pager(sid, 1), 0);
	check_eq(saved_save(vid, folder, NULL), -EOPNOTSUPP);
	check(strstr(saved_message, name) && strstr(saved_message, "pager"));
	check_eq(seg_pager(sid, 0), 0);
	check_eq(saved_save(vid, folder, NULL), 0);
	/* written here and there they would be two memories */
	part = check_id(seg_map2_range(sid, BASE + 2 * MIB, 2 * MIB, OTHER));
	tcase_track_seg(part);
	check_eq(seg_attach(vid, part), 0);
	check_eq(saved_save(vid, folder, NULL), -EOPNOTSUPP);
	check(strstr(saved_message, "part of another"));
	check_eq(seg_detach(vid, part), 0);
	/* the first part begins where the whole does */
	part = check_id(seg_map2_range(sid, BASE, 2 * MIB, OTHER));
	tcase_track_seg(part);
	check_eq(seg_attach(vid, part), 0);
	check_eq(saved_save(vid, folder, NULL), -EOPNOTSUPP);
	check_eq(seg_detach(vid, part), 0);
	check_eq(saved_save(vid, folder, NULL), 0);
	saved_remove(folder);
}

/* Who may not read a segment cannot save it; nor own what is another user's. */
static void as_nobody(void *arg)
{
	const char *const *args = arg;
	struct vas_save_options options = { .flags = VAS_LOAD_OWN };
	struct vas_attr attr = { .size = sizeof(attr) };

	check_eq(setgid(65534) | setuid(65534), 0);
	check_eq(saved_save(check_id(vas_find(args[0])), args[1], NULL), -EACCES);
	check_eq(saved_load(args[2], NULL), -EPERM);
	check(strstr(saved_message, "of user 0"));
	check_eq(vas_find(args[3]), -ENOENT);
	check_eq(saved_load(args[2], &options), 0);
	saved_track(args[3], args[3]);
	check_eq(vas_ctl(VAS_CTL_GETATTR, vas_find(args[3]), &attr), 0);
	check_eq(attr.uid, 65534);
	enter_name(args[3]);
	check(!strcmp(BASE, "secret no more"));
	enter(VAS_HOME);
}

static void owners_and_rights_are_kept(void)
{
	const char *name = tcase_name("roots"), *folder = saved_folder("none");
	const char *given = tcase_name("given"), *open = saved_folder("given");
	struct vas_attr attr = { .size = sizeof(attr) };
	const char *args[] = { name, folder, open, given };
	int vid;

	tcase_need(PVVAS_FEATURE_SWITCH);
	vid = make(name, MIB);
	attr.valid = VAS_ATTR_MODE;
	attr.mode = 0644;
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &attr), 0);
	vid = make(given, MIB);
	strcpy(BASE, "secret no more");
	enter(VAS_HOME);
	attr.valid = VAS_ATTR_GID;
	attr.gid = 5;
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &attr), 0);
	check_eq(saved_save(vid, open, NULL), 0);
	saved_forget(given, given);
	check_eq(saved_load(open, NULL), 0);
	check_eq(vas_ctl(VAS_CTL_GETATTR, check_id(vas_find(given)), &attr), 0);
	check_eq(attr.uid, 0);
	check_eq(attr.gid, 5);
	saved_forget(given, given);
	check_eq(chmod(open, 0755), 0);
	void readable(const char *path)
	{
		check_eq(chmod(path, 0644), 0);
	}
	saved_each(open, readable);
	tcase_join(tcase_spawn(as_nobody, args));
	saved_remove(open);
}

/* A user's folder that says that something is root's; a folder for all. */
static void a_folder_decides_for_its_owner_alone(void)
{
	struct vas_save_options options = { .flags = VAS_LOAD_OWN };
	const char *name = tcase_name("whose"), *folder = saved_folder("whose");
	int vid = make(name, MIB);

	if (geteuid())
		tcase_skip("only root gives folders away");
	enter(VAS_HOME);
	check_eq(saved_save(vid, folder, NULL), 0);
	saved_forget(name, name);
	check_eq(chown(folder, 65534, 65534), 0);
	check_eq(saved_load(folder, NULL), -EPERM);
	check(strstr(saved_message, "folder of user 65534"));
	check_eq(chown(folder, 0, 0) | chmod(folder, 0770), 0);
	check_eq(saved_load(folder, NULL), -EPERM);
	check_eq(vas_find(name), -ENOENT);
	check_eq(saved_load(folder, &options), 0);
	saved_forget(name, name);
	check_eq(chmod(folder, 0755), 0);
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
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
	CASE(names_that_are_taken_are_refused_and_nothing_is_made),
	CASE(what_cannot_be_saved_is_refused_and_the_old_set_stays),
	CASE(what_a_copy_would_not_have_is_refused),
	CASE(owners_and_rights_are_kept),
	CASE(a_folder_decides_for_its_owner_alone),
};

TCASE_MAIN(cases, 0)
