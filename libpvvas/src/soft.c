// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software backend: the window, and a switch by mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "soft.h"

/*
 * Most segments that one VAS can show; more are -ENOSPC at the switch.  Each is
 * a mapping and the hole behind it another one, of which a process can have 65530
 * (vm.max_map_count), with those of the program.
 */
#define MAX_SHOWN	32700

struct shown {
	uint32_t seg;
	uint16_t rights;
	uint16_t pager;
	uint64_t base;
	uint64_t length;
};

/* Both in the order of addresses; what shall be shown is used by show_all(). */
static struct shown shown[MAX_SHOWN];
static unsigned int nr_shown;
static struct shown wanted[MAX_SHOWN];
static unsigned int nr_wanted;
static uint64_t seen_changes;
static uint64_t window_size;	/* what is reserved; 0: nothing yet */

static int soft_open(void)
{
	int err = soft_registry_open();

	if (err)
		return err;
	err = soft_lock();
	if (err) {
		soft_registry_close();
		return err;
	}
	soft_collect();
	soft_unlock();
	return 0;
}

static int reserve(uint64_t base, uint64_t length, int flags)
{
	void *p = mmap((void *)(uintptr_t)base, length, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags,
		       -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	if (p != (void *)(uintptr_t)base) {
		munmap(p, length);
		return -EEXIST;
	}
	return 0;
}

static int soft_prepare(void)
{
	uint64_t size;
	int err = pvvas_window_here(SOFT_WINDOW, &size);

	if (!err)
		err = reserve(PVVAS_WINDOW_VA, size, MAP_FIXED_NOREPLACE);
	if (!err)
		window_size = size;
	return err;
}

static void hide(const struct shown *s)
{
	reserve(s->base, s->length, MAP_FIXED);
}

static void hide_all(void)
{
	unsigned int i;

	for (i = 0; i < nr_shown; i++)
		hide(&shown[i]);
	nr_shown = 0;
}

static int map_segment(const struct shown *s)
{
	const struct soft_object *seg = soft_object(PVVAS_KIND_SEG, s->seg);
	int prot = PROT_READ | (s->rights & PVVAS_WRITE ? PROT_WRITE : 0);
	int fd = soft_segment_file(seg, O_RDWR), err = 0;

	if (fd < 0)
		return fd;
	if (mmap((void *)(uintptr_t)s->base, s->length, prot,
		 MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd,
		 (off_t)seg->shift) == MAP_FAILED)
		err = -errno;
	close(fd);
	return err;
}

uint32_t soft_shown_rights(uint32_t seg)
{
	unsigned int i;

	for (i = 0; i < nr_shown; i++)
		if (shown[i].seg == seg)
			return shown[i].rights;
	return 0;
}

uint32_t soft_rights_at(uint64_t addr)
{
	unsigned int i;

	for (i = 0; i < nr_shown; i++)
		if (addr - shown[i].base < shown[i].length)
			return shown[i].rights;
	return 0;
}

void soft_range_changed(const struct soft_object *seg, uint64_t offset,
			uint64_t length)
{
	uint32_t rights = soft_shown_rights(seg->id);
	bool known = seen_changes == soft_reg->changes;

	soft_reg->changes++;
	if (known)
		seen_changes = soft_reg->changes;
	if (rights)
		soft_page_apply(seg, rights, offset, length);
}

/* In the signal handler: what another process has changed since? */
static int soft_stale(uintptr_t addr, bool write)
{
	const struct soft_object *seg = NULL;
	uint32_t rights = 0;
	unsigned int i;
	int ret = 0;

	/* with the lock, the fault is the library's own, in a caller's array */
	if (soft_lock())
		return 0;
	for (i = 0; i < nr_shown; i++)
		if (addr - shown[i].base < shown[i].length) {
			seg = soft_object(PVVAS_KIND_SEG, shown[i].seg);
			rights = shown[i].rights;
		}
	if (seg && (!write || rights & PVVAS_WRITE)) {
		ret = soft_page_allows(seg, addr - seg->base, write);
		if (!ret) {
			soft_page_apply(seg, rights, (addr - seg->base) &
					~4095UL, 4096);
			ret = 1;
		}
	}
	soft_unlock();
	return ret;
}

static int want(const struct soft_object *seg, uint32_t rights)
{
	/* what has been attached, or has grown, meanwhile may lie beyond the window */
	uint64_t length = pvvas_window_part(seg->base, seg->length);

	if (!(rights & PVVAS_READ) || !length)
		return 0;
	if (nr_wanted == MAX_SHOWN)
		return -ENOSPC;
	wanted[nr_wanted++] = (struct shown){
		.seg = seg->id,
		.rights = (uint16_t)rights,
		.pager = seg->pager,
		.base = seg->base,
		.length = length,
	};
	return 0;
}

static int by_base(const void *a, const void *b)
{
	uint64_t x = ((const struct shown *)a)->base;
	uint64_t y = ((const struct shown *)b)->base;

	return (x > y) - (x < y);
}

/* What the attachment has now, in wanted[]. */
static int want_all(const struct soft_att *att)
{
	const struct soft_link *l;
	int err = 0;

	nr_wanted = 0;
	for_each_link(l) {
		const struct soft_object *seg;
		uint32_t rights = l->prot;

		if (!l->target)
			continue;
		if (l->target == att->vas)
			rights &= att->rights;
		else if (l->target != att->handle ||
			 l->process != soft_self)
			continue;
		seg = soft_object(PVVAS_KIND_SEG, l->seg);
		if (seg && l->target == att->vas && soft_hidden(att, seg))
			continue;
		err = seg ? want(seg, rights) : 0;
		if (err)
			return err;
	}
	qsort(wanted, nr_wanted, sizeof(wanted[0]), by_base);
	return 0;
}

static bool same(const struct shown *a, const struct shown *b)
{
	return a->seg == b->seg && a->rights == b->rights &&
	       a->pager == b->pager && a->base == b->base &&
	       a->length == b->length;
}

static bool is_shown(const struct shown *s)
{
	const struct shown *there =
		bsearch(s, shown, nr_shown, sizeof(shown[0]), by_base);

	return there && same(there, s);
}

/* Does something take all of its place, or does it stay? */
static bool is_replaced(const struct shown *s)
{
	const struct shown *by =
		bsearch(s, wanted, nr_wanted, sizeof(wanted[0]), by_base);

	return by && by->length >= s->length;
}

/*
 * Show what the attachment has now; the lock is held.  Other threads use what
 * is shown already: where nothing changes it stays mapped, and what takes the
 * place of something else does so at once.
 */
static int show_all(const struct soft_att *att)
{
	unsigned int i, nr = 0;
	int err;

	/* until all of it is shown, whatever is said next is not known */
	seen_changes = soft_reg->changes - 1;
	err = want_all(att);
	if (err)
		return err;
	for (i = 0; i < nr_shown; i++)
		if (!is_replaced(&shown[i]))
			hide(&shown[i]);
	for (i = 0; i < nr_wanted; i++) {
		if (!is_shown(&wanted[i])) {
			if (!err)
				err = map_segment(&wanted[i]);
			if (err) {
				hide(&wanted[i]);
				continue;
			}
		}
		wanted[nr++] = wanted[i];
	}
	memcpy(shown, wanted, nr * sizeof(shown[0]));
	nr_shown = nr;
	for (i = 0; i < nr_shown; i++)
		soft_page_apply(soft_object(PVVAS_KIND_SEG, shown[i].seg),
				shown[i].rights, 0, shown[i].length);
	if (!err)
		seen_changes = soft_reg->changes;
	return err;
}

/* The VAS that all threads see, which one of them went to last; under the lock. */
static int shown_handle;
/* Where this thread went itself: what it holds locks for, and goes back to. */
static __thread uint64_t place;

bool soft_is_shown(int vh)
{
	return vh == shown_handle;
}

static int enter_locked(int vh)
{
	const struct soft_att *att;
	int err;

	if (vh == VAS_HOME) {
		hide_all();
		shown_handle = VAS_HOME;
		return 0;
	}
	att = soft_att((uint32_t)vh);
	if (!att)
		return -EINVAL;
	if (vh == shown_handle && seen_changes == soft_reg->changes)
		return 0;
	err = show_all(att);
	if (!err)
		shown_handle = vh;
	return err;
}

static int soft_enter(int vh, int prev, bool fast)
{
	int err;

	(void)fast;
	err = soft_lock();
	if (err)
		return err;
	err = enter_locked(vh);
	if (err && err != -EINVAL && enter_locked(prev))
		enter_locked(VAS_HOME);
	if (err != -EINVAL) {
		place = (uint64_t)(uint32_t)shown_handle;
		__pvvas_self.cookie = &place;
	}
	soft_unlock();
	return err;
}

static int info(struct pvvas_ioc_info *arg)
{
	*arg = (struct pvvas_ioc_info){
		.size = sizeof(*arg),
		.version = PVVAS_IOC_VERSION,
		.slots = 1,
		.window_va = PVVAS_WINDOW_VA,
		.window_size = SOFT_WINDOW,
		.page_size = 4096,
	};
	return 0;
}

static int locked_call(unsigned long request, void *arg)
{
	int err = soft_objects_call(request, arg);

	if (err == -ENOTTY)
		err = soft_attach_call(request, arg);
	if (err == -ENOTTY)
		err = soft_page_call(request, arg);
	if (err == -ENOTTY)
		err = soft_clone_call(request, arg);
	return err;
}

static int soft_call(unsigned long request, void *arg)
{
	const struct soft_att *att;
	int err;

	if (request == PVVAS_IOC_INFO)
		return info(arg);
	if (request == PVVAS_IOC_SEG_WAIT || request == PVVAS_IOC_SEG_WAKE)
		return soft_wait_call(request, arg);
	err = soft_lock_call(request, arg);
	if (err != -ENOTTY)
		return err;
	err = soft_lock();
	if (err)
		return err;
	if (soft_collect_is_due())
		soft_collect();
	err = locked_call(request, arg);
	/* the dead may have what is wanted; of a move a part may be done */
	if ((err == -ENOSPC && request != PVVAS_IOC_SEG_MOVE) ||
	    (err == -EEXIST && request == PVVAS_IOC_SEG_RESIZE)) {
		soft_collect();
		err = locked_call(request, arg);
	}
	if (err == -EFBIG)
		soft_no_sigxfsz();
	/* a change shows at once to this process, to others when they switch */
	att = soft_att((uint32_t)shown_handle);
	if (att && seen_changes != soft_reg->changes)
		show_all(att);
	soft_unlock();
	return err;
}

static void soft_forget(int vh)
{
	(void)vh;
}

static void soft_forked(void)
{
	if (window_size)
		munmap((void *)PVVAS_WINDOW_VA, window_size);
	window_size = 0;
	nr_shown = 0;
	shown_handle = VAS_HOME;
	soft_registry_close();
}

const struct pvvas_backend pvvas_soft_backend = {
	.open = soft_open,
	.prepare = soft_prepare,
	.call = soft_call,
	.forget = soft_forget,
	.enter = soft_enter,
	.map_lock = soft_map_lock,
	.unmap_lock = soft_unmap_lock,
	.lock_thread = soft_lock_thread,
	.map_array = soft_map_array,
	.token = soft_token,
	.alive = soft_alive,
	.stale = soft_stale,
	.forked = soft_forked,
	.fast_switch = false,
	.per_thread = false,
	.writes = false,
};
