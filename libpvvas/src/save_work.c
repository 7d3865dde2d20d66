// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Threads that do the pieces of a save or a load, while the caller tells of the
 * progress; and the caller's options.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "save.h"

#define PROGRESS_NS	100000000L

struct worker {
	struct save_work *work;
	unsigned int number;
	pthread_t thread;
};

unsigned int save_threads(const struct vas_save_options *options)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (options->threads)
		return options->threads < 64 ? options->threads : 64;
	return cpus < 1 ? 1 : cpus > SAVE_THREADS ? SAVE_THREADS :
						    (unsigned int)cpus;
}

void save_work_done(struct save_work *work, uint64_t bytes)
{
	pthread_mutex_lock(&work->lock);
	work->done += bytes;
	pthread_mutex_unlock(&work->lock);
}

static bool failed(struct save_work *work)
{
	bool yes;

	pthread_mutex_lock(&work->lock);
	yes = work->err;
	pthread_mutex_unlock(&work->lock);
	return yes;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	struct save_work *work = w->work;
	char *buffer = malloc(2 * SAVE_CHUNK);
	int ret = buffer ? 1 : -ENOMEM;

	while (ret == 1 && !failed(work))
		ret = work->piece(work, w->number, buffer);
	free(buffer);
	pthread_mutex_lock(&work->lock);
	if (ret < 0 && !work->err)
		work->err = ret;
	work->running--;
	pthread_cond_signal(&work->wake);
	pthread_mutex_unlock(&work->lock);
	return NULL;
}

/* Until all threads have ended; the lock is held, but for the calls. */
static void wait_for_end(struct save_work *work,
			 const struct vas_save_options *options)
{
	struct timespec until;
	uint64_t done;

	while (work->running) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += PROGRESS_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&work->wake, &work->lock, &until);
		done = work->done;
		pthread_mutex_unlock(&work->lock);
		if (options->progress)
			options->progress(done, work->all, options->arg);
		pthread_mutex_lock(&work->lock);
	}
}

/* The program's signals are not for these threads. */
static int start(struct worker *w)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

int save_work_run(struct save_work *work, struct vas_save_options *options)
{
	struct worker *workers = calloc(work->threads, sizeof(*workers));
	unsigned int i, n;
	int err = 0;

	if (!workers)
		return -ENOMEM;
	pthread_mutex_init(&work->lock, NULL);
	pthread_cond_init(&work->wake, NULL);
	work->running = 0;
	work->err = 0;
	pthread_mutex_lock(&work->lock);
	for (n = 0; n < work->threads && !err; n++) {
		workers[n] = (struct worker){ .work = work, .number = n };
		err = start(&workers[n]);
		if (!err)
			work->running++;
	}
	/* fewer threads do as well */
	n = work->running;
	if (n)
		wait_for_end(work, options);
	else
		work->err = err;
	pthread_mutex_unlock(&work->lock);
	for (i = 0; i < n; i++)
		pthread_join(workers[i].thread, NULL);
	pthread_cond_destroy(&work->wake);
	pthread_mutex_destroy(&work->lock);
	free(workers);
	return work->err;
}

int save_options_read(const struct vas_save_options *from,
		      struct vas_save_options *to, uint32_t flags)
{
	const char *more = (const char *)from;
	size_t i;

	memset(to, 0, sizeof(*to));
	if (!from)
		return 0;
	if (from->size < sizeof(from->size))
		return -EINVAL;
	for (i = sizeof(*to); i < from->size; i++)
		if (more[i])
			return -E2BIG;
	memcpy(to, from, from->size < sizeof(*to) ? from->size : sizeof(*to));
	if (to->message && to->message_size)
		*to->message = 0;
	to->bytes = 0;
	to->written = 0;
	return to->flags & ~flags ? -EINVAL : 0;
}

void save_options_write(struct vas_save_options *to,
			const struct vas_save_options *from)
{
	if (to)
		memcpy(to, from, to->size < sizeof(*from) ? to->size :
							    sizeof(*from));
}

int save_message(const struct vas_save_options *options, int err,
		 const char *format, ...)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	va_list ap;

	pthread_mutex_lock(&lock);
	/* the first one says what came first */
	if (options->message && options->message_size && !*options->message) {
		va_start(ap, format);
		vsnprintf(options->message, options->message_size, format, ap);
		va_end(ap);
	}
	pthread_mutex_unlock(&lock);
	return err;
}
