// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A checkpoint that is written while the program goes on.
 *
 * All pages are made read-only at once.  A thread saves them one after the
 * other, and gives each back to the program.  Where the program writes earlier,
 * its trap saves that page first.  So the checkpoint has the memory of one
 * moment, and the program waits for one page at most.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <pvvas.h>

#define PAGE	4096UL
#define NR	512UL
#define MEMORY	((char *)VAS_WINDOW_FIRST)

static char checkpoint[NR * PAGE];
static _Atomic int state[NR];	/* 0: to be saved, 1: in progress, 2: done */
static _Atomic int by_trap, by_thread;
static int sid, vh;

/* Both the thread and the trap may come here for one page. */
static int save(size_t i, _Atomic int *count)
{
	int expected = 0;

	if (!atomic_compare_exchange_strong(&state[i], &expected, 1)) {
		while (state[i] != 2)
			sched_yield();
		return 0;
	}
	memcpy(checkpoint + i * PAGE, MEMORY + i * PAGE, PAGE);
	(*count)++;
	if (seg_unprot(sid, MEMORY + i * PAGE))
		return -1;
	state[i] = 2;
	return 0;
}

static int trap(const struct seg_fault *fault, void *arg)
{
	size_t i = (size_t)((char *)fault->addr - MEMORY) / PAGE;

	(void)arg;
	if (fault->access != PROT_WRITE || save(i, &by_trap))
		return SEG_TRAP_PASS;
	return SEG_TRAP_RESUME;
}

static void *save_all(void *arg)
{
	size_t i;

	(void)arg;
	if (vas_switch(vh))
		return NULL;
	for (i = 0; i < NR; i++)
		save(i, &by_thread);
	/* a thread may end where it is */
	return NULL;
}

static int run(void)
{
	pthread_t thread;
	size_t i;
	int err;

	for (i = 0; i < NR; i++)
		*(size_t *)(MEMORY + i * PAGE) = i;
	err = seg_trap(sid, trap, NULL);
	if (!err)
		err = seg_protect(sid, MEMORY, NR * PAGE, PROT_READ);
	if (err)
		return err;
	/* the program goes on, from the end, and the saving from the beginning */
	for (i = NR; i-- > NR - 8;)
		*(size_t *)(MEMORY + i * PAGE) = 0;
	if (pthread_create(&thread, NULL, save_all, NULL))
		return 1;
	for (i = NR; i--;)
		*(size_t *)(MEMORY + i * PAGE) = 0;
	pthread_join(thread, NULL);
	seg_trap(sid, NULL, NULL);
	printf("%d pages saved by the thread, %d by the trap\n", by_thread,
	       by_trap);
	for (i = 0; i < NR; i++)
		if (*(size_t *)(checkpoint + i * PAGE) != i ||
		    *(size_t *)(MEMORY + i * PAGE) != 0)
			return 1;
	return by_thread + by_trap != NR || by_trap < 8;
}

int main(void)
{
	int vid = vas_create(NULL, 0600), err;

	sid = seg_alloc(NULL, MEMORY, NR * PAGE, 0600);
	err = sid < 0 ? sid : seg_attach(vid, sid);
	vh = err ? err : vas_attach(vid);
	err = vh < 0 ? vh : vas_switch(vh);
	if (!err)
		err = run();
	if (err < 0)
		fprintf(stderr, "checkpoint: %s\n", strerror(-err));
	vas_switch(VAS_HOME);
	return err ? 1 : 0;
}
