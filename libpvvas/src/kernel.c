// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The kernel backend: /dev/pvvas, and VMFUNC.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "seglock.h"
#include "vmfunc.h"

#define DEVICE		"/dev/pvvas"

/* Other threads can take a slot away as fast as the driver gives it. */
#define MAX_TRIES	1000

#define IDENTITY	((const volatile struct pvvas_identity *)PVVAS_WINDOW_VA)

_Static_assert(VAS_WINDOW_BASE == PVVAS_WINDOW_VA, "one window");
_Static_assert(VAS_WINDOW_FIRST == PVVAS_WINDOW_FIRST, "one window");

/*
 * The program can close the descriptor, and have another file of its number.
 * So it is a high number, and is opened anew where that is seen.
 */
static _Atomic int fd = -1;
static pthread_mutex_t fd_lock = PTHREAD_MUTEX_INITIALIZER;	/* guards changes */
static dev_t device;		/* of fd when it was first opened */
static uint64_t window_whole;
static uint64_t window_size;	/* of that, what is mapped here */

/*
 * Slot plus one of each attachment, by index of the handle; the entry of
 * index 0 is that of VAS_HOME.  Behind it a second table of the slots that the
 * driver named last, also for attachments that no inline switch may go to.
 * The kernel wipes these pages in a child however it was forked, so that it
 * never acts on its parent's attachments.
 */
static _Atomic(uint16_t *) slots;

enum slot_table { SLOTS_INLINE, SLOTS_NAMED, SLOTS_TABLES };

/* ENOSYS: the hypervisor has no views.  ENODEV: it has, or may have. */
static int absent(void)
{
	return vmfunc_hypervisor() == PVVAS_NO ? -ENOSYS : -ENODEV;
}

static bool is_ours(int f)
{
	struct stat st;

	return f >= 0 && !fstat(f, &st) && S_ISCHR(st.st_mode) &&
		st.st_rdev == device;
}

static int check_device(int f)
{
	struct pvvas_ioc_info info = { .size = sizeof(info) };
	struct stat st;

	if (ioctl(f, PVVAS_IOC_INFO, &info) < 0 || fstat(f, &st) < 0)
		return errno == ENOTTY ? -ENODEV : -errno;
	if (info.window_va != PVVAS_WINDOW_VA)
		return -EPROTO;
	device = st.st_rdev;
	window_whole = info.window_size;
	return 0;
}

static int kernel_open(void)
{
	int f = open(DEVICE, O_RDWR | O_CLOEXEC), err;

	if (f < 0) {
		err = errno;
		if (err == ENOENT || err == ENXIO || err == ENODEV)
			return absent();
		return -err;
	}
	err = check_device(f);
	if (err) {
		close(f);
		return err;
	}
	atomic_store(&fd, pvvas_move_up(f));
	return 0;
}

/* Unless another thread has done so meanwhile; 0 or -EBADF. */
static int open_again(void)
{
	PVVAS_NO_CANCEL;
	int f, err = 0;

	pthread_mutex_lock(&fd_lock);
	if (!is_ours(atomic_load(&fd))) {
		f = open(DEVICE, O_RDWR | O_CLOEXEC);
		if (is_ours(f)) {
			atomic_store(&fd, pvvas_move_up(f));
		} else {
			err = -EBADF;
			if (f >= 0)
				close(f);
		}
	}
	pthread_mutex_unlock(&fd_lock);
	return err;
}

/* The descriptor for a mapping, which says nothing of what it is of. */
static int fd_to_map(void)
{
	return open_again() ? -1 : atomic_load(&fd);
}

static int kernel_prepare(void)
{
	size_t bytes = SLOTS_TABLES * PVVAS_HANDLE_INDICES * sizeof(uint16_t);
	uint16_t *table;
	int err;
	void *p;

	err = pvvas_window_here(window_whole, &window_size);
	if (err)
		return err;
	p = mmap((void *)PVVAS_WINDOW_VA, window_size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED_NOREPLACE, fd_to_map(), 0);
	if (p == MAP_FAILED)
		return -errno;
	if (p != (void *)PVVAS_WINDOW_VA) {
		/* a kernel that takes the address as a mere hint */
		munmap(p, window_size);
		return -EEXIST;
	}
	table = atomic_load(&slots);
	if (!table) {
		table = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			     -1, 0);
		if (table == MAP_FAILED)
			goto fail;
		if (madvise(table, bytes, MADV_WIPEONFORK) < 0) {
			munmap(table, bytes);
			goto fail;
		}
	}
	table[VAS_HOME] = 1;
	atomic_store(&slots, table);
	return 0;
fail:
	p = (void *)PVVAS_WINDOW_VA;
	munmap(p, window_size);
	return -ENOMEM;
}

static int kernel_call(unsigned long request, void *arg)
{
	int f = atomic_load(&fd), err;

	if (ioctl(f, request, arg) >= 0)
		return 0;
	err = -errno;
	if (is_ours(f))
		return err;
	/* another file refused what it does not know */
	if (open_again())
		return -EBADF;
	return ioctl(atomic_load(&fd), request, arg) < 0 ? -errno : 0;
}

/* Where a table has the attachment's entry; NULL before there are any. */
static uint16_t *slot_entry(enum slot_table which, int vh)
{
	uint16_t *table = atomic_load(&slots);

	return table ? &table[which * PVVAS_HANDLE_INDICES +
			      PVVAS_HANDLE_INDEX(vh)] : NULL;
}

static void set_slot(enum slot_table which, int vh, unsigned int entry)
{
	uint16_t *e = slot_entry(which, vh);

	if (e)
		__atomic_store_n(e, (uint16_t)entry, __ATOMIC_RELEASE);
}

/* Where a switch looks before it asks. */
static void kernel_attached(int vh, unsigned int slot)
{
	set_slot(SLOTS_NAMED, vh, slot + 1);
}

static void kernel_forget(int vh)
{
	set_slot(SLOTS_INLINE, vh, 0);
	set_slot(SLOTS_NAMED, vh, 0);
}

static int current_cookie(void)
{
	return (int)IDENTITY->cookie;
}

/* From now on the inline switch goes there. */
static void enter_inline(int vh, unsigned int slot)
{
	set_slot(SLOTS_INLINE, vh, slot + 1);
	__pvvas_self.slots = atomic_load(&slots);
}

/*
 * To the slot that the driver named last, if it knows this thread and no inline
 * switch has been there in vain.
 */
static bool enter_named(int vh, bool fast)
{
	unsigned int entry;

	if (__pvvas_self.cookie == &pvvas_home_cookie)
		return false;
	entry = __atomic_load_n(slot_entry(SLOTS_NAMED, vh), __ATOMIC_ACQUIRE);
	if (!entry || (fast && *slot_entry(SLOTS_INLINE, vh) == entry))
		return false;
	vmfunc(0, entry - 1);
	if (current_cookie() != vh)
		return false;
	if (fast)
		enter_inline(vh, entry - 1);
	return true;
}

/*
 * Ask the driver for a slot, go there, look where we are.  The request makes
 * this thread known to the driver, which has to save and restore its view.
 */
static int enter_attached(int vh, bool fast)
{
	struct pvvas_ioc_attach arg;
	int err, i;

	if (enter_named(vh, fast))
		return 0;
	for (i = 0; i < MAX_TRIES; i++) {
		arg = (struct pvvas_ioc_attach){
			.size = sizeof(arg),
			.handle = (uint32_t)vh,
		};
		err = kernel_call(PVVAS_IOC_VAS_RESIDENT, &arg);
		if (err == -ENOENT)
			return -EINVAL;
		if (err)
			return err;
		__pvvas_self.cookie = (const volatile uint64_t *)&IDENTITY->cookie;
		set_slot(SLOTS_NAMED, vh, arg.slot + 1);
		if (fast)
			enter_inline(vh, arg.slot);
		vmfunc(0, arg.slot);
		if (current_cookie() == vh)
			return 0;
		sched_yield();
	}
	return -EAGAIN;
}

static unsigned int kernel_slot(void)
{
	return IDENTITY->slot;
}

static int kernel_enter(int vh, int prev, bool fast)
{
	int err;

	if (vh == VAS_HOME) {
		/* A thread that no driver knows is home and must not VMFUNC. */
		if (__pvvas_self.cookie == &pvvas_home_cookie)
			return 0;
		if (fast)
			__pvvas_self.slots = atomic_load(&slots);
		vmfunc(0, 0);
		return 0;
	}
	err = vh > 0 && ((uint32_t)vh & PVVAS_HANDLE) && atomic_load(&slots) ?
		enter_attached(vh, fast) : -EINVAL;
	if (!err || __pvvas_self.cookie == &pvvas_home_cookie)
		return err;
	/* Back to where we came from, or home if that is gone meanwhile. */
	if (current_cookie() != prev &&
	    (prev == VAS_HOME || enter_attached(prev, false)))
		vmfunc(0, 0);
	return err;
}

static int map_lock(struct seglock *lock, int f, bool write)
{
	const size_t size = PVVAS_LOCK_BYTES;
	void *word, *gone;

	word = mmap(NULL, size, write ? PROT_READ | PROT_WRITE : PROT_READ,
		    MAP_SHARED, f, (off_t)lock->element * PVVAS_LOCK_BYTES);
	if (word == MAP_FAILED)
		return -errno;
	if (!lock->gone) {
		gone = mmap(NULL, size, PROT_READ, MAP_SHARED, f,
			    (off_t)PVVAS_LOCK_GONE_OFFSET);
		if (gone == MAP_FAILED) {
			munmap(word, size);
			return -ENOMEM;
		}
		lock->gone = gone;
	}
	if (write)
		__atomic_store_n(&lock->writable, word, __ATOMIC_RELEASE);
	if (!lock->word)
		lock->word = word;
	return 0;
}

/* A lock that was mapped to read gets a second mapping when it may be written. */
static int kernel_map_lock(int vh, struct seglock *lock)
{
	struct pvvas_ioc_lock_open arg = {
		.size = sizeof(arg),
		.handle = (uint32_t)vh,
		.seg = (uint32_t)lock->sid,
	};
	int err = kernel_call(PVVAS_IOC_LOCK_OPEN, &arg);

	if (err)
		return err;
	if (lock->word && lock->number != arg.lock)
		err = -ESTALE;
	else
		err = map_lock(lock, arg.fd, arg.rights & PVVAS_WRITE);
	close(arg.fd);
	if (!err)
		lock->number = arg.lock;
	return err;
}

static void kernel_unmap_lock(struct seglock *lock)
{
	if (lock->writable && lock->writable != lock->word)
		munmap(lock->writable, PVVAS_LOCK_BYTES);
	if (lock->word)
		munmap((void *)lock->word, PVVAS_LOCK_BYTES);
	if (lock->gone)
		munmap((void *)lock->gone, PVVAS_LOCK_BYTES);
}

static int kernel_lock_thread(uint32_t *number)
{
	struct pvvas_ioc_lock_thread arg = { .size = sizeof(arg) };
	int err = kernel_call(PVVAS_IOC_LOCK_THREAD, &arg);

	*number = arg.number;
	return err;
}

static int kernel_map_array(size_t bytes, void **array)
{
	void *p;

	if (bytes / 4096 > PVVAS_HOLDS_MAX)
		return -ENOSPC;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_to_map(),
		 (off_t)PVVAS_HOLDS_OFFSET);
	if (p == MAP_FAILED)
		return -errno;
	*array = p;
	return 0;
}

static int kernel_token(uint64_t *token)
{
	struct pvvas_ioc_life arg = { .size = sizeof(arg) };
	int err = kernel_call(PVVAS_IOC_LIFE_TOKEN, &arg);

	if (!err)
		*token = arg.token;
	return err;
}

static int kernel_alive(uint64_t token)
{
	struct pvvas_ioc_life arg = { .size = sizeof(arg), .token = token };
	int err = kernel_call(PVVAS_IOC_LIFE_ALIVE, &arg);

	return err ? err : (int)arg.alive;
}

/* What the driver refuses is refused. */
static int kernel_stale(uintptr_t addr, bool write)
{
	(void)addr;
	(void)write;
	return 0;
}

static void kernel_forked(void)
{
	int f = atomic_load(&fd);

	pthread_mutex_init(&fd_lock, NULL);
	if (is_ours(f))
		close(f);
	atomic_store(&fd, -1);
}

const struct pvvas_backend pvvas_kernel_backend = {
	.open = kernel_open,
	.prepare = kernel_prepare,
	.call = kernel_call,
	.attached = kernel_attached,
	.forget = kernel_forget,
	.enter = kernel_enter,
	.slot = kernel_slot,
	.map_lock = kernel_map_lock,
	.unmap_lock = kernel_unmap_lock,
	.lock_thread = kernel_lock_thread,
	.map_array = kernel_map_array,
	.token = kernel_token,
	.alive = kernel_alive,
	.stale = kernel_stale,
	.forked = kernel_forked,
	.fast_switch = true,
	.per_thread = true,
	.writes = true,
};
