/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One view, whose tables the guest writes and KVM shadows, against a vCPU that
 * runs in it and another that is in KVM on behalf of it.
 *
 * Modelled: vcpu->mode and requests as vcpu_enter_guest() and
 * kvm_flush_remote_tlbs() use them; mmu_lock; the notifier's sequence count. The
 * guest's tables: a root with one entry, a table with one entry for one of two
 * guest frames; each frame has a page of the host, which goes and comes. Of KVM:
 * the pinned root, shadow pages of the table (one valid, and one of the generation
 * before while a zap is under way), the reverse maps, i.e. for which frame a leaf
 * was made. Per CPU, what its paging-structure caches and its TLB hold for the
 * view's root. The CPU forgets nothing by itself.
 *
 * Proved: no CPU in the guest walks a freed root or table, or reaches a page that
 * the host has taken (the asserts in use()); after INVALIDATE, and after RESET, no
 * CPU and no emulated instruction reaches what the tables led to before; no
 * deadlock; once changes stop, faults stop too; each flush ends.
 *
 * Left out, one at a time, with -D (each must make the check fail):
 *   NO_FLUSH_NOTIFIER the notifier zaps and does not flush
 *   NO_STORED_GFN     a leaf is looked for by what the guest's table says now
 *   NO_SEQ            a fault installs what it looked up before a notifier
 *   NO_GPTE_CHECK     a fault does not read the guest's entries again under the lock
 *   NO_FLUSH_YIELD    a zap of all empties the roots, and yields without a flush
 *   NO_FLUSH_EMPTY    ... or has emptied them, and does not flush
 *   NO_EMPTY          ... or it leaves what the roots lead to
 *   NO_FLUSH_RENEW    a fault that comes before that zap empties its root without one
 *   NO_FLUSH_INVAL    INVALIDATE does not flush
 *   NO_FLUSH_LIST     ... or not when it yields between two rows of a list
 *   NO_EMULATOR_WAIT  ... or does not wait for KVM's emulator
 *   NO_EARLY_MARK     the emulator says that it uses a view once it has found it
 *   NO_FLUSH_DESTROY  a view's root goes without a flush
 *   NO_RELOAD         ... with one, and its vCPUs are not told to load another
 *   NO_USERS          ... and a fault in it does not keep it
 *   NO_KILL           ... and a fault that is under way goes on
 *   NO_ZAP_RESET      a reset leaves the shadow pages of tables
 *   NO_FLUSH_CREATE   the root's page was another VM's and no flush came since
 *   NO_RECHECK        requests are not looked at again in IN_GUEST_MODE
 *   NO_WAIT           the flush does not wait for CPUs in the guest
 *   NO_KICK           a CPU in the guest takes no notice of the IPI
 */
#ifndef SCRIPT
#define SCRIPT	1		/* 1: an entry changes; 2: a table goes and comes; 3: a reset; 0: none of them */
#endif
#ifndef ROUNDS
#define ROUNDS	1		/* things that the other vCPU does */
#endif
#define LIVES	4		/* of roots, and of shadow pages; 0 is none */
#define ALIEN	4		/* what another VM left under the same root page */

/* Pages of the host: 1 and 2 are of guest frame 1, 3 and 4 of guest frame 2. */
#define GFN(page)	(((page) + 1) / 2)

/* true from allocation to free */
bool page_live[6], table_live[LIVES + 1], root_live[LIVES + 1];
byte page[3];			/* of each guest frame, that the host's page table shows */

/* What the guest has written. */
bool root_entry = true;		/* leads to the table */
byte entry = 1;			/* guest frame */

/* The shadow. */
byte leaf[LIVES + 1];		/* of each shadow page: the page of the host, or 0 */
byte table, old_table;		/* valid one, and one of the generation before */
byte tables, roots = 1;		/* lives so far */
byte root = 1, link;		/* the view's root; the shadow page that it leads to */
bool obsolete;			/* the root is of the generation before */
bool killed;			/* the root has gone from the hash */
bool exists = true;		/* the view */
bool placed;			/* the list shows it */
byte users[LIVES + 1];

/* The vCPU. */
byte on_root;			/* that it loaded last; 0: the VM's own */
bool in_guest, request, reload, kick;
byte tlb, psc;			/* page of the host; shadow page */
bool emulating;			/* an instruction of the other one */

/* What the guest has been promised not to reach any more. */
bool gone[3], detached;

bool mmu_lock, invalidating;
byte seq;
bool flushing;			/* only under mmu_lock */
byte running = 4;		/* processes that still change things */
byte late_faults;		/* since changes stopped */

/* kvm_flush_remote_tlbs(): requests, IPIs, wait until they have arrived */
#ifdef NO_WAIT
#define arrived	true
#else
#define arrived	(!in_guest || !kick)
#endif

inline flush()
{
	d_step { flushing = true; request = true; kick = in_guest };
	atomic { arrived -> flushing = false }
}

/* A CPU in the guest uses something that must exist. */
inline use(live) { assert(live) }

#ifdef NO_KICK
#define may_go_on	true
#else
#define may_go_on	(!kick)
#endif

/*
 * A violation in the view, with the locals below; with @any_entry it may be at
 * another entry of the table, too: then only the way to the table counts. What is
 * done under mmu_lock is one step, but for a flush in between: what looks without
 * the lock sees what is there before or after.
 */
inline fault(any_entry)
{
	/* kvm_pvvas_page_fault() */
	atomic { !mmu_lock ->
		in_root = (exists -> root : 0);
#ifndef NO_USERS
		if
		:: in_root != 0 -> users[in_root]++
		:: else
		fi
#endif
	};
	if
	:: in_root == 0
	:: else ->
		/* view_renew_root() */
		if
		:: atomic { obsolete && !killed && in_root == root && !mmu_lock ->
			link = 0;
			obsolete = false;
#ifndef NO_FLUSH_RENEW
			mmu_lock = true;
			flush();
			mmu_lock = false
#endif
		   }
		:: !obsolete || killed || in_root != root
		fi;
		/* the walk, without the lock; then the page */
		d_step { gfn = (root_entry -> entry : 0); was = seq };
		atomic {
			seen = (gfn != 0 -> page[gfn] : 0)
		};
		atomic { !mmu_lock ->
			use(root_live[in_root]);
			if
			:: gfn == 0 || seen == 0	/* reflected; or not there yet */
			:: gfn != 0 && seen != 0 ->
				if
#ifndef NO_SEQ
				:: invalidating || was != seq
#endif
#ifndef NO_GPTE_CHECK
				:: !root_entry || entry != gfn
#endif
				:: obsolete || killed || in_root != root
				:: else ->
					if
					:: link == 0 && table == 0 ->
						tables++;
						table = tables;
						table_live[table] = true;
						link = table
					:: link == 0 && table != 0 -> link = table
					:: else
					fi;
					was = 0;
					if
					:: true -> was = leaf[link]; leaf[link] = seen
					:: any_entry
					fi;
					if
					:: was != 0 && was != seen ->
						mmu_lock = true;
						flush();
						mmu_lock = false
					:: else
					fi
				fi
			fi;
#ifndef NO_USERS
			users[in_root]--;
			if
			:: users[in_root] == 0 -> root_live[in_root] = false
			:: else
			fi;
#endif
			seen = 0; was = 0; gfn = 0; in_root = 0
		}
	fi
}

proctype vcpu()
{
	byte seen, was, gfn, in_root;

outside:
	atomic {
		in_guest = false; kick = false; seen = 0;
		if
		:: request -> request = false; tlb = 0; psc = 0
		:: else
		fi;
		/* KVM_REQ_LOAD_MMU_PGD: kvm_pvvas_choose() */
		if
		:: reload && !mmu_lock ->
			reload = false;
			on_root = (exists && placed -> root : 0)
		:: !reload
		fi
	};
	in_guest = true;
#ifndef NO_RECHECK
	if
	:: request || reload -> goto outside
	:: else
	fi;
#endif
	/*
	 * In the guest: accesses, until an IPI or any other exit. An entry is read
	 * and remembered in one step, used in the next.
	 */
	do
	:: goto outside
	:: atomic { on_root == 0 && placed && may_go_on -> reload = true; goto outside }
	:: atomic { on_root != 0 && may_go_on ->
		seen = tlb;
		if
		:: seen != 0 -> goto reached
		:: seen == 0 && psc == 0 -> use(root_live[on_root]); psc = link
		:: else
		fi;
		seen = psc;
		if
		:: seen == 0 -> goto violation
		:: else
		fi
	   };
		atomic {
			use(table_live[seen]); tlb = leaf[seen]; seen = tlb;
			if
			:: seen == 0 -> goto violation
			:: else
			fi
		};
reached:
		atomic { use(page_live[seen]); assert(!gone[GFN(seen)] && !detached); seen = 0 }
	od;

violation:
	/* what led to it is dropped */
	atomic {
		in_guest = false; tlb = 0; psc = 0;
		late_faults = late_faults + (running == 0);
		assert(late_faults <= 3)
	};
	fault(false);
	goto outside
}

/*
 * Another vCPU, as far as it is out of the guest: faults, and what KVM's emulator
 * does for it in kvm_pvvas_translate_gpa(): the view, where its tables lead, the
 * access.
 */
proctype other()
{
	byte seen, was, gfn, in_root, rounds;

	do
	:: rounds < ROUNDS -> rounds++; fault(true)
	:: rounds < ROUNDS -> rounds++;
#ifndef NO_EARLY_MARK
		emulating = true;
#endif
		atomic { !mmu_lock -> in_root = (exists -> root : 0) };
#ifdef NO_EARLY_MARK
		emulating = true;
#endif
		if
		:: in_root != 0 ->
			gfn = (root_entry -> entry : 0);
			assert(gfn == 0 || (!gone[gfn] && !detached))
		:: else
		fi;
		atomic { gfn = 0; in_root = 0; emulating = false }
	:: break
	od;
	running--
}

/* Is the leaf of a shadow page in the reverse map of the guest frame? */
#ifdef NO_STORED_GFN
#define in_rmap(t, gfn)	(leaf[t] != 0 && entry == gfn)
#else
#define in_rmap(t, gfn)	(leaf[t] != 0 && GFN(leaf[t]) == gfn)
#endif

/* munmap, MADV_DONTNEED, migration: a frame's page goes, another comes */
proctype notifier()
{
	byte gfn, old;
	bool zapped;

	if
	:: gfn = 1
	:: gfn = 2
	fi;
	atomic { !mmu_lock ->
		invalidating = true;
		if
		:: in_rmap(table, gfn) -> leaf[table] = 0; zapped = true
		:: else
		fi;
		if
		:: in_rmap(old_table, gfn) -> leaf[old_table] = 0; zapped = true
		:: else
		fi;
#ifndef NO_FLUSH_NOTIFIER
		if
		:: zapped -> mmu_lock = true; flush(); mmu_lock = false
		:: else
		fi
#endif
	};
	d_step { old = page[gfn]; page_live[old] = false; page[gfn] = 0 };
	atomic { !mmu_lock -> invalidating = false; seq++ };
	d_step { page[gfn] = old + 1; page_live[old + 1] = true };
	running--
}

/* mmu_lock is let go of, or not. */
inline maybe_yield(must_flush)
{
	if
	:: true ->
		if
		:: must_flush -> flush()
		:: else
		fi;
		mmu_lock = false;
		atomic { !mmu_lock -> mmu_lock = true }
	:: true
	fi
}

/* A memslot changes: kvm_mmu_zap_all_fast() */
proctype slots()
{
	byte dying;

	/* root and table are of the generation before */
	atomic { !mmu_lock ->
		mmu_lock = true;
		obsolete = exists;
		old_table = table;
		table = 0;
		/* reload: as a flush, but what is there may be read again */
		flush();
		mmu_lock = false
	};

	/* view_empty_obsolete_roots(), which may come to the root after a yield */
	atomic { !mmu_lock -> mmu_lock = true };
	maybe_yield(false);
#ifndef NO_EMPTY
	if
	:: obsolete && !killed -> link = 0; obsolete = false
	:: else
	fi;
#endif
#ifndef NO_FLUSH_YIELD
	maybe_yield(true);
#else
	maybe_yield(false);
#endif
#ifndef NO_FLUSH_EMPTY
	flush();
#endif
	/* kvm_zap_obsolete_pages() */
	maybe_yield(false);
	d_step {
		dying = old_table;
		old_table = 0;
		leaf[dying] = 0;
		link = (link == dying -> 0 : link)
	};
	maybe_yield(false);
	atomic {
		flush();
		table_live[dying] = false;
		dying = 0;
		mmu_lock = false
	};
	running--
}

#ifdef NO_FLUSH_INVAL
#define FLUSH_INVAL	false
#else
#define FLUSH_INVAL	true
#endif
#ifdef NO_FLUSH_LIST
#define FLUSH_LIST	false
#else
#define FLUSH_LIST	true
#endif

inline wait_for_emulators()
{
#ifndef NO_EMULATOR_WAIT
	!emulating
#else
	true
#endif
}

/* Another CPU of the guest, in hypercalls: kvm_pvvas.lock makes them one process */
proctype guest()
{
	bool zapped;
	byte dying;

	/* PVVAS_HC_CTX_CREATE, of a page that was another VM's until now */
	atomic { !mmu_lock ->
#ifndef NO_FLUSH_CREATE
		mmu_lock = true;
		flush();
		mmu_lock = false;
#endif
		placed = true
	};

#if SCRIPT == 0
	skip;
#elif SCRIPT == 1
	/* Another frame in its place: a store, and a list with this row and others. */
	entry = 2;
	atomic { !mmu_lock ->
		mmu_lock = true;
		zapped = leaf[table] != 0 || leaf[old_table] != 0;
		leaf[table] = 0;
		leaf[old_table] = 0
	};
	if
	:: true ->
		if
		:: zapped && FLUSH_LIST -> flush()
		:: else
		fi;
		d_step { zapped = false; mmu_lock = false };
		atomic { !mmu_lock -> mmu_lock = true }
	:: true
	fi;
	if
	:: zapped && FLUSH_INVAL -> flush()
	:: else
	fi;
	mmu_lock = false;
	wait_for_emulators();
	gone[1] = true;
#elif SCRIPT == 2
	/* The table goes from the root, and comes back. */
	root_entry = false;
	atomic { !mmu_lock ->
		zapped = link != 0;
		link = 0;
		if
		:: zapped && FLUSH_INVAL -> mmu_lock = true; flush(); mmu_lock = false
		:: else
		fi
	};
	wait_for_emulators();
	detached = true;
	d_step { detached = false; root_entry = true };
#else
	/* PVVAS_HC_RESET: pvvas_ctx_free() */
	atomic { !mmu_lock ->
		mmu_lock = true;
		exists = false;
		placed = false;
#ifndef NO_RELOAD
		reload = true;
#endif
#ifndef NO_KILL
		killed = true;
		link = 0;
#endif
#ifndef NO_FLUSH_DESTROY
		flush();
#endif
		mmu_lock = false
	};
	d_step {
		users[root]--;
		if
		:: users[root] == 0 -> root_live[root] = false
		:: else
		fi
	};
	/* kvm_view_zap_all() */
#ifndef NO_ZAP_RESET
	atomic { !mmu_lock ->
		dying = table;
		leaf[table] = 0;
		table = 0;
		link = (link == dying -> 0 : link);
		if
		:: dying != 0 ->
			mmu_lock = true;
			flush();
			mmu_lock = false;
			table_live[dying] = false
		:: else
		fi;
		dying = 0
	};
#endif
	wait_for_emulators();

	/* Other tables in the same pages, without a word; a context of them. */
	d_step { entry = 2; gone[1] = true };
	atomic { !mmu_lock ->
		mmu_lock = true;
#ifdef NO_KILL
		/* the root is found in the hash */
		assert(link == 0);
#endif
		roots++;
		root = roots;
		root_live[root] = true;
		link = 0;
		killed = false;
		obsolete = false;
		users[root] = 1;
		exists = true;
		flush();
		placed = true;
		mmu_lock = false
	};
#endif
	running--
}

init
{
	atomic {
		page[1] = 1;
		page[2] = 3;
		page_live[1] = true;
		page_live[3] = true;
		root_live[1] = true;
		/* left by another VM, whose root this page was */
		if
		:: tlb = ALIEN + 1
		:: psc = ALIEN
		fi;
		users[1] = 1;
		run vcpu();
		run other();
#ifndef NO_NOTIFIER
		run notifier();
#else
		running--;
#endif
#ifndef NO_SLOTS
		run slots();
#else
		running--;
#endif
		run guest()
	}
}

ltl flush_ends { [] (flushing -> <> !flushing) }
