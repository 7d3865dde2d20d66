// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The process that asks: finds the VASes by name, attaches them, and follows
 * the loader's pointers, in another VAS with each question.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pvvas.h>

#include "demo.h"
#include "index.h"

#define WARM_UP		2000UL
#define BETWEEN_LOOKS	10000UL	/* questions without a look at the clock */

struct question {
	const char *word;
	uint32_t length;
	uint32_t hash;
};

struct query {
	const struct demo *d;
	int *handles;
	struct question *questions;
	uint64_t *answers;	/* [file][word], from the first pass */
};

/* What one loop cost. */
struct cost {
	uint64_t questions;
	uint64_t ns;
	uint64_t wrong;
	uint64_t exits;
	uint64_t hypercalls;
	uint64_t ept_violations;
	uint64_t vmfunc_exits;
};

static uint64_t ask(const struct question *q)
{
	const struct index *ix = demo_base();
	const struct node *n = index_find(ix, q->word, q->length, q->hash);

	return n ? n->count : 0;
}

static int attach_all(struct query *q)
{
	int i, vid;

	for (i = 0; i < q->d->nr_files; i++) {
		vid = vas_find(q->d->vases[i]);
		if (vid < 0)
			return demo_fail("vas_find: %s", demo_error(vid));
		q->handles[i] = vas_attach(vid);
		if (q->handles[i] < 0)
			return demo_fail("vas_attach: %s",
					 demo_error(q->handles[i]));
	}
	return 0;
}

/* Every word in every file, once and slowly: walks the lists of places, too. */
static int first_pass(struct query *q)
{
	const struct index *ix = demo_base();
	int file, word, err;

	for (file = 0; file < q->d->nr_files; file++) {
		err = vas_switch(q->handles[file]);
		if (err)
			return demo_fail("vas_switch: %s", demo_error(err));
		if (ix->magic != INDEX_MAGIC) {
			vas_switch(VAS_HOME);
			return demo_fail("%s: no index", q->d->files[file]);
		}
		for (word = 0; word < q->d->nr_words; word++) {
			const struct question *w = &q->questions[word];
			const struct node *n;

			n = index_find(ix, w->word, w->length, w->hash);
			if (n && !node_sound(ix, n)) {
				vas_switch(VAS_HOME);
				return demo_fail("%s: damaged index",
						 q->d->files[file]);
			}
			q->answers[file * q->d->nr_words + word] =
				n ? n->count : 0;
		}
	}
	vas_switch(VAS_HOME);
	return 0;
}

static int check_words(const struct query *q)
{
	int file, word;

	for (word = 0; word < q->d->nr_words; word++) {
		bool known = false;

		for (file = 0; file < q->d->nr_files; file++)
			if (q->answers[file * q->d->nr_words + word])
				known = true;
		if (!known)
			return demo_fail("%s: unknown word, it is in none of the files",
					 q->d->words[word]);
	}
	return 0;
}

/*
 * @rounds questions.  With @switching each goes to the next file's VAS;
 * otherwise all go to the first one's, where the caller has put us.
 */
static __attribute__((noinline)) uint64_t
question_loop(const struct query *q, unsigned long rounds, bool switching)
{
	int nr_files = q->d->nr_files, nr_words = q->d->nr_words;
	int file = 0, word = 0;
	uint64_t wrong = 0;

	while (rounds--) {
		if (switching && vas_switch(q->handles[file]))
			wrong++;
		if (ask(&q->questions[word]) !=
		    q->answers[(switching ? file : 0) * nr_words + word])
			wrong++;
		if (++file == nr_files) {
			file = 0;
			if (++word == nr_words)
				word = 0;
		}
	}
	return wrong;
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/*
 * With @switching: the demo's questions.  Otherwise a loop that lasts at least
 * @ns, as the other one did: what only takes time, the timer's interrupts
 * first of all, is then the same in both.
 */
static void measured_loop(const struct query *q, bool switching, uint64_t ns,
			  struct cost *cost)
{
	uint64_t start = now(), part;

	do {
		part = BETWEEN_LOOKS;
		if (switching && part > q->d->switches - cost->questions)
			part = q->d->switches - cost->questions;
		cost->wrong += question_loop(q, part, switching);
		cost->questions += part;
		cost->ns = now() - start;
	} while (switching ? cost->questions < q->d->switches : cost->ns < ns);
}

static int measure(const struct query *q, bool switching, uint64_t ns,
		   struct cost *cost)
{
	struct pvvas_stats before = { .size = sizeof(before) };
	struct pvvas_stats after = { .size = sizeof(after) };
	int err;

	err = vas_switch(q->handles[0]);
	if (err)
		return demo_fail("vas_switch: %s", demo_error(err));
	*cost = (struct cost){ .wrong = question_loop(q, WARM_UP, switching) };
	err = pvvas_stats(&before);
	if (!err) {
		measured_loop(q, switching, ns, cost);
		err = pvvas_stats(&after);
	}
	vas_switch(VAS_HOME);
	if (err)
		return demo_fail("pvvas_stats: %s", demo_error(err));
	cost->exits = after.hv_exits - before.hv_exits;
	cost->hypercalls = after.hv_hypercalls - before.hv_hypercalls;
	cost->ept_violations = after.hv_ept_violations - before.hv_ept_violations;
	cost->vmfunc_exits = after.hv_vmfunc_exits - before.hv_vmfunc_exits;
	return 0;
}

static void print_cost(const char *name, uint64_t with, uint64_t without)
{
	printf("%-16s %12llu %12llu %12lld\n", name, (unsigned long long)with,
	       (unsigned long long)without, (long long)(with - without));
}

static int report(const struct query *q, const struct cost *with,
		  const struct cost *without)
{
	uint64_t wrong = with->wrong + without->wrong;
	bool ok = !wrong && !with->vmfunc_exits;
	int file, word;

	for (file = 0; file < q->d->nr_files; file++)
		for (word = 0; word < q->d->nr_words; word++)
			printf("count %s %s %llu\n",
			       demo_basename(q->d->files[file]),
			       q->d->words[word],
			       (unsigned long long)
			       q->answers[file * q->d->nr_words + word]);
	printf("%-16s %12s %12s %12s\n", "", "switching", "without", "difference");
	print_cost("microseconds", with->ns / 1000, without->ns / 1000);
	print_cost("questions", with->questions, without->questions);
	print_cost("switches", q->d->switches, 0);
	print_cost("VM exits", with->exits, without->exits);
	print_cost("hypercalls", with->hypercalls, without->hypercalls);
	print_cost("EPT violations", with->ept_violations,
		   without->ept_violations);
	print_cost("VMFUNC exits", with->vmfunc_exits, without->vmfunc_exits);
	printf("pvvas-demo: %s switches=%lu vmfunc_exits=%llu hypercalls=%lld wrong_answers=%llu\n",
	       ok ? "ok" : "FAILED", q->d->switches,
	       (unsigned long long)with->vmfunc_exits,
	       (long long)(with->hypercalls - without->hypercalls),
	       (unsigned long long)wrong);
	return ok ? 0 : 1;
}

int demo_query(const struct demo *d)
{
	struct cost with, without;
	struct query q = { .d = d };
	int i, ret;

	q.handles = calloc((size_t)d->nr_files, sizeof(*q.handles));
	q.questions = calloc((size_t)d->nr_words, sizeof(*q.questions));
	q.answers = calloc((size_t)(d->nr_files * d->nr_words),
			   sizeof(*q.answers));
	if (!q.handles || !q.questions || !q.answers)
		return demo_fail("out of memory");
	for (i = 0; i < d->nr_words; i++) {
		q.questions[i].word = d->words[i];
		q.questions[i].length = (uint32_t)strlen(d->words[i]);
		q.questions[i].hash = word_hash(d->words[i],
						q.questions[i].length);
	}
	ret = attach_all(&q);
	if (!ret)
		ret = first_pass(&q);
	if (!ret)
		ret = check_words(&q);
	if (!ret)
		ret = measure(&q, true, 0, &with);
	if (!ret)
		ret = measure(&q, false, with.ns, &without);
	if (!ret)
		ret = report(&q, &with, &without);
	free(q.handles);
	free(q.questions);
	free(q.answers);
	return ret;
}
