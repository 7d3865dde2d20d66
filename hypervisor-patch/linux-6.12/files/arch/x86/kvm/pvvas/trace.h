/* SPDX-License-Identifier: GPL-2.0-only */
#if !defined(_TRACE_KVM_PVVAS_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KVM_PVVAS_H

#include <linux/tracepoint.h>
#include <asm/kvm_pvvas.h>
#include <uapi/linux/pvvas_para.h>

#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm

int pvvas_trace_exits(void);
void pvvas_trace_no_exits(void);

/*
 * VMFUNC leaves no trace of its own: an exit shows that the vCPU is in another
 * view than at the exit before.  What it was in meanwhile is not seen.
 */
TRACE_EVENT_FN(kvm_pvvas_switch,
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
		  __entry->ctx, __entry->from, __entry->to),

	pvvas_trace_exits, pvvas_trace_no_exits
);

TRACE_EVENT(kvm_pvvas_link,
	TP_PROTO(u64 view, u64 seg, u64 gfn, u64 npages, u32 prot),
	TP_ARGS(view, seg, gfn, npages, prot),

	TP_STRUCT__entry(
		__field(u64, view)
		__field(u64, seg)
		__field(u64, gfn)
		__field(u64, npages)
		__field(u32, prot)
	),

	TP_fast_assign(
		__entry->view = view;
		__entry->seg = seg;
		__entry->gfn = gfn;
		__entry->npages = npages;
		__entry->prot = prot;
	),

	TP_printk("%s view %llu seg %llu gfn %llx pages %llx prot %s%s%s",
		  __entry->prot ? "attach" : "detach", __entry->view,
		  __entry->seg, __entry->gfn, __entry->npages,
		  __entry->prot & PVVAS_PROT_READ ? "r" : "-",
		  __entry->prot & PVVAS_PROT_WRITE ? "w" : "-",
		  __entry->prot & PVVAS_PROT_EXEC ? "x" : "-")
);

TRACE_EVENT(kvm_pvvas_fault,
	TP_PROTO(unsigned int vcpu_id, u64 view, u64 gpa, u32 access, int result),
	TP_ARGS(vcpu_id, view, gpa, access, result),

	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(u64, view)
		__field(u64, gpa)
		__field(u32, access)
		__field(int, result)
	),

	TP_fast_assign(
		__entry->vcpu_id = vcpu_id;
		__entry->view = view;
		__entry->gpa = gpa;
		__entry->access = access;
		__entry->result = result;
	),

	TP_printk("vcpu %u view %llu gpa %llx access %s%s%s: %s",
		  __entry->vcpu_id, __entry->view, __entry->gpa,
		  __entry->access & PVVAS_PROT_READ ? "r" : "-",
		  __entry->access & PVVAS_PROT_WRITE ? "w" : "-",
		  __entry->access & PVVAS_PROT_EXEC ? "x" : "-",
		  __print_symbolic(__entry->result,
				   { KVM_PVVAS_RETRY,	"retry" },
				   { KVM_PVVAS_REFLECT,	"reflect" },
				   { KVM_PVVAS_DEMAND,	"demand" },
				   { -EFAULT,		"EFAULT" },
				   { -ENOMEM,		"ENOMEM" }))
);

TRACE_EVENT(kvm_pvvas_fill,
	TP_PROTO(u64 seg, u64 gfn, u64 base_gfn, int level, u64 leaf),
	TP_ARGS(seg, gfn, base_gfn, level, leaf),

	TP_STRUCT__entry(
		__field(u64, seg)
		__field(u64, gfn)
		__field(u64, base_gfn)
		__field(int, level)
		__field(u64, leaf)
	),

	TP_fast_assign(
		__entry->seg = seg;
		__entry->gfn = gfn;
		__entry->base_gfn = base_gfn;
		__entry->level = level;
		__entry->leaf = leaf;
	),

	TP_printk("seg %llu gfn %llx is %llx level %d leaf %llx", __entry->seg,
		  __entry->gfn, __entry->base_gfn, __entry->level,
		  __entry->leaf)
);

TRACE_EVENT(kvm_pvvas_zap,
	TP_PROTO(u64 seg, u64 start, u64 end, u64 leaves),
	TP_ARGS(seg, start, end, leaves),

	TP_STRUCT__entry(
		__field(u64, seg)
		__field(u64, start)
		__field(u64, end)
		__field(u64, leaves)
	),

	TP_fast_assign(
		__entry->seg = seg;
		__entry->start = start;
		__entry->end = end;
		__entry->leaves = leaves;
	),

	TP_printk("seg %llu gfns %llx-%llx: %llu leaves", __entry->seg,
		  __entry->start, __entry->end, __entry->leaves)
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
