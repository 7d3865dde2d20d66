// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What there is, and how much of it: window, probe, counters, version.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "vmfunc.h"

PVVAS_EXPORT int pvvas_version(void)
{
	return PVVAS_VERSION_MAJOR << 16 | PVVAS_VERSION_MINOR;
}

PVVAS_EXPORT int pvvas_window(void **base, size_t *size)
{
	struct pvvas_ioc_info info = { .size = sizeof(info) };
	uint64_t here;
	int err;

	if (!base || !size)
		return -EINVAL;
	err = pvvas_call(PVVAS_IOC_INFO, &info);
	if (err)
		return err;
	*base = (void *)(uintptr_t)info.window_va;
	err = pvvas_window_here(info.window_size, &here);
	*size = here;
	return err;
}

static int probe_hypervisor(void)
{
	return vmfunc_hypervisor();
}

/* Also if this process uses another backend. */
static int probe_driver(void)
{
	PVVAS_NO_CANCEL;
	int fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == ENXIO || errno == ENODEV ?
			PVVAS_NO : PVVAS_UNKNOWN;
	close(fd);
	return PVVAS_YES;
}

static int probe_backend(bool (*has)(const struct pvvas_backend *be))
{
	const struct pvvas_backend *be;
	int err;

	be = pvvas_backend(&err);
	if (!be)
		return err == -ENODEV || err == -ENOSYS ? PVVAS_NO :
							  PVVAS_UNKNOWN;
	return has(be) ? PVVAS_YES : PVVAS_NO;
}

static bool has_fast_switch(const struct pvvas_backend *be)
{
	return be->fast_switch;
}

static int probe_switch(void)
{
	return probe_backend(has_fast_switch);
}

static bool has_views_of_threads(const struct pvvas_backend *be)
{
	return be->per_thread;
}

static int probe_per_thread(void)
{
	return probe_backend(has_views_of_threads);
}

static bool has_writes(const struct pvvas_backend *be)
{
	return be->writes;
}

static int probe_writes(void)
{
	return probe_backend(has_writes);
}

static int (*const probes[])(void) = {
	[PVVAS_FEATURE_HYPERVISOR] = probe_hypervisor,
	[PVVAS_FEATURE_DRIVER] = probe_driver,
	[PVVAS_FEATURE_SWITCH] = probe_switch,
	[PVVAS_FEATURE_PER_THREAD] = probe_per_thread,
	[PVVAS_FEATURE_WRITES] = probe_writes,
};

PVVAS_EXPORT int pvvas_probe(enum pvvas_feature feature)
{
	if ((unsigned int)feature >= sizeof(probes) / sizeof(probes[0]))
		return PVVAS_UNKNOWN;
	return probes[feature]();
}

PVVAS_EXPORT int pvvas_begin(void)
{
	struct pvvas_ioc_begin arg = { .size = sizeof(arg) };
	int err = pvvas_prepare();

	return err ? err : pvvas_call(PVVAS_IOC_BEGIN, &arg);
}

/* What programs had that were compiled with the first version. */
#define STATS_FIRST	offsetof(struct pvvas_stats, freeing)

PVVAS_EXPORT int pvvas_stats(struct pvvas_stats *stats)
{
	struct pvvas_ioc_stats s = { .size = sizeof(s) };
	struct pvvas_stats all, *out = &all;
	uint32_t size = stats ? stats->size : 0;
	int err;

	if (size < STATS_FIRST || size > sizeof(*out))
		return -EINVAL;
	err = pvvas_call(PVVAS_IOC_STATS, &s);
	if (err)
		return err;
#define COPY(name)	out->name = s.name
	COPY(vases);
	COPY(segs);
	COPY(processes);
	COPY(threads);
	COPY(attachments);
	COPY(pages);
	COPY(links);
	COPY(trees);
	COPY(tables);
	COPY(ctx_loads);
	COPY(demand_faults);
	COPY(hv_exits);
	COPY(hv_hypercalls);
	COPY(hv_ept_violations);
	COPY(hv_vmfunc_exits);
	COPY(hv_view_faults);
	COPY(hv_reflected);
	COPY(hv_demand);
	COPY(hv_ctx_loads);
	COPY(hv_invalidations);
	COPY(hv_zapped);
	COPY(hv_flushes);
	COPY(hv_ctxs);
	COPY(hv_views);
	COPY(hv_shadow_pages);
	COPY(hv_max_shadow_pages);
	COPY(freeing);
#undef COPY
	out->size = size;
	out->reserved = 0;
	memcpy(stats, out, size);
	return 0;
}
