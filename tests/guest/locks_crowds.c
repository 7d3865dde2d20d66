// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a process that may only read costs those who may write, with very many
 * threads, or with threads that get next to no CPU time.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "locks/attacker.h"
#include "tcase.h"

static struct attacker crowd;
static atomic_int begun;

static void start(void *(*fn)(void *arg), int nr)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN + 16384);
	while (nr--)
		check_eq(pthread_create(&thread, &attr, fn, NULL), 0);
}

/* One of the crowd: with a number and an array of its own. */
static volatile uint32_t *be_a_holder(void)
{
	struct pvvas_ioc_lock_thread me = { .size = sizeof(me) };
	volatile uint32_t *array;

	check_eq(call(&crowd, PVVAS_IOC_LOCK_THREAD, &me), 0);
	array = map_array(&crowd, 1);
	atomic_fetch_add(&begun, 1);
	return array;
}

static void gather(struct stage *s, void *(*fn)(void *arg), int nr)
{
	crowd = reader(s);
	start(fn, nr);
	reach(&begun, nr);
	atomic_store(&s->ready, 1);
}

#define WAITING	400

static void *wait_to_read(void *arg)
{
	struct pvvas_ioc_lock take = { .size = sizeof(take),
				       .lock = crowd.open.lock,
				       .deadline = PVVAS_NO_DEADLINE };
	volatile uint32_t *array = be_a_holder();

	(void)arg;
	for (;;) {
		take.state = 0;
		if (call(&crowd, PVVAS_IOC_LOCK_TAKE, &take))
			continue;
		array[0] = 0;
		call_lock(&crowd, PVVAS_IOC_LOCK_RELEASE, 0);
	}
	return NULL;
}

static void wait_in_a_crowd(void *arg)
{
	gather(arg, wait_to_read, WAITING);
	for (;;)
		pause();
}

static void a_writer_leaves_at_once_whoever_waits(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid)), i;
	long begin, ms, worst = 0;
	pid_t pid;

	check_eq(vas_switch(vh), 0);
	pid = tcase_spawn(wait_in_a_crowd, s);
	reach(&s->ready, 1);
	for (i = 0; i < 5; i++) {
		usleep(300000);
		begin = now_ms();
		check_eq(vas_switch(VAS_HOME), 0);
		ms = now_ms() - begin;
		if (ms > worst)
			worst = ms;
		/* in turn with all of them */
		check_eq(vas_switch_timed(vh, LIMIT), 0);
	}
	check_eq(vas_switch(VAS_HOME), 0);
	tcase_note("%ld ms", worst);
	check(worst < 300);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
}

static void *run_always(void *arg)
{
	volatile unsigned long n = 0;

	(void)arg;
	tcase_pin(0);
	for (;;)
		n++;
	return NULL;
}

#define SLOW	64

static void *read_slowly(void *arg)
{
	volatile uint32_t *array = be_a_holder();
	const struct sched_param none = { 0 };

	(void)arg;
	tcase_pin(0);
	check_eq(sched_setscheduler(0, SCHED_IDLE, &none), 0);
	for (;;) {
		call_lock(&crowd, PVVAS_IOC_LOCK_TAKE, PVVAS_LOCK_TRY);
		array[0] = 0;
		call_lock(&crowd, PVVAS_IOC_LOCK_RELEASE, 0);
	}
	return NULL;
}

static void read_in_a_slow_crowd(void *arg)
{
	gather(arg, read_slowly, SLOW);
	start(run_always, 2);
	for (;;)
		pause();
}

static void a_time_limit_holds_beside_threads_without_cpu_time(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid)), i, err;
	long begin, ms, worst = 0;
	pid_t pid = tcase_spawn(read_in_a_slow_crowd, s);

	reach(&s->ready, 1);
	tcase_pin(tcase_nr_cpus() - 1);
	for (i = 0; i < 30; i++) {
		begin = now_ms();
		err = vas_switch_timed(vh, 100);
		ms = now_ms() - begin;
		if (ms > worst)
			worst = ms;
		check(!err || err == -ETIMEDOUT);
		check_eq(vas_switch(VAS_HOME), 0);
		usleep(1000);
	}
	tcase_note("%ld ms", worst);
	check(worst < 1000);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
}

static const struct tcase cases[] = {
	CASE(a_writer_leaves_at_once_whoever_waits),
	CASE(a_time_limit_holds_beside_threads_without_cpu_time),
};

TCASE_MAIN(cases, 0)
