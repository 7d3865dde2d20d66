// SPDX-License-Identifier: GPL-2.0-only
/*
 * What tests/host/gdb.sh debugs: two threads, each in a view of its own.  It
 * exits with 0 if the debugger has changed the second one's segment as it
 * shall, and left the first one's alone.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <pvvas.h>

#define BASE	((volatile char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)

static int handles[2];
static atomic_int inside;

static int view_with(const char *text)
{
	int vid = vas_create(NULL, 0600), vh;
	int sid = seg_alloc(NULL, (void *)BASE, 4 * MIB, 0600);

	if (vid < 0 || sid < 0 || seg_attach(vid, sid))
		_exit(2);
	vh = vas_attach(vid);
	if (vh < 0 || vas_switch(vh))
		_exit(3);
	strcpy((char *)BASE, text);
	vas_switch(VAS_HOME);
	return vh;
}

/* The breakpoint. */
void __attribute__((noinline)) in_second_view(void)
{
	asm volatile("" : : : "memory");
}

static void *second(void *arg)
{
	if (vas_switch(handles[1]))
		_exit(4);
	while (!atomic_load(&inside))
		;
	in_second_view();
	if (strcmp((char *)BASE, "Second") || *(int *)(BASE + 2 * MIB) != 4711)
		_exit(5);
	vas_switch(VAS_HOME);
	return arg;
}

int main(void)
{
	pthread_t thread;

	handles[0] = view_with("first");
	handles[1] = view_with("second");
	if (pthread_create(&thread, NULL, second, NULL) ||
	    vas_switch(handles[0]))
		return 6;
	atomic_store(&inside, 1);
	pthread_join(thread, NULL);
	if (strcmp((char *)BASE, "first") || *(int *)(BASE + 2 * MIB))
		return 7;
	vas_switch(VAS_HOME);
	return 0;
}
