// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls of /dev/pvvas as no library would call them: wrong sizes, flags,
 * ids and addresses; and the VMA of the window, wrongly asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pvvas.h>

#include "tcase.h"

#define KIB	(1UL << 10)
#define MIB	(1UL << 20)
#define GIB	(1UL << 30)
#define FIRST	PVVAS_WINDOW_FIRST
#define SIZED(type)	(struct type){ .size = sizeof(struct type) }

static int device(void)
{
	static int fd;

	if (!fd)
		fd = open("/dev/pvvas", O_RDWR | O_CLOEXEC);
	check(fd > 0);
	return fd;
}

static int call(unsigned long request, void *arg)
{
	return ioctl(device(), request, arg) < 0 ? -errno : 0;
}

static unsigned long window_size(void)
{
	struct pvvas_ioc_info info = SIZED(pvvas_ioc_info);

	check_eq(call(PVVAS_IOC_INFO, &info), 0);
	return info.window_size;
}

static int make_vas(const char *name, int mode)
{
	struct pvvas_ioc_create arg = SIZED(pvvas_ioc_create);

	arg.name = (uintptr_t)name;
	arg.mode = mode;
	check_eq(call(PVVAS_IOC_VAS_CREATE, &arg), 0);
	tcase_track_vas(arg.id);
	return arg.id;
}

static int try_seg(unsigned long base, unsigned long length, int flags,
		   struct pvvas_ioc_create *out)
{
	struct pvvas_ioc_create arg = SIZED(pvvas_ioc_create);
	int ret;

	arg.mode = 0600;
	arg.base = base;
	arg.length = length;
	arg.flags = flags;
	ret = call(PVVAS_IOC_SEG_CREATE, &arg);
	if (!ret)
		tcase_track_seg(arg.id);
	if (out)
		*out = arg;
	return ret;
}

static int make_seg(unsigned long base, unsigned long length)
{
	struct pvvas_ioc_create arg;

	check_eq(try_seg(base, length, 0, &arg), 0);
	return arg.id;
}

static int link_seg(unsigned int target, unsigned int seg, unsigned int prot)
{
	struct pvvas_ioc_seg_attach arg = SIZED(pvvas_ioc_seg_attach);

	arg.target = target;
	arg.seg = seg;
	arg.prot = prot;
	return call(PVVAS_IOC_SEG_ATTACH, &arg);
}

static unsigned int attach(int vas)
{
	struct pvvas_ioc_attach arg = SIZED(pvvas_ioc_attach);

	arg.id = vas;
	check_eq(call(PVVAS_IOC_VAS_ATTACH, &arg), 0);
	check(arg.handle & PVVAS_HANDLE);
	check(arg.slot > 0);
	return arg.handle;
}

static int detach(unsigned int handle)
{
	struct pvvas_ioc_attach arg = SIZED(pvvas_ioc_attach);

	arg.handle = handle;
	return call(PVVAS_IOC_VAS_DETACH, &arg);
}

static const unsigned long requests[] = {
	PVVAS_IOC_INFO, PVVAS_IOC_VAS_CREATE, PVVAS_IOC_VAS_FIND,
	PVVAS_IOC_VAS_DELETE, PVVAS_IOC_VAS_ATTACH, PVVAS_IOC_VAS_DETACH,
	PVVAS_IOC_VAS_RESIDENT, PVVAS_IOC_BEGIN, PVVAS_IOC_VAS_PUBLISH,
	PVVAS_IOC_SEG_CREATE, PVVAS_IOC_SEG_FIND,
	PVVAS_IOC_SEG_DELETE, PVVAS_IOC_SEG_ATTACH, PVVAS_IOC_SEG_DETACH,
	PVVAS_IOC_LINK_NEXT, PVVAS_IOC_SEG_LOCKING, PVVAS_IOC_LOCK_OPEN,
	PVVAS_IOC_LOCK_THREAD, PVVAS_IOC_SEG_NEXT_DATA, PVVAS_IOC_LOCK_TAKE,
	PVVAS_IOC_LOCK_RELEASE, PVVAS_IOC_LOCK_CONSISTENT,
	PVVAS_IOC_SEG_LOCK_RESET, PVVAS_IOC_SEG_PUBLISH,
	PVVAS_IOC_GETATTR, PVVAS_IOC_SETATTR, PVVAS_IOC_STATS,
	PVVAS_IOC_LIFE_TOKEN, PVVAS_IOC_LIFE_ALIVE,
	PVVAS_IOC_VAS_CLONE, PVVAS_IOC_SEG_CLONE, PVVAS_IOC_SEG_MAP2,
	PVVAS_IOC_SEG_PROTECT, PVVAS_IOC_SEG_DIRTY, PVVAS_IOC_SEG_POPULATE,
	PVVAS_IOC_SEG_FILL, PVVAS_IOC_SEG_DISCARD, PVVAS_IOC_SEG_PAGER,
	PVVAS_IOC_SEG_STAT, PVVAS_IOC_SEG_ACCESSED, PVVAS_IOC_SEG_UNTRACK,
	PVVAS_IOC_SEG_LIMIT, PVVAS_IOC_SEG_RECLAIM_WAIT, PVVAS_IOC_SEG_EVICT,
	PVVAS_IOC_SEG_MOVE, PVVAS_IOC_SEG_READ, PVVAS_IOC_SEGS_CLONE,
	PVVAS_IOC_PUBLISH_ALL, PVVAS_IOC_SEG_RESIZE,
	PVVAS_IOC_SEG_WAIT, PVVAS_IOC_SEG_WAKE,
};

#define NR_REQUESTS	(sizeof(requests) / sizeof(requests[0]))

/* Of the first version of the struct. */
static unsigned int least(unsigned long request)
{
	switch (_IOC_SIZE(request)) {
	case sizeof(struct pvvas_ioc_create):
		return 40;
	case sizeof(struct pvvas_ioc_stats):
		return 216;
	case sizeof(struct pvvas_ioc_attr):
		return 312;
	case sizeof(struct pvvas_ioc_clone):
		return request == PVVAS_IOC_SEG_STAT ? 48 : 40;
	default:
		return _IOC_SIZE(request);
	}
}

static void a_struct_that_is_too_small_is_refused(void)
{
	unsigned int i, size;
	char buf[4096];

	for (i = 0; i < NR_REQUESTS; i++) {
		for (size = 0; size < least(requests[i]); size += 4) {
			memset(buf, 0, sizeof(buf));
			memcpy(buf, &size, 4);
			check_eq(call(requests[i], buf), -EINVAL);
		}
	}
}

static void a_larger_struct_is_taken_if_the_rest_is_zero(void)
{
	unsigned int i, size;
	char buf[8192];

	for (i = 0; i < NR_REQUESTS; i++) {
		memset(buf, 0, sizeof(buf));
		size = _IOC_SIZE(requests[i]) + 8;
		memcpy(buf, &size, 4);
		buf[size - 1] = 1;
		check_eq(call(requests[i], buf), -E2BIG);
		size = 4097;
		memcpy(buf, &size, 4);
		check_eq(call(requests[i], buf), -E2BIG);
	}
	memset(buf, 0, sizeof(buf));
	size = 4096;
	memcpy(buf, &size, 4);
	check_eq(call(PVVAS_IOC_INFO, buf), 0);
	check_eq(((struct pvvas_ioc_info *)buf)->size, 4096);
	check_eq(((struct pvvas_ioc_info *)buf)->version, PVVAS_IOC_VERSION);
}

static void a_bad_address_is_efault(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int i, size;

	check(page != MAP_FAILED);
	check_eq(munmap(page + 4096, 4096), 0);
	for (i = 0; i < NR_REQUESTS; i++) {
		check_eq(call(requests[i], NULL), -EFAULT);
		check_eq(call(requests[i], (void *)-8), -EFAULT);
		size = _IOC_SIZE(requests[i]);
		memcpy(page + 4092, &size, 4);
		check_eq(call(requests[i], page + 4092), -EFAULT);
	}
}

static void unknown_requests_are_enotty(void)
{
	unsigned int nr;
	char buf[64] = "";

	for (nr = 0; nr < 256; nr++) {
		unsigned long request = _IOC(3, PVVAS_IOC_TYPE, nr, 64);
		unsigned int i;

		for (i = 0; i < NR_REQUESTS; i++)
			if (_IOC_NR(requests[i]) == nr)
				break;
		if (i == NR_REQUESTS)
			check_eq(call(request, buf), -ENOTTY);
	}
	check_eq(call(_IO('x', 0), buf), -ENOTTY);
}

static void unknown_flags_are_refused(void)
{
	struct pvvas_ioc_seg_attach link = SIZED(pvvas_ioc_seg_attach);
	struct pvvas_ioc_attach att = SIZED(pvvas_ioc_attach);
	struct pvvas_ioc_create create = SIZED(pvvas_ioc_create);
	struct pvvas_ioc_stats stats = SIZED(pvvas_ioc_stats);
	int vas = make_vas(NULL, 0600), seg = make_seg(FIRST, MIB);
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		create.flags = 1U << bit;
		create.mode = 0600;
		check_eq(call(PVVAS_IOC_VAS_CREATE, &create), -EINVAL);
		if (bit >= 6)
			check_eq(try_seg(FIRST, MIB, 1U << bit, NULL), -EINVAL);
		att.id = vas;
		att.flags = 1U << bit;
		check_eq(call(PVVAS_IOC_VAS_ATTACH, &att), -EINVAL);
		check_eq(call(PVVAS_IOC_VAS_DETACH, &att), -EINVAL);
		check_eq(call(PVVAS_IOC_VAS_RESIDENT, &att), -EINVAL);
		if (bit >= 2)
			check_eq(link_seg(vas, seg, 1U << bit), -EINVAL);
	}
	att.flags = 0;
	att.reserved = 1;
	check_eq(call(PVVAS_IOC_VAS_ATTACH, &att), -EINVAL);
	link.reserved = 1;
	check_eq(call(PVVAS_IOC_SEG_ATTACH, &link), -EINVAL);
	link.reserved = 0;
	link.prot = PVVAS_READ;
	check_eq(call(PVVAS_IOC_SEG_DETACH, &link), -EINVAL);
	check_eq(link_seg(vas, seg, PVVAS_WRITE), -EINVAL);
	stats.reserved = 1;
	check_eq(call(PVVAS_IOC_STATS, &stats), -EINVAL);
	create.flags = 0;
	create.mode = 01600;
	check_eq(call(PVVAS_IOC_VAS_CREATE, &create), -EINVAL);
	create.mode = 0600;
	create.base = FIRST;
	check_eq(call(PVVAS_IOC_VAS_CREATE, &create), -EINVAL);
}

static void bad_names_are_refused(void)
{
	struct pvvas_ioc_create create = SIZED(pvvas_ioc_create);
	struct pvvas_ioc_name find = SIZED(pvvas_ioc_name);
	static const char * const bad[] = { "", ".", "..", "/", "a/b", "a/",
					    "a\nb", "\x1b[2J", "a\x7f", "\x01" };
	char name[PVVAS_NAME_MAX + 2];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		create.name = find.name = (uintptr_t)bad[i];
		check_eq(call(PVVAS_IOC_VAS_CREATE, &create), -EINVAL);
		check_eq(call(PVVAS_IOC_VAS_FIND, &find), -EINVAL);
	}
	memset(name, 'a', sizeof(name));
	name[PVVAS_NAME_MAX + 1] = '\0';
	create.name = find.name = (uintptr_t)name;
	check_eq(call(PVVAS_IOC_VAS_CREATE, &create), -ENAMETOOLONG);
	check_eq(call(PVVAS_IOC_VAS_FIND, &find), -ENAMETOOLONG);
	create.name = find.name = 8;
	check_eq(call(PVVAS_IOC_VAS_CREATE, &create), -EFAULT);
	check_eq(call(PVVAS_IOC_VAS_FIND, &find), -EFAULT);
	find.name = 0;
	check_eq(call(PVVAS_IOC_VAS_FIND, &find), -EFAULT);
}

static void a_segment_that_fits_nowhere_is_refused(void)
{
	unsigned long end = PVVAS_WINDOW_VA + window_size();

	check_eq(try_seg(FIRST, 0, 0, NULL), -EINVAL);
	check_eq(try_seg(FIRST, 100, 0, NULL), -EINVAL);
	check_eq(try_seg(FIRST + 100, 4 * KIB, 0, NULL), -EINVAL);
	check_eq(try_seg(FIRST, -4 * KIB, 0, NULL), -E2BIG);
	check_eq(try_seg(FIRST, window_size(), 0, NULL), -E2BIG);
	check_eq(try_seg(FIRST - 4 * KIB, 4 * KIB, 0, NULL), -ERANGE);
	check_eq(try_seg(4 * KIB, 4 * KIB, 0, NULL), -ERANGE);
	check_eq(try_seg(end, 4 * KIB, 0, NULL), -ERANGE);
	check_eq(try_seg(end - 4 * KIB, 8 * KIB, 0, NULL), -ERANGE);
	check_eq(try_seg(-4 * KIB, 4 * KIB, 0, NULL), -ERANGE);
	check_eq(try_seg(FIRST, 1024 * GIB, PVVAS_CREATE_POPULATE, NULL),
		 window_size() > 1025 * GIB ? -ENOMEM : -E2BIG);
}

static void the_driver_finds_room_for_segments(void)
{
	struct pvvas_ioc_create a, b, c, huge;

	check_eq(try_seg(0, 4 * KIB, 0, &a), 0);
	check_eq(try_seg(0, 3 * MIB, 0, &b), 0);
	check_eq(try_seg(0, 4 * KIB, 0, &c), 0);
	check_eq(try_seg(0, 2 * GIB, 0, &huge), 0);
	check(a.base >= FIRST);
	check_eq(a.base % (2 * MIB), 0);
	check_eq(b.base % (2 * MIB), 0);
	check_eq(huge.base % GIB, 0);
	check(b.base >= a.base + a.length);
	check(c.base >= b.base + b.length);
	check(huge.base >= c.base + c.length);
	check_eq(try_seg(0, window_size() - (PVVAS_WINDOW_FIRST -
					     PVVAS_WINDOW_VA) - GIB, 0, NULL), -ENOSPC);
}

static void handles_of_nothing_are_refused(void)
{
	struct pvvas_ioc_attach arg = SIZED(pvvas_ioc_attach);
	int vas = make_vas(NULL, 0600), seg = make_seg(FIRST, MIB);
	unsigned int handle, again;

	check_eq(detach(0), -ENOENT);
	check_eq(detach(PVVAS_HANDLE), -ENOENT);
	check_eq(detach(-1), -ENOENT);
	handle = attach(vas);
	check_eq(detach(handle + 1), -ENOENT);
	check_eq(detach(handle ^ 1U << 16), -ENOENT);
	check_eq(detach(handle | 1U << 31), -ENOENT);
	check_eq(link_seg(handle + 1, seg, 0), -ENOENT);
	check_eq(detach(handle), 0);
	check_eq(detach(handle), -ENOENT);
	check_eq(link_seg(handle, seg, 0), -ENOENT);
	again = attach(vas);
	check(again != handle);
	arg.handle = handle;
	check_eq(call(PVVAS_IOC_VAS_RESIDENT, &arg), -ENOENT);
	arg.handle = again;
	check_eq(call(PVVAS_IOC_VAS_RESIDENT, &arg), 0);
	check(arg.slot > 0);
}

static void attributes_are_walked_in_order(void)
{
	struct pvvas_ioc_attr arg = SIZED(pvvas_ioc_attr);
	int a = make_vas(NULL, 0600), b = make_vas(tcase_name("b"), 0640);
	unsigned int last = 0, seen = 0;

	for (;;) {
		arg.kind = PVVAS_KIND_VAS;
		arg.valid = PVVAS_ATTR_NEXT;
		if (call(PVVAS_IOC_GETATTR, &arg))
			break;
		check(arg.id > last);
		last = arg.id;
		seen += arg.id == (unsigned int)a || arg.id == (unsigned int)b;
	}
	check_eq(errno, ENOENT);
	check_eq(seen, 2);
	arg.id = b;
	arg.valid = 0;
	check_eq(call(PVVAS_IOC_GETATTR, &arg), 0);
	check_eq(arg.mode, 0640);
	check(arg.name[0]);
	arg.kind = 3;
	check_eq(call(PVVAS_IOC_GETATTR, &arg), -EINVAL);
	arg.kind = PVVAS_KIND_VAS;
	arg.valid = PVVAS_ATTR_MODE;
	check_eq(call(PVVAS_IOC_GETATTR, &arg), -EINVAL);
	arg.valid = 0;
	check_eq(call(PVVAS_IOC_SETATTR, &arg), -EINVAL);
	arg.valid = 1U << 5;
	check_eq(call(PVVAS_IOC_SETATTR, &arg), -EINVAL);
	arg.valid = PVVAS_ATTR_MODE;
	arg.mode = 010000;
	check_eq(call(PVVAS_IOC_SETATTR, &arg), -EINVAL);
	arg.valid = PVVAS_ATTR_UID;
	arg.uid = -1;
	check_eq(call(PVVAS_IOC_SETATTR, &arg), -EINVAL);
}

static int map(void *at, unsigned long size, int prot, int flags, off_t offset)
{
	void *p = mmap(at, size, prot, flags, device(), offset);
	int err = errno;

	if (p == MAP_FAILED)
		return -err;
	check_eq(munmap(p, size), 0);
	return 0;
}

static void the_window_is_mapped_in_its_place_or_not_at_all(void)
{
	int rw = PROT_READ | PROT_WRITE, fixed = MAP_SHARED | MAP_FIXED;
	char *va = (char *)PVVAS_WINDOW_VA;
	unsigned long size = window_size();

	check_eq(map(va, size, rw, fixed, 0), 0);
	check_eq(map(va, 4096, rw, fixed, 0), 0);
	check_eq(map(va, size + GIB, rw, fixed, 0), -EINVAL);
	check_eq(map(va + 4096, 4096, rw, fixed, 0), -EINVAL);
	check_eq(map(va + GIB, GIB, rw, fixed, GIB), -EINVAL);
	check_eq(map(va, GIB, rw, fixed, 4096), -EINVAL);
	check_eq(map(NULL, GIB, rw, MAP_SHARED, 0), -EINVAL);
	check_eq(map(va, 4096, rw, MAP_PRIVATE | MAP_FIXED, 0), -EINVAL);
	check_eq(map(va, GIB, PROT_READ, fixed, 0), -EINVAL);
	check_eq(map(va, GIB, rw | PROT_EXEC, fixed, 0), -EACCES);
}

static char *map_window(void)
{
	void *p = mmap((void *)PVVAS_WINDOW_VA, window_size(),
		       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, device(),
		       0);

	check(p == (void *)PVVAS_WINDOW_VA);
	return p;
}

static void the_window_cannot_be_changed(void)
{
	unsigned long size = window_size();
	char *va = map_window();

	check(mprotect(va, size, PROT_READ | PROT_EXEC) < 0);
	check(mprotect(va + GIB, GIB, PROT_READ) < 0);
	check(munmap(va + GIB, GIB) < 0);
	check(mremap(va, size, size + GIB, MREMAP_MAYMOVE) == MAP_FAILED);
	check(mremap(va, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
		     (void *)0x10000000000) == MAP_FAILED);
	check(madvise(va, size, MADV_DOFORK) < 0);
	check_eq(tcase_try_read(va).sig, 0);
	check_eq(munmap(va, size), 0);
}

static void a_window_without_attachment_shows_nothing(void)
{
	char *va = map_window();
	int fds[2];

	check_eq(tcase_try_read(va + GIB).sig, 11);
	check_eq(tcase_try_write(va + GIB).sig, 11);
	check_eq(tcase_try_write(va).sig, 11);
	check_eq(((volatile struct pvvas_identity *)va)->slot, 0);
	check_eq(((volatile struct pvvas_identity *)va)->ctx, 0);
	check_eq(pipe(fds), 0);
	check_eq(write(fds[1], va + GIB, 1), -1);
	check_eq(errno, EFAULT);
}

static void a_child_has_no_window(void)
{
	char *va = map_window();
	pid_t pid = fork();
	int status;

	check(pid >= 0);
	if (!pid) {
		struct tcase_fault f = tcase_try_read(va);

		_exit(f.sig == 11 ? 0 : 1);
	}
	check(waitpid(pid, &status, 0) == pid);
	check_eq(status, 0);
}

static pthread_barrier_t barrier;

static void *touch_window(void *va)
{
	pthread_barrier_wait(&barrier);
	check_eq(((volatile struct pvvas_identity *)va)->slot, 0);
	return NULL;
}

static void begin_in_eight_threads(void *arg)
{
	pthread_t threads[8];
	char *va = map_window();
	int i;

	(void)arg;
	pthread_barrier_init(&barrier, NULL, 8);
	for (i = 0; i < 8; i++)
		check_eq(pthread_create(&threads[i], NULL, touch_window, va), 0);
	for (i = 0; i < 8; i++)
		check_eq(pthread_join(threads[i], NULL), 0);
}

/* The first touch covers threads that are there already, in any state. */
static void threads_that_exist_are_covered_at_first_use(void)
{
	int i;

	/* Any of them may be preempted anywhere on its way. */
	for (i = 0; i < 32; i++)
		tcase_join(tcase_spawn(begin_in_eight_threads, NULL));
}

static void blocks_of_two_mib_are_not_shared(void)
{
	int vas = make_vas(NULL, 0600);

	check_eq(link_seg(vas, make_seg(FIRST + 4 * KIB, 4 * KIB), 0), 0);
	check_eq(link_seg(vas, make_seg(FIRST + MIB, 4 * KIB), 0), -EEXIST);
	check_eq(link_seg(vas, make_seg(FIRST + 2 * MIB, 4 * KIB), 0), 0);
	check_eq(link_seg(vas, make_seg(FIRST + 4 * MIB - 4 * KIB, 4 * MIB), 0),
		 -EEXIST);
	check_eq(link_seg(vas, make_seg(FIRST + 4 * MIB, 4 * MIB), 0), 0);
}

static void a_full_segment_has_all_its_pages(void)
{
	struct pvvas_ioc_create seg;
	struct pvvas_ioc_attr attr = SIZED(pvvas_ioc_attr);

	check_eq(try_seg(FIRST + 4 * KIB, 5 * MIB, PVVAS_CREATE_POPULATE, &seg),
		 0);
	attr.kind = PVVAS_KIND_SEG;
	attr.id = seg.id;
	check_eq(call(PVVAS_IOC_GETATTR, &attr), 0);
	check_eq(attr.resident, 5 * MIB);
}

static const struct tcase cases[] = {
	CASE(a_struct_that_is_too_small_is_refused),
	CASE(a_larger_struct_is_taken_if_the_rest_is_zero),
	CASE(a_bad_address_is_efault),
	CASE(unknown_requests_are_enotty),
	CASE(unknown_flags_are_refused),
	CASE(bad_names_are_refused),
	CASE(a_segment_that_fits_nowhere_is_refused),
	CASE(the_driver_finds_room_for_segments),
	CASE(handles_of_nothing_are_refused),
	CASE(attributes_are_walked_in_order),
	CASE(the_window_is_mapped_in_its_place_or_not_at_all),
	CASE(the_window_cannot_be_changed),
	CASE(a_window_without_attachment_shows_nothing),
	CASE(a_child_has_no_window),
	CASE(threads_that_exist_are_covered_at_first_use),
	CASE(blocks_of_two_mib_are_not_shared),
	CASE(a_full_segment_has_all_its_pages),
};

TCASE_MAIN(cases, 0)
