// SPDX-License-Identifier: GPL-2.0-only
/*
 * Futex operations that write to an address of the window: where the view
 * refuses, they answer -EFAULT, and nobody spins in the kernel.
 */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define ADD_ONE	FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 12345)

static int word;

static long futex(void *addr, int op, long val, void *val2, void *addr2,
		  int val3)
{
	long ret = syscall(SYS_futex, addr, op, val, val2, addr2, val3);

	return ret < 0 ? -errno : ret;
}

/* Each operation that the kernel tries again after fault_in_user_writeable(). */
static void refused(void *addr)
{
	check_eq(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, NULL, addr, ADD_ONE),
		 -EFAULT);
	check_eq(futex(addr, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), -EFAULT);
	check_eq(futex(addr, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0),
		 -EFAULT);
	check_eq(futex(addr, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0),
		 -EFAULT);
	check_eq(futex(&word, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, addr,
		       word), -EFAULT);
	check_eq(futex(addr, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), -EFAULT);
}

static void a_futex_outside_every_segment_is_efault(void)
{
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));

	refused(BASE);
	check_eq(vas_switch(vh), 0);
	refused(BASE + 4 * MIB);
	check_eq(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, NULL,
		       (void *)VAS_WINDOW_BASE, ADD_ONE), -EFAULT);
	/* after the page tables have an entry for it, too */
	check_eq(tcase_try_read(BASE + 8 * MIB).sig, SIGSEGV);
	refused(BASE + 8 * MIB);
	check_eq(vas_switch(VAS_HOME), 0);
	refused(BASE);
}

static void a_futex_in_a_read_only_segment_is_efault(void)
{
	int vid = tcase_vas(NULL, 0600);
	int sid = tcase_seg(NULL, BASE, MIB, 0400);
	int vh;

	check_eq(seg_attach_prot(vid, sid, PROT_READ), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	check_eq(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, NULL, BASE, ADD_ONE),
		 -EFAULT);
	check_eq(*(int *)BASE, 0);
	check_eq(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, NULL, BASE, ADD_ONE),
		 -EFAULT);
	check_eq(futex(BASE, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), -EFAULT);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_futex_in_a_segment_works(void)
{
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, 4 * MIB, NULL)));
	int *at = (int *)(BASE + 3 * MIB);

	check_eq(vas_switch(vh), 0);
	/* the first touch of the page, and of the window, is the kernel's */
	check_eq(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, NULL, at, ADD_ONE), 0);
	check_eq(*at, 1);
	check_eq(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, NULL, at, ADD_ONE), 0);
	check_eq(*at, 2);
	*at = 0;
	check_eq(futex(at, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
	check_eq(*at, getpid());
	check_eq(futex(at, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0);
	check_eq(*at, 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static int other_view;

static void *wake_in_the_other_view(void *arg)
{
	long *woken = arg;
	int i;

	check_eq(vas_switch(other_view), 0);
	/* until the other thread is asleep */
	for (i = 0; i < 2000 && !*woken; i++) {
		*woken = futex(BASE, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
		usleep(1000);
	}
	check_eq(vas_switch(VAS_HOME), 0);
	return NULL;
}

/* Which is why they are not for memory in the window: pvvas(7). */
static void a_private_futex_wakes_who_waits_at_that_address_in_another_view(void)
{
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	const struct timespec most = { .tv_sec = 20 };
	pthread_t thread;
	long woken = 0;

	other_view = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	check_eq(pthread_create(&thread, NULL, wake_in_the_other_view, &woken),
		 0);
	check_eq(vas_switch(vh), 0);
	check_eq(futex(BASE, FUTEX_WAIT_PRIVATE, 0, (void *)&most, NULL, 0), 0);
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(woken, 1);
}

/* The key of a shared futex is a page of the kernel's, which a segment has not. */
static void a_shared_futex_in_a_segment_is_efault(void)
{
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));

	check_eq(vas_switch(vh), 0);
	*(int *)BASE = 1;
	check_eq(futex(BASE, FUTEX_WAIT, 1, NULL, NULL, 0), -EFAULT);
	check_eq(futex(BASE, FUTEX_WAKE, 1, NULL, NULL, 0), -EFAULT);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void try_it(void *arg)
{
	atomic_int *going = arg;
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));

	check_eq(vas_switch(vh), 0);
	atomic_store(going, 1);
	for (;;)
		futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, NULL, BASE + 4 * MIB,
		      ADD_ONE);
}

static void who_tries_for_ever_can_be_killed(void)
{
	atomic_int *going = tcase_shared(sizeof(*going));
	pid_t pid = tcase_spawn(try_it, going);

	while (!atomic_load(going))
		usleep(1000);
	usleep(20000);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
}

/* The kernel walks the list when the thread exits. */
static void *exit_with_robust_list(void *arg)
{
	static struct {
		struct robust_list_head head;
	} list;
	struct robust_list *entry = arg;

	list.head.list.next = entry;
	list.head.futex_offset = 0;
	check_eq(syscall(SYS_set_robust_list, &list.head, sizeof(list.head)),
		 0);
	return NULL;
}

static void a_robust_list_may_lead_into_the_window(void)
{
	int vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	pthread_t thread;

	check_eq(vas_switch(vh), 0);
	check_eq(pthread_create(&thread, NULL, exit_with_robust_list,
				BASE + 4 * MIB), 0);
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(pthread_create(&thread, NULL, exit_with_robust_list, BASE), 0);
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static const struct tcase cases[] = {
	CASE_SECONDS(a_futex_outside_every_segment_is_efault, 10),
	CASE_SECONDS(a_futex_in_a_read_only_segment_is_efault, 10),
	CASE(a_futex_in_a_segment_works),
	CASE(a_private_futex_wakes_who_waits_at_that_address_in_another_view),
	CASE(a_shared_futex_in_a_segment_is_efault),
	CASE(who_tries_for_ever_can_be_killed),
	CASE(a_robust_list_may_lead_into_the_window),
};

TCASE_MAIN(cases, 0)
