// SPDX-License-Identifier: GPL-2.0-only
/*
 * An unprivileged user that races the driver's calls with each other, and with
 * what the kernel does to a process: nothing of the owner's changes, nothing is
 * left behind, and the kernel says nothing (the runner looks).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>
#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define NOBODY	1000
#define NR	32

struct scene {
	_Atomic int stop;
	_Atomic long calls;
	char vas[64];
	char seg[64];
	int vid;
	int sid;
};

static void enter(int vh)
{
	check_eq(vas_switch(vh), 0);
}

/* A VAS and a segment of root's, which others may read. */
static struct scene *new_scene(void)
{
	struct scene *s = tcase_shared(sizeof(*s));

	strcpy(s->vas, tcase_name("v"));
	strcpy(s->seg, tcase_name("s"));
	s->vid = tcase_vas(s->vas, 0644);
	s->sid = tcase_seg(s->seg, BASE, 4 * MIB, 0644);
	check_eq(seg_attach(s->vid, s->sid), 0);
	return s;
}

/* So many processes that are killed in the middle, again and again. */
static void kill_in_turn(void (*attacker)(void *arg), struct scene *s, int times)
{
	pid_t pids[4] = { 0 };
	int i, k;

	for (i = 0; i < times; i++) {
		k = i % 4;
		if (pids[k]) {
			kill(pids[k], SIGKILL);
			check_eq(waitpid(pids[k], NULL, 0), pids[k]);
		}
		pids[k] = tcase_spawn(attacker, s);
		usleep(20000 + (useconds_t)(rand() % 30000));
	}
	for (k = 0; k < 4; k++) {
		kill(pids[k], SIGKILL);
		check_eq(waitpid(pids[k], NULL, 0), pids[k]);
	}
}

/*
 * Clones and reads, while the owner writes.
 */

static void clone_and_read(void *arg)
{
	struct scene *s = arg;
	volatile char *p = BASE;
	int vh, copy, vid, i;

	tcase_become(NOBODY);
	vh = check_id(vas_attach(s->vid));
	for (;;) {
		copy = check_id(seg_clone(s->sid));
		vid = check_id(vas_clone(s->vid));
		enter(vh);
		for (i = 0; i < 64; i++)
			(void)p[(size_t)(rand() % 1024) * PAGE];
		enter(check_id(vas_attach(vid)));
		p[0] = 99;
		check_eq(p[0], 99);
		enter(VAS_HOME);
		seg_delete(copy);
		vas_delete(vid);
		atomic_fetch_add(&s->calls, 1);
	}
}

static void *write_pages(void *arg)
{
	struct scene *s = arg;
	long n;
	int i;

	enter(check_id(vas_attach(s->vid)));
	for (n = 1; !atomic_load(&s->stop); n++)
		for (i = 0; i < NR; i++) {
			*(volatile long *)(BASE + i * PAGE) = n;
			check_eq(*(volatile long *)(BASE + i * PAGE), n);
		}
	enter(VAS_HOME);
	return NULL;
}

static void clones_of_who_dies_leave_the_source_alone(void)
{
	struct scene *s = new_scene();
	pthread_t thread;

	check_eq(pthread_create(&thread, NULL, write_pages, s), 0);
	kill_in_turn(clone_and_read, s, 24);
	atomic_store(&s->stop, 1);
	check_eq(pthread_join(thread, NULL), 0);
	tcase_note("%ld rounds of clones", atomic_load(&s->calls));
	check(atomic_load(&s->calls) > 0);
}

/*
 * Private segments beside public ones, faces and deletions.
 */

static void *detach_and_attach(void *arg)
{
	int *ids = arg;

	for (;;) {
		seg_attach(ids[0], ids[1]);
		seg_attach(ids[0], ids[2]);
		seg_detach(ids[0], ids[1]);
		seg_detach(ids[0], ids[2]);
	}
	return NULL;
}

static void cover_and_uncover(void *arg)
{
	struct scene *s = arg;
	pthread_t threads[2];
	int ids[3], i, face;

	tcase_become(NOBODY);
	ids[0] = check_id(vas_attach(s->vid));
	ids[1] = check_id(seg_alloc(NULL, BASE, 2 * MIB, 0600));
	ids[2] = check_id(seg_alloc(NULL, BASE + 2 * MIB, 64 * MIB, 0600));
	for (i = 0; i < 2; i++)
		check_eq(pthread_create(&threads[i], NULL, detach_and_attach,
					ids), 0);
	for (;;) {
		enter(ids[0]);
		tcase_try_read(BASE);
		tcase_try_write(BASE + 2 * MIB);
		enter(VAS_HOME);
		face = seg_map2(ids[1], NULL);
		seg_attach(ids[0], face);
		seg_delete(face);
		check_eq(seg_attach(s->vid, ids[1]), -EACCES);
		check_eq(seg_detach(s->vid, s->sid), -EACCES);
		atomic_fetch_add(&s->calls, 1);
	}
}

static void *attach_and_detach_public(void *arg)
{
	struct scene *s = arg;

	while (!atomic_load(&s->stop)) {
		check_eq(seg_detach(s->vid, s->sid), 0);
		check_eq(seg_attach(s->vid, s->sid), 0);
	}
	return NULL;
}

static void private_segments_come_and_go_beside_public_ones(void)
{
	struct scene *s = new_scene();
	int vh = check_id(vas_attach(s->vid));
	pthread_t thread;

	enter(vh);
	strcpy(BASE, "the owner's");
	enter(VAS_HOME);
	check_eq(pthread_create(&thread, NULL, attach_and_detach_public, s), 0);
	kill_in_turn(cover_and_uncover, s, 24);
	atomic_store(&s->stop, 1);
	check_eq(pthread_join(thread, NULL), 0);
	tcase_note("%ld rounds", atomic_load(&s->calls));
	check(atomic_load(&s->calls) > 0);
	enter(vh);
	check(!strcmp(BASE, "the owner's"));
	enter(VAS_HOME);
}

/*
 * Threads that begin at once, in a process that ends in many ways.
 */

static pthread_barrier_t start;

static void *begin(void *arg)
{
	struct scene *s = arg;
	int vh;

	pthread_barrier_wait(&start);
	vh = vas_attach(s->vid);
	check(vh > 0 || vh == -EAGAIN || vh == -EINTR);
	if (vh > 0 && !vas_switch(vh))
		tcase_try_read(BASE);
	for (;;)
		pause();
	return NULL;
}

static void begin_and_end(void *arg)
{
	struct scene *s = arg;
	pthread_t threads[4];
	int i, how = (int)(atomic_fetch_add(&s->calls, 1) % 5);
	pid_t pid;

	tcase_become(NOBODY);
	pthread_barrier_init(&start, NULL, 5);
	for (i = 0; i < 4; i++)
		check_eq(pthread_create(&threads[i], NULL, begin, s), 0);
	pthread_barrier_wait(&start);
	if (how == 1)
		usleep((useconds_t)(rand() % 3000));
	if (how == 2) {
		pid = vfork();
		if (!pid)
			execl("/bin/true", "true", NULL);
		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
	if (how == 3)
		execl("/bin/true", "true", NULL);
	if (how == 4) {
		pid = fork();
		if (!pid) {
			i = vas_attach(s->vid);
			_exit(i > 0 ? vas_switch(i) : 1);
		}
		waitpid(pid, &i, 0);
		check_eq(i, 0);
	}
	_exit(0);
}

static void processes_begin_with_many_threads_and_end_anyhow(void)
{
	struct scene *s = new_scene();
	int i, status;
	pid_t pid;

	for (i = 0; i < 60; i++) {
		srand((unsigned int)i);
		pid = tcase_spawn(begin_and_end, s);
		check_eq(waitpid(pid, &status, 0), pid);
		/* exec of what the image lacks is no failure */
		check(WIFEXITED(status));
		check_eq(WEXITSTATUS(status), 0);
	}
}

/*
 * What is another process's, through its open file; and the window.
 */

static int request(int fd, unsigned long nr, int handle)
{
	struct pvvas_ioc_attach arg = {
		.size = sizeof(arg), .handle = (unsigned int)handle,
	};

	return ioctl(fd, nr, &arg) ? -errno : 0;
}

static void use_the_parents(void *arg)
{
	int *fds = arg, sid;
	struct pvvas_ioc_seg_attach link = { .size = sizeof(link) };

	tcase_become(NOBODY);
	/* the open file says nothing about whose attachment it is */
	check_eq(request(fds[0], PVVAS_IOC_VAS_RESIDENT, fds[1]), -ENOENT);
	check_eq(request(fds[0], PVVAS_IOC_VAS_DETACH, fds[1]), -ENOENT);
	sid = check_id(seg_alloc(NULL, BASE + 8 * MIB, MIB, 0600));
	link.target = (unsigned int)fds[1];
	link.seg = (unsigned int)sid;
	check_eq(ioctl(fds[0], PVVAS_IOC_SEG_ATTACH, &link), -1);
	check_eq(errno, ENOENT);
}

static void an_open_file_gives_no_way_to_its_makers_attachments(void)
{
	struct scene *s = new_scene();
	int fds[2] = { open("/dev/pvvas", O_RDWR), 0 };

	check(fds[0] >= 0);
	fds[1] = check_id(vas_attach(s->vid));
	tcase_join(tcase_spawn(use_the_parents, fds));
	check_eq(request(fds[0], PVVAS_IOC_VAS_RESIDENT, fds[1]), 0);
	close(fds[0]);
}

/* In the middle of the window, and all of it, under threads in views. */
static void unmap_under_oneself(void *arg)
{
	struct scene *s = arg;
	int vh = check_id(vas_attach(s->vid));
	size_t size;
	void *base;

	tcase_become(NOBODY);
	check_eq(pvvas_window(&base, &size), 0);
	enter(vh);
	(void)*(volatile char *)BASE;
	check_eq(munmap(BASE, MIB), -1);
	check(mremap(BASE, MIB, 2 * MIB, MREMAP_MAYMOVE) == MAP_FAILED);
	check(mmap(BASE, MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		   -1, 0) == MAP_FAILED);
	check_eq(mprotect(BASE, MIB, PROT_READ), -1);
	check_eq(madvise(BASE, MIB, MADV_DOFORK), -1);
	check_eq(munmap(base, size), 0);
	(void)*(volatile char *)BASE;
}

static void who_unmaps_the_window_has_none(void)
{
	tcase_join_killed(tcase_spawn(unmap_under_oneself, new_scene()),
			  SIGSEGV);
}

/* Rights are those of the call, not of the process at its beginning. */
static void lose_rights(void *arg)
{
	struct scene *s = arg;
	int vh = check_id(vas_attach(s->vid)), sid;

	sid = check_id(seg_find(s->seg));
	tcase_become(NOBODY);
	check_eq(seg_detach(s->vid, sid), -EACCES);
	check_eq(vas_delete(s->vid), -EPERM);
	check_eq(seg_delete(sid), -EPERM);
	check_eq(seg_populate(sid, BASE, MIB), -EACCES);
	check_eq(seg_pager(sid, 1), -EACCES);
	check_eq(seg_protect(sid, BASE, MIB, PROT_NONE), -EACCES);
	check_eq(seg_map2(sid, NULL), -EACCES);
	check_eq(seg_attach_prot(vh, sid, PROT_READ | PROT_WRITE), -EACCES);
	check_eq(seg_ctl(sid, SEG_CTL_LOCK_ON), -EPERM);
	/* what it was given while it had them stays, as with an open file */
	enter(vh);
	BASE[0] = 1;
	enter(VAS_HOME);
}

static void rights_that_are_given_up_are_gone_for_new_calls(void)
{
	tcase_join(tcase_spawn(lose_rights, new_scene()));
}

static const struct tcase cases[] = {
	CASE_SECONDS(clones_of_who_dies_leave_the_source_alone, 120),
	CASE_SECONDS(private_segments_come_and_go_beside_public_ones, 120),
	CASE_SECONDS(processes_begin_with_many_threads_and_end_anyhow, 120),
	CASE(an_open_file_gives_no_way_to_its_makers_attachments),
	CASE(who_unmaps_the_window_has_none),
	CASE(rights_that_are_given_up_are_gone_for_new_calls),
};

TCASE_MAIN(cases, 0)
