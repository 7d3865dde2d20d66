// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes that are killed while their threads show a segment at second addresses
 * (seg_map2), enter what they see there and delete it: whatever was under way, each
 * face shows the whole memory or is not there, and none is left.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define SIZE	(2 * MIB)
#define FACES	64		/* of one memory, with the first */
#define DEATHS	80

struct scene {
	int sid;
	atomic_long made, seen;
	atomic_int wrong;
};

static struct scene *s;

static bool whole(const char *base)
{
	size_t at;

	for (at = 0; at < SIZE; at += 16 * PAGE)
		if (*(const volatile size_t *)(base + at) != at / PAGE + 1)
			return false;
	return true;
}

/* A face in a VAS of its own, while others do the same. */
static void *show(void *arg)
{
	char *base = BASE + ((uintptr_t)arg + 1) * 64 * MIB;
	int face, vid, vh;

	for (;;) {
		face = seg_map2(s->sid, base);
		if (face == -ENOSPC)
			continue;
		vid = vas_create(NULL, 0600);
		vh = vid > 0 && !seg_attach(vid, face) ? vas_attach(vid) : -1;
		if (face <= 0 || vh <= 0 || vas_switch(vh)) {
			atomic_store(&s->wrong, __LINE__);
			return NULL;
		}
		atomic_fetch_add(&s->made, 1);
		if (!whole(base))
			atomic_store(&s->wrong, __LINE__);
		atomic_fetch_add(&s->seen, 1);
		if (vas_switch(VAS_HOME) || vas_detach(vh) || seg_delete(face) ||
		    vas_delete(vid))
			atomic_store(&s->wrong, __LINE__);
	}
}

static void show_for_ever(void *arg)
{
	pthread_t thread;
	uintptr_t i;

	(void)arg;
	for (i = 0; i < 3; i++)
		check_eq(pthread_create(&thread, NULL, show, (void *)i), 0);
	pause();
}

static void who_is_killed_showing_a_segment_leaves_no_face(void)
{
	struct pvvas_stats st = { .size = sizeof(st) };
	unsigned int state = 1;
	int i, vh, vid, faces;
	size_t at;
	pid_t pid;
	long segs, seen;

	s = tcase_shared(sizeof(*s));
	vid = tcase_vas_with_seg(BASE, SIZE, &s->sid);
	vh = check_id(vas_attach(vid));
	check_eq(vas_switch(vh), 0);
	for (at = 0; at < SIZE; at += PAGE)
		*(volatile size_t *)(BASE + at) = at / PAGE + 1;
	check_eq(vas_switch(VAS_HOME), 0);
	check_eq(pvvas_stats(&st), 0);
	segs = (long)st.segs;
	for (i = 0; i < DEATHS; i++) {
		pid = tcase_spawn(show_for_ever, NULL);
		state = state * 1103515245 + 12345;
		for (seen = s->seen; s->seen == seen && !s->wrong; )
			usleep(1000);
		usleep((state >> 16) % 10000);
		check_eq(kill(pid, SIGKILL), 0);
		tcase_join_killed(pid, SIGKILL);
	}
	check_eq(s->wrong, 0);
	tcase_note("%ld faces made", s->made);
	for (i = 0; i < 100; i++) {
		check_eq(pvvas_stats(&st), 0);
		if ((long)st.segs == segs)
			break;
		usleep(10000);
	}
	check_eq(st.segs, segs);
	/* all the others still have room */
	for (faces = 1; (i = seg_map2(s->sid, NULL)) > 0; faces++)
		tcase_track_seg(i);
	check_eq(i, -ENOSPC);
	check_eq(faces, FACES);
	check_eq(vas_switch(vh), 0);
	check(whole(BASE));
	check_eq(vas_switch(VAS_HOME), 0);
}

static const struct tcase cases[] = {
	CASE_SECONDS(who_is_killed_showing_a_segment_leaves_no_face, 200),
};

TCASE_MAIN(cases, 0)
