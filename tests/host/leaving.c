// SPDX-License-Identifier: GPL-2.0-only
/*
 * Views, roots and contexts go while a fault sleeps in them, or while other
 * threads want the lock that this takes. The vCPUs meet only on two CPUs.
 */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "beside.h"

static struct vm *vm;
static uint64_t *ram;
static atomic_int stop;

static void begin(int nr_vcpus)
{
	vm = beside_vm(nr_vcpus, &ram);
	atomic_store(&stop, 0);
}

/*
 * A fault that sleeps in a view whose root two contexts have, while both views go
 * and the root is invalidated, may not link what it found before.
 */
#define OTHER_GPA	(TEST_GPA + GIB)

static uint64_t guest_try(uint64_t va, uint64_t slot)
{
	vmfunc(0, slot);
	return try_read(va, NULL);
}

static void *fault(void *arg)
{
	beside_run(&vm->vcpus[1], guest_try, REGION_VA(2), 1);
	return arg;
}

struct sleeper {
	uint64_t *root, *t3[2], ctx[2], address;
	long view[2];
	pthread_t t;
	int fd;
};

/* vCPU 1 sleeps in a fault in the first of the views, which have one root. */
static void fall_asleep(struct sleeper *s, int nr_views)
{
	uint64_t *other;
	struct uffd_msg msg;
	struct vcpu *v;
	int i;

	begin(2);
	v = &vm->vcpus[0];
	other = vm_ram(vm, FIRST_TEST_SLOT + 1, OTHER_GPA, 2 * MIB, 0);
	other[0] = 2;
	madvise(ram, 2 * MIB, MADV_DONTNEED);
	s->fd = beside_come_later(ram);
	s->root = root_new(vm);
	for (i = 0; i < 2; i++) {
		s->t3[i] = vm_shared(PAGE);
		s->t3[i][0] = (TEST_GPA + i * GIB) | E_LARGE;
		s->ctx[i] = ctx_new(v);
	}
	s->root[2] = (uint64_t)s->t3[0] | E_TABLE;
	for (i = 0; i < nr_views; i++) {
		s->view[i] = vcpu_hc4(v, PVVAS_HC_VIEW_CREATE, s->ctx[i], 1,
				      (uint64_t)s->root, 0);
		check(s->view[i] > 0);
	}
	vcpu_hc_ok(&vm->vcpus[1], PVVAS_HC_CTX_LOAD, s->ctx[0], 0, 0);
	check_eq(pthread_create(&s->t, NULL, fault, NULL), 0);
	check_eq(read(s->fd, &msg, sizeof(msg)), sizeof(msg));
	check_eq(msg.event, UFFD_EVENT_PAGEFAULT);
	s->address = msg.arg.pagefault.address & ~(PAGE - 1);
}

static void wake_up(struct sleeper *s)
{
	uint64_t *page = vm_mem(PAGE);
	struct uffdio_copy copy = { .src = (uint64_t)page, .dst = s->address,
				    .len = PAGE };

	page[0] = 1;
	check_eq(ioctl(s->fd, UFFDIO_COPY, &copy), 0);
	pthread_join(s->t, NULL);
	close(s->fd);
}

static void destroyed(bool reset, int nr_views)
{
	struct sleeper s;
	struct vcpu *v;
	uint64_t fresh;
	int i;

	fall_asleep(&s, nr_views);
	v = &vm->vcpus[0];
	if (reset)
		vcpu_hc_ok(v, PVVAS_HC_RESET, 0, 0, 0);
	else
		for (i = 0; i < nr_views; i++)
			vcpu_hc_ok(v, PVVAS_HC_VIEW_DESTROY, s.view[i], 0, 0);
	vcpu_hc_ok(v, PVVAS_HC_INVALIDATE, s.root, 0, 512);
	wake_up(&s);

	s.root[2] = (uint64_t)s.t3[1] | E_TABLE;
	fresh = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, s.root, 0, 0);
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, fresh, 0, 0);
	check_eq(vcpu_peek(v, REGION_VA(2)), 2);
	vm_free(vm);
}

static void a_sleeping_fault_links_nothing_into_a_later_view(void)
{
	destroyed(false, 1);
}

static void nor_if_two_contexts_had_the_root(void)
{
	destroyed(false, 2);
}

static void nor_after_a_reset(void)
{
	destroyed(true, 2);
}

static uint64_t shadow_pages(struct vcpu *v)
{
	struct pvvas_hc_stats s;

	vcpu_stats(v, &s);
	return s.shadow_pages;
}

/* Else what that fault links would be in the new view, too. */
static void a_root_that_only_a_fault_has_is_no_later_views(void)
{
	struct sleeper s;
	struct vcpu *v;
	uint64_t before;
	int i;

	fall_asleep(&s, 2);
	v = &vm->vcpus[0];
	for (i = 0; i < 2; i++)
		vcpu_hc_ok(v, PVVAS_HC_VIEW_DESTROY, s.view[i], 0, 0);
	before = shadow_pages(v);
	vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, s.root, 0, 0);
	check_eq(shadow_pages(v), before + 1);
	wake_up(&s);
	vm_free(vm);
}

/*
 * How long others wait for mmu_lock while a context of many views goes, each with
 * all entries of its root in use.
 */
#define NR_SLOTS	150
#define NR_LINKS	128	/* with 46 bits; the window is entry 64 */

static uint64_t guest_links(uint64_t slots)
{
	uint64_t s, i, sum = 0;

	for (s = 1; s <= slots; s++) {
		vmfunc(0, s);
		for (i = 1; i < NR_LINKS; i++)
			if (i != 64)
				sum += *(volatile uint64_t *)(i << 39);
		vmfunc(0, 0);
	}
	return sum;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static double longest_wait, longest_sleep;

/* On another CPU, for mmu_lock. */
static void *wait_for_the_lock(void *arg)
{
	double t, d;

	beside_stay_on(1);
	while (!atomic_load(&stop)) {
		t = now();
		vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 20000);
		d = now() - t;
		if (d > longest_wait)
			longest_wait = d;
		usleep(200);
	}
	return arg;
}

/* On the same CPU, to run. */
static void *wait_for_the_cpu(void *arg)
{
	double t, d, was = now();

	beside_stay_on(0);
	while (!atomic_load(&stop)) {
		t = now();
		d = t - was;
		if (d > longest_sleep)
			longest_sleep = d;
		was = t;
	}
	return arg;
}

static void destroying_a_context_keeps_nobody_waiting(void)
{
	uint64_t *pml4, *pdpt, *root, *t3[64], i, s, ctx;
	struct kvm_sregs sregs;
	struct vcpu *v;
	double took;
	pthread_t t, t2;

	begin(1);
	vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, 20000);
	v = &vm->vcpus[0];
	vm_ioctl(v->fd, KVM_GET_SREGS, &sregs);
	pml4 = (uint64_t *)sregs.cr3;
	/* one page of addresses at each 512 GiB */
	for (i = 1; i < NR_LINKS; i++) {
		pdpt = vm_shared(PAGE);
		pdpt[0] = (i << 39) | 0x87;
		pml4[i] = (uint64_t)pdpt | 7;
	}
	for (i = 0; i < 64; i++) {
		t3[i] = vm_shared(PAGE);
		t3[i][0] = TEST_GPA | E_LARGE;
	}
	ctx = ctx_new(v);
	for (s = 1; s <= NR_SLOTS; s++) {
		root = root_new(vm);
		for (i = 1; i < NR_LINKS; i++)
			if (i != 64)
				root[i] = (uint64_t)t3[(s * NR_LINKS + i) / 900 % 64] | E_TABLE;
		check(vcpu_hc4(v, PVVAS_HC_VIEW_CREATE, ctx, s, (uint64_t)root,
			       0) > 0);
	}
	vcpu_hc_ok(v, PVVAS_HC_CTX_LOAD, ctx, 0, 0);
	took = now();
	vcpu_call(v, guest_links, NR_SLOTS);
	host_note("linked in %.1f ms", now() - took);
	beside_stay_on(0);
	check_eq(pthread_create(&t, NULL, wait_for_the_lock, NULL), 0);
	check_eq(pthread_create(&t2, NULL, wait_for_the_cpu, NULL), 0);
	usleep(20000);
	host_note("before: longest wait %.2f ms, sleep %.2f ms", longest_wait,
		  longest_sleep);
	longest_wait = longest_sleep = 0;
	took = now();
	vcpu_hc_ok(v, PVVAS_HC_CTX_DESTROY, ctx, 0, 0);
	took = now() - took;
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	pthread_join(t2, NULL);
	host_note("%d views of %d links: %.2f ms; longest wait %.2f ms, sleep %.2f ms",
		  NR_SLOTS, NR_LINKS - 2, took, longest_wait, longest_sleep);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(a_sleeping_fault_links_nothing_into_a_later_view),
	CASE(nor_if_two_contexts_had_the_root),
	CASE(nor_after_a_reset),
	CASE(a_root_that_only_a_fault_has_is_no_later_views),
	CASE_SECONDS(destroying_a_context_keeps_nobody_waiting, 120),
};

HOSTCASE_MAIN(cases)
