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
#include "qapi/qapi-commands-misc-target.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "hw/boards.h"
#include "hw/i386/e820_memory_layout.h"
#include "migration/vmstate.h"
#include "monitor/hmp-target.h"
#include "monitor/monitor.h"
#include "sysemu/kvm.h"
#include "sysemu/reset.h"
#include "asm-x86/kvm_pvvas.h"
#include "linux/pvvas_para.h"
#include "pvvas.h"

#define WINDOW_UNIT GiB
#define MAX_WINDOW_SIZE (8 * TiB)
#define MIN_WINDOW_SIZE (2 * GiB) /* the driver's own, and one for segments */
#define MAX_PCI_HOLE (32 * GiB)  /* that of q35, if nothing else is asked for */
#define MAX_WINDOW_BITS 48   /* what four levels of page tables reach */
#define DEFAULT_PHYS_BITS 40 /* of CPU models, see x86_cpu_realizefn() */

/* KVM switches it on once for the whole VM, with the first CPU's limits. */
static struct kvm_pvvas_config enabled;

/* What all CPUs, and both sides of a migration, must have alike. */
enum { WINDOW, WINDOW_SIZE, CONTEXTS, VIEWS, NR_LIMITS };

static const char *const limit_names[NR_LIMITS] = {
    [WINDOW] = "kvm-pvvas-window",
    [WINDOW_SIZE] = "kvm-pvvas-window-size",
    [CONTEXTS] = "kvm-pvvas-contexts",
    [VIEWS] = "kvm-pvvas-views",
};

static void get_limits(const struct kvm_pvvas_config *config, uint64_t *limits)
{
    limits[WINDOW] = config->window_gpa;
    limits[WINDOW_SIZE] = config->window_size;
    limits[CONTEXTS] = config->max_ctxs;
    limits[VIEWS] = config->max_views;
}

/* What goes into the migration stream: KVM's records go as they are. */
typedef struct PvvasState {
    uint32_t version;
    uint32_t features;
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
    s->version = PVVAS_ABI_VERSION;
    s->features = enabled.features;
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

static bool has_what_the_guest_has(void *opaque, int version_id)
{
    PvvasState *s = opaque;

    if (s->version != PVVAS_ABI_VERSION) {
        error_report("kvm-pvvas: the source has version %u of the hypercalls, "
                     "and this host version %u", s->version, PVVAS_ABI_VERSION);
        return false;
    }
    if (s->features & ~enabled.features) {
        error_report("kvm-pvvas: the source's KVM has features (0x%x) that "
                     "this host's has not", s->features & ~enabled.features);
        return false;
    }
    return true;
}

static bool has_limits_of_ours(void *opaque, int version_id)
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

/* The header, and no more records of each kind than the limits allow. */
static bool has_sane_size(void *opaque, int version_id)
{
    PvvasState *s = opaque;
    uint64_t nr = s->bytes / sizeof(struct kvm_pvvas_record);

    if (s->bytes % sizeof(struct kvm_pvvas_record) ||
        nr > 1 + UINT16_MAX + (uint64_t)enabled.max_ctxs + enabled.max_views) {
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
        VMSTATE_UINT32(version, PvvasState),
        VMSTATE_UINT32(features, PvvasState),
        VMSTATE_VALIDATE("version and features", has_what_the_guest_has),
        VMSTATE_UINT64_ARRAY(limits, PvvasState, NR_LIMITS),
        VMSTATE_VALIDATE("the same limits on both sides", has_limits_of_ours),
        VMSTATE_UINT32(bytes, PvvasState),
        VMSTATE_VALIDATE("a list of records", has_sane_size),
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
    monitor_printf(mon, "limits: %u contexts, %u views\n",
                   enabled.max_ctxs, enabled.max_views);
    monitor_printf(mon, "counters: see \"info stats vm\" and "
                   "\"info stats vcpu\"\n");
}

/* A parameter of a module on this host; NULL if there is none to be read. */
static char *module_parameter(const char *module, const char *name)
{
    g_autofree char *path = g_strdup_printf("/sys/module/%s/parameters/%s",
                                            module, name);
    char *value;

    if (!g_file_get_contents(path, &value, NULL, NULL)) {
        return NULL;
    }
    return g_strchomp(value);
}

/* Why KVM has no views, as far as sysfs tells. */
static void explain_absence(Error **errp)
{
    static const char *const needed[][2] = {
        { "kvm", "tdp_mmu" }, { "kvm_intel", "ept" }, { "kvm_intel", "eptad" },
        { "kvm_intel", "vpid" }, { "kvm_intel", "unrestricted_guest" },
    };
    static const char absent[] =
        "kvm-pvvas=on: KVM on this host has no EPT views";
    g_autofree char *patched = module_parameter("kvm", "pvvas_max_views");
    int i;

    if (!patched && !access("/sys/module/kvm/parameters", F_OK)) {
        error_setg(errp, "%s: its modules are not the patched ones", absent);
        return;
    }
    if (patched && access("/sys/module/kvm_intel", F_OK)) {
        error_setg(errp, "%s: its CPU is not one of Intel's", absent);
        return;
    }
    for (i = 0; i < ARRAY_SIZE(needed); i++) {
        g_autofree char *value = module_parameter(needed[i][0], needed[i][1]);

        if (value && *value == 'N') {
            error_setg(errp, "%s: the parameter %s of the module %s is off, or "
                       "its CPU lacks what that is about", absent,
                       needed[i][1], needed[i][0]);
            return;
        }
    }
    if (patched) {
        error_setg(errp, "%s: its CPU, or the hypervisor below it, has no VM "
                   "functions (VMFUNC with EPTP switching)", absent);
        return;
    }
    error_setg(errp, "%s (patched modules, an Intel CPU with VMFUNC, and the "
               "parameters ept, eptad, vpid, unrestricted_guest and tdp_mmu on "
               "are needed)", absent);
}

/* KVM's word for a bad configuration is the same for all of it. */
static void explain_refusal(const struct kvm_pvvas_config *config, Error **errp)
{
    const struct {
        const char *name;
        const char *parameter;
        uint32_t wanted;
    } limits[] = {
        { limit_names[CONTEXTS], "pvvas_max_ctxs", config->max_ctxs },
        { limit_names[VIEWS], "pvvas_max_views", config->max_views },
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(limits); i++) {
        g_autofree char *most = module_parameter("kvm", limits[i].parameter);

        if (most && limits[i].wanted > g_ascii_strtoull(most, NULL, 10)) {
            error_setg(errp, "%s=%u is more than this host allows: the "
                       "parameter %s of its module kvm is %s", limits[i].name,
                       limits[i].wanted, limits[i].parameter, most);
            return;
        }
    }
    error_setg(errp, "kvm-pvvas=on: KVM refuses the limits: the window (0x%"
               PRIx64 ", size 0x%" PRIx64 ") must be one that the host's CPU "
               "can address, and no limit may exceed the parameter of the "
               "module kvm", (uint64_t)config->window_gpa,
               (uint64_t)config->window_size);
}

/*
 * What this CPU and the host's, of which models know nothing, both address, as
 * far as four levels of page tables reach.
 */
static unsigned window_bits(X86CPU *cpu)
{
    unsigned host_bits = kvm_arch_get_supported_cpuid(kvm_state, 0x80000008, 0,
                                                      R_EAX) & 0xff;
    unsigned bits = cpu->phys_bits ?: DEFAULT_PHYS_BITS;

    return MIN(MIN(bits, host_bits ?: DEFAULT_PHYS_BITS), MAX_WINDOW_BITS);
}

/*
 * Where a machine's memory and 64-bit PCI hole will end, at most, unless the
 * user asks for a larger hole.  The machine itself decides later; what it says
 * then, kvm_pvvas_reserve_window() checks.
 */
static uint64_t end_of_memory(void)
{
    return ROUND_UP(4 * GiB + current_machine->maxram_size, GiB) +
           (1 + current_machine->ram_slots) * GiB + MAX_PCI_HOLE;
}

/*
 * Where nothing else is asked for, the window is the upper half of what can be
 * addressed, or what of that is above the machine's memory.  KVM's own defaults
 * are those of the host's CPU, which may address more.
 */
static bool place_window(X86CPU *cpu, struct kvm_pvvas_config *config,
                         Error **errp)
{
    unsigned bits = window_bits(cpu);
    uint64_t limit = 1ULL << bits;
    uint64_t lowest = MIN(end_of_memory(), limit - MIN_WINDOW_SIZE);

    config->window_gpa = cpu->pvvas_window ?: MAX(limit / 2, lowest);
    config->window_size = cpu->pvvas_window_size ?:
                          MIN(limit - MIN(config->window_gpa, limit),
                              MAX_WINDOW_SIZE);
    if (!QEMU_IS_ALIGNED(config->window_gpa | config->window_size,
                         WINDOW_UNIT)) {
        error_setg(errp, "kvm-pvvas-window (0x%" PRIx64 ") and "
                   "kvm-pvvas-window-size (0x%" PRIx64 ") must be multiples of "
                   "1 GiB", (uint64_t)config->window_gpa,
                   (uint64_t)config->window_size);
        return false;
    }
    if (config->window_gpa >= limit ||
        config->window_size > limit - config->window_gpa) {
        error_setg(errp, "the window of kvm-pvvas (0x%" PRIx64 ", size 0x%"
                   PRIx64 ") is beyond the %u address bits that the CPU and "
                   "the host's have and a window may have: move it, or set "
                   "phys-bits or host-phys-bits=on",
                   (uint64_t)config->window_gpa,
                   (uint64_t)config->window_size, bits);
        return false;
    }
    return true;
}

/* As where no device answers. */
static uint64_t window_read(void *opaque, hwaddr addr, unsigned size)
{
    return UINT64_MAX;
}

static void window_write(void *opaque, hwaddr addr, uint64_t data,
                         unsigned size)
{
}

static const MemoryRegionOps window_ops = {
    .read = window_read,
    .write = window_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
};

/* KVM refuses memory there: a BAR that the guest puts there is hidden. */
static void cover_window(void)
{
    static MemoryRegion window;

    memory_region_init_io(&window, NULL, &window_ops, NULL, "kvm-pvvas-window",
                          enabled.window_size);
    memory_region_add_subregion_overlap(get_system_memory(), enabled.window_gpa,
                                        &window, INT_MAX);
}

void kvm_pvvas_reserve_window(uint64_t max_gpa)
{
    if (!enabled.size) {
        return;
    }
    if (max_gpa >= enabled.window_gpa) {
        error_report("the machine's memory may reach up to 0x%" PRIx64 ", into "
                     "the window of kvm-pvvas at 0x%" PRIx64 ": lower maxmem "
                     "or the 64-bit PCI hole, or give the CPU more phys-bits",
                     max_gpa, (uint64_t)enabled.window_gpa);
        exit(EXIT_FAILURE);
    }
    e820_add_entry(enabled.window_gpa, enabled.window_size, E820_RESERVED);
}

static bool enable(X86CPU *cpu, Error **errp)
{
    struct kvm_pvvas_config config = {
        .size = sizeof(config),
        .max_ctxs = cpu->pvvas_max_ctxs,
        .max_views = cpu->pvvas_max_views,
    };
    int ret;

    /* A CPU is in the list of CPUs when it is realized. */
    if (first_cpu) {
        error_setg(errp, "kvm-pvvas=on for a CPU that is plugged in, while the "
                   "others have it off: all CPUs must have the same");
        return false;
    }
    if (!kvm_vm_check_extension(kvm_state, KVM_CAP_PVVAS)) {
        explain_absence(errp);
        return false;
    }
    if (!place_window(cpu, &config, errp)) {
        return false;
    }
    ret = kvm_vm_enable_cap(kvm_state, KVM_CAP_PVVAS, 0, (uintptr_t)&config);
    if (ret == -EINVAL) {
        explain_refusal(&config, errp);
        return false;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "kvm-pvvas=on: KVM_ENABLE_CAP");
        return false;
    }
    enabled = config;
    cover_window();
    qemu_register_reset(pvvas_system_reset, NULL);
    vmstate_register(NULL, 0, &vmstate_pvvas, &pvvas_state);
    return true;
}

/* Of the CPUs after the first one: 0 is "as the first one". */
static bool check_limits(X86CPU *cpu, Error **errp)
{
    const uint64_t wanted[NR_LIMITS] = {
        [WINDOW] = cpu->pvvas_window,
        [WINDOW_SIZE] = cpu->pvvas_window_size,
        [CONTEXTS] = cpu->pvvas_max_ctxs,
        [VIEWS] = cpu->pvvas_max_views,
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

/* Features are expanded and filtered, phys_bits is known, no vCPU exists. */
bool kvm_pvvas_realize(X86CPU *cpu, Error **errp)
{
    CPUX86State *env = &cpu->env;

    if (!cpu->kvm_pvvas) {
        if (enabled.size) {
            error_setg(errp, "kvm-pvvas is off for a CPU that is plugged in, "
                       "and on for the others: all CPUs must have the same");
            return false;
        }
        return true;
    }
    if (!cpu->expose_kvm) {
        error_setg(errp, "kvm-pvvas=on excludes kvm=off: the guest finds views "
                   "by KVM's CPUID leaves");
        return false;
    }
    if (!(env->features[FEAT_8000_0001_EDX] & CPUID_EXT2_LM)) {
        error_setg(errp, "kvm-pvvas=on needs a 64-bit CPU (lm=on)");
        return false;
    }
    if (env->features[FEAT_1_ECX] & CPUID_EXT_VMX) {
        if (env->user_features[FEAT_1_ECX] & CPUID_EXT_VMX) {
            error_setg(errp, "kvm-pvvas=on excludes vmx=on: a CPU with EPT "
                       "views cannot run guests of its own; set vmx=off (in "
                       "libvirt: <feature policy='disable' name='vmx'/>)");
            return false;
        }
        /* "-cpu host" brings VMX along where the user did not ask for it. */
        warn_report_once("kvm-pvvas=on takes VMX away from the guest: a CPU "
                         "with EPT views cannot run guests of its own");
        env->features[FEAT_1_ECX] &= ~CPUID_EXT_VMX;
    }
    return enabled.size ? check_limits(cpu, errp) : enable(cpu, errp);
}

void kvm_pvvas_cpuid(struct kvm_cpuid_entry2 *c)
{
    c->eax = PVVAS_ABI_VERSION;
    c->ebx = enabled.features;
    c->ecx = PVVAS_CPUID_ECX;
    c->edx = PVVAS_CPUID_EDX;
}
