/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest half of tests/host: functions of the same program, which run in a
 * vCPU. Program and arena lie at the same address in guest and host, so
 * globals are shared; the host's stack, heap and thread-locals are not there.
 * No function here makes a system call.
 *
 * All of guest memory may be used at CPL 3 too.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdint.h>
#include <linux/pvvas_para.h>

/* Where page tables show the window, whatever its guest-physical address. */
#define WINDOW_VA		0x8000000000ULL
/* The first byte of it that segments may use. */
#define WINDOW_FREE		(WINDOW_VA + (1ULL << 39))

#define UCALL_PORT		0x50

enum ucall_kind {
	UCALL_NONE,
	UCALL_DONE,		/* the called function has returned a[0] */
	UCALL_FAIL,		/* a check failed: file, line, text, a[0], a[1] */
	UCALL_EXCEPTION,	/* an exception that is not expected */
};

/* What GS points to in the guest, one of each vCPU; offsets are used in asm. */
struct gcpu {
	struct gcpu *self;	/* 0 */
	uint64_t ksp;		/* 8: where gc_user() goes back to */
	uint64_t recover_rip;	/* 16: an exception is expected */
	uint64_t recover_rsp;	/* 24 */
	int64_t vector;		/* 32: of the newest exception, -1 none */
	uint64_t error;
	uint64_t cr2;
	uint64_t rip;
	uint64_t cs;
	uint64_t exceptions;	/* how many */
	void (*demand)(void);	/* answers vector 9 */
	uint64_t demands;	/* how many */
	uint64_t ustack;	/* top of the stack for CPL 3 */
	struct {
		enum ucall_kind kind;
		int line;
		const char *file;
		const char *text;
		uint64_t a[2];
	} ucall;
};

_Static_assert(__builtin_offsetof(struct gcpu, vector) == 32, "asm");
_Static_assert(__builtin_offsetof(struct gcpu, ustack) == 96, "asm");

static inline struct gcpu *gc_cpu(void)
{
	struct gcpu *g;

	asm volatile("mov %%gs:0, %0" : "=r"(g));
	return g;
}

void gc_fail(const char *file, int line, const char *text, uint64_t a,
	     uint64_t b);

#define gcheck(cond) \
	do { \
		if (!(cond)) \
			gc_fail(__FILE__, __LINE__, #cond, 0, 1); \
	} while (0)

#define gcheck_eq(x, y) \
	do { \
		uint64_t x__ = (uint64_t)(x), y__ = (uint64_t)(y); \
		if (x__ != y__) \
			gc_fail(__FILE__, __LINE__, #x " == " #y, x__, y__); \
	} while (0)

/* A hypercall, and one that must not fail. */
static inline long __hc4(uint64_t nr, uint64_t a, uint64_t b, uint64_t c,
			 uint64_t d)
{
	long ret;

	asm volatile("vmcall" : "=a"(ret)
		     : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
	return ret;
}

static inline long __hc(uint64_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	return __hc4(nr, a, b, c, 0);
}

#define hc(nr, a, b, c) \
	({ \
		long r__ = __hc(nr, (uint64_t)(a), (uint64_t)(b), \
				(uint64_t)(c)); \
		if (r__ < 0) \
			gc_fail(__FILE__, __LINE__, #nr, r__, 0); \
		r__; \
	})

/* What a demand fault says: the address, PVVAS_PROT_WRITE and _EXEC. */
static inline uint64_t gc_demand_address(uint64_t cr2)
{
	uint64_t flip = PVVAS_CR2_WRITE | PVVAS_CR2_EXEC;

	return cr2 >> 63 ? cr2 | flip : cr2 & ~flip;
}

static inline uint32_t gc_demand_access(uint64_t cr2)
{
	uint64_t x = cr2 ^ gc_demand_address(cr2);

	return (x & PVVAS_CR2_WRITE ? PVVAS_PROT_WRITE : 0) |
	       (x & PVVAS_CR2_EXEC ? PVVAS_PROT_EXEC : 0);
}

static inline void vmfunc(uint64_t eax, uint64_t ecx)
{
	asm volatile(".byte 0x0f, 0x01, 0xd4" : : "a"(eax), "c"(ecx)
		     : "memory");
}

/* Around an instruction that may fault; %rax is lost. */
#define GC_TRY(insn) \
	"movq $-1, %%gs:32\n\t" \
	"mov %%rsp, %%gs:24\n\t" \
	"lea 1f(%%rip), %%rax\n\t" \
	"mov %%rax, %%gs:16\n\t" \
	insn "\n" \
	"1: movq $0, %%gs:16"

/* Each returns the vector, or -1; gc_cpu() has the rest. */
static inline long try_read(uint64_t va, uint64_t *val)
{
	uint64_t v = 0;

	asm volatile(GC_TRY("mov (%1), %0") : "+r"(v) : "r"(va)
		     : "rax", "memory");
	if (val)
		*val = v;
	return gc_cpu()->vector;
}

static inline long try_write(uint64_t va, uint64_t val)
{
	asm volatile(GC_TRY("mov %0, (%1)") : : "r"(val), "r"(va)
		     : "rax", "memory");
	return gc_cpu()->vector;
}

static inline long try_call(uint64_t va)
{
	/* beyond what the compiler may keep below the stack pointer */
	asm volatile(GC_TRY("sub $128, %%rsp\n\tcall *%0\n\tadd $128, %%rsp")
		     : : "r"(va)
		     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10",
		       "r11", "memory");
	return gc_cpu()->vector;
}

static inline long try_vmfunc(uint64_t eax, uint64_t ecx)
{
	asm volatile(GC_TRY("mov %0, %%rax\n\t.byte 0x0f, 0x01, 0xd4")
		     : : "r"(eax), "c"(ecx) : "rax", "memory");
	return gc_cpu()->vector;
}

/* Run a function at CPL 3. */
uint64_t gc_user(uint64_t (*fn)(uint64_t, uint64_t, uint64_t, uint64_t),
		 const uint64_t *args);

/* The identity page of the view in force; see tables.c. */
static inline const volatile struct pvvas_identity *gc_identity(void)
{
	return (const volatile struct pvvas_identity *)WINDOW_VA;
}

/* Where KVM_SET_REGS points a vCPU. */
void gc_entry(uint64_t (*fn)(uint64_t, uint64_t, uint64_t, uint64_t),
	      const uint64_t *args, uint64_t cpl);

/* Exception entries, one each 16 bytes; and the one that ends CPL 3. */
extern char gc_vectors[], gc_vector_user_end[];
#define GC_NR_VECTORS	32
#define GC_USER_END	0x80

#endif /* GUEST_H */
