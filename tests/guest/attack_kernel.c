// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel does for a process with addresses in the window (io_uring,
 * process_vm_readv, /proc/PID/mem, vmsplice, core dumps), while other threads and
 * processes move, discard, protect, clone and delete what is there, fork, and are
 * killed.  Each word that comes back is one that was written there, or 0, and
 * nothing is left.
 *
 * Usage: attack_kernel [SEED [SECONDS]]
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/io_uring.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGE	4096UL
#define SIZE	(4 * MIB)
#define PAGES	(SIZE / PAGE)
#define NR_SEGS	3
#define NR_PROCS 4
#define ENTRIES	8
#define OURS	0xa110ULL	/* the upper 16 bits of what is written */
#define SECRET	0xdead5ec000000000ULL

struct scene {
	_Atomic long calls;
	_Atomic long done;	/* by the kernel, with data */
	_Atomic long foreign;
	_Atomic uint64_t word;
	_Atomic int op;
	_Atomic int pids[NR_PROCS];
	_Atomic int sid[NR_SEGS];
	int vid;
};

struct mine {
	struct scene *s;
	uint64_t state;
	int vh;
	int op;
	int pipe[2];
	int ring;
	struct io_uring_params p;
	char *sq, *cq;
	struct io_uring_sqe *sqes;
};

static unsigned int seed = 1, seconds = 4;
static __thread sigjmp_buf refused;
static __thread volatile int trying;

static unsigned int any(struct mine *m, unsigned int n)
{
	m->state = m->state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned int)(m->state >> 33) % n;
}

static void on_refused(int sig)
{
	if (!trying)
		_exit(100 + sig);
	trying = 0;
	siglongjmp(refused, 1);
}

static void look(struct mine *m, const uint64_t *words, size_t bytes)
{
	size_t i;

	for (i = 0; i < bytes / 8; i++) {
		if (words[i] && words[i] >> 48 != OURS &&
		    !atomic_fetch_add(&m->s->foreign, 1)) {
			atomic_store(&m->s->word, words[i]);
			atomic_store(&m->s->op, m->op);
		}
	}
	if (bytes)
		atomic_fetch_add(&m->s->done, 1);
}

static char *place(struct mine *m, int *which)
{
	*which = (int)any(m, NR_SEGS);
	return BASE + (size_t)*which * 8 * MIB + (size_t)any(m, PAGES - 64) * PAGE;
}

static void touch(struct mine *m)
{
	int which;
	char *p = place(m, &which);
	uint64_t word;

	trying = 1;
	if (!sigsetjmp(refused, 1)) {
		*(volatile uint64_t *)p = OURS << 48 | (uintptr_t)p;
		word = *(volatile uint64_t *)(p + PAGE);
		look(m, &word, sizeof(word));
	}
	trying = 0;
}

/*
 * By io_uring: what is read into the window comes from a pipe; what is written
 * from there goes to a file in memory, and is looked at.
 */
static bool ring_open(struct mine *m, unsigned int flags)
{
	void *p[3];

	memset(&m->p, 0, sizeof(m->p));
	m->p.flags = flags;
	m->p.sq_thread_idle = 1000;
	m->ring = (int)syscall(SYS_io_uring_setup, ENTRIES, &m->p);
	if (m->ring < 0)
		return false;
	p[0] = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, m->ring,
		    IORING_OFF_SQ_RING);
	p[1] = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, m->ring,
		    IORING_OFF_CQ_RING);
	p[2] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m->ring,
		    IORING_OFF_SQES);
	if (p[0] == MAP_FAILED || p[1] == MAP_FAILED || p[2] == MAP_FAILED)
		return false;
	m->sq = p[0];
	m->cq = p[1];
	m->sqes = p[2];
	return true;
}

static unsigned int *word_at(char *part, unsigned int offset)
{
	return (unsigned int *)(part + offset);
}

static void ring_submit(struct mine *m, unsigned int opcode, int fd, char *addr,
			unsigned int length, uint64_t offset)
{
	unsigned int *tail = word_at(m->sq, m->p.sq_off.tail);
	unsigned int mask = *word_at(m->sq, m->p.sq_off.ring_mask);
	unsigned int i = *tail & mask;

	memset(&m->sqes[i], 0, sizeof(m->sqes[i]));
	m->sqes[i].opcode = (unsigned char)opcode;
	m->sqes[i].flags = any(m, 2) ? IOSQE_ASYNC : 0;
	m->sqes[i].fd = fd;
	m->sqes[i].off = offset;
	m->sqes[i].addr = (uintptr_t)addr;
	m->sqes[i].len = length;
	word_at(m->sq, m->p.sq_off.array)[i] = i;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	syscall(SYS_io_uring_enter, m->ring, 1, 0,
		m->p.flags & IORING_SETUP_SQPOLL ? IORING_ENTER_SQ_WAKEUP : 0,
		NULL, 0);
}

static void ring_drain(struct mine *m)
{
	unsigned int *head = word_at(m->cq, m->p.cq_off.head);

	syscall(SYS_io_uring_enter, m->ring, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
	__atomic_store_n(head, __atomic_load_n(word_at(m->cq, m->p.cq_off.tail),
					       __ATOMIC_ACQUIRE),
			 __ATOMIC_RELEASE);
}

static void by_ring(struct mine *m)
{
	uint64_t words[PAGE / 8];
	struct iovec iov;
	unsigned int i;
	int which;
	char *at = place(m, &which);

	if (any(m, 2)) {	/* into the window, later */
		ring_submit(m, IORING_OP_READ, m->pipe[0], at, PAGE, 0);
		for (i = 0; i < PAGE / 8; i++)
			words[i] = OURS << 48 | i;
		if (any(m, 4))
			vas_switch(any(m, 2) ? VAS_HOME : m->vh);
		if (write(m->pipe[1], words, any(m, 2) ? PAGE : 8) < 0)
			return;
	} else {
		iov = (struct iovec){ at, PAGE };
		syscall(SYS_io_uring_register, m->ring, IORING_REGISTER_BUFFERS,
			&iov, 1);
		syscall(SYS_io_uring_register, m->ring,
			IORING_UNREGISTER_BUFFERS, NULL, 0);
		ring_submit(m, IORING_OP_WRITE, m->pipe[1], at, PAGE, 0);
	}
	ring_drain(m);
}

static void read_pipe(struct mine *m)
{
	uint64_t words[PAGE / 8];
	ssize_t n = read(m->pipe[0], words, sizeof(words));

	if (n > 0)
		look(m, words, (size_t)n);
}

static void by_splice(struct mine *m)
{
	int which;
	struct iovec iov = { place(m, &which), (1 + any(m, 4)) * PAGE };

	vmsplice(m->pipe[1], &iov, 1, SPLICE_F_NONBLOCK |
		 (any(m, 2) ? SPLICE_F_GIFT : 0));
	read_pipe(m);
}

static void of_another(struct mine *m)
{
	uint64_t words[4 * PAGE / 8];
	pid_t pid = atomic_load(&m->s->pids[any(m, NR_PROCS)]);
	struct iovec here = { words, sizeof(words) }, there = here;
	int which;
	ssize_t n;
	size_t i;

	there.iov_base = place(m, &which);
	if (pid <= 0)
		return;
	for (i = 0; i < sizeof(words) / 8; i++)
		words[i] = OURS << 48 | i;
	if (any(m, 2)) {
		process_vm_writev(pid, &here, 1, &there, 1, 0);
	} else {
		n = process_vm_readv(pid, &here, 1, &there, 1, 0);
		if (n > 0)
			look(m, words, (size_t)n);
	}
	/* the window at both ends */
	here.iov_base = place(m, &which);
	process_vm_readv(pid, &here, 1, &there, 1, 0);
}

static void of_its_own(struct mine *m)
{
	uint64_t words[PAGE / 8];
	int which, fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return;
	n = pread(fd, words, sizeof(words), (off_t)place(m, &which));
	if (n > 0)
		look(m, words, (size_t)n);
	words[0] = OURS << 48;
	n = pwrite(fd, words, 8, (off_t)place(m, &which));
	(void)n;
	close(fd);
}

/* A thread of a child is in a VAS when all is dumped. */
static void dump(struct mine *m)
{
	const struct rlimit most = { 64 * MIB, 64 * MIB };
	pid_t pid = fork();
	int vh;

	if (!pid) {
		/* a process that is killed takes it along */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGABRT, SIG_DFL);
		setrlimit(RLIMIT_CORE, &most);
		vh = vas_attach(m->s->vid);
		if (vh > 0)
			vas_switch(vh);
		abort();
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void secrets(void)
{
	size_t n = 2 * MIB, i;
	uint64_t *p = mmap(NULL, n, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	for (i = 0; i < n / 8; i += 64)
		p[i] = SECRET | i;
	munmap(p, n);
}

/* Another segment in its place. */
static void replace(struct mine *m, int which)
{
	int old = atomic_load(&m->s->sid[which]), new;

	new = seg_alloc(NULL, BASE + (size_t)which * 8 * MIB, SIZE, 0666);
	if (new <= 0)
		return;
	if (!atomic_compare_exchange_strong(&m->s->sid[which], &old, new)) {
		seg_delete(new);
		return;
	}
	seg_detach(m->s->vid, old);
	seg_delete(old);
	seg_attach(m->s->vid, new);
}

static void change(struct mine *m)
{
	static _Thread_local uint64_t page[PAGE / 8];
	int which, to, sid, copy;
	char *at = place(m, &which), *dest = place(m, &to);
	size_t n = (1 + any(m, 64)) * PAGE;

	sid = atomic_load(&m->s->sid[which]);
	switch (any(m, 8)) {
	case 0: case 1:
		seg_move(sid, at, atomic_load(&m->s->sid[to]), dest, n);
		break;
	case 2:
		seg_discard(sid, at, n);
		break;
	case 3:
		seg_protect(sid, at, n, any(m, 2) ? PROT_NONE : PROT_READ);
		seg_protect(sid, at, n, PROT_READ | PROT_WRITE);
		break;
	case 4:
		copy = seg_clone(sid);
		if (copy > 0) {
			seg_move(copy, at, sid, at, n);
			seg_delete(copy);
		}
		break;
	case 5:
		page[0] = page[PAGE / 8 - 1] = OURS << 48 | 7;
		seg_fill(sid, at, page, PAGE);
		break;
	case 6:
		replace(m, which);
		break;
	case 7:
		secrets();
		break;
	}
}

static void call(struct mine *m)
{
	m->op = (int)any(m, 20);
	switch (m->op) {
	case 0: case 1: case 2: case 3:
		by_ring(m);
		break;
	case 4: case 5:
		by_splice(m);
		break;
	case 6: case 7: case 8:
		of_another(m);
		break;
	case 9:
		of_its_own(m);
		break;
	case 10:
		if (!any(m, 4))
			dump(m);
		break;
	case 11: case 12:
		read_pipe(m);
		break;
	case 13:
		vas_switch(VAS_HOME);
		vas_detach(m->vh);
		m->vh = vas_attach(m->s->vid);
		break;
	case 14: case 15:
		touch(m);
		break;
	default:
		change(m);
	}
	if (vas_current() != m->vh)
		vas_switch(m->vh);
}

static void *attack(void *arg)
{
	struct mine *m = arg;

	if (pipe2(m->pipe, O_NONBLOCK) ||
	    !ring_open(m, any(m, 3) ? 0 : IORING_SETUP_SQPOLL))
		return NULL;
	m->vh = vas_attach(m->s->vid);
	while (m->vh > 0) {
		call(m);
		atomic_fetch_add(&m->s->calls, 1);
	}
	return NULL;
}

static void live(void *arg)
{
	const struct sigaction act = { .sa_handler = on_refused,
				       .sa_flags = SA_NODEFER };
	static struct mine both[2];
	struct scene *s = arg;
	pthread_t other;
	int i;

	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < 2; i++) {
		both[i].s = s;
		both[i].state = seed * 1000003UL + (unsigned long)getpid() * 2 +
				(unsigned long)i;
	}
	pthread_create(&other, NULL, attack, &both[1]);
	attack(&both[0]);
	pthread_join(other, NULL);
}

static void start(struct scene *s, int i)
{
	atomic_store(&s->pids[i], tcase_spawn(live, s));
}

/* How long that took, in microseconds. */
static long end(struct scene *s, int i)
{
	pid_t pid = atomic_exchange(&s->pids[i], 0);
	long before = tcase_microseconds();

	kill(pid, SIGKILL);
	check_eq(waitpid(pid, NULL, 0), pid);
	return tcase_microseconds() - before;
}

/* Those of processes that were killed before they deleted them, too. */
static void clean(struct scene *s)
{
	int sid = 0;

	while ((sid = seg_next(sid)) > 0) {
		seg_detach(s->vid, sid);
		seg_delete(sid);
	}
	check_eq(sid, -ENOENT);
}

static void what_the_kernel_does_later_reaches_no_memory_that_went(void)
{
	struct scene *s = tcase_shared(sizeof(*s));
	long until = tcase_microseconds() + seconds * 1000000L;
	long took, slowest = 0;
	unsigned int killed = 0;
	char folder[64];
	int i;

	tcase_folder(folder, sizeof(folder), "cores");
	check_eq(chdir(folder), 0);
	srand(seed);
	s->vid = tcase_vas(NULL, 0666);
	for (i = 0; i < NR_SEGS; i++) {
		s->sid[i] = seg_alloc(NULL, BASE + (size_t)i * 8 * MIB, SIZE, 0666);
		check(s->sid[i] > 0);
		check_eq(seg_attach(s->vid, s->sid[i]), 0);
	}
	for (i = 0; i < NR_PROCS; i++)
		start(s, i);
	while (tcase_microseconds() < until) {
		usleep(100000 + (unsigned int)rand() % 200000);
		i = rand() % NR_PROCS;
		took = end(s, i);
		slowest = took > slowest ? took : slowest;
		killed++;
		start(s, i);
	}
	for (i = 0; i < NR_PROCS; i++)
		end(s, i);
	clean(s);
	tcase_note("seed %u: %ld calls, %ld with data, %u killed, the slowest in %ld ms",
		   seed, atomic_load(&s->calls), atomic_load(&s->done), killed,
		   slowest / 1000);
	if (atomic_load(&s->foreign))
		tcase_note("foreign: %lx, by %d", (long)atomic_load(&s->word),
			   atomic_load(&s->op));
	check_eq(atomic_load(&s->foreign), 0);
	check(atomic_load(&s->calls) > 10 * (long)seconds);
	check(atomic_load(&s->done));
}

static const struct tcase cases[] = {
	CASE_SECONDS(what_the_kernel_does_later_reaches_no_memory_that_went, 110),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		seed = (unsigned int)atoi(argv[1]);
	if (argc > 2)
		seconds = (unsigned int)atoi(argv[2]);
	return tcase_main(cases, 1, 0);
}
