/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of one view, activation and reset against vCPUs that run in it.
 *
 * Modelled: vcpu->mode and requests as vcpu_enter_guest() and
 * kvm_flush_remote_tlbs() use them; mmu_lock; the notifier's sequence count; a
 * view with one window page (root -> table of the view -> leaf -> frame) and one
 * piece of RAM (root -> table of the VM's own root); per CPU, what its
 * paging-structure caches and its TLB hold for the view's root. A CPU forgets
 * nothing by itself. vCPUs leave the view for the VM's own root when views are
 * no longer in use, and come back; what they do on that root is KVM's own.
 *
 * Proved: no CPU in the guest walks a freed table or reaches a freed frame (the
 * asserts in use()); while views are not in use the view links no RAM; no
 * deadlock; once changes stop, faults stop too; each flush ends.
 *
 * Left out, one at a time, with -D (each must make the check fail):
 *   NO_FLUSH_ZAP      the notifier zaps and does not flush
 *   NO_FLUSH_ROOT     the VM's root is replaced without a flush of the views' roots
 *   NO_SCRUB          ... with a flush, but the views keep their links
 *   NO_FLUSH_DETACH   the view's own tables go without a flush
 *   NO_FLUSH_PLACE    the root page was another VM's and nobody flushed since
 *   NO_RECHECK        requests are not looked at again in IN_GUEST_MODE
 *   NO_WAIT           the flush does not wait for CPUs in the guest
 *   NO_STALE_CHECK    a fault installs what it looked up before a notifier
 *   NO_KICK           a CPU in the guest takes no notice of the IPI
 *   NO_REFILL         a violation that finds the RAM link missing copies nothing
 *   NO_LINK_RECHECK   ... does so although a reset came before it had the lock
 *   NO_SCRUB_RESET    a reset leaves the links
 *   NO_FLUSH_RESET    a reset does not wait until every vCPU is out of the view
 */
#define VCPUS	2
#ifndef ROUNDS
#define ROUNDS	1		/* of each kind of change */
#endif
#define IDS	6		/* lives of each thing; 0 is none */
#define ALIEN	6		/* what another VM left under the same root page */

/* true from allocation to free */
bool frame_live[IDS + 1], link_live[IDS + 1], base_live[IDS + 1];
byte frame;			/* that the host's page table shows */
byte leaf, link, ram;		/* entries of the view: which life, or 0 */
byte base;			/* the VM's own root, a table of it */
bool placed;			/* the guest may enter the view */
bool in_use = true;		/* views are in use: kvm->arch.pvvas_active */

bool on_view[VCPUS];		/* the root that the vCPU loaded last */
bool in_guest[VCPUS], request[VCPUS], kick[VCPUS];
byte tlb_leaf[VCPUS], psc_link[VCPUS], psc_ram[VCPUS];

bool mmu_lock, invalidating;
byte seq;
bool flushing;			/* only under mmu_lock */
byte running = 2;		/* processes that still change things */
byte late_faults[VCPUS];	/* since changes stopped */

inline lock() { atomic { !mmu_lock -> mmu_lock = true } }
inline unlock() { mmu_lock = false }

/* kvm_flush_remote_tlbs(): requests, IPIs, wait until they have arrived */
inline ask(i)
{
	request[i] = true;
	kick[i] = in_guest[i]
}

#ifdef NO_WAIT
#define arrived(i)	true
#else
#define arrived(i)	(!in_guest[i] || !kick[i])
#endif

inline flush()
{
	flushing = true;
	ask(0);
	ask(1);
	atomic { arrived(0) && arrived(1) -> flushing = false }
}

/* A CPU in the guest uses something that must exist. */
inline use(live) { assert(live) }

/*
 * A fault fills, so that there is none after it: when nothing changes any more,
 * one for RAM, one for the window, and each once more for what was under way.
 */
inline fault()
{
	late_faults[me] = late_faults[me] + (running == 0);
	assert(late_faults[me] <= 4)
}

#ifdef NO_KICK
#define may_go_on	true
#else
#define may_go_on	(!kick[me])
#endif

proctype vcpu(byte me)
{
	byte seen, was;
	bool load, hint;

outside:
	atomic { in_guest[me] = false; kick[me] = false; seen = 0; was = 0; hint = false };
	d_step {
		if
		:: request[me] ->
			request[me] = false;
			tlb_leaf[me] = 0;
			psc_link[me] = 0;
			psc_ram[me] = 0;
			load = true
		:: else
		fi
	}
	/* KVM_REQ_LOAD_MMU_PGD: vmx_pvvas_load() */
	if
	:: atomic { load && !mmu_lock -> on_view[me] = in_use; load = false }
	:: !load
	fi;
	in_guest[me] = true;
#ifndef NO_RECHECK
	if
	:: request[me] -> goto outside
	:: else
	fi;
#endif
	/*
	 * In the guest, in the view: accesses, until an IPI or any other exit.
	 * An entry is read and remembered in one step, used in the next.
	 */
	do
	:: goto outside
	:: atomic { placed && on_view[me] && may_go_on ->
		/* RAM: through the link to the VM's own table */
		if
		:: psc_ram[me] == 0 -> psc_ram[me] = ram
		:: else
		fi;
		seen = psc_ram[me]
	   };
		if
		:: seen == 0 -> goto ram_fault
		:: else -> d_step { use(base_live[seen]); seen = 0 }
		fi
	:: atomic { placed && on_view[me] && may_go_on ->
		/* the window: through the view's table to the frame */
		seen = tlb_leaf[me];
		if
		:: seen != 0 -> goto reached
		:: seen == 0 && psc_link[me] == 0 -> psc_link[me] = link
		:: else
		fi;
		seen = psc_link[me]
	   };
		if
		:: seen == 0 -> goto window_fault
		:: else -> d_step { use(link_live[seen]); tlb_leaf[me] = leaf; seen = leaf }
		fi;
reached:
		if
		:: seen == 0 -> goto window_fault
		:: else -> d_step { use(frame_live[seen]); seen = 0 }
		fi
	od;

ram_fault:
	/* vmx_pvvas_ept_violation(), without the lock, and kvm_pvvas_link_ram() */
	atomic { in_guest[me] = false; psc_ram[me] = 0; hint = in_use; fault() };
#ifndef NO_REFILL
	if
	:: hint -> atomic { !mmu_lock ->
#ifndef NO_LINK_RECHECK
		if
		:: in_use -> ram = base
		:: else
		fi
#else
		ram = base
#endif
	   }
	:: else
	fi;
#endif
	goto outside;

window_fault:
	/* kvm_pvvas_window_fault(); the violation drops what led to it */
	atomic { in_guest[me] = false; tlb_leaf[me] = 0; psc_link[me] = 0; was = seq; fault() };
	seen = frame;
	atomic { !mmu_lock ->
		if
		:: link == 0 || seen == 0	/* reflected; or not there yet */
#ifndef NO_STALE_CHECK
		:: link != 0 && seen != 0 && (invalidating || was != seq)
		:: link != 0 && seen != 0 && !invalidating && was == seq -> leaf = seen
#else
		:: link != 0 && seen != 0 -> leaf = seen
#endif
		fi
	}
	goto outside
}

/* munmap, MADV_DONTNEED, migration: the frame goes, another comes */
proctype notifier()
{
	byte i, round;

	do
	:: round < ROUNDS ->
		atomic { !mmu_lock -> mmu_lock = true; invalidating = true };
		if
		:: leaf != 0 ->
			leaf = 0;
#ifndef NO_FLUSH_ZAP
			flush()
#endif
		:: else
		fi;
		unlock();
		d_step { frame_live[frame] = false; i = frame; frame = 0 }
		atomic { !mmu_lock -> invalidating = false; seq++ };
		d_step { frame = i + 1; frame_live[frame] = true; i = 0; round++ }
	:: else -> break
	od;
	running--
}

/* One process, as slots_lock and the VM's mutex make it */
proctype changer()
{
	byte old, round;

	/* PVVAS_HC_VIEW_PLACE of a root page that was another VM's until now */
	lock();
#ifndef NO_FLUSH_PLACE
	flush();
#endif
	placed = true;
	unlock();
	do
	:: round < ROUNDS ->
		/* a memslot changes: kvm_mmu_zap_all_fast() */
		atomic { !mmu_lock -> mmu_lock = true; old = base };
		d_step { base_live[old + 1] = true; base = old + 1 };
#ifndef NO_SCRUB
		ram = 0;
#endif
#ifndef NO_FLUSH_ROOT
		flush();
#endif
		unlock();
		base_live[old] = false;

		/* PVVAS_HC_VIEW_DETACH, then ATTACH */
		atomic { !mmu_lock -> mmu_lock = true; old = link; link = 0 };
#ifndef NO_FLUSH_DETACH
		flush();
#endif
		unlock();
		link_live[old] = false;
		atomic { !mmu_lock -> link_live[old + 1] = true; link = old + 1 };

		/* PVVAS_HC_RESET */
		atomic { !mmu_lock -> mmu_lock = true; in_use = false };
#ifndef NO_SCRUB_RESET
		ram = 0;
#endif
#ifndef NO_FLUSH_RESET
		flush();
#else
		d_step { request[0] = true; request[1] = true };
#endif
		unlock();

		/* a memslot changes meanwhile: nothing has to be flushed */
		atomic { !mmu_lock -> mmu_lock = true; old = base };
		assert(ram == 0);
		d_step { base_live[old + 1] = true; base = old + 1; ram = 0 };
		unlock();
		base_live[old] = false;

		/* PVVAS_HC_CTX_CREATE, the first: pvvas_activate() */
		atomic { !mmu_lock -> mmu_lock = true; assert(ram == 0); ram = 0; in_use = true };
		flush();
		unlock();
		round++
	:: else -> break
	od;
	running--
}

init
{
	atomic {
		frame = 1;
		link = 1;
		base = 1;
		frame_live[1] = true;
		link_live[1] = true;
		base_live[1] = true;
		on_view[0] = true;
		on_view[1] = true;
		/* left by another VM, whose root this page was */
		if
		:: psc_ram[0] = ALIEN
		:: tlb_leaf[0] = ALIEN
		:: psc_link[0] = ALIEN
		fi;
		run vcpu(0);
		run vcpu(1);
		run notifier();
		run changer()
	}
}

ltl flush_ends { [] (flushing -> <> !flushing) }
