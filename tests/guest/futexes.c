// SPDX-License-Identifier: GPL-2.0-only
/*
 * Futexes in the window.  Operations that write to an address where the view refuses
 * answer -EFAULT, and no thread spins in the kernel.  Private ones work between threads
 * of a process, in each VAS by itself.
 */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
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

/* The kernel finds its waiters by process and address. */
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

enum call { BY_FUTEX, BY_FUTEX_WAITV, BY_FUTEX_WAIT };

struct waiter {
	int vh;
	struct timespec *most;
	enum call call;
	int policy;
	atomic_int waits;
	long ret;
	pthread_t thread;
};

/* Also by the calls that are not in every kernel, nor in every header. */
#define SYS_FUTEX_WAITV	449
#define SYS_FUTEX_WAIT	455
#define U32_PRIVATE	(2 | FUTEX_PRIVATE_FLAG)

static long futex_wait(void *addr, enum call call, struct timespec *most)
{
	/* the value, the address, the flags */
	uint64_t one[3] = { 0, (uintptr_t)addr, U32_PRIVATE };
	long ret;

	if (call == BY_FUTEX)
		return futex(addr, FUTEX_WAIT_PRIVATE, 0, most, NULL, 0);
	if (call == BY_FUTEX_WAITV)
		ret = syscall(SYS_FUTEX_WAITV, one, 1, 0, NULL, 0);
	else
		ret = syscall(SYS_FUTEX_WAIT, addr, 0UL, 1UL, U32_PRIVATE,
			      NULL, 0);
	return ret < 0 ? -errno : ret;
}

static void *wait_while_zero(void *arg)
{
	static const struct sched_param none;
	struct waiter *w = arg;

	check_eq(sched_setscheduler(0, w->policy, &none), 0);
	check_eq(vas_switch(w->vh), 0);
	atomic_store(&w->waits, 1);
	w->ret = futex_wait(BASE, w->call, w->most);
	atomic_store(&w->waits, 2);
	check_eq(vas_switch(VAS_HOME), 0);
	return NULL;
}

static void start_waiter(struct waiter *w)
{
	w->vh = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
	check_eq(pthread_create(&w->thread, NULL, wait_while_zero, w), 0);
	while (!atomic_load(&w->waits))
		usleep(1000);
	usleep(50000);
}

/* One thread is woken by that, which may be another one; it has a signal at once. */
static void wake_one_with(struct waiter *w, const pthread_t *thread)
{
	check_eq(vas_switch(w->vh), 0);
	*(int *)BASE = 1;
	check_eq(futex(BASE, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
	if (thread)
		check_eq(pthread_kill(*thread, SIGUSR1), 0);
	check_eq(vas_switch(VAS_HOME), 0);
}

static void wake_one(struct waiter *w)
{
	wake_one_with(w, NULL);
}

static void wait_ends(struct waiter *w, long ret)
{
	check_eq(pthread_join(w->thread, NULL), 0);
	check_eq(w->ret, ret);
}

/* The word of @changed has another value; the wake-up reaches @next, too. */
static void wake_up_goes_on(struct waiter *changed, struct waiter *next)
{
	wait_ends(changed, -EAGAIN);
	wait_ends(next, 0);
}

/* The kernel wakes the thread in the first VAS, which then waits no more. */
static void a_wake_up_reaches_the_view_in_which_the_word_has_changed(void)
{
	struct timespec far = { .tv_sec = 100 };
	struct waiter first = { 0 }, second = { 0 }, third = { .most = &far };

	start_waiter(&first);
	start_waiter(&second);
	start_waiter(&third);
	wake_one(&third);
	wake_up_goes_on(&third, &first);
	/* its word is as it was */
	usleep(50000);
	check_eq(atomic_load(&second.waits), 1);
	wake_one(&second);
	wait_ends(&second, 0);
}

static void nothing_happens(int sig)
{
	(void)sig;
}

/* It goes on as another system call. */
static void a_wait_that_was_stopped_passes_a_wake_up_on(void)
{
	struct timespec far = { .tv_sec = 100 };
	struct waiter first = { .most = &far }, second = { 0 };
	pid_t pid = getpid(), child;

	start_waiter(&first);
	child = fork();
	check(child >= 0);
	if (!child) {
		kill(pid, SIGSTOP);
		usleep(50000);
		kill(pid, SIGCONT);
		_exit(0);
	}
	tcase_join(child);
	usleep(50000);
	start_waiter(&second);
	wake_one(&second);
	wake_up_goes_on(&second, &first);
}

/* Its registers are those of the handler when it comes back to user mode. */
static void a_wait_that_ends_in_a_signal_handler_passes_its_wake_up_on(void)
{
	struct waiter first = { .policy = SCHED_IDLE }, second = { 0 };

	tcase_pin(0);
	signal(SIGUSR1, nothing_happens);
	start_waiter(&first);
	start_waiter(&second);
	wake_one_with(&second, &first.thread);
	wake_up_goes_on(&second, &first);
}

/* Both threads; one of them may wait with futex(). */
static void other_call(enum call first_call, enum call second_call)
{
	struct waiter first = { .call = first_call };
	struct waiter second = { .call = second_call };

	start_waiter(&first);
	start_waiter(&second);
	wake_one(&second);
	wake_up_goes_on(&second, &first);
}

static void waits_with_other_calls_pass_wake_ups_on(void)
{
	if (syscall(SYS_FUTEX_WAIT, NULL, 0UL, 0UL, 0, NULL, 0) < 0 &&
	    errno != ENOSYS) {
		other_call(BY_FUTEX_WAIT, BY_FUTEX);
		other_call(BY_FUTEX, BY_FUTEX_WAIT);
	}
	other_call(BY_FUTEX_WAITV, BY_FUTEX);
	other_call(BY_FUTEX, BY_FUTEX_WAITV);
}

#define ROUNDS	400

/* What a library that knows nothing of VASes has in memory. */
struct shared {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	int turn, visits;
};

struct visitor {
	int vh, me, of;
	pthread_t thread;
};

/* Each waits for its turn with the condition variable, and gives it to the next. */
static void *take_turns(void *arg)
{
	struct shared *s = (struct shared *)BASE;
	const struct visitor *v = arg;
	int i;

	check_eq(vas_switch(v->vh), 0);
	for (i = 0; i < ROUNDS; i++) {
		check_eq(pthread_mutex_lock(&s->mutex), 0);
		while (s->turn != v->me)
			check_eq(pthread_cond_wait(&s->changed, &s->mutex), 0);
		s->turn = (s->turn + 1) % v->of;
		s->visits++;
		check_eq(pthread_cond_broadcast(&s->changed), 0);
		check_eq(pthread_mutex_unlock(&s->mutex), 0);
	}
	check_eq(vas_switch(VAS_HOME), 0);
	return NULL;
}

static void mutexes_and_conditions_at_one_address_work_in_each_vas(void)
{
	struct visitor v[3][3];
	int vh[3], i, j;

	for (i = 0; i < 3; i++) {
		struct shared *s = (struct shared *)BASE;

		vh[i] = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB, NULL)));
		check_eq(vas_switch(vh[i]), 0);
		check_eq(pthread_mutex_init(&s->mutex, NULL), 0);
		check_eq(pthread_cond_init(&s->changed, NULL), 0);
		check_eq(vas_switch(VAS_HOME), 0);
	}
	for (i = 0; i < 3; i++)
		for (j = 0; j < 3; j++) {
			v[i][j] = (struct visitor){ .vh = vh[i], .me = j, .of = 3 };
			check_eq(pthread_create(&v[i][j].thread, NULL, take_turns,
						&v[i][j]), 0);
		}
	for (i = 0; i < 3; i++)
		for (j = 0; j < 3; j++)
			check_eq(pthread_join(v[i][j].thread, NULL), 0);
	for (i = 0; i < 3; i++) {
		check_eq(vas_switch(vh[i]), 0);
		check_eq(((struct shared *)BASE)->visits, 3 * ROUNDS);
	}
	check_eq(vas_switch(VAS_HOME), 0);
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
	CASE_SECONDS(a_wake_up_reaches_the_view_in_which_the_word_has_changed, 20),
	CASE_SECONDS(a_wait_that_was_stopped_passes_a_wake_up_on, 20),
	CASE_SECONDS(a_wait_that_ends_in_a_signal_handler_passes_its_wake_up_on, 20),
	CASE_SECONDS(waits_with_other_calls_pass_wake_ups_on, 20),
	CASE_SECONDS(mutexes_and_conditions_at_one_address_work_in_each_vas, 60),
	CASE(a_shared_futex_in_a_segment_is_efault),
	CASE(who_tries_for_ever_can_be_killed),
	CASE(a_robust_list_may_lead_into_the_window),
};

TCASE_MAIN(cases, 0)
