// SPDX-License-Identifier: GPL-2.0-only
/*
 * Huge pages that may not be executed (kvm.nx_huge_pages): no large leaf of a
 * window gets around it, and its recovery thread takes tables away from under
 * live views.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vm.h"

#define SIZE		(2 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define NX		"/sys/module/kvm/parameters/nx_huge_pages"

static struct vm *vm;
static struct vcpu *v;
static struct scene s;

static void begin(void)
{
	vm = vm_new(1);
	v = &vm->vcpus[0];
	s.ram = vm_mem(SIZE);
	check_eq(madvise(s.ram, SIZE, MADV_HUGEPAGE), 0);
	memset(s.ram, 0xc3, SIZE);	/* ret */
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, SIZE, 0);
	scene_over(&s, vm, TEST_GPA, SIZE, 2);
	vcpu_vmfunc(v, 1);
}

/* Faults that reading 16 pages takes. */
static uint64_t leaves(void)
{
	struct pvvas_hc_stats before, after;
	int i;

	vcpu_stats(v, &before);
	for (i = 0; i < 16; i++)
		check_eq(vcpu_peek(v, AT(i)), 0xc3c3c3c3c3c3c3c3ULL);
	vcpu_stats(v, &after);
	return after.view_faults - before.view_faults;
}

static void what_may_be_executed_is_large_only_if_allowed(void)
{
	begin();
	host_put(NX, "off");
	check_eq(leaves(), 1);
	/* what is there already goes too */
	host_put(NX, "force");
	check_eq(leaves(), 2);	/* small ones, 8 at a time */
	seg_rights(v, s.seg, 0, SIZE, PVVAS_PROT_READ);
	check_eq(leaves(), 1);	/* large again, instead of the table */
	host_put(NX, "off");
	vm_free(vm);
}

static uint64_t guest_ret(uint64_t va)
{
	((void (*)(void))va)();
	return 1;
}

static void the_recovery_of_huge_pages_spares_views(void)
{
	int round, i;

	host_put(NX, "force");
	host_put(NX "_recovery_ratio", "1");
	begin();
	for (round = 0; round < 5; round++) {
		/* later than what follows takes; a shorter period wakes it */
		host_put(NX "_recovery_period_ms", "3600000");
		/* splits the huge page of RAM, in the table that views share */
		check_eq(vcpu_call(v, guest_ret, TEST_GPA + 8 * PAGE), 1);
		check_eq(vcpu_call(v, guest_ret, AT(8)), 1);
		check(kvm_stat_of(vm->fd, "nx_lpage_splits") > 0);
		host_put(NX "_recovery_period_ms", "20");
		for (i = 0; i < 500; i++) {
			if (!kvm_stat_of(vm->fd, "nx_lpage_splits"))
				break;
			usleep(10000);
		}
		check_eq(kvm_stat_of(vm->fd, "nx_lpage_splits"), 0);
		check_eq(vcpu_view(v), s.view[round % 2]);
		check_eq(vcpu_peek(v, AT(3)), vcpu_peek(v, TEST_GPA + 3 * PAGE));
		vcpu_poke(v, AT(4), round);
		check_eq(vcpu_peek(v, TEST_GPA + 4 * PAGE), round);
		vcpu_vmfunc(v, 2 - round % 2);
	}
	vm_free(vm);
	host_put(NX "_recovery_period_ms", "3600000");
	host_put(NX, "off");
}

#define TABLE_GPA	(TEST_GPA + 64 * MIB)

static void *execute(void *arg)
{
	check_eq(vcpu_call(v, guest_ret, (uint64_t)arg), 1);
	return NULL;
}

/*
 * A fault that began before huge pages were forbidden, and sleeps where it reads
 * the table, while the view's root is emptied.
 */
static void a_fault_from_before_brings_no_huge_page_to_execute(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	const uint64_t va = WINDOW_FREE + 8 * GIB;
	struct uffdio_copy copy = { .len = PAGE };
	uint64_t *table, *content = vm_mem(PAGE);
	struct uffd_msg msg;
	pthread_t t;
	int fd;

	host_put(NX, "off");
	begin();
	table = vm_ram(vm, FIRST_TEST_SLOT + 1, TABLE_GPA, 2 * MIB, 0);
	fd = syscall(__NR_userfaultfd, O_CLOEXEC);
	check(fd >= 0);
	check_eq(ioctl(fd, UFFDIO_API, &api), 0);
	reg.range.start = (uint64_t)table;
	reg.range.len = 2 * MIB;
	check_eq(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
	*root_gib(vm, view_root(s.view[0]), va) = TABLE_GPA | PVVAS_PROT_ALL;

	check_eq(pthread_create(&t, NULL, execute, (void *)va), 0);
	check_eq(read(fd, &msg, sizeof(msg)), sizeof(msg));
	check_eq(msg.arg.pagefault.address & ~(PAGE - 1), (uint64_t)table);
	host_put(NX, "force");
	content[0] = TEST_GPA | PVVAS_PROT_ALL | PVVAS_EPT_WB | PVVAS_EPT_LARGE;
	copy.src = (uint64_t)content;
	copy.dst = (uint64_t)table;
	check_eq(ioctl(fd, UFFDIO_COPY, &copy), 0);
	pthread_join(t, NULL);
	check(kvm_stat_of(vm->fd, "nx_lpage_splits") > 0);
	vm_free(vm);
	host_put(NX, "off");
}

static const struct hostcase cases[] = {
	CASE(what_may_be_executed_is_large_only_if_allowed),
	CASE(the_recovery_of_huge_pages_spares_views),
	CASE(a_fault_from_before_brings_no_huge_page_to_execute),
};

HOSTCASE_MAIN(cases)
