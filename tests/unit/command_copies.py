#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The command pvvas on the software backend: copies of segments in files and back, and saved sets."""
import os
import resource
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
import tap  # noqa: E402 pylint: disable=wrong-import-position
from tool import FIRST, LIBS, MIB, contents, environment, file_with, good, parsed, refused, run  # noqa: E402 pylint: disable=wrong-import-position


def copies_are_exact():
    size = 3 * MIB + 3 * 4096
    data = contents(1, size, [(0, 4096), (MIB - 4096, MIB + 8192), (2 * MIB + 100, 2 * MIB + 9000), (size - 4096, size)])
    path = file_with("in", data)
    good("create", "seg", "s", size)
    good("cp", "in", "seg:s")
    # longer before, and of other bytes
    out = file_with("out", b"\xff" * (size + 10000))
    good("cp", "seg:s", "out")
    with open(out, "rb") as f:
        assert f.read() == data
    # pages of zeroes are holes
    assert os.stat(out).st_blocks * 512 < size
    # over what is there already, zeroes too
    data = contents(2, size, [(8192, 16384), (MIB, MIB + 4096)])
    file_with("in", data)
    good("cp", "in", "seg:s")
    good("cp", "seg:s", "out")
    with open(out, "rb") as f:
        assert f.read() == data
    assert os.stat(path).st_size == size


def a_short_file_changes_the_start_only():
    good("create", "seg", "s", "64K")
    file_with("in", b"a" * 65536)
    good("cp", "in", "seg:s")
    file_with("in", b"b" * 5001)
    good("cp", "in", "seg:s")
    good("cp", "seg:s", "out")
    with open(os.path.join(tap.folder, "out"), "rb") as f:
        assert f.read() == b"b" * 5001 + b"a" * (65536 - 5001)
    file_with("in", b"c" * 65537)
    refused(1, "in does not fit into seg s: File too large", "cp", "in", "seg:s")
    file_with("in", b"d" * 65536)
    good("cp", "in", "seg:s")
    file_with("in", b"")
    good("cp", "in", "seg:s")
    good("cp", "seg:s", "out")
    with open(os.path.join(tap.folder, "out"), "rb") as f:
        assert f.read() == b"d" * 65536


def holes_cost_nothing():
    good("create", "seg", "s", "32G")
    with open(os.path.join(tap.folder, "in"), "wb") as f:
        f.truncate(32 << 30)
        for at in (5000, 10 << 30, (32 << 30) - 100):
            f.seek(at)
            f.write(b"here %d" % at)
    good("cp", "in", "seg:s")
    assert 12288 <= parsed("stat", "stat", "seg", "s")["object"]["resident"] <= MIB
    good("cp", "seg:s", "out")
    st = os.stat(os.path.join(tap.folder, "out"))
    assert st.st_size == 32 << 30 and st.st_blocks * 512 <= MIB
    with open(os.path.join(tap.folder, "out"), "rb") as f:
        for at in (5000, 10 << 30, (32 << 30) - 100):
            f.seek(at)
            assert f.read(20).rstrip(b"\0") == b"here %d" % at


def copies_that_fail_say_so():
    good("create", "seg", "s", "4M")
    file_with("in", contents(3, 4 * MIB, []))
    good("cp", "in", "seg:s")
    refused(1, "pvvas: .: Is a directory", "cp", "seg:s", ".")
    refused(3, "pvvas: no/file: No such file", "cp", "seg:s", "no/file")

    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5 * MIB, 5 * MIB))

    def tiny_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))

    refused(1, "pvvas: out: File too large", "cp", "seg:s", "out", preexec_fn=tiny_files)
    if not os.geteuid():
        return
    os.chmod(os.path.join(tap.folder, "in"), 0)
    refused(4, "pvvas: in: Permission denied", "cp", "in", "seg:s")


def only_files_are_copied():
    """Anything else has no size: nothing would be copied, and that called success."""
    good("create", "seg", "s", "64K")
    fifo = os.path.join(tap.folder, "fifo")
    os.mkfifo(fifo)
    ours, theirs = os.pipe()
    os.write(theirs, b"lost")
    refused(1, "pvvas: /dev/stdin: no regular file", "cp", "/dev/stdin", "seg:s", preexec_fn=lambda: os.dup2(ours, 0))
    refused(1, "pvvas: fifo: no regular file", "cp", "fifo", "seg:s")
    refused(1, "pvvas: fifo: No such device", "cp", "seg:s", "fifo")
    refused(1, "pvvas: /proc/self/cmdline: no regular file", "cp", "/proc/self/cmdline", "seg:s")
    refused(1, "pvvas: .: Is a directory", "cp", ".", "seg:s")
    for device in "/dev/zero", "/dev/null":
        refused(1, f"pvvas: {device}: no regular file", "cp", device, "seg:s")
        refused(1, f"pvvas: {device}: no regular file", "cp", "seg:s", device)
    assert parsed("stat", "stat", "seg", "s")["object"]["resident"] == 0


def a_full_file_system_is_told():
    if os.geteuid():
        raise tap.Skip("needs root")
    good("create", "seg", "s", "4M")
    file_with("in", contents(5, 4 * MIB, []))
    good("cp", "in", "seg:s")
    # what comes after what fails is zeroes, which need no room
    file_with("in", contents(6, 2 * MIB, []) + bytes(2 * MIB))
    good("cp", "in", "seg:s")
    os.mkdir(os.path.join(tap.folder, "small"))
    for kib in (1024, 1028, 1540):
        p = subprocess.run(["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size={kib}k none small && exec \"$@\"", "sh",
                            os.path.join(LIBS, "pvvas"), "cp", "seg:s", "small/out"], env=environment(), cwd=tap.folder,
                           stderr=subprocess.PIPE, check=False)
        assert p.returncode == 1 and p.stderr == b"pvvas: small/out: No space left on device\n", p


def crc32c(data):
    if not CRC_TABLE:
        for byte in range(256):
            for _ in range(8):
                byte = byte >> 1 ^ (0x82f63b78 if byte & 1 else 0)
            CRC_TABLE.append(byte)
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 255]
    return crc ^ 0xffffffff


CRC_TABLE = []


def read_set(path):
    """All that docs/save-format.md says, and nothing of the library."""
    with open(os.path.join(path, "manifest"), "rb") as f:
        data = f.read()
    magic, version, crc, length, generation, when, vases, segs, links, files, extents = struct.unpack_from("<8sIIQQQIIIIQ", data)
    assert (magic, version, length) == (b"PVVASset", 1, len(data)) and abs(when - time.time()) < 100 and generation
    assert crc32c(data[:12] + bytes(4) + data[16:]) == crc
    at, out = 64, []
    for form, n in (("<256sIIII", vases), ("<256sQQIIIIIIII", segs), ("<IIII", links), ("<QQII", files), ("<IIQQQ", extents)):
        size = struct.calcsize(form)
        out.append([struct.unpack_from(form, data, at + i * size) for i in range(n)])
        at += n * size
    assert at == len(data)
    vases, segs, links, files, extents = out
    pages = []
    for generation, n, number, crc in files:
        with open(os.path.join(path, f"{generation}-{number}.pages"), "rb") as f:
            data = f.read()
        assert len(data) == n * 4100 and crc32c(data[n * 4096:]) == crc
        pages.append(data)
    memory = [{} for _ in segs]
    for seg, file, first, at, n in extents:
        count = files[file][1]
        for i in range(n):
            page = pages[file][(at + i) * 4096:][:4096]
            assert struct.unpack_from("<I", pages[file], count * 4096 + (at + i) * 4)[0] == crc32c(page)
            assert first + i not in memory[seg]
            memory[seg][first + i] = page
    return vases, segs, links, memory


def a_saved_set_is_what_the_format_says():
    good("create", "vas", "v", "-m", "640")
    good("create", "vas", "w", "-m", "604")
    good("expire", "1000", "vas", "w")
    good("create", "seg", "s", "1M", "-b", hex(FIRST))
    good("create", "seg", "t", "8K", "-m", "444", "-b", hex(FIRST + 4 * MIB))
    for words in (["v", "s"], ["w", "s", "ro"], ["w", "t", "ro"]):
        good("attach", *words)
    data = contents(9, 60 * 4096, [(8192, 20000)])
    file_with("in", data)
    good("cp", "in", "seg:s")
    told = parsed("save", "save", "vas:v", "w", "set")
    uid, gid = os.geteuid(), os.getegid()
    for change in (None, b"x", b"y"):
        if change:
            data = data[:40960] + change + data[40961:]
            file_with("in", data)
            good("cp", "in", "seg:s")
            again = parsed("save", "save", "--since", "v", "vas:w", "set")
            assert again["bytes"] == told["bytes"] and again["written"] < 4096 + 2000, again
        vases, segs, links, memory = read_set(os.path.join(tap.folder, "set"))
        assert vases == [(b"v".ljust(256, b"\0"), 0o640, uid, gid, 0), (b"w".ljust(256, b"\0"), 0o604, uid, gid, 1000)]
        assert segs == [(b"s".ljust(256, b"\0"), FIRST, MIB, 0o600, uid, gid, 0, 0, 0, 0, 0),
                        (b"t".ljust(256, b"\0"), FIRST + 4 * MIB, 8192, 0o444, uid, gid, 0, 0, 0, 0, 0)]
        assert links == [(0, 0, 3, 0), (1, 0, 1, 0), (1, 1, 1, 0)]
        assert not memory[1] and len(memory[0]) * 4096 == told["bytes"]
        for i in range(60):
            assert memory[0].get(i, bytes(4096)) == data[i * 4096:][:4096].ljust(4096, b"\0")
    refused(1, "load set: vas v: File exists", "load", "set")
    good("rm", "vas", "v", "w")
    good("rm", "seg", "s", "t")
    assert parsed("load", "load", "set")["bytes"] == told["bytes"]
    good("cp", "seg:s", "out")
    with open(os.path.join(tap.folder, "out"), "rb") as f:
        assert f.read(len(data)) == data


def what_is_linked_is_restored_and_the_rest_is_told():
    os.mkdir(os.path.join(tap.folder, "restore.d"))
    for name in ("a", "b", "c"):
        good("create", "vas", name)
        good("create", "seg", name, "4K")
        good("attach", name, name)
        file_with("in", name.encode())
        good("cp", "in", f"seg:{name}")
        good("save", f"vas:{name}", f"set-{name}")
        os.symlink(f"../set-{name}", os.path.join(tap.folder, "restore.d", name))
    good("rm", "vas", "a", "b", "c")
    good("rm", "seg", "a", "b", "c")
    os.unlink(os.path.join(tap.folder, "set-b", "manifest"))
    p = run("restore", "restore.d")
    assert p.returncode == 3 and p.stderr == b"pvvas: restore restore.d/b: manifest: No such file or directory\n", p
    assert p.stdout == b"restore.d/a: 4096 bytes of memory\nrestore.d/c: 4096 bytes of memory\n", p
    for name in ("a", "c"):
        good("cp", f"seg:{name}", "out")
        with open(os.path.join(tap.folder, "out"), "rb") as f:
            assert f.read(1) == name.encode()
    refused(3, "restore none: No such file", "restore", "none")


def sets_that_are_not_there_or_damaged_are_told():
    good("create", "vas", "v")
    refused(3, "load none: folder: No such file or directory", "load", "none")
    os.mkdir(os.path.join(tap.folder, "empty"), 0o700)
    refused(3, "load empty: manifest: No such file or directory", "load", "empty")
    refused(3, "vas none: No such file", "save", "none", "set")
    refused(3, "save no/set: folder: No such file", "save", "v", "no/set")
    good("save", "v", "set")
    good("rm", "vas", "v")
    os.truncate(os.path.join(tap.folder, "set", "manifest"), 100)
    refused(1, "load set: manifest: cut, changed or missing", "load", "set")


CASES = [copies_are_exact, a_short_file_changes_the_start_only, holes_cost_nothing, copies_that_fail_say_so,
         only_files_are_copied,
         a_full_file_system_is_told, a_saved_set_is_what_the_format_says,
         what_is_linked_is_restored_and_the_rest_is_told, sets_that_are_not_there_or_damaged_are_told]


if __name__ == "__main__":
    sys.exit(tap.main(CASES))
