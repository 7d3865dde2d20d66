// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each hypercall with good and bad arguments.
 */
#include <errno.h>
#include <string.h>

#include "vm.h"

#define KVM_ENOSYS	1000
#define NOWHERE		0x80000000ULL	/* no memslot */

#define CTX_CREATE(flags)	vcpu_hc(v, PVVAS_HC_CTX_CREATE, flags, 0, 0)
#define CTX_DESTROY(id)		vcpu_hc(v, PVVAS_HC_CTX_DESTROY, id, 0, 0)
#define CTX_LOAD(id)		vcpu_hc(v, PVVAS_HC_CTX_LOAD, id, 0, 0)
#define VIEW_CREATE(c, f, k)	vcpu_hc(v, PVVAS_HC_VIEW_CREATE, c, f, k)
#define VIEW_DESTROY(id)	vcpu_hc(v, PVVAS_HC_VIEW_DESTROY, id, 0, 0)
#define VIEW_PLACE(c, s, id)	vcpu_hc(v, PVVAS_HC_VIEW_PLACE, c, s, id)
#define ATTACH(w, s, p)		vcpu_hc(v, PVVAS_HC_VIEW_ATTACH, w, s, p)
#define DETACH(w, s)		vcpu_hc(v, PVVAS_HC_VIEW_DETACH, w, s, 0)
#define SEG_CREATE(b, s, f)	vcpu_hc(v, PVVAS_HC_SEG_CREATE, b, s, f)
#define SEG_DESTROY(id)		vcpu_hc(v, PVVAS_HC_SEG_DESTROY, id, 0, 0)

static struct vm *vm;
static struct vcpu *v;
static uint64_t base;		/* window_gpa of WINDOW_FREE */
static struct pvvas_hc_stats was;

static void begin(void)
{
	vm = vm_new(1);
	v = &vm->vcpus[0];
	base = window_gpa(vm, WINDOW_FREE);
}

/* Refused calls leave nothing behind. */
static void note_objects(void)
{
	vcpu_stats(v, &was);
}

static void check_objects(void)
{
	struct pvvas_hc_stats now;

	vcpu_stats(v, &now);
	check_eq(now.ctxs, was.ctxs);
	check_eq(now.views, was.views);
	check_eq(now.segs, was.segs);
	check_eq(now.attachments, was.attachments);
	check_eq(now.extents, was.extents);
	check_eq(now.tables, was.tables);
}

static void info_and_stats_check_where_they_write(void)
{
	static const uint64_t nrs[] = { PVVAS_HC_INFO, PVVAS_HC_STATS };
	static const size_t sizes[] = { sizeof(struct pvvas_hc_info),
					sizeof(struct pvvas_hc_stats) };
	struct pvvas_hc_info *info;
	uint8_t *page;
	int i;

	begin();
	page = vm_shared(2 * PAGE);
	for (i = 0; i < 2; i++) {
		uint64_t at = (uint64_t)page;
		size_t size = sizes[i];

		memset(page, 0xee, 2 * PAGE);
		check_eq(vcpu_hc(v, nrs[i], at + 4, size, 0), -EINVAL);
		check_eq(vcpu_hc(v, nrs[i], at + 1, size, 0), -EINVAL);
		check_eq(vcpu_hc(v, nrs[i], at, size - 1, 0), -EINVAL);
		check_eq(vcpu_hc(v, nrs[i], at, 0, 0), -EINVAL);
		check_eq(vcpu_hc(v, nrs[i], NOWHERE, size, 0), -EFAULT);
		check_eq(vcpu_hc(v, nrs[i], ~7ULL, size, 0), -EFAULT);
		check_eq(vcpu_hc(v, nrs[i], base, size, 0), -EFAULT);
		check_eq(page[0], 0xee);
		/* no more than the struct, over a page's end too */
		at += PAGE - 8;
		check_eq(vcpu_hc(v, nrs[i], at, 1 << 20, 0), size);
		check(page[PAGE - 8] != 0xee);
		check_eq(page[PAGE - 9], 0xee);
		check_eq(page[PAGE - 8 + size], 0xee);
	}
	check_eq(vcpu_hc(v, PVVAS_HC_INFO, (uint64_t)page, PAGE, 0), sizes[0]);
	info = (void *)page;
	check_eq(info->version, PVVAS_ABI_VERSION);
	check_eq(info->features, PVVAS_FEATURE_DEMAND_PROT);
	check_eq(info->window_gpa, vm->config.window_gpa);
	check_eq(info->window_size, vm->config.window_size);
	check_eq(info->slots, PVVAS_NR_SLOTS);
	check_eq(info->max_ctxs, vm->config.max_ctxs);
	check_eq(info->max_views, vm->config.max_views);
	check_eq(info->max_segs, vm->config.max_segs);
	check_eq(info->max_extents, vm->config.max_extents);
	check_eq(info->max_tables, vm->config.max_tables);
	vm_free(vm);
}

static bool is_call(uint64_t nr)
{
	nr -= PVVAS_HC_BASE;
	return nr <= 3 || (nr >= 16 && nr <= 18) || (nr >= 32 && nr <= 36) ||
	       (nr >= 48 && nr <= 52);
}

static void unknown_numbers_are_no_hypercalls(void)
{
	uint64_t nr;

	begin();
	for (nr = PVVAS_HC_BASE; nr < PVVAS_HC_BASE + 0x110; nr++)
		if (!is_call(nr))
			check_eq(vcpu_hc(v, nr, 0, 0, 0), -KVM_ENOSYS);
	check_eq(vcpu_hc(v, PVVAS_HC_BASE - 1, 0, 0, 0), -KVM_ENOSYS);
	check_eq(vcpu_hc(v, PVVAS_HC_INFO | 1ULL << 32, 0, 0, 0), -KVM_ENOSYS);
	vm_free(vm);
}

static void user_mode_may_call_none(void)
{
	uint64_t nr;

	begin();
	check(CTX_CREATE(0) > 0);
	note_objects();
	v->user = true;
	for (nr = PVVAS_HC_BASE; nr < PVVAS_HC_BASE + 0x100; nr++)
		check_eq(vcpu_hc(v, nr, 1, 1, 1), -EPERM);
	v->user = false;
	check_objects();
	vm_free(vm);
}

/* VMCALL in a 32-bit code segment; program and arena lie below 4 GiB. */
asm(".code32\n"
    "guest_compat: vmcall; out %al, $0x50; jmp guest_compat\n"
    ".code64\n");
extern char guest_compat[];

static void a_32_bit_segment_may_call_none(void)
{
	struct kvm_regs r = { .rflags = 2, .rip = (uint64_t)guest_compat };
	struct kvm_sregs s;
	uint64_t nr;

	begin();
	vm_ioctl(v->fd, KVM_GET_SREGS, &s);
	s.cs.l = 0;
	s.cs.db = 1;
	vm_ioctl(v->fd, KVM_SET_SREGS, &s);
	for (nr = PVVAS_HC_BASE; nr < PVVAS_HC_BASE + 0x40; nr++) {
		r.rax = nr;
		vm_ioctl(v->fd, KVM_SET_REGS, &r);
		vm_ioctl(v->fd, KVM_RUN, 0);
		check_eq(v->run->exit_reason, KVM_EXIT_IO);
		vm_ioctl(v->fd, KVM_GET_REGS, &r);
		check_eq((int32_t)r.rax, -EOPNOTSUPP);
		r.rip = (uint64_t)guest_compat;
	}
	vm_free(vm);
}

static void contexts(void)
{
	long ctx, other;
	int bit;

	begin();
	check_eq(CTX_LOAD(0), 0);
	check_eq(CTX_LOAD(1), -ENOENT);
	for (bit = 0; bit < 64; bit += 9)
		check_eq(CTX_CREATE(1ULL << bit), -EINVAL);
	note_objects();
	check_eq(was.ctxs, 0);
	ctx = CTX_CREATE(0);
	check(ctx > 0);
	other = CTX_CREATE(0);
	check(other > ctx);
	note_objects();
	check_eq(was.ctxs, 2);
	check_eq(CTX_LOAD(99), -ENOENT);
	check_eq(CTX_LOAD(-1), -ENOENT);
	check_eq(CTX_DESTROY(0), -ENOENT);
	check_eq(CTX_DESTROY(99), -ENOENT);
	check_eq(CTX_DESTROY(-1), -ENOENT);
	check_objects();
	check_eq(CTX_LOAD(other), 0);
	check_eq(CTX_LOAD(ctx), 0);
	check_eq(CTX_LOAD(0), 0);
	check_eq(CTX_DESTROY(ctx), 0);
	check_eq(CTX_DESTROY(ctx), -ENOENT);
	check_eq(CTX_LOAD(ctx), -ENOENT);
	check_eq(CTX_LOAD(other), 0);
	check_eq(CTX_DESTROY(other), 0);
	check(CTX_CREATE(0) > other);
	vm_free(vm);
}

static void views(void)
{
	long ctx, other, view, far, seg;

	begin();
	check_eq(VIEW_CREATE(1, 0, 0), -ENOENT);
	ctx = CTX_CREATE(0);
	other = CTX_CREATE(0);
	seg = SEG_CREATE(base, 2 * MIB, 0);
	note_objects();
	check_eq(VIEW_CREATE(ctx, 1, 0), -EINVAL);
	check_eq(VIEW_CREATE(ctx, 1ULL << 63, 0), -EINVAL);
	check_eq(VIEW_CREATE(0, 0, 0), -ENOENT);
	check_eq(VIEW_CREATE(seg, 0, 0), -ENOENT);
	check_eq(VIEW_DESTROY(0), -ENOENT);
	check_eq(VIEW_DESTROY(ctx), -ENOENT);
	check_objects();
	view = VIEW_CREATE(ctx, 0, 0);
	check(view > seg);
	far = VIEW_CREATE(other, 0, 0);
	check(far > view);

	check_eq(VIEW_PLACE(0, 1, view), -ENOENT);
	check_eq(VIEW_PLACE(99, 1, view), -ENOENT);
	check_eq(VIEW_PLACE(ctx, 0, view), -EINVAL);
	check_eq(VIEW_PLACE(ctx, 512, view), -EINVAL);
	check_eq(VIEW_PLACE(ctx, 1ULL << 32 | 1, view), -EINVAL);
	check_eq(VIEW_PLACE(ctx, -1, view), -EINVAL);
	check_eq(VIEW_PLACE(ctx, 0, 0), -EINVAL);
	check_eq(VIEW_PLACE(ctx, 1, 99), -ENOENT);
	check_eq(VIEW_PLACE(ctx, 1, seg), -ENOENT);
	check_eq(VIEW_PLACE(ctx, 1, far), -EINVAL);
	check_eq(VIEW_PLACE(ctx, 1, 0), -ENOENT);
	check_eq(VIEW_PLACE(ctx, 511, view), 0);
	check_eq(VIEW_PLACE(ctx, 511, view), -EBUSY);
	check_eq(VIEW_PLACE(ctx, 1, view), -EBUSY);
	view = VIEW_CREATE(ctx, 0, 0);
	check_eq(VIEW_PLACE(ctx, 511, view), -EBUSY);
	check_eq(VIEW_PLACE(ctx, 511, 0), 0);
	check_eq(VIEW_PLACE(ctx, 511, 0), -ENOENT);
	check_eq(VIEW_PLACE(ctx, 511, view), 0);
	check_eq(VIEW_DESTROY(view), 0);
	check_eq(VIEW_DESTROY(view), -ENOENT);
	check_eq(VIEW_PLACE(ctx, 511, view), -ENOENT);
	check_eq(VIEW_PLACE(ctx, 511, 0), -ENOENT);
	/* A context takes its views along. */
	check_eq(CTX_DESTROY(other), 0);
	check_eq(VIEW_DESTROY(far), -ENOENT);
	vm_free(vm);
}

static void segments(void)
{
	uint64_t window, end, mib2 = 2 * MIB;
	long seg, ctx, view;
	int bit;

	begin();
	window = vm->config.window_gpa;
	end = window + vm->config.window_size;
	note_objects();
	for (bit = 2; bit < 64; bit += 3)
		check_eq(SEG_CREATE(base, mib2, 1ULL << bit), -EINVAL);
	check_eq(SEG_CREATE(base, 0, 0), -EINVAL);
	check_eq(SEG_CREATE(base, PAGE, 0), -EINVAL);
	check_eq(SEG_CREATE(base, mib2 + PAGE, 0), -EINVAL);
	check_eq(SEG_CREATE(base + PAGE, mib2, 0), -EINVAL);
	check_eq(SEG_CREATE(base + 1, mib2, 0), -EINVAL);
	check_eq(SEG_CREATE(0, mib2, 0), -EINVAL);
	check_eq(SEG_CREATE(window, mib2, 0), -EINVAL);
	check_eq(SEG_CREATE(base - mib2, mib2, 0), -EINVAL);
	check_eq(SEG_CREATE(base - mib2, 2 * mib2, 0), -EINVAL);
	check_eq(SEG_CREATE(end, mib2, 0), -EINVAL);
	check_eq(SEG_CREATE(end - mib2, 2 * mib2, 0), -EINVAL);
	check_eq(SEG_CREATE(base, end - base + mib2, 0), -EINVAL);
	check_eq(SEG_CREATE(base, -mib2, 0), -EINVAL);
	check_eq(SEG_CREATE(-mib2, mib2, 0), -EINVAL);
	check_eq(SEG_CREATE(-mib2, 2 * mib2, 0), -EINVAL);
	check_eq(SEG_DESTROY(0), -ENOENT);
	check_eq(SEG_DESTROY(1), -ENOENT);
	check_objects();

	/* Segments may lie over each other, views decide. */
	seg = SEG_CREATE(base, end - base, 0);
	check(seg > 0);
	check(SEG_CREATE(base, end - base, 0) > seg);
	check(SEG_CREATE(end - mib2, mib2, PVVAS_SEG_DEMAND) > seg);
	check(SEG_CREATE(end - mib2, mib2, PVVAS_SEG_DEMAND_PROT) > seg);
	check_eq(SEG_CREATE(end - mib2, mib2, PVVAS_SEG_DEMAND_PROT << 1), -EINVAL);
	ctx = CTX_CREATE(0);
	view = VIEW_CREATE(ctx, 0, 0);
	check_eq(ATTACH(view, seg, PVVAS_PROT_ALL), 0);
	check_eq(SEG_DESTROY(seg), -EBUSY);
	check_eq(DETACH(view, seg), 0);
	check_eq(SEG_DESTROY(seg), 0);
	check_eq(SEG_DESTROY(seg), -ENOENT);
	vm_free(vm);
}

static void attaching(void)
{
	long ctx, view, other, low, high, wide, r;
	uint64_t prot;

	begin();
	ctx = CTX_CREATE(0);
	view = VIEW_CREATE(ctx, 0, 0);
	other = VIEW_CREATE(ctx, 0, 0);
	low = SEG_CREATE(base, 2 * MIB, 0);
	high = SEG_CREATE(base + 2 * MIB, 2 * MIB, 0);
	wide = SEG_CREATE(base, 4 * MIB, 0);
	note_objects();
	check_eq(ATTACH(0, low, PVVAS_PROT_ALL), -ENOENT);
	check_eq(ATTACH(low, low, PVVAS_PROT_ALL), -ENOENT);
	check_eq(ATTACH(view, 0, PVVAS_PROT_ALL), -ENOENT);
	check_eq(ATTACH(view, view, PVVAS_PROT_ALL), -ENOENT);
	for (prot = 0; prot < 32; prot++)
		if (prot > PVVAS_PROT_ALL || !(prot & PVVAS_PROT_READ))
			check_eq(ATTACH(view, low, prot), -EINVAL);
	check_eq(ATTACH(view, low, 1ULL << 63 | 1), -EINVAL);
	check_eq(ATTACH(view, low, 1ULL << 32 | 1), -EINVAL);
	check_eq(DETACH(view, low), -ENOENT);
	check_eq(DETACH(0, low), -ENOENT);
	check_eq(DETACH(view, 0), -ENOENT);
	check_objects();

	for (prot = PVVAS_PROT_READ; prot <= PVVAS_PROT_ALL; prot += 2) {
		check_eq(ATTACH(view, low, prot), 0);
		check_eq(DETACH(view, low), 0);
	}
	check_objects();
	check_eq(ATTACH(view, low, PVVAS_PROT_READ), 0);
	check_eq(ATTACH(view, high, PVVAS_PROT_READ), 0);
	check_eq(ATTACH(view, low, PVVAS_PROT_READ), -EEXIST);
	check_eq(ATTACH(view, wide, PVVAS_PROT_READ), -EEXIST);
	check_eq(DETACH(view, wide), -ENOENT);
	check_eq(ATTACH(other, wide, PVVAS_PROT_READ), 0);
	r = ATTACH(other, high, PVVAS_PROT_READ);
	check_eq(r, -EEXIST);
	check_eq(DETACH(view, low), 0);
	check_eq(ATTACH(view, wide, PVVAS_PROT_READ), -EEXIST);
	check_eq(DETACH(view, high), 0);
	check_eq(ATTACH(view, wide, PVVAS_PROT_READ), 0);
	check_eq(DETACH(view, wide), 0);
	check_eq(DETACH(other, wide), 0);
	check_objects();
	vm_free(vm);
}

#define MAP(off, gpa, size, prot) \
	vcpu_map(v, PVVAS_HC_SEG_MAP, seg, off, gpa, size, prot)
#define UNMAP(off, gpa, size, prot) \
	vcpu_map(v, PVVAS_HC_SEG_UNMAP, seg, off, gpa, size, prot)
#define PROTECT(off, gpa, size, prot) \
	vcpu_map(v, PVVAS_HC_SEG_PROTECT, seg, off, gpa, size, prot)

static void rows_are_checked(void)
{
	uint64_t size = 4 * MIB, prot;
	struct pvvas_extent *row;
	long seg;

	begin();
	seg = SEG_CREATE(base, size, 0);
	note_objects();
	check_eq(MAP(1, TEST_GPA, PAGE, 1), -EINVAL);
	check_eq(MAP(0, TEST_GPA + 1, PAGE, 1), -EINVAL);
	check_eq(MAP(0, TEST_GPA, PAGE + 1, 1), -EINVAL);
	check_eq(MAP(0, TEST_GPA, 0, 1), -EINVAL);
	check_eq(MAP(size, TEST_GPA, PAGE, 1), -EINVAL);
	check_eq(MAP(0, TEST_GPA, size + PAGE, 1), -EINVAL);
	check_eq(MAP(PAGE, TEST_GPA, size, 1), -EINVAL);
	check_eq(MAP(-PAGE, TEST_GPA, PAGE, 1), -EINVAL);
	check_eq(MAP(PAGE, TEST_GPA, -PAGE, 1), -EINVAL);
	for (prot = 0; prot < 32; prot++)
		if (prot > PVVAS_PROT_ALL || !(prot & PVVAS_PROT_READ))
			check_eq(MAP(0, TEST_GPA, PAGE, prot), -EINVAL);
	/* the window is no RAM, nor is what no guest can have */
	check_eq(MAP(0, base, PAGE, 1), -EINVAL);
	check_eq(MAP(0, vm->config.window_gpa - PAGE, 2 * PAGE, 1), -EINVAL);
	check_eq(MAP(0, vm->config.window_gpa + vm->config.window_size - PAGE,
		     PAGE, 1), -EINVAL);
	check_eq(MAP(0, -PAGE, PAGE, 1), -EINVAL);
	check_eq(MAP(0, -PAGE, 2 * PAGE, 1), -EINVAL);
	check_eq(UNMAP(0, TEST_GPA, PAGE, 0), -EINVAL);
	check_eq(UNMAP(0, 0, PAGE, 1), -EINVAL);
	check_eq(PROTECT(0, 0, PAGE, 0), -EINVAL);
	check_eq(PROTECT(0, 0, PAGE, PVVAS_PROT_WRITE), -EINVAL);
	check_eq(PROTECT(0, TEST_GPA, PAGE, 1), -EINVAL);
	row = vm_shared(PAGE);
	*row = (struct pvvas_extent){ 0, TEST_GPA, PAGE, 1, 1 };
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, seg, (uint64_t)row, 1), -EINVAL);
	check_objects();

	check_eq(MAP(PAGE, TEST_GPA, 2 * PAGE, 1), 1);
	check_eq(MAP(PAGE, TEST_GPA, PAGE, 1), -EEXIST);
	check_eq(MAP(0, TEST_GPA, size, 1), -EEXIST);
	check_eq(MAP(2 * PAGE, TEST_GPA, 2 * PAGE, 1), -EEXIST);
	check_eq(MAP(0, TEST_GPA, PAGE, 1), 1);
	/* what is not there need not be taken away */
	check_eq(UNMAP(0, 0, size, 0), 1);
	check_eq(UNMAP(0, 0, size, 0), 1);
	check_eq(PROTECT(0, 0, size, 1), 1);
	check_objects();
	vm_free(vm);
}

static void lists_are_checked(void)
{
	struct pvvas_extent *rows = NULL;
	uint64_t at;
	long seg;
	int i;

	begin();
	seg = SEG_CREATE(base, 64 * MIB, 0);
	rows = vm_shared(sizeof(*rows) * (PVVAS_MAX_BATCH + 1));
	at = (uint64_t)rows;
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, 0, at, 1), -ENOENT);
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, 99, at, 1), -ENOENT);
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_UNMAP, 99, at, 1), -ENOENT);
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_PROTECT, 99, at, 1), -ENOENT);
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, seg, at, 0), -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, seg, at, PVVAS_MAX_BATCH + 1),
		 -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, seg, at, -1), -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, seg, at + 4, 1), -EINVAL);
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, seg, NOWHERE, 1), -EFAULT);
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, seg, base, 1), -EFAULT);
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, seg, -PAGE, 4096), -EFAULT);

	/* A bad row in the middle: those before it count. */
	for (i = 0; i < PVVAS_MAX_BATCH; i++)
		rows[i] = (struct pvvas_extent){ i * 2 * PAGE,
			TEST_GPA + i * PAGE, PAGE, PVVAS_PROT_READ, 0 };
	rows[1000].prot = 0;
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, seg, at, PVVAS_MAX_BATCH), 1000);
	rows[1000].prot = 1;
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, seg, at, PVVAS_MAX_BATCH),
		 -EEXIST);
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, seg, at + 1000 * sizeof(*rows),
			 PVVAS_MAX_BATCH - 1000), PVVAS_MAX_BATCH - 1000);
	note_objects();
	check_eq(was.extents, PVVAS_MAX_BATCH);
	vm_free(vm);
}

static uint64_t guest_make_list(uint64_t at, uint64_t n)
{
	struct pvvas_extent *row = (void *)at;
	uint64_t i;

	for (i = 0; i < n; i++)
		row[i] = (struct pvvas_extent){ i * PAGE, TEST_GPA, PAGE,
						PVVAS_PROT_READ, 0 };
	return 0;
}

/* The list itself ends where memory ends. */
static void a_list_may_run_out_of_memory(void)
{
	uint64_t end = TEST_GPA + 2 * MIB, at;
	long seg;

	begin();
	vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, 2 * MIB, 0);
	seg = SEG_CREATE(base, 2 * MIB, 0);
	at = end - 100 * sizeof(struct pvvas_extent);
	vcpu_call(v, guest_make_list, at, 100);
	/* rows are read by the chunk: whole chunks before the end count */
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, seg, at, 101) > 0, 1);
	note_objects();
	check(was.extents > 0 && was.extents <= 100);
	check_eq(vcpu_hc(v, PVVAS_HC_SEG_MAP, seg, end, 1), -EFAULT);
	vm_free(vm);
}

static void extents_are_split_and_joined(void)
{
	struct pvvas_hc_stats s;
	long seg;

	begin();
	seg = SEG_CREATE(base, 2 * MIB, 0);
	check_eq(MAP(0, TEST_GPA, PAGE, 3), 1);
	check_eq(MAP(PAGE, TEST_GPA + PAGE, PAGE, 3), 1);
	vcpu_stats(v, &s);
	check_eq(s.extents, 1);
	/* another page, other rights, not the next page: no joining */
	check_eq(MAP(2 * PAGE, TEST_GPA, PAGE, 3), 1);
	check_eq(MAP(3 * PAGE, TEST_GPA + PAGE, PAGE, 1), 1);
	vcpu_stats(v, &s);
	check_eq(s.extents, 3);
	check_eq(UNMAP(0, 0, 2 * MIB, 0), 1);
	check_eq(MAP(0, TEST_GPA, 8 * PAGE, 3), 1);
	check_eq(UNMAP(2 * PAGE, 0, PAGE, 0), 1);
	vcpu_stats(v, &s);
	check_eq(s.extents, 2);
	check_eq(PROTECT(4 * PAGE, 0, 2 * PAGE, 1), 1);
	vcpu_stats(v, &s);
	check_eq(s.extents, 4);
	check_eq(UNMAP(PAGE, 0, 6 * PAGE, 0), 1);
	vcpu_stats(v, &s);
	check_eq(s.extents, 2);
	vm_free(vm);
}

static void reset_removes_everything_and_can_be_repeated(void)
{
	struct pvvas_hc_stats s;
	struct scene sc;
	int i;

	vm = vm_new(1);
	v = &vm->vcpus[0];
	vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, 4 * MIB, 0);
	check_eq(vcpu_hc(v, PVVAS_HC_RESET, 0, 0, 0), 0);
	vcpu_stats(v, &was);
	for (i = 0; i < 3; i++) {
		scene_over(&sc, vm, TEST_GPA, 4 * MIB, 3);
		vcpu_vmfunc(v, 2);
		check_eq(vcpu_view(v), sc.view[1]);
		vcpu_poke(v, WINDOW_FREE, i);
		check_eq(vcpu_hc(v, PVVAS_HC_RESET, 0, 0, 0), 0);
		vcpu_stats(v, &s);
		check_eq(s.ctxs + s.views + s.segs + s.attachments + s.extents,
			 0);
		/* the plain view has shown its identity page once */
		check(s.tables <= was.tables + 4);
		check_eq(CTX_LOAD(sc.ctx), -ENOENT);
	}
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(info_and_stats_check_where_they_write),
	CASE(unknown_numbers_are_no_hypercalls),
	CASE(user_mode_may_call_none),
	CASE(a_32_bit_segment_may_call_none),
	CASE(contexts),
	CASE(views),
	CASE(segments),
	CASE(attaching),
	CASE(rows_are_checked),
	CASE(lists_are_checked),
	CASE(a_list_may_run_out_of_memory),
	CASE(extents_are_split_and_joined),
	CASE(reset_removes_everything_and_can_be_repeated),
};

HOSTCASE_MAIN(cases)
