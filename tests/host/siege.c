// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPUs make, enter, change and destroy everything, emulated instructions and SMM
 * among it, while the VMM stops, saves, resets and restores them, and the host
 * takes memory away: nothing of the host's is seen or written.  The vCPUs meet
 * only on two CPUs.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "beside.h"

#define IOAPIC		0xfec00000UL	/* what accesses it is emulated */
#define NR_VCPUS	3
#define NR_PAGES	10
#define NR_ROOTS	4	/* of the pages; entry 0 is the guest's RAM */
#define NR_CTXS		4
#define NR_VIEWS	16
#define MAX_RECORDS	128

static struct vm *vm;
static uint64_t *ram;
static struct {
	uint64_t *pages[NR_PAGES];
	uint64_t ctxs[NR_CTXS], views[NR_VIEWS];
} *it;
static atomic_int stop, halted;
static pthread_t threads[NR_VCPUS];
static uint64_t looks[NR_VCPUS], calls[NR_VCPUS], bad[NR_VCPUS];
static uint64_t stops[NR_VCPUS], smm[NR_VCPUS], inits[NR_VCPUS];

#define below(n)	(beside_random(&seed) % (n))

static uint64_t an_address(uint64_t seed)
{
	return REGION_VA(1 + below(NR_REGIONS)) + below(4) * GIB +
	       below(4) * 2 * MIB + below(8) * PAGE;
}

static long try_movsl(uint64_t to, uint64_t from)
{
	asm volatile(GC_TRY("movsl") : "+D"(to), "+S"(from) : : "rax", "memory");
	return gc_cpu()->vector;
}

/* An entry becomes another; the root's first one is what the guest runs on. */
static void change(uint64_t seed)
{
	static const uint64_t kinds[] = { 0, E_LEAF, E_TABLE, E_TABLE, E_TABLE,
		E_LEAF, PVVAS_PROT_READ | PVVAS_EPT_WB, PVVAS_PROT_READ,
		PVVAS_EPT_DEMAND, 4, E_LARGE };
	uint64_t p = below(NR_PAGES), k, to;

	k = p < NR_ROOTS ? 1 + below(NR_REGIONS) : below(8);
	to = kinds[below(11)];
	if (below(3))
		to |= (uint64_t)it->pages[below(NR_PAGES)];
	else
		to |= TEST_GPA + below(BESIDE_FRAMES) * PAGE;
	if (to & PVVAS_EPT_LARGE)
		to = TEST_GPA | E_LARGE;
	*(volatile uint64_t *)(it->pages[p] + k) = to;
	if (below(2))
		hc(PVVAS_HC_INVALIDATE, it->pages[p], k, 1);
	else if (below(16) == 0)
		hc(PVVAS_HC_INVALIDATE, it->pages[p], 0, 512);
}

static long call(uint64_t seed)
{
	uint64_t *ctx = &it->ctxs[below(NR_CTXS)];
	uint64_t *view = &it->views[below(NR_VIEWS)];
	uint64_t root = (uint64_t)it->pages[below(NR_ROOTS)];
	uint64_t somewhere = TEST_GPA + below(BESIDE_SIZE) / 8 * 8;
	long r;

	switch (below(16)) {
	case 0 ... 1:
		r = __hc(PVVAS_HC_CTX_CREATE, root, 0, 0);
		if (r > 0)
			*ctx = r;
		return r;
	case 2:
		return below(4) ? 0 : __hc(PVVAS_HC_CTX_DESTROY, *ctx, 0, 0);
	case 3 ... 5:
		/* half of the slots are taken, or are none */
		r = __hc4(PVVAS_HC_VIEW_CREATE, *ctx, below(16) ? below(8) : 600,
			  root, seed);
		if (r > 0)
			*view = r;
		return r;
	case 6:
		return __hc(PVVAS_HC_VIEW_DESTROY, *view, 0, 0);
	case 7:
		return __hc(PVVAS_HC_VIEW_PLACE, *ctx, below(8), *view);
	case 8:
		return __hc(PVVAS_HC_VIEW_PLACE, *ctx, below(8), 0);
	case 9:
		return below(8) ? 0 : __hc(PVVAS_HC_RESET, 0, 0, 0);
	case 10:
		return __hc(PVVAS_HC_INVALIDATE_LIST, somewhere, 1 + below(64), 0);
	case 11:
		return __hc(PVVAS_HC_STATS, somewhere, below(128), 0);
	case 12:
		return __hc(PVVAS_HC_INFO, somewhere, below(64), 0);
	default:
		return __hc(PVVAS_HC_CTX_LOAD, *ctx, 0, 0);
	}
}

static void check_answer(long r)
{
	gcheck(r >= 0 || r == -ENOENT || r == -EFAULT || r == -EBUSY ||
	       r == -EEXIST || r == -EINVAL || r == -ENOSPC ||
	       r == -EOPNOTSUPP);
}

static uint64_t guest_acts(uint64_t n, uint64_t seed, uint64_t in_smm)
{
	uint64_t i, va, val, done = 0;

	for (i = 0; i < n; i++) {
		beside_random(&seed);
		va = an_address(seed);
		val = 0;
		switch (below(10)) {
		case 0 ... 1:
			check_answer(call(seed));
			break;
		case 2:
			/* in SMM each call is refused */
			if (!in_smm)
				change(seed);
			break;
		case 3 ... 4:
			try_vmfunc(0, below(8));
			break;
		case 5:
			done += try_write(va + PAGE - 8, seed) == -1;
			break;
		case 6:
			/* KVM writes, or reads, on its behalf */
			if (below(2))
				try_movsl(va + PAGE - 16, IOAPIC);
			else
				try_movsl(IOAPIC, va);
			break;
		default:
			done += try_read(va, &val) == -1;
			if (val == POISON)
				return val;
		}
	}
	gc_cpu()->exceptions = done;
	return 0;
}

/* Run until the function ends, the vCPU is stopped or started anew. */
static uint64_t run(struct vcpu *v, uint64_t n, uint64_t seed, bool in_smm)
{
	uint64_t ret;
	int r;

	vcpu_prepare(v, (guest_fn)(void *)guest_acts, (uint64_t[4]) { n, seed, in_smm });
	for (;;) {
		while (atomic_load(&halted) && !atomic_load(&stop))
			usleep(100);
		r = vcpu_run_once(v);
		if (r == -EINTR) {
			v->run->immediate_exit = 0;
			stops[v->id]++;
			continue;
		}
		if (r == -EFAULT)
			return 0;
		check_eq(r, 0);
		if (v->run->exit_reason == KVM_EXIT_MMIO) {
			memset(v->run->mmio.data, 0, 8);
			continue;
		}
		if (vcpu_done(v, &ret))
			return ret;
		vcpu_unexpected(v);
	}
}

static void set_smm(struct vcpu *v, bool on)
{
	struct kvm_vcpu_events e = { .flags = KVM_VCPUEVENT_VALID_SMM,
				     .smi.smm = on };

	vm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &e);
}

/* INIT comes, whatever the vCPU was in. */
static void init(struct vcpu *v)
{
	struct kvm_vcpu_events e = { .flags = KVM_VCPUEVENT_VALID_SMM,
				     .smi.latched_init = 1 };
	struct kvm_mp_state mp;

	vm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &e);
	vm_ioctl(v->fd, KVM_GET_MP_STATE, &mp);
	check_eq(mp.mp_state, v->id ? KVM_MP_STATE_INIT_RECEIVED :
				      KVM_MP_STATE_RUNNABLE);
	mp.mp_state = KVM_MP_STATE_RUNNABLE;
	vm_ioctl(v->fd, KVM_SET_MP_STATE, &mp);
	vcpu_long_mode(v);
	inits[v->id]++;
}

static void *act(void *arg)
{
	struct vcpu *v = arg;
	uint64_t seed = v->id + 7;

	beside_stay_on(v->id);
	while (!atomic_load(&stop) && !bad[v->id]) {
		beside_random(&seed);
		if (below(8) == 0) {
			set_smm(v, true);
			bad[v->id] = run(v, 20, seed, true);
			set_smm(v, false);
			smm[v->id]++;
		}
		bad[v->id] |= run(v, 60, seed, false);
		looks[v->id] += v->g->exceptions;
		calls[v->id] = kvm_stat_of(v->fd, "hypercalls");
		if (below(32) == 0)
			init(v);
	}
	return NULL;
}

/* What was freed just now, full of this, stays so. */
static void reuse(void)
{
	uint64_t i, *p;

	p = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	check(p != MAP_FAILED);
	for (i = 0; i < MIB / 8; i++)
		p[i] = POISON;
	usleep(500);
	for (i = 0; i < MIB / 8; i++)
		check_eq(p[i], POISON);
	munmap(p, MIB);
}

/* Half of the RAM comes when it is asked for, and then takes its time. */
#define LATER		(BESIDE_SIZE / 2)

static int file, later;
static bool alone;	/* the one process that can be killed for memory */
static void *spare;

static void take(uint64_t n, uint64_t seed)
{
	static uint64_t bits[BESIDE_FRAMES / 64];
	struct kvm_dirty_log log = { .slot = FIRST_TEST_SLOT,
				     .dirty_bitmap = bits };
	uint64_t page = below(BESIDE_FRAMES - 64), count = 1 + below(64);
	void *at = ram + page * 512;
	pid_t child;

	switch (n % 10) {
	case 0:
		madvise(at, count * PAGE, MADV_DONTNEED);
		break;
	case 1:
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, 0, 0);
		madvise(at, count * PAGE, MADV_DONTNEED);
		reuse();
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, BESIDE_SIZE, 0);
		break;
	case 2:
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, BESIDE_SIZE,
			below(2) ? KVM_MEM_LOG_DIRTY_PAGES : 0);
		__vm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, (unsigned long)&log);
		break;
	case 3:
		vm_ioctl(vm->fd, KVM_SET_NR_MMU_PAGES, below(2) ? 64 : 2000);
		break;
	case 4:
		/* over an entry of the first root */
		vm_slot(vm, FIRST_TEST_SLOT, REGION_GPA(1), ram, BESIDE_SIZE, 0);
		reuse();
		vm_slot(vm, FIRST_TEST_SLOT, TEST_GPA, ram, BESIDE_SIZE, 0);
		break;
	case 5:
		mprotect(at, count * PAGE, below(2) ? PROT_READ : PROT_NONE);
		usleep(500);
		mprotect(at, count * PAGE, PROT_READ | PROT_WRITE);
		break;
	case 6:
		at = ram + page % (LATER / PAGE - 16) * 512;
		check(mmap(at, 16 * PAGE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_FIXED, file, 0) == at);
		check_eq(fallocate(file, FALLOC_FL_PUNCH_HOLE |
				   FALLOC_FL_KEEP_SIZE, 0, 8 * PAGE), 0);
		reuse();
		check(mmap(at, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			   MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
		break;
	case 7:
		madvise(it->pages[NR_ROOTS + below(NR_PAGES - NR_ROOTS)], PAGE,
			MADV_DONTNEED);
		break;
	case 8:
		if (alone)
			break;
		child = fork();
		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
		break;
	default:
		vm_slot(vm, FIRST_TEST_SLOT + 1, 3 * GIB, spare, PAGE, 0);
		vm_slot(vm, FIRST_TEST_SLOT + 1, 3 * GIB, spare, 0, 0);
	}
	reuse();
}

static void *take_on(void *arg)
{
	uint64_t seed = 5, n;

	beside_stay_on(1);
	for (n = 0; !atomic_load(&stop); n++) {
		take(n, seed);
		beside_random(&seed);
	}
	return (void *)n;
	(void)arg;
}

static atomic_int served, all_left;

static void *serve(void *arg)
{
	struct pollfd p = { .fd = (uintptr_t)arg, .events = POLLIN };
	struct uffdio_zeropage zero = { .range.len = PAGE };
	struct uffd_msg msg;
	uint64_t seed = 13;

	while (!atomic_load(&all_left)) {
		if (poll(&p, 1, 20) != 1 ||
		    read(p.fd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		usleep(below(4) * 300);
		beside_random(&seed);
		zero.range.start = msg.arg.pagefault.address & ~(PAGE - 1);
		ioctl(p.fd, UFFDIO_ZEROPAGE, &zero);
		atomic_fetch_add(&served, 1);
	}
	close(p.fd);
	return NULL;
}

static void nothing(int sig)
{
	(void)sig;
}

static struct kvm_pvvas_record records[2][MAX_RECORDS];
static uint64_t nr_records[2], ops[4], refused[4];

static int state(uint32_t op, int which, uint64_t seed)
{
	struct kvm_pvvas_record *rec = records[which];
	struct kvm_pvvas_state s = { .size = sizeof(s), .op = op,
		.records = (uint64_t)rec,
		.nr = op == KVM_PVVAS_SET ? nr_records[which] : MAX_RECORDS };
	uint64_t *word, was;
	int r;

	word = (uint64_t *)rec + below(nr_records[which] * 5 + 1);
	was = *word;
	if (op == KVM_PVVAS_SET && below(4) == 0)
		*word += 1;
	r = __vm_ioctl(vm->fd, KVM_PVVAS_STATE, (unsigned long)&s);
	if (op == KVM_PVVAS_SET)
		*word = was;
	if (op == KVM_PVVAS_GET && !r)
		nr_records[which] = s.nr;
	if (r)
		refused[op]++;
	else
		ops[op]++;
	return r;
}

/* One of two VMMs at once; the first stops the vCPUs now and then. */
static void *manage(void *arg)
{
	int which = (uintptr_t)arg, i, r = 0, k;
	uint64_t seed = 11 + which;
	uint32_t op;

	while (!atomic_load(&stop)) {
		if (which == 0 && below(2)) {
			atomic_store(&halted, 1);
			for (k = 0; k < 100 && !atomic_load(&stop); k++) {
				for (i = 0; i < NR_VCPUS; i++) {
					vm->vcpus[i].run->immediate_exit = 1;
					pthread_kill(threads[i], SIGUSR1);
				}
				op = 1 + below(3);
				r = state(op, which, seed);
				if (r != -EBUSY)
					break;
				usleep(100);
			}
			atomic_store(&halted, 0);
		} else {
			r = state(1 + below(3), which, seed);
		}
		check(!r || r == -EBUSY || r == -ENOENT || r == -EEXIST ||
		      r == -EINVAL || r == -ENOSPC || r == -EFAULT);
		beside_random(&seed);
		usleep(1000 + below(4000));
	}
	return NULL;
}


static void begin(void)
{
	struct kvm_pvvas_config c = { .size = sizeof(c), .max_ctxs = 6,
				      .max_views = 20 };
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct sigaction sa = { .sa_handler = nothing };
	int i;

	check_eq(sigaction(SIGUSR1, &sa, NULL), 0);
	vm = vm_bare();
	check_eq(vm_enable_pvvas(vm, &c), 0);
	vm_ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	for (i = 0; i < NR_VCPUS; i++)
		vm_ioctl(vm_add_vcpu(vm)->fd, KVM_SET_MP_STATE, &runnable);
	vm_smm(vm);
	ram = beside_ram(vm);
	vm_slot(vm, FIRST_TEST_SLOT | VM_SMM_SLOTS, TEST_GPA, ram, BESIDE_SIZE, 0);
	it = vm_shared(sizeof(*it));
	for (i = 0; i < NR_PAGES; i++)
		it->pages[i] = i < NR_ROOTS ? root_new(vm) : vm_shared(PAGE);
	spare = vm_mem(PAGE);
	later = beside_come_later((char *)ram + LATER);
	/* a fault may be gone between poll() and read() */
	check_eq(fcntl(later, F_SETFL, O_NONBLOCK), 0);
	file = memfd_create("memory", 0);
	check_eq(ftruncate(file, 16 * PAGE), 0);
}

static void besiege(unsigned int ms)
{
	uint64_t sum = 0, i;
	pthread_t others[4];
	void *taken;

	begin();
	for (i = 0; i < NR_VCPUS; i++)
		check_eq(pthread_create(&threads[i], NULL, act, &vm->vcpus[i]), 0);
	check_eq(pthread_create(&others[0], NULL, take_on, NULL), 0);
	for (i = 0; i < 2; i++)
		check_eq(pthread_create(&others[1 + i], NULL, manage, (void *)i), 0);
	check_eq(pthread_create(&others[3], NULL, serve, (void *)(uintptr_t)later), 0);
	for (i = 0; i < ms && !bad[0] && !bad[1] && !bad[2]; i += 100)
		usleep(100000);
	atomic_store(&stop, 1);
	for (i = 0; i < NR_VCPUS; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&all_left, 1);
	pthread_join(others[3], NULL);
	pthread_join(others[0], &taken);
	for (i = 0; i < 2; i++)
		pthread_join(others[1 + i], NULL);
	for (i = 0; i < NR_VCPUS; i++) {
		host_note("vCPU %lu: %lu looks, %lu hypercalls, stopped %lu times, %lu in SMM, %lu INITs",
			  i, looks[i], calls[i], stops[i], smm[i], inits[i]);
		check_eq(bad[i], 0);
		sum += looks[i];
	}
	host_note("memory taken %lu times, %u pages came later; saved %lu (%lu refused), restored %lu (%lu), reset %lu (%lu)",
		  (uint64_t)taken, served, ops[KVM_PVVAS_GET], refused[KVM_PVVAS_GET],
		  ops[KVM_PVVAS_SET], refused[KVM_PVVAS_SET],
		  ops[KVM_PVVAS_RESET], refused[KVM_PVVAS_RESET]);
	check(sum && taken && ops[KVM_PVVAS_GET] && ops[KVM_PVVAS_SET] &&
	      ops[KVM_PVVAS_RESET]);
	vm_free(vm);
}

static void nothing_of_the_hosts_is_seen_or_written(void)
{
	besiege(20000);
}

/* The VMM's cgroup has no more memory, whatever its threads are at. */
#define GROUPS		"/tmp/groups/"
#define GROUP		GROUPS "siege/"

static void *eat(void *arg)
{
	for (;;) {
		memset(vm_mem(MIB), 1, MIB);
		usleep(20000);
	}
	return arg;
}

static void nothing_is_left_of_one_that_is_out_of_memory(void)
{
	int i, status;
	pthread_t t;
	pid_t child;

	mkdir(GROUPS, 0700);
	check_eq(mount("none", GROUPS, "cgroup2", 0, NULL), 0);
	host_put(GROUPS "cgroup.subtree_control", "+memory");
	mkdir(GROUP, 0700);
	for (i = 0; i < 4; i++) {
		host_put(GROUP "memory.max", "%d", (24 + 5 * i) << 20);
		child = fork();
		check(child >= 0);
		if (!child) {
			host_put(GROUP "cgroup.procs", "0");
			alone = true;
			check_eq(pthread_create(&t, NULL, eat, NULL), 0);
			besiege(600000);
			_exit(0);
		}
		check_eq(waitpid(child, &status, 0), child);
		check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	check_eq(rmdir(GROUP), 0);
	umount2(GROUPS, MNT_DETACH);
}

static const struct hostcase cases[] = {
	CASE_SECONDS(nothing_of_the_hosts_is_seen_or_written, 240),
	CASE_SECONDS(nothing_is_left_of_one_that_is_out_of_memory, 240),
};

HOSTCASE_MAIN(cases)
