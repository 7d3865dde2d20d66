// SPDX-License-Identifier: GPL-2.0-only
/*
 * What programs do today to let another process work on their data: a message to a
 * thread or a process that has them, and one back.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "bench.h"
#include "switching.h"

struct channel {
	const char *name;
	bool futex;
	int here[2], there[2];	/* what is read and written on each side */
	uint32_t *word;		/* whose turn it is: 0 ours, 1 the other's */
};

static void futex(uint32_t *word, int op, uint32_t value)
{
	syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

static void pass(uint32_t *word, uint32_t to)
{
	__atomic_store_n(word, to, __ATOMIC_SEQ_CST);
	futex(word, FUTEX_WAKE, 1);
}

static void await(uint32_t *word, uint32_t turn)
{
	uint32_t now;

	while ((now = __atomic_load_n(word, __ATOMIC_SEQ_CST)) != turn)
		futex(word, FUTEX_WAIT, now);
}

/* The other side: until it is killed, or cancelled. */
static void *answer(void *arg)
{
	struct channel *ch = arg;
	char c;

	/* a bare system call is no place to be cancelled */
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;) {
		if (ch->futex) {
			await(ch->word, 1);
			pass(ch->word, 0);
		} else if (read(ch->there[0], &c, 1) != 1 ||
			   write(ch->there[1], &c, 1) != 1) {
			break;
		}
	}
	return NULL;
}

static void round_trips(unsigned long n, void *arg)
{
	struct channel *ch = arg;
	char c = 0;

	BENCH_LOOP(n) {
		if (ch->futex) {
			pass(ch->word, 1);
			await(ch->word, 0);
		} else if (write(ch->here[1], &c, 1) != 1 ||
			   read(ch->here[0], &c, 1) != 1) {
			bench_fail("the other side is gone");
		}
	}
}

static void open_channel(struct channel *ch)
{
	int a[2], b[2];

	if (ch->futex) {
		ch->word = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		bench_check(ch->word != MAP_FAILED);
		return;
	}
	if (ch->name[0] == 'p') {
		bench_check(!pipe(a) && !pipe(b));
		ch->here[0] = b[0];
		ch->here[1] = a[1];
		ch->there[0] = a[0];
		ch->there[1] = b[1];
		return;
	}
	bench_check(!socketpair(AF_UNIX, SOCK_STREAM, 0, a));
	ch->here[0] = ch->here[1] = a[0];
	ch->there[0] = ch->there[1] = a[1];
}

void ping_pong(const char *group, const char *params, const char *who,
	       const char *over)
{
	struct channel ch = { .name = over, .futex = over[0] == 'f' };
	char name[64];
	pthread_t thread;
	pid_t pid = 0;

	snprintf(name, sizeof(name), "ping_pong_%s_%s", who, over);
	if (!bench_wanted(group, name))
		return;
	open_channel(&ch);
	if (who[0] == 't') {
		bench_check(!pthread_create(&thread, NULL, answer, &ch));
	} else {
		pid = fork();
		bench_check(pid >= 0);
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			answer(&ch);
			_exit(0);
		}
	}
	bench_run(&(struct bench){ group, name, params, round_trips,
				   .arg = &ch });
	if (pid) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	} else {
		pthread_cancel(thread);
		pthread_join(thread, NULL);
	}
}

void ping_pongs(void)
{
	static const char *const over[] = { "pipe", "futex", "unix" };
	size_t i;

	for (i = 0; i < sizeof(over) / sizeof(over[0]); i++) {
		ping_pong("switching", NULL, "thread", over[i]);
		ping_pong("switching", NULL, "process", over[i]);
	}
}
