// SPDX-License-Identifier: GPL-2.0-only
/*
 * Several vCPUs of one VM at the same time, in views of one process and of
 * different ones: at one address each sees what its own view shows, whatever
 * the others do. A process is a context.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vm.h"

#define NR_VCPUS	4
#define NR_CTXS		2
#define NR_VIEWS	3	/* of each context, in slots 1 to 3 */
#define NR_SEGS		(NR_CTXS * NR_VIEWS)
#define SEG_SIZE	(2 * MIB)
#define NR_PAGES	32ULL
#define PF_VECTOR	14
#define COMMON_VA	(WINDOW_FREE + 4 * MIB)

/* The words of a page; each vCPU writes to one of its own. */
enum { TAG = 0, OWN = 8 };

static struct vm *vm;
static uint64_t *ram;
static uint64_t ctx[NR_CTXS], view[NR_CTXS][NR_VIEWS], common;
static atomic_int stop;

static struct {
	uint64_t rounds, loads, refused;
	uint64_t in_view[NR_CTXS][NR_VIEWS];
} seen[NR_VCPUS];

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x >> 24;
}

static uint64_t tag(uint64_t c, uint64_t n, uint64_t page)
{
	return 0x7000000000000000ULL | c << 32 | n << 16 | page;
}

/*
 * All views show a segment of their own at WINDOW_FREE; at COMMON_VA those of
 * even number show one segment that the contexts share, the others nothing.
 */
static void begin(int nr_vcpus)
{
	uint64_t seg, c, n, page, i = 0;
	struct vcpu *v;

	vm = vm_new(nr_vcpus);
	v = &vm->vcpus[0];
	ram = vm_ram(vm, FIRST_TEST_SLOT, TEST_GPA,
		     (NR_SEGS + 1) * NR_PAGES * PAGE, 0);
	common = seg_new(vm, COMMON_VA, SEG_SIZE, 0);
	seg_map(v, common, 0, TEST_GPA + NR_SEGS * NR_PAGES * PAGE, NR_PAGES * PAGE, 3);
	for (c = 0; c < NR_CTXS; c++) {
		ctx[c] = ctx_new(v);
		for (n = 0; n < NR_VIEWS; n++, i++) {
			seg = seg_new(vm, WINDOW_FREE, SEG_SIZE, 0);
			seg_map(v, seg, 0, TEST_GPA + i * NR_PAGES * PAGE, NR_PAGES * PAGE, 3);
			for (page = 0; page < NR_PAGES; page++)
				ram[(i * NR_PAGES + page) * PAGE / 8 + TAG] =
					tag(c, n, page);
			view[c][n] = view_new(v, ctx[c], n + 1, 0);
			view_attach(v, view[c][n], seg, 3);
			if (n % 2 == 0)
				view_attach(v, view[c][n], common, 3);
		}
	}
}

/* One visit to a view: which one it is, what it shows, what it does not. */
static void visit(uint64_t id, uint64_t c, uint64_t n, uint64_t *x,
		  uint64_t *sum)
{
	uint64_t i, page, val;
	volatile uint64_t *p;
	long vector;

	vmfunc(0, n + 1);
	gcheck_eq(gc_identity()->view, view[c][n]);
	gcheck_eq(gc_identity()->ctx, ctx[c]);
	for (i = 0; i < 16; i++) {
		page = next(x) % NR_PAGES;
		p = (uint64_t *)(WINDOW_FREE + page * PAGE);
		gcheck_eq(p[TAG], tag(c, n, page));
		/* no other vCPU writes it, by whatever way */
		gcheck_eq(p[OWN + id], sum[(c * NR_VIEWS + n) * NR_PAGES + page]);
		p[OWN + id] = ++sum[(c * NR_VIEWS + n) * NR_PAGES + page];
		gcheck_eq(gc_identity()->view, view[c][n]);
	}
	page = next(x) % NR_PAGES;
	vector = try_read(COMMON_VA + page * PAGE, &val);
	gcheck_eq(vector, n % 2 ? PF_VECTOR : -1);
	if (vector == -1)
		__atomic_add_fetch((uint64_t *)(COMMON_VA + page * PAGE), 1,
				   __ATOMIC_RELAXED);
	seen[id].refused += vector != -1;
	seen[id].in_view[c][n]++;
	seen[id].rounds++;
}

static uint64_t sums[NR_VCPUS][NR_SEGS * NR_PAGES];

/* Stay in one process; go from view to view of it. */
static uint64_t guest_in_one(uint64_t id, uint64_t c)
{
	uint64_t x = 88172645463325252ULL + id;

	while (!atomic_load(&stop))
		visit(id, c, next(&x) % NR_VIEWS, &x, sums[id]);
	return 0;
}

/* Be scheduled to this process and that one. */
static uint64_t guest_in_all(uint64_t id)
{
	uint64_t x = 88172645463325252ULL + id, c, i;

	while (!atomic_load(&stop)) {
		c = next(&x) % NR_CTXS;
		hc(PVVAS_HC_CTX_LOAD, ctx[c], 0, 0);
		seen[id].loads++;
		gcheck_eq(gc_identity()->view, 0);
		for (i = 0; i < 4; i++)
			visit(id, c, next(&x) % NR_VIEWS, &x, sums[id]);
	}
	return 0;
}

struct runner {
	pthread_t thread;
	struct vcpu *v;
	uint64_t ctx;
	bool all;
};

static void *run(void *arg)
{
	struct runner *r = arg;

	if (r->all) {
		vcpu_call(r->v, guest_in_all, r->v->id);
	} else {
		r->v->user = r->v->id & 1;
		vcpu_call(r->v, guest_in_one, r->v->id, r->ctx);
	}
	return NULL;
}

static void start(struct runner *r)
{
	int i;

	for (i = 0; i < NR_VCPUS; i++) {
		r[i].v = &vm->vcpus[i];
		if (!r[i].all)
			vcpu_hc_ok(r[i].v, PVVAS_HC_CTX_LOAD, ctx[r[i].ctx], 0, 0);
	}
	for (i = 0; i < NR_VCPUS; i++)
		check_eq(pthread_create(&r[i].thread, NULL, run, &r[i]), 0);
}

static bool enough(uint64_t rounds)
{
	volatile uint64_t *done;
	int i;

	usleep(1000);
	for (i = 0; i < NR_VCPUS; i++) {
		done = &seen[i].rounds;
		if (*done < rounds)
			return false;
	}
	return true;
}

/* What all of them did is in memory, and nothing else is. */
static void end(struct runner *r)
{
	uint64_t i, page, id, refused = 0, added = 0, rounds = 0;
	uint64_t *p;

	atomic_store(&stop, 1);
	for (i = 0; i < NR_VCPUS; i++) {
		pthread_join(r[i].thread, NULL);
		host_note("vCPU %lu: %lu visits, %lu loads, %lu refused", i,
			  seen[i].rounds, seen[i].loads, seen[i].refused);
		refused += seen[i].refused;
		rounds += seen[i].rounds;
	}
	for (i = 0; i < NR_SEGS; i++)
		for (page = 0; page < NR_PAGES; page++)
			for (id = 0; id < NR_VCPUS; id++) {
				p = ram + (i * NR_PAGES + page) * PAGE / 8;
				check_eq(p[OWN + id],
					 sums[id][i * NR_PAGES + page]);
			}
	for (page = 0; page < NR_PAGES; page++)
		added += ram[(NR_SEGS * NR_PAGES + page) * PAGE / 8];
	check_eq(added, rounds - refused);
	vm_free(vm);
}

static void vcpus_are_in_different_views_of_one_process(void)
{
	struct runner r[NR_VCPUS] = { 0 };

	begin(NR_VCPUS);
	start(r);
	while (!enough(300))
		;
	end(r);
}

static void vcpus_are_in_views_of_different_processes(void)
{
	struct runner r[NR_VCPUS] = { { .ctx = 0 }, { .ctx = 1 }, { .ctx = 1 },
				      { .ctx = 0 } };

	begin(NR_VCPUS);
	start(r);
	while (!enough(300))
		;
	end(r);
}

static void vcpus_change_between_processes(void)
{
	struct runner r[NR_VCPUS] = { { .all = true }, { .all = true },
				      { .ctx = 1 }, { .all = true } };

	begin(NR_VCPUS);
	start(r);
	while (!enough(300))
		;
	end(r);
}

/* And a fifth vCPU takes views out of their slots, detaches and destroys. */
static void other_views_come_and_go_meanwhile(void)
{
	struct runner r[NR_VCPUS] = { { .all = true }, { .ctx = 0 },
				      { .ctx = 1 }, { .all = true } };
	uint64_t other, v2, i, *idle;
	struct vcpu *v;

	begin(NR_VCPUS + 1);
	v = &vm->vcpus[NR_VCPUS];
	idle = root_new(vm);
	start(r);
	for (i = 0; i < 60 || !enough(200); i++) {
		v2 = view_new(v, ctx[i % 2], 4, 0);
		view_attach(v, v2, common, 3);
		other = vcpu_hc_ok(v, PVVAS_HC_CTX_CREATE, idle, 0, 0);
		view_detach(v, v2, common);
		view_destroy(v, v2);
		vcpu_hc_ok(v, PVVAS_HC_CTX_DESTROY, other, 0, 0);
	}
	end(r);
}

/* Addresses of no memory, each a doorbell: KVM itself answers the writes. */
#define BELL(i)		(0x90000000ULL + (i) * PAGE)

static uint64_t guest_rings(uint64_t va)
{
	uint64_t n = 0;

	while (!atomic_load(&stop)) {
		*(volatile uint32_t *)va = 1;
		n++;
	}
	return n;
}

static void *ring(void *arg)
{
	vcpu_call(arg, guest_rings, WINDOW_FREE);
	return arg;
}

static bool rang(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n);
}

/* One vCPU rings without pause; another makes it ring elsewhere. */
static void a_doorbell_rings_no_more_once_it_is_invalidated(void)
{
	uint64_t c, id, *t1, i;
	pthread_t ringer;
	int fd[2];

	vm = vm_new(2);
	for (i = 0; i < 2; i++) {
		struct kvm_ioeventfd bell = { .addr = BELL(i) };

		fd[i] = eventfd(0, EFD_NONBLOCK);
		bell.fd = fd[i];
		vm_ioctl(vm->fd, KVM_IOEVENTFD, &bell);
	}
	c = ctx_new(&vm->vcpus[0]);
	id = view_new(&vm->vcpus[0], c, 1, 0);
	t1 = vm_shared(PAGE);
	*root_2mib(vm, view_root(id), WINDOW_FREE) = (uint64_t)t1 | PVVAS_PROT_ALL;
	t1[0] = BELL(0) | PVVAS_PROT_ALL | PVVAS_EPT_WB;
	vcpu_hc_ok(&vm->vcpus[1], PVVAS_HC_CTX_LOAD, c, 0, 0);
	vcpu_vmfunc(&vm->vcpus[1], 1);
	atomic_store(&stop, 0);
	check_eq(pthread_create(&ringer, NULL, ring, &vm->vcpus[1]), 0);
	for (i = 0; i < 200; i++) {
		while (!rang(fd[i % 2]))
			usleep(10);
		*(volatile uint64_t *)t1 = BELL((i + 1) % 2) |
					   PVVAS_PROT_ALL | PVVAS_EPT_WB;
		vcpu_hc_ok(&vm->vcpus[0], PVVAS_HC_INVALIDATE, t1, 0, 1);
		rang(fd[i % 2]);
		usleep(1500);
		check(!rang(fd[i % 2]));
	}
	atomic_store(&stop, 1);
	pthread_join(ringer, NULL);
	for (i = 0; i < 2; i++)
		close(fd[i]);
	vm_free(vm);
}

static const struct hostcase cases[] = {
	CASE(a_doorbell_rings_no_more_once_it_is_invalidated),
	CASE(vcpus_are_in_different_views_of_one_process),
	CASE(vcpus_are_in_views_of_different_processes),
	CASE(vcpus_change_between_processes),
	CASE(other_views_come_and_go_meanwhile),
};

HOSTCASE_MAIN(cases)
