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
	CASE_SECONDS(killed_processes_leave_a_sound_heap, 120),
};

TCASE_MAIN(cases, 0)
