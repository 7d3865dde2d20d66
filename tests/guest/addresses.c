// SPDX-License-Identifier: GPL-2.0-only
/*
 * addresses 48|57: programs whose linear addresses have so many bits.  With 57 a
 * process has memory beyond the 47 bits that it gets without asking.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define PAGE	4096UL
#define MIB	(1UL << 20)
#define HINT	((void *)(1UL << 50))

static int bits;

static char *beyond(void)
{
	char *p = mmap(HINT, MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(p != MAP_FAILED);
	return p;
}

static void the_cpu_has_as_many_bits_as_the_row_says(void)
{
	check_eq(beyond() == (char *)HINT, bits == 57);
}

static void two_vases(int handle[2])
{
	int i, v;

	for (i = 0; i < 2; i++) {
		v = tcase_vas(NULL, 0600);
		check_eq(seg_attach_prot(v, tcase_seg(NULL, BASE, MIB, 0600),
					 PROT_READ | PROT_WRITE), 0);
		handle[i] = check_id(vas_attach(v));
		check_eq(vas_switch(handle[i]), 0);
		memset(BASE, 'a' + i, 2 * PAGE);
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

/* Filled at home and in a VAS, and by system calls in both directions. */
static void memory_beyond_47_bits_is_in_every_vas(void)
{
	char *p = beyond();
	int handle[2], fds[2], i;

	two_vases(handle);
	check_eq(pipe(fds), 0);
	strcpy(p, "home");
	for (i = 0; i < 2; i++) {
		check_eq(vas_switch(handle[i]), 0);
		check_eq(strcmp(p, "home"), 0);
		memcpy(p + (i + 1) * 4 * PAGE, BASE, PAGE);
		check_eq(write(fds[1], p + (i + 1) * 4 * PAGE, PAGE), PAGE);
		check_eq(read(fds[0], BASE + PAGE, PAGE), PAGE);
		check_eq(write(fds[1], BASE + PAGE, PAGE), PAGE);
		/* pages that nothing has touched */
		check_eq(read(fds[0], p + (i + 10) * 4 * PAGE, PAGE), PAGE);
	}
	check_eq(vas_switch(VAS_HOME), 0);
	for (i = 0; i < 2; i++) {
		check_eq(p[(i + 1) * 4 * PAGE + 7], 'a' + i);
		check_eq(p[(i + 10) * 4 * PAGE + 7], 'a' + i);
	}
}

static void a_signal_brings_the_whole_address(void)
{
	char *p = beyond();
	struct tcase_fault f;
	int handle[2];

	two_vases(handle);
	check_eq(mprotect(p, PAGE, PROT_READ), 0);
	check_eq(vas_switch(handle[0]), 0);
	f = tcase_try_write(p + 123);
	check_eq(f.sig, SIGSEGV);
	check((char *)f.addr == p + 123);
	f = tcase_try_write(p + PAGE);
	check_eq(f.sig, 0);
	f = tcase_try_read(BASE + 2 * MIB);
	check_eq(f.sig, SIGSEGV);
	check((char *)f.addr == BASE + 2 * MIB);
	check_eq(vas_switch(VAS_HOME), 0);
}

static const struct tcase cases[] = {
	CASE(the_cpu_has_as_many_bits_as_the_row_says),
	CASE(memory_beyond_47_bits_is_in_every_vas),
	CASE(a_signal_brings_the_whole_address),
};

int main(int argc, char **argv)
{
	size_t nr = 1;

	bits = argc == 2 ? atoi(argv[1]) : 0;
	if (bits != 48 && bits != 57) {
		fprintf(stderr, "usage: addresses 48|57\n");
		return 2;
	}
	/* with 48 there is nothing beyond: only the first */
	if (bits == 57)
		nr = sizeof(cases) / sizeof(cases[0]);
	return tcase_main(cases, nr, 0);
}
