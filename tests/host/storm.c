// SPDX-License-Identifier: GPL-2.0-only
/*
 * Storms: the host takes memory away by all means at once, while all vCPUs
 * switch views and use it. A page may be empty again at any time, but it never
 * shows what belongs to somebody else.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "patience.h"
#include "vm.h"

#define SIZE		(4 * MIB)
#define NR_PAGES	(SIZE / PAGE)
#define NR_VCPUS	3
#define NR_VIEWS	4
#define POISON		0x5a5a5a5a5a5a5a5aULL
#define PF_VECTOR	14
/* A storm lasts until each vCPU has read so much, and some rounds. */
#define ENOUGH		3000

static struct vm *vm;
static struct scene s;
static atomic_int stop;

static struct {
	uint64_t reads, refused, zeros;
} seen[MAX_VCPUS];

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	/* the low bits of one number decide those of the next */
	return *x >> 24;
}

/*
 * Each page holds nothing or its own number. @may_fault: memslots come and go.
 */
static uint64_t guest_storm(uint64_t id, uint64_t may_fault)
{
	uint64_t x = 88172645463325252ULL + id, page, val, va;
	long vector;

	while (!atomic_load(&stop)) {
		uint64_t slot = next(&x) % (NR_VIEWS + 1);
		int i;

		vmfunc(0, slot);
		gcheck_eq(gc_identity()->view, slot ? s.view[slot - 1] : 0);
		for (i = 0; slot && i < 32; i++) {
			page = next(&x) % NR_PAGES;
			va = WINDOW_FREE + page * PAGE;
			vector = next(&x) % 2 ? try_read(va, &val) :
						try_write(va, page + 1);
			if (vector == PF_VECTOR && may_fault) {
				seen[id].refused++;
				continue;
			}
			gcheck_eq(vector, -1);
			if (try_read(va, &val) != -1) {
				gcheck(may_fault);
				continue;
			}
			seen[id].reads++;
			seen[id].zeros += !val;
			gcheck(val == 0 || val == page + 1);
		}
	}
	return 0;
}

struct runner {
	pthread_t thread;
	struct vcpu *v;
	uint64_t may_fault;
};

static void *run(void *arg)
{
	struct runner *r = arg;

	r->v->user = r->v->id & 1;
	vcpu_call(r->v, guest_storm, r->v->id, r->may_fault);
	return NULL;
}

static void begin(struct runner *r, bool may_fault)
{
	int i;

	vm = vm_new(NR_VCPUS + 1);
	scene_make(&s, vm, SIZE, NR_VIEWS);
	vcpu_map(s.v, PVVAS_HC_SEG_PROTECT, s.seg, 0, 0, SIZE, 3);
	for (i = 0; i < NR_VCPUS; i++) {
		r[i].v = &vm->vcpus[i];
		r[i].may_fault = may_fault;
		vcpu_hc_ok(r[i].v, PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
	}
	for (i = 0; i < NR_VCPUS; i++)
		check_eq(pthread_create(&r[i].thread, NULL, run, &r[i]), 0);
}

static bool enough(int rounds, int at_least)
{
	volatile uint64_t *reads;
	int i;

	/* the vCPUs want to run too */
	if (rounds % 8 == 0)
		usleep(300 * patience());
	for (i = 0; i < NR_VCPUS; i++) {
		reads = &seen[i].reads;
		if (*reads < ENOUGH)
			return false;
	}
	return rounds >= at_least;
}

static void end(struct runner *r)
{
	int i;

	atomic_store(&stop, 1);
	for (i = 0; i < NR_VCPUS; i++) {
		pthread_join(r[i].thread, NULL);
		host_note("vCPU %d: %lu reads, %lu zeros, %lu refused", i,
			  seen[i].reads, seen[i].zeros, seen[i].refused);
	}
	vm_free(vm);
}

/* Pages that were given back are used at once for something else. */
static void poison_freed_pages(void)
{
	uint64_t *p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i;

	check(p != MAP_FAILED);
	for (i = 0; i < 64; i++)
		p[i * PAGE / 8] = POISON;
	munmap(p, 64 * PAGE);
}

static void madvise_storm(void)
{
	struct runner r[NR_VCPUS];
	uint64_t x = 1, page, n;
	int i;

	begin(r, false);
	for (i = 0; !enough(i, 60); i++) {
		page = next(&x) % NR_PAGES;
		n = 1 + next(&x) % 64;
		if (n > NR_PAGES - page)
			n = NR_PAGES - page;
		switch (i % 4) {
		case 0:
			madvise(s.ram + page * PAGE / 8, n * PAGE,
				MADV_DONTNEED);
			poison_freed_pages();
			break;
		case 1:
			mprotect(s.ram + page * PAGE / 8, n * PAGE,
				 PROT_READ | PROT_WRITE | PROT_EXEC);
			mprotect(s.ram + page * PAGE / 8, n * PAGE,
				 PROT_READ | PROT_WRITE);
			break;
		case 2:
			madvise(s.ram, 2 * MIB, MADV_HUGEPAGE);
			madvise(s.ram, 2 * MIB, 25 /* MADV_COLLAPSE */);
			break;
		default:
			check(mmap(s.ram + page * PAGE / 8, n * PAGE,
				   PROT_READ | PROT_WRITE, MAP_PRIVATE |
				   MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
			      MAP_FAILED);
			poison_freed_pages();
		}
	}
	end(r);
}

/* Each change of a slot waits for every vCPU: few rounds take long. */
static void memslot_storm(void)
{
	struct runner r[NR_VCPUS];
	int i;

	begin(r, true);
	for (i = 0; !enough(i, 12); i++) {
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, 0, 0);
		madvise(s.ram, SIZE, MADV_DONTNEED);
		poison_freed_pages();
		if (i % 4 == 0)
			usleep(1000 * patience());
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, SIZE,
			i % 3 ? 0 : KVM_MEM_LOG_DIRTY_PAGES);
		usleep(1000 * patience());
		if (i % 3 == 0)
			vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, SIZE, 0);
	}
	end(r);
}

static int uffd;

static void *uffd_answer(void *arg)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct uffd_msg m;

	(void)arg;
	while (read(uffd, &m, sizeof(m)) == sizeof(m)) {
		uint64_t at = m.arg.pagefault.address & ~(PAGE - 1);
		struct uffdio_copy copy = { .dst = at, .src = (uint64_t)page,
					    .len = PAGE };
		struct uffdio_range wake = { at, PAGE };

		*(uint64_t *)page = (at - (uint64_t)s.ram) / PAGE + 1;
		if (ioctl(uffd, UFFDIO_COPY, &copy))
			ioctl(uffd, UFFDIO_WAKE, &wake);
	}
	return NULL;
}

static void userfaultfd_storm(void)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	struct runner r[NR_VCPUS];
	uint64_t x = 1, page;
	pthread_t t;
	int i;

	begin(r, false);
	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	check(uffd >= 0);
	check_eq(ioctl(uffd, UFFDIO_API, &api), 0);
	reg.range.start = (uint64_t)s.ram;
	reg.range.len = SIZE;
	check_eq(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	check_eq(pthread_create(&t, NULL, uffd_answer, NULL), 0);
	for (i = 0; !enough(i, 60); i++) {
		page = next(&x) % (NR_PAGES - 16);
		madvise(s.ram + page * PAGE / 8, 16 * PAGE, MADV_DONTNEED);
		poison_freed_pages();
		usleep(500);
	}
	end(r);
}

/* Dirty logging on and off, and logs read, meanwhile. */
static void dirty_log_storm(void)
{
	static uint64_t bits[NR_PAGES / 64];
	struct kvm_dirty_log log = { .slot = FIRST_TEST_SLOT,
				     .dirty_bitmap = bits };
	struct runner r[NR_VCPUS];
	int i, j;

	begin(r, false);
	for (i = 0; !enough(i, 8); i++) {
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, SIZE,
			KVM_MEM_LOG_DIRTY_PAGES);
		for (j = 0; j < 5; j++) {
			usleep(500);
			vm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
		}
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, SIZE, 0);
		usleep(500);
	}
	end(r);
}

/* Another vCPU changes the views that are in use. */
static void hypercall_storm(void)
{
	struct vcpu *m;
	struct runner r[NR_VCPUS];
	uint64_t x = 1, view;
	int i;

	begin(r, true);
	m = &vm->vcpus[NR_VCPUS];
	for (i = 0; !enough(i, 100); i++) {
		uint64_t off = next(&x) % (NR_PAGES - 64) * PAGE;
		int slot = next(&x) % NR_VIEWS;

		vcpu_map(m, PVVAS_HC_SEG_UNMAP, s.seg, off, 0, 64 * PAGE, 0);
		vcpu_map(m, PVVAS_HC_SEG_MAP, s.seg, off, TEST_GPA + off,
			 64 * PAGE, 3);
		vcpu_map(m, PVVAS_HC_SEG_PROTECT, s.seg, off, 0, 32 * PAGE, 1);
		vcpu_map(m, PVVAS_HC_SEG_PROTECT, s.seg, off, 0, 32 * PAGE, 3);
		vcpu_hc_ok(m, PVVAS_HC_VIEW_DETACH, s.view[slot], s.seg, 0);
		vcpu_hc_ok(m, PVVAS_HC_VIEW_ATTACH, s.view[slot], s.seg, 3);
		view = vcpu_hc_ok(m, PVVAS_HC_VIEW_CREATE, s.ctx, 0, 0);
		vcpu_hc_ok(m, PVVAS_HC_VIEW_PLACE, s.ctx, 400, view);
		vcpu_hc_ok(m, PVVAS_HC_VIEW_ATTACH, view, s.seg, 3);
		vcpu_hc_ok(m, PVVAS_HC_VIEW_DESTROY, view, 0, 0);
	}
	end(r);
}

static atomic_ulong highest_id;
static uint64_t window_start;
static struct pvvas_extent any_rows[NR_VCPUS][8];

/* Calls of all kinds on whatever there is; the answer is one of those documented. */
static uint64_t guest_any_calls(uint64_t id, uint64_t n)
{
	static const uint16_t nrs[] = { 16, 17, 18, 32, 33, 34, 35, 35, 35, 36,
					48, 49, 50, 50, 51, 52, 1, 2 };
	struct pvvas_extent *rows = any_rows[id];
	uint64_t x = 88172645463325252ULL + id, a, b, c, i;
	long r;

	for (; n; n--) {
		uint64_t nr = PVVAS_HC_BASE + nrs[next(&x) % 18];

		if (nr == PVVAS_HC_RESET && next(&x) % 32)
			continue;
		for (i = 0; i < 8; i++) {
			rows[i].offset = next(&x) % 1024 * PAGE;
			rows[i].size = (1 + next(&x) % 64) * PAGE;
			rows[i].gpa = nr != PVVAS_HC_SEG_MAP ? 0 :
				      TEST_GPA + next(&x) % 900 * PAGE;
			rows[i].prot = nr == PVVAS_HC_SEG_UNMAP ? 0 : 3;
		}
		/* one of the newest ids, or one to come */
		a = atomic_load(&highest_id) + 2 - next(&x) % 12;
		b = atomic_load(&highest_id) + 2 - next(&x) % 12;
		c = 3;
		switch (nr) {
		case PVVAS_HC_CTX_CREATE:
			a = 0;
			break;
		case PVVAS_HC_VIEW_CREATE:
			b = 0;
			break;
		case PVVAS_HC_VIEW_PLACE:
			c = b;
			b = 1 + next(&x) % 4;
			break;
		case PVVAS_HC_SEG_CREATE:
			a = window_start + PVVAS_WINDOW_RESERVED +
			    next(&x) % 4 * 2 * MIB;
			b = 4 * MIB;
			c = next(&x) % 2;
			break;
		case PVVAS_HC_SEG_MAP:
		case PVVAS_HC_SEG_UNMAP:
		case PVVAS_HC_SEG_PROTECT:
			b = (uint64_t)rows;
			c = 1 + next(&x) % 8;
		}
		r = __hc(nr, a, b, c);
		gcheck(r >= 0 || r == -ENOENT || r == -EINVAL || r == -EBUSY ||
		       r == -EEXIST || r == -ENOSPC || r == -EFAULT);
		if (r > 0 && (nr == PVVAS_HC_CTX_CREATE ||
			      nr == PVVAS_HC_VIEW_CREATE ||
			      nr == PVVAS_HC_SEG_CREATE))
			atomic_store(&highest_id, r);
		seen[id].reads += r >= 0;
		seen[id].refused += r < 0;
		if (n % 4)
			continue;
		if (try_vmfunc(0, next(&x) % 6) == -1)
			try_write(WINDOW_FREE + next(&x) % 1024 * PAGE, 1);
	}
	return 0;
}

static void *any_calls(void *arg)
{
	struct vcpu *v = arg;
	const uint64_t args[4] = { v->id, 6000 };

	vcpu_prepare(v, (guest_fn)(void *)guest_any_calls, args);
	do {
		check_eq(vcpu_run_once(v), 0);
		/* just after a reset the window is nothing, hence a device */
	} while (v->run->exit_reason == KVM_EXIT_MMIO &&
		 v->run->mmio.phys_addr >= window_start);
	if (!vcpu_done(v, NULL))
		vcpu_unexpected(v);
	return NULL;
}

static void guest_give_up(void)
{
	/* nothing is mapped: the access goes on when the segment has gone */
	__hc(PVVAS_HC_RESET, 0, 0, 0);
	gc_cpu()->demands--;
}

static uint64_t guest_set_demand(void)
{
	gc_cpu()->demand = guest_give_up;
	return 0;
}

/* Every vCPU makes, changes and destroys what the others use; slots go too. */
static void vcpus_race_with_any_calls(void)
{
	struct kvm_pvvas_config c = { .max_ctxs = 8, .max_views = 16,
		.max_segs = 16, .max_extents = 400, .max_tables = 400 };
	pthread_t t[NR_VCPUS];
	void *mem;
	int i;

	vm = vm_new_config(NR_VCPUS, &c);
	window_start = vm->config.window_gpa;
	mem = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, SIZE, 0);
	for (i = 0; i < NR_VCPUS; i++)
		vcpu_call(&vm->vcpus[i], guest_set_demand, 0);
	for (i = 0; i < NR_VCPUS; i++)
		check_eq(pthread_create(&t[i], NULL, any_calls, &vm->vcpus[i]),
			 0);
	for (i = 0; i < 20; i++) {
		usleep(3000);
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, mem, 0, 0);
		madvise(mem, SIZE, MADV_DONTNEED);
		usleep(3000);
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, mem, SIZE, 0);
		/* one more vCPU now and then */
		if (i % 5 == 0)
			vcpu_hc(vm_add_vcpu(vm), PVVAS_HC_CTX_LOAD, 1, 0, 0);
	}
	for (i = 0; i < NR_VCPUS; i++) {
		pthread_join(t[i], NULL);
		host_note("vCPU %d: %lu calls done, %lu refused", i,
			  seen[i].reads, seen[i].refused);
		check(seen[i].reads > 200);
	}
	check(kvm_stat_of(vm->fd, "pvvas_views") <= 16);
	check(kvm_stat_of(vm->fd, "pvvas_extents") <= 400);
	vcpu_hc_ok(&vm->vcpus[0], PVVAS_HC_RESET, 0, 0, 0);
	check_eq(kvm_stat_of(vm->fd, "pvvas_views"), 0);
	check_eq(kvm_stat_of(vm->fd, "pvvas_segs"), 0);
	check_eq(kvm_stat_of(vm->fd, "pvvas_attachments"), 0);
	check_eq(kvm_stat_of(vm->fd, "pvvas_extents"), 0);
	check(kvm_stat_of(vm->fd, "pvvas_tables") <= 6);
	vm_free(vm);
}

static atomic_ulong newest_ctx;

/* Load what the other vCPU is about to make, at the first moment it is there. */
static uint64_t guest_load_early(void)
{
	uint64_t loads = 0, slot = 1;

	while (!atomic_load(&stop)) {
		if (__hc(PVVAS_HC_CTX_LOAD, atomic_load(&newest_ctx) + 1, 0, 0))
			continue;
		loads++;
		slot = slot % 511 + 1;
		gcheck_eq(try_vmfunc(0, slot), -1);
		gcheck_eq(gc_identity()->view, 0);
	}
	return loads;
}

static void *load_early(void *arg)
{
	uint64_t n = vcpu_call(arg, guest_load_early, 0);

	host_note("%lu contexts loaded while they were new", n);
	return NULL;
}

static void a_context_is_whole_when_it_can_be_loaded(void)
{
	pthread_t t;
	int i;

	vm = vm_new(2);
	s.ctx = vcpu_hc_ok(&vm->vcpus[0], PVVAS_HC_CTX_CREATE, 0, 0, 0);
	atomic_store(&newest_ctx, s.ctx);
	check_eq(pthread_create(&t, NULL, load_early, &vm->vcpus[1]), 0);
	for (i = 0; i < 1500; i++) {
		s.ctx = vcpu_hc_ok(&vm->vcpus[0], PVVAS_HC_CTX_CREATE, 0, 0, 0);
		if (i % 8 == 0)
			usleep(300 * patience());
		atomic_store(&newest_ctx, s.ctx);
		vcpu_hc_ok(&vm->vcpus[0], PVVAS_HC_CTX_DESTROY, s.ctx, 0, 0);
	}
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	vm_free(vm);
}

#define PIECES		1536	/* of 2 MiB, all the same memory */

static uint64_t guest_touch_pieces(void)
{
	uint64_t x = 88172645463325252ULL, i;

	while (!atomic_load(&stop)) {
		vmfunc(0, 1);
		for (i = 0; i < 4096; i++)
			try_read(WINDOW_FREE + next(&x) % PIECES * 2 * MIB, NULL);
	}
	return 0;
}

static void *touch_pieces(void *arg)
{
	vcpu_call(arg, guest_touch_pieces, 0);
	return NULL;
}

/* How many can be read. */
static uint64_t guest_count_pieces(void)
{
	uint64_t i, n = 0;

	for (i = 0; i < PIECES; i++)
		n += try_read(WINDOW_FREE + i * 2 * MIB, NULL) == -1;
	return n;
}

/* KVM pauses in the middle of it, and the other vCPU must not fill again. */
static void a_large_unmap_ends_although_a_vcpu_faults(void)
{
	struct pvvas_extent *rows = vm_shared(PIECES * sizeof(*rows));
	struct vcpu *v;
	pthread_t t;
	int round, i;

	vm = vm_new(2);
	v = &vm->vcpus[0];
	s.ram = vm_mem(2 * MIB);
	madvise(s.ram, 2 * MIB, MADV_HUGEPAGE);
	memset(s.ram, 0, 2 * MIB);
	vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, s.ram, 2 * MIB, 0);
	s.ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	s.seg = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE, window_gpa(vm, WINDOW_FREE),
			   PIECES * 2 * MIB, 0);
	s.view[0] = vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, s.ctx, 0, 0);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, s.view[0], s.seg, 3);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, s.ctx, 1, s.view[0]);
	for (i = 0; i < 2; i++)
		vcpu_hc_ok(&vm->vcpus[i], PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
	for (i = 0; i < PIECES; i++)
		rows[i] = (struct pvvas_extent){ i * 2 * MIB, TEST_GPA, 2 * MIB,
						 3, 0 };
	vcpu_vmfunc(v, 1);
	check_eq(pthread_create(&t, NULL, touch_pieces, &vm->vcpus[1]), 0);
	for (round = 0; round < 8; round++) {
		for (i = 0; i < PIECES;)
			i += vcpu_hc_ok(v, PVVAS_HC_SEG_MAP, s.seg, rows + i,
					PIECES - i);
		check_eq(vcpu_call(v, guest_count_pieces, 0), PIECES);
		check_eq(vcpu_map(v, PVVAS_HC_SEG_UNMAP, s.seg, 0, 0,
				  PIECES * 2 * MIB, 0), 1);
		check_eq(vcpu_call(v, guest_count_pieces, 0), 0);
	}
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	vm_free(vm);
}

#define NR_SEGS		16
#define MANY_VIEWS	24

static uint64_t segs[NR_SEGS];
static struct pvvas_extent one_row;

static uint64_t guest_touch_segs(void)
{
	uint64_t x = 88172645463325252ULL, seg, page, n = 0, val;

	vmfunc(0, 1);
	for (; !atomic_load(&stop); n++) {
		seg = next(&x) % NR_SEGS;
		page = next(&x) % 512;
		gcheck_eq(try_read(WINDOW_FREE + seg * 2 * MIB + page * PAGE,
				   &val), -1);
		gcheck_eq(val, page);
	}
	return n;
}

static void *touch_segs(void *arg)
{
	uint64_t n = vcpu_call(arg, guest_touch_segs, 0);

	host_note("%lu reads meanwhile", n);
	check(n > 1000);
	return NULL;
}

/* Many attachments go one by one, with pauses, in views that nobody can be in. */
static uint64_t guest_large_context(uint64_t rounds)
{
	uint64_t ctx, view, i, j;

	for (; rounds; rounds--) {
		ctx = hc(PVVAS_HC_CTX_CREATE, 0, 0, 0);
		for (i = 0; i < MANY_VIEWS; i++) {
			view = hc(PVVAS_HC_VIEW_CREATE, ctx, 0, 0);
			for (j = 0; j < NR_SEGS; j++)
				hc(PVVAS_HC_VIEW_ATTACH, view, segs[j], 1);
		}
		/* the other vCPU fills all of it again */
		one_row = (struct pvvas_extent){ 0, 0, 2 * MIB, 1, 0 };
		for (j = 0; j < NR_SEGS; j++)
			hc(PVVAS_HC_SEG_PROTECT, segs[j], &one_row, 1);
		if (rounds % 2) {
			hc(PVVAS_HC_CTX_DESTROY, ctx, 0, 0);
			continue;
		}
		hc(PVVAS_HC_VIEW_DESTROY, view, 0, 0);
		hc(PVVAS_HC_CTX_DESTROY, ctx, 0, 0);
	}
	return 0;
}

static void a_large_context_goes_beside_faults(void)
{
	struct vcpu *v;
	pthread_t t;
	int i;

	vm = vm_new(2);
	v = &vm->vcpus[0];
	s.ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA, 2 * MIB, 0);
	for (i = 0; i < 512; i++)
		s.ram[i * PAGE / 8] = i;
	s.ctx = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, 0, 0, 0);
	s.view[0] = vcpu_hc_ok(v, PVVAS_HC_VIEW_CREATE, s.ctx, 0, 0);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_PLACE, s.ctx, 1, s.view[0]);
	for (i = 0; i < NR_SEGS; i++) {
		segs[i] = vcpu_hc_ok(v, PVVAS_HC_SEG_CREATE, window_gpa(vm,
				     WINDOW_FREE + i * 2 * MIB), 2 * MIB, 0);
		vcpu_map(v, PVVAS_HC_SEG_MAP, segs[i], 0, TEST_GPA, 2 * MIB, 1);
		vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, s.view[0], segs[i], 1);
	}
	vcpu_hc_ok(&vm->vcpus[1], PVVAS_HC_CTX_LOAD, s.ctx, 0, 0);
	check_eq(pthread_create(&t, NULL, touch_segs, &vm->vcpus[1]), 0);
	vcpu_call(v, guest_large_context, 12);
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	check_eq(kvm_stat_of(vm->fd, "pvvas_ctxs"), 1);
	check_eq(kvm_stat_of(vm->fd, "pvvas_views"), 1);
	check_eq(kvm_stat_of(vm->fd, "pvvas_attachments"), NR_SEGS);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(madvise_storm),
	CASE(memslot_storm),
	CASE(userfaultfd_storm),
	CASE(dirty_log_storm),
	CASE(hypercall_storm),
	CASE(vcpus_race_with_any_calls),
	CASE(a_context_is_whole_when_it_can_be_loaded),
	CASE(a_large_unmap_ends_although_a_vcpu_faults),
	CASE(a_large_context_goes_beside_faults),
};

HOSTCASE_MAIN(cases)
