// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tracepoints: what happens to views is seen in tracefs, with the objects that
 * it happens to, and nothing is when they are off.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm.h"

#define PF_VECTOR	14
#define SIZE		(2 * MIB)
#define AT(page)	(WINDOW_FREE + (page) * PAGE)
#define TRACING		"/sys/kernel/tracing/instances/views/"

static struct vm *vm;
static struct vcpu *v;
static struct scene s;
static uint64_t gfn;

static void set_events(const char *val)
{
	static const char * const names[] = { "pvvas_fault", "hypercall",
		"inj_exception" };
	char file[128];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(file, sizeof(file),
			 TRACING "events/kvm/kvm_%s/enable", names[i]);
		host_put(file, "%s", val);
	}
}

/* How many lines have this text; fails where there must be some. */
static int lines_with(const char *text)
{
	char line[512];
	int n = 0;
	FILE *f;

	f = fopen(TRACING "trace", "r");
	check(f);
	while (fgets(line, sizeof(line), f))
		n += line[0] != '#' && strstr(line, text);
	fclose(f);
	return n;
}

static void expect(int n, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void expect(int n, const char *format, ...)
{
	char text[256];
	va_list ap;
	int got;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	got = lines_with(text);
	if (got != n)
		host_fail(__FILE__, __LINE__, "%d lines, not %d, have \"%s\"",
			  got, n, text);
}

static void forget(void)
{
	host_put(TRACING "trace", "\n");
}

static void begin(void)
{
	if (mkdir(TRACING, 0700))
		check(!access(TRACING, F_OK));
	vm = vm_new(1);
	v = &vm->vcpus[0];
	scene_make(&s, vm, SIZE, 2);
	gfn = window_gpa(vm, WINDOW_FREE) / PAGE;
	set_events("1");
	forget();
}

static void end(void)
{
	set_events("0");
	vm_free(vm);
	rmdir(TRACING);
}

/* KVM's own event. */
static void hypercalls_are_seen(void)
{
	uint64_t view;

	begin();
	view = view_new(v, s.ctx, 7, 0xabc);
	expect(1, "kvm_hypercall: nr 0x106 a0 0x%lx a1 0x7 a2 0x%lx a3 0xabc",
	       s.ctx, (uint64_t)view_root(view));
	end();
}

/* What is refused is KVM's own event, too. */
static void faults_are_seen(void)
{
	begin();
	vcpu_vmfunc(v, 1);
	forget();
	vcpu_poke(v, AT(3), 1);
	expect(1, "kvm_pvvas_fault: vcpu 0 view %lu gpa %llx", s.view[0],
	       (gfn + 3) * PAGE);
	expect(0, "kvm_inj_exception: #PF");
	check_eq(vcpu_try_peek(v, AT(1000)), PF_VECTOR);
	expect(1, "kvm_pvvas_fault: vcpu 0 view %lu gpa %llx", s.view[0],
	       (gfn + 1000) * PAGE);
	/* delivering it may fault as well, and is begun again then */
	expect(1, "kvm_inj_exception: #PF (0x8001)\n");
	/* no fault, no line */
	vcpu_vmfunc(v, 2);
	vcpu_poke(v, AT(3), 2);
	forget();
	vcpu_poke(v, AT(3), 2);
	expect(0, "kvm_pvvas_fault:");
	end();
}

static void nothing_is_seen_when_they_are_off(void)
{
	begin();
	set_events("0");
	vcpu_vmfunc(v, 1);
	vcpu_poke(v, AT(3), 1);
	view_detach(v, s.view[0], s.seg);
	expect(0, "kvm_");
	end();
}

static const struct hostcase cases[] = {
	CASE(hypercalls_are_seen),
	CASE(faults_are_seen),
	CASE(nothing_is_seen_when_they_are_off),
};

HOSTCASE_MAIN(cases)
