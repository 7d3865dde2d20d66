#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two processes in Python share a list in a segment: a VAS, a lock, a heap.

A node is two words: the address of the next one, and a number.  The segment is lockable, so that only one process at a time
is in the VAS: vas_switch() takes the lock, and gives it back on the way home.  With PVVAS_BACKEND=soft it runs anywhere.
"""
import ctypes
import os
import sys

lib = ctypes.CDLL("libpvvas.so.1", use_errno=True)
for name in "vas_malloc", "vas_root":
    getattr(lib, name).restype = ctypes.c_void_p
lib.vas_malloc.argtypes = [ctypes.c_size_t]
lib.seg_alloc.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint]

VAS_HOME = 0
SEG_CTL_LOCK_ON = 0x53000004
COUNT = 1000


class Node(ctypes.Structure):
    _fields_ = [("next", ctypes.c_void_p), ("number", ctypes.c_long)]


def checked(result):
    """The result of a call, or an exception that says what went wrong."""
    if result is None:
        result = -ctypes.get_errno()
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def root():
    return ctypes.c_void_p.from_address(checked(lib.vas_root()))


def push(number):
    """In the VAS: a node in front of the list."""
    address = checked(lib.vas_malloc(ctypes.sizeof(Node)))
    first = root()
    node = Node.from_address(address)
    node.next, node.number = first.value, number
    first.value = address


def pushes(name, numbers):
    """What one process does: attach by name, and go in for each number."""
    vh = checked(lib.vas_attach(checked(lib.vas_find(name))))
    for number in numbers:
        checked(lib.vas_switch(vh))
        push(number)
        checked(lib.vas_switch(VAS_HOME))


def numbers_in(vh):
    numbers = []
    checked(lib.vas_switch(vh))
    address = root().value
    while address:
        node = Node.from_address(address)
        numbers.append(node.number)
        address = node.next
    checked(lib.vas_switch(VAS_HOME))
    return numbers


def main():
    name = f"shared-list-{os.getpid()}".encode()
    vid = checked(lib.vas_create(name, 0o600))
    try:
        sid = checked(lib.seg_alloc(None, None, 1 << 20, 0o600))
        checked(lib.seg_ctl(sid, SEG_CTL_LOCK_ON))
        checked(lib.seg_attach(vid, sid))
        child = os.fork()
        if not child:
            pushes(name, range(0, COUNT, 2))
            os._exit(0)
        pushes(name, range(1, COUNT, 2))
        if os.waitpid(child, 0)[1]:
            sys.exit("the other process failed")
        numbers = numbers_in(checked(lib.vas_attach(vid)))
        assert lib.vas_current() == VAS_HOME
        assert sorted(numbers) == list(range(COUNT)), numbers
        print(f"{len(numbers)} numbers of two processes, all there")
    finally:
        lib.vas_delete(vid)


main()
