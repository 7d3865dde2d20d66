/*
 * EPT views for KVM guests: builds without KVM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "monitor/monitor.h"
#include "monitor/hmp-target.h"

void hmp_info_pvvas(Monitor *mon, const QDict *qdict)
{
    monitor_printf(mon, "EPT views are not available in this QEMU\n");
}
