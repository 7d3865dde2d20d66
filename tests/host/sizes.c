// SPDX-License-Identifier: GPL-2.0-only
/*
 * Structs of another version than the host's: shorter, longer, and longer with
 * something that this host does not know.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vm.h"

#define SIZE		(2 * MIB)

static struct vm *vm;
static struct vcpu *v;

/* A call of @nr answers with @known bytes, or with so many as the guest knows. */
static void check_answer(uint64_t nr, uint64_t known, void (*before)(void))
{
	uint8_t *whole = vm_shared(PAGE), *buf = vm_shared(PAGE);
	uint64_t size, n, i;

	before();
	check_eq(vcpu_hc(v, nr, (uint64_t)whole, known, 0), known);
	for (size = 1; size <= known + 64; size++) {
		memset(buf, 0xee, PAGE);
		before();
		n = size < known ? size : known;
		if (size % 8) {
			check_eq(vcpu_hc(v, nr, (uint64_t)buf, size, 0), -EINVAL);
			n = 0;
		} else {
			check_eq(vcpu_hc(v, nr, (uint64_t)buf, size, 0), n);
		}
		/* counters may have moved; what they share with the first call has not */
		if (n && nr != PVVAS_HC_STATS)
			check(!memcmp(buf, whole, n));
		for (i = n; i < known + 128; i++)
			check_eq(buf[i], 0xee);
	}
}

static void nothing(void)
{
}

/* PVVAS_HC_FAULT answers once for each. */
static void demand_fault(void)
{
	check_eq(vcpu_try_peek(v, WINDOW_FREE + SIZE), PVVAS_DEMAND_VECTOR);
}

static void a_guest_gets_as_much_of_an_answer_as_it_knows(void)
{
	struct scene s;
	uint64_t seg;

	vm = vm_new(1);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 1);
	seg = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE,
			 window_gpa(vm, WINDOW_FREE + SIZE), SIZE,
			 PVVAS_SEG_DEMAND);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, s.view[0], seg, 3);
	vcpu_vmfunc(v, 1);
	check_answer(PVVAS_HC_INFO, sizeof(struct pvvas_hc_info), nothing);
	check_answer(PVVAS_HC_STATS, sizeof(struct pvvas_hc_stats), nothing);
	check_answer(PVVAS_HC_FAULT, sizeof(struct pvvas_hc_fault), demand_fault);
	vm_free(vm);
}

/* @size bytes that end where nothing is mapped. */
static void *at_the_end(uint32_t size)
{
	char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(p != MAP_FAILED);
	check_eq(munmap(p + 2 * PAGE, PAGE), 0);
	p += 2 * PAGE - (size + 7) / 8 * 8;
	memcpy(p, &size, sizeof(size));
	return p;
}

static int enable(void *config)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_PVVAS,
				      .args[0] = (uint64_t)config };
	struct vm *m = vm_bare();
	int r = __vm_ioctl(m->fd, KVM_ENABLE_CAP, (unsigned long)&cap);

	vm_free(m);
	return r;
}

static int get_state(void *state)
{
	/* KVM_PVVAS_GET with room for nothing */
	((struct kvm_pvvas_state *)state)->op = KVM_PVVAS_GET;
	return __vm_ioctl(vm->fd, KVM_PVVAS_STATE, (unsigned long)state);
}

/* @good: what the call answers if the struct is well */
static void check_argument(int (*call)(void *), uint32_t first, uint32_t known,
			   int good)
{
	uint32_t size, bit;
	uint8_t *p;

	/* shorter than the first version */
	for (size = 0; size < first; size++) {
		p = at_the_end(first);
		memcpy(p, &size, sizeof(size));
		check_eq(call(p), -EINVAL);
	}
	for (size = first; size < known + 64; size++) {
		p = at_the_end(size);
		check_eq(call(p), good);
		check(!memcmp(p, &size, sizeof(size)));
	}
	/* longer, and something is there */
	for (size = known + 1; size < known + 64; size += 3)
		for (bit = 0; bit < 8; bit += 7) {
			p = at_the_end(size);
			p[size - 1] = 1 << bit;
			check_eq(call(p), -EINVAL);
			check_eq(p[size - 1], 1 << bit);
			p[size - 1] = 0;
			p[known] = 1 << bit;
			check_eq(call(p), -EINVAL);
		}
	p = at_the_end(PAGE);
	check_eq(call(p), good);
	p = at_the_end(PAGE + 8);
	check_eq(call(p), -EINVAL);
	p = at_the_end(known);
	size = ~0U;
	memcpy(p, &size, sizeof(size));
	check_eq(call(p), -EINVAL);
	/* longer than what is mapped */
	p = at_the_end(known);
	size = known + 8;
	memcpy(p, &size, sizeof(size));
	check_eq(call(p), -EFAULT);
}

static void a_vmm_may_know_more_or_less_of_a_struct(void)
{
	vm = vm_new(1);
	v = &vm->vcpus[0];
	check_argument(enable, KVM_PVVAS_CONFIG_SIZE_VER1,
		       sizeof(struct kvm_pvvas_config), 0);
	check_argument(get_state, KVM_PVVAS_STATE_SIZE_VER1,
		       sizeof(struct kvm_pvvas_state), -E2BIG);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(a_guest_gets_as_much_of_an_answer_as_it_knows),
	CASE(a_vmm_may_know_more_or_less_of_a_struct),
};

HOSTCASE_MAIN(cases)
