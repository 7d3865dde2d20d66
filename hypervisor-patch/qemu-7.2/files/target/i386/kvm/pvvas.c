/*
 * EPT views for KVM guests
 *
 * The CPU property kvm-pvvas=on asks KVM for views before the first vCPU is
 * created, and shows the guest the feature bit.  Their state migrates, and a
 * system reset clears it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-misc-target.h"
#include "qemu/units.h"
#include "qemu/error-report.h"
#include "sysemu/kvm.h"
#include "sysemu/reset.h"
#include "hw/i386/e820_memory_layout.h"
#include "migration/vmstate.h"
#include "monitor/monitor.h"
#include "monitor/hmp-target.h"
#include "asm-x86/kvm_pvvas.h"
#include "linux/pvvas_para.h"
#include "pvvas.h"

/* The window is made of whole entries of the topmost level of page tables. */
#define WINDOW_UNIT (512 * GiB)
#define MAX_WINDOW_SIZE (8 * TiB)
#define MIN_PHYS_BITS 40
#define DEFAULT_PHYS_BITS 40 /* of CPU models, see x86_cpu_realizefn() */

/* KVM switches it on once for the whole VM, with the first CPU's limits. */
static struct kvm_pvvas_config enabled;

/* What all CPUs, and both sides of a migration, must have alike. */
enum { WINDOW, WINDOW_SIZE, CONTEXTS, VIEWS, SEGMENTS, EXTENTS, TABLES, NR_LIMITS };

static const char *const limit_names[NR_LIMITS] = {
    [WINDOW] = "kvm-pvvas-window",
    [WINDOW_SIZE] = "kvm-pvvas-window-size",
    [CONTEXTS] = "kvm-pvvas-contexts",
    [VIEWS] = "kvm-pvvas-views",
    [SEGMENTS] = "kvm-pvvas-segments",
    [EXTENTS] = "kvm-pvvas-extents",
    [TABLES] = "kvm-pvvas-tables",
};

static void get_limits(const struct kvm_pvvas_config *config, uint64_t *limits)
{
    limits[WINDOW] = config->window_gpa;
    limits[WINDOW_SIZE] = config->window_size;
    limits[CONTEXTS] = config->max_ctxs;
    limits[VIEWS] = config->max_views;
    limits[SEGMENTS] = config->max_segs;
    limits[EXTENTS] = config->max_extents;
    limits[TABLES] = config->max_tables;
}

/* What goes into the migration stream: limits, and KVM's records as they are. */
typedef struct PvvasState {
    uint64_t limits[NR_LIMITS];
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

/* KVM keeps the vCPU of a CPU that was unplugged; the other side has none. */
static bool of_unplugged_cpu(const struct kvm_pvvas_record *record)
{
    CPUState *cs;

    if (record->type != KVM_PVVAS_VCPU) {
        return false;
    }
    CPU_FOREACH(cs) {
        if (kvm_arch_vcpu_id(cs) == record->arg) {
            return false;
        }
    }
    return true;
}

/* The VM is stopped, so the second call finds what the first one counted. */
static int pvvas_pre_save(void *opaque)
{
    PvvasState *s = opaque;
    g_autofree struct kvm_pvvas_record *records = NULL;
    uint64_t nr = 0, kept = 0, i;
    int ret;

    ret = state_ioctl(KVM_PVVAS_GET, NULL, &nr);
    if (ret != -E2BIG || nr > UINT32_MAX / sizeof(*records)) {
        error_report("kvm-pvvas: KVM does not give its state: %s",
                     strerror(ret < 0 ? -ret : E2BIG));
        return -EINVAL;
    }
    records = g_new0(struct kvm_pvvas_record, nr);
    ret = state_ioctl(KVM_PVVAS_GET, records, &nr);
    if (ret < 0) {
        error_report("kvm-pvvas: KVM does not give its state: %s",
                     strerror(-ret));
        return ret;
    }
    for (i = 0; i < nr; i++) {
        if (!of_unplugged_cpu(&records[i])) {
            records[kept++] = records[i];
        }
    }
    get_limits(&enabled, s->limits);
    s->bytes = kept * sizeof(*records);
    s->records = (uint8_t *)g_steal_pointer(&records);
    return 0;
}

static int pvvas_release(void *opaque)
{
    PvvasState *s = opaque;

    g_clear_pointer(&s->records, g_free);
    return 0;
}

static bool limits_are_ours(void *opaque, int version_id)
{
    PvvasState *s = opaque;
    uint64_t ours[NR_LIMITS];
    bool same = true;
    int i;

    get_limits(&enabled, ours);
    for (i = 0; i < NR_LIMITS; i++) {
        if (s->limits[i] != ours[i]) {
            error_report("%s is 0x%" PRIx64 " at the source and 0x%" PRIx64
                         " here: set it on both sides", limit_names[i],
                         s->limits[i], ours[i]);
            same = false;
        }
    }
    return same;
}

/* No more records than there can be of each kind within the limits. */
static bool size_is_sane(void *opaque, int version_id)
{
    PvvasState *s = opaque;
    uint64_t nr = s->bytes / sizeof(struct kvm_pvvas_record);

    if (s->bytes % sizeof(struct kvm_pvvas_record) ||
        nr > 1 + UINT16_MAX + (uint64_t)enabled.max_ctxs + enabled.max_views +
             enabled.max_segs + 2 * enabled.max_extents) {
        error_report("kvm-pvvas: a state of %u bytes is no list of records",
                     s->bytes);
        return false;
    }
    return true;
}

static int pvvas_post_load(void *opaque, int version_id)
{
    PvvasState *s = opaque;
    uint64_t nr = s->bytes / sizeof(struct kvm_pvvas_record);
    int ret;

    ret = state_ioctl(KVM_PVVAS_SET, s->records, &nr);
    if (ret < 0) {
        error_report("kvm-pvvas: KVM refuses the state: %s", strerror(-ret));
    }
    pvvas_release(s);
    return ret;
}

static const VMStateDescription vmstate_pvvas = {
    .name = "kvm-pvvas",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = pvvas_pre_save,
    .post_save = pvvas_release,
    .pre_load = pvvas_release,
    .post_load = pvvas_post_load,
    .fields = (VMStateField[]) {
        VMSTATE_UINT64_ARRAY(limits, PvvasState, NR_LIMITS),
        VMSTATE_VALIDATE("the same limits on both sides", limits_are_ours),
        VMSTATE_UINT32(bytes, PvvasState),
        VMSTATE_VALIDATE("a list of records", size_is_sane),
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

PvvasInfo *qmp_query_pvvas(Error **errp)
{
    PvvasInfo *info = g_new0(PvvasInfo, 1);

    info->available = kvm_enabled() &&
                      kvm_vm_check_extension(kvm_state, KVM_CAP_PVVAS) > 0;
    info->enabled = enabled.size;
    info->has_limits = info->enabled;
    if (info->has_limits) {
        info->limits = g_new0(PvvasLimits, 1);
        info->limits->window = enabled.window_gpa;
        info->limits->window_size = enabled.window_size;
        info->limits->contexts = enabled.max_ctxs;
        info->limits->views = enabled.max_views;
        info->limits->segments = enabled.max_segs;
        info->limits->extents = enabled.max_extents;
        info->limits->tables = enabled.max_tables;
    }
    return info;
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
                   (uint64_t)enabled.window_size / GiB);
    monitor_printf(mon, "limits: %u contexts, %u views, %u segments, "
                   "%" PRIu64 " extents, %" PRIu64 " tables\n",
                   enabled.max_ctxs, enabled.max_views, enabled.max_segs,
                   (uint64_t)enabled.max_extents, (uint64_t)enabled.max_tables);
    monitor_printf(mon, "counters: see \"info stats vm\" and "
                   "\"info stats vcpu\"\n");
}

/*
 * Where nothing else is asked for, the window is the upper half of what this CPU
 * addresses, and no more than four levels of page tables reach.  KVM's own
 * defaults are those of the host's CPU, which may address more.
 */
static bool place_window(X86CPU *cpu, struct kvm_pvvas_config *config,
                         Error **errp)
{
    unsigned bits = MIN(cpu->phys_bits ?: DEFAULT_PHYS_BITS, 48);
    uint64_t limit = 1ULL << bits;

    if (bits < MIN_PHYS_BITS) {
        error_setg(errp, "kvm-pvvas=on needs a CPU with %u or more physical "
                   "address bits, and this one has %u: set phys-bits=%u or "
                   "host-phys-bits=on", MIN_PHYS_BITS, bits, MIN_PHYS_BITS);
        return false;
    }
    config->window_gpa = cpu->pvvas_window ?: limit / 2;
    config->window_size = cpu->pvvas_window_size ?:
                          MIN(limit - MIN(config->window_gpa, limit),
                              MAX_WINDOW_SIZE);
    if (!QEMU_IS_ALIGNED(config->window_gpa | config->window_size,
                         WINDOW_UNIT)) {
        error_setg(errp, "kvm-pvvas-window (0x%" PRIx64 ") and "
                   "kvm-pvvas-window-size (0x%" PRIx64 ") must be multiples of "
                   "512 GiB", (uint64_t)config->window_gpa,
                   (uint64_t)config->window_size);
        return false;
    }
    if (config->window_gpa >= limit ||
        config->window_size > limit - config->window_gpa) {
        error_setg(errp, "the window of kvm-pvvas (0x%" PRIx64 ", size 0x%"
                   PRIx64 ") is beyond the %u physical address bits of the CPU: "
                   "move it, or set phys-bits or host-phys-bits=on",
                   (uint64_t)config->window_gpa, (uint64_t)config->window_size,
                   bits);
        return false;
    }
    return true;
}

static bool enable(X86CPU *cpu, Error **errp)
{
    struct kvm_pvvas_config config = {
        .size = sizeof(config),
        .max_ctxs = cpu->pvvas_max_ctxs,
        .max_views = cpu->pvvas_max_views,
        .max_segs = cpu->pvvas_max_segs,
        .max_extents = cpu->pvvas_max_extents,
        .max_tables = cpu->pvvas_max_tables,
    };
    int ret;

    if (first_cpu != CPU(cpu)) {
        error_setg(errp, "kvm-pvvas=on for a CPU that is plugged in, while the "
                   "others have it off: all CPUs must have the same");
        return false;
    }
    if (!kvm_vm_check_extension(kvm_state, KVM_CAP_PVVAS)) {
        error_setg(errp, "kvm-pvvas=on: KVM on this host has no EPT views "
                   "(patched modules, an Intel CPU with VMFUNC, and the "
                   "parameters ept, eptad, vpid, unrestricted_guest and "
                   "tdp_mmu on are needed)");
        return false;
    }
    if (!place_window(cpu, &config, errp)) {
        return false;
    }
    ret = kvm_vm_enable_cap(kvm_state, KVM_CAP_PVVAS, 0, (uintptr_t)&config);
    if (ret == -EINVAL) {
        error_setg(errp, "kvm-pvvas=on: KVM refuses the limits: the window "
                   "(0x%" PRIx64 ", size 0x%" PRIx64 ") must be one that the "
                   "host's CPU can address, and no limit may exceed the "
                   "parameter of the module kvm",
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

/* Of the CPUs after the first one: 0 is "as the first one". */
static bool check_limits(X86CPU *cpu, Error **errp)
{
    uint64_t wanted[NR_LIMITS] = {
        [WINDOW] = cpu->pvvas_window,
        [WINDOW_SIZE] = cpu->pvvas_window_size,
        [CONTEXTS] = cpu->pvvas_max_ctxs,
        [VIEWS] = cpu->pvvas_max_views,
        [SEGMENTS] = cpu->pvvas_max_segs,
        [EXTENTS] = cpu->pvvas_max_extents,
        [TABLES] = cpu->pvvas_max_tables,
    };
    uint64_t ours[NR_LIMITS];
    int i;

    get_limits(&enabled, ours);
    for (i = 0; i < NR_LIMITS; i++) {
        if (wanted[i] && wanted[i] != ours[i]) {
            error_setg(errp, "%s is 0x%" PRIx64 " for one CPU and 0x%" PRIx64
                       " for another: all CPUs must have the same",
                       limit_names[i], ours[i], wanted[i]);
            return false;
        }
    }
    return true;
}

void kvm_pvvas_reserve_window(uint64_t max_gpa)
{
    if (!enabled.size) {
        return;
    }
    if (max_gpa >= enabled.window_gpa) {
        error_report("the machine's memory may reach up to 0x%" PRIx64 ", into "
                     "the window of kvm-pvvas at 0x%" PRIx64 ": lower maxmem or "
                     "the 64-bit PCI hole, or give the CPU more phys-bits",
                     max_gpa, (uint64_t)enabled.window_gpa);
        exit(EXIT_FAILURE);
    }
    e820_add_entry(enabled.window_gpa, enabled.window_size, E820_RESERVED);
}

/* Features are expanded and filtered, phys_bits is known, no vCPU exists yet. */
bool kvm_pvvas_realize(X86CPU *cpu, Error **errp)
{
    CPUX86State *env = &cpu->env;

    if (!cpu->kvm_pvvas) {
        if (enabled.size) {
            error_setg(errp, "kvm-pvvas is off for a CPU that is plugged in, "
                       "and on for the others: all CPUs must have the same");
            return false;
        }
        /* "-cpu host,migratable=off" shows all that KVM knows. */
        env->features[FEAT_KVM] &= ~(1U << KVM_FEATURE_PVVAS);
        return true;
    }
    if (!cpu->expose_kvm) {
        error_setg(errp, "kvm-pvvas=on excludes kvm=off: the guest finds views "
                   "by KVM's CPUID leaves");
        return false;
    }
    if (env->user_features[FEAT_1_ECX] & env->features[FEAT_1_ECX] &
        CPUID_EXT_VMX) {
        error_setg(errp, "kvm-pvvas=on excludes vmx=on: a CPU with EPT views "
                   "cannot run guests of its own; set vmx=off (in libvirt: "
                   "<feature policy='disable' name='vmx'/>)");
        return false;
    }
    /* "-cpu host" brings VMX along where the user did not ask for it. */
    env->features[FEAT_1_ECX] &= ~CPUID_EXT_VMX;

    if (enabled.size ? !check_limits(cpu, errp) : !enable(cpu, errp)) {
        return false;
    }
    env->features[FEAT_KVM] |= 1U << KVM_FEATURE_PVVAS;
    return true;
}
