// SPDX-License-Identifier: GPL-2.0-only
#include "guest.h"

/* What the entries below push. */
struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

/* Vectors 8, 10-14, 17, 21, 29 and 30 come with an error code. */
asm(".text\n"
    ".balign 16\n"
    "gc_vectors:\n"
    ".set vec, 0\n"
    ".rept 32\n"
    "	.balign 16\n"
    "	.if (0x60227d00 >> vec) & 1 == 0\n"
    "	pushq $0\n"
    "	.endif\n"
    "	pushq $vec\n"
    "	jmp gc_common\n"
    "	.set vec, vec + 1\n"
    ".endr\n"
    ".globl gc_vectors\n"
    "gc_common:\n"
    "	push %rax; push %rbx; push %rcx; push %rdx; push %rsi; push %rdi\n"
    "	push %rbp; push %r8; push %r9; push %r10; push %r11; push %r12\n"
    "	push %r13; push %r14; push %r15\n"
    "	cld\n"
    "	mov %rsp, %rdi\n"
    "	mov %rsp, %rbp\n"
    "	and $-16, %rsp\n"
    "	call gc_exception\n"
    "	mov %rbp, %rsp\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %r11; pop %r10\n"
    "	pop %r9; pop %r8; pop %rbp; pop %rdi; pop %rsi; pop %rdx\n"
    "	pop %rcx; pop %rbx; pop %rax\n"
    "	add $16, %rsp\n"
    "	iretq\n"
    /* gc_user(fn, args): selectors as in vm.c, IOPL 3 for ucalls */
    ".globl gc_user\n"
    "gc_user:\n"
    "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	mov %rsp, %gs:8\n"
    "	mov %gs:96, %rax\n"
    "	pushq $0x1b\n"
    "	pushq %rax\n"
    "	pushq $0x3202\n"
    "	pushq $0x23\n"
    "	lea 1f(%rip), %rax\n"
    "	pushq %rax\n"
    "	iretq\n"
    "1:	mov %rdi, %rax\n"
    "	mov %rsi, %r8\n"
    "	mov (%r8), %rdi\n"
    "	mov 8(%r8), %rsi\n"
    "	mov 16(%r8), %rdx\n"
    "	mov 24(%r8), %rcx\n"
    "	call *%rax\n"
    "	int $0x80\n"
    ".globl gc_vector_user_end\n"
    "gc_vector_user_end:\n"
    "	mov %gs:8, %rsp\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "	ret\n");

static void ucall(enum ucall_kind kind)
{
	struct gcpu *g = gc_cpu();

	g->ucall.kind = kind;
	asm volatile("out %%al, %0" : : "i"(UCALL_PORT), "a"(0) : "memory");
}

void gc_fail(const char *file, int line, const char *text, uint64_t a,
	     uint64_t b)
{
	struct gcpu *g = gc_cpu();

	g->ucall.file = file;
	g->ucall.line = line;
	g->ucall.text = text;
	g->ucall.a[0] = a;
	g->ucall.a[1] = b;
	for (;;)
		ucall(UCALL_FAIL);
}

static uint64_t read_cr2(void)
{
	uint64_t v;

	asm volatile("mov %%cr2, %0" : "=r"(v));
	return v;
}

void gc_exception(struct frame *f);
void gc_exception(struct frame *f)
{
	struct gcpu *g = gc_cpu();

	g->cr2 = read_cr2();
	if (f->vector == PVVAS_DEMAND_VECTOR && g->demand) {
		g->demands++;
		g->demand();
		return;
	}
	g->vector = f->vector;
	g->error = f->error;
	g->rip = f->rip;
	g->cs = f->cs;
	g->exceptions++;
	if (!g->recover_rip) {
		for (;;)
			ucall(UCALL_EXCEPTION);
	}
	f->rip = g->recover_rip;
	f->rsp = g->recover_rsp;
	g->recover_rip = 0;
}

void gc_entry(uint64_t (*fn)(uint64_t, uint64_t, uint64_t, uint64_t),
	      const uint64_t *args, uint64_t cpl)
{
	struct gcpu *g = gc_cpu();

	if (cpl)
		g->ucall.a[0] = gc_user(fn, args);
	else
		g->ucall.a[0] = fn(args[0], args[1], args[2], args[3]);
	for (;;)
		ucall(UCALL_DONE);
}
