// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VMM's structs of another version than the host's: shorter, longer, and
 * longer with something that this host does not know.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vm.h"

static struct vm *vm;

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
	check_argument(enable, KVM_PVVAS_CONFIG_SIZE_V1,
		       sizeof(struct kvm_pvvas_config), 0);
	check_argument(get_state, KVM_PVVAS_STATE_SIZE_V1,
		       sizeof(struct kvm_pvvas_state), -E2BIG);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(a_vmm_may_know_more_or_less_of_a_struct),
};

HOSTCASE_MAIN(cases)
