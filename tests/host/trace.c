// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tracepoints: what happens to views is seen in tracefs, with the objects that
 * it happens to, and nothing is when they are off.
 */
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
	static const char * const names[] = { "switch", "link", "fault", "fill",
					      "zap", "flush" };
	char file[128];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(file, sizeof(file),
			 TRACING "events/kvm/kvm_pvvas_%s/enable", names[i]);
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

static void a_switch_is_seen_at_the_next_exit(void)
{
	begin();
	vcpu_vmfunc(v, 1);
	expect(1, "kvm_pvvas_switch: vcpu 0 ctx %lu view 0 -> %lu", s.ctx,
	       s.view[0]);
	vcpu_vmfunc(v, 2);
	expect(1, "kvm_pvvas_switch: vcpu 0 ctx %lu view %lu -> %lu", s.ctx,
	       s.view[0], s.view[1]);
	/* none is none */
	vcpu_vmfunc(v, 2);
	expect(2, "kvm_pvvas_switch:");
	vcpu_vmfunc(v, 0);
	expect(1, "kvm_pvvas_switch: vcpu 0 ctx %lu view %lu -> 0", s.ctx,
	       s.view[1]);
	end();
}

static void links_are_seen(void)
{
	begin();
	vcpu_hc_ok(v, PVVAS_HC_VIEW_DETACH, s.view[0], s.seg, 0);
	expect(1, "kvm_pvvas_link: detach view %lu seg %lu gfn %lx pages 200",
	       s.view[0], s.seg, gfn);
	expect(1, "kvm_pvvas_flush: pvvas_view_detach");
	vcpu_hc_ok(v, PVVAS_HC_VIEW_ATTACH, s.view[0], s.seg, PVVAS_PROT_READ);
	expect(1, "kvm_pvvas_link: attach view %lu seg %lu gfn %lx pages 200 prot r--",
	       s.view[0], s.seg, gfn);
	end();
}

static void faults_are_seen(void)
{
	begin();
	vcpu_vmfunc(v, 1);
	forget();
	vcpu_poke(v, AT(3), 1);
	expect(1, "kvm_pvvas_fault: vcpu 0 view %lu gpa %llx access -w-: retry",
	       s.view[0], (gfn + 3) * PAGE);
	expect(1, "kvm_pvvas_fill: seg %lu gfn %lx is %llx level 1", s.seg,
	       gfn + 3, TEST_GPA / PAGE + 3);
	check_eq(vcpu_try_peek(v, AT(1000)), PF_VECTOR);
	expect(1, "kvm_pvvas_fault: vcpu 0 view %lu gpa %llx access r--: reflect",
	       s.view[0], (gfn + 1000) * PAGE);
	/* no fault, no line */
	vcpu_vmfunc(v, 2);
	forget();
	vcpu_poke(v, AT(3), 2);
	expect(0, "kvm_pvvas_fault:");
	end();
}

static void zaps_and_flushes_are_seen(void)
{
	int i;

	begin();
	vcpu_vmfunc(v, 1);
	for (i = 0; i < 8; i++)
		vcpu_poke(v, AT(i), 1);
	forget();
	check_eq(vcpu_map(v, PVVAS_HC_SEG_UNMAP, s.seg, 0, 0, 2 * PAGE, 0), 1);
	expect(1, "kvm_pvvas_zap: seg %lu gfns %lx-%lx: 2 leaves", s.seg, gfn,
	       gfn + 2);
	expect(1, "kvm_pvvas_flush: pvvas_unmap_one");
	check_eq(madvise((char *)s.ram + 4 * PAGE, 3 * PAGE, MADV_DONTNEED), 0);
	expect(1, "kvm_pvvas_zap: seg %lu gfns %lx-%lx: 3 leaves", s.seg,
	       gfn + 4, gfn + 7);
	/* nothing there, nothing said */
	forget();
	check_eq(madvise((char *)s.ram + 4 * PAGE, 3 * PAGE, MADV_DONTNEED), 0);
	expect(0, "kvm_pvvas_");
	end();
}

static void nothing_is_seen_when_they_are_off(void)
{
	begin();
	set_events("0");
	vcpu_vmfunc(v, 1);
	vcpu_poke(v, AT(3), 1);
	vcpu_hc_ok(v, PVVAS_HC_VIEW_DETACH, s.view[0], s.seg, 0);
	expect(0, "kvm_pvvas_");
	end();
}

static const struct hostcase cases[] = {
	CASE(a_switch_is_seen_at_the_next_exit),
	CASE(links_are_seen),
	CASE(faults_are_seen),
	CASE(zaps_and_flushes_are_seen),
	CASE(nothing_is_seen_when_they_are_off),
};

HOSTCASE_MAIN(cases)
