// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Heaps by several ways at once: two segments that show one memory, clones,
 * threads that end, many VASes.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define SIZE	(8 * MIB)

/* One of two segments that show one memory. */
struct face {
	int vh;
	int sid;
	unsigned int seed;
	unsigned int calls;
};

/* Blocks that need the lock, each with a mark of whose it is. */
static const char *use_face(const struct face *f)
{
	unsigned char mark = (unsigned char)f->seed, *p[64] = { NULL };
	unsigned int r = f->seed, i, k;

	if (vas_switch(f->vh))
		return "vas_switch";
	for (k = 0; k < f->calls; k++) {
		i = (unsigned int)rand_r(&r) % 64;
		if (p[i]) {
			if (*p[i] != (mark ^ i))
				return "a block was given out twice";
			if (seg_free(f->sid, p[i]))
				return "seg_free";
			p[i] = NULL;
			continue;
		}
		p[i] = seg_malloc(f->sid, 5000 + (size_t)rand_r(&r) % 9000);
		if (!p[i])
			return "seg_malloc";
		*p[i] = mark ^ (unsigned char)i;
	}
	for (i = 0; i < 64; i++)
		if (seg_free(f->sid, p[i]))
			return "seg_free at the end";
	vas_switch(VAS_HOME);
	return NULL;
}

static void *use_face_in_thread(void *arg)
{
	return (void *)use_face(arg);
}

static void use_face_in_process(void *arg)
{
	struct face *f = arg;

	f->vh = check_id(vas_attach(check_id(vas_find(tcase_name("faces")))));
	check(!use_face(f));
}

static void make_faces(struct face faces[2], unsigned int calls)
{
	int vid = tcase_vas(tcase_name("faces"), 0600), i;

	faces[0].sid = tcase_seg(NULL, BASE, SIZE, 0600);
	faces[1].sid = check_id(seg_map2(faces[0].sid, BASE + 16 * MIB));
	tcase_track_seg(faces[1].sid);
	for (i = 0; i < 2; i++) {
		check_eq(seg_attach(vid, faces[i].sid), 0);
		faces[i].seed = 0x40U * (unsigned int)(i + 1);
		faces[i].calls = calls;
	}
	faces[0].vh = check_id(vas_attach(vid));
	faces[1].vh = faces[0].vh;
}

static void check_faces(const struct face faces[2])
{
	struct seg_heap_stat st = { .size = sizeof(st) };
	int i;

	check_eq(vas_switch(faces[0].vh), 0);
	for (i = 0; i < 2; i++) {
		check_eq(seg_heap_stat(faces[i].sid, &st), 0);
		check_eq(st.blocks, 0);
		check_eq(st.recoveries, 0);
	}
}

static void threads_use_a_heap_through_two_faces_at_once(void)
{
	pthread_t threads[2];
	struct face faces[2];
	void *failed;
	int i;

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	make_faces(faces, 20000);
	for (i = 0; i < 2; i++)
		check_eq(pthread_create(&threads[i], NULL, use_face_in_thread,
					&faces[i]), 0);
	for (i = 0; i < 2; i++) {
		check_eq(pthread_join(threads[i], &failed), 0);
		if (failed)
			tcase_fail(__FILE__, __LINE__, "%s", (char *)failed);
	}
	check_faces(faces);
}

static void processes_use_a_heap_through_two_faces_at_once(void)
{
	struct face faces[2];
	pid_t pids[2];
	int i;

	make_faces(faces, 20000);
	for (i = 0; i < 2; i++)
		pids[i] = tcase_spawn(use_face_in_process, &faces[i]);
	for (i = 0; i < 2; i++)
		tcase_join(pids[i]);
	check_faces(faces);
}

/* In the header of a heap: the token of the thread that has the lock. */
static uint64_t lock_owner(void)
{
	return *(volatile uint64_t *)(BASE + 64);
}

static int *is_attached;

static void use_face_for_ever(void *arg)
{
	struct face *f = arg;

	f->calls = ~0U;
	f->vh = check_id(vas_attach(check_id(vas_find(tcase_name("faces")))));
	/* a signal that stops it makes vas_attach() fail */
	__atomic_store_n(is_attached, 1, __ATOMIC_RELEASE);
	check(!use_face(f));
}

static void a_clone_of_a_heap_that_is_locked_is_not_locked(void)
{
	struct timespec ts = { .tv_nsec = 1000000 };
	struct face faces[2];
	int vid, sid, i, vh;
	pid_t pid;

	make_faces(faces, 0);
	is_attached = tcase_shared(sizeof(*is_attached));
	pid = tcase_spawn(use_face_for_ever, &faces[0]);
	check_eq(vas_switch(faces[0].vh), 0);
	while (!__atomic_load_n(is_attached, __ATOMIC_ACQUIRE))
		nanosleep(&ts, NULL);
	/* only of a process that is stopped does the lock say anything */
	i = 0;
	do {
		check(i++ < 10000);
		kill(pid, SIGCONT);
		nanosleep(&ts, NULL);
		kill(pid, SIGSTOP);
		check_eq(waitpid(pid, NULL, WUNTRACED), pid);
	} while (!lock_owner());
	sid = check_id(seg_clone(faces[0].sid));
	tcase_track_seg(sid);
	vid = tcase_vas(NULL, 0600);
	check_eq(seg_attach(vid, sid), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	check(lock_owner());
	check(seg_malloc(sid, 5000));
	check_eq(seg_heap_check(sid), 0);

	/* and the one that was stopped goes on, undisturbed */
	check_eq(vas_switch(faces[0].vh), 0);
	check(lock_owner());
	kill(pid, SIGCONT);
	check_eq(seg_heap_check(faces[0].sid), 0);
	kill(pid, SIGKILL);
	tcase_join_killed(pid, SIGKILL);
	check_eq(seg_heap_check(faces[0].sid), 0);
}

static void end_thread(int sig)
{
	(void)sig;
	pthread_exit(NULL);
}

static atomic_int allocates;

static void *allocate_for_ever(void *arg)
{
	const struct face *f = arg;

	if (vas_switch(f->vh))
		return "vas_switch";
	for (;; atomic_store(&allocates, 1))
		if (seg_free(f->sid, seg_malloc(f->sid, 5000)))
			return "seg_free";
}

static void threads_that_end_in_a_call_leave_a_sound_heap(void)
{
	struct seg_heap_stat st = { .size = sizeof(st) };
	struct timespec ts = { .tv_nsec = 2000000 };
	struct face f;
	int i;
	pthread_t thread;
	void *failed;

	f.vh = check_id(vas_attach(tcase_vas_with_seg(BASE, SIZE, &f.sid)));
	check_eq(vas_switch(f.vh), 0);
	signal(SIGUSR1, end_thread);
	check_eq(seg_heap_init(f.sid), 0);
	for (i = 0; i < 1000 && !st.recoveries; i++) {
		atomic_store(&allocates, 0);
		check_eq(pthread_create(&thread, NULL, allocate_for_ever, &f), 0);
		while (!atomic_load(&allocates))
			sched_yield();
		nanosleep(&ts, NULL);
		pthread_kill(thread, SIGUSR1);
		check_eq(pthread_join(thread, &failed), 0);
		check(!failed);
		check(seg_malloc(f.sid, 5000));
		check_eq(seg_heap_stat(f.sid, &st), 0);
	}
	/* one of them had the lock */
	check(st.recoveries);
}

#define MANY	8

/* From here on the driver is not asked any more. */
static void forbid_ioctl(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };

	check_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	check_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
	check_eq(ioctl(0, FIONREAD, NULL), -1);
	check_eq(errno, EXDEV);
}

static void visit_each(const int *vh, const int *sids)
{
	void *p;
	int i;

	for (i = 0; i < MANY; i++) {
		check_eq(vas_switch(vh[i]), 0);
		p = vas_malloc(32);
		check(p);
		check_eq(seg_free(sids[i], p), 0);
		p = seg_malloc(sids[i], 5000);
		check(p);
		check_eq(vas_free(p), 0);
	}
}

static void the_driver_is_asked_once_per_vas(void)
{
	int vh[MANY], sids[MANY], i;

	for (i = 0; i < MANY; i++)
		vh[i] = check_id(vas_attach(tcase_vas_with_seg(BASE, MIB,
							       &sids[i])));
	visit_each(vh, sids);
	forbid_ioctl();
	for (i = 0; i < 3; i++)
		visit_each(vh, sids);
}

static void an_attachment_that_is_new_has_the_heap_of_its_vas(void)
{
	int vids[2], sids[2], i, vh;

	for (i = 0; i < 2; i++)
		vids[i] = tcase_vas_with_seg(BASE, MIB, &sids[i]);
	for (i = 0; i < 100; i++) {
		vh = check_id(vas_attach(vids[i % 2]));
		check_eq(vas_switch(vh), 0);
		check(vas_malloc(10));
		check_eq(vas_heap(), sids[i % 2]);
		check(seg_malloc(sids[i % 2], 10));
		check(!seg_malloc(sids[1 - i % 2], 10));
		check_eq(vas_switch(VAS_HOME), 0);
		check_eq(vas_detach(vh), 0);
	}
}

static const struct tcase cases[] = {
	CASE(the_driver_is_asked_once_per_vas),
	CASE(an_attachment_that_is_new_has_the_heap_of_its_vas),
	CASE_SECONDS(threads_use_a_heap_through_two_faces_at_once, 120),
	CASE_SECONDS(processes_use_a_heap_through_two_faces_at_once, 120),
	CASE(a_clone_of_a_heap_that_is_locked_is_not_locked),
	CASE(threads_that_end_in_a_call_leave_a_sound_heap),
};

TCASE_MAIN(cases, 0)
