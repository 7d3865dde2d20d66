// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The other primitives: a region of memory that a program may look at only after
 * a collector has been there (Appel and Li's concurrent collector).
 *
 * The program's pages are not accessible.  The collector, in the trap, works
 * on the page through a second face of the segment (map2), and then gives it to
 * the program (unprot); later one page is taken back (prot1), then some (protN).
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <pvvas.h>

#define PAGE	4096UL
#define NR	16UL
#define HERE	((char *)VAS_WINDOW_FIRST)
#define THERE	((char *)VAS_WINDOW_FIRST + (64UL << 20))

static volatile int scanned;

static int scan(const struct seg_fault *fault, void *arg)
{
	size_t i = (size_t)((char *)fault->addr - HERE) / PAGE;

	(void)arg;
	/* no program thread sees the page meanwhile */
	memset(THERE + i * PAGE, 'a' + (int)i, PAGE);
	scanned++;
	return seg_unprot(fault->sid, HERE + i * PAGE) ? SEG_TRAP_PASS :
							 SEG_TRAP_RESUME;
}

static int run(int sid)
{
	volatile char *p = HERE;
	void *some[] = { HERE + 2 * PAGE, HERE + 9 * PAGE, HERE + 3 * PAGE };
	size_t i;
	int err;

	err = seg_protect(sid, HERE, NR * PAGE, PROT_NONE);
	if (!err)
		err = seg_trap(sid, scan, NULL);
	if (err)
		return err;
	for (i = 0; i < NR; i++)
		if (p[i * PAGE + i] != (char)('a' + i))
			return 1;
	printf("%d pages scanned before they were seen\n", scanned);
	err = seg_prot1(sid, HERE + 7 * PAGE, PROT_NONE);
	if (!err)
		err = seg_protN(sid, some, 3, PROT_NONE);
	for (i = 0; !err && i < NR; i++)
		p[i * PAGE] = 1;
	printf("%d again\n", scanned - (int)NR);
	return err ? err : scanned != (int)NR + 4;
}

int main(void)
{
	int vid = vas_create(NULL, 0600), vh, err, face;
	int sid = seg_alloc(NULL, HERE, NR * PAGE, 0600);

	face = sid < 0 ? sid : seg_map2(sid, THERE);
	err = face < 0 ? face : seg_attach(vid, sid);
	if (!err)
		err = seg_attach(vid, face);
	vh = err ? err : vas_attach(vid);
	err = vh < 0 ? vh : vas_switch(vh);
	if (!err)
		err = run(sid);
	if (err < 0)
		fprintf(stderr, "second-face: %s\n", strerror(-err));
	vas_switch(VAS_HOME);
	return err ? 1 : 0;
}
