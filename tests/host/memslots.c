// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memslots that go, move and change under live views; and the end of the
 * process and of the VM.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "beside.h"

#define SIZE		(2 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define WORD(page)	((page) * PAGE / 8)

static struct vm *vm;
static struct vcpu *v;
static struct scene s;

static void begin(void)
{
	uint64_t i;

	vm = vm_new(1);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 2);
	vcpu_vmfunc(v, 1);
	for (i = 0; i < 16; i++)
		vcpu_poke(v, AT(i), 1000 + i);
}

static void a_deleted_slot_is_mmio_and_a_new_one_shown(void)
{
	uint64_t *other = vm_mem(SIZE);

	begin();
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, 0, 0);
	check_eq(vcpu_view(v), s.view[0]);
	vcpu_check_mmio(v, AT(1), TEST_GPA + PAGE);
	vcpu_check_mmio(v, AT(2), TEST_GPA + 2 * PAGE);
	check_eq(s.ram[WORD(2)], 1002);
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, other, SIZE, 0);
	check_eq(vcpu_peek(v, AT(1)), 0);
	vcpu_poke(v, AT(1), 5);
	check_eq(other[WORD(1)], 5);
	check_eq(s.ram[WORD(1)], 1001);
	vcpu_vmfunc(v, 2);
	check_eq(vcpu_peek(v, AT(1)), 5);
	vm_free(vm);
}

/*
 * What KVM remembers of no memory is of the memslots before.  The access that it then
 * walks the tables for may have no right at all by now: that is a #PF, and no entry.
 */
static void what_is_remembered_of_no_memory_gives_no_right(void)
{
	uint64_t *t2, *t1 = vm_shared(PAGE), at = WINDOW_FREE + SIZE;
	int i;

	begin();
	t2 = root_2mib(vm, view_root(s.view[0]), at);
	for (i = 0; i < 3; i++) {
		/* no memory, then a frame that can be read or executed, but not both */
		t1[0] = (TEST_GPA + 1024 * MIB) | E_LEAF;
		*t2 = (uint64_t)t1 | E_TABLE;
		vcpu_hc_ok(v, PVVAS_HC_INVALIDATE, (uint64_t)t1, 0, 1);
		vcpu_check_mmio(v, at, TEST_GPA + 1024 * MIB);
		vcpu_check_mmio(v, at, TEST_GPA + 1024 * MIB);
		vm_ram(vm, FIRST_TEST_SLOT + 1 + i, TEST_GPA + (16 + i) * MIB, PAGE, 0);
		*t2 = (uint64_t)t1 | (i == 1 ? PVVAS_PROT_READ : PVVAS_PROT_EXEC);
		t1[0] = TEST_GPA | PVVAS_EPT_WB |
			(i == 1 ? PVVAS_PROT_EXEC : PVVAS_PROT_READ);
		check_eq(vcpu_try_peek(v, at), 14);
		check_eq(vcpu_try_poke(v, at, 1), 14);
		t1[0] = TEST_GPA | E_LEAF;
		*t2 = (uint64_t)t1 | E_TABLE;
		vcpu_hc_ok(v, PVVAS_HC_INVALIDATE, (uint64_t)t2 & ~(PAGE - 1),
			   (uint64_t)t2 % PAGE / 8, 1);
		vcpu_hc_ok(v, PVVAS_HC_INVALIDATE, (uint64_t)t1, 0, 1);
		check_eq(vcpu_peek(v, at), 1000);
	}
	vm_free(vm);
}

/* With the quirk off KVM keeps its roots and takes only the slot's pages. */
static void a_slot_deleted_without_new_roots_is_mmio_too(void)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DISABLE_QUIRKS2,
				      .args[0] = 1 << 7 /* SLOT_ZAP_ALL */ };
	uint64_t *other = vm_mem(SIZE);

	begin();
	if (!(vm_ioctl(vm->fd, KVM_CHECK_EXTENSION, cap.cap) & cap.args[0]))
		host_skip("no KVM_X86_QUIRK_SLOT_ZAP_ALL");
	vm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, 0, 0);
	check_eq(vcpu_view(v), s.view[0]);
	vcpu_check_mmio(v, AT(1), TEST_GPA + PAGE);
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, other, SIZE, 0);
	vcpu_poke(v, AT(1), 5);
	check_eq(other[WORD(1)], 5);
	check_eq(s.ram[WORD(1)], 1001);
	check_eq(vcpu_peek(v, TEST_GPA + PAGE), 5);
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA + SIZE, other, SIZE, 0);
	vcpu_check_mmio(v, AT(1), TEST_GPA + PAGE);
	check_eq(vcpu_peek(v, TEST_GPA + SIZE + PAGE), 5);
	vm_free(vm);
}

static void a_moved_slot_is_found_where_it_went(void)
{
	begin();
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA + SIZE, s.ram, SIZE, 0);
	vcpu_check_mmio(v, AT(1), TEST_GPA + PAGE);
	check_eq(vcpu_peek(v, TEST_GPA + SIZE + PAGE), 1001);
	seg_unmap(v, s.seg, 0, SIZE);
	seg_map(v, s.seg, 0, TEST_GPA + SIZE, SIZE, 3);
	check_eq(vcpu_peek(v, AT(1)), 1001);
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, SIZE, 0);
	vcpu_check_mmio(v, AT(1), TEST_GPA + SIZE + PAGE);
	vm_free(vm);
}

/* Another slot goes: RAM below and the window stay as they are. */
static void an_unrelated_slot_may_go(void)
{
	uint64_t i;

	begin();
	for (i = 0; i < 20; i++) {
		vm_ram(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 16 * MIB, SIZE, 0);
		check_eq(vcpu_peek(v, TEST_GPA + 16 * MIB + i * PAGE), 0);
		vcpu_poke(v, TEST_GPA + 16 * MIB, i);
		vm_slot(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 16 * MIB, 0, 0, 0);
		vcpu_vmfunc(v, i % 2 + 1);
		check_eq(vcpu_view(v), s.view[i % 2]);
		check_eq(vcpu_peek(v, AT(3)), 1003);
		check_eq(vcpu_peek(v, TEST_GPA + 3 * PAGE), 1003);
	}
	vm_free(vm);
}

static void a_slot_of_ram_that_went_is_mmio_in_views_too(void)
{
	static uint64_t val;
	const uint64_t args[4] = { TEST_GPA + 16 * MIB, (uint64_t)&val };
	uint64_t *mem;

	begin();
	mem = vm_ram(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 16 * MIB, SIZE, 0);
	mem[0] = 99;
	check_eq(vcpu_peek(v, args[0]), 99);
	vm_slot(vm, FIRST_TEST_SLOT + 1, TEST_GPA + 16 * MIB, 0, 0, 0);
	vcpu_prepare(v, (guest_fn)(void *)try_read, args);
	check_eq(vcpu_run_once(v), 0);
	check_eq(v->run->exit_reason, KVM_EXIT_MMIO);
	check_eq(v->run->mmio.phys_addr, args[0]);
	vm_free(vm);
}

static void writes_to_a_read_only_slot_are_mmio(void)
{
	const uint64_t args[4] = { AT(2), 1 };

	begin();
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, 0, 0);
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, SIZE, KVM_MEM_READONLY);
	check_eq(vcpu_peek(v, AT(2)), 1002);
	vcpu_prepare(v, (guest_fn)(void *)try_write, args);
	check_eq(vcpu_run_once(v), 0);
	check_eq(v->run->exit_reason, KVM_EXIT_MMIO);
	check(v->run->mmio.is_write);
	check_eq(v->run->mmio.phys_addr, TEST_GPA + 2 * PAGE);
	check_eq(vcpu_run_once(v), 0);
	check(vcpu_done(v, NULL));
	check_eq(vcpu_peek(v, AT(100)), 0);
	check_eq(s.ram[WORD(2)], 1002);
	vm_free(vm);
}

/* More slots than one, with a hole; one entry over all of it. */
static void one_entry_may_lie_over_several_slots(void)
{
	uint64_t *low, *high;

	vm = vm_new(1);
	v = &vm->vcpus[0];
	low = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, MIB, 0);
	high = vm_ram(vm, FIRST_TEST_SLOT + 1, TEST_GPA + MIB + PAGE,
		      MIB - PAGE, 0);
	scene_over(&s, vm, TEST_GPA, SIZE, 1);
	vcpu_vmfunc(v, 1);
	vcpu_poke(v, AT(255), 1);
	vcpu_poke(v, AT(257), 2);
	vcpu_check_mmio(v, AT(256), TEST_GPA + 256 * PAGE);
	check_eq(low[WORD(255)], 1);
	check_eq(high[0], 2);
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, 0, 0, 0);
	vcpu_check_mmio(v, AT(255), TEST_GPA + 255 * PAGE);
	check_eq(vcpu_peek(v, AT(257)), 2);
	vm_free(vm);
}

static void send_fds(int sock, const int *fds, int n)
{
	char buf[64] = { 0 }, c = 0;
	struct iovec io = { &c, 1 };
	struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1,
			    .msg_control = buf,
			    .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(h), fds, n * sizeof(int));
	check_eq(sendmsg(sock, &m, 0), 1);
}

static void receive_fds(int sock, int *fds, int n)
{
	char buf[64] = { 0 }, c;
	struct iovec io = { &c, 1 };
	struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1,
			    .msg_control = buf, .msg_controllen = sizeof(buf) };

	check_eq(recvmsg(sock, &m, 0), 1);
	check(CMSG_FIRSTHDR(&m));
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), n * sizeof(int));
}

/*
 * The process whose memory it is dies, but the VM lives on in another one:
 * views may not show that memory any more, and pages do not stay behind.
 */
static void the_vm_survives_the_process_with_its_memory(void)
{
	int sock[2], fds[3], status;
	pid_t pid;

	check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	pid = fork();
	if (!pid) {
		begin();
		fds[0] = vm->fd;
		fds[1] = v->fd;
		fds[2] = vm_ioctl(vm->fd, KVM_GET_STATS_FD, 0);
		send_fds(sock[1], fds, 3);
		_exit(0);
	}
	receive_fds(sock[0], fds, 3);
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	check_eq(kvm_stat_read(fds[2], "pvvas_views"), 2);
	check_eq(__vm_ioctl(fds[1], KVM_RUN, 0), -EIO);
	close(fds[1]);
	close(fds[0]);
	close(fds[2]);
	check_eq(host_kvm_counter("pvvas_views"), 0);
}

static uint64_t guest_switch(uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++) {
		if (i % 64 == 0)
			vmfunc(0, i / 64 % 3);
		if (i / 64 % 3)
			*(volatile uint64_t *)AT(i % 64) = i;
	}
	return n;
}

static void *run_for_ever(void *arg)
{
	vcpu_call(arg, guest_switch, ~0ULL);
	return NULL;
}

/* Killed with vCPUs in views; hostcase.c looks at what is left. */
static void a_killed_process_leaves_nothing(void)
{
	int status, i, round, ready[2];
	pthread_t t;
	pid_t pid;

	for (round = 0; round < 3; round++) {
		check_eq(pipe(ready), 0);
		pid = fork();
		if (!pid) {
			vm = vm_new(3);
			scene_make(&s, vm, SIZE, 2);
			for (i = 0; i < 3; i++) {
				vcpu_hc_ok(&vm->vcpus[i], PVVAS_HC_CTX_LOAD,
					   s.ctx, 0, 0);
				pthread_create(&t, NULL, run_for_ever,
					       &vm->vcpus[i]);
			}
			check_eq(write(ready[1], "", 1), 1);
			pause();
		}
		/* views are there, and vCPUs in them */
		check_eq(read(ready[0], &status, 1), 1);
		close(ready[0]);
		close(ready[1]);
		usleep(10000);
		kill(pid, SIGKILL);
		check_eq(waitpid(pid, &status, 0), pid);
		check(WIFSIGNALED(status));
		check_eq(host_kvm_counter("pvvas_views"), 0);
	}
}

/* The VM's own descriptor first, then the vCPU's. */
static void descriptors_may_be_closed_in_any_order(void)
{
	begin();
	close(vm->fd);
	check_eq(vcpu_peek(v, AT(1)), 1001);
	check_eq(vcpu_view(v), s.view[0]);
	munmap(s.ram, SIZE);
	close(v->fd);
	munmap(v->run, PAGE * 3);
}

/*
 * A slot goes, and with it what KVM keeps below thousands of roots, one after
 * the other: it lets others run in between.
 */
#define NR_ROOTS	3000
#define NR_ZAPS		10

static atomic_int stop;

static uint64_t guest_makes(uint64_t ctx)
{
	uint64_t i;

	for (i = 0; i < NR_ROOTS; i++)
		hc(PVVAS_HC_VIEW_CREATE, ctx, 0, TEST_GPA + i * PAGE);
	return 0;
}

/* Return: the first answer that is another one, or how often, negative. */
static uint64_t guest_makes_again(uint64_t ctx)
{
	uint64_t i = 0, seed = 3;
	long r;

	while (!atomic_load(&stop)) {
		r = __hc(PVVAS_HC_VIEW_CREATE, ctx, 0, TEST_GPA +
			 beside_random(&seed) % NR_ROOTS * PAGE);
		if (r != -EEXIST)
			return r;
		i++;
	}
	return -i;
}

static void *zap_all(void *page)
{
	int i;

	beside_stay_on(0);
	for (i = 0; i < NR_ZAPS && !atomic_load(&stop); i++) {
		vm_slot(vm, FIRST_TEST_SLOT + 1, 3 * GIB, page, PAGE, 0);
		vm_slot(vm, FIRST_TEST_SLOT + 1, 3 * GIB, page, 0, 0);
	}
	atomic_store(&stop, 1);
	return NULL;
}

static void a_table_has_one_root_also_while_a_slot_goes(void)
{
	uint64_t ctx;
	pthread_t t;
	long r;

	vm = vm_new(1);
	v = &vm->vcpus[0];
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 4 * NR_ROOTS);
	vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, NR_ROOTS * PAGE, 0);
	ctx = ctx_new(v);
	vcpu_call(v, guest_makes, ctx);
	beside_stay_on(0);
	check_eq(pthread_create(&t, NULL, zap_all, vm_mem(PAGE)), 0);
	r = vcpu_call(v, guest_makes_again, ctx);
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	host_note("refused %ld times", -r);
	check(r < 0);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(a_deleted_slot_is_mmio_and_a_new_one_shown),
	CASE(what_is_remembered_of_no_memory_gives_no_right),
	CASE(a_slot_deleted_without_new_roots_is_mmio_too),
	CASE(a_moved_slot_is_found_where_it_went),
	CASE(an_unrelated_slot_may_go),
	CASE(a_slot_of_ram_that_went_is_mmio_in_views_too),
	CASE(writes_to_a_read_only_slot_are_mmio),
	CASE(one_entry_may_lie_over_several_slots),
	CASE(a_table_has_one_root_also_while_a_slot_goes),
	CASE(the_vm_survives_the_process_with_its_memory),
	CASE(a_killed_process_leaves_nothing),
	CASE(descriptors_may_be_closed_in_any_order),
};

HOSTCASE_MAIN(cases)
