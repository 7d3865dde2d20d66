// SPDX-License-Identifier: GPL-2.0-only
/*
 * Segments that grow: where they show, what is in their way, the right to it, and what lives in
 * them.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <pvvas.h>

#include "saved.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define GIB	(1UL << 30)
#define PAGE	4096UL
#define NOBODY	1000

/* Into the VAS, or into what it shows by now where others do not see it at once. */
static void enter(int vh)
{
	check_eq(vas_switch(vh), 0);
}

/* Another user, where users have objects in common: not with the software backend. */
static bool become_another(void)
{
	if (geteuid() || pvvas_probe(PVVAS_FEATURE_SWITCH) != PVVAS_YES)
		return false;
	tcase_become(NOBODY);
	return true;
}

static size_t size_of(int sid)
{
	size_t size;
	void *base;

	check_eq(seg_range(sid, &base, &size), 0);
	return size;
}

static bool shows(const char *p)
{
	return !tcase_try_read(p).sig;
}

/* A VAS with the segment; its handle. */
static int attached(int sid, int *vid)
{
	*vid = tcase_vas(NULL, 0666);
	check_eq(seg_attach(*vid, sid), 0);
	return check_id(vas_attach(*vid));
}

/* Over the ends of a page, of tables of each level, and of one that has several. */
static const size_t sizes[] = {
	PAGE, 3 * PAGE, 2 * MIB, 2 * MIB + PAGE, 5 * MIB, GIB - 2 * MIB, GIB, GIB + PAGE,
	3 * GIB + 10 * MIB, 600 * GIB, 1500 * GIB,
};

#define NR_SIZES	(sizeof(sizes) / sizeof(sizes[0]))

struct stage {
	atomic_uint step, seen;
	int vid, sid;
};

static void look_at_each_size(void *arg)
{
	struct stage *stage = arg;
	int vh = check_id(vas_attach(stage->vid));
	bool at_once = pvvas_probe(PVVAS_FEATURE_SWITCH) == PVVAS_YES;
	unsigned int i, j;

	enter(vh);
	for (i = 0; i < NR_SIZES; i++) {
		while (atomic_load(&stage->step) <= i)
			usleep(100);
		/* the driver's VAS shows it without another switch */
		if (!at_once)
			enter(vh);
		for (j = 0; j < i; j++)
			check_eq(BASE[sizes[j] - 1], (char)j + 1);
		check(shows(BASE + sizes[i] - PAGE));
		check_eq(BASE[sizes[i] - 1], 0);
		check(!shows(BASE + sizes[i]));
		BASE[sizes[i] - 1] = (char)i + 1;
		atomic_store(&stage->seen, i + 1);
	}
	enter(VAS_HOME);
}

static void a_segment_grows_in_every_view_at_once(void)
{
	struct stage *stage = tcase_shared(sizeof(*stage));
	unsigned int i;
	pid_t other;
	int vh;

	stage->sid = tcase_seg(NULL, BASE, sizes[0], 0600);
	vh = attached(stage->sid, &stage->vid);
	other = tcase_spawn(look_at_each_size, stage);
	for (i = 0; i < NR_SIZES; i++) {
		enter(VAS_HOME);
		check_eq(seg_resize(stage->sid, sizes[i] - (i % 2) * 100), 0);
		check_eq(size_of(stage->sid), sizes[i]);
		atomic_store(&stage->step, i + 1);
		while (atomic_load(&stage->seen) <= i && !kill(other, 0))
			usleep(100);
		enter(vh);
		check_eq(BASE[sizes[i] - 1], (char)i + 1);
	}
	tcase_join(other);
	/* what has grown goes as any other */
	check_eq(seg_detach(stage->vid, stage->sid), 0);
	check(!shows(BASE) && !shows(BASE + GIB));
	enter(VAS_HOME);
}

/* GiB that it shares with others at its old end and at its new one. */
static void neighbours_at_both_ends_stay(void)
{
	char *at = BASE + 4 * MIB, *behind = BASE + 2 * GIB + 4 * MIB;
	int low = tcase_seg(NULL, BASE, MIB, 0600);
	int sid = tcase_seg(NULL, at, MIB, 0600);
	int high = tcase_seg(NULL, behind, MIB, 0600);
	int vid, vh = attached(low, &vid), i;

	check_eq(seg_attach(vid, sid), 0);
	check_eq(seg_attach(vid, high), 0);
	enter(vh);
	BASE[0] = 1;
	at[0] = 2;
	behind[0] = 3;
	check_eq(seg_resize(sid, 2 * GIB + PAGE), -EEXIST);
	check_eq(seg_resize(sid, 2 * GIB - PAGE), 0);
	check_eq(seg_resize(sid, 2 * GIB), 0);
	check_eq(seg_resize(sid, 2 * GIB + PAGE), -EEXIST);
	for (i = 0; i < 2; i++) {
		enter(vh);
		if (!i)
			at[GIB] = at[2 * GIB - 1] = 4;
		check_eq(BASE[0], 1);
		check_eq(at[0], 2);
		check_eq(behind[0], 3);
		check_eq(at[GIB], 4);
		check_eq(at[2 * GIB - 1], 4);
		check_eq(seg_detach(vid, sid), 0);
		check(!shows(at) && !shows(at + GIB));
		check_eq(behind[0], 3);
		check_eq(seg_attach(vid, sid), 0);
	}
	enter(VAS_HOME);
}

struct other {
	int vid, sid;
	atomic_int vh, over;
};

/* A private segment behind the one of the VAS, of another process. */
static void be_in_the_way(void *arg)
{
	struct other *o = arg;
	int vh, sid;

	become_another();
	vh = check_id(vas_attach(o->vid));
	sid = check_id(seg_alloc(NULL, BASE + 8 * MIB, MIB, 0600));
	check_eq(seg_attach(vh, sid), 0);
	atomic_store(&o->vh, vh);
	while (!atomic_load(&o->over))
		usleep(100);
	check_eq(seg_detach(vh, sid), 0);
	check_eq(seg_delete(sid), 0);
}

/* Everything is as before, and what was to be taken is free. */
static void check_small(int vid, int sid, int vh)
{
	int filler = tcase_seg(NULL, BASE + 2 * MIB, MIB, 0600);

	check_eq(size_of(sid), MIB);
	check_eq(seg_attach(vid, filler), 0);
	enter(vh);
	check(shows(BASE) && !shows(BASE + MIB) && shows(BASE + 2 * MIB));
	check_eq(seg_detach(vid, filler), 0);
	check(!shows(BASE + 2 * MIB));
	enter(VAS_HOME);
	check_eq(seg_delete(filler), 0);
}

static void what_is_attached_behind_is_in_the_way(void)
{
	struct other *o = tcase_shared(sizeof(*o));
	int sid = tcase_seg(NULL, BASE, MIB, 0666), vid, vh = attached(sid, &vid);
	int second = tcase_vas(NULL, 0600), third = tcase_vas(NULL, 0600);
	int behind = tcase_seg(NULL, BASE + 8 * MIB, MIB, 0600);
	pid_t pid;

	/* in another VAS that has it, which comes after the first one */
	check_eq(seg_attach(second, sid), 0);
	check_eq(seg_attach(second, behind), 0);
	check_eq(seg_attach(third, sid), 0);
	check_eq(seg_resize(sid, 8 * MIB + PAGE), -EEXIST);
	check_small(vid, sid, vh);
	check_eq(seg_detach(second, behind), 0);

	/* by this process, to its own handle */
	check_eq(seg_attach(vh, behind), 0);
	check_eq(seg_resize(sid, 8 * MIB + PAGE), -EEXIST);
	check_small(vid, sid, vh);
	check_eq(seg_detach(vh, behind), 0);

	/* by another one */
	o->vid = vid;
	pid = tcase_spawn(be_in_the_way, o);
	while (!atomic_load(&o->vh) && !kill(pid, 0))
		usleep(100);
	check_eq(seg_resize(sid, 8 * MIB + PAGE), -EEXIST);
	check_small(vid, sid, vh);
	atomic_store(&o->over, 1);
	tcase_join(pid);

	check_eq(seg_resize(sid, 8 * MIB + PAGE), 0);
	check_eq(seg_attach(third, behind), -EEXIST);
	check_eq(seg_attach(vh, behind), -EEXIST);
	enter(vh);
	check(shows(BASE + 8 * MIB) && !shows(BASE + 8 * MIB + PAGE));
	enter(VAS_HOME);
}

static void a_private_segment_grows_but_not_into_the_vas(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0600);
	int own = tcase_seg(NULL, BASE + 4 * MIB, MIB, 0600);
	int late = tcase_seg(NULL, BASE + 4 * MIB, 8 * MIB, 0600);
	int behind = tcase_seg(NULL, BASE + 16 * MIB, MIB, 0600);
	int vid, vh = attached(sid, &vid);

	check_eq(seg_attach(vid, behind), 0);
	check_eq(seg_attach(vh, own), 0);
	check_eq(seg_resize(own, 12 * MIB + PAGE), -EEXIST);
	check_eq(seg_resize(own, 6 * MIB), 0);
	/* what comes to the VAS there is hidden, and shows when the private one goes */
	check_eq(seg_attach(vid, late), 0);
	enter(vh);
	BASE[9 * MIB] = 7;
	check(!shows(BASE + 11 * MIB));
	/* nor does it grow over more of what it hides wrongly */
	check_eq(seg_resize(own, 12 * MIB), 0);
	enter(vh);
	check_eq(BASE[9 * MIB], 7);
	check(shows(BASE + 11 * MIB));
	enter(VAS_HOME);
	check_eq(seg_detach(vh, own), 0);
	enter(vh);
	check_eq(BASE[9 * MIB], 0);
	check(shows(BASE + 11 * MIB) && shows(BASE + 16 * MIB));
	enter(VAS_HOME);
}

static void resize_as_another(void *arg)
{
	if (!become_another())
		return;
	check_eq(seg_resize(*(int *)arg, 2 * MIB), -EPERM);
	check_eq(seg_resize(*(int *)arg, MIB), -EPERM);
	check_eq(seg_resize(*(int *)arg, PAGE), -EPERM);
}

static void only_the_owner_resizes_and_it_only_grows(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0666), gone;

	tcase_join(tcase_spawn(resize_as_another, &sid));
	check_eq(seg_resize(sid, MIB), 0);
	check_eq(seg_resize(sid, MIB - PAGE + 1), 0);
	check_eq(seg_resize(sid, MIB - PAGE), -EINVAL);
	check_eq(seg_resize(sid, 0), -EINVAL);
	check_eq(seg_resize(0, MIB), -EINVAL);
	check_eq(seg_resize(-1, MIB), -EINVAL);
	check_eq(seg_resize(sid, SIZE_MAX), -EINVAL);
	check_eq(seg_resize(sid, SIZE_MAX - 2 * PAGE), -ERANGE);
	check_eq(seg_resize(sid, 1UL << 46), -ERANGE);
	check_eq(size_of(sid), MIB);
	gone = check_id(seg_alloc(NULL, NULL, PAGE, 0600));
	check_eq(seg_delete(gone), 0);
	check_eq(seg_resize(gone, MIB), -ENOENT);
}

static void clones_and_faces_keep_their_size(void)
{
	char *other = BASE + 64 * MIB;
	int sid = tcase_seg(NULL, BASE, 2 * MIB, 0600), copy, face, vid, cvid, vh;

	copy = check_id(seg_clone(sid));
	tcase_track_seg(copy);
	face = check_id(seg_map2(sid, other));
	tcase_track_seg(face);
	vh = attached(sid, &vid);
	check_eq(seg_attach(vid, face), 0);
	check_eq(seg_resize(face, 2 * MIB + PAGE), -ERANGE);
	check_eq(seg_resize(sid, 6 * MIB), 0);
	check_eq(size_of(copy), 2 * MIB);
	check_eq(size_of(face), 2 * MIB);
	enter(vh);
	BASE[5 * MIB] = 5;
	check(!shows(other + 2 * MIB));
	/* a face grows into what there is */
	check_eq(seg_resize(face, 6 * MIB + PAGE), -ERANGE);
	check_eq(seg_resize(face, 6 * MIB), 0);
	enter(vh);
	check_eq(other[5 * MIB], 5);
	*(volatile char *)(other + 6 * MIB - 1) = 6;
	check_eq(*(volatile char *)(BASE + 6 * MIB - 1), 6);
	enter(VAS_HOME);
	/* a clone grows by itself, and one made now has it all */
	check_eq(seg_resize(copy, 4 * MIB), 0);
	check_eq(size_of(sid), 6 * MIB);
	cvid = check_id(vas_clone(vid));
	tcase_track_vas(cvid);
	enter(check_id(vas_attach(cvid)));
	check_eq(BASE[5 * MIB], 5);
	enter(VAS_HOME);
}

static void use_heap(void *arg)
{
	const struct other *o = arg;
	void **root;

	enter(check_id(vas_attach(o->vid)));
	root = seg_root(o->sid);
	check(root && *root);
	check_eq(strcmp(*root, "before"), 0);
	check_eq(seg_free(o->sid, *root), 0);
	*root = seg_malloc(o->sid, 100);
	check(*root);
	check_eq(seg_heap_check(o->sid), 0);
	enter(VAS_HOME);
}

static void a_heap_keeps_its_size_and_is_used_as_before(void)
{
	struct seg_heap_stat stat = { .size = sizeof(stat) };
	struct other o = {};
	char *word;
	int vh;

	o.sid = tcase_seg(NULL, BASE, MIB, 0600);
	vh = attached(o.sid, &o.vid);
	enter(vh);
	word = seg_malloc(o.sid, 16);
	check(word);
	strcpy(word, "before");
	*seg_root(o.sid) = word;
	check_eq(seg_resize(o.sid, 4 * MIB), 0);
	enter(vh);
	BASE[3 * MIB] = 1;
	check(seg_malloc(o.sid, 100000));
	check(!seg_malloc(o.sid, MIB));
	enter(VAS_HOME);
	/* a process that opens it now */
	tcase_join(tcase_spawn(use_heap, &o));
	enter(vh);
	check_eq(seg_heap_check(o.sid), 0);
	check_eq(seg_heap_stat(o.sid, &stat), 0);
	check(stat.bytes < MIB);
	check_eq(BASE[3 * MIB], 1);
	enter(VAS_HOME);
}

static int fill_page(const struct seg_fault *fault, void *arg)
{
	static char data[PAGE];
	char *page = (char *)((uintptr_t)fault->addr & ~(PAGE - 1));

	(*(int *)arg)++;
	data[0] = 9;
	return seg_fill(fault->sid, page, data, PAGE) == 1 ? SEG_TRAP_RESUME :
							     SEG_TRAP_PASS;
}

static void traps_and_pagers_have_the_new_pages_too(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0600), vid, vh = attached(sid, &vid);
	int asked = 0;

	check_eq(seg_pager(sid, 1), 0);
	check_eq(seg_trap(sid, fill_page, &asked), 0);
	enter(vh);
	check_eq(*(volatile char *)BASE, 9);
	check_eq(seg_resize(sid, 4 * MIB), 0);
	enter(vh);
	check_eq(*(volatile char *)(BASE + 3 * MIB), 9);
	check_eq(asked, 2);
	enter(VAS_HOME);
	check_eq(seg_trap(sid, NULL, NULL), 0);
}

static void protections_and_dirty_pages_hold(void)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0600), vid, vh = attached(sid, &vid);
	void *pages[4];

	enter(vh);
	check_eq(seg_prot1(sid, BASE, PROT_NONE), 0);
	check_eq(seg_dirty(sid, BASE, MIB, pages, 4), 0);
	check_eq(seg_resize(sid, 4 * MIB), 0);
	enter(vh);
	check(!shows(BASE));
	BASE[3 * MIB] = 1;
	check_eq(seg_dirty(sid, BASE, 4 * MIB, pages, 4), 1);
	check(pages[0] == BASE + 3 * MIB);
	check_eq(seg_prot1(sid, BASE + 3 * MIB, PROT_READ), 0);
	check_eq(tcase_try_write(BASE + 3 * MIB).sig, SIGSEGV);
	enter(VAS_HOME);
}

static void lock_too_much(void *arg)
{
	const struct rlimit little = { 2 * MIB, 2 * MIB };
	int sid;

	(void)arg;
	check_eq(setrlimit(RLIMIT_MEMLOCK, &little), 0);
	tcase_become(NOBODY);
	sid = check_id(tcase_seg_with(NULL, BASE, MIB, 0600, SEG_LOCK));
	check_eq(seg_resize(sid, 2 * MIB + PAGE), -EPERM);
	check_eq(seg_resize(sid, 2 * MIB), 0);
	check_eq(seg_resize(sid, 2 * MIB + PAGE), -EPERM);
	check_eq(seg_delete(sid), 0);
	/* as much again: it was given back */
	sid = check_id(tcase_seg_with(NULL, BASE, 2 * MIB, 0600, SEG_LOCK));
	check_eq(seg_delete(sid), 0);
}

static void a_locked_segment_has_all_its_pages(void)
{
	struct seg_attr attr = { .size = sizeof(attr) };
	int sid, vid;

	tcase_need(PVVAS_FEATURE_SWITCH);
	sid = tcase_seg_with(NULL, BASE, MIB, 0600, SEG_LOCK);
	attached(sid, &vid);
	check_eq(seg_resize(sid, 5 * MIB + PAGE), 0);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &attr), 0);
	check_eq(attr.resident, 5 * MIB + PAGE);
	/* nor are there pages where the program itself makes them */
	check_eq(seg_pager(sid, 1), 0);
	check_eq(seg_resize(sid, 6 * MIB), -ENXIO);
	check_eq(seg_pager(sid, 0), 0);
	/* what cannot be had changes nothing */
	check_eq(seg_resize(sid, 1UL << 40), -ENOMEM);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &attr), 0);
	check_eq(attr.resident, 5 * MIB + PAGE);
	check_eq(attr.length, 5 * MIB + PAGE);
	tcase_join(tcase_spawn(lock_too_much, NULL));
}

static void a_file_stays_as_long_as_it_is(void)
{
	char path[256];
	int sid, vid;
	FILE *f;

	snprintf(path, sizeof(path), "%s", saved_folder("file"));
	sid = check_id(seg_open(path, BASE, 2 * PAGE, SEG_OPEN_CREATE));
	tcase_track_seg(sid);
	check_eq(seg_resize(sid, 4 * MIB), 0);
	enter(attached(sid, &vid));
	BASE[PAGE] = 1;
	BASE[2 * PAGE] = BASE[3 * MIB] = 2;
	check_eq(seg_sync(sid, BASE, 2 * PAGE), 0);
	check_eq(seg_sync(sid, BASE, 4 * MIB), -ERANGE);
	check_eq(seg_sync(sid, BASE + 3 * MIB, PAGE), -ERANGE);
	enter(VAS_HOME);
	f = fopen(path, "r");
	check(f && !fseek(f, 0, SEEK_END));
	check_eq(ftell(f), 2 * PAGE);
	fclose(f);
	check_eq(unlink(path), 0);
}

static void what_has_grown_is_saved_as_it_is(void)
{
	const char *name = tcase_name("grown"), *folder = saved_folder("set");
	struct vas_save_options o = { .size = sizeof(o) };
	int vid = saved_make(name, MIB), sid = seg_find(name);

	BASE[0] = 1;
	check_eq(saved_save(vid, folder, &o), 0);
	check_eq(seg_resize(sid, 5 * MIB), 0);
	saved_switch(VAS_HOME);
	saved_enter(name);
	BASE[5 * MIB - 1] = 2;
	/* the one before was of another size */
	o.flags = VAS_SAVE_SINCE;
	check_eq(saved_save(vid, folder, &o), 0);
	saved_switch(VAS_HOME);
	saved_forget(name, name);
	check_eq(saved_load(folder, NULL), 0);
	saved_track(name, name);
	check_eq(size_of(check_id(seg_find(name))), 5 * MIB);
	saved_enter(name);
	check_eq(BASE[0], 1);
	check_eq(BASE[5 * MIB - 1], 2);
	saved_switch(VAS_HOME);
	saved_remove(folder);
}

static const struct tcase cases[] = {
	CASE(a_segment_grows_in_every_view_at_once),
	CASE(neighbours_at_both_ends_stay),
	CASE(what_is_attached_behind_is_in_the_way),
	CASE(a_private_segment_grows_but_not_into_the_vas),
	CASE(only_the_owner_resizes_and_it_only_grows),
	CASE(clones_and_faces_keep_their_size),
	CASE(a_heap_keeps_its_size_and_is_used_as_before),
	CASE(traps_and_pagers_have_the_new_pages_too),
	CASE(protections_and_dirty_pages_hold),
	CASE(a_locked_segment_has_all_its_pages),
	CASE(a_file_stays_as_long_as_it_is),
	CASE(what_has_grown_is_saved_as_it_is),
};

TCASE_MAIN(cases, 0)
