// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests whose answer cannot be written: -EFAULT, and nothing has happened.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL

static int device;

static int call(unsigned long request, void *arg)
{
	if (!device)
		device = open("/dev/pvvas", O_RDWR | O_CLOEXEC);
	return ioctl(device, request, arg) < 0 ? -errno : 0;
}

/* With the struct where it can be read only. */
static int call_from_constants(unsigned long request, const void *arg, size_t size)
{
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err;

	check(page != MAP_FAILED);
	memcpy(page, arg, size);
	check_eq(mprotect(page, PAGE, PROT_READ), 0);
	err = call(request, page);
	check_eq(munmap(page, PAGE), 0);
	return err;
}

#define CALL(request, arg)	call_from_constants(request, &(arg), sizeof(arg))

static void an_object_that_nobody_is_told_of_is_not_made(void)
{
	struct pvvas_stats before = { .size = sizeof(before) }, after = before;
	int sid = tcase_seg(NULL, BASE, MIB, 0600), vid = tcase_vas(NULL, 0600);
	struct pvvas_ioc_create vas = { .size = sizeof(vas), .mode = 0600 };
	struct pvvas_ioc_create seg = { .size = sizeof(seg), .mode = 0600,
					.base = (uintptr_t)BASE + 8 * MIB,
					.length = MIB };
	struct pvvas_ioc_clone clone = { .size = sizeof(clone), .mode = 0600,
					 .source = (uint32_t)sid };
	struct pvvas_ioc_attach attach = { .size = sizeof(attach),
					   .id = (uint32_t)vid };

	check_eq(seg_attach(vid, sid), 0);
	check_id(vas_attach(vid));
	check_eq(pvvas_stats(&before), 0);
	check_eq(CALL(PVVAS_IOC_VAS_CREATE, vas), -EFAULT);
	check_eq(CALL(PVVAS_IOC_SEG_CREATE, seg), -EFAULT);
	check_eq(CALL(PVVAS_IOC_SEG_CLONE, clone), -EFAULT);
	check_eq(CALL(PVVAS_IOC_VAS_ATTACH, attach), -EFAULT);
	check_eq(pvvas_stats(&after), 0);
	check_eq(after.vases, before.vases);
	check_eq(after.segs, before.segs);
	check_eq(after.attachments, before.attachments);
	/* and they could have been made */
	check_eq(call(PVVAS_IOC_VAS_CREATE, &vas), 0);
	check_eq(call(PVVAS_IOC_SEG_CREATE, &seg), 0);
	check_eq(call(PVVAS_IOC_SEG_CLONE, &clone), 0);
	check_eq(call(PVVAS_IOC_VAS_ATTACH, &attach), 0);
}

static int descriptors(void)
{
	int i, n = 0;

	for (i = 0; i < 100; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

static void a_descriptor_that_nobody_is_told_of_is_not_opened(void)
{
	int sid, vid = tcase_vas_with_seg(BASE, MIB, &sid), before;
	struct pvvas_ioc_lock_open lock = { .size = sizeof(lock),
					    .seg = (uint32_t)sid };

	check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
	lock.handle = (uint32_t)check_id(vas_attach(vid));
	call(PVVAS_IOC_LOCK_OPEN, NULL);
	before = descriptors();
	check_eq(CALL(PVVAS_IOC_LOCK_OPEN, lock), -EFAULT);
	check_eq(descriptors(), before);
	check_eq(call(PVVAS_IOC_LOCK_OPEN, &lock), 0);
	check_eq(descriptors(), before + 1);
	close(lock.fd);
}

#define PAGES	150

static uint64_t *room_before_nothing(unsigned int rows)
{
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(p != MAP_FAILED);
	check_eq(munmap(p + PAGE, PAGE), 0);
	return (uint64_t *)(p + PAGE) - rows;
}

static void pages_that_nobody_was_told_of_stay_written(void)
{
	int sid = tcase_seg_with(NULL, BASE, 4 * MIB, 0600, SEG_SMALL);
	int vid = tcase_vas(NULL, 0600), i;
	struct pvvas_ioc_range arg = { .size = sizeof(arg),
				       .seg = (uint32_t)sid,
				       .length = 4 * MIB, .arg = PAGES };
	static void *found[PAGES + 1];

	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	for (i = 0; i < PAGES; i++)
		BASE[i * (int)PAGE] = 1;
	arg.addr = 8;
	check_eq(call(PVVAS_IOC_SEG_DIRTY, &arg), -EFAULT);
	/* nor does it help to have got some of them */
	arg.addr = (uintptr_t)room_before_nothing(100);
	check_eq(call(PVVAS_IOC_SEG_DIRTY, &arg), -EFAULT);
	check_eq(seg_dirty(sid, BASE, 4 * MIB, found, PAGES + 1), PAGES);
	for (i = 0; i < PAGES; i++)
		check(found[i] == BASE + i * PAGE);
	check_eq(seg_dirty(sid, BASE, 4 * MIB, found, PAGES), 0);
	BASE[3 * PAGE] = 2;
	check_eq(seg_dirty(sid, BASE, 4 * MIB, found, PAGES), 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static const struct tcase cases[] = {
	CASE(an_object_that_nobody_is_told_of_is_not_made),
	CASE(a_descriptor_that_nobody_is_told_of_is_not_opened),
	CASE(pages_that_nobody_was_told_of_stay_written),
};

TCASE_MAIN(cases, 0)
