// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Guard pages: a stack in a segment that grows when its guard is touched, and
 * an overflow that is caught at the instruction that made it.
 *
 * The memory above the part in use is not accessible.  The trap moves the guard
 * up as long as there is room, and ends the program's loop when there is none.
 */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <pvvas.h>

#define PAGE	4096UL
#define NR	64UL
#define LIMIT	16UL
#define STACK	((char *)VAS_WINDOW_FIRST)

static size_t pages = 1;
static volatile size_t pushed;
static sigjmp_buf overflow;

static int grow(const struct seg_fault *fault, void *arg)
{
	(void)arg;
	/* only the page after the last: anything else is a wild pointer */
	if ((char *)fault->addr < STACK + pages * PAGE ||
	    (char *)fault->addr >= STACK + (pages + 1) * PAGE)
		return SEG_TRAP_PASS;
	if (pages == LIMIT)
		siglongjmp(overflow, 1);
	if (seg_unprot(fault->sid, STACK + pages * PAGE))
		return SEG_TRAP_PASS;
	pages++;
	return SEG_TRAP_RESUME;
}

static int run(int sid)
{
	volatile long *top = (volatile long *)STACK;
	int err;

	err = seg_protect(sid, STACK + PAGE, (NR - 1) * PAGE, PROT_NONE);
	if (!err)
		err = seg_trap(sid, grow, NULL);
	if (err)
		return err;
	if (!sigsetjmp(overflow, 1)) {
		for (;;) {
			*top++ = (long)pushed;
			pushed++;
		}
	}
	seg_trap(sid, NULL, NULL);
	printf("%zu pushed, stopped at the end of page %zu\n", pushed, pages);
	return pushed != LIMIT * PAGE / sizeof(long) || pages != LIMIT;
}

int main(void)
{
	int vid = vas_create(NULL, 0600), vh, err;
	int sid = seg_alloc(NULL, STACK, NR * PAGE, 0600);

	err = sid < 0 ? sid : seg_attach(vid, sid);
	vh = err ? err : vas_attach(vid);
	err = vh < 0 ? vh : vas_switch(vh);
	if (!err)
		err = run(sid);
	if (err < 0)
		fprintf(stderr, "guard-pages: %s\n", strerror(-err));
	vas_switch(VAS_HOME);
	return err ? 1 : 0;
}
