// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names, modes, attributes and deletion of VASes and segments.
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define NOBODY	65534

static void a_name_is_found_until_it_is_deleted(void)
{
	const char *name = tcase_name("n");
	int vid, sid;

	check_eq(vas_find(name), -ENOENT);
	check_eq(seg_find(name), -ENOENT);
	vid = tcase_vas(name, 0600);
	check_eq(vas_find(name), vid);
	check_eq(seg_find(name), -ENOENT);
	sid = tcase_seg(name, BASE, MIB, 0600);
	check_eq(seg_find(name), sid);
	check_eq(vas_create(name, 0600), -EEXIST);
	check_eq(seg_alloc(name, BASE, MIB, 0600), -EEXIST);
	check_eq(vas_delete(vid), 0);
	check_eq(vas_find(name), -ENOENT);
	check_eq(seg_delete(sid), 0);
	check_eq(seg_find(name), -ENOENT);
}

static void the_longest_name_works(void)
{
	char name[VAS_NAME_MAX + 1];
	struct vas_attr attr = { .size = sizeof(attr) };
	int vid;

	memset(name, 'n', VAS_NAME_MAX);
	name[VAS_NAME_MAX] = '\0';
	vid = tcase_vas(name, 0600);
	check_eq(vas_find(name), vid);
	check_eq(vas_ctl(VAS_CTL_GETATTR, vid, &attr), 0);
	check(!strcmp(attr.name, name));
	name[VAS_NAME_MAX - 1] = '\0';
	check_eq(vas_find(name), -ENOENT);
}

static void an_id_is_not_used_again(void)
{
	int ids[50], i, k;

	for (i = 0; i < 50; i++) {
		ids[i] = check_id(vas_create(tcase_name("again"), 0600));
		check_eq(vas_delete(ids[i]), 0);
		for (k = 0; k < i; k++)
			check(ids[k] != ids[i]);
	}
}

static void ids_of_nothing_are_refused(void)
{
	int vid = tcase_vas(NULL, 0600), sid = tcase_seg(NULL, BASE, MIB, 0600);
	struct vas_attr va = { .size = sizeof(va) };

	check_eq(vas_attach(0x3fffffff), -ENOENT);
	check_eq(seg_attach(vid, 0x3fffffff), -ENOENT);
	check_eq(seg_attach(0x3fffffff, sid), -ENOENT);
	check_eq(seg_detach(vid, sid), -ENOENT);
	check_eq(vas_delete(0x3fffffff), -ENOENT);
	check_eq(seg_delete(0x3fffffff), -ENOENT);
	check_eq(vas_ctl(VAS_CTL_GETATTR, 0x3fffffff, &va), -ENOENT);
}

static void a_deleted_vas_lives_on_for_its_users(void)
{
	int vid, sid, vh;

	vid = tcase_vas(tcase_name("v"), 0600);
	sid = tcase_seg(tcase_name("s"), BASE, MIB, 0600);
	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_delete(vid), 0);
	check_eq(seg_delete(sid), 0);
	check_eq(vas_switch(vh), 0);
	BASE[0] = 1;
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_detach(vh), 0);
	check_eq(vas_switch(vh), -EINVAL);
}

static void attributes_are_what_was_asked_for(void)
{
	struct seg_attr sa = { .size = sizeof(sa) };
	struct vas_attr va = { .size = sizeof(va) };
	const char *name = tcase_name("attr");
	int vid = tcase_vas(name, 0640), sid, vh;

	sid = tcase_seg(name, BASE, MIB + 1, 0604);
	check_eq(vas_ctl(VAS_CTL_GETATTR, vid, &va), 0);
	check_eq(va.mode, 0640);
	check_eq(va.uid, geteuid());
	check_eq(va.gid, getegid());
	check_eq(va.users, 0);
	check(!strcmp(va.name, name));
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &sa), 0);
	check_eq(sa.mode, 0604);
	check(sa.base == BASE);
	check_eq(sa.length, MIB + 4096);
	check_eq(sa.users, 0);
	check(!strcmp(sa.name, name));
	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_ctl(VAS_CTL_GETATTR, vid, &va), 0);
	check_eq(va.users, 1);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &sa), 0);
	check_eq(sa.users, 1);
	check_eq(vas_detach(vh), 0);
}

static void attributes_can_be_changed(void)
{
	struct vas_attr va = { .size = sizeof(va), .valid = VAS_ATTR_MODE,
			       .mode = 0444 };
	struct seg_attr sa = { .size = sizeof(sa), .valid = VAS_ATTR_UID,
			       .uid = 1234, .gid = 4321 };
	int vid = tcase_vas(tcase_name("v"), 0600);
	int sid = tcase_seg(tcase_name("s"), BASE, MIB, 0600);
	bool root = !geteuid();

	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &va), 0);
	check_eq(vas_ctl(VAS_CTL_GETATTR, vid, &va), 0);
	check_eq(va.mode, 0444);
	check_eq(va.uid, geteuid());
	check_eq(va.gid, getegid());
	/* to give away is for root */
	check_eq(seg_ctl(sid, SEG_CTL_SETATTR, &sa), root ? 0 : -EPERM);
	sa.valid = VAS_ATTR_GID;
	check_eq(seg_ctl(sid, SEG_CTL_SETATTR, &sa), root ? 0 : -EPERM);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &sa), 0);
	check_eq(sa.mode, 0600);
	check_eq(sa.uid, root ? 1234 : geteuid());
	check_eq(sa.gid, root ? 4321 : getegid());
}

/* Root passes where the mode keeps the owner out. */
static void modes_bind_the_owner_too(void)
{
	int denied = geteuid() ? -EACCES : 0;
	struct vas_attr va = { .size = sizeof(va), .valid = VAS_ATTR_MODE };
	struct seg_attr sa = { .size = sizeof(sa), .valid = VAS_ATTR_MODE };
	int vid = tcase_vas(tcase_name("v"), 0400);
	int sid = tcase_seg(tcase_name("s"), BASE, MIB, 0200);
	int other = tcase_seg(NULL, BASE + 8 * MIB, MIB, 0400);
	char page[4096] = "";
	size_t at = 0, n;

	check_eq(seg_attach(vid, other), denied);
	check_eq(seg_detach(vid, other), denied);
	va.mode = 0600;
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &va), 0);
	check_eq(seg_attach(vid, sid), denied);
	check_eq(seg_attach_prot(vid, other, PROT_READ | PROT_WRITE), denied);
	check_eq(seg_detach(vid, other), geteuid() ? -ENOENT : 0);
	check_eq(seg_protect(other, BASE + 8 * MIB, 4096, PROT_READ), denied);
	check_eq(seg_pager(other, 1), denied);
	check_eq(seg_fill(other, BASE + 8 * MIB, page, 4096), geteuid() ? -EACCES : 1);
	check_eq(seg_map2(other, NULL) > 0 ? 0 : -EACCES, denied);
	check_eq(seg_next_data(sid, &at, &n), geteuid() ? -EACCES : -ENOENT);
	check_eq(seg_clone(sid) > 0 ? 0 : -EACCES, denied);
	va.mode = 0;
	sa.mode = 0;
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &va), 0);
	check_eq(seg_ctl(sid, SEG_CTL_SETATTR, &sa), 0);
	check_eq(vas_find(tcase_name("v")), geteuid() ? -EACCES : vid);
	check_eq(seg_find(tcase_name("s")), geteuid() ? -EACCES : sid);
	check_eq(vas_next_seg(vid, 0, NULL) == -EACCES, !!geteuid());
	check_eq(vas_attach(vid) > 0 ? 0 : -EACCES, denied);
	check_eq(vas_clone(vid) > 0 ? 0 : -EACCES, denied);
}

/* What the mode says later changes nothing for a handle that is there. */
static void a_handle_has_the_rights_of_the_time_it_was_made(void)
{
	struct vas_attr a = { .size = sizeof(a), .valid = VAS_ATTR_MODE,
			      .mode = 0400 };
	int vid, sid, before, after, prot;
	bool root = !geteuid();

	vid = tcase_vas_with_seg(BASE, MIB, &sid);
	before = check_id(vas_attach(vid));
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &a), 0);
	after = check_id(vas_attach(vid));
	a.mode = 0600;
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &a), 0);
	check_eq(vas_switch(before), 0);
	check_eq(tcase_try_write(BASE).sig, 0);
	check_eq(vas_switch(after), 0);
	check_eq(tcase_try_write(BASE).sig, root ? 0 : 11);
	check_eq(tcase_try_read(BASE).sig, 0);
	check_eq(vas_next_seg(before, 0, &prot), sid);
	check_eq(prot, PROT_READ | PROT_WRITE);
	check_eq(vas_next_seg(after, 0, &prot), sid);
	check_eq(prot, root ? PROT_READ | PROT_WRITE : PROT_READ);
}

static void ctl_deletes(void)
{
	int vid = tcase_vas(tcase_name("v"), 0600);
	int sid = tcase_seg(tcase_name("s"), BASE, MIB, 0600);

	check_eq(vas_ctl(VAS_CTL_DELETE, vid), 0);
	check_eq(seg_ctl(sid, SEG_CTL_DELETE), 0);
	check_eq(vas_find(tcase_name("v")), -ENOENT);
	check_eq(seg_find(tcase_name("s")), -ENOENT);
}

struct names {
	char secret[VAS_NAME_MAX + 1];
	char readable[VAS_NAME_MAX + 1];
};

static void become_nobody(void)
{
	check_eq(setgid(NOBODY), 0);
	check_eq(setuid(NOBODY), 0);
}

static void stranger(void *arg)
{
	struct vas_attr va = { .size = sizeof(va), .valid = VAS_ATTR_MODE,
			       .mode = 0777 };
	struct names *n = arg;
	int vid, sid, vh;

	become_nobody();
	vid = vas_find(n->secret);
	if (vid > 0)
		check_eq(vas_attach(vid), -EACCES);
	else
		check_eq(vid, -EACCES);
	vid = check_id(vas_find(n->readable));
	sid = check_id(seg_find(n->readable));
	check_eq(vas_delete(vid), -EPERM);
	check_eq(seg_delete(sid), -EPERM);
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &va), -EPERM);
	check_eq(seg_detach(vid, sid), -EACCES);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	check_eq(BASE[0], 1);
	check_eq(tcase_try_write(BASE).sig, 11);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void modes_keep_strangers_out(void)
{
	struct names *n = tcase_shared(sizeof(*n));
	int vid, sid;

	tcase_need(PVVAS_FEATURE_DRIVER);
	if (geteuid())
		tcase_skip("needs root");
	strcpy(n->secret, tcase_name("secret"));
	strcpy(n->readable, tcase_name("readable"));
	tcase_vas(n->secret, 0600);
	vid = tcase_vas(n->readable, 0644);
	sid = tcase_seg(n->readable, BASE, MIB, 0644);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	BASE[0] = 1;
	tcase_join(tcase_spawn(stranger, n));
	check_eq(BASE[0], 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void read_only_segment(void *arg)
{
	int sid, vid;

	become_nobody();
	sid = check_id(seg_find(arg));
	vid = check_id(vas_create(NULL, 0600));
	check_eq(seg_attach_prot(vid, sid, PROT_READ | PROT_WRITE), -EACCES);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check_eq(BASE[0], 0);
	check_eq(tcase_try_write(BASE).sig, 11);
}

static void attaching_gives_no_more_than_the_mode_does(void)
{
	const char *name = tcase_name("ro");

	tcase_need(PVVAS_FEATURE_DRIVER);
	if (geteuid())
		tcase_skip("needs root");
	tcase_seg(name, BASE, MIB, 0644);
	tcase_join(tcase_spawn(read_only_segment, (void *)name));
}

/* Root without capabilities, and with one group more. */
static void be_of_group(gid_t gid)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct none[2] = { 0 };

	check_eq(setgroups(1, &gid), 0);
	check_eq(syscall(SYS_capset, &header, none), 0);
}

static void use_as_group(void *arg)
{
	struct vas_attr a = { .size = sizeof(a), .valid = VAS_ATTR_MODE,
			      .mode = 0666 };
	int vid = *(int *)arg;

	be_of_group(NOBODY);
	check_id(vas_attach(vid));
	check_eq(vas_delete(vid), -EPERM);
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &a), -EPERM);
	vid = tcase_vas(NULL, 0600);
	a.valid = VAS_ATTR_GID;
	a.gid = NOBODY;
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &a), 0);
	a.gid = NOBODY - 1;
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &a), -EPERM);
	a.valid = VAS_ATTR_UID;
	a.uid = NOBODY;
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &a), -EPERM);
}

static void use_as_other(void *arg)
{
	be_of_group(NOBODY - 1);
	check_eq(vas_attach(*(int *)arg), -EACCES);
}

static void groups_and_capabilities_count_as_for_files(void)
{
	struct vas_attr a = { .size = sizeof(a), .uid = NOBODY, .gid = NOBODY,
			      .valid = VAS_ATTR_UID | VAS_ATTR_GID };
	int vid;

	if (geteuid())
		tcase_skip("needs root");
	vid = tcase_vas(NULL, 0040);
	check_eq(vas_ctl(VAS_CTL_SETATTR, vid, &a), 0);
	tcase_join(tcase_spawn(use_as_group, &vid));
	tcase_join(tcase_spawn(use_as_other, &vid));
}

static void segments_must_lie_in_the_window(void)
{
	size_t size;
	void *base;

	check_eq(pvvas_window(&base, &size), 0);
	check_eq(seg_alloc(NULL, base, 4096, 0600), -ERANGE);
	check_eq(seg_alloc(NULL, (char *)base + 4096, 4096, 0600), -ERANGE);
	check_eq(seg_alloc(NULL, BASE - 4096, 8192, 0600), -ERANGE);
	check_eq(seg_alloc(NULL, (char *)base - 4096, 4096, 0600), -ERANGE);
	check_eq(seg_alloc(NULL, (char *)base + size, 4096, 0600), -ERANGE);
	check_eq(seg_alloc(NULL, (char *)base + size - 4096, 8192, 0600),
		 -ERANGE);
	check_eq(seg_alloc(NULL, (void *)4096, 4096, 0600), -ERANGE);
	check_eq(seg_alloc(NULL, BASE, 1UL << 62, 0600), -E2BIG);
	check_id(tcase_seg(NULL, (char *)base + size - 4096, 4096, 0600));
	check_id(tcase_seg(NULL, BASE, size - (VAS_WINDOW_FIRST - VAS_WINDOW_BASE), 0600));
}

static void the_probe_says_yes(void)
{
	tcase_need(PVVAS_FEATURE_DRIVER);
	check_eq(pvvas_probe(PVVAS_FEATURE_HYPERVISOR), PVVAS_YES);
	check_eq(pvvas_probe(PVVAS_FEATURE_DRIVER), PVVAS_YES);
	check_eq(pvvas_probe(PVVAS_FEATURE_SWITCH), PVVAS_YES);
	check_eq(pvvas_probe(PVVAS_FEATURE_PER_THREAD), PVVAS_YES);
}

static const struct tcase cases[] = {
	CASE(a_name_is_found_until_it_is_deleted),
	CASE(the_longest_name_works),
	CASE(an_id_is_not_used_again),
	CASE(ids_of_nothing_are_refused),
	CASE(a_deleted_vas_lives_on_for_its_users),
	CASE(attributes_are_what_was_asked_for),
	CASE(attributes_can_be_changed),
	CASE(modes_bind_the_owner_too),
	CASE(a_handle_has_the_rights_of_the_time_it_was_made),
	CASE(ctl_deletes),
	CASE(modes_keep_strangers_out),
	CASE(attaching_gives_no_more_than_the_mode_does),
	CASE(groups_and_capabilities_count_as_for_files),
	CASE(segments_must_lie_in_the_window),
	CASE(the_probe_says_yes),
};

TCASE_MAIN(cases, 0)
