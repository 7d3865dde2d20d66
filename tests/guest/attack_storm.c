// SPDX-License-Identifier: GPL-2.0-only
/*
 * Another user's processes, in a cgroup with next to no memory, make any calls
 * beside each other and are killed in the middle, while the owner of what they may
 * read goes on with its work: its data stay right, its calls are answered, and
 * nothing is left behind.
 *
 * Usage: attack_storm [SEED [SECONDS]]
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "cgroup.h"
#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define GIB	(1UL << 30)
#define BLOCK	(2 * MIB)
#define PAGE	4096UL
#define NOBODY	1000
#define NR_PROCS	5
#define OWNED	(2 * MIB)

struct scene {
	_Atomic long calls;
	_Atomic long starts;
	_Atomic unsigned int seed;
	int vid;
	int sid;
};

static unsigned int seed = 1, seconds = 8;

static long milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static _Thread_local sigjmp_buf refused;
static _Thread_local volatile int trying;

static void on_refused(int sig)
{
	if (trying)
		siglongjmp(refused, sig);
	_exit(0);
}

static void touch(char *p, bool write)
{
	trying = 1;
	if (!sigsetjmp(refused, 1)) {
		if (write)
			*(volatile char *)p = 1;
		else
			(void)*(volatile char *)p;
	}
	trying = 0;
}

struct mine {
	unsigned int r;
	int vids[4], sids[6], vhs[4];
	struct scene *s;
};

static unsigned int any(struct mine *m, unsigned int n)
{
	m->r = m->r * 1103515245 + 12345;
	return (m->r >> 16) % n;
}

static char *place(struct mine *m)
{
	return BASE + any(m, 3) * GIB + any(m, 4) * BLOCK;
}

static int a_sid(struct mine *m)
{
	return any(m, 3) ? m->sids[any(m, 6)] : m->s->sid;
}

static int a_vid(struct mine *m)
{
	return any(m, 3) ? m->vids[any(m, 4)] : m->s->vid;
}

static void *touch_in_a_thread(void *arg)
{
	struct mine m = *(struct mine *)arg;
	int i;

	m.r ^= (unsigned int)gettid();
	vas_switch(m.vhs[any(&m, 4)]);
	for (i = 0; i < 20; i++)
		touch(place(&m) + any(&m, 512) * PAGE, any(&m, 2));
	vas_switch(VAS_HOME);
	return NULL;
}

static void with_threads(struct mine *m)
{
	pthread_t threads[2];
	int i, n = 0;

	for (i = 0; i < 2; i++)
		n += !pthread_create(&threads[n], NULL, touch_in_a_thread, m);
	for (i = 0; i < 3; i++)
		vas_detach(m->vhs[any(m, 4)]);
	for (i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

static void leave_somehow(struct mine *m)
{
	pid_t pid;

	switch (any(m, 3)) {
	case 0:
		execl("/proc/self/exe", "attack_storm", "exit", NULL);
		break;
	case 1:
		pid = vfork();
		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
		break;
	default:
		pid = fork();
		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
}

/* The kernel's way to the memory of a process, with addresses in the window. */
static void by_system_call(struct mine *m)
{
	char buf[64], *p = place(m) + any(m, 512) * PAGE;
	struct iovec local = { buf, sizeof(buf) }, remote = { p, sizeof(buf) };
	int fd;

	process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		(void)!pread(fd, buf, sizeof(buf), (off_t)(uintptr_t)p);
		(void)!pwrite(fd, buf, sizeof(buf), (off_t)(uintptr_t)p);
		close(fd);
	}
	fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	(void)!read(fd, p, 3 * PAGE);
	close(fd);
	madvise(p, PAGE, MADV_DONTNEED);
	mprotect(p, PAGE, PROT_READ);
	syscall(SYS_futex, p, 129, 1, NULL, NULL, 0);
}

static int alloc_somehow(struct mine *m, char *p)
{
	static const uint32_t flags[] = { SEG_HUGE, SEG_SMALL, SEG_POPULATE,
					  SEG_DUMP, SEG_HUGE | SEG_POPULATE };
	struct seg_options options = { .size = sizeof(options),
				       .flags = flags[any(m, 5)] };

	return seg_alloc_with(NULL, p, (1 + any(m, 1024)) * PAGE, 0600,
			      &options);
}

static void publish_somehow(struct mine *m, int i, int k)
{
	char name[32];

	snprintf(name, sizeof(name), "storm%u", any(m, 6));
	if (any(m, 2))
		seg_publish(any(m, 2) ? m->sids[k] : m->s->sid, name);
	else
		vas_publish(any(m, 2) ? m->vids[i] : m->s->vid, name);
	seg_delete(seg_find(name));
	vas_delete(vas_find(name));
}

static void expire_somehow(struct mine *m, int i, int k)
{
	struct vas_attr va = { .size = sizeof(va), .valid = VAS_ATTR_EXPIRY,
			       .expiry = any(m, 3) };
	struct seg_attr sa = { .size = sizeof(sa), .valid = VAS_ATTR_EXPIRY,
			       .expiry = any(m, 3) };

	vas_ctl(VAS_CTL_SETATTR, any(m, 2) ? m->vids[i] : m->s->vid, &va);
	seg_ctl(any(m, 2) ? m->sids[k] : m->s->sid, SEG_CTL_SETATTR, &sa);
}

static void call(struct mine *m)
{
	struct seg_stat stat = { .size = sizeof(stat) };
	char *p = place(m);
	void *pages[8];
	int i = (int)any(m, 4), k = (int)any(m, 6), rights;

	switch (any(m, 32)) {
	case 0:
		m->vids[i] = vas_create(NULL, 0600);
		break;
	case 1:
		vas_delete(m->vids[i]);
		break;
	case 2:
		m->sids[k] = seg_alloc(NULL, p, (1 + any(m, 1024)) * PAGE, 0600);
		break;
	case 3:
		seg_delete(m->sids[k]);
		break;
	case 4:
	case 5:
		m->vhs[i] = vas_attach(a_vid(m));
		break;
	case 6:
		vas_detach(m->vhs[i]);
		break;
	case 7:
	case 8:
		seg_attach(a_vid(m), a_sid(m));
		break;
	case 9:
	case 10:
		seg_attach(m->vhs[i], a_sid(m));
		break;
	case 11:
		seg_detach(a_vid(m), a_sid(m));
		break;
	case 12:
		seg_detach(m->vhs[i], a_sid(m));
		break;
	case 13:
		m->sids[k] = seg_clone(a_sid(m));
		break;
	case 14:
		m->vids[i] = vas_clone(a_vid(m));
		break;
	case 15:
		m->sids[k] = seg_map2(m->sids[any(m, 6)], any(m, 2) ? p : NULL);
		break;
	case 16:
		seg_protect(a_sid(m), p, (1 + any(m, 64)) * PAGE, (int)any(m, 2));
		break;
	case 17:
		seg_dirty(a_sid(m), p, MIB, pages, 8);
		break;
	case 18:
		seg_pager(m->sids[k], (int)any(m, 2));
		break;
	case 19:
		seg_populate(a_sid(m), p, any(m, 64) * PAGE);
		break;
	case 20:
		seg_ctl(a_sid(m), SEG_CTL_STAT, &stat);
		break;
	case 21:
		vas_next_seg(m->vhs[i], 0, &rights);
		break;
	case 22:
		with_threads(m);
		break;
	case 23:
		leave_somehow(m);
		break;
	case 24:
		by_system_call(m);
		break;
	case 25:
	case 26:
		seg_discard(a_sid(m), p, (1 + any(m, 600)) * PAGE);
		break;
	case 27:
		m->sids[k] = alloc_somehow(m, p);
		break;
	case 28:
		publish_somehow(m, i, k);
		break;
	case 29:
		expire_somehow(m, i, k);
		break;
	case 30:
		seg_ctl(a_sid(m), any(m, 2) ? SEG_CTL_LOCK_ON : SEG_CTL_LOCK_OFF);
		break;
	default:
		vas_switch_try(m->vhs[i]);
		for (k = 0; k < 8; k++)
			touch(place(m) + any(m, 512) * PAGE, any(m, 2));
		if (any(m, 2))
			by_system_call(m);
		vas_switch(VAS_HOME);
	}
}

static void attack(void *arg)
{
	struct sigaction act = { .sa_handler = on_refused, .sa_flags = SA_NODEFER };
	struct mine m = { .s = arg };

	cgroup_enter("tight");
	check_eq(setgroups(0, NULL), 0);
	check_eq(setgid(NOBODY), 0);
	check_eq(setuid(NOBODY), 0);
	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	m.r = atomic_fetch_add(&m.s->seed, 7919);
	atomic_fetch_add(&m.s->starts, 1);
	for (;;) {
		call(&m);
		atomic_fetch_add(&m.s->calls, 1);
	}
}

/* One step of the owner's work, which no other changes. */
static void work(struct scene *s, int vh, long n)
{
	static const size_t at[] = { 0, 3 * PAGE, MIB, OWNED - PAGE };
	unsigned int i;
	int copy;

	check_eq(vas_switch(vh), 0);
	for (i = 0; i < 4; i++) {
		check_eq(*(volatile long *)(BASE + at[i]), n ? n - 1 : 0);
		*(volatile long *)(BASE + at[i]) = n;
	}
	check_eq(vas_switch(VAS_HOME), 0);
	if (n % 16)
		return;
	copy = check_id(seg_clone(s->sid));
	check_eq(seg_delete(copy), 0);
	check_eq(vas_find("nothing of this name"), -ENOENT);
}

static void an_owner_goes_on_beside_a_storm_without_memory(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	long end = milliseconds() + seconds * 1000L, took, slowest = 0, n = 0, at;
	pid_t pids[NR_PROCS] = { 0 };
	int vh, k = 0, i;

	srand(seed);
	atomic_store(&s->seed, seed);
	cgroup_make("tight", "6291456");
	s->vid = tcase_vas(tcase_name("v"), 0644);
	s->sid = tcase_seg(tcase_name("s"), BASE, OWNED, 0644);
	check_eq(seg_attach(s->vid, s->sid), 0);
	vh = check_id(vas_attach(s->vid));
	while ((at = milliseconds()) < end) {
		work(s, vh, n++);
		took = milliseconds() - at;
		slowest = took > slowest ? took : slowest;
		if (n % 8)
			continue;
		if (pids[k]) {
			kill(pids[k], SIGKILL);
			check_eq(waitpid(pids[k], NULL, 0), pids[k]);
		}
		pids[k] = tcase_spawn(attack, s);
		k = (k + 1) % NR_PROCS;
		usleep((useconds_t)(rand() % 60000));
	}
	for (i = 0; i < NR_PROCS; i++) {
		if (!pids[i])
			continue;
		kill(pids[i], SIGKILL);
		check_eq(waitpid(pids[i], NULL, 0), pids[i]);
	}
	tcase_note("seed %u: %ld processes, %ld calls; the owner's %ld rounds, the slowest %ld ms",
		   seed, atomic_load(&s->starts), atomic_load(&s->calls), n, slowest);
	check(n > 16);
}

static const struct tcase cases[] = {
	CASE_SECONDS(an_owner_goes_on_beside_a_storm_without_memory, 600),
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "exit"))
		return 0;
	if (argc > 1)
		seed = (unsigned int)atoi(argv[1]);
	if (argc > 2)
		seconds = (unsigned int)atoi(argv[2]);
	return tcase_main(cases, 1, 0);
}
