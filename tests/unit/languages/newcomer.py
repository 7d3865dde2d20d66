# SPDX-License-Identifier: GPL-2.0-or-later
"""Two programs with a lock and a heap in common, written with what pvvas(7) says alone.

    newcomer.py make        a VAS with an empty list of words
    newcomer.py push WORD   put a word in front
    newcomer.py die         change the list and be killed in the middle of it
    newcomer.py list        repair the list if that is needed, print it
"""
import ctypes
import errno
import os
import signal
import sys

VAS_HOME = 0
VAS_WINDOW_FIRST = 0x200040000000
SEG_CTL_LOCK_ON = 0x53000004
SEG_CTL_CONSISTENT = 0x53000006

lib = ctypes.CDLL("libpvvas.so.1")
lib.vas_malloc.restype = ctypes.c_void_p
lib.vas_malloc.argtypes = [ctypes.c_size_t]
lib.vas_root.restype = ctypes.POINTER(ctypes.c_void_p)
lib.seg_alloc.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint]


class Node(ctypes.Structure):
    _fields_ = [("next", ctypes.c_void_p), ("word", ctypes.c_char * 24)]


def ok(ret):
    if ret < 0:
        raise OSError(-ret, os.strerror(-ret))
    return ret


def make():
    vid = ok(lib.vas_create(b"words", 0o600))
    sid = ok(lib.seg_alloc(b"words", VAS_WINDOW_FIRST, 1 << 20, 0o600))
    ok(lib.seg_ctl(sid, SEG_CTL_LOCK_ON))
    ok(lib.seg_attach(vid, sid))


def enter():
    """True if the last one in the VAS died there."""
    ret = lib.vas_switch(ok(lib.vas_attach(ok(lib.vas_find(b"words")))))
    if ret == -errno.EOWNERDEAD:
        return True
    ok(ret)
    return False


def push(word):
    enter()
    address = lib.vas_malloc(ctypes.sizeof(Node))
    node = Node.from_address(address)
    node.word = word.encode()
    node.next = lib.vas_root()[0]
    lib.vas_root()[0] = address
    ok(lib.vas_switch(VAS_HOME))


def die():
    enter()
    Node.from_address(lib.vas_root()[0]).word = b"half"
    os.kill(os.getpid(), signal.SIGKILL)


def show():
    if enter():
        Node.from_address(lib.vas_root()[0]).word = b"repaired"
        ok(lib.seg_ctl(ok(lib.seg_find(b"words")), SEG_CTL_CONSISTENT))
    words, address = [], lib.vas_root()[0]
    while address:
        node = Node.from_address(address)
        words.append(node.word.decode())
        address = node.next
    ok(lib.vas_switch(VAS_HOME))
    print(*words)


{"make": make, "push": push, "die": die, "list": show}[sys.argv[1]](*sys.argv[2:])
