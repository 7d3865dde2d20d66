// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two threads, each inside a VAS of its own at one address, that write through
 * their views and check what they wrote a round ago, while the VM is migrated
 * under them. wanderer [ROUNDS]: prints "wandering" when both are inside.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <pvvas.h>

#define THREADS	2
#define PAGES	1024
#define WORDS	(4096 / sizeof(uint64_t))

static void *base;
static uint64_t rounds = 4000;
static atomic_int inside;

struct one {
	pthread_t thread;
	int handle;
	int number;
	uint64_t wrong;
};

static uint64_t expected(int number, uint64_t page, uint64_t round)
{
	return ((uint64_t)(number + 1) << 56) | page << 32 | round;
}

/* Pages are touched in an order that mixes far and near. */
static void *wander(void *arg)
{
	struct one *o = arg;
	volatile uint64_t *word = base;
	uint64_t r, i;

	if (vas_switch(o->handle)) {
		o->wrong = UINT64_MAX;
		atomic_fetch_add(&inside, 1);
		return NULL;
	}
	for (i = 0; i < PAGES; i++)
		word[i * WORDS] = expected(o->number, i, 0);
	atomic_fetch_add(&inside, 1);
	for (r = 1; r <= rounds; r++) {
		for (i = r % 7; i < PAGES; i += 7) {
			uint64_t was = word[i * WORDS + r % 7 * 8];

			if (r >= 8 && was != expected(o->number, i, r - 7))
				o->wrong++;
			word[i * WORDS + r % 7 * 8] = expected(o->number, i, r);
		}
		if (vas_current() != o->handle)
			o->wrong++;
	}
	for (i = 0; i < PAGES; i++)
		if (word[i * WORDS] >> 56 != (uint64_t)o->number + 1)
			o->wrong++;
	vas_switch(VAS_HOME);
	return NULL;
}

int main(int argc, char **argv)
{
	struct one ones[THREADS] = {};
	uint64_t wrong = 0;
	char name[16];
	int i, vid, sid;

	if (argc > 1)
		rounds = strtoull(argv[1], NULL, 0);
	base = (void *)(uintptr_t)VAS_WINDOW_FIRST;
	for (i = 0; i < THREADS; i++) {
		snprintf(name, sizeof(name), "wander%d", i);
		vid = vas_create(name, 0600);
		sid = seg_alloc(name, base, PAGES * 4096, 0600);
		if (vid < 0 || sid < 0 || seg_attach(vid, sid) < 0)
			return 2;
		ones[i].number = i;
		ones[i].handle = vas_attach(vid);
		if (ones[i].handle < 0)
			return 3;
		vas_delete(vid);
		seg_delete(sid);
	}
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&ones[i].thread, NULL, wander, &ones[i]))
			return 4;
	while (atomic_load(&inside) < THREADS)
		usleep(1000);
	printf("wandering\n");
	fflush(stdout);
	for (i = 0; i < THREADS; i++) {
		pthread_join(ones[i].thread, NULL);
		wrong += ones[i].wrong;
	}
	printf("wandered: %llu wrong\n", (unsigned long long)wrong);
	return wrong ? 1 : 0;
}
