// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limits of a VM: reached, refused, and room again afterwards. Batches, whole
 * and interrupted.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "vm.h"

#define SIZE		(128 * MIB)
#define MAX_TABLES	72

static void limits_of_objects_are_kept(void)
{
	struct kvm_pvvas_config c = { .max_ctxs = 3, .max_views = 5,
				      .max_segs = 4, .max_extents = 6 };
	struct vm *vm = vm_new_config(1, &c);
	uint64_t ctx[3], seg[4], i, base;
	struct vcpu *v = &vm->vcpus[0];

	base = window_gpa(vm, WINDOW_FREE);
	for (i = 0; i < 3; i++)
		ctx[i] = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	check_eq(vcpu_hc(v, PVVAS_HC_CTX_CREATE, 0, 0, 0), -ENOSPC);
	for (i = 0; i < 5; i++)
		vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, ctx[i % 3], 0, 0);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_CREATE, ctx[0], 0, 0), -ENOSPC);
	for (i = 0; i < 4; i++)
		seg[i] = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE, base, 2 * MIB, 0);
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_CREATE, base, 2 * MIB, 0), -ENOSPC);
	for (i = 0; i < 6; i++)
		check_eq(vcpu_map(v, PVVAS_HC_SEG_MAP, seg[i % 4],
				  i / 4 * 8 * PAGE, TEST_GPA, 3 * PAGE, 3), 1);
	check_eq(vcpu_map(v, PVVAS_HC_SEG_MAP, seg[3], 16 * PAGE, TEST_GPA,
			  PAGE, 3), -ENOSPC);
	/* a longer extent is no further one, its middle would make two */
	check_eq(vcpu_map(v, PVVAS_HC_SEG_MAP, seg[0], 3 * PAGE,
			  TEST_GPA + 3 * PAGE, PAGE, 3), 1);
	check_eq(vcpu_map(v, PVVAS_HC_SEG_UNMAP, seg[0], PAGE, 0, PAGE, 0),
		 -ENOSPC);
	check_eq(vcpu_map(v, PVVAS_HC_SEG_PROTECT, seg[0], PAGE, 0, PAGE, 1),
		 -ENOSPC);
	/* for a moment it is three */
	check_eq(vcpu_map(v, PVVAS_HC_SEG_UNMAP, seg[1], 0, 0, 3 * PAGE, 0), 1);
	check_eq(vcpu_map(v, PVVAS_HC_SEG_UNMAP, seg[2], 0, 0, 3 * PAGE, 0), 1);
	check_eq(vcpu_map(v, PVVAS_HC_SEG_UNMAP, seg[0], PAGE, 0, PAGE, 0), 1);

	/* room again */
	vcpu_hc_ok(v, PVVAS_HC_CTX_DESTROY, ctx[0], 0, 0);
	vcpu_hc_ok(v, PVVAS_HC_SEG_DESTROY, seg[0], 0, 0);
	ctx[0] = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	for (i = 0; i < 2; i++)	/* views 0 and 3 went with it */
		vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, ctx[0], 0, 0);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_CREATE, ctx[0], 0, 0), -ENOSPC);
	vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE, base, 2 * MIB, 0);
	vm_free(vm);
}

/* As many as extents: a view that attaches everything costs the host memory. */
static void attachments_are_limited(void)
{
	struct kvm_pvvas_config c = { .max_extents = 4 };
	struct vm *vm = vm_new_config(1, &c);
	struct vcpu *v = &vm->vcpus[0];
	uint64_t ctx, view, seg[5], i;

	ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	view = vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, ctx, 0, 0);
	for (i = 0; i < 5; i++)
		seg[i] = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE,
				    window_gpa(vm, WINDOW_FREE) + i * 2 * MIB,
				    2 * MIB, 0);
	for (i = 0; i < 4; i++)
		vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view, seg[i], 1);
	check_eq(vcpu_hc(v, PVVAS_HC_VIEW_ATTACH, view, seg[4], 1), -ENOSPC);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_DETACH, view, seg[1], 0);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, view, seg[4], 1);
	vm_free(vm);
}

static uint64_t guest_touch(uint64_t va, uint64_t n, uint64_t step)
{
	uint64_t i;

	for (i = 0; i < n; i++) {
		volatile uint64_t *p = (uint64_t *)(va + i * step);

		*p = *p + 1;
	}
	return 0;
}

/*
 * A segment that needs more tables than there may be: slow, but it works, and
 * in the end every page has been written as often as was asked for.
 */
static void at_the_limit_of_tables_accesses_still_progress(void)
{
	struct kvm_pvvas_config c = { .max_tables = MAX_TABLES };
	struct vm *vm = vm_new_config(2, &c);
	struct pvvas_hc_stats st;
	struct scene s;
	uint64_t i, r;
	long ret;

	scene_make(&s, vm, SIZE, 2);
	/* 128 MiB need 64 tables of level 1 in the segment's tree */
	for (i = 0; i < 4; i++) {
		vcpu_vmfunc(s.v, 1 + i % 2);
		vcpu_user(s.v, guest_touch, WINDOW_FREE, 64, 2 * MIB);
		vcpu_stats(s.v, &st);
		check(st.tables <= MAX_TABLES);
	}
	for (i = 0; i < 64; i++)
		check_eq(s.ram[i * 2 * MIB / 8], 4);
	check(st.zapped > 0);
	/* hypercalls are refused instead */
	for (i = 0; i < 64; i++) {
		ret = vcpu_hc(s.v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
		if (ret < 0)
			break;
	}
	check_eq(ret, -ENOSPC);
	check_eq(vcpu_hc(s.v, PVVAS_HC_VIEW_CREATE, s.ctx, 0, 0), -ENOSPC);
	r = vcpu_hc(s.v, PVVAS_HC_SEG_CREATE, window_gpa(vm, WINDOW_FREE + GIB),
		    2 * MIB, 0);
	check_eq(r, -ENOSPC);
	vcpu_stats(s.v, &st);
	check(st.tables <= MAX_TABLES);
	/* and faults go on even so */
	vcpu_user(s.v, guest_touch, WINDOW_FREE, 64, 2 * MIB);
	check_eq(s.ram[0], 5);
	check_eq(s.ram[63 * 2 * MIB / 8], 5);
	vm_free(vm);
}

static void nothing(int sig)
{
	(void)sig;
}

static uint64_t guest_copy(uint64_t to, uint64_t from, uint64_t n)
{
	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return 0;
}

/* One instruction that needs pages of several tables at once. */
static void at_the_limit_an_instruction_may_need_several_tables(void)
{
	struct itimerval timer = { .it_value.tv_usec = 300000 };
	struct kvm_pvvas_config c = { .max_tables = MAX_TABLES };
	struct sigaction sa = { .sa_handler = nothing };
	struct vm *vm = vm_new_config(1, &c);
	uint64_t args[4] = { WINDOW_FREE + 2 * MIB - 8,
			     WINDOW_FREE + 6 * MIB - 8, 16 };
	struct scene s;

	scene_make(&s, vm, SIZE, 2);
	while (vcpu_hc(s.v, PVVAS_HC_CTX_CREATE, 0, 0, 0) >= 0)
		;
	memset((char *)s.ram + 6 * MIB - 8, 'x', 16);
	vcpu_vmfunc(s.v, 1);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	vcpu_prepare(s.v, (guest_fn)(void *)guest_copy, args);
	check_eq(vcpu_run_once(s.v), 0);
	check(vcpu_done(s.v, NULL));
	check(!memcmp((char *)s.ram + 2 * MIB - 8, "xxxxxxxxxxxxxxxx", 16));
	vm_free(vm);
}

static struct pvvas_extent *rows;
static uint64_t done, calls;

/* Map, protect, unmap the whole list again and again. */
static uint64_t guest_batches(uint64_t seg, uint64_t n, uint64_t rounds)
{
	static const uint64_t nrs[] = { PVVAS_HC_SEG_MAP, PVVAS_HC_SEG_PROTECT,
					PVVAS_HC_SEG_UNMAP };
	uint64_t i, j, k;
	long r;

	for (i = 0; i < rounds; i++)
		for (j = 0; j < 3; j++) {
			for (k = 0; k < n; k++) {
				rows[k].gpa = j ? 0 : TEST_GPA;
				rows[k].prot = j == 2 ? 0 : 3 - 2 * j;
			}
			for (done = 0; done < n; done += r) {
				r = hc(nrs[j], seg, rows + done, n - done);
				gcheck(r > 0 && r <= (long)(n - done));
				calls++;
			}
		}
	return 0;
}

static void make_rows(void)
{
	uint64_t i;

	rows = vm_shared(PVVAS_MAX_BATCH * sizeof(*rows));
	for (i = 0; i < PVVAS_MAX_BATCH; i++) {
		rows[i].offset = i * 2 * PAGE;
		rows[i].size = PAGE;
	}
}

static void the_longest_batch_is_done_in_one_call(void)
{
	struct vm *vm = vm_new(1);
	struct pvvas_hc_stats st;
	struct scene s;

	make_rows();
	scene_make(&s, vm, SIZE, 1);
	vcpu_map(s.v, PVVAS_HC_SEG_UNMAP, s.seg, 0, 0, SIZE, 0);
	vcpu_call(s.v, guest_batches, s.seg, PVVAS_MAX_BATCH, 1);
	check_eq(calls, 3);
	vcpu_stats(s.v, &st);
	check_eq(st.extents, 0);
	vm_free(vm);
}

static volatile bool stop;
static pthread_t runner;

static void *interrupt(void *arg)
{
	(void)arg;
	while (!stop) {
		pthread_kill(runner, SIGUSR1);
		usleep(100);
	}
	return NULL;
}

/* Signals: the vCPU leaves in the middle of batches, which then go on. */
static void interrupted_batches_are_continued(void)
{
	struct sigaction sa = { .sa_handler = nothing };
	struct vm *vm = vm_new(1);
	struct pvvas_hc_stats st;
	struct scene s;
	pthread_t t;

	make_rows();
	scene_make(&s, vm, SIZE, 1);
	vcpu_map(s.v, PVVAS_HC_SEG_UNMAP, s.seg, 0, 0, SIZE, 0);
	sigaction(SIGUSR1, &sa, NULL);
	runner = pthread_self();
	check_eq(pthread_create(&t, NULL, interrupt, NULL), 0);
	vcpu_call(s.v, guest_batches, s.seg, PVVAS_MAX_BATCH, 5);
	stop = true;
	pthread_join(t, NULL);
	host_note("%lu calls for 15 batches", calls);
	check(calls > 15);
	vcpu_stats(s.v, &st);
	check_eq(st.extents, 0);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(limits_of_objects_are_kept),
	CASE(attachments_are_limited),
	CASE(at_the_limit_of_tables_accesses_still_progress),
	CASE(at_the_limit_an_instruction_may_need_several_tables),
	CASE(the_longest_batch_is_done_in_one_call),
	CASE(interrupted_batches_are_continued),
};

HOSTCASE_MAIN(cases)
