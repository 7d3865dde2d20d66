/*
 * EPT views for KVM guests
 *
 * The CPU property kvm-pvvas=on asks KVM for views before the first vCPU is
 * created, and shows the guest the CPUID leaf.  Their state migrates, and a
 * system reset clears it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "qapi/error.h"
#include "sysemu/kvm.h"
#include "sysemu/reset.h"
#include "migration/vmstate.h"
#include "monitor/monitor.h"
#include "monitor/hmp-target.h"
#include "qemu/error-report.h"
#include "asm-x86/kvm_pvvas.h"
#include "linux/pvvas_para.h"
#include "pvvas.h"

/* KVM switches it on once for the whole VM, with the first CPU's limits. */
static struct kvm_pvvas_config enabled;

/* What goes into the migration stream: KVM's records as they are. */
typedef struct PvvasState {
    uint32_t bytes;
    uint8_t *records;
} PvvasState;

static PvvasState pvvas_state;

static int state_ioctl(uint32_t op, void *records, uint64_t *nr)
{
    struct kvm_pvvas_state arg = {
        .size = sizeof(arg),
        .op = op,
        .records = (uintptr_t)records,
        .nr = *nr,
    };
    int ret = kvm_vm_ioctl(kvm_state, KVM_PVVAS_STATE, &arg);

    *nr = arg.nr;
    return ret;
}

/* The VM is stopped, so the second call finds what the first one counted. */
static int pvvas_pre_save(void *opaque)
{
    PvvasState *s = opaque;
    uint64_t nr = 0;
    int ret;

    ret = state_ioctl(KVM_PVVAS_GET, NULL, &nr);
    if (ret != -E2BIG || nr > UINT32_MAX / sizeof(struct kvm_pvvas_record)) {
        error_report("kvm-pvvas: KVM does not give its state: %s",
                     strerror(ret < 0 ? -ret : E2BIG));
        return -EINVAL;
    }
    s->bytes = nr * sizeof(struct kvm_pvvas_record);
    s->records = g_realloc(s->records, s->bytes);
    ret = state_ioctl(KVM_PVVAS_GET, s->records, &nr);
    if (ret < 0) {
        error_report("kvm-pvvas: KVM does not give its state: %s",
                     strerror(-ret));
    }
    return ret;
}

static int pvvas_post_load(void *opaque, int version_id)
{
    PvvasState *s = opaque;
    uint64_t nr = s->bytes / sizeof(struct kvm_pvvas_record);
    int ret;

    if (s->bytes % sizeof(struct kvm_pvvas_record)) {
        error_report("kvm-pvvas: a state of %u bytes is no list of records",
                     s->bytes);
        return -EINVAL;
    }
    ret = state_ioctl(KVM_PVVAS_SET, s->records, &nr);
    if (ret < 0) {
        error_report("kvm-pvvas: KVM refuses the state (%s); window and limits "
                     "must be the same on both sides", strerror(-ret));
    }
    return ret;
}

static const VMStateDescription vmstate_pvvas = {
    .name = "kvm-pvvas",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = pvvas_pre_save,
    .post_load = pvvas_post_load,
    .fields = (VMStateField[]) {
        VMSTATE_UINT32(bytes, PvvasState),
        VMSTATE_VBUFFER_ALLOC_UINT32(records, PvvasState, 1, NULL, bytes),
        VMSTATE_END_OF_LIST()
    }
};

static void pvvas_system_reset(void *opaque)
{
    uint64_t nr = 0;
    int ret = state_ioctl(KVM_PVVAS_RESET, NULL, &nr);

    if (ret < 0) {
        error_report("kvm-pvvas: KVM does not reset views: %s", strerror(-ret));
    }
}

void hmp_info_pvvas(Monitor *mon, const QDict *qdict)
{
    if (!enabled.size) {
        monitor_printf(mon, "EPT views: off\n");
        return;
    }
    monitor_printf(mon, "EPT views: on, hypercall ABI version %d\n",
                   PVVAS_ABI_VERSION);
    monitor_printf(mon, "window: 0x%" PRIx64 ", %" PRIu64 " GiB\n",
                   (uint64_t)enabled.window_gpa,
                   (uint64_t)enabled.window_size >> 30);
    monitor_printf(mon, "limits: %u contexts, %u views\n",
                   enabled.max_ctxs, enabled.max_views);
    monitor_printf(mon, "counters: see \"info stats vm\" and "
                   "\"info stats vcpu\"\n");
}

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
            cpu->pvvas_max_views == enabled.max_views);
}

static bool enable(X86CPU *cpu, Error **errp)
{
    struct kvm_pvvas_config config = {
        .size = sizeof(config),
        .window_gpa = cpu->pvvas_window ?: default_window(cpu),
        .window_size = cpu->pvvas_window_size,
        .max_ctxs = cpu->pvvas_max_ctxs,
        .max_views = cpu->pvvas_max_views,
    };
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
                   "of 1 GiB that the CPU can address, and no limit may "
                   "exceed the host's module parameters",
                   (uint64_t)config.window_gpa, (uint64_t)config.window_size);
        return false;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "kvm-pvvas=on: KVM_ENABLE_CAP");
        return false;
    }
    enabled = config;
    qemu_register_reset(pvvas_system_reset, NULL);
    vmstate_register(NULL, 0, &vmstate_pvvas, &pvvas_state);
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
    return true;
}

/* The leaf that tells the guest of views. */
void kvm_pvvas_cpuid(struct kvm_cpuid_entry2 *c)
{
    c->eax = PVVAS_ABI_VERSION;
    c->ebx = kvm_arch_get_supported_cpuid(kvm_state, KVM_CPUID_PVVAS, 0, R_EBX);
    c->ecx = PVVAS_CPUID_ECX;
    c->edx = PVVAS_CPUID_EDX;
}
