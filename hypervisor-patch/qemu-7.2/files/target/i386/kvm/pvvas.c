/*
 * EPT views for KVM guests
 *
 * The CPU property kvm-pvvas=on asks KVM for views before the first vCPU is
 * created, and shows the guest the feature bit.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "qapi/error.h"
#include "sysemu/kvm.h"
#include "migration/blocker.h"
#include "asm-x86/kvm_pvvas.h"
#include "linux/pvvas_para.h"
#include "pvvas.h"

/* KVM switches it on once for the whole VM, with the first CPU's limits. */
static struct kvm_pvvas_config enabled;

/* Half of what the guest can address, for as long as four levels reach it. */
static uint64_t default_window(X86CPU *cpu)
{
    unsigned bits = cpu->phys_bits ?: 40;

    return 1ULL << (MIN(bits, 48) - 1);
}

static bool same_limits(X86CPU *cpu)
{
    return (!cpu->pvvas_max_ctxs || cpu->pvvas_max_ctxs == enabled.max_ctxs) &&
           (!cpu->pvvas_max_views ||
            cpu->pvvas_max_views == enabled.max_views) &&
           (!cpu->pvvas_max_segs || cpu->pvvas_max_segs == enabled.max_segs);
}

static bool enable(X86CPU *cpu, Error **errp)
{
    struct kvm_pvvas_config config = {
        .size = sizeof(config),
        .window_gpa = cpu->pvvas_window ?: default_window(cpu),
        .window_size = cpu->pvvas_window_size,
        .max_ctxs = cpu->pvvas_max_ctxs,
        .max_views = cpu->pvvas_max_views,
        .max_segs = cpu->pvvas_max_segs,
        .max_extents = cpu->pvvas_max_extents,
        .max_tables = cpu->pvvas_max_tables,
    };
    Error *blocker = NULL;
    int ret;

    if (!kvm_vm_check_extension(kvm_state, KVM_CAP_PVVAS)) {
        error_setg(errp, "kvm-pvvas=on: KVM on this host has no EPT views "
                   "(patched modules, an Intel CPU with VMFUNC, and the "
                   "parameters ept, eptad, vpid, unrestricted_guest and "
                   "tdp_mmu on are needed)");
        return false;
    }
    ret = kvm_vm_enable_cap(kvm_state, KVM_CAP_PVVAS, 0, (uintptr_t)&config);
    if (ret == -EINVAL) {
        error_setg(errp, "kvm-pvvas=on: KVM refuses the limits: the window "
                   "(0x%" PRIx64 ", size 0x%" PRIx64 ") must be whole multiples "
                   "of 512 GiB that the CPU can address, and no limit may "
                   "exceed the host's module parameters",
                   (uint64_t)config.window_gpa, (uint64_t)config.window_size);
        return false;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "kvm-pvvas=on: KVM_ENABLE_CAP");
        return false;
    }
    error_setg(&blocker, "EPT views (kvm-pvvas=on) cannot be migrated");
    if (migrate_add_blocker(blocker, errp) < 0) {
        error_free(blocker);
        return false;
    }
    enabled = config;
    return true;
}

/* Features are expanded and filtered, phys_bits is known, no vCPU exists yet. */
bool kvm_pvvas_realize(X86CPU *cpu, Error **errp)
{
    CPUX86State *env = &cpu->env;

    if (!cpu->kvm_pvvas) {
        return true;
    }
    if (env->user_features[FEAT_1_ECX] & env->features[FEAT_1_ECX] &
        CPUID_EXT_VMX) {
        error_setg(errp, "kvm-pvvas=on excludes vmx=on: KVM cannot give EPT "
                   "views to a CPU that runs guests of its own");
        return false;
    }
    /* "-cpu host" brings VMX along where the user did not ask for it. */
    env->features[FEAT_1_ECX] &= ~CPUID_EXT_VMX;

    if (!enabled.size) {
        if (!enable(cpu, errp)) {
            return false;
        }
    } else if (!same_limits(cpu)) {
        error_setg(errp, "kvm-pvvas: all CPUs must have the same limits");
        return false;
    }
    env->features[FEAT_KVM] |= 1U << KVM_FEATURE_PVVAS;
    return true;
}
