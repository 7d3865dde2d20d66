/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host half of tests/host: VMs and vCPUs straight from /dev/kvm. The
 * guest runs functions of the same program, see guest.h.
 */
#ifndef VM_H
#define VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/kvm.h>
#include <asm/kvm_pvvas.h>

#include "guest.h"
#include "hostcase.h"

/* Guest-physical addresses that a test may put memory at, up to 4 GiB. */
#define TEST_GPA	0x40000000ULL
#define FIRST_TEST_SLOT	2

#define PAGE		4096ULL
#define MIB		(1ULL << 20)
#define GIB		(1ULL << 30)

#define MAX_VCPUS	8

struct vm;

struct vcpu {
	struct vm *vm;
	int id;
	int fd;
	struct kvm_run *run;
	struct gcpu *g;
	uint64_t stack;		/* top, for CPL 0 */
	uint64_t *args;
	bool user;		/* call functions at CPL 3 */
	bool interrupted;	/* vcpu_try_call() came back because of a signal */
};

struct vm {
	int kvm;
	int fd;
	int nr_vcpus;
	struct kvm_pvvas_config config;
	struct kvm_cpuid2 *cpuid;
	struct vcpu vcpus[MAX_VCPUS];
};

/* ioctl()s: the first must succeed, the twin returns 0 or more, or -errno. */
#define vm_ioctl(fd, req, arg) \
	({ \
		long r__ = __vm_ioctl(fd, req, (unsigned long)(arg)); \
		if (r__ < 0) \
			host_fail(__FILE__, __LINE__, #req ": %ld", r__); \
		r__; \
	})
long __vm_ioctl(int fd, unsigned long req, unsigned long arg);

/* A VM with program and arena, without vCPUs and without views. */
struct vm *vm_bare(void);
/* KVM_ENABLE_CAP(KVM_CAP_PVVAS); 0 or -errno. */
int vm_enable_pvvas(struct vm *vm, struct kvm_pvvas_config *config);
struct vcpu *vm_add_vcpu(struct vm *vm);
/* What vCPUs in SMM see: program and arena; slots of theirs have this bit. */
#define VM_SMM_SLOTS	(1U << 16)
void vm_smm(struct vm *vm);
/* All of it, with default limits. */
struct vm *vm_new(int nr_vcpus);
struct vm *vm_new_config(int nr_vcpus, const struct kvm_pvvas_config *config);
void vm_free(struct vm *vm);

/* Size 0 deletes. */
#define vm_slot(vm, slot, gpa, mem, size, flags) \
	vm_ioctl((vm)->fd, KVM_SET_USER_MEMORY_REGION, \
		 (&(struct kvm_userspace_memory_region){ \
			slot, flags, gpa, size, (unsigned long)(mem) }))
/* Anonymous memory of the host, 2 MiB aligned, without huge pages, zeroed. */
void *vm_mem(size_t size);
/* The two together. */
void *vm_ram(struct vm *vm, uint32_t slot, uint64_t gpa, size_t size,
	     uint32_t flags);
/* Memory that guest and host see at one address. */
void *vm_shared(size_t size);

/*
 * Run a function in the guest until it returns. The twin gives -errno if
 * KVM_RUN fails, with EINTR when a signal came.
 */
typedef uint64_t (*guest_fn)(uint64_t, uint64_t, uint64_t, uint64_t);
#define vcpu_call(v, fn, ...) \
	vcpu_call_args(v, (guest_fn)(void *)(fn), (const uint64_t[4]) \
		       { __VA_ARGS__ })
uint64_t vcpu_call_args(struct vcpu *v, guest_fn fn, const uint64_t *args);
/* The same at CPL 3. */
#define vcpu_user(v, fn, ...) \
	vcpu_user_args(v, (guest_fn)(void *)(fn), (const uint64_t[4]) \
		       { __VA_ARGS__ })
uint64_t vcpu_user_args(struct vcpu *v, guest_fn fn, const uint64_t *args);
/* In two halves, for exits in between: KVM_RUN once, and what came of it. */
void vcpu_prepare(struct vcpu *v, guest_fn fn, const uint64_t *args);
int vcpu_run_once(struct vcpu *v);
bool vcpu_done(struct vcpu *v, uint64_t *ret);
void vcpu_unexpected(struct vcpu *v) __attribute__((noreturn));
/* Long mode at CPL 0 with the arena's tables, as at the start. */
void vcpu_long_mode(struct vcpu *v);

/* Counters, by name, from the binary statistics of a VM or a vCPU. */
uint64_t kvm_stat_of(int fd, const char *name);
/* The same with what KVM_GET_STATS_FD gave; its owner may be another process. */
uint64_t kvm_stat_read(int stats, const char *name);

/* Single steps in the guest that tests call from the host; see steps.c. */
long vcpu_hc(struct vcpu *v, uint64_t nr, uint64_t a, uint64_t b, uint64_t c);
/* One that must not fail. */
#define vcpu_hc_ok(v, nr, a, b, c) \
	({ \
		long h__ = vcpu_hc(v, nr, (uint64_t)(a), (uint64_t)(b), \
				   (uint64_t)(c)); \
		if (h__ < 0) \
			host_fail(__FILE__, __LINE__, #nr ": %ld", h__); \
		h__; \
	})
/* Go to a slot, and check the identity page if it shall be a given view. */
void vcpu_vmfunc(struct vcpu *v, uint64_t slot);
uint64_t vcpu_view(struct vcpu *v);
/* Access, and no fault. */
uint64_t vcpu_peek(struct vcpu *v, uint64_t va);
void vcpu_poke(struct vcpu *v, uint64_t va, uint64_t val);
/* Access: the vector or -1. */
long vcpu_try_peek(struct vcpu *v, uint64_t va);
long vcpu_try_poke(struct vcpu *v, uint64_t va, uint64_t val);
/* The same with VMFUNC. */
long vcpu_try_vmfunc(struct vcpu *v, uint64_t eax, uint64_t ecx);
/* A read that has to be one of no memory at @gpa. */
void vcpu_check_mmio(struct vcpu *v, uint64_t va, uint64_t gpa);
void vcpu_stats(struct vcpu *v, struct pvvas_hc_stats *s);

/* The same with four arguments. */
long vcpu_hc4(struct vcpu *v, uint64_t nr, uint64_t a, uint64_t b, uint64_t c,
	      uint64_t d);

/*
 * Tables as a guest kernel has them, in tables.c. The RAM of every view is one
 * subtree of 1 GiB entries. A segment is what a range of the window shows,
 * wherever it is attached; it begins and ends at 2 MiB. All of these must not
 * fail, but the hypercalls' results of the twins.
 */
#define SEG_SMALL	1U	/* only entries of 4 KiB */
#define SEG_DEMAND	2U	/* empty entries, and those without a right, ask */

uint64_t window_gpa(struct vm *vm, uint64_t va);
uint64_t seg_new(struct vm *vm, uint64_t va, uint64_t size, uint32_t flags);
/* Store; @v invalidates what it has to. */
void seg_map(struct vcpu *v, uint64_t seg, uint64_t offset, uint64_t gpa,
	     uint64_t size, uint32_t prot);
void seg_unmap(struct vcpu *v, uint64_t seg, uint64_t offset, uint64_t size);
void seg_rights(struct vcpu *v, uint64_t seg, uint64_t offset, uint64_t size,
		 uint32_t prot);
/* The level 1 table of 2 MiB of a segment, for tests that store themselves. */
uint64_t *seg_table(uint64_t seg, uint64_t offset);

/* A root with RAM and an identity page; for tests that call themselves. */
uint64_t *root_new(struct vm *vm);
/* The identity page that a root shows. */
struct pvvas_identity *root_identity(uint64_t *root);
/* The entry of 512 GiB or 1 GiB of a root, and of 2 MiB, made if there is none. */
uint64_t *root_gib(struct vm *vm, uint64_t *root, uint64_t va);
uint64_t *root_2mib(struct vm *vm, uint64_t *root, uint64_t va);

uint64_t ctx_new(struct vcpu *v);
uint64_t view_new(struct vcpu *v, uint64_t ctx, uint64_t slot, uint64_t cookie);
uint64_t *view_root(uint64_t view);
void view_attach(struct vcpu *v, uint64_t view, uint64_t seg, uint32_t prot);
void view_detach(struct vcpu *v, uint64_t view, uint64_t seg);
void view_destroy(struct vcpu *v, uint64_t view);
/* The same identity page in other words: after VIEW_PLACE. */
void view_placed(uint64_t view, uint32_t slot);
/* Forget tables and objects that this library knows of: after a reset. */
void tables_reset(void);

/*
 * What most tests begin with: RAM at TEST_GPA behind a segment at WINDOW_FREE,
 * and views of it in slots 1.., the context loaded, the plain view in force.
 */
struct scene {
	struct vm *vm;
	struct vcpu *v;
	uint64_t *ram;
	uint64_t size;
	uint64_t ctx;
	uint64_t seg;
	uint32_t flags;		/* SEG_* */
	uint64_t view[8];
};

void scene_make(struct scene *s, struct vm *vm, uint64_t size, int nr_views);
/* The same over memory that is in the VM already. */
void scene_over(struct scene *s, struct vm *vm, uint64_t gpa, uint64_t size,
		int nr_views);

#endif /* VM_H */
