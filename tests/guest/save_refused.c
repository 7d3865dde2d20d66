// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is neither saved nor loaded, and is said: names that are taken, what a copy would
 * not have, what is another user's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pvvas.h>

#include "saved.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define OTHER	((char *)VAS_WINDOW_FIRST + 64 * MIB)
#define MIB	(1UL << 20)

static void names_that_are_taken_are_refused_and_nothing_is_made(void)
{
	const char *name = tcase_name("taken"), *folder = saved_folder("taken");
	struct pvvas_stats before = { .size = sizeof(before) };
	struct pvvas_stats after = { .size = sizeof(after) };
	int vid = saved_make(name, MIB);

	strcpy(BASE, "first");
	saved_switch(VAS_HOME);
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
	int vid = saved_make(name, MIB), none = tcase_vas(NULL, 0600), two[2] = { vid, vid };

	strcpy(BASE, "good");
	saved_switch(VAS_HOME);
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
	saved_enter(name);
	check(!strcmp(BASE, "good"));
	saved_switch(VAS_HOME);
	saved_remove(folder);
}

/* What the program keeps elsewhere would be zeroes after loading. */
static void what_a_copy_would_not_have_is_refused(void)
{
	const char *name = tcase_name("paged"), *folder = saved_folder("paged");
	int vid = saved_make(name, 8 * MIB), sid = seg_find(name), part;

	strcpy(BASE, "here");
	saved_switch(VAS_HOME);
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

/* A user that may not read a segment cannot save it, nor own another user's. */
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
	saved_enter(args[3]);
	check(!strcmp(BASE, "secret no more"));
	saved_switch(VAS_HOME);
}

static void readable(const char *path)
{
	check_eq(chmod(path, 0644), 0);
}

static void owners_and_rights_are_kept(void)
{
	const char *name = tcase_name("roots"), *folder = saved_folder("none");
	const char *given = tcase_name("given"), *open = saved_folder("given");
	struct vas_attr attr = { .size = sizeof(attr) };
	const char *args[] = { name, folder, open, given };
	int vid;

	tcase_need(PVVAS_FEATURE_SWITCH);
	vid = saved_make(name, MIB);
	attr.valid = VAS_ATTR_MODE;
	attr.mode = 0644;
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &attr), 0);
	vid = saved_make(given, MIB);
	strcpy(BASE, "secret no more");
	saved_switch(VAS_HOME);
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
	saved_each(open, readable);
	tcase_join(tcase_spawn(as_nobody, args));
	saved_remove(open);
}

/* A user's folder that says that something is root's; a folder for all. */
static void a_folder_decides_for_its_owner_alone(void)
{
	struct vas_save_options options = { .flags = VAS_LOAD_OWN };
	const char *name = tcase_name("whose"), *folder = saved_folder("whose");
	int vid = saved_make(name, MIB);

	if (geteuid())
		tcase_skip("only root gives folders away");
	saved_switch(VAS_HOME);
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
	CASE(names_that_are_taken_are_refused_and_nothing_is_made),
	CASE(what_cannot_be_saved_is_refused_and_the_old_set_stays),
	CASE(what_a_copy_would_not_have_is_refused),
	CASE(owners_and_rights_are_kept),
	CASE(a_folder_decides_for_its_owner_alone),
};

TCASE_MAIN(cases, 0)
