// SPDX-License-Identifier: GPL-2.0-only
/*
 * What else changes what a thread can reach, or enters a kernel, by itself.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"
#include "switching.h"

#define RANGE	(2 * MIB)

struct memory {
	char *at;
	int fd[2];
	int key;
};

static inline long call0(long nr)
{
	long ret;

	__asm__ __volatile__("syscall" : "=a" (ret) : "a" (nr)
			     : "rcx", "r11", "memory");
	return ret;
}

static void empty_system_call(unsigned long n, void *arg)
{
	(void)arg;
	BENCH_LOOP(n)
		call0(SYS_getppid);
}

/*
 * No program may call the hypervisor: KVM looks and refuses.  The way there and
 * back is what every hypercall has.
 */
static void empty_hypercall(unsigned long n, void *arg)
{
	(void)arg;
	BENCH_LOOP(n) {
		long ret;

		__asm__ __volatile__("vmcall" : "=a" (ret) : "a" (0UL)
				     : "memory");
	}
}

static void protect(unsigned long n, void *arg)
{
	struct memory *m = arg;

	BENCH_LOOP(n) {
		mprotect(m->at, 4096, PROT_READ);
		mprotect(m->at, 4096, PROT_READ | PROT_WRITE);
	}
}

static void protect_and_write(unsigned long n, void *arg)
{
	struct memory *m = arg;

	BENCH_LOOP(n) {
		mprotect(m->at, 4096, PROT_READ);
		mprotect(m->at, 4096, PROT_READ | PROT_WRITE);
		*(volatile char *)m->at = 1;
	}
}

static void map_over(struct memory *m, int i)
{
	if (mmap(m->at, RANGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 m->fd[i], 0) == MAP_FAILED)
		bench_fail("mmap: %d", errno);
}

static void map_fixed(unsigned long n, void *arg)
{
	BENCH_LOOP(n) {
		map_over(arg, 0);
		map_over(arg, 1);
	}
}

static void map_fixed_and_read(unsigned long n, void *arg)
{
	struct memory *m = arg;

	BENCH_LOOP(n) {
		map_over(m, 0);
		(void)*(volatile char *)m->at;
		map_over(m, 1);
		(void)*(volatile char *)m->at;
	}
}

static void unmap_and_map(unsigned long n, void *arg)
{
	struct memory *m = arg;

	BENCH_LOOP(n) {
		munmap(m->at, RANGE);
		map_over(m, 0);
	}
}

static void set_key(unsigned long n, void *arg)
{
	struct memory *m = arg;

	BENCH_LOOP(n) {
		pkey_set(m->key, PKEY_DISABLE_ACCESS);
		pkey_set(m->key, 0);
	}
}

static int memory_file(void)
{
	int fd = memfd_create("bench", MFD_CLOEXEC);

	bench_check(fd >= 0 && !ftruncate(fd, RANGE));
	bench_check(pwrite(fd, "x", 1, 0) == 1);
	return fd;
}

void alternatives(void)
{
	struct memory m = { .fd = { memory_file(), memory_file() } };

	m.at = mmap(NULL, RANGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bench_check(m.at != MAP_FAILED);
	m.at[0] = 1;

	bench_run(&(struct bench){ "switching", "empty_system_call", NULL,
				   empty_system_call });
	bench_run(&(struct bench){ "switching", "empty_hypercall", NULL,
				   empty_hypercall });
	bench_run(&(struct bench){ "switching", "mprotect_page", NULL, protect,
				   .arg = &m, .per_turn = 2 });
	bench_run(&(struct bench){ "switching", "mprotect_page_and_write", NULL,
				   protect_and_write, .arg = &m,
				   .per_turn = 2 });
	m.key = pkey_alloc(0, 0);
	if (m.key > 0)
		bench_run(&(struct bench){ "switching", "pkey_set", NULL,
					   set_key, .arg = &m, .per_turn = 2 });
	else
		bench_note("  switching/pkey_set: this CPU has no keys");
	bench_run(&(struct bench){ "switching", "mmap_fixed_memfd", NULL,
				   map_fixed, .arg = &m, .per_turn = 2 });
	bench_run(&(struct bench){ "switching", "mmap_fixed_memfd_and_read",
				   NULL, map_fixed_and_read, .arg = &m,
				   .per_turn = 2 });
	bench_run(&(struct bench){ "switching", "munmap_mmap", NULL,
				   unmap_and_map, .arg = &m });
}
