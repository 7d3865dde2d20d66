/*
 * EPT views for KVM guests: builds without KVM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "cpu.h"
#include "monitor/monitor.h"
#include "monitor/hmp-target.h"
#include "qapi/qapi-commands-misc-target.h"
#include "pvvas.h"

void kvm_pvvas_reserve_window(uint64_t max_gpa)
{
}

PvvasInfo *qmp_query_pvvas(Error **errp)
{
    return g_new0(PvvasInfo, 1);
}

void hmp_info_pvvas(Monitor *mon, const QDict *qdict)
{
    monitor_printf(mon, "EPT views are not available in this QEMU\n");
}
