/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lock of a segment: threads that take and release it with and without the
 * driver, and die.
 *
 * Modelled: the word, with each access to it one step; each thread's element of
 * its array, with a store buffer; the driver's mutex, queue and wake-ups
 * (guest-kernel/driver/lock.c) and what the library does inline
 * (libpvvas/src/seglock.h, switch.c).  Thread 1 may read only; the others draw
 * each time whether they read or write.  One thread may die anywhere outside the
 * driver, and one may be tired of waiting.
 *
 * Proved: a writer is alone (the asserts in enter()); the death of a writer in
 * the middle is told to the next one that gets in; no thread waits for ever (no
 * invalid end state).
 *
 * Left out, one at a time, with -D (each must make the check fail):
 *   NO_TAKE_FENCE     a reader looks at the word before its number is visible
 *   NO_RELEASE_FENCE  a reader looks for waiters before its number is gone
 *   NO_WAITERS        a writer looks at the arrays without saying so in the word
 *   NO_SCAN           a writer does not look at the arrays
 *   NO_KICK_RELEASE   a reader that releases wakes no thread
 *   NO_KICK_TAKE      a reader that took its number back wakes no thread
 *   NO_KICK_NEXT      a thread that leaves the queue does not wake the next one
 *   NO_KICK_DEATH     a death wakes no thread
 *   NO_DIED           a death is not marked
 */
#ifndef THREADS
#define THREADS	3
#endif
#ifndef ROUNDS
#define ROUNDS	1
#endif

/* The word. */
byte owner;
bool readers, waiters, died;

bool hold[THREADS + 1];		/* as others see it */
bool pending[THREADS + 1], value[THREADS + 1];	/* the store buffer */
bool dead[THREADS + 1];

bool mutex;
chan queue = [THREADS] of { byte };
bool exclusive[THREADS + 1], woken[THREADS + 1];

byte in_readers, in_writers;
bool changed;			/* a writer died in the middle, and none was told */
byte deaths;
bool given_up;			/* a thread has, for want of time */

inline store(v)
{
	/* an older one goes first */
	if
	:: pending[me] -> hold[me] = value[me]
	:: else
	fi;
	value[me] = v;
	pending[me] = true
}

inline flush()
{
	atomic {
		if
		:: pending[me] -> hold[me] = value[me]; pending[me] = false
		:: else
		fi
	}
}

/* The driver: all of it under the mutex. */

inline lock() { atomic { !mutex -> mutex = true } }
inline unlock() { mutex = false }

/* The first one that waits, and if it reads all that read. */
inline kick()
{
	d_step {
		if
		:: queue ? [first] ->
			queue ? <first>;
			woken[first] = true;
			if
			:: !exclusive[first] ->
				first = 1;
				do
				:: first <= THREADS ->
					if
					:: !exclusive[first] -> woken[first] = true
					:: else
					fi;
					first++
				:: else -> break
				od
			:: else
			fi
		:: else
		fi;
		first = 0
	}
}

inline scan()
{
	found = false;
#ifndef NO_SCAN
	i = 1;
	do
	:: i <= THREADS ->
		if
		:: hold[i] && !dead[i] -> found = true
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
#endif
}

/* ok: taken; told: a writer has died */
inline try_exclusive()
{
	ok = false;
	found = false;
	if
	:: owner && !readers
	:: else ->
		if
		:: readers -> scan()
		:: else
		fi;
		if
		:: found
		:: else ->
			/* compare and swap: inline takers come in between */
			atomic {
				if
				:: owner && !readers
				:: else ->
					owner = me;
					readers = false;
					told = died;
					ok = true
				fi
			}
		fi
	fi
}

inline try_shared()
{
	atomic {
		if
		:: owner && !readers -> hold[me] = false; ok = false
		:: else -> hold[me] = true;
		fi
	};
	if
	:: hold[me] ->
		atomic {
			if
			:: owner && !readers -> hold[me] = false; ok = false
			:: else -> readers = true; owner = 0; told = died; ok = true
			fi
		}
	:: else
	fi
}

/* No thread before me that I may not be in with. */
inline my_turn()
{
	d_step {
		turn = true;
		i = 0;
		do
		:: i < len(queue) ->
			queue ? first;
			queue ! first;
			if
			:: !seen && first == me -> seen = true
			:: !seen && (exclusive[first] || write) -> turn = false
			:: else
			fi;
			i++
		:: else -> break
		od;
		seen = false;
		first = 0;
		i = 0
	}
}

inline leave_queue()
{
	d_step {
		i = len(queue);
		do
		:: i > 0 ->
			queue ? first;
			if
			:: first != me -> queue ! first
			:: else
			fi;
			i--
		:: else -> break
		od;
		first = 0
	}
}

inline ask()
{
	flush();	/* a system call */
	lock();
#ifndef NO_KICK_TAKE
	kick();
#endif
	exclusive[me] = write;
	queue ! me;
	do
	:: true ->
		woken[me] = false;
#ifndef NO_WAITERS
		waiters = true;
#endif
		my_turn();
		ok = false;
		if
		:: turn && write -> try_exclusive()
		:: turn && !write -> try_shared()
		:: else
		fi;
		if
		:: ok -> break
		:: else
		fi;
		unlock();
		if
		:: woken[me] -> lock()
		:: atomic { !given_up -> given_up = true };
			lock();
			break
		fi
	od;
	leave_queue();
	exclusive[me] = false;
	if
	:: len(queue) == 0 -> waiters = false
	:: else ->
#ifndef NO_KICK_NEXT
		kick()
#else
		skip
#endif
	fi;
	unlock()
}

inline tell_death(who)
{
	lock();
	atomic {
		dead[who] = true;
		if
		:: owner == who && !readers ->
			owner = 0;
#ifndef NO_DIED
			died = true
#endif
		:: else
		fi
	};
#ifndef NO_KICK_DEATH
	kick();
#endif
	unlock()
}

/* The thread. */

inline enter()
{
	d_step {
		if
		:: write -> assert(!in_writers && !in_readers); in_writers++
		:: else -> assert(!in_writers); in_readers++
		fi;
		/* a change that was not ended is told of */
		assert(!changed || told)
	}
}

inline leave()
{
	d_step {
		if
		:: write -> in_writers--
		:: else -> in_readers--
		fi
	}
}

inline take()
{
	ok = false;
	told = false;
	if
	:: write ->
		atomic {
			if
			:: !waiters && !died &&
			   ((!owner && !readers) || (owner == me && readers)) ->
				owner = me; readers = false; ok = true
			:: else
			fi
		}
	:: else ->
		store(true);
#ifndef NO_TAKE_FENCE
		flush();
#endif
		atomic {
			if
			:: waiters || died
			:: else ->
				if
				:: readers && (!owner || owner == me) -> ok = true
				:: me != 1 && !owner && !readers ->
					owner = me; readers = true; ok = true
				:: me != 1 && owner && readers ->
					owner = 0; ok = true
				:: else
				fi
			fi
		};
		if
		:: ok
		:: else -> store(false)
		fi
	fi;
	if
	:: ok
	:: else -> ask()
	fi
}

inline release()
{
	if
	:: write ->
		ok = false;
		atomic {
			if
			:: owner == me && !readers && !waiters && !died ->
				owner = 0; ok = true
			:: else
			fi
		};
		if
		:: ok
		:: else ->
			lock();
			atomic { owner = 0; died = false };
			kick();
			unlock()
		fi
	:: else ->
		store(false);
#ifndef NO_RELEASE_FENCE
		flush();
#endif
		if
		:: waiters ->
#ifndef NO_KICK_RELEASE
			flush();
			lock();
			kick();
			unlock()
#else
			skip
#endif
		:: else
		fi
	fi
}

#define may_die	(deaths == 0)

proctype thread(byte me)
{
	byte rounds, i, first;
	bool write, ok, told, found, turn, seen;

	do
	:: rounds < ROUNDS ->
		rounds++;
		if
		:: write = false
		:: me != 1 -> write = true
		fi;
		take();
		if
		:: !ok -> goto again
		:: else
		fi;
		enter();
		if
		:: write && told -> changed = false	/* made consistent */
		:: else
		fi;
		if
		:: atomic { may_die -> deaths++; leave();
			    changed = changed || write };
			goto die
		:: true
		fi;
		leave();
		if
		:: atomic { write && may_die -> deaths++ };
			/* between the change and the release: it is told, too */
			goto die
		:: true
		fi;
		release();
again:
		skip
	:: else -> break
	od;
	flush();
	goto end;
die:
	flush();
	tell_death(me);
end:
	skip
}

init
{
	atomic {
		byte n = 1;

		do
		:: n <= THREADS -> run thread(n); n++
		:: else -> break
		od
	}
}
