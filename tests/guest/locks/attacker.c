// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "attacker.h"
#include "tcase.h"

#define NOBODY	65534

struct stage *new_stage(void)
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

void reach(atomic_int *what, int value)
{
	int i;

	for (i = 0; i < LIMIT && atomic_load(what) < value; i++)
		usleep(1000);
	check(atomic_load(what) >= value);
}

void wait_for_waiters(const volatile uint32_t *word)
{
	int i;

	for (i = 0; i < LIMIT && !(*word & PVVAS_LOCK_WAITERS); i++)
		usleep(1000);
	check(*word & PVVAS_LOCK_WAITERS);
	/* it sets that, and then it sleeps */
	usleep(50000);
}

void become_nobody(void)
{
	check_eq(setgroups(0, NULL), 0);
	check_eq(setgid(NOBODY), 0);
	check_eq(setuid(NOBODY), 0);
}

long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int call(const struct attacker *a, unsigned long request, void *arg)
{
	return ioctl(a->dev, request, arg) < 0 ? -errno : 0;
}

int call_lock(const struct attacker *a, unsigned long request, uint32_t flags)
{
	struct pvvas_ioc_lock arg = {
		.size = sizeof(arg),
		.flags = flags,
		.lock = a->open.lock,
	};

	return call(a, request, &arg);
}

volatile uint32_t *map_array(const struct attacker *a, unsigned int pages)
{
	volatile uint32_t *array =
		mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
		     a->dev, (off_t)PVVAS_HOLDS_OFFSET);

	check(array != MAP_FAILED);
	return array;
}

struct attacker attack(const struct stage *s, int vid)
{
	struct attacker a = {
		.open = { .size = sizeof(a.open), .seg = (uint32_t)s->sid },
		.thread = { .size = sizeof(a.thread) },
	};
	int prot = PROT_READ;

	a.dev = open("/dev/pvvas", O_RDWR);
	check(a.dev >= 0);
	a.vh = check_id(vas_attach(vid));
	a.open.handle = (uint32_t)a.vh;
	check_eq(call(&a, PVVAS_IOC_LOCK_OPEN, &a.open), 0);
	check_eq(call(&a, PVVAS_IOC_LOCK_THREAD, &a.thread), 0);
	if (a.open.rights & PVVAS_WRITE)
		prot |= PROT_WRITE;
	/* element 0, which the library takes for its first lock, too */
	a.word = mmap(NULL, PAGE, prot, MAP_SHARED, a.open.fd, 0);
	check(a.word != MAP_FAILED);
	a.array = map_array(&a, 4);
	return a;
}

struct attacker reader(const struct stage *s)
{
	become_nobody();
	return attack(s, s->read_vid);
}
