# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases that run the command pvvas on the software backend."""
import json
import os
import random
import subprocess
import sys

import jsonschema

import tap

HERE = os.path.dirname(os.path.realpath(__file__))
LIBS = os.path.join(HERE, "..", "..", "libpvvas")
SCHEMA = json.load(open(os.path.join(LIBS, "pvvas.schema.json")))
MIB = 1 << 20
FIRST = 0x208000000000


def environment(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PVVAS")}
    env.update(PVVAS_BACKEND="soft", PVVAS_SOFT_DIR=os.path.join(tap.folder, "soft"), LD_LIBRARY_PATH=LIBS, LC_ALL="C",
               PATH="/usr/bin:/bin")
    env.update(more)
    return {k: v for k, v in env.items() if v is not None}


def run(*words, **options):
    env = environment(**options.pop("env", {}))
    return subprocess.run([os.path.join(LIBS, "pvvas")] + [str(w) for w in words], env=env, cwd=tap.folder,
                          stdin=subprocess.DEVNULL, stdout=options.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE,
                          check=False, timeout=60, **options)


def good(*words, **options):
    p = run(*words, **options)
    assert p.returncode == 0 and not p.stderr, (words, p)
    return p.stdout.decode()


def refused(status, said, *words, **options):
    p = run(*words, **options)
    assert p.returncode == status and said in p.stderr.decode(), (words, p)
    assert p.stderr.endswith(b"\n") and p.stderr.count(b"\n") == 1, (words, p)


def misused(*words):
    p = run(*words)
    assert p.returncode == 2 and p.stderr.startswith(b"usage: pvvas [--json] " + str(words[0]).encode() + b" "), (words, p)
    assert not p.stdout, (words, p)


def parsed(what, *words):
    value = json.loads(good("--json", *words))
    jsonschema.validate(value, {"$ref": f"#/$defs/{what}", "$defs": SCHEMA["$defs"]})
    return value


def change_owner(vid, uid, gid):
    """By a process of its own: the library keeps the backend that it began with."""
    code = ("import ctypes,sys;lib=ctypes.CDLL('libpvvas.so.1');a=(ctypes.c_uint32*74)(296,6,0,%d,%d);"
            "sys.exit(-lib.vas_ctl(0x56000002,%d,a))" % (uid, gid, vid))
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


def contents(seed, size, holes):
    data = bytearray(random.Random(seed).randbytes(size))
    for start, end in holes:
        data[start:end] = bytes(end - start)
    return bytes(data)


def file_with(name, data):
    path = os.path.join(tap.folder, name)
    with open(path, "wb") as f:
        f.write(data)
    return path
