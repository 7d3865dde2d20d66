// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pvvas-demo: two texts, two VASes, one address.
 *
 *   pvvas-demo [--switches N] --words W1,W2,... FILE FILE...
 *
 * A loader process for each file builds an index of its words in a VAS of its
 * own, all at the same address, and exits.  Another process finds the VASes
 * and looks words up, switching with each question.
 *
 * Exit status: 0 all well, 1 something failed, 2 wrong usage.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "demo.h"
#include "index.h"

int demo_fail(const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("pvvas-demo: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 1;
}

const char *demo_error(int err)
{
	switch (err) {
	case -ENOSYS:
		return "this machine's hypervisor offers no views";
	case -ENODEV:
		return "no driver: is the module pvvas loaded?";
	default:
		return strerror(-err);
	}
}

void *demo_base(void)
{
	return (void *)(VAS_WINDOW_FIRST + DEMO_BASE_OFFSET);
}

const char *demo_basename(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int usage(void)
{
	fputs("usage: pvvas-demo [--switches N] --words W1,W2,... FILE FILE...\n",
	      stderr);
	return 2;
}

static int split_words(struct demo *d, char *list)
{
	char *word, *p;

	d->words = calloc(strlen(list) + 1, sizeof(*d->words));
	if (!d->words)
		return demo_fail("out of memory");
	for (word = strtok(list, ","); word; word = strtok(NULL, ",")) {
		for (p = word; *p; p++)
			if (!word_char((unsigned char)*p)) {
				demo_fail("%s: a word has letters, digits and _ only",
					  word);
				return 2;
			}
		d->words[d->nr_words++] = word;
	}
	return d->nr_words ? 0 : usage();
}

static int check_files(const struct demo *d)
{
	struct stat st;
	int i;

	for (i = 0; i < d->nr_files; i++) {
		if (stat(d->files[i], &st) < 0 || access(d->files[i], R_OK) < 0)
			return demo_fail("%s: %s", d->files[i], strerror(errno));
		if (!S_ISREG(st.st_mode))
			return demo_fail("%s: not a regular file", d->files[i]);
		if (!st.st_size)
			return demo_fail("%s: empty file", d->files[i]);
	}
	return 0;
}

/* Run ourselves anew, as one of the roles; its exit status, or 1. */
static int run(const char *what, char *const *argv)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return demo_fail("fork: %s", strerror(errno));
	if (!pid) {
		execv("/proc/self/exe", argv);
		_exit(demo_fail("exec: %s", strerror(errno)));
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return demo_fail("wait: %s", strerror(errno));
	if (WIFSIGNALED(status))
		return demo_fail("%s was killed by signal %d (%s)%s", what,
				 WTERMSIG(status), strsignal(WTERMSIG(status)),
				 WTERMSIG(status) == SIGKILL ||
				 WTERMSIG(status) == SIGBUS ?
				 ": out of memory?" : "");
	return WEXITSTATUS(status);
}

static int run_loaders(const struct demo *d)
{
	int i, ret = 0;

	for (i = 0; i < d->nr_files && !ret; i++) {
		char *argv[] = { "pvvas-demo", "--load", d->files[i],
				 d->vases[i], NULL };

		ret = run("the loader", argv);
	}
	return ret;
}

/* pvvas-demo --query SWITCHES NR_WORDS WORD... FILE VAS FILE VAS... */
static int run_query(const struct demo *d)
{
	char switches[32], nr_words[32];
	char **argv;
	int n = 0, i, ret;

	argv = calloc((size_t)(5 + d->nr_words + 2 * d->nr_files),
		      sizeof(*argv));
	if (!argv)
		return demo_fail("out of memory");
	snprintf(switches, sizeof(switches), "%lu", d->switches);
	snprintf(nr_words, sizeof(nr_words), "%d", d->nr_words);
	argv[n++] = "pvvas-demo";
	argv[n++] = "--query";
	argv[n++] = switches;
	argv[n++] = nr_words;
	for (i = 0; i < d->nr_words; i++)
		argv[n++] = d->words[i];
	for (i = 0; i < d->nr_files; i++) {
		argv[n++] = d->files[i];
		argv[n++] = d->vases[i];
	}
	ret = run("the process that asks", argv);
	free(argv);
	return ret;
}

static int query_role(int argc, char **argv)
{
	struct demo d = { .switches = strtoul(argv[0], NULL, 10) };
	int i;

	d.nr_words = atoi(argv[1]);
	d.nr_files = (argc - 2 - d.nr_words) / 2;
	d.words = argv + 2;
	d.files = calloc((size_t)d.nr_files, sizeof(char *));
	d.vases = calloc((size_t)d.nr_files, sizeof(char *));
	if (!d.files || !d.vases)
		return demo_fail("out of memory");
	for (i = 0; i < d.nr_files; i++) {
		d.files[i] = argv[2 + d.nr_words + 2 * i];
		d.vases[i] = argv[2 + d.nr_words + 2 * i + 1];
	}
	return demo_query(&d);
}

static void clean_up(const struct demo *d)
{
	int i, id;

	for (i = 0; i < d->nr_files; i++) {
		id = vas_find(d->vases[i]);
		if (id > 0)
			vas_delete(id);
		id = seg_find(d->vases[i]);
		if (id > 0)
			seg_delete(id);
	}
}

static int parent_role(struct demo *d)
{
	void *base;
	size_t size;
	int i, ret;

	ret = check_files(d);
	if (ret)
		return ret;
	ret = pvvas_window(&base, &size);
	if (ret)
		return demo_fail("%s", demo_error(ret));
	d->vases = calloc((size_t)d->nr_files, sizeof(*d->vases));
	if (!d->vases)
		return demo_fail("out of memory");
	for (i = 0; i < d->nr_files; i++)
		if (asprintf(&d->vases[i], "pvvas-demo.%d.%d", (int)getpid(),
			     i) < 0)
			return demo_fail("out of memory");
	ret = run_loaders(d);
	if (!ret)
		ret = run_query(d);
	clean_up(d);
	return ret;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "switches", required_argument, NULL, 's' },
		{ "words", required_argument, NULL, 'w' },
		{ NULL, 0, NULL, 0 },
	};
	struct demo d = { .switches = DEMO_SWITCHES };
	char *words = NULL, *end;
	int c, ret;

	if (argc == 4 && !strcmp(argv[1], "--load"))
		return demo_load(argv[2], argv[3]);
	if (argc > 4 && !strcmp(argv[1], "--query"))
		return query_role(argc - 2, argv + 2);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			errno = 0;
			d.switches = strtoul(optarg, &end, 10);
			if (errno || *end || !d.switches || *optarg == '-')
				return usage();
			break;
		case 'w':
			words = optarg;
			break;
		default:
			return usage();
		}
	}
	d.files = argv + optind;
	d.nr_files = argc - optind;
	if (!words || d.nr_files < 2)
		return usage();
	ret = split_words(&d, words);
	return ret ? ret : parent_role(&d);
}
