// SPDX-License-Identifier: GPL-2.0-only
/*
 * A task that exits while its process begins: what the kernel still writes for it
 * goes into no other process's view.
 *
 * The task shares the memory without being a thread, so that its timers are its own:
 * they are deleted while it exits, before the kernel writes to where it was told
 * at the clone (CLONE_CHILD_CLEARTID), here to an address in the window.  Its CPU
 * has another process's list of views, by one of which it leaves.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "patience.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define WINDOW	((1UL << 30) + 64 * MIB)
#define ROUNDS	12
#define WORDS	((int)(MIB / sizeof(int)))
#define WORD	0x11111111

static volatile struct pvvas_identity *identity = (void *)PVVAS_WINDOW_VA;

struct scene {
	atomic_int slot;
	atomic_int exited_meanwhile;	/* rounds */
	atomic_int asleep;		/* in which round */
	int round;
	int turn[2];
};

/* On the CPU of the task that exits, asleep in a view: its list stays there. */
static void sleep_in_a_view(void *arg)
{
	struct scene *s = arg;
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	volatile int *words = (volatile int *)BASE;
	char c;
	int i;

	tcase_pin(1);
	check_eq(vas_switch(vh), 0);
	for (i = 0; i < WORDS; i++)
		words[i] = WORD;
	atomic_store(&s->slot, identity->slot);
	do {
		check_eq(read(s->turn[0], &c, 1), 1);
		atomic_fetch_add(&s->asleep, 1);
	} while (c);
	for (i = 0; i < WORDS; i++)
		check_eq(words[i], WORD);
	check_eq(vas_switch(VAS_HOME), 0);
}

/* As many as a task deletes in well under the time that a process takes to begin. */
static int timers_wanted(void)
{
	return 10000 / (int)patience();
}

struct leaver {
	unsigned long slot;
	long delay;		/* microseconds */
	int wanted;
	atomic_int timers, go, leaves;
};

static char stack[64 << 10] __attribute__((aligned(16)));

/* It has its creator's thread-local variables, and calls nothing that changes them. */
static int leave(void *arg)
{
	struct leaver *l = arg;
	struct sigevent none = { .sigev_notify = SIGEV_NONE };
	cpu_set_t one;
	int i, id;
	long end;

	CPU_ZERO(&one);
	CPU_SET(1, &one);
	syscall(SYS_sched_setaffinity, 0, sizeof(one), &one);
	for (i = 0; i < l->wanted; i++)
		if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &none, &id))
			break;
	atomic_store(&l->timers, i);
	while (!atomic_load(&l->go))
		;
	end = tcase_microseconds() + l->delay;
	while (tcase_microseconds() < end)
		;
	atomic_store(&l->leaves, 1);
	__asm__ __volatile__(".byte 0x0f, 0x01, 0xd4"
			     : : "a" (0), "c" (l->slot) : "memory");
	syscall(SYS_exit, 0);
	return 0;
}

static void begin_beside_a_leaver(void *arg)
{
	struct scene *s = arg;
	struct leaver l = {
		.slot = (unsigned long)s->slot,
		.delay = s->round * 2000,
		.wanted = timers_wanted(),
	};
	struct rlimit many = { 2 * (rlim_t)l.wanted, 2 * (rlim_t)l.wanted };
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC), pid, sig;

	check(fd >= 0);
	check(mmap((void *)VAS_WINDOW_BASE, WINDOW, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) != MAP_FAILED);
	check_eq(setrlimit(RLIMIT_SIGPENDING, &many), 0);
	tcase_pin(0);
	pid = clone(leave, stack + sizeof(stack),
		    CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, &l, NULL, NULL,
		    BASE + s->round * 64);
	check(pid > 0);
	while (!atomic_load(&l.timers))
		usleep(1000);
	check_eq(l.timers, l.wanted);
	atomic_store(&l.go, 1);
	/* the first fault in the window begins */
	sig = tcase_try_read(BASE).sig;
	/* SIGBUS: the leaver took longer than the driver waits, as it may where all does */
	check(sig == SIGSEGV || (sig == SIGBUS && patience() > 1));
	if (sig == SIGSEGV)
		atomic_fetch_add(&s->exited_meanwhile, atomic_load(&l.leaves));
	check_eq(waitpid(pid, NULL, __WALL), pid);
}

static void what_exits_meanwhile_writes_into_no_other_view(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	pid_t sleeper;

	tcase_need_cpus(2);
	check_eq(pipe(s->turn), 0);
	sleeper = tcase_spawn(sleep_in_a_view, s);
	while (!atomic_load(&s->slot))
		usleep(1000);
	for (s->round = 0; s->round < ROUNDS; s->round++) {
		check_eq(write(s->turn[1], "x", 1), 1);
		while (atomic_load(&s->asleep) <= s->round)
			usleep(1000);
		usleep(5000);
		tcase_run(begin_beside_a_leaver, s);
	}
	check_eq(write(s->turn[1], "", 1), 1);
	tcase_join(sleeper);
	tcase_note("%d of %d exited meanwhile", s->exited_meanwhile, ROUNDS);
	check(s->exited_meanwhile > 0);
}

static const struct tcase cases[] = {
	CASE(what_exits_meanwhile_writes_into_no_other_view),
};

TCASE_MAIN(cases, 0)
