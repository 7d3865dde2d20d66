// SPDX-License-Identifier: GPL-2.0-only
/*
 * Accesses that are refused: the right signal at the right address, and
 * -EFAULT from system calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define GIB	(1UL << 30)

static void refused_read(char *p)
{
	struct tcase_fault f = tcase_try_read(p);

	check_eq(f.sig, SIGSEGV);
	check(f.addr == p);
}

static void refused_write(char *p)
{
	struct tcase_fault f = tcase_try_write(p);

	check_eq(f.sig, SIGSEGV);
	check(f.addr == p);
}

/* A writer's and a reader's attachment of one segment. */
static void two_views(int *rw, int *ro)
{
	int sid = tcase_seg(NULL, BASE, MIB, 0600);
	int w = tcase_vas(NULL, 0600), r = tcase_vas(NULL, 0600);

	check_eq(seg_attach_prot(w, sid, PROT_READ | PROT_WRITE), 0);
	check_eq(seg_attach_prot(r, sid, PROT_READ), 0);
	*rw = check_id(vas_attach(w));
	*ro = check_id(vas_attach(r));
}

static void a_write_through_a_read_only_attachment_is_sigsegv_there(void)
{
	int rw, ro;

	two_views(&rw, &ro);
	check_eq(vas_switch(ro), 0);
	/* a page that no process has touched, then one that the writer has filled */
	refused_write(BASE + 12345);
	check_eq(BASE[12345], 0);
	refused_write(BASE + 12345);
	check_eq(vas_switch(rw), 0);
	BASE[77777] = 5;
	check_eq(vas_switch(ro), 0);
	check_eq(BASE[77777], 5);
	refused_write(BASE + 77777);
	check_eq(BASE[77777], 5);
	check_eq(vas_switch(rw), 0);
	check_eq(tcase_try_write(BASE + 12345).sig, 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void read_into_a_read_only_attachment_is_efault(void)
{
	int rw, ro, fds[2];

	two_views(&rw, &ro);
	check_eq(pipe(fds), 0);
	check_eq(write(fds[1], "data", 4), 4);
	check_eq(vas_switch(rw), 0);
	BASE[0] = 'x';
	check_eq(vas_switch(ro), 0);
	check_eq(read(fds[0], BASE, 4), -1);
	check_eq(errno, EFAULT);
	check_eq(BASE[0], 'x');
	check_eq(read(fds[0], BASE + 64 * 1024, 4), -1);
	check_eq(errno, EFAULT);
	/* reading from it is fine */
	check_eq(write(fds[1], BASE, 1), 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void system_calls_work_on_what_is_attached(void)
{
	int fds[2], vid = tcase_vas_with_seg(BASE, MIB, NULL);

	check_eq(pipe(fds), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	/* the kernel is the first to touch these pages */
	check_eq(write(fds[1], BASE + 8192, 4), 4);
	check_eq(read(fds[0], BASE + 65536, 4), 4);
	strcpy(BASE, "hello");
	check_eq(write(fds[1], BASE, 5), 5);
	check_eq(read(fds[0], BASE + 4096, 5), 5);
	check(!strcmp(BASE + 4096, "hello"));
	check_eq(open(BASE + 128 * 1024, O_RDONLY), -1);
	check_eq(errno, ENOENT);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void outside_every_segment_is_sigsegv(void)
{
	int vid = tcase_vas_with_seg(BASE + GIB, MIB, NULL);
	size_t size;
	void *base;

	check_eq(pvvas_window(&base, &size), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	BASE[GIB] = 1;
	refused_read(BASE);
	refused_write(BASE);
	refused_read(BASE + GIB - 1);
	refused_write(BASE + GIB - 1);
	refused_read(BASE + GIB + MIB);
	refused_write(BASE + GIB + MIB);
	refused_read(BASE + 100 * GIB + 17);
	refused_read((char *)base + size - 1);
	refused_write((char *)base + size - 1);
	check_eq(BASE[GIB], 1);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void the_window_is_empty_at_home(void)
{
	int fds[2], vid = tcase_vas_with_seg(BASE, MIB, NULL);

	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	BASE[0] = 1;
	check_eq(vas_switch(VAS_HOME), 0);
	refused_read(BASE);
	refused_write(BASE);
	refused_read(BASE + 4096);
	check_eq(pipe(fds), 0);
	check_eq(write(fds[1], BASE, 1), -1);
	check_eq(errno, EFAULT);
	check_eq(open(BASE, O_RDONLY), -1);
	check_eq(errno, EFAULT);
}

static void the_window_is_unmapped_before_the_first_attach(void)
{
	refused_read(BASE);
	refused_read((char *)VAS_WINDOW_BASE);
}

static void the_identity_page_is_read_only(void)
{
	char *page = (char *)VAS_WINDOW_BASE;
	int fds[2], vid = tcase_vas_with_seg(BASE, MIB, NULL);
	int vh = check_id(vas_attach(vid));

	check_eq(vas_switch(vh), 0);
	refused_write(page);
	refused_write(page + 8);
	refused_write(page + 4095);
	check_eq(pipe(fds), 0);
	check_eq(write(fds[1], "12345678", 8), 8);
	check_eq(read(fds[0], page + 8, 8), -1);
	check_eq(errno, EFAULT);
	check_eq(vas_current(), vh);
	check_eq(vas_switch(VAS_HOME), 0);
	refused_write(page + 8);
	/* the rest of the first GiB belongs to no segment */
	refused_read(page + 4096);
	refused_read(page + GIB - 1);
}

static void jump(void *p)
{
	((void (*)(void))p)();
}

static void code_in_a_segment_is_not_executed(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL);
	struct tcase_fault f;

	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	BASE[0] = (char)0xc3;	/* ret */
	f = tcase_try(jump, BASE);
	check_eq(f.sig, SIGSEGV);
	check(f.addr == BASE);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void an_access_across_the_end_of_a_segment_faults_at_its_end(void)
{
	int vid = tcase_vas_with_seg(BASE, MIB, NULL);
	int fds[2];

	check_eq(pipe(fds), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	memset(BASE + MIB - 16, 'e', 16);
	/* as much as there is, as on any memory */
	check_eq(write(fds[1], BASE + MIB - 16, 16), 16);
	check_eq(write(fds[1], BASE + MIB, 16), -1);
	check_eq(errno, EFAULT);
	refused_read(BASE + MIB);
	check_eq(vas_switch(VAS_HOME), 0);
}

static const struct tcase cases[] = {
	CASE(a_write_through_a_read_only_attachment_is_sigsegv_there),
	CASE(read_into_a_read_only_attachment_is_efault),
	CASE(system_calls_work_on_what_is_attached),
	CASE(outside_every_segment_is_sigsegv),
	CASE(the_window_is_empty_at_home),
	CASE(the_window_is_unmapped_before_the_first_attach),
	CASE(the_identity_page_is_read_only),
	CASE(code_in_a_segment_is_not_executed),
	CASE(an_access_across_the_end_of_a_segment_faults_at_its_end),
};

TCASE_MAIN(cases, 0)
