// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a process that may only read costs those that may write, with very many
 * threads, or with threads that get next to no CPU time.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"
#include "locks/attacker.h"
#include "tcase.h"

#define QUOTAS	"/sys/module/pvvas/parameters"

static struct attacker crowd;
static atomic_int begun, been;

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
	tcase_threads(NULL, nr, fn, NULL);
	reach(&begun, nr);
	atomic_store(&s->ready, 1);
}

#define WAITING	800

static void *wait_to_read(void *arg)
{
	struct pvvas_ioc_lock take = { .size = sizeof(take),
				       .lock = crowd.open.lock,
				       .deadline = PVVAS_NO_DEADLINE };
	volatile uint32_t *array = be_a_holder();

	(void)arg;
	check_eq(call(&crowd, PVVAS_IOC_LOCK_TAKE, &take), 0);
	array[0] = 0;
	call_lock(&crowd, PVVAS_IOC_LOCK_RELEASE, 0);
	atomic_fetch_add(&been, 1);
	for (;;)
		pause();
	return NULL;
}

static void wait_in_a_crowd(void *arg)
{
	struct stage *s = arg;

	gather(s, wait_to_read, WAITING);
	reach(&been, WAITING);
	atomic_store(&s->step, 1);
	for (;;)
		pause();
}

static void a_writer_leaves_at_once_whoever_waits(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid));
	struct timespec before, after;
	long us;
	pid_t pid;

	check_eq(vas_switch(vh), 0);
	pid = tcase_spawn(wait_in_a_crowd, s);
	reach(&s->ready, 1);
	usleep(300000);
	/* what it has to do itself; the others may have the CPU meanwhile */
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	check_eq(vas_switch(VAS_HOME), 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
	us = (after.tv_sec - before.tv_sec) * 1000000 +
	     (after.tv_nsec - before.tv_nsec) / 1000;
	tcase_note("%ld us", us);
	check(us < 4000);
	/* all of them have been woken */
	reach(&s->step, 1);
	check_eq(vas_switch_timed(vh, LIMIT), 0);
	check_eq(vas_switch(VAS_HOME), 0);
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
	tcase_threads(NULL, 2, run_always, NULL);
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

/* More than one release wakes. */
#define STARVED	40
#define CGROUPS	"/tmp/cgroup"

static void wait_in_a_starved_crowd(void *arg)
{
	struct stage *s = arg;

	cgroup_enter("starved");
	gather(s, wait_to_read, STARVED);
	reach(&s->step, 1);
	tcase_threads(NULL, 2, run_always, NULL);
	for (;;)
		pause();
}

static void read_behind_them(void *arg)
{
	struct stage *s = arg;
	int vh;

	become_nobody();
	vh = check_id(vas_attach(s->read_vid));
	tcase_pin(tcase_nr_cpus() - 1);
	atomic_store(&s->ready, 2);
	check_eq(vas_switch_timed(vh, LIMIT), 0);
	atomic_store(&s->step, (int)now_ms());
	check_eq(vas_switch(VAS_HOME), 0);
}

/* Another reader is in as soon as the writer is out. */
static void readers_without_cpu_time_are_in_no_other_readers_way(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid)), ms;
	pid_t starved, other;

	cgroup_make("starved", "max");
	put_value(CGROUPS, "cgroup.subtree_control", "+cpu");
	check_eq(vas_switch(vh), 0);
	starved = tcase_spawn(wait_in_a_starved_crowd, s);
	reach(&s->ready, 1);
	/* until all of them wait */
	usleep(1500000);
	put_value(CGROUPS "/starved", "cpu.max", "1000 1000000");
	atomic_store(&s->step, 1);
	usleep(100000);
	other = tcase_spawn(read_behind_them, s);
	reach(&s->ready, 2);
	/* it looks by itself a second after it began to wait */
	usleep(200000);
	ms = (int)now_ms();
	check_eq(vas_switch(VAS_HOME), 0);
	tcase_join(other);
	ms = atomic_load(&s->step) - ms;
	tcase_note("%d ms", ms);
	put_value(CGROUPS "/starved", "cpu.max", "max 1000000");
	check_eq(kill(starved, SIGKILL), 0);
	tcase_join_killed(starved, SIGKILL);
	cgroup_remove("starved");
	check(ms < 400);
}

/* A quarter of max_memory_mib is for tables. */
#define QUOTA_KIB	4096L

static atomic_int refused;

static void *keep_an_array(void *arg)
{
	struct pvvas_ioc_lock_thread me = { .size = sizeof(me) };
	const size_t bytes = PVVAS_HOLDS_MAX * PAGE;
	void *p;

	(void)arg;
	check_eq(call(&crowd, PVVAS_IOC_LOCK_THREAD, &me), 0);
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, crowd.dev,
		 (off_t)PVVAS_HOLDS_OFFSET);
	/* it is the thread's all the same, and in no process's size */
	if (p != MAP_FAILED)
		munmap(p, bytes);
	else
		atomic_store(&refused, errno);
	atomic_fetch_add(&begun, 1);
	for (;;)
		pause();
	return NULL;
}

static void keep_arrays(void *arg)
{
	long before = tcase_number("/proc/meminfo", "MemAvailable:"), kib;
	struct stage *s = arg;

	crowd = reader(s);
	tcase_threads(NULL, 100, keep_an_array, NULL);
	reach(&begun, 100);
	kib = before - tcase_number("/proc/meminfo", "MemAvailable:");
	tcase_note("%ld KiB", kib);
	check_eq(atomic_load(&refused), ENOSPC);
	/* and what threads are made of; the arrays alone would be 25,600 KiB */
	check(kib < QUOTA_KIB + 100 * 128);
}

static void arrays_of_threads_are_held_to_the_quota(void)
{
	struct stage *s = new_stage();

	put_value(QUOTAS, "max_memory_mib", "8");
	tcase_join(tcase_spawn(keep_arrays, s));
	put_value(QUOTAS, "max_memory_mib", "0");
}

static void locks_that_are_no_segments_more_are_held_to_the_quota(void)
{
	struct stage *s = new_stage();
	struct attacker a = attack(s, s->vid);
	int err = 0, i;

	put_value(QUOTAS, "max_memory_mib", "2");
	/* each is kept by its descriptor */
	for (i = 0; i < 300 && !err; i++) {
		check_eq(call(&a, PVVAS_IOC_LOCK_OPEN, &(struct pvvas_ioc_lock_open){
			 .size = sizeof(a.open), .handle = a.open.handle,
			 .seg = a.open.seg }), 0);
		check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_OFF), 0);
		err = seg_ctl(s->sid, SEG_CTL_LOCK_ON);
	}
	put_value(QUOTAS, "max_memory_mib", "0");
	tcase_note("%d", i);
	check_eq(err, -ENOSPC);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_ON), 0);
}

static const struct tcase cases[] = {
	CASE(a_writer_leaves_at_once_whoever_waits),
	CASE(a_time_limit_holds_beside_threads_without_cpu_time),
	CASE(readers_without_cpu_time_are_in_no_other_readers_way),
	CASE(arrays_of_threads_are_held_to_the_quota),
	CASE(locks_that_are_no_segments_more_are_held_to_the_quota),
};

TCASE_MAIN(cases, 0)
