// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest without the driver, or a machine without the feature: every call
 * says so, and nothing else happens.
 *
 *   absent enosys	the hypervisor does not offer it
 *   absent enodev	it does, but there is no driver
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

static int expected;

static void every_call_says_what_is_missing(void)
{
	struct pvvas_stats st = { .size = sizeof(st) };
	struct vas_attr va = { .size = sizeof(va) };
	struct seg_attr sa = { .size = sizeof(sa) };
	size_t size;
	void *base;

	check_eq(vas_create("x", 0600), expected);
	check_eq(vas_find("x"), expected);
	check_eq(vas_attach(1), expected);
	check_eq(vas_detach(1 << 30 | 1), expected);
	check_eq(vas_delete(1), expected);
	check_eq(vas_ctl(VAS_CTL_GETATTR, 1, &va), expected);
	check_eq(vas_switch(1 << 30 | 1), expected);
	check_eq(seg_alloc("x", (void *)VAS_WINDOW_FIRST, 1, 0600), expected);
	check_eq(seg_find("x"), expected);
	check_eq(seg_attach(1, 1), expected);
	check_eq(seg_attach_prot(1, 1, PROT_READ), expected);
	check_eq(seg_detach(1, 1), expected);
	check_eq(seg_delete(1), expected);
	check_eq(seg_range(1, &base, &size), expected);
	check_eq(seg_ctl(1, SEG_CTL_GETATTR, &sa), expected);
	check_eq(pvvas_window(&base, &size), expected);
	check_eq(pvvas_stats(&st), expected);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(vas_current(), VAS_HOME);
}

static void the_probe_says_what_is_missing(void)
{
	check_eq(pvvas_probe(PVVAS_FEATURE_HYPERVISOR),
		 expected == -ENOSYS ? PVVAS_NO : PVVAS_YES);
	check_eq(pvvas_probe(PVVAS_FEATURE_DRIVER), PVVAS_NO);
	check_eq(pvvas_probe(PVVAS_FEATURE_SWITCH), PVVAS_NO);
	check_eq(pvvas_probe(PVVAS_FEATURE_PER_THREAD), PVVAS_NO);
}

struct vmfunc {
	unsigned int leaf;
	unsigned int slot;
};

static void do_vmfunc(void *arg)
{
	struct vmfunc *v = arg;

	__asm__ __volatile__(".byte 0x0f, 0x01, 0xd4"
			     : : "a" (v->leaf), "c" (v->slot) : "memory");
}

static void vmfunc_is_a_signal(void)
{
	struct vmfunc v;

	for (v.leaf = 0; v.leaf < 64; v.leaf++) {
		/* all slots of the leaf that there is, some of others: vmfunc has all */
		for (v.slot = 0; v.slot < 512; v.slot += v.leaf ? 73 : 1) {
			int sig = tcase_try(do_vmfunc, &v).sig;

			check(sig == SIGILL || sig == SIGSEGV);
		}
	}
}

static const struct tcase cases[] = {
	CASE(every_call_says_what_is_missing),
	CASE(the_probe_says_what_is_missing),
	CASE(vmfunc_is_a_signal),
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "enosys"))
		expected = -ENOSYS;
	else if (argc == 2 && !strcmp(argv[1], "enodev"))
		expected = -ENODEV;
	if (!expected) {
		fputs("usage: absent enosys|enodev\n", stderr);
		return 1;
	}
	return tcase_main(cases, sizeof(cases) / sizeof(cases[0]),
			  TCASE_NO_DRIVER);
}
