/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM pvvas

#if !defined(PVVAS_DRIVER_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define PVVAS_DRIVER_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(pvvas_attach,
	TP_PROTO(u32 vas, u32 handle, u32 slot),
	TP_ARGS(vas, handle, slot),
	TP_STRUCT__entry(
		__field(u32, vas)
		__field(u32, handle)
		__field(u32, slot)
	),
	TP_fast_assign(
		__entry->vas = vas;
		__entry->handle = handle;
		__entry->slot = slot;
	),
	TP_printk("vas %u handle 0x%x slot %u", __entry->vas, __entry->handle,
		  __entry->slot)
);

TRACE_EVENT(pvvas_evict,
	TP_PROTO(u32 handle, u32 slot),
	TP_ARGS(handle, slot),
	TP_STRUCT__entry(
		__field(u32, handle)
		__field(u32, slot)
	),
	TP_fast_assign(
		__entry->handle = handle;
		__entry->slot = slot;
	),
	TP_printk("handle 0x%x slot %u", __entry->handle, __entry->slot)
);

TRACE_EVENT(pvvas_fault,
	TP_PROTO(u64 gla, u32 seg, u64 offset, bool user, int ret),
	TP_ARGS(gla, seg, offset, user, ret),
	TP_STRUCT__entry(
		__field(u64, gla)
		__field(u32, seg)
		__field(u64, offset)
		__field(bool, user)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->gla = gla;
		__entry->seg = seg;
		__entry->offset = offset;
		__entry->user = user;
		__entry->ret = ret;
	),
	TP_printk("address 0x%llx segment %u offset 0x%llx %s result %d",
		  __entry->gla, __entry->seg, __entry->offset,
		  __entry->user ? "user" : "kernel", __entry->ret)
);

TRACE_EVENT(pvvas_ctx_load,
	TP_PROTO(u64 ctx, u32 slot),
	TP_ARGS(ctx, slot),
	TP_STRUCT__entry(
		__field(u64, ctx)
		__field(u32, slot)
	),
	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->slot = slot;
	),
	TP_printk("context %llu slot %u", __entry->ctx, __entry->slot)
);

#endif /* PVVAS_DRIVER_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace

/* This part must be outside protection */
#include <trace/define_trace.h>
