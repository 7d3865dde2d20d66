/* SPDX-License-Identifier: GPL-2.0-only */
#if !defined(_TRACE_KVM_PVVAS_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KVM_PVVAS_H

#include <linux/tracepoint.h>
#include <linux/kvm_host.h>

#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm

/*
 * VMFUNC leaves no trace of its own: an exit shows that the vCPU is in another
 * view than at the exit before.  What it was in meanwhile is not seen.
 */
TRACE_EVENT(kvm_pvvas_switch,
	TP_PROTO(unsigned int vcpu_id, u64 ctx, u64 from, u64 to),
	TP_ARGS(vcpu_id, ctx, from, to),

	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(u64, ctx)
		__field(u64, from)
		__field(u64, to)
	),

	TP_fast_assign(
		__entry->vcpu_id = vcpu_id;
		__entry->ctx = ctx;
		__entry->from = from;
		__entry->to = to;
	),

	TP_printk("vcpu %u ctx %llu view %llu -> %llu", __entry->vcpu_id,
		  __entry->ctx, __entry->from, __entry->to)
);

TRACE_EVENT(kvm_pvvas_ctx,
	TP_PROTO(const char *what, u64 ctx, u64 root),
	TP_ARGS(what, ctx, root),

	TP_STRUCT__entry(
		__string(what, what)
		__field(u64, ctx)
		__field(u64, root)
	),

	TP_fast_assign(
		__assign_str(what);
		__entry->ctx = ctx;
		__entry->root = root;
	),

	TP_printk("%s ctx %llu root %llx", __get_str(what), __entry->ctx,
		  __entry->root)
);

TRACE_EVENT(kvm_pvvas_view,
	TP_PROTO(const char *what, u64 view, u64 ctx, u32 slot, u64 root,
		 u64 cookie),
	TP_ARGS(what, view, ctx, slot, root, cookie),

	TP_STRUCT__entry(
		__string(what, what)
		__field(u64, view)
		__field(u64, ctx)
		__field(u32, slot)
		__field(u64, root)
		__field(u64, cookie)
	),

	TP_fast_assign(
		__assign_str(what);
		__entry->view = view;
		__entry->ctx = ctx;
		__entry->slot = slot;
		__entry->root = root;
		__entry->cookie = cookie;
	),

	TP_printk("%s view %llu ctx %llu slot %u root %llx cookie %llx",
		  __get_str(what), __entry->view, __entry->ctx, __entry->slot,
		  __entry->root, __entry->cookie)
);

/* What came of it is in kvm_mmu_set_spte and kvm_pvvas_refuse. */
TRACE_EVENT(kvm_pvvas_fault,
	TP_PROTO(unsigned int vcpu_id, u64 view, u64 gpa, u64 error_code),
	TP_ARGS(vcpu_id, view, gpa, error_code),

	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(u64, view)
		__field(u64, gpa)
		__field(u64, error_code)
	),

	TP_fast_assign(
		__entry->vcpu_id = vcpu_id;
		__entry->view = view;
		__entry->gpa = gpa;
		__entry->error_code = error_code;
	),

	TP_printk("vcpu %u view %llu gpa %llx error %llx", __entry->vcpu_id,
		  __entry->view, __entry->gpa, __entry->error_code)
);

TRACE_EVENT(kvm_pvvas_refuse,
	TP_PROTO(unsigned int vcpu_id, u64 view, u64 gpa, u32 access,
		 bool demand),
	TP_ARGS(vcpu_id, view, gpa, access, demand),

	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(u64, view)
		__field(u64, gpa)
		__field(u32, access)
		__field(bool, demand)
	),

	TP_fast_assign(
		__entry->vcpu_id = vcpu_id;
		__entry->view = view;
		__entry->gpa = gpa;
		__entry->access = access;
		__entry->demand = demand;
	),

	TP_printk("vcpu %u view %llu gpa %llx access %s%s%s: %s",
		  __entry->vcpu_id, __entry->view, __entry->gpa,
		  __entry->access & PFERR_USER_MASK ? "r" : "-",
		  __entry->access & PFERR_WRITE_MASK ? "w" : "-",
		  __entry->access & PFERR_FETCH_MASK ? "x" : "-",
		  __entry->demand ? "demand" : "page fault")
);

TRACE_EVENT(kvm_pvvas_invalidate,
	TP_PROTO(u64 table, u32 first, u32 count, unsigned int rows,
		 unsigned long zapped),
	TP_ARGS(table, first, count, rows, zapped),

	TP_STRUCT__entry(
		__field(u64, table)
		__field(u32, first)
		__field(u32, count)
		__field(unsigned int, rows)
		__field(unsigned long, zapped)
	),

	TP_fast_assign(
		__entry->table = table;
		__entry->first = first;
		__entry->count = count;
		__entry->rows = rows;
		__entry->zapped = zapped;
	),

	TP_printk("table %llx entries %u+%u, first of %u: %lu zapped",
		  __entry->table, __entry->first, __entry->count, __entry->rows,
		  __entry->zapped)
);

/* Those that KVM makes on the views' behalf are in its own events. */
TRACE_EVENT(kvm_pvvas_flush,
	TP_PROTO(const char *why),
	TP_ARGS(why),

	TP_STRUCT__entry(
		__string(why, why)
	),

	TP_fast_assign(
		__assign_str(why);
	),

	TP_printk("%s", __get_str(why))
);

#endif /* _TRACE_KVM_PVVAS_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH ../../arch/x86/kvm/pvvas
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace

/* This part must be outside protection */
#include <trace/define_trace.h>
