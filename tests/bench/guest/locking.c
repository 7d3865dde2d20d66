// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the lock of a segment costs, beside a rwlock of pthread and a mutex made of a
 * futex.  An operation is a section: in and out, or taken and released.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <pvvas.h>

#include "bench.h"

#define GROUP	"locking"
#define BASE	((char *)VAS_WINDOW_FIRST)
#define MOST_THREADS	8
/* Of each thread, where several run at once. */
#define SECTIONS	200

enum kind { NONE, VAS_SHARED, VAS_EXCLUSIVE, RWLOCK_SHARED, RWLOCK_EXCLUSIVE,
	    FUTEX_MUTEX, NR_KINDS };

static const char *const names[NR_KINDS] = {
	"none", "vas_shared", "vas_exclusive", "rwlock_shared",
	"rwlock_exclusive", "futex_mutex",
};

/* 0 free, 1 taken, 2 taken and waited for; between processes, as a segment's lock is */
static atomic_uint *mutex;
static pthread_rwlock_t *rwlock;
static int handles[VAS_EXCLUSIVE + 1];
/* Each in a page of its own, where the lock is, and in the segment. */
static volatile unsigned long *outside;

static void futex(atomic_uint *word, int op, unsigned int value)
{
	syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

static inline void mutex_lock(atomic_uint *word)
{
	unsigned int seen = 0;

	if (atomic_compare_exchange_strong(word, &seen, 1))
		return;
	while (atomic_exchange(word, 2))
		futex(word, FUTEX_WAIT, 2);
}

static inline void mutex_unlock(atomic_uint *word)
{
	if (atomic_exchange(word, 0) == 2)
		futex(word, FUTEX_WAKE, 1);
}

static inline void enter(enum kind kind)
{
	switch (kind) {
	case RWLOCK_SHARED:
		pthread_rwlock_rdlock(rwlock);
		break;
	case RWLOCK_EXCLUSIVE:
		pthread_rwlock_wrlock(rwlock);
		break;
	case FUTEX_MUTEX:
		mutex_lock(mutex);
		break;
	default:
		if (vas_switch(handles[kind]))
			bench_fail("vas_switch");
	}
}

static inline void leave(enum kind kind)
{
	switch (kind) {
	case RWLOCK_SHARED:
	case RWLOCK_EXCLUSIVE:
		pthread_rwlock_unlock(rwlock);
		break;
	case FUTEX_MUTEX:
		mutex_unlock(mutex);
		break;
	default:
		vas_switch(VAS_HOME);
	}
}

static inline volatile unsigned long *counter(enum kind kind)
{
	return kind <= VAS_EXCLUSIVE ? (volatile unsigned long *)BASE : outside;
}

static inline bool may_write(enum kind kind)
{
	return kind == VAS_EXCLUSIVE || kind == RWLOCK_EXCLUSIVE ||
	       kind == FUTEX_MUTEX;
}

/* A function for each, so that which one it is costs nothing. */
#define SECTION(name, kind) \
static void name(unsigned long n, void *arg) \
{ \
	(void)arg; \
	BENCH_LOOP(n) { \
		enter(kind); \
		leave(kind); \
	} \
}

SECTION(without, NONE)
SECTION(vas_shared, VAS_SHARED)
SECTION(vas_exclusive, VAS_EXCLUSIVE)
SECTION(rwlock_shared, RWLOCK_SHARED)
SECTION(rwlock_exclusive, RWLOCK_EXCLUSIVE)
SECTION(futex_mutex, FUTEX_MUTEX)

static void (*const sections[NR_KINDS])(unsigned long, void *) = {
	without, vas_shared, vas_exclusive, rwlock_shared, rwlock_exclusive,
	futex_mutex,
};

/* In a section, long enough that the other one finds the lock taken. */
static void section_with_a_rival(enum kind kind)
{
	enter(kind);
	sched_yield();
	leave(kind);
}

struct rival {
	enum kind kind;
	atomic_bool end;
};

static void *be_a_rival(void *arg)
{
	struct rival *r = arg;

	while (!atomic_load(&r->end)) {
		section_with_a_rival(r->kind);
		sched_yield();
	}
	return NULL;
}

static void contended(unsigned long n, void *arg)
{
	const struct rival *r = arg;

	BENCH_LOOP(n) {
		section_with_a_rival(r->kind);
		sched_yield();
	}
}

static void with_a_rival(enum kind kind)
{
	struct rival r = { .kind = kind };
	pthread_t thread;

	if (!bench_wanted(GROUP, "contended"))
		return;
	bench_check(!pthread_create(&thread, NULL, be_a_rival, &r));
	bench_run(&(struct bench){ GROUP, "contended",
		bench_text("\"lock\": \"%s\"", names[kind]), contended,
		.arg = &r, .flags = BENCH_NO_STEP });
	atomic_store(&r.end, true);
	pthread_join(thread, NULL);
}

struct crowd {
	enum kind kind;
	int threads;
	pthread_barrier_t begin;
};

struct one {
	struct crowd *crowd;
	int cpu;
};

static void *be_one_of_many(void *arg)
{
	const struct one *one = arg;
	enum kind kind = one->crowd->kind;
	volatile unsigned long *count;
	cpu_set_t cpu;
	int i;

	CPU_ZERO(&cpu);
	CPU_SET(one->cpu, &cpu);
	bench_check(!pthread_setaffinity_np(pthread_self(), sizeof(cpu), &cpu));
	count = counter(kind);
	/* what a thread's first time costs is not what is asked */
	enter(kind);
	leave(kind);
	pthread_barrier_wait(&one->crowd->begin);
	for (i = 0; i < SECTIONS; i++) {
		enter(kind);
		if (may_write(kind))
			(*count)++;
		else
			(void)*count;
		leave(kind);
	}
	return NULL;
}

static void run_crowd(unsigned long n, void *arg)
{
	struct crowd *c = arg;
	struct one one[MOST_THREADS];
	pthread_t thread[MOST_THREADS];
	int i;

	(void)n;
	pthread_barrier_init(&c->begin, NULL, (unsigned int)c->threads);
	for (i = 0; i < c->threads; i++) {
		one[i] = (struct one){ c, i };
		bench_check(!pthread_create(&thread[i], NULL, be_one_of_many,
					    &one[i]));
	}
	for (i = 0; i < c->threads; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&c->begin);
}

static unsigned long counted(enum kind kind)
{
	unsigned long n;

	enter(kind);
	n = *counter(kind);
	leave(kind);
	return n;
}

/* Each thread on a processor of its own; threads begin and end in it, too. */
static void by_threads(enum kind kind, int threads)
{
	struct crowd c = { .kind = kind, .threads = threads };
	unsigned long before = counted(kind), more;

	bench_run(&(struct bench){ GROUP, "contended_by_threads",
		bench_text("\"lock\": \"%s\", \"threads\": %d", names[kind],
			   threads),
		run_crowd, .arg = &c, .flags = BENCH_ONCE | BENCH_NO_STEP,
		.per_turn = (unsigned int)threads * SECTIONS });
	/* each section that wrote was alone in it */
	more = counted(kind) - before;
	bench_check(may_write(kind) ? more % ((unsigned long)threads * SECTIONS) == 0 :
				      more == 0);
}

static int attach(int sid, int prot)
{
	int vid = bench_id(vas_create(NULL, 0600));

	bench_id(seg_attach_prot(vid, sid, prot));
	return bench_id(vas_attach(vid));
}

static void make_locks(void)
{
	pthread_rwlockattr_t attr;
	char *shared = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int sid = bench_id(seg_alloc(NULL, BASE, 4096, 0600)), i;

	bench_check(shared != MAP_FAILED);
	mutex = (atomic_uint *)shared;
	rwlock = (pthread_rwlock_t *)(shared + 4096);
	outside = (volatile unsigned long *)(shared + 8192);
	bench_check(!pthread_rwlockattr_init(&attr));
	bench_check(!pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
	bench_check(!pthread_rwlock_init(rwlock, &attr));
	handles[NONE] = attach(sid, PROT_READ | PROT_WRITE);
	bench_id(seg_ctl(sid, SEG_CTL_LOCK_ON));
	handles[VAS_SHARED] = attach(sid, PROT_READ);
	handles[VAS_EXCLUSIVE] = attach(sid, PROT_READ | PROT_WRITE);
	for (i = 0; i <= VAS_EXCLUSIVE; i++) {
		bench_check(!vas_switch(handles[i]));
		(void)*(volatile char *)BASE;
		bench_check(!vas_switch(VAS_HOME));
	}
}

int main(int argc, char **argv)
{
	int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN), threads;
	enum kind kind;

	bench_init(argc, argv);
	make_locks();
	for (kind = NONE; kind < NR_KINDS; kind++) {
		if (cpus == 1) {
			bench_run(&(struct bench){ GROUP, "uncontended",
				bench_text("\"lock\": \"%s\"", names[kind]),
				sections[kind] });
			if (kind != NONE)
				with_a_rival(kind);
			continue;
		}
		if (!bench_wanted(GROUP, "contended_by_threads"))
			continue;
		for (threads = 1; threads <= cpus && threads <= MOST_THREADS;
		     threads *= 2)
			if (kind != NONE)
				by_threads(kind, threads);
	}
	return 0;
}
