// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * seg_trap(): functions that hear of refused accesses, called by a handler of
 * SIGSEGV that is there as long as there is any such function.
 *
 * The handler takes no lock: it reads a table that is never changed, only
 * replaced.  It counts itself while it reads, and an old table is freed once a
 * call of seg_trap() sees that no thread reads it.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "internal.h"

struct trap {
	uintptr_t base;
	uintptr_t end;
	int sid;
	seg_trap_fn *fn;
	void *arg;
};

struct table {
	struct table *older;
	size_t nr;
	struct trap traps[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct table *) current;
static _Atomic unsigned int readers;
static struct table *old_tables;	/* under the lock */
static struct sigaction before;
static bool installed;

/* A write, as the page fault's error code says; on others it is unknown. */
static bool is_write(const void *context)
{
#if defined(__x86_64__)
	const ucontext_t *uc = context;

	return uc->uc_mcontext.gregs[REG_ERR] & 2;
#else
	(void)context;
	return false;
#endif
}

/* What would have happened without us. */
static void pass_on(int sig, siginfo_t *info, void *context)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(sig, info, context);
	} else if (before.sa_handler != SIG_DFL &&
		   before.sa_handler != SIG_IGN) {
		before.sa_handler(sig);
	} else {
		/* the access is repeated, and that ends it; or it was sent */
		sigaction(sig, &dfl, NULL);
		if (info->si_code <= 0)
			raise(sig);
	}
}

/*
 * The first trap for @addr from number *i on, which becomes the one after it; with
 * @behind, one of a segment that ended before @addr when the trap was set.  No function
 * is called in here: it may not return.
 */
static bool find_trap(uintptr_t addr, bool behind, size_t *i, struct trap *found)
{
	const struct table *t;
	bool is_there = false;

	/* before the table is looked up: see free_old_tables() */
	atomic_fetch_add(&readers, 1);
	t = atomic_load(&current);
	while (t && *i < t->nr && !is_there) {
		*found = t->traps[(*i)++];
		is_there = addr >= found->base && (addr < found->end) != behind;
	}
	atomic_fetch_sub(&readers, 1);
	return is_there;
}

static bool has_grown(const struct trap *trap, uintptr_t addr)
{
	struct pvvas_ioc_attr attr;

	return !pvvas_getattr(PVVAS_KIND_SEG, trap->sid, &attr) &&
	       attr.base == trap->base && addr - attr.base < attr.length;
}

/* Those of segments that had the address, or have it now. */
static bool call_traps(struct seg_fault *fault, bool behind)
{
	uintptr_t addr = (uintptr_t)fault->addr;
	struct trap trap;
	size_t i = 0;

	while (find_trap(addr, behind, &i, &trap)) {
		if (behind && !has_grown(&trap, addr))
			continue;
		fault->sid = trap.sid;
		if (trap.fn(fault, trap.arg) == SEG_TRAP_RESUME)
			return true;
	}
	return false;
}

static bool trapped(const siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr;
	const struct pvvas_backend *be = pvvas_backend_opened();
	struct seg_fault fault = {
		.addr = info->si_addr,
		.vh = vas_current(),
		.access = is_write(context) ? PROT_WRITE : PROT_READ,
		.context = context,
	};
	int missing = info->si_code == SEGV_MAPERR;
	bool shown;

	if (!be || (info->si_code != SEGV_ACCERR && !missing))
		return false;
	shown = addr >= PVVAS_WINDOW_FIRST && fault.vh != VAS_HOME;
	if (shown) {
		int stale = be->stale(addr, fault.access == PROT_WRITE);

		if (stale == 1)
			return true;
		missing |= stale == -ENXIO;
	}
	fault.missing = missing;
	return call_traps(&fault, false) || (shown && call_traps(&fault, true));
}

static void handler(int sig, siginfo_t *info, void *context)
{
	int err = errno;

	if (!trapped(info, context))
		pass_on(sig, info, context);
	errno = err;
}

static int install(bool on)
{
	struct sigaction sa = {
		.sa_sigaction = handler,
		.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK,
	};
	struct sigaction now;

	if (on == installed)
		return 0;
	if (on && sigaction(SIGSEGV, &sa, &before) < 0)
		return -errno;
	/* a handler that was installed after ours may call it: then it stays */
	if (!on) {
		if (sigaction(SIGSEGV, NULL, &now) < 0 ||
		    !(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != handler)
			return 0;
		sigaction(SIGSEGV, &before, NULL);
	}
	installed = on;
	return 0;
}

/* A copy of the table without the traps of @sid, and with @add if given. */
static struct table *table_with(int sid, const struct trap *add)
{
	const struct table *old = atomic_load(&current);
	size_t nr = old ? old->nr : 0, i;
	struct table *t = malloc(sizeof(*t) + (nr + 1) * sizeof(t->traps[0]));

	if (!t)
		return NULL;
	t->nr = 0;
	t->older = NULL;
	if (add)
		t->traps[t->nr++] = *add;
	for (i = 0; i < nr; i++)
		if (old->traps[i].sid != sid)
			t->traps[t->nr++] = old->traps[i];
	return t;
}

/*
 * Any reader that counts itself from here on finds the new table.  A thread
 * that is in the middle of reading leaves them to the next call.
 */
static void free_old_tables(void)
{
	struct table *t;

	if (atomic_load(&readers))
		return;
	while ((t = old_tables) != NULL) {
		old_tables = t->older;
		free(t);
	}
}

/* The lock is held. */
static void replace_table(struct table *t)
{
	struct table *old = atomic_exchange(&current, t);

	if (old) {
		old->older = old_tables;
		old_tables = old;
	}
	free_old_tables();
}

PVVAS_EXPORT int seg_trap(int sid, seg_trap_fn *fn, void *arg)
{
	struct trap trap = { .sid = sid, .fn = fn, .arg = arg };
	struct pvvas_ioc_attr attr;
	const struct table *now;
	struct table *t;
	size_t nr = 0;
	int err = 0;

	if (sid <= 0)
		return -EINVAL;
	if (fn) {
		err = pvvas_getattr(PVVAS_KIND_SEG, sid, &attr);
		if (err)
			return err;
		trap.base = attr.base;
		trap.end = attr.base + attr.length;
	}
	pthread_mutex_lock(&lock);
	now = atomic_load(&current);
	t = table_with(sid, fn ? &trap : NULL);
	if (t)
		nr = t->nr;
	if (!t)
		err = -ENOMEM;
	else if (!fn && nr == (now ? now->nr : 0))
		err = -ENOENT;
	else if (fn)
		err = install(true);
	if (err) {
		free(t);
	} else {
		replace_table(t);
		if (!nr)
			install(false);
	}
	pthread_mutex_unlock(&lock);
	return err;
}

/* Traps are this process's; the child attaches, and traps, anew. */
void pvvas_traps_forked(void)
{
	pthread_mutex_init(&lock, NULL);
	/* of threads that are not there any more */
	atomic_store(&readers, 0);
	replace_table(NULL);
	install(false);
}
