// SPDX-License-Identifier: GPL-2.0-only
/* Suspicions about the locks of segments, as an unprivileged user. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "tcase.h"

#define BASE	((volatile long *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define NOBODY	65534
#define LIMIT	8000

struct stage {
	int vid, sid, read_vid;
	atomic_int ready, step;
};

static long ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static struct stage *new_stage(void)
{
	struct stage *s = tcase_shared(sizeof(*s));

	s->sid = tcase_seg(NULL, (void *)BASE, MIB, 0644);
	check_eq(seg_ctl(s->sid, SEG_CTL_LOCK_ON), 0);
	s->vid = tcase_vas(NULL, 0600);
	s->read_vid = tcase_vas(NULL, 0644);
	check_eq(seg_attach(s->vid, s->sid), 0);
	check_eq(seg_attach(s->read_vid, s->sid), 0);
	return s;
}

static void become_nobody(void)
{
	check_eq(setgroups(0, NULL), 0);
	check_eq(setgid(NOBODY), 0);
	check_eq(setuid(NOBODY), 0);
}

static int unmap_all(const char *what)
{
	char line[512];
	unsigned long a, b, list[16][2];
	int n = 0, i;
	FILE *f = fopen("/proc/self/maps", "r");

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, what) && n < 16 &&
		    sscanf(line, "%lx-%lx", &a, &b) == 2) {
			list[n][0] = a;
			list[n++][1] = b;
		}
	if (f)
		fclose(f);
	for (i = 0; i < n; i++)
		munmap((void *)list[i][0], list[i][1] - list[i][0]);
	return n;
}

static int lock_open(int dev, int vh, int sid, struct pvvas_ioc_lock_open *o)
{
	*o = (struct pvvas_ioc_lock_open){ .size = sizeof(*o),
		.handle = (uint32_t)vh, .seg = (uint32_t)sid };
	return ioctl(dev, PVVAS_IOC_LOCK_OPEN, o);
}

static void hold_and_unmap(void *arg)
{
	struct stage *s = arg;
	struct pvvas_ioc_lock_open o;
	struct pvvas_ioc_lock_thread t = { .size = sizeof(t) };
	const volatile uint32_t *word;
	volatile uint32_t *array;
	int dev, vh, n;

	become_nobody();
	dev = open("/dev/pvvas", O_RDWR);
	vh = check_id(vas_attach(s->read_vid));
	check_eq(lock_open(dev, vh, s->sid, &o), 0);
	check_eq(o.rights, PVVAS_READ);
	check_eq(ioctl(dev, PVVAS_IOC_LOCK_THREAD, &t), 0);
	word = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, o.fd, 0);
	array = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dev,
		     (off_t)PVVAS_HOLDS_OFFSET);
	check(word != MAP_FAILED && array != MAP_FAILED);
	array[0] = o.lock;
	atomic_store(&s->ready, 1);
	while (!(*word & PVVAS_LOCK_WAITERS))
		usleep(1000);
	usleep(50000);
	n = unmap_all("pvvas-lock");
	check(n > 0);
	atomic_store(&s->ready, 2);
}

static void a_reader_that_unmaps_the_lock_and_dies_has_let_go(void)
{
	struct stage *s = new_stage();
	int vh = check_id(vas_attach(s->vid)), err, i;
	long begin;
	pid_t pid = tcase_spawn(hold_and_unmap, s);

	for (i = 0; i < 20000 && atomic_load(&s->ready) < 1; i++)
		usleep(1000);
	begin = ms();
	err = vas_switch_timed(vh, LIMIT);
	tcase_note("error %d after %ld ms, ready %d", err, ms() - begin,
		   atomic_load(&s->ready));
	check_eq(vas_switch(VAS_HOME), 0);
	tcase_join(pid);
	check(ms() - begin < LIMIT);
}

/* H2 */
static struct hammer {
	int dev;
	volatile uint32_t *word;
	uint32_t lock;
	atomic_int ready, go;
} ham;

static void bigger(void)
{
	struct pvvas_ioc_lock_thread t = { .size = sizeof(t) };

	check_eq(ioctl(ham.dev, PVVAS_IOC_LOCK_THREAD, &t), 0);
	check(mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ham.dev,
		   (off_t)PVVAS_HOLDS_OFFSET) != MAP_FAILED);
	atomic_fetch_add(&ham.ready, 1);
}

static void *toggles(void *arg)
{
	uint32_t n = 0;

	(void)arg;
	for (;;)
		*ham.word = PVVAS_LOCK_READERS | (1 + (n++ & 1));
	return NULL;
}

static void *stands(void *arg)
{
	(void)arg;
	bigger();
	for (;;)
		pause();
	return NULL;
}

static void *takes(void *arg)
{
	struct pvvas_ioc_lock l = { .size = sizeof(l), .lock = ham.lock,
		.flags = PVVAS_LOCK_EXCLUSIVE, .deadline = PVVAS_NO_DEADLINE };

	(void)arg;
	bigger();
	for (;;) {
		l.state = 0;
		ioctl(ham.dev, PVVAS_IOC_LOCK_TAKE, &l);
	}
	return NULL;
}

static void *dies(void *arg)
{
	(void)arg;
	bigger();
	while (!atomic_load(&ham.go))
		usleep(1000);
	return NULL;
}

static void hammers(void *arg)
{
	struct stage *s = arg;
	struct pvvas_ioc_lock_open o;
	pthread_t t;
	int sid, vid, vh, i;

	become_nobody();
	ham.dev = open("/dev/pvvas", O_RDWR);
	sid = check_id(seg_alloc(NULL, (char *)BASE + 64 * MIB, MIB, 0600));
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), 0);
	vid = check_id(vas_create(NULL, 0600));
	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(lock_open(ham.dev, vh, sid, &o), 0);
	ham.lock = o.lock;
	ham.word = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, o.fd, 0);
	check(ham.word != MAP_FAILED);
	for (i = 0; i < 6; i++)
		pthread_create(&t, NULL, stands, NULL);
	pthread_create(&t, NULL, dies, NULL);
	pthread_create(&t, NULL, toggles, NULL);
	pthread_create(&t, NULL, takes, NULL);
	while (atomic_load(&ham.ready) < 8)
		usleep(1000);
	usleep(500000);
	atomic_store(&ham.go, 1);
	usleep(500000);
	atomic_store(&s->ready, 1);
	for (;;)
		pause();
}

static void asks_for_numbers(void *arg)
{
	struct stage *s = arg;
	struct pvvas_ioc_stats st = { .size = sizeof(st) };
	int dev = open("/dev/pvvas", O_RDWR);

	check_eq(ioctl(dev, PVVAS_IOC_STATS, &st), 0);
	atomic_store(&s->step, 1);
}

static void a_hostile_word_holds_up_its_own_process_alone(void)
{
	struct stage *s = tcase_shared(sizeof(*s));
	pid_t pid = tcase_spawn(hammers, s), other;
	long begin;
	int i;

	for (i = 0; i < 30000 && atomic_load(&s->ready) < 1; i++)
		usleep(1000);
	check(atomic_load(&s->ready) == 1);
	other = tcase_spawn(asks_for_numbers, s);
	begin = ms();
	while (ms() - begin < 10000 && !atomic_load(&s->step))
		usleep(1000);
	tcase_note("numbers: %d after %ld ms", atomic_load(&s->step), ms() - begin);
	i = atomic_load(&s->step);
	check_eq(kill(pid, SIGKILL), 0);
	tcase_join_killed(pid, SIGKILL);
	tcase_join(other);
	tcase_note("after the attacker's death: %ld ms", ms() - begin);
	check(i);
}

static const struct tcase cases[] = {
	CASE(a_reader_that_unmaps_the_lock_and_dies_has_let_go),
	CASE(a_hostile_word_holds_up_its_own_process_alone),
};

TCASE_MAIN(cases, 0)
