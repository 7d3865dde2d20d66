// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PVVAS_STATE: what is saved from one VM and restored into another is the
 * same, and what is wrong is refused and leaves nothing.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "vm.h"

#define SIZE		(4 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define MAX_RECORDS	256

static struct vm *vm;
static struct vcpu *v;
static struct scene s;
static struct kvm_pvvas_record records[MAX_RECORDS], again[MAX_RECORDS];

static int state(struct vm *m, uint32_t op, struct kvm_pvvas_record *r,
		 uint64_t *nr)
{
	struct kvm_pvvas_state st = { .size = sizeof(st), .op = op,
				      .records = (uint64_t)r, .nr = *nr };
	int ret = __vm_ioctl(m->fd, KVM_PVVAS_STATE, (uint64_t)&st);

	*nr = st.nr;
	return ret;
}

static uint64_t get(struct vm *m, struct kvm_pvvas_record *r)
{
	uint64_t nr = MAX_RECORDS;

	check_eq(state(m, KVM_PVVAS_GET, r, &nr), 0);
	check(nr <= MAX_RECORDS);
	return nr;
}

static int set(struct vm *m, struct kvm_pvvas_record *r, uint64_t nr)
{
	return state(m, KVM_PVVAS_SET, r, &nr);
}

/* A VM with some of everything, vCPU 0 in view 1 and vCPU 1 in none. */
static void begin(void)
{
	uint64_t other;

	vm = vm_new(2);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 3);
	other = ctx_new(v);
	view_new(v, other, 0, 77);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, s.ctx, 2, 0);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, s.ctx, 300, s.view[1]);
	view_placed(s.view[1], 300);
	vcpu_vmfunc(v, 300);
	vcpu_poke(v, AT(5), 555);
	vcpu_hc_ok(&vm->vcpus[1], PVVAS_HC_CTX_LOAD, other, 0, 0);
}

static void compare(uint64_t nr)
{
	uint64_t i;

	for (i = 0; i < nr; i++)
		if (memcmp(&records[i], &again[i], sizeof(again[i])))
			host_fail(__FILE__, __LINE__,
				  "record %lu (type %u) is another", i,
				  records[i].type);
}

static struct vm *another(void)
{
	struct vm *m = vm_new(2);

	vm_slot(m, FIRST_TEST_SLOT, TEST_GPA, s.ram, SIZE, 0);
	return m;
}

static uint64_t guest_identity(uint64_t view, uint64_t cookie, uint64_t slot,
			       uint64_t generation)
{
	gcheck_eq(gc_identity()->view, view);
	gcheck_eq(gc_identity()->cookie, cookie);
	gcheck_eq(gc_identity()->slot, slot);
	gcheck_eq(gc_identity()->generation, generation);
	return gc_identity()->ctx;
}

static void a_restored_vm_goes_on_where_it_was(void)
{
	uint64_t nr, id;
	struct vm *to;
	int i;

	begin();
	nr = get(vm, records);
	to = another();
	/* whatever is there is replaced, also by a second restore */
	ctx_new(&to->vcpus[0]);
	for (i = 0; i < 2; i++) {
		check_eq(set(to, records, nr), 0);
		check_eq(get(to, again), nr);
		compare(nr);
	}
	v = &to->vcpus[0];
	check_eq(vcpu_call(v, guest_identity, s.view[1], 101, 300, 2), s.ctx);
	check_eq(vcpu_peek(v, AT(5)), 555);
	vcpu_poke(v, AT(5), 556);
	check_eq(s.ram[5 * PAGE / 8], 556);
	vcpu_vmfunc(v, 1);
	check_eq(vcpu_view(v), s.view[0]);
	vcpu_vmfunc(v, 2);
	check_eq(vcpu_view(v), 0);
	check_eq(vcpu_view(&to->vcpus[1]), 0);
	vcpu_vmfunc(&to->vcpus[1], 1);
	check_eq(vcpu_view(&to->vcpus[1]), 0);
	/* ids go on too */
	id = ctx_new(v);
	check_eq(ctx_new(&vm->vcpus[0]), id);
	vm_free(to);
	vm_free(vm);
}

static void saving_changes_nothing(void)
{
	struct pvvas_hc_stats before, after;
	uint64_t nr;

	begin();
	vcpu_stats(v, &before);
	nr = get(vm, records);
	check_eq(get(vm, again), nr);
	compare(nr);
	check_eq(vcpu_view(v), s.view[1]);
	check_eq(vcpu_peek(v, AT(5)), 555);
	vcpu_stats(v, &after);
	check_eq(after.views, before.views);
	vm_free(vm);
}

static void an_idle_vm_is_saved_as_idle(void)
{
	struct vm *to;
	uint64_t nr;

	begin();
	to = another();
	nr = get(to, again);
	check_eq(set(vm, again, nr), 0);
	check_eq(kvm_stat_of(vm->fd, "pvvas_views"), 0);
	check_eq(vcpu_peek(v, TEST_GPA + 5 * PAGE), 555);
	vm_free(to);
	vm_free(vm);
}

static void reset_leaves_nothing(void)
{
	uint64_t nr = 0;

	begin();
	check_eq(state(vm, KVM_PVVAS_RESET, NULL, &nr), 0);
	check_eq(kvm_stat_of(vm->fd, "pvvas_ctxs"), 0);
	check_eq(kvm_stat_of(vm->fd, "pvvas_views"), 0);
	check_eq(vcpu_peek(v, TEST_GPA + 5 * PAGE), 555);
	tables_reset();
	scene_over(&s, vm, TEST_GPA, SIZE, 2);
	vcpu_vmfunc(v, 2);
	check_eq(vcpu_peek(v, AT(5)), 555);
	vm_free(vm);
}

/* More than lockdep has room for in one task, where the kernel has it. */
#define NR_VCPUS	64

static void a_vm_of_many_vcpus_is_saved(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c) };
	int fd[NR_VCPUS], i;

	vm = vm_bare();
	check_eq(vm_enable_pvvas(vm, &c), 0);
	for (i = 0; i < NR_VCPUS; i++)
		fd[i] = vm_ioctl(vm->fd, KVM_CREATE_VCPU, i);
	check_eq(get(vm, records), 1);
	for (i = 0; i < NR_VCPUS; i++)
		close(fd[i]);
	vm_free(vm);
}

static void the_call_is_checked(void)
{
	struct kvm_pvvas_state st = { .size = sizeof(st), .op = KVM_PVVAS_GET };
	struct vm *none;
	uint64_t nr;

	begin();
	nr = get(vm, records);
	check_eq(__vm_ioctl(vm->fd, KVM_PVVAS_STATE, 1), -EFAULT);
	st.size = 0;
	check_eq(__vm_ioctl(vm->fd, KVM_PVVAS_STATE, (uint64_t)&st), -EINVAL);
	st.size = sizeof(st);
	st.pad = 1;
	check_eq(__vm_ioctl(vm->fd, KVM_PVVAS_STATE, (uint64_t)&st), -EINVAL);
	st.pad = 0;
	st.op = 0;
	check_eq(__vm_ioctl(vm->fd, KVM_PVVAS_STATE, (uint64_t)&st), -EINVAL);
	st.op = 4;
	check_eq(__vm_ioctl(vm->fd, KVM_PVVAS_STATE, (uint64_t)&st), -EINVAL);
	/* how many there are, if they do not fit */
	st.op = KVM_PVVAS_GET;
	st.records = (uint64_t)again;
	st.nr = nr - 1;
	check_eq(__vm_ioctl(vm->fd, KVM_PVVAS_STATE, (uint64_t)&st), -E2BIG);
	check_eq(st.nr, nr);
	st.records = 0;
	st.nr = 0;
	check_eq(__vm_ioctl(vm->fd, KVM_PVVAS_STATE, (uint64_t)&st), -E2BIG);
	check_eq(st.nr, nr);
	check_eq(__vm_ioctl(vm->fd, KVM_PVVAS_STATE, (uint64_t)&st), -EFAULT);
	check_eq(vcpu_view(v), s.view[1]);

	none = vm_bare();
	vm_add_vcpu(none);
	check_eq(state(none, KVM_PVVAS_GET, records, &nr), -ENXIO);
	vm_free(none);
	vm_free(vm);
}

/* Each field of each record set to nonsense: refused, and nothing is left. */
static void bad_records_are_refused_and_leave_nothing(void)
{
	static const uint64_t bad[] = { 0, 1, 0xfff, 1ULL << 40, ~0ULL };
	uint64_t nr, i, j, k, refused = 0;
	struct vm *to;
	int r;

	begin();
	nr = get(vm, records);
	to = another();
	for (i = 0; i < nr; i++)
		for (j = 0; j < 6; j++)
			for (k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
				memcpy(again, records, sizeof(again));
				if (j < 4)
					again[i].val[j] = bad[k];
				else if (j == 4)
					again[i].arg = bad[k];
				else
					again[i].type = bad[k];
				r = set(to, again, nr);
				if (!r)
					continue;
				if (r != -EINVAL && r != -ENOENT &&
				    r != -EEXIST && r != -ENOSPC &&
				    r != -EFAULT)
					host_fail(__FILE__, __LINE__,
						  "record %lu (type %u): %d", i,
						  records[i].type, r);
				refused++;
				check_eq(kvm_stat_of(to->fd, "pvvas_views"), 0);
						}
	host_note("%lu records, %lu changes refused", nr, refused);
	check(refused > nr * 5);
	check_eq(set(to, records + 1, nr - 1), -EINVAL);
	/* contexts and views do not share ids */
	memcpy(again, records, sizeof(again));
	for (i = 0; again[i].type != KVM_PVVAS_VIEW; i++)
		check(i < nr);
	again[i].val[0] = again[i].val[1];
	check_eq(set(to, again, nr), -EEXIST);
	/* after all of it the good ones are still good */
	check_eq(set(to, records, nr), 0);
	/* what is no array of records leaves what is there */
	check_eq(set(to, (void *)8, nr), -EFAULT);
	check_eq(set(to, records, UINT64_MAX), -EINVAL);
	check_eq(set(to, records, 1UL << 24), -EINVAL);
	check_eq(set(to, records, 0), -EINVAL);
	check_eq(vcpu_view(&to->vcpus[0]), s.view[1]);
	check_eq(vcpu_peek(&to->vcpus[0], AT(5)), 555);
	vm_free(to);
	vm_free(vm);
}

static void what_a_record_has_no_use_for_is_0(void)
{
	/* by type: how many of the values mean something */
	static const uint64_t used[] = { 0, 4, 2, 4, 2 };
	uint64_t nr, i, j, n = 0;
	struct vm *to;

	begin();
	nr = get(vm, records);
	to = another();
	for (i = 0; i < nr; i++)
		for (j = used[records[i].type]; j < 4; j++, n++) {
			memcpy(again, records, sizeof(again));
			check_eq(again[i].val[j], 0);
			again[i].val[j] = 1;
			check_eq(set(to, again, nr), -EINVAL);
				}
	for (i = 0; records[i].type != KVM_PVVAS_CONTEXT; i++)
		;
	memcpy(again, records, sizeof(again));
	again[i].arg = 1;
	check_eq(set(to, again, nr), -EINVAL);
	/* ids to come stay positive */
	memcpy(again, records, sizeof(again));
	again[0].val[0] = INT64_MAX;
	check_eq(set(to, again, nr), -EINVAL);
	check(n > 4);
	check_eq(set(to, records, nr), 0);
	vm_free(to);
	vm_free(vm);
}

static atomic_int stop;

static uint64_t guest_wait(void)
{
	while (!atomic_load(&stop))
		;
	return 0;
}

static void *run(void *arg)
{
	vcpu_call(arg, guest_wait, 0);
	return NULL;
}

/* It has a use of its own for what views need. */
static void no_record_gives_a_vcpu_with_vmx_a_context(void)
{
	struct kvm_pvvas_record rec[3];
	struct vm *to = vm_new(1);
	uint32_t i;

	for (i = 0; i < to->cpuid->nent; i++)
		if (to->cpuid->entries[i].function == 1)
			to->cpuid->entries[i].ecx |= 1U << 5;
	vm_add_vcpu(to);
	ctx_new(&to->vcpus[0]);
	check_eq(get(to, rec), 2);
	rec[2] = (struct kvm_pvvas_record){ .type = KVM_PVVAS_VCPU,
					    .val[0] = rec[1].val[0] };
	check_eq(set(to, rec, 3), 0);
	rec[2].arg = 1;
	check_eq(set(to, rec, 3), -EINVAL);
	check_eq(kvm_stat_of(to->fd, "pvvas_ctxs"), 0);
	vm_free(to);
}

static void give_vmx(struct vcpu *w)
{
	struct kvm_cpuid2 *c = w->vm->cpuid;
	uint32_t i;

	for (i = 0; i < c->nent; i++)
		if (c->entries[i].function == 1)
			c->entries[i].ecx |= 1U << 5;
	vm_ioctl(w->fd, KVM_SET_CPUID2, c);
}

static struct kvm_translation translate(struct vcpu *w, uint64_t va)
{
	struct kvm_translation t = { .linear_address = va };

	vm_ioctl(w->fd, KVM_TRANSLATE, &t);
	check(t.valid);
	return t;
}

/* Until a vCPU has run, the VMM may change its CPUID. */
static void a_vcpu_that_is_given_vmx_then_is_in_no_view(void)
{
	struct vcpu *w, *other;
	struct vm *to;
	uint64_t nr;

	begin();
	nr = get(vm, records);
	to = another();
	check_eq(set(to, records, nr), 0);
	w = &to->vcpus[0];
	other = &to->vcpus[1];
	check_eq(translate(w, AT(5)).physical_address, TEST_GPA + 5 * PAGE);
	give_vmx(w);
	check_eq(translate(w, AT(5)).physical_address, window_gpa(to, AT(5)));
	check_eq(vcpu_try_vmfunc(w, 0, 1), 6);
	check_eq(vcpu_hc(w, PVVAS_HC_CTX_LOAD, s.ctx, 0, 0), -EOPNOTSUPP);
	check_eq(vcpu_peek(w, TEST_GPA + 5 * PAGE), 555);
	/* what is saved can be restored */
	nr = get(to, again);
	check_eq(set(to, again, nr), 0);
	check_eq(vcpu_view(other), 0);
	vm_free(to);
	vm_free(vm);
}

static void a_running_vcpu_is_busy(void)
{
	uint64_t nr = MAX_RECORDS;
	pthread_t t;

	begin();
	check_eq(pthread_create(&t, NULL, run, &vm->vcpus[1]), 0);
	usleep(5000);
	check_eq(state(vm, KVM_PVVAS_GET, records, &nr), -EBUSY);
	check_eq(state(vm, KVM_PVVAS_RESET, NULL, &nr), -EBUSY);
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	nr = get(vm, records);
	check_eq(set(vm, records, nr), 0);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(a_restored_vm_goes_on_where_it_was),
	CASE(saving_changes_nothing),
	CASE(an_idle_vm_is_saved_as_idle),
	CASE(reset_leaves_nothing),
	CASE(a_vm_of_many_vcpus_is_saved),
	CASE(the_call_is_checked),
	CASE(bad_records_are_refused_and_leave_nothing),
	CASE(what_a_record_has_no_use_for_is_0),
	CASE_ONLY_NAMED(no_record_gives_a_vcpu_with_vmx_a_context),
	CASE_ONLY_NAMED(a_vcpu_that_is_given_vmx_then_is_in_no_view),
	CASE(a_running_vcpu_is_busy),
};

HOSTCASE_MAIN(cases)
