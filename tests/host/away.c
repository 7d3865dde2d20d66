// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every way by which the host takes a page away from under a live view, or
 * watches it: what the view shows afterwards is what the host has.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vm.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

#define PF_VECTOR	14
#define SIZE		(2 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define WORD(page)	((page) * PAGE / 8)

static struct vm *vm;
static struct vcpu *v;
static struct scene s;

/* Pages 0 to 15 written through view 1, which stays in force. */
static void populate(void)
{
	uint64_t i;

	v = &vm->vcpus[0];
	vcpu_vmfunc(v, 1);
	for (i = 0; i < 16; i++)
		vcpu_poke(v, AT(i), 1000 + i);
	for (i = 0; i < 16; i++)
		check_eq(s.ram[WORD(i)], 1000 + i);
	check_eq(vcpu_view(v), s.view[0]);
}

static void begin(void)
{
	vm = vm_new(1);
	scene_make(&s, vm, SIZE, 2);
	populate();
}

/* The same over memory of the caller's. */
static void begin_over(void *mem, uint64_t size)
{
	vm = vm_new(1);
	s.ram = mem;
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, mem, size, 0);
	scene_over(&s, vm, TEST_GPA, size, 2);
	/* so that large leaves are possible */
	seg_rights(&vm->vcpus[0], s.seg, 0, size, 3);
	populate();
}

/* Both views show what the host has, and the host sees what they write. */
static void check_same(uint64_t page)
{
	uint64_t val = s.ram[WORD(page)] + 12345;
	int slot;

	for (slot = 1; slot <= 2; slot++) {
		vcpu_vmfunc(v, slot);
		check_eq(vcpu_peek(v, AT(page)), s.ram[WORD(page)]);
		vcpu_poke(v, AT(page), val + slot);
		check_eq(s.ram[WORD(page)], val + slot);
		s.ram[WORD(page)] = val;
		check_eq(vcpu_peek(v, AT(page)), val);
	}
	vcpu_vmfunc(v, 1);
}

static void madvise_dontneed_shows_zeros(void)
{
	begin();
	check_eq(madvise(s.ram, 8 * PAGE, MADV_DONTNEED), 0);
	check_eq(vcpu_peek(v, AT(3)), 0);
	check_eq(vcpu_peek(v, AT(8)), 1008);
	vcpu_vmfunc(v, 2);
	check_eq(vcpu_peek(v, AT(7)), 0);
	check_same(5);
	check_same(9);
	vm_free(vm);
}

static void another_mapping_at_the_address_is_shown(void)
{
	begin();
	check_eq(munmap(s.ram, 8 * PAGE), 0);
	check(mmap(s.ram, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		   MAP_ANONYMOUS | MAP_FIXED, -1, 0) == s.ram);
	s.ram[WORD(3)] = 77;
	check_eq(vcpu_peek(v, AT(3)), 77);
	check_eq(vcpu_peek(v, AT(4)), 0);
	check_same(3);
	check_same(5);
	vm_free(vm);
}

static uint64_t guest_poke(uint64_t va)
{
	*(volatile uint64_t *)va = 1;
	return 0;
}

/* A write that may end in KVM_RUN's -EFAULT. */
static int run_poke(uint64_t va)
{
	const uint64_t args[4] = { va };

	vcpu_prepare(v, (guest_fn)(void *)guest_poke, args);
	return vcpu_run_once(v);
}

static void munmap_ends_in_efault(void)
{
	begin();
	check_eq(munmap(s.ram, 8 * PAGE), 0);
	check_eq(run_poke(AT(2)), -EFAULT);
	check_eq(run_poke(AT(2)), -EFAULT);
	check_same(9);
	vm_free(vm);
}

static void mprotect_stops_writes(void)
{
	begin();
	check_eq(mprotect(s.ram, 8 * PAGE, PROT_READ), 0);
	check_eq(run_poke(AT(2)), -EFAULT);
	check_eq(s.ram[WORD(2)], 1002);
	check_eq(vcpu_peek(v, AT(2)), 1002);
	check_eq(mprotect(s.ram, 8 * PAGE, PROT_NONE), 0);
	check_eq(run_poke(AT(2)), -EFAULT);
	check_eq(mprotect(s.ram, 8 * PAGE, PROT_READ | PROT_WRITE), 0);
	check_eq(vcpu_peek(v, AT(2)), 1002);
	check_same(2);
	vm_free(vm);
}

/* The child has the old contents, whichever writes after the fork. */
static void fork_copies_what_views_write(void)
{
	int to[2], status;
	char c = 0;
	pid_t pid;

	begin();
	check(!pipe(to));
	pid = fork();
	if (!pid) {
		if (read(to[0], &c, 1) != 1)
			_exit(1);
		_exit(s.ram[WORD(1)] == 1001 && s.ram[WORD(2)] == 1002 ? 0 : 2);
	}
	vcpu_poke(v, AT(1), 5001);
	vcpu_vmfunc(v, 2);
	vcpu_poke(v, AT(2), 5002);
	check_eq(s.ram[WORD(1)], 5001);
	check_eq(s.ram[WORD(2)], 5002);
	check_eq(write(to[1], &c, 1), 1);
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	check_same(1);
	check_same(2);
	vm_free(vm);
}

static void a_hole_punched_into_a_file_shows(void)
{
	int fd = memfd_create("ram", 0);
	void *mem;

	check(fd >= 0 && !ftruncate(fd, SIZE));
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(mem != MAP_FAILED);
	begin_over(mem, SIZE);
	check_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			   4 * PAGE), 0);
	check_eq(vcpu_peek(v, AT(1)), 0);
	check_eq(vcpu_peek(v, AT(4)), 1004);
	check_same(1);
	check_eq(ftruncate(fd, 8 * PAGE), 0);
	check_eq(run_poke(AT(9)), -EFAULT);
	vm_free(vm);
}

static void part_of_a_huge_page_goes_away(void)
{
	uint64_t *mem = vm_mem(SIZE), i;

	madvise(mem, SIZE, MADV_HUGEPAGE);
	memset(mem, 0, SIZE);
	begin_over(mem, SIZE);
	for (i = 16; i < 512; i++)
		vcpu_poke(v, AT(i), 1000 + i);
	check_eq(madvise(mem + WORD(100), PAGE, MADV_DONTNEED), 0);
	for (i = 0; i < 512; i += 25)
		check_eq(vcpu_peek(v, AT(i)), i == 100 ? 0 : 1000 + i);
	check_same(100);
	check_same(101);
	vm_free(vm);
}

static void pages_collapse_into_a_huge_one(void)
{
	uint64_t *mem = vm_mem(SIZE), faults, i;

	memset(mem, 0, SIZE);
	begin_over(mem, SIZE);
	for (i = 16; i < 512; i++)
		vcpu_poke(v, AT(i), 1000 + i);
	madvise(mem, SIZE, MADV_HUGEPAGE);
	check_eq(madvise(mem, SIZE, MADV_COLLAPSE), 0);
	faults = kvm_stat_of(v->fd, "pvvas_view_faults");
	check_eq(vcpu_peek(v, AT(1)), 1001);
	/* one leaf instead of a table; some of the RAM's entries may go too */
	check(kvm_stat_of(v->fd, "pvvas_view_faults") - faults <= 4);
	faults = kvm_stat_of(v->fd, "pvvas_view_faults");
	for (i = 0; i < 512; i += 15) {
		check_eq(vcpu_peek(v, AT(i)), 1000 + i);
		check_same(i);
	}
	check(kvm_stat_of(v->fd, "pvvas_view_faults") - faults <= 4);
	vm_free(vm);
}

static void ksm_merges_and_a_write_unmerges(void)
{
	int i;

	begin();
	vcpu_poke(v, AT(2), 4242);
	vcpu_poke(v, AT(3), 4242);
	memset(s.ram + WORD(16), 1, SIZE - 16 * PAGE);
	check_eq(madvise(s.ram, 16 * PAGE, MADV_MERGEABLE), 0);
	host_put("/sys/kernel/mm/ksm/sleep_millisecs", "0");
	host_put("/sys/kernel/mm/ksm/pages_to_scan", "1000");
	host_put("/sys/kernel/mm/ksm/run", "1");
	for (i = 0; i < 2000; i++) {
		if (host_number("/sys/kernel/mm/ksm/pages_sharing") > 0)
			break;
		usleep(1000);
	}
	host_put("/sys/kernel/mm/ksm/run", "0");
	check(host_number("/sys/kernel/mm/ksm/pages_sharing") > 0);
	vcpu_poke(v, AT(2), 1);
	check_eq(s.ram[WORD(2)], 1);
	check_eq(s.ram[WORD(3)], 4242);
	check_eq(vcpu_peek(v, AT(3)), 4242);
	check_same(2);
	check_same(3);
	host_put("/sys/kernel/mm/ksm/run", "2");
	check_same(2);
	check_same(3);
	vm_free(vm);
}

/* What the host says of the page at an address of this process. */
static uint64_t pagemap(const void *addr)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	check(fd >= 0);
	check_eq(pread(fd, &entry, 8, (uint64_t)addr / PAGE * 8), 8);
	close(fd);
	return entry;
}

#define PAGEMAP_SWAPPED	(1ULL << 62)
#define PAGEMAP_PFN	((1ULL << 55) - 1)

static void pages_are_swapped_out_and_in_again(void)
{
	int i;

	check_eq(system("insmod /modules/loop.ko 2>/dev/null;"
			"dd if=/dev/zero of=/tmp/swap bs=1M count=8 2>/dev/null &&"
			"losetup /dev/loop0 /tmp/swap &&"
			"mkswap /dev/loop0 >/dev/null && swapon /dev/loop0"), 0);
	begin();
	check_eq(madvise(s.ram, 16 * PAGE, MADV_PAGEOUT), 0);
	for (i = 0; i < 16; i++)
		check(pagemap(s.ram + WORD(i)) & PAGEMAP_SWAPPED);
	for (i = 0; i < 8; i++) {
		check_eq(vcpu_peek(v, AT(i)), 1000 + i);
		check(!(pagemap(s.ram + WORD(i)) & PAGEMAP_SWAPPED));
	}
	/* a write brings it back too */
	vcpu_poke(v, AT(9), 5009);
	check_eq(s.ram[WORD(9)], 5009);
	for (i = 0; i < 16; i++)
		check_same(i);
	vm_free(vm);
	check_eq(system("swapoff /dev/loop0; losetup -d /dev/loop0;"
			"rm /tmp/swap"), 0);
}

/* What migration does to a page, whyever: soft offlining needs no reason. */
static void pages_migrate(void)
{
	uint64_t pfn[4];
	int i;

	begin();
	for (i = 0; i < 4; i++)
		pfn[i] = pagemap(s.ram + WORD(i)) & PAGEMAP_PFN;
	check_eq(madvise(s.ram, 4 * PAGE, MADV_SOFT_OFFLINE), 0);
	for (i = 0; i < 4; i++) {
		check(pfn[i] != (pagemap(s.ram + WORD(i)) & PAGEMAP_PFN));
		check_eq(vcpu_peek(v, AT(i)), 1000 + i);
		check_same(i);
	}
	vm_free(vm);
}

/* Soft-dirty tracking of the host sees what views write. */
static void soft_dirty_bits_see_writes(void)
{
	uint64_t entry[2];
	int fd;

	begin();
	host_put("/proc/self/clear_refs", "4");
	vcpu_poke(v, AT(2), 1);
	fd = open("/proc/self/pagemap", O_RDONLY);
	check(fd >= 0);
	check_eq(pread(fd, entry, sizeof(entry), (uint64_t)s.ram / PAGE * 8 +
		       2 * 8), sizeof(entry));
	check(entry[0] >> 55 & 1);
	check(!(entry[1] >> 55 & 1));
	close(fd);
	vm_free(vm);
}

static int uffd;
static volatile int uffd_events, uffd_protected;

static void *uffd_answer(void *arg)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct uffd_msg m;

	(void)arg;
	while (read(uffd, &m, sizeof(m)) == sizeof(m)) {
		uint64_t at = m.arg.pagefault.address & ~(PAGE - 1);
		struct uffdio_copy copy = { .dst = at, .src = (uint64_t)page,
					    .len = PAGE };
		struct uffdio_writeprotect wp = { .range = { at, PAGE } };

		uffd_events++;
		if (m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
			uffd_protected++;
			ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
			continue;
		}
		*(uint64_t *)page = 7000 + (at - (uint64_t)s.ram) / PAGE;
		ioctl(uffd, UFFDIO_COPY, &copy);
	}
	return NULL;
}

static void userfaultfd(uint64_t mode)
{
	struct uffdio_api api = { .api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	struct uffdio_register reg = { .range = { (uint64_t)s.ram, SIZE },
				       .mode = mode };
	pthread_t t;

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	check(uffd >= 0);
	check_eq(ioctl(uffd, UFFDIO_API, &api), 0);
	check_eq(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	check_eq(pthread_create(&t, NULL, uffd_answer, NULL), 0);
}

static void userfaultfd_gives_the_pages(void)
{
	begin();
	userfaultfd(UFFDIO_REGISTER_MODE_MISSING);
	check_eq(madvise(s.ram, 8 * PAGE, MADV_DONTNEED), 0);
	check_eq(vcpu_peek(v, AT(3)), 7003);
	vcpu_vmfunc(v, 2);
	check_eq(vcpu_peek(v, AT(3)), 7003);
	check_eq(uffd_events, 1);
	vcpu_poke(v, AT(4), 1);
	check_eq(uffd_events, 2);
	check_eq(vcpu_peek(v, AT(9)), 1009);
	check_eq(uffd_events, 2);
	check_same(3);
	vm_free(vm);
}

static void userfaultfd_sees_writes(void)
{
	struct uffdio_writeprotect wp = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };

	begin();
	userfaultfd(UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
	wp.range.start = (uint64_t)s.ram;
	wp.range.len = 8 * PAGE;
	check_eq(ioctl(uffd, UFFDIO_WRITEPROTECT, &wp), 0);
	check_eq(vcpu_peek(v, AT(3)), 1003);
	check_eq(uffd_protected, 0);
	vcpu_poke(v, AT(3), 1);
	check_eq(uffd_protected, 1);
	vcpu_vmfunc(v, 2);
	vcpu_poke(v, AT(3), 2);
	check_eq(uffd_protected, 1);
	vcpu_poke(v, AT(4), 2);
	check_eq(uffd_protected, 2);
	check_same(3);
	vm_free(vm);
}

#define FAULT_MS	"/sys/module/kvm/parameters/pvvas_fault_ms"

static volatile uint64_t seen;

static void *peeker(void *arg)
{
	(void)arg;
	seen = vcpu_peek(v, AT(40));
	return NULL;
}

/*
 * A fault of the vCPU has the page in hand when the host puts another one there.
 * Needs modules that can make it wait then (tests/flushes/mutate).
 */
static void a_page_that_goes_during_a_fault_is_not_shown(void)
{
	int file = memfd_create("pages", 0);
	uint64_t *page, i;
	pthread_t t;

	if (access(FAULT_MS, W_OK))
		host_skip("these modules cannot make a fault wait");
	begin();
	page = &s.ram[WORD(40)];
	check_eq(ftruncate(file, 2 * PAGE), 0);
	for (i = 0; i < 2; i++)
		check_eq(pwrite(file, &(uint64_t){ i + 1 }, sizeof(i), i * PAGE),
			 sizeof(i));
	check(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		   file, 0) == page);
	host_put(FAULT_MS, "500");
	check_eq(pthread_create(&t, NULL, peeker, NULL), 0);
	usleep(250 * 1000);
	check(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		   file, PAGE) == page);
	host_put(FAULT_MS, "0");
	pthread_join(t, NULL);
	check_eq(seen, 2);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(madvise_dontneed_shows_zeros),
	CASE(another_mapping_at_the_address_is_shown),
	CASE(munmap_ends_in_efault),
	CASE(mprotect_stops_writes),
	CASE(fork_copies_what_views_write),
	CASE(a_hole_punched_into_a_file_shows),
	CASE(part_of_a_huge_page_goes_away),
	CASE(pages_collapse_into_a_huge_one),
	CASE(ksm_merges_and_a_write_unmerges),
	CASE(pages_are_swapped_out_and_in_again),
	CASE(pages_migrate),
	CASE(soft_dirty_bits_see_writes),
	CASE(userfaultfd_gives_the_pages),
	CASE(userfaultfd_sees_writes),
	CASE_ONLY_NAMED(a_page_that_goes_during_a_fault_is_not_shown),
};

HOSTCASE_MAIN(cases)
