// SPDX-License-Identifier: GPL-2.0-only
/*
 * A profiler looks at threads in views: where they are, and up their stacks,
 * wherever these are.  It does so in interrupts, where no page can be made.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <pvvas.h>

#include "tcase.h"

#define BASE	((char *)VAS_WINDOW_FIRST)
#define MIB	(1UL << 20)
#define PAGES	16UL

struct profile {
	int fd;
	struct perf_event_mmap_page *head;
	char *data;
};

struct found {
	int samples;		/* of this thread, in user mode */
	int in_spin;
	int with_caller;	/* have the address in their call chain */
};

static void profile_open(struct profile *p)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr), .type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK, .sample_period = 200000,
		.sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_CALLCHAIN,
		.disabled = 1, .exclude_callchain_kernel = 1,
	};

	p->fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1,
			     PERF_FLAG_FD_CLOEXEC);
	check(p->fd >= 0);
	p->head = mmap(NULL, (1 + PAGES) * 4096, PROT_READ | PROT_WRITE,
		       MAP_SHARED, p->fd, 0);
	check(p->head != MAP_FAILED);
	p->data = (char *)p->head + 4096;
}

/* With the frame pointer where the unwinder shall go. */
static __attribute__((noinline)) void spin(unsigned long n, void *frame)
{
	asm volatile("sub $256, %%rsp\n\t"
		     "push %%rbp\n\t"
		     "mov %1, %%rbp\n"
		     "1: dec %0\n\t"
		     "jnz 1b\n\t"
		     "pop %%rbp\n\t"
		     "add $256, %%rsp"
		     : "+c"(n) : "D"(frame) : "cc", "memory");
}

static struct found profiled(void *frame, uint64_t caller)
{
	struct found f = {};
	struct profile p;
	uint64_t at, end, i;

	profile_open(&p);
	check_eq(ioctl(p.fd, PERF_EVENT_IOC_ENABLE, 0), 0);
	spin(4000000, frame);
	check_eq(ioctl(p.fd, PERF_EVENT_IOC_DISABLE, 0), 0);
	end = __atomic_load_n(&p.head->data_head, __ATOMIC_ACQUIRE);
	for (at = 0; at < end;) {
		struct {
			struct perf_event_header header;
			uint64_t ip, nr, ips[128];
		} s;
		char *to = (char *)&s;

		for (i = 0; i < sizeof(s.header); i++)
			to[i] = p.data[(at + i) % (PAGES * 4096)];
		check(s.header.size >= sizeof(s.header));
		for (; i < s.header.size && i < sizeof(s); i++)
			to[i] = p.data[(at + i) % (PAGES * 4096)];
		at += s.header.size;
		if (s.header.type != PERF_RECORD_SAMPLE)
			continue;
		f.samples++;
		f.in_spin += s.ip >= (uintptr_t)spin &&
			     s.ip < (uintptr_t)spin + 128;
		for (i = 0; i < s.nr && i < 128; i++)
			if (caller && s.ips[i] == caller) {
				f.with_caller++;
				break;
			}
	}
	check_eq(munmap(p.head, (1 + PAGES) * 4096), 0);
	close(p.fd);
	return f;
}

static void a_profiler_follows_a_stack_in_the_view_of_the_thread(void)
{
	int vids[2], vh[2], i;
	struct found f;

	for (i = 0; i < 2; i++) {
		vids[i] = tcase_vas_with_seg(BASE, 4 * MIB, NULL);
		vh[i] = check_id(vas_attach(vids[i]));
		check_eq(vas_switch(vh[i]), 0);
		/* the caller's frame, and where it returns to */
		((uint64_t *)BASE)[0] = 0;
		((uint64_t *)BASE)[1] = 0x123450 + (uint64_t)i;
	}
	for (i = 0; i < 2; i++) {
		check_eq(vas_switch(vh[i]), 0);
		f = profiled(BASE, 0x123450 + (uint64_t)i);
		tcase_note("%d samples, %d in the loop, %d with its caller",
			   f.samples, f.in_spin, f.with_caller);
		check(f.in_spin > 10);
		check(f.with_caller >= f.in_spin - 1);
		check_eq(vas_current(), vh[i]);
	}
	check_eq(vas_switch(VAS_HOME), 0);
}

static void a_profiler_makes_no_pages_and_is_not_stopped_by_none(void)
{
	struct seg_attr attr = { .size = sizeof(attr) };
	int sid, vid = tcase_vas_with_seg(BASE, 4 * MIB, &sid);
	int vh = check_id(vas_attach(vid));
	struct found f;

	check_eq(vas_switch(vh), 0);
	BASE[0] = 1;
	/* a page of the segment that was not touched; and no segment */
	f = profiled(BASE + 2 * MIB, 0);
	check(f.in_spin > 10);
	f = profiled(BASE + 64 * MIB, 0);
	check(f.in_spin > 10);
	check_eq(seg_ctl(sid, SEG_CTL_GETATTR, &attr), 0);
	check_eq(attr.resident, 4096);
	check_eq(vas_switch(VAS_HOME), 0);
}

static const struct tcase cases[] = {
	CASE(a_profiler_follows_a_stack_in_the_view_of_the_thread),
	CASE(a_profiler_makes_no_pages_and_is_not_stopped_by_none),
};

TCASE_MAIN(cases, 0)
