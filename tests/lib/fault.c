// SPDX-License-Identifier: GPL-2.0-only
/*
 * Accesses that may fault.  One thread at a time; the handlers stay installed
 * for the duration of a try only.
 */
#include <signal.h>
#include <string.h>

#include "tcase.h"

static sigjmp_buf env;
static volatile struct tcase_fault seen;

static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE };
#define NR_SIGNALS	(sizeof(signals) / sizeof(signals[0]))

static void handler(int sig, siginfo_t *info, void *context)
{
	(void)context;
	seen.sig = sig;
	seen.code = info->si_code;
	seen.addr = info->si_addr;
	siglongjmp(env, 1);
}

struct tcase_fault tcase_try(void (*fn)(void *arg), void *arg)
{
	struct sigaction sa = { .sa_sigaction = handler,
				.sa_flags = SA_SIGINFO };
	struct sigaction old[NR_SIGNALS];
	struct tcase_fault fault;
	size_t i;

	seen.sig = 0;
	seen.code = 0;
	seen.addr = NULL;
	for (i = 0; i < NR_SIGNALS; i++)
		sigaction(signals[i], &sa, &old[i]);
	if (!sigsetjmp(env, 1))
		fn(arg);
	for (i = 0; i < NR_SIGNALS; i++)
		sigaction(signals[i], &old[i], NULL);
	fault.sig = seen.sig;
	fault.code = seen.code;
	fault.addr = seen.addr;
	return fault;
}

static void read_byte(void *p)
{
	(void)*(const volatile char *)p;
}

static void write_byte(void *p)
{
	*(volatile char *)p = 1;
}

struct tcase_fault tcase_try_read(const volatile void *p)
{
	return tcase_try(read_byte, (void *)p);
}

struct tcase_fault tcase_try_write(volatile void *p)
{
	return tcase_try(write_byte, (void *)p);
}
