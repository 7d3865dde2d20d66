// SPDX-License-Identifier: GPL-2.0-only
/*
 * Addresses that the kernel keeps and uses later, or from elsewhere: in which
 * view it does.  Security: the table in docs/security.md; pvvas(7), LIMITS.  What
 * io_uring does is in uring.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/rseq.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"
#include "two_views.h"

#define PAGE	4096UL

/*
 * AIO, and what takes hold of pages.
 */

static int aio_read(int fd)
{
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (unsigned int)fd,
		.aio_buf = (uintptr_t)BASE,
		.aio_nbytes = PAGE,
	}, *cbs = &cb;
	struct io_event event;
	aio_context_t ctx = 0;

	check_eq(syscall(SYS_io_setup, 1, &ctx), 0);
	check_eq(syscall(SYS_io_submit, ctx, 1, &cbs), 1);
	enter(b);
	check_eq(syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL), 1);
	enter(a);
	check_eq(syscall(SYS_io_destroy, ctx), 0);
	return (int)event.res;
}

static void aio_reads_a_file_where_it_was_submitted(void)
{
	static const char data[PAGE] = "FROMFILE";
	int fd = memfd_create("data", MFD_CLOEXEC);

	two_views();
	check_eq(write(fd, data, PAGE), PAGE);
	check_eq(aio_read(fd), PAGE);
	check(shows(a, "FROMFILE"));
	check(shows(b, "this is b"));
}

/* A disk in memory: the stock kernel's module. */
static int open_disk(void)
{
	int fd = open("/modules/brd.ko", O_RDONLY | O_CLOEXEC);

	check(fd >= 0);
	if (syscall(SYS_finit_module, fd, "rd_nr=1 rd_size=1024", 0))
		check_eq(errno, EEXIST);
	close(fd);
	fd = open("/dev/ram0", O_RDWR | O_DIRECT | O_CLOEXEC);
	check(fd >= 0);
	return fd;
}

static void direct_io_is_efault(void)
{
	int fd = open_disk();

	two_views();
	check_eq(read(fd, BASE, PAGE), -1);
	check_eq(errno, EFAULT);
	check_eq(write(fd, BASE, PAGE), -1);
	check_eq(errno, EFAULT);
	check_eq(aio_read(fd), -EFAULT);
	check(shows(a, "this is a"));
}

static void vmsplice_gives_no_pages_and_takes_copies(void)
{
	struct iovec iov = { BASE, 8 };
	int fds[2];

	two_views();
	check_eq(pipe(fds), 0);
	check_eq(vmsplice(fds[1], &iov, 1, 0), -1);
	check_eq(errno, EFAULT);
	check_eq(write(fds[1], "FROMPIPE", 8), 8);
	enter(b);
	check_eq(vmsplice(fds[0], &iov, 1, 0), 8);
	check(shows(a, "this is a"));
	check(shows(b, "FROMPIPE"));
}

static void process_vm_readv_is_efault(void)
{
	char byte[8];
	struct iovec here = { byte, 8 }, there = { BASE, 8 };

	two_views();
	check_eq(process_vm_readv(getpid(), &here, 1, &there, 1, 0), -1);
	check_eq(errno, EFAULT);
	check_eq(process_vm_writev(getpid(), &here, 1, &there, 1, 0), -1);
	check_eq(errno, EFAULT);
	/* the other side is as with read(2) */
	there.iov_base = byte;
	here.iov_base = BASE;
	strcpy(byte, "MEMORY");
	enter(b);
	check_eq(process_vm_readv(getpid(), &here, 1, &there, 1, 0), 8);
	check(shows(a, "this is a"));
	check(shows(b, "MEMORY"));
}

/*
 * What the kernel writes to, for a thread, without being asked again.
 */

static volatile sig_atomic_t signals;

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

static bool is_zero(int vh, const char *from, size_t n)
{
	int was = vas_current();
	bool zero = true;

	enter(vh);
	while (n--)
		zero = zero && !*from++;
	enter(was);
	return zero;
}

static void stack_for_signals(void *at)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	stack_t stack = { .ss_sp = at, .ss_size = 16 * PAGE };

	two_views();
	/* the library's own would refuse a segment */
	check_eq(syscall(SYS_sigaltstack, &stack, NULL), 0);
	check_eq(sigaction(SIGUSR1, &sa, NULL), 0);
}

static void a_signal_takes_its_stack_in_the_view_of_the_thread(void)
{
	stack_for_signals(BASE + PAGE);
	check_eq(raise(SIGUSR1), 0);
	check(!is_zero(a, BASE + PAGE, 16 * PAGE));
	check(is_zero(b, BASE + PAGE, 16 * PAGE));
	enter(b);
	check_eq(raise(SIGUSR1), 0);
	check(!is_zero(b, BASE + PAGE, 16 * PAGE));
}

static void signal_at_home(void *arg)
{
	(void)arg;
	stack_for_signals(BASE + PAGE);
	enter(VAS_HOME);
	raise(SIGUSR1);
}

static void a_signal_whose_stack_is_not_there_kills(void)
{
	tcase_join_killed(tcase_spawn(signal_at_home, NULL), SIGSEGV);
}

/* Outside the window one stack serves everywhere. */
static void a_signal_whose_stack_is_outside_is_handled_in_any_view(void)
{
	void *stack = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i;

	check(stack != MAP_FAILED);
	stack_for_signals(stack);
	for (i = 0; i < 3; i++) {
		enter(i == 0 ? a : i == 1 ? b : VAS_HOME);
		check_eq(raise(SIGUSR1), 0);
		check_eq(signals, i + 1);
	}
	check(is_zero(a, BASE + PAGE, 16 * PAGE));
	check(is_zero(b, BASE + PAGE, 16 * PAGE));
}

static void *go_around(void *arg)
{
	int i;

	for (i = 0; i < 100; i++) {
		enter(a);
		enter(i % 2 ? b : VAS_HOME);
	}
	return arg;
}

static void run_on_stack(void *at)
{
	pthread_attr_t attr;
	pthread_t thread;
	void *ret = NULL;

	check_eq(pthread_attr_init(&attr), 0);
	check_eq(pthread_attr_setstack(&attr, at, MIB), 0);
	check_eq(pthread_create(&thread, &attr, go_around, &a), 0);
	check_eq(pthread_join(thread, &ret), 0);
	check(ret == &a);
}

static void a_thread_whose_stack_is_outside_goes_anywhere(void)
{
	void *stack = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(stack != MAP_FAILED);
	two_views();
	run_on_stack(stack);
}

/* In the segment instead of where the C library has it. */
static void move_rseq(void)
{
	struct rseq *own = (struct rseq *)((char *)__builtin_thread_pointer() +
					   __rseq_offset);
	struct rseq *moved = (struct rseq *)(BASE + PAGE);

	two_views();
	check_eq(syscall(SYS_rseq, own, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG), 0);
	check_eq(syscall(SYS_rseq, moved, 32, 0, RSEQ_SIG), 0);
}

static void rseq_in_a_segment(void *arg)
{
	struct rseq *moved = (struct rseq *)(BASE + PAGE);
	int i;

	(void)arg;
	move_rseq();
	enter(b);
	moved->cpu_id = 12345;
	for (i = 0; i < 1000 && moved->cpu_id == 12345; i++)
		usleep(1000);
	check(moved->cpu_id != 12345);
}

static void rseq_at_home(void *arg)
{
	(void)arg;
	move_rseq();
	enter(VAS_HOME);
	for (;;)
		usleep(1000);
}

static void rseq_is_written_in_the_view_of_the_thread(void)
{
	tcase_join(tcase_spawn(rseq_in_a_segment, NULL));
	tcase_join_killed(tcase_spawn(rseq_at_home, NULL), SIGSEGV);
}

/* A thread that holds a robust futex in the segment, and ends in a view. */
static int last_view;

static void *hold_and_end(void *arg)
{
	struct robust_list_head *head = (struct robust_list_head *)(BASE + PAGE);
	struct robust_list *entry = &head->list + 8;
	atomic_int *word = (atomic_int *)(BASE + 2 * PAGE);

	(void)arg;
	enter(a);
	head->list.next = entry;
	entry->next = &head->list;
	head->futex_offset = (char *)word - (char *)entry;
	head->list_op_pending = NULL;
	atomic_store(word, (int)syscall(SYS_gettid));
	check_eq(syscall(SYS_set_robust_list, head, sizeof(*head)), 0);
	enter(last_view);
	syscall(SYS_exit, 0);
	return NULL;
}

static int word_after(int view)
{
	atomic_int *word = (atomic_int *)(BASE + 2 * PAGE);
	pthread_t thread;

	last_view = view;
	check_eq(pthread_create(&thread, NULL, hold_and_end, NULL), 0);
	check_eq(pthread_join(thread, NULL), 0);
	return atomic_load(word);
}

static void a_robust_futex_is_seen_if_the_thread_ends_in_its_view(void)
{
	two_views();
	check(word_after(a) & FUTEX_OWNER_DIED);
	check(!(word_after(b) & FUTEX_OWNER_DIED));
	check(!(word_after(VAS_HOME) & FUTEX_OWNER_DIED));
}

static void *end_with_a_word(void *arg)
{
	enter(a);
	syscall(SYS_set_tid_address, BASE + PAGE);
	enter(*(int *)arg);
	syscall(SYS_exit, 0);
	return NULL;
}

static void end_in(void *arg)
{
	int *word = (int *)(BASE + PAGE), i;
	pthread_t thread;

	two_views();
	*word = 1;
	enter(b);
	*word = 2;
	/* such a thread cannot be waited for */
	check_eq(pthread_create(&thread, NULL, end_with_a_word,
				*(int *)arg == 2 ? &b : &a), 0);
	for (i = 0; i < 2000; i++) {
		enter(*(int *)arg == 2 ? b : a);
		if (!*(volatile int *)word)
			break;
		usleep(1000);
	}
	check_eq(*word, 0);
	enter(*(int *)arg == 2 ? a : b);
	check_eq(*word, *(int *)arg == 2 ? 1 : 2);
	_exit(0);
}

static void the_word_that_ends_with_a_thread_is_cleared_in_its_last_view(void)
{
	int first = 1, second = 2;

	tcase_join(tcase_spawn(end_in, &first));
	tcase_join(tcase_spawn(end_in, &second));
}

static const struct tcase cases[] = {
	CASE(aio_reads_a_file_where_it_was_submitted),
	CASE(direct_io_is_efault),
	CASE(vmsplice_gives_no_pages_and_takes_copies),
	CASE(process_vm_readv_is_efault),
	CASE(a_signal_takes_its_stack_in_the_view_of_the_thread),
	CASE(a_signal_whose_stack_is_not_there_kills),
	CASE(a_signal_whose_stack_is_outside_is_handled_in_any_view),
	CASE(a_thread_whose_stack_is_outside_goes_anywhere),
	CASE(rseq_is_written_in_the_view_of_the_thread),
	CASE(a_robust_futex_is_seen_if_the_thread_ends_in_its_view),
	CASE(the_word_that_ends_with_a_thread_is_cleared_in_its_last_view),
};

TCASE_MAIN(cases, 0)
