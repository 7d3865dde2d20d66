// SPDX-License-Identifier: GPL-2.0-only
/*
 * What others do to a VAS between two calls of the library that asks for its
 * locks.  The library's system calls pass through here.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

/* Just before the library opens the lock of this segment. */
static int seg_to_open;
static void (*meanwhile)(void);

int ioctl(int fd, unsigned long request, ...)
{
	const struct pvvas_ioc_lock_open *open;
	void (*call)(void) = meanwhile;
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	open = arg;
	if (call && request == PVVAS_IOC_LOCK_OPEN &&
	    (int)open->seg == seg_to_open) {
		meanwhile = NULL;
		call();
	}
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

static int vid, first, second;

static void make_two(void)
{
	first = tcase_seg(NULL, BASE, MIB, 0600);
	second = tcase_seg(NULL, BASE + 8 * MIB, MIB, 0600);
	check(first < second);
	check_eq(seg_ctl(first, SEG_CTL_LOCK_ON), 0);
	check_eq(seg_ctl(second, SEG_CTL_LOCK_ON), 0);
	vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach(vid, first), 0);
	check_eq(seg_attach(vid, second), 0);
	seg_to_open = first;
}

static void is_inside(void *arg)
{
	int vh = check_id(vas_attach(vid));

	(void)arg;
	check_eq(vas_switch_try(vh), -EBUSY);
}

/* Others do not get in beside a thread that is in the VAS. */
static void check_locked(int vh)
{
	check_eq(vas_switch(vh), 0);
	tcase_join(tcase_spawn(is_inside, NULL));
	check_eq(vas_switch(VAS_HOME), 0);
}

static void detach_the_first(void)
{
	check_eq(seg_detach(vid, first), 0);
}

static void a_segment_that_goes_meanwhile_unlocks_no_other(void)
{
	int vh;

	make_two();
	meanwhile = detach_the_first;
	vh = check_id(vas_attach(vid));
	check(!meanwhile);
	check_locked(vh);
}

static void renew_the_first(void)
{
	check_eq(seg_ctl(first, SEG_CTL_LOCK_OFF), 0);
	check_eq(seg_ctl(first, SEG_CTL_LOCK_ON), 0);
}

static void a_lock_that_is_made_new_meanwhile_is_the_new_one(void)
{
	int vh;

	make_two();
	meanwhile = renew_the_first;
	vh = check_id(vas_attach(vid));
	check(!meanwhile);
	check_locked(vh);
	meanwhile = renew_the_first;
	check_id(vas_attach(vid));
	check_locked(vh);
}

static void delete_the_first(void)
{
	check_eq(seg_detach(vid, first), 0);
	check_eq(seg_delete(first), 0);
}

static void a_segment_that_is_deleted_meanwhile_unlocks_no_other(void)
{
	int vh;

	make_two();
	meanwhile = delete_the_first;
	vh = check_id(vas_attach(vid));
	check(!meanwhile);
	check_locked(vh);
}

static const struct tcase cases[] = {
	CASE(a_segment_that_goes_meanwhile_unlocks_no_other),
	CASE(a_lock_that_is_made_new_meanwhile_is_the_new_one),
	CASE(a_segment_that_is_deleted_meanwhile_unlocks_no_other),
};

TCASE_MAIN(cases, 0)
