// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Heaps in segments: by several processes and threads, in several VASes.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define SIZE	(8 * MIB)

/* A VAS with one segment, attached, and this thread in it. */
static int enter_new(int *sid, int *vid)
{
	int vh;

	*vid = tcase_vas_with_seg(BASE, SIZE, sid);
	vh = check_id(vas_attach(*vid));
	check_eq(vas_switch(vh), 0);
	return vh;
}

static uint64_t blocks(int sid)
{
	struct seg_heap_stat st = { .size = sizeof(st) };

	check_eq(seg_heap_stat(sid, &st), 0);
	return st.blocks;
}

static void a_new_segment_is_an_empty_heap(void)
{
	int sid, vid;
	char *p, *q;

	enter_new(&sid, &vid);
	p = seg_malloc(sid, 100);
	q = seg_calloc(sid, 10, 1000);
	check(p >= BASE && p < BASE + SIZE);
	check(q >= BASE && q < BASE + SIZE);
	check(q[0] == 0 && q[9999] == 0);
	check(seg_usable_size(sid, p) >= 100);
	check_eq(blocks(sid), 2);
	check_eq(seg_free(sid, p), 0);
	q = seg_realloc(sid, q, 20000);
	check(q && q[9999] == 0);
	p = seg_memalign(sid, 4096, 10);
	check_eq((uintptr_t)p % 4096, 0);
	check_eq(seg_free(sid, p), 0);
	check_eq(seg_free(sid, q), 0);
	check_eq(seg_free(sid, NULL), 0);
	check_eq(blocks(sid), 0);
	check_eq(seg_heap_check(sid), 0);
}

static void use_named(void *arg)
{
	char **word = arg;
	int vh = check_id(vas_attach(check_id(vas_find(tcase_name("v")))));
	int sid = check_id(seg_find(tcase_name("s")));

	check_eq(vas_switch(vh), 0);
	check(*seg_root(sid) == *word);
	check(vas_root() == seg_root(sid));
	*vas_root() = BASE;
	check(!strcmp(*word, "from the first"));
	check_eq(seg_free(sid, *word), 0);
	*word = seg_malloc(sid, 5000);
	check(*word);
	strcpy(*word, "from the second");
}

static void another_process_frees_and_allocates(void)
{
	char **word = tcase_shared(sizeof(*word));
	int vid = tcase_vas(tcase_name("v"), 0600);
	int sid = tcase_seg(tcase_name("s"), BASE, SIZE, 0600);

	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	*word = seg_malloc(sid, 100);
	check(*word);
	strcpy(*word, "from the first");
	check(!*seg_root(sid));
	*seg_root(sid) = *word;
	tcase_join(tcase_spawn(use_named, word));
	check(*seg_root(sid) == BASE);
	check(!strcmp(*word, "from the second"));
	check_eq(blocks(sid), 1);
	check_eq(seg_free(sid, *word), 0);
}

static void home_and_other_vases_have_no_heap(void)
{
	int sid, vid, other, other_sid, vh;

	vh = enter_new(&sid, &vid);
	other = tcase_vas_with_seg(BASE + SIZE, SIZE, &other_sid);
	errno = 0;
	check(!seg_malloc(other_sid, 10));
	check_eq(errno, EPERM);
	check(seg_malloc(sid, 10));

	check_eq(vas_switch(VAS_HOME), 0);
	errno = 0;
	check(!seg_malloc(sid, 10));
	check_eq(errno, EPERM);
	check_eq(seg_free(sid, BASE), -EPERM);
	check_eq(seg_heap_check(sid), -EPERM);
	check_eq(vas_heap(), -EPERM);

	check_eq(vas_switch(check_id(vas_attach(other))), 0);
	check(seg_malloc(other_sid, 10));
	check_eq(seg_heap_init(sid), -EPERM);
	check_eq(vas_switch(vh), 0);
	check_eq(blocks(sid), 1);
}

static void bad_ids_are_refused(void)
{
	struct seg_heap_stat st = { .size = 1 };
	int sid, vid;

	enter_new(&sid, &vid);
	check_eq(seg_heap_init(0), -EINVAL);
	check_eq(seg_heap_init(-ENOENT), -EINVAL);
	check_eq(seg_heap_init(0x3fffffff), -EPERM);
	check_eq(seg_heap_stat(sid, &st), -EINVAL);
	check_eq(seg_heap_stat(sid, NULL), -EINVAL);
}

static void a_segment_to_read_is_no_heap(void)
{
	int vid = tcase_vas(NULL, 0600), sid = tcase_seg(NULL, BASE, SIZE, 0600);

	check_eq(seg_attach_prot(vid, sid, PROT_READ), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check_eq(seg_heap_init(sid), -EPERM);
	check_eq(vas_heap(), -ENOENT);
}

static void a_segment_with_data_is_no_heap(void)
{
	int sid, vid;

	enter_new(&sid, &vid);
	strcpy(BASE, "mine");
	check_eq(seg_heap_init(sid), -EEXIST);
	errno = 0;
	check(!seg_malloc(sid, 10));
	check_eq(errno, EEXIST);
	check(!strcmp(BASE, "mine"));
}

static void after_detach_there_is_no_heap(void)
{
	int sid, vid, vh = enter_new(&sid, &vid);
	void *p = seg_malloc(sid, 10);

	check(p);
	check_eq(seg_detach(vid, sid), 0);
	check_eq(seg_free(sid, p), -EPERM);
	/* here for this process alone */
	check_eq(seg_attach(vh, sid), 0);
	check_eq(seg_free(sid, p), 0);
	check_eq(blocks(sid), 0);
}

static void the_heap_of_a_vas_is_the_one_it_has(void)
{
	int sid, vid, second, vh = enter_new(&sid, &vid);
	char *p = vas_malloc(100);

	/* the only segment */
	check(p >= BASE && p < BASE + SIZE);
	check_eq(vas_heap(), sid);
	check_eq(blocks(sid), 1);
	p = vas_realloc(p, 10000);
	check(p);
	check(vas_usable_size(p) >= 10000);
	check_eq(vas_free(p), 0);
	p = vas_memalign(1024, 7);
	check(p && (uintptr_t)p % 1024 == 0);
	check_eq(vas_free(p), 0);
	p = vas_calloc(1, 1);
	check(p && !*p);
	check_eq(vas_free(p), 0);
	check_eq(blocks(sid), 0);

	/* of two, that with a heap */
	vid = tcase_vas(NULL, 0600);
	sid = tcase_seg(NULL, BASE, SIZE, 0600);
	second = tcase_seg(NULL, BASE + SIZE, SIZE, 0600);
	check_eq(seg_attach(vid, sid), 0);
	check_eq(seg_attach(vid, second), 0);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	errno = 0;
	check(!vas_malloc(10));
	check_eq(errno, ENOENT);
	check_eq(seg_heap_init(second), 0);
	p = vas_malloc(10);
	check(p >= BASE + SIZE);
	check_eq(vas_heap(), second);
}

static int misuse_sid, misuse_error;
static void *misuse_ptr;

static void note_misuse(int sid, void *ptr, int error)
{
	misuse_sid = sid;
	misuse_ptr = ptr;
	misuse_error = error;
}

static void misuse_is_an_error_and_told_to_who_asked(void)
{
	int sid, vid, on_stack;
	char *p;

	enter_new(&sid, &vid);
	p = seg_malloc(sid, 100);
	check_eq(seg_free(sid, p + 16), -EINVAL);
	check_eq(seg_free(sid, &on_stack), -EINVAL);
	check_eq(misuse_sid, 0);
	seg_heap_on_misuse(note_misuse);
	check_eq(seg_free(sid, p), 0);
	check_eq(seg_free(sid, p), -EALREADY);
	check_eq(misuse_sid, sid);
	check_eq(misuse_error, -EALREADY);
	check(misuse_ptr == p);
	errno = 0;
	check(!seg_realloc(sid, &on_stack, 10));
	check_eq(errno, EINVAL);
	check_eq(misuse_error, -EINVAL);
	check(misuse_ptr == &on_stack);
	seg_heap_on_misuse(NULL);
	check_eq(seg_free(sid, p), -EALREADY);
	check_eq(misuse_error, -EINVAL);
	check_eq(seg_heap_check(sid), 0);
}

static void a_full_segment_is_enomem(void)
{
	int sid, vid;

	enter_new(&sid, &vid);
	errno = 0;
	check(!seg_malloc(sid, SIZE));
	check_eq(errno, ENOMEM);
	check(seg_malloc(sid, SIZE / 2));
}

static void allocate_in_fork(void *arg)
{
	int *sid = arg;
	int vh;

	/* what the parent knew about its attachments is not ours */
	check(!seg_malloc(*sid, 10));
	vh = check_id(vas_attach(check_id(vas_find(tcase_name("fork")))));
	check_eq(vas_switch(vh), 0);
	check(seg_malloc(*sid, 10));
}

static void a_child_has_to_attach_for_itself(void)
{
	int vid = tcase_vas(tcase_name("fork"), 0600);
	int sid = tcase_seg(NULL, BASE, SIZE, 0600);

	check_eq(seg_attach(vid, sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	check(seg_malloc(sid, 10));
	tcase_join(tcase_spawn(allocate_in_fork, &sid));
	check_eq(blocks(sid), 2);
}

/* What processes that are killed have in common. */
struct storm {
	_Atomic(uint64_t *) place[64];
	int sid;
};

static void hammer(void *arg)
{
	struct storm *s = arg;
	int vh = check_id(vas_attach(check_id(vas_find(tcase_name("storm")))));
	unsigned int r = (unsigned int)getpid();
	uint64_t *p;

	check_eq(vas_switch(vh), 0);
	for (;;) {
		size_t size = 8 + rand_r(&r) % (rand_r(&r) % 8 ? 500 : 20000);

		p = seg_malloc(s->sid, size);
		check(p);
		*p = (uintptr_t)p;
		p = atomic_exchange(&s->place[rand_r(&r) % 64], p);
		if (p) {
			check_eq(*p, (uintptr_t)p);
			check_eq(seg_free(s->sid, p), 0);
		}
	}
}

static void killed_processes_leave_a_sound_heap(void)
{
	struct storm *s = tcase_shared(sizeof(*s));
	int vid = tcase_vas(tcase_name("storm"), 0600), i, live = 0;
	struct timespec ts = { .tv_nsec = 100000000 };
	unsigned int kills = 0;
	pid_t pids[4];

	s->sid = tcase_seg(NULL, BASE, SIZE, 0600);
	check_eq(seg_attach(vid, s->sid), 0);
	check_eq(vas_switch(check_id(vas_attach(vid))), 0);
	for (i = 0; i < 4; i++)
		pids[i] = tcase_spawn(hammer, s);
	for (i = 0; i < 8; i++) {
		nanosleep(&ts, NULL);
		kill(pids[i % 4], SIGKILL);
		tcase_join_killed(pids[i % 4], SIGKILL);
		kills++;
		check_eq(seg_heap_check(s->sid), 0);
		pids[i % 4] = tcase_spawn(hammer, s);
	}
	for (i = 0; i < 4; i++) {
		kill(pids[i], SIGKILL);
		tcase_join_killed(pids[i], SIGKILL);
		kills++;
	}
	for (i = 0; i < 64; i++) {
		uint64_t *p = atomic_load(&s->place[i]);

		if (!p)
			continue;
		check_eq(*p, (uintptr_t)p);
		live++;
	}
	check(blocks(s->sid) >= (uint64_t)live);
	check(blocks(s->sid) <= (uint64_t)live + 2 * kills);
	for (i = 0; i < 64; i++)
		check_eq(seg_free(s->sid, atomic_load(&s->place[i])), 0);
	check_eq(seg_heap_check(s->sid), 0);
}

struct in_thread {
	int vh;
	int sid;
};

static void *allocate_in_thread(void *arg)
{
	const struct in_thread *t = arg;
	void *p[50];
	int i, k;

	if (vas_switch(t->vh))
		return "vas_switch";
	for (k = 0; k < 200; k++) {
		for (i = 0; i < 50; i++) {
			p[i] = seg_malloc(t->sid, (size_t)(i * k % 3000));
			if (!p[i])
				return "seg_malloc";
			memset(p[i], i, (size_t)(i * k % 3000));
		}
		for (i = 0; i < 50; i++)
			if (seg_free(t->sid, p[i]))
				return "seg_free";
	}
	vas_switch(VAS_HOME);
	return NULL;
}

static void threads_in_two_vases_share_a_heap(void)
{
	struct in_thread t[4];
	pthread_t threads[4];
	int vids[2], sid, i;
	void *failed;

	tcase_need(PVVAS_FEATURE_PER_THREAD);
	sid = tcase_seg(NULL, BASE, SIZE, 0600);
	for (i = 0; i < 2; i++) {
		vids[i] = tcase_vas(NULL, 0600);
		check_eq(seg_attach(vids[i], sid), 0);
	}
	for (i = 0; i < 4; i++) {
		t[i].vh = check_id(vas_attach(vids[i % 2]));
		t[i].sid = sid;
		check_eq(pthread_create(&threads[i], NULL, allocate_in_thread,
					&t[i]), 0);
	}
	for (i = 0; i < 4; i++) {
		check_eq(pthread_join(threads[i], &failed), 0);
		check(!failed);
	}
	check_eq(vas_switch(t[0].vh), 0);
	check_eq(blocks(sid), 0);
}

/*
 * Two faces of one memory.
 */

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

static void use_face_for_ever(void *arg)
{
	struct face *f = arg;

	f->calls = ~0U;
	use_face_in_process(f);
}

static void a_clone_of_a_heap_that_is_locked_is_not_locked(void)
{
	struct timespec ts = { .tv_nsec = 1000000 };
	struct face faces[2];
	int vid, sid, i, vh;
	pid_t pid;

	make_faces(faces, 0);
	pid = tcase_spawn(use_face_for_ever, &faces[0]);
	check_eq(vas_switch(faces[0].vh), 0);
	for (i = 0; !lock_owner(); i++) {
		check(i < 10000);
		kill(pid, SIGCONT);
		nanosleep(&ts, NULL);
		kill(pid, SIGSTOP);
		check_eq(waitpid(pid, NULL, WUNTRACED), pid);
	}
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

static void *allocate_for_ever(void *arg)
{
	const struct in_thread *t = arg;

	if (vas_switch(t->vh))
		return "vas_switch";
	for (;;)
		if (seg_free(t->sid, seg_malloc(t->sid, 5000)))
			return "seg_free";
}

static void threads_that_end_in_a_call_leave_a_sound_heap(void)
{
	struct seg_heap_stat st = { .size = sizeof(st) };
	struct timespec ts = { .tv_nsec = 2000000 };
	int vid, sid, i, vh = enter_new(&sid, &vid);
	struct in_thread t = { vh, sid };
	pthread_t thread;
	void *failed;

	signal(SIGUSR1, end_thread);
	check_eq(seg_heap_init(sid), 0);
	for (i = 0; i < 100 && !st.recoveries; i++) {
		check_eq(pthread_create(&thread, NULL, allocate_for_ever, &t), 0);
		nanosleep(&ts, NULL);
		pthread_kill(thread, SIGUSR1);
		check_eq(pthread_join(thread, &failed), 0);
		check(!failed);
		check(seg_malloc(sid, 5000));
		check_eq(seg_heap_stat(sid, &st), 0);
	}
	/* one of them had the lock */
	check(st.recoveries);
}

static const struct tcase cases[] = {
	CASE(a_new_segment_is_an_empty_heap),
	CASE(another_process_frees_and_allocates),
	CASE(home_and_other_vases_have_no_heap),
	CASE(bad_ids_are_refused),
	CASE(a_segment_to_read_is_no_heap),
	CASE(a_segment_with_data_is_no_heap),
	CASE(after_detach_there_is_no_heap),
	CASE(the_heap_of_a_vas_is_the_one_it_has),
	CASE(misuse_is_an_error_and_told_to_who_asked),
	CASE(a_full_segment_is_enomem),
	CASE(a_child_has_to_attach_for_itself),
	CASE(threads_in_two_vases_share_a_heap),
	CASE_SECONDS(threads_use_a_heap_through_two_faces_at_once, 120),
	CASE_SECONDS(processes_use_a_heap_through_two_faces_at_once, 120),
	CASE(a_clone_of_a_heap_that_is_locked_is_not_locked),
	CASE(threads_that_end_in_a_call_leave_a_sound_heap),
	CASE_SECONDS(killed_processes_leave_a_sound_heap, 120),
};

TCASE_MAIN(cases, 0)
