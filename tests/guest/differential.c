// SPDX-License-Identifier: GPL-2.0-only
/*
 * Any calls, on whichever backend there is, beside a model of them: every
 * answer, every byte and every count agrees, after each call.
 *
 *   differential [SEED [CALLS]]
 *
 * Where they differ, as few of the calls as do are looked for and shown.  Runs
 * of 500 calls begin with nothing, each in a process of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "differential/calls.h"
#include "tcase.h"

#define RUN	500

static unsigned long long state;

static unsigned int number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state >> 32;
}

static void delete_all(void)
{
	int id;

	for (id = 0; (id = vas_next(id)) > 0;)
		vas_delete(id);
	for (id = 0; (id = seg_next(id)) > 0;)
		seg_delete(id);
}

static bool agrees(const struct call *calls, unsigned int n, bool say,
		   struct outcome *out)
{
	int status;
	pid_t pid;

	memset(out, 0, sizeof(*out));
	fflush(NULL);
	pid = fork();
	check(pid >= 0);
	if (!pid) {
		/* no fd of tests/run's */
		alarm(120);
		make_calls(calls, n, say, out);
		_exit(0);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	if (!out->why[0] && WIFSIGNALED(status))
		snprintf(out->why, sizeof(out->why), "killed by signal %d",
			 WTERMSIG(status));
	delete_all();
	return !status;
}

/* Without as many of the calls as possible it still fails. */
static unsigned int shrink(struct call *calls, unsigned int n,
			   struct outcome *out)
{
	struct call *fewer = malloc(n * sizeof(*fewer));
	unsigned int cut, at, tries = 0;

	check(fewer);
	for (cut = n / 2; cut && tries < 400; cut /= 2) {
		for (at = 0; at + cut <= n && tries < 400; tries++) {
			memcpy(fewer, calls, at * sizeof(*calls));
			memcpy(fewer + at, calls + at + cut,
			       (n - at - cut) * sizeof(*calls));
			if (agrees(fewer, n - cut, false, out)) {
				at += cut;
				continue;
			}
			n = out->made + 1 < n - cut ? out->made + 1 : n - cut;
			memcpy(calls, fewer, n * sizeof(*calls));
		}
	}
	free(fewer);
	return n;
}

static unsigned long long seed = 1;
static unsigned int nr_calls = 3000;

static void all_calls_agree_with_the_model(void)
{
	struct outcome *out = tcase_shared(sizeof(*out));
	struct call calls[RUN];
	unsigned int done, i, k, n;

	state = seed * 2654435761ULL + 1;
	for (done = 0; done < nr_calls; done += RUN) {
		for (i = 0; i < RUN; i++) {
			calls[i].what = number() % NR_CALLS;
			for (k = 0; k < 6; k++)
				calls[i].random[k] = number();
		}
		if (agrees(calls, RUN, false, out))
			continue;
		tcase_note("seed %llu, call %u: %s", seed, done + out->made,
			   out->why);
		n = shrink(calls, out->made + 1, out);
		agrees(calls, n, true, out);
		tcase_fail(__FILE__, __LINE__, "%s", out->why);
	}
}

static const struct tcase cases[] = {
	CASE_SECONDS(all_calls_agree_with_the_model, 1500),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		nr_calls = strtoul(argv[2], NULL, 0);
	return tcase_main(cases, 1, 0);
}
